"""Locally weighted regression: weighted least squares at each point, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression as Line
from sklearn.linear_model import Ridge

from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.state import decode, encode, same
from outgrow.learn.local_regression import LocallyWeightedRegression


def curve(n=1500, p=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    return x, np.sin(2 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.normal(size=n)


def peer(x, y, q, bandwidth, weight=1.0, l2=0.0):
    bell = weight * np.exp(-((x - q) ** 2).sum(1) / (2 * bandwidth**2))
    line = (Ridge(alpha=l2, tol=1e-14) if l2 else Line()).fit(x, y, bell)
    return line.predict(q[None])[0], line.coef_


@pytest.mark.parametrize("l2", [0.0, 2.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_fit__each_point__is_weighted_least_squares_of_scikit_learn(arrays, fitted, weighted, l2):
    x, y = curve()
    points = np.random.default_rng(5).normal(size=(7, 3))
    weight = np.random.default_rng(1).uniform(0, 3, len(y)) if weighted else None
    learner = LocallyWeightedRegression(points=points.tolist(), bandwidth=0.5, l2=l2)
    ours = fitted(learner, arrays(x, y, weight=weight))
    for k, q in enumerate(points):
        level, slopes = peer(x, y, q, 0.5, 1.0 if weight is None else weight, l2)
        assert ours.model["prediction"][k] == pytest.approx(level, rel=1e-6)
        np.testing.assert_allclose(ours.model["slopes"][k], slopes, rtol=1e-6, atol=1e-8)
    assert ours.record["passes"] == 1


def test_fit__points_as_a_start__as_the_same_points_named(arrays, fitted):
    x, y = curve()
    points = x[:5].copy()
    named = fitted(LocallyWeightedRegression(points=points.tolist()), arrays(x, y))
    assert same(fitted(LocallyWeightedRegression(), arrays(x, y), start={"points": points}).model, named.model)
    assert same(fitted(LocallyWeightedRegression(), arrays(x, y), start=named.model).model, named.model)


def test_fit__points_from_another_source__in_their_order(arrays, fitted):
    x, y = curve()
    points = np.random.default_rng(5).normal(size=(900, 3))
    ours = fitted(LocallyWeightedRegression(points="asked"), arrays(x, y), asked=arrays(points), shard_rows=101, batch_rows=7)
    np.testing.assert_array_equal(ours.model["points"], points)
    assert ours.model["prediction"][817] == pytest.approx(peer(x, y, points[817], 1.0)[0])


def test_fit__one_hot_slots__as_dense_columns(arrays, fitted):
    rng = np.random.default_rng(0)
    slots = rng.integers(0, 5, (800, 1))
    x = np.concatenate([np.eye(5)[slots[:, 0]], rng.normal(size=(800, 2))], 1)
    y = x @ rng.normal(size=7) + rng.normal(size=800)
    points = x[:4].copy()
    sparse = fitted(LocallyWeightedRegression(), arrays(x[:, 5:], y, slots=slots, width=5), start={"points": points})
    assert same(sparse.model, fitted(LocallyWeightedRegression(), arrays(x, y), start={"points": points}).model)
    assert sparse.model["prediction"][2] == pytest.approx(peer(x, y, points[2], 1.0)[0])


def test_predict__the_points_in_any_order__and_no_others(arrays, fitted):
    x, y = curve()
    ours = fitted(LocallyWeightedRegression(), arrays(x, y), start={"points": x[:40].copy()})
    order = np.random.default_rng(0).permutation(np.r_[np.arange(40), np.arange(40)])
    np.testing.assert_array_equal(ours.predict(arrays(x[order]))["prediction"], ours.model["prediction"][order])
    with pytest.raises(Refused, match=r"row 3 is none of the 40 points .* Fit again with these rows"):
        ours.predict(arrays(x[[0, 1, 2, 40]]))


def test_predict__minus_zero__is_zero(arrays, fitted):
    x, y = curve()
    ours = fitted(LocallyWeightedRegression(points=((0.0, -0.0, 1.0),)), arrays(x, y))
    assert len(ours.predict(arrays(np.array([[-0.0, 0.0, 1.0]])))["prediction"]) == 1


def test_fit__a_narrow_kernel__a_point_takes_the_value_of_its_one_row(arrays, fitted):
    x, y = curve()
    ours = fitted(LocallyWeightedRegression(points=x[:3].tolist(), bandwidth=1e-4), arrays(x, y))
    np.testing.assert_allclose(ours.model["prediction"], y[:3], rtol=1e-12)
    assert not ours.model["slopes"].any()


def test_fit__dependent_columns__take_the_solution_of_smallest_norm(arrays, fitted):
    x, y = curve(p=2)
    x = np.column_stack([x, x[:, 0], np.ones(len(x))])
    ours = fitted(LocallyWeightedRegression(points=(tuple(x[0]),)), arrays(x, y)).model
    root = np.exp(-((x - x[0]) ** 2).sum(1) / 4)
    about = x - np.average(x, axis=0, weights=root**2), y - np.average(y, weights=root**2)
    expected = np.linalg.lstsq(about[0] * root[:, None], about[1] * root, rcond=1e-10)[0]
    np.testing.assert_allclose(ours["slopes"][0], expected, atol=1e-8)


def test_fit__one_row_alone__is_a_level(arrays, fitted):
    ours = fitted(LocallyWeightedRegression(points=((0.5, 0.5),)), arrays(np.ones((1, 2)), np.array([7.0]))).model
    assert ours["prediction"].tolist() == pytest.approx([7.0], rel=1e-15)


def test_fit__any_memory_layout_and_stopped_between_any_two_rounds__same_bits(arrays, fitted):
    x, y = curve()

    class Stopped(LocallyWeightedRegression):
        def tell(self, context, carry, closed):
            return decode(b"".join(bytes(part) for part in encode(super().tell(context, carry, closed))))[0]

    whole = fitted(LocallyWeightedRegression(points="asked"), arrays(x, y), asked=arrays(x[:9]))
    assert fitted(LocallyWeightedRegression(points="asked"), arrays(x, y, scramble=True), asked=arrays(x[:9])).digest == whole.digest
    assert same(fitted(Stopped(points="asked"), arrays(x, y), asked=arrays(x[:9])).model, whole.model)


def test_fit__what_cannot_be_fitted__is_refused_with_a_remedy(arrays, fitted):
    x, y = curve()
    one = LocallyWeightedRegression(points=((0.0, 0.0, 0.0),))
    with pytest.raises(BadInput, match=r"no row with a weight above 0 is near point 1 \(2 such points\)\. Raise bandwidth"):
        fitted(LocallyWeightedRegression(points=((0.0, 0.0, 0.0), (99.0, 0.0, 0.0), (0.0, 0.0, 99.0))), arrays(x, y))
    with pytest.raises(BadInput, match=r"the job has no source 'asked'; allowed: train, others"):
        fitted(LocallyWeightedRegression(points="asked"), arrays(x, y), others=arrays(x))
    with pytest.raises(BadInput, match="there are no points to fit at"):
        fitted(LocallyWeightedRegression(), arrays(x, y))
    with pytest.raises(BadInput, match=r"shape \(1, 2\), the rows 3 columns.*x0, x1, x2"):
        fitted(LocallyWeightedRegression(points=((0.0, 0.0),)), arrays(x, y))
    with pytest.raises(BadInput, match="has classes"):
        fitted(one, arrays(x, (y > 0).astype(int), classes=(0, 1)))
    with pytest.raises(BadInput, match="there is no target"):
        fitted(one, arrays(x))
    with pytest.raises(Refused, match="over 5003 features"):
        fitted(one, arrays(x, y, slots=np.zeros((len(x), 1)), width=5000))
    with pytest.raises(Refused, match=r"400000 points are too many"):
        fitted(LocallyWeightedRegression(), arrays(x, y), start={"points": np.zeros((400000, 3))})
    with pytest.raises(BadInput, match="no array 'points'"):
        fitted(one, arrays(x, y), start={"centers": x[:1]})
    for value in (np.nan, np.inf):
        bad = x.copy()
        bad[77, 1] = value
        with pytest.raises(BadInput, match="'x1', row 77"):
            fitted(one, arrays(bad, y))
    with pytest.raises(BadInput, match="overflow"):
        fitted(one, arrays(x, np.where(np.arange(len(y)) == 3, 1e200, y)))


@pytest.mark.parametrize(
    "field",
    [{"bandwidth": 0.0}, {"bandwidth": np.nan}, {"bandwidth": np.inf}, {"l2": -1.0}, {"l2": np.inf}, {"points": ((1.0,), (1.0, 2.0))}, {"points": ((np.nan,),)}, {"points": 3}],
)
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        LocallyWeightedRegression(**field)
