"""The compiled loops of approximate distinct counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import kernel

__all__ = ["count_hashes", "count_numbers"]


@kernel
def _mix(z: Any) -> Any:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014), as `core.rng` has it."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def _number(bits: Any, key: Any) -> Any:
    """The hash of a number by the bits of its float64; -0 is 0."""
    if bits == np.uint64(0x8000000000000000):
        bits = np.uint64(0)
    return _mix(_mix(bits * np.uint64(0x9E3779B97F4A7C15) + key))


@kernel
def _register(h: Any, registers: Any) -> None:
    """The first 14 bits of a hash name a register (`distinct` has 2^14), the leading zeros of the others, and one, are its rank."""
    at, rest = h >> np.uint64(50), h << np.uint64(14)
    rank = np.uint64(registers[at])
    if (rest >> np.uint64(1)) >> (np.uint64(63) - rank) == np.uint64(0):  # at least as many zeros: rare, once registers are full
        while rank <= np.uint64(50) and (rank == np.uint64(0) or (rest >> (np.uint64(64) - rank)) & np.uint64(1) == np.uint64(0)):
            rank += np.uint64(1)
        registers[at] = rank


@kernel
def _place(h: Any, table: Any) -> Any:
    """Where a hash lies in a table, or the empty place for it."""
    last = np.uint64(len(table) - 1)
    at = h & last
    while table[at] != h and table[at] != np.uint64(0):
        at = (at + np.uint64(1)) & last
    return at


@kernel
def count_hashes(hashes: Any, start: int, held: int, most: int, table: Any, registers: Any) -> tuple[int, int]:
    """Put hashes : uint64 (n,), from place `start` on; 0 counts as 1.

    table : uint64, a power of two of places, 0 where empty, written while `held`, the hashes in it, is not -1; then registers : uint8 are.
    Returns held and the place reached: -1 and less than n where one hash more than `most` came.
    """
    one = np.uint64(1)
    if held < 0:
        for i in range(start, len(hashes)):
            _register(max(hashes[i], one), registers)
        return held, len(hashes)
    for i in range(start, len(hashes)):
        h = max(hashes[i], one)
        at = _place(h, table)
        if table[at] != h:
            if held == most:
                return -1, i
            table[at] = h
            held += 1
    return held, len(hashes)


@kernel
def count_numbers(values: Any, key: int, start: int, held: int, most: int, table: Any, registers: Any) -> tuple[int, int]:
    """`count_hashes` of numbers : int64 (n,), the bits of float64; NaN is left out."""
    one, largest, k = np.uint64(1), np.uint64(0xFFE0000000000000), np.uint64(key)
    if held < 0:
        for i in range(start, len(values)):
            bits = np.uint64(values[i])
            if bits << one <= largest:
                _register(max(_number(bits, k), one), registers)
        return held, len(values)
    last = np.uint64(0x7FF8000000000001)  # of the value before: often the same one
    h = np.uint64(0)
    for i in range(start, len(values)):
        bits = np.uint64(values[i])
        if bits << one <= largest and bits != last:
            last, h = bits, max(_number(bits, k), one)
            at = _place(h, table)
            if table[at] != h:
                if held == most:
                    return -1, i
                table[at] = h
                held += 1
    return held, len(values)
