"""Predictions as a pass: a part a lane goes to the sink, and all of them appear at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..core.learner import Context, Fold, Learner, Pass, Sink, Traits
from ..core.state import State, prefixed, under

__all__ = ["Predict", "Predicted"]


@dataclass(frozen=True)
class Predicted(Fold):
    """Counts rows and emits what the learner predicts for them; `given` is the model's arrays."""

    traits: ClassVar[Traits] = Traits(elementwise=True, order_free=True)
    learner: Learner

    def init(self, given: Mapping[str, Any]) -> State:
        return {"rows": np.zeros((), np.int64)}

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        return {"rows": np.asarray(state["rows"] + batch.rows)}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return {"rows": np.asarray(left["rows"] + right["rows"])}

    def emit(self, batch: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the learner's `predict`."""
        return self.learner.predict(dict(given), batch)


@dataclass(frozen=True)
class Predict(Learner):
    """One pass that writes a fitted learner's predictions; begin it with the model's arrays as `start`."""

    learner: Learner
    sink: Sink

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"rows": np.full((), -1, np.int64)} | prefixed("model", start or {})

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return (Pass(fold=Predicted(self.learner), given=under("model", carry), sink=self.sink),) if carry["rows"] < 0 else ()

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return closed[0]

    def finish(self, context: Context, carry: State) -> State:
        return carry
