"""The losses of boosted trees: where scores begin, what bounds gradients, how a score becomes a prediction. Their slopes are in `kernels.histograms`.

Whole gradients need a scale: the largest there may be. For some losses it is known before the gradients are (chances; steps of a bounded size), for some it follows from the
tree before (squares, Poisson); the others are `measured`: one more pass a tree finds the largest, which no order of the rows changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.errors import BadInput
from ...core.state import State

__all__ = ["LOSSES", "Loss", "predicted"]

F64 = npt.NDArray[np.float64]
LOSSES = ("logistic", "softmax", "squared", "poisson", "absolute", "quantile", "huber", "tweedie", "lambdarank")  # places as in kernels/histograms
_CHANCES = ("logistic", "softmax")
_COUNTS = ("poisson", "tweedie")
_STEP = float(np.exp(0.7))  # Poisson's hessian is as large a step ahead


@dataclass(frozen=True, slots=True)
class Loss:
    """One of `LOSSES`. constant: the share of "quantile", the bound of "huber", the power of "tweedie"; 0 for the others."""

    name: str
    constant: float = 0.0

    @property
    def place(self) -> int:
        return LOSSES.index(self.name)

    @property
    def of_classes(self) -> bool:
        return self.name in _CHANCES

    @property
    def measured(self) -> bool:
        """True where only a pass over the rows can tell how large gradients are."""
        return self.name in ("tweedie", "lambdarank")

    @property
    def share(self) -> float | None:
        """The share of residuals that a leaf's value is to leave below it, where values are such quantiles; None where they are Newton's steps."""
        return {"absolute": 0.5, "quantile": self.constant}.get(self.name)

    def begun(self, found: State, column: str) -> State:
        """base (1,), the score before the first tree, of a loss of numbers; bounds (2,) of gradient and hessian; unit, that losses of rows held out are multiplied by.

        found: low, high, heaviest and mean of target and weight. base is 0 where a quantile is still to be found.
        """
        low, high, mean, heaviest = (float(found[name]) for name in ("low", "high", "mean", "heaviest"))
        if self.name in _COUNTS and (low < 0 or not mean > 0):
            raise BadInput(f"loss {self.name!r} needs a target of 0 or more, and some above 0", where=f"column {column!r}", todo="Use loss='squared'.")
        base = np.log(mean) if self.name in _COUNTS else 0.0 if self.share is not None or self.name == "lambdarank" else mean
        wide = max(high - mean, mean - low)
        step = {"absolute": 1.0, "quantile": max(self.constant, 1.0 - self.constant), "huber": self.constant}.get(self.name, wide)
        flat = {"poisson": mean * _STEP, "tweedie": mean}.get(self.name, 1.0)
        with np.errstate(over="ignore"):  # such a target is refused by the learner
            far, size = np.float64(wide), np.float64(abs(mean))
            usual = {"squared": far * far, "huber": self.constant * far, "poisson": size, "tweedie": size ** (2.0 - self.constant)}.get(self.name, far)
        return {"base": np.array([base]), "bounds": heaviest * np.array([step, flat]), "unit": np.array(2.0 ** -np.ceil(np.log2(max(usual, 1e-300))))}

    def rescaled(self, carry: State, moved: float) -> F64:
        """bounds (2,) of the next tree, from what gradients were and how far scores have moved since."""
        heaviest = float(carry["heaviest"])
        if self.name == "squared":
            return np.array([float(carry["top"]) + heaviest * moved, heaviest])
        rate = float(np.exp(min(float(carry["peak"]) + moved, 600.0)))
        return np.array([heaviest * max(rate, float(carry["high"])), heaviest * rate * _STEP])

    @property
    def steady(self) -> bool:
        """True where the first bounds hold for all trees."""
        return self.name not in ("squared", "poisson")


def predicted(name: str | None, scores: F64) -> F64:
    """Scores (n,) of a loss of numbers as its predictions."""
    return np.exp(scores) if name in _COUNTS else scores
