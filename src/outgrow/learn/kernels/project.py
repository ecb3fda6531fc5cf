"""Compiled projections: rows onto a few directions, and back; contrasts of independent components."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .compiled import F4, F8, I8, U4, kernel
from .math import exp
from .prefetch import prefetch

__all__ = ["contrast", "gather_rows", "project", "scatter_rows", "squares"]

AHEAD = 24  # entries before a row of a table is needed, it is asked for: three times as fast where the table is larger than the caches


def _project(x: Any, mean: Any, directions: Any, out: Any) -> None:
    """out[i] += Σ_j (x[i, j] - mean[j]) · directions[j], columns in order whatever rows come with it. x : float64 (n, p), directions (p, k), out (n, k)."""
    n, p = x.shape
    k = directions.shape[1]
    for i in range(n):
        for j in range(p):
            v = x[i, j] - mean[j]
            for c in range(k):
                out[i, c] += v * directions[j, c]


def _gather_rows(slots: Any, offsets: Any, ragged: Any, values: Any, table: Any, out: Any) -> None:
    """Add to each row of out (n, k) the rows of table (width, k) that its entries name, times their values. 5 ns an entry for k = 16.

    slots : uint32 (n, s), of value 1; offsets : int64 (n + 1,), ragged : uint32, values : float32: entries with values, empty where there are none.
    """
    n, s = slots.shape
    k = table.shape[1]
    lines, named = table.reshape(-1), slots.reshape(-1)
    for i in range(n):
        for a in range(s):
            t = slots[i, a]
            soon = np.uint64(named[min(i * s + a + AHEAD, n * s - 1)]) * np.uint64(k)
            for c in range(0, k, 8):
                prefetch(lines, soon + np.uint64(c))
            for c in range(k):
                out[i, c] += table[t, c]
        if len(offsets):
            for e in range(offsets[i], offsets[i + 1]):
                t, v = ragged[e], float(values[e])
                soon = np.uint64(ragged[min(e + AHEAD, len(ragged) - 1)]) * np.uint64(k)
                for c in range(0, k, 8):
                    prefetch(lines, soon + np.uint64(c))
                for c in range(k):
                    out[i, c] += v * table[t, c]


def _scatter_rows(slots: Any, offsets: Any, ragged: Any, values: Any, rows: Any, table: Any) -> None:
    """The transpose of `gather_rows`: add each of rows (n, k) to the rows of table (width, k) that its entries name, times their values."""
    n, s = slots.shape
    k = table.shape[1]
    lines, named = table.reshape(-1), slots.reshape(-1)
    for i in range(n):
        for a in range(s):
            t = slots[i, a]
            soon = np.uint64(named[min(i * s + a + AHEAD, n * s - 1)]) * np.uint64(k)
            for c in range(0, k, 8):
                prefetch(lines, soon + np.uint64(c))
            for c in range(k):
                table[t, c] += rows[i, c]
        if len(offsets):
            for e in range(offsets[i], offsets[i + 1]):
                t, v = ragged[e], float(values[e])
                soon = np.uint64(ragged[min(e + AHEAD, len(ragged) - 1)]) * np.uint64(k)
                for c in range(0, k, 8):
                    prefetch(lines, soon + np.uint64(c))
                for c in range(k):
                    table[t, c] += v * rows[i, c]


def _squares(slots: Any, offsets: Any, ragged: Any, values: Any, weight: Any, held: Any, sums: Any) -> float:
    """The weighted sum of squared lengths of rows, and into sums (width,) that of the rows; entries of one slot add up. held : float64 (width,), all 0."""
    n, s = slots.shape
    weighted = len(weight) > 0
    total = 0.0
    for i in range(n):
        w = weight[i] if weighted else 1.0
        low, high = (offsets[i], offsets[i + 1]) if len(offsets) else (0, 0)
        for a in range(s):
            held[slots[i, a]] += 1.0
        for e in range(low, high):
            held[ragged[e]] += values[e]
        own = 0.0
        for a in range(s + high - low):
            t = slots[i, a] if a < s else ragged[low + a - s]
            own += held[t] * held[t]
            sums[t] += w * held[t]
            held[t] = 0.0
        total += w * own
    return total


def _contrast(s: Any, weight: Any, kind: int, g: Any, slope: Any) -> None:
    """g = weight · f(s) of each value and slope += weight · f'(s) of each column, f being the derivative of a contrast. s, g : float64 (n, k), slope (k,).

    kind 0: tanh s (of log cosh); 1: s exp(-s² / 2); 2: s³. Without branches on values it vectorises: 2 ns a value.
    """
    n, k = s.shape
    weighted = len(weight) > 0
    for i in range(n):
        if kind == 0:
            for c in range(k):
                v = s[i, c]
                u = exp(-2.0 * abs(v))
                t = (1.0 - u) / (1.0 + u)
                g[i, c] = t if v >= 0.0 else -t
                slope_here = 1.0 - t * t
                slope[c] += weight[i] * slope_here if weighted else slope_here
        elif kind == 1:
            for c in range(k):
                v = s[i, c]
                u = exp(-0.5 * v * v)
                g[i, c] = v * u
                slope_here = (1.0 - v * v) * u
                slope[c] += weight[i] * slope_here if weighted else slope_here
        else:
            for c in range(k):
                v = s[i, c]
                g[i, c] = v * v * v
                slope_here = 3.0 * v * v
                slope[c] += weight[i] * slope_here if weighted else slope_here
        if weighted:
            for c in range(k):
                g[i, c] *= weight[i]


_ENTRIES = (U4(2), I8(1), U4(1), F4(1))
project = kernel(types.void(F8(2), F8(1), F8(2), F8(2, True)), _project)
gather_rows = kernel(types.void(*_ENTRIES, F8(2), F8(2, True)), _gather_rows)
scatter_rows = kernel(types.void(*_ENTRIES, F8(2), F8(2, True)), _scatter_rows)
squares = kernel(types.float64(*_ENTRIES, F8(1), F8(1, True), F8(1, True)), _squares)
contrast = kernel(types.void(F8(2), F8(1), types.int64, F8(2, True), F8(1, True)), _contrast)
