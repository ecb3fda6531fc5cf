"""Principal components and truncated SVD: scikit-learn's, up to sign, at any cut of the work."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn import decomposition as peers

from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.learner import Context
from outgrow.core.state import digest, same
from outgrow.learn.pca import PCA, TruncatedSVD, _Power
from outgrow.learn.scatter import Scatter


def problem(n=2500, p=7, seed=0, far=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, p)) * np.linspace(3, 1, p) @ np.linalg.qr(rng.normal(size=(p, p)))[0] + far


def values(columns):
    return np.stack([columns[f"component_{c}"] for c in range(len(columns))], 1)


@pytest.mark.parametrize("far", [0.0, 1e4])
@pytest.mark.parametrize("components", [None, 3, 0.5, 0.9])
@pytest.mark.parametrize("whiten", [True, False])
def test_pca__any_number_of_components__as_scikit_learn(arrays, fitted, components, whiten, far):
    x = problem(far=far)
    ours = fitted(PCA(components=components, whiten=whiten), arrays(x))
    peer = peers.PCA(components, whiten=whiten, svd_solver="full").fit(x)
    for name, array in (
        ("components", peer.components_),
        ("explained_variance", peer.explained_variance_),
        ("explained_variance_ratio", peer.explained_variance_ratio_),
        ("singular_values", peer.singular_values_),
        ("noise_variance", peer.noise_variance_),
        ("mean", peer.mean_),
    ):
        np.testing.assert_allclose(ours.model[name], array, rtol=1e-8, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(values(ours.predict(arrays(x))), peer.transform(x), rtol=1e-7, atol=1e-7)
    assert ours.record["passes"] == 1


def test_pca__one_hot_slots__as_dense_columns(arrays, fitted):
    rng = np.random.default_rng(0)
    x, slots = problem(900, 3), rng.integers(0, 5, (900, 2)) + np.array([0, 5])
    whole = np.hstack([np.eye(10)[slots].sum(1), x])
    ours = fitted(PCA(components=4), arrays(x, slots=slots, width=10))
    peer = peers.PCA(4, svd_solver="full").fit(whole)
    np.testing.assert_allclose(ours.model["components"], peer.components_, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(values(ours.predict(arrays(x, slots=slots, width=10))), peer.transform(whole), atol=1e-9)


def test_pca__rows_repeated_as_often_as_their_weight__the_same_model(arrays, fitted):
    x, times = problem(500), np.random.default_rng(5).integers(0, 4, 500)
    weighted = fitted(PCA(), arrays(x, weight=times.astype(float))).model
    repeated = fitted(PCA(), arrays(np.repeat(x, times, 0))).model
    for name, array in repeated.items():
        np.testing.assert_allclose(weighted[name], array, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("whole", [True, False])
def test_svd__exact_and_randomized__as_scikit_learn(arrays, fitted, whole):
    x = problem(1500, 100) * np.logspace(0, -3, 100)
    x = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(100, 100)))[0] + 0.02
    learner = TruncatedSVD(components=4) if whole else TruncatedSVD(components=4, oversampling=0, rounds=40)
    ours = fitted(learner, arrays(x))
    peer = peers.TruncatedSVD(4, algorithm="arpack", random_state=0).fit(x)
    assert ours.record["passes"] == (1 if whole else 41)
    for name, array in (("singular_values", peer.singular_values_), ("explained_variance", peer.explained_variance_), ("explained_variance_ratio", peer.explained_variance_ratio_)):
        np.testing.assert_allclose(ours.model[name], array, rtol=1e-7, err_msg=name)
    sign = np.sign((ours.model["components"] * peer.components_).sum(1))
    np.testing.assert_allclose(ours.model["components"], peer.components_ * sign[:, None], atol=1e-7)
    np.testing.assert_allclose(values(ours.predict(arrays(x))), peer.transform(x) * sign, atol=1e-6)


def table(n, width):
    """Slots, ragged entries and dense columns, and the sparse matrix they stand for; some columns far more frequent than others."""
    rng = np.random.default_rng(3)
    slots = (rng.random((n, 2)) ** 4 * width).astype(np.uint32)
    count = rng.integers(0, 4, n)
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    ragged = (offsets, (rng.random(offsets[-1]) ** 3 * width).astype(np.uint32), rng.normal(size=offsets[-1]).astype(np.float32))
    whole = scipy.sparse.csr_matrix((ragged[2].astype(float), ragged[1], offsets), (n, width))
    for j in range(2):
        whole = whole + scipy.sparse.csr_matrix((np.ones(n), slots[:, j], np.arange(n + 1)), (n, width))
    x = rng.normal(size=(n, 2)) * 3
    return x, slots, ragged, scipy.sparse.hstack([whole, x]).tocsr()


@pytest.mark.parametrize("weighted", [True, False])
def test_svd__wide_slots_ragged_entries_and_dense_columns__as_scikit_learn(arrays, fitted, weighted):
    x, slots, ragged, whole = table(1500, 3000)
    weight = np.random.default_rng(0).integers(0, 3, 1500).astype(float) if weighted else None
    source = arrays(x, slots=slots, ragged=ragged, width=3000, weight=weight)
    ours = fitted(TruncatedSVD(components=3, rounds=25), source)
    repeated = whole[np.repeat(np.arange(1500), weight.astype(int))] if weighted else whole
    peer = peers.TruncatedSVD(3, algorithm="arpack", random_state=0).fit(repeated)
    for name, array in (("singular_values", peer.singular_values_), ("explained_variance", peer.explained_variance_), ("explained_variance_ratio", peer.explained_variance_ratio_)):
        np.testing.assert_allclose(ours.model[name], array, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(np.abs(values(ours.predict(source))), np.abs(peer.transform(whole)), atol=1e-6)
    assert ours.model["components"].shape == (3, 3002)


def test_svd__few_rounds__at_least_as_close_as_scikit_learn_with_as_many(arrays, fitted):
    x, slots, ragged, whole = table(1500, 3000)
    exact = peers.TruncatedSVD(5, algorithm="arpack", random_state=0).fit(whole).singular_values_
    source = arrays(x, slots=slots, ragged=ragged, width=3000)
    ours = [fitted(TruncatedSVD(components=5, rounds=1), source, seed=s).model["singular_values"] for s in range(5)]
    theirs = [peers.TruncatedSVD(5, n_iter=1, random_state=s).fit(whole).singular_values_ for s in range(5)]
    assert np.median(np.abs(ours - exact)) <= 1.2 * np.median(np.abs(theirs - exact))


def test_svd__rank_below_the_components__the_rest_are_at_right_angles_and_of_size_0(arrays, fitted):
    slots = np.arange(90)[:, None] % 3
    model = fitted(TruncatedSVD(components=5, oversampling=0, rounds=2), arrays(slots=slots, width=300)).model
    np.testing.assert_allclose(model["singular_values"], [np.sqrt(30)] * 3 + [0, 0], atol=1e-12)
    np.testing.assert_allclose(model["components"] @ model["components"].T, np.eye(5), atol=1e-12)


@pytest.mark.parametrize("learner", [PCA(), TruncatedSVD(components=3), TruncatedSVD(components=3, oversampling=0, rounds=3)])
def test_fit__other_cuts_and_layouts__the_same_to_rounding_and_to_the_bit(arrays, fitted, learner):
    x = problem(p=120) if isinstance(learner, TruncatedSVD) else problem(far=100.0)
    models = [fitted(learner, arrays(x), shard_rows=s, batch_rows=b).model for s, b in [(700, 256), (3000, 3000), (300, 7)]]
    for other in models[1:]:
        for name, array in other.items():
            np.testing.assert_allclose(array, models[0][name], rtol=1e-7, atol=1e-8, err_msg=name)
    assert digest(models[0]) == fitted(learner, arrays(x, scramble=True)).digest


def test_scatter__a_pattern_that_the_sampled_rows_follow__loses_no_digits(arrays):
    x = np.random.default_rng(0).normal(size=(6100, 2))
    x[::61] += 1e6
    fold = Scatter(columns=2)
    found = fold.update(fold.init({}), arrays(x).take(np.arange(6100)), {})
    np.testing.assert_allclose(found["scatter"], np.cov(x.T, ddof=0) * 6100, rtol=1e-10)
    np.testing.assert_allclose(found["mean"][0], x.mean(0), rtol=1e-12)


def test_merge__empty_and_one_row_states__are_the_identity_and_not_dropped(arrays):
    x = problem(60)
    source = arrays(x, slots=np.arange(60)[:, None] % 3, width=3)
    q = np.random.default_rng(0).normal(size=(10, 4))
    for fold, given in ((Scatter(columns=10), {}), (_Power(width=3, first=True), {"q": q})):
        many = fold.update(fold.init(given), source.take(np.arange(59)), given)
        copy = {name: array.copy() for name, array in many.items()}
        assert same(fold.merge({name: array.copy() for name, array in many.items()}, fold.init(given), given), copy)
        assert same(fold.merge(fold.init(given), many, given), copy)
        merged = fold.merge(copy, fold.update(fold.init(given), source.take(np.arange(59, 60)), given), given)
        whole = fold.update(fold.init(given), source.take(np.arange(60)), given)
        for name in whole:
            np.testing.assert_allclose(merged[name], whole[name], rtol=1e-10, atol=1e-10)


def test_pca__constant_columns_and_fewer_rows_than_columns__explain_nothing(arrays, fitted):
    x = np.column_stack([problem(200, 3), np.full(200, 0.1)])
    model = fitted(PCA(), arrays(x)).model
    np.testing.assert_allclose(model["explained_variance"], peers.PCA(svd_solver="full").fit(x).explained_variance_, atol=1e-12)
    still = fitted(PCA(whiten=True), arrays(x)).predict(arrays(x))
    assert np.abs(still["component_3"]).max() == 0.0
    np.testing.assert_allclose(still["component_2"].std(ddof=1), 1.0)
    few = fitted(PCA(), arrays(problem(4, 7))).model
    np.testing.assert_allclose(few["explained_variance"], peers.PCA(svd_solver="full").fit(problem(4, 7)).explained_variance_, atol=1e-12)
    none = fitted(PCA(components=1), arrays(np.ones((9, 2)))).model
    assert (none["explained_variance"].tolist(), none["explained_variance_ratio"].tolist()) == ([0.0], [0.0])


@pytest.mark.parametrize("learner", [PCA(), TruncatedSVD(components=3), TruncatedSVD(components=3, oversampling=0, rounds=3)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit__value_that_is_not_finite__names_column_and_row(arrays, fitted, learner, value):
    x = problem(p=120) if isinstance(learner, TruncatedSVD) else problem()
    x[1234, 3] = value
    with pytest.raises(BadInput, match=r"'x3', row 1234.*(Fill|Correct)"):
        fitted(learner, arrays(x))
    good = fitted(learner, arrays(x[:1000]))
    with pytest.raises(BadInput, match=r"'x3', row 1234"):
        good.predict(arrays(x))


def test_fit__what_cannot_be_decomposed__is_refused_with_a_remedy(arrays, fitted):
    x = problem(60)
    randomized = TruncatedSVD(components=2, oversampling=0)
    with pytest.raises(BadInput, match=r"1 row \(1 sample\), and a variance needs more than 1"):
        fitted(PCA(), arrays(x[:1]))
    for learner in (PCA(components=8), TruncatedSVD(components=8)):
        with pytest.raises(BadInput, match=r"components: 8 components are more than there are columns or rows; allowed: between 1 and min\(rows, columns\) = 7"):
            fitted(learner, arrays(x))
        with pytest.raises(BadInput, match="no column to decompose"):
            fitted(learner, arrays(np.zeros((60, 0))))
    for learner in (PCA(), TruncatedSVD(), randomized):
        wide = np.hstack([x] * 20) if learner is randomized else x
        with pytest.raises(BadInput, match="weight above 0"):
            fitted(learner, arrays(wide, weight=np.zeros(60)))
        with pytest.raises(BadInput, match=r"overflow float64.*Divide"):
            fitted(learner, arrays(np.where(np.arange(wide.shape[1]) == 1, 1e200, 1.0) * wide))
        with pytest.raises(BadInput, match="earlier model"):
            fitted(learner, arrays(wide), start={"components": np.eye(2)})
    with pytest.raises(Refused, match=r"PCA over 3007 columns; allowed: up to 2048\. Use TruncatedSVD"):
        fitted(PCA(), arrays(x, slots=np.zeros((60, 1)), width=3000))
    with pytest.raises(Refused, match=r"TruncatedSVD with 16 directions over 4194311 columns; allowed: up to 2097152\. Use fewer hash bits"):
        fitted(TruncatedSVD(), arrays(x, slots=np.zeros((60, 1)), width=1 << 22))
    ragged = (np.arange(61), np.zeros(60, np.uint32), np.r_[np.ones(6), np.nan, np.ones(53)].astype(np.float32))
    for learner in (PCA(), TruncatedSVD()):
        with pytest.raises(BadInput, match="a value of row 6 is not finite"):
            fitted(learner, arrays(ragged=ragged, width=400))


def test_ask__wide_states__few_lanes_and_a_price_that_is_their_size(arrays):
    source = arrays(np.ones((100, 3)), slots=np.zeros((100, 1)), width=1 << 16)
    context = Context(schema=source.schema, rows=100, shard_rows=2, batch_rows=2)
    learner = TruncatedSVD()
    (asked,) = learner.ask(context, learner.begin(context))
    assert (asked.cover.kind, asked.cover.lanes) == ("chains", 16)
    assert learner.price(context).state == sum(array.nbytes for array in asked.fold.init(asked.given).values())
    narrow = Context(schema=arrays(np.ones((9, 40))).schema, rows=9, shard_rows=2, batch_rows=2)
    (asked,) = PCA().ask(narrow, {})
    assert asked.cover.kind == "shards"
    assert PCA().price(narrow).state == sum(array.nbytes for array in asked.fold.init({}).values())


@pytest.mark.parametrize("components", [0, -1, 0.0, 1.0, 1.5, np.nan, np.inf, True])
def test_pca__components_out_of_range__refused_by_name(components):
    with pytest.raises(BadField, match="components"):
        PCA(components=components)


@pytest.mark.parametrize("field", [{"components": 0}, {"components": 1.5}, {"rounds": -1}, {"oversampling": -1}])
def test_svd__fields_out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        TruncatedSVD(**field)
