"""One pass of a forest over the rows: leaves of several trees are split, and histograms of the new ones summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.learner import Fold, Traits
from ...core.rng import key64
from ...core.state import State
from ...data.batch import Batch
from ...data.native import I4, I8, INT, U1, U4, Array, Native
from ..blocks import design_of, weights_of
from .bins import encoded
from .rows import turned

__all__ = ["Planted"]

_KERNELS = "outgrow.learn.kernels.forest"
_U8 = "uint64"
_draw_rows = Native(_KERNELS, "draw_rows", (INT, Array(_U8, 1), Array(_U8, 1), U1(1), U1(1, True)), INT)
_split_rows = Native(_KERNELS, "split_rows", (U1(2), Array(_U8, 2), I4(2), I8(2, True), U4(1, True), U4(1, True)))
_add_nodes = Native(_KERNELS, "add_nodes", (U1(1), INT, U4(1), I8(2), I4(1), I4(2), I4(1), I8(1), I4(1), U1(1), INT, I8(2, True)))


@dataclass(frozen=True, kw_only=True)
class Planted(Fold):
    """Rows in the order of the leaves they have fallen into, for each tree under way.

    given: ``group`` int64 (T,), numbers of the trees; ``limits`` uint64, what hashes of positions are held against to tell how often a tree draws a row; ``fresh``,
    1 where the trees begin; of tree t ``splits/t`` int32 (p, 3), node, column, left child, ``masks/t`` uint64 (p, 4), bins that go left, ``nodes/t`` int32 (q,) to
    sum, and ``tried/t`` int32 (q, d), their columns; ``size/t``, its nodes.

    state: ``sums`` int64 (all q, d · 256 · (outs + 2)), as `kernels.forest.add_nodes`.

    kept: ``codes`` uint8 (n · width,) and ``columns`` uint8 (m, n), the same turned; ``place`` int32, ``amount`` int64, ``weight`` int32, ``counts`` uint8 (n,);
    ``first`` int64, the first position; of tree t ``order/t`` uint32, the rows it draws, leaf by leaf, ``spans/t`` int64 (nodes, 2), ``times/t`` uint8 (n,).
    """

    traits: ClassVar[Traits] = Traits(order_free=True)
    encoded: ClassVar[bool] = True
    beside: ClassVar[bool] = True
    outs: int
    classes: bool
    columns: int
    tried: int
    width: int
    seed: int

    def init(self, given: Mapping[str, Any]) -> State:
        nodes = sum(len(given[f"nodes/{t}"]) for t in range(len(given["group"])))
        return {"sums": np.zeros((nodes, self.tried * 256 * (self.outs + 2)), np.int64)}

    def keep(self, kept: State | None, batch: Any, given: Mapping[str, Any]) -> State:
        if kept is None:
            return self._split(self._drawn(self._built(batch, given), given), given)
        return self._split(self._drawn(kept, given) if int(given["fresh"]) else kept, given)

    def _built(self, batch: Batch, given: Mapping[str, Any]) -> State:
        design, n = design_of(batch), batch.rows
        weight = weights_of(batch)
        if "by_class" in given:
            by_class = given["by_class"][batch.target]
            weight = weight * by_class if len(weight) else by_class
        weight = weight if len(weight) else np.ones(n)
        heavy = np.where(weight > 0, np.maximum(1.0, np.rint(weight * given["scale"][1])), 0.0).astype(np.int32)
        if self.classes:
            place, amount = batch.target.astype(np.int32), heavy.astype(np.int64)
        else:
            place = np.zeros(n, np.int32)
            amount = heavy * np.rint((batch.target - given["low"]) * given["scale"][0]).astype(np.int64)
        codes = encoded(design, given["edges"], given["places"])
        columns = np.empty((self.columns, n), np.uint8)
        turned(codes, self.width, columns)
        kept: State = {"codes": codes, "columns": columns, "place": place, "amount": amount, "weight": heavy}
        return kept | {"counts": (heavy > 0).astype(np.uint8), "first": batch.positions[:1].copy()}

    def _drawn(self, kept: State, given: Mapping[str, Any]) -> State:
        """All trees begin: the rows that each draws are in its root."""
        after = {name: array for name, array in kept.items() if "/" not in name}
        for t, tree in enumerate(given["group"].tolist()):
            times = np.empty(len(kept["counts"]), np.uint8)
            key = np.array([key64(self.seed, f"tree {tree} rows")], np.uint64)
            drawn = _draw_rows(int(kept["first"][0]), key, given["limits"], kept["counts"], times)
            after |= {f"times/{t}": times, f"order/{t}": np.flatnonzero(times).astype(np.uint32), f"spans/{t}": np.array([[0, drawn]], np.int64)}
        return after

    def _split(self, kept: State, given: Mapping[str, Any]) -> State:
        after = dict(kept)
        for t in range(len(given["group"])):
            if len(given[f"splits/{t}"]):
                spans = np.zeros((int(given[f"size/{t}"]), 2), np.int64)
                spans[: len(kept[f"spans/{t}"])] = kept[f"spans/{t}"]
                order = kept[f"order/{t}"].copy()
                _split_rows(kept["columns"], given[f"masks/{t}"], given[f"splits/{t}"], spans, order, np.empty_like(order))
                after |= {f"spans/{t}": spans, f"order/{t}": order}
        return after

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        kept, at = batch.kept, 0
        for t in range(len(given["group"])):
            nodes = given[f"nodes/{t}"]
            if len(nodes):
                rows = kept[f"order/{t}"], kept[f"spans/{t}"], nodes, given[f"tried/{t}"]
                _add_nodes(
                    kept["codes"], self.width, *rows, kept["place"], kept["amount"], kept["weight"], kept[f"times/{t}"], self.outs, state["sums"][at : at + len(nodes)]
                )
                at += len(nodes)
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        left["sums"] += right["sums"]
        return left
