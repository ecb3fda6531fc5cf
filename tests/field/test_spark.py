"""A real Spark cluster: one digest on any number of tasks, and after everything on it has been killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import learners
import pytest
import toys
from disturbed import Killer, Stopper

import outgrow as og
from field.spark import Spark as Cluster
from outgrow.core.errors import Refused, WorkerLost
from outgrow.core.events import Events
from outgrow.core.run import run
from outgrow.engines import spark_session
from outgrow.engines.serial import Serial
from outgrow.engines.spark import Spark

pytestmark = [pytest.mark.field, pytest.mark.slow]

PROGRAM = Path(__file__).parent.parent / "support" / "spark_program.py"
SMALL = {"spark.executor.memory": "600m", "spark.ui.enabled": "false"}


@pytest.fixture(autouse=True)
def _environment(spark_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPARK_HOME", "SPARK_LOCAL_IP", "SPARK_SCALA_VERSION", "JAVA_HOME", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        monkeypatch.setenv(name, spark_cluster.env[name])


@pytest.fixture
def context(spark_cluster: Cluster, _environment: None) -> Iterator[Any]:
    """A context on the cluster, for several runs."""
    made = spark_session.make(spark_cluster.master, tasks=0, environment="", options=SMALL)
    made.setLogLevel("OFF")  # executors are killed on purpose
    yield made
    spark_session.unmake(made)


QUICK: dict[str, tuple[str, ...]] = {"number": ("moments", "linear regression"), "two": ("online, 1 lane", "online, 3 lanes")}


@pytest.mark.parametrize("target", QUICK)
def test_fit__on_any_number_of_tasks__gives_one_digest(context: Any, target: str, tmp_path: Path) -> None:
    """One learner of each kind: a pass, a solution, chains alone and meeting. `make matrix` tries them all."""
    names, file = QUICK[target], learners.write(tmp_path)
    alone = learners.digests(target, file, Serial(), names)
    for tasks in (1, 2, 3, 5):
        assert learners.digests(target, file, Spark(tasks=tasks), names) == alone, tasks


def beaten(kill: Any, name: str = "sums", times: int = 1) -> Killer:
    killer = Killer(kill, times)
    job = toys.job(toys.LEARNERS[name], pause=0.03)
    found = run(job, Spark(), events=Events(killer)).record["digest"]
    assert killer.killed == times
    assert found == run(toys.job(toys.LEARNERS[name]), Serial()).record["digest"]
    return killer


def test_kill_9__of_an_executor__changes_nothing_and_is_told(context: Any, spark_cluster: Cluster) -> None:
    killer = beaten(lambda event: os.kill(spark_cluster.executor_pids[0], signal.SIGKILL))
    assert [event for event in killer.lost if event["worker"].startswith("executor")]


def test_kill_9__of_a_python_worker__changes_nothing(context: Any) -> None:
    people: dict[int, int] = {}

    def kill(event: dict[str, Any]) -> None:
        os.kill(people[event["worker"]], signal.SIGKILL)

    killer = Killer(kill)
    job = toys.job(toys.LEARNERS["boosting"], pause=0.02)  # what it kept beside its rows is lost with it
    listen = Events(lambda event: people.__setitem__(event["worker"], event["pid"]) if event["kind"] == "worker" else None, killer)
    assert run(job, Spark(), events=listen).record["digest"] == run(toys.job(toys.LEARNERS["boosting"]), Serial()).record["digest"]
    assert killer.killed


def test_kill_9__of_a_worker_of_the_cluster__changes_nothing(context: Any, spark_cluster: Cluster) -> None:
    try:
        beaten(lambda event: spark_cluster.kill("worker-1"))
    finally:
        spark_cluster.restart("worker-1")


def test_a_task_that_stands_still__is_done_by_its_speculative_twin(spark_cluster: Cluster) -> None:
    """One executor's Python is stopped until the run is over."""
    stopper = Stopper()
    try:
        found = run(toys.job(toys.Summing(rounds=2), pause=0.03), Spark(spark_cluster.master, options=SMALL | Stopper.eager), events=Events(stopper)).record["digest"]
    finally:
        stopper.release()
    assert stopper.stopped
    assert found == run(toys.job(toys.Summing(rounds=2)), Serial()).record["digest"]


def test_kill_9__of_the_program__and_the_command_again__goes_on_from_what_was_saved(spark_cluster: Cluster, tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), spark_cluster.master, str(tmp_path / "home")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=spark_cluster.env) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith("saved"):
                break
        first.kill()
    second = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True, env=spark_cluster.env)
    words = second.stdout.split()
    assert "resumed" in words, second.stdout
    assert words[-1] == run(toys.job(toys.Summing(rounds=3)), Serial()).record["digest"]
    until = time.monotonic() + 30
    while spark_cluster.executor_pids and time.monotonic() < until:
        time.sleep(0.2)
    assert not spark_cluster.executor_pids, "nothing of the killed program is left running"


def test_predict__writes_what_serial_writes(spark_cluster: Cluster, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    file = learners.write(tmp_path)
    model = og.plan(None, og.read(file, target="two", drop=["number", "three"]), on="serial").run().model
    assert model is not None
    og.predict(model, file, tmp_path / "serial", on="serial")
    seen: list[str] = []
    og.predict(model, file, tmp_path / "spark", on=spark_cluster.master, events=Events(lambda event: seen.append(event["kind"])))
    assert "cluster" in seen
    assert pq.read_table(tmp_path / "spark").equals(pq.read_table(tmp_path / "serial"))
    scores = [og.evaluate(model, file, on=on) for on in ("serial", spark_cluster.master)]
    assert scores[0] == scores[1]


def test_rows_that_one_worker_does_not_see__are_refused_with_host_and_file(spark_cluster: Cluster, tmp_path: Path) -> None:
    """Its disk lacks the folder, as on a machine that shares none with the driver."""
    job = learners.job("moments", learners.write(tmp_path))
    both = {"spark.scheduler.minRegisteredResourcesRatio": "1.0", "spark.scheduler.maxRegisteredResourcesWaitingTime": "60s"}  # neither greets alone
    spark_cluster.restart("worker-1", hide=tmp_path)
    try:
        with pytest.raises(Refused, match=r"does not see the data that the driver sees .*rows\.parquet.*under one path"):
            run(job, Spark(spark_cluster.master, tasks=2, options=SMALL | both))
    finally:
        spark_cluster.restart("worker-1")
    assert spark_cluster.state()["activeapps"] == []


def test_a_row_that_kills_its_worker__ends_in_an_error_and_no_application(spark_cluster: Cluster) -> None:
    with pytest.raises(WorkerLost, match=r"a Python process of the executors ended again and again.*out of memory"):
        run(toys.job(toys.Failing(how="kill", at=500)), Spark(spark_cluster.master, options=SMALL))
    spark_cluster.until(lambda: spark_cluster.state()["activeapps"] == [], "the application's end")


def test_executors_that_are_killed_again_and_again__are_told_as_out_of_memory(spark_cluster: Cluster) -> None:
    """Exit 137, as where a machine has no memory left."""
    with pytest.raises(WorkerLost, match=r"executors were killed again and again \(exit 137.*spark\.executor\.memoryOverhead"):
        run(toys.job(toys.Failing(how="kill its executor", at=500)), Spark(spark_cluster.master, options=SMALL))
    spark_cluster.until(lambda: spark_cluster.state()["activeapps"] == [], "the application's end")


def test_a_cluster_without_free_cores__is_refused_within_seconds(context: Any, spark_cluster: Cluster) -> None:
    """The context of this test holds all cores, so an application of another program gets none."""
    code = "import sys; sys.path.insert(0, sys.argv[2]); import toys; from outgrow.core.run import run; from outgrow.engines.spark import Spark\n"
    code += "run(toys.job(toys.Counting()), Spark(sys.argv[1], patience=3, options={'spark.executor.memory': '600m'}))"
    context.parallelize([1], 1).count()
    ended = subprocess.run(
        [sys.executable, "-c", code, spark_cluster.master, str(PROGRAM.parent)], capture_output=True, text=True, timeout=120, check=False, env=spark_cluster.env
    )
    assert "gave no executor within 3 s" in ended.stderr, ended.stderr
    assert threading.active_count() < 50
