"""Messages between the driver and its workers: large arrays cross from memory to memory, without a copy in a pickle on either side."""

from __future__ import annotations

import os
import pickle
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

__all__ = ["receive", "send"]

_LARGE = 1 << 16  # bytes from which an array has a way of its own


def send(pipe: Connection, message: Any) -> None:
    """Raises OSError where the other end is gone."""
    apart: list[memoryview] = []

    def inside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes >= _LARGE:
            apart.append(view)
        return view.nbytes < _LARGE

    data = pickle.dumps(message, protocol=5, buffer_callback=inside)
    pipe.send_bytes(pickle.dumps([view.nbytes for view in apart]))
    pipe.send_bytes(data)
    for view in apart:
        done = 0
        while done < view.nbytes:
            done += os.write(pipe.fileno(), view[done:])


def receive(pipe: Connection) -> Any:
    """Raises EOFError or OSError where the other end is gone."""
    sizes, data = pickle.loads(pipe.recv_bytes()), pipe.recv_bytes()  # noqa: S301 the other end is a process of ours
    apart = [np.empty(size, np.uint8) for size in sizes]
    for array in apart:
        view, done = array.data, 0
        while done < len(view):
            got = os.readv(pipe.fileno(), [view[done:]])
            if not got:
                raise EOFError
            done += got
    return pickle.loads(data, buffers=apart)  # noqa: S301 as above
