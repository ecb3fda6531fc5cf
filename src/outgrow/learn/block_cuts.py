"""The blocks of a linear model on the driver's side: where they lie, and the small sums over what its carry holds of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput
from ..core.learner import Context
from ..core.state import State
from .blocks import shape_of

__all__ = ["SWEEPS", "Cut", "inverted", "mixed", "products_of", "weights_from"]

F64 = npt.NDArray[np.float64]
SWEEPS = ("h0", "h1", "h2")  # weights after the last sweeps, newest first


class Cut(NamedTuple):
    """Features [low, high) of the table, or of the dense columns."""

    table: bool
    low: int
    high: int

    @property
    def width(self) -> int:
        return self.high - self.low


def mixed(carry: State, name: str) -> F64:
    """Weights of a block, or the intercepts ("b"), where the sweep began."""
    first: F64 = carry[f"h0/{name}"]
    for k, share in enumerate(carry["mix"]):
        if share:
            first = first + share * (carry[f"h{k + 1}/{name}"] - carry[f"h0/{name}"])
    return first


def products_of(carry: State, name: str) -> F64:
    """Inner products of the last sweep's weights of a block and of its distances to the earlier ones: (3, 3)."""
    last = carry[f"h0/{name}"].ravel()
    ways = np.stack([last, *(carry[f"{other}/{name}"].ravel() - last for other in SWEEPS[1:])])
    found: F64 = ways @ ways.T
    return found


def inverted(hessian: F64, least: float = 1e-10) -> F64:
    """The inverse of a symmetric matrix without negative eigenvalues; what nothing curves is left as it is.

    Brought to unit diagonal first: what counts as singular does not depend on units.
    """
    curved = np.diag(hessian) > 1e-200
    scale = np.where(curved, 1.0 / np.sqrt(np.where(curved, np.diag(hessian), 1.0)), 0.0)
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    half = vectors / np.sqrt(np.maximum(values, least * values.max(initial=1e-300))) * scale[:, None]
    return np.asarray(half @ half.T)


def weights_from(context: Context, blocks: list[Cut], outs: int, start: State) -> State:
    """Weights of an earlier model by block; BadInput where its shape is another."""
    shape = shape_of(context.schema)
    for name, want in {"table": (shape.width, outs), "dense": (len(shape.names), outs), "intercept": (outs,)}.items():
        if name not in start or start[name].shape != want:
            found = start[name].shape if name in start else "no such array"
            raise BadInput(f"the model to start from has {found} for {name!r}, here it is {want}", todo="Start from a model of the same columns, features and classes.")
    found = {f"w/{i}": start["table" if block.table else "dense"][block.low : block.high].astype(np.float64) for i, block in enumerate(blocks)}
    return found | {"intercept": start["intercept"].astype(np.float64)}
