"""Scoring keeps a budget as fitting does, or says which one it would keep; a pipeline is priced with what its last stage sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.core.combine import Then
from outgrow.core.errors import Refused
from outgrow.core.learner import Context
from outgrow.plan.budget import parse_bytes
from outgrow.plan.score import evaluate, predict


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    random = np.random.default_rng(0)
    x = random.normal(size=30_000)
    c = pa.array([f"v{k}" for k in random.integers(0, 9, 30_000)])
    table = pa.table({"x": x, "c": c, "y": (x + random.logistic(size=30_000) > 0).astype(np.int8)})
    pq.write_table(table, folder / "rows.parquet", row_group_size=10_000)
    pc.write_csv(table, folder / "rows.csv")
    return folder


@pytest.fixture(scope="module")
def model(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    source = og.read(rows / "rows.parquet", target="y")
    return og.plan(og.LogisticRegression(max_rounds=3), source, features=[og.Hashing(bits=8)], on="serial", root=tmp_path_factory.mktemp("home"), probe=False).run().model


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_a_budget_too_small_to_evaluate_in__is_refused_and_the_one_named_is_kept(model: Any, rows: Path, name: str) -> None:
    with pytest.raises(Refused, match=r"memory: 9\.0 MB are too few .* [MG]B or more") as refused:
        evaluate(model, rows / name, memory="9MB")
    named = parse_bytes(refused.value.allowed.removesuffix(" or more").replace(" ", ""))
    assert named is not None
    assert "hash bits" not in str(refused.value)
    assert evaluate(model, rows / name, memory=int(1.1 * named)) == evaluate(model, rows / name)


def test_a_budget_too_small_to_predict_in__is_refused_and_nothing_is_written(model: Any, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="too few"):
        predict(model, rows / "rows.parquet", tmp_path / "scores.parquet", memory="9MB")
    assert not list(tmp_path.iterdir())
    found = predict(model, rows / "rows.parquet", tmp_path / "scores.parquet", memory="8GB")
    assert found["rows"] == pq.read_metadata(tmp_path / "scores.parquet").num_rows == 30_000
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def test_a_pipeline__is_priced_with_the_columns_after_its_features(rows: Path) -> None:
    context = Context(schema=og.read(rows / "rows.parquet", target="y").schema, rows=10**6, shard_rows=10**5, batch_rows=8192)
    small, large = (Then((og.Hashing(bits=bits), og.OnlineLinear())).price(context) for bits in (8, 16))
    assert large.state - small.state >= 4 * ((1 << 16) - (1 << 8))
    fitted = Then((og.Scale(), og.Hashing(bits=16), og.OnlineLinear())).price(context)  # what has to be fitted first is passed over
    assert fitted == large
