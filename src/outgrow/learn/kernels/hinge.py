"""Compiled loops of linear support vector machines: the squared hinge of rows, and the rows it curves on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["active_rows", "hinge_rows"]

_jit: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(error_model="numpy", cache=True, nogil=True)


@_jit
def hinge_rows(z: Any, y: Any, which: Any, positive: Any, row: Any, loss: Any, residual: Any, root: Any) -> None:
    """Squared hinge loss of each row against each class, its derivative by the margin, and the root of the row's weight, 0 outside its margin; NaN stays NaN.

    z, loss, residual, root : float64 (k, n). y : int32 (n,). which : int64 (k,), the class of sign +1, whose rows weigh positive (k,) times as much.
    row : float64 (n,) weights, or (0,) where all are 1.
    """
    weighted = len(row) > 0
    for k in range(len(which)):
        own, more = which[k], positive[k]
        for i in range(len(y)):
            sign = 1.0 if y[i] == own else -1.0
            short = 1.0 - sign * z[k, i]
            short = 0.0 if short < 0.0 else short  # noqa: FURB136 -- max would drop NaN
            weight = (row[i] if weighted else 1.0) * (more if y[i] == own else 1.0)
            loss[k, i] = weight * short * short
            residual[k, i] = -2.0 * weight * sign * short
            root[k, i] = np.sqrt(weight) if short != 0.0 else 0.0


@_jit
def active_rows(x: Any, constant: float, root: Any, out: Any) -> int:
    """Copy the rows of x (n, p) whose root (n,) is not 0 to out (n, p + 1 or p), times it; a last column is `constant` times it. Returns how many."""
    p, found = x.shape[1], 0
    last = out.shape[1] > p
    for i in range(len(x)):
        if root[i] != 0.0:
            for j in range(p):
                out[found, j] = x[i, j] * root[i]
            if last:
                out[found, p] = constant * root[i]
            found += 1
    return found
