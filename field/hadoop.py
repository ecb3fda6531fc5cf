"""Hadoop on this machine: HDFS, YARN and MapReduce's history, in a network of their own.

MapReduce's application master and its shuffle listen on all addresses and have no setting for it, and nothing here asks who is calling: in a network
namespace with nothing but a loopback device nobody from outside can call, and the usual ports are always free. Programs that use the cluster run inside as well.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import configuration, distribution, processes
from .clusters import Cluster
from .processes import FieldError, MissingError

DAEMONS = {
    "namenode": "hdfs.server.namenode.NameNode",
    "datanode": "hdfs.server.datanode.DataNode",
    "resourcemanager": "yarn.server.resourcemanager.ResourceManager",
    "nodemanager-1": "yarn.server.nodemanager.NodeManager",
    "nodemanager-2": "yarn.server.nodemanager.NodeManager",
    "historyserver": "mapreduce.v2.hs.JobHistoryServer",
}
READY = {  # what a daemon's log says once others can use it
    "datanode": "Successfully sent block report",
    "resourcemanager": "Transitioned to active state",
    "nodemanager-1": "Registered with ResourceManager as",
    "nodemanager-2": "Registered with ResourceManager as",
    "historyserver": "IPC Server listener on 10033: starting",
}
HOLD = "hostname localhost && ip link set lo up && exec sleep infinity"
GET = """
import json, sys, urllib.request
method, url, body = sys.argv[1:]
ask = urllib.request.Request(url, method=method, data=body.encode() or None, headers={"Content-Type": "application/json", "Accept": "application/json"})
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(ask, timeout=10) as answer:
    print(answer.read().decode())
"""


class Hadoop(Cluster):
    """NameNode, DataNode, ResourceManager, two NodeManagers and a JobHistoryServer."""

    kind = "hadoop"
    hdfs = configuration.HDFS
    resourcemanager = configuration.RESOURCEMANAGER
    history = configuration.HISTORY

    def launch(self) -> None:
        self._hold_namespace()
        distribution.hadoop_home()
        (self.home / "tmp").mkdir()
        configuration.write(self.conf, self.home, distribution.hadoop_home())
        early = [self._begin(role) for role in ("resourcemanager", "nodemanager-1", "nodemanager-2")]
        self._format()
        late = [self._begin(role) for role in ("namenode", "datanode")]
        for ready in late:
            ready()
        for folder in ("/tmp", "/tmp/hadoop-yarn", "/tmp/hadoop-yarn/staging", "/user"):
            self.webhdfs("PUT", folder, "MKDIRS", permission="1777")
        for ready in (self._begin("historyserver"), *early):
            ready()

    def _hold_namespace(self) -> None:
        """A process that sleeps and keeps the network alive. The host is called localhost there, since nothing else has an address."""
        unshare = processes.program("unshare", "install util-linux; Hadoop runs in a network namespace of its own")
        for name in ("ip", "nsenter", "setsid", "hostname"):
            processes.program(name, "install iproute2, hostname and util-linux; Hadoop runs in a network namespace of its own")
        for rights in ([], ["--user", "--map-root-user"]):
            tried = subprocess.run([unshare, *rights, "--net", "--uts", "true"], capture_output=True, text=True, check=False)
            if tried.returncode == 0:
                processes.start("namespace", [unshare, *rights, "--net", "--uts", "sh", "-c", HOLD], home=self.home, env=self._daemon_env)
                (self.home / "rights").write_text(" ".join(rights))
                break
        else:
            why = tried.stderr.strip()
            raise MissingError(f"This user may not make a network namespace ({why}): run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1).")
        processes.wait(lambda: "LOOPBACK,UP" in self.say(["ip", "link", "show", "lo"]), "the network", home=self.home, seconds=10)

    def inside(self, argv: Iterable[str]) -> list[str]:
        """The command that runs `argv` in the cluster's network."""
        held = processes.read(self.home / "pids" / "namespace")
        if held is None:
            raise FieldError(f"No Hadoop cluster is up in {self.home}: `make field-hadoop` starts one.")
        user = ["--user", "--preserve-credentials"] if (self.home / "rights").read_text() else []
        return ["nsenter", "--target", str(held.pid), *user, "--net", "--uts", "--", *argv]

    def say(self, argv: Iterable[str], seconds: float = 240) -> str:
        """What a command that runs inside prints; an error carries its last words."""
        done = subprocess.run(self.inside(argv), env=self.env, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("\tat "))
            raise FieldError(f"{' '.join(map(str, argv))} ended with code {done.returncode}:\n{said[-3000:]}")
        return done.stdout

    def python(self, source: str, *arguments: str, seconds: float = 240) -> str:
        """What a piece of Python that runs inside prints."""
        return self.say([sys.executable, "-c", source, *arguments], seconds)

    def ask(self, url: str, method: str = "GET", body: str = "") -> Any:
        """A web page's JSON, asked for from inside; None where the answer is empty."""
        answer = self.say([sys.executable, "-I", "-S", "-c", GET, method, url, body])
        return json.loads(answer) if answer.strip() else None

    def webhdfs(self, method: str, path: str, operation: str, **options: str) -> Any:
        """One operation of WebHDFS on metadata."""
        options = {"op": operation, "user.name": self._user} | options
        return self.ask(f"{configuration.NAMENODE}/webhdfs/v1{urllib.parse.quote(path)}?{urllib.parse.urlencode(options)}", method)

    @property
    def _user(self) -> str:
        return "root" if (self.home / "rights").read_text() else pwd.getpwuid(os.getuid()).pw_name

    @property
    def conf(self) -> Path:
        """The configuration for clients."""
        return self.home / "conf"

    @property
    def streaming(self) -> Path:
        """The jar of Hadoop streaming."""
        return next((distribution.hadoop_home() / "share" / "hadoop" / "tools" / "lib").glob("hadoop-streaming-*.jar"))

    @property
    def env(self) -> dict[str, str]:
        """The environment for programs that use this cluster; ``hadoop`` is on its PATH."""
        home, java_home = distribution.hadoop_home(), processes.java_home()
        own = {"HADOOP_HOME": str(home), "HADOOP_CONF_DIR": str(self.conf), "JAVA_HOME": str(java_home)}
        return {**os.environ, **own, "PATH": f"{home / 'bin'}:{os.environ.get('PATH', '')}"}

    @property
    def _daemon_env(self) -> dict[str, str]:
        return {key: value for key, value in self.env.items() if not key.startswith(("PYTHON", "PYTEST", "COVERAGE"))}

    def _java(self, role: str, name: str, *arguments: str) -> list[str]:
        """The command of a daemon, with the configuration of its role."""
        home = distribution.hadoop_home()
        options = ["-Xmx256m", *configuration.LIGHT.split(), f"-Djava.io.tmpdir={self.home / 'tmp'}"]
        command = [str(processes.java_home() / "bin" / "java"), *options, "-cp", f"{self.conf / role}:{home}/share/hadoop/common/lib/*"]
        return [*command, f"org.apache.hadoop.{name}", *arguments]

    def _format(self) -> None:
        configuration.write(self.conf / "namenode", self.home, distribution.hadoop_home())
        self.say(self._java("namenode", DAEMONS["namenode"], "-format", "-force", "-nonInteractive"))

    def _begin(self, role: str, changes: Mapping[str, str] | None = None) -> Any:
        """Start a daemon; the function returned waits until it is of use."""
        number = int(role[-1]) if role[-1].isdigit() else 1
        configuration.write(self.conf / role, self.home, distribution.hadoop_home(), number=number, changes=changes)
        log = self.home / "logs" / f"{role}.log"
        before = log.stat().st_size if log.exists() else 0
        env = {**self._daemon_env, "HADOOP_CONF_DIR": str(self.conf / role)}
        processes.start(role, self.inside(self._java(role, DAEMONS[role])), home=self.home, env=env)
        if role == "namenode":
            return lambda: processes.wait(self._namenode_ready, role, home=self.home)
        return lambda: processes.wait(lambda: READY[role].encode() in log.read_bytes()[before:], role, home=self.home)

    def _namenode_ready(self) -> bool:
        try:
            beans = self.ask(f"{configuration.NAMENODE}/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo")["beans"]
        except FieldError:  # it does not answer yet
            return False
        return bool(beans) and beans[0]["Safemode"] == ""

    def restart(self, role: str, changes: Mapping[str, str] | None = None) -> None:
        """kill -9 a daemon, unless it has ended already, and start it again with its data, perhaps with other settings.

        A killed NodeManager's containers go on; a killed DataNode's blocks are there again once it is.
        """
        if role in self.pids:
            self.kill(role)
        self._begin(role, changes)()

    def java(self, name: str) -> list[int]:
        """Process ids of the virtual machines in this network that run a class."""
        return [pid for pid in self.find(name) if processes.command(pid).split(" ", 1)[0].endswith("/java")]

    @property
    def master_pids(self) -> list[int]:
        """Process ids of the MapReduce application masters."""
        return self.java("MRAppMaster")

    @property
    def task_pids(self) -> list[int]:
        """Process ids of the virtual machines of maps and reduces."""
        return self.java("YarnChild")

    @property
    def mapper_pids(self) -> list[int]:
        """Process ids of what streaming started: the mappers and reducers themselves, and what they started."""
        return sorted(pid for task in self.task_pids for pid in processes.below(task))

    def applications(self, **query: str) -> list[dict[str, Any]]:
        """Applications that the ResourceManager knows, filtered as its REST interface does (``applicationTags``, ``states`` …)."""
        found = self.ask(f"{self.resourcemanager}/ws/v1/cluster/apps?{urllib.parse.urlencode(query)}")
        return list((found.get("apps") or {}).get("app", ()))


def inside(command: Iterable[str]) -> list[str]:
    """The command that runs `command` in the network of the cluster that ``make field-hadoop`` left up."""
    return Hadoop(kept=True).inside(command)
