"""Carrying a fit out: rows in memory on a named engine go straight to the run; a budget or an engine to be chosen goes through the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.combine import Then
from ..core.errors import BadField, BadInput
from ..core.events import Events
from ..core.job import Job
from ..core.learner import Feature, Learner
from ..core.run import run
from ..core.state import State
from ..data.features import OneHot
from ..data.model import Model
from ..data.source import Source
from ..plan.cuts import cuts
from ..plan.look import look
from ..plan.plan import plan
from ..plan.where import make_engine, parse_where
from .onward import Onward

__all__ = ["Fitted", "carried"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit gave: the model, the last facts its learner told, and its rounds."""

    model: Model
    facts: dict[str, float]
    rounds: int


def carried(learner: Learner, source: Source, *, on: str | None, memory: Any, seed: int, start: State | None, onward: bool) -> Fitted:
    """Fit a learner behind a one-hot encoder, as ``plan(learner, source, features=[OneHot()])`` would: the same job, and so the same digest.

    on : an engine; None or "processes" leave it, or its workers, to the plan. memory : the budget; one of them is planned for.
    start : arrays of `Model.start`. onward : keep the sums of a learner of one pass, so that it can go on.
    """
    chain: tuple[Learner, ...] = () if isinstance(learner, Feature) else (OneHot(),)
    whole, running = Then((*chain, learner)), Then((*chain, Onward(learner) if onward else learner))
    found: dict[str, float] = {}
    events = Events(lambda event: found.update(event["facts"]) if event["kind"] == "told" else None)
    where = parse_where(on)
    if where is not None and where.name == "rehearsal":
        raise BadField("a rehearsal gives no model", where="on", allowed="serial, processes:N, processes, None")
    if memory is None and where is not None and (where.name == "serial" or (where.name == "processes" and where.workers)):
        rule = cuts(look(source), whole.batch_bytes)
        job = Job(learner=running, source=source, shard_rows=rule.shard_rows, batch_rows=rule.batch_rows, seed=seed, start=start)
        result = run(job, make_engine(where), events=events)
        facts = {**result.record, "on": str(where)}
        made = {key: facts[key] for key in ("job", "on", "passes", "rounds", "train_seconds", "peak_bytes", "builds")} | {"rows": source.rows}
        return Fitted(Model(whole, source.schema, result.arrays, result.resume, made), found, int(facts["rounds"]))
    done = plan(running, source, on=on, memory=memory, seed=seed, start=start).run(events=events)
    if done.model is None:
        raise BadInput(f"the engine {on!r} gave no model")
    return Fitted(Model(whole, source.schema, done.model.arrays, done.model.resume, done.model.made), found, int(done.record["rounds"]))
