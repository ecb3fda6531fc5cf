"""Quantiles of residuals, leaf by leaf, from sums of whole numbers: 12 bits of the residual a pass, and after three the quantile to 2^-24 of itself.

Of numbers whose bits are turned so that they sort as the numbers do, the first pass counts rows by sign and exponent, the next ones by the bits behind, where those
before are those of the quantile. Neither the order of the rows nor their cut changes a count, and no far value takes anything from the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.state import State
from ...data.native import F8, FLOAT, I8, INT, U1, U4, Native

__all__ = ["PASSES", "add_residuals", "narrowed", "no_residuals", "quantiles"]

U64 = npt.NDArray[np.uint64]
PASSES = 3
_BITS = 12
_HEAVIEST = 2.0**30  # whole weight of the heaviest row
_residual_counts = Native("outgrow.learn.kernels.histograms", "residual_counts", (U4(1), F8(1), F8(1), F8(1), U1(1), FLOAT, INT, INT, I8(1, True)))


def no_residuals(given: Mapping[str, Any]) -> State:
    """The state of a pass for quantiles: ``sums`` int64 (p, 4096), whole weights of the residuals that belong to each of p places, by their next bits.

    given: ``made`` int32 (l, 3): output, leaf, and the place its rows belong to; ``prefix`` uint64 (p,), the bits known of each place's quantile; ``known`` int64 (),
    how many; ``heaviest`` float64 (), the largest weight.
    """
    return {"sums": np.zeros((len(given["prefix"]), 1 << _BITS), np.int64)}


def add_residuals(state: State, kept: State, given: Mapping[str, Any]) -> State:
    """With the rows of one batch; what is kept beside them is as `rows.Grown` keeps it."""
    unit, known = _HEAVIEST / float(given["heaviest"]), int(given["known"])
    prefix = given["prefix"].astype(np.int64)  # below 2^36
    for out, leaf, place in given["made"].tolist():
        rows, own = kept[f"rows/{out}/{leaf}"], kept["scores"][out]
        _residual_counts(rows, own, kept["target"], kept["weight"], kept["counts"], unit, known, int(prefix[place]), state["sums"][place])
    return state


def narrowed(prefix: U64, sums: npt.NDArray[np.int64], share: float, below: npt.NDArray[np.int64]) -> tuple[U64, npt.NDArray[np.int64]]:
    """The bits known of each quantile with 12 more, and the whole weight that its residuals must still leave below: the first pass is given -1 for that.

    Of a place without weight they are 0.
    """
    running = np.cumsum(sums, axis=1)
    wanted = np.where(below < 0, np.ceil(share * running[:, -1].astype(np.float64)).astype(np.int64), below)
    found = np.minimum((running < wanted[:, None]).sum(1), sums.shape[1] - 1)
    before = np.where(found > 0, np.take_along_axis(running, np.maximum(found - 1, 0)[:, None], 1)[:, 0], 0)
    return (prefix << np.uint64(_BITS)) | found.astype(np.uint64), np.maximum(wanted - before, 0)


def quantiles(prefix: U64) -> npt.NDArray[np.float64]:
    """The number in the middle of those that begin with these 36 bits."""
    free = 64 - PASSES * _BITS
    turned = (prefix << np.uint64(free)) | np.uint64(1 << (free - 1))
    top = np.uint64(1 << 63)
    return np.ascontiguousarray(np.where(turned & top, turned ^ top, ~turned)).view(np.float64)
