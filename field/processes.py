"""Programs that are started in the background, known by process id *and* start time, and stopped by exactly those.

A process id alone may have been given to somebody else since: each program writes the start time that the kernel keeps for it beside its id,
before it becomes the program (so that even a starter that is killed half-way leaves nothing unknown), and only a process with both is ever killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

BOOT = Path("/proc/sys/kernel/random/boot_id")
Found = TypeVar("Found")
MARK = "OUTGROW_FIELD_HOME"  # in the environment of all that a cluster starts, and of what they start
RECORD = 'cat /proc/sys/kernel/random/boot_id "/proc/$$/stat" >"$0.new" && mv "$0.new" "$0" && exec "$@"'


class FieldError(Exception):
    """Something of a cluster did not work; the sentence says which program ended and its last words."""


class MissingError(FieldError):
    """This machine or this user lacks what a cluster needs; the sentence says what, and how to get it."""


@dataclass(frozen=True)
class Process:
    """One process of this boot: its id and its start time in clock ticks since the boot."""

    pid: int
    start: int

    @property
    def alive(self) -> bool:
        return _start(self.pid) == self.start

    def kill(self) -> None:
        """SIGKILL, to this very process or to nobody."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _start(pid: int) -> int | None:
    """The start time of a process; None where there is none, or only its exit code waits to be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def process(pid: int) -> Process | None:
    """The process that has this id now."""
    start = _start(pid)
    return None if start is None else Process(pid, start)


def own(pid_file: Path) -> None:
    """Write this process's own id and start time, as the programs started here do."""
    new = pid_file.with_suffix(".new")
    new.write_text(BOOT.read_text() + Path("/proc/self/stat").read_text())
    new.rename(pid_file)  # so that nobody reads half of it


def read(pid_file: Path) -> Process | None:
    """The process that wrote this file, if it still runs."""
    try:
        boot, stat = pid_file.read_text().split("\n", 1)
    except FileNotFoundError:
        return None
    found = Process(int(stat.split(" ", 1)[0]), int(stat.rpartition(")")[2].split()[19]))
    return found if boot == BOOT.read_text().strip() and found.alive else None


def start(name: str, argv: Iterable[str], *, home: Path, env: Mapping[str, str], cwd: Path | None = None) -> Process:
    """Start a program in a session of its own; its id in ``home/pids/name``, its words in ``home/logs/name.log``."""
    pid_file, log = home / "pids" / name, home / "logs" / f"{name}.log"
    for file in (pid_file, log):
        file.parent.mkdir(parents=True, exist_ok=True)
    pid_file.unlink(missing_ok=True)
    with log.open("ab") as words:
        command = ["setsid", "--fork", "sh", "-c", RECORD, str(pid_file), *argv]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env={**env, MARK: str(home)}, cwd=cwd or home, check=True)
    for _ in range(500):
        if pid_file.exists():
            return read(pid_file) or _ended(name, log)
        time.sleep(0.01)
    return _ended(name, log)


def _ended(name: str, log: Path) -> Process:
    raise FieldError(f"{name} ended at once; its last words:\n{tail(log)}")


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, without the places in Java's stack traces."""
    said = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([line for line in said if not line.startswith("\tat ")][-lines:])


def wait(ready: Callable[[], Found], what: str, *, home: Path, seconds: float = 120, every: float = 0.1) -> Found:
    """Give what `ready` gives as soon as it is true.

    Raises
    ------
    FieldError
        A program of this cluster ended meanwhile, or the seconds are over: with the last words of what ended, or of all.
    """
    stop = time.monotonic() + seconds
    while not (found := ready()):
        names = sorted(file.name for file in (home / "pids").iterdir() if file.suffix != ".new")
        ended = [name for name in names if read(home / "pids" / name) is None]
        late = time.monotonic() > stop
        if ended or late:
            why = f"{', '.join(ended)} ended" if ended else f"{seconds:.0f} s were not enough"
            said = "\n".join(f"--- {name}\n{tail(home / 'logs' / f'{name}.log', 15 if ended else 3)}" for name in ended or names)
            raise FieldError(f"Waiting for {what}: {why}.\n{said}")
        time.sleep(every)
    return found


def everybody() -> Iterator[Process]:
    """All processes of this machine that this user may look into."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := process(int(entry.name))) is not None:
            yield found


def command(pid: int) -> str:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def below(pid: int) -> list[int]:
    """The descendants of a process, parents before children."""
    parents: dict[int, list[int]] = {}
    for found in everybody():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = int(Path(f"/proc/{found.pid}/stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(found.pid)
    found_pids, at = [pid], 0
    while at < len(found_pids):
        found_pids += parents.get(found_pids[at], [])
        at += 1
    return found_pids[1:]


def network(pid: int) -> str:
    """The network namespace of a process; empty where it cannot be seen."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def members(home: Path) -> list[Process]:
    """All that belongs to a cluster: its programs, what they started, and whatever runs in its network namespace."""
    named = [found for file in (home / "pids").glob("*") if file.suffix != ".new" and (found := read(file)) is not None]
    networks = {network(found.pid) for found in named} - {"", network(os.getpid())}
    mark = f"{MARK}={home}".encode()
    belong = set(named)
    for one in everybody():
        with contextlib.suppress(OSError):
            if network(one.pid) in networks or mark in Path(f"/proc/{one.pid}/environ").read_bytes().split(b"\0"):
                belong.add(one)
    return [one for one in belong if one.pid != os.getpid()]


def stop(home: Path, *, seconds: float = 20) -> None:
    """Kill all members of a cluster, again and again until none is left, and remove its folder.

    SIGKILL at once: nothing of these clusters is worth keeping, and NodeManagers take over 15 s to end politely.
    """
    until = time.monotonic() + seconds
    while left := members(home):
        for one in left:
            one.kill()
        if time.monotonic() > until:
            raise FieldError(f"Processes {sorted(one.pid for one in left)} of {home} do not end; look at them with ps, then run the command again.")
        time.sleep(0.05)
    shutil.rmtree(home, ignore_errors=True)


def resident(processes: Iterable[Process]) -> int:
    """Resident memory in bytes; pages that several share count for each."""
    total = 0
    for one in processes:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{one.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def program(name: str, purpose: str) -> str:
    """The full path of a program that a cluster needs."""
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"`{name}` is not on the PATH: {purpose}.")
    return found


def java_home() -> Path:
    """The folder of a JDK or JRE, from ``JAVA_HOME`` or the ``java`` on the PATH, version 17 or newer."""
    named = os.environ.get("JAVA_HOME")
    advice = "install a Java runtime of version 17 (Debian, Ubuntu: openjdk-17-jre-headless), or name one in JAVA_HOME"
    java = Path(named) / "bin" / "java" if named else Path(program("java", advice))
    if not java.exists():
        raise MissingError(f"JAVA_HOME={named} has no bin/java: correct it, or unset it to take the java on the PATH.")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = said.split('"')[1] if said.count('"') > 1 else said[:80]
    major = version.split(".")[0]
    if not major.isdigit() or int(major) < 17:
        raise MissingError(f"{java} is version {version}; Spark 4 needs 17 or newer: name one in JAVA_HOME.")
    return java.resolve().parent.parent
