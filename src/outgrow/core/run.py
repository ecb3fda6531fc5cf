"""The only ask/tell loop: rounds until the learner asks for nothing more, saved by time, the same on every engine."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from threadpoolctl import ThreadpoolController

from .errors import BadFile, BadInput, Interrupted, OutgrowError
from .events import Events
from .fold import Block, Node, Partial
from .job import Job, builds
from .learner import Pass
from .state import State, digest, frozen, nbytes, spilled
from .store import Checkpoint, RunStore, explained
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
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        with _libraries(len(sys.modules)).limit(limits=1):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Round:
    """One round under way: a closer a pass, the partial lanes, and when to save them."""

    def __init__(self, loop: _Loop, carry: State, passes: tuple[Pass, ...]) -> None:
        self.loop, self.carry, self.passes = loop, carry, passes
        self.closers = [
            Closer(loop.job.lanes(item), lambda a, b, item=item: item.fold.merge(a, b, item.given), loop.spill, WAITING // len(passes))  # type: ignore[misc]
            for item in passes
        ]
        self.partials: dict[tuple[int, int], Partial] = {}

    def restore(self, checkpoint: Checkpoint) -> None:
        spans = [(n.which, n.index + 1 << n.level) for n in checkpoint.nodes] + [(p.which, p.lane + 1) for p in checkpoint.partials]
        if any(which >= len(self.closers) or stop > self.closers[which].lanes for which, stop in spans):
            raise BadFile("the checkpoint names lanes that the job has not", where=self.loop.job.id, todo="Run again with --fresh.")
        for node in checkpoint.nodes:
            self.closers[node.which].add(node.level, node.index, node.state)
        self.partials = {(p.which, p.lane): p for p in checkpoint.partials}

    def blocks(self) -> Iterator[Block]:
        """What is left to fold, as aligned subtrees in lane order: four a worker or more, and small, so that a lost one costs little."""
        for which, closer in enumerate(self.closers):
            rows = max(1, self.loop.job.lane_rows(self.passes[which], 0))
            most = max(1, min(closer.lanes // (4 * self.loop.engine.workers), _BLOCK_ROWS // rows))
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
        return self.loop.store is not None and time.monotonic() >= self.loop.save_at

    def partial(self, partial: Partial) -> None:
        self.partials[partial.which, partial.lane] = partial
        if self.due():
            self.save()

    def recall(self, kept: str) -> State:
        return self.loop.job.learner.recall(self.loop.job.context, self.carry, kept)

    def add(self, node: Node) -> None:
        self.closers[node.which].add(node.level, node.index, node.state)
        for lane in range(node.index << node.level, (node.index + 1) << node.level):
            self.partials.pop((node.which, lane), None)
        if self.due():
            self.save()

    def save(self) -> None:
        nodes = [Node(which, level, index, state) for which, closer in enumerate(self.closers) for (level, index), state in closer.nodes.items()]
        self.loop.save(Checkpoint(self.loop.turn, self.carry, nodes, self.partials.values()))


class _Loop:
    def __init__(self, job: Job, engine: Engine, store: RunStore | None, events: Events, save_every: float) -> None:
        self.job, self.engine, self.store, self.events, self.save_every = job, engine, store, events, save_every
        self.turn = self.rows = self.passes = 0
        self.saved = -1  # the turn of the checkpoint that is kept
        self.save_at = time.monotonic() + save_every
        self.node_bytes = 0

    def spill(self, state: State) -> State:
        folder = self.store.folder if self.store is not None else None
        with explained(folder or Path(tempfile.gettempdir())):
            return spilled(state, folder)

    def save(self, checkpoint: Checkpoint) -> None:
        if self.store is None:
            return
        began = time.monotonic()
        written = self.store.save(checkpoint)
        self.saved = checkpoint.turn
        now = time.monotonic()
        self.save_at = now + max(self.save_every, 30 * (now - began))  # saving stays under about 3 % of the time
        self.events.emit("saved", turn=checkpoint.turn, bytes=written, seconds=now - began)

    def round(self, carry: State, passes: tuple[Pass, ...], checkpoint: Checkpoint | None) -> State:
        under_way = _Round(self, carry, passes)
        if checkpoint is not None:
            under_way.restore(checkpoint)
        job = self.job
        total = sum(job.lane_rows(item, lane) for item in passes if item.cover.kind != "shards" for lane in range(item.cover.lanes))
        total += sum(job.seen_rows(item.rows, job.reads(item).rows) for item in passes if item.cover.kind == "shards")
        self.events.emit("round", turn=self.turn, passes=len(passes), rows=total)
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
            self.save(Checkpoint(self.turn, carry))  # a commit may use up the parts: after a crash in it the round is folded again, not resumed
        for sink, lanes in sinks:
            sink.commit(lanes)
        self.passes += len(passes)
        return frozen(job.learner.tell(job.context, carry, closed))

    def train(self) -> State:
        """The last carry."""
        job = self.job
        checkpoint = self.store.load() if self.store is not None else None
        if checkpoint is not None:
            self.turn = self.saved = checkpoint.turn
            self.events.emit("resumed", turn=self.turn, nodes=len(checkpoint.nodes), partials=len(checkpoint.partials))
        carry = frozen(checkpoint.carry if checkpoint is not None else job.learner.begin(job.context, job.start))
        reached = self.turn, carry
        try:
            while passes := job.learner.ask(job.context, carry):
                carry = self.round(carry, passes, checkpoint)
                reached = self.turn + 1, carry
                checkpoint = None
                self.turn += 1
                if self.events.listeners:
                    self.events.emit("told", turn=self.turn, facts=job.learner.facts(job.context, carry))
                if self.store is not None and time.monotonic() >= self.save_at:
                    self.save(Checkpoint(self.turn, carry))
        except KeyboardInterrupt:
            if reached[0] > self.saved:  # else what is kept has this carry, and perhaps more of the round
                self.save(Checkpoint(*reached))
            raise
        return carry


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
            raise Interrupted(f"stopped in round {loop.turn + 1}.{saved}") from None
        finally:
            engine.stop()
    result.record = {
        "job": job.id,
        "digest": digest(result.arrays),
        "engine": engine.name,
        "workers": engine.workers,
        "rounds": loop.turn,
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


