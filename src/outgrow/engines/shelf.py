"""Encoded rows that a worker keeps between rounds, so that later passes neither read nor encode them again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from ..core.combine import Applied
from ..core.fold import seen
from ..core.job import Job
from ..core.learner import Batch, Fold, Pass
from ..core.state import digest, under

__all__ = ["Shelf", "shown"]


def shown(item: Pass) -> str:
    """Names what the features of a pass make of any batch, where its fold reads nothing but the design, target and weight of it; "" for all other passes."""
    fold = item.fold
    if not isinstance(fold, Applied) or not fold.fold.encoded or type(fold.fold).see is not Fold.see or fold.emit is not None:
        return ""
    if item.cover.kind == "shuffled" or item.cover.start or item.cover.stop is not None:  # no later round has the same batches
        return ""
    facts = repr((fold.features, fold.fitting, item.source, item.rows, item.cover, item.columns)) + digest(under("fitted", dict(item.given)))
    return hashlib.sha256(facts.encode()).hexdigest()


class Shelf:
    """Batches as the features of a pass show them, by lane and number: the first ones, up to `limit` bytes together.

    What is on it never depends on it: a batch is a pure function of the job, the pass and its place. Batches of other features or
    covers go when a round does not name them any more; nothing else does, since rounds go through all rows in turn, and what was used
    longest ago is what is wanted next.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._batches: dict[str, dict[tuple[int, int], tuple[Batch, int]]] = {}
        self._names: dict[int, str] = {}

    def turn(self, passes: Iterable[Pass]) -> None:
        """A round begins: what none of its passes sees is let go."""
        self._names = {id(item): shown(item) for item in passes} if self.limit else {}
        for name in set(self._batches) - set(self._names.values()):
            self.held -= sum(size for _, size in self._batches.pop(name).values())

    def batches(self, job: Job, item: Pass, lane: int, skip: int) -> Iterator[Batch]:
        """The batches of a lane without the first `skip`, as the fold sees them: from here as far as they are here, the others from the source."""
        name = self._names.get(id(item), "")
        found = self._batches.setdefault(name, {}) if name else {}
        while (lane, skip) in found:
            yield found[lane, skip][0]
            skip += 1
        if found and skip >= job.lane_steps(item, lane):
            return
        for number, batch in enumerate(seen(job, item, lane, skip), skip):
            if name:
                self._put(found, (lane, number), batch)
            yield batch
            del batch  # it holds its block, which must go before the next one is decoded

    def _put(self, found: dict[tuple[int, int], tuple[Batch, int]], key: tuple[int, int], batch: Any) -> None:
        kept, size = batch.encoded() if self.held < self.limit and key not in found else (None, 0)
        if kept is not None and self.held + size <= self.limit:
            found[key] = kept, size
            self.held += size
