"""The scikit-learn face: the learner's own models and predictions, at home in scikit-learn's tools."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone
from sklearn.cluster import KMeans as PeerKMeans
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA as PeerPCA  # noqa: N811
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression as PeerLogistic
from sklearn.linear_model import Ridge
from sklearn.mixture import GaussianMixture as PeerMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import BernoulliNB as PeerBernoulli
from sklearn.naive_bayes import GaussianNB as PeerGaussian
from sklearn.naive_bayes import MultinomialNB as PeerMultinomial
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.preprocessing import RobustScaler as PeerRobust
from sklearn.preprocessing import StandardScaler as PeerScaler
from sklearn.svm import LinearSVC as PeerSVC

import outgrow as og
import outgrow.sklearn as face

RNG = np.random.default_rng(2)
X = RNG.normal(size=(300, 5)) + np.array([0.0, 1.0, -3.0, 0.5, 0.0])
COUNTS = RNG.poisson(np.exp(0.5 * np.abs(X))).astype(float)
TWO = np.where(X[:, 0] + 0.5 * X[:, 1] + 0.4 * RNG.normal(size=300) > 0.5, "yes", "no")
THREE = np.digitize(X[:, 0] + 0.3 * RNG.normal(size=300), [-0.5, 0.5]) * 10
NUMBER = X @ np.arange(5.0) + 2 + 0.1 * RNG.normal(size=300)
OWN = ("GradientBoostingRanker", "SklearnChain", "TargetEncoder", "TfidfVectorizer")  # the ranker: below; those that encode: tests/unit/test_sklearn_encoders.py
NAMES = [name for name in face.__all__ if name not in OWN]
SPARSE = ["BlockLinearClassifier", "FastICA", "GaussianNB", "KMeans", "LinearRegression", "LinearSVC", "LogisticRegression", "MultinomialNB", "OnlineLinearClassifier", "PCA",
    "TruncatedSVD"]
SCALERS = ("RobustScaler", "StandardScaler")  # features, which predict nothing
QUICK: dict[str, dict[str, Any]] = {
    "GradientBoostingClassifier": {"n_estimators": 3}, "GradientBoostingRegressor": {"n_estimators": 3}, "MLPClassifier": {"max_iter": 3}, "MLPRegressor": {"max_iter": 3},
}  # fmt: skip


def target_of(name: str) -> Any:
    if name in ("BlockLinearRegressor", "GradientBoostingRegressor", "LinearRegression", "OnlineLinearRegressor", "MLPRegressor", "LocallyWeightedRegression"):
        return NUMBER
    made = getattr(face, name)()
    return THREE if sklearn.base.is_classifier(made) else None


def fitted(name: str, **parameters: Any) -> Any:
    one = getattr(face, name)(**QUICK.get(name, {}), **parameters)
    return one.fit(COUNTS if name.endswith("NB") else X, target_of(name))


@pytest.fixture(autouse=True)
def _few_rounds(recwarn: Any) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "MLP.* without converging", ConvergenceWarning)
        yield


@pytest.mark.parametrize("name", [name for name in NAMES if name != "LocallyWeightedRegression"])
def test_fit__gives_the_digest_of_the_plan(name: str) -> None:
    one = fitted(name)
    rows = COUNTS if name.endswith("NB") else X
    task = {"f": "number", "i": "classes"}[target_of(name).dtype.kind] if target_of(name) is not None else None
    chain = og.Then((one._build(),) if name in SCALERS else (og.OneHot(), one._build()))
    planned = og.plan(chain, og.read(rows, target=target_of(name), task=task), on="serial", probe=False).run()
    assert one.model_.digest == planned.digest


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("LocallyWeightedRegression", *SCALERS)])
def test_predictions__are_those_of_the_model(name: str) -> None:
    one = fitted(name)
    rows = COUNTS if name.endswith("NB") else X
    columns = one.model_.predict(rows)
    if "prediction" in columns.column_names:
        np.testing.assert_array_equal(one.predict(rows), columns["prediction"].to_numpy(zero_copy_only=False))
    elif "cluster" in columns.column_names:
        np.testing.assert_array_equal(one.predict(rows), columns["cluster"].to_numpy())
    else:
        np.testing.assert_array_equal(one.transform(rows), np.column_stack([column.to_numpy() for column in columns.columns]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LogisticRegression", "GaussianNB", "KMeans", "LocallyWeightedRegression"])
def test_two_processes__one_digest(name: str) -> None:
    alone, two = fitted(name), fitted(name, on="processes:2")
    if name == "LocallyWeightedRegression":
        np.testing.assert_array_equal(alone.predict(X[:5]), two.predict(X[:5]))
    else:
        assert alone.model_.digest == two.model_.digest
        assert two.model_.made["on"] == "processes:2"


def test_boosting__objectives_have_lightgbms_names() -> None:
    for name, loss in {"regression": "squared", "mae": "absolute", "regression_l1": "absolute", "huber": "huber", "tweedie": "tweedie"}.items():
        assert face.GradientBoostingRegressor(objective=name)._build().loss == loss
    assert face.GradientBoostingRegressor(objective="quantile", alpha=0.2)._build().quantile == 0.2
    with pytest.raises(ValueError, match="monotone_constraints has 2 signs for 5 columns"):
        face.GradientBoostingRegressor(monotone_constraints=[1, 0]).fit(X, NUMBER)


def test_ranker__groups_are_those_of_lightgbm_and_the_model_that_of_the_plan() -> None:
    import pandas as pd

    sizes, labels = np.tile([10, 20], 10), np.digitize(NUMBER, [0, 5, 10])
    one = face.GradientBoostingRanker(n_estimators=3, monotone_constraints=[0, 0, 0, 0, 1]).fit(X, labels, group=sizes)
    rows = {f"x{j}": X[:, j] for j in range(5)} | {"group": np.repeat(np.arange(20.0), sizes), "y": labels.astype(float)}
    planned = og.plan(og.Then((og.OneHot(), one._build())), og.read(rows, target="y", task="number"), on="serial", probe=False).run()
    for name, array in planned.model.arrays.items():
        np.testing.assert_array_equal(one.model_.arrays[name], array, err_msg=name)
    assert np.corrcoef(one.predict(X), NUMBER)[0, 1] > 0.5
    assert one.feature_importances_.shape == (5,)
    named = pd.DataFrame(X, columns=["a", "group", "b", "c", "d"])
    assert face.GradientBoostingRanker(n_estimators=2).fit(named, labels).predict(named).shape == (300,)
    for wrong in ([10, 20], [300.0], [[300]]):
        with pytest.raises(ValueError, match="group must be whole numbers that sum to the 300 rows"):
            face.GradientBoostingRanker().fit(X, labels, group=wrong)


def test_memory__goes_through_the_plan_to_the_same_model() -> None:
    assert fitted("LogisticRegression", memory="8GB").model_.digest == fitted("LogisticRegression").model_.digest
    with pytest.raises(og.OutgrowError, match="memory"):
        fitted("LogisticRegression", memory="1MB")


def test_linear_models__agree_with_scikit_learn() -> None:
    ridge, weight = Ridge(alpha=3.0).fit(X, NUMBER), RNG.random(300)
    ours = face.LinearRegression(alpha=3.0).fit(X, NUMBER)
    np.testing.assert_allclose(ours.coef_, ridge.coef_, rtol=1e-8)
    np.testing.assert_allclose(ours.intercept_, ridge.intercept_, rtol=1e-8)
    peer = PeerLogistic(C=2.0, tol=1e-10, max_iter=1000).fit(X, TWO, weight)
    own = face.LogisticRegression(C=2.0, tol=1e-9).fit(X, TWO, weight)
    np.testing.assert_allclose(own.coef_, peer.coef_, rtol=1e-5)
    np.testing.assert_allclose(own.predict_proba(X), peer.predict_proba(X), rtol=1e-5)
    np.testing.assert_allclose(own.decision_function(X), peer.decision_function(X), rtol=1e-4)
    svm, ours_svm = PeerSVC(dual=False, tol=1e-10, max_iter=10000).fit(X, THREE), face.LinearSVC(tol=1e-9).fit(X, THREE)
    np.testing.assert_allclose(ours_svm.coef_, svm.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours_svm.decision_function(X), svm.decision_function(X), rtol=1e-3, atol=1e-5)


def test_naive_bayes__attributes_are_those_of_scikit_learn() -> None:
    gauss, peer = face.GaussianNB().fit(X, THREE), PeerGaussian().fit(X, THREE)
    for name in ("theta_", "var_", "class_count_", "class_prior_"):
        np.testing.assert_allclose(getattr(gauss, name), getattr(peer, name), rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(gauss.predict_proba(X), peer.predict_proba(X), atol=1e-10)
    for ours, theirs in ((face.MultinomialNB(alpha=0.5), PeerMultinomial(alpha=0.5)), (face.BernoulliNB(binarize=1.0), PeerBernoulli(binarize=1.0))):
        ours.fit(COUNTS, THREE), theirs.fit(COUNTS, THREE)
        np.testing.assert_allclose(ours.feature_log_prob_, theirs.feature_log_prob_, rtol=1e-9)
        np.testing.assert_allclose(ours.predict_proba(COUNTS), theirs.predict_proba(COUNTS), atol=1e-10)
    for priors in ({"class_prior": [0.2, 0.3, 0.5]}, {"fit_prior": False}):
        ours, theirs = face.MultinomialNB(**priors).fit(COUNTS, THREE), PeerMultinomial(**priors).fit(COUNTS, THREE)
        np.testing.assert_allclose(ours.predict_proba(COUNTS), theirs.predict_proba(COUNTS), atol=1e-10)


def test_transformers__agree_with_scikit_learn() -> None:
    holes = X.copy()
    holes[::7, 2] = np.nan
    ours, peer = face.StandardScaler().fit(holes), PeerScaler().fit(holes)
    np.testing.assert_allclose(ours.transform(holes), peer.transform(holes), rtol=1e-9)
    np.testing.assert_allclose(ours.inverse_transform(ours.transform(holes)), holes, rtol=1e-12)
    np.testing.assert_array_equal(face.StandardScaler().fit(np.full((5, 1), 0.1)).transform(np.full((2, 1), 0.1)), np.zeros((2, 1)))
    weight = RNG.integers(0, 3, 300).astype(float)
    for weights in ((None, None), (weight[:90], weight[90:])):
        pieces, peers = face.StandardScaler(), PeerScaler()
        for part, some in zip((X[:90], X[90:]), weights, strict=True):
            pieces.partial_fit(part, sample_weight=some), peers.partial_fit(part, sample_weight=some)
        np.testing.assert_allclose(pieces.mean_, peers.mean_, rtol=1e-9)
        np.testing.assert_allclose(pieces.scale_, peers.scale_, rtol=1e-9)
    with pytest.raises(ValueError, match="came with sample_weight"):
        pieces.partial_fit(X)
    robust, other = face.RobustScaler(quantile_range=(10, 95), unit_variance=True), PeerRobust(quantile_range=(10, 95), unit_variance=True)
    np.testing.assert_array_equal(robust.fit_transform(holes), other.fit_transform(holes))
    np.testing.assert_array_equal(robust.inverse_transform(holes), other.inverse_transform(holes))
    np.testing.assert_array_equal([robust.center_, robust.scale_], [other.center_, other.scale_])
    whole, theirs = face.PCA(n_components=3, whiten=True).fit(X), PeerPCA(n_components=3, whiten=True, svd_solver="covariance_eigh").fit(X)
    np.testing.assert_allclose(np.abs(whole.transform(X)), np.abs(theirs.transform(X)), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(whole.inverse_transform(whole.transform(X)), theirs.inverse_transform(theirs.transform(X)), rtol=1e-8, atol=1e-9)
    for one in (face.TruncatedSVD(n_components=5), face.FastICA()):
        np.testing.assert_allclose(one.inverse_transform(one.fit(X).transform(X)), X, atol=1e-8)


def test_robust_scaler__many_rows_in_pieces__quantiles_are_within_the_error() -> None:
    rows = np.random.default_rng(5).lognormal(size=(9000, 2))
    pieces = face.RobustScaler(error=0.01)
    for part in np.split(rows, 6):
        pieces.partial_fit(part)
    for one in (pieces, face.RobustScaler(error=0.01).fit(rows)):
        assert (np.abs((rows <= one.center_).mean(0) - 0.5) <= 0.01).all()
    peer = PeerRobust().fit(rows)
    np.testing.assert_array_equal(face.RobustScaler(error=0.001).fit(rows).scale_, peer.scale_)  # exact up to some 11 000 rows


def test_clusters__agree_with_scikit_learn() -> None:
    blobs = np.concatenate([RNG.normal(size=(60, 2)) + center for center in ([0, 0], [9, 0], [0, 9])])
    ours, peer = face.KMeans(n_clusters=3).fit(blobs), PeerKMeans(n_clusters=3, n_init=5, random_state=0).fit(blobs)
    np.testing.assert_allclose(ours.inertia_, peer.inertia_, rtol=1e-9)
    np.testing.assert_allclose(ours.score(blobs), -peer.inertia_, rtol=1e-9)
    assert ours.transform(blobs).shape == (180, 3)
    np.testing.assert_array_equal(ours.transform(blobs).argmin(1), ours.labels_)
    for kind in ("full", "tied", "diag"):
        mixture, theirs = face.GaussianMixture(n_components=3, covariance_type=kind, tol=1e-9), PeerMixture(n_components=3, covariance_type=kind, tol=1e-9, random_state=0)
        mixture.fit(blobs), theirs.fit(blobs)
        np.testing.assert_allclose(mixture.score(blobs), theirs.score(blobs), rtol=1e-6)
        order, other = mixture.means_[:, 0].argsort() if kind == "full" else None, theirs.means_[:, 0].argsort()
        if order is not None and len(set(np.round(mixture.means_[:, 0]))) == 3:
            np.testing.assert_allclose(mixture.covariances_[order], theirs.covariances_[other], rtol=1e-4, atol=1e-6)


def test_k_means__fewer_places_than_clusters__warns_and_takes_the_places() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Number of distinct clusters \(2\) found smaller than n_clusters \(3\)"):
        found = face.KMeans(n_clusters=3).fit(np.repeat([[0.0], [1.0]], 5, 0))
    assert sorted(found.cluster_centers_[:, 0]) == [0.0, 1.0]
    with pytest.raises(ValueError, match=r"n_samples=2 should be >= n_clusters=3"):
        face.KMeans(n_clusters=3).fit([[0.0], [1.0]])


def test_local_regression__is_least_squares_where_the_bandwidth_is_wide() -> None:
    wide = face.LocallyWeightedRegression(bandwidth=1e6).fit(X, NUMBER)
    np.testing.assert_allclose(wide.predict(X[:9]), face.LinearRegression().fit(X, NUMBER).predict(X[:9]), rtol=1e-6)
    assert wide.model_at(X[:2]).arrays["1/slopes"].shape == (2, 5)


@pytest.mark.parametrize("name", ["OnlineLinearClassifier", "OnlineLinearRegressor"])
def test_partial_fit__online__is_fit_to_the_bit(name: str) -> None:
    extra = {} if name.endswith("Classifier") else {"scale_target": False}
    y, options = target_of(name), {"classes": np.unique(THREE)} if name.endswith("Classifier") else {}
    pieces = getattr(face, name)(**extra)
    for rows in (slice(0, 7), slice(7, 250), slice(250, 300)):
        pieces.partial_fit(X[rows], y[rows], **options)
    whole = getattr(face, name)(lanes=1, **extra).fit(X, y)
    assert pieces.model_.digest == whole.model_.digest


@pytest.mark.parametrize("name", ["MultinomialNB", "BernoulliNB", "ComplementNB"])
def test_partial_fit__counts__is_fit_to_the_bit(name: str) -> None:
    pieces = getattr(face, name)()
    for rows in (slice(0, 7), slice(7, 250), slice(250, 300)):
        pieces.partial_fit(COUNTS[rows], THREE[rows], classes=[0, 10, 20])
    assert pieces.model_.digest == fitted(name).model_.digest


@pytest.mark.parametrize("name", ["LinearRegression", "GaussianNB", "LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis", "PCA", "StandardScaler"])
def test_partial_fit__sums__is_fit_up_to_the_order_of_sums(name: str) -> None:
    pieces, y = getattr(face, name)(), target_of(name)
    options = {"classes": [0, 10, 20]} if y is THREE else {}
    for rows in (slice(0, 90), slice(90, 300)):
        pieces.partial_fit(X[rows], *([] if y is None else [y[rows]]), **options)
    whole = getattr(face, name)().fit(X, *([] if y is None else [y]))
    for key, array in whole.model_.arrays.items():
        np.testing.assert_allclose(pieces.model_.arrays[key], array, rtol=1e-9, atol=1e-9, err_msg=key)


def test_partial_fit__classes__are_asked_for_and_kept() -> None:
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        face.GaussianNB().partial_fit(X, THREE)
    one = face.GaussianNB().partial_fit(X, THREE, classes=[0, 10, 20])
    with pytest.raises(ValueError, match="is not the same as on last call"):
        one.partial_fit(X, THREE, classes=[0, 10])
    with pytest.raises(ValueError, match=r"The target label\(s\) \[5\]"):
        one.partial_fit(X[:1], [5])
    assert not hasattr(face.LogisticRegression(), "partial_fit")


def test_tools__grid_search_pipeline_columns_and_pickling_work() -> None:
    frame = pd.DataFrame(X, columns=list("abcde")).assign(town=np.where(X[:, 3] > 0.5, "Bern", "Rome"))
    columns = make_column_transformer((face.StandardScaler(), list("abcde")), (OneHotEncoder(sparse_output=False), ["town"]))
    search = GridSearchCV(make_pipeline(columns, face.PCA(), face.LogisticRegression()), {"pca__n_components": [2, 5], "logisticregression__C": [0.01, 10.0]}, cv=3)
    search.fit(frame, TWO)
    assert search.best_params_["logisticregression__C"] == 10.0
    assert search.score(frame, TWO) > 0.8
    stream = io.BytesIO()
    joblib.dump(search.best_estimator_, stream)
    stream.seek(0)
    np.testing.assert_array_equal(joblib.load(stream).predict(frame), search.predict(frame))
    assert cross_val_score(face.GaussianNB(), X, TWO, cv=3).min() > 0.7


def test_feature_names__are_kept_and_given() -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    scaler = face.StandardScaler().set_output(transform="pandas").fit(frame)
    assert list(scaler.transform(frame).columns) == list("abcde")
    assert list(face.PCA(n_components=2).fit(frame).get_feature_names_out()) == ["pca0", "pca1"]
    model = face.LogisticRegression().fit(frame, TWO)
    assert list(model.feature_names_in_) == list("abcde")
    np.testing.assert_array_equal(model.model_.predict(frame)["prediction"].to_numpy(zero_copy_only=False), model.predict(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("edcba")])
    assert face.LogisticRegression().fit(frame.rename(columns={"a": "target"}), TWO).model_.schema.target == "target_"


def test_model__is_saved_and_knows_its_labels(tmp_path: Any) -> None:
    one = face.LogisticRegression().fit(X, TWO)
    one.model_.save(tmp_path / "m")
    np.testing.assert_array_equal(og.load(tmp_path / "m").predict(X)["prediction"].to_numpy(zero_copy_only=False), one.predict(X))
    for labels in (TWO == "yes", np.where(TWO == "yes", 1.0, -1.0), TWO.astype(object), np.where(TWO == "yes", 7, 3).astype(np.int8)):
        found = face.GaussianNB().fit(X, labels)
        assert found.predict(X).dtype == labels.dtype
        np.testing.assert_array_equal(found.predict(X) == labels, face.GaussianNB().fit(X, TWO).predict(X) == TWO)


@pytest.mark.parametrize("width", [40, 400])
@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.slow
def test_sparse_rows__narrow_or_wide__give_what_dense_rows_give(name: str, width: int) -> None:
    rows = sp.random(300, width, density=0.1, random_state=1, format="csr", data_rvs=lambda n: RNG.integers(1, 9, n).astype(float))
    y = target_of(name)
    options = {
        "PCA": {"n_components": 3}, "FastICA": {"n_components": 2}, "KMeans": {"max_iter": 3}, "TruncatedSVD": {"n_components": 3, "n_iter": 20},
        "BlockLinearClassifier": {"tol": 1e-8, "max_iter": 300},
    }.get(name, {})  # fmt: skip
    sparse, dense = getattr(face, name)(**options).fit(rows, y), getattr(face, name)(**options).fit(rows.toarray(), y)
    for attribute in ("coef_", "components_", "cluster_centers_", "theta_", "feature_log_prob_"):
        if hasattr(sparse, attribute):
            assert getattr(sparse, attribute).shape[-1] == width
            if name not in ("OnlineLinearClassifier", "LinearRegression") and not (name == "TruncatedSVD" and width == 400):  # one pass, dependent columns, a random range
                np.testing.assert_allclose(getattr(sparse, attribute), getattr(dense, attribute), rtol=1e-4, atol=1e-5, err_msg=attribute)
    give = "predict" if hasattr(sparse, "predict") else "transform"
    np.testing.assert_allclose(getattr(sparse, give)(rows), getattr(sparse, give)(rows.toarray()))
    np.testing.assert_allclose(getattr(dense, give)(rows), getattr(dense, give)(rows.toarray()))


@pytest.mark.parametrize(
    ("fit", "text"),
    [
        (lambda: face.LogisticRegression().fit(np.empty((0, 3)), []), r"Found array with 0 sample\(s\)"),
        (lambda: face.LogisticRegression().fit(X, np.zeros(300)), "only one class"),
        (lambda: face.LogisticRegression().fit(np.full((3, 1), np.nan), [0, 1, 0]), "Input X contains NaN"),
        (lambda: face.OnlineLinearClassifier().fit(np.full((3, 1), np.inf), [0, 1, 0]), "Input X contains infinity"),
        (lambda: face.LogisticRegression().fit(X, NUMBER), "Unknown label type"),
        (lambda: face.LogisticRegression().fit(X, TWO[:5]), "inconsistent numbers of samples"),
        (lambda: face.MultinomialNB().fit(X, TWO), "Negative values in data"),
        (lambda: face.LogisticRegression(C=0).fit(X, TWO), "C must be above 0"),
        (lambda: face.LogisticRegression(tol=-1).fit(X, TWO), "tolerance"),
        (lambda: face.LogisticRegression().fit(X, TWO, np.full(300, -1.0)), "Negative values in data passed to `sample_weight`"),
        (lambda: face.GaussianNB(priors=[0.5, 0.6]).fit(X, TWO), "sum of the priors should be 1"),
        (lambda: face.LogisticRegression(on="rehearsal").fit(X, TWO), "rehearsal gives no model"),
        (lambda: face.LogisticRegression(on="nowhere").fit(X, TWO), "there is no engine 'nowhere'"),
        (lambda: face.OnlineLinearClassifier(class_weight="balanced").partial_fit(X, TWO, classes=["no", "yes"]), "not supported for partial_fit"),
    ],
)
def test_bad_input__is_told_in_the_words_that_are_expected(fit: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fit()


def test_not_fitted__is_said() -> None:
    for name in NAMES:
        one = getattr(face, name)()
        with pytest.raises(NotFittedError):
            getattr(one, "predict" if hasattr(one, "predict") else "transform")(X)


def test_warning__comes_where_rounds_were_not_enough() -> None:
    with pytest.warns(ConvergenceWarning, match="max_iter=1 without converging"):
        face.LogisticRegression(max_iter=1).fit(X, TWO)


def test_online__missing_values_are_welcome() -> None:
    holes = X.copy()
    holes[RNG.random(X.shape) < 0.2] = np.nan
    assert face.OnlineLinearClassifier(max_iter=5).fit(holes, TWO).score(holes, TWO) > 0.7
    assert np.isfinite(face.OnlineLinearClassifier().fit(holes, TWO).decision_function(holes)).all()
    assert not hasattr(face.OnlineLinearClassifier(loss="hinge").fit(X, TWO), "predict_proba")


def test_random_state__decides_and_none_draws() -> None:
    first, again, other = (face.KMeans(n_clusters=8, max_iter=1, random_state=seed).fit(X).model_.digest for seed in (1, 1, 2))
    assert first == again != other
    drawn = face.KMeans(n_clusters=8, max_iter=1, random_state=np.random.RandomState(3))
    assert drawn.fit(X).model_.digest != drawn.fit(X).model_.digest


def test_estimators__are_cloned_pickled_and_shown_by_their_parameters() -> None:
    one = face.LogisticRegression(C=3.0, on="processes:2")
    assert clone(one).get_params() == one.get_params()
    assert repr(one) == "LogisticRegression(C=3.0, on='processes:2')"
    for name in NAMES:
        made = fitted(name)
        rows = COUNTS if name.endswith("NB") else X
        give = "predict" if hasattr(made, "predict") else "transform"
        np.testing.assert_array_equal(getattr(pickle.loads(pickle.dumps(made)), give)(rows[:4]), getattr(made, give)(rows[:4]))


def test_importing__the_face_loads_scikit_learn_only_when_used() -> None:
    code = "import sys, outgrow.sklearn, outgrow.sklearn.onward; print('sklearn' in sys.modules, sorted(dir(outgrow.sklearn)) == sorted(outgrow.sklearn.__all__))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "False True\n"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = face.Nothing
