"""Columns as they are named: by nothing at all, and twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.cli.main import main
from outgrow.core.errors import BadInput
from outgrow.data.source import conform, read


def frame(name: str, rows: int = 600) -> pd.DataFrame:
    """Numbers under this name decide the answer, z does not; c is missing here and there."""
    r = np.random.default_rng(0)
    x = r.normal(size=rows)
    c = np.where(r.random(rows) < 0.1, None, np.array(["p", "q", "r"])[r.integers(0, 3, rows)])
    return pd.DataFrame({name: x, "z": r.normal(size=rows), "c": c, "y": x + 0.3 * r.normal(size=rows) > 0})


def written(table: pd.DataFrame, path: Path) -> Any:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        return table
    return path


def test_inputs__a_column_without_a_name_is_one_though_no_weight_and_no_target_are_named_by_nothing() -> None:
    schema = read({"": np.arange(4.0), "z": np.arange(4.0)}).schema
    assert schema.names() == ("", "z")
    assert schema.roles == ()
    assert read(frame(""), target="y", weight="z").schema.names() == ("", "c")


def test_read__of_other_columns__leaves_the_one_without_a_name_out() -> None:
    batch = next(read(frame(""), target="y").read(0, 10, 10, ["z"]))
    assert set(batch.columns) == {"z", "y"}


@pytest.mark.parametrize("name", ["memory", "a.csv", "a.parquet", "a.jsonl"])
def test_column_without_a_name__is_learned_as_the_same_column_with_one(tmp_path: Path, name: str) -> None:
    found = []
    for column in ("", "x"):
        source = read(written(frame(column), tmp_path / name), target="y", drop=["c"])
        model = og.plan(og.OnlineLinear(), source, probe=False, root=tmp_path / "runs").run().model
        found.append((model.digest, og.evaluate(model, source)))
    assert found[0] == found[1]
    assert found[0][1]["auc"] > 0.95


@pytest.mark.parametrize(
    ("learner", "features"),
    [
        (og.LogisticRegression(), None),
        (og.LogisticRegression(), ["missing", "one-hot"]),
        (og.NaiveBayes(), None),
        (og.BlockLinear(), None),
        (og.Segments(by="c", learner=og.OnlineLinear()), None),
        (og.Bagging(learner=og.Then((og.OneHot(), og.LogisticRegression())), parts=3, columns=0.5), []),
        (og.LogisticRegression(), [og.Stack((("a", og.Then((og.OneHot(), og.LogisticRegression()))),))]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, og.Learner) else str(bool(value)),
)
def test_column_without_a_name__every_way_of_reading_columns__predicts_as_with_one(learner: Any, features: Any) -> None:
    found = []
    for column in ("", "x"):
        source = read(frame(column), target="y")
        found.append(og.plan(learner, source, features=features, probe=False).run().model.predict(frame(column)))
    assert found[0].equals(found[1])


def test_column_without_a_name__missing_where_the_model_reads_it__is_an_error() -> None:
    model = read(frame(""), target="y").schema
    with pytest.raises(BadInput, match="the column '' is missing, and the model was trained with it"):
        conform(model, read({"z": np.arange(4.0), "c": ["p", "q", "r", "p"]}))


@pytest.mark.parametrize("role", ["target", "weight"])
def test_column_without_a_name__as_target_or_weight__is_refused(role: str) -> None:
    with pytest.raises(BadInput, match=f"a column without a name cannot be the {role}. Give it a name"):
        read(frame(""), **{"target": "y", role: ""})
    with pytest.raises(BadInput, match=f"there is no column '' for the {role}"):
        read(frame("x"), **{"target": "y", role: ""})


def test_column_without_a_name__on_the_command_line__can_be_given_a_kind_or_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(frame(""), tmp_path / "a.csv"))
    assert main(["plan", path, "--target", "y", "--kind", "=category"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == ["category", "z"]
    assert main(["plan", path, "--target", "y", "--drop", ""]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "z"


def twice(path: Path) -> Path:
    """A file whose columns are a, a and y."""
    table = pa.table([pa.array([1, 2, 3, 4]), pa.array([5, 6, 7, 8]), pa.array([0, 1, 0, 1])], names=["a", "a", "y"])
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    else:
        path.write_text("a,a,y\n1,5,0\n2,6,1\n3,7,0\n4,8,1\n" if path.suffix == ".csv" else '{"a":1,"a":5,"y":0}\n{"a":2,"a":6,"y":1}\n')
    return path


@pytest.mark.parametrize("name", ["dup.csv", "dup.jsonl", "dup.parquet", "dup.arrow"])
def test_a_name_that_is_there_twice__in_every_format__is_named_with_its_file(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(twice(tmp_path / name))
    assert main(["fit", path, "--target", "y", "--out", str(tmp_path / "a.model")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"outgrow fit: {name}: the column 'a' is there twice")
    assert said.endswith("Give each column its own name.\n")
    assert not (tmp_path / "a.model").exists()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
def test_a_name_that_is_there_twice__in_a_later_file__is_named_with_that_file(tmp_path: Path, suffix: str) -> None:
    first = pa.table({"a": [1, 2], "y": [0, 1]})
    if suffix == "arrow":
        with pa.ipc.new_file(tmp_path / "1.arrow", first.schema) as file:
            file.write_table(first)
    else:
        written(first.to_pandas(), tmp_path / f"1.{suffix}")
    twice(tmp_path / f"2.{suffix}")
    with pytest.raises(BadInput, match=rf"2\.{suffix}: the column 'a' is there twice"):
        read(tmp_path, target="y")


def test_a_name_that_is_there_twice__in_memory__is_named() -> None:
    with pytest.raises(BadInput, match="the column '1' is there twice"):
        read({1: np.arange(4.0), "1": np.ones(4), "y": np.arange(4)})
    with pytest.raises(BadInput, match="the column '1' is there twice"):
        read(pd.DataFrame({1: np.arange(4.0), "1": np.ones(4), "y": np.arange(4)}))
