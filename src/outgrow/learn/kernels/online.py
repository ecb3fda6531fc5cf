"""Online updates over the rows of one batch, for a single output: adaptive and FTRL-proximal.

Memory is the speed: the two numbers of a slot lie side by side, and the slots of the rows to come are asked for ahead.
Rows are taken strictly one after another, so how they are cut into batches changes nothing. Sums over features use eight
accumulators in a fixed order: a processor adds them side by side, and every processor adds the same numbers.

Arguments of both loops:
    dense : float32 (n, m); NaN where missing.      slots : uint32 (n, k), entries of value 1.
    starts, ragged, values : int64 (n+1,), uint32, float32: entries with values; three empty arrays where there are none.
    target : float64 (n,), −1 or +1 for classes.      weight : float64 (n,), or empty where every row counts once.
    table : float32 (2·width,), changed: weight and adaptive sum (FTRL: z and n) of each slot.
    scale : float32 (width,), changed: largest |value| seen in a slot; empty where there are no entries with values.
    small : float64 (3·(2m+1),), changed: weight, adaptive sum and scale of each dense column, then of "column j is missing", then of the
        intercept; weight and sum (adaptive) are those of values divided by the scale.
    totals : float64 (5,), changed: loss before each update, weight, rows, and two numbers of the normaliser.
    knobs : float64 (5,): learning rate, tau, l1, l2, beta.
They return −1, or the number of the first bad row: i for a value that is not finite, n + i for a prediction that has grown beyond all bounds.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .codes import LOGISTIC
from .losses import add_losses, logistic_move, move, slope
from .math import exp
from .prefetch import prefetch

__all__ = ["adaptive", "ftrl", "ftrl_weight", "gain", "longest", "scores", "settle"]

_AHEAD = 8  # rows; 4 to 16 are alike
_FLOOR = 1e-30  # a squared gradient below this would vanish in a float32 sum and leave a rate of 1/0
_BIG = 1e30
_FINITE = 3.4028234663852886e38
_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)
_ZERO, _FLOOR32 = np.float32(0.0), np.float32(_FLOOR)


@numba.njit(error_model="numpy")
def longest(starts: Any) -> int:
    """The most entries of one row."""
    most = 0
    for i in range(len(starts) - 1):
        most = max(most, starts[i + 1] - starts[i])
    return most


@numba.njit(error_model="numpy")
def _shrunk(w: float, step: float, l1: float, l2: float) -> float:
    """The proximal step of l1·|w| + l2·w²/2, of size `step`."""
    w /= 1.0 + step * l2
    return max(w - step * l1, 0.0) if w > 0.0 else min(w + step * l1, 0.0)


def adaptive(  # noqa: C901, PLR0912, PLR0915 -- one loop whose parts share two dozen scalars; a call a row costs more than the row
    dense: Any, slots: Any, starts: Any, ragged: Any, values: Any, target: Any, weight: Any, table: Any, scale: Any, small: Any, totals: Any, knobs: Any, loss: int
) -> Any:
    """Adaptive (Duchi, Hazan and Singer 2011), normalised (Ross, Mineiro and Langford 2013), importance-aware (Karampatziakis and Langford 2011) updates.

    Each feature is taken relative to the largest value seen of it, q = x / s with s = max |x|; where s grows, its sum G shrinks
    by the square, as if s had been known from the start. For a gradient g of the loss: G += w g² q²; the weight (of q) moves by
    u · q / √G · √(rows / Σ q²), where u is the closed-form step of `move`. Entries of value 1 have q = 1. l1 and l2 act on the
    weights that a row touches, as a proximal step of the same size as the weight's own.
    """
    n, m = dense.shape
    k = slots.shape[1]
    eta, tau, l1, l2 = knobs[0], knobs[1], knobs[2], knobs[3]
    m4, last, wide = (m + 3) // 4 * 4, 6 * m, (k + m + 16) // 16 * 16
    q, at, inverse = np.zeros(m4), np.full(m4, np.uint64(last)), np.zeros(2 * m + 1)
    for j in range(2 * m + 1):
        inverse[j] = 1.0 / small[3 * j + 2] if small[3 * j + 2] > 0.0 else 0.0
    # slots, then dense columns, then the intercept: float32, padded so that loops over them run in whole vectors
    sums, rate, share = np.full(wide, np.float32(1.0)), np.zeros(wide, np.float32), np.zeros(wide, np.float32)
    share[:k], share[k + m] = np.float32(1.0), np.float32(1.0)
    sums_small, rate_small, share_small = sums[k:], rate[k:], share[k:]
    far = np.empty(longest(starts))
    margins = np.zeros(n)
    weighed, seen, spread = totals[1], totals[3], totals[4]
    for i in range(n):
        if i + _AHEAD < n:
            for j in range(k):
                prefetch(table, np.uint64(slots[i + _AHEAD, j]) * _TWO)
            if len(starts):
                for j in range(starts[i + _AHEAD], starts[i + _AHEAD + 1]):
                    prefetch(table, np.uint64(ragged[j]) * _TWO)
                    prefetch(scale, np.uint64(ragged[j]))
        # what does not depend on the weights: dense columns relative to their scales
        norm = 1.0 + k
        for j in range(m):
            x = np.float64(dense[i, j])
            missing = x != x  # noqa: PLR0124 -- NaN
            a = np.uint64(m + j) if missing else np.uint64(j)
            x = np.float64(1.0) if missing else x
            if abs(x) > _FINITE:
                return i
            b = a * _THREE
            if abs(x) > small[b + _TWO]:
                grown = small[b + _TWO] / abs(x)
                small[b + _ONE] *= grown * grown
                small[b + _TWO] = abs(x)
                inverse[a] = 1.0 / abs(x)
            part = x * inverse[a]
            at[j], q[j] = b, part
            sums_small[j] = small[b + _ONE]
            norm += part * part
            share_small[j] = part * part
        sums_small[m] = small[last + 1]
        # the prediction
        p0, p1, p2, p3, p4, p5, p6, p7 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
        for j in range(0, k // 8 * 8, 8):
            b0 = np.uint64(slots[i, j]) * _TWO
            p0 += table[b0]
            sums[j] = table[b0 + _ONE]
            b1 = np.uint64(slots[i, j + 1]) * _TWO
            p1 += table[b1]
            sums[j + 1] = table[b1 + _ONE]
            b2 = np.uint64(slots[i, j + 2]) * _TWO
            p2 += table[b2]
            sums[j + 2] = table[b2 + _ONE]
            b3 = np.uint64(slots[i, j + 3]) * _TWO
            p3 += table[b3]
            sums[j + 3] = table[b3 + _ONE]
            b4 = np.uint64(slots[i, j + 4]) * _TWO
            p4 += table[b4]
            sums[j + 4] = table[b4 + _ONE]
            b5 = np.uint64(slots[i, j + 5]) * _TWO
            p5 += table[b5]
            sums[j + 5] = table[b5 + _ONE]
            b6 = np.uint64(slots[i, j + 6]) * _TWO
            p6 += table[b6]
            sums[j + 6] = table[b6 + _ONE]
            b7 = np.uint64(slots[i, j + 7]) * _TWO
            p7 += table[b7]
            sums[j + 7] = table[b7 + _ONE]
        for j in range(k // 8 * 8, k):
            b0 = np.uint64(slots[i, j]) * _TWO
            p0 += table[b0]
            sums[j] = table[b0 + _ONE]
        p = np.float64(((p0 + p1) + (p2 + p3)) + ((p4 + p5) + (p6 + p7)))
        d0, d1, d2, d3 = 0.0, 0.0, 0.0, 0.0
        for j in range(0, m4, 4):
            d0 += small[at[j]] * q[j]
            d1 += small[at[j + 1]] * q[j + 1]
            d2 += small[at[j + 2]] * q[j + 2]
            d3 += small[at[j + 3]] * q[j + 3]
        p += (d0 + d1) + (d2 + d3)
        if len(starts):
            for j in range(starts[i], starts[i + 1]):
                if not abs(values[j]) <= _FINITE:
                    return i
                p += np.float64(table[np.uint64(ragged[j]) * _TWO]) * np.float64(values[j])
        p += small[last]
        if not abs(p) < _BIG:
            return n + i
        margins[i] = p
        y, h = target[i], weight[i] if len(weight) else 1.0
        weighed += h
        odds = exp(y * p) if loss == LOGISTIC else 0.0
        g = -y / (1.0 + odds) if loss == LOGISTIC else slope(loss, p, y, tau)
        if g == 0.0 or h == 0.0:
            continue
        # the adaptive sums, and how far the prediction moves for a step of one
        gg = max(h * g * g, _FLOOR)
        gg32 = np.float32(gg)
        for j in range(wide):
            sums[j] = max(sums[j], _FLOOR32) + gg32 * share[j]
            rate[j] = np.float32(1.0) / np.sqrt(sums[j])
        p0, p1, p2, p3, p4, p5, p6, p7 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
        for j in range(0, wide, 8):
            p0 += rate[j] * share[j]
            p1 += rate[j + 1] * share[j + 1]
            p2 += rate[j + 2] * share[j + 2]
            p3 += rate[j + 3] * share[j + 3]
            p4 += rate[j + 4] * share[j + 4]
            p5 += rate[j + 5] * share[j + 5]
            p6 += rate[j + 6] * share[j + 6]
            p7 += rate[j + 7] * share[j + 7]
        reach = np.float64(((p0 + p1) + (p2 + p3)) + ((p4 + p5) + (p6 + p7)))
        if len(starts):
            for j in range(starts[i], starts[i + 1]):
                value, slot = np.float64(values[j]), np.uint64(ragged[j])
                if value == 0.0:
                    far[j - starts[i]] = 0.0
                    continue
                total = max(np.float64(table[slot * _TWO + _ONE]) + gg * value * value, _FLOOR)
                table[slot * _TWO + _ONE] = total
                s = np.float64(scale[slot])
                if abs(value) > s:
                    table[slot * _TWO] *= np.float32(s / abs(value))
                    s = abs(value)
                    scale[slot] = s
                part = value / (np.sqrt(total) * s)
                far[j - starts[i]] = part
                reach += part * value
                norm += (value / s) * (value / s)
        seen += h
        spread += h * norm
        fair = np.sqrt(seen / spread)
        # the step
        u = fair * (y * logistic_move(odds, eta * h, reach * fair) if loss == LOGISTIC and odds < 1e100 else move(loss, p, y, tau, eta * h, reach * fair))
        u32 = np.float32(u)
        small[last] += u * np.float64(rate_small[m])
        small[last + 1] += gg
        for j in range(m):
            small[at[j]] += u * (np.float64(rate_small[j]) * q[j])
            small[at[j] + _ONE] += gg * (q[j] * q[j])
        for j in range(k):
            b = np.uint64(slots[i, j]) * _TWO
            table[b] += u32 * rate[j]
            table[b + _ONE] = sums[j]
        if len(starts):
            for j in range(starts[i], starts[i + 1]):
                table[np.uint64(ragged[j]) * _TWO] += np.float32(u * far[j - starts[i]])
        if l1 > 0.0 or l2 > 0.0:
            step = eta * h * fair
            for j in range(m):
                if q[j] != 0.0:
                    small[at[j]] = _shrunk(small[at[j]], step * np.float64(rate_small[j]), l1, l2)
            for j in range(k):
                b = np.uint64(slots[i, j]) * _TWO
                table[b] = _shrunk(np.float64(table[b]), step * np.float64(rate[j]), l1, l2)
            if len(starts):
                for j in range(starts[i], starts[i + 1]):
                    b = np.uint64(ragged[j]) * _TWO
                    if values[j] != 0.0:
                        table[b] = _shrunk(np.float64(table[b]), step * abs(far[j - starts[i]] / np.float64(values[j])), l1, l2)
    totals[1], totals[2], totals[3], totals[4] = weighed, totals[2] + n, seen, spread
    totals[0] = add_losses(loss, margins, target, weight, tau, totals[0])
    return -1


@numba.njit(error_model="numpy")
def ftrl_weight(z: float, n: float, eta: float, beta: float, l1: float, l2: float) -> float:
    """The weight that z and n stand for (McMahan and others 2013, algorithm 1)."""
    pull = max(z - l1, 0.0) if z > 0.0 else min(z + l1, 0.0)
    return float(-pull / ((beta + np.sqrt(n)) / eta + l2))


def ftrl(  # noqa: C901, PLR0912, PLR0915 -- as above
    dense: Any, slots: Any, starts: Any, ragged: Any, values: Any, target: Any, weight: Any, table: Any, scale: Any, small: Any, totals: Any, knobs: Any, loss: int  # noqa: ARG001 -- the same arguments
) -> Any:
    """FTRL-proximal (McMahan and others 2013): l1 gives weights that are exactly zero. `scale` is not used.

    Feature i with value x and gradient g: σ = (√(n + w g² x²) − √n) / α; z += w g x − σ · weight; n += w g² x².
    """
    n, m = dense.shape
    k = slots.shape[1]
    eta, tau, l1, l2, beta = knobs[0], knobs[1], knobs[2], knobs[3], knobs[4]
    last = 6 * m
    most = m + k + longest(starts)
    x, own = np.empty(m), np.empty(most + 1)
    at = np.zeros(m, np.int64)
    margins = np.zeros(n)
    weighed = totals[1]
    for i in range(n):
        if i + _AHEAD < n:
            for j in range(k):
                prefetch(table, np.uint64(slots[i + _AHEAD, j]) * _TWO)
            if len(starts):
                for j in range(starts[i + _AHEAD], starts[i + _AHEAD + 1]):
                    prefetch(table, np.uint64(ragged[j]) * _TWO)
        first = starts[i] if len(starts) else 0
        count = starts[i + 1] - first if len(starts) else 0
        for j in range(m):
            value = np.float64(dense[i, j])
            missing = value != value  # noqa: PLR0124 -- NaN
            if abs(value) > _FINITE:
                return i
            a = 3 * (m + j) if missing else 3 * j
            at[j], x[j] = a, 1.0 if missing else value
            own[j] = ftrl_weight(small[a], small[a + 1], eta, beta, l1, l2)
        for j in range(k):
            b = np.uint64(slots[i, j]) * _TWO
            own[m + j] = ftrl_weight(np.float64(table[b]), np.float64(table[b + _ONE]), eta, beta, l1, l2)
        for j in range(count):
            if not abs(values[first + j]) <= _FINITE:
                return i
            b = np.uint64(ragged[first + j]) * _TWO
            own[m + k + j] = ftrl_weight(np.float64(table[b]), np.float64(table[b + _ONE]), eta, beta, l1, l2)
        # the intercept is not shrunk
        own[most] = ftrl_weight(small[last], small[last + 1], eta, beta, 0.0, 0.0)
        p = own[most]
        for j in range(m):
            p += own[j] * x[j]
        for j in range(k):
            p += own[m + j]
        for j in range(count):
            p += own[m + k + j] * np.float64(values[first + j])
        if not abs(p) < _BIG:
            return n + i
        margins[i] = p
        y, h = target[i], weight[i] if len(weight) else 1.0
        weighed += h
        g = slope(loss, p, y, tau)
        if g == 0.0 or h == 0.0:
            continue
        gg = h * g * g
        for j in range(m):
            a, before = at[j], small[at[j] + 1]
            small[a + 1] = before + gg * x[j] * x[j]
            small[a] += h * g * x[j] - (np.sqrt(small[a + 1]) - np.sqrt(before)) / eta * own[j]
        for j in range(k):
            b = np.uint64(slots[i, j]) * _TWO
            before = np.float64(table[b + _ONE])
            total = before + gg
            table[b + _ONE] = total
            table[b] += np.float32(h * g - (np.sqrt(total) - np.sqrt(before)) / eta * own[m + j])
        for j in range(count):
            b, value = np.uint64(ragged[first + j]) * _TWO, np.float64(values[first + j])
            before = np.float64(table[b + _ONE])
            total = before + gg * value * value
            table[b + _ONE] = total
            table[b] += np.float32(h * g * value - (np.sqrt(total) - np.sqrt(before)) / eta * own[m + k + j])
        before = small[last + 1]
        small[last + 1] = before + gg
        small[last] += h * g - (np.sqrt(small[last + 1]) - np.sqrt(before)) / eta * own[most]
    totals[1], totals[2] = weighed, totals[2] + n
    totals[0] = add_losses(loss, margins, target, weight, tau, totals[0])
    return -1


def scores(  # noqa: PLR0912 -- as above
    dense: Any, slots: Any, starts: Any, ragged: Any, values: Any, table: Any, small: Any, out: Any
) -> int:
    """Predictions of C outputs: out (n, C) float64, from table (width, C) float32 and small (2m+1, C) float64. Returns −1 or the first row with a value that is not finite."""
    n, outputs = out.shape
    m, k = dense.shape[1], slots.shape[1]
    wide = np.uint64(outputs)
    for i in range(n):
        if i + _AHEAD < n:
            for j in range(k):
                prefetch(table, np.uint64(slots[i + _AHEAD, j]) * wide)
        for c in range(outputs):
            out[i, c] = small[2 * m, c]
        for j in range(m):
            value = np.float64(dense[i, j])
            missing = value != value  # noqa: PLR0124 -- NaN
            if abs(value) > _FINITE:
                return i
            a, x = (m + j, 1.0) if missing else (j, value)
            for c in range(outputs):
                out[i, c] += small[a, c] * x
        for j in range(k):
            for c in range(outputs):
                out[i, c] += np.float64(table[np.uint64(slots[i, j]), c])
        if len(starts):
            for j in range(starts[i], starts[i + 1]):
                if not abs(values[j]) <= _FINITE:
                    return i
                for c in range(outputs):
                    out[i, c] += np.float64(table[np.uint64(ragged[j]), c]) * np.float64(values[j])
    return -1


def gain(now: Any, scale: Any, before: Any, scale_before: Any, out: Any, add: int) -> None:
    """What a lane has gained on the table it started from: ΔG Δw, ΔG and ΔG of each weight; with `add`, onto what others have: Σ, Σ and max.

    now, before : float32 (width, 2C). scale, scale_before : float32 (width,), or empty: weights count as at scale 1. out : float32 (width, 3C), written.
    """
    outs = now.shape[1] // 2
    for i in range(len(now)):
        for c in range(outs):
            more = now[i, outs + c] - before[i, outs + c]
            moved = now[i, c] * scale[i] - before[i, c] * scale_before[i] if len(scale) else now[i, c] - before[i, c]
            moved *= more
            if add:
                out[i, c] += moved
                out[i, outs + c] += more
                out[i, 2 * outs + c] = max(out[i, 2 * outs + c], more)
            else:
                out[i, c], out[i, outs + c], out[i, 2 * outs + c] = moved, more, more


def settle(before: Any, scale_before: Any, gained: Any, scale: Any, out: Any) -> None:
    """The table after lanes have met: weights w + Σ ΔG Δw / Σ ΔG, sums G + max ΔG; arguments as in `gain`, out : float32 (width, 2C)."""
    outs = before.shape[1] // 2
    for i in range(len(before)):
        for c in range(outs):
            more = gained[i, outs + c]
            w = (before[i, c] * scale_before[i] if len(scale) else before[i, c]) + (gained[i, c] / more if more > _ZERO else _ZERO)
            if len(scale):
                w = w / scale[i] if scale[i] > _ZERO else _ZERO
            out[i, c] = w
            out[i, outs + c] = before[i, outs + c] + gained[i, 2 * outs + c]
