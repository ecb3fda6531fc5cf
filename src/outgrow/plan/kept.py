"""What is kept of earlier runs: listed, removed, and held within a disk budget."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import BadFile, Busy, explained
from ..core.store import RunStore, home, write_whole
from .budget import parse_bytes

__all__ = ["RunFolder", "keep_within", "remove_run", "runs"]

_BUDGET = "20GB"


class RunFolder(RunStore):
    """The folder of a planned run: beside what it goes on from lie ``record.json`` (what it is, later what happened) and, when done, ``model``."""

    def record(self, facts: dict[str, Any]) -> None:
        write_whole(self.folder / "record.json", [json.dumps(facts, indent=1, default=str).encode()])

    def finished(self, write: Callable[[Path], None]) -> None:
        """Keep the model, written by `write`, and drop the checkpoint."""
        write(self.folder / "model")
        self.forget()

    def clear(self) -> None:
        """Forget all that was done: start over."""
        self.forget()
        for name in ("model", "record.json"):
            (self.folder / name).unlink(missing_ok=True)

    def drop(self) -> None:
        """Remove the whole folder, where nothing is in it that a later run could go on from."""
        if not (self.folder / "checkpoint").exists() and not (self.folder / "model").exists():
            shutil.rmtree(self.folder, ignore_errors=True)


def _size(folder: Path) -> int:
    """Bytes under a folder, also while its owner works in it."""
    size = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += file.stat().st_size if file.is_file() else 0
    return size


def _busy(folder: Path) -> bool:
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def runs(root: Path | None = None) -> list[dict[str, Any]]:
    """One record a kept run, newest first: id, state (running, stopped, done), bytes, and what its record says."""
    found = []
    for folder in sorted(((root or home()) / "runs").glob("*/")):
        try:
            record = json.loads((folder / "record.json").read_text())
        except (OSError, ValueError):
            record = None
        record, size = record if isinstance(record, dict) else {}, _size(folder)
        status = "running" if _busy(folder) else "done" if (folder / "model").exists() else "stopped"
        changed = folder.stat().st_mtime
        found.append({**record, "id": folder.name, "status": status, "bytes": size, "changed": time.strftime("%Y-%m-%d %H:%M", time.localtime(changed)), "_at": changed})
    return sorted(found, key=lambda item: -item.pop("_at"))


def remove_run(job_id: str, root: Path | None = None) -> int:
    """Remove a kept run; returns the bytes freed. Raises Busy where it is running, BadFile where there is none."""
    base = (root or home()) / "runs"
    if job_id not in {folder.name for folder in base.glob("*/")}:  # so ".." is none either
        raise BadFile(f"there is no run {job_id!r}", where=str(base), todo="`outgrow runs` lists them.")
    with RunStore(job_id, root) as store, explained(store.folder):
        size = _size(store.folder)
        shutil.rmtree(store.folder)
    return size


def keep_within(root: Path | None = None) -> list[str]:
    """Remove the oldest finished runs until all kept runs fit the disk budget (``OUTGROW_DISK``, 20GB unless named); their ids.

    A run under way or stopped is never removed: what it has done would be lost.
    """
    budget = parse_bytes(os.environ.get("OUTGROW_DISK", _BUDGET)) or 0
    found, removed = runs(root), []
    total = sum(item["bytes"] for item in found)
    for item in reversed(found):
        if total > budget and item["status"] == "done":
            with contextlib.suppress(Busy, BadFile):  # another process runs it, or removed it first
                total -= remove_run(item["id"], root)
                removed.append(item["id"])
    return removed
