"""Slips of a first hour in Python: each is told what the call takes, never a traceback from within."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.core.errors import BadField, BadInput


def frame() -> pd.DataFrame:
    r = np.random.default_rng(0)
    x = r.normal(size=300)
    return pd.DataFrame({0: x, 1: x + r.normal(size=300) > 0, 2: r.integers(0, 3, 300)})


@pytest.fixture(scope="module")
def model() -> Any:
    return og.plan(og.OnlineLinear(), og.read(frame(), target=1), probe=False).run().model


@pytest.mark.parametrize("rows", [frame(), pa.table({"y": [1, 2]}), "rows.csv", Path("rows.csv"), np.zeros((3, 2)), None], ids=lambda rows: type(rows).__name__)
def test_plan__of_rows_that_were_not_read__says_to_read_them(rows: Any) -> None:
    named = "'rows.csv'" if isinstance(rows, str) else type(rows).__name__
    with pytest.raises(BadField) as refused:
        og.plan(og.OnlineLinear(), rows)
    assert str(refused.value) == f"source: {named} is no source; allowed: what og.read gives. Read the rows first: og.read(…, target=…)."


def test_model__compares_by_identity_and_by_digest(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "a.model")
    loaded = og.load(tmp_path / "a.model")
    same = model
    assert same == model
    assert loaded != model
    assert loaded.digest == model.digest
    assert len({model, loaded}) == 2


def test_evaluate_and_predict__of_a_models_path__say_to_load_it(tmp_path: Path) -> None:
    for call in (lambda: og.evaluate("a.model", frame()), lambda: og.predict("a.model", frame(), tmp_path / "out.csv")):
        with pytest.raises(BadField, match=r"model: 'a\.model' is no model; .* Load it first: og\.load\(path\)\."):
            call()


def test_read__a_frame_whose_labels_are_numbers__takes_them_as_names() -> None:
    source = og.read(frame(), target=1, weight=np.int64(2))
    assert (source.schema.target, source.schema.weight, source.schema.names()) == ("1", "2", ("0",))
    assert og.read(frame(), target=1, drop=[2], kinds={0: "category"}).schema["0"].kind == "category"
    assert og.read({0: np.arange(4.0), 1: np.arange(4)}, target=1).schema.target == "1"
    with pytest.raises(BadInput, match="there is no column '7' for the target; allowed: 0, 1, 2"):
        og.read(frame(), target=7)


@pytest.mark.parametrize("rows", [frame(), np.zeros((300, 2))], ids=["frame", "matrix"])
@pytest.mark.parametrize(("value", "text"), [(1.5, "is 1.5"), (True, "is True"), (np.array(1), r"is array\(1\)"), (np.zeros((300, 2)), r"has the shape \(300, 2\)")])
def test_read__a_target_or_weight_that_is_neither_name_nor_column__is_said(rows: Any, value: Any, text: str) -> None:
    for role in ("target", "weight"):
        with pytest.raises(BadInput, match=f"the {role} {text}; allowed: a column's name, or one value a row"):
            og.read(rows, **{role: value})


PARTS = [
    ([og.OnlineLinear(), og.NaiveBayes()], "a part is of type OnlineLinear, which is no pair of a name and a learner"),
    (og.OnlineLinear(), "what is named is of type OnlineLinear, no pairs"),
    (("line", og.OnlineLinear()), "a part is 'line', which is no pair of a name and a learner"),
    ((("line", "ab"),), "the part 'line' is 'ab', which is no learner"),
    (("ab", "cd"), "a part is 'ab', which is no pair of a name and a learner"),
    (((1, og.OnlineLinear()),), "a part is named 1"),
]


@pytest.mark.parametrize(("parts", "text"), PARTS, ids=[text for _, text in PARTS])
@pytest.mark.parametrize("kind", [og.Stack, og.Beside, og.Fused])
def test_parts__that_are_no_pairs__are_told_what_they_are(kind: Any, parts: Any, text: str) -> None:
    with pytest.raises(BadField) as refused:
        kind(parts)
    assert str(refused.value) == f'parts: {text}; allowed: pairs of a name and a learner, as (("line", LogisticRegression()), ("bayes", NaiveBayes())).'


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        (og.OnlineLinear(), "what is named is of type OnlineLinear, no sequence of stages"),
        ((og.OneHot(), "logistic-regression"), "a stage is 'logistic-regression', which is no learner"),
        ((("line", og.OnlineLinear()),), "a stage is of type tuple, which is no learner"),
    ],
)
def test_then__of_what_is_no_learner__says_so(stages: Any, text: str) -> None:
    with pytest.raises(BadField) as refused:
        og.Then(stages)
    assert str(refused.value) == f"stages: {text}; allowed: features and learners, as (OneHot(), LogisticRegression())."
