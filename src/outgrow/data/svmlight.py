"""svmlight files, parsed by scikit-learn in pieces; one quick scan of the bytes counts rows and columns first."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core.errors import BadInput
from .batch import Column, Field, Numbers
from .blocks import Block, FileInfo
from .memory import DENSE_WIDTH, matrix_columns, matrix_types
from .place import Place

__all__ = ["SvmlightStore"]

_PIECE = 8 << 20


class SvmlightStore:
    """Rows of ``label index:value …``; columns target and x0, x1, … (one sparse column x where there are over 256).

    Indices count from 0 where a 0 occurs anywhere, from 1 where not.
    """

    format = "svmlight"
    cuttable = False

    def __init__(self, place: Place, names: Sequence[str]) -> None:
        import pyarrow as pa

        _sklearn()
        self.place = place
        looks = [self._look(name) for name in names]
        self.files = tuple(info for info, _, _ in looks)
        low, high = min(low for _, low, _ in looks), max(high for _, _, high in looks)
        self.zero_based = low == 0
        self.width = max(1, high + 1 if self.zero_based else high)
        self.single = self.width > DENSE_WIDTH
        self.raw: dict[str, Any] = {"target": pa.float64(), **matrix_types(self.width, pa.float64(), self.single)}

    @property
    def widths(self) -> dict[str, int]:
        return {"x": self.width} if self.single else {}

    def _look(self, name: str) -> tuple[FileInfo, int, int]:
        """Facts of a file, its smallest and its largest index."""
        size, stamp = self.place.stat(name)
        if size == 0:
            raise BadInput("the file is empty", where=name, todo="Remove it, or write it again.")
        rows, low, high = 0, 1 << 31, 0
        for text in self._lines(name):
            count, least, most = _scan(text)
            rows, low, high = rows + count, min(low, least), max(high, most)
        return FileInfo(name=name, bytes=size, rows=rows, stamp=stamp, cuts=(0, rows)), low, high

    def _lines(self, name: str) -> Iterator[bytes]:
        """The file in pieces of whole lines."""
        rest = b""
        with self.place.open(name) as source:
            while piece := bytes(source.read(_PIECE)):
                whole, sign, rest = (rest + piece).rpartition(b"\n")
                if sign:
                    yield whole + sign
        if rest:
            yield rest + b"\n"

    def _pieces(self, index: int) -> Iterator[tuple[Any, Any]]:
        """``(sparse matrix, labels)`` of each piece of the file."""
        load, name, at = _sklearn(), self.files[index].name, 0
        for text in self._lines(name):
            try:
                matrix, labels = load(io.BytesIO(text), n_features=self.width, zero_based=self.zero_based)
            except ValueError as error:
                raise BadInput(
                    f"a line is not svmlight ({error})", where=f"{name}, after row {at}", allowed="label index:value index:value …, indices ascending"
                ) from error
            at += len(labels)
            yield matrix, labels

    def sample(self, rows: int) -> Any:
        import pyarrow as pa

        for matrix, labels in self._pieces(0):
            some = matrix[:rows]
            if self.single:
                columns: dict[str, Any] = {"x": pa.nulls(some.shape[0], self.raw["x"])}
            else:
                dense = some.toarray()
                columns = {f"x{j}": pa.array(dense[:, j]) for j in range(self.width)}
            return pa.table({"target": pa.array(labels[:rows]), **columns})
        return pa.table({name: pa.array([], kind) for name, kind in self.raw.items()})

    def blocks(self, index: int, start: int, stop: int | None, fields: Sequence[Field], limit: int) -> Iterator[Block]:
        """Rows [start, stop), parsed from the beginning of the file."""
        at, name = 0, self.files[index].name
        for matrix, labels in self._pieces(index):
            count = matrix.shape[0]
            low, high = max(start - at, 0), count if stop is None else min(stop - at, count)
            if low < high:
                columns: dict[str, Column] = matrix_columns(matrix, low, high, [item for item in fields if item.name != "target"], self.single)
                columns["target"] = Numbers(labels[low:high])
                yield Block(at + low, high - low, {item.name: columns[item.name] for item in fields}, name)
            at += count
            if stop is not None and at >= stop:
                return

    def check(self) -> None:
        for info in self.files:
            if self.place.stat(info.name) != (info.bytes, info.stamp):
                raise BadInput("the file has changed since it was first looked at", where=info.name, todo="Run again, so that all rows are of one version.")


def _sklearn() -> Any:
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        raise BadInput("svmlight files are read by scikit-learn, which is not installed", todo="Install it: pip install 'outgrow[sklearn]'.") from error
    return load_svmlight_file


def _scan(text: bytes) -> tuple[int, int, int]:
    """``(rows, smallest index, largest index)`` of whole lines; indices ascend, so the first and last of a line are enough."""
    if b"#" in text or b"qid:" in text:
        lines = [line.partition("#")[0].split() for line in text.decode("utf-8", "replace").splitlines()]
        tokens = [[token.partition(":")[0] for token in line[1:] if not token.startswith("qid:")] for line in lines if line]
        found = [int(token) for line in tokens for token in (line[:1] + line[-1:]) if token.isdigit()]
        return len(tokens), min(found, default=1 << 31), max(found, default=0)
    raw = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(raw == 10)
    starts = np.concatenate([[0], ends[:-1] + 1])
    rows = int(np.count_nonzero((ends > starts) & ~np.isin(raw[starts], (13, 32, 10))))
    colons = np.flatnonzero(raw == 58)
    if not colons.size:
        return rows, 1 << 31, 0
    first, last = np.searchsorted(colons, starts), np.searchsorted(colons, ends) - 1
    has = last >= first
    return rows, int(_before(raw, colons[first[has]]).min()), int(_before(raw, colons[last[has]]).max())


def _before(raw: Any, colons: Any) -> Any:
    """The whole numbers that end just before these places."""
    value, scale, going = np.zeros(len(colons), np.int64), 1, np.ones(len(colons), bool)
    for back in range(1, 11):
        digit = raw[np.maximum(colons - back, 0)].astype(np.int64) - 48
        going &= (digit >= 0) & (digit <= 9) & (colons >= back)
        value += np.where(going, digit * scale, 0)
        scale *= 10
    return value
