"""Real clusters for tests: started when the first test asks, gone when the session ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TypeVar

import pytest

from field import clusters
from field.clusters import Cluster
from field.hadoop import Hadoop
from field.processes import MissingError
from field.spark import Spark
from field.spark_on_yarn import SparkOnYarn

Kind = TypeVar("Kind", bound=Cluster)


def lent(kind: type[Kind]) -> Iterator[Kind]:
    """A cluster until the session ends; where this machine lacks what it needs the test is skipped, but fails under ``CI=true``.

    With ``OUTGROW_FIELD_KEEP=1`` it is the one of ``make field-…``, started if need be, and left up: who writes tests waits once.
    """
    clusters.down(left=False)  # those of sessions that were killed
    keep = bool(os.environ.get("OUTGROW_FIELD_KEEP"))
    cluster = kind(kept=keep)
    try:
        if not (keep and cluster.pids):
            cluster.start()
    except MissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield cluster
    if not keep:
        cluster.stop()


@pytest.fixture(scope="session")
def spark_cluster() -> Iterator[Spark]:
    """Spark standalone: ``.master``, ``.ui``, ``.env`` for programs, ``.worker_pids``, ``.executor_pids``, ``.python_pids``, ``.kill(role)``, ``.restart(role)``."""
    yield from lent(Spark)


@pytest.fixture(scope="session")
def hadoop_cluster() -> Iterator[Hadoop]:
    """HDFS and YARN in a network of their own: ``.hdfs``, ``.conf``, ``.env``, ``.inside(argv)``, ``.say(argv)``, ``.python(source)``, ``.ask(url)``, ``.pids``,
    ``.kill(role)``, ``.restart(role, changes)``, ``.task_pids``, ``.mapper_pids``."""
    yield from lent(Hadoop)


@pytest.fixture(scope="session")
def spark_on_yarn(hadoop_cluster: Hadoop) -> SparkOnYarn:
    """Spark on that YARN with that HDFS: ``.master``, ``.env`` for programs, which run ``.hadoop.inside``; ``.executor_pids``, ``.python_pids``."""
    return SparkOnYarn(hadoop_cluster)
