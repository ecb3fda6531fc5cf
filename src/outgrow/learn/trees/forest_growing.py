"""Growing one tree of a forest: nodes, each with the best split of the columns it tried, and which leaves are split next.

Leaves are split strictly in order, the one of most gain first; a round splits many at once, since most of them will be split anyway. What a node tries follows
from its path alone, and so neither the number of leaves that are split at once nor the order in which nodes are made changes the tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.rng import hash64
from ...core.state import State
from ...data.native import F8, I4, I8, INT, U1, Array, Native

__all__ = ["Nodes", "Rule"]

_best_splits = Native(
    "outgrow.learn.kernels.forest",
    "best_splits",
    (I8(2), I4(2), I4(1), U1(1), Array("uint64", 1), INT, INT, INT, F8(1, True), I4(1, True), I4(1, True), Array("uint64", 2, written=True), I8(2, True)),
)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How trees grow. tried: columns of a node. depth, 0: any. classes: a node of one class is left whole. bins int32 (m,), kinds uint8 (m,): as `best_splits` takes them."""

    leaves: int
    depth: int
    min_rows: int
    tried: int
    outs: int
    classes: bool
    extra: bool
    seed: int
    bins: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.uint8]


class Nodes:
    """A tree under way. Of each node, in the order they were made: id uint64, by its path; depth int32; child int32, its left child, 0 where it has none; column int32, of
    its best split, -1 where there is none; last int32, the last bin on the left; masks uint64 (·, 4); gain float64; sums, halves int64
    (·, outs + 2), of all its rows and of those on the left.

    asked int32: nodes that this round splits; open int32: those whose histograms it sums.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.arrays: State = dict(state)

    @classmethod
    def rooted(cls, rule: Rule, tree: int) -> Nodes:
        cells = rule.outs + 2
        return cls({
            "id": hash64(rule.seed, "forest root", [tree]), "depth": np.zeros(1, np.int32), "child": np.zeros(1, np.int32), "column": np.full(1, -1, np.int32),
            "last": np.zeros(1, np.int32), "masks": np.zeros((1, 4), np.uint64), "gain": np.zeros(1), "sums": np.zeros((1, cells), np.int64),
            "halves": np.zeros((1, cells), np.int64), "asked": np.zeros(0, np.int32), "open": np.zeros(1, np.int32),
        })  # fmt: skip

    @property
    def size(self) -> int:
        return len(self.arrays["child"])

    def tried(self, rule: Rule) -> npt.NDArray[np.int32]:
        """int32 (open, tried): the columns that each open node tries, in their order, drawn by hashes of its path."""
        columns = np.arange(len(rule.bins), dtype=np.uint64)
        if rule.tried >= len(columns):
            return np.tile(columns.astype(np.int32), (len(self.arrays["open"]), 1))
        chance = hash64(rule.seed, "forest columns", self.arrays["id"][self.arrays["open"]][:, None] + (columns + np.uint64(1)) * _GOLDEN)
        return np.sort(np.argsort(chance, axis=1, kind="stable")[:, : rule.tried], axis=1).astype(np.int32)

    def splits(self, nodes: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
        """(node, column, left child) of nodes that are split, and the bins that go left."""
        own = self.arrays
        return np.stack([nodes, own["column"][nodes], own["child"][nodes]], 1).astype(np.int32), own["masks"][nodes]

    def made(self) -> npt.NDArray[np.int32]:
        """All nodes that have been split, parents before their children."""
        split = np.flatnonzero(self.arrays["child"]).astype(np.int32)
        return split[np.argsort(self.arrays["child"][split], kind="stable")]

    def grow(self, rule: Rule, sums: npt.NDArray[np.int64], ahead: int) -> None:
        """Take the histograms of the open nodes, and say which leaves are split next."""
        own, opened = {name: array.copy() for name, array in self.arrays.items()}, self.arrays["open"]
        q, cells = len(opened), rule.outs + 2
        found = np.zeros(q), np.full(q, -1, np.int32), np.zeros(q, np.int32), np.zeros((q, 4), np.uint64), np.zeros((q, cells), np.int64)
        if opened.tolist() == [0]:  # what all rows of a tree sum to is not known before
            own["sums"][0] = sums[0].reshape(-1, cells)[:256].sum(0)
        keys = hash64(rule.seed, "forest thresholds", own["id"][opened])
        _best_splits(sums, self.tried(rule), rule.bins, rule.kinds, keys, int(rule.extra), rule.min_rows, rule.outs, *found)
        for name, array in zip(("gain", "column", "last", "masks", "halves"), found, strict=True):
            own[name][opened] = array
        self.arrays = own
        self._ask(rule, ahead)

    def _ask(self, rule: Rule, ahead: int) -> None:
        """Split leaves until some of the new ones need a histogram, or there is none left to split."""
        asked = [np.zeros(0, np.int32)]
        self.arrays["open"] = asked[0]
        while not len(self.arrays["open"]):
            nodes = np.array(self._replayed(rule, ahead)[1], np.int32)
            if not len(nodes):
                break
            self._born(rule, nodes)
            asked.append(nodes)
        self.arrays["asked"] = np.concatenate(asked)

    def _replayed(self, rule: Rule, ahead: int) -> tuple[list[int], list[int]]:
        """Nodes split, in their order, and nodes that would be next by what is known so far, `ahead` at most: the tree is final where there are none."""
        column, child, gain = self.arrays["column"].tolist(), self.arrays["child"].tolist(), self.arrays["gain"].tolist()
        front = [(-gain[0], 0, 0)] if column[0] >= 0 else []  # of equal gains, the leaf that joined the tree first
        split: list[int] = []
        wanted: list[int] = []
        while front and len(split) + len(wanted) + 1 < rule.leaves and len(wanted) < ahead:
            node = heappop(front)[2]
            if not child[node]:
                wanted.append(node)
                continue
            split.append(node)
            for i, half in enumerate((child[node], child[node] + 1)):
                if column[half] >= 0:
                    heappush(front, (-gain[half], 2 * len(split) + i, half))
        return split, wanted

    def _born(self, rule: Rule, nodes: npt.NDArray[np.int32]) -> None:
        """Give these nodes children, and say which of them may be split in turn."""
        own, size, p = self.arrays, self.size, len(nodes)
        own["child"][nodes] = np.arange(size, size + 2 * p, 2)
        ids, left = own["id"][nodes], own["halves"][nodes]
        new: State = {
            "id": np.stack([hash64(rule.seed, "forest left", ids), hash64(rule.seed, "forest right", ids)], 1).reshape(-1),
            "depth": np.repeat(own["depth"][nodes] + 1, 2).astype(np.int32),
            "sums": np.stack([left, own["sums"][nodes] - left], 1).reshape(2 * p, -1),
            "child": np.zeros(2 * p, np.int32), "column": np.full(2 * p, -1, np.int32), "last": np.zeros(2 * p, np.int32),
            "masks": np.zeros((2 * p, 4), np.uint64), "gain": np.zeros(2 * p), "halves": np.zeros((2 * p, rule.outs + 2), np.int64),
        }  # fmt: skip
        able = new["sums"][:, -1] >= 2 * rule.min_rows
        if rule.depth:
            able &= new["depth"] < rule.depth
        if rule.classes:
            able &= new["sums"][:, : rule.outs].max(1, initial=0) < new["sums"][:, -2]
        self.arrays = {name: np.concatenate([own[name], array]) for name, array in new.items()}
        self.arrays["open"] = (size + np.flatnonzero(able)).astype(np.int32)

    def done(self) -> bool:
        return not len(self.arrays["open"])

    def finished(self, rule: Rule, worth: float) -> State:
        """The tree as `model.NODES`, nodes numbered level by level. worth: what a gain in whole numbers is multiplied by."""
        own = self.arrays
        split = np.zeros(self.size, np.bool_)
        split[self._replayed(rule, 1)[0]] = True
        old, child, at = [0], [0], 0
        first = own["child"].tolist()
        while at < len(old):
            if split[old[at]]:
                child[at] = len(old)
                old += [first[old[at]], first[old[at]] + 1]
                child += [0, 0]
            at += 1
        kept = np.array(old)
        inner = split[kept]
        sums = own["sums"][kept]
        return {
            "column": np.where(inner, own["column"][kept], 0).astype(np.int32),
            "child": np.array(child, np.int32),
            "bin": np.where(inner, own["last"][kept], 0).astype(np.int32),
            "masks": np.where(inner[:, None], own["masks"][kept], np.uint64(0)),
            "value": sums[:, : rule.outs] / np.maximum(sums[:, rule.outs], 1)[:, None],
            "gain": np.where(inner, own["gain"][kept] * worth, 0.0),
            "node_rows": sums[:, -1],
        }
