"""Reading hashed weights back by name: one more pass finds which values fall into the slots that matter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import BadInput
from ...core.learner import Fold, Traits
from ...core.state import State
from ..batch import Batch, Schema
from .blocks import codes_of, lowered, sparse_of, strings_of, texts_of
from .crossing import Crosses
from .hashing import Hashing, Layout, hash_table

__all__ = ["NamesOf", "by_slot", "dense_names", "hashed_names"]

LIMIT = 1_000_000  # names in a state: about 100 MB
Hashes = npt.NDArray[np.uint32]
Found = tuple[list[bytes], Hashes, npt.NDArray[np.int64]]  # names, their slots, how often each occurs


def dense_names(encoder: Hashing, schema: Schema) -> list[str]:
    """The names of the dense columns, in the order of their weights."""
    return list(encoder.layout(schema).shape.names)


@dataclass(frozen=True)
class NamesOf(Fold):
    """Which values, tokens and interactions fall into some slots of a hashing encoder, and how often each occurs.

    Reads batches as `encoder` gets them. given: ``slots`` uint32, ascending. State, sorted by slot and then name: ``slots`` uint32,
    ``counts`` int64 (rows; occurrences for text), ``names.bytes`` and ``names.offsets``. Only integers over sorted names: any order
    of rows and any cut give the same bits. Cost: about that of encoding, and a sort of the codes of each interaction.

    Raises BadInput above a million names: ask for fewer slots, or encode with more bits.
    """

    traits: ClassVar[Traits] = Traits(order_free=True)

    encoder: Hashing

    def init(self, given: Mapping[str, Any]) -> State:
        return _packed({})

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        held = _unpacked(state)
        for names, slots, counts in self._found(batch, given["slots"]):
            for name, slot, count in zip(names, slots.tolist(), counts.tolist(), strict=True):
                held[slot, name] = held.get((slot, name), 0) + count
        return _packed(held)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        held = _unpacked(left)
        for key, count in _unpacked(right).items():
            held[key] = held.get(key, 0) + count
        return _packed(held)

    def _found(self, batch: Batch, wanted: Hashes) -> Iterator[Found]:
        layout, mask = self.encoder.layout(batch.schema), np.uint32(self.encoder.mask)
        for name in layout.categories:
            yield _categories(layout, batch, name, mask, wanted)
        for crosses in (layout.crossed, layout.mixed):
            for x in range(len(crosses)):
                yield _crossing(layout, crosses, x, batch, mask, wanted)
        for name in layout.sparse:
            yield _places(layout, batch, name, mask, wanted)
        for name in layout.texts:
            yield _grams(self.encoder, layout, batch, name, wanted)


def by_slot(state: State, most: int = 3) -> dict[int, list[str]]:
    """The names of each slot, the most frequent first (of equally frequent ones in the order of their bytes), at most `most`."""
    held: dict[int, list[tuple[int, bytes]]] = {}
    for (slot, name), count in _unpacked(state).items():
        held.setdefault(slot, []).append((-count, name))
    return {slot: [name.decode("utf-8", "replace") for _, name in sorted(found)[:most]] for slot, found in held.items()}


def hashed_names(encoder: Hashing, batches: Iterable[Batch], slots: npt.ArrayLike, most: int = 3) -> dict[int, list[str]]:
    """The names behind some slots, from batches as `encoder` gets them: a dict of slot to names, the most frequent first.

    Slots that no row names are left out.
    """
    fold, given = NamesOf(encoder), {"slots": np.unique(np.asarray(slots, np.uint32))}
    state = fold.init(given)
    for batch in batches:
        state = fold.update(state, batch, given)
    return by_slot(state, most)


def _packed(held: dict[tuple[int, bytes], int]) -> State:
    if len(held) > LIMIT:
        raise BadInput(f"more than {LIMIT} names fall into the slots asked for", todo="Ask for fewer slots, or encode with more bits.")
    keys = sorted(held)
    ends = np.cumsum([0, *(len(name) for _, name in keys)]).astype(np.int64)
    names = np.frombuffer(b"".join(name for _, name in keys), np.uint8).copy()
    return {
        "slots": np.array([slot for slot, _ in keys], np.uint32),
        "counts": np.array([held[key] for key in keys], np.int64),
        "names.bytes": names,
        "names.offsets": ends,
    }


def _unpacked(state: State) -> dict[tuple[int, bytes], int]:
    raw, ends = state["names.bytes"].tobytes(), state["names.offsets"].tolist()
    slots, counts = state["slots"].tolist(), state["counts"].tolist()
    return {(slot, raw[a:b]): count for slot, a, b, count in zip(slots, ends[:-1], ends[1:], counts, strict=True)}


def _value(column: str, values: Any, code: int) -> bytes:
    """How a value of a category is called: "town=Rome", "town is missing"."""
    data, offsets, empty = values
    if code < 0 or code >= len(offsets) - 1 or code in empty:
        return f"{column} is missing".encode()
    text: bytes = data[offsets[code] : offsets[code + 1]].tobytes()
    return f"{column}=".encode() + text


def _categories(layout: Layout, batch: Batch, name: str, mask: np.uint32, wanted: Hashes) -> Found:
    column, seed = codes_of(batch, name), layout.seeds[name]
    slots = column.dictionary.derive(("murmur3", seed), hash_table(seed)) & mask
    codes = np.where(column.codes < 0, len(slots) - 1, column.codes)
    counts = np.bincount(codes, minlength=len(slots))
    hits = np.flatnonzero(np.isin(slots, wanted) & (counts > 0))
    values = column.dictionary.derive("strings", strings_of)
    return [_value(name, values, int(code)) for code in hits], slots[hits], counts[hits]


def _crossing(layout: Layout, crosses: Crosses, x: int, batch: Batch, mask: np.uint32, wanted: Hashes) -> Found:
    """Each combination of categories once: its hash does not depend on the numbers it is crossed with."""
    from .kernels import combine_all

    members = crosses.members[crosses.starts[x] : crosses.starts[x + 1]].tolist()
    tables, coded, ids = [], [], np.zeros(batch.rows, np.int64)
    for member in members:
        if member < 0:
            tables.append(np.array([layout.seeds[layout.numbers[-1 - member]]], np.uint32))
            coded.append(np.zeros(batch.rows, np.int64))
            continue
        name = layout.categories[member]
        column = codes_of(batch, name)
        table = column.dictionary.derive(("murmur3", layout.seeds[name]), hash_table(layout.seeds[name]))
        tables.append(table)
        coded.append(np.where(column.codes < 0, len(table) - 1, column.codes).astype(np.int64))
        ids = np.unique(ids * len(table) + coded[-1], return_inverse=True)[1]  # never more than the rows: no overflow
    _, rows, counts = np.unique(ids, return_index=True, return_counts=True)
    hashes = tables[0][coded[0][rows]]
    for table, codes in zip(tables[1:], coded[1:], strict=True):
        hashes = combine_all(hashes, table[codes[rows]])
    slots = hashes & mask
    hits = np.flatnonzero(np.isin(slots, wanted))
    names = [b", ".join(_member(layout, batch, member, int(codes[rows[hit]])) for member, codes in zip(members, coded, strict=True)) for hit in hits]
    return names, slots[hits], counts[hits]


def _member(layout: Layout, batch: Batch, member: int, code: int) -> bytes:
    if member < 0:
        return layout.numbers[-1 - member].encode()
    name = layout.categories[member]
    return _value(name, codes_of(batch, name).dictionary.derive("strings", strings_of), code)


def _places(layout: Layout, batch: Batch, name: str, mask: np.uint32, wanted: Hashes) -> Found:
    from .kernels import combine_all

    column = sparse_of(batch, name)
    low, high = int(column.offsets[0]), int(column.offsets[-1])
    places, counts = np.unique(column.indices[low:high][~np.isnan(column.values[low:high])], return_counts=True)
    slots = combine_all(np.full(len(places), layout.seeds[name], np.uint32), places.astype(np.uint32)) & mask
    hits = np.flatnonzero(np.isin(slots, wanted))
    return [f"{name}[{place}]".encode() for place in places[hits]], slots[hits], counts[hits]


def _grams(encoder: Hashing, layout: Layout, batch: Batch, name: str, wanted: Hashes) -> Found:
    from .words import count_grams, find_grams

    data, offsets = lowered(texts_of(batch, name))
    total, _ = count_grams(data, offsets, encoder.words, encoder.ngrams)
    keys, starts, ends = np.empty(total, np.uint64), np.empty(total, np.int64), np.empty(total, np.int64)
    mask, seed = np.uint32(encoder.mask), np.uint32(layout.seeds[name])
    end = find_grams(data, offsets, encoder.words, encoder.ngrams, seed, mask, np.array(wanted), keys, starts, ends)
    found, first, counts = np.unique(keys[:end], return_index=True, return_counts=True)
    grams = [data[starts[i] : ends[i]].tobytes() for i in first]
    if encoder.words:
        grams = [b" ".join(re.findall(rb"[a-z0-9_\x80-\xff]+", gram)) for gram in grams]
    return [f"{name}=".encode() + gram for gram in grams], (found >> np.uint64(32)).astype(np.uint32) & mask, counts
