"""The exact area under the ROC curve, out of core: ranges of scores, ranked one lane a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..core.learner import Context, Fold, Learner, Pass, Price, Traits
from ..core.state import State

__all__ = ["Rank", "Ranked", "exact_auc"]


@dataclass(frozen=True)
class Ranked(Fold):
    """Pairs of a row of the class and one of the others, won by the former; ranges meet in the order of their scores.

    State, float64 (classes,): ``negative`` and ``positive``, the weights of rows; ``won``, the weight of pairs in which the row of the class has
    the higher score, ties by half. Cost: sorts a range; holds it and its order.
    """

    traits: ClassVar[Traits] = Traits()
    classes: int

    def init(self, given: Mapping[str, Any]) -> State:
        return {name: np.zeros(self.classes) for name in ("negative", "positive", "won")}

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        from ..data.scores import joined

        entries = joined(*(np.ascontiguousarray(batch.entries[name]) for name in ("score", "negative", "positive")))
        negative, positive = entries["negative"], entries["positive"]
        below = np.cumsum(negative) - negative
        own = self.init(given)
        own["negative"][batch.which], own["positive"][batch.which] = negative.sum(), positive.sum()
        own["won"][batch.which] = (positive * (below + 0.5 * negative)).sum()
        return self.merge(state, own, given)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        won = left["won"] + right["won"] + left["negative"] * right["positive"]  # all scores of the left are below those of the right
        return {"negative": left["negative"] + right["negative"], "positive": left["positive"] + right["positive"], "won": won}


@dataclass(frozen=True)
class Rank(Learner):
    """One pass over a source of ranges (`outgrow.data.scores.ScoreRanges`), a lane a range; its model is the state of `Ranked`."""

    classes: int

    def begin(self, context: Context, start: State | None = None) -> State:
        return {}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry else (Pass(fold=Ranked(self.classes)),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return closed[0]

    def finish(self, context: Context, carry: State) -> State:
        return carry

    def price(self, context: Context) -> Price:
        return Price(state=24 * self.classes)


def exact_auc(state: State) -> float | None:
    """The share of pairs won: of two classes that of the second; of more the mean of each class against the rest, as `average="macro"` of
    scikit-learn's roc_auc_score. None where a class has no rows, or all of them."""
    pairs = state["negative"] * state["positive"]
    return float((state["won"] / pairs).mean()) if len(pairs) and (pairs > 0.0).all() else None
