"""Names of learners and features, and where they live: the only classes that a model file can bring to life."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from ..core.errors import BadField, BadFile

__all__ = ["COMMAND_NAMES", "FEATURE_NAMES", "PLACES", "feature_class", "learner_class", "resolver"]

PLACES = {
    "Stack": "outgrow.learn.stack",
    "Segments": "outgrow.learn.parts",
    "OneVsRest": "outgrow.learn.parts",
    "OneVsOne": "outgrow.learn.parts",
    "Bagging": "outgrow.learn.parts",
    "Beside": "outgrow.learn.beside",
    "Fused": "outgrow.learn.beside",
    "Then": "outgrow.core.combine",
    "TargetEncode": "outgrow.learn.target_encode",
    "TfIdf": "outgrow.learn.tf_idf",
    "Dates": "outgrow.data.features",
    "Hashing": "outgrow.data.features",
    "Interactions": "outgrow.data.features",
    "Missing": "outgrow.data.features",
    "OneHot": "outgrow.data.features",
    "RobustScale": "outgrow.data.features",
    "Scale": "outgrow.data.features",
    "BlockLinear": "outgrow.learn.block_linear",
    "DiscriminantAnalysis": "outgrow.learn.discriminant",
    "GaussianMixture": "outgrow.learn.mixture",
    "GradientBoosting": "outgrow.learn.trees.boosting",
    "ICA": "outgrow.learn.ica",
    "KMeans": "outgrow.learn.kmeans",
    "LinearRegression": "outgrow.learn.linear_regression",
    "LinearSVM": "outgrow.learn.linear_svm",
    "LocallyWeightedRegression": "outgrow.learn.local_regression",
    "LogisticRegression": "outgrow.learn.logistic_regression",
    "Moments": "outgrow.learn.moments",
    "NaiveBayes": "outgrow.learn.naive_bayes",
    "NeuralNetwork": "outgrow.learn.neural_network",
    "OnlineLinear": "outgrow.learn.online_linear",
    "PCA": "outgrow.learn.pca",
    "RandomForest": "outgrow.learn.trees.forest",
    "SklearnChain": "outgrow.learn.sklearn_chain",
    "Summary": "outgrow.learn.summary",
    "TruncatedSVD": "outgrow.learn.pca",
}

COMMAND_NAMES = {
    "block-linear": "BlockLinear",
    "discriminant-analysis": "DiscriminantAnalysis",
    "gaussian-mixture": "GaussianMixture",
    "gradient-boosting": "GradientBoosting",
    "ica": "ICA",
    "k-means": "KMeans",
    "linear-regression": "LinearRegression",
    "linear-svm": "LinearSVM",
    "locally-weighted-regression": "LocallyWeightedRegression",
    "logistic-regression": "LogisticRegression",
    "moments": "Moments",
    "naive-bayes": "NaiveBayes",
    "neural-network": "NeuralNetwork",
    "online-linear": "OnlineLinear",
    "pca": "PCA",
    "random-forest": "RandomForest",
    "summary": "Summary",
    "truncated-svd": "TruncatedSVD",
}

FEATURE_NAMES = {
    "dates": "Dates",
    "hashing": "Hashing",
    "interactions": "Interactions",
    "missing": "Missing",
    "one-hot": "OneHot",
    "robust-scale": "RobustScale",
    "scale": "Scale",
    "target-encode": "TargetEncode",
    "tf-idf": "TfIdf",
}


def feature_class(name: str) -> type:
    """The class behind a feature's name on the command line (``tf-idf``) or in Python (``TfIdf``)."""
    return _class("feature", name, FEATURE_NAMES)


def learner_class(name: str) -> type:
    """The class behind a name on the command line (``online-linear``) or in Python (``OnlineLinear``)."""
    return _class("learner", name, COMMAND_NAMES)


def _class(what: str, name: str, names: dict[str, str]) -> type:
    found = names.get(name, name)
    if found not in names.values():
        own = f"My{what.capitalize()}"
        raise BadField(f"there is no {what} {name!r}", where=what, allowed=f"{', '.join(names)}, or yours as mypkg:{own} or file.py:{own}")
    kind: type = getattr(import_module(PLACES[found]), found)
    return kind


def resolver(own: Iterable[type] = ()) -> Callable[[str], type]:
    """Gives the class for a type name in a model file: registered ones, and those passed in `own`; nothing is imported by the file's word."""
    passed = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in own}

    def resolve(name: str) -> type:
        if name in passed:
            return passed[name]
        if name not in PLACES:
            raise BadFile(f"the model is of type {name!r}, which is not one of outgrow's own", todo="Pass its class: og.load(path, learners=[…]), or --learner mypkg:MyLearner.")
        kind: type = getattr(import_module(PLACES[name]), name)
        return kind

    return resolve
