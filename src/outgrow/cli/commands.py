"""What each command does: read, call, print. Returns the exit status."""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import BadField, BadFile, BadInput, OutgrowError, StorageError
from ..core.events import Events
from ..core.store import home
from ..plan.budget import show_bytes, show_seconds
from .progress import Progress, json_lines

if TYPE_CHECKING:
    from ..data.model import Model
    from ..data.source import Source
    from ..plan.plan import Plan

__all__ = ["check", "evaluate", "fit", "inspect", "plan", "predict", "runs"]

_NAMING_ROWS = 1 << 16
_SHARES = "the class shares (for the accuracy the most frequent class)"


def _print(data: Any, as_json: bool, text: str) -> None:
    print(json.dumps(data, default=str) if as_json else text)


def _source(options: argparse.Namespace) -> Source:
    from ..data.source import read
    from .main import pairs

    what = options.data[0] if len(options.data) == 1 else options.data
    return read(what, target=options.target, weight=options.weight, drop=options.drop, kinds=pairs("--kind", options.kind), task=options.task)


def _plan(options: argparse.Namespace) -> tuple[Source, Plan]:
    import outgrow

    from ..plan.plan import plan as make
    from .main import pairs

    source = _source(options)
    start = outgrow.load(options.start) if options.start else None
    made = make(
        options.learner, source, memory=options.memory, time=options.time, on=options.on, seed=options.seed, start=start, settings=pairs("--set", options.set),
        features=options.feature or None, complete=True,
    )  # fmt: skip
    return source, made


def plan(options: argparse.Namespace) -> int:
    from ..data.schema import describe

    source, made = _plan(options)
    _print({**made.to_json()}, options.json, f"{describe(source.schema)}\n\n{made}")
    return 2 if made.refusal is not None else 0


def _writable(path: str, *, reads: Sequence[str] = ()) -> Path | str:
    """The path or HDFS address, once it is sure that a file can be made there; nothing that is there is touched.

    reads : what the command reads, which must not be written over.
    """
    if path.startswith("hdfs://"):
        from ..data.hdfs import writable

        writable(path)
        return path
    out = Path(path)
    if out.is_dir():
        raise StorageError("this is a folder", where=path, todo="Name a file.")
    if out.exists() and any(Path(other).exists() and out.samefile(other) for other in reads):
        raise BadField("it is what the command reads", where=path, todo="Name another file to write.")
    if not out.parent.is_dir():
        raise StorageError("its folder does not exist", where=path, todo=f"Make it: mkdir -p {out.parent}.")
    probe = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        probe.write_bytes(bytes(4096))
    except OSError as error:
        raise StorageError(f"it cannot be written ({error.strerror or error})", where=path, todo="Name a place that can be written.") from None
    finally:
        with suppress(OSError):
            probe.unlink()
    return out


def fit(options: argparse.Namespace) -> int:
    out = _writable(options.out, reads=options.data)
    listeners: list[Any] = []
    if options.events:
        if "://" in options.events:
            raise StorageError("events are written to a file on this machine", where=options.events, todo="Name a local path.")
        listeners.append(json_lines(_writable(options.events, reads=[*options.data, options.out])))
    _, made = _plan(options)
    if not any("://" in word for word in options.words):  # a URL may hold credentials
        made = replace(made, command={"words": [word for word in options.words if word != "--fresh"], "folder": str(Path.cwd())})
    if not options.json:
        print(made, file=sys.stderr)
        listeners.append(Progress(expected=made.predicted.seconds))
    run = made.run(events=Events(*listeners), fresh=options.fresh)
    record = run.record
    if run.model is None:
        _print(record, options.json, "rehearsed: nothing was learned and nothing was written")
        return 0
    if not any("://" in name for name in options.data):  # a URL may hold credentials
        run.model.made["data"] = [str(Path(name).absolute()) for name in options.data]
    run.model.save(out)
    predicted = record.get("predicted") or {}
    lines = [
        f"model      {out}{'  (this job was finished before: its model is written again)' if run.again else ''}",
        f"digest     {run.digest}",
        f"time       predicted {show_seconds(predicted.get('seconds'))}, measured {show_seconds(record.get('seconds'))}",
        f"memory     predicted {show_bytes(predicted.get('peak_bytes'))}, measured {show_bytes(record.get('peak_bytes'))}"
        + (f" (and {show_bytes(record['peak_file_bytes'])} of mapped files)" if record.get("peak_file_bytes") else ""),
    ]  # fmt: skip
    _print({"model": str(out), "digest": run.digest, "again": run.again, **record}, options.json, "\n".join(lines))
    return 0


def _model(options: argparse.Namespace) -> Model:
    import outgrow

    from ..data.own import own_learner

    loaded: Model = outgrow.load(options.model, [type(own_learner(place, allowed="mypkg:MyLearner")) for place in options.learner])
    return loaded


def _read(options: argparse.Namespace) -> Any:
    return options.data[0] if len(options.data) == 1 else options.data


def _scoring(options: argparse.Namespace) -> Events:
    return Events() if options.json else Events(Progress(words=("scoring", "scored")))


def evaluate(options: argparse.Namespace) -> int:
    from ..plan.score import evaluate as score

    scores = score(
        _model(options), _read(options), weight=options.weight, exact=options.exact, scratch=options.scratch, on=options.on, memory=options.memory, events=_scoring(options)
    )  # fmt: skip
    bins, baseline = scores.get("calibration"), scores["baseline"]
    shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in scores.items() if name not in ("calibration", "baseline")}
    beside = {name: f"  (constant guess {value:.6g})" for name, value in baseline.items()}
    width, wide = max(map(len, shown)), max(len(shown[name]) for name in baseline)
    lines = [f"{name:{width}}  {f'{value:{wide}}{beside[name]}' if name in beside else value}" for name, value in shown.items()]
    lines.append(f"{'':{width}}  constant guess: {'the mean' if 'rmse' in baseline else _SHARES} of the evaluated rows themselves")
    lines += ["calibration", *_table(bins)] if bins else []
    _print(scores, options.json, "\n".join(lines))
    return 0


def predict(options: argparse.Namespace) -> int:
    return scored(_model(options), options)


def scored(model: Model, options: argparse.Namespace) -> int:
    """What the model says of the rows, into a file."""
    from ..plan.score import predict as score

    if Path(options.out).exists() and any(Path(other).exists() and Path(options.out).samefile(other) for other in [*options.data, options.model]):
        raise BadField("it is what the command reads", where=options.out, todo="Name another file to write.")
    suffix = Path(options.out).suffix
    if suffix not in ("", ".parquet", ".csv") and "://" not in options.out and not Path(options.out).is_dir():
        raise BadField(f"scores are not written as {suffix}", where=options.out, allowed=".parquet, .csv, or a folder without an extension (for parts as Parquet)")
    record = score(model, _read(options), options.out, on=options.on, memory=options.memory, events=_scoring(options))
    _print({"out": options.out, **record}, options.json, f"{record['rows']:,} rows scored into {options.out}")
    return 0


def _fields(learner: Any) -> list[str]:
    from ..core.combine import Then

    parts: tuple[Any, ...] = learner.stages if isinstance(learner, Then) else (learner,)
    return [f"{type(part).__name__}(" + ", ".join(f"{item.name}={getattr(part, item.name)!r}" for item in fields(part)) + ")" for part in parts]


def _named(model: Model, options: argparse.Namespace) -> list[tuple[str, float]]:
    """The strongest features; hashed ones by the names in --data, or else in the first rows of what the model was fitted on, where that is still there."""
    from ..plan.score import strongest

    if options.data is not None:
        return strongest(model, options.top, _read(options))
    kept = model.made.get("data")
    if isinstance(kept, list) and kept and all(isinstance(name, str) and Path(name).exists() for name in kept):
        with suppress(OutgrowError):  # not the rows they were: the slots go by number
            return strongest(model, options.top, kept[0] if len(kept) == 1 else kept, rows=_NAMING_ROWS)
    return strongest(model, options.top)


def _tables(model: Model) -> dict[str, list[dict[str, Any]]]:
    """For learners that describe columns: their tables, by name."""
    from ..core.combine import Then
    from ..core.state import under

    stages: tuple[Any, ...] = model.learner.stages if isinstance(model.learner, Then) else (model.learner,)
    tell = getattr(stages[-1], "tables", None)
    arrays = under(f"{len(stages) - 1}", model.arrays) if isinstance(model.learner, Then) else model.arrays
    found: dict[str, list[dict[str, Any]]] = tell(arrays, model.schema) if tell is not None else {}
    return found


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as aligned lines under their names."""
    cells = [list(rows[0]), *([f"{v:.6g}" if isinstance(v, float) else "-" if v is None else str(v) for v in row.values()] for row in rows)]
    wide = [max(len(line[k]) for line in cells) for k in range(len(cells[0]))]
    return ["  ".join(cell.ljust(w) if not k else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, wide, strict=True))) for line in cells]


def _plain(text: str) -> str:
    """The text without control characters: a model file is somebody else's word."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def inspect(options: argparse.Namespace) -> int:
    from ..core.job import describe as as_data
    from ..data.schema import describe, schema_to_json

    if options.top < 0:
        raise BadField(f"{options.top} is below 0", where="--top", allowed="0 or more")
    model = _model(options)
    top, made, tables = _named(model, options), model.made, _tables(model)
    data = {
        "learner": as_data(model.learner),
        "digest": model.digest,
        "schema": json.loads(schema_to_json(model.schema)),
        "made": made,
        "arrays": {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in model.arrays.items()},
        "strongest": [{"feature": name, "weight": weight} for name, weight in top],
    } | tables
    lines = [f"{'learner' if not i else '':14} {line}" for i, line in enumerate(_fields(model.learner))] + [f"{'digest':14} {model.digest}"]
    lines += [f"{name:14} {_shown(name, value)}" for name, value in made.items() if isinstance(value, (str, int, float, list))]
    lines += ["", describe(model.schema)]
    for table in tables.values():
        lines += ["", *_table(table)]
    if top:
        width = max(len(name) for name, _ in top)
        lines += ["", "strongest features", *(f"  {name:{width}}  {weight:+.5f}" for name, weight in top)]
        if any(name.startswith("slot ") and name[5:].isdigit() for name, _ in top):
            lines += ["  (slots of hashed features go by number; --data FILE reads their names back from rows)"]
    _print(data, options.json, _plain("\n".join(lines)))
    return 0


def _shown(name: str, value: Any) -> str:
    """An entry of how a model was made, for people."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, (int, float)) and name.endswith(("_seconds", "_bytes")):
        return show_seconds(value) if name.endswith("_seconds") else show_bytes(value)
    return str(value)


def runs(options: argparse.Namespace) -> int:
    from ..data.cache import clear, used_bytes
    from ..plan.kept import remove_run
    from ..plan.kept import runs as kept_runs
    from ..plan.place import pack_folder

    found, folder = kept_runs(), pack_folder(None)
    if options.resume:
        return _resume(options.resume, found)
    if options.remove:
        wanted = {item["id"] for item in found if item["status"] != "running"} if options.remove == ["all"] else set(options.remove)
        if options.remove == ["done"]:
            wanted = {item["id"] for item in found if item["status"] == "done"}
        freed = sum(remove_run(name) for name in sorted(wanted))
        cleared = clear(folder) if options.remove == ["all"] else 0
        beside = f"; {show_bytes(cleared)} of packed rows too" if cleared else ""
        _print({"removed": sorted(wanted), "bytes": freed, "packed_bytes": cleared}, options.json, f"{len(wanted)} removed, {show_bytes(freed)} freed{beside}")
        return 0
    rows = [f"{item['id']}  {item['status']:8} {show_bytes(item['bytes']):>9}  {item['changed']}  {_what(item)}" for item in found]
    total, packed = sum(item["bytes"] for item in found), used_bytes(folder)
    head = f"{len(found)} run{'s' if len(found) != 1 else ''}, {show_bytes(total)}{f', and {show_bytes(packed)} of packed rows' if packed else ''}, in {home()}"
    packed_tail = ["", "Packed rows are read instead of the files they came from; those that no run reads go with: outgrow runs --remove all"] if packed else []
    tail = ["", "A stopped run goes on when its command is run again: outgrow runs --resume RUN. Remove: outgrow runs --remove RUN … | done | all"] if rows else []
    _print({"home": str(home()), "runs": found, "packed_bytes": packed}, options.json, "\n".join([head, *rows, *tail, *packed_tail]))
    return 0


def _resume(name: str, found: Sequence[dict[str, Any]]) -> int:
    """Run the command of a kept run again, in its folder."""
    from .main import main

    item = next((item for item in found if item["id"] == name), None)
    if item is None:
        raise BadFile(f"there is no run {name!r}", where=str(home()), todo="`outgrow runs` lists them.")
    command = item.get("command")
    words, folder = (command.get("words"), command.get("folder")) if isinstance(command, dict) else (None, None)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or words[:1] != ["fit"] or not isinstance(folder, str):
        raise BadInput("its command was not kept: it was started from Python, or reads a URL", where=name, todo="Run the same program or command again: it goes on where it was.")
    if not Path(folder).is_dir():
        raise BadInput(f"its command was run in {folder}, and there is no such folder", where=name, todo="Run the same command where its files are now.")
    os.chdir(folder)
    return main(words)


def _what(item: dict[str, Any]) -> str:
    learner = item.get("learner") or {}
    stages = (learner.get("fields") or {}).get("stages") or [learner]
    return f"{stages[-1].get('type', 'unknown')} of {item.get('target') or 'no target'}"


def check(options: argparse.Namespace) -> int:
    from ..check.main import run_checks

    if any(":" in name and not name.partition(":")[2] for name in options.learners):
        raise BadField("a learner of your own is named mypkg:MyLearner", where="check")
    if any(Path(name).suffix == ".model" for name in options.learners):
        raise BadInput("`outgrow check` takes learners, not models", where="check", todo="`outgrow inspect` looks at a model.")
    return int(run_checks(options.learners, options.json))
