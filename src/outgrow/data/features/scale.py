"""Scaling of numeric columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from ...core.errors import BadField, BadInput
from ...core.learner import SHARDS, Context, Feature, Pass, Price
from ...core.state import State, pack_strings, unpack_strings
from ..batch import Array, Batch, Column, Numbers, Schema
from .blocks import Recall, not_finite, numbers_of, read_of
from .moments import Spread
from .quantiles import Quantiles

__all__ = ["RobustScale", "Scale"]

By = Literal["deviation", "largest", "none"]
_PARSED, _SCHEMAS = Recall(), Recall()


class _Scaled(Feature):
    """What scaling has in common: fitted, ``columns`` (packed strings), ``center`` and ``spread`` float64 (m,)."""

    @staticmethod
    def _fitted(names: tuple[str, ...], center: Array, spread: Array) -> State:
        return {**pack_strings("columns", names), "center": center, "spread": spread}

    def schema(self, fitted: State, schema: Schema) -> Schema:
        def make() -> Schema:
            scaled = set(unpack_strings("columns", fitted))
            return schema.replace([replace(item, dtype="double") if item.name in scaled else item for item in schema.fields])

        found: Schema = _SCHEMAS.get(self, fitted["center"], schema, make=make)
        return found

    def reads(self, fitted: State, schema: Schema, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        return inputs

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        columns: dict[str, Column] = dict(batch.columns)
        schema = batch.schema
        numbers: Any = _PARSED.get("columns", fitted["center"], schema, make=lambda: read_of(schema, unpack_strings("columns", fitted), fitted["center"], fitted["spread"]))
        for name, center, spread in numbers:
            column = numbers_of(batch, name)
            values = column.values.astype(np.float64)
            if np.isinf(values).any():
                raise not_finite(batch, int(np.flatnonzero(np.isinf(values))[0]), name, float(values[np.isinf(values)][0]))
            values -= center
            values /= spread
            columns[name] = Numbers(values, column.valid)
        return batch.with_columns(self.schema(fitted, schema), columns)


@dataclass(frozen=True, kw_only=True)
class Scale(_Scaled):
    """Bring numeric columns to comparable sizes: subtract the mean, divide by the standard deviation.

    Parameters
    ----------
    center : bool
        Subtract the mean.
    by : {"deviation", "largest", "none"}
        Divide by the standard deviation (of the population, as scikit-learn), by the largest absolute value, or not.

    Notes
    -----
    Missing values play no part and stay missing. Row weights play no part. A column of one value is divided by 1; one
    without any value is left as it is. The mean and deviation are summed in the tree: another cut of the rows gives other last bits.
    """

    version: ClassVar[int] = 1

    center: bool = True
    by: By = "deviation"

    def __post_init__(self) -> None:
        if type(self.center) is not bool:
            raise BadField(f"center is {self.center!r}", where="Scale.center", allowed="True or False")
        if self.by not in get_args(By):
            raise BadField(f"by is {self.by!r}", where="Scale.by", allowed=", ".join(get_args(By)))

    def begin(self, context: Context, start: State | None = None) -> State:
        return {} if context.schema.names("number") else self._fitted((), np.zeros(0), np.zeros(0))

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry else (Pass(fold=Spread(context.schema.names("number"))),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        names, found = context.schema.names("number"), closed[0]
        if not np.isfinite(found["m2"]).all():
            name = names[int(np.flatnonzero(~np.isfinite(found["m2"]))[0])]
            raise BadInput(f"the squares of column {name!r} overflow float64", todo="Divide the column by a constant first, or leave it out.")
        center = found["mean"] if self.center else np.zeros(len(names))
        spread = np.ones(len(names))
        if self.by == "deviation":
            spread = np.sqrt(found["m2"] / np.maximum(found["count"], 1))
        elif self.by == "largest":
            spread = found["largest"]
        return self._fitted(names, center, np.where(spread > 0, spread, 1.0))


@dataclass(frozen=True, kw_only=True)
class RobustScale(_Scaled):
    """Bring numeric columns to comparable sizes whatever their outliers: subtract the median, divide by the range between two quantiles.

    Parameters
    ----------
    center : bool
        Subtract the median.
    by : {"range", "none"}
        Divide by the range between the quantiles, or not.
    quantile_range : tuple of two floats
        The quantiles, in percent.
    unit_variance : bool
        Divide by the range that a normal column of variance 1 has as well, so that such columns keep theirs.
    error : float
        Quantiles are off by at most this share of a column's values, each with a chance of 0.999; exact up to about 11 / error values.

    Notes
    -----
    Missing values play no part and stay missing. Row weights play no part. A column whose quantiles are one value is divided by 1; one without any value is left
    as it is. The quantiles come from one pass (`Quantiles`): where they are exact they are those of numpy and scikit-learn, else another
    cut of the rows or another seed gives others, within `error`. Cost: about 20 ns a value.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> rows = og.read({"x": [1.0, 2.0, 3.0, 4.0, 1e9]})
    >>> fitted = og.plan(og.RobustScale(), rows, features=(), on="serial").run().model.arrays
    >>> fitted["center"].tolist(), fitted["spread"].tolist()
    ([3.0], [2.0])
    """

    version: ClassVar[int] = 1

    center: bool = True
    by: Literal["range", "none"] = "range"
    quantile_range: tuple[float, float] = (25.0, 75.0)
    unit_variance: bool = False
    error: float = 0.002

    def __post_init__(self) -> None:
        for name in ("center", "unit_variance"):
            if type(getattr(self, name)) is not bool:
                raise BadField(f"{name} is {getattr(self, name)!r}", where=f"RobustScale.{name}", allowed="True or False")
        if self.by not in ("range", "none"):
            raise BadField(f"by is {self.by!r}", where="RobustScale.by", allowed="range, none")
        pair = self.quantile_range
        sound = isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in pair)
        if not sound or not 0 <= pair[0] < pair[1] <= 100:
            raise BadField(f"quantile_range is {pair!r}", where="RobustScale.quantile_range", allowed="two percentages, the lower one first")
        if self.unit_variance and (pair[0] == 0 or pair[1] == 100):
            raise BadField(f"quantile_range is {pair!r}, and a normal column has no such ends", where="RobustScale.unit_variance", allowed="False, or quantiles within 0 and 100")
        Quantiles.of((), self.error)

    def begin(self, context: Context, start: State | None = None) -> State:
        return {} if context.schema.names("number") else self._fitted((), np.zeros(0), np.zeros(0))

    def _fold(self, context: Context) -> Quantiles:
        return Quantiles.of(context.schema.names("number"), self.error, context.seed)

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry else (Pass(fold=self._fold(context), cover=context.few if self.price(context).lanes else SHARDS),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        fold = self._fold(context)
        low, middle, high = fold.quantiles(closed[0], (self.quantile_range[0] / 100, 0.5, self.quantile_range[1] / 100)).T
        none = fold.counts(closed[0]) == 0
        with np.errstate(over="ignore"):
            spread = np.where(none, 0.0, high - low) if self.by == "range" else np.ones(len(none))
        if not np.isfinite(spread).all():
            name = fold.columns[int(np.flatnonzero(~np.isfinite(spread))[0])]
            raise BadInput(f"values of column {name!r} lie too far apart for float64", todo="Divide the column by a constant first, or leave it out.")
        spread = np.where(spread > 0, spread, 1.0)
        if self.unit_variance:
            spread = spread / (_normal(self.quantile_range[1] / 100) - _normal(self.quantile_range[0] / 100))
        return self._fitted(fold.columns, np.where(none, 0.0, middle) if self.center else np.zeros(len(none)), spread)

    def price(self, context: Context) -> Price:
        state = self._fold(context).bytes_of(context.rows)
        return Price(state=state, lanes=context.few.lanes if state > 1 << 20 else 0)


def _normal(share: float) -> float:
    """The quantile of the standard normal distribution."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)
