"""A linear model cut into blocks beside the uncut one: what each holds, how long it takes, and how near the optima are.

    .venv/bin/python bench/blocks_vs_uncut.py [--rows 100000] [--bits 20] [--slots 262144] [--workers 2] [--tolerance 1e-5]

Each runs in a program of its own, on worker processes. Rows are six categories of 50 to 300 000 values and four numbers; both learn the same table of
2^bits slots by the same penalty to the same tolerance.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from table import keep

import outgrow as og
from outgrow.core.events import Event, Events
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.core.state import nbytes
from outgrow.engines.processes import Processes

KINDS = (50, 1000, 5000, 30_000, 100_000, 300_000)


def write(folder: Path, rows: int) -> Path:
    """Rows whose chances are a linear model's, as Parquet."""
    rng = np.random.default_rng(5)
    score, columns = np.zeros(rows), {}
    for j, kinds in enumerate(KINDS):
        value = (kinds * rng.random(rows) ** 2).astype(np.int64)
        score += rng.normal(scale=0.5, size=kinds)[value]
        columns[f"c{j}"] = pa.array([f"v{k}" for k in value])
    for j in range(4):
        x = rng.normal(size=rows)
        score += 0.3 * x
        columns[f"n{j}"] = pa.array(x)
    columns["y"] = pa.array((score + rng.logistic(size=rows) > 0).astype(np.int64))
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=1 << 15)
    return folder / "rows.parquet"


class _Widest:
    """The bytes of the widest broadcast and the widest state of a run."""

    def __init__(self, engine: Any) -> None:
        self.given = self.state = 0
        fold = engine.fold

        def seen(passes: Any, blocks: Any, observer: Any) -> Any:
            self.given = max(self.given, *(nbytes(item.given) for item in passes))
            for node in fold(passes, blocks, observer):
                self.state = max(self.state, nbytes(node.state))
                yield node

        engine.fold = seen


def one(what: str, file: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one of the two and say what it took."""
    cut = og.BlockLinear(tolerance=options.tolerance, block_slots=options.slots, max_sweeps=30)
    learner = og.Then((og.Hashing(bits=options.bits), cut if what == "blocks" else og.LogisticRegression(tolerance=options.tolerance)))
    source = og.read(file, target="y")
    job = Job(learner=learner, source=source, shard_rows=1 << 14, batch_rows=1 << 13)
    facts: dict[str, float] = {}

    def hear(event: Event) -> None:
        if event["kind"] == "told":
            facts.update(event["facts"])

    engine = Processes(options.workers)
    widest, began = _Widest(engine), time.perf_counter()
    done = run(job, engine, events=Events(hear))
    weights = np.concatenate([array.ravel() for array in done.arrays.values()])
    np.save(Path(file).with_name(f"{what}.npy"), weights)
    record = done.record
    return {
        "seconds": time.perf_counter() - began, "passes": record["passes"], "peak": record["peak_bytes"], "given": widest.given, "state": widest.state,
        "digest": record["digest"][:12], **facts,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("rows", 100_000), ("bits", 20), ("slots", 1 << 18), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--one", nargs=2)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one, options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file, rows, found = write(Path(folder), options.rows), [], {}
        for what in ("uncut", "blocks"):
            done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", what, str(file)], capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            said = found[what] = json.loads(done.stdout.splitlines()[-1])
            sizes = [f"{said[name] / 1e6:.1f}" for name in ("given", "state", "peak")]
            rows.append([what, *sizes, said["passes"], said["seconds"], f"{said['loss']:.9f}", f"{said['gradient']:.1e}", said["digest"]])
        uncut, blocks = (np.load(Path(folder) / f"{what}.npy") for what in ("uncut", "blocks"))
        apart = float(np.abs(uncut - blocks).max() / np.abs(uncut).max())
    head = ("", "widest broadcast, MB", "widest state, MB", "peak of all processes, MB", "passes", "seconds", "loss", "largest gradient", "digest")
    notes = [
        f"{options.rows} rows, 2^{options.bits} slots, blocks of {options.slots}, {options.workers} workers.",
        f"The largest difference of two weights is {apart:.1e} of the largest weight.",
    ]
    keep("blocks-vs-uncut", "A linear model in blocks beside the uncut one", head, rows, notes)


if __name__ == "__main__":
    main()
