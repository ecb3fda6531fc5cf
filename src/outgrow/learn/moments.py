"""Count, mean, deviation and range of every numeric column, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput, Refused
from ..core.learner import Context, Fold, Learner, Pass, Price, Traits
from ..core.state import State, pack_strings, unpack_strings
from ..data.batch import Batch
from .blocks import NOTHING, blocks, design_of, shape_of, weights_of

__all__ = ["Moments"]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Sums(Fold):
    """State, float64 (m,) unless said: count and missing int64, weight, mean, spread (sum of squared deviations), min, max (inf and -inf where nothing was seen)."""

    traits: ClassVar[Traits] = Traits()
    features: int

    def init(self, given: Mapping[str, Any]) -> State:
        m = self.features
        sums: State = {"count": np.zeros(m, np.int64), "missing": np.zeros(m, np.int64)}
        return sums | {name: np.zeros(m) for name in ("weight", "mean", "spread")} | {"min": np.full(m, np.inf), "max": np.full(m, -np.inf)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        weight = weights_of(batch)
        for block in blocks(design_of(batch), spread=False):
            x, row = block.x, weight[block.start : block.stop] if len(weight) else NOTHING
            if len(row) and not row.all():
                x, row = x[row > 0], row[row > 0]
            state = self.merge(state, self._of(x, row), given)
        if np.isinf(state["min"]).any() or np.isinf(state["max"]).any():
            _refuse_infinite(batch)
        return state

    def _of(self, x: F64, row: F64) -> State:
        """The state of a block x (n, m), NaN where missing, with weights row (n,), or (0,) where all are 1."""
        here = ~np.isnan(x)
        count = here.sum(0)
        whole = bool((count == len(x)).all())
        weights = None if whole and not len(row) else here * (row[:, None] if len(row) else 1.0)
        x = x if whole else np.where(here, x, 0.0)
        total = count.astype(np.float64) if weights is None else weights.sum(0)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite values are looked for by the caller, overflow at the end
            mean = (x if weights is None else x * weights).sum(0) / np.maximum(total, np.finfo(np.float64).tiny)
            away = (x - mean) ** 2
            spread = (away if weights is None else away * weights).sum(0)
        low, high = (x, x) if whole else (np.where(here, x, np.inf), np.where(here, x, -np.inf))
        sums: State = {"count": count, "missing": len(x) - count, "weight": total, "mean": mean, "spread": spread}
        return sums | {"min": low.min(0, initial=np.inf), "max": high.max(0, initial=-np.inf)}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        total = left["weight"] + right["weight"]
        share = right["weight"] / np.where(total > 0, total, 1.0)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = right["mean"] - left["mean"]  # Chan, Golub and LeVeque 1979
            mean, spread = left["mean"] + apart * share, left["spread"] + right["spread"] + apart * apart * (left["weight"] * share)
        for empty, other in ((left, right), (right, left)):  # exact where one side is empty
            alone = empty["weight"] == 0
            mean, spread = np.where(alone, other["mean"], mean), np.where(alone, other["spread"], spread)
        sums: State = {"count": left["count"] + right["count"], "missing": left["missing"] + right["missing"], "weight": total, "mean": mean, "spread": spread}
        return sums | {"min": np.minimum(left["min"], right["min"]), "max": np.maximum(left["max"], right["max"])}


def _refuse_infinite(batch: Batch) -> None:
    design = design_of(batch)
    bad = np.isinf(design.dense)
    if len(weights_of(batch)):
        bad &= weights_of(batch)[:, None] > 0
    if bad.any():
        row, column = (int(i[0]) for i in np.nonzero(bad))
        raise BadInput(
            f"an infinite value in column {design.names[column]!r}, row {int(batch.positions[row])}",
            where=batch.place,
            allowed="finite numbers, or nothing where missing",
            todo="Correct the value, or leave the column out.",
        )


@dataclass(frozen=True, kw_only=True)
class Moments(Learner):
    """Count, missing values, mean, standard deviation, smallest and largest value of each numeric column; one pass.

    The numeric columns are the dense ones of the design: put ``OneHot()`` before it, and no ``Scale``. A missing value is
    counted and plays no other part; an infinite one is refused. Row weights count as repetitions of a row; rows of
    weight 0 are not seen at all.

    Notes
    -----
    model, one entry a column: ``columns`` (packed strings), ``count`` and ``missing`` int64 (rows), ``weight``, ``mean``,
    ``deviation`` (of the population, as ``numpy.std``), ``min``, ``max`` float64; NaN where a column has no value at all.
    Blocks of some thousand rows are summed about their own mean and meet by Chan, Golub and LeVeque (1979), so that a large mean
    costs few digits. Cost: about 5 ns a value.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> source = og.read({"x": np.arange(5.0), "y": [1.0, None, 3.0, None, 5.0]})
    >>> model = og.plan(og.Moments(), source, features=[og.OneHot()], on="serial").run().model
    >>> model.arrays["1/mean"].tolist(), model.arrays["1/missing"].tolist()
    ([2.0, 3.0], [0, 2])
    """

    def begin(self, context: Context, start: State | None = None) -> State:
        if not shape_of(context.schema).names:
            raise BadInput("there is no numeric column", allowed="at least one", todo="Count categories with a one-hot encoder, or read the column as a number.")
        if start is not None:
            raise BadInput("moments do not go on from an earlier model", todo="Read the old and the new rows together.")
        return {}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry else (Pass(fold=_Sums(features=len(shape_of(context.schema).names))),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        found, names = closed[0], shape_of(context.schema).names
        if not np.isfinite(found["spread"]).all():
            name = names[int(np.flatnonzero(~np.isfinite(found["spread"]))[0])]
            raise BadInput(f"the squares of column {name!r} overflow float64", todo="Divide the column by a constant first, or leave it out.")
        return found

    def finish(self, context: Context, carry: State) -> State:
        some = carry["weight"] > 0
        deviation = np.sqrt(carry["spread"] / np.where(some, carry["weight"], 1.0))
        found = {"mean": carry["mean"], "deviation": deviation, "min": carry["min"], "max": carry["max"]}
        counts = {name: carry[name] for name in ("count", "missing", "weight")}
        return pack_strings("columns", shape_of(context.schema).names) | counts | {name: np.where(some, array, np.nan) for name, array in found.items()}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"columns": float(len(carry["count"])), "missing": float(carry["missing"].sum())} if carry else {}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        raise Refused("moments describe columns and predict nothing", todo="`outgrow inspect` shows them; name another learner to predict.")

    def tables(self, model: State, schema: Any) -> dict[str, list[dict[str, Any]]]:
        """The model as rows to print, one a column; None where a column has no value."""
        figures = ("count", "missing", "mean", "deviation", "min", "max")
        rows = [{"column": name, **{figure: model[figure][j].item() for figure in figures}} for j, name in enumerate(unpack_strings("columns", model))]
        return {"columns": [{key: None if value != value else value for key, value in row.items()} for row in rows]}  # noqa: PLR0124 only NaN differs from itself

    def price(self, context: Context) -> Price:
        return Price(state=56 * len(shape_of(context.schema).names))
