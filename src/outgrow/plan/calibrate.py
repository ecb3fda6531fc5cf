"""What this machine's engines cost, and what a worker of a learner takes to start: measured once in a few seconds, and again when the machine or the builds change."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..core.events import Events
from ..core.fold import Block
from ..core.job import Job, builds
from ..core.learner import Fold, Learner, Pass
from ..core.run import one_thread, run
from ..core.state import State
from ..core.store import home, write_whole
from ..engines.measure import held
from .costs import ENGINES, Costs
from .probe import few_rows
from .where import cores

__all__ = ["Calibration", "calibrated"]

_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured here: bytes a second to the cache folder, and the costs of engines by name."""

    write_rate: float
    engines: Mapping[str, Costs]


class _Lanes:
    """A source of one row a lane, with nothing in it."""

    content = "calibration"
    schema = None

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def read(self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
        for at in range(start, stop):
            yield SimpleNamespace(rows=1, positions=np.array([at]), kept=None)

    def take(self, positions: Any, columns: Sequence[str] | None = None) -> Any:
        raise NotImplementedError

    def check(self) -> None:
        return


@dataclass(frozen=True)
class _Work(Fold):
    """kind: "imports" what learners import, "nothing", "wide" states of 32 MB, or "busy" for some hundredths of a second with memory in use."""

    kind: str

    def init(self, given: Mapping[str, Any]) -> State:
        return {"sum": np.ones(_BYTES // 8) if self.kind == "wide" else np.ones(1)}

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        if self.kind == "busy":
            values, places = np.ones(1 << 21), (np.arange(1 << 20) * 2654435761) % (1 << 21)
            began = time.thread_time()
            for _ in range(6):
                values[places] *= 1.0000001
            state["sum"][0] = time.thread_time() - began
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return left


class _Watch:
    """An observer that looks away."""

    def progress(self, which: int, lane: int, rows: int, worker: int) -> None:
        return

    def due(self) -> bool:
        return False

    def partial(self, partial: Any) -> None:
        return

    def recall(self, kept: str) -> State:
        raise NotImplementedError


def _fold(engine: Any, kind: str, lanes: int) -> tuple[float, float]:
    """(wall seconds, the largest sum) of one pass."""
    began, most = time.perf_counter(), 0.0
    for node in engine.fold((Pass(fold=_Work(kind)),), [Block(0, 0, lane) for lane in range(lanes)], _Watch()):
        most = max(most, float(node.state["sum"][0]))
    return time.perf_counter() - began, most


def _write_rate(root: Path) -> float:
    root.mkdir(parents=True, exist_ok=True)
    path = root / f".rate-{os.getpid()}"
    data = np.random.default_rng(0).bytes(_BYTES)
    began = time.perf_counter()
    write_whole(path, [data], lasting=True)
    taken = time.perf_counter() - began
    path.unlink(missing_ok=True)
    return len(data) / taken


def _measure() -> Costs:
    """Costs of `processes`, without those of a worker's start."""
    from ..engines.processes import Processes

    workers, many = max(2, cores()), 32
    job = Job(learner=Learner(), source=_Lanes(max(workers, many)), shard_rows=1, batch_rows=1)
    engine = Processes(workers)
    with one_thread():
        try:
            engine.start(job, Events(), None)
            rounds = sorted(_fold(engine, "nothing", 1)[0] for _ in range(20))[10]
            tasks = sorted(_fold(engine, "nothing", many)[0] for _ in range(5))[2]
            wide = min(_fold(engine, "wide", 1)[0] for _ in range(3))
            _fold(engine, "busy", workers)
            alone = min(_fold(engine, "busy", 1)[1] for _ in range(3))
            together = min(_fold(engine, "busy", workers)[1] for _ in range(3))
        finally:
            engine.stop()
    share = min(1.0, max(0.2, alone / together))
    task, byte = max(0.0, tasks - rounds) / many, wide / _BYTES
    return replace(ENGINES["processes"], round_seconds=rounds, task_seconds=task, node_byte_seconds=byte, given_byte_seconds=byte, share=share)


def _worker(job: Job) -> tuple[float, int]:
    """(processor seconds, bytes held) of a worker that has carried out the job on few rows."""
    from ..engines.processes import Processes

    class Watched(Processes):
        """Looks at its worker before it goes."""

        seconds, size = 0.0, 0

        def stop(self) -> None:
            for pid in self.pids():
                self.size = held(pid)[0]
                self.seconds = _processor_seconds(pid)
            super().stop()

    engine = Watched(1)
    run(few_rows(job), engine)
    return engine.seconds, engine.size


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 1.0  # no /proc: about what it takes


def _key() -> str:
    try:
        model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    facts = [builds(), platform.python_version(), platform.node(), model, cores()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def calibrated(job: Job, root: Path | None = None) -> Calibration:
    """This machine's costs for a job's kind of learner: as kept below `root` (default: outgrow's home), else measured now and kept."""
    folder = root or home()
    path, key = folder / "calibration.json", _key()
    rate, processes, workers = 0.0, None, {}
    try:
        kept = json.loads(path.read_text())
        if kept["key"] == key:
            rate, processes, workers = float(kept["write_rate"]), Costs(**kept["processes"]), dict(kept["workers"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # none yet, or of another form
    if processes is None:
        rate, processes = _write_rate(folder), _measure()
    learner = getattr(job.learner, "learner", job.learner)  # of one that scores: what it scores
    stages = (*getattr(learner, "stages", (learner,)), *((job.learner,) if learner is not job.learner else ()))
    kind = " ".join(f"{type(stage).__module__}.{type(stage).__qualname__}" for stage in stages)
    if kind not in workers:
        workers[kind] = _worker(job)
        write_whole(path, [json.dumps({"key": key, "write_rate": rate, "processes": asdict(processes), "workers": workers}, indent=1).encode()])
    seconds, size = workers[kind]
    return Calibration(write_rate=rate, engines={"processes": replace(processes, worker_seconds=seconds, worker_bytes=size)})
