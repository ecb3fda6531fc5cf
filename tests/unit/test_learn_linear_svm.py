"""Linear SVM: scikit-learn's optimum, at any cut of the work."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.svm import LinearSVC as Peer

from outgrow.core.errors import BadField, BadInput
from outgrow.core.learner import Context
from outgrow.core.state import decode, encode, same
from outgrow.learn import linear_svm
from outgrow.learn.linear_svm import LinearSVM

TIGHT = {"tolerance": 1e-9, "max_rounds": 300}


def problem(n=2000, d=6, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ (np.eye(d) + 0.4 * rng.normal(size=(d, d))) + 0.5 * rng.normal(size=d)
    scores = x @ rng.normal(size=(d, classes)) / np.sqrt(d) + 0.5 * rng.gumbel(size=(n, classes))
    return x, scores.argmax(1).astype(np.int32)


def peer(x, y, l2=1.0, weight=None, **options):
    return Peer(C=1 / l2, tol=1e-12, dual=False, max_iter=10_000, **options).fit(x, y, weight)


def agree(model, found, tolerance=1e-6):
    np.testing.assert_allclose(np.concatenate([model["table"], model["dense"]]).T, found.coef_, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(model["intercept"], found.intercept_, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_fit__dense__reaches_the_optimum_of_scikit_learn(arrays, fitted, classes, intercept, weighted):
    x, y = problem(classes=classes)
    weight = np.random.default_rng(1).uniform(0, 3, len(y)) if weighted else None
    ours = fitted(LinearSVM(l2=0.5, intercept=intercept, **TIGHT), arrays(x, y, classes=range(classes), weight=weight))
    agree(ours.model, peer(x, y, 0.5, weight, fit_intercept=intercept))
    assert ours.record["passes"] <= 15


@pytest.mark.parametrize("scaling", [0.1, 30.0])
def test_fit__intercept_scaling__penalises_the_intercept_as_scikit_learn(arrays, fitted, scaling):
    x, y = problem(300)
    x = x + 3.0
    ours = fitted(LinearSVM(l2=20.0, intercept_scaling=scaling, **TIGHT), arrays(x, y, classes=(0, 1)))
    agree(ours.model, peer(x, y, 20.0, intercept_scaling=scaling))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.slow
def test_fit__slots_ragged_entries_and_dense_columns__narrow_and_wide_agree_with_scikit_learn(arrays, fitted, monkeypatch, classes, narrow):
    if not narrow:
        monkeypatch.setattr(linear_svm, "_NARROW", 10)
    rng, n, width = np.random.default_rng(3), 1500, 40
    x, y = problem(n, 3, classes)
    slots = rng.integers(0, width // 2, (n, 2)).astype(np.uint32)
    slots[:50, 1] = slots[:50, 0]  # the same slot twice in a row counts twice
    counts = rng.integers(0, 4, n)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ragged = (offsets, rng.integers(width // 2, width, offsets[-1]).astype(np.uint32), rng.normal(size=offsets[-1]).astype(np.float32))
    table = scipy.sparse.csr_matrix((ragged[2].astype(float), ragged[1], offsets), (n, width))
    for j in range(2):
        table = table + scipy.sparse.csr_matrix((np.ones(n), slots[:, j], np.arange(n + 1)), (n, width))
    ours = fitted(LinearSVM(tolerance=1e-10, max_rounds=500), arrays(x, y, classes=range(classes), slots=slots, width=width, ragged=ragged))
    agree(ours.model, peer(np.hstack([table.toarray(), x]), y))


def test_fit__class_weights__as_scikit_learn(arrays, fitted):
    x, y = problem(classes=3)
    source = arrays(x, y, classes=("a", "b", "c"))
    agree(fitted(LinearSVM(class_weight="balanced", **TIGHT), source).model, peer(x, y, class_weight="balanced"))
    agree(fitted(LinearSVM(class_weight={"a": 3, "c": 0.5}, **TIGHT), source).model, peer(x, y, class_weight={0: 3, 1: 1, 2: 0.5}))


def test_fit__columns_of_all_sizes__reaches_the_optimum_of_the_scaled_problem(arrays, fitted):
    x, y = problem()
    scale = np.logspace(-3, 3, x.shape[1])
    ours = fitted(LinearSVM(l2=0.0, **TIGHT), arrays(x * scale, y, classes=(0, 1)))
    exact = fitted(LinearSVM(l2=0.0, **TIGHT), arrays(x, y, classes=(0, 1)))
    np.testing.assert_allclose(ours.model["dense"][:, 0] * scale, exact.model["dense"][:, 0], rtol=1e-6)


def test_fit__separable_without_a_penalty__ends_with_every_row_outside_its_margin(arrays, fitted):
    x = np.concatenate([np.arange(20.0) - 25, np.arange(20.0) + 5])[:, None]
    ours = fitted(LinearSVM(l2=0.0, **TIGHT), arrays(x, (x[:, 0] > 0).astype(int), classes=(0, 1)))
    margins = np.where(x > 0, 1, -1) * (x @ ours.model["dense"] + ours.model["intercept"])
    assert margins.min() >= 1 - 1e-6


def test_fit__a_column_that_never_changes_and_one_twice__weights_stay_finite(arrays, fitted):
    x, y = problem()
    x = np.column_stack([x, x[:, 0], np.zeros(len(x))])
    ours = fitted(LinearSVM(**TIGHT), arrays(x, y, classes=(0, 1)))
    agree(ours.model, peer(x, y))
    free = fitted(LinearSVM(l2=0.0, **TIGHT), arrays(x, y, classes=(0, 1)))
    assert np.isfinite(free.model["dense"]).all()


@pytest.mark.parametrize("narrow", [True, False])
def test_fit__any_memory_layout_and_stopped_between_any_two_rounds__same_bits(arrays, fitted, monkeypatch, narrow):
    if not narrow:
        monkeypatch.setattr(linear_svm, "_NARROW", 3)
    x, y = problem(classes=3)

    class Stopped(LinearSVM):
        def tell(self, context, carry, closed):
            return decode(b"".join(bytes(part) for part in encode(super().tell(context, carry, closed))))[0]

    fields = {"class_weight": "balanced"}
    whole = fitted(LinearSVM(**fields), arrays(x, y, classes=range(3)))
    assert fitted(LinearSVM(**fields), arrays(x, y, classes=range(3), scramble=True)).digest == whole.digest
    assert same(fitted(Stopped(**fields), arrays(x, y, classes=range(3))).model, whole.model)


def test_fit__from_the_finished_model__is_done_after_one_pass(arrays, fitted):
    x, y = problem(classes=3)
    source = arrays(x, y, classes=range(3))
    first = fitted(LinearSVM(**TIGHT), source)
    again = fitted(LinearSVM(), source, start=first.model)
    assert again.record["passes"] == 1
    for name, array in first.model.items():
        np.testing.assert_allclose(again.model[name], array, rtol=0, atol=1e-15)


def test_predict__classes_by_name_and_scores__as_scikit_learn(arrays, fitted):
    x, y = problem(classes=3)
    ours = fitted(LinearSVM(**TIGHT), arrays(x, y, classes=("x", "y", "z"))).predict(arrays(x, y, classes=("x", "y", "z")))
    found = peer(x, np.array(["x", "y", "z"])[y])
    assert list(ours) == ["prediction", "score_x", "score_y", "score_z"]
    np.testing.assert_allclose(np.column_stack([ours[f"score_{c}"] for c in "xyz"]), found.decision_function(x), atol=1e-6)
    assert (ours["prediction"] == found.predict(x)).all()
    x, y = problem()
    two = fitted(LinearSVM(**TIGHT), arrays(x, y, classes=(False, True))).predict(arrays(x, y, classes=(False, True)))
    assert list(two) == ["prediction", "score"]
    assert two["prediction"].dtype == bool
    np.testing.assert_allclose(two["score"], peer(x, y).decision_function(x), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("warm", [True, False])
def test_fit__value_that_is_not_finite__names_column_row_and_remedy(arrays, fitted, value, warm):
    x, y = problem()
    good = fitted(LinearSVM(), arrays(x, y, classes=(0, 1)))
    x[1234, 5] = value
    with pytest.raises(BadInput, match=r"'x5', row 1234"):
        fitted(LinearSVM(), arrays(x, y, classes=(0, 1)), start=good.model if warm else None)
    with pytest.raises(BadInput, match=r"'x5', row 1234"):
        good.predict(arrays(x, y, classes=(0, 1)))


def test_fit__squares_that_overflow__refused_with_a_remedy(arrays, fitted):
    x, y = problem()
    x[0, 0] = 1e300
    with pytest.raises(BadInput, match=r"overflow float64.*Scale"):
        fitted(LinearSVM(), arrays(x, y, classes=(0, 1)))


def test_fit__one_class_one_row_or_no_weight__refused(arrays, fitted):
    x, y = problem()
    for weight in ("balanced", None):
        with pytest.raises(BadInput, match="one class alone: no"):
            fitted(LinearSVM(class_weight=weight), arrays(x, np.zeros_like(y), classes=("no", "yes")))
    with pytest.raises(BadInput, match="one class alone: no"):
        fitted(LinearSVM(), arrays(x[:1], np.zeros(1, np.int32), classes=("no", "yes")))
    with pytest.raises(BadInput, match="has the single class 'no'"):
        fitted(LinearSVM(), arrays(x, np.zeros_like(y), classes=("no",)))
    with pytest.raises(BadInput, match="has no classes"):
        fitted(LinearSVM(), arrays(x, y.astype(float)))
    with pytest.raises(BadInput, match="weight above 0"):
        fitted(LinearSVM(), arrays(x, y, classes=(0, 1), weight=np.zeros(len(y))))
    with pytest.raises(BadInput, match="model to start from"):
        fitted(LinearSVM(), arrays(x[:, :5], y, classes=(0, 1)), start=fitted(LinearSVM(), arrays(x, y, classes=(0, 1))).model)


@pytest.mark.parametrize(
    "field",
    [{"l2": -1.0}, {"l2": np.nan}, {"tolerance": 0.0}, {"max_rounds": 0}, {"intercept_scaling": 0.0}, {"intercept_scaling": np.inf}, {"class_weight": "even"},
     {"class_weight": {"a": -1}}, {"class_weight": {"a": np.inf}}],
)  # fmt: skip
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        LinearSVM(**field)


def test_fields__class_that_is_not_there__refused_by_name(arrays, fitted):
    x, y = problem()
    with pytest.raises(BadInput, match="class_weight names 'c'"):
        fitted(LinearSVM(class_weight={"c": 2.0}), arrays(x, y, classes=("a", "b")))


def test_ask__wide_weights__few_lanes(arrays):
    source = arrays(np.ones((100, 1)), np.arange(100) % 2, classes=(0, 1), slots=np.zeros((100, 1)), width=1 << 18)
    context = Context(schema=source.schema, rows=100, shard_rows=2, batch_rows=2)
    (asked,) = LinearSVM().ask(context, LinearSVM().begin(context))
    assert (asked.cover.kind, asked.cover.lanes) == ("chains", 16)

