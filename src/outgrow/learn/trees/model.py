"""Trees as arrays: what a model holds, what is added tree by tree, and rows walked down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.state import State
from ...data.native import F8, I4, I8, INT, U1, Array, Native

__all__ = ["NODES", "add_trees", "grown_onto", "no_trees"]

_sum_trees = Native("outgrow.learn.kernels.walk", "sum_trees", (U1(1), INT, I8(1), INT, I4(1), I4(1), Array("uint64", 1), F8(1), F8(2, True)))

NODES = ("column", "child", "bin", "masks", "value", "gain", "node_rows")


def no_trees() -> State:
    """The arrays of a model without trees.

    roots int64 (trees,), the first node of each; tree t belongs to output t mod outs. Of each node: column int32; child int32, its left child, the right one being next,
    0 for a leaf; bin int32, the last one that goes left (of numbers); masks uint64 (nodes, 4), the bins that go left, a bit each; value, what a leaf adds to the score; gain
    float64; node_rows int64, rows that were learned from.
    """
    ints = {"roots": np.int64, "column": np.int32, "child": np.int32, "bin": np.int32, "node_rows": np.int64}
    return {name: np.zeros(0, dtype) for name, dtype in ints.items()} | {"masks": np.zeros((0, 4), np.uint64), "value": np.zeros(0), "gain": np.zeros(0)}


def grown_onto(model: Mapping[str, Any], trees: list[State]) -> State:
    """The model's arrays with trees behind them, each with nodes numbered from its root."""
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [model[name]] for name in ("roots", *NODES)}
    at = len(model["value"])
    for tree in trees:
        parts["roots"].append(np.array([at], np.int64))
        for name in NODES:
            parts[name].append(tree[name] if name != "child" else np.where(tree[name] > 0, tree[name] + at, 0).astype(np.int32))
        at += len(tree["value"])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def add_trees(codes: npt.NDArray[np.uint8], width: int, model: Mapping[str, Any], scores: npt.NDArray[np.float64]) -> None:
    """Add the trees' values to scores (outs, n), in their order. codes : uint8 (n · width,). About 2 ns a row and node."""
    _sum_trees(codes, width, model["roots"], len(scores), model["column"], model["child"], model["masks"].reshape(-1), model["value"], scores)
