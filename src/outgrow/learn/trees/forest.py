"""Random forests and extra trees: the same trees, bit for bit, however the rows are cut and wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import factorial, frexp, isfinite, isqrt
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import BadField, BadInput
from ...core.learner import Context, Learner, Pass, Price
from ...core.state import State, prefixed, under
from ...data.batch import Batch
from ...data.native import F8, I4, I8, INT, U1, Array, Native
from .. import class_weights
from ..blocks import design_of, shape_of, table_width
from .bins import LAST, NUMBERS, Look, edges_of, encoded, slot_places, width_of
from .bins import total as exact_total
from .forest_growing import Nodes, Rule
from .forest_rows import Planted
from .model import grown_onto, no_trees

__all__ = ["RandomForest"]

F64 = npt.NDArray[np.float64]
_add_shares = Native(
    "outgrow.learn.kernels.forest", "add_shares", (U1(1), INT, I8(1), I4(1), I4(1), Array("uint64", 1), F8(2), F8(2, True))
)
_KEPT = "forest"
_TOGETHER = 16  # trees that grow at once
_ROUND_BYTES = 64 << 20  # of histograms that one round sums
_TABLE = 1 << 22  # counts of slots by column that the first pass may hold
_TIMES = 15  # that a tree draws a row at most
_LOOK, _GROW, _DONE = range(3)  # carry["stage"]


@dataclass(frozen=True, kw_only=True)
class RandomForest(Learner):
    """A forest of decision trees over binned columns, each grown from rows drawn anew; missing values and categories need no preparation.

    Histograms hold exact sums of whole numbers, which no order changes, and all draws are hashes: any number of workers and any cut of the rows give the same trees.
    Bins are those of `GradientBoosting`. A split of least Gini impurity, or least squares, is looked for among columns drawn anew for each node. A missing value takes the
    side that gains more; one where none was missing in training, that of the more rows. A chance is the mean of the shares of classes in the leaves, a number the mean of
    the leaves' means. Several trees grow in the same passes.

    Parameters
    ----------
    trees : int
    leaves : int
        Leaves of a tree at most: those of most gain are split first.
    depth : int
        Levels below the root at most; 0 for any.
    min_rows : int
        Fewest rows of a leaf, each counted once.
    columns : int, float, "sqrt", "log2", or None
        Columns that a node tries: how many, or which share of all (a float). None: the square root for classes, all for numbers.
    row_share : float
        Rows that a tree draws, as a share of all.
    bootstrap : bool or None
        True: with replacement, so that a row counts as often as a Poisson draw says; False: each at most once. None: with replacement but for extra trees.
    extra : bool
        Extra trees: of each column a single threshold is drawn from its bins in the node, in place of the best.
    bins : int
        Bins of a column at most, that of missing values included, up to 256. Of a column's categories the most frequent have one each.
    class_weight : "balanced", mapping of class to weight, or None
        Multiplies row weights. "balanced": inversely to the (weighted) share of the class.

    Notes
    -----
    model: ``edges`` float64 (m, 256) of the dense columns; ``places`` uint8 (k, width), the bin of each slot of categories; the trees as in `trees.model.no_trees`, but
    ``value`` float64 (nodes, outs): the share of each class, or the mean.

    A number is held as a whole one of up to 30 bits over its range (fewer where rows are weighed, 22 for a million, or more than 2^27); a weight as one of up to 16 bits, 24
    for classes. Whole numbers and weights that fit are exact.

    Kept beside each row: two bytes a column, 17, and for each of the (up to 16) trees under way about 5. Rows are read once; after that, passes read what is kept alone:
    one for each level of a group of trees, more where histograms of a level take more than 64 MB.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.arange(400.0)
    >>> rows = og.read({"x": x, "y": np.where(x < 100, 1.0, np.where(x < 300, 5.0, 2.0))}, target="y", task="number")
    >>> model = og.plan(og.RandomForest(trees=10), rows, on="serial").run().model
    >>> model.predict({"x": [50.0, 200.0, 350.0]})["prediction"].to_numpy().round(2).tolist()
    [1.0, 5.0, 2.0]
    """

    batch_bytes: ClassVar[int] = 64 << 20  # every batch costs each node a step of the driver's

    trees: int = 100
    leaves: int = 1024
    depth: int = 0
    min_rows: int = 1
    columns: Any = None
    row_share: float = 1.0
    bootstrap: bool | None = None
    extra: bool = False
    bins: int = 255
    class_weight: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weight", class_weights.plain(self.class_weight))
        for name, good, allowed in (
            ("trees", 1 <= self.trees <= 1_000_000, "1 or more"),
            ("leaves", 2 <= self.leaves <= 1 << 20, f"2 to {1 << 20}"),
            ("depth", 0 <= self.depth <= 1000, "0 (any) to 1000"),
            ("min_rows", 1 <= self.min_rows < 1 << 62, "1 or more"),
            ("columns", _sound(self.columns), "1 or more, a share above 0 up to 1.0, 'sqrt', 'log2', None"),
            ("row_share", 0 < self.row_share <= 1, "above 0, up to 1"),
            ("bootstrap", self.bootstrap in (None, True, False), "True, False, None"),
            ("bins", 3 <= self.bins <= NUMBERS, f"3 to {NUMBERS}"),
            ("class_weight", class_weights.sound(self.class_weight), class_weights.ALLOWED),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    # what is known before a row is read

    def _outs(self, context: Context) -> int:
        return max(1, len(context.schema.classes))

    def _columns(self, context: Context) -> int:
        shape = shape_of(context.schema)
        return len(shape.names) + shape.k

    def _tried(self, context: Context) -> int:
        """Columns that a node tries."""
        m, wanted = self._columns(context), self.columns
        if wanted is None:
            wanted = "sqrt" if context.schema.classes else 1.0
        if isinstance(wanted, str):
            return max(1, isqrt(m) if wanted == "sqrt" else m.bit_length() - 1)
        return max(1, min(m, int(wanted * m))) if isinstance(wanted, float) else int(min(m, wanted))

    def _node_bytes(self, context: Context) -> int:
        return 256 * 8 * self._tried(context) * (self._outs(context) + 2)

    def _together(self, context: Context) -> int:
        """Trees that grow at once: fewer where histograms are wide."""
        return max(1, min(_TOGETHER, self.trees, _ROUND_BYTES // (2 * self._node_bytes(context))))

    def _ahead(self, context: Context) -> int:
        """Leaves of a tree that are split in one round."""
        return max(1, _ROUND_BYTES // (2 * self._node_bytes(context) * self._together(context)))

    def _fold(self, context: Context) -> Planted:
        columns = self._columns(context)
        return Planted(
            outs=self._outs(context), classes=bool(context.schema.classes), columns=columns, tried=self._tried(context), width=width_of(columns), seed=context.seed
        )

    def _rule(self, context: Context, carry: State) -> Rule:
        kinds = (np.arange(len(carry["bins"])) >= len(carry["edges"])).astype(np.uint8)
        return Rule(
            leaves=self.leaves, depth=self.depth, min_rows=self.min_rows, tried=self._tried(context), outs=self._outs(context), classes=bool(context.schema.classes),
            extra=self.extra, seed=context.seed, bins=carry["bins"], kinds=kinds,
        )  # fmt: skip

    def _with_replacement(self) -> bool:
        return not self.extra if self.bootstrap is None else self.bootstrap

    def price(self, context: Context) -> Price:
        columns, together, ahead = self._columns(context), self._together(context), self._ahead(context)
        splits = min(self.leaves, context.rows // self.min_rows, 1 << min(self.depth or 62, 62)) - 1
        deep = max(1, min(self.depth or 64, 2 * splits.bit_length()))
        rounds = 1 + min(splits, deep + splits // ahead)
        nodes = 2 * min(ahead, max(1, splits)) * together
        sample = 8 * len(shape_of(context.schema).names) * min(context.rows, 200_000)
        return Price(
            state=max(nodes * self._node_bytes(context), sample), given=together * ahead * (44 + 8 * self._tried(context)),
            passes=(2, 1 + -(-self.trees // together) * rounds), kept_per_row=width_of(columns) + columns + 17 + 5 * together,
        )  # fmt: skip

    # rounds

    def begin(self, context: Context, start: State | None = None) -> State:
        shape, schema = shape_of(context.schema), context.schema
        if start is not None:
            raise BadInput("forests do not go on from a model", todo="Train anew, with more trees.")
        if schema.task != "number":
            if not schema.classes and not schema.target:
                raise BadInput("there is no target", allowed="a target of classes or of numbers", todo="Name the column to learn.")
            class_weights.refuse_few(schema)
        elif self.class_weight is not None:
            raise BadField("numbers have no classes to weigh", where="class_weight", allowed="None for a target of numbers")
        if shape.ragged:
            raise BadInput("there are sparse columns or texts, whose entries forests do not read", todo="Leave them out, or learn with OnlineLinear or LogisticRegression.")
        if not self._columns(context):
            raise BadInput("there is no column to learn from", todo="Name columns beside the target.")
        if shape.k * table_width(shape) > _TABLE:
            raise BadInput(
                f"{shape.k} columns of categories share a table of {table_width(shape):,} slots", allowed=f"{_TABLE:,} slots times columns at most",
                todo="Encode with OneHot(max_categories=254) before this learner.",
            )  # fmt: skip
        none = no_trees() | {"value": np.zeros((0, self._outs(context)))}
        return {"stage": np.array(_LOOK), "version": np.array(0), "tree": np.array(0)} | none

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        stage = int(carry["stage"])
        if stage == _DONE:
            return ()
        if stage == _LOOK:
            shape = shape_of(context.schema)
            look = Look(
                classes=len(context.schema.classes), dense=len(shape.names), k=shape.k, width=table_width(shape), rows=context.rows, seed=context.seed
            )
            return (Pass(fold=look),)
        return (Pass(fold=self._fold(context), given=self._given(context, carry, every=False), kept=_KEPT, version=int(carry["version"]) + 1),)

    def _given(self, context: Context, carry: State, *, every: bool) -> State:
        """What a round is told of each tree; every: all of its splits, not the last ones alone."""
        rule, trees = self._rule(context, carry), self._trees(context, carry)
        first = int(carry["tree"])
        given: State = {"group": np.arange(first, first + len(trees)), "limits": carry["limits"], "fresh": carry["fresh"]}
        for t, tree in enumerate(trees):
            splits, masks = tree.splits(tree.made() if every else tree.arrays["asked"])
            given |= {f"splits/{t}": splits, f"masks/{t}": masks, f"size/{t}": np.array(tree.size)}
            given |= {f"nodes/{t}": tree.arrays["open"], f"tried/{t}": tree.tried(rule)}
        return given

    def recall(self, context: Context, carry: State, kept: str) -> State:
        """All that rebuilds a batch's bins and the order of its rows in each tree, this round's splits included."""
        given = {name: carry[name] for name in ("edges", "places", "scale", "low")} | self._given(context, carry, every=True)
        return given | ({"by_class": carry["by_class"]} if "by_class" in carry else {})

    def _trees(self, context: Context, carry: State) -> list[Nodes]:
        return [Nodes(under(f"{t}", carry)) for t in range(min(self._together(context), self.trees - int(carry["tree"])))]

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        if int(carry["stage"]) == _LOOK:
            return self._looked(context, carry, closed[0])
        rule, trees, at = self._rule(context, carry), self._trees(context, carry), 0
        for tree in trees:
            q = len(tree.arrays["open"])
            if q:
                tree.grow(rule, closed[0]["sums"][at : at + q], self._ahead(context))
                at += q
        rest = {name: array for name, array in carry.items() if not name.partition("/")[0].isdigit()}
        rest |= {"version": carry["version"] + 1, "fresh": np.array(0)}
        if not all(tree.done() for tree in trees):
            for t, tree in enumerate(trees):
                rest |= prefixed(f"{t}", tree.arrays)
            return rest
        found = [tree.finished(rule, float(carry["worth"])) for tree in trees]
        if not context.schema.classes:
            found = [tree | {"value": carry["low"] + tree["value"] / carry["scale"][0]} for tree in found]
        return self._planted(context, rest | grown_onto(rest, found) | {"tree": carry["tree"] + len(trees)})

    def _planted(self, context: Context, carry: State) -> State:
        """The next trees begin, or all are grown."""
        first = int(carry["tree"])
        if first >= self.trees:
            return carry | {"stage": np.array(_DONE)}
        carry = carry | {"stage": np.array(_GROW), "fresh": np.array(1)}
        rule = self._rule(context, carry)
        for t in range(min(self._together(context), self.trees - first)):
            carry |= prefixed(f"{t}", Nodes.rooted(rule, first + t).arrays)
        return carry

    def _looked(self, context: Context, carry: State, found: State) -> State:
        schema = context.schema
        weights = np.array([exact_total(sums) for sums in found["weights"]])
        carry = carry | {"edges": edges_of(found["sample"], self.bins), "places": slot_places(found["slots"], self.bins), "limits": self._limits()}
        carry["bins"] = np.concatenate([(carry["edges"] < LAST).sum(1) + 2, carry["places"].max(1, initial=0).astype(np.int64) + 1]).astype(np.int32)
        heaviest, low, reach = float(found["heaviest"]), 0.0, 1.0
        if schema.classes:
            class_weights.refuse_single(schema, weights)
            if self.class_weight is not None:
                by_class = class_weights.balanced(weights) if self.class_weight == "balanced" else class_weights.named(self.class_weight, schema.classes)
                carry["by_class"] = by_class
                class_weights.refuse_single(schema, weights * by_class)
                heaviest *= float(by_class.max())
        else:
            if not weights[0] > 0:
                raise BadInput("no row has a weight above 0", where="weight")
            low = float(found["low"])
            reach = float(found["high"]) - low
            if not isfinite(reach * reach * context.rows):
                raise BadInput("the squares of the target overflow float64", where=f"column {schema.target!r}", todo="Divide it by a constant first.")
        alike = heaviest == 1.0 and "by_class" not in carry and (weights if schema.classes else weights[:1]).sum() == context.rows
        weight_bits = 1 if alike else 24 if schema.classes else 16
        bits = min(30, 62 - weight_bits - (context.rows * (_TIMES + 1)).bit_length())
        scale = 1.0 if schema.classes else _power(reach, bits), _power(heaviest, weight_bits)
        carry |= {"scale": np.array(scale), "low": np.array(low), "worth": np.array((1.0 / scale[0]) ** 2 / scale[1])}
        return self._planted(context, carry)

    def _limits(self) -> npt.NDArray[np.uint64]:
        """What a hash, evenly spread over 64 bits, must reach for a row to be drawn once, twice, and so on; exact, so that it is the same on every machine."""
        share = Fraction(self.row_share)
        if not self._with_replacement():
            return np.array([min((1 << 64) - 1, int((1 - share) * (1 << 64)))], np.uint64)
        terms = [share**k / factorial(k) for k in range(40)]
        none, below, limits = 1 / sum(terms, Fraction(0)), Fraction(0), []
        for k in range(_TIMES):
            below += terms[k] * none
            limits.append(min((1 << 64) - 1, int(below * (1 << 64))))
        return np.array(limits, np.uint64)

    def finish(self, context: Context, carry: State) -> State:
        return {name: carry[name] for name in ("edges", "places", *no_trees())}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"trees": float(carry["tree"])}

    # the model

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,): a class, with ``probability`` of the second of two, or ``probability_<class>`` of each of more; or a number."""
        design = design_of(batch)
        if design.dense.shape[1] != len(model["edges"]) or design.slots.shape[1] != len(model["places"]):
            raise BadInput("the columns are not those of the model", where=batch.place, todo="Give the columns that the model was trained on.")
        scores = np.zeros((model["value"].shape[1], batch.rows))
        codes = encoded(design, model["edges"], model["places"])
        width = width_of(len(model["edges"]) + len(model["places"]))
        _add_shares(codes, width, model["roots"], model["column"], model["child"], model["masks"].reshape(-1), model["value"], scores)
        scores /= len(model["roots"])
        if len(scores) == 1:
            return {"prediction": scores[0]}
        classes = batch.schema.classes or tuple(range(len(scores)))
        columns = {"prediction": np.array(classes)[scores.argmax(0)]}
        if len(scores) == 2:
            return columns | {"probability": scores[1].copy()}
        return columns | {f"probability_{name}": scores[k].copy() for k, name in enumerate(classes)}


def _sound(columns: Any) -> bool:
    if isinstance(columns, bool):
        return False
    if isinstance(columns, int):
        return columns >= 1
    return columns in (None, "sqrt", "log2") or (isinstance(columns, float) and 0 < columns <= 1)


def _power(most: float, bits: int) -> float:
    """The largest power of two that takes `most` to less than 2^bits; 1 where there is nothing to take."""
    return float(2.0 ** min(1000, bits - frexp(most)[1])) if most > 0 else 1.0
