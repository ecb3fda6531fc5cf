"""Interactions by name: which columns "a:b" crosses, and what each crossing becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ...core.errors import BadField
from ..batch import Schema

__all__ = ["Crosses", "Groups", "checked_interactions", "crossings"]

Groups = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Crosses:
    """Some crossings as one flat list: crossing x has the members[starts[x]:starts[x+1]] and the name names[x].

    members : int64, places in the list of categories, or -1 - place in the list of numbers where both kinds meet.
    """

    names: tuple[str, ...]
    members: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, crossed: Sequence[tuple[str, ...]], places: dict[str, int]) -> Crosses:
        members = [places[name] for names in crossed for name in names]
        starts = np.cumsum([0, *(len(names) for names in crossed)])
        return cls(tuple(":".join(names) for names in crossed), np.array(members, np.int64), starts.astype(np.int64))

    def __len__(self) -> int:
        return len(self.names)


def checked_interactions(interactions: object, groups: object) -> tuple[tuple[str, ...], Groups]:
    """The two fields as tuples. Raises BadField where one is not made of names."""
    if isinstance(interactions, str) or not isinstance(interactions, list | tuple) or not all(isinstance(item, str) for item in interactions):
        raise BadField(f"interactions is {interactions!r}", where="interactions", allowed='names joined by colons, as ("age:town", "user:item")')
    for item in interactions:
        if len(item.split(":")) < 2 or not all(item.split(":")):
            raise BadField(f"{item!r} does not name two columns or groups", where="interactions", allowed='names joined by colons, as "age:town"')
    pairs = list(groups.items()) if isinstance(groups, dict) else groups
    if isinstance(pairs, list | tuple):  # the command line gives "user=age+town"
        pairs = [(text.partition("=")[0], text.partition("=")[2].split("+")) if isinstance(text, str) and "=" in text else text for text in pairs]
    if not isinstance(pairs, list | tuple) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise BadField(f"groups is {groups!r}", where="groups", allowed='a name and its columns, as {"user": ("age", "town")} or "user=age+town"')
    checked = []
    for name, columns in pairs:
        if not isinstance(name, str) or not name or ":" in name or isinstance(columns, str) or not isinstance(columns, list | tuple) or not columns:
            raise BadField(f"group {name!r} of {columns!r}", where="groups", allowed="a name without a colon, and at least one column")
        checked.append((name, tuple(str(column) for column in columns)))
    if len({name for name, _ in checked}) != len(checked):
        raise BadField("a group stands twice", where="groups")
    return tuple(interactions), tuple(checked)


def crossings(interactions: Sequence[str], groups: Groups, schema: Schema) -> list[tuple[str, ...]]:
    """Every crossing that is asked for, once: names of its columns, sorted, so that "a:b" and "b:a" are one.

    Raises BadField for a column that is not there, a column that cannot be crossed, or a category with itself.
    """
    members = dict(groups)
    found: dict[tuple[str, ...], None] = {}
    for text in interactions:
        parts = text.split(":")
        for names in product(*(members.get(part, (part,)) for part in parts)):
            for name in names:
                if name not in schema.names():
                    raise BadField(f"there is no column or group {name!r} in {text!r}", where="interactions", allowed=", ".join([*schema.names(), *members]))
                if schema[name].kind not in ("number", "category"):
                    todo = "Add Dates(...) before it and cross a part." if schema[name].kind == "date" else "Leave it out; n-grams are its own interactions."
                    raise BadField(f"{text!r} crosses {name!r}, which is {schema[name].kind}", where="interactions", allowed="numbers and categories", todo=todo)
            twice = {name for name in names if names.count(name) > 1 and schema[name].kind == "category"}
            if twice and not any(part in members for part in parts):
                raise BadField(f"{text!r} crosses the category {min(twice)!r} with itself", where="interactions", todo="Leave it out: it says nothing new.")
            if not twice:
                found[tuple(sorted(names))] = None
    return list(found)
