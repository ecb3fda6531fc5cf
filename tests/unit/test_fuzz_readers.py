"""Damaged and hostile files: whatever the bytes, BadFile or a right answer, and never much memory or time."""

import contextlib
import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.core.errors import BadFile
from outgrow.core.fold import Node, Partial
from outgrow.core.state import decode, digest, encode, same
from outgrow.core.store import Checkpoint, RunStore
from outgrow.data.modelfile import read_model, write_model

STATE = {"model/w": np.arange(12.0).reshape(3, 4), "model/n": np.array(3), "model/b": np.array([True, False, True])}
STATE |= {"resume/h": np.ones(5, np.float32), "model/none": np.zeros((0, 2))}
WHOLE = b"".join(encode(STATE, {"outgrow": "1", "header": json.dumps({"a": [1, 2]})}))


@contextlib.contextmanager
def bounded(megabytes: float = 8, seconds: float = 30) -> Iterator[None]:
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        assert time.process_time() - began < seconds  # of work, not of waiting: only a reader that runs away takes this long
        assert tracemalloc.get_traced_memory()[1] < megabytes * (1 << 20)
    finally:
        tracemalloc.stop()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some of: flipped bits, bytes replaced, removed, repeated or put in, an end cut off, digits changed."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out) + 1)
        to = min(len(out), at + chance.choice([1, 1, 2, 8, 64]))
        what = chance.randrange(7)
        if what == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            out[at:to] = chance.randbytes(to - at)
        elif what == 2:
            del out[at:to]
        elif what == 3:
            out[at:at] = out[at:to]
        elif what == 4:
            out[at:at] = chance.choice([b"{", b"[" * 3000, b'"', b"9" * 30, b"-1", b"1e999", b"true", b"null", b"\\ud800", b"\xff", bytes(8), (1 << 63).to_bytes(8, "little")])
        elif what == 5:
            del out[at:]
        else:
            digits = [i for i, byte in enumerate(out[:600]) if 48 <= byte <= 57]
            if digits:
                out[chance.choice(digits)] = chance.choice(b"0123456789-.e")
        if not out:
            out = bytearray(b"x")
    return bytes(out)


@pytest.mark.parametrize("seed", range(4))
def test_decode__mutated_files__are_refused_or_read_as_they_stand(seed: int) -> None:
    chance = random.Random(seed)
    read = 0
    with bounded():
        for _ in range(1500):
            data = mutated(WHOLE, chance)
            try:
                state, metadata = decode(data)
            except BadFile as error:
                str(error).encode()
            else:
                read += 1
                again, words = decode(b"".join(encode(state, metadata)))
                assert same(again, state)
                assert words == metadata
    assert 0 < read < 600  # a flip inside the values is a file like any other


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.one_of(st.none(), st.integers(0, 1 << 64)))
def test_decode__any_bytes__are_refused_or_read(data: bytes, length: int | None) -> None:
    data = (min(length, (1 << 64) - 1) if length is not None else len(data)).to_bytes(8, "little") + data
    with contextlib.suppress(BadFile):
        decode(data)


LEAVES = st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=8)
JSONS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F64", "U8", "BOOL", "I64", "F16", "X"]) | JSONS,
        "shape": st.lists(st.integers(-2, 1 << 63) | st.sampled_from([0, 1, 2, 1 << 31]), max_size=5) | JSONS,
        "data_offsets": st.lists(st.integers(-8, 64) | st.sampled_from([0, 8, 1 << 62]), min_size=2, max_size=2) | JSONS,
    }
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(max_size=5), ENTRIES | JSONS, max_size=4) | JSONS, st.integers(0, 64))
def test_decode__any_json_header__is_refused_or_fits_its_bytes(header: Any, size: int) -> None:
    text = json.dumps(header).encode()
    try:
        state, _ = decode(len(text).to_bytes(8, "little") + text + bytes(size))
    except BadFile:
        return
    assert sum(array.nbytes for array in state.values()) == size


def test_decode__many_names_and_huge_claims__cost_little() -> None:
    entry = {"dtype": "F64", "shape": [1 << 40], "data_offsets": [0, 8 << 40]}
    for header in ({f"a{i}": entry for i in range(20_000)}, {"a": {**entry, "shape": [1] * 100_000}}, {"x" * 1_000_000: entry}):
        text = json.dumps(header).encode()
        with bounded(60), pytest.raises(BadFile) as caught:
            decode(len(text).to_bytes(8, "little") + text)
        assert len(str(caught.value)) < 3_000_000


@pytest.mark.parametrize("seed", range(3))
def test_read_model__mutated_files__are_refused_or_the_very_same_model(seed: int, tmp_path: Path) -> None:
    file, chance = tmp_path / "m", random.Random(seed)
    write_model(file, {"learner": {"type": "Toy"}, "schema": {"fields": [1, 2]}, "made": {"by": "a test"}}, {"w": np.arange(9.0), "n": np.array(1)}, {"m": np.ones(3)})
    whole, (_, arrays, _) = file.read_bytes(), read_model(file)
    read, said = 0, list[str]()
    with bounded():
        for _ in range(500):
            file.write_bytes(mutated(whole, chance))
            try:
                header, found, _ = read_model(file)
            except BadFile as error:
                said.append(str(error))
            else:
                read += 1
                assert same(found, arrays)
                assert header["digest"] == digest(arrays)
    assert all(str(file) in words for words in said)
    assert read < 150  # those whose change fell on `made`, the spaces, or the resume section


@pytest.mark.parametrize("seed", range(3))
def test_load__mutated_checkpoints__are_refused_or_the_very_same(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    big, said = np.arange(40_000.0), list[str]()
    whole = Checkpoint(5, {"w": big, "t": np.array(5)}, [Node(0, 1, 2, {"s": np.ones(3)})], [Partial(0, 6, 3, {"s": np.zeros(3)})])
    with RunStore("job", tmp_path) as store, bounded():
        store.save(whole)
        files = [store.folder / "checkpoint", *(store.folder / "arrays").iterdir()]
        contents = [file.read_bytes() for file in files]
        for _ in range(300):
            which = chance.randrange(2)
            files[which].write_bytes(mutated(contents[which], chance))
            try:
                found = store.load()
            except BadFile as error:
                said.append(str(error))
            else:
                assert found is not None
                assert (found.turn, found.nodes[0].index, found.partials[0].done) == (5, 2, 3)
                assert same(found.carry, whole.carry)
            files[which].write_bytes(contents[which])
        assert store.load() is not None
    assert all(words.endswith("Run again with --fresh.") for words in said)
