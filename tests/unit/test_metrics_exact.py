"""The exact AUC: scores in sorted runs on disk, ranges ranked one by one; scikit-learn's figure to the last digits, the same bits on every engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

import outgrow as og
from outgrow.cli.main import main
from outgrow.core.errors import BadField, BadFile, BadInput, Refused, StorageError
from outgrow.core.job import Job
from outgrow.core.learner import Learner
from outgrow.core.run import run
from outgrow.core.state import same
from outgrow.data.scores import ScoreRanges, ScoreSink, _runs, joined
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial
from outgrow.learn.metrics import Evaluate, Metrics, summary
from outgrow.learn.ranking import Rank, exact_auc


@dataclass(frozen=True)
class Told(Learner):
    """Predicts what its model says for each position."""

    kind: str = "probability"

    def predict(self, model: Any, batch: Any) -> dict[str, Any]:
        values, classes = model["values"][batch.positions], batch.schema.classes
        if len(classes) == 2:
            return {self.kind: values}
        return {f"{self.kind}_{name}": values[:, k] for k, name in enumerate(classes)}


def written(arrays: Any, fitted: Any, folder: Path, values: Any, y: Any, *, kind: str = "probability", weight: Any = None, rows: int = 50, most: int = 100) -> Any:
    """Ranges of at most `most` scores from runs of `rows`, and the state of the metrics."""
    classes = ("no", "yes") if np.ndim(values) == 1 else tuple("abcdefgh"[: values.shape[1]])
    source = arrays(np.zeros((len(y), 1)), y, classes=classes, weight=weight)
    state = fitted(Evaluate(Told(kind), ScoreSink(folder=str(folder), rows=rows, each=4)), source, start={"values": values}, batch_rows=30).model
    lanes = len(list(folder.glob("*.scores")))
    return ScoreRanges(folder=str(folder), lanes=lanes, classes=1 if len(classes) == 2 else len(classes), most=most), state, classes


def ranked(ranges: ScoreRanges, engine: Any = None) -> Any:
    return run(Job(learner=Rank(ranges.classes), source=ranges, shard_rows=1, batch_rows=1), engine or Serial()).arrays


def entries(ranges: ScoreRanges) -> Iterator[Any]:
    return (batch for batch in ranges.read(0, ranges.rows, 1))


def made(ties: str, n: int = 5000, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    y = (z + rng.logistic(size=n) > 0.5).astype(np.int32)
    chance = 1 / (1 + np.exp(-z))
    few = {"none": chance, "many": chance.round(2), "near": 0.5 + 1e-9 * chance, "one": np.full(n, 0.3), "three": np.digitize(z, [-0.3, 0.9]) / 4.0}
    return few[ties], y, rng.exponential(size=n) * (rng.random(n) > 0.1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", ["none", "many", "near", "one", "three"])
def test_two_classes__scikit_learns_figure__with_ties_and_weights(arrays: Any, fitted: Any, tmp_path: Path, ties: str, weighted: bool) -> None:
    chance, y, weight = made(ties)
    ranges, _, _ = written(arrays, fitted, tmp_path, chance, y, weight=weight if weighted else None)
    assert exact_auc(ranked(ranges)) == pytest.approx(roc_auc_score(y, chance, sample_weight=weight if weighted else None), abs=1e-12)


@pytest.mark.parametrize("ties", ["none", "many", "near", "one", "three"])
def test_ranges__are_in_order_and_none_is_larger_than_its_bound_whatever_the_ties(arrays: Any, fitted: Any, tmp_path: Path, ties: str) -> None:
    chance, y, _ = made(ties)
    ranges, _, _ = written(arrays, fitted, tmp_path, chance, y)
    runs = sum(1 for lane in range(ranges.lanes) for _ in _runs(ranges._foot(lane), 0))
    assert runs > 50  # more runs than a range of 100 has room for: then four stretches of each
    last, seen, weights = -np.inf, [], 0.0
    for batch in entries(ranges):
        assert batch.rows <= 4 * runs * 4
        if batch.rows:
            assert last < batch.entries["score"].min()  # equal scores are in one range
            last = batch.entries["score"].max()
        seen.append(batch.entries["score"])
        weights += batch.entries["negative"].sum() + batch.entries["positive"].sum()
    assert set(np.concatenate(seen)) == set(chance)
    assert weights == len(y)
    if ties == "one":
        assert ranges.rows <= 2
        assert sum(map(len, seen)) == runs  # a single value: one entry a run, however many rows
    if ties == "none":
        assert ranges.rows > 2


def test_scores_without_bounds__minus_zero_ties_with_zero(arrays: Any, fitted: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    score, y = rng.normal(size=3000) * 10.0 ** rng.integers(-300, 300, 3000), rng.integers(0, 2, 3000).astype(np.int32)
    score[:500], score[500:1000] = 0.0, -0.0
    ranges, _, _ = written(arrays, fitted, tmp_path, score, y, kind="score")
    assert exact_auc(ranked(ranges)) == pytest.approx(roc_auc_score(y, score), abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_more_classes__mean_of_each_against_the_rest__as_scikit_learn(arrays: Any, fitted: Any, tmp_path: Path, weighted: bool) -> None:
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.ones(4), 3000).round(2)
    chances[:, 0] = 1.0 - chances[:, 1:].sum(1)
    y = np.array([rng.choice(4, p=np.abs(p) / np.abs(p).sum()) for p in chances], np.int32)
    weight = rng.uniform(0, 2, len(y)) if weighted else None
    ranges, state, classes = written(arrays, fitted, tmp_path, chances, y, weight=weight, rows=200)
    assert {which for which, _, _ in ranges.cuts} == {0, 1, 2, 3}
    auc = exact_auc(ranked(ranges))
    assert auc == pytest.approx(roc_auc_score(y, chances, sample_weight=weight, multi_class="ovr"), abs=1e-12)
    found = summary(state, classes, auc)
    assert (found["auc"], found["auc_error"]) == (auc, 0.0)
    assert "precision" not in found


def test_a_class_without_rows__has_no_auc(arrays: Any, fitted: Any, tmp_path: Path) -> None:
    ranges, state, classes = written(arrays, fitted, tmp_path, np.linspace(0, 1, 100), np.zeros(100, np.int32))
    assert exact_auc(ranked(ranges)) is None
    assert summary(state, classes, None)["auc"] is None


def test_metrics_with_a_sink__are_those_without__bit_for_bit(arrays: Any, fitted: Any, tmp_path: Path) -> None:
    chance, y, weight = made("none")
    _, state, _ = written(arrays, fitted, tmp_path, chance, y, weight=weight)
    source = arrays(np.zeros((len(y), 1)), y, classes=("no", "yes"), weight=weight)
    assert same(state, fitted(Evaluate(Told()), source, start={"values": chance}, batch_rows=30).model)


def test_two_workers__the_same_bits(arrays: Any, fitted: Any, tmp_path: Path) -> None:
    chance, y, weight = made("none", 20_000)
    ranges, _, _ = written(arrays, fitted, tmp_path, chance, y, weight=weight, rows=5000, most=1 << 11)
    assert ranges.rows > 8
    assert same(ranked(ranges), ranked(ranges, Processes(2)))


def test_joined__adds_weights_of_equal_scores_and_takes_none() -> None:
    assert joined(*np.zeros((3, 0))).tolist() == []
    assert joined(np.array([0.0, -0.0]), np.ones(2), np.zeros(2)).tolist() == [(0.0, 2.0, 0.0)]


def test_a_file_that_was_cut_off_or_removed__is_named(arrays: Any, fitted: Any, tmp_path: Path) -> None:
    chance, y, _ = made("none", 700)
    ranges, _, _ = written(arrays, fitted, tmp_path, chance, y)
    file = next(tmp_path.glob("*.scores"))
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with pytest.raises(BadFile, match=r"lane-00000\.scores"):
        list(entries(ranges))
    with pytest.raises(BadFile, match=r"lane-00000\.scores"):
        ScoreRanges(folder=str(tmp_path), lanes=1, classes=1)
    file.unlink()
    with pytest.raises(StorageError, match=r"lane 0 are missing.*--scratch"):
        ScoreSink(folder=str(tmp_path)).commit(1)
    with pytest.raises(StorageError, match=r"does not see this folder.*--scratch"), ScoreSink(folder=str(tmp_path / "no")).part(0):
        pass


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    x, c, w = rng.normal(size=30_000), rng.integers(0, 5, 30_000), rng.integers(0, 3, 30_000)
    z = x + 0.3 * c + rng.logistic(size=30_000)
    columns = {"x": x.round(3), "c": [f"c{k}" for k in c], "w": w, "two": np.where(z > 1, "yes", "no"), "three": np.digitize(z, [0, 2]), "number": z}
    file = tmp_path_factory.mktemp("exact") / "rows.parquet"
    pq.write_table(pa.table(columns), file, row_group_size=5000)
    return file


def model_of(rows: Path, target: str, **named: Any) -> Any:
    drop = [name for name in ("two", "three", "number") if name != target]
    learner = og.LinearRegression() if target == "number" else og.LogisticRegression(max_rounds=4)
    return og.plan(learner, og.read(rows, target=target, weight="w", drop=drop, **named), features=[og.OneHot()], on="serial", probe=False).run().model


@pytest.mark.parametrize("target", ["two", "three"])
@pytest.mark.slow
def test_evaluate_exact__of_a_file__scikit_learns_figure_and_the_same_on_every_engine(rows: Path, tmp_path: Path, target: str) -> None:
    model, table = model_of(rows, target), pq.read_table(rows)
    plain, found = og.evaluate(model, rows), og.evaluate(model, rows, exact=True)
    predicted, truth, weight = model.predict(rows), table[target].to_numpy(), table["w"].to_numpy()
    chance = predicted["probability"] if target == "two" else np.stack([predicted[f"probability_{k}"] for k in range(3)], 1)
    assert found["auc"] == pytest.approx(roc_auc_score(truth, chance, sample_weight=weight, multi_class="ovr"), abs=1e-12)
    assert found["auc_error"] == 0.0
    if target == "two":
        assert abs(plain["auc"] - found["auc"]) <= plain["auc_error"] + 1e-12
    assert {name: value for name, value in found.items() if name[:3] != "auc"} == {name: value for name, value in plain.items() if name[:3] != "auc"}
    assert og.evaluate(model, rows, exact=True, on="processes:2", scratch=tmp_path, memory="8GB") == found
    assert not list(tmp_path.iterdir())


def test_a_prediction__is_asked_for_once_a_row(arrays: Any, fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    predict = Told.predict
    monkeypatch.setattr(Told, "predict", lambda self, model, batch: (asked.append(batch.rows), predict(self, model, batch))[1])
    written(arrays, fitted, tmp_path, np.linspace(0, 1, 1500), (np.arange(1500) % 2).astype(np.int32))
    assert sum(asked) == 1500


def test_evaluate_exact__of_a_number_or_where_nothing_can_be_written__says_so(rows: Path, tmp_path: Path) -> None:
    number, two = model_of(rows, "number"), model_of(rows, "two")
    with pytest.raises(BadField, match=r"exact: a number has no ROC curve"):
        og.evaluate(number, rows, exact=True)
    with pytest.raises(BadField, match=r"scratch: .* has no effect.*exact=True"):
        og.evaluate(two, rows, scratch=tmp_path)
    with pytest.raises(StorageError, match=r"nowhere: there is no such folder"):
        og.evaluate(two, rows, exact=True, scratch=tmp_path / "nowhere")
    with pytest.raises(StorageError, match=r"hdfs://nn/a: scores are written to local paths"):
        og.evaluate(two, rows, exact=True, scratch="hdfs://nn/a")
    with pytest.raises(Refused, match=r"hadoop: its workers write scores .*scratch="):
        og.evaluate(two, rows, exact=True, on="hadoop")
    with pytest.raises(BadInput, match="target"):
        og.evaluate(two, {"x": [1.0], "c": ["a"], "w": [1]}, exact=True)


def test_evaluate_exact__on_the_command_line(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of(rows, "two")
    model.save(tmp_path / "a.model")
    assert main(["evaluate", str(tmp_path / "a.model"), str(rows), "--exact", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(og.evaluate(model, rows, exact=True)))
    assert {"rows", "accuracy", "log_loss", "auc", "brier_score_loss", "expected_calibration_error", "calibration"} <= set(found)
    assert main(["evaluate", str(tmp_path / "a.model"), str(rows), "--exact"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = lines.index("calibration")
    assert lines[head + 1].split() == ["from", "to", "rows", "weight", "prob_pred", "prob_true"]
    assert len(lines) == head + 2 + len(found["calibration"])
    assert isinstance(Metrics(model.learner, "binary", 2).init({})["calibration"], np.ndarray)
