"""Online linear learning, by fit and by partial_fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..core.state import State
from .base import F64, Chances, Classifier, Regressor, estimator, only_if
from .fitting import Fitted

__all__ = ["OnlineLinearClassifier", "OnlineLinearRegressor"]

_SHARED: dict[str, Any] = {
    "loss": "loss", "update": "update", "learning_rate": "learning_rate", "decay": "decay", "l1": "l1", "l2": "l2", "max_iter": "passes", "lanes": "lanes",
    "validation": "validation", "patience": "patience", "beta": "beta",
}  # fmt: skip


def _scored(arrays: State, batch: Any) -> F64:
    from ..learn.online_fold import scored

    return scored(arrays, batch)


def _knows_chances(one: Any) -> bool:
    return one.loss in ("auto", "logistic")


class _Going:
    """What both share: a learner that goes on from its adaptive sums."""

    def _going(self) -> Any:
        """One lane and one pass: rows in pieces of any size then give the model of all rows at once."""
        return self._build().replace(lanes=1, passes=1, validation=0.0, **self._alone())  # type: ignore[attr-defined]

    def _alone(self) -> Mapping[str, Any]:
        return {}


@estimator
class OnlineLinearClassifier(_Going, Classifier):
    """Linear classification by online updates, with one pass (or `max_iter` of them). Missing numbers have weights of their own.

    `partial_fit` goes on exactly: pieces of any size give the model of ``fit`` with ``lanes=1, max_iter=1``, bit for bit.
    """

    loss: str = "logistic"
    update: str = "adaptive"
    learning_rate: float = 0.5
    decay: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    max_iter: int = 1
    lanes: int = 0
    class_weight: Any = None
    validation: float = 0.0
    patience: int = 2
    multi: str = "softmax"
    beta: float = 1.0
    batch_rounds: int = 0
    random_state: Any = 0

    _learner: ClassVar[str] = "OnlineLinear"
    _fields: ClassVar[Any] = _SHARED | {"class_weight": "class_weight", "multi": "multi", "batch_rounds": "batch_rounds"}
    _missing = _goes_on = True

    def _alone(self) -> Mapping[str, Any]:
        if isinstance(self.class_weight, str):
            raise ValueError(  # noqa: TRY004 scikit-learn's own type for it
                f"class_weight {self.class_weight!r} is not supported for partial_fit: the shares of classes are not known yet. Pass a dict of weights."
            )
        return {"batch_rounds": 0}

    def _set(self, arrays: State, found: Fitted) -> None:
        self.coef_, self.intercept_ = self._weights(arrays), arrays["intercept"].copy()
        self.n_iter_ = found.rounds

    def decision_function(self, X: Any) -> F64:
        """Margins: (n,) of the second of two classes, else (n, classes)."""
        found = self._each(X, _scored)
        return found[:, 0] if found.shape[1] == 1 else found

    predict_proba = only_if(_knows_chances)(Chances.predict_proba)
    predict_log_proba = only_if(_knows_chances)(Chances.predict_log_proba)


@estimator
class OnlineLinearRegressor(_Going, Regressor):
    """Linear regression by online updates, with one pass (or `max_iter` of them). Missing numbers have weights of their own.

    With `scale_target` the first rows that `partial_fit` sees choose the unit of the target; without it, pieces of any size give the model of
    ``fit`` with ``lanes=1, max_iter=1``, bit for bit.
    """

    loss: str = "squared"
    update: str = "adaptive"
    learning_rate: float = 0.5
    decay: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    max_iter: int = 1
    lanes: int = 0
    validation: float = 0.0
    patience: int = 2
    tau: float = 0.5
    beta: float = 1.0
    scale_target: bool = True
    random_state: Any = 0

    _learner: ClassVar[str] = "OnlineLinear"
    _fields: ClassVar[Any] = _SHARED | {"tau": "tau", "scale_target": "scale_target"}
    _missing = _goes_on = True

    def _set(self, arrays: State, found: Fitted) -> None:
        self.coef_, self.intercept_ = self._weights(arrays)[0], float(arrays["intercept"][0])
        self.n_iter_ = found.rounds
