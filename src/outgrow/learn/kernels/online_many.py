"""Online updates for several outputs: softmax, and one against the rest. Row by row, as in `online`; arguments as there, except

target : float64 (n,), class numbers.      table : float32 (width, 2C): C weights and C adaptive sums (FTRL: z and n).
small : float64 (2m+1, 2C+1): the same, and the scale.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .codes import SOFTMAX
from .losses import move, slope, value
from .math import exp, log, sigmoid
from .online import _AHEAD, _BIG, _FINITE, _FLOOR, _shrunk, ftrl_weight, longest
from .prefetch import prefetch

__all__ = ["chances", "losses", "many", "standing"]


@numba.njit(error_model="numpy")
def _slopes(loss: int, p: Any, target: int, tau: float, g: Any) -> float:
    """Fill g (C,) with the derivatives by the outputs p (C,); returns the loss."""
    outs = len(p)
    if loss != SOFTMAX:
        total = 0.0
        for c in range(outs):
            y = 1.0 if c == target else -1.0
            g[c] = slope(loss, p[c], y, tau)
            total += value(loss, p[c], y, tau)
        return total
    top = p[0]
    for c in range(1, outs):
        top = max(top, p[c])
    mass = 0.0
    for c in range(outs):
        g[c] = exp(p[c] - top)
        mass += g[c]
    for c in range(outs):
        g[c] /= mass
    g[target] -= 1.0
    return float(log(mass) + (top - p[target]))


def many(  # noqa: C901, PLR0912, PLR0915 -- one loop whose parts share two dozen scalars
    dense: Any, slots: Any, starts: Any, ragged: Any, values: Any,
    target: Any, weight: Any, table: Any, scale: Any, small: Any, totals: Any, knobs: Any, loss: int, adaptive: bool
) -> Any:
    """As `adaptive` (or `ftrl`), one step for each output.

    One against the rest takes the closed-form step in each output. Softmax has none: its step is −g / (1 + step · reach · p (1 − p) / 2),
    which is what the closed form is to second order, output by output.
    """
    n, m = dense.shape
    k, outs = slots.shape[1], table.shape[1] // 2
    eta, tau, l1, l2, beta = knobs[0], knobs[1], knobs[2], knobs[3], knobs[4]
    most = m + k + longest(starts) + 1
    x, scales, at = np.zeros(most), np.ones(most), np.zeros(most, np.int64)
    first, second, rate = np.zeros((most, outs)), np.zeros((most, outs)), np.zeros((most, outs))
    p, g, u, reach = np.zeros(outs), np.zeros(outs), np.zeros(outs), np.zeros(outs)
    wide, line = np.uint64(2 * outs), np.uint64(16)
    for i in range(n):
        if i + _AHEAD < n:
            for j in range(k):
                start = np.uint64(slots[i + _AHEAD, j]) * wide
                for _ in range(1 + (2 * outs - 1) // 16):
                    prefetch(table, start)
                    start += line
        # the features of the row, side by side: dense, intercept, slots, entries with values
        for j in range(m):
            v: Any = np.float64(dense[i, j])
            missing = v != v  # noqa: PLR0124 -- NaN
            if abs(v) > _FINITE:
                return i
            a, v = (m + j, 1.0) if missing else (j, v)
            if adaptive:  # relative to the largest value seen, as in `online`
                s: Any = small[a, 2 * outs]
                if abs(v) > s:
                    for c in range(outs):
                        small[a, outs + c] *= (s / abs(v)) * (s / abs(v))
                    s = abs(v)
                    small[a, 2 * outs] = s
                v = v / s if s > 0.0 else 0.0
            at[j], x[j] = a, v
        at[m], x[m] = 2 * m, 1.0
        for j in range(k):
            at[m + 1 + j], x[m + 1 + j] = slots[i, j], 1.0
        count = m + 1 + k
        if len(starts):
            for j in range(starts[i], starts[i + 1]):
                if not abs(values[j]) <= _FINITE:
                    return i
                at[count], x[count] = ragged[j], values[j]
                count += 1
        for c in range(outs):
            p[c] = 0.0
        for j in range(count):
            a = at[j]
            for c in range(outs):
                if j <= m:
                    first[j, c], second[j, c] = small[a, c], small[a, outs + c]
                else:
                    first[j, c], second[j, c] = table[a, c], table[a, outs + c]
                if not adaptive:
                    free = j == m
                    rate[j, c] = ftrl_weight(first[j, c], second[j, c], eta, beta, 0.0 if free else l1, 0.0 if free else l2)
                p[c] += (first[j, c] if adaptive else rate[j, c]) * x[j]
        for c in range(outs):
            if not abs(p[c]) < _BIG:
                return n + i
        h = weight[i] if len(weight) else 1.0
        y = int(target[i])
        totals[0] += h * _slopes(loss, p, y, tau, g)
        totals[1] += h
        totals[2] += 1.0
        if h == 0.0:
            continue
        if not adaptive:
            for j in range(count):
                a = at[j]
                for c in range(outs):
                    more = h * g[c] * g[c] * x[j] * x[j]
                    pull = h * g[c] * x[j] - (np.sqrt(second[j, c] + more) - np.sqrt(second[j, c])) / eta * rate[j, c]
                    if j <= m:
                        small[a, c] += pull
                        small[a, outs + c] += more
                    else:
                        table[a, c] += np.float32(pull)
                        table[a, outs + c] += np.float32(more)
            continue
        norm = 0.0
        for c in range(outs):
            reach[c] = 0.0
        for j in range(count):
            a, v = at[j], abs(x[j])
            s = np.float64(1.0)
            if j > m + k:
                s = np.float64(scale[a])
                scale[a] = max(s, v)
            grown = s / v if v > s else 1.0
            s = max(s, v)
            s = s if s > 0.0 else 1.0
            scales[j] = grown
            norm += (v / s) * (v / s)
            for c in range(outs):
                total = second[j, c] + max(h * g[c] * g[c], _FLOOR) * v * v
                rate[j, c] = x[j] / (np.sqrt(max(total, _FLOOR)) * s)
                reach[c] += rate[j, c] * x[j]
        totals[3] += h
        totals[4] += h * norm
        fair = np.sqrt(totals[3] / totals[4])
        for c in range(outs):
            if loss == SOFTMAX:
                chance = g[c] + 1.0 if c == y else g[c]
                u[c] = -fair * eta * h * g[c] / (1.0 + 0.5 * eta * h * fair * reach[c] * chance * (1.0 - chance))
            else:
                u[c] = fair * move(loss, p[c], 1.0 if c == y else -1.0, tau, eta * h, reach[c] * fair) if g[c] != 0.0 else 0.0
        for j in range(count):
            a = at[j]
            if x[j] == 0.0:
                continue
            for c in range(outs):
                more = max(h * g[c] * g[c], _FLOOR) * x[j] * x[j]
                w = first[j, c] * scales[j] + u[c] * rate[j, c]
                if (l1 > 0.0 or l2 > 0.0) and j != m:
                    w = _shrunk(w, eta * h * fair * abs(rate[j, c] / x[j]), l1, l2)
                change = w - first[j, c]  # a difference, so that two entries of one slot both count
                if j <= m:
                    small[a, c] += change
                    small[a, outs + c] += more
                else:
                    table[a, c] += np.float32(change)
                    table[a, outs + c] += np.float32(more)
    return -1


def chances(p: Any, loss: int, out: Any) -> None:
    """Probabilities out (n, C) from scores p (n, C): softmax, or sigmoids scaled to sum to one."""
    n, outs = p.shape
    for i in range(n):
        top = p[i, 0]
        for c in range(1, outs):
            top = max(top, p[i, c])
        mass = 0.0
        for c in range(outs):
            out[i, c] = exp(p[i, c] - top) if loss == SOFTMAX else sigmoid(p[i, c])
            mass += out[i, c]
        for c in range(outs):
            out[i, c] = out[i, c] / mass if mass > 0.0 else 1.0 / outs


def losses(p: Any, target: Any, weight: Any, loss: int, tau: float) -> float:
    """The weighted losses of scores p (n, C), one row after another."""
    n, outs = p.shape
    g, total = np.empty(outs), 0.0
    for i in range(n):
        one = value(loss, p[i, 0], target[i], tau) if outs == 1 else _slopes(loss, p[i], int(target[i]), tau, g)
        total += one * weight[i] if len(weight) else one
    return total


def standing(dense: Any, slots: Any, table: Any, small: Any, knobs: Any, adaptive: bool, out: Any) -> None:
    """Scores out (C,) of one row from the arrays of learning: bit for bit what `online.scores` gives under the finished model."""
    m, outs = dense.shape[1], len(out)
    eta, l1, l2, beta = knobs[0], knobs[2], knobs[3], knobs[4]
    for c in range(outs):
        for j in range(-1, m):
            a, x = 2 * m, 1.0
            if j >= 0:
                x = np.float64(dense[0, j])
                missing = x != x  # noqa: PLR0124 -- NaN
                a, x = (m + j, 1.0) if missing else (j, x)
            if adaptive:
                s = small[a, 2 * outs]
                w = small[a, c] / s if s > 0.0 else 0.0
            else:
                w = ftrl_weight(small[a, c], small[a, outs + c], eta, beta, l1 if j >= 0 else 0.0, l2 if j >= 0 else 0.0)
            out[c] = w if j < 0 else out[c] + w * x
        for j in range(slots.shape[1]):
            at = slots[0, j]
            own = table[at, c] if adaptive else np.float32(ftrl_weight(np.float64(table[at, c]), np.float64(table[at, outs + c]), eta, beta, l1, l2))
            out[c] += np.float64(own)
