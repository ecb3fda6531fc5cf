"""Snappy unpacked by our own loop: pyarrow's codec is the oracle, and damaged bytes are refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.data.snappy import SLACK, unsnap

CODEC = pa.Codec("snappy")


def unpacked(raw: bytes, full: int, behind: int = 64) -> bytes | None:
    """What comes out, with `behind` bytes after the packed ones; nothing may be written beyond the slack."""
    source = np.frombuffer(raw + b"\xff" * behind, np.uint8)
    out = np.full(full + SLACK + 32, 171, np.uint8)
    status = unsnap(source, 0, len(raw), out, 16, full)
    assert (out[:16] == 171).all()
    assert (out[16 + full + SLACK :] == 171).all()
    return None if status < 0 else out[16 : 16 + full].tobytes()


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(0, 3000), kinds=st.integers(1, 300), step=st.sampled_from([1, 2, 3, 4, 7, 8, 12, 100]), behind=st.sampled_from([0, 5, 64]))
def test_unsnap__bytes_that_repeat_in_any_way__are_those_packed(seed: int, size: int, kinds: int, step: int, behind: int) -> None:
    r = np.random.default_rng(seed)
    words = r.integers(0, 256, (kinds, step)).astype(np.uint8)
    data = words[r.integers(0, kinds, size)].tobytes()
    assert unpacked(bytes(CODEC.compress(data, asbytes=True)), len(data), behind) == data


@pytest.mark.parametrize("back", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize("count", [4, 11, 17, 64])
def test_unsnap__a_reference_into_itself__repeats(back: int, count: int) -> None:
    head = bytes(range(20))
    raw = bytes([20 + count, 19 << 2, *head, (count - 1) << 2 | 2, back, 0])
    want = bytearray(head)
    for _ in range(count):
        want.append(want[-back])
    assert unpacked(raw, 20 + count) == bytes(want)
    assert CODEC.decompress(raw, 20 + count, asbytes=True) == bytes(want)


@pytest.mark.parametrize(
    ("raw", "full"),
    [
        (bytes([4, 3 << 2, 1, 2, 3]), 4),  # a literal cut off
        (bytes([8, 3 << 2, 1, 2, 3, 4, 3 << 2 | 2, 5, 0]), 8),  # a reference to before the start
        (bytes([8, 3 << 2, 1, 2, 3, 4, 3 << 2 | 2, 0, 0]), 8),  # to itself
        (bytes([8, 3 << 2, 1, 2, 3, 4, 4 << 2 | 2, 4, 0]), 8),  # one byte too many
        (bytes([8, 3 << 2, 1, 2, 3, 4]), 8),  # four too few
        (bytes([9, 3 << 2, 1, 2, 3, 4, 3 << 2 | 2, 4, 0]), 8),  # another size than the page's
        (b"", 0),
        (bytes([255] * 6), 8),
        (bytes([4, 63 << 2, 255, 255, 255, 255]), 4),  # a literal of 4 GB
    ],
)
def test_unsnap__damaged_bytes__are_refused(raw: bytes, full: int) -> None:
    assert unpacked(raw, full) is None


def test_unsnap__noise_in_packed_bytes__stays_within_the_page() -> None:
    r = np.random.default_rng(0)
    data = r.integers(0, 5, 600).astype(np.uint8).tobytes()
    whole = bytes(CODEC.compress(data, asbytes=True))
    for _ in range(3000):
        raw = bytearray(whole)
        for place in r.integers(0, len(raw), 3):
            raw[place] = r.integers(0, 256)
        raw = raw[: r.integers(1, len(raw) + 1)]
        found = unpacked(bytes(raw), 600, int(r.integers(0, 30)))
        assert found is None or len(found) == 600
