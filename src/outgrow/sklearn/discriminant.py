"""Gaussian discriminant analysis, linear and quadratic."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..core.state import State
from .base import F64, Chances, Classifier, estimator
from .bayes import named_priors
from .fitting import Fitted
from .linear import margins_of

__all__ = ["LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"]


@estimator
class _Discriminant(Chances, Classifier):
    shrinkage: float | None = None
    priors: Any = None

    _learner: ClassVar[str] = "DiscriminantAnalysis"
    _fields: ClassVar[Any] = {"shrinkage": ("shrinkage", lambda value: 0.0 if value is None else value)}
    _kind: ClassVar[str]
    _onward = _goes_on = True

    def _more_fields(self) -> dict[str, Any]:
        return {"kind": self._kind, "priors": named_priors(self.priors, self.classes_)}

    def _set(self, arrays: State, found: Fitted) -> None:
        weight = arrays["weight"]
        self.means_ = self._by_column(arrays["mean"])
        named = named_priors(self.priors, self.classes_)
        self.priors_ = weight / weight.sum() if named is None else np.array([share for _, share in named])


@estimator
class LinearDiscriminantAnalysis(_Discriminant):
    """Linear discriminant analysis: the classifier of scikit-learn's (solver "svd"; with `shrinkage` a number, "lsqr")."""

    _kind = "linear"

    def _set(self, arrays: State, found: Fitted) -> None:
        super()._set(arrays, found)
        weights, intercept = self._weights(arrays), arrays["intercept"]
        two = len(self.classes_) == 2
        self.coef_ = weights[1:] - weights[:1] if two else weights
        self.intercept_ = intercept[1:] - intercept[:1] if two else intercept

    def decision_function(self, X: Any) -> F64:
        """Log odds: (n,) of the second of two classes against the first, else (n, classes)."""
        found = self._each(X, margins_of)
        return found[:, 1] - found[:, 0] if found.shape[1] == 2 else found


@estimator
class QuadraticDiscriminantAnalysis(_Discriminant):
    """Quadratic discriminant analysis: a covariance for each class, as scikit-learn's (solver "eigen")."""

    _kind = "quadratic"
