"""The configuration of a small, fast Hadoop on the loopback device of its own network; why each setting is what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

Site = dict[str, str]
HDFS = "hdfs://127.0.0.1:8020"
NAMENODE, RESOURCEMANAGER, HISTORY = "http://127.0.0.1:9870", "http://127.0.0.1:8088", "http://127.0.0.1:19888"
OPENS = "--add-opens=java.base/java.lang=ALL-UNNAMED"
LIGHT = f"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true {OPENS}"
# A lost NodeManager is given up after seconds, not minutes: read by the clients' and the application masters' connections alike.
QUICK = {"yarn.client.nodemanager-connect.max-wait-ms": "2000", "yarn.client.nodemanager-connect.retry-interval-ms": "200"}
LOG4J = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{yy/MM/dd HH:mm:ss} %p %c{2}: %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
"""


def core_site(home: Path) -> Site:
    return {"fs.defaultFS": HDFS, "hadoop.tmp.dir": str(home / "tmp")}


def hdfs_site(home: Path) -> Site:
    return {
        "dfs.replication": "1",
        "dfs.namenode.name.dir": str(home / "dfs" / "name"),
        "dfs.datanode.data.dir": str(home / "dfs" / "data"),
        "dfs.namenode.rpc-address": "127.0.0.1:8020",
        "dfs.namenode.http-address": "127.0.0.1:9870",
        "dfs.datanode.address": "127.0.0.1:9866",
        "dfs.datanode.http.address": "127.0.0.1:9864",
        "dfs.datanode.ipc.address": "127.0.0.1:9867",
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.heartbeat.interval": "1",
        "dfs.namenode.safemode.extension": "0",
        "dfs.namenode.edits.noeditlogchannelflush": "true",  # nothing here outlives a power cut
        "dfs.namenode.fs-limits.min-block-size": "1024",  # so that tests see files of many blocks
        "dfs.permissions.enabled": "true",  # whoever started the cluster is the superuser; HADOOP_USER_NAME=guest is nobody
    }


def yarn_site(home: Path, hadoop_home: Path, number: int = 1) -> Site:
    """`number` is the NodeManager's: each has ports and folders of its own."""
    node, ports = home / f"node-{number}", 8040 + 100 * (number - 1)
    return QUICK | {
        "yarn.resourcemanager.hostname": "127.0.0.1",
        "yarn.resourcemanager.scheduler.class": "org.apache.hadoop.yarn.server.resourcemanager.scheduler.capacity.CapacityScheduler",
        "yarn.scheduler.minimum-allocation-mb": "128",
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": "100",
        "yarn.nm.liveness-monitor.expiry-interval-ms": "10000",  # 5 s were too few on a busy machine: a NodeManager that only waited for a core was given up
        "yarn.am.liveness-monitor.expiry-interval-ms": "120000",  # 10 s were too few while an archive was unpacked
        "yarn.resourcemanager.connect.retry-interval-ms": "200",  # a NodeManager that is early would sleep 30 s
        "yarn.node-attribute.fs-store.root-dir": f"file://{home}/attributes",  # the default is one folder in /tmp for all clusters of a user
        "yarn.nodemanager.hostname": "127.0.0.1",
        "yarn.nodemanager.address": f"127.0.0.1:{ports + 1}",
        "yarn.nodemanager.localizer.address": f"127.0.0.1:{ports}",
        "yarn.nodemanager.webapp.address": f"127.0.0.1:{ports + 2}",
        "yarn.nodemanager.local-dirs": str(node / "local"),
        "yarn.nodemanager.log-dirs": str(node / "logs"),
        "yarn.nodemanager.resource.memory-mb": "3072",
        "yarn.nodemanager.resource.cpu-vcores": "8",
        "yarn.nodemanager.aux-services": "mapreduce_shuffle",
        "yarn.nodemanager.aux-services.mapreduce_shuffle.class": "org.apache.hadoop.mapred.ShuffleHandler",
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.pmem-check-enabled": "false",
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "99.5",
        "yarn.nodemanager.delete.debug-delay-sec": "3600",  # a container's logs stay to be read
        "yarn.nodemanager.env-whitelist": "JAVA_HOME,HADOOP_HOME,HADOOP_CONF_DIR,PATH,LANG,TZ,OUTGROW_FIELD_HOME",
        "yarn.application.classpath": classpath(home, hadoop_home),
    }


def classpath(home: Path, hadoop_home: Path) -> str:
    return f"{home / 'conf'},{hadoop_home}/share/hadoop/common/lib/*"


def mapred_site(home: Path, hadoop_home: Path, number: int = 1) -> Site:
    return QUICK | {
        "mapreduce.shuffle.port": str(13562 + number - 1),  # a NodeManager's, but in yarn-site the default of mapred-default.xml would win
        "mapreduce.framework.name": "yarn",
        "mapreduce.application.classpath": classpath(home, hadoop_home),
        "yarn.app.mapreduce.am.resource.mb": "384",
        "yarn.app.mapreduce.am.command-opts": f"-Xmx256m {LIGHT}",
        "mapreduce.map.memory.mb": "384",
        "mapreduce.reduce.memory.mb": "384",
        "mapreduce.map.java.opts": f"-Xmx200m {LIGHT}",
        "mapreduce.reduce.java.opts": f"-Xmx200m {LIGHT}",
        "mapreduce.task.io.sort.mb": "16",
        "mapreduce.job.ubertask.enable": "false",
        "mapreduce.map.speculative": "false",  # a job that wants a twin asks for it with -D
        "mapreduce.reduce.speculative": "false",
        "mapreduce.job.reduce.slowstart.completedmaps": "1.0",
        "mapreduce.client.progressmonitor.pollinterval": "100",
        "mapreduce.client.completion.pollinterval": "200",
        "yarn.app.mapreduce.am.scheduler.heartbeat.interval-ms": "100",
        "mapreduce.jobhistory.address": "127.0.0.1:10020",
        "mapreduce.jobhistory.admin.address": "127.0.0.1:10033",
        "mapreduce.jobhistory.webapp.address": "127.0.0.1:19888",
    }


def scheduler() -> Site:
    """Two queues, `default` and `small`; any other is refused, as where queues are real."""
    prefix = "yarn.scheduler.capacity"
    return {
        f"{prefix}.root.queues": "default,small",
        f"{prefix}.maximum-am-resource-percent": "1.0",
        **{f"{prefix}.root.{name}.capacity": share for name, share in (("default", "75"), ("small", "25"))},
        **{f"{prefix}.root.{name}.maximum-capacity": "100" for name in ("default", "small")},
        **{f"{prefix}.root.{name}.user-limit-factor": "10" for name in ("default", "small")},
    }


def write(folder: Path, home: Path, hadoop_home: Path, *, number: int = 1, changes: Mapping[str, str] | None = None) -> None:
    """Write a configuration folder; `changes` go into every file, where they win."""
    for name in ("hdfs", "datanode", "static"):  # the daemons look for these folders on the classpath; their pages are not in the jars
        (folder / "webapps" / name).mkdir(parents=True, exist_ok=True)
    sites = {
        "core-site": core_site(home),
        "hdfs-site": hdfs_site(home),
        "yarn-site": yarn_site(home, hadoop_home, number),
        "mapred-site": mapred_site(home, hadoop_home, number),
        "capacity-scheduler": scheduler(),
    }
    for name, site in sites.items():
        lines = [f"<property><name>{key}</name><value>{escape(value)}</value></property>" for key, value in (site | dict(changes or {})).items()]
        (folder / f"{name}.xml").write_text("<configuration>\n" + "\n".join(lines) + "\n</configuration>\n")
    (folder / "log4j.properties").write_text(LOG4J)
