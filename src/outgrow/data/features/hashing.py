"""The hashing encoder: categories, words and interactions as slots of one table, without a look at the data first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import BadField, BadInput
from ...core.learner import Feature
from ...core.state import State
from ..batch import Array, Batch, Design, DesignShape, Schema, aligned_empty
from .blocks import Entries, Recall, codes_of, dense_block, gather_slots, join_ragged, lowered, not_finite, place, sparse_of, strings_of, texts_of
from .crossing import Crosses, Groups, checked_interactions, crossings

__all__ = ["MISSING", "Hashing", "Layout", "hash_table"]

MISSING = b"\xffmissing"  # hashed where a category is missing; no UTF-8 text begins with this byte


@dataclass(frozen=True)
class Layout:
    """Where each column of a schema goes, and the shape of the design that comes of it."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    texts: tuple[str, ...]
    sparse: tuple[str, ...]
    seeds: dict[str, int]  # murmur3 of each column's name: the seed of its values
    crossed: Crosses  # categories with categories
    products: Crosses  # numbers with numbers
    mixed: Crosses  # numbers with categories
    shape: DesignShape

    @property
    def bits_needed(self) -> bool:
        """True where full hashes are needed, before they are cut to slots."""
        return bool(len(self.crossed) or len(self.mixed))


def hash_table(seed: int) -> Callable[[Any], npt.NDArray[np.uint32]]:
    """For `Dictionary.derive`: the full hashes of all values (uint32), and last that of missing."""

    def make(values: Any) -> npt.NDArray[np.uint32]:
        from .murmur import hash_bytes, hash_strings

        data, offsets, empty = strings_of(values)
        out = np.empty(len(values) + 1, np.uint32)
        hash_strings(data, offsets, seed, out)
        out[-1] = hash_bytes(MISSING, seed)
        out[empty] = out[-1]
        return out

    return make


_LAYOUTS = Recall()


@dataclass(frozen=True, kw_only=True)
class Hashing(Feature):
    """Encode categories, text and interactions as slots of a table of 2^bits weights; numbers stay as they are.

    The slot of a value is ``murmur3(value, seed=murmur3(column, seed)) & (2^bits - 1)``: no pass over the data, no
    dictionary in the model, and a value never seen before has a slot. A missing category has a slot of its own.

    Parameters
    ----------
    bits : int
        The table has 2^bits slots, 1 to 31. Two values may share a slot: at 22 bits and 100 000 values about 2 % do.
    signed : bool
        Let one bit of the hash give each entry the value +1 or -1, so that what shares a slot cancels on average.
    ngrams : int
        Text columns give all runs of 1 to `ngrams` tokens, 1 to 8; the value of an entry is its count in the row.
    words : bool
        Tokens are words (runs of letters, digits and "_" in lower case; every character beyond ASCII counts as a
        letter and keeps its case); else single characters.
    interactions : tuple of str
        "a:b" crosses two columns (or more, or groups): categories give a slot for each pair of values, a number and a
        category an entry with the number as its value, two numbers a dense column with their product.
    groups : tuple of (str, tuple of str), or dict
        Names for several columns, for `interactions`; on the command line "user=age+town".
    seed : int
        Another seed, other collisions.

    Notes
    -----
    Cost: each dictionary is hashed once (about 10 ns a value); then about 2 ns a category and row, 1.5 ns a number.
    """

    version: ClassVar[int] = 1

    bits: int = 22
    signed: bool = False
    ngrams: int = 1
    words: bool = True
    interactions: tuple[str, ...] = ()
    groups: Groups = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("bits", 1, 31), ("ngrams", 1, 8), ("seed", 0, 2**32 - 1)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise BadField(f"{name} is {value!r}", where=f"{type(self).__name__}.{name}", allowed=f"an integer from {low} to {high}")
        for name in ("signed", "words"):
            if type(getattr(self, name)) is not bool:
                raise BadField(f"{name} is {getattr(self, name)!r}", where=f"{type(self).__name__}.{name}", allowed="True or False")
        interactions, groups = checked_interactions(self.interactions, self.groups)
        object.__setattr__(self, "interactions", interactions)
        object.__setattr__(self, "groups", groups)

    @property
    def mask(self) -> int:
        return (1 << self.bits) - 1

    def layout(self, schema: Schema) -> Layout:
        """What becomes of each input of a schema; remembered for the schema's object.

        Raises BadField for a date column, or an interaction that does not fit the schema.
        """
        found: Layout = _LAYOUTS.get(self, schema, make=lambda: self._layout(schema))
        return found

    def _layout(self, schema: Schema) -> Layout:
        from .murmur import hash_bytes

        dates = schema.names("date")
        if dates:
            raise BadField(f"column {dates[0]!r} is a date, which cannot be hashed", where=type(self).__name__, todo="Add Dates() before it, or leave the column out.")
        numbers, categories = schema.names("number"), schema.names("category")
        kinds = dict.fromkeys(numbers, "number") | dict.fromkeys(categories, "category")
        crossed: dict[frozenset[str], list[tuple[str, ...]]] = {}
        for names in crossings(self.interactions, self.groups, schema):
            crossed.setdefault(frozenset(kinds[name] for name in names), []).append(names)
        place_of = {name: j for j, name in enumerate(categories)}
        place_in = {name: j for j, name in enumerate(numbers)}
        pairs = Crosses.of(crossed.get(frozenset({"category"}), []), place_of)
        squares = Crosses.of(crossed.get(frozenset({"number"}), []), place_in)
        mixed = Crosses.of(crossed.get(frozenset({"number", "category"}), []), place_of | {name: -1 - j for name, j in place_in.items()})
        k = 0 if self.signed else len(categories) + len(pairs)
        ragged = bool(schema.names("text", "sparse")) or len(mixed) > 0 or (self.signed and len(categories) > 0)
        return Layout(
            numbers=numbers,
            categories=categories,
            texts=schema.names("text"),
            sparse=schema.names("sparse"),
            seeds={name: hash_bytes(name.encode("utf-8", "surrogatepass"), self.seed) for name in schema.names()},
            crossed=pairs,
            products=squares,
            mixed=mixed,
            shape=DesignShape(width=1 << self.bits, names=numbers + squares.names, k=k, ragged=ragged),
        )

    def schema(self, fitted: State, schema: Schema) -> Schema:
        return replace(schema, design=self.layout(schema).shape)

    def reads(self, fitted: State, schema: Schema, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        return None if self.interactions else inputs

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        return self.encoded(batch, self.text)

    def encoded(self, batch: Batch, text: Callable[[Layout, Batch, str], Entries]) -> Batch:
        """The batch with its design; `text` gives the entries of a text column."""
        layout = self.layout(batch.schema)
        dense = self._dense(layout, batch)
        slots, hashes = self._slots(layout, batch)
        parts: list[Entries] = []
        if self.signed and layout.categories:
            k = slots.shape[1]
            parts.append(self._entries(np.arange(0, k * batch.rows + 1, k), slots.reshape(-1), np.ones(k * batch.rows, np.float32)))
            slots = np.zeros((batch.rows, 0), np.uint32)
        if len(layout.mixed):
            parts.append(self._mixed(layout, batch, hashes, dense))
        parts += [self._sparse(layout, batch, name) for name in layout.sparse]
        parts += [text(layout, batch, name) for name in layout.texts]
        ragged = None
        for part in parts:
            ragged = part if ragged is None else join_ragged(ragged, part)
        return batch.with_design(Design(dense=dense, slots=slots, ragged=ragged, width=1 << self.bits, names=layout.shape.names))

    def one(self, schema: Schema, example: Mapping[str, Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint32], Entries | None]:
        """One example, a dict of values by column: the same bits as in a batch.

        Returns
        -------
        dense : float32 (m,); slots : uint32 (k,); ragged : None, or (offsets, slots, values) of one row

        Notes
        -----
        About 15 µs for 13 numbers and 26 categories seen before; with text, signs or interactions about 300 µs.
        Raises BadInput for a name that is no column, and a value that does not fit its column.
        """
        from .single import one

        return one(self, schema, example)

    def _dense(self, layout: Layout, batch: Batch) -> Array:
        """The numbers and their products: float32 (n, m)."""
        dense = dense_block(batch, layout.numbers, np.float32, extra=len(layout.products))
        if len(layout.products):
            from .kernels import products

            row, x = products(dense, len(layout.numbers), layout.products.members, layout.products.starts)
            if row >= 0:
                raise _too_large(batch, row, layout.products.names[x])
        return dense

    def _slots(self, layout: Layout, batch: Batch) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """One slot a category and crossing: uint32 (n, k), cut to `bits` unless signed; and the full hashes of the categories."""
        k, extra = len(layout.categories), len(layout.crossed)
        mask = np.uint32(0xFFFFFFFF if self.signed else self.mask)
        whole = np.uint32(0xFFFFFFFF) if layout.bits_needed else mask
        hashes = aligned_empty((batch.rows, k), np.uint32)
        columns = [codes_of(batch, name) for name in layout.categories]
        seeds = [layout.seeds[name] for name in layout.categories]
        tables = [column.dictionary.derive(("murmur3", seed), hash_table(seed)) for column, seed in zip(columns, seeds, strict=True)]
        gather_slots(batch, layout.categories, columns, tables, whole, hashes)
        if not layout.bits_needed:
            return hashes, hashes
        from .kernels import cross

        slots = aligned_empty((batch.rows, k + extra), np.uint32)
        np.bitwise_and(hashes, mask, out=slots[:, :k])
        cross(hashes, layout.crossed.members, layout.crossed.starts, k, mask, slots)
        return slots, hashes

    def _mixed(self, layout: Layout, batch: Batch, hashes: npt.NDArray[np.uint32], dense: Array) -> Entries:
        from .kernels import mixed

        most = batch.rows * len(layout.mixed)
        offsets, slots, values = np.empty(batch.rows + 1, np.int64), np.empty(most, np.uint32), np.empty(most, np.float32)
        seeds = np.array([layout.seeds[name] for name in layout.numbers], np.uint32)
        row = mixed(hashes, dense, seeds, layout.mixed.members, layout.mixed.starts, offsets, slots, values)
        if row >= 0:
            raise _too_large(batch, row, ", ".join(layout.mixed.names))
        return self._entries(offsets, slots[: offsets[-1]], values[: offsets[-1]])

    def _sparse(self, layout: Layout, batch: Batch, name: str) -> Entries:
        from .kernels import sparse_rows

        column = sparse_of(batch, name)
        most = int(column.offsets[-1] - column.offsets[0])
        offsets, slots, values = np.empty(batch.rows + 1, np.int64), np.empty(most, np.uint32), np.empty(most, np.float32)
        row = sparse_rows(column.offsets, column.indices, column.values, np.uint32(layout.seeds[name]), offsets, slots, values)
        if row >= 0:
            found = column.values[column.offsets[row] : column.offsets[row + 1]]
            with np.errstate(over="ignore"):
                raise not_finite(batch, row, name, float(found[np.isinf(found.astype(np.float32))][0]))
        return self._entries(offsets, slots[: offsets[-1]], values[: offsets[-1]])

    def text(self, layout: Layout, batch: Batch, name: str) -> Entries:
        """Counts of the n-grams of a text column, in the order of their first occurrence; a missing text has none."""
        from .words import count_grams, hash_grams

        data, offsets = lowered(texts_of(batch, name))
        total, most = count_grams(data, offsets, self.words, self.ngrams)
        ends, hashes, values = np.empty(batch.rows + 1, np.int64), np.empty(total, np.uint32), np.empty(total, np.float32)
        hash_grams(data, offsets, self.words, self.ngrams, np.uint32(layout.seeds[name]), 1 << (2 * most + 1).bit_length(), ends, hashes, values)
        return self._entries(ends, hashes[: ends[-1]], values[: ends[-1]])

    def _entries(self, offsets: Array, hashes: Array, values: Array) -> Entries:
        """Entries with full hashes: cut to slots, and signed by the highest bit where that is wanted."""
        if self.signed:
            values = np.where(hashes >> np.uint32(31), -values, values)
        return offsets, hashes & np.uint32(self.mask), values


def _too_large(batch: Batch, row: int, name: str) -> BadInput:
    return BadInput("the product is too large for float32", where=place(batch, row, name), todo="Scale the columns first.")
