"""Sums over tables of slots: against numpy, to the bit."""

import numpy as np
import pytest

from outgrow.learn.kernels.dense import gather, scatter

NOTHING = np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32)


def rows(n: int, k: int, ragged: bool, width: int = 50) -> tuple:  # type: ignore[type-arg]
    rng = np.random.default_rng(n)
    slots = rng.integers(0, width, (n, k)).astype(np.uint32)
    if not ragged:
        return slots, NOTHING
    offsets = np.concatenate([[3], 3 + np.cumsum(rng.integers(0, 4, n))])  # the first entries are of rows before
    return slots, (offsets, rng.integers(0, width, offsets[-1]).astype(np.uint32), rng.normal(size=offsets[-1]).astype(np.float32))


@pytest.mark.parametrize("outs", [1, 3])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("n", [1, 7, 40])
def test_gather_and_scatter__any_rows__are_the_sums_in_order(n: int, ragged: bool, outs: int) -> None:
    slots, entries = rows(n, 5, ragged)
    rng = np.random.default_rng(0)
    table, z, found = rng.normal(size=(50, outs)), rng.normal(size=(outs, n)), rng.normal(size=(50, outs))
    residual, offsets = rng.normal(size=(outs, n)), entries[0]
    summed, wanted, squares = z.copy(), found.copy(), found.copy()
    for i in range(n):
        for slot in slots[i]:
            summed[:, i] += table[slot]
            wanted[slot] += residual[:, i]
            squares[slot] += residual[:, i]
        for e in range(offsets[i], offsets[i + 1]) if ragged else ():
            value = float(entries[2][e])
            summed[:, i] += value * table[entries[1][e]]
            wanted[entries[1][e]] += value * residual[:, i]
            squares[entries[1][e]] += float(entries[2][e] ** 2) * residual[:, i]  # a square of float32
    gather(z, slots, *entries, table)
    assert (z == summed).all()
    for squared, want in ((False, wanted), (True, squares)):
        own = found.copy()
        scatter(residual, slots, *entries, own, squared)
        assert (own == want).all()


def test_gather__a_table_of_any_layout__gives_the_same() -> None:
    slots, entries = rows(20, 5, True)
    wide = np.random.default_rng(1).normal(size=(50, 6))
    a, b = np.zeros((1, 20)), np.zeros((1, 20))
    gather(a, slots, *entries, wide[:, 2:3])
    gather(b, slots, *entries, np.ascontiguousarray(wide[:, 2:3]))
    assert (a == b).all()
