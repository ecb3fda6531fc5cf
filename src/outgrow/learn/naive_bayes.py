"""Naive Bayes for numbers, counts and yes-or-no columns: one pass, exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from ..core.learner import Context, Fold, Learner, Pass, Price, Traits
from ..core.state import State
from ..data.batch import Batch
from .blocks import NOTHING, blocks, design_of, refuse_missing, shape_of, table_width, weights_of
from .class_columns import NEVER, chances_of, class_columns, linear_columns, log_of, log_shares, pairs_of, refuse_classless, refuse_start
from .scatter import Scatter, columns_of, cover_for, refuse_overflow, refuse_weightless, refuse_wide, still_columns

__all__ = ["NaiveBayes"]

F64 = npt.NDArray[np.float64]
Kind = Literal["gaussian", "multinomial", "complement", "bernoulli"]
_WIDEST = 4096  # columns of the Gaussian kind, whose rows are spread out


@dataclass(frozen=True, kw_only=True)
class _Counts(Fold):
    """Sums of the columns by class. state, float64: weight (K,), table (K, width), dense (K, m).

    above : 0 or more: a column counts 1 where its value is larger; below 0: values are summed as they are.
    """

    traits: ClassVar[Traits] = Traits(elementwise=True)
    classes: int
    width: int
    dense: int
    above: float

    def init(self, given: Mapping[str, Any]) -> State:
        return {"weight": np.zeros(self.classes), "table": np.zeros((self.classes, self.width)), "dense": np.zeros((self.classes, self.dense))}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.classed import class_sums, entry_sums

        design, label, weight = design_of(batch), batch.target, weights_of(batch)
        binary = self.above >= 0
        held = np.zeros(self.width if binary else 0)
        sound = design.ragged is None or bool(np.isfinite(design.ragged[2]).all())
        for block in blocks(design, spread=False):
            part = slice(block.start, block.stop)
            row = weight[part] if len(weight) else NOTHING
            with np.errstate(invalid="ignore", over="ignore"):
                sound = sound and bool(np.isfinite(block.x.sum()))
            if not binary and block.x.size and block.x.min() < 0:
                _refuse_negative(batch)
            class_sums()(binarized(block.x, self.above) if binary else block.x, label[part], row, state["dense"], state["weight"])
            if not entry_sums()(block.slots, *block.ragged, label[part], row, self.above, held, state["table"]):
                _refuse_negative(batch)
        if not sound:
            refuse_missing(batch)  # nothing is missing where large sums overflow: `tell` looks for them
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        for name, array in right.items():
            left[name] += array
        return left


def binarized(x: F64, above: float) -> F64:
    return (x > above).astype(np.float64)


def _refuse_negative(batch: Batch) -> None:
    design = design_of(batch)
    found = np.argwhere(design.dense < 0)
    if len(found):
        row, column = (int(i) for i in found[0])
        what = f"a value below 0 in column {design.names[column]!r}, row {int(batch.positions[row])}"
    else:
        what = "a sparse value below 0"
    raise BadInput(
        what, where=batch.place, allowed="counts, 0 or more", todo='Use kind="gaussian" or "bernoulli", leave out Scale, or hash without signs (Hashing(signed=False)).'
    )


@dataclass(frozen=True, kw_only=True)
class NaiveBayes(Learner):
    """Naive Bayes: within a class the columns are taken to be independent. One pass, the exact model.

    The estimates are those of scikit-learn's GaussianNB, MultinomialNB, ComplementNB and BernoulliNB.

    Parameters
    ----------
    kind : "gaussian", "multinomial", "complement" or "bernoulli"
        Numbers, each normal within a class; counts of words; counts of words by the complement of a class (Rennie and others
        2003), for classes of unlike size; columns that are there or not.
    alpha : float
        What is added to every count, for all kinds but the Gaussian, at least 1e-10.
    var_smoothing : float
        Gaussian: this share of the largest variance of a column is added to every variance.
    binarize : float
        Bernoulli: a column is there where its value is larger, 0 or more.
    norm : bool
        Complement: the weights of a class are divided by their sum.
    priors : mapping of class to share, "uniform" or None
        How likely each class is before a row is seen; None: its share of the rows' weight. Stands for class weights.

    Notes
    -----
    Row weights count as repetitions, also for var_smoothing. A class without rows, or whose rows all weigh 0, is never predicted; of rows of one class, that class always is.
    A slot of the table that no row has says nothing of the Bernoulli kind (scikit-learn counts it against classes of few rows); the others smooth it as any other.

    model, Gaussian: ``mean`` and ``variance`` float64 (K, p), table slots before dense columns. Other kinds: ``table`` (width, K), ``dense`` (m, K), linear
    log odds. All: ``intercept`` (K,), ``weight`` (K,), that of the rows of each class.

    Cost: p sums a row; Gaussian twice that, for up to 4 096 columns, about the means and merged by Chan, Golub and LeVeque (1979). The other kinds take
    entries of a table as they come: wide and hashed ones are fine; states of 8 K (width + m) bytes.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> source = og.read({"x": [1.0, 2.0, 3.0, 11.0, 12.0, 13.0], "y": ["a", "a", "a", "b", "b", "b"]}, target="y")
    >>> model = og.plan(og.NaiveBayes(), source, features=[og.OneHot()], on="serial").run().model
    >>> model.arrays["1/mean"].ravel().tolist(), model.predict({"x": [3.5, 9.0]})["prediction"].to_pylist()
    ([2.0, 12.0], ['a', 'b'])
    """

    kind: Kind = "gaussian"
    alpha: float = 1.0
    var_smoothing: float = 1e-9
    binarize: float = 0.0
    norm: bool = False
    priors: Any = None

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("kind", self.kind in get_args(Kind), ", ".join(get_args(Kind))),
            ("alpha", 1e-10 <= self.alpha < np.inf, "1e-10 or more"),
            ("var_smoothing", 0 <= self.var_smoothing < np.inf, "0 or more"),
            ("binarize", 0 <= self.binarize < np.inf, "0 or more"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)
        pairs_of(self, "priors")

    def widest(self, schema: Any) -> int | None:
        return _WIDEST if self.kind == "gaussian" else None

    def begin(self, context: Context, start: State | None = None) -> State:
        refuse_classless(context, 1, "Name a target of classes.")
        refuse_start(start, "naive Bayes")
        shape = shape_of(context.schema)
        if self.kind == "gaussian":
            todo = 'Use kind="multinomial" or "bernoulli", which take a table of any width, or fewer categories or hash bits.'
            refuse_wide("Gaussian naive Bayes", columns_of(shape), _WIDEST, todo)
        return {}

    def _fold(self, context: Context) -> Fold:
        shape, classes = shape_of(context.schema), len(context.schema.classes)
        if self.kind == "gaussian":
            return Scatter(columns=columns_of(shape), classes=classes, kind="diagonal")
        return _Counts(classes=classes, width=table_width(shape), dense=len(shape.names), above=self.binarize if self.kind == "bernoulli" else -1.0)

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry else (Pass(fold=self._fold(context), cover=cover_for(context, self.price(context).state)),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        found = closed[0]
        refuse_weightless(found["weight"])
        prior = log_shares(context, self.priors, found["weight"])
        model = self._gaussian(context, found, prior) if self.kind == "gaussian" else self._linear(context, found, prior)
        wrong = [name for name, array in model.items() if not np.isfinite(array).all()]
        if wrong:
            field = "var_smoothing" if self.kind == "gaussian" else "alpha"
            raise BadInput(f"{wrong[0]} overflows float64", where=field, todo=f"Lower {field}, or divide the columns by a constant first.")
        return model | {"weight": found["weight"]}

    def _gaussian(self, context: Context, found: State, prior: F64) -> State:
        names, classes = shape_of(context.schema).names, context.schema.classes
        refuse_overflow(found, names, "diagonal")
        weight, mean = found["weight"], found["mean"]
        some = weight > 0
        total = weight.sum()
        spread = np.where(still_columns(found["scatter"], mean, weight[:, None]), 0.0, found["scatter"])
        center = weight @ mean / total
        away = np.where(some[:, None], mean - center, 0.0)
        around = weight @ (away * away)
        whole = (spread.sum(0) + np.where(around <= total * (1e-14 * center) ** 2, 0.0, around)) / total
        if not whole.any():
            raise BadInput(
                "no column changes over the rows" if total > 1 or context.rows > 1 else "there is 1 row (1 sample), and a variance needs 2",
                todo="Add rows, or columns that tell the classes apart.",
            )
        with np.errstate(over="ignore"):
            variance = spread / np.where(some, weight, 1.0)[:, None] + self.var_smoothing * whole.max()
        variance[~some] = 1.0
        flat = np.argwhere(variance <= 0)
        if len(flat):
            k, j = (int(i) for i in flat[0])
            place = j - (len(whole) - len(names))
            what = f"column {names[place]!r}" if place >= 0 else f"table slot {j}"
            said = f"{what} never changes within class {classes[k]!r}, and var_smoothing adds {self.var_smoothing * whole.max():g}"
            raise BadInput(said, where="var_smoothing", todo="Raise it.")
        intercept = np.where(some, prior - 0.5 * (log_of(2.0 * np.pi * variance)).sum(1), NEVER)
        return {"mean": mean, "variance": variance, "intercept": intercept}

    def _linear(self, context: Context, found: State, prior: F64) -> State:
        width, classes = found["table"].shape[1], found["weight"]
        counts = np.concatenate([found["table"], found["dense"]], 1)
        if not np.isfinite(counts).all():
            raise BadInput("the sums of a column overflow float64", todo="Divide the column by a constant first, or leave it out.")
        intercept = prior
        with np.errstate(over="ignore", invalid="ignore"):  # looked for by the caller
            if self.kind == "multinomial":
                weights = log_of(counts + self.alpha) - log_of((counts + self.alpha).sum(1))[:, None]
            elif self.kind == "bernoulli":
                without = log_of(np.maximum(classes[:, None] - counts, 0.0) + self.alpha)
                weights = log_of(counts + self.alpha) - without
                absent = without - log_of(classes + 2.0 * self.alpha)[:, None]
                unseen = np.flatnonzero(~found["table"].any(0))
                weights[:, unseen] = absent[:, unseen] = 0.0  # a million empty slots of a hashed table would outweigh all that is known
                intercept = prior + absent.sum(1)
            else:
                others = np.maximum(counts.sum(0) - counts, 0.0) + self.alpha
                logs = log_of(others) - log_of(others.sum(1))[:, None]
                weights = logs / logs.sum(1)[:, None] if self.norm else -logs
                intercept = np.where(prior > NEVER, prior if len(prior) == 1 else 0.0, NEVER)  # as Rennie and others: classes count alike
        intercept = np.where(prior > NEVER, intercept, NEVER)
        table = np.zeros((shape_of(context.schema).width, len(prior)))
        table[:width] = weights[:, :width].T
        return {"table": table, "dense": np.ascontiguousarray(weights[:, width:].T), "intercept": intercept}

    def finish(self, context: Context, carry: State) -> State:
        return dict(carry)

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,): a class; ``probability`` of the second class, or ``probability_<class>`` of each where they are not two."""
        if self.kind == "gaussian":
            return self._predict_gaussian(model, batch)
        return self._predict_present(model, batch) if self.kind == "bernoulli" else linear_columns(model, batch)

    def _predict_gaussian(self, model: State, batch: Batch) -> dict[str, Any]:
        from .kernels.classed import gaussian

        refuse_missing(batch)
        inverse = 1.0 / model["variance"]
        chances = np.empty((len(model["mean"]), batch.rows))
        for block in blocks(design_of(batch), spread=True):
            z = np.repeat(model["intercept"][:, None], len(block.x), 1)
            gaussian()(block.x, model["mean"], inverse, z)
            chances[:, block.start : block.stop] = chances_of(np.maximum(z, NEVER))
        return class_columns(chances, batch.schema.classes)

    def _predict_present(self, model: State, batch: Batch) -> dict[str, Any]:
        from .kernels.classed import present
        from .kernels.dense import margins

        refuse_missing(batch)
        held = np.zeros(len(model["table"]))
        chances = np.empty((len(model["intercept"]), batch.rows))
        for block in blocks(design_of(batch), spread=False):
            z = np.repeat(model["intercept"][:, None], len(block.x), 1)
            margins(z, binarized(block.x, self.binarize), model["dense"])
            present()(block.slots, *block.ragged, self.binarize, held, model["table"], z)
            chances[:, block.start : block.stop] = chances_of(z)
        return class_columns(chances, batch.schema.classes)

    def price(self, context: Context) -> Price:
        shape, classes = shape_of(context.schema), len(context.schema.classes)
        size = 8 * classes * (1 + (2 * columns_of(shape) if self.kind == "gaussian" else shape.width + len(shape.names)))
        return Price(state=size, lanes=cover_for(context, size).lanes)
