"""Columns straight from Parquet pages: what pyarrow reads is the oracle, and anything odd is left to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import outgrow.data.parquet as parquet_module
from outgrow.core.errors import BadInput
from outgrow.data import pages
from outgrow.data.batch import Codes, Field, Numbers
from outgrow.data.pagekernels import HEADER, byte_strings, header, hybrid
from outgrow.data.place import Place
from outgrow.data.source import read

pytestmark = pytest.mark.filterwarnings("ignore:column .* holds whole numbers")  # of every size, on purpose


@pytest.fixture(autouse=True)
def small_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "_FEW_ROWS", 0)


def values_of(column: Any) -> list:
    if isinstance(column, Codes):
        values = [*column.dictionary.values.to_pylist(), None]
        return [values[code] for code in column.codes]
    assert isinstance(column, Numbers)
    return column.values.tolist() if column.valid is None else [v if good else None for v, good in zip(column.values.tolist(), column.valid, strict=True)]


def taken(path: Path, table: pa.Table, kinds: dict[str, str] | None = None) -> dict[str, list[bool]]:
    """Read a file, compare it with its table, and say of each column and row group whether its pages were taken directly."""
    found: dict[str, list[bool]] = {}
    original = pages.column_from_pages

    def spy(raw: Any, chunk: Any, field: Field, where: str, before: Any) -> Any:
        column = original(raw, chunk, field, where, before)
        found.setdefault(field.name, []).append(column is not None)
        return column

    source = read(path, kinds=kinds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "column_from_pages", spy)
        got: dict[str, list] = {}
        for batch in source.read(0, source.rows, 1000):
            for name, column in batch.columns.items():
                got.setdefault(name, []).extend(values_of(column))
    assert got == {name: table.column(name).to_pylist() for name in table.column_names}
    return found


def a_table(rows: int, seed: int = 0, missing: float = 0.2) -> pa.Table:
    r = np.random.default_rng(seed)
    gone = r.random(rows) < missing
    words = np.array([f"wort {k} ü" for k in range(max(2, rows // 3))])
    columns: dict[str, Any] = {"c": pa.array(words[r.integers(0, len(words), rows)], mask=gone), "d": pa.array(words[:2][r.integers(0, 2, rows)])}
    for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"):
        info = np.iinfo(kind) if "int" in kind else None
        values = r.integers(info.min, info.max, rows, dtype=kind, endpoint=True) if info else r.normal(size=rows).astype(kind)
        columns[kind] = pa.array(values, mask=gone)
        columns[f"{kind}_few"] = pa.array(values[r.integers(0, min(rows, 5), rows)])
    return pa.table(columns)


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, ["c", "d"]])
def test_pages__every_type_codec_and_version__as_pyarrow_reads_them(tmp_path: Path, codec: str, version: str, dictionary: Any) -> None:
    table = a_table(3000)
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=1100, compression=codec, data_page_version=version, use_dictionary=dictionary, data_page_size=2000)
    found = taken(path, table)
    assert set(found) == set(table.column_names)
    assert all(all(one) for one in found.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 400), missing=st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0]), seed=st.integers(0, 99), page=st.integers(1, 2000))
def test_pages__any_run_lengths__as_pyarrow_reads_them(tmp_path: Path, rows: int, missing: float, seed: int, page: int) -> None:
    table = a_table(rows, seed, missing)
    order = np.argsort(np.random.default_rng(seed).integers(0, 3, rows), kind="stable")  # some order makes long runs
    table = table.take(order)
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=150, data_page_size=page)
    found = taken(path, table)
    assert all(all(one) for one in found.values())


def test_pages__columns_that_may_not_be_missing__have_no_levels(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(500), "c": ["a", "b"] * 250}, schema=pa.schema([pa.field("x", pa.int64(), nullable=False), pa.field("c", pa.string(), nullable=False)]))
    pq.write_table(table, tmp_path / "a.parquet")
    assert taken(tmp_path / "a.parquet", table) == {"x": [True], "c": [True]}


def test_pages__a_dictionary_that_overflows__is_left_to_pyarrow(tmp_path: Path) -> None:
    table = pa.table({"c": [f"a long and different value {k}" for k in range(5000)], "x": np.arange(5000)})
    pq.write_table(table, tmp_path / "a.parquet", dictionary_pagesize_limit=1000)
    assert taken(tmp_path / "a.parquet", table, {"c": "category"}) == {"c": [False], "x": [True]}


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"column_encoding": {"x": "DELTA_BINARY_PACKED"}, "use_dictionary": False},
        {"column_encoding": {"x": "BYTE_STREAM_SPLIT"}, "use_dictionary": False},
    ],
)
def test_pages__other_codecs_and_encodings__are_left_to_pyarrow(tmp_path: Path, options: dict[str, Any]) -> None:
    table = pa.table({"x": np.arange(500)})
    pq.write_table(table, tmp_path / "a.parquet", **options)
    assert not any(taken(tmp_path / "a.parquet", table).get("x", []))


def test_pages__dictionary_columns_of_arrow__are_taken(tmp_path: Path) -> None:
    table = pa.table({"c": pa.array(["a", None, "b"] * 100).dictionary_encode(), "x": np.arange(300)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert taken(tmp_path / "a.parquet", table) == {"c": [True], "x": [True]}


@pytest.mark.parametrize("codec", ["none", "snappy"])
def test_pages__any_damaged_byte__is_told_or_gives_whole_rows(tmp_path: Path, codec: str) -> None:
    table = a_table(300).select(["c", "int32", "float64_few"])
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression=codec)
    whole = path.read_bytes()
    end = pq.read_metadata(path).row_group(0).column(2)
    r = np.random.default_rng(0)
    for _ in range(120):
        raw = bytearray(whole)
        raw[r.integers(4, end.dictionary_page_offset + end.total_compressed_size)] = r.integers(0, 256)
        path.write_bytes(bytes(raw))
        try:
            batch = next(read(path).read(0, 300, 300))
        except BadInput as error:
            assert "a.parquet" in str(error)  # noqa: PT017 - most damage is found, some only changes a value
            continue
        assert [len(column) for column in batch.columns.values()] == [300] * 3
        codes = batch.column("c")
        assert isinstance(codes, Codes)
        assert codes.codes.min() >= -1
        assert codes.codes.max() < len(codes.dictionary)


def packed(values: np.ndarray, width: int) -> np.ndarray:
    """The numbers as one bit-packed run (their count a multiple of 8)."""
    bits = ((values[:, None] >> np.arange(width)) & 1).astype(np.uint8).reshape(-1)
    head, run = [], (len(values) // 8) << 1 | 1
    while True:
        head.append(run & 127 | (128 if run > 127 else 0))
        run >>= 7
        if not run:
            return np.concatenate([np.array(head, np.uint8), np.packbits(bits, bitorder="little")])


@pytest.mark.parametrize("width", range(1, 32))
@pytest.mark.parametrize("count", [8, 64, 1000])
def test_hybrid__every_width__unpacks_to_the_last_number(width: int, count: int) -> None:
    values = np.random.default_rng(width).integers(0, 1 << width, count)
    raw = packed(values, width)
    out = np.zeros(count, np.int32)
    assert hybrid(raw, 0, len(raw), width, count, out) >= values.max()
    assert out.tolist() == values.tolist()
    assert hybrid(raw, 0, len(raw) - 1, width, count, out) == -1


def test_hybrid_and_header__noise__never_go_beyond_the_page() -> None:
    r = np.random.default_rng(0)
    out, head = np.zeros(100, np.int32), np.zeros(HEADER, np.int64)
    offsets, data = np.zeros(51, np.int32), np.zeros(80, np.uint8)
    for _ in range(5000):
        raw = r.integers(0, 256, 80).astype(np.uint8)
        end = int(r.integers(0, 65))
        hybrid(raw, 0, end, int(r.integers(-1, 40)), 100, out)
        assert header(raw, 0, end, head) <= end
        assert byte_strings(raw, 0, end, 50, offsets, data) <= end


def test_pages__of_a_file_from_afar__are_read_by_range_and_give_the_same_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on HDFS: a column chunk is one read."""
    table = a_table(4000)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2000)
    want = taken(tmp_path / "t.parquet", table)
    monkeypatch.setattr(Place, "local", property(lambda self: False))
    monkeypatch.setattr(Place, "near", property(lambda self: True))
    sizes: list[int] = []
    found = parquet_module.ParquetStore._pages

    def spy(self: Any, index: int, chunk: Any) -> Any:
        data, inside = found(self, index, chunk)
        sizes.append(len(data) - (inside.stop - inside.start))
        return data, inside

    monkeypatch.setattr(parquet_module.ParquetStore, "_pages", spy)
    assert taken(tmp_path / "t.parquet", table) == want
    assert sizes
    assert not any(sizes), "no byte more than the chunk"
