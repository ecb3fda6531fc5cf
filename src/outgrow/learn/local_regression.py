"""Locally weighted linear regression: at each of some given points a line of its own, through the rows nearby, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput, Refused
from ..core.learner import SHARDS, Context, Cover, Fold, Learner, Pass, Price, Traits
from ..core.rng import hash64
from ..core.state import State
from ..data.batch import Batch
from .blocks import blocks, design_of, refuse_missing, shape_of, table_width, weights_of
from .linear_regression import solve

__all__ = ["LocallyWeightedRegression"]

F64 = npt.NDArray[np.float64]
_WIDE = 1 << 20  # bytes of a state above which few lanes are used
_FEATURES = 4096
_MOST = 1 << 23  # numbers in all systems
_NOTHING = 1e-290  # a summed weight below this has lost its digits
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class _Gather(Fold):
    """The rows themselves, in order. state: points float64 (rows, p)."""

    traits: ClassVar[Traits] = Traits(bounded=False)
    features: int
    most: int

    def init(self, given: Mapping[str, Any]) -> State:
        return {"points": np.zeros((0, self.features))}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        refuse_missing(batch)
        return self._meet(state["points"], *(block.x.copy() for block in blocks(design_of(batch), spread=True)))

    def _meet(self, *parts: F64) -> State:
        both = np.concatenate(parts)
        _refuse_many(len(both), self.most)
        return {"points": both}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return self._meet(left["points"], right["points"])


@dataclass(frozen=True, kw_only=True)
class _Near(Fold):
    """Weighted sums of products of the columns less ``given["points"]`` (Q, p), the target, and 1. state: moments (Q, p + 2, p + 2)."""

    traits: ClassVar[Traits] = Traits(elementwise=True)
    bandwidth: float

    def init(self, given: Mapping[str, Any]) -> State:
        q, p = given["points"].shape
        return {"moments": np.zeros((q, p + 2, p + 2))}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.gaussian import bells, scaled_squares, weighted_rows

        points, y, weight, moments = given["points"], batch.target, weights_of(batch), state["moments"]
        q, p = points.shape
        centers, scale = np.hstack([points, np.zeros((q, 1))]), np.full_like(points, 1.0 / self.bandwidth)
        scale *= scale
        with np.errstate(invalid="ignore", over="ignore"):  # looked for by name
            for block in blocks(design_of(batch), spread=True):
                if not np.isfinite(block.x.sum()):  # an infinite value would be far from every point, and go unseen
                    refuse_missing(batch)
                both = np.column_stack([block.x, y[block.start : block.stop]])
                mass, out = np.empty((q, len(both))), np.empty((len(both), p + 2))
                scaled_squares(np.ascontiguousarray(block.x.T), points, scale, mass)
                bells(mass, weight[block.start : block.stop])
                for k in range(q):
                    part = out[: weighted_rows(both, centers[k], mass[k], 0.0, out)]
                    moments[k] += part.T @ part  # of a matrix by itself: BLAS sums one half
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        with np.errstate(invalid="ignore", over="ignore"):  # looked for by the learner
            left["moments"] += right["moments"]
        return left


@dataclass(frozen=True, kw_only=True)
class LocallyWeightedRegression(Learner):
    """Locally weighted linear regression (Cleveland 1979; Chu and others 2006), fitted at the points named and nowhere else.

    At each point q it minimises ``sum_i w_i e^(-|x_i - q|² / (2 bandwidth²)) (y_i - level - slopes · (x_i - q))² + l2 |slopes|²``, a system of its own; the
    prediction is the level. Other points are refused by `predict`: what lies between would need the rows themselves.

    Parameters
    ----------
    points : tuple of tuples of float, or str
        Where to fit: a value for each column of the design, table slots before dense columns, after all features (scaled, where they are scaled). Or the
        name of another source of the job, whose rows are the points and pass through the same features. An array is given as the start,
        ``start={"points": array}``, which counts before this field.
    bandwidth : float
        Distance from a point at which a row counts e^(-1/2), in units of the design: scale the columns first.
    l2 : float
        Strength of the penalty on slopes, at least 0.

    Notes
    -----
    model: ``points`` float64 (Q, p), ``prediction`` (Q,), ``slopes`` (Q, p), ``reach`` (Q,), the summed weight of the rows as each point sees them.

    Columns that do not vary near a point have the slope 0 there, dependent ones the solution of smallest norm; a point that a single row reaches takes its value.
    A point that no row reaches is an error. Cost: p² + 6 p flops a row and point; states of 8 Q (p + 2)² bytes, up to 64 MB.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.linspace(-3, 3, 200)
    >>> source = og.read({"x": x, "y": np.abs(x)}, target="y")
    >>> learner = og.LocallyWeightedRegression(points=((-2.0,), (2.0,)), bandwidth=0.2)
    >>> model = og.plan(learner, source, features=[og.OneHot()], on="serial").run().model
    >>> model.arrays["1/prediction"].round(6).tolist(), model.arrays["1/slopes"].round(6).tolist()
    ([2.0, 2.0], [[-1.0], [1.0]])
    """

    points: Any = ()
    bandwidth: float = 1.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.points, str):
            try:
                found = tuple(tuple(float(value) for value in point) for point in self.points)
            except (TypeError, ValueError):
                raise BadField(f"{self.points!r} is no list of points", where="points", allowed="tuples of numbers, or the name of a source") from None
            if len({len(point) for point in found}) > 1 or not all(np.isfinite(point).all() for point in found):
                raise BadField("points differ in length or hold a value that is not finite", where="points", allowed="tuples of as many finite numbers each")
            object.__setattr__(self, "points", found)
        for name, good, allowed in (
            ("bandwidth", 1e-150 < self.bandwidth < 1e150, "above 1e-150, below 1e150"),
            ("l2", 0 <= self.l2 < np.inf, "0 or more"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    def widest(self, schema: Any) -> int | None:
        return _FEATURES

    def begin(self, context: Context, start: State | None = None) -> State:
        schema, p = context.schema, _features(context)
        if schema.task != "number":
            found = f"target {schema.target!r} has classes" if schema.target else "there is no target"
            raise BadInput(found, allowed="a target of numbers", todo="Learn classes with LogisticRegression, or say that the target is a number.")
        if not 1 <= p <= _FEATURES:
            raise Refused(f"local regression over {p} features", allowed=f"1 to {_FEATURES}", todo="Use fewer one-hot categories or bits, or leave wide columns out.")
        if start is None and isinstance(self.points, str):
            return {}
        if start is not None and "points" not in start:
            raise BadInput("the start has no array 'points'", allowed="points: float64 (Q, p)")
        points = np.array(self.points if start is None else start["points"], np.float64)
        if not points.size:
            raise BadInput("there are no points to fit at", where="points", todo='Name them: points=((1.0, 2.0), …), or start={"points": array}.')
        if points.ndim != 2 or points.shape[1] != p:
            raise BadInput(f"the points have shape {points.shape}, the rows {p} columns", where="points", allowed=f"(points, {p})", todo=_columns(context))
        if not np.isfinite(points).all():
            raise BadInput("a point has a value that is not finite", where="points", allowed="finite numbers")
        _refuse_many(len(points), _MOST // (p + 2) ** 2)
        return {"points": points + 0.0}  # no -0.0: rows are compared by their bits

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if "prediction" in carry:
            return ()
        if "points" not in carry:
            p = _features(context)
            return (Pass(fold=_Gather(features=p, most=_MOST // (p + 2) ** 2), source=self.points),)
        cover: Cover = context.few if carry["points"].shape[0] * (carry["points"].shape[1] + 2) ** 2 * 8 > _WIDE else SHARDS
        return (Pass(fold=_Near(bandwidth=self.bandwidth), given={"points": carry["points"]}, cover=cover),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        if "points" not in carry:
            if not len(closed[0]["points"]):
                raise BadInput("there are no points to fit at", where=f"source {self.points!r}", allowed="one row or more")
            return {"points": closed[0]["points"] + 0.0}
        moments = closed[0]["moments"]
        reach = moments[:, -1, -1]
        if not np.isfinite(moments).all():
            raise BadInput("the squares of the columns or of the target overflow float64", todo="Divide large values by a constant first, or leave the column out.")
        lost = np.flatnonzero(reach < _NOTHING)
        if len(lost):
            what = f"no row with a weight above 0 is near point {int(lost[0])}" + (f" ({len(lost)} such points)" if len(lost) > 1 else "")
            raise BadInput(what, where="points", todo=f"Raise bandwidth (now {self.bandwidth:g}), scale the columns first, or leave such points out.")
        found = [_line(own, self.l2) for own in moments]
        return carry | {"prediction": np.array([level for level, _ in found]), "slopes": np.array([slopes for _, slopes in found]), "reach": reach.copy()}

    def finish(self, context: Context, carry: State) -> State:
        return {name: carry[name] for name in ("points", "prediction", "slopes", "reach")}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"points": float(len(carry["reach"])), "least_reach": float(carry["reach"].min())} if "reach" in carry else {}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` float64 (n,). Raises Refused, naming the first row that is none of the points."""
        refuse_missing(batch)
        names = _names(model["points"])
        order = np.argsort(names, kind="stable")
        prediction = np.empty(batch.rows)
        for block in blocks(design_of(batch), spread=True):
            x = block.x + 0.0
            place = order[np.searchsorted(names[order], _names(x)).clip(0, len(order) - 1)]
            same = (model["points"][place] == x).all(1)
            if not same.all():
                row = int(batch.positions[block.start + int(np.flatnonzero(~same)[0])])
                what = f"row {row} is none of the {len(names)} points that this model was fitted at"
                raise Refused(what, where=batch.place, todo="Fit again with these rows as the points: a local regression knows nothing of what lies between.")
            prediction[block.start : block.stop] = model["prediction"][place]
        return {"prediction": prediction}

    def price(self, context: Context) -> Price:
        p = _features(context)
        count = 1 if isinstance(self.points, str) else max(1, len(self.points))
        size = 8 * count * (p + 2) ** 2
        return Price(state=size, given=8 * count * p, lanes=context.few.lanes if size > _WIDE else 0, passes=(1, 2))


def _features(context: Context) -> int:
    shape = shape_of(context.schema)
    return table_width(shape) + len(shape.names)


def _columns(context: Context) -> str:
    shape = shape_of(context.schema)
    slots = f"{table_width(shape)} table slots, then " if table_width(shape) else ""
    return f"The columns are {slots}{', '.join(shape.names)}."


def _refuse_many(points: int, most: int) -> None:
    if points > most:
        raise Refused(f"{points} points are too many to fit at in one pass", allowed=f"up to {most} for so many columns", todo="Split the points over several fits.")


def _names(rows: F64) -> npt.NDArray[np.uint64]:
    """A hash of the bits of each row (n, p): uint64 (n,)."""
    found = np.zeros(len(rows), np.uint64)
    for column in np.ascontiguousarray(rows.T).view(np.uint64):
        found = hash64(0, "point", found ^ column)
    return found


def _line(moments: F64, l2: float) -> tuple[float, F64]:
    """Level and slopes (p,) at the point that the sums (p + 2, p + 2) are about: of columns, target and 1."""
    total = moments[-1, -1]
    mean = moments[-1, :-1] / total
    size = np.diag(moments)[:-2] / total
    about = moments[:-1, :-1] / total - np.outer(mean, mean)
    still = np.diag(about)[:-1] <= 64 * _EPS * size
    slopes, _ = solve(about[:-1, :-1], about[:-1, -1], min(l2 / total, 1e300), still)
    return float(mean[-1] - slopes @ mean[:-1]), slopes
