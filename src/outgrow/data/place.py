"""Where files lie: paths, globs, folders, lists and URLs become one root and sorted relative names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..core.errors import BadInput

__all__ = ["Place", "resolve"]

_WILD = re.compile(r"[*?\[]")


class Place:
    """A folder on some file system. Holds its address alone, so it travels to workers; the connection is made there.

    root: an absolute local folder, or the URL of one. Credentials are never part of it.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._fs: Any = None
        self._base = ""

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "_fs": None, "_base": ""}

    @property
    def local(self) -> bool:
        return "://" not in self.root

    @property
    def near(self) -> bool:
        """True where a range of a file costs little to ask for: here, and on HDFS."""
        return self.local or self.root.startswith("hdfs://")

    @property
    def fs(self) -> Any:
        """The pyarrow file system of the root."""
        if self._fs is None:
            self._fs, self._base = _connect(self.root)
        return self._fs

    def path(self, name: str) -> str:
        """The path of a file within the file system."""
        _ = self.fs
        return f"{self._base}/{name}" if self._base else name

    def open(self, name: str, *, mapped: bool = False) -> Any:
        """A pyarrow file with random access; `mapped` memory-maps a local one."""
        import pyarrow as pa

        try:
            if mapped and self.local:
                return pa.memory_map(self.path(name))
            return self.fs.open_input_file(self.path(name))
        except OSError as error:
            raise _unreadable(name, error) from error

    def stat(self, name: str) -> tuple[int, str]:
        """Size in bytes and a stamp (modification time or ETag) that changes when the file does."""
        info = self.fs.get_file_info(self.path(name))
        if not info.is_file:
            raise BadInput("there is no such file any more", where=name, todo="Read the source again, or put the file back.")
        stamp = str(info.mtime_ns) if info.mtime is not None else ""
        if not stamp and self.fs.type_name.startswith("py"):
            details = self.fs.handler.fs.info(self.path(name))
            stamp = str(next((details[key] for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created") if key in details), ""))
        return int(info.size), stamp


def _unreadable(name: str, error: OSError) -> BadInput:
    if isinstance(error, FileNotFoundError):
        return BadInput("there is no such file", where=name, todo="Check the path.")
    return BadInput(f"the file cannot be opened ({error})", where=name, todo="Check the path and your rights to read it.")


def _connect(address: str) -> tuple[Any, str]:
    """The file system of a local path or URL, and the path within it."""
    import pyarrow as pa
    from pyarrow import fs

    if "://" not in address:
        return fs.LocalFileSystem(), address.rstrip("/") or "/"
    if address.startswith("hdfs://"):  # pyarrow's own needs libhdfs and a JVM
        from ..places.hdfs import split
        from .hdfs import HdfsHandler

        return fs.PyFileSystem(HdfsHandler(address)), split(address)[1].rstrip("/")
    try:
        found, path = fs.FileSystem.from_uri(address)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import fsspec

        try:
            handler, path = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError) as error:
            raise BadInput(f"no file system answers to this address ({error})", where=address, allowed="a local path, or a URL that pyarrow or fsspec can open") from error
        found = fs.PyFileSystem(fs.FSSpecHandler(handler))
    except OSError as error:
        raise BadInput(f"the place cannot be reached ({error})", where=address, todo="Check the address, the network and your credentials.") from error
    return found, path.rstrip("/")


def _split(address: str) -> tuple[str, str]:
    """``(parent, name)`` of an address."""
    parent, _, name = address.rstrip("/").rpartition("/")
    return parent or "/", name


def _pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``*`` and ``?`` stay within one folder, ``**`` crosses them."""
    text = ""
    for part in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", glob):
        text += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part) or (part.replace("[!", "[^") if part.startswith("[") and len(part) > 1 else re.escape(part))
    return re.compile(text + r"\Z")


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) and "=" not in part for part in name.split("/"))


def _listed(place: Place) -> list[str]:
    """Names of all visible files below a place, relative to it."""
    from pyarrow import fs

    base = place.path("")
    try:
        found = place.fs.get_file_info(fs.FileSelector(base.rstrip("/") or "/", recursive=True))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadInput(f"the folder cannot be listed ({error})", where=place.root, todo="Check the path and your rights to read it.") from error
    cut = len(base.rstrip("/")) + 1
    names = [info.path[cut:] for info in found if info.is_file]
    return [name for name in names if not _hidden(name)]


def _one(address: str) -> tuple[str, list[str]]:
    """``(root, names)`` for one path, folder, glob or URL."""
    from pyarrow import fs

    root, name = _split(address)
    place = Place(root)
    kind = place.fs.get_file_info(place.path(name)).type
    if kind == fs.FileType.File:
        return root, [name]
    if kind == fs.FileType.Directory:
        names = _listed(Place(address.rstrip("/")))
        if not names:
            raise BadInput("the folder holds no files", where=address, todo="Check the path.")
        return address.rstrip("/"), names
    wild = _WILD.search(address)
    if wild is None:
        raise BadInput("there is no such file or folder", where=address, todo="Check the path; quote a glob so that it reaches outgrow.")
    root = address[: wild.start()].rpartition("/")[0] or "/"
    matches = _pattern(address[len(root.rstrip("/")) + 1 :])
    names = [name for name in _listed(Place(root)) if matches.match(name)]
    if not names:
        raise BadInput("no file matches the glob", where=address, todo="Check the pattern.")
    return root, names


def _once(full: list[str]) -> None:
    """BadInput where a file is named twice, by itself or by a folder or glob: its rows cannot have one row id twice. A link of another name is another file."""
    real: dict[str, str] = {}
    seen: set[str] = set()
    for item in full:
        folder, _, name = item.rpartition("/")
        one = item if "://" in item else f"{real.setdefault(folder, os.path.realpath(folder))}/{name}"
        if one in seen:
            todo = "Name it once, by its path or by a folder or glob that holds it; copy it if its rows shall count twice."
            raise BadInput("the file is named twice", where=item, todo=todo)
        seen.add(one)


def resolve(what: str | Path | Iterable[str | Path]) -> tuple[Place, tuple[str, ...]]:
    """Every file that `what` names, as a root and relative names in sorted order.

    Raises
    ------
    BadInput
        For a missing file, an empty folder, a glob without a match, a file that is named twice, files on several file systems.
    """
    listed = [what] if isinstance(what, str | Path) else list(what)
    if not listed:
        raise BadInput("the list of files is empty", allowed="paths, folders, globs or URLs")
    addresses = [str(item) if "://" in str(item) else str(Path(item).expanduser().absolute()) for item in listed]
    addresses = [item if not item.startswith("file://") else unquote(item[len("file://") :]) for item in addresses]
    found = [_one(address) for address in addresses]
    if len(found) == 1:
        return Place(found[0][0]), tuple(sorted(found[0][1]))
    full = sorted(f"{root.rstrip('/')}/{name}" for root, names in found for name in names)
    _once(full)
    schemes = {item.partition("://")[0] if "://" in item else "" for item in full}
    if len(schemes) > 1:
        raise BadInput("the files lie on several file systems", where=", ".join(sorted(schemes)), todo="Read them one file system at a time.")
    parents = [item.rpartition("/")[0].split("/") for item in full]
    common = parents[0]
    for parent in parents[1:]:
        same = next((k for k, (a, b) in enumerate(zip(common, parent, strict=False)) if a != b), min(len(common), len(parent)))
        common = common[:same]
    root = "/".join(common)
    return Place(root or "/"), tuple(item[len(root) + 1 :] for item in full)
