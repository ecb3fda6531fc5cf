"""What runs on Spark's executors: one desk a Python worker process, and the way of its answers to the driver."""

from __future__ import annotations

import gc
import os
import pickle
import socket
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import OutgrowError, Refused
from ..core.fold import Block
from ..core.learner import Pass
from ..core.state import State, decode
from .remote import Answer, Desk
from .ship import opened, portable

__all__ = ["Greeting", "Inbox", "Setup", "Turn", "connect", "fold", "greet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What stays the same in a run.

    run: names it. job: broadcast of the pickled job. expected: `machine()` of the driver. shared: a folder that driver
    and executors see ("": none); nodes of at least `large` bytes go there, smaller ones through the driver. hold: bytes of
    encoded rows that each Python worker keeps between rounds at most.
    """

    run: str
    job: Any
    expected: Mapping[str, str]
    shared: str = ""
    large: int = 1 << 20
    hold: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a task of one round needs: the passes, their large arrays (broadcasts, or paths in the shared folder), the blocks of each task, and what was asked for again."""

    key: str
    data: bytes
    arrays: Mapping[int, Any]
    tasks: tuple[tuple[Block, ...], ...]
    recalled: Mapping[str, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """Who an executor's Python is, and what keeps it from this job (a pickled error)."""

    host: str
    pid: int
    parent: int
    python: str
    sees_shared: bool
    error: bytes = b""


class Inbox:
    """How answers are added up: Spark brings each task's list to the driver once, as soon as that task ends, where the stage's own results wait for its last task."""

    def zero(self, value: Any) -> list[Answer]:
        return []

    def addInPlace(self, held: Any, more: list[Answer]) -> Any:  # noqa: N802 Spark's name
        held.extend(more)
        return held


_DESK: dict[str, Desk] = {}  # of the run that this process worked for last
_SETTLED = {"modules": 0}


def _desk(setup: Setup) -> Desk:
    if setup.run not in _DESK:
        _DESK.clear()
        local = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0]  # removed by Spark when the executor ends
        _DESK[setup.run] = Desk(setup.job.value, setup.expected, local or None, setup.hold)
    return _DESK[setup.run]


def greet(setup: Setup, _index: int, _rows: Iterable[Any]) -> list[Greeting]:
    """Make the desk and look at the files: why this executor cannot do the job, before any work."""
    host, error, seen = socket.gethostname(), b"", False
    try:
        job = _desk(setup).job
        for source in (job.source, *job.others.values()):
            source.check()
        fs, folder = connect(setup.shared)
        seen = bool(fs.exists(f"{folder}/seen"))
    except Refused as refusal:
        error = pickle.dumps(refusal)
    except OutgrowError as unseen:
        todo = "Put the data where driver and executors find it under one path or URL, as HDFS, S3 or a shared mount."
        error = pickle.dumps(Refused(f"the executor does not see the data that the driver sees ({unseen})", where=host, todo=todo))
    except Exception as other:  # noqa: BLE001 the driver raises it
        error = pickle.dumps(portable(other, f"on {host}"))
    return [Greeting(host=host, pid=os.getpid(), parent=os.getppid(), python=sys.executable, sees_shared=seen, error=error)]


def fold(setup: Setup, turn: Turn, inbox: Any, index: int, _rows: Iterable[Any]) -> tuple[()]:
    """Fold the blocks of task `index`; the answers go to `inbox`, Spark's own result is empty."""
    blocks = turn.tasks[index]

    def load() -> tuple[Pass, ...]:
        return opened(turn.data, {key: _given(setup, place) for key, place in turn.arrays.items()})

    try:
        desk = _desk(setup)
        passes = desk.round(turn.key, load)
    except Exception as error:  # noqa: BLE001 the driver raises it
        found = pickle.dumps(portable(error, f"on {socket.gethostname()}"))
        inbox.add([Answer(kind="error", which=blocks[0].which, level=blocks[0].level, index=blocks[0].index, state=found)])
        return ()
    for block in blocks:
        inbox.add([_placed(setup, desk.fold(passes, block, turn.recalled))])
    _settle()
    return ()


def _given(setup: Setup, place: Any) -> Any:
    """A large array, from its file in the shared folder or its broadcast."""
    if not isinstance(place, str):
        return place.value
    fs, _ = connect(setup.shared)
    return decode(fs.cat_file(place), where=place, copy=False)[0]["array"]


def _settle() -> None:
    """Spark's worker collects garbage after every task: some 50 ms where numba is loaded. What imports made is taken out of that, whenever there are new ones."""
    if len(sys.modules) != _SETTLED["modules"]:
        gc.collect()
        gc.freeze()
        _SETTLED["modules"] = len(sys.modules)


def _placed(setup: Setup, answer: Answer) -> Answer:
    """The answer, its state in the shared folder and `text` its path where it is large."""
    if answer.kind != "node" or not setup.shared or len(answer.state) < setup.large:
        return answer
    fs, folder = connect(setup.shared)
    whole = f"{folder}/{answer.which}-{answer.level}-{answer.index}-{uuid.uuid4().hex}"
    with fs.open(f"{whole}.part", "wb") as file:
        file.write(answer.state)
    fs.mv(f"{whole}.part", whole)
    return replace(answer, state=b"", text=whole)


def connect(address: str) -> tuple[Any, str]:
    """The file system of a folder's path or URL, and the folder's path in it."""
    import fsspec

    fs, path = fsspec.core.url_to_fs(address)
    return fs, str(path)
