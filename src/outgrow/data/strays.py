"""Columns of a CSV file that would be numbers but for a few cells: said at once, since they are learned from as categories."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .batch import Field
from .text import TextStore

__all__ = ["warn_of_strays"]

_NEARLY = 0.95  # of the sampled values are numbers, at least
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


def warn_of_strays(store: TextStore, sample: Any, fields: Sequence[Field], *, stacklevel: int) -> None:
    """Warn of each of these columns that is no number column while nearly all of its sampled values are numbers.

    Names the column, the first other value with its line, and what to do. Cost: one match a sampled string; where there is such a column, the
    first MB of up to 8 files again.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for item in fields:
        column = sample.column(item.name)
        if item.kind not in ("category", "text") or not pa.types.is_string(column.type):
            continue
        known, numbers = len(column) - column.null_count, pc.sum(pc.match_substring_regex(column, _NUMBER)).as_py() or 0
        stray = store.first(item.name, _no_number) if known and numbers >= _NEARLY * known else None
        if stray is not None:
            value, where = stray
            kind = "categories" if item.kind == "category" else "text"
            what = f"column {item.name!r} is read as {kind}, though {numbers:,} of {known:,} sampled values are numbers: {where} holds {value!r}"
            todo = "Correct the cell, or leave it empty where the value is missing."
            kinds = f"kinds={{{item.name!r}: 'number'}} (--kind {item.name}=number) stops at what is no number"
            warnings.warn(f"{what}. {todo} To overrule: {kinds}; 'category' keeps it as it is, without this warning.", stacklevel=stacklevel)


def _no_number(column: Any) -> Any:
    """bool (n,): the strings that are there and are no numbers."""
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(pc.invert(pc.match_substring_regex(column, _NUMBER)), False))
