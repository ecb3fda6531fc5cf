"""What learners share that turn columns into a few components: signs, columns of a prediction, sound numbers of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput
from ..core.learner import Context
from ..core.state import State
from ..data.batch import Batch
from .blocks import blocks, design_of, refuse_missing, shape_of
from .scatter import refuse_overflow, refuse_weightless

__all__ = ["centred_columns", "checked_moments", "component_columns", "signed"]

F64 = npt.NDArray[np.float64]


def signed(rows: F64) -> F64:
    """Each row times 1 or -1, so that its entry of largest size, the first of equals, is positive."""
    if not rows.size:
        return rows
    largest = np.abs(rows).argmax(1)
    return rows * np.where(rows[np.arange(len(rows)), largest] < 0, -1.0, 1.0)[:, None]


def component_columns(values: F64) -> dict[str, Any]:
    """``component_0``, ``component_1`` … of values (n, k)."""
    return {f"component_{c}": np.ascontiguousarray(values[:, c]) for c in range(values.shape[1])}


def centred_columns(batch: Batch, mean: F64, directions: F64) -> dict[str, Any]:
    """Component columns of the rows less mean (p,), onto directions (p, k)."""
    from .kernels.project import project

    refuse_missing(batch)
    directions = np.ascontiguousarray(directions)
    out = np.zeros((batch.rows, directions.shape[1]))
    for block in blocks(design_of(batch), spread=True):
        project()(block.x, mean, directions, out[block.start : block.stop])
    return component_columns(out)


def checked_moments(context: Context, found: State, what: str) -> float:
    """The weight of all rows of a closed `Scatter` of one class, which is more than 1; BadInput for what cannot be decomposed."""
    refuse_weightless(found["weight"])
    refuse_overflow(found, shape_of(context.schema).names, "pooled")
    total = float(found["weight"][0])
    if not total > 1:
        rows = "there is 1 row (1 sample)" if context.rows == 1 else f"the rows have a weight of {total:g} in all"
        raise BadInput(f"{rows}, and {what} needs more than 1", todo="Add rows; weights count as repetitions.")
    return total
