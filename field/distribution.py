"""Hadoop's jars from Maven Central, laid out as in Hadoop's own distribution, which is not needed: 93 MB instead of 1 GB."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from . import processes
from .clusters import cache
from .processes import MissingError

VERSION = "3.4.2"  # the newest of which Maven Central has hadoop-streaming
ARTIFACTS = (
    "hadoop-common",
    "hadoop-hdfs",
    "hadoop-hdfs-client",
    "hadoop-yarn-server-resourcemanager",
    "hadoop-yarn-server-nodemanager",
    "hadoop-yarn-server-timelineservice",  # unused, but the ResourceManager does not start without its classes
    "hadoop-mapreduce-client-app",
    "hadoop-mapreduce-client-jobclient",
    "hadoop-mapreduce-client-shuffle",
    "hadoop-mapreduce-client-hs",
    "hadoop-streaming",
)
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

LAUNCHER = """#!/bin/sh
# The part of Hadoop's own commands that files and jobs need; one script under the names hadoop, hdfs, yarn and mapred.
home=$(CDPATH= cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
conf=${HADOOP_CONF_DIR:-$home/etc/hadoop}
classpath="$conf:$home/share/hadoop/common/lib/*${HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}"
known="jar fs dfs dfsadmin fsck application node queue logs job version classpath"
[ $# -gt 0 ] || { echo "usage: ${0##*/} [--config FOLDER] COMMAND ...; commands: $known, or a class name" >&2; exit 1; }
[ "$1" != --config ] || { conf=$2; export HADOOP_CONF_DIR="$2"; classpath="$conf:${classpath#*:}"; shift 2; }
command=$1
shift
case $command in
    jar) class=org.apache.hadoop.util.RunJar ;;
    fs | dfs) class=org.apache.hadoop.fs.FsShell ;;
    dfsadmin) class=org.apache.hadoop.hdfs.tools.DFSAdmin ;;
    fsck) class=org.apache.hadoop.hdfs.tools.DFSck ;;
    application | app) class=org.apache.hadoop.yarn.client.cli.ApplicationCLI; set -- application "$@" ;;
    node) class=org.apache.hadoop.yarn.client.cli.NodeCLI ;;
    queue) class=org.apache.hadoop.yarn.client.cli.QueueCLI ;;
    logs) class=org.apache.hadoop.yarn.client.cli.LogsCLI ;;
    job) class=org.apache.hadoop.mapred.JobClient ;;
    version) class=org.apache.hadoop.util.VersionInfo ;;
    classpath) echo "$classpath"; exit 0 ;;
    *.*) class=$command ;;
    *) echo "${0##*/}: $command is not one of: $known" >&2; exit 1 ;;
esac
# shellcheck disable=SC2086 # options are words
exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true \\
    --add-opens=java.base/java.lang=ALL-UNNAMED ${HADOOP_CLIENT_OPTS:--Xmx256m} $HADOOP_OPTS -cp "$classpath" "$class" "$@"
"""


def hadoop_home() -> Path:
    """The folder of the distribution, fetched the first time (about 20 s) and kept."""
    home = cache() / f"hadoop-{VERSION}"
    if not home.exists():
        new = home.with_name(f"{home.name}.{os.getpid()}.{secrets.token_hex(3)}")
        try:
            _fetch(new)
            if not home.exists():  # otherwise another process was first, with the same
                new.rename(home)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return home


def _fetch(home: Path) -> None:
    maven = processes.program("mvn", "install Maven (Debian, Ubuntu: maven); it fetches Hadoop's jars the first time")
    lib, tools = home / "share" / "hadoop" / "common" / "lib", home / "share" / "hadoop" / "tools" / "lib"
    for folder in (lib, tools, home / "bin"):
        folder.mkdir(parents=True)
    wanted = "".join(f"<dependency><groupId>org.apache.hadoop</groupId><artifactId>{name}</artifactId><version>{VERSION}</version></dependency>" for name in ARTIFACTS)
    head = '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    name = "<groupId>field</groupId><artifactId>hadoop</artifactId><version>1</version><packaging>pom</packaging>"
    (home / "pom.xml").write_text(f"{head}{name}<dependencies>{wanted}</dependencies></project>\n")
    command = [maven, "-B", "-q", "-f", str(home / "pom.xml"), PLUGIN, f"-DoutputDirectory={lib}"]
    done = subprocess.run(command, cwd=home, env={**os.environ, "JAVA_HOME": str(processes.java_home())}, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout[-1500:]}{done.stderr[-500:]}"
        raise MissingError(f"Maven could not fetch Hadoop {VERSION}; it needs Maven Central or a mirror of it (~/.m2/settings.xml). It said:\n{said}")
    streaming = lib / f"hadoop-streaming-{VERSION}.jar"
    streaming.rename(tools / streaming.name)
    launcher = home / "bin" / "hadoop"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    for other in ("hdfs", "yarn", "mapred"):
        (home / "bin" / other).symlink_to("hadoop")
