"""The plan: look, choose, cut, probe, price, search; then carry it out and put what was measured beside what was predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import BadField, BadInput, OutgrowError
from ..core.events import Events
from ..core.fold import KEPT
from ..core.job import Job
from ..core.learner import Context, Feature, Learner
from ..data.batch import Schema
from .budget import parse_bytes, parse_seconds
from .choose import Reason, choose
from .cuts import cuts
from .look import Look, look
from .search import Rejected
from .settings import configured
from .where import Where, parse_where
from .width import narrowed, too_wide

if TYPE_CHECKING:
    from .carry_out import Run
    from .price import Pricer

__all__ = ["Change", "Plan", "Prediction", "plan"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the job, which gives another model: what it would win, and what it costs the model."""

    what: str
    wins: str
    costs: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a run is expected to take; None is unknown.

    seconds: with starting workers and packing, without the plan itself. least_seconds, most_seconds: where the number of passes is
    unknown. compile_seconds: what the probe's first run took to import and compile, once for each release of the builds.
    """

    seconds: float | None = None
    least_seconds: float | None = None
    most_seconds: float | None = None
    start_seconds: float | None = None
    pack_seconds: float | None = None
    compile_seconds: float | None = None
    probe_seconds: float | None = None
    passes: float | None = None
    peak_bytes: int | None = None
    moved_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be done, where, why, and what it is expected to take; nothing has been spent but the look and the probe.

    job is None until a source that has to be packed first is packed. limit: most bytes of a decoded block. kept_bytes: of what a
    worker keeps beside batches in memory. `print` explains it.
    """

    learner: Learner
    source: Any
    job: Job | None
    engine: Where
    found: Look
    reasons: tuple[Reason, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    changes: tuple[Change, ...] = ()
    predicted: Prediction = field(default_factory=Prediction)
    refusal: OutgrowError | None = None
    memory: int | None = None
    time: float | None = None
    asked: Where | None = None  # the engine a person named
    limit: int | None = None
    kept_bytes: int = KEPT
    packed: bool = False
    root: Path | None = None
    fresh: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)  # what the job will be made of, beside learner and source
    command: Mapping[str, Any] | None = None  # words and folder of the command that made it, kept in the record of the run
    chosen: tuple[Reason, ...] = ()  # the reasons of the job, which an engine planned anew leaves as they are
    pricer: Pricer | None = field(default=None, repr=False)

    def __str__(self) -> str:
        from .explain import as_text

        return as_text(self)

    def to_json(self) -> dict[str, Any]:
        """All of the explanation as plain values."""
        from .explain import as_json

        return as_json(self)

    def on(self, on: str | None = None, *, memory: str | int | None = None, time: str | float | None = None) -> Plan:
        """The same job planned anew: engine, workers, blocks and memory; never the model."""
        where, budget, seconds = parse_where(on), parse_bytes(memory) or self.memory, parse_seconds(time) or self.time
        return _placed(replace(self, memory=budget, time=seconds, refusal=None), where or self.asked)

    def run(
        self, on: str | None = None, *, memory: str | int | None = None, events: Events | None = None, fresh: bool | None = None, out: Path | str | None = None
    ) -> Run:
        """Carry it out. `on` and `memory` plan engine, workers and memory anew; the job, and so the model, stays the same.

        Parameters
        ----------
        on : str, optional
            "serial", "processes:N", "processes" or "rehearsal".
        memory : str or int, optional
        events : Events, optional
        fresh : bool, optional
            Forget what an earlier run of the same job left.
        out : path, optional
            Where the model is written.

        Returns
        -------
        Run
            With `model`, `record` (what happened, predicted beside measured) and `digest`.

        Raises
        ------
        Refused
            The budgets cannot be kept, or the engine cannot carry the job.
        """
        from .carry_out import carry_out

        chosen = self if on is None and memory is None else self.on(on, memory=memory)
        if chosen.refusal is not None:
            raise chosen.refusal
        return carry_out(chosen, events=events or Events(), fresh=self.fresh if fresh is None else fresh, out=out)


def _placed(made: Plan, on: Where | None) -> Plan:
    """Engine, workers, blocks and packing for a plan whose job is fixed, within its budgets."""
    from .place import place

    return place(made, on)


def _same_classes(before: Any, now: Any) -> None:
    """BadInput where a model to go on from knows other classes, whose numbers would be taken for those of these."""
    if before is None or not before.classes or not now.target or before.classes == now.classes:
        return
    known, found = (", ".join(map(repr, classes[:8])) + (", …" if len(classes) > 8 else "") for classes in (before.classes, now.classes or ("numbers",)))
    todo = "Start from a model of the same classes, or without one."
    raise BadInput(f"the model to start from was fitted on the classes {known}, and here they are {found}", where=f"target {now.target!r}", todo=todo)


def plan(
    learner: Learner | str | None,
    source: Any,
    *,
    memory: str | int | None = None,
    time: str | float | None = None,
    on: str | None = None,
    seed: int = 0,
    features: Sequence[Feature | str] | None = None,
    complete: bool = False,
    settings: Mapping[str, str] | None = None,
    shard_rows: int | None = None,
    batch_rows: int | None = None,
    start: Any = None,
    root: Path | None = None,
    equal: Literal["bits", "close"] = "bits",
    probe: bool = True,
    fresh: bool = False,
) -> Plan:
    """Say what will be done, why, and what it is expected to take, before anything is spent but a look and a probe.

    What changes the model (learner, features, cuts, lanes, passes, seed) follows from the data and the arguments named here;
    memory, time and engine choose only the rest, or are refused.

    Parameters
    ----------
    learner : Learner, str or None
        A learner, its name ("online-linear", "logistic-regression", "linear-regression", "k-means", "moments"), or None: chosen
        from the target, with the reason.
    source : Source
        From `outgrow.read`.
    memory : str or int, optional
        Bytes for all processes together, as "1GB" or "512MiB".
    time : str or float, optional
        Seconds, or as "2min".
    on : str, optional
        "serial", "processes:N", "processes" (workers planned), "rehearsal" (reads no rows); None: planned.
    seed : int
    features : sequence of Feature or their names ("missing", "tf-idf", …), optional
        What comes before the learner, just so; None: what suits the columns.
    complete : bool
        Add to `features` what the columns need besides (parts of dates, missing values, an encoder), as the command line does.
    settings : mapping of field to text, optional
        Hyper-parameters as text, as the command line takes them.
    shard_rows, batch_rows : int, optional
        The cuts, where they shall not follow the rule.
    start : Model or arrays, optional
        What to go on from.
    root : path, optional
        The folder for runs and caches; default: outgrow's home.
    equal : "bits" or "close"
    probe : bool
        False: nothing is measured, so time and memory are unknown.
    fresh : bool
        Forget what an earlier run of the same job left.

    Raises
    ------
    BadField
        An argument that is not understood, or rows that were not read by `outgrow.read`.
    BadInput
        Rows that cannot be learned from; or a model to start from that knows other classes.
    """
    where, budget, seconds = parse_where(on), parse_bytes(memory), parse_seconds(time)
    if not isinstance(getattr(source, "schema", None), Schema):
        named = repr(source) if isinstance(source, str) else type(source).__name__
        raise BadField(f"{named} is no source", where="source", allowed="what og.read gives", todo="Read the rows first: og.read(…, target=…).")
    _same_classes(getattr(start, "schema", None), source.schema)
    found = look(source)
    chosen = choose(learner, found, source.schema, features, complete=complete)
    whole = configured(chosen.learner, settings) if settings else chosen.learner
    fitted: tuple[Reason, ...] = ()
    if chosen.encoder:
        whole, fitted = narrowed(whole, source.schema)
    rule = cuts(found, whole.batch_bytes)
    fixed = {
        "shard_rows": shard_rows or rule.shard_rows, "batch_rows": batch_rows or rule.batch_rows, "seed": seed, "equal": equal, "start": getattr(start, "start", start),
    }  # fmt: skip
    reasons = (*chosen.reasons, *fitted)
    if shard_rows is None and batch_rows is None and found.cuttable:
        groups = ", shards are whole row groups or equal parts of one" if found.group_rows else ""
        by = "data alone" if whole.batch_bytes == Learner.batch_bytes else "data and the learner alone"
        why = f"from the {by}: batches decode to at most {whole.batch_bytes >> 20} MB{groups}"
        reasons = (*reasons, Reason(f"batches of {rule.batch_rows:,} and shards of {rule.shard_rows:,} rows", why))
    job = Job(learner=whole, source=source, **fixed) if found.cuttable else None
    if job is None:
        fixed |= {"shard_rows": shard_rows, "batch_rows": batch_rows}
    made = Plan(
        learner=whole, source=source, job=job, engine=where or Where("serial"), found=found, memory=budget, time=seconds, root=root, fresh=fresh, fixed=fixed,
        asked=where, chosen=reasons, reasons=reasons,
    )  # fmt: skip
    wide = too_wide(whole, Context(schema=source.schema, rows=found.rows, shard_rows=rule.shard_rows, batch_rows=rule.batch_rows, seed=seed))
    if wide is not None:
        return replace(made, refusal=wide)
    if probe:
        from .place import probed

        made = probed(made, where)
    return _placed(made, where)
