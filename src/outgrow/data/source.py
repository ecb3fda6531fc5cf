"""A source: rows of files or memory behind one address space, read from any position in batches of exact size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput
from .batch import Batch, Field, Schema
from .blocks import Block, FileInfo, Store, joined, rebatch
from .packed import PackedStore

__all__ = ["Source", "conform", "opened", "read", "source_of"]

LIMIT = 64 << 20


class Source:
    """Rows of all files one after the other, files by relative path; row k is position k.

    Picklable: workers open the files themselves. `limit` is the most bytes a decoded block may take; about two
    blocks are held while reading. It never changes what is read, only in which pieces it is decoded.
    """

    def __init__(self, store: Store, schema: Schema, *, limit: int = LIMIT, content: str | None = None, task: str | None = None) -> None:
        self.store, self.schema, self.limit, self.task = store, schema, limit, task
        self._narrow: dict[tuple[str, ...], Schema] = {}
        self._starts = np.cumsum([0, *(info.rows or 0 for info in store.files)])
        self._content = _content(store) if content is None else content

    @property
    def counted(self) -> bool:
        """True where the number of rows is known without reading them."""
        return all(info.rows is not None for info in self.store.files)

    @property
    def exact(self) -> bool:
        """False where the classes of the target are those of the sample, until the rows are packed."""
        return not self.schema.target or (self.store.format not in ("csv", "jsonl") and all(info.cuts for info in self.store.files))

    def exact_schema(self, values: set[Any]) -> Schema:
        """The schema with the target's task and classes taken from its distinct values in all rows."""
        from .schema import make_schema

        asked = self.schema
        return make_schema(asked.fields, target=asked.target, weight=asked.weight or None, task=self.task, sampled=asked.sampled, values=lambda _: list(values))

    @property
    def rows(self) -> int:
        """How many rows there are. Where the format does not say, the first call reads through every file."""
        if not self.counted:
            self.store.files = tuple(info if info.rows is not None else self._count(index, info) for index, info in enumerate(self.store.files))
            self._starts = np.cumsum([0, *(info.rows for info in self.store.files)])
        return int(self._starts[-1])

    def _count(self, index: int, info: FileInfo) -> FileInfo:
        narrow = min(self.schema.fields, key=lambda item: ("number", "date", "category", "text", "sparse").index(item.kind))
        rows = sum(block.count for block in self.store.blocks(index, 0, None, [narrow], self.limit))
        return replace(info, rows=rows, cuts=(0, rows))

    @property
    def content(self) -> str:
        """A fingerprint of what is stored: names, sizes, times and footers of the files; "" for rows in memory."""
        return self._content

    @property
    def files(self) -> tuple[FileInfo, ...]:
        return self.store.files

    @property
    def bytes(self) -> int:
        """Stored bytes of all files."""
        return sum(info.bytes for info in self.store.files)

    @property
    def cuttable(self) -> bool:
        """True where reading can begin at any position at small cost; where not, pack first."""
        return self.store.cuttable

    @property
    def row_bytes(self) -> int:
        """An estimate of the decoded bytes of one row, all columns."""
        from .parquet import row_bytes

        return sum(row_bytes(item.kind, self.store.raw[item.name]) for item in self.schema.fields)

    @property
    def reading_bytes(self) -> int:
        """About the most heap that one reader of all columns takes: the block in use, the one being decoded, and pages."""
        cuts = [b - a for info in self.store.files for a, b in zip(info.cuts[:-1], info.cuts[1:], strict=True)]
        block = max(cuts) * self.row_bytes if cuts else self.limit
        if self.store.format == "memory":
            return 2 * min(block, 65536 * self.row_bytes)
        if self.store.format != "parquet":
            return 3 * min(block, self.limit)
        return 3 * (block if block <= self.limit else self.limit // 4) + len(self.schema.fields) * (3 << 19)

    def estimate_rows(self) -> int:
        """The number of rows: exact where it is known, else from the sample's bytes a row."""
        if self.counted:
            return self.rows
        known = sum(info.rows or 0 for info in self.store.files)
        unknown = sum(info.bytes for info in self.store.files if info.rows is None)
        return known + int(unknown / max(1.0, getattr(self.store, "bytes_per_row", 100.0)))

    def ids(self, positions: npt.ArrayLike) -> npt.NDArray[np.uint64]:
        """The row ids (uint64: file index << 40 | row in file) of some positions."""
        at = np.asarray(positions, np.int64)
        if len(self.store.files) == 1:
            return at.astype(np.uint64)
        file = np.searchsorted(self._starts, at, side="right") - 1
        found: npt.NDArray[np.uint64] = (file.astype(np.uint64) << np.uint64(40)) | (at - self._starts[file]).astype(np.uint64)
        return found

    def check(self) -> None:
        """Raise BadInput, naming the file, where one has changed since the source was made."""
        self.store.check()

    def fields(self, columns: Sequence[str] | None) -> tuple[Field, ...]:
        """The fields that a read of these columns gives: in the schema's order, with target and weight."""
        if columns is None:
            return self.schema.fields
        for name in {*columns} - {item.name for item in self.schema.fields}:
            _ = self.schema[name]
        wanted = {*columns, *self.schema.roles}
        return tuple(item for item in self.schema.fields if item.name in wanted)

    def read(self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Batches of exactly the rows [start + k·batch_rows, …) up to `stop`, the last one shorter.

        columns: names to read beside target and weight; None for all. Cost: decodes from the nearest cut before
        `start`; views, but for a batch that crosses blocks.
        """
        if not 0 <= start <= stop or batch_rows < 1:
            raise ValueError(f"cannot read rows [{start}, {stop}) in batches of {batch_rows}")
        if stop > self.rows:
            raise ValueError(f"cannot read up to row {stop} of {self.rows}")
        fields = self.fields(columns)
        schema = self._narrowed(columns, fields)
        at = start
        for batch in rebatch(self._blocks(start, stop, fields), start, stop, batch_rows, lambda first, block: self._batch(first, block, schema)):
            at += batch.rows
            yield batch
            del batch  # its block goes before the next one is decoded
        if at != stop:
            raise BadInput(f"rows end at {at}, {stop} were expected", where=self.store.files[-1].name, todo="A file has changed or is damaged; read the source again.")

    def _narrowed(self, columns: Sequence[str] | None, fields: tuple[Field, ...]) -> Schema:
        """The schema of some columns: the same object every time, so that what features make of it is made once."""
        if columns is None:
            return self.schema
        return self._narrow.setdefault(tuple(columns), self.schema.replace(fields))

    def _batch(self, start: int, block: Block, schema: Schema) -> Batch:
        ids = self.ids(np.arange(start, start + block.count))
        return Batch(schema=schema, columns=block.columns, start=start, count=block.count, place=block.place, ids=ids)

    def _blocks(self, start: int, stop: int, fields: Sequence[Field]) -> Iterator[Block]:
        for index, first in enumerate(self._starts[:-1].tolist()):
            low, high = max(start - first, 0), min(stop - first, int(self._starts[index + 1]) - first)
            if low < high:
                for block in self.store.blocks(index, low, high, fields, self.limit):
                    yield Block(first + block.start, block.count, block.columns, block.place)
                    del block  # free it before the next one is decoded

    def take(self, positions: npt.ArrayLike, columns: Sequence[str] | None = None) -> Batch:
        """The rows at these positions, in this order: one batch with `picked` set.

        Cost: each row group that holds one of them is decoded once; on a packed source only the rows are touched.
        """
        at = np.asarray(positions, np.int64)
        if at.size and not (int(at.min()) >= 0 and int(at.max()) < self.rows):
            raise IndexError(f"positions must lie in [0, {self.rows})")
        fields = self.fields(columns)
        schema = self.schema if columns is None else self.schema.replace(fields)
        order = np.argsort(at)
        places = at[order]
        cuts = np.unique(np.concatenate([first + np.array(info.cuts or (0, info.rows)) for first, info in zip(self._starts.tolist(), self.store.files, strict=False)]))
        found: list[Block] = []
        runs = np.searchsorted(places, cuts)
        for low, high in zip(runs[:-1].tolist(), runs[1:].tolist(), strict=True):
            if low < high:
                found.extend(self._picked(places[low:high], fields))
        if not found:
            return next(iter(self.read(0, 1, 1, columns))).where(np.zeros(1, np.bool_))
        whole = joined(found)
        back = np.empty(len(at), np.int64)
        back[order] = np.arange(len(at))
        ordered = {name: column.where(back) for name, column in whole.columns.items()} if (order != np.arange(len(at))).any() else whole.columns
        return Batch(schema=schema, columns=ordered, start=int(at[0]), picked=at, count=len(at), place=whole.place, ids=self.ids(at))

    def _picked(self, places: npt.NDArray[np.int64], fields: Sequence[Field]) -> Iterator[Block]:
        """Some rows (ascending, all between two cuts)."""
        if isinstance(self.store, PackedStore):
            index = int(np.searchsorted(self._starts, places[0], side="right")) - 1
            yield from self.store.pick(index, places - self._starts[index], fields)
            return
        for block in self._blocks(int(places[0]), int(places[-1]) + 1, fields):
            low, high = np.searchsorted(places, [block.start, block.start + block.count])
            if low < high:
                rows = places[low:high] - block.start
                yield Block(block.start, len(rows), {name: column.where(rows) for name, column in block.columns.items()}, block.place)

    def share(self, folder: Path | str) -> Source:
        """The same rows from files below `folder`, for workers to map; rows in files are shared as they are."""
        from .packed import share

        return share(self, folder) if self.store.format == "memory" else self

    def __repr__(self) -> str:
        known = f"{self._starts[-1]} rows" if self.counted else "rows not counted yet"
        return f"Source({self.store.format}, {len(self.store.files)} files, {known}, target={self.schema.target!r})"


def _content(store: Store) -> str:
    if store.format == "memory":
        return ""
    facts = [(info.name, info.bytes, info.stamp, info.footer) for info in store.files]
    return hashlib.sha256(repr((store.format, facts)).encode()).hexdigest()


def read(
    what: Any,
    *,
    target: Any = None,
    weight: Any = None,
    kinds: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    task: str | None = None,
    key: str | Sequence[str] = (),
    folder: str | Path = "",
) -> Source:
    """A source: files in any format, or rows in memory.

    Parameters
    ----------
    what : path, glob, folder, URL, list of these; or a dict of arrays, numpy matrix, scipy.sparse matrix, pandas,
        polars or pyarrow frame; or a Spark DataFrame
        Formats: Parquet, CSV (also .csv.gz), Arrow IPC, JSON lines (also .gz), svmlight. Folders named key=value
        give a column each.
    target, weight : str or array, optional
        The column to learn, and the one that says how much a row counts. For a matrix they are arrays. A whole number
        is the label of a frame's column, as in `drop` and `kinds`.
    kinds : dict of column to "number", "category", "text" or "date", optional
        Overrules what is inferred.
    drop : sequence of str
        Columns to leave out.
    task : "binary", "classes" or "number", optional
        Overrules what is inferred from the target.
    key, folder : str, optional
        For a Spark DataFrame that is more than a scan of Parquet files: the columns that tell its rows apart, and where they
        are written once in the order of that key.

    Raises
    ------
    BadInput
        For what is missing, empty, damaged, of mixed formats or schemas, and for a target that does not vary.

    Examples
    --------
    >>> import numpy as np
    >>> source = read({"x": np.arange(4.0), "y": np.array(["a", "b", "a", "b"])}, target="y")
    >>> source.rows, source.schema.classes
    (4, ('a', 'b'))
    """
    return opened(what, target=target, weight=weight, kinds=kinds or {}, drop=drop, task=task, key=key, folder=folder)


def opened(
    what: Any,
    *,
    target: Any = None,
    weight: Any = None,
    kinds: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    task: str | None = None,
    key: str | Sequence[str] = (),
    folder: str | Path = "",
    inferred: bool = True,
) -> Source:
    """As `read`. inferred: False where a model's schema will say the kinds, so that there is nothing to warn of in what they were taken for."""
    from .formats import open_store
    from .spark_frame import files_of, is_frame

    if is_frame(what):
        what, absent = files_of(what, key=key, folder=str(folder))
        drop = [*drop, *absent]
    elif key or folder:
        raise BadField("only Spark DataFrames are written in the order of a key", where="key" if key else "folder", todo="Leave key and folder out.")
    store, target, weight = open_store(what, _label(target), _label(weight))
    named = {_label(name): kind for name, kind in (kinds or {}).items()}
    return source_of(store, target=target, weight=weight, kinds=named, drop=[_label(name) for name in drop], task=task, inferred=inferred)


def _label(name: Any) -> Any:
    """A column's label as its name: a frame's may be a whole number."""
    return str(int(name)) if isinstance(name, int | np.integer) and not isinstance(name, bool) else name


def source_of(
    store: Store, *, target: str | None, weight: str | None, kinds: Mapping[str, str], drop: Sequence[str], task: str | None, inferred: bool = True
) -> Source:
    from .classes import distinct
    from .schema import SAMPLE_ROWS, infer_fields, make_schema, warn_of_wide
    from .strays import warn_of_strays
    from .text import TextStore

    sample = store.sample(SAMPLE_ROWS)
    if len(sample) == 0:
        raise BadInput("there are no rows", where=store.files[0].name, todo="Check what was written.")
    fields = infer_fields(sample, kinds=kinds, drop=drop, widths=getattr(store, "widths", None), where=store.files[0].name)
    schema = make_schema(fields, target=target, weight=weight, task=task, sampled=len(sample), values=lambda field: distinct(store, field, sample, task))
    free = [item for item in schema.fields if item.name not in kinds]
    warn_of_wide(sample, free)
    if inferred and isinstance(store, TextStore) and store.format == "csv":
        warn_of_strays(store, sample, free, stacklevel=5)
    return Source(store, schema, task=task)


def conform(schema: Schema, source: Source) -> Source:
    """The source, read with a model's schema.

    Columns the model does not know are left out; target and weight may be absent (then the result has none).
    A weight that the source names takes the place of the model's, unless the model learned from that column: then it
    stays an input, and the result has no weight. Numbers keep the width they are stored in.

    Raises
    ------
    BadInput
        Naming the first column that is missing or holds another type than the model learned from; or a weight that is
        the model's target.
    """
    named = source.schema.weight or (schema.weight if schema.weight in source.store.raw else "")
    if named and named == schema.target:
        raise BadInput(f"{named!r} cannot be target and weight at once", where=_where(source))
    weight = "" if named in schema.names() else named
    sample = source.store.sample(1000)
    fields = []
    for item in schema.fields:
        if item.name and item.name == schema.weight != weight:
            continue
        if item.name not in source.store.raw:
            if item.name in schema.roles:
                continue
            raise BadInput(
                f"the column {item.name!r} is missing, and the model was trained with it",
                where=_where(source),
                allowed=", ".join(source.store.raw),
                todo="Add the column (it may be empty), or train a model without it.",
            )
        fields.append(_field(item, source, sample.column(item.name)))
    target = schema.target if schema.target in source.store.raw else ""
    if weight and weight != schema.weight:
        fields.append(source.schema[weight])
    wanted = replace(schema, fields=tuple(fields), target=target, weight=weight, labels=schema.classes)
    return Source(source.store, wanted, limit=source.limit, content=source.content, task=source.task)


def _where(source: Source) -> str:
    return source.store.files[0].name or "the rows in memory"


def _field(item: Field, source: Source, column: Any) -> Field:
    """The field as it is read here, or BadInput where the type has changed."""
    import pyarrow as pa

    from .columns import column_of, storage_type

    raw = source.store.raw[item.name]
    value = raw.value_type if pa.types.is_dictionary(raw) else raw
    plain = pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_boolean(value) or pa.types.is_decimal(value)
    if item.kind == "number" and plain:
        return replace(item, dtype=str(storage_type("number", value)))
    strings = storage_type("category", value) == pa.string() and not pa.types.is_temporal(value)
    fits = {
        "number": strings or pa.types.is_null(value) or pa.types.is_temporal(value),
        "date": strings or pa.types.is_temporal(value) or pa.types.is_null(value),
        "category": not getattr(source.store, "typed", True) or (strings if item.dtype == "string" else not strings),
        "text": strings,
        "sparse": pa.types.is_large_list(value),
    }[item.kind]
    drift = BadInput(
        f"the column {item.name!r} is {raw} here, the model was trained with {item.kind} ({item.dtype})",
        where=_where(source),
        todo="Write the column as it was in training, or train again.",
    )
    if not fits:
        raise drift
    if item.kind not in ("text", "sparse"):
        try:
            column_of(column, item)
        except BadInput as error:
            raise drift from error
    return item
