"""Workers die, fail and cannot start: the model is the same, or the error says what to do."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import learners
import pytest
import toys
from left import workers_left

from outgrow.core.errors import BadInput, Refused, WorkerLost
from outgrow.core.events import Events
from outgrow.core.run import run
from outgrow.engines.processes import Processes
from outgrow.engines.scratch import Scratch
from outgrow.engines.serial import Serial


class Killer:
    """Kills the worker that reports progress, each `every` seconds, `times` times."""

    def __init__(self, engine: Processes, times: int, every: float = 0.25) -> None:
        self.engine, self.times, self.every, self.last = engine, times, every, time.monotonic()
        self.lost: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if event["kind"] == "tick" and self.times and time.monotonic() - self.last > self.every:
            os.kill(list(self.engine.pids())[event["worker"]], signal.SIGKILL)
            self.times, self.last = self.times - 1, time.monotonic()
        if event["kind"] == "lost":
            self.lost.append(event)


def beaten(name: str, workers: int, times: int = 3) -> tuple[str, Killer]:
    engine = Processes(workers, save_every=0.05)
    killer = Killer(engine, times)
    found = run(toys.job(toys.LEARNERS[name], pause=0.02), engine, events=Events(killer)).record["digest"]
    assert not workers_left()
    return found, killer


def test_kill_9__of_a_worker_three_times__changes_nothing(digests: Any) -> None:
    found, killer = beaten("online, 1 lane", 2)
    assert len(killer.lost) == 3
    assert {event["why"] for event in killer.lost} == {"killed by signal 9"}
    assert found == digests["online, 1 lane"]


@pytest.mark.slow
@pytest.mark.parametrize("target", learners.TARGETS)
def test_kill_9__of_a_worker_of_every_real_learner__changes_nothing(tmp_path: Path, target: str) -> None:
    job = learners.job(target, learners.write(tmp_path))  # all learners of this target side by side
    engine = Processes(3, save_every=0.05)
    killer = Killer(engine, 3, every=0.01)
    assert run(job, engine, events=Events(killer)).record["digest"] == run(job, Serial()).record["digest"]
    assert len(killer.lost) == 3
    assert not workers_left()


@pytest.mark.slow
@pytest.mark.parametrize("name", toys.LEARNERS)
def test_kill_9__of_a_worker_of_any_job__changes_nothing(digests: Any, name: str) -> None:
    found, killer = beaten(name, 3)
    assert killer.lost
    assert found == digests[name]


def test_kill_9__of_every_worker_at_once__changes_nothing(digests: Any) -> None:
    engine = Processes(3)
    done: list[int] = []

    def kill(event: dict[str, Any]) -> None:
        if event["kind"] == "tick" and not done:
            done.extend(engine.pids())
            for pid in done:
                os.kill(pid, signal.SIGKILL)

    assert run(toys.job(toys.LEARNERS["sums"], pause=0.002), engine, events=Events(kill)).record["digest"] == digests["sums"]
    assert len(done) == 3


def test_kill_9__of_workers_between_rounds__changes_nothing(digests: Any) -> None:
    engine, killed = Processes(2), []

    def kill(event: dict[str, Any]) -> None:
        if event["kind"] == "told":
            killed.append(next(iter(engine.pids())))
            os.kill(killed[-1], signal.SIGKILL)

    assert run(toys.job(toys.LEARNERS["sums"]), engine, events=Events(kill)).record["digest"] == digests["sums"]
    assert len(set(killed)) == 3


def test_kill_9__in_the_middle_of_a_message__loses_only_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state of 16 MB does not fit into the pipe: the worker dies while it sends, and the driver has read a part of it."""
    learner = toys.Summing(rounds=1, wide=1 << 21)
    undisturbed = run(toys.job(learner, 400), Processes(1)).record["digest"]
    engine, lost = Processes(1), []
    whole = os.readv

    def read(pipe: int, into: Any) -> int:
        if len(into[0]) > 1 << 23 and not lost:
            lost.append(next(iter(engine.pids())))
            got = whole(pipe, [into[0][: 1 << 16]])
            os.kill(lost[0], signal.SIGKILL)
            return got
        return whole(pipe, into)

    monkeypatch.setattr(os, "readv", read)
    assert run(toys.job(learner, 400), engine).record["digest"] == undisturbed
    assert len(lost) == 1


def test_dying__twice_on_one_block__is_survived(tmp_path: Path) -> None:
    plain = run(toys.job(toys.Failing(times=0, at=500, folder=str(tmp_path))), Processes(2)).record["digest"]
    (tmp_path / "attempts").unlink()
    events: list[dict[str, Any]] = []
    found = run(toys.job(toys.Failing(how="kill", times=2, at=500, folder=str(tmp_path))), Processes(2), events=Events(events.append)).record["digest"]
    assert found == plain
    assert [event["lanes"] for event in events if event["kind"] == "lost"] == [[4, 6], [4, 6]]


@pytest.mark.parametrize(
    ("how", "words"), [("kill", "killed by signal 9. The system may be out of memory: use fewer workers"), ("exit", "exit status 7. Its own words are above.")]
)
def test_poison__a_block_that_kills_every_worker__ends_after_four(tmp_path: Path, how: str, words: str) -> None:
    started = time.monotonic()
    with pytest.raises(WorkerLost) as caught:
        run(toys.job(toys.Failing(how=how, at=500, folder=str(tmp_path))), Processes(2))
    assert "workers died 4 times on lanes 4 to 5, the last one " + words in str(caught.value)
    assert (tmp_path / "attempts").read_text() == "xxxx"
    assert time.monotonic() - started < 20
    assert not workers_left()


@pytest.mark.parametrize("how", ["error", "pipe"])
def test_error__in_a_worker__comes_as_it_is_with_its_own_traceback(how: str) -> None:
    with pytest.raises(ZeroDivisionError if how == "error" else EOFError) as caught:
        run(toys.job(toys.Failing(how=how, at=500)), Processes(2))
    (note,) = caught.value.__notes__
    assert note.startswith("in a worker process:\nTraceback")
    assert "toys.py" in note
    assert "in update" in note
    assert not workers_left()


def test_error__that_cannot_travel__is_told_in_words() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*StrayError: stray"):
        run(toys.job(toys.Failing(how="stray")), Processes(1))


def test_error__of_our_own__comes_without_a_traceback() -> None:
    with pytest.raises(BadInput, match=r"^toy, row 500: the row is bad\.$") as caught:
        run(toys.job(toys.Failing(how="ours", at=500)), Processes(1))
    assert not hasattr(caught.value, "__notes__")


# starting


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    support = Path(toys.__file__).parent
    return subprocess.run(
        [sys.executable, str(support / name), *map(str, arguments)], capture_output=True, text=True, timeout=30, env={**os.environ, "PYTHONPATH": ""}, check=False
    )


def test_script__without_main_guard__works_when_the_learner_is_importable(tmp_path: Path, digests: Any) -> None:
    ended = script("guardless.py", tmp_path)
    assert ended.stderr == ""
    assert digests["sums"] in ended.stdout


@pytest.mark.parametrize("how", ["store", "plain", "exit"])
def test_script__without_main_guard_that_defines_its_learner__says_one_clear_sentence(tmp_path: Path, how: str) -> None:
    started = time.monotonic()
    ended = script("guardless_own.py", tmp_path, how)
    assert ended.returncode == (1 if how == "exit" else 2)
    assert "guardless_own.py: a worker process ran this script again to find the learner in it" in ended.stderr
    assert 'Put the lines that start the run under `if __name__ == "__main__":`, or move the learner to a module of its own.' in ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - started < 15


def test_script__with_its_learner_in_it_and_a_guard__works(tmp_path: Path) -> None:
    ended = script("guardless_own.py", tmp_path, "guarded")
    assert "digest" in ended.stdout, ended.stderr


def test_session__a_learner_typed_into_it__is_refused_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(toys.Summing, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Summing", toys.Summing, raising=False)
    with pytest.raises(Refused, match=r"defined in an interactive session.*Put it in a \.py file, or use --on serial"):
        run(toys.job(toys.Summing()), Processes(1))


def test_learner__that_cannot_travel__is_refused_before_work() -> None:
    class Local(toys.Summing):
        pass

    with pytest.raises(Refused, match=r"the learner cannot travel to workers: .*Local"):
        run(toys.job(Local()), Processes(1))


def test_worker__with_other_builds__is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrow.engines.processes.builds", lambda: {"numpy": "0.1"})
    with pytest.raises(Refused, match="other library builds"):
        run(toys.job(toys.Summing()), Processes(2))
    assert not workers_left()


def test_worker__that_dies_while_it_starts__says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrow.engines.processes.sys.executable", "/bin/false")
    with pytest.raises(WorkerLost, match=r"a worker ended while it started \(exit status 1\)"):
        run(toys.job(toys.Summing()), Processes(2))


def test_driver__inside_a_worker__is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrow.engines.processes.IN_WORKER", [1])
    with pytest.raises(Refused, match="a worker process cannot start workers"):
        run(toys.job(toys.Summing()), Processes(1))


def test_worker__whose_parent_is_another_process__ends_at_once() -> None:
    """The parent died between fork and the request for its death signal."""
    ended = subprocess.run([sys.executable, "-m", "outgrow.engines.worker", "0", "1"], stdin=subprocess.DEVNULL, timeout=20, check=False)
    assert ended.returncode == 1


# scratch folders


def test_scratch__of_a_dead_program__is_swept_by_the_next(tmp_path: Path) -> None:
    code = f"import os; from outgrow.engines.scratch import Scratch; s = Scratch({str(tmp_path)!r}); print(s.path); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=20)
    (dead,) = tmp_path.glob("outgrow-scratch-*")
    (tmp_path / "outgrow-scratch-file").write_text("not ours")
    alive = Scratch(tmp_path)
    assert not dead.exists()
    beside = Scratch(tmp_path)
    assert alive.path.exists()
    alive.remove()
    beside.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["outgrow-scratch-file"]


def test_rows_in_memory__are_written_once_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = toys.ToySource(300, content="")
    other = toys.ToySource(20, content="")
    run(toys.job(toys.Summing(), source=source, others={"test": other}), Processes(2))
    assert len(source.shared) == len(other.shared) == 1
    assert not list(tmp_path.iterdir())


def test_engine__used_twice__starts_afresh(digests: Any) -> None:
    engine = Processes(2)
    assert run(toys.job(toys.LEARNERS["boosting"]), engine).record["digest"] == digests["boosting"]
    assert run(toys.job(toys.LEARNERS["sums"]), engine).record["digest"] == digests["sums"]
    assert not workers_left()


def test_errors__of_workers__survive_the_journey() -> None:
    for error in (BadInput("what", where="here", allowed="this", todo="Do that."), WorkerLost("lost"), Refused("no", todo="Go.")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
