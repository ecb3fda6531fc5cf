"""Prices: what a job would take on an engine, from what the probe measured and what the engine costs.

Time is a sum of what was measured a row, a lane and a pass, and of an engine's own costs: to start, a round, a task, a byte of what it
moves (`costs.Costs`; no engine is known here by name). Memory is private and shared-memory bytes of all processes, summed:

- the program itself, with all that is compiled and imported: as it is after the probe;
- what the probe held above that: while it folded (state, batches), and while it finished (the model beside the last states);
- decoded blocks, and what is about to become the next one;
- states of lanes that wait for their sibling, and a copy where one is saved;
- for each worker: itself, what is broadcast, its state and the copy that it sends, its blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..core.fold import KEPT
from ..core.job import Job
from ..core.run import WAITING
from .budget import show_seconds
from .calibrate import Calibration
from .costs import ENGINES, Costs
from .look import Look
from .probe import Probe, Seen
from .where import Where, cores

__all__ = ["KEEPS", "LIMITS", "Offer", "Pricer"]

LIMITS = tuple(1 << shift for shift in range(26, 19, -1))  # of decoded blocks: 64 MB down to 1 MB
KEEPS = (KEPT, KEPT >> 2, KEPT >> 4, KEPT >> 6)  # of what a worker keeps beside batches in memory; the rest goes to disk
_BLOCKS, _STREAMED = 0.9, 1.7  # bytes held a byte of decoded block, as the look estimates it: of a whole row group, and of part of one; measured on Parquet
_SLACK = 1.07  # of the program's own process: pages that its allocator keeps beside what is in use, measured
_READING = 32 << 20  # bytes that the probe may have held to decode, which a replay does not
_WORKSPACE = 3  # batches' worth of bytes beside the states
_SAVES_AFTER = 2.0  # seconds: shorter runs save nothing
_PACKED_RATE = 4e9  # bytes a second of a packed cache as columns: a view of the map, codes widened
_MERGE_RATE = 2e9  # bytes a second of merging two states
_SEGMENT = 262_144  # rows that packing holds twice
_TASK_ROWS = 1 << 20  # rows of a task at most, where a lane has fewer


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """One way to carry the job out, and what it would take; None is unknown.

    limit: most bytes of a decoded block. packed: parse once, then replay. least, most: seconds where the number of
    passes is not known. rank: what to compare offers of one job by. processor_seconds: of all processes together. kept_bytes: most that a
    worker keeps beside batches in memory; spilled_bytes: what all workers keep on disk besides.
    """

    where: Where
    limit: int
    packed: bool = False
    seconds: float | None = None
    least: float | None = None
    most: float | None = None
    rank: float = math.inf
    processor_seconds: float = math.inf
    start_seconds: float = 0.0
    pack_seconds: float = 0.0
    peak_bytes: int | None = None
    moved_bytes: int | None = None
    kept_bytes: int = KEEPS[0]
    spilled_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.where}{', packed first' if self.packed else ''}"

    @property
    def shown(self) -> str:
        """Its time for people."""
        return show_seconds(self.seconds) if self.seconds is not None else f"at least {show_seconds(self.rank)}"


@dataclass(frozen=True, slots=True)
class _Turn:
    """Passes of one kind in the whole job."""

    seen: Seen
    passes: float
    lanes: int
    rows: float  # of one pass


def _waiting(lanes: int) -> int:
    """States that wait for their sibling when lanes arrive in order, and the one that they merge to."""
    return 0 if lanes <= 1 else int(math.log2(lanes)) + 1


class Pricer:
    """Prices one job.

    Parameters
    ----------
    job : Job
    found : Look
    probe : Probe
    machine : Calibration or None
        None: this machine has not been measured; engines are priced by their records in `costs`.
    cached : bool
        The rows are in the packed cache already.
    """

    def __init__(self, job: Job, found: Look, probe: Probe, machine: Calibration | None, *, cached: bool = False) -> None:
        self.job, self.found, self.probe, self.machine, self.cached = job, found, probe, machine, cached
        self.turns = list(self._turns())

    @property
    def lanes(self) -> int:
        """Lanes of the pass that folds most rows: more workers than this cannot help."""
        return max(self.turns, key=lambda turn: turn.passes * turn.rows).lanes if self.turns else 1

    @property
    def passes(self) -> float | None:
        """Passes over the rows; None where the probe did not see the learner's end."""
        return sum(turn.passes * turn.rows for turn in self.turns) / max(1, self.found.rows) if self.probe.finished else None

    def _turns(self) -> Iterator[_Turn]:
        context, asked = self.job.context, self.probe.asked
        ratio = context.rows / self.probe.rows
        for seen in self.probe.seen.values():
            passes = seen.passes * (ratio if seen.stepped else 1.0)
            each = seen.rows / seen.passes * (1.0 if seen.stepped else ratio)
            lanes = context.shards if seen.cover == "shards" else max(1, min(asked.lanes if asked else 1, context.shards))
            yield _Turn(seen, passes, lanes, each)

    def costs(self, name: str) -> Costs:
        """What an engine costs here."""
        return (ENGINES | dict(self.machine.engines) if self.machine else ENGINES)[name]

    def slots(self, name: str) -> int:
        """Workers of an engine that can be busy side by side."""
        return self.costs(name).slots or cores()

    def _again(self, turn: _Turn, limit: int, workers: int) -> float:
        """Rows decoded for each row wanted: a shard that begins inside a row group decodes from the group's start."""
        group, shard = self.found.group_rows, self.job.shard_rows
        if not group or shard % group == 0 or group <= 1:
            return 1.0
        pieces = max(1.0, group / shard)
        if group * self.found.row_bytes <= limit:
            lanes = turn.lanes if turn.seen.cover == "chains" else 1
            return min(pieces, float(max(workers, lanes)))  # whole groups: kept for the next shard of the same lane and worker
        return (pieces + 1) / 2

    # time

    @property
    def keeps(self) -> tuple[int, ...]:
        """Limits of what is kept in memory that are worth a price."""
        return KEEPS if self._kept_whole() else KEEPS[:1]

    def offer(self, where: Where, limit: int, *, packed: bool = False, kept_bytes: int = KEEPS[0]) -> Offer:
        """The job on an engine, with decoded blocks of at most `limit` bytes, and at most `kept_bytes` a worker kept beside batches in memory."""
        costs, workers = self.costs(where.name), where.workers
        pack = self._pack_seconds() if packed and not self.cached else 0.0
        crowded = max(1.0, workers / self.slots(where.name))
        start = costs.start_seconds + costs.worker_seconds * crowded
        alone = [turn.passes * self._alone(turn, workers, limit, packed) for turn in self.turns]
        working = sum(self._shared(turn, seconds, where) for turn, seconds in zip(self.turns, alone, strict=True))
        spilled = max(0, self._kept_whole() - workers * kept_bytes)
        fixed = self.probe.other_seconds + start + pack + sum(turn.passes for turn in self.turns) * spilled * self._fresh / self._disk_rate
        seconds = least = most = None
        rank = fixed + working
        if self.probe.finished:
            seconds = fixed + working
        elif self.probe.asked is not None and self.probe.passes:
            each = working / self.probe.passes
            least, most = (fixed + each * count for count in self.probe.asked.passes)
            rank = max(rank, least)
        slowed = costs.share if min(workers, self.slots(where.name)) > 1 else 1.0
        busy = sum(alone) / slowed + self.probe.other_seconds + pack + costs.worker_seconds * (workers if costs.apart else 0)
        return Offer(
            where=where, limit=limit, packed=packed, seconds=seconds, least=least, most=most, rank=rank, processor_seconds=busy, start_seconds=start, pack_seconds=pack,
            peak_bytes=self._peak(where, limit, packed, rank, kept_bytes), moved_bytes=self._moved(where), kept_bytes=kept_bytes, spilled_bytes=spilled,
        )  # fmt: skip

    def _alone(self, turn: _Turn, workers: int, limit: int, packed: bool) -> float:
        """Seconds of one pass in one process."""
        found, row = self.found, turn.seen.row_seconds
        if turn.seen.cover == "shuffled":
            row += self._picking(turn, workers, limit, packed)
        elif packed:
            row += found.row_bytes / _PACKED_RATE
        else:
            whole = found.group_rows * found.row_bytes <= limit
            once = whole and found.group_rows >= found.rows and workers == 1  # the only row group, once decoded, is kept
            reading = turn.seen.read_row if whole else turn.seen.stream_row
            row += reading * (1.0 / max(1.0, turn.passes) if once else self._again(turn, limit, workers))
        return turn.lanes * turn.seen.fixed_seconds + turn.rows * row

    def _picking(self, turn: _Turn, workers: int, limit: int, packed: bool) -> float:
        """Seconds of reading a row in a shuffled order. A batch of files that are not packed decodes every row group that holds one of its rows."""
        found = self.found
        if packed or found.format != "parquet":
            return turn.seen.pick_row
        whole = found.group_rows * found.row_bytes <= limit
        reading = found.rows * (turn.seen.read_row if whole else turn.seen.stream_row)
        if whole and found.group_rows >= found.rows and workers == 1:  # the only row group, once decoded, is kept
            return turn.seen.pick_row + reading / max(1.0, turn.passes * turn.rows)
        batches = turn.lanes * math.ceil(max(1.0, turn.rows / turn.lanes / self.job.batch_rows))
        groups = max(1, -(-found.rows // max(1, found.group_rows)))
        touched = 1.0 - math.pow(1.0 - 1.0 / groups, turn.rows / batches)
        return turn.seen.pick_row + batches * touched * reading / max(1.0, turn.rows)

    def _shared(self, turn: _Turn, alone: float, where: Where) -> float:
        """Seconds of all passes of a kind, which take `alone` in one process, with the engine's workers."""
        costs = self.costs(where.name)
        if not costs.apart:
            return alone
        used, slots = min(where.workers, turn.lanes), self.slots(where.name)
        uneven = math.ceil(turn.lanes / used) * used / turn.lanes
        speed = used if used <= 1 else min(used, slots) * costs.share
        tasks = self._tasks(turn, where)
        state = turn.seen.node_bytes / max(1, turn.seen.nodes)
        handing = tasks * (costs.task_seconds + state * costs.node_byte_seconds) + (tasks - 1) * state / _MERGE_RATE
        given = where.workers * turn.seen.given_bytes * costs.given_byte_seconds
        return alone * uneven / speed + turn.passes * (handing + given + costs.round_seconds)

    def _tasks(self, turn: _Turn, where: Where) -> int:
        """Tasks of one pass: aligned runs of lanes, some for every worker."""
        lane_rows = max(1.0, turn.rows / turn.lanes)
        most = max(1, min(turn.lanes // (self.costs(where.name).tasks * where.workers), int(_TASK_ROWS / lane_rows)))
        return -(-turn.lanes // (1 << most.bit_length() - 1))

    def _pack_seconds(self) -> float:
        size = self.found.rows * self.found.row_bytes
        return self.found.rows * max((turn.seen.read_row for turn in self.turns), default=0.0) + size / self._disk_rate

    @property
    def _disk_rate(self) -> float:
        return self.machine.write_rate if self.machine else 5e8

    def _moved(self, where: Where) -> int:
        """Bytes of the states that workers send to the driver."""
        if not self.costs(where.name).apart:
            return 0
        return round(sum(turn.passes * self._tasks(turn, where) * turn.seen.node_bytes / max(1, turn.seen.nodes) for turn in self.turns))

    # memory

    def block_bytes(self, limit: int, *, packed: bool = False) -> int:
        """Decoded bytes of a block under this limit; of a packed one, which is a view, the codes that are widened."""
        if self.found.format == "memory":
            return 0
        if packed or self.found.format == "packed":
            return min(limit, 4 * dict(self.found.kinds).get("category", 0) * min(_SEGMENT, self.found.rows))
        whole = (self.found.group_rows or self.found.rows) * self.found.row_bytes
        return int(min(limit, whole, self.found.rows * self.found.row_bytes))

    def _block_cost(self, limit: int, *, packed: bool = False) -> float:
        """Bytes held for the sake of a block."""
        size = self.block_bytes(limit, packed=packed)
        streamed = not packed and self.found.format not in ("memory", "packed") and size < self.found.group_rows * self.found.row_bytes
        return (_STREAMED if streamed else _BLOCKS) * size

    def _peak(self, where: Where, limit: int, packed: bool, seconds: float, kept_bytes: int) -> int:
        probe, costs, workers = self.probe, self.costs(where.name), where.workers
        state = max(probe.state_bytes, probe.asked.state if probe.asked else 0)
        grown = 2 * (state - probe.state_bytes)  # the few rows of the probe may have made a smaller one
        least = state + _WORKSPACE * self.job.batch_rows * self.found.row_bytes
        reading = min(max(0, probe.fold_bytes + grown - least), _READING) if packed else 0
        block = self._block_cost(limit, packed=packed)
        kept = min(self._kept_whole() // workers, kept_bytes)
        grown -= (probe.asked.kept_per_row if probe.asked else 0) * probe.rows  # what is kept beside the probe's own rows is in what it held
        folding = max(least, probe.fold_bytes + grown - reading) + block + kept
        waiting = min(WAITING, max(0, *(_waiting(turn.lanes) - _waiting(max(1, turn.seen.lanes // turn.seen.passes)) for turn in self.turns)) * state)
        ending = probe.extra_bytes + grown - reading + kept + waiting + (block if self.found.group_rows >= self.found.rows else 0)  # the only row group is kept
        saves = seconds > _SAVES_AFTER and bool(self.job.id)
        if not costs.apart:
            saved = 3 * state if saves else 0  # the copy, the one before, and its bytes as they are hashed
            return round(max(_SLACK * (probe.base_bytes + max(folding + waiting + saved, ending)), self._packing(limit) if packed and not self.cached else 0))
        used, idle = min(workers, self.lanes), costs.worker_bytes
        busy = waiting + used * (idle + probe.given_bytes + folding) + (2 if saves else 1) * state + (workers - used) * idle
        done = ending + state + workers * idle
        return round(probe.base_bytes + costs.driver_bytes + max(busy, done))

    @property
    def _fresh(self) -> float:
        """Share of one version of what is kept that a pass makes anew, and so writes where it is on disk."""
        asked = self.probe.asked
        return min(1.0, 2 * asked.kept_fresh / asked.kept_per_row) if asked and asked.kept_per_row and asked.kept_fresh else 1.0

    def _kept_whole(self) -> int:
        """Bytes of both versions of what is kept beside all rows."""
        return (self.probe.asked.kept_per_row if self.probe.asked else 0) * self.found.rows

    def _packing(self, limit: int) -> float:
        return self.probe.base_bytes + 2 * min(_SEGMENT, self.found.rows) * self.found.row_bytes + self._block_cost(limit)

