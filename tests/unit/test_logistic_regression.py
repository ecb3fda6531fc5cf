"""Logistic regression: scikit-learn's optimum, at any cut of the work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression as Peer

from outgrow.core.errors import BadField, BadInput
from outgrow.core.learner import Context
from outgrow.core.rng import Permutation
from outgrow.core.state import decode, encode, same
from outgrow.learn.logistic_regression import LogisticRegression

TIGHT = {"tolerance": 1e-8, "max_rounds": 300}


def problem(n=3000, d=8, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ (np.eye(d) + 0.4 * rng.normal(size=(d, d))) + rng.normal(size=d)
    scores = x @ rng.normal(size=(d, classes)) / np.sqrt(d) + rng.gumbel(size=(n, classes))
    return x, scores.argmax(1).astype(np.int32)


def peer(x, y, l2=1.0, weight=None, **options):
    """Newton's method: the default solver stops at about 1e-7, where values no longer differ."""
    return Peer(C=1 / l2, tol=1e-10, solver="newton-cholesky", max_iter=200, **options).fit(x, y, weight)


def agree(model, found, tolerance=1e-6):
    np.testing.assert_allclose(np.concatenate([model["table"], model["dense"]]).T, found.coef_, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(model["intercept"], found.intercept_, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_fit__dense__reaches_the_optimum_of_scikit_learn(arrays, fitted, classes, intercept, weighted):
    x, y = problem(classes=classes)
    weight = np.random.default_rng(1).uniform(0, 3, len(y)) if weighted else None
    ours = fitted(LogisticRegression(l2=0.5, intercept=intercept, **TIGHT), arrays(x, y, classes=range(classes), weight=weight))
    agree(ours.model, peer(x, y, 0.5, weight, fit_intercept=intercept))
    assert ours.record["passes"] <= 40


@pytest.mark.parametrize("classes", [2, 3])
def test_fit__columns_scaled_from_a_thousandth_to_a_thousand__reaches_the_optimum_of_the_scaled_problem(arrays, fitted, classes):
    x, y = problem(classes=classes)
    scale = np.logspace(-3, 3, x.shape[1])
    ours = fitted(LogisticRegression(l2=0.0, **TIGHT), arrays(x * scale, y, classes=range(classes)))
    found = Peer(C=np.inf, tol=1e-9, max_iter=5000).fit(x, y)
    dense = ours.model["dense"].T * scale
    np.testing.assert_allclose(dense - dense.mean(0) * (classes > 2), found.coef_ - found.coef_.mean(0) * (classes > 2), rtol=1e-5, atol=1e-5)
    assert ours.record["passes"] <= 40


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("width", [40, 300])
@pytest.mark.slow
def test_fit__slots_ragged_entries_and_dense_columns__narrow_and_wide_agree_with_scikit_learn(arrays, fitted, classes, width):
    rng = np.random.default_rng(3)
    n = 1500
    x, y = problem(n, 3, classes)
    slots = rng.integers(0, width // 2, (n, 2)).astype(np.uint32)
    slots[:50, 1] = slots[:50, 0]  # the same slot twice in a row counts twice
    counts = rng.integers(0, 4, n)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ragged = (offsets, rng.integers(width // 2, width, offsets[-1]).astype(np.uint32), rng.normal(size=offsets[-1]).astype(np.float32))
    table = scipy.sparse.csr_matrix((ragged[2].astype(float), ragged[1], offsets), (n, width))
    for j in range(2):
        table = table + scipy.sparse.csr_matrix((np.ones(n), slots[:, j], np.arange(n + 1)), (n, width))
    ours = fitted(LogisticRegression(tolerance=1e-10, max_rounds=300), arrays(x, y, classes=range(classes), slots=slots, width=width, ragged=ragged))
    agree(ours.model, peer(np.hstack([table.toarray(), x]), y))


def test_fit__float32_columns__as_the_same_values_in_float64(arrays, fitted):
    x, y = problem()
    x = x.astype(np.float32)
    assert fitted(LogisticRegression(), arrays(x, y, classes=(0, 1))).digest == fitted(LogisticRegression(), arrays(x.astype(float), y, classes=(0, 1))).digest


@pytest.mark.parametrize("classes", [2, 3])
def test_fit__rare_class__starts_from_its_log_odds_and_reaches_the_same_optimum(arrays, fitted, classes):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(4000, 5))
    y = (x @ rng.normal(size=(5, classes)) + rng.gumbel(size=(4000, classes)) + np.eye(classes)[0] * 5).argmax(1)
    ours = fitted(LogisticRegression(tolerance=1e-10), arrays(x, y, classes=range(classes)))
    agree(ours.model, peer(x, y))
    assert ours.record["passes"] <= 15


def test_fit__feature_that_every_sampled_row_lacks__is_learned_all_the_same(arrays, fitted):
    x, y = problem(6400, 30)
    context = Context(schema=arrays(x, y, classes=(0, 1)).schema, rows=6400, shard_rows=6400, batch_rows=6400)
    stride = LogisticRegression()._sizes(context).stride(6400)
    assert stride > 1
    x[:, 3] = np.where((np.arange(6400) % 101 == 1) & (np.arange(6400) % 1024 % stride != 0), 1000.0, 0.0)
    ours = fitted(LogisticRegression(tolerance=1e-10), arrays(x, y, classes=(0, 1)), shard_rows=6400, batch_rows=6400)
    agree(ours.model, peer(x, y))
    assert ours.record["passes"] <= 80


def test_fit__class_weights__as_scikit_learn(arrays, fitted):
    x, y = problem(classes=3)
    source = arrays(x, y, classes=("a", "b", "c"))
    agree(fitted(LogisticRegression(class_weight="balanced", **TIGHT), source).model, peer(x, y, class_weight="balanced"))
    agree(fitted(LogisticRegression(class_weight={"a": 3, "c": 0.5}, **TIGHT), source).model, peer(x, y, class_weight={0: 3, 1: 1, 2: 0.5}))


def test_fit__any_memory_layout__same_bits(arrays, fitted):
    x, y = problem(classes=3)
    digests = {fitted(LogisticRegression(), arrays(x.astype(t), y, classes=range(3), scramble=s)).digest for s in (True, False) for t in (np.float64,)}
    assert len(digests) == 1


def test_fit__stopped_between_any_two_rounds__same_bits(arrays, fitted):
    x, y = problem(classes=3)

    class Stopped(LogisticRegression):
        def tell(self, context, carry, closed):
            return decode(b"".join(bytes(part) for part in encode(super().tell(context, carry, closed))))[0]

    fields = {"validation": 0.2, "class_weight": "balanced"}
    source = arrays(x, y, classes=range(3))
    assert same(fitted(LogisticRegression(**fields), source).model, fitted(Stopped(**fields), source).model)


def test_fit__from_the_finished_model__is_done_after_one_pass(arrays, fitted):
    x, y = problem(classes=3)
    source = arrays(x, y, classes=range(3))
    first = fitted(LogisticRegression(), source)
    again = fitted(LogisticRegression(), source, start=first.model)
    assert again.record["passes"] == 1
    for name, array in first.model.items():
        np.testing.assert_allclose(again.model[name], array, rtol=0, atol=1e-15)


def test_fit__validation_split__keeps_the_weights_of_the_lowest_held_out_loss(arrays, fitted):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 90))
    y = (x[:, 0] + rng.logistic(size=1000) > 0).astype(np.int32)
    source = arrays(x, y, classes=(0, 1))
    learner = LogisticRegression(l2=0.0, tolerance=1e-10, validation=0.25, patience=3, max_rounds=500)
    seen = []

    class Watched(LogisticRegression):
        def tell(self, context, carry, closed):
            carry = super().tell(context, carry, closed)
            seen.append(self.facts(context, carry)["held_loss"])
            return carry

    fields = {f: getattr(learner, f) for f in learner.__dataclass_fields__}
    ours = fitted(Watched(**fields), source)
    assert ours.record["rounds"] < 60
    assert min(seen) < seen[0]
    assert seen[-1] == min(seen)
    held = Permutation(1000, seed=0, purpose="split").forward(np.arange(1000)) < 250
    z = x[held] @ ours.model["dense"][:, 0] + ours.model["intercept"][0]
    assert np.logaddexp(0, np.where(y[held] == 1, -z, z)).mean() == pytest.approx(seen[-1])


def test_predict__classes_by_name_and_probabilities__as_scikit_learn(arrays, fitted):
    x, y = problem(classes=3)
    ours = fitted(LogisticRegression(**TIGHT), arrays(x, y, classes=("x", "y", "z"))).predict(arrays(x, y, classes=("x", "y", "z")))
    found = peer(x, np.array(["x", "y", "z"])[y])
    assert list(ours) == ["prediction", "probability_x", "probability_y", "probability_z"]
    np.testing.assert_allclose(np.column_stack([ours[f"probability_{c}"] for c in "xyz"]), found.predict_proba(x), atol=1e-6)
    assert (ours["prediction"] == found.predict(x)).mean() > 0.999
    x, y = problem()
    two = fitted(LogisticRegression(**TIGHT), arrays(x, y, classes=(False, True))).predict(arrays(x, y, classes=(False, True)))
    assert list(two) == ["prediction", "probability"]
    assert two["prediction"].dtype == bool
    np.testing.assert_allclose(two["probability"], peer(x, y).predict_proba(x)[:, 1], atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit__value_that_is_not_finite__names_column_row_and_remedy(arrays, fitted, value):
    x, y = problem()
    x[1234, 5] = value
    with pytest.raises(BadInput, match=r"'x5', row 1234"):
        fitted(LogisticRegression(), arrays(x, y, classes=(0, 1)))
    good = fitted(LogisticRegression(), arrays(x[:1000], y[:1000], classes=(0, 1)))
    with pytest.raises(BadInput, match=r"'x5', row 1234"):
        good.predict(arrays(x, y, classes=(0, 1)))


def test_fit__one_class__refused(arrays, fitted):
    x, y = problem()
    with pytest.raises(BadInput, match="one class alone: no"):
        fitted(LogisticRegression(), arrays(x, np.zeros_like(y), classes=("no", "yes")))
    with pytest.raises(BadInput, match="has the single class 'no'"):
        fitted(LogisticRegression(), arrays(x, np.zeros_like(y), classes=("no",)))
    with pytest.raises(BadInput, match="has no classes"):
        fitted(LogisticRegression(), arrays(x, y.astype(float)))


def test_fit__start_of_another_shape__refused(arrays, fitted):
    x, y = problem()
    model = fitted(LogisticRegression(), arrays(x, y, classes=(0, 1))).model
    with pytest.raises(BadInput, match="model to start from"):
        fitted(LogisticRegression(), arrays(x[:, :5], y, classes=(0, 1)), start=model)


@pytest.mark.parametrize("field", [
    {"l2": -1.0}, {"l2": np.nan}, {"tolerance": 0.0}, {"max_rounds": 0}, {"validation": 1.0}, {"patience": 0}, {"class_weight": "even"}, {"class_weight": {"a": -1}},
])
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        LogisticRegression(**field)


def test_ask__wide_weights__few_lanes(arrays):
    source = arrays(np.ones((100, 1)), np.arange(100) % 2, classes=(0, 1), slots=np.zeros((100, 1)), width=1 << 18)
    context = Context(schema=source.schema, rows=100, shard_rows=2, batch_rows=2)
    (asked,) = LogisticRegression().ask(context, LogisticRegression().begin(context))
    assert (asked.cover.kind, asked.cover.lanes) == ("chains", 16)
    narrow = replace(context, schema=arrays(np.ones((9, 1)), np.arange(9) % 2, classes=(0, 1)).schema)
    assert LogisticRegression().ask(narrow, LogisticRegression().begin(narrow))[0].cover.kind == "shards"


@pytest.mark.slow
def test_sums__a_wide_table__no_block_of_rows_times_columns(monkeypatch):
    import outgrow as og
    from outgrow.learn import logistic_sums

    monkeypatch.setattr(logistic_sums, "_Sample", lambda sizes: pytest.fail("a dense block for a wide table"))
    rows = {"t": np.array(["a b", "b c", "c d", "d a"] * 9), "y": np.array(["p", "p", "n", "n"] * 9)}
    run = og.plan("logistic-regression", og.read(rows, target="y", kinds={"t": "text"}), probe=False, on="serial").run()
    assert og.evaluate(run.model, {"t": np.array(["a b", "c d"]), "y": np.array(["p", "n"])})["accuracy"] == 1


@pytest.mark.parametrize("classes", [2, 100])
def test_classes_of_one_size__the_prior_is_0__and_it_ends(arrays, fitted, classes):
    x = np.random.default_rng(0).normal(size=(400, 150))
    source = arrays(x, np.arange(400, dtype=np.int32) % classes, classes=tuple(range(classes)))
    assert fitted(LogisticRegression(max_rounds=2), source).model["intercept"].shape == (1 if classes == 2 else classes,)
