"""What processes hold, and its peak."""

import mmap
import os
import threading
import time

import pytest
import toys

from outgrow.core.run import run
from outgrow.engines.measure import Sampler, held
from outgrow.engines.serial import Serial


def test_held__counts_what_is_allocated() -> None:
    before, _ = held()
    with mmap.mmap(-1, 20 << 20) as block:  # pages of its own: what was freed before may be used again for an array
        for _ in range(20):
            block.write(b"1" * (1 << 20))  # 20 MB of bytes at once would stay with the C library's heap, and be counted too
        after, files = held(os.getpid())
    assert 19 << 20 < after - before < 30 << 20
    assert files > 0
    assert held(1 << 30) == (0, 0)


def test_sampler__peak__is_the_sum_at_one_moment() -> None:
    sampler = Sampler(lambda: [os.getpid()], every=0.005)
    sampler.start()
    base, _ = held()
    with mmap.mmap(-1, 32 << 20) as block:
        block.write(b"1" * (32 << 20))
        time.sleep(0.05)
    sampler.stop()
    assert sampler.peak >= 2 * (base + (31 << 20))
    assert sampler.peak_files > 0
    assert sampler not in threading.enumerate()


def test_an_engine__samples_from_start_to_stop__also_where_the_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Serial()
    peaks = [run(toys.job(toys.Counting()), engine).record["peak_bytes"] for _ in range(2)]
    assert min(peaks) > 30 << 20
    monkeypatch.setattr(engine, "fold", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(toys.job(toys.Counting()), engine)
    assert "outgrow-memory" not in {thread.name for thread in threading.enumerate()}
    engine.stop()
