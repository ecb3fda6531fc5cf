"""Files on HDFS, without Java: a pyarrow file system over hdfs-native, and files written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import uuid
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from pyarrow import fs

from ..core.errors import BadInput, StorageError
from ..places.hdfs import connect, split, told

__all__ = ["HdfsHandler", "exists", "hdfs_client", "new_file", "read_whole", "writable", "write_whole"]


def hdfs_client(address: str) -> Any:
    """The `hdfs_native.Client` of an address. Raises BadInput within seconds where no NameNode answers."""
    try:
        from hdfs_native import Client
    except ImportError:
        raise BadInput("files on HDFS need hdfs-native, which is not installed", where=address, todo="pip install 'outgrow[hadoop]'") from None
    return connect(Client, address)


class _Reader(io.RawIOBase):
    """Random access to one file; what goes wrong is told with its name."""

    def __init__(self, inner: Any, where: str) -> None:
        self._inner, self._where, self._at, self._size = inner, where, 0, len(inner)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        with told(self._where):
            data: bytes = self._inner.read_range(self._at, wanted)
        self._at += len(data)
        return data


class _Writer(io.RawIOBase):
    """A new file, written from start to end."""

    def __init__(self, inner: Any, where: str) -> None:
        self._inner, self._where = inner, where

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with told(self._where, writing=True):
            return int(self._inner.write(bytes(data)))

    def close(self) -> None:
        if not self.closed:
            super().close()
            with told(self._where, writing=True):
                self._inner.close()


def _at(path: str) -> str:
    """A path as HDFS takes it; below the root of a file system pyarrow's begin with a name."""
    return "/" + path.strip("/")


class HdfsHandler(fs.FileSystemHandler):  # type: ignore[misc]
    """HDFS for pyarrow. Paths are absolute, without host.

    address : str
        Any address on the file system; the connection is made, and known to answer, when this returns.
    """

    def __init__(self, address: str) -> None:
        self.client, self.root = hdfs_client(address), f"hdfs://{split(address)[0]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HdfsHandler) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def _told(self, path: str, *, writing: bool = False) -> Any:
        return told(self.root + _at(path), writing=writing)

    def get_type_name(self) -> str:
        return "hdfs-native"

    def normalize_path(self, path: str) -> str:
        return path

    def _info(self, status: Any, path: str) -> Any:
        if status.isdir:
            return fs.FileInfo(path, fs.FileType.Directory)
        return fs.FileInfo(path, fs.FileType.File, size=status.length, mtime_ns=status.modification_time * 1_000_000)

    def get_file_info(self, paths: list[str]) -> list[Any]:
        found = []
        for path in paths:
            with self._told(path):
                try:
                    found.append(self._info(self.client.get_file_info(_at(path)), path))
                except FileNotFoundError:
                    found.append(fs.FileInfo(path, fs.FileType.NotFound))
        return found

    def get_file_info_selector(self, selector: Any) -> list[Any]:
        with self._told(selector.base_dir):
            try:
                listed = list(self.client.list_status(_at(selector.base_dir), selector.recursive))
            except FileNotFoundError:
                if selector.allow_not_found:
                    return []
                raise FileNotFoundError(selector.base_dir) from None
            return [self._info(status, split(status.path)[1] if "://" in status.path else status.path) for status in listed]

    def open_input_file(self, path: str) -> Any:
        with self._told(path):
            return pa.PythonFile(_Reader(self.client.read(_at(path)), self.root + _at(path)), mode="r")

    open_input_stream = open_input_file

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        return pa.PythonFile(new_file(self.client, _at(path), self.root + _at(path), overwrite=True), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise NotImplementedError("files on HDFS are written once")

    def create_dir(self, path: str, recursive: bool) -> None:
        with self._told(path, writing=True):
            self.client.mkdirs(_at(path), create_parent=recursive)

    def delete_dir(self, path: str) -> None:
        with self._told(path, writing=True):
            self.client.delete(_at(path), recursive=True)

    delete_file = delete_dir

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        for info in self.get_file_info_selector(fs.FileSelector(path, allow_not_found=missing_dir_ok)):
            self.delete_dir(info.path)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("a whole file system is not deleted")

    def move(self, src: str, dest: str) -> None:
        with self._told(dest, writing=True):
            self.client.rename(_at(src), _at(dest), overwrite=True)

    def copy_file(self, src: str, dest: str) -> None:
        raise NotImplementedError("files on HDFS are not copied here")


def read_whole(address: str) -> bytes:
    """All bytes of a file. Raises BadInput."""
    client = hdfs_client(address)
    with told(address):
        data: bytes = client.read(split(address)[1]).read()
    return data


def write_whole(address: str, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file so that it is there whole or not at all. Raises StorageError; what was there before is then untouched."""
    client, path = hdfs_client(address), split(address)[1]
    parent, _, name = path.rpartition("/")
    temporary = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}.tmp"
    with told(address, writing=True):
        try:
            with new_file(client, temporary, address) as file:
                for chunk in chunks:
                    file.write(chunk)
            client.rename(temporary, path, overwrite=True)
        finally:
            with contextlib.suppress(RuntimeError, OSError):  # the error that led here says more
                client.delete(temporary)


def writable(address: str) -> None:
    """Raise StorageError where a file could not be made at the address; nothing that is there is touched."""
    client, path = hdfs_client(address), split(address)[1]
    parent = path.rpartition("/")[0]
    with told(address, writing=True):
        if not exists(client, parent or "/"):
            raise StorageError("its folder does not exist", where=address, todo=f"Make it: hdfs dfs -mkdir -p {parent}.")
        if exists(client, path) and client.get_file_info(path).isdir:
            raise StorageError("this is a folder", where=address, todo="Name a file.")
        probe = f"{parent}/.{uuid.uuid4().hex}.tmp"
        try:
            new_file(client, probe, address).close()
        finally:
            with contextlib.suppress(RuntimeError, OSError):  # the error that led here says more
                client.delete(probe)


def new_file(client: Any, path: str, where: str, *, overwrite: bool = False) -> io.RawIOBase:
    """A new file for writing, in a folder that is there. Raises StorageError, `where` named."""
    from hdfs_native import WriteOptions

    with told(where, writing=True):
        return _Writer(client.create(path, WriteOptions(overwrite=overwrite, create_parent=False)), where)


def exists(client: Any, path: str) -> bool:
    """True for a file or folder that is there."""
    try:
        client.get_file_info(path)
    except FileNotFoundError:
        return False
    return True
