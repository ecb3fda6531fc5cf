"""Compiled loops of learners made of Gaussians: mixtures and local regression. Each row is summed by itself, in the order of its columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from .math import exp

__all__ = ["add_scaled", "bells", "scaled_squares", "triangle_squares", "weighted_rows"]

_jit: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(error_model="numpy", cache=True, nogil=True)


@_jit
def scaled_squares(columns: Any, centers: Any, scale: Any, out: Any) -> None:
    """Σ_j (x_j - center_kj)² scale_kj of each row and centre, into out (K, n).

    columns : float64 (p, n), rows as columns, so that the loop over rows vectorises. centers, scale : float64 (K, p).
    """
    p, n = columns.shape
    out[:] = 0.0
    for k in range(len(centers)):
        for j in range(p):
            center, factor = centers[k, j], scale[k, j]
            for i in range(n):
                away = columns[j, i] - center
                out[k, i] += away * away * factor


@_jit
def triangle_squares(columns: Any, center: Any, factor: Any, y: Any, out: Any) -> None:
    """|(x - center) factor|² of each row, into out (n,), for an upper triangular factor (p, p). columns : float64 (p, n). y : float64 (n,), scratch."""
    p, n = columns.shape
    out[:] = 0.0
    for j in range(p):
        y[:] = 0.0
        for m in range(j + 1):
            middle, part = center[m], factor[m, j]
            for i in range(n):
                y[i] += (columns[m, i] - middle) * part
        for i in range(n):
            out[i] += y[i] * y[i]


@_jit
def weighted_rows(x: Any, center: Any, mass: Any, least: float, out: Any) -> int:
    """Copy rows of x (n, p) less the center, times the root of their mass (n,), to out (n, p + 1), that root last; those of a mass up to `least` are left out. Returns how many."""
    p, found = x.shape[1], 0
    for i in range(len(x)):
        if not mass[i] <= least:  # NaN goes in
            root = np.sqrt(mass[i])
            for j in range(p):
                out[found, j] = (x[i, j] - center[j]) * root
            out[found, p] = root
            found += 1
    return found


@_jit
def add_scaled(x: Any, centers: Any, mass: Any, least: float, first: Any, second: Any) -> None:
    """Add Σ mass (x - center) and Σ mass (x - center)² of each centre to first and second, (K, p). mass : float64 (K, n); up to `least` it is left out."""
    p = x.shape[1]
    for k in range(len(centers)):
        for i in range(len(x)):
            weight = mass[k, i]
            if not weight <= least:
                for j in range(p):
                    away = x[i, j] - centers[k, j]
                    part = weight * away
                    first[k, j] += part
                    second[k, j] += part * away


@_jit
def bells(square: Any, row: Any) -> None:
    """e^(-square / 2), times row (n,) weights (or (0,): 1), in place of square (K, n)."""
    for k in range(len(square)):
        for i in range(square.shape[1]):
            square[k, i] = exp(-0.5 * square[k, i])
        if len(row):
            for i in range(square.shape[1]):
                square[k, i] *= row[i]
