"""Linear regression: exact least squares and ridge from sums of products, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput, Refused
from ..core.learner import SHARDS, Context, Cover, Fold, Learner, Pass, Price, Traits
from ..core.state import State
from ..data.batch import Batch, Design, aligned_empty
from .blocks import blocks, design_of, refuse_missing, shape_of, weights_of

__all__ = ["LinearRegression", "solve"]

F64 = npt.NDArray[np.float64]
_WIDEST = 2048  # columns: 34 MB of products a state, and some seconds to solve for
_WIDE = 1 << 20  # bytes of a state above which few lanes are used
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class _Products(Fold):
    """Sums of products of all pairs of columns; the last dense one is the target.

    state, float64: weight (); mean (q,) and moments (q, q), about the mean, of the q dense columns; for the table's slots, raw: sums
    (width,), squares (width,) and pairs (width, width), as `kernels.sums.products` has them; cross (width, q), of slots and dense columns about their mean.
    """

    traits: ClassVar[Traits] = Traits()
    width: int
    dense: int  # with the target

    def init(self, given: Mapping[str, Any]) -> State:
        width, q = self.width, self.dense
        state: State = {"weight": np.zeros(()), "mean": np.zeros(q), "moments": np.zeros((q, q))}
        return state | {"sums": np.zeros(width), "squares": np.zeros(width), "pairs": np.zeros((width, width)), "cross": np.zeros((width, q))}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.dense import BLOCK
        from .kernels.sums import products

        design, y, weight = design_of(batch), batch.target, weights_of(batch)
        total = float(weight.sum()) if len(weight) else float(batch.rows)
        if not total > 0:
            return state
        q = self.dense
        own: State = {"weight": np.array(total), "moments": np.zeros((q, q)), "sums": np.zeros(self.width), "cross": np.zeros((self.width, q))}
        rest = np.zeros(q)
        scratch = aligned_empty((min(BLOCK, batch.rows), q), np.float64)
        add = products() if self.width else None
        with np.errstate(invalid="ignore", over="ignore"):  # looked for below, by name
            mean = _mean(design, y, weight, total)
            for block in blocks(design, spread=False):
                part = slice(block.start, block.stop)
                z, row = scratch[: block.stop - block.start], weight[part]
                np.subtract(block.x, mean[:-1], out=z[:, :-1])
                np.subtract(y[part], mean[-1], out=z[:, -1])
                root = np.sqrt(row) if len(row) else np.ones(len(z))
                if len(row):
                    z *= root[:, None]
                rest += root @ z
                own["moments"] += z.T @ z  # of a matrix by itself: BLAS sums one half
                if add is not None:
                    add(block.slots, *block.ragged, row if len(row) else root, root, z, own["sums"], state["squares"], state["pairs"], own["cross"])
            # what rounding left in the sums about the mean (Chan, Golub and LeVeque 1983)
            own["moments"] -= np.outer(rest, rest / total)
            own["cross"] -= np.outer(own["sums"], rest / total)
            own["mean"] = mean + rest / total
        if not (np.isfinite(own["moments"]).all() and np.isfinite(state["squares"]).all()):
            refuse_missing(batch)
        return self._meet(state, own)

    def _meet(self, left: State, right: State) -> State:
        """All that is about a mean, and what it depends on."""
        if left["weight"] == 0:  # exact
            return left | {name: right[name] for name in ("weight", "mean", "moments", "sums", "cross")}
        a, b = left["weight"], right["weight"]
        total = a + b
        with np.errstate(invalid="ignore", over="ignore"):
            apart = right["mean"] - left["mean"]
            left["moments"] += right["moments"] + np.outer(apart, apart * (a * (b / total)))
            left["cross"] += right["cross"] + np.outer(right["sums"] * (a / total) - left["sums"] * (b / total), apart)
            mean = left["mean"] + apart * (b / total)
        left["sums"] += right["sums"]
        return left | {"weight": np.asarray(total), "mean": mean}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        left["squares"] += right["squares"]
        left["pairs"] += right["pairs"]
        return self._meet(left, right) if right["weight"] > 0 else left


def _mean(design: Design, y: F64, weight: F64, total: float) -> F64:
    """The weighted mean of the dense columns and the target: (q,)."""
    mean = np.zeros(design.dense.shape[1] + 1)
    for block in blocks(design, spread=False):
        row = weight[block.start : block.stop]
        mean[:-1] += row @ block.x if len(row) else block.x.sum(0)
    mean[-1] = weight @ y if len(weight) else y.sum()
    return mean / total


@dataclass(frozen=True, kw_only=True)
class LinearRegression(Learner):
    """Linear regression by least squares, with an L2 penalty where one is named; exact, in one pass.

    Minimises ``sum_i w_i (y_i - x_i · coefficients - intercept)² + l2 |coefficients|²``, the objective of scikit-learn's
    LinearRegression, and of its Ridge with ``alpha = l2``; the intercept is not penalised.

    Parameters
    ----------
    l2 : float
        Strength of the penalty, at least 0.
    intercept : bool

    Notes
    -----
    model: ``table`` float64 (width, 1), ``dense`` (m, 1), ``intercept`` (1,).

    The pass sums products of all pairs of columns, the dense ones about their mean, so that columns with a large mean or of
    very different sizes lose no digits. Of columns that are linearly dependent (the slots of a one-hot column add up to 1)
    the solution of smallest norm is taken; dependent means: to about 1e-7 of their size. A column that never changes, as a
    slot never seen, has the weight 0.

    Cost: m² + k² + k m sums a row for m dense columns and k table entries a row; states of 8 (m + width)² bytes; up to
    2 048 columns in all.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.arange(10.0)
    >>> source = og.read({"x": x, "y": 3 * x + 1}, target="y")
    >>> model = og.plan(og.LinearRegression(), source, features=[og.OneHot()], on="serial").run().model
    >>> model.arrays["1/dense"].round(9).tolist(), model.arrays["1/intercept"].round(9).tolist()
    ([[3.0]], [1.0])
    """

    l2: float = 0.0
    intercept: bool = True

    def __post_init__(self) -> None:
        if not (np.isfinite(self.l2) and self.l2 >= 0):
            raise BadField(f"{self.l2!r} is out of range", where="l2", allowed="0 or more")

    def widest(self, schema: Any) -> int | None:
        return _WIDEST

    def begin(self, context: Context, start: State | None = None) -> State:
        schema, shape = context.schema, shape_of(context.schema)
        if schema.task != "number":
            found = f"target {schema.target!r} has classes" if schema.target else "there is no target"
            raise BadInput(found, allowed="a target of numbers", todo="Learn classes with LogisticRegression or OnlineLinear, or say that the target is a number.")
        if shape.width + len(shape.names) > _WIDEST:
            raise Refused(
                f"least squares over {shape.width + len(shape.names)} columns",
                allowed=f"up to {_WIDEST}",
                todo='Use OnlineLinear(loss="squared"), or fewer categories or hash bits.',
            )
        if start is not None:
            raise BadInput("least squares needs no model to start from: its solution is exact", todo="Leave the start out, or go on with OnlineLinear.")
        return {}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if carry:
            return ()
        shape = shape_of(context.schema)
        cover: Cover = context.few if self.price(context).lanes else SHARDS
        return (Pass(fold=_Products(width=shape.width, dense=len(shape.names) + 1), cover=cover),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        shape, found = shape_of(context.schema), closed[0]
        total = float(found["weight"])
        if not total > 0:
            raise BadInput("no row has a weight above 0", where="weight")
        _refuse_overflow(found, (*shape.names, context.schema.target))
        level = float(found["mean"][-1])
        if context.rows > 1 and found["moments"][-1, -1] <= total * (32 * _EPS * level) ** 2:
            raise BadInput(f"every row has the same target, {level:g}", where=f"column {context.schema.target!r}", todo="Name another target.")
        moments, mean, still = _assemble(found, about_mean=self.intercept)
        p = len(mean) - 1
        solved, rank = solve(moments[:p, :p], moments[:p, p], self.l2, still[:p])
        left = float(moments[p, p] - solved @ (2.0 * moments[:p, p] - moments[:p, :p] @ solved))
        weights: State = {"table": solved[: shape.width, None], "dense": solved[shape.width :, None]}
        weights["intercept"] = np.array([mean[p] - solved @ mean[:p] if self.intercept else 0.0])
        return weights | {"rank": np.array(rank), "rmse": np.array(np.sqrt(max(left, 0.0) / total))}

    def finish(self, context: Context, carry: State) -> State:
        return {name: carry[name] for name in ("table", "dense", "intercept")}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"rmse": float(carry["rmse"]), "rank": float(carry["rank"])} if carry else {}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` float64 (n,)."""
        from .kernels.dense import gather, margins

        refuse_missing(batch)
        out = np.empty((1, batch.rows))
        for block in blocks(design_of(batch), spread=False):
            z = np.full((1, len(block.x)), model["intercept"][0])
            margins(z, block.x, model["dense"])
            gather(z, block.slots, *block.ragged, model["table"])
            out[:, block.start : block.stop] = z
        return {"prediction": out[0]}

    def price(self, context: Context) -> Price:
        shape = shape_of(context.schema)
        q, width = len(shape.names) + 1, shape.width
        size = 8 * (q * q + q + width * (width + q + 2) + 1)
        return Price(state=size, lanes=context.few.lanes if size > _WIDE else 0)


def _refuse_overflow(found: State, names: tuple[str, ...]) -> None:
    wrong = np.flatnonzero(~np.isfinite(np.diag(found["moments"])))
    if len(wrong) or not np.isfinite(found["squares"]).all():
        what = f"column {names[int(wrong[0])]!r}" if len(wrong) else "a sparse column"
        raise BadInput(f"the squares of {what} overflow float64", todo="Divide the column by a constant first, or leave it out.")


def _assemble(found: State, *, about_mean: bool) -> tuple[F64, F64, npt.NDArray[np.bool_]]:
    """Moments of table slots, dense columns and target, (p + 1, p + 1); their means (p + 1,); and which columns never change (or are 0, where not about the mean)."""
    width, total = len(found["sums"]), float(found["weight"])
    mean = np.concatenate([found["sums"] / total, found["mean"]])
    moments = np.empty((len(mean), len(mean)))
    raw = found["pairs"] + found["pairs"].T
    raw[np.diag_indices(width)] += found["squares"]
    size = np.concatenate([np.diag(raw), np.diag(found["moments"]) + total * found["mean"] ** 2])
    moments[:width, :width] = raw - np.outer(found["sums"], mean[:width])
    moments[:width, width:] = found["cross"]
    moments[width:, :width] = found["cross"].T
    moments[width:, width:] = found["moments"]
    # below this a variance is what rounding left: raw sums lose it against the squares, those about the mean against the mean's own last digit
    noise = np.concatenate([64 * _EPS * size[:width], total * (32 * _EPS * found["mean"]) ** 2])
    still = np.diag(moments) <= noise
    if not about_mean:
        moments += np.outer(mean, mean * total)
        still = size <= 0
    return moments, mean, still


def solve(a: F64, b: F64, l2: float, still: npt.NDArray[np.bool_]) -> tuple[F64, int]:
    """The solution of smallest norm of (a + l2) x = b for a symmetric a (p, p) without negative eigenvalues, and the rank.

    Columns are brought to unit size first, so that neither what counts as dependent nor the accuracy depends on their units; of
    the solutions found then, the one of smallest norm in the units given is the one at right angles to all dependent directions.
    Cost: 10 p³ flops or so.
    """
    x = np.zeros(len(b))
    moving = np.flatnonzero(~still)
    if not len(moving):
        return x, 0
    a = a[np.ix_(moving, moving)]
    a[np.diag_indices_from(a)] += l2
    scale = 1.0 / np.sqrt(np.diag(a))
    values, vectors = np.linalg.eigh(a * np.outer(scale, scale))
    independent = values > 10 * len(moving) * _EPS * values[-1]
    kept = vectors[:, independent]
    found = scale * (kept @ ((kept.T @ (scale * b[moving])) / values[independent]))
    if not independent.all():
        dependent, _ = np.linalg.qr(scale[:, None] * vectors[:, ~independent])
        found -= dependent @ (dependent.T @ found)
    x[moving] = found
    return x, int(independent.sum())
