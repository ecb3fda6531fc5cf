"""Kernels as native functions: what they take and give, when they are compiled anew, and that loading them needs no numba."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from outgrow.data.native import F4, F8, FLOAT, I8, INT, PAIR, U1, Native

SOURCE = """
import numpy as np

def dot(left, right, scale):
    total = 0.0
    for i in range(len(left)):
        total += left[i] * right[i] * scale
    return total

def ends(matrix):
    return matrix[0, 0], matrix[-1, -1]

def double(values, out):
    for i in range(len(out)):
        out[i] = 2 * values[i]

def flat(matrix):
    return matrix.reshape(-1)[0]

def room(n):
    held = np.zeros(n)
    held[n - 1] = 3.0
    return np.int64(held.sum()) + len(held)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of kernels that nobody has compiled yet."""
    name = f"kernels_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return name


def kept(tmp_path):
    return sorted((tmp_path / "__pycache__").glob("*.native"))


def test_native__arrays_and_numbers__gives_what_the_kernel_gives(module):
    left, right = np.arange(5.0), np.ones(5)
    left.setflags(write=False)
    assert Native(module, "dot", (F8(1), F8(1), FLOAT), FLOAT)(left, right, 2) == 20.0
    assert Native(module, "ends", (I8(2),), PAIR)(np.arange(6).reshape(2, 3)) == (0, 5)
    out = np.zeros(3, np.float32)
    assert Native(module, "double", (U1(1), F4(1, True)))(b"\x01\x02\x03", out) is None
    assert out.tolist() == [2.0, 4.0, 6.0]


def test_native__arguments_of_another_kind__are_refused_and_nothing_is_written(module):
    double, out = Native(module, "double", (U1(1), F4(1, True))), np.zeros(4, np.float32)
    shut = out.copy()
    shut.setflags(write=False)
    data = np.ones(4, np.uint8)
    for wrong in ((data,), (data, out, out), (data.astype(np.int8), out), (data, out.astype(np.float64)), (data, out.reshape(2, 2)), (data, out.astype(">f4")), (3, out)):
        with pytest.raises(TypeError):
            double(*wrong)
    for wrong in ((data, shut), (data, np.zeros(8, np.float32)[::2])):
        with pytest.raises(ValueError, match=r"read-only|contiguous"):
            double(*wrong)
    with pytest.raises(TypeError):
        Native(module, "room", (INT,), INT)("many")
    assert not out.any()
    assert not shut.any()
    assert sys.getrefcount(out) == sys.getrefcount(shut)  # no buffer is still held


def test_native__arrays_of_its_own__are_given_back_and_too_large_ones_refused(module):
    import resource

    room = Native(module, "room", (INT,), INT)
    assert room(1 << 20) == 3 + (1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100):
        room(1 << 20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes; 800 MB would have been lost
    with pytest.raises(MemoryError):
        room(1 << 62)


def test_native__a_changed_source_or_a_damaged_file__is_compiled_anew(module, tmp_path):
    double, out = (lambda: Native(module, "double", (U1(1), F4(1, True)))), np.zeros(1, np.float32)
    double()(b"\x01", out)
    (first,) = kept(tmp_path)
    whole = first.read_bytes()
    first.write_bytes(whole[:-1])
    double()(b"\x01", out)
    assert out.tolist() == [2.0]
    assert first.read_bytes() != whole[:-1]
    file = tmp_path / f"{module}.py"
    file.write_text(SOURCE.replace("2 *", "5 *"))
    del sys.modules[module]
    importlib.invalidate_caches()
    double()(b"\x01", out)
    assert out.tolist() == [5.0]
    assert len(kept(tmp_path)) == 2


def test_native__a_kernel_that_needs_the_library_of_numba__is_refused_when_it_is_compiled(module):
    with pytest.raises(RuntimeError, match="lies in numba"):
        Native(module, "flat", (F8(2),), FLOAT)(np.ones((2, 2)))


def test_native__compiled_before__needs_no_numba(module, tmp_path):
    call = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from outgrow.data.native import INT, Native
print(Native({module!r}, "room", (INT,), INT)(4), "numba" in sys.modules)"""
    said = [subprocess.run([sys.executable, "-c", call], check=True, capture_output=True, text=True).stdout.split() for _ in range(2)]
    assert said == [["7", "True"], ["7", "False"]]
