"""Counts of categories: which values a column holds and how often, in any order of rows, files and workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import BadFile, BadInput
from ...core.learner import Fold, Traits
from ...core.state import State
from ..batch import Batch, Codes, Dictionary, Texts
from ..native import I8, INT, U1, Native
from .blocks import codes_of, strings_of

__all__ = ["Counts", "Top", "strings_array", "text_array"]

Text = Any  # a pyarrow LargeStringArray
_unite = Native(
    "outgrow.data.features.sorted_strings", "unite",
    (U1(1), I8(1), I8(1), U1(1), I8(1), I8(1), U1(1, True), I8(1, True), I8(1, True), I8(1, True), I8(1, True)), INT,
)  # fmt: skip


def text_array(values: Any) -> Text:
    """For `Dictionary.derive`: the text form of all values as a LargeStringArray; null where a value is null."""
    import pyarrow as pa

    data, offsets, empty = strings_of(values)
    found = strings_array(data, offsets.astype(np.int64))
    if len(empty):
        places = np.arange(len(values))
        found = found.take(pa.array(places, mask=np.isin(places, empty)))
    return found


def strings_array(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> Text:
    """Packed strings of a state as a LargeStringArray over the same bytes. Raises BadFile for offsets that lie outside them."""
    import pyarrow as pa

    if not len(offsets) or offsets[0] < 0 or offsets[-1] > len(data) or (np.diff(offsets) < 0).any():  # Arrow would read wherever they point
        raise BadFile("the offsets of packed strings do not lie within their bytes, in order", todo="The file is damaged: copy it again, or fit again.")
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(data)))


def _packed(strings: Text) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Bytes and offsets of an array of strings, owned."""
    _, ends, data = strings.buffers()
    if not len(strings):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(ends, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    whole = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return whole[offsets[0] : offsets[-1]].copy(), offsets - offsets[0]


def _no_places(_: Any) -> dict[int, Any]:
    """For `Dictionary.derive`: where its values stand in the state of a column, not known yet."""
    return {}


@dataclass(frozen=True)
class Counts(Fold):
    """How often each value of some category columns occurs: integers over sorted strings, so any order and any cut give the same bits.

    State, for column j: ``j.bytes`` and ``j.offsets`` (distinct values, sorted by their bytes), ``j.counts`` int64,
    ``j.missing`` 0-d int64. Cost: one count a code, one look-up a distinct value of the batch.
    Raises BadInput, which says `todo`, where a column has more than `limit` distinct values.
    """

    traits: ClassVar[Traits] = Traits(order_free=True)

    columns: tuple[str, ...]
    limit: int
    todo: str = "Encode with Hashing (--feature hashing), which needs no dictionary, or leave the column out."

    def init(self, given: Mapping[str, Any]) -> State:
        state: State = {}
        for j in range(len(self.columns)):
            state |= {f"{j}.bytes": np.zeros(0, np.uint8), f"{j}.offsets": np.zeros(1, np.int64), f"{j}.counts": np.zeros(0, np.int64), f"{j}.missing": np.array(0)}
        return state

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        import pyarrow.compute as pc

        for j, name in enumerate(self.columns):
            column = codes_of(batch, name)
            text = column.dictionary.derive("text", text_array)
            found = np.bincount(column.codes + 1, minlength=len(text) + 1)
            if len(found) > len(text) + 1:
                raise BadInput(f"column {name!r} holds a code outside its dictionary of {len(text)} values", where=batch.place)
            seen = np.flatnonzero(found[1:])
            counts, lost = found[1:][seen], int(found[0])
            known = self._places(state, j, column.dictionary, text)
            new = seen[known[seen] < 0]
            total = state[f"{j}.counts"].copy()
            old = known[seen] >= 0
            np.add.at(total, known[seen][old], counts[old])
            state = {**state, f"{j}.counts": total}
            if len(new):  # nearly always in the first batches; after that where values have long tails
                strings = text.take(new)
                counts = counts[~old]
                if strings.null_count:
                    null = strings.is_null().to_numpy(zero_copy_only=False)
                    lost, new, counts, strings = lost + int(counts[null].sum()), new[~null], counts[~null], strings.drop_null()
                order = pc.sort_indices(strings).to_numpy()
                state, before, places = self._united(state, j, *_packed(strings.take(order)), counts[order], batch.place)
                known = np.where(known >= 0, before[known], -1) if len(before) else known.copy()
                known[new[order]] = places
                column.dictionary.derive("places", _no_places)[j] = state[f"{j}.offsets"], known
            state = {**state, f"{j}.missing": np.array(int(state[f"{j}.missing"]) + lost)}
        return state

    @staticmethod
    def _places(state: State, j: int, dictionary: Dictionary, text: Text) -> npt.NDArray[np.int64]:
        """Where each value of a dictionary stands in the state, -1 where it does not; kept while both are the same."""
        import pyarrow.compute as pc

        offsets, held = state[f"{j}.offsets"], dictionary.derive("places", _no_places)
        if j not in held or held[j][0] is not offsets:
            found = pc.index_in(text, value_set=strings_array(state[f"{j}.bytes"], offsets), skip_nulls=True)
            held[j] = offsets, found.fill_null(-1).to_numpy().astype(np.int64)
        places: npt.NDArray[np.int64] = held[j][1]
        return places

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        for j in range(len(self.columns)):
            left, _, _ = self._united(left, j, right[f"{j}.bytes"], right[f"{j}.offsets"], right[f"{j}.counts"], "")
            left = {**left, f"{j}.missing": np.array(int(left[f"{j}.missing"]) + int(right[f"{j}.missing"]))}
        return left

    def _united(
        self, state: State, j: int, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], where: str
    ) -> tuple[State, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The state with these counts of column j added, and where its values and the added ones stand in it. The strings are sorted; one may stand twice."""
        own, ends, held = state[f"{j}.bytes"], state[f"{j}.offsets"], state[f"{j}.counts"]
        most = len(held) + len(counts)
        out, starts, sums = np.empty(len(own) + len(data), np.uint8), np.empty(most + 1, np.int64), np.empty(most, np.int64)
        before, places = np.empty(len(held), np.int64), np.empty(len(counts), np.int64)
        distinct = _unite(own, ends, held, data, offsets, counts, out, starts, sums, before, places)
        if distinct > self.limit:
            raise BadInput(f"column {self.columns[j]!r} has more than {self.limit} categories", where=where, todo=self.todo)
        if distinct == len(held):
            return {**state, f"{j}.counts": sums[:distinct].copy()}, before, places  # the same strings, and so the same offsets for whoever knows them
        whole: State = {f"{j}.bytes": out[: starts[distinct]].copy(), f"{j}.offsets": starts[: distinct + 1].copy(), f"{j}.counts": sums[:distinct].copy()}
        return {**state, **whole}, before, places


@dataclass(frozen=True)
class Top(Fold):
    """The most frequent values of some category and text columns, with bounded memory however many values there are.

    Counts are exact while a column has at most `limit` values. Above that the (limit + 1)-th largest count is taken off all of them, and values that are left
    with nothing are dropped: a value that is kept occurs at least as often as it was counted, and at most ``j.lost`` times more, and any other at most ``j.lost``
    times, which is less than rows / limit. Source: Misra and Gries 1982; that two such states merge with the same bound: Agarwal and
    others, "Mergeable summaries" (2013), section 2.

    State: as `Counts`, ``j.lost`` 0-d int64, and ``rows``, all of them. Cost: that of `Counts`; texts are looked up row by row, about 100 ns each.
    """

    columns: tuple[str, ...]
    limit: int

    @property
    def _counts(self) -> Counts:
        return Counts(self.columns, np.iinfo(np.int64).max)

    def init(self, given: Mapping[str, Any]) -> State:
        return self._counts.init(given) | {f"{j}.lost": np.array(0) for j in range(len(self.columns))} | {"rows": np.array(0)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        texts = {name: _coded(column) for name in self.columns if isinstance(column := batch.column(name), Texts)}
        state = {**state, "rows": np.array(int(state["rows"]) + batch.rows)}
        return self._cut(self._counts.update(state, batch.with_columns(batch.schema, {**batch.columns, **texts}) if texts else batch, given))

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        sums = {name: np.array(int(left[name]) + int(right[name])) for name in ("rows", *(f"{j}.lost" for j in range(len(self.columns))))}
        return self._cut(self._counts.merge(left, right, given) | sums)

    def _cut(self, state: State) -> State:
        """At most `limit` values of each column."""
        for j in range(len(self.columns)):
            counts = state[f"{j}.counts"]
            if len(counts) <= self.limit:
                continue
            place = len(counts) - self.limit - 1
            less = np.partition(counts, place)[place]
            kept = np.flatnonzero(counts > less)
            data, offsets = _packed(strings_array(state[f"{j}.bytes"], state[f"{j}.offsets"]).take(kept))
            state = {**state, f"{j}.bytes": data, f"{j}.offsets": offsets, f"{j}.counts": counts[kept] - less, f"{j}.lost": np.array(int(state[f"{j}.lost"]) + int(less))}
        return state


def _coded(column: Texts) -> Codes:
    """Texts as categories of this batch alone."""
    found = strings_array(column.data, np.require(column.offsets, requirements=("C", "A"))).dictionary_encode()
    codes = found.indices.to_numpy().astype(np.int32)
    return Codes(codes if column.valid is None else np.where(column.valid, codes, np.int32(-1)), Dictionary(found.dictionary))
