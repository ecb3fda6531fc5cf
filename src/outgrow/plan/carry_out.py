"""Carrying a plan out: the store, the run, the model, and the record with predicted beside measured."""

from __future__ import annotations

import copy
import json
import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import BadField, BadFile, BadInput, Refused
from ..core.events import Events
from ..core.job import describe
from ..core.run import run
from .kept import RunFolder, keep_within
from .part import settle
from .where import make_engine

if TYPE_CHECKING:
    from ..data.model import Model
    from .plan import Plan

__all__ = ["Run", "carry_out"]


@dataclass(frozen=True)
class Run:
    """What happened: the model (None after a rehearsal) and the record, with what was predicted and what was measured."""

    model: Model | None
    record: dict[str, Any]
    again: bool = False  # the model of an earlier run of the same job, not trained anew

    @property
    def digest(self) -> str:
        return self.model.digest if self.model is not None else ""


def _own_classes(thing: Any) -> set[type]:
    """Classes within a learner that are not outgrow's own."""
    found: set[type] = set()
    if is_dataclass(thing) and not isinstance(thing, type):
        if not type(thing).__module__.startswith("outgrow."):
            found.add(type(thing))
        for item in fields(thing):
            found |= _own_classes(getattr(thing, item.name))
    elif isinstance(thing, tuple):
        for item in thing:
            found |= _own_classes(item)
    return found


def _earlier(store: RunFolder, plan: Plan) -> Run | None:
    """The model that an earlier run of the job left, if it is there and whole."""
    from ..data.model import open_model
    from ..learn.registry import resolver

    path = store.folder / "model"
    if not path.exists() or plan.job is None:
        return None
    try:
        model = open_model(path, resolver(_own_classes(plan.job.learner)))
        record = json.loads((store.folder / "record.json").read_text())
    except (BadFile, OSError, ValueError):
        return None  # damaged: train again
    return Run(model, record, again=True)


def carry_out(plan: Plan, *, events: Events, fresh: bool, out: Path | str | None) -> Run:
    """Run the plan's job on its engine; a job that is finished in the store only rewrites its model."""
    if plan.engine.name == "rehearsal":
        return _rehearse(plan)
    packing = 0.0
    if plan.job is None:
        plan, packing = _packed(plan, events)
        if plan.refusal is not None:
            raise plan.refusal
    job = plan.job
    assert job is not None  # noqa: S101 `_packed` fixes it
    keep = RunFolder(job.id, plan.root) if job.id else None
    with keep if keep is not None else nullcontext():
        if keep is not None and fresh:
            keep.clear()
        done = _earlier(keep, plan) if keep is not None else None
        if done is None:
            if plan.packed and not packing and job.source.store.format != "packed":  # type: ignore[attr-defined]
                plan, packing = _packed(plan, events)
            done = _train(plan, keep, events, packing)
    if out is not None and done.model is not None:
        done.model.save(out)
    for removed in keep_within(plan.root):
        events.emit("warning", text=f"the finished run {removed} was removed to stay within the disk budget (OUTGROW_DISK)")
    return done


def _rehearse(plan: Plan) -> Run:
    """Walk the first round and say what would be folded; no row is read."""
    from ..engines.rehearsal import Rehearsal

    record: dict[str, Any] = {"on": "rehearsal", "predicted": asdict(plan.predicted)}
    if plan.job is not None:
        job, engine = plan.job, Rehearsal()
        refusal = engine.can(job)
        if refusal is not None:
            raise refusal
        passes = job.learner.ask(job.context, job.learner.begin(job.context, job.start))
        record |= {"job": job.id, "passes": [{"fold": type(item.fold).__name__, "cover": item.cover.kind, "lanes": job.lanes(item)} for item in passes]}
    return Run(None, record)


def _limited(source: Any, limit: int | None) -> Any:
    """The same source, decoding in blocks of at most `limit` bytes."""
    if limit is None:
        return source
    other = copy.copy(source)
    other.limit = limit
    return other


def _packed(plan: Plan, events: Events) -> tuple[Plan, float]:
    """The plan over the packed cache of its source, which is written first where there is none, and the seconds that took."""
    from ..data.cache import used_bytes
    from ..data.packed import pack
    from .place import pack_folder, place, repriced

    folder, began = pack_folder(plan.root), time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    events.emit("packing", rows=plan.found.rows)
    budget = used_bytes(folder) + shutil.disk_usage(folder).free // 2
    source = pack(_limited(plan.source, plan.limit), folder, budget)
    settle()  # what packing has used is given back before the run
    taken = time.perf_counter() - began
    events.emit("packed", rows=source.rows, seconds=taken)
    if plan.job is not None:
        return replace(plan, source=source, job=replace(plan.job, source=source)), taken
    fixed = repriced(plan, source, plan.learner)
    made = place(fixed, plan.engine)
    predicted = replace(plan.predicted, peak_bytes=max(plan.predicted.peak_bytes or 0, made.predicted.peak_bytes or 0) or None)
    return replace(made, predicted=predicted, packed=True), taken


def _train(plan: Plan, keep: RunFolder | None, events: Events, packing: float) -> Run:
    from ..data.model import Model

    job = plan.job
    assert job is not None  # noqa: S101 the caller has one
    stages = describe(job.learner)
    facts = {"learner": stages, "target": job.source.schema.target, "on": str(plan.engine), "packed": plan.packed, "predicted": asdict(plan.predicted)}
    if plan.command is not None:
        facts["command"] = dict(plan.command)
    if keep is not None:
        keep.record({"job": job.id, **facts})
    working = replace(job, source=_limited(job.source, plan.limit))
    try:
        result = run(working, make_engine(plan.engine, plan.kept_bytes), store=keep, events=events)
    except (BadField, BadInput, Refused):
        if keep is not None:
            keep.drop()  # run again, it would be refused again
        raise
    record = {**facts, **result.record, "ended": time.strftime("%Y-%m-%d %H:%M:%S")}
    record["seconds"] += packing
    moved = record["node_bytes"] if plan.engine.name != "serial" else 0
    record["measured"] = {"seconds": record["seconds"], "pack_seconds": packing, "peak_bytes": record["peak_bytes"], "moved_bytes": moved}
    made = {key: record[key] for key in ("job", "on", "rows", "passes", "rounds", "train_seconds", "peak_bytes", "builds")} | {"rows": job.source.rows}
    model = Model(job.learner, job.source.schema, result.arrays, result.resume, made)
    if keep is not None:
        keep.record(record)
        keep.finished(model.save)
    return Run(model, record)
