"""Several bytes at once, from and to any place of an array of bytes: numba intrinsics. No place is checked here; places are uint64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["copy16", "unpack8", "word4", "word8"]

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)


def _at(context: Any, builder: Any, array: Any, value: Any, place: Any, kind: Any) -> Any:
    """A pointer to element `place` of an array, as one to `kind`."""
    return builder.bitcast(builder.gep(context.make_array(array)(context, builder, value).data, [place]), kind.as_pointer())


def _word(bits: int) -> Any:
    def typed(_typing: Any, raw: Any, place: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = builder.load(_at(context, builder, signature.args[0], args[0], args[1], ir.IntType(bits)), align=1)
            return found if bits == 64 else builder.zext(found, _WORD)

        return types.uint64(raw, place), code

    return intrinsic(typed)


word4: Callable[[Any, Any], Any] = _word(32)  # word4(raw, place): the four bytes there as a little-endian uint64
word8: Callable[[Any, Any], Any] = _word(64)


@intrinsic
def _copy16(_typing: Any, out: Any, to: Any, other: Any, raw: Any, place: Any, back: Any) -> Any:
    """out[to:to+16] = raw[place:place+16] where `other`, else out[to-back:to-back+16]; eight bytes and then eight, so that back may be 8 or more."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _at(context, builder, signature.args[0], args[0], args[1], _BYTE)
        here = _at(context, builder, signature.args[3], args[3], args[4], _BYTE)
        there = _at(context, builder, signature.args[0], args[0], builder.sub(args[1], args[5]), _BYTE)
        source = builder.select(builder.trunc(args[2], ir.IntType(1)) if args[2].type != ir.IntType(1) else args[2], here, there)
        for skip in (0, 8):
            step = [ir.Constant(_WORD, skip)]
            ends = [builder.bitcast(builder.gep(pointer, step), _WORD.as_pointer()) for pointer in (source, target)]
            builder.store(builder.load(ends[0], align=1), ends[1], align=1)
        return context.get_dummy_value()

    return types.void(out, to, other, raw, place, back), code


copy16: Any = _copy16


@intrinsic
def _unpack8(_typing: Any, out: Any, to: Any, low: Any, high: Any, width: Any, mask: Any) -> Any:
    """out[to:to+4] and out[to+4:to+8] = the lowest four numbers of `width` bits of `low` and of `high`; mask: that many bits."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        eight, number = ir.VectorType(_WORD, 8), ir.IntType(32)
        whole = ir.VectorType(number, 8)

        def spread(value: Any) -> Any:
            one = builder.insert_element(ir.Constant(eight, ir.Undefined), value, ir.Constant(number, 0))
            return builder.shuffle_vector(one, ir.Constant(eight, ir.Undefined), ir.Constant(whole, [0] * 8))

        both = builder.shuffle_vector(spread(args[2]), spread(args[3]), ir.Constant(whole, [0, 0, 0, 0, 8, 8, 8, 8]))
        places = builder.mul(spread(args[4]), ir.Constant(eight, [0, 1, 2, 3] * 2))
        element = context.get_data_type(signature.args[0].dtype)
        found = builder.trunc(builder.and_(builder.lshr(both, places), spread(args[5])), ir.VectorType(element, 8))
        builder.store(found, _at(context, builder, signature.args[0], args[0], args[1], found.type), align=1)
        return context.get_dummy_value()

    return types.void(out, to, low, high, width, mask), code


unpack8: Any = _unpack8
