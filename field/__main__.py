"""Clusters that stay up to play with: ``python -m field spark|hadoop|down``, and ``with-spark`` or ``inside`` before a command that uses them."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path

from . import clusters, processes
from .hadoop import Hadoop
from .processes import FieldError
from .spark import Spark
from .spark_on_yarn import SparkOnYarn

SPARK = """\
Spark is up after {seconds:.0f} s, {megabytes} MB resident: {cluster.master}, its pages at {cluster.ui}. To try:
  {python} -m field with-spark outgrow fit DATA --target COLUMN --on {cluster.master}
  {python} -m field with-spark pyspark --master {cluster.master}
  {python} -m field down"""
HADOOP = """\
Hadoop is up after {seconds:.0f} s, {megabytes} MB resident, in a network of its own, which `inside` enters: {cluster.hdfs}, ResourceManager {cluster.resourcemanager}. To try:
  {python} -m field inside hadoop fs -ls /
  {python} -m field inside outgrow fit {cluster.hdfs}/DATA --target COLUMN --on hadoop
  {python} -m field inside pyspark --master yarn
  {python} -m field down"""


def spark() -> None:
    """Start Spark."""
    announce(Spark(kept=True), SPARK)


def hadoop() -> None:
    """Start Hadoop."""
    announce(Hadoop(kept=True), HADOOP)


def announce(cluster: Spark | Hadoop, text: str) -> None:
    """Start a cluster and say how to use it."""
    before = time.monotonic()
    cluster.start()
    seconds, megabytes = time.monotonic() - before, processes.resident(cluster.members) >> 20
    python = os.path.relpath(sys.executable) if sys.prefix.startswith(str(Path.cwd())) else sys.executable  # as a person in this folder would write it
    print(text.format(seconds=seconds, megabytes=megabytes, cluster=cluster, python=python))


def inside(*command: str) -> None:
    """Become a command in Hadoop's network, with the settings for it, and for Spark on it where pyspark is installed."""
    cluster = Hadoop(kept=True)
    argv = cluster.inside(command)
    env = SparkOnYarn(cluster).env if importlib.util.find_spec("pyspark") else cluster.env
    os.execvpe(argv[0], argv, with_own_programs(env))


def with_spark(*command: str) -> None:
    """Become a command with the settings for the Spark cluster."""
    env = with_own_programs(Spark(kept=True).env)
    os.execvpe(command[0], command, env)


def with_own_programs(env: dict[str, str]) -> dict[str, str]:
    """An environment in which the programs beside this Python are found first."""
    return {**env, "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}


def down() -> None:
    """Stop what is up."""
    stopped = clusters.down()
    print("\n".join(f"stopped {home.name}" for home in stopped) or "Nothing was up.")


def main() -> int:
    """Run one of the commands above."""
    commands = {"spark": spark, "hadoop": hadoop, "down": down}
    within = {"inside": inside, "with-spark": with_spark}
    name, *rest = sys.argv[1:] or [""]
    try:
        if name in within and rest:
            within[name](*rest)
        elif name in commands and not rest:
            commands[name]()
        else:
            print(f"usage: python -m field {'|'.join(commands)}, or python -m field {'|'.join(within)} COMMAND ...", file=sys.stderr)
            return 2
    except FieldError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
