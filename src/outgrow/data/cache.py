"""A folder of packed caches with a disk budget: whole ones only, least recently used go first, those in use stay."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import Refused, StorageError

__all__ = ["Attempt", "attempt", "caches", "clear", "hold", "storage_errors", "used_bytes"]

_MAKING = ".making-"
_GONE = ".gone-"


@contextmanager
def storage_errors(where: Path | str) -> Iterator[None]:
    """Turn a full disk or a place that cannot be written into a StorageError that names it."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what, todo = "the disk is full", "Free some space, or choose another folder; what was there before is untouched."
        else:
            what, todo = f"it cannot be written ({error.strerror or error})", "Choose a folder that you may write to."
        raise StorageError(what, where=str(where), todo=todo) from error


def hold(folder: Path) -> int | None:
    """A file descriptor with a shared lock: while it is open, the cache is not removed. None where there are no locks."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return None
    return lock


def _size(folder: Path) -> int:
    return sum(item.stat().st_size for item in folder.iterdir())


def caches(root: Path) -> list[tuple[Path, int, float]]:
    """``(folder, bytes, time of last use)`` of every whole cache, least recently used first."""
    found = []
    for folder in root.iterdir() if root.is_dir() else ():
        try:
            if not folder.name.startswith(".") and (folder / "manifest.json").exists():
                found.append((folder, _size(folder), (folder / "lock").stat().st_mtime))
        except FileNotFoundError:  # another process has just removed it
            continue
    return sorted(found, key=lambda item: (item[2], item[0].name))


def used_bytes(root: Path) -> int:
    return sum(size for _, size, _ in caches(root))


def _remove(folder: Path) -> bool:
    """Remove a cache unless a process holds it; it disappears at once, by rename."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        lock = None
    try:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gone = folder.with_name(f"{_GONE}{uuid.uuid4().hex}")
        folder.rename(gone)
    except OSError:
        return False
    finally:
        if lock is not None:
            os.close(lock)
    shutil.rmtree(gone, ignore_errors=True)
    return True


def clear(root: Path) -> int:
    """Remove every cache that no process holds; the bytes freed."""
    return sum(size for folder, size, _ in caches(root) if _remove(folder))


def _sweep(root: Path) -> None:
    """Remove what attempts left behind whose process is gone."""
    for folder in root.iterdir():
        if folder.name.startswith(_GONE):
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.name.startswith(_MAKING):
            _remove(folder)


class Attempt:
    """A cache in the making: `folder` to write in, `room` to ask before each file, `finish` to make it seen."""

    def __init__(self, root: Path, budget: int | None) -> None:
        self.root, self.budget, self.written = root, budget, 0
        self.folder = root / f"{_MAKING}{uuid.uuid4().hex}"
        self.folder.mkdir()
        (self.folder / "lock").touch()
        self._lock = hold(self.folder)

    def room(self, size: int) -> None:
        """Take `size` bytes of the budget; older caches go where they must. Raises Refused where this cache alone is too large."""
        self.written += size
        if self.budget is None:
            return
        if self.written > self.budget:
            raise Refused(
                f"the packed data takes over {self.written / 1e9:.3g} GB, the disk budget is {self.budget / 1e9:.3g} GB",
                where=str(self.root),
                todo="Raise the disk budget, or leave columns out with drop=.",
            )
        found = caches(self.root)
        total = self.written + sum(bytes_ for _, bytes_, _ in found)
        for folder, bytes_, _ in found:
            if total <= self.budget:
                return
            if _remove(folder):
                total -= bytes_
        if total > self.budget:
            raise Refused(
                f"caches in use leave no room: {total / 1e9:.3g} GB are needed, the disk budget is {self.budget / 1e9:.3g} GB",
                where=str(self.root),
                todo="Wait for the other run to end, or raise the disk budget.",
            )

    def finish(self, name: str) -> Path:
        """Make the cache seen under its name, by rename; where another process was first, its cache is taken."""
        final = self.root / name
        try:
            self.folder.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.close()
        return final

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def attempt(root: Path, budget: int | None) -> Iterator[Attempt]:
    """A new cache below `root`; whatever happens, nothing half-written is left or seen."""
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        one = Attempt(root, budget)
        try:
            yield one
        finally:
            one.close()
