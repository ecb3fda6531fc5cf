"""Features: learners that change batches. Column features come first; an encoder at the end sets `batch.design`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "Dates": "dates",
    "Hashing": "hashing",
    "Interactions": "products",
    "Missing": "missing",
    "NamesOf": "names",
    "OneHot": "onehot",
    "RobustScale": "scale",
    "Scale": "scale",
    "dense_names": "names",
    "hashed_names": "names",
    "one_row": "single",
    "standard": "chain",
}

__all__ = ["Dates", "Hashing", "Interactions", "Missing", "NamesOf", "OneHot", "RobustScale", "Scale", "dense_names", "hashed_names", "one_row", "standard"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
