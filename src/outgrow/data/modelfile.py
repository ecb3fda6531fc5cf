"""The model file: safetensors with one JSON header. Reading it runs no code and believes no length.

Format 1. The number is raised when a reader of the old format would misread the new one; a reader accepts its own
number only and names the other.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

from ..core.errors import BadFile, BadInput
from ..core.job import FORMAT
from ..core.state import State, decode, digest, encode, prefixed, under
from ..core.store import write_whole

__all__ = ["read_model", "write_model"]

_KEYS = {"learner", "schema", "digest", "made"}


def write_model(path: Path | str, header: dict[str, Any], arrays: State, resume: State) -> None:
    """Write a model whole or not at all.

    header : learner, schema and made (how it was made), as JSON values; the digest of `arrays` is added here.
    resume : what an exact warm start needs beyond the model; outside the digest.
    """
    text = json.dumps({**header, "digest": digest(arrays)}, sort_keys=True, default=str)
    write_whole(Path(path), encode(prefixed("model", arrays) | prefixed("resume", resume), {"outgrow": str(FORMAT), "header": text}), lasting=True)


def read_model(path: Path | str) -> tuple[dict[str, Any], State, State]:
    """Header, arrays and resume section of a model file.

    Raises
    ------
    BadInput
        There is no such file.
    BadFile
        It is no model, is damaged, or has another format number.
    """
    where = str(path)
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else memoryview(b"")
    except OSError as error:
        raise BadInput(f"cannot read the model: {error.strerror}", where=where, todo="`outgrow fit … --out FILE` writes one.") from None
    state, metadata = decode(data, where=where)
    number = metadata.get("outgrow")
    if number is None:
        raise BadFile("this is no model of outgrow (its header names no format)", where=where)
    if number != str(FORMAT):
        raise BadFile(f"the model has format {number!r}, this release reads format {FORMAT}", where=where, todo="Use the release that wrote it, or fit again.")
    try:
        header = json.loads(metadata.get("header", ""))
    except (ValueError, RecursionError):
        raise BadFile("the model's header is no JSON", where=where) from None
    if not isinstance(header, dict) or set(header) != _KEYS:
        raise BadFile(f"the model's header has other fields than {', '.join(sorted(_KEYS))}", where=where)
    stray = [name for name in state if not name.startswith(("model/", "resume/"))]
    if stray or set(metadata) != {"outgrow", "header"}:
        raise BadFile(f"the model has fields it should not have: {', '.join([*stray, *metadata])[:200]}", where=where)
    arrays = under("model", state)
    if digest(arrays) != header["digest"]:
        raise BadFile("the arrays do not have the digest that the header states", where=where, todo="The file is damaged: copy it again, or fit again.")
    return header, arrays, under("resume", state)
