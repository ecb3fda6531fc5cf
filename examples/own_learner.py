"""Your own learner: Poisson regression by Newton steps, for counts. Hold it against the laws:

outgrow check examples/own_learner.py:Poisson
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import outgrow as og
from outgrow.core.errors import BadField, BadInput

Arrays = dict[str, Any]


def inputs(batch: Any) -> Any:
    """All numeric columns and a 1: float64 (n, p + 1)."""
    x = np.hstack([batch.matrix(), np.ones((batch.rows, 1))])
    if not np.isfinite(x).all():
        raise BadInput("a value is missing or infinite", where=batch.place, todo="Put Missing() before this learner.")
    return x


@dataclass(frozen=True)
class Newton(og.Fold):
    """One pass: gradient (p,) and Hessian (p, p) of the log likelihood at given["w"], summed over rows."""

    def init(self, given: Mapping[str, Any]) -> Arrays:
        return {"gradient": np.zeros(len(given["w"])), "hessian": np.zeros((len(given["w"]),) * 2)}

    def update(self, state: Arrays, batch: Any, given: Mapping[str, Any]) -> Arrays:
        x = inputs(batch)
        weight = np.ones(batch.rows) if batch.weight is None else batch.weight
        rate = np.exp(np.minimum(x @ given["w"], 50.0))
        return {"gradient": state["gradient"] + x.T @ (weight * (batch.target - rate)), "hessian": state["hessian"] + x.T @ ((weight * rate)[:, None] * x)}

    def merge(self, left: Arrays, right: Arrays, given: Mapping[str, Any]) -> Arrays:
        return {name: left[name] + right[name] for name in left}


@dataclass(frozen=True)
class Poisson(og.Learner):
    """Counts with rate exp(x·w). rounds: passes over the rows; ridge: shrinkage, added to the Hessian's diagonal."""

    rounds: int = 8
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        for name, good in (("rounds", self.rounds >= 1), ("ridge", 0 < self.ridge < 1e6)):
            if not good:
                raise BadField(f"{name} is {getattr(self, name)}", where=name, allowed="above 0")

    def begin(self, context: og.Context, start: Arrays | None = None) -> Arrays:
        return {"w": start["w"] if start else np.zeros(len(context.schema.inputs) + 1), "round": np.array(0)}

    def ask(self, context: og.Context, carry: Arrays) -> tuple[og.Pass, ...]:
        return (og.Pass(fold=Newton(), given={"w": carry["w"]}),) if carry["round"] < self.rounds else ()

    def tell(self, context: og.Context, carry: Arrays, closed: tuple[Arrays, ...]) -> Arrays:
        w, sums = carry["w"], closed[0]
        if not all(np.isfinite(array).all() for array in sums.values()):
            raise BadInput("the values are too large to learn from", todo="Put Scale() before this learner.")
        step = np.linalg.solve(sums["hessian"] + self.ridge * np.eye(len(w)), sums["gradient"] - self.ridge * w)
        return {"w": w + np.clip(step, -1.0, 1.0), "round": carry["round"] + 1}

    def finish(self, context: og.Context, carry: Arrays) -> Arrays:
        return {"w": carry["w"]}

    def predict(self, model: Arrays, batch: Any) -> Arrays:
        return {"rate": np.exp((inputs(batch) * model["w"]).sum(axis=1))}

    def example(self, seed: int) -> Any:
        """Rows for `outgrow check`, which would make up rows of its own if this were not here."""
        random = np.random.default_rng(seed)
        age, km = random.normal(size=600), random.normal(size=600)
        return og.read({"age": age, "km": km, "repairs": random.poisson(np.exp(0.4 * age + 0.1 * km))}, target="repairs", task="number")
