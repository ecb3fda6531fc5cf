"""Trees walked down by the bins of rows."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["sum_trees"]

_TILE = 256  # rows whose bins stay in the first cache while all trees go over them


@numba.njit(error_model="numpy")
def sum_trees(codes: Any, width: int, roots: Any, outs: int, column: Any, child: Any, masks: Any, value: Any, scores: Any) -> None:
    """Add to scores (outs, n) the values of the leaves that each row falls into, tree by tree.

    codes : uint8 (n · width,). roots : int64, the first node of each tree; tree t belongs to output t mod outs. Of each node: column : int32; child : int32,
    where its left child is, the right one being next to it, 0 for a leaf; masks : uint64 (nodes · 4,), the bins that go left, a bit each; value : float64.
    """
    n = scores.shape[1]
    step = np.uint64(width)
    for tile in range(0, n, _TILE):
        end = min(n, tile + _TILE)
        for t in range(len(roots)):
            own = scores[t % outs]
            for i in range(tile, end):
                node = np.uint64(roots[t])
                base = np.uint64(i) * step
                down = np.uint64(child[node])
                while down:
                    code = np.uint64(codes[base + np.uint64(column[node])])
                    goes = (masks[node * np.uint64(4) + (code >> np.uint64(6))] >> (code & np.uint64(63))) & np.uint64(1)
                    node = down + np.uint64(1) - goes
                    down = np.uint64(child[node])
                own[i] += value[node]
