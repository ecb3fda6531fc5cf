"""Values for missing numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from ...core.errors import BadField, BadInput
from ...core.learner import Context, Feature, Fold, Pass, Traits
from ...core.state import State, pack_strings, unpack_strings
from ..batch import Batch, Column, Field, Numbers, Schema
from .blocks import Recall, numbers_of, read_of
from .moments import Spread

__all__ = ["Missing"]

Strategy = Literal["mean", "most", "constant"]
LIMIT = 100_000  # distinct values that "most" still counts
_PARSED, _SCHEMAS = Recall(), Recall()


def _is_missing(column: Numbers) -> npt.NDArray[np.bool_] | None:
    """bool (n,), or None where nothing is missing."""
    lost = None if column.valid is None else ~column.valid
    if column.values.dtype.kind == "f":
        nan = np.isnan(column.values)
        lost = nan if lost is None else lost | nan
    return lost if lost is not None and lost.any() else None


@dataclass(frozen=True)
class Frequent(Fold):
    """How often each number of some columns occurs, in any order of rows: ``j.values`` float64 ascending, ``j.counts`` and ``j.missing`` int64."""

    traits: ClassVar[Traits] = Traits(order_free=True)

    columns: tuple[str, ...]

    def init(self, given: Mapping[str, Any]) -> State:
        state: State = {}
        for j in range(len(self.columns)):
            state |= {f"{j}.values": np.zeros(0), f"{j}.counts": np.zeros(0, np.int64), f"{j}.missing": np.array(0)}
        return state

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        for j, name in enumerate(self.columns):
            column = numbers_of(batch, name)
            lost = _is_missing(column)
            values = (column.values if lost is None else column.values[~lost]).astype(np.float64) + 0.0  # -0 is 0
            state = self._added(state, j, values, np.ones(len(values), np.int64), len(column) - len(values), batch.place)
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        for j in range(len(self.columns)):
            left = self._added(left, j, right[f"{j}.values"], right[f"{j}.counts"], int(right[f"{j}.missing"]), "")
        return left

    def _added(self, state: State, j: int, values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], missing: int, where: str) -> State:
        found, places = np.unique(np.concatenate([state[f"{j}.values"], values]), return_inverse=True)
        if len(found) > LIMIT:
            raise BadInput(f"column {self.columns[j]!r} has more than {LIMIT} distinct values", where=where, todo='Fill its missing values by strategy="mean".')
        total = np.zeros(len(found), np.int64)
        np.add.at(total, places, np.concatenate([state[f"{j}.counts"], counts]))
        return {**state, f"{j}.values": found, f"{j}.counts": total, f"{j}.missing": np.array(int(state[f"{j}.missing"]) + missing)}


@dataclass(frozen=True)
class Lost(Fold):
    """How many values of each column are missing: ``missing`` int64 (m,)."""

    traits: ClassVar[Traits] = Traits(order_free=True, elementwise=True)

    columns: tuple[str, ...]

    def init(self, given: Mapping[str, Any]) -> State:
        return {"missing": np.zeros(len(self.columns), np.int64)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        lost = [_is_missing(numbers_of(batch, name)) for name in self.columns]
        return {"missing": state["missing"] + [0 if item is None else int(item.sum()) for item in lost]}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return {"missing": left["missing"] + right["missing"]}


@dataclass(frozen=True, kw_only=True)
class Missing(Feature):
    """Put a number where one is missing. Categories are left alone: to the encoders, missing is a category of its own.

    Parameters
    ----------
    strategy : {"mean", "most", "constant"}
        The mean of the column; its most frequent value (of equally frequent ones the smallest); or `fill`.
    fill : float
        For "constant", and for a column that had no value at all while fitting.
    indicator : bool
        Add a column "x is missing" (0 or 1) for each column x that had missing values while fitting.

    Notes
    -----
    "constant" without indicators needs no pass over the rows. "most" counts up to 100 000 distinct values a column.
    """

    version: ClassVar[int] = 1

    strategy: Strategy = "mean"
    fill: float = 0.0
    indicator: bool = False

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise BadField(f"strategy is {self.strategy!r}", where="Missing.strategy", allowed=", ".join(get_args(Strategy)))
        if isinstance(self.fill, bool) or not isinstance(self.fill, int | float) or not math.isfinite(self.fill):
            raise BadField(f"fill is {self.fill!r}", where="Missing.fill", allowed="a finite number")
        if type(self.indicator) is not bool:
            raise BadField(f"indicator is {self.indicator!r}", where="Missing.indicator", allowed="True or False")

    def begin(self, context: Context, start: State | None = None) -> State:
        names = context.schema.names("number")
        needs_pass = names and (self.indicator or self.strategy != "constant")
        return {} if needs_pass else self._fitted(names, np.full(len(names), float(self.fill)), np.zeros(len(names), np.bool_))

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if carry:
            return ()
        names = context.schema.names("number")
        folds: dict[str, tuple[Fold, ...]] = {"mean": (Spread(names), Lost(names)), "most": (Frequent(names),), "constant": (Lost(names),)}
        return tuple(Pass(fold=fold) for fold in folds[self.strategy][: 2 if self.indicator else 1])

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        names = context.schema.names("number")
        values = np.full(len(names), float(self.fill))
        lost = np.zeros(len(names), np.bool_)
        if self.strategy == "mean":
            values = np.where(closed[0]["count"] > 0, closed[0]["mean"], values)
        elif self.strategy == "most":
            for j in range(len(names)):
                counts = closed[0][f"{j}.counts"]
                values[j] = closed[0][f"{j}.values"][np.argmax(counts)] if len(counts) else values[j]
                lost[j] = closed[0][f"{j}.missing"] > 0
        if "missing" in closed[-1]:
            lost = closed[-1]["missing"] > 0
        return self._fitted(names, values, lost & self.indicator)

    @staticmethod
    def _fitted(names: tuple[str, ...], values: npt.NDArray[np.float64], lost: npt.NDArray[np.bool_]) -> State:
        return {**pack_strings("columns", names), "fill": values, "indicator": lost}

    def schema(self, fitted: State, schema: Schema) -> Schema:
        found: Schema = _SCHEMAS.get(self, fitted["fill"], schema, make=lambda: self._schema(fitted, schema))
        return found

    def _schema(self, fitted: State, schema: Schema) -> Schema:
        names = unpack_strings("columns", fitted)
        added = [f"{name} is missing" for name, lost in zip(names, fitted["indicator"], strict=True) if lost]
        for name in added:
            if name in schema:
                raise BadInput(f"there is a column {name!r} already", todo="Rename it, or leave the indicators out.")
        return schema.replace([*schema.fields, *(Field(name=name, kind="number", dtype="bool", distinct=2) for name in added)])

    def reads(self, fitted: State, schema: Schema, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        return None if self.indicator else inputs

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        columns: dict[str, Column] = dict(batch.columns)
        schema = batch.schema
        numbers: Any = _PARSED.get("columns", fitted["fill"], schema, make=lambda: read_of(schema, unpack_strings("columns", fitted), fitted["fill"], fitted["indicator"]))
        for name, fill, indicator in numbers:
            column = numbers_of(batch, name)
            lost = _is_missing(column)
            if lost is not None:
                values = column.values.astype(np.float64)
                values[lost] = fill
                columns[name] = Numbers(values)
            if indicator:
                columns[f"{name} is missing"] = Numbers(np.zeros(len(column), np.bool_) if lost is None else lost)
        return batch.with_columns(self.schema(fitted, schema), columns)
