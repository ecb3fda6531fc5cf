"""Where predictions go: a part a lane, seen only when it is whole; the output appears, or is replaced, all at once."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..core.errors import StorageError
from .cache import storage_errors

__all__ = ["ParquetSink", "Part", "sink_for"]

if TYPE_CHECKING:
    from .hdfs_sink import HdfsSink

_GROUP_ROWS = 131_072
_PART = re.compile(r"part-\d+\.parquet\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetSink:
    """Columns to `path`: one Parquet file (.parquet), one CSV file (.csv), or a folder of Parquet parts (anything else).

    token: sets runs apart that write the same path; a run that goes on needs the token it began with.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sink = ParquetSink(path=folder + "/out.csv")
    ...     sink.prepare()
    ...     with sink.part(0) as part:
    ...         part.write({"score": np.array([0.5, 1.0])})
    ...     sink.commit(1)
    ...     print(Path(folder, "out.csv").read_text())
    "score"
    0.5
    1
    <BLANKLINE>
    """

    path: str
    token: str = ""

    def __post_init__(self) -> None:
        if "://" in self.path:
            raise StorageError("predictions are written to local paths and to HDFS", where=self.path, todo="Write to a folder here and copy it.")

    @property
    def _out(self) -> Path:
        return Path(self.path).expanduser().absolute()

    @property
    def parts(self) -> Path:
        """The folder of finished parts, beside the output so that a rename is enough."""
        return self._out.with_name(f".{self._out.name}.parts{'-' + self.token if self.token else ''}")

    @property
    def single(self) -> bool:
        return self._out.suffix in (".parquet", ".csv")

    def prepare(self) -> None:
        """Make the folder of parts; raises StorageError where the output could not be put in its place."""
        out = self._out
        if not out.parent.is_dir():
            raise StorageError("its folder does not exist", where=self.path, todo=f"Make it: mkdir -p {out.parent}.")
        if out.is_dir() and self.single:
            raise StorageError("it is a folder", where=self.path, todo="Name a file, or remove the folder.")
        if out.is_file() and not self.single:
            raise StorageError("it is a file", where=self.path, todo="End the name in .parquet or .csv for one file, or name a folder.")
        if out.is_dir():
            other = next((item.name for item in out.iterdir() if not _PART.match(item.name)), None)
            if other is not None:
                raise StorageError(f"the folder holds {other!r}, which is no part of predictions", where=self.path, todo="Name a new folder.")
        if out.exists() and not os.access(out, os.W_OK):
            raise StorageError("it cannot be written", where=self.path, todo="Choose a place that you may write to.")
        with storage_errors(self.path):
            self.parts.mkdir(exist_ok=True)
            probe = self.parts / f".probe-{uuid.uuid4().hex}"
            try:
                probe.write_bytes(bytes(4096))
            finally:
                probe.unlink(missing_ok=True)

    @contextmanager
    def part(self, lane: int) -> Iterator[Part]:
        """A writer for the rows of one lane. Left without an error, the part is seen at once, by rename."""
        attempt = self.parts / f".{lane}-{uuid.uuid4().hex}"
        with storage_errors(self.path):
            attempt.touch()
            part = Part(lambda: attempt.open("wb"))
            try:
                yield part
                part.close()
                attempt.replace(self._part(lane))
            finally:
                part.drop()
                attempt.unlink(missing_ok=True)

    def _part(self, lane: int) -> Path:
        return self.parts / f"part-{lane:05d}.parquet"

    def commit(self, lanes: int) -> None:
        """Put the parts of lanes 0 … lanes - 1 in the output's place, in order."""
        paths = [self._part(lane) for lane in range(lanes)]
        lost = next((path for path in paths if not path.exists()), None)
        if lost is not None:
            raise StorageError(f"the part {lost.name} is missing", where=str(self.parts), todo="It was removed while the run went on; run again with --fresh.")
        out = self._out
        with storage_errors(self.path):
            fresh = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
            try:
                if self.single:
                    _write_whole(fresh, paths, csv=out.suffix == ".csv")
                    fresh.replace(out)
                else:
                    fresh.mkdir()
                    for path in paths:
                        if path.stat().st_size:
                            path.rename(fresh / path.name)
                    _put_folder(fresh, out)
            finally:
                fresh.unlink(missing_ok=True) if self.single else shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(self.parts, ignore_errors=True)

    def drop(self) -> None:
        """Remove the parts: nothing half-written stays."""
        shutil.rmtree(self.parts, ignore_errors=True)


def sink_for(path: str, token: str = "") -> ParquetSink | HdfsSink:
    """The sink for a local path or an ``hdfs://`` address. Raises StorageError for any other address."""
    if path.startswith("hdfs://"):
        from .hdfs_sink import HdfsSink

        return HdfsSink(path=path, token=token)
    return ParquetSink(path=path, token=token)


class Part:
    """A Parquet file under its attempt's name; empty where no row came.

    opened : gives the file to write, called with the first rows.
    """

    def __init__(self, opened: Callable[[], IO[bytes]]) -> None:
        self._opened = opened
        self._file: Any = None
        self._writer: Any = None
        self._held: list[Any] = []
        self._rows = 0

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append columns: arrays of one length, numpy or Arrow."""
        import pyarrow as pa

        table = pa.table({name: value if isinstance(value, pa.Array | pa.ChunkedArray) else pa.array(value) for name, value in columns.items()})
        self._held.append(table)
        self._rows += len(table)
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._held:
            return
        table = pa.concat_tables(self._held)
        if self._writer is None:
            self._file = self._opened()
            self._writer = pq.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table, row_group_size=_GROUP_ROWS)
        self._held, self._rows = [], 0

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._file.close()
            self._file = None

    def drop(self) -> None:
        """Let go of the file where the part was not finished."""
        try:
            if self._writer is not None:
                self._writer.close()
            if self._file is not None:
                self._file.close()
        except OSError:  # the disk is full: the error that led here says so
            self._writer = None


def _write_whole(out: Path, parts: list[Path], *, csv: bool) -> None:
    """One file from all parts, row group by row group."""
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    writer: Any = None
    for path in parts:
        if path.stat().st_size == 0:
            continue
        with pq.ParquetFile(str(path)) as source:
            for group in range(source.num_row_groups):
                table = source.read_row_group(group, use_threads=False)
                if writer is None:
                    writer = pc.CSVWriter(str(out), table.schema) if csv else pq.ParquetWriter(str(out), table.schema)
                writer.write_table(table.cast(writer.schema) if not csv else table)
    if writer is None:
        empty = pa.table({})
        pc.write_csv(empty, str(out)) if csv else pq.write_table(empty, str(out))
    else:
        writer.close()


def _put_folder(fresh: Path, out: Path) -> None:
    """Rename a folder into place; an earlier one steps aside first and is removed last."""
    old = out.with_name(f".{out.name}.old-{uuid.uuid4().hex}")
    if out.exists():
        out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
