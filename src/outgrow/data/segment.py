"""Columns of a packed segment as Arrow arrays, and back as views of the memory map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadFile
from .batch import Codes, Column, Dictionary, Field, Numbers, Ragged, Texts
from .columns import column_of, column_type

__all__ = ["REMEDY", "Mapped", "compact", "from_arrow", "mapped", "to_arrow", "widened", "write_segment"]

REMEDY = "Remove the folder; the data will be packed again."


def to_arrow(column: Column, field: Field) -> Any:
    """A column as an Arrow array whose buffers can be read back as they lie."""
    import pyarrow as pa

    if isinstance(column, Codes):
        return _arrow_codes(column)
    if isinstance(column, Texts):
        lengths = np.diff(column.offsets)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        data = np.ascontiguousarray(column.data[int(column.offsets[0]) : int(column.offsets[-1])])
        return pa.Array.from_buffers(pa.large_string(), len(column), [_bitmap(column.valid), pa.py_buffer(offsets), pa.py_buffer(data)])
    if isinstance(column, Ragged):
        low, high = int(column.offsets[0]), int(column.offsets[-1])
        pair = pa.StructArray.from_arrays([pa.array(column.indices[low:high], pa.int32()), pa.array(column.values[low:high], pa.float64())], ["index", "value"])
        return pa.LargeListArray.from_arrays(pa.array(column.offsets - low, pa.int64()), pair)
    kind = column_type(field)
    mask = None if column.valid is None else ~column.valid
    plain = pa.array(np.ascontiguousarray(column.values), mask=mask)
    return plain.view(kind) if pa.types.is_timestamp(kind) else plain.cast(kind)


def write_segment(path: Path, columns: Mapping[str, Column], fields: Sequence[Field], room: Callable[[int], None] | None = None) -> None:
    """Write one segment: an Arrow IPC file of one record batch. room: told of the bytes, of the batch before they are written, and of what the file takes beside."""
    import pyarrow as pa

    batch = pa.RecordBatch.from_arrays([to_arrow(columns[item.name], item) for item in fields], names=[item.name for item in fields])
    if room is not None:
        room(batch.nbytes)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    if room is not None:
        room(path.stat().st_size - batch.nbytes)


def _bitmap(valid: npt.NDArray[np.bool_] | None) -> Any:
    import pyarrow as pa

    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _arrow_codes(column: Codes) -> Any:
    """Only values that occur, each once."""
    import pyarrow as pa

    places, values = column.codes.astype(np.intp), column.dictionary.values  # intp: numpy would convert once for each use
    used: npt.NDArray[np.bool_] = np.zeros(len(values) + 1, np.bool_)
    used[places] = True
    used[-1] = False
    kept = np.flatnonzero(used)
    encoded = values.take(pa.array(kept)).dictionary_encode()
    count = len(encoded.dictionary)
    narrow = np.int8 if count <= 1 << 7 else np.int16 if count <= 1 << 15 else np.int32
    numbers: npt.NDArray[Any] = np.full(len(values) + 1, -1, narrow)
    numbers[kept] = encoded.indices.to_numpy().astype(narrow)
    new = numbers[places]
    gone = new < 0
    indices = pa.Array.from_buffers(pa.from_numpy_dtype(narrow), len(new), [_bitmap(~gone) if gone.any() else None, pa.py_buffer(new)])
    return pa.DictionaryArray.from_arrays(indices, encoded.dictionary)


def from_arrow(array: Any, field: Field, where: str) -> Column:
    """A packed array as a column; checked, because kernels trust codes and offsets."""
    if field.kind == "sparse":
        return _ragged(array, field, where)
    if field.kind != "category":
        return column_of(array, field, where=where)
    indices = array.indices
    codes = np.frombuffer(indices.buffers()[1], indices.type.to_pandas_dtype())[indices.offset : indices.offset + len(indices)]
    if len(codes) and (int(codes.min()) < -1 or int(codes.max()) >= len(array.dictionary)):
        raise BadFile(f"column {field.name!r} has codes outside its dictionary", where=where, todo=REMEDY)
    return Codes(codes, Dictionary(array.dictionary))


def _ragged(array: Any, field: Field, where: str) -> Ragged:
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    pair = array.values
    indices = pair.field(0).to_numpy(zero_copy_only=True) if len(pair) else np.zeros(0, np.int32)
    values = pair.field(1).to_numpy(zero_copy_only=True) if len(pair) else np.zeros(0)
    width = int(field.dtype[7:-1])
    ordered = len(offsets) and int(offsets[0]) >= 0 and int(offsets[-1]) <= len(indices) and bool((np.diff(offsets) >= 0).all())
    if not ordered or (len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < width)):
        raise BadFile(f"column {field.name!r} has offsets or indices outside its range", where=where, todo=REMEDY)
    return Ragged(offsets, indices, values, width)


Rows = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]  # rows of a segment, the bytes of a bitmap that hold theirs, and the bit in each


@dataclass(frozen=True, slots=True)
class Mapped:
    """A packed column from which single rows are picked, all of it left as it lies in the map: nothing is unpacked but these rows.

    column: without its validity; empty of bools, which are bits: `truths`. truths, valid : uint8 bitmaps, the first bit that of the first row.
    """

    column: Column
    truths: npt.NDArray[np.uint8] | None
    valid: npt.NDArray[np.uint8] | None

    @staticmethod
    def rows(places: npt.NDArray[np.int64]) -> Rows:
        """Some rows, as `where` takes them."""
        return places, places >> 3, np.left_shift(1, places & 7).astype(np.uint8)

    def where(self, rows: Rows) -> Column:
        """Some rows, codes widened; into dictionaries of their own, which go with them."""
        places, held, bit = rows
        valid = None if self.valid is None else (self.valid[held] & bit).astype(np.bool_)
        if self.truths is not None:
            return Numbers((self.truths[held] & bit).astype(np.bool_), valid)
        found = self.column.where(places)
        if isinstance(found, Codes):
            return compact(found)
        return found if valid is None or isinstance(found, Ragged) else replace(found, valid=valid)


def mapped(array: Any, field: Field, where: str) -> Mapped:
    """A packed array as it is picked from; checked as by `from_arrow`."""
    import pyarrow as pa

    if field.kind in ("sparse", "category"):
        return Mapped(from_arrow(array, field, where), None, None)
    if array.offset:
        raise BadFile(f"column {field.name!r} does not begin with its buffer", where=where, todo=REMEDY)
    bitmap, *rest = array.buffers()
    valid = np.frombuffer(bitmap, np.uint8) if array.null_count and bitmap is not None else None
    if pa.types.is_boolean(array.type) and len(array):
        return Mapped(Numbers(np.zeros(0, np.bool_)), np.frombuffer(rest[0], np.uint8), valid)
    plain = pa.Array.from_buffers(array.type, len(array), [None, *rest])
    return Mapped(from_arrow(plain, field, where), None, valid)


def compact(column: Codes) -> Codes:
    """Codes as int32 into a dictionary of which nothing is derived yet; of only the values that occur, where it has more values than there are rows."""
    import pyarrow as pa

    values = column.dictionary.values
    if len(values) <= len(column.codes):
        return Codes(column.codes.astype(np.int32, copy=False), Dictionary(values))
    used, codes = np.unique(column.codes, return_inverse=True)
    lost = int(bool((used[:1] < 0).any()))  # -1, a missing value, comes first
    return Codes((codes - lost).astype(np.int32), Dictionary(values.take(pa.array(used[lost:]))))


def widened(column: Column) -> Column:
    """Narrow codes as the int32 that kernels take; anything else as it is."""
    return Codes(column.codes.astype(np.int32, copy=False), column.dictionary) if isinstance(column, Codes) else column
