"""Messages between driver and workers: whole, writable, and an end that is gone is told."""

import socket
import threading
from multiprocessing.connection import Connection

import numpy as np
import pytest

from outgrow.engines.wire import receive, send


@pytest.fixture
def ends():
    ours, theirs = (Connection(end.detach()) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_send__arrays_of_every_size_and_layout__arrive_as_they_were_and_can_be_written(ends):
    large = np.arange(1 << 20, dtype=np.float64)
    sent = ("node", {"large": large, "twice": large, "turned": np.asfortranarray(large.reshape(1024, 1024)), "strided": large[::2], "small": np.arange(3), "no": np.empty((0, 4))})
    writer = threading.Thread(target=send, args=(ends[0], sent))
    writer.start()
    kind, found = receive(ends[1])
    writer.join()
    assert kind == "node"
    for name, array in sent[1].items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable
    found["large"][0] = 7.0
    assert large[0] == 0.0


def test_receive__an_end_that_closes_within_an_array__is_the_end(ends):
    def half() -> None:
        ends[0].send_bytes(b"\x80\x04]\x94J\x00\x00\x10\x00a.")  # a pickle: one array of 1 MB is to come
        ends[0].send_bytes(b"\x80\x04N.")
        ends[0].close()

    writer = threading.Thread(target=half)
    writer.start()
    with pytest.raises(EOFError):
        receive(ends[1])
    writer.join()
