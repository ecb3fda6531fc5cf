"""Hadoop streaming's command line: where the command and its jar are, how a job is handed in, and what went wrong with that."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import OutgrowError, Refused, StorageError

__all__ = ["command", "jar", "launcher", "submitted"]

_JARS = ("share/hadoop/tools/lib/hadoop-streaming-*.jar", "hadoop-mapreduce/hadoop-streaming*.jar", "../hadoop-mapreduce/hadoop-streaming*.jar", "hadoop-streaming*.jar")


def launcher(named: str = "") -> str:
    """The ``hadoop`` command: the one named, that of HADOOP_HOME, or the one on the PATH. Raises Refused."""
    home = os.environ.get("HADOOP_HOME", "")
    for place in [named] if named else [f"{home}/bin/hadoop" if home else "", "hadoop"]:
        found = shutil.which(place) if place else None
        if found:
            return found
    todo = "Set HADOOP_HOME to the folder of Hadoop, put its bin folder on the PATH, or name the command in OUTGROW_HADOOP."
    raise Refused(f"there is no command {named or 'hadoop'!r}", where="hadoop", todo=todo)


def jar(command: str, named: str = "") -> Path:
    """The jar of Hadoop streaming: the one named, or the one in the tree of the command. Raises Refused."""
    home = os.environ.get("HADOOP_HOME", "")
    roots = [Path(named)] if named else [*([Path(home)] if home else []), Path(command).resolve().parents[1]]
    for root in roots:
        found = [root] if named and root.is_file() else [file for pattern in _JARS if not named for file in sorted(root.glob(pattern)) if "sources" not in file.name]
        if found:
            return found[0]
    raise Refused(f"there is no {'such file' if named else 'hadoop-streaming jar'}", where=named or str(roots[0]), todo="Name the jar in OUTGROW_HADOOP_STREAMING.")


def command(
    launcher: str, jar: Path, *, settings: Mapping[str, str], archive: str, lines: str, out: str, mapper: str, user: str
) -> list[str]:  # fmt: skip
    """The command that hands in a job whose mappers get lines, as a list: no shell reads it.

    archive : address of an environment, "" for none. mapper : split at blanks by streaming itself. user : "" where tickets say who it is.
    """
    fixed = {"mapreduce.job.reduces": "0", "mapreduce.job.ubertask.enable": "false", "stream.map.input.ignoreKey": "true"}
    named = [part for name, value in {**settings, **fixed}.items() for part in ("-D", f"{name}={value}")]
    formats = ["-inputformat", "org.apache.hadoop.mapred.lib.NLineInputFormat", "-outputformat", "org.apache.hadoop.mapred.lib.NullOutputFormat"]
    beside = [*(["-archives", archive] if archive else []), *formats, "-input", lines, "-output", out]
    return [launcher, "jar", str(jar), *named, *beside, "-mapper", mapper, *(["-cmdenv", f"HADOOP_USER_NAME={user}"] if user else []), "-background"]


def submitted(said: str, code: int) -> str:
    """The id of the application that a job became, from what the command printed. Raises what went wrong in words."""
    found = re.search(r"application_\d+_\d+", said)
    if code == 0 and found is not None:
        return found[0]
    lines = [line.strip() for line in said.splitlines() if line.strip() and not re.match(r"\s*(at |\.\.\. \d|WARNING:|SLF4J|log4j:)", line)]
    causes = [line for line in lines if re.search(r"Exception|[Ee]rror", line)] or lines[-3:] or [f"it ended with status {code} and said nothing"]
    raise _refusal(causes[-1] if code >= 0 else "it took too long", "\n".join(lines[-6:]))


def _refusal(cause: str, text: str) -> OutgrowError:
    if "queue" in text.lower():
        todo = "Name a queue that you may use in OUTGROW_HADOOP_QUEUE (mapred queue -showacls lists them)."
        return Refused(f"YARN takes no job into the queue ({cause})", where="hadoop", todo=todo)
    if "AccessControlException" in text or "Permission denied" in text:
        return StorageError(f"HDFS does not permit what handing a job in needs ({cause})", where="hadoop", todo="Ask for the right on the folder it names.")
    if "JAVA_HOME" in text or "UnsupportedClassVersionError" in text:
        todo = "Set JAVA_HOME to the Java that your Hadoop runs on (8 or 11; 17 from 3.4 on)."
        return Refused(f"the hadoop command finds no Java that fits ({cause})", where="hadoop", todo=todo)
    if "exceeding" in text or "InvalidResourceRequest" in text or "maxContainerCapability" in text:
        return Refused(f"no container is that large ({cause})", where="hadoop", todo="Ask for less memory in OUTGROW_HADOOP_MEMORY.")
    return Refused(f"the job could not be handed in: {cause}", where="hadoop jar", todo="Does `hadoop jar` work from this machine? Its last words:\n" + text)
