"""The tree in which lanes meet: one shape, whoever folds and in whatever order results arrive.

Node (level, index) covers lanes [index·2^level, (index+1)·2^level). Siblings merge, left before right,
as soon as both are there; at the end the unpaired right edge folds from left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .state import State, nbytes

__all__ = ["Closer", "aligned"]


def aligned(start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut [start, stop) into (level, index) subtrees of at most `most` lanes, in lane order.

    >>> list(aligned(0, 7, 4))
    [(2, 0), (1, 2), (0, 6)]
    """
    while start < stop:
        level = 0
        while start % (2 << level) == 0 and start + (2 << level) <= stop and 2 << level <= most:
            level += 1
        yield level, start >> level
        start += 1 << level


class Closer:
    """Merges the nodes of one pass, in any order of arrival, to one state.

    Holds only what has not met its sibling yet. A node that arrives twice, or after an ancestor, is dropped:
    a range is a pure function of the job, so its late twin is the same.

    Parameters
    ----------
    lanes : int
    merge : callable
        May consume its left.
    spill : callable, optional
        Gives a state that holds no memory for one that does; called for those that wait longest once all hold more than `limit` bytes.

    Examples
    --------
    >>> import numpy as np
    >>> closer = Closer(3, lambda left, right: {"s": left["s"] + right["s"]})
    >>> for lane in (2, 0, 1):
    ...     _ = closer.add(0, lane, {"s": np.float64(lane)})
    >>> float(closer.close()["s"])
    3.0
    """

    def __init__(self, lanes: int, merge: Callable[[State, State], State], spill: Callable[[State], State] | None = None, limit: int = 0) -> None:
        self.lanes, self.merge, self.spill, self.limit = lanes, merge, spill, limit
        self.nodes: dict[tuple[int, int], State] = {}
        self._held: dict[tuple[int, int], int] = {}  # bytes in memory

    def covers(self, level: int, index: int) -> bool:
        """True where the node or an ancestor of it is present."""
        return any((level + up, index >> up) in self.nodes for up in range(self.lanes.bit_length() + 1))

    def add(self, level: int, index: int, state: State) -> bool:
        """Take a node; returns False where it was a late twin and so dropped."""
        if self.covers(level, index):
            return False
        for below in [key for key in self.nodes if key[0] < level and key[1] >> (level - key[0]) == index]:
            del self.nodes[below]
        while (level, index ^ 1) in self.nodes:
            sibling = self.nodes.pop((level, index ^ 1))
            state = self.merge(sibling, state) if index & 1 else self.merge(state, sibling)
            level, index = level + 1, index >> 1
        self.nodes[level, index] = state
        if self.spill is not None:
            self._held = {key: size for key, size in self._held.items() if key in self.nodes} | {(level, index): nbytes(state)}
            while sum(self._held.values()) > self.limit:
                oldest = next(iter(self._held))
                self.nodes[oldest] = self.spill(self.nodes[oldest])
                del self._held[oldest]
        return True

    def missing(self) -> list[tuple[int, int]]:
        """Runs [start, stop) of lanes that no node covers yet."""
        runs, lane = [], 0
        for start, stop in sorted((index << level, (index + 1) << level) for level, index in self.nodes):
            if lane < start:
                runs.append((lane, start))
            lane = stop
        return [*runs, (lane, self.lanes)] if lane < self.lanes else runs

    def close(self) -> State:
        """The merged state of all lanes; call when nothing is missing."""
        if self.missing():
            raise ValueError(f"lanes {self.missing()} have not arrived")
        states = [self.nodes.pop(key) for key in sorted(self.nodes, key=lambda key: key[1] << key[0])]
        merged = states.pop(0)
        for state in states:
            merged = self.merge(merged, state)
        return merged
