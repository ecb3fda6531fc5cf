"""Compiled loops over the words of documents: in how many rows a slot occurs, and what a word weighs in its row."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from .compiled import F4, I8, U4, kernel
from .math import log

__all__ = ["L1", "L2", "NONE", "count_documents", "inverse", "weigh"]

NONE, L1, L2 = 0, 1, 2  # norms


@numba.njit(error_model="numpy", inline="always")
def _find(stamps: Any, table: Any, found: Any, slot: Any, row: int) -> int:
    """The place in the row's little hash table where the slot is, or belongs."""
    place = np.int64(slot) & (len(stamps) - 1)
    while stamps[place] == row and found[table[place]] != slot:
        place = (place + 1) & (len(stamps) - 1)
    return int(place)


def _count_documents(offsets: Any, slots: Any, size: int, documents: Any) -> None:
    """documents[slot] += 1 for each row that has the slot, however often.

    offsets : int64 (n + 1,); slots : uint32. size : a power of two, over twice the most entries of a row. documents : int64 (width,).
    """
    stamps, table, found = np.zeros(size, np.int64), np.empty(size, np.int64), np.empty(size, np.uint32)
    for i in range(len(offsets) - 1):
        end = 0
        for e in range(offsets[i], offsets[i + 1]):
            place = _find(stamps, table, found, slots[e], i + 1)
            if stamps[place] != i + 1:
                stamps[place], table[place], found[end] = i + 1, end, slots[e]
                documents[slots[e]] += 1
                end += 1


def _weigh(offsets: Any, slots: Any, values: Any, size: int, idf: Any, sublinear: bool, norm: int, ends: Any, places: Any, weights: Any) -> None:
    """Each row's slots once, in the order of their first entry, with (sum of their values) · idf over the norm of the row; those of idf 0 are left out.

    offsets, slots, values (float32), size : as for `count_documents`. idf : float32 (width,). sublinear : 1 + log of the sum in its place.
    ends : int64 (n + 1,), places : uint32, weights : float32, with room for all entries: written.
    """
    stamps, table = np.zeros(size, np.int64), np.empty(size, np.int64)
    found, sums = np.empty(size, np.uint32), np.empty(size, np.float64)
    last = 0
    ends[0] = 0
    for i in range(len(offsets) - 1):
        end = 0
        for e in range(offsets[i], offsets[i + 1]):
            slot = slots[e]
            if idf[slot] == 0.0:
                continue
            place = _find(stamps, table, found, slot, i + 1)
            if stamps[place] != i + 1:
                stamps[place], table[place], found[end], sums[end] = i + 1, end, slot, 0.0
                end += 1
            sums[table[place]] += values[e]
        total = 0.0
        for j in range(end):
            value = sums[j]
            if sublinear and value != 0.0:
                value = (1.0 + log(abs(value))) * (1.0 if value > 0.0 else -1.0)
            value *= idf[found[j]]
            sums[j] = value
            total += value * value if norm == L2 else abs(value)
        scale = np.sqrt(total) if norm == L2 else total
        if norm == NONE or scale == 0.0:
            scale = 1.0
        for j in range(end):
            if sums[j] != 0.0:
                places[last], weights[last] = found[j], sums[j] / scale
                last += 1
        ends[i + 1] = last


def _inverse(documents: Any, rows: float, least: float, most: float, idf: Any) -> None:
    """idf = log((1 + rows) / (1 + documents)) + 1; 0 where a slot is in fewer than `least` or more than `most` documents.

    documents : int64 (width,). idf : float32 (width,), written. Documents over all rows (columns that share a slot) count as all rows.
    """
    for slot in range(len(documents)):
        count = float(documents[slot])
        idf[slot] = log((1.0 + rows) / (1.0 + min(count, rows))) + 1.0 if least <= count <= most else 0.0


count_documents = kernel(types.void(I8(1), U4(1), types.int64, I8(1, True)), _count_documents)
inverse = kernel(types.void(I8(1), types.float64, types.float64, types.float64, F4(1, True)), _inverse)
weigh = kernel(types.void(I8(1), U4(1), F4(1), types.int64, F4(1), types.boolean, types.int64, I8(1, True), U4(1, True), F4(1, True)), _weigh)
