"""scikit-learn's face: an estimator for every learner, with scikit-learn's habits and outgrow's promises.

    from outgrow.sklearn import LogisticRegression
    model = LogisticRegression(C=10, on="processes:4").fit(X, y)

Needs the extra ``outgrow[sklearn]``. Parameters keep scikit-learn's names where they mean the same; ``on`` and ``memory`` are those of
`outgrow.plan`. A fitted estimator holds its ``model_``, an outgrow `Model`, whose digest is that of the same fit by `outgrow.plan`.
Everything here is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..learn.sklearn_chain import SklearnChain
    from .bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
    from .categories import TargetEncoder
    from .clusters import GaussianMixture, KMeans
    from .components import PCA, FastICA, RobustScaler, StandardScaler, TruncatedSVD
    from .discriminant import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
    from .linear import BlockLinearClassifier, BlockLinearRegressor, LinearRegression, LinearSVC, LogisticRegression
    from .local import LocallyWeightedRegression
    from .networks import MLPClassifier, MLPRegressor
    from .online import OnlineLinearClassifier, OnlineLinearRegressor
    from .trees import GradientBoostingClassifier, GradientBoostingRanker, GradientBoostingRegressor
    from .words import TfidfVectorizer

_PLACES = {
    "BernoulliNB": "bayes",
    "BlockLinearClassifier": "linear",
    "BlockLinearRegressor": "linear",
    "ComplementNB": "bayes",
    "FastICA": "components",
    "GaussianMixture": "clusters",
    "GaussianNB": "bayes",
    "GradientBoostingClassifier": "trees",
    "GradientBoostingRanker": "trees",
    "GradientBoostingRegressor": "trees",
    "KMeans": "clusters",
    "LinearDiscriminantAnalysis": "discriminant",
    "LinearRegression": "linear",
    "LinearSVC": "linear",
    "LocallyWeightedRegression": "local",
    "LogisticRegression": "linear",
    "MLPClassifier": "networks",
    "MLPRegressor": "networks",
    "MultinomialNB": "bayes",
    "OnlineLinearClassifier": "online",
    "OnlineLinearRegressor": "online",
    "PCA": "components",
    "QuadraticDiscriminantAnalysis": "discriminant",
    "RobustScaler": "components",
    "StandardScaler": "components",
    "TargetEncoder": "categories",
    "TfidfVectorizer": "words",
    "TruncatedSVD": "components",
}

__all__ = [
    "PCA",
    "BernoulliNB",
    "BlockLinearClassifier",
    "BlockLinearRegressor",
    "ComplementNB",
    "FastICA",
    "GaussianMixture",
    "GaussianNB",
    "GradientBoostingClassifier",
    "GradientBoostingRanker",
    "GradientBoostingRegressor",
    "KMeans",
    "LinearDiscriminantAnalysis",
    "LinearRegression",
    "LinearSVC",
    "LocallyWeightedRegression",
    "LogisticRegression",
    "MLPClassifier",
    "MLPRegressor",
    "MultinomialNB",
    "OnlineLinearClassifier",
    "OnlineLinearRegressor",
    "QuadraticDiscriminantAnalysis",
    "RobustScaler",
    "SklearnChain",
    "StandardScaler",
    "TargetEncoder",
    "TfidfVectorizer",
    "TruncatedSVD",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f".{_PLACES[name]}", __name__), name)
    if name == "SklearnChain":
        from ..learn.sklearn_chain import SklearnChain

        return SklearnChain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
