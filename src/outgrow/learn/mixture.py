"""Mixtures of Gaussians by expectation and maximisation, one pass a round, the best of several starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput, Refused
from ..core.learner import SHARDS, Context, Cover, Fold, Learner, Pass, Price, Traits
from ..core.rng import key64
from ..core.state import State, prefixed, under
from ..data.batch import Batch
from .beside import Fused
from .blocks import blocks, design_of, refuse_missing, shape_of, table_width, weights_of
from .kmeans import KMeans

__all__ = ["GaussianMixture"]

F64 = npt.NDArray[np.float64]
Shape = Literal["full", "tied", "diagonal"]
_WIDE = 1 << 20  # bytes of a state above which few lanes are used
_FEATURES = 4096
_MOST = 1 << 23  # numbers in all covariances
_LEAST = 1e-18  # a share of a row below this is lost to rounding anyway
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, kw_only=True)
class _Expect(Fold):
    """What each component gets of the rows, at the parameters in `given` (those of the model, with ``center`` (p,), about which tied sums are taken).

    state: weight (), log_likelihood (), mass (K,). full: moments (K, p + 1, p + 1) about the given means, of the columns and a last one of 1.
    diagonal: first and second (K, p) about the given means. tied: first (K, p) about the centre, and scatter (p, p) about it in the first round, of all rows.

    hard: each row belongs to its nearest mean alone (only ``means`` and ``center`` are given), as after k-means.
    """

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    covariance: Shape
    hard: bool
    scatter: bool

    def init(self, given: Mapping[str, Any]) -> State:
        k, p = given["means"].shape
        state: State = {"weight": np.zeros(()), "log_likelihood": np.zeros(()), "mass": np.zeros(k)}
        if self.covariance == "full":
            return state | {"moments": np.zeros((k, p + 1, p + 1))}
        state["first"] = np.zeros((k, p))
        if self.covariance == "diagonal":
            return state | {"second": np.zeros((k, p))}
        return state | ({"scatter": np.zeros((p, p))} if self.scatter else {})

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        weight = weights_of(batch)
        with np.errstate(invalid="ignore", over="ignore"):  # looked for below, by name
            for block in blocks(design_of(batch), spread=True):
                row = weight[block.start : block.stop]
                share, chance = self._shares(block.x, given)
                if len(row):
                    share *= row
                state["weight"] += row.sum() if len(row) else len(block.x)
                state["log_likelihood"] += row @ chance if len(row) else chance.sum()
                self._add(state, block.x, share, row, given)
        if not all(np.isfinite(state[name]).all() for name in ("log_likelihood", *({"moments", "second", "scatter", "first"} & set(state)))):
            refuse_missing(batch)
        return state

    def _shares(self, x: F64, given: Mapping[str, Any]) -> tuple[F64, F64]:
        """The share of each component in each row, (K, n), and the logarithm of the row's density, (n,)."""
        from .kernels.dense import nearest, probabilities

        share, chance = np.empty((len(given["means"]), len(x))), np.empty(len(x))
        if self.hard:
            label, away = np.empty(len(x), np.int32), given["means"] - given["center"]
            nearest(away @ (x - given["center"]).T, 0.5 * (away * away).sum(1), label, chance)
            share[:] = label == np.arange(len(share))[:, None]
            return share, chance
        probabilities(_densities(self.covariance, x, given), share, chance)
        return share, chance

    def _add(self, state: State, x: F64, share: F64, row: F64, given: Mapping[str, Any]) -> None:
        from .kernels.gaussian import add_scaled, weighted_rows

        state["mass"] += share.sum(1)
        if self.covariance == "diagonal":
            add_scaled(x, given["means"], share, _LEAST, state["first"], state["second"])
        elif self.covariance == "full":
            out = np.empty((len(x), x.shape[1] + 1))
            for k in range(len(share)):
                part = out[: weighted_rows(x, given["means"][k], share[k], _LEAST, out)]
                state["moments"][k] += part.T @ part  # of a matrix by itself: BLAS sums one half
        else:
            away = x - given["center"]
            state["first"] += share @ away
            if self.scatter:
                if len(row):
                    away *= np.sqrt(row)[:, None]
                state["scatter"] += away.T @ away

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        with np.errstate(invalid="ignore", over="ignore"):  # looked for by the learner
            for name, array in right.items():
                left[name] += array
        return left


def _densities(covariance: Shape, x: F64, model: Mapping[str, Any], *, alone: bool = False) -> F64:
    """Logarithms of weight times density of each component, (K, n). `alone`: a row's bits do not depend on the rows beside it (a BLAS product's do)."""
    from .kernels.gaussian import scaled_squares, triangle_squares

    means, factors = model["means"], model["factors"]
    square = np.empty((len(means), len(x)))
    if covariance == "diagonal":
        scaled_squares(np.ascontiguousarray(x.T), means, factors, square)
    elif alone:
        columns, y = np.ascontiguousarray(x.T), np.empty(len(x))
        for k in range(len(means)):
            triangle_squares(columns, means[k], factors if covariance == "tied" else factors[k], y, square[k])
    elif covariance == "tied":
        white = factors.T @ (x - model["center"]).T
        scaled_squares(white, (means - model["center"]) @ factors, np.ones_like(means), square)
    else:
        for k in range(len(means)):
            white = (x - means[k]) @ factors[k]
            square[k] = np.einsum("ij,ij->i", white, white)
    square *= -0.5
    square += model["constant"][:, None]
    return square


def _factored(covariance: Shape, weights: F64, means: F64, spread: F64) -> State:
    """The model with what densities are made of: factors (of the inverse covariances: upper triangular, or their diagonals) and constant (K,).

    Raises BadInput where a covariance is singular.
    """
    p = means.shape[1]
    singular = BadInput(
        "a component has a singular covariance: its rows lie on a plane, a line or a point",
        todo="Ask for fewer components, raise reg_covar, or leave out columns that never change or repeat others.",
    )
    if covariance == "diagonal":
        if not (spread > 0).all():
            raise singular
        factors, log_root = 1.0 / spread, -0.5 * np.log(spread).sum(1)
    else:
        try:
            lower = np.linalg.cholesky(spread)
        except np.linalg.LinAlgError:
            raise singular from None
        inverse = np.linalg.solve(lower, np.broadcast_to(np.eye(p), lower.shape))
        factors = np.ascontiguousarray(np.triu(np.swapaxes(inverse, -1, -2)))
        log_root = -np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(-1)
    if not (np.isfinite(factors).all() and np.isfinite(log_root).all()):
        raise BadInput("the covariances overflow float64", todo="Divide large columns by a constant first, or put Scale() before this learner.")
    constant = np.log(weights) + log_root - 0.5 * p * _LOG_2PI
    return {"weights": weights, "means": means, "covariances": spread, "factors": factors, "constant": constant}


@dataclass(frozen=True, kw_only=True)
class _Run(Learner):
    """One start of `GaussianMixture`, to its end. carry: ``start/…`` of k-means while it runs, then the parameters; round counts passes of EM."""

    components: int
    covariance: Shape
    tolerance: float
    reg_covar: float
    max_rounds: int
    number: int

    def _first(self, context: Context) -> tuple[KMeans, Context]:
        seed = context.seed if not self.number else key64(context.seed, f"mixture start {self.number}") >> 1
        return KMeans(clusters=self.components), replace(context, seed=seed)

    def begin(self, context: Context, start: State | None = None) -> State:
        shape, k = shape_of(context.schema), self.components
        p = table_width(shape) + len(shape.names)
        if k * (p if self.covariance == "diagonal" else p * p) > _MOST or p > _FEATURES:
            todo = 'Use covariance="diagonal", fewer one-hot categories or bits, or leave wide columns out.'
            what = f"a mixture of {k} components with {self.covariance} covariances over {p} features"
            raise Refused(what, allowed=f"{_MOST} numbers in all covariances, {_FEATURES} features", todo=todo)
        if context.rows < max(2, k):
            what = f"{context.rows} rows are too few for a mixture of {k} components"
            raise BadInput(what, allowed="at least as many rows as components, and 2", todo="Ask for fewer components.")
        if start is None:
            kmeans, own = self._first(context)
            return prefixed("start", kmeans.begin(own)) | {"round": np.array(-1)}
        spread = {"full": (k, p, p), "tied": (p, p), "diagonal": (k, p)}[self.covariance]
        for name, want in (("weights", (k,)), ("means", (k, p)), ("covariances", spread)):
            if name not in start or start[name].shape != want:
                found = start[name].shape if name in start else "no such array"
                raise BadInput(f"the model to start from has {found} for {name!r}, here it is {want}", todo="Start from a model of the same columns, components and covariance.")
        if not ((start["weights"] > 0).all() and np.isfinite(start["means"]).all()):
            raise BadInput("the model to start from has a weight of 0 or below, or a mean that is not finite", allowed="weights above 0 and finite means")
        center = start["weights"] @ start["means"]
        return _factored(self.covariance, start["weights"], start["means"], start["covariances"]) | {"center": center, "round": np.array(0)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if carry["round"] < 0:
            kmeans, own = self._first(context)
            return kmeans.ask(own, under("start", carry))
        if "done" in carry:
            return ()
        hard = "factors" not in carry
        names = ("means", "center") if hard else ("means", "center", "factors", "constant")
        fold = _Expect(covariance=self.covariance, hard=hard, scatter="scatter" not in carry)
        cover: Cover = context.few if self.price(context).lanes else SHARDS
        return (Pass(fold=fold, given={name: carry[name] for name in names}, cover=cover),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        if carry["round"] < 0:
            kmeans, own = self._first(context)
            after = kmeans.tell(own, under("start", carry), closed)
            if kmeans.ask(own, after):
                return prefixed("start", after) | {"round": np.array(-1)}
            found = kmeans.finish(own, after)
            return {"means": found["centers"], "center": (found["counts"] / found["counts"].sum()) @ found["centers"], "round": np.array(0)}
        sums, soft = closed[0], "factors" in carry
        if not sums["weight"] > 0:
            raise BadInput("no row has a weight above 0", where="weight")
        after = self._maximise(carry, sums)
        if not soft:
            return after
        level, turn = float(sums["log_likelihood"] / sums["weight"]), int(carry["round"]) + 1
        gained = abs(level - float(carry.get("log_likelihood", -np.inf)))
        after |= {"round": np.array(turn), "log_likelihood": np.array(level), "gained": np.array(gained)}
        converged = gained < self.tolerance
        return after | ({"done": np.array(converged)} if converged or turn >= self.max_rounds else {})

    def _maximise(self, carry: State, sums: State) -> State:
        """The carry with the parameters that these sums make most likely."""
        p, means, center = carry["means"].shape[1], carry["means"], carry["center"]
        kept = {name: carry[name] for name in ("center", "round", "scatter", "log_likelihood") if name in carry}
        mass = sums["mass"] + 10 * np.finfo(np.float64).eps  # a component may be left without rows
        with np.errstate(invalid="ignore", over="ignore"):
            if self.covariance == "full":
                moved = sums["moments"][:, p, :p] / mass[:, None]
                means = means + moved
                spread = sums["moments"][:, :p, :p] / mass[:, None, None] - moved[:, :, None] * moved[:, None, :]
                spread[:, np.arange(p), np.arange(p)] += self.reg_covar
            elif self.covariance == "diagonal":
                moved = sums["first"] / mass[:, None]
                means = means + moved
                spread = sums["second"] / mass[:, None] - moved * moved + self.reg_covar
            else:
                kept["scatter"] = carry["scatter"] if "scatter" in carry else sums["scatter"]
                away = sums["first"] / mass[:, None]
                means = center + away
                spread = (kept["scatter"] - (away.T * mass) @ away) / mass.sum()
                spread[np.diag_indices(p)] += self.reg_covar
        if not (np.isfinite(spread).all() and np.isfinite(means).all()):
            raise BadInput("the squares of the columns overflow float64", todo="Divide large columns by a constant first, or put Scale() before this learner.")
        return kept | _factored(self.covariance, mass / mass.sum(), means, spread)

    def finish(self, context: Context, carry: State) -> State:
        return {name: carry[name] for name in ("weights", "means", "covariances", "factors", "constant", "log_likelihood")}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        if carry["round"] < 0:
            kmeans, own = self._first(context)
            return kmeans.facts(own, under("start", carry))
        found = {name: float(carry[name]) for name in ("log_likelihood", "gained", "round") if name in carry and np.isfinite(carry[name])}
        return found | ({"converged": float(carry["done"])} if "done" in carry else {})

    def price(self, context: Context) -> Price:
        shape, k = shape_of(context.schema), self.components
        p = table_width(shape) + len(shape.names)
        size = 8 * (k * (p + 1) * (p + 1) if self.covariance == "full" else 2 * k * p + p * p * (self.covariance == "tied"))
        first = KMeans(clusters=k).price(context)
        passes = (first.passes[0] + 2, first.passes[1] + 1 + self.max_rounds)
        return Price(state=max(size, first.state), given=max(size + 8 * k * p, first.given), lanes=context.few.lanes if size > _WIDE else 0, passes=passes)


@dataclass(frozen=True, kw_only=True)
class GaussianMixture(Learner):
    """A mixture of Gaussians by expectation and maximisation (Dempster, Laird and Rubin 1977), one pass a round.

    Each start runs `KMeans` to its end, takes rows as belonging to their nearest centre for a first guess, as scikit-learn does, and then lets each component
    take its share of every row. From the same start the rounds, and where they stop, are those of scikit-learn's GaussianMixture.

    Parameters
    ----------
    components : int
    covariance : "full", "tied" (one for all) or "diagonal"
    tolerance : float
        Done when a round changes the mean log-likelihood of a row by less.
    reg_covar : float
        Added to the diagonal of every covariance, in squared units of the columns. With 0 a component whose rows lie on a plane is refused.
    max_rounds : int
        Rounds of expectation and maximisation at most; ``facts["converged"]`` says whether they were enough.
    starts : int
        Runs side by side from different starts, sharing the reads; the highest likelihood wins.

    Notes
    -----
    model: weights (K,), means (K, p), table slots before dense columns, covariances (K, p, p), (p, p) or (K, p); factors, of the inverse covariances
    (upper triangular Cholesky factors, or for diagonal ones 1 / variance) and constant (K,), which densities are made of; log_likelihood (), of a row in
    the mean, before the last maximisation (scikit-learn's ``lower_bound_``). Row weights count as repetitions of a row.

    Sums are taken about the means of the round before, so that a large mean costs no digits. A component without rows keeps its place, with `reg_covar` alone as
    its covariance. Cost: 3 p² flops a row and component (full), 6 p (diagonal), 2 p² a row and 5 p a component (tied); states of 8 K (p + 1)² bytes (full).

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.concatenate([np.linspace(1, 3, 50), np.linspace(9, 11, 150)])
    >>> model = og.plan(og.GaussianMixture(components=2), og.read({"x": x}), features=[og.OneHot()], on="serial").run().model
    >>> sorted(model.arrays["1/weights"].round(6).tolist()), sorted(model.arrays["1/means"][:, 0].round(6).tolist())
    ([0.25, 0.75], [2.0, 10.0])
    """

    components: int = 1
    covariance: Shape = "full"
    tolerance: float = 1e-3
    reg_covar: float = 1e-6
    max_rounds: int = 100
    starts: int = 1

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("components", self.components >= 1, "1 or more"),
            ("covariance", self.covariance in ("full", "tied", "diagonal"), "full, tied, diagonal"),
            ("tolerance", 0 <= self.tolerance < np.inf, "0 or more"),
            ("reg_covar", 0 <= self.reg_covar < np.inf, "0 or more"),
            ("max_rounds", self.max_rounds >= 1, "1 or more"),
            ("starts", self.starts >= 1, "1 or more"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    def _parts(self) -> Fused:
        same = {name: getattr(self, name) for name in ("components", "covariance", "tolerance", "reg_covar", "max_rounds")}
        return Fused(tuple((str(i), _Run(number=i, **same)) for i in range(self.starts)))

    def widest(self, schema: Any) -> int | None:
        return min(_FEATURES, _MOST // self.components if self.covariance == "diagonal" else int((_MOST // self.components) ** 0.5))

    def begin(self, context: Context, start: State | None = None) -> State:
        return self._parts().begin(context, None if start is None else prefixed("0", start))

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return self._parts().ask(context, carry)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return self._parts().tell(context, carry, closed)

    def _best(self, carry: State) -> State:
        found = [under(str(i), carry) for i in range(self.starts)]
        return max(found, key=lambda own: float(own.get("log_likelihood", -np.inf)))  # the first of equals

    def finish(self, context: Context, carry: State) -> State:
        return self._parts().parts[0][1].finish(context, self._best(carry))

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return self._parts().parts[0][1].facts(context, self._best(carry))

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``cluster`` int32 (n,), the component with the largest share of the row; ``share_<k>`` of each; ``log_likelihood`` float64 (n,) of the row."""
        from .kernels.dense import probabilities

        refuse_missing(batch)
        share, chance = np.empty((len(model["weights"]), batch.rows)), np.empty(batch.rows)
        for block in blocks(design_of(batch), spread=True):
            part = np.empty((len(share), len(block.x)))
            probabilities(_densities(self.covariance, block.x, model, alone=True), part, chance[block.start : block.stop])
            share[:, block.start : block.stop] = part
        return {"cluster": share.argmax(0).astype(np.int32)} | {f"share_{k}": column.copy() for k, column in enumerate(share)} | {"log_likelihood": chance}

    def price(self, context: Context) -> Price:
        return self._parts().price(context)
