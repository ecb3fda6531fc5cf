"""What is killed on real clusters, each several times: the digest stays, and what it costs in seconds.

    .venv/bin/python bench/faults.py [--times 5] [--on spark hadoop] [--folder /tmp/faults]

The same small job each time: a learner that sums, 24 lanes, a pause before each batch, so that there is a moment to kill at. Starts a
Spark (2 workers of 1 core) and a Hadoop (2 NodeManagers) of its own, one after the other, and stops them. With --folder, faults found
before are not tried again. The status is 1 where a digest differs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import toys
from disturbed import Killer, Started, Stopper, twin
from table import keep, once

from field.hadoop import Hadoop
from field.spark import Spark as SparkCluster
from outgrow.core.events import Events
from outgrow.core.run import run
from outgrow.engines import spark_session
from outgrow.engines.serial import Serial
from outgrow.engines.spark import Spark

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"spark.executor.memory": "600m", "spark.ui.enabled": "false"}
SPARK_PAUSE, HADOOP_PAUSE = 0.03, 0.1  # seconds before each batch
Found = dict[str, Any]  # seconds, the digest, and what was seen of the fault


class OnSpark:
    """Faults on a standalone cluster, with one session for all but the last two."""

    rounds = 3

    def __init__(self, cluster: SparkCluster, home: Path) -> None:
        self.cluster, self.home = cluster, home
        os.environ.update({name: cluster.env[name] for name in ("SPARK_HOME", "SPARK_LOCAL_IP", "SPARK_SCALA_VERSION", "JAVA_HOME", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON")})

    @property
    def faults(self) -> dict[str, Callable[[], Found]]:
        return {
            "nothing": self.undisturbed, "executor kill -9": self.executor, "executor's Python kill -9": self.python, "worker kill -9": self.worker,
            "task stopped, its speculative twin finishes": self.twin, "driver kill -9, the command again": self.driver,
        }  # fmt: skip

    @contextlib.contextmanager
    def session(self, **options: str) -> Iterator[None]:
        made = spark_session.make(self.cluster.master, tasks=0, environment="", options=SMALL | options)
        made.setLogLevel("OFF")
        try:
            yield
        finally:
            spark_session.unmake(made)

    def timed(self, *listeners: Callable[[dict[str, Any]], Any]) -> Found:
        job = toys.job(toys.Summing(rounds=self.rounds), pause=SPARK_PAUSE)
        began = time.monotonic()
        made = run(job, Spark(), events=Events(*listeners)).record["digest"]
        return {"seconds": time.monotonic() - began, "digest": made, "seen": ""}

    def undisturbed(self) -> Found:
        with self.session():
            self.timed()  # executors come up, Python loads
            return self.timed()

    def beaten(self, kill: Callable[[dict[str, Any]], Any], *listeners: Any) -> Found:
        """A run in which `kill` is called once, a moment into its work."""
        killer = Killer(kill)
        with self.session():
            self.timed()
            found = self.timed(*listeners, killer)
        lost = sorted({str(event["worker"]).split(" ")[0] for event in killer.lost})
        return found | {"seen": f"lost: {', '.join(lost)}" if lost else "killed" if killer.killed else "nothing was killed"}

    def executor(self) -> Found:
        return self.beaten(lambda _: os.kill(self.cluster.executor_pids[0], signal.SIGKILL))

    def python(self) -> Found:
        people: dict[int, int] = {}
        return self.beaten(lambda event: os.kill(people[event["worker"]], signal.SIGKILL), _remember(people))

    def worker(self) -> Found:
        try:
            return self.beaten(lambda _: self.cluster.kill("worker-1"))
        finally:
            self.cluster.restart("worker-1")

    def twin(self) -> Found:
        """One executor's Python stands still until the run is over: without twins of its tasks the run would not end."""
        stopper = Stopper()
        with self.session(**Stopper.eager):
            self.timed()
            try:
                found = self.timed(stopper)
            finally:
                stopper.release()
        return found | {"seen": "it stood still to the end" if stopper.stopped else "nothing was stopped"}

    def driver(self) -> Found:
        home = tempfile.mkdtemp(dir=self.home)
        command = [sys.executable, str(ROOT / "tests" / "support" / "spark_program.py"), self.cluster.master, home]
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.cluster.env) as first:
            assert first.stdout is not None
            for line in first.stdout:
                if line.startswith("saved"):
                    break
            first.kill()
        again = subprocess.run(command, capture_output=True, text=True, check=True, env=self.cluster.env)
        words = again.stdout.split()
        return {"seconds": time.monotonic() - began, "digest": words[-1], "seen": "resumed" if "resumed" in words else "did not resume"}


def _remember(people: dict[int, int]) -> Callable[[dict[str, Any]], None]:
    """A listener that keeps the process ids of workers by number."""

    def listen(event: dict[str, Any]) -> None:
        if event["kind"] == "worker":
            people[event["worker"]] = event["pid"]

    return listen


class OnHadoop:
    """Faults on HDFS and YARN: a program each, two mappers."""

    rounds = 1

    def __init__(self, cluster: Hadoop, home: Path) -> None:
        self.cluster, self.home = cluster, home

    @property
    def faults(self) -> dict[str, Callable[[], Found]]:
        return {
            "nothing": lambda: self.timed(lambda _: ""), "mapper kill -9": lambda: self.timed(self.mapper), "NodeManager kill -9": self.nodemanager,
            "DataNode kill -9, back at once": lambda: self.timed(self.datanode), "a mapper's twin": lambda: self.timed(self.twin),
            "client kill -9, the command again": self.client,
        }  # fmt: skip

    def start(self, home: str = "") -> Started:
        return Started(self.cluster, self.home, home or f"hadoop-{time.monotonic_ns()}", "sums", 2, f"pause={HADOOP_PAUSE}")

    def timed(self, disturb: Callable[[Started], str]) -> Found:
        began = time.monotonic()
        program = self.start()
        try:
            seen = disturb(program)
            done = program.end(600)
        finally:
            program.clear()
        lost = [item["why"] for item in program.events("lost")]
        return {"seconds": time.monotonic() - began, "digest": done.get("digest", done.get("text")), "seen": seen or "; ".join(sorted(set(lost)))}

    def mapper(self, program: Started) -> str:
        os.kill(program.mappers()[0], signal.SIGKILL)
        return ""

    def nodemanager(self) -> Found:
        def kill(program: Started) -> str:
            program.mappers()
            self.cluster.kill("nodemanager-2")
            return "gone to the end"

        try:
            return self.timed(kill)
        finally:
            self.cluster.restart("nodemanager-2")

    def datanode(self, program: Started) -> str:
        program.mappers()
        self.cluster.restart("datanode")
        return "back"

    def twin(self, program: Started) -> str:
        return {0: "it wrote its nodes, too", 3: "it came when all was over"}.get(status := twin(program), f"it ended with status {status}")

    def client(self) -> Found:
        home, began = f"home-{time.monotonic_ns()}", time.monotonic()
        first = self.start(home)
        try:
            first.until(lambda: [item for item in first.events("saved") if item["bytes"]])
            first.kill()
            again = self.start(home)
            try:
                done = again.end(600)
            finally:
                again.clear()
        finally:
            first.clear()
        resumed = [f"resumed in round {item['turn'] + 1} with {item['nodes']} nodes" for item in again.events("resumed")]
        return {"seconds": time.monotonic() - began, "digest": done.get("digest", done.get("text")), "seen": "".join(resumed) or "did not resume"}


KINDS: dict[str, tuple[Any, Any]] = {"spark": (SparkCluster, OnSpark), "hadoop": (Hadoop, OnHadoop)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--on", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--folder", type=Path, help="where what was found is kept; default: nowhere")
    options = parser.parse_args()
    rows, wrong = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.on:
            kind, faults = KINDS[name]
            want = run(toys.job(toys.Summing(rounds=faults.rounds)), Serial()).record["digest"]
            with contextlib.ExitStack() as open_:
                where = faults(kind(), folder)
                found: dict[str, list[Found]] = {fault: [] for fault in where.faults}
                for k, fault in itertools.product(range(options.times), found):  # in turn, so that a busy minute falls on all
                    file = folder / f"{name}-{re.sub(r'[^a-zA-Z0-9]+', '-', fault)}-{k}.json"
                    found[fault].append(once(file, lambda fault=fault, where=where, open_=open_: _tried(where, fault, open_)))
                    print(json.dumps([name, fault, k, *found[fault][-1].values()]), file=sys.stderr, flush=True)
            quiet = statistics.median(item["seconds"] for item in found["nothing"])
            rows += [_row(name, fault, items, want, quiet) for fault, items in found.items()]
            wrong += sum(item["digest"] != want for items in found.values() for item in items)
    head = ["cluster", "what happens", "times", "s undisturbed, median", "s, median", "s, all", "same digest", "what was seen"]
    notes = [
        "One small job each time, with pauses: Spark 3 rounds in a session that is warm (driver: the whole program, twice), Hadoop 1 round, the whole program.",
        "Spark: 2 workers of 1 core. Hadoop: 2 NodeManagers, 2 mappers. A NodeManager, a worker is started again after the run.",
        "The stopped task: one executor's Python is stopped (SIGSTOP) until the run is over. The mapper's twin: its command a second time, beside it, at all lanes.",
        f"Wall seconds; load average at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
    ]
    keep("faults", "What is killed, and what comes of it", head, rows, notes)
    return 1 if wrong else 0


def _tried(where: Any, fault: str, open_: contextlib.ExitStack) -> Found:
    """One trial; the first starts the cluster."""
    if not where.cluster.pids:
        open_.enter_context(where.cluster)
    found: Found = where.faults[fault]()
    return found


def _row(name: str, fault: str, found: list[Found], want: str, quiet: float) -> list[object]:
    seconds = [item["seconds"] for item in found]
    seen = sorted({item["seen"] for item in found if item["seen"]})
    same = sum(item["digest"] == want for item in found)
    each = ", ".join(f"{value:.1f}" for value in sorted(seconds))
    return [name, fault, len(found), round(quiet, 1), round(statistics.median(seconds), 1), each, f"{same} of {len(found)}", "; ".join(seen)]


if __name__ == "__main__":
    sys.exit(main())
