"""The sink and the files on HDFS, over a folder here that stands for it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.core.errors import StorageError
from outgrow.data import hdfs, hdfs_sink
from outgrow.data.hdfs_sink import HdfsSink
from outgrow.data.place import Place

pytest.importorskip("hdfs_native")
AT = "hdfs://nn:8020"


class File(io.BytesIO):
    """What `create` gives: there from the start, whole when it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        path.touch(exist_ok=False)

    def close(self) -> None:
        if not self.closed and self.path.exists():
            self.path.write_bytes(self.getvalue())
        super().close()


class Bytes(io.BytesIO):
    def __len__(self) -> int:
        return len(self.getvalue())

    def read_range(self, start: int, size: int) -> bytes:
        return self.getvalue()[start : start + size]


class Folder:
    """The part of `hdfs_native.Client` that is used, over a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.broken = root, ""

    def at(self, path: str) -> Path:
        assert path.startswith("/")
        assert not path.startswith("//")
        return self.root / path.strip("/")

    def create(self, path: str, options: Any) -> File:
        if self.broken:
            raise RuntimeError(self.broken)
        if options.overwrite:
            self.at(path).unlink(missing_ok=True)
        return File(self.at(path))

    def read(self, path: str) -> Bytes:
        return Bytes(self.at(path).read_bytes())

    def rename(self, source: str, target: str, overwrite: bool = False) -> None:
        if self.at(target).exists() and not overwrite:
            raise FileExistsError(target)
        self.at(source).replace(self.at(target))

    def delete(self, path: str, recursive: bool = False) -> None:
        place = self.at(path)
        for item in sorted(place.rglob("*"), reverse=True) if place.is_dir() else ():
            item.rmdir() if item.is_dir() else item.unlink()
        if place.exists():
            place.rmdir() if place.is_dir() else place.unlink()

    def mkdirs(self, path: str, permission: int = 0o755, create_parent: bool = False) -> None:
        self.at(path).mkdir(parents=create_parent, exist_ok=True)

    def _status(self, item: Path) -> Any:
        about = item.stat()
        path = "/" + str(item.relative_to(self.root)) if item != self.root else "/"
        return SimpleNamespace(path=path, isdir=item.is_dir(), length=about.st_size, modification_time=about.st_mtime_ns // 1_000_000)

    def list_status(self, path: str, recursive: bool = False) -> list[Any]:
        return [self._status(item) for item in sorted(self.at(path).rglob("*") if recursive else self.at(path).iterdir())]

    def get_file_info(self, path: str) -> Any:
        if not self.at(path).exists():
            raise FileNotFoundError(path)
        return self._status(self.at(path))


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    (tmp_path / "hdfs").mkdir()
    made = Folder(tmp_path / "hdfs")
    monkeypatch.setattr(hdfs, "hdfs_client", lambda address: made)
    monkeypatch.setattr(hdfs_sink, "hdfs_client", lambda address: made)
    return made


def fill(sink: HdfsSink, start: int = 0, lanes: tuple[int, ...] = (2, 0, 1)) -> None:
    sink.prepare()
    for lane in lanes:
        with pickle.loads(pickle.dumps(sink)).part(lane) as part:
            if lane != 1:  # no row
                part.write({"row": np.arange(4) + 100 * lane + start})


def failing(sink: HdfsSink) -> None:
    with sink.part(0) as part:
        part.write({"row": np.arange(200_000)})
        raise RuntimeError("the learner's own")


def test_commit__any_order_of_lanes_and_empty_ones__replaces_what_was_there_at_once(client: Folder) -> None:
    sink = HdfsSink(path=f"{AT}/out", token="t")
    for start in (0, 1000):
        fill(sink, start)
        assert sorted(item.name for item in client.root.iterdir()) == sorted([".out.parts-t", *(["out"] if start else [])])
        sink.commit(3)
        assert [item.name for item in client.root.iterdir()] == ["out"]
        assert [item.name for item in sorted((client.root / "out").iterdir())] == ["part-00000.parquet", "part-00002.parquet"]
        assert pq.read_table(client.root / "out").column("row").to_pylist() == [start + v for v in (0, 1, 2, 3, 200, 201, 202, 203)]


def test_part__left_by_an_error_or_a_twin__is_harmless(client: Folder) -> None:
    sink = HdfsSink(path=f"{AT}/out")
    sink.prepare()
    with pytest.raises(RuntimeError, match="the learner's own"):
        failing(sink)
    assert not list((client.root / ".out.parts").iterdir())
    fill(sink)
    fill(sink)
    with pytest.raises(StorageError, match=r"part-00003\.parquet is missing.*--fresh"):
        sink.commit(4)
    sink.commit(3)
    assert pq.read_table(client.root / "out").num_rows == 8


def test_prepare__where_it_cannot_end_well__says_why(client: Folder) -> None:
    with pytest.raises(StorageError, match="mkdir -p /no"):
        HdfsSink(path=f"{AT}/no/out").prepare()
    (client.root / "file").touch()
    with pytest.raises(StorageError, match="it is a file"):
        HdfsSink(path=f"{AT}/file").prepare()
    (client.root / "mine").mkdir()
    (client.root / "mine" / "diary").touch()
    with pytest.raises(StorageError, match="holds 'diary'"):
        HdfsSink(path=f"{AT}/mine").prepare()
    client.broken = r'RPCError("x.SafeModeException", "Name node is in safe mode.\n")'
    with pytest.raises(StorageError, match="safe mode"):
        HdfsSink(path=f"{AT}/out").prepare()


def test_whole_files__replace_what_was_there_or_leave_it(client: Folder) -> None:
    hdfs.write_whole(f"{AT}/a", [b"one", memoryview(b" two")])
    assert hdfs.read_whole(f"{AT}/a") == b"one two"
    client.broken = "gone"
    with pytest.raises(StorageError, match="HDFS cannot write it"):
        hdfs.write_whole(f"{AT}/a", [b"three"])
    client.broken = ""
    hdfs.writable(f"{AT}/a")
    with pytest.raises(StorageError, match="this is a folder"):
        hdfs.writable(f"{AT}/")
    with pytest.raises(StorageError, match="mkdir -p /no"):
        hdfs.writable(f"{AT}/no/a")
    assert [(item.name, item.read_bytes()) for item in client.root.iterdir()] == [("a", b"one two")]


def test_rows_at_the_root_and_below__are_found_by_name_folder_and_glob(client: Folder) -> None:
    import pyarrow as pa

    (client.root / "d").mkdir()
    for name, start in (("top.parquet", 0), ("d/one.parquet", 10), ("d/two.parquet", 20)):
        pq.write_table(pa.table({"x": np.arange(5) + start}), client.root / name)

    def rows(what: str) -> list[int]:
        source = og.read(what)
        return [int(value) for batch in source.read(0, source.rows, 3) for value in batch.columns["x"].values]

    assert rows(f"{AT}/top.parquet") == [0, 1, 2, 3, 4]
    assert rows(f"{AT}/d") == rows(f"{AT}/d/*.parquet") == [10, 11, 12, 13, 14, 20, 21, 22, 23, 24]
    size, stamp = Place(f"{AT}/d").stat("one.parquet")
    assert size == (client.root / "d" / "one.parquet").stat().st_size
    assert int(stamp) > 0


def test_model__saved_to_hdfs__loads_with_its_address_in_errors(client: Folder) -> None:
    model = og.plan(og.LinearRegression(), og.read({"a": np.arange(50.0), "y": np.arange(50.0) * 2 + 1}, target="y"), on="serial").run().model
    assert model is not None
    model.save(f"{AT}/m.model")
    assert og.load(f"{AT}/m.model").digest == model.digest
    (client.root / "m.model").write_bytes(b"\x09" * 100)
    with pytest.raises(og.OutgrowError, match=r"hdfs://nn:8020/m\.model"):
        og.load(f"{AT}/m.model")
