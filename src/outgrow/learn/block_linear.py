"""A linear model too wide for one worker, cut into blocks of features that take turns; margins are kept beside the rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from ..core.learner import SHARDS, Context, Cover, Learner, Pass, Price
from ..core.state import State, prefixed, under
from ..data.batch import Batch
from . import class_weights, lbfgs
from .block_cuts import SWEEPS, Cut, inverted, mixed, products_of, weights_from
from .block_sums import DEPTH, MOST, UNIT, BlockSums, Loss, MarginsAgain, PlaneSums, Targets, narrow
from .blocks import shape_of, table_width

__all__ = ["BlockLinear"]

F64 = npt.NDArray[np.float64]
_WIDE = 1 << 20  # bytes of a state above which few lanes are used
_KEPT = "margins"
_TARGETS, _ENTER, _TRIAL, _BACK, _PLANE, _DONE = range(6)  # carry["stage"]
_FLAT = 1e-6  # of the plane's larger curvature: below it the sweeps point the same way, but for the rounding of margins


@dataclass(frozen=True, kw_only=True)
class BlockLinear(Learner):
    """A linear model cut into blocks of features, for models too wide for one worker; to the same optimum as the uncut one.

    Blocks take turns: a pass reads the columns of one block, and sums the loss's derivatives by that block's weights alone. What all blocks add to
    a row's margin lies beside the row (kept, 40 bytes a row and output). No worker, state or broadcast ever holds the weights of more than one block, but for
    a Spark task whose margins are lost: it is shown all blocks at once. The driver holds the weights four times (now, and after the last three
    sweeps); uncut L-BFGS holds them 23 times, and each worker and lane once more.

    Minimises what `LogisticRegression` does (``loss="logistic"``; softmax where there are more than two classes), or what `LinearRegression` does with the same l2
    (``loss="squared"``). Intercepts are not penalised, and are stepped with every block.

    Parameters
    ----------
    loss : "logistic" or "squared"
    l2 : float
        Strength of the penalty, at least 0.
    intercept : bool
    block_columns : int
        Dense columns of a block at most.
    block_slots : int
        Slots of the encoder's table in a block at most. Every block of the table reads all columns of categories, texts and sparse numbers.
    steps : int
        Steps of L-BFGS at each turn of a block that is too wide for Newton's method (over 512 weights).
    tolerance : float
        Done when no component of the objective's gradient, over the rows' summed weight, is larger, for all blocks at the same weights. Numbers are learned in units of
        their deviation.
    max_sweeps : int
        Turns of every block at most; ``facts["converged"]`` says whether they were enough.
    class_weight : "balanced", mapping of class to weight, or None
        Multiplies row weights. "balanced": inversely to the (weighted) share of the class.

    Notes
    -----
    model: ``table`` float64 (width, outs), ``dense`` (m, outs), ``intercept`` (outs,), as `LogisticRegression` and `LinearRegression` have them.

    A turn is one pass for the gradient (and the block's Hessian, or its diagonal), and one for each step that is tried, which also steps the margins. After a sweep over all
    blocks, the margins of this sweep and of the two before span a plane; its lowest point, found by Newton's method in one to three passes over target and margins
    alone, is where the next sweep begins (Anderson 1965, with the objective in place of the residual): correlated blocks then take a quarter of the sweeps.

    Margins are whole numbers of 2^-42, which add up to the same bits in any order. Where they are lost, the rows are read once a block to rebuild them.
    What one block adds to a margin ends at 4096 either way: rows beyond it (columns of times, say, without `Scale`) hold the optimum up, and ``converged`` stays 0.

    Cost: passes of 2 to 3 a block and sweep; states of 8 (q K)² bytes for a narrow block of q features, else 16 q K.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.arange(20.0)
    >>> rows = og.read({"a": x, "b": x % 3, "y": 3 * x - 2 * (x % 3) + 1}, target="y", task="number")
    >>> learner = og.BlockLinear(loss="squared", l2=1e-9, block_columns=1, tolerance=1e-12)
    >>> og.plan(learner, rows, features=[og.OneHot()], on="serial").run().model.arrays["1/dense"].round(6).tolist()
    [[3.0], [-2.0]]
    """

    loss: Loss = "logistic"
    l2: float = 1.0
    intercept: bool = True
    block_columns: int = 256
    block_slots: int = 1 << 16
    steps: int = 6
    tolerance: float = 1e-4
    max_sweeps: int = 100
    class_weight: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weight", class_weights.plain(self.class_weight))
        for name, good, allowed in (
            ("loss", self.loss in ("logistic", "squared"), "logistic, squared"),
            ("l2", 0 <= self.l2 < np.inf, "0 or more"),
            ("block_columns", 1 <= self.block_columns < 1 << 31, "1 or more"),
            ("block_slots", 1 <= self.block_slots < 1 << 31, "1 or more"),
            ("steps", 1 <= self.steps <= 100, "1 to 100"),
            ("tolerance", 0 < self.tolerance < np.inf, "above 0"),
            ("max_sweeps", self.max_sweeps >= 1, "1 or more"),
            ("class_weight", class_weights.sound(self.class_weight), class_weights.ALLOWED),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)
        if self.loss == "squared" and self.class_weight is not None:
            raise BadField("numbers have no classes to weigh", where="class_weight", allowed="None with loss='squared'")

    # what is known before a row is read

    def _outs(self, context: Context) -> int:
        classes = len(context.schema.classes)
        return 1 if self.loss == "squared" or classes == 2 else classes

    def _blocks(self, context: Context) -> list[Cut]:
        shape = shape_of(context.schema)
        found = []
        for table, width, most in ((True, table_width(shape), self.block_slots), (False, len(shape.names), self.block_columns)):
            count = -(-width // most)
            found += [Cut(table, low, high) for low, high in pairwise([width * i // count for i in range(count + 1)])] if count else []
        if len(found) > MOST:
            name = "block_columns" if len(shape.names) > table_width(shape) else "block_slots"
            raise BadField(f"the model falls into {len(found)} blocks", where=name, allowed=f"blocks wide enough that there are at most {MOST}")
        return found or [Cut(False, 0, 0)]

    def _inputs(self, context: Context, block: Cut) -> tuple[str, ...] | None:
        """The inputs that a block reads; None: all."""
        schema = context.schema
        if block.table:
            return tuple(schema.names("category", "text", "sparse", "date"))
        names, numbers = shape_of(schema).names[block.low : block.high], set(schema.names("number"))
        return names if numbers.issuperset(names) else None

    def _cover(self, context: Context) -> Cover:
        return context.few if self._state_bytes(context) > _WIDE else SHARDS

    def _state_bytes(self, context: Context) -> int:
        outs = self._outs(context)
        return max(8 * outs * (q + 1) * ((outs * (q + 1) + 2) if narrow(q, outs) else 2) for q in {block.width for block in self._blocks(context)})

    def price(self, context: Context) -> Price:
        outs, blocks = self._outs(context), self._blocks(context)
        size = self._state_bytes(context)
        given = 2 * 8 * outs * max(block.width for block in blocks)
        steps = max(1 if narrow(block.width, outs) else self.steps for block in blocks)
        passes = (3 * len(blocks) + 1, self.max_sweeps * ((1 + steps) * len(blocks) + 2) + 1)
        margins = 8 * (DEPTH + 3) * outs
        return Price(state=size, given=given, lanes=context.few.lanes if size > _WIDE else 0, passes=passes, kept_per_row=2 * margins, kept_fresh=margins)

    # rounds

    def begin(self, context: Context, start: State | None = None) -> State:
        if self.loss == "logistic":
            class_weights.refuse_few(context.schema)
        elif context.schema.task != "number":
            found = f"target {context.schema.target!r} has classes" if context.schema.target else "there is no target"
            raise BadInput(found, allowed="a target of numbers", todo="Learn classes with loss='logistic', or say that the target is a number.")
        blocks, outs = self._blocks(context), self._outs(context)
        carry: State = {"intercept": np.zeros(outs)}
        if start is None:
            carry |= {f"w/{i}": np.zeros((block.width, outs)) for i, block in enumerate(blocks)}
        else:
            carry |= weights_from(context, blocks, outs, start)
        carry |= {name: np.array(0) for name in ("stage", "version", "block", "sweep", "quiet")}
        carry |= {"mix": np.zeros(DEPTH), "going on": np.array(start is not None), "gradients": np.full(len(blocks), np.inf), "loss": np.array(np.inf)}
        return carry | ({"by_class": class_weights.named(self.class_weight, context.schema.classes)} if self.loss == "logistic" and self.class_weight != "balanced" else {})

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        stage = int(carry["stage"])
        if stage == _TARGETS:
            return (Pass(fold=Targets(classes=len(context.schema.classes) if self.loss == "logistic" else 0), columns=()),)
        if stage == _DONE:
            return ()
        outs, given = self._outs(context), self._given(carry)
        if stage == _PLANE:
            fresh = "search/w" not in carry
            base, earlier = (carry["intercept"], SWEEPS[:-1]) if fresh else (carry["h0/b"], SWEEPS[1:])
            apart = np.stack([carry[f"{name}/b"] - base for name in earlier])
            mix = np.zeros(DEPTH) if fresh else lbfgs.point(under("search", carry))
            given |= {"mix": mix, "apart": apart, "intercept": base + mix @ apart} | ({"turn": np.array(1)} if fresh else {})
            return (self._pass(context, carry, PlaneSums(outs=outs, loss=self.loss), given, ()),)
        number = int(carry["block"])
        block = self._blocks(context)[number]
        weights, intercept = self._tried(carry, block)
        given |= {"block": np.array([block.table, block.low, block.high, self._stride(context, block)]), "new": weights, "intercept": intercept}
        if stage != _ENTER:
            given["old"] = carry[f"w/{number}"]
        fold = BlockSums(outs=outs, loss=self.loss, curved=stage == _ENTER)
        return (self._pass(context, carry, fold, given, self._inputs(context, block)),)

    def _given(self, carry: State) -> State:
        return {"mix": carry["mix"]} | {name: carry[name] for name in ("by_class", "level") if name in carry}

    def _pass(self, context: Context, carry: State, fold: Any, given: State, inputs: tuple[str, ...] | None) -> Pass:
        cover, again = self._cover(context), []
        for i, block in enumerate(self._blocks(context)):
            if any(carry[f"{name}/{i}"].any() for name in ("w", *SWEEPS)) or (i == int(carry["block"]) and given.get("new", np.zeros(1)).any()):
                again.append(Pass(fold=MarginsAgain(outs=fold.outs), cover=cover, inputs=self._inputs(context, block)))
        return Pass(fold=fold, given=given, cover=cover, inputs=inputs, kept=_KEPT, version=int(carry["version"]) + 1, again=tuple(again))

    def _tried(self, carry: State, block: Cut) -> tuple[F64, F64]:
        """Weights of the block in turn and intercepts as the next pass wants them."""
        if int(carry["stage"]) == _ENTER:
            return carry[f"w/{int(carry['block'])}"], carry["intercept"]
        search = under("search", carry)
        flat = search["w"] if int(carry["stage"]) == _BACK else lbfgs.point(search)
        both = flat.reshape(block.width + self.intercept, -1)
        return both[: block.width].copy(), both[block.width].copy() if self.intercept else carry["intercept"]

    def _stride(self, context: Context, block: Cut) -> int:
        """Every how many rows the Hessian is summed over: so that it costs about as much as the gradient, and 50 rows a weight remain."""
        outs = self._outs(context)
        return max(1, min(outs * (outs + 1) * block.width // 16, context.rows // (50 * max(1, block.width * outs))))

    def recall(self, context: Context, carry: State, kept: str) -> State:
        """Weights of the i-th block that has any, as they are after the step of the pass that is asked for."""
        asked = self.ask(context, carry)[0]
        if "/" not in kept:
            return {}
        blocks, stage, turn = self._blocks(context), int(carry["stage"]), int(carry["block"])
        new = asked.given.get("new", np.zeros(1))
        having = [i for i in range(len(blocks)) if any(carry[f"{name}/{i}"].any() for name in ("w", *SWEEPS)) or (i == turn and new.any())]
        i = having[int(kept.rpartition("/")[2])]
        past = [carry[f"{name}/{i}"] for name in (("w", *SWEEPS[:-1]) if "turn" in asked.given else SWEEPS)]
        if stage != _PLANE and i <= turn:
            past += [new if i == turn else carry[f"w/{i}"], mixed(carry, f"{i}")]
        return {"block again": np.array([*blocks[i], 1]), "again": np.stack(past)}

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        stage, sums = int(carry["stage"]), closed[0]
        if stage == _TARGETS:
            return self._targets(context, carry, sums)
        carry = carry | {"version": carry["version"] + 1}
        if stage == _PLANE:
            return self._plane(context, carry, sums)
        block = self._blocks(context)[int(carry["block"])]
        weights, intercept = self._tried(carry, block)
        carry = carry | {f"w/{int(carry['block'])}": weights, "intercept": intercept}
        if stage == _BACK:
            return self._next(context, carry)
        return self._enter(context, carry, block, sums) if stage == _ENTER else self._trial(context, carry, block, sums)

    def _targets(self, context: Context, carry: State, found: State) -> State:
        """What the target alone says: balanced weights, the level and unit of numbers, the intercept to start from."""
        carry = carry | {"stage": np.array(_ENTER)}
        if self.loss == "squared":
            if not found["weight"] > 0:
                raise BadInput("no row has a weight above 0", where="weight")
            spread = float(np.sqrt(found["moment"] / found["weight"]))
            if not np.isfinite(spread):
                raise BadInput("the squares of the target overflow float64", where=f"column {context.schema.target!r}", todo="Divide it by a constant first.")
            if context.rows > 1 and spread <= 32 * np.finfo(np.float64).eps * abs(found["mean"]):
                raise BadInput(f"every row has the same target, {float(found['mean']):g}", where=f"column {context.schema.target!r}", todo="Name another target.")
            center = float(found["mean"]) if self.intercept else 0.0
            unit = 2.0 ** np.round(np.log2(spread)) if spread > 0 else 1.0
            carry |= {name: array / unit for name, array in carry.items() if name.startswith("w/")}
            carry |= {"level": np.array([center, unit]), "intercept": (carry["intercept"] - center * carry["going on"]) / unit}
        else:
            class_weights.refuse_single(context.schema, found["counts"])
            if "by_class" not in carry:
                carry["by_class"] = class_weights.balanced(found["counts"])
            counts = found["counts"] * carry["by_class"]
            if self.intercept and not carry["going on"] and counts.all():
                share = np.log(counts / counts.sum())
                carry["intercept"] = share[1:] - share[:1] if len(carry["intercept"]) == 1 else share - share.mean()
        blocks = range(len(carry["gradients"]))
        carry |= {f"{name}/{i}": carry[f"w/{i}"] for i in blocks for name in SWEEPS} | {f"{name}/b": carry["intercept"] for name in SWEEPS}
        return carry | {"squares": np.array([float((carry[f"w/{i}"] ** 2).sum()) for i in blocks])}

    def _enter(self, context: Context, carry: State, block: Cut, sums: State) -> State:
        """The gradient of a block whose turn has come: on to the next one where it is small, else a step."""
        total, number = float(sums["weight"]), int(carry["block"])
        if not total > 0:
            raise BadInput("no row has a weight above 0", where="weight")
        if not all(np.isfinite(array).all() for array in sums.values()):
            raise BadInput("the squares of the columns overflow float64", todo="Divide large columns by a constant first, or put Scale() before this learner.")
        flat, value, gradient = self._objective(carry, block, sums)
        largest = float(np.abs(gradient).max(initial=0.0))
        gradients = carry["gradients"].copy()
        gradients[number] = largest
        carry = carry | {"gradients": gradients, "loss": np.array(value), "quiet": carry["quiet"] + 1}
        if largest <= self.tolerance:
            return carry | {"stage": np.array(_DONE)} if carry["quiet"] >= len(gradients) else self._next(context, carry)
        outs = len(carry["intercept"])
        search = lbfgs.begin(flat, memory=0 if narrow(block.width, outs) else self.steps, tolerance=self.tolerance, inverse=self._inverse(block, sums))
        search = lbfgs.tell(search, value, gradient)
        if lbfgs.done(search):
            return self._next(context, carry)
        return carry | prefixed("search", search) | {"stage": np.array(_TRIAL), "quiet": np.array(0)}

    def _trial(self, context: Context, carry: State, block: Cut, sums: State) -> State:
        flat, value, gradient = self._objective(carry, block, sums)
        search = lbfgs.tell(under("search", carry), value, gradient)
        steps = 1 if "inverse" in search and search["inverse"].ndim == 2 else self.steps
        carry = {name: array for name, array in carry.items() if not name.startswith("search/")}
        if not (lbfgs.done(search) or search["round"] >= steps or search["evaluations"] > 20 * steps):
            return carry | prefixed("search", search)
        if (search["w"] == flat).all():
            return self._next(context, carry)
        return carry | {"stage": np.array(_BACK), "search/w": search["w"]}

    def _objective(self, carry: State, block: Cut, sums: State) -> tuple[F64, float, F64]:
        """At the margins kept: the block's weights and intercepts, flat, the mean objective, and its gradient by them."""
        number, total = int(carry["block"]), float(sums["weight"])
        weights = carry[f"w/{number}"]
        others = float(carry["squares"].sum() - carry["squares"][number])
        value = (float(sums["loss"]) + 0.5 * self.l2 * (others + float((weights**2).sum()))) / total
        gradient = sums["gradient"].copy()
        gradient[:-1] += self.l2 * weights
        keep = block.width + self.intercept
        return np.concatenate([weights, carry["intercept"][None]])[:keep].ravel(), value, gradient[:keep].ravel() / total

    def _inverse(self, block: Cut, sums: State) -> F64:
        """A rough inverse of the block's Hessian: whole where narrow, else its diagonal."""
        total, (q, outs) = float(sums["weight"]), sums["square"].shape
        keep = block.width + self.intercept
        penalty = np.repeat([self.l2 / total, 0.0], [(q - 1) * outs, outs])[: keep * outs]
        diagonal = sums["square"][:keep].ravel() / total
        if "hessian" not in sums:
            curve = diagonal + penalty
            inverse: F64 = 1.0 / np.maximum(curve, 1e-10 * curve.max(initial=0.0) + 1e-300)
            return inverse
        lower = np.tril(sums["hessian"].reshape(outs * q, outs * q))
        order = (np.arange(outs) * q + np.arange(keep)[:, None]).ravel()  # from outputs first to features first
        hessian = (lower + lower.T - np.diag(np.diag(lower)))[np.ix_(order, order)] / max(float(sums["sampled"]), 1e-300)
        hessian[np.diag_indices_from(hessian)] += penalty + np.maximum(diagonal - np.diag(hessian), 0.0)  # what the sample has hardly seen
        return inverted(hessian)

    def _next(self, context: Context, carry: State) -> State:
        """The next block's turn, or the end of the sweep."""
        number, squares = int(carry["block"]), carry["squares"].copy()
        squares[number] = (carry[f"w/{number}"] ** 2).sum()
        carry = {name: array for name, array in carry.items() if not name.startswith("search/")} | {"squares": squares}
        if number + 1 < len(squares):
            return carry | {"block": np.array(number + 1), "stage": np.array(_ENTER)}
        over = carry["sweep"] + 1 >= self.max_sweeps
        return carry | {"sweep": carry["sweep"] + 1, "stage": np.array(_DONE if over else _PLANE)}

    def _plane(self, context: Context, carry: State, sums: State) -> State:
        """Where the next sweep begins: the lowest point of the plane through what the last three have come to."""
        blocks, total, search = range(len(carry["squares"])), float(sums["weight"]), under("search", carry)
        if not search:
            for old, new in ((2, 1), (1, 0)):
                carry = carry | {f"h{old}/{i}": carry[f"h{new}/{i}"] for i in (*blocks, "b")}
            carry |= {f"h0/{i}": carry[f"w/{i}"] for i in blocks} | {"h0/b": carry["intercept"], "block": np.array(0)}
            carry |= {"products": np.sum([products_of(carry, f"{i}") for i in blocks], axis=0)}
            search = lbfgs.begin(np.zeros(DEPTH), memory=0, tolerance=self.tolerance * self.tolerance)
        mix, products = lbfgs.point(search), carry["products"]
        value = (float(sums["loss"]) + 0.5 * self.l2 * float(products[0, 0] + 2.0 * products[0, 1:] @ mix + mix @ products[1:, 1:] @ mix)) / total
        gradient = (sums["gradient"] + self.l2 * (products[0, 1:] + products[1:, 1:] @ mix)) / total
        inverse = inverted((sums["hessian"] + self.l2 * products[1:, 1:]) / total, _FLAT)
        rounding = 2.0 * value * UNIT * UNIT * len(blocks) / context.rows  # of margins, seen in a component of the gradient, squared
        if gradient @ inverse @ gradient < 30.0 * rounding * np.trace(inverse):
            gradient = np.zeros(DEPTH)  # the plane tells no more: the next sweep begins where this one ended
        search = lbfgs.tell(search | {"inverse": inverse}, value, gradient)
        carry = {name: array for name, array in carry.items() if not name.startswith("search/")} | {"loss": search["f"]}
        if not (lbfgs.done(search) or search["round"] >= 1 or search["evaluations"] >= 5):
            return carry | prefixed("search", search)
        if not search["w"].any():
            return carry | {"mix": np.zeros(DEPTH), "stage": np.array(_ENTER)}
        carry |= {"mix": search["w"], "stage": np.array(_ENTER), "quiet": np.array(0)}
        carry |= {f"w/{i}": mixed(carry, f"{i}") for i in blocks} | {"intercept": mixed(carry, "b")}
        return carry | {"squares": np.array([float((carry[f"w/{i}"] ** 2).sum()) for i in blocks])}

    # what comes of it

    def finish(self, context: Context, carry: State) -> State:
        blocks, shape, outs = self._blocks(context), shape_of(context.schema), self._outs(context)
        model = {"table": np.zeros((shape.width, outs)), "dense": np.zeros((len(shape.names), outs)), "intercept": carry["intercept"].copy()}
        for i, block in enumerate(blocks):
            model["table" if block.table else "dense"][block.low : block.high] = carry[f"w/{i}"]
        if "level" in carry:
            center, unit = carry["level"]
            return {name: array * unit + center * (name == "intercept") for name, array in model.items()}
        if outs > 1:  # softmax does not see a shift common to all classes; rounding does not choose it either
            return {name: array - array.mean(-1, keepdims=True) for name, array in model.items()}
        return model

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        if int(carry["stage"]) == _TARGETS:
            return {}
        found = {"loss": float(carry["loss"]), "gradient": float(carry["gradients"].max()), "sweep": float(carry["sweep"])}
        return found | {"converged": float(carry["quiet"] >= len(carry["gradients"]))}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,), and of classes ``probability`` of the second one, or ``probability_<class>`` of each of more than two."""
        from .linear_regression import LinearRegression
        from .logistic_regression import LogisticRegression

        return (LinearRegression() if self.loss == "squared" else LogisticRegression()).predict(model, batch)
