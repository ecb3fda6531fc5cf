"""Two sets of counted strings, sorted by their bytes, made one: a merge of packed strings, without looking at them as objects."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["unite"]


@numba.njit(error_model="numpy")
def _compare(a: Any, a_low: int, a_high: int, b: Any, b_low: int, b_high: int) -> int:
    """Below 0 where string a[a_low:a_high] comes first, 0 where they are equal: by bytes, the shorter of two that begin alike first."""
    shorter = min(a_high - a_low, b_high - b_low)
    for k in range(shorter):
        apart = np.int64(a[a_low + k]) - np.int64(b[b_low + k])
        if apart != 0:
            return int(apart)
    return int((a_high - a_low) - (b_high - b_low))


@numba.njit(error_model="numpy")
def unite(
    a: Any, a_offsets: Any, a_counts: Any, b: Any, b_offsets: Any, b_counts: Any, out: Any, offsets: Any, counts: Any, a_places: Any, b_places: Any
) -> int:
    """Gives how many strings there are together. a is sorted and has each string once; b is sorted, and a string may stand in it twice.

    a, b : uint8, strings back to back; their offsets : int64 (n + 1,); counts : int64 (n,). out, offsets, counts : written, with room for both.
    a_places, b_places : int64, written: where each string of a and of b stands in out.
    """
    n, m = len(a_counts), len(b_counts)
    i, j, k = 0, 0, 0
    end = 0
    offsets[0] = 0
    while i < n or j < m:
        first = 1 if i >= n else -1
        if i < n and j < m:
            first = _compare(a, a_offsets[i], a_offsets[i + 1], b, b_offsets[j], b_offsets[j + 1])
        if first <= 0:
            for at in range(a_offsets[i], a_offsets[i + 1]):
                out[end] = a[at]
                end += 1
            counts[k] = a_counts[i]
            a_places[i] = k
            i += 1
        else:
            for at in range(b_offsets[j], b_offsets[j + 1]):
                out[end] = b[at]
                end += 1
            counts[k] = b_counts[j]
            b_places[j] = k
            j += 1
        offsets[k + 1] = end
        while j < m and _compare(out, offsets[k], end, b, b_offsets[j], b_offsets[j + 1]) == 0:
            counts[k] += b_counts[j]
            b_places[j] = k
            j += 1
        k += 1
    return k
