"""Linear regression: scikit-learn's least squares and ridge, at any cut of the work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LinearRegression as Peer
from sklearn.linear_model import Ridge

from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.learner import Context
from outgrow.core.state import decode, encode, same
from outgrow.learn.linear_regression import LinearRegression, _Products


def problem(n=3000, d=8, seed=0, offset=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ (np.eye(d) + 0.4 * rng.normal(size=(d, d))) + offset * rng.normal(size=d)
    return x, x @ rng.normal(size=d) + rng.normal(size=n) + 3.0


def peer(x, y, l2=0.0, weight=None, intercept=True):
    return (Ridge(alpha=l2, solver="svd", fit_intercept=intercept) if l2 else Peer(fit_intercept=intercept, tol=1e-12)).fit(x, y, weight)


def agree(model, found, tolerance=1e-9):
    np.testing.assert_allclose(np.concatenate([model["table"], model["dense"]])[:, 0], found.coef_, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(model["intercept"][0], found.intercept_, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("l2", [0.0, 20.0])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_fit__dense__is_the_solution_of_scikit_learn(arrays, fitted, l2, intercept, weighted):
    x, y = problem()
    weight = np.random.default_rng(1).integers(0, 3, len(y)) * 0.7 if weighted else None
    ours = fitted(LinearRegression(l2=l2, intercept=intercept), arrays(x, y, weight=weight))
    agree(ours.model, peer(x, y, l2, weight, intercept))
    assert ours.record["passes"] == 1


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_fit__columns_of_sizes_from_1e_minus_6_to_1e6_and_large_means__as_if_they_were_scaled(arrays, fitted, offset):
    x, _ = problem(offset=0)
    scale = np.logspace(-6, 6, x.shape[1])
    y = x @ np.ones(8) + np.random.default_rng(2).normal(size=len(x)) + offset
    far = (x + offset) * scale
    ours = fitted(LinearRegression(), arrays(far, y)).model
    near = (far - far.mean(0)) / scale
    found = np.linalg.lstsq(near - near.mean(0), y - y.mean(), rcond=None)[0]
    np.testing.assert_allclose(ours["dense"][:, 0] * scale, found, rtol=1e-9)
    np.testing.assert_allclose(ours["intercept"][0], y.mean() - found @ (far.mean(0) / scale), rtol=1e-8, atol=1e-8 * max(offset, 1))


@pytest.mark.parametrize("l2", [0.0, 2.0])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_fit__slots_ragged_entries_and_dense_columns__the_smallest_solution_as_scikit_learn(arrays, fitted, l2, intercept, weighted):
    rng = np.random.default_rng(3)
    n, width = 1500, 40
    x, y = problem(n, 3)
    slots = np.stack([rng.integers(0, 9, n), rng.integers(9, 20, n)], 1).astype(np.uint32)
    slots[:50, 1] = slots[:50, 0]  # the same slot twice in a row counts twice
    counts = rng.integers(0, 4, n)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ragged = (offsets, rng.integers(15, width, offsets[-1]).astype(np.uint32), rng.normal(size=offsets[-1]).astype(np.float32))
    table = scipy.sparse.csr_matrix((ragged[2].astype(float), ragged[1], offsets), (n, width))
    for j in range(2):
        table = table + scipy.sparse.csr_matrix((np.ones(n), slots[:, j], np.arange(n + 1)), (n, width))
    whole = np.hstack([table.toarray(), x])
    y = y + whole @ rng.normal(size=width + 3)
    weight = rng.uniform(0, 2, n) if weighted else None
    ours = fitted(LinearRegression(l2=l2, intercept=intercept), arrays(x, y, slots=slots, width=width, ragged=ragged, weight=weight))
    agree(ours.model, peer(whole, y, l2, weight, intercept))
    back = ours.predict(arrays(x, y, slots=slots, width=width, ragged=ragged))
    assert list(back) == ["prediction"]
    np.testing.assert_allclose(back["prediction"], peer(whole, y, l2, weight, intercept).predict(whole), rtol=1e-9, atol=1e-9)


def test_fit__one_hot_columns_beside_large_numbers__smallest_solution_and_no_weight_for_what_was_never_seen(arrays, fitted):
    rng = np.random.default_rng(4)
    n = 2000
    slots = np.stack([rng.integers(0, 5, n), rng.integers(5, 9, n)], 1)
    x = rng.normal(size=(n, 2)) * [1e-3, 1e5] + [0, 1e7]
    hot = np.eye(10)[slots].sum(1)
    y = hot @ rng.normal(size=10) + x @ [1e3, 1e-5] + rng.normal(size=n)
    model = fitted(LinearRegression(), arrays(x, y, slots=slots, width=10)).model
    assert model["table"][9, 0] == 0.0
    assert abs(model["table"][:5].sum()) < 1e-9  # smallest norm: each one-hot column has weights around 0
    assert abs(model["table"][5:9].sum()) < 1e-9
    design = np.hstack([hot, (x - x.mean(0)) / x.std(0)])
    design -= design.mean(0)
    found = np.linalg.lstsq(design, y - y.mean(), rcond=1e-10)[0]
    np.testing.assert_allclose(model["table"][:, 0], found[:10], atol=1e-9)
    np.testing.assert_allclose(model["dense"][:, 0], found[10:] / x.std(0), rtol=1e-9)


def test_fit__columns_that_never_change_or_repeat_another__have_no_weight_or_share_it(arrays, fitted):
    x, y = problem(d=3)
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 1.5, len(y))
    more = np.column_stack([x, np.full(len(y), 0.1), x[:, 0], np.full(len(y), -1e9), np.zeros(len(y))])
    slots = np.zeros((len(y), 1))
    model = fitted(LinearRegression(), arrays(more, y, slots=slots, width=2, weight=weight)).model
    found = peer(x, y, weight=weight).coef_
    np.testing.assert_allclose(model["dense"][:, 0], [found[0] / 2, found[1], found[2], 0, found[0] / 2, 0, 0], rtol=1e-9, atol=0)
    assert model["table"].tolist() == [[0.0], [0.0]]


def test_fit__fewer_rows_than_columns__the_smallest_solution(arrays, fitted):
    x, y = problem(6, 10)
    agree(fitted(LinearRegression(), arrays(x, y)).model, peer(x, y), 1e-7)
    one = fitted(LinearRegression(), arrays(x[:1], y[:1])).model
    assert one["dense"].ravel().tolist() == [0.0] * 10
    assert one["intercept"].tolist() == [y[0]]


def test_fit__no_columns__is_the_mean(arrays, fitted):
    y = np.arange(7.0)
    assert fitted(LinearRegression(), arrays(np.zeros((7, 0)), y)).model["intercept"].tolist() == [3.0]


def test_fit__rows_repeated_as_often_as_their_weight__the_same_solution(arrays, fitted):
    x, y = problem(500)
    times = np.random.default_rng(5).integers(0, 4, 500)
    weighted = fitted(LinearRegression(l2=1.0), arrays(x, y, weight=times.astype(float))).model
    repeated = fitted(LinearRegression(l2=1.0), arrays(np.repeat(x, times, 0), np.repeat(y, times))).model
    for name, array in repeated.items():
        np.testing.assert_allclose(weighted[name], array, rtol=1e-10, atol=1e-12)


def test_fit__other_cuts__the_same_to_rounding(arrays, fitted):
    x, y = problem(offset=1e4)
    models = [fitted(LinearRegression(), arrays(x, y), shard_rows=s, batch_rows=b).model for s, b in [(700, 256), (3000, 3000), (1100, 1), (3, 2)]]
    for other in models[1:]:
        np.testing.assert_allclose(other["dense"], models[0]["dense"], rtol=1e-9)


def test_fit__any_memory_layout_and_float32__same_bits(arrays, fitted):
    x, y = problem()
    x = x.astype(np.float32)
    sources = [arrays(x.astype(t), y, scramble=s) for t in (np.float32, np.float64) for s in (False, True)]
    assert len({fitted(LinearRegression(), source).digest for source in sources}) == 1


def test_fit__stopped_between_any_two_rounds__same_bits(arrays, fitted):
    x, y = problem()

    class Stopped(LinearRegression):
        def tell(self, context, carry, closed):
            return decode(b"".join(bytes(part) for part in encode(super().tell(context, carry, closed))))[0]

    assert same(fitted(LinearRegression(), arrays(x, y)).model, fitted(Stopped(), arrays(x, y)).model)


def test_merge__empty_and_one_row_states__are_the_identity_and_not_dropped(arrays):
    x, y = problem(40, 2)
    source = arrays(x, y, slots=np.arange(40)[:, None] % 3, width=3)
    fold = _Products(width=3, dense=3)
    batch = source.take(np.arange(39))
    many = fold.update(fold.init({}), batch, {})
    again = {name: array.copy() for name, array in many.items()}
    assert same(fold.merge({name: array.copy() for name, array in many.items()}, fold.init({}), {}), again)
    assert same(fold.merge(fold.init({}), many, {}), again)
    one = fold.update(fold.init({}), source.take(np.arange(39, 40)), {})
    merged = fold.merge(again, one, {})
    whole = fold.update(fold.init({}), source.take(np.arange(40)), {})
    for name in whole:
        np.testing.assert_allclose(merged[name], whole[name], atol=1e-12, err_msg=name)


def test_facts__rmse_and_rank__of_the_rows_learned_from(arrays, fitted):
    x, y = problem(d=3)
    told = []

    class Watched(LinearRegression):
        def facts(self, context, carry):
            return super().facts(context, carry)

        def finish(self, context, carry):
            told.append(self.facts(context, carry))
            return super().finish(context, carry)

    model = fitted(Watched(), arrays(np.column_stack([x, x[:, 0]]), y))
    found = peer(x, y)
    assert told[0]["rmse"] == pytest.approx(np.sqrt(((found.predict(x) - y) ** 2).mean()), rel=1e-9)
    assert told[0]["rank"] == 3
    assert set(model.model) == {"table", "dense", "intercept"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit__value_that_is_not_finite__names_column_row_and_remedy(arrays, fitted, value):
    x, y = problem()
    x[1234, 5] = value
    with pytest.raises(BadInput, match=r"'x5', row 1234.*(Fill|Correct)"):
        fitted(LinearRegression(), arrays(x, y))
    good = fitted(LinearRegression(), arrays(x[:1000], y[:1000]))
    with pytest.raises(BadInput, match=r"'x5', row 1234"):
        good.predict(arrays(x, y))


def test_fit__ragged_value_that_is_not_finite__names_the_row(arrays, fitted):
    ragged = (np.arange(11), np.zeros(10, np.uint32), np.r_[np.ones(6), np.nan, np.ones(3)].astype(np.float32))
    with pytest.raises(BadInput, match="a value of row 6 is not finite"):
        fitted(LinearRegression(), arrays(y=np.arange(10.0), ragged=ragged, width=2))


def test_fit__squares_that_overflow__name_the_column(arrays, fitted):
    x, y = problem(d=2)
    with pytest.raises(BadInput, match=r"squares of column 'x1' overflow.*Divide"):
        fitted(LinearRegression(), arrays(x * [1, 1e200], y))
    with pytest.raises(BadInput, match=r"squares of column 'y' overflow"):
        fitted(LinearRegression(), arrays(x, y * 1e200))


def test_fit__what_cannot_be_solved__is_refused_with_a_remedy(arrays, fitted):
    x, y = problem(50)
    with pytest.raises(BadInput, match=r"target 'y' has classes.*LogisticRegression"):
        fitted(LinearRegression(), arrays(x, np.arange(50) % 2, classes=(0, 1)))
    with pytest.raises(BadInput, match="there is no target"):
        fitted(LinearRegression(), arrays(x))
    with pytest.raises(Refused, match=r"2056 columns; allowed: up to 2048\. Use OnlineLinear"):
        fitted(LinearRegression(), arrays(x, y, slots=np.zeros((50, 1)), width=2048))
    with pytest.raises(BadInput, match="weight above 0"):
        fitted(LinearRegression(), arrays(x, y, weight=np.zeros(50)))
    with pytest.raises(BadInput, match=r"column 'y': every row has the same target, 0\.1\. Name another"):
        fitted(LinearRegression(), arrays(x, np.full(50, 0.1)))
    with pytest.raises(BadInput, match="no model to start from"):
        fitted(LinearRegression(), arrays(x, y), start=fitted(LinearRegression(), arrays(x, y)).model)
    bare = arrays(x, y)
    context = Context(schema=replace(bare.schema, design=None), rows=50, shard_rows=50, batch_rows=50)
    with pytest.raises(BadInput, match="encoder"):
        LinearRegression().begin(context)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_fields__out_of_range__refused_by_name(value):
    with pytest.raises(BadField, match="l2"):
        LinearRegression(l2=value)


def test_ask__wide_states__few_lanes_and_a_price_that_is_their_size(arrays):
    source = arrays(np.ones((100, 1)), np.arange(100.0), slots=np.zeros((100, 1)), width=400)
    context = Context(schema=source.schema, rows=100, shard_rows=2, batch_rows=2)
    (asked,) = LinearRegression().ask(context, {})
    assert (asked.cover.kind, asked.cover.lanes) == ("chains", 16)
    assert LinearRegression().price(context).state == sum(array.nbytes for array in asked.fold.init({}).values())
    narrow = replace(context, schema=arrays(np.ones((9, 1)), np.arange(9.0)).schema)
    assert LinearRegression().ask(narrow, {})[0].cover.kind == "shards"
