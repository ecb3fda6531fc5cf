"""Every learner × every engine and number of workers × whole, or killed and started again: one digest.

    .venv/bin/python bench/matrix.py [--on processes spark hadoop] [--rounds 4] [--folder /tmp/matrix]

Learners of one target run side by side in one job, each also alone on one process. Starts a Spark (2 workers of 1 core) and a Hadoop
(2 NodeManagers) of its own, one after the other, and stops them. Hadoop gets learners of at most `--rounds` rounds, as each round is a
job of ten seconds. With --folder, what was found before is not tried again. Digests do not mind other programs; the status is 1 where
one differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import learners
from table import keep, once

from field.clusters import Cluster
from field.hadoop import Hadoop
from field.spark import Spark
from outgrow.core.events import Events
from outgrow.core.run import run
from outgrow.core.store import RunStore
from outgrow.engines.serial import Serial

COUNTS = {"processes": (1, 2, 3, 5, 8), "spark": (1, 2, 3, 5), "hadoop": (1, 2, 4)}
SIDE = {"hadoop": len(learners.TARGETS)}  # targets at a time, where starting takes the time and there is room
KILLED = {"processes": 2, "spark": 0, "hadoop": 2}  # workers of the run that is killed; 0: all the cluster lends
KILLED_AT = {"processes": 3, "spark": 2, "hadoop": 1}  # the save after which it is
PAUSE = 0.02  # seconds before each batch of the run that is killed
SPARK = {"spark.executor.memory": "600m", "spark.ui.enabled": "false"}


class Watched(Serial):
    """Remembers the passes of the last round."""

    last: tuple[Any, ...] = ()

    def fold(self, passes: Any, blocks: Any, observer: Any) -> Iterator[Any]:
        self.last = passes
        yield from super().fold(passes, blocks, observer)


def alone(file: Path) -> dict[str, dict[str, Any]]:
    """Each learner by itself on one process: digest, rounds, and the traits of its last round's folds."""
    found = {}
    for name in learners.JOBS:
        engine = Watched()
        record = run(learners.job(name, file), engine).record
        traits = {trait for item in engine.last for trait in ("elementwise", "order_free", "chain") if getattr(item.fold.traits, trait)}
        traits |= {"grows with the rows" for item in engine.last if not item.fold.traits.bounded}
        found[name] = {"digest": record["digest"], "rounds": record["rounds"], "traits": ", ".join(sorted(traits)).replace("_", " ") or "tree"}
    return found


# in a program of its own: one target on one engine


def fit(name: str, counts: list[int], target: str, what: str, names: list[str], home: str, master: str) -> None:
    """Digests for each number of workers, and with a home what is saved and resumed, as lines of JSON."""

    def say(**fields: Any) -> None:
        print(json.dumps(fields), flush=True)

    events = Events(lambda event: say(kind=event["kind"]) if event["kind"] in ("saved", "resumed") else None)
    with contextlib.ExitStack() as open_, contextlib.suppress(BrokenPipeError):
        if name == "spark" and not home:  # one session for all numbers of tasks
            from outgrow.engines import spark_session

            open_.callback(spark_session.unmake, spark_session.make(master, tasks=0, environment="", options=SPARK))
        for count in counts:
            options: dict[str, Any] = {"events": events}
            if home:
                job = learners.job(target, what)
                options |= {"store": open_.enter_context(RunStore(job.id, Path(home))), "save_every": 0.05}
            found = learners.digests(target, what, engine(name, count, master if home else ""), names, PAUSE if home else 0.0, **options)
            say(kind="done", count=count, digests=found)


def engine(name: str, count: int, master: str) -> Any:
    if name == "processes":
        from outgrow.engines.processes import Processes

        return Processes(count)
    if name == "spark":
        from outgrow.engines import spark

        return spark.Spark(master, tasks=count, options=SPARK)
    from outgrow.engines import hadoop

    return hadoop.Hadoop(count)


# the parent: starts them, kills some


class Engine:
    """Where programs of one engine are started."""

    def __init__(self, name: str, cluster: Any, file: Path) -> None:
        self.name, self.cluster, self.what = name, cluster, str(file)
        self.env: Mapping[str, str] = cluster.env if cluster else os.environ
        self.master = cluster.master if name == "spark" else ""
        if name == "hadoop":
            cluster.say(["hadoop", "fs", "-put", "-f", str(file), "/rows.parquet"])
            self.what = f"{cluster.hdfs}/rows.parquet"

    def start(self, counts: Iterable[int], target: str, names: list[str], home: str = "") -> subprocess.Popen[str]:
        told = json.dumps([self.name, [*counts], target, self.what, names, home, self.master])
        command = [sys.executable, __file__, "--fit", told]
        command = self.cluster.inside(command) if self.name == "hadoop" else command
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(self.env), start_new_session=True)

    def whole(self, counts: Iterable[int], target: str, names: list[str]) -> dict[str, dict[str, str]]:
        """Digests by column."""
        with self.start(counts, target, names) as program:
            assert program.stdout is not None
            found = [json.loads(line) for line in program.stdout]
        return {f"{self.name}:{line['count']}": line["digests"] for line in found if line["kind"] == "done"}

    def killed(self, target: str, names: list[str], home: str) -> dict[str, dict[str, str]]:
        """Digests of a run whose program was killed and started again."""
        count, saves = KILLED[self.name], 0
        column = f"{self.name}{f':{count}' if count else ''}, killed"
        with self.start([count], target, names, home) as first:
            assert first.stdout is not None
            for line in first.stdout:
                saves += json.loads(line)["kind"] == "saved"
                if saves == KILLED_AT[self.name]:
                    break
            _kill(first)
        with self.start([count], target, names, home) as again:
            assert again.stdout is not None
            found = [json.loads(line) for line in again.stdout]
        resumed = any(line["kind"] == "resumed" for line in found)
        done = next((line["digests"] for line in found if line["kind"] == "done"), {})
        return {column: {name: value if resumed else "did not resume" for name, value in done.items()}}


def _kill(program: subprocess.Popen[str]) -> None:
    """kill -9 the program and what it started in its session (Spark's Java among it)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


@contextlib.contextmanager
def lent(name: str, file: Path) -> Iterator[Engine]:
    """An engine with a cluster of its own, where it needs one."""
    kinds: dict[str, Any] = {"spark": Spark, "hadoop": Hadoop}
    cluster: Cluster | None = kinds[name]() if name in kinds else None
    with cluster or contextlib.nullcontext():
        yield Engine(name, cluster, file)


def columns(name: str) -> list[str]:
    count = KILLED[name]
    return [*(f"{name}:{count}" for count in COUNTS[name]), f"{name}{f':{count}' if count else ''}, killed"]


def cell(found: Mapping[str, Mapping[str, str]], column: str, name: str, want: Mapping[str, Any], rounds: int) -> str:
    """"ok", the other digest, what went wrong, or how many rounds are too many."""
    if column.startswith("hadoop") and want["rounds"] > rounds:
        return f"– ({want['rounds']} rounds)"
    had = found.get(column, {}).get(name, "failed")
    return "ok" if had == want["digest"] else had[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", nargs="+", choices=COUNTS, default=list(COUNTS), help="engines beside the serial one")
    parser.add_argument("--rounds", type=int, default=4, help="the most that a learner on Hadoop may have")
    parser.add_argument("--folder", type=Path, help="where what was found is kept; default: nowhere")
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit(*json.loads(options.fit))
        return 0
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        file = learners.write(folder)
        began = time.monotonic()
        want = once(folder / "alone.json", lambda: alone(file))
        found: dict[str, dict[str, str]] = {"serial": {}}
        for target in learners.TARGETS:
            found["serial"] |= once(folder / f"serial-{target}.json", lambda target=target: learners.digests(target, file, Serial()))
        took["serial"] = time.monotonic() - began
        for name in options.on:
            began = time.monotonic()
            for column, digests in tried(name, file, folder, want, options.rounds):
                found.setdefault(column, {}).update(digests)
            took[name] = time.monotonic() - began
    return told(found, want, took, options)


def tried(name: str, file: Path, folder: Path, want: Mapping[str, Any], rounds: int) -> list[tuple[str, dict[str, str]]]:
    """All columns of an engine; its cluster starts where something is to be tried."""
    lock, engines = threading.Lock(), list[Engine]()

    def have() -> Engine:
        with lock:
            if not engines:
                engines.append(open_.enter_context(lent(name, file)))
        return engines[0]

    def one(target: str) -> dict[str, dict[str, str]]:
        names = [item for item in learners.named(target) if name != "hadoop" or want[item]["rounds"] <= rounds]
        found: dict[str, dict[str, str]] = {}
        for counts in [COUNTS[name]] if name == "spark" else [(count,) for count in COUNTS[name]]:  # Spark: one session for all
            found |= once(folder / f"{name}-{'-'.join(map(str, counts))}-{target}.json", lambda counts=counts: have().whole(counts, target, names))
        found |= once(folder / f"{name}-{target}-killed.json", lambda: have().killed(target, names, str(folder / f"home-{name}-{target}")))
        print(f"{name}, {target}: {', '.join(found)}", file=sys.stderr, flush=True)
        return found

    with contextlib.ExitStack() as open_, ThreadPoolExecutor(SIDE.get(name, 1)) as pool:
        return [item for found in pool.map(one, learners.TARGETS) for item in found.items()]


def told(found: Mapping[str, Mapping[str, str]], want: Mapping[str, Any], took: Mapping[str, float], options: argparse.Namespace) -> int:
    """The table; 1 where a digest differs."""
    named = ["serial", *(column for name in options.on for column in columns(name))]
    rows, wrong = [], 0
    for name, (target, _) in learners.JOBS.items():
        cells = [cell(found, column, name, want[name], options.rounds) for column in named]
        wrong += sum(not item.startswith(("ok", "–")) for item in cells)
        rows.append([name, target, want[name]["traits"], want[name]["rounds"], want[name]["digest"][:12], *cells])
    notes = [
        f"{len(rows)} learners, {sum(item == 'ok' for row in rows for item in row[5:])} runs with the digest of the learner alone on one process, {wrong} with another or none.",
        "Columns from `serial` on: the learners of one target side by side in one job. `killed`: kill -9 of the program after a save, and the command again, which resumed.",
        f"Hadoop: learners of at most {options.rounds} rounds, as each round is a job; with others their number of rounds is told.",
        "Traits are those of the folds of a learner's last round; `tree`: none, the state merges in its own way.",
        f"{learners.ROWS:,} rows of numbers with missing values and categories, 18 shards. Spark: 2 workers of 1 core; Hadoop: 2 NodeManagers.",
        "Minutes: " + ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in took.items()) + f"; load average at the end {os.getloadavg()[0]:.1f}.",
    ]
    head = ["learner", "target", "traits", "rounds", "digest", *named]
    keep("matrix", "Every learner on every engine: one digest", head, rows, notes)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
