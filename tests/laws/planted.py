"""A sound learner, and one with each mistake that a law is there to catch."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from outgrow import Context, Cover, Fold, Learner, Pass, Traits
from outgrow.core.errors import BadField, BadInput

Given = Mapping[str, Any]
State = dict[str, Any]


def inputs(batch: Any) -> Any:
    """Numbers and a 1 for each row: float64 (n, p + 1)."""
    x = batch.matrix()
    if not np.isfinite(x).all():
        raise BadInput("a value is missing or infinite", where=batch.place)
    return np.hstack([x, np.ones((batch.rows, 1))])


def weighed(errors: Any, batch: Any) -> Any:
    """The errors of rows, each as often as its row counts."""
    return errors if batch.weight is None else errors * batch.weight


@dataclass(frozen=True)
class Gradient(Fold):
    """Sum of squared errors' gradients. state: g (p + 1,), n ()."""

    traits: ClassVar[Traits] = Traits(elementwise=True)

    def init(self, given: Given) -> State:
        return {"g": np.zeros_like(given["w"]), "n": np.zeros((), np.int64)}

    def update(self, state: State, batch: Any, given: Given) -> State:
        x = inputs(batch)
        return {"g": state["g"] + x.T @ weighed((x * given["w"]).sum(axis=1) - batch.target, batch), "n": state["n"] + batch.rows}

    def merge(self, left: State, right: State, given: Given) -> State:
        return {"g": left["g"] + right["g"], "n": left["n"] + right["n"]}


@dataclass(frozen=True)
class Sound(Learner):
    """Least squares by a few gradient steps: holds every law."""

    checks: ClassVar[str] = "number"
    rounds: int = 3
    step: float = 1e-3

    fold: ClassVar[Fold] = Gradient()

    def __post_init__(self) -> None:
        if not self.rounds >= 1:
            raise BadField(f"rounds is {self.rounds}", where="rounds", allowed="1 or more")
        if not 0 < self.step < 1:
            raise BadField(f"step is {self.step}", where="step", allowed="between 0 and 1")

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"w": np.zeros(len(context.schema.inputs) + 1), "t": np.zeros((), np.int64)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return (Pass(fold=self.fold, given={"w": carry["w"]}),) if carry["t"] < self.rounds else ()

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return {"w": carry["w"] - self.step * closed[0]["g"] / closed[0]["n"], "t": carry["t"] + 1}

    def finish(self, context: Context, carry: State) -> State:
        return {"w": carry["w"]}

    def predict(self, model: State, batch: Any) -> State:
        return {"prediction": (inputs(batch) * model["w"]).sum(axis=1)}


class DropsFewRows(Gradient):
    def merge(self, left: State, right: State, given: Given) -> State:
        return left if right["n"] <= 1 else right if left["n"] <= 1 else super().merge(left, right, given)


class CountsEmpty(Gradient):
    traits = Traits()

    def merge(self, left: State, right: State, given: Given) -> State:
        return {"g": (left["g"] + right["g"]) / 2, "n": left["n"] + right["n"]}


class HoldsAView(Gradient):
    traits = Traits()

    def update(self, state: State, batch: Any, given: Given) -> State:
        return super().update(state, batch, given) | {"last": batch.columns["a"].values}

    def merge(self, left: State, right: State, given: Given) -> State:
        return super().merge(left, right, given) | {"last": (right if "last" in right else left).get("last", np.zeros(0))}


_MERGES: list[int] = []


class MergesByArrival(Gradient):
    traits = Traits()

    def merge(self, left: State, right: State, given: Given) -> State:
        _MERGES.append(1)
        merged = super().merge(left, right, given)
        return merged if len(_MERGES) % 3 else {**merged, "g": np.nextafter(merged["g"], 1.0)}


class HidesAMask(Gradient):
    traits = Traits()

    def init(self, given: Given) -> State:
        return super().init(given) | {"g": np.ma.masked_array(np.zeros_like(given["w"]), mask=[True] + [False] * (len(given["w"]) - 1))}


class AddsIntoRight(Gradient):
    def merge(self, left: State, right: State, given: Given) -> State:
        for name, array in left.items():
            right[name] += array
        return right


class CentresTheBatch(Gradient):
    def update(self, state: State, batch: Any, given: Given) -> State:
        values = batch.columns["a"].values
        values -= values.mean()
        return super().update(state, batch, given)


class GoesByOrder(Gradient):
    def merge(self, left: State, right: State, given: Given) -> State:
        (g, n), (more_g, more_n) = left.values(), right.values()
        return {"g": g + more_g, "n": n + more_n}


class IgnoresStrides(Gradient):
    def update(self, state: State, batch: Any, given: Given) -> State:
        values = batch.columns["a"].values
        memory = np.ctypeslib.as_array(ctypes.cast(values.ctypes.data, ctypes.POINTER(ctypes.c_double)), values.shape)
        after = super().update(state, batch, given)
        return after | {"g": after["g"] + memory.sum()}


class ReadsBatchSize(Gradient):
    traits = Traits(order_free=True)

    def update(self, state: State, batch: Any, given: Given) -> State:
        return {"g": state["g"], "n": state["n"] + batch.rows**2}


class SaysElementwise(Gradient):
    def merge(self, left: State, right: State, given: Given) -> State:
        return {"g": np.maximum(left["g"], right["g"]), "n": left["n"] + right["n"]}


_END = [-1]


class CountsOnTheBeginning(Gradient):
    def update(self, state: State, batch: Any, given: Given) -> State:
        if batch.start != _END[0]:
            state = self.init(given)
        _END[0] = batch.start + batch.rows
        return super().update(state, batch, given)


_STREAM = np.random.default_rng(0)


class DrawsFromAStream(Gradient):
    def update(self, state: State, batch: Any, given: Given) -> State:
        after = super().update(state, batch, given)
        return after | {"g": after["g"] + _STREAM.normal()}


class KnowsItsProcess(Gradient):
    def update(self, state: State, batch: Any, given: Given) -> State:
        return super().update(state, batch, given) | {"n": state["n"] + batch.rows + os.getpid() % 997}


class TellsInPlace(Sound):
    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        carry["w"] -= self.step * closed[0]["g"] / closed[0]["n"]
        return {"w": carry["w"], "t": carry["t"] + 1}


_TRAINED: list[int] = []


class RemembersRuns(Sound):
    def begin(self, context: Context, start: State | None = None) -> State:
        carry = super().begin(context, start)
        return carry | {"w": carry["w"] + 1e-9 * len(_TRAINED)}

    def finish(self, context: Context, carry: State) -> State:
        _TRAINED.append(1)
        return super().finish(context, carry)


_MOMENTUM: dict[str, Any] = {}


class MomentumAside(Sound):
    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        after = super().tell(context, carry, closed)
        step = after["w"] - carry["w"] + (0.5 * _MOMENTUM["step"] if carry["t"] > 0 else 0.0)
        _MOMENTUM["step"] = step
        return after | {"w": carry["w"] + step}


class FinishesInPlace(Sound):
    def finish(self, context: Context, carry: State) -> State:
        carry["w"] *= 1.0 - 1e-9
        return {"w": carry["w"]}


class UsesHash(Sound):
    def finish(self, context: Context, carry: State) -> State:
        return {"w": carry["w"], "key": np.array(hash("outgrow") % 1000)}


class CentresPredictions(Sound):
    def predict(self, model: State, batch: Any) -> State:
        found = super().predict(model, batch)["prediction"]
        return {"prediction": found - found.mean()}


@dataclass(frozen=True)
class PredictsRoots(Sound):
    def predict(self, model: State, batch: Any) -> State:
        with np.errstate(invalid="ignore"):
            return {"prediction": np.sqrt(super().predict(model, batch)["prediction"])}


@dataclass(frozen=True)
class TrustsItsField(Sound):
    shrink: float = 0.0

    def finish(self, context: Context, carry: State) -> State:
        return {"w": carry["w"] / (1.0 + self.shrink)}


@dataclass(frozen=True)
class HoldsAList(Sound):
    names: list[str] = field(default_factory=lambda: ["a"])  # type: ignore[assignment]


class SwallowsNaN(Gradient):
    def update(self, state: State, batch: Any, given: Given) -> State:
        x = np.hstack([batch.matrix(), np.ones((batch.rows, 1))])
        return {"g": state["g"] + x.T @ (x @ given["w"] - batch.target), "n": state["n"] + batch.rows}


class ForgetsWeights(Gradient):
    def update(self, state: State, batch: Any, given: Given) -> State:
        x = inputs(batch)
        return {"g": state["g"] + x.T @ ((x * given["w"]).sum(axis=1) - batch.target), "n": state["n"] + batch.rows}


@dataclass(frozen=True)
class Scored(Fold):
    """Boosting in small: scores are kept beside rows, and each round adds one step to them."""

    def keep(self, kept: State | None, batch: Any, given: Given) -> State:  # type: ignore[override]
        x = inputs(batch)
        if kept is not None:
            return {"score": kept["score"] + (x * given["steps"][-1]).sum(axis=1)}
        score = np.zeros(batch.rows)
        for step in given["steps"]:
            score = score + (x * step).sum(axis=1)
        return {"score": score}

    def init(self, given: Given) -> State:
        return Gradient().init({"w": given["steps"][0]})

    def update(self, state: State, batch: Any, given: Given) -> State:
        return {"g": state["g"] + inputs(batch).T @ weighed(batch.kept["score"] - batch.target, batch), "n": state["n"] + batch.rows}

    def merge(self, left: State, right: State, given: Given) -> State:
        return Gradient().merge(left, right, given)


@dataclass(frozen=True)
class RebuildsAtOnce(Scored):
    def keep(self, kept: State | None, batch: Any, given: Given) -> State:  # type: ignore[override]
        return super().keep(kept, batch, given) if kept is not None else {"score": (inputs(batch) * given["steps"].sum(axis=0)).sum(axis=1)}


@dataclass(frozen=True)
class Keeper(Sound):
    """The sound one again, with scores kept beside the rows: holds every law."""

    fold: ClassVar[Fold] = Scored()

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"steps": np.zeros((1, len(context.schema.inputs) + 1)), "t": np.zeros((), np.int64)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return (Pass(fold=self.fold, given={"steps": carry["steps"]}, kept="scores", version=int(carry["t"])),) if carry["t"] < self.rounds else ()

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        step = -self.step * closed[0]["g"] / closed[0]["n"]
        return {"steps": np.vstack([carry["steps"], step]), "t": carry["t"] + 1}

    def recall(self, context: Context, carry: State, kept: str) -> State:
        return {"steps": carry["steps"]}

    def finish(self, context: Context, carry: State) -> State:
        return {"w": carry["steps"].sum(axis=0)}


@dataclass(frozen=True)
class StepsWhenTold(Scored):
    def keep(self, kept: State | None, batch: Any, given: Given) -> State:  # type: ignore[override]
        return kept if kept is not None and given["look"] else super().keep(kept, batch, given)


@dataclass(frozen=True)
class LooksBetweenSteps(Keeper):
    """Every other round only looks at the scores, at the version of the round before: a worker that missed the step has scores of one step less, and never learns of it."""

    fold: ClassVar[Fold] = StepsWhenTold()

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        turn = int(carry["t"])
        given = {"steps": carry["steps"], "look": np.array(turn % 2 == 1)}
        return (Pass(fold=self.fold, given=given, kept="scores", version=turn // 2),) if turn < 2 * self.rounds else ()

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        step = -self.step * closed[0]["g"] / closed[0]["n"]
        return {"steps": np.vstack([carry["steps"], step]) if carry["t"] % 2 else carry["steps"], "t": carry["t"] + 1}


@dataclass(frozen=True)
class Chained(Gradient):
    traits: ClassVar[Traits] = Traits(chain=True)
    by_row: bool = True

    def init(self, given: Given) -> State:
        return {"g": given["w"].copy(), "n": np.zeros((), np.int64)}

    def update(self, state: State, batch: Any, given: Given) -> State:
        x, y = inputs(batch), batch.target
        if not self.by_row:
            return {"g": state["g"] - 1e-4 * x.T @ weighed((x * state["g"]).sum(axis=1) - y, batch), "n": state["n"] + batch.rows}
        w, weight = state["g"], weighed(np.ones(batch.rows), batch)
        for i in range(batch.rows):
            w = w - 1e-4 * weight[i] * ((x[i] * w).sum() - y[i]) * x[i]
        return {"g": w, "n": state["n"] + batch.rows}


@dataclass(frozen=True)
class OneByOne(Sound):
    """A step a row, on one lane: holds every law, and says that batches do not matter."""

    one_by_one: ClassVar[bool] = True
    fold: ClassVar[Fold] = Chained()

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return (Pass(fold=self.fold, given={"w": carry["w"]}, cover=Cover(kind="chains", lanes=1)),) if carry["t"] < self.rounds else ()

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        if not np.isfinite(closed[0]["g"]).all():
            raise BadInput("the weights overflow", todo="Scale the columns first.")
        return {"w": closed[0]["g"], "t": carry["t"] + 1}


@dataclass(frozen=True)
class StepsByBatch(OneByOne):
    fold: ClassVar[Fold] = Chained(by_row=False)


# The sound learner with each of these folds: classes of their own, which other processes find by name.
FOLDS = (
    DropsFewRows, CountsEmpty, HoldsAView, MergesByArrival, HidesAMask, AddsIntoRight, CentresTheBatch, GoesByOrder,
    IgnoresStrides, ReadsBatchSize, SaysElementwise, CountsOnTheBeginning, DrawsFromAStream, KnowsItsProcess, SwallowsNaN, ForgetsWeights,
)  # fmt: skip
for _kind in FOLDS:
    _name = f"Learns{_kind.__name__}"
    globals()[_name] = type(_name, (Sound,), {"fold": _kind(), "__module__": __name__})
LearnsRebuildsAtOnce = type("LearnsRebuildsAtOnce", (Keeper,), {"fold": RebuildsAtOnce(), "__module__": __name__})
