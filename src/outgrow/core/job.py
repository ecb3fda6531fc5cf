"""A job fixes the model: learner, rows, cuts and seed. Where and with how many workers it runs is no part of it."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import BadField, BadInput
from .learner import ALL, Batch, Context, Learner, Pass, Rows, Source
from .rng import Permutation
from .state import State, digest

__all__ = ["FORMAT", "Job", "builds", "describe"]

FORMAT = 1  # raised when a job, checkpoint or model written before would be read wrongly


def describe(thing: Any) -> Any:
    """A learner, feature or field value as JSON: dataclasses become ``{"type", "version", "fields"}``."""
    if is_dataclass(thing) and not isinstance(thing, type):
        kind = type(thing)
        name = kind.__name__ if kind.__module__.startswith("outgrow.") else f"{kind.__module__}:{kind.__qualname__}"
        return {"type": name, "version": getattr(kind, "version", 1), "fields": {f.name: describe(getattr(thing, f.name)) for f in fields(thing)}}
    if isinstance(thing, (tuple, list)):
        return [describe(item) for item in thing]
    if isinstance(thing, Mapping):
        return {str(key): describe(value) for key, value in thing.items()}
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    raise BadField(f"{thing!r} is no field value", allowed="numbers, strings, tuples, mappings and frozen dataclasses of them")


@cache
def builds() -> dict[str, str]:
    """Versions of what the arithmetic depends on."""
    found = {}
    for name in ("numpy", "pyarrow", "numba", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _own_modules(thing: Any) -> Iterator[str]:
    """Modules that define a person's own learners, bases included: their code is part of the job."""
    if is_dataclass(thing) and not isinstance(thing, type):
        for kind in type(thing).__mro__:
            if kind.__module__.split(".")[0] not in {"outgrow", *sys.stdlib_module_names} or kind.__module__ == "__main__":
                yield kind.__module__
        thing = [getattr(thing, item.name) for item in fields(thing)]
    for part in thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, (tuple, list)) else ():
        yield from _own_modules(part)


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that the model depends on.

    learner : Learner
        With its features: ``Then((…features, learner))``.
    source : Source
        The rows of passes over "train"; `others` are named by passes over something else.
    shard_rows, batch_rows : int
        The cuts. Shard s is rows [s·shard_rows, (s+1)·shard_rows); batch k of a shard its rows [k·batch_rows, …).
    equal : "bits" or "close"
        Whether workers of other builds or processors are refused.
    start : State, optional
        Arrays of an earlier model to go on from.
    """

    learner: Learner
    source: Source
    shard_rows: int
    batch_rows: int
    seed: int = 0
    equal: Literal["bits", "close"] = "bits"
    others: Mapping[str, Source] = field(default_factory=dict)
    start: State | None = None

    def __post_init__(self) -> None:
        for name in ("shard_rows", "batch_rows"):
            if getattr(self, name) < 1:
                raise BadField(f"{getattr(self, name)} is too few", where=name, allowed="1 or more")
        if self.equal not in ("bits", "close"):
            raise BadField(f"{self.equal!r} is unknown", where="equal", allowed="bits, close")

    @cached_property
    def context(self) -> Context:
        return Context(schema=self.source.schema, rows=self.source.rows, shard_rows=self.shard_rows, batch_rows=self.batch_rows, seed=self.seed)

    @cached_property
    def id(self) -> str:
        """16 hex digits over everything the model depends on; "" where that cannot be known: rows in memory, a learner typed into a session."""
        contents = {"": self.source.content} | {name: other.content for name, other in self.others.items()}
        try:
            code = {name: hashlib.sha256(inspect.getsource(sys.modules[name]).encode()).hexdigest() for name in _own_modules(self.learner)}
        except (OSError, TypeError):
            return ""
        if not all(contents.values()):
            return ""
        facts = {
            "format": FORMAT,
            "learner": describe(self.learner),
            "code": code,
            "schema": describe(self.source.schema),
            "content": contents,
            "cuts": [self.shard_rows, self.batch_rows],
            "seed": self.seed,
            "equal": self.equal,
            "start": digest(self.start) if self.start else "",
            "builds": builds(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def reads(self, item: Pass) -> Source:
        if item.source != "train" and item.source not in self.others:
            raise BadInput(f"the job has no source {item.source!r}", allowed=", ".join(("train", *self.others)), todo="Name it in the job's `others`.")
        return self.source if item.source == "train" else self.others[item.source]

    def lanes(self, item: Pass) -> int:
        if item.cover.kind == "shards":
            return max(1, -(-self.reads(item).rows // self.shard_rows))
        return item.cover.lanes

    def lane_rows(self, item: Pass, lane: int) -> int:
        """Rows a lane reads (before a split or a filter)."""
        return sum(stop - start for start, stop in self._runs(item, lane))

    def lane_steps(self, item: Pass, lane: int) -> int:
        """How many batches a lane has."""
        return sum(-(-(stop - start) // self.batch_rows) for start, stop in self._runs(item, lane))

    def step_rows(self, item: Pass, lane: int) -> Iterator[int]:
        """Rows of each batch of a lane, in order (before a split or a filter)."""
        for start, stop in self._runs(item, lane):
            for at in range(start, stop, self.batch_rows):
                yield min(self.batch_rows, stop - at)

    def _runs(self, item: Pass, lane: int) -> Iterator[tuple[int, int]]:
        """The runs of positions of a lane, in order; cut at the first and last step the cover names."""
        rows, cover = self.reads(item).rows, item.cover
        if cover.kind == "shuffled":
            seen = self.seen_rows(item.rows, rows)
            count = max(0, min(seen, seen if cover.stop is None else cover.stop) - cover.start)
            yield cover.start + count * lane // cover.lanes, cover.start + count * (lane + 1) // cover.lanes
            return
        shards = range(lane, lane + 1) if cover.kind == "shards" else range(lane, -(-rows // self.shard_rows), cover.lanes)
        step = 0
        for shard in shards:
            start, stop = shard * self.shard_rows, min((shard + 1) * self.shard_rows, rows)
            steps = -(-(stop - start) // self.batch_rows)
            first, last = max(cover.start - step, 0), steps if cover.stop is None else min(cover.stop - step, steps)
            if first < last:
                yield start + first * self.batch_rows, min(start + last * self.batch_rows, stop)
            step += steps
            if cover.stop is not None and step >= cover.stop:
                return

    def batches(self, item: Pass, lane: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of a lane in order, without the first `skip`; rows that the pass does not see are gone."""
        source, shuffled = self.reads(item), item.cover.kind == "shuffled"
        wanted = ALL if shuffled and item.rows.kind != "equals" else item.rows  # a shuffled order holds the rows of its split alone
        for run_start, stop in self._runs(item, lane):
            steps = -(-(stop - run_start) // self.batch_rows)
            start = run_start + min(skip, steps) * self.batch_rows
            skip -= min(skip, steps)
            if start >= stop:
                continue
            places = (np.arange(at, min(at + self.batch_rows, stop)) for at in range(start, stop, self.batch_rows))
            taken = (source.take(self._shuffled(item, part), item.columns) for part in places)
            for batch in taken if shuffled else source.read(start, stop, self.batch_rows, item.columns):
                yield self._seen(wanted, batch, source.rows)
                del batch  # its block goes before the next one is decoded

    def _split(self, rows: int) -> Permutation:
        return Permutation(rows, seed=self.seed, purpose="split")

    def _seen(self, wanted: Rows, batch: Batch, rows: int) -> Batch:
        if wanted.kind == "all":
            return batch
        if wanted.kind == "equals":
            return batch.where(batch.equals(wanted.column, wanted.value))
        held = self._split(rows).forward(batch.positions) < round(wanted.held * rows)
        return batch.where(held if wanted.kind == "held" else ~held)

    def _shuffled(self, item: Pass, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Positions of the rows at these places of the shuffled order; a split counts only the rows it sees."""
        rows = self.reads(item).rows
        held, seen = round(item.rows.held * rows), self.seen_rows(item.rows, rows)
        ranks = Permutation(seen, seed=self.seed, purpose=f"shuffle {item.cover.epoch}").forward(places)
        if item.rows.kind in ("all", "equals"):
            return ranks
        return self._split(rows).inverse(ranks if item.rows.kind == "held" else ranks + held)

    def seen_rows(self, wanted: Rows, rows: int) -> int:
        """How many of `rows` rows a split leaves to a pass."""
        held = round(wanted.held * rows)
        return {"held": held, "train": rows - held}.get(wanted.kind, rows)
