"""The packed cache: whole or not there, in its budget, and never believed when it is damaged."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

import outgrow.data.packed as packed_module
from outgrow.core.errors import BadFile, BadInput, Refused, StorageError
from outgrow.data.batch import Batch, Codes, Numbers, Texts
from outgrow.data.cache import caches
from outgrow.data.packed import find, pack
from outgrow.data.source import Source, read


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_module, "SEGMENT", 1000)


def a_csv(folder: Path, name: str = "a.csv", rows: int = 3500, seed: int = 0) -> Path:
    r = np.random.default_rng(seed)
    table = pa.table({"x": r.integers(0, 1000, rows), "c": np.array([f"v{k}" for k in range(500)])[r.integers(0, 500, rows)], "y": np.arange(rows) % 2})
    pc.write_csv(table, folder / name)
    return folder / name


def everything(source: Source) -> list:
    found = []
    for batch in source.read(0, source.rows, 333):
        codes = batch.column("c")
        assert isinstance(codes, Codes)
        assert codes.codes.dtype == np.int32
        found += [*batch.column("x").values.tolist(), *codes.dictionary.values.take(pa.array(codes.codes)).to_pylist()]
    return found


def test_pack__twice__takes_the_first(tmp_path: Path) -> None:
    source = read(a_csv(tmp_path), target="y")
    steps: list[tuple[int, int]] = []
    one = pack(source, tmp_path / "root", progress=lambda done, total: steps.append((done, total)))
    assert [done for done, _ in steps] == [1000, 2000, 3000, 3500]
    assert [len(list(folder.glob("*.arrow"))) for folder, _, _ in caches(tmp_path / "root")] == [4]
    two = pack(source, tmp_path / "root", progress=lambda *_: pytest.fail("packed again"))
    assert everything(one) == everything(two) == everything(source)
    assert everything(pickle.loads(pickle.dumps(one))) == everything(source)


def test_pack__other_options_or_content__is_another_cache(tmp_path: Path) -> None:
    path, root = a_csv(tmp_path), tmp_path / "root"
    pack(read(path, target="y"), root)
    assert find(read(path, target="y", kinds={"x": "category"}), root) is None
    assert find(read(path), root) is None
    a_csv(tmp_path, seed=1)
    assert find(read(path, target="y"), root) is None


def test_pack__codes__are_narrow_and_hold_used_values_only(tmp_path: Path) -> None:
    one = pack(read(a_csv(tmp_path), target="y"), tmp_path / "root")
    folder = caches(tmp_path / "root")[0][0]
    with pa.memory_map(str(folder / "00003.arrow")) as source:
        column = pa.ipc.open_file(source).get_batch(0).column("c")
        assert column.type.index_type == pa.int16()
        assert len(column.dictionary) == len(set(column.to_pylist()))
    assert one.rows == 3500


def _pack_in_child(path: str, root: str, out: multiprocessing.Queue) -> None:
    packed_module.SEGMENT = 1000
    out.put(pack(read(path, target="y"), root).rows)


def test_pack__two_processes_at_once__one_cache(tmp_path: Path) -> None:
    path, root = a_csv(tmp_path, rows=20_000), tmp_path / "root"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    children = [context.Process(target=_pack_in_child, args=(str(path), str(root), queue)) for _ in range(2)]
    for child in children:
        child.start()
    assert [queue.get(timeout=60) for _ in children] == [20_000, 20_000]
    for child in children:
        child.join()
    assert len(list(root.iterdir())) == 1


def test_pack__killed_attempt__is_swept_and_one_under_way_is_not(tmp_path: Path) -> None:
    from outgrow.data.cache import attempt

    root = tmp_path / "root"
    dead = root / ".making-dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    with attempt(root, None) as under_way:
        pack(read(a_csv(tmp_path), target="y"), root)
        assert not dead.exists()
        assert under_way.folder.exists()
    assert len(list(root.iterdir())) == 1


def test_pack__an_error_in_the_middle__leaves_nothing(tmp_path: Path) -> None:
    path, root = a_csv(tmp_path, rows=300_000), tmp_path / "root"
    with path.open("a") as file:
        file.write("1,2,3,4\n")
    with pytest.raises(BadInput, match="line 300002"):
        pack(read(path, target="y"), root)
    assert list(root.iterdir()) == []


def test_pack__a_source_that_changes_meanwhile__is_refused(tmp_path: Path) -> None:
    path, root = a_csv(tmp_path), tmp_path / "root"
    source = read(path, target="y")
    a_csv(tmp_path, seed=1)
    with pytest.raises(BadInput, match="changed"):
        pack(source, root)
    assert list(root.iterdir()) == []
    packed = pack(read(path, target="y"), root)
    a_csv(tmp_path, seed=2)
    with pytest.raises(BadInput, match=r"a\.csv.*changed"):
        packed.check()


def test_budget__least_recently_used__goes_first(tmp_path: Path) -> None:
    root = tmp_path / "root"
    sources = [read(a_csv(tmp_path, f"{k}.csv", seed=k), target="y") for k in range(3)]
    for k, source in enumerate(sources[:2]):
        pack(source, root)
        folder = root / packed_module._key(source)
        os.utime(folder / "lock", (k, k))
    size = sum(bytes_ for _, bytes_, _ in caches(root))
    assert find(sources[0], root) is not None  # a use makes it the newest
    pack(sources[2], root, budget_bytes=int(size * 1.2))
    assert [find(source, root) is not None for source in sources] == [True, False, True]


def test_budget__one_cache_alone_too_large__is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(Refused, match=r"disk budget is 1e-06 GB.*Raise the disk budget"):
        pack(read(a_csv(tmp_path), target="y"), root, budget_bytes=1000)
    assert list(root.iterdir()) == []


def test_budget__a_cache_that_is_read__stays(tmp_path: Path) -> None:
    root = tmp_path / "root"
    one = pack(read(a_csv(tmp_path), target="y"), root)
    rows = one.read(0, one.rows, 100)
    next(rows)
    size = caches(root)[0][1]
    with pytest.raises(Refused, match="caches in use"):
        pack(read(a_csv(tmp_path, "b.csv", seed=1), target="y"), root, budget_bytes=int(size * 1.5))
    assert sum(batch.rows for batch in rows) == 3400


def test_full_disk_and_unwritable_folder__are_storage_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read(a_csv(tmp_path), target="y")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        pack(source, tmp_path / "file" / "root")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed_module, "_write_segment", full)
    with pytest.raises(StorageError, match=r"the disk is full.*untouched"):
        pack(source, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def _bend(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "00001.arrow").unlink(),
        lambda folder: (folder / "00001.arrow").write_bytes((folder / "00001.arrow").read_bytes()[:-8]),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_bytes(b"\xff"),
        lambda folder: _bend(folder, format=0),
        lambda folder: _bend(folder, more=1),
        lambda folder: _bend(folder, segments=[[-5, 1]]),
        lambda folder: _bend(folder, segments=[]),
        lambda folder: _bend(folder, files=[["a.csv", "x", 1]]),
        lambda folder: _bend(folder, schema="{}"),
    ],
)
def test_damaged_cache__is_packed_again(tmp_path: Path, damage: object) -> None:
    root = tmp_path / "root"
    source = read(a_csv(tmp_path), target="y")
    pack(source, root)
    damage(caches(root)[0][0])  # type: ignore[operator]
    assert find(source, root) is None
    assert everything(pack(source, root)) == everything(source)
    assert len(list(root.iterdir())) == 1


def test_damaged_segment__found_while_reading__is_a_bad_file(tmp_path: Path) -> None:
    root = tmp_path / "root"
    packed = pack(read(a_csv(tmp_path), target="y"), root)
    path = caches(root)[0][0] / "00002.arrow"
    with pa.memory_map(str(path)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
        column = batch.column("c")
        place = path.read_bytes().find(np.asarray(column.indices).tobytes())
    raw = bytearray(path.read_bytes())
    raw[place : place + 2] = (30_000).to_bytes(2, "little")
    path.write_bytes(bytes(raw))
    with pytest.raises(BadFile, match=r"00002\.arrow: column 'c' has codes outside its dictionary"):
        everything(packed)
    path.write_bytes(bytes(len(raw)))
    with pytest.raises(BadFile, match=r"00002\.arrow: the packed segment is damaged"):
        everything(pickle.loads(pickle.dumps(packed)))


def test_cache_removed_under_a_reader__is_a_bad_file(tmp_path: Path) -> None:
    packed = pack(read(a_csv(tmp_path), target="y"), tmp_path / "root")
    shutil.rmtree(tmp_path / "root")
    with pytest.raises(BadFile, match="packed again"):
        everything(packed)


@pytest.fixture
def mixed(tmp_path: Path) -> Source:
    """3500 rows with missing values of every kind of column, as Parquet."""
    r = np.random.default_rng(5)
    lost = r.random(3500) < 0.2
    texts = [f"text number {k} of them all, {'long ' * (k % 3)}" for k in range(3500)]
    table = pa.table({
        "x": pa.array(r.normal(size=3500).astype(np.float32), mask=lost),
        "whole": pa.array(np.arange(3500)),
        "truth": pa.array(r.random(3500) < 0.5, mask=lost[::-1]),
        "c": pa.array(np.array([f"v{k}" for k in range(700)])[r.integers(0, 700, 3500)], mask=lost),
        "few": pa.array(np.array(["a", "b"])[r.integers(0, 2, 3500)]),
        "t": pa.array(texts, mask=lost),
        "y": np.arange(3500) % 2,
    })  # fmt: skip
    pq.write_table(table, tmp_path / "mixed.parquet", row_group_size=700)
    return read(tmp_path / "mixed.parquet", target="y", kinds={"t": "text"})


def rows_of(batch: Batch) -> dict[str, list]:
    """The rows of a batch as Python values."""
    found: dict[str, list] = {"positions": batch.positions.tolist(), "ids": [] if batch.ids is None else batch.ids.tolist()}
    for name, column in batch.columns.items():
        if isinstance(column, Codes):
            found[name] = column.dictionary.values.take(pa.array(column.codes, mask=column.codes < 0)).to_pylist()
        elif isinstance(column, Texts):
            found[name] = [bytes(column.data[a:b]) for a, b in itertools.pairwise(column.offsets.tolist())]
        else:
            assert isinstance(column, Numbers)
            found[name] = column.floats().tolist()
        valid = getattr(column, "valid", None)
        if valid is not None:
            found[name] = [value if there else None for value, there in zip(found[name], valid.tolist(), strict=True)]
    return found


def test_rows_picked_in_any_order__are_those_of_the_files(mixed: Source, tmp_path: Path) -> None:
    packed, r = pack(mixed, tmp_path / "root"), np.random.default_rng(1)
    for positions in (r.permutation(3500), r.integers(0, 3500, 50), np.array([3499]), np.array([999, 1000, 1000, 0])):
        assert rows_of(packed.take(positions)) == rows_of(mixed.take(positions))
        assert rows_of(packed.take(positions, ["t", "c"])) == rows_of(mixed.take(positions, ["t", "c"]))


def test_picking_rows__opens_a_segment_once_and_holds_no_more_than_it_may(mixed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    whole = packed_module.PackedStore._batch

    def counted(self: packed_module.PackedStore, number: int, path: str) -> object:
        opened.append(number)
        return whole(self, number, path)

    monkeypatch.setattr(packed_module.PackedStore, "_batch", counted)
    order = np.random.default_rng(2).permutation(3500)
    one, two = (pack(mixed, tmp_path / "root") for _ in range(2))
    for start in range(0, 3500, 500):
        one.take(order[start : start + 500])
    assert sorted(opened) == [0, 1, 2, 3]
    monkeypatch.setattr(packed_module, "_MAPPED", 2 * len(mixed.schema.fields))
    opened.clear()
    for start in range(0, 3500, 500):
        assert rows_of(two.take(order[start : start + 500])) == rows_of(one.take(order[start : start + 500]))
    assert [opened.count(number) for number in range(4)] == [1, 1, 7, 7]


def test_codes_picked__are_into_dictionaries_of_the_values_that_occur(mixed: Source, tmp_path: Path) -> None:
    batch = pack(mixed, tmp_path / "root").take(np.arange(0, 3500, 100))
    codes = batch.column("c")
    assert isinstance(codes, Codes)
    assert codes.codes.dtype == np.int32
    assert len(codes.dictionary) <= 35
    few = batch.column("few")
    assert isinstance(few, Codes)
    assert len(few.dictionary) <= 2 * 4
