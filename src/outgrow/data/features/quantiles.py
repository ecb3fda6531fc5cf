"""Quantiles of numeric columns in one pass and bounded memory: buffers of sorted values that are halved as they meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...core.errors import BadField, BadInput
from ...core.learner import Fold
from ...core.rng import hash64
from ...core.state import State
from ..batch import Batch
from .blocks import dense_columns

__all__ = ["Quantiles"]

F64 = npt.NDArray[np.float64]
_WEIGHT = 4  # values that an item of the lowest level stands for: a power of two
_ODDS = math.sqrt(math.log(2 / 0.001))  # Hoeffding: an error beyond the bound has a chance of 0.001
_NONE = np.iinfo(np.int64).max


def _coins(seed: int, purpose: str, place: int, buffer: F64) -> int:
    """64 fair coins: a hash of the place, and of an item, so that going on with rows that are counted from 0 again makes others."""
    item = int(buffer[len(buffer) // 2 : len(buffer) // 2 + 1].view(np.uint64)[0])
    return int(hash64(seed, purpose, np.array([(place * 0x9E3779B97F4A7C15 ^ item) & 0xFFFFFFFFFFFFFFFF], np.uint64))[0])


@dataclass(slots=True)
class _Column:
    """The parts of one column: values that still stand as they came, and the sorted items of each level."""

    flushes: int = 0
    size: int = 0
    parts: list[F64] = field(default_factory=list)
    levels: dict[int, F64] = field(default_factory=dict)
    low: float = math.inf
    high: float = -math.inf


def _halved(left: F64, right: F64, coin: int) -> F64:
    """Every other of the items of both, sorted: from the first or from the second."""
    return np.sort(np.concatenate([left, right]))[coin & 1 :: 2]


@dataclass(frozen=True)
class Quantiles(Fold):
    """Any quantile of m numeric columns over their present values, each within a known number of ranks; row weights play no part.

    The first 4 `width` values of a column are kept as they are, and so quantiles are exact. When one more comes they are sorted, and every fourth
    stays, in a buffer of `width` items at level 0. Two buffers of a level become one of the next: sorted together, every other item
    stays. Levels meet as the digits of a binary sum do, so that any two states merge. Which of the items stay is a coin: a
    hash of the seed, the first row of the state, the buffers it has filled and an item of them.

    State: ``first`` int64 (), the least position of a row; ``flushes`` int64 (m,), the buffers filled, whose binary digits say which levels are
    there; ``sizes`` int64 (m,) and ``base`` float64, the values as they came, column by column; ``levels`` float64, `width` for each
    level, from the lowest, column by column; ``low`` and ``high`` float64 (m,), the ends of what has been sorted.

    Notes
    -----
    Of n values, ranks are off by at most n · `error`, each with a chance of 0.999, where ``width`` is that of ``Quantiles.of(error)``; `rank_errors` says how
    much it can be for the values seen, which is often less. A halving at weight w moves a rank by w, up or down, or not at all. F buffers of `width` items
    of weight 4 make F / 2^(l+1) halvings of weight 4 · 2^l at level l, so the squares of all moves are at most (4 F)² / 2 ≤ (n / width)² / 2, and Hoeffding's
    inequality gives n / width · sqrt(ln 2000).
    Source: Agarwal, Cormode, Huang, Phillips, Wei and Yi, "Mergeable summaries" (2013), section 3.
    Memory: 8 · width · (4 + log2(n / (4 width))) bytes a column at most. Cost: about 20 ns a value, most of it for sorting.
    Raises BadInput for an infinite value.
    """

    columns: tuple[str, ...]
    width: int
    seed: int = 0

    @classmethod
    def of(cls, columns: Sequence[str], error: float, seed: int = 0) -> Self:
        """The fold whose ranks are off by at most `error`, as a share of the values. Raises BadField for one that is not within 1e-5 and 0.1.

        >>> Quantiles.of(["x"], 0.002).width
        1379
        """
        if isinstance(error, bool) or not isinstance(error, (int, float)) or not 1e-5 <= error <= 0.1:
            raise BadField(f"error is {error!r}", where="error", allowed="a share of the rows from 0.00001 to 0.1")
        return cls(tuple(columns), math.ceil(_ODDS / error), seed)

    @property
    def exact(self) -> int:
        """Values of a column up to which nothing is left out."""
        return _WEIGHT * self.width

    def bytes_of(self, rows: int) -> int:
        """The most that the state of so many rows takes."""
        return 8 * len(self.columns) * (min(rows, self.exact) + self.width * (rows // self.exact).bit_length() + 4)

    def init(self, given: Mapping[str, Any]) -> State:
        return self._packed([_Column() for _ in self.columns], _NONE)

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        block = dense_columns(batch, self.columns)
        block += 0.0  # -0 is 0
        first = min(int(state["first"]), int(batch.positions[0])) if batch.rows else int(state["first"])
        columns = self._unpacked(state)
        with np.errstate(over="ignore", invalid="ignore"):
            gaps = np.isnan(block.sum(1)).tolist()
        for column, values, gap in zip(columns, block, gaps, strict=True):
            self._add(column, values[~np.isnan(values)] if gap else values, first)
        return self._packed(columns, first)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        first = min(int(left["first"]), int(right["first"]))
        columns = self._unpacked(left)
        for one, other in zip(columns, self._unpacked(right), strict=True):
            one.flushes += other.flushes
            one.low, one.high = min(one.low, other.low), max(one.high, other.high)
            some = one.levels and other.levels
            self._meet(one.levels, other.levels, _coins(self.seed, "quantiles meet", first + one.flushes, one.levels[min(one.levels)]) if some else 0)
            self._add(one, other.parts[0], first)
        return self._packed(columns, first)

    def _add(self, column: _Column, values: F64, first: int) -> None:
        """Values more of a column; a buffer is filled whenever one does not fit."""
        while column.size + len(values) > self.exact:
            room = self.exact - column.size
            whole = np.sort(np.concatenate([*column.parts, values[:room]]))
            column.low, column.high = min(column.low, float(whole[0])), max(column.high, float(whole[-1]))
            coins = _coins(self.seed, "quantiles", first + column.flushes, whole)
            self._meet(column.levels, {0: whole[(coins >> 60) % _WEIGHT :: _WEIGHT].copy()}, coins)
            column.flushes, column.parts, column.size = column.flushes + 1, [], 0
            values = values[room:]
        if len(values):
            column.parts.append(values)
            column.size += len(values)

    @staticmethod
    def _meet(levels: dict[int, F64], others: Mapping[int, F64], coins: int) -> None:
        """Put other levels into these: a sum of binary digits, two of a level becoming one of the next."""
        carry: F64 | None = None
        level = 0
        while carry is not None or level <= max(others, default=-1):
            found = [buffer for buffer in (levels.pop(level, None), others.get(level), carry) if buffer is not None]
            carry = _halved(found[0], found[1], coins >> level) if len(found) > 1 else None
            if len(found) % 2:
                levels[level] = found[-1]
            level += 1

    def _unpacked(self, state: State) -> list[_Column]:
        columns, base, at = [], 0, 0
        for j in range(len(self.columns)):
            flushes, size = int(state["flushes"][j]), int(state["sizes"][j])
            column = _Column(flushes, size, [state["base"][base : base + size]], low=float(state["low"][j]), high=float(state["high"][j]))
            base += size
            for level in range(flushes.bit_length()):
                if flushes >> level & 1:
                    column.levels[level] = state["levels"][at : at + self.width]
                    at += self.width
            columns.append(column)
        return columns

    def _packed(self, columns: Sequence[_Column], first: int) -> State:
        base = [part for column in columns for part in column.parts]
        levels = [column.levels[level] for column in columns for level in sorted(column.levels)]
        return {
            "first": np.array(first, np.int64),
            "flushes": np.array([column.flushes for column in columns], np.int64),
            "sizes": np.array([column.size for column in columns], np.int64),
            "base": np.concatenate(base) if base else np.zeros(0),
            "levels": np.concatenate(levels) if levels else np.zeros(0),
            "low": np.array([column.low for column in columns], np.float64),
            "high": np.array([column.high for column in columns], np.float64),
        }

    # what a closed state says

    def counts(self, state: State) -> npt.NDArray[np.int64]:
        """The present values of each column: int64 (m,)."""
        found: npt.NDArray[np.int64] = state["flushes"] * self.exact + state["sizes"]
        return found

    def quantiles(self, state: State, shares: Sequence[float]) -> F64:
        """Quantiles (m, q) at shares from 0 to 1 of the values: numpy's while they are exact, then values that occur; NaN where there is none.

        Raises BadInput where the distance of two values overflows.
        """
        out = np.full((len(self.columns), len(shares)), np.nan)
        for j, column in enumerate(self._unpacked(state)):
            if column.flushes or column.size:
                with np.errstate(over="ignore", invalid="ignore"):
                    out[j] = self._of(column, shares)
                if not np.isfinite(out[j]).all():
                    raise BadInput(f"values of column {self.columns[j]!r} lie too far apart for float64", todo="Divide the column by a constant first, or leave it out.")
        return out

    def _of(self, column: _Column, shares: Sequence[float]) -> F64:
        base = np.sort(column.parts[0])
        if not column.flushes:
            return np.array([np.median(base) if share == 0.5 else np.quantile(base, share) for share in shares])
        values, weights = [base], [np.ones(len(base))]
        for level, items in column.levels.items():
            values.append(items)
            weights.append(np.full(len(items), float(_WEIGHT << level)))
        joined, heavy = np.concatenate(values), np.concatenate(weights)
        order = np.argsort(joined, kind="stable")
        joined, reach = joined[order], np.cumsum(heavy[order])
        last = column.flushes * self.exact + column.size - 1
        found = joined[np.searchsorted(reach, np.asarray(shares) * last, side="right")]
        low, high = min(column.low, float(joined[0])), max(column.high, float(joined[-1]))
        return np.array([low if share == 0 else high if share == 1 else value for share, value in zip(shares, found, strict=True)])

    def ends(self, state: State) -> tuple[F64, F64]:
        """The smallest and the largest value of each column, exact; NaN where there is none."""
        low, high = np.full(len(self.columns), np.nan), np.full(len(self.columns), np.nan)
        for j, column in enumerate(self._unpacked(state)):
            if column.flushes or column.size:
                low[j], high[j] = min(column.low, column.parts[0].min(initial=np.inf)), max(column.high, column.parts[0].max(initial=-np.inf))
        return low, high

    def rank_errors(self, state: State) -> F64:
        """By how many ranks a quantile of each column may be off, with a chance of 0.999 or for certain, whichever is less; 0 where exact."""
        out = np.zeros(len(self.columns))
        for j, flushes in enumerate(state["flushes"].tolist()):
            if flushes:
                halvings = [(flushes >> (level + 1), _WEIGHT << level) for level in range(flushes.bit_length())]
                most = flushes * (_WEIGHT - 1) + sum(times * weight for times, weight in halvings)
                squares = flushes * _WEIGHT**2 / 4 + sum(times * weight**2 for times, weight in halvings)
                out[j] = min(most, _ODDS * math.sqrt(2 * squares))
        return out
