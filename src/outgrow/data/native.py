"""Kernels as native functions that load in milliseconds: numba compiles them once on a machine and is not imported after that.

Importing numba, filling its registries and reading its own cache take a second; the machine code of a dozen kernels is half a
megabyte. `Native` keeps that code in a file, behind an entry that takes Python's arguments itself (arrays by the buffer
protocol), and loads it with llvmlite alone. The file's name holds a hash of the kernel's source and of the sources it
imports, of the releases of numba, llvmlite and Python, and of the processor with its features: whatever differs is compiled anew.

The code is the code that numba runs: its own IR for the host's processor, without fast-math, so results are the same bits.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["F4", "F8", "FLOAT", "I4", "I8", "INT", "NOTHING", "PAIR", "U1", "U4", "Array", "Native"]

INT, FLOAT, NOTHING, PAIR = "int64", "float64", "none", "UniTuple(int64, 2)"
_GIVEN = {INT: ("i64", "L"), FLOAT: ("double", "d"), NOTHING: ("ptr", ""), PAIR: ("[2 x i64]", "LL")}  # LLVM's type, Py_BuildValue's
_FORMATS = {  # of the buffer protocol
    "float32": "f", "float64": "d", "int8": "b", "int16": "h", "int32": "i", "int64": "lq", "uint8": "B?", "uint16": "H", "uint32": "I", "uint64": "LQ",
}  # fmt: skip


class Array(NamedTuple):
    """An argument: a C-contiguous array; one that is not written may be read-only."""

    dtype: str
    dims: int
    written: bool = False


def _of(dtype: str) -> Callable[..., Array]:
    return functools.partial(Array, dtype)


F4, F8, I4, I8, U1, U4 = _of("float32"), _of("float64"), _of("int32"), _of("int64"), _of("uint8"), _of("uint32")


class Native:
    """The kernel `name` of `module` for arguments `takes` (arrays, INT or FLOAT); it gives INT, FLOAT, PAIR or NOTHING.

    Called with other kinds of arguments it raises TypeError, BufferError or ValueError. The interpreter's lock is released while it
    runs. The first call loads it; the very first one on a machine takes as long as numba compiles.
    """

    def __init__(self, module: str, name: str, takes: Sequence[Any], gives: str = NOTHING) -> None:
        self.module, self.name, self.takes, self.gives = module, name, tuple(takes), gives

    def __call__(self, *values: Any) -> Any:
        return self.bound(*values)

    @functools.cached_property
    def bound(self) -> Callable[..., Any]:
        """The loaded function; a little quicker to call than this object."""
        kind = f"{self.module}.{self.name} {self.takes} {self.gives}"
        key = hashlib.sha256(f"{kind} {_build()}".encode() + _sources(Path(_file(self.module)), set())).hexdigest()
        symbol = f"outgrow_{self.name}_{key[:24]}"
        for folder in _folders(self.module):
            with suppress(OSError):
                held = (folder / f"{symbol}.native").read_bytes()
                if hashlib.sha256(held[32:]).digest() == held[:32]:
                    return _loaded(held[32:], symbol)
        code = self._compiled(symbol)
        for folder in _folders(self.module):
            part = folder / f".{symbol}.{os.urandom(4).hex()}"
            with suppress(OSError):  # where nothing can be written, each process compiles
                folder.mkdir(parents=True, exist_ok=True)
                part.write_bytes(hashlib.sha256(code).digest() + code)
                part.replace(folder / f"{symbol}.native")
                break
        return _loaded(code, symbol)

    def _compiled(self, symbol: str) -> bytes:
        """Machine code: numba's function, and the entry in front of it."""
        import llvmlite.binding as llvm
        import numba
        from numba import types

        function: Any = getattr(sys.modules.get(self.module) or __import__(self.module, fromlist=[self.name]), self.name)
        takes = [types.Array(getattr(types, t.dtype), t.dims, "C", readonly=not t.written) if isinstance(t, Array) else getattr(types, t) for t in self.takes]
        gives = types.UniTuple(types.int64, 2) if self.gives == PAIR else getattr(types, self.gives)  # type: ignore[no-untyped-call]
        compiled: Any = numba.njit(gives(*takes), nogil=True, error_model="numpy")(getattr(function, "py_func", function))
        (signature,) = compiled.overloads
        inner = compiled.overloads[signature].fndesc.llvm_func_name
        whole = llvm.parse_assembly(compiled.inspect_llvm(signature))
        found = [str(argument.type) for argument in whole.get_function(inner).arguments]
        wanted = ["ptr", "ptr", *(kind for t in self.takes for kind in (_flat(t) if isinstance(t, Array) else [_GIVEN[t][0]]))]
        if found != wanted:
            raise RuntimeError(f"this release of numba passes {self.name}'s arguments otherwise: {found}")
        whole.link_in(llvm.parse_assembly(_entry(symbol, inner, self.takes, self.gives)))
        for item in whole.functions:
            if not item.is_declaration:
                item.linkage = "external" if item.name == symbol else "internal"
        machine = _machine()
        passes = llvm.create_new_module_pass_manager()
        passes.add_global_dead_code_eliminate_pass()
        passes.run(whole, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
        whole.verify()
        needed = [item.name for item in whole.functions if item.is_declaration and item.name.startswith(("numba_", "NRT_"))]
        if needed:
            raise RuntimeError(f"{self.name} calls {needed[0]}, which lies in numba: write the kernel without what needs it")
        code: bytes = machine.emit_object(whole)
        return code


def _file(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return spec.origin


def _sources(file: Path, seen: set[Path]) -> bytes:
    """The text of a file of kernels and of its neighbours that it imports from."""
    if file in seen:
        return b""
    seen.add(file)
    text = file.read_bytes()
    return text + b"".join(_sources(file.with_name(f"{name.decode()}.py"), seen) for name in re.findall(rb"^from \.(\w+) import", text, re.MULTILINE))


@functools.cache
def _build() -> str:
    """What the machine code depends on besides the source; also this file, whose entries it holds."""
    import llvmlite.binding as llvm

    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    asked = tuple(os.environ.get(name) for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"))  # another processor than this one
    cpu = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), llvm.get_process_triple(), *asked)
    return f"{own} {version('numba')} {version('llvmlite')} {sys.version_info[:2]} {cpu}"


def _folders(module: str) -> list[Path]:
    """Where machine code is kept: beside the source, as numba does; else in the home folder."""
    from ..core.store import home

    return [Path(_file(module)).with_name("__pycache__"), home() / "kernels"]


def _machine() -> Any:
    """A machine of its own for each engine, which takes it over."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, reloc="pic", jit=True)


_ENGINES: list[Any] = []  # what they have loaded lives as long as they do


class _Method(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("code", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


def _loaded(code: bytes, symbol: str) -> Callable[..., Any]:
    """The function of Python's that the machine code holds."""
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    method = _Method(symbol.encode(), engine.get_function_address(symbol), 0x80, None)  # METH_FASTCALL
    _ENGINES.append((engine, method))
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p], ctypes.py_object
    function: Callable[..., Any] = make(ctypes.addressof(method), None, None)
    return function


# the entry in front of a kernel, as LLVM's text

_VIEW = "[10 x i64]"  # a Py_buffer: buf, obj, len, itemsize, readonly and ndim, format, shape, strides, suboffsets, internal

# numba's arrays of a kernel's own, in the layout of its MemInfo: count, two of the destructor, data, size
_HEAD = """
declare ptr @malloc(i64)
declare void @free(ptr)
declare i32 @PyObject_GetBuffer(ptr, ptr, i32)
declare void @PyBuffer_Release(ptr)
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_BadArgument()
declare ptr @PyErr_NoMemory()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @Py_BuildValue(ptr, ...)

define noalias ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {
  %step = zext i32 %align to i64
  %room = add i64 %size, %step
  %whole = add i64 %room, 64
  %info = call ptr @malloc(i64 %whole)
  %none = icmp eq ptr %info, null
  br i1 %none, label %done, label %fill
fill:
  store [6 x i64] zeroinitializer, ptr %info
  store i64 1, ptr %info
  %after = getelementptr i8, ptr %info, i64 64
  %start = ptrtoint ptr %after to i64
  %less = sub i64 %step, 1
  %up = add i64 %start, %less
  %mask = xor i64 %less, -1
  %data = and i64 %up, %mask
  %place = getelementptr i8, ptr %info, i64 24
  store i64 %data, ptr %place
  %last = getelementptr i8, ptr %info, i64 32
  store i64 %size, ptr %last
  br label %done
done:
  ret ptr %info
}

define void @NRT_MemInfo_call_dtor(ptr %info) {
  call void @free(ptr %info)
  ret void
}
"""


def _flat(array: Array) -> list[str]:
    """How numba passes an array: owner, parent, length, size of an item, data, shape, strides."""
    return ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * (2 * array.dims)]


def _entry(symbol: str, inner: str, takes: Sequence[Any], gives: str) -> str:
    """LLVM IR of a METH_FASTCALL function that calls numba's `inner`."""
    views = [k for k, t in enumerate(takes) if isinstance(t, Array)]
    kind, form = _GIVEN[gives]
    lines = [f"define ptr @{symbol}(ptr %self, ptr %args, i64 %n) {{", "entry:"]
    lines += [f"  %v{k} = alloca {_VIEW}" for k in views] + [f"  %out = alloca {kind}", "  %why = alloca ptr"]
    lines += [f"  store {_VIEW} zeroinitializer, ptr %v{k}" for k in views]
    lines += [f"  %count = icmp eq i64 %n, {len(takes)}", "  br i1 %count, label %a0, label %bad"]
    passed = ["ptr %out", "ptr %why"]
    for k, t in enumerate(takes):
        lines += [f"a{k}:", f"  %p{k} = getelementptr ptr, ptr %args, i64 {k}", f"  %o{k} = load ptr, ptr %p{k}"]
        if isinstance(t, Array):
            lines += _viewed(k, t)
            passed += ["ptr null", "ptr null", f"i64 %items{k}", f"i64 %size{k}", f"ptr %data{k}"]
            passed += [f"i64 %{part}{k}.{d}" for part in ("shape", "stride") for d in range(t.dims)]
        else:
            lines += _number(k, t)
            passed.append(f"{_GIVEN[t][0]} %x{k}")
    free = [f"  call void @PyBuffer_Release(ptr %v{k})" for k in views]
    results = {INT: ", i64 %r", FLOAT: ", double %r", NOTHING: "", PAIR: ", i64 %r0, i64 %r1"}[gives]
    lines += [
        f"a{len(takes)}:", "  %thread = call ptr @PyEval_SaveThread()", f'  %status = call i32 @"{inner}"({", ".join(passed)})',
        "  call void @PyEval_RestoreThread(ptr %thread)", *free,
        "  %fine = icmp eq i32 %status, 0", "  %also = icmp eq i32 %status, -2", "  %good = or i1 %fine, %also", "  br i1 %good, label %return, label %memory",
        "return:", f"  %r = load {kind}, ptr %out",
        *([f"  %r{i} = extractvalue {kind} %r, {i}" for i in (0, 1)] if gives == PAIR else []),
        f"  %made = call ptr (ptr, ...) @Py_BuildValue(ptr @{symbol}.form{results})", "  ret ptr %made",
        "memory:", "  %m = call ptr @PyErr_NoMemory()", "  ret ptr null",  # all that a kernel of ours can raise
        "bad:", "  %b = call i32 @PyErr_BadArgument()", "  br label %fail", "fail:", *free, "  ret ptr null", "}",
    ]  # fmt: skip
    arguments = ["ptr", "ptr", *(part for t in takes for part in (_flat(t) if isinstance(t, Array) else [_GIVEN[t][0]]))]
    text = form.encode() + b"\0"
    shown = "".join(f"\\{byte:02x}" for byte in text)
    return "\n".join([f'declare i32 @"{inner}"({", ".join(arguments)})', f'@{symbol}.form = internal constant [{len(text)} x i8] c"{shown}"', _HEAD, *lines])


def _viewed(k: int, array: Array) -> list[str]:
    """Look at argument k as a C-contiguous buffer; its kind must be the kernel's."""
    lines = [f"  %got{k} = call i32 @PyObject_GetBuffer(ptr %o{k}, ptr %v{k}, i32 {0x3C | array.written})", f"  %has{k} = icmp eq i32 %got{k}, 0"]
    lines += [f"  br i1 %has{k}, label %look{k}, label %fail", f"look{k}:"]

    def part(name: str, place: int, kind: str) -> list[str]:
        return [f"  %{name}{k}.at = getelementptr i8, ptr %v{k}, i64 {place}", f"  %{name}{k} = load {kind}, ptr %{name}{k}.at"]

    for name, place in (("data", 0), ("form", 40), ("shapes", 48), ("strides", 56)):
        lines += part(name, place, "ptr")
    for name, place, kind in (("bytes", 16, "i64"), ("size", 24, "i64"), ("ndim", 36, "i32")):
        lines += part(name, place, kind)
    lines += [f"  %items{k} = sdiv exact i64 %bytes{k}, %size{k}", f"  %deep{k} = icmp eq i32 %ndim{k}, {array.dims}", f"  %code{k} = load i16, ptr %form{k}, align 1"]
    codes = [ord(letter) for letter in _FORMATS[array.dtype]]  # the letter and the end of the text, little-endian
    lines += [f"  %is{k}.{i} = icmp eq i16 %code{k}, {code}" for i, code in enumerate(codes)]
    lines += [f"  %any{k} = or i1 %is{k}.0, %is{k}.{len(codes) - 1}", f"  %right{k} = and i1 %any{k}, %deep{k}", f"  br i1 %right{k}, label %take{k}, label %bad", f"take{k}:"]
    for d in range(array.dims):
        for name in ("shape", "stride"):
            lines += [f"  %{name}{k}.{d}.at = getelementptr i64, ptr %{name}s{k}, i64 {d}", f"  %{name}{k}.{d} = load i64, ptr %{name}{k}.{d}.at"]
    return [*lines, f"  br label %a{k + 1}"]


def _number(k: int, kind: str) -> list[str]:
    """Argument k as a number."""
    call, failed = ("i64 @PyLong_AsLongLong", f"icmp eq i64 %x{k}, -1") if kind == INT else ("double @PyFloat_AsDouble", f"fcmp oeq double %x{k}, -1.0")
    return [
        f"  %x{k} = call {call}(ptr %o{k})", f"  %odd{k} = {failed}", f"  br i1 %odd{k}, label %ask{k}, label %a{k + 1}",
        f"ask{k}:", f"  %error{k} = call ptr @PyErr_Occurred()", f"  %well{k} = icmp eq ptr %error{k}, null", f"  br i1 %well{k}, label %a{k + 1}, label %fail",
    ]  # fmt: skip
