"""Errors, events and the model file."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outgrow.cli.progress import json_lines
from outgrow.core import errors
from outgrow.core.errors import BadFile, BadInput, OutgrowError, StorageError
from outgrow.core.events import Events
from outgrow.core.state import encode, same
from outgrow.data.modelfile import read_model, write_model

KINDS = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]


@pytest.mark.parametrize("kind", KINDS)
def test_error__of_every_kind__builds_its_sentence_and_travels(kind: type[OutgrowError]) -> None:
    error = kind("3 is too much", where="a.csv, row 4", allowed="0 to 2", todo="Drop the row.")
    assert str(error) == "a.csv, row 4: 3 is too much; allowed: 0 to 2. Drop the row."
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert (back.what, back.where, back.allowed, back.todo) == (error.what, error.where, error.allowed, error.todo)


def test_error__sentence__ends_once() -> None:
    assert str(OutgrowError("is it?")) == "is it?"
    assert str(OutgrowError("it is.", todo="Go.")) == "it is. Go."
    assert str(OutgrowError("it is")) == "it is."


def test_error__kinds__are_what_python_programs_catch() -> None:
    assert {kind.__name__: kind.exit_status for kind in KINDS} == {
        "BadField": 2, "BadFile": 2, "BadInput": 2, "Busy": 2, "Interrupted": 130, "OutgrowError": 2, "Refused": 2, "StorageError": 2, "WorkerLost": 3,
    }  # fmt: skip
    assert issubclass(BadInput, ValueError)
    assert issubclass(BadFile, ValueError)
    assert issubclass(StorageError, OSError)


def test_events__every_listener__hears_every_event_in_order(tmp_path: Path) -> None:
    heard: list[tuple[int, str]] = []
    events = Events(lambda event: heard.append((1, event["kind"])), lambda event: heard.append((2, event["kind"])), json_lines(tmp_path / "e"))
    events.emit("begin", path=Path("/x"))
    events.emit("tick", rows=3)
    assert heard == [(1, "begin"), (2, "begin"), (1, "tick"), (2, "tick")]
    text = (tmp_path / "e").read_text()
    assert text.count("\n") == 1
    assert '"path": "/x"' in text


# the model file

HEADER = {"learner": {"type": "Toy"}, "schema": {"fields": []}, "made": {"seconds": 1.5}}
ARRAYS = {"w": np.arange(4.0), "n": np.array(3)}


def damaged(file: Path, header: Any = None, metadata: Any = None, arrays: Any = None) -> Path:
    """A model file that is what `encode` writes, with some of it replaced."""
    import json

    from outgrow.core.state import decode

    state, words = decode(file.read_bytes())
    if header is not None:
        words["header"] = header if isinstance(header, str) else json.dumps(header(json.loads(words["header"])))
    words.update(metadata or {})
    file.write_bytes(b"".join(encode(state | (arrays or {}), {key: value for key, value in words.items() if value is not None})))
    return file


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "m", HEADER, ARRAYS, {"m1": np.ones(2)})
    return tmp_path / "m"


def test_model__written_and_read__is_the_same(model: Path) -> None:
    header, arrays, resume = read_model(str(model))
    assert {key: header[key] for key in HEADER} == HEADER
    assert same(arrays, ARRAYS)
    assert same(resume, {"m1": np.ones(2)})
    assert set(header) == {*HEADER, "digest"}
    again = model.with_name("again")
    write_model(str(again), HEADER, ARRAYS, {"m1": np.ones(2)})
    assert again.read_bytes() == model.read_bytes()


DAMAGE: dict[str, tuple[dict[str, Any], str]] = {
    "no format": ({"metadata": {"outgrow": None}}, "this is no model of outgrow"),
    "another format": ({"metadata": {"outgrow": "2"}}, "the model has format '2', this release reads format 1. Use the release that wrote it, or fit again."),
    "no header": ({"metadata": {"header": None}}, "header is no JSON"),
    "a header that is no json": ({"header": "{"}, "header is no JSON"),
    "a deep header": ({"header": "[" * 50_000}, "header is no JSON"),
    "a header that is a list": ({"header": lambda header: [1]}, "other fields than"),
    "a header with another field": ({"header": lambda header: header | {"code": "import os"}}, "other fields than digest, learner, made, schema"),
    "a header without a field": ({"header": lambda header: {"learner": 1}}, "other fields than"),
    "another digest": ({"header": lambda header: header | {"digest": "0"}}, "have not the digest|do not have the digest"),
    "a digest that is a list": ({"header": lambda header: header | {"digest": [1]}}, "do not have the digest"),
    "another array": ({"arrays": {"model/more": np.zeros(1)}}, "do not have the digest"),
    "a changed array": ({"arrays": {"model/n": np.array(4)}}, "do not have the digest that the header states. The file is damaged: copy it again, or fit again."),
    "an array elsewhere": ({"arrays": {"elsewhere": np.zeros(1)}}, "fields it should not have: elsewhere"),
    "more metadata": ({"metadata": {"pickle": "yes"}}, "fields it should not have: header, outgrow, pickle"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_model__damaged_or_hostile__is_refused_with_its_place(model: Path, name: str) -> None:
    changes, words = DAMAGE[name]
    with pytest.raises(BadFile, match=words) as caught:
        read_model(damaged(model, **changes))
    assert str(caught.value).startswith(f"{model}: ")


def test_model__that_is_not_there_or_is_a_folder__is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none: cannot read the model: No such file or directory\. `outgrow fit … --out FILE` writes one\."):
        read_model(tmp_path / "none")
    with pytest.raises(BadInput, match="Is a directory"):
        read_model(tmp_path)


def test_model__that_is_empty__is_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(BadFile, match="0 bytes are too few"):
        read_model(tmp_path / "empty")


def test_model__with_a_lone_surrogate_in_a_name__is_a_bad_file(tmp_path: Path) -> None:
    text = b'{"__metadata__":{"outgrow":"1","header":"{}"},"model/\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
    (tmp_path / "evil").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(BadFile, match="is not JSON"):
        read_model(tmp_path / "evil")
