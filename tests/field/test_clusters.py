"""The clusters themselves: they work, and nothing of them stays."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from field import clusters, processes
from field.hadoop import Hadoop
from field.processes import FieldError
from field.spark import Spark
from field.spark_on_yarn import SparkOnYarn

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.field, pytest.mark.slow, pytest.mark.timeout(600)]

ON_SPARK = """
import json, sys
from pyspark import SparkConf, SparkContext
context = SparkContext(conf=SparkConf().setMaster(sys.argv[1]).set("spark.ui.showConsoleProgress", "false"))

def where(part):
    import os, time
    time.sleep(0.2)
    yield part, os.environ["SPARK_EXECUTOR_DIRS"], sys.version_info[:2]

print(json.dumps(context.parallelize(range(8), 8).flatMap(where).collect()))
context.stop()
"""

THROUGH_HDFS = """
import hdfs_native, json, os, sys
client = hdfs_native.Client(sys.argv[1])
with client.create("/tmp/written", hdfs_native.WriteOptions(overwrite=True)) as file:
    file.write(bytes(range(256)) * 5000)
with client.read("/tmp/written") as file:
    print(json.dumps([file.read() == bytes(range(256)) * 5000, client.get_file_info("/tmp/written").length]))
"""
ON_YARN = """
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
from hdfs_native.fsspec import HdfsFileSystem
from pyspark.sql import SparkSession
url = sys.argv[1]
files = HdfsFileSystem(host="127.0.0.1", port=8020)
with files.open("/tmp/rows.parquet", "wb") as file:
    pq.write_table(pa.table({"x": range(1000)}), file)
spark = SparkSession.builder.getOrCreate()
rows = spark.read.parquet(url + "/tmp/rows.parquet")
python = spark.sparkContext.parallelize(range(2), 2).map(lambda _: sys.version_info[:2]).collect()
print(json.dumps([spark.sparkContext.master, rows.groupBy().sum("x").first()[0], python]))
spark.stop()
"""
MAPPER = """
import os, sys
for line in sys.stdin:
    print(line.strip(), os.getpid(), sys.version_info[1], sep="\\t")
print("reporter:counter:field,ranges,1", file=sys.stderr)
"""


def said(command: list[str], env: dict[str, str]) -> Any:
    """What a program prints as its last line, as JSON."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, "\n".join(line for line in done.stderr.splitlines() if not line.startswith("\tat "))
    return json.loads(done.stdout.splitlines()[-1])


def test_spark__a_job_of_eight_parts__runs_on_both_workers_with_this_python(spark_cluster: Spark) -> None:
    found = said([sys.executable, "-c", ON_SPARK, spark_cluster.master], spark_cluster.env)
    assert sorted(part for part, _, _ in found) == list(range(8))
    assert len({folder for _, folder, _ in found}) == 2
    assert {tuple(version) for _, _, version in found} == {sys.version_info[:2]}


def test_hdfs__a_file_written_with_hdfs_native__reads_back_the_same(hadoop_cluster: Hadoop) -> None:
    written = json.loads(hadoop_cluster.python(THROUGH_HDFS, hadoop_cluster.hdfs))
    assert written == [True, 1_280_000]


def test_streaming__three_lines__are_three_mappers_of_this_python(hadoop_cluster: Hadoop, tmp_path: Path) -> None:
    (tmp_path / "mapper.py").write_text(MAPPER)
    (tmp_path / "ranges.txt").write_text("0 5\n5 10\n10 12\n")
    hadoop_cluster.say(["hadoop", "fs", "-mkdir", "-p", "/tmp/three"])
    hadoop_cluster.say(["hadoop", "fs", "-put", str(tmp_path / "ranges.txt"), "/tmp/three/ranges.txt"])
    options = {"mapreduce.job.reduces": 0, "mapreduce.input.lineinputformat.linespermap": 1, "stream.map.input.ignoreKey": "true", "mapreduce.job.tags": "three"}
    settings = [word for key, value in options.items() for word in ("-D", f"{key}={value}")]
    places = ["-input", "/tmp/three/ranges.txt", "-output", "/tmp/three/out", "-mapper", f"{sys.executable} mapper.py"]
    streaming = ["hadoop", "jar", str(hadoop_cluster.streaming), *settings, "-files", str(tmp_path / "mapper.py")]
    hadoop_cluster.say([*streaming, "-inputformat", "org.apache.hadoop.mapred.lib.NLineInputFormat", *places], seconds=400)
    lines = [line.split("\t") for line in hadoop_cluster.say(["hadoop", "fs", "-cat", "/tmp/three/out/part-*"]).splitlines()]
    assert sorted(line[0] for line in lines) == ["0 5", "10 12", "5 10"]
    assert len({line[1] for line in lines}) == 3
    assert {line[2] for line in lines} == {str(sys.version_info[1])}
    (application,) = hadoop_cluster.applications(applicationTags="three")
    assert application["finalStatus"] == "SUCCEEDED"


def test_spark_on_yarn__a_parquet_file_of_hdfs__is_read_by_executors_with_this_python(spark_on_yarn: SparkOnYarn) -> None:
    cluster = spark_on_yarn.hadoop
    found = said(cluster.inside([sys.executable, "-c", ON_YARN, cluster.hdfs]), spark_on_yarn.env)
    assert found[:2] == ["yarn", 499_500]
    assert {tuple(version) for version in found[2]} == {sys.version_info[:2]}


def test_hadoop__a_killed_nodemanager_and_datanode__are_back_with_the_data(hadoop_cluster: Hadoop) -> None:
    hadoop_cluster.python(THROUGH_HDFS, hadoop_cluster.hdfs)
    for role, changes in (("nodemanager-2", {"yarn.nodemanager.pmem-check-enabled": "true"}), ("datanode", {}), ("nodemanager-2", {})):
        before = hadoop_cluster.pids[role]
        os.kill(before, 9)
        hadoop_cluster.restart(role, changes)
        if role == "nodemanager-2":
            setting = hadoop_cluster.ask("http://127.0.0.1:8142/conf?name=yarn.nodemanager.pmem-check-enabled")
            assert setting["property"]["value"] == ("true" if changes else "false")
        assert hadoop_cluster.pids[role] != before
    read = "import hdfs_native, sys; print(hdfs_native.Client(sys.argv[1]).read('/tmp/written').read(256) == bytes(range(256)))"
    assert hadoop_cluster.python(read, hadoop_cluster.hdfs).strip() == "True"
    assert hadoop_cluster.ask(f"{hadoop_cluster.resourcemanager}/ws/v1/cluster/metrics")["clusterMetrics"]["activeNodes"] == 2


def test_hadoop__its_network__has_no_other_address_and_nothing_of_it_is_seen_outside(hadoop_cluster: Hadoop) -> None:
    assert "127.0.0.1/8" in (seen := hadoop_cluster.say(["ip", "-oneline", "address"]))
    assert {line.split()[1] for line in seen.splitlines()} == {"lo"}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 8020), timeout=2).close()


def test_hadoop__a_queue_that_does_not_exist_and_a_user_without_rights__are_refused(hadoop_cluster: Hadoop) -> None:
    with pytest.raises(FieldError, match="Permission denied: user=guest"):
        hadoop_cluster.say(["env", "HADOOP_USER_NAME=guest", "hadoop", "fs", "-mkdir", "/of-guest"])
    queues = hadoop_cluster.ask(f"{hadoop_cluster.resourcemanager}/ws/v1/cluster/scheduler")["scheduler"]["schedulerInfo"]["queues"]["queue"]
    assert {queue["queueName"] for queue in queues} == {"default", "small"}


def test_spark__a_killed_worker__is_back_and_all_listen_on_loopback_alone(spark_cluster: Spark, tmp_path: Path) -> None:
    (tmp_path / "rows").touch()
    for hide in (tmp_path, None):
        before = spark_cluster.worker_pids["worker-1"]
        os.kill(before, 9)
        spark_cluster.restart("worker-1", hide)
        now = spark_cluster.worker_pids["worker-1"]
        assert now != before
        assert Path(f"/proc/{now}/root{tmp_path}/rows").exists() is (hide is None)
    members = {one.pid for one in spark_cluster.members}
    listening = {link.laddr.ip for link in psutil.net_connections("tcp") if link.status == "LISTEN" and link.pid in members}
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1", "127.0.0.2"}


@pytest.mark.parametrize("kind", [Spark, Hadoop])
def test_a_starter__that_fails_half_way__says_why_and_leaves_no_process(kind: type[Spark | Hadoop], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = kind()
    begun: list[str] = []
    original = processes.start

    def start(name: str, argv: list[str], **options: Any) -> Any:
        begun.append(name)
        broken = [*argv[:-1], "--unknown"] if name == "worker-2" else [word.replace("NodeManager", "NoManager") for word in argv] if name == "nodemanager-2" else argv
        return original(name, broken, **options)

    monkeypatch.setattr(processes, "start", start)
    with pytest.raises(FieldError, match=r"(worker|nodemanager)-2 ended"):
        cluster.start()
    assert len(begun) > 2
    assert cluster.members == []
    assert not cluster.home.exists()


def test_down__after_a_starter_was_killed__leaves_no_process_and_spares_clusters_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTGROW_FIELD", str(tmp_path))
    source = "from field.spark import Spark; print(Spark(workers=1).start().home, flush=True); import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=ROOT) as starter:
        assert starter.stdout is not None
        home = Path(starter.stdout.readline().strip())
        before = processes.members(home)
        assert clusters.down() == []
        assert len(before) == 2
        assert processes.members(home) == before
        starter.kill()
    assert clusters.down() == [home]
    assert not any(one.alive for one in before)
    assert not home.exists()


def test_down__stops_what_was_kept_up__and_spares_a_folder_that_is_just_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTGROW_FIELD", str(tmp_path))
    kept = Spark(kept=True)
    one = processes.start("master", ["sleep", "600"], home=kept.home, env=dict(os.environ))
    (tmp_path / "clusters" / "spark-1-new").mkdir()
    assert clusters.down(left=False) == []
    assert one.alive
    assert clusters.down() == [kept.home]
    assert not one.alive


def test_a_process__whose_id_was_given_to_another__is_not_killed(tmp_path: Path) -> None:
    one = processes.start("sleeper", ["sleep", "600"], home=tmp_path, env=dict(os.environ))
    file = tmp_path / "pids" / "sleeper"
    assert processes.read(file) == one
    written = file.read_text()
    file.write_text(written.replace(f" {one.start} ", f" {one.start - 1} "))
    assert processes.read(file) is None
    processes.Process(one.pid, one.start - 1).kill()
    assert one.alive
    file.write_text(written)
    processes.stop(tmp_path)
    assert not one.alive


def test_stop__takes_what_the_programs_started_too(tmp_path: Path) -> None:
    processes.start("parent", ["sh", "-c", "setsid --fork sleep 601; setsid --fork sh -c 'sleep 602; true'; exec sleep 603"], home=tmp_path, env=dict(os.environ))
    found = processes.wait(lambda: [one for one in processes.members(tmp_path) if "sleep 60" in processes.command(one.pid)][3:], "four", home=tmp_path)
    assert found
    everyone = processes.members(tmp_path)
    processes.stop(tmp_path)
    assert not any(one.alive for one in everyone)


@pytest.mark.parametrize(("lacking", "said"), [("java", "JAVA_HOME"), ("mvn", "install Maven"), ("unshare", "util-linux")])
def test_hadoop__on_a_machine_that_lacks_a_program__says_which_in_a_sentence(lacking: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("java", "mvn", "unshare", "nsenter", "ip", "setsid", "hostname", "sh", "cat", "mv", "true", "sleep"):
        if name != lacking:
            (tmp_path / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("OUTGROW_FIELD", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(processes.MissingError, match=said) as caught:
        Hadoop().start()
    assert f"`{lacking}` is not on the PATH" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert clusters.down() == []


def test_wrong_java__is_told_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(processes.MissingError, match=r"is version 11\.0\.2; Spark 4 needs 17"):
        Spark().start()


@pytest.mark.parametrize(("ci", "closing"), [("", "1 skipped"), ("true", "1 error")])
def test_the_fixtures__without_java__skip_with_the_reason_but_fail_under_ci(ci: str, closing: str, tmp_path: Path) -> None:
    env = {**os.environ, "JAVA_HOME": str(tmp_path), "CI": ci, "OUTGROW_FIELD": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-rsE", "-p", "no:cacheprovider", "tests/field/test_clusters.py", "-k", "eight_parts"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert closing in done.stdout.splitlines()[-1]
    assert f"JAVA_HOME={tmp_path} has no bin/java: correct it" in done.stdout
