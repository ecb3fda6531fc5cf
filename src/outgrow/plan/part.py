"""Some rows of a source as a source of their own, decoded once and timed."""

from __future__ import annotations

import ctypes
import gc
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.batch import Codes

__all__ = ["LIMIT", "PLACES", "Columns", "Part", "Reading", "group", "picking", "places", "settle", "streaming", "undisturbed", "warm"]

PLACES = 4
LIMIT = 64 << 20  # bytes of a block that is decoded to be timed, as a run without a budget decodes it
_PIECE, _PIECES = 4 << 20, 1 << 17  # bytes of a small block, and the rows that are read to time them

Columns = tuple[str, ...] | None


def undisturbed() -> float:
    """A clock in seconds that stands still while this thread waits for a processor that others use: prices are those of a machine left alone."""
    try:
        waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        waited = 0  # elsewhere others count
    return time.perf_counter() - waited * 1e-9


def settle() -> None:
    """Give back what is not in use, so that what is held can be told from what was."""
    import pyarrow as pa

    gc.collect(1)  # what was made lately; going through all that was ever imported takes a tenth of a second
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


@dataclass
class Reading:
    """Rows decoded, and the seconds that took."""

    rows: int = 0
    seconds: float = 0.0


class Part:
    """Some runs of a source as a source of their own: rows [start, start + count) of each, with positions from 0.

    Decoded rows are kept, so that a second pass costs no reading; `readings` says what reading took, by the columns that were asked for.
    What was derived from a dictionary is forgotten between passes, as it is where every pass decodes anew.
    """

    def __init__(self, source: Any, starts: Sequence[int], count: int, limit: int) -> None:
        self.whole = own(source, limit)
        self.starts, self.count = list(starts), count
        self.rows = count * len(self.starts)
        self.schema, self.content = source.schema, "a part"
        self.readings: dict[Columns, Reading] = {}
        self.processor_seconds = 0.0  # of all reading
        self.given_rows = self.held_rows = 0
        self._whole_groups = source.store.format == "parquet" and group(source)[1] * source.row_bytes <= limit
        self._held: dict[Any, list[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}}

    @contextmanager
    def _reading(self, columns: Sequence[str] | None, rows: int) -> Iterator[None]:
        """Count rows as read, and what that takes."""
        began, worked = undisturbed(), time.thread_time()
        yield
        self.processor_seconds += time.thread_time() - worked
        reading = self.readings.setdefault(None if columns is None else tuple(columns), Reading())
        reading.seconds += undisturbed() - began
        reading.rows += rows
        self.held_rows = max(self.held_rows, reading.rows)

    def read(self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
        while start < stop:
            place, inside = divmod(start, self.count)
            here = min(stop - start, self.count - inside)
            fresh: dict[int, Any] = {}
            for batch in self._batches(self.starts[place] + inside, here, batch_rows, columns):
                self.given_rows += batch.rows
                yield replace(batch, start=start, columns={name: _forgetful(column, fresh) for name, column in batch.columns.items()})
                start += batch.rows

    def _batches(self, first: int, rows: int, batch_rows: int, columns: Sequence[str] | None) -> list[Any]:
        key = (first, rows, batch_rows, columns)
        if key not in self._held:
            fresh = (None if columns is None else tuple(columns)) not in self.readings
            decoded = max(rows, group(self.whole)[1]) if self._whole_groups and fresh else rows
            with self._reading(columns, decoded):
                self._held[key] = list(self.whole.read(first, first + rows, batch_rows, columns))
        return self._held[key]

    def take(self, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> Any:
        """Rows picked from the decoded ones; what picking takes where the rows lie is measured by `picking`."""
        from ..data.columns import join
        from ..data.segment import compact

        at, key = np.asarray(positions, np.int64), ("picked", None if columns is None else tuple(columns))
        if key not in self._held:
            parts = [batch for first in self.starts for batch in self._batches(first, self.count, self.count, columns)]
            joined_columns = {name: join([part.columns[name] for part in parts]) for name in parts[0].columns}
            ids = None if parts[0].ids is None else np.concatenate([part.ids for part in parts])
            self._held[key] = [replace(parts[0], columns=joined_columns, start=0, count=self.rows, ids=ids)]
        began = time.thread_time()
        batch = self._held[key][0].where(at)
        fresh = {name: compact(column) if isinstance(column, Codes) else column for name, column in batch.columns.items()}
        self.processor_seconds += time.thread_time() - began
        self.given_rows += batch.rows
        return replace(batch, columns=fresh)

    def check(self) -> None:
        return

    def close(self) -> None:
        """Let go of decoded rows and files, whoever may still hold this part."""
        self._held.clear()
        self.whole = None


def _forgetful(column: Any, fresh: dict[int, Any]) -> Any:
    """The column with a dictionary of which nothing has been derived yet; `fresh` holds those made so far."""
    if not isinstance(column, Codes):
        return column
    key = id(column.dictionary)
    if key not in fresh:
        kind, arguments = column.dictionary.__reduce__()
        fresh[key] = kind(*arguments)
    return replace(column, dictionary=fresh[key])


def own(source: Any, limit: int) -> Any:
    """The source with files and decoded rows of its own, which go when it goes; rows in memory as they are."""
    if not source.content:
        return source
    other = pickle.loads(pickle.dumps(source))  # noqa: S301 our own bytes, just made
    other.limit = limit
    return other


def _cuts(source: Any) -> list[int]:
    """Positions where reading can begin, in order, and the end."""
    firsts = np.cumsum([0, *(info.rows or 0 for info in source.files)])
    return sorted({first + cut for first, info in zip(firsts.tolist(), source.files, strict=False) for cut in (info.cuts or (0,))} | {source.rows})


def places(source: Any, count: int) -> list[int]:
    """Where up to four runs of `count` rows begin: evenly spread, in front of a place where reading can begin."""
    rows, cuts = source.rows, _cuts(source)
    starts: list[int] = []
    for k in range(PLACES):
        wanted = (rows - count) * k // (PLACES - 1)
        below = max((cut for cut in cuts if cut <= wanted), default=0) if source.store.format == "parquet" else wanted
        start = min(below, rows - count)
        if not starts or start >= starts[-1] + count:
            starts.append(start)
    return starts


def group(source: Any) -> tuple[int, int]:
    """(first row, rows) of the row group in the middle; all rows where reading begins anywhere."""
    if source.store.format != "parquet":
        return 0, source.rows
    groups = list(pairwise(_cuts(source)))
    start, stop = groups[len(groups) // 2]
    return start, stop - start


_WARM: set[tuple[str, ...]] = set()  # types of the columns of which this program has decoded a row group


def warm(source: Any, batch_rows: int) -> float:
    """Processor seconds of decoding a row group for the first time in this program, which compiles or loads what few rows do not use; 0 where that was done."""
    if source.store.format != "parquet":
        return 0.0
    start, count = group(source)
    kinds = tuple(sorted({str(kind) for kind in source.store.raw.values()}))
    if count * source.row_bytes > LIMIT or kinds in _WARM:
        return 0.0
    began = time.thread_time()
    for _ in own(source, LIMIT).read(start, start + count, batch_rows):
        pass
    _WARM.add(kinds)
    return time.thread_time() - began


def streaming(source: Any, batch_rows: int, columns: Columns) -> float:
    """Seconds a row of decoding a row group in small blocks, which takes some two times what taking it whole does."""
    start, count = group(source)
    count, other, seconds = min(count, _PIECES), own(source, _PIECE), []
    for rows in (min(count, 1024), count):  # the first one opens the file
        began = undisturbed()
        for _ in other.read(start, start + rows, batch_rows, columns):
            pass
        seconds.append(undisturbed() - began)
    return seconds[-1] / count


def picking(source: Any, count: int, columns: Columns, *, rows: int, packed: bool) -> float:
    """Seconds a row of picking `count` rows at a time at random positions of `rows` rows.

    packed: as from a packed cache of so many rows, of which one segment is written, from a row group, and stands for all; else from the source itself.
    """
    from ..data.packed import SEGMENT, repeated

    with tempfile.TemporaryDirectory(prefix="outgrow-pick-") as folder:
        if packed:
            start, size = group(source)
            size = min(size, SEGMENT, max(1, LIMIT // max(1, source.row_bytes)))
            block = next(iter(own(source, LIMIT).read(start, start + size, size)))
            from_there: Any = repeated(source.schema, block.columns, size, -(-rows // SEGMENT), Path(folder))
            del block
        else:
            from_there = own(source, LIMIT)
        places, seconds = np.random.default_rng(0), []
        for _ in range(3):  # the first one opens what it reads
            positions = places.integers(0, from_there.rows, count)
            began = time.thread_time()
            from_there.take(positions, columns)
            seconds.append(time.thread_time() - began)
    return min(seconds[1:]) / count
