"""Columns made of columns: scaling, principal and independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..core.learner import Learner
from ..core.state import State, under
from ..data.features import RobustScale, Scale
from ..learn.moments import Moments
from .base import F64, Estimator, Transformer, estimator, stacked
from .fitting import Fitted

__all__ = ["PCA", "FastICA", "RobustScaler", "StandardScaler", "TruncatedSVD"]

_EPS = float(np.finfo(np.float64).eps)


@estimator
class _Scaler(OneToOneFeatureMixin, TransformerMixin, Estimator):  # type: ignore[misc]
    """Subtracts a number from each column and divides by another; either may be None."""

    _sparse = False
    _missing = _onward = True

    @property
    def _scaling(self) -> tuple[Any, Any]:
        """What is subtracted, and by what is divided."""
        raise NotImplementedError

    def transform(self, X: Any) -> F64:
        """A scaled copy of the rows."""
        check_is_fitted(self)
        x: F64 = np.array(self._checked(X, reset=False))
        center, scale = self._scaling
        if center is not None:
            x -= center
        if scale is not None:
            x /= scale
        return x

    def inverse_transform(self, X: Any) -> F64:
        """The rows that `transform` would turn into these."""
        check_is_fitted(self)
        x: F64 = np.array(self._checked(X, reset=False))
        center, scale = self._scaling
        if scale is not None:
            x *= scale
        if center is not None:
            x += center
        return x


@estimator
class StandardScaler(_Scaler):
    """Subtract the mean, divide by the standard deviation: the feature Scale, or with weights the learner Moments. Missing values play no part and stay missing."""

    with_mean: bool = True
    with_std: bool = True

    def _build(self) -> Learner:
        if getattr(self, "_weighted", False):
            return Moments()
        scale: Learner = Scale(center=bool(self.with_mean), by="deviation" if self.with_std else "none")
        return scale

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit; forgets what was fitted before."""
        x, self._weighted = self._checked(X, reset=True), sample_weight is not None
        self._carry(x, None, sample_weight)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Go on with more rows: with weights where the first rows had them, else without."""
        first, weighted = not hasattr(self, "model_"), sample_weight is not None
        x = self._checked(X, reset=first)
        if not first and weighted != self._weighted:
            raise ValueError(f"The rows before came {'with' if self._weighted else 'without'} sample_weight: go on as it began, or fit again.")
        self._weighted = weighted
        self._carry(x, None, sample_weight, start=self._start())
        return self

    def _set(self, arrays: State, found: Fitted) -> None:
        if self._weighted:
            seen, mean, deviation = arrays["count"], arrays["mean"], arrays["deviation"]
            flat = ~(deviation > 32 * _EPS * np.abs(mean))  # what rounding leaves of a column of one value; or no value at all
            variance, scale = deviation**2, np.where(flat, 1.0, deviation)
        else:
            sums = under("0", found.model.resume)
            seen, mean, scale = sums["count"], sums["mean"], arrays["spread"]
            variance = sums["m2"] / np.maximum(seen, 1)
        self.n_samples_seen_ = int(seen[0]) if (seen == seen[0]).all() else seen
        self.mean_: Any = mean if self.with_mean else None
        self.var_: Any = variance if self.with_std else None
        self.scale_: Any = scale if self.with_std else None

    @property
    def _scaling(self) -> tuple[Any, Any]:
        return self.mean_, self.scale_


@estimator
class RobustScaler(_Scaler):
    """Subtract the median, divide by the range between two quantiles: the feature RobustScale. Missing values play no part and stay missing.

    Quantiles are scikit-learn's up to about 11 / error rows, then off by at most `error` of the rows.
    """

    with_centering: bool = True
    with_scaling: bool = True
    quantile_range: tuple[float, float] = (25.0, 75.0)
    unit_variance: bool = False
    error: float = 0.002

    def _build(self) -> Learner:
        scale: Learner = RobustScale(
            center=bool(self.with_centering),
            by="range" if self.with_scaling else "none",
            quantile_range=tuple(float(one) for one in self.quantile_range),
            unit_variance=bool(self.unit_variance and self.with_scaling),
            error=self.error,
        )
        return scale

    def fit(self, X: Any, y: Any = None) -> Any:
        """Fit; forgets what was fitted before."""
        self._carry(self._checked(X, reset=True), None, None)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """Go on with more rows: the quantiles of all, within `error`."""
        self._carry(self._checked(X, reset=not hasattr(self, "model_")), None, None, start=self._start())
        return self

    def _set(self, arrays: State, found: Fitted) -> None:
        self.center_: Any = arrays["center"] if self.with_centering else None
        self.scale_: Any = arrays["spread"] if self.with_scaling else None

    @property
    def _scaling(self) -> tuple[Any, Any]:
        return self.center_, self.scale_


@estimator
class _Components(Transformer):
    """Projects rows onto `components_`."""

    def _set(self, arrays: State, found: Fitted) -> None:
        self.components_ = np.ascontiguousarray(self._by_column(arrays["components"]))
        for name in ("explained_variance", "explained_variance_ratio", "singular_values"):
            if name in arrays:
                setattr(self, f"{name}_", arrays[name])

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def transform(self, X: Any) -> F64:
        """Components of the rows: (n, n_components)."""
        return stacked(self._predicted(X), "component", len(self._arrays["components"]))


@estimator
class PCA(_Components):
    """Principal components, exact, in one pass: scikit-learn's, with svd_solver "covariance_eigh"."""

    n_components: Any = None
    whiten: bool = False

    _learner: ClassVar[str] = "PCA"
    _fields: ClassVar[Any] = {"n_components": "components", "whiten": "whiten"}
    _onward = True

    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """Go on with more rows; exact, where scikit-learn's IncrementalPCA is not."""
        self._carry(self._checked(X, reset=not hasattr(self, "model_")), None, None, start=self._start())
        return self

    def _set(self, arrays: State, found: Fitted) -> None:
        super()._set(arrays, found)
        self.mean_ = self._by_column(arrays["mean"])
        self.n_components_, self.noise_variance_ = len(self.components_), float(arrays["noise_variance"])

    def inverse_transform(self, X: Any) -> F64:
        """Rows whose components these are."""
        check_is_fitted(self)
        scale = np.sqrt(self.explained_variance_) if self.whiten else 1.0
        found: F64 = (np.asarray(X, np.float64) * scale) @ self.components_ + self.mean_
        return found


@estimator
class TruncatedSVD(_Components):
    """The strongest right singular vectors of rows as they are: for wide sparse rows. `n_iter` and `n_oversamples` are those of scikit-learn's randomized solver."""

    n_components: int = 2
    n_iter: int = 5
    n_oversamples: int = 10
    random_state: Any = 0

    _learner: ClassVar[str] = "TruncatedSVD"
    _fields: ClassVar[Any] = {"n_components": "components", "n_iter": "rounds", "n_oversamples": "oversampling"}

    def inverse_transform(self, X: Any) -> F64:
        """Rows whose components these are."""
        check_is_fitted(self)
        found: F64 = np.asarray(X, np.float64) @ self.components_
        return found


@estimator
class FastICA(_Components):
    """Independent components by the parallel FastICA algorithm, on whitened columns of variance 1."""

    n_components: int | None = None
    fun: str = "logcosh"
    max_iter: int = 200
    tol: float = 1e-4
    random_state: Any = 0

    _learner: ClassVar[str] = "ICA"
    _fields: ClassVar[Any] = {"n_components": "components", "fun": "contrast", "max_iter": "max_rounds", "tol": "tolerance"}

    def _set(self, arrays: State, found: Fitted) -> None:
        super()._set(arrays, found)
        self.mixing_, self.mean_ = arrays["mixing"][1:] if self._wide else arrays["mixing"], self._by_column(arrays["mean"])
        self.n_iter_ = int(arrays["rounds"])

    def inverse_transform(self, X: Any) -> F64:
        """Rows whose components these are."""
        check_is_fitted(self)
        found: F64 = np.asarray(X, np.float64) @ self.mixing_.T + self.mean_
        return found
