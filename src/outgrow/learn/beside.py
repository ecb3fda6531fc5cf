"""Learners side by side (`Beside`), and in one read (`Fused`).

Each is a learner itself: its carry holds the parts' carries under their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.combine import shown
from ..core.errors import BadField
from ..core.learner import Context, Fold, Learner, Pass, Price, Traits
from ..core.state import State, joined, prefixed, under

__all__ = ["Beside", "Fused", "FusedFold", "names_of"]


def names_of(parts: Any) -> list[str]:
    """The names of named learners. Raises BadField where a part is no pair of a name and a learner."""
    allowed = 'pairs of a name and a learner, as (("line", LogisticRegression()), ("bayes", NaiveBayes()))'
    if not isinstance(parts, tuple | list):
        raise BadField(f"what is named is {shown(parts)}, no pairs", where="parts", allowed=allowed)
    for part in parts:
        if not isinstance(part, tuple | list) or len(part) != 2:
            raise BadField(f"a part is {shown(part)}, which is no pair of a name and a learner", where="parts", allowed=allowed)
        if not isinstance(part[0], str):
            raise BadField(f"a part is named {shown(part[0])}", where="parts", allowed=allowed)
        if not isinstance(part[1], Learner):
            raise BadField(f"the part {part[0]!r} is {shown(part[1])}, which is no learner", where="parts", allowed=allowed)
    return [name for name, _ in parts]


@dataclass(frozen=True)
class Beside(Learner):
    """Several learners side by side; each round carries the passes of all that still ask. Names must differ."""

    parts: tuple[tuple[str, Learner], ...]

    def __post_init__(self) -> None:
        names = names_of(self.parts)
        if len(set(names)) != len(names) or not names or any("/" in name for name in names):
            raise BadField(f"the parts are named {names}", where="parts", allowed="at least one, different names without '/'")

    def begin(self, context: Context, start: State | None = None) -> State:
        return joined((name, part.begin(context, under(name, start or {}) or None)) for name, part in self.parts)

    def _asked(self, context: Context, carry: State) -> list[tuple[str, Learner, State, tuple[Pass, ...]]]:
        return [(name, part, own := under(name, carry), part.ask(context, own)) for name, part in self.parts]

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return tuple(replace(item, kept=f"{name}/{item.kept}" if item.kept else "") for name, _, _, passes in self._asked(context, carry) for item in passes)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        after: State = {}
        for name, part, own, passes in self._asked(context, carry):
            mine, closed = closed[: len(passes)], closed[len(passes) :]
            after |= prefixed(name, part.tell(context, own, mine) if passes else own)
        return after

    def finish(self, context: Context, carry: State) -> State:
        return joined((name, part.finish(context, under(name, carry))) for name, part in self.parts)

    def resume(self, context: Context, carry: State) -> State:
        return joined((name, part.resume(context, under(name, carry))) for name, part in self.parts)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {f"{name}.{key}": value for name, part in self.parts for key, value in part.facts(context, under(name, carry)).items()}

    def recall(self, context: Context, carry: State, kept: str) -> State:
        name, _, rest = kept.partition("/")
        return dict(self.parts)[name].recall(context, under(name, carry), rest)

    def price(self, context: Context) -> Price:
        prices = [part.price(context) for _, part in self.parts]
        lowest, highest = max(p.passes[0] for p in prices), max(p.passes[1] for p in prices)
        state, given, kept, fresh = (sum(sizes) for sizes in zip(*((p.state, p.given, p.kept_per_row, p.kept_fresh) for p in prices), strict=True))
        return Price(state=state, given=given, lanes=max(p.lanes for p in prices), passes=(lowest, highest), kept_per_row=kept, kept_fresh=fresh)

    def predict(self, model: State, batch: Any) -> dict[str, Any]:
        return {f"{name}.{key}": column for name, part in self.parts for key, column in part.predict(under(name, model), batch).items()}


@dataclass(frozen=True)
class FusedFold(Fold):
    """Several folds over one read."""

    folds: tuple[Fold, ...]

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        each = [fold.traits for fold in self.folds]
        elementwise, order_free, bounded = (all(getattr(t, name) for t in each) for name in ("elementwise", "order_free", "bounded"))
        return Traits(elementwise=elementwise, order_free=order_free, chain=any(t.chain for t in each), bounded=bounded)

    def init(self, given: Mapping[str, Any]) -> State:
        return joined((i, fold.init(under(f"{i}", given))) for i, fold in enumerate(self.folds))

    def update(self, state: State, batch: Any, given: Mapping[str, Any]) -> State:
        owns = [under(f"{i}", given) for i in range(len(self.folds))]
        return joined((i, fold.update(under(f"{i}", state), fold.see(batch, own), own)) for i, (fold, own) in enumerate(zip(self.folds, owns, strict=True)))

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        return joined((i, fold.merge(under(f"{i}", left), under(f"{i}", right), under(f"{i}", given))) for i, fold in enumerate(self.folds))


@dataclass(frozen=True)
class Fused(Beside):
    """`Beside`, with passes over the same rows folded in one read."""

    def _groups(self, passes: tuple[Pass, ...]) -> list[list[int]]:
        groups: dict[Any, list[int]] = {}
        for i, item in enumerate(passes):
            alone = i if item.sink is not None or item.kept else -1
            groups.setdefault((item.cover, item.rows, item.source, item.columns, alone), []).append(i)
        return list(groups.values())

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        passes = super().ask(context, carry)
        fused = []
        for group in self._groups(passes):
            if len(group) == 1:
                fused.append(passes[group[0]])
                continue
            given = joined((i, passes[j].given) for i, j in enumerate(group))
            fused.append(replace(passes[group[0]], fold=FusedFold(tuple(passes[j].fold for j in group)), given=given))
        return tuple(fused)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        passes = super().ask(context, carry)
        states: list[State] = [{}] * len(passes)
        for group, state in zip(self._groups(passes), closed, strict=True):
            for i, j in enumerate(group):
                states[j] = state if len(group) == 1 else under(f"{i}", state)
        return super().tell(context, carry, tuple(states))
