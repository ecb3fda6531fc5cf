"""Randomness by position: exact permutations, and numbers that never move."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrow.core.rng import Permutation, hash64, key64, uniform


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 100, 1000, 4097, 65537])
def test_permutation__of_any_size__is_a_bijection_with_its_inverse(n: int) -> None:
    permutation = Permutation(n, seed=5, purpose="test")
    places = permutation.forward(np.arange(n))
    assert places.dtype == np.int64
    assert np.array_equal(np.sort(places), np.arange(n))
    assert np.array_equal(permutation.inverse(places), np.arange(n))
    assert np.array_equal(permutation.forward(permutation.inverse(np.arange(n))), np.arange(n))


@given(st.integers(1, 1 << 48), st.integers(0, 1 << 60), st.lists(st.integers(0, (1 << 48) - 1), min_size=1, max_size=20))
def test_permutation__of_a_huge_range__stays_inside_and_comes_back(n: int, seed: int, ids: list[int]) -> None:
    ids = [i % n for i in ids]
    permutation = Permutation(n, seed=seed, purpose="p")
    places = permutation.forward(ids)
    assert ((places >= 0) & (places < n)).all()
    assert permutation.inverse(places).tolist() == ids


@given(st.lists(st.integers(0, 999), max_size=30))
def test_permutation__of_some_positions__is_that_of_all_at_them(ids: list[int]) -> None:
    permutation = Permutation(1000, seed=1, purpose="p")
    assert permutation.forward(ids).tolist() == permutation.forward(np.arange(1000))[ids].tolist()


def test_permutation__seed_and_purpose__give_others() -> None:
    orders = {tuple(Permutation(50, seed=seed, purpose=purpose).forward(np.arange(50)).tolist()) for seed in range(5) for purpose in ("split", "shuffle 0", "shuffle 1")}
    assert len(orders) == 15


def test_permutation__every_position__goes_everywhere_equally_often() -> None:
    where = np.array([Permutation(60, seed=seed, purpose="p").forward(np.arange(60)) for seed in range(1200)])
    counts = np.stack([(where == place).sum(axis=0) for place in range(60)])
    assert 0.9 < ((counts - 20) ** 2 / 20).sum() / 59**2 < 1.1  # chi squared, about 1 ± 0.024


def test_golden__hashes_and_permutations__have_not_moved() -> None:
    assert key64(0, "split") == 9846005106208091989
    assert hash64(0, "demo", [0, 1, 2, 1 << 63]).tolist() == [4461762347737698449, 15598196801284144313, 10421814220633521988, 9109967438422298712]
    assert uniform(3, "u", [0, 1]).tolist() == [0.005681032531847707, 0.5668925850670484]
    assert Permutation(12, seed=0, purpose="split").forward(np.arange(12)).tolist() == [2, 11, 1, 0, 5, 6, 7, 8, 10, 3, 9, 4]


def test_uniform__is_uniform_in_the_unit_interval() -> None:
    u = uniform(0, "u", np.arange(100_000))
    assert u.min() >= 0
    assert u.max() < 1
    assert np.abs(np.histogram(u, 20, (0, 1))[0] - 5000).max() < 350
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.02


def test_hash64__purposes_and_seeds__do_not_meet() -> None:
    ids = np.arange(1000)
    found = np.concatenate([hash64(seed, purpose, ids) for seed in range(3) for purpose in ("a", "b")])
    assert len(set(found.tolist())) == 6000
