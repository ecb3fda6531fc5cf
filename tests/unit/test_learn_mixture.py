"""Mixtures of Gaussians: scikit-learn's rounds from the same start, and as likely from ours."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Peer

from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.state import decode, encode, same
from outgrow.learn.mixture import GaussianMixture

SHAPES = {"full": "full", "tied": "tied", "diagonal": "diag"}


def groups(n=1500, k=4, p=3, seed=0, far=0.0):
    rng = np.random.default_rng(seed)
    centers, shapes = rng.normal(size=(k, p)) * 3, rng.normal(size=(k, p, p)) * 0.5 + np.eye(p)
    label = rng.integers(0, k, n)
    return centers[label] + np.einsum("ni,nij->nj", rng.normal(size=(n, p)), shapes[label]) + far


def begun(covariance, x, k=4):
    p = x.shape[1]
    ones = {"full": np.array([np.eye(p)] * k), "tied": np.eye(p), "diagonal": np.ones((k, p))}[covariance]
    return {"weights": np.full(k, 1 / k), "means": x[:k].copy(), "covariances": ones}


def peer(covariance, start, x, rounds, tolerance=0.0, **options):
    inverse = np.linalg.inv(start["covariances"]) if covariance != "diagonal" else 1 / start["covariances"]
    k = len(start["weights"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Peer(k, covariance_type=SHAPES[covariance], max_iter=rounds, tol=tolerance, weights_init=start["weights"], means_init=start["means"],
                    precisions_init=inverse, init_params="random_from_data", **options).fit(x)  # fmt: skip


def agree(model, found, tolerance=1e-6):
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(model[name], getattr(found, name + "_"), rtol=tolerance, atol=tolerance)
    assert model["log_likelihood"] == pytest.approx(found.lower_bound_, rel=1e-9)


@pytest.mark.parametrize("covariance", SHAPES)
@pytest.mark.parametrize("rounds", [1, 7, 60])
def test_fit__from_the_same_start__every_round_is_that_of_scikit_learn(arrays, fitted, covariance, rounds):
    x = groups()
    start = begun(covariance, x)
    ours = fitted(GaussianMixture(components=4, covariance=covariance, max_rounds=rounds, tolerance=0), arrays(x), start=start)
    agree(ours.model, peer(covariance, start, x, rounds))
    assert ours.record["passes"] == rounds


@pytest.mark.parametrize("covariance", SHAPES)
def test_fit__stopping_rule__is_that_of_scikit_learn(arrays, fitted, covariance):
    x = groups()
    start = begun(covariance, x)
    ours = fitted(GaussianMixture(components=4, covariance=covariance, reg_covar=0.01), arrays(x), start=start)
    found = peer(covariance, start, x, 100, 1e-3, reg_covar=0.01)
    assert ours.record["passes"] == found.n_iter_
    agree(ours.model, found)


@pytest.mark.parametrize("covariance", SHAPES)
def test_fit__five_seeds__median_likelihood_is_that_of_scikit_learn_or_higher(arrays, fitted, covariance):
    x = groups(k=5)
    ours = [fitted(GaussianMixture(components=5, covariance=covariance), arrays(x), seed=s).model["log_likelihood"] for s in range(5)]
    peers = [Peer(5, covariance_type=SHAPES[covariance], random_state=s).fit(x).lower_bound_ for s in range(5)]
    assert np.median(ours) >= np.median(peers) - 0.01 * abs(np.median(peers))


@pytest.mark.parametrize("covariance", SHAPES)
def test_fit__rows_far_from_zero__as_rows_near_it(arrays, fitted, covariance):
    near, away = groups(), groups(far=1e6)
    start = begun(covariance, near)
    learner = GaussianMixture(components=4, covariance=covariance, max_rounds=20, tolerance=0)
    a = fitted(learner, arrays(near), start=start).model
    b = fitted(learner, arrays(away), start=start | {"means": start["means"] + 1e6}).model
    np.testing.assert_allclose(b["covariances"], a["covariances"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(b["means"] - 1e6, a["means"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("covariance", SHAPES)
def test_fit__weighted_rows__as_rows_repeated(arrays, fitted, covariance):
    x = groups(600)
    times = np.random.default_rng(0).integers(0, 4, 600)
    start = begun(covariance, x)
    learner = GaussianMixture(components=4, covariance=covariance, max_rounds=8, tolerance=0)
    weighted = fitted(learner, arrays(x, weight=times.astype(float)), start=start).model
    again = fitted(learner, arrays(np.repeat(x, times, 0)), start=start).model
    for name in weighted:
        np.testing.assert_allclose(weighted[name], again[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("covariance", SHAPES)
def test_fit__one_component__is_the_moments_of_the_rows(arrays, fitted, covariance):
    x = groups()
    ours = fitted(GaussianMixture(covariance=covariance, reg_covar=0.0), arrays(x)).model
    whole = np.cov(x.T, bias=True)
    np.testing.assert_allclose(ours["means"][0], x.mean(0), atol=1e-12)
    np.testing.assert_allclose(ours["covariances"].reshape(-1), (np.diag(whole) if covariance == "diagonal" else whole).reshape(-1), atol=1e-11)


def test_fit__several_starts__the_highest_likelihood_wins_and_the_first_is_the_one_alone(arrays, fitted):
    x = groups(900, k=15, p=2)
    few = {"components": 12, "max_rounds": 3}
    alone = fitted(GaussianMixture(**few), arrays(x))
    many = fitted(GaussianMixture(starts=4, **few), arrays(x))
    assert many.model["log_likelihood"] > alone.model["log_likelihood"]
    assert same(fitted(GaussianMixture(starts=1, **few), arrays(x)).model, alone.model)


@pytest.mark.parametrize("covariance", SHAPES)
def test_fit__any_memory_layout_and_stopped_between_any_two_rounds__same_bits(arrays, fitted, covariance):
    x = groups()

    class Stopped(GaussianMixture):
        def tell(self, context, carry, closed):
            return decode(b"".join(bytes(part) for part in encode(super().tell(context, carry, closed))))[0]

    fields = {"components": 4, "covariance": covariance, "starts": 2, "max_rounds": 5}
    whole = fitted(GaussianMixture(**fields), arrays(x))
    assert fitted(GaussianMixture(**fields), arrays(x, scramble=True)).digest == whole.digest
    assert same(fitted(Stopped(**fields), arrays(x)).model, whole.model)


def test_fit__one_hot_slots__as_dense_columns(arrays, fitted):
    rng = np.random.default_rng(0)
    slots = rng.integers(0, 5, (800, 2)) + np.array([0, 5])
    x = np.concatenate([np.eye(10)[slots].sum(1), rng.normal(size=(800, 2))], 1)
    sparse = fitted(GaussianMixture(components=2), arrays(x[:, 10:], slots=slots, width=10))
    assert same(sparse.model, fitted(GaussianMixture(components=2), arrays(x)).model)


@pytest.mark.parametrize("covariance", SHAPES)
def test_predict__component_shares_and_likelihood__as_scikit_learn(arrays, fitted, covariance):
    x = groups()
    start = begun(covariance, x)
    ours = fitted(GaussianMixture(components=4, covariance=covariance, max_rounds=9, tolerance=0), arrays(x), start=start).predict(arrays(x))
    found = peer(covariance, start, x, 9)
    np.testing.assert_array_equal(ours["cluster"], found.predict(x))
    np.testing.assert_allclose(np.column_stack([ours[f"share_{k}"] for k in range(4)]), found.predict_proba(x), atol=1e-8)
    np.testing.assert_allclose(ours["log_likelihood"], found.score_samples(x), rtol=1e-8)


def test_fit__component_without_rows__keeps_its_place_and_the_model_is_finite(arrays, fitted):
    x = groups(300, k=2)
    start = begun("full", x, 3)
    start["means"][2] = 1e6
    model = fitted(GaussianMixture(components=3, max_rounds=5), arrays(x), start=start).model
    assert model["weights"][2] < 1e-15
    np.testing.assert_allclose(model["means"][2], 1e6)
    assert all(np.isfinite(array).all() for array in model.values())


def test_fit__rows_on_a_plane__refused_without_reg_covar_and_fitted_with_it(arrays, fitted):
    x = groups()
    x = np.column_stack([x, np.ones(len(x))])
    for covariance in SHAPES:
        with pytest.raises(BadInput, match=r"singular covariance.*reg_covar"):
            fitted(GaussianMixture(components=2, covariance=covariance, reg_covar=0.0), arrays(x))
        assert np.isfinite(fitted(GaussianMixture(components=2, covariance=covariance), arrays(x)).model["log_likelihood"])


def test_fit__rows_that_cannot_be_mixed__refused_with_a_remedy(arrays, fitted):
    with pytest.raises(BadInput, match=r"3 rows are too few for a mixture of 4 components.*fewer components"):
        fitted(GaussianMixture(components=4), arrays(np.eye(3)))
    with pytest.raises(BadInput, match="1 rows are too few"):
        fitted(GaussianMixture(), arrays(np.eye(1)))
    with pytest.raises(BadInput, match="only 3 different places"):
        fitted(GaussianMixture(components=4), arrays(np.repeat(np.eye(3), 9, 0)))
    x = groups()
    start = begun("full", x)
    with pytest.raises(BadInput, match="weight above 0"):
        fitted(GaussianMixture(components=4), arrays(x, weight=np.zeros(len(x))), start=start)
    with pytest.raises(BadInput, match="model to start from"):
        fitted(GaussianMixture(components=3), arrays(x), start=start)
    with pytest.raises(BadInput, match="weight of 0"):
        fitted(GaussianMixture(components=4), arrays(x), start=start | {"weights": np.array([0.0, 0.5, 0.25, 0.25])})
    with pytest.raises(Refused, match=r"5000 features.*diagonal"):
        fitted(GaussianMixture(), arrays(np.ones((9, 0)), slots=np.zeros((9, 1)), width=5000))
    x[77, 1] = np.nan
    for begin in (None, start):
        with pytest.raises(BadInput, match="'x1', row 77"):
            fitted(GaussianMixture(components=4), arrays(x), start=begin)
    x[77, 1] = 1e200
    with pytest.raises(BadInput, match=r"overflow float64.*Scale"):
        fitted(GaussianMixture(components=4, max_rounds=3), arrays(x), start=start)


@pytest.mark.parametrize(
    "field",
    [{"components": 0}, {"covariance": "spherical"}, {"tolerance": -1.0}, {"tolerance": np.nan}, {"reg_covar": -1.0}, {"reg_covar": np.inf}, {"max_rounds": 0}, {"starts": 0}],
)
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        GaussianMixture(**field)
