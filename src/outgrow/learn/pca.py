"""Principal components: exact by the covariance, and of wide sparse rows by a randomized range finder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from ..core.learner import Context, Fold, Learner, Pass, Price, Traits
from ..core.rng import uniform
from ..core.state import State
from ..data.batch import Batch
from .blocks import blocks, design_of, refuse_missing, shape_of, table_width, weights_of
from .class_columns import refuse_start
from .components import centred_columns, checked_moments, component_columns, signed
from .scatter import WIDEST, Scatter, columns_of, cover_for, refuse_overflow, refuse_weightless, refuse_wide

__all__ = ["PCA", "TruncatedSVD"]

F64 = npt.NDArray[np.float64]
_LARGEST = 1 << 25  # numbers in the directions of TruncatedSVD: 256 MB a state
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class PCA(Learner):
    """Principal component analysis, exact: the eigenvectors of the covariance, in one pass.

    The components of scikit-learn's PCA (svd_solver "covariance_eigh").

    Parameters
    ----------
    components : int, float or None
        How many, at most the number of columns and of rows; from 0 to 1: as few as explain more than this share of the variance; None: all.
    whiten : bool
        Component columns of variance 1; one without variance, but for rounding, is 0.

    Notes
    -----
    Columns are taken as they are: put `Scale` first where their units differ. Row weights count as repetitions. The sign of a component is such that its
    entry of largest size is positive, as scikit-learn's.

    model: ``components`` float64 (k, p), table slots before dense columns; ``mean`` (p,); ``explained_variance`` and ``explained_variance_ratio`` (k,);
    ``singular_values`` (k,); ``noise_variance`` (), the mean of the variances left out; ``weight`` (), that of all rows.

    Cost: p² sums a row, 10 p³ at the end, states of 8 p² bytes; up to 2 048 columns.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.arange(5.0)
    >>> model = og.plan(og.PCA(components=1), og.read({"x": x, "y": 2 * x}), features=[og.OneHot()], on="serial").run().model
    >>> model.arrays["1/components"].round(6).tolist(), model.arrays["1/explained_variance_ratio"].round(9).tolist()
    ([[0.447214, 0.894427]], [1.0])
    """

    components: int | float | None = None
    whiten: bool = False

    def __post_init__(self) -> None:
        if self.components is not None and not _sound(self.components):
            raise BadField(f"{self.components!r} is out of range", where="components", allowed="a whole number of 1 or more, a share between 0 and 1, or None")

    def widest(self, schema: Any) -> int | None:
        return WIDEST

    def begin(self, context: Context, start: State | None = None) -> State:
        refuse_start(start, "PCA")
        p = columns_of(shape_of(context.schema))
        _refuse_none(p)
        refuse_wide("PCA", p, WIDEST, "Use TruncatedSVD, which takes wide rows, or fewer categories or hash bits.")
        if isinstance(self.components, int):
            _refuse_many(self.components, min(p, context.rows))
        return {}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        fold = Scatter(columns=columns_of(shape_of(context.schema)))
        return () if carry else (Pass(fold=fold, cover=cover_for(context, self.price(context).state)),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        found = closed[0]
        total = checked_moments(context, found, "a variance")
        values, vectors = np.linalg.eigh(found["scatter"])
        most = min(len(values), context.rows)
        variance = np.maximum(values[::-1], 0.0)[:most] / (total - 1.0)
        ratio = variance / variance.sum() if variance.any() else np.zeros(most)
        if isinstance(self.components, float):
            kept = min(int(np.searchsorted(np.cumsum(ratio), self.components, side="right")) + 1, most)
        else:
            kept = most if self.components is None else self.components
        rest = variance[kept:]
        return {
            "components": signed(np.ascontiguousarray(vectors.T[::-1][:kept])),
            "mean": found["mean"][0],
            "explained_variance": variance[:kept],
            "explained_variance_ratio": ratio[:kept],
            "singular_values": np.sqrt(variance[:kept] * (total - 1.0)),
            "noise_variance": np.array(rest.mean() if len(rest) else 0.0),
            "weight": np.array(total),
        }

    def finish(self, context: Context, carry: State) -> State:
        return dict(carry)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"components": float(len(carry["components"])), "explained": float(carry["explained_variance_ratio"].sum())} if carry else {}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``component_0``, ``component_1`` …, float64 (n,)."""
        directions = model["components"].T
        if self.whiten:
            variance = model["explained_variance"]
            seen = variance > 10 * len(directions) * _EPS * variance.max(initial=0.0)
            directions = directions * np.where(seen, 1.0 / np.sqrt(np.where(seen, variance, 1.0)), 0.0)
        return centred_columns(batch, model["mean"], directions)

    def price(self, context: Context) -> Price:
        p = columns_of(shape_of(context.schema))
        size = 8 * (p * p + p + 1)
        return Price(state=size, lanes=cover_for(context, size).lanes)


def _sound(components: Any) -> bool:
    if isinstance(components, bool):
        return False
    return components >= 1 if isinstance(components, int) else isinstance(components, float) and 0 < components < 1


def _refuse_none(columns: int) -> None:
    if not columns:
        raise BadInput("there is no column to decompose", allowed="at least one", todo="Name columns of numbers or categories.")


def _refuse_many(components: int, most: int) -> None:
    if components > most:
        raise BadInput(
            f"{components} components are more than there are columns or rows", where="components", allowed=f"between 1 and min(rows, columns) = {most}", todo="Ask for fewer."
        )


@dataclass(frozen=True, kw_only=True)
class _Power(Fold):
    """Products of the rows X with ``given["q"]`` and back: XᵀXq.

    state, float64: product (width + m, l); where `first` also weight (), sums (width + m,) of the rows, and square (), of all values.
    """

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    width: int
    first: bool

    def init(self, given: Mapping[str, Any]) -> State:
        state: State = {"product": np.zeros(given["q"].shape)}
        return state | ({"weight": np.zeros(()), "sums": np.zeros(len(given["q"])), "square": np.zeros(())} if self.first else {})

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.project import gather_rows, scatter_rows, squares

        design, weight, width = design_of(batch), weights_of(batch), self.width
        q, product = np.ascontiguousarray(given["q"]), state["product"]
        if self.first and design.ragged is not None and not np.isfinite(design.ragged[2]).all():
            refuse_missing(batch)
        held = np.zeros(width if self.first else 0)
        with np.errstate(invalid="ignore", over="ignore"):
            for block in blocks(design, spread=False):
                row = weight[block.start : block.stop]
                z = block.x @ q[width:]
                gather_rows()(block.slots, *block.ragged, q[:width], z)
                if len(row):
                    z *= row[:, None]
                product[width:] += block.x.T @ z
                scatter_rows()(block.slots, *block.ragged, z, product[:width])
                if self.first:
                    one = row if len(row) else np.ones(len(z))
                    state["weight"] += one.sum()
                    state["sums"][width:] += one @ block.x
                    state["square"] += one @ np.einsum("ij,ij->i", block.x, block.x)
                    state["square"] += squares()(block.slots, *block.ragged, row, held, state["sums"][:width])
        if self.first and not np.isfinite(state["square"]):
            refuse_missing(batch)
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        for name, array in right.items():
            left[name] += array
        return left


@dataclass(frozen=True, kw_only=True)
class TruncatedSVD(Learner):
    """The largest singular values and right singular vectors of the rows as they are, not centred: for wide sparse and hashed rows.

    Where the columns are few (at most 12 times the directions, at most 2 048) it is exact, by sums of products in one pass. Else a randomized
    range finder with power rounds (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1): each pass multiplies
    ``components + oversampling`` directions by XᵀX; of the last product, the singular vectors are found as by projecting the rows onto
    X times those directions, what scikit-learn's TruncatedSVD with ``n_iter = rounds`` does. Nothing as long as the rows is held.

    Parameters
    ----------
    components : int
    rounds : int
        Power rounds, 0 or more; one pass each and one more.
    oversampling : int
        Directions beyond `components`, at least; up to the next multiple of eight in all.

    Notes
    -----
    Row weights count as repetitions. The sign of a component is such that its entry of largest size is positive.

    model: ``components`` float64 (k, p), table slots before dense columns; ``singular_values``, ``explained_variance`` and ``explained_variance_ratio`` (k,),
    of the columns that `predict` gives, the last a share of the summed variance of all columns.

    Cost: 4 l sums a pass for each entry of a row, for l directions; states of 8 l p bytes, l p up to 33 million.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> source = og.read({"x": [3.0, 0.0, 0.0], "y": [0.0, 2.0, 0.0]})
    >>> model = og.plan(og.TruncatedSVD(components=1), source, features=[og.OneHot()], on="serial").run().model
    >>> model.arrays["1/components"].round(9).tolist(), model.arrays["1/singular_values"].round(9).tolist()
    ([[1.0, 0.0]], [3.0])
    """

    components: int = 2
    rounds: int = 5
    oversampling: int = 10

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("components", isinstance(self.components, int) and self.components >= 1, "1 or more"),
            ("rounds", isinstance(self.rounds, int) and self.rounds >= 0, "0 or more"),
            ("oversampling", isinstance(self.oversampling, int) and self.oversampling >= 0, "0 or more"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    def _size(self, context: Context) -> tuple[int, int, bool]:
        """Columns, directions, and whether products of all pairs of columns are cheaper than passes."""
        p = columns_of(shape_of(context.schema))
        directions = min(p, -(-(self.components + self.oversampling) // 8) * 8)  # rows of eight numbers are twice as fast as of seven
        return p, directions, p <= min(WIDEST, 12 * directions)

    def begin(self, context: Context, start: State | None = None) -> State:
        refuse_start(start, "TruncatedSVD")
        p, directions, exact = self._size(context)
        _refuse_none(p)
        _refuse_many(self.components, min(p, context.rows))
        refuse_wide(f"TruncatedSVD with {directions} directions", p, _LARGEST // directions, "Use fewer hash bits, components or oversampling.")
        if exact:
            return {}
        # not normal, but of mean 0 and independent, which is all it takes; and no logarithm is taken
        draws = uniform(context.seed, "truncated svd", np.arange(p * directions)).reshape(p, directions)
        return {"q": _orthogonal(2.0 * draws - 1.0), "round": np.array(0)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if "components" in carry:
            return ()
        p, _, exact = self._size(context)
        cover = cover_for(context, self.price(context).state)
        if exact:
            return (Pass(fold=Scatter(columns=p), cover=cover),)
        fold = _Power(width=table_width(shape_of(context.schema)), first=bool(carry["round"] == 0))
        return (Pass(fold=fold, given={"q": carry["q"]}, cover=cover),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        found = closed[0]
        if "q" not in carry:
            return self._exact(context, found)
        carry, turn = dict(carry), int(carry["round"])
        if not turn:
            refuse_weightless(found["weight"])
            carry |= {name: found[name] for name in ("weight", "sums", "square")}
        product = found["product"]
        if not (np.isfinite(product).all() and np.isfinite(carry["square"])):
            raise BadInput("the squares of a column overflow float64", todo="Divide the columns by a constant first (Scale), or leave out the large one.")
        if turn < self.rounds:
            return carry | {"q": _orthogonal(product), "round": np.array(turn + 1)}
        # XᵀX ≈ product (qᵀ product)⁻¹ productᵀ, whose root is product · half
        values, vectors = np.linalg.eigh(0.5 * ((inner := carry["q"].T @ product) + inner.T))
        some = values > 10 * len(values) * _EPS * values[-1]
        root = product @ (vectors[:, some] / np.sqrt(values[some]))
        left, size, _ = np.linalg.svd(root, full_matrices=False)
        short = self.components - len(size)
        if short > 0:  # rows of lower rank: the rest are any directions at right angles, of size 0
            full, _ = np.linalg.qr(np.concatenate([left, carry["q"]], 1))
            left, size = np.concatenate([left, full[:, len(size) : self.components]], 1), np.concatenate([size, np.zeros(short)])
        return self._model(left[:, : self.components].T, size[: self.components], carry["sums"] / carry["weight"], float(carry["weight"]), float(carry["square"]))

    def _exact(self, context: Context, found: State) -> State:
        refuse_weightless(found["weight"])
        refuse_overflow(found, shape_of(context.schema).names, "pooled")
        total, mean = float(found["weight"][0]), found["mean"][0]
        values, vectors = np.linalg.eigh(found["scatter"] + np.outer(mean, total * mean))
        size = np.sqrt(np.maximum(values[::-1][: self.components], 0.0))
        return self._model(vectors.T[::-1][: self.components], size, mean, total, float(np.trace(found["scatter"]) + total * (mean @ mean)))

    def _model(self, components: F64, size: F64, mean: F64, total: float, square: float) -> State:
        components = signed(np.ascontiguousarray(components))
        variance = np.maximum(size * size / total - (components @ mean) ** 2, 0.0)
        whole = square / total - float(mean @ mean)
        ratio = variance / whole if whole > 64 * _EPS * square / total else np.zeros_like(variance)
        return {"components": components, "singular_values": size, "explained_variance": variance, "explained_variance_ratio": ratio}

    def finish(self, context: Context, carry: State) -> State:
        return dict(carry)

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``component_0``, ``component_1`` …, float64 (n,)."""
        from .kernels.project import gather_rows, project

        refuse_missing(batch)
        design = design_of(batch)
        width = design.width if design.slots.shape[1] or design.ragged is not None else 0
        directions = np.ascontiguousarray(model["components"].T)
        out, nowhere = np.zeros((batch.rows, directions.shape[1])), np.zeros(len(directions) - width)
        for block in blocks(design, spread=False):
            own = out[block.start : block.stop]
            project()(block.x, nowhere, directions[width:], own)
            gather_rows()(block.slots, *block.ragged, directions[:width], own)
        return component_columns(out)

    def price(self, context: Context) -> Price:
        p, directions, exact = self._size(context)
        size = 8 * (p * p + p + 1 if exact else p * (directions + 1) + 2)
        passes = (1, 1) if exact else (self.rounds + 1, self.rounds + 1)
        return Price(state=size, given=0 if exact else 8 * p * directions, lanes=cover_for(context, size).lanes, passes=passes)


def _orthogonal(columns: F64) -> F64:
    """An orthonormal basis (p, l) of what the columns (p, l) span."""
    basis, _ = np.linalg.qr(columns)
    return np.ascontiguousarray(basis)
