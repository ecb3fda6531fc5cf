"""CSV and JSON lines, plain or gzipped: read in one direction, block by block, so they are packed before they are trained on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from ..core.errors import BadInput
from .batch import Field
from .blocks import Block, FileInfo, Memo, columns_of, partition_column, partition_type, refuse_twice
from .columns import column_type, common_type, storage_type
from .place import Place

__all__ = ["TextStore"]

_LOOK = 1 << 20  # bytes of each looked-at file that the types are inferred from
_BLOCK = 8 << 20
_FILES = 8


class TextStore:
    """Files of one delimited or JSON format. Types come from the first MB of up to 8 files and hold for all rows."""

    cuttable = False
    typed = False  # the file has no types of its own: a model's schema decides how it is read

    def __init__(self, format: str, place: Place, names: Sequence[str], parts: Sequence[tuple[tuple[str, str | None], ...]]) -> None:  # noqa: A002
        self.format, self.place = format, place
        stats = [place.stat(name) for name in names]
        for name, (size, _) in zip(names, stats, strict=True):
            if size == 0:
                raise BadInput("the file is empty", where=name, todo="Remove it, or write it again.")
        self.files = tuple(
            FileInfo(name=name, bytes=size, rows=None, stamp=stamp, parts=part) for name, (size, stamp), part in zip(names, stats, parts, strict=True)
        )
        self.raw: dict[str, Any] = {}
        self.bytes_per_row = 1.0
        self._heads()
        for key, _ in self.files[0].parts:
            self.raw[key] = partition_type([dict(info.parts)[key] for info in self.files])

    def _picks(self) -> list[int]:
        last = len(self.files) - 1
        return sorted({round(last * k / (_FILES - 1)) for k in range(_FILES)})

    def _heads(self) -> None:
        """Types and bytes a row, from the heads of some files; in CSV, names from the header of every file."""
        rows = used = 0
        for index in self._picks():
            head, consumed = self._head(index)
            rows, used = rows + head.num_rows, used + consumed
            own = {item.name: item.type for item in head.schema}
            if not self.raw:
                self.raw = dict(own)
            self._same_names(index, own)
            for name, kind in own.items():
                self.raw[name] = self._common(self.raw.get(name, kind), kind, name, index)
        self.bytes_per_row = used / max(rows, 1)

    def _common(self, left: Any, right: Any, name: str, index: int) -> Any:
        import pyarrow as pa

        found = common_type(left, right)
        if found is None and self.format == "csv":
            return pa.string()
        if found is None:
            raise BadInput(f"the field {name!r} is {right}, but {left} in {self.files[0].name}", where=self.files[index].name, todo="Write the files with one type a field.")
        return found

    def _same_names(self, index: int, own: dict[str, Any]) -> None:
        if self.format != "csv" or set(own) == set(self.raw):
            return
        lost, new = set(self.raw) - set(own), set(own) - set(self.raw)
        what = f"the column {min(lost)!r} is missing" if lost else f"there is a column {min(new)!r}"
        raise BadInput(f"{what}, other than in {self.files[0].name}", where=self.files[index].name, todo="All files of a source need the same columns.")

    def _head(self, index: int) -> tuple[Any, int]:
        """The first block of a file as an Arrow table, and the stored bytes it came from."""
        import pyarrow as pa

        with self.place.open(self.files[index].name) as source, self._told(index):
            stream = self._unpacked(source, index)
            reader = self._reader(stream, None, _LOOK)
            refuse_twice(reader.schema.names, self.files[index].name)
            batch = next(iter(reader), None)
            if batch is None:
                return pa.table({item.name: pa.array([], item.type) for item in reader.schema}), 1
            self._all_text(index, batch.schema)
            text = min(_LOOK, self.files[index].bytes) if stream is source else source.tell()
            return pa.Table.from_batches([batch]), min(text, self.files[index].bytes)

    def first(self, name: str, wanted: Callable[[Any], Any]) -> tuple[str, str] | None:
        """The first value of a column that is `wanted` (strings (n,) to bool (n,)), and its place, in the heads that the types come from; None: there is none."""
        field = Field(name=name, kind="text", dtype="string")
        for index in self._picks():
            if name in dict(self.files[index].parts):
                return None
            with self.place.open(self.files[index].name) as source, self._told(index):
                batch = next(iter(self._reader(self._unpacked(source, index), [field], _LOOK)), None)
            rows = [] if batch is None else np.flatnonzero(wanted(batch.column(0))).tolist()
            if batch is not None and rows:
                value = batch.column(0)[rows[0]].as_py()
                return value, f"{self.files[index].name}, {self._line(index, rows[0], value)}"
        return None

    def _line(self, index: int, row: int, value: str) -> str:
        """The line of a row of the head; where lines are blank or values hold ends of lines, which the parser does not tell, the row, counted from 0."""
        with self.place.open(self.files[index].name) as source:
            lines = self._unpacked(source, index).read(_LOOK).split(b"\n", row + 2)
        plain = value.encode() in lines[row + 1] and all(line.strip() for line in lines[: row + 2]) if len(lines) > row + 1 else False
        return f"line {row + 2}" if plain and not any(line.count(b'"') % 2 for line in lines[: row + 2]) else f"row {row}"

    def _all_text(self, index: int, schema: Any) -> None:
        """Raise the error of a column that is not UTF-8: read as strings, it names the line."""
        import pyarrow as pa

        strange = [Field(name=item.name, kind="text", dtype="string") for item in schema if pa.types.is_binary(item.type)]
        if strange:
            with self.place.open(self.files[index].name) as source:
                for _ in self._reader(self._unpacked(source, index), strange, _LOOK):
                    continue

    def _unpacked(self, source: Any, index: int) -> Any:
        import pyarrow as pa

        return pa.CompressedInputStream(source, "gzip") if self.files[index].name.lower().endswith(".gz") else source

    def _reader(self, stream: Any, fields: Sequence[Field] | None, size: int) -> Any:
        """A record batch reader over a file; `fields` None infers the types."""
        import pyarrow as pa

        if self.format == "csv":
            import pyarrow.csv as pc

            types = None if fields is None else {item.name: self._csv_type(item) for item in fields}
            convert = pc.ConvertOptions(column_types=types, include_columns=None if fields is None else list(types or ()), strings_can_be_null=True)
            return pc.open_csv(
                stream, pc.ReadOptions(use_threads=False, block_size=size), pc.ParseOptions(newlines_in_values=True), convert
            )
        import pyarrow.json as pj

        schema = None if fields is None else pa.schema([(item.name, self._json_type(item)) for item in fields])
        parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore", newlines_in_values=False)
        return pj.open_json(stream, pj.ReadOptions(use_threads=False, block_size=size), parse)

    def _csv_type(self, field: Field) -> Any:
        import pyarrow as pa

        wanted = column_type(field)
        if field.kind == "category" and wanted == pa.string():
            return pa.dictionary(pa.int32(), pa.string())
        raw = self.raw.get(field.name, wanted)
        return raw if field.kind == "number" and pa.types.is_temporal(raw) else wanted

    def _json_type(self, field: Field) -> Any:
        import pyarrow as pa

        raw = self.raw.get(field.name, pa.string())
        return column_type(field) if pa.types.is_null(raw) or storage_type(field.kind, raw) == column_type(field) else raw

    def sample(self, rows: int) -> Any:
        """The first rows of up to 8 files."""
        import pyarrow as pa

        picks = self._picks()
        each = -(-rows // len(picks))
        tables = []
        for index in picks:
            head = self._head(index)[0].slice(0, each)
            info = self.files[index]
            columns = {name: head.column(name) if name in head.column_names else pa.nulls(len(head)) for name in self.raw if name not in dict(info.parts)}
            columns.update({key: pa.repeat(pa.scalar(value, pa.string()), len(head)) for key, value in info.parts})
            tables.append(pa.table({name: column.cast(self.raw[name]) for name, column in columns.items()}))
        return pa.concat_tables(tables)

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """Rows [start, stop) of a file, parsed from its beginning; rows before `start` are parsed and passed over."""
        info, memo, at = self.files[index], Memo(), 0
        parts = dict(info.parts)
        own = [item for item in fields if item.name not in parts] or [self._any_field()]
        with self.place.open(info.name) as source, self._told(index):
            for batch in self._reader(self._unpacked(source, index), own, max(1 << 16, min(_BLOCK, limit // 4))):
                where = f"{info.name}, from row {at}"
                low, high = max(start - at, 0), batch.num_rows if stop is None else min(stop - at, batch.num_rows)
                if low < high:
                    columns = columns_of(batch.slice(low, high - low), [item for item in fields if item.name not in parts], where, memo)
                    for item in fields:
                        if item.name in parts:
                            columns[item.name] = partition_column(item, parts[item.name], high - low, memo)
                    yield Block(at + low, high - low, {item.name: columns[item.name] for item in fields}, info.name)
                at += batch.num_rows
                if stop is not None and at >= stop:
                    return

    def _any_field(self) -> Field:
        """Something to read where only partition columns were asked for: the rows still have to be counted."""
        name, kind = next(iter(self.raw.items()))
        return Field(name=name, kind="category", dtype=str(storage_type("category", kind)))

    def _told(self, index: int) -> _Told:
        return _Told(self.files[index].name, list(self.raw))

    def check(self) -> None:
        for info in self.files:
            if self.place.stat(info.name) != (info.bytes, info.stamp):
                raise BadInput("the file has changed since it was first looked at", where=info.name, todo="Run again, so that all rows are of one version.")


class _Told:
    """Turns parse errors of pyarrow into errors that name file, line and column."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self.name, self.columns = name, columns

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import pyarrow as pa

        if not isinstance(error, pa.ArrowException | OSError) or isinstance(error, BadInput):
            return
        text = str(error).splitlines()[0]
        line = re.search(r"Row #(\d+)", text)
        where = f"{self.name}, line {line[1]}" if line else self.name
        if "Expected" in text and "columns, got" in text:
            want, got = re.findall(r"Expected (\d+) columns, got (\d+)", text)[0]
            raise BadInput(f"the line has {got} fields, the header {want}", where=where, todo="Quote fields that hold a comma, or correct the line.") from error
        if "invalid UTF8" in text or "Invalid UTF8" in text:
            raise BadInput("the text is not UTF-8", where=where, todo="Convert the file: iconv -f latin1 -t utf-8.") from error
        if "conversion error" in text:
            column = re.search(r"In CSV column #(\d+): ", text)
            name = self.columns[int(column[1])] if column and int(column[1]) < len(self.columns) else ""
            what = re.sub(r".*conversion error to ", "does not read as ", text)
            todo = f"Correct the line, or read the column as a category: kinds={{{name!r}: 'category'}}."
            raise BadInput(f"a value of column {name!r} {what}", where=where, todo=todo) from error
        twice = re.search(r"Column\(/(.*)\) was specified twice in row", text)  # a row of its block, so its number says nothing
        if twice:
            raise BadInput(f"the column {twice[1]!r} is there twice in one row", where=self.name, todo="Give each column its own name.") from error
        if "Empty" in text:
            raise BadInput("the file is empty", where=self.name, todo="Remove it, or write it again.") from error
        raise BadInput(f"the file cannot be read ({text})", where=where, todo="Correct the file, or write it again.") from error
