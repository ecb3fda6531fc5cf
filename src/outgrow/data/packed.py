"""The packed cache: rows parsed once into memory-mapped Arrow segments, then read from any position at no cost.

On disk: a folder with ``manifest.json`` and ``00000.arrow``, ``00001.arrow`` …: Arrow IPC files of one uncompressed
record batch each, 262144 rows (the last one fewer). A category is a dictionary of the values used in its segment
with the narrowest index that fits, -1 under a missing one.

`FORMAT` is raised whenever older folders would be read wrongly; it is part of the key, so they are never opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadFile
from .batch import Column, Field, Schema
from .blocks import Block, FileInfo, Store, rebatch
from .cache import attempt, hold, storage_errors
from .schema import schema_from_json, schema_to_json
from .segment import REMEDY, Mapped, from_arrow, mapped, widened, write_segment

if TYPE_CHECKING:
    from .source import Source

__all__ = ["FORMAT", "SEGMENT", "PackedStore", "find", "pack", "repeated", "share"]

FORMAT = 1
SEGMENT = 262_144
_MAPPED = 1 << 12  # columns of segments that stay open to pick rows from, of some 2 KB each


class PackedStore:
    """The segments of one folder. `files` are those of the origin, so row ids and positions are the same."""

    format = "packed"
    cuttable = True

    def __init__(self, folder: Path, files: tuple[FileInfo, ...], schema: Schema, counts: Sequence[int], origin: Store | None) -> None:
        self.folder, self.origin, self.schema = folder, origin, schema
        self.ends = np.cumsum([0, *counts])
        self._starts = np.cumsum([0, *(info.rows or 0 for info in files)])
        self.files = tuple(replace(info, cuts=self._cuts(k)) for k, info in enumerate(files))
        self.raw: dict[str, Any] = {item.name: _raw_type(item) for item in schema.fields}
        self._open: tuple[int, dict[str, Column]] | None = None
        self._mapped: dict[int, dict[str, Mapped]] = {}
        self._lock: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None, "_mapped": {}, "_lock": None}

    @property
    def widths(self) -> dict[str, int]:
        return {item.name: int(item.dtype[7:-1]) for item in self.schema.fields if item.kind == "sparse"}

    def _cuts(self, file: int) -> tuple[int, ...]:
        first, last = int(self._starts[file]), int(self._starts[file + 1])
        inner = self.ends[(self.ends > first) & (self.ends < last)] - first
        return (0, *inner.tolist(), last - first)

    @contextmanager
    def _told(self, number: int) -> Iterator[str]:
        """Tell of a damaged segment by its path."""
        import pyarrow as pa

        path = str(self.folder / f"{number:05d}.arrow")
        try:
            yield path
        except (pa.ArrowException, OSError, KeyError) as error:
            raise BadFile(f"the packed segment is damaged ({error})", where=path, todo=REMEDY) from error

    def _batch(self, number: int, path: str) -> Any:
        """The record batch of a segment, mapped."""
        import pyarrow as pa

        if self._lock is None:
            self._lock = hold(self.folder)
            if self._lock is not None:
                weakref.finalize(self, os.close, self._lock)
        with pa.memory_map(path) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        rows = self.ends[number + 1] - self.ends[number]
        if batch.num_rows != rows:
            raise BadFile(f"it has {batch.num_rows} rows, the manifest says {rows}", where=path, todo=REMEDY)
        return batch

    def _segment(self, number: int) -> dict[str, Column]:
        """The columns of a segment, codes still narrow; the last one stays open."""
        if self._open is None or self._open[0] != number:
            self._open = None
            with self._told(number) as path:
                batch = self._batch(number, path)
                self._open = number, {item.name: from_arrow(batch.column(item.name), item, path) for item in self.schema.fields}
        return self._open[1]

    def _picked(self, number: int, fields: Sequence[Field]) -> dict[str, Mapped]:
        """The columns of a segment to pick rows from. They stay open, up to a limit: rows in a shuffled order are picked from every segment for every batch."""
        found = self._mapped.get(number, {})
        lacking = [item for item in fields if item.name not in found]
        if lacking:
            with self._told(number) as path:
                batch = self._batch(number, path)
                found = found | {item.name: mapped(batch.column(item.name), self.schema[item.name], path) for item in lacking}
            if sum(map(len, self._mapped.values())) + len(lacking) <= _MAPPED:
                self._mapped[number] = found
        return found

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """Rows [start, stop) of a file of the origin: views of the map, codes widened."""
        first = int(self._starts[index])
        at, end = first + start, first + ((self.files[index].rows or 0) if stop is None else stop)
        size = max(4096, limit // max(1, sum(4 if item.kind == "category" else 2 for item in fields)))
        while at < end:
            number = int(np.searchsorted(self.ends, at, side="right")) - 1
            base = int(self.ends[number])
            high = min(end, int(self.ends[number + 1]), at + size)
            columns = self._segment(number)
            found = Block(0, high - at, {item.name: columns[item.name] for item in fields}, self.files[index].name)
            cut = Block(0, int(self.ends[number + 1]) - base, found.columns, found.place).cut(at - base, high - base)
            yield Block(at - first, high - at, {name: widened(column) for name, column in cut.columns.items()}, found.place)
            at = high

    def pick(self, index: int, rows: npt.NDArray[np.int64], fields: Sequence[Field]) -> Iterator[Block]:
        """Single rows (ascending) of a file of the origin."""
        places = rows + self._starts[index]
        for number in range(int(np.searchsorted(self.ends, places[0], side="right")) - 1, int(np.searchsorted(self.ends, places[-1], side="right"))):
            low, high = np.searchsorted(places, self.ends[number : number + 2])
            if low < high:
                columns, own = self._picked(number, fields), Mapped.rows(places[low:high] - self.ends[number])
                yield Block(int(rows[low]), int(high - low), {item.name: columns[item.name].where(own) for item in fields}, self.files[index].name)

    def sample(self, rows: int) -> Any:
        """About this many rows, from the beginnings of up to 8 segments."""
        import pyarrow as pa

        last = len(self.ends) - 2
        picks = sorted({round(last * k / 7) for k in range(8)}) if last >= 0 else []
        each, tables = -(-rows // max(1, len(picks))), []
        for number in picks:
            with pa.memory_map(str(self.folder / f"{number:05d}.arrow")) as source:
                table = pa.Table.from_batches([pa.ipc.open_file(source).get_batch(0)]).slice(0, each)
            columns = {item.name: table.column(item.name) for item in self.schema.fields}
            plain = {name: column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for name, column in columns.items()}
            tables.append(pa.table(plain))
        return pa.concat_tables(tables)

    def check(self) -> None:
        """The rows as they were packed cannot change; the files they came from are asked."""
        if self.origin is not None:
            self.origin.check()


class _Repeated(PackedStore):
    """So many segments, each of them the same file."""

    def _batch(self, number: int, path: str) -> Any:
        return super()._batch(number, str(self.folder / "00000.arrow"))


def repeated(schema: Schema, columns: Mapping[str, Column], rows: int, segments: int, folder: Path) -> Source:
    """A packed source of so many segments that are all these rows, written once: to time on few rows what reading many takes."""
    from .source import Source as Made

    write_segment(folder / "00000.arrow", columns, schema.fields)
    files = (FileInfo(name="00000.arrow", bytes=0, rows=rows * segments),)
    return Made(_Repeated(folder, files, schema, [rows] * segments, None), schema, content="repeated")


def _raw_type(field: Field) -> Any:
    import pyarrow as pa

    from .columns import column_type
    from .memory import sparse_type

    if field.kind == "sparse":
        return sparse_type()
    return pa.large_string() if field.kind == "text" else column_type(field)


def _key(source: Source) -> str:
    import pyarrow as pa

    facts = json.dumps([FORMAT, SEGMENT, pa.__version__, source.content, source.task, schema_to_json(source.schema)])
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def find(source: Source, root: Path | str) -> Source | None:
    """The packed cache of a source below `root`, where there is a whole one."""
    folder = Path(root) / _key(source)
    try:
        found = _load(source, folder)
    except (BadFile, FileNotFoundError, NotADirectoryError):
        return None
    (folder / "lock").touch()
    return found


def pack(source: Source, root: Path | str, budget_bytes: int | None = None, progress: Callable[[int, int], None] | None = None) -> Source:
    """The same rows from a packed cache below `root`; written first where there is none yet.

    Parameters
    ----------
    source : Source
    root : path
        Folder of all caches. Two processes may pack at once; the one that ends first gives its cache to both.
    budget_bytes : int, optional
        The most bytes that all caches may take; the least recently used that nobody reads are removed first.
    progress : callable, optional
        Called with (rows done, rows expected) after each segment.

    Cost: one pass over the source; holds two segments (about 262144 rows each).

    Raises
    ------
    Refused
        Where this cache alone is larger than the budget.
    StorageError
        On a full disk or a folder that cannot be written; nothing half-written is left.
    """
    root = Path(root)
    found = find(source, root)
    if found is not None:
        return found
    with attempt(root, budget_bytes) as one, storage_errors(root):
        manifest = _write(source, one, progress)
        source.check()
        (one.folder / "manifest.json").write_text(manifest, encoding="utf-8")
        final = one.finish(_key(source))
        try:
            return _load(source, final)
        except BadFile:  # a damaged one stood in the way
            shutil.rmtree(final, ignore_errors=True)
    return pack(source, root, budget_bytes, progress)


def share(source: Source, folder: Path | str) -> Source:
    """Rows in memory written once, so that workers map them; the folder belongs to the caller."""
    root = Path(folder)
    with attempt(root, None) as one, storage_errors(root):
        (one.folder / "manifest.json").write_text(_write(source, one, None), encoding="utf-8")
        return _load(source, one.finish(one.folder.name.lstrip(".")))


def _write(source: Source, one: Any, progress: Callable[[int, int], None] | None) -> str:
    """Write all segments; the manifest's text."""
    from .classes import values_in

    fields, target = source.schema.fields, source.schema.target
    expected, classes, done, segments = source.estimate_rows(), set[Any](), 0, []
    counts = [0] * len(source.files)

    def blocks() -> Iterator[Block]:
        start = 0
        for index, info in enumerate(source.files):
            for block in source.store.blocks(index, 0, None, fields, source.limit):
                counts[index] += block.count
                yield block
            start += counts[index]
            if info.rows is not None and info.rows != counts[index]:
                raise BadFile(f"the file gave {counts[index]} rows, it said {info.rows}", where=info.name)

    def whole(start: int, block: Block) -> Any:
        return Block(start, block.count, block.columns, block.place)

    for number, block in enumerate(rebatch(blocks(), 0, 1 << 62, SEGMENT, whole)):
        if target and not source.exact and len(classes) <= 1 << 17:
            classes |= values_in(block.columns[target])
        segments.append(_write_segment(one, number, block, fields))
        done += block.count
        if progress is not None:
            progress(done, max(expected, done))
    schema = source.schema if source.exact else source.exact_schema(classes)
    manifest = {
        "format": FORMAT,
        "schema": schema_to_json(schema),
        "files": [[info.name, count, info.bytes] for info, count in zip(source.files, counts, strict=True)],
        "segments": segments,
    }
    return json.dumps(manifest, ensure_ascii=False)


def _write_segment(one: Any, number: int, block: Any, fields: Sequence[Field]) -> list[int]:
    path = one.folder / f"{number:05d}.arrow"
    write_segment(path, block.columns, fields, one.room)
    return [block.count, path.stat().st_size]


def _load(source: Source, folder: Path) -> Source:
    """Open a cache; raises BadFile where it is not whole, FileNotFoundError where it is not there."""
    from .source import Source as Made

    try:
        text = (folder / "manifest.json").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadFile("the manifest is not text", where=str(folder), todo=REMEDY) from error
    manifest = _manifest(text, str(folder))
    for number, (_, size) in enumerate(manifest["segments"]):
        path = folder / f"{number:05d}.arrow"
        if not path.exists() or path.stat().st_size != size:
            raise BadFile("the packed segment is missing or cut off", where=str(path), todo=REMEDY)
    schema = schema_from_json(manifest["schema"], where=str(folder))
    names = [info.name for info in source.files]
    if [entry[0] for entry in manifest["files"]] != names:
        raise BadFile("the cache was made from other files", where=str(folder), todo=REMEDY)
    files = tuple(replace(info, rows=entry[1]) for info, entry in zip(source.files, manifest["files"], strict=True))
    counts = [count for count, _ in manifest["segments"]]
    store = PackedStore(folder, files, schema, counts, source.store if source.content else None)
    return Made(store, schema, limit=source.limit, content=source.content, task=source.task)


def _manifest(text: str, where: str) -> dict[str, Any]:
    """The manifest, every field of the type and range that `_write` gives."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"the manifest is not JSON ({error})", where=where, todo=REMEDY) from error
    if not isinstance(found, dict) or set(found) != {"format", "schema", "files", "segments"} or found["format"] != FORMAT or not isinstance(found["schema"], str):
        raise BadFile("the manifest does not hold exactly format, schema, files and segments", where=where, todo=REMEDY)
    files, segments = found["files"], found["segments"]
    sound = isinstance(files, list) and isinstance(segments, list) and all(_row(entry, (str, int, int)) for entry in files) and all(_row(entry, (int, int)) for entry in segments)
    if not sound or sum(entry[1] for entry in files) != sum(entry[0] for entry in segments):
        raise BadFile("the manifest's rows do not add up", where=where, todo=REMEDY)
    if any(entry[0] != SEGMENT for entry in segments[:-1]):
        raise BadFile(f"a segment is not {SEGMENT} rows long", where=where, todo=REMEDY)
    return found


def _row(entry: Any, kinds: tuple[type, ...]) -> bool:
    """Whether an entry is a list of exactly these types, its numbers neither negative nor beyond any disk."""
    if not isinstance(entry, list) or [type(value) for value in entry] != list(kinds):
        return False
    return all(0 <= value < 1 << 62 for value in entry if isinstance(value, int))


