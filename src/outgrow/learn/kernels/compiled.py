"""Kernels that are compiled once, when first asked for, whatever arrays they are then given.

Left to itself numba compiles anew for arrays that are read-only or not; a signature with read-only inputs takes both.

numba's cache looks at the time of a kernel's own file alone: whoever edits a file that kernels call (`math`, `losses`) touches
those that call it too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
from numba import types

__all__ = ["F4", "F8", "I4", "I8", "U4", "kernel"]


def _array(dtype: Any) -> Callable[..., Any]:
    def of(dimensions: int, written: bool = False) -> Any:
        return types.Array(dtype, dimensions, "C", readonly=not written)

    return of


F4, F8, I4, I8, U4 = _array(types.float32), _array(types.float64), _array(types.int32), _array(types.int64), _array(types.uint32)


def kernel(signature: Any, function: Callable[..., Any]) -> Callable[[], Any]:
    """Gives the compiled function when called: a few seconds the first time on a machine, then from numba's cache."""

    @functools.cache
    def compiled() -> Any:
        return numba.njit(signature, nogil=True, error_model="numpy", cache=True)(function)

    return compiled
