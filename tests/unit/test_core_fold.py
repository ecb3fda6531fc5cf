"""Folding lanes: the same bits from any cut and from any position inside a lane; what is kept beside rows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys

from outgrow.core.errors import StorageError
from outgrow.core.fold import Block, Kept, Partial, fold_block
from outgrow.core.job import Job
from outgrow.core.learner import Cover, Fold, Pass, Rows
from outgrow.core.state import State, digest, nbytes
from outgrow.core.tree import Closer

GIVEN = {"w": np.full(4, 0.5)}


def copied(state: State) -> State:
    return {name: array.copy() for name, array in state.items()}


@pytest.mark.parametrize("cover", [Cover(), Cover(kind="chains", lanes=1), Cover(kind="chains", lanes=3, start=5, stop=21), Cover(kind="shuffled", lanes=3)])
@pytest.mark.parametrize("rows", [Rows(), Rows(kind="train", held=0.4)])
def test_fold_block__resumed_after_any_batch__gives_the_same_bits(cover: Cover, rows: Rows) -> None:
    job, item = toys.job(toys.Summing(), 700), Pass(fold=toys.SumFold(), given=GIVEN, cover=cover, rows=rows)
    for lane in range(min(job.lanes(item), 2)):
        partials: list[Partial] = []
        whole = fold_block(job, item, Block(0, 0, lane), tick=lambda at, done, _, state: partials.append(Partial(0, at, done, copied(state))))  # noqa: B023
        for partial in partials:
            before = digest(partial.state)
            assert digest(fold_block(job, item, Block(0, 0, lane, partial)).state) == digest(whole.state)
            assert digest(partial.state) == before, "the partial was written into"


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_fold_block__an_aligned_block__is_the_node_of_its_lanes(level: int) -> None:
    job, item = toys.job(toys.Summing(), 1600), Pass(fold=toys.SumFold(), given=GIVEN)
    closer = Closer(16, lambda left, right: item.fold.merge(left, right, GIVEN))
    for lane in range(1 << level, 2 << level):
        closer.add(0, lane, fold_block(job, item, Block(0, 0, lane)).state)
    node = fold_block(job, item, Block(0, level, 1))
    assert (node.which, node.level, node.index) == (0, level, 1)
    assert digest(node.state) == digest(closer.nodes[level, 1])


@dataclass(frozen=True)
class Watched(toys.CountFold):
    """Counts how often a state is begun."""

    def init(self, given: Any) -> State:
        given["begun"].append(1)
        return super().init({})


def test_fold_block__order_free__carries_one_state_through_its_lanes() -> None:
    job, begun = toys.job(toys.Counting(), 800), []
    item = Pass(fold=Watched(), given={"begun": begun})  # type: ignore[dict-item]
    shown: list[int] = []
    node = fold_block(job, item, Block(0, 3, 0), tick=lambda lane, done, rows, state: shown.append(int(state["n"].sum())))
    assert len(begun) == 1
    assert shown[-1] == 800 == node.state["n"].sum()
    one_by_one = [fold_block(job, item, Block(0, 0, lane)).state["n"] for lane in range(8)]
    assert np.array_equal(sum(one_by_one), node.state["n"])


def test_fold_block__what_is_given__is_read_only() -> None:
    @dataclass(frozen=True)
    class Rude(toys.SumFold):
        def update(self, state: State, batch: Any, given: Any) -> State:
            given["w"] += 1
            return state

    with pytest.raises(ValueError, match="read-only"):
        fold_block(toys.job(toys.Summing()), Pass(fold=Rude(), given={"w": np.ones(4)}), Block(0, 0, 0))


def test_fold_block__a_lane_without_rows__is_the_empty_state() -> None:
    job = toys.job(toys.Summing(), 100)
    item = Pass(fold=toys.SumFold(), given=GIVEN, cover=Cover(kind="chains", lanes=3))
    assert digest(fold_block(job, item, Block(0, 0, 2)).state) == digest(item.fold.init(GIVEN))


def test_fold_block__rows_that_are_not_seen__are_never_updated_with() -> None:
    @dataclass(frozen=True)
    class Careful(toys.CountFold):
        def update(self, state: State, batch: Any, given: Any) -> State:
            assert batch.rows
            return super().update(state, batch, given)

    item = Pass(fold=Careful(), rows=Rows(kind="equals", column="y", value=9))
    assert fold_block(toys.job(toys.Counting()), item, Block(0, 0, 0)).state["n"].tolist() == [0, 0, 0]


def test_fold_block__a_fold_that_keeps__needs_somewhere_to_keep() -> None:
    with pytest.raises(ValueError, match="needs somewhere to keep"):
        fold_block(toys.job(toys.Boosting()), Pass(fold=toys.BoostFold(), given={"stumps": np.zeros((0, 3))}), Block(0, 0, 0))


def test_fold_block__parts_of_a_sink__are_written_by_lane_and_only_whole(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Failing(toys.WriteFold):
        def update(self, state: State, batch: Any, given: Any) -> State:
            if batch.positions[0] == 164:
                raise ZeroDivisionError
            return super().update(state, batch, given)

    sink = toys.FileSink(str(tmp_path))
    sink.prepare()
    item = Pass(fold=Failing(), given={"w": np.ones(())}, sink=sink)
    with pytest.raises(ZeroDivisionError):
        fold_block(toys.job(toys.Counting(), 400), item, Block(0, 2, 0))
    assert [part.name for part in sorted((tmp_path / "parts").iterdir()) if part.name[0] != "."] == ["00000"]


# kept


def test_kept__two_versions__are_held_and_older_ones_dropped() -> None:
    kept = Kept()
    for version in range(4):
        kept.put("scores", 0, 0, version, {"s": np.full(5, float(version))})
    assert [kept.get("scores", 0, 0, version) is not None for version in range(4)] == [False, False, True, True]
    assert kept.held == 80
    kept.put("scores", 0, 0, 3, {"s": np.zeros(2)})  # the same version again takes its place
    assert kept.held == 56


def test_kept__beyond_its_limit__spills_to_disk_and_reads_back(tmp_path: Path) -> None:
    kept = Kept(limit=100, folder=tmp_path)
    states = [{"s": np.arange(8.0) + i} for i in range(5)]
    for i, state in enumerate(states):
        kept.put("a/scores", 2, i, 0, state)
    assert kept.held <= 100
    for i, state in enumerate(states):
        found = kept.get("a/scores", 2, i, 0)
        assert found is not None
        assert digest(found) == digest(state)
        with pytest.raises(ValueError, match="read-only"):
            found["s"][0] = 1
    kept.put("a/scores", 2, 0, 2, states[0])
    assert kept.get("a/scores", 2, 0, 0) is None
    assert not list(tmp_path.iterdir()), "files without names go with their views"


def test_kept__handed_on_after_a_spill__is_not_written_again(tmp_path: Path) -> None:
    kept = Kept(limit=1000, folder=tmp_path)
    large = {"codes": np.arange(500, dtype=np.uint64)}
    kept.put("t", 0, 0, 0, large | {"rows": np.arange(100)})
    assert kept.held == 0
    for version in range(1, 6):
        before = kept.get("t", 0, 0, version - 1)
        assert before is not None
        kept.put("t", 0, 0, version, {"codes": before["codes"], "rows": before["rows"] + 1})
        assert kept.held <= 1000
    found = kept.get("t", 0, 0, 5)
    assert found is not None
    assert (found["codes"] == np.arange(500)).all()
    assert (found["rows"] == np.arange(100) + 5).all()
    assert found["codes"] is before["codes"]


def test_kept__no_room_on_disk__says_where(tmp_path: Path) -> None:
    kept = Kept(limit=1, folder=tmp_path / "gone")
    with pytest.raises(StorageError, match="gone"):
        kept.put("s", 0, 0, 0, {"s": np.zeros(8)})


def test_kept__without_a_folder__forgets_and_is_rebuilt() -> None:
    kept = Kept(limit=10)
    kept.put("s", 0, 0, 0, {"s": np.zeros(8)})
    assert kept.get("s", 0, 0, 0) is None
    assert kept.held == 0


@pytest.mark.parametrize("limit", [1 << 30, 700, 0])
def test_kept__stepped_spilled_or_rebuilt__gives_the_same_bits(limit: int, tmp_path: Path) -> None:
    job = toys.job(toys.Boosting(), 320)
    stumps = np.array([[0, 0.1, 0.7], [2, -0.3, 0.2], [1, 0.05, 1e-9]])
    rebuilds: list[str] = []

    def fold(kept: Kept, version: int) -> str:
        def recall(name: str) -> State:
            rebuilds.append(name)
            return {"stumps": stumps[:version].copy()}

        item = Pass(fold=toys.BoostFold(), given={"stumps": stumps[:version].copy()}, kept="scores", version=version)
        return digest(fold_block(job, item, Block(0, 2, 0), kept=kept, recall=recall).state)

    stepped = Kept(limit, tmp_path if limit == 700 else None)
    steps = [fold(stepped, version) for version in (0, 1, 2, 3)]
    assert len(rebuilds) == {1 << 30: 13, 700: 13, 0: 52}[limit]
    assert [fold(Kept(), version) for version in (0, 1, 2, 3)] == steps
    assert fold(stepped, 3) == steps[3]  # a lost block folded again finds its own version


def test_kept__through_features__is_what_the_features_show() -> None:
    plain, doubled = toys.Boosting(rounds=3), toys.Then((toys.Doubled(), toys.Boosting(rounds=3)))
    from outgrow.core.run import run
    from outgrow.engines.serial import Serial

    @dataclass(frozen=True)
    class DoubledSource(toys.ToySource):
        def take(self, positions: Any, columns: Any = None) -> Any:
            batch = super().take(positions)
            return replace(batch, x=batch.x * 2)

    outside = run(Job(learner=plain, source=DoubledSource(1000), shard_rows=100, batch_rows=32), Serial()).arrays
    inside = run(toys.job(doubled, 1000), Serial()).arrays
    assert digest({"s": inside["1/stumps"]}) == digest({"s": outside["stumps"]})
    assert nbytes(inside) > 0


def test_fold__without_methods__says_so() -> None:
    for call in (lambda: Fold().init({}), lambda: Fold().update({}, None, {}), lambda: Fold().merge({}, {}, {})):
        with pytest.raises(NotImplementedError):
            call()


@dataclass(frozen=True)
class PartFold(Fold):
    """Adds a third of what is kept: column `part` of the rows, times its weight. It says so in `seen`."""

    part: int = 0

    def keep(self, kept: State | None, batch: Any, given: Any) -> State:  # type: ignore[override]
        before = np.zeros(batch.rows, np.int64) if kept is None else kept["m"]
        return {"m": before + np.rint(given["w"][0] * batch.x[:, self.part] * 1000).astype(np.int64)}

    def init(self, given: Any) -> State:
        return {"m": np.zeros((), np.int64)}

    def update(self, state: State, batch: Any, given: Any) -> State:
        return {"m": state["m"] + batch.kept["m"].sum()}

    def merge(self, left: State, right: State, given: Any) -> State:
        return {"m": left["m"] + right["m"]}


def test_kept__lost_and_rebuilt_in_parts__reads_the_lane_once_a_part_and_holds_one_given_at_a_time() -> None:
    job = toys.job(toys.Counting(), 400)
    again = tuple(Pass(fold=PartFold(part)) for part in range(3))
    item = Pass(fold=PartFold(2), given={"w": np.full(1, 7.0)}, kept="m", version=5, again=again)
    asked: list[str] = []

    def recall(name: str) -> State:
        asked.append(name)
        return {"w": np.full(1, float(name[-1]) + 1)}

    node, kept = fold_block(job, item, Block(0, 0, 0), kept=(held := Kept()), recall=recall), held
    x = job.source.take(np.arange(100)).x  # type: ignore[attr-defined]
    assert asked == ["m/0", "m/1", "m/2"]
    assert int(node.state["m"]) == int(sum(np.rint((part + 1.0) * x[:, part] * 1000).astype(np.int64).sum() for part in range(3)))
    assert kept.get("m", 0, 0, 5) is not None
    assert kept.held == 100 * 8, "what lay there on the way is gone"
    fold_block(job, replace(item, version=6), Block(0, 0, 0), kept=kept, recall=recall)
    assert len(asked) == 3, "what is there is stepped"


def test_kept__lost_from_a_batch_on__is_rebuilt_from_there() -> None:
    job = toys.job(toys.Counting(), 400)
    item = Pass(fold=PartFold(0), given={"w": np.ones(1)}, kept="m", version=1, again=(Pass(fold=PartFold(0)), Pass(fold=PartFold(1))))
    kept, whole = Kept(), Kept()
    fold_block(job, item, Block(0, 0, 1), kept=whole, recall=lambda _: {"w": np.ones(1)})
    fold_block(job, item, Block(0, 0, 1, Partial(0, 1, 2, {"m": np.zeros((), np.int64)})), kept=kept, recall=lambda _: {"w": np.ones(1)})
    assert kept.get("m", 1, 1, 1) is None
    for number in (2, 3):
        found, want = kept.get("m", 1, number, 1), whole.get("m", 1, number, 1)
        assert found is not None
        assert want is not None
        assert (found["m"] == want["m"]).all()
