"""Products of numeric columns as columns of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np

from ...core.errors import BadField, BadInput
from ...core.learner import Feature
from ...core.state import State
from ..batch import Batch, Column, Field, Numbers, Schema
from .blocks import Recall, numbers_of, place
from .crossing import Groups, checked_interactions, crossings

__all__ = ["Interactions"]

_SCHEMAS = Recall()


@dataclass(frozen=True, kw_only=True)
class Interactions(Feature):
    """Add products of numeric columns: "a:b" gives a column "a:b" with a × b; missing where one is missing.

    Parameters
    ----------
    interactions : tuple of str
        Two or more columns (or groups of them) joined by colons; "a:a" is the square.
    groups : tuple of (str, tuple of str), or dict
        Names for several columns; on the command line "user=age+income".

    Notes
    -----
    Categories are crossed by `Hashing`, which has fields of the same names. Nothing is fitted.
    """

    version: ClassVar[int] = 1

    interactions: tuple[str, ...] = ()
    groups: Groups = ()

    def __post_init__(self) -> None:
        interactions, groups = checked_interactions(self.interactions, self.groups)
        object.__setattr__(self, "interactions", interactions)
        object.__setattr__(self, "groups", groups)

    def _crossed(self, schema: Schema) -> tuple[tuple[tuple[str, ...], ...], Schema]:
        """The crossings, and the schema with their columns."""
        crossed = tuple(crossings(self.interactions, self.groups, schema))
        for names in crossed:
            category = [name for name in names if schema[name].kind != "number"]
            if category:
                raise BadField(f"{':'.join(names)!r} crosses the category {category[0]!r}", where="interactions", allowed="numbers", todo="Use Hashing(interactions=…).")
            if ":".join(names) in schema:
                raise BadInput(f"there is a column {':'.join(names)!r} already", todo="Rename it.")
        return crossed, schema.replace([*schema.fields, *(Field(name=":".join(names), kind="number", dtype="double") for names in crossed)])

    def schema(self, fitted: State, schema: Schema) -> Schema:
        found: tuple[tuple[tuple[str, ...], ...], Schema] = _SCHEMAS.get(self, schema, make=lambda: self._crossed(schema))
        return found[1]

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        columns: dict[str, Column] = dict(batch.columns)
        crossed, after = _SCHEMAS.get(self, batch.schema, make=lambda: self._crossed(batch.schema))
        for names in crossed:
            with np.errstate(over="ignore", invalid="ignore"):
                values = reduce(np.multiply, [numbers_of(batch, name).floats() for name in names])
            wrong = np.flatnonzero(np.isinf(values))
            if len(wrong):
                raise BadInput("the product is infinite", where=place(batch, int(wrong[0]), ":".join(names)), todo="Scale the columns first.")
            columns[":".join(names)] = Numbers(values)
        return batch.with_columns(after, columns)
