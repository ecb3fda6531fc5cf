"""Gradient-boosted trees, with LightGBM's names where they mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..core.state import State
from .base import F64, Chances, Classifier, Estimator, Regressor, estimator
from .fitting import Fitted
from .rows import number_target

__all__ = ["GradientBoostingClassifier", "GradientBoostingRanker", "GradientBoostingRegressor"]

_SHARED: dict[str, Any] = {
    "n_estimators": "trees", "num_leaves": "leaves", "max_depth": ("depth", lambda depth: max(0, depth)), "learning_rate": "learning_rate", "max_bin": "bins",
    "min_child_samples": "min_rows", "min_child_weight": "min_hessian", "min_split_gain": "min_gain", "reg_alpha": "l1", "reg_lambda": "l2", "subsample": "row_share",
    "colsample_bytree": "column_share", "growth": "growth", "validation": "validation", "patience": "patience",
}  # fmt: skip


class _Trees:
    """What both have: how many trees there are, and what each column gained; and signs of columns that predictions follow, one a column or by name."""

    monotone_constraints: Any

    def _more_fields(self) -> dict[str, Any]:
        signs = self.monotone_constraints
        if signs is None or isinstance(signs, Mapping):
            return {"monotone": signs}
        count = self.n_features_in_  # type: ignore[attr-defined]
        if len(signs) != count:
            raise ValueError(f"monotone_constraints has {len(signs)} signs for {count} columns")
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(count)])
        return {"monotone": {str(name): int(sign) for name, sign in zip(names, signs, strict=True) if sign} or None}

    def _grown(self, arrays: State, outs: int) -> None:
        self.n_estimators_ = len(arrays["roots"]) // outs
        inner = arrays["child"] > 0
        gained = np.bincount(arrays["column"][inner], arrays["gain"][inner], self.n_features_in_)  # type: ignore[attr-defined]
        self.feature_importances_: F64 = gained / max(gained.sum(), 1e-300)


@estimator
class GradientBoostingClassifier(_Trees, Chances, Classifier):
    """Gradient-boosted trees for classes. `feature_importances_`: the share of all gain that a column's splits have."""

    n_estimators: int = 100
    num_leaves: int = 31
    max_depth: int = -1
    learning_rate: float = 0.1
    max_bin: int = 255
    min_child_samples: int = 20
    min_child_weight: float = 1e-3
    min_split_gain: float = 0.0
    reg_alpha: float = 0.0
    reg_lambda: float = 0.0
    subsample: float = 1.0
    colsample_bytree: float = 1.0
    growth: str = "leaf"
    validation: float = 0.0
    patience: int = 10
    monotone_constraints: Any = None
    class_weight: Any = None
    random_state: Any = 0

    _learner: ClassVar[str] = "GradientBoosting"
    _fields: ClassVar[Any] = _SHARED | {"class_weight": "class_weight"}
    _missing, _sparse = True, False

    def _set(self, arrays: State, found: Fitted) -> None:
        self._grown(arrays, len(arrays["base"]))

    def decision_function(self, X: Any) -> F64:
        """Scores, the sums of trees: (n,) of the second of two classes, else (n, classes)."""
        learner: Any = self._build()
        found: F64 = self._each(X, lambda arrays, batch: learner.scores(arrays, batch).T)
        return found[:, 0] if found.shape[1] == 1 else found


_OBJECTIVES = {  # LightGBM's names, and those it takes for the same
    "regression": "squared", "l2": "squared", "mse": "squared", "mean_squared_error": "squared", "regression_l2": "squared",
    "regression_l1": "absolute", "l1": "absolute", "mae": "absolute", "mean_absolute_error": "absolute",
}  # fmt: skip


@estimator
class GradientBoostingRegressor(_Trees, Regressor):
    """Gradient-boosted trees for a number.

    `objective`: "squared" (LightGBM's "regression"), "absolute" ("regression_l1"), "quantile", "huber", "poisson" or "tweedie". `alpha`: the share of "quantile", the bound of
    "huber". `feature_importances_`: the share of all gain that a column's splits have.
    """

    objective: str = "squared"
    alpha: float = 0.9
    tweedie_variance_power: float = 1.5
    n_estimators: int = 100
    num_leaves: int = 31
    max_depth: int = -1
    learning_rate: float = 0.1
    max_bin: int = 255
    min_child_samples: int = 20
    min_child_weight: float = 1e-3
    min_split_gain: float = 0.0
    reg_alpha: float = 0.0
    reg_lambda: float = 0.0
    subsample: float = 1.0
    colsample_bytree: float = 1.0
    growth: str = "leaf"
    validation: float = 0.0
    patience: int = 10
    monotone_constraints: Any = None
    random_state: Any = 0

    _learner: ClassVar[str] = "GradientBoosting"
    _fields: ClassVar[Any] = _SHARED | {"objective": ("loss", lambda name: _OBJECTIVES.get(name, name)), "tweedie_variance_power": "tweedie_power"}
    _missing, _sparse = True, False

    def _more_fields(self) -> dict[str, Any]:
        field = {"quantile": "quantile", "huber": "huber_delta"}.get(self.objective)
        return super()._more_fields() | ({field: self.alpha} if field else {})

    def _set(self, arrays: State, found: Fitted) -> None:
        self._grown(arrays, 1)


@estimator
class GradientBoostingRanker(_Trees, Estimator):
    """Gradient-boosted trees that order the rows of each group (LambdaRank). `feature_importances_`: the share of all gain that a column's splits have."""

    n_estimators: int = 100
    num_leaves: int = 31
    max_depth: int = -1
    learning_rate: float = 0.1
    max_bin: int = 255
    min_child_samples: int = 20
    min_child_weight: float = 1e-3
    min_split_gain: float = 0.0
    reg_alpha: float = 0.0
    reg_lambda: float = 0.0
    subsample: float = 1.0
    colsample_bytree: float = 1.0
    growth: str = "leaf"
    monotone_constraints: Any = None
    random_state: Any = 0

    _learner: ClassVar[str] = "GradientBoosting"
    _fields: ClassVar[Any] = {name: field for name, field in _SHARED.items() if name not in ("validation", "patience")}
    _missing, _sparse = True, False

    def fit(self, X: Any, y: Any, group: Any = None, sample_weight: Any = None) -> Any:
        """Fit; forgets what was fitted before. y: whole numbers 0 to 31. group: rows of each group, which follow one another, as in LightGBM; None: all are one."""
        x, y = self._checked(X, y, reset=True, y_numeric=True)
        sizes = np.array([len(x)]) if group is None else np.asarray(group)
        if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or (sizes < 0).any() or sizes.sum() != len(x):
            raise ValueError(f"group must be whole numbers that sum to the {len(x)} rows")
        self._carry(np.column_stack([x, np.repeat(np.arange(len(sizes)), sizes)]), number_target(y), sample_weight)
        return self

    def predict(self, X: Any) -> F64:
        """The score of each row: within a group, the higher comes first."""
        found: F64 = self._predicted(X)["prediction"]
        return found

    def _names(self) -> list[str]:
        names = self._own_names()
        return [*names, self._group_name(names)]

    def _own_names(self) -> list[str]:
        return [str(name) for name in getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])]

    @staticmethod
    def _group_name(names: list[str]) -> str:
        name = "group"
        while name in names:
            name += "_"
        return name

    def _more_fields(self) -> dict[str, Any]:
        return super()._more_fields() | {"loss": "lambdarank", "group": self._group_name(self._own_names())}

    def _columns(self, x: Any) -> dict[str, Any]:
        return super()._columns(np.column_stack([x, np.zeros(len(x))]))

    def _set(self, arrays: State, found: Fitted) -> None:
        self._grown(arrays, 1)
