"""A state is a flat dict of named arrays; this file encodes, decodes and digests it.

The bytes are safetensors: eight bytes of header length, a JSON header, the arrays back to back. The
reader trusts nothing: every length is checked against the file before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadFile, explained

__all__ = ["State", "decode", "digest", "encode", "frozen", "joined", "nbytes", "pack_strings", "prefixed", "same", "spilled", "under", "unpack_strings"]

State = dict[str, np.ndarray[Any, Any]]

_TAGS = {"?": "BOOL", "u1": "U8", "i1": "I8", "u2": "U16", "i2": "I16", "u4": "U32", "i4": "I32", "u8": "U64", "i8": "I64", "f2": "F16", "f4": "F32", "f8": "F64"}
_DTYPES = {tag: np.dtype(code if code == "?" else "<" + code) for code, tag in _TAGS.items()}
_HEADER_LIMIT = 64 << 20


def _tag(name: str, array: np.ndarray[Any, Any]) -> str:
    code = "?" if array.dtype == np.bool_ else array.dtype.kind + str(array.dtype.itemsize)
    if code not in _TAGS:
        raise TypeError(f"state array {name!r} has dtype {array.dtype}; a state holds bool, int, uint and float arrays (strings: pack_strings)")
    return _TAGS[code]


def _little(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array, C order and little-endian, keeping 0-d arrays 0-d."""
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def encode(state: Mapping[str, np.ndarray[Any, Any]], metadata: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """Yield the chunks of a safetensors file; the same state always gives the same bytes."""
    arrays = {name: _little(array) for name, array in state.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # widest first keeps every array aligned
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name in order:
        start, end = end, end + arrays[name].nbytes
        header[name] = {"dtype": _tag(name, arrays[name]), "shape": list(arrays[name].shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    yield len(text).to_bytes(8, "little")
    yield text
    for name in order:
        if arrays[name].size:
            yield arrays[name].reshape(-1).view(np.uint8).data


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in the header")
    for text in (text for pair in pairs for text in pair if isinstance(text, str)):
        text.encode()  # a lone surrogate can be neither hashed nor printed: UnicodeEncodeError is a ValueError
    return found


def _header(data: memoryview, where: str) -> tuple[dict[str, Any], int]:
    if len(data) < 8:
        raise BadFile(f"{len(data)} bytes are too few for a header", where=where)
    length = int.from_bytes(data[:8], "little")
    if length > min(_HEADER_LIMIT, len(data) - 8):
        raise BadFile(f"the header claims {length} bytes, the file has {len(data)}", where=where)
    try:
        header = json.loads(str(data[8 : 8 + length], "utf-8"), object_pairs_hook=_refuse_twice)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"the header is not JSON ({error})", where=where) from None
    if not isinstance(header, dict):
        raise BadFile("the header is not an object", where=where)
    return header, 8 + length


def _entry(name: str, entry: Any, where: str) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BadFile(f"array {name!r} must have exactly dtype, shape and data_offsets", where=where)
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPES:
        raise BadFile(f"array {name!r} has the unknown dtype {entry['dtype']!r}", where=where, allowed=", ".join(_DTYPES))
    numbers = [*entry["shape"], *entry["data_offsets"]] if isinstance(entry["shape"], list) and isinstance(entry["data_offsets"], list) else [None]
    if any(type(n) is not int or not 0 <= n < 1 << 62 for n in numbers) or len(entry["data_offsets"]) != 2 or len(entry["shape"]) > 32:
        raise BadFile(f"array {name!r} has a bad shape or offsets", where=where)
    start, stop = entry["data_offsets"]
    dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
    if math.prod(max(n, 1) for n in shape) >= 1 << 59 or math.prod(shape) * dtype.itemsize != stop - start:
        raise BadFile(f"array {name!r}: shape {shape} of {dtype} does not fill its {stop - start} bytes", where=where)
    return dtype, shape, start, stop


def decode(data: bytes | memoryview, *, where: str = "state", copy: bool = True) -> tuple[State, dict[str, str]]:
    """Read `encode`'s bytes back.

    Parameters
    ----------
    data : bytes or memoryview
        The whole file; a memory map with ``copy=False`` gives read-only views.
    where : str
        Named in errors.

    Returns
    -------
    state, metadata : dict of arrays, dict of str

    Raises
    ------
    BadFile
        On anything that `encode` would not have written: holes, overlaps, lengths beyond the file.
    """
    data = memoryview(data)
    header, base = _header(data, where)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadFile("the metadata must map strings to strings", where=where)
    entries = sorted(((*_entry(name, entry, where), name) for name, entry in header.items()), key=lambda item: (item[2], item[3], item[4]))
    state, end = {}, 0
    for dtype, shape, start, stop, name in entries:
        if start != end or base + stop > len(data):
            raise BadFile(f"array {name!r} lies outside the file, or overlaps its neighbour", where=where)
        end = stop
        array = np.frombuffer(data[base + start : base + stop], dtype=np.uint8)
        if dtype == np.bool_ and array.max(initial=0) > 1:
            raise BadFile(f"array {name!r} holds a bool that is neither 0 nor 1", where=where)
        array = array.view(dtype).reshape(shape)
        state[name] = array.copy() if copy else array
    if base + end != len(data):
        raise BadFile(f"{len(data) - base - end} bytes follow the last array", where=where)
    return state, metadata


def digest(state: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and little-endian bytes, in name order, and nothing else."""
    sha = hashlib.sha256()
    for name in sorted(state):
        array = _little(state[name])
        sha.update(f"{name}\0{_tag(name, array)}\0{','.join(map(str, array.shape))}\0".encode())
        if array.size:
            sha.update(array.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def spilled(state: State, folder: Path | str | None = None) -> State:
    """The same state as views of a file without a name: its pages hold no memory, go with the last view, and may be written to (the file stays)."""
    with explained(Path(folder or tempfile.gettempdir())), tempfile.TemporaryFile(dir=folder) as file:
        file.writelines(encode(state))
        file.flush()
        return decode(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)), copy=False)[0]


def frozen(state: State) -> State:
    """The same state, its arrays made read-only: whoever writes into what others read hears of it at once."""
    for array in state.values():
        if isinstance(array, np.ndarray):  # a numpy scalar cannot be written anyway
            array.flags.writeable = False
    return state


def nbytes(state: Mapping[str, np.ndarray[Any, Any]]) -> int:
    return sum(array.nbytes for array in state.values())


def same(left: Mapping[str, np.ndarray[Any, Any]], right: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    """True where both states have the same names, dtypes, shapes and bytes."""
    return digest(left) == digest(right)


def prefixed(prefix: str, state: Mapping[str, np.ndarray[Any, Any]]) -> State:
    """The state with ``prefix/`` before every name."""
    return {f"{prefix}/{name}": array for name, array in state.items()}


def under(prefix: str, state: Mapping[str, np.ndarray[Any, Any]]) -> State:
    """The part of the state whose names start with ``prefix/``, without it: the inverse of `prefixed`."""
    cut = len(prefix) + 1
    return {name[cut:]: array for name, array in state.items() if name.startswith(prefix + "/")}


def joined(parts: Iterable[tuple[object, State]]) -> State:
    """Several states in one, each under its name."""
    return {f"{name}/{key}": array for name, part in parts for key, array in part.items()}


def pack_strings(name: str, strings: Iterable[str]) -> State:
    """Strings as two arrays, ``name.bytes`` (uint8) and ``name.offsets`` (int64, one more than strings).

    >>> unpack_strings("k", pack_strings("k", ["a", "", "é"]))
    ['a', '', 'é']
    """
    parts = [text.encode("utf-8", "surrogatepass") for text in strings]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return {f"{name}.bytes": np.frombuffer(b"".join(parts), np.uint8).copy(), f"{name}.offsets": offsets}


def unpack_strings(name: str, state: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    raw = state[f"{name}.bytes"].tobytes()
    offsets: Sequence[int] = state[f"{name}.offsets"].tolist()
    return [raw[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(offsets)]
