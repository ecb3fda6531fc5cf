"""Schema, columns and batches: rows as numpy views, with an explicit answer for every missing value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import BadInput
from ..core.state import State

__all__ = ["Batch", "Codes", "Column", "Design", "DesignShape", "Dictionary", "Field", "Kind", "Numbers", "Ragged", "Schema", "Texts", "aligned_empty"]

Kind = Literal["number", "category", "text", "date", "sparse"]
Array = npt.NDArray[Any]


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An uninitialised C-order array whose first byte lies on a 64-byte boundary."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + size].view(dtype).reshape(shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One column: its kind, and what a look at the data found.

    dtype: the Arrow type as text ("sparse[width]" for kind sparse). missing: rows without a value, exact or in the sample. distinct: distinct values
    in the sample. `values` is exact for a class target: its classes, sorted, as str, int, float or bool.
    """

    name: str
    kind: Kind
    dtype: str = ""
    missing: int = 0
    distinct: int = 0
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DesignShape:
    """The shape of the `Design` that every batch will carry, known before a row is read.

    width: slots of the table. names: the dense columns. k: entries of value 1 in each row. ragged: entries with values follow.
    """

    width: int
    names: tuple[str, ...] = ()
    k: int = 0
    ragged: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """The columns of a source in order, and what they are for. `task` says what the target asks for; an encoder sets `design`."""

    fields: tuple[Field, ...]
    target: str = ""
    weight: str = ""
    task: Literal["", "binary", "classes", "number"] = ""
    sampled: int = 0
    design: DesignShape | None = None
    labels: tuple[Any, ...] = ()  # the classes, where the rows to score have no target

    def __getitem__(self, name: str) -> Field:
        for item in self.fields:
            if item.name == name:
                return item
        raise BadInput(f"there is no column {name!r}", allowed=", ".join(item.name for item in self.fields))

    def __contains__(self, name: object) -> bool:
        return any(item.name == name for item in self.fields)

    @property
    def inputs(self) -> tuple[Field, ...]:
        """The fields to learn from: all but target and weight."""
        return tuple(item for item in self.fields if item.name not in self.roles)

    @property
    def roles(self) -> tuple[str, ...]:
        """The names of target and weight, where there are any: "" is none, though a column may have that name."""
        return tuple(name for name in (self.target, self.weight) if name)

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes of the target, sorted; empty for a number."""
        return self[self.target].values if self.target and self.task in ("binary", "classes") else self.labels

    def names(self, *kinds: str) -> tuple[str, ...]:
        """Names of the inputs of these kinds (all inputs when none is given)."""
        return tuple(item.name for item in self.inputs if not kinds or item.kind in kinds)

    def replace(self, fields: Sequence[Field]) -> Schema:
        """The same roles over other fields."""
        return replace(self, fields=tuple(fields))


class Dictionary:
    """The distinct values behind codes, with a memo of what was derived from them (hashes, one-hot slots).

    `values` is an Arrow array of strings (any Arrow type for non-string categories).
    """

    __slots__ = ("_memo", "values")

    def __init__(self, values: Any) -> None:
        self.values, self._memo = values, {}  # type: Any, dict[Any, Any]

    def __len__(self) -> int:
        return len(self.values)

    def derive(self, key: Any, make: Callable[[Any], Any]) -> Any:
        """``make(values)``, computed once for each key; lives as long as the dictionary.

        An array with one entry a value (and perhaps a last one for missing) must say of each value what depends on that
        value alone: where a batch crosses files, the entries of two dictionaries are joined.
        """
        if key not in self._memo:
            self._memo[key] = make(self.values)
        return self._memo[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return Dictionary, (self.values,)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numeric values (n,), any int or float dtype or bool; `valid` (n,) bool is None where nothing is missing.

    Dates are Numbers of int64 microseconds since 1970-01-01 UTC. A float NaN counts as missing.
    """

    values: Array
    valid: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def floats(self, dtype: npt.DTypeLike = np.float64) -> Array:
        """A fresh contiguous array with NaN where a value is missing."""
        out = aligned_empty((len(self.values),), dtype)
        out[:] = self.values
        if self.valid is not None:
            out[~self.valid] = np.nan
        return out

    def where(self, mask: Array) -> Numbers:
        return Numbers(self.values[mask], None if self.valid is None else self.valid[mask])


@dataclass(frozen=True, slots=True)
class Codes:
    """Categories: int32 codes (n,) into a dictionary, -1 where missing."""

    codes: npt.NDArray[np.int32]
    dictionary: Dictionary

    def __len__(self) -> int:
        return len(self.codes)

    def where(self, mask: Array) -> Codes:
        return Codes(self.codes[mask], self.dictionary)


@dataclass(frozen=True, slots=True)
class Texts:
    """Strings as one UTF-8 buffer: row i is bytes[offsets[i]:offsets[i+1]]; `valid` as in Numbers."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def where(self, mask: Array) -> Texts:
        offsets, picks = _picks(self.offsets, mask)
        return Texts(self.data[picks], offsets, None if self.valid is None else self.valid[mask])


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sparse numbers as one column: row i has values[e] at place indices[e] < `width`, for e in offsets[i]:offsets[i+1]; all other places are 0.

    offsets : int64 (n + 1,), the first not always 0. indices : int32, ascending in a row. values : float64.
    """

    offsets: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def where(self, mask: Array) -> Ragged:
        offsets, picks = _picks(self.offsets, mask)
        return Ragged(offsets, self.indices[picks], self.values[picks], self.width)


Column = Numbers | Codes | Texts | Ragged


def _picks(offsets: npt.NDArray[np.int64], mask: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For some rows of an offsets-and-values column: their own offsets, and where their entries lie."""
    rows = np.flatnonzero(mask) if mask.dtype == np.bool_ else np.asarray(mask)
    lengths = (offsets[1:] - offsets[:-1])[rows]
    own = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=own[1:])
    return own, np.repeat(offsets[:-1][rows] - own[:-1], lengths) + np.arange(own[-1])


@dataclass(frozen=True, kw_only=True)
class Design:
    """What a linear learner reads of a batch of n rows: weights live in one table of `width` slots plus `len(names)` dense ones.

    dense : float32 or float64 (n, m), C order, 64-byte aligned; NaN where missing.
    slots : uint32 (n, k), each an entry of value 1.
    ragged : None, or (offsets int64 (n+1,), slots uint32, values float32): entries with values.
    width : number of table slots that `slots` and `ragged` may name.
    names : the m names of the dense columns.
    """

    dense: Array
    slots: npt.NDArray[np.uint32]
    ragged: tuple[Array, Array, Array] | None
    width: int
    names: tuple[str, ...]

    def where(self, mask: Array) -> Design:
        """The rows where `mask` (bool (n,), or places) says so, in order."""
        dense = aligned_empty((len(np.arange(len(self.dense))[mask]), self.dense.shape[1]), self.dense.dtype)
        dense[:] = self.dense[mask]
        ragged = None
        if self.ragged is not None:
            offsets, picks = _picks(self.ragged[0], mask)
            ragged = offsets, self.ragged[1][picks], self.ragged[2][picks]
        return replace(self, dense=dense, slots=np.ascontiguousarray(self.slots[mask]), ragged=ragged)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows of a source, as columns.

    positions : int64 (n,), place of each row in the whole source.
    place : for errors, "file, row group" of the first row.
    design : set by an encoding feature; `kept` by core.
    """

    schema: Schema
    columns: Mapping[str, Column]
    start: int = 0
    picked: npt.NDArray[np.int64] | None = None  # positions, where they are not a run from `start`
    count: int = 0
    place: str = ""
    design: Design | None = None
    kept: State | None = None
    ids: npt.NDArray[np.uint64] | None = field(default=None, repr=False)

    @property
    def rows(self) -> int:
        return self.count

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        return np.arange(self.start, self.start + self.count) if self.picked is None else self.picked

    def column(self, name: str) -> Column:
        if name not in self.columns:
            raise BadInput(f"there is no column {name!r}", where=self.place, allowed=", ".join(self.columns))
        return self.columns[name]

    def where(self, mask: Array) -> Batch:
        """The rows where `mask` (bool (n,), or positions within the batch) says so, in order."""
        if mask.dtype == np.bool_ and bool(mask.all()):
            return self
        picked = self.positions[mask]
        columns = {name: column.where(mask) for name, column in self.columns.items()}
        ids = None if self.ids is None else self.ids[mask]
        design = None if self.design is None else self.design.where(mask)
        return replace(self, columns=columns, picked=picked, count=len(picked), design=design, kept=None, ids=ids)

    def with_kept(self, kept: State) -> Batch:
        return replace(self, kept=kept)

    def with_columns(self, schema: Schema, columns: Mapping[str, Column]) -> Batch:
        return replace(self, schema=schema, columns=columns)

    def with_design(self, design: Design) -> Batch:
        return replace(self, design=design)

    def encoded(self) -> tuple[Batch | None, int]:
        """The batch with copies of its target and weight beside its design, and no other columns, and its bytes; None where it has no design."""
        design = self.design
        if design is None:
            return None, 0
        columns = {name: self.columns[name].where(np.arange(self.rows)) for name in self.schema.roles if name in self.columns}
        arrays = [design.dense, design.slots, *(design.ragged or ()), *(() if self.picked is None else (self.picked,)), *(() if self.ids is None else (self.ids,))]
        return replace(self, columns=columns), sum(array.nbytes for array in arrays) + 9 * self.rows * len(columns)

    def equals(self, name: str, value: object) -> npt.NDArray[np.bool_]:
        """bool (n,): where a column has this value; missing is never equal."""
        column = self.column(name)
        if isinstance(column, Numbers):
            found: npt.NDArray[np.bool_] = np.asarray(column.values == value)
            return found if column.valid is None else found & column.valid
        if isinstance(column, Codes):
            hit = column.dictionary.derive(("is", value), lambda values: np.array([v == value for v in values.to_pylist()] + [False], bool))
            return np.asarray(hit[column.codes], bool)
        raise BadInput(f"column {name!r} is text and cannot be compared", where=self.place)

    def matrix(self, names: Sequence[str] | None = None, dtype: npt.DTypeLike = np.float64) -> Array:
        """Numeric columns side by side: a fresh (n, len(names)) array, C order, 64-byte aligned, NaN where missing.

        The layout is fixed because the last bits of a product depend on it. `names` None: all inputs.
        """
        wanted = self.schema.names() if names is None else tuple(names)
        out = aligned_empty((self.rows, len(wanted)), dtype)
        for j, name in enumerate(wanted):
            column = self.column(name)
            if not isinstance(column, Numbers):
                raise BadInput(f"column {name!r} is not numeric ({type(column).__name__})", where=self.place, todo="Encode it (one-hot, hashing) or leave it out.")
            out[:, j] = column.values
            if column.valid is not None:
                out[~column.valid, j] = np.nan
        return out

    @property
    def target(self) -> Array:
        """(n,) int32 class numbers in the order of `schema.classes`, or float64 values for a number target.

        Raises BadInput for a missing target, a class not in the schema, or a non-finite number, naming the row.
        """
        from .target import target_of

        return target_of(self)

    @property
    def weight(self) -> npt.NDArray[np.float64] | None:
        """(n,) row weights ≥ 0, or None where every row counts once. Raises BadInput for a negative or missing one."""
        from .target import weight_of

        return weight_of(self)
