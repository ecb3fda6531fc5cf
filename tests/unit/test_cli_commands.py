"""The commands as a person uses them, in this process; bad input is refused with status 2 and nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as peer

import outgrow as og
from outgrow.cli.main import main
from outgrow.core.state import digest, encode, prefixed
from outgrow.plan import calibrate
from outgrow.plan.costs import ENGINES
from outgrow.plan.kept import RunFolder


def rows(n: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    town = np.array(["Bern", "Oslo", "Rome"])[rng.integers(0, 3, n)]
    x, z = rng.normal(size=n), rng.normal(size=n) * 100 + 5
    late = rng.logistic(size=n) < 1.5 * x + 2.0 * (town == "Rome") - 0.5
    return pa.table({"town": town, "x": x, "z": z, "late": late, "delay": 3 * x + z / 100 + rng.normal(size=n), "times": rng.integers(0, 3, n)})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    whole, more = rows(3000, 0), rows(800, 1)
    pq.write_table(whole, folder / "train.parquet", row_group_size=1000)
    pq.write_table(more, folder / "new.parquet")
    pc.write_csv(whole, folder / "train.csv")
    pc.write_csv(more, folder / "new.csv")
    (folder / "train.csv.gz").write_bytes(gzip.compress((folder / "train.csv").read_bytes()))
    return folder


@pytest.fixture(scope="module")
def late(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of late: not of what is known only with it."""
    path = tmp_path_factory.mktemp("models") / "late.model"
    source = og.read(data / "train.parquet", target="late", drop=["delay", "times"])
    og.plan("logistic-regression", source, root=path.parent, probe=False, on="serial").run(out=path)
    return path


@pytest.fixture
def probing() -> None:
    """For a test whose plans are probed as a person's are; the others save the half second."""


@pytest.fixture
def outgrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Any:
    """Runs a command in a folder of its own, with a home of its own; ``.json`` is what it printed."""
    if "probing" not in request.fixturenames:
        monkeypatch.setattr("outgrow.plan.place.probed", lambda made, where: made)
    monkeypatch.setenv("OUTGROW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    processes = replace(ENGINES["processes"], worker_seconds=0.7)
    costs = calibrate.Calibration(write_rate=1e9, engines={"processes": processes})
    monkeypatch.setattr("outgrow.plan.place.calibrated", lambda job, root: costs)

    def run(*arguments: object) -> Any:
        try:
            status = main([str(item) for item in arguments])
        except SystemExit as ended:
            status = ended.code  # type: ignore[assignment]
        captured = capsys.readouterr()
        found = SimpleNamespace(status=status, out=captured.out, err=captured.err)
        if "--json" in arguments and captured.out:
            (line,) = captured.out.splitlines()
            found.json = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        return found

    return run


def files(folder: Path) -> set[str]:
    """All that lies in a folder but the home."""
    return {str(item.relative_to(folder)) for item in folder.rglob("*") if "home" not in item.parts}


COLUMNS = ("--target", "late", "--drop", "delay", "--drop", "times")


def test_plan__says_what_was_found_what_is_done_and_why_and_writes_nothing(probing, outgrow, data, tmp_path):
    found = outgrow("plan", data / "train.parquet", *COLUMNS)
    assert found.status == 0
    for word in ("town", "3,000 rows", "LogisticRegression", "because", "peak memory"):
        assert word in found.out
    assert not files(tmp_path)
    as_data = outgrow("plan", data / "train.parquet", *COLUMNS, "--json").json
    assert as_data["learner"]["type"] == "Then"
    assert as_data["predicted"]["seconds"] > 0


def test_fit_evaluate_predict_inspect__from_parquet_to_scores(probing, outgrow, data, tmp_path):
    fitted = outgrow("fit", data / "train.parquet", *COLUMNS, "--on", "serial", "--out", "late.model", "--events", "events.jsonl")
    assert fitted.status == 0
    model = og.load(tmp_path / "late.model")
    assert f"digest     {model.digest}" in fitted.out
    assert "predicted" in fitted.out
    assert "learning from 3,000 rows on serial" in fitted.err
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("begin", "end")

    scores = outgrow("evaluate", "late.model", data / "new.parquet", "--json").json
    new = pq.read_table(data / "new.parquet")
    truth = new["late"].to_numpy(zero_copy_only=False)
    assert outgrow("predict", "late.model", data / "new.parquet", "--out", "scores.parquet").status == 0
    predicted = pq.read_table(tmp_path / "scores.parquet")
    chance = predicted["probability"].to_numpy()
    assert scores["rows"] == len(predicted) == 800
    assert scores["accuracy"] == pytest.approx(peer.accuracy_score(truth, predicted["prediction"].to_numpy(zero_copy_only=False)))
    assert scores["log_loss"] == pytest.approx(peer.log_loss(truth, chance))
    assert abs(scores["auc"] - peer.roc_auc_score(truth, chance)) <= scores["auc_error"]

    assert scores["baseline"]["log_loss"] == pytest.approx(peer.log_loss(truth, np.full(800, np.mean(truth))))
    assert scores["baseline"]["accuracy"] == pytest.approx(max(np.mean(truth), 1 - np.mean(truth)))

    shown = outgrow("evaluate", "late.model", data / "new.parquet")
    for name in ("accuracy", "log_loss", "brier_score_loss"):
        assert re.search(rf"^{name} +{scores[name]:.6g} +\(constant guess {scores['baseline'][name]:.6g}\)$", shown.out, re.MULTILINE)
    assert "constant guess: the class shares (for the accuracy the most frequent class) of the evaluated rows themselves" in shown.out
    assert "baseline" not in shown.out
    assert "scoring 800 rows" in shown.err
    whole = outgrow("inspect", "late.model", "--json").json
    assert whole["digest"] == model.digest
    assert {item["feature"] for item in whole["strongest"]} == {"x", "z", "town=Bern", "town=Oslo", "town=Rome"}
    text = outgrow("inspect", "late.model", "--top", 2).out
    assert text.split("strongest features\n")[1].split()[0] == "x"
    assert len(text.split("strongest features\n")[1].splitlines()) == 2
    assert files(tmp_path) == {"late.model", "events.jsonl", "scores.parquet"}


def test_fit__twice__same_digest_and_says_that_the_job_was_finished(outgrow, data, tmp_path):
    command = ("fit", data / "train.parquet", *COLUMNS, "--on", "serial")
    first = outgrow(*command, "--out", "a.model", "--json").json
    again = outgrow(*command, "--out", "b.model")
    assert "this job was finished before" in again.out
    assert first["digest"] in again.out
    assert (first["again"], outgrow(*command, "--out", "c.model", "--json").json["again"]) == (False, True)
    fresh = outgrow(*command, "--fresh", "--out", "d.model", "--json").json
    assert (fresh["again"], fresh["digest"]) == (False, first["digest"])
    assert {og.load(tmp_path / f"{name}.model").digest for name in "abcd"} == {first["digest"]}


def test_fit__rehearsal__learns_and_writes_nothing(outgrow, data, tmp_path):
    found = outgrow("fit", data / "train.parquet", *COLUMNS, "--on", "rehearsal", "--out", "a.model")
    assert found.status == 0
    assert "nothing was written" in found.out
    assert not files(tmp_path)


def test_inspect__rows_and_passes__apart(outgrow, data):
    done = outgrow("fit", data / "train.parquet", *COLUMNS, "--on", "serial", "--out", "a.model", "--json").json
    made = outgrow("inspect", "a.model", "--json").json["made"]
    assert made["passes"] == done["passes"] > 1
    assert made["rows"] == pq.read_metadata(data / "train.parquet").num_rows
    assert done["rows"] == made["rows"] * made["passes"]


@pytest.mark.parametrize(("sign", "said"), [(";", "';'"), ("\t", "tabs")])
def test_csv__with_another_delimiter__is_told_so(outgrow, tmp_path, sign, said):
    (tmp_path / "other.csv").write_text("".join(sign.join(line) + "\n" for line in ("ax", "12", "34")))
    found = outgrow("plan", "other.csv", "--target", "x")
    assert found.status == 2
    assert f"seem to stand between {said}" in found.err
    (tmp_path / "one.csv").write_text("a\n1\n2\n")
    assert "seem to stand" not in outgrow("plan", "one.csv", "--target", "x").err


def test_predict__out_of_an_unknown_extension__is_refused_and_a_folder_is_made(outgrow, data, late, tmp_path):
    wrong = outgrow("predict", late, data / "new.parquet", "--out", "scores.txt")
    assert (wrong.status, "allowed: .parquet, .csv, or a folder" in wrong.err) == (2, True)
    assert not (tmp_path / "scores.txt").exists()
    assert outgrow("predict", late, data / "new.parquet", "--out", "scores").status == 0
    assert (tmp_path / "scores").is_dir()


def test_plan__lanes_that_are_named__says_what_they_win_and_cost(probing, outgrow, tmp_path):
    pq.write_table(rows(20_000, 2), tmp_path / "lanes.parquet", row_group_size=2500)
    shards = ("plan", "lanes.parquet", *COLUMNS, "--learner", "online-linear")
    told = [item for item in outgrow(*shards, "--set", "lanes=4", "--on", "processes:2", "--json").json["reasons"] if "lane" in item["choice"]]
    assert len(told) == 1
    assert "as asked" in told[0]["why"]
    assert "log loss up by" in told[0]["why"] or "no more shards" in told[0]["why"]


def test_runs__listed_and_removed(outgrow, data):
    assert outgrow("runs").out.startswith("0 runs, 0 B")
    for l2 in (1, 2, 3):
        assert outgrow("fit", data / "train.parquet", *COLUMNS, "--on", "serial", "--set", f"l2={l2}", "--out", "a.model").status == 0
    found = outgrow("runs", "--json").json["runs"]
    assert [item["status"] for item in found] == ["done"] * 3
    text = outgrow("runs").out
    assert "LogisticRegression of late" in text
    assert found[0]["id"] in text
    removed = outgrow("runs", "--remove", found[0]["id"], "--json").json
    assert removed["removed"] == [found[0]["id"]]
    assert removed["bytes"] > 0
    assert len(outgrow("runs", "--json").json["runs"]) == 2
    assert "2 removed" in outgrow("runs", "--remove", "done").out
    assert outgrow("runs", "--remove", "all").status == 0
    unknown = outgrow("runs", "--remove", "../../etc")
    assert (unknown.status, "`outgrow runs` lists them" in unknown.err) == (2, True)


def test_runs__packed_rows__are_counted_and_removed_with_all(outgrow, data):
    assert outgrow("fit", data / "train.csv", *COLUMNS, "--on", "serial", "--out", "a.model").status == 0
    listed = outgrow("runs")
    packed = outgrow("runs", "--json").json["packed_bytes"]
    assert packed > 0
    assert "of packed rows" in listed.out
    assert "0 B of packed" not in listed.out
    assert outgrow("runs", "--remove", "done", "--json").json["packed_bytes"] == 0
    assert outgrow("runs", "--remove", "all", "--json").json["packed_bytes"] == packed
    assert outgrow("runs", "--json").json["packed_bytes"] == 0


def test_runs__a_refused_job__leaves_none_and_one_that_can_go_on_stays(outgrow, tmp_path):
    pq.write_table(pa.table({"x": [1.0, float("inf")] * 500, "late": [True, False] * 500}), tmp_path / "rows.parquet")
    refused = outgrow("fit", "rows.parquet", "--target", "late", "--learner", "logistic-regression", "--on", "serial", "--out", "a.model")
    assert refused.status == 2
    assert outgrow("runs", "--json").json["runs"] == []
    with RunFolder("kept") as store:
        (store.folder / "checkpoint").write_bytes(b"what was done")
        store.drop()
    assert [item["id"] for item in outgrow("runs", "--json").json["runs"]] == ["kept"]


def test_runs__resumed__runs_its_command_again_where_it_was_run(outgrow, data, tmp_path, monkeypatch):
    (tmp_path / "train.parquet").symlink_to(data / "train.parquet")
    command = ["fit", "train.parquet", *COLUMNS, "--on", "serial", "--out", "a.model"]
    with monkeypatch.context() as patch:  # stopped in its first round, where it had written nothing yet
        patch.setattr("outgrow.engines.serial.Serial.fold", interrupted)
        assert outgrow(*command, "--fresh").status == 130
    (found,) = outgrow("runs", "--json").json["runs"]
    assert (found["status"], found["command"]) == ("stopped", {"words": command, "folder": str(tmp_path)})  # to start over twice would undo what was done
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert "digest" in outgrow("runs", "--resume", found["id"]).out
    monkeypatch.chdir(tmp_path)
    assert og.load(tmp_path / "a.model").digest == outgrow(*command, "--json").json["digest"]
    assert outgrow("runs", "--json").json["runs"][0]["status"] == "done"


def interrupted(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_runs__resumed__what_cannot_be_is_refused(outgrow, data, tmp_path):
    unknown = outgrow("runs", "--resume", "../../etc")
    assert (unknown.status, "there is no run '../../etc'. `outgrow runs` lists them" in unknown.err) == (2, True)
    run = og.plan("linear-regression", og.read(data / "train.parquet", target="delay"), probe=False, on="serial").run()
    python = outgrow("runs", "--resume", run.record["job"])
    assert (python.status, "started from Python" in python.err) == (2, True)
    record = tmp_path / "home" / "runs" / run.record["job"] / "record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "command": {"words": ["fit"], "folder": str(tmp_path / "gone")}}))
    gone = outgrow("runs", "--resume", run.record["job"])
    assert (gone.status, "there is no such folder" in gone.err) == (2, True)


@pytest.mark.filterwarnings("default:column .* holds whole")
def test_whole_numbers_that_lose_digits__are_one_line_of_warning(outgrow, tmp_path):
    r = np.random.default_rng(0)
    pq.write_table(pa.table({"id": r.integers(2**60, 2**62, 200), "x": r.normal(size=200), "y": np.arange(200) % 2}), tmp_path / "ids.parquet")
    found = outgrow("plan", "ids.parquet", "--target", "y", "--on", "serial")
    assert found.status == 0
    assert re.search(r"^outgrow plan: column 'id' holds whole numbers beyond 2\*\*53 \(\d+\), .*kinds=\{'id': 'category'\}", found.err, re.MULTILINE)


def test_csv__end_to_end__the_scores_of_parquet(outgrow, data, tmp_path):
    for name in ("train.csv", "train.csv.gz"):
        assert outgrow("fit", data / name, *COLUMNS, "--on", "serial", "--out", f"{name}.model").status == 0
    assert og.load(tmp_path / "train.csv.model").digest == og.load(tmp_path / "train.csv.gz.model").digest
    figures = outgrow("evaluate", "train.csv.model", data / "new.csv", "--json").json
    assert figures["accuracy"] == outgrow("evaluate", "train.csv.model", data / "new.parquet", "--json").json["accuracy"]
    assert outgrow("predict", "train.csv.model", data / "new.csv", "--out", "scores.csv").status == 0
    assert pc.read_csv(tmp_path / "scores.csv").num_rows == 800


def test_number__regression_by_least_squares(outgrow, data):
    assert outgrow("fit", data / "train.parquet", "--target", "delay", "--drop", "late", "--on", "serial", "--out", "a.model").status == 0
    found = outgrow("evaluate", "a.model", data / "new.parquet", "--json").json
    assert found.keys() == {"rows", "rmse", "mae", "r2", "baseline"}
    assert found["baseline"] == {"rmse": pytest.approx(pq.read_table(data / "new.parquet")["delay"].to_numpy().std())}
    assert found["rmse"] == pytest.approx(1.0, abs=0.1)


def test_moments__are_shown_by_inspect_and_refuse_to_predict(outgrow, data, tmp_path):
    assert outgrow("fit", data / "train.parquet", "--learner", "moments", "--on", "serial", "--out", "a.model").status == 0
    shown = {item["column"]: item for item in outgrow("inspect", "a.model", "--json").json["columns"]}
    x = pq.read_table(data / "train.parquet")["x"].to_numpy()
    assert shown["x"]["mean"] == pytest.approx(x.mean())
    assert shown["x"]["deviation"] == pytest.approx(x.std())
    assert "deviation" in outgrow("inspect", "a.model").out
    found = outgrow("predict", "a.model", data / "new.parquet", "--out", "scores.csv")
    assert (found.status, "predict nothing" in found.err) == (2, True)
    assert files(tmp_path) == {"a.model"}


def test_inspect__hashed_features__by_name_where_the_rows_are_there(outgrow, data, tmp_path):
    (tmp_path / "rows.parquet").write_bytes((data / "train.parquet").read_bytes())
    assert outgrow("fit", "rows.parquet", *COLUMNS, "--learner", "online-linear", "--on", "serial", "--out", "a.model").status == 0
    assert "town=Rome" in outgrow("inspect", "a.model").out
    (tmp_path / "rows.parquet").unlink()
    without = outgrow("inspect", "a.model").out
    assert "town=Rome" not in without
    assert "--data FILE reads their names back" in without
    assert "town=Rome" in outgrow("inspect", "a.model", "--data", data / "train.parquet").out


def test_feature__named_ones_come_before_the_learner_and_are_set_like_it(outgrow, tmp_path):
    words = [f"{'rain' if i % 3 else 'gate'} x{i % 7}" for i in range(300)]
    pq.write_table(pa.table({"text": words, "town": [f"t{i % 20}" for i in range(300)], "wet": [i % 3 > 0 for i in range(300)]}), tmp_path / "news.parquet")
    chain = ("--learner", "online-linear", "--feature", "target-encode", "--feature", "tf-idf", "--set", "bits=12", "--set", "sublinear=yes", "--set", "smooth=2.5")
    done = outgrow("fit", "news.parquet", "--target", "wet", "--kind", "text=text", *chain, "--out", "wet.model", "--on", "serial", "--json")
    assert done.status == 0, done.err
    said = outgrow("inspect", "wet.model").out
    assert "TfIdf(bits=12, " in said
    assert "sublinear=True" in said
    assert "smooth=2.5" in said
    assert "text=rain" in said  # hashed words, read back by name
    assert outgrow("evaluate", "wet.model", "news.parquet", "--json").json["accuracy"] > 0.95
    wrong = outgrow("fit", "news.parquet", "--target", "wet", "--feature", "word2vec", "--out", "other.model")
    assert (wrong.status, "there is no feature 'word2vec'" in wrong.err) == (2, True)


def test_feature__that_does_not_encode__is_completed_and_the_plan_says_by_what(outgrow, tmp_path):
    rows = {"town": [f"t{i % 20}" for i in range(400)], "x": [None if i % 9 == 0 else i % 13 for i in range(400)], "wet": [i % 20 < 9 for i in range(400)]}
    pq.write_table(pa.table(rows), tmp_path / "towns.parquet")
    for name in ("target-encode", "robust-scale"):
        done = outgrow("fit", "towns.parquet", "--target", "wet", "--feature", name, "--on", "serial", "--out", f"{name}.model")
        assert done.status == 0, done.err
        assert "added to what was named" in done.err
        assert outgrow("evaluate", f"{name}.model", "towns.parquet", "--json").json["accuracy"] > 0.95


def test_start__goes_on_from_a_model(outgrow, data):
    command = ("fit", data / "train.parquet", *COLUMNS, "--on", "serial")
    first = outgrow(*command, "--out", "a.model", "--json").json
    further = outgrow(*command, "--start", "a.model", "--out", "b.model", "--json").json
    assert further["job"] != first["job"]
    assert further["passes"] < first["passes"]


def test_weight__counts_rows_and_need_not_be_there_to_predict(outgrow, data, tmp_path):
    assert outgrow("fit", data / "train.parquet", "--target", "late", "--weight", "times", "--drop", "delay", "--on", "serial", "--out", "a.model").status == 0
    new = pq.read_table(data / "new.parquet")
    weighed = outgrow("evaluate", "a.model", data / "new.parquet", "--json").json
    assert sum(sum(row.values()) for row in weighed["confusion"].values()) == new["times"].to_numpy().sum()
    pq.write_table(new.drop_columns(["times", "late"]), tmp_path / "bare.parquet")
    assert outgrow("predict", "a.model", "bare.parquet", "--out", "s.parquet").status == 0


@pytest.mark.slow
def test_processes__same_digest_and_scores_as_serial(outgrow, data):
    found = {
        on: outgrow("fit", data / "train.parquet", *COLUMNS, "--on", on, "--fresh", "--out", f"{i}.model", "--json").json["digest"]
        for i, on in enumerate(("serial", "processes:2"))
    }
    assert len(set(found.values())) == 1
    scores = [outgrow("evaluate", "0.model", data / "new.parquet", "--on", on, "--json").json for on in ("serial", "processes:2")]
    assert scores[0] == scores[1]


# ── what is refused


def refused(found: Any, *words: str) -> None:
    assert found.status == 2, found
    assert not found.out
    for word in words:
        assert word in found.err, found.err
    assert "Traceback" not in found.err


@pytest.mark.parametrize(("options", "words"), [
    (("--set", "l2"), ("--set", "'l2' has no '='")),
    (("--set", "l3=1"), ("--set l3=1", "l2")),
    (("--set", "l2=much"), ("'much' is no float", "1.0")),
    (("--set", "l2=-1"), ("l2", "0 or more")),
    (("--set", "intercept=perhaps"), ("'perhaps' is no bool",)),
    (("--set", "stages=1"), ("nothing here has a field 'stages'",)),
    (("--kind", "town"), ("--kind", "has no '='")),
    (("--kind", "town=city"), ("city", "number, category")),
    (("--kind", "village=text"), ("village", "no such column")),
    (("--drop", "village"), ("village", "no such column")),
    (("--memory", "1XB"), ("memory", "1XB", "1GB")),
    (("--time", "soon"), ("time", "soon")),
    (("--on", "dask"), ("dask", "processes:N")),
    (("--on", "processes:0"), ("processes:0",)),
    (("--learner", "forest"), ("forest", "k-means")),
    (("--learner", "linear-regression"), ("classes", "LogisticRegression")),
    (("--task", "three"), ("--task", "invalid choice")),
    (("--start", "nowhere.model"), ("nowhere.model", "cannot read")),
    (("--seed", "one"), ("--seed", "invalid int")),
])  # fmt: skip
def test_fit__options_that_cannot_be__are_named_with_what_can(outgrow, data, tmp_path, options, words):
    refused(outgrow("fit", data / "train.parquet", *COLUMNS, *options, "--out", "a.model"), *words)
    assert not files(tmp_path)


def test_fit__memory_that_cannot_do__is_refused_with_the_smallest_that_can(probing, outgrow, data, tmp_path):
    found = outgrow("fit", data / "train.parquet", *COLUMNS, "--memory", "1MB", "--out", "a.model")
    assert (found.status, found.out) == (2, "")
    # What this very process holds counts too, and that is a gigabyte late in a long run of tests.
    assert re.search(r"memory: 1\.0 MB are too few for this job; allowed: [\d.]+ [MG]B or more", found.err), found.err
    assert not files(tmp_path)


def test_json__an_error_is_an_object_on_standard_output(outgrow):
    found = outgrow("fit", "nowhere.parquet", "--target", "late", "--out", "a.model", "--json")
    assert found.status == 2
    assert found.json["error"] == "BadInput"
    assert "nowhere.parquet: there is no such file" in found.json["message"]
    assert found.json["message"] in found.err


@pytest.mark.parametrize("command", ["plan", "fit"])
def test_rows_that_cannot_be_learned_from__are_named(outgrow, data, tmp_path, command):
    out = ("--out", "a.model") if command == "fit" else ()
    table = rows(50, 2)
    refused(outgrow(command, "nowhere.parquet", "--target", "late", *out), "nowhere.parquet", "no such file")
    refused(outgrow(command, data / "train.parquet", "--target", "later", *out), "no column 'later'", "delay")
    (tmp_path / "empty.csv").write_text("")
    refused(outgrow(command, "empty.csv", "--target", "late", *out), "empty.csv")
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    refused(outgrow(command, "none.parquet", "--target", "late", *out), "none.parquet")
    (tmp_path / "cut.parquet").write_bytes((data / "train.parquet").read_bytes()[:-100])
    refused(outgrow(command, "cut.parquet", "--target", "late", *out), "cut.parquet")
    pq.write_table(table.set_column(3, "late", pa.array([True] * 50)), tmp_path / "one.parquet")
    refused(outgrow(command, "one.parquet", "--target", "late", *out), "every row is True", "Name another target")
    (tmp_path / "wide.csv").write_text("a,b\n1,2\n1,2,3\n")
    refused(outgrow(command, "wide.csv", "--target", "b", *out), "wide.csv")
    (tmp_path / "latin.csv").write_bytes("a,b\né,1\nx,0\n".encode("latin-1"))
    refused(outgrow(command, "latin.csv", "--target", "b", *out), "latin.csv", "UTF-8")
    assert files(tmp_path) == {"empty.csv", "none.parquet", "cut.parquet", "one.parquet", "wide.csv", "latin.csv"}


def test_fit__infinite_value_or_weight_below_zero__names_the_row(outgrow, tmp_path):
    table = rows(50, 2)
    x, times = table["x"].to_numpy().copy(), table["times"].to_numpy().copy()
    x[33], times[44] = np.inf, -1
    pq.write_table(table.set_column(1, "x", pa.array(x)), tmp_path / "inf.parquet")
    pq.write_table(table.set_column(5, "times", pa.array(times)), tmp_path / "below.parquet")
    found = outgrow("fit", "inf.parquet", *COLUMNS, "--on", "serial", "--out", "a.model")
    assert (found.status, "inf.parquet" in found.err, "33" in found.err, "'x'" in found.err) == (2, True, True, True), found.err
    found = outgrow("fit", "below.parquet", "--target", "late", "--weight", "times", "--on", "serial", "--out", "a.model")
    assert (found.status, "below.parquet" in found.err, "row 44" in found.err) == (2, True, True), found.err
    assert files(tmp_path) == {"inf.parquet", "below.parquet"}


def test_out__what_is_there__stays_where_the_command_fails(outgrow, data, late, tmp_path):
    (tmp_path / "a.model").write_text("mine")
    refused(outgrow("fit", data / "train.parquet", "--target", "nothing", "--out", "a.model"), "nothing")
    pq.write_table(rows(9, 3).drop_columns(["x"]), tmp_path / "less.parquet")
    (tmp_path / "scores.csv").write_text("mine")
    refused(outgrow("predict", late, "less.parquet", "--out", "scores.csv"), "'x' is missing")
    assert (tmp_path / "a.model").read_text() == (tmp_path / "scores.csv").read_text() == "mine"
    assert files(tmp_path) == {"a.model", "scores.csv", "less.parquet"}


@pytest.mark.parametrize("option", ["--out", "--events"])
def test_out__that_cannot_be_written__is_refused_before_any_work(outgrow, data, tmp_path, option, monkeypatch):
    monkeypatch.setattr("outgrow.cli.commands._plan", lambda options: pytest.fail("work was begun"))
    command = ("fit", data / "train.parquet", "--target", "late", *(("--out", "good.model") if option == "--events" else ()))
    (tmp_path / "folder").mkdir()
    for path, word in (("folder", "this is a folder"), ("no/where", "mkdir -p no"), (data / "train.parquet", "what the command reads")):
        refused(outgrow(*command, option, path), word, str(path))
    if os.geteuid():  # nothing is closed to root
        (tmp_path / "folder").chmod(0o500)
        refused(outgrow(*command, option, "folder/a"), "cannot be written")
    refused(outgrow(*command, option, "/proc/a.model"), "/proc/a.model: it cannot be written")
    assert files(tmp_path) == {"folder"}


def test_predict__out_that_cannot_be_written__is_refused(outgrow, data, late, tmp_path):
    (tmp_path / "new.parquet").write_bytes((data / "new.parquet").read_bytes())
    (tmp_path / "copy.model").write_bytes(late.read_bytes())
    before = (tmp_path / "new.parquet").read_bytes()
    for path, word in (("no/where.csv", "mkdir -p"), ("new.parquet", "what the command reads"), ("copy.model", "what the command reads"), ("/proc/a.csv", "/proc/a.csv")):
        refused(outgrow("predict", "copy.model", "new.parquet", "--out", path), word)
    assert (tmp_path / "new.parquet").read_bytes() == before
    assert files(tmp_path) == {"new.parquet", "copy.model"}


def test_predict__columns_that_are_missing_or_have_changed__are_named(outgrow, late, tmp_path):
    table = rows(20, 3)
    pq.write_table(table.drop_columns(["x"]), tmp_path / "less.parquet")
    pq.write_table(table.set_column(1, "x", pa.array([f"v{i}" for i in range(20)])), tmp_path / "drift.parquet")
    for command in ("predict", "evaluate"):
        out = ("--out", "s.csv") if command == "predict" else ()
        refused(outgrow(command, late, "less.parquet", *out), "less.parquet", "'x' is missing")
        refused(outgrow(command, late, "drift.parquet", *out), "drift.parquet", "'x'", "string")
    assert files(tmp_path) == {"less.parquet", "drift.parquet"}


def test_evaluate__target_that_is_missing_or_was_never_seen__is_named(outgrow, data, late, tmp_path):
    pq.write_table(rows(20, 3).drop_columns(["late"]), tmp_path / "bare.parquet")
    refused(outgrow("evaluate", late, "bare.parquet"), "bare.parquet", "'late' is not there", "outgrow predict")
    table = rows(300, 4)
    town = table["town"].to_pylist()
    pq.write_table(table, tmp_path / "towns.parquet")
    assert outgrow("fit", "towns.parquet", "--target", "town", "--on", "serial", "--out", "town.model").status == 0
    town[7] = "Paris"
    pq.write_table(table.set_column(0, "town", pa.array(town)), tmp_path / "paris.parquet")
    found = outgrow("evaluate", "town.model", "paris.parquet")
    assert found.status == 2
    for word in ("paris.parquet", "row 7", "'Paris'", "not there in training", "'Rome'"):
        assert word in found.err
    assert outgrow("predict", "town.model", "paris.parquet", "--out", "s.csv").status == 0


def test_evaluate__a_model_without_a_target__says_so(outgrow, data):
    assert outgrow("fit", data / "train.parquet", "--set", "clusters=2", "--on", "serial", "--out", "k.model").status == 0
    refused(outgrow("evaluate", "k.model", data / "new.parquet"), "without a target", "outgrow predict")


def test_hostile_model__is_refused_whatever_reads_it(outgrow, data, late, tmp_path):
    good = late.read_bytes()
    model = og.load(late)
    evil = {"learner": {"type": "os:system", "version": 1, "fields": {}}, "schema": "{}", "made": {}, "digest": digest(model.arrays)}
    texts = {
        "nothing": b"", "text": b"hello, this is no model at all", "cut": good[:-9], "longer": good + b"x", "flipped": good[:-1] + bytes([good[-1] ^ 1]),
        "huge": (1 << 62).to_bytes(8, "little") + good[8:], "format": good.replace(b'"outgrow":"1"', b'"outgrow":"9"'),
        "code": b"".join(bytes(part) for part in encode(prefixed("model", model.arrays), {"outgrow": "1", "header": json.dumps(evil)})),
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
        for command in (("inspect", name), ("evaluate", name, data / "new.parquet"), ("predict", name, data / "new.parquet", "--out", "s.csv")):
            refused(outgrow(*command), f"outgrow {command[0]}: {name}: ")
    refused(outgrow("inspect", "nowhere"), "nowhere", "outgrow fit")
    refused(outgrow("inspect", data / "train.parquet"), "train.parquet", "Is it a model of outgrow?")
    assert files(tmp_path) == set(texts)


def test_inspect__control_characters_in_a_model__are_shown_not_sent(outgrow, late, tmp_path):
    model = og.load(late)
    model.made["job"] = "\x1b[2J\x07"
    model.save(tmp_path / "a.model")
    found = outgrow("inspect", "a.model")
    assert "\x1b" not in found.out
    assert r"\x1b[2J\x07" in found.out


def test_inspect__top__below_zero_refused_and_zero_shows_none(outgrow, late):
    refused(outgrow("inspect", late, "--top", -1), "--top", "0 or more")
    assert "strongest" not in outgrow("inspect", late, "--top", 0).out


def test_check__names_that_are_no_learners__are_refused(outgrow, late):
    refused(outgrow("check", "forest"), "'forest'", "mypkg:MyLearner")
    refused(outgrow("check", "mypkg:"), "mypkg:MyLearner")
    refused(outgrow("check", late), "takes learners, not models")


def test_a_learner_of_ones_own__goes_through_every_command(outgrow, data, tmp_path):
    own = Path(__file__).parents[2] / "examples" / "nearest_centroid.py"
    place = f"{own}:NearestCentroid"
    fitted = outgrow("fit", data / "train.parquet", "--target", "late", "--drop", "town", "--drop", "delay", "--learner", place, "--on", "serial", "--out", "own.model", "--json")
    assert fitted.status == 0, fitted.err
    assert outgrow("evaluate", "own.model", data / "new.parquet", "--learner", place, "--json").json["accuracy"] > 0.5
    assert outgrow("predict", "own.model", data / "new.parquet", "--learner", place, "--out", "scores.parquet").status == 0
    assert outgrow("inspect", "own.model", "--learner", place, "--json").json["digest"] == fitted.json["digest"]
    refused = outgrow("evaluate", "own.model", data / "new.parquet")
    assert refused.status == 2
    assert "--learner mypkg:MyLearner" in refused.err
