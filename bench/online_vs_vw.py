"""OnlineLinear against Vowpal Wabbit on a generated click log: one pass, one core, examples a second once running, and test log loss.

    .venv/bin/python bench/online_vs_vw.py [--folder DIR] [--train 5000000] [--repeats 3]

VW reads its own binary cache, written before; we read Parquet, so decoding is in our figure. Both are pinned to one core and
take turns. Seconds are processor seconds (user and system), which other work on the machine disturbs least.
VW once running: its time less that of a run over 200 000 rows, over the rows between. Ours: the loop over
batches, in a process that has run it before. Whole processes: VW's replay, and ``outgrow fit`` with imports, plan, store and the saved
model, its kernels compiled by an earlier run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import clicklog
from table import keep

VW = [sys.executable, "-m", "vowpalwabbit", "--loss_function", "logistic", "-b", "22", "--quiet"]
SHORT = 200_000

OURS = """
import json, sys, time
import numpy as np
import outgrow as og
from outgrow.core.combine import Then
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.core.state import digest
from outgrow.data.features import Hashing
from outgrow.engines.serial import Serial
from outgrow.learn.online_linear import OnlineLinear
folder, lanes, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
train, test = (og.read(f"{folder}/{name}.parquet", target="click", task="binary") for name in ("train", "test"))
learner = Then((Hashing(bits=22), OnlineLinear(lanes=lanes)))
def fit(source):
    job = Job(learner=learner, source=source, shard_rows=1 << 18, batch_rows=1 << 16)
    began = time.process_time()
    return run(job, Serial()), time.process_time() - began
fit(test)
seconds = []
for _ in range(repeats):
    result, took = fit(train)
    seconds.append(took)
loss, rows = 0.0, 0
for batch in test.read(0, test.rows, 1 << 16):
    p = learner.predict(result.arrays, batch)["probability"]
    loss -= np.log(np.where(batch.target == 1, p, 1 - p)).sum()
    rows += batch.rows
print(json.dumps({"seconds": seconds, "rows": train.rows, "loss": loss / rows, "digest": digest(result.arrays)[:12]}))
"""


def timed(command: list[str]) -> float:
    """Processor seconds of a command on one core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(["taskset", "-c", "0", *command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def head(source: Path, rows: int) -> Path:
    """The first rows of a text, beside it."""
    target = source.with_name(f"short.{source.suffix[1:]}")
    with source.open("rb") as lines, target.open("wb") as out:
        for _, line in zip(range(rows), lines, strict=False):
            out.write(line)
    return target


def replay(text: Path, model: Path | None = None) -> list[str]:
    """The command that replays the cache of a text."""
    return [*VW, "-d", str(text), "--cache_file", f"{text}.cache", *(["-f", str(model)] if model else [])]


def vw_loss(text: Path, model: Path) -> float:
    command = [item for item in VW if item != "--quiet"]
    done = subprocess.run([*command, "-t", "-i", str(model), "-d", str(text)], check=True, capture_output=True, text=True)
    return float(re.findall(r"average loss = ([\d.]+)", done.stderr)[0])


def ours(folder: Path, lanes: int) -> dict[str, Any]:
    command = ["taskset", "-c", "0", sys.executable, "-c", OURS, str(folder), str(lanes), "1"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def listed(seconds: list[float]) -> str:
    return ", ".join(f"{second:.2f}" for second in seconds)


def whole(folder: Path) -> list[str]:
    fit = [str(Path(sys.executable).with_name("outgrow")), "fit", str(folder / "train.parquet"), "--target", "click", "--learner", "online-linear"]
    return [*fit, "--set", "lanes=1", "--on", "serial", "--fresh", "--out", str(folder / "ours.model")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--train", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.gettempdir()) / f"clicklog-{options.train}"
    clicklog.generate(folder, train=options.train, vw=True)
    train, test, model = folder / "train.vw", folder / "test.vw", folder / "vw.model"
    short = head(train, SHORT)
    for text in (train, short):
        if not Path(f"{text}.cache").exists():
            timed([*VW, "-d", str(text), "--cache_file", f"{text}.cache", "-k"])
    theirs, theirs_short, runs, alone = [], [], [], []
    timed(whole(folder))  # compiles what this machine has not compiled yet
    for _ in range(options.repeats):  # they take turns, so that a slower minute of the machine meets both
        theirs.append(timed(replay(train, model)))
        theirs_short.append(timed(replay(short)))
        runs.append(ours(folder, 1))
        alone.append(timed(whole(folder)))
    two = ours(folder, 2)
    vw_seconds = statistics.median(theirs)
    vw_rate = (options.train - SHORT) / (vw_seconds - statistics.median(theirs_short))
    our_seconds = statistics.median(run["seconds"][0] for run in runs)
    two_rate = options.train / two["seconds"][0]
    our_rate, loss = options.train / our_seconds, vw_loss(test, model)
    rows: list[list[object]] = [
        ["Vowpal Wabbit 9.11, its cache", "once running", f"{vw_rate:,.0f}", "1", f"{loss:.5f}", ""],
        ["OnlineLinear, Parquet, one lane", "once running", f"{our_rate:,.0f}", f"{our_rate / vw_rate:.2f}", f"{runs[0]['loss']:.5f}", runs[0]["digest"]],
        ["OnlineLinear, Parquet, two lanes", "once running", f"{two_rate:,.0f}", f"{two_rate / vw_rate:.2f}", f"{two['loss']:.5f}", two["digest"]],
        ["Vowpal Wabbit 9.11, its cache", "whole process", f"{options.train / vw_seconds:,.0f}", "1", f"{loss:.5f}", ""],
        ["outgrow fit", "whole process", f"{options.train / statistics.median(alone):,.0f}", f"{vw_seconds / statistics.median(alone):.2f}", "", ""],
    ]
    notes = [
        f"{options.train:,} training rows, 200,000 test rows, logistic loss, 2^22 weights, one pass, one core; medians of {options.repeats} runs in turn.",
        f"Processor seconds of VW: {listed(theirs)}; ours: {listed([run['seconds'][0] for run in runs])}; outgrow fit: {listed(alone)}.",
        f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
        "Missing numbers have a weight of their own in OnlineLinear; VW's text leaves them out, as its users do.",
    ]
    keep("online-vs-vw", "Online learning: OnlineLinear and Vowpal Wabbit", ["learner", "timed", "examples/s", "ratio", "test log loss", "digest"], rows, notes)


if __name__ == "__main__":
    main()
