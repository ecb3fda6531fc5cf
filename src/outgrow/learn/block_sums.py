"""What a linear model in blocks folds: margins kept beside the rows, and the sums of one block of the weights at a time.

Margins are kept as whole numbers of `UNIT`, one contribution of each block. Whole numbers add up to the same bits in any order, so what is kept is a
function of the weights alone, however many steps led there: it can be stepped block by block, and rebuilt block by block, to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..core.learner import Fold, Traits
from ..core.state import State
from ..data.batch import Batch, aligned_empty
from .blocks import design_of, refuse_missing, weights_of
from .logistic_sums import row_weights

__all__ = ["DEPTH", "MOST", "UNIT", "BlockSums", "Loss", "MarginsAgain", "PlaneSums", "Targets", "narrow"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Loss = Literal["logistic", "squared"]

DEPTH = 2  # earlier sweeps whose margins are kept, to go on from where they point
UNIT = 2.0**-42  # of a kept margin
MOST = 256  # blocks: so that the margins of all, each at most `_LARGEST`, fit 64 bits
_LARGEST = 2.0**12
_NEWTON = 512  # weights of a block up to which its whole Hessian is summed
_NOW, _MOVED = DEPTH + 1, DEPTH + 2  # places of a kept array, after those of the sweeps that are over


def narrow(width: int, outs: int) -> bool:
    """True where a block of so many features is stepped by its Hessian: 2 MB of sums at most."""
    return width * outs <= _NEWTON


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows [start, stop) of a batch, and the block's columns of them: x (n, q) where they are a matrix, else the entries among which its slots are."""

    start: int
    stop: int
    x: F64 | None
    entries: tuple[Any, ...]

    def margins(self, w: F64, low: int) -> F64:
        """What weights (q, outs) of the block add to the margins: (outs, n)."""
        if self.x is not None:
            found: F64 = w.T @ self.x.T
            return found
        from .kernels.slots import gather_part

        z = np.zeros((w.shape[1], self.stop - self.start))
        gather_part(z, *self.entries, w, low)
        return z


_NO_RAGGED = (np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32))


def _rows(batch: Batch, block: I64, outs: int) -> Iterator[_Rows]:
    """The batch in runs of rows; x is valid until the next one is asked for, and lies the same way whatever else the design holds."""
    from .kernels.dense import BLOCK
    from .kernels.slots import spread_part

    table, low, high, _ = block.tolist()
    design, q = design_of(batch), high - low
    dense = design.dense if design.dense.shape[1] == q else design.dense[:, low:high]
    matrix = not table or narrow(q, outs)
    size = max(256, min(BLOCK, (1 << 17) // max(q, 1) // 64 * 64)) if matrix else BLOCK
    scratch = aligned_empty((min(size, batch.rows), q), np.float64) if matrix else None
    for start in range(0, batch.rows, size):
        stop = min(start + size, batch.rows)
        ragged = _NO_RAGGED if design.ragged is None else (design.ragged[0][start : stop + 1], *design.ragged[1:])
        entries = (design.slots[start:stop], *ragged)
        x = None if scratch is None else scratch[: stop - start]
        if x is not None and table:
            x[:] = 0.0
            spread_part(x, *entries, low)
        elif x is not None:
            x[:] = dense[start:stop]
        yield _Rows(start, stop, x, entries)


def _whole(z: F64) -> I64:
    """Margins as whole numbers of `UNIT`; what is no number or too large is the largest, where no loss is low."""
    with np.errstate(invalid="ignore"):
        found: I64 = np.rint(np.clip(np.where(np.isnan(z), _LARGEST, z), -_LARGEST, _LARGEST) / UNIT).astype(np.int64)
    return found


def _added(kept: I64, places: tuple[int, ...], batch: Batch, block: I64, new: F64, old: F64 | None) -> None:
    """Add what a block's margins gain from weights `old` to `new` to these places of a kept array; changes it."""
    with np.errstate(invalid="ignore", over="ignore"):
        for rows in _rows(batch, block, new.shape[1]):
            gain = _whole(rows.margins(new, int(block[1])))
            if old is not None:
                gain -= _whole(rows.margins(old, int(block[1])))
            for place in places:
                kept[place, :, rows.start : rows.stop] += gain


def _nothing(batch: Batch, outs: int) -> I64:
    return np.zeros((_MOVED + 1, outs, batch.rows), np.int64)


@dataclass(frozen=True, kw_only=True)
class _Kept(Fold):
    """A fold beside whose batches margins lie.

    kept: margins int64 (5, outs, n), in units of `UNIT`: of the weights after the last sweep, the one before, and the one before that; of the blocks
    that this sweep has come to, as their weights are now; and how far these have moved from where the sweep began.

    given, where a pass steps them: `turn`, a sweep is over; `new` (q, outs), weights of the block, and, if it was there before, `old`.
    """

    traits: ClassVar[Traits] = Traits(elementwise=True)
    outs: int

    def keep(self, kept: State | None, batch: Batch, given: Mapping[str, Any]) -> State:
        if kept is not None and not {"turn", "new"} & set(given):
            return kept
        margins = _nothing(batch, self.outs) if kept is None else kept["margins"].copy()
        if "turn" in given:
            margins[1 : DEPTH + 1] = margins[:DEPTH].copy()
            margins[0] = margins[_NOW]
            margins[_NOW:] = 0
        if "new" in given:
            _added(margins, (_NOW, _MOVED) if "old" in given else (_NOW,), batch, given["block"], given["new"], given.get("old"))
        return {"margins": margins}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        for name, array in right.items():
            left[name] += array
        return left


@dataclass(frozen=True, kw_only=True)
class MarginsAgain(_Kept):
    """Adds one block to margins that are rebuilt.

    given: `block again`, the block; `again` (3 or 5, q, outs), its weights after the last three sweeps, now, and where this sweep began.
    """

    def keep(self, kept: State | None, batch: Batch, given: Mapping[str, Any]) -> State:
        margins = _nothing(batch, self.outs) if kept is None else kept["margins"].copy()
        block, weights = given["block again"], given["again"]
        for place in range(DEPTH + 1):
            _added(margins, (place,), batch, block, weights[place], None)
        if len(weights) > DEPTH + 1:
            _added(margins, (_NOW,), batch, block, weights[_NOW], None)
            _added(margins, (_MOVED,), batch, block, weights[_NOW], weights[_MOVED])
        return {"margins": margins}


@dataclass(frozen=True, kw_only=True)
class _Sums(_Kept):
    """Losses of rows by their margins. given: by_class (K,) or level (2,), the target's mean and unit; mix (2,), how much of each earlier sweep is added to the last one."""

    loss: Loss

    def _margins(self, batch: Batch, given: Mapping[str, Any], part: slice) -> F64:
        kept, mix = batch.kept["margins"][:, :, part], given["mix"]  # type: ignore[index]
        z: F64 = UNIT * (kept[0] + kept[_MOVED]).astype(np.float64)
        for k in range(DEPTH):
            if mix[k]:
                z += mix[k] * (UNIT * (kept[k + 1] - kept[0]).astype(np.float64))
        z += given["intercept"][:, None]
        return z

    def _target(self, batch: Batch, given: Mapping[str, Any]) -> tuple[Any, F64 | None]:
        """Classes (n,) or numbers in units of their deviation, and what rows weigh."""
        if self.loss == "logistic":
            return batch.target, row_weights(batch, given["by_class"])
        return (batch.target - given["level"][0]) / given["level"][1], batch.weight

    def _each(self, z: F64, y: Any) -> tuple[F64, F64, F64]:
        """Of each row: loss (n,), its derivative by the margins (outs, n), and the chances (outs, n) that curvature is made of; of squares, none."""
        from .kernels.dense import binary_rows, softmax_rows

        if self.loss == "squared":
            away = z - y
            return 0.5 * away[0] * away[0], away, np.zeros_like(z)
        loss, chance, residual = np.empty(z.shape[1]), np.empty_like(z), np.empty_like(z)
        (binary_rows if self.outs == 1 else softmax_rows)(z, y, loss, chance, residual)
        return loss, residual, chance

    def _curve(self, chance: F64, k: int, j: int) -> F64:
        """The second derivative of each row's loss by margins k and j: (n,)."""
        if self.loss == "squared":
            return np.ones(chance.shape[1])
        found: F64 = chance[k] * ((k == j) - chance[j])
        return found


@dataclass(frozen=True, kw_only=True)
class BlockSums(_Sums):
    """Loss of all rows and its derivatives by one block of the weights, at the margins kept.

    given also: block int64 (4,), (is it of the table, first feature, last + 1, stride); intercept (outs,).

    state: loss, weight (); gradient (q + 1, outs), the intercept's last; with `curved` also square (q + 1, outs), the Hessian's diagonal, and, where the block is `narrow`,
    hessian (outs, q + 1, outs, q + 1) over every stride-th row, without the blocks above the diagonal, and the weight of those rows, sampled ().
    """

    curved: bool

    def init(self, given: Mapping[str, Any]) -> State:
        _, low, high, _ = given["block"].tolist()
        q = high - low + 1
        state: State = {"loss": np.zeros(()), "weight": np.zeros(()), "gradient": np.zeros((q, self.outs))}
        if self.curved:
            state["square"] = np.zeros((q, self.outs))
            if narrow(q - 1, self.outs):
                state |= {"hessian": np.zeros((self.outs, q, self.outs, q)), "sampled": np.zeros(())}
        return state

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        y, weight = self._target(batch, given)
        with np.errstate(invalid="ignore", over="ignore"):  # looked for below, by name
            for rows in _rows(batch, given["block"], self.outs):
                part = slice(rows.start, rows.stop)
                self._add(state, rows, y[part], None if weight is None else weight[part], self._margins(batch, given, part), given["block"])
        if not all(np.isfinite(array).all() for array in state.values()):
            refuse_missing(batch)
        return state

    def _add(self, state: State, rows: _Rows, y: Any, weight: F64 | None, z: F64, block: I64) -> None:
        from .kernels.slots import scatter_part

        loss, residual, chance = self._each(z, y)
        if weight is not None:
            loss, residual = loss * weight, residual * weight
        state["loss"] += loss.sum()
        state["weight"] += len(loss) if weight is None else weight.sum()
        low, gradient = int(block[1]), state["gradient"]
        if rows.x is not None:
            gradient[:-1] += (residual @ rows.x).T
        else:
            scatter_part(residual, *rows.entries, gradient[:-1], low, False)
        gradient[-1] += residual.sum(1)
        if self.curved:
            curve = np.stack([self._curve(chance, k, k) for k in range(self.outs)])
            curve = curve if weight is None else curve * weight
            state["square"][-1] += curve.sum(1)
            if rows.x is None:
                scatter_part(curve, *rows.entries, state["square"][:-1], low, True)
            else:
                state["square"][:-1] += (curve @ (rows.x * rows.x)).T
            if "hessian" in state:
                self._hessian(state, rows, chance, weight, int(block[3]))

    def _hessian(self, state: State, rows: _Rows, chance: F64, weight: F64 | None, stride: int) -> None:
        assert rows.x is not None  # noqa: S101 a narrow block is a matrix
        x, row = rows.x[::stride], np.ones(len(rows.x)) if weight is None else weight
        row, q = row[::stride], rows.x.shape[1]
        state["sampled"] += row.sum()
        for k in range(self.outs):
            for j in range(k + 1):
                curve, into = row * self._curve(chance, k, j)[::stride], state["hessian"][k, :, j, :]
                into[:q, :q] += (x * curve[:, None]).T @ x
                edge = curve @ x
                into[q, :q] += edge
                into[:q, q] += edge
                into[q, q] += curve.sum()


@dataclass(frozen=True, kw_only=True)
class PlaneSums(_Sums):
    """Loss of all rows and its derivatives by the `mix` of sweeps; of the columns it reads the target alone.

    given also: intercept (outs,), as mixed; apart (2, outs), how far the earlier sweeps' intercepts are from the last one's.

    state: loss, weight (); gradient (2,); hessian (2, 2).
    """

    def init(self, given: Mapping[str, Any]) -> State:
        return {"loss": np.zeros(()), "weight": np.zeros(()), "gradient": np.zeros(DEPTH), "hessian": np.zeros((DEPTH, DEPTH))}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        y, weight = self._target(batch, given)
        kept: Any = batch.kept
        loss, residual, chance = self._each(self._margins(batch, given, slice(None)), y)
        row = np.ones(batch.rows) if weight is None else weight
        state["loss"] += (loss * row).sum()
        state["weight"] += row.sum()
        ways = [UNIT * (kept["margins"][k + 1] - kept["margins"][0]).astype(np.float64) + given["apart"][k][:, None] for k in range(DEPTH)]
        for a in range(DEPTH):
            state["gradient"][a] += (residual * ways[a] * row).sum()
            for k in range(self.outs):
                for j in range(self.outs):
                    turned = row * self._curve(chance, k, j) * ways[a][k]
                    for b in range(DEPTH):
                        state["hessian"][a, b] += (turned * ways[b][j]).sum()
        return state


@dataclass(frozen=True, kw_only=True)
class Targets(Fold):
    """Of the target alone: rows of each class, weighted, counts (K,); or weight (), mean () and moment (), about the mean, of a number."""

    classes: int

    def init(self, given: Mapping[str, Any]) -> State:
        return {"counts": np.zeros(self.classes)} if self.classes else {name: np.zeros(()) for name in ("weight", "mean", "moment")}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        if self.classes:
            return {"counts": state["counts"] + np.bincount(batch.target, batch.weight, self.classes)}
        y, weight = batch.target, weights_of(batch)
        row = weight if len(weight) else np.ones(batch.rows)
        total = row.sum()
        if not total > 0:
            return state
        with np.errstate(over="ignore", invalid="ignore"):  # the learner looks for it
            mean = (row * y).sum() / total
            own = {"weight": np.asarray(total), "mean": np.asarray(mean), "moment": np.asarray((row * (y - mean) ** 2).sum())}
        return self.merge(state, own, given)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        if self.classes:
            return {"counts": left["counts"] + right["counts"]}
        if left["weight"] == 0 or right["weight"] == 0:
            return right if left["weight"] == 0 else left
        total = left["weight"] + right["weight"]
        with np.errstate(over="ignore", invalid="ignore"):
            apart = right["mean"] - left["mean"]
            moment = left["moment"] + right["moment"] + apart * apart * (left["weight"] * (right["weight"] / total))
        return {"weight": np.asarray(total), "mean": np.asarray(left["mean"] + apart * (right["weight"] / total)), "moment": np.asarray(moment)}
