"""A real HDFS as source and sink: the same rows as from a local disk, files seen whole or not at all, refusals within seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import learners
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from field.hadoop import Hadoop

pytestmark = [pytest.mark.field, pytest.mark.slow]
SUPPORT = Path(learners.__file__).parent


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learners.write(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def inside(hadoop_cluster: Hadoop, local: Path) -> Iterator[Any]:
    """Runs Python in the cluster's network, with `og`, `base` (a folder on HDFS with ``rows/rows.parquet``), `local` and `refused(call)`; gives its lines."""
    hadoop_cluster.say(["hadoop", "fs", "-mkdir", "-p", "/hdfs/rows"])
    hadoop_cluster.say(["hadoop", "fs", "-put", "-f", str(local), "/hdfs/rows/rows.parquet"])
    head = f"""
import sys, time
import outgrow as og
base, local = {hadoop_cluster.hdfs + "/hdfs"!r}, {str(local)!r}
def refused(call):
    began = time.monotonic()
    try:
        call()
    except og.OutgrowError as error:
        print(f"{{type(error).__name__}} {{error}}")
        assert time.monotonic() - began < 15
    else:
        print("nothing was refused")
"""

    def go(source: str, **changes: str) -> list[str]:
        env = {**hadoop_cluster.env, "PYTHONPATH": str(SUPPORT), **changes}
        command = hadoop_cluster.inside([sys.executable, "-c", head + source])
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    yield go
    hadoop_cluster.say(["hadoop", "fs", "-rm", "-r", "-skipTrash", "/hdfs"])


def test_rows_on_hdfs__are_those_of_the_local_file__however_they_are_named(inside: Any) -> None:
    lines = inside("""
import numpy as np
def rows(what):
    source = og.read(what)
    found = [np.concatenate([np.asarray(b.columns["b"].values) for b in source.read(a, z, 97)]) for a, z in ((0, 1800), (499, 501), (1234, 1800))]
    picked = source.take([1700, 3, 1200]).columns["b"].values
    return [list(part) for part in (*found, picked)], source.store.bounds("two")
want = rows(local)
for what in (base + "/rows", base + "/rows/", base + "/rows/*.parquet", base + "/rows/rows.parquet", "hdfs:///hdfs/rows"):
    print(rows(what) == want)
source = og.read(base + "/rows")
source.check()
print(len(source.files[0].stamp) > 10, source.content != og.read(local).content)
""")
    assert lines == ["True"] * 5 + ["True True"]


def test_large_row_groups_and_csv__on_hdfs__read_as_they_do_here(inside: Any, hadoop_cluster: Hadoop, tmp_path: Path) -> None:
    """Row groups large enough that their pages are decoded directly."""
    rng = np.random.default_rng(2)
    table = pa.table({"x": rng.normal(size=40_000), "c": pa.array([None if v % 13 == 0 else f"c{v % 7}" for v in range(40_000)])})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=20_000)
    hadoop_cluster.say(["hadoop", "fs", "-put", "-f", str(tmp_path / "t.parquet"), "/hdfs/t.parquet"])
    assert inside(f"""
def rows(what):
    batches = list(og.read(what).read(0, 40_000, 7000))
    return [v for b in batches for v in b.columns["x"].values.tolist()], [v for b in batches for v in b.columns["c"].codes.tolist()]
print(rows(base + "/t.parquet") == rows({str(tmp_path / "t.parquet")!r}))
""") == ["True"]
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i},{'a' if i % 3 else 'b'}\n" for i in range(2000)))
    hadoop_cluster.say(["hadoop", "fs", "-put", "-f", str(tmp_path / "t.csv"), "/hdfs/t.csv"])
    assert inside("""
source = og.read(base + "/t.csv", target="y")
print(source.rows, source.schema.classes, sum(float(b.columns["x"].values.sum()) for b in source.read(0, 2000, 300)))
""") == ["2000 ('a', 'b') 1999000.0"]


def test_models_and_predictions__written_on_hdfs__are_whole_and_read_back(inside: Any) -> None:
    lines = inside("""
import pyarrow.parquet as pq
from pyarrow import fs
from outgrow.data.hdfs import HdfsHandler, hdfs_client
source = og.read(base + "/rows", target="number", drop=["two", "three"])
model = og.plan(og.LinearRegression(), source, on="serial").run().model
model.save(base + "/line.model")
model.save(base + "/line.model")
again = og.load(base + "/line.model")
print(again.digest == model.digest)
for _ in range(2):  # the second one replaces the first
    print(og.predict(again, base + "/rows", base + "/scores", on="serial")["rows"])
table = pq.read_table("/hdfs/scores", filesystem=fs.PyFileSystem(HdfsHandler(base)))
print(table.equals(model.predict(local)))
print(sorted(status.path for status in hdfs_client(base).list_status("/hdfs", False)))
refused(lambda: og.predict(again, base + "/rows", base + "/rows", on="serial"))
refused(lambda: og.predict(again, base + "/rows", base + "/line.model", on="serial"))
refused(lambda: og.predict(again, base + "/rows", base + "/no/folder", on="serial"))
refused(lambda: og.load(base + "/rows/rows.parquet"))
refused(lambda: og.load(base + "/absent.model"))
""")
    assert lines[:4] == ["True", "1800", "1800", "True"]
    assert "/hdfs/line.model" in lines[4]
    assert "parts" not in lines[4]
    assert ".tmp" not in lines[4]
    for line, words in zip(lines[5:], ("holds 'rows.parquet', which is no part", "it is a file", "mkdir -p /hdfs/no", "Is it a model of outgrow?", "no such file"), strict=True):
        assert words in line


def test_what_hdfs_refuses__is_told_with_the_remedy_within_seconds(inside: Any, hadoop_cluster: Hadoop) -> None:
    say = hadoop_cluster.say
    say(["hadoop", "fs", "-mkdir", "-p", "/hdfs/full", "/hdfs/private"])
    say(["hadoop", "fs", "-chmod", "700", "/hdfs/private"])
    say(["hadoop", "dfsadmin", "-setSpaceQuota", "1m", "/hdfs/full"])
    lines = inside("""
from outgrow.data.hdfs import write_whole
refused(lambda: og.read(base + "/nothing"))
refused(lambda: og.read(base + "/rows/*.csv"))
refused(lambda: og.read("hdfs://127.0.0.1:1/rows"))
refused(lambda: og.read("hdfs://127.0.0.1:8088/rows"))
refused(lambda: write_whole(base + "/full/x", [bytes(2_000_000)]))
""")
    expected = ("no such file or folder", "no file matches", "no NameNode answers", "no NameNode, or hangs", "the quota is used up")
    assert [word for line, word in zip(lines, expected, strict=True) if word not in line] == [], lines
    (line, other) = inside(
        'from outgrow.data.hdfs import write_whole\nrefused(lambda: write_whole(base + "/x", [b"x"]))\nrefused(lambda: og.read(base + "/private"))', HADOOP_USER_NAME="guest"
    )
    assert "StorageError" in line
    assert "user=guest, access=WRITE" in line
    assert "does not permit" in other
    say(["hadoop", "dfsadmin", "-safemode", "enter"])
    try:
        (line,) = inside('from outgrow.data.hdfs import write_whole\nrefused(lambda: write_whole(base + "/x", [b"x"]))')
    finally:
        say(["hadoop", "dfsadmin", "-safemode", "leave"])
    assert "safe mode" in line
    assert "wait" in line.lower()


def test_a_datanode_that_restarts__while_rows_are_read__is_waited_for_or_told(inside: Any, hadoop_cluster: Hadoop) -> None:
    """Reads before, while and after it is gone: never a wrong row, and a sentence where there is none."""
    hadoop_cluster.kill("datanode")
    began = time.monotonic()
    (line,) = inside('refused(lambda: list(og.read(base + "/rows").read(0, 1800, 100)))')
    assert "BadInput" in line
    assert "HDFS cannot read it" in line
    assert time.monotonic() - began < 60
    hadoop_cluster.restart("datanode")
    assert inside('print(sum(b.rows for b in og.read(base + "/rows").read(0, 1800, 100)))') == ["1800"]
