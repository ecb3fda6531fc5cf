"""Trees in no library's own terms: columns by name, thresholds in the column's units, categories by code. Every format is written from these and read into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ....core.errors import BadFile

__all__ = ["PlainColumn", "PlainTree", "PlainTrees", "no_tree", "refused"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
B1 = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainColumn:
    """values: the texts of a column's categories by code, () for a number. dtype: of what is read, as Arrow names it.

    missing: there are rows whose missing value goes another way than a value never seen.
    """

    name: str
    category: bool = False
    values: tuple[str, ...] = ()
    dtype: str = "double"
    missing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainTree:
    """Nodes from the root, number 0.

    column int64, left and right int64 (-1, -1 for a leaf); threshold float64, up to and with which numbers go left; missing_left bool. codes: of a node that asks for a category,
    codes int64 that go one way, to the left where `inside`, and all others the other way. value, gain float64, rows int64.
    """

    column: I64
    left: I64
    right: I64
    threshold: F64
    missing_left: B1
    value: F64
    gain: F64
    rows: I64
    codes: dict[int, I64] = field(default_factory=dict)
    inside: B1


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainTrees:
    """Trees, of which t adds to output t mod outs; `loss` as GradientBoosting names it. objective: as the file names it."""

    columns: tuple[PlainColumn, ...]
    trees: list[PlainTree]
    outs: int
    loss: str
    base: F64
    classes: tuple[Any, ...] = ()
    objective: str = ""


def no_tree() -> PlainTree:
    """A root that adds nothing."""
    zeros, none = np.zeros(1), np.full(1, -1)
    whole = np.zeros(1, np.int64)
    return PlainTree(column=whole, left=none, right=none, threshold=zeros, missing_left=np.zeros(1, np.bool_), value=zeros, gain=zeros, rows=whole, inside=np.zeros(1, np.bool_))


def refused(what: str, where: str, todo: str = "Copy the file again, or write it anew with the library that made it.", allowed: str = "") -> BadFile:
    """The error for a file that cannot be read as trees: it names the place in it, and what to do."""
    return BadFile(what, where=where, todo=todo, allowed=allowed)
