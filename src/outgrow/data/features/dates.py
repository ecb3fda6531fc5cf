"""Dates and times as parts that a model can use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from ...core.errors import BadField, BadInput
from ...core.learner import Feature
from ...core.state import State
from ..batch import Batch, Codes, Column, Dictionary, Field, Numbers, Schema
from .blocks import Recall, numbers_of

__all__ = ["Dates"]

_DAY = 86_400_000_000  # microseconds
_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CATEGORIES = {  # part: its values, code 0 first
    "month": tuple(str(i) for i in range(1, 13)),
    "day": tuple(str(i) for i in range(1, 32)),
    "weekday": _WEEK,
    "hour": tuple(str(i) for i in range(24)),
}
_NUMBERS = {"year": "int32", "yearday": "int32", "minute": "int32", "since": "double"}
_ALL = (*_NUMBERS, *_CATEGORIES)
_ROWS = ("year", "month", "day", "weekday", "hour", "minute", "yearday")  # as `kernels.civil` writes them
_SCHEMAS = Recall()


@cache
def _dictionary(part: str) -> Dictionary:
    """One dictionary a part for all batches, so that what is derived from it is made once."""
    import pyarrow as pa

    return Dictionary(pa.array(_CATEGORIES[part], pa.string()))


@dataclass(frozen=True, kw_only=True)
class Dates(Feature):
    """Replace each date column by parts of it, named "column.part", by integer arithmetic in UTC.

    Parameters
    ----------
    parts : tuple of str
        Categories: "month", "day" (of the month), "weekday" (Mon to Sun), "hour". Numbers: "year", "yearday" (from 1),
        "minute", "since" (days since 1970-01-01, with the fraction).

    Notes
    -----
    Nothing is fitted. Where the date is missing, so is every part. Cost: about 20 ns a row.
    """

    version: ClassVar[int] = 1

    parts: tuple[str, ...] = ("year", "month", "day", "weekday", "hour")

    def __post_init__(self) -> None:
        if isinstance(self.parts, str) or not isinstance(self.parts, list | tuple) or not self.parts:
            raise BadField(f"parts is {self.parts!r}", where="Dates.parts", allowed="names from " + ", ".join(_ALL))
        wrong = [part for part in self.parts if part not in _ALL]
        if wrong or len(set(self.parts)) != len(self.parts):
            raise BadField(f"there is no part {wrong[0]!r}" if wrong else "a part stands twice", where="Dates.parts", allowed=", ".join(_ALL))
        object.__setattr__(self, "parts", tuple(self.parts))

    def schema(self, fitted: State, schema: Schema) -> Schema:
        found: Schema = _SCHEMAS.get(self, schema, make=lambda: self._schema(schema))
        return found

    def _schema(self, schema: Schema) -> Schema:
        dates, fields = set(schema.names("date")), []
        for item in schema.fields:
            if item.name not in dates:
                fields.append(item)
                continue
            for part in self.parts:
                if f"{item.name}.{part}" in schema:
                    raise BadInput(f"there is a column {item.name + '.' + part!r} already", todo="Rename it, or ask for other parts.")
                if part in _NUMBERS:
                    fields.append(Field(name=f"{item.name}.{part}", kind="number", dtype=_NUMBERS[part], missing=item.missing))
                else:
                    fields.append(Field(name=f"{item.name}.{part}", kind="category", dtype="string", missing=item.missing, distinct=len(_CATEGORIES[part])))
        return schema.replace(fields)

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        from .kernels import civil

        columns: dict[str, Column] = {}
        dates = set(batch.schema.names("date"))
        for name, column in batch.columns.items():
            if name not in dates:
                columns[name] = column
                continue
            dated = numbers_of(batch, name)
            time = np.ascontiguousarray(dated.values, np.int64)
            if dated.valid is not None:
                time = np.where(dated.valid, time, 0)
            found = np.empty((len(_ROWS), batch.rows), np.int32)
            civil(time, found)
            for part in self.parts:
                if part == "since":
                    columns[f"{name}.{part}"] = Numbers(time / _DAY, dated.valid)
                elif part in _NUMBERS:
                    columns[f"{name}.{part}"] = Numbers(found[_ROWS.index(part)], dated.valid)
                else:
                    codes = found[_ROWS.index(part)]
                    columns[f"{name}.{part}"] = Codes(codes if dated.valid is None else np.where(dated.valid, codes, np.int32(-1)), _dictionary(part))
        return batch.with_columns(self.schema(fitted, batch.schema), columns)
