"""The weights of classes, for the learners that take them: what may be named, and what "balanced" means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput

__all__ = ["ALLOWED", "balanced", "named", "plain", "refuse_few", "refuse_single", "sound"]

ALLOWED = "None, 'balanced', or a mapping of class to a weight of 0 or more"


def plain(given: Any) -> Any:
    """A mapping as pairs, which a frozen field can hold; anything else as it is."""
    return tuple(given.items()) if isinstance(given, Mapping) else given


def sound(given: Any) -> bool:
    """True for None, "balanced", and pairs of a class and a finite weight of 0 or more."""
    return given in (None, "balanced") or (isinstance(given, tuple) and all(isinstance(p, tuple) and len(p) == 2 and 0 <= p[1] < np.inf for p in given))


def named(given: Any, classes: tuple[Any, ...]) -> npt.NDArray[np.float64]:
    """float64 (K,) from pairs or None; BadInput for a class that is not there."""
    by_class = dict(given or ())
    unknown = [name for name in by_class if name not in classes]
    if unknown:
        raise BadInput(f"class_weight names {unknown[0]!r}", allowed=", ".join(map(str, classes)))
    return np.array([float(by_class.get(name, 1.0)) for name in classes])


def balanced(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64 (K,): inversely to the (weighted) share of each class, 0 for one without rows."""
    return np.where(counts > 0, counts.sum() / (len(counts) * np.maximum(counts, 1e-300)), 0.0)


def refuse_few(schema: Any) -> None:
    """BadInput where the target has no two classes, known before a row is read."""
    if len(schema.classes) < 2:
        found = f"the single class {schema.classes[0]!r}" if schema.classes else "no classes"
        raise BadInput(f"target {schema.target!r} has {found}", allowed="two or more classes", todo="Learn a number with LinearRegression, or name a target of classes.")


def refuse_single(schema: Any, counts: Any) -> None:
    """BadInput where the rows read have fewer than two classes: counts (K,)."""
    if not np.any(counts):
        raise BadInput("no row has a weight above 0", where="weight")
    if np.count_nonzero(counts) < 2:
        found = ", ".join(str(name) for name, count in zip(schema.classes, counts, strict=True) if count)
        raise BadInput(f"the rows to learn from have one class alone: {found}", where=f"column {schema.target!r}", todo="Add rows of another class, or hold out fewer.")
