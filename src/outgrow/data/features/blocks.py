"""From columns to the blocks of a design: dense numbers, texts of categories, and small memos by identity."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.errors import BadInput
from ..batch import Array, Batch, Codes, Numbers, Ragged, Schema, Texts, aligned_empty
from ..native import F4, F8, I8, INT, PAIR, U4, Native

__all__ = [
    "Entries", "Recall", "codes_of", "dense_block", "dense_columns", "gather_slots", "join_ragged", "lowered", "not_finite", "numbers_of", "place", "read_of",
    "sparse_of", "strings_of", "texts_of",
]  # fmt: skip

Entries = tuple[Array, Array, Array]  # entries of rows: offsets int64 (n + 1,), slots uint32, values float32

_KERNELS = "outgrow.data.features.kernels"
_gather = Native(_KERNELS, "gather", (I8(1), I8(1), I8(1), INT, U4(2, True)), INT)
_fill_dense = {np.dtype(out(2).dtype): Native(_KERNELS, "fill_dense", (I8(1), I8(1), I8(1), out(2, True)), PAIR) for out in (F4, F8)}


class Recall:
    """A small memo keyed by a configuration and the identity of objects that are never changed (schemas, fitted arrays).

    These are the same objects from batch to batch: what is parsed from them is made once, not once a batch.
    """

    def __init__(self, size: int = 16) -> None:
        self._size, self._lock = size, threading.Lock()
        self._held: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}

    def get(self, owner: Hashable, *things: Any, make: Callable[[], Any]) -> Any:
        """``make()``, or what it gave the last time for this owner and these very objects."""
        key = owner, *map(id, things)
        found = self._held.get(key)
        if found is not None and all(a is b for a, b in zip(found[0], things, strict=True)):
            return found[1]
        made = make()
        with self._lock:  # holding the things keeps their ids from being used again
            while len(self._held) >= self._size:
                del self._held[next(iter(self._held))]
            self._held[key] = things, made
        return made


def read_of(schema: Schema, names: Sequence[str], *arrays: Array) -> list[tuple[Any, ...]]:
    """(name, number, …) of the fitted columns that the schema has: a pass that names its inputs reads fewer than all."""
    here = {item.name for item in schema.fields}
    found = list(zip(names, *(array.tolist() for array in arrays), strict=True))
    return [item for item in found if item[0] in here]


def place(batch: Batch, row: int, name: str) -> str:
    """For errors: where row `row` of the batch stands in its source."""
    return ", ".join(part for part in (batch.place, f"row {int(batch.positions[row])}", f"column {name!r}") if part)


def _wrong(batch: Batch, name: str, found: object, wanted: str) -> BadInput:
    return BadInput(
        f"column {name!r} is {wanted} in the schema, and the data hold {type(found).__name__.lower()}",
        where=batch.place,
        todo="Read the data with the schema the features were fitted on.",
    )


def numbers_of(batch: Batch, name: str) -> Numbers:
    column = batch.column(name)
    if not isinstance(column, Numbers):
        raise _wrong(batch, name, column, "a number")
    return column


def codes_of(batch: Batch, name: str) -> Codes:
    column = batch.column(name)
    if not isinstance(column, Codes):
        raise _wrong(batch, name, column, "a category")
    return column


def texts_of(batch: Batch, name: str) -> Texts:
    column = batch.column(name)
    if not isinstance(column, Texts):
        raise _wrong(batch, name, column, "text")
    return column


def sparse_of(batch: Batch, name: str) -> Ragged:
    column = batch.column(name)
    if not isinstance(column, Ragged):
        raise _wrong(batch, name, column, "sparse")
    return column


def _address(array: Array) -> int:
    """Where the first element lies."""
    found: int = array.__array_interface__["data"][0]
    return found


def gather_slots(batch: Batch, names: Sequence[str], columns: Sequence[Codes], tables: Sequence[Array], mask: np.uint32, out: Array) -> None:
    """out[i, j] = tables[j][code of column j in row i] & mask; the last entry of a table belongs to missing.

    out : uint32 (n, k), written; tables : uint32. Cost: about 2 ns a code.
    """
    codes = [np.ascontiguousarray(column.codes, np.int32) for column in columns]
    wrong = _gather(
        np.array([_address(item) for item in codes], np.int64),
        np.array([_address(item) for item in tables], np.int64),
        np.array([len(item) for item in tables], np.int64),
        mask,
        out,
    )
    if wrong >= 0:
        raise BadInput(f"column {names[wrong]!r} holds a code outside its dictionary of {len(tables[wrong]) - 1} values", where=batch.place)


def join_ragged(left: Entries, right: Entries) -> Entries:
    """Row by row, the entries of the left and then those of the right."""
    from .kernels import join_rows

    total = len(left[1]) + len(right[1])
    offsets, slots, values = np.empty(len(left[0]), np.int64), np.empty(total, np.uint32), np.empty(total, np.float32)
    join_rows(*left, *right, offsets, slots, values)
    return offsets, slots, values


_KINDS = {np.dtype(np.float64): 0, np.dtype(np.float32): 1, np.dtype(np.int64): 2, np.dtype(np.int32): 3}  # as in kernels
_TURNED = 2048  # rows that are turned to columns at a time, within the caches
_WIDER = {**dict.fromkeys("?bBhH", np.int32), "I": np.int64, "e": np.float32}


def _readable(values: Array) -> Array:
    """The values, contiguous, in one of the four types that `fill_dense` reads; exact but for uint64 (rounded to float64)."""
    if values.dtype not in _KINDS:
        values = values.astype(_WIDER.get(values.dtype.char, np.dtype(np.float64)))
    return np.ascontiguousarray(values)


def _matrix_of(columns: Sequence[Numbers]) -> Array | None:
    """The rows (n, m) of which these columns are neighbouring views, where a matrix in memory is read; else None."""
    if not columns or not len(columns[0]) or any(column.valid is not None or column.values.dtype.kind != "f" for column in columns):
        return None
    first = columns[0].values
    start, size, stride = first.__array_interface__["data"][0], first.itemsize, first.strides[0]
    if stride < size * len(columns) or first.dtype.itemsize < 4:
        return None
    for j, column in enumerate(columns):
        values = column.values
        if values.dtype != first.dtype or values.strides[0] != stride or values.__array_interface__["data"][0] != start + j * size:
            return None
    return np.lib.stride_tricks.as_strided(first, (len(first), len(columns)), (stride, size), writeable=False)


def dense_block(batch: Batch, names: Sequence[str], dtype: npt.DTypeLike, extra: int = 0) -> Array:
    """Numeric columns side by side: (n, len(names) + extra), C order, NaN where missing; the extra ones not filled.

    Rows of a matrix in memory that are so already are given as they are, read-only.

    Cost: about 1.5 ns a value. Raises BadInput for a value that is infinite, or too large for `dtype`.
    """
    columns = [numbers_of(batch, name) for name in names]
    rows = _matrix_of(columns)
    if rows is not None and not extra and rows.dtype == dtype and rows.flags.c_contiguous and np.isfinite(rows.sum()):
        return rows
    out = aligned_empty((batch.rows, len(names) + extra), dtype)
    if rows is not None:
        with np.errstate(over="ignore"):
            out[:, : len(names)] = rows
        if np.isfinite(out[:, : len(names)].sum()) or not np.isinf(out[:, : len(names)]).any():
            return out  # a finite sum has no infinite part, and is a quarter of the cost of looking at each
    values = [_readable(column.values) for column in columns]
    valids = [None if column.valid is None else np.ascontiguousarray(column.valid, np.bool_) for column in columns]
    row, j = _fill_dense[out.dtype](
        np.array([_address(item) for item in values], np.int64),
        np.array([_KINDS[item.dtype] for item in values], np.int64),
        np.array([0 if item is None else _address(item) for item in valids], np.int64),
        out,
    )
    if row >= 0:
        raise not_finite(batch, row, names[j], float(values[j][row]))
    return out


def dense_columns(batch: Batch, names: Sequence[str]) -> Array:
    """Numeric columns one below the other: a fresh float64 (len(names), n), NaN where missing.

    Cost: about 2 ns a value, 6 where rows of a matrix are turned. Raises BadInput for an infinite value.
    """
    columns = [numbers_of(batch, name) for name in names]
    rows = _matrix_of(columns)
    out = aligned_empty((len(names), batch.rows), np.float64)
    if rows is not None:
        for low in range(0, len(rows), _TURNED):
            out[:, low : low + _TURNED] = rows[low : low + _TURNED].T
    else:
        for j, column in enumerate(columns):
            out[j] = column.values
            if column.valid is not None:
                out[j, ~column.valid] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        sums = out.sum(1)
    for j in np.flatnonzero(~np.isfinite(sums)).tolist():
        wrong = np.flatnonzero(np.isinf(out[j]))
        if len(wrong):
            raise not_finite(batch, int(wrong[0]), names[j], float(out[j, wrong[0]]))
    return out


def not_finite(batch: Batch, row: int, name: str, value: float) -> BadInput:
    """The error for a number that cannot be learned from."""
    if np.isfinite(value):
        return BadInput(f"{value!r} is too large for float32", where=place(batch, row, name), allowed="at most 3.4e38 in size", todo="Scale the column first.")
    return BadInput(f"the value is {value!r}", where=place(batch, row, name), allowed="finite numbers, and NaN or null where missing", todo="Correct the row, or leave it out.")


def strings_of(values: Any, where: str = "") -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer[Any]], npt.NDArray[np.int64]]:
    """The text form of an Arrow array: bytes, offsets, and the places of nulls.

    Strings are taken as they lie; other types as Arrow prints them (1.0 and 1 are both "1", true is "true").
    """
    import pyarrow as pa

    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        try:
            values = values.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadInput(f"categories of type {values.type} have no text form ({error})", where=where, todo="Convert the column to strings.") from None
    dtype = np.dtype(np.int64 if pa.types.is_large_string(values.type) else np.int32)
    empty = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)) if values.null_count else np.zeros(0, np.int64)
    _, ends, data = values.buffers()
    if ends is None or not len(values):
        return np.zeros(0, np.uint8), np.zeros(len(values) + 1, dtype), empty
    offsets = np.frombuffer(ends, dtype)[values.offset : values.offset + len(values) + 1]
    return np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8), offsets, empty


def lowered(column: Texts) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The text of a column in lower case, its offsets from 0; a missing row is empty."""
    from .words import lower

    first, last = int(column.offsets[0]), int(column.offsets[-1])
    data = np.empty(last - first, np.uint8)
    lower(column.data, first, data)
    offsets = np.ascontiguousarray(column.offsets - first)
    if column.valid is None or bool(column.valid.all()):
        return data, offsets
    lengths = np.where(column.valid, np.diff(offsets), 0)
    if lengths.sum() != last - first:  # some layouts keep bytes behind missing values
        data = data[np.repeat(column.valid, np.diff(offsets))]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return data, offsets
