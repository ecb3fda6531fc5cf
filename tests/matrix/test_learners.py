"""Every learner that outgrow ships × every engine and number of workers, from a file and from memory: one digest."""

import subprocess
import sys
from pathlib import Path

import learners
import pytest
from learners import digests

from outgrow.core.run import run
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial

PLANNED = Path(__file__).parent.parent / "support" / "planned.py"


def test_fit__on_one_and_on_three_processes__gives_one_digest(tmp_path: Path) -> None:
    file = learners.write(tmp_path)
    assert digests("two", file, Processes(3)) == digests("two", file, Serial())


@pytest.mark.slow
@pytest.mark.parametrize("target", learners.TARGETS)
def test_fit__on_any_number_of_workers__gives_one_digest(target: str, tmp_path: Path) -> None:
    file = learners.write(tmp_path)
    alone = digests(target, file, Serial())
    for workers in (1, 2, 3, 5, 8):
        assert digests(target, file, Processes(workers)) == alone, workers


@pytest.mark.slow
@pytest.mark.parametrize("name", learners.JOBS)
def test_fit__side_by_side__gives_the_digest_of_the_learner_alone(name: str, tmp_path: Path) -> None:
    file = learners.write(tmp_path)
    assert run(learners.job(name, file), Serial()).record["digest"] == digests(learners.JOBS[name][0], file, Serial())[name]


@pytest.mark.slow
@pytest.mark.parametrize("target", learners.TARGETS)
def test_fit__of_rows_in_memory__gives_the_digest_of_the_file(target: str, tmp_path: Path) -> None:
    import pandas as pd

    stored, frame = digests(target, learners.write(tmp_path), Serial()), pd.DataFrame(learners.table())
    assert digests(target, frame, Serial()) == stored
    assert digests(target, frame, Processes(2)) == stored


@pytest.mark.parametrize("target", learners.TARGETS)
def test_fit__within_another_budget__gives_the_same_digest(target: str, tmp_path: Path) -> None:
    job = learners.job(target, learners.write(tmp_path))
    whole = run(job, Serial()).record["digest"]
    job.source.limit = 1 << 13  # what a small budget does: blocks of a few rows instead of whole row groups
    assert run(job, Serial()).record["digest"] == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic regression", "k-means", "linear regression", "moments", "online, 3 lanes"])
def test_plan__under_two_budgets__gives_one_digest(name: str, tmp_path: Path) -> None:
    """Each in a program of its own: a budget counts all that the program holds, and this one may hold much."""
    found = []
    for memory in ("500MB", "4GB"):
        done = subprocess.run([sys.executable, str(PLANNED), str(tmp_path), name, memory], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1]
