"""The only ask/tell loop: rounds until the learner asks for nothing more, saved by time, the same on every engine."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from threadpoolctl import ThreadpoolController

from .errors import BadFile, BadInput, Interrupted, OutgrowError
from .events import Events
from .fold import Block, Node, Partial
from .job import Job, builds
from .learner import Pass
from .state import State, digest, frozen, nbytes, spilled
from .store import Checkpoint, RunStore
from .tree import Closer, aligned

__all__ = ["WAITING", "Engine", "Observer", "Result", "one_thread", "run"]

WAITING = 256 << 20  # bytes of states in memory that wait for their sibling; those beyond lie on disk
_BLOCK_ROWS = 1 << 20
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Observer(Protocol):
    """What an engine tells while it folds."""

    def progress(self, which: int, lane: int, rows: int, worker: int) -> None: ...
    def due(self) -> bool:
        """True where a partial lane is wanted now."""

    def partial(self, partial: Partial) -> None:
        """A lane under way; its state is given away: nobody writes into it any more."""

    def recall(self, kept: str) -> State: ...


class Engine(Protocol):
    """Where blocks of lanes are folded. It knows no learner, and no result depends on it."""

    name: str
    workers: int
    measured: dict[str, int]  # what it saw its processes take, for the record; known once it has stopped

    def can(self, job: Job) -> OutgrowError | None:
        """Why not, and what could; None where it can."""

    def start(self, job: Job, events: Events, folder: str | None) -> None: ...
    def fold(self, passes: tuple[Pass, ...], blocks: Iterable[Block], observer: Observer) -> Iterator[Node]:
        """Every block's node, in any order, each at least once."""

    def stop(self) -> None: ...


@dataclass
class Result:
    """A finished run: the model's arrays, its resume section, and the record of what happened."""

    arrays: State
    resume: State
    record: dict[str, Any] = field(default_factory=dict)


@functools.lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:  # noqa: ARG001 what the answer is kept for
    """The libraries that have threads. Looking for them takes 5 ms: again only where modules have come in since."""
    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One BLAS and OpenMP thread, for libraries loaded already and for those loaded inside: last bits depend on it."""
    before = {name: os.environ[name] for name in _THREADS if name in os.environ}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        with _libraries(len(sys.modules)).limit(limits=1):
            yield
    finally:
        for name in _THREADS:
            os.environ.pop(name, None)
        os.environ.update(before)


class _Round:
    """One round under way: a closer a pass, the partial lanes, and when to save them. It begins with what the loop's checkpoint has of it."""

    def __init__(self, loop: _Loop, passes: tuple[Pass, ...]) -> None:
        self.loop, self.at, self.passes = loop, loop.at, passes
        self.closers = [Closer(loop.job.lanes(item), item.merge, loop.spill, WAITING // len(passes)) for item in passes]
        spans = [(n.which, n.index + 1 << n.level) for n in self.at.nodes] + [(p.which, p.lane + 1) for p in self.at.partials]
        if any(which >= len(passes) or stop > self.closers[which].lanes for which, stop in spans):
            raise BadFile("the checkpoint names lanes that the job has not", where=loop.job.id, todo="Run again with --fresh.")
        for node in self.at.nodes:
            self.closers[node.which].add(node.level, node.index, node.state)
        self.partials = {(p.which, p.lane): p for p in self.at.partials}

    def blocks(self) -> Iterator[Block]:
        """What is left to fold, as aligned subtrees in lane order: four a worker or more, and small, so that a lost one costs little."""
        for which, closer in enumerate(self.closers):
            rows = max(1, self.loop.job.lane_rows(self.passes[which], 0))
            pieces = 1 if self.passes[which].fold.beside else 4  # what nobody reads again is quickly folded again
            most = max(1, min(closer.lanes // (pieces * self.loop.engine.workers), _BLOCK_ROWS // rows))
            begun = sorted(lane for w, lane in self.partials if w == which)
            for start, stop in closer.missing():
                edges = sorted({start, stop, *(e for lane in begun if start <= lane < stop for e in (lane, lane + 1))})
                for a, b in pairwise(edges):
                    for level, index in aligned(a, b, most):
                        yield Block(which, level, index, self.partials.get((which, a)) if level == 0 else None)

    def progress(self, which: int, lane: int, rows: int, worker: int) -> None:
        self.loop.rows += rows
        self.loop.events.emit("tick", which=which, lane=lane, rows=rows, worker=worker)

    def due(self) -> bool:
        return self.loop.due()

    def partial(self, partial: Partial) -> None:
        self.partials[partial.which, partial.lane] = partial
        if self.due():
            self.save()

    def recall(self, kept: str) -> State:
        return self.loop.job.learner.recall(self.loop.job.context, self.at.carry, kept)

    def add(self, node: Node) -> None:
        self.closers[node.which].add(node.level, node.index, node.state)
        for lane in range(node.index << node.level, (node.index + 1) << node.level):
            self.partials.pop((node.which, lane), None)
        if self.due():
            self.save()

    def save(self) -> None:
        nodes = [Node(which, level, index, state) for which, closer in enumerate(self.closers) for (level, index), state in closer.nodes.items()]
        self.loop.save(Checkpoint(self.at.turn, self.at.carry, nodes, self.partials.values()))


class _Loop:
    """The rounds of a job. `at` is where it stands: one object, so that an interruption at any moment finds it whole."""

    def __init__(self, job: Job, engine: Engine, store: RunStore | None, events: Events, save_every: float) -> None:
        self.job, self.engine, self.store, self.events, self.save_every = job, engine, store, events, save_every
        self.folder = store.folder if store is not None else None
        self.at = Checkpoint(0, {})
        self.rows = self.passes = self.node_bytes = 0
        self.saved = -1  # the turn of the checkpoint that is kept
        self.save_at = time.monotonic() + save_every

    def spill(self, state: State) -> State:
        return spilled(state, self.folder)

    def due(self) -> bool:
        return self.store is not None and time.monotonic() >= self.save_at

    def save(self, checkpoint: Checkpoint) -> None:
        if self.store is None:
            return
        began = time.monotonic()
        written = self.store.save(checkpoint)
        self.saved = checkpoint.turn
        now = time.monotonic()
        self.save_at = now + max(self.save_every, 30 * (now - began))  # saving stays under about 3 % of the time
        self.events.emit("saved", turn=checkpoint.turn, bytes=written, seconds=now - began)

    def round(self, passes: tuple[Pass, ...]) -> State:
        """The carry after a round of these passes."""
        under_way, job = _Round(self, passes), self.job
        total = sum(job.lane_rows(item, lane) for item in passes if item.cover.kind != "shards" for lane in range(item.cover.lanes))
        total += sum(job.seen_rows(item.rows, job.reads(item).rows) for item in passes if item.cover.kind == "shards")
        self.events.emit("round", turn=self.at.turn, passes=len(passes), rows=total)
        sinks = [(item.sink, job.lanes(item)) for item in passes if item.sink is not None]
        for sink, _ in sinks:
            sink.prepare()
        try:
            for node in self.engine.fold(passes, under_way.blocks(), under_way):
                self.node_bytes += nbytes(node.state)
                under_way.add(node)
        except KeyboardInterrupt:
            under_way.save()
            raise
        closed = tuple(closer.close() for closer in under_way.closers)
        if sinks:
            self.save(Checkpoint(self.at.turn, self.at.carry))  # a commit may use up the parts: after a crash in it the round is folded again, not resumed
        for sink, lanes in sinks:
            sink.commit(lanes)
        self.passes += len(passes)
        return frozen(job.learner.tell(job.context, self.at.carry, closed))

    def train(self) -> State:
        """The last carry."""
        learner, context = self.job.learner, self.job.context
        kept = self.store.load() if self.store is not None else None
        if kept is not None:
            self.saved = kept.turn
            self.events.emit("resumed", turn=kept.turn, nodes=len(kept.nodes), partials=len(kept.partials))
        self.at = kept or Checkpoint(0, learner.begin(context, self.job.start))
        frozen(self.at.carry)
        try:
            while passes := learner.ask(context, self.at.carry):
                self.at = Checkpoint(self.at.turn + 1, self.round(passes))
                if self.events.listeners:
                    self.events.emit("told", turn=self.at.turn, facts=learner.facts(context, self.at.carry))
                if self.due():
                    self.save(self.at)
        except KeyboardInterrupt:
            if self.at.turn > self.saved:  # else what is kept has this carry, and perhaps more of the round
                self.save(self.at)
            raise
        return self.at.carry


def run(job: Job, engine: Engine, *, store: RunStore | None = None, events: Events | None = None, save_every: float = 2.0) -> Result:
    """Carry out a job to its model.

    The result depends on the job alone: not on the engine, its workers, or how often the run was killed.

    Parameters
    ----------
    job : Job
    engine : Engine
        Started and stopped here.
    store : RunStore, optional
        Where checkpoints go; without one, an interrupted run starts over.
    events : Events, optional
    save_every : float
        Seconds between checkpoints; longer where one takes long.

    Raises
    ------
    BadInput
        No rows, or rows that cannot be learned from.
    Refused
        The engine cannot carry the job.
    Interrupted
        On Ctrl-C, after saving.
    """
    events = events or Events()
    if not job.source.rows:
        raise BadInput("there are no rows to learn from", todo="Check the path and the filters.")
    refusal = engine.can(job)
    if refusal is not None:
        raise refusal
    loop = _Loop(job, engine, store, events, save_every)
    events.emit("begin", job=job.id, engine=engine.name, workers=engine.workers, rows=job.source.rows)
    began = time.monotonic()
    with one_thread():
        try:
            engine.start(job, events, str(store.folder) if store is not None else None)
            ready = time.monotonic()
            carry = loop.train()
            job.source.check()
            result = Result(job.learner.finish(job.context, carry), job.learner.resume(job.context, carry))
            trained = time.monotonic()
        except KeyboardInterrupt:
            saved = " What was done is saved: run the same command again to go on." if store is not None else ""
            raise Interrupted(f"stopped in round {loop.at.turn + 1}.{saved}") from None
        finally:
            engine.stop()
    result.record = {
        "job": job.id,
        "digest": digest(result.arrays),
        "engine": engine.name,
        "workers": engine.workers,
        "rounds": loop.at.turn,
        "passes": loop.passes,
        "rows": loop.rows,
        "start_seconds": ready - began,
        "train_seconds": trained - ready,
        "seconds": time.monotonic() - began,
        **engine.measured,
        "node_bytes": loop.node_bytes,
        "builds": builds(),
    }
    events.emit("end", **result.record)
    return result
