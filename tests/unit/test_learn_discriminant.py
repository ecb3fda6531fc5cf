"""Discriminant analysis: scikit-learn's linear and quadratic ones, at any cut of the work."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.learner import Context
from outgrow.core.state import digest, same
from outgrow.learn.class_columns import NEVER
from outgrow.learn.discriminant import DiscriminantAnalysis
from outgrow.learn.scatter import Scatter

KINDS = ("linear", "quadratic")


def problem(n=2500, classes=3, p=5, seed=0, far=0.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    turns = np.eye(p) + 0.4 * rng.normal(size=(classes, p, p))
    return np.einsum("ij,ijk->ik", rng.normal(size=(n, p)), turns[y]) + rng.normal(size=(classes, p))[y] + far, y


def names(classes):
    return tuple("abcdefg"[:classes])


def chances(columns):
    found = [columns[name] for name in columns if name.startswith("probability")]
    return np.stack(found if len(found) > 1 else [1 - found[0], found[0]], 1)


def peer(kind, shrinkage=0.0, priors=None):
    if kind == "linear":
        return LinearDiscriminantAnalysis(solver="lsqr" if shrinkage else "svd", shrinkage=shrinkage or None, priors=priors)
    return QuadraticDiscriminantAnalysis(solver="eigen" if shrinkage else "svd", shrinkage=shrinkage or None, priors=priors)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_fit__linear_and_quadratic__predict_as_scikit_learn(arrays, fitted, kind, classes, shrinkage):
    x, y = problem(classes=classes)
    source = arrays(x, y, classes=names(classes))
    ours = fitted(DiscriminantAnalysis(kind=kind, shrinkage=shrinkage), source)
    found = peer(kind, shrinkage).fit(x, y)
    columns = ours.predict(source)
    np.testing.assert_allclose(chances(columns), found.predict_proba(x), rtol=1e-7, atol=1e-12)
    assert columns["prediction"].tolist() == [names(classes)[k] for k in found.predict(x)]
    assert ours.record["passes"] == 1
    np.testing.assert_allclose(ours.model["mean"], found.means_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_fit__columns_far_from_zero_and_of_unlike_size__as_if_they_were_scaled(arrays, fitted, kind):
    x, y = problem()
    size = np.logspace(-4, 4, 5)
    near, far = arrays(x, y, classes=names(3)), arrays((x + 1e5) * size, y, classes=names(3))
    learner = DiscriminantAnalysis(kind=kind)
    np.testing.assert_allclose(chances(fitted(learner, far).predict(far)), chances(fitted(learner, near).predict(near)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("priors", "shares"), [("uniform", [1 / 3] * 3), ({"a": 1, "b": 2, "c": 5}, [1 / 8, 2 / 8, 5 / 8])])
def test_priors__uniform_or_named__as_scikit_learn(arrays, fitted, kind, priors, shares):
    x, y = problem()
    source = arrays(x, y, classes=names(3))
    found = chances(fitted(DiscriminantAnalysis(kind=kind, priors=priors), source).predict(source))
    np.testing.assert_allclose(found, peer(kind, priors=shares).fit(x, y).predict_proba(x), rtol=1e-7, atol=1e-12)


def test_linear__one_hot_and_constant_columns__only_independent_directions_count_as_in_scikit_learn(arrays, fitted):
    x, y = problem(1500)
    rng = np.random.default_rng(1)
    slots = np.stack([(y + rng.integers(0, 3, 1500)) % 5, rng.integers(5, 9, 1500)], 1)
    dense = np.column_stack([x, np.full(1500, 0.1), x[:, 0]])
    source = arrays(dense, y, classes=names(3), slots=slots, width=10)
    whole = np.hstack([np.eye(10)[slots].sum(1), x, np.zeros((1500, 1)), x[:, :1]])
    found = LinearDiscriminantAnalysis().fit(whole, y)
    ours = fitted(DiscriminantAnalysis(), source)
    np.testing.assert_allclose(chances(ours.predict(source)), found.predict_proba(whole), rtol=1e-6, atol=1e-10)
    assert ours.model["table"].shape == (10, 3)
    assert ours.model["dense"][5].tolist() == [0.0] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_shrinkage__one_hot_and_constant_columns__are_mended_as_in_scikit_learn(arrays, fitted, kind):
    x, y = problem(1500)
    slots = np.random.default_rng(1).integers(0, 5, (1500, 1))
    source = arrays(np.column_stack([x, np.zeros(1500)]), y, classes=names(3), slots=slots, width=6)
    whole = np.hstack([np.eye(6)[slots].sum(1), x, np.zeros((1500, 1))])
    learner = DiscriminantAnalysis(kind=kind, shrinkage=0.05)
    np.testing.assert_allclose(chances(fitted(learner, source).predict(source)), peer(kind, 0.05).fit(whole, y).predict_proba(whole), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_fit__rows_repeated_as_often_as_their_weight__the_same_model(arrays, fitted, kind):
    x, y = problem(500)
    times = np.random.default_rng(5).integers(0, 4, 500)
    weighted = fitted(DiscriminantAnalysis(kind=kind), arrays(x, y, classes=names(3), weight=times.astype(float)))
    repeated = fitted(DiscriminantAnalysis(kind=kind), arrays(np.repeat(x, times, 0), np.repeat(y, times), classes=names(3)))
    np.testing.assert_allclose(weighted.model["intercept"], repeated.model["intercept"], rtol=1e-9)
    source = arrays(x, y, classes=names(3))
    np.testing.assert_allclose(chances(weighted.predict(source)), chances(repeated.predict(source)), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_fit__other_cuts_and_layouts__the_same_to_rounding_and_to_the_bit(arrays, fitted, kind):
    x, y = problem(far=1e3)
    source = arrays(x, y, classes=names(3))
    runs = [fitted(DiscriminantAnalysis(kind=kind), source, shard_rows=s, batch_rows=b) for s, b in [(700, 256), (3000, 3000), (300, 1)]]
    for other in runs[1:]:
        np.testing.assert_allclose(chances(other.predict(source)), chances(runs[0].predict(source)), rtol=1e-7, atol=1e-12)
    assert digest(runs[0].model) == fitted(DiscriminantAnalysis(kind=kind), arrays(x, y, classes=names(3), scramble=True)).digest


@pytest.mark.parametrize("kind", KINDS)
def test_fit__a_class_without_rows__is_never_predicted(arrays, fitted, kind):
    x, y = problem(300, classes=2)
    source = arrays(x, y, classes=names(3))
    gone = fitted(DiscriminantAnalysis(kind=kind), source)
    assert gone.model["intercept"][2] == NEVER
    assert all(np.isfinite(array).all() for array in gone.model.values())
    np.testing.assert_allclose(chances(gone.predict(source))[:, :2], peer(kind).fit(x, y).predict_proba(x), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("kind", ["each", "pooled"])
def test_merge__empty_and_one_row_states__are_the_identity_and_not_dropped(arrays, kind):
    x, y = problem(60)
    source = arrays(x, y, classes=names(3))
    fold = Scatter(columns=5, classes=3, kind=kind)
    many = fold.update(fold.init({}), source.take(np.arange(59)), {})
    copy = {name: array.copy() for name, array in many.items()}
    assert same(fold.merge({name: array.copy() for name, array in many.items()}, fold.init({}), {}), copy)
    assert same(fold.merge(fold.init({}), many, {}), copy)
    merged = fold.merge(copy, fold.update(fold.init({}), source.take(np.arange(59, 60)), {}), {})
    whole = fold.update(fold.init({}), source.take(np.arange(60)), {})
    for name in whole:
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("far", [0.0, 1e8])
def test_scatter__a_class_in_a_few_far_rows__keeps_its_digits(arrays, far):
    rng = np.random.default_rng(0)
    y = (np.arange(3000) % 1000 == 7).astype(int)
    x = rng.normal(size=(3000, 3)) + far * (1 + y[:, None])
    state = Scatter(columns=3, classes=2, kind="each")
    found = state.update(state.init({}), arrays(x, y, classes=(0, 1)).take(np.arange(3000)), {})
    for k in (0, 1):
        own = x[y == k].astype(np.longdouble)
        direct = (own - own.mean(0)).T @ (own - own.mean(0))
        np.testing.assert_allclose(found["scatter"][k], direct.astype(float), rtol=1e-9, atol=1e-9 * np.abs(direct).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit__value_that_is_not_finite__names_column_and_row(arrays, fitted, kind, value):
    x, y = problem()
    x[1234, 3] = value
    with pytest.raises(BadInput, match=r"'x3', row 1234.*(Fill|Correct)"):
        fitted(DiscriminantAnalysis(kind=kind), arrays(x, y, classes=names(3)))
    good = fitted(DiscriminantAnalysis(kind=kind), arrays(x[:1000], y[:1000], classes=names(3)))
    with pytest.raises(BadInput, match=r"'x3', row 1234"):
        good.predict(arrays(x, y, classes=names(3)))


def test_fit__what_cannot_be_learned__is_refused_with_a_remedy(arrays, fitted):
    x, y = problem(60)
    linear, quadratic = DiscriminantAnalysis(), DiscriminantAnalysis(kind="quadratic")
    for learner in (linear, quadratic):
        with pytest.raises(BadInput, match=r"target 'y' has the single class 'a'; allowed: two or more classes"):
            fitted(learner, arrays(x, y * 0, classes=("a",)))
        with pytest.raises(BadInput, match="one class alone: b"):
            fitted(learner, arrays(x, y * 0 + 1, classes=("a", "b")))
        with pytest.raises(BadInput, match="no column changes within"):
            fitted(learner, arrays(y[:, None] * 0.1, y, classes=names(3)))
        with pytest.raises(BadInput, match="weight above 0"):
            fitted(learner, arrays(x, y, classes=names(3), weight=np.zeros(60)))
        with pytest.raises(BadInput, match=r"squares of column 'x1' overflow.*Divide"):
            fitted(learner, arrays(x * [1, 1e200, 1, 1, 1], y, classes=names(3)))
        with pytest.raises(BadInput, match="earlier model"):
            fitted(learner, arrays(x, y, classes=names(3)), start={"a": np.zeros(1)})
        with pytest.raises(BadInput, match="no column to learn from"):
            fitted(learner, arrays(np.zeros((60, 0)), y, classes=names(3)))
    with pytest.raises(BadInput, match="no column changes within a class"):
        fitted(linear, arrays(x[:3], np.arange(3), classes=names(3)))
    with pytest.raises(Refused, match=r"over 3005 columns; allowed: up to 2048\. Use NaiveBayes"):
        fitted(linear, arrays(x, y, classes=names(3), slots=np.zeros((60, 1)), width=3000))
    with pytest.raises(Refused, match=r'of 40 classes over 700 columns; allowed: up to 647\. Use kind="linear"'):
        fitted(quadratic, arrays(np.zeros((60, 700)), y, classes=tuple(range(40))))
    with pytest.raises(BadInput, match=r"class 'b' has rows of a weight of 1 alone"):
        fitted(quadratic, arrays(x, (np.arange(60) == 7).astype(int), classes=("a", "b")))
    twice = np.column_stack([x, x[:, 0]])
    with pytest.raises(BadInput, match=r"shrinkage: the covariance of class 'a' is not full rank \(5 of 6.*Raise shrinkage"):
        fitted(quadratic, arrays(twice, y, classes=names(3)))
    assert np.isfinite(fitted(quadratic.replace(shrinkage=0.01), arrays(twice, y, classes=names(3))).model["factor"]).all()


def test_ask__wide_states__few_lanes_and_a_price_that_is_their_size(arrays):
    source = arrays(np.ones((100, 200)), np.arange(100) % 4, classes=names(4))
    context = Context(schema=source.schema, rows=100, shard_rows=2, batch_rows=2)
    for kind, cover in (("linear", "shards"), ("quadratic", "chains")):
        learner = DiscriminantAnalysis(kind=kind)
        (asked,) = learner.ask(context, {})
        assert asked.cover.kind == cover
        assert learner.price(context).state == sum(array.nbytes for array in asked.fold.init({}).values())


@pytest.mark.parametrize("field", [{"kind": "cubic"}, {"shrinkage": -0.1}, {"shrinkage": 1.1}, {"shrinkage": np.nan}, {"priors": "half"}, {"priors": {"a": np.inf}}])
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        DiscriminantAnalysis(**field)
