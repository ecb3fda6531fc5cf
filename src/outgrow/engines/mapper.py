"""A Hadoop mapper: folds the blocks that its lines name and leaves their nodes in the run's staging folder.

    python -m outgrow.engines.mapper hdfs://…/round-3.json SHA256

The file names all else that is read, each with its own SHA-256: what is not what the driver wrote is refused before it is opened.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.errors import BadFile, BadInput, OutgrowError, Refused
from ..core.fold import Block, Partial
from ..core.state import State, decode, encode
from ..places.hdfs import connect, patient, split, told
from . import luggage
from .remote import Answer, Desk
from .ship import opened, portable

__all__ = ["Staging", "main", "packed", "sealed", "unpacked", "unsealed"]

_SAY, _LOOK, _PATIENCE = 3.0, 20.0, 600.0  # seconds: between words, between looks for the driver, and without a sign of it
_SAVE = 20.0  # seconds between partial lanes; more where writing one takes long


class Staging:
    """A run's folder on HDFS."""

    def __init__(self, address: str) -> None:
        from hdfs_native import Client

        self.address, self.path = address.rstrip("/"), split(address)[1].rstrip("/")
        self.client = connect(Client, address)

    def put(self, name: str, data: bytes) -> str:
        """Write a file, seen whole or not at all, and once: a twin's is dropped; a DataNode that is restarted is waited for. Returns its SHA-256."""
        patient(lambda: self._put(name, data))
        return hashlib.sha256(data).hexdigest()

    def _put(self, name: str, data: bytes) -> None:
        from hdfs_native import WriteOptions

        whole = f"{self.path}/{name}"
        parent, _, last = whole.rpartition("/")
        part = f"{parent}/.{last}.{os.urandom(6).hex()}"
        with told(f"{self.address}/{name}", writing=True):
            with self.client.create(part, WriteOptions(create_parent=False, permission=0o600)) as file:
                file.write(data)
            try:
                self.client.rename(part, whole)
            except FileExistsError:
                self.client.delete(part)

    def get(self, name: str, sha256: str = "") -> bytes:
        """Read a file; a DataNode that is restarted is waited for. Raises BadFile where it is not the one that was written."""
        data = patient(lambda: self._get(name))
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise BadFile("the file is not the one that the driver wrote", where=f"{self.address}/{name}", todo="Somebody changed it: look who may write there, and run again.")
        return data

    def _get(self, name: str) -> bytes:
        with told(f"{self.address}/{name}"):
            data: bytes = self.client.read(f"{self.path}/{name}").read()
        return data

    def names(self, folder: str) -> list[str]:
        """What lies finished in a folder of it."""
        with told(f"{self.address}/{folder}"):
            found = [status.path.rpartition("/")[2] for status in self.client.list_status(f"{self.path}/{folder}")]
        return [name for name in found if not name.startswith(".")]

    def sign_of_driver(self) -> int:
        """When the driver last gave a sign, in the NameNode's milliseconds."""
        with told(self.address):
            return int(self.client.get_file_info(f"{self.path}/alive").modification_time)


def packed(answer: Answer) -> bytes:
    """An answer as a file: a line of JSON, and the state as it is."""
    about = {key: value for key, value in asdict(answer).items() if key != "state"}
    return json.dumps(about).encode() + b"\n" + answer.state


def unpacked(data: bytes, where: str) -> Answer:
    about, _, state = data.partition(b"\n")
    try:
        return Answer(**json.loads(about), state=state)
    except (ValueError, TypeError) as error:
        raise BadFile(f"a mapper's answer is damaged ({error})", where=where, todo="Run again.") from None


def sealed(key: str, data: bytes) -> bytes:
    """Data with a seal that only who knows the key can make."""
    return hmac.digest(bytes.fromhex(key), data, "sha256") + data


def unsealed(key: str, data: bytes, where: str) -> bytes:
    """The data, or BadFile where the seal is another's."""
    if not hmac.compare_digest(hmac.digest(bytes.fromhex(key), data[32:], "sha256"), data[:32]):
        raise BadFile("the file is not one that a mapper of this run wrote", where=where, todo="Somebody changed it: look who may write there, and run again.")
    return data[32:]


def _say(text: str) -> None:
    print(f"reporter:status:{text}", file=sys.stderr, flush=True)


class _Mapper:
    """One attempt: what it was given, and how it speaks with the framework and the driver."""

    def __init__(self, staging: Staging, plan: dict[str, Any]) -> None:
        self.staging, self.plan = staging, plan
        self.said = self.looked = time.monotonic()
        self.sign, self.seen = staging.sign_of_driver(), time.monotonic()
        self.rows, self.saved, self.pause = 0, self.said, _SAVE
        self.left: list[str] = []
        self.folder = Path.cwd()
        sys.path.extend(path for path in plan["path"] if path not in sys.path)
        for name, sha256 in plan["modules"].items():
            (self.folder / name).write_bytes(staging.get(f"modules/{name}", sha256))
        if plan["modules"]:
            sys.path.append(str(self.folder))
        if plan["kernels"]:
            luggage.place(staging.get("kernels", plan["kernels"]), self.folder / "kernels")

    def _load(self, name: str) -> bytes:
        return self.staging.get(name, self.plan["files"][name])

    def desk(self) -> Desk:
        found = Desk(self._load("job"), self.plan["machine"], self.folder)
        for source in (found.job.source, *found.job.others.values()):
            root = str(getattr(getattr(getattr(source, "store", None), "place", None), "root", ""))
            try:
                source.check()
            except BadInput as error:
                if not root or "://" in root:
                    raise
                todo = "Put the data on HDFS, or on a disk that all nodes share under one path."
                raise Refused(f"the node {socket.gethostname()} does not see the driver's data ({error.what})", where=f"{root}/{error.where}", todo=todo) from None
        return found

    def tick(self, _lane: int, rows: int) -> None:
        self.rows += rows
        now = time.monotonic()
        if now - self.said > _SAY:
            self.count()
        if now - self.looked > _LOOK:
            self.looked = now
            sign = self.staging.sign_of_driver()
            if sign != self.sign:
                self.sign, self.seen = sign, now
            elif now - self.seen > _PATIENCE:
                self.staging.client.delete(f"{self.staging.path}/job")  # so that no further attempt begins
                raise SystemExit("the driver gave no sign for ten minutes: this mapper ends")

    def save(self, which: int, lane: int, done: int, state: State) -> None:
        """Leave a lane under way for the driver to save, and for an attempt after this one; the last two stay."""
        now = time.monotonic()
        if now - self.saved < self.pause:
            return
        self.left.append(f"{self.plan['nodes']}/partial-{which}-{lane}-{done}")
        self.staging.put(self.left[-1], sealed(self.plan["key"], b"".join(encode(state))))
        if len(self.left) > 2:
            self.staging.client.delete(f"{self.staging.path}/{self.left.pop(0)}")
        self.saved = time.monotonic()
        self.pause = max(_SAVE, 30 * (self.saved - now))

    def begun(self, which: int, lane: int, there: set[str]) -> Partial | None:
        """What a lane goes on from: the furthest of what the driver had saved and what an attempt before this one left."""
        plan = self.plan
        found = plan["partials"].get(f"{which}-{lane}")
        best = Partial(which, lane, found[0], decode(self._load(found[1]), where=found[1])[0]) if found else None
        left = max((int(name.rpartition("-")[2]) for name in there if name.startswith(f"partial-{which}-{lane}-")), default=0)
        if left > (best.done if best else 0):
            name = f"{plan['nodes']}/partial-{which}-{lane}-{left}"
            best = Partial(which, lane, left, decode(unsealed(plan["key"], self.staging.get(name), name), where=name)[0])
        return best

    def count(self) -> None:
        print(f"reporter:counter:outgrow,rows,{self.rows}", file=sys.stderr, flush=True)
        self.rows, self.said = 0, time.monotonic()

    def work(self, lines: Any) -> None:
        desk, plan = self.desk(), self.plan
        arrays = {int(key): pickle.loads(self._load(name)) for key, name in plan["arrays"].items()}  # noqa: S301 the hash is the driver's
        passes = opened(self._load(plan["passes"]), arrays)
        recalled = _Recalled(self._load, plan["recalled"])
        there = set(self.staging.names(plan["nodes"]))  # from an attempt before this one
        for line in lines:
            which, level, index = (int(word) for word in line.split())
            name = f"{plan['nodes']}/{which}-{level}-{index}"
            if f"{which}-{level}-{index}" in there:
                continue
            _say(f"pass {which}, lanes {index << level} to {(index + 1 << level) - 1}")
            block = Block(which, level, index, self.begun(which, index, there) if level == 0 else None)
            self.staging.put(name, packed(patient(lambda block=block: self.fold(desk, passes, block, recalled))))  # type: ignore[misc]

    def fold(self, desk: Desk, passes: Any, block: Block, recalled: Mapping[str, State]) -> Answer:
        """One block's node."""
        answer = desk.fold(passes, block, recalled, self.tick, lambda lane, done, state: self.save(block.which, lane, done, state))
        self.count()
        if answer.kind == "node":
            return answer
        raise answer.error() if answer.kind == "error" else LookupError(f"what rebuilds {answer.text!r} did not travel")


class _Recalled(Mapping[str, State]):
    """What rebuilds kept arrays, by name: read when it is wanted, so that of a model in parts one part at a time is held."""

    def __init__(self, load: Callable[[str], bytes], files: Mapping[str, str]) -> None:
        self._load, self._files = load, files
        self._last: tuple[str, State] = "", {}

    def __getitem__(self, kept: str) -> State:
        if self._last[0] != kept:
            self._last = "", {}
            self._last = kept, decode(self._load(self._files[kept]), where=self._files[kept])[0]
        return self._last[1]

    def __contains__(self, kept: object) -> bool:
        return kept in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def main(argv: list[str] | None = None, lines: Any = None) -> int:
    """Work through the lines of standard input. Exit status 3: the error is told in the staging folder."""
    address, sha256 = (argv or sys.argv[1:])[:2]
    folder, _, name = address.rpartition("/")
    _say("starting")
    staging = Staging(folder)
    plan = json.loads(staging.get(name, sha256))
    try:
        _Mapper(staging, plan).work(lines or sys.stdin)
    except Exception as error:  # noqa: BLE001 whatever it was, the driver raises it
        where = f"on {socket.gethostname()}"
        with suppress(OutgrowError):  # the folder may be gone, and the driver with it
            staging.put(f"{plan['nodes']}/error-{os.urandom(4).hex()}", sealed(plan["key"], pickle.dumps(portable(error, where))))
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    from importlib import import_module

    sys.exit(import_module("outgrow.engines.mapper").main())  # not this one, whose classes would be __main__'s
