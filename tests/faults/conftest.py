"""Programs that are killed: started here, and gone when the test ends, whatever became of it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SUPPORT = Path(__file__).parent.parent / "support"


class Program:
    """One start of ``program.py``; its lines as they come, its workers by process id."""

    def __init__(self, *arguments: object, script: Path = SUPPORT / "program.py") -> None:
        environment = {**os.environ, "PYTHONPATH": str(SUPPORT)}
        self.process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, process_group=0
        )
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.workers: set[int] = set()
        self.errors = ""
        self._readers = [threading.Thread(target=self._read, daemon=True), threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = json.loads(line)
            self.workers |= set(found.get("workers", ()))
            self.lines.put(found)
        self.lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def until(self, key: str, seconds: float = 60) -> dict[str, Any] | None:
        """The next line with this key or of this kind; None where the program ends first."""
        stop = time.monotonic() + seconds
        while (line := self.lines.get(timeout=max(0.01, stop - time.monotonic()))) is not None:
            if key in line or line.get("kind") == key:
                return line
        return None

    def digest(self) -> str:
        """The digest it ends with."""
        line = self.until("digest")
        assert line is not None, self.ended()
        assert self.ended() == 0, self.errors
        found: str = line["digest"]
        return found

    def ended(self, seconds: float = 30) -> int:
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(10)
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def clear(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.workers |= {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        self.kill()
        for pid in self.workers:
            with contextlib.suppress(ProcessLookupError):
                if alive(pid):
                    os.kill(pid, 9)
        self.ended()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def alive(pid: int) -> bool:
    """True for a worker of outgrow with this id that has not ended."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "outgrow.engines.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def gone(pids: set[int], seconds: float = 2.0) -> bool:
    """True as soon as none of the workers is alive."""
    stop = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > stop:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def program() -> Iterator[Any]:
    """Starts programs, and clears them away."""
    started: list[Program] = []

    def start(*arguments: object, **options: Any) -> Program:
        started.append(Program(*arguments, **options))
        return started[-1]

    yield start
    for item in started:
        item.clear()


@pytest.fixture
def none_left() -> Any:
    return gone


@pytest.fixture(scope="session")
def digests() -> dict[str, str]:
    """What each toy gives undisturbed on one process."""
    import toys

    from outgrow.core.run import run
    from outgrow.engines.serial import Serial

    class Lazy(dict[str, str]):
        def __missing__(self, name: str) -> str:
            self[name] = run(toys.job(toys.LEARNERS[name]), Serial()).record["digest"]
            return self[name]

    return Lazy()
