"""Prices and the search over them, on made-up measurements: no row is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from outgrow.core.job import Job
from outgrow.core.learner import Learner, Price
from outgrow.learn.online_linear import OnlineLinear
from outgrow.plan.budget import parse_bytes
from outgrow.plan.calibrate import Calibration
from outgrow.plan.costs import ENGINES, SERIAL, Costs
from outgrow.plan.place import _lanes
from outgrow.plan.price import LIMITS, Pricer
from outgrow.plan.probe import Probe, Seen
from outgrow.plan.search import MARGIN, search
from outgrow.plan.where import Where

PROCESSES = Costs(offered=True, slots=4, worker_seconds=0.7, round_seconds=0.0003, node_byte_seconds=1e-9, given_byte_seconds=1e-9, share=0.9, worker_bytes=80_000_000)
MACHINE = Calibration(write_rate=1e9, engines={"processes": PROCESSES})
MB = 1_000_000


@dataclass(frozen=True)
class Idle(Learner):
    """A learner that is only priced."""


class Rows:
    """A source that is only counted."""

    content = "counted"
    schema = ()

    def __init__(self, rows: int) -> None:
        self.rows = rows


def found(rows: int, **changes: Any) -> Any:
    return SimpleNamespace(**{"rows": rows, "row_bytes": 100, "group_rows": 500_000, "format": "parquet", "cuttable": True, "kinds": (("category", 5),)} | changes)


def pricer(
    rows: int = 20_000_000, *, lanes: int = 4, passes: int = 1, machine: Calibration | None = MACHINE, row_seconds: float = 1e-6, read_row: float = 2e-7, **changes: Any
) -> Pricer:
    seen = Seen(
        stepped=False, cover="chains", passes=passes, rows=10_000 * passes, lanes=passes, nodes=passes, row_seconds=row_seconds, read_row=read_row, stream_row=2 * read_row,
        state_bytes=4 * MB, node_bytes=4 * MB * passes,
    )  # fmt: skip
    probe = Probe(
        rows=10_000, rounds=passes, finished=True, seen={"fold": seen}, base_bytes=100 * MB, extra_bytes=30 * MB, block_bytes=1 * MB,
        asked=Price(state=4 * MB, lanes=lanes, passes=(passes, passes)), other_seconds=0.1,
    )  # fmt: skip
    return Pricer(Job(learner=Idle(), source=Rows(rows), shard_rows=500_000, batch_rows=8192), found(rows), replace(probe, **changes), machine)  # type: ignore[arg-type]


def test_one_lane__is_one_process_and_says_why() -> None:
    taken = search(pricer(lanes=1), on=None, memory=None, time=None)
    assert taken.offer.where == Where("serial")
    assert "one lane" in taken.reasons[0].why


def test_much_work_in_four_lanes__goes_to_four_workers_and_says_by_how_much() -> None:
    taken = search(pricer(), on=None, memory=None, time=None)
    assert taken.offer.where == Where("processes", 4)
    assert "times as fast as serial" in taken.reasons[0].why
    serial = pricer().offer(Where("serial"), LIMITS[0])
    assert 2.5 < serial.seconds / taken.offer.seconds < 4  # type: ignore[operator]


def test_little_work__is_one_process_and_names_what_workers_would_take() -> None:
    taken = search(pricer(1_500_000), on=None, memory=None, time=None)
    assert taken.offer.where == Where("serial")
    assert "one process is enough" in taken.reasons[0].why
    assert "to start" in taken.reasons[0].why


def test_every_rejected_alternative__has_its_number() -> None:
    taken = search(pricer(passes=3), on=None, memory=1000 * MB, time=None)
    assert len(taken.rejected) >= 4
    assert all(any(sign.isdigit() for sign in item.number) for item in taken.rejected)


@pytest.mark.parametrize("on", [None, Where("serial"), Where("processes", 3)])
def test_a_budget_too_small__is_refused_and_the_one_it_names_is_accepted(on: Where | None) -> None:
    refusal = search(pricer(), on=on, memory=50 * MB, time=None).refusal
    assert refusal is not None
    named = parse_bytes(refusal.allowed.removesuffix(" or more"))
    assert named is not None
    assert search(pricer(), on=on, memory=named + MB, time=None).refusal is None  # what is printed is rounded to three digits
    assert search(pricer(), on=on, memory=int(0.94 * named), time=None).refusal is not None


def least(made: Pricer, on: Where | None) -> int:
    """The smallest budget that is accepted, in whole MB, looked for one by one."""
    return next(memory for memory in range(50, 20_000) if search(made, on=on, memory=memory * MB, time=None).refusal is None)


@pytest.mark.slow
@pytest.mark.parametrize("on", [None, Where("serial"), Where("processes", 3)])
@pytest.mark.parametrize("rows", [1_000_000, 3_000_000, 20_000_000])
@pytest.mark.parametrize("state", [4, 40, 200])
def test_the_budget_named__is_the_smallest_that_is_accepted__whatever_blocks_keep_it(on: Where | None, rows: int, state: int) -> None:
    made = pricer(rows, asked=Price(state=state * MB, lanes=4))
    refusal = search(made, on=on, memory=40 * MB, time=None).refusal
    assert refusal is not None
    named = parse_bytes(refusal.allowed.removesuffix(" or more"))
    assert named is not None
    assert search(made, on=on, memory=named, time=None).refusal is None
    assert named <= (least(made, on) + (4 if named < 1000 * MB else 11)) * MB


def test_the_budget_named__where_small_blocks_take_so_long_that_the_run_saves__is_that_of_larger_ones() -> None:
    made = pricer(1_000_000, lanes=1, row_seconds=1e-6, read_row=6e-7, asked=Price(state=40 * MB, lanes=1))  # above 2 s where blocks are parts of a row group
    whole, parts = (made.offer(Where("serial"), limit) for limit in (LIMITS[0], LIMITS[-1]))
    assert (whole.peak_bytes or 0) < (parts.peak_bytes or 0)
    refusal = search(made, on=Where("serial"), memory=40 * MB, time=None).refusal
    assert refusal is not None
    named = parse_bytes(refusal.allowed.removesuffix(" or more"))
    assert named is not None
    assert named < MARGIN * (parts.peak_bytes or 0)
    assert search(made, on=Where("serial"), memory=named, time=None).refusal is None


def test_three_workers_in_too_little_memory__are_told_that_one_process_would_fit() -> None:
    refusal = search(pricer(), on=Where("processes", 3), memory=300 * MB, time=None).refusal
    assert refusal is not None
    assert "--on serial" in str(refusal)


def test_less_memory__means_smaller_blocks_and_never_more_than_the_budget() -> None:
    wide = search(pricer(), on=Where("serial"), memory=1000 * MB, time=None).offer
    narrow = search(pricer(), on=Where("serial"), memory=200 * MB, time=None).offer
    assert narrow.limit < wide.limit
    assert MARGIN * narrow.peak_bytes <= 200 * MB  # type: ignore[operator]


def test_less_memory__takes_fewer_workers() -> None:
    several = search(pricer(), on=None, memory=2000 * MB, time=None).offer.where
    few = search(pricer(), on=None, memory=500 * MB, time=None).offer.where
    assert few.workers < several.workers


def test_a_time_that_cannot_be_kept__is_refused_with_the_fastest() -> None:
    refusal = search(pricer(), on=None, memory=None, time=1.0).refusal
    assert refusal is not None
    assert "at the fastest (processes:4)" in str(refusal)
    assert search(pricer(), on=None, memory=None, time=60.0).refusal is None


def test_many_passes_over_slow_columns__are_packed_first_and_one_pass_is_streamed() -> None:
    many = search(pricer(passes=30, row_seconds=1e-8, read_row=1e-6), on=Where("serial"), memory=None, time=None)
    assert many.offer.packed
    assert any(item.what == "streamed" for item in many.rejected)
    assert not search(pricer(row_seconds=1e-8, read_row=1e-6), on=Where("serial"), memory=None, time=None).offer.packed


def test_a_learner_whose_end_was_not_seen__has_unknown_time_within_bounds() -> None:
    unknown = pricer(passes=2, finished=False, asked=Price(state=4 * MB, lanes=4, passes=(2, 20)))
    offer = unknown.offer(Where("serial"), LIMITS[0])
    assert offer.seconds is None
    assert offer.least is not None
    assert offer.most == pytest.approx(10 * offer.least, rel=0.05)
    assert unknown.passes is None


def test_more_workers_than_lanes__are_no_faster() -> None:
    two = pricer(lanes=2)
    assert two.offer(Where("processes", 4), LIMITS[0]).rank >= 0.9 * two.offer(Where("processes", 2), LIMITS[0]).rank


def test_wide_states__are_moved_and_priced() -> None:
    small, wide = pricer(), pricer()
    for turn in wide.turns:
        turn.seen.state_bytes = turn.seen.node_bytes = 400 * MB
    assert wide.offer(Where("processes", 4), LIMITS[0]).moved_bytes == 100 * small.offer(Where("processes", 4), LIMITS[0]).moved_bytes  # type: ignore[operator]
    assert wide.offer(Where("processes", 4), LIMITS[0]).rank > small.offer(Where("processes", 4), LIMITS[0]).rank + 1


def test_an_engine__is_priced_by_its_record_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    far = replace(PROCESSES, start_seconds=8.0, slots=16, task_seconds=0.05, driver_bytes=600 * MB)
    made = pricer(400_000_000, lanes=64, machine=Calibration(write_rate=1e9, engines={"processes": PROCESSES, "far": far}))
    near_offer, far_offer = made.offer(Where("processes", 4), LIMITS[0]), made.offer(Where("far", 16), LIMITS[0])
    assert far_offer.start_seconds == pytest.approx(near_offer.start_seconds + 8.0)
    assert 2.5 < near_offer.seconds / far_offer.seconds < 4  # type: ignore[operator]
    assert far_offer.peak_bytes > near_offer.peak_bytes + 600 * MB  # type: ignore[operator]
    assert search(made, on=None, memory=None, time=None).offer.where == Where("far", 16)
    assert search(made, on=Where("far", 0), memory=None, time=None).offer.where == Where("far", 16)
    little = pricer(8_000_000, lanes=64, machine=made.machine)
    assert search(little, on=None, memory=None, time=None).offer.where.name != "far"


@pytest.mark.parametrize(("field", "value"), [("start_seconds", 3.0), ("worker_seconds", 3.7), ("round_seconds", 1.0003), ("task_seconds", 0.2), ("node_byte_seconds", 1e-7)])
def test_every_cost_of_an_engine__makes_it_dearer(field: str, value: float) -> None:
    dear = Calibration(write_rate=1e9, engines={"processes": replace(PROCESSES, **{field: value})})
    assert pricer(passes=3, machine=dear).offer(Where("processes", 4), LIMITS[0]).rank > pricer(passes=3).offer(Where("processes", 4), LIMITS[0]).rank + 0.9


def test_an_engine_that_was_not_measured__is_priced_by_what_is_known_of_it() -> None:
    offer = pricer(machine=None).offer(Where("processes", 2), LIMITS[0])
    assert offer.start_seconds == ENGINES["processes"].worker_seconds
    assert pricer(machine=None).costs("serial") is SERIAL


def test_half_a_row_group__is_dearer_to_decode_than_a_whole_one() -> None:
    made = pricer(read_row=1e-6, row_seconds=1e-8)
    whole, half = (made.offer(Where("serial"), limit).seconds for limit in (LIMITS[0], LIMITS[2]))
    assert half == pytest.approx(2 * whole, rel=0.05)  # type: ignore[operator]


def test_the_only_row_group__is_decoded_once_in_all_passes() -> None:
    one = pricer(500_000, passes=10, read_row=1e-6, row_seconds=1e-8, other_seconds=0.0)
    assert one.offer(Where("serial"), LIMITS[0]).seconds == pytest.approx(0.5, rel=0.15)
    assert one.offer(Where("processes", 2), LIMITS[0]).processor_seconds > 5


def test_processor_seconds__count_all_workers() -> None:
    made = pricer(200_000_000)
    serial, several = made.offer(Where("serial"), LIMITS[0]), made.offer(Where("processes", 4), LIMITS[0])
    assert serial.processor_seconds == pytest.approx(serial.seconds)
    assert several.processor_seconds == pytest.approx(serial.processor_seconds / 0.9 + 4 * 0.7, rel=0.01)


def test_what_is_kept_beside_rows__stays_in_memory_as_far_as_the_budget_goes_and_is_priced() -> None:
    keeps = pricer(machine=None, asked=Price(state=4 * MB, lanes=4, kept_per_row=16))  # twice 160 MB
    free, tight = (search(keeps, on=Where("serial"), memory=memory, time=None).offer for memory in (2000 * MB, 450 * MB))
    assert (free.kept_bytes, free.spilled_bytes) == (1 << 30, 0)
    assert tight.kept_bytes < 320 * MB
    assert tight.spilled_bytes == 320 * MB - tight.kept_bytes
    assert MARGIN * (tight.peak_bytes or 0) <= 450 * MB
    assert tight.rank > free.rank
    reasons = search(keeps, on=Where("serial"), memory=450 * MB, time=None).reasons
    assert any("kept beside rows" in reason.choice and "disk" in reason.why for reason in reasons)
    refusal = search(keeps, on=Where("serial"), memory=50 * MB, time=None).refusal
    assert refusal is not None
    assert (parse_bytes(refusal.allowed.removesuffix(" or more")) or 0) < 320 * MB


def test_states_that_wait__are_priced_up_to_what_stays_in_memory() -> None:
    wide = Price(state=400 * MB, lanes=16)
    few, many = (pricer(machine=None, asked=replace(wide, lanes=lanes)).offer(Where("serial"), LIMITS[-1]).peak_bytes or 0 for lanes in (4, 16))
    assert few == many


def test_lanes_that_are_named__say_what_they_win_and_cost_beside_those_of_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrow.plan.place.cores", lambda: 4)
    monkeypatch.setattr("outgrow.plan.price.cores", lambda: 4)

    def told(lanes: int, row_seconds: float) -> str:
        made: Any = SimpleNamespace(learner=OnlineLinear(lanes=lanes), job=object())
        (reason,) = _lanes(made, pricer(lanes=lanes or 2, row_seconds=row_seconds, read_row=row_seconds))
        return f"{reason.choice}: {reason.why}"

    assert "4 lanes: as asked; " in told(4, 1e-6)
    assert "on processes:4, against" in told(4, 1e-6)
    assert "with 2 lanes; log loss up by" in told(4, 1e-6)
    assert "they win no time here over 2 lanes: starting workers costs more" in told(4, 1e-9)
    assert told(2, 1e-6) == "2 lanes: as asked; without a word there would be 2"
    assert "one for every 500,000 rows" in told(0, 1e-6)


def shuffled(*, packed: bool, epochs: int = 2, **changes: Any) -> float:
    """Seconds of epochs over 20 M rows in a shuffled order."""
    seen = Seen(stepped=False, cover="shuffled", passes=epochs, rows=10_000 * epochs, lanes=epochs, row_seconds=1e-6, read_row=2e-7, stream_row=4e-7, pick_row=5e-7)
    made = pricer(lanes=1, other_seconds=0.0, seen={"fold": replace(seen, **changes)})
    return made.offer(Where("serial"), LIMITS[0], packed=packed).seconds - (made.offer(Where("serial"), LIMITS[0], packed=packed).pack_seconds)  # type: ignore[operator]


def test_rows_in_a_shuffled_order__cost_what_picking_them_takes_where_they_are_packed() -> None:
    assert shuffled(packed=True) == pytest.approx(2 * 20_000_000 * 1.5e-6)
    assert shuffled(packed=True, epochs=6) == pytest.approx(6 * 20_000_000 * 1.5e-6)


def test_rows_in_a_shuffled_order__cost_a_reading_of_all_row_groups_a_batch_where_they_are_not_packed() -> None:
    batches, reading = -(-20_000_000 // 8192), 20_000_000 * 2e-7
    assert shuffled(packed=False) == pytest.approx(2 * (20_000_000 * 1.5e-6 + batches * reading))


def test_steps_in_a_shuffled_order__are_passes_that_grow_with_the_rows() -> None:
    assert shuffled(packed=True, stepped=True, passes=50, rows=10_000, lanes=50) == pytest.approx(20_000_000 * 1.5e-6)
