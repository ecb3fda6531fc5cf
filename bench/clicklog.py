"""Generates a click log: 13 numeric and 26 string columns with long tails, the same rows for the same seed.

    .venv/bin/python bench/clicklog.py DIR [--train 5000000] [--test 200000] [--seed 1] [--vw]

writes DIR/train.parquet and DIR/test.parquet (column ``click``: 0 or 1, about a quarter of them 1), and with ``--vw`` the same
rows as Vowpal Wabbit text. Values of column j are drawn from 3 to 300 000 categories by a power law; the chance
of a click is the sigmoid of effects of categories, of pairs of them, and of logarithms of the numbers: a linear model learns most of
it, not all. Numbers have two decimals; 5 to 40 % of each column are missing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS, CATEGORIES = 13, 26
KINDS = np.unique(np.round(3 * 100_000 ** (np.arange(CATEGORIES) / (CATEGORIES - 1)))).astype(np.int64)
KINDS = np.sort(np.resize(KINDS, CATEGORIES))
STEEP = 1.05 + 0.01 * np.arange(CATEGORIES)  # exponents of the power laws
PAIRS = np.array([(3, 7), (5, 11), (9, 14)])
ROW_GROUP = 1 << 18
COLUMNS = [f"n{j}" for j in range(NUMBERS)] + [f"c{j}" for j in range(CATEGORIES)]


@numba.njit(cache=True)
def _mix(z: Any) -> Any:
    z = np.uint64(z)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True)
def _unit(key: Any, number: Any) -> float:
    """A number in [0, 1) for a key and a counter."""
    return np.float64(_mix(np.uint64(key) + np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)) * 2.0**-53


@numba.njit(cache=True)
def _bell(key: Any, number: Any) -> float:
    """Four of them, scaled to variance 1: near enough to normal."""
    total = 0.0
    for part in range(4):
        total += _unit(key, np.uint64(number) * np.uint64(4) + np.uint64(part))
    return (total - 2.0) * np.sqrt(3.0)


@numba.njit(cache=True)
def rows(start: int, seed: int, kinds: Any, steep: Any, pairs: Any, numbers: Any, codes: Any, clicks: Any) -> None:
    """Fill numbers (n, 13) int32 hundredths, −1 where missing; codes (n, 26) int32; clicks (n,) uint8."""
    n, m = numbers.shape
    k = codes.shape[1]
    key, taste = _mix(np.uint64(seed) * np.uint64(2) + np.uint64(1)), _mix(np.uint64(seed) + np.uint64(77))
    for i in range(n):
        row = np.uint64(start + i) * np.uint64(128)
        z = -3.2
        for j in range(k):
            u, tail = _unit(key, row + np.uint64(j)), 1.0 - steep[j]
            code = int((1.0 - u * (1.0 - (kinds[j] + 1.0) ** tail)) ** (1.0 / tail)) - 1
            code = min(code, kinds[j] - 1)
            codes[i, j] = code
            z += 0.28 * _bell(taste, np.uint64(j) * np.uint64(1 << 22) + np.uint64(code))
        for j in range(len(pairs)):
            a, b = np.uint64(codes[i, pairs[j, 0]]), np.uint64(codes[i, pairs[j, 1]])
            z += 0.3 * _bell(taste + np.uint64(9), (a * np.uint64(1 << 20) + b) * np.uint64(16) + np.uint64(j))
        for j in range(m):
            if _unit(key, row + np.uint64(64 + j)) < 0.05 + 0.35 * j / m:
                numbers[i, j] = -1
                z += 0.1
                continue
            bell = 0.0
            for part in range(4):
                bell += _unit(key, row + np.uint64(64 + m)  + np.uint64((j * 4 + part) * 7919 << 32))
            size = np.exp((bell - 2.0) * 1.73 * (0.5 + 0.1 * j) + 0.3 * j)
            numbers[i, j] = int(size * 100.0)
            z += 0.12 * _bell(taste + np.uint64(5), np.uint64(j)) * np.log(size + 0.01)
        clicks[i] = 1 if _unit(key, row + np.uint64(127)) < 1.0 / (1.0 + np.exp(-z)) else 0


def names_of(column: int) -> list[str]:
    """The categories of a column: eight hexadecimal digits each."""
    return [f"{(value * 2654435761 + column * 40503 * 65537 + 12345) & 0xFFFFFFFF:08x}" for value in range(KINDS[column])]


def table(numbers: Any, codes: Any, clicks: Any, names: list[pa.Array]) -> pa.Table:
    """One row group; each dictionary holds only what is used."""
    columns: list[pa.Array] = []
    for j in range(NUMBERS):
        column = np.ascontiguousarray(numbers[:, j])
        columns.append(pa.array((column / 100.0).astype(np.float32), mask=column < 0))
    for j in range(CATEGORIES):
        code = np.ascontiguousarray(codes[:, j])
        used = np.zeros(KINDS[j], bool)
        used[code] = True
        place = np.cumsum(used, dtype=np.int32) - np.int32(1)
        columns.append(pa.DictionaryArray.from_arrays(place[code], names[j].filter(pa.array(used))))
    return pa.Table.from_arrays([pa.array(clicks), *columns], ["click", *COLUMNS])


@numba.njit(cache=True)
def _digits(value: int, out: Any, at: int) -> int:
    start = at
    while True:
        out[at] = 48 + value % 10
        at += 1
        value //= 10
        if value == 0:
            break
    for j in range((at - start) // 2):
        out[start + j], out[at - 1 - j] = out[at - 1 - j], out[start + j]
    return at


@numba.njit(cache=True)
def vw_text(numbers: Any, codes: Any, clicks: Any, letters: Any, firsts: Any, out: Any) -> int:
    """Write the rows as VW text to out (uint8); returns its length. letters: the 8 bytes of each category, column after column from `firsts`."""
    at = 0
    for i in range(len(clicks)):
        if clicks[i] == 0:
            out[at] = 45
            at += 1
        out[at], out[at + 1], out[at + 2] = 49, 32, 124
        at += 3
        for j in range(numbers.shape[1]):
            value = numbers[i, j]
            if value < 0:
                continue
            out[at], out[at + 1] = 32, 110
            at = _digits(j, out, at + 2)
            out[at] = 58
            at = _digits(value // 100, out, at + 1)
            out[at], out[at + 1], out[at + 2] = 46, 48 + value // 10 % 10, 48 + value % 10
            at += 3
        for j in range(codes.shape[1]):
            out[at], out[at + 1] = 32, 99
            at = _digits(j, out, at + 2)
            out[at] = 95
            first = 8 * (firsts[j] + codes[i, j])
            for b in range(8):
                out[at + 1 + b] = letters[first + b]
            at += 9
        out[at] = 10
        at += 1
    return at


def write(folder: Path, name: str, start: int, count: int, seed: int, vw: bool) -> None:
    """Write rows [start, start + count) as folder/name.parquet, and as folder/name.vw."""
    texts = [names_of(j) for j in range(CATEGORIES)]
    names = [pa.array(column) for column in texts]
    letters = np.frombuffer("".join("".join(column) for column in texts).encode(), np.uint8)
    firsts = np.concatenate([[0], np.cumsum(KINDS)[:-1]])
    writer, text = None, (folder / f"{name}.vw").open("wb") if vw else None
    out = np.empty(ROW_GROUP * 700 if vw else 0, np.uint8)
    for at in range(start, start + count, ROW_GROUP):
        n = min(ROW_GROUP, start + count - at)
        numbers, codes, clicks = np.empty((n, NUMBERS), np.int32), np.empty((n, CATEGORIES), np.int32), np.empty(n, np.uint8)
        rows(at, seed, KINDS, STEEP, PAIRS, numbers, codes, clicks)
        part = table(numbers, codes, clicks, names)
        if writer is None:
            writer = pq.ParquetWriter(folder / f"{name}.parquet", part.schema, compression="snappy", dictionary_pagesize_limit=8 << 20, use_dictionary=COLUMNS[NUMBERS:])
        writer.write_table(part, row_group_size=n)
        if text is not None:
            text.write(out[: vw_text(numbers, codes, clicks, letters, firsts, out)].data)
    if writer is not None:
        writer.close()
    if text is not None:
        text.close()


def generate(folder: Path, *, train: int = 5_000_000, test: int = 200_000, seed: int = 1, vw: bool = False) -> None:
    """Write the files that are not there yet; the test rows follow the training rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, start, count in (("train", 0, train), ("test", 1 << 40, test)):
        wanted = [folder / f"{name}.parquet", *([folder / f"{name}.vw"] if vw else [])]
        if not all(path.exists() for path in wanted):
            write(folder, name, start, count, seed, vw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=5_000_000)
    parser.add_argument("--test", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vw", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    generate(options.folder, train=options.train, test=options.test, seed=options.seed, vw=options.vw)
    print(f"{time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
