"""Predicted beside measured: time, processor time, peak memory, and what the probe took of it, of several jobs, each in a program of its own.

    .venv/bin/python bench/plan_truth.py [--rows 20000000] [--folder /tmp/truth] [--serial] [--quick]

Long runs read the same file up to three times, under as many names. About 7 processor minutes (estimated: 9 by the clock on two quiet cores; --serial: 6), of which the
file takes one to make; it stays in --folder. One run a job unless --times says more; --only KMeans runs the jobs of that name.
Processor seconds can be compared on a machine that others use too; seconds by the clock, and all of two workers, cannot.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from table import keep

import outgrow as og
from outgrow.core.errors import Refused

GROUP = 500_000


def write(path: Path, rows: int) -> None:
    """8 numbers and 14 categories with long tails, row groups of half a million."""
    sizes = [10, 100, 1000, 20_000, 200, 50]
    writer = None
    for start in range(0, rows, GROUP):
        random, n = np.random.default_rng(start), min(GROUP, rows - start)
        columns: dict[str, Any] = {f"n{j}": random.normal(size=n).astype(np.float32) for j in range(8)}
        score = sum(columns[f"n{j}"] * (j % 3 - 1) * 0.5 for j in range(8))
        for j in range(14):
            codes = (sizes[j % 6] * random.power(0.5, size=n)).astype(np.int32)
            score = score + np.sin(codes * (j + 1.0)) * 0.5
            columns[f"c{j}"] = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([f"v{j}_{i}" for i in range(sizes[j % 6])]))
        columns["y"] = (score + random.logistic(size=n) > 0).astype(np.int8)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


CATEGORIES = tuple(f"c{j}" for j in range(14))


@dataclass(frozen=True)
class Case:
    """A job, and how often the file is read under another name to make it long."""

    make: Callable[[], Any]
    options: dict[str, Any] = field(default_factory=dict)
    target: str | None = "y"
    drop: tuple[str, ...] = ()
    times: int = 1


def hashing(bits: int) -> dict[str, Any]:
    return {"features": [og.Hashing(bits=bits)]}


JOBS = {
    "KMeans": Case(lambda: og.KMeans(clusters=8, max_rounds=3), target=None, drop=(*CATEGORIES, "y")),
    "LogisticRegression": Case(lambda: "logistic-regression", drop=CATEGORIES, times=2),
    "LogisticRegression, hashed": Case(og.LogisticRegression, hashing(14), drop=CATEGORIES[:10]),
    "OnlineLinear, 1 lane, 3 passes": Case(lambda: og.OnlineLinear(lanes=1, passes=3), hashing(18)),
    "OnlineLinear, 2 lanes": Case(og.OnlineLinear, hashing(22), times=3),
    "LinearRegression, one-hot": Case(lambda: "linear-regression", target="n0", drop=(*CATEGORIES[2:4], *CATEGORIES[6:], "y"), times=2),
    "Moments, one-hot": Case(lambda: "moments", target=None, times=2),
}
LARGE: list[tuple[str, str, str, str | None]] = [(name, "rows", "serial", None) for name in JOBS]
TWO: list[tuple[str, str, str, str | None]] = [(name, "rows", "processes:2", None) for name in JOBS]
SMALL: list[tuple[str, str, str, str | None]] = [
    (name, "few", "serial", memory) for name in ("KMeans", "LogisticRegression, hashed", "OnlineLinear, 1 lane, 3 passes", "Moments, one-hot") for memory in (None, "300MB")
]


def processor_seconds() -> float:
    """Of this program and of the workers that have ended."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(found.ru_utime + found.ru_stime for found in each)


def one(folder: str, name: str, on: str | None, memory: str | None) -> dict[str, Any]:
    """Plan and carry out one job; everything of interest."""
    case = JOBS[name]
    files = sorted(str(path) for path in Path(folder).glob("*.parquet"))
    source = og.read(files[: case.times], target=case.target, drop=case.drop)
    plan = og.plan(case.make(), source, on=on, memory=memory, fresh=True, **case.options)
    if plan.refusal is not None or plan.pricer is None:
        return {"refused": str(plan.refusal)}
    probe, offer = plan.pricer.probe, plan.pricer.offer(plan.engine, plan.limit or 0, packed=plan.packed)
    began = processor_seconds()
    try:
        run = plan.run(fresh=True)
    except Refused as error:
        return {"refused": str(error)}
    predicted, measured = run.record["predicted"], run.record["measured"]
    measured["processor_seconds"], predicted["processor_seconds"] = processor_seconds() - began, offer.processor_seconds
    measured["probe_seconds"], measured["probe_rows"] = probe.seconds - probe.compile_seconds, probe.folded / run.record["rows"]
    return {"engine": str(plan.engine), "packed": plan.packed, "predicted": predicted, "measured": measured, "digest": run.digest}


def files(folder: Path, rows: int) -> None:
    """The large file under three names, and a small one, where they are not there yet."""
    for name, count in (("rows", rows), ("few", max(rows // 40, 1))):
        below, made = folder / f"{name}-{count}", folder / name
        if not below.exists():
            half = folder / f"{below.name}.tmp"
            half.mkdir(parents=True, exist_ok=True)
            write(half / "0.parquet", count)
            for number in (1, 2):
                (half / f"{number}.parquet").hardlink_to(half / "0.parquet")
            half.rename(below)
        made.unlink(missing_ok=True)
        made.symlink_to(below.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--times", type=int, default=1, help="runs of each job, of which the medians are kept")
    parser.add_argument("--folder", type=Path, help="where the files are kept; default: a temporary one")
    parser.add_argument("--serial", action="store_true", help="not on two workers")
    parser.add_argument("--only", metavar="JOB", help="the jobs whose name begins so")
    parser.add_argument("--quick", action="store_true", help="one job")
    parser.add_argument("--one", nargs=4, metavar=("FOLDER", "JOB", "ON", "MEMORY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        path, name, on, memory = (None if value == "-" else value for value in options.one)
        print(json.dumps(one(str(path), str(name), on, memory)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        files(folder, options.rows)
        cases = SMALL[:2] if options.quick else [*LARGE, *SMALL, *(() if options.serial else TWO)]
        for name, kind, on, memory in [case for case in cases if case[0].startswith(options.only or "")]:
            found = []
            for _ in range(options.times):
                command = [sys.executable, __file__, "--one", str(folder / kind), name, on or "-", memory or "-"]
                done = subprocess.run(command, env={**os.environ, "OUTGROW_HOME": f"{temporary}/home"}, capture_output=True, text=True, check=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
            rows.append(line(name, on, memory, found))
            print(rows[-1], flush=True)
    head = [
        "job", "budget", "run on", "over 20 s", "s predicted", "s measured", "ratio", "processor s predicted", "processor s measured", "ratio", "probe s", "probe, of the run",
        "rows it folded", "MB predicted", "MB measured", "ratio", "MB sent predicted", "measured", "digest",
    ]  # fmt: skip
    load = os.getloadavg()[2]
    notes = [
        f"{options.rows:,} rows of 8 numbers and 14 categories, row groups of {GROUP:,}, read once, twice or three times; small runs: a 40th of the rows.",
        f"Each job in a program of its own, medians of {options.times}. Ratios are predicted over measured. A budget must hold 1.2 times the predicted peak.",
        "The probe: processor seconds beside imports and compiling, and as a share of the run's; rows that it folded as a share of the rows that the run folded.",
        f"Load of the machine over the last 15 minutes: {load:.1f} processes on {os.cpu_count()} cores.",
        "Above the cores, seconds by the clock say little; processor seconds still hold, but for caches and cores shared with others.",
        *verdicts(rows),
    ]
    keep("plan-truth", "The plan beside what happened", head, rows, notes)


def verdicts(rows: list[list[Any]]) -> list[str]:
    """How many rows keep what is promised of predictions."""
    ran = [row for row in rows if row[6] != ""]
    long = [row for row in ran if row[3]]

    def share(of: list[list[Any]], keeps: Callable[[list[Any]], bool]) -> str:
        return f"{sum(map(keeps, of))} of {len(of)}"

    return [
        (
            f"Over 20 s: seconds within 25 % in {share(long, lambda row: abs(row[6] - 1) <= 0.25)}, processor seconds in {share(long, lambda row: abs(row[9] - 1) <= 0.25)}; "
            f"the probe at most 5 % in {share(long, lambda row: row[10] <= 0.05 * row[8])}."
        ),
        f"Memory within 20 % in {share(ran, lambda row: abs(row[15] - 1) <= 0.2)}.",
    ]


def line(name: str, on: str | None, memory: str | None, found: list[dict[str, Any]]) -> list[object]:
    """One row of the table."""
    refused = next((item["refused"] for item in found if "refused" in item), None)
    if refused:
        return [name, memory or "", f"{on}, refused: " + refused.partition("allowed: ")[2].partition(".")[0], *[""] * 16]

    def middle(side: str, what: str) -> float:
        values = [item[side][what] for item in found]
        return statistics.median(values) if None not in values else float("nan")

    seconds, busy, peaks, moved = ([middle(side, what) for side in ("predicted", "measured")] for what in ("seconds", "processor_seconds", "peak_bytes", "moved_bytes"))
    peaks, moved = [value / 1e6 for value in peaks], [value / 1e6 for value in moved]
    where = found[0]["engine"] + (", packed" if found[0]["packed"] else "")
    took = middle("measured", "probe_seconds")
    long = "yes" if busy[1] >= 20 else ""
    probe = [took, f"{took / busy[1]:.1%}", f"{middle('measured', 'probe_rows'):.1%}"]
    return [name, memory or "", where, long, *seconds, seconds[0] / seconds[1], *busy, busy[0] / busy[1], *probe, *peaks, peaks[0] / peaks[1], *moved, found[0]["digest"][:8]]


if __name__ == "__main__":
    main()
