"""The one loop: rounds, saving by time, going on, stopping, and what it says of itself."""

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from left import workers_left

from outgrow.cli.progress import json_lines
from outgrow.core.errors import BadFile, BadInput, Interrupted, Refused, StorageError
from outgrow.core.events import Events
from outgrow.core.fold import Node, Partial
from outgrow.core.job import Job
from outgrow.core.learner import Context, Cover, Pass
from outgrow.core.run import one_thread, run
from outgrow.core.state import State, digest, same
from outgrow.core.store import Checkpoint, RunStore
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial


class StopHereError(Exception):
    """Stands for a kill: nothing is saved on the way out."""


@dataclass(frozen=True)
class Mortal(toys.ToySource):
    """Dies at its n-th batch."""

    left: list[int] = field(default_factory=lambda: [1 << 30])
    with_what: type[BaseException] = StopHereError

    def take(self, positions: Any, columns: Any = None) -> Any:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise self.with_what
        return super().take(positions)


@pytest.mark.parametrize("name", toys.LEARNERS)
def test_run__stopped_after_every_few_batches_and_resumed__ends_in_the_same_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving after every batch; each start gets 11 batches further, by exception and by interrupt in turn."""
    monkeypatch.setattr("outgrow.core.run._Round.due", lambda self: True)
    learner, starts, found = toys.LEARNERS[name], 0, None
    while found is None:
        job = toys.job(learner, source=Mortal(700, left=[11], with_what=(StopHereError, KeyboardInterrupt)[starts % 2]))
        starts += 1
        assert starts < 100
        try:
            with RunStore(job.id, tmp_path) as store:
                found = run(job, Serial(), store=store, save_every=0).record["digest"]
        except (StopHereError, Interrupted):
            continue
    assert starts > 2
    assert found == run(toys.job(learner, 700), Serial()).record["digest"]


@pytest.mark.parametrize("name", toys.LEARNERS)
def test_run__states_that_wait_on_disk__give_the_same_model_and_leave_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every state that waits is on disk, and is saved from there."""
    job = toys.job(toys.LEARNERS[name], 700)
    found = run(job, Serial()).record["digest"]
    monkeypatch.setattr("outgrow.core.run.WAITING", 0)
    monkeypatch.setattr("outgrow.core.run._Round.due", lambda self: True)
    with RunStore(job.id, tmp_path) as store:
        assert run(job, Serial(), store=store, save_every=0).record["digest"] == found
        assert {path.name for path in store.folder.iterdir()} <= {"lock", "arrays", "checkpoint"}


def test_run__a_full_disk_for_states_that_wait__says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: State) -> Iterator[bytes]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("outgrow.core.run.WAITING", 0)
    monkeypatch.setattr("outgrow.core.state.encode", full)
    with pytest.raises(StorageError, match=r"cannot write: No space left on device\. Free some room"):
        run(toys.job(toys.LEARNERS["boosting"], 700), Serial())


def test_run__saves_by_time_and_at_most_so_often(tmp_path: Path) -> None:
    for every, fewest, most in ((0.0, 3, 70), (0.2, 1, 4), (60.0, 0, 0)):
        events: list[dict[str, Any]] = []
        job = toys.job(toys.Summing(rounds=2), 800, pause=0.01)
        with RunStore(f"job{every}", tmp_path) as store:
            run(job, Serial(), store=store, events=Events(events.append), save_every=every)
        saved = [event for event in events if event["kind"] == "saved"]
        assert fewest <= len(saved) <= most, every


def test_run__when_saving_is_slow__saves_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[float] = []

    def slow(self: RunStore, checkpoint: Checkpoint) -> int:
        time.sleep(0.02)
        saved.append(time.monotonic())
        return 0

    monkeypatch.setattr(RunStore, "save", slow)
    with RunStore("job", tmp_path) as store:
        run(toys.job(toys.Summing(rounds=1), 2000, pause=0.01), Serial(), store=store, save_every=0)
    assert 1 <= len(saved) <= 3  # 0.8 seconds of work; 30 times 0.02 s between two


@pytest.mark.parametrize("engine", [Serial, lambda: Processes(1)])
def test_run__interrupted__saves_says_so_and_leaves_no_worker(engine: Any, tmp_path: Path) -> None:
    def interrupt(event: dict[str, Any]) -> None:
        if event["kind"] == "tick" and event["lane"] >= 4:
            raise KeyboardInterrupt

    job = toys.job(toys.Summing())
    with RunStore(job.id, tmp_path) as store:
        with pytest.raises(Interrupted, match=r"^stopped in round 1\. What was done is saved: run the same command again to go on\.$") as caught:
            run(job, engine(), store=store, events=Events(interrupt))
        assert caught.value.exit_status == 130
        assert store.load().nodes  # type: ignore[union-attr]
        assert run(job, Serial(), store=store).record["rounds"] == 2
    assert not workers_left()
    with pytest.raises(Interrupted, match=r"^stopped in round 1\.$"):
        run(job, Serial(), events=Events(interrupt))


def test_run__resumed__says_so_and_reads_only_what_is_left(tmp_path: Path) -> None:
    job = toys.job(toys.Summing(rounds=1), source=Mortal(2357, left=[60], pause=0.01))
    with RunStore(job.id, tmp_path) as store:
        with pytest.raises(StopHereError):
            run(job, Serial(), store=store, save_every=0)
        events: list[dict[str, Any]] = []
        left = [1000]
        run(replace(job, source=Mortal(2357, left=left)), Serial(), store=store, events=Events(events.append))
    resumed = next(event for event in events if event["kind"] == "resumed")
    assert resumed["turn"] == 0
    assert resumed["nodes"] + resumed["partials"] > 0
    assert 96 - 60 <= 1000 - left[0] < 80  # 95 batches, of which those of the last moments before the stop are read again


def test_run__without_rows__is_refused() -> None:
    with pytest.raises(BadInput, match=r"there are no rows to learn from. Check the path"):
        run(toys.job(toys.Summing(), 0), Serial())


def test_run__an_engine_that_cannot__says_why_before_it_starts() -> None:
    class Never(Serial):
        def can(self, job: Job) -> Any:
            return Refused("it is Sunday", todo="Come again tomorrow.")

        def start(self, *_: Any) -> None:
            raise AssertionError

    with pytest.raises(Refused, match=r"it is Sunday. Come again tomorrow."):
        run(toys.job(toys.Summing()), Never())


def test_run__a_source_that_changed_meanwhile__gives_no_model() -> None:
    with pytest.raises(BadInput, match="changed while it was read"):
        run(toys.job(toys.Summing(), source=toys.ToySource(100, changed=True)), Serial())


def test_run__a_full_disk_while_saving__stops_with_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = toys.job(toys.Summing(rounds=3))
    with RunStore(job.id, tmp_path) as store:
        with pytest.raises(Interrupted):
            run(job, Serial(), store=store, events=Events(_interrupt))
        before = store.load()

        def full(self: Path, target: Any) -> Any:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", full)
            with pytest.raises(StorageError, match=r"No space left on device. Free some room"):
                run(job, Serial(), store=store, save_every=0)
        after = store.load()
        assert before is not None
        assert after is not None
        assert same(before.carry, after.carry)
        assert run(job, Serial(), store=store).record["digest"] == run(job, Serial()).record["digest"]


def _interrupt(event: dict[str, Any]) -> None:
    if event["kind"] == "tick" and event["lane"] > 5:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": [Node(1, 0, 0, {"s": np.zeros(1)})]},
        {"nodes": [Node(0, 0, 24, {"s": np.zeros(1)})]},
        {"nodes": [Node(0, 62, 0, {"s": np.zeros(1)})]},
        {"partials": [Partial(0, 24, 1, {"s": np.zeros(1)})]},
        {"partials": [Partial(3, 0, 1, {"s": np.zeros(1)})]},
    ],
)
def test_run__a_checkpoint_of_lanes_that_are_not_there__is_a_bad_file(tmp_path: Path, wrong: Any) -> None:
    job = toys.job(toys.Summing())
    with RunStore(job.id, tmp_path) as store:
        store.save(Checkpoint(0, job.learner.begin(job.context), **wrong))
        with pytest.raises(BadFile, match=r"the checkpoint names lanes that the job has not. Run again with --fresh."):
            run(job, Serial(), store=store)


def test_run__a_learner_that_writes_into_its_carry__hears_of_it() -> None:
    @dataclass(frozen=True)
    class Impure(toys.Summing):
        def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
            carry["w"] += 1
            return carry

    with pytest.raises(ValueError, match="read-only"):
        run(toys.job(Impure()), Serial())


def test_run__its_record__says_what_happened() -> None:
    result = run(toys.job(toys.Summing(rounds=3)), Processes(2))
    record = result.record
    assert record["digest"] == digest(result.arrays)
    assert (record["engine"], record["workers"], record["rounds"], record["passes"], record["rows"]) == ("processes", 2, 3, 3, 3 * 2357)
    assert 0 < record["train_seconds"] <= record["seconds"]
    assert record["peak_bytes"] > 30 << 20
    assert record["node_bytes"] >= 3 * 40
    assert record["job"] == toys.job(toys.Summing(rounds=3)).id


def test_run__its_events__tell_a_whole_story(tmp_path: Path) -> None:
    import json

    file = tmp_path / "events.jsonl"
    events: list[dict[str, Any]] = []
    learner = toys.Summing(rounds=2, cover=Cover(kind="chains", lanes=2, start=1, stop=3))
    run(toys.job(learner), Serial(), events=Events(events.append, json_lines(file)))
    assert [event["kind"] for event in events if event["kind"] != "tick"] == ["begin", "round", "told", "round", "told", "end"]
    for turn in (0, 1):
        promised = [event["rows"] for event in events if event["kind"] == "round"][turn]
        assert promised == sum(event["rows"] for event in events if event["kind"] == "tick") / 2
    assert [event["facts"].keys() for event in events if event["kind"] == "told"] == [{"first"}] * 2
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["begin", "round", "told", "round", "told", "end"]
    assert all(line["time"] > 1.6e9 for line in lines)


def test_run__listeners__change_nothing() -> None:
    heard = run(toys.job(toys.LEARNERS["boosting"]), Serial(), events=Events(lambda event: None)).record["digest"]
    assert heard == run(toys.job(toys.LEARNERS["boosting"]), Serial()).record["digest"]


def test_run__large_blocks__are_cut_small_enough_to_lose_little(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Nothing(toys.ToySource):
        def read(self, start: int, stop: int, batch_rows: int, columns: Any = None) -> Any:
            return iter(())

    sizes: list[int] = []

    class Looking(Serial):
        def fold(self, passes: tuple[Pass, ...], blocks: Any, observer: Any) -> Any:
            for block in blocks:
                sizes.append(len(block.lanes))
                yield from super().fold(passes, [block], observer)

    for shard_rows, largest in ((1 << 20, 1), (1 << 18, 4), (1 << 14, 16)):
        sizes.clear()
        run(Job(learner=toys.Counting(), source=Nothing(100 * shard_rows), shard_rows=shard_rows, batch_rows=1 << 14), Looking())
        assert max(sizes) == largest


def test_predictions__through_a_sink__are_written_by_lanes_and_joined(tmp_path: Path) -> None:
    texts = []
    for engine in (Serial(), Processes(3)):
        folder = tmp_path / engine.name
        run(toys.job(toys.Writing(str(folder))), engine)
        texts.append((folder / "out").read_text())
    assert texts[0] == texts[1]
    expected = toys.ToySource(2357).take(np.arange(2357)).x[:, 0] + 1
    assert [eval(line) for line in texts[0].splitlines()] == [list(row) for row in enumerate(expected.tolist())]


def test_predictions__after_a_crash_behind_the_commit__are_written_again_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink uses up its parts when it commits; the round that told of them was not saved."""
    whole = toys.FileSink.commit

    def commit(self: toys.FileSink, lanes: int) -> None:
        whole(self, lanes)
        for part in (Path(self.folder) / "parts").iterdir():
            part.unlink()
        if len(crashes) < 2:
            crashes.append(lanes)
            raise StopHereError

    crashes: list[int] = []
    monkeypatch.setattr(toys.FileSink, "commit", commit)
    monkeypatch.setattr("outgrow.core.run._Round.due", lambda self: True)
    job = toys.job(toys.Writing(str(tmp_path)), 500)
    for _ in range(2):
        with RunStore(job.id, tmp_path) as store, pytest.raises(StopHereError):
            run(job, Serial(), store=store)
        (tmp_path / "out").unlink()
    with RunStore(job.id, tmp_path) as store:
        run(job, Serial(), store=store)
    assert len((tmp_path / "out").read_text().splitlines()) == 500


def test_online__one_lane__does_not_depend_on_batches_or_shards() -> None:
    digests = {
        run(Job(learner=toys.Online(), source=toys.ToySource(500), shard_rows=shard_rows, batch_rows=batch_rows), Serial()).record["digest"]
        for shard_rows, batch_rows in ((500, 500), (100, 32), (77, 1))
    }
    assert len(digests) == 1


def test_warm_start__continues_where_the_first_ended() -> None:
    first = run(toys.job(toys.Net(epochs=1)), Serial())
    again = [run(toys.job(toys.Net(epochs=1), start=first.arrays | first.resume), engine).record["digest"] for engine in (Serial(), Processes(2))]
    assert again[0] == again[1] != first.record["digest"]
    assert again[0] != run(toys.job(toys.Net(epochs=1), start=first.arrays | {name: array * 0 for name, array in first.resume.items()}), Serial()).record["digest"]


def test_one_thread__inside__is_one_and_outside_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with one_thread():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
