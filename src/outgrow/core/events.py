"""One stream of events from every engine: plain dicts, so that a bar, a file and a test read the same thing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

__all__ = ["Event", "Events"]

Event = dict[str, Any]


class Events:
    """Hands each event to every listener, in order.

    Kinds: ``begin``, ``round``, ``tick`` (rows of a lane done), ``told`` (a round is
    over, with the learner's facts), ``cluster`` (what lends workers, and its pages), ``worker`` (one started), ``lost`` (one died), ``saved``,
    ``resumed``, ``warning``, ``end``. Each has ``kind`` and ``time`` (seconds since the epoch).
    """

    def __init__(self, *listeners: Callable[[Event], None]) -> None:
        self.listeners = list(listeners)

    def emit(self, kind: str, **fields: Any) -> None:
        if self.listeners:
            event = {"kind": kind, "time": time.time(), **fields}
            for listener in self.listeners:
                listener(event)
