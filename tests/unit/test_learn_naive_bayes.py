"""Naive Bayes: scikit-learn's four, at any cut of the work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB

import outgrow as og
from outgrow.check.check import LAWS, check
from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.learner import Context
from outgrow.core.state import digest, same
from outgrow.learn.class_columns import NEVER
from outgrow.learn.naive_bayes import NaiveBayes, _Counts
from outgrow.learn.scatter import Scatter

PEERS = {"gaussian": GaussianNB, "multinomial": MultinomialNB, "complement": ComplementNB, "bernoulli": BernoulliNB}
COUNTING = ("multinomial", "complement", "bernoulli")


def problem(n=2500, classes=3, p=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return rng.poisson(rng.exponential(size=(classes, p))[y] * 2).astype(float), y


def names(classes):
    return tuple("abcdefg"[:classes])


def chances(columns):
    found = [columns[name] for name in columns if name.startswith("probability")]
    return np.stack(found if len(found) > 1 else [1 - found[0], found[0]], 1)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", PEERS)
def test_fit__each_kind__predicts_as_scikit_learn(arrays, fitted, kind, classes, weighted):
    x, y = problem(classes=classes)
    weight = np.random.default_rng(1).integers(0, 4, len(y)) * 0.5 if weighted else None
    ours = fitted(NaiveBayes(kind=kind), arrays(x, y, classes=names(classes), weight=weight))
    peer = PEERS[kind]().fit(x, y, weight)
    columns = ours.predict(arrays(x, y, classes=names(classes)))
    tolerance = 1e-4 if weighted and kind == "gaussian" else 1e-9  # GaussianNB smooths by the variance of all rows, whatever their weights
    np.testing.assert_allclose(chances(columns), peer.predict_proba(x), rtol=tolerance, atol=1e-12)
    assert columns["prediction"].tolist() == [names(classes)[k] for k in peer.predict(x)]
    assert ours.record["passes"] == 1


def test_gaussian__means_and_variances__as_scikit_learn_for_columns_far_from_zero(arrays, fitted):
    x, y = problem()
    rng = np.random.default_rng(0)
    far = (x + rng.normal(size=x.shape)) * np.logspace(-4, 4, 5) + 1e5 * np.logspace(-4, 4, 5)
    model = fitted(NaiveBayes(), arrays(far, y, classes=names(3))).model
    peer = GaussianNB().fit(far, y)
    np.testing.assert_allclose(model["mean"], peer.theta_, rtol=1e-12)
    np.testing.assert_allclose(model["variance"], peer.var_, rtol=1e-6)
    assert model["weight"].tolist() == peer.class_count_.tolist()


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 2.0])
def test_gaussian__var_smoothing__as_scikit_learn(arrays, fitted, smoothing):
    x, y = problem()
    model = fitted(NaiveBayes(var_smoothing=smoothing), arrays(x, y, classes=names(3))).model
    np.testing.assert_allclose(model["variance"], GaussianNB(var_smoothing=smoothing).fit(x, y).var_, rtol=1e-10)


@pytest.mark.parametrize("alpha", [1e-10, 0.3, 10.0])
@pytest.mark.parametrize("kind", COUNTING)
def test_counts__alpha__as_scikit_learn(arrays, fitted, kind, alpha):
    x, y = problem(200)
    ours = fitted(NaiveBayes(kind=kind, alpha=alpha), arrays(x, y, classes=names(3)))
    np.testing.assert_allclose(chances(ours.predict(arrays(x, y, classes=names(3)))), PEERS[kind](alpha=alpha).fit(x, y).predict_proba(x), rtol=1e-6, atol=1e-12)


def test_complement__norm__as_scikit_learn(arrays, fitted):
    x, y = problem()
    ours = fitted(NaiveBayes(kind="complement", norm=True), arrays(x, y, classes=names(3)))
    np.testing.assert_allclose(chances(ours.predict(arrays(x, y, classes=names(3)))), ComplementNB(norm=True).fit(x, y).predict_proba(x), rtol=1e-9)


@pytest.mark.parametrize("above", [0.0, 1.0, 2.5])
def test_bernoulli__binarize__as_scikit_learn(arrays, fitted, above):
    x, y = problem()
    ours = fitted(NaiveBayes(kind="bernoulli", binarize=above), arrays(x, y, classes=names(3)))
    np.testing.assert_allclose(chances(ours.predict(arrays(x, y, classes=names(3)))), BernoulliNB(binarize=above).fit(x, y).predict_proba(x), rtol=1e-9)


def table(n, width, seed=3):
    """Slots and ragged entries, some twice in a row, and the same as a dense matrix."""
    rng = np.random.default_rng(seed)
    slots = np.stack([rng.integers(0, 9, n), rng.integers(5, 20, n)], 1).astype(np.uint32)
    count = rng.integers(0, 4, n)
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    ragged = (offsets, rng.integers(15, width, offsets[-1]).astype(np.uint32), rng.integers(0, 3, offsets[-1]).astype(np.float32))
    whole = scipy.sparse.csr_matrix((ragged[2].astype(float), ragged[1], offsets), (n, width)).toarray()
    for j in range(2):
        whole += np.eye(width)[slots[:, j]]
    return slots, ragged, whole


@pytest.mark.parametrize("kind", PEERS)
def test_fit__slots_and_ragged_entries__as_the_dense_matrix_they_stand_for(arrays, fitted, kind):
    x, y = problem(1500)
    slots, ragged, whole = table(1500, 40)
    whole = np.hstack([whole, x])
    above = 1.5 if kind == "bernoulli" else 0.0
    source = arrays(x, y, classes=names(3), slots=slots, ragged=ragged, width=40)
    ours = fitted(NaiveBayes(kind=kind, binarize=above), source)
    if kind == "bernoulli":
        whole = whole[:, (whole > above).any(0)]  # a slot that no row has says nothing
    peer = (BernoulliNB(binarize=above) if kind == "bernoulli" else PEERS[kind]()).fit(whole, y)
    np.testing.assert_allclose(chances(ours.predict(source)), peer.predict_proba(whole), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", ["multinomial", "bernoulli"])
def test_fit__a_hashed_table_of_a_million_slots__is_learned_in_few_lanes(arrays, fitted, kind):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    slots = (y * 500_000)[:, None] + rng.integers(0, 50, (600, 3))
    source = arrays(y=y, classes=(0, 1), slots=slots, width=1 << 20)
    context = Context(schema=source.schema, rows=600, shard_rows=20, batch_rows=20)
    (asked,) = NaiveBayes(kind=kind).ask(context, {})
    assert (asked.cover.kind, asked.cover.lanes) == ("chains", 16)
    assert NaiveBayes(kind=kind).price(context).state == sum(array.nbytes for array in asked.fold.init({}).values())
    assert (fitted(NaiveBayes(kind=kind), source).predict(source)["prediction"] == y).all()


@pytest.mark.parametrize(("priors", "peer"), [("uniform", [1 / 3] * 3), ({"a": 1, "b": 2, "c": 5}, [1 / 8, 2 / 8, 5 / 8])])
def test_priors__uniform_or_named__as_scikit_learn(arrays, fitted, priors, peer):
    x, y = problem()
    source = arrays(x, y, classes=names(3))
    np.testing.assert_allclose(chances(fitted(NaiveBayes(priors=priors), source).predict(source)), GaussianNB(priors=peer).fit(x, y).predict_proba(x), rtol=1e-6)
    found = chances(fitted(NaiveBayes(kind="multinomial", priors=priors), source).predict(source))
    np.testing.assert_allclose(found, MultinomialNB(class_prior=peer).fit(x, y).predict_proba(x), rtol=1e-6)


@pytest.mark.parametrize("kind", PEERS)
def test_fit__rows_repeated_as_often_as_their_weight__the_same_model(arrays, fitted, kind):
    x, y = problem(500)
    times = np.random.default_rng(5).integers(0, 4, 500)
    weighted = fitted(NaiveBayes(kind=kind), arrays(x, y, classes=names(3), weight=times.astype(float))).model
    repeated = fitted(NaiveBayes(kind=kind), arrays(np.repeat(x, times, 0), np.repeat(y, times), classes=names(3))).model
    for name, array in repeated.items():
        np.testing.assert_allclose(weighted[name], array, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", PEERS)
def test_fit__other_cuts_and_layouts__the_same_to_rounding_and_to_the_bit(arrays, fitted, kind):
    x, y = problem()
    models = [fitted(NaiveBayes(kind=kind), arrays(x, y, classes=names(3)), shard_rows=s, batch_rows=b).model for s, b in [(700, 256), (3000, 3000), (300, 1)]]
    for other in models[1:]:
        for name, array in other.items():
            np.testing.assert_allclose(array, models[0][name], rtol=1e-9)
    assert digest(models[0]) == fitted(NaiveBayes(kind=kind), arrays(x, y, classes=names(3), scramble=True)).digest


@pytest.mark.parametrize("kind", PEERS)
def test_fit__one_class_alone_or_a_class_without_rows__is_always_or_never_predicted(arrays, fitted, kind):
    x, y = problem(300, classes=2)
    alone = fitted(NaiveBayes(kind=kind), arrays(x, np.zeros(300, int), classes=("a",)))
    columns = alone.predict(arrays(x, np.zeros(300, int), classes=("a",)))
    assert set(columns["prediction"]) == {"a"}
    assert columns["probability_a"].tolist() == [1.0] * 300
    source = arrays(x, y, classes=names(3))
    gone = fitted(NaiveBayes(kind=kind), source)
    assert gone.model["intercept"][2] == NEVER
    assert all(np.isfinite(array).all() for array in gone.model.values())
    np.testing.assert_allclose(chances(gone.predict(source))[:, :2], PEERS[kind]().fit(x, y).predict_proba(x), rtol=1e-6)
    assert gone.predict(source)["probability_c"].max() == 0.0


def test_fit__one_row__is_refused_by_the_gaussian_and_learned_by_the_others(arrays, fitted):
    for kind in COUNTING:
        one = fitted(NaiveBayes(kind=kind), arrays(np.ones((1, 2)), [1], classes=(0, 1)))
        assert one.predict(arrays(np.ones((1, 2)), [1], classes=(0, 1)))["probability"].tolist() == [1.0]
    with pytest.raises(BadInput, match=r"1 row \(1 sample\)"):
        fitted(NaiveBayes(), arrays(np.ones((1, 2)), [1], classes=(0, 1)))


def test_gaussian__constant_columns__are_smoothed_or_refused_by_name(arrays, fitted):
    x, y = problem(300)
    more = np.column_stack([np.full(300, 0.1), x])
    source = arrays(more, y, classes=names(3))
    np.testing.assert_allclose(chances(fitted(NaiveBayes(), source).predict(source)), GaussianNB().fit(more, y).predict_proba(more), rtol=1e-6)
    with pytest.raises(BadInput, match=r"var_smoothing: column 'x0' never changes within class 'a'.*Raise"):
        fitted(NaiveBayes(var_smoothing=0.0), source)
    with pytest.raises(BadInput, match="no column changes"):
        fitted(NaiveBayes(), arrays(more[:, :1], y, classes=names(3)))


def test_merge__empty_and_one_row_states__are_the_identity_and_not_dropped(arrays):
    x, y = problem(60)
    source = arrays(x, y, classes=names(3))
    for fold in (Scatter(columns=5, classes=3, kind="diagonal"), _Counts(classes=3, width=0, dense=5, above=-1.0)):
        many = fold.update(fold.init({}), source.take(np.arange(59)), {})
        copy = {name: array.copy() for name, array in many.items()}
        assert same(fold.merge({name: array.copy() for name, array in many.items()}, fold.init({}), {}), copy)
        assert same(fold.merge(fold.init({}), many, {}), copy)
        merged = fold.merge(copy, fold.update(fold.init({}), source.take(np.arange(59, 60)), {}), {})
        whole = fold.update(fold.init({}), source.take(np.arange(60)), {})
        for name in whole:
            np.testing.assert_allclose(merged[name], whole[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit__value_that_is_not_finite__names_column_and_row(arrays, fitted, kind, value):
    x, y = problem()
    x[1234, 3] = value
    with pytest.raises(BadInput, match=r"'x3', row 1234.*(Fill|Correct)"):
        fitted(NaiveBayes(kind=kind), arrays(x, y, classes=names(3)))
    good = fitted(NaiveBayes(kind=kind), arrays(x[:1000], y[:1000], classes=names(3)))
    with pytest.raises(BadInput, match=r"'x3', row 1234"):
        good.predict(arrays(x, y, classes=names(3)))


@pytest.mark.parametrize("kind", ["multinomial", "complement"])
def test_counts__a_value_below_0__is_refused_with_the_row_and_a_remedy(arrays, fitted, kind):
    x, y = problem()
    x[77, 2] = -1.0
    with pytest.raises(BadInput, match=r"below 0 in column 'x2', row 77.*gaussian"):
        fitted(NaiveBayes(kind=kind), arrays(x, y, classes=names(3)))
    ragged = (np.arange(11), np.zeros(10, np.uint32), np.r_[np.ones(6), -1, np.ones(3)].astype(np.float32))
    with pytest.raises(BadInput, match=r"sparse value below 0.*signed=False"):
        fitted(NaiveBayes(kind=kind), arrays(y=np.arange(10) % 2, classes=(0, 1), ragged=ragged, width=2))


@pytest.mark.parametrize("kind", PEERS)
def test_fit__ragged_value_that_is_not_finite__names_the_row(arrays, fitted, kind):
    ragged = (np.arange(11), np.zeros(10, np.uint32), np.r_[np.ones(6), np.nan, np.ones(3)].astype(np.float32))
    with pytest.raises(BadInput, match="a value of row 6 is not finite"):
        fitted(NaiveBayes(kind=kind), arrays(y=np.arange(10) % 2, classes=(0, 1), ragged=ragged, width=2))


def test_fit__what_cannot_be_learned__is_refused_with_a_remedy(arrays, fitted):
    x, y = problem(50)
    with pytest.raises(BadInput, match=r"target 'y' has no classes.*Name a target"):
        fitted(NaiveBayes(), arrays(x, y.astype(float)))
    with pytest.raises(BadInput, match="there is no target"):
        fitted(NaiveBayes(), arrays(x))
    with pytest.raises(Refused, match=r"over 5005 columns; allowed: up to 4096\. Use kind"):
        fitted(NaiveBayes(), arrays(x, y, classes=names(3), slots=np.zeros((50, 1)), width=5000))
    with pytest.raises(BadInput, match="weight above 0"):
        fitted(NaiveBayes(), arrays(x, y, classes=names(3), weight=np.zeros(50)))
    with pytest.raises(BadInput, match=r"squares of column 'x1' overflow.*Divide"):
        fitted(NaiveBayes(), arrays(x * [1, 1e200, 1, 1, 1], y, classes=names(3)))
    with pytest.raises(BadInput, match="earlier model"):
        fitted(NaiveBayes(), arrays(x, y, classes=names(3)), start=fitted(NaiveBayes(), arrays(x, y, classes=names(3))).model)
    with pytest.raises(BadInput, match=r"priors: priors names the class 'z'; allowed: a, b, c"):
        fitted(NaiveBayes(priors={"z": 1}), arrays(x, y, classes=names(3)))
    with pytest.raises(BadInput, match="leaves out the class 'c'"):
        fitted(NaiveBayes(priors={"a": 1, "b": 1}), arrays(x, y, classes=names(3)))
    bare = arrays(x, y, classes=names(3))
    with pytest.raises(BadInput, match="encoder"):
        NaiveBayes().begin(Context(schema=replace(bare.schema, design=None), rows=50, shard_rows=50, batch_rows=50))


@pytest.mark.parametrize(
    "field",
    [{"kind": "cubic"}, {"alpha": 0.0}, {"alpha": np.nan}, {"var_smoothing": -1.0}, {"binarize": -0.5}, {"priors": "half"}, {"priors": {"a": -1.0}}, {"priors": {"a": 0.0}}],
)
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        NaiveBayes(**field)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multinomial", "complement"])
def test_laws__counts__all_hold(kind):
    """Rows of counts, which the made-up ones of the laws are not; the other kinds are held against the laws with all learners."""
    x, y = problem(530)
    rows = {f"x{j}": x[:, j] for j in range(5)} | {"town": [f"town {int(v)}" for v in x[:, 0]], "w": np.random.default_rng(2).integers(1, 4, 530) / 2, "y": y}
    learner = og.Then((og.Missing(), og.OneHot(), NaiveBayes(kind=kind)))
    report = check(learner, og.read(rows, target="y", weight="w"), only=[law for law in LAWS if law not in ("any_engine", "another_process")])
    assert report.ok, str(report)
