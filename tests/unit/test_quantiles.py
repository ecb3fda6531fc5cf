"""The quantile sketch: numpy's quantiles while it is exact, ranks within their bound after that, and one answer for any history."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.core.errors import BadField, BadInput
from outgrow.core.state import decode, encode, nbytes, same
from outgrow.core.tree import Closer
from outgrow.data.batch import Batch, Field, Numbers, Schema
from outgrow.data.features.quantiles import Quantiles

SHARES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def batch_of(columns, start=0):
    schema = Schema(fields=tuple(Field(name=name, kind="number") for name in columns))
    return Batch(schema=schema, columns=columns, start=start, count=len(next(iter(columns.values()))), place="a.parquet")


def rows(x, start=0):
    """A batch of a matrix, columns x0, x1, …"""
    return batch_of({f"x{j}": Numbers(np.ascontiguousarray(x[:, j])) for j in range(x.shape[1])}, start)


def folded(fold, x, cuts=(), start=0):
    state = fold.init({})
    for a, b in itertools.pairwise([0, *cuts, len(x)]):
        state = fold.update(state, rows(x[a:b], start + a), {})
    return state


def in_tree(fold, x, lanes, order=None, batch=97):
    edges = np.linspace(0, len(x), lanes + 1).astype(int)
    closer = Closer(lanes, lambda a, b: fold.merge(a, b, {}))
    for lane in order or range(lanes):
        part = x[edges[lane] : edges[lane + 1]]
        closer.add(0, lane, decode(b"".join(encode(folded(fold, part, range(batch, len(part), batch), int(edges[lane])))))[0])
    return closer.close()


def rank_errors(x, found, shares=SHARES):
    """By how many ranks each quantile (m, q) misses: 0 where the rank asked for lies among those of its value."""
    wanted = np.asarray(shares) * (len(x) - 1)
    errors = []
    for column, values in zip(x.T, found, strict=True):
        ordered = np.sort(column)
        below, upto = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
        errors.append(np.maximum(np.maximum(below - wanted, wanted - upto), 0.0))
    return np.array(errors)


def shapes(n, seed):
    """Columns of unlike shape, each once as it comes, once sorted."""
    rng = np.random.default_rng(seed)
    crowded = np.where(rng.random(n) < 0.5, 1 + 1e-12 * rng.random(n), rng.normal(size=n))
    x = np.column_stack([rng.normal(size=n), rng.lognormal(sigma=4, size=n), rng.integers(0, 7, n), 1e9 + rng.random(n), crowded])
    return np.column_stack([x, np.sort(x, axis=0), np.sort(x[:, :1], axis=0)[::-1]])


@pytest.mark.parametrize("n", [1, 2, 3, 50, 332])
def test_quantiles__few_values__are_numpys(n):
    x = np.random.default_rng(n).normal(size=(n, 3))
    fold = Quantiles(("x0", "x1", "x2"), 83)
    state = in_tree(fold, x, min(n, 5))
    np.testing.assert_allclose(fold.quantiles(state, SHARES), np.quantile(x, SHARES, axis=0).T, rtol=1e-15)
    np.testing.assert_array_equal(fold.quantiles(state, (0.5, 0.25)), np.column_stack([np.median(x, 0), np.quantile(x, 0.25, axis=0)]))
    assert fold.rank_errors(state).tolist() == [0, 0, 0]


def test_quantiles__one_value_too_many__is_no_longer_exact_and_says_so():
    fold = Quantiles(("x0",), 8)
    x = np.arange(33.0)[:, None]
    assert fold.rank_errors(folded(fold, x[:32]))[0] == 0
    assert fold.rank_errors(folded(fold, x))[0] > 0


@pytest.mark.parametrize("error", [0.1, 0.02, 0.005])
@pytest.mark.parametrize("lanes", [1, 7, 64])
def test_quantiles__many_values__ranks_are_within_the_bound(error, lanes):
    x = shapes(20_000, 1)
    fold = Quantiles.of([f"x{j}" for j in range(x.shape[1])], error)
    state = in_tree(fold, x, lanes, batch=3000)
    bound = fold.rank_errors(state)
    assert (bound > 0).all()
    assert (bound <= error * len(x)).all()
    assert (rank_errors(x, fold.quantiles(state, SHARES)) <= bound[:, None]).all()
    assert nbytes(state) <= fold.bytes_of(len(x))


def test_quantiles__over_many_seeds__errors_have_no_side():
    """Coins that were always the same side would move all ranks one way."""
    x = np.random.default_rng(0).normal(size=(6000, 1))
    misses = []
    for seed in range(60):
        fold = Quantiles(("x0",), 20, seed)
        found = fold.quantiles(in_tree(fold, x, 9, batch=1000), (0.3, 0.5, 0.7))[0]
        misses.append((x < found).sum(0) - np.array([0.3, 0.5, 0.7]) * 5999)
    deviation = np.std(misses)
    assert abs(np.mean(misses)) < 4 * deviation / np.sqrt(60)
    assert deviation < 6000 / 20 * 0.75  # the half of what Hoeffding allows as one deviation: (n / width)² / 2


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_quantiles__same_values_in_every_lane__errors_do_not_add_up(shift):
    """Coins that depended on the place inside a lane alone would move the ranks of all lanes alike."""
    one = np.random.default_rng(shift).normal(size=(200, 1))
    x = np.tile(one, (64, 1))
    fold = Quantiles(("x0",), 25)
    worst = rank_errors(x, fold.quantiles(in_tree(fold, x, 64, batch=1000), (0.2, 0.4, 0.6)), (0.2, 0.4, 0.6)).max()
    assert worst < len(x) / 25 * 1.2


def test_update__size_of_batches__changes_no_bit():
    x = shapes(3000, 2)
    fold = Quantiles(tuple(f"x{j}" for j in range(x.shape[1])), 17)
    whole = folded(fold, x)
    assert same(folded(fold, x, range(1, 3000, 37)), whole)
    assert same(folded(fold, x, [1, 2, 2900]), whole)


@pytest.mark.parametrize("lanes", [2, 7, 30])
def test_merge__any_order_of_arrival__same_bits(lanes):
    x = shapes(3000, 3)
    fold = Quantiles(tuple(f"x{j}" for j in range(x.shape[1])), 17)
    whole = in_tree(fold, x, lanes)
    order = np.random.default_rng(lanes).permutation(lanes).tolist()
    assert same(in_tree(fold, x, lanes, order=order, batch=31), whole)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_merge__any_history__keeps_count_ends_weight_and_bound(data):
    """Updates and meetings in any order: no value is lost, and ranks stay within what the state says."""
    width = data.draw(st.sampled_from([1, 2, 5]))
    fold = Quantiles(("x0", "x1"), width, data.draw(st.integers(0, 9)))
    states, seen = [], []
    for _ in range(data.draw(st.integers(1, 12))):
        n = data.draw(st.sampled_from([0, 1, 3, 4, 8, 20, 45]))
        x = np.round(np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(n, 2)), 1)
        x[:, 1][:: data.draw(st.sampled_from([1, 2, 9]))] = np.nan
        start = sum(map(len, seen))
        states.append(folded(fold, x, start=start))
        seen.append(x)
        if len(states) > 1 and data.draw(st.booleans()):
            right, left = states.pop(), states.pop()
            before = {name: array.copy() for name, array in right.items()}
            states.append(fold.merge(left, right, {}))
            assert same(right, before)
    state = states[0]
    for right in states[1:]:
        state = fold.merge(state, right, {})
    for j, column in enumerate(np.concatenate(seen).T):
        present = column[~np.isnan(column)]
        assert fold.counts(state)[j] == len(present)
        low, high = (ends[j] for ends in fold.ends(state))
        assert (low, high) == (present.min(), present.max()) if len(present) else np.isnan(low) and np.isnan(high)
        flushes = int(state["flushes"][j])
        certain = 3 * flushes + sum((flushes >> (level + 1)) * (4 << level) for level in range(flushes.bit_length()))
        found = fold.quantiles(state, SHARES)[j]
        if not flushes and len(present):
            np.testing.assert_allclose(found, np.quantile(present, SHARES), rtol=1e-14, atol=1e-15)
        elif flushes:
            assert set(found) <= set(present)
            assert rank_errors(present[:, None], found[None]).max() <= certain + 1e-9


def test_update__missing_values__play_no_part():
    x = np.random.default_rng(4).normal(size=(900, 1))
    holes = np.full((1800, 1), np.nan)
    holes[::2] = x
    fold = Quantiles(("x0",), 10)
    np.testing.assert_array_equal(fold.quantiles(folded(fold, holes), SHARES), fold.quantiles(folded(fold, x), SHARES))
    masked = batch_of({"x0": Numbers(np.repeat(x[:, 0], 2), np.tile([True, False], 900))})
    assert same(fold.update(fold.init({}), masked, {}), folded(fold, holes))


def test_update__minus_zero__is_zero():
    fold = Quantiles(("x0",), 4)
    assert same(folded(fold, np.array([[0.0], [-0.0], [1.0]])), folded(fold, np.array([[-0.0], [0.0], [1.0]])))


def test_quantiles__no_value__is_nan():
    fold = Quantiles(("x0",), 4)
    state = folded(fold, np.full((9, 1), np.nan))
    assert np.isnan(fold.quantiles(state, (0.5,))).all()
    assert np.isnan(fold.ends(state)).all()


def test_of__error_that_is_no_share__is_refused_by_name():
    for error in (0, 1, -0.1, np.nan, np.inf, True, "0.1"):
        with pytest.raises(BadField, match="error is"):
            Quantiles.of(["x"], error)


def test_quantiles__values_too_far_apart__name_the_column():
    fold = Quantiles(("x0",), 4)
    with pytest.raises(BadInput, match=r"column 'x0' lie too far apart"):
        fold.quantiles(folded(fold, np.array([[-1.7e308], [1.7e308], [1.6e308]])), (0.4,))


def test_update__infinite_value__names_row_and_column():
    fold = Quantiles(("x0", "x1"), 4)
    x = np.zeros((50, 2))
    x[33, 1] = np.inf
    with pytest.raises(BadInput, match="row 33, column 'x1': the value is inf"):
        folded(fold, x)
