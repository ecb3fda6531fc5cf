"""Engines by name: what ``--on`` may say, and the engine it stands for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ..core.errors import BadField, Refused
from ..core.fold import KEPT
from ..core.run import Engine

__all__ = ["NAMES", "Where", "cores", "make_engine", "parse_where"]

NAMES = ("serial", "processes", "rehearsal", "spark", "hadoop")
_ALLOWED = "serial, processes:N, processes, rehearsal, local[N], spark://host:port, yarn, spark, hadoop"
_LOCAL = re.compile(r"local\[([1-9]\d{0,3}|\*)\]\Z")
_SPARK = re.compile(r"spark://[^/,\s:]+:\d+(,[^/,\s:]+:\d+)*\Z")


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Where:
    """An engine and its workers (0: as many as the plan finds best, or a cluster lends).

    master: Spark's address, where the engine is Spark: "local[N]", "spark://host:port", "yarn"; "": the session that the program has.
    """

    name: str
    workers: int = 1
    master: str = ""

    def __str__(self) -> str:
        if self.master:
            return self.master
        return f"{self.name}:{self.workers}" if self.name in ("processes", "hadoop") and self.workers else self.name

    @property
    def cluster(self) -> bool:
        """True for the engines that ship work to Spark or Hadoop."""
        return self.name in ("spark", "hadoop")


def _spark(text: str) -> Where | None:
    """The engine where `text` is an address of Spark's; None where it is none."""
    local = _LOCAL.match(text)
    if local is not None:
        return Where("spark", cores() if local[1] == "*" else int(local[1]), text)
    if text == "local":
        return Where("spark", 1, "local[1]")
    if text in ("yarn", "spark"):
        return Where("spark", 0, text if text == "yarn" else "")
    if text.startswith("spark://"):
        if _SPARK.match(text) is None:
            raise BadField(f"{text!r} is no address of a Spark master", where="on", allowed=_ALLOWED)
        return Where("spark", 0, text)
    if text.startswith("k8s://"):
        raise Refused("Spark on Kubernetes was not tried with outgrow yet", where=text, todo="Use spark://host:port, yarn, or processes:N on one large machine.")
    if text.startswith("sc://"):
        why = "Spark Connect carries queries, not work on ranges of rows"
        raise Refused(why, where=text, todo="Use the cluster's own address: spark://host:port or yarn.")
    return None


def parse_where(text: str | None) -> Where | None:
    """The engine that ``on`` names; None where it is left to the plan.

    Raises BadField, and Refused for clusters that exist but cannot be used.

    >>> parse_where("processes:3"), parse_where("processes"), parse_where(None)
    (Where(name='processes', workers=3, master=''), Where(name='processes', workers=0, master=''), None)
    >>> parse_where("local[4]"), str(parse_where("spark://host:7077"))
    (Where(name='spark', workers=4, master='local[4]'), 'spark://host:7077')
    """
    if text is None:
        return None
    found = _spark(text)
    if found is not None:
        return found
    name, colon, count = text.partition(":")
    if name not in NAMES:
        raise BadField(f"there is no engine {text!r}", where="on", allowed=_ALLOWED)
    counted = name in ("processes", "hadoop")
    if not colon:
        return Where(name, 0 if counted else 1)
    if not counted or not count.isdigit() or not 1 <= int(count) <= 1024:
        raise BadField(f"{text!r} is not understood", where="on", allowed=f"{_ALLOWED}; N from 1 to 1024")
    return Where(name, int(count))


def make_engine(where: Where, kept_bytes: int = KEPT) -> Engine:
    """The engine itself, not started; `kept_bytes` of what a worker keeps beside batches stay in memory, the rest goes to disk."""
    if where.name == "processes":
        from ..engines.processes import Processes

        return Processes(where.workers, kept_bytes=kept_bytes)
    if where.name == "spark":
        from ..engines.spark import Spark

        return Spark(where.master)
    if where.name == "hadoop":
        from ..engines.hadoop import Hadoop

        return Hadoop(workers=where.workers)
    if where.name == "rehearsal":
        from ..engines.rehearsal import Rehearsal

        return Rehearsal()
    from ..engines.serial import Serial

    return Serial(kept_bytes=kept_bytes)
