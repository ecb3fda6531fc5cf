"""The probe: the real job on a few of its rows, timed and weighed, so that prices rest on measurements of this learner on this data.

A first run on very few rows, from up to four places of the source, compiles and imports; what that took is stated apart. Then a row
group is decoded as a run decodes it, and the job is run on its first batch, and on more of it while that is cheap beside the run: every
round of the learner to its end, or to the probe's own limit. The two sizes tell what is fixed from what grows with the rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.combine import Then
from ..core.errors import BadInput
from ..core.fold import Block, Node
from ..core.job import Job
from ..core.learner import Context, Feature, Learner, Pass, Price
from ..core.run import Observer, run
from ..core.state import State, nbytes, under
from ..engines.measure import Sampler, held
from ..engines.serial import Serial
from .part import LIMIT, PLACES, Columns, Part, Reading, group, picking, places, settle, streaming, warm

__all__ = ["Probe", "Seen", "allowed", "few_rows", "probe"]

_SHARE, _SMALL_SHARE = 0.03, 0.12  # of the rows, at most: for long runs, and for those of seconds
_LEAST, _MOST = 0.1, 1.5  # seconds that a probe may take of the shortest run, and of the longest (the first run, which compiles, apart)
_FEW = 2048


def allowed(seconds: float) -> float:
    """Seconds that the probe of a run of so many seconds may take: a fifth of a short one, 2 % of a long one.

    >>> [round(allowed(seconds), 2) for seconds in (0.1, 1, 5, 20, 600)]
    [0.1, 0.2, 0.3, 0.4, 1.5]
    """
    return max(_LEAST, min(0.2 * seconds, max(0.3, 0.02 * seconds), _MOST))


@dataclass
class Seen:
    """What passes of one kind took.

    passes, rows, lanes: how many passes there were, and the rows and lanes of all of them together. fixed_seconds: of a lane.
    row_seconds: of a row, once decoded; read_row and stream_row: of decoding it, whole row groups at once or in smaller pieces; pick_row: of
    picking it where the cover is shuffled, from rows that are packed or need no decoding.
    stepped: the cover names steps, so that the number of passes grows with the rows. state_bytes: the largest state; node_bytes: of
    all states together, of which there were `nodes`.
    """

    stepped: bool
    cover: str
    columns: Columns = None
    passes: int = 0
    rows: int = 0
    lanes: int = 0
    nodes: int = 0
    seconds: float = 0.0
    row_seconds: float = 0.0
    fixed_seconds: float = 0.0
    read_row: float = 0.0
    stream_row: float = 0.0
    pick_row: float = 0.0
    state_bytes: int = 0
    node_bytes: int = 0
    given_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the real job took on `rows` of its rows.

    finished: the learner came to its end after `rounds`; else that is how far it came. other_seconds: of the rounds' tell and ask,
    and of finishing. base_bytes: held before, with all that is compiled and imported. extra_bytes: held above that at the peak,
    without the decoded rows; fold_bytes: up to the last fold, with blocks of `block_bytes` decoded. asked: the learner's own price
    for all rows. seconds: of the whole probe; compile_seconds: what the first run took longer than the second one's work. folded: rows
    folded in all.
    """

    rows: int
    rounds: int
    finished: bool
    seen: dict[str, Seen] = field(default_factory=dict)
    other_seconds: float = 0.0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    folded: int = 0
    base_bytes: int = 0
    extra_bytes: int = 0
    fold_bytes: int = 0
    block_bytes: int = 0
    model_bytes: int = 0
    asked: Price | None = None

    @property
    def passes(self) -> int:
        return sum(item.passes for item in self.seen.values())

    @property
    def state_bytes(self) -> int:
        return max((item.state_bytes for item in self.seen.values()), default=0)

    @property
    def given_bytes(self) -> int:
        return max((item.given_bytes for item in self.seen.values()), default=0)


class _TimeUpError(Exception):
    """The probe has run for as long as it may."""


class _Timed(Serial):
    """Serial, with a clock on every pass and an end."""

    def __init__(self, part: Part, seconds: float, sampler: Sampler) -> None:
        super().__init__()
        self.part, self.until, self.sampler = part, time.thread_time() + seconds, sampler
        self.fold_peak = 0
        self.seen: dict[str, Seen] = {}
        self.rounds = 0
        self.fold_seconds = 0.0

    def fold(self, passes: tuple[Pass, ...], blocks: Iterable[Block], observer: Observer) -> Iterator[Node]:
        nodes = super().fold(passes, blocks, observer)
        fresh = set(range(len(passes)))
        while True:
            began, read, rows = time.thread_time(), self.part.processor_seconds, self.part.given_rows
            node = next(nodes, None)
            if node is None:
                break
            item, size = passes[node.which], nbytes(node.state)
            seen = self.seen.setdefault(_kind(item), Seen(stepped=item.cover.stop is not None, cover=item.cover.kind, columns=item.columns))
            taken = time.thread_time() - began
            self.fold_seconds += taken
            self.fold_peak = max(self.sampler.peak, held()[0])
            seen.seconds += taken - (self.part.processor_seconds - read)
            seen.rows += self.part.given_rows - rows
            seen.lanes += 1 << node.level
            seen.nodes += 1
            seen.node_bytes += size
            seen.state_bytes = max(seen.state_bytes, size)
            seen.given_bytes = max(seen.given_bytes, nbytes(item.given))
            seen.passes += node.which in fresh
            fresh.discard(node.which)
            yield node
        self.rounds += 1
        self.sampler.every = min(0.02, self.sampler.every * 1.5)  # looking takes time from the work
        if time.thread_time() > self.until:
            raise _TimeUpError


def _kind(item: Pass) -> str:
    """What makes two passes alike: their fold's type, with what it wraps, and their cover."""
    names, fold = [], item.fold
    while fold is not None:
        names.append(f"{type(fold).__name__}{getattr(fold, 'what', '')}")
        fold = getattr(fold, "fold", None)  # type: ignore[assignment]
    return f"{'/'.join(names)} {item.cover.kind} {item.rows.kind}"


def _asked(learner: Learner, context: Context, arrays: State) -> Price:
    """The learner's own price for all rows, with the schema that its features, as fitted here, give it."""
    if isinstance(learner, Then):
        schema = context.schema
        for i, part in enumerate(learner.stages):
            if isinstance(part, Feature):
                schema = part.schema(under(f"{i}", arrays), schema)
        learner, context = learner.stages[-1], replace(context, schema=schema)
    return learner.price(context)


def _few(rows: int) -> int:
    """Rows of each place that are enough to start, and few of so many: a class may be missing in fewer."""
    return max(1, min(_FEW, max(rows // 64, min(rows // PLACES, 256))))


def few_rows(job: Job) -> Job:
    """The job on so few rows, of up to four places, that all it takes is to start."""
    source, count = job.source, _few(job.source.rows)
    part: Any = Part(source, places(source, count), count, 1 << 20)
    return replace(job, source=part, batch_rows=min(job.batch_rows, count), shard_rows=count)


def _of_group(job: Job, count: int, lanes: int) -> Job:
    """The job on the first rows of a row group, which is decoded as in a run."""
    part: Any = Part(job.source, [group(job.source)[0]], count, LIMIT)
    return replace(job, source=part, batch_rows=min(job.batch_rows, count), shard_rows=-(-count // lanes))


def _once(small: Job, given: Job, context: Context, seconds: float) -> Probe:
    """Run the small job, to the end of the round in which the seconds are over."""
    part: Any = small.source
    settle()
    base = held()[0]
    sampler = Sampler(tuple, every=0.004)
    engine = _Timed(part, seconds, sampler)
    began = time.thread_time()
    sampler.start()
    finished, model, asked = True, 0, None
    try:
        arrays = run(small, engine).arrays
        model, asked = nbytes(arrays), _asked(given.learner, context, arrays)
    except _TimeUpError:
        finished = False
    finally:
        taken = time.thread_time() - began
        sampler.stop()
        part.close()
    kept = part.held_rows * max(1, given.source.row_bytes) if given.source.content else 0  # type: ignore[attr-defined]
    for item in engine.seen.values():
        reading = part.readings.get(None if item.columns is None else tuple(item.columns), Reading())
        item.read_row = item.stream_row = reading.seconds / max(1, reading.rows)
    return Probe(
        rows=part.rows,
        rounds=engine.rounds,
        finished=finished,
        seen=engine.seen,
        other_seconds=max(0.0, taken - engine.fold_seconds),
        seconds=taken,
        folded=sum(item.rows for item in engine.seen.values()),
        base_bytes=base,
        extra_bytes=max(0, sampler.peak - base - kept),
        fold_bytes=max(0, engine.fold_peak - base - kept),
        block_bytes=kept,
        model_bytes=model,
        asked=asked,
    )


def _line(small: tuple[float, float], large: tuple[float, float]) -> tuple[float, float]:
    """(fixed, each) of the line through two measurements (amount, seconds); a slope that noise has hidden is the large one's mean."""
    (m, s), (n, t) = small, large
    if n < max(2 * m, 1):  # nothing where the time was over before the first batch of a pass
        return 0.0, t / max(n, 1)
    each = (t - s) / (n - m)
    if not 0.1 * t / n <= each <= t / n:
        each = t / n if each > t / n else 0.5 * t / n
    return max(0.0, t - each * n), each


def _fitted(small: Probe, large: Probe, first: Probe) -> Probe:
    """The large measurement, with what is fixed told from what grows with the rows by the small one.

    Where the large one ran out of time, the first of the others that did not says how many passes there are.
    """
    ends = next((item for item in (large, small, first) if item.finished), large)
    seen = {}
    for name, item in large.seen.items():
        before = small.seen.get(name, Seen(stepped=False, cover=""))
        scale = item.passes / max(1, before.passes)
        fixed_seconds, row_seconds = _line((before.rows * scale, before.seconds * scale), (item.rows, item.seconds))
        passes = ends.seen[name].passes if name in ends.seen else item.passes
        grown = passes / item.passes
        read_row = min(item.read_row, before.read_row or item.read_row)
        seen[name] = replace(
            item, passes=passes, rows=round(item.rows * grown), lanes=round(item.lanes * grown), nodes=round(item.nodes * grown),
            node_bytes=round(item.node_bytes * grown), seconds=item.seconds * grown, fixed_seconds=fixed_seconds / max(1, item.lanes),
            row_seconds=row_seconds, read_row=read_row, stream_row=read_row,
        )  # fmt: skip
    rest = {name: item for name, item in ends.seen.items() if name not in seen}
    for item in rest.values():
        item.row_seconds = item.seconds / max(1, item.rows)
        item.rows = round(item.rows * large.rows / ends.rows)
    return replace(
        large, seen=seen | rest, finished=ends.finished, rounds=ends.rounds, asked=ends.asked,
        other_seconds=large.other_seconds if ends is large else max(small.other_seconds, large.other_seconds),
    )  # fmt: skip


def _whole(made: Probe, rows: int) -> float:
    """About the seconds of the whole run."""
    return sum(item.passes * (item.row_seconds + item.read_row) for item in made.seen.values()) * rows


def _same_lanes(job: Job, asked: Price | None) -> Job:
    """The job with as many lanes on few rows as its learner's rule gives all rows; the very same job where they are the same."""
    stages = job.learner.stages if isinstance(job.learner, Then) else (job.learner,)
    if asked is None or asked.lanes <= 1 or getattr(stages[-1], "lanes", None) != 0:
        return job
    last = stages[-1].replace(lanes=min(asked.lanes, PLACES))
    return replace(job, learner=Then((*stages[:-1], last)) if len(stages) > 1 else last)


def _count(job: Job) -> int:
    """Rows of the smaller run on a row group: one batch, or fewer where that were much of all."""
    rows = job.source.rows
    return max(1, min(job.batch_rows, group(job.source)[1], max(int(_SMALL_SHARE / 2 * rows), min(rows, 1024))))


def _more(made: Probe, job: Job, seconds: float) -> int:
    """Rows of the larger run, which takes at most `seconds`; 0 where it would tell little more."""
    rows, first = job.source.rows, job.batch_rows
    folding = sum(item.seconds for item in made.seen.values())
    most = made.rows * min(16.0, (seconds - (made.seconds - made.other_seconds - folding)) / max(folding, 1e-9))  # the group is decoded again
    most = min(most, group(job.source)[1], LIMIT / max(1, job.source.row_bytes), rows * (_SHARE if _whole(made, rows) > 10.0 else _SMALL_SHARE))  # type: ignore[attr-defined]
    count = int(most) // first * first if most >= 2 * first else int(most)
    return count if count >= 2 * made.rows and made.finished else 0


def _working(made: Probe) -> float:
    """Seconds of a measurement beside reading."""
    return made.other_seconds + sum(item.seconds for item in made.seen.values())


def _grown(job: Job, context: Context, first: Probe, lanes: int, began: float) -> tuple[Probe, int, float]:
    """What the rows of a group say, how many were folded, and the seconds of starting within the measurement of few rows."""
    loading = warm(job.source, job.batch_rows)
    small = large = _once(_of_group(job, _count(job), lanes), job, context, 2 * _MOST)
    starting = max(0.0, first.seconds - _working(small)) + loading
    few = first if small.finished else _once(few_rows(job), job, context, 2 * _MOST)  # nothing to start any more: its seconds count
    made, folded = _fitted(few, small, few), small.folded
    for _ in range(2):
        left = allowed(_whole(made, job.source.rows)) - (time.thread_time() - began - starting)
        count = _more(large, job, left)
        if not count:
            break
        large = _once(_of_group(job, count, lanes), job, context, 1.5 * left)
        made, folded = _fitted(small, large, few), folded + large.folded
    return made, folded, starting


def probe(job: Job, *, context: Context | None = None) -> Probe | str:
    """Measure the job on some of its rows, or say why that is not possible.

    Cost, beside compiling: one or two row groups decoded, and about what `allowed` says for the seconds that the run will take; where
    all rows are read in a hundredth of a second, what a few rounds take.

    Parameters
    ----------
    context : Context, optional
        What the learner's own price is asked for; default: the job's.

    Returns
    -------
    Probe, or str
        The text of the error that the few rows gave (they may lack a class that all rows have).
    """
    context, given, began = context or job.context, job, time.thread_time()
    try:
        first = _once(few_rows(job), job, context, 8 * _MOST)
        job, folded = _same_lanes(job, first.asked), first.folded
        if job is not given:  # lanes that meet may need kernels that one lane does not
            again = _once(few_rows(job), job, context, 4 * _MOST)
            first, folded = replace(again, seconds=first.seconds + again.seconds), folded + again.folded
        lanes = max(1, min(first.asked.lanes if first.asked and job is not given else 1, PLACES))
        try:
            made, more, compiled = _grown(job, context, first, lanes, began)
        except BadInput:  # the rows of one group alone, which may be of one class
            few = _once(few_rows(job), job, context, 2 * _MOST)
            made, more, compiled = _fitted(few, few, few), few.folded, max(0.0, first.seconds - _working(few))
    except BadInput as error:
        return str(error)
    source: Any = job.source
    if source.store.format == "parquet":
        timed = _whole(made, source.rows) > 1.0
        slower = {columns: streaming(source, job.batch_rows, columns) if timed else 0.0 for columns in {item.columns for item in made.seen.values()}}
        for item in made.seen.values():
            item.stream_row = max(item.read_row, slower[item.columns] if timed else 2.0 * item.read_row)
    for item in made.seen.values():
        if item.cover == "shuffled":
            lane_rows = item.rows / max(1, item.lanes) if item.stepped else context.rows * item.passes / max(1, item.lanes)
            packed = source.store.format == "parquet" or context.rows != source.rows
            item.pick_row = picking(source, max(1, min(job.batch_rows, round(lane_rows))), item.columns, rows=context.rows, packed=packed)
    settle()
    return replace(made, compile_seconds=compiled, folded=folded + more, seconds=time.thread_time() - began)
