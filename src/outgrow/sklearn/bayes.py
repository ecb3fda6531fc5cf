"""Naive Bayes: one pass, and exact going on."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.state import State
from ..data.batch import Array
from .base import Chances, Classifier, estimator
from .fitting import Fitted

__all__ = ["BernoulliNB", "ComplementNB", "GaussianNB", "MultinomialNB", "named_priors"]


def named_priors(priors: Any, classes: Array) -> Any:
    """Shares in the order of the classes, as the learners name them; None stays None."""
    if priors is None or isinstance(priors, str):
        return priors
    shares = np.asarray(priors, np.float64)
    if len(shares) != len(classes):
        raise ValueError(f"Number of priors must match number of classes: {len(shares)} priors for {len(classes)} classes.")
    if not np.isclose(shares.sum(), 1.0) or (shares < 0).any():
        raise ValueError("The sum of the priors should be 1, and priors must be non-negative.")
    names = [int(name) if isinstance(name, float) else name if isinstance(name, int) else str(name) for name in classes.tolist()]
    return tuple(zip(names, shares.tolist(), strict=True))


def _shares(weight: npt.NDArray[np.float64], priors: Any) -> npt.NDArray[np.float64]:
    return np.array([share for _, share in priors]) if isinstance(priors, tuple) else weight / weight.sum()


@estimator
class _Bayes(Chances, Classifier):
    _learner: ClassVar[str] = "NaiveBayes"
    _onward = _goes_on = True
    _fewest = 1


@estimator
class GaussianNB(_Bayes):
    """Gaussian naive Bayes: the estimates of scikit-learn's."""

    priors: Any = None
    var_smoothing: float = 1e-9

    _fields: ClassVar[Any] = {"var_smoothing": "var_smoothing"}

    def _more_fields(self) -> dict[str, Any]:
        return {"kind": "gaussian", "priors": named_priors(self.priors, self.classes_)}

    def _set(self, arrays: State, found: Fitted) -> None:
        self.theta_, self.var_ = self._by_column(arrays["mean"]), self._by_column(arrays["variance"])
        self.class_count_ = arrays["weight"]
        self.class_prior_ = _shares(arrays["weight"], named_priors(self.priors, self.classes_))


@estimator
class _Counted(_Bayes):
    alpha: float = 1.0
    fit_prior: bool = True
    class_prior: Any = None

    _kind: ClassVar[str]
    _positive = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on columns that are no counts, as scikit-learn's
        return tags

    def _more_fields(self) -> dict[str, Any]:
        named = named_priors(self.class_prior, self.classes_)
        return {"kind": self._kind, "priors": named if self.fit_prior or named is not None else "uniform"}

    def _set(self, arrays: State, found: Fitted) -> None:
        self.class_count_ = arrays["weight"]
        self.feature_log_prob_ = self._weights(arrays)


@estimator
class MultinomialNB(_Counted):
    """Naive Bayes of counts: the estimates of scikit-learn's."""

    _kind = "multinomial"
    _fields: ClassVar[Any] = {"alpha": "alpha"}


@estimator
class ComplementNB(_Counted):
    """Naive Bayes of counts by the complement of a class (Rennie and others 2003): the estimates of scikit-learn's."""

    norm: bool = False

    _kind = "complement"
    _fields: ClassVar[Any] = {"alpha": "alpha", "norm": "norm"}


@estimator
class BernoulliNB(_Counted):
    """Naive Bayes of columns that are there or not: the estimates of scikit-learn's. binarize: None is 0."""

    binarize: float | None = 0.0

    _kind = "bernoulli"
    _fields: ClassVar[Any] = {"alpha": "alpha", "binarize": ("binarize", lambda value: 0.0 if value is None else value)}
    _positive = False

    def _set(self, arrays: State, found: Fitted) -> None:
        """The learner keeps log odds; the log probability of a column is log σ of them."""
        self.class_count_ = arrays["weight"]
        self.feature_log_prob_ = -np.logaddexp(0.0, -self._weights(arrays))
