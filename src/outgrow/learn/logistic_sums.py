"""The sums that logistic regression folds: loss, gradient, and a sample of the Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..core.learner import Fold, Traits
from ..core.state import State
from ..data.batch import Batch
from .blocks import Block, blocks, design_of, refuse_missing

__all__ = ["Sizes", "Sums"]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How the flat weights are laid out: (width + dense) × outs, features first, then `outs` intercepts where there are any."""

    width: int
    dense: int
    outs: int
    intercept: bool

    @property
    def features(self) -> int:
        return self.width + self.dense

    @property
    def flat(self) -> int:
        return (self.features + self.intercept) * self.outs

    @property
    def narrow(self) -> bool:
        """Where a Hessian of all weights saves more passes than it costs (at most 1 MB)."""
        return self.features < 128 and self.flat <= 360

    def stride(self, rows: int) -> int:
        """Every how many rows the Hessian is summed over: so that it costs less than the gradient, and 50 rows a weight remain."""
        return max(1, min(self.outs * (self.outs + 1) * self.features // 8, rows // (50 * self.flat)))

    def cut(self, flat: F64) -> tuple[F64, F64, F64]:
        """Views of flat weights: all features (p, outs), the dense ones among them, intercepts (outs,) or (0,)."""
        main = flat[: self.features * self.outs].reshape(self.features, self.outs)
        return main, main[self.width :], flat[main.size :]


@dataclass(frozen=True, kw_only=True)
class Sums(Fold):
    """Loss and gradient of the rows at ``given["w"]``, summed, and what a rough inverse Hessian is made of.

    state: loss, weight () float64; gradient (flat,); narrow: hessian (outs, p + 1, outs, p + 1) over every `stride`-th row,
    the intercept last, blocks above the diagonal 0, and the weight of those rows, sampled (). In the first pass also counts int64 (K,), mass (outs,), summed
    probabilities, square (p + 1,), summed squares of the features, and seen, the same over the sampled rows.
    """

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    sizes: Sizes
    classes: int
    what: Literal["loss", "gradient", "first"]
    stride: int = 1

    def init(self, given: Mapping[str, Any]) -> State:
        state: State = {"loss": np.zeros(()), "weight": np.zeros(())}
        p, outs = self.sizes.features + 1, self.sizes.outs
        if self.what != "loss":
            state["gradient"] = np.zeros(self.sizes.flat)
            if self.sizes.narrow:
                state |= {"hessian": np.zeros((outs, p, outs, p)), "sampled": np.zeros(())}
        if self.what == "first":
            state |= {"counts": np.zeros(self.classes, np.int64), "mass": np.zeros(outs), "square": np.zeros(p), "seen": np.zeros(p)}
        return state

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        y, rows = batch.target, row_weights(batch, given["by_class"])
        with np.errstate(invalid="ignore", over="ignore"):  # looked for below, by name
            self._sum(state, batch, y, rows, given["w"])
        if self.what == "first":
            state["counts"] += np.bincount(y, minlength=self.classes)
        if not np.isfinite(state["loss"]) or (self.what == "first" and not np.isfinite(state["square"]).all()):
            refuse_missing(batch)
        return state

    def _sum(self, state: State, batch: Batch, y: Any, rows: F64 | None, w: F64) -> None:
        from .kernels.dense import binary_rows, gather, softmax_rows

        sizes, narrow = self.sizes, self.sizes.narrow
        main, dense, intercept = sizes.cut(w)
        used = main if narrow else dense
        sample = _Sample(sizes) if narrow else None
        for block in blocks(design_of(batch), spread=narrow):
            part = slice(block.start, block.stop)
            z = used.T @ block.x.T
            z += intercept[:, None] if sizes.intercept else 0.0
            if not narrow:
                gather(z, block.slots, *block.ragged, main[: sizes.width])
            loss, chance, residual = np.empty(z.shape[1]), np.empty_like(z), np.empty_like(z)
            (binary_rows if sizes.outs == 1 else softmax_rows)(z, y[part], loss, chance, residual)
            row = None if rows is None else rows[part]
            if row is not None:
                loss *= row
                residual *= row
            state["loss"] += loss.sum()
            state["weight"] += len(loss) if row is None else row.sum()
            if self.what == "loss":
                continue
            self._gradient(state["gradient"], block, residual)
            if sample is not None:
                sample.take(state, block.x[:: self.stride], chance[:, :: self.stride], None if row is None else row[:: self.stride])
            if self.what == "first":
                self._first(state, block, chance, row)
        if sample is not None:
            sample.flush(state)

    def _gradient(self, gradient: F64, block: Block, residual: F64) -> None:
        from .kernels.dense import scatter

        main, dense, intercept = self.sizes.cut(gradient)
        (main if self.sizes.narrow else dense)[:] += (residual @ block.x).T
        if self.sizes.intercept:
            intercept += residual.sum(1)
        if not self.sizes.narrow:
            scatter(residual, block.slots, *block.ragged, main[: self.sizes.width], False)

    def _first(self, state: State, block: Block, chance: F64, row: F64 | None) -> None:
        from .kernels.dense import scatter

        p, width, square = self.sizes.features, self.sizes.width, state["square"]
        row = np.ones(chance.shape[1]) if row is None else row
        state["mass"] += chance @ row
        square[p] += row.sum()
        square[p - block.x.shape[1] : p] += row @ (block.x * block.x)
        if not self.sizes.narrow:
            scatter(row[None], block.slots, *block.ragged, square[:width, None], True)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        for name, array in right.items():
            left[name] += array
        return left


class _Sample:
    """Rows of one batch gathered into a full block before the Hessian of all pairs of outputs is summed over them."""

    def __init__(self, sizes: Sizes) -> None:
        from .kernels.dense import BLOCK

        self.sizes, self.filled = sizes, 0
        self.x, self.chance, self.row = np.empty((BLOCK, sizes.features)), np.empty((sizes.outs, BLOCK)), np.empty(BLOCK)

    def take(self, state: State, x: F64, chance: F64, row: F64 | None) -> None:
        """Add rows x (n, p) with probabilities (outs, n) and weights (n,)."""
        if self.filled + len(x) > len(self.x):
            self.flush(state)
        part = slice(self.filled, self.filled + len(x))
        self.x[part], self.chance[:, part], self.row[part] = x, chance, 1.0 if row is None else row
        self.filled = part.stop

    def flush(self, state: State) -> None:
        """Add sum over rows of (p_k (k = l) - p_k p_l) x xᵀ for every pair of outputs k >= l: one product of matrices a pair."""
        if not self.filled:
            return
        outs, p = self.sizes.outs, self.sizes.features
        x, chance, row = self.x[: self.filled], self.chance[:, : self.filled], self.row[: self.filled]
        self.filled = 0
        state["sampled"] += row.sum()
        if "seen" in state:
            state["seen"][:p] += row @ (x * x)
        for k in range(outs):
            for j in range(k + 1):
                curve = row * chance[k] * ((k == j) - chance[j])
                block = state["hessian"][k, :, j, :]
                block[:p, :p] += (x * curve[:, None]).T @ x
                edge = curve @ x
                block[p, :p] += edge
                block[:p, p] += edge
                block[p, p] += curve.sum()


def row_weights(batch: Batch, by_class: F64) -> F64 | None:
    """float64 (n,): row weights times class weights; None where all are 1."""
    weight = batch.weight
    if bool((by_class == 1.0).all()):
        return None if weight is None else np.asarray(weight)
    of_class: F64 = by_class[batch.target]
    both: F64 = of_class if weight is None else of_class * weight
    return both
