"""LambdaRank's gradients, group by group."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .math import log, sigmoid

__all__ = ["lambdas"]

_TOP = 30  # places from the top that a pair must reach into, and that the best gain is counted over: LightGBM's default
_LN2 = 0.6931471805599453


@numba.njit(error_model="numpy")
def _best(rows: Any, target: Any, share: Any) -> float:
    """The gain of the rows of a group in their best order."""
    rows_of = np.zeros(32, np.int64)
    for row in rows:
        rows_of[np.int64(target[row])] += 1
    found, place = 0.0, 0
    for label in range(31, 0, -1):
        upto = min(place + rows_of[label], _TOP)
        for i in range(place, upto):
            found += (float(np.int64(1) << label) - 1.0) * share[i]
        place = upto
    return found


@numba.njit(error_model="numpy")
def _pairs(rows: Any, scores: Any, target: Any, share: Any, best: float, g: Any, h: Any) -> float:
    """Add what the pairs of a group give, and tell how much that is in all."""
    even = scores[rows[0]] == scores[rows[-1]]
    total = 0.0
    for i in range(min(len(rows) - 1, _TOP)):
        for j in range(i + 1, len(rows)):
            one, two = rows[i], rows[j]
            if target[one] == target[two]:
                continue
            high, low = (one, two) if target[one] > target[two] else (two, one)
            ahead = scores[high] - scores[low]
            gained = float((np.int64(1) << np.int64(target[high])) - (np.int64(1) << np.int64(target[low])))
            worth = gained * (share[i] - share[j]) / best
            if not even:
                worth /= 0.01 + abs(ahead)
            wrong = sigmoid(-ahead)
            g[high] -= wrong * worth
            g[low] += wrong * worth
            h[high] += wrong * (1.0 - wrong) * worth
            h[low] += wrong * (1.0 - wrong) * worth
            total += 2.0 * wrong * worth
    return total


@numba.njit(error_model="numpy")
def lambdas(order: Any, starts: Any, scores: Any, target: Any, g: Any, h: Any) -> None:
    """Add the gradient and hessian of each row's pairs to g and h, float64 (n,).

    order : int64, rows, group by group, the highest score first. starts : int64 (groups + 1,), where the groups begin in it. target : whole numbers 0 to 31.
    """
    longest = 0
    for q in range(len(starts) - 1):
        longest = max(longest, starts[q + 1] - starts[q])
    share = np.empty(longest)
    for i in range(longest):
        share[i] = _LN2 / log(2.0 + i)
    for q in range(len(starts) - 1):
        rows = order[starts[q] : starts[q + 1]]
        if len(rows) < 2:
            continue
        total = _pairs(rows, scores, target, share, _best(rows, target, share), g, h)
        if total > 0.0:
            factor = log(1.0 + total) / (_LN2 * total)
            for row in rows:
                g[row] *= factor
                h[row] *= factor
