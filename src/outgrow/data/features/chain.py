"""The features a schema asks for, where a person names none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from ...core.errors import BadField
from ...core.learner import Feature
from ..batch import Schema
from .dates import Dates
from .hashing import Hashing
from .missing import Missing
from .onehot import OneHot
from .scale import RobustScale, Scale

__all__ = ["Encoder", "completed", "encodes", "standard"]

Encoder = Literal["onehot", "hashing"]
_PLACES: tuple[tuple[type[Feature], ...], ...] = ((Dates,), (Scale, RobustScale), (Missing,), (OneHot, Hashing))  # what comes after what
_ENCODERS = 3


def standard(schema: Schema, encoder: Encoder, **options: Any) -> tuple[Feature, ...]:
    """The default chain of features for a schema; `options` are fields of the encoder.

    Dates come first where there are any. For "onehot": numbers are scaled, then missing ones become 0 (the mean, and a
    constant needs no pass of its own), then `OneHot`. For "hashing": `Hashing` alone; its learners scale as they go.

    >>> from outgrow.data.batch import Field, Schema
    >>> [type(part).__name__ for part in standard(Schema(fields=(Field(name="when", kind="date"), Field(name="town", kind="category"))), "hashing", bits=18)]
    ['Dates', 'Hashing']
    """
    if encoder not in get_args(Encoder):
        raise BadField(f"there is no encoder {encoder!r}", where="encoder", allowed=", ".join(get_args(Encoder)))
    features: list[Feature] = [Dates()] if schema.names("date") else []
    if encoder == "hashing":
        return *features, Hashing(**options)
    if schema.names("number", "date"):
        features += [Scale(), Missing(strategy="constant")]
    return *features, OneHot(**options)


def _place(part: Feature) -> int:
    """Its place among `_PLACES`; one that makes columns, as interactions or encoded targets, comes where dates do: before what scales and fills them."""
    return next((i for i, kinds in enumerate(_PLACES) if isinstance(part, kinds)), 0)


def encodes(part: Feature) -> bool:
    """True for a feature of outgrow's own that makes the columns a design."""
    return isinstance(part, _PLACES[_ENCODERS])


def completed(named: Sequence[Feature], chain: Sequence[Feature]) -> tuple[Feature, ...]:
    """The named features in their order, with those of the chain of which none was named, each after all that come before its kind.

    >>> from outgrow.learn.target_encode import TargetEncode
    >>> [type(part).__name__ for part in completed([TargetEncode(), Missing()], [Dates(), Scale(), Missing(strategy="constant"), OneHot()])]
    ['Dates', 'TargetEncode', 'Scale', 'Missing', 'OneHot']
    """
    found = list(named)
    for part in chain:
        kinds = next(kinds for kinds in _PLACES if isinstance(part, kinds))
        if any(isinstance(other, kinds) for other in named):
            continue
        before = 0 if isinstance(part, Dates) else max((i + 1 for i, other in enumerate(found) if _place(other) <= _place(part)), default=0)
        found.insert(before, part)
    return tuple(found)
