"""How often each class of the target occurs: what balanced weights and first guesses are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..core.learner import Fold, Traits
from ..core.state import State
from ..data.batch import Batch

__all__ = ["ClassCounts"]


@dataclass(frozen=True, kw_only=True)
class ClassCounts(Fold):
    """Weighted rows of each class. state: counts float64 (K,)."""

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    classes: int

    def init(self, given: Mapping[str, Any]) -> State:
        return {"counts": np.zeros(self.classes)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        state["counts"] += np.bincount(batch.target, batch.weight, self.classes)
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return {"counts": left["counts"] + right["counts"]}
