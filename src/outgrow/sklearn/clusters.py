"""Clusters and mixtures."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClusterMixin, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils.validation import check_is_fitted

from ..core.errors import BadInput
from ..core.learner import Learner
from ..core.state import State
from .base import F64, Estimator, Transformer, estimator, stacked
from .fitting import Fitted

__all__ = ["GaussianMixture", "KMeans"]


@estimator
class KMeans(ClusterMixin, Transformer):  # type: ignore[misc]
    """k-means from a k-means|| start: `oversampling` · `n_clusters` rows drawn in each of `rounds` passes, then Lloyd's rounds."""

    n_clusters: int = 8
    n_init: int = 1
    max_iter: int = 300
    tol: float = 1e-4
    oversampling: float = 1.0
    rounds: int = 5
    random_state: Any = 0

    _learner: ClassVar[str] = "KMeans"
    _fields: ClassVar[Any] = {
        "n_clusters": "clusters", "n_init": "starts", "max_iter": "max_rounds", "tol": "tolerance", "oversampling": "oversampling", "rounds": "rounds",
    }  # fmt: skip

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit; forgets what was fitted before."""
        x = self._checked(X, reset=True)
        if x.shape[0] < self.n_clusters:
            raise ValueError(f"n_samples={x.shape[0]} should be >= n_clusters={self.n_clusters}.")
        try:
            self._carry(x, None, sample_weight)
        except BadInput:
            self._carry(x, None, sample_weight, learner=self._fewer(x, sample_weight))
        self.labels_ = self._columns(x)["cluster"]
        return self

    def _fewer(self, x: Any, sample_weight: Any) -> Learner:
        """As many clusters as there are different rows, where those are fewer than were asked for: scikit-learn's warning, and its answer; else the error under way."""
        rows = x.toarray() if issparse(x) else x
        if sample_weight is not None:
            rows = rows[np.asarray(sample_weight) > 0]
        distinct = len(np.unique(rows, axis=0))
        if not 0 < distinct < self.n_clusters:
            raise  # noqa: PLE0704 called while an error is handled
        text = f"Number of distinct clusters ({distinct}) found smaller than n_clusters ({self.n_clusters}). Possibly due to duplicate points in X."
        warnings.warn(text, ConvergenceWarning, stacklevel=3)
        fewer: Learner = self._build().replace(clusters=distinct)
        return fewer

    def _set(self, arrays: State, found: Fitted) -> None:
        self.cluster_centers_ = np.ascontiguousarray(self._by_column(arrays["centers"]))
        self.inertia_, self.n_iter_ = float(arrays["inertia"]), found.rounds

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def predict(self, X: Any) -> Any:
        """The nearest centre of each row: int32 (n,)."""
        return self._predicted(X)["cluster"]

    def transform(self, X: Any) -> F64:
        """Distances to all centres: (n, n_clusters)."""
        check_is_fitted(self)
        found: F64 = euclidean_distances(self._checked(X, reset=False).astype(np.float64, copy=False), self.cluster_centers_)
        return found

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the inertia of these rows."""
        square = self._predicted(X)["distance"] ** 2
        return -float(square.sum() if sample_weight is None else square @ np.asarray(sample_weight, np.float64))


@estimator
class GaussianMixture(DensityMixin, Estimator):  # type: ignore[misc]
    """A mixture of Gaussians by expectation and maximisation, from a k-means start: the rounds, and where they stop, are those of scikit-learn's."""

    n_components: int = 1
    covariance_type: str = "full"
    tol: float = 1e-3
    reg_covar: float = 1e-6
    max_iter: int = 100
    n_init: int = 1
    random_state: Any = 0

    _learner: ClassVar[str] = "GaussianMixture"
    _fields: ClassVar[Any] = {
        "n_components": "components", "covariance_type": ("covariance", lambda value: "diagonal" if value == "diag" else value), "tol": "tolerance",
        "reg_covar": "reg_covar", "max_iter": "max_rounds", "n_init": "starts",
    }  # fmt: skip
    _sparse = False  # as scikit-learn's: what predict_proba gives is not shares of classes

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit; forgets what was fitted before."""
        x = self._checked(X, reset=True, ensure_min_samples=2)
        if x.shape[0] < self.n_components:
            raise ValueError(f"Expected n_samples >= n_components but got n_components = {self.n_components}, n_samples = {x.shape[0]}")
        self._carry(x, None, sample_weight)
        return self

    def _set(self, arrays: State, found: Fitted) -> None:
        self.weights_, self.means_, self.covariances_ = arrays["weights"], arrays["means"], arrays["covariances"]
        self.lower_bound_ = float(arrays["log_likelihood"])
        self.converged_, self.n_iter_ = bool(found.facts.get("converged", 1.0)), found.rounds

    def fit_predict(self, X: Any, y: Any = None) -> Any:
        return self.fit(X).predict(X)

    def predict(self, X: Any) -> Any:
        """The component with the largest share of each row: int32 (n,)."""
        return self._predicted(X)["cluster"]

    def predict_proba(self, X: Any) -> F64:
        """The share of each component in each row: (n, n_components)."""
        columns = self._predicted(X)
        return stacked(columns, "share", len(self.weights_))

    def score_samples(self, X: Any) -> F64:
        """Log-likelihoods of the rows: (n,)."""
        found: F64 = self._predicted(X)["log_likelihood"]
        return found

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-likelihood of the rows."""
        return float(self.score_samples(X).mean())
