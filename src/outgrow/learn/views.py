"""Parts of a model see the same rows each in its own way: some of them, as another question, or counted otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import OutgrowError
from ..core.learner import Context, Fold, Learner, Pass, Price, Rows, Traits
from ..core.rng import uniform
from ..core.state import State
from ..data.batch import Batch, Field, Numbers, Schema

__all__ = ["Asks", "Bag", "But", "Picks", "Seen", "View"]

_POISSON = np.cumsum([np.exp(-1.0) / float(np.prod(np.arange(1, k + 1))) for k in range(12)])  # chances of a count of k or fewer, mean 1
_BAG = "weight in the bag"


@dataclass(frozen=True)
class View:
    """All rows, as they are."""

    def schema(self, schema: Schema) -> Schema:
        """The schema of the batches seen."""
        return schema

    def batch(self, batch: Batch) -> Batch:
        """The rows to learn from."""
        return batch

    def asked(self, batch: Batch) -> Batch:
        """All rows of a batch to predict, as the part knows them."""
        return batch


@dataclass(frozen=True)
class Asks(View):
    """Is the target this class? Of all rows, or of those of this class and one other."""

    place: int
    other: int = -1

    def schema(self, schema: Schema) -> Schema:
        if not schema.target:
            return replace(schema, labels=(False, True))
        fields = [replace(item, kind="number", dtype="bool", values=(False, True)) if item.name == schema.target else item for item in schema.fields]
        return replace(schema.replace(fields), task="binary")

    def batch(self, batch: Batch) -> Batch:
        target = batch.target
        if self.other >= 0:
            mask = (target == self.place) | (target == self.other)
            batch, target = batch.where(mask), target[mask]
        return batch.with_columns(self.schema(batch.schema), {**batch.columns, batch.schema.target: Numbers(target == self.place)})

    def asked(self, batch: Batch) -> Batch:
        return replace(batch, schema=replace(batch.schema, target="", labels=(False, True)))


@dataclass(frozen=True)
class Picks(View):
    """Rows in which a column has one value."""

    column: str
    value: Any

    def batch(self, batch: Batch) -> Batch:
        return batch.where(batch.equals(self.column, self.value))


@dataclass(frozen=True)
class But(View):
    """Rows of all folds but one; the fold of a row is a hash of its position (`seed`)."""

    fold: int
    folds: int
    seed: int

    def places(self, batch: Batch) -> npt.NDArray[np.int64]:
        """The fold of each row: int64 (n,)."""
        return (uniform(self.seed, "fold", batch.positions) * self.folds).astype(np.int64)

    def batch(self, batch: Batch) -> Batch:
        return batch.where(self.places(batch) != self.fold)


@dataclass(frozen=True)
class Bag(View):
    """Rows drawn with replacement, as counts of mean 1 by a hash of each position, and perhaps some of the inputs."""

    number: int
    seed: int
    columns: tuple[str, ...] | None = None

    def schema(self, schema: Schema) -> Schema:
        fields = [item for item in schema.fields if self._has(item.name, schema)]
        return schema.replace(fields) if schema.weight else replace(schema.replace([*fields, Field(name=_BAG, kind="number", dtype="double")]), weight=_BAG)

    def _has(self, name: str, schema: Schema) -> bool:
        return self.columns is None or name in self.columns or name in schema.roles

    def batch(self, batch: Batch) -> Batch:
        counts = np.searchsorted(_POISSON, uniform(self.seed, f"bag {self.number}", batch.positions)).astype(np.float64)
        if batch.weight is not None:
            counts *= batch.weight
        schema, drawn = self.schema(batch.schema), counts > 0
        columns = {item.name: batch.columns[item.name] for item in schema.fields if item.name in batch.columns} | {schema.weight: Numbers(counts)}
        return batch.with_columns(schema, columns).where(drawn)

    def asked(self, batch: Batch) -> Batch:
        if self.columns is None:
            return batch
        fields = [item for item in batch.schema.fields if self._has(item.name, batch.schema)]
        return batch.with_columns(batch.schema.replace(fields), {item.name: batch.columns[item.name] for item in fields if item.name in batch.columns})


@dataclass(frozen=True)
class _SeenFold(Fold):
    fold: Fold
    view: View

    def __post_init__(self) -> None:
        if self.fold.keep is not None:
            object.__setattr__(self, "keep", self.fold.keep)

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        return self.fold.traits

    def see(self, batch: Any, given: Mapping[str, Any]) -> Any:
        seen = self.view.batch(batch)
        return self.fold.see(seen, given) if seen.rows else seen

    def init(self, given: Mapping[str, Any]) -> State:
        return self.fold.init(given)

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        return self.fold.update(state, batch, given) if batch.rows else state

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return self.fold.merge(left, right, given)


@dataclass(frozen=True)
class Seen(Learner):
    """A learner that sees rows through a view. name: of the part, in its errors."""

    name: str
    view: View
    learner: Learner

    def _told(self, error: OutgrowError) -> OutgrowError:
        return type(error)(f"{error.what} (in the part {self.name!r})", where=error.where, allowed=error.allowed, todo=error.todo)

    def _context(self, context: Context) -> Context:
        return replace(context, schema=self.view.schema(context.schema))

    def begin(self, context: Context, start: State | None = None) -> State:
        try:
            return self.learner.begin(self._context(context), start)
        except OutgrowError as error:
            raise self._told(error) from error

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return tuple(map(self._viewed, self.learner.ask(self._context(context), carry)))

    def _viewed(self, item: Pass) -> Pass:
        return replace(item, fold=_SeenFold(item.fold, self.view), columns=None, inputs=None, again=tuple(map(self._viewed, item.again)))

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        try:
            return self.learner.tell(self._context(context), carry, closed)
        except OutgrowError as error:
            raise self._told(error) from error

    def finish(self, context: Context, carry: State) -> State:
        try:
            return self.learner.finish(self._context(context), carry)
        except OutgrowError as error:
            raise self._told(error) from error

    def resume(self, context: Context, carry: State) -> State:
        return self.learner.resume(self._context(context), carry)

    def recall(self, context: Context, carry: State, kept: str) -> State:
        return self.learner.recall(self._context(context), carry, kept)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return self.learner.facts(self._context(context), carry)

    def price(self, context: Context) -> Price:
        return self.learner.price(self._context(context))

    def sees(self) -> Rows:
        return self.learner.sees()

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        return self.learner.predict(model, self.view.asked(batch))
