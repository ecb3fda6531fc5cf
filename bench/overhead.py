"""What a round costs besides its rows, how soon a program starts, how soon a resumed run reaches new work."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from table import keep

import outgrow as og
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial


@dataclass(frozen=True)
class Nothing(og.Fold):
    """A fold that only counts rows."""

    def init(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"n": np.zeros((), np.int64)}

    def update(self, state: dict[str, Any], batch: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"n": state["n"] + batch.rows}

    def merge(self, left: dict[str, Any], right: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        return {"n": left["n"] + right["n"]}


@dataclass(frozen=True)
class Rounds(og.Learner):
    """Asks `rounds` times for a pass over two lanes."""

    rounds: int = 1

    def begin(self, context: Any, start: Any = None) -> dict[str, Any]:
        return {"t": np.zeros((), np.int64)}

    def ask(self, context: Any, carry: dict[str, Any]) -> tuple[og.Pass, ...]:
        return () if carry["t"] >= self.rounds else (og.Pass(fold=Nothing(), cover=og.Cover(kind="chains", lanes=2)),)

    def tell(self, context: Any, carry: dict[str, Any], closed: tuple[dict[str, Any], ...]) -> dict[str, Any]:
        return {"t": carry["t"] + 1}

    def finish(self, context: Any, carry: dict[str, Any]) -> dict[str, Any]:
        return carry


def whole(*command: str, runs: int = 9) -> float:
    """Median milliseconds of a whole process, after one run that is not counted."""
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times[1:])


def rounds(engine: Any, count: int = 2000) -> float:
    """Median of three: milliseconds a round over two rows in two lanes, start and stop apart."""
    source = og.read({"x": np.array([1.0, 2.0])})
    bare = []
    for _ in range(3):
        few, many = (run(Job(learner=Rounds(n), source=source, shard_rows=1, batch_rows=1), engine()).record["train_seconds"] for n in (10, count + 10))
        bare.append((many - few) / count * 1e3)
    return statistics.median(bare)


def resume() -> float:
    """Seconds from the call to the first new batch of a run that was stopped near the end of one long row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from outgrow.core.errors import Interrupted
    from outgrow.core.events import Events
    from outgrow.core.store import RunStore

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.parquet"
        rows = 1_900_000
        pq.write_table(pa.table({f"x{i}": np.random.default_rng(i).normal(size=rows) for i in range(10)}), path, row_group_size=rows)
        job = Job(learner=Rounds(1), source=og.read(path), shard_rows=rows, batch_rows=1 << 14)
        seen = 0

        def stop(event: dict[str, Any]) -> None:
            nonlocal seen
            seen += event.get("rows", 0) if event["kind"] == "tick" else 0
            if seen > 0.9 * rows:
                raise KeyboardInterrupt

        with RunStore("a" * 16, Path(folder)) as store, contextlib.suppress(Interrupted):
            run(job, Serial(), store=store, events=Events(stop), save_every=0.0)
        first: list[float] = []
        began = time.perf_counter()

        def mark(event: dict[str, Any]) -> None:
            if event["kind"] == "tick" and not first:
                first.append(time.perf_counter() - began)

        with RunStore("a" * 16, Path(folder)) as store:
            run(job, Serial(), store=store, events=Events(mark))
        return first[0]


def main() -> None:
    rows = [
        ("a round on serial", f"{rounds(Serial):.3f} ms", "at most 0.2 ms"),
        ("a round on processes:1", f"{rounds(lambda: Processes(1)):.3f} ms", "at most 1 ms"),
        ("a round on processes:2", f"{rounds(lambda: Processes(2)):.3f} ms", "at most 1 ms"),
        ("import outgrow, whole process", f"{whole(sys.executable, '-c', 'import outgrow'):.0f} ms", "under 300 ms"),
        ("outgrow --help, whole process", f"{whole(sys.executable, '-m', 'outgrow', '--help'):.0f} ms", "under 300 ms"),
        ("resume inside a row group of 1.9 M rows, to the first new batch", f"{resume():.2f} s", "at most 5 s"),
    ]
    keep("overhead", "What everything costs besides the rows", ["what", "measured, median", "asked"], rows)


if __name__ == "__main__":
    main()
