"""Which format a file is in, and the store that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from ..core.errors import BadInput
from .blocks import Store
from .place import Place, resolve

__all__ = ["format_of", "open_store"]

_SUFFIXES = {
    "parquet": (".parquet", ".pq", ".parq"),
    "csv": (".csv", ".csv.gz"),
    "arrow": (".arrow", ".feather", ".ipc", ".arrows"),
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    "svmlight": (".svm", ".svmlight", ".libsvm"),
}
_HIVE_NONE = "__HIVE_DEFAULT_PARTITION__"


def format_of(place: Place, name: str) -> str:
    """The format of a file by its suffix, or by its first bytes."""
    for kind, suffixes in _SUFFIXES.items():
        if name.lower().endswith(suffixes):
            return kind
    with place.open(name) as source:
        head = bytes(source.read(6))
    found = {b"PAR1": "parquet", b"ARRO": "arrow"}.get(head[:4], "")
    if not found:
        known = " ".join(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)
        raise BadInput("the format of the file is not known", where=name, allowed=known, todo="Rename it, or name the files to read by a glob.")
    return found


def _parts(name: str) -> tuple[tuple[str, str | None], ...]:
    """The key=value folders of a relative name."""
    pairs = (folder.partition("=") for folder in name.split("/")[:-1])
    return tuple((key, None if value == _HIVE_NONE else unquote(value)) for key, sign, value in pairs if sign)


def _files(what: Any) -> Store:
    place, names = resolve(what)
    kinds = {name: format_of(place, name) for name in names}
    first = kinds[names[0]]
    other = next((name for name in names if kinds[name] != first), None)
    if other is not None:
        raise BadInput(f"the file is {kinds[other]}, but {names[0]} is {first}", where=other, todo="Read one format at a time, by a glob.")
    parts = [_parts(name) for name in names]
    odd = next((k for k, part in enumerate(parts) if [key for key, _ in part] != [key for key, _ in parts[0]]), None)
    if odd is not None:
        keys = [[key for key, _ in parts[k]] for k in (odd, 0)]
        raise BadInput(f"its folders name {keys[0]}, those of {names[0]} name {keys[1]}", where=names[odd], todo="Partition all files alike.")
    if first == "parquet":
        from .parquet import ParquetStore

        return ParquetStore(place, names, parts)
    if first == "arrow":
        from .ipc import ArrowStore

        return ArrowStore(place, names, parts)
    if first == "svmlight":
        from .svmlight import SvmlightStore

        return SvmlightStore(place, names)
    from .text import TextStore

    return TextStore(first, place, names, parts)


def _is_paths(what: Any) -> bool:
    return isinstance(what, str | Path) or (isinstance(what, Sequence) and all(isinstance(item, str | Path) for item in what))


def open_store(what: Any, target: Any, weight: Any) -> tuple[Store, str | None, str | None]:
    """The store behind whatever a person names, and the names of target and weight in it."""
    from .memory import MatrixStore, TableStore, table_of

    if _is_paths(what):
        return _files(what), _name(target, "target"), _name(weight, "weight")
    table = table_of(what)
    if table is not None:
        for role, values in (("target", target), ("weight", weight)):
            if values is not None and not isinstance(values, str):
                if role in table.column_names:
                    raise BadInput(f"there is a column {role!r} already", todo=f"Name the {role} by its column, or rename that one.")
                table = _beside(table, role, values)
        return TableStore(table), _role(target, "target"), _role(weight, "weight")
    matrix = what if hasattr(what, "tocsr") else np.asarray(what)
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        kind = f"{type(what).__name__} of shape {matrix.shape} and type {matrix.dtype}"
        raise BadInput(f"a {kind} is not rows and columns of numbers", allowed="a path, a frame, a dict of arrays, a 2-D numeric array, a sparse matrix")
    beside = {role: _values(role, values) for role, values in (("target", target), ("weight", weight)) if values is not None and not isinstance(values, str)}
    return MatrixStore(matrix, beside), _role(target, "target"), _role(weight, "weight")


def _beside(table: Any, role: str, values: Any) -> Any:
    import pyarrow as pa

    found = _values(role, values)
    if len(found) != len(table):
        raise BadInput(f"the {role} has {len(found)} values for {len(table)} rows", allowed="one value a row")
    return table.append_column(role, pa.array(found))


def _values(role: str, values: Any) -> Any:
    """A target or weight that is no column's name, as an array (n,)."""
    found = np.asarray(values)
    if found.ndim != 1:
        what = f"has the shape {found.shape}" if found.ndim else f"is {values!r}"
        raise BadInput(f"the {role} {what}", allowed="a column's name, or one value a row")
    return found


def _role(value: Any, role: str) -> str | None:
    return value if value is None or isinstance(value, str) else role


def _name(value: Any, role: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadInput(f"the {role} of files must be a column's name", allowed="a string")
    return value
