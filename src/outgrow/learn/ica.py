"""Independent components: FastICA, all components at once, one pass an iteration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from ..core.learner import SHARDS, Context, Fold, Learner, Pass, Price, Traits
from ..core.rng import uniform
from ..core.state import State
from ..data.batch import Batch, aligned_empty
from .blocks import NOTHING, blocks, design_of, shape_of, weights_of
from .class_columns import refuse_start
from .components import centred_columns, checked_moments, signed
from .scatter import WIDEST, Scatter, columns_of, cover_for, refuse_wide, still_columns

__all__ = ["ICA"]

F64 = npt.NDArray[np.float64]
Contrast = Literal["logcosh", "exp", "cube"]
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class _Step(Fold):
    """One iteration's sums at the sources s = (x - mean) · unmix of each row.

    state, float64: product (k, k), sums of f(s) sᵀ; slope (k,), sums of f'(s).
    """

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    contrast: Contrast

    def init(self, given: Mapping[str, Any]) -> State:
        k = given["unmix"].shape[1]
        return {"product": np.zeros((k, k)), "slope": np.zeros(k)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.project import contrast

        weight, mean, unmix = weights_of(batch), given["mean"], np.ascontiguousarray(given["unmix"])
        kind = get_args(Contrast).index(self.contrast)
        scratch = g = NOTHING
        for block in blocks(design_of(batch), spread=True):
            if not len(scratch):
                scratch, g = aligned_empty(block.x.shape, np.float64), aligned_empty((len(block.x), unmix.shape[1]), np.float64)
            x = np.subtract(block.x, mean, out=scratch[: len(block.x)])
            s = x @ unmix
            own = g[: len(s)]
            contrast()(s, weight[block.start : block.stop] if len(weight) else NOTHING, kind, own, state["slope"])
            state["product"] += own.T @ s
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        for name, array in right.items():
            left[name] += array
        return left


@dataclass(frozen=True, kw_only=True)
class ICA(Learner):
    """Independent component analysis: sources that are as independent as can be, of which the columns are mixtures.

    FastICA, symmetric: all components at once (Hyvärinen and Oja 2000, equations 40 and 45), what scikit-learn's
    FastICA does with ``algorithm="parallel"`` and ``whiten="unit-variance"``. A first pass whitens; then each pass is one iteration.

    Parameters
    ----------
    components : int or None
        How many; None: as many as there are independent columns.
    contrast : "logcosh", "exp" or "cube"
        What measures that a source is not normal: log cosh s, -exp(-s² / 2), s⁴ / 4.
    tolerance : float
        Done when no direction turns by more: the largest of ``| |w · w before| - 1 |`` over the components.
    max_rounds : int
        Iterations at most; ``facts["converged"]`` says whether they were enough.

    Notes
    -----
    Row weights count as repetitions. Independent sources are known up to order and sign: here they come by how much of the summed variance of the
    columns is theirs, most first, and the entry of largest size in a column of ``mixing`` is positive.

    model: ``components`` float64 (k, p), what gives the sources, of variance 1, of rows less ``mean`` (p,); ``mixing`` (p, k), what gives the rows back; table
    slots before dense columns; ``rounds`` int64 ().

    Cost: first p² sums a row, then 2 k (p + k) and a function of k values an iteration; states of 8 p² bytes, then 8 k². Up to 2 048 columns.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> t = np.arange(2000.0)
    >>> a, b = np.sign(np.sin(t / 7)), np.sin(t / 3)
    >>> source = og.read({"x": a + 0.5 * b, "y": a - b})
    >>> model = og.plan(og.ICA(), source, features=[og.OneHot()], on="serial").run().model
    >>> (model.arrays["1/mixing"] / model.arrays["1/mixing"].max(axis=0)).round(1).tolist()
    [[1.0, -0.5], [1.0, 1.0]]
    """

    components: int | None = None
    contrast: Contrast = "logcosh"
    tolerance: float = 1e-4
    max_rounds: int = 200

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("components", self.components is None or (isinstance(self.components, int) and self.components >= 1), "1 or more, or None"),
            ("contrast", self.contrast in get_args(Contrast), ", ".join(get_args(Contrast))),
            ("tolerance", 0 < self.tolerance < np.inf, "above 0"),
            ("max_rounds", self.max_rounds >= 1, "1 or more"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    def widest(self, schema: Any) -> int | None:
        return WIDEST

    def begin(self, context: Context, start: State | None = None) -> State:
        refuse_start(start, "ICA")
        p = columns_of(shape_of(context.schema))
        if not p:
            raise BadInput("there is no column to unmix", allowed="at least one")
        refuse_wide("ICA", p, WIDEST, "Reduce the columns first, or use fewer categories or hash bits.")
        if self.components is not None and self.components > min(p, context.rows):
            raise BadInput(
                f"{self.components} components are more than there are columns or rows",
                where="components",
                allowed=f"between 1 and min(rows, columns) = {min(p, context.rows)}",
                todo="Ask for fewer.",
            )
        return {"round": np.array(0)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if "whitening" not in carry:
            p = columns_of(shape_of(context.schema))
            return (Pass(fold=Scatter(columns=p), cover=cover_for(context, 8 * p * p)),)
        if carry["turned"] < self.tolerance or carry["round"] >= self.max_rounds:
            return ()
        size = 8 * len(carry["rotation"]) ** 2
        given = {"mean": carry["mean"], "unmix": np.ascontiguousarray((carry["rotation"] @ carry["whitening"]).T)}
        return (Pass(fold=_Step(contrast=self.contrast), given=given, cover=cover_for(context, size) if size > 1 << 20 else SHARDS),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        found, carry = closed[0], dict(carry)
        if "whitening" not in carry:
            return carry | self._whitened(context, found)
        total = float(carry["weight"])
        w = carry["rotation"]
        turned = _decorrelated((found["product"] / total) @ w - (found["slope"] / total)[:, None] * w)
        if not np.isfinite(turned).all():
            raise BadInput("the sums of an iteration overflow float64", where="contrast", todo='Use contrast="logcosh", which does not.')
        change = np.abs(np.abs(np.einsum("ij,ij->i", turned, w)) - 1.0).max()
        return carry | {"rotation": turned, "turned": np.array(change), "round": carry["round"] + 1}

    def _whitened(self, context: Context, found: State) -> State:
        """Where the iterations begin. whitening (k, p): the strongest principal components, each divided by its deviation."""
        total = checked_moments(context, found, "a variance")
        mean, scatter = found["mean"][0], found["scatter"]
        still = still_columns(np.diag(scatter), mean, total)
        values, vectors = np.linalg.eigh(np.where(still[:, None] | still, 0.0, scatter))
        rank = min(int((values > 10 * len(values) * _EPS * values[-1]).sum()), context.rows - 1) if values[-1] > 0 else 0
        k = rank if self.components is None else self.components
        if not rank:
            raise BadInput("no column changes over the rows", todo="Add rows, or columns that change.")
        if k > rank:
            raise BadInput(f"only {rank} of the columns are independent of one another, and {k} components are asked for", where="components", allowed=f"up to {rank}")
        whitening = signed(np.ascontiguousarray(vectors.T[::-1][:k])) / np.sqrt(values[::-1][:k, None] / total)
        draws = uniform(context.seed, "ica", np.arange(k * k)).reshape(k, k)
        return {"whitening": whitening, "mean": mean, "weight": np.array(total), "rotation": _decorrelated(2.0 * draws - 1.0), "turned": np.array(np.inf)}

    def finish(self, context: Context, carry: State) -> State:
        components = carry["rotation"] @ carry["whitening"]
        # rows of the whitening are at right angles: their inverse is their transpose over their squared lengths
        mixing = (carry["whitening"] / (carry["whitening"] ** 2).sum(1)[:, None]).T @ carry["rotation"].T
        order = np.argsort(-(mixing * mixing).sum(0), kind="stable")
        rows = mixing.T[order]
        sign = np.where((signed(rows) * rows).sum(1) < 0, -1.0, 1.0)
        found: State = {"components": np.ascontiguousarray(components[order] * sign[:, None]), "mixing": np.ascontiguousarray((rows * sign[:, None]).T)}
        return found | {"mean": carry["mean"], "rounds": np.asarray(carry["round"])}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        if "whitening" not in carry or not carry["round"]:
            return {}
        return {"turned": float(carry["turned"]), "round": float(carry["round"]), "converged": float(carry["turned"] < self.tolerance)}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``component_0``, ``component_1`` …, float64 (n,): the sources."""
        return centred_columns(batch, model["mean"], model["components"].T)

    def price(self, context: Context) -> Price:
        p = columns_of(shape_of(context.schema))
        size, k = 8 * (p * p + p + 1), self.components or p
        return Price(state=size, given=8 * p * (k + 1), lanes=cover_for(context, size).lanes, passes=(3, 1 + self.max_rounds))


def _decorrelated(w: F64) -> F64:
    """(w wᵀ)^-½ w: the nearest orthonormal rows."""
    values, vectors = np.linalg.eigh(w @ w.T)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((vectors / np.sqrt(np.maximum(values, np.finfo(np.float64).tiny))) @ (vectors.T @ w))
