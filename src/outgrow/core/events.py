"""One stream of events from every engine: plain dicts, so that a bar, a file and a test read the same thing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Event", "Events", "json_lines"]

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


def json_lines(path: Path | str) -> Callable[[Event], None]:
    """A listener that appends each event but ticks to a file, one JSON object a line, flushed at once."""

    def listen(event: Event) -> None:
        if event["kind"] != "tick":
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, default=str) + "\n")

    return listen
