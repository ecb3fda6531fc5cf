"""Hyper-parameters as text, given to the learner or the feature that has a field of that name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from ..core.combine import Then
from ..core.errors import BadField
from ..core.learner import Learner

__all__ = ["configured", "options"]


def _value(name: str, text: str, now: Any) -> Any:
    """Text as the type of the field's present value."""
    try:
        if isinstance(now, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if isinstance(now, int):
            return int(text)
        if isinstance(now, float):
            return float(text)
        if isinstance(now, tuple):
            parts = tuple(part.strip() for part in text.split(",") if part.strip())
            return tuple(type(now[0])(part) for part in parts) if now and isinstance(now[0], (int, float)) else parts
    except (KeyError, ValueError):
        raise BadField(f"{text!r} is no {type(now).__name__}", where=name, allowed=f"a value like {now!r}") from None
    if now is None or isinstance(now, str):
        for kind in (int, float) if now is None else ():
            try:
                return kind(text)
            except ValueError:
                continue
        return text
    raise BadField(f"a {type(now).__name__} cannot be given as text", where=name, todo="Set it in Python.")


def options(*things: Any) -> dict[str, str]:
    """Every field that can be set, with its present value: ``{"passes": "1 (OnlineLinear)"}``."""
    return {item.name: f"{getattr(thing, item.name)!r} ({type(thing).__name__})" for thing in things for item in fields(thing)}


def configured(learner: Learner, pairs: Mapping[str, str]) -> Learner:
    """The learner, and the features before it, with fields replaced by these texts.

    A name that several have goes to the last of them (the learner comes last). Raises BadField for a name none has,
    listing all that can be set.
    """
    changed: list[Any] = list(learner.stages) if isinstance(learner, Then) else [learner]
    for name, text in pairs.items():
        owners = [i for i, thing in enumerate(changed) if name in {item.name for item in fields(thing)}]
        if not owners:
            known = list(options(*changed))
            near = get_close_matches(name, known, 1, 0.5)
            raise BadField(f"nothing here has a field {name!r}", where=f"--set {name}={text}", allowed=", ".join(known), todo=f"Did you mean {near[0]}?" if near else "")
        owner = changed[owners[-1]]
        changed[owners[-1]] = replace(owner, **{name: _value(name, text, getattr(owner, name))})
    return replace(learner, stages=tuple(changed)) if isinstance(learner, Then) else changed[0]
