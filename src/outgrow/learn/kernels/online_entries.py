"""The loops of online learning as they are called: arguments as in `online` and `online_many`, which only a machine's first run imports."""

from __future__ import annotations

from ...data.native import F4, F8, FLOAT, I8, INT, U4, Native

__all__ = ["adaptive", "chances", "ftrl", "gain", "losses", "many", "scores", "settle", "standing"]

_ONE, _MANY = "outgrow.learn.kernels.online", "outgrow.learn.kernels.online_many"
_ROWS = (F4(2), U4(2), I8(1), U4(1), F4(1), F8(1), F8(1))  # dense, slots, starts, ragged, values, target, weight
_LEARNS = (*_ROWS, F4(1, True), F4(1, True), F8(1, True), F8(1, True), F8(1), INT)

adaptive, ftrl = Native(_ONE, "adaptive", _LEARNS, INT), Native(_ONE, "ftrl", _LEARNS, INT)
scores = Native(_ONE, "scores", (*_ROWS[:5], F4(2), F8(2), F8(2, True)), INT)
gain = Native(_ONE, "gain", (F4(2), F4(1), F4(2), F4(1), F4(2, True), INT))
settle = Native(_ONE, "settle", (F4(2), F4(1), F4(2), F4(1), F4(2, True)))
many = Native(_MANY, "many", (*_ROWS, F4(2, True), F4(1, True), F8(2, True), F8(1, True), F8(1), INT, INT), INT)
chances = Native(_MANY, "chances", (F8(2), INT, F8(2, True)))
losses = Native(_MANY, "losses", (F8(2), F8(1), F8(1), INT, FLOAT), FLOAT)
standing = Native(_MANY, "standing", (F4(2), U4(2), F4(2), F8(2), F8(1), INT, F8(1, True)))
