"""Locally weighted regression: the estimator keeps its rows, and fits a model at the points it is asked for."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..data.model import Model
from .base import F64, Regressor, estimator
from .fitting import carried
from .rows import fitting_source, number_target

__all__ = ["LocallyWeightedRegression"]

_STATES = 32 << 20  # bytes of the systems of one fit


@estimator
class LocallyWeightedRegression(Regressor):
    """A linear regression around each point, rows weighted by a Gaussian of width `bandwidth` (in units of the columns: scale them first).

    `fit` keeps the rows; `predict` reads them once for every some thousand points, on the engine of `on`. `alpha` is the penalty on slopes.
    """

    bandwidth: float = 1.0
    alpha: float = 0.0

    _learner: ClassVar[str] = "LocallyWeightedRegression"
    _fields: ClassVar[Any] = {"bandwidth": "bandwidth", "alpha": "l2"}
    _sparse = False

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_samples_fit_")

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Keep the rows."""
        self._build()
        x, y = self._checked(X, y, reset=True, y_numeric=True)
        self._fit_X, self._fit_y = x, np.asarray(y, np.float64)
        self._fit_weight = None if sample_weight is None else _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        self.n_samples_fit_ = len(x)
        return self

    def model_at(self, points: Any) -> Model:
        """The model fitted at these points, (Q, n_features_in_): its arrays hold levels and slopes."""
        check_is_fitted(self)
        source = fitting_source(self._fit_X, getattr(self, "feature_names_in_", None), number_target(self._fit_y), self._fit_weight)
        start = {"1/points": np.array(points, np.float64)}
        return carried(self._build(), source, on=self.on, memory=self.memory, seed=0, start=start, onward=False).model

    def predict(self, X: Any) -> F64:
        """The level of the regression around each row."""
        check_is_fitted(self)
        x = self._checked(X, reset=False)
        step = max(1, _STATES // (8 * (x.shape[1] + 2) ** 2))
        return np.concatenate([self.model_at(x[low : low + step]).arrays["1/prediction"] for low in range(0, len(x), step)])
