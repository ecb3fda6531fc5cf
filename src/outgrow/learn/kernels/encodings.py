"""Compiled sums of a target by category and fold. The last slot of each table is for every row."""

from __future__ import annotations

from typing import Any

import numba
from numba import types

from .compiled import F8, I4, I8, U4, kernel

__all__ = ["add_numbers", "count_classes", "meet", "weigh_classes"]


def _count_classes(slots: Any, folds: Any, label: Any, counts: Any) -> None:
    """counts[slot, fold, label] += 1 for each of a row's slots and the last one. slots : uint32 (n, k); folds : int64 (n,); label : int32 (n,); counts : int64 (s, f, c)."""
    n, k = slots.shape
    every = len(counts) - 1
    for i in range(n):
        for j in range(k):
            counts[slots[i, j], folds[i], label[i]] += 1
        counts[every, folds[i], label[i]] += 1


def _weigh_classes(slots: Any, folds: Any, label: Any, weight: Any, sums: Any) -> None:
    """The same with weight : float64 (n,) in place of 1; sums : float64 (s, f, c)."""
    n, k = slots.shape
    every = len(sums) - 1
    for i in range(n):
        for j in range(k):
            sums[slots[i, j], folds[i], label[i]] += weight[i]
        sums[every, folds[i], label[i]] += weight[i]


@numba.njit(error_model="numpy", inline="always")
def _add(total: Any, mean: Any, m2: Any, s: Any, f: Any, w: float, y: float) -> None:
    total[s, f] += w
    away = y - mean[s, f]
    mean[s, f] += away * (w / total[s, f])
    m2[s, f] += w * away * (y - mean[s, f])


def _add_numbers(slots: Any, folds: Any, y: Any, weight: Any, total: Any, mean: Any, m2: Any) -> None:
    """Weighted mean and sum of squared deviations of y : float64 (n,) for each of a row's slots and the last one (Welford 1962; West 1979).

    weight : float64 (n,), (0,) where every row counts once; a row of weight 0 is no row. total, mean, m2 : float64 (s, f).
    """
    n, k = slots.shape
    every = len(total) - 1
    for i in range(n):
        w = weight[i] if len(weight) else 1.0
        if w > 0.0:
            for j in range(k):
                _add(total, mean, m2, slots[i, j], folds[i], w, y[i])
            _add(total, mean, m2, every, folds[i], w, y[i])


def _meet(total: Any, mean: Any, m2: Any, total_right: Any, mean_right: Any, m2_right: Any) -> None:
    """Element by element, the left : float64 (n,) becomes what all its rows and those of the right give (Chan, Golub and LeVeque 1979)."""
    for i in range(len(total)):
        b = total_right[i]
        if b > 0.0:
            a = total[i]
            if a > 0.0:
                away = mean_right[i] - mean[i]
                total[i] = a + b
                mean[i] += away * (b / (a + b))
                m2[i] += m2_right[i] + away * away * (a * (b / (a + b)))
            else:
                total[i], mean[i], m2[i] = b, mean_right[i], m2_right[i]


add_numbers = kernel(types.void(U4(2), I8(1), F8(1), F8(1), F8(2, True), F8(2, True), F8(2, True)), _add_numbers)
count_classes = kernel(types.void(U4(2), I8(1), I4(1), I8(3, True)), _count_classes)
meet = kernel(types.void(F8(1, True), F8(1, True), F8(1, True), F8(1), F8(1), F8(1)), _meet)
weigh_classes = kernel(types.void(U4(2), I8(1), I4(1), F8(1), F8(3, True)), _weigh_classes)
