"""Worker processes on this machine. One that dies costs its own block and nothing else.

Each worker is a fresh interpreter at the end of a socket pair, so a script needs no main guard unless it defines the
learner itself. The driver hands out one block at a time and prefers the worker that keeps arrays beside its rows.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..core.errors import BadField, OutgrowError, Refused, WorkerLost
from ..core.events import Events
from ..core.fold import KEPT, Block, Node, Partial
from ..core.job import Job, builds
from ..core.learner import Pass
from ..core.run import Observer
from .measure import Measured
from .scratch import Scratch
from .ship import Shipper
from .wire import receive, send
from .worker import IN_WORKER

__all__ = ["Processes"]

_ATTEMPTS = 4


class _Worker:
    """One worker process and the pipe to it."""

    def __init__(self, number: int, setup: tuple[Any, ...]) -> None:
        self.number = number
        ours, theirs = socket.socketpair()
        paths = [path or str(Path.cwd()) for path in sys.path]
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 our own interpreter and module
                [sys.executable, "-P", "-m", "outgrow.engines.worker", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C in a terminal is the driver's to handle
                env={**os.environ, "ARROW_IO_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=2,
            )
        self.pipe = Connection(ours.detach())
        self.block: Block | None = None
        self.turn = -1
        self.has: set[int] = set()
        self.send("setup", *setup)

    def send(self, *message: Any) -> bool:
        """False where the worker is gone; its end of the pipe then says so too."""
        try:
            send(self.pipe, message)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def first(self) -> tuple[str, Any]:
        """The answer to the set-up."""
        try:
            answer: tuple[str, Any] = receive(self.pipe)
        except (EOFError, OSError):
            return "error", WorkerLost(f"a worker ended while it started (exit status {self.stop()})", todo="Its own words are above.")
        return answer

    def stop(self) -> int:
        self.pipe.close()
        try:
            return self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _main() -> dict[str, Any]:
    """How a worker gets what this program's script defines, in the words of `multiprocessing.spawn.prepare`; empty for a session without a script."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    found = {"init_main_from_name": spec.name} if spec else {"init_main_from_path": file} if file else {}
    return found and {**found, "sys_argv": sys.argv}


class Processes(Measured):
    """Folds blocks on `workers` processes of this machine, each with at most `kept_bytes` in memory of what it keeps beside batches."""

    name = "processes"

    def __init__(self, workers: int, *, save_every: float = 2.0, kept_bytes: int = KEPT) -> None:
        if workers < 1:
            raise BadField(f"processes:{workers} has no workers", where="on", allowed="processes:1 and up")
        self.workers, self.save_every, self.kept_bytes = workers, save_every, kept_bytes
        self._pool: list[_Worker] = []
        self._homes: dict[tuple[str, int, int], int] = {}
        self._shipper, self._turn = Shipper(), 0
        self._scratch: Scratch | None = None

    def can(self, job: Job) -> OutgrowError | None:
        if IN_WORKER:
            return Refused("a worker process cannot start workers of its own")
        try:
            data = pickle.dumps(job.learner)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            return Refused(f"the learner cannot travel to workers: {error}", todo="Define its class at the top level of a module, or use --on serial.")
        if b"__main__" in data and not _main():
            return Refused("the learner is defined in an interactive session, where workers cannot import it", todo="Put it in a .py file, or use --on serial.")
        return None

    def start(self, job: Job, events: Events, folder: str | None) -> None:
        super().start(job, events, folder)
        self.events = events
        self._homes, self._shipper, self._scratch = {}, Shipper(), Scratch(folder)
        rows = str(self._scratch.path)  # rows in memory are written there once and mapped by all
        source, *others = (item if item.content else item.share(rows) for item in (job.source, *job.others.values()))  # type: ignore[attr-defined]
        data = pickle.dumps(replace(job, source=source, others=dict(zip(job.others, others, strict=True))), protocol=5)
        self._setup = (_main() if b"__main__" in data else {}, data, self.save_every, builds(), self._scratch.path, self.kept_bytes)
        for number in range(self.workers):
            self._pool.append(_Worker(number, self._setup))
        for worker in self._pool:  # started side by side; a worker that cannot start says so here, before any work
            kind, content = worker.first()
            if kind == "error":
                raise content
            events.emit("worker", worker=worker.number, pid=content)

    def pids(self) -> Iterable[int]:
        return [worker.process.pid for worker in self._pool]

    def stop(self) -> None:
        super().stop()
        for worker in self._pool:
            worker.pipe.close()
        for worker in self._pool:
            worker.stop()
        self._pool = []
        if self._scratch is not None:
            self._scratch.remove()

    def _pick(self, worker: _Worker, todo: list[Block], passes: tuple[Pass, ...]) -> Block | None:
        """The next block for a worker: one whose kept arrays it holds, else one nobody holds, else the first.

        None where others hold all that is left, and rebuilding it would take several reads (`Pass.again`), or one in place of none (`Fold.beside`).
        """
        homes = [self._homes.get((passes[b.which].kept, b.level, b.index)) if passes[b.which].kept else None for b in todo]
        best = min(range(len(todo)), key=lambda i: (0 if homes[i] == worker.number else 1 if homes[i] is None else 2, i))
        item = passes[todo[best].which]
        if homes[best] not in (None, worker.number) and (item.again or item.fold.beside):
            return None
        return todo.pop(best)

    def _give(self, worker: _Worker, block: Block, passes: tuple[Pass, ...], packed: tuple[bytes, dict[int, Any]]) -> None:
        worker.block = block
        if passes[block.which].kept:
            self._homes[passes[block.which].kept, block.level, block.index] = worker.number
        if worker.turn != self._turn:
            data, arrays = packed
            worker.send("round", data, {key: array for key, array in arrays.items() if key not in worker.has}, set(arrays))
            worker.has, worker.turn = set(arrays), self._turn
        worker.send("block", block)

    def fold(self, passes: tuple[Pass, ...], blocks: Iterable[Block], observer: Observer) -> Iterator[Node]:
        todo, latest = list(blocks), {}  # type: list[Block], dict[tuple[int, int], Partial]
        attempts: dict[tuple[int, int, int], int] = {}
        packed = self._shipper.pack(passes)
        self._turn += 1
        while todo or any(worker.block for worker in self._pool):
            for worker in self._pool:
                if worker.block is None and todo and (block := self._pick(worker, todo, passes)) is not None:
                    self._give(worker, block, passes, packed)
            busy = {worker.pipe: worker for worker in self._pool if worker.block}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                try:
                    kind, content = receive(worker.pipe)
                except (EOFError, OSError):  # closed, or cut off in the middle of a message
                    todo.insert(0, self._lost(worker, latest, attempts))
                    continue
                if kind == "node":
                    worker.block = None
                    yield content
                elif kind == "progress":
                    which, lane, rows = content
                    observer.progress(which, lane, rows, worker.number)
                elif kind == "partial":
                    latest[content.which, content.lane] = content
                    observer.partial(content)
                elif kind == "recall":
                    worker.send("recall", observer.recall(content))
                elif kind == "error":
                    raise content

    def _lost(self, worker: _Worker, latest: dict[tuple[int, int], Partial], attempts: dict[tuple[int, int, int], int]) -> Block:
        """Replace a dead worker; its block, from the last partial it sent, is folded again."""
        block = worker.block
        if block is None:
            raise ValueError("a worker without a block cannot lose one")
        code = worker.stop()
        key = (block.which, block.level, block.index)
        attempts[key] = attempts.get(key, 0) + 1
        why = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        self.events.emit("lost", worker=worker.number, pid=worker.process.pid, why=why, lanes=[block.lanes.start, block.lanes.stop])
        if attempts[key] >= _ATTEMPTS:
            hint = "The system may be out of memory: use fewer workers or a smaller --memory." if code == -9 else "Its own words are above."
            raise WorkerLost(f"workers died {attempts[key]} times on lanes {block.lanes.start} to {block.lanes.stop - 1}, the last one {why}", todo=hint)
        self._pool[self._pool.index(worker)] = _Worker(worker.number, self._setup)
        return replace(block, partial=latest.get((block.which, block.lanes.start), block.partial))
