"""Listeners to events. Live progress: a bar with ETA, rows/s and the slowest worker on a terminal, plain lines elsewhere. And a file of JSON lines."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from ..core.events import Event
from ..plan.budget import show_bytes, show_seconds

__all__ = ["Progress", "json_lines"]


class Progress:
    """Listens to events and tells a person. Writes to standard error, so that output stays clean.

    expected : seconds that the whole run is predicted to take, where that is known; else what is left is told of the round alone.
    words : what is done with the rows, and what was done: "learning from", "learned".
    every : seconds between plain lines, and twenty times those between redraws of the bar.
    """

    def __init__(
        self, stream: TextIO | None = None, *, expected: float | None = None, words: tuple[str, str] = ("learning from", "learned"), every: float = 2.0
    ) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.expected, self.words, self.every = expected, words, every / 20 if self.live else every
        self.turn = self.rows = self.total = 0
        self.workers: dict[int, int] = {}
        self.facts: dict[str, float] = {}
        self.began = self.told = self.round_began = time.monotonic()

    def __call__(self, event: Event) -> None:
        kind = event["kind"]
        method = getattr(self, f"_{kind}", None)
        if method is not None:
            method(event)
        now = time.monotonic()
        if kind in ("tick", "told") and now - self.told >= self.every:
            self.told = now
            self._show()

    def _begin(self, event: Event) -> None:
        self.began = self.told = time.monotonic()
        on = f"{event['engine']}:{event['workers']}" if event["engine"] != "serial" and event["workers"] else event["engine"]
        self._line(f"{self.words[0]} {event['rows']:,} rows on {on}")

    def _round(self, event: Event) -> None:
        self.turn, self.total, self.rows = event["turn"] + 1, event["rows"], 0
        self.round_began = time.monotonic()
        self.workers = {}

    def _tick(self, event: Event) -> None:
        self.rows += event["rows"]
        self.workers[event["worker"]] = self.workers.get(event["worker"], 0) + event["rows"]

    def _told(self, event: Event) -> None:
        self.facts = event["facts"]

    def _packing(self, event: Event) -> None:
        self._line(f"packing {event['rows']:,} rows, so that they are parsed once")

    def _packed(self, event: Event) -> None:
        self._line(f"packed {event['rows']:,} rows in {show_seconds(event['seconds'])}")

    def _cluster(self, event: Event) -> None:
        self._line(f"{event['engine']} on {event['master']}, {event['workers']} tasks at a time; its own pages: {event['ui'] or 'none'}")

    def _lost(self, event: Event) -> None:
        if "lanes" not in event:
            self._line(f"{event['worker']} on {event['host']} was lost ({event['why']}); its work is done again")
            return
        first, last = event["lanes"][0], event["lanes"][1] - 1
        self._line(f"worker {event['worker']} (process {event['pid']}) was lost, {event['why']}; its lanes {first} to {last} are folded again")

    def _resumed(self, event: Event) -> None:
        self._line(f"going on from a saved run: round {event['turn'] + 1}, {event['nodes']} nodes and {event['partials']} lanes under way")

    def _end(self, event: Event) -> None:
        rate = event["rows"] / max(event["train_seconds"], 1e-9)
        rounds = f"{event['rounds']} round{'s' if event['rounds'] != 1 else ''}"
        self._line(f"{self.words[1]} in {show_seconds(event['train_seconds'])} ({rounds}, {rate:,.0f} rows/s), peak memory {show_bytes(event['peak_bytes'])}")

    def _show(self) -> None:
        seconds = max(time.monotonic() - self.round_began, 1e-9)
        rate = self.rows / seconds
        share = min(self.rows / self.total, 1.0) if self.total else 0.0
        parts = [f"round {self.turn}", f"{share:4.0%}", f"{rate:,.0f} rows/s", self._left(rate)]
        if len(self.workers) > 1:
            slowest = min(self.workers, key=lambda worker: self.workers[worker])
            parts.append(f"slowest: worker {slowest} at {self.workers[slowest] / seconds:,.0f} rows/s")
        parts += [f"{name} {value:.6g}" for name, value in list(self.facts.items())[:2]]
        if not self.live:
            self._line(" · ".join(parts))
            return
        bar = "█" * int(share * 20) + "░" * (20 - int(share * 20))
        text = f"{bar} {' · '.join(parts)}"[: shutil.get_terminal_size().columns - 1]  # a line that wraps could not be drawn over
        self.stream.write("\r\x1b[2K" + text)
        self.stream.flush()

    def _left(self, rate: float) -> str:
        """How long it will go on: the whole run as predicted, until that is over; else this round at its present rate."""
        here = (self.total - self.rows) / rate if rate > 0 and self.rows <= self.total else None
        whole = self.expected - (time.monotonic() - self.began) if self.expected is not None else 0.0
        return f"about {show_seconds(max(whole, here or 0.0))} left" if whole > 0 else f"{show_seconds(here)} left in this round"

    def _line(self, text: str) -> None:
        self.stream.write(("\r\x1b[2K" if self.live else "") + text + "\n")
        self.stream.flush()


def json_lines(path: Path | str) -> Callable[[Event], None]:
    """A listener that appends each event but ticks to a file, one JSON object a line, flushed at once."""

    def listen(event: Event) -> None:
        if event["kind"] != "tick":
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, default=str) + "\n")

    return listen
