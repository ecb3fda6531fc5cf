"""What neural networks fold: gradients of rows, and whole steps inside one lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..core.learner import Fold, Traits
from ..core.state import State
from ..data.batch import Batch
from .blocks import NOTHING, blocks, design_of, refuse_missing, weights_of
from .logistic_sums import row_weights

__all__ = ["Gradients", "Losses", "Net", "Steps", "advance"]

F64 = npt.NDArray[np.float64]
Update = Literal["adam", "sgd"]
_BETA1, _BETA2 = 0.9, 0.999
_KINDS = ("relu", "tanh", "logistic")


@dataclass(frozen=True, kw_only=True, slots=True)
class Net:
    """The layers of a network, and how their weights lie in one flat array: of each layer weights (in, out), then its bias (out,).

    units: columns, hidden units of each layer, outputs. classes: 0 for a number, learned in `unit`s: (distance from the first) / the second. l2: as in the learner.
    """

    units: tuple[int, ...]
    activation: str
    classes: int
    l2: float

    @property
    def flat(self) -> int:
        return sum(a * b + b for a, b in pairwise(self.units))

    def cut(self, flat: F64) -> list[tuple[F64, F64]]:
        """Views of flat weights: (weights, bias) of each layer."""
        found, at = [], 0
        for a, b in pairwise(self.units):
            found.append((flat[at : at + a * b].reshape(a, b), flat[at + a * b : at + a * b + b]))
            at += a * b + b
        return found

    def penalty(self, w: F64) -> float:
        """l2 / 2 times the squared weights, biases left out."""
        return 0.5 * self.l2 * sum(float(weights.ravel() @ weights.ravel()) for weights, _ in self.cut(w)) if self.l2 else 0.0

    def outputs(self, values: list[F64], w: F64) -> F64:
        """What the last layer gives, (outs, n); values[0] is the rows as columns, (p, n), and what hidden layers give is added to the list."""
        from .kernels.network import activate

        layers, kind = self.cut(w), _KINDS.index(self.activation)
        for weights, bias in layers[:-1]:
            z = weights.T @ values[-1]
            activate(kind, z, bias)
            values.append(z)
        weights, bias = layers[-1]
        z = weights.T @ values[-1]
        z += bias[:, None]
        return z

    def judged(self, z: F64, y: Any) -> tuple[F64, F64]:
        """Loss (n,) of the outputs z and its derivative by them, (outs, n)."""
        from .kernels.dense import binary_rows, softmax_rows

        if not self.classes:
            residual = z - y
            return 0.5 * residual[0] ** 2, residual
        loss, residual = np.empty(z.shape[1]), np.empty_like(z)
        (binary_rows if len(z) == 1 else softmax_rows)(z, y, loss, np.empty_like(z), residual)
        return loss, residual

    def add(self, x: F64, y: Any, row: F64, w: F64, gradient: F64) -> tuple[float, float]:
        """Add the gradient of rows x (n, p) to `gradient`; returns their summed loss and weight. Cost: 6 flops a row and weight."""
        from .kernels.network import bend

        kind, values = _KINDS.index(self.activation), [x.T]
        loss, back = self.judged(self.outputs(values, w), y)
        if len(row):
            loss *= row
            back *= row
        layers, sums = self.cut(w), self.cut(gradient)
        for level in range(len(layers) - 1, -1, -1):
            sums[level][0][:] += values[level] @ back.T
            sums[level][1][:] += back.sum(1)
            if level:
                back = layers[level][0] @ back
                bend(kind, values[level], back)
        return float(loss.sum()), float(row.sum()) if len(row) else float(len(x))

    def aimed(self, batch: Batch, given: Mapping[str, Any]) -> tuple[Any, F64]:
        """Targets, numbers in their unit, and row weights (n,), or (0,) where all are 1."""
        if not self.classes:
            return (batch.target - given["unit"][0]) / given["unit"][1], weights_of(batch)
        found = row_weights(batch, given["by_class"])
        return batch.target, NOTHING if found is None else found


def advance(net: Net, update: Update, rate: float, momentum: float, own: State, gradient: F64, weight: float) -> None:
    """One step of the optimizer by a summed gradient, which it uses up: changes w, first, second and steps of `own`, and adds the penalty to its loss."""
    from .kernels.network import adam_step, momentum_step

    if not weight > 0:
        return
    own["loss"] += net.penalty(own["w"])
    if net.l2:
        for (weights, _), (sums, _) in zip(net.cut(own["w"]), net.cut(gradient), strict=True):
            np.add(sums, net.l2 * weights, out=sums)
    gradient /= weight
    own["steps"] += 1
    steps = int(own["steps"])
    if update == "adam":
        adam_step(own["w"], gradient, own["first"], own["second"], rate * float(np.sqrt(1 - _BETA2**steps)) / (1 - _BETA1**steps), _BETA1, _BETA2)
    else:
        momentum_step(own["w"], gradient, own["first"], rate, momentum)


@dataclass(frozen=True, kw_only=True)
class Gradients(Fold):
    """Loss and gradient of the rows at ``given["w"]``. state: loss, weight (); gradient (flat,)."""

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    net: Net

    def init(self, given: Mapping[str, Any]) -> State:
        return {"loss": np.zeros(()), "weight": np.zeros(()), "gradient": np.zeros(self.net.flat)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        y, rows = self.net.aimed(batch, given)
        with np.errstate(invalid="ignore", over="ignore"):  # looked for here and by the learner, by name
            for block in blocks(design_of(batch), spread=True):
                if not np.isfinite(block.x.sum()):
                    refuse_missing(batch)
                part = slice(block.start, block.stop)
                loss, weight = self.net.add(block.x, y[part], rows[part], given["w"], state["gradient"])
                state["loss"] += loss
                state["weight"] += weight
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        with np.errstate(invalid="ignore", over="ignore"):  # looked for by the learner
            for name, array in right.items():
                left[name] += array
        return left


@dataclass(frozen=True, kw_only=True)
class Losses(Fold):
    """The loss of the rows at ``given["w"]``. state: loss, weight ()."""

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    net: Net

    def init(self, given: Mapping[str, Any]) -> State:
        return {"loss": np.zeros(()), "weight": np.zeros(())}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        y, rows = self.net.aimed(batch, given)
        with np.errstate(invalid="ignore", over="ignore"):
            for block in blocks(design_of(batch), spread=True):
                if not np.isfinite(block.x.sum()):
                    refuse_missing(batch)
                row = rows[block.start : block.stop]
                loss, _ = self.net.judged(self.net.outputs([block.x.T], given["w"]), y[block.start : block.stop])
                state["loss"] += row @ loss if len(row) else loss.sum()
                state["weight"] += row.sum() if len(row) else len(loss)
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        with np.errstate(invalid="ignore", over="ignore"):  # looked for by the learner
            return {name: left[name] + right[name] for name in left}


@dataclass(frozen=True, kw_only=True)
class Steps(Fold):
    """Steps of `step_rows` rows each, one after another in one lane, however rows come in batches.

    state: w, first, second (flat,) and steps () of the optimizer; loss, weight () since the start of the pass; gradient (flat,), begun () and rows () int64: sum,
    weight and rows of the step under way.
    """

    traits: ClassVar[Traits] = Traits(chain=True)
    encoded: ClassVar[bool] = True
    net: Net
    step_rows: int
    update_by: Update
    rate: float
    momentum: float

    def init(self, given: Mapping[str, Any]) -> State:
        state: State = {name: given[name].copy() for name in ("w", "first", "second", "steps")}
        none = {name: np.zeros(()) for name in ("loss", "weight", "begun")}
        return state | none | {"gradient": np.zeros(self.net.flat), "rows": np.zeros((), np.int64)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        y, rows = self.net.aimed(batch, given)
        with np.errstate(invalid="ignore", over="ignore"):  # looked for here and by the learner, by name
            for block in blocks(design_of(batch), spread=True):
                if not np.isfinite(block.x.sum()):
                    refuse_missing(batch)
                self._block(state, block.x, y[block.start : block.stop], rows[block.start : block.stop])
        return state

    def _block(self, state: State, x: F64, y: Any, row: F64) -> None:
        at = 0
        while at < len(x):
            part = slice(at, min(len(x), at + self.step_rows - int(state["rows"])))
            loss, weight = self.net.add(x[part], y[part], row[part], state["w"], state["gradient"])
            state["loss"] += loss
            state["weight"] += weight
            state["begun"] += weight
            state["rows"] += part.stop - at
            at = part.stop
            if state["rows"] == self.step_rows:
                self.close(state)

    def close(self, state: State) -> None:
        """Take the step under way; changes the state."""
        with np.errstate(invalid="ignore", over="ignore"):
            advance(self.net, self.update_by, self.rate, self.momentum, state, state["gradient"], float(state["begun"]))
        state["gradient"][:] = 0.0
        state["begun"], state["rows"] = np.zeros(()), np.zeros((), np.int64)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        raise NotImplementedError("a chain has one lane, which meets no other")
