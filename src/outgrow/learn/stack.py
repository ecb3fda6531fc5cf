"""Stacking: what several learners predict is what the next one learns from, each row by models that never saw it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.errors import BadField, BadInput
from ..core.learner import Context, Feature, Learner, Pass, Price, Rows
from ..core.state import State, under
from ..data.batch import Batch, Design, DesignShape, Schema, aligned_empty
from .beside import Fused, names_of
from .views import But, Seen, View

__all__ = ["Stack"]


@dataclass(frozen=True)
class Stack(Feature):
    """The predictions of several learners as columns for the learner that follows: ``Then((Stack((("tree", …), ("line", …))), LogisticRegression()))``.

    Each learner is trained on all rows and, `folds` times, on all but one fold; while the next stage is fitted a row is predicted by the models that
    did not see it, later by those of all rows. The fold of a row is a hash of its position (`seed`). Features belong inside each part:
    ``("line", Then((OneHot(), LogisticRegression())))``. Columns: a probability a class but the first, or the predicted number.

    Cost: folds + 1 states a learner, one read of the rows a round.

    Source: Wolpert 1992.
    """

    parts: tuple[tuple[str, Learner], ...]
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        names = names_of(self.parts)
        if not names or len(set(names)) != len(names) or any(not name or "/" in name or " " in name for name in names):
            raise BadField(f"the parts are named {names}", where="parts", allowed="at least one, different names without '/' and spaces")
        for name, least in (("folds", 2), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1000 + (1 << 31) * (name == "seed"):
                raise BadField(f"{value!r} is out of range", where=name, allowed=f"{least} or more")

    def _views(self) -> list[But]:
        return [But(fold, self.folds, self.seed) for fold in range(self.folds)]

    def _fused(self) -> Fused:
        views: list[tuple[str, View]] = [("all", View()), *((str(view.fold), view) for view in self._views())]
        return Fused(tuple((f"{name} {label}", Seen(f"{name} {label}", view, learner)) for name, learner in self.parts for label, view in views))

    def begin(self, context: Context, start: State | None = None) -> State:
        if context.schema.design is not None:
            raise BadInput("the columns are encoded already", where="Stack", todo='Put features inside each part: ("line", Then((OneHot(), …))).')
        return self._fused().begin(context, start)

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return self._fused().ask(context, carry)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return self._fused().tell(context, carry, closed)

    def finish(self, context: Context, carry: State) -> State:
        return self._fused().finish(context, carry)

    def recall(self, context: Context, carry: State, kept: str) -> State:
        return self._fused().recall(context, carry, kept)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return self._fused().facts(context, carry)

    def price(self, context: Context) -> Price:
        return self._fused().price(context)

    def sees(self) -> Rows:
        return self.parts[0][1].sees()

    def _names(self, schema: Schema) -> tuple[str, ...]:
        labels = [f" {name}" for name in schema.classes[1:]] if schema.classes else [""]
        return tuple(f"{part}{label}" for part, _ in self.parts for label in labels)

    def schema(self, fitted: State, schema: Schema) -> Schema:
        return replace(schema, design=DesignShape(width=0, names=self._names(schema)))

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        dense = aligned_empty((batch.rows, len(self._names(batch.schema))), np.float64)
        places = self._views()[0].places(batch) if fitting else np.full(batch.rows, -1)
        each = max(1, len(batch.schema.classes) - 1)
        for place in np.unique(places).tolist():
            mine = np.flatnonzero(places == place)
            seen = batch.where(mine)
            for j, (name, learner) in enumerate(self.parts):
                found = learner.predict(under(f"{name} {'all' if place < 0 else place}", fitted), seen)
                dense[mine, j * each : (j + 1) * each] = _numbers(found, batch.schema.classes, name)
        return batch.with_design(Design(dense=dense, slots=np.zeros((batch.rows, 0), np.uint32), ragged=None, width=0, names=self._names(batch.schema)))


def _numbers(columns: dict[str, Any], classes: tuple[Any, ...], part: str) -> Any:
    """float64 (n, columns) of what a part predicts."""
    wanted = ["prediction"] if not classes else ["probability"] if len(classes) == 2 else [f"probability_{name}" for name in classes[1:]]
    if classes and wanted[0] not in columns:
        wanted = ["score"] if len(classes) == 2 else [f"score_{name}" for name in classes[1:]]
    if any(name not in columns for name in wanted):
        raise BadField(f"the part {part!r} predicts {', '.join(columns)}", where="parts", allowed="learners that give probabilities, scores or numbers")
    return np.stack([np.asarray(columns[name], np.float64) for name in wanted], axis=1)
