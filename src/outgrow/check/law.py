"""What a law is: a function of a case that returns, or says which mistake it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..core.state import digest
from .cases import Case

__all__ = ["Broken", "Law", "NotApplicable", "broken_unless_same", "differing", "needs"]

Law = Callable[[Case], None]


class Broken(Exception):  # noqa: N818 a finding, not an accident
    """A law does not hold; its text is the mistake, in a sentence."""


class NotApplicable(Exception):  # noqa: N818
    """A law says nothing of this learner; its text is the reason."""


def needs(condition: object, reason: str) -> None:
    """Leave the law where it does not apply."""
    if not condition:
        raise NotApplicable(reason)


def differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    """The first array in which two states differ, in words; "" where none does."""
    if set(left) != set(right):
        return f"the arrays are {sorted(left)}, and then {sorted(right)}"
    for name in sorted(left):
        a, b = np.asarray(left[name]), np.asarray(right[name])
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{name!r} is {a.dtype} {a.shape}, and then {b.dtype} {b.shape}"
        if digest({name: a}) != digest({name: b}):
            at = tuple(int(i) for i in np.argwhere(a != b)[0]) if (a != b).any() else ()
            return f"{name!r}{list(at) if at else ''} is {a[at]!r}, and then {b[at]!r}"
    return ""


def broken_unless_same(left: Mapping[str, Any], right: Mapping[str, Any], mistake: str) -> None:
    """Raise Broken with the mistake and the first difference."""
    found = differing(left, right)
    if found:
        raise Broken(f"{mistake}: {found}")
