"""Compiled sums over rows that belong to classes, and what classes say of a row.

Class 0 is the only one where there are none. weight, float64 (n,), is (0,) where every row counts once.
"""

from __future__ import annotations

from typing import Any

from numba import types

from .compiled import F4, F8, I4, I8, U4, kernel
from .math import log

__all__ = ["about", "about_by_class", "class_sums", "entry_sums", "gaussian", "logs", "present", "quadratic", "spreads"]


def _class_sums(x: Any, label: Any, weight: Any, sums: Any, counts: Any) -> None:
    """Add each row of x : float64 (n, p) to sums[label] : (K, p), and its weight to counts : (K,). Bound by memory: 3 ns a cache line."""
    n, p = x.shape
    weighted = len(weight) > 0
    for i in range(n):
        k = label[i]
        w = weight[i] if weighted else 1.0
        counts[k] += w
        if weighted:
            for j in range(p):
                sums[k, j] += w * x[i, j]
        else:
            for j in range(p):
                sums[k, j] += x[i, j]


def _about(x: Any, label: Any, root: Any, mean: Any, z: Any, rest: Any) -> None:
    """z = (x - mean[label]) · root : float64 (n, p); rest[label] += root · z, what rounding left of sums about the mean. root : square roots of weights."""
    n, p = x.shape
    weighted = len(root) > 0
    for i in range(n):
        k = label[i]
        if weighted:
            r = root[i]
            for j in range(p):
                v = (x[i, j] - mean[k, j]) * r
                z[i, j] = v
                rest[k, j] += r * v
        else:
            for j in range(p):
                v = x[i, j] - mean[k, j]
                z[i, j] = v
                rest[k, j] += v


def _about_by_class(x: Any, label: Any, root: Any, mean: Any, z: Any, rest: Any, ends: Any) -> None:
    """As `about`, the rows of z in the order of their classes: those of class k lie in z[ends[k]:ends[k + 1]]. ends : int64 (K + 1,), written."""
    n, p = x.shape
    weighted = len(root) > 0
    ends[:] = 0
    for i in range(n):
        ends[label[i] + 1] += 1
    for k in range(len(ends) - 1):
        ends[k + 1] += ends[k]
    place = ends.copy()
    for i in range(n):
        k = label[i]
        r = root[i] if weighted else 1.0
        to = place[k]
        place[k] = to + 1
        for j in range(p):
            v = (x[i, j] - mean[k, j]) * r
            z[to, j] = v
            rest[k, j] += r * v


def _spreads(x: Any, label: Any, weight: Any, mean: Any, spread: Any, rest: Any) -> None:
    """spread[label] += weight · (x - mean[label])², rest[label] += weight · (x - mean[label]); both float64 (K, p)."""
    n, p = x.shape
    weighted = len(weight) > 0
    for i in range(n):
        k = label[i]
        if weighted:
            w = weight[i]
            for j in range(p):
                v = x[i, j] - mean[k, j]
                spread[k, j] += w * (v * v)
                rest[k, j] += w * v
        else:
            for j in range(p):
                v = x[i, j] - mean[k, j]
                spread[k, j] += v * v
                rest[k, j] += v


def _entry_sums(slots: Any, offsets: Any, ragged: Any, values: Any, label: Any, weight: Any, above: float, held: Any, sums: Any) -> bool:
    """Add the entries of each row to sums[label] : float64 (K, width); False where a value is below 0.

    slots : uint32 (n, k), of value 1; offsets : int64 (n + 1,), ragged : uint32, values : float32: entries with values, empty where there are none.
    above : not below 0: a slot whose entries in a row sum to more counts 1, others 0; below 0: values are summed as they are.
    held : float64 (width,), all 0, where a row's sums are collected for that.
    """
    n, k = slots.shape
    weighted = len(weight) > 0
    binary = above >= 0.0
    sound = True
    for i in range(n):
        c = label[i]
        w = weight[i] if weighted else 1.0
        low, high = (offsets[i], offsets[i + 1]) if len(offsets) else (0, 0)
        if not binary:
            for a in range(k):
                sums[c, slots[i, a]] += w
            for e in range(low, high):
                v = float(values[e])
                sound = sound and not v < 0.0
                sums[c, ragged[e]] += w * v
            continue
        for a in range(k):
            held[slots[i, a]] += 1.0
        for e in range(low, high):
            held[ragged[e]] += values[e]
        for a in range(k):
            if held[slots[i, a]] > above:
                sums[c, slots[i, a]] += w
            held[slots[i, a]] = 0.0
        for e in range(low, high):
            if held[ragged[e]] > above:
                sums[c, ragged[e]] += w
            held[ragged[e]] = 0.0
    return sound


def _present(slots: Any, offsets: Any, ragged: Any, values: Any, above: float, held: Any, table: Any, z: Any) -> None:
    """Add table[slot] : float64 (width, K) to column i of z : (K, n) for each slot whose entries in row i sum to more than `above`."""
    n, k = slots.shape
    for i in range(n):
        low, high = (offsets[i], offsets[i + 1]) if len(offsets) else (0, 0)
        for a in range(k):
            held[slots[i, a]] += 1.0
        for e in range(low, high):
            held[ragged[e]] += values[e]
        for a in range(k + high - low):
            s = slots[i, a] if a < k else ragged[low + a - k]
            if held[s] > above:
                for c in range(len(z)):
                    z[c, i] += table[s, c]
            held[s] = 0.0


def _gaussian(x: Any, mean: Any, inverse: Any, z: Any) -> None:
    """z[k, i] -= ½ Σ_j (x[i, j] - mean[k, j])² · inverse[k, j], columns in order. z : float64 (K, n)."""
    n, p = x.shape
    for i in range(n):
        for k in range(len(mean)):
            total = 0.0
            for j in range(p):
                v = x[i, j] - mean[k, j]
                total += v * v * inverse[k, j]
            z[k, i] -= 0.5 * total


def _quadratic(x: Any, mean: Any, factor: Any, z: Any) -> None:
    """z[k, i] -= ½ |(x[i] - mean[k]) · factor[k]|². factor : float64 (K, p, p); z : (K, n). p² products a row and class."""
    n, p = x.shape
    own = mean[0].copy()
    for i in range(n):
        for k in range(len(mean)):
            own[:] = 0.0
            for j in range(p):
                v = x[i, j] - mean[k, j]
                for c in range(p):
                    own[c] += v * factor[k, j, c]
            total = 0.0
            for c in range(p):
                total += own[c] * own[c]
            z[k, i] -= 0.5 * total


def _logs(values: Any, out: Any) -> None:
    """out = log(values), both float64 (n,): the same bits on every processor."""
    for i in range(len(values)):
        out[i] = log(values[i])


_ENTRIES = (U4(2), I8(1), U4(1), F4(1))
class_sums = kernel(types.void(F8(2), I4(1), F8(1), F8(2, True), F8(1, True)), _class_sums)
about = kernel(types.void(F8(2), I4(1), F8(1), F8(2), F8(2, True), F8(2, True)), _about)
about_by_class = kernel(types.void(F8(2), I4(1), F8(1), F8(2), F8(2, True), F8(2, True), I8(1, True)), _about_by_class)
spreads = kernel(types.void(F8(2), I4(1), F8(1), F8(2), F8(2, True), F8(2, True)), _spreads)
entry_sums = kernel(types.boolean(*_ENTRIES, I4(1), F8(1), types.float64, F8(1, True), F8(2, True)), _entry_sums)
present = kernel(types.void(*_ENTRIES, types.float64, F8(1, True), F8(2), F8(2, True)), _present)
gaussian = kernel(types.void(F8(2), F8(2), F8(2), F8(2, True)), _gaussian)
quadratic = kernel(types.void(F8(2), F8(2), F8(3), F8(2, True)), _quadratic)
logs = kernel(types.void(F8(1), F8(1, True)), _logs)
