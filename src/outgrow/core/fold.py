"""Folding lanes: the only place where a fold meets rows. Every engine calls `fold_block`, wherever it runs."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .job import Job
from .learner import Batch, Pass
from .state import State, frozen, nbytes, spilled
from .tree import Closer

__all__ = ["KEPT", "Block", "Kept", "Node", "Partial", "Reader", "Tick", "fold_block", "seen"]


@dataclass(frozen=True, slots=True)
class Partial:
    """A lane of pass `which`, `done` batches in: what a resumed lane goes on from."""

    which: int
    lane: int
    done: int
    state: State


@dataclass(frozen=True, slots=True)
class Node:
    """The merged state of lanes [index·2^level, (index+1)·2^level) of pass `which`."""

    which: int
    level: int
    index: int
    state: State


@dataclass(frozen=True, slots=True)
class Block:
    """A task: an aligned subtree of the lanes of pass `which`, and where to go on inside its first lane."""

    which: int
    level: int
    index: int
    partial: Partial | None = None

    @property
    def lanes(self) -> range:
        return range(self.index << self.level, (self.index + 1) << self.level)


KEPT = 1 << 30  # bytes in memory of what a worker keeps beside batches, where no budget says otherwise
Tick = Callable[[int, int, int, State], None]  # (lane, batches done, rows seen since the last tick, state so far)
Reader = Callable[[Job, Pass, int, int], Iterator[Batch]]  # (job, pass, lane, batches to leave out)


@dataclass(frozen=True, slots=True)
class Beside:
    """A batch that nobody has read: its rows are known, and what is kept beside it is all that its fold asks for."""

    rows: int
    kept: State | None = None

    def with_kept(self, kept: State) -> Beside:
        return Beside(self.rows, kept)


class Kept:
    """What lives beside batches between rounds, in two versions; of its arrays at most `limit` bytes in memory, those of the oldest batches as views of files.

    An array that a step hands on as it was counts once, and is written once.
    """

    def __init__(self, limit: int = KEPT, folder: Path | None = None) -> None:
        self.limit, self.held = limit, 0
        self._folder = folder
        self._states: OrderedDict[tuple[str, int, int, int], State] = OrderedDict()
        self._owners: Counter[int] = Counter()  # of each array, by its id, the states that have it
        self._on_disk: set[int] = set()  # the arrays, by their ids, that are views of files

    def get(self, name: str, lane: int, batch: int, version: int) -> State | None:
        return self._states.get((name, lane, batch, version))

    def put(self, name: str, lane: int, batch: int, version: int, state: State) -> None:
        self._drop((name, lane, batch, version - 2))
        self._drop((name, lane, batch, version))
        self._states[name, lane, batch, version] = frozen(state)
        for array in state.values():
            self.held += 0 if self._owners[id(array)] else array.nbytes
            self._owners[id(array)] += 1
        if self.held > self.limit and self._folder is not None:
            self._spill(self._folder)
        while self.held > self.limit and self._folder is None:
            self._drop(next(iter(self._states)))

    def _spill(self, folder: Path) -> None:
        """Half the limit is free again: the arrays of the oldest states go into one file, for many files would be too many open ones."""
        moved, left = dict[int, np.ndarray[Any, Any]](), self.held
        for state in self._states.values():
            if left <= self.limit // 2:
                break
            fresh = {id(array): array for array in state.values() if id(array) not in self._on_disk and id(array) not in moved}
            moved |= fresh
            left -= nbytes({str(key): array for key, array in fresh.items()})
        views = frozen(spilled({str(key): array for key, array in moved.items()}, folder))
        for key in moved:
            self._owners[id(views[str(key)])] = self._owners.pop(key)
        self._on_disk |= {id(view) for view in views.values()}
        for state in self._states.values():
            state |= {name: views[str(id(array))] for name, array in state.items() if id(array) in moved}
        self.held = left

    def _drop(self, key: tuple[str, int, int, int]) -> None:
        for array in self._states.pop(key, {}).values():
            self._owners[id(array)] -= 1
            if not self._owners[id(array)]:
                del self._owners[id(array)]
                self.held -= 0 if id(array) in self._on_disk else array.nbytes
                self._on_disk.discard(id(array))

    def whole(self, job: Job, item: Pass, lane: int, skip: int) -> Iterator[Any] | None:
        """The batches of a lane without the first `skip`, unread, where the fold asks for no more than what is kept beside every one of them; else None."""
        if not item.fold.beside or item.rows.kind != "all" or item.cover.kind == "shuffled":
            return None
        rows = list(job.step_rows(item, lane))
        if any(not self._has(item.kept, lane, number, item.version) for number in range(skip, len(rows))):
            return None
        return map(Beside, rows[skip:])

    def _has(self, name: str, lane: int, batch: int, version: int) -> bool:
        """True where this version or the one before is here."""
        return any((name, lane, batch, version - back) in self._states for back in (0, 1))

    def step(self, job: Job, item: Pass, lane: int, number: int, batch: Batch, recall: Callable[[str], State]) -> Batch:
        """The batch with what is kept beside it, at the pass's version: as it is, stepped once, or rebuilt."""
        now = self.get(item.kept, lane, number, item.version)
        if now is None:
            before = self.get(item.kept, lane, number, item.version - 1)
            if before is None and item.again:
                self._again(job, item, lane, number, recall)
                now = self.get(item.kept, lane, number, item.version)
        if now is None:
            now = item.fold.keep(before, batch, item.given) if before is not None else item.fold.keep(None, batch, recall(item.kept))
            self.put(item.kept, lane, number, item.version, now)
        return batch.with_kept(now)

    def _again(self, job: Job, item: Pass, lane: int, first: int, recall: Callable[[str], State]) -> None:
        """Rebuild, part by part, what is lost beside the batches of a lane from number `first` on: reads them once a part, and holds one part's given at a time."""
        name, last, lost = f"{item.kept}/again", len(item.again) - 1, set[int]()
        for i, part in enumerate(item.again):
            given = frozen({**item.given, **recall(f"{item.kept}/{i}")})
            for number, batch in enumerate(job.batches(part, lane, first), first):
                if i == 0 and batch.rows and all(self.get(item.kept, lane, number, item.version - back) is None for back in (0, 1)):
                    lost.add(number)
                if number in lost:
                    before = self.get(name, lane, number, i - 1) if i else None
                    self.put(name, lane, number, i, part.fold.keep(before, part.fold.see(batch, given), given))
                    self._drop((name, lane, number, i - 1))
        for number in sorted(lost):
            rebuilt = self.get(name, lane, number, last)
            self._drop((name, lane, number, last))
            self.put(item.kept, lane, number, item.version, rebuilt or {})


def seen(job: Job, item: Pass, lane: int, skip: int) -> Iterator[Batch]:
    """The batches of a lane without the first `skip`, from the source, as the fold sees them."""
    for batch in job.batches(item, lane, skip):
        yield item.fold.see(batch, item.given) if batch.rows else batch
        del batch  # it holds its block, which must go before the next one is decoded


def fold_block(
    job: Job, item: Pass, block: Block, *, kept: Kept | None = None, recall: Callable[[str], State] | None = None, tick: Tick | None = None, read: Reader | None = None
) -> Node:
    """Fold the lanes of a block into its one node: a pure function of job, pass and block.

    Cost: reads the block's rows once; holds at most ``level + 2`` states (one where the fold is order-free).

    Parameters
    ----------
    kept : Kept, optional
        Where kept arrays of this worker live; needed when the fold keeps any.
    recall : callable, optional
        Gives the `given` from which what was kept under a name is rebuilt where it is lost.
    tick : callable, optional
        Called after every batch; may save the state it is shown, not change it.
    read : callable, optional
        Gives a lane's batches as the fold sees them, where this worker need not read them all again; as `seen` does.
    """
    read = read or seen
    fold, given, through = item.fold, frozen(item.given), item.fold.traits.order_free
    closer = Closer(block.lanes.stop, item.merge)
    state: State = {}
    first = block.partial.lane if block.partial else block.lanes.start
    for lane in range(first, block.lanes.stop):
        resumed = block.partial if block.partial and block.partial.lane == lane else None
        done = resumed.done if resumed else 0
        if resumed:
            state = {name: array.copy() for name, array in resumed.state.items()}  # `update` may write into it; the partial may be saved again
        elif lane == first or not through:
            state = fold.init(given)
        with item.sink.part(lane) if item.sink is not None else nullcontext() as part:
            for batch in (kept.whole(job, item, lane, done) if kept else None) or read(job, item, lane, done):
                if batch.rows:
                    if fold.keep is not None:
                        if kept is None or recall is None:
                            raise ValueError("a fold that keeps needs somewhere to keep")
                        batch = kept.step(job, item, lane, done, batch, recall)  # noqa: PLW2901 the same rows, with what lies beside them
                    state = fold.update(state, batch, given)
                    if part is not None:
                        part.write(fold.emit(batch, given))
                done += 1
                if tick is not None:
                    tick(lane, done, batch.rows, state)
                del batch  # it holds its block, which must go before the next one is decoded
        if not through:
            closer.add(0, lane, state)
    return Node(block.which, block.level, block.index, state if through else closer.nodes.pop((block.level, block.index)))
