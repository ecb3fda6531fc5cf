"""The probe reads few rows, the true ones, and tells what is fixed from what grows."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.core.combine import Then
from outgrow.core.job import Job
from outgrow.plan import calibrate, part
from outgrow.plan.part import Part, group, picking, streaming
from outgrow.plan.probe import Probe, _line, allowed, few_rows, probe

MB = 1_000_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("probe") / "rows.parquet"
    random = np.random.default_rng(0)
    x = random.normal(size=200_000)
    pq.write_table(pa.table({"at": np.arange(200_000), "x": x, "y": (x + random.logistic(size=200_000) > 0).astype(np.int8)}), path, row_group_size=30_000)
    return og.read(path, target="y")


def job(source: Any, learner: Any = None) -> Job:
    return Job(learner=Then((og.Hashing(bits=10), learner or og.OnlineLinear())), source=source, shard_rows=30_000, batch_rows=4096)


def test_a_part__gives_the_rows_of_its_places_with_positions_of_its_own(source: Any) -> None:
    part = Part(source, [30_000, 90_000], 5_000, 1 << 20)
    batches = list(part.read(4_000, 7_000, 1_000))
    assert np.concatenate([batch.columns["at"].values for batch in batches]).tolist() == [*range(34_000, 35_000), *range(90_000, 92_000)]
    assert np.concatenate([batch.positions for batch in batches]).tolist() == list(range(4_000, 7_000))
    picked = part.take(np.array([9_999, 0]))
    assert picked.columns["at"].values.tolist() == [94_999, 30_000]
    assert picked.positions.tolist() == [9_999, 0]


def test_a_part__reads_its_rows_once_however_often_they_are_asked_for(source: Any) -> None:
    part = Part(source, [0], 4_000, 1 << 20)
    for _ in range(3):
        assert sum(batch.rows for batch in part.read(0, 4_000, 1_000)) == 4_000
    assert part.readings[None].rows == 30_000  # the row group that they lie in
    assert part.given_rows == 12_000


def test_the_probe__reads_a_part_of_the_rows_and_comes_to_the_end(source: Any) -> None:
    found = probe(job(source))
    assert isinstance(found, Probe)
    assert found.finished
    assert 4 <= found.rows <= 24_000
    assert found.folded <= 50_000
    assert all(item.read_row > 0 for item in found.seen.values())
    assert found.state_bytes >= 8 << 10
    assert found.asked is not None
    assert found.asked.lanes == 1


def test_passes__are_counted_as_the_learner_asked_for_them(source: Any) -> None:
    found = probe(job(source, og.OnlineLinear(passes=3)))
    assert isinstance(found, Probe)
    assert found.passes == 3
    assert found.rounds == 3


@pytest.mark.parametrize(("fixed", "each"), [(0.5, 1e-6), (0.0, 2e-6), (0.001, 1e-5)])
def test_a_line__is_found_again(fixed: float, each: float) -> None:
    found = _line((10_000, fixed + each * 10_000), (100_000, fixed + each * 100_000))
    if each * 100_000 > 0.1 * (fixed + each * 100_000):
        assert found == (pytest.approx(fixed, abs=1e-9), pytest.approx(each))


def test_a_slope_that_noise_has_hidden__stays_above_zero_and_below_the_mean() -> None:
    _, down = _line((10_000, 0.4), (100_000, 0.2))
    _, up = _line((10_000, 0.0), (100_000, 0.5))
    assert 0 < down <= 0.2 / 100_000
    assert up <= 0.5 / 100_000


def test_a_line__of_no_rows_at_all__is_flat() -> None:
    assert _line((0, 0.0), (0, 0.2)) == (0.0, 0.2)


def test_a_source_smaller_than_a_probe__is_probed_all_the_same() -> None:
    tiny = og.read({"x": np.arange(5.0), "y": np.array([0, 1, 0, 1, 1])}, target="y")
    assert isinstance(probe(job(tiny)), Probe)
    assert few_rows(job(tiny)).source.rows <= 5


@pytest.mark.parametrize("seconds", [0.5, 2.0, 20.0, 600.0])
def test_a_probe__takes_a_third_of_a_short_run_at_most_and_a_twentieth_of_a_long_one(seconds: float) -> None:
    assert allowed(seconds) <= seconds / 3
    assert seconds < 20 or allowed(seconds) <= 0.04 * seconds


def test_a_whole_row_group__is_counted_as_read_where_some_of_it_is_wanted(source: Any) -> None:
    start, rows = group(source)
    assert (start, rows) == (90_000, 30_000)
    part = Part(source, [start], 5_000, 64 << 20)
    assert sum(batch.rows for batch in part.read(0, 2_500, 1_000)) + sum(batch.rows for batch in part.read(2_500, 5_000, 1_000)) == 5_000
    assert part.readings[None].rows == 30_000 + 2_500  # the second part of the group is there already
    assert part.given_rows == 5_000
    assert 0 < streaming(source, 4096, None) < 1e-3


def test_what_is_derived_from_a_dictionary__is_forgotten_between_passes_as_where_each_decodes_anew(tmp_path: Path) -> None:
    pq.write_table(pa.table({"c": pa.array(["a", "b"] * 500).dictionary_encode()}), tmp_path / "c.parquet")
    part = Part(og.read(tmp_path / "c.parquet"), [0], 1000, 1 << 20)
    made: list[int] = []
    for _ in range(2):
        for batch in part.read(0, 1000, 250):
            batch.columns["c"].dictionary.derive("lengths", lambda values: made.append(len(values)))
    assert made == [2, 2]


def test_rows_of_one_class_in_a_group__leave_the_probe_with_what_four_places_said(tmp_path: Path) -> None:
    x = np.arange(40_000.0)
    pq.write_table(pa.table({"x": np.sin(x), "y": (x < 10_000).astype(np.int8)}), tmp_path / "sorted.parquet", row_group_size=10_000)
    learner = Then((og.OneHot(), og.LogisticRegression(max_rounds=3)))
    found = probe(Job(learner=learner, source=og.read(tmp_path / "sorted.parquet", target="y"), shard_rows=10_000, batch_rows=4096))
    assert isinstance(found, Probe)
    assert found.passes >= 2


@pytest.mark.slow
def test_the_machine__is_measured_once_for_each_kind_of_learner(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = calibrate.calibrated(job(source), tmp_path)
    costs = first.engines["processes"]
    assert 0.1 < costs.worker_seconds < 30
    assert 30 * MB < costs.worker_bytes < 2000 * MB
    assert 0 < costs.round_seconds < 0.5
    assert 0 <= costs.task_seconds < 0.5
    assert 0.2 <= costs.share <= 1
    monkeypatch.setattr(calibrate, "_measure", lambda: pytest.fail("measured twice"))
    assert calibrate.calibrated(job(source), tmp_path) == first
    kept = json.loads((tmp_path / "calibration.json").read_text())
    (tmp_path / "calibration.json").write_text(json.dumps({**kept, "key": "another machine"}))
    with pytest.raises(pytest.fail.Exception, match="measured twice"):
        calibrate.calibrated(job(source), tmp_path)


def test_a_shuffled_pass__says_what_picking_a_row_takes_and_what_decoding_it_takes(source: Any) -> None:
    learner = Then((og.Scale(), og.OneHot(), og.NeuralNetwork(hidden=(4,), epochs=2)))
    found = probe(Job(learner=learner, source=source, shard_rows=30_000, batch_rows=4096))
    assert isinstance(found, Probe)
    (item,) = [item for item in found.seen.values() if item.cover == "shuffled"]
    assert 0 < item.pick_row < 1e-4
    assert 0 < item.read_row < 1e-4
    assert all(other.pick_row == 0 for other in found.seen.values() if other is not item)


def test_picking__costs_more_a_row_where_fewer_come_from_each_segment(source: Any) -> None:
    few, many = (min(picking(source, count, None, rows=20_000_000, packed=True) for _ in range(2)) for count in (64, 4096))
    assert few > 2 * many > 0


def test_a_part__picks_rows_of_several_places_from_what_it_has_decoded(source: Any) -> None:
    part = Part(source, [30_000, 90_000], 5_000, 1 << 20)
    for _ in range(3):
        assert part.take(np.arange(0, 10_000, 2_500)).columns["at"].values.tolist() == [30_000, 32_500, 90_000, 92_500]
    assert part.given_rows == 12
    assert part.readings[None].rows == 35_000  # a row group, and the rows of the other one, once


def test_what_the_first_row_group_takes_to_load__is_no_part_of_reading(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "_WARM", set())
    whole, loaded = type(source.store)._quick, [False]

    def slow(self: Any, *arguments: Any) -> Any:
        if not loaded[0]:  # as where the kernels that decode pages are compiled
            began = time.thread_time()
            while time.thread_time() - began < 1.0:
                pass
        loaded[0] = True
        return whole(self, *arguments)

    monkeypatch.setattr(type(source.store), "_quick", slow)
    found = probe(job(source))
    assert isinstance(found, Probe)
    assert found.compile_seconds > 0.9
    assert all(item.read_row < 0.5 / 30_000 for item in found.seen.values())
    assert part.warm(source, 4096) == 0.0
