"""Targets and weights of a batch: exact numbers for a learner, or an error that names the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput
from .batch import Array, Batch, Codes, Numbers, Texts

__all__ = ["check_finite", "row_place", "target_of", "weight_of"]

_ROW = (1 << 40) - 1


def row_place(batch: Batch, index: int) -> str:
    """Names row `index` of a batch for an error: its file and its row there, counted from 0."""
    if batch.ids is None:
        return f"{batch.place or 'row'} {int(batch.positions[index])}" if not batch.place else f"{batch.place}, row {int(batch.positions[index])}"
    here, first = int(batch.ids[index]), int(batch.ids[0])
    other = "" if here >> 40 == first >> 40 else f", {(here >> 40) - (first >> 40)} files further"
    return f"{batch.place}{other}, row {here & _ROW}" if batch.place else f"row {here & _ROW}"


def _missing(batch: Batch, valid: npt.NDArray[np.bool_], what: str) -> BadInput:
    index = int(np.flatnonzero(~valid)[0])
    return BadInput(f"the {what} is missing", where=row_place(batch, index), todo="Drop rows without it, or fill it in.")


def _finite(batch: Batch, column: Any, what: str) -> npt.NDArray[np.float64]:
    if not isinstance(column, Numbers):
        raise BadInput(f"the {what} is not a number", where=batch.place, allowed="a numeric column")
    if column.valid is not None and not column.valid.all():
        raise _missing(batch, column.valid, what)
    values = column.values.astype(np.float64)
    good = np.isfinite(values)
    if not good.all():
        index = int(np.flatnonzero(~good)[0])
        if np.isnan(values[index]):
            raise _missing(batch, good, what)
        raise BadInput(f"the {what} is {values[index]}", where=row_place(batch, index), allowed="finite numbers")
    return values


def check_finite(batch: Batch, name: str) -> None:
    """Raise BadInput naming the row where a numeric input is infinite; NaN is a missing value and passes."""
    column = batch.column(name)
    if not isinstance(column, Numbers) or column.values.dtype.kind != "f":
        return
    bad = np.isinf(column.values)
    if column.valid is not None:
        bad &= column.valid
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        raise BadInput(f"column {name!r} is {column.values[index]}", where=row_place(batch, index), allowed="finite numbers, or nothing for a missing value")


def _unseen(batch: Batch, index: int, value: object, classes: tuple[Any, ...]) -> BadInput:
    shown = ", ".join(map(repr, classes[:8])) + (", …" if len(classes) > 8 else "")
    return BadInput(
        f"the target is {value!r}, a class that was not there in training",
        where=row_place(batch, index),
        allowed=shown,
        todo="Train again with rows of this class, or leave them out.",
    )


def _number_classes(batch: Batch, column: Numbers, classes: tuple[Any, ...]) -> npt.NDArray[np.int32]:
    values = column.values
    valid = column.valid
    if values.dtype.kind == "f":
        nan = np.isnan(values)
        valid = ~nan if valid is None else valid & ~nan
    if valid is not None and not valid.all():
        raise _missing(batch, valid, "target")
    table = np.array(classes)
    if table.dtype.kind not in "biuf":
        raise BadInput("the target holds numbers, its classes are of another type", where=batch.place, allowed=", ".join(map(repr, classes[:8])))
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    if table.dtype.kind in "bi" and values.dtype.kind in "iu" and int(table[-1]) - int(table[0]) == len(table) - 1:
        first, last = int(table[0]), int(table[-1])
        if len(values) and (int(values.min()) < first or int(values.max()) > last):
            index = int(np.flatnonzero((values < first) | (values > last))[0])
            raise _unseen(batch, index, column.values[index].item(), classes)
        return (values.astype(np.int64) - first).astype(np.int32) if first else values.astype(np.int32)
    table = table.astype(values.dtype) if values.dtype.kind == "f" else table.astype(np.int64)
    places = np.minimum(np.searchsorted(table, values), len(table) - 1)
    wrong = table[places] != values
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise _unseen(batch, index, column.values[index].item(), classes)
    return places.astype(np.int32)


def _code_classes(batch: Batch, column: Codes, classes: tuple[Any, ...]) -> npt.NDArray[np.int32]:
    def make(values: Any) -> Array:
        numbers = {value: k for k, value in enumerate(classes)}
        return np.array([*(numbers.get(value, -2) for value in values.to_pylist()), -1], np.int32)

    found: npt.NDArray[np.int32] = column.dictionary.derive(("class", classes), make)[column.codes]
    if len(found) and int(found.min()) < 0:
        if (found == -1).any():
            raise _missing(batch, found != -1, "target")
        index = int(np.flatnonzero(found < 0)[0])
        raise _unseen(batch, index, column.dictionary.values[int(column.codes[index])].as_py(), classes)
    return found


def target_of(batch: Batch) -> Array:
    """The target of a batch: (n,) int32 class numbers in the order of `schema.classes`, or float64 values.

    Raises
    ------
    BadInput
        For a missing target, a class not in the schema, or a number that is not finite: names file and row.
    """
    name = batch.schema.target
    if not name:
        raise BadInput("the source has no target", where=batch.place, todo="Name the column to learn: og.read(..., target='column').")
    column = batch.column(name)
    if batch.schema.task == "number":
        return _finite(batch, column, "target")
    classes = batch.schema.classes
    if isinstance(column, Codes):
        return _code_classes(batch, column, classes)
    if isinstance(column, Texts) or not isinstance(column, Numbers):
        raise BadInput(f"the target {name!r} is text and has no classes", where=batch.place, todo=f"Say that it is a category: kinds={{{name!r}: 'category'}}.")
    return _number_classes(batch, column, classes)


def weight_of(batch: Batch, name: str = "") -> npt.NDArray[np.float64] | None:
    """The weights of a batch, (n,) float64 ≥ 0: the column `name`, or the schema's weight; None where neither is named.

    Raises
    ------
    BadInput
        For a weight that is missing, infinite or below zero: names file and row.
    """
    name = name or batch.schema.weight
    if not name:
        return None
    weights = _finite(batch, batch.column(name), "weight")
    if len(weights) and weights.min() < 0:
        index = int(np.flatnonzero(weights < 0)[0])
        raise BadInput(f"the weight is {weights[index]}", where=row_place(batch, index), allowed="weights of 0 or more", todo="Correct the row, or leave it out.")
    return weights
