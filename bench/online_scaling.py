"""One job of two lanes on one worker process and on two: wall seconds, processor seconds of the longest way, log loss beside one lane.

    .venv/bin/python bench/online_scaling.py [--folder DIR] [--train 5000000] [--twice] [--passes 2] [--repeats 3]

The longest way is the busiest worker and the driver, in processor seconds: what other programs on the machine disturb least. What does
not grow with the rows (a worker's start, states that travel and meet) is measured by the same job over a few rows, and stated apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clicklog
from table import keep

import outgrow as og
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.data.model import Model
from outgrow.engines.processes import Processes

FEW = 4096


def spent(pid: int) -> float:
    """Processor seconds of a process up to now."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def few_rows(folder: Path) -> Any:
    """The first rows, in a file of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "few.parquet"
    pq.write_table(pa.Table.from_batches([next(pq.ParquetFile(folder / "test.parquet").iter_batches(FEW))]), path, row_group_size=FEW // 2)
    return og.read(path, target="click")


class Watched(Processes):
    """Processes that say what each worker has used before they end."""

    used: tuple[float, ...] = ()

    def stop(self) -> None:
        self.used = tuple(spent(pid) for pid in self.pids())
        super().stop()


@dataclass(frozen=True)
class Turn:
    """Seconds of one run: on the clock, of the busiest worker, of the driver."""

    wall: float
    worker: float
    driver: float
    result: Any

    @property
    def way(self) -> float:
        return self.worker + self.driver


def turn(job: Job, workers: int) -> Turn:
    engine, began = Watched(workers), time.process_time()
    result = run(job, engine)
    return Turn(result.record["train_seconds"], max(engine.used), time.process_time() - began, result)


def job_of(source: Any, lanes: int, passes: int, shard_rows: int = 1 << 18) -> Job:
    learner = og.Then((og.Hashing(bits=22), og.OnlineLinear(lanes=lanes, passes=passes)))
    return Job(learner=learner, source=source, shard_rows=shard_rows, batch_rows=1 << 14)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--train", type=int, default=5_000_000)
    parser.add_argument("--twice", action="store_true", help="every file two times: runs twice as long from the same disk space")
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.gettempdir()) / f"clicklog-{options.train}"
    clicklog.generate(folder, train=options.train)
    files, twin = [folder / "train.parquet"], folder / "train-again.parquet"
    if options.twice:
        twin.unlink(missing_ok=True)
        twin.hardlink_to(files[0])
        files.append(twin)
    source, few = og.read(files, target="click"), few_rows(folder)
    turns: dict[tuple[int, int], list[Turn]] = {}
    starts: dict[tuple[int, int], list[Turn]] = {}
    losses: dict[int, float] = {}
    for count in range(options.repeats):  # in turn, so that a slower minute of the machine meets all
        for lanes, workers in ((1, 1), (2, 1), (2, 2)):
            job = job_of(source, lanes, options.passes)
            turns.setdefault((lanes, workers), []).append(turn(job, workers))
            starts.setdefault((lanes, workers), []).append(turn(job_of(few, lanes, options.passes, FEW // 2), workers))
            if count == 0 and workers == 1:
                losses[lanes] = og.evaluate(Model(job.learner, source.schema, turns[lanes, workers][0].result.arrays), folder / "test.parquet")["log_loss"]
    median = {key: tuple(statistics.median(getattr(item, name) for item in found) for name in ("wall", "way", "worker", "driver")) for key, found in turns.items()}
    start = {key: statistics.median(item.way for item in found) for key, found in starts.items()}
    rows = []
    for key, (wall, way, worker, driver) in median.items():
        once, of = median[2, 1], key[0] == 2
        running = way - start[key]
        ratios = [f"{once[0] / wall:.2f}", f"{once[1] / way:.2f}", f"{(once[1] - start[2, 1]) / running:.2f}"] if of else ["", "", ""]
        shown = [wall, ratios[0], way, ratios[1], worker, driver, start[key], ratios[2]]
        rows.append([*key, *(f"{item:.2f}" if isinstance(item, float) else item for item in shown), f"{losses[key[0]]:.5f}", turns[key][0].result.record["digest"][:12]])
    if {t.result.record["digest"] for key in ((2, 1), (2, 2)) for t in turns[key]} != {turns[2, 1][0].result.record["digest"]}:
        raise SystemExit("one worker and two gave different models")
    notes = [
        f"{source.rows:,} rows, {options.passes} passes; medians of {options.repeats} runs in turn; load at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
        "Longest way: processor seconds of the busiest worker and of the driver together, the start of the worker included.",
        f"Fixed: the longest way of the same job over {FEW:,} rows: a worker's start, and the passing of states of 32 MB. Once running: without it.",
    ]
    head = ["lanes", "workers", "seconds", "times one worker", "longest way, s", "times one worker", "busiest worker, s", "driver, s", "fixed, s", "once running, times one worker"]
    keep("online-scaling", "OnlineLinear with two lanes on one and on two worker processes", [*head, "test log loss", "digest"], rows, notes)


if __name__ == "__main__":
    main()
