"""What every column holds, in one pass: counts, distinct values, moments, quantiles, and the most frequent categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput, Refused
from ..core.learner import SHARDS, Context, Learner, Pass, Price
from ..core.state import State, pack_strings, under, unpack_strings
from ..data.batch import Schema
from ..data.features.counting import Top
from ..data.features.distinct import ERROR, Distinct
from ..data.features.moments import Spread
from ..data.features.quantiles import Quantiles
from .beside import FusedFold

__all__ = ["Summary"]

_TEXT = 40  # bytes of a value and what is kept of it, about


@dataclass(frozen=True, kw_only=True)
class Summary(Learner):
    """Describe every column in one pass: values, missing ones, distinct ones; of numbers and dates mean, deviation and quantiles; of categories and texts the most frequent.

    Columns are described as they are: no features before it. Rows with weights are refused (`Moments` weighs). `outgrow inspect` shows the tables.

    Parameters
    ----------
    quantiles : tuple of floats
        Which quantiles, as shares; the smallest and the largest value are always told.
    top : int
        How many of the most frequent values of a category or text column.
    error : float
        By how much ranks of quantiles and counts of frequent values may be off, as a share of the rows. Quantiles are exact up to about 11 / error values,
        counts up to 1 / error distinct ones.

    Notes
    -----
    model, one entry a column: ``columns`` (packed strings); ``count`` and ``missing`` int64 (rows); ``distinct`` int64, exact where ``distinct_exact``, else with a standard
    error of 0.8 %; ``mean``, ``deviation`` (of the population), ``min``, ``max`` float64 and ``quantiles`` float64 (m, q), NaN where there is no number (dates:
    microseconds since 1970); ``rank_error`` float64: by how many ranks a quantile may be off, with a chance of 0.999. Frequent values, of column j the
    places ``top.starts[j]`` to ``top.starts[j + 1]``: ``top.values`` (packed strings) and ``top.counts`` int64, by falling counts, of equal ones the
    first by bytes; a value occurs at least as often as counted, and at most ``top.error`` int64 (m,) times more.

    Memory: of a column with many values some 100 kB, whatever their number. Cost: about 50 ns a number; one count a category.

    Examples
    --------
    >>> import outgrow as og
    >>> rows = og.read({"age": [20.0, 20.0, None, 50.0, 50.0], "town": ["Rome", "Oslo", "Rome", "Rome", None]})
    >>> run = og.plan(og.Summary(quantiles=(0.5,)), rows, on="serial").run()
    >>> for table in run.model.learner.tables(run.model.arrays, rows.schema).values(): print(table)
    [{'column': 'age', 'kind': 'number', 'count': 4, 'missing': 1, 'distinct': 2, 'mean': 35.0, 'deviation': 15.0, 'min': 20.0, '50%': 35.0, 'max': 50.0}]
    [{'column': 'town', 'kind': 'category', 'count': 4, 'missing': 1, 'distinct': 2}]
    [{'column': 'town', 'value': 'Rome', 'count': 3}, {'column': 'town', 'value': 'Oslo', 'count': 1}]
    """

    quantiles: tuple[float, ...] = (0.25, 0.5, 0.75)
    top: int = 10
    error: float = 0.002

    def __post_init__(self) -> None:
        shares = self.quantiles
        if not isinstance(shares, tuple) or any(isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one <= 1 for one in shares):
            raise BadField(f"quantiles is {shares!r}", where="Summary.quantiles", allowed="a tuple of shares from 0 to 1")
        if isinstance(self.top, bool) or not isinstance(self.top, int) or self.top < 0:
            raise BadField(f"top is {self.top!r}", where="Summary.top", allowed="a whole number from 0")
        Quantiles.of((), self.error)
        kept = round(1 / self.error)
        if self.top > kept:
            raise BadField(f"top is {self.top}, and with error={self.error} only {kept} values are kept", where="Summary.top", todo="Ask for fewer, or lower error.")

    def begin(self, context: Context, start: State | None = None) -> State:
        schema: Schema = context.schema
        if start is not None:
            raise BadInput("a summary does not go on from an earlier model", todo="Read the old and the new rows together.")
        if schema.weight:
            raise BadInput(f"rows are weighed by {schema.weight!r}, and quantiles of weighted rows are not known", todo="Read without weight=, or describe numbers by Moments.")
        if schema.names("sparse"):
            raise BadInput(f"column {schema.names('sparse')[0]!r} is sparse, which is not described", todo="Leave it out: drop=…")
        return {}

    def _folds(self, context: Context) -> tuple[Distinct, Spread, Quantiles, Top]:
        schema: Schema = context.schema
        numbers, others = schema.names("number", "date"), schema.names("category", "text")
        return Distinct(schema.names()), Spread(numbers), Quantiles.of(numbers, self.error, context.seed), Top(others, round(1 / self.error))

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry else (Pass(fold=FusedFold(self._folds(context)), cover=context.few if self.price(context).lanes else SHARDS),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        schema: Schema = context.schema
        distinct, spread, quantiles, top = self._folds(context)
        held, sums, values, frequent = (under(f"{i}", closed[0]) for i in range(4))
        if not np.isfinite(sums["m2"]).all():
            name = spread.columns[int(np.flatnonzero(~np.isfinite(sums["m2"]))[0])]
            raise BadInput(f"the squares of column {name!r} overflow float64", todo="Divide the column by a constant first, or leave it out.")
        names = schema.names()
        rows = int(frequent["rows"])
        at, number = [names.index(name) for name in top.columns], [names.index(name) for name in spread.columns]
        count = np.zeros(len(names), np.int64)
        count[number] = sums["count"]
        count[at] = [rows - int(frequent[f"{j}.missing"]) for j in range(len(at))]
        low, high = quantiles.ends(values)
        some = sums["count"] > 0
        deviation = np.sqrt(sums["m2"] / np.maximum(sums["count"], 1))
        found: State = {"mean": np.where(some, sums["mean"], np.nan), "deviation": np.where(some, deviation, np.nan), "min": low, "max": high}
        lost = np.zeros(len(names), np.int64)
        lost[at] = [int(frequent[f"{j}.lost"]) for j in range(len(at))]
        found |= {"quantiles": quantiles.quantiles(values, self.quantiles), "rank_error": quantiles.rank_errors(values)}
        own: State = {"count": count, "missing": rows - count, "distinct": distinct.counts(held), "distinct_exact": held["held"] >= 0, "top.error": lost}
        figures: State = {name: _spread(array, number, len(names)) for name, array in found.items()}
        return {**pack_strings("columns", names), **own, **figures, **self._frequent(frequent, at, len(names))}

    def _frequent(self, counted: State, at: Sequence[int], columns: int) -> State:
        """The most frequent values of the columns `at`, from a state of `Top`."""
        kept: list[bytes] = []
        counts: list[int] = []
        starts = np.zeros(columns + 1, np.int64)
        for j, column in sorted(enumerate(at), key=lambda pair: pair[1]):
            order = np.argsort(-counted[f"{j}.counts"], kind="stable")[: self.top]
            raw, offsets = counted[f"{j}.bytes"].tobytes(), counted[f"{j}.offsets"]
            kept += [raw[offsets[i] : offsets[i + 1]] for i in order]
            counts += counted[f"{j}.counts"][order].tolist()
            starts[column + 1] = len(order)
        values: State = {"top.values.bytes": np.frombuffer(b"".join(kept), np.uint8).copy(), "top.values.offsets": np.cumsum([0, *map(len, kept)]).astype(np.int64)}
        return values | {"top.counts": np.array(counts, np.int64), "top.starts": np.cumsum(starts)}

    def finish(self, context: Context, carry: State) -> State:
        return carry

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"columns": float(len(carry["count"])), "missing": float(carry["missing"].sum())} if carry else {}

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        raise Refused("a summary describes columns and predicts nothing", todo="`outgrow inspect` shows it; name another learner to predict.")

    def price(self, context: Context) -> Price:
        distinct, spread, quantiles, top = self._folds(context)
        values = sum(min(context.schema[name].distinct or 16, top.limit) for name in top.columns)
        state = (16 << 10) * len(distinct.columns) + 32 * len(spread.columns) + quantiles.bytes_of(context.rows) + _TEXT * values
        return Price(state=state, lanes=context.few.lanes if state > 1 << 20 else 0)

    def tables(self, model: State, schema: Schema) -> dict[str, list[dict[str, Any]]]:
        """The model as rows to print: ``numbers`` (dates too), ``categories`` (texts too) and ``frequent`` values, as far as there are any."""
        names = unpack_strings("columns", model)
        values, starts = unpack_strings("top.values", model), model["top.starts"].tolist()
        found: dict[str, list[dict[str, Any]]] = {"numbers": [], "categories": [], "frequent": []}
        for j, name in enumerate(names):
            kind = schema[name].kind
            row = {"column": name, "kind": kind, **{key: int(model[key][j]) for key in ("count", "missing", "distinct")}}
            if kind in ("number", "date"):
                found["numbers"].append(row | self._figures(model, j, kind))
            else:
                found["categories"].append(row)
                found["frequent"] += [{"column": name, "value": values[i], "count": int(model["top.counts"][i])} for i in range(starts[j], starts[j + 1])]
        if any(not exact for exact in model["distinct_exact"]):
            _add(found["numbers"] + found["categories"], "distinct ±", {name: _share(0.0 if exact else ERROR) for name, exact in zip(names, model["distinct_exact"], strict=True)})
        shares = model["rank_error"] / np.maximum(model["count"], 1)
        if (shares > 0).any():
            _add(found["numbers"], "rank ±", {name: _share(share) for name, share in zip(names, shares, strict=True)})
        if model["top.error"].any():
            _add(found["frequent"], "at most", dict(zip(names, model["top.error"].tolist(), strict=True)), "count")
        return {name: rows for name, rows in found.items() if rows}

    def _figures(self, model: State, j: int, kind: str) -> dict[str, Any]:
        show = _date if kind == "date" else _known
        shown = {"mean": show(model["mean"][j]), "deviation": _days(model["deviation"][j]) if kind == "date" else _known(model["deviation"][j]), "min": show(model["min"][j])}
        quantiles = {f"{100 * share:g}%": show(value) for share, value in zip(self.quantiles, model["quantiles"][j], strict=True)}
        return shown | quantiles | {"max": show(model["max"][j])}


def _spread(array: npt.NDArray[Any], places: Sequence[int], columns: int) -> npt.NDArray[Any]:
    """The entries of some columns among those of all; NaN elsewhere."""
    out = np.full((columns, *array.shape[1:]), np.nan)
    out[list(places)] = array
    return out


def _add(rows: list[dict[str, Any]], key: str, of: dict[str, Any], to: str = "") -> None:
    for row in rows:
        row[key] = row[to] + of[row["column"]] if to else of[row["column"]]


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _share(value: Any) -> str:
    return "exact" if not value > 0 else f"{100 * float(value):.2g} %"


def _date(value: Any) -> str | None:
    return None if np.isnan(value) else str(np.datetime64(int(value), "us").astype("datetime64[s]"))


def _days(value: Any) -> str | None:
    return None if np.isnan(value) else f"{float(value) / 86_400e6:.6g} days"
