"""Rows in memory: Arrow tables (whatever frame they came from), numpy matrices and sparse matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import BadInput
from .batch import Array, Column, Field, Numbers, Ragged
from .blocks import Block, FileInfo, Memo, columns_of, refuse_twice

__all__ = ["DENSE_WIDTH", "MatrixStore", "TableStore", "matrix_columns", "matrix_types", "sparse_type", "table_of"]

DENSE_WIDTH = 256  # a sparse matrix of at most this many columns becomes numeric columns, a wider one a single sparse column
_BLOCK = 65536


def sparse_type() -> Any:
    """The Arrow type of a sparse column."""
    import pyarrow as pa

    return pa.large_list(pa.struct([("index", pa.int32()), ("value", pa.float64())]))


class _Held:
    """What stores in memory share: one nameless file that cannot change."""

    format = "memory"
    cuttable = True
    files: tuple[FileInfo, ...]

    def check(self) -> None:
        """Rows in memory have no version of their own."""


class TableStore(_Held):
    """An Arrow table; its chunks become columns once, and batches are views of them."""

    def __init__(self, table: Any) -> None:
        refuse_twice(table.column_names)
        self.table = table = _without_views(table)
        self.raw: dict[str, Any] = {item.name: item.type for item in table.schema}
        self.files = (FileInfo(name="", bytes=table.nbytes, rows=len(table), cuts=(0, len(table))),)
        self._made: dict[Field, Column] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": {}}

    def sample(self, rows: int) -> Any:
        return _spread(self.table, rows)

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """One block: all rows asked for."""
        for item in fields:
            if item not in self._made:
                found = columns_of(self.table.select([item.name]).combine_chunks(), [item], "", Memo())
                self._made[item] = found[item.name]
        whole = Block(0, len(self.table), {item.name: self._made[item] for item in fields}, "")
        yield whole.cut(start, len(self.table) if stop is None else stop)


class MatrixStore(_Held):
    """A dense or sparse numeric matrix with columns x0, x1, …, and further columns (target, weight) beside it."""

    def __init__(self, matrix: Any, beside: Mapping[str, Any]) -> None:
        import pyarrow as pa

        self.sparse = not isinstance(matrix, np.ndarray)
        self.matrix = matrix.tocsr() if self.sparse else matrix
        if self.sparse and not self.matrix.has_canonical_format:
            self.matrix = self.matrix.copy()
            self.matrix.sum_duplicates()
        rows, self.width = self.matrix.shape
        self.beside = pa.table(dict(beside)) if beside else None
        self.single = self.sparse and self.width > DENSE_WIDTH
        self.raw: dict[str, Any] = matrix_types(self.width, pa.from_numpy_dtype(self.matrix.dtype), self.single)
        self._extra = TableStore(self.beside) if self.beside is not None else None
        if self._extra is not None:
            self.raw.update(self._extra.raw)
            if self.beside is not None and len(self.beside) != rows:
                raise BadInput(f"the target or weight has {len(self.beside)} values for {rows} rows", allowed="one value a row")
        size = self.matrix.data.nbytes + self.matrix.indices.nbytes if self.sparse else self.matrix.nbytes
        self.files = (FileInfo(name="", bytes=size, rows=rows, cuts=(0, rows)),)

    @property
    def widths(self) -> dict[str, int]:
        return {"x": self.width} if self.single else {}

    def sample(self, rows: int) -> Any:
        import pyarrow as pa

        total = self.matrix.shape[0]
        picks = np.unique(np.linspace(0, max(total - 1, 0), min(rows, total)).astype(np.int64))
        some = self.matrix[picks]
        if self.single:
            columns: dict[str, Any] = {"x": pa.nulls(len(picks), sparse_type())}
        else:
            dense = some.toarray() if self.sparse else some
            columns = {f"x{j}": pa.array(dense[:, j]) for j in range(self.width)}
        if self.beside is not None:
            columns.update({name: self.beside.column(name).take(picks) for name in self.beside.column_names})
        return pa.table(columns)

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """Blocks of 65536 rows; columns of a numpy matrix are views of it."""
        end = self.matrix.shape[0] if stop is None else stop
        own = [item for item in fields if self._extra is None or item.name not in self._extra.raw]
        rest = [] if self._extra is None else [item for item in fields if item.name in self._extra.raw]
        step = max(1024, min(_BLOCK, limit // max(1, 8 * self.width))) if not self.single else _BLOCK
        for low in range(start, end, step):
            high = min(end, low + step)
            columns = matrix_columns(self.matrix, low, high, own, self.single)
            if rest and self._extra is not None:
                columns.update(next(self._extra.blocks(0, low, high, rest, limit)).columns)
            yield Block(low, high - low, {item.name: columns[item.name] for item in fields}, "")


def matrix_types(width: int, arrow: Any, single: bool) -> dict[str, Any]:
    """The Arrow types of a matrix's columns."""
    return {"x": sparse_type()} if single else dict.fromkeys((f"x{j}" for j in range(width)), arrow)


def matrix_columns(matrix: Any, low: int, high: int, fields: Sequence[Field], single: bool) -> dict[str, Column]:
    """Rows [low, high) of a numpy or csr matrix as columns: views of a matrix of numbers, or one sparse column."""
    if single:
        offsets = matrix.indptr[low : high + 1].astype(np.int64)
        one = Ragged(offsets, matrix.indices.astype(np.int32, copy=False), matrix.data.astype(np.float64, copy=False), matrix.shape[1])
        return {item.name: one for item in fields}
    some = matrix[low:high] if isinstance(matrix, np.ndarray) else matrix[low:high].toarray()
    picks = [int(item.name[1:]) for item in fields]
    return {item.name: Numbers(_typed(some[:, pick], item)) for pick, item in zip(picks, fields, strict=True)}


def _without_views(table: Any) -> Any:
    """String views (polars) as plain strings, which every Arrow kernel takes."""
    import pyarrow as pa

    for place, item in enumerate(table.schema):
        if pa.types.is_string_view(item.type):
            table = table.set_column(place, item.name, table.column(place).cast(pa.large_string()))
    return table


def _typed(values: Array, field: Field) -> Array:
    kind = np.dtype({"float": "float32", "double": "float64", "halffloat": "float16"}.get(field.dtype, field.dtype))
    return values if values.dtype == kind else values.astype(kind)


def _spread(table: Any, rows: int) -> Any:
    """About this many rows of a table: 8 runs at even distances."""
    import pyarrow as pa

    if len(table) <= rows:
        return table
    each = rows // 8
    starts = np.linspace(0, len(table) - each, 8).astype(int)
    return pa.concat_tables([table.slice(int(start), each) for start in starts])


def table_of(what: Any) -> Any:
    """Any frame that speaks the Arrow stream protocol, or a dict of arrays, as an Arrow table; None for anything else."""
    import pyarrow as pa

    if isinstance(what, pa.Table):
        return what
    if isinstance(what, pa.RecordBatch):
        return pa.Table.from_batches([what])
    if isinstance(what, Mapping):
        if not what:
            raise BadInput("the dict of columns is empty")
        try:
            return pa.table([_array(value) for value in what.values()], names=[str(name) for name in what])
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise BadInput(f"the columns do not make a table ({str(error).splitlines()[0]})", allowed="1-D arrays of one length") from error
    if not hasattr(what, "__arrow_c_stream__"):
        return None
    try:
        if type(what).__module__.partition(".")[0] == "pandas":
            return pa.Table.from_pandas(what, preserve_index=False).replace_schema_metadata(None)
        return pa.table(what)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise BadInput(f"the frame does not convert to Arrow ({str(error).splitlines()[0]})", todo="Give each column one type, or leave it out.") from error


def _array(values: Any) -> Any:
    """An array of a dict as Arrow; in object arrays None and NaN are missing."""
    import pyarrow as pa

    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    plain = np.asarray(values)
    try:
        return pa.array(plain, from_pandas=plain.dtype == object)
    except OverflowError as error:
        raise BadInput("a column holds an integer beyond 64 bits", todo="Write the column as float64 or as text.") from error
