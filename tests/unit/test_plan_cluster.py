"""What the plan says of a cluster: its costs a round, and that one machine is enough where it is."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import outgrow as og
from outgrow.core.errors import Refused, WorkerLost
from outgrow.core.fold import Node
from outgrow.plan import place
from outgrow.plan.costs import ENGINES, Costs
from outgrow.plan.hadoop_costs import hadoop_costs


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(1)
    pq.write_table(pa.table({"a": rng.normal(size=3000), "b": rng.normal(size=3000), "y": rng.integers(0, 2, 3000)}), tmp_path / "r.parquet")
    return og.read(str(tmp_path / "r.parquet"), target="y")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTGROW_HOME", str(tmp_path / "home"))


def words(made: Any) -> str:
    """What the plan says, in one line."""
    return " ".join(str(made).split())


def test_plan__on_hadoop__prices_a_job_a_round_and_says_that_one_machine_is_enough(rows: Any) -> None:
    made = og.plan(og.OnlineLinear(passes=2), rows, on="hadoop:2")
    assert str(made.engine) == "hadoop:2"
    assert made.predicted.seconds is not None
    assert 20 < made.predicted.seconds < 40
    text = words(made)
    assert re.search(r"one machine is enough: serial would take about \S+ m?s, \d+ times less", text)
    assert "10 s a round" in text
    assert made.refusal is not None, "there is no cluster here"
    assert "many rounds" not in text


def test_plan__on_hadoop__names_spark_for_many_rounds(rows: Any) -> None:
    text = str(og.plan(og.KMeans(clusters=3), rows, on="hadoop:2"))
    assert "many rounds" in text
    assert "--on yarn" in text


def test_plan__on_hadoop_without_a_number__asks_the_cluster(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cluster:
        workers = 0

        def can(self, job: Any) -> Refused | None:
            self.workers = 7
            return Refused("nobody is there") if refuses else None

    def tried(engine: Any, root: Any) -> Costs | Refused:
        return Refused("it is busy") if busy else replace(ENGINES["hadoop"], round_seconds=100.0 * engine.workers)

    monkeypatch.setattr(place, "make_engine", lambda where: Cluster())
    monkeypatch.setattr(place, "hadoop_costs", tried)
    refuses, busy = False, False
    made = og.plan(og.OnlineLinear(), rows, on="hadoop")
    assert (str(made.engine), made.refusal) == ("hadoop:7", None)
    assert made.predicted.seconds is not None
    assert made.predicted.seconds > 700, "the cluster's own costs count"
    busy = True
    assert "this one could not be tried: it is busy." in words(og.plan(og.OnlineLinear(), rows, on="hadoop"))
    refuses = True
    with pytest.raises(Refused, match="nobody is there"):
        og.plan(og.OnlineLinear(), rows, on="hadoop").run()


def test_plan__on_spark__says_how_much_faster_one_machine_is__or_the_cluster(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "spark_costs", lambda on, root: (costs, 2))
    costs = ENGINES["spark"]
    made = og.plan(og.OnlineLinear(), rows, on="spark://host:7077")
    assert re.search(r"one machine is enough: serial would take about \S+ m?s, \S+ times less", words(made))
    costs = Costs(slots=2)  # as if it cost nothing, and twice as fast
    made = og.plan(og.KMeans(clusters=3), rows, on="spark://host:7077", shard_rows=500)
    assert "one machine is enough" not in str(made)
    assert re.search(r"faster than one machine: serial would take about \S+ m?s, \S+ times as long", words(made))


class Trial:
    """An engine whose rounds take as long as they are told, and which counts how often it was started."""

    queue, workers, yarn = "", 2, SimpleNamespace(address="http://rm:8088")

    def __init__(self, fails: str = "") -> None:
        self.started, self.fails = 0, fails

    def can(self, job: Any) -> None:
        return None

    def start(self, job: Any, events: Any, folder: Any) -> None:
        self.started += 1

    def fold(self, passes: Any, blocks: Any, observer: Any) -> Any:
        if self.fails:
            raise WorkerLost(self.fails)
        time.sleep(0.2)
        return (Node(block.which, block.level, block.index, {"sum": np.ones(1)}) for block in blocks)

    def stop(self) -> None:
        return


def test_hadoop_costs__are_tried_once_a_cluster__and_its_error_is_given_back(tmp_path: Path) -> None:
    engine = Trial()
    found = hadoop_costs(engine, tmp_path)
    assert isinstance(found, Costs)
    assert 0.2 <= found.round_seconds < 20
    assert hadoop_costs(engine, tmp_path) == found
    assert engine.started == 1
    engine.queue = "other"
    hadoop_costs(engine, tmp_path)
    assert engine.started == 2
    failed = hadoop_costs(Trial("the application was killed"), tmp_path / "elsewhere")
    assert "the application was killed" in str(failed)
    assert not (tmp_path / "elsewhere").exists()
