"""A run taken apart: every round remembered, any round folded again in another way."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from ..core.fold import Kept
from ..core.job import Job
from ..core.learner import Learner, Pass
from ..core.state import State, decode, digest, encode
from ..core.tree import Closer
from ..data.batch import Schema

__all__ = ["Trace", "Turn", "arrays_in", "fold_again", "follow", "freeze", "fresh", "frozen", "lane_batches", "recoded", "through_bytes", "zero_signs"]

_MANY = 400  # rounds after which a learner is taken not to end


def fresh(state: Mapping[str, Any]) -> State:
    """A deep copy that may be consumed."""
    return {name: copy.deepcopy(array) for name, array in state.items()}


def frozen(state: Mapping[str, Any]) -> State:
    """A deep copy whose arrays refuse to be written."""
    copied = fresh(state)
    for array in copied.values():
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return copied


def through_bytes(state: Mapping[str, Any]) -> State:
    """The state as it comes back from a checkpoint or another process."""
    return decode(b"".join(encode(state)))[0]


def zero_signs(state: Mapping[str, Any]) -> State:
    """The state with every negative zero made positive."""
    return {name: np.asarray(array) + np.zeros((), np.asarray(array).dtype) if np.asarray(array).dtype.kind == "f" else np.asarray(array) for name, array in state.items()}


def arrays_in(thing: Any, _seen: set[int] | None = None) -> Iterator[np.ndarray[Any, Any]]:
    """Every numpy array that a batch, state or pass holds, at any depth."""
    seen = set() if _seen is None else _seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, Mapping):
        for value in thing.values():
            yield from arrays_in(value, seen)
    elif isinstance(thing, (tuple, list)):
        for value in thing:
            yield from arrays_in(value, seen)
    else:
        for name in _fields(thing.__class__):
            yield from arrays_in(getattr(thing, name), seen)


def freeze(thing: Any) -> Any:
    """Make every array in it refuse to be written; returns it."""
    for array in arrays_in(thing):
        array.flags.writeable = False
    return thing


def recoded(thing: Any, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Any:
    """A batch (or state) with every array in it replaced by ``change(array)``."""
    if isinstance(thing, np.ndarray):
        return change(thing)
    if isinstance(thing, Mapping):
        return {name: recoded(value, change) for name, value in thing.items()}
    if isinstance(thing, (tuple, list)):
        parts = [recoded(value, change) for value in thing]
        return thing if all(map(operator.is_, parts, thing)) else type(thing)(parts)
    names = _fields(thing.__class__)
    values = [getattr(thing, name) for name in names]
    parts = [recoded(value, change) for value in values]
    if all(map(operator.is_, parts, values)):
        return thing
    twin = copy.copy(thing) if hasattr(thing, "__dict__") else object.__new__(thing.__class__)
    for name, part in zip(names, parts, strict=True):
        object.__setattr__(twin, name, part)
    return twin


@cache
def _fields(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass that may hold arrays; a schema holds none, and is in every batch."""
    return tuple(item.name for item in fields(kind)) if is_dataclass(kind) and kind is not Schema else ()


@dataclass(frozen=True)
class Turn:
    """One round: the carry before it, what was asked, the closed states, the carry after it. All arrays are read-only."""

    number: int
    carry: State
    passes: tuple[Pass, ...]
    closed: tuple[State, ...]
    after: State

    @property
    def kind(self) -> tuple[Any, ...]:
        """Rounds of one kind ask for the same folds over the same sort of rows."""
        return tuple((item.fold, item.cover.kind, item.rows, item.source, tuple(sorted(item.given))) for item in self.passes)


@dataclass(frozen=True)
class Trace:
    """A run: its rounds, its last carry, and the model."""

    turns: tuple[Turn, ...]
    carry: State
    model: State

    @property
    def digest(self) -> str:
        return digest(self.model)

    def telling(self, first: int = 0, most: int = 4) -> list[Turn]:
        """Rounds worth a closer look, from number `first` on: the first of each kind, and the last."""
        seen: set[str] = set()
        found = []
        for turn in self.turns:
            if turn.number >= first and repr(turn.kind) not in seen:
                seen.add(repr(turn.kind))
                found.append(turn)
        last = [turn for turn in self.turns[-1:] if turn.number >= first and all(turn is not other for other in found[:most])]
        return [*found[:most], *last]


def _closed(job: Job, item: Pass, kept: Kept, recall: Callable[[str], State]) -> State:
    """The closed state of a pass, lane by lane. What a fold must not write to is a copy here: other laws tell of that."""
    fold, given = item.fold, fresh(item.given)
    closer = Closer(job.lanes(item), lambda left, right: fold.merge(left, right, given))
    for lane in range(job.lanes(item)):
        state = fold.init(given)
        for number, batch in enumerate(job.batches(item, lane)):
            if batch.rows:
                seen = fold.see(recoded(batch, np.copy), given)
                state = fold.update(state, kept.step(job, item, lane, number, seen, recall) if fold.keep is not None else seen, given)
        closer.add(0, lane, state)
    return closer.close()


def follow(
    job: Job, *, carry: State | None = None, number: int = 0, between: Callable[[State], State] | None = None, workers: int = 1, learner: Learner | None = None, most: int = _MANY
) -> Trace:
    """Run the job lane by lane, remembering every round.

    Parameters
    ----------
    carry, number : dict of arrays, int
        Go on from this carry, which is the one before round `number`.
    between : callable, optional
        What a carry goes through between two rounds.
    workers : int
        How many keep what lies beside batches and take rounds by turns, so that each misses the others'; 0: it is lost after every round.
    most : int
        Rounds after which the model is asked for, ended or not.
    """
    learner = learner or job.learner
    between = between or fresh
    carry = between(learner.begin(job.context, job.start) if carry is None else carry)
    homes, turns = [Kept() for _ in range(workers)], list[Turn]()
    while (passes := learner.ask(job.context, carry)) and len(turns) < most:
        kept = homes[len(turns) % workers] if workers else Kept()
        before, passes = frozen(carry), tuple(replace(item, given=frozen(item.given)) for item in passes)
        closed = tuple(frozen(_closed(job, item, kept, lambda name: learner.recall(job.context, before, name))) for item in passes)  # noqa: B023
        carry = between(learner.tell(job.context, carry, tuple(fresh(state) for state in closed)))
        turns.append(Turn(number + len(turns), before, passes, closed, frozen(carry)))
    last = frozen(carry)
    return Trace(tuple(turns), last, frozen(learner.finish(job.context, carry)))


def lane_batches(job: Job, item: Pass, turn: Turn, lane: int, change: Callable[[Any], Any] | None = None) -> Iterator[Any]:
    """The batches of a lane as `update` reads them, kept arrays beside them; `change` acts before and after features that change columns."""
    kept, recall = Kept(), lambda name: job.learner.recall(job.context, turn.carry, name)
    for number, batch in enumerate(job.batches(item, lane)):
        if batch.rows:
            seen = item.fold.see(change(batch) if change else batch, item.given)
            if change and getattr(seen, "design", None) is None:  # the layout of a design is fixed by who encodes it
                seen = change(seen)
            yield seen if item.fold.keep is None else kept.step(job, item, lane, number, seen, recall)


def fold_again(
    job: Job, turn: Turn, which: int, *, change: Callable[[Any], Any] | None = None, step: Callable[[State], State] | None = None, given: Callable[[State], State] | None = None
) -> State:
    """The closed state of pass `which` of a round, folded again.

    Parameters
    ----------
    change : callable, optional
        What the columns of every batch go through, before and after the features.
    step : callable, optional
        What a state goes through between any two steps.
    given : callable, optional
        What the broadcast arrays go through first.
    """
    item = turn.passes[which]
    same = step or (lambda state: state)
    shown = given(item.given) if given else item.given
    fold = item.fold
    closer = Closer(job.lanes(item), lambda left, right: same(fold.merge(left, right, shown)))
    state: State | None = None
    for lane in range(job.lanes(item)):
        if state is None or not fold.traits.order_free:
            state = same(fold.init(shown))
        for batch in lane_batches(job, item, turn, lane, change):
            state = same(fold.update(state, batch, shown))
        if not fold.traits.order_free:
            closer.add(0, lane, state)
    return state if fold.traits.order_free and state is not None else closer.close()
