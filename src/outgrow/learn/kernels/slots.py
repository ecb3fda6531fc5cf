"""Compiled loops over the table slots that lie in one range: a block of the weights of a model too wide for one worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["gather_part", "scatter_part", "spread_part"]

_jit: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(error_model="numpy", cache=True, nogil=True)


@_jit
def gather_part(z: Any, slots: Any, offsets: Any, ragged: Any, values: Any, table: Any, low: int) -> None:
    """Add to each column of z (K, n) the rows of `table` (float64 (q, K), slots low to low + q) that its slots name; others are passed over.

    slots : uint32 (n, k), of value 1. offsets : int64 (n + 1,), ragged : uint32, values : float32: entries with values; empty where there are none.
    """
    classes, n = z.shape
    width = len(table)
    for i in range(n):
        for j in range(slots.shape[1]):
            s = int(slots[i, j]) - low
            if 0 <= s < width:
                for c in range(classes):
                    z[c, i] += table[s, c]
        if len(offsets):
            for j in range(offsets[i], offsets[i + 1]):
                s = int(ragged[j]) - low
                if 0 <= s < width:
                    for c in range(classes):
                        z[c, i] += values[j] * table[s, c]


@_jit
def scatter_part(residual: Any, slots: Any, offsets: Any, ragged: Any, values: Any, table: Any, low: int, squared: bool) -> None:
    """The transpose of `gather_part`: add each row's residual, (K, n), to the rows of the table that it names; with `squared`, by the values' squares."""
    classes, n = residual.shape
    width = len(table)
    for i in range(n):
        for j in range(slots.shape[1]):
            s = int(slots[i, j]) - low
            if 0 <= s < width:
                for c in range(classes):
                    table[s, c] += residual[c, i]
        if len(offsets):
            for j in range(offsets[i], offsets[i + 1]):
                s = int(ragged[j]) - low
                if 0 <= s < width:
                    v = float(values[j])
                    v = v * v if squared else v
                    for c in range(classes):
                        table[s, c] += v * residual[c, i]


@_jit
def spread_part(out: Any, slots: Any, offsets: Any, ragged: Any, values: Any, low: int) -> None:
    """Add the entries of the slots low to low + q as columns to out : float64 (n, q)."""
    width = out.shape[1]
    for i in range(len(out)):
        for j in range(slots.shape[1]):
            s = int(slots[i, j]) - low
            if 0 <= s < width:
                out[i, s] += 1.0
        if len(offsets):
            for j in range(offsets[i], offsets[i + 1]):
                s = int(ragged[j]) - low
                if 0 <= s < width:
                    out[i, s] += values[j]
