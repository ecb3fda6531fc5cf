"""From a fixed job to a place to run it: the probe, the machine's costs, the search, and what changes of the job would win."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..core.combine import Then
from ..core.errors import BadFile, BadInput, OutgrowError
from ..core.job import Job
from ..core.learner import Price
from ..core.store import home, write_whole
from ..engines.measure import held
from .budget import show_seconds
from .calibrate import Calibration, calibrated
from .choose import Reason
from .costs import ENGINES, Costs
from .cuts import cuts
from .hadoop_costs import hadoop_costs
from .part import settle
from .plan import Change, Plan, Prediction
from .price import LIMITS, Pricer
from .probe import Probe, Seen, probe
from .search import search
from .spark_costs import spark_costs
from .where import Where, cores, make_engine

__all__ = ["in_memory", "place", "probed"]

_WORTH = 1.5  # seconds: no workers start for less work than this, so their costs are not asked for
_SAMPLE = 20_000
_FEW_ROUNDS = 3
_AVERAGED = "log loss up by nothing for 2 averaged lanes, by 0.001 for 4, by 0.003 for 8 (a click log of 1 M rows)"


@dataclass(frozen=True)
class _Expected:
    """A source as it will be once it is packed: as many rows as are estimated, not to be read."""

    rows: int
    schema: Any
    content: str


def _kept(job: Job, root: Path | None) -> Path | None:
    return (root or home()) / "probes" / f"{job.id}.json" if job.id else None


def _earlier(path: Path | None) -> Probe | None:
    """The probe of the same job in an earlier program, with what this program holds where that is more."""
    try:
        found = json.loads(path.read_text()) if path is not None else None
        if found is None:
            return None
        found["seen"] = {name: Seen(**item) for name, item in found["seen"].items()}
        found["asked"] = Price(**{**found["asked"], "passes": tuple(found["asked"]["passes"])}) if found["asked"] else None
        kept = Probe(**found)
    except (OSError, ValueError, TypeError, KeyError):
        return None  # none yet, or of another form: measured anew
    settle()
    return replace(kept, base_bytes=max(kept.base_bytes, held()[0]), seconds=0.0, compile_seconds=0.0)


def in_memory(source: Any) -> Any:
    """The source's sample as a source."""
    from ..data.memory import TableStore
    from ..data.source import Source

    return Source(TableStore(source.store.sample(_SAMPLE)), source.schema)


def _cached(made: Plan) -> bool:
    """True where the rows have been packed by an earlier run."""
    from ..data.packed import find

    return find(made.source, pack_folder(made.root)) is not None


def _sampled(made: Plan) -> tuple[Probe | str, Job]:
    """The probe of a source that is to be packed: on its sample in memory, with the time its format takes to parse; and the job as it is expected."""
    source = made.source
    rule = cuts(made.found, made.learner.batch_bytes)
    fixed = {**made.fixed, "shard_rows": made.fixed["shard_rows"] or rule.shard_rows, "batch_rows": made.fixed["batch_rows"] or rule.batch_rows}
    expected: Any = _Expected(made.found.rows, source.schema, source.content)
    job = Job(learner=made.learner, source=expected, **fixed)
    found = probe(replace(job, source=in_memory(source)), context=job.context)
    if isinstance(found, Probe):
        began, rows = time.perf_counter(), 0
        for block in source.store.blocks(0, 0, None, source.schema.fields, 8 << 20):
            rows += block.count
            if time.perf_counter() - began > 0.3:
                break
        each = (time.perf_counter() - began) / max(rows, 1)
        found = replace(found, seen={name: replace(item, read_row=each, stream_row=each) for name, item in found.seen.items()})
    return found, job


def probed(made: Plan, on: Where | None) -> Plan:
    """The plan with prices: from this job's earlier probe, or from one made now."""
    job = made.job
    if job is None:
        found, job = _sampled(made)
    else:
        path = _kept(job, made.root)
        kept = None if made.fresh else _earlier(path)
        found = kept or probe(job)
        if kept is None and path is not None and isinstance(found, Probe):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, [json.dumps(asdict(found)).encode()])
    if isinstance(found, str):
        return replace(made, chosen=(*made.chosen, Reason("time and memory unknown", f"the probe's few rows cannot be learned from ({found})")))
    cached = job.id != "" and _cached(made)
    pricer = Pricer(job, made.found, found, None, cached=cached)
    alone = pricer.offer(Where("serial"), LIMITS[0], packed=made.job is None)
    if (on is not None and on.name == "processes") or (on is None and pricer.lanes > 1 and alone.rank > _WORTH and cores() > 1):
        pricer = Pricer(job, made.found, found, _machine(made, job), cached=cached)
    return replace(made, pricer=pricer)


def _machine(made: Plan, job: Job) -> Calibration | None:
    """What engines cost here. A source that is to be packed is tried on its sample."""
    if made.job is None:
        job = replace(job, source=in_memory(made.source))
    try:
        return calibrated(job, made.root)
    except BadInput:  # the few rows of the trial cannot be learned from
        return None


def place(made: Plan, on: Where | None) -> Plan:
    """Engine, workers, blocks and packing within the plan's budgets."""
    rehearsal = on is not None and on.name == "rehearsal"
    pricer = made.pricer
    if pricer is not None and on is not None and on.cluster and on.name in ENGINES:
        return _on_cluster(made, on, pricer)
    if pricer is None or (on is not None and on.cluster):
        where = on or made.engine
        where = where if where.workers or where.cluster else Where(where.name, cores())
        limit = max(1 << 20, min(LIMITS[0], made.memory // (16 * max(1, where.workers)))) if made.memory else None
        return replace(made, engine=where, limit=limit, packed=made.job is None, reasons=(*made.chosen, *_unknown(made, Prediction())))
    if on is not None and on.name == "processes" and pricer.machine is None:
        pricer = Pricer(pricer.job, made.found, pricer.probe, _machine(made, pricer.job), cached=pricer.cached)
    found = search(pricer, on=None if rehearsal else on, memory=made.memory, time=made.time)
    offer, measured = found.offer, pricer.probe
    predicted = Prediction(
        seconds=offer.seconds, least_seconds=offer.least, most_seconds=offer.most, start_seconds=offer.start_seconds, pack_seconds=offer.pack_seconds,
        compile_seconds=measured.compile_seconds, probe_seconds=measured.seconds, passes=pricer.passes, peak_bytes=offer.peak_bytes, moved_bytes=offer.moved_bytes,
    )  # fmt: skip
    return replace(
        made, engine=Where("rehearsal") if rehearsal else offer.where, limit=offer.limit, kept_bytes=offer.kept_bytes, packed=offer.packed, predicted=predicted,
        refusal=found.refusal, reasons=(*made.chosen, *_lanes(made, pricer), *found.reasons, *_unknown(made, predicted)),
        rejected=found.rejected, changes=_changes(made, pricer), pricer=pricer,
    )  # fmt: skip


def _on_cluster(made: Plan, on: Where, pricer: Pricer) -> Plan:
    """What is expected on a cluster whose costs are known, and whether one machine would do."""
    refusal, told = None, []
    if on.name == "spark":
        tried = spark_costs(on, made.root)
        if isinstance(tried, OutgrowError):
            return replace(made, engine=on, refusal=tried, reasons=made.chosen)
        pricer, on = _priced(made, pricer, on.name, tried[0]), replace(on, workers=tried[1])
    else:
        engine = make_engine(on)
        refusal = engine.can(pricer.job)
        on = replace(on, workers=max(1, engine.workers))
        found = hadoop_costs(engine, made.root) if refusal is None else None
        if isinstance(found, Costs):
            pricer = _priced(made, pricer, on.name, found)
        elif found is not None:
            told = [Reason("costs of a quiet cluster", f"this one could not be tried: {found}")]
    packed = made.job is None
    offer, costs = pricer.offer(on, LIMITS[0], packed=packed), pricer.costs(on.name)
    alone, where = _fastest(pricer, packed)
    reasons = [*told, Reason(str(on), f"as asked: {offer.shown}, of which {show_seconds(costs.round_seconds)} a round go by before the first row")]
    if alone < offer.rank:
        reasons.append(Reason("one machine is enough", f"{where} would take about {show_seconds(alone)}, {offer.rank / max(alone, 1e-3):.3g} times less"))
    elif alone > offer.rank:
        reasons.append(Reason("faster than one machine", f"{where} would take about {show_seconds(alone)}, {alone / offer.rank:.1f} times as long"))
    rounds = pricer.passes or (pricer.probe.asked.passes[1] if pricer.probe.asked is not None else 0)
    if rounds * costs.round_seconds > offer.rank / 2 and rounds > _FEW_ROUNDS:
        todo = "Spark (--on yarn) keeps its workers from round to round; fewer and larger rounds would do as well"
        reasons.append(Reason("many rounds", f"{rounds:.0f} jobs take longer to start than to fold: {todo}"))
    predicted = Prediction(
        seconds=offer.seconds, least_seconds=offer.least, most_seconds=offer.most, start_seconds=offer.start_seconds, pack_seconds=offer.pack_seconds,
        compile_seconds=pricer.probe.compile_seconds, probe_seconds=pricer.probe.seconds, passes=pricer.passes, moved_bytes=offer.moved_bytes,
    )  # fmt: skip
    limit = max(1 << 20, min(LIMITS[0], made.memory // 8)) if made.memory else None
    return replace(
        made, engine=on, limit=limit, packed=packed, predicted=predicted, refusal=refusal, reasons=(*made.chosen, *_lanes(made, pricer), *reasons, *_unknown(made, predicted))
    )  # fmt: skip


def _priced(made: Plan, pricer: Pricer, name: str, costs: Costs) -> Pricer:
    """The pricer, with what an engine costs on the cluster at hand."""
    engines = {**(pricer.machine.engines if pricer.machine else {}), name: costs}
    machine = replace(pricer.machine, engines=engines) if pricer.machine else Calibration(write_rate=5e8, engines=engines)
    return Pricer(pricer.job, made.found, pricer.probe, machine, cached=pricer.cached)


def _unknown(made: Plan, predicted: Prediction) -> tuple[Reason, ...]:
    """Budgets that nothing is known to keep."""
    found = []
    if made.memory is not None and predicted.peak_bytes is None:
        found.append(Reason("memory not promised", "what the job holds is unknown; blocks are small, and what is measured is in the record"))
    if made.time is not None and predicted.seconds is None:
        found.append(Reason("time not promised", "how long the job takes is unknown"))
    return tuple(found)


def _lanes(made: Plan, pricer: Pricer) -> tuple[Reason, ...]:
    """Why as many lanes; where a person named them, what they win and cost beside those of the learner's own rule."""
    learner, asked = _last(made.learner), pricer.probe.asked
    if not hasattr(learner, "lanes_of"):
        return ()
    shown, rule = _lanes_shown(pricer.lanes), learner.replace(lanes=0).lanes_of(pricer.job.context)
    if learner.lanes == 0:
        return (Reason(shown, "one for every 500,000 rows and at most 2, so that averaging loses nothing"),)
    few = "" if learner.lanes == pricer.lanes else f" ({learner.lanes} were asked for, and there are no more shards)"
    if rule == pricer.lanes or asked is None:
        return (Reason(shown, f"as asked{few}; without a word there would be {rule}"),)
    other = Pricer(pricer.job, pricer.found, replace(pricer.probe, asked=replace(asked, lanes=rule)), pricer.machine, cached=pricer.cached)
    (now, where), (then, _) = _fastest(pricer, made.job is None), _fastest(other, made.job is None)
    wins = f"{show_seconds(now)} at best, on {where}, against {show_seconds(then)} with {_lanes_shown(rule)}"
    if now > 0.95 * then:
        why = "starting workers costs more than they save" if cores() > 1 else "there is one core"
        wins = f"they win no time here over {_lanes_shown(rule)}: {why}"
    return (Reason(shown, f"as asked{few}; {wins}; {_AVERAGED}"),)


def _lanes_shown(count: int) -> str:
    return f"{count} lane{'s' if count != 1 else ''}"


def _last(learner: Any) -> Any:
    return learner.stages[-1] if isinstance(learner, Then) else learner


def _fastest(pricer: Pricer, packed: bool) -> tuple[float, Where]:
    """The least time of the job with no budget, and where."""
    several = Where("processes", min(pricer.lanes, cores()))
    wheres = [Where("serial"), several] if pricer.machine is not None and several.workers > 1 else [Where("serial")]
    return min(((pricer.offer(where, LIMITS[0], packed=packed).rank, where) for where in wheres), key=lambda found: found[0])


def _changes(made: Plan, pricer: Pricer) -> tuple[Change, ...]:
    """What other lanes or passes would win, and what they do to the model."""
    learner, asked, found = _last(made.learner), pricer.probe.asked, []
    now, _ = _fastest(pricer, made.job is None)
    if hasattr(learner, "lanes") and asked is not None and pricer.machine is not None:
        more = replace(pricer.probe, asked=replace(asked, lanes=2 * pricer.lanes))
        then, where = _fastest(Pricer(pricer.job, pricer.found, more, pricer.machine, cached=pricer.cached), made.job is None)
        wins = f"{show_seconds(then)} instead of {show_seconds(now)} on {where}" if then < 0.95 * now else f"nothing on {cores()} cores"
        found.append(Change(f"lanes={2 * pricer.lanes}", wins, _AVERAGED))
    if getattr(learner, "passes", 1) > 1:
        less = now / learner.passes
        found.append(Change(f"passes={learner.passes - 1}", f"about {show_seconds(less)} less", "weights that have seen the rows once less"))
    return tuple(found)


def pack_folder(root: Path | None) -> Path:
    """Where packed caches are."""
    return (root or home()) / "packed"


def repriced(made: Plan, source: Any, learner: Any) -> Plan:
    """The plan for a source that has been packed: its job is fixed now, its prices rest on the probe made before."""
    from .look import look

    found = look(source)
    rule = cuts(found, learner.batch_bytes)
    fixed = {**made.fixed, "shard_rows": made.fixed["shard_rows"] or rule.shard_rows, "batch_rows": made.fixed["batch_rows"] or rule.batch_rows}
    if not found.cuttable:
        raise BadFile("the packed source cannot be cut", where=str(made.root))
    job = Job(learner=learner, source=source, **fixed)
    pricer = made.pricer and Pricer(job, found, made.pricer.probe, made.pricer.machine, cached=True)
    return replace(made, source=source, job=job, learner=learner, found=found, pricer=pricer)
