"""Spark: blocks of lanes are shipped to its executors, never rows; nodes come back as each task ends.

A round is one small Spark job. A stage keeps its tasks' results until the last one is done, so answers travel in an
accumulator instead, which Spark brings to the driver task by task: nodes meet, progress shows and runs are saved while
the stage goes on. What a task read twice, for a lost executor or a speculative twin, the closer drops.
"""

from __future__ import annotations

import pickle
import queue
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from ..core.errors import BadField, OutgrowError, Refused, WorkerLost
from ..core.events import Events
from ..core.fold import Block, Node
from ..core.job import Job
from ..core.learner import Pass
from ..core.run import Observer
from ..core.state import State, decode, encode
from ..core.tree import aligned
from . import spark_session, spark_task
from .measure import Measured
from .remote import Answer, machine
from .scratch import Scratch
from .ship import Shipper

__all__ = ["Spark"]

_JOB_TASKS = 512  # partitions of a Spark job at most
_TASK_SECONDS = 0.2  # work a task should have, where that is known: Spark takes some 10 ms a task
_WATCH = 2.0
_ATTEMPTS = 4
_HOLD = 512 << 20
_BROADCAST = 32 << 20  # bytes of an array from which a broadcast is worth its cost


class _Mail:
    """The driver's end of an inbox: Spark's thread puts answers in, the run takes them out."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Answer | _Ended] = queue.SimpleQueue()

    def extend(self, more: Iterable[Answer]) -> None:
        for answer in more:
            self.queue.put(answer)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A Spark job is over; all answers of its tasks were delivered before."""

    error: BaseException | None


def _whole(blocks: list[Block]) -> Iterator[Block]:
    """The same lanes as few aligned subtrees: what one task folds meets there, and travels as one node."""
    run: list[Block] = []
    for block in [*blocks, None]:
        if run and (block is None or block.partial or run[0].partial or block.which != run[0].which or block.lanes.start != run[-1].lanes.stop):
            if run[0].partial:
                yield run[0]
            else:
                yield from (Block(run[0].which, level, index) for level, index in aligned(run[0].lanes.start, run[-1].lanes.stop, run[-1].lanes.stop))
            run = []
        if block is not None:
            run.append(block)


class Spark(Measured):
    """Folds blocks on the executors of a Spark cluster.

    Parameters
    ----------
    master : str
        "local[N]", "spark://host:port" or "yarn"; "": the context that this program has. A context that is active is used, and left as it is.
    tasks : int
        Tasks at a time; 0: as many as the cluster has cores for this application.
    environment : path
        An archive (.tar.gz, .zip) with a Python environment, shipped to all executors; "": they have what is needed.
    shared : path or URL
        A folder that driver and executors see, for nodes of `large` bytes or more; "": a folder here where the executors see it, else nodes come through the driver.
    hold : int, optional
        Bytes of encoded rows that each Python worker keeps between rounds at most, as MLlib keeps its blocks: later passes then read and encode
        fewer rows or none. Default: 512 MiB on a standalone cluster, whose workers count the memory of executors' Java alone; else none.
    options : mapping
        Spark's own settings, for a context made here.
    patience : float
        Seconds to wait for the first executor.
    """

    name = "spark"

    def __init__(
        self, master: str = "", *, tasks: int = 0, environment: str = "", shared: str = "", large: int = 1 << 20, hold: int | None = None,
        options: Mapping[str, str] | None = None, patience: float = 60.0,
    ) -> None:  # fmt: skip
        if tasks < 0:
            raise BadField(f"{tasks} tasks are too few", where="tasks", allowed="0 (all cores) or more")
        self.master, self.tasks, self.environment, self.shared, self.large = master, tasks, environment, shared, large
        self.options, self.patience, self.hold = dict(options or {}), patience, hold
        self.workers = tasks or spark_session.local_threads(master) or 0
        self._context: Any = None
        self._own = False
        self._reset()

    def _reset(self) -> None:
        self._group = f"outgrow-{uuid.uuid4().hex[:12]}"
        self._turn = 0
        self._held: dict[int, Any] = {}
        self._people: dict[tuple[str, int], int] = {}
        self._most: dict[tuple[str, int], int] = {}
        self._parents: set[int] = set()
        self._gone: set[str] = set()
        self._failed: dict[str, int] = {}
        self._row_seconds: float | None = None
        self._watched = 0.0
        self._scratch: Scratch | None = None

    def can(self, job: Job) -> OutgrowError | None:
        for source in (job.source, *job.others.values()):
            if not source.content:
                todo = "Write them to a Parquet file that the executors see, or use --on processes:N."
                return Refused("the rows are in this program's memory, where executors cannot read them", where="spark", todo=todo)
        found = spark_session.refusal(self.master)
        if found is not None:
            return found
        try:
            self._dumped(job.learner)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            return Refused(f"the learner cannot travel to executors: {error}", where="spark", todo="Leave out what cannot be pickled, as open files and locks.")
        context = spark_session.active()
        if context is not None and not self.tasks:
            self.workers = max(1, context.defaultParallelism)
        return None

    @staticmethod
    def _dumped(thing: Any) -> bytes:
        """A pickle that carries what a script or session defines by value, so that executors need not import it."""
        from pyspark import cloudpickle

        found: bytes = cloudpickle.dumps(thing)  # type: ignore[no-untyped-call]
        return found

    def start(self, job: Job, events: Events, folder: str | None) -> None:
        super().start(job, events, folder)
        self._reset()
        self._job, self.events = job, events
        self._context = spark_session.active()
        self._own = self._context is None
        if self._own:
            self._context = spark_session.make(self.master, tasks=self.tasks, environment=self.environment, options=self.options)
        from pyspark import cloudpickle

        self._shipper = Shipper(cloudpickle.Pickler)
        self._scratch = Scratch(folder)
        self._sent = self._context.broadcast(self._dumped(job))
        shared = f"{(self.shared or str(self._scratch.path)).rstrip('/')}/{self._group}"
        hold = self.hold if self.hold is not None else _HOLD if self._context.master.startswith("spark://") else 0
        self._setup = spark_task.Setup(run=self._group, job=self._sent, expected=machine(), shared=shared, large=self.large, hold=hold)
        self._numbers = self._context.parallelize(range(_JOB_TASKS), _JOB_TASKS)
        self._greet()
        link, name = self._context.uiWebUrl, self._context.applicationId
        self.events.emit("cluster", engine="spark", master=self._context.master, application=name, ui=link, workers=self.workers)

    def _greet(self) -> None:
        """The first job: executors come up, say who they are, and whether they can do this job."""
        fs, folder = spark_task.connect(self._setup.shared)
        fs.makedirs(folder, exist_ok=True)
        fs.touch(f"{folder}/seen")
        found = self._greetings()
        for greeting in found:
            if greeting.error:
                raise pickle.loads(greeting.error)  # noqa: S301 from an executor of this program's
        blind = next((greeting.host for greeting in found if not greeting.sees_shared), None)
        if blind is not None and self.shared:
            raise Refused("the executor does not see the shared folder", where=f"{self.shared} on {blind}", todo="Name a folder that driver and executors see.")
        if blind is not None:
            self._setup = replace(self._setup, shared="")
        if not self.tasks:
            self.workers = max(1, self._context.defaultParallelism)
        for greeting in found:
            self._number(greeting.host, greeting.pid)
            self._parents.add(greeting.parent)

    def _greetings(self) -> list[spark_task.Greeting]:
        """From one task a core."""
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        cores = max(1, self._context.defaultParallelism)
        self._submit(partial(spark_task.greet, self._setup), cores, ended.put, "greeting")
        until, here = time.monotonic() + self.patience, False
        while True:
            try:
                found = ended.get(timeout=0.25)
            except queue.Empty:
                here = here or any(item.isActive() and item.totalCores() for item in self._executors())
                if here or time.monotonic() < until:
                    continue
                self._context.cancelJobGroup(self._group)
                why = f"the cluster at {self._context.master} gave no executor within {self.patience:.0f} s: no worker has the cores and memory free"
                raise Refused(why, where=self._place, todo="Free some, ask for less (spark.executor.memory), or raise patience.") from None
            if isinstance(found, BaseException):
                raise spark_session.explain(found, self._place)
            return list(found)

    def _submit(self, work: Any, tasks: int, ended: Any, what: str) -> None:
        """Run `work` on as many partitions in a thread; `ended` is given what came back, or the error."""
        from pyspark import InheritableThread

        rows = self._numbers.mapPartitionsWithIndex(work)

        def submit() -> None:
            found: Any
            try:
                self._context.setJobGroup(self._group, f"outgrow: {what}", interruptOnCancel=True)
                found = self._context.runJob(rows, list, range(tasks))
            except BaseException as error:  # noqa: BLE001 told to the thread that waits
                found = error
            ended(found)

        thread = InheritableThread(target=submit)
        thread.daemon = True
        thread.start()

    @property
    def _place(self) -> str:
        return str(self._context.uiWebUrl or self._context.master)

    def _executors(self) -> list[Any]:
        """Spark's own summaries of all executors of this application, the dead ones too."""
        found = self._context._jsc.sc().statusStore().executorList(False)  # Python's status tracker knows no executors
        return [found.apply(i) for i in range(found.size())]

    def _watch(self) -> None:
        """Say which executors went, and where tasks failed, since the last look."""
        now = time.monotonic()
        if now - self._watched < _WATCH:
            return
        self._watched = now
        for item in self._executors():
            name, host, failed = item.id(), item.hostPort(), item.failedTasks()
            if not item.isActive() and name not in self._gone:
                self._gone.add(name)
                reason = item.removeReason()
                self.events.emit("lost", worker=f"executor {name}", host=host, why=reason.get() if reason.isDefined() else "Spark does not say why")
            elif failed > self._failed.get(name, 0):
                why = f"{failed - self._failed.get(name, 0)} tasks failed there and are run again; Spark's UI says why: {self._place}"
                self.events.emit("lost", worker=f"a task on executor {name}", host=host, why=why)
            self._failed[name] = failed

    def _number(self, host: str, pid: int) -> int:
        """The number of a Python worker; a new one is announced."""
        if (host, pid) not in self._people:
            self._people[host, pid] = len(self._people)
            self.events.emit("worker", worker=self._people[host, pid], pid=pid, host=host)
        return self._people[host, pid]

    def pids(self) -> Iterable[int]:
        """Java and its Python workers where they all run on this machine; nothing for a cluster, whose memory is not this program's."""
        context = self._context
        if context is None or spark_session.local_threads(context.master) is None:
            return []
        java = getattr(context._gateway, "proc", None)
        return [*([java.pid] if java else []), *self._parents, *(pid for _, pid in list(self._people))]

    @property
    def worker_bytes(self) -> int:  # type: ignore[override]
        """The most that the executors' Python held together, as far as they said: for each core the largest of its processes."""
        return sum(sorted(self._most.values())[-max(1, self.workers) :])

    def stop(self) -> None:
        super().stop()
        context, self._context = self._context, None
        if context is None:
            return
        context.cancelJobGroup(self._group)
        if self._scratch is not None:
            fs, folder = spark_task.connect(f"{self.shared}/{self._group}" if self.shared else str(self._scratch.path))
            if fs.exists(folder):
                fs.rm(folder, recursive=True)
            self._scratch.remove()
        if self._own:
            spark_session.unmake(context)
            return
        for held in (self._sent, *self._held.values()):
            if not isinstance(held, str):
                held.destroy()

    def _arrays(self, arrays: Mapping[int, Any]) -> dict[int, Any]:
        """How executors get each large array: the path of a file in the shared folder, or a broadcast; those of earlier rounds that are not used any more are gone.

        A broadcast of 2 MB cost some 30 ms more of Java's processor time; it is the better way where many executors want much.
        """
        for key in set(self._held) - set(arrays):
            self._let_go(self._held.pop(key))
        for key in set(arrays) - set(self._held):
            if not self._setup.shared or arrays[key].nbytes > _BROADCAST:
                self._held[key] = self._context.broadcast(arrays[key])
                continue
            fs, folder = spark_task.connect(self._setup.shared)
            self._held[key] = f"{folder}/given-{key}"
            with fs.open(self._held[key], "wb") as file:
                file.writelines(encode({"array": arrays[key]}))
        return dict(self._held)

    def _let_go(self, held: Any) -> None:
        if not isinstance(held, str):
            held.destroy()
            return
        fs, _ = spark_task.connect(self._setup.shared)
        fs.rm_file(held)

    def _cut(self, blocks: list[Block], passes: tuple[Pass, ...]) -> tuple[tuple[Block, ...], ...]:
        """Blocks by tasks, in order: one each, or several where a round is so short that Spark's cost of a task would show."""
        count = len(blocks)
        if self._row_seconds is not None:
            rows = sum(len(block.lanes) * self._job.lane_rows(passes[block.which], block.lanes.start) for block in blocks)
            count = min(count, max(self.workers, round(rows * self._row_seconds / _TASK_SECONDS)))
        edges = [len(blocks) * i // count for i in range(count + 1)]
        return tuple(tuple(_whole(blocks[a:b])) for a, b in pairwise(edges))[:_JOB_TASKS]

    def fold(self, passes: tuple[Pass, ...], blocks: Iterable[Block], observer: Observer) -> Iterator[Node]:
        todo = {(block.which, block.level, block.index): block for block in blocks}
        data, arrays = self._shipper.pack(passes)
        self._turn += 1
        turn = spark_task.Turn(key=f"{self._turn}", data=data, arrays=self._arrays(arrays), tasks=(), recalled={})
        idle = 0
        while todo:
            ready, names = len(todo), set(turn.recalled)
            for answer in self._answers(replace(turn, tasks=self._cut(list(todo.values()), passes))):
                if answer.kind == "error":
                    raise answer.error()
                if answer.kind == "recall":
                    names.add(answer.text)
                elif covered := [key for key, block in todo.items() if answer.covers(block)]:
                    for key in covered:
                        del todo[key]
                    self._heard(answer, observer)
                    yield Node(answer.which, answer.level, answer.index, self._state(answer))
            idle = idle + 1 if ready == len(todo) and names == set(turn.recalled) else 0
            if idle == _ATTEMPTS:
                raise WorkerLost(f"{len(todo)} blocks did not come back in {idle} Spark jobs", where=self._place, todo="Spark's UI and the executors' logs say more.")
            turn = replace(turn, recalled={name: turn.recalled[name] if name in turn.recalled else observer.recall(name) for name in names})

    def _answers(self, turn: spark_task.Turn) -> Iterator[Answer]:
        """One Spark job: answers as its tasks end."""
        from pyspark import accumulators

        mail = _Mail()
        inbox = self._context.accumulator(mail, spark_task.Inbox())
        work, ended = partial(spark_task.fold, self._setup, turn, inbox), False
        self._submit(work, len(turn.tasks), lambda found: mail.queue.put(_Ended(found if isinstance(found, BaseException) else None)), f"round {turn.key}")
        try:
            while True:
                self._watch()
                try:
                    item = mail.queue.get(timeout=_WATCH)
                except queue.Empty:
                    continue
                if isinstance(item, Answer):
                    yield item
                    continue
                ended = True
                if item.error is not None and spark_session.local_threads(self._context.master) is None:
                    raise spark_session.explain(item.error, self._place)
                if item.error is not None:  # a local context of somebody else's tries no task again
                    self.events.emit("lost", worker="a task", host="here", why=str(spark_session.explain(item.error, self._place)))
                return
        finally:
            accumulators._accumulatorRegistry.pop(inbox.aid, None)  # pyspark keeps them for ever
            if not ended:
                self._context.cancelJobGroup(self._group)

    def _heard(self, answer: Answer, observer: Observer) -> None:
        who = answer.host, answer.pid
        observer.progress(answer.which, answer.index << answer.level, answer.rows, self._number(*who))
        self._most[who] = max(self._most.get(who, 0), answer.held_bytes)
        if answer.rows:
            pace = answer.seconds / answer.rows
            self._row_seconds = pace if self._row_seconds is None else 0.7 * self._row_seconds + 0.3 * pace

    def _state(self, answer: Answer) -> State:
        if not answer.text:
            return answer.node_state()
        fs, _ = spark_task.connect(self._setup.shared)
        state = decode(fs.cat_file(answer.text), where=answer.text)[0]
        fs.rm_file(answer.text)
        return state
