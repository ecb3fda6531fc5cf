"""How many distinct values a column holds, in one pass and some kilobytes: exact while they are few, then within a percent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import BadInput
from ...core.learner import Fold, Traits
from ...core.rng import hash64, key64
from ...core.state import State
from ..batch import Array, Batch, Codes, Numbers, Texts
from ..native import I8, INT, PAIR, U1, Native
from ..native import Array as Argument
from .blocks import dense_columns, strings_of
from .murmur import hash_strings

__all__ = ["ERROR", "Distinct"]

_KERNELS = "outgrow.data.features.distinct_kernels"
_TABLES = (INT, INT, INT, Argument("uint64", 1, written=True), U1(1, True))
_count_hashes = Native(_KERNELS, "count_hashes", (Argument("uint64", 1), *_TABLES), PAIR)
_count_numbers = Native(_KERNELS, "count_numbers", (I8(1), INT, *_TABLES), PAIR)

_BITS = 14
_REGISTERS = 1 << _BITS
_RANKS = 64 - _BITS  # leading zeros that a hash can have behind the bits that name its register
_EXACT = _REGISTERS // 8  # hashes that take the room of the registers
_TABLE = 4 * _EXACT
ERROR = 1.04 / math.sqrt(_REGISTERS)  # the standard error of an estimate, as a share: 0.8 %
_KEY = int(np.uint64(key64(0, "distinct")).astype(np.int64))


def _hashed(data: Array, offsets: Array) -> npt.NDArray[np.uint64]:
    """A hash of each string."""
    halves = np.empty((2, len(offsets) - 1), np.uint32)
    for seed, half in enumerate(halves):
        hash_strings(np.ascontiguousarray(data), offsets, seed, half)
    return hash64(0, "distinct", halves[0].astype(np.uint64) << np.uint64(32) | halves[1])


def _hashes(values: Any) -> npt.NDArray[np.uint64]:
    """For `Dictionary.derive`: a hash of the text form of each value; that of a null is not to be used."""
    data, offsets, _ = strings_of(values)
    return _hashed(data, offsets)


@dataclass(frozen=True)
class Distinct(Fold):
    """Distinct present values of m columns: numbers, dates, categories and texts. Any order of rows and any cut give the same bits.

    Up to 2 048 values of a column are kept as 64-bit hashes, and so counted exactly, but for two values of one hash (1e-13). With more, the column has
    16 384 registers: each the most leading zeros, and one, of the hashes that name it (Flajolet, Fusy, Gandouet and Meunier 2007, "HyperLogLog").
    Registers meet by their maximum.

    State: ``held`` int64 (m,), the hashes of a column, or -1 where it has registers; ``hashes`` uint64, ascending, column by column; ``registers`` uint8,
    16 384 for each column that has them. Cost: about 5 ns a number, one hash a category of a dictionary; at most 16 kB a column.
    """

    traits: ClassVar[Traits] = Traits(order_free=True)

    columns: tuple[str, ...]

    def init(self, given: Mapping[str, Any]) -> State:
        return {"held": np.zeros(len(self.columns), np.int64), "hashes": np.zeros(0, np.uint64), "registers": np.zeros(0, np.uint8)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        sets = self._unpacked(state)
        numbers = [j for j, name in enumerate(self.columns) if isinstance(batch.column(name), Numbers)]
        for j, values in zip(numbers, dense_columns(batch, [self.columns[j] for j in numbers]), strict=True):
            sets[j].put(values.view(np.int64), numbers=True)
        for j in sorted({*range(len(sets))} - {*numbers}):
            sets[j].put(_present(batch, self.columns[j]))
        return self._packed(sets)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        sets = self._unpacked(left)
        for one, other in zip(sets, self._unpacked(right), strict=True):
            if other.held < 0:
                one.spill()
                np.maximum(one.registers, other.registers, out=one.registers)
            else:
                one.put(other.hashes)
        return self._packed(sets)

    def _unpacked(self, state: State) -> list[_Set]:
        sets, at, place = [], 0, 0
        for held in state["held"].tolist():
            if held < 0:
                sets.append(_Set(held, registers=state["registers"][place : place + _REGISTERS].copy()))
                place += _REGISTERS
            else:
                sets.append(_Set(held, hashes=state["hashes"][at : at + held]))
                at += held
        return sets

    @staticmethod
    def _packed(sets: list[_Set]) -> State:
        hashes = [one.sorted() for one in sets if one.held >= 0]
        registers = [one.registers for one in sets if one.held < 0]
        return {
            "held": np.array([one.held for one in sets], np.int64),
            "hashes": np.concatenate(hashes) if hashes else np.zeros(0, np.uint64),
            "registers": np.concatenate(registers) if registers else np.zeros(0, np.uint8),
        }

    def counts(self, state: State) -> npt.NDArray[np.int64]:
        """Distinct values of each column: int64 (m,), exact where ``held`` is not -1, else with a standard error of `ERROR` of themselves."""
        return np.array([one.held if one.held >= 0 else round(_estimate(one.registers)) for one in self._unpacked(state)], np.int64)


class _Set:
    """The hashes of a column, sorted or in a table, or its registers."""

    def __init__(self, held: int, hashes: Array | None = None, registers: Array | None = None) -> None:
        self.held = held
        self.hashes = np.zeros(0, np.uint64) if hashes is None else hashes
        self.registers = np.zeros(0, np.uint8) if registers is None else registers
        self._table: Array | None = None

    def put(self, found: Array, numbers: bool = False) -> None:
        """Hashes, or the bits of numbers."""
        at = 0
        while at < len(found):
            table = self._opened()
            given = (found, _KEY) if numbers else (found,)
            kernel = _count_numbers if numbers else _count_hashes
            held, at = kernel(*given, at, self.held, _EXACT, table, self.registers)
            if held < 0 <= self.held:
                self.spill()
            self.held = held

    def _opened(self) -> Array:
        """The table, with the hashes in it."""
        if self._table is None:
            self._table = np.zeros(_TABLE if self.held >= 0 else 1, np.uint64)
            if self.held > 0:
                _count_hashes(self.hashes, 0, 0, _EXACT, self._table, self.registers)
        return self._table

    def sorted(self) -> Array:
        return self.hashes if self._table is None else np.sort(self._table[self._table > 0])

    def spill(self) -> None:
        """From hashes to registers, which they say in full."""
        if self.held >= 0:
            hashes, self.registers = self.sorted(), np.zeros(_REGISTERS, np.uint8)
            self.held, self._table = -1, np.zeros(1, np.uint64)
            _count_hashes(np.ascontiguousarray(hashes), 0, -1, _EXACT, self._table, self.registers)


def _present(batch: Batch, name: str) -> Array:
    """Hashes of the categories or texts that occur in a batch."""
    column = batch.column(name)
    if isinstance(column, Texts):
        hashes = _hashed(column.data, column.offsets)
        return hashes if column.valid is None else hashes[column.valid]
    if not isinstance(column, Codes):
        raise BadInput(f"column {name!r} is sparse, and has no values that could be counted", where=batch.place, todo=f"Leave it out: drop=[{name!r}].")
    values, hashes = column.dictionary.values, column.dictionary.derive("distinct", _hashes)
    seen = np.bincount(column.codes + 1, minlength=len(hashes) + 1)[1:] > 0
    if len(seen) > len(hashes):
        raise BadInput(f"column {name!r} holds a code outside its dictionary of {len(hashes)} values", where=batch.place)
    if values.null_count:
        seen &= ~values.is_null().to_numpy(zero_copy_only=False)
    return np.asarray(hashes[seen])


def _estimate(registers: Array) -> float:
    """Ertl 2017, "New cardinality estimation algorithms for HyperLogLog sketches", algorithm 6: without tables of corrections."""
    counts = np.bincount(registers, minlength=_RANKS + 2)
    total = _REGISTERS * _tau(1.0 - float(counts[_RANKS + 1]) / _REGISTERS)
    for rank in range(_RANKS, 0, -1):
        total = 0.5 * (total + float(counts[rank]))
    total += _REGISTERS * _sigma(float(counts[0]) / _REGISTERS)
    return _REGISTERS**2 / (2 * math.log(2) * total)


def _sigma(x: float) -> float:
    """x plus the sum over k ≥ 1 of x^(2^k) 2^(k-1)."""
    found, weight, before = x, 1.0, -1.0
    while found != before:
        x, before = x * x, found
        found += x * weight
        weight += weight
    return found


def _tau(x: float) -> float:
    """(1 - x - the sum over k ≥ 1 of (1 - x^(2^-k))² 2^-k) / 3."""
    if x in (0.0, 1.0):
        return 0.0
    found, weight, before = 1.0 - x, 1.0, -1.0
    while found != before:
        x, before, weight = math.sqrt(x), found, 0.5 * weight
        found -= (1.0 - x) ** 2 * weight
    return found / 3.0
