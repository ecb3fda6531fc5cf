"""The folds of online learning: a chain of updates over the rows of a lane, and how lanes meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput
from ..core.learner import Fold, Traits
from ..core.state import State
from ..data.batch import Batch
from ..data.target import row_place
from .blocks import design_of, refuse_missing, weights_of

__all__ = ["LOSS", "ROWS", "WEIGHT", "Held", "Learn", "Sizes", "Spread", "fresh", "plain", "scored"]

Array = npt.NDArray[Any]
F8 = npt.NDArray[np.float64]
LOSS, WEIGHT, ROWS, SEEN, SPREAD = range(5)  # the places of "totals"
_RUN = 1 << 18  # slots at a time, where whole tables meet
_NO_RAGGED = (np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What the state is made of: a table of `width` slots, `dense` columns, `outs` outputs; `ragged` where entries have values."""

    width: int
    dense: int
    outs: int
    ragged: bool

    @property
    def nbytes(self) -> int:
        return self.width * (8 * self.outs + 4 * self.ragged) + 8 * (2 * self.dense + 1) * (2 * self.outs + 1)


def fresh(sizes: Sizes) -> State:
    """A state that has seen nothing.

    table : float32 (width, 2·outs), weights and adaptive sums (FTRL: z and n) of each slot.
    scale : float32 (width,), the largest |value| seen in a slot; (0,) where entries have no values.
    small : float64 (2·dense + 1, 2·outs + 1), the same for the dense columns, their "missing" and the intercept, and last each one's
        scale. Here (adaptive) weights and sums are those of values divided by the scale.
    totals : float64 (5,): loss before each update, weight, rows; weight and Σ (x/s)² of the normaliser.
    """
    small = np.zeros((2 * sizes.dense + 1, 2 * sizes.outs + 1))
    small[-1, -1] = 1.0  # the intercept's value is always 1
    return {
        "table": np.zeros((sizes.width, 2 * sizes.outs), np.float32),
        "scale": np.zeros(sizes.width if sizes.ragged else 0, np.float32),
        "small": small,
        "totals": np.zeros(5),
    }


def _base(sizes: Sizes, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the lanes of a pass start from: `given`, or nothing yet (so that the first pass broadcasts no zeros)."""
    return given if "table" in given else fresh(sizes)


def _parts(batch: Batch, sizes: Sizes) -> tuple[Any, ...]:
    """The design as the kernels read it."""
    design = design_of(batch)
    ragged = design.ragged
    if design.width != sizes.width or design.dense.shape[1] != sizes.dense or (ragged is not None and not sizes.ragged):
        raise BadInput(
            f"the design has {design.width} slots and {design.dense.shape[1]} dense columns, the model {sizes.width} and {sizes.dense}",
            where=batch.place,
            todo="Encode with the features the model was trained with.",
        )
    starts, slots, values = _NO_RAGGED if ragged is None else ragged
    return (
        np.ascontiguousarray(design.dense, np.float32),
        np.ascontiguousarray(design.slots, np.uint32),
        np.ascontiguousarray(starts, np.int64),
        np.ascontiguousarray(slots, np.uint32),
        np.ascontiguousarray(values, np.float32),
    )


def _refuse_infinite(batch: Batch) -> None:
    """Raise BadInput for the first value that is infinite; missing ones are allowed in the dense columns."""
    design = design_of(batch)
    with np.errstate(over="ignore"):
        rows, columns = np.nonzero(np.isinf(design.dense.astype(np.float32)))
    if len(rows):
        raise BadInput(
            f"column {design.names[columns[0]]!r} is {design.dense[rows[0], columns[0]]}",
            where=row_place(batch, int(rows[0])),
            allowed="numbers up to 3.4e38, or nothing for a missing value",
            todo="Correct the value, or leave the column out.",
        )
    refuse_missing(batch)


def _class_weights(batch: Batch, given: Mapping[str, Any]) -> F8:
    """float64 (n,): row weights times class weights; (0,) where every row counts once."""
    weight = weights_of(batch)
    if "by_class" not in given:
        return weight
    of_class: F8 = given["by_class"][batch.target]
    return of_class * weight if len(weight) else of_class


def _signed(batch: Batch, outs: int, unit: Any = None) -> F8:
    """The target as kernels read it: −1 and +1 for two classes, class numbers for more, numbers from the middle `unit`[0] in units of `unit`[1]."""
    target = batch.target
    if target.dtype == np.int32 and outs == 1:
        return 2.0 * target - 1.0
    if unit is not None:
        target = (target - unit[0]) / unit[1]
    return np.ascontiguousarray(target, np.float64)


def scored(model: Mapping[str, Array], batch: Batch) -> F8:
    """Scores float64 (n, outs) of the rows of a batch under a model's arrays."""
    from .kernels.online_entries import scores

    ragged = design_of(batch).ragged is not None
    sizes = Sizes(width=len(model["table"]), dense=len(model["dense"]), outs=len(model["intercept"]), ragged=ragged)
    small = np.concatenate([model["dense"], model["missing"], model["intercept"][None]])
    out = np.empty((batch.rows, sizes.outs))
    if scores(*_parts(batch, sizes), model["table"], small, out) >= 0:
        _refuse_infinite(batch)
    return out


@dataclass(frozen=True, kw_only=True)
class Learn(Fold):
    """Online updates over the rows of each lane, from the state in `given`; where that is empty, from nothing.

    One lane: its state is the plain weights, as they are. Several: lanes start from the same weights and meet by what
    each has *gained* on them, so that what was known before is counted once. A merged state holds "gained" and
    "gained_small" in place of table and small: Σ ΔG Δw, Σ ΔG and max ΔG of each weight (FTRL: Σ Δz and Σ Δn).

    The weights after meeting have moved as far as one lane's did, not all lanes' together; so their adaptive sums grow
    by the largest gain, not by all (log loss 0.4477 instead of 0.4488 with four lanes meeting often, on the click log).
    """

    encoded: ClassVar[bool] = True
    sizes: Sizes
    loss: int
    rule: Literal["adaptive", "ftrl"]
    knobs: tuple[float, float, float, float, float]  # learning rate, tau, l1, l2, beta
    lanes: int

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        return Traits(chain=self.lanes == 1)

    def init(self, given: Mapping[str, Any]) -> State:
        if "table" not in given:
            return fresh(self.sizes)
        state = {name: given[name].copy() for name in ("table", "scale", "small", "totals")}
        if self.lanes > 1:
            state["totals"][: SEEN] = 0.0
        return state

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        target = _signed(batch, self.sizes.outs, given.get("unit"))
        parts = (*_parts(batch, self.sizes), target, _class_weights(batch, given))
        table, scale, small, totals, knobs = state["table"], state["scale"], state["small"], state["totals"], np.array(self.knobs)
        if self.sizes.outs == 1:
            from .kernels.online_entries import adaptive, ftrl

            bad = (ftrl if self.rule == "ftrl" else adaptive)(*parts, table.reshape(-1), scale, small.reshape(-1), totals, knobs, self.loss)
        else:
            from .kernels.online_entries import many

            bad = many(*parts, table, scale, small, totals, knobs, self.loss, self.rule == "adaptive")
        if 0 <= bad < batch.rows:
            _refuse_infinite(batch)
        if bad >= batch.rows:
            raise BadInput(
                "the prediction has grown beyond 1e30",
                where=row_place(batch, bad - batch.rows),
                todo="Lower learning_rate, or scale columns and target: the values may be too large for it.",
            )
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        if not right["totals"][ROWS]:
            return left
        if not left["totals"][ROWS]:
            return {name: array.copy() for name, array in right.items()}
        base, added = _base(self.sizes, given), 2 * self.sizes.outs
        left = self._gained(left, base)
        both = [(left["gained_small"], right["gained_small"] if "gained" in right else self._gained_small(right, base))]
        if "gained" in right:
            both.append((left["gained"], right["gained"]))
        else:
            self._gain_table(right, base, left["gained"], add=True)
        for ours, theirs in both:
            ours[:, :added] += theirs[:, :added]
            np.maximum(ours[:, added:], theirs[:, added:], out=ours[:, added:])
        np.maximum(left["scale"], right["scale"], out=left["scale"])
        left["totals"] += right["totals"] if "gained" in right else self._gained_totals(right, base)
        return left

    def _gained(self, state: State, base: Mapping[str, Any]) -> State:
        """The state of a lane as what it gained on `base`."""
        if "gained" in state:
            return state
        gained = np.empty((len(state["table"]), self._kinds * self.sizes.outs), np.float32)
        self._gain_table(state, base, gained, add=False)
        return {"gained": gained, "gained_small": self._gained_small(state, base), "scale": state["scale"].copy(), "totals": self._gained_totals(state, base)}

    def _gain_table(self, state: State, base: Mapping[str, Any], out: Array, *, add: bool) -> None:
        """Fill `out` (width, kinds · outs) with what a lane gained on `base`, or add it to what is there."""
        from .kernels.online_entries import gain

        if self.rule == "adaptive":
            gain(state["table"], state["scale"], base["table"], base["scale"], out, add)
        elif add:
            for run in _runs(len(out)):
                out[run] += state["table"][run] - base["table"][run]
        else:
            np.subtract(state["table"], base["table"], out=out)

    def _gained_small(self, state: State, base: Mapping[str, Any]) -> Array:
        """The same of intercept and dense columns, float64 (2m+1, kinds · outs + 1); the last column is the scale."""
        small, outs = state["small"], self.sizes.outs
        out = np.empty((len(small), self._kinds * outs + 1))
        out[:, -1] = small[:, -1]
        out[:, : 2 * outs] = self._at_one(small) - self._at_one(base["small"])
        if self.rule == "adaptive":
            out[:, 2 * outs : -1] = out[:, outs : 2 * outs]
            out[:, :outs] *= out[:, outs : 2 * outs]
        return out

    @staticmethod
    def _gained_totals(state: State, base: Mapping[str, Any]) -> Array:
        totals: Array = state["totals"].copy()
        totals[SEEN:] -= base["totals"][SEEN:]
        return totals

    @property
    def _kinds(self) -> int:
        return 2 if self.rule == "ftrl" else 3

    def _at_one(self, small: Array) -> Array:
        """Weights and sums of `small`, the sums as of the values themselves, so that lanes of different scales can be added."""
        if self.rule == "ftrl":
            return small[:, :-1]
        outs, scale = self.sizes.outs, small[:, -1:]
        return np.hstack([small[:, :outs], small[:, outs:-1] * (scale * scale)])

    def together(self, state: State, given: Mapping[str, Any]) -> State:
        """The plain state after the lanes of a pass have met: weights w + Σ ΔG Δw / Σ ΔG, adaptive sums G + max ΔG."""
        if "gained" not in state:
            return state if self.lanes == 1 else state | {"totals": state["totals"] + _before(given)}
        base, outs = _base(self.sizes, given), self.sizes.outs
        before, gained, scale = self._at_one(base["small"]), state["gained_small"][:, :-1], state["gained_small"][:, -1:]
        if self.rule == "ftrl":
            table, small = base["table"] + state["gained"], before + gained
        else:
            from .kernels.online_entries import settle

            table = np.empty((len(state["gained"]), 2 * outs), np.float32)
            settle(base["table"], base["scale"], state["gained"], state["scale"], table)
            moved, more = gained[:, :outs], gained[:, outs : 2 * outs]
            weights = before[:, :outs] + np.divide(moved, more, out=np.zeros_like(moved), where=more > 0)
            sums = before[:, outs:] + gained[:, 2 * outs :]
            small = np.hstack([weights, np.divide(sums, scale * scale, out=np.zeros_like(sums), where=scale > 0)])
        return {"table": table, "scale": state["scale"], "small": np.hstack([small, scale]), "totals": base["totals"] + state["totals"]}


def _runs(slots: int) -> list[slice]:
    return [slice(start, start + _RUN) for start in range(0, slots, _RUN)]


def _before(given: Mapping[str, Any]) -> F8:
    """The totals of the rounds before, as far as lanes started theirs from zero."""
    before = given["totals"].copy() if "totals" in given else np.zeros(5)
    before[SEEN:] = 0.0
    found: F8 = before
    return found


def plain(state: Mapping[str, Any], sizes: Sizes, rule: str, knobs: tuple[float, ...]) -> State:
    """A model's arrays: weights alone. table float32 (width, outs); dense, missing float64 (m, outs); intercept (outs,)."""
    outs, m = sizes.outs, sizes.dense
    table, small = state["table"], state["small"]
    if rule == "adaptive":
        weights, scale = np.ascontiguousarray(table[:, :outs]), small[:, -1:]
        little = np.divide(small[:, :outs], scale, out=np.zeros((2 * m + 1, outs)), where=scale > 0)
    else:
        weights = np.empty((len(table), outs), np.float32)
        for run in _runs(len(table)):
            weights[run] = _ftrl_weights(table[run].astype(np.float64), knobs)
        little = _ftrl_weights(small[:, : 2 * outs], knobs)
        little[-1] = _ftrl_weights(small[-1:, : 2 * outs], (knobs[0], knobs[1], 0.0, 0.0, knobs[4]))[0]
    return {"table": weights, "dense": little[:m].copy(), "missing": little[m : 2 * m].copy(), "intercept": little[-1].copy()}


def _ftrl_weights(pairs: F8, knobs: tuple[float, ...]) -> F8:
    """Weights (r, outs) of z and n side by side (r, 2·outs), as `kernels.online.ftrl_weight`."""
    rate, _, l1, l2, beta = knobs
    z, n = np.hsplit(pairs, 2)
    pull: F8 = np.sign(z) * np.maximum(np.abs(z) - l1, 0.0)
    return 0.0 - pull / ((beta + np.sqrt(n)) / rate + l2)  # no weight is −0


@dataclass(frozen=True, kw_only=True)
class Held(Fold):
    """The loss of a model (its arrays are `given`) over rows held out. state: loss, weight () float64."""

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True
    loss: int
    tau: float

    def init(self, given: Mapping[str, Any]) -> State:
        return {"loss": np.zeros(()), "weight": np.zeros(())}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.online_entries import losses

        weight = _class_weights(batch, given)
        outs = len(given["intercept"])
        state["loss"] += losses(scored(given, batch), _signed(batch, outs), weight, self.loss, self.tau)
        state["weight"] += weight.sum() if len(weight) else batch.rows
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return {name: left[name] + right[name] for name in left}


@dataclass(frozen=True, kw_only=True)
class Spread(Fold):
    """Where the numbers of a target lie. state: () float64 each: weight; shift, a value near all; first and second, Σ w d and Σ w d², d = y − shift.

    Rows are added strictly one after another, so batches of any size give the same bits; lanes meet by Chan's formula.
    """

    traits: ClassVar[Traits] = Traits()

    def init(self, given: Mapping[str, Any]) -> State:
        return {name: np.zeros(()) for name in ("weight", "shift", "first", "second")}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        target, weight = batch.target, batch.weight
        weight = np.ones(batch.rows) if weight is None else weight
        rows = np.flatnonzero(weight > 0)
        if not len(rows):
            return state
        shift = state["shift"] if state["weight"] > 0 else target[rows[0]]
        moved, weight = target[rows] - shift, weight[rows]
        added = {"weight": weight, "first": weight * moved, "second": weight * moved * moved}
        return {"shift": np.asarray(shift)} | {name: np.add.accumulate(np.append(state[name], values))[-1:].reshape(()) for name, values in added.items()}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        if not (left["weight"] > 0 and right["weight"] > 0):
            return {name: array.copy() for name, array in (left if left["weight"] > 0 else right).items()}
        total = left["weight"] + right["weight"]
        (mean, squares), (other, more) = self._about(left), self._about(right)
        gap, share = other - mean, right["weight"] / total
        second = squares + more + gap * gap * left["weight"] * share
        return {"weight": np.asarray(total), "shift": np.asarray(mean + gap * share), "first": np.zeros(()), "second": np.asarray(second)}

    @staticmethod
    def _about(state: Mapping[str, Any]) -> tuple[Any, Any]:
        """The mean, and the squared distances from it."""
        step = state["first"] / state["weight"]
        return state["shift"] + step, state["second"] - state["first"] * step

    @classmethod
    def unit(cls, state: Mapping[str, Any]) -> F8:
        """(2,): the mean, and the power of two nearest to the deviation, so that scaling weights back is exact."""
        if not state["weight"] > 0:
            return np.array([0.0, 1.0])
        mean, squares = cls._about(state)
        deviation = np.sqrt(max(float(squares / state["weight"]), 0.0))
        return np.array([float(mean), 2.0 ** np.rint(np.log2(deviation)) if 1e-150 < deviation < 1e150 else 1.0])
