"""Compiled loops over the bytes of Parquet pages; imported only where rows are decoded.

Every index is checked against the end of its page before it is used: a damaged file gives -1, never a read outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from .bytewise import copy16, unpack8, word4, word8
from .snappy import unsnap

__all__ = ["HEADER", "ascii_only", "byte_strings", "codes", "header", "hybrid", "numbers4", "numbers8", "pages", "unpack"]

F = TypeVar("F", bound=Callable[..., Any])
_DEPTH = 8
HEADER = 24  # what `header` fills
_DATA, _INDEX, _DICTIONARY, _DATA_2 = 0, 1, 2, 3
_PLAIN, _RLE = 0, 3
# a page as `pages` finds it, int64: 1 for a dictionary, rows, encoding, place of its bytes, how many of them at the front are not
# packed, size in the file, size unpacked, and the length of the levels where the header tells it (else -1)
_KIND, _ROWS, _ENCODING, _PLACE, _LOOSE, _SIZE, _FULL, _LEVELS = range(8)


def kernel(function: F) -> F:
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@kernel
def _varint(raw: Any, at: Any, end: int) -> Any:
    """``(value, next place)`` of a base-128 number; next place -1 where it does not end in time."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < 64:
        byte = np.uint64(raw[at])
        value |= (byte & np.uint64(127)) << shift
        at += 1
        if byte < 128:
            return np.int64(value), at
        shift += np.uint64(7)
    return 0, -1


@kernel
def header(raw: Any, at: Any, end: int, out: Any) -> Any:  # noqa: C901, PLR0912 - one branch a type of the protocol
    """Read a page header (Thrift, compact protocol) into out (int64 (24,), -1 where absent); the place after it, or -1.

    out: 0 + field of the page header, 4 + of a data page, 9 + of a dictionary page, 12 + of a data page of the second version.
    """
    out[:] = -1
    last = np.zeros(_DEPTH, np.int64)
    base = np.full(_DEPTH, -1, np.int64)  # where the fields of the struct at each depth go in `out`; -1: nowhere
    base[0] = 0
    depth = 0
    while depth >= 0:
        if at < 0 or at >= end:
            return -1
        byte = np.int64(raw[at])
        at += 1
        kind = byte & 15
        if kind == 0:
            depth -= 1
            continue
        if byte >> 4:
            last[depth] += byte >> 4
        else:
            value, at = _varint(raw, at, end)
            if at < 0:
                return -1
            last[depth] = (value >> 1) ^ -(value & 1)
        field = last[depth]
        place = base[depth] + field if base[depth] >= 0 and 0 < field < 9 else -1
        if kind <= 2:
            if 0 <= place < len(out):
                out[place] = 2 - kind
        elif kind == 3:
            at += 1
        elif kind <= 6:
            value, at = _varint(raw, at, end)
            if at < 0:
                return -1
            if 0 <= place < len(out):
                out[place] = (value >> 1) ^ -(value & 1)
        elif kind == 8:
            value, at = _varint(raw, at, end)
            if at < 0 or value < 0 or value > end - at:
                return -1
            at += value
        elif kind == 12 and depth + 1 < _DEPTH:
            inner = np.int64(-1)
            if depth == 0:
                inner = np.int64(4) if field == 5 else np.int64(9) if field == 7 else np.int64(12) if field == 8 else np.int64(-1)
            depth += 1
            last[depth], base[depth] = 0, inner
        else:
            return -1
    return at


@kernel
def _packed(raw: Any, at: Any, end: int, width: int, take: Any, out: Any, done: Any) -> Any:
    """Unpack `take` numbers of `width` bits from place `at` on to out[done:]; their bits or-ed together (at least the largest)."""
    w, mask = np.uint64(width), np.uint64((np.int64(1) << width) - 1)
    half = np.uint64(4) * w
    second, shift = half >> np.uint64(3), half & np.uint64(7)
    groups = min(take // 8, (end - at - 8 - np.int64(second)) // width + 1) if 0 < width <= 16 else 0  # of eight, two loads each, none past the end
    p, to = np.uint64(at), np.uint64(done)
    for _ in range(groups):
        unpack8(out, to, word8(raw, p), word8(raw, p + second) >> shift, w, mask)
        p, to = p + w, to + np.uint64(8)
    i = np.int64(8 * groups) if groups > 0 else np.int64(0)
    quick = min(take, ((end - at - 8) * 8) // width + 1) if width else 0
    while i < quick:
        bit = np.uint64(i) * w
        out[done + i] = (word8(raw, np.uint64(at) + (bit >> np.uint64(3))) >> (bit & np.uint64(7))) & mask
        i += 1
    while i < take:
        value = np.uint64(0)
        for b in range(width):
            bit_ = i * width + b
            value |= np.uint64((raw[at + (bit_ >> 3)] >> (bit_ & 7)) & 1) << np.uint64(b)
        out[done + i] = value
        i += 1
    seen = out.dtype.type(0)
    for value in out[done : done + take]:
        seen |= value
    return np.int64(seen)


@kernel
def hybrid(raw: Any, at: Any, end: Any, width: Any, count: Any, out: Any) -> Any:
    """Decode `count` numbers of `width` bits (runs and bit-packed groups) into out; the largest one, or -1 where the page is damaged.

    raw : uint8, the page. out : int32 or uint8 (at least count,). Cost: under 1 ns a number. Where only packed groups occur
    the result may be above the largest, but not above the next power of two less one.
    """
    if width < 0 or width > 31:
        return -1
    done, most = np.int64(0), np.int64(0)
    wide = (width + 7) // 8
    while done < count:
        run, at = _varint(raw, at, end)
        if at < 0 or run < 2:
            return -1
        take = min((run >> 1) * 8 if run & 1 else run >> 1, count - done)
        if run & 1:
            if run >> 1 > (1 << 28) or (take * width + 7) // 8 > end - at:
                return -1
            most |= _packed(raw, at, end, width, take, out, done)
            at += (run >> 1) * width
        else:
            if wide > end - at:
                return -1
            same = np.int64(0)
            for b in range(wide):
                same |= np.int64(raw[at + b]) << (8 * b)
            at += wide
            for i in range(done, done + take):
                out[i] = same
            most |= same
        done += take
    return most


@kernel
def pages(raw: Any, at: Any, stop: int, rows: int, leveled: int, packed: int, out: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 - one refusal a line
    """Find the pages of a chunk, up to `rows` rows of data, in raw[at:stop]; how many there are, or -1 where one is not as expected.

    leveled: rows may be missing. packed: pages are compressed. out : int64 (most, 8), filled as far as it goes.
    """
    head = np.empty(HEADER, np.int64)
    done, count = np.int64(0), 0
    while done < rows:
        start = header(raw, at, stop, head)
        kind, full, size = head[1], head[2], head[3]
        if start < 0 or size < 0 or not 0 <= full < 1 << 31 or size > stop - start:
            return -1
        at = start + size
        if kind == _INDEX:
            continue
        number, encoding, loose, levels = head[5], head[6], np.int64(0), np.int64(-1)
        if kind == _DICTIONARY:
            number, encoding, levels = head[10], head[11], np.int64(0)
            if count:
                return -1
        elif kind == _DATA_2:
            number, encoding, levels = head[13], head[16], head[17]
            if levels < 0 or head[18] != 0 or levels > min(size, full) or (levels > 0 and not leveled):
                return -1
            loose = levels
            if head[19] == 0:  # absent means packed
                loose, full = size, size
        elif kind != _DATA:
            return -1
        elif not leveled:
            levels = np.int64(0)
        elif head[7] != _RLE:
            return -1
        if not packed:
            if size != full:
                return -1
            loose = size
        if kind != _DICTIONARY:
            if number < 0 or number > rows - done:
                return -1
            done += number
        if count < len(out):
            page = out[count]
            page[_KIND], page[_ROWS], page[_ENCODING], page[_PLACE] = kind == _DICTIONARY, number, encoding, start
            page[_LOOSE], page[_SIZE], page[_FULL], page[_LEVELS] = loose, size, full, levels
        count += 1
    return count


@kernel
def unpack(raw: Any, found: Any, out: Any) -> Any:
    """Unpack the bytes of pages packed by snappy to out, one after the other, and note in `found` where; 0, or -1 where they are damaged.

    out : uint8, as many as they unpack to and `snappy.SLACK` more.
    """
    to = np.int64(0)
    for page in found:
        start, loose, full = page[_PLACE], page[_LOOSE], page[_FULL]
        for i in range(loose):
            out[to + i] = raw[start + i]
        if (full > loose or page[_SIZE] > loose) and unsnap(raw, start + loose, start + page[_SIZE], out, to + loose, full - loose) < 0:
            return -1
        page[_PLACE] = to
        to += full
    return 0


@kernel
def _levels(body: Any, page: Any, leveled: int, flags: Any) -> Any:
    """``(values present, where they begin)`` of a page of data; flags : uint8, 1 where a row has one, filled where rows may be missing. -1: damaged."""
    at, rows = page[_PLACE], page[_ROWS]
    end = at + page[_FULL]
    length = page[_LEVELS]
    if not leveled:
        return rows, at
    if length < 0:
        if end - at < 4:
            return -1, at
        length = np.int64(word4(body, np.uint64(at)))
        at += 4
    if length > end - at:
        return -1, at
    run, value = _varint(body, at, at + length)
    if value > 0 and value < at + length and run & 1 == 0 and run >> 1 >= rows and body[value] == 1:
        flags[:rows] = 1  # one run, and nothing is missing
        return rows, at + length
    if hybrid(body, at, at + length, 1, rows, flags) < 0:
        return -1, at
    present = np.int64(0)
    for flag in flags[:rows]:
        present += flag
    return present, at + length


@kernel
def _indices(body: Any, at: Any, page: Any, count: Any, most: int, out: Any) -> bool:
    """Unpack `count` dictionary indices, each below `most`; whether all is well."""
    end = page[_PLACE] + page[_FULL]
    if count == 0:
        return True
    if (page[_ENCODING] != 2 and page[_ENCODING] != 8) or at >= end:
        return False
    found = hybrid(body, at + 1, end, np.int64(body[at]), count, out)
    if found < most:
        return bool(found >= 0)
    largest = np.int64(0)
    for code in out[:count]:
        largest = max(largest, np.int64(code))
    return bool(largest < most)


@kernel
def codes(body: Any, found: Any, leveled: int, most: int, scratch: Any, flags: Any, out: Any) -> Any:
    """Dictionary codes of pages, -1 where a row is missing, one page after the other; their rows, or -1 where a page is not as expected.

    body : uint8, the unpacked pages. most: size of the dictionary. scratch, out : int32, flags : uint8; scratch holds a page and one more.
    """
    done = np.int64(0)
    for page in found:
        rows = page[_ROWS]
        present, at = _levels(body, page, leveled, flags)
        if present < 0:
            return -1
        whole = present == rows
        if not _indices(body, at, page, present, most, out[done:] if whole else scratch):
            return -1
        if not whole:
            k = np.uint64(0)
            for i in range(rows):
                out[done + i] = scratch[k] | (np.int32(flags[i]) - np.int32(1))  # one more than is present may be read
                k += np.uint64(flags[i])
        done += rows
    return done


def _numbers(word: Any, size: int) -> Callable[..., Any]:
    """The loop over numbers of `size` bytes, which `word` loads."""
    step = np.uint64(size)

    def numbers(body: Any, found: Any, leveled: int, table: Any, scratch: Any, flags: Any, out: Any) -> Any:  # noqa: PLR0912 - plain or not, whole or not
        """Numbers of pages as their bits, 0 where a row is missing, one page after the other; how many are missing, or -1 where a page is not as expected.

        body : uint8, with eight bytes more than are used. table : what dictionary indices stand for. scratch : int32, as in `codes`.
        flags : uint8, for all rows. table, out : uint32 or uint64.
        """
        done, missing = np.int64(0), np.int64(0)
        for page in found:
            rows = page[_ROWS]
            here = flags[done:] if leveled else flags
            present, at = _levels(body, page, leveled, here)
            if present < 0:
                return -1
            to, p, k = np.uint64(done), np.uint64(at), np.uint64(0)
            if page[_ENCODING] == _PLAIN:
                if present > (page[_PLACE] + page[_FULL] - at) // size:
                    return -1
                if present == rows:
                    for i in range(rows):
                        out[to + np.uint64(i)] = word(body, p + np.uint64(i) * step)
                else:
                    for i in range(rows):
                        flag = np.uint64(here[i])
                        out[to + np.uint64(i)] = word(body, p) & (np.uint64(0) - flag)  # a branch would often be guessed wrong
                        p += step * flag
            else:
                if not _indices(body, at, page, present, len(table), scratch):
                    return -1
                if present == rows:
                    for i in range(rows):
                        out[to + np.uint64(i)] = table[np.uint64(scratch[i])]
                elif present > 0:
                    scratch[present] = 0
                    for i in range(rows):
                        flag = np.uint64(here[i])
                        out[to + np.uint64(i)] = np.uint64(table[np.uint64(scratch[k])]) & (np.uint64(0) - flag)
                        k += flag
                else:
                    out[done : done + rows] = 0
            done, missing = done + rows, missing + rows - present
        return missing

    return kernel(numbers)


numbers4, numbers8 = _numbers(word4, 4), _numbers(word8, 8)


@kernel
def byte_strings(raw: Any, at: Any, end: int, count: int, offsets: Any, data: Any) -> Any:
    """Strings in raw[at:end] that each follow their own length (uint32): into Arrow's offsets (int32 (count + 1,)) and bytes; their size, or -1.

    raw, data : uint8, with sixteen bytes more than are used.
    """
    at, size = np.int64(at), np.int64(0)
    offsets[0] = 0
    for k in range(count):
        if end - at < 4:
            return -1
        length = np.int64(word4(raw, np.uint64(at)))
        at += 4
        if length > end - at:
            return -1
        for b in range(0, length, 16):
            copy16(data, np.uint64(size + b), True, raw, np.uint64(at + b), np.uint64(8))
        at += length
        size += length
        offsets[k + 1] = size
    return size


@kernel
def ascii_only(data: Any) -> bool:
    """Whether no byte (uint8) is above 127."""
    seen = np.uint8(0)
    for byte in data:
        seen |= byte
    return bool(seen < 128)
