"""Spark in this process's own local context: one digest, what travels, what is refused and how it is said."""

from __future__ import annotations

import os
import socket
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import learners
import numpy as np
import pytest
import toys

import outgrow as og
from outgrow.core.errors import BadField, BadInput, Refused, WorkerLost
from outgrow.core.events import Events
from outgrow.core.fold import Block, Partial
from outgrow.core.job import Job
from outgrow.core.learner import Pass
from outgrow.core.run import run
from outgrow.engines import spark as engine_file
from outgrow.engines import spark_session
from outgrow.engines.remote import machine
from outgrow.engines.serial import Serial
from outgrow.engines.ship import Shipper, opened
from outgrow.engines.spark import Spark
from outgrow.plan.where import Where, make_engine, parse_where


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    made = spark_session.make("local[2]", tasks=0, environment="", options={"spark.ui.enabled": "false"})
    made.setLogLevel("OFF")
    yield made
    spark_session.unmake(made)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this program had no Spark context."""
    monkeypatch.setattr(spark_session, "active", lambda: None)


def same(name: str, engine: Spark, **changes: Any) -> None:
    job = toys.job(toys.LEARNERS[name], **changes)
    assert run(job, engine).record["digest"] == run(job, Serial()).record["digest"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boosting on scaled rows", "counts", "two-phase k-means"])
def test_run__in_a_context_that_is_there__gives_the_digest_of_serial(context: Any, name: str) -> None:
    same(name, Spark())
    assert spark_session.active() is context, "a context of somebody else's is left as it is"


@pytest.mark.slow
def test_run__of_a_real_learner_from_a_file__gives_the_digest_of_serial(context: Any, tmp_path: Path) -> None:
    job = learners.job("moments", learners.write(tmp_path))
    assert run(job, Spark("local[2]")).record["digest"] == run(job, Serial()).record["digest"]


@pytest.mark.slow
def test_large_nodes__come_through_the_shared_folder__and_nothing_stays_there(context: Any, tmp_path: Path) -> None:
    same("sums", Spark(shared=str(tmp_path), large=1))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("hold", [0, 1 << 26])
def test_large_arrays_of_a_round__travel_through_the_shared_folder__and_encoded_rows_stay(context: Any, tmp_path: Path, hold: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "broadcast", lambda thing, own=context.broadcast: own(thing) if isinstance(thing, bytes) else pytest.fail("an array was broadcast"))
    source = og.read(learners.write(tmp_path), target="two", drop=learners.dropped("two"))
    job = Job(learner=og.Then((og.Missing(), og.Hashing(bits=14), og.LogisticRegression(max_rounds=5))), source=source, shard_rows=300, batch_rows=64)
    shared = tmp_path / "shared"
    shared.mkdir()
    assert run(job, Spark(hold=hold, shared=str(shared))).record["digest"] == run(job, Serial()).record["digest"]
    assert not list(shared.iterdir())


def test_blocks_of_one_task__become_few_whole_subtrees__and_those_begun_stay_alone() -> None:
    begun = Block(0, 0, 4, Partial(0, 4, 2, {}))
    blocks = [Block(0, 1, 1), begun, Block(0, 0, 5), Block(0, 1, 3), Block(1, 0, 0), Block(1, 0, 1), Block(1, 0, 7)]
    found = list(engine_file._whole(blocks))
    assert found == [Block(0, 1, 1), begun, Block(0, 0, 5), Block(0, 1, 3), Block(1, 1, 0), Block(1, 0, 7)]
    assert sorted(lane for block in found for lane in block.lanes) == sorted(lane for block in blocks for lane in block.lanes)
    assert list(engine_file._whole([Block(0, 1, k) for k in range(4)])) == [Block(0, 3, 0)]


@pytest.mark.slow
def test_twins__are_counted_once(context: Any) -> None:
    class Twice(Spark):
        def _answers(self, turn: Any) -> Iterator[Any]:
            for answer in super()._answers(turn):
                yield answer
                yield answer

    same("sums", Twice())


@pytest.mark.slow
def test_answers_that_are_lost__are_asked_for_again__and_told_where_they_never_come(context: Any) -> None:
    class Forgetful(Spark):
        lost = 0
        ever = False

        def _answers(self, turn: Any) -> Iterator[Any]:
            for answer in super()._answers(turn):
                self.lost += 1
                if self.lost > 3 and not self.ever:
                    yield answer

    engine = Forgetful()
    same("counts", engine)
    engine.ever = True
    with pytest.raises(WorkerLost, match="did not come back in 4 Spark jobs"):
        run(toys.job(toys.LEARNERS["counts"]), engine)


@pytest.mark.slow
def test_events__name_the_workers_the_cluster_and_its_pages(context: Any) -> None:
    seen: list[dict[str, Any]] = []
    engine = Spark()

    def listen(event: dict[str, Any]) -> None:
        seen.append(event | {"pids": list(engine.pids())})

    job = toys.job(toys.LEARNERS["counts"])
    record = run(job, engine, events=Events(listen)).record
    (cluster,) = [event for event in seen if event["kind"] == "cluster"]
    assert (cluster["engine"], cluster["workers"], cluster["application"]) == ("spark", 2, context.applicationId)
    workers = {event["worker"]: event for event in seen if event["kind"] == "worker"}
    assert {event["host"] for event in workers.values()} == {socket.gethostname()}
    ticks = [event for event in seen if event["kind"] == "tick"]
    assert sum(event["rows"] for event in ticks) == job.source.rows
    assert {event["worker"] for event in ticks} <= set(workers)
    assert {context._gateway.proc.pid, *(event["pid"] for event in workers.values())} <= set(ticks[-1]["pids"])
    assert record["worker_bytes"] > 10 << 20
    assert list(engine.pids()) == []


@pytest.mark.slow
def test_a_learner_of_the_program_itself__travels_by_value(context: Any) -> None:
    own = dataclass(frozen=True)(type("Own", (toys.Counting,), {"__module__": "__main__"}))
    job = replace(toys.job(toys.LEARNERS["counts"]), learner=own())
    assert run(job, Spark()).arrays["n"].sum() == job.source.rows


@pytest.mark.slow
def test_an_error_of_a_fold__is_raised_here_as_it_was(context: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1.0, 2.0, float("inf"), 4.0], "y": [1.0, 2.0, 3.0, 5.0]}), tmp_path / "bad.parquet")
    source = og.read(tmp_path / "bad.parquet", target="y")
    job = Job(learner=og.Then((og.Scale(), og.Missing(), og.OneHot(), og.LinearRegression())), source=source, shard_rows=2, batch_rows=2)
    with pytest.raises(BadInput, match=r"bad\.parquet") as here:
        run(job, Serial())
    with pytest.raises(BadInput) as there:
        run(job, Spark())
    assert str(there.value) == str(here.value)


@pytest.mark.slow
def test_a_file_that_executors_do_not_see__is_refused_with_file_and_host(context: Any, tmp_path: Path) -> None:
    job = learners.job("moments", learners.write(tmp_path))
    (tmp_path / "rows.parquet").unlink()
    with pytest.raises(Refused, match=f"{socket.gethostname()}: the executor does not see .*rows.parquet"):
        run(job, Spark())


@pytest.mark.slow
def test_other_builds_on_executors__are_refused_under_bits__and_allowed_under_close(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_file, "machine", lambda: machine() | {"numpy": "1.0"})
    with pytest.raises(Refused, match=r"numpy .* instead of 1\.0"):
        run(toys.job(toys.LEARNERS["counts"]), Spark())
    run(toys.job(toys.LEARNERS["counts"], equal="close"), Spark())


def test_rows_in_memory__are_refused() -> None:
    job = learners.job("moments", learners.table())
    assert "processes:N" in str(Spark("local[2]").can(job))


def refused(master: str) -> str:
    found = Spark(master).can(toys.job(toys.LEARNERS["counts"]))
    assert isinstance(found, Refused)
    return str(found)


def test_an_address_where_nobody_listens__is_refused_before_java_starts(alone: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert f"no Spark master answers (127.0.0.1:{port}" in refused(f"spark://127.0.0.1:{port}")


@pytest.mark.slow
def test_another_master_than_the_active_one__is_refused(context: Any) -> None:
    assert "already" in refused("local[3]")
    assert Spark("local[2]").can(toys.job(toys.LEARNERS["counts"])) is None


def test_no_java_and_an_old_one__are_refused(alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert "there is no Java" in refused("local[2]")
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_292\"' >&2\n")
    java.chmod(0o755)
    assert "Java 17 or later, this is 8" in refused("local[2]")


def test_no_pyspark__is_refused_with_what_to_install(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_session.importlib.util, "find_spec", lambda name: None)
    assert "outgrow[spark]" in refused("local[2]")


def test_no_session_and_no_address__is_refused(alone: None) -> None:
    assert "local[N], spark://host:port, yarn" in refused("")


def test_spark_connect__is_refused_and_says_why(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no broadcast" in refused("sc://host:15002")
    monkeypatch.setenv("SPARK_REMOTE", "sc://host:15002")
    assert "classic session" in refused("local[2]")


def test_yarn_without_its_configuration__is_refused(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert "HADOOP_CONF_DIR" in refused("yarn")


@pytest.mark.parametrize(
    ("said", "kind", "shown"),
    [
        ("ExecutorLostFailure (executor 1 exited) Reason: Command exited with code 137", WorkerLost, "memory"),
        ("Container killed by YARN for exceeding physical memory limits", WorkerLost, "spark.executor.memoryOverhead"),
        ("ModuleNotFoundError: No module named 'outgrow'", Refused, "no module outgrow"),
        ('java.io.IOException: Cannot run program "/x/python": error=2', Refused, "no Python at /x/python"),
        ("[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.10 than that in driver: 3.11", Refused, "run Python 3.10, this is 3.11"),
        ("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)", WorkerLost, "ended again and again"),
        ("org.apache.spark.SparkException: something else", WorkerLost, "something else"),
    ],
)
def test_what_spark_says__is_told_in_our_words(said: str, kind: type[Exception], shown: str) -> None:
    found = spark_session.explain(RuntimeError(f"Job aborted due to stage failure: {said}"), "http://ui")
    assert type(found) is kind
    assert shown in str(found)
    assert "http://ui" in str(found)


@pytest.mark.slow
def test_another_python_on_executors__is_refused_with_both_versions(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's own worker compares and refuses; here it is the driver that claims to be another."""
    monkeypatch.setattr(context, "pythonVer", "3.9")
    with pytest.raises(Refused, match=rf"executors run Python 3\.{sys.version_info[1]}, this is 3\.9.*PYSPARK_PYTHON"):
        run(toys.job(toys.LEARNERS["counts"]), Spark())


@pytest.mark.slow
def test_an_interpreter_that_executors_do_not_have__is_refused(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "pythonExec", "/no/such/python")
    with pytest.raises(Refused, match="no Python at /no/such/python"):
        run(toys.job(toys.LEARNERS["counts"]), Spark())


def test_importing_the_engine__loads_no_pyspark() -> None:
    import subprocess

    code = "import sys, outgrow.engines.spark, outgrow.engines.spark_task; print('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ).stdout == "False\n"


def test_large_arrays__travel_apart_from_the_passes_that_carry_code_by_value() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyspark import cloudpickle

    own = dataclass(frozen=True)(type("OwnFold", (toys.CountFold,), {"__module__": "__main__"}))
    wide, shipper = np.arange(100_000.0), Shipper(cloudpickle.Pickler)
    data, arrays = shipper.pack((Pass(fold=own(), given={"w": wide}),))
    assert len(data) < 20_000
    assert next(iter(arrays.values())) is wide
    assert opened(data, arrays)[0].given["w"] is wide
    again = shipper.pack((Pass(fold=own(), given={"w": wide, "v": wide + 1}),))[1]
    assert next(iter(again)) == next(iter(arrays)), "it keeps its key while it is the same"


def test_addresses__name_engines() -> None:
    found = [parse_where(text) for text in ("local[3]", "local", "spark://a:1,b:2", "yarn", "spark", "hadoop:4")]
    assert found == [
        Where("spark", 3, "local[3]"), Where("spark", 1, "local[1]"), Where("spark", 0, "spark://a:1,b:2"), Where("spark", 0, "yarn"), Where("spark", 0), Where("hadoop", 4),
    ]  # fmt: skip
    assert [str(where) for where in found] == ["local[3]", "local[1]", "spark://a:1,b:2", "yarn", "spark", "hadoop:4"]
    assert isinstance(make_engine(Where("spark", 3, "local[3]")), Spark)


@pytest.mark.parametrize(("address", "why"), [("k8s://https://host:6443", "processes:N"), ("sc://host:15002", "Spark Connect")])
def test_addresses_that_cannot_be_used_yet__are_refused_with_the_reason(address: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        parse_where(address)


def test_fewer_tasks_than_none__are_refused() -> None:
    with pytest.raises(BadField, match="tasks"):
        Spark("local[2]", tasks=-1)
