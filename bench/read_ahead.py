"""Whether decoding the next batches in a thread beside the folding helps one worker: by the clock, plain and ahead in turn.

    .venv/bin/python bench/read_ahead.py [--rows 4000000] [--times 5]

Of use only where a second core is idle: processor seconds say what could be won at most, seconds by the clock what is won.
"""

from __future__ import annotations

import argparse
import os
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from plan_truth import JOBS, write
from table import keep

import outgrow as og
from outgrow.core.run import run
from outgrow.engines.serial import Serial


class Ahead:
    """A source that is read by a thread, four batches before they are wanted."""

    def __init__(self, source: Any) -> None:
        self.source, self.rows, self.schema, self.content = source, source.rows, source.schema, source.content
        self.reading = 0.0  # processor seconds of the thread

    def read(self, *arguments: Any) -> Iterator[Any]:
        batches: queue.Queue[Any] = queue.Queue(4)

        def ahead() -> None:
            try:
                for batch in self.source.read(*arguments):
                    batches.put(batch)
            except Exception as error:  # noqa: BLE001 raised where the batches are wanted
                batches.put(error)
            batches.put(None)
            self.reading += time.thread_time()

        threading.Thread(target=ahead, daemon=True).start()
        while (batch := batches.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def take(self, *arguments: Any) -> Any:
        return self.source.take(*arguments)

    def check(self) -> None:
        self.source.check()


def timed(job: Any, source: Any) -> tuple[float, float, str]:
    """(seconds, processor seconds, digest) of one run."""
    began, worked = time.perf_counter(), time.process_time()
    found = run(replace(job, source=source), Serial())
    return time.perf_counter() - began, time.process_time() - worked, found.record["digest"][:8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write(path, options.rows)
        for name, case in JOBS.items():
            source = og.read(path, target=case.target, drop=case.drop)
            job = og.plan(case.make(), source, on="serial", root=Path(folder), probe=False, **case.options).job
            timed(job, source)
            other: Any = Ahead(source)
            pairs = [(timed(job, source), timed(job, other)) for _ in range(options.times)]
            plain, ahead = ([statistics.median(pair[side][k] for pair in pairs) for k in (0, 1)] for side in (0, 1))
            share = other.reading / options.times / ahead[1]
            rows.append([name, *plain, *ahead, plain[0] / ahead[0], 1 / max(share, 1 - share), pairs[0][0][2] == pairs[0][1][2]])
            print(rows[-1], flush=True)
    head = ["job", "s plain", "processor s", "s ahead", "processor s", "plain / ahead", "at most", "same digest"]
    notes = [f"{options.rows:,} rows, medians of {options.times}; load of the machine {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores."]
    keep("read-ahead", "Decoding in a thread beside the folding, one worker", head, rows, notes)


if __name__ == "__main__":
    main()
