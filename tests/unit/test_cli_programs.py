"""The commands as whole processes: what only a process can show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

OUTGROW = [sys.executable, "-m", "outgrow"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    pq.write_table(pa.table({"x": x, "town": [f"t{k}" for k in rng.integers(0, 5, 4000)], "late": rng.logistic(size=4000) < x}), folder / "rows.parquet")
    return folder


@pytest.fixture
def started(place: Path, tmp_path: Path) -> Any:
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*OUTGROW, *arguments], cwd=place, env=os.environ | {"OUTGROW_HOME": str(tmp_path / "home")}, **pipes)  # type: ignore[call-overload]
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_version_and_errors__status_and_no_traceback(started):
    assert ended(started("--version"))[:2] == (0, "outgrow 0.1.0\n")
    status, out, err = ended(started("inspect", "nowhere.model"))
    assert (status, out) == (2, "")
    assert err == "outgrow inspect: nowhere.model: cannot read the model: No such file or directory. `outgrow fit … --out FILE` writes one.\n"


def test_output__to_a_reader_that_leaves__ends_quietly(started):
    process = started("runs")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


# some seconds on a fast machine: longer than it takes to save the first time
LONG = ("fit", "rows.parquet", "--target", "late", "--learner", "online-linear", "--set", "bits=10", "--set", "passes=8000")


@pytest.mark.slow
def test_stopped__by_one_signal_after_another__the_same_command_goes_on_to_the_same_digest(started, tmp_path):
    out, turns = tmp_path / "a.model", [0]
    for number, (stop, on, wanted) in enumerate(((signal.SIGINT, "serial", "told"), (signal.SIGTERM, "processes:2", "told"), (signal.SIGKILL, "serial", "saved"))):
        events = tmp_path / f"{number}.jsonl"
        process = started(*LONG, "--on", on, "--out", str(out), "--events", str(events))
        while not (events.exists() and f'"{wanted}"' in events.read_text()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(stop)
        status, printed, err = ended(process)
        assert not out.exists()
        assert not printed
        if stop != signal.SIGKILL:
            assert status == 130
            assert "What was done is saved: run the same command again to go on." in err
            assert "Traceback" not in err
        turns += [event["turn"] for event in map(json.loads, events.read_text().splitlines()[:-1]) if event["kind"] == "resumed"]
    assert "stopped" in ended(started("runs"))[1]
    events = tmp_path / "last.jsonl"
    status, printed, _ = ended(started(*LONG, "--on", "serial", "--out", str(out), "--events", str(events), "--json"))
    assert status == 0
    turns += [event["turn"] for event in map(json.loads, events.read_text().splitlines()) if event["kind"] == "resumed"]
    assert len(turns) == 4
    assert turns == sorted(turns)
    assert turns[1] > 0  # stopped between two rounds or inside one: each start goes on at least where the one before was
    whole = json.loads(ended(started(*LONG, "--on", "serial", "--fresh", "--out", str(tmp_path / "b.model"), "--json"))[1])
    assert json.loads(printed)["digest"] == whole["digest"]
