"""Slots read back by name, one example as a dict, and products of numbers."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from outgrow.core.errors import BadField, BadInput
from outgrow.core.state import decode, encode, same
from outgrow.core.tree import Closer
from outgrow.data.batch import Batch, Codes, Dictionary, Field, Numbers, Ragged, Schema, Texts
from outgrow.data.features import Dates, Hashing, Interactions, NamesOf, dense_names, hashed_names, one_row
from outgrow.data.features.names import by_slot

N = 90
TOWNS = ["Rome", "Köln", "", "a=b", "Rome "]
WORDS = ["the", "Cat", "sat", "ÜBER", "x_1"]


def codes(values, dtype=None):
    array = pa.array(values, dtype).dictionary_encode()
    return Codes(np.array([-1 if i is None else i for i in array.indices.to_pylist()], np.int32), Dictionary(array.dictionary))


def texts(values):
    raw = [b"" if v is None else v.encode() for v in values]
    return Texts(np.frombuffer(b"".join(raw), np.uint8), np.cumsum([0, *map(len, raw)]).astype(np.int64), np.array([v is not None for v in values]))


@pytest.fixture
def rows():
    rng = np.random.default_rng(11)
    return {
        "town": [None if rng.random() < 0.1 else TOWNS[rng.integers(5)] for _ in range(N)],
        "kind": [int(k) for k in rng.integers(0, 4, N)],
        "x": [float(x) for x in rng.integers(1, 9, N)],
        "t": [None if rng.random() < 0.1 else ", ".join(WORDS[k] for k in rng.integers(0, 5, rng.integers(0, 5))) for _ in range(N)],
    }


@pytest.fixture
def batch(rows):
    columns = {"town": codes(rows["town"]), "kind": codes(rows["kind"], pa.int8()), "x": Numbers(np.array(rows["x"])), "t": texts(rows["t"])}
    columns["s"] = Ragged(np.arange(N + 1), np.arange(N, dtype=np.int32) % 3, np.ones(N), 3)
    fields = (
        Field(name="town", kind="category", dtype="string"),
        Field(name="kind", kind="category", dtype="int8"),
        Field(name="x", kind="number", dtype="double"),
        Field(name="t", kind="text", dtype="string"),
        Field(name="s", kind="sparse", dtype="sparse[3]"),
    )
    return Batch(schema=Schema(fields=fields), columns=columns, count=N)


ENCODER = Hashing(bits=20, ngrams=2, interactions=("town:kind", "x:kind"))


def names_by_hand(rows):
    """Every name and how often it occurs."""
    found = Counter()
    lower = {"ÜBER": "Über"}  # beyond ASCII, case is kept
    for i in range(N):
        town = f"town={rows['town'][i]}" if rows["town"][i] is not None else "town is missing"
        kind = f"kind={rows['kind'][i]}"
        tokens = [w.lower() if w.isascii() else lower[w] for w in (rows["t"][i] or "").split(", ") if w]
        found.update([town, kind, f"{kind}, {town}", f"{kind}, x", f"s[{i % 3}]"])
        found.update(f"t={w}" for w in tokens)
        found.update(f"t={a} {b}" for a, b in pairwise(tokens))
    return found


def every_slot(encoder, batch):
    design = encoder.apply({}, batch, False).design
    return np.unique(np.concatenate([design.slots.ravel(), design.ragged[1]]))


@pytest.mark.parametrize("encoder", [ENCODER, ENCODER.replace(signed=True)])
def test_names__of_every_slot__are_those_counted_by_hand(encoder, batch, rows):
    fold, given = NamesOf(encoder), {"slots": every_slot(encoder, batch)}
    state = fold.update(fold.init(given), batch, given)
    found = {name: count for (_, name), count in zip(enumerate(unpack(state)), state["counts"].tolist(), strict=True)}
    assert found == names_by_hand(rows)
    named = by_slot(state, most=100)
    assert set(named) == set(given["slots"].tolist())


def unpack(state):
    raw, ends = state["names.bytes"].tobytes(), state["names.offsets"].tolist()
    return [raw[a:b].decode() for a, b in pairwise(ends)]


def test_names__a_slot_leads_to_the_value_that_was_hashed_to_it(batch, rows):
    slots = Hashing(bits=20).apply({}, batch, False).design.slots[:, 0].tolist()
    plain = batch.with_columns(Schema(fields=batch.schema.fields[:1]), batch.columns)
    for slot, town in zip(slots, rows["town"], strict=True):
        assert hashed_names(Hashing(bits=20), [plain], [slot]) == {slot: ["town is missing" if town is None else f"town={town}"]}


def test_names__only_the_slots_asked_for(batch):
    slots = every_slot(ENCODER, batch)
    assert set(hashed_names(ENCODER, [batch], slots[:7])) == set(slots[:7].tolist())
    assert hashed_names(ENCODER, [batch], []) == {}
    assert hashed_names(ENCODER, [], slots) == {}


def test_names__that_share_a_slot__the_most_frequent_come_first(batch, rows):
    encoder = Hashing(bits=1, interactions=("town:kind",))
    plain = Batch(schema=Schema(fields=batch.schema.fields[:2]), columns={name: batch.columns[name] for name in ("town", "kind")}, count=N)
    found = hashed_names(encoder, [plain], [0, 1], most=2)
    counts = {name: count for name, count in names_by_hand(rows).items() if not name.startswith(("t=", "s[")) and not name.endswith(", x")}
    for slot, names in hashed_names(encoder, [plain], [0, 1], most=100).items():
        assert names == sorted(names, key=lambda name: (-counts[name], name.encode()))
        assert found[slot] == names[:2]


@pytest.mark.parametrize("cuts", [[0, 1, 2, 90], [0, 45, 90], [0, 89, 90], [*range(91)]])
def test_names__any_cut_and_order__give_the_same_bits(cuts, batch):
    fold, given = NamesOf(ENCODER), {"slots": every_slot(ENCODER, batch)}
    whole = fold.update(fold.init(given), batch, given)
    closer = Closer(len(cuts) - 1, lambda a, b: fold.merge(a, b, given))
    for lane in reversed(range(len(cuts) - 1)):
        part = batch.where(np.arange(cuts[lane], cuts[lane + 1]))
        closer.add(0, lane, decode(b"".join(encode(fold.update(fold.init(given), part, given))))[0])
    assert same(closer.close(), whole)
    assert same(fold.merge(fold.init(given), whole, given), whole)


def test_names__too_many__is_an_error_with_a_remedy(batch, monkeypatch):
    monkeypatch.setattr("outgrow.data.features.names.LIMIT", 5)
    with pytest.raises(BadInput, match=r"more than 5 names.*fewer slots"):
        hashed_names(ENCODER, [batch], every_slot(ENCODER, batch))


def test_dense_names__are_those_of_the_design(batch):
    assert dense_names(Hashing(interactions=("x:x",)), batch.schema) == ["x", "x:x"]


def _design(encoder, batch):
    design = encoder.apply({}, batch, False).design
    return design.dense[0].tobytes(), design.slots[0].tobytes(), None if design.ragged is None else [part.tobytes() for part in design.ragged]


def _one(encoder, schema, example):
    dense, slots, ragged = encoder.one(schema, example)
    assert (dense.dtype, slots.dtype) == (np.float32, np.uint32)
    return dense.tobytes(), slots.tobytes(), None if ragged is None else [part.tobytes() for part in ragged]


@pytest.mark.parametrize("encoder", [Hashing(bits=20), ENCODER, ENCODER.replace(signed=True), Hashing(interactions=("x:x",))])
@pytest.mark.parametrize("inputs", [("town", "kind", "x"), ("town", "kind", "x", "t")])
def test_one__gives_the_bits_of_the_batch(encoder, inputs, batch, rows):
    fields = [item for item in batch.schema.fields if item.name in inputs]
    schema = Schema(fields=(*fields, Field(name="y", kind="number")), target="y")
    for i in [*range(25), *range(25)]:
        alone = Batch(schema=schema, columns=batch.where(np.array([i])).columns, count=1)
        assert _one(encoder, schema, {name: rows[name][i] for name in inputs}) == _design(encoder, alone)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("double", [1.0, 2, np.float32(0.5), math.nan, None]), ("bool", [True, False, None]), ("string", ["1", "é", None]), ("int64", [1, 1, np.int64(7), -(2**60)])],
)
def test_one__category_of_any_type__has_the_slot_of_the_batch(dtype, values):
    schema = Schema(fields=(Field(name="c", kind="category", dtype=dtype),))
    arrow = [None if v is None or v != v else v for v in values]
    column = codes(arrow, pa.type_for_alias(dtype))
    whole = Hashing().apply({}, Batch(schema=schema, columns={"c": column}, count=len(values)), False).design.slots
    assert [int(Hashing().one(schema, {"c": value})[1][0]) for value in values] == whole.ravel().tolist()


def test_one__values_that_python_holds_equal__keep_their_own_slots():
    schema = Schema(fields=(Field(name="c", kind="category"),))
    slots = [int(Hashing().one(schema, {"c": value})[1][0]) for value in (1, True, "1", 1.0)]
    assert slots[0] == slots[2] == slots[3] != slots[1]


def test_one__number_of_any_size_and_type__as_in_a_batch():
    schema = Schema(fields=(Field(name="x", kind="number"),))
    for value in (3, -1.5, True, np.int8(4), np.float32(0.1), 2**53 + 1, 16777217, 2**61 + 2**37 + 1):
        batch = Batch(schema=schema, columns={"x": Numbers(np.array([value]))}, count=1)
        assert _one(Hashing(), schema, {"x": value}) == _design(Hashing(), batch)
    assert math.isnan(Hashing().one(schema, {})[0][0])
    assert math.isnan(Hashing().one(schema, {"x": None})[0][0])


def test_one__forgets_values_when_it_has_seen_many(monkeypatch):
    monkeypatch.setattr("outgrow.data.features.single._KEPT", 4)
    schema = Schema(fields=(Field(name="c", kind="category"),))
    first = [int(Hashing().one(schema, {"c": str(i)})[1][0]) for i in range(9)]
    assert [int(Hashing().one(schema, {"c": str(i)})[1][0]) for i in range(9)] == first


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({"z": 1}, "no column 'z'"),
        ({"x": "3"}, "column 'x': the value is '3'.*a number"),
        ({"x": math.inf}, "column 'x': the value is inf"),
        ({"x": 1e39}, r"column 'x'.*1e\+39"),
        ({"x": 10**400}, "column 'x'.*beyond float64"),
        ({"kind": "many"}, "column 'kind': the value is 'many', which is no int8"),
        ({"kind": [1]}, r"column 'kind': the value is \[1\]"),
    ],
)
@pytest.mark.parametrize("encoder", [Hashing(), Hashing(signed=True)])
def test_one__bad_example__names_the_column(encoder, example, words):
    schema = Schema(fields=(Field(name="x", kind="number"), Field(name="kind", kind="category", dtype="int8")))
    with pytest.raises(BadInput, match=words):
        encoder.one(schema, example)


def test_one_row__goes_through_any_feature():
    import datetime as dt

    schema = Schema(fields=(Field(name="when", kind="date"), Field(name="t", kind="text")))
    row = one_row(schema, {"when": dt.date(2024, 2, 29), "t": "hello there"})
    out = Hashing().apply({}, Dates().apply({}, row, False), False).design
    assert out.dense.tolist() == [[2024.0]]
    assert len(out.ragged[1]) == 2
    assert one_row(schema, {}).columns["when"].valid.tolist() == [False]
    with pytest.raises(BadInput, match="column 't'"):
        one_row(schema, {"t": 3})


def test_interactions__are_products_of_numbers():
    a, b = np.array([1.0, 2.0, np.nan]), np.array([3, 4, 5])
    schema = Schema(fields=(Field(name="a", kind="number"), Field(name="b", kind="number"), Field(name="c", kind="category")))
    batch = Batch(schema=schema, columns={"a": Numbers(a), "b": Numbers(b), "c": codes(["u", "v", "w"])}, count=3)
    feature = Interactions(interactions=("b:a", "g:g"), groups={"g": ("b",)})
    out = feature.apply({}, batch, False)
    assert out.schema.names() == ("a", "b", "c", "a:b", "b:b") == feature.schema({}, schema).names()
    np.testing.assert_array_equal(out.matrix(["a:b", "b:b"]), np.column_stack([a * b, b * b]))
    with pytest.raises(BadField, match=r"category 'c'.*Hashing"):
        Interactions(interactions=("a:c",)).schema({}, schema)
    big = Batch(schema=schema, columns={**batch.columns, "a": Numbers(np.full(3, 1e200))}, count=3)
    with pytest.raises(BadInput, match="column 'a:a': the product is infinite"):
        Interactions(interactions=("a:a",)).apply({}, big, False)
