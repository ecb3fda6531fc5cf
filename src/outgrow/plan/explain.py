"""The plan in words for people, one screen, and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..core.job import describe
from .budget import show_bytes, show_seconds

if TYPE_CHECKING:
    from .plan import Plan, Prediction

__all__ = ["as_json", "as_text"]

_WIDE = 150


def _stages(learner: Any) -> str:
    stages = getattr(learner, "stages", (learner,))
    return " → ".join(type(stage).__name__ for stage in stages)


def _wrapped(head: str, text: str) -> list[str]:
    """`head` in its column, then the text, broken between words."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) > _WIDE - 12:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    lines.append(line)
    return [f"{head if not i else '':<12}{part}" for i, part in enumerate(lines)]


def _expected(found: Prediction) -> str:
    seconds = show_seconds(found.seconds)
    if found.seconds is None and found.least_seconds is not None:
        seconds = f"unknown, as the number of passes is; between {show_seconds(found.least_seconds)} and {show_seconds(found.most_seconds)}"
    parts = [f"{name} {show_seconds(value)}" for name, value in (("to start", found.start_seconds), ("to pack", found.pack_seconds)) if value]
    parts += [f"{found.passes:.3g} passes"] if found.passes and found.passes > 1 else []
    beside = f" (compiling apart: {show_seconds(found.compile_seconds)})" if found.compile_seconds and found.compile_seconds > 0.5 else ""
    moved = f"; workers send {show_bytes(found.moved_bytes)}" if found.moved_bytes else ""
    return f"time {seconds}{' (' + ', '.join(parts) + ')' if parts else ''}{beside}; peak memory {show_bytes(found.peak_bytes)}{moved}"


def as_text(plan: Plan) -> str:
    """The explanation: what was found, what is done and why, what was rejected and by which number, what is expected."""
    lines = []
    for i, line in enumerate(str(plan.found).splitlines()):
        lines += _wrapped("found" if not i else "", line)
    lines += _wrapped("learn", _stages(plan.learner))
    if plan.job is not None:
        job, name = plan.job, plan.job.id or "rows in memory, nothing is kept"
        lines += _wrapped("job", f"{name}: batches of {job.batch_rows:,} rows, {job.context.shards} shards of {job.shard_rows:,}, seed {job.seed}")
    else:
        lines += _wrapped("job", "fixed once the rows are packed and counted; all numbers rest on an estimate of the rows")
    lines += _wrapped("run on", str(plan.engine))
    lines += _wrapped("expect", _expected(plan.predicted))
    if plan.reasons:
        lines.append("because")
        for reason in plan.reasons:
            lines += _wrapped("", f"{reason.choice}: {reason.why}")
    if plan.rejected:
        lines.append("rejected")
        for item in plan.rejected:
            lines += _wrapped("", f"{item.what}: {item.number}")
    if plan.changes:
        lines.append("would change the model")
        for change in plan.changes:
            lines += _wrapped("", f"{change.what}: {change.wins}; {change.costs}")
    if plan.refusal is not None:
        lines += _wrapped("refused", str(plan.refusal))
    return "\n".join(lines)


def as_json(plan: Plan) -> dict[str, Any]:
    """The same as plain values."""
    job = plan.job
    fixed = {} if job is None else {name: getattr(job, name) for name in ("id", "shard_rows", "batch_rows", "seed", "equal")} | {"shards": job.context.shards}
    return {
        "found": asdict(plan.found),
        "learner": describe(plan.learner),
        "job": fixed or None,
        "engine": {"name": plan.engine.name, "workers": plan.engine.workers},
        "packed": plan.packed,
        "memory": plan.memory,
        "time": plan.time,
        "predicted": asdict(plan.predicted),
        "reasons": [asdict(reason) for reason in plan.reasons],
        "rejected": [asdict(item) for item in plan.rejected],
        "changes": [asdict(item) for item in plan.changes],
        "refusal": None if plan.refusal is None else str(plan.refusal),
    }
