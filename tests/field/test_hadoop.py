"""Jobs on a real Hadoop: one digest with the serial engine, faults that cost time and nothing else, refusals within seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import learners
import pytest
import toys
from disturbed import PROGRAM, RUNNING, Started, signalled, twin
from on_hadoop import TOYS

from field.hadoop import Hadoop
from outgrow.core.run import run
from outgrow.engines.serial import Serial

pytestmark = [pytest.mark.field, pytest.mark.slow]

@pytest.fixture
def start(hadoop_cluster: Hadoop, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts programs; one that still runs afterwards is ended, with what it left."""
    programs: list[Started] = []

    def begin(*arguments: object, **changes: str) -> Started:
        programs.append(Started(hadoop_cluster, tmp_path, *arguments, **changes))
        return programs[-1]

    yield begin
    for item in programs:
        item.clear()


def left(cluster: Hadoop) -> tuple[list[str], list[str]]:
    """Applications that run, and runs' folders on HDFS."""
    running = [item["id"] for item in cluster.applications(states=RUNNING)]
    listed = cluster.webhdfs("GET", f"/user/{cluster._user}/.outgrow", "LISTSTATUS") or {}
    folders = [item["pathSuffix"] for item in listed.get("FileStatuses", {}).get("FileStatus", ()) if item["type"] == "DIRECTORY"]
    return running, folders


@pytest.fixture(scope="module")
def rows(hadoop_cluster: Hadoop, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The rows of `learners` on HDFS."""
    file = learners.write(tmp_path_factory.mktemp("rows"))
    hadoop_cluster.say(["hadoop", "fs", "-mkdir", "-p", "/rows"])
    hadoop_cluster.say(["hadoop", "fs", "-put", "-f", str(file), "/rows/rows.parquet"])
    return f"{hadoop_cluster.hdfs}/rows"


@pytest.fixture(scope="module")
def sums() -> str:
    """The digest of the toy that faults are tried on."""
    return str(run(toys.job(TOYS["sums"]), Serial()).record["digest"])


@pytest.mark.parametrize(("name", "workers"), [("moments and a line", 2), ("online, 3 lanes", 4)])
def test_learners__on_hadoop__give_the_digest_of_one_process(start: Any, rows: str, name: str, workers: int) -> None:
    want = start("serial", name, 0, f"data={rows}").end()
    done = start("hadoop", name, workers, f"data={rows}").end()
    assert (done.get("digest"), done.get("rows")) == (want["digest"], want["rows"]), done


def test_arrays_kept_beside_rows__are_rebuilt_in_every_round(start: Any) -> None:
    want = run(toys.job(TOYS["kept"]), Serial()).record["digest"]
    done = start("hadoop", "kept", 1).end()
    assert done.get("digest") == want, done


def test_predictions__on_hadoop__are_a_folder_of_parts_on_hdfs(start: Any, rows: str, hadoop_cluster: Hadoop) -> None:
    for engine, count in (("serial", 0), ("hadoop", 2)):
        done = start(engine, "predict", count, f"data={rows}", f"out={hadoop_cluster.hdfs}/predicted-{engine}").end()
        assert done["kind"] == "done", done
    texts = [hadoop_cluster.say(["hadoop", "fs", "-checksum", f"/predicted-{engine}/part-00000.parquet"]).split()[1:] for engine in ("serial", "hadoop")]
    assert texts[0] == texts[1]
    listed = hadoop_cluster.webhdfs("GET", "/", "LISTSTATUS")["FileStatuses"]["FileStatus"]
    assert not [item["pathSuffix"] for item in listed if item["pathSuffix"].startswith(".predicted")]


def test_a_mapper_killed_and_a_datanode_restarted__cost_time_and_nothing_else(start: Any, sums: str, hadoop_cluster: Hadoop) -> None:
    program = start("hadoop", "sums", 2, "pause=0.1")
    os.kill(program.mappers()[0], signal.SIGKILL)
    hadoop_cluster.restart("datanode")
    assert program.end()["digest"] == sums
    assert any("it was killed (signal 9)" in item["why"] for item in program.events("lost")), program.told()
    assert left(hadoop_cluster) == ([], [])


def test_a_nodemanager_killed__costs_time_and_nothing_else(start: Any, sums: str, hadoop_cluster: Hadoop) -> None:
    program = start("hadoop", "sums", 2, "pause=0.1")
    program.mappers()
    hadoop_cluster.kill("nodemanager-2")
    try:
        assert program.end()["digest"] == sums
    finally:
        hadoop_cluster.restart("nodemanager-2")


def test_the_program_killed_and_started_again__goes_on_from_what_it_saved__and_a_twin_is_harmless(start: Any, sums: str, hadoop_cluster: Hadoop, tmp_path: Path) -> None:
    program = start("home", "sums", 2, "pause=0.1")
    program.until(lambda: [item for item in program.events("saved") if item["bytes"]])
    (first,) = [item["application"] for item in program.events("cluster")]
    program.kill()
    again = start("home", "sums", 2, "pause=0.1")
    again.until(lambda: again.events("resumed"))
    assert again.events("resumed")[0]["nodes"] > 0
    assert twin(again) in (0, 3), "3: it came so late that the run had cleared all away"
    assert again.end()["digest"] == sums
    assert left(hadoop_cluster) == ([], []), "the first application, too, was ended"
    assert hadoop_cluster.ask(f"{hadoop_cluster.resourcemanager}/ws/v1/cluster/apps/{first}/state")["state"] in ("KILLED", "FINISHED")


def test_ctrl_c__ends_the_application_and_leaves_nothing(start: Any, hadoop_cluster: Hadoop) -> None:
    program = start("hadoop", "sums", 2, "pause=0.3")
    program.until(lambda: program.events("cluster"))
    signalled(PROGRAM, signal.SIGINT)
    assert "saved" in program.end()["text"]
    assert program.process.returncode == 130
    assert left(hadoop_cluster) == ([], [])


def test_a_mapper_that_fails__brings_its_own_error(start: Any, rows: str, hadoop_cluster: Hadoop) -> None:
    """The rows vanish after the job was handed in: no mapper sees them any more."""
    hadoop_cluster.say(["hadoop", "fs", "-cp", "-f", "/rows/rows.parquet", "/gone.parquet"])
    program = start("hadoop", "online, 3 lanes", 1, f"data={hadoop_cluster.hdfs}/gone.parquet")
    program.until(lambda: program.events("cluster"))
    hadoop_cluster.say(["hadoop", "fs", "-rm", "-skipTrash", "/gone.parquet"])
    told = program.end()
    assert told["type"] == "BadInput", told
    assert "gone.parquet: there is no such file" in told["text"]
    assert left(hadoop_cluster) == ([], [])


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        (["queue=nowhere"], {}, ["Refused", "no queue 'nowhere'", "default", "small"]),
        (["command=/no/hadoop"], {}, ["Refused", "no command '/no/hadoop'", "HADOOP_HOME"]),
        (["staging=hdfs://127.0.0.1:1/x"], {}, ["BadInput", "no NameNode answers", "HADOOP_CONF_DIR"]),
        (["staging=hdfs://127.0.0.1:8020/"], {"HADOOP_USER_NAME": "guest"}, ["StorageError", "does not permit", "user=guest"]),
    ],
)
def test_what_cannot_work__is_refused_within_seconds(start: Any, options: list[str], changes: dict[str, str], words: list[str]) -> None:
    began = time.monotonic()
    program = start("hadoop", "sums", 1, *options, **changes)
    told = program.end(60)
    assert [word for word in words if word not in f"{told['type']} {told['text']}"] == [], told
    assert not program.events("cluster")
    assert time.monotonic() - began < 30


def test_a_full_folder__is_told_before_anything_is_handed_in(start: Any, hadoop_cluster: Hadoop) -> None:
    hadoop_cluster.say(["hadoop", "fs", "-mkdir", "-p", "/full"])
    hadoop_cluster.say(["hadoop", "dfsadmin", "-setSpaceQuota", "1m", "/full"])
    program = start("hadoop", "sums", 1, f"staging={hadoop_cluster.hdfs}/full")
    told = program.end(60)
    assert told["type"] == "StorageError", told
    assert [word for word in ("/full", "the quota is used up", "setSpaceQuota") if word not in told["text"]] == [], told
    assert not program.events("cluster")


BARE = str(Path(sys.base_prefix) / "bin" / "python3")  # the interpreter that this environment was made from: it has no outgrow


@pytest.mark.parametrize(
    ("python", "words"), [("/no/such/python", "the node has no /no/such/python"), pytest.param(BARE, "OUTGROW_HADOOP_ENVIRONMENT", marks=pytest.mark.skipif(
        sys.prefix == sys.base_prefix, reason="this Python is no virtual environment, so there is none without outgrow"))]
)  # fmt: skip
def test_a_python_that_does_not_do__is_told_by_name(start: Any, hadoop_cluster: Hadoop, python: str, words: str) -> None:
    told = start("hadoop", "sums", 1, f"python={python}").end()
    assert told["type"] == "Refused", told
    assert words in told["text"]
    assert python in told["text"]
    assert left(hadoop_cluster) == ([], [])


def test_a_row_that_kills_its_mapper_again_and_again__is_told_as_what_it_died_of__and_leaves_nothing(start: Any, hadoop_cluster: Hadoop) -> None:
    told = start("hadoop", "poisoned", 1).end()
    assert told["type"] == "WorkerLost", told
    assert "it was killed (signal 9): the node ran out of memory, or somebody killed it" in told["text"]
    assert left(hadoop_cluster) == ([], [])


def test_an_environment__travels_as_an_archive_once(start: Any, sums: str, hadoop_cluster: Hadoop, tmp_path: Path) -> None:
    """A stand-in of a few bytes: its Python hands on to this one."""
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    subprocess.run(["tar", "-czf", str(tmp_path / "env.tar.gz"), "-C", str(tmp_path), "bin"], check=True)
    assert start("hadoop", "sums", 1, f"environment={tmp_path / 'env.tar.gz'}").end()["digest"] == sums
    kept = hadoop_cluster.webhdfs("GET", f"/user/{hadoop_cluster._user}/.outgrow", "LISTSTATUS")["FileStatuses"]["FileStatus"]
    assert [item["pathSuffix"][:12] for item in kept] == ["environment-"]
