"""Compiled loops of neural networks: activations, their slopes, layers row by row, and steps of the optimizers.

Values of a layer are float64 (units, n), rows as columns. Products of matrices are left to BLAS where rows are summed, and are `layer` where each row must have bits of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from .math import exp

__all__ = ["LOGISTIC", "RELU", "TANH", "activate", "adam_step", "bend", "layer", "momentum_step"]

RELU, TANH, LOGISTIC = range(3)
_jit: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(error_model="numpy", cache=True, nogil=True)


@_jit
def activate(kind: int, z: Any, bias: Any) -> None:
    """Add the bias (units,) and put each value through relu, tanh or the logistic function, in place; NaN stays NaN."""
    units, n = z.shape
    for k in range(units):
        shift = bias[k]
        if kind == RELU:
            for i in range(n):
                v = z[k, i] + shift
                z[k, i] = 0.0 if v < 0.0 else v  # noqa: FURB136 -- max would drop NaN
        elif kind == TANH:
            for i in range(n):
                z[k, i] = 1.0 - 2.0 / (1.0 + exp(2.0 * (z[k, i] + shift)))
        else:
            for i in range(n):
                z[k, i] = 1.0 / (1.0 + exp(-(z[k, i] + shift)))


@_jit
def bend(kind: int, value: Any, back: Any) -> None:
    """Multiply back (units, n) by the slope of the activation where it gave `value`, in place."""
    units, n = value.shape
    for k in range(units):
        if kind == RELU:
            for i in range(n):
                back[k, i] = back[k, i] if value[k, i] > 0.0 else 0.0
        elif kind == TANH:
            for i in range(n):
                back[k, i] *= 1.0 - value[k, i] * value[k, i]
        else:
            for i in range(n):
                back[k, i] *= value[k, i] * (1.0 - value[k, i])


@_jit
def layer(columns: Any, weights: Any, out: Any) -> None:
    """out (units, n) = weights (p, units) transposed times columns (p, n): each row summed over its columns in order, whatever rows come with it."""
    p, n = columns.shape
    out[:] = 0.0
    for k in range(len(out)):
        for j in range(p):
            w = weights[j, k]
            for i in range(n):
                out[k, i] += w * columns[j, i]


@_jit
def adam_step(w: Any, gradient: Any, first: Any, second: Any, rate: float, beta1: float, beta2: float) -> None:
    """One step of Adam (Kingma and Ba 2015) on flat arrays, in place; `rate` is the learning rate with the bias correction in it."""
    for i in range(len(w)):
        g = gradient[i]
        m = beta1 * first[i] + (1.0 - beta1) * g
        v = beta2 * second[i] + (1.0 - beta2) * g * g
        first[i] = m
        second[i] = v
        w[i] -= rate * m / (np.sqrt(v) + 1e-8)


@_jit
def momentum_step(w: Any, gradient: Any, velocity: Any, rate: float, momentum: float) -> None:
    """One step with Nesterov's momentum on flat arrays, in place."""
    for i in range(len(w)):
        v = momentum * velocity[i] - rate * gradient[i]
        velocity[i] = v
        w[i] += momentum * v - rate * gradient[i]
