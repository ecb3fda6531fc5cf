"""Models made of parts: beside scikit-learn where it has the same, and each part beside the learner on its own rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LinearRegression as TheirLine
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier

import outgrow as og
from outgrow.core.errors import BadField, BadInput
from outgrow.core.state import digest, under

LOGISTIC = og.LogisticRegression(l2=0.01, tolerance=1e-10)


def fitted(learner: Any, source: Any, **options: Any) -> Any:
    return og.plan(learner, source, on="serial", probe=False, **options).run().model


def iris() -> Any:
    x, y = load_iris(return_X_y=True)
    return x, y, og.read(x, target=y, task="classes")


def test_one_vs_rest__is_a_model_a_class_side_by_side() -> None:
    x, y, source = iris()
    ours = fitted(og.Then((og.OneHot(), og.OneVsRest(LOGISTIC))), source)
    theirs = OneVsRestClassifier(Theirs(C=1 / 0.01, tol=1e-10, max_iter=10_000)).fit(x, y)
    found = ours.predict(x)
    chances = np.stack([found[f"probability_{k}"].to_numpy() for k in range(3)], axis=1)
    assert np.array_equal(found["prediction"].to_numpy(), theirs.predict(x))
    assert np.abs(chances - theirs.predict_proba(x)).max() < 1e-4
    alone = fitted(og.Then((og.OneHot(), LOGISTIC)), og.read(x, target=(y == 1), task="binary"))
    assert digest(under("1/1", ours.arrays)) == digest(under("1", alone.arrays))


def test_one_vs_one__votes_as_scikit_learn_does() -> None:
    x, y, source = iris()
    ours = fitted(og.Then((og.OneHot(), og.OneVsOne(og.LinearSVM()))), source).predict(x)
    assert (ours["prediction"].to_numpy() == y).mean() > 0.95
    ours = fitted(og.Then((og.OneHot(), og.OneVsOne(LOGISTIC))), source).predict(x)
    theirs = OneVsOneClassifier(Theirs(C=1 / 0.01, tol=1e-10, max_iter=10_000)).fit(x, y)
    assert (ours["prediction"].to_numpy() == theirs.predict(x)).mean() > 0.98


def segments(rows: int = 900) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    x, side = rng.normal(size=rows), rng.choice(["east", "north", "west"], rows, p=[0.5, 0.45, 0.05])
    slope = {"east": 1.0, "north": -2.0, "west": 5.0}
    return {"x": x, "side": side.tolist(), "y": np.array([slope[s] for s in side]) * x + 0.1 * rng.normal(size=rows)}


def test_segments__each_is_the_model_of_its_own_rows_and_the_rest_have_one_of_all() -> None:
    data = segments()
    x, y, side = data["x"], data["y"], np.array(data["side"])
    model = fitted(og.Segments(og.Then((og.OneHot(), og.LinearRegression(l2=1e-9))), by="side", least=100), og.read(data, target="y", drop=[], task="number"))
    new = {"x": [1.0, 1.0, 1.0, 1.0], "side": ["east", "north", "west", "south"]}
    found = model.predict(new)["prediction"].to_numpy()
    for k, name in enumerate(("east", "north")):
        line = TheirLine().fit(x[side == name, None], y[side == name])
        assert found[k] == pytest.approx(line.predict([[1.0]])[0], rel=1e-6)
    assert found[2] != found[3] or abs(found[2] - found[0]) > 0.1  # too few rows, and never seen: both by the model of all rows


def test_segments__beyond_most__are_refused_by_name() -> None:
    source = og.read({"k": np.arange(50), "x": np.arange(50.0), "y": np.arange(50.0)}, target="y", task="number")
    with pytest.raises(BadInput, match="over 10 values"):
        fitted(og.Segments(og.Then((og.OneHot(), og.LinearRegression())), by="k", most=10), source)
    with pytest.raises(BadInput, match="'nothing'"):
        fitted(og.Segments(og.Then((og.OneHot(), og.LinearRegression())), by="nothing"), source)


def test_segments__of_a_single_class__name_the_part() -> None:
    source = og.read({"k": ["a"] * 150 + ["b"] * 150, "x": np.arange(300.0), "y": [0] * 150 + [0, 1] * 75}, target="y", task="binary")
    with pytest.raises(BadInput, match=r"in the part '0'"):
        fitted(og.Then((og.OneHot(), og.Segments(og.LogisticRegression(), by="k"))), source)


def test_bagging__counts_rows_as_weights__and_averages() -> None:
    x, y, source = iris()
    model = fitted(og.Then((og.OneHot(), og.Bagging(LOGISTIC, parts=7))), source)
    found = model.predict(x)
    assert (found["prediction"].to_numpy() == y).mean() > 0.95
    parts = {digest(under(f"1/{part}", model.arrays)) for part in range(7)}
    assert len(parts) == 7
    chances = np.stack([found[f"probability_{k}"].to_numpy() for k in range(3)])
    assert chances.sum(axis=0) == pytest.approx(1.0)


def test_bagging__a_bag_is_the_learner_on_its_counts() -> None:
    from outgrow.learn.views import Bag

    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    source = og.read({"x": x, "y": 2 * x + rng.normal(size=500)}, target="y", task="number")
    batch = next(iter(source.read(0, 500, 500)))
    seen = Bag(3, 0).batch(batch)
    assert 0.55 < seen.rows / 500 < 0.72  # 1 - 1/e of the rows are in a bag
    assert seen.weight.mean() * seen.rows / 500 == pytest.approx(1.0, abs=0.12)
    line = TheirLine().fit(seen.matrix(["x"]), seen.target, seen.weight)
    model = fitted(og.Bagging(og.Then((og.OneHot(), og.LinearRegression(l2=1e-12))), parts=4), source)
    assert model.learner.learner.predict(under("3", model.arrays), batch)["prediction"] == pytest.approx(line.predict(x[:, None]), rel=1e-6)


def test_bagging__of_some_columns__reads_no_others() -> None:
    x, y = load_digits(return_X_y=True)
    source = og.read(x, target=y, task="classes")
    model = fitted(og.Bagging(og.Then((og.Missing(), og.OneHot(), og.NaiveBayes())), parts=5, columns=0.3), source)
    assert (model.predict(x)["prediction"].to_numpy() == y).mean() > 0.6
    with pytest.raises(BadInput, match="Put the features inside"):
        fitted(og.Then((og.OneHot(), og.Bagging(og.NaiveBayes(), columns=0.3))), source)


def test_stack__rows_are_predicted_by_models_that_never_saw_them() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(400, 60))
    y = rng.integers(0, 2, 400)
    source = og.read(noise, target=y, task="binary")
    over = og.Then((og.OneHot(), og.LogisticRegression(l2=1e-6)))
    model = fitted(og.Then((og.Stack((("over", over),)), og.LogisticRegression())), source)
    within = fitted(over, source).predict(noise)["probability"].to_numpy()
    fooled = fitted(og.Then((og.OneHot(), og.LogisticRegression())), og.read({"p": within, "y": y}, target="y", task="binary"))
    assert fooled.arrays["1/dense"][0, 0] > 2.0  # what sixty columns of noise say of rows they were fitted on seems to tell much
    assert model.arrays["1/dense"][0, 0] < 0.5  # of rows they never saw, nothing


def test_stack__of_two__is_no_worse_than_either() -> None:
    x, y, source = iris()
    parts = (("bayes", og.Then((og.OneHot(), og.NaiveBayes()))), ("line", og.Then((og.OneHot(), LOGISTIC))))
    model = fitted(og.Then((og.Stack(parts, folds=3), og.LogisticRegression(l2=1e-3))), source)
    assert (model.predict(x)["prediction"].to_numpy() == y).mean() > 0.96


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: og.Bagging(LOGISTIC, parts=0), "parts"),
        (lambda: og.Bagging(LOGISTIC, columns=float("nan")), "columns"),
        (lambda: og.Segments(LOGISTIC), "by"),
        (lambda: og.Segments(LOGISTIC, by="x", least=0), "least"),
        (lambda: og.OneVsRest("logistic"), "learner"),
        (lambda: og.Stack(()), "parts"),
        (lambda: og.Stack((("a", LOGISTIC),), folds=1), "folds"),
    ],
)
def test_fields__out_of_range__are_refused_by_name(make: Any, said: str) -> None:
    with pytest.raises(BadField, match=said):
        make()


LAWS = ("any_split_any_order", "state_is_its_own", "resume_between_rounds", "model_survives_its_file", "predict_by_any_batch", "predictions_are_finite", "weights_count")


@pytest.mark.slow
@pytest.mark.parametrize(
    "learner",
    [
        og.OneVsRest(og.LogisticRegression(max_rounds=2)),
        og.Bagging(og.LogisticRegression(max_rounds=2), parts=2),
        og.Then((og.Missing(), og.OneHot(), og.Segments(og.LogisticRegression(max_rounds=2), by="d", least=20))),
        og.Then((og.Stack((("a", og.Then((og.Missing(), og.OneHot(), og.NaiveBayes()))),), folds=2), og.LogisticRegression(max_rounds=2))),
    ],
    ids=["one vs rest", "bagging", "segments", "stack"],
)
def test_laws__hold(learner: Any) -> None:
    report = og.check(learner, only=LAWS)
    assert report.ok, str(report)
