"""Predictions on HDFS: a folder of Parquet parts, a part a lane, that appears or is replaced all at once."""

from __future__ import annotations

import contextlib
import io
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..core.errors import OutgrowError, StorageError
from ..places.hdfs import split, told
from .hdfs import exists, hdfs_client, new_file
from .sink import Part

__all__ = ["HdfsSink"]

_PART = re.compile(r"part-\d+\.parquet\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class HdfsSink:
    """Columns to the folder `path`, an ``hdfs://`` address. Travels to workers; each makes its own connection.

    token: sets runs apart that write the same path.
    """

    path: str
    token: str = ""

    def __post_init__(self) -> None:
        if self.path.endswith((".parquet", ".csv")):
            raise StorageError("on HDFS predictions are a folder of Parquet parts", where=self.path, todo="Name a folder, without .parquet or .csv.")

    @property
    def _out(self) -> str:
        return split(self.path)[1]

    def _beside(self, what: str) -> str:
        parent, _, name = self._out.rpartition("/")
        return f"{parent}/.{name}.{what}"

    @property
    def parts(self) -> str:
        """The folder of finished parts, beside the output so that renaming is enough."""
        return self._beside(f"parts-{self.token}" if self.token else "parts")

    @property
    def _client(self) -> Any:
        return hdfs_client(self.path)

    def prepare(self) -> None:
        """Make the folder of parts; raises StorageError where the output could not be put in its place."""
        client = self._client
        with told(self.path, writing=True):
            parent = self._out.rpartition("/")[0] or "/"
            if not exists(client, parent):
                raise StorageError("its folder does not exist", where=self.path, todo=f"Make it: hdfs dfs -mkdir -p {parent}.")
            if exists(client, self._out):
                if not client.get_file_info(self._out).isdir:
                    raise StorageError("it is a file", where=self.path, todo="Name a folder.")
                names = (status.path.rpartition("/")[2] for status in client.list_status(self._out))
                other = next((name for name in names if not _PART.match(name)), None)
                if other is not None:
                    raise StorageError(f"the folder holds {other!r}, which is no part of predictions", where=self.path, todo="Name a new folder.")
            client.mkdirs(self.parts, 0o755)
            probe = f"{self.parts}/.probe-{uuid.uuid4().hex}"
            try:
                with new_file(client, probe, self.path) as file:
                    file.write(bytes(4096))
            finally:
                client.delete(probe)

    @contextmanager
    def part(self, lane: int) -> Iterator[Part]:
        """A writer for the rows of one lane. Left without an error, the part is seen at once, by rename."""
        client, attempt = self._client, f"{self.parts}/.{lane}-{uuid.uuid4().hex}"

        def opened() -> io.BufferedWriter:
            return io.BufferedWriter(new_file(client, attempt, self.path), 1 << 20)

        part = Part(opened)
        try:
            yield part
            part.close()
            with told(self.path, writing=True):
                if not exists(client, attempt):  # no row came
                    new_file(client, attempt, self.path).close()
                client.rename(attempt, self._part(lane), overwrite=True)
        finally:
            part.drop()
            with contextlib.suppress(RuntimeError, OSError):  # the error that led here says more
                client.delete(attempt)

    def _part(self, lane: int) -> str:
        return f"{self.parts}/part-{lane:05d}.parquet"

    def commit(self, lanes: int) -> None:
        """Put the parts of lanes 0 … lanes - 1 in the output's place; an earlier one steps aside and is removed last."""
        client = self._client
        with told(self.path, writing=True):
            sizes = {status.path.rpartition("/")[2]: status.length for status in client.list_status(self.parts)}
            names = [self._part(lane).rpartition("/")[2] for lane in range(lanes)]
            lost = next((name for name in names if name not in sizes), None)
            if lost is not None:
                raise StorageError(f"the part {lost} is missing", where=f"{self.path}: {self.parts}", todo="It was removed while the run went on; run again with --fresh.")
            fresh, old = self._beside(uuid.uuid4().hex), self._beside(f"old-{uuid.uuid4().hex}")
            client.mkdirs(fresh, 0o755)
            for name in names:
                if sizes[name]:
                    client.rename(f"{self.parts}/{name}", f"{fresh}/{name}")
            held = exists(client, self._out)
            if held:
                client.rename(self._out, old)
            client.rename(fresh, self._out)
            if held:
                client.delete(old, recursive=True)
        self.drop()

    def drop(self) -> None:
        """Remove the parts: nothing half-written stays."""
        with contextlib.suppress(OutgrowError), told(self.path, writing=True):  # what led here says more
            self._client.delete(self.parts, recursive=True)
