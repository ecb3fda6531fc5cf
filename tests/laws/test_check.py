"""The suite itself: what it takes, what it says, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import own_learner
import planted
import pytest

import outgrow as og
from outgrow.check.check import LAWS, check
from outgrow.check.data import table
from outgrow.check.main import run_checks
from outgrow.core.errors import BadField, BadInput

ROOT = Path(__file__).parents[2]


def test_check__own_learner_of_the_examples__holds_every_law() -> None:
    report = check(own_learner.Poisson())
    assert report.ok, str(report)
    assert [record.law for record in report.records] == list(LAWS)


def test_check__is_short_to_write() -> None:
    lines = (ROOT / "examples" / "own_learner.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert len(code) <= 70


def test_check__called_as_a_function_twice__is_the_function_both_times() -> None:
    for _ in range(2):
        assert og.check(planted.Sound(), only=["same_twice"]).ok


def test_check__every_law_says_which_mistake_it_catches() -> None:
    for law in LAWS.values():
        assert "catches" in (law.__doc__ or ""), law.__name__


def test_check__unknown_law__is_refused_by_name() -> None:
    with pytest.raises(BadField, match="there is no law 'gravity'"):
        check(planted.Sound(), only=["gravity"])


def test_check__class_instead_of_instance__says_so() -> None:
    with pytest.raises(BadField, match="Give an instance, not the class"):
        check(planted.Sound)  # type: ignore[arg-type]


def test_check__learner_that_accepts_nothing__says_every_reason() -> None:
    class Picky(planted.Sound):
        def begin(self, context: Any, start: Any = None) -> Any:
            raise BadInput("not these rows")

    with pytest.raises(BadInput, match="on mixed, target number: BadInput: not these rows"):
        check(Picky())


def test_check__checks_attribute_that_is_no_task__is_refused() -> None:
    class Odd(planted.Sound):
        checks: ClassVar[str] = "guess"

    with pytest.raises(BadInput, match="binary, classes, number, none"):
        check(Odd())


def test_check__rows_of_ones_own__are_used() -> None:
    rng = np.random.default_rng(1)
    source = og.read({"p": rng.normal(size=220), "q": rng.normal(size=220), "t": rng.normal(size=220)}, target="t")
    report = check(planted.Sound(), source, only=["any_split_any_order", "any_layout"])
    assert report.ok
    assert {record.rows for record in report.records} == {"the rows given"}


def test_table__more_rows__begin_with_the_same_ones() -> None:
    for kind in ("all", "mixed", "numbers"):
        assert table(kind, "classes", 3, 40).equals(table(kind, "classes", 3, 90).slice(0, 40))  # type: ignore[arg-type]


def test_check__learner_no_other_process_can_import__says_so() -> None:
    class Local(planted.Sound):
        pass

    report = check(Local(), only=["any_engine"])
    assert report.records[0].status == "not applicable"
    assert "cannot import" in report.records[0].said


def test_report__prints_one_line_a_law_and_reads_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrow.check.main.check", lambda learner: check(learner, only=["same_twice", "any_cut"]))
    assert run_checks(["planted:Sound"]) == 0
    out = capsys.readouterr().out
    assert "  ok     same twice" in out
    assert "  --     any cut                           no fold says it is order_free" in out
    assert run_checks(["planted:RemembersRuns"], json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert found["reports"][0]["records"][1]["status"] == "failed" or found["reports"][0]["records"][0]["status"] == "failed"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "no learner .nobody.; allowed: moments.*mypkg:MyLearner"),
        ("planted:Nobody", "there is no 'Nobody' in planted; allowed: .*Sound"),
        ("planted:FOLDS", "FOLDS is tuple"),
        ("no_such_module:X", "does not import"),
        ("missing/file.py:X", "no such file"),
    ],
)
def test_run_checks__name_without_a_learner__says_what_is_allowed(name: str, said: str) -> None:
    with pytest.raises((BadField, BadInput), match=said):
        run_checks([name])


def test_command__own_file__prints_the_laws() -> None:
    done = subprocess.run([sys.executable, "-m", "outgrow", "check", "examples/own_learner.py:Poisson"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     any engine" in done.stdout
    assert "0 are broken, over 1 learners" in done.stdout


def test_docs__every_law_is_told() -> None:
    text = (ROOT / "docs" / "laws.md").read_text()
    assert [law for law in LAWS if f"| `{law}` |" not in text] == []
