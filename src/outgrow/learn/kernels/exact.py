"""Sums of float64 without rounding, so that no order and no cut changes them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["add_exactly"]


@intrinsic
def _bits(_typing: Any, _value: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.uint64(types.float64), code


bits: Any = _bits


@numba.njit(error_model="numpy")
def add_exactly(values: Any, sums: Any) -> None:
    """Add finite float64 values (n,) to sums int64 (2 · 2048,): for each exponent the upper 27 and then the lower 26 bits of the numbers before it."""
    for i in range(len(values)):
        raw = bits(values[i])
        exponent: Any = np.int64((raw >> np.uint64(52)) & np.uint64(0x7FF))
        whole = np.int64(raw & np.uint64(0xFFFFFFFFFFFFF))
        if exponent > 0:
            whole |= np.int64(1) << 52
        else:
            exponent = 1
        sign = -1 if raw >> np.uint64(63) else 1
        sums[exponent] += sign * (whole >> 26)
        sums[2048 + exponent] += sign * (whole & 0x3FFFFFF)
