"""What a run goes on from: checkpoints that are whole or absent, and one owner a run.

A run's folder holds ``lock``, ``checkpoint`` (a state file that names large arrays by their hash) and ``arrays/`` (those
arrays); what else is kept beside them is for whoever keeps it (`outgrow.plan.kept`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
import uuid
from collections.abc import Container, Iterable
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from .errors import BadFile, Busy, explained
from .fold import Node, Partial
from .state import State, decode, digest, encode, joined, prefixed, under

__all__ = ["Checkpoint", "RunStore", "home", "write_whole"]

_LARGE = 1 << 18


def home() -> Path:
    """The folder for runs, caches and calibration: ``OUTGROW_HOME``, else ``~/.cache/outgrow``."""
    named = os.environ.get("OUTGROW_HOME")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "outgrow"


def write_whole(path: Path, chunks: Iterable[bytes | memoryview], *, lasting: bool = False) -> None:
    """Write a file so that it is there whole or not at all; `lasting` also survives a loss of power.

    Raises StorageError; what was at `path` before is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with explained(path):
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
            if lasting:
                folder = os.open(path.parent, os.O_RDONLY)
                os.fsync(folder)
                os.close(folder)
        finally:
            temporary.unlink(missing_ok=True)


def _text(thing: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(json.dumps(thing).encode(), np.uint8)


def _json(name: str, state: State, where: str) -> Any:
    try:
        return json.loads(state[name].tobytes())
    except (KeyError, ValueError, RecursionError) as error:
        raise BadFile(f"the checkpoint's {name} is missing or no JSON ({error})", where=where) from None


class Checkpoint:
    """Where a run stands: `turn` rounds told, the carry, and what has arrived of the round under way."""

    def __init__(self, turn: int, carry: State, nodes: Iterable[Node] = (), partials: Iterable[Partial] = ()) -> None:
        self.turn, self.carry, self.nodes, self.partials = turn, carry, list(nodes), list(partials)

    def pack(self) -> State:
        index = {
            "turn": self.turn,
            "nodes": [[n.which, n.level, n.index] for n in self.nodes],
            "partials": [[p.which, p.lane, p.done] for p in self.partials],
        }
        arrived = [n.state for n in self.nodes] + [p.state for p in self.partials]
        return prefixed("carry", self.carry) | joined(enumerate(arrived)) | {"index": _text(index)}

    @classmethod
    def unpack(cls, state: State, where: str) -> Checkpoint:
        def triple(item: Any) -> bool:
            return isinstance(item, list) and len(item) == 3 and all(type(n) is int and 0 <= n < 1 << 62 for n in item)

        index = _json("index", state, where)
        lists = [index.get("nodes"), index.get("partials")] if isinstance(index, dict) and set(index) == {"turn", "nodes", "partials"} else [None]
        if not all(isinstance(items, list) and all(triple(item) for item in items) for items in lists) or not triple([index["turn"], 0, 0]):
            raise BadFile("the checkpoint's index is damaged", where=where)
        if any(level > 62 for _, level, _ in index["nodes"]):
            raise BadFile("the checkpoint's index names a node above any tree", where=where)
        nodes = [Node(which, level, at, under(f"{i}", state)) for i, (which, level, at) in enumerate(index["nodes"])]
        partials = [Partial(which, lane, done, under(f"{i}", state)) for i, (which, lane, done) in enumerate(index["partials"], len(nodes))]
        return cls(index["turn"], under("carry", state), nodes, partials)


class RunStore:
    """The folder of one job, owned by one process at a time.

    Parameters
    ----------
    job_id : str
    root : Path, optional
        Default: `home()`.

    Raises
    ------
    Busy
        Another live process owns it (a dead one's lock is gone with it).
    StorageError
        The folder cannot be made or written.
    """

    def __init__(self, job_id: str, root: Path | None = None) -> None:
        self.id, self.folder = job_id, (root or home()) / "runs" / job_id
        with explained(self.folder):
            self._lock = self._own()
            self._lock.truncate(0)
            self._lock.write(str(os.getpid()))
            self._lock.flush()
            for leftover in [*self.folder.glob(".*.tmp"), *(self.folder / "arrays").glob(".*.tmp")]:
                leftover.unlink(missing_ok=True)
        self._written: dict[int, tuple[np.ndarray[Any, Any], str]] = {}

    def _own(self) -> IO[str]:
        """The locked lock file; tried for 0.2 s, since `runs` holds each lock for a moment."""
        owner = ""
        for _ in range(10):
            (self.folder / "arrays").mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a+")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat((self.folder / "lock").stat(), os.fstat(lock.fileno())):
                    return lock
            except (BlockingIOError, FileNotFoundError):  # held, or removed together with its run a moment ago
                lock.seek(0)
                owner = lock.read().strip()
            lock.close()
            time.sleep(0.02)
        raise Busy(f"process {owner or 'unknown'} is running this same job", where=str(self.folder), todo="Wait for it, or stop it and run this command again.")

    def close(self) -> None:
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _array_name(self, array: np.ndarray[Any, Any]) -> str:
        """The content hash of a large array, remembered while the very same read-only object comes again."""
        held = self._written.get(id(array))
        if held is not None and held[0] is array and not array.flags.writeable:
            return held[1]
        found = hashlib.blake2b(digest_size=20)
        for chunk in encode({"a": array}):
            found.update(chunk)
        return found.hexdigest()

    def save(self, checkpoint: Checkpoint) -> int:
        """Write a checkpoint; arrays that did not change since the last one are not written again. Returns bytes written."""
        state = checkpoint.pack()
        large = {name: array for name, array in state.items() if array.nbytes >= _LARGE}
        names, written = {}, 0
        for name, array in large.items():
            names[name] = self._array_name(array)
            path = self.folder / "arrays" / names[name]
            if not path.exists():
                write_whole(path, encode({"a": array}))
                written += array.nbytes
        small = {name: array for name, array in state.items() if name not in large} | {"large": _text(names)}
        write_whole(self.folder / "checkpoint", encode(small, {"digest": digest(small)}))
        self._written = {id(array): (array, names[name]) for name, array in large.items()}
        self._drop_arrays(set(names.values()))
        return written + sum(array.nbytes for array in small.values())

    def _drop_arrays(self, but: Container[str] = ()) -> None:
        for old in (self.folder / "arrays").iterdir():
            if old.name not in but:
                old.unlink(missing_ok=True)

    def load(self) -> Checkpoint | None:
        """The last checkpoint, or None. Raises BadFile when it is damaged."""
        path = self.folder / "checkpoint"
        try:
            return self._read(path) if path.exists() else None
        except BadFile as error:
            raise BadFile(error.what, where=error.where, todo="Run again with --fresh.") from None

    def _read(self, path: Path) -> Checkpoint:
        where = str(path)
        state, metadata = decode(path.read_bytes(), where=where)
        if metadata != {"digest": digest(state)}:
            raise BadFile("the checkpoint has not the digest it states", where=where)
        names = _json("large", state, where)
        if not isinstance(names, dict) or not all(isinstance(v, str) and len(v) == 40 and set(v) <= set("0123456789abcdef") for v in names.values()):
            raise BadFile("the checkpoint names its arrays wrongly", where=where)
        for name, content in names.items():
            file = self.folder / "arrays" / content
            data = file.read_bytes() if file.exists() else b""
            if hashlib.blake2b(data, digest_size=20).hexdigest() != content:
                raise BadFile(f"array {name!r} of the checkpoint is missing or damaged", where=str(file))
            array, _ = decode(data, where=str(file))
            if set(array) != {"a"}:
                raise BadFile(f"the file of array {name!r} holds something else", where=str(file))
            state[name] = array["a"]
        return Checkpoint.unpack(state, where)

    def forget(self) -> None:
        """Drop the checkpoint: a run would start over."""
        (self.folder / "checkpoint").unlink(missing_ok=True)
        self._drop_arrays()
