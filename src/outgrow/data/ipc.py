"""Arrow IPC: files (also Feather) are cut at their record batches; streams are read in one direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core.errors import BadInput
from .batch import Field
from .blocks import Block, FileInfo, Memo, columns_of, one_schema, partition_column, partition_type
from .place import Place

__all__ = ["ArrowStore"]

_HUGE_ROWS = 2_000_000


class ArrowStore:
    """Files of one schema, memory-mapped where they are local."""

    format = "arrow"

    def __init__(self, place: Place, names: Sequence[str], parts: Sequence[tuple[tuple[str, str | None], ...]]) -> None:
        self.place = place
        self._streams: set[int] = set()
        looks = [self._look(index, name, part) for index, (name, part) in enumerate(zip(names, parts, strict=True))]
        self.files = tuple(info for info, _ in looks)
        self.raw = one_schema([(info.name, schema) for info, schema in looks])
        self._own = tuple(self.raw)
        for key, _ in self.files[0].parts:
            self.raw[key] = partition_type([dict(info.parts)[key] for info in self.files])
        self.bytes_per_row = float(np.mean([self._stream_row_bytes(index) for index in sorted(self._streams)])) if self._streams else 1.0

    @property
    def cuttable(self) -> bool:
        return not self._streams and all(b - a <= _HUGE_ROWS for info in self.files for a, b in zip(info.cuts[:-1], info.cuts[1:], strict=True))

    def _look(self, index: int, name: str, parts: tuple[tuple[str, str | None], ...]) -> tuple[FileInfo, Any]:
        import pyarrow as pa

        size, stamp = self.place.stat(name)
        if size == 0:
            raise BadInput("the file is empty", where=name, todo="Remove it, or write it again.")
        source = self.place.open(name, mapped=True)
        head = bytes(source.read(6))
        source.seek(0)
        try:
            if head != b"ARROW1":
                self._streams.add(index)
                return FileInfo(name=name, bytes=size, rows=None, stamp=stamp, parts=parts), pa.ipc.open_stream(source).schema
            schema = pa.ipc.open_file(source).schema
            source.seek(0)
            one = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=[0], use_threads=False))
            counts = [one.get_batch(k).num_rows for k in range(one.num_record_batches)]
        except (pa.ArrowException, OSError) as error:
            raise _damaged(name, error) from error
        cuts = tuple(int(row) for row in np.cumsum([0, *counts]))
        return FileInfo(name=name, bytes=size, rows=cuts[-1], stamp=stamp, cuts=cuts, parts=parts), schema

    def _stream_row_bytes(self, index: int) -> float:
        batch = next(self._batches(index, 0), (0, None))[1]
        return max(1.0, batch.nbytes / max(1, batch.num_rows)) if batch is not None else 1.0

    def _batches(self, index: int, start: int) -> Iterator[tuple[int, Any]]:
        """``(row, record batch)`` from the one that holds row `start` on."""
        import pyarrow as pa

        info = self.files[index]
        source = self.place.open(info.name, mapped=True)
        options = pa.ipc.IpcReadOptions(use_threads=False)
        try:
            if index in self._streams:
                at = 0
                for batch in pa.ipc.open_stream(source, options=options):
                    yield at, batch
                    at += batch.num_rows
                return
            reader = pa.ipc.open_file(source, options=options)
            first = int(np.searchsorted(np.array(info.cuts), start, side="right")) - 1
            for k in range(first, reader.num_record_batches):
                yield info.cuts[k], reader.get_batch(k)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(info.name, error) from error

    def sample(self, rows: int) -> Any:
        """The first rows of up to 8 files."""
        import pyarrow as pa

        last = len(self.files) - 1
        picks = sorted({round(last * k / 7) for k in range(8)})
        each, tables = -(-rows // len(picks)), []
        for index in picks:
            found, have = [], 0
            for _, batch in self._batches(index, 0):
                found.append(batch.slice(0, each - have))
                have += found[-1].num_rows
                if have >= each:
                    break
            for batch in found:
                columns = {name: batch.column(name).cast(self.raw[name]) for name in self._own}
                columns.update({key: pa.repeat(pa.scalar(value, pa.string()), len(batch)).cast(self.raw[key]) for key, value in self.files[index].parts})
                tables.append(pa.table(columns))
        return pa.concat_tables(tables) if tables else pa.table({name: pa.array([], kind) for name, kind in self.raw.items()})

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """One block a record batch: the file says how large they are."""
        memo, info = Memo(), self.files[index]
        own = [item for item in fields if item.name in self._own]
        for at, batch in self._batches(index, start):
            low, high = max(start - at, 0), batch.num_rows if stop is None else min(stop - at, batch.num_rows)
            if low < high:
                columns = columns_of(batch.slice(low, high - low), own, info.name, memo)
                for name, value in info.parts:
                    item = next((item for item in fields if item.name == name), None)
                    if item is not None:
                        columns[name] = partition_column(item, value, high - low, memo)
                yield Block(at + low, high - low, {item.name: columns[item.name] for item in fields}, info.name)
            if stop is not None and at + batch.num_rows >= stop:
                return

    def check(self) -> None:
        for info in self.files:
            if self.place.stat(info.name) != (info.bytes, info.stamp):
                raise BadInput("the file has changed since it was first looked at", where=info.name, todo="Run again, so that all rows are of one version.")


def _damaged(name: str, error: Exception) -> BadInput:
    return BadInput(f"the file is not readable as Arrow IPC ({str(error).splitlines()[0]})", where=name, todo="It is damaged or cut off; write it again.")
