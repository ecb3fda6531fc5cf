"""Scores on disk, by score: sorted runs that lanes write, and ranges of scores that are read one by one.

A **run** holds the scores of many rows in ascending order, an entry a distinct score, with the weight of the rows of either kind that have
it. However often a score comes, a run holds it once; so a range never holds more of one score than there are runs, and no range can be
too large to sort. Where runs are cut follows from the lanes and batches of the job; where ranges are cut from the runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..core.errors import BadFile, StorageError
from ..core.state import State, decode, encode
from .batch import Schema
from .cache import storage_errors

__all__ = ["ENTRY", "RUN_BYTES", "ScoreBatch", "ScoreRanges", "ScoreSink", "joined"]

ENTRY = np.dtype([("score", "<f8"), ("negative", "<f8"), ("positive", "<f8")])
_RUN = 1 << 18  # rows of a run
_RANGE = 1 << 19  # entries of a range, at most; more where there are many hundreds of runs
_EACH = 256  # of so many entries of a run the first is noted, its mark
RUN_BYTES = 96 * _RUN  # what a worker holds for a run: its rows, and what sorting them takes


def joined(score: npt.NDArray[np.float64], negative: npt.NDArray[np.float64], positive: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Entries (distinct scores,) of `ENTRY` in ascending order; the weights of equal scores are added in the order they come.

    >>> joined(np.array([2.0, 1.0, 2.0]), np.array([1.0, 0.0, 1.0]), np.array([0.0, 3.0, 0.0])).tolist()
    [(1.0, 0.0, 3.0), (2.0, 2.0, 0.0)]
    """
    order = np.argsort(score, kind="stable")
    score = score[order]
    first = np.flatnonzero(np.concatenate([np.ones(min(1, len(score)), bool), score[1:] != score[:-1]]))
    found = np.empty(len(first), ENTRY)
    found["score"] = score[first]
    for name, weight in (("negative", negative), ("positive", positive)):
        found[name] = np.add.reduceat(weight[order], first) if len(first) else 0.0
    return found


class _Part:
    """The runs of one lane in one file: entries, then where each run lies, then the length of that, 8 bytes."""

    def __init__(self, file: IO[bytes], rows: int, each: int) -> None:
        self._file, self._most, self._each = file, rows, each
        self._held: list[Mapping[str, Any]] = []
        self._rows = self._end = 0
        self._runs: list[tuple[int, int, int]] = []  # (class, entries, offset)
        self._marks: list[npt.NDArray[np.float64]] = []

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append rows: ``scores`` float64 (n, classes), ``truth`` class numbers (n,), ``weight`` float64 (n,). Nothing where a row has no score."""
        if not columns:
            return
        self._held.append(columns)
        self._rows += len(columns["truth"])
        if self._rows * columns["scores"].shape[1] >= self._most:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        scores, truth, weight = (np.concatenate([columns[name] for columns in self._held]) for name in ("scores", "truth", "weight"))
        first = 1 if scores.shape[1] == 1 else 0  # a single column is the score of the second of two classes
        for k in range(scores.shape[1]):
            own = truth == k + first
            entries = joined(scores[:, k], np.where(own, 0.0, weight), np.where(own, weight, 0.0))
            self._file.write(entries.tobytes())
            self._runs.append((k, len(entries), self._end))
            self._marks.append(entries["score"][:: self._each].copy())
            self._end += entries.nbytes
        self._held, self._rows = [], 0

    def close(self) -> None:
        self._flush()
        runs = np.array(self._runs, np.int64).reshape(-1, 3)
        ends = np.cumsum([0, *(len(marks) for marks in self._marks)]).astype(np.int64)
        marks = np.concatenate([np.zeros(0), *self._marks])
        foot = b"".join(encode({"runs": runs, "marks": marks, "ends": ends, "each": np.array(self._each)}))
        self._file.write(foot)
        self._file.write(len(foot).to_bytes(8, "little"))
        self._file.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreSink:
    """Scores to files in `folder`, a file a lane, each there only when it is whole.

    folder: on a cluster one that every worker sees. rows: scores of a run. each: of so many entries the first is noted, for finding ranges.
    """

    folder: str
    rows: int = _RUN
    each: int = _EACH

    def __post_init__(self) -> None:
        if "://" in self.folder:
            raise StorageError("scores are written to local paths", where=self.folder, todo="Name a folder that every worker sees under the same path.")

    @property
    def lanes(self) -> int:
        """Lanes whose scores are there."""
        return sum(1 for _ in Path(self.folder).glob("lane-*.scores"))

    def prepare(self) -> None:
        """Raise StorageError where nothing can be written."""
        with storage_errors(self.folder):
            probe = Path(self.folder) / f".probe-{uuid.uuid4().hex}"
            try:
                probe.write_bytes(bytes(4096))
            finally:
                probe.unlink(missing_ok=True)

    @contextmanager
    def part(self, lane: int) -> Iterator[_Part]:
        """A writer for the scores of one lane. Left without an error, the part is seen at once, by rename."""
        if not Path(self.folder).is_dir():
            raise StorageError("a worker does not see this folder", where=self.folder, todo="Name one that every worker sees: scratch=, or --scratch.")
        attempt = Path(self.folder) / f".{lane}-{uuid.uuid4().hex}"
        with storage_errors(self.folder):
            try:
                with attempt.open("wb") as file:
                    part = _Part(file, self.rows, self.each)
                    yield part
                    part.close()
                attempt.replace(_part(self.folder, lane))
            finally:
                attempt.unlink(missing_ok=True)

    def commit(self, lanes: int) -> None:
        """Raise StorageError where a lane's scores are not there."""
        lost = next((lane for lane in range(lanes) if not _part(self.folder, lane).exists()), None)
        if lost is not None:
            what = f"the scores of lane {lost} are missing"
            raise StorageError(what, where=self.folder, todo="Name a folder that every worker and this program see under the same path: scratch=, or --scratch.")


def _part(folder: str, lane: int) -> Path:
    return Path(folder) / f"lane-{lane:05d}.scores"


def _foot(path: Path) -> State:
    """Where the runs of a part lie: ``runs`` (runs, 3) of class, entries and offset; their ``marks``, each of so many entries, and their ``ends``."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            raise BadFile("the file of scores is cut off", where=str(path))
        file.seek(size - 8 - length)
        return decode(file.read(length), where=str(path))[0]


@dataclass(frozen=True, slots=True)
class ScoreBatch:
    """All entries of one range, runs one after another. `which`: the class they are of; `place`, for errors."""

    which: int
    entries: npt.NDArray[Any]
    start: int
    place: str
    kept: State | None = None

    @property
    def rows(self) -> int:
        return len(self.entries)

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        return np.array([self.start])

    def where(self, mask: npt.NDArray[np.bool_]) -> ScoreBatch:
        raise NotImplementedError("a range is ranked whole")

    def with_kept(self, kept: State) -> ScoreBatch:
        raise NotImplementedError("nothing is kept beside a range")

    def equals(self, column: str, value: object) -> npt.NDArray[np.bool_]:
        raise NotImplementedError("a range has no columns")


@dataclass(frozen=True, kw_only=True)
class ScoreRanges:
    """What lanes have written, as a source whose rows are ranges of scores: row r is range r, and a batch of one row holds all its entries.

    lanes: files in `folder`. classes: score columns. most: entries of a range; ranges hold more only where there are over a thousandth as many runs.
    Ranges are in order, those of class 0 first; equal scores are never in two.
    """

    folder: str
    lanes: int
    classes: int
    most: int = _RANGE
    cuts: tuple[tuple[int, float, float], ...] = field(init=False)  # (class, from, to before): a range each
    _feet: dict[int, State] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cuts", tuple(cut for which in range(self.classes) for cut in self._cut(which)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_feet": {}}

    def _cut(self, which: int) -> list[tuple[int, float, float]]:
        """Ranges of one class: between marks at equal steps of their order, so that each holds at most `most` entries."""
        feet = [(int(foot["each"]), [marks for *_, marks in _runs(foot, which)]) for foot in map(self._foot, range(self.lanes))]
        marks = [mark for _, found in feet for mark in found]
        if not marks:
            return []
        each = max(each for each, _ in feet)
        step = max(self.most, 4 * len(marks) * each) // each - 2 * len(marks)  # each run adds at most one stretch at either end of a range
        cuts = np.unique(np.sort(np.concatenate(marks))[step::step])
        ends = [-np.inf, *cuts.tolist(), np.inf]
        return [(which, low, high) for low, high in pairwise(ends)]

    def _foot(self, lane: int) -> State:
        if lane not in self._feet:
            self._feet[lane] = _foot(_part(self.folder, lane))
        return self._feet[lane]

    @property
    def rows(self) -> int:
        return len(self.cuts)

    @property
    def schema(self) -> Schema:
        return Schema(fields=())

    @property
    def content(self) -> str:
        return f"scores in {self.folder}"

    def check(self) -> None:
        """The folder is this program's own."""

    def read(self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None = None) -> Iterator[ScoreBatch]:
        """Ranges [start, stop), each a batch of its own."""
        for number in range(start, stop):
            yield self._range(number)

    def take(self, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> ScoreBatch:
        raise NotImplementedError("ranges are read in order")

    def _range(self, number: int) -> ScoreBatch:
        which, low, high = self.cuts[number]
        found = [np.zeros(0, ENTRY)]
        for lane in range(self.lanes):
            path, foot = _part(self.folder, lane), self._foot(lane)
            with path.open("rb") as file:
                for entries, offset, marks in _runs(foot, which):
                    first = max(0, int(np.searchsorted(marks, low)) - 1) * int(foot["each"])
                    stop = min(entries, int(np.searchsorted(marks, high)) * int(foot["each"]))
                    if first < stop:
                        file.seek(offset + first * ENTRY.itemsize)
                        part = np.fromfile(file, ENTRY, stop - first)
                        if len(part) < stop - first:
                            raise BadFile("the file of scores is cut off", where=str(path))
                        found.append(part[np.searchsorted(part["score"], low) : np.searchsorted(part["score"], high)])
        return ScoreBatch(which, np.concatenate(found), number, f"scores from {low:g} to {high:g}")


def _runs(foot: State, which: int) -> Iterator[tuple[int, int, npt.NDArray[np.float64]]]:
    """(entries, offset, marks) of every run of a class in a part, in order."""
    for k, (kind, entries, offset) in enumerate(foot["runs"].tolist()):
        if kind == which:
            yield entries, offset, foot["marks"][foot["ends"][k] : foot["ends"][k + 1]]
