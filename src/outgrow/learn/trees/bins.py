"""What one pass says before trees grow: edges of bins from a sample that no cut changes, and sums of the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.learner import Fold, Traits
from ...core.rng import hash64
from ...core.state import State
from ...data.batch import Batch, Design, aligned_empty
from ...data.native import F8, I8, INT, U1, U4, Native
from ..blocks import design_of, weights_of

__all__ = ["LAST", "NUMBERS", "Look", "edges_of", "encoded", "slot_places", "total", "width_of"]

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
NUMBERS = 256  # bins of a column at most, that of missing values included; a code is one byte
LAST = np.finfo(np.float64).max  # behind the last edge: nothing is above
_SAMPLE = 200_000
_SAMPLE_BYTES = 256 << 20
_KERNELS = "outgrow.learn.kernels.histograms"
_EXACT = 2 * 2048
_bins_of = Native(_KERNELS, "bins_of", (F8(2), F8(2), INT, U1(1, True)))
_add_exactly = Native("outgrow.learn.kernels.exact", "add_exactly", (F8(1), I8(1, True)))
_slot_bins = Native(_KERNELS, "slot_bins", (U4(2), U1(2), INT, INT, U1(1, True)))


def width_of(columns: int) -> int:
    """Bytes of a row's codes: its columns, up to the next multiple of 16."""
    return -(-max(1, columns) // 16) * 16


@dataclass(frozen=True, kw_only=True)
class Look(Fold):
    """Sums of the target, counts of the table's slots by column, and the numbers of some 200 000 rows: those whose hash is below a share of all.

    state: weights int64 (K, 4096), exact sums (see `total`) of each class's weight, or (2, 4096), of weight and of weight times number;
    low, high, heaviest () of target and weight; slots int64 (k, width), rows; sample float64 (r, m).
    """

    traits: ClassVar[Traits] = Traits()
    encoded: ClassVar[bool] = True
    classes: int
    dense: int
    k: int
    width: int
    rows: int
    seed: int

    def init(self, given: Mapping[str, Any]) -> State:
        slots = np.zeros((self.k, self.width), np.int64)
        ends: State = {"low": np.array(np.inf), "high": np.array(-np.inf), "heaviest": np.zeros(())}
        return {"weights": np.zeros((self.classes or 2, _EXACT), np.int64), **ends, "slots": slots, "sample": np.zeros((0, self.dense))}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        design, y, weight = design_of(batch), batch.target, weights_of(batch)
        own = self.init(given)
        counted = weight > 0 if len(weight) else slice(None)
        row_weight = weight if len(weight) else np.ones(len(y))
        for k in range(self.classes):
            _add_exactly(row_weight[y == k], own["weights"][k])
        if not self.classes and len(y[counted]):
            with np.errstate(over="ignore"):
                moment = np.nan_to_num(row_weight * y)  # one that overflows is refused by the learner, which sees low and high
            _add_exactly(row_weight, own["weights"][0])
            _add_exactly(moment, own["weights"][1])
            own |= {"low": np.asarray(y[counted].min()), "high": np.asarray(y[counted].max())}
        own["heaviest"] = np.asarray(weight.max(initial=0.0) if len(weight) else 1.0)
        for j in range(self.k):
            own["slots"][j] += np.bincount(design.slots[:, j][counted], minlength=self.width)[: self.width]
        most = min(_SAMPLE, _SAMPLE_BYTES // (8 * max(1, self.dense)))
        chosen = hash64(self.seed, "bins", batch.positions) <= np.uint64(min(1.0, most / max(1, self.rows)) * (2.0**64 - 2048))
        if len(weight):
            chosen &= weight > 0
        own["sample"] = np.ascontiguousarray(design.dense[chosen], np.float64)
        return self.merge(state, own, given)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return {
            "weights": left["weights"] + right["weights"],
            "low": np.minimum(left["low"], right["low"]),
            "high": np.maximum(left["high"], right["high"]),
            "heaviest": np.maximum(left["heaviest"], right["heaviest"]),
            "slots": left["slots"] + right["slots"],
            "sample": np.concatenate([left["sample"], right["sample"]]),
        }


def total(sums: npt.NDArray[np.int64]) -> float:
    """The float64 next to an exact sum: int64 (4096,), as `kernels.exact.add_exactly` makes it."""
    whole = sum((int(high) * (1 << 26) + int(low)) << at for at, (high, low) in enumerate(zip(sums[:2048], sums[2048:], strict=True)) if high or low)
    return float(Fraction(whole, 1 << 1075))


def edges_of(sample: F64, bins: int) -> F64:
    """float64 (m, 256): for each column of the sample (r, m), edges that part its values into at most `bins` - 1 bins of about equal counts; the largest float64 behind the last.

    NaN is a missing value. A column with no more values than bins has an edge halfway between each two of them.
    """
    out = np.full((sample.shape[1], NUMBERS), LAST)
    for j in range(sample.shape[1]):
        column = np.sort(sample[:, j])
        column = column[: np.searchsorted(column, np.nan)]
        values, first = np.unique(column, return_index=True)
        last = _lasts(np.diff(first, append=len(column)), bins - 1) if len(values) > bins - 1 else np.arange(len(values) - 1)
        halves = values[last] + 0.5 * (values[last + 1] - values[last])
        out[j, : len(last)] = np.where(halves < values[last + 1], halves, values[last])
    return out


def _lasts(counts: npt.NDArray[np.int64], bins: int) -> npt.NDArray[np.int64]:
    """The last value of each bin but the last. A value with more than its share of the rows has a bin of its own; the others take equal shares of what is left."""
    heavy = counts > counts.sum() / bins
    light = np.cumsum(np.where(heavy, 0, counts)).astype(np.float64)
    places = np.flatnonzero(heavy).tolist()
    found: list[int] = []
    before = -1
    while len(found) < bins - 1 and before < len(counts) - 1:
        while places and places[0] <= before:
            del places[0]
        stop = places[0] if places else len(counts)
        taken = light[before] if before >= 0 else 0.0
        goal = taken + (light[-1] - taken) / max(1, bins - len(found) - len(places))
        at = before + 1 if stop == before + 1 else min(stop - 1, int(np.searchsorted(light, goal)))
        if at > before + 1 and at < stop and light[at] - goal > goal - light[at - 1]:
            at -= 1
        if at >= len(counts) - 1:
            break
        found.append(at)
        before = at
    return np.array(found, np.int64)


def slot_places(counts: npt.NDArray[np.int64], bins: int) -> U8:
    """uint8 (k, width): the bin of each slot in each column of categories: from 1 for the most frequent; 0 for those beyond `bins` - 1, and where there were no rows."""
    out = np.zeros(counts.shape, np.uint8)
    for j, own in enumerate(counts):
        order = np.argsort(-own, kind="stable")
        order = order[own[order] > 0][: bins - 1]
        out[j, order] = np.arange(1, len(order) + 1)
    return out


def encoded(design: Design, edges: F64, places: U8) -> U8:
    """uint8 (n · width,): the codes of the rows, dense columns first."""
    n, m = design.dense.shape
    width = width_of(m + len(places))
    codes: U8 = aligned_empty((n * width,), np.uint8)
    codes[:] = 0
    if m:
        _bins_of(np.ascontiguousarray(design.dense, np.float64), edges, width, codes)
    if len(places):
        _slot_bins(np.ascontiguousarray(design.slots), places, m, width, codes)
    return codes
