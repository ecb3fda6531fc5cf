"""Gaussian discriminant analysis, linear and quadratic: one pass, exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from ..core.learner import Context, Learner, Pass, Price
from ..core.state import State
from ..data.batch import Batch
from .blocks import blocks, design_of, refuse_missing, shape_of, table_width
from .class_columns import NEVER, chances_of, class_columns, linear_columns, log_of, log_shares, pairs_of, refuse_classless, refuse_start
from .scatter import WIDEST, Scatter, columns_of, cover_for, refuse_overflow, refuse_weightless, refuse_wide, still_columns

__all__ = ["DiscriminantAnalysis"]

F64 = npt.NDArray[np.float64]
Kind = Literal["linear", "quadratic"]
_LARGEST = 1 << 24  # numbers in the covariances of all classes: 128 MB a state
_DEPENDENT = 1e-8  # eigenvalues of a matrix of correlations below which scikit-learn takes columns for dependent (its tol², 1e-4²)
_EPS = float(np.finfo(np.float64).eps)
_CONSTANT = "Add rows, or columns that change within a class."


@dataclass(frozen=True, kw_only=True)
class DiscriminantAnalysis(Learner):
    """Gaussian discriminant analysis: the rows of a class are normal, with one covariance for all classes (linear) or one each (quadratic).

    The model of scikit-learn's LinearDiscriminantAnalysis and QuadraticDiscriminantAnalysis (Hastie, Tibshirani and
    Friedman 2009, equations 4.9 to 4.12); one pass over the rows.

    Parameters
    ----------
    kind : "linear" or "quadratic"
    shrinkage : float
        From 0 to 1: the covariance C of p columns becomes ``(1 - shrinkage) C + shrinkage trace(C) / p I``.
    priors : mapping of class to share, "uniform" or None
        How likely each class is before a row is seen; None: its share of the rows' weight. Stands for class weights.

    Notes
    -----
    Row weights count as repetitions. A class without rows, or whose rows all weigh 0, is never predicted.

    Covariances are those of the rows at hand, sums over rows divided by rows. Linear, no shrinkage: where columns are linearly dependent (the slots of a one-hot
    column add up to 1; a column that never changes) only independent directions count, as in scikit-learn's svd solver. Named priors move intercepts alone.
    Quadratic: a covariance that is singular is refused; shrinkage mends it.

    model, linear: ``table`` float64 (width, K), ``dense`` (m, K), linear log odds; quadratic: ``factor`` (K, p, p), whose columns span a class's inverse covariance.
    Both: ``mean`` (K, p), table slots before dense columns, ``intercept`` (K,), ``weight`` (K,), that of the rows of each class.

    Cost: p² sums a row and 10 p³ at the end (quadratic: for each class); states of 8 p² bytes (8 K p²). Up to 2 048 columns, and K p² of 16 million.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> source = og.read({"x": [1.0, 2.0, 3.0, 11.0, 12.0, 13.0], "y": ["a", "a", "a", "b", "b", "b"]}, target="y")
    >>> model = og.plan(og.DiscriminantAnalysis(), source, features=[og.OneHot()], on="serial").run().model
    >>> model.arrays["1/dense"].round(9).tolist(), model.predict({"x": [6.5, 7.5]})["prediction"].to_pylist()
    ([[-7.5, 7.5]], ['a', 'b'])
    """

    kind: Kind = "linear"
    shrinkage: float = 0.0
    priors: Any = None

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("kind", self.kind in get_args(Kind), ", ".join(get_args(Kind))),
            ("shrinkage", 0 <= self.shrinkage <= 1, "0 to 1"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)
        pairs_of(self, "priors")

    def _most(self, classes: int) -> int:
        return WIDEST if self.kind == "linear" else min(WIDEST, int((_LARGEST // max(classes, 1)) ** 0.5))

    def widest(self, schema: Any) -> int | None:
        return self._most(len(schema.classes))

    def begin(self, context: Context, start: State | None = None) -> State:
        refuse_classless(context, 2, "Name a target of two or more classes.")
        refuse_start(start, "discriminant analysis")
        p, classes = columns_of(shape_of(context.schema)), len(context.schema.classes)
        if not p:
            raise BadInput("there is no column to learn from", allowed="at least one")
        other = "" if self.kind == "linear" else 'kind="linear", '
        todo = f"Use {other}NaiveBayes or LogisticRegression, or fewer categories or hash bits."
        refuse_wide(f"{self.kind} discriminant analysis of {classes} classes", p, self._most(classes), todo)
        return {}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if carry:
            return ()
        schema = context.schema
        fold = Scatter(columns=columns_of(shape_of(schema)), classes=len(schema.classes), kind="pooled" if self.kind == "linear" else "each")
        return (Pass(fold=fold, cover=cover_for(context, self.price(context).state)),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        found, schema = closed[0], context.schema
        weight = found["weight"]
        refuse_weightless(weight)
        if np.count_nonzero(weight) < 2:
            name = schema.classes[int(weight.argmax())]
            raise BadInput(f"the rows to learn from have one class alone: {name}", where=f"column {schema.target!r}", todo="Add rows of another class.")
        refuse_overflow(found, shape_of(schema).names, self.kind)
        prior = log_shares(context, self.priors, weight)
        model = self._linear(context, found, prior) if self.kind == "linear" else self._quadratic(context, found, prior)
        return model | {"mean": found["mean"], "weight": weight}

    def _shrunk(self, covariance: F64) -> F64:
        """The covariance (p, p) drawn towards a multiple of the identity."""
        p = len(covariance)
        drawn = (1.0 - self.shrinkage) * covariance
        drawn[np.diag_indices(p)] += self.shrinkage * np.trace(covariance) / p
        return drawn

    def _linear(self, context: Context, found: State, prior: F64) -> State:
        weight, mean = found["weight"], found["mean"]
        some, total = weight > 0, float(weight.sum())
        center = weight @ mean / total
        still = still_columns(np.diag(found["scatter"]), np.where(some[:, None], np.abs(mean), 0.0).max(0), total)
        moving = np.flatnonzero(~still)
        scatter = np.zeros_like(found["scatter"])
        scatter[np.ix_(moving, moving)] = found["scatter"][np.ix_(moving, moving)]
        if not len(moving):
            raise BadInput("no column changes within a class", todo=_CONSTANT)
        covariance = self._shrunk(scatter / total)
        kept = moving if not self.shrinkage else np.arange(len(covariance))
        half, _, _ = _half_inverse(covariance[np.ix_(kept, kept)], _DEPENDENT if not self.shrinkage else 0.0)
        away = np.where(some[:, None], mean - center, 0.0)
        seen = away[:, kept] @ half
        weights = np.zeros_like(mean)
        weights[:, kept] = seen @ half.T
        intercept = np.where(some, prior - 0.5 * (seen * seen).sum(1) - weights @ center, NEVER)
        intercept = np.where(prior > NEVER, intercept, NEVER)
        shape = shape_of(context.schema)
        width = table_width(shape)
        table = np.zeros((shape.width, len(weight)))
        table[:width] = weights[:, :width].T
        return {"table": table, "dense": np.ascontiguousarray(weights[:, width:].T), "intercept": intercept}

    def _quadratic(self, context: Context, found: State, prior: F64) -> State:
        weight, mean = found["weight"], found["mean"]
        factor, intercept = np.zeros_like(found["scatter"]), np.full(len(weight), NEVER)
        for k in np.flatnonzero(weight > 0):
            name, p = context.schema.classes[k], mean.shape[1]
            if not weight[k] > 1:
                raise BadInput(f"class {name!r} has rows of a weight of {weight[k]:g} alone, and a covariance needs more than 1 row", todo="Add rows, or leave the class out.")
            scatter = found["scatter"][k]
            still = still_columns(np.diag(scatter), mean[k], weight[k])
            if still.all():
                raise BadInput(f"no column changes within class {name!r}", todo=_CONSTANT)
            scatter = np.where(still[:, None] | still, 0.0, scatter)
            covariance = self._shrunk(scatter / weight[k])
            least = 10 * p * _EPS
            half, size, singular = _half_inverse(covariance, least)
            if singular:
                raise BadInput(
                    f"the covariance of class {name!r} is not full rank ({half.shape[1]} of {p} columns are independent)",
                    where="shrinkage",
                    todo="Raise shrinkage, leave out columns that follow from others, or use kind=\"linear\".",
                )
            factor[k] = half
            intercept[k] = prior[k] - 0.5 * size if prior[k] > NEVER else NEVER
        return {"factor": factor, "intercept": intercept}

    def finish(self, context: Context, carry: State) -> State:
        return dict(carry)

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,): a class; ``probability`` of the second class, or ``probability_<class>`` of each of more than two."""
        if self.kind == "linear":
            return linear_columns(model, batch)
        from .kernels.classed import quadratic

        refuse_missing(batch)
        chances = np.empty((len(model["mean"]), batch.rows))
        for block in blocks(design_of(batch), spread=True):
            z = np.repeat(model["intercept"][:, None], len(block.x), 1)
            quadratic()(block.x, model["mean"], model["factor"], z)
            chances[:, block.start : block.stop] = chances_of(np.maximum(z, NEVER))
        return class_columns(chances, batch.schema.classes)

    def price(self, context: Context) -> Price:
        p, classes = columns_of(shape_of(context.schema)), len(context.schema.classes)
        size = 8 * (classes * (1 + p) + p * p * (1 if self.kind == "linear" else classes))
        return Price(state=size, lanes=cover_for(context, size).lanes)


def _half_inverse(covariance: F64, least: float) -> tuple[F64, float, bool]:
    """A half (p, rank) of the inverse of a covariance, half · halfᵀ, the logarithm of its determinant, and whether it is singular.

    Columns are brought to unit variance first; directions whose eigenvalue there is at most `least` are left out. Cost: 10 p³.
    """
    diagonal = np.diag(covariance)
    moving = diagonal > 0
    scale = np.where(moving, 1.0 / np.sqrt(np.where(moving, diagonal, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(covariance * np.outer(scale, scale))
    kept = values > least
    half = scale[:, None] * (vectors[:, kept] / np.sqrt(values[kept]))
    size = float(log_of(values[kept]).sum() + log_of(diagonal[moving]).sum())
    return half, size, not kept.all()
