"""Words and n-grams of text columns, over bytes: no string is made for any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .kernels import combine, kernel, murmur

__all__ = ["MOST", "count_grams", "find_grams", "hash_grams", "lower", "token"]

MOST = 8  # tokens in the longest n-gram
_LETTER: npt.NDArray[np.bool_] = np.array([chr(i).isalnum() or chr(i) == "_" or i >= 0x80 for i in range(128)] + [True] * 128, np.bool_)


@kernel
def lower(data: Any, start: int, out: Any) -> None:
    """out[i] = data[start + i] (uint8), A–Z as a–z."""
    for i in range(len(out)):
        c = data[start + i]
        out[i] = c + np.uint8(32) if np.uint8(c - np.uint8(65)) < 26 else c


@kernel
def token(data: Any, at: int, stop: int, words: bool) -> tuple[int, int]:
    """Start and end of the first token at or after `at`; start is `stop` where there is none.

    A token is a run of letters, digits, "_" and bytes from 0x80 on; or, without `words`, one UTF-8 character.
    """
    if words:
        while at < stop and not _LETTER[data[at]]:
            at += 1
        end = at
        while end < stop and _LETTER[data[end]]:
            end += 1
        return at, end
    end = min(at + 1, stop)
    while end < stop and data[end] & 0xC0 == 0x80:
        end += 1
    return at, end


@kernel
def count_grams(data: Any, offsets: Any, words: bool, ngrams: int) -> tuple[int, int]:
    """How many n-grams of 1 to `ngrams` tokens all rows have, and the most that one row has."""
    total, most = 0, 0
    for i in range(len(offsets) - 1):
        tokens, at = 0, offsets[i]
        while True:
            start, at = token(data, at, offsets[i + 1], words)
            if start == offsets[i + 1]:
                break
            tokens += 1
        grams = 0
        for g in range(1, ngrams + 1):
            grams += max(tokens - g + 1, 0)
        total, most = total + grams, max(most, grams)
    return total, most


@kernel
def hash_grams(data: Any, offsets: Any, words: bool, ngrams: int, seed: Any, size: int, ends: Any, hashes: Any, values: Any) -> None:
    """The n-grams of each row, each once, in the order of their first occurrence, with their counts.

    data : uint8, lower case. offsets : int64 (n + 1,). size : a power of two, over twice the most n-grams of a row.
    ends : int64 (n + 1,), hashes : uint32, values : float32: written. The hash of one token is murmur3 with `seed`;
    of several, their hashes combined from left to right.
    """
    table, stamps, last = np.empty(size, np.int64), np.zeros(size, np.int64), np.empty(MOST, np.uint32)
    end = 0
    ends[0] = 0
    for i in range(len(offsets) - 1):
        tokens, at = 0, offsets[i]
        while True:
            start, at = token(data, at, offsets[i + 1], words)
            if start == offsets[i + 1]:
                break
            last[tokens % MOST] = murmur(data, start, at, seed)
            tokens += 1
            for g in range(1, min(tokens, ngrams) + 1):
                h = last[(tokens - g) % MOST]
                for back in range(tokens - g + 1, tokens):
                    h = combine(h, last[back % MOST])
                place = np.int64(h) & (size - 1)
                while stamps[place] == i + 1 and hashes[table[place]] != h:
                    place = (place + 1) & (size - 1)
                if stamps[place] != i + 1:
                    stamps[place], table[place] = i + 1, end
                    hashes[end], values[end] = h, 0.0
                    end += 1
                values[table[place]] += np.float32(1.0)
        ends[i + 1] = end


@kernel
def find_grams(data: Any, offsets: Any, words: bool, ngrams: int, seed: Any, mask: Any, wanted: Any, keys: Any, starts: Any, ends: Any) -> int:
    """Every n-gram whose slot is in `wanted` (uint32, ascending): 64 bits that tell it from others, and its bytes data[starts:ends].

    The upper half of a key is the hash of `hash_grams`, the lower one the same under another seed. Returns how many there are.
    """
    last, other, begins = np.empty(MOST, np.uint32), np.empty(MOST, np.uint32), np.empty(MOST, np.int64)
    end = 0
    for i in range(len(offsets) - 1):
        tokens, at = 0, offsets[i]
        while True:
            start, at = token(data, at, offsets[i + 1], words)
            if start == offsets[i + 1]:
                break
            last[tokens % MOST] = murmur(data, start, at, seed)
            other[tokens % MOST] = murmur(data, start, at, np.uint32(seed ^ np.uint32(0x5BD1E995)))
            begins[tokens % MOST] = start
            tokens += 1
            for g in range(1, min(tokens, ngrams) + 1):
                first = (tokens - g) % MOST
                h, twin = last[first], other[first]
                for back in range(tokens - g + 1, tokens):
                    h, twin = combine(h, last[back % MOST]), combine(twin, other[back % MOST])
                slot = np.uint32(h & mask)
                place = np.searchsorted(wanted, slot)
                if place < len(wanted) and wanted[place] == slot:
                    keys[end] = np.uint64(h) << np.uint64(32) | np.uint64(twin)
                    starts[end], ends[end] = begins[first], at
                    end += 1
    return end
