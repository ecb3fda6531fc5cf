"""Every format gives the same rows as the table it was written from, directly and packed."""

from __future__ import annotations

import gc
import gzip
import io
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest

from outgrow.core.errors import BadFile
from outgrow.data.batch import Codes, Ragged, Schema, Texts
from outgrow.data.packed import pack
from outgrow.data.parquet import ParquetStore
from outgrow.data.schema import describe, schema_from_json, schema_to_json
from outgrow.data.source import read

ROWS = 5000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    r = np.random.default_rng(1)
    return pa.table(
        {
            "late": r.integers(0, 2, ROWS),
            "distance": pa.array(np.round(r.normal(size=ROWS), 6), mask=r.random(ROWS) < 0.1),
            "carrier": pa.array(np.array(["red", "green, or so", 'a "quoted" one'])[r.integers(0, 3, ROWS)], mask=r.random(ROWS) < 0.1),
            "note": [f"this is the note\nnumber {k} of all" for k in range(ROWS)],
            "day": pa.array(r.integers(0, 10**9, ROWS).astype("datetime64[s]")),
            "open": r.random(ROWS) < 0.5,
        }
    )


def write(table: pa.Table, path: Path) -> Path:
    name = path.name
    if name.endswith("parquet"):
        pq.write_table(table, path, row_group_size=700)
    elif name.endswith((".csv", ".csv.gz")):
        text = io.BytesIO()
        pc.write_csv(table, text)
        path.write_bytes(gzip.compress(text.getvalue()) if name.endswith("gz") else text.getvalue())
    elif name.endswith((".jsonl", ".ndjson.gz")):
        rows = [{k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in row.items()} for row in table.to_pylist()]
        text_ = "\n".join(json.dumps(row) for row in rows).encode()
        path.write_bytes(gzip.compress(text_) if name.endswith("gz") else text_)
    elif name.endswith(".feather"):
        pf.write_feather(table, path, chunksize=800)
    else:
        make = pa.ipc.new_stream if name.endswith(".arrows") else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=900)
    return path


def values_of(column: Any) -> list:
    if isinstance(column, Codes):
        values = [*column.dictionary.values.to_pylist(), None]
        return [values[code] for code in column.codes]
    if isinstance(column, Texts):
        raw = column.data.tobytes()
        found = [raw[a:b].decode() for a, b in zip(column.offsets[:-1], column.offsets[1:], strict=True)]
    else:
        found = column.values.tolist()
    return found if column.valid is None else [value if good else None for value, good in zip(found, column.valid, strict=True)]


def rows_of(source: Any, start: int = 0, stop: int | None = None, batch_rows: int = 640) -> dict[str, list]:
    found: dict[str, list] = {}
    for batch in source.read(start, source.rows if stop is None else stop, batch_rows):
        for name, column in batch.columns.items():
            found.setdefault(name, []).extend(values_of(column))
    return found


def expected(table: pa.Table) -> dict[str, list]:
    return {**{name: table.column(name).to_pylist() for name in table.column_names}, "day": table.column("day").cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()}


FORMATS = ["a.parquet", "a.csv", "a.csv.gz", "a.jsonl", "a.ndjson.gz", "a.arrow", "a.arrows", "a.feather"]


@pytest.mark.parametrize("name", FORMATS)
def test_format__read_directly_and_packed__gives_the_table(tmp_path: Path, table: pa.Table, name: str) -> None:
    source = read(write(table, tmp_path / name), target="late")
    want = expected(table)
    assert source.schema.classes == (0, 1)
    assert [item.kind for item in source.schema.fields] == ["number", "number", "category", "text", "date", "number"]
    assert 0.5 * ROWS < source.estimate_rows() < 2 * ROWS
    packed = pack(source, tmp_path / "cache")
    assert packed.cuttable
    assert packed.content == source.content
    assert rows_of(source) == want
    assert rows_of(packed) == want
    assert rows_of(source, 1234, 2345) == rows_of(packed, 1234, 2345) == expected(table.slice(1234, 1111))
    picks = np.array([4999, 0, 77, 3000])
    assert {name: values_of(column) for name, column in packed.take(picks).columns.items()} == expected(table.take(picks))
    assert packed.ids(picks).tolist() == source.ids(picks).tolist()


@pytest.mark.parametrize("name", ["{}.csv", "{}.jsonl", "{}.arrow"])
def test_several_files__are_one_source(tmp_path: Path, table: pa.Table, name: str) -> None:
    for letter in "ba":
        write(table, tmp_path / f"x={letter}" / name.format(letter)) if (tmp_path / f"x={letter}").mkdir() is None else None
    source = read(tmp_path, target="late")
    got = rows_of(source)
    assert got["x"] == ["a"] * ROWS + ["b"] * ROWS
    assert got["note"] == 2 * table.column("note").to_pylist()
    packed = pack(source, tmp_path / "cache")
    assert rows_of(packed) == got
    assert packed.ids([ROWS]).tolist() == [1 << 40]
    assert next(packed.read(ROWS, ROWS + 1, 1)).place.endswith(name.format("b"))


def test_csv__a_column_of_numbers_in_one_file_and_words_in_another__is_a_category(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("k,y\n1,0\n2,1\n")
    (tmp_path / "b.csv").write_text("k,y\nx,0\ny,1\n")
    source = read(tmp_path, target="y")
    assert source.schema["k"].kind == "category"
    assert rows_of(source)["k"] == ["1", "2", "x", "y"]


def test_csv__classes_beyond_the_sample__are_exact_once_packed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{k},{'late' if k % 2 else 'early'}\n" for k in range(200_000)) + "7,never\n")
    source = read(path, target="y")
    assert source.schema.task == "binary"
    packed = pack(source, tmp_path / "cache")
    assert packed.schema.task == "classes"
    assert packed.schema.classes == ("early", "late", "never")


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("width", [7, 400])
@pytest.mark.parametrize("comment", ["", "# a comment\n"])
def test_svmlight__any_base_and_width__keeps_its_values(tmp_path: Path, width: int, zero_based: bool, comment: str) -> None:
    from scipy import sparse
    from sklearn.datasets import dump_svmlight_file

    matrix = sparse.random(700, width, density=0.2, format="csr", random_state=0)
    matrix.data = np.round(matrix.data, 6)
    label = np.where(np.arange(700) % 3, 1.0, -1.0)
    path = tmp_path / "a.svm"
    dump_svmlight_file(matrix, label, str(path), zero_based=zero_based)
    path.write_text(comment + path.read_text())
    source = read(path, target="target")
    assert source.schema.classes == (-1, 1)
    for one in (source, pack(source, tmp_path / "cache")):
        got, target = [], []
        for batch in one.read(0, 700, 256):
            target += batch.target.tolist()
            if width == 7:
                got.append(batch.matrix())
                continue
            column = batch.column("x")
            assert isinstance(column, Ragged)
            low, high = int(column.offsets[0]), int(column.offsets[-1])
            got.append(sparse.csr_matrix((column.values[low:high], column.indices[low:high], column.offsets - low), shape=(batch.rows, width)).toarray())
        assert np.array_equal(np.concatenate(got), matrix.toarray())
        assert target == ((label + 1) / 2).astype(int).tolist()


def test_memory__shared_through_files__gives_the_same_rows(tmp_path: Path, table: pa.Table) -> None:
    source = read(table, target="late")
    shared = source.share(tmp_path)
    assert shared.content == ""
    assert rows_of(shared) == rows_of(source) == expected(table)
    matrix = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    one = read(matrix, target=np.arange(100) % 2)
    assert next(one.share(tmp_path).read(0, 100, 100)).matrix().tobytes() == next(one.read(0, 100, 100)).matrix().tobytes()


def test_schema__as_json_and_back__is_the_same(tmp_path: Path, table: pa.Table) -> None:
    schema = read(table, target="carrier", weight="distance").schema
    assert schema_from_json(schema_to_json(schema)) == schema
    text = describe(schema)
    assert "target: 3 classes" in text
    assert "weight" in text
    assert len(text.splitlines()) == len(schema.fields) + 2


def test_schema__of_a_hostile_file__is_refused(table: pa.Table) -> None:
    good = json.loads(schema_to_json(read(table, target="late").schema))
    field = good["fields"][0]
    bad: list[Any] = [
        [],
        {},
        {**good, "more": 1},
        {**good, "sampled": "1"},
        {**good, "task": "steal"},
        {**good, "target": "nowhere"},
        {**good, "fields": [field, field]},
        {**good, "fields": [{**field, "kind": "code"}]},
        {**good, "fields": [{**field, "values": [[1]]}]},
        {**good, "fields": [{**field, "missing": True}]},
        {**good, "fields": [7]},
    ]
    for whole in bad:
        with pytest.raises(BadFile, match="model"):
            schema_from_json(json.dumps(whole), where="model")
    for text in ("", "{", "[" * 100_000):
        with pytest.raises(BadFile, match="not JSON"):
            schema_from_json(text)
    assert isinstance(schema_from_json(json.dumps(good)), Schema)


def test_the_rest_of_a_row_group__does_not_hold_the_whole_of_it_while_the_next_one_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"x": np.arange(30_000.0), "y": np.arange(30_000) % 2}), tmp_path / "a.parquet", row_group_size=10_000)
    source, alive, most = read(tmp_path / "a.parquet", target="y"), [], []
    decoded = ParquetStore._decoded

    def watched(self: Any, *arguments: Any) -> Any:
        for block in decoded(self, *arguments):
            gc.collect(0)
            most.append(sum(held() is not None for held in alive))
            alive.append(weakref.ref(block.columns["x"].values))
            yield block
            del block

    monkeypatch.setattr(ParquetStore, "_decoded", watched)
    rows = 0
    for batch in source.read(0, source.rows, 3000):
        rows += batch.rows
        del batch
    assert (rows, most) == (30_000, [0, 0, 0])
