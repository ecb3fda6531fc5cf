"""MurmurHash3 x86 32-bit over byte buffers: the hash that names slots."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..native import I4, I8, INT, U1, U4, Native

__all__ = ["hash_bytes", "hash_strings"]

_KERNELS = "outgrow.data.features.kernels"
_murmur = Native(_KERNELS, "murmur", (U1(1), INT, INT, INT), INT)
_hash_strings = {np.dtype(offsets(1).dtype): Native(_KERNELS, "hash_strings", (U1(1), offsets(1), INT, U4(1, True))) for offsets in (I4, I8)}


def hash_strings(data: Any, offsets: Any, seed: int, out: Any) -> None:
    """out[i] = murmur of string i, data[offsets[i]:offsets[i+1]], for as many strings as there are; offsets : int32 or int64."""
    aligned = np.require(offsets, requirements=("C", "A"))
    _hash_strings[aligned.dtype](data, aligned, seed, out)


def hash_bytes(data: bytes, seed: int) -> int:
    """MurmurHash3 x86 32-bit of some bytes.

    >>> hash_bytes(b"hello", 0)
    613153351
    """
    found: int = _murmur(data, 0, len(data), seed)
    return found
