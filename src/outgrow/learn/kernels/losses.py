"""Losses of one margin: slope, and the step that does not depend on how an importance weight is cut up.

Classes are −1 and +1. A loss is a number here, so that one compiled loop serves all of them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .codes import HINGE, LOGISTIC, SQUARED
from .math import exp, log, log1pexp, softplus_tail

__all__ = ["add_losses", "logistic_move", "move", "slope", "value"]


@numba.njit(error_model="numpy")
def slope(loss: int, p: float, y: float, tau: float) -> float:
    """The derivative of the loss by the prediction p at the target y (squared: of (p − y)²)."""
    if loss == LOGISTIC:
        return -y / (1.0 + exp(y * p))
    if loss == SQUARED:
        return 2.0 * (p - y)
    if loss == HINGE:
        return -y if y * p < 1.0 else 0.0
    return 0.0 if y == p else (-tau if y > p else 1.0 - tau)


@numba.njit(error_model="numpy")
def logistic_move(odds: float, step: float, reach: float) -> float:
    """d / reach, where d is how far gradient flow carries a margin m in time s = step · reach: d + odds (e^d − 1) = s, odds = e^m.

    The first guess follows the flow to second order (a Padé fraction: no e^x, right in the limits); one step of Halley's makes
    it good to 6 digits or more. (The form W(e^x) − x loses all digits where e^m is large.)
    """
    q = 1.0 / (1.0 + odds)
    s = step * reach
    t = q * s
    if t > 0.5:  # large steps: first examples, large example weights
        d = min(t, log(1.0 + s / odds)) if odds > 0.0 else t  # both lie above d
        for _ in range(3):
            e = odds * exp(d)
            f = d + (e - odds) - s
            d -= 2.0 * f * (1.0 + e) / (2.0 * (1.0 + e) * (1.0 + e) - f * e)
        return d / reach
    d = t / (1.0 + 0.5 * (1.0 - q) * t)
    dd = d * d
    growth = odds * (d + dd * ((0.5 + d * (1 / 6)) + dd * ((1 / 24 + d * (1 / 120)) + dd * (1 / 720 + d * (1 / 5040)))))  # odds (e^d − 1) for d ≤ 0.5
    e = 1.0 + odds + growth
    f = d + growth - s
    under = 2.0 * e * e - f * (e - 1.0)
    return (d * under - 2.0 * f * e) / (under * reach)


@numba.njit(error_model="numpy")
def move(loss: int, p: float, y: float, tau: float, step: float, reach: float) -> float:
    """What to multiply the features' own rates with, for a step of size `step` (learning rate × example weight).

    `reach` is how far the prediction moves for a factor of one. The update is the closed form of infinitely many
    infinitely small gradient steps (Karampatziakis and Langford 2011, table 1), so it never passes the target and an example
    of weight two is two examples of weight one.
    """
    s = step * reach
    if loss == LOGISTIC:
        m = y * p
        if s < 1e-6 or m > 300.0:
            return step * y / (1.0 + exp(m))
        return y * logistic_move(exp(m), step, reach)
    if loss == SQUARED:
        if s < 1e-6:
            return 2.0 * (y - p) * step
        return (y - p) * (1.0 - exp(-2.0 * s)) / reach
    if loss == HINGE:
        return y * min(step, (1.0 - y * p) / reach)
    gap = y - p
    pull = tau * step if gap > 0.0 else (tau - 1.0) * step
    return pull if gap / pull > reach else gap / reach


@numba.njit(error_model="numpy")
def value(loss: int, p: float, y: float, tau: float) -> float:
    """The loss of one prediction."""
    if loss == LOGISTIC:
        return log1pexp(-y * p)
    if loss == SQUARED:
        return (p - y) * (p - y)
    if loss == HINGE:
        return max(1.0 - y * p, 0.0)
    return tau * (y - p) if y > p else (tau - 1.0) * (y - p)


@numba.njit(error_model="numpy")
def add_losses(loss: int, p: Any, y: Any, weight: Any, tau: float, start: float) -> float:
    """`start` plus the weighted losses of rows with predictions p (n,), one after another."""
    n = len(p)
    tail = np.zeros(n)
    if loss == LOGISTIC:
        for i in range(n):
            tail[i] = softplus_tail(p[i])  # apart from the sum, so that it vectorises
    for i in range(n):
        one = max(-y[i] * p[i], 0.0) + tail[i] if loss == LOGISTIC else value(loss, p[i], y[i], tau)
        start += one * weight[i] if len(weight) else one
    return start
