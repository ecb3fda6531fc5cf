"""Snappy's raw format, unpacked by a compiled loop (google/snappy, format_description.txt); imported only where pages are decoded.

Numbers and short strings pack into references of four to twelve bytes, so a step is made for those: what it takes and where from
is chosen without a branch, sixteen bytes are moved whatever is needed, and everything else goes the longer way.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .bytewise import copy16, word4

__all__ = ["SLACK", "unsnap"]

SLACK = 64  # bytes behind the end that may be written
_ONE, _THREE, _EIGHT, _SIXTEEN, _BYTE = np.uint64(1), np.uint64(3), np.uint64(8), np.uint64(16), np.uint64(255)


def _short_tags() -> Any:
    """For each first byte of a tag: bytes it makes | bytes it takes << 8 | 1 << 16 for a literal | upper part of the offset << 24 | mask of the lower << 40.

    0 where it makes more than sixteen bytes, or its length or offset does not fit the two bytes behind it.
    """
    tags = np.zeros(256, np.uint64)
    for tag in range(256):
        kind, top = tag & 3, tag >> 2
        if kind == 0 and top < 16:
            tags[tag] = top + 1 | (top + 2) << 8 | 1 << 16
        elif kind == 1:
            tags[tag] = (top & 7) + 4 | 2 << 8 | (top >> 3 << 8) << 24 | 0xFF << 40
        elif kind == 2 and top < 16:
            tags[tag] = top + 1 | 3 << 8 | 0xFFFF << 40
    return tags


_TAGS = _short_tags()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _size(raw: Any, at: Any, end: Any) -> Any:
    """``(unpacked size, next place)``; next place past the end where there is none."""
    size, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(35):
        byte = np.uint64(raw[at])
        size |= (byte & np.uint64(127)) << shift
        at += _ONE
        if byte < np.uint64(128):
            return size, at
        shift += np.uint64(7)
    return size, end + _ONE


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _repeat(out: Any, to: Any, back: Any, count: Any) -> None:
    """out[to + i] = out[to + i - back] for i in order, `count` and up to 7 more."""
    if back < _EIGHT:
        for i in range(min(count, _EIGHT)):
            out[to + np.uint64(i)] = out[to + np.uint64(i) - back]
        if count <= _EIGHT:
            return
        to, count = to + _EIGHT, count - _EIGHT
        back *= (_EIGHT + back - _ONE) // back  # whole periods, eight bytes or more
    done = np.uint64(0)
    while done < count:
        copy16(out, to + done, False, out, to, back)
        done += _EIGHT


@numba.njit(cache=True, nogil=True, error_model="numpy")
def unsnap(raw: Any, start: int, stop: int, out: Any, first: int, full: int) -> int:  # noqa: C901, PLR0912 - one refusal a line
    """Unpack raw[start:stop] to out[first:first+full]; 0, or -1 where the bytes are damaged. Up to `SLACK` bytes behind may be written.

    raw, out : uint8. Cost: about 4 ns a tag.
    """
    end, begin, last = np.uint64(stop), np.uint64(first), np.uint64(first + full)
    size, at = _size(raw, np.uint64(start), end)
    if at > end or size != np.uint64(full):
        return -1
    to = begin
    safe = np.uint64(max(min(stop, len(raw) - 24), 0))  # before it, a tag, sixteen bytes and more can be read
    while at < end:
        if at < safe:
            word = word4(raw, at)
            about = _TAGS[word & _BYTE]
            count, step, literal = about & _BYTE, (about >> _EIGHT) & _BYTE, (about >> _SIXTEEN) & _ONE
            back = ((about >> np.uint64(24)) & np.uint64(0xFFFF)) + ((word >> _EIGHT) & (about >> np.uint64(40)))
            good = literal | ((back - _ONE < to - begin) & ((back >= _EIGHT) | (back >= count)))
            if (count != np.uint64(0)) & (good != np.uint64(0)) & (at + step <= end) & (count <= last - to):
                copy16(out, to, literal != np.uint64(0), raw, at + _ONE, back)
                to += count
                at += step
                continue
        else:
            word = _few(raw, at, end)
        kind, top = word & _THREE, (word & _BYTE) >> np.uint64(2)
        count, back = top + _ONE, (word >> _EIGHT) & np.uint64(0xFFFF)
        if kind == _ONE:
            count, back = np.uint64(4) + (top & np.uint64(7)), (top >> _THREE) << _EIGHT | (word >> _EIGHT) & _BYTE
        if kind == np.uint64(0):
            at += _ONE
            if top >= np.uint64(60):
                wide = top - np.uint64(59)
                if wide > end - at:
                    return -1
                count = np.uint64(1)
                for b in range(wide):
                    count += np.uint64(raw[at + np.uint64(b)]) << (_EIGHT * np.uint64(b))
                at += wide
            if count > end - at or count > last - to:
                return -1
            for i in range(count):
                out[to + np.uint64(i)] = raw[at + np.uint64(i)]
            at += count
        else:
            step = np.uint64(5) if kind == _THREE else kind + _ONE
            if step > end - at:
                return -1
            if kind == _THREE:
                back = np.uint64(0)
                for b in range(4):
                    back |= np.uint64(raw[at + _ONE + np.uint64(b)]) << (_EIGHT * np.uint64(b))
            if back - _ONE >= to - begin or count > last - to:
                return -1
            _repeat(out, to, back, count)
            at += step
        to += count
    return 0 if to == last else -1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _few(raw: Any, at: Any, end: Any) -> Any:
    """Up to four bytes, those before the end."""
    word = np.uint64(0)
    for b in range(min(end - at, np.uint64(4))):
        word |= np.uint64(raw[at + np.uint64(b)]) << (_EIGHT * np.uint64(b))
    return word
