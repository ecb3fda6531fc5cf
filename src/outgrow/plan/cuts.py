"""Where rows are cut. Cuts are part of the job and so of the model: they follow from the data alone, by the rule written here.

- A batch is the largest power of two of rows that decodes to at most 4 MB, from 1 024 to 32 768: it stays near the caches, and
  a column of it is long enough for the time a call takes not to matter.
- A shard is about a 64th of the rows and at least 8 batches. Shards are what workers share out, and reading from inside a
  Parquet row group decodes it from its start, so a shard is whole row groups; but where that leaves fewer than 4 shards, row
  groups that decode to at most 64 MB are cut into up to 4, of two batches or more.
- For a learner whom each batch costs something, and who so names more bytes, batches and shards are one: 4, 8, 16 … equal parts of all
  rows, as few as have at most 393 216 rows and those bytes each; fewer than 4 where they would have under 32 768.
"""

from __future__ import annotations

from dataclasses import dataclass

from .look import Look

__all__ = ["Cuts", "cuts"]

_BATCH_BYTES = 4 << 20
_SHORT, _LONG = 1 << 15, 3 << 17
_GROUP_BYTES = 64 << 20
_SHARDS, _FEW = 64, 4


@dataclass(frozen=True, slots=True)
class Cuts:
    batch_rows: int
    shard_rows: int


def _up(rows: int, unit: int) -> int:
    return -(-rows // unit) * unit


def cuts(found: Look, batch_bytes: int = _BATCH_BYTES) -> Cuts:
    """The cuts for what was found, and for a learner who wants batches of at most so many bytes.

    >>> from types import SimpleNamespace
    >>> cuts(SimpleNamespace(rows=10_000_000, row_bytes=200, group_rows=1_000_000))
    Cuts(batch_rows=16384, shard_rows=1000000)
    >>> cuts(SimpleNamespace(rows=10_000_000, row_bytes=200, group_rows=1_000_000), 64 << 20)
    Cuts(batch_rows=313344, shard_rows=313344)
    """
    batch_rows = 1024
    if batch_bytes > _BATCH_BYTES:
        parts = min(_FEW, max(1, found.rows // _SHORT))
        while found.rows > parts * min(_LONG, max(batch_rows, batch_bytes // max(1, found.row_bytes))):
            parts *= 2
        batch_rows = _up(max(1, -(-found.rows // parts)), batch_rows)
        return Cuts(batch_rows, batch_rows)
    while batch_rows < 32768 and 2 * batch_rows * found.row_bytes <= _BATCH_BYTES:
        batch_rows *= 2
    least = 8 * batch_rows
    shard_rows = _up(max(least, -(-found.rows // _SHARDS)), batch_rows)
    group = found.group_rows
    if group >= batch_rows:
        shard_rows = _up(shard_rows, group)
        if found.rows < _FEW * shard_rows and group * found.row_bytes <= _GROUP_BYTES:
            pieces = min(_FEW, -(-_FEW * group // found.rows), max(1, group // (2 * batch_rows)))
            shard_rows = min(shard_rows, _up(-(-group // pieces), batch_rows))
    return Cuts(batch_rows, shard_rows)
