"""What the processes of a run hold: private and shared-memory bytes, clean pages of mapped files reported apart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np

from ..core.events import Events
from ..core.job import Job

__all__ = ["Measured", "Sampler", "calm", "held"]

_CALM = 16 << 20


@cache
def calm() -> None:
    """Let the C library keep what arrays up to 16 MB give back, instead of mapping and clearing fresh pages for every batch.

    glibc maps each array above a threshold afresh, and raises the threshold to the size of a mapped array when one is freed. So a
    program was up to 1.8 times as fast once something large had come and gone by accident, and a short probe of it was slow.
    """
    np.empty(_CALM, np.uint8)


def held(pid: int | str = "self") -> tuple[int, int]:
    """(anonymous and shared-memory bytes, mapped-file bytes) of a process from /proc; (0, 0) where it is gone or there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Rss")}
    return sizes.get("RssAnon", 0) + sizes.get("RssShmem", 0), sizes.get("RssFile", 0)


class Sampler(threading.Thread):
    """Takes the sum over processes every `every` seconds and keeps the peak; stop with `stop()`.

    pids : callable giving the process ids to count besides this one.
    """

    def __init__(self, pids: Callable[[], Iterable[int]], every: float = 0.05) -> None:
        super().__init__(daemon=True, name="outgrow-memory")
        self.pids, self.every = pids, every
        self.peak = self.peak_files = 0
        self._done = threading.Event()

    def sample(self) -> None:
        sizes = [held(), *(held(pid) for pid in self.pids())]
        self.peak = max(self.peak, sum(size for size, _ in sizes))
        self.peak_files = max(self.peak_files, sum(files for _, files in sizes))

    def run(self) -> None:
        while not self._done.wait(self.every):
            self.sample()

    def stop(self) -> None:
        self._done.set()
        self.join()
        self.sample()


class Measured:
    """What all engines do beside folding: they sample the memory of their processes from `start` to `stop`.

    measured : bytes at the peak, for the run's record; known once the engine has stopped.
    """

    measured: dict[str, int]
    worker_bytes = 0  # on other machines, as far as they said
    _sampler: Sampler | None = None

    def pids(self) -> Iterable[int]:
        """Processes besides this one whose memory counts towards the run's."""
        return ()

    def start(self, job: Job, events: Events, folder: str | None) -> None:
        self._sampler = Sampler(self.pids)
        self._sampler.start()

    def stop(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()
            self.measured = {"peak_bytes": self._sampler.peak, "peak_file_bytes": self._sampler.peak_files, "worker_bytes": self.worker_bytes}
            self._sampler = None
