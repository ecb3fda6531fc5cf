"""Compiled loops shared by the features; imported only where rows are touched, since numba takes a third of a second.

Columns are many and of several types, so kernels take their addresses as integers: one call a batch, rows in
blocks that stay in cache, and no compilation for each number of columns. No fast-math, no threads: the bits are fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["civil", "combine", "combine_all", "cross", "fill_dense", "gather", "hash_strings", "join_rows", "kernel", "mixed", "murmur", "products", "sparse_rows", "welford"]

F = TypeVar("F", bound=Callable[..., Any])
BLOCK = 256  # rows: 256 rows of 40 four-byte entries lie in the first-level cache
F8, F4, I8, I4 = 0, 1, 2, 3  # how `fill_dense` reads a column


def kernel(function: F) -> F:
    """The function compiled by numba, cached on disk, releasing the interpreter lock."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def _load(_typing: Any, _address: Any, _index: Any, like: Any) -> Any:
    element = like.instance_type

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], context.get_data_type(element).as_pointer())
        return builder.load(builder.gep(pointer, [args[1]]))

    return element(types.int64, types.int64, like), generate


load: Any = intrinsic(_load)  # load(address, index, np.int32): the value at that place of an array of this type


@kernel
def combine(left: Any, right: Any) -> Any:
    """uint32: one hash of two, order mattering (murmur3's finaliser over their mix)."""
    h = (np.uint64(left) * np.uint64(0x9E3779B1) + np.uint64(right)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = (h * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    h = (h * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    return np.uint32(h ^ (h >> np.uint64(16)))


@kernel
def combine_all(left: Any, right: Any) -> Any:
    """`combine`, value by value: uint32 of the length of both."""
    out = np.empty(len(left), np.uint32)
    for i in range(len(left)):
        out[i] = combine(left[i], right[i])
    return out


@kernel
def murmur(data: Any, start: int, stop: int, seed: Any) -> Any:
    """MurmurHash3 x86 32-bit (Appleby 2011) of the bytes data[start:stop] (uint8): a uint32."""
    h = np.uint32(seed)
    at, end = np.uint64(start), np.uint64(stop)
    for _ in range((end - at) >> np.uint64(2)):
        k = np.uint32(data[at]) | np.uint32(data[at + np.uint64(1)]) << np.uint32(8)
        k = np.uint32(k | np.uint32(data[at + np.uint64(2)]) << np.uint32(16) | np.uint32(data[at + np.uint64(3)]) << np.uint32(24))
        k = np.uint32(k * np.uint32(0xCC9E2D51))
        k = np.uint32(np.uint32(k << np.uint32(15)) | np.uint32(k >> np.uint32(17)))
        h = np.uint32(h ^ np.uint32(k * np.uint32(0x1B873593)))
        h = np.uint32(np.uint32(h << np.uint32(13)) | np.uint32(h >> np.uint32(19)))
        h = np.uint32(np.uint32(h * np.uint32(5)) + np.uint32(0xE6546B64))
        at += np.uint64(4)
    rest = end - at
    if rest:
        k = np.uint32(data[at])
        if rest > 1:
            k = np.uint32(k | np.uint32(data[at + np.uint64(1)]) << np.uint32(8))
        if rest > 2:
            k = np.uint32(k | np.uint32(data[at + np.uint64(2)]) << np.uint32(16))
        k = np.uint32(k * np.uint32(0xCC9E2D51))
        k = np.uint32(np.uint32(k << np.uint32(15)) | np.uint32(k >> np.uint32(17)))
        h = np.uint32(h ^ np.uint32(k * np.uint32(0x1B873593)))
    h = np.uint32(h ^ np.uint32(stop - start))
    h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ np.uint32(h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ np.uint32(h >> np.uint32(16)))


@kernel
def hash_strings(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    """out[i] = murmur of string i, data[offsets[i]:offsets[i+1]], for as many strings as there are."""
    for i in range(len(offsets) - 1):
        out[i] = murmur(data, offsets[i], offsets[i + 1], seed)


def _look_up16(_typing: Any, _codes: Any, _at: Any, _table: Any, _last: Any, _mask: Any, out: Any, _to: Any) -> Any:
    """out[to:to+16] = table[min(code, last)] & mask of the 16 codes from `at` on (unsigned, so that -1 is last); a bit for each code that is neither -1 nor below last."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number, word = ir.IntType(32), ir.IntType(64)
        sixteen = ir.VectorType(number, 16)

        def spread(value: Any) -> Any:
            one = builder.insert_element(ir.Constant(sixteen, ir.Undefined), builder.trunc(value, number) if value.type != number else value, ir.Constant(number, 0))
            return builder.shuffle_vector(one, ir.Constant(sixteen, ir.Undefined), ir.Constant(sixteen, [0] * 16))

        def pointer(address: Any, place: Any) -> Any:
            return builder.bitcast(builder.gep(builder.inttoptr(address, number.as_pointer()), [place]), sixteen.as_pointer())

        codes, last = builder.load(pointer(args[0], args[1]), align=4), spread(args[3])
        beyond = builder.icmp_unsigned(">=", codes, last)
        bad = builder.and_(beyond, builder.icmp_unsigned("!=", codes, ir.Constant(sixteen, [0xFFFFFFFF] * 16)))
        wide = ir.VectorType(word, 16)
        places = builder.shl(builder.zext(builder.select(beyond, last, codes), wide), ir.Constant(wide, [2] * 16))
        kind = ir.FunctionType(sixteen, [ir.VectorType(number.as_pointer(), 16), number, ir.VectorType(ir.IntType(1), 16), sixteen])
        gather = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.gather.v16i32.v16p0")  # type: ignore[no-untyped-call]
        first = builder.insert_element(ir.Constant(wide, ir.Undefined), args[2], ir.Constant(number, 0))
        base = builder.shuffle_vector(first, ir.Constant(wide, ir.Undefined), ir.Constant(sixteen, [0] * 16))
        where = builder.inttoptr(builder.add(base, places), ir.VectorType(number.as_pointer(), 16))
        all_of = ir.Constant(ir.VectorType(ir.IntType(1), 16), [1] * 16)
        found = builder.call(gather, [where, ir.Constant(number, 4), all_of, ir.Constant(sixteen, ir.Undefined)])
        target = builder.bitcast(builder.gep(context.make_array(signature.args[5])(context, builder, args[5]).data, [args[6]]), sixteen.as_pointer())
        builder.store(builder.and_(found, spread(args[4])), target, align=4)
        return builder.zext(builder.bitcast(bad, ir.IntType(16)), word)

    return types.uint64(types.int64, types.int64, types.int64, types.int64, types.int64, out, types.int64), generate


look_up16: Any = intrinsic(_look_up16)


@kernel
def gather(codes: Any, tables: Any, sizes: Any, mask: Any, out: Any) -> int:
    """out[i, j] = tables[j][codes[j][i]] & mask for the first columns of `out`, row-major.

    codes : int64 (k,), addresses of int32 (n,) codes, -1 where missing.
    tables : int64 (k,), addresses of uint32 tables whose last entry belongs to missing.
    sizes : int64 (k,), entries of each table.
    Returns the number of a column with a code outside its table, or -1.

    Sixteen rows at a time are looked up column by column, and then written row by row.
    """
    n, k = out.shape[0], len(codes)
    tile = np.empty(16 * k, np.uint32)
    bad = -1
    for low in range(0, n - 15, 16):
        for j in range(k):
            if look_up16(codes[j], low, tables[j], sizes[j] - 1, mask, tile, 16 * j):
                bad = j
        for i in range(16):
            for j in range(k):
                out[low + i, j] = tile[16 * j + i]
    for i in range(n // 16 * 16, n):
        for j in range(k):
            code, last = np.int64(load(codes[j], i, np.int32)), sizes[j] - 1
            if np.uint64(code) >= np.uint64(last):
                if code != -1:
                    bad = j
                code = last
            out[i, j] = load(tables[j], code, np.uint32) & mask
    return bad


@kernel
def cross(hashes: Any, members: Any, starts: Any, at: int, mask: Any, out: Any) -> None:
    """out[i, at + x] = the combined hash & mask of the columns members[starts[x]:starts[x+1]] of hashes : uint32 (n, k)."""
    for i in range(out.shape[0]):
        for x in range(len(starts) - 1):
            h = hashes[i, members[starts[x]]]
            for place in range(starts[x] + 1, starts[x + 1]):
                h = combine(h, hashes[i, members[place]])
            out[i, at + x] = h & mask


@kernel
def products(dense: Any, at: int, members: Any, starts: Any) -> tuple[int, int]:
    """dense[i, at + x] = the product of its columns members[starts[x]:starts[x+1]], formed in float64.

    Returns (row, x) of the first product that overflows, or (-1, -1).
    """
    bad_row, bad = -1, -1
    for i in range(dense.shape[0]):
        for x in range(len(starts) - 1):
            value = np.float64(dense[i, members[starts[x]]])
            for place in range(starts[x] + 1, starts[x + 1]):
                value *= np.float64(dense[i, members[place]])
            dense[i, at + x] = value
            if abs(dense[i, at + x]) == np.inf and bad_row < 0:
                bad_row, bad = i, x
    return bad_row, bad


@kernel
def mixed(hashes: Any, dense: Any, seeds: Any, members: Any, starts: Any, offsets: Any, slots: Any, values: Any) -> int:
    """Entries of numbers crossed with categories: the product of the numbers at the combined hash.

    members : int64, c >= 0 for column c of hashes (n, k), -1 - j for column j of dense (n, m), whose hash is seeds[j].
    offsets : int64 (n + 1,), slots : uint32 and values : float32, both with room for n × crosses: written.
    A missing number or a zero gives no entry. Returns the row of the first product that overflows, or -1.
    """
    end, bad = 0, -1
    offsets[0] = 0
    for i in range(hashes.shape[0]):
        for x in range(len(starts) - 1):
            value, h = 1.0, np.uint32(0)
            for place in range(starts[x], starts[x + 1]):
                member = members[place]
                part = hashes[i, member] if member >= 0 else seeds[-1 - member]
                h = part if place == starts[x] else combine(h, part)
                if member < 0:
                    value *= np.float64(dense[i, -1 - member])
            if value == value and value != 0.0:  # noqa: PLR0124 not NaN
                slots[end], values[end] = h, value
                if abs(values[end]) == np.inf and bad < 0:
                    bad = i
                end += 1
        offsets[i + 1] = end
    return bad


@kernel
def sparse_rows(starts: Any, indices: Any, numbers: Any, seed: Any, offsets: Any, slots: Any, values: Any) -> int:
    """Entries of a sparse column: its value at the hash of (column, place); NaN is missing and gives no entry.

    Returns the row of the first value that is infinite in float32, or -1.
    """
    end, bad = 0, -1
    offsets[0] = 0
    for i in range(len(starts) - 1):
        for e in range(starts[i], starts[i + 1]):
            if numbers[e] == numbers[e]:
                slots[end], values[end] = combine(seed, np.uint32(indices[e])), numbers[e]
                if abs(values[end]) == np.inf and bad < 0:
                    bad = i
                end += 1
        offsets[i + 1] = end
    return bad


@kernel
def join_rows(starts: Any, left: Any, weights: Any, ends: Any, right: Any, others: Any, offsets: Any, slots: Any, values: Any) -> None:
    """Row i of two ragged blocks (offsets, slots, values) one after the other, for every row."""
    end = 0
    offsets[0] = 0
    for i in range(len(starts) - 1):
        for e in range(starts[i], starts[i + 1]):
            slots[end], values[end] = left[e], weights[e]
            end += 1
        for e in range(ends[i], ends[i + 1]):
            slots[end], values[end] = right[e], others[e]
            end += 1
        offsets[i + 1] = end


@kernel
def fill_dense(columns: Any, kinds: Any, valids: Any, out: Any) -> tuple[int, int]:  # noqa: C901, PLR0912 one plain loop a type
    """out[i, j] = columns[j][i], NaN where missing, row-major, for the first columns of `out`.

    columns : int64 (m,), addresses; kinds : int64 (m,), F8, F4, I8 or I4.
    valids : int64 (m,), addresses of bool (n,), 0 where nothing is missing.
    Returns (row, column) of the first row with a value that is not finite in the type of `out`, or (-1, -1).
    """
    n, m = out.shape[0], len(columns)
    bad_row, bad_column = -1, -1
    tile = np.empty((m, BLOCK), out.dtype)
    for low in range(0, n, BLOCK):
        count = min(BLOCK, n - low)
        for j in range(m):
            column, kind, valid, part = columns[j], kinds[j], valids[j], tile[j]
            if kind == F8:
                for i in range(count):
                    part[i] = load(column, low + i, np.float64)
            elif kind == F4:
                for i in range(count):
                    part[i] = load(column, low + i, np.float32)
            elif kind == I8:
                for i in range(count):
                    part[i] = np.float64(load(column, low + i, np.int64))  # the way of a Python number too
            else:
                for i in range(count):
                    part[i] = load(column, low + i, np.int32)
            if valid:
                for i in range(count):
                    part[i] = part[i] if load(valid, low + i, np.uint8) else np.nan
            if kind <= F4:
                found = False
                for i in range(count):
                    found |= abs(part[i]) == np.inf
                if found:
                    for i in range(count):
                        if abs(part[i]) == np.inf and (bad_row < 0 or low + i < bad_row):
                            bad_row, bad_column = low + i, j
        for i in range(count):
            for j in range(m):
                out[low + i, j] = tile[j, i]
    return bad_row, bad_column


@kernel
def welford(block: Any, count: Any, mean: Any, m2: Any, largest: Any) -> None:
    """Add the rows of block : float64 (n, m), NaN where missing, to count, mean, sum of squared deviations and largest size, all (m,)."""
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            x = block[i, j]
            if x == x:  # noqa: PLR0124 not NaN
                count[j] += 1
                away = x - mean[j]
                mean[j] += away / count[j]
                m2[j] += away * (x - mean[j])
                largest[j] = max(largest[j], abs(x))


@kernel
def civil(time: Any, out: Any) -> None:
    """Year, month (from 0), day of the month (from 0), weekday (Monday 0), hour, minute and day of the year (from 1) of each time.

    time : int64 (n,), microseconds since 1970-01-01 UTC. out : int32 (7, n), written. The calendar is the Gregorian one at
    all times, counted in eras of 400 years that begin on 1 March (Hinnant, "chrono-compatible low-level date algorithms").
    """
    for i in range(len(time)):
        days = time[i] // 86_400_000_000
        minutes = (time[i] - days * 86_400_000_000) // 60_000_000
        era = (days + 719_468) // 146_097
        of_era = days + 719_468 - era * 146_097
        years = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
        of_year = of_era - (365 * years + years // 4 - years // 100)  # from 1 March
        march = (5 * of_year + 2) // 153
        month = march + 2 if march < 10 else march - 10
        year = years + era * 400 + (1 if month < 2 else 0)
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        out[0, i] = year
        out[1, i] = month
        out[2, i] = of_year - (153 * march + 2) // 5
        out[3, i] = (days + 3) % 7  # 1970-01-01 was a Thursday
        out[4, i] = minutes // 60
        out[5, i] = minutes % 60
        out[6, i] = of_year - 305 if month < 2 else of_year + 60 + leap
