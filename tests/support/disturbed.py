"""Runs on clusters that are disturbed on purpose: who kills when, and programs inside Hadoop's network that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from field.hadoop import Hadoop

PROGRAM = Path(__file__).parent / "on_hadoop.py"
RUNNING = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"


class Killer:
    """Calls `kill` at the first `times` ticks; remembers what was told to be lost."""

    def __init__(self, kill: Callable[[dict[str, Any]], Any], times: int = 1) -> None:
        self.kill, self.times, self.killed = kill, times, 0
        self.lost: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if event["kind"] == "tick" and self.killed < self.times:
            self.killed += 1
            self.kill(event)
        if event["kind"] == "lost":
            self.lost.append(event)


class Stopper:
    """Stops (SIGSTOP) the Python of one worker as soon as another has done something, until `release`: its task is done by a twin, or never."""

    eager: ClassVar[dict[str, str]] = {  # Spark's settings, with which twins start soon
        "spark.speculation": "true", "spark.speculation.interval": "50ms", "spark.speculation.multiplier": "1.5", "spark.speculation.quantile": "0.3",
    }  # fmt: skip

    def __init__(self) -> None:
        self.people: dict[int, int] = {}
        self.stopped: list[int] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if event["kind"] == "worker":
            self.people[event["worker"]] = event["pid"]
        for other in [pid for number, pid in self.people.items() if event["kind"] == "tick" and number != event["worker"] and not self.stopped]:
            with contextlib.suppress(ProcessLookupError):  # one that only greeted may have ended
                os.kill(other, signal.SIGSTOP)
                self.stopped.append(other)
                return

    def release(self) -> None:
        """Let it go on, where Spark has not ended it."""
        for pid in self.stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Started:
    """`on_hadoop.py` inside the cluster's network."""

    def __init__(self, cluster: Hadoop, home: Path, *arguments: object, **changes: str) -> None:
        self.cluster = cluster
        self.lines = home / f"{time.monotonic_ns()}.jsonl"
        self.errors = self.lines.with_suffix(".err")
        env = cluster.env | {"PYTHONPATH": os.pathsep.join([str(PROGRAM.parent), *filter(None, [os.environ.get("PYTHONPATH")])])} | changes
        with self.lines.open("w") as out, self.errors.open("w") as errors:
            command = cluster.inside([sys.executable, str(PROGRAM), str(home / str(arguments[0])), *map(str, arguments[1:])])
            self.process = subprocess.Popen(command, stdout=out, stderr=errors, env=env)

    def events(self, kind: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [item for item in found if item["kind"] == kind]

    def until(self, true: Callable[[], Any], seconds: float = 240) -> Any:
        """The first true answer."""
        stop = time.monotonic() + seconds
        while not (found := true()):
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < stop, self.told()
            time.sleep(0.1)
        return found

    def mappers(self) -> list[int]:
        """The cluster's mappers, once there are some of this program's."""
        pids: list[int] = self.until(lambda: self.events("cluster") and self.cluster.mapper_pids)
        return pids

    def told(self) -> str:
        return self.lines.read_text()[-3000:] + self.errors.read_text()[-3000:]

    def kill(self) -> None:
        """kill -9 the program itself, not what it handed in."""
        signalled(PROGRAM, signal.SIGKILL)
        self.process.wait(10)

    def end(self, seconds: float = 280) -> dict[str, Any]:
        """The last event: done or failed."""
        self.process.wait(seconds)
        ended = self.events("done") + self.events("failed")
        assert ended, self.told()
        return ended[-1]

    def clear(self) -> None:
        """End it, where it still runs, with what it left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
            for found in self.cluster.applications(states=RUNNING):
                self.cluster.say(["hadoop", "job", "-kill", found["id"].replace("application", "job")])
            self.cluster.say(["hadoop", "fs", "-rm", "-r", "-f", "-skipTrash", ".outgrow"])


def signalled(script: Path, number: int) -> None:
    """Send a signal to the Python of a script, not to what entered the network for it."""
    for place in Path("/proc").glob("[0-9]*"):
        pid = int(place.name)
        if f"\0{script}\0" in command(pid) and not command(pid).startswith("nsenter"):
            os.kill(pid, number)


def command(pid: int) -> str:
    """The command line of a process, its words ended by zeros."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def twin(program: Started) -> int:
    """A second attempt of one of the program's mappers, at all its lines, in a folder of its own: how it ended."""
    mapper = program.until(lambda: program.events("cluster") and [pid for pid in program.cluster.mapper_pids if "outgrow.engines.mapper" in command(pid)])[0]
    argv, quiet = program.cluster.inside(command(mapper).split("\0")[:-1]), subprocess.DEVNULL
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=quiet, env=program.cluster.env, cwd=folder) as started:
        started.communicate(b"".join(b"0 0 %d\n" % lane for lane in range(24)))
    return started.returncode
