"""HDFS in words and numbers: the client's configuration, whether a NameNode answers, what its refusals mean.

The client itself (`hdfs_native.Client`) is handed in by whoever loads it.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree as ET

from ..core.errors import BadInput, OutgrowError, StorageError

__all__ = ["away", "connect", "patient", "settings", "split", "told"]

_ANSWER = 3.0  # seconds to take a connection; a client left alone tries for three minutes
_FIRST = 10.0  # seconds for the first answer
_BACK = 60.0  # seconds in which a DataNode that was restarted is back
_FILES = ("core-site.xml", "hdfs-site.xml", "mapred-site.xml", "yarn-site.xml")
Answer = TypeVar("Answer")
_REFUSED = re.compile(r'RPCError\("(?P<kind>[\w.$]+)", "(?P<what>.*?)(?:\\n|"\)|$)')


def folder() -> Path | None:
    """The configuration folder: ``HADOOP_CONF_DIR``, that of ``HADOOP_HOME``, or ``/etc/hadoop/conf``."""
    home = os.environ.get("HADOOP_HOME")
    named = [os.environ.get("HADOOP_CONF_DIR"), f"{home}/etc/hadoop" if home else None, "/etc/hadoop/conf"]
    return next((Path(name) for name in named if name and Path(name).is_dir()), None)


def settings(place: Path | None = None) -> dict[str, str]:
    """What core-site, hdfs-site, mapred-site and yarn-site say, with ``${…}`` filled in; {} where there is no configuration.

    Raises BadInput for a file that is no XML.
    """
    found: dict[str, str] = {}
    place = place or folder()
    for name in _FILES if place is not None else ():
        file = place / name  # type: ignore[operator]
        if not file.is_file():
            continue
        try:
            root = ET.parse(file).getroot()  # noqa: S314 the person's own configuration
        except (ET.ParseError, OSError) as error:
            raise BadInput(f"the configuration cannot be read ({error})", where=str(file), todo="Correct it, or name another folder in HADOOP_CONF_DIR.") from None
        for item in root.iter("property"):
            key, value = item.findtext("name"), item.findtext("value")
            if key and value is not None:
                found[key.strip()] = value.strip()
    return {key: _filled(value, found) for key, value in found.items()}


def _filled(value: str, found: Mapping[str, str], depth: int = 20) -> str:
    def fill(match: re.Match[str]) -> str:
        name = match[1].removeprefix("env.")
        other = os.environ.get(name) if match[1].startswith("env.") else found.get(name)
        return match[0] if other is None or not depth else _filled(other, found, depth - 1)

    return re.sub(r"\$\{([^${}]+)\}", fill, value)


def split(address: str) -> tuple[str, str]:
    """``(authority, path)`` of an ``hdfs://`` address; an empty authority stands for the configured default.

    >>> split("hdfs://nn:9000/a/b/"), split("hdfs:///a")
    (('nn:9000', '/a/b'), ('', '/a'))
    """
    authority, _, path = address.removeprefix("hdfs://").partition("/")
    return authority, "/" + path.strip("/")


def namenodes(authority: str, known: Mapping[str, str]) -> list[tuple[str, int]]:
    """Host and port of every NameNode that an authority stands for (several where it is a nameservice)."""
    ids = [part.strip() for part in known.get(f"dfs.ha.namenodes.{authority}", "").split(",") if part.strip()]
    named = [known.get(f"dfs.namenode.rpc-address.{authority}.{one}", "") for one in ids] if ids else [authority]
    pairs = [name.rpartition(":") if ":" in name else (name, "", "8020") for name in named if name]
    try:
        return [(host.strip("[]"), int(port)) for host, _, port in pairs]
    except ValueError:
        raise BadInput(f"{authority!r} is no address of a NameNode", where=f"hdfs://{authority}", allowed="hdfs://host:port/path, or hdfs:///path for the default") from None


def _authority(address: str, known: Mapping[str, str]) -> str:
    found = split(address)[0]
    default = known.get("fs.defaultFS", known.get("fs.default.name", ""))
    if found or default.startswith("hdfs://"):
        return found or split(default)[0]
    todo = "Name the host (hdfs://host:port/path), or set HADOOP_CONF_DIR to the folder of core-site.xml."
    raise BadInput("the address names no NameNode, and no configuration does", where=address, todo=todo)


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """What `call` gives; TimeoutError where it takes longer, and it is left to itself."""
    answers: queue.Queue[tuple[bool, Any]] = queue.Queue()

    def work() -> None:
        try:
            answers.put((True, call()))
        except Exception as error:  # noqa: BLE001 raised below, in the thread that asked
            answers.put((False, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        good, answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    if not good:
        raise answer
    return answer


def connect(make: Callable[[str], Any], address: str) -> Any:
    """A client of the address's NameNode, which is known to answer; one a process and address.

    make : hdfs_native.Client
    Raises BadInput within seconds where nobody answers, or where it is no NameNode that does.
    """
    return _connected(make, _authority(address, settings()), os.environ.get("HADOOP_USER_NAME", ""), os.getpid())


@cache
def _connected(make: Callable[[str], Any], authority: str, user: str, process: int) -> Any:  # noqa: ARG001 what a client depends on
    where = f"hdfs://{authority}"
    why = ""
    for host, port in namenodes(authority, settings()):
        try:
            socket.create_connection((host, port), _ANSWER).close()
            break
        except OSError as error:
            why = why or f"{host}:{port}: {error.strerror or error}"
    else:
        todo = "Is HDFS up, and are host and port those of fs.defaultFS? HADOOP_CONF_DIR names the configuration."
        raise BadInput(f"no NameNode answers ({why})", where=where, todo=todo)
    client = make(where)
    try:
        with told(where):
            within(_FIRST, lambda: client.get_file_info("/"))
    except TimeoutError as error:
        raise BadInput(f"what answers there is no NameNode, or hangs ({error})", where=where, todo="Name the RPC port (9000, 8020), not that of the web page.") from None
    return client


def _words(error: Exception, what: str) -> tuple[str, str]:
    """What a refusal means, and what to do."""
    found = _REFUSED.search(str(error))
    kind, said = (found["kind"].rpartition(".")[2], found["what"].replace('\\"', '"')) if found else ("", str(error).partition("\n")[0] or type(error).__name__)
    if kind == "AccessControlException" or isinstance(error, PermissionError):
        return f"HDFS does not permit it ({said})", "Ask the folder's owner for the right, name another place, or set HADOOP_USER_NAME where the cluster believes names."
    if kind in ("DSQuotaExceededException", "NSQuotaExceededException", "QuotaByStorageTypeExceededException"):
        return f"the quota is used up ({said})", "Free some room, name another folder, or ask for more (hdfs dfsadmin -setSpaceQuota)."
    if kind == "SafeModeException":
        return "the NameNode is in safe mode, so nothing can be written", "Wait until it has left it (hdfs dfsadmin -safemode get), and run this again."
    if "could only be" in said and "node" in said:
        return f"the DataNodes have no room, or there are none ({said})", "Free some space, or bring DataNodes up (hdfs dfsadmin -report)."
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder on HDFS", "Check the path."
    return f"HDFS {'refuses to' if kind else 'cannot'} {what} it ({said[:300]})", "Is HDFS healthy (hdfs dfsadmin -report)? Run this again when it is."


@contextmanager
def told(where: str, *, writing: bool = False) -> Iterator[None]:
    """Turn what HDFS refuses into BadInput, or StorageError where `writing`, with the remedy."""
    try:
        yield
    except (OutgrowError, TimeoutError):
        raise
    except (RuntimeError, OSError) as error:
        what, todo = _words(error, "write" if writing else "read")
        raise (StorageError if writing else BadInput)(what, where=where, todo=todo) from error


def away(error: BaseException) -> bool:
    """True where an error says that DataNodes do not answer, which may pass: one was restarted. Rights, quotas and full disks stay as they are."""
    what = error.what if isinstance(error, BadInput | StorageError) else ""
    return what.startswith("HDFS cannot ") or ("DataNodes have no room" in what and "no node(s) are excluded" not in what)


def patient(call: Callable[[], Answer]) -> Answer:
    """What `call` gives; while DataNodes are `away` it is called again, for a minute."""
    until = time.monotonic() + _BACK
    while True:
        try:
            return call()
        except (BadInput, StorageError) as error:
            if not away(error) or time.monotonic() > until:
                raise
        time.sleep(1)
