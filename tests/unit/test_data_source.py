"""Sources: every format gives the same rows, batches are exact, and bad input is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outgrow.core.errors import BadInput
from outgrow.data.batch import Codes, Numbers, Texts
from outgrow.data.source import Source, conform, read

ROWS = 1000


def a_table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    r = np.random.default_rng(seed)
    words = np.array(["red", "green", "blue", "a longer name"])
    return pa.table(
        {
            "late": r.integers(0, 2, rows).astype(np.int8),
            "distance": pa.array(r.normal(size=rows), mask=r.random(rows) < 0.1),
            "hour": r.integers(0, 24, rows).astype(np.int32),
            "carrier": pa.array(words[r.integers(0, 4, rows)], mask=r.random(rows) < 0.1),
            "note": [f"this is the note number {k} of all" for k in range(rows)],
            "day": pa.array(r.integers(0, 10**9, rows).astype("datetime64[s]"), mask=r.random(rows) < 0.05),
            "open": r.random(rows) < 0.5,
        }
    )


def plain(batches: list) -> dict[str, list]:
    """The values of some batches as Python lists, None where missing."""
    found: dict[str, list] = {}
    for batch in batches:
        for name, column in batch.columns.items():
            found.setdefault(name, []).extend(values_of(column))
    return found


def values_of(column: object) -> list:
    if isinstance(column, Codes):
        values = [*column.dictionary.values.to_pylist(), None]
        return [values[code] for code in column.codes]
    if isinstance(column, Texts):
        raw = column.data.tobytes()
        found = [raw[a:b].decode() for a, b in zip(column.offsets[:-1], column.offsets[1:], strict=True)]
    else:
        assert isinstance(column, Numbers)
        found = column.values.tolist()
    return found if column.valid is None else [value if good else None for value, good in zip(found, column.valid, strict=True)]


def expected(table: pa.Table) -> dict[str, list]:
    out = {name: table.column(name).to_pylist() for name in table.column_names}
    out["day"] = table.column("day").cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()
    return out


@pytest.fixture
def table() -> pa.Table:
    return a_table()


@pytest.fixture
def path(tmp_path: Path, table: pa.Table) -> Path:
    where = tmp_path / "a.parquet"
    pq.write_table(table, where, row_group_size=300)
    return where


def everything(source: Source, batch_rows: int = 64) -> dict[str, list]:
    return plain(list(source.read(0, source.rows, batch_rows)))


@pytest.mark.parametrize("batch_rows", [1, 7, 300, 301, 5000])
def test_read__any_batch_rows__gives_the_rows_of_the_file(path: Path, table: pa.Table, batch_rows: int) -> None:
    source = read(path, target="late")
    batches = list(source.read(0, ROWS, batch_rows))
    assert [batch.rows for batch in batches] == [min(batch_rows, ROWS - k) for k in range(0, ROWS, batch_rows)]
    assert [batch.start for batch in batches] == list(range(0, ROWS, batch_rows))
    assert plain(batches) == expected(table)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (299, 301), (300, 600), (123, 877), (999, 1000)])
def test_read__from_any_position__gives_those_rows(path: Path, table: pa.Table, start: int, stop: int) -> None:
    source = read(path, target="late")
    got = plain(list(source.read(start, stop, 50)))
    assert got == (expected(table.slice(start, stop - start)) if stop > start else {})


def test_read__a_small_limit__streams_row_groups_and_gives_the_same(tmp_path: Path) -> None:
    table = a_table(20_000)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=20_000)
    source = read(tmp_path / "a.parquet", target="late")
    source.limit = 1
    assert everything(source, 3000) == expected(table)
    assert plain(list(source.read(4000, 9001, 1234))) == expected(table.slice(4000, 5001))


def test_read__memory__equals_the_file(path: Path, table: pa.Table) -> None:
    for what in (table, table.to_pandas(), pa.table(table)):
        source = read(what, target="late", kinds={"open": "number"})
        assert source.content == ""
        got, want = everything(source), expected(table)
        assert got.keys() == want.keys()
        for name in set(want) - {"distance", "open"}:
            assert got[name] == want[name]


def test_read__polars__equals_the_table(table: pa.Table) -> None:
    polars = pytest.importorskip("polars")
    assert everything(read(polars.from_arrow(table), target="late")) == expected(table)


def test_read__schema__has_kinds_missing_values_and_classes(path: Path) -> None:
    schema = read(path, target="late").schema
    kinds = {item.name: item.kind for item in schema.fields}
    assert kinds == {"late": "number", "distance": "number", "hour": "number", "carrier": "category", "note": "text", "day": "date", "open": "number"}
    assert schema.task == "binary"
    assert schema.classes == (0, 1)
    assert schema["carrier"].missing == pq.read_table(path).column("carrier").null_count
    assert schema["carrier"].distinct == 4
    assert schema.sampled == ROWS


def test_read__kinds__overrule_what_is_inferred(path: Path, table: pa.Table) -> None:
    source = read(path, target="late", kinds={"hour": "category", "note": "category"}, drop=["open"])
    assert "open" not in source.schema
    got = everything(source)
    assert got["hour"] == table.column("hour").to_pylist()
    assert got["note"] == table.column("note").to_pylist()
    assert isinstance(next(source.read(0, 5, 5)).column("hour"), Codes)


def test_read__columns__reads_those_with_target(path: Path) -> None:
    batch = next(read(path, target="late").read(0, 10, 10, ["carrier"]))
    assert set(batch.columns) == {"late", "carrier"}
    assert batch.schema.names() == ("carrier",)


def test_take__any_positions__in_their_order(path: Path, table: pa.Table) -> None:
    source = read(path, target="late")
    picks = np.array([999, 0, 300, 299, 300, 612, 5])
    batch = source.take(picks)
    assert plain([batch]) == expected(table.take(picks))
    assert batch.positions.tolist() == picks.tolist()
    assert source.take(np.array([], np.int64)).rows == 0
    with pytest.raises(IndexError):
        source.take([ROWS])


def test_source__pickled__reads_the_same(path: Path) -> None:
    source = read(path, target="late")
    assert everything(pickle.loads(pickle.dumps(source))) == everything(source)


def test_ids__several_files__are_file_and_row(tmp_path: Path, table: pa.Table) -> None:
    for name in ("b", "a"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    source = read(tmp_path, target="late")
    assert [info.name for info in source.files] == ["a.parquet", "b.parquet"]
    assert source.ids([0, 999, 1000, 1999]).tolist() == [0, 999, 1 << 40, (1 << 40) + 999]
    batch = next(source.read(990, 1010, 20))
    assert batch.ids is not None
    assert batch.ids.tolist() == source.ids(np.arange(990, 1010)).tolist()
    assert plain([batch]) == expected(pa.concat_tables([table.slice(990), table.slice(0, 10)]))


def test_dictionary__shared_by_the_batches_of_a_row_group(path: Path) -> None:
    batches = list(read(path, target="late").read(0, 300, 100))
    first = batches[0].column("carrier")
    assert isinstance(first, Codes)
    assert all(batch.column("carrier").dictionary is first.dictionary for batch in batches)


def test_dictionary__a_batch_over_two_row_groups__derives_each_once(path: Path) -> None:
    source = read(path, target="late")
    calls: list[int] = []

    def lengths(values: pa.Array) -> np.ndarray:
        calls.append(len(values))
        return np.array([len(value) for value in values.to_pylist()])

    want = [None if value is None else len(value) for value in pq.read_table(path).column("carrier").to_pylist()]
    got: list = []
    for batch in source.read(0, ROWS, 200):
        column = batch.column("carrier")
        table = column.dictionary.derive("lengths", lengths)
        got += [None if code < 0 else int(table[code]) for code in column.codes]
    assert got == want
    assert len(calls) <= 4  # one a row group, none for the batches between


def test_hive_folders__become_columns(tmp_path: Path, table: pa.Table) -> None:
    for year, origin in ((2013, "EWR"), (2014, "J%20K")):
        folder = tmp_path / f"year={year}" / f"origin={origin}"
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "x.parquet")
    source = read(tmp_path, target="late")
    got = everything(source, 300)
    assert got["year"] == [2013] * ROWS + [2014] * ROWS
    assert got["origin"] == ["EWR"] * ROWS + ["J K"] * ROWS
    assert read(str(tmp_path / "year=*/*/*.parquet"), target="late").rows == 2 * ROWS
    assert read(str(tmp_path / "**/*.parquet"), target="late").rows == 2 * ROWS


def test_list_of_files_and_urls__are_read(tmp_path: Path, table: pa.Table) -> None:
    import fsspec

    for name in ("a", "b", "c"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert read([tmp_path / "c.parquet", tmp_path / "a.parquet"], target="late").rows == 2 * ROWS
    assert read(f"file://{tmp_path}/*.parquet", target="late").rows == 3 * ROWS
    memory = fsspec.filesystem("memory")
    memory.pipe("/outgrow-test/a.parquet", (tmp_path / "a.parquet").read_bytes())
    source = read("memory://outgrow-test/a.parquet", target="late")
    assert everything(source) == expected(table)
    source.check()
    memory.rm("/outgrow-test", recursive=True)


def test_files_of_several_number_widths__are_one_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([1, 2], pa.int32()), "y": [0, 1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1.5, None], "y": [0, 1]}), tmp_path / "b.parquet")
    source = read(tmp_path, target="y")
    assert source.schema["x"].dtype == "double"
    assert everything(source)["x"] == [1.0, 2.0, 1.5, None]


def test_matrix__any_layout__same_columns() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    target = np.arange(50) % 2
    for layout in (values, np.asfortranarray(values), np.repeat(values, 2, axis=0)[::2]):
        source = read(layout, target=target)
        assert source.schema.names() == ("x0", "x1", "x2")
        batch = next(source.read(0, 50, 50))
        assert batch.matrix().tobytes() == values.tobytes()
        assert batch.target.tolist() == target.tolist()
        assert plain([source.take([7, 3])])["x1"] == [values[7, 1], values[3, 1]]


@pytest.mark.parametrize("width", [5, 1000])
def test_sparse_matrix__narrow_or_wide__keeps_its_values(width: int) -> None:
    from scipy import sparse

    from outgrow.data.batch import Ragged

    matrix = sparse.random(200, width, density=0.05, format="csr", random_state=0)
    source = read(matrix, target=np.arange(200) % 2)
    rows = []
    for batch in source.read(0, 200, 60):
        if width == 5:
            rows.append(batch.matrix())
        else:
            column = batch.column("x")
            assert isinstance(column, Ragged)
            assert column.width == width
            low, high = column.offsets[0], column.offsets[-1]
            rows.append(sparse.csr_matrix((column.values[low:high], column.indices[low:high], column.offsets - low), shape=(batch.rows, width)).toarray())
    assert np.array_equal(np.concatenate(rows), matrix.toarray())


def test_conform__extra_columns_and_no_target__are_fine(tmp_path: Path, path: Path, table: pa.Table) -> None:
    schema = read(path, target="late").schema
    new = table.drop_columns(["late"]).append_column("more", table.column("hour"))
    source = conform(schema, read(new))
    assert source.schema.target == ""
    assert [item.name for item in source.schema.fields] == ["distance", "hour", "carrier", "note", "day", "open"]
    assert conform(schema, read(path)).schema.classes == (0, 1)


@pytest.mark.parametrize("name", ["distance", "carrier", "day", "note"])
def test_conform__a_column_of_another_type__is_named(path: Path, table: pa.Table, name: str) -> None:
    schema = read(path, target="late").schema
    other = pa.array(["zzz"] * ROWS) if name in ("distance", "day") else pa.array(np.arange(ROWS))
    place = table.column_names.index(name)
    with pytest.raises(BadInput, match=f"'{name}'.*trained with"):
        conform(schema, read(table.set_column(place, name, other)))
    with pytest.raises(BadInput, match=f"'{name}' is missing"):
        conform(schema, read(table.drop_columns([name])))


def test_check__a_file_that_changed__is_named(path: Path) -> None:
    source = read(path, target="late")
    source.check()
    pq.write_table(a_table(seed=1), path)
    with pytest.raises(BadInput, match=r"a\.parquet.*changed"):
        source.check()


def test_content__the_same_file_in_another_folder__is_the_same(path: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "other"
    other.mkdir()
    shutil.copy2(path, other / "a.parquet")
    assert read(path).content == read(other / "a.parquet").content
    pq.write_table(a_table(seed=1), path)
    assert read(path).content != read(other / "a.parquet").content


def test_record_batch_reader_and_frames_with_strange_columns(table: pa.Table) -> None:
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=130))
    assert everything(read(reader, target="late")) == expected(table)
    import pandas as pd

    got = everything(read({"s": np.array(["a", None, np.nan, "b"], object), "x": np.arange(4)}))
    assert got["s"] == ["a", None, None, "b"]
    with pytest.raises(BadInput, match="does not convert to Arrow"):
        read(pd.DataFrame({"x": [1, "a", 2.5]}))
    frame = pd.DataFrame({"c": pd.Categorical(["x", "y", "x"]), "n": pd.array([1, None, 3], dtype="Int64")})
    source = read(frame)
    assert everything(source) == {"c": ["x", "y", "x"], "n": [1, None, 3]}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.integers(1, 400), batch_rows=st.integers(1, 700), span=st.tuples(st.integers(0, 500), st.integers(0, 500)), files=st.integers(1, 3))
def test_read__any_cut__gives_the_same_rows(tmp_path: Path, groups: int, batch_rows: int, span: tuple[int, int], files: int) -> None:
    table = a_table(500)
    folder = tmp_path / f"{groups}-{files}"
    folder.mkdir(exist_ok=True)
    for k in range(files):
        pq.write_table(table.slice(k * (500 // files), 500 // files if k < files - 1 else None), folder / f"{k}.parquet", row_group_size=groups)
    source = read(folder, target="late")
    start, stop = sorted(span)
    batches = list(source.read(start, stop, batch_rows))
    assert [batch.rows for batch in batches] == [min(batch_rows, stop - k) for k in range(start, stop, batch_rows)]
    assert plain(batches) == (expected(table.slice(start, stop - start)) if stop > start else {})
    picks = np.arange(start, stop)[::-7]
    assert plain([source.take(picks)]) == expected(table.take(picks))


def test_whole_numbers_that_float64_cannot_tell_apart__are_warned_of_by_column_with_a_remedy() -> None:
    rows = {"id": np.array([2**53 + 1, -5, 7, 2**62 + 1]), "x": np.arange(4.0), "n": np.array([2**53, 1, 2, 3]), "y": np.array([2**60 + 1, 2**60, 2**60, 2**60 + 1])}
    with pytest.warns(UserWarning, match=r"column 'id' holds whole numbers beyond 2\*\*53 \(4611686018427387905\).*kinds=\{'id': 'category'\}") as found:
        source = read(rows, target="y")
    assert len(found) == 1  # classes are exact, whatever their size
    assert source.schema.classes == (2**60, 2**60 + 1)
    assert [batch.target.tolist() for batch in source.read(0, 4, 4)] == [[1, 0, 0, 1]]
    apart = read(rows, target="y", kinds={"id": "category"})
    assert apart.schema["id"].distinct == 4
    assert read(rows, target="y", kinds={"id": "number"}).schema["id"].kind == "number"  # who says so knows it
