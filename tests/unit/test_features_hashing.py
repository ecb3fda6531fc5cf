"""Hashing of categories, numbers, text and interactions, against mmh3 and plain Python."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise, product

import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.core.errors import BadField, BadInput
from outgrow.data.batch import Batch, Codes, Dictionary, Field, Numbers, Ragged, Schema, Texts
from outgrow.data.columns import join
from outgrow.data.features import Hashing
from outgrow.data.features.kernels import combine
from outgrow.data.features.murmur import hash_bytes

MISSING = b"\xffmissing"


def codes(values):
    array = pa.array(values).dictionary_encode()
    return Codes(np.array([-1 if i is None else i for i in array.indices.to_pylist()], np.int32), Dictionary(array.dictionary))


def texts(values):
    raw = [b"" if v is None else v.encode() for v in values]
    offsets = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    valid = np.array([v is not None for v in values])
    return Texts(np.frombuffer(b"".join(raw), np.uint8), offsets, None if valid.all() else valid)


def batch_of(columns, start=0):
    kinds = {Numbers: "number", Codes: "category", Texts: "text", Ragged: "sparse"}
    fields = [Field(name=n, kind=kinds[type(c)], dtype=f"sparse[{c.width}]" if isinstance(c, Ragged) else "") for n, c in columns.items()]
    return Batch(schema=Schema(fields=tuple(fields)), columns=columns, start=start, count=len(next(iter(columns.values()))), place="a.parquet, row group 3")


def design_of(hashing, batch):
    design = hashing.apply({}, batch, False).design
    shape = hashing.schema({}, batch.schema).design
    assert (shape.width, shape.names, shape.k, shape.ragged) == (design.width, design.names, design.slots.shape[1], design.ragged is not None)
    assert design.dense.dtype == np.float32
    assert design.dense.flags.c_contiguous
    assert design.dense.ctypes.data % 64 == 0 or design.dense.size == 0
    assert design.slots.dtype == np.uint32
    if design.ragged is not None:
        assert [part.dtype for part in design.ragged] == [np.int64, np.uint32, np.float32]
    return design


def rows_of(ragged):
    offsets, slots, values = ragged
    return [list(zip(slots[a:b].tolist(), values[a:b].tolist(), strict=True)) for a, b in pairwise(offsets)]


def full(column, value, seed=0):
    """The hash of a value of a column, as the documentation states it."""
    return mmh3.hash(MISSING if value is None else value.encode(), mmh3.hash(column.encode(), seed, signed=False), signed=False)


@given(st.binary(max_size=70), st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None)
def test_murmur__any_bytes_and_seed__as_mmh3(data, seed):
    assert hash_bytes(data, seed) == mmh3.hash(data, seed, signed=False)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_combine__is_the_finaliser_of_murmur3_over_the_mix(left, right):
    h = (left * 0x9E3779B1 + right) % 2**32
    h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    assert int(combine(np.uint32(left), np.uint32(right))) == h ^ h >> 16


@pytest.mark.parametrize("bits", [1, 10, 31])
@pytest.mark.parametrize("seed", [0, 77])
def test_categories__slot_is_murmur3_of_the_value_under_the_column(bits, seed):
    town = ["Rome", None, "", "Köln", "Rome", "日本"]
    kind = [3, 1, None, 1, 3, -2]
    design = design_of(Hashing(bits=bits, seed=seed), batch_of({"town": codes(town), "kind": codes(kind)}))
    wanted = [[full("town", t, seed) % 2**bits, full("kind", None if k is None else str(k), seed) % 2**bits] for t, k in zip(town, kind, strict=True)]
    assert design.slots.tolist() == wanted
    assert design.ragged is None


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_categories__any_string_layout_and_slice__same_slots(kind):
    values = pa.array(["x", "y", "abc", "", "wolf"], kind).slice(1, 3)
    column = Codes(np.array([0, 1, 2, -1], np.int32), Dictionary(values))
    design = design_of(Hashing(), batch_of({"c": column}))
    assert design.slots.ravel().tolist() == [full("c", v) % 2**22 for v in ("y", "abc", "", None)]


def test_categories__null_in_the_dictionary__is_missing():
    column = Codes(np.array([0, 1, -1], np.int32), Dictionary(pa.array(["a", None])))
    slots = design_of(Hashing(), batch_of({"c": column})).slots.ravel()
    assert slots[1] == slots[2] == full("c", None) % 2**22 != slots[0]


def test_categories__two_dictionaries_joined__each_is_hashed_once(monkeypatch):
    one, two = codes(["a", "b", None]), codes(["b", "c"])
    hashing = Hashing()
    for part in (one, two):
        design_of(hashing, batch_of({"c": part}))
    monkeypatch.setattr("outgrow.data.features.hashing.strings_of", lambda values: pytest.fail("hashed again"))
    slots = design_of(hashing, batch_of({"c": join([one, two])})).slots.ravel()
    assert slots.tolist() == [full("c", v) % 2**22 for v in ("a", "b", None, "b", "c")]


@pytest.mark.parametrize("code", [2, 9, -2, 2**31 - 1, -(2**31)])
def test_categories__code_outside_the_dictionary__is_an_error_not_a_wild_read(code):
    column = Codes(np.array([0, code], np.int32), Dictionary(pa.array(["a", "b"])))
    with pytest.raises(BadInput, match="'c' holds a code outside its dictionary of 2 values"):
        Hashing().apply({}, batch_of({"c": column}), False)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", ">f8", ">i4"])
def test_numbers__of_every_type__lie_in_the_dense_block_untouched(dtype):
    values = np.array([0, 1, 1, 0, 1, 100 if dtype != "?" else 1]).astype(dtype)
    valid = np.array([True, True, False, True, True, True])
    design = design_of(Hashing(), batch_of({"a": Numbers(values), "b": Numbers(values, valid)}))
    np.testing.assert_array_equal(design.dense[:, 0], values.astype(np.float32))
    np.testing.assert_array_equal(design.dense[:, 1], np.where(valid, values.astype(np.float32), np.nan))
    assert design.names == ("a", "b")


@pytest.mark.parametrize(("value", "words"), [(np.inf, "the value is inf"), (-np.inf, "the value is -inf"), (1e39, "1e\\+39 is too large for float32.*Scale")])
def test_numbers__not_finite__names_column_row_and_place(value, words):
    values = np.zeros(1000)
    values[[700, 900]] = value
    good = np.zeros(1000)
    with pytest.raises(BadInput, match=rf"a.parquet, row group 3, row 5700, column 'b': {words}"):
        Hashing().apply({}, batch_of({"a": Numbers(good), "b": Numbers(values)}, start=5000), False)


def test_numbers__infinite_behind_a_missing_value__is_missing():
    design = design_of(Hashing(), batch_of({"a": Numbers(np.array([np.inf, 1.0]), np.array([False, True]))}))
    np.testing.assert_array_equal(design.dense, [[np.nan], [1.0]])


def _wide(n=700):
    rng = np.random.default_rng(8)
    words = ["alpha", "Beta", "gamma delta", "x-y", "Ärger"]
    return batch_of(
        {
            "n": Numbers(rng.normal(size=n), rng.random(n) > 0.1),
            "i": Numbers(rng.integers(-9, 9, n)),
            "c": codes([None if rng.random() < 0.1 else words[rng.integers(5)] for _ in range(n)]),
            "d": codes([str(rng.integers(50)) for _ in range(n)]),
            "t": texts([None if rng.random() < 0.1 else " ".join(words[k] for k in rng.integers(0, 5, rng.integers(0, 6))) for _ in range(n)]),
            "s": Ragged(np.arange(0, 2 * n + 1, 2), rng.integers(0, 9, 2 * n).astype(np.int32), rng.normal(size=2 * n), 9),
        }
    )


EVERYTHING = Hashing(bits=18, ngrams=3, interactions=("c:d", "n:d", "i:n", "i:i:n", "c:d:i"))


@pytest.mark.parametrize("hashing", [EVERYTHING, EVERYTHING.replace(signed=True), EVERYTHING.replace(words=False, ngrams=2)])
@pytest.mark.parametrize("size", [1, 7, 256, 699])
def test_batches__of_any_size__give_the_same_rows(hashing, size):
    batch = _wide()
    whole = design_of(hashing, batch)
    found = [design_of(hashing, batch.where(np.arange(a, min(a + size, 700)))) for a in range(0, 700 if size > 1 else 40, size)]
    n = sum(len(part.dense) for part in found)
    assert np.concatenate([part.dense for part in found]).tobytes() == whole.dense[:n].tobytes()
    assert np.concatenate([part.slots for part in found]).tobytes() == whole.slots[:n].tobytes()
    assert [row for part in found for row in rows_of(part.ragged)] == rows_of(whole.ragged)[:n]


def test_layout_of_the_input__changes_no_bit():
    batch = _wide()
    spread = {}
    for name, column in batch.columns.items():
        if isinstance(column, Numbers):
            values = np.repeat(column.values, 3)[::3]
            spread[name] = Numbers(values, None if column.valid is None else np.repeat(column.valid, 2)[::2])
        elif isinstance(column, Codes):
            spread[name] = Codes(np.repeat(column.codes, 2)[::2], column.dictionary)
        elif isinstance(column, Texts):
            spread[name] = Texts(np.concatenate([np.full(5, 65, np.uint8), column.data]), column.offsets + 5, column.valid)
        else:
            spread[name] = Ragged(column.offsets + 2, np.r_[7, 7, column.indices].astype(np.int32), np.r_[1.0, np.inf, column.values], column.width)
    one, two = design_of(EVERYTHING, batch), design_of(EVERYTHING, batch_of(spread))
    assert one.dense.tobytes() == two.dense.tobytes()
    assert one.slots.tobytes() == two.slots.tobytes()
    assert [part.tobytes() for part in one.ragged] == [part.tobytes() for part in two.ragged]


def test_batch__without_rows__is_encoded():
    design = design_of(EVERYTHING, _wide().where(np.arange(0)))
    assert design.dense.shape == (0, 4)
    assert design.slots.shape == (0, 3)
    assert design.ragged[0].tolist() == [0]


def _grams(text, words, ngrams):
    lower = "".join(c.lower() if c.isascii() else c for c in text)
    tokens = re.findall(r"(?:[a-z0-9_]|[^\x00-\x7f])+", lower) if words else list(lower)
    found = Counter()
    for end in range(1, len(tokens) + 1):
        for g in range(1, min(end, ngrams) + 1):
            found[tuple(tokens[end - g : end])] += 1
    return found


def _chain(hashes):
    first, *rest = hashes
    for h in rest:
        first = int(combine(np.uint32(first), np.uint32(h)))
    return first


@given(st.lists(st.none() | st.text(st.sampled_from("aAbZ0_ -.é日\n"), max_size=25), min_size=1, max_size=6), st.booleans(), st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_text__words_and_ngrams__as_plain_python(rows, words, ngrams):
    design = design_of(Hashing(bits=31, words=words, ngrams=ngrams), batch_of({"t": texts(rows)}))
    for text, found in zip(rows, rows_of(design.ragged), strict=True):
        grams = _grams(text or "", words, ngrams)
        wanted = [(_chain([full("t", token) for token in gram]) % 2**31, float(count)) for gram, count in grams.items()]
        assert found == wanted


def test_text__bytes_behind_a_missing_value__are_no_words():
    column = Texts(np.frombuffer(b"abXYcd", np.uint8), np.array([0, 2, 4, 6]), np.array([True, False, True]))
    assert [len(row) for row in rows_of(design_of(Hashing(), batch_of({"t": column})).ragged)] == [1, 0, 1]


def test_signed__sign_is_the_highest_bit():
    town = ["a", "b", "c", "d", None]
    batch = batch_of({"town": codes(town), "t": texts(["u v", "v v", "", None, "w"])})
    design = design_of(Hashing(signed=True, bits=12), batch)
    assert design.slots.shape == (5, 0)

    def entry(h, value=1.0):
        return h % 2**12, -value if h >> 31 else value

    words = [[("u", 1.0), ("v", 1.0)], [("v", 2.0)], [], [], [("w", 1.0)]]
    wanted = [[entry(full("town", t)), *(entry(full("t", w), c) for w, c in row)] for t, row in zip(town, words, strict=True)]
    assert rows_of(design.ragged) == wanted
    assert {value for row in wanted for _, value in row} > {1.0, -1.0}


def test_interaction__of_categories__is_one_more_slot_per_row():
    a, b = ["x", None, "y"], ["1", "2", None]
    batch = batch_of({"b": codes(b), "a": codes(a)})
    wanted = [[full("b", q) % 2**22, full("a", p) % 2**22, _chain([full("a", p), full("b", q)]) % 2**22] for p, q in zip(a, b, strict=True)]
    for spec in (("a:b",), ("b:a",), ("a:b", "b:a")):
        assert design_of(Hashing(interactions=spec), batch).slots.tolist() == wanted


def test_interaction__of_numbers__is_a_dense_column():
    x, y = np.array([1.5, np.nan, -2.0]), np.array([2, 3, 4])
    design = design_of(Hashing(interactions=("y:x", "x:x")), batch_of({"x": Numbers(x), "y": Numbers(y)}))
    assert design.names == ("x", "y", "x:y", "x:x")
    np.testing.assert_array_equal(design.dense[:, 2:], np.column_stack([x * y, x * x]).astype(np.float32))


def test_interaction__of_number_and_category__is_an_entry_with_the_value():
    x = np.array([1.5, np.nan, 0.0, -2.0])
    design = design_of(Hashing(bits=20, interactions=("x:c", "c:x:y")), batch_of({"c": codes(["u", "v", "v", None]), "x": Numbers(x), "y": Numbers(np.full(4, 3))}))
    hashes = [[_chain([full("c", c), mmh3.hash(b"x", signed=False)]) for c in ("u", "v", "v", None)]]
    hashes.append([_chain([h, mmh3.hash(b"y", signed=False)]) for h in hashes[0]])
    wanted = [[] if not x[i] or np.isnan(x[i]) else [(hashes[0][i] % 2**20, x[i]), (hashes[1][i] % 2**20, 3 * x[i])] for i in range(4)]
    assert rows_of(design.ragged) == wanted
    assert design.slots.shape == (4, 1)


def test_interaction__of_groups__crosses_every_column_of_both():
    columns = {name: codes(["u", "v"]) for name in "abcd"}
    groups = {"user": ("a", "b"), "item": ["c", "d"]}
    one = Hashing(interactions=("user:item",), groups=groups)
    two = Hashing(interactions=tuple(f"{p}:{q}" for p, q in product("ab", "cd")))
    assert design_of(one, batch_of(columns)).slots.tobytes() == design_of(two, batch_of(columns)).slots.tobytes()
    itself = Hashing(interactions=("user:user",), groups=groups)
    assert design_of(itself, batch_of(columns)).slots.shape == (2, 5)
    assert Hashing(interactions=("user:item",), groups=("user=a+b", "item=c+d")) == one
    assert hash(one) == hash(one.replace())


def test_interaction__product_too_large_for_float32__is_an_error():
    big = Numbers(np.array([1.0, 1e30]))
    columns = {"x": big, "y": big, "c": codes(["u", "v"])}
    for spec in ("x:y", "c:x:y"):
        with pytest.raises(BadInput, match=r"row 1, column '.*': the product is too large"):
            Hashing(interactions=(spec,)).apply({}, batch_of(columns), False)


def test_sparse_column__entries_at_the_hash_of_their_place():
    ragged = Ragged(np.array([0, 2, 2, 4]), np.array([0, 7, 1, 2], np.int32), np.array([1.0, -2.0, np.nan, 0.5]), 9)
    design = design_of(Hashing(bits=20), batch_of({"s": ragged}))
    seed = mmh3.hash(b"s", signed=False)
    slot = {i: _chain([seed, i]) % 2**20 for i in (0, 7, 2)}
    assert rows_of(design.ragged) == [[(slot[0], 1.0), (slot[7], -2.0)], [], [(slot[2], 0.5)]]
    with pytest.raises(BadInput, match="row 1, column 's': the value is inf"):
        Hashing().apply({}, batch_of({"s": Ragged(np.array([0, 1, 2]), np.array([0, 1], np.int32), np.array([1.0, np.inf]), 9)}), False)


def test_design__takes_the_inputs_only_not_target_and_weight():
    batch = batch_of({"c": codes(["a", "b"]), "y": Numbers(np.arange(2)), "w": Numbers(np.ones(2)), "x": Numbers(np.ones(2))})
    schema = Schema(fields=batch.schema.fields, target="y", weight="w")
    design = design_of(Hashing(), Batch(schema=schema, columns=batch.columns, count=2))
    assert design.names == ("x",)
    assert design.slots.shape == (2, 1)


def test_schema__and_data_that_differ__is_an_error_that_names_the_column():
    batch = batch_of({"c": codes(["a"])})
    wrong = Batch(schema=batch.schema, columns={"c": Numbers(np.zeros(1))}, count=1, place="b.csv")
    with pytest.raises(BadInput, match=r"b.csv: column 'c' is a category in the schema, and the data hold numbers"):
        Hashing().apply({}, wrong, False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bits": 0}, "bits is 0"),
        ({"bits": 32}, "bits is 32"),
        ({"bits": True}, "bits is True"),
        ({"ngrams": 9}, "ngrams is 9"),
        ({"seed": -1}, "seed is -1"),
        ({"signed": 1}, "signed is 1"),
        ({"words": "no"}, "words is 'no'"),
        ({"interactions": "a:b"}, "interactions"),
        ({"interactions": ("a",)}, "'a' does not name two"),
        ({"interactions": ("a:",)}, "'a:' does not name two"),
        ({"groups": (("u", ()),)}, "group 'u'"),
        ({"groups": (("u", ("a",)), ("u", ("b",)))}, "twice"),
        ({"groups": ("user",)}, "groups"),
    ],
)
def test_bad_field__is_refused_by_name(fields, words):
    with pytest.raises(BadField, match=words):
        Hashing(**fields)


@pytest.mark.parametrize(("spec", "words"), [("c:zz", "no column or group 'zz'"), ("c:t", "'t', which is text"), ("c:c", "'c' with itself"), ("c:when", "Dates")])
def test_interaction__that_does_not_fit_the_schema__is_refused_by_name(spec, words):
    kinds = {"c": "category", "t": "text"} | ({"when": "date"} if "when" in spec else {})
    schema = Schema(fields=tuple(Field(name=name, kind=kind) for name, kind in kinds.items()))
    with pytest.raises(BadField, match=words):
        Hashing(interactions=(spec,)).schema({}, schema)


def test_date_column__is_refused_with_the_remedy():
    with pytest.raises(BadField, match=r"'when' is a date.*Dates\(\)"):
        Hashing().schema({}, Schema(fields=(Field(name="when", kind="date"),)))
