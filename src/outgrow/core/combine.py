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
from .learner import Batch, Context, Feature, Fold, Learner, Pass, Price, Rows, Traits
from .state import State, joined, prefixed, under

__all__ = ["Applied", "Then", "shown"]


def shown(found: Any) -> str:
    """A plain value as it is, anything else by its type: a learner has many fields."""
    return repr(found) if isinstance(found, str | int | float) else f"of type {type(found).__name__}"


@dataclass(frozen=True)
class Applied(Fold):
    """A fold that sees its batches through fitted features; `given` holds ``fitted/i/…`` and ``given/…``."""

    fold: Fold
    features: tuple[Feature, ...]
    fitting: bool

    def __post_init__(self) -> None:
        if self.fold.keep is not None:
            object.__setattr__(self, "keep", self._keep)
        if self.fold.emit is not None:
            object.__setattr__(self, "emit", self._emit)

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        return self.fold.traits

    def see(self, batch: Any, given: Mapping[str, Any]) -> Any:
        for i, feature in enumerate(self.features):
            batch = feature.apply(under(f"fitted/{i}", given), batch, self.fitting)
        return self.fold.see(batch, under("given", given))

    def init(self, given: Mapping[str, Any]) -> State:
        return self.fold.init(under("given", given))

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        return self.fold.update(state, batch, under("given", given))

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return self.fold.merge(left, right, under("given", given))

    def _keep(self, kept: State | None, batch: Batch, given: Mapping[str, Any]) -> State:
        found: State = self.fold.keep(kept, batch, under("given", given))
        return found

    def _emit(self, batch: Batch, given: Mapping[str, Any]) -> Any:
        return self.fold.emit(batch, under("given", given))


@dataclass(frozen=True)
class Then(Learner):
    """Stages one after another: features are fitted and then applied inside every later batch; the last stage is the learner.

    A stage begins when the one before it has finished, so that the width of what it reads is known. A stage that is
    no feature (k-means|| before Lloyd) hands its model to the next as `start`.

    carry: ``stage`` (0-d int64), ``i/…`` the finished model of stage i, or the carry of the current one.
    """

    stages: tuple[Learner, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.stages, tuple | list):
            raise BadField(f"what is named is {shown(self.stages)}, no sequence of stages", where="stages", allowed="features and learners, as (OneHot(), LogisticRegression())")
        if not self.stages:
            raise BadField("Then needs at least one stage", where="stages")
        for stage in self.stages:
            if not isinstance(stage, Learner):
                raise BadField(f"a stage is {shown(stage)}, which is no learner", where="stages", allowed="features and learners, as (OneHot(), LogisticRegression())")

    def _features(self, stage: int) -> tuple[Feature, ...]:
        return tuple(part for part in self.stages[:stage] if isinstance(part, Feature))

    def _fitted(self, carry: State, stage: int) -> State:
        """Models of the features before `stage`, renumbered from 0."""
        return joined(enumerate(under(f"{j}", carry) for j in range(stage) if isinstance(self.stages[j], Feature)))

    def _context(self, context: Context, carry: State, stage: int) -> Context:
        """What the stage sees: the schema after the features before it (remembered, since rounds are many)."""
        arrays = tuple(self._fitted(carry, stage).values())
        known = (self, context.schema, *arrays)
        stage_then, known_then, schema = _LAST.get(id(self), (-1, (), None))
        if stage_then == stage and len(known_then) == len(known) and all(map(operator.is_, known_then, known)):
            return replace(context, schema=schema)
        schema = context.schema
        for i in range(stage):
            part = self.stages[i]
            if isinstance(part, Feature):
                schema = part.schema(under(f"{i}", carry), schema)
        if len(_LAST) > 64:
            _LAST.clear()
        _LAST[id(self)] = (stage, known, schema)
        return replace(context, schema=schema)

    def _settle(self, context: Context, carry: State) -> State:
        """Finish every stage that asks for nothing more and begin the next, up to the last one."""
        stage = int(carry["stage"])
        while stage < len(self.stages) - 1 and not self.stages[stage].ask(inner := self._context(context, carry, stage), under(f"{stage}", carry)):
            model = self.stages[stage].finish(inner, under(f"{stage}", carry))
            rest = {name: array for name, array in carry.items() if not name.startswith(f"{stage}/")}
            start = under(f"start/{stage + 1}", carry) or (None if isinstance(self.stages[stage], Feature) else model)
            stage += 1
            carry = rest | prefixed(f"{stage - 1}", model) | {"stage": np.array(stage)}
            carry |= prefixed(f"{stage}", self.stages[stage].begin(self._context(context, carry, stage), start or None))
        return carry

    def begin(self, context: Context, start: State | None = None) -> State:
        kept = joined((f"start/{i}", under(f"{i}", start or {})) for i, part in enumerate(self.stages) if not isinstance(part, Feature))
        first = self.stages[0].begin(context, under("start/0", kept) or None)
        return self._settle(context, {"stage": np.array(0)} | kept | prefixed("0", first))

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        stage = int(carry["stage"])
        passes = self.stages[stage].ask(self._context(context, carry, stage), under(f"{stage}", carry))
        features, fitted = self._features(stage), prefixed("fitted", self._fitted(carry, stage))
        rows = self.stages[-1].sees()

        def applied(item: Pass, given: State) -> Pass:
            if isinstance(self.stages[stage], Feature):
                item = replace(item, rows=rows)  # what is held out fits nothing
            if features and item.columns is None:
                fitting = item.source == "train" and item.rows.kind != "held"
                again = tuple(applied(part, {}) for part in item.again)
                columns = self._columns(context, carry, stage, item.inputs)
                item = replace(item, fold=Applied(item.fold, features, fitting), given=given | prefixed("given", item.given), columns=columns, again=again)
            return item

        return tuple(applied(item, fitted) for item in passes)

    def _columns(self, context: Context, carry: State, stage: int, inputs: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The raw columns behind inputs of a stage; None: all."""
        for i in reversed(range(stage)):
            part = self.stages[i]
            if inputs is not None and isinstance(part, Feature):
                inputs = part.reads(under(f"{i}", carry), self._context(context, carry, i).schema, inputs)
        return inputs

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        stage = int(carry["stage"])
        inner = self.stages[stage].tell(self._context(context, carry, stage), under(f"{stage}", carry), closed)
        rest = {name: array for name, array in carry.items() if not name.startswith(f"{stage}/")}
        return self._settle(context, rest | prefixed(f"{stage}", inner))

    def _last(self, context: Context, carry: State) -> tuple[Learner, Context, State, str]:
        stage = int(carry["stage"])
        return self.stages[stage], self._context(context, carry, stage), under(f"{stage}", carry), f"{stage}"

    def finish(self, context: Context, carry: State) -> State:
        learner, inner, own, name = self._last(context, carry)
        done = {key: array for key, array in carry.items() if key != "stage" and not key.startswith((f"{name}/", "start/"))}
        return done | prefixed(name, learner.finish(inner, own))

    def resume(self, context: Context, carry: State) -> State:
        learner, inner, own, name = self._last(context, carry)
        return prefixed(name, learner.resume(inner, own))

    def recall(self, context: Context, carry: State, kept: str) -> State:
        learner, inner, own, name = self._last(context, carry)
        given = learner.recall(inner, own, kept)
        return prefixed("given", given) if self._features(int(name)) else given

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        learner, inner, own, _ = self._last(context, carry)
        return learner.facts(inner, own)

    def price(self, context: Context) -> Price:
        """The last stage's price, with the schema after the features that need no fitting; the width of others is not known yet."""
        for part in self.stages[:-1]:
            if isinstance(part, Feature) and not part.ask(context, carry := part.begin(context)):
                context = replace(context, schema=part.schema(part.finish(context, carry), context.schema))
        return self.stages[-1].price(context)

    def sees(self) -> Rows:
        return self.stages[-1].sees()

    def encode(self, model: State, batch: Any, fitting: bool = False) -> Any:
        """The batch as the last stage sees it."""
        for i, part in enumerate(self.stages):
            if isinstance(part, Feature):
                batch = part.apply(under(f"{i}", model), batch, fitting)
        return batch

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        last = len(self.stages) - 1
        return self.stages[last].predict(under(f"{last}", model), self.encode(model, batch))


_LAST: dict[int, tuple[int, tuple[Any, ...], Any]] = {}  # holds the objects whose ids it knows
