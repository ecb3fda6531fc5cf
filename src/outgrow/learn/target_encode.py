"""Target encoding: a category becomes the mean of the target in its rows, drawn towards the mean of all; no row's own target is in its value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadFile, BadInput
from ..core.learner import SHARDS, Context, Feature, Fold, Pass, Price, Traits
from ..core.state import State, pack_strings, prefixed, under, unpack_strings
from ..data.batch import Batch, Column, Field, Numbers, Schema
from ..data.features.blocks import Recall
from ..data.features.hashing import Hashing
from ..data.features.onehot import OneHot
from .blocks import design_of, weights_of
from .views import But

__all__ = ["TargetEncode"]

F64 = npt.NDArray[np.float64]
_WIDE = 1 << 20  # bytes of a state above which few lanes are used
_LARGEST = 1 << 28  # numbers in a state: 2 GB
_COUNTING, _SUMMING = 0, 1  # what the carry waits for
_NARROW, _SCHEMAS = Recall(), Recall()


@dataclass(frozen=True)
class _Sums(Fold):
    """What each slot's rows say of the target, fold by fold; the last slot stands for all rows.

    Classes: ``sums`` (slots, folds, classes), int64 counts (any order and any cut give the same bits), or float64 where rows have weights. A number: ``total``
    (of weights), ``mean`` and ``m2`` (of squared deviations), float64 (slots, folds).
    """

    encode: TargetEncode
    columns: tuple[str, ...]
    width: int
    classes: int
    weighted: bool

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        return Traits(elementwise=self.classes > 0, order_free=self.classes > 0 and not self.weighted)

    def init(self, given: Mapping[str, Any]) -> State:
        shape = (self.width + 1, self.encode.folds)
        if self.classes:
            return {"sums": np.zeros((*shape, self.classes), np.float64 if self.weighted else np.int64)}
        return {name: np.zeros(shape) for name in ("total", "mean", "m2")}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.encodings import add_numbers, count_classes, weigh_classes

        slots, folds, target, weight = self.encode.slots(under("slots", given), batch, self.columns), self.encode.fold_of(batch), batch.target, weights_of(batch)
        if not self.classes:
            add_numbers()(slots, folds, target, weight, state["total"], state["mean"], state["m2"])
        elif self.weighted:
            weigh_classes()(slots, folds, target, weight, state["sums"])
        else:
            count_classes()(slots, folds, target, state["sums"])
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        from .kernels.encodings import meet

        if self.classes:
            return {"sums": np.add(left["sums"], right["sums"], out=left["sums"])}
        meet()(*(part[name].reshape(-1) for part in (left, right) for name in ("total", "mean", "m2")))
        return left


@dataclass(frozen=True, kw_only=True)
class TargetEncode(Feature):
    """Put the smoothed mean of the target in place of each category: of a number its mean, of two classes the share of the second, of more a column a class.

    While what follows is fitted, a row that was fitted gets the value of all folds but its own, so that its target never leaks into it; all other rows get that of
    all. The fold of a row is a hash of its position. A missing category is one of its own; one never seen gets the mean of all rows. Row weights count.

    Parameters
    ----------
    columns : tuple of str
        The categories to encode; all of them when empty.
    smooth : float, optional
        As if every category had this many rows more, with the mean of all rows. None: for each category from its own variance beside that of
        all rows (empirical Bayes).
    folds : int
        From 2.
    bits : int, optional
        None: a value for each category, found in a pass of its own, up to 100 000 a column. Else categories of all columns share 2^bits hashed slots: one pass,
        a state that does not grow, and two categories perhaps with one value.
    seed : int
        Of folds, and of hashed slots.

    Notes
    -----
    State: 8 bytes a category, fold and class; for a number 24 a category and fold. The model holds folds + 1 values of 8 bytes a category (and class). Where all rows
    are of one fold, those that were fitted get the mean of all.

    Source: Micci-Barreca 2001, equations 3 to 6; the folds are those of scikit-learn's TargetEncoder, but for how rows are drawn.

    Examples
    --------
    >>> import outgrow as og
    >>> rows = og.read({"town": list("aaabbbb"), "y": [1.0, 2.0, 3.0, 10.0, 10.0, 20.0, 20.0]}, target="y", task="number")
    >>> model = og.plan(og.Then((og.TargetEncode(smooth=0.0), og.OneHot(), og.Moments())), rows, on="serial", probe=False).run().model
    >>> batch = next(model.reads({"town": ["a", "b", "c", None]}).read(0, 4, 4))
    >>> model.learner.encode(model.arrays, batch).column("town").values.round(3).tolist()
    [2.0, 15.0, 9.429, 9.429]
    """

    version: ClassVar[int] = 1
    weighs: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    smooth: float | None = None
    folds: int = 5
    bits: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        columns = self.columns
        if isinstance(columns, str) or not isinstance(columns, list | tuple) or not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
            raise BadField(f"columns is {columns!r}", where="TargetEncode.columns", allowed='different names, as ("town", "street")')
        object.__setattr__(self, "columns", tuple(columns))
        smooth = self.smooth
        if smooth is not None and (isinstance(smooth, bool) or not isinstance(smooth, int | float) or not 0 <= smooth < math.inf):
            raise BadField(f"smooth is {smooth!r}", where="TargetEncode.smooth", allowed="a number of rows, 0 or more, or None (from the variances)")
        for name, low, high in (("folds", 2, 1000), ("bits", 1, 31), ("seed", 0, 2**32 - 1)):
            value = getattr(self, name)
            if not (value is None and name == "bits") and (type(value) is not int or not low <= value <= high):
                raise BadField(f"{name} is {value!r}", where=f"TargetEncode.{name}", allowed=f"an integer from {low} to {high}" + ", or None" * (name == "bits"))

    # slots

    def _encoder(self) -> OneHot | Hashing:
        return OneHot() if self.bits is None else Hashing(bits=self.bits, seed=self.seed)

    def _encoded(self, schema: Schema) -> tuple[str, ...]:
        """The columns to encode, in the order of the schema. Raises BadField for one that is no category."""
        known = schema.names("category")
        for name in self.columns:
            if name not in known:
                what = f"which is {schema[name].kind}" if name in schema else "which is not there"
                raise BadField(f"{name!r} is to be encoded, {what}", where="TargetEncode.columns", allowed=", ".join(known) or "there is no category")
        return tuple(name for name in known if not self.columns or name in self.columns)

    @staticmethod
    def _narrow(schema: Schema, columns: tuple[str, ...]) -> Schema:
        """The schema of those columns alone."""
        found: Schema = _NARROW.get(columns, schema, make=lambda: Schema(fields=tuple(schema[name] for name in columns)))
        return found

    def slots(self, fitted: State, batch: Batch, columns: tuple[str, ...]) -> npt.NDArray[np.uint32]:
        """The slot of each category: uint32 (n, k); `fitted` is the encoder's."""
        narrow = batch.with_columns(self._narrow(batch.schema, columns), {name: batch.column(name) for name in columns})
        return design_of(self._encoder().apply(fitted, narrow, False)).slots

    def fold_of(self, batch: Batch) -> npt.NDArray[np.int64]:
        """The fold of each row: int64 (n,)."""
        return But(0, self.folds, self.seed).places(batch)

    # learning

    def begin(self, context: Context, start: State | None = None) -> State:
        schema: Schema = context.schema
        if not schema.target:
            raise BadInput("the rows have no target", where="TargetEncode", todo="Name the column to learn: og.read(…, target='column').")
        columns = self._encoded(schema)
        if self.bits is not None or not columns:
            return self._summing({} if columns else self._encoder().begin(self._context(context)))
        return {"phase": np.array(_COUNTING)}

    def _context(self, context: Context) -> Context:
        return replace(context, schema=self._narrow(context.schema, self._encoded(context.schema)))

    @staticmethod
    def _summing(encoder: State) -> State:
        return {"phase": np.array(_SUMMING), **prefixed("slots", encoder)}

    def _fold(self, context: Context, carry: State) -> _Sums:
        schema, inner = context.schema, self._context(context)
        width = self._encoder().schema(under("slots", carry), inner.schema).design.width  # type: ignore[union-attr]
        fold = _Sums(self, self._encoded(schema), width, len(schema.classes), bool(schema.weight))
        if width * self.folds * max(1, fold.classes) > _LARGEST:
            said = f"{width} categories or slots in {self.folds} folds" + f" of {fold.classes} classes" * bool(fold.classes)
            raise BadInput(f"{said} take over 2 GB", where="TargetEncode", todo="Name fewer bits, folds or columns.")
        return fold

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if "phase" not in carry:
            return ()
        if int(carry["phase"]) == _COUNTING:
            (asked,) = self._encoder().ask(self._context(context), {})
            counts: Any = asked.fold
            return (replace(asked, fold=replace(counts, todo="Let categories share hashed slots: TargetEncode(bits=20).")),)
        fold = self._fold(context, carry)
        wide = 8 * (fold.width + 1) * self.folds * (fold.classes or 3) > _WIDE
        return (Pass(fold=fold, given=prefixed("slots", under("slots", carry)), cover=context.few if wide else SHARDS),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        inner = self._context(context)
        if int(carry["phase"]) == _COUNTING:
            return self._summing(self._encoder().tell(inner, {}, closed))
        if "m2" in closed[0] and not np.isfinite(closed[0]["m2"]).all():
            raise BadInput("the squares of the target overflow float64", where="TargetEncode", todo="Divide the target by a constant first.")
        found = _by_number(closed[0]) if "m2" in closed[0] else _by_class(closed[0]["sums"])
        encodings = np.stack([_encodings(*part, self.smooth) for part in found])
        names = self._names(self._encoded(context.schema), context.schema)
        return {**prefixed("slots", under("slots", carry)), **pack_strings("columns", inner.schema.names()), **pack_strings("names", names), "encodings": encodings}

    # what becomes of batches

    def _names(self, columns: tuple[str, ...], schema: Schema) -> list[str]:
        """The new columns: as many a category as there are values."""
        labels = [f" {label}" for label in schema.classes] if len(schema.classes) > 2 else [""]
        return [f"{name}{label}" for name in columns for label in labels]

    def schema(self, fitted: State, schema: Schema) -> Schema:
        found: Schema = _SCHEMAS.get(self, fitted["encodings"], schema, make=lambda: self._schema(fitted, schema))
        return found

    def _schema(self, fitted: State, schema: Schema) -> Schema:
        columns, names = unpack_strings("columns", fitted), unpack_strings("names", fitted)
        each = len(names) // max(1, len(columns))
        taken = {item.name for item in schema.fields} - set(columns)
        for name in names:
            if name in taken:
                raise BadInput(f"there is a column {name!r} already", where="TargetEncode", todo="Rename it.")
        fields: list[Field] = []
        for item in schema.fields:
            if item.name in columns:
                j = columns.index(item.name)
                fields += [Field(name=name, kind="number", dtype="double") for name in names[j * each : (j + 1) * each]]
            else:
                fields.append(item)
        return schema.replace(fields)

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        columns, names, encodings = tuple(unpack_strings("columns", fitted)), unpack_strings("names", fitted), fitted["encodings"]
        if not columns:
            return batch
        after = self.schema(fitted, batch.schema)
        slots = self.slots(under("slots", fitted), batch, columns)
        if encodings.ndim != 3 or len(encodings) != self.folds + 1 or len(names) != len(columns) * encodings.shape[2] or slots.max(initial=0) >= encodings.shape[1]:
            raise BadFile("the arrays of TargetEncode do not fit together", todo="The file is damaged: copy it again, or fit again.")
        found = encodings[self.fold_of(batch)[:, None], slots] if fitting else encodings[-1][slots]
        values = np.ascontiguousarray(found.reshape(batch.rows, len(names)).T)
        made: dict[str, Column] = {name: column for name, column in batch.columns.items() if name not in columns}
        made |= {name: Numbers(values[j]) for j, name in enumerate(names)}
        return batch.with_columns(after, made)

    def price(self, context: Context) -> Price:
        schema: Schema = context.schema
        columns = self._encoded(schema)
        counted = 0 if self.bits is not None else sum(40 * max(schema[name].distinct, 16) for name in columns)
        width = 1 << self.bits if self.bits is not None else sum(max(schema[name].distinct, 16) for name in columns)
        state, passes = 8 * width * self.folds * (len(schema.classes) or 3), 1 if self.bits is not None else 2
        return Price(state=max(state, counted), given=60 * width if self.bits is None else 0, lanes=context.few.lanes if state > _WIDE else 0, passes=(passes, passes))


Moments = tuple[F64, F64, F64]  # total weight (s, 1), means (s, outs) and variances (s, outs) of the target, the last row of all


def _by_class(sums: npt.NDArray[Any]) -> list[Moments]:
    """For each fold those of all others, then those of all, from sums (slots, folds, classes)."""
    parts = []
    for fold in (*range(sums.shape[1]), -1):
        some = np.add.reduce([sums[:, k] for k in range(sums.shape[1]) if k != fold]).astype(np.float64)
        total = np.add.reduce([some[:, k : k + 1] for k in range(some.shape[1])])
        share = some[:, 1:] if some.shape[1] == 2 else some
        mean = share / np.where(total > 0, total, 1.0)
        parts.append((total, mean, mean * (1.0 - mean)))
    return _filled(parts)


def _by_number(state: State) -> list[Moments]:
    """The same from ``total``, ``mean`` and ``m2`` (slots, folds)."""
    from .kernels.encodings import meet

    parts = []
    by_fold = [[np.ascontiguousarray(state[name][:, k]) for name in ("total", "mean", "m2")] for k in range(state["total"].shape[1])]
    for fold in (*range(len(by_fold)), -1):
        some = [np.zeros(len(state["total"])) for _ in range(3)]
        for k, part in enumerate(by_fold):
            if k != fold:
                meet()(*some, *part)
        total, mean, m2 = (array[:, None] for array in some)
        parts.append((total, mean, m2 / np.where(total > 0, total, 1.0)))
    return _filled(parts)


def _filled(parts: list[Moments]) -> list[Moments]:
    """Where no other fold has rows, the mean of all. Raises BadInput where no row has weight."""
    every = parts[-1]
    if not every[0][-1, 0] > 0:
        raise BadInput("no row has weight", where="TargetEncode", allowed="weights of which one at least is above 0")
    for total, mean, _ in parts:
        if total[-1, 0] == 0:
            mean[-1] = every[1][-1]
    return parts


def _encodings(total: F64, mean: F64, variance: F64, smooth: float | None) -> F64:
    """The value of each slot: float64 (s, outs).

    By `smooth`: (n · mean + smooth · m) / (n + smooth), m the mean of all rows. None: λ · mean + (1 − λ) · m with λ = n V / (n V + v), v the variance in the slot and
    V that of all; where V is 0, or the slot has no row, m.
    """
    every, spread = mean[-1], variance[-1]
    if smooth is None:
        share = np.where(spread > 0, total / np.where(total > 0, total + variance / np.where(spread > 0, spread, 1.0), 1.0), 0.0)
    else:
        share = total / np.where(total > 0, total + smooth, 1.0)
    found: F64 = every + share * (mean - every)
    found[-1] = every
    return found
