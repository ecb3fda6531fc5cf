"""The learner in the docstring of `Learner`, which a newcomer copies, holds every law."""

import doctest
import sys
from pathlib import Path

import pytest

import outgrow as og


def test_docstring__its_learner_holds_every_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = doctest.DocTestParser().get_examples(og.Learner.__doc__ or "")
    lines = ["from dataclasses import dataclass", "import numpy as np", *(item.source for item in examples if not item.want and "og.read" not in item.source)]
    (tmp_path / "copied_ridge.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    import copied_ridge  # type: ignore[import-not-found]

    report = og.check(copied_ridge.Ridge())
    sys.modules.pop("copied_ridge")
    assert report.ok, str(report)
    assert sum(record.status == "ok" for record in report.records) >= 20
