"""Means of rows, by class or of all, and sums of squares and products about them, merged stably."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput, Refused
from ..core.learner import SHARDS, Context, Cover, Fold, Traits
from ..core.state import State
from ..data.batch import Batch, DesignShape, aligned_empty
from .blocks import NOTHING, blocks, design_of, refuse_missing, table_width, weights_of

__all__ = ["WIDEST", "Scatter", "columns_of", "cover_for", "refuse_overflow", "refuse_weightless", "refuse_wide", "still_columns"]

F64 = npt.NDArray[np.float64]
WIDEST = 2048  # columns: 34 MB of products a state, and some seconds to decompose them
_WIDE = 1 << 20  # bytes of a state above which few lanes are used
_EPS = float(np.finfo(np.float64).eps)
_SAMPLED = 61  # every so many rows tell about where a mean lies; a prime, which no pattern in the rows is likely to follow
_ROOM = 1 << 17  # numbers in a buffer of shifted rows: 1 MB


def columns_of(shape: DesignShape) -> int:
    """Columns of the rows as `blocks` spreads them: table slots, then dense ones."""
    return table_width(shape) + len(shape.names)


def cover_for(context: Context, size: int) -> Cover:
    """Shards, or few chains where a state of `size` bytes is wide."""
    return context.few if size > _WIDE else SHARDS


def refuse_wide(what: str, columns: int, most: int, todo: str) -> None:
    if columns > most:
        raise Refused(f"{what} over {columns} columns", allowed=f"up to {most}", todo=todo)


def refuse_weightless(weight: F64) -> None:
    if not weight.sum() > 0:
        raise BadInput("no row has a weight above 0", where="weight")


@dataclass(frozen=True, kw_only=True)
class Scatter(Fold):
    """Means, and sums of squares and products about them.

    Rows belong to the class of their target where there are `classes`, else (0) all to one. state, float64: weight (K,), mean (K, p), scatter: "each"
    (K, p, p), of each class about its mean; "pooled" (p, p), their sum; "diagonal" (K, p). Batches are summed about their own means and meet by
    Chan, Golub and LeVeque (1979). Cost: p² sums a row ("diagonal": p), and two reads of a batch (one where there are no classes).
    """

    traits: ClassVar[Traits] = Traits()
    columns: int
    classes: int = 0
    kind: Literal["each", "pooled", "diagonal"] = "pooled"

    def init(self, given: Mapping[str, Any]) -> State:
        p, groups = self.columns, max(1, self.classes)
        size = {"each": (groups, p, p), "pooled": (p, p), "diagonal": (groups, p)}[self.kind]
        return {"weight": np.zeros(groups), "mean": np.zeros((groups, p)), "scatter": np.zeros(size)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        weight = weights_of(batch)
        label = batch.target if self.classes else np.zeros(batch.rows, np.int32)
        own = self.init(given)
        with np.errstate(invalid="ignore", over="ignore"):  # looked for below, by name
            own["weight"], mean = self._means(batch, label, weight)
            rest = np.zeros_like(mean)
            self._sum(own["scatter"], rest, batch, label, weight, mean)
            total = np.maximum(own["weight"], np.finfo(np.float64).tiny)[:, None]
            own["mean"] = mean + rest / total
            # what was left of the mean it was summed about (Chan, Golub and LeVeque 1983)
            self._products(own["scatter"], rest / np.sqrt(total), -1.0)
        if not (np.isfinite(own["scatter"]).all() and np.isfinite(own["mean"]).all()):
            refuse_missing(batch)
        return self.merge(state, own, given)

    def _means(self, batch: Batch, label: Any, weight: F64) -> tuple[F64, F64]:
        """The weight of each class, and its mean; of rows that count alike and have no classes every 61st tells enough: no sum is far from its mean then."""
        from .kernels.classed import class_sums

        groups, add, design = max(1, self.classes), class_sums(), design_of(batch)
        counts, sums = np.zeros(groups), np.zeros((groups, self.columns))
        if self.kind == "pooled" and not self.classes and not len(weight) and design.ragged is None:
            few = replace(design, dense=design.dense[::_SAMPLED], slots=design.slots[::_SAMPLED])
            for block in blocks(few, spread=True):
                sums[0] += block.x.sum(0)
            return np.array([float(batch.rows)]), sums / len(few.dense)
        for block in blocks(design, spread=True):
            part = slice(block.start, block.stop)
            add(block.x, label[part], weight[part] if len(weight) else NOTHING, sums, counts)
        return counts, sums / np.maximum(counts, np.finfo(np.float64).tiny)[:, None]

    def _sum(self, scatter: F64, rest: F64, batch: Batch, label: Any, weight: F64, mean: F64) -> None:
        from .kernels.classed import about, about_by_class, spreads

        design, shift = design_of(batch), spreads() if self.kind == "diagonal" else about() if self.kind == "pooled" else about_by_class()
        room = _ROOM // self.columns  # rows whose products are summed at once: more than a block, which is small for that
        z, filled, ends = NOTHING, 0, np.zeros(len(mean) + 1, np.int64)
        for block in blocks(design, spread=True):
            part = slice(block.start, block.stop)
            row = weight[part] if len(weight) else NOTHING
            if self.kind == "diagonal":
                shift(block.x, label[part], row, mean, scatter, rest)
                continue
            if not len(z):
                z = aligned_empty((max(room, len(block.x)), self.columns), np.float64)
            if self.kind == "each":
                shift(block.x, label[part], np.sqrt(row), mean, z, rest, ends)
                for k in np.flatnonzero(np.diff(ends)):
                    own = z[ends[k] : ends[k + 1]]
                    scatter[k] += own.T @ own  # of a matrix by itself: BLAS sums one half
                continue
            if filled + len(block.x) > len(z):
                scatter += z[:filled].T @ z[:filled]
                filled = 0
            shift(block.x, label[part], np.sqrt(row), mean, z[filled : filled + len(block.x)], rest)
            filled += len(block.x)
        if filled:
            scatter += z[:filled].T @ z[:filled]

    def _products(self, scatter: F64, apart: F64, sign: float) -> None:
        """Add sign times the products of the rows of apart (K, p), by class or over all of them."""
        if self.kind == "diagonal":
            scatter += sign * (apart * apart)
        elif self.kind == "pooled":
            scatter += sign * (apart.T @ apart)
        else:
            scatter += sign * (apart[:, :, None] * apart[:, None, :])

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        total = left["weight"] + right["weight"]
        share = right["weight"] / np.where(total > 0, total, 1.0)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = right["mean"] - left["mean"]
            left["scatter"] += right["scatter"]
            self._products(left["scatter"], apart * np.sqrt(left["weight"] * share)[:, None], 1.0)
            return left | {"weight": total, "mean": left["mean"] + apart * share[:, None]}


def refuse_overflow(found: State, names: tuple[str, ...], kind: str) -> None:
    """BadInput where squares of a finite column are not: names are of the dense columns, which come last."""
    scatter = found["scatter"]
    squares = scatter if kind == "diagonal" else np.diagonal(scatter, axis1=-2, axis2=-1)
    wrong = np.flatnonzero(~(np.isfinite(squares).reshape(-1, squares.shape[-1]).all(0) & np.isfinite(found["mean"]).all(0)))
    if len(wrong):
        place = int(wrong[0]) - (squares.shape[-1] - len(names))
        what = f"column {names[place]!r}" if place >= 0 else "a sparse column"
        raise BadInput(f"the squares of {what} overflow float64", todo="Divide the column by a constant first, or leave it out.")


def still_columns(spread: F64, mean: F64, weight: float | F64) -> npt.NDArray[np.bool_]:
    """Where a sum of squares (p,) or (K, p) about the mean is what rounding left of a column that never changes."""
    return np.asarray(spread <= weight * (32 * _EPS * np.abs(mean)) ** 2)
