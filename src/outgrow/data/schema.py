"""The look at a source: kinds, missing values, cardinalities and target classes, with the reason people can read."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.errors import BadFile, BadInput
from .batch import Field, Schema
from .columns import check_utf8, storage_type

__all__ = ["describe", "infer_fields", "infer_task", "make_schema", "schema_from_json", "schema_to_json", "warn_of_wide"]

SAMPLE_ROWS = 10_000
_KINDS = ("number", "category", "text", "date", "sparse")
_TASKS = ("", "binary", "classes", "number")
_WORDS = 3.0  # text: values average more words than this …
_DISTINCT = 0.5  # … and more than this share of them is distinct
_FEW_CLASSES = 20
_MOST_CLASSES = 100_000
_EXACT = 1 << 53  # whole numbers up to here are told apart as float64


def _kind(name: str, column: Any) -> str:
    """The kind of a column, from its Arrow type and, for strings, its sampled values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_timestamp(value) or pa.types.is_date(value):
        return "date"
    if pa.types.is_large_list(kind) and pa.types.is_struct(kind.value_type):
        return "sparse"
    if pa.types.is_nested(value) or pa.types.is_binary(value) or pa.types.is_large_binary(value) or pa.types.is_fixed_size_binary(value):
        raise BadInput(f"the column {name!r} has the type {kind}, which nothing here can learn from", todo=f"Leave it out: drop=[{name!r}].")
    if storage_type("category", value) != pa.string() or pa.types.is_null(value) or pa.types.is_temporal(value):
        return "number"
    strings = pc.drop_null(column.cast(pa.string()))
    if len(strings) == 0:
        return "category"
    words = 1 + pc.mean(pc.count_substring(pc.utf8_trim_whitespace(strings), " ")).as_py()  # a Python number as operand would import pandas
    return "text" if words > _WORDS and pc.count_distinct(strings).as_py() > _DISTINCT * len(strings) else "category"


def infer_fields(sample: Any, *, kinds: Mapping[str, str], drop: Sequence[str], widths: Mapping[str, int] | None = None, where: str = "") -> tuple[Field, ...]:
    """One `Field` for each column of a sample (pyarrow Table) that is not dropped; `kinds` overrules what is inferred."""
    import pyarrow as pa
    import pyarrow.compute as pc

    _known("kinds", kinds, sample.column_names)
    _known("drop", drop, sample.column_names)
    for name, kind in kinds.items():
        if kind not in _KINDS:
            raise BadInput(f"kinds[{name!r}] is {kind!r}", allowed=", ".join(_KINDS))
    fields = []
    for name in sample.column_names:
        if name in drop:
            continue
        column = sample.column(name)
        for chunk in column.chunks:
            check_utf8(chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk, name, where)
        kind = kinds.get(name) or _kind(name, column)
        missing = column.null_count
        if pa.types.is_floating(column.type):
            missing += pc.sum(pc.is_nan(column)).as_py() or 0
        if kind == "sparse":
            fields.append(Field(name=name, kind="sparse", dtype=f"sparse[{(widths or {}).get(name, 0)}]"))
            continue
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        dtype = str(storage_type(kind, column.type))
        fields.append(Field(name=name, kind=kind, dtype=dtype, missing=missing, distinct=_distinct(column)))  # type: ignore[arg-type]
    return tuple(fields)


def _distinct(column: Any) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    return 0 if pa.types.is_null(column.type) else int(pc.count_distinct(column).as_py())


def _known(option: str, names: Iterable[str], columns: Sequence[str]) -> None:
    for name in names:
        if name not in columns:
            raise BadInput(f"{option} names {name!r}, and there is no such column", allowed=", ".join(columns))


def warn_of_wide(sample: Any, fields: Sequence[Field]) -> None:
    """Warn of columns of whole numbers that float64, as which all numbers are learned from, cannot tell apart; by the sample."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for item in fields:
        column = sample.column(item.name)
        if item.kind != "number" or item.values or not (pa.types.is_int64(column.type) or pa.types.is_uint64(column.type)):
            continue
        ends = [value for value in pc.min_max(column).as_py().values() if value is not None and abs(value) > _EXACT]
        if ends:
            what = f"column {item.name!r} holds whole numbers beyond 2**53 ({ends[-1]}), which lose their last digits as float64"
            todo = f"If they name things, read them as such: kinds={{{item.name!r}: 'category'}} (--kind {item.name}=category), or leave the column out."
            warnings.warn(f"{what}. {todo}", stacklevel=5)


def infer_task(field: Field, values: Sequence[Any] | None, task: str | None) -> tuple[str, tuple[Any, ...]]:
    """``(task, classes)`` for a target.

    values: its distinct values without missing ones, or None where there are too many to be classes. Strings and
    bools are classes; so are at most 20 distinct whole numbers (two: binary); all else is a number.
    """
    where = f"target {field.name!r}"
    if task not in (None, "", "binary", "classes", "number"):
        raise BadInput(f"task is {task!r}", allowed="binary, classes, number")
    if field.kind in ("text", "date", "sparse"):
        raise BadInput(f"it is {field.kind}", where=where, allowed="numbers or categories", todo=f"If its values are classes, say kinds={{{field.name!r}: 'category'}}.")
    if values is not None and len(values) < 2:
        found = repr(values[0]) if values else "missing"
        raise BadInput(f"every row is {found}: there is nothing to learn", where=where, todo="Name another target, or read more rows.")
    if values is not None and field.kind == "number" and task != "number":
        values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
    whole = values is not None and all(isinstance(v, int) for v in values)
    if task == "number":
        if field.kind != "number":
            raise BadInput("its values are not numbers, and task='number' was asked for", where=where, todo=f"Say kinds={{{field.name!r}: 'number'}} if they read as numbers.")
        return "number", ()
    floating = field.dtype in ("float", "double", "halffloat")
    if not task and field.kind == "number" and (not whole or len(values or ()) > (2 if floating else _FEW_CLASSES)):
        return "number", ()
    if values is None:
        most = f"at most {_MOST_CLASSES} classes"
        raise BadInput("it has too many distinct values", where=where, allowed=most, todo="Learn it as a number, or name another target.")
    if task == "binary" and len(values) != 2:
        raise BadInput(f"it has {len(values)} classes, and task='binary' was asked for", where=where, allowed="2 classes")
    classes = tuple(sorted(values))
    return "binary" if len(classes) == 2 else "classes", classes


def _split(names: Sequence[str]) -> str:
    """What to do where the only column's name looks like several, which a file with another delimiter gives."""
    sign = next((sign for sign in (";", "\t", "|") if len(names) == 1 and sign in names[0]), "")
    if not sign:
        return ""
    shown = {"\t": "tabs"}.get(sign, f"'{sign}'")
    return f"Its values seem to stand between {shown}, and commas are read: write the file with commas, or give og.read a frame (pandas.read_csv(path, sep={sign!r}))."


def make_schema(fields: Sequence[Field], *, target: str | None, weight: str | None, task: str | None, sampled: int, values: Any) -> Schema:
    """The schema of a source; ``values(field)`` gives the distinct values of the target, exactly."""
    names = [item.name for item in fields]
    found = list(fields)
    for role, name in (("target", target), ("weight", weight)):
        if name is not None and name not in names:
            raise BadInput(f"there is no column {name!r} for the {role}", allowed=", ".join(names), todo=_split(names))
        if name == "":
            raise BadInput(f"a column without a name cannot be the {role}", todo="Give it a name where the rows come from.")
    if target is not None and target == weight:
        raise BadInput(f"{target!r} cannot be target and weight at once")
    if weight is not None and found[names.index(weight)].kind != "number":
        raise BadInput(f"the weight {weight!r} is a {found[names.index(weight)].kind}", allowed="a numeric column")
    kind = ""
    if target is not None:
        place = names.index(target)
        kind, classes = infer_task(found[place], values(found[place]), task)
        old = found[place]
        found[place] = Field(name=old.name, kind=old.kind, dtype=old.dtype, missing=old.missing, distinct=len(classes) or old.distinct, values=classes)
    if len(found) == sum(name is not None for name in (target, weight)):
        raise BadInput("there is no column to learn from beside target and weight", todo="Check the names, and drop=.")
    return Schema(fields=tuple(found), target=target or "", weight=weight or "", task=kind, sampled=sampled)  # type: ignore[arg-type]


def describe(schema: Schema) -> str:
    """The schema as a table for people."""
    rows = [("column", "kind", "type", "missing", "distinct", "")]
    for item in schema.fields:
        note = {schema.target: "target: " + _task_text(schema), schema.weight: "weight"}.get(item.name, "") if item.name in schema.roles else ""
        rows.append((item.name, item.kind, item.dtype, str(item.missing), str(item.distinct), note))
    wide = [max(len(row[k]) for row in rows) for k in range(6)]
    lines = ["  ".join(cell.rjust(w) if k in (3, 4) else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, wide, strict=True))).rstrip() for row in rows]
    return "\n".join([*lines, f"missing and distinct are of {schema.sampled} sampled rows; classes of the target are of all rows"])


def _task_text(schema: Schema) -> str:
    if schema.task == "number":
        return "a number"
    shown = ", ".join(map(str, schema.classes[:5])) + (", …" if len(schema.classes) > 5 else "")
    return f"{len(schema.classes)} classes ({shown})"


def schema_to_json(schema: Schema) -> str:
    """A schema as one JSON object; a class keeps its type."""
    fields = [
        {"name": f.name, "kind": f.kind, "dtype": f.dtype, "missing": f.missing, "distinct": f.distinct, "values": list(f.values)} for f in schema.fields
    ]
    whole = {"fields": fields, "target": schema.target, "weight": schema.weight, "task": schema.task, "sampled": schema.sampled}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def schema_from_json(text: str, *, where: str = "schema") -> Schema:
    """Read `schema_to_json`'s text back; it may come from a hostile file.

    Raises
    ------
    BadFile
        On anything that `schema_to_json` would not have written.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"the schema is not JSON ({error})", where=where) from None
    _keys(whole, {"fields": list, "target": str, "weight": str, "task": str, "sampled": int}, where)
    fields = []
    for entry in whole["fields"]:
        _keys(entry, {"name": str, "kind": str, "dtype": str, "missing": int, "distinct": int, "values": list}, where)
        if entry["kind"] not in _KINDS or not all(type(value) in (str, int, float, bool) for value in entry["values"]):
            raise BadFile(f"field {entry['name']!r} has an unknown kind or classes that are not plain values", where=where)
        fields.append(Field(**{**entry, "values": tuple(entry["values"])}))
    names = [item.name for item in fields]
    if len(set(names)) != len(names):
        raise BadFile("a column stands twice in the schema", where=where)
    if whole["task"] not in _TASKS or any(whole[role] and whole[role] not in names for role in ("target", "weight")):
        raise BadFile("the schema's task, target or weight names nothing that is there", where=where)
    return Schema(fields=tuple(fields), target=whole["target"], weight=whole["weight"], task=whole["task"], sampled=whole["sampled"])


def _keys(found: Any, wanted: Mapping[str, type], where: str) -> None:
    if not isinstance(found, dict) or set(found) != set(wanted) or any(type(found[key]) is not kind for key, kind in wanted.items()):
        raise BadFile(f"the schema must hold exactly {', '.join(wanted)}, each of its type", where=where)
