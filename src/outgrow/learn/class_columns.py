"""What every classifier of classes says alike: which targets it takes, the classes that rows can have, the columns of a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from ..core.learner import Context
from ..core.state import State
from ..data.batch import Batch
from .blocks import blocks, design_of, refuse_missing

__all__ = ["NEVER", "chances_of", "class_columns", "linear_columns", "log_of", "log_shares", "pairs_of", "refuse_classless", "refuse_start"]

F64 = npt.NDArray[np.float64]
NEVER = -1e300  # the logarithm of a share of 0: finite, as all numbers of a model are


def refuse_classless(context: Context, fewest: int, todo: str) -> None:
    """BadInput where the target does not have so many classes."""
    schema = context.schema
    if len(schema.classes) >= fewest:
        return
    if schema.classes:
        raise BadInput(f"target {schema.target!r} has the single class {schema.classes[0]!r}", allowed="two or more classes", todo=todo)
    found = f"target {schema.target!r} has no classes" if schema.target else "there is no target"
    raise BadInput(found, allowed="a target of classes", todo=todo)


def refuse_start(start: State | None, what: str) -> None:
    if start is not None:
        raise BadInput(f"{what} does not go on from an earlier model", todo="Learn from the old and the new rows together.")


def pairs_of(learner: Any, name: str) -> Any:
    """A mapping in a field as pairs, which compare and hash; anything else as it is. BadField where a value is no number of 0 or more."""
    value = getattr(learner, name)
    if isinstance(value, Mapping):
        value = tuple(value.items())
        object.__setattr__(learner, name, value)
    sound = value is None or value == "uniform" or (isinstance(value, tuple) and value and all(isinstance(p, tuple) and len(p) == 2 and 0 <= p[1] < np.inf for p in value))
    if not sound or (isinstance(value, tuple) and not 0 < sum(share for _, share in value) < np.inf):
        raise BadField(f"{value!r} is out of range", where=name, allowed="None, 'uniform', or a mapping of class to a share of 0 or more")
    return value


def log_of(values: F64) -> F64:
    """Natural logarithms, the same bits on every processor; NEVER at 0."""
    from .kernels.classed import logs

    values = np.ascontiguousarray(values, np.float64)
    out = np.empty_like(values)
    logs()(values.reshape(-1), out.reshape(-1))
    return np.where(values > 0, out, NEVER)


def log_shares(context: Context, priors: Any, weight: F64) -> F64:
    """Logarithms of how likely each class is before a row is seen: as named, all alike, or by the weight (K,) of its rows; NEVER for a class without rows."""
    classes = context.schema.classes
    if isinstance(priors, tuple):
        named = dict(priors)
        for name in named:
            if name not in classes:
                raise BadInput(f"priors names the class {name!r}", where="priors", allowed=", ".join(map(str, classes)))
        for name in classes:
            if name not in named:
                raise BadInput(f"priors leaves out the class {name!r}", where="priors", todo="Name a share for every class.")
        shares = np.array([float(named[name]) for name in classes])
    else:
        shares = np.ones(len(classes)) if priors == "uniform" else weight
    shares = np.where(weight > 0, shares, 0.0)
    if not shares.sum() > 0:
        raise BadInput("priors leave no class that has rows", where="priors", todo="Name a share above 0 for a class with rows.")
    return log_of(shares / shares.sum())


def chances_of(z: F64) -> F64:
    """Softmax over the first axis of (K, n), each row by itself."""
    from .kernels.dense import probabilities

    out = np.empty_like(z)
    probabilities(z, out, np.empty(z.shape[1]))
    return out


def class_columns(chances: F64, classes: tuple[Any, ...]) -> dict[str, Any]:
    """Of chances (K, n): ``prediction``, a class; ``probability`` of the second of two classes, else ``probability_<class>`` of each."""
    names = classes or tuple(range(len(chances)))
    columns = {"prediction": np.array(names)[chances.argmax(0)]}
    if len(chances) == 2:
        return columns | {"probability": chances[1].copy()}
    return columns | {f"probability_{name}": chances[k].copy() for k, name in enumerate(names)}


def linear_columns(model: State, batch: Batch) -> dict[str, Any]:
    """The columns of a model whose log odds are linear: ``table`` (width, K), ``dense`` (m, K), ``intercept`` (K,)."""
    from .kernels.dense import gather, margins

    refuse_missing(batch)
    chances = np.empty((len(model["intercept"]), batch.rows))
    for block in blocks(design_of(batch), spread=False):
        z = np.repeat(model["intercept"][:, None], len(block.x), 1)
        margins(z, block.x, model["dense"])
        gather(z, block.slots, *block.ragged, model["table"])
        chances[:, block.start : block.stop] = chances_of(z)
    return class_columns(chances, batch.schema.classes)
