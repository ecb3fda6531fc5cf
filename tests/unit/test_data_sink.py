"""The sink: parts by lanes, one output, all at once or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from outgrow.core.errors import StorageError
from outgrow.data.sink import ParquetSink


def fill(sink: ParquetSink, lanes: tuple[int, ...] = (2, 0, 1)) -> None:
    sink.prepare()
    for lane in lanes:
        with pickle.loads(pickle.dumps(sink)).part(lane) as part:
            for k in range(3):
                part.write({"row": np.arange(4) + 100 * lane + 10 * k, "word": np.array(["a", "b", "c", "d"])})


ROWS = [100 * lane + 10 * k + j for lane in range(3) for k in range(3) for j in range(4)]


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out"])
def test_commit__any_order_of_lanes__gives_the_rows_in_order(tmp_path: Path, name: str) -> None:
    sink = ParquetSink(path=str(tmp_path / name))
    fill(sink)
    assert not (tmp_path / name).exists()
    sink.commit(3)
    if name == "out.csv":
        lines = (tmp_path / name).read_text().splitlines()
        assert lines[0] == '"row","word"'
        assert [int(line.split(",")[0]) for line in lines[1:]] == ROWS
    else:
        assert pq.read_table(tmp_path / name).column("row").to_pylist() == ROWS
    assert [item.name for item in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.parquet", "out"])
def test_commit__an_earlier_output__is_there_until_it_is_replaced(tmp_path: Path, name: str) -> None:
    sink = ParquetSink(path=str(tmp_path / name))
    for start in (0, 1000):
        sink.prepare()
        with sink.part(0) as part:
            part.write({"row": np.arange(start, start + 5)})
        if start:
            assert pq.read_table(tmp_path / name).column("row").to_pylist() == [0, 1, 2, 3, 4]
        sink.commit(1)
    assert pq.read_table(tmp_path / name).column("row").to_pylist() == [1000, 1001, 1002, 1003, 1004]
    assert len(list(tmp_path.iterdir())) == 1


def test_part__left_by_an_error__is_not_seen_and_a_late_twin_is_harmless(tmp_path: Path) -> None:
    sink = ParquetSink(path=str(tmp_path / "out.parquet"))
    sink.prepare()

    def killed() -> None:
        with sink.part(0) as part:
            part.write({"row": np.arange(3)})
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        killed()
    assert list(sink.parts.iterdir()) == []
    with pytest.raises(StorageError, match=r"part-00000\.parquet is missing"):
        sink.commit(1)
    for _ in range(2):
        with sink.part(0) as part:
            part.write({"row": np.arange(3)})
    sink.commit(1)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 3


def test_lane_without_rows__is_left_out(tmp_path: Path) -> None:
    for name in ("out.parquet", "out"):
        sink = ParquetSink(path=str(tmp_path / name))
        fill(sink, (0, 2))
        with sink.part(1):
            pass
        sink.commit(3)
        assert pq.read_table(tmp_path / name).num_rows == 24


def test_large_part__is_written_in_row_groups(tmp_path: Path) -> None:
    sink = ParquetSink(path=str(tmp_path / "out.parquet"))
    sink.prepare()
    with sink.part(0) as part:
        for _ in range(10):
            part.write({"row": np.arange(50_000)})
    sink.commit(1)
    meta = pq.read_metadata(tmp_path / "out.parquet")
    assert meta.num_rows == 500_000
    assert 3 <= meta.num_row_groups <= 8


def test_prepare__what_cannot_be_written__is_refused_before_work(tmp_path: Path) -> None:
    (tmp_path / "d.parquet").mkdir()
    (tmp_path / "f").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    cases = {"no/out.parquet": "folder does not exist", "d.parquet": "it is a folder", "f": "it is a file", "full": "'thesis.txt', which is no part", "f/x.csv": "does not exist"}
    for name, text in cases.items():
        with pytest.raises(StorageError, match=text):
            ParquetSink(path=str(tmp_path / name)).prepare()
    with pytest.raises(StorageError, match="local paths"):
        ParquetSink(path="s3://bucket/out.parquet")
    assert (tmp_path / "full" / "thesis.txt").exists()


def test_full_disk__is_a_storage_error_and_the_output_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"row": [7]}), tmp_path / "out.parquet")
    sink = ParquetSink(path=str(tmp_path / "out.parquet"))
    fill(sink)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(StorageError, match="the disk is full"):
        sink.commit(3)
    with pytest.raises(StorageError, match="the disk is full"), sink.part(0) as part:
        part.write({"row": np.arange(200_000)})
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [7]
    assert sorted(item.name for item in tmp_path.iterdir()) == [".out.parquet.parts", "out.parquet"]
