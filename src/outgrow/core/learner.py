"""The contract: a fold reads rows, a learner asks for folds, and nothing here knows where they run.

A **fold** turns batches into a state (`init`, `update`) and two states into one (`merge`). A **learner** is a
frozen dataclass of hyper-parameters; all that changes while it learns is the **carry**, a state. One round:
`ask(carry)` says which passes over the rows are wanted, an engine folds them, `tell(carry, states)` gives the
next carry. Both are pure functions of the carry, so a run stops and goes on between any two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from .state import State

__all__ = ["ALL", "SHARDS", "Batch", "Context", "Cover", "Feature", "Fold", "Learner", "Pass", "Price", "Rows", "Sink", "Source", "Traits"]


class Batch(Protocol):
    """Some rows, in order: what core needs to know of one. `outgrow.data.batch.Batch` is the real thing."""

    @property
    def rows(self) -> int: ...
    @property
    def kept(self) -> State | None: ...
    @property
    def positions(self) -> npt.NDArray[np.int64]: ...
    def where(self, mask: npt.NDArray[np.bool_]) -> Batch: ...
    def with_kept(self, kept: State) -> Batch: ...
    def equals(self, column: str, value: object) -> npt.NDArray[np.bool_]: ...


class Source(Protocol):
    """Rows that can be read from any position; how they are stored is its own business.

    `content` is a cheap fingerprint of what is stored ("" where there is none: rows in memory).
    """

    @property
    def rows(self) -> int: ...
    @property
    def content(self) -> str: ...
    @property
    def schema(self) -> Any: ...
    def read(self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None = None) -> Iterator[Batch]: ...
    def take(self, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> Batch: ...
    def check(self) -> None:
        """Raise BadInput where what is stored is no longer what `content` was taken of."""


class Sink(Protocol):
    """Where the columns that a fold emits go: one part a lane, then all parts at once or none."""

    def prepare(self) -> None:
        """Raise StorageError, before any work, where nothing can be written."""

    def part(self, lane: int) -> Any:
        """A context manager with ``write(columns)``; leaving it without an error makes the part whole, by rename."""

    def commit(self, lanes: int) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What is known of a fold's `merge`; selects which laws apply and what an engine may do.

    elementwise: merge adds arrays. order_free: any order and any cut gives the same bits (integers). chain: one
    lane only. bounded: the state does not grow with the rows.
    """

    elementwise: bool = False
    order_free: bool = False
    chain: bool = False
    bounded: bool = True


class Fold:
    """One pass over rows. Subclasses are frozen dataclasses.

    `update` may consume its state and `merge` its left; right, batch, given and kept are read-only. `see` changes a
    batch before all else. `keep`, where it is defined, steps what lives beside one batch between rounds, and runs before
    `update`, which reads `batch.kept`. `emit`, where it is defined, gives the columns that the pass's sink takes.

    A state, `given` and the carry are flat dicts of numpy arrays, whatever their names. What a batch offers is told at `Learner`.
    """

    traits: ClassVar[Traits] = Traits()
    keep: ClassVar[Any] = None  # keep(kept: State | None, batch, given) -> State
    emit: ClassVar[Any] = None  # emit(batch, given) -> mapping of columns
    encoded: ClassVar[bool] = False  # True: reads nothing of a batch but its design, target, weight and positions, which workers may then keep between rounds
    beside: ClassVar[bool] = False  # True: once something is kept beside a batch, reads nothing else, and of the batch its `rows` and `kept` alone

    def see(self, batch: Any, given: Mapping[str, Any]) -> Any:
        """The batch as keep, update and emit read it; features work here."""
        return batch

    def init(self, given: Mapping[str, Any]) -> State:
        raise NotImplementedError

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        raise NotImplementedError

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Cover:
    """Which rows each lane of a pass takes, in which order.

    shards: lane s is shard s. chains: shard s belongs to lane s mod `lanes`, in order; `start` and `stop` count
    batches of each chain (stop None: to its end). shuffled: positions [start, stop) of a permutation of the rows
    keyed by `epoch`, as far as there are rows, cut into `lanes` equal runs.
    """

    kind: Literal["shards", "chains", "shuffled"] = "shards"
    lanes: int = 0
    start: int = 0
    stop: int | None = None
    epoch: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Which rows of the source a pass sees: all, those held out for validation, the others, or ``column == value``."""

    kind: Literal["all", "train", "held", "equals"] = "all"
    held: float = 0.0
    column: str = ""
    value: Any = None


SHARDS, ALL = Cover(), Rows()


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One fold over some rows: what a learner asks for.

    given: read-only arrays every lane sees. columns: raw columns to read beside target and weight, features not applied
    (None: all, features applied). inputs: what the fold reads of the schema it sees, features applied (None: all; more may come where a feature cannot
    say what it needs). sink: where `fold.emit` goes.
    kept, version: the name of what `fold.keep` keeps and how many steps it has seen after this pass, whose `given` must tell the last of them.
    again: where no worker shall hold all that rebuilds it, the passes whose folds' `keep` rebuilds it, one after the other, each from its own inputs;
    the `given` of the i-th is recalled as ``kept/i``.
    """

    fold: Fold
    given: State = field(default_factory=dict)
    cover: Cover = SHARDS
    rows: Rows = ALL
    source: str = "train"
    columns: tuple[str, ...] | None = None
    inputs: tuple[str, ...] | None = None
    sink: Sink | None = None
    kept: str = ""
    version: int = 0
    again: tuple[Pass, ...] = ()

    def merge(self, left: State, right: State) -> State:
        return self.fold.merge(left, right, self.given)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a learner may know before it reads rows: schema, counts and cuts (`shard_rows`, `batch_rows`), seed."""

    schema: Any
    rows: int
    shard_rows: int
    batch_rows: int
    seed: int = 0

    @property
    def shards(self) -> int:
        return max(1, -(-self.rows // self.shard_rows))

    @property
    def few(self) -> Cover:
        """Chains for wide states (over 1 MB): at most 16 lanes, so that few states are open at once."""
        return Cover(kind="chains", lanes=min(self.shards, 16))

    @property
    def steps(self) -> int:
        """Batches in the longest shard."""
        return max(1, -(-min(self.rows, self.shard_rows) // self.batch_rows))

    def chain_steps(self, lanes: int) -> int:
        """Batches in the longest of `lanes` chains."""
        return -(-self.shards // lanes) * self.steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What a learner expects to use, for the plan. Sizes in bytes; passes as (fewest, most).

    kept_per_row: of both versions of what is kept beside a row. kept_fresh: what of it a pass makes anew, where it hands on the rest.
    """

    state: int
    given: int = 0
    lanes: int = 0
    passes: tuple[int, int] = (1, 1)
    kept_per_row: int = 0
    kept_fresh: int = 0


class Learner:
    """What a person names and configures. Subclasses are frozen dataclasses whose fields are hyper-parameters.

    Needed are `begin`, `ask`, `tell` and `finish`, and `predict` for whoever predicts; the rest is optional. Arrays belong in
    the carry, never in a field. `version` is raised whenever the same fields would give another model.

    **A batch** offers ``rows``; ``matrix()``, float64 (rows, inputs), a column for each of ``schema.inputs`` (objects with ``name`` and
    ``kind``), NaN where a value is missing; ``target`` (rows,): int32 places in ``schema.classes`` where the target holds classes, float64
    where it is a number (``schema.classes`` is then empty; ``og.read(…, task="number")`` makes it one: few whole numbers are else read as
    classes); ``weight`` (rows,) float64, or None; ``column(name)``; ``place``, for errors. ``context.schema`` is the same schema. Categories and
    texts have no place in `matrix`: behind ``features=(og.Missing(), og.OneHot())`` or ``(og.Hashing(),)`` read ``batch.design`` instead: ``dense`` float64
    (rows, d) and ``slots`` uint32 (rows, k), each a column of the table of ``width`` whose value is 1.

    **Errors**: ``og.BadField(what, where=field)`` for a hyper-parameter, ``og.BadInput(what, where=batch.place, todo=…)`` for rows.

    **The same bits everywhere**: sum rows in any fixed order inside `update`, but let `predict` give each row by itself: ``(x * w).sum(1)``, since
    the last bits of ``x @ w`` follow the number of rows.

    **Checking**: ``outgrow check mypkg:MyLearner`` tries every field with NaN, infinities, huge and negative values, and rows with NaN, infinities and 3e38:
    each must be refused or give a finite model; and a weight column must change the model. It makes up rows with targets of two classes, of three, of numbers, and
    none; a class attribute ``checks`` ("binary", "classes", "number", "none") or a method ``example(self, seed)`` that returns ``og.read(…)`` says which rows suit.

    Examples
    --------
    Ridge regression in one pass:

    >>> import outgrow as og
    >>> def inputs(batch):
    ...     x = batch.matrix()
    ...     if np.isfinite(x).all() and np.abs(x).max(initial=0) < 1e100: return x
    ...     raise og.BadInput("a value is missing or too large", where=batch.place)
    >>> @dataclass(frozen=True)
    ... class Sums(og.Fold):
    ...     def init(self, given): return {"xx": np.zeros((given["width"],) * 2), "xy": np.zeros(given["width"])}
    ...     def update(self, state, batch, given):
    ...         x = inputs(batch)
    ...         wx = x if batch.weight is None else x * batch.weight[:, None]
    ...         return {"xx": state["xx"] + wx.T @ x, "xy": state["xy"] + wx.T @ batch.target}
    ...     def merge(self, left, right, given): return {name: left[name] + right[name] for name in left}
    >>> @dataclass(frozen=True)
    ... class Ridge(og.Learner):
    ...     l2: float = 1e-6
    ...     def __post_init__(self):
    ...         if not 0 < self.l2 < 1e100: raise og.BadField(f"{self.l2} is no penalty", where="l2", allowed="above 0")
    ...     def begin(self, context, start=None):
    ...         if context.schema.classes or not context.schema.target: raise og.BadInput("the target is no number")
    ...         return {"width": np.array(len(context.schema.inputs))}
    ...     def ask(self, context, carry): return () if "w" in carry else (og.Pass(fold=Sums(), given=carry),)
    ...     def tell(self, context, carry, closed):
    ...         w = np.linalg.solve(closed[0]["xx"] + self.l2 * np.eye(int(carry["width"])), closed[0]["xy"])
    ...         if np.isfinite(w).all(): return carry | {"w": w}
    ...         raise og.BadInput("the target has values that are missing or too large")
    ...     def finish(self, context, carry): return {"w": carry["w"]}
    ...     def predict(self, model, batch): return {"prediction": (inputs(batch) * model["w"]).sum(1)}
    >>> rows = og.read({"x": np.arange(8.0), "y": 3 * np.arange(8.0)}, target="y", task="number")
    >>> og.plan(Ridge(), rows, features=(), on="serial").run().model.arrays["w"].round(3).tolist()
    [3.0]
    """

    version: ClassVar[int] = 1
    batch_bytes: ClassVar[int] = 4 << 20  # that a batch decodes to at most, where nobody names its rows; more: batches are few, since each costs the learner something

    def begin(self, context: Context, start: State | None = None) -> State:
        """The first carry; `start` is the arrays of an earlier model (warm start)."""
        raise NotImplementedError

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        """The passes of the next round; () when done."""
        raise NotImplementedError

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        """The carry after a round; `closed` holds one merged state for each pass asked for."""
        raise NotImplementedError

    def finish(self, context: Context, carry: State) -> State:
        """The model's arrays."""
        raise NotImplementedError

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        """Columns for the rows of a batch: a dict of name to array of length ``batch.rows``.

        `outgrow.evaluate` reads ``prediction``: a number, or one of ``batch.schema.classes``. Of classes it also takes ``probability`` (of
        the second of two) or ``probability_<class>``, or ``score`` likewise; without them it knows no log loss and no AUC.
        """
        raise NotImplementedError

    def resume(self, context: Context, carry: State) -> State:
        """Arrays that an exact warm start needs beyond the model; saved beside it, outside the digest."""
        return {}

    def recall(self, context: Context, carry: State, kept: str) -> State:
        """The `given` from which `keep(None, …)` rebuilds what was kept under this name and lost; of a pass with `again`, that of the part named ``kept/i``."""
        return {}

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        """Numbers worth showing after a round (loss, gradient norm)."""
        return {}

    def price(self, context: Context) -> Price:
        return Price(state=1024)

    def widest(self, schema: Any) -> int | None:
        """Most columns of an encoded row, table slots and dense ones, that `begin` takes; None: any. schema: of the rows as they are read."""
        return None

    def sees(self) -> Rows:
        """The rows that features before this learner may be fitted on: all but those it holds out."""
        return ALL

    def replace(self, **changes: Any) -> Any:
        return replace(self, **changes)  # type: ignore[type-var]


class Feature(Learner):
    """A learner whose model changes batches: fitted like any other, then applied inside every batch.

    A feature that needs no fitting keeps `begin`, `ask` and `finish` as they are here.
    """

    def begin(self, context: Context, start: State | None = None) -> State:
        return {}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return ()

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return closed[0]

    def finish(self, context: Context, carry: State) -> State:
        return carry

    def schema(self, fitted: State, schema: Any) -> Any:
        """The schema of the batches that `apply` returns."""
        return schema

    def reads(self, fitted: State, schema: Any, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        """The inputs (of `schema`, before this feature) that `apply` needs to give these alone, whose values are the same then; None: all."""
        return None

    def apply(self, fitted: State, batch: Any, fitting: bool) -> Any:
        """The changed batch. `fitting` is true for rows this feature was fitted on while its successor is fitted."""
        raise NotImplementedError
