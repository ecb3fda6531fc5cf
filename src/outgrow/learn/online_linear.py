"""Online linear learning: one pass over the rows, one update a row, at the speed of memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ..core.errors import BadField, BadInput
from ..core.learner import ALL, Context, Cover, Learner, Pass, Price, Rows
from ..core.state import State, prefixed, under
from ..data.batch import Batch, Schema
from .blocks import shape_of
from .class_counts import ClassCounts
from .logistic_regression import LogisticRegression
from .online_fold import LOSS, ROWS, WEIGHT, Held, Learn, Sizes, Spread, fresh, plain, scored

__all__ = ["OnlineLinear"]

_LANE_ROWS = 500_000  # fewer a lane lose accuracy; and more than two lanes do (0.001 log loss for four, measured on a click log)
_MOST_LANES = 2
_STATE = ("table", "scale", "small", "totals")
_LOSSES = ("auto", "squared", "logistic", "hinge", "quantile")
_COUNT, _LEARN, _HOLD, _FINISH, _DONE = range(5)  # carry["phase"]
_COUNTERS = ("phase", "pass", "step", "worse")


@dataclass(frozen=True, kw_only=True)
class OnlineLinear(Learner):
    """A linear model by one pass (or several) of online updates over a hashed or one-hot design.

    Each row is predicted, then learned from; the loss before the update, averaged over the rows, is an honest estimate on
    new data (`progressive_loss`). The default update is that of Vowpal Wabbit: adaptive, normalised (columns need
    no scaling) and importance-aware (no step passes its target). Missing numbers have a weight of their own.

    Parameters
    ----------
    loss : "auto", "squared", "logistic", "hinge" or "quantile"
        "auto": logistic for classes, squared for a number.
    update : "adaptive" or "ftrl"
        FTRL-proximal gives weights that are exactly zero under `l1`; its columns should be scaled.
    learning_rate : float
        Above 0. FTRL's α.
    decay : float
        Each further pass multiplies the learning rate by this; above 0, at most 1.
    l1, l2 : float
        At least 0. With "adaptive" a proximal step, of the size of the weight's own, for the weights that a row touches: a weight
        is shrunk as often as it is seen. With "ftrl" as in the paper. Intercepts are not shrunk.
    passes : int
        At most this many; with `validation` fewer where they stop helping.
    lanes : int
        Chains of updates that start together and are averaged, weighted by the adaptive sums gained. 0: one for every
        500 000 rows, at most 2. Lanes are what workers share; more of them lose accuracy (0.001 log loss for four on a
        click log of a million rows, 0.003 for eight).
    meet_every : int
        Batches between averages; 0: at the end of each pass.
    class_weight : "balanced", mapping of class to weight, or None
        Multiplies row weights. "balanced": inversely to the (weighted) share of the class; costs one more pass.
    validation : float
        Share of rows held out, 0 for none: passes end after `patience` without a lower held-out loss, and the best weights are kept.
    patience : int
    tau : float
        The quantile wanted of loss "quantile", between 0 and 1.
    multi : "softmax" or "ovr"
        More than two classes, logistic loss: one distribution, or one class against the rest. Hinge is always the latter.
    beta : float
        FTRL's β, at least 0.
    scale_target : bool
        Losses of numbers: learn the target's distance from its mean in units of its deviation (rounded to a power of two), from one
        more pass over that column alone, so that prices in thousands are learned as well as shares. `l1` and `l2` then act in these units.
    batch_rounds : int
        Steps of L-BFGS on all rows after the online passes, from the averaged weights and with `l2` (Agarwal and others 2014);
        0 for none. Each is about one pass; logistic loss only, and no missing numbers.

    Notes
    -----
    model: ``table`` float32 (width, outs), ``dense`` and ``missing`` float64 (m, outs), ``intercept`` (outs,); outs is 1 for a number and for two
    classes (the score of the second), else their number. Cost: 8 bytes a slot and output for each lane; some 0.3 µs a row of 39 features.

    References
    ----------
    Duchi, Hazan and Singer (2011); Karampatziakis and Langford (2011); Ross, Mineiro and Langford (2013); McMahan and others
    (2013); Agarwal, Chapelle, Dudík and Langford (2014).
    """

    version: ClassVar[int] = 1

    loss: str = "auto"
    update: Literal["adaptive", "ftrl"] = "adaptive"
    learning_rate: float = 0.5
    decay: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    passes: int = 1
    lanes: int = 0
    meet_every: int = 0
    class_weight: Any = None
    validation: float = 0.0
    patience: int = 2
    tau: float = 0.5
    multi: Literal["softmax", "ovr"] = "softmax"
    beta: float = 1.0
    scale_target: bool = True
    batch_rounds: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.class_weight, Mapping):
            object.__setattr__(self, "class_weight", tuple(self.class_weight.items()))
        pairs = self.class_weight
        sound = pairs in (None, "balanced") or (isinstance(pairs, tuple) and all(isinstance(p, tuple) and len(p) == 2 and p[1] >= 0 for p in pairs))
        for name, good, allowed in (
            ("loss", self.loss in _LOSSES, ", ".join(_LOSSES)),
            ("update", self.update in ("adaptive", "ftrl"), "adaptive, ftrl"),
            ("learning_rate", 0 < self.learning_rate < np.inf, "above 0"),
            ("decay", 0 < self.decay <= 1, "above 0, at most 1"),
            ("l1", 0 <= self.l1 < np.inf, "0 or more"),
            ("l2", 0 <= self.l2 < np.inf, "0 or more"),
            ("passes", _whole(self.passes, 1), "a whole number from 1"),
            ("lanes", _whole(self.lanes, 0), "a whole number from 1, or 0 for the rule"),
            ("meet_every", _whole(self.meet_every, 0), "a whole number of batches, or 0 for the end of each pass"),
            ("class_weight", sound, "None, 'balanced', or a mapping of class to a weight of 0 or more"),
            ("validation", 0 <= self.validation < 1, "0 up to, not including, 1"),
            ("patience", _whole(self.patience, 1), "a whole number from 1"),
            ("tau", 0 < self.tau < 1, "between 0 and 1"),
            ("multi", self.multi in ("softmax", "ovr"), "softmax, ovr"),
            ("scale_target", type(self.scale_target) is bool, "true or false"),
            ("beta", 0 <= self.beta < np.inf, "0 or more"),
            ("batch_rounds", _whole(self.batch_rounds, 0), "a whole number from 0"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)
        if self.batch_rounds and self.loss not in ("auto", "logistic"):
            raise BadField(f"{self.batch_rounds} rounds do not go with loss {self.loss!r}", where="batch_rounds", allowed="0, or loss logistic")

    @property
    def one_by_one(self) -> bool:
        """True where batches of any size give the same model: nothing is counted in batches, or summed over them."""
        return not (self.meet_every or self.batch_rounds or self.validation)

    # what follows from fields and schema

    def _loss(self, schema: Schema) -> str:
        classes = len(schema.classes)
        if self.loss == "auto":
            return "logistic" if classes else "squared"
        if (self.loss in ("logistic", "hinge")) != bool(classes):
            what = "classes" if classes else "numbers"
            allowed = "logistic, hinge" if classes else "squared, quantile"
            raise BadInput(f"loss {self.loss!r} does not go with target {schema.target!r}, which has {what}", where="loss", allowed=allowed)
        return self.loss

    def _code(self, schema: Schema) -> int:
        from .kernels.codes import LOSSES, SOFTMAX

        loss = self._loss(schema)
        return SOFTMAX if loss == "logistic" and len(schema.classes) > 2 and self.multi == "softmax" else LOSSES[loss]

    def _sizes(self, context: Context) -> Sizes:
        shape, classes = shape_of(context.schema), len(context.schema.classes)
        return Sizes(width=shape.width, dense=len(shape.names), outs=classes if classes > 2 else 1, ragged=shape.ragged)

    def lanes_of(self, context: Context) -> int:
        """The number of lanes: as named, or by the rule; never more than shards."""
        by_rule = min(context.rows // _LANE_ROWS, _MOST_LANES)
        return max(1, min(self.lanes or by_rule, context.shards))

    def _knobs(self, turn: int) -> tuple[float, float, float, float, float]:
        return self.learning_rate * self.decay**turn, self.tau, self.l1, self.l2, self.beta

    def _batch_part(self) -> LogisticRegression:
        return LogisticRegression(l2=self.l2, max_rounds=self.batch_rounds, class_weight=self.class_weight, validation=self.validation)

    # the learner

    def begin(self, context: Context, start: State | None = None) -> State:
        self._check(context.schema)
        carry: State = {name: np.array(0) for name in _COUNTERS} | {"history": np.zeros(0), "held": np.zeros(0)}
        measured = not context.schema.classes and self.scale_target and not start
        carry["phase"] = np.array(_COUNT if measured or self.class_weight == "balanced" else _LEARN)
        if self.class_weight not in (None, "balanced"):
            by_class = dict(self.class_weight)
            carry["by_class"] = np.array([float(by_class.get(name, 1.0)) for name in context.schema.classes])
        return carry | (self._start(self._sizes(context), start) if start else {})

    def _check(self, schema: Schema) -> None:
        self._loss(schema)
        if len(schema.classes) == 1:
            raise BadInput(f"target {schema.target!r} has the single class {schema.classes[0]!r}", allowed="two or more classes")
        if self.class_weight is not None:
            if not schema.classes:
                raise BadInput(f"target {schema.target!r} is a number", where="class_weight", todo="Leave class_weight out.")
            unknown = [name for name, _ in (self.class_weight if self.class_weight != "balanced" else ()) if name not in schema.classes]
            if unknown:
                raise BadInput(f"class_weight names {unknown[0]!r}", allowed=", ".join(map(str, schema.classes)))

    def _start(self, sizes: Sizes, start: State) -> State:
        """The state to go on from. Without a resume section sums begin anew, which only entries of value 1 allow: the scale of others is not known."""
        state, outs, m = fresh(sizes), sizes.outs, sizes.dense
        exact = "sums" in start
        if not exact and (self.update == "ftrl" or m or sizes.ragged):
            todo = "Start from a model that OnlineLinear made, with the same update."
            raise BadInput("this model has no resume section, without which online learning cannot go on from it", todo=todo)
        wanted = {"table": (sizes.width, outs), "intercept": (outs,)}
        if exact:
            wanted |= {name: state[name].shape for name in ("scale", "small", "totals")}
            wanted["sums"] = (sizes.width, outs if self.update == "adaptive" else 2 * outs)
        for name, shape in wanted.items():
            if name not in start or start[name].shape != shape:
                found = start[name].shape if name in start else "no such array"
                todo = "Start from a model of the same columns, features, classes and update."
                raise BadInput(f"the model to start from has {found} for {name!r}, here it is {shape}", todo=todo)
        if exact:
            state |= {name: start[name].copy() for name in ("scale", "small", "totals")}
            state["table"][:, -start["sums"].shape[1] :] = start["sums"]
        else:
            state["small"][-1, :outs] = start["intercept"]
        if self.update == "adaptive":
            state["table"][:, :outs] = start["table"] / np.float32(start["unit"][1]) if "unit" in start else start["table"]
        return state | ({"unit": start["unit"].copy()} if "unit" in start else {})

    def sees(self) -> Rows:
        return Rows(kind="train", held=self.validation) if self.validation else ALL

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        phase = int(carry["phase"])
        if phase == _COUNT:
            classes = len(context.schema.classes)
            return (Pass(fold=ClassCounts(classes=classes) if classes else Spread(), rows=self.sees(), columns=()),)
        if phase == _LEARN:
            step, lanes = int(carry["step"]), self.lanes_of(context)
            stop = step + self.meet_every if self.meet_every else None
            cover = Cover(kind="chains", lanes=lanes, start=step, stop=stop)
            return (Pass(fold=self._fold(context, carry), given=self._given(carry), cover=cover, rows=self.sees()),)
        if phase == _HOLD:
            given = self._model(context, carry) | ({"by_class": carry["by_class"]} if "by_class" in carry else {})
            fold = Held(loss=self._code(context.schema), tau=self.tau)
            return (Pass(fold=fold, given=given, rows=Rows(kind="held", held=self.validation)),)
        return self._batch_part().ask(context, under("finish", carry)) if phase == _FINISH else ()

    def _fold(self, context: Context, carry: State) -> Learn:
        sizes, lanes = self._sizes(context), self.lanes_of(context)
        return Learn(sizes=sizes, loss=self._code(context.schema), rule=self.update, knobs=self._knobs(int(carry["pass"])), lanes=lanes)

    def _given(self, carry: State) -> State:
        return {name: carry[name] for name in (*_STATE, "by_class", "unit") if name in carry}

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        phase, carry = int(carry["phase"]), dict(carry)
        if phase == _COUNT:
            return carry | self._counted(closed[0]) | {"phase": np.array(_LEARN)}
        if phase == _FINISH:
            inner = self._batch_part().tell(context, under("finish", carry), closed)
            return {name: array for name, array in carry.items() if not name.startswith("finish/")} | prefixed("finish", inner)
        if phase == _HOLD:
            return self._held(context, carry, closed[0])
        carry |= self._fold(context, carry).together(closed[0], self._given(carry))
        step = int(carry["step"]) + self.meet_every
        if self.meet_every and step < context.chain_steps(self.lanes_of(context)):
            carry["step"] = np.array(step)
            return carry
        totals = carry["totals"].copy()
        size = carry["unit"][1] ** (2 if self._loss(context.schema) == "squared" else 1) if "unit" in carry else 1.0
        carry["history"] = np.append(carry["history"], size * totals[LOSS] / max(totals[WEIGHT], 1e-300))
        if not totals[ROWS]:
            raise BadInput("no row is left to learn from", where="validation" if self.validation else "source")
        if not totals[WEIGHT] > 0:
            raise BadInput("no row has a weight above 0", where="weight")
        carry |= {"pass": carry["pass"] + 1, "step": np.array(0), "rows": totals[ROWS].copy()}
        carry["totals"] = np.where(np.arange(len(totals)) <= ROWS, 0.0, totals)
        if self.validation:
            return carry | {"phase": np.array(_HOLD)}
        return self._next(context, carry)

    @staticmethod
    def _counted(closed: State) -> State:
        """What the pass over the target alone found: the unit of a number, the weight of each class."""
        if "counts" not in closed:
            return {"unit": Spread.unit(closed)}
        counts = closed["counts"]
        return {"by_class": np.where(counts > 0, counts.sum() / (len(counts) * np.maximum(counts, 1e-300)), 0.0)}

    def _held(self, context: Context, carry: State, closed: State) -> State:
        if not closed["weight"] > 0:
            raise BadInput(f"validation={self.validation} leaves no row to validate on", where="validation", todo="Hold out a larger share.")
        held = float(closed["loss"] / closed["weight"])
        better = held < carry["held"].min(initial=np.inf)
        carry["held"] = np.append(carry["held"], held)
        carry["worse"] = np.array(0) if better else carry["worse"] + 1
        if better:
            carry |= prefixed("best", {name: carry[name] for name in _STATE})
        return self._next(context, carry)

    def _next(self, context: Context, carry: State) -> State:
        """To the next pass, the finish, or the end."""
        if int(carry["pass"]) < self.passes and int(carry["worse"]) < self.patience:
            return carry | {"phase": np.array(_LEARN)}
        best = under("best", carry)
        carry = {name: array for name, array in carry.items() if not name.startswith("best/")} | best
        if not self.batch_rounds:
            return carry | {"phase": np.array(_DONE)}
        model = self._model(context, carry)
        return carry | {"phase": np.array(_FINISH)} | prefixed("finish", self._batch_part().begin(context, model))

    def _model(self, context: Context, carry: State) -> State:
        model = plain(carry, self._sizes(context), self.update, self._knobs(max(int(carry["pass"]) - 1, 0)))
        if "unit" not in carry:
            return model
        middle, size = carry["unit"]
        model = {name: array * array.dtype.type(size) for name, array in model.items()}
        return model | {"intercept": model["intercept"] + middle}

    def finish(self, context: Context, carry: State) -> State:
        if int(carry["phase"]) != _FINISH:
            return self._model(context, carry)
        model = self._batch_part().finish(context, under("finish", carry))
        return model | {"table": model["table"].astype(np.float32), "missing": np.zeros_like(model["dense"])}

    def resume(self, context: Context, carry: State) -> State:
        """sums : float32 (width, outs), the adaptive sums (FTRL: z and n, (width, 2·outs)); scale, small and totals as in the state."""
        sizes, small = self._sizes(context), carry["small"]
        sums = carry["table"][:, sizes.outs :] if self.update == "adaptive" else carry["table"]
        if int(carry["phase"]) == _FINISH:
            model, small = self.finish(context, carry), small.copy()
            small[:, : sizes.outs] = np.concatenate([model["dense"], model["missing"], model["intercept"][None]]) * small[:, -1:]
        kept = {name: carry[name] for name in ("scale", "totals", "unit") if name in carry}
        return {"sums": np.ascontiguousarray(sums), "small": small} | kept

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        history, held = carry["history"], carry["held"]
        found = {"progressive_loss": float(history[-1]), "passes": float(len(history)), "rows": float(carry["rows"])} if len(history) else {}
        found |= {"held_loss": float(held.min())} if len(held) else {}
        inner = under("finish", carry)
        return found | ({f"batch_{name}": value for name, value in self._batch_part().facts(context, inner).items()} if inner else {})

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,): a number or a class. Two classes: ``probability`` of the second (hinge: its ``score``); more: ``probability_<class>`` (``score_<class>``)."""
        return self.columns(batch.schema, scored(model, batch))

    def columns(self, schema: Schema, scores: Any) -> dict[str, Any]:
        """The columns of `predict` from scores float64 (n, outs)."""
        from .kernels.codes import SOFTMAX
        from .kernels.online_entries import chances

        classes, code = schema.classes, self._code(schema)
        if not classes:
            return {"prediction": scores[:, 0].copy()}
        both = scores if len(classes) > 2 else np.column_stack([np.zeros(len(scores)), scores])
        columns: dict[str, Any] = {"prediction": np.array(classes)[both.argmax(1)]}
        if self._loss(schema) == "hinge":
            name, values = "score", both
        else:
            name, values = "probability", np.empty_like(both)
            chances(np.ascontiguousarray(both), code if len(classes) > 2 else SOFTMAX, values)
        if len(classes) == 2:
            return columns | {name: values[:, 1].copy()}
        return columns | {f"{name}_{label}": values[:, k].copy() for k, label in enumerate(classes)}

    def price(self, context: Context) -> Price:
        size, lanes = self._sizes(context).nbytes, self.lanes_of(context)
        rounds = -(-context.chain_steps(lanes) // self.meet_every) if self.meet_every else 1
        extra = self.class_weight == "balanced"
        most = self.passes * rounds + self.batch_rounds * 2
        return Price(state=size, given=size if most > 1 else 0, lanes=lanes, passes=((1 if self.validation else self.passes) * rounds + extra, most + extra))


def _whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least
