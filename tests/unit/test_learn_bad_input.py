"""Bad input, every learner against every case: the error that scikit-learn's users would expect, or the documented fallback and a finite model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier, SGDRegressor

import outgrow as og
from outgrow.core.combine import Then
from outgrow.core.errors import BadInput
from outgrow.learn.registry import PLACES
from outgrow.sklearn import SklearnChain

ROWS = 60
ENCODED, SCALED = (og.Missing(), og.OneHot()), (og.Missing(), og.Scale(), og.OneHot())
POINTS = ((0.0, 0.0), (1.0, 1.0))
SHORT = og.LogisticRegression(max_rounds=5)
# name: (target, features, learner). "none" learns without a target.
LEARNERS: dict[str, tuple[str, tuple[Any, ...], Any]] = {
    "Moments": ("none", ENCODED, og.Moments()),
    "LinearRegression": ("number", ENCODED, og.LinearRegression()),
    "LogisticRegression": ("two", SCALED, SHORT),
    "LogisticRegression, three classes": ("three", SCALED, SHORT),
    "BlockLinear, classes": ("two", SCALED, og.BlockLinear(max_sweeps=3, block_columns=1, block_slots=1)),
    "BlockLinear, number": ("number", SCALED, og.BlockLinear(loss="squared", max_sweeps=3, block_columns=1, block_slots=1)),
    "LinearSVM": ("two", SCALED, og.LinearSVM(max_rounds=5)),
    "KMeans": ("none", SCALED, og.KMeans(clusters=3)),
    "NaiveBayes, gaussian": ("two", ENCODED, og.NaiveBayes()),
    "NaiveBayes, multinomial": ("two", ENCODED, og.NaiveBayes(kind="multinomial")),
    "NaiveBayes, complement": ("two", ENCODED, og.NaiveBayes(kind="complement")),
    "NaiveBayes, bernoulli": ("two", ENCODED, og.NaiveBayes(kind="bernoulli")),
    "DiscriminantAnalysis, linear": ("two", ENCODED, og.DiscriminantAnalysis()),
    "DiscriminantAnalysis, quadratic": ("two", ENCODED, og.DiscriminantAnalysis(kind="quadratic")),
    "PCA": ("none", ENCODED, og.PCA(components=2)),
    "TruncatedSVD": ("none", ENCODED, og.TruncatedSVD(components=2)),
    "ICA": ("none", ENCODED, og.ICA(components=2)),
    "GaussianMixture": ("none", ENCODED, og.GaussianMixture(components=3)),
    "LocallyWeightedRegression": ("number", ENCODED, og.LocallyWeightedRegression(points=POINTS)),
    "NeuralNetwork, classes": ("two", SCALED, og.NeuralNetwork(hidden=(4,), epochs=2)),
    "NeuralNetwork, number": ("number", SCALED, og.NeuralNetwork(hidden=(4,), epochs=2)),
    "OnlineLinear, classes": ("two", (og.Hashing(bits=8),), og.OnlineLinear()),
    "OnlineLinear, number": ("number", (og.Hashing(bits=8),), og.OnlineLinear()),
    "GradientBoosting, classes": ("two", (og.OneHot(),), og.GradientBoosting(trees=3, leaves=4, min_rows=1)),
    "GradientBoosting, number": ("number", (og.OneHot(),), og.GradientBoosting(trees=3, leaves=4, min_rows=1)),
    "RandomForest, classes": ("two", (og.OneHot(),), og.RandomForest(trees=3, leaves=4)),
    "RandomForest, number": ("number", (og.OneHot(),), og.RandomForest(trees=3, leaves=4)),
    "TargetEncode": ("two", (og.Missing(), og.TargetEncode(folds=2), og.OneHot()), SHORT),
    "OneVsRest": ("three", SCALED, og.OneVsRest(SHORT)),
    "OneVsOne": ("three", SCALED, og.OneVsOne(SHORT)),
    "Segments": ("two", SCALED, og.Segments(SHORT, by="s", least=1)),
    "Bagging": ("two", (), og.Bagging(Then((*SCALED, SHORT)), parts=2)),
    "Stack": ("two", (og.Stack((("bayes", Then((*ENCODED, og.NaiveBayes()))),), folds=2),), SHORT),
    "SklearnChain, classes": ("two", SCALED, SklearnChain(estimator=SGDClassifier(loss="log_loss"))),
    "SklearnChain, number": ("number", SCALED, SklearnChain(estimator=SGDRegressor())),
}  # fmt: skip
CLASSES = tuple(name for name, (target, *_) in LEARNERS.items() if target in ("two", "three"))
TARGETS = tuple(name for name, (target, *_) in LEARNERS.items() if target != "none")


def table(name: str, rows: int = ROWS, **more: Any) -> dict[str, Any]:
    """Two columns that are no less than 0, and a target that they almost tell."""
    rng = np.random.default_rng(3)
    a, b = rng.exponential(size=rows), rng.exponential(size=rows)
    z = a - 0.5 * b + 0.3 * rng.normal(size=rows)
    target = LEARNERS[name][0]
    y = {"two": lambda: np.where(z > 0.3, "yes", "no"), "three": lambda: np.array(["low", "mid", "top"])[np.digitize(z, [0.0, 0.8])], "number": lambda: z}
    found = {"a": a, "b": b} | ({"y": y[target]()} if target != "none" else {})
    return found | ({"s": np.array(["u", "v"])[np.arange(rows) % 2]} if name == "Segments" else {}) | more


def fit(name: str, rows: dict[str, Any], *, features: Any = None, learner: Any = None, start: Any = None) -> Any:
    target, own, one = LEARNERS[name]
    task = {"number": "number", "none": None}.get(target, "classes")
    source = og.read(rows, target=None if target == "none" else "y", weight="w" if "w" in rows else None, task=task)
    made = og.plan(learner or one, source, features=own if features is None else features, on="serial", probe=False, shard_rows=20, batch_rows=16, start=start)
    return made.run().model


def asked(name: str, model: Any, rows: dict[str, Any]) -> None:
    """Predictions, where the learner gives any, are finite."""
    if name == "Moments":
        return
    if name == "LocallyWeightedRegression":
        rows = {column: np.array(POINTS)[:, k] for k, column in enumerate("ab")}
    for column in model.predict(rows).columns:
        values = column.to_numpy()
        assert values.dtype.kind != "f" or np.isfinite(values).all()


def fitted(name: str, rows: dict[str, Any], ask: dict[str, Any] | None = None, **named: Any) -> Any:
    """The model, which is finite, as are its predictions."""
    model = fit(name, rows, **named)
    wrong = [key for key, array in model.arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if name != "Moments":  # figures of what has no rows are unknown
        assert not wrong, wrong
    asked(name, model, ask or rows)
    return model


def one_class(name: str) -> None:
    fitted(name, table(name, y=np.full(ROWS, "no")))


def one_row(name: str) -> None:
    fitted(name, {column: values[:1] for column, values in table(name).items()})


def more_wanted_than_rows(name: str) -> None:
    """Two rows, of two classes: fewer than clusters, components and, of shares held out or folds, parts."""
    rows = {column: values[:2] for column, values in table(name).items()}
    fitted(name, rows | ({"y": np.unique(table(name)["y"])[:2]} if name in CLASSES else {}))


def shard_weighs_nothing(name: str) -> None:
    fitted(name, table(name, w=np.where(np.arange(ROWS) // 20 == 1, 0.0, 1.0)))


def shard_without_rows(name: str) -> None:
    """As a part whose rows are all in the last of three shards."""
    late, learner = np.where(np.arange(ROWS) < 40, "u", "v"), LEARNERS[name][2]
    whole = og.Segments(learner.learner if name == "Segments" else learner, by="s", least=1)
    fitted(name, table(name, s=late), learner=whole)


def nothing_weighs(name: str) -> None:
    fitted(name, table(name, w=np.zeros(ROWS)))


def class_weighs_nothing(name: str) -> None:
    rows = table(name)
    fitted(name, rows | {"y": np.where(np.arange(ROWS) % 9 == 0, "zzz", rows["y"]), "w": np.where(np.arange(ROWS) % 9 == 0, 0.0, 1.0)})


def dependent_columns(name: str) -> None:
    rows = table(name)
    fitted(name, rows | {"b": 2.0 * rows["a"]})


def constant_columns(name: str) -> None:
    fitted(name, table(name, a=np.full(ROWS, 0.1), b=np.full(ROWS, 3.0)))


def infinite(name: str) -> None:
    fitted(name, spoilt(table(name), np.inf))


def missing(name: str) -> None:
    """No feature has filled it in."""
    bare = tuple(feature for feature in LEARNERS[name][1] if not isinstance(feature, og.Missing))
    fitted(name, spoilt(table(name), np.nan), features=bare)


def huge(name: str) -> None:
    fitted(name, spoilt(table(name), 1e200))


def target_missing(name: str) -> None:
    y = table(name)["y"]
    y = np.where(np.arange(ROWS) == 7, np.nan, y) if LEARNERS[name][0] == "number" else np.where(np.arange(ROWS) == 7, None, y.astype(object))
    fitted(name, table(name, y=y))


def target_infinite(name: str) -> None:
    fitted(name, table(name, y=np.where(np.arange(ROWS) == 7, np.inf, table(name)["y"])))


def asks_infinite(name: str) -> None:
    model, rows = fit(name, table(name)), spoilt(table(name), np.inf)
    model.predict(rows)


def asks_unseen_category(name: str) -> None:
    rows = table(name, c=np.array(["p", "q", "r"])[np.arange(ROWS) * 7 % 11 % 3])
    new = rows | {"c": np.where(np.arange(ROWS) % 3 == 2, "new", rows["c"])} | ({"s": np.array(["u", "new"])[np.arange(ROWS) % 2]} if name == "Segments" else {})
    fitted(name, rows, ask=new)


def answers_of_another_type(name: str) -> None:
    rows = table(name)
    model = fit(name, rows)
    og.evaluate(model, rows | {"y": np.arange(ROWS) % 2 if LEARNERS[name][0] != "number" else np.where(rows["y"] > 0, "yes", "no")})


def answers_never_seen(name: str) -> None:
    rows = table(name)
    og.evaluate(fit(name, rows), rows | {"y": np.where(np.arange(ROWS) == 7, "new", rows["y"])})


def starts_from_other_labels(name: str) -> None:
    rows = table(name)
    values, numbers = np.unique(rows["y"], return_inverse=True)
    fitted(name, rows | {"y": numbers + 5}, start=fit(name, rows))
    assert len(values) > 1


def spoilt(rows: dict[str, Any], value: float) -> dict[str, Any]:
    return rows | {"a": np.where(np.arange(ROWS) == 7, value, rows["a"])}


@dataclass(frozen=True)
class Says:
    """A BadInput (a ValueError), with these words."""

    words: str


FINE = None
SINGLE = Says(r"target 'y': every row is .*: there is nothing to learn")
WEIGHTLESS = Says("weight: no row has a weight above 0")
OVERFLOW = Says(r"the squares of (column 'a'|the columns) overflow float64.* Divide")
UNCHANGING = Says("no column changes over the rows")
FEW_PLACES = Says("the rows take only 1 different places")
NOT_FULL = Says(r"shrinkage: the covariance of class 'no' is not full rank .*Raise shrinkage")
POINTS_OFF = Says(r"points have shape \(2, 2\), the rows . columns")
UNFILLED = Says(r"^(row 7, )?.*missing value in column 'a'.*Fill missing values first")
NONE = tuple(name for name in LEARNERS if name not in TARGETS)
COUNTS = ("NaiveBayes, multinomial", "NaiveBayes, complement", "NaiveBayes, bernoulli")
BOOSTED = ("GradientBoosting, classes", "GradientBoosting, number", "RandomForest, classes", "RandomForest, number")
NUMBERS = tuple(name for name in TARGETS if name not in CLASSES)
# case: (which learners, what most of them do, those that do otherwise). What does not refuse gives a finite model and finite predictions.
CASES: dict[Callable[[str], None], tuple[tuple[str, ...], Says | None, dict[str, Says | None]]] = {
    one_class: (CLASSES, SINGLE, {}),
    one_row: (
        tuple(LEARNERS),
        SINGLE,
        {
            "Moments": FINE,
            "KMeans": Says("1 rows are fewer than the 3 clusters"),
            "GaussianMixture": Says("1 rows are too few for a mixture of 3 components"),
            **dict.fromkeys(("PCA", "TruncatedSVD", "ICA"), Says(r"components: 2 .*min\(rows, columns\) = 1")),
        },
    ),
    more_wanted_than_rows: (
        tuple(LEARNERS),
        FINE,
        {
            "KMeans": Says("2 rows are fewer than the 3 clusters.*Ask for fewer"),
            "GaussianMixture": Says("2 rows are too few for a mixture of 3 components.*Ask for fewer"),
            "ICA": Says("only 1 of the columns are independent"),
            "DiscriminantAnalysis, linear": Says("no column changes within a class"),
            "DiscriminantAnalysis, quadratic": Says("class 'no' has rows of a weight of 1 alone, and a covariance needs more than 1 row"),
            "Segments": Says(r"one class alone: no \(in the part '0'\)"),
            "Bagging": WEIGHTLESS,  # a bag that drew no row
            "Stack": WEIGHTLESS,  # a fold without one
        },
    ),
    shard_weighs_nothing: (tuple(LEARNERS), FINE, {}),
    shard_without_rows: (
        tuple(LEARNERS),
        FINE,
        {"DiscriminantAnalysis, quadratic": NOT_FULL, "LocallyWeightedRegression": POINTS_OFF, "TargetEncode": WEIGHTLESS},  # the column of parts is a number behind it
    ),
    nothing_weighs: (
        tuple(LEARNERS),
        WEIGHTLESS,
        {"Moments": FINE, "LocallyWeightedRegression": Says("points: no row with a weight above 0 is near point 0"), "TargetEncode": Says("no row has weight")},
    ),
    class_weighs_nothing: (CLASSES, FINE, {}),
    dependent_columns: (tuple(LEARNERS), FINE, {"DiscriminantAnalysis, quadratic": NOT_FULL, "ICA": Says("only 1 of the columns are independent")}),
    constant_columns: (
        tuple(LEARNERS),
        FINE,
        {
            "KMeans": FEW_PLACES,
            "GaussianMixture": FEW_PLACES,
            "NaiveBayes, gaussian": UNCHANGING,
            "ICA": UNCHANGING,
            "Stack": UNCHANGING,  # its part is a gaussian naive Bayes
            "DiscriminantAnalysis, linear": Says("no column changes within a class"),
            "DiscriminantAnalysis, quadratic": Says("no column changes within class 'no'"),
        },
    ),
    infinite: (tuple(LEARNERS), Says("row 7, column 'a': the value is inf; allowed: finite numbers"), {}),
    missing: (
        tuple(LEARNERS),
        UNFILLED,
        {"Moments": FINE, **dict.fromkeys(("OnlineLinear, classes", "OnlineLinear, number", *BOOSTED), FINE), **dict.fromkeys(("Bagging", "Stack"), FINE)},  # filled in inside
    ),
    huge: (
        tuple(LEARNERS),
        OVERFLOW,
        {
            **dict.fromkeys(("OnlineLinear, classes", "OnlineLinear, number"), Says("row 7, column 'a': 1e[+]200 is too large for float32")),
            **dict.fromkeys((*COUNTS, *BOOSTED, "LocallyWeightedRegression"), FINE),  # no squares; the row is far from every point
        },
    ),
    target_missing: (TARGETS, Says("row 7: the target is missing"), {}),
    target_infinite: (NUMBERS, Says("row 7: the target is inf; allowed: finite numbers"), {}),
    asks_infinite: (tuple(LEARNERS), Says("row 3, column 'a': the value is inf|row 7, column 'a': the value is inf"), {}),
    asks_unseen_category: (tuple(LEARNERS), FINE, {"DiscriminantAnalysis, quadratic": NOT_FULL, "LocallyWeightedRegression": POINTS_OFF}),
    answers_of_another_type: (TARGETS, Says(r"the column 'y' is (int64|string) here, the model was trained with (category \(string\)|number \(double\))"), {}),
    answers_never_seen: (CLASSES, Says("row 7: the target is 'new', a class that was not there in training; allowed: '(no|low)'"), {}),
    starts_from_other_labels: (CLASSES, Says(r"target 'y': the model to start from was fitted on the classes '(no|low)'.*here they are 5, 6"), {}),
}
CELLS = [(case, name) for case, (names, _, _) in CASES.items() for name in names]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "name"), CELLS, ids=[f"{case.__name__}-{name}" for case, name in CELLS])
def test_every_learner__refuses_in_words_or_gives_a_finite_model(case: Callable[[str], None], name: str) -> None:
    _, usual, others = CASES[case]
    expected = others.get(name, usual)
    if expected is FINE:
        case(name)
        return
    with pytest.raises(BadInput, match=expected.words) as refused:
        case(name)
    assert isinstance(refused.value, ValueError)
    assert "nan" not in str(refused.value).lower().replace("nan or null", "")


def test_table__holds_every_learner_that_ships_and_every_exception_in_it_is_a_learner() -> None:
    features = {"Dates", "Hashing", "Interactions", "Missing", "OneHot", "RobustScale", "Scale", "Summary", "TfIdf"}  # and what predicts nothing: they have tests of their own
    together = {"Beside", "Fused", "Then"}  # theirs are the errors of their parts
    assert {name.partition(",")[0] for name in LEARNERS} == set(PLACES) - features - together
    assert all(set(others) <= set(names) for names, _, others in CASES.values())
