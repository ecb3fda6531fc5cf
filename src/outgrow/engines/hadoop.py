"""Map-reduce on a Hadoop cluster: one streaming job a round, whose mappers leave their nodes on HDFS and whose reducer is this program.

A job costs some eight seconds before its first row, so this is for learners of few rounds over data that is on HDFS.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..core.errors import BadField, OutgrowError, Refused, StorageError, WorkerLost
from ..core.events import Events
from ..core.fold import Block, Node, Partial
from ..core.job import Job
from ..core.learner import Pass
from ..core.run import Observer
from ..core.state import State, decode, encode
from ..places import hdfs
from . import luggage, streaming
from .mapper import Staging, unpacked, unsealed
from .measure import Measured
from .remote import Answer, machine
from .ship import Shipper
from .yarn import LOOK, OVER, Yarn, explain

__all__ = ["Hadoop"]

_SUBMIT, _END = 120.0, 10.0  # seconds for handing a job in, and for one that is through to end by itself
_WAITS, _FORGOTTEN = 30.0, 7 * 86400.0  # seconds until a job that waits for room is told of, and until a dead run's folder on HDFS is nobody's
_POLL, _WATCH, _SIGN = 0.15, 1.0, 10.0  # seconds between looks for nodes, looks at the application, and signs of life
_LOOKS = 5  # for the words of an attempt whose Python ended: a node that is busy gives them late
_MEMORY = 1024  # MB of a mapper's container where no configuration says so


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another person's
        return True
    return True


def _file(state: State) -> bytes:
    return b"".join(encode(state))


class Hadoop(Measured):
    """Folds blocks in the mappers of Hadoop streaming jobs, one job a round.

    Parameters
    ----------
    workers : int
        Mappers at a time; 0: as many as the cluster has room for.
    command, streaming : path
        ``hadoop`` and the jar of Hadoop streaming; "": from HADOOP_HOME, or beside the command on the PATH.
    python : path
        The Python of the mappers, with outgrow[hadoop]; "": this one, right where nodes share it.
    environment : path or hdfs:// URL
        An archive (.tar.gz, .tgz, .zip) with a Python at ``bin/python`` instead; one that lies here is copied to HDFS once.
    queue : str
        "": the cluster's default.
    memory : int
        MB of a mapper's container; 0: the cluster's default.
    staging : hdfs:// URL
        Where runs keep what they share; "": ``.outgrow`` in the person's folder of the default file system.

    Each of the last seven is taken from the environment where it is not given: OUTGROW_HADOOP, and OUTGROW_HADOOP_ followed by
    STREAMING, PYTHON, ENVIRONMENT, QUEUE, MEMORY, STAGING.
    """

    name = "hadoop"

    def __init__(
        self, workers: int = 0, *, command: str = "", streaming: str = "", python: str = "", environment: str = "", queue: str = "", memory: int = 0, staging: str = ""
    ) -> None:
        if workers < 0:
            raise BadField(f"{workers} mappers are too few", where="hadoop", allowed="0 (all there is room for) or more")

        def given(value: str, name: str) -> str:
            return value or os.environ.get(f"OUTGROW_HADOOP{name}", "")

        self.asked = self.workers = workers
        self.command, self.streaming = given(command, ""), given(streaming, "_STREAMING")
        self.environment, self.queue, self.staging_root = given(environment, "_ENVIRONMENT"), given(queue, "_QUEUE"), given(staging, "_STAGING")
        self.python = given(python, "_PYTHON") or ("env/bin/python" if self.environment else sys.executable)
        size = given(str(memory) if memory else "", "_MEMORY")
        if size and not size.isdigit():
            raise BadField(f"{size!r} is no number of MB", where="OUTGROW_HADOOP_MEMORY", allowed="a whole number, as 2048")
        self.memory = int(size or 0)
        self.user = os.environ.get("HADOOP_USER_NAME") or getpass.getuser()
        self.yarn: Yarn | None = None
        self._staging: Staging | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._local: Path | None = None
        self._begun: dict[tuple[int, int], int] = {}

    def can(self, job: Job) -> OutgrowError | None:
        try:
            self._check(job)
        except OutgrowError as error:
            return error
        return None

    def _check(self, job: Job) -> None:
        if any(not source.content for source in (job.source, *job.others.values())):
            raise Refused("the rows are in this program's memory, where mappers cannot read them", where="hadoop", todo="Write them to Parquet on HDFS, or use --on processes:N.")
        try:
            data = pickle.dumps(job.learner)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise Refused(f"the learner cannot travel to mappers: {error}", where="hadoop", todo="Define its class at the top level of a module.") from None
        if b"__main__" in data:
            todo = "Move its class to a module of its own beside the script."
            raise Refused("the learner is defined in the script itself, which mappers cannot import", where="hadoop", todo=todo)
        if '"' in self.python:
            raise BadField(f"{self.python!r} holds a quotation mark", where="OUTGROW_HADOOP_PYTHON", allowed="a path without one")
        self.launcher = streaming.launcher(self.command)
        if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
            raise Refused("there is no Java, which the hadoop command needs", where="hadoop", todo="Install the Java that your Hadoop runs on, or set JAVA_HOME.")
        self.jar = streaming.jar(self.launcher, self.streaming)
        known = hdfs.settings()
        self.yarn = Yarn(known, self.user)
        queues = self.yarn.queues()
        if self.queue and queues is not None and self.queue not in queues:
            raise Refused(f"there is no queue {self.queue!r}", where="OUTGROW_HADOOP_QUEUE", allowed=", ".join(sorted(queues)), todo="Name one of these.")
        self.root = (self.staging_root or f"hdfs://{hdfs.split(known.get('fs.defaultFS', ''))[0]}/user/{self.user}/.outgrow").rstrip("/")
        if not self.root.startswith("hdfs://"):
            raise BadField(f"{self.root!r} is no address on HDFS", where="OUTGROW_HADOOP_STAGING", allowed="hdfs://host:port/path")
        try:
            Staging(self.root)
        except ImportError:
            raise Refused("hdfs-native is not installed", where="hadoop", todo="pip install 'outgrow[hadoop]'") from None
        if not self.asked:
            self.workers = self.yarn.capacity(self.memory or int(known.get("mapreduce.map.memory.mb", _MEMORY)))

    def start(self, job: Job, events: Events, folder: str | None) -> None:
        super().start(job, events, folder)
        self.events, self._shipper, self._turn = events, Shipper(), 0
        self._hashes: dict[str, str] = {}
        self._applications, self._told, self._mappers = list[str](), set[str](), dict[tuple[str, int], int]()
        self._handed, self._looks = float("inf"), dict[str, int]()
        self._signed, self._well, self._last, self._process = 0.0, True, "", None
        self._tag = f"outgrow-{uuid.uuid4().hex[:12]}"
        self._mine = f"{socket.gethostname()} {folder or ''} {job.id}"
        self._local = Path(tempfile.mkdtemp(prefix="outgrow-hadoop-"))
        self._sweep()
        self._staging = staging = self._make(self._tag)
        staging.put("owner", f"{os.getpid()} {self._mine}".encode())
        staging.put("alive", b"")
        self._put("job", pickle.dumps(job, protocol=5))
        self._modules = {name: staging.put(f"modules/{name}", data) for name, data in luggage.own_modules(job).items()}
        compiled = luggage.pack()
        self._kernels = staging.put("kernels", compiled) if compiled else ""
        self._archive = self._environment() if self.environment else ""

    def _make(self, name: str) -> Staging:
        """The staging folder of this run, which nobody else may read."""
        root = Staging(self.root)
        with hdfs.told(self.root, writing=True):
            root.client.mkdirs(root.path or "/", 0o700, create_parent=True)
            for made in (name, f"{name}/modules"):
                root.client.mkdirs(f"{root.path}/{made}", 0o700)
        return Staging(f"{self.root}/{name}")

    def _put(self, name: str, data: bytes) -> None:
        if self._staging is not None and name not in self._hashes:
            self._hashes[name] = self._staging.put(name, data)

    def _sweep(self) -> None:
        """End what a run of this job left behind that was killed on this machine."""
        root = Staging(self.root)
        with contextlib.suppress(OutgrowError):  # there is nothing to look through yet, or it is not ours to see
            for name in root.names(""):
                old = Staging(f"{self.root}/{name}")
                with contextlib.suppress(OutgrowError, ValueError):
                    pid, _, mine = old.get("owner").decode().partition(" ")
                    forgotten = time.time() - old.sign_of_driver() / 1000 > _FORGOTTEN
                    if forgotten or (mine == self._mine and not _alive(int(pid))):
                        self._end(name)
                        root.client.delete(old.path, recursive=True)

    @property
    def _yarn(self) -> Yarn:
        if self.yarn is None:
            raise ValueError("`can` comes first")
        return self.yarn

    def _environment(self) -> str:
        """The address of the environment's archive on HDFS; one that lies here is copied there under its hash, once."""
        if "://" in self.environment:
            return f"{self.environment}#env"
        import hashlib

        root, file = Staging(self.root), Path(self.environment).expanduser()
        try:
            data = file.read_bytes()
        except OSError as error:
            raise StorageError(f"the environment cannot be read ({error.strerror})", where=self.environment, todo="Name an archive (.tar.gz) of it.") from None
        name = f"environment-{hashlib.sha256(data).hexdigest()[:24]}{''.join(file.suffixes[-2:])}"
        if name not in root.names(""):
            root.put(name, data)
        return f"{self.root}/{name}#env"

    def fold(self, passes: tuple[Pass, ...], blocks: Iterable[Block], observer: Observer) -> Iterator[Node]:
        todo = {f"{block.which}-{block.level}-{block.index}": block for block in blocks}
        if not todo:
            return
        self._turn, self._well, self._begun = self._turn + 1, False, {}
        command, key = self._stage(passes, todo, observer)
        application = self._submit(command)
        yield from self._collect(application, key, todo, observer)
        self._well = True

    def _stage(self, passes: tuple[Pass, ...], todo: dict[str, Block], observer: Observer) -> tuple[list[str], str]:
        """Put the round on HDFS; the command of its job, and the key that mappers seal errors with."""
        staging, turn = self._staging, self._turn
        assert staging is not None  # noqa: S101 `start` made it
        data, arrays = self._shipper.pack(passes)
        for number, array in arrays.items():
            self._put(f"array-{number}", pickle.dumps(array, protocol=5))
        self._put(f"passes-{turn}", data)
        recalled, partials = dict[str, str](), dict[str, list[Any]]()
        for name in sorted({name for item in passes if item.kept for name in (item.kept, *(f"{item.kept}/{i}" for i in range(len(item.again))))}):  # a mapper begins with nothing
            recalled[name] = f"recalled-{turn}-{len(recalled)}"
            self._put(recalled[name], _file(observer.recall(name)))
        for block in todo.values():
            if block.partial is not None:
                which, lane = block.which, block.partial.lane
                partials[f"{which}-{lane}"] = [block.partial.done, f"partial-{turn}-{which}-{lane}"]
                self._put(f"partial-{turn}-{which}-{lane}", _file(block.partial.state))
        nodes, key = f"nodes-{turn}", os.urandom(32).hex()
        with hdfs.told(staging.address, writing=True):
            staging.client.mkdirs(f"{staging.path}/{nodes}", 0o700)
        plan = {
            "job": "job", "passes": f"passes-{turn}", "arrays": {str(k): f"array-{k}" for k in arrays}, "recalled": recalled, "partials": partials, "nodes": nodes, "key": key,
            "files": self._hashes, "modules": self._modules, "kernels": self._kernels, "machine": machine(), "path": [path or str(Path.cwd()) for path in sys.path],
        }  # fmt: skip
        sha256 = staging.put(f"round-{turn}.json", json.dumps(plan).encode())
        lines = "".join(f"{block.which} {block.level} {block.index}\n" for block in todo.values())
        staging.put(f"lines-{turn}", lines.encode())
        known = hdfs.settings()
        return streaming.command(
            self.launcher, self.jar,
            settings={
                "mapreduce.job.name": f"outgrow, round {turn}",
                "mapreduce.job.tags": self._tag,
                "mapreduce.input.lineinputformat.linespermap": str(-(-len(todo) // max(1, self.workers))),
                **({"mapreduce.job.queuename": self.queue} if self.queue else {}),
                **({"mapreduce.map.memory.mb": str(self.memory)} if self.memory else {}),
            },
            archive=self._archive, lines=f"{staging.address}/lines-{turn}", out=f"{staging.address}/out-{turn}",
            mapper=f'"{self.python}" -P -m outgrow.engines.mapper {staging.address}/round-{turn}.json {sha256}',
            user=self.user if known.get("hadoop.security.authentication", "simple") == "simple" else "",
        ), key  # fmt: skip

    def _submit(self, command: list[str]) -> str:
        """Hand the job in; the application's id."""
        assert self._local is not None  # noqa: S101 `start` made it
        said = self._local / f"submit-{self._turn}"
        with said.open("w") as out:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0)  # noqa: S603 the person's own command, as a list
        try:
            code = self._process.wait(_SUBMIT)
        except subprocess.TimeoutExpired:
            code = -1
        name = streaming.submitted(said.read_text(errors="replace"), code)
        self._applications.append(name)
        self._handed = time.monotonic()
        self.events.emit("cluster", engine="hadoop", master=self._yarn.address, application=name, ui=f"{self._yarn.address}/cluster/app/{name}", workers=self.workers)
        return name

    def _collect(self, application: str, key: str, todo: dict[str, Block], observer: Observer) -> Iterator[Node]:
        """Nodes as they appear, until none is missing."""
        watched, arrived, told, over = time.monotonic(), 0, 0, ""  # rows of nodes that are here; rows that were told of
        while True:
            for node, answer in self._arrived(key, todo, observer):
                worker = self._mappers.setdefault((answer.host, answer.pid), len(self._mappers))
                arrived += answer.rows
                observer.progress(node.which, (node.index + 1 << node.level) - 1, max(0, arrived - told), worker)
                told = max(told, arrived)
                yield node
            if not todo:
                return
            if over:
                raise WorkerLost(f"the application ended ({over}) and {len(todo)} nodes are missing", where=application, todo=LOOK.format(application))
            now = time.monotonic()
            if now - watched > _WATCH:
                watched = now
                self._sign(now)
                over = self._watch(application)  # the nodes are looked for once more after it
                more = 0 if over else self._yarn.rows(application) - told
                if more > 0:
                    told += more
                    observer.progress(next(iter(todo.values())).which, 0, more, 0)
            time.sleep(_POLL)

    def _arrived(self, key: str, todo: dict[str, Block], observer: Observer) -> Iterator[tuple[Node, Answer]]:
        """What lies in the round's folder and was not taken yet; a mapper's error is raised, lanes under way go to be saved."""
        staging, nodes = self._staging, f"nodes-{self._turn}"
        assert staging is not None  # noqa: S101 `start` made it
        listed = staging.names(nodes)
        for name in sorted(listed, key=lambda name: not name.startswith("error-")):
            where = f"{staging.address}/{nodes}/{name}"
            if name.startswith("error-"):
                raise pickle.loads(unsealed(key, staging.get(f"{nodes}/{name}"), where))  # noqa: S301 sealed with the key of this run
            if name.startswith("partial-"):
                which, lane, done = (int(word) for word in name.split("-")[1:])
                if done > self._begun.get((which, lane), 0) and f"{which}-0-{lane}" in todo:
                    self._begun[which, lane] = done
                    observer.partial(Partial(which, lane, done, decode(unsealed(key, staging.get(f"{nodes}/{name}"), where), where=where)[0]))
            block = todo.pop(name, None)
            if block is not None:
                answer = unpacked(staging.get(f"{nodes}/{name}"), where)
                yield Node(block.which, block.level, block.index, answer.node_state()), answer

    def _sign(self, now: float) -> None:
        """Tell mappers that this program is alive."""
        if now - self._signed > _SIGN and self._staging is not None:
            self._signed = now
            with hdfs.told(self._staging.address, writing=True):
                stamp = int(time.time() * 1000)
                self._staging.client.set_times(f"{self._staging.path}/alive", stamp, stamp)

    def _watch(self, application: str) -> str:
        """How the application ended, or "" while it goes on; attempts that failed are told, and raised where the next would fail too."""
        about = self._yarn.application(application)
        over = str(about.get("finalStatus") or about["state"]) if about.get("state") in OVER else ""
        if about.get("state") == "ACCEPTED" and time.monotonic() - self._handed > _WAITS:
            self._handed = float("inf")
            self.events.emit("warning", text=f"{application} waits for room in the queue {about.get('queue', '')!r}")
        last = ""
        for attempt in self._yarn.failed(application, self._told):
            last, error = explain(attempt, self.python)
            self._looks[attempt.id] = self._looks.get(attempt.id, 0) + 1
            if isinstance(error, WorkerLost) and not attempt.stderr and not over and self._looks[attempt.id] < _LOOKS:
                continue
            self._told.add(attempt.id)
            self.events.emit("lost", worker=attempt.id, host=attempt.node, why=last)
            if error is not None:
                raise error
            self._last = f"{last}\n{attempt.stderr}".strip()
        if over in ("FAILED", "KILLED"):
            why = self._last or str(about.get("diagnostics") or "YARN does not say why")
            raise WorkerLost(f"the application was {over.lower()}: {why}", where=application, todo=LOOK.format(application))
        return over

    def _end(self, tag: str, patience: float = 0.0, *, late: bool = False) -> None:
        """End the applications with a tag, those that are through after `patience`; `late`: one may turn up yet."""
        until = time.monotonic() + patience
        while True:
            try:
                left = [str(item["id"]) for item in self._yarn.tagged(tag) if item["state"] not in OVER]
                if not left and not late:
                    return
                if time.monotonic() >= until:
                    for name in left:
                        self._yarn.kill(name)
                    if not late:
                        return
                    until, late = time.monotonic() + 1, False
            except OSError as error:
                raise WorkerLost(f"the application could not be ended ({error})", where=self._yarn.address, todo=f"yarn application -kill {' '.join(self._applications)}") from None
            time.sleep(0.2)

    def stop(self) -> None:
        """End what still runs, and leave nothing on HDFS but an environment that was copied there."""
        super().stop()
        cut = self._process is not None and self._process.poll() is None
        if self._process is not None and cut:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._local is not None:
            shutil.rmtree(self._local, ignore_errors=True)
        if self._staging is None:
            return
        staging, self._staging = self._staging, None
        try:
            self._end(self._tag, patience=_END if self._well else 0, late=cut)
            with hdfs.told(staging.address, writing=True):
                staging.client.delete(staging.path, recursive=True)
        except OutgrowError as error:  # the run's own end is what counts
            self.events.emit("warning", text=str(error))
