"""Small learners over rows made from their positions: what core and the engines are tried on, importable by worker processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from outgrow.core.combine import Then
from outgrow.core.errors import BadInput
from outgrow.core.job import Job
from outgrow.core.learner import ALL, SHARDS, Context, Cover, Feature, Fold, Learner, Pass, Rows, Traits
from outgrow.core.rng import hash64, uniform
from outgrow.core.state import State
from outgrow.learn.beside import Beside, Fused


@dataclass(frozen=True)
class ToyBatch:
    positions: Any
    x: Any
    y: Any
    kept: Any = None

    @property
    def rows(self) -> int:
        return len(self.positions)

    def where(self, mask: Any) -> ToyBatch:
        return ToyBatch(self.positions[mask], self.x[mask], self.y[mask])

    def with_kept(self, kept: Any) -> ToyBatch:
        return replace(self, kept=kept)

    def equals(self, column: str, value: Any) -> Any:
        return getattr(self, column) == value


@dataclass(frozen=True)
class ToySource:
    """Row p has x = three uniforms and y = a class 0, 1 or 2 that they almost tell. `pause` seconds go by before each batch."""

    rows: int
    content: str = "toy"
    schema: Any = None
    pause: float = 0.0
    changed: bool = False
    shared: list[Any] = field(default_factory=list)

    def take(self, positions: Any, columns: Any = None) -> ToyBatch:
        if self.pause:
            time.sleep(self.pause)
        positions = np.asarray(positions)
        x = np.stack([uniform(0, name, positions) for name in ("a", "b", "c")], axis=1)
        y = ((x[:, 0] + x[:, 1] > 1).astype(np.int64) + (x[:, 2] > 0.8) + (uniform(0, "noise", positions) < 0.05)) % 3
        return ToyBatch(positions, x, y)

    def read(self, start: int, stop: int, batch_rows: int, columns: Any = None) -> Iterator[ToyBatch]:
        for at in range(start, stop, batch_rows):
            yield self.take(np.arange(at, min(at + batch_rows, stop)))

    def check(self) -> None:
        if self.changed:
            raise BadInput("the file has changed while it was read", where="toy")

    def share(self, folder: str) -> ToySource:
        """A source in memory says here where its rows went."""
        (Path(folder) / "rows").write_bytes(b"rows")
        self.shared.append(folder)
        return self


@dataclass(frozen=True)
class SumFold(Fold):
    """A float sum whose bits depend on the order; writes into its state, as `update` may."""

    traits: ClassVar[Traits] = Traits(elementwise=True)
    wide: int = 4

    def init(self, given: Any) -> State:
        return {"s": np.zeros(self.wide), "n": np.zeros((), np.int64)}

    def update(self, state: State, batch: Any, given: Any) -> State:
        state["s"] += np.exp(batch.x[:, 0] * given["w"][0]).sum()
        state["n"] += batch.rows
        return state

    def merge(self, left: State, right: State, given: Any) -> State:
        left["s"] += right["s"]
        left["n"] += right["n"]
        return left


@dataclass(frozen=True)
class Summing(Learner):
    """Rounds of `SumFold`, each starting from what the last one found."""

    rounds: int = 2
    wide: int = 4
    cover: Cover = SHARDS
    rows: Rows = ALL
    source: str = "train"

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"w": np.full(self.wide, 0.5) if start is None else start["w"].copy(), "t": np.array(0), "n": np.array(0)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if carry["t"] >= self.rounds:
            return ()
        return (Pass(fold=SumFold(self.wide), given={"w": carry["w"]}, cover=replace(self.cover, epoch=int(carry["t"])), rows=self.rows, source=self.source),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return {"w": carry["w"] * 0.9 + closed[0]["s"] / (1 + closed[0]["n"]), "t": carry["t"] + 1, "n": carry["n"] + closed[0]["n"]}

    def finish(self, context: Context, carry: State) -> State:
        return {"w": carry["w"], "n": carry["n"]}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"first": float(carry["w"][0])}


@dataclass(frozen=True)
class CountFold(Fold):
    """Classes counted: integers, so any order and any cut."""

    traits: ClassVar[Traits] = Traits(elementwise=True, order_free=True)

    def init(self, given: Any) -> State:
        return {"n": np.zeros(3, np.int64), "h": np.zeros(1, np.uint64)}

    def update(self, state: State, batch: Any, given: Any) -> State:
        state["n"] += np.bincount(batch.y, minlength=3)
        state["h"] += hash64(0, "seen", batch.positions).sum(dtype=np.uint64)
        return state

    def merge(self, left: State, right: State, given: Any) -> State:
        return {"n": left["n"] + right["n"], "h": left["h"] + right["h"]}


@dataclass(frozen=True)
class Counting(Learner):
    """One pass; its model says how many rows of each class were seen, and which rows."""

    cover: Cover = SHARDS
    rows: Rows = ALL
    source: str = "train"

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"done": np.array(False)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry["done"] else (Pass(fold=CountFold(), cover=self.cover, rows=self.rows, source=self.source),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return closed[0] | {"done": np.array(True)}

    def finish(self, context: Context, carry: State) -> State:
        return {"n": carry["n"], "h": carry["h"]}


# k-means in two phases: seeds by k-means||, then Lloyd's rounds from them


def _nearest(x: Any, centres: Any) -> tuple[Any, Any]:
    distances = ((x[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    near = distances.argmin(axis=1)
    return near, distances[np.arange(len(x)), near]


@dataclass(frozen=True)
class SeedFold(Fold):
    """The `k` rows of smallest hash / distance to the centres so far: a sample that no cut can change."""

    k: int

    def init(self, given: Any) -> State:
        return {"key": np.zeros(0), "x": np.zeros((0, 3))}

    def update(self, state: State, batch: Any, given: Any) -> State:
        _, far = _nearest(batch.x, given["centres"])
        key = -np.log1p(-uniform(7, f"turn {int(given['turn'])}", batch.positions)) / (far + 1e-9)
        return self.merge(state, {"key": key, "x": batch.x}, given)

    def merge(self, left: State, right: State, given: Any) -> State:
        key, x = np.concatenate([left["key"], right["key"]]), np.concatenate([left["x"], right["x"]])
        best = np.argsort(key, kind="stable")[: self.k]
        return {"key": key[best], "x": x[best]}


@dataclass(frozen=True)
class Seeds(Learner):
    k: int = 4
    turns: int = 2

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"centres": np.full((1, 3), 0.5), "turn": np.array(0)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry["turn"] >= self.turns else (Pass(fold=SeedFold(self.k), given=dict(carry)),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return {"centres": np.concatenate([carry["centres"], closed[0]["x"]]), "turn": carry["turn"] + 1}

    def finish(self, context: Context, carry: State) -> State:
        return {"centres": carry["centres"][-self.k :]}


@dataclass(frozen=True)
class LloydFold(Fold):
    traits: ClassVar[Traits] = Traits(elementwise=True)

    def init(self, given: Any) -> State:
        return {"s": np.zeros_like(given["centres"]), "n": np.zeros(len(given["centres"]))}

    def update(self, state: State, batch: Any, given: Any) -> State:
        near, _ = _nearest(batch.x, given["centres"])
        np.add.at(state["s"], near, batch.x)
        np.add.at(state["n"], near, 1.0)
        return state

    def merge(self, left: State, right: State, given: Any) -> State:
        return {"s": left["s"] + right["s"], "n": left["n"] + right["n"]}


@dataclass(frozen=True)
class Lloyd(Learner):
    rounds: int = 3

    def begin(self, context: Context, start: State | None = None) -> State:
        if start is None:
            raise ValueError("Lloyd needs centres to start from")
        return {"centres": start["centres"], "t": np.array(0)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry["t"] >= self.rounds else (Pass(fold=LloydFold(), given={"centres": carry["centres"]}),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        s, n = closed[0]["s"], closed[0]["n"][:, None]
        return {"centres": np.where(n > 0, s / np.maximum(n, 1), carry["centres"]), "t": carry["t"] + 1}

    def finish(self, context: Context, carry: State) -> State:
        return {"centres": carry["centres"]}


# a scaler, and a feature that needs no fitting


@dataclass(frozen=True)
class MeanFold(Fold):
    def init(self, given: Any) -> State:
        return {"n": np.zeros(()), "s": np.zeros(3), "q": np.zeros(3), "h": np.zeros(1, np.uint64)}

    def update(self, state: State, batch: Any, given: Any) -> State:
        seen = {"n": np.array(float(batch.rows)), "s": batch.x.sum(axis=0), "q": (batch.x**2).sum(axis=0)}
        seen["h"] = hash64(0, "seen", batch.positions).sum(keepdims=True, dtype=np.uint64)
        return self.merge(state, seen, given)

    def merge(self, left: State, right: State, given: Any) -> State:
        return {name: left[name] + right[name] for name in left}


@dataclass(frozen=True)
class Scaler(Feature):
    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry else (Pass(fold=MeanFold()),)

    def finish(self, context: Context, carry: State) -> State:
        mean = carry["s"] / carry["n"]
        return {"mean": mean, "scale": np.sqrt(carry["q"] / carry["n"] - mean**2), "seen": carry["h"]}

    def apply(self, fitted: State, batch: Any, fitting: bool) -> Any:
        return replace(batch, x=(batch.x - fitted["mean"]) / fitted["scale"])


@dataclass(frozen=True)
class Doubled(Feature):
    """Needs no fitting; says in the schema that it was there."""

    def schema(self, fitted: State, schema: Any) -> Any:
        return (schema, "doubled")

    def apply(self, fitted: State, batch: Any, fitting: bool) -> Any:
        return replace(batch, x=batch.x * 2)


# a small net: V virtual workers on a shuffled order, a step a round


def _forward(weights: State | Any, x: Any) -> tuple[Any, Any]:
    hidden = np.tanh(x @ weights["w1"])
    scores = hidden @ weights["w2"]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, scores / scores.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class GradientFold(Fold):
    traits: ClassVar[Traits] = Traits(elementwise=True)

    def init(self, given: Any) -> State:
        return {"w1": np.zeros_like(given["w1"]), "w2": np.zeros_like(given["w2"]), "n": np.zeros(())}

    def update(self, state: State, batch: Any, given: Any) -> State:
        hidden, scores = _forward(given, batch.x)
        scores[np.arange(batch.rows), batch.y] -= 1
        back = (scores @ given["w2"].T) * (1 - hidden**2)
        state["w1"] += batch.x.T @ back
        state["w2"] += hidden.T @ scores
        state["n"] += batch.rows
        return state

    def merge(self, left: State, right: State, given: Any) -> State:
        for name in left:
            left[name] += right[name]
        return left


@dataclass(frozen=True)
class Net(Learner):
    epochs: int = 2
    step_rows: int = 160
    virtual: int = 8
    rows: Rows = ALL
    units: int = 5

    def sees(self) -> Rows:
        return self.rows

    def begin(self, context: Context, start: State | None = None) -> State:
        if start is not None:
            return start | {"at": np.array(0), "epoch": np.array(0)}
        w1 = uniform(context.seed, "w1", np.arange(3 * self.units)).reshape(3, self.units) - 0.5
        w2 = uniform(context.seed, "w2", np.arange(self.units * 3)).reshape(self.units, 3) - 0.5
        return {"w1": w1, "w2": w2, "m1": np.zeros_like(w1), "m2": np.zeros_like(w2), "at": np.array(0), "epoch": np.array(0)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if carry["epoch"] >= self.epochs:
            return ()
        at = int(carry["at"])
        cover = Cover(kind="shuffled", lanes=self.virtual, start=at, stop=at + self.step_rows, epoch=int(carry["epoch"]))
        return (Pass(fold=GradientFold(), given={"w1": carry["w1"], "w2": carry["w2"]}, cover=cover, rows=self.rows),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        (gradient,), after = closed, dict(carry)
        for w, m in (("w1", "m1"), ("w2", "m2")):
            after[m] = 0.9 * carry[m] + gradient[w] / gradient["n"]
            after[w] = carry[w] - 0.5 * after[m]
        seen = context.rows - round(self.rows.held * context.rows)
        at = int(carry["at"]) + self.step_rows
        after["at"], after["epoch"] = (np.array(at), carry["epoch"]) if at < seen else (np.array(0), carry["epoch"] + 1)
        return after

    def finish(self, context: Context, carry: State) -> State:
        return {"w1": carry["w1"], "w2": carry["w2"]}

    def resume(self, context: Context, carry: State) -> State:
        return {"m1": carry["m1"], "m2": carry["m2"]}

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        return {"class": _forward(model, batch.x)[1].argmax(axis=1)}


# boosting with scores kept beside the rows


@dataclass(frozen=True)
class BoostFold(Fold):
    """Stumps on one column at 0.5: sums of the residuals on both sides, by the scores kept."""

    def keep(self, kept: State | None, batch: Any, given: Any) -> State:  # type: ignore[override]
        stumps = given["stumps"]
        if kept is None:
            scores, start = np.zeros(batch.rows), 0
        else:
            scores, start = kept["scores"].copy(), len(stumps) - 1
        for column, left, right in stumps[start:]:
            scores += np.where(batch.x[:, int(column)] < 0.5, left, right)
        return {"scores": scores}

    def init(self, given: Any) -> State:
        return {"s": np.zeros((3, 2)), "n": np.zeros((3, 2)), "q": np.zeros(())}

    def update(self, state: State, batch: Any, given: Any) -> State:
        residual = batch.y - batch.kept["scores"]
        for column in range(3):
            side = (batch.x[:, column] >= 0.5).astype(int)
            np.add.at(state["s"][column], side, residual)
            np.add.at(state["n"][column], side, 1.0)
        state["q"] += (residual**2).sum()
        return state

    def merge(self, left: State, right: State, given: Any) -> State:
        return {name: left[name] + right[name] for name in left}


@dataclass(frozen=True)
class Boosting(Learner):
    rounds: int = 5
    rate: float = 0.3

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"stumps": np.zeros((0, 3)), "loss": np.zeros(())}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        done = len(carry["stumps"])
        return () if done >= self.rounds else (Pass(fold=BoostFold(), given={"stumps": carry["stumps"]}, kept="scores", version=done),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        s, n = closed[0]["s"], np.maximum(closed[0]["n"], 1)
        best = int((s**2 / n).sum(axis=1).argmax())
        stump = np.array([[best, *(self.rate * s[best] / n[best])]])
        return {"stumps": np.concatenate([carry["stumps"], stump]), "loss": closed[0]["q"]}

    def finish(self, context: Context, carry: State) -> State:
        return {"stumps": carry["stumps"], "loss": carry["loss"]}

    def recall(self, context: Context, carry: State, kept: str) -> State:
        return {"stumps": carry["stumps"]}


# online lanes that meet every h batches: bases and gains, so that old evidence counts once


@dataclass(frozen=True)
class OnlineFold(Fold):
    rate: float = 0.1

    def init(self, given: Any) -> State:
        return {"gain": np.zeros(3), "move": np.zeros(3), "lanes": np.array(1)}

    def update(self, state: State, batch: Any, given: Any) -> State:
        for x, y in zip(batch.x, batch.y, strict=True):
            slope = float(x @ (given["w"] + state["move"]) - y) * x
            state["gain"] += slope**2
            state["move"] -= self.rate * slope / np.sqrt(given["g"] + state["gain"] + 1e-3)
        return state

    def merge(self, left: State, right: State, given: Any) -> State:
        return {name: left[name] + right[name] for name in left}


@dataclass(frozen=True)
class Online(Learner):
    lanes: int = 1
    every: int = 0  # batches of each chain between meetings; 0: once

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"w": np.zeros(3), "g": np.zeros(3), "at": np.array(0)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        at = int(carry["at"])
        if at >= context.chain_steps(self.lanes):
            return ()
        cover = Cover(kind="chains", lanes=self.lanes, start=at, stop=at + self.every if self.every else None)
        return (Pass(fold=OnlineFold(), given={"w": carry["w"], "g": carry["g"]}, cover=cover),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        step = self.every or context.chain_steps(self.lanes)
        return {"w": carry["w"] + closed[0]["move"] / closed[0]["lanes"], "g": carry["g"] + closed[0]["gain"], "at": carry["at"] + step}

    def finish(self, context: Context, carry: State) -> State:
        return {"w": carry["w"], "g": carry["g"]}


# predictions written by lanes


@dataclass(frozen=True)
class FileSink:
    """Parts as JSON lines, one file a lane; `commit` joins them to ``out``, and may be called again after a crash."""

    folder: str

    def prepare(self) -> None:
        (Path(self.folder) / "parts").mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def part(self, lane: int) -> Iterator[Any]:
        final = Path(self.folder) / "parts" / f"{lane:05d}"
        temporary = final.with_name(f".{lane}.{os.getpid()}.{time.monotonic_ns()}")
        with temporary.open("w") as file:
            yield _Lines(file)
        temporary.replace(final)

    def commit(self, lanes: int) -> None:
        parts = [Path(self.folder) / "parts" / f"{lane:05d}" for lane in range(lanes)]
        temporary = Path(self.folder) / ".out"
        temporary.write_text("".join(part.read_text() for part in parts))
        temporary.replace(Path(self.folder) / "out")


class _Lines:
    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, columns: Any) -> None:
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            self.file.write(json.dumps(row) + "\n")


@dataclass(frozen=True)
class WriteFold(CountFold):
    def emit(self, batch: Any, given: Any) -> Any:  # type: ignore[override]
        return {"position": batch.positions, "score": batch.x[:, 0] + given["w"]}


@dataclass(frozen=True)
class Writing(Learner):
    folder: str

    def begin(self, context: Context, start: State | None = None) -> State:
        return {"done": np.array(False)}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry["done"] else (Pass(fold=WriteFold(), given={"w": np.ones(())}, sink=FileSink(self.folder)),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return closed[0] | {"done": np.array(True)}

    def finish(self, context: Context, carry: State) -> State:
        return {"n": carry["n"]}


# folds that fail


@dataclass(frozen=True)
class FailingFold(SumFold):
    """At `lane_start`, the first `times` attempts fail in this way: kill, exit, error, stray (an error that cannot travel), away (HDFS cannot read it), kill its executor."""

    at: int = 0
    how: str = "error"
    times: int = 1 << 30
    folder: str = ""

    def update(self, state: State, batch: Any, given: Any) -> State:
        if batch.positions[0] == self.at and self._again():
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "exit":
                os._exit(7)
            if self.how == "kill its executor":
                os.kill(int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)  # the Java above Python's daemon
                time.sleep(20)
            if self.how == "away":
                raise BadInput("HDFS cannot read it (DataNode connection lost)", where="hdfs://nn/rows")
            if self.how == "ours":
                raise BadInput("the row is bad", where="toy, row 500")
            if self.how == "stray":
                raise StrayError(lambda: 0)
            if self.how == "pipe":
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            raise ZeroDivisionError("the toy failed on purpose")
        return super().update(state, batch, given)

    def _again(self) -> bool:
        if not self.folder:
            return True
        file = Path(self.folder) / "attempts"
        with file.open("a") as out:
            out.write("x")
        return len(file.read_text()) <= self.times


class StrayError(Exception):
    def __init__(self, thing: Any) -> None:
        super().__init__("stray")
        self.thing = thing


@dataclass(frozen=True)
class Failing(Summing):
    at: int = 0
    how: str = "error"
    times: int = 1 << 30
    folder: str = ""

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        fold = FailingFold(self.wide, self.at, self.how, self.times, self.folder)
        return tuple(replace(item, fold=fold) for item in super().ask(context, carry))


LEARNERS: dict[str, Learner] = {
    "sums": Summing(rounds=3),
    "sums of the train rows": Summing(rows=Rows(kind="train", held=0.3)),
    "counts": Counting(),
    "few lanes": Summing(cover=Cover(kind="chains", lanes=5)),
    "two-phase k-means": Then((Seeds(), Lloyd())),
    "scaled net, 8 virtual workers": Then((Scaler(), Doubled(), Net(rows=Rows(kind="train", held=0.2)))),
    "boosting": Boosting(),
    "boosting on scaled rows": Then((Doubled(), Boosting())),
    "online, 1 lane": Online(),
    "online, 4 lanes": Online(lanes=4),
    "online, 4 lanes meeting every 3 batches": Online(lanes=4, every=3),
    "beside": Beside((("sum", Summing()), ("boost", Boosting(rounds=3)), ("count", Counting()))),
    "fused": Fused((("sum", Summing()), ("other", Summing(rounds=3, wide=2)), ("count", Counting()))),
}


def job(learner: Learner, rows: int = 2357, **changes: Any) -> Job:
    """A job of about 24 shards of 100 rows, in batches of 32."""
    source = changes.pop("source", None) or ToySource(rows, pause=changes.pop("pause", 0.0))
    return Job(learner=learner, source=source, **({"shard_rows": 100, "batch_rows": 32} | changes))


