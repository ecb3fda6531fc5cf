"""The one-hot encoder: every category its own slot, known by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import BadField, BadFile, BadInput
from ...core.learner import Context, Feature, Pass, Price
from ...core.state import State, pack_strings, unpack_strings
from ..batch import Array, Batch, Design, DesignShape, Schema, aligned_empty
from .blocks import Entries, Recall, codes_of, dense_block, gather_slots, join_ragged, not_finite, sparse_of
from .counting import Counts, strings_array, text_array

__all__ = ["LIMIT", "OneHot"]

LIMIT = 100_000  # distinct values of a column that are still counted: 100 MB of states at 20 bytes a value and 16 lanes


class _Fitted:
    """The fitted arrays, parsed: for each column its values, and the slots of what is missing or not among them."""

    def __init__(self, fitted: State) -> None:
        self.columns = unpack_strings("columns", fitted)
        starts, offsets = fitted["starts"], fitted["values.offsets"]
        whole = {len(starts) - 1, len(fitted["missing"]), len(fitted["other"])} == {len(self.columns)}
        if not whole or starts[0] != 0 or starts[-1] != len(offsets) - 1 or (np.diff(starts) < 0).any():
            raise BadFile("the arrays of OneHot do not fit together", todo="The file is damaged: copy it again, or fit again.")
        self.size = int(starts[-1]) + int(fitted["missing"].sum()) + int(fitted["other"].sum())
        self.values, self.first, self.missing, self.other = [], [], [], []
        slot = 0
        for j in range(len(self.columns)):
            self.values.append(strings_array(fitted["values.bytes"], offsets[starts[j] : starts[j + 1] + 1]))
            self.first.append(slot)
            slot += int(starts[j + 1] - starts[j])
            self.missing.append(slot if fitted["missing"][j] else self.size)
            slot += int(fitted["missing"][j])
            self.other.append(slot if fitted["other"][j] else self.size)
            slot += int(fitted["other"][j])

    def table(self, j: int) -> Callable[[Any], npt.NDArray[np.uint32]]:
        """For `Dictionary.derive`: the slot of each value of a dictionary, and last that of missing."""

        def make(values: Any) -> npt.NDArray[np.uint32]:
            import pyarrow.compute as pc

            text = text_array(values)
            places = pc.index_in(text, value_set=self.values[j])
            out = np.full(len(values) + 1, self.other[j], np.uint32)
            known = places.is_valid().to_numpy(zero_copy_only=False)
            out[:-1][known] = places.drop_null().to_numpy() + self.first[j]
            if text.null_count:
                out[:-1][text.is_null().to_numpy(zero_copy_only=False)] = self.missing[j]
            out[-1] = self.missing[j]
            return out

        return make


_FITTED = Recall()


@dataclass(frozen=True, kw_only=True)
class OneHot(Feature):
    """Encode each category as a slot of its own, found in one pass over the rows; numbers become a dense float64 block.

    The slots of a column are its values in the order of their bytes, then missing (where it was seen while fitting),
    then another (where values were left out). After those of all columns comes one slot that has no row while fitting:
    a value never seen, in a column without "another", goes there, and so has no weight.

    Parameters
    ----------
    max_categories : int, optional
        Keep this many values a column, the most frequent (of equally frequent ones the first by bytes); the others
        share one slot ("another").
    min_count : int
        Values with fewer rows than this share that slot too.
    max_slots : int, optional
        Where all columns together would take more slots than this (beside the one for values never seen), keep the most frequent values of
        all columns that fit; where they take no more, nothing changes.

    Notes
    -----
    For columns of up to 100 000 values; with more the fit stops with an error that names the column: `Hashing` needs no
    dictionary. Missing numbers stay NaN: put `Missing` before. Columns of sparse numbers keep a slot for each place.
    """

    version: ClassVar[int] = 1

    max_categories: int | None = None
    min_count: int = 1
    max_slots: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_categories", "min_count", "max_slots"):
            value = getattr(self, name)
            if not (value is None and name != "min_count") and (type(value) is not int or value < 1):
                raise BadField(f"{name} is {value!r}", where=f"OneHot.{name}", allowed="an integer of at least 1")

    def begin(self, context: Context, start: State | None = None) -> State:
        schema: Schema = context.schema
        for kind, todo in (("date", "Add Dates() before it, or leave the column out."), ("text", "Encode with Hashing, or leave the column out.")):
            if schema.names(kind):
                raise BadField(f"column {schema.names(kind)[0]!r} is a {kind}, which has no categories", where="OneHot", todo=todo)
        return {} if schema.names("category") else self._finished(schema, {})

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return () if carry else (Pass(fold=Counts(context.schema.names("category"), LIMIT)),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return self._finished(context.schema, closed[0])

    def _finished(self, schema: Schema, counted: State) -> State:
        names = schema.names("category")
        kept: list[bytes] = []
        starts, missing, other = [0], [], []
        every = [counted[f"{j}.counts"] for j in range(len(names))]
        places = self._fitting(every, [self._chosen(counts) for counts in every], sum(int(counted[f"{j}.missing"] > 0) for j in range(len(names))))
        for j, (counts, chosen) in enumerate(zip(every, places, strict=True)):
            raw, offsets = counted[f"{j}.bytes"].tobytes(), counted[f"{j}.offsets"]
            kept += [raw[offsets[i] : offsets[i + 1]] for i in chosen]
            starts.append(len(kept))
            missing.append(counted[f"{j}.missing"] > 0)
            other.append(len(chosen) < len(counts))
        ends = np.cumsum([0, *map(len, kept)]).astype(np.int64)
        values: State = {"values.bytes": np.frombuffer(b"".join(kept), np.uint8).copy(), "values.offsets": ends}
        return {**pack_strings("columns", names), **values, "starts": np.array(starts, np.int64), "missing": np.array(missing, np.bool_), "other": np.array(other, np.bool_)}

    def _chosen(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Which values keep a slot of their own, ascending."""
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] >= self.min_count]
        found: npt.NDArray[np.int64] = np.sort(order[: self.max_categories])
        return found

    def _fitting(self, every: list[Array], chosen: list[Array], missing: int) -> list[Array]:
        """Of the chosen values, those that fit into `max_slots`: the most frequent, of equally frequent ones those of the first column, the first by bytes."""
        taken = missing + sum(map(len, chosen)) + sum(len(kept) < len(counts) for kept, counts in zip(chosen, every, strict=True))
        if self.max_slots is None or taken <= self.max_slots:
            return chosen
        room = self.max_slots - missing - len(every)
        if room < 0:
            raise BadInput(f"{len(every)} columns take {missing + len(every)} slots for what is missing and all others", where="OneHot.max_slots", allowed=f"{self.max_slots}")
        counts = np.concatenate([all_of[kept] for all_of, kept in zip(every, chosen, strict=True)])
        stays = np.zeros(len(counts), np.bool_)
        stays[np.argsort(-counts, kind="stable")[:room]] = True
        ends = np.cumsum([len(kept) for kept in chosen])[:-1]
        return [kept[here] for kept, here in zip(chosen, np.split(stays, ends), strict=True)]

    def _fitted(self, fitted: State) -> _Fitted:
        found: _Fitted = _FITTED.get(self, fitted["values.offsets"], make=lambda: _Fitted(fitted))
        return found

    def schema(self, fitted: State, schema: Schema) -> Schema:
        parsed = self._fitted(fitted)
        sparse = schema.names("sparse")
        width = parsed.size + sum(_width(schema[name].dtype) for name in sparse) + 1
        here = {item.name for item in schema.fields}
        return replace(schema, design=DesignShape(width=width, names=schema.names("number"), k=sum(name in here for name in parsed.columns), ragged=bool(sparse)))

    def names(self, fitted: State, schema: Schema) -> list[str]:
        """A name for each slot ("town=Rome", "town is missing", …), then for each dense column."""
        parsed = self._fitted(fitted)
        named = []
        for j, name in enumerate(parsed.columns):
            named += [f"{name}={value}" for value in parsed.values[j].to_pylist()]
            named += [f"{name} is missing"] * int(parsed.missing[j] < parsed.size) + [f"{name} is another"] * int(parsed.other[j] < parsed.size)
        named.append("never seen")
        for name in schema.names("sparse"):
            named += [f"{name}[{i}]" for i in range(_width(schema[name].dtype))]
        return [*named, *schema.names("number")]

    def reads(self, fitted: State, schema: Schema, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        sparse = set(schema.names("sparse"))  # where one's slots begin depends on those before it
        return inputs if sparse.isdisjoint(inputs) else tuple(dict.fromkeys((*inputs, *sorted(sparse))))

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        parsed = self._fitted(fitted)
        shape = self._shape(fitted, batch.schema)
        dense = dense_block(batch, shape.names, np.float64)
        here = [(j, name) for j, name in enumerate(parsed.columns) if shape.k == len(parsed.columns) or name in batch.columns]
        columns = [codes_of(batch, name) for _, name in here]
        tables = [column.dictionary.derive(("one-hot", parsed, j), parsed.table(j)) for (j, _), column in zip(here, columns, strict=True)]
        slots = aligned_empty((batch.rows, len(columns)), np.uint32)
        gather_slots(batch, [name for _, name in here], columns, tables, np.uint32(0xFFFFFFFF), slots)
        ragged, start = None, parsed.size + 1
        for name in batch.schema.names("sparse"):
            width = _width(batch.schema[name].dtype)
            entries = _entries(batch, name, start, width)
            ragged = entries if ragged is None else join_ragged(ragged, entries)
            start += width
        return batch.with_design(Design(dense=dense, slots=slots, ragged=ragged, width=shape.width, names=shape.names))

    def _shape(self, fitted: State, schema: Schema) -> DesignShape:
        found: DesignShape = _SHAPES.get(self, fitted["values.offsets"], schema, make=lambda: self.schema(fitted, schema).design)
        return found

    def price(self, context: Context) -> Price:
        return Price(state=sum(40 * max(context.schema[name].distinct, 16) for name in context.schema.names("category")))


_SHAPES = Recall()


def _width(dtype: str) -> int:
    """The number of places of a sparse column, from "sparse[width]"."""
    return int(dtype.partition("[")[2].rstrip("]"))


def _entries(batch: Batch, name: str, start: int, width: int) -> Entries:
    """A sparse column with the slots start + place; a place beyond the width it was fitted with is left out, as is a missing value."""
    column = sparse_of(batch, name)
    low, high = int(column.offsets[0]), int(column.offsets[-1])
    indices, values = column.indices[low:high], column.values[low:high]
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    wrong = np.flatnonzero(np.isinf(floats))
    if len(wrong):
        row = int(np.searchsorted(column.offsets, low + wrong[0], side="right")) - 1
        raise not_finite(batch, row, name, float(values[wrong[0]]))
    keep: Array = (indices < width) & ~np.isnan(values)
    offsets = np.concatenate([[0], np.cumsum(keep)])[column.offsets - low]
    return offsets.astype(np.int64), (indices[keep] + start).astype(np.uint32), floats[keep]
