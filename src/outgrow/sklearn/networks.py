"""Multi-layer perceptrons."""

from __future__ import annotations

from typing import Any, ClassVar

from ..core.state import State
from .base import Chances, Classifier, Regressor, estimator
from .fitting import Fitted

__all__ = ["MLPClassifier", "MLPRegressor"]

_SHARED: dict[str, Any] = {
    "hidden_layer_sizes": ("hidden", lambda sizes: (sizes,) if isinstance(sizes, int) else tuple(sizes)), "activation": "activation", "solver": "update",
    "learning_rate_init": "learning_rate", "momentum": "momentum", "alpha": "l2", "batch_size": "step_rows", "virtual": "virtual", "max_iter": "epochs",
    "tol": "tolerance", "n_iter_no_change": "patience", "validation": "validation",
}  # fmt: skip


class _Layers:
    """What both have: weights and biases by layer."""

    def _layers(self, arrays: State, found: Fitted) -> None:
        depth = sum(name.startswith("bias_") for name in arrays)
        self.coefs_, self.intercepts_ = [arrays[f"weights_{k}"] for k in range(depth)], [arrays[f"bias_{k}"] for k in range(depth)]
        if self._wide:  # type: ignore[attr-defined]
            self.coefs_[0] = self.coefs_[0][1:]
        self.n_layers_, self.n_iter_ = depth + 1, found.rounds


@estimator
class MLPClassifier(_Layers, Chances, Classifier):
    """A multi-layer perceptron for classes: losses, updates and stopping rule of scikit-learn's. `batch_size` 0: all rows a step."""

    hidden_layer_sizes: Any = (100,)
    activation: str = "relu"
    solver: str = "adam"
    learning_rate_init: float = 0.001
    momentum: float = 0.9
    alpha: float = 1e-4
    batch_size: int = 200
    virtual: int = 1
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: int = 10
    class_weight: Any = None
    validation: float = 0.0
    random_state: Any = 0

    _learner: ClassVar[str] = "NeuralNetwork"
    _fields: ClassVar[Any] = _SHARED | {"class_weight": "class_weight"}

    def _set(self, arrays: State, found: Fitted) -> None:
        self._layers(arrays, found)


@estimator
class MLPRegressor(_Layers, Regressor):
    """A multi-layer perceptron for a number, learned in units of its deviation. `coefs_` and `intercepts_` give the number itself."""

    hidden_layer_sizes: Any = (100,)
    activation: str = "relu"
    solver: str = "adam"
    learning_rate_init: float = 0.001
    momentum: float = 0.9
    alpha: float = 1e-4
    batch_size: int = 200
    virtual: int = 1
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: int = 10
    validation: float = 0.0
    random_state: Any = 0

    _learner: ClassVar[str] = "NeuralNetwork"
    _fields: ClassVar[Any] = _SHARED

    def _set(self, arrays: State, found: Fitted) -> None:
        self._layers(arrays, found)
        middle, size = arrays["unit"]
        self.coefs_[-1], self.intercepts_[-1] = self.coefs_[-1] * size, self.intercepts_[-1] * size + middle
