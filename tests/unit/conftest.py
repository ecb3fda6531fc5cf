"""Arrays as a source whose batches already carry a design: what the dense learners are tried on without a file or an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.data.batch import Design, DesignShape, Field, Schema
from outgrow.engines.serial import Serial


@dataclass(frozen=True)
class ArrayBatch:
    """The part of a batch that learners read."""

    schema: Schema
    design: Design
    target: Any
    weight: Any
    positions: Any
    place: str = "arrays"
    kept: Any = None
    ids: Any = None

    @property
    def rows(self) -> int:
        return len(self.positions)

    def where(self, mask: Any) -> ArrayBatch:
        rows = np.flatnonzero(mask) if mask.dtype == bool else mask
        design = replace(self.design, dense=self.design.dense[mask], slots=self.design.slots[mask], ragged=_cut(self.design.ragged, rows))
        return replace(self, design=design, target=_pick(self.target, mask), weight=_pick(self.weight, mask), positions=self.positions[mask])

    def with_kept(self, kept: Any) -> ArrayBatch:
        return replace(self, kept=kept)


def _pick(array: Any, mask: Any) -> Any:
    return None if array is None else array[mask]


def _cut(ragged: Any, rows: Any) -> Any:
    if ragged is None:
        return None
    offsets, slots, values = ragged
    entries = [np.arange(offsets[i], offsets[i + 1]) for i in rows]
    picks = np.concatenate(entries) if entries else np.zeros(0, np.int64)
    return np.concatenate([[0], np.cumsum([len(e) for e in entries])]).astype(np.int64), slots[picks], values[picks]


class Arrays:
    """A source over arrays. `classes` given: y are class numbers; else numbers. `scramble` changes the memory layout of every batch, not its values."""

    content = ""

    def __init__(
        self, dense: Any = None, y: Any = None, *, classes: Any = (), weight: Any = None, slots: Any = None, width: int = 0, ragged: Any = None, scramble: bool = False
    ) -> None:
        n = len(next(a for a in (dense, slots, y) if a is not None)) if ragged is None else len(ragged[0]) - 1
        self.rows, self.scramble = n, scramble
        dense = np.zeros((n, 0)) if dense is None else np.asarray(dense)
        slots = np.zeros((n, 0), np.uint32) if slots is None else np.asarray(slots, np.uint32)
        names = tuple(f"x{j}" for j in range(dense.shape[1]))
        task = "" if y is None else ("number" if not classes else "binary" if len(classes) == 2 else "classes")
        inputs = [Field(name=name, kind="number") for name in names]
        target = [] if y is None else [Field(name="y", kind="category" if classes else "number", values=tuple(classes))]
        shape = DesignShape(width=width, names=names, k=slots.shape[1], ragged=ragged is not None)
        self.schema = Schema(fields=(*inputs, *target), target="y" if y is not None else "", task=task, design=shape)
        y = None if y is None else np.asarray(y, np.int32 if classes else np.float64)
        self.whole = ArrayBatch(self.schema, Design(dense=dense, slots=slots, ragged=ragged, width=width, names=names), y, weight, np.arange(n))

    def check(self) -> None:
        return

    def read(self, start: int, stop: int, batch_rows: int, columns: Any = None) -> Iterator[ArrayBatch]:
        for at in range(start, stop, batch_rows):
            yield self.take(np.arange(at, min(at + batch_rows, stop)))

    def take(self, positions: Any, columns: Any = None) -> ArrayBatch:
        batch = self.whole.where(np.asarray(positions))
        if self.scramble:
            batch = replace(batch, design=replace(batch.design, dense=np.asfortranarray(batch.design.dense)))
        for array in (batch.design.dense, batch.design.slots, batch.target, batch.weight):
            if array is not None:
                array.setflags(write=False)
        return batch


def fit(learner: Any, source: Any, *, shard_rows: int = 700, batch_rows: int = 256, seed: int = 0, start: Any = None, **others: Any) -> SimpleNamespace:
    """Train on one process; ``.model``, ``.record`` (digest, passes …), ``.predict(source)``."""
    result = run(Job(learner=learner, source=source, shard_rows=shard_rows, batch_rows=batch_rows, seed=seed, start=start, others=others), Serial())

    def predict(rows: Arrays) -> Any:
        return learner.predict(result.arrays, rows.take(np.arange(rows.rows)))

    return SimpleNamespace(model=result.arrays, record=result.record, digest=result.record["digest"], predict=predict)


@pytest.fixture
def arrays() -> Any:
    return Arrays


@pytest.fixture
def fitted() -> Any:
    return fit
