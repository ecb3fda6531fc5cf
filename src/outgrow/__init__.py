"""outgrow: machine learning that outgrows one machine.

    import outgrow as og
    flights = og.read("flights/*.parquet", target="late")
    plan = og.plan(og.OnlineLinear(loss="logistic"), flights, memory="1GB")
    print(plan)
    model = plan.run().model

Everything here is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PLACES = {
    "read": "outgrow.data.source",
    "plan": "outgrow.plan.plan",
    "evaluate": "outgrow.plan.score",
    "predict": "outgrow.plan.score",
    "check": "outgrow.check.check",
    "explained": "outgrow.learn.trees.explained",
    "export": "outgrow.learn.trees.interchange.faces",
    "import_model": "outgrow.learn.trees.interchange.faces",
    "Model": "outgrow.data.model",
    "Fold": "outgrow.core.learner",
    "Learner": "outgrow.core.learner",
    "Feature": "outgrow.core.learner",
    "Pass": "outgrow.core.learner",
    "Cover": "outgrow.core.learner",
    "Rows": "outgrow.core.learner",
    "Traits": "outgrow.core.learner",
    "Context": "outgrow.core.learner",
    "BadField": "outgrow.core.errors",
    "BadInput": "outgrow.core.errors",
    "OutgrowError": "outgrow.core.errors",
    "Refused": "outgrow.core.errors",
    "Online": "outgrow.learn.online_one",
}

_LEARNERS = (
    "Bagging", "Beside", "BlockLinear", "Dates", "DiscriminantAnalysis", "Fused", "GaussianMixture", "GradientBoosting", "Hashing", "ICA",
    "Interactions", "KMeans", "LinearRegression", "LinearSVM", "LocallyWeightedRegression", "LogisticRegression", "Missing",
    "Moments", "NaiveBayes", "NeuralNetwork", "OneHot", "OneVsOne", "OneVsRest", "OnlineLinear", "PCA", "RandomForest", "RobustScale", "Scale",
    "Segments", "Stack", "Summary", "TargetEncode", "TfIdf", "Then", "TruncatedSVD",
)  # fmt: skip

__all__ = [  # frozen by a test: a change is a decision
    "ICA",
    "PCA",
    "BadField",
    "BadInput",
    "Bagging",
    "Beside",
    "BlockLinear",
    "Context",
    "Cover",
    "Dates",
    "DiscriminantAnalysis",
    "Feature",
    "Fold",
    "Fused",
    "GaussianMixture",
    "GradientBoosting",
    "Hashing",
    "Interactions",
    "KMeans",
    "Learner",
    "LinearRegression",
    "LinearSVM",
    "LocallyWeightedRegression",
    "LogisticRegression",
    "Missing",
    "Model",
    "Moments",
    "NaiveBayes",
    "NeuralNetwork",
    "OneHot",
    "OneVsOne",
    "OneVsRest",
    "Online",
    "OnlineLinear",
    "OutgrowError",
    "Pass",
    "RandomForest",
    "Refused",
    "RobustScale",
    "Rows",
    "Scale",
    "Segments",
    "Stack",
    "Summary",
    "TargetEncode",
    "TfIdf",
    "Then",
    "Traits",
    "TruncatedSVD",
    "check",
    "evaluate",
    "explained",
    "export",
    "import_model",
    "load",
    "plan",
    "predict",
    "read",
]

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .check.check import check
    from .core.combine import Then
    from .core.errors import BadField, BadInput, OutgrowError, Refused
    from .core.learner import Context, Cover, Feature, Fold, Learner, Pass, Rows, Traits
    from .data.features import Dates, Hashing, Interactions, Missing, OneHot, RobustScale, Scale
    from .data.model import Model
    from .data.source import read
    from .learn.beside import Beside, Fused
    from .learn.block_linear import BlockLinear
    from .learn.discriminant import DiscriminantAnalysis
    from .learn.ica import ICA
    from .learn.kmeans import KMeans
    from .learn.linear_regression import LinearRegression
    from .learn.linear_svm import LinearSVM
    from .learn.local_regression import LocallyWeightedRegression
    from .learn.logistic_regression import LogisticRegression
    from .learn.mixture import GaussianMixture
    from .learn.moments import Moments
    from .learn.naive_bayes import NaiveBayes
    from .learn.neural_network import NeuralNetwork
    from .learn.online_linear import OnlineLinear
    from .learn.online_one import Online
    from .learn.parts import Bagging, OneVsOne, OneVsRest, Segments
    from .learn.pca import PCA, TruncatedSVD
    from .learn.stack import Stack
    from .learn.summary import Summary
    from .learn.target_encode import TargetEncode
    from .learn.tf_idf import TfIdf
    from .learn.trees.boosting import GradientBoosting
    from .learn.trees.explained import explained
    from .learn.trees.forest import RandomForest
    from .learn.trees.interchange.faces import export, import_model
    from .plan.plan import plan
    from .plan.score import evaluate, predict


def load(path: Path | str, learners: Iterable[type] = ()) -> Model:
    """Read a model file. Runs no code from it; `learners` are your own classes it may name.

    Raises BadInput where there is no file, BadFile where it is damaged, hostile, or of another format.
    """
    from .data.model import open_model
    from .learn.registry import resolver

    return open_model(path, resolver(learners))


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    if name in _LEARNERS:
        from .learn.registry import PLACES

        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'outgrow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
