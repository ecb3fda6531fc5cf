"""One process, lanes in order: the definition of every result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..core.errors import OutgrowError
from ..core.events import Events
from ..core.fold import KEPT, Block, Kept, Node, Partial, fold_block
from ..core.job import Job
from ..core.learner import Pass
from ..core.run import Observer
from ..core.state import State
from .measure import Measured, calm
from .scratch import Scratch

__all__ = ["Serial"]


class Serial(Measured):
    """Folds every block here, one after another; of what is kept beside batches at most `kept_bytes` in memory."""

    name = "serial"
    workers = 1

    def __init__(self, *, kept_bytes: int = KEPT) -> None:
        self.kept_bytes = kept_bytes

    def can(self, job: Job) -> OutgrowError | None:
        return None

    def start(self, job: Job, events: Events, folder: str | None) -> None:
        super().start(job, events, folder)
        calm()
        self.scratch = Scratch(folder)
        self.job, self.kept = job, Kept(self.kept_bytes, self.scratch.path)

    def fold(self, passes: tuple[Pass, ...], blocks: Iterable[Block], observer: Observer) -> Iterator[Node]:
        for block in blocks:

            def tick(lane: int, done: int, rows: int, state: State, block: Block = block) -> None:
                observer.progress(block.which, lane, rows, 0)
                if block.level == 0 and observer.due() and passes[block.which].sink is None:
                    observer.partial(Partial(block.which, lane, done, {name: array.copy() for name, array in state.items()}))

            yield fold_block(self.job, passes[block.which], block, kept=self.kept, recall=observer.recall, tick=tick)

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "scratch"):
            self.scratch.remove()
