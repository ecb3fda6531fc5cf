"""Ranking by LambdaRank: groups are runs of rows with the same number in a column, and a row's gradient needs its group whole.

Groups that lie inside a batch are whole there. The first and the last of each batch may go on in the next one: their scores are gathered once a tree, by the pass that
measures, and the driver computes their gradients. Which groups those are depends on the cut; no gradient does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import BadInput
from ...core.learner import Fold, Traits
from ...core.state import State
from ...data.batch import Batch
from ...data.native import F8, I8, Native
from ..blocks import design_of, weights_of

__all__ = ["MOST", "Runs", "add_edges", "at_edges", "edges", "no_edges", "refuse_parted", "slopes", "whole_slopes"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
MOST = 10_000  # rows of a group, as LightGBM has it
_LABELS = 31
_lambdas = Native("outgrow.learn.kernels.ranking", "lambdas", (I8(1), I8(1), F8(1), F8(1), F8(1, True), F8(1, True)))


def _numbered(ids: F64) -> I64:
    """Of each row which run it belongs to."""
    return np.cumsum(np.r_[False, ids[1:] != ids[:-1]][: len(ids)])


@dataclass(frozen=True, kw_only=True)
class Runs(Fold):
    """The runs of the group column. state: ``at`` int64 (r,), positions of first rows, ascending; ``ids`` float64 (r,); ``count`` int64 (r,)."""

    traits: ClassVar[Traits] = Traits(order_free=True)
    encoded: ClassVar[bool] = True
    group: int

    def init(self, given: Mapping[str, Any]) -> State:
        return {"at": np.zeros(0, np.int64), "ids": np.zeros(0), "count": np.zeros(0, np.int64)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        design = design_of(batch)
        ids, name = np.ascontiguousarray(design.dense[:, self.group], np.float64), design.names[self.group]
        if np.isnan(ids).any():
            row = int(batch.positions[np.flatnonzero(np.isnan(ids))[0]])
            raise BadInput(f"row {row} belongs to no group: column {name!r} is missing there", where=batch.place, todo="Fill it, or leave the row out.")
        y, weight = batch.target, weights_of(batch)
        bad = np.flatnonzero(((y < 0) | (y > _LABELS) | (y != np.floor(y))) & ((weight > 0) if len(weight) else True))
        if len(bad):
            found = f"the target of row {int(batch.positions[bad[0]])} is {float(y[bad[0]])}"
            raise BadInput(found, where=batch.place, allowed=f"whole numbers 0 to {_LABELS} with loss='lambdarank'")
        first = np.flatnonzero(np.diff(_numbered(ids), prepend=-1))
        own = {"at": batch.positions[first], "ids": ids[first], "count": np.diff(first, append=len(ids))}
        return self.merge(state, own, given)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        order = np.argsort(np.concatenate([left["at"], right["at"]]), kind="stable")
        return {name: np.concatenate([left[name], right[name]])[order] for name in ("at", "ids", "count")}


def refuse_parted(runs: State, column: str) -> None:
    """BadInput where the rows of a group do not stand together, or are too many."""
    first = np.flatnonzero(np.diff(_numbered(runs["ids"]), prepend=-1))
    ids, counts = runs["ids"][first], np.add.reduceat(runs["count"], first)
    found, times = np.unique(ids, return_counts=True)
    if (times > 1).any():
        again = found[times > 1][0]
        second = int(runs["at"][first[np.flatnonzero(ids == again)[1]]])
        raise BadInput(f"the rows of group {again:g} do not stand together: it begins anew at row {second}", where=f"column {column!r}", todo="Sort the rows by group.")
    if counts.max() > MOST:
        raise BadInput(f"group {ids[counts.argmax()]:g} has {int(counts.max()):,} rows", where=f"column {column!r}", allowed=f"{MOST:,} rows at most")


def slopes(ids: F64, scores: F64, target: F64, weight: F64, counts: npt.NDArray[Any]) -> F64:
    """(2, n), gradients and hessians of rows whose groups are whole. Rows that do not count are in no group."""
    found, number = np.zeros((2, len(ids))), _numbered(ids)
    rows = np.flatnonzero(counts)
    order = rows[np.lexsort((-scores[rows], number[rows]))]  # of equal scores the first row
    starts = np.flatnonzero(np.diff(number[order], prepend=-1, append=-1))
    _lambdas(order, starts, scores, target, found[0], found[1])
    return found * weight if len(weight) else found


def edges(ids: F64) -> I64:
    """The rows of the first and the last group of a batch."""
    number = _numbered(ids)
    return np.flatnonzero((number == 0) | (number == number[-1]))


def whole_slopes(kept: State) -> State:
    """``g``, ``h`` and ``tops`` of a batch as `rows.Grown` keeps them; at the edges they are still to be told."""
    found = slopes(kept["group"], kept["scores"][0], kept["target"], kept["weight"], kept["counts"])
    found[:, kept["edge"]] = 0.0
    return {"g": found[:1].copy(), "h": found[1:].copy(), "tops": np.abs(found).max(axis=1)}


def no_edges() -> State:
    """``edge_at`` int64 (e,), positions, ascending; ``edge`` float64 (5, e): group, score, target, weight, and 1 for rows that count."""
    return {"edge_at": np.zeros(0, np.int64), "edge": np.zeros((5, 0))}


def add_edges(left: State, right: State) -> State:
    at = np.concatenate([left["edge_at"], right["edge_at"]])
    order = np.argsort(at, kind="stable")
    return {"edge_at": at[order], "edge": np.concatenate([left["edge"], right["edge"]], axis=1)[:, order]}


def at_edges(kept: State) -> State:
    edge, n = kept["edge"], len(kept["target"])
    weight = kept["weight"] if len(kept["weight"]) else np.ones(n)
    return {"edge_at": kept["edge_at"], "edge": np.stack([kept["group"], kept["scores"][0], kept["target"], weight, kept["counts"]])[:, edge]}
