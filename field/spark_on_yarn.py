"""Spark on the YARN of a Hadoop cluster, reading its HDFS: only settings, since YARN starts what there is to start."""

from __future__ import annotations

from pathlib import Path

from .hadoop import Hadoop
from .spark import python_below, spark_env, spark_home

LIGHT = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true"


class SparkOnYarn:
    """The environment in which ``--master yarn`` reaches this cluster, and its executors.

    Parameters
    ----------
    hadoop : Hadoop
        A cluster that runs.
    """

    master = "yarn"

    def __init__(self, hadoop: Hadoop) -> None:
        self.hadoop = hadoop
        self.hdfs = hadoop.hdfs
        lines = "".join(f"{key} {value}\n" for key, value in self.defaults().items())
        self.conf.mkdir(exist_ok=True)
        (self.conf / "spark-defaults.conf").write_text(lines)

    def defaults(self) -> dict[str, str]:
        """What spark-defaults.conf holds: small containers, and jars that are read where pip put them instead of being sent with every application."""
        return {
            "spark.master": self.master,
            "spark.submit.deployMode": "client",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.yarn.jars": f"local:{spark_home()}/jars/*",
            "spark.yarn.am.memory": "512m",
            "spark.yarn.am.extraJavaOptions": LIGHT,
            "spark.executor.instances": "2",
            "spark.executor.cores": "1",
            "spark.executor.memory": "768m",
            "spark.executor.extraJavaOptions": LIGHT,
        }

    @property
    def conf(self) -> Path:
        """The folder of spark-defaults.conf."""
        return self.hadoop.home / "conf-spark"

    @property
    def executor_pids(self) -> list[int]:
        """Process ids of the executors' virtual machines."""
        return self.hadoop.java("YarnCoarseGrainedExecutorBackend")

    @property
    def python_pids(self) -> list[int]:
        """Process ids of the executors' Python: the daemons and the workers that they forked."""
        return python_below(self.executor_pids)

    @property
    def env(self) -> dict[str, str]:
        """The environment for programs that use it: Hadoop's and Spark's, ``SPARK_CONF_DIR`` among it."""
        return {**self.hadoop.env, **spark_env(), "PATH": self.hadoop.env["PATH"], "SPARK_CONF_DIR": str(self.conf)}
