"""How good a model is, as states that merge: every row counted once, however the rows are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput
from ..core.learner import Context, Fold, Learner, Pass, Price, Sink, Traits
from ..core.state import State, prefixed, under
from ..data.target import weight_of

__all__ = ["Evaluate", "Metrics", "Scored", "summary"]

_EXPONENTS, _STEPS = 40, 1024  # probabilities from 2^-40 up, in steps of a thousandth of themselves, counted from 0 and from 1
_BINS = 2 * _EXPONENTS * _STEPS
_TINY = 1e-15
_EDGES = np.linspace(0.0, 1.0, 11)  # of the bins of calibration: (0, 0.1], … as in scikit-learn's calibration_curve; 0 is in the first


def _bins(chance: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Bins (n,) in the order of the probabilities: fine near 0 and near 1."""
    near = np.minimum(chance, 1.0 - chance)
    bits = near.astype(np.float32).view(np.int32).astype(np.int64) >> 13
    low = np.clip(bits - ((127 - _EXPONENTS) * _STEPS), 0, _EXPONENTS * _STEPS - 1)
    return np.asarray(np.where(chance <= 0.5, low, _BINS - 1 - low), np.int64)


def _ranked(score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A score without bounds as a number in (0, 1), in the same order."""
    return 0.5 + 0.5 * score / (1.0 + np.abs(score))


def _finite(values: Any, batch: Any) -> npt.NDArray[np.float64]:
    """Predictions as float64; BadInput names the first row whose is not a number."""
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found))[0])
        todo = "Its fit has diverged: fit again with scaled columns or smaller steps."
        raise BadInput(f"the model predicts {found[row]} for row {int(batch.positions[row])}", where=batch.place, todo=todo)
    return found


@dataclass(frozen=True)
class Metrics(Fold):
    """Counts and sums over rows whose answers are known; `given` is the model's arrays.

    State, for classes: ``confusion`` float64 (classes, classes) of weights, truth by row; ``log_loss``; ``brier``; ``calibration`` float64 (4, 10): by
    bin of probability the rows, their weight, and its products with what was predicted and what came; for two classes
    ``bins`` float64 (2, 81 920), the weight of each class by score. For numbers: ``weight``, ``mean``, ``spread`` of the
    target, and sums of squared and absolute errors. Cost: one prediction a row; 1.3 MB for two classes.

    weight: the column of weights where it is an input of the learner too; "": that of the schema, if any.
    """

    traits: ClassVar[Traits] = Traits()
    learner: Learner
    task: str
    classes: int
    weight: str = ""

    def init(self, given: Mapping[str, Any]) -> State:
        state: State = {"rows": np.zeros((), np.int64)}
        if self.task == "number":
            return state | {name: np.zeros(()) for name in ("weight", "mean", "spread", "squared", "absolute")}
        state |= {"confusion": np.zeros((self.classes, self.classes)), "log_loss": np.zeros(()), "brier": np.zeros(())}
        state |= {"calibration": np.zeros((4, len(_EDGES) - 1)), "chances": np.ones((), np.bool_)}
        return state | ({"bins": np.zeros((2, _BINS))} if self.classes == 2 else {})

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        columns = self._predicted(batch, given)
        weight = self._weight(batch)
        state["rows"] = state["rows"] + batch.rows
        return self._numbers(state, columns, batch, weight) if self.task == "number" else self._classes(state, columns, batch, weight)

    def _weight(self, batch: Any) -> npt.NDArray[np.float64]:
        found = weight_of(batch, self.weight) if self.weight else batch.weight
        return np.ones(batch.rows) if found is None else found

    def _predicted(self, batch: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        return self.learner.predict(dict(given), batch)

    def _numbers(self, state: State, columns: dict[str, Any], batch: Any, weight: Any) -> State:
        truth = batch.target
        error = _finite(columns["prediction"], batch) - truth
        total = weight.sum()
        mean = (weight * truth).sum() / total if total else 0.0
        own = {
            "rows": np.zeros((), np.int64),
            "weight": total,
            "mean": mean,
            "spread": (weight * (truth - mean) ** 2).sum(),
            "squared": (weight * error**2).sum(),
            "absolute": (weight * np.abs(error)).sum(),
        }
        return self.merge(state, own, {})

    def _classes(self, state: State, columns: dict[str, Any], batch: Any, weight: Any) -> State:
        truth, names = batch.target, batch.schema.classes
        kind, scores = _scores(columns, batch)
        state["chances"] = state["chances"] & np.bool_(kind == "probability")
        if scores is None:  # only the classes themselves
            np.add.at(state["confusion"], (truth, _called(columns, names)), weight)
            return state
        if self.classes == 2:
            found = scores[:, 0]
            guess = (found > (0.5 if kind == "probability" else 0.0)).astype(np.int64)
            chance = found if kind == "probability" else _ranked(found)
            both = np.stack([1.0 - chance, chance], 1)
            np.add.at(state["bins"], (truth, _bins(chance)), weight)
        else:
            both, guess = scores, scores.argmax(1)
        np.add.at(state["confusion"], (truth, guess), weight)
        if state["chances"]:
            own = both[np.arange(batch.rows), truth]
            state["log_loss"] = state["log_loss"] - (weight * np.log(np.clip(own, _TINY, 1.0))).sum()
            square = (1.0 - own) ** 2 if self.classes == 2 else (both**2).sum(1) - 2.0 * own + 1.0  # of two classes half of the sum over both
            state["brier"] = state["brier"] + (weight * square).sum()
            came = truth if self.classes == 2 else guess == truth  # of more classes: how sure of the one that is called, and whether it came
            state["calibration"] = state["calibration"] + _calibration(both[:, 1] if self.classes == 2 else both.max(1), came, weight)
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        merged = {name: np.asarray(left[name] + right[name]) for name in left}
        if "chances" in left:
            merged["chances"] = left["chances"] & right["chances"]
        if "mean" in left and merged["weight"]:
            gap, share = right["mean"] - left["mean"], right["weight"] / merged["weight"]  # Chan, Golub and LeVeque 1979
            merged["mean"] = np.asarray(left["mean"] + gap * share)
            merged["spread"] = np.asarray(left["spread"] + right["spread"] + gap * gap * left["weight"] * share)
        return merged


def _scores(columns: dict[str, Any], batch: Any) -> tuple[str, npt.NDArray[np.float64] | None]:
    """"probability" or "score" and what the columns of it hold, (n, 1) for the second of two classes, else (n, classes); ("", None) without them."""
    names = batch.schema.classes
    if len(names) == 2:
        kind = next((kind for kind in ("probability", "score") if kind in columns), "")
        return kind, _finite(columns[kind], batch)[:, None] if kind else None
    kind = next((kind for kind in ("probability", "score") if f"{kind}_{names[0]}" in columns), "")
    return kind, np.stack([_finite(columns[f"{kind}_{name}"], batch) for name in names], 1) if kind else None


def _calibration(chance: npt.NDArray[np.float64], came: Any, weight: Any) -> npt.NDArray[np.float64]:
    """(4, bins): rows, weight, weight × chance, weight × whether it came."""
    place, bins = np.searchsorted(_EDGES[1:-1], chance), len(_EDGES) - 1
    return np.stack([np.bincount(place, each, bins) for each in (np.ones(len(chance)), weight, weight * chance, weight * came)])


@dataclass(frozen=True)
class _Predictions:
    """A batch with what was predicted for it: one prediction a row serves `update` and `emit`."""

    batch: Any
    columns: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batch, name)


@dataclass(frozen=True)
class Scored(Metrics):
    """`Metrics`, and each row's scores for a sink (`outgrow.data.scores.ScoreSink`)."""

    def see(self, batch: Any, given: Mapping[str, Any]) -> _Predictions:
        return _Predictions(batch, self.learner.predict(dict(given), batch))

    def _predicted(self, batch: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        columns: dict[str, Any] = batch.columns
        return columns

    def emit(self, batch: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """``scores`` float64 (n, 1 or classes), ``truth`` (n,), ``weight`` float64 (n,); nothing where the learner gives classes alone."""
        scores = _scores(batch.columns, batch)[1]
        return {} if scores is None else {"scores": scores, "truth": batch.target, "weight": self._weight(batch)}


def _called(columns: dict[str, Any], names: tuple[Any, ...]) -> npt.NDArray[np.int64]:
    """The classes in ``prediction``, by number."""
    if "prediction" not in columns:
        raise BadInput(f"the learner predicts the columns {', '.join(columns)}", allowed="prediction, and probability or score where it has them")
    number = {str(name): i for i, name in enumerate(names)}
    values, inverse = np.unique(np.asarray(columns["prediction"]), return_inverse=True)
    unknown = [str(value) for value in values if str(value) not in number]
    if unknown:
        raise BadInput(f"the learner predicts the class {unknown[0]!r}", allowed=", ".join(number))
    return np.asarray(np.array([number[str(value)] for value in values], np.int64)[inverse], np.int64)


def _auc(bins: npt.NDArray[np.float64]) -> tuple[float | None, float]:
    """Area under the ROC curve from binned scores, and the most that ties within bins can hide."""
    negative, positive = bins
    pairs = float(negative.sum() * positive.sum())
    if pairs == 0.0:
        return None, 0.0
    below = np.cumsum(negative) - negative
    tied = float((positive * negative).sum())
    return float((positive * below).sum() + 0.5 * tied) / pairs, 0.5 * tied / pairs


def _calibrated(table: npt.NDArray[np.float64]) -> list[dict[str, float]]:
    """One entry a bin that has weight, by scikit-learn's names: `prob_pred`, the mean prediction, and `prob_true`, the share that came."""
    found = []
    for k, (rows, weight, predicted, came) in enumerate(table.T.tolist()):
        if weight:
            between = {"from": float(round(_EDGES[k], 6)), "to": float(round(_EDGES[k + 1], 6))}
            found.append({**between, "rows": int(rows), "weight": weight, "prob_pred": predicted / weight, "prob_true": came / weight})
    return found


def summary(state: State, classes: tuple[Any, ...], *exact: float | None) -> dict[str, Any]:
    """The figures of a merged state, by the names people know: rows, accuracy, log_loss, auc, … or rmse, mae, r2.

    exact : the AUC where it was found otherwise, in place of that of the bins.

    ``auc_error`` bounds what binning the scores can have changed in ``auc``; what cannot be known is None.
    ``brier_score_loss`` is scikit-learn's: for two classes the mean square of what the probability misses, for more the sum over classes of it.
    ``calibration`` compares, by bin of probability, what was predicted with what came: the second of two classes, of more the class that is called;
    ``expected_calibration_error`` is the mean distance of the two, each bin by its weight.
    ``baseline`` holds what a constant guess made of these very rows would get in the same figures: their class shares (for the accuracy their
    most frequent class), or their mean.
    """
    rows = int(state["rows"])
    if "confusion" not in state:
        total = float(state["weight"])
        if not rows or not total:
            raise BadInput("there are no rows with a weight to evaluate on")
        spread = float(state["spread"])
        squared = float(state["squared"])
        level = 32 * np.finfo(np.float64).eps * float(state["mean"])
        r2 = 1.0 - squared / spread if spread > total * level**2 else None  # below that all answers are one, but for rounding
        return {"rows": rows, "rmse": (squared / total) ** 0.5, "mae": float(state["absolute"]) / total, "r2": r2, "baseline": {"rmse": (spread / total) ** 0.5}}
    table = state["confusion"]
    total = float(table.sum())
    if not rows or not total:
        raise BadInput("there are no rows with a weight to evaluate on")
    found: dict[str, Any] = {
        "rows": rows,
        "accuracy": float(np.trace(table)) / total,
        "log_loss": float(state["log_loss"]) / total if state["chances"] else None,
        "brier_score_loss": float(state["brier"]) / total if state["chances"] else None,
    }
    if exact or "bins" in state:
        auc, error = (exact[0], 0.0) if exact else _auc(state["bins"])
        found |= {"auc": auc, "auc_error": error}
    if "bins" in state:
        hits, called, real = float(table[1, 1]), float(table[:, 1].sum()), float(table[1].sum())
        found |= {"precision": hits / called if called else None, "recall": hits / real if real else None}
    bins = state["calibration"]
    found["expected_calibration_error"] = float(np.abs(bins[2] - bins[3]).sum()) / total if state["chances"] else None
    weights = [float(value) for value in table.sum(1)]
    found["share"] = {str(name): weights[i] / total for i, name in enumerate(classes)}
    found["confusion"] = {str(name): {str(other): float(table[i, j]) for j, other in enumerate(classes)} for i, name in enumerate(classes)}
    found["calibration"] = _calibrated(bins) if state["chances"] else []
    found["baseline"] = {name: value for name, value in _constant(np.array(weights) / total).items() if found[name] is not None}
    return found


def _constant(share: npt.NDArray[np.float64]) -> dict[str, float]:
    """What guessing the shares of the classes, or the class with the largest, gets on the rows that have them."""
    some, squares = share[share > 0.0], float((share**2).sum())
    brier = (0.5 if len(share) == 2 else 1.0) * (1.0 - squares)  # of two classes half of the sum over both
    return {"accuracy": float(share.max()), "log_loss": max(0.0, -float((some * np.log(some)).sum())), "brier_score_loss": max(0.0, brier)}


@dataclass(frozen=True)
class Evaluate(Learner):
    """One pass that scores a fitted learner; begin it with the model's arrays as `start`. Its own model is the state of `Metrics`.

    sink: where each row's scores go, for an exact AUC; they share the read and the prediction.
    weight: the column that says how much a row counts, where the learner reads it as an input; else the schema says it.
    """

    learner: Learner
    sink: Sink | None = None
    weight: str = ""

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"told": np.zeros((), np.int64)} | prefixed("model", start or {})

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if carry["told"]:
            return ()
        schema = context.schema
        fold = (Metrics if self.sink is None else Scored)(self.learner, schema.task, len(schema.classes), self.weight)
        return (Pass(fold=fold, given=under("model", carry), cover=context.few, sink=self.sink),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return {"told": np.ones((), np.int64)} | prefixed("state", closed[0])

    def finish(self, context: Context, carry: State) -> State:
        return under("state", carry)

    def price(self, context: Context) -> Price:
        classes = len(context.schema.classes)
        return Price(state=16 * _BINS if classes == 2 else 8 * (classes**2 + 8), lanes=context.few.lanes)
