"""A round on Hadoop against a bare streaming job of as many mappers, alternately in one run on one cluster; and kernels that travel.

Starts a Hadoop of its own (as `make field-hadoop` does) and runs itself again inside that cluster's network.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from table import keep

ROOT = Path(__file__).resolve().parents[1]
ROWS, ROUNDS, MAPPERS = 2_000_000, 3, 2


def write_rows(file: Path) -> None:
    """Eight numbers a row and what they almost tell, in row groups of 100,000."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(3)
    x = rng.normal(size=(8, ROWS)).astype(np.float32)
    y = (x[0] - x[1] + rng.normal(size=ROWS) > 0).astype(np.int8)
    pq.write_table(pa.table({**{f"x{i}": column for i, column in enumerate(x)}, "y": y}), file, row_group_size=100_000)


def bare(lines: str) -> float:
    """Seconds of a streaming job whose mappers read their line and end."""
    from outgrow.engines import streaming

    launcher = streaming.launcher()
    command = streaming.command(
        launcher, streaming.jar(launcher), settings={"mapreduce.input.lineinputformat.linespermap": "1"},
        archive="", lines=lines, out=f"/none-{time.time_ns()}", mapper="/bin/cat", user="",
    )  # fmt: skip
    began = time.perf_counter()
    done = subprocess.run(command[:-1], capture_output=True, text=True, check=False)  # without -background
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return time.perf_counter() - began


def inside(rows: str, lines: str) -> None:
    """What runs in the cluster's network: prints one JSON object."""
    import outgrow as og
    from outgrow.core.events import Events
    from outgrow.core.job import Job
    from outgrow.core.run import run
    from outgrow.engines import hadoop

    source = og.read(rows, target="y")
    job = Job(learner=og.Then((og.Hashing(bits=12), og.OnlineLinear(lanes=MAPPERS))), source=source, shard_rows=100_000, batch_rows=8192)
    began = time.process_time()
    from outgrow.engines.serial import Serial

    want = run(job, Serial()).record["digest"]  # compiles, where that was not done before
    serial = time.process_time() - began
    arrived = hadoop.Hadoop._arrived
    folds: list[float] = []

    def seen(self: Any, *arguments: Any) -> Any:
        for node, answer in arrived(self, *arguments):
            folds.append(answer.seconds)
            yield node, answer

    hadoop.Hadoop._arrived = seen  # type: ignore[method-assign]
    found: list[tuple[float, float, float, float]] = []
    for _ in range(ROUNDS):
        alone = bare(lines)
        times: list[float] = []
        folds.clear()
        events = Events(lambda event, times=times: times.append(time.perf_counter()) if event["kind"] in ("round", "told") else None)
        began = time.perf_counter()
        made = run(job, hadoop.Hadoop(MAPPERS), events=events).record
        whole = time.perf_counter() - began
        if made["digest"] != want:
            raise SystemExit("another digest")
        found.append((alone, times[1] - times[0], max(folds), whole))
    print(json.dumps({"found": found, "digest": want, "serial": serial, "user": resource.getrusage(resource.RUSAGE_SELF).ru_utime}))


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from field.hadoop import Hadoop

    cluster = Hadoop()
    try:
        cluster.start()
        with tempfile.TemporaryDirectory() as folder:
            file, lines = Path(folder) / "rows.parquet", Path(folder) / "lines"
            write_rows(file)
            lines.write_text("".join(f"{k}\n" for k in range(MAPPERS)))
            cluster.say(["hadoop", "fs", "-put", str(file), str(lines), "/"])
        done = subprocess.run(
            cluster.inside([sys.executable, __file__, "--inside", f"{cluster.hdfs}/rows.parquet", "/lines"]), env=cluster.env, stdout=subprocess.PIPE, text=True, check=True
        )  # fmt: skip
    finally:
        cluster.stop()
    told = json.loads(done.stdout.splitlines()[-1])
    rows = [[k + 1, *(round(value, 1) for value in (alone, whole, fold, whole - alone - fold, run))] for k, (alone, whole, fold, run) in enumerate(told["found"])]
    beside = statistics.median(whole - alone - fold for alone, whole, fold, _ in told["found"])
    keep(
        "hadoop-pass", f"A pass over {ROWS:,} rows on Hadoop, {MAPPERS} mappers",
        ["run", "bare streaming job (s)", "outgrow's round (s)", "its longest fold (s)", "round beside both (s)", "the whole run (s)"], rows,
        [
            f"median of what a round costs beside a bare job and the fold: {beside:.1f} s (asked: at most 3 s)",
            f"digest {told['digest'][:32]}, as on one process, which takes {told['serial']:.1f} s of a processor with compiling",
            f"wall time, all daemons and mappers on {os.cpu_count()} cores; load average at the end {os.getloadavg()[0]:.1f}",
            "the longest fold is a mapper's own time for its lane: loading what is compiled is in it, compiling is not, since kernels travel",
        ],
    )  # fmt: skip


if __name__ == "__main__":
    inside(*sys.argv[2:]) if sys.argv[1:2] == ["--inside"] else main()
