"""Ask the processor for a cache line before it is needed: `llvm.prefetch` as a numba intrinsic."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["prefetch"]


@intrinsic
def _prefetch(_typing: Any, array: Any, index: Any) -> Any:
    """``prefetch(array, index)``: fetch the line of element `index` (uint64, counted from the first one in memory of an array without gaps), to be written.

    Changes no value and raises nothing; an index outside the array only wastes the request. About one cycle.
    """
    if not (isinstance(array, types.Array) and index == types.uint64):
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
        place = builder.bitcast(builder.gep(view.data, [arguments[1]]), byte)
        builder.call(function, [place, number(1), number(3), number(1)])  # for writing, keep in every cache, data
        return context.get_dummy_value()

    return types.void(array, index), code


prefetch: Any = _prefetch
