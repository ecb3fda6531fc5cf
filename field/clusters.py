"""What every cluster has: a folder, an owner, processes by role."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from . import processes
from .processes import Found, Process


def cache() -> Path:
    """Where downloads and running clusters live: ``OUTGROW_FIELD``, or ``~/.cache/outgrow-field``."""
    return Path(os.environ.get("OUTGROW_FIELD") or Path.home() / ".cache" / "outgrow-field").resolve()


KEPT = "kept-"  # in front of the folders of clusters that belong to no process


class Cluster:
    """Programs in one folder; used as a context, they are gone at its end.

    Parameters
    ----------
    kept : bool
        True: the one of its kind that stays up until ``make field-down``. False: one that belongs to this process; should this process be killed, then
        ``make field-down``, or the next test session, stops it.
    """

    kind: ClassVar[str]

    def __init__(self, *, kept: bool = False) -> None:
        self.home = cache() / "clusters" / (f"{KEPT}{self.kind}" if kept else f"{self.kind}-{os.getpid()}-{secrets.token_hex(3)}")
        self.kept = kept

    def start(self) -> Self:
        """Start all programs and wait until they answer; whatever goes wrong, none is left behind."""
        if processes.members(self.home):
            raise processes.FieldError(f"There is a cluster in {self.home} already: `make field-down` stops it.")
        processes.stop(self.home)
        self.home.mkdir(parents=True)
        if not self.kept:
            processes.own(self.home / "owner")
        try:
            self.launch()
        except BaseException:
            self.stop()
            raise
        return self

    def launch(self) -> None:
        """Start the programs of this kind of cluster."""
        raise NotImplementedError

    def stop(self) -> None:
        """Kill all that belongs to it and remove its folder."""
        processes.stop(self.home)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the programs that run, by role."""
        return {file.name: found.pid for file in sorted((self.home / "pids").glob("*")) if (found := processes.read(file)) is not None}

    @property
    def members(self) -> list[Process]:
        """All its processes: programs, containers, executors, workers of executors."""
        return processes.members(self.home)

    def log(self, role: str) -> str:
        """What a program has said so far."""
        return (self.home / "logs" / f"{role}.log").read_text(errors="replace")

    def kill(self, role: str) -> None:
        """kill -9 one program of the cluster."""
        found = processes.read(self.home / "pids" / role)
        if found is None:
            raise processes.FieldError(f"{role} does not run; these do: {', '.join(self.pids)}.")
        found.kill()
        (self.home / "pids" / role).unlink(missing_ok=True)

    def find(self, *words: str) -> list[int]:
        """Process ids of members whose command line has all of these words."""
        return sorted(one.pid for one in self.members if all(word in processes.command(one.pid) for word in words))


    def until(self, ready: Callable[[], Found], what: str, seconds: float = 60) -> Found:
        """Give what `ready` gives as soon as it is true: ``cluster.until(lambda: cluster.mapper_pids, "a mapper")``."""
        return processes.wait(ready, what, home=self.home, seconds=seconds, every=0.05)


def down(*, left: bool = True) -> list[Path]:
    """Stop the clusters whose owner has ended, and where `left` is true those without one that were left up; the folders removed."""
    homes = sorted((cache() / "clusters").glob("*"))
    ended = [home for home in homes if (home / "owner").exists() and processes.read(home / "owner") is None]
    stopped = ended + [home for home in homes if left and home.name.startswith(KEPT)]
    for home in stopped:
        processes.stop(home)
    return stopped
