"""Compiled sums over the entries of a table: weights, squares and products of pairs."""

from __future__ import annotations

from typing import Any

from numba import types

from .compiled import F4, F8, I8, U4, kernel

__all__ = ["products"]


def _products(slots: Any, offsets: Any, ragged: Any, values: Any, weight: Any, root: Any, z: Any, sums: Any, squares: Any, pairs: Any, cross: Any) -> None:
    """Add the rows of a block: for entries of value v at slot s, and others of the same row.

    slots : uint32 (n, k), of value 1. offsets : int64 (n + 1,), ragged : uint32, values : float32: entries with values; empty where there are none.
    weight, root : float64 (n,), and its square root. z : float64 (n, q), times root. sums, squares : float64 (width,), of w v and w v².
    pairs : float64 (width, width), of w v v' for each two entries of a row, at the slot of the earlier one, then of the later. cross : float64 (width, q), of w v z.
    """
    n, k = slots.shape
    q = z.shape[1]
    for i in range(n):
        w, r = weight[i], root[i]
        low, high = (offsets[i], offsets[i + 1]) if len(offsets) else (0, 0)
        for a in range(k + high - low):
            plain = a < k
            s = slots[i, a] if plain else ragged[low + a - k]
            v = 1.0 if plain else float(values[low + a - k])
            wv = w * v
            sums[s] += wv
            squares[s] += wv * v
            for b in range(a + 1, k):
                pairs[s, slots[i, b]] += wv
            for e in range(low + max(0, a + 1 - k), high):
                pairs[s, ragged[e]] += wv * values[e]
            rv = r * v
            for j in range(q):
                cross[s, j] += rv * z[i, j]


products = kernel(types.void(U4(2), I8(1), U4(1), F4(1), F8(1), F8(1), F8(2), F8(1, True), F8(1, True), F8(2, True), F8(2, True)), _products)
