"""The classes of a target: exact, by a pass over its column alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .batch import Codes, Column, Field, Numbers
from .blocks import Store

__all__ = ["distinct", "few_enough", "values_in"]

_LIMIT = 64 << 20
_MOST = 100_000


def distinct(store: Store, field: Field, sample: Any, task: str | None) -> list[Any] | None:
    """The distinct values of a target in all rows (in the sample's, where rows are not counted yet); None where there are too many."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = sample.column(field.name)
    column = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    some = [value for value in pc.unique(column).to_pylist() if value is not None and value == value]  # noqa: PLR0124 - NaN
    numbers = field.kind == "number"
    if numbers and len(some) > 1 and (task == "number" or (task is None and not few_enough(field, some))):
        return None
    if field.kind not in ("number", "category") or any(info.rows is None for info in store.files):
        return some
    bounds = getattr(store, "bounds", None)
    ends = bounds(field.name) if bounds is not None and numbers else None
    if ends is not None and int(ends[1]) - int(ends[0]) == 1:
        return list(ends)  # two neighbouring whole numbers: nothing lies between them
    return _pass(store, field, task)


def _pass(store: Store, field: Field, task: str | None) -> list[Any] | None:
    found: set[Any] = set()
    for index in range(len(store.files)):
        for block in store.blocks(index, 0, None, [field], _LIMIT):
            found |= values_in(block.columns[field.name])
            if len(found) > _MOST or (field.kind == "number" and task is None and len(found) > 1 and not few_enough(field, found)):
                return None
    return list(found)


def few_enough(field: Field, values: Iterable[Any]) -> bool:
    """Whether so many distinct numbers may be classes."""
    seen = list(values)
    whole = all(isinstance(value, bool | int) or float(value).is_integer() for value in seen)
    return whole and len(seen) <= (2 if field.dtype in ("float", "double", "halffloat") else 20)


def values_in(column: Column) -> set[Any]:
    """The distinct values of one block of a target."""
    if isinstance(column, Codes):
        used = np.unique(column.codes)
        return {column.dictionary.values[int(code)].as_py() for code in used if code >= 0}
    if not isinstance(column, Numbers):
        return set()
    values = column.values if column.valid is None else column.values[column.valid]
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
    return set(_unique(values).tolist())


def _unique(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The distinct values; small whole numbers are marked in a table, which is far quicker than sorting."""
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
        return np.flatnonzero(np.bincount(values, minlength=2)).astype(np.bool_)
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < 1 << 16:
            return np.flatnonzero(np.bincount(values.astype(np.int64) - low)) + low
    return np.unique(values)
