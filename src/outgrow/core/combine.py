"""Learners one after another (`Then`), and a fold that sees its rows through the features before it (`Applied`).

`Then` is a learner itself: its carry holds the stages' carries under their numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import BadField
from .learner import Context, Feature, Fold, Learner, Pass, Price, Rows, Traits
from .state import State, joined, prefixed, under

__all__ = ["Applied", "Then", "shown"]


def shown(found: Any) -> str:
    """A plain value as it is, anything else by its type: a learner has many fields."""
    return repr(found) if isinstance(found, str | int | float) else f"of type {type(found).__name__}"


_GIVEN: list[tuple[Mapping[str, Any], State]] = []  # the last one that a fold behind features was asked with, and what that fold sees of it


def _inner(given: Mapping[str, Any]) -> State:
    """What a fold behind features sees; made once a pass, since a pass may have many batches and little to do for each."""
    held = _GIVEN[-1:]
    if not held or held[0][0] is not given:
        held = [(given, under("given", given))]
        _GIVEN[:] = held
    return held[0][1]


@dataclass(frozen=True)
class Applied(Fold):
    """A fold that sees its batches through fitted features; `given` holds ``fitted/i/…`` and ``given/…``."""

    fold: Fold
    features: tuple[Feature, ...]
    fitting: bool

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        return self.fold.traits

    @property
    def beside(self) -> bool:  # type: ignore[override]
        return self.fold.beside

    def see(self, batch: Any, given: Mapping[str, Any]) -> Any:
        for i, feature in enumerate(self.features):
            batch = feature.apply(under(f"fitted/{i}", given), batch, self.fitting)
        return self.fold.see(batch, _inner(given))

    def init(self, given: Mapping[str, Any]) -> State:
        return self.fold.init(_inner(given))

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        return self.fold.update(state, batch, _inner(given))

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return self.fold.merge(left, right, _inner(given))

    @property
    def keep(self) -> Any:
        keep = self.fold.keep
        return keep and (lambda kept, batch, given: keep(kept, batch, _inner(given)))

    @property
    def emit(self) -> Any:
        emit = self.fold.emit
        return emit and (lambda batch, given: emit(batch, _inner(given)))


@dataclass(frozen=True)
class Then(Learner):
    """Stages one after another: features are fitted and then applied inside every later batch; the last stage is the learner.

    A stage begins when the one before it has finished, so that the width of what it reads is known. A stage that is
    no feature (k-means|| before Lloyd) hands its model to the next as `start`.

    carry: ``stage`` (0-d int64), ``i/…`` the finished model of stage i, or the carry of the current one.
    """

    stages: tuple[Learner, ...]

    def __post_init__(self) -> None:
        allowed = "features and learners, as (OneHot(), LogisticRegression())"
        if not isinstance(self.stages, tuple | list):
            raise BadField(f"what is named is {shown(self.stages)}, no sequence of stages", where="stages", allowed=allowed)
        if not self.stages:
            raise BadField("Then needs at least one stage", where="stages")
        for stage in self.stages:
            if not isinstance(stage, Learner):
                raise BadField(f"a stage is {shown(stage)}, which is no learner", where="stages", allowed=allowed)

    @property
    def batch_bytes(self) -> int:  # type: ignore[override]
        return self.stages[-1].batch_bytes

    def _before(self, stage: int) -> list[tuple[int, Feature]]:
        """The features before a stage, with their numbers."""
        return [(i, part) for i, part in enumerate(self.stages[:stage]) if isinstance(part, Feature)]

    def _fitted(self, carry: State, stage: int) -> State:
        """Models of the features before `stage`, renumbered from 0."""
        return joined(enumerate(under(f"{i}", carry) for i, _ in self._before(stage)))

    def _context(self, context: Context, carry: State, stage: int) -> Context:
        """What the stage sees: the schema after the features before it (remembered, since rounds are many)."""
        known = (self, context.schema, *self._fitted(carry, stage).values())
        last, schema = _SEEN.get((id(self), stage), ((), None))
        if len(last) != len(known) or any(map(operator.is_not, last, known)):
            schema = context.schema
            for i, part in self._before(stage):
                schema = part.schema(under(f"{i}", carry), schema)
            if len(_SEEN) > 64:
                _SEEN.clear()
            _SEEN[id(self), stage] = known, schema
        return replace(context, schema=schema)

    def _now(self, context: Context, carry: State) -> tuple[int, Learner, Context, State]:
        """The stage under way: its number, its learner, and the context and carry that it sees."""
        stage = int(carry["stage"])
        return stage, self.stages[stage], self._context(context, carry, stage), under(f"{stage}", carry)

    def _with(self, carry: State, stage: int, own: State) -> State:
        """The carry with another one of the stage."""
        return {name: array for name, array in carry.items() if not name.startswith(f"{stage}/")} | prefixed(f"{stage}", own)

    def _settle(self, context: Context, carry: State) -> State:
        """Finish every stage that asks for nothing more and begin the next, up to the last one."""
        while int(carry["stage"]) < len(self.stages) - 1:
            stage, learner, inner, own = self._now(context, carry)
            if learner.ask(inner, own):
                break
            model = learner.finish(inner, own)
            start = under(f"start/{stage + 1}", carry) or (None if isinstance(learner, Feature) else model)
            carry = self._with(carry, stage, model) | {"stage": np.array(stage + 1)}
            carry |= prefixed(f"{stage + 1}", self.stages[stage + 1].begin(self._context(context, carry, stage + 1), start or None))
        return carry

    def begin(self, context: Context, start: State | None = None) -> State:
        kept = joined((f"start/{i}", under(f"{i}", start or {})) for i, part in enumerate(self.stages) if not isinstance(part, Feature))
        first = self.stages[0].begin(context, under("start/0", kept) or None)
        return self._settle(context, {"stage": np.array(0)} | kept | prefixed("0", first))

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        stage, learner, inner, own = self._now(context, carry)
        features, fitted = tuple(part for _, part in self._before(stage)), prefixed("fitted", self._fitted(carry, stage))
        rows = self.stages[-1].sees()

        def applied(item: Pass, given: State) -> Pass:
            if isinstance(learner, Feature):
                item = replace(item, rows=rows)  # what is held out fits nothing
            if features and item.columns is None:
                fitting = item.source == "train" and item.rows.kind != "held"
                again = tuple(applied(part, {}) for part in item.again)
                columns = self._columns(context, carry, stage, item.inputs)
                item = replace(item, fold=Applied(item.fold, features, fitting), given=given | prefixed("given", item.given), columns=columns, again=again)
            return item

        return tuple(applied(item, fitted) for item in learner.ask(inner, own))

    def _columns(self, context: Context, carry: State, stage: int, inputs: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The raw columns behind inputs of a stage; None: all."""
        for i, part in reversed(self._before(stage)):
            if inputs is not None:
                inputs = part.reads(under(f"{i}", carry), self._context(context, carry, i).schema, inputs)
        return inputs

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        stage, learner, inner, own = self._now(context, carry)
        return self._settle(context, self._with(carry, stage, learner.tell(inner, own, closed)))

    def finish(self, context: Context, carry: State) -> State:
        stage, learner, inner, own = self._now(context, carry)
        done = self._with(carry, stage, learner.finish(inner, own))
        return {name: array for name, array in done.items() if name != "stage" and not name.startswith("start/")}

    def resume(self, context: Context, carry: State) -> State:
        stage, learner, inner, own = self._now(context, carry)
        return prefixed(f"{stage}", learner.resume(inner, own))

    def recall(self, context: Context, carry: State, kept: str) -> State:
        stage, learner, inner, own = self._now(context, carry)
        given = learner.recall(inner, own, kept)
        return prefixed("given", given) if self._before(stage) else given

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        _, learner, inner, own = self._now(context, carry)
        return learner.facts(inner, own)

    def price(self, context: Context) -> Price:
        """The last stage's price, with the schema after the features that need no fitting; the width of others is not known yet."""
        for _, part in self._before(len(self.stages) - 1):
            if not part.ask(context, carry := part.begin(context)):
                context = replace(context, schema=part.schema(part.finish(context, carry), context.schema))
        return self.stages[-1].price(context)

    def sees(self) -> Rows:
        return self.stages[-1].sees()

    def encode(self, model: State, batch: Any, fitting: bool = False) -> Any:
        """The batch as the last stage sees it."""
        for i, part in self._before(len(self.stages)):
            batch = part.apply(under(f"{i}", model), batch, fitting)
        return batch

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        return self.stages[-1].predict(under(f"{len(self.stages) - 1}", model), self.encode(model, batch))


_SEEN: dict[tuple[int, int], tuple[tuple[Any, ...], Any]] = {}  # by learner and stage: what its schema was made of, and the schema; holds the objects whose ids it knows
