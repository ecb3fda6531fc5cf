"""A standalone Spark cluster on the loopback device: one master and workers, from the jars that pip's pyspark carries."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import processes
from .clusters import Cluster
from .processes import FieldError, MissingError

# What bin/spark-class adds for Java 17; the launcher that prints it costs a virtual machine more for each program.
OPENS = ("lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "util", "util.concurrent", "util.concurrent.atomic")
MODULES = ["-XX:+IgnoreUnrecognizedVMOptions", *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in OPENS), "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"]
ANY_PORT = ["--port", "0", "--webui-port", "0"]  # the kernel picks, so that several clusters live side by side
LIGHT = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"]


def spark_home() -> Path:
    """Where pip put pyspark."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise MissingError("pyspark is not installed: pip install 'outgrow[spark]'.")
    return Path(found.origin).parent


def scala_version() -> str:
    """What the jars were built for; the worker's launcher of executors asks for it and cannot read it off an installed Spark."""
    core = next((spark_home() / "jars").glob("spark-core_*.jar"), None)
    if core is None:
        raise MissingError(f"{spark_home()} has no jars: reinstall pyspark 4 (pyspark-client and pyspark-connect carry none).")
    return core.name.removeprefix("spark-core_").split("-")[0]


def spark_env() -> dict[str, str]:
    """The environment for programs that use Spark here: all that they open is on 127.0.0.1, and Python is this one, in the executors too."""
    java = {"SPARK_HOME": str(spark_home()), "SPARK_SCALA_VERSION": scala_version(), "SPARK_LOCAL_IP": "127.0.0.1", "JAVA_HOME": str(processes.java_home())}
    return {**os.environ, **java, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}


def python_below(executors: Iterable[int]) -> list[int]:
    """Process ids of the Python daemons that executors started, and of the workers that those forked."""
    return sorted(pid for executor in executors for pid in processes.below(executor) if "pyspark" in processes.command(pid))


class Spark(Cluster):
    """One master on 127.0.0.1 and `workers` workers on 127.0.0.1, 127.0.0.2 …, on ports that were free.

    Parameters
    ----------
    kept : bool
        True: it stays up until ``make field-down``.
    workers, cores : int
        How many workers, and the cores each lends.
    memory_mb : int
        The memory each worker lends to executors.
    """

    kind = "spark"

    def __init__(self, *, kept: bool = False, workers: int = 2, cores: int = 1, memory_mb: int = 1024) -> None:
        super().__init__(kept=kept)
        self.workers, self.cores, self.memory_mb = workers, cores, memory_mb

    @property
    def _java(self) -> list[str]:
        java = str(processes.java_home() / "bin" / "java")
        return [java, "-cp", f"{spark_home()}/jars/*", "-Xmx256m", *LIGHT, *MODULES, "-Dspark.master.rest.enabled=false"]

    def launch(self) -> None:
        processes.start("master", [*self._java, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", *ANY_PORT], home=self.home, env=self.env)
        processes.wait(lambda: "and started at" in self.log("master"), "the master", home=self.home)
        for number in range(1, self.workers + 1):
            self._start_worker(number)
        self.wait_for_workers()

    def _start_worker(self, number: int, hide: Path | None = None) -> None:
        lends = ["--cores", str(self.cores), "--memory", f"{self.memory_mb}m", "--work-dir", str(self.home / f"work-{number}")]
        host = f"127.0.0.{number}"  # a host each: Spark starts no speculative twin on the host of the task itself
        env = {**self.env, "SPARK_LOCAL_DIRS": str(self.home / f"local-{number}"), "SPARK_LOCAL_IP": host}
        own_mounts = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(hide)] if hide else []
        worker = [*self._java, "org.apache.spark.deploy.worker.Worker", "--host", host, *ANY_PORT, *lends, self.master]
        processes.start(f"worker-{number}", [*own_mounts, *worker], home=self.home, env=env)

    @property
    def env(self) -> dict[str, str]:
        """The environment for programs that use this cluster."""
        return spark_env()

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, self.log("master"))
        if found is None:
            raise FieldError(f"The master's log ({self.home / 'logs' / 'master.log'}) has no {pattern}.")
        return found[1]

    @property
    def master(self) -> str:
        """spark://127.0.0.1:PORT"""
        return self._said(r"Starting Spark master at (spark://\S+)")

    @property
    def ui(self) -> str:
        """http://127.0.0.1:PORT of the master's pages; ``/json/`` is for programs."""
        return self._said(r"MasterWebUI.*started at (http://\S+)")

    @property
    def worker_pids(self) -> dict[str, int]:
        """Process ids of the workers that run, by role (``worker-1`` …)."""
        return {role: pid for role, pid in self.pids.items() if role.startswith("worker-")}

    @property
    def executor_pids(self) -> list[int]:
        """Process ids of the executors' virtual machines."""
        return self.find("CoarseGrainedExecutorBackend")

    @property
    def python_pids(self) -> list[int]:
        """Process ids of the executors' Python: the daemons and the workers that they forked."""
        return python_below(self.executor_pids)

    def state(self) -> dict[str, Any]:
        """What the master tells programs: workers, applications, cores."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.ui}/json/", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def wait_for_workers(self, seconds: float = 60) -> None:
        """Return when as many workers as run are known to the master."""
        processes.wait(lambda: self.state()["aliveworkers"] == self.workers, f"{self.workers} workers", home=self.home, seconds=seconds)

    def restart(self, role: str, hide: Path | None = None) -> None:
        """kill -9 a worker (its executors end with it) and start it again; it and its executors see the folder `hide` empty, as on a machine that lacks it (root)."""
        if role in self.pids:
            self.kill(role)
        self._start_worker(int(role.removeprefix("worker-")), hide)
        self.wait_for_workers()
