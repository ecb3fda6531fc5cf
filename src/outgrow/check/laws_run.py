"""Laws of a run: where it stops and goes on, who carries it out, and what it is asked on the way."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

from ..core.errors import OutgrowError
from ..core.events import Event, Events
from ..core.job import Job
from ..core.learner import Pass
from ..core.run import run
from ..core.state import State, digest, same
from .cases import Case
from .law import Broken, broken_unless_same, needs
from .replay import follow, fresh, through_bytes

__all__ = ["RUN_LAWS"]


def _alike(a: Pass, b: Pass) -> bool:
    return same(a.given, b.given) and replace(a, given={}) == replace(b, given={})


def ask_and_tell_are_pure(case: Case) -> None:
    """The same carry gives the same passes and the same next carry: catches a `tell` that works in place, and learners with a memory of their own."""
    learner, context = case.learner, case.job.context
    broken_unless_same(learner.begin(context), learner.begin(context), "begin gives another carry the second time")
    for turn in case.telling:
        asked = learner.ask(context, turn.carry)
        if len(asked) != len(turn.passes) or not all(_alike(a, b) for a, b in zip(asked, turn.passes, strict=True)):
            raise Broken(f"ask gives other passes for the same carry (round {turn.number + 1})")
        loose = fresh(turn.carry)
        learner.ask(context, loose)
        broken_unless_same(turn.carry, loose, "ask changes the carry")
        for _ in range(2):
            after = learner.tell(context, loose, tuple(fresh(state) for state in turn.closed))
            broken_unless_same(turn.after, after, "tell gives another carry the second time, from the same carry and states")
            broken_unless_same(turn.carry, loose, "tell changes the carry it was given")
    for _ in range(2):
        loose = fresh(case.trace.carry)
        broken_unless_same(case.trace.model, learner.finish(context, loose), "finish gives another model the second time")
        broken_unless_same(case.trace.carry, loose, "finish changes the carry")


def same_twice(case: Case) -> None:
    """The same job gives the same model twice in one process: catches state outside the carry, and randomness from a stream."""
    again = follow(case.job)
    for first, second in zip(case.trace.turns, again.turns, strict=False):
        broken_unless_same(first.after, second.after, f"trained a second time, round {first.number + 1} gives other bits")
    broken_unless_same(case.trace.model, again.model, "trained a second time, the model is another one")


def resume_between_rounds(case: Case) -> None:
    """A run goes on from the carry of any round, written and read again: catches what a learner remembers outside its carry."""
    needs(len(case.trace.turns) > 1, "the learner needs one round at most")
    twin = pickle.loads(pickle.dumps(case.learner)) if _travels(case.learner) else case.learner  # noqa: S301 our own bytes
    turns = [turn for turn in case.telling if turn.number > 0] or list(case.trace.turns[1:2])
    for turn in {turns[0].number: turns[0], turns[-1].number: turns[-1]}.values():
        again = follow(case.job, carry=through_bytes(turn.carry), number=turn.number, between=through_bytes, learner=twin)
        broken_unless_same(case.trace.model, again.model, f"stopped before round {turn.number + 1} and resumed, the model is another one")


def asking_midway_changes_nothing(case: Case) -> None:
    """A model can be looked at while it is made: catches a `finish`, `predict`, `facts` or `price` that changes the carry or the learner."""
    learner, context = case.learner, case.job.context
    needs(case.trace.turns, "the learner needs no round")
    rows = next(iter(case.source.read(0, 16, 16)))

    def look(carry: State) -> State:
        before, loose = digest(carry), fresh(carry)
        learner.facts(context, loose)
        with contextlib.suppress(KeyError, IndexError, OutgrowError):  # there may be no price, or no model, yet
            learner.price(context)
        with contextlib.suppress(KeyError, IndexError, OutgrowError):
            model = learner.finish(context, loose)
            learner.resume(context, loose)
            for name in {item.kept for item in learner.ask(context, loose) if item.kept}:
                learner.recall(context, loose, name)
            learner.predict(model, rows)
        if digest(loose) != before:
            raise Broken("asking for model, facts or predictions midway changes the carry")
        return loose

    broken_unless_same(case.trace.model, follow(case.job, between=look).model, "asked midway for its model, the run ends in another one")


def kept_rebuilt_is_kept_stepped(case: Case) -> None:
    """What lives beside a batch can be lost at any time, and a worker may miss rounds: catches a `keep`
    whose steps and whose rebuilding add up differently, and versions that stand still."""
    needs(any(item.fold.keep is not None for turn in case.trace.turns for item in turn.passes), "nothing is kept beside batches")
    for workers, how in ((0, "rebuilt instead of stepped"), (2, "at two workers that take rounds by turns")):
        other = follow(case.job, workers=workers)
        for first, second in zip(case.trace.turns, other.turns, strict=False):
            broken_unless_same(first.after, second.after, f"with kept arrays {how}, round {first.number + 1} gives other bits")
        broken_unless_same(case.trace.model, other.model, f"with kept arrays {how}, the model is another one")


def one_by_one_equals_batches(case: Case) -> None:
    """Where a learner says `one_by_one`, batches of any size give one model: catches a step that reads how many rows came together."""
    needs(getattr(case.checked, "one_by_one", False), "the learner does not say `one_by_one`")
    for batch_rows in (1, 7, 1000):
        found = follow(replace(case.job, batch_rows=batch_rows)).model
        broken_unless_same(case.trace.model, found, f"batches of {batch_rows} rows give another model than batches of {case.job.batch_rows}")


def _travels(learner: Any) -> bool:
    """True where another process can make the learner from its pickle."""
    try:
        text = pickle.dumps(learner)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return b"__main__" not in text


def _needs_travel(case: Case) -> None:
    needs(_travels(case.learner), "the learner is defined where other processes cannot import it; put it in a module")
    needs(case.stored is not None, "the rows are in memory alone, where other processes cannot read them")


class _Killer:
    """Kills a worker, once, as soon as the run is under way."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.killed = engine, 0

    def __call__(self, event: Event) -> None:
        if event["kind"] == "tick" and not self.killed:
            self.killed = next(iter(self.engine.pids()))
            os.kill(self.killed, signal.SIGKILL)


def any_engine(case: Case) -> None:
    """One process, two, or three of which one is killed: catches whatever depends on who folds, and code that workers cannot import."""
    from ..engines.processes import Processes
    from ..engines.serial import Serial

    _needs_travel(case)
    job = Job(learner=case.learner, source=case.stored, shard_rows=case.job.shard_rows, batch_rows=case.job.batch_rows, seed=case.seed)
    broken_unless_same(case.trace.model, run(job, Serial()).arrays, "the same rows from a file, on one process, give another model")
    broken_unless_same(case.trace.model, run(job, Processes(2)).arrays, "two processes give another model")
    needs(case.trace.turns, "two processes agree; there is no round in which to kill a worker")
    engine = Processes(3)
    found = run(job, engine, events=Events(_Killer(engine))).arrays
    broken_unless_same(case.trace.model, found, "three processes, one of which was killed, give another model")


def another_process(case: Case) -> None:
    """A fresh process with another PYTHONHASHSEED gives the same model: catches hash(), sets that are walked through, and ids."""
    _needs_travel(case)
    job = Job(learner=case.learner, source=case.stored, shard_rows=case.job.shard_rows, batch_rows=case.job.batch_rows, seed=case.seed)
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 the empty entry means it
    found = subprocess.run(
        [sys.executable, "-m", "outgrow.check.again"], input=pickle.dumps(job), capture_output=True, check=False, env={**os.environ, "PYTHONHASHSEED": other, "PYTHONPATH": paths}
    )
    if found.returncode:
        raise Broken(f"a fresh process cannot train it: {found.stderr.decode(errors='replace').strip().splitlines()[-1]}")
    if found.stdout.decode().strip() != case.trace.digest:
        raise Broken("a fresh process with another hash seed gives another model")


RUN_LAWS = (
    ask_and_tell_are_pure,
    same_twice,
    resume_between_rounds,
    asking_midway_changes_nothing,
    kept_rebuilt_is_kept_stepped,
    one_by_one_equals_batches,
    any_engine,
    another_process,
)
