"""Parquet: whole row groups decoded on one thread, dictionaries kept, one file open at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.errors import BadInput
from .batch import Codes, Column, Field
from .blocks import Block, FileInfo, Memo, columns_of, one_schema, partition_column, partition_type
from .columns import storage_type
from .place import Place

__all__ = ["ParquetStore", "row_bytes"]

_Key = tuple[int, int, tuple[Field, ...], int]  # file, row group, fields, rows a block
_HUGE_ROWS = 2_000_000  # a row group above this takes too long to decode from its start
_FEW_ROWS = 8192  # below, loading the compiled loops costs more than they save
_MANY = 4  # … or one that decodes to this many times the limit


def row_bytes(kind: str, arrow: Any) -> int:
    """Bytes of one decoded row of a column, validity included; text is taken as 64."""
    if kind == "category":
        return 4
    if kind in ("text", "sparse"):
        return 72
    kept = storage_type(kind, arrow)
    return max(1, int(getattr(kept, "bit_width", 64)) // 8) + 1


class ParquetStore:
    """Files of one schema. Row groups are the places where reading can begin."""

    format = "parquet"

    def __init__(self, place: Place, names: Sequence[str], parts: Sequence[tuple[tuple[str, str | None], ...]]) -> None:
        self.place = place
        with ThreadPoolExecutor(min(8, len(names))) as pool:
            looks = list(pool.map(self._look, names, parts))
        self.files = tuple(info for info, _ in looks)
        self.raw = one_schema([(info.name, schema) for info, schema in looks])
        self._own: tuple[str, ...] = tuple(self.raw)
        for key, _ in self.files[0].parts:
            self.raw[key] = partition_type([dict(info.parts)[key] for info in self.files])
        self._open: tuple[tuple[int, tuple[str, ...], bool], Any] | None = None
        self._held: tuple[_Key, Block] | None = None
        self._map: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None, "_held": None, "_map": None}

    @property
    def cuttable(self) -> bool:
        wide = sum(row_bytes("category" if str(kind) == "string" else "number", kind) for kind in self.raw.values())
        most = min(_HUGE_ROWS, _MANY * (64 << 20) // max(1, wide))
        return all(info.cuts[k + 1] - info.cuts[k] <= max(most, 65536) for info in self.files for k in range(len(info.cuts) - 1))

    def _look(self, name: str, parts: tuple[tuple[str, str | None], ...]) -> tuple[FileInfo, Any]:
        size, stamp = self.place.stat(name)
        meta, footer = self._metadata(name, size)
        counts = [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]
        cuts = tuple(int(row) for row in np.cumsum([0, *counts]))
        return FileInfo(name=name, bytes=size, rows=meta.num_rows, stamp=stamp, footer=footer, cuts=cuts, parts=parts), meta.schema.to_arrow_schema()

    def _metadata(self, name: str, size: int) -> tuple[Any, str]:
        """The footer of a file and its hash."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if size == 0:
            raise BadInput("the file is empty", where=name, todo="Remove it, or write it again.")
        with self.place.open(name) as source:
            try:
                source.seek(max(0, size - 8))
                tail = source.read(8)
                length = int.from_bytes(tail[:4], "little")
                if tail[4:] != b"PAR1" or length + 8 > size:
                    raise BadInput("the file is cut off: it does not end with a Parquet footer", where=name, todo="Write or copy it again.")
                source.seek(size - 8 - length)
                footer = hashlib.sha256(source.read(length)).hexdigest()[:32]
                source.seek(0)
                return pq.read_metadata(source), footer
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                if isinstance(error, BadInput):
                    raise
                raise BadInput(f"the file is not readable as Parquet ({_line(error)})", where=name, todo="Write it again.") from error

    def _file(self, index: int, dictionaries: tuple[str, ...], *, whole: bool = True) -> Any:
        """The open file; the last one stays open, with its footer parsed. `whole`: row groups are read at once."""
        import pyarrow.parquet as pq

        key = index, dictionaries, whole
        if self._open is None or self._open[0] != key:
            self._open = None
            source = self.place.open(self.files[index].name, mapped=True)
            # a local column chunk is a view of the map; from afar a row group comes in few large requests, a huge one is streamed
            far = not self.place.local
            found = pq.ParquetFile(source, read_dictionary=list(dictionaries), pre_buffer=far and whole, buffer_size=1 << 20 if far and not whole else 0)
            self._open = key, found
        return self._open[1]

    def sample(self, rows: int) -> Any:
        """The first rows of up to 8 row groups, spread over all files."""
        import pyarrow as pa

        groups = [(i, g) for i, info in enumerate(self.files) for g in range(len(info.cuts) - 1) if info.cuts[g + 1] > info.cuts[g]]
        picks = [groups[k] for k in sorted({round(x) for x in np.linspace(0, len(groups) - 1, 8)})] if groups else []
        tables = []
        for index, group in picks:
            each = -(-rows // len(picks))
            with self._told(index, group):
                batch = next(self._batches(index, group, list(self._own), (), each))
            table = pa.Table.from_batches([batch])
            for key, value in self.files[index].parts:
                table = table.append_column(key, pa.repeat(pa.scalar(value, pa.string()), len(table)).cast(self.raw[key]))
            tables.append(pa.table({name: table.column(name).cast(kind) for name, kind in self.raw.items()}))
        return pa.concat_tables(tables) if tables else pa.table({name: pa.array([], kind) for name, kind in self.raw.items()})

    def _batches(self, index: int, group: int, names: list[str], dictionaries: tuple[str, ...], size: int) -> Iterator[Any]:
        yield from self._file(index, dictionaries, whole=False).iter_batches(batch_size=size, row_groups=[group], columns=names, use_threads=False)

    def _tables(self, index: int, group: int, fields: Sequence[Field], size: int) -> Iterator[Any]:
        """The row group as tables of at most `size` rows."""
        names = [item.name for item in fields]
        dictionaries = tuple(item.name for item in fields if item.kind == "category" and str(self.raw[item.name]) in ("string", "large_string", "binary"))
        whole = self.files[index].cuts[group + 1] - self.files[index].cuts[group] <= size
        with self._told(index, group):
            if whole:
                yield self._file(index, dictionaries).read_row_group(group, columns=names, use_threads=False)
            else:
                yield from self._batches(index, group, names, dictionaries, size)

    def _quick(self, index: int, group: int, fields: Sequence[Field], memo: Memo) -> dict[str, Column]:
        """The columns of a row group that can be taken straight from their pages."""
        import pyarrow as pa

        from .pages import chunk_of, column_from_pages

        file = self._file(index, ())
        meta, schema = file.metadata, file.schema
        places = {schema.column(j).path: j for j in range(len(schema))}
        kinds = {item.name: str(item.type.value_type if pa.types.is_dictionary(item.type) else item.type) for item in file.schema_arrow}
        about, where, found = meta.row_group(group), self._where(index, group), {}
        with self._told(index, group):
            for item in fields:
                place = places.get(item.name)
                chunk = chunk_of(about, place, schema, item, kinds[item.name]) if place is not None else None
                column = column_from_pages(*self._pages(index, chunk), item, where, memo.last.get(item.name)) if chunk is not None else None
                if column is not None:
                    found[item.name] = column
                if isinstance(column, Codes):
                    memo.last[item.name] = column.dictionary
        return found

    def _pages(self, index: int, chunk: Any) -> tuple[Any, Any]:
        """Bytes and the place of a chunk in them: a file that is here is mapped whole, from afar the chunk alone is read."""
        import pyarrow as pa

        if self._map is None or self._map[0] != index:
            source = self.place.open(self.files[index].name, mapped=True)
            self._map = index, np.frombuffer(source.read_buffer(), np.uint8) if isinstance(source, pa.MemoryMappedFile) else source
        held = self._map[1]
        if isinstance(held, np.ndarray):
            return held, chunk
        held.seek(chunk.start)
        return np.frombuffer(held.read(chunk.stop - chunk.start), np.uint8), replace(chunk, start=0, stop=chunk.stop - chunk.start)

    @contextmanager
    def _told(self, index: int, group: int) -> Iterator[None]:
        """Tell of a damaged page by file and row group."""
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"the data cannot be decoded ({_line(error)})", where=self._where(index, group), todo="The file is damaged; write it again.") from error

    def _where(self, index: int, group: int) -> str:
        return f"{self.files[index].name}, row group {group}"

    @property
    def _single(self) -> bool:
        """True where all rows lie in one row group, which every pass reads."""
        return len(self.files) == 1 and len(self.files[0].cuts) <= 2

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """Rows [start, stop) of a file: a row group at once where it decodes to at most `limit` bytes, streamed where not."""
        info = self.files[index]
        end = info.cuts[-1] if stop is None else stop
        wide = max(1, sum(row_bytes(item.kind, self.raw[item.name]) for item in fields))
        most = max(4096, limit // wide)
        memo = Memo()
        for group in range(len(info.cuts) - 1):
            first, last = info.cuts[group], info.cuts[group + 1]
            if last <= start or first >= end or last == first:
                continue
            size = most if last - first <= most else max(4096, most // 4)  # streaming holds pages of every column besides
            key = (index, group, tuple(fields), size)
            if self._held is not None and self._held[0] == key:
                found = iter([self._held[1]])
            else:
                self._held = None
                found = self._decoded(key, memo)
            for block in found:
                low, high = max(start, block.start), min(end, block.start + block.count)
                if high == last and not self._single:
                    self._held = None  # nothing that is left to read begins in this group
                if low < high:
                    yield block.cut(low - block.start, high - block.start)
                done = block.start + block.count >= end
                del block  # free it before the next one is decoded
                if done:
                    break
            del found

    def _decoded(self, key: _Key, memo: Memo) -> Iterator[Block]:
        index, group, fields, size = key
        info = self.files[index]
        at, last = info.cuts[group], info.cuts[group + 1]
        where = self._where(index, group)
        own = [item for item in fields if item.name in self._own]
        whole = last - at <= size
        quick = self._quick(index, group, own, memo) if whole and last - at >= _FEW_ROWS and self.place.near else {}
        rest = [item for item in own if item.name not in quick]
        for table in self._tables(index, group, rest, size):
            columns = quick | columns_of(table, rest, where, memo)
            for name, value in info.parts:
                item = next((item for item in fields if item.name == name), None)
                if item is not None:
                    columns[name] = partition_column(item, value, table.num_rows, memo)
            block = Block(at, table.num_rows, {item.name: columns[item.name] for item in fields}, where)
            at += table.num_rows
            if block.count == last - info.cuts[group]:
                self._held = key, block  # the next shard often begins in the same row group
            del table, columns
            quick = {}
            yield block
            del block
        if at != last:
            counts = f"{at - info.cuts[group]} rows, its footer says {last - info.cuts[group]}"
            raise BadInput(f"the row group gave {counts}", where=where, todo="The file is damaged or was changed; write it again.")

    def bounds(self, name: str) -> tuple[Any, Any] | None:
        """The exact smallest and largest value of a column of whole numbers or bools, where every footer tells them."""
        import pyarrow as pa

        if not (pa.types.is_integer(self.raw[name]) or pa.types.is_boolean(self.raw[name])) or name not in self._own:
            return None
        ends: list[Any] = []
        for index in range(len(self.files)):
            meta = self._file(index, ()).metadata
            place = next((j for j in range(meta.num_columns) if meta.schema.column(j).path == name), None)
            groups = [meta.row_group(g) for g in range(meta.num_row_groups)]
            for found in [group.column(place).statistics for group in groups if group.num_rows and place is not None]:
                if found is None or not found.has_min_max:
                    return None
                ends += [found.min, found.max]
        return (min(ends), max(ends)) if ends else None

    def check(self) -> None:
        for info in self.files:
            size, stamp = self.place.stat(info.name)
            changed = size != info.bytes or (stamp != info.stamp and self._metadata(info.name, size)[1] != info.footer)
            if changed:
                raise BadInput("the file has changed since it was first looked at", where=info.name, todo="Run again, so that all rows are of one version.")


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
