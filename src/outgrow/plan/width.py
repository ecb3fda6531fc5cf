"""Learners that take rows of so many columns at most: encoders that keep to it, and a refusal before a row is read where a named one cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core.combine import Then
from ..core.errors import OutgrowError, Refused
from ..core.learner import ALL, Context, Learner
from .choose import Reason

__all__ = ["narrowed", "too_wide"]

_DATE_NUMBERS, _DATE_CATEGORIES = 4, 4  # that `Dates` makes of a date, at most


def _last(learner: Learner) -> Learner:
    return learner.stages[-1] if isinstance(learner, Then) else learner


def _dense(stages: tuple[Any, ...], schema: Any) -> int:
    """Dense columns of the encoded rows, at most."""
    dates, numbers = len(schema.names("date")), len(schema.names("number"))
    encoded = len(schema.names("category")) + _DATE_CATEGORIES * dates if any(type(part).__name__ == "TargetEncode" for part in stages) else 0
    filled = 2 if any(getattr(part, "indicator", False) for part in stages) else 1
    return filled * (numbers + _DATE_NUMBERS * dates + encoded * (len(schema.classes) if len(schema.classes) > 2 else 1))


def narrowed(learner: Learner, schema: Any) -> tuple[Learner, tuple[Reason, ...]]:
    """The learner with the encoder that outgrow chose kept within what the learner takes; what fits stays as it is.

    `OneHot` keeps the most frequent values where all of them would be too many; `Hashing` has fewer slots.
    """
    from ..data.features import Hashing, OneHot

    most = _last(learner).widest(schema)
    if most is None or not isinstance(learner, Then):
        return learner, ()
    *before, encoder, last = learner.stages
    room = most - _dense(tuple(before), schema) - 1
    name = type(last).__name__
    if isinstance(encoder, OneHot) and encoder.max_slots is None:
        columns = len(schema.names("category")) + _DATE_CATEGORIES * len(schema.names("date"))
        if 2 * columns < room and columns:
            reason = Reason("the most frequent values, where all are too many", f"{name} takes up to {most} columns: {room} slots are left for values")
            known = sum(item.distinct for item in schema.inputs if item.kind == "category") + 2 * columns
            return Then((*before, replace(encoder, max_slots=room), last)), (reason,) if known > room else ()
    elif isinstance(encoder, Hashing) and room > 1 and 1 << encoder.bits > room:
        bits = room.bit_length() - 1
        return Then((*before, replace(encoder, bits=bits), last)), (Reason(f"{bits} hash bits", f"{name} takes up to {most} columns"),)
    return learner, ()


def _least(stages: tuple[Any, ...], schema: Any) -> Any:
    """The shape of the design, as narrow as the sample's values alone make it; None where a feature is not known well enough to say."""
    from ..data.batch import DesignShape
    from ..data.features import Dates, Missing, OneHot, RobustScale, Scale
    from ..learn.target_encode import TargetEncode

    *before, encoder = stages or (None,)
    if not isinstance(encoder, OneHot) or encoder.min_count > 1 or encoder.max_slots is not None or schema.names("sparse"):
        return None
    encoded: set[str] = set()
    for part in before:
        if isinstance(part, TargetEncode):
            encoded |= set(part.columns or schema.names("category"))
        elif not isinstance(part, Dates | Missing | RobustScale | Scale):
            return None
    counts = [min(schema[name].distinct, encoder.max_categories or schema[name].distinct) for name in schema.names("category") if name not in encoded]
    return DesignShape(width=sum(counts) + 1, names=schema.names("number"), k=len(counts))


def too_wide(learner: Learner, context: Context) -> OutgrowError | None:
    """The learner's own refusal of rows as wide as the sample makes them, which all rows can only make wider."""
    last, schema = _last(learner), context.schema
    most = last.widest(schema)
    if most is None or not isinstance(learner, Then) or last.sees() != ALL:
        return None
    shape = _least(learner.stages[:-1], schema)
    if shape is None or shape.width + len(shape.names) <= most:
        return None
    try:
        last.begin(replace(context, schema=replace(schema, design=shape)))
    except Refused as error:
        return error
    except OutgrowError:  # the run says it
        return None
    return None
