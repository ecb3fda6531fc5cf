"""Growing one tree from histograms: which leaf is split next, and which leaves' halves are asked for ahead of time.

Leaves are split strictly in order, the best one first; a round asks for the halves of the few best leaves at once, since most of them will be split
anyway. What was asked for and is not split in the end is forgotten: the tree does not depend on how many were asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.state import State
from ...data.native import F8, FLOAT, I4, I8, U1, Native

__all__ = ["Growth", "Tree", "rounds_of"]

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
_FREE = np.array([-np.inf, np.inf])
_best_split = Native(
    "outgrow.learn.kernels.splits", "best_split", (I8(1), I4(1), U1(1), I8(1), F8(1), F8(1, True), I8(1, True), U1(1, True), I8(1, True), I4(1), F8(1)), FLOAT
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """How a tree grows. depth, 0: any. by_level: all leaves of a level before the next. ahead: leaves whose halves are asked for at once.

    bins int32 (m,), kinds uint8 (m,), rule float64 (9,), signs int32 (m,) or (0,): as `kernels.splits.best_split` takes them.
    """

    leaves: int
    depth: int
    by_level: bool
    ahead: int
    min_gain: float
    bins: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.uint8]
    rule: npt.NDArray[np.float64]
    signs: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def value(self, sums: I64, rate: float = 1.0) -> npt.NDArray[np.float64]:
        """Newton's step, times the rate, of leaves of these sums, int64 (…, 3)."""
        g = sums[..., 0] * self.rule[0]
        shrunk = np.sign(g) * np.maximum(np.abs(g) - self.rule[2], 0.0)
        below = sums[..., 1] * self.rule[1] + self.rule[3]
        found: npt.NDArray[np.float64] = np.where(below > 0.0, -rate * shrunk / np.where(below > 0.0, below, 1.0), 0.0)
        return found


def rounds_of(leaves: int, ahead: int) -> int:
    """Rounds that a tree takes in which each split that was asked for is wanted."""
    now, rounds = 1, 0
    while now < leaves:
        now += min(now, ahead, leaves - now)
        rounds += 1
    return rounds


class Tree:
    """A tree under way. Its state: arrays of `size` nodes in the order they were made, and the histograms of leaves that may be split.

    column int32, -1 where no split is allowed; child int32, 0 where the halves are not known; bin int64; lefts uint8 (·, 256); gain float64; sums int64 (·, 3);
    halves int64 (·, 3), of the left; limits float64 (·, 2), of the value, 0 where no column is bound; depth int32; split bool, in the tree; front bool, a leaf of the tree.
    """

    _EMPTY: ClassVar[dict[str, tuple[Any, tuple[int, ...]]]] = {
        "column": (np.int32, ()), "child": (np.int32, ()), "bin": (np.int64, ()), "lefts": (np.uint8, (256,)), "gain": (np.float64, ()), "sums": (np.int64, (3,)),
        "halves": (np.int64, (3,)), "limits": (np.float64, (2,)), "depth": (np.int32, ()), "split": (np.bool_, ()), "front": (np.bool_, ()),
    }  # fmt: skip

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.nodes = {name: state[name] for name in self._EMPTY}
        self.histograms: dict[int, I64] = {int(name[10:]): array for name, array in state.items() if name.startswith("histogram/")}

    @classmethod
    def rooted(cls, growth: Growth, sums: I64) -> Tree:
        """A root with this histogram, int64 (m · 256 · 3,)."""
        tree = cls({name: np.zeros((0, *shape), dtype) for name, (dtype, shape) in cls._EMPTY.items()})
        total = sums.reshape(-1, 256, 3)[0].sum(0) if len(sums) else np.zeros(3, np.int64)
        tree._add(growth, [(sums, total, 0, _FREE)])
        tree.nodes["front"][0] = True
        tree._advance(growth)
        return tree

    def state(self) -> State:
        return self.nodes | {f"histogram/{node}": array for node, array in self.histograms.items()}

    def _add(self, growth: Growth, made: list[tuple[I64, I64, int, F64]]) -> None:
        """Put nodes of these histograms, sums, depths and limits behind the others, with the best split of each; all in arrays of their own."""
        at, n = len(self.nodes["column"]), len(made)
        self.nodes = {name: np.concatenate([array, np.zeros((n, *self._EMPTY[name][1]), array.dtype)]) for name, array in self.nodes.items()}
        ratio, rank, found = np.empty(256), np.empty(256, np.int64), np.zeros(6, np.int64)
        for node, (sums, total, depth, limits) in enumerate(made, at):
            self.nodes["limits"][node] = limits if len(growth.signs) else 0.0
            self.nodes["sums"][node], self.nodes["depth"][node], self.nodes["column"][node] = total, depth, -1
            if (growth.depth and depth >= growth.depth) or total[2] < 2 * growth.rule[4]:
                continue
            gain = _best_split(sums, growth.bins, growth.kinds, total, growth.rule, ratio, rank, self.nodes["lefts"][node], found, growth.signs, limits)
            if gain > growth.min_gain:
                self.nodes["gain"][node], self.nodes["column"][node], self.nodes["bin"][node], self.nodes["halves"][node] = gain, found[0], found[1], found[2:5]
                self.histograms[node] = sums

    def _ranked(self, growth: Growth, ahead: bool = False) -> I64:
        """The leaves of the tree that may be split, the next one first; of equals the one made first.

        ahead: with the halves of leaves that will be split, as far as they are known, each behind the one it is a half of.
        """
        gain, front = self.nodes["gain"], self.nodes["front"]
        if ahead:
            gain, front = gain.copy(), front.copy()
            for node in np.flatnonzero((self.nodes["child"] > 0) & ~self.nodes["split"]).tolist():  # parents come before their children
                if front[node]:
                    halves = slice(self.nodes["child"][node], self.nodes["child"][node] + 2)
                    front[halves], gain[halves] = True, np.minimum(gain[halves], gain[node])
        leaves = np.flatnonzero(front & (self.nodes["column"] >= 0))
        gain, depth = gain[leaves], self.nodes["depth"][leaves]
        order = np.lexsort((leaves, -gain, depth)) if growth.by_level else np.lexsort((leaves, -gain))
        return np.asarray(leaves[order])

    @property
    def leaves(self) -> int:
        return int(self.nodes["front"].sum())

    def _advance(self, growth: Growth) -> None:
        """Split leaves in their order as far as their halves are known."""
        while self.leaves < growth.leaves:
            ranked = self._ranked(growth)
            if not len(ranked) or not self.nodes["child"][ranked[0]]:
                break
            node = ranked[0]
            child = self.nodes["child"][node]
            self.nodes["front"][node], self.nodes["split"][node] = False, True
            self.nodes["front"][child : child + 2] = True
        if self.leaves >= growth.leaves:
            self.histograms = {}

    def wanted(self, growth: Growth) -> list[int]:
        """The leaves to split in the next round; none when the tree is done."""
        room = growth.leaves - self.leaves
        if room <= 0:
            return []
        likely = self._ranked(growth, ahead=True)[:room]
        return [int(node) for node in likely[self.nodes["child"][likely] == 0][: growth.ahead]]

    def splits(self, growth: Growth, out: int) -> list[tuple[int, int, int, int, int]]:
        """(output, leaf, column, left child, the child with fewer rows) of each wanted leaf."""
        found, at = [], len(self.nodes["column"])
        for i, node in enumerate(self.wanted(growth)):
            child = at + 2 * i
            fewer = child if 2 * self.nodes["halves"][node, 2] <= self.nodes["sums"][node, 2] else child + 1
            found.append((out, node, int(self.nodes["column"][node]), child, fewer))
        return found

    def grow(self, growth: Growth, splits: list[tuple[int, int, int, int, int]], sums: I64) -> None:
        """Take the histograms (s, m · 256 · 3) of the smaller halves of the splits that were asked for."""
        made = []
        for (_, node, _, child, fewer), small in zip(splits, sums, strict=True):
            large = self.histograms.pop(node) - small
            left = self.nodes["halves"][node].copy()
            right, depth = self.nodes["sums"][node] - left, int(self.nodes["depth"][node]) + 1
            one, two = self._limits(growth, node, left, right)
            made += [(small, left, depth, one), (large, right, depth, two)] if fewer == child else [(large, left, depth, one), (small, right, depth, two)]
        self._add(growth, made)
        for _, node, _, child, _ in splits:
            self.nodes["child"][node] = child
        self._advance(growth)

    def _limits(self, growth: Growth, node: int, left: I64, right: I64) -> tuple[F64, F64]:
        """Limits of the halves of a split: its own, and along a bound column on either side of the middle between their values."""
        if not len(growth.signs):
            return _FREE, _FREE
        low, high = self.nodes["limits"][node]
        sign = growth.signs[self.nodes["column"][node]]
        middle = float(np.clip(growth.value(np.stack([left, right])), low, high).mean())
        return np.array([middle if sign < 0 else low, middle if sign > 0 else high]), np.array([middle if sign > 0 else low, middle if sign < 0 else high])

    def ends(self) -> tuple[I64, list[tuple[int, int]]]:
        """The leaves of the tree, and for each leaf that was made, whether it stayed one or not, the place of the one its rows belong to."""
        leaves = np.flatnonzero(self.nodes["front"])
        owner = np.arange(len(self.nodes["front"]))
        for node in np.flatnonzero(self.nodes["child"]).tolist():  # parents come before their children
            if not self.nodes["split"][node]:
                child = self.nodes["child"][node]
                owner[child : child + 2] = owner[node]
        made = np.flatnonzero(self.nodes["child"] == 0)
        return leaves, list(zip(made.tolist(), np.searchsorted(leaves, owner[made]).tolist(), strict=True))

    def finished(self, growth: Growth, rate: float, values: npt.NDArray[np.float64] | None = None) -> tuple[State, list[tuple[int, float]]]:
        """The tree as `model.NODES`, and what it adds to the rows of each leaf that was made, whether it stayed one or not.

        values: of the leaves in the order of `ends`, in place of Newton's steps.
        """
        nodes, value = self.nodes, growth.value(self.nodes["sums"], rate)
        if len(growth.signs):
            value = np.clip(value, rate * nodes["limits"][:, 0], rate * nodes["limits"][:, 1])
        if values is not None:
            value[nodes["front"]] = rate * values
        for node in np.flatnonzero(nodes["child"]).tolist():  # parents come before their children
            if not nodes["split"][node]:
                value[nodes["child"][node] : nodes["child"][node] + 2] = value[node]
        made = [(int(node), float(value[node])) for node in np.flatnonzero(nodes["child"] == 0)]
        old, child = [0], [0]  # nodes of the tree, parents before children, the two children of a node side by side
        for at in range(growth.leaves * 2):
            if at >= len(old):
                break
            if nodes["split"][old[at]]:
                child[at] = len(old)
                first = int(nodes["child"][old[at]])
                old += [first, first + 1]
                child += [0, 0]
        kept = np.array(old)
        inner = nodes["split"][kept]
        masks = np.packbits(nodes["lefts"][kept], axis=1, bitorder="little").view("<u8").astype(np.uint64)
        arrays: State = {
            "column": np.where(inner, nodes["column"][kept], 0).astype(np.int32),
            "child": np.array(child, np.int32),
            "bin": np.where(inner, nodes["bin"][kept], 0).astype(np.int32),
            "masks": np.where(inner[:, None], masks, np.uint64(0)),
            "value": np.where(inner, 0.0, value[kept]),
            "gain": np.where(inner, nodes["gain"][kept], 0.0),
            "node_rows": nodes["sums"][kept, 2],
        }
        return arrays, made
