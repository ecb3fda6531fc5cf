"""The worker's side of `processes`: reads blocks from a pipe, folds them, sends nodes; dies with its parent."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import time
from multiprocessing import spawn
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..core.errors import OutgrowError, Refused
from ..core.fold import Block, Kept, Partial, fold_block
from ..core.job import builds
from ..core.learner import Pass
from ..core.state import State
from .measure import calm
from .ship import opened, portable
from .wire import receive, send

__all__ = ["IN_WORKER", "main"]

IN_WORKER: list[int] = []  # holds the parent's process id inside a worker


def _die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends; elsewhere the closed pipe does it, a batch later."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(1)


def _as_main(main: dict[str, Any]) -> None:
    """Make what the parent's script defines importable as ``__main__``, without running what its main guard holds."""
    try:
        spawn.prepare(main)
    except (OutgrowError, SystemExit) as error:
        raise Refused(
            "a worker process ran this script again to find the learner in it, and it started to learn",
            where=main.get("init_main_from_path") or main["init_main_from_name"],
            todo='Put the lines that start the run under `if __name__ == "__main__":`, or move the learner to a module of its own.',
        ) from error


class _Worker:
    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.arrays: dict[int, Any] = {}
        self.passes: tuple[Pass, ...] = ()
        self.recalled: dict[str, State] = {}

    def send(self, *message: Any) -> None:
        try:
            send(self.pipe, message)
        except OSError:  # the driver is gone, and with it whoever wanted this
            sys.exit()

    def receive(self) -> Any:
        try:
            return receive(self.pipe)
        except (EOFError, OSError):
            sys.exit()

    def setup(self, main: dict[str, Any], data: bytes, save_every: float, expected: dict[str, str], scratch: Path, kept_bytes: int) -> None:
        if main:
            _as_main(main)
        if builds() != expected:
            raise Refused(f"a worker has other library builds: {builds()} instead of {expected}", todo="Start it in the same environment.")
        self.job, self.save_every = pickle.loads(data), save_every  # noqa: S301 from the process that started this one
        self.kept = Kept(kept_bytes, scratch)
        calm()
        self.send("ready", os.getpid())

    def round(self, data: bytes, arrays: dict[int, Any], used: set[int]) -> None:
        self.recalled = {}
        self.arrays = {key: array for key, array in (self.arrays | arrays).items() if key in used}
        self.passes = opened(data, self.arrays)

    def recall(self, kept: str) -> State:
        if kept not in self.recalled:
            self.send("recall", kept)
            self.recalled = {}  # one at a time: parts of a model too wide for one worker are recalled one after the other
            self.recalled = {kept: self.receive()[1]}
        return self.recalled[kept]

    def block(self, block: Block) -> None:
        told = saved = time.monotonic()
        seen, pause = 0, self.save_every

        def tick(lane: int, done: int, rows: int, state: State) -> None:
            nonlocal told, saved, seen, pause
            seen, now = seen + rows, time.monotonic()
            if now - told > 0.1:
                self.send("progress", (block.which, lane, seen))
                told, seen = now, 0
            if block.level == 0 and now - saved > pause and self.passes[block.which].sink is None:
                self.send("partial", Partial(block.which, lane, done, state))
                saved = time.monotonic()
                pause = max(self.save_every, 30 * (saved - now))  # a wide state takes its time

        node = fold_block(self.job, self.passes[block.which], block, kept=self.kept, recall=self.recall, tick=tick)
        self.send("progress", (block.which, block.lanes.stop - 1, seen))
        self.send("node", node)

    def loop(self) -> None:
        while True:
            kind, *content = self.receive()
            try:
                getattr(self, kind)(*content)
            except Exception as error:  # noqa: BLE001 whatever it was, the driver raises it
                self.send("error", portable(error, "in a worker process"))


def main() -> None:
    """Serve the pipe whose file descriptor is the first argument, for the process whose id is the second."""
    IN_WORKER.append(int(sys.argv[2]))
    _die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _Worker(Connection(int(sys.argv[1]))).loop()


if __name__ == "__main__":
    from importlib import import_module

    import_module("outgrow.engines.worker").main()  # not this one, whose classes would be __main__'s
