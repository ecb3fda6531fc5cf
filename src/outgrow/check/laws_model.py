"""Laws of what comes out and what goes in: fields, models, predictions, and rows that cannot be learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..core.errors import OutgrowError, Refused
from ..core.job import Job, describe
from ..core.learner import Feature
from ..core.state import State, digest
from ..data.batch import Batch, Numbers
from ..data.model import build
from ..data.modelfile import read_model, write_model
from .cases import Case
from .data import rows_of
from .law import Broken, NotApplicable, broken_unless_same, needs
from .replay import follow, freeze, fresh, frozen

__all__ = ["MODEL_LAWS"]

_SHORT = 200  # rows on which bad values are tried: they are many
_HUGE = 10**9  # constructed, never trained: it may be a sound number of rounds


def _unsound(kind: str) -> Iterator[tuple[Any, bool]]:
    """Values for a field of this annotation, and whether to train with them where they are accepted."""
    if "float" in kind:
        yield from ((np.nan, True), (-1.0, True), (np.inf, True), (-np.inf, True), (1e300, True))
    elif "int" in kind:
        yield from ((-1, True), (0, True), (np.nan, True), (-_HUGE, True), (_HUGE, False))
    elif kind == "str" or "Literal" in kind:
        yield "no such thing", True


def bad_fields_are_named(case: Case) -> None:
    """A hyper-parameter out of range is refused by its name: catches fields that nobody checked and that end as NaN."""
    tried = 0
    for item in dataclasses.fields(case.checked):  # type: ignore[arg-type]
        for value, train in _unsound(str(item.type)) if item.init else ():
            tried += 1
            said = f"{item.name}={value!r}"
            try:
                learner = case.with_checked(case.checked.replace(**{item.name: value}))
                if train:
                    _trained(case, dataclasses.replace(case.job, learner=learner, source=_Spoiled(case.source)), said)
            except OutgrowError as error:
                if item.name not in str(error):
                    raise Broken(f"{said} is refused without naming the field: {error}") from None
            except Broken:
                raise
            except Exception as error:  # noqa: BLE001 anything else is the mistake this law is about
                raise Broken(f"{said} is not refused by name but ends in {type(error).__name__}: {error}") from None
    needs(tried, "the learner has no numeric or named fields")


def _trained(case: Case, job: Job, said: str) -> None:
    with np.errstate(all="ignore"):
        model = follow(job, most=2 * len(case.trace.turns) + 5).model
    for name, array in model.items():
        usual = case.trace.model.get(name)
        if array.dtype.kind == "f" and not np.isfinite(array).all() and (usual is None or np.isfinite(usual).all()):
            raise Broken(f"{said} is accepted, and the model's {name!r} is not finite")


def _types(thing: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(thing):
        yield type(thing)
        for item in dataclasses.fields(thing):
            yield from _types(getattr(thing, item.name))
    elif isinstance(thing, (tuple, list)):
        for one in thing:
            yield from _types(one)


def model_survives_its_file(case: Case) -> None:
    """A model that is saved and loaded is the same one: catches fields that are no plain values, and arrays that a file cannot hold."""
    path = case.folder / "law.model"
    known = {_name(kind): kind for kind in _types(case.learner)}
    write_model(path, {"learner": describe(case.learner), "schema": "", "made": {}}, fresh(case.trace.model), case.learner.resume(case.job.context, case.trace.carry))
    header, arrays, _ = read_model(path)
    broken_unless_same(case.trace.model, arrays, "a model that is read again has other arrays")
    learner = build(header["learner"], known.__getitem__)
    if learner != case.learner:
        raise Broken(f"a learner that is read again is another one: {learner!r} instead of {case.learner!r}")
    rows = case.source.rows
    _compare(_predicted(case, case.trace.model, rows, case.learner), _predicted(case, arrays, rows, learner), "a model that is read again predicts otherwise")


def _name(kind: type) -> str:
    return kind.__name__ if kind.__module__.startswith("outgrow.") else f"{kind.__module__}:{kind.__qualname__}"


def _predicted(case: Case, model: State, batch_rows: int, learner: Any) -> dict[str, Any]:
    try:
        parts = [learner.predict(model, batch) for batch in case.source.read(0, case.source.rows, batch_rows)]
    except Refused as reason:
        raise NotApplicable(f"it predicts nothing: {reason.what}") from None
    for name, column in parts[0].items():
        if len(np.asarray(column)) != min(batch_rows, case.source.rows):
            raise Broken(f"predict gives {len(np.asarray(column))} values in {name!r} for {batch_rows} rows")
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def _compare(left: dict[str, Any], right: dict[str, Any], mistake: str) -> None:
    if set(left) != set(right):
        raise Broken(f"{mistake}: columns {sorted(left)}, and then {sorted(right)}")
    for name, a in left.items():
        b = right[name]
        same = a.tolist() == b.tolist() if a.dtype.kind in "OUSM" else digest({name: a}) == digest({name: b})
        if not same:
            row = int(np.flatnonzero((a != b).reshape(len(a), -1).any(axis=1))[0]) if a.shape == b.shape and (a != b).any() else 0
            raise Broken(f"{mistake}: {name!r} of row {row} is {a[row]!r}, and then {b[row]!r}")


def predict_by_any_batch(case: Case) -> None:
    """A row's prediction is its own: catches products whose last bits follow the number of rows, statistics of the batch, and a predict that writes to the model."""
    model = frozen(case.trace.model)
    whole = _predicted(case, model, case.source.rows, case.learner)
    for batch_rows in (1, 7, 64):
        mistake = f"predicted in batches of {batch_rows} rows instead of all at once ((x * w).sum(1) gives each row by itself; the last bits of x @ w follow the number of rows)"
        _compare(whole, _predicted(case, model, batch_rows, case.learner), mistake)
    for batch in case.source.read(0, 32, 32):
        loose = fresh(model)
        case.learner.predict(loose, freeze(batch))
        broken_unless_same(model, loose, "predict changes the model")


class _Spoiled:
    """The beginning of a source, in which some rows of a column hold another value."""

    def __init__(self, source: Any, column: str = "", rows: range = range(0), value: float = 0.0) -> None:
        self.source, self.column, self.at, self.value = source, column, rows, value
        self.rows, self.content, self.schema = min(source.rows, _SHORT), "", source.schema

    def check(self) -> None:
        return

    def _spoil(self, batch: Batch) -> Batch:
        column = batch.columns.get(self.column)
        hit = (batch.positions >= self.at.start) & (batch.positions < self.at.stop)
        if not isinstance(column, Numbers) or not hit.any():
            return batch
        values = column.values.copy()
        values[hit] = self.value
        return dataclasses.replace(batch, columns={**batch.columns, self.column: Numbers(values, column.valid)})

    def read(self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        return map(self._spoil, self.source.read(start, stop, batch_rows, columns))

    def take(self, positions: Any, columns: Sequence[str] | None = None) -> Batch:
        return self._spoil(self.source.take(positions, columns))


def nothing_turns_silently_to_nan(case: Case) -> None:
    """NaN, inf or huge values in a column, target or weight give an error or a finite model: catches sums that swallow them."""
    fields = getattr(case.source.schema, "fields", ())
    floats = [item.name for item in fields if item.kind == "number" and item.dtype in ("double", "float")]
    needs(floats, "the rows have no columns of floats")
    for name in dict.fromkeys((floats[0], floats[-1], *case.source.schema.roles)):
        if name not in floats:
            continue
        for value, rows in ((np.nan, range(3, 4)), (np.inf, range(_SHORT - 1, _SHORT)), (-np.inf, range(_SHORT // 2)), (3e38, range(3, 9)), (np.nan, range(_SHORT))):
            said = f"{name}={value} in {'one row' if len(rows) == 1 else 'many rows'}"
            job = dataclasses.replace(case.job, source=_Spoiled(case.source, name, rows, value))
            _refused_or(said, lambda job=job, said=said: _trained(case, job, said))  # type: ignore[misc]


def _refused_or(said: str, call: Callable[[], None]) -> None:
    try:
        call()
    except OutgrowError:
        return
    except Broken:
        raise
    except Exception as error:  # noqa: BLE001 anything else is the mistake this law is about
        raise Broken(f"{said} ends in {type(error).__name__}: {error}") from None


def predictions_are_finite(case: Case) -> None:
    """Rows it accepted get numbers: catches a fit that diverged to NaN and said nothing."""
    needs(not isinstance(case.checked, Feature), "a feature predicts nothing")
    for name, column in _predicted(case, case.trace.model, case.source.rows, case.learner).items():
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column).reshape(len(column), -1).all(axis=1))[0])
            raise Broken(f"{name!r} of row {row} is {column[row].tolist()!r}, on rows it learned from without an error")


def weights_count(case: Case) -> None:
    """A weight column changes the model, or is refused: catches an update that never looks at ``batch.weight``. Of features it is asked of those with ``weighs = True``."""
    needs(not isinstance(case.checked, Feature) or getattr(case.checked, "weighs", False), "a feature need not weigh rows")
    needs(case.columns is not None, "the rows were given, and no column of weights can be added")
    models = []
    for weight in (np.ones(case.columns.num_rows), 1.0 + 2.0 * (np.arange(case.columns.num_rows) % 2)):
        columns = case.columns.drop_columns("w") if "w" in case.columns.column_names else case.columns
        try:
            models.append(follow(dataclasses.replace(case.job, source=rows_of(columns.append_column("w", [weight])))).model)
        except OutgrowError:
            return
    if digest(models[0]) == digest(models[1]):
        raise Broken("rows that weigh 1 and 3 by turns give the model of rows that all weigh 1: use batch.weight in update, or refuse it in begin")


MODEL_LAWS = (bad_fields_are_named, model_survives_its_file, predict_by_any_batch, predictions_are_finite, weights_count, nothing_turns_silently_to_nan)
