"""Learners side by side: each part learns what it would have learned alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import toys

from outgrow.core.combine import Then
from outgrow.core.errors import BadField
from outgrow.core.fold import Block, Kept, fold_block
from outgrow.core.learner import Context, Learner, Price, Rows, Traits
from outgrow.core.run import run
from outgrow.core.state import State, digest, same, under
from outgrow.engines.serial import Serial
from outgrow.learn.beside import Beside, Fused


def fit(learner: Learner, rows: int = 700, **changes: Any) -> State:
    return run(toys.job(learner, rows, **changes), Serial()).arrays


def test_beside__each_part__learns_what_it_learns_alone() -> None:
    parts = (("sum", toys.Summing()), ("boost", toys.Boosting()), ("net", Then((toys.Scaler(), toys.Net(epochs=1)))), ("count", toys.Counting()))
    for kind in (Beside, Fused):
        model = fit(kind(parts))
        for name, part in parts:
            assert same(under(name, model), fit(part)), (kind, name)


def test_beside__kept_by_two_parts__is_rebuilt_for_each() -> None:
    """Two boosters of different depth keep under the same name; what one lost is never rebuilt from the other."""
    learner = Then((toys.Doubled(), Beside((("a", toys.Boosting(rounds=4)), ("b", Beside((("c", toys.Boosting(rounds=4, rate=0.1)),)))))))
    job = toys.job(learner, 320)
    context, carry = job.context, learner.begin(job.context)
    kept = Kept()

    def round_of(carry: State, kept: Kept) -> tuple[State, ...]:
        states = []
        for which, item in enumerate(learner.ask(context, carry)):
            recall = lambda name, carry=carry: learner.recall(context, carry, name)  # noqa: E731
            states.append(fold_block(job, item, Block(which, 2, 0), kept=kept, recall=recall).state)
        return tuple(states)

    for _ in range(4):
        assert [item.kept for item in learner.ask(context, carry)] == ["a/scores", "b/c/scores"]
        states = round_of(carry, kept)
        assert [digest(state) for state in states] == [digest(state) for state in round_of(carry, Kept())]
        carry = learner.tell(context, carry, states)
    model = learner.finish(context, carry)
    assert not same(under("1/a", model), under("1/b/c", model))


def test_fused__passes_over_the_same_rows__are_one_read() -> None:
    fused = Fused((("a", toys.Summing()), ("b", toys.Counting()), ("c", toys.Summing(rows=Rows(kind="held", held=0.1))), ("d", toys.Boosting()), ("e", toys.Boosting())))
    context = toys.job(fused).context
    passes = fused.ask(context, fused.begin(context))
    assert len(passes) == 4
    assert passes[0].fold.traits == Traits(elementwise=True)
    both = Fused((("a", toys.Counting()), ("b", toys.Counting())))
    assert both.ask(context, both.begin(context))[0].fold.traits.order_free


def test_fused__parts_that_read_through_their_own_features__see_their_own_rows() -> None:
    parts = (("plain", toys.Summing()), ("scaled", Then((toys.Scaler(), toys.Summing()))), ("doubled", Then((toys.Doubled(), toys.Summing()))))
    model = fit(Fused(parts))
    for name, part in parts:
        assert same(under(name, model), fit(part)), name
    assert model["plain/w"][0] != model["doubled/1/w"][0]


def test_beside__resume_and_warm_start__are_given_to_each_part() -> None:
    parts = (("a", toys.Net(epochs=1)), ("b", toys.Net(epochs=1, units=3)))
    first = run(toys.job(Beside(parts), 300), Serial())
    again = fit(Beside(parts), 300, start=first.arrays | first.resume)
    for name, part in parts:
        alone = run(toys.job(part, 300), Serial())
        assert same(under(name, first.resume), alone.resume)
        assert same(under(name, again), fit(part, 300, start=alone.arrays | alone.resume))


def test_beside__predictions_facts_and_prices__carry_the_names() -> None:
    both = Beside((("a", toys.Net(epochs=1)), ("b", toys.Summing())))
    job = toys.job(both, 200)
    assert both.facts(job.context, both.begin(job.context)) == {"b.first": 0.5}
    nets = Beside((("a", toys.Net(epochs=1)), ("b", toys.Net(epochs=1, units=2))))
    assert set(nets.predict(fit(nets, 200), job.source.take(np.arange(5)))) == {"a.class", "b.class"}

    @dataclass(frozen=True)
    class Priced(toys.Counting):
        size: int = 1

        def price(self, context: Context) -> Price:
            return Price(state=self.size, given=2, lanes=self.size, passes=(self.size, 10 - self.size), kept_per_row=8)

    assert Beside((("a", Priced(size=3)), ("b", Priced(size=4)))).price(job.context) == Price(state=7, given=4, lanes=4, passes=(4, 7), kept_per_row=16)


@pytest.mark.parametrize("names", [(), ("a", "a"), ("a/b",)])
def test_beside__names_that_would_mix__are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(BadField, match=r"parts: the parts are named .*allowed: at least one, different names"):
        Beside(tuple((name, toys.Counting()) for name in names))
