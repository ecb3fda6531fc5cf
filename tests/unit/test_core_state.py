"""States as bytes: what goes in comes out, other readers agree, and a digest never moves."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from outgrow.core.errors import BadFile
from outgrow.core.state import decode, digest, encode, frozen, nbytes, pack_strings, prefixed, same, under, unpack_strings

KINDS = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
DTYPES = st.sampled_from([np.dtype(order + kind) for kind in KINDS for order in "<>"])
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
STATES = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(lambda name: name != "__metadata__"), ARRAYS, max_size=5)


def joined(state: Any, metadata: Any = None) -> bytes:
    return b"".join(encode(state, metadata))


@settings(max_examples=150, deadline=None)
@given(STATES, st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), st.text(st.characters(exclude_categories=["Cs"])), max_size=3))
def test_decode__of_what_encode_wrote__is_the_same_state(state: Any, metadata: Any) -> None:
    data = joined(state, metadata)
    back, words = decode(data)
    assert words == metadata
    assert set(back) == set(state)
    for name, array in state.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype.newbyteorder("<")
        assert back[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
        assert back[name].flags.writeable
    assert digest(back) == digest(state)
    assert joined(back, words) == data


@settings(max_examples=60, deadline=None)
@given(ARRAYS)
def test_digest__of_any_memory_layout__is_the_same(array: Any) -> None:
    views = [np.copy(array, order="F"), array.astype(array.dtype.newbyteorder(">")), np.stack([array, array], axis=-1)[..., 0]]
    assert {digest({"a": view}) for view in views} == {digest({"a": array})}
    assert {joined({"a": view}) for view in views} == {joined({"a": array})}


def test_digest__of_known_states__has_not_moved() -> None:
    known = {"b": np.array([True, False]), "w": np.arange(6, dtype=np.float64).reshape(2, 3), "é": np.array(-7, np.int16), "none": np.zeros((0, 4), np.float32)}
    assert digest({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest(known) == "c640a60827ad29b7516bc13f4ed3b96ab77333d55becd6f6b68ef756e079812f"
    by_hand = b"b\0BOOL\0" + b"2\0" + bytes([1, 0]) + b"none\0F32\0" + b"0,4\0" + b"w\0F64\0" + b"2,3\0" + np.arange(6, dtype="<f8").tobytes() + "é\0I16\0\0".encode() + b"\xf9\xff"
    assert digest(known) == hashlib.sha256(by_hand).hexdigest()
    assert digest(pack_strings("s", ["a", "", "ñ"])) == "def3c8864dcd4e6bfa0764fd32af305bc53dafb6dad308f30fb065bb62110e03"


def test_digest__a_change_of_name_type_shape_or_bits__is_another() -> None:
    base = {"a": np.zeros(4)}
    others = [{"b": np.zeros(4)}, {"a": np.zeros(4, np.int64)}, {"a": np.zeros((2, 2))}, {"a": np.array([0, 0, 0, -0.0])}, {"a": np.zeros(4), "b": np.zeros(0)}]
    assert len({digest(state) for state in [base, *others]}) == len(others) + 1
    assert same(base, {"a": np.zeros(4)})
    assert not same(base, others[3])


def test_encode__order_of_the_names__does_not_matter() -> None:
    one, two = np.arange(3), np.arange(4, dtype=np.int16)
    assert joined({"x": one, "a": two}) == joined({"a": two, "x": one})


def test_encode__every_array__starts_on_its_own_alignment() -> None:
    data = joined({"a": np.zeros(3, np.uint8), "b": np.zeros(3), "c": np.zeros(5, np.float32)})
    length = int.from_bytes(data[:8], "little")
    assert (8 + length) % 64 == 0
    for entry in json.loads(data[8 : 8 + length]).values():
        assert entry["data_offsets"][0] % {"U8": 1, "F64": 8, "F32": 4}[entry["dtype"]] == 0


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([object()]), np.zeros(2, complex), np.array("2020-01-01", "M8[s]")])
def test_encode__an_array_that_is_no_number__is_refused_by_name(array: Any) -> None:
    with pytest.raises(TypeError, match="'odd' has dtype"):
        joined({"odd": array})


def test_decode__without_copy__gives_read_only_views() -> None:
    back, _ = decode(joined({"a": np.arange(3.0)}), copy=False)
    assert not back["a"].flags.writeable
    assert back["a"].tolist() == [0, 1, 2]


def test_safetensors__reads_ours_and_we_read_theirs() -> None:
    theirs = pytest.importorskip("safetensors.numpy")
    state = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3, np.int64), "b": np.array([True]), "none": np.zeros((0, 2)), "h": np.ones(3, np.float16)}
    assert same(theirs.load(joined(state, {"who": "we"})), state)
    back, words = decode(theirs.save(state, {"who": "they"}))
    assert same(back, state)
    assert words == {"who": "they"}


def test_strings__through_a_state__come_back() -> None:
    words = ["", "a", "日本", "x" * 1000, "\ud800", "\0"]
    state, _ = decode(joined(pack_strings("k", words)))
    assert unpack_strings("k", state) == words
    assert unpack_strings("k", pack_strings("k", [])) == []


def test_prefixed_and_under__are_inverse_and_do_not_mix_names() -> None:
    state = {"a": np.zeros(1), "b/c": np.ones(2)}
    assert same(under("p", prefixed("p", state) | prefixed("pp", state)), state)
    assert nbytes(state) == 24


def test_frozen__arrays__cannot_be_written() -> None:
    state = frozen({"a": np.zeros(3), "scalar": np.float64(1)})
    with pytest.raises(ValueError, match="read-only"):
        state["a"][0] = 1


def header(text: bytes, body: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype: Any = "F64", shape: Any = (1,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": list(offsets) if isinstance(offsets, tuple) else offsets}


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "seven bytes": b"1234567",
    "a huge header": (1 << 63).to_bytes(8, "little") + b"{}",
    "a header longer than the file": header(b"{}")[:9],
    "no json": header(b"hello"),
    "a list": header(b"[]"),
    "deep lists": header(b"[" * 100_000),
    "deep objects": header(b'{"a":' * 50_000),
    "a number of 5000 digits": header(b'{"a":' + b"9" * 5000 + b"}"),
    "not utf-8": header(b'{"\xff":1}'),
    "utf-16": header("{}".encode("utf-16")),
    "a lone surrogate": header(b'{"\\ud800":' + json.dumps(entry()).encode() + b"}", bytes(8)),
    "a lone surrogate in the metadata": header(b'{"__metadata__":{"a":"\\udfff"}}'),
    "a name twice": header(b'{"a":{},"a":{}}'),
    "metadata of numbers": header(b'{"__metadata__":{"a":1}}'),
    "metadata that is a list": header(b'{"__metadata__":[]}'),
    **{
        name: header(json.dumps(found).encode(), bytes(size))
        for name, found, size in [
            ("an entry that is a number", {"a": 1}, 0),
            ("an entry with another field", {"a": entry() | {"more": 1}}, 8),
            ("an entry without a shape", {"a": {"dtype": "F64", "data_offsets": [0, 8]}}, 8),
            ("an unknown dtype", {"a": entry("BF16", (4,))}, 8),
            ("a dtype that is a list", {"a": entry(["F64"])}, 8),
            ("a shape that is text", {"a": entry(shape="12")}, 8),
            ("a negative shape", {"a": entry(shape=(-1,))}, 8),
            ("two negative sides", {"a": entry(shape=(-1, -1))}, 8),
            ("a shape of floats", {"a": entry(shape=(1.0,))}, 8),
            ("a shape of bools", {"a": entry(shape=(True,))}, 8),
            ("a shape of nulls", {"a": entry(shape=(None,))}, 8),
            ("a side of 2^62", {"a": entry(shape=(1 << 62,))}, 8),
            ("a product that wraps to 8 bytes", {"a": entry(shape=(1 << 61, 1 << 61, 1 << 61))}, 8),
            ("an empty array with a huge side", {"a": entry(shape=(0, (1 << 62) - 1, (1 << 62) - 1), offsets=(0, 0))}, 0),
            ("33 dimensions", {"a": entry(shape=(1,) * 33)}, 8),
            ("70 dimensions", {"a": entry(shape=(1,) * 70)}, 8),
            ("one offset", {"a": entry(offsets=(0,))}, 8),
            ("three offsets", {"a": entry(offsets=(0, 8, 8))}, 8),
            ("offsets of text", {"a": entry(offsets="08")}, 8),
            ("offsets of bools", {"a": entry("U8", (1,), (False, True))}, 1),
            ("a negative offset", {"a": entry(offsets=(-8, 0))}, 8),
            ("a stop before its start", {"a": entry(shape=(0,), offsets=(8, 0))}, 8),
            ("offsets beyond the file", {"a": entry(shape=(1 << 40,), offsets=(0, 8 << 40))}, 8),
            ("two arrays on the same bytes", {"a": entry(), "b": entry()}, 8),
            ("arrays that overlap", {"a": entry(shape=(2,), offsets=(0, 16)), "b": entry(shape=(2,), offsets=(8, 24))}, 24),
            ("a hole", {"a": entry(), "b": entry(offsets=(16, 24))}, 24),
            ("bytes after the last array", {"a": entry()}, 16),
            ("a bool that is 2", {"a": entry("BOOL", (1,), (0, 1))}, 0),
        ]
    },
}
HOSTILE["a bool that is 2"] += b"\x02"


@pytest.mark.parametrize("name", HOSTILE)
def test_decode__hostile_bytes__are_refused_with_the_place(name: str) -> None:
    with pytest.raises(BadFile) as caught:
        decode(HOSTILE[name], where="evil.model")
    assert str(caught.value).startswith("evil.model: ")
    assert str(caught.value).encode()
