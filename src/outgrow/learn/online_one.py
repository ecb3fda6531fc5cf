"""Learning one example at a time in Python, with the bits of learning from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.combine import Then
from ..core.errors import BadField, BadInput
from ..core.learner import Context
from ..core.state import State, prefixed, under
from ..data.batch import Field, Schema
from ..data.features.hashing import MISSING, Hashing
from ..data.model import Model
from .online_fold import LOSS, WEIGHT
from .online_linear import OnlineLinear

__all__ = ["Online", "columns"]

_REMEMBERED = 200_000  # slots kept for each column, so that a category is hashed once


def columns(*, numbers: Sequence[str] = (), categories: Sequence[str] = (), classes: Sequence[Any] = (), target: str = "target") -> Schema:
    """A schema of columns named by hand; `classes` empty: the target is a number."""
    fields = [Field(name=name, kind="number") for name in numbers] + [Field(name=name, kind="category", dtype="string") for name in categories]
    goal = Field(name=target, kind="category" if classes else "number", values=tuple(sorted(classes)))
    return Schema(fields=(*fields, goal), target=target, task="number" if not classes else "binary" if len(classes) == 2 else "classes")


class Online:
    """A model that learns as examples come: predict, then learn, then predict again.

    One lane of `OnlineLinear` over `Hashing`, fed by hand: after the same rows in the same order its model is bit for bit that of a fit on
    a file (with ``lanes=1, passes=1``, for a number ``scale_target=False``: scale it
    yourself where it is far from 1). Cost: some 20 µs an example of 39 columns.

    Parameters
    ----------
    learner : OnlineLinear
    schema : Schema
        Of a source (``og.read(…).schema``), a model, or named by hand with `columns`.
    features : Hashing
        Without interactions, signs and text.
    start : Model, optional
        To go on from: saved by `model` or fitted before, with the same learner and features.

    Examples
    --------
    >>> online = Online(OnlineLinear(), columns(numbers=["age"], categories=["town"], classes=["no", "yes"]), Hashing(bits=10))
    >>> for _ in range(50):
    ...     online.learn_one({"age": 31.0, "town": "Bern"}, "yes")
    ...     online.learn_one({"age": 50.0, "town": None}, "no")
    >>> online.predict_one({"age": 31.0, "town": "Bern"})["prediction"]
    'yes'
    """

    def __init__(self, learner: OnlineLinear, schema: Schema, features: Hashing | None = None, *, start: Model | None = None) -> None:
        features = features or Hashing()
        layout = features.layout(schema)
        if features.signed or features.interactions or layout.texts or layout.sparse:
            raise BadField("only numbers and categories are taken one by one", where="features", todo="Leave out signs, interactions, text and sparse columns.")
        if learner.validation or learner.passes > 1 or learner.batch_rounds or learner.class_weight == "balanced" or learner.lanes > 1:
            raise BadField("each example is seen once, by one lane", where="learner", allowed="passes=1, lanes 0 or 1, no validation, batch_rounds or balanced classes")
        if not schema.classes:
            learner = replace(learner, scale_target=False)  # no pass can look at the target first
        self.learner, self.schema, self.features = learner, schema, features
        self._context = Context(schema=features.schema({}, schema), rows=1, shard_rows=1, batch_rows=1)
        self._carry = learner.begin(self._context, under("1", start.start) or None if start else None)
        (asked,) = learner.ask(self._context, self._carry)
        self._state: State = asked.fold.init(asked.given)
        from ..data.features.murmur import hash_bytes

        self._hash = hash_bytes
        self._classes = {label: number for number, label in enumerate(schema.classes)}
        self._numbers = layout.numbers
        self._known: list[tuple[str, int, dict[str, int]]] = [(name, layout.seeds[name], {}) for name in layout.categories]
        self._dense, self._slots = np.zeros((1, len(layout.numbers)), np.float32), np.zeros((1, len(layout.categories)), np.uint32)
        self._target, self._weight = np.zeros(1), np.ones(1)
        self._by_class = self._carry.get("by_class")
        self._bind(asked.fold)

    def _bind(self, fold: Any) -> None:
        """The compiled loops with all arguments but the rows' in place."""
        from .kernels.online_entries import adaptive, ftrl, many, standing

        state, sizes = self._state, fold.sizes
        self._outs, is_adaptive, knobs = sizes.outs, fold.rule == "adaptive", np.array(fold.knobs)
        none = np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32)
        row = (self._dense, self._slots, *none, self._target, self._weight)
        if sizes.outs == 1:
            self._learn = (adaptive if is_adaptive else ftrl).bound
            self._arguments: tuple[Any, ...] = (*row, state["table"].reshape(-1), state["scale"], state["small"].reshape(-1), state["totals"], knobs, fold.loss)
        else:
            self._learn = many.bound
            self._arguments = (*row, state["table"], state["scale"], state["small"], state["totals"], knobs, fold.loss, is_adaptive)
        self._standing, self._loss = standing.bound, fold.loss
        self._scores = np.zeros((1, sizes.outs))
        self._scored = (self._dense, self._slots, state["table"], state["small"], knobs, is_adaptive, self._scores[0])

    def _encode(self, features: Mapping[str, Any]) -> None:
        """Fill the row's arrays as `Hashing` would."""
        dense, slots, mask = self._dense[0], self._slots[0], self.features.mask
        for j, name in enumerate(self._numbers):
            value = features.get(name)
            dense[j] = np.nan if value is None else value
        for j, (name, seed, known) in enumerate(self._known):
            value = features.get(name)
            slot = known.get(value)  # type: ignore[arg-type]
            if slot is None:
                if value is not None and not isinstance(value, str):
                    raise BadInput(f"{value!r} in column {name!r} is no text", allowed="a string, or None where it is missing")
                slot = self._hash(value.encode("utf-8", "surrogatepass") if value else MISSING, seed) & mask
                if len(known) >= _REMEMBERED:
                    known.clear()
                known[value] = slot  # type: ignore[index]
            slots[j] = slot

    def learn_one(self, features: Mapping[str, Any], target: Any, weight: float = 1.0) -> None:
        """Learn from one example.

        Parameters
        ----------
        features : mapping of column to value
            Numbers, and strings for categories; a column that is left out or None is missing.
        target : a class of the schema, or a number
        weight : float
            0 or more.

        Raises
        ------
        BadInput
            For a class that is not in the schema, a value that is not finite; the model is then unchanged or, where the
            prediction ran away, to be thrown away.
        """
        if self._classes:
            number = self._classes.get(target)
            if number is None:
                raise BadInput(f"the target is {target!r}", allowed=", ".join(map(repr, self._classes)))
            self._target[0] = 2.0 * number - 1.0 if self._outs == 1 else number
            weight = weight if self._by_class is None else weight * self._by_class[number]
        else:
            self._target[0] = target
        if not (weight >= 0 and np.isfinite(self._target[0])):
            raise BadInput(f"target {target!r} with weight {weight!r}", allowed="a finite target, a weight of 0 or more")
        self._weight[0] = weight
        self._encode(features)
        bad = self._learn(*self._arguments)
        if bad >= 0:
            self._refuse(bad, features)

    def _refuse(self, bad: int, features: Mapping[str, Any]) -> None:
        if bad:
            raise BadInput("the prediction has grown beyond 1e30", todo="Lower learning_rate, or scale the target.")
        name = next(name for name, value in zip(self._numbers, self._dense[0], strict=True) if np.isinf(value))
        raise BadInput(f"column {name!r} is {features[name]!r}", allowed="numbers up to 3.4e38, or None where it is missing")

    def predict_one(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of `OnlineLinear.predict` for one example, as scalars."""
        self._encode(features)
        if np.isinf(self._dense).any():
            self._refuse(0, features)
        self._standing(*self._scored)
        found = self.learner.columns(self.schema, self._scores)
        return {name: column[0].item() for name, column in found.items()}

    @property
    def progressive_loss(self) -> float:
        """The mean loss before each update, over all examples so far; NaN before the first."""
        totals = self._state["totals"]
        return float(totals[LOSS] / totals[WEIGHT]) if totals[WEIGHT] > 0 else float("nan")

    def model(self) -> Model:
        """The model as it stands: predicts on frames and files, is saved and loaded, and can be gone on from."""
        carry = self._carry | {name: array.copy() for name, array in self._state.items()} | {"pass": np.array(1)}
        carry["totals"][: WEIGHT + 2] = 0.0
        arrays, resume = self.learner.finish(self._context, carry), self.learner.resume(self._context, carry)
        return Model(Then((self.features, self.learner)), self.schema, prefixed("1", arrays), prefixed("1", resume), {})
