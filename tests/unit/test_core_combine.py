"""Learners one after another: each part learns what it would have learned alone."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import toys

from outgrow.core.combine import Then
from outgrow.core.errors import BadField
from outgrow.core.job import Job
from outgrow.core.learner import Context, Cover, Feature, Learner, Pass, Price, Rows
from outgrow.core.run import run
from outgrow.core.state import State, same, under
from outgrow.engines.rehearsal import Rehearsal
from outgrow.engines.serial import Serial
from outgrow.learn.beside import Beside


def fit(learner: Learner, rows: int = 700, **changes: Any) -> State:
    return run(toys.job(learner, rows, **changes), Serial()).arrays


@dataclass(frozen=True)
class Scaled(toys.ToySource):
    """The rows as a fitted scaler shows them."""

    fitted: Any = None

    def take(self, positions: Any, columns: Any = None) -> Any:
        return toys.Scaler().apply(self.fitted, super().take(positions), False)


# Then


def test_then__features_and_learner__is_the_learner_on_the_changed_rows() -> None:
    model = fit(Then((toys.Scaler(), toys.Net())))
    alone = run(Job(learner=toys.Net(), source=Scaled(700, fitted=fit(toys.Scaler())), shard_rows=100, batch_rows=32), Serial()).arrays
    assert same(under("0", model), fit(toys.Scaler()))
    assert same(under("1", model), alone)
    batch = toys.ToySource(700).take(np.arange(50))
    there = Then((toys.Scaler(), toys.Net())).predict(model, batch)["class"]
    assert np.array_equal(there, toys.Net().predict(alone, Scaled(700, fitted=under("0", model)).take(np.arange(50)))["class"])


def test_then__a_stage_that_is_no_feature__hands_its_model_on_as_start() -> None:
    model = fit(Then((toys.Seeds(), toys.Lloyd())))
    seeds = fit(toys.Seeds())
    assert same(under("0", model), seeds)
    assert same(under("1", model), fit(toys.Lloyd(), start=seeds))
    assert model["1/centres"].shape == (4, 3)


def test_then__a_split__keeps_held_out_rows_from_the_features() -> None:
    train = Rows(kind="train", held=0.3)
    model = fit(Then((toys.Scaler(), toys.Net(rows=train))))
    assert model["0/seen"] == fit(toys.Counting(rows=train))["h"]
    assert model["0/seen"] != fit(toys.Counting())["h"]


def test_then__inside_then__is_the_flat_one() -> None:
    flat = fit(Then((toys.Doubled(), toys.Scaler(), toys.Net(epochs=1))))
    nested = fit(Then((toys.Doubled(), Then((toys.Scaler(), toys.Net(epochs=1))))))
    assert same(under("2", flat), under("1/1", nested))
    assert same(under("1", flat), under("1/0", nested))


def test_then__features_before__change_the_schema_of_the_next() -> None:
    seen: list[Any] = []

    @dataclass(frozen=True)
    class Looking(toys.Counting):
        def begin(self, context: Context, start: State | None = None) -> State:
            seen.append(context.schema)
            return super().begin(context, start)

        def finish(self, context: Context, carry: State) -> State:
            seen.append(context.schema)
            return super().finish(context, carry)

    fit(Then((toys.Doubled(), toys.Doubled(), Looking())), source=toys.ToySource(100, schema="plain"))
    assert seen == [(("plain", "doubled"), "doubled")] * 2
    fit(Beside(tuple((f"{i}", Then((toys.Doubled(), Looking()))) for i in range(70))), source=toys.ToySource(100, schema="plain"))
    assert set(seen[2:]) == {("plain", "doubled")}


def test_then__learner_with_a_mapping_among_its_fields__works() -> None:
    @dataclass(frozen=True)
    class Mapped(toys.Counting):
        names: Any = None

    assert same(under("1", fit(Then((toys.Doubled(), Mapped(names={"a": 1}))))), fit(toys.Counting()))


def test_then__fitting__is_said_of_rows_that_were_fitted_on() -> None:
    said: dict[tuple[str, str], bool] = {}

    @dataclass(frozen=True)
    class Saying(Feature):
        def apply(self, fitted: State, batch: Any, fitting: bool) -> Any:
            said[str(len(batch.positions)), str(int(batch.positions[0]))] = fitting
            return batch

    @dataclass(frozen=True)
    class Three(toys.Counting):
        def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
            passes = super().ask(context, carry)
            wanted = ((Rows(), "train"), (Rows(kind="held", held=0.2), "train"), (Rows(), "test"))
            return tuple(replace(item, rows=rows, source=source) for item in passes for rows, source in wanted)

        def sees(self) -> Rows:
            return Rows(kind="train", held=0.2)

    job = toys.job(Then((Saying(), Three())), 20, others={"test": toys.ToySource(3)})
    run(job, Serial())
    assert said["20", "0"] is True
    assert said["3", "0"] is False
    assert [value for (rows, _), value in said.items() if rows == "4"] == [False]


def test_then__warm_start__starts_its_learner_and_fits_its_features_anew() -> None:
    learner = Then((toys.Scaler(), toys.Net(epochs=1)))
    first = run(toys.job(learner, 700), Serial())
    assert set(first.resume) == {"1/m1", "1/m2"}
    again = run(toys.job(learner, 700, start=first.arrays | first.resume), Serial()).arrays
    assert not same(again, first.arrays)
    scaled, start = Scaled(700, fitted=under("0", first.arrays)), under("1", first.arrays | first.resume)
    continued = run(Job(learner=toys.Net(epochs=1), source=scaled, shard_rows=100, batch_rows=32, start=start), Serial())
    assert same(under("1", again), continued.arrays)


def test_then__warm_start_of_a_first_stage__reaches_it() -> None:
    assert same(under("0", fit(Then((toys.Summing(), toys.Counting())), start={"0/w": np.ones(4)})), fit(toys.Summing(), start={"w": np.ones(4)}))


def test_then__facts_and_price__are_those_of_the_stage_that_works() -> None:
    then = Then((toys.Doubled(), toys.Summing()))
    context = toys.job(then).context
    assert then.facts(context, then.begin(context)) == {"first": 0.5}
    assert then.price(context) == toys.Summing().price(context)


def test_then__without_stages__is_refused() -> None:
    with pytest.raises(BadField, match="stages: Then needs at least one stage"):
        Then(())


# what a learner has when it says nothing


def test_learner__without_methods__says_so() -> None:
    bare, context = Learner(), toys.job(toys.Counting()).context
    for call in (lambda: bare.begin(context), lambda: bare.ask(context, {}), lambda: bare.tell(context, {}, ()), lambda: bare.finish(context, {}), lambda: bare.predict({}, None)):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(NotImplementedError):
        Feature().apply({}, None, True)
    assert (bare.resume(context, {}), bare.recall(context, {}, ""), bare.facts(context, {}), bare.price(context)) == ({}, {}, {}, Price(state=1024))
    assert bare.sees() == Rows()
    assert toys.Summing().replace(rounds=9) == toys.Summing(rounds=9)
    assert Feature().schema({}, "s") == "s"
    assert Feature().ask(context, Feature().begin(context)) == ()


def test_rehearsal__reads_no_row_and_lists_its_blocks() -> None:
    @dataclass(frozen=True)
    class Unreadable(toys.ToySource):
        def take(self, positions: Any, columns: Any = None) -> Any:
            raise AssertionError("a row was read")

    engine = Rehearsal(3)
    result = run(toys.job(toys.Summing(rounds=2, cover=Cover(kind="chains", lanes=5)), source=Unreadable(1000)), engine)
    assert result.record["passes"] == 2
    assert result.record["workers"] == 3
    assert sorted(lane for _, block in engine.blocks for lane in block.lanes) == sorted(2 * [0, 1, 2, 3, 4])


def test_then__a_pass_that_names_its_inputs__reads_what_every_feature_needs_for_them() -> None:
    @dataclass(frozen=True)
    class Knows(toys.Doubled):
        def reads(self, fitted: State, schema: Any, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
            return tuple(name.removeprefix("twice ") for name in inputs)

    @dataclass(frozen=True)
    class Narrow(toys.Counting):
        def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
            return tuple(replace(item, inputs=("twice a",), again=(replace(item, inputs=("twice b",)),)) for item in super().ask(context, carry))

    for features, columns in (((Knows(),), (("a",), ("b",))), ((toys.Doubled(), Knows()), (None, None)), ((Knows(), toys.Doubled()), (None, None))):
        learner = Then((*features, Narrow()))
        context = toys.job(learner).context
        (item,) = learner.ask(context, learner.begin(context))
        assert (item.columns, item.again[0].columns) == columns
        assert type(item.again[0].fold) is type(item.fold)
