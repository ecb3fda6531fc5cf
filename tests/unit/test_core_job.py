"""Which rows a lane reads, and what a job's id depends on."""

import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.core.errors import BadField, BadFile
from outgrow.core.job import Job, builds, describe
from outgrow.core.learner import ALL, Cover, Fold, Pass, Rows
from outgrow.core.rng import Permutation
from outgrow.data.model import build


class Positions(toys.ToySource):
    """Rows that know no more than their positions."""

    def take(self, positions: Any, columns: Any = None) -> toys.ToyBatch:
        positions = np.asarray(positions)
        return toys.ToyBatch(positions, positions, positions)


def reading(rows: int, **cuts: int) -> Job:
    return toys.job(toys.Counting(), source=Positions(rows), **cuts)


def passing(**changes: Any) -> Pass:
    return Pass(fold=Fold(), **changes)


def lanes_of(job: Job, item: Pass) -> list[list[int]]:
    return [[int(p) for batch in job.batches(item, lane) for p in batch.positions] for lane in range(job.lanes(item))]


sizes = st.tuples(st.integers(1, 130), st.integers(1, 40), st.integers(1, 17))


@settings(max_examples=100, deadline=None)
@given(sizes, st.data())
def test_batches__of_shards_and_chains__cover_every_row_once_in_order(size: Any, data: Any) -> None:
    rows, shard_rows, batch_rows = size
    job = reading(rows, shard_rows=shard_rows, batch_rows=batch_rows)
    shards = lanes_of(job, passing())
    assert [p for lane in shards for p in lane] == list(range(rows))
    assert job.lanes(passing()) == job.context.shards
    lanes = data.draw(st.integers(1, 8))
    chains = lanes_of(job, passing(cover=Cover(kind="chains", lanes=lanes)))
    assert chains == [[p for shard in shards[lane::lanes] for p in shard] for lane in range(lanes)]
    assert [job.lane_rows(passing(), lane) for lane in range(len(shards))] == [len(lane) for lane in shards]


@settings(max_examples=100, deadline=None)
@given(sizes, st.integers(1, 5), st.integers(1, 9))
def test_batches__of_chain_steps__laid_end_to_end_are_the_chains(size: Any, lanes: int, every: int) -> None:
    rows, shard_rows, batch_rows = size
    job = reading(rows, shard_rows=shard_rows, batch_rows=batch_rows)
    whole = [[batch.positions.tolist() for batch in job.batches(passing(cover=Cover(kind="chains", lanes=lanes)), lane)] for lane in range(lanes)]
    steps: list[list[Any]] = [[] for _ in range(lanes)]
    for start in range(0, job.context.chain_steps(lanes), every):
        item = passing(cover=Cover(kind="chains", lanes=lanes, start=start, stop=start + every))
        for lane in range(lanes):
            found = [batch.positions.tolist() for batch in job.batches(item, lane)]
            assert len(found) <= every
            assert job.lane_rows(item, lane) == sum(map(len, found))
            steps[lane] += found
    assert steps == whole


@settings(max_examples=100, deadline=None)
@given(sizes, st.integers(0, 12), st.sampled_from([Cover(), Cover(kind="chains", lanes=3), Cover(kind="chains", lanes=2, start=3, stop=11), Cover(kind="shuffled", lanes=3)]))
def test_batches__skipping__leaves_out_exactly_the_first(size: Any, skip: int, cover: Cover) -> None:
    rows, shard_rows, batch_rows = size
    job = reading(rows, shard_rows=shard_rows, batch_rows=batch_rows)
    for lane in range(job.lanes(passing(cover=cover))):
        whole = [batch.positions.tolist() for batch in job.batches(passing(cover=cover), lane)]
        assert [batch.positions.tolist() for batch in job.batches(passing(cover=cover), lane, skip)] == whole[skip:]


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 200), st.floats(0.01, 0.95), st.integers(1, 9), st.integers(0, 3))
def test_batches__a_split__is_exact_and_the_same_under_every_cover(rows: int, held: float, lanes: int, seed: int) -> None:
    job = reading(rows, shard_rows=17, batch_rows=5, seed=seed)
    found = {}
    for kind in ("train", "held"):
        for cover in (Cover(), Cover(kind="chains", lanes=lanes), Cover(kind="shuffled", lanes=lanes, epoch=2)):
            item = passing(cover=cover, rows=Rows(kind=kind, held=held))
            seen = sorted(p for lane in lanes_of(job, item) for p in lane)
            assert found.setdefault(kind, seen) == seen, cover
            assert len(seen) == job.seen_rows(item.rows, rows)
    assert len(found["held"]) == round(held * rows)
    assert sorted(found["train"] + found["held"]) == list(range(rows))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 150), st.integers(1, 9), st.integers(1, 40), st.integers(1, 12))
def test_batches__shuffled_steps__see_every_row_once_an_epoch(rows: int, lanes: int, step: int, batch_rows: int) -> None:
    job = reading(rows, shard_rows=50, batch_rows=batch_rows)
    orders = []
    for epoch in (0, 1):
        items = [passing(cover=Cover(kind="shuffled", lanes=lanes, start=start, stop=start + step, epoch=epoch)) for start in range(0, rows, step)]
        orders.append([p for item in items for lane in lanes_of(job, item) for p in lane])
        assert sorted(orders[-1]) == list(range(rows))
        assert orders[-1] == Permutation(rows, seed=0, purpose=f"shuffle {epoch}").forward(np.arange(rows)).tolist()
    assert rows < 12 or orders[0] != orders[1]


def test_batches__shuffled_beyond_the_last_row__sees_no_row_twice() -> None:
    job = toys.job(toys.Counting(), 100)
    assert len([p for lane in lanes_of(job, passing(cover=Cover(kind="shuffled", lanes=4, start=90, stop=130))) for p in lane]) == 10
    assert lanes_of(job, passing(cover=Cover(kind="shuffled", lanes=2, start=100, stop=130))) == [[], []]


@pytest.mark.parametrize("cover", [Cover(), Cover(kind="chains", lanes=3), Cover(kind="shuffled", lanes=3)])
def test_batches__rows_where_a_column_equals__are_just_those(cover: Cover) -> None:
    job = toys.job(toys.Counting(), 300)
    seen = sorted(p for lane in lanes_of(job, passing(cover=cover, rows=Rows(kind="equals", column="y", value=1))) for p in lane)
    assert seen == np.flatnonzero(job.source.take(np.arange(300)).y == 1).tolist()


def test_lanes__more_chains_than_shards__leaves_some_empty() -> None:
    job = toys.job(toys.Counting(), 150)
    assert [len(lane) for lane in lanes_of(job, passing(cover=Cover(kind="chains", lanes=5)))] == [100, 50, 0, 0, 0]


def test_lanes__of_an_empty_other_source__is_one_without_rows() -> None:
    job = toys.job(toys.Counting(), 10, others={"test": toys.ToySource(0)})
    assert lanes_of(job, passing(source="test")) == [[]]
    assert lanes_of(job, passing()) == [list(range(10))]


def test_context__counts__are_those_of_the_cuts() -> None:
    context = toys.job(toys.Counting(), 2357).context
    assert (context.shards, context.steps, context.chain_steps(5), context.few.lanes) == (24, 4, 20, 16)
    assert toys.job(toys.Counting(), 50).context.chain_steps(3) == 2


@pytest.mark.parametrize(("field", "value"), [("shard_rows", 0), ("batch_rows", -1), ("equal", "roughly")])
def test_job__a_field_out_of_range__is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(BadField, match=f"^{field}: .*allowed"):
        toys.job(toys.Counting(), **{field: value})


# the id


def variants() -> dict[str, Job]:
    base = toys.job(toys.Summing())
    return {
        "base": base,
        "another field": toys.job(toys.Summing(rounds=3)),
        "another learner": toys.job(toys.Counting()),
        "another split": toys.job(toys.Summing(rows=Rows(kind="train", held=0.1))),
        "other content": toys.job(toys.Summing(), source=toys.ToySource(2357, content="other")),
        "another schema": toys.job(toys.Summing(), source=toys.ToySource(2357, schema="columns")),
        "another seed": replace(base, seed=1),
        "other shards": replace(base, shard_rows=99),
        "other batches": replace(base, batch_rows=31),
        "close": replace(base, equal="close"),
        "a start": replace(base, start={"w": np.zeros(4)}),
        "another start": replace(base, start={"w": np.ones(4)}),
        "another source beside": replace(base, others={"test": toys.ToySource(5)}),
        "another name for it": replace(base, others={"tune": toys.ToySource(5)}),
        "other content beside": replace(base, others={"test": toys.ToySource(5, content="more")}),
        "in a chain": toys.job(toys.Then((toys.Summing(),))),
    }


def test_id__whatever_the_model_depends_on__changes_it() -> None:
    ids = {name: job.id for name, job in variants().items()}
    assert len(set(ids.values())) == len(ids), ids
    assert all(len(found) == 16 for found in ids.values())
    assert {name: job.id for name, job in variants().items()} == ids


def test_id__after_a_journey_by_pickle__is_the_same() -> None:
    job = variants()["a start"]
    assert pickle.loads(pickle.dumps(job)).id == job.id


def test_id__other_builds__change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = toys.job(toys.Summing()).id
    monkeypatch.setattr("outgrow.core.job.builds", lambda: {"numpy": "0"})
    assert toys.job(toys.Summing()).id != before


def test_id__other_code_of_a_persons_own_learner__changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before, nested = toys.job(toys.Summing()).id, toys.job(toys.Beside((("a", toys.Summing()),))).id
    monkeypatch.setattr("inspect.getsource", lambda module: "changed")
    assert toys.job(toys.Summing()).id != before
    assert toys.job(toys.Beside((("a", toys.Summing()),))).id != nested


def test_id__of_rows_in_memory__is_empty() -> None:
    assert toys.job(toys.Summing(), source=toys.ToySource(10, content="")).id == ""
    assert toys.job(toys.Summing(), others={"test": toys.ToySource(10, content="")}).id == ""


def test_id__of_code_that_cannot_be_read__is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(module: Any) -> str:
        raise OSError("source code not available")

    monkeypatch.setattr("inspect.getsource", unknown)
    assert toys.job(toys.Summing()).id == ""


# descriptions


@dataclass(frozen=True)
class Settings:
    ratio: float = 0.5
    names: tuple[str, ...] = ("a",)
    nested: Any = None

    def __post_init__(self) -> None:
        if self.ratio > 1:
            raise BadField(f"{self.ratio} is too much", where="ratio", allowed="at most 1")


def resolve(name: str) -> type:
    return {kind.__name__: kind for kind in (Settings, Rows)}[name.rpartition(":")[2]]


def test_build__of_a_description__is_the_same_thing() -> None:
    thing = Settings(ratio=0.25, nested={"rows": (Rows(kind="held", held=0.1), ALL, None, True)})
    assert build(describe(thing), resolve) == thing


@pytest.mark.parametrize("value", [np.float64(1), object(), b"x", {1, 2}, Settings])
def test_describe__what_no_field_may_hold__is_refused(value: Any) -> None:
    if isinstance(value, float):
        assert describe(value) == 1.0  # numpy's float64 is a float
        return
    with pytest.raises(BadField, match="is no field value; allowed: numbers"):
        describe(Settings(nested=value))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 2 wrote this file; here is version 1. Use the release"),
        ({"fields": {"ratio": 0.5}}, "the file names"),
        ({"fields": {"ratio": 0.5, "names": [], "nested": None, "more": 1}}, "the file names"),
        ({"fields": {"ratio": 3, "names": [], "nested": None}}, "ratio: 3 is too much"),
        ({"fields": {"ratio": "x", "names": [], "nested": None}}, "the fields of Settings in the file are refused"),
        ({"fields": []}, "not described by type, version and fields"),
        ({"type": ["Settings"]}, "not described by type, version and fields"),
    ],
)
def test_build__what_was_not_described_here__is_a_bad_file(change: Any, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        build({"type": "Settings", "version": 1, "fields": {"ratio": 0.5, "names": [], "nested": None}} | change, resolve)


def test_build__nested_beyond_reason__is_a_bad_file() -> None:
    data: Any = 1
    for _ in range(5000):
        data = [data]
    with pytest.raises(BadFile, match="nested"):
        build(data, resolve)


def test_builds__a_library_that_is_not_there__is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    assert builds.__wrapped__()["numpy"] == np.__version__
    monkeypatch.setattr("outgrow.core.job.version", missing)
    assert set(builds.__wrapped__().values()) == {"absent"}
