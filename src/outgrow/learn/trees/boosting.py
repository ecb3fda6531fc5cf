"""Gradient-boosted trees: the same trees, bit for bit, however the rows are cut and wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ...core.errors import BadField, BadInput
from ...core.learner import ALL, Context, Learner, Pass, Price, Rows
from ...core.rng import uniform
from ...core.state import State, prefixed, under
from ...data.batch import Batch
from .. import class_weights
from ..blocks import design_of, shape_of, table_width
from .bins import LAST, NUMBERS, Look, edges_of, encoded, slot_places, total, width_of
from .growing import Growth, Tree, rounds_of
from .losses import LOSSES, Loss, predicted
from .model import add_trees, grown_onto, no_trees
from .ranking import Runs, refuse_parted, slopes
from .renewal import PASSES, narrowed, quantiles
from .rows import Grown, keys_of

__all__ = ["GradientBoosting"]

F64 = npt.NDArray[np.float64]
_KEPT = "trees"
_AHEAD, _LEVEL = 8, 64  # leaves whose halves are asked for at once: best first, level by level
_ROUND_BYTES = 64 << 20  # of histograms that one round sums
_TABLE = 1 << 22  # counts of slots by column that the first pass may hold
_LOOK, _STEP, _GROW, _DONE, _MEASURE, _RENEW = range(6)  # carry["stage"]
_CATEGORIES = (10.0, 10.0, 32.0)  # added to a bin's hessian to order bins, and to l2; bins on one side at most


@dataclass(frozen=True, kw_only=True)
class GradientBoosting(Learner):
    """Gradient-boosted decision trees over binned columns, grown leaf by leaf; missing values and categories need no preparation.

    Gradients are rounded to whole numbers (14 bits, up or down by chance), and so histograms are exact sums that no order changes: any number of
    workers and any cut of the rows give the same trees. Numbers fall into bins of about equal counts, found from some 200 000 rows drawn by hash; the categories of a column
    are ordered by their gradients at each split. A missing value takes the side that gains more; one where none was missing in training, that of the more rows.

    Parameters
    ----------
    trees : int
        Rounds of boosting; with K > 2 classes each has K trees.
    leaves : int
        Leaves of a tree at most.
    depth : int
        Levels below the root at most; 0 for any.
    learning_rate : float
        What a tree adds is multiplied by this.
    loss : "logistic", "softmax", "squared", "poisson", "absolute", "quantile", "huber", "tweedie", "lambdarank", or None
        None: by the target: logistic for two classes, softmax for more, squared for numbers. Leaves of "absolute" and "quantile" have the quantile of their residuals as
        value; "poisson" and "tweedie" learn the logarithm of a mean; "lambdarank" orders the rows of each `group` by a target of
        whole numbers 0 to 31, as LightGBM does: pairs are weighed by what they change in the NDCG of the first 30 places.
    quantile : float
        Of loss "quantile": the share of rows that is to lie below the prediction.
    huber_delta : float
        Of loss "huber": squares up to this residual, beyond it grow linearly.
    tweedie_power : float
        Of loss "tweedie": the variance is the mean to this power; above 1 (Poisson), below 2 (gamma).
    group : str
        Of loss "lambdarank": the column of numbers that is the same in the rows of a group, which stand together and are 10 000 at most. No split uses it; a model reads it and
        does not care what is in it.
    growth : "leaf" or "level"
        Which leaf is split next: the one of most gain, or all of a level before the next.
    bins : int
        Bins of a column at most, that of missing values included, up to 256. Of a column's categories the most frequent have one each.
    min_rows : int
    min_hessian : float
        Fewest rows and least hessian of a leaf.
    min_gain : float
        A split must gain more.
    l1, l2 : float
        Penalties of a leaf's value.
    row_share, column_share : float
        Share of rows and columns that a tree is grown from, drawn anew for each by hashes.
    validation : float
        Share of rows held out, 0 for none: trees end after `patience` without a lower loss on them, and those up to the best are kept.
    patience : int
    monotone : mapping of column to 1 or -1, or None
        Along a column of numbers predictions must not fall (1) or not rise (-1), all else being equal; as text ``"age:1,price:-1"``. Values of leaves are held on either side of
        the middle between the two halves of a split (LightGBM's "basic" method). Not with "softmax", "absolute" and "quantile".
    class_weight : "balanced", mapping of class to weight, or None
        Multiplies row weights. "balanced": inversely to the (weighted) share of the class.

    Notes
    -----
    model: ``edges`` float64 (m, 256) of the dense columns; ``places`` uint8 (k, width), the bin of each slot of categories; ``base`` (outs,), the score before
    the first tree; the trees as in `trees.model.no_trees`.

    Kept beside each row: two bytes a column, and 17 to 25 bytes and 16 for each output. Rows are read once; after that, passes read what
    is kept alone: one a tree for gradients and the root, and about one for three splits.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.arange(400.0)
    >>> rows = og.read({"x": x, "y": np.where(x < 100, 1.0, np.where(x < 300, 5.0, 2.0))}, target="y", task="number")
    >>> learner = og.GradientBoosting(trees=30, learning_rate=0.5)
    >>> og.plan(learner, rows, on="serial").run().model.predict({"x": [50.0, 200.0, 350.0]})["prediction"].to_numpy().round(2).tolist()
    [1.0, 5.0, 2.0]
    """

    batch_bytes: ClassVar[int] = 64 << 20  # every batch costs each leaf a pour of its histogram

    trees: int = 100
    leaves: int = 31
    depth: int = 0
    learning_rate: float = 0.1
    loss: Literal["logistic", "softmax", "squared", "poisson", "absolute", "quantile", "huber", "tweedie", "lambdarank"] | None = None
    quantile: float = 0.5
    huber_delta: float = 0.9
    tweedie_power: float = 1.5
    group: str = ""
    growth: Literal["leaf", "level"] = "leaf"
    bins: int = 255
    min_rows: int = 20
    min_hessian: float = 1e-3
    min_gain: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    row_share: float = 1.0
    column_share: float = 1.0
    validation: float = 0.0
    patience: int = 10
    monotone: Any = None
    class_weight: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "monotone", _signs(self.monotone))
        object.__setattr__(self, "class_weight", class_weights.plain(self.class_weight))
        for name, good, allowed in (
            ("trees", 1 <= self.trees <= 1_000_000, "1 or more"),
            ("leaves", 2 <= self.leaves <= 1 << 15, f"2 to {1 << 15}"),
            ("depth", 0 <= self.depth <= 1000, "0 (any) to 1000"),
            ("learning_rate", 0 < self.learning_rate <= 100, "above 0, up to 100"),
            ("loss", self.loss is None or self.loss in LOSSES, f"{', '.join(LOSSES)}, None"),
            ("quantile", 0 < self.quantile < 1, "above 0, below 1"),
            ("huber_delta", 0 < self.huber_delta < 1e100, "above 0"),
            ("tweedie_power", 1 < self.tweedie_power < 2, "above 1, below 2; for 1 there is loss='poisson'"),
            ("group", isinstance(self.group, str), "the name of a column, or '' for none"),
            ("growth", self.growth in ("leaf", "level"), "leaf, level"),
            ("bins", 3 <= self.bins <= NUMBERS, f"3 to {NUMBERS}"),
            ("min_rows", 1 <= self.min_rows < 1 << 62, "1 or more"),
            ("min_hessian", 0 <= self.min_hessian < np.inf, "0 or more"),
            ("min_gain", 0 <= self.min_gain < np.inf, "0 or more"),
            ("l1", 0 <= self.l1 < np.inf, "0 or more"),
            ("l2", 0 <= self.l2 < np.inf, "0 or more"),
            ("row_share", 0 < self.row_share <= 1, "above 0, up to 1"),
            ("column_share", 0 < self.column_share <= 1, "above 0, up to 1"),
            ("validation", 0 <= self.validation < 1, "0 up to, not including, 1"),
            ("validation", not self.validation or self.loss != "lambdarank", "0 with loss='lambdarank': rows held out would be missing from their groups"),
            ("patience", self.patience >= 1, "1 or more"),
            ("monotone", _sound(self.monotone), "None, or a mapping of columns to 1 (must not fall) or -1 (must not rise)"),
            ("class_weight", class_weights.sound(self.class_weight), class_weights.ALLOWED),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)
        if self.loss not in (None, "logistic", "softmax") and self.class_weight is not None:
            raise BadField("numbers have no classes to weigh", where="class_weight", allowed=f"None with loss={self.loss!r}")

    # what is known before a row is read

    def _loss(self, context: Context) -> Loss:
        classes = len(context.schema.classes)
        name = self.loss or ("squared" if not classes else "logistic" if classes == 2 else "softmax")
        return Loss(name, {"quantile": self.quantile, "huber": self.huber_delta, "tweedie": self.tweedie_power}.get(name, 0.0))

    def _outs(self, context: Context) -> int:
        return len(context.schema.classes) if self._loss(context).name == "softmax" else 1

    def _columns(self, context: Context) -> int:
        shape = shape_of(context.schema)
        return len(shape.names) + shape.k

    def _group(self, context: Context) -> int:
        names = shape_of(context.schema).names
        return names.index(self.group) if self.group in names else -1

    def sees(self) -> Rows:
        return Rows(kind="train", held=self.validation) if self.validation else ALL

    def _fold(self, context: Context) -> Grown:
        return Grown(
            loss=self._loss(context), outs=self._outs(context), columns=self._columns(context), width=width_of(self._columns(context)),
            share=round(self.row_share * 2.0**32), held=self.validation, group=self._group(context), rows=context.rows, seed=context.seed,
        )  # fmt: skip

    def _ahead(self, context: Context) -> int:
        """Leaves of a tree that are split in one round: fewer where histograms are wide."""
        most = _LEVEL if self.growth == "level" else _AHEAD
        return max(1, min(most, self.leaves - 1, _ROUND_BYTES // (256 * 24 * self._columns(context) * self._outs(context))))

    def _growth(self, context: Context, carry: State) -> Growth:
        """How this tree grows: which columns it may use, and what one of its whole gradients is worth."""
        rule = np.array([1.0 / carry["scale"][0], 1.0 / carry["scale"][1], self.l1, self.l2, self.min_rows, self.min_hessian, *_CATEGORIES])
        columns = len(carry["bins"])
        bins, free = carry["bins"], np.delete(np.arange(columns), self._group(context)) if self.group else np.arange(columns)
        if len(free) < columns:
            bins = np.where(np.isin(np.arange(columns), free), bins, 0).astype(np.int32)
        if self.column_share < 1:
            chance = uniform(context.seed, f"tree {int(carry['tree'])} columns", free)
            used = free[np.argsort(chance, kind="stable")[: max(1, round(self.column_share * len(free)))]]
            bins = np.where(np.isin(np.arange(columns), used), bins, 0).astype(np.int32)
        kinds = (np.arange(columns) >= len(carry["edges"])).astype(np.uint8)
        return Growth(
            leaves=self.leaves, depth=self.depth, by_level=self.growth == "level", ahead=self._ahead(context), min_gain=self.min_gain, bins=bins, kinds=kinds, rule=rule,
            signs=self._bound(context),
        )  # fmt: skip

    def _bound(self, context: Context) -> npt.NDArray[np.int32]:
        """Of each column 1, -1 or 0; no column at all where none is bound."""
        if not self.monotone:
            return np.zeros(0, np.int32)
        by_name = dict(self.monotone)
        shape = shape_of(context.schema)
        return np.array([*(by_name.get(name, 0) for name in shape.names), *(0 for _ in range(shape.k))], np.int32)

    def _refuse_bounds(self, context: Context) -> None:
        """BadField for what cannot be monotone: a loss without order, a column of categories or one that is not there."""
        loss, names = self._loss(context), shape_of(context.schema).names
        if self.monotone and (loss.name == "softmax" or loss.share is not None):
            raise BadField(f"with loss {loss.name!r} nothing can be held monotone", where="monotone", allowed="a loss with Newton's steps as values and one output")
        for name, _ in self.monotone or ():
            if name not in names:
                found = f"column {name!r} is no column of numbers" if name in context.schema else f"there is no column {name!r}"
                raise BadField(found, where="monotone", allowed=", ".join(names) or "columns of numbers")

    def price(self, context: Context) -> Price:
        outs, columns, ahead = self._outs(context), self._columns(context), self._ahead(context)
        histogram = 256 * 24 * columns
        sample = 8 * len(shape_of(context.schema).names) * min(context.rows, 200_000) // context.shards  # each state holds its part
        loss = self._loss(context)
        renewed, slopes = PASSES if loss.share is not None else 0, 16 * outs if loss.measured else 0
        most = self.trees * (1 + loss.measured + renewed + rounds_of(self.leaves, ahead))
        return Price(
            state=max(outs * ahead * histogram, sample, self.leaves << 15 if renewed else 0), given=300 * ahead * outs, passes=(2 + renewed, 1 + renewed + most),
            kept_per_row=width_of(columns) + columns + 17 + 8 * bool(self.group) + 32 * outs + 2 * slopes, kept_fresh=4 * outs + slopes,
        )  # fmt: skip

    # rounds

    def begin(self, context: Context, start: State | None = None) -> State:
        shape, schema, loss = shape_of(context.schema), context.schema, self._loss(context)
        if start is not None:
            raise BadInput("boosted trees do not go on from a model", todo="Train anew, with more trees.")
        if loss.of_classes:
            class_weights.refuse_few(schema)
            if loss.name == "logistic" and len(schema.classes) > 2:
                raise BadField(f"the target has {len(schema.classes)} classes", where="loss", allowed="softmax, or None")
        elif schema.task != "number":
            found = f"target {schema.target!r} has classes" if schema.target else "there is no target"
            raise BadInput(found, allowed="a target of numbers", todo="Say that the target is a number (task='number'), or leave the loss to the target.")
        self._refuse_bounds(context)
        if bool(self.group) != (loss.name == "lambdarank"):
            raise BadField(f"{self.group!r} does not go with loss {loss.name!r}", where="group", allowed="the name of a column with loss='lambdarank', and '' with others")
        if self.group and self.group not in shape.names:
            raise BadField(f"there is no column of numbers {self.group!r}", where="group", allowed=", ".join(shape.names) or "columns of numbers")
        if shape.ragged:
            raise BadInput("there are sparse columns or texts, whose entries boosted trees do not read", todo="Leave them out, or learn with OnlineLinear or LogisticRegression.")
        if self._columns(context) == bool(self.group):
            raise BadInput("there is no column to learn from", todo="Name columns beside the target.")
        if shape.k * table_width(shape) > _TABLE:
            raise BadInput(
                f"{shape.k} columns of categories share a table of {table_width(shape):,} slots", allowed=f"{_TABLE:,} slots times columns at most",
                todo="Encode with OneHot(max_categories=254) before this learner.",
            )  # fmt: skip
        return {"stage": np.array(_LOOK), "version": np.array(0), "tree": np.array(0)} | no_trees()

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        stage = int(carry["stage"])
        if stage == _DONE:
            return ()
        shape = shape_of(context.schema)
        if stage == _LOOK:
            look = Look(
                classes=len(context.schema.classes), dense=len(shape.names), k=shape.k, width=table_width(shape), rows=context.rows, seed=context.seed
            )
            runs = (Pass(fold=Runs(group=self._group(context))),) if self.group else ()
            return (Pass(fold=look, rows=self.sees()), *runs)
        if stage == _RENEW:
            given = {name: carry[name] for name in ("made", "prefix", "known", "heaviest")}
            return (Pass(fold=self._fold(context), given=given, kept=_KEPT, version=int(carry["version"]) + (not carry["known"])),)
        given = self._step(context, carry)
        if stage == _GROW:
            given = self._splits(self._asked(context, carry, self._growth(context, carry)))
        elif "leaves" in carry:
            given |= {"leaves": carry["leaves"], "values": carry["values"]}
        return (Pass(fold=self._fold(context), given=given, kept=_KEPT, version=int(carry["version"]) + 1),)

    def _step(self, context: Context, carry: State) -> State:
        if "scale" not in carry:
            return {}
        return {"step": keys_of(context.seed, int(carry["tree"]), self._outs(context)), "scale": carry["scale"], "unit": carry["unit"]} | self._edges(carry)

    @staticmethod
    def _edges(carry: State) -> State:
        return {name: carry[name] for name in ("edge_at", "edge_slopes") if name in carry}

    def _tree(self, carry: State, out: int) -> Tree:
        return Tree(under(f"{out}", carry))

    def _asked(self, context: Context, carry: State, growth: Growth) -> list[tuple[Tree, list[tuple[int, int, int, int, int]]]]:
        """The trees under way, and what each asks to be split."""
        return [(tree, tree.splits(growth, out)) for out in range(self._outs(context)) for tree in (self._tree(carry, out),)]

    @staticmethod
    def _splits(trees: list[tuple[Tree, list[tuple[int, int, int, int, int]]]]) -> State:
        splits, lefts = [], []
        for tree, asked in trees:
            splits += asked
            lefts += [tree.nodes["lefts"][node] for _, node, _, _, _ in asked]
        return {"splits": np.array(splits, np.int32).reshape(-1, 5), "lefts": np.array(lefts, np.uint8).reshape(-1, 256)}

    def recall(self, context: Context, carry: State, kept: str) -> State:
        """All that rebuilds a batch's bins, scores, gradients and segments, this round's splits included."""
        given = {name: carry[name] for name in ("edges", "places", "base", "roots", "column", "child", "masks", "value")} | self._step(context, carry)
        given |= {"by_class": carry["by_class"]} if "by_class" in carry else {}
        done = int(carry["parts"]) if int(carry["stage"]) in (_GROW, _RENEW) else 0
        given |= {f"{name}/{i}": carry[f"{name}/{i}"] for i in range(done) for name in ("splits", "lefts")}
        if int(carry["stage"]) == _GROW:
            now = self._splits(self._asked(context, carry, self._growth(context, carry)))
            given |= {f"{name}/{done}": array for name, array in now.items()}
            done += 1
        return given | {"parts": np.array(done)}

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        stage, state = int(carry["stage"]), closed[0]
        if stage == _LOOK:
            if self.group:
                refuse_parted(closed[1], self.group)
            return self._looked(context, carry, state)
        if stage == _RENEW:
            return self._renewed(context, carry | {"version": carry["version"] + (not carry["known"])}, state)
        carry = carry | {"version": carry["version"] + 1}
        if stage == _MEASURE:
            return self._measured(context, carry, state)
        return self._stepped(context, carry, state) if stage == _STEP else self._grown(context, carry, state)

    def _looked(self, context: Context, carry: State, found: State) -> State:
        schema, loss = context.schema, self._loss(context)
        weights = np.array([total(sums) for sums in found["weights"]])
        carry = carry | {"stage": np.array(_STEP), "edges": edges_of(found["sample"], self.bins), "places": slot_places(found["slots"], self.bins)}
        carry["bins"] = np.concatenate([(carry["edges"] < LAST).sum(1) + 2, carry["places"].max(1, initial=0).astype(np.int64) + 1]).astype(np.int32)
        heaviest = float(found["heaviest"])
        if loss.of_classes:
            class_weights.refuse_single(schema, weights)
            if self.class_weight is not None:
                by_class = class_weights.balanced(weights) if self.class_weight == "balanced" else class_weights.named(self.class_weight, schema.classes)
                carry["by_class"] = by_class
                weights, heaviest = weights * by_class, heaviest * float(by_class.max())
                class_weights.refuse_single(schema, weights)
            share = weights / weights.sum()
            with np.errstate(divide="ignore"):
                carry["base"] = np.log(share[1:] / share[:1]) if loss.name == "logistic" else np.maximum(np.log(share), -30.0)
            bounds = heaviest * np.array([1.0, 0.25 if loss.name == "logistic" else 0.25 * len(share) / (len(share) - 1)])
            carry["unit"] = np.array(1.0)
        else:
            if not weights[0] > 0:
                raise BadInput("no row has a weight above 0", where="weight")
            carry |= {"low": found["low"], "high": found["high"], "heaviest": np.array(heaviest), "mean": np.array(weights[1] / weights[0])}
            carry |= loss.begun(carry, schema.target)
            bounds = carry.pop("bounds")
            if not max(float(carry["high"] - carry["low"]), *bounds) < np.sqrt(np.finfo(np.float64).max / context.rows):
                raise BadInput("the squares of the target overflow float64", where=f"column {schema.target!r}", todo="Divide it by a constant first.")
        if self.validation and round(self.validation * context.rows) == 0:
            raise BadInput(f"validation={self.validation} leaves no row to validate on", where="validation", todo="Hold out a larger share.")
        if loss.share is not None:
            carry |= {"parts": np.array(0)} | self._to_renew([(0, 0, 0)], 1)
        return carry | ({"stage": np.array(_MEASURE)} if loss.measured else {"scale": self._scale(bounds)})

    @staticmethod
    def _to_renew(made: list[tuple[int, int, int]], places: int) -> State:
        """Before the first pass for quantiles: of (output, leaf, place) rows belong to a place."""
        start: State = {"prefix": np.zeros(places, np.uint64), "below": np.full(places, -1), "known": np.array(0)}
        return start | {"stage": np.array(_RENEW), "made": np.array(made, np.int32)}

    def _renewed(self, context: Context, carry: State, state: State) -> State:
        """12 more bits of each quantile; with the last of them the base score (nothing was stepped yet), or the values of a tree's leaves."""
        prefix, below = narrowed(carry["prefix"], state["sums"], self._loss(context).share or 0.0, carry["below"])
        bits = carry["known"] + 12
        if int(bits) < 12 * PASSES:
            return carry | {"prefix": prefix, "below": below, "known": bits}
        values = quantiles(prefix)
        carry = {name: array for name, array in carry.items() if name not in ("prefix", "below", "known", "made")}
        if "top" in carry:
            return self._finished(context, carry, values)
        return carry | {"stage": np.array(_STEP), "base": values, "leaves": np.zeros((1, 2), np.int32), "values": values}

    def _measured(self, context: Context, carry: State, state: State) -> State:
        carry = {name: array for name, array in carry.items() if name not in ("leaves", "values")}
        tops = state["tops"]
        if self.group:
            found = slopes(*np.ascontiguousarray(state["edge"]))
            tops = np.maximum(tops, np.abs(found).max(axis=1, initial=0.0))
            carry |= {"edge_at": state["edge_at"], "edge_slopes": found}
        if not np.isfinite(tops).all():
            raise BadInput(f"the gradients of loss {self.loss!r} overflow float64", where=f"column {context.schema.target!r}", todo="Lower the learning rate, or raise l2.")
        return carry | {"stage": np.array(_STEP), "scale": self._scale(tops)}

    @staticmethod
    def _scale(bounds: F64) -> F64:
        """Whole numbers for one of gradient and hessian, none of whose rows has more than these."""
        return np.array([8191.0, 2047.0]) / np.maximum(bounds, 1e-300)

    def _stepped(self, context: Context, carry: State, state: State) -> State:
        """The first round of a tree is in: what the trees before have come to, and the roots."""
        carry = {name: array for name, array in carry.items() if name not in ("leaves", "values")}
        if self.validation:
            carry = self._judged(carry, state)
        if int(carry["stage"]) == _DONE or int(carry["tree"]) >= self.trees:
            return carry | {"stage": np.array(_DONE)}
        growth = self._growth(context, carry)
        carry |= {"stage": np.array(_GROW), "parts": np.array(0), "top": state["top"], "peak": state["high"]}
        for out, sums in enumerate(state["sums"]):
            carry |= prefixed(f"{out}", Tree.rooted(growth, sums).state())
        return carry if any(tree.wanted(growth) for tree in self._trees(context, carry)) else self._ended(context, carry)

    def _trees(self, context: Context, carry: State) -> list[Tree]:
        return [self._tree(carry, out) for out in range(self._outs(context))]

    def _judged(self, carry: State, state: State) -> State:
        """With the loss of the rows held out, after the trees so far; done where it has not come down for long."""
        if not state["held"][1]:
            raise BadInput("no row held out has a weight above 0", where="validation", todo="Hold out a larger share.")
        loss, tree = float(state["held"][0] / state["held"][1]), int(carry["tree"])
        if "held" not in carry or loss < carry["held"]:
            return carry | {"held": np.array(loss), "best": np.array(tree)}
        return carry | ({"stage": np.array(_DONE)} if tree - int(carry["best"]) >= self.patience else {})

    def _grown(self, context: Context, carry: State, state: State) -> State:
        growth, at, after = self._growth(context, carry), 0, dict[str, Any]()
        trees = self._asked(context, carry, growth)
        now = self._splits(trees)
        for out, (tree, splits) in enumerate(trees):
            if splits:
                tree.grow(growth, splits, state["sums"][at : at + len(splits)])
                at += len(splits)
            after |= prefixed(f"{out}", tree.state())
        rest = {name: array for name, array in carry.items() if not name.partition("/")[0].isdigit()}
        carry = rest | after | {f"{name}/{int(carry['parts'])}": array for name, array in now.items()} | {"parts": carry["parts"] + 1}
        return carry if any(tree.wanted(growth) for tree, _ in trees) else self._ended(context, carry)

    def _ended(self, context: Context, carry: State) -> State:
        """All trees of this round of boosting are grown; their leaves may yet get other values."""
        if self._loss(context).share is None:
            return self._finished(context, carry)
        (tree,) = self._trees(context, carry)
        ends, belongs = tree.ends()
        return carry | self._to_renew([(0, node, place) for node, place in belongs], len(ends))

    def _finished(self, context: Context, carry: State, values: F64 | None = None) -> State:
        """Put the trees of this round to the others, and say what they add to whom. values: of the leaves, in the order of `Tree.ends`, where they are not Newton's."""
        growth = self._growth(context, carry)
        found = [tree.finished(growth, self.learning_rate, values) for tree in self._trees(context, carry)]
        leaves = np.array([(out, node) for out, (_, made) in enumerate(found) for node, _ in made], np.int32)
        moved = np.array([value for _, made in found for _, value in made])
        rest = {name: array for name, array in carry.items() if not name.partition("/")[0].isdigit() and not name.startswith(("splits/", "lefts/"))}
        stuck = all(len(arrays["value"]) == 1 for arrays, _ in found) and self.row_share == 1 and self.column_share == 1
        if stuck:
            return rest | {"stage": np.array(_DONE)}
        tree = int(carry["tree"]) + 1
        carry = rest | grown_onto(carry, [arrays for arrays, _ in found]) | {"leaves": leaves, "values": moved, "stage": np.array(_STEP), "tree": np.array(tree)}
        if tree >= self.trees and not self.validation:
            return carry | {"stage": np.array(_DONE)}
        loss = self._loss(context)
        if loss.measured:
            return {name: array for name, array in carry.items() if name not in ("scale", "edge_at", "edge_slopes")} | {"stage": np.array(_MEASURE)}
        return carry if loss.steady else carry | {"scale": self._scale(loss.rescaled(carry, float(np.abs(moved).max(initial=0.0))))}

    def finish(self, context: Context, carry: State) -> State:
        trees = int(carry["best"]) * self._outs(context) if self.validation and "best" in carry else len(carry["roots"])
        ends = np.append(carry["roots"], len(carry["value"]))[trees]
        model = {name: carry[name] for name in ("edges", "places", "base")} | {"roots": carry["roots"][:trees]}
        return model | {name: carry[name][:ends] for name in no_trees() if name != "roots"}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        found = {"trees": float(carry["tree"])}
        return found | ({"held_loss": float(carry["held"])} if "held" in carry else {})

    # the model

    def codes(self, model: State, batch: Batch) -> npt.NDArray[np.uint8]:
        """uint8 (n · width,): the bins of the rows in the model's columns."""
        design = design_of(batch)
        if design.dense.shape[1] != len(model["edges"]) or design.slots.shape[1] != len(model["places"]):
            raise BadInput("the columns are not those of the model", where=batch.place, todo="Give the columns that the model was trained on.")
        return encoded(design, model["edges"], model["places"])

    def scores(self, model: State, batch: Batch) -> F64:
        """(outs, n): the sums of the trees, before they become chances or counts."""
        scores = np.repeat(model["base"][:, None], batch.rows, axis=1)
        codes = self.codes(model, batch)
        add_trees(codes, width_of(len(model["edges"]) + len(model["places"])), model, scores)
        return scores

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,): a class, with ``probability`` of the second of two, or ``probability_<class>`` of each of more; or a number."""
        from ..kernels.dense import probabilities

        scores = self.scores(model, batch)
        classes = batch.schema.classes
        if self.loss not in (None, "logistic", "softmax") or (self.loss is None and not classes and len(scores) == 1):
            return {"prediction": predicted(self.loss, scores[0])}
        classes = classes or tuple(range(max(2, len(scores))))
        z = np.vstack([np.zeros(batch.rows), scores]) if len(scores) == 1 else scores
        chance = np.empty_like(z)
        probabilities(np.ascontiguousarray(z), chance, np.empty(batch.rows))
        columns = {"prediction": np.array(classes)[chance.argmax(0)]}
        if len(scores) == 1:
            return columns | {"probability": chance[1].copy()}
        return columns | {f"probability_{name}": chance[k].copy() for k, name in enumerate(classes)}


def _signs(given: Any) -> Any:
    """A mapping, or text as "age:1,price:-1", as pairs that a frozen field can hold; anything else as it is."""
    if isinstance(given, str):
        pairs = [part.rpartition(":") for part in given.split(",")]
        return tuple((name.strip(), int(sign) if sign.strip() in ("1", "-1", "+1") else sign) for name, _, sign in pairs)
    return tuple(given.items()) if isinstance(given, Mapping) else given


def _sound(given: Any) -> bool:
    return given is None or (
        isinstance(given, tuple) and all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) and not isinstance(p[1], bool) and p[1] in (1, -1) for p in given)
    )
