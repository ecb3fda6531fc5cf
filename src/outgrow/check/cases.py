"""What a learner is checked on: rows it accepts, and, for a feature, a way to look at what it makes of them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.combine import Then
from ..core.errors import BadInput, Refused
from ..core.job import Job
from ..core.learner import Context, Feature, Learner, Pass, Price, Rows
from ..core.state import State
from .data import KINDS, TASKS, Task, rows_of, stored, table
from .replay import Trace, Turn, follow

__all__ = ["Case", "Shown", "cases_of"]

SHARD_ROWS, BATCH_ROWS = 50, 17


def _plain(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns of a batch as arrays that can be compared: what is missing is missing, whatever lies under it."""
    found: dict[str, Any] = {}
    for name, column in columns.items():
        kind = type(column).__name__
        if kind == "Numbers":
            found[f"{name}.values"] = column.floats()
        elif kind == "Codes":
            texts = [str(value) for value in column.dictionary.values.to_pylist()] + ["\0"]
            found[f"{name}.values"] = np.array(texts)[column.codes]
        elif kind == "Texts":
            raw, ends = column.data.tobytes(), column.offsets.tolist()
            texts = [raw[start:stop].decode() for start, stop in itertools.pairwise(ends)]
            valid = column.valid if column.valid is not None else np.ones(len(texts), bool)
            found[f"{name}.values"] = np.array([text if good else "\0" for text, good in zip(texts, valid, strict=True)])
        else:
            found |= _entries(name, column.offsets, column.indices, column.values)
    return found


def _entries(name: str, offsets: Any, places: Any, values: Any) -> dict[str, Any]:
    """A ragged column with one text a row."""
    rows = [" ".join(f"{p}:{v!r}" for p, v in zip(places[a:b].tolist(), values[a:b].tolist(), strict=True)) for a, b in itertools.pairwise(offsets)]
    return {f"{name}.entries": np.array(rows)}


@dataclass(frozen=True)
class Shown(Learner):
    """A feature as a learner whose predictions are the columns and the design it makes, so that every law applies to it."""

    feature: Feature
    version: ClassVar[int] = 1

    def begin(self, context: Context, start: State | None = None) -> State:
        return self.feature.begin(context, start)

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return self.feature.ask(context, carry)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return self.feature.tell(context, carry, closed)

    def finish(self, context: Context, carry: State) -> State:
        model = self.feature.finish(context, carry)
        self.feature.schema(model, context.schema)
        return model

    def resume(self, context: Context, carry: State) -> State:
        return self.feature.resume(context, carry)

    def recall(self, context: Context, carry: State, kept: str) -> State:
        return self.feature.recall(context, carry, kept)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return self.feature.facts(context, carry)

    def price(self, context: Context) -> Price:
        return self.feature.price(context)

    def sees(self) -> Rows:
        return self.feature.sees()

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for fitting in (True, False):
            made = self.feature.apply(model, batch, fitting)
            mark = "fitting " if fitting else ""
            shown |= {mark + name: column for name, column in _plain(dict(made.columns)).items()}
            if made.design is not None:
                shown |= {f"{mark}dense": made.design.dense, f"{mark}slots": made.design.slots}
                shown |= _entries(f"{mark}ragged", *made.design.ragged) if made.design.ragged is not None else {}
        return shown


@dataclass
class Case:
    """A learner with rows it accepts.

    learner : what the job trains, encoders and all; `checked` is the part of it that is on trial.
    columns : the made-up rows as a table, None where a source was given.
    """

    name: str
    checked: Learner
    learner: Learner
    source: Any
    seed: int
    folder: Path
    columns: Any = None
    others: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def job(self) -> Job:
        return Job(learner=self.learner, source=self.source, shard_rows=SHARD_ROWS, batch_rows=BATCH_ROWS, seed=self.seed)

    @cached_property
    def trace(self) -> Trace:
        """A run of the job, every round of it remembered."""
        return follow(self.job)

    @cached_property
    def telling(self) -> list[Turn]:
        """The rounds worth a closer look: those of what is on trial."""
        last = len(self.learner.stages) - 1 if self.wrapped and isinstance(self.learner, Then) else 0
        return self.trace.telling(next((turn.number for turn in self.trace.turns if not last or int(turn.carry["stage"]) == last), len(self.trace.turns)))

    @property
    def wrapped(self) -> bool:
        """True where encoders that are not on trial stand in front of the learner."""
        return isinstance(self.learner, Then) and self.learner is not self.checked

    def with_checked(self, changed: Learner) -> Learner:
        """The whole learner with another one on trial."""
        if isinstance(self.learner, Shown) and isinstance(changed, Feature):
            return Shown(changed)
        if self.wrapped and isinstance(self.learner, Then):
            return replace(self.learner, stages=(*self.learner.stages[:-1], changed))
        return changed

    @cached_property
    def stored(self) -> Any:
        """A source of the same rows that other processes can open; None where there is none."""
        if self.columns is not None:
            return stored(self.columns, self.folder / f"{self.name.replace(', ', '-').replace(' ', '-')}.parquet")
        return self.source.share(self.folder) if hasattr(self.source, "share") else self.source if self.source.content else None


def _encoders() -> Iterator[tuple[str, tuple[Feature, ...]]]:
    """Ways from columns to a design, the richest first."""
    from ..data import features

    if hasattr(features, "OneHot") and hasattr(features, "Missing"):
        yield "one-hot", (features.Missing(), features.OneHot())
    yield "hashed", (features.Hashing(bits=6),)


def _wrappings(learner: Learner) -> Iterator[tuple[str, Learner]]:
    if isinstance(learner, Feature):
        yield "", Shown(learner)
        return
    yield "", learner
    if not isinstance(learner, Then):
        for name, features in _encoders():
            yield name, Then((*features, learner))


def _tasks(learner: Learner) -> tuple[Task, ...]:
    said = getattr(learner, "checks", None)
    if said is None:
        return TASKS if not isinstance(learner, Feature) else ("classes", "number") if getattr(learner, "weighs", False) else ("binary",)
    if said not in TASKS:
        raise BadInput(f"{type(learner).__name__}.checks is {said!r}", allowed=", ".join(TASKS))
    return (said,)


def _refusal(case: Case) -> Exception | None:
    """Why a learner does not take these rows: it is trained on them, and asked to predict some."""
    try:
        model = case.trace.model
        with contextlib.suppress(Refused):  # some describe rows, and predict nothing
            case.learner.predict(model, next(iter(case.source.read(0, BATCH_ROWS, BATCH_ROWS))))
    except Exception as error:  # noqa: BLE001 whatever it raises, these rows are not for it; the caller says why when none are
        return error
    return None


def cases_of(learner: Learner, *, seed: int, folder: Path, source: Any = None) -> list[Case]:
    """The learner on rows it accepts, one case a task; at most two.

    A learner says which rows it wants, if it must, by a class attribute ``checks`` ("binary", "classes", "number" or
    "none": what the target holds) or a method ``example(seed)`` that gives a source. Else it is tried.

    Raises BadInput with every reason where it accepts none.
    """
    if source is None and hasattr(learner, "example"):
        source = learner.example(seed)
    if source is not None:
        return [Case("the rows given", learner, Shown(learner) if isinstance(learner, Feature) else learner, source, seed, folder)]
    found: list[Case] = []
    reasons: list[str] = []
    for task in _tasks(learner):
        if len(found) == 2 or (task == "none" and found):
            break
        for kind, name, whole in ((kind, name, whole) for name, whole in _wrappings(learner) for kind in KINDS):
            columns = table(kind, task, seed)
            case = Case(", ".join(filter(None, (kind, name, f"target {task}"))), learner, whole, rows_of(columns), seed, folder, columns)
            refusal = _refusal(case)
            if refusal is not None and "weigh" in str(refusal) and "w" in columns.column_names:  # the same rows for whoever refuses weights
                columns = columns.drop_columns("w")
                case = Case(f"{case.name}, no weights", learner, whole, rows_of(columns), seed, folder, columns)
                refusal = _refusal(case)
            if refusal is None:
                found.append(case)
                break
            reasons.append(f"on {case.name}: {type(refusal).__name__}: {refusal}")
    if not found:
        raise BadInput(
            f"{type(learner).__name__} accepts none of the rows it was tried on",
            allowed="a class attribute `checks` (binary, classes, number, none), or a method example(seed) that gives a source",
            todo="It said:\n  " + "\n  ".join(reasons),
        )
    return found
