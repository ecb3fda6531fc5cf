"""YARN over its web interface: which application runs, how far it is, why an attempt failed, and how to end it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import OutgrowError, Refused, WorkerLost

__all__ = ["LOOK", "OVER", "Attempt", "Yarn", "addresses", "explain"]

OVER = ("FINISHED", "FAILED", "KILLED")
LOOK = "`yarn logs -applicationId {}` has all its words."
_SECONDS = 5.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a cluster's own pages are not behind a proxy
_LAST = 4000  # characters of a failed attempt's own words


def addresses(known: Mapping[str, str]) -> list[str]:
    """The web addresses of the ResourceManagers that a configuration names (several where one stands by)."""
    secure = known.get("yarn.http.policy", "").upper() == "HTTPS_ONLY"
    scheme, key, port = ("https", "yarn.resourcemanager.webapp.https.address", 8090) if secure else ("http", "yarn.resourcemanager.webapp.address", 8088)
    ids = [part.strip() for part in known.get("yarn.resourcemanager.ha.rm-ids", "").split(",") if part.strip()]
    found = []
    for ending in [f".{one}" for one in ids] or [""]:
        host = known.get(f"yarn.resourcemanager.hostname{ending}")
        found.append(known.get(key + ending) or (f"{host}:{port}" if host else ""))
    return [f"{scheme}://{name}" for name in found if name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A mapper's attempt that did not succeed: where it was, what YARN says, and its own last words."""

    id: str
    state: str
    node: str
    container: str
    says: str
    stderr: str = ""


class Yarn:
    """The ResourceManager that is active.

    Parameters
    ----------
    known : mapping
        The configuration; names the web addresses of ResourceManagers and of the JobHistoryServer.
    user : str
        In whose name applications are ended.

    Raises
    ------
    Refused
        Nobody answers within seconds, or who answers asks for a ticket.
    """

    def __init__(self, known: Mapping[str, str], user: str) -> None:
        self.user = user
        self.history = known.get("mapreduce.jobhistory.webapp.address", "")
        named, why = addresses(known), ""
        for address in named:
            try:
                self.info = self._get(f"{address}/ws/v1/cluster/info")["clusterInfo"]
                self.address = address
                if self.info.get("haState", "ACTIVE") == "ACTIVE":
                    return
            except urllib.error.HTTPError as error:
                why = f"it answers {error.code} {error.reason}"
                if error.code == 401:
                    todo = "Behind Kerberos the web interface wants SPNEGO, which is not supported: use Spark on YARN, or open the interface to this host."
                    raise Refused("the ResourceManager's web interface asks for a ticket", where=address, todo=todo) from None
            except (OSError, ValueError, KeyError) as error:
                why = str(getattr(error, "reason", error))
        todo = "Is YARN up, and does yarn-site.xml in HADOOP_CONF_DIR name it (yarn.resourcemanager.webapp.address, or yarn.resourcemanager.hostname)?"
        if not named:
            raise Refused("no configuration names a ResourceManager", where="hadoop", todo=todo)
        raise Refused(f"no ResourceManager answers ({why})", where=", ".join(named), todo=todo)

    @staticmethod
    def _open(url: str, body: Mapping[str, str] | None = None, accept: str = "application/json") -> bytes:
        data = json.dumps(body).encode() if body is not None else None
        ask = urllib.request.Request(url, data, {"Accept": accept, "Content-Type": "application/json"}, method="PUT" if body else "GET")  # noqa: S310 an address of the configuration
        with _OPENER.open(ask, timeout=_SECONDS) as answer:
            found: bytes = answer.read()
        return found

    def _get(self, url: str) -> Any:
        return json.loads(self._open(url))

    def _try(self, url: str) -> dict[str, Any]:
        """What a page says; {} while it says nothing: an application master comes, goes and is replaced."""
        try:
            found = self._get(url)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def capacity(self, memory_mb: int) -> int:
        """How many mappers of this size the cluster can run at once beside the application master; 1 at least."""
        found = self._try(f"{self.address}/ws/v1/cluster/metrics").get("clusterMetrics", {})
        cores, memory = int(found.get("totalVirtualCores", 2)), int(found.get("totalMB", 0)) // max(1, memory_mb)
        return max(1, min(cores, memory) - 1)

    def queues(self) -> set[str] | None:
        """Names of all queues, short and with their path; None where the scheduler has none but its own."""
        def names(item: Any) -> Iterator[str]:
            if isinstance(item, dict):
                yield from (str(item[key]) for key in ("queueName", "queuePath") if key in item)
                item = item.values()
            for part in item if not isinstance(item, str | int | float | None) else ():
                yield from names(part)

        info = self._try(f"{self.address}/ws/v1/cluster/scheduler").get("scheduler", {}).get("schedulerInfo", {})
        return set(names(info)) if info and info.get("type") != "fifoScheduler" else {"default"} if info else None

    def tagged(self, tag: str) -> list[dict[str, Any]]:
        """The applications with a tag."""
        found = self._get(f"{self.address}/ws/v1/cluster/apps?{urllib.parse.urlencode({'applicationTags': tag.lower()})}")
        return list((found.get("apps") or {}).get("app") or [])

    def application(self, name: str) -> dict[str, Any]:
        """What the ResourceManager knows of an application; {} while it does not answer."""
        found: dict[str, Any] = self._try(f"{self.address}/ws/v1/cluster/apps/{name}").get("app", {})
        return found

    def kill(self, name: str) -> None:
        """End an application. Raises OSError where that is refused."""
        self._open(f"{self.address}/ws/v1/cluster/apps/{name}/state?{urllib.parse.urlencode({'user.name': self.user})}", {"state": "KILLED"})

    def _job(self, application: str) -> list[str]:
        """Where the pages of an application's job are: its master while it runs, then the history server."""
        job = application.replace("application_", "job_")
        pages = [f"{self.address}/proxy/{application}/ws/v1/mapreduce/jobs/{job}"]
        return [*pages, f"http://{self.history}/ws/v1/history/mapreduce/jobs/{job}"] if self.history else pages

    def rows(self, application: str) -> int:
        """The rows that mappers have counted so far; may fall when one is lost."""
        for group in self._try(f"{self._job(application)[0]}/counters").get("jobCounters", {}).get("counterGroup", ()):
            if group.get("counterGroupName") == "outgrow":
                return sum(int(item["totalCounterValue"]) for item in group["counter"])
        return 0

    def failed(self, application: str, known: set[str]) -> list[Attempt]:
        """Attempts that failed or were killed, without those known; with the last words of those that failed."""
        for page in self._job(application):
            job = self._try(page).get("job", {})
            if not job:
                continue
            if not any(job.get(key) for key in ("failedMapAttempts", "killedMapAttempts")):
                return []
            tasks = self._try(f"{page}/tasks?type=m").get("tasks", {}).get("task", ())
            items = [item for task in tasks for item in self._try(f"{page}/tasks/{task['id']}/attempts").get("taskAttempts", {}).get("taskAttempt", ())]
            return [self._attempt(item) for item in items if item["state"] in ("FAILED", "KILLED") and item["id"] not in known]
        return []

    def _attempt(self, item: Mapping[str, Any]) -> Attempt:
        node, container = str(item.get("nodeHttpAddress") or ""), str(item.get("assignedContainerId") or "")
        stderr = ""
        for page in (f"http://{node}/ws/v1/node/containerlogs/{container}/stderr", f"http://{self.history}/ws/v1/history/containerlogs/{container}/stderr"):
            if stderr or not container or "//" + "/" in page or item["state"] != "FAILED":
                continue
            try:
                stderr = self._open(page, accept="*/*").decode(errors="replace")  # asked for JSON, a node answers 503
            except OSError:
                continue
        stderr = stderr.partition("\nLogContents:\n")[2].rpartition("\nEnd of LogType")[0] or stderr  # what the page puts around a log
        said = "\n".join(line for line in stderr.splitlines() if line.strip() and not line.startswith(("reporter:", "log4j:", "WARNING:", "SLF4J")))
        return Attempt(id=item["id"], state=item["state"], node=node.partition(":")[0], container=container, says=str(item.get("diagnostics") or ""), stderr=said[-_LAST:])


_SIGNALS = {134: "it aborted", 137: "it was killed (signal 9)", 139: "it crashed (segmentation fault)", 143: "it was told to end (signal 15)"}


def explain(attempt: Attempt, python: str) -> tuple[str, OutgrowError | None]:
    """Why an attempt failed, in a line; and the error to raise at once where another attempt would fail in the same way.

    >>> explain(Attempt(id="a", state="FAILED", node="n1", container="", says="subprocess failed with code 137"), "python3")[0]
    'it was killed (signal 9): the node ran out of memory, or somebody killed it'
    """
    says, where = attempt.says, f"a mapper on {attempt.node or 'a lost node'}"
    if "memory limit" in says or "beyond physical memory" in says.lower():
        used = re.search(r"Current usage: ([^;]+);", says)
        return f"it took more memory than its container may ({used[1] if used else 'YARN says'}): give mappers more memory (OUTGROW_HADOOP_MEMORY)", None
    if "Cannot run program" in says:
        todo = "Name a Python that the nodes have (OUTGROW_HADOOP_PYTHON), or ship an environment (OUTGROW_HADOOP_ENVIRONMENT)."
        return "there is no such Python", Refused(f"the node has no {python}", where=where, todo=todo)
    code = re.search(r"subprocess failed with code (\d+)", says) or re.search(r"[Ee]xit code (?:is|from container \S+ is ?:?) ?(\d+)", says)
    number = int(code[1]) if code else 0
    if number in _SIGNALS:
        return f"{_SIGNALS[number]}{': the node ran out of memory, or somebody killed it' if number == 137 else ''}", None
    own = attempt.stderr.strip().splitlines()[-1] if attempt.stderr.strip() else says.strip().splitlines()[0] if says.strip() else "YARN does not say why"
    if "No module named" in own:
        todo = "Install outgrow[hadoop] on the nodes, or ship an environment (OUTGROW_HADOOP_ENVIRONMENT)."
        return own, Refused(f"the mapper's Python lacks what it needs ({own})", where=f"{where}, {python}", todo=todo)
    if number:
        return own, WorkerLost(f"the mapper's Python ended with status {number}: {attempt.stderr or own}", where=where, todo="Its own words are above.")
    return own, None
