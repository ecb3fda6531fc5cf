"""What the command line offers: its options, its help, its progress."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
from typing import Any

import pytest

from outgrow.cli.main import main, pairs, parser
from outgrow.cli.progress import Progress
from outgrow.core.errors import BadField

OPTIONS = {
    "": {"--help", "--version"},
    "plan": {
        "--drop", "--feature", "--help", "--json", "--kind", "--learner", "--memory", "--on", "--seed", "--set", "--start", "--target", "--task", "--time", "--weight", "data",
    },
    "fit": {
        "--drop", "--events", "--feature", "--fresh", "--help", "--json", "--kind", "--learner", "--memory", "--on", "--out", "--seed", "--set", "--start", "--target", "--task",
        "--time", "--weight", "data",
    },
    "evaluate": {"--exact", "--help", "--json", "--learner", "--memory", "--on", "--scratch", "--weight", "data", "model"},
    "predict": {"--help", "--json", "--learner", "--memory", "--on", "--out", "data", "model"},
    "inspect": {"--data", "--help", "--json", "--learner", "--top", "model"},
    "explain": {"--help", "--json", "--learner", "--memory", "--on", "--out", "data", "model"},
    "export": {"--help", "--json", "--learner", "--to", "model", "out"},
    "import": {"--help", "--json", "--out", "--target", "file"},
    "runs": {"--help", "--json", "--remove", "--resume"},
    "check": {"--help", "--json", "learners"},
}  # fmt: skip


def commands() -> dict[str, argparse.ArgumentParser]:
    top = parser()
    found: Any = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return {"": top, **found.choices}


def test_options__are_this_set__a_change_is_a_decision():
    found = {
        name: {max(action.option_strings, key=len, default=action.dest) for action in command._actions if not isinstance(action, argparse._SubParsersAction)}
        for name, command in commands().items()
    }
    assert found == OPTIONS


@pytest.mark.parametrize("name", OPTIONS)
def test_help__fits_a_screen_of_40_lines_and_80_columns(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*([name] if name else []), "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


def test_help__names_every_command_and_is_shown_where_none_is_given(capsys):
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert all(name in shown for name in OPTIONS)


def test_version__is_the_packages(capsys):
    import outgrow

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"outgrow {outgrow.__version__}\n"


def test_help__loads_no_heavy_library():
    code = "import sys, outgrow.cli.main as m; m.parser().format_help(); print([n for n in ('numpy', 'pyarrow', 'numba', 'scipy', 'sklearn', 'pandas') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_pairs__name_and_value_at_the_first_equals_sign():
    assert pairs("--set", ["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for bad in ("a", "=1", ""):
        with pytest.raises(BadField, match=r"--set: .* has no '='"):
            pairs("--set", [bad])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


EVENTS: list[dict[str, Any]] = [
    {"kind": "packing", "rows": 10_000},
    {"kind": "packed", "rows": 10_000, "seconds": 0.5},
    {"kind": "begin", "engine": "processes", "workers": 2, "rows": 10_000},
    {"kind": "resumed", "turn": 1, "nodes": 3, "partials": 1},
    {"kind": "round", "turn": 1, "rows": 10_000},
    {"kind": "tick", "worker": 0, "rows": 4000},
    {"kind": "tick", "worker": 1, "rows": 1000},
    {"kind": "lost", "worker": 1, "pid": 77, "why": "killed by signal 9", "lanes": [4, 6]},
    {"kind": "saved", "turn": 1, "bytes": 5, "seconds": 0.1},
    {"kind": "told", "turn": 2, "facts": {"loss": 0.25, "gradient": 1e-5, "more": 1.0}},
    {"kind": "end", "rows": 10_000, "train_seconds": 2.0, "rounds": 1, "peak_bytes": 123_000_000},
]


def shown(stream: io.StringIO, **options: Any) -> str:
    listen = Progress(stream, **options)
    for event in EVENTS:
        if event["kind"] == "tick":
            listen.round_began = time.monotonic() - 2.0
        listen(event)
    return stream.getvalue()


def test_progress__without_a_terminal__plain_lines():
    lines = shown(io.StringIO(), every=0.0).splitlines()
    assert not any("\r" in line or "\x1b" in line for line in lines)
    assert lines[0] == "packing 10,000 rows, so that they are parsed once"
    assert lines[2] == "learning from 10,000 rows on processes:2"
    assert lines[3] == "going on from a saved run: round 2, 3 nodes and 1 lanes under way"
    assert any(line.startswith("round 2 ·  50% ·") and "slowest: worker 1 at" in line for line in lines)
    assert "worker 1 (process 77) was lost, killed by signal 9; its lanes 4 to 5 are folded again" in lines
    assert any("loss 0.25 · gradient 1e-05" in line for line in lines)
    assert lines[-1] == "learned in 2.0 s (1 round, 5,000 rows/s), peak memory 123 MB"


def test_progress__without_a_terminal__is_silent_between_lines():
    assert len(shown(io.StringIO(), every=60.0).splitlines()) == 6


def test_progress__on_a_terminal__one_bar_drawn_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = shown(Terminal(), every=0.0)
    bars = [part for part in text.split("\r\x1b[2K") if part.startswith(("█", "░"))]
    assert len(bars) == 3
    assert bars[1].startswith("█" * 10 + "░" * 10 + " round 2 ·  50%")
    assert all(len(bar) < 60 and "\n" not in bar for bar in bars)
    assert text.endswith("peak memory 123 MB\n")


def test_progress__what_is_left__of_the_run_where_it_is_predicted_else_of_the_round():
    lines = [line for line in shown(io.StringIO(), every=0.0).splitlines() if line.startswith("round 2 ·  50%")]
    assert lines
    assert all("left in this round" in line for line in lines)
    assert "about 2 h" in shown(io.StringIO(), every=0.0, expected=8000.0)
    assert "left in this round" in shown(io.StringIO(), every=0.0, expected=0.0)


def test_progress__its_words__are_those_of_the_work():
    text = shown(io.StringIO(), words=("scoring", "scored"))
    assert "scoring 10,000 rows" in text
    assert "scored in 2.0 s" in text
    assert "learn" not in text
