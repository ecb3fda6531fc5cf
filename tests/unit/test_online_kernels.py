"""The online kernels against plain Python written from the papers, and their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from outgrow.learn.kernels.codes import HINGE, LOGISTIC, QUANTILE, SOFTMAX, SQUARED
from outgrow.learn.kernels.losses import logistic_move, move, slope, value
from outgrow.learn.kernels.online_entries import adaptive, chances, ftrl, many, scores

N, M, K, WIDTH = 300, 3, 5, 64
NO_RAGGED = (np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32))


def rows(seed=0, ragged=False):
    """dense with missing and zero values, slots, entries with values, targets ±1, weights (some 0)."""
    rng = np.random.default_rng(seed)
    dense = (rng.normal(size=(N, M)) * [1, 100, 0.01]).astype(np.float32)
    dense[rng.random((N, M)) < 0.2] = np.nan
    dense[rng.random((N, M)) < 0.1] = 0
    slots = rng.integers(0, WIDTH, (N, K)).astype(np.uint32)
    weight = rng.choice([0.0, 0.5, 1.0, 3.0], N)
    entries = NO_RAGGED
    if ragged:
        counts = rng.integers(0, 4, N)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        entries = (starts, rng.integers(0, WIDTH, starts[-1]).astype(np.uint32), (rng.normal(size=starts[-1]) * 5).astype(np.float32))
    return dense, slots, entries, np.where(rng.random(N) < 0.4, 1.0, -1.0), weight


def state(outs=1, ragged=False):
    small = np.zeros((2 * M + 1, 2 * outs + 1))
    small[-1, -1] = 1
    return np.zeros((WIDTH, 2 * outs), np.float32), np.zeros(WIDTH if ragged else 0, np.float32), small, np.zeros(5)


def learn(kernel, data, loss, knobs, held=None, ragged=False):
    dense, slots, entries, y, weight = data
    table, scale, small, totals = held or state(ragged=ragged)
    assert kernel(dense, slots, *entries, y, weight, table.reshape(-1), scale, small.reshape(-1), totals, np.array(knobs), loss) == -1
    return table, scale, small, totals


def plain_adaptive(data, loss, knobs):
    """Row by row, feature by feature, in float64; features are named, their values divided by the largest seen."""
    dense, slots, _, target, weights = data
    rate, tau, l1, l2, _ = knobs
    w, total, scale, seen, spread, losses = {}, {}, {}, 0.0, 0.0, 0.0
    for i in range(N):
        x = {("missing", j) if math.isnan(v) else ("dense", j): 1.0 if math.isnan(v) else float(v) for j, v in enumerate(dense[i])}
        for name, v in x.items():
            if abs(v) > scale.get(name, 0.0):
                total[name] = total.get(name, 0.0) * (scale.get(name, 0.0) / abs(v)) ** 2
                scale[name] = abs(v)
        features = [(name, v / scale[name] if v else 0.0) for name, v in x.items()]
        features += [(("slot", s), 1.0) for s in slots[i]] + [("intercept", 1.0)]
        p = sum(w.get(name, 0.0) * q for name, q in features)
        y, h = target[i], weights[i]
        losses += h * value(loss, p, y, tau)
        g = slope(loss, p, y, tau)
        if g == 0 or h == 0:
            continue
        grown = {name: total.get(name, 0.0) + h * g * g * q * q for name, q in features}  # two entries of one slot count once
        rates = {name: 1 / math.sqrt(grown[name]) if grown[name] > 0 else 0.0 for name in grown}
        total |= grown
        reach = sum(rates[name] * q * q for name, q in features)
        seen, spread = seen + h, spread + h * sum(q * q for _, q in features)
        fair = math.sqrt(seen / spread)
        u = fair * move(loss, p, y, tau, rate * h, reach * fair)
        for name, q in features:
            w[name] = w.get(name, 0.0) + u * rates[name] * q
        for name, q in features if l1 or l2 else ():
            if name != "intercept" and q:
                step = rate * h * fair * rates[name]
                shrunk = w[name] / (1 + step * l2)
                w[name] = math.copysign(max(abs(shrunk) - step * l1, 0.0), shrunk)
    return w, losses


@pytest.mark.parametrize("loss", [SQUARED, LOGISTIC, HINGE, QUANTILE])
@pytest.mark.parametrize("penalty", [0.0, 0.01])
def test_adaptive__beside_plain_python__learns_the_same(loss, penalty):
    data, knobs = rows(), (0.5, 0.7, penalty, penalty, 1.0)
    table, _, small, totals = learn(adaptive, data, loss, knobs)
    w, losses = plain_adaptive(data, loss, knobs)
    assert np.allclose(table[:, 0], [w.get(("slot", s), 0.0) for s in range(WIDTH)], rtol=2e-4, atol=1e-6)
    wanted = [w.get((kind, j), 0.0) for kind in ("dense", "missing") for j in range(M)] + [w["intercept"]]
    assert np.allclose(small[:, 0], wanted, rtol=2e-4, atol=1e-6)
    assert totals[0] == pytest.approx(losses, rel=1e-5)
    assert totals[1] == pytest.approx(data[-1].sum())
    assert totals[2] == N


@pytest.mark.parametrize("loss", [SQUARED, LOGISTIC, HINGE, QUANTILE])
def test_ftrl__beside_plain_python__learns_the_same(loss):
    dense, slots, _, target, weights = data = rows(1)
    dense[:] = np.clip(dense, -3, 3)
    rate, tau, l1, l2, beta = knobs = (0.2, 0.3, 0.4, 0.1, 1.0)
    z, n, losses = {}, {}, 0.0

    def weight_of(name):
        pull = z.get(name, 0.0)
        pull = pull if name == "intercept" else math.copysign(max(abs(pull) - l1, 0.0), pull)
        return -pull / ((beta + math.sqrt(n.get(name, 0.0))) / rate + (0.0 if name == "intercept" else l2))

    for i in range(N):
        features = [((("missing", j), 1.0) if math.isnan(v) else (("dense", j), float(v))) for j, v in enumerate(dense[i])]
        features += [(("slot", s), 1.0) for s in slots[i]] + [("intercept", 1.0)]
        own = {name: weight_of(name) for name, _ in features}
        p = sum(own[name] * v for name, v in features)
        losses += weights[i] * value(loss, p, target[i], tau)
        g, h = slope(loss, p, target[i], tau), weights[i]
        for name, v in features:
            before = n.get(name, 0.0)
            n[name] = before + h * (g * v) ** 2
            z[name] = z.get(name, 0.0) + h * g * v - (math.sqrt(n[name]) - math.sqrt(before)) / rate * own[name]
    table, _, small, totals = learn(ftrl, data, loss, knobs)
    assert np.allclose(table, [[z.get(("slot", s), 0.0), n.get(("slot", s), 0.0)] for s in range(WIDTH)], rtol=1e-3, atol=1e-4)
    assert small[-1, 0] == pytest.approx(z["intercept"], rel=1e-3)
    assert totals[0] == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize("kernel", [adaptive, ftrl])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("size", [1, 7, 299])
def test_batches__of_any_size__give_the_same_bits(kernel, ragged, size):
    dense, slots, (starts, ragged_slots, values), y, weight = data = rows(2, ragged)
    knobs = (0.5, 0.5, 0.001, 0.0, 1.0)
    whole = learn(kernel, data, LOGISTIC, knobs, ragged=ragged)
    held = state(ragged=ragged)
    for at in range(0, N, size):
        cut = slice(at, at + size)
        entries = NO_RAGGED
        if ragged:
            part = starts[at : min(at + size, N) + 1]
            entries = (part - part[0], ragged_slots[part[0] : part[-1]], values[part[0] : part[-1]])
        held = learn(kernel, (dense[cut], slots[cut], entries, y[cut], weight[cut]), LOGISTIC, knobs, held)
    assert [a.tobytes() for a in held] == [a.tobytes() for a in whole]


def test_entries_with_value_one__as_ragged__learn_what_slots_learn():
    dense, slots, _, y, weight = rows(3)
    knobs = (0.5, 0.5, 0.0, 0.0, 1.0)
    slots = np.arange(N * K, dtype=np.uint32).reshape(N, K) * 7 % WIDTH  # none twice in a row
    fixed = learn(adaptive, (dense, slots, NO_RAGGED, y, weight), LOGISTIC, knobs)
    entries = (np.arange(0, N * K + 1, K), slots.reshape(-1), np.ones(N * K, np.float32))
    free = learn(adaptive, (dense, slots[:, :0], entries, y, weight), LOGISTIC, knobs, ragged=True)
    assert np.allclose(fixed[0], free[0], rtol=1e-4, atol=1e-6)
    assert fixed[3][0] == pytest.approx(free[3][0], rel=1e-6)


@pytest.mark.parametrize("loss", [SQUARED, LOGISTIC])
def test_many__with_one_class_against_the_other__learns_what_adaptive_learns(loss):
    dense, _, (starts, ragged, values), y, weight = rows(4, ragged=True)
    slots = np.arange(N * K, dtype=np.uint32).reshape(N, K) * 7 % 32  # none twice in a row
    entries = (starts, 32 + np.arange(len(ragged), dtype=np.uint32) % 32, values)
    data = dense, slots, entries, y, weight
    knobs = np.array((0.5, 0.5, 0.0, 0.0, 1.0))
    one = learn(adaptive, data, loss, knobs, ragged=True)
    table, scale, small, totals = state(outs=2, ragged=True)
    assert many(dense, slots, *entries, (y + 1) / 2, weight, table, scale, small, totals, knobs, loss, True) == -1
    assert np.allclose(table[:, 1], one[0][:, 0], rtol=3e-3, atol=1e-4)
    assert np.allclose(table[:, 0], -table[:, 1], rtol=1e-5, atol=1e-6)
    assert totals[0] == pytest.approx(2 * one[3][0], rel=1e-3)


@pytest.mark.parametrize("loss", [SOFTMAX, LOGISTIC])
@pytest.mark.parametrize("adaptive_rule", [True, False])
def test_many__on_separable_classes__finds_them(loss, adaptive_rule):
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, N)
    dense, slots = np.zeros((N, M), np.float32), np.stack([y, 10 + rng.integers(0, 5, N)], 1).astype(np.uint32)
    table, scale, small, totals = state(outs=3)
    for _ in range(3):
        assert many(dense, slots, *NO_RAGGED, y.astype(float), np.zeros(0), table, scale, small, totals, np.array((0.5, 0.5, 0.0, 0.0, 1.0)), loss, adaptive_rule) == -1
    before = totals[0]
    many(dense, slots, *NO_RAGGED, y.astype(float), np.zeros(0), table, scale, small, totals, np.array((0.5, 0.5, 0.0, 0.0, 1.0)), loss, adaptive_rule)
    assert (totals[0] - before) / N < 0.25


def test_softmax_loss__of_the_first_row__is_the_log_of_the_classes():
    table, scale, small, totals = state(outs=4)
    dense, slots = np.zeros((1, M), np.float32), np.zeros((1, 2), np.uint32)
    many(dense, slots, *NO_RAGGED, np.array([2.0]), np.zeros(0), table, scale, small, totals, np.array((0.5, 0.5, 0.0, 0.0, 1.0)), SOFTMAX, True)
    assert totals[0] == pytest.approx(math.log(4))


@pytest.mark.parametrize("margin", [-30.0, -3.0, 0.0, 2.0, 12.0, 40.0])
@pytest.mark.parametrize("s", [1e-6, 1e-3, 0.2, 1.0, 30.0, 1e4])
def test_logistic_move__anywhere__solves_the_flow(margin, s):
    odds = math.exp(margin)
    d = logistic_move(odds, s, 1.0)
    exact = brentq(lambda t: (t + odds * math.expm1(t) - s) / s, 0.0, min(s, math.log1p(s / odds)) * 1.01, xtol=1e-300, rtol=1e-14)
    assert d == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(("loss", "y"), [(SQUARED, 3.0), (LOGISTIC, 1.0), (HINGE, 1.0), (QUANTILE, 3.0)])
def test_move__of_twice_the_weight__is_two_moves(loss, y):
    reach, p = 0.3, 0.2
    once = p + reach * move(loss, p, y, 0.7, 1.0, reach)
    twice = once + reach * move(loss, once, y, 0.7, 1.0, reach)
    assert p + reach * move(loss, p, y, 0.7, 2.0, reach) == pytest.approx(twice, rel=1e-6)


@pytest.mark.parametrize("loss", [SQUARED, HINGE, QUANTILE])
def test_move__of_a_huge_weight__does_not_pass_the_target(loss):
    assert 0.2 + 0.3 * move(loss, 0.2, 1.0, 0.7, 1e9, 0.3) == pytest.approx(1.0)


@pytest.mark.parametrize("place", ["dense", "ragged"])
def test_kernels__at_an_infinite_value__name_its_row(place):
    dense, slots, entries, y, weight = rows(6, ragged=True)
    row = 17
    if place == "dense":
        dense[row, 1] = np.inf
    else:
        row = int(np.searchsorted(entries[0], 9, side="right")) - 1
        entries[2][9] = np.nan
    table, scale, small, totals = state(ragged=True)
    knobs = np.array((0.5, 0.5, 0.0, 0.0, 1.0))
    for kernel in (adaptive, ftrl):
        assert kernel(dense, slots, *entries, y, weight, table.reshape(-1), scale, small.reshape(-1), totals, knobs, LOGISTIC) == row
    wide = state(outs=2, ragged=True)
    assert many(dense, slots, *entries, (y + 1) / 2, weight, *wide, knobs, LOGISTIC, True) == row
    assert scores(dense, slots, *entries, np.zeros((WIDTH, 1), np.float32), np.zeros((2 * M + 1, 1)), np.zeros((N, 1))) == row


def test_adaptive__where_the_prediction_runs_away__names_the_row():
    dense, slots, entries, y, _ = rows(7)
    assert adaptive(dense, slots, *entries, y * 1e38, np.ones(N), *(a.reshape(-1) for a in state()), np.array((0.5, 0.5, 0.0, 0.0, 1.0)), SQUARED) >= N


def test_scores__of_any_rows__are_the_products():
    dense, slots, (starts, ragged, values), _, _ = rows(8, ragged=True)
    rng = np.random.default_rng(9)
    table, small = rng.normal(size=(WIDTH, 3)).astype(np.float32), rng.normal(size=(2 * M + 1, 3))
    out = np.empty((N, 3))
    assert scores(dense, slots, starts, ragged, values, table, small, out) == -1
    missing = np.isnan(dense)
    expected = np.nan_to_num(dense).astype(float) @ small[:M] + missing @ small[M:-1] + small[-1] + table[slots].astype(float).sum(1)
    for i in range(N):
        expected[i] += values[starts[i] : starts[i + 1]].astype(float) @ table[ragged[starts[i] : starts[i + 1]]].astype(float)
    assert np.allclose(out, expected, rtol=1e-9, atol=1e-9)


def test_chances__of_two_scores__sum_to_one_and_follow_softmax():
    p, out = np.array([[1.0, 2.0, -1.0], [700.0, -700.0, 0.0]]), np.empty((2, 3))
    chances(p, SOFTMAX, out)
    e = np.exp(p - p.max(1, keepdims=True))
    assert np.allclose(out, e / e.sum(1, keepdims=True))
    chances(p, LOGISTIC, out)
    assert np.allclose(out.sum(1), 1)
