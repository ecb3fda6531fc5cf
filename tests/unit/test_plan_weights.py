"""Rows count in an evaluation as their weight says: scikit-learn's figures with `sample_weight`, whatever the model was fitted with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as peer

import outgrow as og
from outgrow.cli.main import main
from outgrow.core.errors import BadField, BadInput

ROWS = 2000


def made(seed: int) -> pa.Table:
    r = np.random.default_rng(seed)
    x, w, v = r.normal(size=ROWS), r.integers(0, 5, ROWS), r.uniform(0, 2, ROWS)
    return pa.table({"x": x, "w": w, "v": v, "late": x + 0.5 * w + r.logistic(size=ROWS) > 1})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("weights")
    pq.write_table(made(0), found / "train.parquet")
    pq.write_table(made(1), found / "holdout.parquet")
    return found


def fitted(folder: Path, **named: Any) -> Any:
    return og.plan(og.OnlineLinear(), og.read(folder / "train.parquet", target="late", **named), probe=False, on="serial").run().model


def agrees(found: dict[str, Any], model: Any, weight: str | None) -> None:
    """The figures are scikit-learn's for the model's predictions."""
    table = made(1)
    chance, truth = model.predict(table)["probability"].to_numpy(), table["late"].to_numpy()
    weights = None if weight is None else table[weight].to_numpy()
    assert found["log_loss"] == pytest.approx(peer.log_loss(truth, chance, sample_weight=weights), rel=1e-9)
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(truth, chance > 0.5, sample_weight=weights), rel=1e-12)
    assert found["brier_score_loss"] == pytest.approx(peer.brier_score_loss(truth, chance, sample_weight=weights), rel=1e-9)
    assert abs(found["auc"] - peer.roc_auc_score(truth, chance, sample_weight=weights)) <= found["auc_error"] + 1e-12


FITS: dict[str, dict[str, Any]] = {
    "without w and v": {"drop": ["w", "v"]},
    "w is an input": {"drop": ["v"]},
    "weighed by v, w is an input": {"weight": "v"},
    "weighed by v": {"weight": "v", "drop": ["w"]},
    "weighed by w": {"weight": "w", "drop": ["v"]},
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("fit", FITS)
def test_evaluate__a_weight_named_for_the_rows__is_scikit_learns_sample_weight(folder: Path, fit: str, exact: bool) -> None:
    model, rows = fitted(folder, **FITS[fit]), folder / "holdout.parquet"
    found = og.evaluate(model, og.read(rows, target="late", weight="w"), exact=exact)
    agrees(found, model, "w")
    assert og.evaluate(model, rows, weight="w", exact=exact) == found


def test_evaluate__no_weight_named__is_that_of_the_fit_where_it_is_there(folder: Path) -> None:
    rows = folder / "holdout.parquet"
    plain, weighed = fitted(folder, drop=["w", "v"]), fitted(folder, weight="w", drop=["v"])
    agrees(og.evaluate(plain, rows), plain, None)
    agrees(og.evaluate(weighed, rows), weighed, "w")
    agrees(og.evaluate(weighed, og.read(rows, target="late", drop=["v"])), weighed, "w")


def test_evaluate__weights_on_processes__the_same_figures(folder: Path) -> None:
    model, rows = fitted(folder, drop=["v"]), folder / "holdout.parquet"
    assert og.evaluate(model, rows, weight="w", on="processes:2") == og.evaluate(model, rows, weight="w")


def test_evaluate__a_number__weighs_its_errors(folder: Path) -> None:
    source = og.read(folder / "train.parquet", target="x", drop=["w", "v"])
    model = og.plan(og.LinearRegression(), source, probe=False, on="serial").run().model
    table = made(1)
    found, told, truth, weights = og.evaluate(model, table, weight="w"), model.predict(table)["prediction"].to_numpy(), table["x"].to_numpy(), table["w"].to_numpy()
    assert found["rmse"] ** 2 == pytest.approx(peer.mean_squared_error(truth, told, sample_weight=weights), rel=1e-9)
    assert found["r2"] == pytest.approx(peer.r2_score(truth, told, sample_weight=weights), rel=1e-9)


def test_evaluate__a_weight_that_cannot_be__is_named(folder: Path) -> None:
    model, rows = fitted(folder, drop=["v"]), folder / "holdout.parquet"
    with pytest.raises(BadInput, match="there is no column 'u' for the weight; allowed: x, w, v, late"):
        og.evaluate(model, rows, weight="u")
    with pytest.raises(BadInput, match="'late' cannot be target and weight at once"):
        og.evaluate(model, made(1).set_column(3, "late", [made(1)["late"].cast("int8")]), weight="late")
    with pytest.raises(BadField, match=r"weight: 'w' is named for a Source, which names its own. Name it where the rows are read"):
        og.evaluate(model, og.read(rows, target="late"), weight="w")
    bad = made(1).set_column(1, "w", pa.array(np.where(np.arange(ROWS) == 7, -1, 1)))
    with pytest.raises(BadInput, match="row 7: the weight is -1"):
        og.evaluate(model, bad, weight="w")


def test_evaluate__weight_on_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = fitted(folder, drop=["w", "v"])
    model.save(tmp_path / "a.model")
    assert main(["evaluate", str(tmp_path / "a.model"), str(folder / "holdout.parquet"), "--weight", "w", "--json"]) == 0
    agrees(json.loads(capsys.readouterr().out), model, "w")
    assert main(["evaluate", str(tmp_path / "a.model"), str(folder / "holdout.parquet"), "--weight", "u"]) == 2
    assert "there is no column 'u' for the weight" in capsys.readouterr().err
