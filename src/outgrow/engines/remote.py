"""What a cluster's worker does for a job: Spark's executors and Hadoop's mappers both run it.

A worker process is shown the job once and each round once, folds the blocks it is asked for, and answers with plain
bytes. It keeps what lies beside its rows between rounds; where that is lost, it asks for what rebuilds it.
"""

from __future__ import annotations

import os
import pickle
import platform
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from threadpoolctl import threadpool_info

from ..core.errors import Refused
from ..core.fold import Block, Kept, fold_block
from ..core.job import Job, builds
from ..core.learner import Pass
from ..core.run import one_thread
from ..core.state import State, decode, encode
from .measure import calm, held
from .shelf import Shelf
from .ship import portable

__all__ = ["Answer", "Desk", "differs", "machine"]


@cache
def machine() -> dict[str, str]:
    """What the last bits of a result depend on, of this process: Python, library builds, and the class of processor that BLAS compiled for."""
    import numpy as np

    _ = np.ones((2, 2)) @ np.ones((2, 2))  # its BLAS is loaded now
    classes = sorted({str(item.get("architecture")) for item in threadpool_info() if item.get("user_api") == "blas"})
    return {"python": ".".join(platform.python_version_tuple()[:2]), **builds(), "processor": " ".join([platform.machine(), *classes])}


def differs(here: Mapping[str, str], there: Mapping[str, str], where: str) -> Refused | None:
    """Why a worker's results may differ in their last bits; None where they cannot."""
    other = [f"{name} {there.get(name, 'absent')} instead of {here[name]}" for name in here if there.get(name) != here[name]]
    if not other:
        return None
    todo = "Give the workers the driver's own environment, or fit with equal='close', which allows other last bits."
    return Refused(f"the workers differ from the driver: {', '.join(other)}", where=where, todo=todo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a block.

    kind: "node" (state holds it, encoded), "recall" (what is kept under the name `text` is lost: ask again with it) or "error"
    (state holds the pickled error). rows read, seconds taken, bytes the worker's process held, and who it was.
    """

    kind: Literal["node", "recall", "error"]
    which: int
    level: int
    index: int
    state: bytes = b""
    text: str = ""
    rows: int = 0
    seconds: float = 0.0
    held_bytes: int = 0
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    def covers(self, block: Block) -> bool:
        """True where all lanes of the block are in it."""
        up = self.level - block.level
        return self.which == block.which and up >= 0 and block.index >> up == self.index

    def node_state(self) -> State:
        return decode(self.state, where=f"a node from {self.host}")[0]

    def error(self) -> Exception:
        found: Exception = pickle.loads(self.state)  # noqa: S301 from a worker that this program started
        return found


class _LostError(Exception):
    """What is kept under this name is not here."""


class Desk:
    """One job at one worker process; made once a process and kept between tasks.

    Parameters
    ----------
    data : bytes
        The pickled job.
    expected : mapping
        `machine()` of the driver; compared unless the job says ``equal="close"``.
    folder : path, optional
        For what is kept and does not fit in memory; default: the system's for temporary files.
    hold : int
        Bytes of encoded rows to keep between rounds at most.

    Raises
    ------
    Refused
        Where this machine would give other last bits.
    """

    def __init__(self, data: bytes, expected: Mapping[str, str], folder: str | Path | None = None, hold: int = 0) -> None:
        self.job: Job = pickle.loads(data)  # noqa: S301 from the program that started this one
        if self.job.equal == "bits" and (refusal := differs(expected, machine(), socket.gethostname())) is not None:
            raise refusal
        calm()
        self.kept = Kept(folder=Path(folder or tempfile.gettempdir()))
        self.shelf = Shelf(hold)
        self._round: tuple[str, tuple[Pass, ...]] = "", ()

    def round(self, key: str, load: Callable[[], tuple[Pass, ...]]) -> tuple[Pass, ...]:
        """The passes of the round `key`, loaded where they are not those of the last task."""
        if self._round[0] != key:
            self._round = key, load()
            self.shelf.turn(self._round[1])
        return self._round[1]

    def fold(
        self, passes: tuple[Pass, ...], block: Block, recalled: Mapping[str, State] | None = None, tick: Callable[[int, int], None] | None = None,
        save: Callable[[int, int, State], None] | None = None,
    ) -> Answer:  # fmt: skip
        """Fold a block and say what became of it; never raises for what the fold raises.

        recalled: given for what is kept, by name, once it was asked for. tick: called after each batch with (lane, rows since the last call).
        save: called after each batch of a lane that is a block of its own, with (lane, batches done, state so far): what it could go on from.
        """
        began, rows = time.monotonic(), 0
        where: dict[str, Any] = {"which": block.which, "level": block.level, "index": block.index}

        def recall(name: str) -> State:
            if recalled is None or name not in recalled:
                raise _LostError(name)
            return recalled[name]

        whole = block.level == 0 and passes[block.which : block.which + 1] and passes[block.which].sink is None

        def ticked(lane: int, done: int, seen: int, state: State) -> None:
            nonlocal rows
            rows += seen
            if tick is not None:
                tick(lane, seen)
            if save is not None and whole:
                save(lane, done, state)

        try:
            with one_thread():
                node = fold_block(self.job, passes[block.which], block, kept=self.kept, recall=recall, tick=ticked, read=self.shelf.batches)
        except _LostError as lost:
            return Answer(kind="recall", text=str(lost), **where)
        except Exception as error:  # noqa: BLE001 whatever it was, the driver raises it
            return Answer(kind="error", state=pickle.dumps(portable(error, f"on {socket.gethostname()}")), **where)
        return Answer(kind="node", state=b"".join(encode(node.state)), rows=rows, seconds=time.monotonic() - began, held_bytes=held()[0], **where)
