"""Randomness as a hash of (seed, purpose, position): no stream that a cut of the rows could shift."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Permutation", "hash64", "key64", "uniform"]

U64 = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key64(seed: int, purpose: str) -> int:
    """A 64-bit key for one use of the seed."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{purpose}".encode(), digest_size=8).digest(), "little")


def _mix(z: U64) -> U64:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection of uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash64(seed: int, purpose: str, ids: npt.ArrayLike) -> U64:
    """One uint64 for each id (row id or position), independent of the other ids."""
    return _mix(_mix(np.asarray(ids, np.uint64) * _GOLDEN + np.uint64(key64(seed, purpose))))


def uniform(seed: int, purpose: str, ids: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """One float64 in [0, 1) for each id.

    >>> bool((uniform(0, "demo", np.arange(5)) == uniform(0, "demo", np.arange(9))[:5]).all())
    True
    """
    return (hash64(seed, purpose, ids) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Permutation:
    """A keyed permutation of range(n) that holds no array: a Feistel network with cycle walking.

    Cost: about 60 ns a position, vectorised; holds a handful of temporaries of the size asked for.

    >>> p = Permutation(10, seed=1, purpose="demo")
    >>> sorted(p.forward(np.arange(10)).tolist()) == list(range(10))
    True
    >>> p.inverse(p.forward(np.arange(10))).tolist() == list(range(10))
    True
    """

    def __init__(self, n: int, *, seed: int, purpose: str) -> None:
        self.n = n
        self._half = np.uint64(max(1, (max(n - 1, 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        self._keys = [np.uint64(key64(seed, f"{purpose}\0{turn}")) for turn in range(4)]

    def _walk(self, ids: npt.ArrayLike, turn: Any) -> npt.NDArray[np.int64]:
        x = np.array(ids, np.uint64, ndmin=1)
        x = turn(x)
        outside = np.flatnonzero(x >= self.n)
        while outside.size:
            x[outside] = turn(x[outside])
            outside = outside[x[outside] >= self.n]
        found: npt.NDArray[np.int64] = x.astype(np.int64)
        return found

    def forward(self, ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Where each position (int, < n) goes: int64 of the same length."""

        def turn(x: U64) -> U64:
            left, right = x >> self._half, x & self._mask
            for key in self._keys:
                left, right = right, left ^ (_mix(right * _GOLDEN + key) & self._mask)
            return (left << self._half) | right

        return self._walk(ids, turn)

    def inverse(self, ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Which position comes to each place: the inverse of `forward`."""

        def turn(x: U64) -> U64:
            left, right = x >> self._half, x & self._mask
            for key in reversed(self._keys):
                left, right = right ^ (_mix(left * _GOLDEN + key) & self._mask), left
            return (left << self._half) | right

        return self._walk(ids, turn)
