"""Linear models at their optimum: least squares and ridge, logistic regression, the linear support vector machine."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..core.state import State
from .base import F64, Chances, Classifier, Regressor, estimator
from .fitting import Fitted

__all__ = ["BlockLinearClassifier", "BlockLinearRegressor", "LinearClassifier", "LinearRegression", "LinearSVC", "LogisticRegression", "inverse", "margins_of"]


def inverse(strength: Any) -> float:
    """C, the inverse of a penalty, as a penalty."""
    if not strength > 0:
        raise ValueError(f"C must be above 0, got {strength!r}.")
    return 1.0 / float(strength)


def margins_of(arrays: State, batch: Any) -> F64:
    """``x · coefficients + intercept`` of each row by itself: (n, outs), the bits that predictions are made of."""
    from ..learn.blocks import blocks, design_of
    from ..learn.kernels.dense import gather, margins

    out = np.empty((batch.rows, len(arrays["intercept"])))
    for block in blocks(design_of(batch), spread=False):
        z = np.repeat(arrays["intercept"][:, None], len(block.x), 1)
        margins(z, block.x, arrays["dense"])
        gather(z, block.slots, *block.ragged, arrays["table"])
        out[block.start : block.stop] = z.T
    return out


@estimator
class LinearClassifier(Classifier):
    """A classifier whose model is ``table``, ``dense`` and ``intercept``: one output for two classes, or one a class."""

    def _set(self, arrays: State, found: Fitted) -> None:
        self.coef_, self.intercept_ = self._weights(arrays), arrays["intercept"].astype(np.float64)
        self.n_iter_ = found.rounds

    def decision_function(self, X: Any) -> F64:
        """Margins: (n,) of the second of two classes, else (n, classes)."""
        found = self._each(X, margins_of)
        return found[:, 0] if found.shape[1] == 1 else found


@estimator
class LinearRegression(Regressor):
    """Least squares, or ridge regression where `alpha` is above 0: exact, in one pass. The objectives of scikit-learn's LinearRegression and Ridge."""

    fit_intercept: bool = True
    alpha: float = 0.0

    _learner: ClassVar[str] = "LinearRegression"
    _fields: ClassVar[Any] = {"fit_intercept": "intercept", "alpha": "l2"}
    _onward = _goes_on = True

    def _set(self, arrays: State, found: Fitted) -> None:
        self.coef_, self.intercept_ = self._weights(arrays)[0], float(arrays["intercept"][0])


@estimator
class LogisticRegression(Chances, LinearClassifier):
    """Logistic regression with an L2 penalty, softmax for more than two classes: scikit-learn's objective. `lbfgs_memory`: pairs of vectors that L-BFGS keeps."""

    C: float = 1.0
    fit_intercept: bool = True
    tol: float = 1e-4
    max_iter: int = 100
    class_weight: Any = None
    validation: float = 0.0
    patience: int = 5
    lbfgs_memory: int = 10

    _learner: ClassVar[str] = "LogisticRegression"
    _fields: ClassVar[Any] = {
        "C": ("l2", inverse), "fit_intercept": "intercept", "tol": "tolerance", "max_iter": "max_rounds", "class_weight": "class_weight",
        "validation": "validation", "patience": "patience", "lbfgs_memory": "memory",
    }  # fmt: skip


@estimator
class LinearSVC(LinearClassifier):
    """Linear support vector machine with the squared hinge loss: scikit-learn's objective of the same name, with ``dual=False``."""

    C: float = 1.0
    fit_intercept: bool = True
    intercept_scaling: float = 1.0
    tol: float = 1e-4
    max_iter: int = 100
    class_weight: Any = None

    _learner: ClassVar[str] = "LinearSVM"
    _fields: ClassVar[Any] = {
        "C": ("l2", inverse), "fit_intercept": "intercept", "intercept_scaling": "intercept_scaling", "tol": "tolerance", "max_iter": "max_rounds",
        "class_weight": "class_weight",
    }  # fmt: skip


_BLOCKS = {"fit_intercept": "intercept", "tol": "tolerance", "max_iter": "max_sweeps", "block_columns": "block_columns", "block_slots": "block_slots", "steps": "steps"}


@estimator
class BlockLinearClassifier(Chances, LinearClassifier):
    """`LogisticRegression` for more features than one worker shall hold weights of: cut into blocks that take turns, to the same optimum. `max_iter`: sweeps over all blocks."""

    C: float = 1.0
    fit_intercept: bool = True
    tol: float = 1e-4
    max_iter: int = 100
    class_weight: Any = None
    block_columns: int = 256
    block_slots: int = 1 << 16
    steps: int = 6

    _learner: ClassVar[str] = "BlockLinear"
    _fields: ClassVar[Any] = {**_BLOCKS, "C": ("l2", inverse), "class_weight": "class_weight"}


@estimator
class BlockLinearRegressor(Regressor):
    """Ridge regression in blocks of features that take turns, for more of them than one worker shall hold weights of. The objective of scikit-learn's Ridge."""

    alpha: float = 1.0
    fit_intercept: bool = True
    tol: float = 1e-4
    max_iter: int = 100
    block_columns: int = 256
    block_slots: int = 1 << 16
    steps: int = 6

    _learner: ClassVar[str] = "BlockLinear"
    _fields: ClassVar[Any] = {**_BLOCKS, "alpha": "l2"}

    def _more_fields(self) -> dict[str, Any]:
        return {"loss": "squared"}

    def _set(self, arrays: State, found: Fitted) -> None:
        self.coef_, self.intercept_, self.n_iter_ = self._weights(arrays)[0], float(arrays["intercept"][0]), found.rounds
