"""Going on exactly with learners of one pass: what their fold has summed is kept and met by what the next rows give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.learner import Context, Learner, Pass, Price, Rows
from ..core.state import State, prefixed, under

__all__ = ["Onward"]


@dataclass(frozen=True)
class Onward(Learner):
    """A learner of one pass that goes on: `start` is its fold's closed state after earlier rows, and so is the resume section.

    The model is that of all rows seen, by one more meeting of the tree: integer sums are those of a fit on all rows at once, float
    sums in another order. The classes must be named in the schema from the first rows on.

    carry: ``inner/…``, the learner's own; ``sum/…``, the closed state.
    """

    learner: Learner

    def begin(self, context: Context, start: State | None = None) -> State:
        return prefixed("inner", self.learner.begin(context)) | prefixed("sum", start or {})

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return self.learner.ask(context, under("inner", carry))

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        (asked,), before, (after,) = self.ask(context, carry), under("sum", carry), closed
        if before:
            after = asked.fold.merge({name: array.copy() for name, array in before.items()}, after, asked.given)
        return prefixed("inner", self.learner.tell(context, under("inner", carry), (after,))) | prefixed("sum", after)

    def finish(self, context: Context, carry: State) -> State:
        return self.learner.finish(context, under("inner", carry))

    def resume(self, context: Context, carry: State) -> State:
        return under("sum", carry)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return self.learner.facts(context, under("inner", carry))

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        return self.learner.predict(model, batch)

    def price(self, context: Context) -> Price:
        return self.learner.price(context)

    def sees(self) -> Rows:
        return self.learner.sees()
