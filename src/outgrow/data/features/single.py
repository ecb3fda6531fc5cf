"""One example as a dict of values: a batch of one row, and the hashing encoder without the batch around it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.errors import BadInput
from ..batch import Batch, Codes, Column, Dictionary, Field, Numbers, Schema, Texts
from .blocks import Entries, Recall
from .hashing import MISSING, Hashing

__all__ = ["one", "one_row"]

_KEPT = 1 << 16  # values of a column whose slots are remembered
_PLANS = Recall()
_DICTIONARIES: dict[str, Dictionary] = {}


def _number(name: str, value: Any) -> float:
    """A number as float64, NaN where missing."""
    if value is None:
        return math.nan
    if isinstance(value, bool | int | float | np.number | np.bool_):
        try:
            return float(value)
        except OverflowError:
            raise BadInput("the value is beyond float64", where=f"column {name!r}", allowed="finite numbers") from None
    raise BadInput(f"the value is {value!r}", where=f"column {name!r}", allowed="a number, or None where missing")


def _text(field: Field, value: Any) -> str | None:
    """The text form of a category, as batches of this column have it; None where missing."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return None
    if isinstance(value, str) and field.dtype in ("", "string", "large_string"):
        return str(value)
    import pyarrow as pa

    try:
        dtype = pa.type_for_alias(field.dtype) if field.dtype else None
        found: str | None = pa.array([value], dtype).cast(pa.string())[0].as_py()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"the value is {value!r}, which is no {field.dtype or 'category'} ({error})", where=f"column {field.name!r}") from None
    return found


def _dictionary(text: str) -> Dictionary:
    """A dictionary of one value, remembered with all that was derived from it."""
    found = _DICTIONARIES.get(text)
    if found is None:
        import pyarrow as pa

        if len(_DICTIONARIES) >= _KEPT:
            _DICTIONARIES.clear()
        found = _DICTIONARIES[text] = Dictionary(pa.array([text], pa.string()))
    return found


def _column(field: Field, value: Any) -> Column:
    if field.kind == "number":
        number = _number(field.name, value)
        exact = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62
        return Numbers(np.array([value if exact else number]))
    if field.kind == "category":
        text = _text(field, value)
        return Codes(np.array([-1 if text is None else 0], np.int32), _dictionary("" if text is None else text))
    if field.kind == "text":
        if value is not None and not isinstance(value, str):
            raise BadInput(f"the value is {value!r}", where=f"column {field.name!r}", allowed="a string, or None where missing")
        raw = (value or "").encode("utf-8", "surrogatepass")
        return Texts(np.frombuffer(raw, np.uint8), np.array([0, len(raw)], np.int64), np.array([value is not None]))
    if field.kind == "date":
        when = np.array([value if value is not None else "NaT"], "M8[us]")
        return Numbers(when.view(np.int64), ~np.isnat(when))
    raise BadInput(f"column {field.name!r} is {field.kind}", todo="Give sparse rows as a batch.")


def one_row(schema: Schema, example: Mapping[str, Any]) -> Batch:
    """A batch of the inputs of one example; what it does not name is missing. Raises BadInput for a name that is no column."""
    _known(schema, example, {item.name for item in schema.fields})
    return Batch(schema=schema, columns={field.name: _column(field, example.get(field.name)) for field in schema.inputs}, count=1)


def _known(schema: Schema, example: Mapping[str, Any], names: set[str]) -> None:
    if not example.keys() <= names:
        raise BadInput(f"there is no column {min(map(str, example.keys() - names))!r}", where="the example", allowed=", ".join(schema.names()))


class _Plan:
    """For a schema of numbers and categories: what a single example needs, and the slots of values seen so far."""

    def __init__(self, encoder: Hashing, schema: Schema) -> None:
        layout = encoder.layout(schema)
        self.names = {item.name for item in schema.fields}
        self.numbers = layout.numbers
        self.categories: list[tuple[str, Field, int, dict[Any, int]]] = [(name, schema[name], layout.seeds[name], {}) for name in layout.categories]
        self.mask = encoder.mask
        self.plain = not (layout.shape.ragged or len(layout.crossed) or len(layout.products))

    def slot(self, field: Field, seed: int, memo: dict[Any, int], key: Any, value: Any) -> int:
        from .murmur import hash_bytes

        text = _text(field, value)
        found = hash_bytes(MISSING if text is None else text.encode("utf-8", "surrogatepass"), seed) & self.mask
        if len(memo) >= _KEPT:
            memo.clear()
        memo[key] = found
        return found


_LAST: list[tuple[Hashing, Schema, _Plan] | None] = [None]


def one(encoder: Hashing, schema: Schema, example: Mapping[str, Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint32], Entries | None]:
    """See `Hashing.one`."""
    last = _LAST[0]  # the same as before, nearly always: comparing two objects is ten times cheaper than finding the plan
    if last is None or last[0] is not encoder or last[1] is not schema:
        last = _LAST[0] = encoder, schema, _PLANS.get(encoder, schema, make=lambda: _Plan(encoder, schema))
    plan = last[2]
    if not plan.plain:
        design: Any = encoder.apply({}, one_row(schema, example), False).design
        return design.dense[0], design.slots[0], design.ragged
    _known(schema, example, plan.names)
    get = example.get
    values = [value if type(value := get(name)) is float else _number(name, value) for name in plan.numbers]
    with np.errstate(over="ignore"):
        dense = np.array(values, np.float32)
    if np.isinf(dense).any():
        j = int(np.flatnonzero(np.isinf(dense))[0])
        raise BadInput(f"the value is {values[j]!r}", where=f"column {plan.numbers[j]!r}", allowed="numbers of at most 3.4e38 in size, and None where missing")
    slots = []
    for name, field, seed, memo in plan.categories:
        value = get(name)
        if type(value) is str:
            key: Any = value
        elif isinstance(value, Hashable):
            key = type(value), value  # 1, 1.0 and True are different values
        else:
            raise BadInput(f"the value is {value!r}", where=f"column {name!r}", allowed="a single value, or None where missing")
        slot = memo.get(key)
        slots.append(plan.slot(field, seed, memo, key, value) if slot is None else slot)
    return dense, np.array(slots, np.uint32), None
