"""One pass of boosting over the rows: what is kept beside each batch steps on, and histograms of new leaves are summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.learner import Fold, Traits
from ...core.rng import Permutation, key64
from ...core.state import State
from ...data.batch import Batch
from ...data.native import F8, FLOAT, I4, I8, INT, U1, U4, Array, Native
from ..blocks import design_of, weights_of
from .bins import encoded
from .losses import Loss
from .model import add_trees
from .ranking import add_edges, at_edges, edges, no_edges, whole_slopes
from .renewal import add_residuals, no_residuals

__all__ = ["Grown", "keys_of", "scratch", "turned"]

_KERNELS = "outgrow.learn.kernels.histograms"


_gradients = Native(_KERNELS, "gradients", (INT, FLOAT, F8(2), F8(1), F8(1), U1(1), INT, Array("uint64", 1), INT, F8(1), F8(1, True), F8(1, True), I4(2, True)), FLOAT)
_measured = Native(_KERNELS, "measured", (INT, FLOAT, F8(2), F8(1), F8(1), U1(1), F8(2, True), F8(2, True), F8(1, True)))
_rounded = Native(_KERNELS, "rounded", (F8(2), F8(2), U1(1), INT, Array("uint64", 1), INT, F8(1), I4(2, True)))
_held_loss = Native(_KERNELS, "held_loss", (INT, FLOAT, F8(2), F8(1), F8(1), U1(1), FLOAT, I8(1, True)))
_add_leaf = Native(_KERNELS, "add_leaf", (Array("uint64", 1), INT, U4(1), I4(1), INT, I8(1, True), I8(1, True)))
_partition = Native(_KERNELS, "partition", (U1(1), U1(1), U4(1), U4(1, True)), INT)
_add_values = Native(_KERNELS, "add_values", (U4(1), FLOAT, F8(1, True)))
turned = Native(_KERNELS, "turned", (U1(1), INT, U1(2, True)))


@dataclass(frozen=True, kw_only=True)
class Grown(Fold):
    """Rows in the segments of the leaves they have fallen into; the pass splits some leaves and sums the histograms of the smaller halves.

    given, for a pass that splits: ``splits`` int32 (s, 5): output, leaf, column, left child (the right one is next), the child to sum; ``lefts`` uint8
    (s, 256), bins that go left. For the first pass of a tree: ``step`` uint64 (outs + 1,), keys of its draws; ``scale`` float64 (2,); ``unit`` float64 (), of losses;
    ``leaves`` int32 (l, 2), output and leaf, and ``values`` float64 (l,): what the last trees add to the scores of the rows there. Of a loss that is measured there is
    a pass before it, which has no scale: it moves the scores and finds the gradients, which the first pass then rounds. Passes for quantiles of residuals change nothing;
    their given and state are in `renewal`.

    state: ``sums`` int64 (s, columns · 256 · 3); ``held`` int64 (2,), loss and weight of the rows held out; ``top`` float64 (), the largest gradient;
    ``high`` float64 (), the largest score. Of the pass that measures: ``tops`` float64 (2,), the largest gradient and hessian.

    kept: ``codes`` uint64 (n · width / 8,), a byte a column, and ``columns`` uint8 (m, n), the same turned; ``rows/o/l`` uint32, the rows of leaf l of output o, ascending;
    ``packed`` int32 (outs, n); ``scores`` float64 (outs, n); ``target``, ``weight`` float64; ``counts`` uint8, 1 for rows to learn from; ``first`` int64, the
    first position; ``top`` float64; of a loss that is measured ``g`` and ``h``, float64 (outs, n), and ``tops`` float64 (2,).
    Where rows are ranked, ``group`` float64 (n,), and ``edge`` int64, rows of groups that may go on in another batch, with their positions ``edge_at``; the pass that
    measures gathers them (`ranking.no_edges`), and the first pass of a tree is given ``edge_at`` and ``edge_slopes`` float64 (2, e), their gradients and hessians.
    """

    traits: ClassVar[Traits] = Traits(order_free=True)
    encoded: ClassVar[bool] = True
    beside: ClassVar[bool] = True
    loss: Loss
    outs: int
    columns: int
    width: int
    share: int
    held: float
    group: int  # which dense column says the group of a row; -1 where none does
    rows: int
    seed: int

    def init(self, given: Mapping[str, Any]) -> State:
        if "prefix" in given:
            return no_residuals(given)
        if "splits" not in given and "scale" not in given:
            return {"tops": np.zeros(2)} | (no_edges() if self.group >= 0 else {})
        leaves = len(given["splits"]) if "splits" in given else self.outs
        sums = np.zeros((leaves, self.columns * 256 * 3), np.int64)
        return {"sums": sums, "held": np.zeros(2, np.int64), "top": np.zeros(()), "high": np.array(-np.inf)}

    def keep(self, kept: State | None, batch: Any, given: Mapping[str, Any]) -> State:
        if kept is None:
            return self._built(batch, given)
        if "prefix" in given:  # the first pass for quantiles is a step that changes nothing
            return kept
        if "splits" in given:
            return self._split(kept, given["splits"], given["lefts"])
        if "leaves" not in given:
            return self._stepped(kept, given)
        scores = kept["scores"].copy()
        for (out, leaf), value in zip(given["leaves"].tolist(), given["values"].tolist(), strict=True):
            _add_values(kept[f"rows/{out}/{leaf}"], value, scores[out])
        return self._stepped(kept | {"scores": scores}, given)

    def _built(self, batch: Batch, given: Mapping[str, Any]) -> State:
        """From the rows themselves, at the step that `given` tells: bins, then scores of all trees, then gradients, then splits in their order."""
        design, n = design_of(batch), batch.rows
        weight, target = weights_of(batch), batch.target.astype(np.float64)
        if "by_class" in given:
            by_class = given["by_class"][batch.target]
            weight = weight * by_class if len(weight) else by_class
        learned = np.ones(n, np.bool_)
        if self.held:  # the same rows that a pass over Rows("train") leaves out
            learned = Permutation(self.rows, seed=self.seed, purpose="split").forward(batch.positions) >= round(self.held * self.rows)
        if len(weight):
            learned &= weight > 0
        codes = encoded(design, given["edges"], given["places"])
        scores = np.repeat(given["base"][:, None], n, axis=1)
        add_trees(codes, self.width, given, scores)
        columns = np.empty((self.columns, n), np.uint8)
        turned(codes, self.width, columns)
        kept: State = {"codes": codes.view(np.uint64), "columns": columns, "scores": scores, "target": target, "weight": weight}
        kept |= {"counts": learned.astype(np.uint8), "first": batch.positions[:1].copy()}
        if self.group >= 0:
            group = np.ascontiguousarray(design.dense[:, self.group], np.float64)
            edge = edges(group)
            kept |= {"group": group, "edge": edge, "edge_at": batch.positions[edge]}
        kept = self._measured(kept) if self.loss.measured else kept
        kept = self._stepped(kept, given) if "scale" in given else kept
        for part in range(int(given["parts"])):
            kept = self._split(kept, given[f"splits/{part}"], given[f"lefts/{part}"])
        return kept

    def _measured(self, kept: State) -> State:
        """Gradients at the scores, as they are."""
        if self.group >= 0:
            return kept | whole_slopes(kept)
        g, h, tops = np.empty_like(kept["scores"]), np.empty_like(kept["scores"]), np.zeros(2)
        _measured(self.loss.place, self.loss.constant, kept["scores"], kept["target"], kept["weight"], kept["counts"], g, h, tops)
        return kept | {"g": g, "h": h, "tops": tops}

    def _stepped(self, kept: State, given: Mapping[str, Any]) -> State:
        """The first step of a tree: gradients at the scores, all rows in one leaf."""
        if "scale" not in given:
            return self._measured(kept)
        scores, counts, first = kept["scores"], kept["counts"], int(kept["first"][0])
        n = scores.shape[1]
        packed = np.empty(scores.shape, np.int32)
        if self.loss.measured:
            top, g, h = float(kept["tops"][0]), kept["g"], kept["h"]
            if self.group >= 0:
                g, h = g.copy(), h.copy()
                g[0, kept["edge"]], h[0, kept["edge"]] = given["edge_slopes"][:, np.searchsorted(given["edge_at"], kept["edge_at"])]
            _rounded(g, h, counts, first, given["step"], self.share, given["scale"], packed)
        else:
            g, h = np.empty(n), np.empty(n)
            top = _gradients(
                self.loss.place, self.loss.constant, scores, kept["target"], kept["weight"], counts, first, given["step"], self.share, given["scale"], g, h, packed
            )
        rest = {name: array for name, array in kept.items() if not name.startswith("rows/")}
        everyone = np.arange(n, dtype=np.uint32)
        return rest | {"packed": packed, "top": np.array(top)} | {f"rows/{out}/0": everyone for out in range(self.outs)}

    def _split(self, kept: State, splits: npt.NDArray[np.int32], lefts: npt.NDArray[np.uint8]) -> State:
        kept = dict(kept)
        for i, (out, leaf, column, child, _) in enumerate(splits.tolist()):
            rows = kept.pop(f"rows/{out}/{leaf}")
            parted = np.empty_like(rows)
            middle = _partition(kept["columns"][column], lefts[i], rows, parted)
            kept[f"rows/{out}/{child}"], kept[f"rows/{out}/{child + 1}"] = parted[:middle], parted[middle:]
        return kept

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        kept = batch.kept
        if "prefix" in given:
            return add_residuals(state, kept, given)
        if "tops" in state:
            return self.merge(state, {"tops": kept["tops"]} | (at_edges(kept) if self.group >= 0 else {}), given)
        local, words = np.zeros(scratch(self.columns), np.int64), kept["codes"]
        fresh = "splits" not in given
        leaves = [(out, 0) for out in range(self.outs)] if fresh else [(out, leaf) for out, _, _, _, leaf in given["splits"].tolist()]
        for i, (out, leaf) in enumerate(leaves):
            _add_leaf(words, self.width, kept[f"rows/{out}/{leaf}"], kept["packed"][out], self.columns, local, state["sums"][i])
        if fresh:
            state["top"], state["high"] = np.maximum(state["top"], kept["top"]), np.maximum(state["high"], kept["scores"].max())
            if self.held:
                _held_loss(
                    self.loss.place, self.loss.constant, kept["scores"], kept["target"], kept["weight"], kept["counts"], float(given["unit"]), state["held"]
                )
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        if "tops" in left:
            return {"tops": np.maximum(left["tops"], right["tops"])} | (add_edges(left, right) if self.group >= 0 else {})
        left["sums"] += right["sums"]
        if "held" not in left:
            return left
        left["held"] += right["held"]
        return left | {"top": np.maximum(left["top"], right["top"]), "high": np.maximum(left["high"], right["high"])}


def scratch(columns: int) -> int:
    """Numbers of int64 that `_add_leaf` works in."""
    return -(-columns // 8) * 8 * 256 + 1024


def keys_of(seed: int, tree: int, outs: int) -> npt.NDArray[np.uint64]:
    """uint64 (outs + 1,): what the draws of a tree are hashed with, for each output, and last for the rows that take part."""
    return np.array([key64(seed, f"tree {tree} output {k}") for k in range(outs)] + [key64(seed, f"tree {tree} rows")], np.uint64)
