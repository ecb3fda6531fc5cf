"""Learners made of learners: one after another (`Then`), side by side (`Beside`), in one read (`Fused`).

Each is a learner itself: its carry holds the parts' carries under prefixed names.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import BadField
from .learner import Batch, Context, Feature, Fold, Learner, Pass, Price, Rows, Traits
from .state import State, prefixed, under

__all__ = ["Beside", "Fused", "Then", "names_of"]


def names_of(parts: Any) -> list[str]:
    """The names of named learners. Raises BadField where a part is no pair of a name and a learner."""
    allowed = 'pairs of a name and a learner, as (("line", LogisticRegression()), ("bayes", NaiveBayes()))'
    if not isinstance(parts, tuple | list):
        raise BadField(f"what is named is {_shown(parts)}, no pairs", where="parts", allowed=allowed)
    for part in parts:
        if not isinstance(part, tuple | list) or len(part) != 2:
            raise BadField(f"a part is {_shown(part)}, which is no pair of a name and a learner", where="parts", allowed=allowed)
        if not isinstance(part[0], str):
            raise BadField(f"a part is named {_shown(part[0])}", where="parts", allowed=allowed)
        if not isinstance(part[1], Learner):
            raise BadField(f"the part {part[0]!r} is {_shown(part[1])}, which is no learner", where="parts", allowed=allowed)
    return [name for name, _ in parts]


def _shown(found: Any) -> str:
    """A plain value as it is, anything else by its type: a learner has many fields."""
    return repr(found) if isinstance(found, str | int | float) else f"of type {type(found).__name__}"


def _joined(parts: Iterable[tuple[object, State]]) -> State:
    """The parts in one state, each under its name."""
    return {f"{name}/{key}": array for name, part in parts for key, array in part.items()}


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
            raise BadField(f"what is named is {_shown(self.stages)}, no sequence of stages", where="stages", allowed="features and learners, as (OneHot(), LogisticRegression())")
        if not self.stages:
            raise BadField("Then needs at least one stage", where="stages")
        for stage in self.stages:
            if not isinstance(stage, Learner):
                raise BadField(f"a stage is {_shown(stage)}, which is no learner", where="stages", allowed="features and learners, as (OneHot(), LogisticRegression())")

    def _features(self, stage: int) -> tuple[Feature, ...]:
        return tuple(part for part in self.stages[:stage] if isinstance(part, Feature))

    def _fitted(self, carry: State, stage: int) -> State:
        """Models of the features before `stage`, renumbered from 0."""
        return _joined(enumerate(under(f"{j}", carry) for j in range(stage) if isinstance(self.stages[j], Feature)))

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
        kept = _joined((f"start/{i}", under(f"{i}", start or {})) for i, part in enumerate(self.stages) if not isinstance(part, Feature))
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


@dataclass(frozen=True)
class Beside(Learner):
    """Several learners side by side; each round carries the passes of all that still ask. Names must differ."""

    parts: tuple[tuple[str, Learner], ...]

    def __post_init__(self) -> None:
        names = names_of(self.parts)
        if len(set(names)) != len(names) or not names or any("/" in name for name in names):
            raise BadField(f"the parts are named {names}", where="parts", allowed="at least one, different names without '/'")

    def begin(self, context: Context, start: State | None = None) -> State:
        return _joined((name, part.begin(context, under(name, start or {}) or None)) for name, part in self.parts)

    def _asked(self, context: Context, carry: State) -> list[tuple[str, Learner, State, tuple[Pass, ...]]]:
        return [(name, part, own := under(name, carry), part.ask(context, own)) for name, part in self.parts]

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return tuple(replace(item, kept=f"{name}/{item.kept}" if item.kept else "") for name, _, _, passes in self._asked(context, carry) for item in passes)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        after: State = {}
        for name, part, own, passes in self._asked(context, carry):
            mine, closed = closed[: len(passes)], closed[len(passes) :]
            after |= prefixed(name, part.tell(context, own, mine) if passes else own)
        return after

    def finish(self, context: Context, carry: State) -> State:
        return _joined((name, part.finish(context, under(name, carry))) for name, part in self.parts)

    def resume(self, context: Context, carry: State) -> State:
        return _joined((name, part.resume(context, under(name, carry))) for name, part in self.parts)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {f"{name}.{key}": value for name, part in self.parts for key, value in part.facts(context, under(name, carry)).items()}

    def recall(self, context: Context, carry: State, kept: str) -> State:
        name, _, rest = kept.partition("/")
        return dict(self.parts)[name].recall(context, under(name, carry), rest)

    def price(self, context: Context) -> Price:
        prices = [part.price(context) for _, part in self.parts]
        lowest, highest = max(p.passes[0] for p in prices), max(p.passes[1] for p in prices)
        state, given, kept = sum(p.state for p in prices), sum(p.given for p in prices), sum(p.kept_per_row for p in prices)
        return Price(state=state, given=given, lanes=max(p.lanes for p in prices), passes=(lowest, highest), kept_per_row=kept)

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        return {f"{name}.{key}": column for name, part in self.parts for key, column in part.predict(under(name, model), batch).items()}


@dataclass(frozen=True)
class FusedFold(Fold):
    """Several folds over one read."""

    folds: tuple[Fold, ...]

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        each = [fold.traits for fold in self.folds]
        elementwise, order_free, bounded = (all(getattr(t, name) for t in each) for name in ("elementwise", "order_free", "bounded"))
        return Traits(elementwise=elementwise, order_free=order_free, chain=any(t.chain for t in each), bounded=bounded)

    def init(self, given: Mapping[str, Any]) -> State:
        return _joined((i, fold.init(under(f"{i}", given))) for i, fold in enumerate(self.folds))

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        owns = [under(f"{i}", given) for i in range(len(self.folds))]
        return _joined((i, fold.update(under(f"{i}", state), fold.see(batch, own), own)) for i, (fold, own) in enumerate(zip(self.folds, owns, strict=True)))

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return _joined((i, fold.merge(under(f"{i}", left), under(f"{i}", right), under(f"{i}", given))) for i, fold in enumerate(self.folds))


@dataclass(frozen=True)
class Fused(Beside):
    """`Beside`, with passes over the same rows folded in one read."""

    def _groups(self, passes: tuple[Pass, ...]) -> list[list[int]]:
        groups: dict[Any, list[int]] = {}
        for i, item in enumerate(passes):
            alone = i if item.sink is not None or item.kept else -1
            groups.setdefault((item.cover, item.rows, item.source, item.columns, alone), []).append(i)
        return list(groups.values())

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        passes = super().ask(context, carry)
        fused = []
        for group in self._groups(passes):
            if len(group) == 1:
                fused.append(passes[group[0]])
                continue
            given = _joined((i, passes[j].given) for i, j in enumerate(group))
            fused.append(replace(passes[group[0]], fold=FusedFold(tuple(passes[j].fold for j in group)), given=given))
        return tuple(fused)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        passes = super().ask(context, carry)
        states: list[State] = [{}] * len(passes)
        for group, state in zip(self._groups(passes), closed, strict=True):
            for i, j in enumerate(group):
                states[j] = state if len(group) == 1 else under(f"{i}", state)
        return super().tell(context, carry, tuple(states))
