"""Errors that say what it was, where, what is allowed and what to do next."""

# ruff: noqa: N818 the names say what happened; "RefusedError" would say no more
from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

__all__ = ["BadField", "BadFile", "BadInput", "Busy", "Interrupted", "OutgrowError", "Refused", "StorageError", "WorkerLost", "explained"]


class OutgrowError(Exception):
    """Root of every error outgrow raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, with the offending value.
    where : str, optional
        The place: a file, row group, row, column, field or command-line option.
    allowed : str, optional
        What would have been accepted.
    todo : str, optional
        What to do next, as a sentence.

    Examples
    --------
    >>> print(OutgrowError("the file is empty", where="a.csv", todo="Remove it from the glob."))
    a.csv: the file is empty. Remove it from the glob.
    """

    exit_status = 2

    def __init__(self, what: str, *, where: str = "", allowed: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.allowed, self.todo = what, where, allowed, todo

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        text = text if text.endswith((".", "!", "?")) else text + "."
        return f"{text} {self.todo}" if self.todo else text

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.allowed, self.todo)


def _rebuild(kind: type[OutgrowError], what: str, where: str, allowed: str, todo: str) -> OutgrowError:
    return kind(what, where=where, allowed=allowed, todo=todo)


class BadInput(OutgrowError, ValueError):
    """Data that cannot be learned from or scored: names the file, row group, row or column."""


class BadField(OutgrowError, ValueError):
    """A hyper-parameter or option outside its range: names the field."""


class BadFile(OutgrowError, ValueError):
    """A model, checkpoint or cache file that is damaged, hostile or of another format."""


class Refused(OutgrowError):
    """Work that an engine or a budget cannot carry: said before anything is spent."""


class StorageError(OutgrowError, OSError):
    """A place that cannot be written or has no room; what was there before is untouched."""

    def __str__(self) -> str:
        return OutgrowError.__str__(self)


class Busy(OutgrowError):
    """Another process owns the same run."""


class WorkerLost(OutgrowError):
    """A range of lanes failed on every attempt."""

    exit_status = 3


class Interrupted(OutgrowError):
    """The person stopped the run; what was done is saved."""

    exit_status = 130


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """An OSError while something is written at `path`, as a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        todo = "Free some room, or name another place." if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Name a place that can be written."
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path), todo=todo) from error
