"""Spark DataFrames as files: those they scan, read in place, or a snapshot whose rows stand in the order of a key."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from ..core.errors import BadField, BadInput, Refused, StorageError

__all__ = ["files_of", "is_frame"]

_FILE_ROWS = 1 << 20
_NOTE = "_outgrow.json"


def is_frame(what: Any) -> bool:
    """True for a Spark DataFrame; pyspark is not loaded for it."""
    return type(what).__module__.startswith("pyspark.sql") and hasattr(what, "inputFiles")


def files_of(frame: Any, *, key: str | Sequence[str], folder: str) -> tuple[list[str], list[str]]:
    """The Parquet files that hold a DataFrame's rows, and the columns of theirs that are not in it.

    Where the frame is a bare scan of Parquet (columns may be left out) its own files are meant; else its rows are written to
    `folder` once, sorted by `key`. Cost then: a sort and two passes on Spark.

    Raises
    ------
    BadInput
        A frame that has to be written and whose key is missing, null or not unique; a folder that holds something else.
    Refused
        A frame of Spark Connect.
    """
    if type(frame).__module__.startswith("pyspark.sql.connect"):
        raise Refused("a frame of Spark Connect does not say which files it reads", where="the frame", todo="Write it to Parquet and read that path, or use a classic session.")
    found = _scanned(frame)
    if found is not None:
        return found
    names = [key] if isinstance(key, str) and key else list(key)
    if not names or not folder:
        todo = "Give key=, the columns that tell rows apart, and folder=, where a sorted snapshot is written once; or write the frame to Parquet and read that."
        raise BadInput("the frame is more than a scan of Parquet files, and Spark keeps its rows in no order", where="the frame", todo=todo)
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise BadField(f"the frame has no column {unknown[0]!r}", where="key", allowed=", ".join(frame.columns))
    return [_snapshot(frame, names, folder.rstrip("/"))], []


def _address(path: str) -> str:
    """A path as Hadoop writes it, as pyarrow and fsspec take it."""
    scheme, colon, rest = path.partition(":")
    if not colon or scheme == "file":
        return "/" + (rest if colon else path).lstrip("/")
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}:{rest}"


def _scanned(frame: Any) -> tuple[list[str], list[str]] | None:
    """Root paths of the Parquet files and the columns left out, where the frame is a scan of them; None where it is more."""
    plan = frame._jdf.queryExecution().optimizedPlan()
    if plan.getClass().getSimpleName() == "Project":
        chosen = plan.projectList()
        if any(chosen.apply(i).getClass().getSimpleName() != "AttributeReference" for i in range(chosen.size())):
            return None
        plan = plan.child()
    if plan.getClass().getSimpleName() != "LogicalRelation":
        return None
    relation = plan.relation()
    if relation.getClass().getSimpleName() != "HadoopFsRelation" or "Parquet" not in relation.fileFormat().toString():
        return None
    roots = relation.location().rootPaths()
    paths = [_address(roots.apply(i).toString()) for i in range(roots.size())]
    from .place import resolve

    place, names = resolve(paths)
    ours = {f"{place.root.rstrip('/')}/{name}" for name in names}
    theirs = {_address(unquote(path)) for path in frame.inputFiles()}
    if {path.rpartition("://")[2] for path in ours} != {path.rpartition("://")[2] for path in theirs}:
        return None  # the scan leaves files out
    fields = relation.schema().fieldNames()
    return paths, [name for name in fields if name not in set(frame.columns)]


def _snapshot(frame: Any, key: list[str], folder: str) -> str:
    """Write the rows in the order of the key to equal files in `folder`; what is there already for the same frame is taken as it is."""
    session = frame.sparkSession
    path = session._jvm.org.apache.hadoop.fs.Path(folder)
    fs = path.getFileSystem(session._jsc.hadoopConfiguration())
    rows = frame.count()
    note = {"key": key, "columns": frame.columns, "rows": rows, "plan": frame.semanticHash()}
    if fs.exists(path):
        _same(session, fs, folder, note)
        return _address(folder)
    _unique(frame, key, rows)
    making = f"{folder}.making-{uuid.uuid4().hex[:8]}"
    try:
        _write(frame, key, making)
        _flatten(session, fs, making, f"{making}.flat")
        out = fs.create(session._jvm.org.apache.hadoop.fs.Path(f"{making}.flat/{_NOTE}"))
        out.write(bytearray(json.dumps(note), "utf-8"))
        out.close()
        if not fs.rename(session._jvm.org.apache.hadoop.fs.Path(f"{making}.flat"), path):
            raise StorageError("the snapshot cannot be put in its place", where=folder, todo="Name a folder that can be written.")
    finally:
        for leftover in (making, f"{making}.flat"):
            fs.delete(session._jvm.org.apache.hadoop.fs.Path(leftover), True)
    return _address(folder)


def _same(session: Any, fs: Any, folder: str, note: dict[str, Any]) -> None:
    """Raise BadInput unless the folder is a snapshot of the same frame."""
    path, kept = session._jvm.org.apache.hadoop.fs.Path(f"{folder}/{_NOTE}"), None
    if fs.exists(path):
        stream = fs.open(path)
        kept = session._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
        stream.close()
    if kept != json.dumps(note):
        raise BadInput("the folder is there already, and is no snapshot of this frame", where=folder, todo="Name another folder, or remove this one.")


def _unique(frame: Any, key: list[str], rows: int) -> None:
    """Raise BadInput where two rows share a key or one has none: their order would be Spark's mood."""
    from pyspark.sql import functions as F  # noqa: N812 the name that everybody gives it

    present = frame.dropna(subset=key).select(*key)
    if present.count() < rows:
        raise BadInput("rows have no value in the key", where=", ".join(key), todo="Name columns that every row has.")
    twice = present.groupBy(*key).agg(F.count("*").alias("n")).where("n > 1").head(1)
    if twice:
        shown = ", ".join(f"{name}={twice[0][name]!r}" for name in key)
        raise BadInput(f"{twice[0]['n']} rows share the key {shown}", where=", ".join(key), todo="Name columns that tell all rows apart.")


def _write(frame: Any, key: list[str], folder: str) -> None:
    """Rows by their place in the order of the key, `_FILE_ROWS` to a folder ``part=i``: the same files whatever Spark's partitions were."""
    from pyspark.sql import functions as F  # noqa: N812

    ordered = frame.orderBy(*key).withColumn("_outgrow_at", F.monotonically_increasing_id()).persist()  # partition << 33 | row in it
    try:
        counts = {row["p"]: row["n"] for row in ordered.groupBy(F.shiftright("_outgrow_at", 33).alias("p")).agg(F.count("*").alias("n")).collect()}
        starts, before = [], 0
        for partition, count in sorted(counts.items()):
            starts += [F.lit(partition), F.lit(before)]
            before += count
        first = F.create_map(*starts)[F.shiftright("_outgrow_at", 33)]
        place = (first + F.col("_outgrow_at").bitwiseAND(F.lit((1 << 33) - 1))).cast("long")
        placed = ordered.withColumn("_outgrow_at", place).withColumn("part", F.floor(F.col("_outgrow_at") / _FILE_ROWS).cast("int"))
        placed = placed.repartition("part").sortWithinPartitions("part", "_outgrow_at").drop("_outgrow_at")
        placed.write.partitionBy("part").parquet(folder)
    finally:
        ordered.unpersist()


def _flatten(session: Any, fs: Any, folder: str, flat: str) -> None:
    """``part=7/part-…parquet`` becomes ``part-00007.parquet``."""
    hadoop = session._jvm.org.apache.hadoop.fs.Path
    fs.mkdirs(hadoop(flat))
    for status in fs.globStatus(hadoop(f"{folder}/part=*/*.parquet")):
        path = status.getPath()
        number = int(PurePosixPath(path.getParent().getName()).name.partition("=")[2])
        fs.rename(path, hadoop(f"{flat}/part-{number:05d}.parquet"))
