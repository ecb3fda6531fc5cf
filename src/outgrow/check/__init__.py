"""The laws every learner must hold, for outgrow's own and for yours: ``outgrow.check(learner)``."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["check"]


class _Check(ModuleType):
    """This package is called as a function too: its name in `outgrow` is the function's."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """See `outgrow.check.check.check`."""
        from .check import check

        return check(*args, **options)


sys.modules[__name__].__class__ = _Check
