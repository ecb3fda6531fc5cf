"""Compiled loops of the learners that fold sums: losses of rows, tables of slots, distances.

No ``fastmath`` and no threads: what is written is what is summed, in that order. Products of matrices are left to BLAS,
over blocks of at most `BLOCK` rows counted from the start of a batch, so that nothing depends on the caller's layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from .math import exp, log
from .prefetch import prefetch

__all__ = ["BLOCK", "add_rows", "binary_rows", "closest", "draw_keys", "gather", "margins", "nearest", "probabilities", "scatter", "softmax_rows", "spread"]

_AHEAD = 8  # rows whose table lines are asked for before they are needed; 4 to 16 are alike
BLOCK = 2048  # rows at most: a block of 30 float64 columns and its residuals stay in the second-level cache

_jit: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(error_model="numpy", cache=True, nogil=True)


@_jit
def binary_rows(z: Any, y: Any, loss: Any, chance: Any, residual: Any) -> None:
    """Log loss of each row, the probability of the second class, and the loss's derivative by the margin.

    z, chance, residual : float64 (1, n). y : int32 (n,), 0 or 1. loss : float64 (n,). About 6 ns a row: without branches, it vectorises.
    """
    for i in range(len(y)):
        second = float(y[i])
        sign = 1.0 - 2.0 * second
        s = z[0, i] * sign
        u = exp(-abs(s))
        v = 1.0 + u
        rest = v - 1.0  # as in log1pexp: log(v) corrected for what 1 + u rounded away
        small = log(v) * (u / rest)
        small = small if rest > 0.0 else u
        p = (1.0 if s >= 0.0 else u) / v
        loss[i] = max(s, 0.0) + small
        residual[0, i] = p * sign
        chance[0, i] = second + p * sign


@_jit
def softmax_rows(z: Any, y: Any, loss: Any, chance: Any, residual: Any) -> None:
    """Log loss of softmax of each row, the probabilities, and the loss's derivatives by the margins.

    z, chance, residual : float64 (K, n). y : int32 (n,). loss : float64 (n,).
    """
    probabilities(z, chance, loss)
    for i in range(len(y)):
        loss[i] -= z[y[i], i]
    residual[:] = chance
    for i in range(len(y)):
        residual[y[i], i] -= 1.0


@_jit
def probabilities(z: Any, chance: Any, total: Any) -> None:
    """Softmax of the margins z, float64 (K, n), into chance (K, n), and the logarithm of its denominator into total (n,)."""
    classes, n = z.shape
    top = z[0].copy()
    for k in range(1, classes):
        for i in range(n):
            top[i] = max(top[i], z[k, i])
    total[:] = 0.0
    for k in range(classes):
        for i in range(n):
            e = exp(z[k, i] - top[i])
            chance[k, i] = e
            total[i] += e
    for k in range(classes):
        for i in range(n):
            chance[k, i] /= total[i]
    for i in range(n):
        total[i] = log(total[i]) + top[i]


@numba.njit(error_model="numpy")
def _ask(slots: Any, offsets: Any, ragged: Any, table: Any, i: int) -> None:
    """Ask for the table lines that row i names, where there is such a row."""
    n, k = slots.shape
    classes = np.uint64(table.shape[1])
    if i < n:
        for j in range(k):
            prefetch(table, np.uint64(slots[i, j]) * classes)
    if i + 1 < len(offsets):
        for j in range(offsets[i], offsets[i + 1]):
            prefetch(table, np.uint64(ragged[j]) * classes)


@_jit
def gather(z: Any, slots: Any, offsets: Any, ragged: Any, values: Any, table: Any) -> None:
    """Add to each column of z (K, n) the table rows (float64 (width, K)) that its slots name.

    slots : uint32 (n, k), of value 1. offsets : int64 (n + 1,), ragged : uint32, values : float32: entries with values; empty where there are none.
    Bound by memory: 1.5 ns a slot of one output, whose lines are asked for ahead and whose sum stays in a register.
    """
    classes, n = z.shape
    for i in range(n):
        _ask(slots, offsets, ragged, table, i + _AHEAD)
        if classes == 1:
            total = z[0, i]
            for j in range(slots.shape[1]):
                total += table[slots[i, j], 0]
            if len(offsets):
                for j in range(offsets[i], offsets[i + 1]):
                    total += values[j] * table[ragged[j], 0]
            z[0, i] = total
            continue
        for j in range(slots.shape[1]):
            s = slots[i, j]
            for c in range(classes):
                z[c, i] += table[s, c]
        if len(offsets):
            for j in range(offsets[i], offsets[i + 1]):
                s = ragged[j]
                for c in range(classes):
                    z[c, i] += values[j] * table[s, c]


@_jit
def margins(z: Any, x: Any, dense: Any) -> None:
    """Add x (n, m) times dense (m, K) to z (K, n): a row's sum runs over its columns in order, whatever rows come with it (a BLAS product's does not)."""
    classes, n = z.shape
    for i in range(n):
        for c in range(classes):
            total = z[c, i]
            for j in range(x.shape[1]):
                total += x[i, j] * dense[j, c]
            z[c, i] = total


@_jit
def scatter(residual: Any, slots: Any, offsets: Any, ragged: Any, values: Any, table: Any, squared: bool) -> None:
    """The transpose of `gather`: add each row's residual, (K, n), to the table rows it names; with `squared`, by the values' squares."""
    classes, n = residual.shape
    for i in range(n):
        _ask(slots, offsets, ragged, table, i + _AHEAD)
        if classes == 1:
            own = residual[0, i]
            for j in range(slots.shape[1]):
                table[slots[i, j], 0] += own
            if len(offsets):
                for j in range(offsets[i], offsets[i + 1]):
                    v = float(values[j])
                    v = v * v if squared else v
                    table[ragged[j], 0] += v * own
            continue
        for j in range(slots.shape[1]):
            s = slots[i, j]
            for c in range(classes):
                table[s, c] += residual[c, i]
        if len(offsets):
            for j in range(offsets[i], offsets[i + 1]):
                s = ragged[j]
                v = float(values[j])
                v = v * v if squared else v
                for c in range(classes):
                    table[s, c] += v * residual[c, i]


@_jit
def spread(out: Any, slots: Any, offsets: Any, ragged: Any, values: Any) -> None:
    """Add one-hot and ragged entries as columns to out : float64 (n, >= width)."""
    for i in range(len(out)):
        for j in range(slots.shape[1]):
            out[i, slots[i, j]] += 1.0
        if len(offsets):
            for j in range(offsets[i], offsets[i + 1]):
                out[i, ragged[j]] += values[j]


@_jit
def nearest(z: Any, half: Any, label: Any, score: Any) -> None:
    """For each row the centre of the lowest ``half[k] - z[k, i]``, the first of equals; twice that plus |x|² is the squared distance.

    z : float64 (K, n), products of centres and rows. half : float64 (K,), half the centres' squared lengths. label : int32 (n,), score : float64 (n,), written.
    """
    classes, n = z.shape
    for i in range(n):
        score[i] = half[0] - z[0, i]
        label[i] = 0
    for k in range(1, classes):
        for i in range(n):
            s = half[k] - z[k, i]
            better = s < score[i]
            score[i] = s if better else score[i]
            label[i] = k if better else label[i]


@_jit
def closest(x: Any, centers: Any, label: Any, square: Any) -> None:
    """For each row of x (n, p) the nearest of centers (K, p), the first of equals, and the squared distance, both the same whatever rows come with it."""
    n, p = x.shape
    for i in range(n):
        square[i] = float("inf")
        for k in range(len(centers)):
            total = 0.0
            for j in range(p):
                away = x[i, j] - centers[k, j]
                total += away * away
            if total < square[i]:
                square[i], label[i] = total, k


@_jit
def add_rows(x: Any, label: Any, weight: Any, sums: Any, counts: Any) -> None:
    """Add each row of x (n, p) to ``sums[label]`` (K, p), and its weight (weight (0,): 1) to counts (K,)."""
    n, p = x.shape
    weighted = len(weight) > 0
    for i in range(n):
        k = label[i]
        if weighted:
            counts[k] += weight[i]
            for j in range(p):
                sums[k, j] += weight[i] * x[i, j]
        else:
            counts[k] += 1.0
            for j in range(p):
                sums[k, j] += x[i, j]


@_jit
def draw_keys(uniform: Any, mass: Any, keys: Any) -> None:
    """Exponential waiting times of rate mass (n,): the m smallest are a draw of m rows without replacement in proportion to it.

    uniform : float64 (n,) in [0, 1). keys : float64 (n,), written; inf where mass is 0. (Efraimidis and Spirakis 2006.)
    """
    for i in range(len(mass)):
        keys[i] = -log(1.0 - uniform[i]) / mass[i] if mass[i] > 0.0 else float("inf")
