"""Budgets as people write them: "1GB", "512MiB", "2min"; and back."""

from __future__ import annotations

import re

from ..core.errors import BadField

__all__ = ["parse_bytes", "parse_seconds", "show_bytes", "show_seconds"]

_BYTES = {"": 1, "B": 1, **{f"{p}B": 1000 ** (i + 1) for i, p in enumerate("KMGT")}, **{f"{p}IB": 1024 ** (i + 1) for i, p in enumerate("KMGT")}}
_SECONDS = {"": 1, "S": 1, "SEC": 1, "MIN": 60, "M": 60, "H": 3600}
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def _parse(text: str | float, units: dict[str, int], option: str, allowed: str) -> float:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise BadField(f"{text!r} is no amount", where=option, allowed=allowed)
    match = _NUMBER.fullmatch(str(text)) if isinstance(text, str) else None
    if isinstance(text, str) and (match is None or match[2].upper() not in units):
        raise BadField(f"{text!r} is not understood", where=option, allowed=allowed)
    value = float(match[1]) * units[match[2].upper()] if match else float(text)
    if not 0 < value < 1e18:
        raise BadField(f"{text!r} is not above 0", where=option, allowed=allowed)
    return value


def parse_bytes(text: str | int | None, *, option: str = "memory") -> int | None:
    """Bytes for "1GB" (10^9), "512MiB" (2^20 each) or a whole number; None stays None.

    Raises BadField, naming the option.

    >>> parse_bytes("1GB"), parse_bytes("512MiB"), parse_bytes(4096)
    (1000000000, 536870912, 4096)
    """
    return None if text is None else round(_parse(text, _BYTES, option, 'a size as "1GB" or "512MiB", or bytes'))


def parse_seconds(text: str | float | None, *, option: str = "time") -> float | None:
    """Seconds for "90s", "2min", "1.5h" or a number; None stays None.

    >>> parse_seconds("2min"), parse_seconds(90)
    (120.0, 90.0)
    """
    return None if text is None else _parse(text, _SECONDS, option, 'a time as "90s", "2min" or "1.5h", or seconds')


def show_bytes(size: float | None) -> str:
    """Bytes for people, to three digits.

    >>> show_bytes(1_300_000), show_bytes(2_340_000_000), show_bytes(None)
    ('1.3 MB', '2.34 GB', 'unknown')
    """
    if size is None:
        return "unknown"
    if size < 10_000:
        return f"{size:.0f} B"
    for unit, scale in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if size < 999.5 * scale or unit == "GB":
            shown = size / scale
            return f"{shown:.0f} {unit}" if shown >= 100 else f"{shown:.1f} {unit}" if unit != "GB" else f"{shown:.2f} {unit}"
    raise AssertionError


def show_seconds(seconds: float | None) -> str:
    """Seconds for people.

    >>> show_seconds(0.0213), show_seconds(3.1), show_seconds(75), show_seconds(7300), show_seconds(None)
    ('0.02 s', '3.1 s', '1 min 15 s', '2 h 01 min', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 59.5:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
