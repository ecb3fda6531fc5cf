"""Encoded rows that workers keep between rounds: fewer are read, and the model stays the same."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import learners
import pytest

import outgrow as og
from outgrow.core.fold import Block, Node, fold_block
from outgrow.core.job import Job
from outgrow.core.learner import Pass
from outgrow.core.run import Observer, run
from outgrow.data.source import Source
from outgrow.engines.serial import Serial
from outgrow.engines.shelf import Shelf


class Counted(Source):
    """Counts the rows that are read."""

    seen = 0

    def read(self, start: int, stop: int, *arguments: Any, **options: Any) -> Iterator[Any]:
        Counted.seen += stop - start
        return super().read(start, stop, *arguments, **options)


class Holding(Serial):
    """Serial with a shelf."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.shelf, self.most = Shelf(limit), 0

    def fold(self, passes: tuple[Pass, ...], blocks: Iterable[Block], observer: Observer) -> Iterator[Node]:
        self.shelf.turn(passes)
        for block in blocks:
            yield fold_block(self.job, passes[block.which], block, kept=self.kept, recall=observer.recall, read=self.shelf.batches)
            self.most = max(self.most, self.shelf.held)


def job_of(folder: Path, learner: Any, target: str = "two") -> Job:
    kinds = {"text": "text"} if target == "about" else {}
    source = og.read(learners.write(folder), target=target, drop=learners.dropped(target), kinds=kinds)
    return Job(learner=learner, source=Counted(source.store, source.schema), shard_rows=300, batch_rows=64)


@pytest.mark.slow
@pytest.mark.parametrize("name", learners.JOBS)
def test_a_run_with_a_shelf__of_any_learner__gives_the_same_model(name: str, tmp_path: Path) -> None:
    target, learner = learners.JOBS[name]
    job = job_of(tmp_path, learner, target)
    alone = run(job, Serial()).record["digest"]
    assert [run(job, Holding(limit)).record["digest"] for limit in (1 << 30, 40_000)] == [alone, alone]


WIDE = og.Then((og.Missing(), og.Hashing(bits=8), og.LogisticRegression(max_rounds=6)))


def test_a_shelf_with_room__after_the_first_pass_of_a_learner__nothing_is_read(tmp_path: Path) -> None:
    job = job_of(tmp_path, WIDE)
    Counted.seen = 0
    passes = run(job, Holding(1 << 30)).record["passes"]
    assert passes > 4
    assert Counted.seen == 2 * learners.ROWS  # the means of missing values, and the first gradient
    run(job, Holding(0))
    assert Counted.seen == (2 + passes) * learners.ROWS


def test_a_shelf_that_is_full__holds_no_more__and_reads_only_the_rest(tmp_path: Path) -> None:
    job, engine = job_of(tmp_path, WIDE), Holding(40_000)
    Counted.seen = 0
    passes = run(job, engine).record["passes"]
    assert 20_000 < engine.most <= 40_000
    assert 2 * learners.ROWS < Counted.seen < passes * learners.ROWS


def test_a_shelf__when_a_round_asks_for_other_rows__lets_the_old_ones_go(tmp_path: Path) -> None:
    job, shelf = job_of(tmp_path, WIDE), Shelf(1 << 30)
    carry = job.learner.begin(job.context)
    for _ in range(2):  # past Missing
        passes = job.learner.ask(job.context, carry)
        shelf.turn(passes)
        closed = [fold_block(job, passes[0], Block(0, 0, lane), read=shelf.batches) for lane in range(6)]
        state = closed[0].state
        for node in closed[1:]:
            state = passes[0].fold.merge(state, node.state, passes[0].given)
        carry = job.learner.tell(job.context, carry, (state,))
    assert shelf.held > 0
    shelf.turn(())
    assert shelf.held == 0


def test_batches__encoded__hold_their_own_copies_of_few_columns(tmp_path: Path) -> None:
    source = og.read(learners.write(tmp_path), target="two", drop=learners.dropped("two"))
    batch = next(source.read(0, 100, 100))
    assert batch.encoded() == (None, 0)
    kept, size = og.Hashing(bits=8).apply({}, batch, True).encoded()
    assert kept is not None
    assert list(kept.columns) == ["two"]
    assert (kept.target == batch.target).all()
    assert size >= kept.design.dense.nbytes + kept.design.slots.nbytes
