"""The whole program is killed, interrupted, started twice: the model is the same, and no process is left."""

import random
import signal
import time
from pathlib import Path
from typing import Any

import learners
import pytest

NAMES = ["sums", "online, 1 lane", "boosting on scaled rows", "scaled net, 8 virtual workers"]


def beaten(program: Any, none_left: Any, tmp_path: Path, name: str, pause: float, engines: list[int]) -> str:
    """The digest after kills at random moments, each start with another number of workers (0: serial)."""
    moments = random.Random(name)
    for workers in engines[:-1]:
        started = program(tmp_path, workers, name, pause)
        assert started.until("round") is not None
        time.sleep(moments.uniform(0.1, 0.5))
        started.kill()
        assert none_left(started.workers)
        assert (workers == 0) == (not started.workers)
    last = program(tmp_path, engines[-1], name, 0)
    assert last.until("resumed") is not None, "nothing was saved before the kill"
    found: str = last.digest()
    assert none_left(last.workers, 0.0)
    return found


def test_kill_9__of_a_program_three_times__ends_in_the_same_model(program: Any, none_left: Any, tmp_path: Path, digests: Any) -> None:
    assert beaten(program, none_left, tmp_path, "sums", 0.01, [2, 0, 3, 1]) == digests["sums"]
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.rglob("outgrow-scratch-*"))


@pytest.mark.slow
@pytest.mark.parametrize("engines", [[0, 2, 0, 3], [3, 1, 2, 0]], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_kill_9__of_any_program_three_times__ends_in_the_same_model(program: Any, none_left: Any, tmp_path: Path, digests: Any, name: str, engines: list[int]) -> None:
    assert beaten(program, none_left, tmp_path, name, 0.02, engines) == digests[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["online, 3 lanes", "k-means", *learners.TARGETS])  # a target stands for all its learners side by side
def test_kill_9__of_a_program_that_fits_a_real_learner__ends_in_the_same_model(program: Any, none_left: Any, tmp_path: Path, name: str) -> None:
    whole = program(tmp_path / "undisturbed", 0, f"real {name}", 0).digest()
    moments = random.Random(name)
    for workers in (2, 0, 1):
        started = program(tmp_path / "beaten", workers, f"real {name}", 0.03)
        assert started.until("saved") is not None
        time.sleep(moments.uniform(0, 0.3))
        started.kill()
        assert none_left(started.workers)
    assert program(tmp_path / "beaten", 3, f"real {name}", 0).digest() == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupt__in_the_middle__saves_and_says_how_to_go_on(program: Any, none_left: Any, tmp_path: Path, digests: Any, workers: int) -> None:
    started = program(tmp_path, workers, "online, 1 lane", 0.02)
    assert started.until("saved") is not None
    time.sleep(0.1)
    started.process.send_signal(signal.SIGINT)
    assert started.ended(5) == 130
    assert started.errors == "stopped in round 1. What was done is saved: run the same command again to go on.\n"
    assert none_left(started.workers, 0.0)
    again = program(tmp_path, 1, "online, 1 lane", 0)
    assert again.until("resumed")["partials"] == 1
    assert again.digest() == digests["online, 1 lane"]


def test_interrupt__again_and_again__still_ends_in_the_same_model(program: Any, tmp_path: Path, digests: Any) -> None:
    for moment in (0.3, 0.05, 0.2):
        started = program(tmp_path, 0, "online, 1 lane", 0.02)
        assert started.until("round") is not None
        time.sleep(moment)
        started.process.send_signal(signal.SIGINT)
        assert started.ended(5) == 130
    assert program(tmp_path, 0, "online, 1 lane", 0).digest() == digests["online, 1 lane"]


def test_second_run__of_the_same_job__is_refused_and_harmless(program: Any, tmp_path: Path, digests: Any) -> None:
    first = program(tmp_path, 2, "sums", 0.02)
    assert first.until("saved") is not None
    second = program(tmp_path, 1, "sums", 0)
    assert second.ended() == 2
    assert f"process {first.process.pid} is running this same job" in second.errors
    assert "Wait for it" in second.errors
    assert "Traceback" not in second.errors
    assert first.digest() == digests["sums"]


def test_kill_9__of_a_program_that_writes__gives_the_same_predictions(program: Any, none_left: Any, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    program(quiet, 0, "writing", 0).digest()
    for workers in (2, 0):
        started = program(tmp_path, workers, "writing", 0.02)
        assert started.until("saved") is not None
        started.kill()
        assert none_left(started.workers)
    assert program(tmp_path, 2, "writing", 0).digest() == program(quiet, 0, "writing", 0).digest()
    assert (tmp_path / "written" / "out").read_text() == (quiet / "written" / "out").read_text()
    assert len((quiet / "written" / "out").read_text().splitlines()) == 2357
