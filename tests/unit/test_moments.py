"""Moments: numpy's, at any cut of the work."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from outgrow.core.errors import BadInput, Refused
from outgrow.core.learner import Context
from outgrow.core.state import same, unpack_strings
from outgrow.learn.moments import Moments, _Sums


def rows(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) * [1, 1e-6, 1e6, 3] + [0, 1e3, -1e9, 5]
    x[rng.random((n, 4)) < [0, 0.1, 0.5, 0]] = np.nan
    return x


def test_fit__values_and_missing__as_numpy(arrays, fitted):
    x = rows()
    model = fitted(Moments(), arrays(x)).model
    assert unpack_strings("columns", model) == ["x0", "x1", "x2", "x3"]
    assert model["missing"].tolist() == np.isnan(x).sum(0).tolist()
    assert model["count"].tolist() == (~np.isnan(x)).sum(0).tolist()
    np.testing.assert_allclose(model["weight"], model["count"])
    np.testing.assert_allclose(model["mean"], np.nanmean(x, 0), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(model["deviation"], np.nanstd(x, 0), rtol=1e-7)
    np.testing.assert_array_equal(model["min"], np.nanmin(x, 0))
    np.testing.assert_array_equal(model["max"], np.nanmax(x, 0))


@pytest.mark.parametrize("gaps", [True, False])
def test_fit__weights__as_rows_repeated(arrays, fitted, gaps):
    x = rows(500) if gaps else np.random.default_rng(1).normal(size=(500, 4))
    times = np.random.default_rng(0).integers(0, 4, 500)
    weighted = fitted(Moments(), arrays(x, weight=times.astype(float))).model
    repeated = fitted(Moments(), arrays(np.repeat(x, times, 0))).model
    for name in ("weight", "mean", "deviation", "min", "max"):
        np.testing.assert_allclose(weighted[name], repeated[name], rtol=1e-7, err_msg=name)
    assert weighted["count"].tolist() == (~np.isnan(x[times > 0])).sum(0).tolist()


def test_fit__large_mean__keeps_the_deviation(arrays, fitted):
    x = np.random.default_rng(0).normal(size=(4000, 1))
    far = x + 1e9
    model = fitted(Moments(), arrays(far)).model
    np.testing.assert_allclose(model["deviation"], (far - 1e9).std(), rtol=1e-7)


def test_fit__column_without_a_value_and_constant_column__are_told_apart(arrays, fitted):
    x = np.column_stack([np.full(2000, np.nan), np.full(2000, 0.1), np.r_[np.full(1999, np.nan), 7.0]])
    model = fitted(Moments(), arrays(x)).model
    assert model["count"].tolist() == [0, 2000, 1]
    assert np.isnan(model["mean"][0])
    assert np.isnan(model["max"][0])
    assert model["mean"][1:].tolist() == pytest.approx([0.1, 7.0], rel=1e-15)
    assert model["deviation"][1] < 1e-15
    assert (model["mean"][2], model["deviation"][2], model["min"][2]) == (7.0, 0.0, 7.0)


def test_fit__any_memory_layout__same_bits(arrays, fitted):
    x = rows()
    assert fitted(Moments(), arrays(x)).digest == fitted(Moments(), arrays(x, scramble=True)).digest


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_merge__any_split_of_the_rows__as_one_state(arrays, weighted, seed):
    rng = np.random.default_rng(seed)
    cuts = rng.integers(0, 2500, seed)
    source = arrays(rows(2500, seed), weight=rng.integers(0, 3, 2500).astype(float) if weighted else None)
    fold = _Sums(features=4)
    whole, merged = fold.update(fold.init({}), source.take(np.arange(2500)), {}), fold.init({})
    edges = [0, *sorted(cuts), 2500]
    for a, b in itertools.pairwise(edges):
        part = fold.init({}) if a == b else fold.update(fold.init({}), source.take(np.arange(a, b)), {})
        merged = fold.merge(merged, part, {})
    for name in ("count", "missing", "min", "max"):
        np.testing.assert_array_equal(merged[name], whole[name])
    np.testing.assert_allclose(merged["mean"], whole["mean"], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(merged["spread"], whole["spread"], rtol=1e-7)


def test_merge__empty_state__is_the_identity(arrays):
    fold = _Sums(features=4)
    one = fold.update(fold.init({}), arrays(rows(1)).take(np.arange(1)), {})
    assert one["count"].sum() + one["missing"].sum() == 4
    assert same(fold.merge(fold.init({}), one, {}), one)
    assert same(fold.merge(one, fold.init({}), {}), one)


def test_fit__infinite_value__names_column_and_row(arrays, fitted):
    x = rows()
    x[1234, 2] = -np.inf
    with pytest.raises(BadInput, match=r"infinite value in column 'x2', row 1234.*Correct"):
        fitted(Moments(), arrays(x))
    weight = np.ones(len(x))
    weight[1234] = 0.0
    assert np.isfinite(fitted(Moments(), arrays(x, weight=weight)).model["mean"]).all()


def test_fit__squares_that_overflow__name_the_column(arrays, fitted):
    with pytest.raises(BadInput, match=r"squares of column 'x3' overflow"):
        fitted(Moments(), arrays(rows() * [1, 1, 1, 1e200]))


def test_fit__nothing_to_describe_or_a_start__refused(arrays, fitted):
    with pytest.raises(BadInput, match="no numeric column"):
        fitted(Moments(), arrays(slots=np.zeros((5, 1)), width=3))
    with pytest.raises(BadInput, match="earlier model"):
        fitted(Moments(), arrays(rows()), start=fitted(Moments(), arrays(rows())).model)
    context = Context(schema=replace(arrays(rows()).schema, design=None), rows=9, shard_rows=9, batch_rows=9)
    with pytest.raises(BadInput, match="encoder"):
        Moments().begin(context)


def test_predict__says_that_moments_predict_nothing(arrays, fitted):
    with pytest.raises(Refused, match=r"predict nothing.*outgrow inspect"):
        fitted(Moments(), arrays(rows())).predict(arrays(rows()))
