"""A folder for the temporary files of one run, which nobody has to remember to remove."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path

__all__ = ["Scratch"]


class Scratch:
    """A folder under `parent` (default: the system's for temporary files) until `remove`, or until its process is dead and another one is made there."""

    def __init__(self, parent: str | Path | None = None) -> None:
        base = Path(parent or tempfile.gettempdir())
        for old in base.glob("outgrow-scratch-*"):
            _sweep(old)
        hidden = Path(tempfile.mkdtemp(prefix=".outgrow-", dir=base))
        self._lock = (hidden / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = base / f"outgrow-scratch-{hidden.name.removeprefix('.outgrow-')}"
        hidden.rename(self.path)  # only now can others see it, and it is locked

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep(folder: Path) -> None:
    """Remove a scratch folder whose owner is gone: nobody holds its lock."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # in use, another person's, or swept by another process just now
        return
