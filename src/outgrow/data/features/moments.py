"""Count, mean, spread and size of numeric columns in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.learner import Fold
from ...core.state import State
from ..batch import Batch
from .blocks import dense_block

__all__ = ["Spread"]


@dataclass(frozen=True)
class Spread(Fold):
    """Moments of m numeric columns over their present values; row weights play no part.

    State: ``count`` int64 (m,), ``mean`` and ``m2`` (sum of squared deviations) float64 (m,), ``largest`` float64 (m,),
    the largest absolute value. Rows are taken one by one (Welford 1962), so that the size of batches changes no bit; states meet by
    Chan, Golub and LeVeque (1979), so other shards give other last bits. Cost: about 3 ns a value.
    Raises BadInput for an infinite value.
    """

    columns: tuple[str, ...]

    def init(self, given: Mapping[str, Any]) -> State:
        m = len(self.columns)
        return {"count": np.zeros(m, np.int64), "mean": np.zeros(m), "m2": np.zeros(m), "largest": np.zeros(m)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels import welford

        state = {name: array.copy() for name, array in state.items()}
        welford(dense_block(batch, self.columns, np.float64), state["count"], state["mean"], state["m2"], state["largest"])
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        a, b = left["count"], right["count"]
        total = a + b
        share = b / np.maximum(total, 1)
        apart = right["mean"] - left["mean"]
        mean = left["mean"] + apart * share
        with np.errstate(over="ignore", invalid="ignore"):  # looked for, by name, where the sums are used
            m2 = left["m2"] + right["m2"] + apart * apart * (a * share)
        alone = [(a == 0, right), (b == 0, left)]  # exact where one side is empty
        for where, side in alone:
            mean, m2 = np.where(where, side["mean"], mean), np.where(where, side["m2"], m2)
        return {"count": total, "mean": mean, "m2": m2, "largest": np.maximum(left["largest"], right["largest"])}
