"""A model: data, not code. What was learned, the columns it reads, and how it was made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import BadFile
from ..core.job import describe
from ..core.learner import Learner
from ..core.run import one_thread
from ..core.state import State, digest
from .batch import Schema
from .modelfile import read_model, write_model

__all__ = ["Model", "build", "open_model"]

_BATCH = 1 << 15


@dataclass(eq=False)
class Model:
    """A learner with its arrays and the schema it was fitted on.

    Equal to itself alone: whether two models learned the same is for their `digest` to say.

    Parameters
    ----------
    learner : Learner
        With its features; frozen.
    schema : Schema
        Of the source it was fitted on.
    arrays : dict of arrays
        What `digest` is taken of.
    resume : dict of arrays
        What an exact warm start needs beyond that.
    made : dict
        How it was made: job id, source, rows, plan, measured time and memory. JSON values.
    """

    learner: Learner
    schema: Schema
    arrays: State
    resume: State = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the arrays, as 64 hex digits."""
        return digest(self.arrays)

    @property
    def start(self) -> State:
        """What `plan(…, start=model)` goes on from."""
        return {**self.arrays, **self.resume}

    def save(self, path: Path | str) -> None:
        """Write the model, whole or not at all, to a path or an ``hdfs://`` address. Raises StorageError."""
        from .schema import schema_to_json

        header = {"learner": describe(self.learner), "schema": schema_to_json(self.schema), "made": self.made}
        if str(path).startswith("hdfs://"):
            from .hdfs import write_whole

            with tempfile.TemporaryDirectory() as folder:
                write_model(Path(folder) / "model", header, self.arrays, self.resume)
                write_whole(str(path), [(Path(folder) / "model").read_bytes()])
        else:
            write_model(path, header, self.arrays, self.resume)

    def reads(self, what: Any) -> Any:
        """A source of the columns this model was fitted on; a target is optional in it.

        Raises BadInput naming the column where one is missing or has another type.
        """
        from .source import conform

        return conform(self.schema, self.opened(what))

    def opened(self, what: Any, weight: str | None = None) -> Any:
        """A source of all columns of `what`, which may be one already; `weight` names the column that says how much a row counts."""
        from .source import Source, opened

        return what if isinstance(what, Source) else opened(what, weight=weight, inferred=False)

    def batches(self, what: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Each batch of `what` with its predicted columns."""
        source = self.reads(what)
        with one_thread():
            for batch in source.read(0, source.rows, _BATCH):
                yield batch, self.learner.predict(self.arrays, batch)

    def predict(self, what: Any) -> Any:
        """Predictions for every row of a frame, table, array, path or source, in its order.

        Returns
        -------
        pyarrow.Table
            One row a row of `what`: for classes ``prediction`` and ``probability`` (or ``probability_<class>``); for
            numbers ``prediction``; for clusters ``cluster`` and ``distance``.
        """
        import pyarrow as pa

        parts = [{name: np.asarray(column) for name, column in columns.items()} for _, columns in self.batches(what)]
        if not parts:
            return pa.table({})
        return pa.table({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def build(data: Any, resolve: Callable[[str], type], depth: int = 64) -> Any:
    """The inverse of `describe`; `resolve` gives the class for a type name, or raises. BadFile for what `describe` would not have written."""
    if not depth:
        raise BadFile("a description in the file is nested too deeply")
    if isinstance(data, list):
        return tuple(build(item, resolve, depth - 1) for item in data)
    if not isinstance(data, dict):
        return data
    if set(data) != {"type", "version", "fields"}:
        return {key: build(value, resolve, depth - 1) for key, value in data.items()}
    if not isinstance(data["type"], str) or not isinstance(data["fields"], dict):
        raise BadFile("a learner in the file is not described by type, version and fields")
    kind = resolve(data["type"])
    if data["version"] != getattr(kind, "version", 1):
        known = getattr(kind, "version", 1)
        raise BadFile(f"{data['type']} version {data['version']} wrote this file; here is version {known}", todo="Use the release that wrote it, or fit again.")
    known = {f.name for f in fields(kind)}
    if set(data["fields"]) != known:
        raise BadFile(f"{data['type']} has the fields {sorted(known)}, the file names {sorted(data['fields'])}")
    values = {key: build(value, resolve, depth - 1) for key, value in data["fields"].items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise BadFile(f"the fields of {data['type']} in the file are refused: {error}") from error


def open_model(path: Path | str, resolve: Callable[[str], type]) -> Model:
    """Read a model file; `resolve` gives the class for a type name. Raises BadInput, BadFile."""
    if str(path).startswith("hdfs://"):
        from .hdfs import read_whole

        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model").write_bytes(read_whole(str(path)))
            return _opened(Path(folder) / "model", str(path), resolve)
    return _opened(Path(path), str(path), resolve)


def _opened(path: Path, named: str, resolve: Callable[[str], type]) -> Model:
    """The model of a local file; `named` is what errors call it."""
    from .schema import schema_from_json

    try:
        header, arrays, resume = read_model(path)
    except BadFile as error:
        todo = error.todo or "Is it a model of outgrow? `outgrow fit … --out FILE` writes one; a damaged one has to be copied again."
        raise BadFile(error.what, where=(error.where or named).replace(str(path), named), allowed=error.allowed, todo=todo) from None
    try:
        learner = build(header["learner"], resolve)
        schema = schema_from_json(header["schema"])
    except BadFile as error:
        raise BadFile(error.what, where=(error.where or named).replace(str(path), named), allowed=error.allowed, todo=error.todo) from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadFile(f"the header does not describe a learner ({error})", where=named) from None
    if not isinstance(learner, Learner) or not isinstance(header["made"], dict):
        raise BadFile("the header does not describe a learner and how it was made", where=named)
    return Model(learner, schema, arrays, resume, header["made"])
