"""The search: the cheapest offer that keeps memory and time, or a refusal that says what would fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import OutgrowError, Refused
from .budget import show_bytes, show_seconds
from .choose import Reason
from .price import LIMITS, Offer, Pricer
from .where import Where

__all__ = ["MARGIN", "Found", "Rejected", "search"]

MARGIN = 1.2  # a budget must hold this many times the predicted peak
_UNEVEN, _ROOM = 1.05, 1_000_000  # by how much more a probe may find the next time; bytes by which this program may differ from the next
_GAIN, _LEAST = 0.85, 0.5  # processes must take this share of serial's time, and save as many seconds


@dataclass(frozen=True, slots=True)
class Rejected:
    """An alternative that was not taken, and the number that rejected it."""

    what: str
    number: str


@dataclass(frozen=True, slots=True)
class Found:
    """The offer taken, why, what was rejected, and the refusal where nothing fits."""

    offer: Offer
    reasons: tuple[Reason, ...]
    rejected: tuple[Rejected, ...]
    refusal: OutgrowError | None = None


def _several(pricer: Pricer, name: str) -> list[Where]:
    """Numbers of workers of an engine that are worth a price: each up to 4, powers of two, and all."""
    most = pricer.slots(name)
    return [Where(name, count) for count in range(2, most + 1) if count <= 4 or count == most or count & (count - 1) == 0]


def _candidates(pricer: Pricer, on: Where | None) -> list[Where]:
    if on is None:
        engines = pricer.machine.engines if pricer.machine else {}
        return [Where("serial"), *(where for name, costs in engines.items() if costs.offered for where in _several(pricer, name))]
    if not on.workers:
        return _several(pricer, on.name) or [Where(on.name, 1)]
    return [on]


def _within(pricer: Pricer, where: Where, packed: bool, memory: int | None) -> Offer:
    """The offer with the largest blocks that fit the budget, and what is kept in memory as long as that fits too; with the smallest where none do."""
    offers = [pricer.offer(where, limit, packed=packed, kept_bytes=kept) for kept in pricer.keeps for limit in LIMITS]
    if memory is None:
        return offers[0]
    return next((offer for offer in offers if offer.peak_bytes is not None and MARGIN * offer.peak_bytes <= memory), offers[-1])


def _fits(offer: Offer, memory: int | None) -> bool:
    return memory is None or offer.peak_bytes is None or MARGIN * offer.peak_bytes <= memory


def _why(taken: Offer, others: list[Offer], pricer: Pricer) -> str:
    """Why this engine, with the numbers."""
    serial = next((offer for offer in others if offer.where.name == "serial"), None)
    rivals = [offer for offer in others if pricer.costs(offer.where.name).apart]
    if not pricer.costs(taken.where.name).apart:
        if pricer.lanes == 1 and pricer.probe.finished:
            return "the job has one lane: a second worker would have nothing to do"
        if rivals:
            best = min(rivals, key=lambda offer: offer.rank)
            start = show_seconds(best.start_seconds)
            return f"one process is enough: {best.where} would take {best.shown}, of which {start} to start, against {taken.shown}"
        return "one process is enough for work this short"
    if serial is not None:
        faster = serial.rank / max(taken.rank, 1e-9)
        return f"{taken.shown} with {show_seconds(taken.start_seconds)} to start, {faster:.1f} times as fast as serial ({serial.shown})"
    return "as asked"


def _rejected(taken: Offer, others: list[Offer], memory: int | None) -> list[Rejected]:
    found = []
    for offer in others:
        if offer is taken:
            continue
        if not _fits(offer, memory):
            found.append(Rejected(str(offer), f"needs {show_bytes(MARGIN * (offer.peak_bytes or 0))} of {show_bytes(memory)}"))
        elif offer.packed != taken.packed and offer.where == taken.where:
            found.append(Rejected("packed first" if offer.packed else "streamed", f"{offer.shown} against {taken.shown}"))
        elif offer.rank < taken.rank:
            found.append(Rejected(str(offer), f"{offer.shown} gains less than {show_seconds(max(_LEAST, (1 - _GAIN) * taken.rank))} on {taken.where}"))
        else:
            found.append(Rejected(str(offer), f"{offer.shown} against {taken.shown}"))
    return found


def _pick(offers: list[Offer]) -> Offer:
    """The fastest, but what is simpler (serial, streamed, fewer workers) unless the gain is worth it."""
    taken = offers[0]
    for offer in offers[1:]:
        if offer.rank <= _GAIN * taken.rank and offer.rank <= taken.rank - _LEAST:
            taken = offer
    return taken


def _smallest(pricer: Pricer, wheres: list[Where], packings: Sequence[bool] = (False,)) -> int:
    """The smallest budget that an offer keeps, rounded up as it is shown.

    Any block may be the one that holds least: with small ones a job takes longer, and one that takes longer saves what it holds, in copies. Where the probe is not
    kept for the next program some more, as no two hold quite the same.
    """
    offers = [pricer.offer(where, limit, packed=packed, kept_bytes=kept) for packed in packings for where in wheres for kept in pricer.keeps for limit in LIMITS]
    least = (1.0 if pricer.found.cuttable and pricer.job.id else _UNEVEN) * MARGIN * min(offer.peak_bytes or 0 for offer in offers) + _ROOM
    step = 1_000_000 if least < 999e6 else 10_000_000
    return -(-round(least) // step) * step


def search(pricer: Pricer, *, on: Where | None, memory: int | None, time: float | None) -> Found:
    """The cheapest way to carry the job out within the budgets."""
    wheres = _candidates(pricer, on)
    packings = [False, True] if pricer.found.format == "parquet" and pricer.job.id and (pricer.passes or 2) > 1 else [False]
    offers = [_within(pricer, where, packed, memory) for packed in packings for where in wheres]
    fitting = [offer for offer in offers if _fits(offer, memory)]
    if not fitting:
        taken = min(offers, key=lambda offer: offer.peak_bytes or 0)
        floor = _smallest(pricer, wheres, packings)
        refusal = Refused(
            f"{show_bytes(memory)} are too few for this job{f' on {on}' if on else ''}",
            where="memory",
            allowed=f"{show_bytes(floor)} or more",
            todo=_smaller(pricer, on, floor),
        )
        return Found(taken, (), tuple(_rejected(taken, offers, memory)), refusal)
    taken = _pick(fitting)
    reasons = [Reason(str(taken.where), "as asked" if on is not None and on.workers == taken.where.workers else _why(taken, offers, pricer))]
    if len(packings) > 1:
        twin = next((offer for offer in offers if offer.packed != taken.packed and offer.where == taken.where), None)
        against = f" against {twin.shown}" if twin is not None else ""
        packed = "the rows are packed already" if pricer.cached else "parse once, replay every pass"
        dearer = twin is not None and (twin.seconds or 0.0) < (taken.seconds or 0.0)
        decode = "packing first would save too little to fill the disk for" if dearer else "decoding again in every pass is cheaper than packing"
        why = packed if taken.packed else decode
        reasons.append(Reason("packed first" if taken.packed else "streamed", f"{why}: {taken.shown}{against}"))
    if memory is not None:
        why = f"the largest with which a predicted peak of {show_bytes(taken.peak_bytes)} stays within {show_bytes(memory)}"
        if taken.spilled_bytes:
            what = f"{show_bytes(taken.kept_bytes)} of what is kept beside rows in memory of each worker"
            reasons.append(Reason(what, f"all of it does not fit; {show_bytes(taken.spilled_bytes)} go to disk and back in every round"))
        reasons.append(Reason(f"blocks of {show_bytes(pricer.block_bytes(taken.limit, packed=taken.packed))}", why))
    return Found(taken, tuple(reasons), tuple(_rejected(taken, offers, memory)), _too_slow(taken, fitting, time))


def _smaller(pricer: Pricer, on: Where | None, floor: int) -> str:
    """What else would fit."""
    serial = _smallest(pricer, [Where("serial")])
    if on is not None and pricer.costs(on.name).apart and serial < floor:
        return f"One process does with {show_bytes(serial)} (--on serial): the model is the same."
    return "Smaller states need another job and give another model: fewer hash bits, for one."


def _too_slow(taken: Offer, fitting: list[Offer], time: float | None) -> OutgrowError | None:
    """A refusal where even the fastest way takes longer than is allowed."""
    if time is None or taken.rank <= time:
        return None
    fastest = min(fitting, key=lambda offer: offer.rank)
    return Refused(
        f"the job takes {fastest.shown} at the fastest ({fastest}), and {show_seconds(time)} are allowed",
        where="time",
        allowed=f"{fastest.shown} or more",
        todo="Fewer passes or more lanes are faster; they are another job and give another model.",
    )
