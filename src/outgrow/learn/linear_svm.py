"""Linear support vector machine with a squared hinge: Newton's method on sums over rows, one pass an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from ..core.learner import SHARDS, Context, Cover, Fold, Learner, Pass, Price, Traits
from ..core.state import State, prefixed, under
from ..data.batch import Batch
from . import class_weights, lbfgs
from .blocks import NOTHING, Block, blocks, design_of, refuse_missing, shape_of, table_width
from .class_counts import ClassCounts
from .logistic_sums import row_weights

__all__ = ["LinearSVM"]

F64 = npt.NDArray[np.float64]
_WIDE = 1 << 20  # bytes of a state above which few lanes are used
_NARROW, _HESSIANS = 512, 1 << 21  # features, and numbers in all Hessians, up to which Newton's method costs little


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sizes:
    """Weights are (q, outs): table slots, dense columns, then the constant column where there is an intercept."""

    width: int
    dense: int
    outs: int
    constant: float

    @property
    def q(self) -> int:
        return self.width + self.dense + (self.constant > 0)

    @property
    def narrow(self) -> bool:
        return self.q <= _NARROW and self.outs * self.q * self.q <= _HESSIANS


@dataclass(frozen=True, kw_only=True)
class _Sums(Fold):
    """Loss, gradient and Hessian of each class against the others at ``given["w"]`` (q, k); ``given["which"]`` (k,) names the classes.

    given also: positive (k,), what rows of that class weigh; by_row (K,), what rows of every class weigh in all problems.

    state: weight (); loss (k,); gradient (q, k); narrow: hessian (k, q, q), half of it, over the rows inside their margin. In the first pass also counts
    int64 (K,), and, wide, square (q,), summed squares of the columns.
    """

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    sizes: _Sizes
    classes: int
    first: bool

    def init(self, given: Mapping[str, Any]) -> State:
        (q, k), narrow = given["w"].shape, self.sizes.narrow
        state: State = {"weight": np.zeros(()), "loss": np.zeros(k), "gradient": np.zeros((q, k))}
        if narrow:
            state["hessian"] = np.zeros((k, q, q))
        if self.first:
            state["counts"] = np.zeros(self.classes, np.int64)
            if not narrow:
                state["square"] = np.zeros(q)
        return state

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        y, found = batch.target, row_weights(batch, given["by_row"])
        rows = NOTHING if found is None else found
        with np.errstate(invalid="ignore", over="ignore"):  # looked for below, by name
            for block in blocks(design_of(batch), spread=self.sizes.narrow):
                self._add(state, block, y[block.start : block.stop], rows[block.start : block.stop], given)
        if self.first:
            state["counts"] += np.bincount(y[rows > 0] if len(rows) else y, minlength=self.classes)
        if not (np.isfinite(state["loss"]).all() and np.isfinite(state["gradient"]).all()):
            refuse_missing(batch)
        return state

    def _add(self, state: State, block: Block, y: Any, row: F64, given: Mapping[str, Any]) -> None:
        from .kernels.dense import gather, scatter
        from .kernels.hinge import active_rows, hinge_rows

        w, x, constant, gradient = given["w"], block.x, self.sizes.constant, state["gradient"]
        width = 0 if self.sizes.narrow else self.sizes.width
        end = width + x.shape[1]
        z = w[width:end].T @ x.T
        if constant:
            z += constant * w[-1][:, None]
        if width:
            gather(z, block.slots, *block.ragged, w[:width])
        loss, residual, root = np.empty_like(z), np.empty_like(z), np.empty_like(z)
        hinge_rows(z, y, given["which"], given["positive"], row, loss, residual, root)
        state["loss"] += loss.sum(1)
        state["weight"] += row.sum() if len(row) else len(x)
        gradient[width:end] += (residual @ x).T
        if constant:
            gradient[-1] += constant * residual.sum(1)
        if width:
            scatter(residual, block.slots, *block.ragged, gradient[:width], False)
        if "hessian" in state:
            out = np.empty((len(x), self.sizes.q))
            for k in range(len(z)):
                part = out[: active_rows(x, constant, root[k], out)]
                state["hessian"][k] += part.T @ part  # of a matrix by itself: BLAS sums one half
        if "square" in state:
            every = row if len(row) else np.ones(len(x))
            state["square"][width:end] += every @ (x * x)
            if constant:
                state["square"][-1] += constant * constant * every.sum()
            if width:
                scatter(every[None], block.slots, *block.ragged, state["square"][:width, None], True)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        with np.errstate(invalid="ignore", over="ignore"):  # looked for by the learner
            for name, array in right.items():
                left[name] += array
        return left


@dataclass(frozen=True, kw_only=True)
class LinearSVM(Learner):
    """Linear support vector machine with the squared hinge loss and an L2 penalty, to the optimum; one class against the others where there are more than two.

    Minimises ``l2 / 2 (|coefficients|² + (intercept / intercept_scaling)²) + sum_i w_i max(0, 1 - s_i z_i)²`` for each class, s_i being +1 for its rows and -1 for
    others: the objective of scikit-learn's ``LinearSVC(loss="squared_hinge", dual=False)`` with ``C = 1 / l2``. As there, the intercept is the weight of
    a constant column of value `intercept_scaling` and is penalised with the rest; a large value makes that penalty vanish.

    Where features are few (512 or less) each pass also sums the Hessian of every class over the rows inside their margin, for a step of the finite Newton
    method (Mangasarian 2002; Keerthi and DeCoste 2005) with a search along it; classes that are done are not summed again, and most problems end after 5 to 10
    passes. Wider ones take L-BFGS from the Hessian's diagonal at the start.

    Parameters
    ----------
    l2 : float
        Strength of the penalty, at least 0.
    intercept : bool
    intercept_scaling : float
        Value of the constant column.
    tolerance : float
        Done when no component of the objective's gradient, over the rows' summed weight, is larger.
    max_rounds : int
        Passes at most; ``facts["converged"]`` says whether they were enough.
    class_weight : "balanced", mapping of class to weight, or None
        Multiplies row weights; with more than two classes those of the class's own problem alone, where its rows have the sign +1, as scikit-learn
        (liblinear) does. "balanced": inversely to the (weighted) share of the class; costs one pass.

    Notes
    -----
    model: ``table`` float64 (width, outs), ``dense`` (m, outs), ``intercept`` (outs,); outs is 1 for two classes (margin of
    the second), else their number.

    Cost: 4 p flops a row and class, and p² for each row inside a margin; states of 8 K p² bytes (narrow) or 8 K p.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.array([-2.0, -1.0, 1.0, 2.0])
    >>> source = og.read({"x": x, "y": ["no", "no", "yes", "yes"]}, target="y")
    >>> model = og.plan(og.LinearSVM(l2=0.1, tolerance=1e-9), source, features=[og.OneHot()], on="serial").run().model
    >>> round(float(model.arrays["1/dense"][0, 0]), 6)  # rows at -1 and 1 alone lie inside the margin: 4 / (4 + l2)
    0.97561
    """

    l2: float = 1.0
    intercept: bool = True
    intercept_scaling: float = 1.0
    tolerance: float = 1e-4
    max_rounds: int = 100
    class_weight: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weight", class_weights.plain(self.class_weight))
        for name, good, allowed in (
            ("l2", 0 <= self.l2 < np.inf, "0 or more"),
            ("intercept_scaling", 0 < self.intercept_scaling <= 1e100, "above 0, up to 1e100"),
            ("tolerance", 0 < self.tolerance < np.inf, "above 0"),
            ("max_rounds", self.max_rounds >= 1, "1 or more"),
            ("class_weight", class_weights.sound(self.class_weight), class_weights.ALLOWED),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    def _sizes(self, context: Context) -> _Sizes:
        shape, classes = shape_of(context.schema), len(context.schema.classes)
        constant = self.intercept_scaling if self.intercept else 0.0
        return _Sizes(width=table_width(shape), dense=len(shape.names), outs=1 if classes == 2 else classes, constant=constant)

    def begin(self, context: Context, start: State | None = None) -> State:
        class_weights.refuse_few(context.schema)
        sizes = self._sizes(context)
        w = np.zeros((sizes.q, sizes.outs)) if start is None else _weights(sizes, shape_of(context.schema).width, start)
        carry: State = {"w": w, "round": np.array(0)}
        if self.class_weight != "balanced":
            carry["by_class"] = class_weights.named(self.class_weight, context.schema.classes)
        return carry

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        classes, sizes, first = len(context.schema.classes), self._sizes(context), not carry["round"]
        if "by_class" not in carry:
            return (Pass(fold=ClassCounts(classes=classes)),)
        if carry["round"] >= self.max_rounds or (not first and (carry["done"].all() if sizes.narrow else lbfgs.done(under("search", carry)))):
            return ()
        open_ = np.flatnonzero(~carry["done"]) if "done" in carry else np.arange(sizes.outs)
        w = carry["w"] if first else _trial(carry)[:, open_] if sizes.narrow else lbfgs.point(under("search", carry)).reshape(-1, sizes.outs)
        given = {"w": np.ascontiguousarray(w)}
        if sizes.outs == 1:
            given |= {"which": np.array([1]), "positive": np.ones(1), "by_row": carry["by_class"]}
        else:
            given |= {"which": open_, "positive": carry["by_class"][open_], "by_row": np.ones(classes)}
        cover: Cover = context.few if self.price(context).lanes else SHARDS
        return (Pass(fold=_Sums(sizes=sizes, classes=classes, first=first), given=given, cover=cover),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        sums, sizes = closed[0], self._sizes(context)
        if "by_class" not in carry:
            class_weights.refuse_single(context.schema, sums["counts"])
            return carry | {"by_class": class_weights.balanced(sums["counts"])}
        total = float(sums["weight"])
        if not total > 0:
            raise BadInput("no row has a weight above 0", where="weight")
        if "counts" in sums:
            class_weights.refuse_single(context.schema, sums["counts"])
            if not all(np.isfinite(sums[name]).all() for name in ("loss", "gradient", *({"hessian", "square"} & set(sums)))):
                raise BadInput("the squares of the columns overflow float64", todo="Divide large columns by a constant first, or put Scale() before this learner.")
        sums = {name: array / total for name, array in sums.items()}
        carry = carry | {"round": carry["round"] + 1}
        return self._newton(carry, sums, self.l2 / total) if sizes.narrow else self._quasi(carry, sums, self.l2 / total)

    def _newton(self, carry: State, sums: State, l2: float) -> State:
        """A step of each class that is not done: accept its trial where it is lower, and take the Newton direction there, or go on closer by."""
        first = "done" not in carry
        outs, q = carry["w"].shape[1], len(carry["w"])
        if first:
            zero, none = np.zeros(outs), np.zeros((q, outs))
            carry |= {"f": zero, "slope": zero, "step": zero, "tries": zero, "direction": none, "gradient": none, "done": np.zeros(outs, bool), "stalled": np.zeros(outs, bool)}
        own, trial = {name: carry[name].copy() for name in _SEARCH}, _trial(carry)
        for place, k in enumerate(np.flatnonzero(~carry["done"])):
            w = trial[:, k]
            value = float(sums["loss"][place] + 0.5 * l2 * (w @ w))
            before, step, slope = own["f"][k], own["step"][k], own["slope"][k]
            if first or value <= before + 1e-4 * step * slope + 1e-13 * abs(before):
                gradient = sums["gradient"][:, place] + l2 * w
                hessian = 2.0 * sums["hessian"][place]
                hessian[np.diag_indices(q)] += l2
                own["w"][:, k], own["f"][k], own["gradient"][:, k], own["tries"][k] = w, value, gradient, 0
                own["direction"][:, k] = _downhill(hessian, gradient)
                own["slope"][k], own["step"][k] = own["direction"][:, k] @ gradient, 1.0
                own["done"][k] = np.abs(gradient).max() <= self.tolerance
                own["stalled"][k] = not own["done"][k] and not own["slope"][k] < 0
            else:
                bend = value - before - step * slope  # of the parabola through value and slope; NaN where the trial overflowed
                shorter = -0.5 * slope * step * step / bend if bend > 0 else 0.0
                own["step"][k] = min(max(shorter, 0.1 * step), 0.5 * step)
                own["tries"][k] += 1
                own["stalled"][k] = own["tries"][k] >= 40
            own["done"][k] |= own["stalled"][k]
        return carry | own

    def _quasi(self, carry: State, sums: State, l2: float) -> State:
        search = under("search", carry)
        if not search:
            diagonal = np.repeat(2.0 * sums["square"] + l2, carry["w"].shape[1])
            inverse = 1.0 / np.maximum(diagonal, 1e-10 * diagonal.max() + 1e-300)
            search = lbfgs.begin(carry["w"].ravel(), tolerance=self.tolerance, inverse=inverse)
        w = lbfgs.point(search)
        search = lbfgs.tell(search, float(sums["loss"].sum()) + 0.5 * l2 * float(w @ w), sums["gradient"].ravel() + l2 * w)
        kept = {name: array for name, array in carry.items() if not name.startswith("search/")}
        return kept | prefixed("search", search) | {"w": search["w"].reshape(carry["w"].shape)}

    def finish(self, context: Context, carry: State) -> State:
        sizes, w = self._sizes(context), carry["w"]
        table = np.zeros((shape_of(context.schema).width, sizes.outs))
        table[: sizes.width] = w[: sizes.width]
        dense = w[sizes.width : sizes.width + sizes.dense].copy()
        return {"table": table, "dense": dense, "intercept": sizes.constant * w[-1] if sizes.constant else np.zeros(sizes.outs)}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        search = under("search", carry)
        if search:
            return {"loss": float(search["f"]), "gradient": float(np.abs(search["g"]).max(initial=0.0)), "converged": float(lbfgs.converged(search))}
        if "done" not in carry:
            return {}
        converged = bool((carry["done"] & ~carry["stalled"]).all())
        return {"loss": float(carry["f"].sum()), "gradient": float(np.abs(carry["gradient"]).max(initial=0.0)), "converged": float(converged)}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,): a class; ``score``, the margin of the second class, or ``score_<class>`` of each of more than two."""
        from .kernels.dense import gather, margins

        refuse_missing(batch)
        scores = np.empty((len(model["intercept"]), batch.rows))
        for block in blocks(design_of(batch), spread=False):
            z = np.repeat(model["intercept"][:, None], len(block.x), 1)
            margins(z, block.x, model["dense"])
            gather(z, block.slots, *block.ragged, model["table"])
            scores[:, block.start : block.stop] = z
        classes = batch.schema.classes or tuple(range(max(len(scores), 2)))
        if len(scores) == 1:
            return {"prediction": np.array(classes)[(scores[0] > 0).astype(int)], "score": scores[0]}
        return {"prediction": np.array(classes)[scores.argmax(0)]} | {f"score_{name}": scores[k].copy() for k, name in enumerate(classes)}

    def price(self, context: Context) -> Price:
        sizes = self._sizes(context)
        given = 8 * sizes.q * sizes.outs
        size = given * (1 + sizes.q) if sizes.narrow else 2 * given
        return Price(state=size, given=given, lanes=context.few.lanes if size > _WIDE else 0, passes=(4, self.max_rounds))


_SEARCH = ("w", "f", "gradient", "direction", "slope", "step", "tries", "done", "stalled")


def _trial(carry: State) -> F64:
    """Where each class is looked at next: (q, outs)."""
    found: F64 = carry["w"] + carry["step"] * carry["direction"]
    return found


def _downhill(hessian: F64, gradient: F64) -> F64:
    """Minus the inverse of a symmetric hessian (q, q) without negative eigenvalues, times the gradient; columns that nothing curves stay.

    Brought to unit diagonal first: what counts as singular does not depend on units.
    """
    curve = np.diag(hessian)
    curved = curve > 1e-200
    scale = np.where(curved, 1.0 / np.sqrt(np.where(curved, curve, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    step: F64 = -scale * (vectors @ ((vectors.T @ (scale * gradient)) / np.maximum(values, 1e-12 * values.max(initial=1e-300))))
    return step


def _weights(sizes: _Sizes, width: int, start: State) -> F64:
    """Weights (q, outs) of an earlier model; BadInput where its shape is another."""
    want = {"table": (width, sizes.outs), "dense": (sizes.dense, sizes.outs), "intercept": (sizes.outs,)}
    for name, shape in want.items():
        if name not in start or start[name].shape != shape:
            found = start[name].shape if name in start else "no such array"
            raise BadInput(f"the model to start from has {found} for {name!r}, here it is {shape}", todo="Start from a model of the same columns, features and classes.")
    constant = start["intercept"][None] / sizes.constant if sizes.constant else np.zeros((0, sizes.outs))
    return np.concatenate([start["table"][: sizes.width], start["dense"], constant]).astype(np.float64)
