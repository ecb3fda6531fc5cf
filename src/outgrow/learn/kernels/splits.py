"""The best split of a leaf, from its histogram."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["best_split"]


@numba.njit(error_model="numpy")
def _cut(g: float, l1: float) -> float:
    return g - l1 if g > l1 else (g + l1 if g < -l1 else 0.0)


@numba.njit(error_model="numpy")
def _gain(g: int, h: int, total: Any, rule: Any, penalty: float, base: float) -> Any:
    """What a left side of gradient g and hessian h gains over leaving the leaf whole."""
    one, two = _cut(g * rule[0], rule[2]), _cut((total[0] - g) * rule[0], rule[2])
    return one * one / (h * rule[1] + penalty) + two * two / ((total[1] - h) * rule[1] + penalty) - base


@numba.njit(error_model="numpy")
def _whole(total: Any, rule: Any, penalty: float) -> float:
    """What a leaf gains over a value of 0."""
    g, below = _cut(total[0] * rule[0], rule[2]), total[1] * rule[1] + penalty
    return g * g / below if below > 0.0 else 0.0


@numba.njit(error_model="numpy")
def _held(g: int, h: int, rule: Any, penalty: float, limits: Any) -> Any:
    """The value of a leaf, held between its limits."""
    below = h * rule[1] + penalty
    value = -_cut(g * rule[0], rule[2]) / below if below > 0.0 else 0.0
    return min(max(value, limits[0]), limits[1])


@numba.njit(error_model="numpy")
def _worth(g: int, h: int, rule: Any, penalty: float, value: float) -> Any:
    """What a leaf of this value gains over one of 0."""
    return -(2.0 * _cut(g * rule[0], rule[2]) + (h * rule[1] + penalty) * value) * value


@numba.njit(error_model="numpy")
def _gain_within(g: int, h: int, total: Any, rule: Any, penalty: float, limits: Any, sign: int) -> Any:
    """As `_gain`, of values within limits; 0 where they would fall against the sign."""
    one, two = _held(g, h, rule, penalty, limits), _held(total[0] - g, total[1] - h, rule, penalty, limits)
    if sign * (two - one) < 0.0:
        return 0.0
    whole = _worth(total[0], total[1], rule, penalty, _held(total[0], total[1], rule, penalty, limits))
    return _worth(g, h, rule, penalty, one) + _worth(total[0] - g, total[1] - h, rule, penalty, two) - whole


@numba.njit(error_model="numpy")
def _few(h: int, n: int, rule: Any) -> Any:
    """True where a side has too few rows or too little hessian."""
    return n < rule[4] or h * rule[1] < rule[5]


@numba.njit(error_model="numpy")
def _of_numbers(sums: Any, count: int, total: Any, rule: Any, best: float, found: Any, limits: Any, bounded: bool, sign: int) -> float:
    """The best split of a column of numbers that gains more than `best`: bin by bin, missing values on the right and then on the left."""
    base = _whole(total, rule, rule[3])
    for side in range(2 if sums[2] > 0 else 1):
        g, h, n = (sums[0], sums[1], sums[2]) if side else (np.int64(0), np.int64(0), np.int64(0))
        for b in range(1, count):
            here = sums[3 * b + 2]
            g += sums[3 * b]
            h += sums[3 * b + 1]
            n += here
            if here == 0 or _few(h, n, rule):
                continue
            if _few(total[1] - h, total[2] - n, rule):
                break
            gain = _gain_within(g, h, total, rule, rule[3], limits, sign) if bounded else _gain(g, h, total, rule, rule[3], base)
            if gain > best:
                best = gain
                found[1], found[2], found[3], found[4] = b, g, h, n
                found[5] = side if sums[2] > 0 else (1 if 2 * n > total[2] else 0)  # where none is missing, a missing one goes with the more
    return best


@numba.njit(error_model="numpy")
def _of_categories(sums: Any, count: int, total: Any, rule: Any, best: float, ratio: Any, rank: Any, left: Any, found: Any, limits: Any, bounded: bool) -> float:
    """The best split of a column of categories that gains more than `best`: the bins in the order of their mean gradient, from either end."""
    some = 0
    for b in range(count):
        if sums[3 * b + 2] > 0:
            ratio[b] = sums[3 * b] * rule[0] / (sums[3 * b + 1] * rule[1] + rule[6])
            k = some
            while k > 0 and ratio[rank[k - 1]] > ratio[b]:
                rank[k] = rank[k - 1]
                k -= 1
            rank[k] = b
            some += 1
    penalty = rule[3] + rule[7]
    base = max(_whole(total, rule, penalty), _whole(total, rule, rule[3]))
    direction, length = 0, 0
    for way in range(2):
        g, h, n = np.int64(0), np.int64(0), np.int64(0)
        for k in range(min(some - 1, int(rule[8]))):
            b = rank[some - 1 - k if way else k]
            g += sums[3 * b]
            h += sums[3 * b + 1]
            n += sums[3 * b + 2]
            if _few(h, n, rule):
                continue
            if _few(total[1] - h, total[2] - n, rule):
                break
            gain = _gain_within(g, h, total, rule, penalty, limits, 0) if bounded else _gain(g, h, total, rule, penalty, base)
            if gain > best:
                best, direction, length = gain, way, k + 1
                found[1], found[2], found[3], found[4] = b, g, h, n
    if length:
        left[:] = 0
        for k in range(length):
            left[rank[some - 1 - k if direction else k]] = 1
        found[5] = left[0]
    return best


@numba.njit(error_model="numpy")
def best_split(sums: Any, bins: Any, kinds: Any, total: Any, rule: Any, ratio: Any, rank: Any, left: Any, found: Any, signs: Any, limits: Any) -> float:
    """The gain of the best split of a leaf over leaving it whole; 0 where none is allowed. Of equal gains the first column's, then the lowest bin's.

    Parameters
    ----------
    sums : int64 (m · 256 · 3,), gradient, hessian and rows of each bin. total : int64 (3,), of the leaf.
    bins : int32 (m,), bins of a column, that of missing values (0) included; 0: a column that is not to be used. kinds : uint8 (m,), 1 where it is of categories.
    rule : float64 (9,): size of one of gradient, of hessian, l1, l2, fewest rows, least hessian, then for categories: what is added to a bin's hessian
        to order them, what is added to l2, most bins on one side.
    ratio : float64 (256,), rank : int64 (256,), overwritten.
    left : uint8 (256,), written: the bins that go left.
    signs : int32 (m,), 1 where values must not fall along a column, -1 where they must not rise; (0,) where no column is bound. limits : float64 (2,), least and
        largest value of the leaf, read where some column is.
    found : int64 (6,), written: column, last bin on the left, gradient, hessian and rows of the left, whether missing goes left.
    """
    best, bounded = 0.0, len(signs) > 0
    for j in range(len(bins)):
        count = bins[j]
        if count < 2:
            continue
        own, before = sums[768 * j : 768 * (j + 1)], best
        if kinds[j]:
            best = _of_categories(own, count, total, rule, best, ratio, rank, left, found, limits, bounded)
        else:
            best = _of_numbers(own, count, total, rule, best, found, limits, bounded, signs[j] if bounded else 0)
        if best > before:
            found[0] = j
    if best > 0.0 and kinds[found[0]] == 0:
        for b in range(256):
            left[b] = 1 if 0 < b <= found[1] else 0
        left[0] = found[5]
    return best
