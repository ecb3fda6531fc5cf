"""The commands of the README's section on scaling on, against real clusters: the model is the laptop's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from field.hadoop import Hadoop
from field.spark import Spark, spark_env
from field.spark_on_yarn import SparkOnYarn

pytestmark = [pytest.mark.field, pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
ROWS = 20_000  # of the demo's flights


def commands() -> list[str]:
    """The README's commands that name a cluster, without what is said about them."""
    _, _, section = (ROOT / "README.md").read_text().partition("## How to scale on")
    return [re.sub(r"\s+#.*", "", line.strip()) for line in section.partition("\n## ")[0].splitlines() if re.match(r"\s+outgrow fit .*--on", line)]


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``flights.parquet``."""
    folder = tmp_path_factory.mktemp("flights")
    code = "import flights; flights.prepare()"
    env = {**os.environ, "OUTGROW_DEMO": str(folder), "PYTHONPATH": os.pathsep.join([str(ROOT / "demo"), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    pq.write_table(pq.read_table(folder / "train.parquet").slice(0, ROWS), folder / "flights.parquet")
    return folder


def fitted(command: str, folder: Path, env: dict[str, str], cluster: Hadoop | None = None) -> str:
    """The digest that a command of the README prints, in a home of its own."""
    argv = [sys.executable, "-m", *shlex.split(command)]
    home = {"OUTGROW_HOME": str(folder / f"home-{re.sub(r'[^a-z0-9]', '', command)}")}
    done = subprocess.run(cluster.inside(argv) if cluster else argv, env=env | home, cwd=folder, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "finished before" not in done.stdout
    assert ("one machine is enough" in done.stderr) == ("serial" not in command), "on 20,000 rows the plan says so of every cluster"
    return re.findall(r"digest +([0-9a-f]{32})", done.stdout)[0]


@pytest.fixture(scope="module")
def laptop(flights: Path) -> str:
    """The digest of one process."""
    return fitted(commands()[0].replace("spark://host:7077", "serial"), flights, dict(os.environ))


@pytest.fixture(scope="module")
def on_hdfs(hadoop_cluster: Hadoop, flights: Path) -> Hadoop:
    """The cluster, with the flights in a folder on HDFS and one for models."""
    hadoop_cluster.say(["hadoop", "fs", "-mkdir", "-p", "/flights", "/models"])
    hadoop_cluster.say(["hadoop", "fs", "-put", "-f", str(flights / "flights.parquet"), "/flights/flights.parquet"])
    return hadoop_cluster


def test_the_readme__names_one_command_for_spark_and_one_for_hadoop() -> None:
    assert [re.findall(r"--on (\S+)", command) for command in commands()] == [["spark://host:7077"], ["hadoop"]]


def test_on_spark__the_digest_is_the_laptops(spark_cluster: Spark, flights: Path, laptop: str) -> None:
    assert fitted(commands()[0].replace("spark://host:7077", spark_cluster.master), flights, spark_cluster.env) == laptop


def test_on_local_threads_of_spark__the_digest_is_the_laptops(flights: Path, laptop: str) -> None:
    assert fitted(commands()[0].replace("spark://host:7077", "local[4]"), flights, spark_env()) == laptop


def test_on_yarn_with_spark__reading_hdfs__the_digest_is_the_laptops(on_hdfs: Hadoop, spark_on_yarn: SparkOnYarn, flights: Path, laptop: str) -> None:
    command = commands()[0].replace("spark://host:7077", "yarn").replace("flights.parquet", f"{on_hdfs.hdfs}/flights/")
    assert fitted(command, flights, spark_on_yarn.env, on_hdfs) == laptop


def test_on_hadoop__reading_hdfs_and_writing_the_model_there__the_digest_is_the_laptops(on_hdfs: Hadoop, flights: Path, laptop: str) -> None:
    command = commands()[1].replace("hdfs://nn", on_hdfs.hdfs)
    assert fitted(command, flights, on_hdfs.env, on_hdfs) == laptop
    assert on_hdfs.python("import outgrow, sys; print(outgrow.load(sys.argv[1]).digest)", f"{on_hdfs.hdfs}/models/late.model").startswith(laptop)


NO_QUEUE = """
import sys, toys
from outgrow.core.run import run
from outgrow.engines.spark import Spark
run(toys.job(toys.Summing(rounds=1)), Spark("yarn", options={"spark.yarn.queue": "nowhere"}))
"""


def test_on_yarn_with_spark__a_queue_that_does_not_exist__is_refused_by_name(spark_on_yarn: SparkOnYarn) -> None:
    cluster, support = spark_on_yarn.hadoop, str(ROOT / "tests" / "support")
    env = {**spark_on_yarn.env, "PYTHONPATH": os.pathsep.join([support, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(cluster.inside([sys.executable, "-c", NO_QUEUE]), env=env, capture_output=True, text=True, timeout=540, check=False)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("outgrow.core.errors.Refused")]
    assert re.search(r"yarn: Spark does not start: .*unknown queue: nowhere\. Name a queue that you may use: spark\.yarn\.queue", line), line
    assert cluster.applications(states="NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING") == []
