"""Runs nothing: walks the rounds that can be known without rows. What plans and dry runs are tested on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..core.errors import OutgrowError
from ..core.events import Events
from ..core.fold import Block, Node
from ..core.job import Job
from ..core.learner import Pass
from ..core.run import Observer
from .measure import Measured

__all__ = ["Rehearsal"]


class Rehearsal(Measured):
    """Lists the blocks it would fold and answers each with an empty state of the fold: no row is read."""

    name = "rehearsal"

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.blocks: list[tuple[Pass, Block]] = []

    def can(self, job: Job) -> OutgrowError | None:
        return None

    def start(self, job: Job, events: Events, folder: str | None) -> None:
        super().start(job, events, folder)
        self.blocks = []

    def fold(self, passes: tuple[Pass, ...], blocks: Iterable[Block], observer: Observer) -> Iterator[Node]:
        for block in blocks:
            item = passes[block.which]
            self.blocks.append((item, block))
            yield Node(block.which, block.level, block.index, item.fold.init(item.given))
