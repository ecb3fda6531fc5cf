"""A person's own learner by its place, as a command line names it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from ..core.errors import BadField, BadInput
from ..core.learner import Learner

__all__ = ["own_learner"]


def own_learner(place: str, *, allowed: str) -> Learner:
    """The learner that ``package.module:Name`` or ``file.py:Name`` stands for; a class is made with its defaults.

    allowed : names that would have been understood as well, for the error.

    Raises BadField where there is none, BadInput where its module does not import.
    """
    where, _, name = place.rpartition(":")
    if not where:
        raise BadField(f"there is no learner {place!r}", where="learner", allowed=f"{allowed}, or yours as mypkg:MyLearner or file.py:MyLearner")
    file = Path(where)
    folder, module = (file.resolve().parent, file.stem) if where.endswith(".py") else (Path.cwd(), where)
    if where.endswith(".py") and not file.exists():
        raise BadInput("there is no such file", where=where)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # stays there: worker processes are given the same path
    try:
        thing: Any = importlib.import_module(module)
    except Exception as error:
        todo = f"Run this in the folder of {where}, or name the file: path/to/{where}.py:{name}." if isinstance(error, ModuleNotFoundError) and not where.endswith(".py") else ""
        raise BadInput(f"it does not import ({type(error).__name__}: {error})", where=where, todo=todo) from error
    for part in name.split("."):
        if not hasattr(thing, part):
            found = ", ".join(sorted(n for n, v in vars(thing).items() if _is_learner(v)))
            raise BadField(f"there is no {name!r} in {where}", where="learner", allowed=found or "a Learner")
        thing = getattr(thing, part)
    try:
        learner = thing() if isinstance(thing, type) else thing
    except TypeError as error:
        raise BadField(f"{name} cannot be made without fields ({error})", where=place, todo=f"Give them defaults, or name an instance: my_{name.lower()} = {name}(…).") from error
    if not isinstance(learner, Learner):
        raise BadField(f"{name} is {type(learner).__name__}", where=place, allowed="a subclass or an instance of outgrow.Learner")
    return learner


def _is_learner(thing: Any) -> bool:
    return isinstance(thing, Learner) or (isinstance(thing, type) and issubclass(thing, Learner))
