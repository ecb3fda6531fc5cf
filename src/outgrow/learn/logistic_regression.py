"""Logistic regression, binary and multinomial: L-BFGS on sums over rows, one pass an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from ..core.learner import ALL, SHARDS, Context, Cover, Learner, Pass, Price, Rows
from ..core.state import State, prefixed, under
from ..data.batch import Batch
from . import class_weights, lbfgs
from .blocks import blocks, design_of, refuse_missing, shape_of, table_width
from .class_counts import ClassCounts
from .logistic_sums import Sizes, Sums

__all__ = ["LogisticRegression"]

F64 = npt.NDArray[np.float64]
_WIDE = 1 << 20  # bytes of a gradient above which few lanes are used


@dataclass(frozen=True, kw_only=True)
class LogisticRegression(Learner):
    """Logistic regression with an L2 penalty, to the optimum; softmax where there are more than two classes.

    Minimises ``sum_i w_i loss_i + l2 / 2 |coefficients|²`` over ``sum_i w_i``, the objective of scikit-learn with
    ``C = 1 / l2``; intercepts are not penalised. One pass over the rows an evaluation. Where features are few
    (under 128, and at most 360 weights) each pass also sums the Hessian over every so many rows, for a step of Newton's
    method, and most problems end after 5 to 10 passes; else L-BFGS goes on from the Hessian's diagonal at the start.

    Parameters
    ----------
    l2 : float
        Strength of the penalty, at least 0.
    intercept : bool
    tolerance : float
        Done when no component of the objective's gradient is larger.
    max_rounds : int
        Accepted steps at most; ``facts["converged"]`` says whether they were enough.
    class_weight : "balanced", mapping of class to weight, or None
        Multiplies row weights. "balanced": inversely to the (weighted) share of the class; costs one pass.
    validation : float
        Share of rows held out, 0 for none: training then stops after `patience` rounds without a lower held-out loss,
        and the weights of the lowest are kept.
    patience : int
    memory : int
        Pairs of vectors L-BFGS keeps, 16 bytes a weight each.

    Notes
    -----
    model: ``table`` float64 (width, outs), ``dense`` (m, outs), ``intercept`` (outs,); outs is 1 for two classes (margin of
    the second), else their number, and then weights sum to 0 over the classes.
    """

    l2: float = 1.0
    intercept: bool = True
    tolerance: float = 1e-4
    max_rounds: int = 100
    class_weight: Any = None
    validation: float = 0.0
    patience: int = 5
    memory: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weight", class_weights.plain(self.class_weight))
        for name, good, allowed in (
            ("l2", np.isfinite(self.l2) and self.l2 >= 0, "0 or more"),
            ("tolerance", 0 < self.tolerance < np.inf, "above 0"),
            ("max_rounds", self.max_rounds >= 1, "1 or more"),
            ("class_weight", class_weights.sound(self.class_weight), class_weights.ALLOWED),
            ("validation", 0 <= self.validation < 1, "0 up to, not including, 1"),
            ("patience", self.patience >= 1, "1 or more"),
            ("memory", self.memory >= 1, "1 or more"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    def _sizes(self, context: Context) -> Sizes:
        shape, classes = shape_of(context.schema), len(context.schema.classes)
        return Sizes(width=table_width(shape), dense=len(shape.names), outs=1 if classes == 2 else classes, intercept=self.intercept)

    def begin(self, context: Context, start: State | None = None) -> State:
        schema = context.schema
        class_weights.refuse_few(schema)
        sizes = self._sizes(context)
        w = np.zeros(sizes.flat) if start is None else _flat(sizes, shape_of(schema).width, start)
        carry = {"start": w}
        if self.class_weight != "balanced":
            carry["by_class"] = class_weights.named(self.class_weight, schema.classes)
        return carry

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        classes = len(context.schema.classes)
        rows = self.sees()
        if "by_class" not in carry:
            return (Pass(fold=ClassCounts(classes=classes), rows=rows),)
        search = under("search", carry)
        if search and (lbfgs.done(search) or search["round"] >= self.max_rounds or carry.get("bad", 0) >= self.patience):
            return ()
        sizes = self._sizes(context)
        cover: Cover = context.few if sizes.flat * 8 > _WIDE else SHARDS
        given = {"w": lbfgs.point(search) if search else carry["start"], "by_class": carry["by_class"]}
        sums = Sums(sizes=sizes, classes=classes, what="gradient" if search else "first", stride=self._stride(context, sizes))
        passes = [Pass(fold=sums, given=given, cover=cover, rows=rows)]
        if self.validation:
            held = Rows(kind="held", held=self.validation)
            passes.append(Pass(fold=Sums(sizes=sizes, classes=classes, what="loss"), given=given, cover=cover, rows=held))
        return tuple(passes)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        sums, carry = closed[0], dict(carry)
        if "by_class" not in carry:
            class_weights.refuse_single(context.schema, sums["counts"])
            return carry | {"by_class": class_weights.balanced(sums["counts"])}
        sizes, search = self._sizes(context), under("search", carry)
        if not search:
            class_weights.refuse_single(context.schema, sums["counts"])
            if not sums["weight"] > 0:
                raise BadInput("no row has a weight above 0", where="weight")
            prior = _prior(sizes, sums)
            if prior is not None and prior.any() and not carry["start"].any():
                return carry | {"start": prior}
            carry |= _curvature(sums)
            if not all(np.isfinite(array).all() for array in (*sums.values(), *carry.values())):
                raise BadInput("the squares of the columns overflow float64", todo="Divide large columns by a constant first, or put Scale() before this learner.")
            search = lbfgs.begin(carry.pop("start"), memory=0 if sizes.narrow else self.memory, tolerance=self.tolerance)
        if sizes.narrow or "inverse" not in search:
            search["inverse"] = self._inverse(sizes, sums, carry)
        w, before = lbfgs.point(search), int(search["round"]) if search["evaluations"] else -1
        penalty = np.zeros_like(w)
        penalty[: sizes.features * sizes.outs] = self.l2 * w[: sizes.features * sizes.outs]
        total = float(sums["weight"])
        search = lbfgs.tell(search, (float(sums["loss"]) + 0.5 * float(penalty @ w)) / total, (sums["gradient"] + penalty) / total)
        if self.validation and search["round"] > before:
            if not closed[1]["weight"] > 0:
                raise BadInput(f"validation={self.validation} leaves no row to validate on", where="validation", todo="Hold out a larger share.")
            held = closed[1]["loss"] / closed[1]["weight"]
            better = "held" not in carry or held < carry["held"]
            carry |= {"held": np.array(held), "best": search["w"], "bad": np.array(0)} if better else {"bad": carry["bad"] + np.int64(1)}
        return {name: array for name, array in carry.items() if not name.startswith("search/")} | prefixed("search", search)

    def _stride(self, context: Context, sizes: Sizes) -> int:
        return sizes.stride(round(context.rows * (1 - self.validation)))

    def _inverse(self, sizes: Sizes, sums: State, carry: State) -> F64:
        """A rough inverse Hessian of the mean objective at the point told: whole where narrow, else its diagonal at the start."""
        total, outs, p = float(sums["weight"]), sizes.outs, sizes.features
        keep = p + sizes.intercept
        penalty = np.repeat([self.l2 / total, 0.0], [p * outs, outs])[: keep * outs]
        if not sizes.narrow:
            diagonal = carry["diagonal"][:keep].ravel() + penalty
            inverse: F64 = 1.0 / np.maximum(diagonal, 1e-10 * diagonal.max() + 1e-300)
            return inverse
        lower = np.tril(sums["hessian"].reshape(outs * (p + 1), outs * (p + 1)))
        order = (np.arange(outs) * (p + 1) + np.arange(keep)[:, None]).ravel()  # from outputs first to features first
        hessian = (lower + lower.T - np.diag(np.diag(lower)))[np.ix_(order, order)] / float(sums["sampled"])
        hessian[np.diag_indices_from(hessian)] += penalty + carry["diagonal"][:keep].ravel()
        curved = np.diag(hessian) > 1e-200  # not so where no row has the feature: its weight stays
        scale = np.where(curved, 1.0 / np.sqrt(np.where(curved, np.diag(hessian), 1.0)), 0.0)  # unit diagonal: what counts as singular does not depend on units
        values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
        half = vectors / np.sqrt(np.maximum(values, 1e-10 * values.max(initial=1e-300))) * scale[:, None]
        return np.asarray(half @ half.T)

    def finish(self, context: Context, carry: State) -> State:
        sizes = self._sizes(context)
        w = np.array(carry["best"] if "best" in carry else carry["search/w"])
        if sizes.outs > 1:  # softmax does not see a shift common to all classes; rounding does not choose it either
            w -= np.repeat(w.reshape(-1, sizes.outs).mean(1), sizes.outs)
        main, dense, intercept = sizes.cut(w)
        table = np.zeros((shape_of(context.schema).width, sizes.outs))
        table[: sizes.width] = main[: sizes.width]
        return {"table": table, "dense": dense.copy(), "intercept": intercept.copy() if sizes.intercept else np.zeros(sizes.outs)}

    def sees(self) -> Rows:
        return Rows(kind="train", held=self.validation) if self.validation else ALL

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        search = under("search", carry)
        if not search:
            return {}
        found = {"loss": float(search["f"]), "gradient": float(np.abs(search["g"]).max(initial=0.0)), "converged": float(lbfgs.converged(search))}
        return found | ({"held_loss": float(carry["held"])} if "held" in carry else {})

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,): a class; ``probability`` of the second class, or ``probability_<class>`` of each of more than two."""
        from .kernels.dense import gather, margins, probabilities

        refuse_missing(batch)
        outs = len(model["intercept"])
        chances = np.empty((max(outs, 2), batch.rows))
        for block in blocks(design_of(batch), spread=False):
            z = np.zeros((max(outs, 2), block.stop - block.start))
            own = z[-outs:]  # two classes: the first one's margin is 0
            own += model["intercept"][:, None]
            margins(own, block.x, model["dense"])
            gather(own, block.slots, *block.ragged, model["table"])
            probabilities(z, chances[:, block.start : block.stop], np.empty(z.shape[1]))
        classes = batch.schema.classes or tuple(range(len(chances)))
        columns = {"prediction": np.array(classes)[chances.argmax(0)]}
        if outs == 1:
            return columns | {"probability": chances[1].copy()}
        return columns | {f"probability_{name}": chances[k].copy() for k, name in enumerate(classes)}

    def price(self, context: Context) -> Price:
        sizes = self._sizes(context)
        size = 8 * sizes.flat
        first = size + 8 * ((sizes.outs * (sizes.features + 1)) ** 2 if sizes.narrow else sizes.features + 1)
        return Price(state=first, given=size, lanes=context.few.lanes if size > _WIDE else 0, passes=(4, 2 * self.max_rounds))


def _prior(sizes: Sizes, sums: State) -> F64 | None:
    """Weights to start from in place of zeros, where a class is rarer than 2 %: its log odds as intercept; saves more than the pass it costs."""
    if not sizes.intercept:
        return None
    share = (sums["mass"] - sums["gradient"][-sizes.outs :]) / sums["weight"]  # of each class: the gradient is predicted minus found
    if share.min() >= 0.02 and share.max() <= 0.98:
        return None
    w = np.zeros(sizes.flat)
    share = np.clip(share, 1e-12, 1 - 1e-12)
    w[-sizes.outs :] = np.log(share / (1 - share)) if sizes.outs == 1 else np.log(share) - np.log(share).mean()
    return w


def _curvature(sums: State) -> State:
    """What the first pass leaves for later ones: diagonal (p + 1, outs) of the mean Hessian, narrow: only of features the sample hardly saw."""
    share = sums["mass"] / sums["weight"]
    square = sums["square"] / sums["weight"]
    if "hessian" in sums:
        square[sums["seen"] / sums["sampled"] > 0.1 * square] = 0.0
        square[-1] = 0.0
    return {"diagonal": np.outer(square, share * (1.0 - share))}


def _flat(sizes: Sizes, width: int, start: State) -> F64:
    """Weights of an earlier model as one array; BadInput where its shape is another."""
    want = {"table": (width, sizes.outs), "dense": (sizes.dense, sizes.outs), "intercept": (sizes.outs,)}
    for name, shape in want.items():
        if name not in start or start[name].shape != shape:
            found = start[name].shape if name in start else "no such array"
            raise BadInput(f"the model to start from has {found} for {name!r}, here it is {shape}", todo="Start from a model of the same columns, features and classes.")
    parts = [start["table"][: sizes.width].ravel(), start["dense"].ravel(), start["intercept"] if sizes.intercept else np.zeros(0)]
    return np.concatenate(parts).astype(np.float64)
