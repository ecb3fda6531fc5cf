"""L-BFGS as a small state machine: it never calls the function, so a run stops and goes on between any two evaluations.

::

    carry = begin(start)                      # a state: flat named arrays, encode and decode as any other
    while not done(carry):
        w = point(carry)                      # where the value and the gradient are wanted next
        carry = tell(carry, value, gradient)  # pure: the old carry is left as it was
    carry["w"], carry["f"], carry["g"]        # the last accepted point, its value and gradient

`done` is true once the largest gradient component is at most `tolerance`, or once no descent is left that float64
can resolve (`converged` tells the two apart). How many rounds are enough is the caller's business: ``carry["round"]``
counts accepted points, ``carry["evaluations"]`` all that was told. Names of a carry are plain, so prefix them freely.

Limited-memory BFGS after Nocedal and Wright (2006), algorithm 7.4, with a line search for the strong Wolfe conditions
(algorithms 3.5 and 3.6). Near the optimum differences of values drown in rounding; there the search trusts slopes
instead (the approximate Wolfe condition of Hager and Zhang 2005), which is what lets it reach a gradient of 1e-8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput
from ..core.state import State

__all__ = ["begin", "converged", "done", "point", "tell"]

F64 = npt.NDArray[np.float64]

_FIRST, _BRACKET, _ZOOM, _SETTLE, _CONVERGED, _STALLED = range(6)
_STEP, _SLOPE, _LOW, _LOW_F, _LOW_SLOPE, _HIGH, _HIGH_F, _HIGH_SLOPE = range(8)  # the places of carry["line"]
_DECREASE, _CURVATURE = 1e-4, 0.9
_NOISE = 1e-12  # values closer than this, relative to the value, are taken as equal
_TRIES = 30


def begin(start: npt.ArrayLike, *, memory: int = 10, tolerance: float = 1e-8, inverse: npt.ArrayLike | None = None) -> State:
    """The first carry.

    Parameters
    ----------
    start : float64 (n,)
    memory : int
        Pairs of steps and gradient changes kept; 0 where the caller sets ``carry["inverse"]`` anew before every `tell`,
        which makes this Newton's method with the same line search. The carry grows to ``2 · memory + 3`` vectors of n, and holds `inverse`.
    tolerance : float
        Done when ``max |gradient| <= tolerance``.
    inverse : float64 (n,) or (n, n), optional
        A rough inverse of the Hessian, positive definite, or its diagonal. Badly scaled columns then cost no rounds, and
        with the whole matrix correlated ones neither.

    Examples
    --------
    >>> carry = begin([3.0, -1.0])
    >>> while not done(carry):
    ...     w = point(carry)
    ...     carry = tell(carry, float((w[0] - 1) ** 2 + 100 * w[1] ** 2), np.array([2 * (w[0] - 1), 200 * w[1]]))
    >>> np.round(carry["w"], 6) + 0
    array([1., 0.])
    """
    w = np.array(start, np.float64, ndmin=1)
    carry = {
        "w": w,
        "f": np.array(np.inf),
        "g": np.zeros_like(w),
        "direction": np.zeros_like(w),
        "line": np.zeros(8),
        "rho": np.zeros(memory),
        "tolerance": np.array(tolerance, np.float64),
    }
    if inverse is not None:
        carry["inverse"] = np.array(inverse, np.float64)
    for name in ("phase", "tries", "pairs", "round", "evaluations"):
        carry[name] = np.array(0, np.int64)
    return carry


def point(carry: State) -> F64:
    """Where the value and the gradient are wanted: float64 (n,), fresh."""
    if int(carry["phase"]) == _FIRST:
        return carry["w"].copy()
    trial: F64 = carry["w"] + carry["line"][_STEP] * carry["direction"]
    return trial


def done(carry: State) -> bool:
    return int(carry["phase"]) >= _CONVERGED


def converged(carry: State) -> bool:
    """True where the gradient reached the tolerance; false while searching, and where no descent was left before that."""
    return int(carry["phase"]) == _CONVERGED


def tell(carry: State, value: float, gradient: F64) -> State:
    """The carry after an evaluation at ``point(carry)``.

    Parameters
    ----------
    value : float
        May be inf or NaN except at the start: the search then steps back.
    gradient : float64 (n,)

    Raises
    ------
    BadInput
        The value or the gradient at the start is not finite.
    """
    carry = dict(carry)
    phase, value = int(carry["phase"]), float(value)
    carry["evaluations"] = carry["evaluations"] + np.int64(1)
    finite = np.isfinite(value) and bool(np.isfinite(gradient).all())
    if phase == _FIRST:
        if not finite:
            raise BadInput(f"the loss or its gradient is not finite at the start (loss {value})", todo="Scale the columns, or start from other weights.")
        return _accept(carry, carry["w"], value, gradient)
    line = carry["line"] = carry["line"].copy()
    carry["tries"] = carry["tries"] + np.int64(1)
    noise = _NOISE * abs(float(carry["f"]))
    slope = float(gradient @ carry["direction"]) if finite else np.nan
    if phase == _SETTLE:
        if finite and value < float(carry["f"]):
            return _move(carry, value, gradient)
        return _give_up(carry)
    decrease = finite and value <= float(carry["f"]) + _DECREASE * line[_STEP] * line[_SLOPE] + noise
    if decrease and abs(slope) <= -_CURVATURE * line[_SLOPE]:
        return _move(carry, value, gradient)
    higher = not decrease or value > line[_LOW_F] + noise
    carry["phase"] = np.array(_bracket(line, value, slope, higher=higher, zooming=phase == _ZOOM), np.int64)
    closed = np.isfinite(line[_HIGH]) and abs(line[_HIGH] - line[_LOW]) <= 1e-14 * line[_HIGH]
    if closed or int(carry["tries"]) >= _TRIES:
        if line[_LOW] == 0.0:
            return _give_up(carry)
        line[_STEP] = line[_LOW]
        carry["phase"] = np.array(_SETTLE, np.int64)
    return carry


def _bracket(line: F64, value: float, slope: float, *, higher: bool, zooming: bool) -> int:
    """Narrow or widen the bracket [low, high] by the trial just told, set the next trial, return the next phase. Changes `line`."""
    trial = line[_STEP]
    if higher:
        line[_HIGH : _HIGH + 3] = trial, value, slope
    elif zooming:
        if slope * (line[_HIGH] - line[_LOW]) >= 0:
            line[_HIGH : _HIGH + 3] = line[_LOW : _LOW + 3]
        line[_LOW : _LOW + 3] = trial, value, slope
    elif slope >= 0:
        line[_HIGH : _HIGH + 3] = line[_LOW : _LOW + 3]
        line[_LOW : _LOW + 3] = trial, value, slope
    else:  # still going down: look further along, by the secant of the slopes where that is a sensible step
        before = line[_LOW_SLOPE]
        further = trial + (trial - line[_LOW]) * slope / (before - slope) if before < slope else np.inf
        line[_LOW : _LOW + 3] = trial, value, slope
        line[_STEP] = min(max(1.1 * further, 2.0 * trial), 10.0 * trial)
        return _BRACKET
    line[_STEP] = _between(line)
    return _ZOOM


def _between(line: F64) -> float:
    """A trial inside the bracket: the cubic's minimum (Nocedal and Wright 3.59), kept a tenth away from both ends."""
    a, fa, ga, b, fb, gb = line[_LOW:]
    width = b - a
    best = a + 0.1 * width if not np.isfinite(fb) else a + 0.5 * width
    if np.isfinite(fb) and np.isfinite(gb):
        d1 = ga + gb - 3.0 * (fb - fa) / width
        inside = d1 * d1 - ga * gb
        if inside >= 0:
            d2 = np.sign(width) * np.sqrt(inside)
            if gb - ga + 2.0 * d2 != 0:
                best = b - width * (gb + d2 - d1) / (gb - ga + 2.0 * d2)
    low, high = sorted((a + 0.1 * width, b - 0.1 * width))
    return float(min(max(best, low), high))


def _move(carry: State, value: float, gradient: F64) -> State:
    """Accept the trial and remember the pair (step, change of gradient)."""
    w = point(carry)
    step, change = w - carry["w"], gradient - carry["g"]
    curvature = float(step @ change)
    if len(carry["rho"]) and curvature > 1e-300 + np.finfo(np.float64).eps * float(np.sqrt(step @ step) * np.sqrt(change @ change)):
        memory, pairs = len(carry["rho"]), int(carry["pairs"])
        slot = pairs % memory
        carry[f"s{slot}"], carry[f"y{slot}"] = step, change
        rho = carry["rho"].copy()
        rho[slot] = 1.0 / curvature
        carry["rho"], carry["pairs"] = rho, np.array(pairs + 1, np.int64)
    carry["round"] = carry["round"] + np.int64(1)
    return _accept(carry, w, value, gradient)


def _accept(carry: State, w: F64, value: float, gradient: F64) -> State:
    carry |= {"w": w, "f": np.array(value), "g": np.array(gradient, np.float64)}
    if float(np.abs(gradient).max(initial=0.0)) <= float(carry["tolerance"]):
        carry["phase"] = np.array(_CONVERGED, np.int64)
        return carry
    return _search(carry)


def _give_up(carry: State) -> State:
    """No trial was lower: forget the history and try the steepest descent once; after that there is nothing left."""
    if int(carry["pairs"]) == 0:
        carry["phase"] = np.array(_STALLED, np.int64)
        return carry
    for name in [name for name in carry if name[0] in "sy" and name[1:].isdigit()]:
        del carry[name]
    carry["pairs"], carry["rho"] = np.array(0, np.int64), np.zeros_like(carry["rho"])
    return _search(carry)


def _search(carry: State) -> State:
    """Set the next direction and the first trial along it."""
    direction = _direction(carry)
    slope = float(direction @ carry["g"])
    first = int(carry["pairs"]) == 0
    step = min(1.0, 1.0 / float(np.abs(carry["g"]).sum())) if first and "inverse" not in carry else 1.0
    value = float(carry["f"])
    carry["direction"] = direction
    carry["line"] = np.array([step, slope, 0.0, value, slope, np.inf, np.inf, np.nan])
    carry["tries"], carry["phase"] = np.array(0, np.int64), np.array(_BRACKET if slope < 0 else _STALLED, np.int64)
    return carry


def _apply(carry: State, vector: F64) -> F64:
    """The first guess of the inverse Hessian times a vector."""
    inverse = carry.get("inverse")
    if inverse is None:
        return vector
    product: F64 = inverse * vector if inverse.ndim == 1 else inverse @ vector
    return product


def _direction(carry: State) -> F64:
    """Minus the approximate inverse Hessian times the gradient, by the two-loop recursion; ``4 · memory`` passes over n."""
    q = -carry["g"]
    memory, pairs, rho = len(carry["rho"]), int(carry["pairs"]), carry["rho"]
    newest_first = [i % memory for i in range(pairs - 1, max(pairs - memory, 0) - 1, -1)]
    alpha: dict[int, Any] = {}
    for i in newest_first:
        alpha[i] = rho[i] * (carry[f"s{i}"] @ q)
        q -= alpha[i] * carry[f"y{i}"]
    q = _apply(carry, q)
    if newest_first:
        change = carry[f"y{newest_first[0]}"]
        q = q / (rho[newest_first[0]] * (change @ _apply(carry, change)))
    for i in reversed(newest_first):
        q += (alpha[i] - rho[i] * (carry[f"y{i}"] @ q)) * carry[f"s{i}"]
    return q
