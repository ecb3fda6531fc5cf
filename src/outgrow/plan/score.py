"""What is done with a model: score rows whose answers are known, score new rows, name what weighs most."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.combine import Then
from ..core.errors import BadField, BadInput, Refused, StorageError
from ..core.events import Events
from ..core.job import Job
from ..core.learner import Feature, Learner
from ..core.run import Result, run
from ..core.state import State, under, unpack_strings
from .budget import parse_bytes
from .calibrate import calibrated
from .cuts import cuts
from .look import Look, look
from .price import LIMITS, Pricer
from .probe import probe
from .search import search
from .where import Where, make_engine, parse_where

if TYPE_CHECKING:
    from ..data.model import Model

__all__ = ["evaluate", "predict", "slot_names", "strongest"]

_NAMED = 64  # slots named at least


def _within(job: Job, found: Look, where: Where, budget: int) -> int:
    """Most bytes of a decoded block with which the job's peak stays within the budget, by a probe of it.

    Raises Refused with the smallest budget that will do.
    """
    from .place import in_memory

    measured = probe(job if found.cuttable else replace(job, source=in_memory(job.source)), context=job.context)
    if isinstance(measured, str):
        return max(1 << 20, min(LIMITS[0], budget // (8 * max(1, where.workers))))  # the run itself says what is wrong with the rows
    machine = calibrated(job) if where.name == "processes" else None
    taken = search(Pricer(job, found, measured, machine), on=where, memory=budget, time=None)
    if taken.refusal is not None:
        refusal = taken.refusal
        todo = refusal.todo if "--on serial" in refusal.todo else "It takes what the model and a block of rows take; every --on and --memory gives the same columns."
        raise Refused(refusal.what, where=refusal.where, allowed=refusal.allowed, todo=todo)
    return taken.offer.limit


def _carry(
    learner: Learner, model: Model, source: Any, on: str | None, memory: str | int | None, events: Events | None, *, trial: Learner | None = None, beside: int = 0
) -> Result:
    """One pass over a source with the model's arrays, within the budget.

    trial : what is probed instead of the learner, which writes. beside : bytes of a worker that a probe of few rows does not see.
    """
    found = look(source)
    rule, where, budget = cuts(found), parse_where(on) or Where("serial"), parse_bytes(memory)
    budget = None if budget is None else max(1 << 20, budget - beside * max(1, where.workers))
    job = Job(learner=learner, source=source, shard_rows=rule.shard_rows, batch_rows=rule.batch_rows, start=model.arrays)
    if budget is not None:
        if where.cluster:
            source.limit = max(1 << 20, min(source.limit, budget // (8 * max(1, where.workers))))
        else:
            source.limit = min(source.limit, _within(replace(job, learner=trial or learner), found, where, budget))
    return run(job, make_engine(where), events=events)


def evaluate(
    model: Model,
    what: Any,
    *,
    weight: str | None = None,
    exact: bool = False,
    scratch: Path | str | None = None,
    on: str | None = None,
    memory: str | int | None = None,
    events: Events | None = None,
) -> dict[str, Any]:
    """How good the model is on rows whose answers are known.

    Parameters
    ----------
    model : Model
    what : path, frame, table or Source
        Must hold the target the model was fitted on.
    weight : str, optional
        The column that says how much a row counts, as scikit-learn's `sample_weight`. Default: the weight the Source was read
        with, else the column that weighed the rows the model was fitted on, where it is there.
    exact : bool
        The area under the ROC curve from the scores themselves, not from bins of them, and for more than two classes too, as the mean of each class
        against the rest (`roc_auc_score(…, multi_class="ovr")`). Costs disk, 24 bytes a distinct score (of each class), and a second, shorter pass:
        scores are written in sorted runs, then ranked, a lane a range of scores, so that memory stays bounded.
    scratch : path, optional
        An existing folder for these scores, on a cluster one that every worker sees under this path; default: the system's temporary folder.
    on, memory : str, optional
        Where and within what, as for `plan`.

    Returns
    -------
    dict
        For classes: rows, accuracy, log_loss, brier_score_loss, auc (two classes, or exact; ``auc_error`` bounds its binning, 0 where it is exact),
        precision, recall, expected_calibration_error, share, confusion, calibration. For numbers: rows, rmse, mae, r2. And ``baseline``: accuracy, log_loss and
        brier_score_loss, or rmse, of a constant guess made of the evaluated rows themselves.

    Raises
    ------
    BadInput
        The target is missing, or holds a value never seen in training.
    BadField
        `exact` for a number, `scratch` without `exact`, or `weight` for a Source, which names its own.
    Refused
        The budget is too small; the smallest that will do is named. Or a cluster is to write scores and no folder is named.
    StorageError
        Scores cannot be written to `scratch`.
    """
    from ..learn.metrics import Evaluate, summary

    _loaded(model)
    source, own, classes = *_weighed(model, what, weight), model.schema.classes
    if not model.schema.target:
        raise BadInput("the model was fitted without a target, so there is nothing to compare with", todo="`outgrow predict` gives its columns.")
    if not source.schema.target:
        raise BadInput(f"the target {model.schema.target!r} is not there", where=source.files[0].name or "the rows", todo="`outgrow predict` scores rows without answers.")
    if scratch is not None and not exact:
        raise BadField(f"{str(scratch)!r} has no effect", where="scratch", allowed="a folder for scores, with an exact AUC", todo="Add exact=True, or --exact.")
    if not exact:
        return summary(_carry(Evaluate(model.learner, weight=own), model, source, on, memory, events).arrays, classes)
    if not classes:
        raise BadField("a number has no ROC curve", where="exact", allowed="targets of classes", todo="Leave it out: rmse, mae and r2 are exact.")
    with _scratch(scratch, on) as folder:
        state, auc = _ranked(model, source, own, folder, on, memory, events)
    return summary(state, classes, auc)


def _loaded(model: Any) -> None:
    """BadField where a person names a model's file in place of the model."""
    if isinstance(model, str | Path):
        raise BadField(f"{str(model)!r} is no model", where="model", allowed="what a run gave, or og.load", todo="Load it first: og.load(path).")


def _weighed(model: Model, what: Any, weight: str | None) -> tuple[Any, str]:
    """The source as the model reads it, and the column of its weights where that is an input of the model too (else "")."""
    from ..data.source import Source

    if weight is not None and isinstance(what, Source):
        raise BadField(f"{weight!r} is named for a Source, which names its own", where="weight", todo="Name it where the rows are read: og.read(…, weight=…).")
    rows = model.opened(what, weight)
    named = rows.schema.weight
    return model.reads(rows), named if named in model.schema.names() else ""


@contextmanager
def _scratch(named: Path | str | None, on: str | None) -> Iterator[str]:
    """A fresh folder for scores, removed at the end."""
    where = parse_where(on)
    if named is None and where is not None and where.cluster and not where.master.startswith("local"):
        why = "its workers write scores for an exact AUC, and no folder is named that all of them see"
        raise Refused(why, where=str(on), todo="Name one on a disk they share: scratch=, or --scratch; or leave out --exact: the bound of the binned AUC is in auc_error.")
    if named is not None and "://" in str(named):
        raise StorageError("scores are written to local paths", where=str(named), todo="Name a folder that every worker sees under the same path.")
    if named is not None and not Path(named).expanduser().is_dir():
        raise StorageError("there is no such folder", where=str(named), todo="Make it, or name another.")
    try:
        folder = tempfile.TemporaryDirectory(prefix="outgrow-scores-", dir=None if named is None else Path(named).expanduser().absolute())
    except OSError as error:
        raise StorageError(f"it cannot be written ({error.strerror or error})", where=str(named or tempfile.gettempdir()), todo="Choose a folder that you may write to.") from None
    with folder as path:
        yield path


def _ranked(model: Model, source: Any, weight: str, folder: str, on: str | None, memory: str | int | None, events: Events | None) -> tuple[State, float | None]:
    """The merged state of the metrics, and the exact AUC: scores are written as they are counted, then ranked."""
    from ..data.scores import RUN_BYTES, ScoreRanges, ScoreSink
    from ..learn.metrics import Evaluate
    from ..learn.ranking import Rank, exact_auc

    sink, trial = ScoreSink(folder=folder), ScoreSink(folder=f"{folder}/few")
    Path(trial.folder).mkdir()
    result = _carry(Evaluate(model.learner, sink, weight), model, source, on, memory, events, trial=Evaluate(model.learner, trial, weight), beside=RUN_BYTES)
    columns = len(model.schema.classes) if len(model.schema.classes) > 2 else 1
    ranges = ScoreRanges(folder=folder, lanes=sink.lanes, classes=columns)
    if not ranges.rows:
        return result.arrays, None
    where = parse_where(on) if ranges.rows > 1 else None  # what is one range is ranked here: no worker has to start for it
    done = run(Job(learner=Rank(columns), source=ranges, shard_rows=1, batch_rows=1), make_engine(where or Where("serial")))
    return result.arrays, exact_auc(done.arrays)


def predict(
    model: Model, what: Any, out: Path | str, *, on: str | None = None, memory: str | int | None = None, events: Events | None = None
) -> dict[str, Any]:
    """Score rows into a file: one part a lane, put in place all at once.

    out : a .parquet or .csv file, or a folder for Parquet parts, which may be on HDFS. Returns the record of the run.
    Raises BadInput for columns that are missing or have changed, StorageError where `out` cannot be written, Refused for a budget that is too small.
    """
    from ..data.sink import sink_for
    from ..learn.predictions import Predict

    _loaded(model)
    sink = sink_for(str(out), token=uuid.uuid4().hex[:8])
    with tempfile.TemporaryDirectory(prefix="outgrow-") as folder:
        trial = Predict(model.learner, sink_for(f"{folder}/few.parquet", token="few"))  # noqa: S106 a name, no secret
        try:
            sink.prepare()
            result = _carry(Predict(model.learner, sink), model, model.reads(what), on, memory, events, trial=trial)
        finally:
            sink.drop()  # nothing half-written stays: the token is of this run alone
    return result.record | {"rows": int(result.arrays["rows"])}


def _encoder(model: Model) -> tuple[Any, Any, Mapping[str, Any], dict[str, Any]] | None:
    """The encoder of the model, the schema before it, its fitted arrays, and the weights after it; None where there are none."""
    if not isinstance(model.learner, Then):
        return None
    schema, stages = model.schema, model.learner.stages
    weights = under(f"{len(stages) - 1}", model.arrays)
    for i, stage in enumerate(stages):
        if not isinstance(stage, Feature):
            continue
        fitted = under(f"{i}", model.arrays)
        after = stage.schema(fitted, schema)
        if getattr(after, "design", None) is not None and ({"table", "dense"} <= weights.keys() or "roots" in weights):
            return stage, schema, fitted, weights
        schema = after
    return None


def _gained(encoder: Any, schema: Any, fitted: Mapping[str, Any], trees: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Columns by their share of what the splits of all trees gained."""
    shape = encoder.schema(fitted, schema).design
    named = unpack_strings("columns", dict(fitted)) if "columns.bytes" in fitted else [f"column {j} of the table" for j in range(shape.k)]
    names = [*shape.names, *named]
    inner = trees["child"] > 0
    gained = np.bincount(trees["column"][inner], trees["gain"][inner], len(names))
    shares = gained / max(gained.sum(), 1e-300)
    return [(names[j], float(shares[j])) for j in np.argsort(-shares, kind="stable") if shares[j] > 0]


def _strong(weights: np.ndarray[Any, Any], most: int) -> np.ndarray[Any, Any]:
    """Rows of a (slots, outs) table with the largest weight, largest first; those that weigh nothing, but for rounding, are left out."""
    size = np.abs(weights).reshape(len(weights), -1).max(1) if weights.size else np.zeros(0)
    first = np.argsort(-size, kind="stable")[:most]
    found: np.ndarray[Any, Any] = first[size[first] > 1e-12 * size.max(initial=0.0)]
    return found


def slot_names(model: Model, source: Any, *, rows: int, slots: int = _NAMED) -> dict[str, list[str]]:
    """Names of the strongest slots of a hashed model, read back from the first rows of a source; {} where nothing is hashed.

    Cost: reads and hashes `rows` rows once more.
    """
    from ..data.features.hashing import Hashing
    from ..data.features.names import hashed_names

    found = _encoder(model)
    if found is None or not isinstance(found[0], Hashing) or not isinstance(model.learner, Then):
        return {}
    encoder, _, _, weights = found
    before = [stage for stage in model.learner.stages[: model.learner.stages.index(encoder)] if isinstance(stage, Feature)]

    def batches() -> Any:
        for batch in source.read(0, min(rows, source.rows), 1 << 14):
            for i, stage in enumerate(before):
                batch = stage.apply(under(f"{i}", model.arrays), batch, False)  # noqa: PLW2901
            yield batch

    named = hashed_names(encoder, batches(), _strong(weights["table"], slots).astype(np.uint32))
    return {str(slot): names for slot, names in named.items()}


def strongest(model: Model, most: int = 12, what: Any = None, *, rows: int | None = None) -> list[tuple[str, float]]:
    """The features that weigh most, by name, with the weight of largest size over the outputs; of trees the columns, with their share of all gain.

    Hashed slots get their names from `what`, rows as the model was fitted on (the first `rows` of them, or all); a slot that none of
    them names is shown by number.
    """
    found = _encoder(model)
    if found is None:
        return []
    if "roots" in found[3]:
        return _gained(*found)[:most]
    from ..data.features.hashing import Hashing
    from ..data.features.names import dense_names

    encoder, schema, fitted, weights = found
    table, dense = weights["table"], weights["dense"]
    if isinstance(encoder, Hashing):
        known: dict[str, list[str]] = {}
        if what is not None:
            source = model.reads(what)
            known = slot_names(model, source, rows=source.rows if rows is None else rows, slots=max(most, _NAMED))
        columns = dense_names(encoder, schema)
        names = {int(slot): " or ".join(known[slot]) for slot in known}
        label: Any = lambda slot: names.get(slot, f"slot {slot}")  # noqa: E731
    else:
        every = encoder.names(fitted, schema)
        columns = every[len(table) :]
        label = every.__getitem__
    entries = [(label(int(slot)), table[slot]) for slot in _strong(table, most)] + [(columns[int(j)], dense[j]) for j in _strong(dense, most)]
    flat = [(name, float(row.reshape(-1)[np.abs(row).argmax()])) for name, row in entries]
    return sorted(flat, key=lambda item: -abs(item[1]))[:most]
