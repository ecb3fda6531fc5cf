"""SHAP values of trees: against their definition, over all subsets of columns."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.cli.main import main
from outgrow.core.errors import BadInput
from outgrow.core.state import under

COLUMNS = ("a", "b", "c", "k")


def made(target: str) -> tuple[og.Model, dict[str, Any]]:
    random = np.random.default_rng(2)
    x, k = random.normal(size=(600, 3)), random.integers(0, 4, 600)
    x[random.random(x.shape) < 0.1] = np.nan
    z = np.nan_to_num(x[:, 0] * x[:, 1] + x[:, 2]) + (k == 1)
    rows = {name: x[:, j] for j, name in enumerate("abc")} | {"k": [f"v{i}" for i in k]}
    y = {"number": z, "three": np.digitize(z, [-0.5, 0.8])}[target]
    source = og.read(rows | {"y": y}, target="y", task="number" if target == "number" else "classes")
    model = og.plan(og.GradientBoosting(trees=3, leaves=9, min_rows=5), source, on="serial", probe=False).run().model
    return model, {name: values[:7] for name, values in rows.items()}


def expected(trees: dict[str, Any], root: int, row: dict[int, bool], known: frozenset[int]) -> float:
    """The value of a tree for a row of which some columns are known. row: whether it goes left, by node."""

    def of(node: int) -> float:
        one = int(trees["child"][node])
        if not one:
            return float(trees["value"][node])
        if int(trees["column"][node]) in known:
            return of(one if row[node] else one + 1)
        count = [below(one), below(one + 1)]
        return (count[0] * of(one) + count[1] * of(one + 1)) / sum(count)

    def below(node: int) -> int:
        one = int(trees["child"][node])
        return below(one) + below(one + 1) if one else int(trees["node_rows"][node])

    return of(root)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["number", "three"])
def test_values__are_means_over_all_orders_of_columns(target: str) -> None:
    model, rows = made(target)
    found = og.explained(model).predict(rows)
    trees, outs = under("1", model.arrays), len(under("1", model.arrays)["base"])
    (batch,) = (batch for batch, _ in og.explained(model).batches(rows))
    codes = model.learner.stages[-1].codes(trees, model.learner.encode(model.arrays, batch)).reshape(7, -1)  # type: ignore[attr-defined]
    masks = np.unpackbits(trees["masks"].view(np.uint8), axis=1, bitorder="little")
    for i in range(7):
        left = {node: bool(masks[node, codes[i, trees["column"][node]]]) for node in range(len(trees["child"]))}
        for out in range(outs):
            ending = f"_{out}" if outs > 1 else ""
            roots = [int(root) for root in trees["roots"][out::outs]]

            def of(known: frozenset[int], left: dict[int, bool] = left, roots: list[int] = roots) -> float:
                return sum(expected(trees, root, left, known) for root in roots)

            for j, name in enumerate(COLUMNS):
                others = [other for other in range(4) if other != j]
                value = sum(
                    math.factorial(size) * math.factorial(3 - size) / 24 * (of(frozenset({*some, j})) - of(frozenset(some)))
                    for size in range(4)
                    for some in itertools.combinations(others, size)
                )
                assert found[f"{name}{ending}"][i].as_py() == pytest.approx(value, abs=1e-12)
            whole = sum(found[f"{name}{ending}"][i].as_py() for name in (*COLUMNS, "expected"))
            assert whole == pytest.approx(of(frozenset(range(4))) + float(trees["base"][out]), abs=1e-12)


def test_command_line__writes_a_column_for_each_column(tmp_path: Path) -> None:
    model, rows = made("number")
    model.save(tmp_path / "m.model")
    pq.write_table(pa.table({name: pa.array(values, from_pandas=True) for name, values in rows.items()}), tmp_path / "rows.parquet")
    assert main(["explain", str(tmp_path / "m.model"), str(tmp_path / "rows.parquet"), "--out", str(tmp_path / "why.parquet"), "--json"]) == 0
    found = pq.read_table(tmp_path / "why.parquet")
    assert found.column_names == [*COLUMNS, "expected"]
    whole = np.sum([found[name].to_numpy() for name in found.column_names], axis=0)
    assert np.allclose(whole, model.predict(rows)["prediction"].to_numpy(), rtol=1e-12)


def test_another_model__is_refused() -> None:
    rows = og.read({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]}, target="y", task="number")
    with pytest.raises(BadInput, match="something else than boosted trees"):
        og.explained(og.plan(og.LinearRegression(), rows, on="serial", probe=False).run().model)
