"""Models made of parts that are trained side by side, each on its own rows or its own question, in one read of the data.

This is model parallelism in its plainest form: different parts of the model learn from different subsets of the data, and
the whole is one model with one digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from ..core.errors import BadField, BadInput, OutgrowError
from ..core.learner import Context, Fold, Learner, Pass, Price, Rows, Traits
from ..core.rng import uniform
from ..core.state import State, pack_strings, prefixed, under, unpack_strings
from ..data.batch import Batch
from ..data.target import row_place
from .beside import Fused
from .class_columns import class_columns, refuse_classless
from .views import Asks, Bag, Picks, Seen, View

__all__ = ["Bagging", "OneVsOne", "OneVsRest", "Segments"]


@dataclass(frozen=True)
class _Parts(Learner):
    """Copies of one learner side by side; `_parts` says which, from what is known when they begin."""

    learner: Learner

    def __post_init__(self) -> None:
        if not isinstance(self.learner, Learner):
            raise BadField(f"{self.learner!r} is no learner", where="learner", allowed="a learner such as LogisticRegression()")

    def _parts(self, context: Context, carry: State) -> Fused:
        raise NotImplementedError

    def _side_by_side(self, views: Mapping[str, View]) -> Fused:
        return Fused(tuple((name, Seen(name, view, self.learner)) for name, view in views.items()))

    def begin(self, context: Context, start: State | None = None) -> State:
        return self._parts(context, {}).begin(context, start)

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return self._parts(context, carry).ask(context, carry)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return self._parts(context, carry).tell(context, carry, closed)

    def finish(self, context: Context, carry: State) -> State:
        return self._parts(context, carry).finish(context, carry)

    def resume(self, context: Context, carry: State) -> State:
        return self._parts(context, carry).resume(context, carry)

    def recall(self, context: Context, carry: State, kept: str) -> State:
        return self._parts(context, carry).recall(context, carry, kept)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return self._parts(context, carry).facts(context, carry)

    def price(self, context: Context) -> Price:
        return self._parts(context, {}).price(context)

    def sees(self) -> Rows:
        return self.learner.sees()


def _columns_of(columns: Mapping[str, Any], name: str) -> Any:
    """float64 (n,) of a predicted column; BadInput where the learner predicts none such."""
    if name not in columns:
        raise BadInput(f"the parts predict {', '.join(columns)}, not {name!r}", todo="Use a learner that gives probabilities or scores.")
    return np.asarray(columns[name], np.float64)


@dataclass(frozen=True)
class OneVsRest(_Parts):
    """Many classes by a learner of two: one part a class, which tells it from all others.

    Predicts the class whose part is surest: ``prediction``, and ``probability_<class>`` (the parts' probabilities over their sum) where the
    learner gives probabilities, else ``score_<class>``. Cost: one read of the rows a round, as many states as classes.

    Examples
    --------
    >>> import outgrow as og
    >>> rows = og.read({"x": [0.0, 0.1, 1.0, 1.1, 2.0, 2.1], "y": list("aabbcc")}, target="y")
    >>> model = og.plan(og.Then((og.OneHot(), og.OneVsRest(og.LogisticRegression(l2=0.01)))), rows, on="serial").run().model
    >>> sorted(model.predict(rows)["prediction"].to_pylist()[::5])
    ['a', 'c']
    """

    def _parts(self, context: Context, carry: State) -> Fused:
        refuse_classless(context, 2, "One part a class needs classes.")
        return self._side_by_side({str(k): Asks(k) for k in range(len(context.schema.classes))})

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        classes = batch.schema.classes
        found = [Seen(str(k), Asks(k), self.learner).predict(under(str(k), model), batch) for k in range(len(classes))]
        if all("probability" in columns for columns in found):
            chances = np.stack([_columns_of(columns, "probability") for columns in found])
            total = np.add.reduce(chances, axis=0)
            return class_columns(np.where(total > 0, chances / np.where(total > 0, total, 1.0), 1.0 / len(classes)), classes)
        scores = np.stack([_columns_of(columns, "score") for columns in found])
        return _scored(scores, classes)


def _scored(scores: Any, classes: tuple[Any, ...]) -> dict[str, Any]:
    """``prediction`` by the highest of scores (K, n), and the scores by name; of two classes, the second's lead as ``score``."""
    best = {"prediction": np.array(classes)[scores.argmax(0)]}
    return best | ({"score": scores[1] - scores[0]} if len(classes) == 2 else {f"score_{name}": scores[k].copy() for k, name in enumerate(classes)})


@dataclass(frozen=True)
class OneVsOne(_Parts):
    """Many classes by a learner of two: one part for each pair of classes, trained on their rows alone.

    Predicts the class with most votes; among equals the one whose parts are surest in sum. ``score_<class>`` is votes plus that sum, squeezed
    below a third of a vote. Cost: one read of the rows a round, K(K − 1)/2 states.
    """

    def _pairs(self, classes: int) -> dict[str, View]:
        return {f"{i} {j}": Asks(j, i) for i, j in combinations(range(classes), 2)}

    def _parts(self, context: Context, carry: State) -> Fused:
        refuse_classless(context, 2, "One part a pair of classes needs classes.")
        return self._side_by_side(self._pairs(len(context.schema.classes)))

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        classes = batch.schema.classes
        votes, sure = np.zeros((len(classes), batch.rows)), np.zeros((len(classes), batch.rows))
        for name, view in self._pairs(len(classes)).items():
            columns = Seen(name, view, self.learner).predict(under(name, model), batch)
            lead = _columns_of(columns, "probability") - 0.5 if "probability" in columns else _columns_of(columns, "score")
            first, second = map(int, name.split())
            votes[first] += lead <= 0
            votes[second] += lead > 0
            sure[first] -= lead
            sure[second] += lead
        return _scored(votes + sure / (3 * (np.abs(sure) + 1)), classes)


@dataclass(frozen=True)
class Bagging(_Parts):
    """The mean of `parts` models, each of rows drawn with replacement and, below 1, of a share of the `columns` (random subspaces).

    A row is drawn by a hash of its position, so that no cut of the data changes a bag. Its count (Poisson of mean 1) is its weight, times the weight it
    has. Features that read columns belong inside where `columns` is below 1: ``Bagging(Then((OneHot(), …)), columns=0.5)``.

    Source: Breiman 1996; Oza and Russell 2001 for the counts; Ho 1998 for the subspaces.
    """

    parts: int = 10
    columns: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.parts, bool) or not isinstance(self.parts, int) or not 1 <= self.parts <= 10_000:
            raise BadField(f"{self.parts!r} is out of range", where="parts", allowed="1 to 10000")
        if not 0 < self.columns <= 1:
            raise BadField(f"{self.columns!r} is out of range", where="columns", allowed="above 0 and up to 1")

    def _views(self, schema: Any, seed: int) -> dict[str, View]:
        if self.columns < 1 and schema.design is not None:
            raise BadInput("the columns are encoded already, and no part of them can be left out", where="columns", todo="Put the features inside: Bagging(Then((…, learner))).")
        names = [item.name for item in schema.inputs]
        count = max(1, round(self.columns * len(names)))

        def some(part: int) -> tuple[str, ...] | None:
            order = np.argsort(uniform(seed, f"columns {part}", np.arange(len(names))), kind="stable")[:count]
            return None if count == len(names) else tuple(names[k] for k in sorted(order.tolist()))

        return {str(part): Bag(part, seed, some(part)) for part in range(self.parts)}

    def _parts(self, context: Context, carry: State) -> Fused:
        return self._side_by_side(self._views(context.schema, context.seed))

    def finish(self, context: Context, carry: State) -> State:
        kept = [view.columns or () for view in self._views(context.schema, context.seed).values() if isinstance(view, Bag)]
        return super().finish(context, carry) | pack_strings("columns", [json.dumps(names) for names in kept])

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        found = []
        for part, names in enumerate(unpack_strings("columns", model)):
            view = Bag(part, 0, tuple(json.loads(names)) or None)
            found.append(self.learner.predict(under(str(part), model), view.asked(batch)))
        classes = batch.schema.classes
        if not classes:
            return {"prediction": _mean([_columns_of(columns, "prediction") for columns in found])}
        if len(classes) == 2:
            second = _mean([_columns_of(columns, "probability") for columns in found])
            return class_columns(np.stack([1.0 - second, second]), classes)
        return class_columns(np.stack([_mean([_columns_of(columns, f"probability_{name}") for columns in found]) for name in classes]), classes)


def _mean(columns: list[Any]) -> Any:
    """The mean of columns (n,), each row summed in the order of the parts."""
    total = np.zeros_like(columns[0])
    for column in columns:
        total += column
    return total / len(columns)


@dataclass(frozen=True)
class _Values(Fold):
    """Rows of each value of a column. state: ``values`` (JSON texts, sorted), ``rows`` int64."""

    traits: ClassVar[Traits] = Traits(order_free=True)
    column: str
    most: int

    def init(self, given: Mapping[str, Any]) -> State:
        return pack_strings("values", []) | {"rows": np.zeros(0, np.int64)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from ..data.classes import values_in

        found = values_in(batch.column(self.column))
        rows = {json.dumps(value): int(batch.equals(self.column, value).sum()) for value in found}
        return self._state(_counts(state), rows)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return self._state(_counts(left), _counts(right))

    def _state(self, counts: dict[str, int], more: Mapping[str, int]) -> State:
        for value, rows in more.items():
            counts[value] = counts.get(value, 0) + rows
        if len(counts) > self.most:
            raise BadInput(f"column {self.column!r} has over {self.most} values", where="by", todo="Name a column of fewer values, or raise `most`.")
        return pack_strings("values", sorted(counts)) | {"rows": np.array([counts[value] for value in sorted(counts)], np.int64)}


def _counts(state: State) -> dict[str, int]:
    return dict(zip(unpack_strings("values", state), state["rows"].tolist(), strict=True))


_REST = "rest"


@dataclass(frozen=True)
class Segments(_Parts):
    """One model for each value of the column `by`, and one of all rows for values that are missing, new, or have fewer than `least` rows.

    The values are found in a pass over that column. Cost: then one read of the rows a round, as many states as values.

    Examples
    --------
    >>> import outgrow as og
    >>> rows = og.read({"x": [0.0, 1.0, 2.0] * 2, "side": list("aaabbb"), "y": [0.0, 1.0, 2.0, 0.0, -1.0, -2.0]}, target="y", task="number")
    >>> learner = og.Then((og.OneHot(), og.Segments(og.LinearRegression(l2=1e-6), by="side", least=1)))
    >>> og.plan(learner, rows, on="serial").run().model.predict(rows)["prediction"].to_numpy().round(3).tolist()
    [0.0, 1.0, 2.0, -0.0, -1.0, -2.0]
    """

    by: str = ""
    least: int = 100
    most: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.by, str) or not self.by:
            raise BadField("no column is named", where="by", allowed="the name of a column of categories or whole numbers")
        for name in ("least", "most"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1 << 31:
                raise BadField(f"{value!r} is out of range", where=name, allowed="1 or more")

    def _parts(self, context: Context, carry: State) -> Fused:
        views: dict[str, View] = {_REST: View()}
        for place, (value, rows) in enumerate(_counts(under("found", carry)).items()):
            if rows >= self.least:
                views[str(place)] = Picks(self.by, json.loads(value))
        return self._side_by_side(views)

    def begin(self, context: Context, start: State | None = None) -> State:
        if start:
            raise BadInput("segments do not go on from an earlier model", todo="Learn from the old and the new rows together.")
        if context.schema[self.by].kind not in ("number", "category") or self.by in context.schema.roles:
            raise BadInput(f"column {self.by!r} cannot be a segment", where="by", allowed="an input of categories or whole numbers")
        return {}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if not carry:
            return (Pass(fold=_Values(self.by, self.most), columns=(self.by,), rows=self.sees()),)
        return self._parts(context, carry).ask(context, under("parts", carry))

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        if not carry:
            found = prefixed("found", closed[0])
            return found | prefixed("parts", self._parts(context, found).begin(context))
        return prefixed("found", under("found", carry)) | prefixed("parts", self._parts(context, carry).tell(context, under("parts", carry), closed))

    def finish(self, context: Context, carry: State) -> State:
        return prefixed("found", under("found", carry)) | self._parts(context, carry).finish(context, under("parts", carry))

    def resume(self, context: Context, carry: State) -> State:
        return {}

    def recall(self, context: Context, carry: State, kept: str) -> State:
        return self._parts(context, carry).recall(context, under("parts", carry), kept)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"segments": float(len(under("found", carry)["rows"]))} if carry else {}

    def price(self, context: Context) -> Price:
        one, parts = self.learner.price(context), 1 + min(self.most, max(context.schema[self.by].distinct, 1))
        passes = (one.passes[0] + 1, one.passes[1] + 1)
        return Price(state=one.state * parts, given=one.given * parts, lanes=one.lanes, passes=passes, kept_per_row=one.kept_per_row, kept_fresh=one.kept_fresh)

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        home = np.full(batch.rows, -1)
        for place, (value, rows) in enumerate(_counts(under("found", model)).items()):
            if rows >= self.least:
                home[batch.equals(self.by, json.loads(value))] = place
        columns: dict[str, Any] = {}
        for place in np.unique(home).tolist():
            mine = home == place
            seen = batch.where(mine)
            try:
                found = self.learner.predict(under(_REST if place < 0 else str(place), model), seen)
            except OutgrowError as error:
                error.where = error.where or row_place(seen, 0)
                raise
            for name, column in found.items():
                values = np.asarray(column)
                columns.setdefault(name, np.zeros((batch.rows, *values.shape[1:]), values.dtype))[mine] = values
        return columns
