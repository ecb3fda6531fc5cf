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
def best_split(sums: Any, bins: Any, kinds: Any, total: Any, rule: Any, ratio: Any, rank: Any, left: Any, found: Any) -> float:
    """The gain of the best split of a leaf over leaving it whole; 0 where none is allowed. Of equal gains the first column's, then the lowest bin's.

    Parameters
    ----------
    sums : int64 (m · 256 · 3,), gradient, hessian and rows of each bin. total : int64 (3,), of the leaf.
    bins : int32 (m,), bins of a column, that of missing values (0) included; 0: a column that is not to be used. kinds : uint8 (m,), 1 where it is of categories.
    rule : float64 (9,): size of one of gradient, of hessian, l1, l2, fewest rows, least hessian, then for categories: what is added to a bin's hessian to order
        them, what is added to l2, most bins on one side.
    ratio : float64 (256,), rank : int64 (256,), overwritten.
    left : uint8 (256,), written: the bins that go left. found : int64 (6,), written: column, last bin on the left in order, gradient, hessian and rows of the left, whether missing goes left.
    """
    g_size, h_size, l1, l2 = rule[0], rule[1], rule[2], rule[3]
    least_rows, least_hessian = np.int64(rule[4]), rule[5]
    g_all, h_all, n_all = total[0], total[1], total[2]
    whole = _cut(g_all * g_size, l1)
    base = whole * whole / (h_all * h_size + l2) if h_all * h_size + l2 > 0.0 else 0.0
    best, best_direction, best_length = 0.0, 0, 0
    for j in range(len(bins)):
        count = bins[j]
        if count < 2:
            continue
        at = 3 * 256 * j
        if kinds[j]:
            some = 0
            for b in range(count):
                if sums[at + 3 * b + 2] > 0:
                    ratio[b] = sums[at + 3 * b] * g_size / (sums[at + 3 * b + 1] * h_size + rule[6])
                    k = some
                    while k > 0 and ratio[rank[k - 1]] > ratio[b]:
                        rank[k] = rank[k - 1]
                        k -= 1
                    rank[k] = b
                    some += 1
            penalty = l2 + rule[7]
            whole_here = whole * whole / (h_all * h_size + penalty) if h_all * h_size + penalty > 0.0 else 0.0
            for direction in range(2):
                g, h, n = np.int64(0), np.int64(0), np.int64(0)
                for k in range(min(some - 1, np.int64(rule[8]))):
                    b = rank[k] if direction == 0 else rank[some - 1 - k]
                    g += sums[at + 3 * b]
                    h += sums[at + 3 * b + 1]
                    n += sums[at + 3 * b + 2]
                    if n < least_rows or h * h_size < least_hessian:
                        continue
                    if n_all - n < least_rows or (h_all - h) * h_size < least_hessian:
                        break
                    one, two = _cut(g * g_size, l1), _cut((g_all - g) * g_size, l1)
                    gain = one * one / (h * h_size + penalty) + two * two / ((h_all - h) * h_size + penalty) - max(whole_here, base)
                    if gain > best:
                        best, best_direction, best_length = gain, direction, k + 1
                        found[0], found[1], found[2], found[3], found[4], found[5] = j, b, g, h, n, 0
            if found[0] == j and best > 0.0:
                left[:] = 0
                for k in range(best_length):
                    left[rank[k] if best_direction == 0 else rank[some - 1 - k]] = 1
                found[5] = left[0]
            continue
        g_none, h_none, n_none = sums[at], sums[at + 1], sums[at + 2]
        for side in range(2 if n_none > 0 else 1):  # missing values right, then left
            g, h, n = (g_none, h_none, n_none) if side else (np.int64(0), np.int64(0), np.int64(0))
            for b in range(1, count):
                here = sums[at + 3 * b + 2]
                g += sums[at + 3 * b]
                h += sums[at + 3 * b + 1]
                n += here
                if here == 0 or n < least_rows or h * h_size < least_hessian:
                    continue
                if n_all - n < least_rows or (h_all - h) * h_size < least_hessian:
                    break
                one, two = _cut(g * g_size, l1), _cut((g_all - g) * g_size, l1)
                gain = one * one / (h * h_size + l2) + two * two / ((h_all - h) * h_size + l2) - base
                if gain > best:
                    best = gain
                    found[0], found[1], found[2], found[3], found[4] = j, b, g, h, n
                    found[5] = side if n_none > 0 else (1 if 2 * n > n_all else 0)  # where none is missing, a missing one goes with the more
    if best > 0.0 and kinds[found[0]] == 0:
        for b in range(256):
            left[b] = 1 if 0 < b <= found[1] else 0
        left[0] = found[5]
    return best
