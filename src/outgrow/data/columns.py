"""Columns from Arrow arrays: numpy views over the buffers, cut and joined without a look at single rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import BadInput
from .batch import Array, Codes, Column, Dictionary, Field, Numbers, Ragged, Texts

# Arrow's own allocator keeps up to 30 MB of what it is given back, and no plan can say when: the C library's holds as much as is in use.
pa.set_memory_pool(pa.system_memory_pool())

__all__ = ["JoinedDictionary", "check_utf8", "column_of", "column_type", "common_type", "cut", "join", "storage_type"]


def storage_type(kind: str, arrow: pa.DataType) -> pa.DataType:
    """The Arrow type in which a column of this kind is kept, whatever the file's own encoding.

    Dictionaries give their value type, strings of every layout `string`, dates `timestamp[us]`, decimals `double`.
    """
    if pa.types.is_dictionary(arrow):
        return storage_type(kind, arrow.value_type)
    if kind in ("date", "text"):
        return pa.timestamp("us") if kind == "date" else pa.string()
    if _is_string(arrow) or pa.types.is_null(arrow) or pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow):
        return pa.string() if kind == "category" else pa.float64()
    if pa.types.is_temporal(arrow):
        return pa.string() if kind == "category" else pa.int64()
    return pa.float64() if pa.types.is_decimal(arrow) else arrow


def column_type(field: Field) -> pa.DataType:
    """The Arrow type that `Field.dtype` names."""
    return pa.type_for_alias(field.dtype)


def common_type(left: Any, right: Any) -> Any:
    """The type that holds the values of both, or None."""
    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    kinds = [storage_type("category", kind) for kind in (left, right)]
    if kinds[0] == kinds[1] == pa.string() and not any(pa.types.is_temporal(kind) for kind in (left, right)):
        return pa.string()
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (left, right)):
        return pa.from_numpy_dtype(np.promote_types(left.to_pandas_dtype(), right.to_pandas_dtype()))
    if all(pa.types.is_timestamp(kind) or pa.types.is_date(kind) for kind in (left, right)):
        return pa.timestamp("us")
    return None


def _is_string(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow))


def _bits(array: pa.Array, index: int) -> npt.NDArray[np.bool_]:
    """bool (n,): the bitmap in buffer `index` of an array."""
    offset, count = array.offset, len(array)
    first = offset // 8
    raw = np.frombuffer(array.buffers()[index], np.uint8)[first : (offset + count + 7) // 8]
    found: npt.NDArray[np.bool_] = np.unpackbits(raw, bitorder="little")[offset - 8 * first : offset - 8 * first + count].view(np.bool_)
    return found


def _valid(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    if array.null_count == 0:
        return None
    return np.zeros(len(array), np.bool_) if array.buffers()[0] is None else _bits(array, 0)


def _view(array: pa.Array, dtype: npt.DTypeLike) -> Array:
    """The values of a fixed-width array, as they lie in its buffer."""
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype)[array.offset : array.offset + len(array)]


def _cast(array: pa.Array, wanted: pa.DataType, name: str, where: str) -> pa.Array:
    if array.type == wanted:
        return array
    try:
        if pa.types.is_floating(array.type) and pa.types.is_integer(wanted):
            array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)  # NaN is a missing value
        return array.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row, value = _first_bad(array, wanted)
        where = f"{where}, row {row} of the block" if where else f"row {row}"
        raise BadInput(
            f"column {name!r} holds {value!r}, which does not read as {wanted} ({str(error).splitlines()[0]})",
            where=where,
            todo=f"Correct the value, or say how the column is meant: kinds={{{name!r}: 'category'}}.",
        ) from None


def _first_bad(array: pa.Array, wanted: pa.DataType) -> tuple[int, Any]:
    """The first row that does not cast, by halving."""
    low, high = 0, len(array)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            array.slice(low, middle - low).cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
        else:
            low = middle
    return low, array[low].as_py() if len(array) else None


def _numbers(array: pa.Array, field: Field, where: str) -> Numbers:
    wanted = column_type(field)
    if pa.types.is_temporal(array.type) or pa.types.is_duration(array.type):
        array = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())
    array = _cast(array, wanted, field.name, where)
    if pa.types.is_boolean(wanted):
        values: Array = _bits(array, 1) if len(array) else np.zeros(0, np.bool_)
    else:
        values = _view(array, wanted.to_pandas_dtype())
    return Numbers(values, _valid(array))


def _dates(array: pa.Array, field: Field, where: str) -> Numbers:
    wanted = pa.timestamp("us")
    if pa.types.is_timestamp(array.type):
        # finer than a microsecond is cut off; a time zone says how to show an instant, not which one it is
        array = array.cast(pa.timestamp("us", array.type.tz), safe=False).view(pa.int64())
    else:
        array = _cast(array, wanted, field.name, where).view(pa.int64())
    return Numbers(_view(array, np.int64), _valid(array))


def _codes(array: pa.Array, field: Field, where: str, before: Dictionary | None) -> Codes:
    wanted = column_type(field)
    if not pa.types.is_dictionary(array.type):
        array = _cast(array, wanted, field.name, where).dictionary_encode()
    indices, values = array.indices, array.dictionary
    if values.type != wanted:
        values = _cast(values, wanted, field.name, where)
    if indices.type != pa.int32():
        indices = indices.cast(pa.int32())
    same = before is not None and len(before) == len(values) and before.values.equals(values)
    if not same:
        check_utf8(values, field.name, where)
    codes = _view(pc.fill_null(indices, -1) if indices.null_count else indices, np.int32)
    if values.null_count or pa.types.is_floating(values.type):
        lost = np.append(pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False), False)
        codes = np.where(lost[codes], np.int32(-1), codes)
    return Codes(codes, before if same and before is not None else Dictionary(values))


def check_utf8(array: pa.Array, name: str, where: str) -> None:
    """Raise BadInput where strings are not UTF-8; files may hold any bytes."""
    if not _is_string(array.type):
        return
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise BadInput(f"column {name!r} is not UTF-8 text ({str(error).splitlines()[0]})", where=where, todo="Convert the file to UTF-8.") from None


def _texts(array: pa.Array, field: Field, where: str) -> Texts:
    if not _is_string(array.type) or pa.types.is_string_view(array.type):
        array = _cast(array, pa.string(), field.name, where)
    check_utf8(array, field.name, where)
    wide = pa.types.is_large_string(array.type)
    count, (_, offsets, data) = len(array), array.buffers()
    raw = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    if offsets is None or count == 0:
        return Texts(raw, np.zeros(count + 1, np.int64), _valid(array))
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[array.offset : array.offset + count + 1]
    return Texts(raw, ends.astype(np.int64, copy=False), _valid(array))


def column_of(array: pa.Array | pa.ChunkedArray, field: Field, *, where: str = "", before: Dictionary | None = None) -> Column:
    """An Arrow array as a column of the field's kind; views wherever the layout allows.

    Parameters
    ----------
    array : pyarrow Array or ChunkedArray
    field : Field
        `kind` and `dtype` say what the column must become.
    where : str
        For errors: file and row group.
    before : Dictionary, optional
        The dictionary of the block before: taken again where it is equal, so that what was derived from it lives on.

    Raises
    ------
    BadInput
        Where a value does not read as the field's type.
    """
    if isinstance(array, pa.ChunkedArray):
        if array.num_chunks == 1:
            return column_of(array.chunk(0), field, where=where, before=before)
        if array.num_chunks == 0:
            return column_of(pa.array([], array.type), field, where=where)
        parts: list[Column] = []
        for chunk in array.chunks:
            parts.append(column_of(chunk, field, where=where, before=before))
            last = parts[-1]
            before = last.dictionary if isinstance(last, Codes) else None
        return join(parts)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if field.kind == "category":
        return _codes(array, field, where, before)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if field.kind == "date":
        return _dates(array, field, where)
    return _texts(array, field, where) if field.kind == "text" else _numbers(array, field, where)


def cut(column: Column, start: int, stop: int) -> Column:
    """Rows [start, stop) of a column: views."""
    if isinstance(column, Codes):
        return Codes(column.codes[start:stop], column.dictionary)
    if isinstance(column, Texts):
        return Texts(column.data, column.offsets[start : stop + 1], None if column.valid is None else column.valid[start:stop])
    if isinstance(column, Ragged):
        return Ragged(column.offsets[start : stop + 1], column.indices, column.values, column.width)
    return Numbers(column.values[start:stop], None if column.valid is None else column.valid[start:stop])


class JoinedDictionary(Dictionary):
    """Several dictionaries, one after the other; a value may stand in it more than once.

    A batch that crosses a row group has two dictionaries a column. What was derived from each is joined, not
    computed again, wherever it is one entry a value (and perhaps a last one for missing).
    """

    __slots__ = ("_whole", "parts")

    def __init__(self, parts: Sequence[Dictionary]) -> None:
        self._memo: dict[Any, Any] = {}
        self.parts, self._whole = tuple(parts), None

    @property
    def values(self) -> Any:
        if self._whole is None:
            self._whole = pa.concat_arrays([part.values for part in self.parts])
        return self._whole

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def derive(self, key: Any, make: Any) -> Any:
        if key not in self._memo:
            found = [part.derive(key, make) for part in self.parts]
            extra = {len(item) - len(part) if isinstance(item, np.ndarray) else -1 for item, part in zip(found, self.parts, strict=True)}
            if extra == {0}:
                self._memo[key] = np.concatenate(found)
            elif extra == {1}:
                self._memo[key] = np.concatenate([*(item[:-1] for item in found), found[0][-1:]])
            else:
                self._memo[key] = make(self.values)
        return self._memo[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return JoinedDictionary, (self.parts,)


def _flat(dictionary: Dictionary) -> tuple[Dictionary, ...]:
    return dictionary.parts if isinstance(dictionary, JoinedDictionary) else (dictionary,)


def _join_codes(parts: Sequence[Codes]) -> Codes:
    places: dict[int, tuple[int, Dictionary]] = {}  # by identity: where each simple dictionary begins in the joined one
    end, codes = 0, []
    for part in parts:
        simple = _flat(part.dictionary)
        for item in simple:
            if id(item) not in places:
                places[id(item)], end = (end, item), end + len(item)
        starts = np.array([places[id(item)][0] for item in simple], np.int32)
        if len(simple) == 1:
            shift: Any = starts[0]
        else:
            own = np.cumsum([0, *(len(item) for item in simple)][:-1])
            which = np.searchsorted(own, part.codes, side="right") - 1
            shift = (starts - own)[which].astype(np.int32)
        codes.append(part.codes if not np.any(shift) else np.where(part.codes < 0, np.int32(-1), part.codes + shift))
    if len(places) == 1:
        return Codes(np.concatenate(codes), next(iter(places.values()))[1])
    return Codes(np.concatenate(codes), JoinedDictionary([item for _, item in places.values()]))


def _join_ragged(offsets: Sequence[Array]) -> npt.NDArray[np.int64]:
    lengths = np.concatenate([np.diff(item) for item in offsets])
    joined = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=joined[1:])
    return joined


def join(parts: Sequence[Column]) -> Column:
    """Columns of the same kind one below the other: fresh arrays (a single part is given back as it is)."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    if isinstance(first, Codes):
        return _join_codes([part for part in parts if isinstance(part, Codes)])
    if isinstance(first, Ragged):
        rows = [part for part in parts if isinstance(part, Ragged)]
        spans = [slice(int(part.offsets[0]), int(part.offsets[-1])) for part in rows]
        indices = np.concatenate([part.indices[span] for part, span in zip(rows, spans, strict=True)])
        values = np.concatenate([part.values[span] for part, span in zip(rows, spans, strict=True)])
        return Ragged(_join_ragged([part.offsets for part in rows]), indices, values, max(part.width for part in rows))
    flags = [getattr(part, "valid", None) for part in parts]
    valid = None
    if any(flag is not None for flag in flags):
        valid = np.concatenate([np.ones(len(part), np.bool_) if flag is None else flag for part, flag in zip(parts, flags, strict=True)])
    if isinstance(first, Texts):
        texts = [part for part in parts if isinstance(part, Texts)]
        data = np.concatenate([part.data[int(part.offsets[0]) : int(part.offsets[-1])] for part in texts])
        return Texts(data, _join_ragged([part.offsets for part in texts]), valid)
    return Numbers(np.concatenate([part.values for part in parts if isinstance(part, Numbers)]), valid)
