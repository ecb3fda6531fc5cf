"""Summary: pandas' and numpy's answers for every column, from any cut of the rows; and what the command line shows of it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import outgrow as og
from outgrow.cli.main import main
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.core.state import unpack_strings
from outgrow.engines.serial import Serial


def frame(n=2200):
    rng = np.random.default_rng(n)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 9, n)),
            "town": [None if i == 3 else f"t{i}" for i in rng.integers(0, 30, n)],
            "count": rng.integers(0, 50, n),
            "when": pd.to_datetime(rng.integers(0, 10**9, n), unit="s").where(rng.random(n) > 0.2),
            "text": [f"one two three four {i}" for i in rng.integers(0, 2000, n)],
        }
    )


def fitted(learner, data, shard_rows=700, batch_rows=256, **options):
    source = og.read(data, **options)
    return run(Job(learner=learner, source=source, shard_rows=shard_rows, batch_rows=batch_rows), Serial()), source.schema


def tables(learner, data, **options):
    result, schema = fitted(learner, data, **options)
    return {name: {row["column"]: row for row in rows} if name != "frequent" else rows for name, rows in learner.tables(result.arrays, schema).items()}


def test_fit__few_rows__are_what_pandas_says():
    data = frame()
    found = tables(og.Summary(quantiles=(0.1, 0.5), top=4), data)
    for name in ("age", "count"):
        row, column = found["numbers"][name], data[name]
        assert (row["count"], row["missing"], row["distinct"]) == (column.count(), column.isna().sum(), column.nunique())
        np.testing.assert_allclose([row["mean"], row["deviation"]], [column.mean(), column.std(ddof=0)], rtol=1e-12)
        np.testing.assert_allclose([row[key] for key in ("min", "10%", "50%", "max")], column.quantile([0, 0.1, 0.5, 1]), rtol=1e-14)
    when = data["when"]
    row = found["numbers"]["when"]
    assert (row["min"], row["max"]) == tuple(one.isoformat() for one in (when.min(), when.max()))
    assert abs(pd.Timestamp(row["50%"]) - when.median()) <= pd.Timedelta("1s")
    assert row["deviation"].endswith(" days")
    for name in ("town", "text"):
        row, column = found["categories"][name], data[name]
        assert (row["count"], row["missing"], row["distinct"]) == (column.count(), column.isna().sum(), column.nunique())
    town = [(row["value"], row["count"]) for row in found["frequent"] if row["column"] == "town"]
    assert town == sorted(Counter(data["town"].dropna()).items(), key=lambda pair: (-pair[1], pair[0]))[:4]


def test_fit__many_values__says_by_how_much_it_may_be_off():
    data = frame(20_000)
    learner = og.Summary(error=0.02, top=3)
    found = tables(learner, data, shard_rows=3000, batch_rows=1024)
    row = found["numbers"]["age"]
    present = np.sort(data["age"].dropna())
    share = float(row["rank ±"].split()[0]) / 100
    assert 0 < share <= 0.02
    for name, wanted in (("25%", 0.25), ("50%", 0.5), ("75%", 0.75)):
        assert abs(np.searchsorted(present, row[name]) / len(present) - wanted) <= share
    assert (row["min"], row["max"]) == (present[0], present[-1])
    assert row["distinct ±"] == "0.81 %"
    assert found["numbers"]["count"]["distinct ±"] == "exact"
    assert found["categories"]["text"]["missing"] == 0
    true = Counter(data["text"]) + Counter(data["town"].dropna())
    for row in found["frequent"]:
        assert row["count"] <= true[row["value"]] <= row["at most"]


def test_fit__any_batches__same_quantiles_and_counts():
    data = frame()
    one, _ = fitted(og.Summary(error=0.1), data)
    other, _ = fitted(og.Summary(error=0.1), data, batch_rows=61)
    for name in ("quantiles", "count", "missing", "distinct", "min", "max"):
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name])


def test_fit__only_categories_or_only_numbers__are_described():
    assert set(tables(og.Summary(), {"town": ["a", "b", "a"]})) == {"categories", "frequent"}
    assert set(tables(og.Summary(top=0), {"town": ["a", "b", "a"]})) == {"categories"}
    assert set(tables(og.Summary(), {"x": [1.0, 2.0]})) == {"numbers"}


def test_fit__column_without_a_value__has_no_figures():
    row = tables(og.Summary(), {"x": [1.0, 2.0], "y": np.full(2, np.nan)})["numbers"]["y"]
    assert (row["count"], row["missing"], row["distinct"], row["mean"], row["50%"], row["max"]) == (0, 2, 0, None, None, None)


def test_fit__weights_sparse_columns_or_a_start__refused():
    import scipy.sparse

    with pytest.raises(og.BadInput, match=r"weighed by 'w'.*Moments"):
        fitted(og.Summary(), {"x": np.arange(5.0), "w": np.ones(5)}, weight="w")
    with pytest.raises(og.BadInput, match=r"'x' is sparse.*drop"):
        fitted(og.Summary(), scipy.sparse.random(20, 300, 0.1, format="csr", random_state=0))
    result, schema = fitted(og.Summary(), {"x": np.arange(5.0)})
    with pytest.raises(og.BadInput, match="earlier model"):
        og.Summary().begin(og.Context(schema=schema, rows=5, shard_rows=5, batch_rows=5), result.arrays)
    with pytest.raises(og.Refused, match=r"predicts nothing.*inspect"):
        og.Summary().predict(result.arrays, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"quantiles": (0.5, 1.1)}, "quantiles"), ({"quantiles": [0.5]}, "quantiles"), ({"top": -1}, "top"), ({"top": 600}, "top"), ({"error": 0.0}, "error")],
)
def test_fields__out_of_range__are_named(fields, said):
    with pytest.raises(og.BadField, match=said):
        og.Summary(**fields)


def test_fit__squares_that_overflow__name_the_column():
    with pytest.raises(og.BadInput, match="squares of column 'x' overflow"):
        fitted(og.Summary(), {"x": [1e200, -1e200, 3.0]})


def test_command_line__fit_and_inspect__show_the_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OUTGROW_HOME", str(tmp_path / "home"))
    data = frame()
    data.to_parquet(tmp_path / "rows.parquet")
    model = str(tmp_path / "s.model")
    assert main(["fit", str(tmp_path / "rows.parquet"), "--learner", "summary", "--set", "top=2", "--set", "quantiles=0.1,0.5", "--on", "serial", "--out", model]) == 0
    assert main(["inspect", model]) == 0
    shown = capsys.readouterr().out
    assert "10%" in shown
    most, times = min(Counter(data["town"].dropna()).items(), key=lambda pair: (-pair[1], pair[0]))
    assert ["town", most, str(times)] in [line.split()[:3] for line in shown.splitlines()]
    assert main(["inspect", model, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["column"] for row in told["numbers"]] == ["age", "count", "when"]
    assert told["frequent"][0]["column"] == "town"
    assert unpack_strings("columns", og.load(model).arrays) == list(data.columns)
