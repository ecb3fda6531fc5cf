"""Hadoop's engine where no cluster is needed: configuration, command lines, what YARN's pages say, and what travels."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import learners
import pytest
import toys

from outgrow.core.errors import BadField, BadFile, BadInput, OutgrowError, Refused, StorageError, WorkerLost
from outgrow.core.events import Events
from outgrow.data.hdfs_sink import HdfsSink
from outgrow.engines import luggage, mapper, streaming
from outgrow.engines.hadoop import Hadoop
from outgrow.engines.remote import Answer
from outgrow.engines.yarn import Attempt, Yarn, addresses, explain
from outgrow.places import hdfs

ROOT = Path(__file__).parents[2]


def write(folder: Path, name: str, **values: str) -> None:
    body = "".join(f"<property><name>{key.replace('__', '-').replace('_', '.')}</name><value>{value}</value></property>" for key, value in values.items())
    (folder / name).write_text(f"<?xml version='1.0'?><configuration>{body}</configuration>")


# configuration and addresses


def test_settings__later_files_win_and_names_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("RACK", "r7")
    write(tmp_path, "core-site.xml", base="hdfs", fs_defaultFS="${base}://nn:9000", rack="${env.RACK}", loop="${loop}", other="${nobody}")
    write(tmp_path, "yarn-site.xml", base="webhdfs")
    found = hdfs.settings()
    assert found["fs.defaultFS"] == "webhdfs://nn:9000"
    assert (found["rack"], found["other"]) == ("r7", "${nobody}")
    assert found["loop"] == "${loop}"


def test_settings__that_are_no_xml__name_the_file(tmp_path: Path) -> None:
    (tmp_path / "hdfs-site.xml").write_text("<configuration>")
    with pytest.raises(BadInput, match=r"hdfs-site\.xml: the configuration cannot be read"):
        hdfs.settings(tmp_path)


def test_namenodes__of_a_nameservice__are_all_of_them() -> None:
    known = {"dfs.ha.namenodes.ns": "a, b", "dfs.namenode.rpc-address.ns.a": "one:8020", "dfs.namenode.rpc-address.ns.b": "two:9000"}
    assert hdfs.namenodes("ns", known) == [("one", 8020), ("two", 9000)]
    assert hdfs.namenodes("nn", {}) == [("nn", 8020)]
    with pytest.raises(BadInput, match="no address of a NameNode"):
        hdfs.namenodes("nn:port", {})


def test_connect__where_nobody_listens__fails_at_once_and_names_the_remedy() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BadInput, match=rf"hdfs://127\.0\.0\.1:{port}: no NameNode answers .*refused.*HADOOP_CONF_DIR"):
        hdfs.connect(lambda _: pytest.fail("no client is made"), f"hdfs://127.0.0.1:{port}/x")


def test_connect__where_something_else_answers__gives_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdfs, "_FIRST", 0.2)

    class Silent:
        def get_file_info(self, path: str) -> None:
            threading.Event().wait(5)

    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(BadInput, match="no NameNode, or hangs"):
        hdfs.connect(lambda _: Silent(), f"hdfs://127.0.0.1:{server.getsockname()[1]}/x")


def test_connect__without_host_and_configuration__says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    with pytest.raises(BadInput, match=r"names no NameNode.*hdfs://host:port/path"):
        hdfs.connect(lambda _: None, "hdfs:///x")


REFUSALS = [  # as hdfs-native gave them against Hadoop 3.4.2
    (r'RPCError("org.apache.hadoop.security.AccessControlException", "Permission denied: user=alice, access=WRITE, inode=\"/a\":root:drwx\n\tat org")', "user=alice"),
    (r'RPCError("org.apache.hadoop.hdfs.protocol.DSQuotaExceededException", "The DiskSpace quota of /quota is exceeded: quota = 1048576 B\n\tat x")', "setSpaceQuota"),
    (r'RPCError("org.apache.hadoop.hdfs.protocol.NSQuotaExceededException", "The NameSpace quota is exceeded\n\tat x")', "the quota is used up"),
    (r'RPCError("org.apache.hadoop.hdfs.server.namenode.SafeModeException", "Cannot create file/a/y. Name node is in safe mode.\nIt was")', "safe mode, so nothing"),
    (r'RPCError("java.io.IOException", "File /x could only be written to 0 of the 1 minReplication nodes. There are 0 datanode(s) running\n\tat x")', "bring DataNodes up"),
    ("DataNode connection lost", "HDFS cannot write it (DataNode connection lost)"),
]


@pytest.mark.parametrize(("said", "words"), REFUSALS)
def test_told__what_hdfs_refuses__names_place_and_remedy(said: str, words: str) -> None:
    with pytest.raises(StorageError) as caught, hdfs.told("hdfs://nn/a", writing=True):
        raise RuntimeError(said)
    text = str(caught.value)
    assert text.startswith("hdfs://nn/a: ")
    assert words in text
    assert "\\n" not in text
    assert "tat org" not in text


def test_told__reading__is_bad_input() -> None:
    with pytest.raises(BadInput, match="there is no such file or folder on HDFS"), hdfs.told("hdfs://nn/a"):
        raise FileNotFoundError("/a")


@pytest.mark.parametrize("name", ["hdfs://nn/out.parquet", "hdfs://nn/out.csv"])
def test_hdfs_sink__named_like_a_file__is_refused(name: str) -> None:
    with pytest.raises(StorageError, match="a folder of Parquet parts"):
        HdfsSink(path=name)


# finding the command, and what it says


def tree(home: Path) -> Path:
    """Something laid out as a Hadoop."""
    command = home / "bin" / "hadoop"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    jar = home / "share" / "hadoop" / "tools" / "lib" / "hadoop-streaming-3.4.2.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    return jar


def test_launcher_and_jar__come_from_the_option_the_home_or_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tree(tmp_path / "h")
    command = str(tmp_path / "h" / "bin" / "hadoop")
    monkeypatch.delenv("HADOOP_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refused, match=r"no command 'hadoop'.*HADOOP_HOME"):
        streaming.launcher()
    assert streaming.launcher(command) == command
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path / "h"))
    assert streaming.launcher() == command
    monkeypatch.delenv("HADOOP_HOME")
    monkeypatch.setenv("PATH", str(tmp_path / "h" / "bin"))
    assert streaming.launcher() == command
    assert streaming.jar(command) == jar
    assert streaming.jar(command, str(jar)) == jar
    with pytest.raises(Refused, match=r"/no\.jar: there is no such file"):
        streaming.jar(command, "/no.jar")
    jar.unlink()
    with pytest.raises(Refused, match=r"no hadoop-streaming jar.*OUTGROW_HADOOP_STREAMING"):
        streaming.jar(command)


def test_command__is_a_list_with_one_argument_a_value() -> None:
    made = streaming.command(
        "hadoop", Path("s.jar"), settings={"mapreduce.job.name": "a b; c"}, archive="hdfs://nn/e.tgz#env", lines="in", out="out", mapper='"p y" x', user="me"
    )  # fmt: skip
    assert made[:3] == ["hadoop", "jar", "s.jar"]
    assert "mapreduce.job.name=a b; c" in made
    assert "mapreduce.job.reduces=0" in made
    assert made[made.index("-mapper") + 1] == '"p y" x'
    assert made[-3:] == ["-cmdenv", "HADOOP_USER_NAME=me", "-background"]
    assert made.index("-archives") < made.index("-inputformat"), "generic options come first"


def test_submitted__gives_the_application() -> None:
    assert streaming.submitted("INFO impl.YarnClientImpl: Submitted application application_17_0003\n", 0) == "application_17_0003"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("java.io.IOException: Failed to submit application_1_2 to YARN : Application rejected by queue placement: unknown queue: q\n\tat x", Refused, "OUTGROW_HADOOP_QUEUE"),
        ("org.apache.hadoop.security.AccessControlException: Permission denied: user=guest, access=WRITE", StorageError, "user=guest"),
        ("Error: JAVA_HOME is not set and could not be found.", Refused, "Set JAVA_HOME"),
        ("java.lang.UnsupportedClassVersionError: RunJar has been compiled by a more recent version of the Java Runtime", Refused, "no Java that fits.*more recent"),
        ("InvalidResourceRequestException: Requested resource exceeding queue root.a maximum", Refused, "OUTGROW_HADOOP_"),
        ("strange words\nmore of them", Refused, "more of them"),
        ("", Refused, "said nothing"),
    ],
)
def test_submitted__what_went_wrong__is_told_with_the_remedy(said: str, kind: type[OutgrowError], words: str) -> None:
    with pytest.raises(kind, match=words):
        streaming.submitted(said, 1)


# YARN's pages

QUEUES = [{"queueName": "small", "queuePath": "root.small"}, {"queueName": "big"}]
PAGES: dict[str, Any] = {
    "/ws/v1/cluster/info": {"clusterInfo": {"haState": "ACTIVE"}},
    "/ws/v1/cluster/metrics": {"clusterMetrics": {"totalVirtualCores": 16, "totalMB": 6144}},
    "/ws/v1/cluster/scheduler": {"scheduler": {"schedulerInfo": {"type": "capacityScheduler", "queueName": "root", "queues": {"queue": QUEUES}}}},
    "/ws/v1/cluster/apps?applicationTags=outgrow-ab": {"apps": {"app": [{"id": "application_1_1", "state": "RUNNING"}]}},
    "/ws/v1/cluster/apps?applicationTags=none": {"apps": None},
    "/ws/v1/cluster/apps/application_1_1": {"app": {"id": "application_1_1", "state": "RUNNING"}},
    "/proxy/application_1_1/ws/v1/mapreduce/jobs/job_1_1": {"job": {"failedMapAttempts": 1, "killedMapAttempts": 0}},
    "/proxy/application_1_1/ws/v1/mapreduce/jobs/job_1_1/counters": {
        "jobCounters": {"counterGroup": [{"counterGroupName": "other", "counter": []}, {"counterGroupName": "outgrow", "counter": [{"name": "rows", "totalCounterValue": 512}]}]}
    },
    "/proxy/application_1_1/ws/v1/mapreduce/jobs/job_1_1/tasks?type=m": {"tasks": {"task": [{"id": "task_0"}]}},
}


class Pages(BaseHTTPRequestHandler):
    """A ResourceManager, an application master and a NodeManager in one."""

    asked: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        node = f"127.0.0.1:{self.server.server_port}"
        tries = [
            {"id": "attempt_0", "state": "FAILED", "nodeHttpAddress": node, "assignedContainerId": "c0", "diagnostics": "subprocess failed with code 2"},
            {"id": "attempt_1", "state": "RUNNING", "nodeHttpAddress": node, "assignedContainerId": "c1", "diagnostics": ""},
        ]
        pages = {**PAGES, "/proxy/application_1_1/ws/v1/mapreduce/jobs/job_1_1/tasks/task_0/attempts": {"taskAttempts": {"taskAttempt": tries}}}
        body = b"log4j:WARN x\nreporter:status:starting\nboom\n" if "containerlogs/c0/stderr" in self.path else json.dumps(pages.get(self.path, {})).encode()
        self._answer(body)

    def do_PUT(self) -> None:
        self.asked.append(("PUT", self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def pages() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Pages)
    server.status = 200  # type: ignore[attr-defined]
    Pages.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def known(server: HTTPServer) -> dict[str, str]:
    return {"yarn.resourcemanager.webapp.address": f"127.0.0.1:{server.server_port}"}


def test_addresses__of_one_of_several_and_of_secure_managers() -> None:
    assert addresses({"yarn.resourcemanager.hostname": "rm"}) == ["http://rm:8088"]
    assert addresses({"yarn.resourcemanager.ha.rm-ids": "a,b", "yarn.resourcemanager.hostname.a": "x", "yarn.resourcemanager.webapp.address.b": "y:1"}) == ["http://x:8088", "http://y:1"]
    assert addresses({"yarn.http.policy": "HTTPS_ONLY", "yarn.resourcemanager.hostname": "rm"}) == ["https://rm:8090"]
    assert addresses({}) == []


def test_yarn__tells_room_queues_applications_rows_and_failures(pages: HTTPServer) -> None:
    yarn = Yarn(known(pages), "me")
    assert yarn.capacity(1024) == 5  # six fit, one is the application master
    assert yarn.capacity(100_000) == 1
    assert yarn.queues() == {"root", "small", "root.small", "big"}
    assert [item["id"] for item in yarn.tagged("Outgrow-AB")] == ["application_1_1"], "YARN keeps tags in small letters"
    assert yarn.tagged("none") == []
    assert yarn.application("application_1_1")["state"] == "RUNNING"
    assert yarn.application("application_9_9") == {}
    assert yarn.rows("application_1_1") == 512
    (attempt,) = yarn.failed("application_1_1", set())
    assert (attempt.id, attempt.node, attempt.stderr) == ("attempt_0", "127.0.0.1", "boom")
    assert yarn.failed("application_1_1", {"attempt_0"}) == []
    yarn.kill("application_1_1")
    assert Pages.asked == [("PUT", "/ws/v1/cluster/apps/application_1_1/state?user.name=me", '{"state": "KILLED"}')]


def test_yarn__that_does_not_answer_or_wants_a_ticket__is_refused(pages: HTTPServer) -> None:
    with pytest.raises(Refused, match="no configuration names a ResourceManager"):
        Yarn({}, "me")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Refused, match=r"no ResourceManager answers .*refused.*yarn-site\.xml"):
            Yarn({"yarn.resourcemanager.webapp.address": f"127.0.0.1:{free.getsockname()[1]}"}, "me")
    pages.status = 401  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="asks for a ticket"):
        Yarn(known(pages), "me")


def attempt(says: str, stderr: str = "") -> Attempt:
    return Attempt(id="a", state="FAILED", node="n1", container="c", says=says, stderr=stderr)


@pytest.mark.parametrize(
    ("says", "stderr", "line", "kind"),
    [
        ("[x]Container [pid=9] is running beyond the 'PHYSICAL' memory limit. Current usage: 390.1 MB of 384 MB physical memory used; 2 GB", "", "390.1 MB of 384 MB", None),
        ("Container killed on request. Exit code is 137", "", "killed (signal 9): the node ran out of memory", None),
        ("PipeMapRed.waitOutputThreads(): subprocess failed with code 143", "", "told to end (signal 15)", None),
        ("PipeMapRed.waitOutputThreads(): subprocess failed with code 139", "", "segmentation fault", None),
        ('java.io.IOException: Cannot run program "/p": error=2', "", "no such Python", Refused),
        ("subprocess failed with code 1", "Traceback\nModuleNotFoundError: No module named 'outgrow'", "No module named", Refused),
        ("subprocess failed with code 1", "Traceback\nValueError: odd", "ValueError: odd", WorkerLost),
        ("Container released on a *lost* node", "", "Container released on a *lost* node", None),
        ("", "", "YARN does not say why", None),
    ],
)
def test_explain__says_what_it_was_and_raises_only_what_would_happen_again(says: str, stderr: str, line: str, kind: type[OutgrowError] | None) -> None:
    text, error = explain(attempt(says, stderr), "/p")
    assert line in text
    assert error is None if kind is None else type(error) is kind
    if error is not None:
        assert "n1" in str(error)


# what travels


def test_answers_and_errors__survive_the_way_and_are_refused_where_changed() -> None:
    answer = Answer(kind="node", which=1, level=2, index=3, state=b"\n\x00state\n", rows=7)
    assert mapper.unpacked(mapper.packed(answer), "x") == answer
    with pytest.raises(BadFile, match="a mapper's answer is damaged"):
        mapper.unpacked(b"{}\n", "x")
    key = "ab" * 32
    assert mapper.unsealed(key, mapper.sealed(key, b"data"), "x") == b"data"
    for wrong in (mapper.sealed("cd" * 32, b"data"), b"data", b""):
        with pytest.raises(BadFile, match="not one that a mapper of this run wrote"):
            mapper.unsealed(key, wrong, "x")


def test_own_modules__are_those_that_no_installation_holds() -> None:
    assert set(luggage.own_modules(toys.job(toys.LEARNERS["sums"]))) == {"toys.py"}
    assert luggage.own_modules({"a": 1}) == {}


FIT = """
import sys
from pathlib import Path
from outgrow.engines import luggage
folder, data = Path(sys.argv[1]), sys.stdin.buffer.read()
if data:
    luggage.place(data, folder)
package = Path(luggage.__file__).parents[1]
made = lambda: {file.name for place in (package, folder) for kind in ("nbc", "native") for file in place.rglob(f"*.{kind}")}
before = made()
import learners
from outgrow.core.run import run
from outgrow.engines.serial import Serial
for name in ("online, 3 lanes", "k-means"):
    run(learners.job(name, sys.argv[2]), Serial())
print(len(before), len(made() - before), package, file=sys.stderr)
sys.stdout.buffer.write(luggage.pack())
"""


@pytest.mark.slow
def test_kernels__that_travelled_to_another_path__are_not_compiled_again(tmp_path: Path) -> None:
    """The package is copied without compiled code, compiles, and is moved, so that only what travelled can be found."""
    rows = learners.write(tmp_path)

    def go(package: Path, home: Path, data: bytes) -> tuple[list[str], bytes]:
        env = {**os.environ, "PYTHONPATH": f"{package}:{ROOT / 'tests' / 'support'}", "OUTGROW_HOME": str(home), "NUMBA_CACHE_DIR": str(home)}
        done = subprocess.run([sys.executable, "-c", FIT, str(home), str(rows)], input=data, capture_output=True, env=env, timeout=200, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stderr.decode().splitlines()[-1].split(), done.stdout

    bare = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "one", ignore=bare)
    (before, made, _), packed = go(tmp_path / "one", tmp_path / "first", b"")
    assert int(before) == 0
    assert int(made) > 0
    shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=bare)
    shutil.rmtree(tmp_path / "one")
    (placed, compiled, package), _ = go(tmp_path / "two", tmp_path / "second", packed)
    assert (int(placed), int(compiled), package) == (int(made), 0, str(tmp_path / "two" / "outgrow"))


# the engine, before any work


def test_hadoop__options__come_from_arguments_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTGROW_HADOOP_QUEUE", "small")
    monkeypatch.setenv("OUTGROW_HADOOP_MEMORY", "2048")
    engine = Hadoop(2, memory=512)
    assert (engine.queue, engine.memory, engine.python) == ("small", 512, sys.executable)
    assert Hadoop(environment="hdfs://nn/e.tgz").python == "env/bin/python"
    monkeypatch.setenv("OUTGROW_HADOOP_MEMORY", "2 GB")
    with pytest.raises(BadField, match="OUTGROW_HADOOP_MEMORY"):
        Hadoop()
    with pytest.raises(BadField, match="-1 mappers"):
        Hadoop(-1)


def test_can__rows_in_memory_and_learners_of_the_script__are_refused(monkeypatch: pytest.MonkeyPatch, arrays: Any) -> None:
    import numpy as np

    refusal = Hadoop().can(toys.job(toys.LEARNERS["sums"], source=arrays(np.zeros((4, 1)), np.zeros(4))))
    assert "Write them to Parquet on HDFS" in str(refusal)
    monkeypatch.setattr(toys.Summing, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Summing", toys.Summing, raising=False)
    assert "Move its class to a module" in str(Hadoop().can(toys.job(toys.LEARNERS["sums"])))


def test_can__without_command_java_or_cluster__says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = toys.job(toys.LEARNERS["sums"])
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    monkeypatch.delenv("HADOOP_HOME", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no command 'hadoop'" in str(Hadoop().can(job))
    tree(tmp_path / "h")
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path / "h"))
    assert "there is no Java" in str(Hadoop().can(job))
    monkeypatch.setenv("JAVA_HOME", "/java")
    assert "no configuration names a ResourceManager" in str(Hadoop().can(job))


def test_can__a_queue_that_is_not_there__lists_those_that_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: HTTPServer) -> None:
    tree(tmp_path / "h")
    write(tmp_path, "yarn-site.xml", yarn_resourcemanager_webapp_address=f"127.0.0.1:{pages.server_port}")
    for name, value in {"HADOOP_CONF_DIR": str(tmp_path), "HADOOP_HOME": str(tmp_path / "h"), "JAVA_HOME": "/java"}.items():
        monkeypatch.setenv(name, value)
    refusal = Hadoop(queue="large").can(toys.job(toys.LEARNERS["sums"]))
    assert "no queue 'large'; allowed: big, root, root.small, small" in str(refusal)
    refusal = Hadoop(queue="small").can(toys.job(toys.LEARNERS["sums"]))
    assert "the address names no NameNode" in str(refusal)


def test_watch__a_failed_attempt_whose_words_come_late__is_told_when_they_are_there() -> None:
    late = attempt("subprocess failed with code 1")
    heard = attempt("subprocess failed with code 1", "ModuleNotFoundError: No module named 'outgrow'")
    answers = [[late], [late], [heard]]
    lost: list[dict[str, Any]] = []
    engine = Hadoop(1)
    engine.yarn = SimpleNamespace(application=lambda name: {"state": "RUNNING"}, failed=lambda name, told: answers.pop(0))  # type: ignore[assignment]
    engine.events, engine._told, engine._looks, engine._handed, engine._last = Events(lost.append), set(), {}, float("inf"), ""
    assert [engine._watch("a"), engine._watch("a")] == ["", ""]
    assert lost == []
    with pytest.raises(Refused, match="No module named 'outgrow'"):
        engine._watch("a")
    assert len(lost) == 1


def test_watch__a_failed_attempt_that_says_nothing__is_told_after_some_looks__one_that_was_killed_at_once() -> None:
    lost: list[dict[str, Any]] = []
    found = [attempt("subprocess failed with code 1")]
    engine = Hadoop(1)
    engine.yarn = SimpleNamespace(application=lambda name: {"state": "RUNNING"}, failed=lambda name, told: found)  # type: ignore[assignment]
    engine.events, engine._told, engine._looks, engine._handed, engine._last = Events(lost.append), set(), {}, float("inf"), ""
    for _ in range(4):
        engine._watch("a")
    assert not lost
    with pytest.raises(WorkerLost, match="ended with status 1"):
        engine._watch("a")
    found[:] = [attempt("subprocess failed with code 137")]
    engine._looks.clear()
    engine._watch("a")
    assert "killed (signal 9)" in lost[-1]["why"]
