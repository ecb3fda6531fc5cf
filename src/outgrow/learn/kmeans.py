"""k-means: a k-means|| start drawn by hashes of positions, then Lloyd's rounds, the best of several starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput, Refused
from ..core.learner import Context, Fold, Learner, Pass, Price, Traits
from ..core.rng import hash64, uniform
from ..core.state import State, under
from ..data.batch import Batch
from .beside import Fused
from .blocks import NOTHING, blocks, design_of, refuse_missing, shape_of, table_width, weights_of

__all__ = ["KMeans"]

F64 = npt.NDArray[np.float64]
_WIDEST = 4096


@dataclass(frozen=True, kw_only=True)
class _Look(Fold):
    """Moments of the columns, and the row whose hash is smallest.

    state: weight (), mean (p,), spread (p,) (sums of squared deviations); hash uint64 (), row (p,).
    """

    traits: ClassVar[Traits] = Traits()
    encoded: ClassVar[bool] = True
    features: int
    seed: int
    purpose: str

    def init(self, given: Mapping[str, Any]) -> State:
        p = self.features
        return {"weight": np.zeros(()), "mean": np.zeros(p), "spread": np.zeros(p), "hash": np.array(2**64 - 1, np.uint64), "row": np.zeros(p)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        weight, hashes = weights_of(batch), hash64(self.seed, self.purpose, batch.positions)
        if len(weight):
            hashes[weight == 0] = np.uint64(2**64 - 1)
        first = int(hashes.argmin())
        for block in blocks(design_of(batch), spread=True):
            row = weight[block.start : block.stop] if len(weight) else np.ones(len(block.x))
            total = row.sum()
            if not total > 0:
                continue
            with np.errstate(invalid="ignore", over="ignore"):
                mean = (row @ block.x) / total
                spread = row @ (block.x - mean) ** 2
            part: State = {"weight": total, "mean": mean, "spread": spread, "hash": np.array(2**64 - 1, np.uint64), "row": state["row"]}
            if block.start <= first < block.stop:
                part |= {"hash": np.array(hashes[first]), "row": block.x[first - block.start].copy()}
            state = self.merge(state, part, given)
        if not np.isfinite(state["spread"]).all():
            refuse_missing(batch)
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        total = left["weight"] + right["weight"]
        if total > 0:
            delta, share = right["mean"] - left["mean"], right["weight"] / total
            with np.errstate(invalid="ignore", over="ignore"):  # looked for by the learner
                spread = left["spread"] + right["spread"] + delta * delta * (left["weight"] * share)
            left = left | {"weight": np.asarray(total), "mean": left["mean"] + delta * share, "spread": spread}
        if right["hash"] < left["hash"]:
            left = left | {"hash": right["hash"], "row": right["row"].copy()}
        return left


@dataclass(frozen=True, kw_only=True)
class _Assign(Fold):
    """Sums of the rows nearest to each of ``given["centers"]``, all shifted by ``given["shift"]``.

    state: sums (K, p), counts (K,), score () (half of the summed squared distances less squared lengths).
    """

    traits: ClassVar[Traits] = Traits(elementwise=True)
    encoded: ClassVar[bool] = True

    def init(self, given: Mapping[str, Any]) -> State:
        return {"sums": np.zeros_like(given["centers"]), "counts": np.zeros(len(given["centers"])), "score": np.zeros(())}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.dense import add_rows

        weight = weights_of(batch)
        for start, x, label, score in _nearest(batch, given["centers"], given["shift"]):
            row = weight[start : start + len(x)]
            state["score"] += (score * row).sum() if len(row) else score.sum()
            add_rows(x, label, row, state["sums"], state["counts"])
        return state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        for name, array in right.items():
            left[name] += array
        return left


def _nearest(batch: Batch, centers: F64, shift: F64) -> Any:
    """Yield (start, x less the shift, label, score) a block; see `kernels.dense.nearest`."""
    from .kernels.dense import nearest

    half = 0.5 * (centers * centers).sum(1)
    shifted = bool(shift.any())
    for block in blocks(design_of(batch), spread=True):
        x = block.x - shift if shifted else block.x
        label, score = np.empty(len(x), np.int32), np.empty(len(x))
        nearest(centers @ x.T, half, label, score)
        yield block.start, x, label, score


@dataclass(frozen=True, kw_only=True)
class _Pick(Fold):
    """A few rows: drawn in proportion to their squared distance to the nearest centre, or those farthest from it.

    state: keys (m,) ascending, inf where empty; positions int64 (m,); rows (m, p), shifted.
    """

    traits: ClassVar[Traits] = Traits(order_free=True)
    encoded: ClassVar[bool] = True
    how: Literal["draw", "far"]
    count: int
    seed: int
    purpose: str

    def init(self, given: Mapping[str, Any]) -> State:
        m, p = self.count, given["centers"].shape[1]
        return {"keys": np.full(m, np.inf), "positions": np.full(m, np.iinfo(np.int64).max), "rows": np.zeros((m, p))}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.dense import draw_keys

        centers, weight, positions = given["centers"], weights_of(batch), batch.positions
        chance = uniform(self.seed, self.purpose, positions) if self.how == "draw" else NOTHING
        longest = (centers * centers).sum(1).max()
        for start, x, _, score in _nearest(batch, centers, given["shift"]):
            part = slice(start, start + len(x))
            square = np.einsum("ij,ij->i", x, x)
            distance = square + 2.0 * score
            distance[distance <= 1e-13 * (square + longest)] = 0.0  # rounding: such a row is a centre
            if len(weight):
                distance *= weight[part]
            keys = np.where(distance > 0, -distance, np.inf)
            if self.how == "draw":
                draw_keys(chance[part], distance, keys)
            near = np.flatnonzero(keys <= state["keys"][-1])
            near = near[np.isfinite(keys[near])]
            if len(near):
                state = self._lowest(state, {"keys": keys[near], "positions": positions[part][near], "rows": x[near]})
        return state

    def _lowest(self, left: State, right: State) -> State:
        both = {name: np.concatenate([left[name], right[name]]) for name in left}
        order = np.lexsort((both["positions"], both["keys"]))[: self.count]
        return {name: array[order] for name, array in both.items()}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return self._lowest(left, right)


@dataclass(frozen=True, kw_only=True)
class _Start(Learner):
    """One start of `KMeans`, to its end. carry: phase: 0 look, then `rounds` draws, one weighing, Lloyd's rounds, the last look."""

    clusters: int
    max_rounds: int
    tolerance: float
    oversampling: float
    rounds: int
    number: int

    def begin(self, context: Context, start: State | None = None) -> State:
        shape = shape_of(context.schema)
        p = table_width(shape) + len(shape.names)
        if p > _WIDEST:
            raise Refused(f"k-means over {p} features", allowed=f"up to {_WIDEST}", todo="Use fewer one-hot categories or bits, or leave wide columns out.")
        if context.rows < self.clusters:
            raise BadInput(f"{context.rows} rows are fewer than the {self.clusters} clusters", todo="Ask for fewer clusters.")
        carry: State = {"phase": np.array(0), "round": np.array(0), "shift": np.zeros(p), "centers": np.zeros((0, p))}
        if start is not None:
            if start["centers"].shape != (self.clusters, p):
                found = start["centers"].shape
                raise BadInput(f"the model to start from has centers of shape {found}, here it is {(self.clusters, p)}", todo="Start from a model of the same columns.")
            carry["start"] = start["centers"]
        return carry

    def _purpose(self, phase: int) -> str:
        return f"k-means start {self.number} round {phase}"

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        phase = int(carry["phase"])
        given = {"centers": carry["centers"], "shift": carry["shift"]}
        if phase == 0:
            return (Pass(fold=_Look(features=len(carry["shift"]), seed=context.seed, purpose=self._purpose(0))),)
        if "done" in carry:
            return ()
        if phase <= self.rounds:
            count = int(np.ceil(self.oversampling * self.clusters))
            return (Pass(fold=_Pick(how="draw", count=count, seed=context.seed, purpose=self._purpose(phase)), given=given),)
        if "empty" in carry:
            return (Pass(fold=_Pick(how="far", count=int(carry["empty"].sum()), seed=context.seed, purpose=""), given=given),)
        return (Pass(fold=_Assign(), given=given),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        state, phase = closed[0], int(carry["phase"])
        if phase == 0:
            return self._looked(carry, state)
        if phase <= self.rounds:
            found = np.isfinite(state["keys"])
            return carry | {"phase": np.array(phase + 1), "centers": np.concatenate([carry["centers"], state["rows"][found]])}
        if phase == self.rounds + 1:
            return carry | {"phase": np.array(phase + 1), "centers": self._recluster(context, carry["centers"], state)}
        if "empty" in carry:
            return self._refill(carry, state)
        return self._step(carry, state)

    def _looked(self, carry: State, state: State) -> State:
        if not state["weight"] > 0:
            raise BadInput("no row has a weight above 0", where="weight")
        variance = state["spread"] / state["weight"]
        # subtracting a mean costs a pass over memory; it is only needed where squares would drown the differences
        shift = np.where(np.abs(state["mean"]) > 10.0 * np.sqrt(variance), state["mean"], 0.0)
        with np.errstate(over="ignore"):
            square = state["spread"] + state["weight"] * (state["mean"] - shift) ** 2
        if not np.isfinite(square.sum()):
            raise BadInput("the squares of the columns overflow float64", todo="Divide large columns by a constant first, or put Scale() before this learner.")
        carry = carry | {"phase": np.array(1), "shift": shift, "square": np.array(square.sum()), "least": np.array(self.tolerance * variance.mean())}
        if "start" in carry:
            return {name: array for name, array in carry.items() if name != "start"} | {"phase": np.array(self.rounds + 2), "centers": carry["start"] - shift}
        return carry | {"centers": (state["row"] - shift)[None]}

    def _recluster(self, context: Context, candidates: F64, state: State) -> F64:
        """The weighted candidates, moved to the means of their rows, clustered by the best of a few runs of k-means++ and Lloyd: (K, p)."""
        some = state["counts"] > 0
        points, weight = state["sums"][some] / state["counts"][some, None], state["counts"][some]
        if len(points) < self.clusters:
            raise BadInput(f"the rows take only {len(points)} different places; {self.clusters} clusters are asked for", todo="Ask for fewer clusters.")
        best, lowest = candidates, np.inf
        for turn in range(10):
            draws = uniform(context.seed, f"{self._purpose(self.rounds + 1)} turn {turn}", np.arange(self.clusters * 8)).reshape(self.clusters, 8)
            centers, cost = _cluster_few(points, weight, draws)
            if cost < lowest:
                best, lowest = centers, cost
        return best

    def _refill(self, carry: State, state: State) -> State:
        """Move empty clusters to the rows farthest from every centre; where no row is off its centre they stay."""
        centers, found = carry["centers"].copy(), state["rows"][np.isfinite(state["keys"])]
        centers[np.flatnonzero(carry["empty"])[: len(found)]] = found
        return {name: array for name, array in carry.items() if name != "empty"} | {"centers": centers, "refilled": np.array(1)}

    def _step(self, carry: State, state: State) -> State:
        """One of Lloyd's rounds, or the closing look at the inertia."""
        carry = carry | {"inertia": np.array(max(0.0, carry["square"] + 2.0 * state["score"])), "counts": state["counts"]}
        if "last" in carry:
            return carry | {"done": np.array(1)}
        empty = state["counts"] == 0
        old = carry["centers"]
        centers = np.where(empty[:, None], old, state["sums"] / np.maximum(state["counts"], 1e-300)[:, None])
        moved = float(((centers - old) ** 2).sum())
        turn = int(carry["round"]) + 1
        carry |= {"round": np.array(turn), "moved": np.array(moved), "centers": centers}
        if empty.any() and "refilled" not in carry and turn < self.max_rounds:
            return carry | {"empty": empty}
        carry.pop("refilled", None)
        if moved == 0.0:
            return carry | {"done": np.array(1)}
        if moved <= carry["least"] or turn >= self.max_rounds:
            return carry | {"last": np.array(1)}
        return carry

    def finish(self, context: Context, carry: State) -> State:
        return {"centers": carry["centers"] + carry["shift"], "counts": carry["counts"], "inertia": carry["inertia"]}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {name: float(carry[name]) for name in ("inertia", "moved", "round") if name in carry}

    def price(self, context: Context) -> Price:
        shape = shape_of(context.schema)
        p = table_width(shape) + len(shape.names)
        size = 8 * p * int((1 + self.rounds * np.ceil(self.oversampling)) * self.clusters)
        return Price(state=size, given=size, passes=(self.rounds + 5, self.rounds + 3 + self.max_rounds))


def _cluster_few(points: F64, weight: F64, draws: F64) -> tuple[F64, float]:
    """Greedy k-means++ (best of 8 draws a centre), then Lloyd, over a few hundred weighted points: centres (K, p) and their cost."""

    def to(center: F64) -> F64:
        return np.asarray(((points[:, None, :] - center[None]) ** 2).sum(2))

    picks = [int(np.searchsorted(np.cumsum(weight), draws[0, 0] * weight.sum(), side="right").clip(0, len(points) - 1))]
    near = to(points[picks])[:, 0]
    for draw in draws[1:]:
        mass = np.cumsum(weight * near)
        tried = np.searchsorted(mass, draw * mass[-1], side="right").clip(0, len(points) - 1)
        reach = np.minimum(near[:, None], to(points[tried]))
        best = int((weight @ reach).argmin())
        picks.append(int(tried[best]))
        near = reach[:, best]
    centers, cost = points[picks], np.inf
    for _ in range(100):
        distance = to(centers)
        label = distance.argmin(1)
        before, cost = cost, float(weight @ distance.min(1))
        if cost >= before:
            break
        for k in np.unique(label):
            own = label == k
            centers[k] = (weight[own] @ points[own]) / weight[own].sum()
    return centers, cost


@dataclass(frozen=True, kw_only=True)
class KMeans(Learner):
    """k-means: rows in `clusters` groups around their means.

    The start is k-means|| (Bahmani and others 2012): each of `rounds` passes draws ``oversampling · clusters`` rows in
    proportion to their squared distance from what was drawn before, the draw of a row being a hash of the seed and its
    position; the drawn rows, weighted by the rows nearest to them, are clustered to `clusters` centres. Where the original
    tosses a coin a row, exactly that many rows are taken here (weighted sampling without replacement), which saves the passes
    that sum the distances. Then Lloyd's rounds: one pass each.

    Parameters
    ----------
    clusters : int
    starts : int
        Runs side by side from different starts, sharing the reads; the lowest inertia wins.
    max_rounds : int
        Lloyd's rounds at most.
    tolerance : float
        Done when the summed squared movement of all centres is at most this times the columns' mean variance (as scikit-learn).
    oversampling : float
    rounds : int

    Notes
    -----
    A cluster left without rows is moved, in a pass of its own, to the row farthest from every centre.

    model: centers float64 (K, p), table slots before dense columns; counts (K,), weighted rows of each; inertia (), the
    weighted sum of squared distances.
    """

    clusters: int = 8
    starts: int = 1
    max_rounds: int = 300
    tolerance: float = 1e-4
    oversampling: float = 1.0
    rounds: int = 5

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("clusters", self.clusters >= 1, "1 or more"),
            ("starts", self.starts >= 1, "1 or more"),
            ("max_rounds", self.max_rounds >= 1, "1 or more"),
            ("tolerance", 0 <= self.tolerance < np.inf, "0 or more"),
            ("rounds", self.rounds >= 1, "1 or more"),
            ("oversampling", self.oversampling * self.rounds >= 1 and self.oversampling <= 100, "at least 1 / rounds, so that enough rows are drawn, up to 100"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    def _parts(self) -> Fused:
        return Fused(
            tuple(
                (
                    str(i),
                    _Start(clusters=self.clusters, max_rounds=self.max_rounds, tolerance=self.tolerance, oversampling=self.oversampling, rounds=self.rounds, number=i),
                )
                for i in range(self.starts)
            )
        )

    def widest(self, schema: Any) -> int | None:
        return _WIDEST

    def begin(self, context: Context, start: State | None = None) -> State:
        return self._parts().begin(context, None if start is None else {"0/centers": start["centers"]})

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return self._parts().ask(context, carry)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return self._parts().tell(context, carry, closed)

    def _best(self, carry: State) -> State:
        found = [under(str(i), carry) for i in range(self.starts)]
        return min(found, key=lambda own: float(own.get("inertia", np.inf)))  # the first of equals

    def finish(self, context: Context, carry: State) -> State:
        return self._parts().parts[0][1].finish(context, self._best(carry))

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return self._parts().parts[0][1].facts(context, self._best(carry))

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``cluster`` int32 (n,) and ``distance`` float64 (n,) to its centre."""
        from .kernels.dense import closest

        refuse_missing(batch)
        cluster, square = np.empty(batch.rows, np.int32), np.empty(batch.rows)
        for block in blocks(design_of(batch), spread=True):
            closest(block.x, model["centers"], cluster[block.start : block.stop], square[block.start : block.stop])
        return {"cluster": cluster, "distance": np.sqrt(square)}

    def price(self, context: Context) -> Price:
        return self._parts().price(context)
