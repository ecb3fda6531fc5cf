"""Trees of LightGBM and XGBoost read and written: kept files of both, round trips, and files that lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrow as og
from outgrow.cli.main import main
from outgrow.core.errors import BadFile, BadInput
from outgrow.learn.trees.interchange.xgboost import below

GOLDEN = Path(__file__).parent / "golden"
TOLD: dict[str, Any] = json.loads((GOLDEN / "predictions.json").read_text())
ROWS = {name: np.array(values, np.float64) if name != "k" else values for name, values in TOLD["rows"].items()}


def scores(model: og.Model, rows: Any) -> Any:
    found = model.predict(rows)
    names = [name for name in found.column_names if name.startswith("probability")] or ["prediction"]
    return np.squeeze(np.stack([found[name].to_numpy() for name in names], 1))


@pytest.fixture(scope="module")
def made() -> dict[str, og.Model]:
    """Models of numbers with missing values and a category, with a loss of each link."""
    random = np.random.default_rng(1)
    x, k = random.normal(size=(900, 3)), random.integers(0, 5, 900)
    x[random.random(x.shape) < 0.1] = np.nan
    z = np.nan_to_num(x[:, 0] * x[:, 1]) + 0.7 * (k == 2)
    rows = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2].astype(np.float32), "k": [f"v{i}" for i in k]}
    targets = {"two": (z > 0.1).astype(int), "three": np.digitize(z, [-0.3, 0.5]), "number": z, "count": random.poisson(np.exp(z / 2))}
    learner = og.GradientBoosting(trees=4, leaves=12, min_rows=5)
    return {
        name: og.plan(learner.replace(loss="poisson") if name == "count" else learner, source, on="serial", probe=False).run().model
        for name, y in targets.items()
        for source in [og.read(rows | {"y": y}, target="y", task="number" if name in ("number", "count") else "classes")]
    }


@pytest.mark.parametrize("name", sorted(set(TOLD) - {"rows"}))
def test_import__predicts_what_the_library_did(name: str) -> None:
    model = og.import_model(GOLDEN / name)
    assert np.allclose(scores(model, ROWS), TOLD[name], rtol=1e-12 if name.startswith("lightgbm") else 2e-6, atol=0 if name.startswith("lightgbm") else 1e-6)
    assert model.made["imported_file"] == name


@pytest.mark.slow
@pytest.mark.parametrize("to", ["lightgbm", "xgboost"])
def test_export__and_back__predicts_the_same(to: str, made: dict[str, og.Model], tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    new = {name: np.where(random.random(300) < 0.1, np.nan, random.normal(size=300)).astype(kind) for name, kind in (("a", "f4"), ("b", "f4"), ("c", "f4"))}
    rows = new | {"k": [f"v{i}" for i in random.integers(0, 7, 300)]}  # some were never seen
    for name, model in made.items():
        told = og.export(model, tmp_path / "there", to)
        back = og.import_model(tmp_path / "there", target="y")
        assert told["columns"] == ["a", "b", "c", "k"]
        if to == "lightgbm":
            assert (scores(back, rows) == scores(model, rows)).all(), name
        else:
            assert np.allclose(scores(back, rows), scores(model, rows), rtol=2e-6, atol=1e-6), name
        back.save(tmp_path / "back.model")
        assert og.load(tmp_path / "back.model").digest == back.digest


@pytest.mark.slow
def test_export__onnx__scores_the_same(made: dict[str, og.Model], tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="whoever changes what is written installs onnx and onnxruntime")
    random = np.random.default_rng(4)
    rows = {name: np.where(random.random(200) < 0.1, np.nan, random.normal(size=200).astype(np.float32)) for name in "abc"}
    names = [f"v{i}" for i in random.integers(0, 5, 200)]
    for name, model in made.items():
        told = og.export(model, tmp_path / "m.onnx", "onnx")
        session = runtime.InferenceSession(tmp_path / "m.onnx")
        x = np.column_stack([*rows.values(), [told["categories"]["k"].index(value) for value in names]])
        assert np.allclose(np.squeeze(session.run(None, {session.get_inputs()[0].name: x})[0]), scores(model, rows | {"k": names}), rtol=1e-12), name


def test_below__is_where_float32_changes_sides() -> None:
    random = np.random.default_rng(3)
    thresholds = np.concatenate([random.normal(size=500), [0.0, -0.0, 1.0, -1.0, 1e-45, 3.4e38]]).astype(np.float32).astype(np.float64)
    edges = below(thresholds)
    assert (edges.astype(np.float32) < thresholds.astype(np.float32)).all()
    assert (np.nextafter(edges, np.inf).astype(np.float32) >= thresholds.astype(np.float32)).all()


LIES = {
    "objective=binary sigmoid:1": ("objective=mine", "objective is 'mine'"),
    "is_linear=0": ("is_linear=1", "it is linear"),
    "end of trees": ("", "ends before its trees do"),
    "num_leaves=6": ("num_leaves=999999999", "num_leaves is '999999999'"),
    "version=v4": ("version=v9", "version 'v9'"),
    "left_child=": ("left_child=0 0 0 0 0\nx=", "no tree"),
    "threshold=": ("threshold=nan nan nan nan nan\nx=", "threshold"),
    "cat_boundaries=0 1": ("cat_boundaries=0 99", "do not fit together"),
    "split_feature=": ("split_feature=77 77 77 77 77\nx=", "column 77"),
    "leaf_value=": ("leaf_value=inf inf inf inf inf inf\nx=", "not finite"),
}


@pytest.mark.parametrize("there", LIES)
def test_import__a_lightgbm_text_that_lies__is_refused_by_place(there: str, tmp_path: Path) -> None:
    text, (lie, said) = (GOLDEN / f"lightgbm-{'three' if there.startswith('cat') else 'two'}.txt").read_text(), LIES[there]
    assert there in text
    (tmp_path / "lie.txt").write_text(text.replace(there, lie))
    with pytest.raises(BadFile, match=said) as error:
        og.import_model(tmp_path / "lie.txt")
    assert "lie.txt" in error.value.where
    assert error.value.todo


def test_import__an_xgboost_json_that_lies__is_refused(tmp_path: Path) -> None:
    text = (GOLDEN / "xgboost-number.json").read_text()
    whole = json.loads(text)
    file = tmp_path / "lie.json"
    for path, lie, said in (
        (("objective", "name"), "rank:mine", "objective is 'rank:mine'"),
        (("gradient_booster", "name"), "dart", "booster is 'dart'"),
        (("learner_model_param", "num_feature"), "12345678901", "do not fit num_feature"),
        (("gradient_booster", "model", "trees", 0, "left_children"), [0] * 11, "no tree|no list|not those|one child"),
        (("gradient_booster", "model", "trees", 0, "categories_sizes"), [1 << 60], "do not fit together|not those"),
        (("learner_model_param", "base_score"), "NaN", "base_score"),
    ):
        changed = json.loads(text)
        place = changed["learner"]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = lie
        file.write_text(json.dumps(changed))
        with pytest.raises(BadFile, match=said):
            og.import_model(file)
    for cut in (text[:200], json.dumps({"learner": {}}), json.dumps({"learner": whole["learner"] | {"objective": 7}})):
        file.write_text(cut)
        with pytest.raises(BadFile, match=r"cut short|not laid out"):
            og.import_model(file)
    file.write_bytes(b"\x00\xff\xfe{L")
    with pytest.raises(BadFile, match="no text"):
        og.import_model(file)
    with pytest.raises(BadInput, match="cannot read it"):
        og.import_model(tmp_path / "none")


def test_command_line__import_then_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(GOLDEN / "lightgbm-two.txt"), "--out", str(tmp_path / "m.model"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["imported_from"] == "LightGBM"
    assert main(["export", str(tmp_path / "m.model"), str(tmp_path / "m.json"), "--to", "xgboost", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trees"] == 3
    assert np.allclose(scores(og.import_model(tmp_path / "m.json"), ROWS), TOLD["lightgbm-two.txt"], atol=1e-6)


def test_export__another_model__is_refused(tmp_path: Path) -> None:
    rows = og.read({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]}, target="y", task="number")
    with pytest.raises(BadInput, match="LinearRegression"):
        og.export(og.plan(og.LinearRegression(), rows, on="serial", probe=False).run().model, tmp_path / "x", "lightgbm")
    assert not (tmp_path / "x").exists()
