"""Your own learner, in one pass: each class becomes the mean of its rows, and a row goes to the nearest mean.

outgrow check examples/nearest_centroid.py:NearestCentroid
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import outgrow as og
from outgrow.core.errors import BadInput

Arrays = dict[str, Any]


def numbers(batch: Any) -> Any:
    """The numeric columns: float64 (n, p)."""
    x = batch.matrix()
    if not np.isfinite(x).all():
        raise BadInput("a value is missing or infinite", where=batch.place, todo="Put Missing() before this learner.")
    return x


@dataclass(frozen=True)
class Sums(og.Fold):
    """The weight of each class, and its weighted sum of rows."""

    def init(self, given: Mapping[str, Any]) -> Arrays:
        return {"sum": np.zeros(given["shape"]), "weight": np.zeros(given["shape"][0])}

    def update(self, state: Arrays, batch: Any, given: Mapping[str, Any]) -> Arrays:
        weight = np.ones(batch.rows) if batch.weight is None else batch.weight
        member = weight * (np.arange(given["shape"][0])[:, None] == batch.target)
        return {"sum": state["sum"] + member @ numbers(batch), "weight": state["weight"] + member.sum(axis=1)}

    def merge(self, left: Arrays, right: Arrays, given: Mapping[str, Any]) -> Arrays:
        return {name: left[name] + right[name] for name in left}


@dataclass(frozen=True)
class NearestCentroid(og.Learner):
    """Classes by the nearest mean."""

    def begin(self, context: og.Context, start: Arrays | None = None) -> Arrays:
        shape = len(context.schema.classes), len(context.schema.inputs)
        return {"shape": np.array(shape), "centres": np.zeros(shape), "done": np.array(0)}

    def ask(self, context: og.Context, carry: Arrays) -> tuple[og.Pass, ...]:
        return () if carry["done"] else (og.Pass(fold=Sums(), given={"shape": carry["shape"]}),)

    def tell(self, context: og.Context, carry: Arrays, closed: tuple[Arrays, ...]) -> Arrays:
        sums = closed[0]
        return {**carry, "centres": sums["sum"] / sums["weight"][:, None], "done": np.array(1)}

    def finish(self, context: og.Context, carry: Arrays) -> Arrays:
        return {"centres": carry["centres"]}

    def predict(self, model: Arrays, batch: Any) -> dict[str, Any]:
        far = ((numbers(batch)[:, None, :] - model["centres"]) ** 2).sum(axis=2)
        return {"prediction": np.array(batch.schema.classes)[far.argmin(axis=1)]}
