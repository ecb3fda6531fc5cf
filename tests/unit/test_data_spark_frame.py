"""Spark DataFrames as sources: bare scans in place, everything else as a snapshot in the order of a key."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.data import spark_frame
from outgrow.engines import spark_session

ROWS = 50


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    context = spark_session.make("local[2]", tasks=0, environment="", options={"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "3"})
    context.setLogLevel("OFF")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyspark.sql import SparkSession

        yield SparkSession(context)
    spark_session.unmake(context)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files; the key runs against the order of the rows."""
    made = tmp_path / "some rows"
    made.mkdir()
    for part in range(3):
        at = np.arange(part * ROWS, (part + 1) * ROWS)
        pq.write_table(pa.table({"id": 1000 - at, "x": at * 0.5, "z": at % 7, "y": at * 1.5 + 1}), made / f"{part}.parquet")
    return made


def rows(source: Any) -> list[tuple[float, ...]]:
    (batch,) = source.read(0, source.rows, source.rows)
    names = [item.name for item in source.schema.fields]
    return list(zip(*(batch.columns[name].values.tolist() for name in names), strict=True))


@pytest.mark.slow
def test_a_bare_scan__is_read_in_place(spark: Any, folder: Path) -> None:
    frame = spark.read.parquet(str(folder))
    source = og.read(frame, target="y")
    assert source.content == og.read(folder, target="y").content
    assert [item.name for item in source.schema.fields] == ["id", "x", "z", "y"]


@pytest.mark.slow
def test_a_scan_of_some_columns__is_read_in_place_without_the_others(spark: Any, folder: Path) -> None:
    source = og.read(spark.read.parquet(str(folder)).select("y", "x"), target="y")
    assert [item.name for item in source.schema.fields] == ["x", "y"]
    assert source.rows == 3 * ROWS


@pytest.mark.slow
@pytest.mark.parametrize("change", ["filtered", "computed", "some files"])
def test_more_than_a_scan__needs_a_key_and_a_folder(spark: Any, folder: Path, change: str) -> None:
    frame = spark.read.parquet(str(folder))
    if change == "filtered":
        frame = frame.where("x > 3")
    elif change == "computed":
        frame = frame.selectExpr("id", "x * 2 AS x", "y")
    else:
        frame = spark.read.option("pathGlobFilter", "[01].parquet").parquet(str(folder))
    with pytest.raises(BadInput, match=r"key=.*folder="):
        og.read(frame, target="y")


@pytest.mark.slow
def test_a_snapshot__has_the_rows_in_the_order_of_the_key__in_the_same_files_however_spark_cut_them(
    spark: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_frame, "_FILE_ROWS", 40)
    frame = spark.read.parquet(str(folder)).where("x >= 5").select("id", "x", "y")
    expected = sorted((1000.0 - at, at * 0.5, at * 1.5 + 1) for at in range(10, 3 * ROWS))
    found = []
    for number, cut in enumerate((frame, frame.repartition(5))):
        source = og.read(cut, target="y", key="id", folder=tmp_path / f"snapshot {number}")
        assert rows(source) == expected
        found.append([(info.name, info.rows) for info in source.files])
    assert found[0] == found[1] == [(f"part-{i:05d}.parquet", min(40, 140 - 40 * i)) for i in range(4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshot 0", "snapshot 1", "some rows"]


@pytest.mark.slow
def test_a_snapshot__is_written_once__and_another_frame_is_refused_its_folder(spark: Any, folder: Path, tmp_path: Path) -> None:
    frame = spark.read.parquet(str(folder)).where("x >= 5")
    first = og.read(frame, target="y", key="id", folder=tmp_path / "kept")
    again = og.read(frame, target="y", key="id", folder=tmp_path / "kept")
    assert again.content == first.content
    with pytest.raises(BadInput, match="no snapshot of this frame"):
        og.read(frame.where("z < 3"), target="y", key="id", folder=tmp_path / "kept")


@pytest.mark.slow
def test_a_key__that_is_not_unique_null_or_absent__is_refused(spark: Any, folder: Path, tmp_path: Path) -> None:
    frame = spark.read.parquet(str(folder)).where("x >= 0")
    where = {"target": "y", "folder": tmp_path / "never"}
    with pytest.raises(BadInput, match=r"z: 2[12] rows share the key z="):
        og.read(frame, key="z", **where)
    with pytest.raises(BadInput, match="no value in the key"):
        og.read(frame.selectExpr("nullif(id, 990) AS id", "x", "y"), key="id", **where)
    with pytest.raises(BadField, match=r"no column 'w'.*id, x, z, y"):
        og.read(frame, key=["id", "w"], **where)
    assert not (tmp_path / "never").exists()


def test_a_key_for_files__is_refused(folder: Path) -> None:
    with pytest.raises(BadField, match="only Spark DataFrames"):
        og.read(folder, target="y", key="id")


def test_a_frame_of_spark_connect__is_refused() -> None:
    frame = type("DataFrame", (), {"__module__": "pyspark.sql.connect.dataframe", "inputFiles": None})()
    with pytest.raises(Refused, match="Spark Connect"):
        og.read(frame)


def test_addresses__of_hadoop_become_those_of_pyarrow() -> None:
    assert [spark_frame._address(path) for path in ("file:/a b", "file:///a", "/a", "hdfs://nn/a", "s3a://bucket/a")] == ["/a b", "/a", "/a", "hdfs://nn/a", "s3://bucket/a"]
