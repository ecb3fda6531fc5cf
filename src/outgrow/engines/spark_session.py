"""The Spark that a run uses: the context this program has already, or one made for the run, after looking at what it would take."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import OutgrowError, Refused, WorkerLost

__all__ = ["active", "explain", "local_threads", "make", "refusal", "unmake"]

_JAVA = 17
_LOCAL = re.compile(r"local(?:\[(\d+|\*)(?:,\s*\d+)?\])?\Z")
_SECONDS = 3.0
_LIGHT = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # Java only hands tasks out here: compiling itself further would take the processors from the folds
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def local_threads(master: str) -> int | None:
    """Threads of a ``local[N]`` master; None for a cluster's."""
    found = _LOCAL.match(master)
    if found is None:
        return None
    if found[1] == "*":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(found[1] or 1)


def active() -> Any:
    """This program's SparkContext, or None; pyspark is not loaded for it."""
    if "pyspark" not in sys.modules:
        return None
    from pyspark import SparkContext

    return SparkContext._active_spark_context  # there is no other way to ask without making one


def _connect() -> bool:
    """True where this program speaks to Spark through Spark Connect."""
    module = sys.modules.get("pyspark.sql.connect.session")
    return bool(os.environ.get("SPARK_REMOTE")) or (module is not None and module.SparkSession.getActiveSession() is not None)


def _java() -> Refused | None:
    """Why Java cannot start Spark."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    todo = f"Install Java {_JAVA} or later, or set JAVA_HOME to one."
    if java is None:
        return Refused("there is no Java, which Spark needs", where=f"JAVA_HOME={home}" if home else "PATH", todo=todo)
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 the program that Spark would start
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    if found is None or int(found[1]) < _JAVA:
        return Refused(f"Spark needs Java {_JAVA} or later, this is {found[1] if found else 'none that says its version'}", where=java, todo=todo)
    return None


def _answers(address: str) -> str:
    """"" where something listens at host:port, else why not."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _unreachable(master: str) -> Refused | None:
    """Why there is no cluster at the address: asked by a plain connection, before Java starts and waits for minutes."""
    if master.startswith("spark://"):
        tried = {address: _answers(address) for address in master.removeprefix("spark://").split(",")}
        if all(tried.values()):
            why = "; ".join(f"{address}: {said}" for address, said in tried.items())
            return Refused(f"no Spark master answers ({why})", where=master, todo="Check the address; `start-master.sh` prints it, and its web page shows it.")
    if master == "yarn" and not any(Path(os.environ.get(name, "/-"), "yarn-site.xml").exists() for name in ("YARN_CONF_DIR", "HADOOP_CONF_DIR")):
        todo = "Set HADOOP_CONF_DIR to the folder of the cluster's configuration."
        return Refused("there is no yarn-site.xml in HADOOP_CONF_DIR or YARN_CONF_DIR, so YARN cannot be found", where="yarn", todo=todo)
    return None


def _plain(master: str) -> str:
    return re.sub(r",\s*\d+\]", "]", master)


def refusal(master: str) -> OutgrowError | None:
    """Why no context can be had at `master` ("": the one that is active); nothing is started."""
    if importlib.util.find_spec("pyspark") is None:
        return Refused("pyspark is not installed", where="spark", todo="pip install 'outgrow[spark]'.")
    if master.startswith("sc://") or _connect():
        why = "Spark Connect carries queries, not work on ranges of rows: it has no broadcast and no jobs on chosen partitions"
        return Refused(why, where=master or "the active session", todo="Use a classic session: spark://host:port, yarn or local[N], without SPARK_REMOTE.")
    context = active()
    if context is not None:
        if master and _plain(context.master) != _plain(master):
            return Refused(f"this program has a Spark context on {context.master} already, and there can be one only", where=master, todo="Stop it, or leave the address out.")
        return None
    if not master:
        return Refused("this program has no Spark session", where="spark", todo="Make one, or name the master: local[N], spark://host:port, yarn.")
    return _java() or _unreachable(master)


class _Java(threading.Thread):
    """Passes on what Java says on standard error, but for what it says each time it starts; keeps the last lines."""

    _EACH_TIME = re.compile(r"WARNING: Using incubator|Using Spark's default log4j|WARN Utils: |Setting (default|Spark) log level|To adjust logging level|WARN NativeCodeLoader")

    def __init__(self) -> None:
        super().__init__(daemon=True, name="outgrow-java")
        self._out, self.sink = os.pipe()
        self.last: deque[str] = deque(maxlen=8)

    def run(self) -> None:
        with os.fdopen(self._out, errors="replace") as lines:
            for line in lines:
                if not self._EACH_TIME.search(line):
                    if not line.startswith("\tat "):
                        self.last.append(line.strip())
                    sys.stderr.write(line)


def _settings(master: str, threads: int | None, tasks: int, environment: str) -> dict[str, str]:
    """Spark's settings for a context of our own."""
    found = {"spark.app.name": "outgrow", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR", "spark.driver.maxResultSize": "0"}
    found["spark.master"] = f"local[{threads},4]" if threads is not None else master  # a task that fails is tried four times, as on a cluster
    if threads is not None or any(host in _LOOPBACK for host in re.findall(r"(?://|,)([^,]+):", master)):
        found |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if tasks and master.startswith("spark://"):
        found["spark.cores.max"] = str(tasks)
    if tasks and master == "yarn":
        found |= {"spark.executor.instances": str(tasks), "spark.executor.cores": "1"}
    if environment:
        found["spark.archives"] = f"{environment}#environment"
    else:
        found["spark.executorEnv.PYTHONPATH"] = os.pathsep.join(item or str(Path.cwd()) for item in sys.path)
    found |= {f"spark.{who}.defaultJavaOptions": _LIGHT for who in ("driver", "executor")}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS"):
        found[f"spark.executorEnv.{name}"] = "1"
    return found


def make(master: str, *, tasks: int, environment: str, options: Mapping[str, str]) -> Any:
    """A context of our own, with its Java.

    environment: an archive with a Python environment that is unpacked beside every executor. Raises Refused with Java's own words where it does not come up.
    """
    threads, java = local_threads(master), _Java()
    java.start()
    interrupts = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyspark is loud about pandas, which is not used here
        from pyspark import SparkConf, SparkContext
        from pyspark.java_gateway import launch_gateway

        conf = SparkConf(loadDefaults=False).setAll([*(_settings(master, threads, tasks, environment) | dict(options)).items()])
        try:
            context = SparkContext(conf=conf, gateway=launch_gateway(conf, {"stderr": java.sink}))  # type: ignore[no-untyped-call]
        except Exception as error:
            said = _cause(error, java)
            _end_java()
            todo = "Name a queue that you may use: spark.yarn.queue, in spark-defaults.conf. " if "queue" in said else ""
            raise Refused(f"Spark does not start: {said}", where=master, todo=f"{todo}Java's own words are above.") from error
        finally:
            os.close(java.sink)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, interrupts)  # Spark's own would end the program's jobs before they are saved
    if "PYSPARK_PYTHON" not in os.environ:
        context.pythonExec = "environment/bin/python" if environment and threads is None else sys.executable
    return context


def _cause(error: Exception, java: _Java) -> str:
    """Why a context was not made: Java's exception in a line, else the last words that sound like a reason."""
    try:
        text = str(error)  # a Java exception is asked for its words, so Java must not have ended yet
    except Exception:  # noqa: BLE001 it has: whatever Py4J makes of that
        text = ""
    found = re.search(r"^: (?:[\w.$]+\.)?(\w.*)", text, re.MULTILINE)
    if found is not None:
        return found[1]
    return next((line for line in java.last if "Exception" in line or "rror" in line), text.strip().partition("\n")[0] or "it ended")


def unmake(context: Any) -> None:
    """Stop a context of our own, and its Java with it."""
    context.stop()
    _end_java()


def _end_java() -> None:
    from pyspark import SparkContext

    gateway = SparkContext._gateway  # pyspark would keep Java until the program ends
    SparkContext._gateway = SparkContext._jvm = None
    if gateway is None:
        return
    gateway.shutdown()
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()  # Java ends when it sees this
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_CAUSES = (
    (r"No module named '(\w+)'", Refused, "the executors' Python has no module {0}", "Give the executors an environment that has it (docs/spark.md)."),
    (r"PYTHON_VERSION_MISMATCH.*?(\d\.\d+)\D+(\d\.\d+)", Refused, "the executors run Python {0}, this is {1}", "Give them this Python: environment=… or PYSPARK_PYTHON."),
    (r'Cannot run program "([^"]+)"', Refused, "the executors have no Python at {0}", "Set PYSPARK_PYTHON to a path that they have, or ship an environment (docs/spark.md)."),
    (
        r"code (137|143)|physical memory limits|OutOfMemoryError", WorkerLost, "executors were killed again and again (exit {0}: the memory they may use is too little)",
        "Give each more (spark.executor.memoryOverhead, spark.executor.memory), or run fewer tasks in one (spark.executor.cores=1).",
    ),
    (r"Python worker (?:exited unexpectedly|failed)", WorkerLost, "a Python process of the executors ended again and again", "It may be out of memory: Spark's UI has its words."),
)  # fmt: skip


def explain(error: BaseException, place: str) -> OutgrowError:
    """A failed Spark job in our words, with what to do."""
    said = str(getattr(error, "java_exception", None) or error)
    for pattern, kind, what, todo in _CAUSES:
        found = re.search(pattern, said, re.DOTALL)
        if found is not None:
            words = [item or "of memory" for item in found.groups()] or ["137"]
            made: OutgrowError = kind(what.format(*words), where=place, todo=todo)
            return made
    first = next((line for line in said.splitlines() if line.strip()), "no reason was given")
    return WorkerLost(f"Spark gave the work up: {first}", where=place, todo="Spark's UI and the executors' logs say more.")
