"""Loops of boosted trees over the rows of one batch: bins, gradients as small whole numbers, segments of leaves, histograms.

A row's gradient is one int32: 14 bits of gradient in the upper half, 11 bits of hessian in the lower, and above them a bit that says whether the
row counts. A histogram adds all three at once, as one int64 (27, 24 and 13 bits), and is poured into wide sums every 8 191 rows, before a part can
run over into the next: exact, and free of order.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .exact import bits
from .math import exp, log, log1pexp, sigmoid
from .prefetch import prefetch

__all__ = ["add_leaf", "add_values", "bins_of", "gradients", "held_loss", "measured", "partition", "residual_counts", "rounded", "slot_bins", "turned"]

LOGISTIC, SOFTMAX, SQUARED, POISSON, ABSOLUTE, QUANTILE, HUBER, TWEEDIE = range(8)  # places as in learn/trees/losses
_ROOM = 8191  # rows whose sums fit; also the largest whole number of a gradient
_TURN = 1023  # rows that are gone over before the next columns
_AHEAD = 24  # rows between asking for one and reading it
_TILE = 512
_NUDGE = 0.7  # added to the margin in Poisson's hessian, which keeps steps short where the rate is small


@numba.njit(error_model="numpy")
def bins_of(x: Any, edges: Any, width: int, codes: Any) -> None:
    """codes[i, j] = 1 + how many edges of column j lie below x[i, j]; 0 where it is NaN. About 10 ns a value.

    x : float64 (n, m). edges : float64 (m, 256), ascending, the largest number behind the last. codes : uint8 (n · width,), rows of width ≥ m.
    """
    n, m = x.shape
    step = np.uint64(width)
    for tile in range(0, n, _TILE):
        end = min(n, tile + _TILE)
        for j in range(m):
            own = edges[j]
            for i in range(tile, end):
                v = x[i, j]
                at = np.uint64(0)
                at += np.uint64(128) if own[at + np.uint64(127)] < v else np.uint64(0)
                at += np.uint64(64) if own[at + np.uint64(63)] < v else np.uint64(0)
                at += np.uint64(32) if own[at + np.uint64(31)] < v else np.uint64(0)
                at += np.uint64(16) if own[at + np.uint64(15)] < v else np.uint64(0)
                at += np.uint64(8) if own[at + np.uint64(7)] < v else np.uint64(0)
                at += np.uint64(4) if own[at + np.uint64(3)] < v else np.uint64(0)
                at += np.uint64(2) if own[at + np.uint64(1)] < v else np.uint64(0)
                at += np.uint64(1) if own[at] < v else np.uint64(0)
                codes[np.uint64(i) * step + np.uint64(j)] = np.uint8(0) if np.isnan(v) else np.uint8(at + np.uint64(1))


@numba.njit(error_model="numpy")
def slot_bins(slots: Any, bins: Any, first: int, width: int, codes: Any) -> None:
    """codes[i, first + j] = bins[j, slots[i, j]]. slots : uint32 (n, k). bins : uint8 (k, slots of the table); a slot beyond is bin 0."""
    n, k = slots.shape
    for i in range(n):
        for j in range(k):
            slot = slots[i, j]
            codes[i * width + first + j] = bins[j, slot] if slot < bins.shape[1] else np.uint8(0)


@numba.njit(error_model="numpy")
def _slopes_of_number(loss: int, constant: float, own: Any, target: Any, g: Any, h: Any) -> None:
    """As `_slopes`, of the scores (n,) of the only output."""
    if loss == TWEEDIE:
        for i in range(len(own)):
            a, b = target[i] * exp((1.0 - constant) * own[i]), exp((2.0 - constant) * own[i])
            g[i] = b - a
            h[i] = (2.0 - constant) * b + (constant - 1.0) * a
    elif loss == ABSOLUTE:
        for i in range(len(own)):
            d = own[i] - target[i]
            g[i] = (1.0 if d > 0.0 else 0.0) - (1.0 if d < 0.0 else 0.0)
            h[i] = 1.0
    elif loss == QUANTILE:
        for i in range(len(own)):
            d = own[i] - target[i]
            g[i] = (1.0 - constant if d > 0.0 else 0.0) - (constant if d < 0.0 else 0.0)
            h[i] = 1.0
    else:
        for i in range(len(own)):
            g[i] = min(max(own[i] - target[i], -constant), constant)
            h[i] = 1.0


@numba.njit(error_model="numpy")
def _slopes(loss: int, constant: float, scores: Any, k: int, target: Any, g: Any, h: Any) -> None:
    """Gradient and hessian of each row's loss by output k. constant: of the loss (share, bound or power). g, h : float64 (n,), written."""
    outs, n = scores.shape
    own = scores[k]
    if loss == LOGISTIC:
        for i in range(n):
            p = sigmoid(own[i])
            g[i] = p - target[i]
            h[i] = p * (1.0 - p)
    elif loss == SOFTMAX:
        g[:] = 0.0
        for other in range(outs):
            for i in range(n):
                g[i] += exp(scores[other, i] - own[i])  # row after row, so that it vectorises
        for i in range(n):
            p = 1.0 / g[i]
            g[i] = p - (1.0 if target[i] == k else 0.0)
            h[i] = p * (1.0 - p) * (outs / (outs - 1.0))
    elif loss == POISSON:
        for i in range(n):
            g[i] = exp(own[i]) - target[i]
            h[i] = exp(own[i] + _NUDGE)
    elif loss >= ABSOLUTE:
        _slopes_of_number(loss, constant, own, target, g, h)
    else:
        for i in range(n):
            g[i] = own[i] - target[i]
            h[i] = 1.0


@numba.njit(error_model="numpy")
def _hash(position: int, key: int) -> Any:
    """The finaliser of splitmix64, as core.rng has it."""
    z = np.uint64(position) * np.uint64(0x9E3779B97F4A7C15) + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(error_model="numpy")
def _packed(g: Any, h: Any, counts: Any, first: int, key: int, scale: Any, packed: Any) -> None:
    """Gradients and hessians (n,) of one output as whole numbers, rounded up or down by chance, in proportion. packed : int32 (n,), written."""
    g_unit, h_unit = scale[0], scale[1]
    for i in range(len(g)):
        z = _hash(first + i, key)
        a = np.floor(g[i] * g_unit + float(np.int64(z & np.uint64(0xFFFFFFFF))) * 2.0**-32)
        b = np.floor(h[i] * h_unit + float(np.int64(z >> np.uint64(32))) * 2.0**-32)
        both = (np.int32(min(max(a, -8191.0), 8191.0)) << 16) | np.int32(min(b, 2047.0)) | np.int32(0x8000)
        packed[i] = both if counts[i] else np.int32(0)


@numba.njit(error_model="numpy")
def _drawn(first: int, key: int, share: int, packed: Any) -> None:
    """Rows whose hash is not below the share do not take part: packed (outs, n) is 0 there."""
    outs, n = packed.shape
    if share < 1 << 32:
        for i in range(n):
            if np.int64(_hash(first + i, key) >> np.uint64(32)) >= share:
                for k in range(outs):
                    packed[k, i] = np.int32(0)


@numba.njit(error_model="numpy")
def gradients(
    loss: int, constant: float, scores: Any, target: Any, weight: Any, counts: Any, first: int, keys: Any, share: int, scale: Any, g: Any, h: Any, packed: Any
) -> float:
    """The gradients of n rows in `outs` outputs, rounded up or down by chance, in proportion, so that sums are right on average. Gives the largest |gradient|.

    Parameters
    ----------
    constant : of the loss, where it has one.
    scores : float64 (outs, n). target : float64 (n,), a number or the class's place. weight : float64 (n,), or (0,).
    counts : uint8 (n,), 1 for the rows to learn from.
    first : position of the first row. keys : uint64 (outs + 1,), what positions are hashed with for each output, and last for the draw of rows.
    share : rows whose hash is below this (in 2^-32) take part; 2^32: all.
    scale : float64 (2,), whole numbers for one of gradient and of hessian.
    g, h : float64 (n,), overwritten. packed : int32 (outs, n), written.
    """
    outs, n = scores.shape
    top = 0.0
    for k in range(outs):
        _slopes(loss, constant, scores, k, target, g, h)
        if len(weight):
            for i in range(n):
                g[i] *= weight[i]
                h[i] *= weight[i]
        for i in range(n):
            top = max(top, abs(g[i]) if counts[i] else 0.0)
        _packed(g, h, counts, first, keys[k], scale, packed[k])
    _drawn(first, keys[outs], share, packed)
    return top


@numba.njit(error_model="numpy")
def measured(loss: int, constant: float, scores: Any, target: Any, weight: Any, counts: Any, g: Any, h: Any, tops: Any) -> None:
    """Gradients and hessians as they are: g, h : float64 (outs, n), written. tops : float64 (2,), written: the largest |gradient| and hessian of the rows that count."""
    outs, n = scores.shape
    tops[:] = 0.0
    for k in range(outs):
        _slopes(loss, constant, scores, k, target, g[k], h[k])
        for i in range(n):
            w = weight[i] if len(weight) else 1.0
            g[k, i] *= w
            h[k, i] *= w
            if counts[i]:
                tops[0] = max(tops[0], abs(g[k, i]))
                tops[1] = max(tops[1], h[k, i])


@numba.njit(error_model="numpy")
def rounded(g: Any, h: Any, counts: Any, first: int, keys: Any, share: int, scale: Any, packed: Any) -> None:
    """Gradients and hessians (outs, n) that `measured` has found, as `gradients` rounds them."""
    outs = len(g)
    for k in range(outs):
        _packed(g[k], h[k], counts, first, keys[k], scale, packed[k])
    _drawn(first, keys[outs], share, packed)


@numba.njit(error_model="numpy")
def held_loss(loss: int, constant: float, scores: Any, target: Any, weight: Any, counts: Any, unit: float, sums: Any) -> None:
    """Add the loss of the rows that do not count, times `unit`, to sums[0] and their weight to sums[1], both in units of 2^-20: whole, so that any order gives the same."""
    outs, n = scores.shape
    for i in range(n):
        w = weight[i] if len(weight) else 1.0
        if counts[i] or not w > 0.0:
            continue
        y, s = target[i], scores[0, i]
        d = s - y
        if loss == LOGISTIC:
            value = log1pexp(s) - y * s
        elif loss == SOFTMAX:
            sum_, mine = 0.0, scores[np.int64(y), i]
            for k in range(outs):
                sum_ += exp(scores[k, i] - mine)
            value = log(sum_)
        elif loss == POISSON:
            value = exp(s) - y * s
        elif loss == TWEEDIE:
            value = exp((2.0 - constant) * s) / (2.0 - constant) - y * exp((1.0 - constant) * s) / (1.0 - constant)
        elif loss == ABSOLUTE:
            value = abs(d)
        elif loss == QUANTILE:
            value = max((1.0 - constant) * d, -constant * d)
        elif loss == HUBER:
            value = 0.5 * d * d if abs(d) <= constant else constant * (abs(d) - 0.5 * constant)
        else:
            value = d * d
        sums[0] += np.int64(np.floor(min(max(value * unit * w, -1e6), 1e6) * 1048576.0))
        sums[1] += np.int64(np.floor(min(w, 1e6) * 1048576.0))


@numba.njit(error_model="numpy")
def residual_counts(rows: Any, own: Any, target: Any, weight: Any, counts: Any, unit: float, fixed: int, prefix: int, sums: Any) -> None:
    """Add the rows of a leaf to the sums of their residuals' next 12 bits, where the bits before are the `prefix`.

    A residual is target minus own score; its bits are turned so that they sort as it does. Weights are whole numbers of 1 / `unit`, at least one.

    own, target : float64 (n,). weight : float64 (n,), or (0,). fixed: how many bits are known. sums : int64 (4096,), written.
    """
    for i in range(len(rows)):
        row = rows[i]
        w = weight[row] if len(weight) else 1.0
        if not counts[row] or not w > 0.0:
            continue
        raw = bits(target[row] - own[row])
        code = ~raw if raw >> np.uint64(63) else raw | (np.uint64(1) << np.uint64(63))
        if not fixed or code >> np.uint64(64 - fixed) == np.uint64(prefix):
            sums[(code >> np.uint64(52 - fixed)) & np.uint64(4095)] += np.int64(np.ceil(w * unit))


@numba.njit(error_model="numpy")
def add_leaf(words: Any, width: int, rows: Any, packed: Any, columns: int, local: Any, sums: Any) -> None:
    """Add the rows of a leaf to its histogram: eight columns at a time, whose bins lie in the first cache, over some thousand rows.

    words : uint64 (n · width / 8,), the codes of rows. rows : uint32. packed : int32 (n,).
    local : int64 (columns up to the next multiple of 8 · 256 + 1024,), zeros before and after but for the last 1024, which are overwritten.
    sums : int64 (columns · 256 · 3,): gradient, hessian and rows of each bin.
    """
    step, blocks = np.uint64(width >> 3), np.uint64((columns + 7) >> 3)
    byte = np.uint64(255)
    spare = np.uint64(len(local) - 1024)
    begin, end, held = np.uint64(0), np.uint64(len(rows)), np.uint64(0)
    while begin < end:
        upto = min(end, begin + np.uint64(_TURN))
        for i in range(begin, upto):
            both = packed[np.uint64(rows[i])]
            low = np.int64(both & 0xFFFF)
            local[spare + i - begin] = (np.int64(both >> 16) << 37) + ((low & 0x7FF) << 13) + (low >> 15)
        for block in range(np.uint64(0), blocks):
            at = block << np.uint64(11)
            for i in range(begin, upto):
                if block == np.uint64(0):
                    ahead = i + np.uint64(_AHEAD)
                    if ahead < end:
                        prefetch(words, np.uint64(rows[ahead]) * step)
                value = local[spare + i - begin]
                codes = words[np.uint64(rows[i]) * step + block]
                local[at + (codes & byte)] += value
                local[at + np.uint64(256) + ((codes >> np.uint64(8)) & byte)] += value
                local[at + np.uint64(512) + ((codes >> np.uint64(16)) & byte)] += value
                local[at + np.uint64(768) + ((codes >> np.uint64(24)) & byte)] += value
                local[at + np.uint64(1024) + ((codes >> np.uint64(32)) & byte)] += value
                local[at + np.uint64(1280) + ((codes >> np.uint64(40)) & byte)] += value
                local[at + np.uint64(1536) + ((codes >> np.uint64(48)) & byte)] += value
                local[at + np.uint64(1792) + (codes >> np.uint64(56))] += value
        held += upto - begin
        begin = upto
        if held + np.uint64(_TURN) > np.uint64(_ROOM) or begin >= end:
            held = np.uint64(0)
            for k in range(columns << 8):
                value = local[k]
                if value != 0:
                    local[k] = 0
                    sums[3 * k] += value >> 37
                    sums[3 * k + 1] += (value >> 13) & 0xFFFFFF
                    sums[3 * k + 2] += value & 0x1FFF
            for k in range(columns << 8, np.int64(blocks) << 11):  # of columns that are not there
                local[k] = 0


@numba.njit(error_model="numpy")
def partition(codes: Any, left: Any, rows: Any, after: Any) -> int:
    """The rows into after, in order: first those whose code goes left (left : uint8 (256,)). Gives how many these are.

    codes : uint8 (n,), of one column. rows, after : uint32 (r,).
    """
    place, back = np.uint64(0), np.uint64(len(rows))
    one = np.uint64(1)
    for i in range(np.uint64(0), np.uint64(len(rows))):
        row = rows[i]
        goes = np.uint64(left[codes[np.uint64(row)]])
        after[place] = row
        after[back - one] = row
        place += goes
        back -= one - goes
    low, high = np.int64(place), np.int64(len(rows)) - 1  # the others came in from behind
    while low < high:
        after[low], after[high] = after[high], after[low]
        low += 1
        high -= 1
    return int(place)


@numba.njit(error_model="numpy")
def add_values(rows: Any, value: float, scores: Any) -> None:
    """scores[row] += value for each of the rows."""
    for i in range(np.uint64(0), np.uint64(len(rows))):
        scores[np.uint64(rows[i])] += value


@numba.njit(error_model="numpy")
def turned(codes: Any, width: int, columns: Any) -> None:
    """The codes of rows as columns : uint8 (m, n)."""
    m, n = columns.shape
    for tile in range(0, n, _TILE):
        for j in range(m):
            for i in range(tile, min(n, tile + _TILE)):
                columns[j, i] = codes[i * width + j]
