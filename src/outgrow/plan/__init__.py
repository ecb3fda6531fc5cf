"""What to do, why, and what it will cost, before anything is spent."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package, callable: ``outgrow.plan(…)`` stays the function after ``import outgrow.plan.…`` has put the package under that name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from .plan import plan

        return plan(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
