"""What every format gives: files with their facts, and blocks of decoded rows; batches are cut from blocks here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..core.errors import BadInput
from .batch import Batch, Codes, Column, Dictionary, Field
from .columns import column_of, common_type, cut, join

__all__ = ["Block", "FileInfo", "Memo", "Store", "columns_of", "joined", "one_schema", "partition_column", "partition_type", "rebatch", "refuse_twice"]


@dataclass(frozen=True, slots=True)
class Block:
    """Decoded rows of one file: `start` is the row in the file, until the source makes it the row in the whole."""

    start: int
    count: int
    columns: Mapping[str, Column]
    place: str

    def cut(self, start: int, stop: int) -> Block:
        if start == 0 and stop == self.count:
            return self
        return Block(self.start + start, stop - start, {name: cut(column, start, stop) for name, column in self.columns.items()}, self.place)

    def apart(self) -> Block:
        """The same rows as copies, which hold no larger block of which they were cut."""
        rows = np.arange(self.count)
        return Block(self.start, self.count, {name: column.where(rows) for name, column in self.columns.items()}, self.place)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileInfo:
    """Facts of one file, from its metadata alone.

    name: relative to the source's root. rows: None where only a pass over the file would tell. stamp: modification
    time or ETag. footer: a hash of the format's own metadata. cuts: rows in front of which reading can begin at
    once, 0 first, `rows` last. parts: values of the hive folders it lies in.
    """

    name: str
    bytes: int
    rows: int | None
    stamp: str = ""
    footer: str = ""
    cuts: tuple[int, ...] = ()
    parts: tuple[tuple[str, str | None], ...] = ()


class Store(Protocol):
    """One format's way to its rows. Picklable: handles are opened again where they are needed.

    raw: the Arrow type of every column, partition columns included. cuttable: reading can begin anywhere at small cost.
    """

    format: str
    files: tuple[FileInfo, ...]
    raw: dict[str, Any]

    @property
    def cuttable(self) -> bool: ...

    def sample(self, rows: int) -> Any:
        """A pyarrow Table of about this many rows, always the same ones."""

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """Rows [start, stop) of file `index` in order, in blocks of about `limit` decoded bytes at most; stop None: to the end."""

    def check(self) -> None:
        """Raise BadInput naming the file where one is no longer what it was when it was read first."""


@dataclass(slots=True)
class Memo:
    """Dictionaries of the block before, so that equal ones are taken again."""

    last: dict[str, Dictionary] = field(default_factory=dict)


def columns_of(table: Any, fields: Sequence[Field], place: str, memo: Memo) -> dict[str, Column]:
    """The columns of an Arrow table or record batch that `fields` name, as columns of their kinds."""
    found: dict[str, Column] = {}
    for item in fields:
        column = column_of(table.column(item.name), item, where=place, before=memo.last.get(item.name))
        found[item.name] = column
        dictionary = getattr(column, "dictionary", None)
        if dictionary is not None:
            memo.last[item.name] = dictionary
    return found


def partition_column(field: Field, value: str | None, count: int, memo: Memo) -> Column:
    """The column of a hive folder: one value for all rows."""
    import pyarrow as pa

    one = pa.array([value], pa.string()).dictionary_encode() if field.kind == "category" else pa.array([value], pa.string())
    column = column_of(one, field, where=field.name, before=memo.last.get(field.name))
    if isinstance(column, Codes):
        memo.last[field.name] = column.dictionary
        return Codes(np.full(count, column.codes[0], np.int32), column.dictionary)
    return column.where(np.zeros(count, np.int64))


def partition_type(values: Sequence[str | None]) -> Any:
    """The Arrow type of a hive folder's values: whole numbers or strings."""
    import pyarrow as pa

    whole = all(value is None or (value.lstrip("-").isdigit() and len(value) < 18) for value in values)
    return pa.int64() if whole and any(value is not None for value in values) else pa.string()


def refuse_twice(names: Sequence[str], where: str = "") -> None:
    """BadInput where two columns of one file or table have the same name."""
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"the column {twice!r} is there twice", where=where, todo="Give each column its own name.")


def one_schema(schemas: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The columns that all files share; numbers of several widths take the wider type."""
    for name, schema in schemas:
        refuse_twice(schema.names, name)
    first_name, first = schemas[0]
    found = {item.name: item.type for item in first}
    for name, schema in schemas[1:]:
        own = {item.name: item.type for item in schema}
        lost, new = set(found) - set(own), set(own) - set(found)
        if lost or new:
            what = f"the column {min(lost)!r} is missing" if lost else f"there is a column {min(new)!r}"
            raise BadInput(f"{what}, other than in {first_name}", where=name, todo="All files of a source need the same columns; read them apart, or write them alike.")
        for key, kind in own.items():
            common = common_type(found[key], kind)
            if common is None:
                raise BadInput(f"the column {key!r} is {kind}, but {found[key]} in {first_name}", where=name, todo="Write the files with one type a column.")
            found[key] = common
    return found


def rebatch(blocks: Iterable[Block], start: int, stop: int, batch_rows: int, make: Callable[[int, Block], Batch]) -> Iterator[Batch]:
    """Batches of exactly `batch_rows` rows (the last one shorter) from blocks of any size; views, but where a batch crosses blocks."""
    held: list[Block] = []
    have, at = 0, start
    for block in blocks:
        offset = 0
        while offset < block.count and at < stop:
            size = min(batch_rows, stop - at)
            take = min(size - have, block.count - offset)
            held.append(block.cut(offset, offset + take))
            have, offset = have + take, offset + take
            if have == size:
                yield make(at, joined(held))
                at, have, held = at + size, 0, []
        if held and 2 * held[-1].count < block.count:
            held[-1] = held[-1].apart()  # a view would hold the whole block while the next one is decoded
        del block  # free it before the next one is decoded
    if have:
        yield make(at, joined(held))


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks that follow each other as one."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    columns = {name: join([block.columns[name] for block in blocks]) for name in first.columns}
    return Block(first.start, sum(block.count for block in blocks), columns, first.place)
