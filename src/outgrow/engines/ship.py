"""How a job and its rounds travel between processes that trust each other: large arrays once, errors whole."""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..core.errors import OutgrowError
from ..core.learner import Pass

__all__ = ["Shipper", "opened", "portable"]

_LARGE = 1 << 16


class Shipper:
    """Pickles passes for workers of this program; a large array keeps its key while it stays the same object.

    kind: the class of pickler, where it shall carry more than `pickle`'s does.
    """

    def __init__(self, kind: Callable[..., Any] = pickle.Pickler) -> None:
        self._kind = kind
        self._known: dict[int, tuple[int, np.ndarray[Any, Any]]] = {}
        self._next = 0

    def pack(self, passes: tuple[Pass, ...]) -> tuple[bytes, dict[int, np.ndarray[Any, Any]]]:
        """The pickle, and the large arrays it names by key."""
        used: dict[int, tuple[int, np.ndarray[Any, Any]]] = {}

        def name(thing: Any) -> int | None:
            if not isinstance(thing, np.ndarray) or thing.nbytes < _LARGE:
                return None
            if id(thing) not in used:
                self._next += 1
                used[id(thing)] = self._known.get(id(thing), (self._next, thing))
            return used[id(thing)][0]

        file = io.BytesIO()
        pickler = self._kind(file, protocol=5)
        pickler.persistent_id = name
        pickler.dump(passes)
        self._known = used
        return file.getvalue(), dict(used.values())


def opened(data: bytes, arrays: Mapping[int, np.ndarray[Any, Any]]) -> tuple[Pass, ...]:
    """What `Shipper.pack` packed, given the arrays it names."""
    unpickler = pickle.Unpickler(io.BytesIO(data))  # noqa: S301 our own bytes
    unpickler.persistent_load = arrays.__getitem__  # type: ignore[method-assign]
    passes: tuple[Pass, ...] = unpickler.load()
    return passes


def portable(error: Exception, where: str) -> Exception:
    """The error as it can be sent to the driver: whole, or told in words where it cannot be pickled. `where` names the place in a note."""
    if not isinstance(error, OutgrowError):
        error.add_note(f"{where}:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 our own bytes
    except Exception:  # noqa: BLE001 an error that cannot travel is told in words
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
