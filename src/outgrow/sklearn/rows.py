"""Checked arrays as a source: a matrix with a target and weights beside it, without the look that a file needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..data.batch import Codes, Column, Dictionary, Field, Numbers, Ragged, Schema
from ..data.blocks import Block, FileInfo
from ..data.memory import DENSE_WIDTH, sparse_type
from ..data.source import Source

__all__ = ["MatrixRows", "Target", "fitting_source", "is_wide", "label_target", "number_target", "reading_schema", "reading_source"]

_BLOCK = 65536


def is_wide(matrix: Any) -> bool:
    """Whether a matrix becomes one sparse column: `outgrow.read`'s rule."""
    return not isinstance(matrix, np.ndarray) and matrix.shape[1] > DENSE_WIDTH


class MatrixRows:
    """A C-ordered matrix of floats, or a csr matrix, as the store behind a source; other columns lie beside it.

    fields : those of the matrix, a field a column, or one sparse field for a wide csr matrix.
    """

    format = "memory"
    cuttable = True

    def __init__(self, matrix: Any, fields: Sequence[Field], beside: Mapping[str, tuple[Column, Any]]) -> None:
        self.matrix, self.wide = matrix, len(fields) == 1 and fields[0].kind == "sparse"
        if self.wide:
            self._entries = matrix.indices.astype(np.int32, copy=False), matrix.data.astype(np.float64, copy=False)
        self._places = {item.name: j for j, item in enumerate(fields)}
        self._beside = {name: column for name, (column, _) in beside.items()}
        kind = sparse_type() if self.wide else pa.from_numpy_dtype(matrix.dtype)
        self.raw: dict[str, Any] = dict.fromkeys(self._places, kind) | {name: arrow for name, (_, arrow) in beside.items()}
        rows, size = matrix.shape[0], matrix.nbytes if isinstance(matrix, np.ndarray) else matrix.data.nbytes + matrix.indices.nbytes
        self.files: tuple[FileInfo, ...] = (FileInfo(name="", bytes=size, rows=rows, cuts=(0, rows)),)

    def check(self) -> None:
        """Rows in memory have no version of their own."""

    def sample(self, rows: int) -> Any:
        raise NotImplementedError("the schema of checked arrays is known; nothing has to be sampled")

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """Blocks of at most 65 536 rows; columns of a numpy matrix are views of it."""
        end = self.matrix.shape[0] if stop is None else stop
        step = _BLOCK if self.wide else max(1024, min(_BLOCK, limit // max(1, 8 * self.matrix.shape[1])))
        for low in range(start, end, step):
            high = min(end, low + step)
            some = None if self.wide else self.matrix[low:high] if isinstance(self.matrix, np.ndarray) else self.matrix[low:high].toarray()
            columns: dict[str, Column] = {}
            for item in fields:
                if item.name in self._beside:
                    columns[item.name] = _part(self._beside[item.name], low, high)
                else:
                    columns[item.name] = self._ragged(low, high) if some is None else Numbers(some[:, self._places[item.name]])
            yield Block(low, high - low, columns, "")

    def _ragged(self, low: int, high: int) -> Ragged:
        return Ragged(self.matrix.indptr[low : high + 1].astype(np.int64), *self._entries, self.matrix.shape[1])


def _part(column: Column, low: int, high: int) -> Column:
    return Codes(column.codes[low:high], column.dictionary) if isinstance(column, Codes) else Numbers(column.values[low:high])  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a fit as a column, its Arrow type, and its classes as plain values; a number has none."""

    column: Column
    arrow: Any
    classes: tuple[Any, ...] = ()

    @property
    def task(self) -> str:
        return {0: "number", 2: "binary"}.get(len(self.classes), "classes")


def number_target(y: Any) -> Target:
    return Target(Numbers(np.asarray(y, np.float64)), pa.float64())


def label_target(y: Any, labels: Any) -> Target:
    """Classes as `outgrow.read` would name them: numbers stay numbers (whole floats become ints), all else is text."""
    if y.dtype.kind in "biuf":
        names = labels.tolist()
        whole = [int(name) if isinstance(name, float) and name.is_integer() else name for name in names]
        return Target(Numbers(np.ascontiguousarray(y)), pa.from_numpy_dtype(y.dtype), tuple(whole))
    texts = [str(name) for name in labels.tolist()]
    codes = np.searchsorted(labels, y).astype(np.int32)
    return Target(Codes(codes, Dictionary(pa.array(texts, pa.string()))), pa.string(), tuple(texts))


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _fields(matrix: Any, names: Sequence[str] | None) -> tuple[Field, ...]:
    if is_wide(matrix):
        return (Field(name="x", kind="sparse", dtype=f"sparse[{matrix.shape[1]}]"),)
    dtype = "float" if matrix.dtype == np.float32 else "double"
    return tuple(Field(name=name, kind="number", dtype=dtype) for name in ([f"x{j}" for j in range(matrix.shape[1])] if names is None else names))


def fitting_source(matrix: Any, names: Sequence[str] | None, target: Target | None, weight: Any) -> Source:
    """The source of a fit. names: of the columns, where they have some; weight: float64 (n,) or None."""
    inputs = _fields(matrix, names)
    taken = {item.name for item in inputs}
    roles: dict[str, str] = {}
    fields, beside = list(inputs), {}
    if target is not None:
        roles["target"] = name = _free("target", taken)
        kind = "category" if isinstance(target.column, Codes) else "number"
        fields.append(Field(name=name, kind=kind, dtype=str(target.arrow), distinct=len(target.classes), values=target.classes))  # type: ignore[arg-type]
        beside[name] = target.column, target.arrow
    if weight is not None:
        roles["weight"] = name = _free("weight", taken)
        fields.append(Field(name=name, kind="number", dtype="double"))
        beside[name] = Numbers(weight), pa.float64()
    schema = Schema(fields=tuple(fields), **roles, task=target.task if target is not None else "")  # type: ignore[arg-type]
    return Source(MatrixRows(matrix, inputs, beside), schema)


def reading_schema(source: Source) -> Schema:
    """What rows to score are read by: the inputs alone, and class numbers in place of classes."""
    schema = source.schema
    return Schema(fields=schema.inputs, labels=tuple(range(len(schema.classes))))


def reading_source(matrix: Any, schema: Schema) -> Source:
    return Source(MatrixRows(matrix, schema.fields, {}), schema)
