"""Parquet columns straight from their pages: dictionary codes and plain numbers, in about half of pyarrow's time.

pyarrow builds validity bitmaps and Arrow arrays that would be taken apart again at once. Here a page's codes are unpacked
into the int32 array that a batch is cut from. Only what click logs and tables are mostly made of is taken (flat columns of numbers and
dictionary-encoded strings, in local files); for everything else `column_from_pages` gives None, and pyarrow decodes
the column. It also decodes, and explains, whatever looks damaged here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .batch import Array, Codes, Column, Dictionary, Field, Numbers
from .columns import check_utf8
from .native import I4, I8, INT, U1, Native
from .native import Array as Taken

__all__ = ["Chunk", "chunk_of", "column_from_pages"]

_CODECS = {"UNCOMPRESSED": "", "SNAPPY": "snappy", "ZSTD": "zstd"}
_NUMBERS: dict[str, np.dtype[Any]] = {"INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"), "FLOAT": np.dtype("<f4"), "DOUBLE": np.dtype("<f8")}
_WHOLE = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_KEPT: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in _WHOLE} | {"float": np.dtype("f4"), "double": np.dtype("f8")}
_PLAIN = (0, 2)  # how a dictionary page says that its values are plain
_ROWS, _ENCODING, _PLACE, _LOOSE, _SIZE, _FULL = 1, 2, 3, 4, 5, 6  # columns of what `pagekernels.pages` finds
_RUN = 1 << 20  # bytes unpacked at a time: they stay in a processor's cache until they are decoded
_SLACK = 64  # bytes behind the pages that kernels may read or write


def _kernel(name: str, *takes: Any, gives: str = "none") -> Native:
    return Native("outgrow.data.pagekernels", name, takes, gives)


_pages = _kernel("pages", U1(1), INT, INT, INT, INT, INT, I8(2, True), gives=INT)
_unpack = _kernel("unpack", U1(1), I8(2, True), U1(1, True), gives=INT)
_strings_of = _kernel("byte_strings", U1(1), INT, INT, INT, I4(1, True), U1(1, True), gives=INT)
_ascii_only = _kernel("ascii_only", U1(1), gives=INT)
_codes_of = _kernel("codes", U1(1), I8(2), INT, INT, I4(1, True), U1(1, True), I4(1, True), gives=INT)
_numbers_of = {
    size: _kernel(f"numbers{size}", U1(1), I8(2), INT, Taken(bits, 1), I4(1, True), U1(1, True), Taken(bits, 1, True), gives=INT)
    for size, bits in ((4, "uint32"), (8, "uint64"))
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where the pages of one column of one row group lie, and how they are made."""

    start: int
    stop: int
    rows: int
    codec: str
    physical: str
    levels: bool  # rows may be missing, so that pages begin with validity levels


def chunk_of(group: Any, place: int, schema: Any, field: Field, kept: str) -> Chunk | None:
    """The chunk of column `place` of a row group (pyarrow metadata), or None where it is not of the kinds taken here.

    kept: the Arrow type of the column in this file, as text.
    """
    column, about = group.column(place), schema.column(place)
    flat = about.max_repetition_level == 0 and about.max_definition_level <= 1 and about.path == field.name
    text = field.kind == "category" and kept == field.dtype == "string" and column.physical_type == "BYTE_ARRAY"
    number = field.kind == "number" and kept == field.dtype and kept in _KEPT and column.physical_type in _NUMBERS
    if not flat or not (text or number) or column.compression not in _CODECS:
        return None
    if text and not column.has_dictionary_page:
        return None
    first = column.data_page_offset if not column.has_dictionary_page else min(column.dictionary_page_offset, column.data_page_offset)
    return Chunk(first, first + column.total_compressed_size, group.num_rows, _CODECS[column.compression], column.physical_type, about.max_definition_level == 1)


class _Odd(Exception):  # noqa: N818 - not an error: pyarrow takes over
    """The pages are not made as expected here."""


def column_from_pages(raw: Array, chunk: Chunk, field: Field, where: str, before: Dictionary | None) -> Column | None:
    """All rows of a chunk as a column, or None where pyarrow has to decode it.

    raw : uint8, the whole file, mapped. before: as in `columns.column_of`. Cost: about 1 ns a value, and unpacking.
    Raises BadInput where strings are not UTF-8, OSError where a page does not unpack.
    """
    try:
        found = _found(raw, chunk)
        return _codes(raw, chunk, found, field, where, before) if field.kind == "category" else _values(raw, chunk, found, _KEPT[field.dtype])
    except _Odd:
        return None


def _found(raw: Array, chunk: Chunk) -> npt.NDArray[np.int64]:
    """The pages of a chunk, (pages, 8): `pagekernels` names the columns."""
    if not 0 <= chunk.start <= chunk.stop <= len(raw):
        raise _Odd
    room = 64
    while True:
        found = np.empty((room, 8), np.int64)
        count = _pages(raw, chunk.start, chunk.stop, chunk.rows, chunk.levels, bool(chunk.codec), found)
        if count < 0:
            raise _Odd
        if count <= room:
            return found[:count]
        room = count


def _bodies(raw: Array, chunk: Chunk, found: npt.NDArray[np.int64]) -> Iterator[tuple[Array, npt.NDArray[np.int64]]]:
    """``(bytes, pages)`` of runs of pages: unpacked, and each page's place in them; valid until the next run is asked for."""
    if not chunk.codec:
        if chunk.stop + _SLACK <= len(raw):
            yield raw, found
        else:
            found[:, _PLACE] -= chunk.start
            yield np.concatenate([raw[chunk.start : chunk.stop], np.zeros(_SLACK, np.uint8)]), found
        return
    ends = np.cumsum(found[:, _FULL])
    low, body = 0, np.empty(0, np.uint8)
    while low < len(found):
        begun = int(ends[low] - found[low, _FULL])
        high = max(low + 1, int(np.searchsorted(ends, begun + _RUN, side="right")))
        size = int(ends[high - 1]) - begun + _SLACK
        if len(body) < size:
            body = np.empty(size, np.uint8)
        run = found[low:high]
        if chunk.codec == "snappy":
            if _unpack(raw, run, body) < 0:
                raise _Odd
        else:
            _decompress(raw, chunk.codec, run, body)
        yield body, run
        low = high


def _decompress(raw: Array, codec: str, run: npt.NDArray[np.int64], body: Array) -> None:
    """As `pagekernels.unpack`, for the codecs of pyarrow."""
    unpacked, to = pa.Codec(codec), 0
    for page in run:
        start, loose, size, full = (int(page[k]) for k in (_PLACE, _LOOSE, _SIZE, _FULL))
        body[to : to + loose] = raw[start : start + loose]
        if full > loose or size > loose:
            body[to + loose : to + full] = np.frombuffer(unpacked.decompress(pa.py_buffer(raw[start + loose : start + size]), full - loose), np.uint8)
        page[_PLACE] = to
        to += full


def _dictionary_page(raw: Array, chunk: Chunk, found: npt.NDArray[np.int64]) -> tuple[Array, npt.NDArray[np.int64]] | None:
    """``(bytes, page)`` of the dictionary, which comes before the data; None where there is none."""
    if not len(found) or not found[0, 0]:
        return None
    body, (page,) = next(_bodies(raw, chunk, found[:1]))
    if page[_ENCODING] not in _PLAIN or not 0 <= page[_ROWS] <= page[_FULL]:
        raise _Odd
    return body, page


def _strings(body: Array, page: npt.NDArray[np.int64], name: str, where: str) -> Any:
    """A dictionary page of strings as an Arrow array."""
    count, at, full = int(page[_ROWS]), int(page[_PLACE]), int(page[_FULL])
    offsets, data = np.empty(count + 1, np.int32), np.empty(full + _SLACK, np.uint8)
    size = _strings_of(body, at, at + full, count, offsets, data)
    if size < 0:
        raise _Odd
    data = data[:size].copy()
    found = pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    if not _ascii_only(data):
        check_utf8(found, name, where)
    return found


def _scratch(found: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    return np.empty(int(found[:, _ROWS].max(initial=0)) + 1, np.int32)


def _codes(raw: Array, chunk: Chunk, found: npt.NDArray[np.int64], field: Field, where: str, before: Dictionary | None) -> Codes:
    first = _dictionary_page(raw, chunk, found)
    if first is None:
        raise _Odd
    dictionary, found = _strings(*first, field.name, where), found[1:]
    codes, scratch, done = np.empty(chunk.rows, np.int32), _scratch(found), 0
    flags = np.empty(len(scratch) if chunk.levels else 0, np.uint8)
    for body, run in _bodies(raw, chunk, found):
        rows = _codes_of(body, run, chunk.levels, len(dictionary), scratch, flags, codes[done:])
        if rows < 0:
            raise _Odd
        done += rows
    if before is not None and len(before) == len(dictionary) and before.values.equals(dictionary):
        return Codes(codes, before)
    return Codes(codes, Dictionary(dictionary))


def _values(raw: Array, chunk: Chunk, found: npt.NDArray[np.int64], dtype: np.dtype[Any]) -> Numbers:
    stored = _NUMBERS[chunk.physical]
    bits = np.dtype(f"u{stored.itemsize}")
    table, first = np.empty(0, bits), _dictionary_page(raw, chunk, found)
    if first is not None:
        body, page = first
        if page[_ROWS] > page[_FULL] // stored.itemsize:
            raise _Odd
        table, found = np.frombuffer(body, bits, int(page[_ROWS]), int(page[_PLACE])).copy(), found[1:]
    values, scratch, done, lost = np.empty(chunk.rows, bits), _scratch(found), 0, 0
    valid = np.empty(chunk.rows if chunk.levels else 0, np.uint8)
    for body, run in _bodies(raw, chunk, found):
        missing = _numbers_of[stored.itemsize](body, run, chunk.levels, table, scratch, valid[done:], values[done:])
        if missing < 0:
            raise _Odd
        done, lost = done + int(run[:, _ROWS].sum()), lost + missing
    return Numbers(values.view(stored).astype(dtype, copy=False), valid.view(np.bool_) if lost else None)
