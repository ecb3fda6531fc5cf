"""The rows of a design as small float64 blocks, whatever it is made of; shared by the learners that fold sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput
from ..data.batch import Batch, Design, DesignShape, Schema, aligned_empty

__all__ = ["NOTHING", "Block", "blocks", "design_of", "refuse_missing", "shape_of", "table_width", "weights_of"]

Array = npt.NDArray[Any]
NOTHING = np.zeros(0)
_NO_RAGGED = (np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32))
_ENCODE = "Put an encoder (OneHot, Hashing) before this learner."


def shape_of(schema: Schema) -> DesignShape:
    """The shape of the design, which an encoder has written into the schema; BadInput where none has."""
    if schema.design is None:
        raise BadInput("the columns are not encoded as a design", todo=_ENCODE)
    return schema.design


def design_of(batch: Batch) -> Design:
    if batch.design is None:
        raise BadInput("the columns are not encoded as a design", where=batch.place, todo=_ENCODE)
    return batch.design


def table_width(shape: DesignShape) -> int:
    """Slots of the table that rows can name: 0 where they name none (an encoder may keep a spare one)."""
    return shape.width if shape.k or shape.ragged else 0


def weights_of(batch: Batch) -> npt.NDArray[np.float64]:
    """float64 (n,), or (0,) where every row counts once."""
    weight = batch.weight
    return NOTHING if weight is None else weight


@dataclass(frozen=True, slots=True)
class Block:
    """Rows [start, stop) of a batch. x : float64 (stop - start, p), C order; slots, offsets, ragged, values: the entries not in x."""

    start: int
    stop: int
    x: npt.NDArray[np.float64]
    slots: npt.NDArray[np.uint32]
    ragged: tuple[Array, Array, Array]


def blocks(design: Design, *, spread: bool) -> Iterator[Block]:
    """The design in blocks of at most `kernels.dense.BLOCK` rows, fewer where they are wide; a block is valid until the next one is asked for.

    Parameters
    ----------
    spread : bool
        True: table slots become the first `table_width` columns of x, the dense columns follow (for narrow tables). False: x
        is the dense block alone.
    """
    from .kernels.dense import BLOCK
    from .kernels.dense import spread as fill

    dense, rows = design.dense, len(design.dense)
    width = design.width if spread and (design.slots.shape[1] or design.ragged is not None) else 0
    straight = not width and dense.dtype == np.float64 and dense.flags.c_contiguous
    size = max(256, min(BLOCK, (1 << 17) // max(width + dense.shape[1], 1) // 64 * 64))  # of the shape alone; up to 1 MB
    scratch = None if straight else aligned_empty((min(size, rows), width + dense.shape[1]), np.float64)
    empty = design.slots[:0, :0]
    for start in range(0, rows, size):
        stop = min(start + size, rows)
        slots = design.slots[start:stop]
        ragged = _NO_RAGGED if design.ragged is None else (design.ragged[0][start : stop + 1], *design.ragged[1:])
        if scratch is None:
            yield Block(start, stop, dense[start:stop], slots, ragged)
            continue
        x = scratch[: stop - start]
        x[:, width:] = dense[start:stop]
        if width:
            x[:, :width] = 0.0
            fill(x, slots, *ragged)
            slots, ragged = empty, _NO_RAGGED
        yield Block(start, stop, x, slots, ragged)


def refuse_missing(batch: Batch, *, missing: bool = False) -> None:
    """Raise BadInput naming the first row and column of the design that is infinite or (unless `missing` values are welcome) missing."""
    design = design_of(batch)
    bad = np.isinf(design.dense) if missing else ~np.isfinite(design.dense)
    if bad.any():
        row, column = (int(i[0]) for i in np.nonzero(bad))
        value = design.dense[row, column]
        raise BadInput(
            f"{'a missing value' if np.isnan(value) else 'an infinite value'} in column {design.names[column]!r}, row {int(batch.positions[row])}",
            where=batch.place,
            allowed="finite numbers",
            todo="Fill missing values first (feature Missing), or leave the column out." if np.isnan(value) else "Correct the value, or leave the column out.",
        )
    if design.ragged is not None and not np.isfinite(design.ragged[2]).all():
        entry = int(np.flatnonzero(~np.isfinite(design.ragged[2]))[0])
        row = int(np.searchsorted(design.ragged[0], entry, side="right")) - 1
        raise BadInput(f"a value of row {int(batch.positions[row])} is not finite", where=batch.place, allowed="finite numbers")
