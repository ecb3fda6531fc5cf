"""Plans of real files, carried out: one digest, records, refusals, and what is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.core.errors import BadInput, Refused
from outgrow.core.learner import Learner
from outgrow.plan import calibrate
from outgrow.plan.costs import ENGINES
from outgrow.plan.plan import Plan

MB = 1_000_000
ROOMY = "8GB"  # what this very process holds counts too, and that is over a gigabyte late in a long run of tests


def rows(n: int, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    x, z, c = random.normal(size=n), random.normal(size=n).astype(np.float32), random.integers(0, 12, n)
    y = (x - z + np.sin(c) + random.logistic(size=n) > 0).astype(np.int8)
    return pa.table({"x": x, "z": z, "c": pa.array([f"v{k}" for k in c]).dictionary_encode(), "y": y})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    pq.write_table(rows(40_000), folder / "rows.parquet", row_group_size=10_000)
    pc.write_csv(rows(40_000).set_column(2, "c", rows(40_000)["c"].cast(pa.string())), folder / "rows.csv")
    return folder


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs of engines as they might be, so that no test waits for their measurement."""
    costs = calibrate.Calibration(write_rate=1e9, engines={"processes": ENGINES["processes"]})
    monkeypatch.setattr("outgrow.plan.place.calibrated", lambda job, root: costs)


def planned(files: Path, root: Path, learner: Any = "online-linear", **options: Any) -> Plan:
    options.setdefault("features", [og.Hashing(bits=12)])
    source = og.read(files / "rows.parquet", target="y")
    made: Plan = og.plan(learner, source, root=root, shard_rows=10_000, batch_rows=2048, **options)
    return made


@pytest.mark.slow
def test_one_job__has_one_digest_wherever_and_within_whatever_it_runs(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path, og.OnlineLinear(lanes=2))
    digests = {made.run(on=on, memory=memory, fresh=True).digest for on, memory in (("serial", None), ("serial", ROOMY), ("processes:2", "10GB"))}
    assert len(digests) == 1
    assert len({planned(files, tmp_path, og.OnlineLinear(lanes=2), memory=memory, time="1h").job.id for memory in (None, ROOMY, "10GB")}) == 1  # type: ignore[union-attr]


def test_a_finished_job__writes_its_model_again_without_training(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path)
    first = made.run()
    again = planned(files, tmp_path).run(on="processes:2", out=tmp_path / "out.model")
    assert not first.again
    assert again.again
    assert again.digest == first.digest == og.load(tmp_path / "out.model").digest
    assert not made.run(fresh=True).again


def test_a_damaged_model_in_the_store__is_trained_again(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path)
    first = made.run()
    model = tmp_path / "runs" / made.job.id / "model"  # type: ignore[union-attr]
    model.write_bytes(model.read_bytes()[:-7])
    again = made.run()
    assert not again.again
    assert again.digest == first.digest


def test_the_record__has_predicted_beside_measured_and_is_kept(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path)
    record = made.run().record
    kept = json.loads((tmp_path / "runs" / record["job"] / "record.json").read_text())
    for found in (record, kept):
        assert found["predicted"]["peak_bytes"] > 0
        assert found["predicted"]["seconds"] > 0
        assert found["measured"]["peak_bytes"] > 0
        assert found["measured"]["seconds"] > 0
    assert record["predicted"]["peak_bytes"] == pytest.approx(record["measured"]["peak_bytes"], rel=0.3)


def test_a_budget_too_small__refuses_to_run_and_prints_the_smallest(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path, memory="20MB")
    assert made.refusal is not None
    with pytest.raises(Refused, match=r"[MG]B or more"):
        made.run()
    assert "refused" in str(made)
    assert not (tmp_path / "runs").exists()


def test_a_plan_within_a_budget__decodes_in_blocks_that_fit(files: Path, tmp_path: Path) -> None:
    small = planned(files, tmp_path)
    least = small.on("serial", memory=1)
    assert least.refusal is not None
    fitting = small.on("serial", memory=least.refusal.allowed.removesuffix(" or more").replace("GB", "GB"))
    assert fitting.refusal is None or fitting.limit == 1 << 20


def test_a_plan_for_one_engine__stays_there_when_only_memory_changes(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path, og.OnlineLinear(lanes=2), on="processes:2")
    assert str(made.on(memory=ROOMY).engine) == "processes:2"
    assert str(made.on("serial").engine) == "serial"


def test_a_rehearsal__reads_no_rows_and_gives_no_model(files: Path, tmp_path: Path) -> None:
    run = planned(files, tmp_path, on="rehearsal").run()
    assert run.model is None
    assert run.record["passes"][0]["lanes"] == 1
    assert not (tmp_path / "runs").exists()


def test_an_earlier_probe_of_the_same_job__is_used_again(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = planned(files, tmp_path)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("probed twice")

    monkeypatch.setattr("outgrow.plan.place.probe", never)
    second = planned(files, tmp_path)
    assert second.predicted.seconds == first.predicted.seconds
    assert second.predicted.probe_seconds == 0
    (tmp_path / "probes" / f"{first.job.id}.json").write_text('{"rows": 3}')  # type: ignore[union-attr]
    with pytest.raises(AssertionError, match="probed twice"):
        planned(files, tmp_path)


def test_the_explanation__fits_a_screen_and_its_json_is_plain(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path, None, features=None, memory=ROOMY, time="1h")
    text = str(made)
    assert len(text.splitlines()) <= 24
    assert all(len(line) <= 165 for line in text.splitlines())
    for said in ("40,000 rows", "LogisticRegression", "Scale → Missing → OneHot", "peak memory", "because"):
        assert said in text
    plain = json.loads(json.dumps(made.to_json()))
    assert plain["engine"] == {"name": "serial", "workers": 1}
    assert plain["job"]["id"] == made.job.id  # type: ignore[union-attr]


def test_without_a_probe__time_and_memory_are_unknown(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path, probe=False, on="serial", memory=ROOMY, time="1h")
    assert made.predicted.seconds is None
    assert "memory not promised" in str(made)
    assert "time not promised" in str(made)
    assert "time unknown" in str(made)
    assert made.run().digest


def test_a_format_without_random_access__is_packed_and_gives_the_model_of_parquet(files: Path, tmp_path: Path) -> None:
    csv: Plan = og.plan("online-linear", og.read(files / "rows.csv", target="y"), root=tmp_path, features=[og.Hashing(bits=12)])
    assert csv.job is None
    assert "about " in str(csv.found)
    assert "estimate" in str(csv)
    run = csv.run()
    assert run.record["packed"]
    assert run.record["rows"] == 40_000
    assert csv.run().again


@pytest.mark.slow
def test_packing_first__changes_nothing_of_the_model(files: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    made = planned(files, tmp_path, og.LogisticRegression(max_rounds=3))
    streamed = made.run(fresh=True)
    packed = replace(made, packed=True).run(fresh=True)
    assert packed.digest == streamed.digest
    assert packed.record["job"] == streamed.record["job"]
    assert any((tmp_path / "packed").iterdir())


def test_rows_in_memory__are_learned_from_without_a_store(tmp_path: Path) -> None:
    run = og.plan(None, og.read(rows(5_000), target="y"), root=tmp_path).run()
    assert run.record["job"] == ""
    assert run.model is not None
    assert len(run.model.predict(rows(10, 1))) == 10
    assert not (tmp_path / "runs").exists()


def test_a_model_to_start_from__is_part_of_the_job(files: Path, tmp_path: Path) -> None:
    first = planned(files, tmp_path)
    model = first.run().model
    second = planned(files, tmp_path, start=model)
    assert second.job.id != first.job.id  # type: ignore[union-attr]
    assert second.run().digest != model.digest  # type: ignore[union-attr]


@dataclass(frozen=True)
class Broken(Learner):
    """A learner that refuses all rows."""

    def begin(self, context: Any, start: Any = None) -> Any:
        raise BadInput("these rows are no good", todo="Bring others.")


def test_rows_the_probe_cannot_learn_from__leave_time_unknown_and_the_run_says_why(files: Path, tmp_path: Path) -> None:
    made = planned(files, tmp_path, Broken(), features=None)
    assert made.predicted.seconds is None
    assert "these rows are no good" in str(made)
    with pytest.raises(BadInput, match="these rows are no good"):
        made.run()


def test_the_package__stays_callable_after_its_modules_are_imported() -> None:
    import outgrow.plan.plan

    assert callable(og.plan)
    assert outgrow.plan.plan.plan is not None
