"""Bad input, every estimator beside scikit-learn's own: where theirs refuses, ours does, in their words; where ours refuses alone, the table says why."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn import cluster, decomposition, discriminant_analysis, ensemble, linear_model, mixture, naive_bayes, neural_network, preprocessing, svm

import outgrow.sklearn as face

ROWS = 40
# name: (what it learns: classes, a number, nothing; parameters; scikit-learn's own, None where it has none)
ESTIMATORS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "LinearRegression": ("number", {}, linear_model.LinearRegression),
    "LogisticRegression": ("classes", {}, linear_model.LogisticRegression),
    "BlockLinearClassifier": ("classes", {}, linear_model.LogisticRegression),
    "BlockLinearRegressor": ("number", {}, linear_model.Ridge),
    "LinearSVC": ("classes", {}, svm.LinearSVC),
    "OnlineLinearClassifier": ("classes", {}, linear_model.SGDClassifier),
    "OnlineLinearRegressor": ("number", {}, linear_model.SGDRegressor),
    "GaussianNB": ("classes", {}, naive_bayes.GaussianNB),
    "MultinomialNB": ("classes", {}, naive_bayes.MultinomialNB),
    "ComplementNB": ("classes", {}, naive_bayes.ComplementNB),
    "BernoulliNB": ("classes", {}, naive_bayes.BernoulliNB),
    "LinearDiscriminantAnalysis": ("classes", {}, discriminant_analysis.LinearDiscriminantAnalysis),
    "QuadraticDiscriminantAnalysis": ("classes", {}, discriminant_analysis.QuadraticDiscriminantAnalysis),
    "KMeans": ("nothing", {"n_clusters": 3}, cluster.KMeans),
    "GaussianMixture": ("nothing", {"n_components": 3}, mixture.GaussianMixture),
    "StandardScaler": ("nothing", {}, preprocessing.StandardScaler),
    "RobustScaler": ("nothing", {}, preprocessing.RobustScaler),
    "TargetEncoder": ("number", {}, preprocessing.TargetEncoder),
    "PCA": ("nothing", {"n_components": 2}, decomposition.PCA),
    "TruncatedSVD": ("nothing", {"n_components": 2}, decomposition.TruncatedSVD),
    "FastICA": ("nothing", {"n_components": 2}, decomposition.FastICA),
    "MLPClassifier": ("classes", {"max_iter": 5}, neural_network.MLPClassifier),
    "MLPRegressor": ("number", {"max_iter": 5}, neural_network.MLPRegressor),
    "GradientBoostingClassifier": ("classes", {"n_estimators": 3}, lambda n_estimators: ensemble.HistGradientBoostingClassifier(max_iter=n_estimators)),
    "GradientBoostingRegressor": ("number", {"n_estimators": 3}, lambda n_estimators: ensemble.HistGradientBoostingRegressor(max_iter=n_estimators)),
    "LocallyWeightedRegression": ("number", {}, None),
}
# case: what ours says, where it is refused. These are scikit-learn's words, estimators' names aside.
WORDS = {
    "one class": "NAME needs samples of at least 2 classes in the data, but the data contains only one class|covariance .* is not full rank",
    "one row": (
        r"NAME needs samples of at least 2 classes in the data, but the data contains only one class|n_samples=1 should be >= n_clusters=3|"
        r"Found array with 1 sample\(s\)|there is 1 row \(1 sample\), and a variance needs 2|min\(rows, columns\) = 1|number of samples is more than the number of classes"
    ),
    "no rows": r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of [12] is required",
    "two rows": r"n_samples=2 should be >= n_clusters=3|Expected n_samples >= n_components but got n_components = 3, n_samples = 2|only 1 of the columns are independent",
    "dependent columns": r"covariance .* is not full rank",
    "constant columns": r"no column changes|take only 1 different places|covariance .* is not full rank",
    "infinite": "Input (X )?contains infinity or a value too large for dtype",
    "missing": "Input X contains NaN",
    "target missing": "Input y contains NaN",
    "asks infinite": "Input (X )?contains infinity or a value too large for dtype",
    "asks other columns": "X has 2 features, but NAME is expecting 3 features as input",
    "nothing weighs": "Sample weights must contain at least one non-zero number",
    "other labels": r"The target label\(s\) \['a' 'b'\] in y do not exist in the initial classes \[0 1\]",
}
BOOSTED = ("GradientBoostingClassifier", "GradientBoostingRegressor")
# Where one refuses and the other does not, and why.
ALONE = {
    ("OnlineLinearClassifier", "missing"): "a missing value has a weight of its own",
    ("OnlineLinearRegressor", "missing"): "a missing value has a weight of its own",
    ("GaussianNB", "constant columns"): "every variance is 0: theirs divides by it, and gives a model of NaN or of chance",
    ("MultinomialNB", "other labels"): "theirs counts such rows for no class, without a word",
    ("ComplementNB", "other labels"): "theirs counts such rows for no class, without a word",
    ("BernoulliNB", "other labels"): "theirs counts such rows for no class, without a word",
    ("GaussianNB", "one row"): "a variance of one row is 0: theirs gives probabilities that are NaN",
    ("LinearDiscriminantAnalysis", "constant columns"): "no column can tell the classes apart; theirs gives the larger class to all",
    ("GaussianMixture", "constant columns"): "components of one place are one component; theirs warns of it",
    ("TruncatedSVD", "one row"): "there is one component in one row; theirs gives zeros for the second",
    ("FastICA", "two rows"): "there is one component in two rows; theirs gives zeros for the second",
    **{(name, case): "no source of outgrow's takes infinite values; theirs has a bin for them" for name in BOOSTED for case in ("infinite", "asks infinite")},
    ("GradientBoostingClassifier", "one class"): "trees of one class have nothing to learn, as for every other classifier",
    ("GradientBoostingClassifier", "one row"): "trees of one class have nothing to learn, as for every other classifier",
    ("MLPClassifier", "one class"): "a net of one class has nothing to learn, as for every other classifier",
    ("MLPClassifier", "one row"): "a net of one class has nothing to learn, as for every other classifier",
}


def cases(learns: str) -> Iterator[tuple[str, Any, Any, Any]]:
    """(case, X, y, X to ask for)."""
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(ROWS, 3)))
    y = {"classes": (x[:, 0] + 0.3 * rng.normal(size=ROWS) > 0.7).astype(int), "number": x @ [1.0, 2.0, 3.0], "nothing": None}[learns]

    def spoilt(value: float) -> Any:
        return np.where((np.arange(ROWS) == 3)[:, None] & (np.arange(3) == 1), value, x)

    if learns == "classes":
        yield "one class", x, np.zeros(ROWS, int), x
        yield "other labels", x, y, x
    if y is not None:
        yield "target missing", x, np.where(np.arange(ROWS) == 3, np.nan, y), x
    yield "one row", x[:1], None if y is None else y[:1], x
    yield "no rows", x[:0], None if y is None else y[:0], x
    if learns == "nothing":
        yield "two rows", x[:2], None, x
    twice = x[:, [0, 0, 2]]
    yield "dependent columns", twice, y, twice
    yield "constant columns", np.full_like(x, 0.1), y, x
    yield "infinite", spoilt(np.inf), y, x
    yield "missing", spoilt(np.nan), y, x
    yield "asks infinite", x, y, spoilt(np.inf)
    yield "asks other columns", x, y, x[:, :2]
    yield "nothing weighs", x, y, x


CELLS = [(name, case) for name, (learns, _, _) in ESTIMATORS.items() for case, *_ in cases(learns)]


def outcome(one: Any, learns: str, case: str) -> str | None:
    """The error, None where there is none and everything given is finite, "-" where this one cannot be asked for."""
    x, y, ask = next((x, y, ask) for name, x, y, ask in cases(learns) if name == case)
    named = () if y is None else (y,)
    try:
        if case == "nothing weighs":
            one.fit(x, *named, sample_weight=np.zeros(ROWS))
        elif case == "other labels":
            if not hasattr(one, "partial_fit"):
                return "-"
            one.partial_fit(x, y, classes=[0, 1])
            one.partial_fit(x, np.array(["a", "b"])[y])
        else:
            one.fit(x, *named)
        for ask_for in ("predict", "predict_proba", "transform"):
            found = getattr(one, ask_for)(ask) if hasattr(one, ask_for) else np.zeros(1)
            if found.dtype.kind == "f" and not np.isfinite(found).all():
                return f"{ask_for} is not finite"
    except TypeError as error:
        if "sample_weight" in str(error):
            return "-"
        raise
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("name", "case"), CELLS, ids=[f"{name}-{case}" for name, case in CELLS])
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::UserWarning")
def test_every_estimator__refuses_as_scikit_learn_does_or_gives_what_is_finite(name: str, case: str) -> None:
    learns, parameters, peer = ESTIMATORS[name]
    ours = outcome(getattr(face, name)(**parameters), learns, case)
    if ours not in (None, "-"):
        assert re.search(WORDS[case].replace("NAME", name), ours), ours
    if peer is None or ours == "-":
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = outcome(peer(**parameters), learns, case)
    if (name, case) in ALONE:
        assert (ours is None) != (theirs is None) or theirs == "predict_proba is not finite"
    elif theirs != "-":
        assert (ours is None) == (theirs is None), (ours, theirs)


def test_table__holds_every_estimator_and_the_reasons_are_told() -> None:
    assert set(ESTIMATORS) == set(face.__all__) - {"GradientBoostingRanker", "SklearnChain", "TfidfVectorizer"}  # its targets are labels; documents are no rows of numbers
    assert set(ALONE) <= set(CELLS)
    assert all(len(reason) > 20 for reason in ALONE.values())
