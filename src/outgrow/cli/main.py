"""`outgrow`: parse, call, print. Heavy libraries load only inside the command that needs them."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType

from ..core.errors import BadField, OutgrowError

__all__ = ["main", "pairs", "parser"]

_EXAMPLES = """\
examples:
  outgrow plan flights.parquet --target late --memory 1GB
  outgrow fit  flights.parquet --target late --on processes:2 --out late.model
  outgrow evaluate late.model holdout.parquet
  outgrow predict  late.model new.parquet --out scores.parquet

The same job gives the same model, bit for bit, with any --on and --memory.
Stop a fit whenever you like: the same command goes on where it was."""


def _data_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("data")
    group.add_argument("data", nargs="+", metavar="DATA", help="files, folders, globs or URLs (Parquet, CSV, .csv.gz, Arrow, JSON lines, svmlight)")
    group.add_argument("--target", metavar="COLUMN", help="what to learn; without one, clusters are sought")
    group.add_argument("--weight", metavar="COLUMN", help="how much each row counts")
    group.add_argument("--drop", action="append", default=[], metavar="COLUMN", help="leave a column out (repeat for more)")
    group.add_argument("--kind", action="append", default=[], metavar="COLUMN=KIND", help="number, category, text or date, if the look erred")
    group.add_argument("--task", choices=("binary", "classes", "number"), help="what the target asks for, where the look got it wrong")


def _job_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("learning (these change the model)")
    group.add_argument("--learner", metavar="NAME", help="as online-linear, logistic-regression, k-means, or yours as mypkg:MyLearner; chosen when left out")
    group.add_argument("--feature", action="append", default=[], metavar="NAME", help="as tf-idf (repeat); what else is needed is added")
    group.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a hyper-parameter of the learner or of its features (repeat for more)")
    group.add_argument("--seed", type=int, default=0, help="for splits and starts (default 0)")
    group.add_argument("--start", metavar="MODEL", help="go on from this model")


def _run_options(command: argparse.ArgumentParser, *, time: bool = True) -> None:
    group = command.add_argument_group("running (these never change the model)")
    group.add_argument("--on", metavar="ENGINE", help="serial, processes:N, spark://HOST:PORT, yarn or hadoop")
    group.add_argument("--memory", metavar="SIZE", help="for all processes together, as 1GB or 512MiB")
    if time:
        group.add_argument("--time", metavar="TIME", help="as 90s or 10min; refused when it cannot be met")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="outgrow", description="Machine learning that outgrows one machine.", epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="store_true", help="print the version and end")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        return command

    plan = add("plan", "look at the data and say what would be done, why, and what it would cost")
    fit = add("fit", "plan, learn, and write the model")
    for command in (plan, fit):
        _data_options(command)
        _job_options(command)
        _run_options(command)
    fit.add_argument("--out", metavar="FILE", required=True, help="where the model goes")
    fit.add_argument("--fresh", action="store_true", help="forget what an earlier run of the same job left")
    fit.add_argument("--events", metavar="FILE", help="append the event stream here as JSON lines")

    evaluate = add("evaluate", "score rows whose answers are known")
    predict = add("predict", "score new rows")
    explain = add("explain", "say of each row what each column adds to its score (SHAP values of boosted trees)")
    for command in (evaluate, predict, explain):
        command.add_argument("model", metavar="MODEL")
        command.add_argument("data", nargs="+", metavar="DATA")
        _own_options(command)
        _run_options(command, time=False)
    evaluate.add_argument("--weight", metavar="COLUMN", help="how much each row counts (default: as in the fit)")
    evaluate.add_argument("--exact", action="store_true", help="the AUC from the scores themselves; of more classes, of each against the rest")
    evaluate.add_argument("--scratch", metavar="FOLDER", help="where --exact may keep scores; on a cluster, seen by every worker")
    for command in (predict, explain):
        command.add_argument("--out", metavar="FILE", required=True, help="a .parquet or .csv file, or a folder for parts")

    inspect = add("inspect", "say what a model is, how it was made, and which features weigh most")
    inspect.add_argument("model", metavar="MODEL")
    _own_options(inspect)
    inspect.add_argument("--top", type=int, default=12, help="how many features (default 12)")
    inspect.add_argument("--data", nargs="+", metavar="DATA", help="read hashed features back by name from these rows")

    export = add("export", "write boosted trees as a model of LightGBM or XGBoost, or as ONNX")
    export.add_argument("model", metavar="MODEL")
    export.add_argument("out", metavar="FILE")
    _own_options(export)
    export.add_argument("--to", choices=("lightgbm", "xgboost", "onnx"), required=True, help="LightGBM's text, XGBoost's JSON, or ONNX")
    taken = add("import", "make a model of a file of LightGBM (text) or XGBoost (JSON)")
    taken.add_argument("file", metavar="FILE")
    taken.add_argument("--out", metavar="FILE", required=True, help="where the model goes")
    taken.add_argument("--target", metavar="COLUMN", default="target", help="what the target is called (default: target)")

    runs = add("runs", "list what is kept of earlier runs, resume or remove it")
    runs.add_argument("--resume", metavar="RUN", help="go on with a stopped run: its command is run again, where it was run")
    runs.add_argument("--remove", nargs="+", metavar="RUN", help="runs to remove, or 'done', or 'all', with packed rows")
    check = add("check", "hold a learner against the laws, on this machine")
    check.add_argument("learners", nargs="*", metavar="LEARNER", help="names, or mypkg:MyLearner (default: all of outgrow's)")
    return top


def _own_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--learner", action="append", default=[], metavar="mypkg:MyLearner", help="your own learner, where the model is one of it (repeat for more)")


def pairs(option: str, items: Sequence[str]) -> dict[str, str]:
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or (not name and option != "--kind"):  # a column may have no name
            raise BadField(f"{item!r} has no '='", where=option, allowed="NAME=VALUE")
        found[name] = value
    return found


def _on_term(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for input that cannot be used, 130 after Ctrl-C)."""
    top = parser()
    options = top.parse_args(argv)
    options.words = list(sys.argv[1:] if argv is None else argv)
    if options.version:
        from .. import __version__

        print(f"outgrow {__version__}")
        return 0
    if options.command is None:
        top.print_help()
        return 2
    from . import commands, trees

    def warn(message: Warning | str, *_: object) -> None:
        print(f"outgrow {options.command}: {message}", file=sys.stderr)

    before = signal.signal(signal.SIGTERM, _on_term)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn  # type: ignore[assignment]
            own = {"explain": trees.explain, "export": trees.export, "import": trees.import_model}
            status = int(own[options.command](options) if options.command in own else getattr(commands, options.command)(options))
        sys.stdout.flush()
    except OutgrowError as error:
        if getattr(options, "json", False):
            print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        print(f"outgrow {options.command}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"outgrow {options.command}: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains when it flushes
        return 0
    finally:
        if before is not None:  # None: a handler that was not set from Python
            signal.signal(signal.SIGTERM, before)
    return status


if __name__ == "__main__":
    sys.exit(main())
