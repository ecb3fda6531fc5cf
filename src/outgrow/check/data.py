"""Small made-up rows that are hard on a learner: missing values, long tails, a constant column, weights, every task."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.rng import uniform

__all__ = ["KINDS", "ROWS", "TASKS", "Kind", "Task", "rows_of", "stored", "table"]

Kind = Literal["all", "texts", "mixed", "numbers"]
Task = Literal["binary", "classes", "number", "none"]
KINDS: tuple[Kind, ...] = ("all", "texts", "mixed", "numbers")
TASKS: tuple[Task, ...] = ("binary", "classes", "number", "none")
ROWS = 530  # with shards of 50: 11 lanes, so that the tree has unpaired edges, and a last lane that is shorter

_WORDS = ("late", "early", "rain", "wind", "delayed", "on", "time", "gate", "closed", "again")


def _normal(seed: int, name: str, n: int) -> npt.NDArray[np.float64]:
    """About normal: the sum of twelve uniforms."""
    return sum((uniform(seed, f"{name}{i}", np.arange(n)) for i in range(12)), np.zeros(n)) - 6.0


def _pick(seed: int, name: str, n: int, values: int, tail: float = 1.0) -> npt.NDArray[np.int64]:
    return (uniform(seed, name, np.arange(n)) ** tail * values).astype(np.int64)


def table(kind: Kind, task: Task, seed: int, rows: int = ROWS) -> Any:
    """A pyarrow Table of `rows` rows: numbers alone, or with categories, missing values and weights, or also with texts, or with dates and texts.

    Every row is a hash of (seed, column, position): the first rows are the same however many are asked for.
    """
    import pyarrow as pa

    a, b, c = _normal(seed, "a", rows), np.abs(_normal(seed, "b", rows)) * 30.0, _pick(seed, "c", rows, 9)
    d, e = _pick(seed, "d", rows, 4), _pick(seed, "e", rows, 40, tail=3.0)
    score = 1.5 * a - 0.02 * b + (d == 1) - 0.5 * (e > 4) + 0.7 * _normal(seed, "noise", rows)
    mixed = kind != "numbers"
    gap = uniform(seed, "gap", np.arange(rows))
    columns: dict[str, Any] = {
        "a": pa.array(a, mask=gap < 0.04) if mixed else a,
        "b": b.astype(np.float32) if mixed else b,
        "c": c if mixed else c.astype(np.float64),
    }
    if mixed:
        columns["constant"] = np.full(rows, 2.5)
        columns["d"] = pa.array(np.array(["north", "south", "é", ""])[d], mask=gap > 0.95)
        columns["e"] = pa.array([f"item {value}" for value in e])
        columns["w"] = 0.5 + _pick(seed, "w", rows, 4) / 2.0
    if kind == "all":
        when = _pick(seed, "when", rows, 40_000_000) * 1_000_000
        columns["when"] = pa.array(when, mask=gap > 0.97).cast(pa.timestamp("us"))
    if kind in ("all", "texts"):
        words = np.stack([_pick(seed, f"word{i}", rows, len(_WORDS)) for i in range(5)], axis=1)
        columns["text"] = [" ".join((*(_WORDS[k] for k in row), str(i))) for i, row in enumerate(words)]
    if task == "binary":
        columns["y"] = (score > 0.2).astype(np.int64)
    elif task == "classes":
        columns["y"] = pa.array(np.array(["high", "low", "middle"])[np.digitize(score, [-1.0, 0.8])])
    elif task == "number":
        columns["y"] = score
    return pa.table(columns)


def _options(names: list[str]) -> dict[str, Any]:
    """How the made-up rows are read: what is target and what is weight, if they are there."""
    return {"target": "y" if "y" in names else None, "weight": "w" if "w" in names else None}


def rows_of(columns: Any) -> Any:
    """The table as a source in memory."""
    from ..data.source import read

    return read(columns, **_options(columns.column_names))


def stored(columns: Any, path: Path) -> Any:
    """The table as a source other processes can open: written to `path` as Parquet with several row groups."""
    import pyarrow.parquet as pq

    from ..data.source import read

    pq.write_table(columns, path, row_group_size=111)
    return read(str(path), **_options(columns.column_names))
