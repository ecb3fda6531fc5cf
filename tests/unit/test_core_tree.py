"""The tree in which lanes meet, against its definition written as a recursion."""

import mmap
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.core.state import digest, nbytes, spilled
from outgrow.core.tree import Closer, aligned


def merge(left: Any, right: Any) -> Any:
    """Neither commutative nor associative, and it writes into its left, as it may."""
    left["t"] = f"({left['t']} {right['t']})"
    return left


def leaf(lane: int) -> Any:
    return {"t": str(lane)}


def reference(start: int, stop: int) -> str:
    """Lanes [start, stop) of a complete subtree."""
    return str(start) if stop - start == 1 else f"({reference(start, (start + stop) // 2)} {reference((start + stop) // 2, stop)})"


def whole(lanes: int) -> str:
    """Complete subtrees of the binary digits of `lanes`, folded from the left."""
    found, start = "", 0
    for level in reversed(range(lanes.bit_length())):
        if lanes >> level & 1:
            part = reference(start, start + (1 << level))
            found, start = f"({found} {part})" if found else part, start + (1 << level)
    return found


def node(level: int, index: int) -> Any:
    return {"t": reference(index << level, (index + 1) << level)}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_close__any_cut_any_order_and_late_twins__is_the_definition(data: Any) -> None:
    lanes = data.draw(st.integers(1, 40))
    nodes = []
    for _ in range(data.draw(st.integers(1, 3))):  # each time a whole cut of its own: twins and ancestors of one another
        edges = sorted({0, lanes, *data.draw(st.lists(st.integers(0, lanes), max_size=6))})
        most = data.draw(st.integers(1, 16))
        nodes += [key for a, b in pairwise(edges) for key in aligned(a, b, most)]
    closer, seen = Closer(lanes, merge), set()
    for level, index in data.draw(st.permutations(nodes)):
        covered = closer.covers(level, index)
        assert closer.add(level, index, node(level, index)) is not covered
        seen |= set(range(index << level, (index + 1) << level))
        assert {lane for a, b in closer.missing() for lane in range(a, b)} == set(range(lanes)) - seen
    assert closer.close()["t"] == whole(lanes)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 70))
def test_aligned__any_range__is_cut_whole_in_order_and_not_too_large(a: int, b: int, most: int) -> None:
    start, stop = min(a, b), max(a, b)
    found = list(aligned(start, stop, most))
    assert [lane for level, index in found for lane in range(index << level, (index + 1) << level)] == list(range(start, stop))
    assert all(1 << level <= most for level, _ in found)


def test_add__a_twin_after_its_ancestor__is_dropped() -> None:
    closer = Closer(8, merge)
    assert closer.add(1, 1, node(1, 1))
    assert not closer.add(0, 2, leaf(2))
    assert not closer.add(1, 1, node(1, 1))
    assert closer.add(2, 0, node(2, 0))  # an ancestor takes the place of what it covers
    assert not closer.add(1, 0, node(1, 0))
    assert closer.missing() == [(4, 8)]


def test_add__lanes_in_order__holds_a_logarithm_of_states() -> None:
    closer = Closer(782, merge)
    most = 0
    for lane in range(782):
        closer.add(0, lane, {"t": ""})
        most = max(most, len(closer.nodes))
    assert most <= 10


def test_close__before_all_have_arrived__names_the_lanes() -> None:
    closer = Closer(5, merge)
    closer.add(0, 1, leaf(1))
    with pytest.raises(ValueError, match=r"lanes \[\(0, 1\), \(2, 5\)\] have not arrived"):
        closer.close()


def test_close__one_lane__is_that_lane() -> None:
    closer = Closer(1, merge)
    closer.add(0, 0, leaf(0))
    assert closer.close() == {"t": "0"}


def test_close__float_sums__do_not_depend_on_the_split() -> None:
    leaves = np.random.default_rng(3).normal(size=301) * 10.0 ** np.random.default_rng(4).integers(-8, 8, 301)
    found = set()
    for most in (1, 2, 17, 150, 301):
        closer = Closer(301, lambda left, right: {"s": left["s"] + right["s"]})
        for level, index in reversed(list(aligned(0, 301, most))):
            inner = Closer(301, closer.merge)
            for lane in range(index << level, (index + 1) << level):
                inner.add(0, lane, {"s": leaves[lane]})
            closer.add(level, index, inner.nodes[level, index])
        found.add(closer.close()["s"].tobytes())
    assert len(found) == 1


def sums(left: Any, right: Any) -> Any:
    left["s"] += right["s"]  # as it may
    return left


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 4), st.randoms(use_true_random=False))
def test_states_beyond_the_limit__lie_on_disk_and_close_to_the_same_bits(lanes: int, limit: int, random: Any) -> None:
    def state(lane: int) -> Any:
        return {"s": np.random.default_rng(lane).normal(size=100), "none": np.zeros((0, 3), np.float32), "flag": np.array(lane % 2 == 0)}

    order, spills = random.sample(range(lanes), lanes), []

    def spill(held: Any) -> Any:
        spills.append(nbytes(held))
        return spilled(held)

    plain, tight = Closer(lanes, sums), Closer(lanes, sums, spill, limit * 801)
    for lane in order:
        plain.add(0, lane, state(lane))
        tight.add(0, lane, state(lane))
        assert sum(nbytes(held) for held in tight.nodes.values() if not mapped(held)) <= limit * 801
    assert len(spills) >= (limit == 0)
    assert digest(tight.close()) == digest(plain.close())


def mapped(state: Any) -> bool:
    """Whether the arrays of a state are views of a file."""
    base = state["s"]
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return isinstance(getattr(base, "obj", base), mmap.mmap)
