"""Which learner and which features, where a person names none: from the target and the columns alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest

from outgrow.core.combine import Then
from outgrow.core.errors import BadField, Refused
from outgrow.core.learner import Feature, Learner
from outgrow.data.batch import Field, Schema
from outgrow.data.features import Hashing, OneHot
from outgrow.data.source import read
from outgrow.learn.kmeans import KMeans
from outgrow.learn.online_linear import OnlineLinear
from outgrow.learn.summary import Summary
from outgrow.plan.choose import choose
from outgrow.plan.plan import plan
from outgrow.plan.width import narrowed


def schema(task: Literal["", "binary", "classes", "number"], *, numbers: int = 4, distinct: tuple[int, ...] = (), text: bool = False, dates: bool = False) -> Schema:
    fields = [Field(name=f"n{j}", kind="number") for j in range(numbers)]
    fields += [Field(name=f"c{j}", kind="category", distinct=count) for j, count in enumerate(distinct)]
    fields += [Field(name="words", kind="text")] * text + [Field(name="when", kind="date")] * dates
    values: tuple[Any, ...] = {"binary": (0, 1), "classes": ("a", "b", "c")}.get(task, ())
    fields += [Field(name="y", kind="number" if task == "number" else "category", values=values)] * bool(task)
    return Schema(fields=tuple(fields), target="y" if task else "", task=task, sampled=1000)


def picked(made: Schema, rows: int = 100_000, learner: Any = None, features: Any = None, complete: bool = False) -> Any:
    kinds = [(kind, 1) for kind in ("text", "sparse") if made.names(kind)]
    found: Any = SimpleNamespace(task=made.task, classes=len(made.classes), rows=rows, kinds=kinds)
    return choose(learner, found, made, features, complete=complete)


def stages(chosen: Any) -> list[str]:
    return [type(stage).__name__ for stage in chosen.learner.stages]


@pytest.mark.parametrize(
    ("made", "rows", "name", "why"),
    [
        (schema(""), 1000, "KMeans", "no target"),
        (schema("number"), 1000, "LinearRegression", "number"),
        (schema("number"), 50_000_000, "LinearRegression", "one pass"),
        (schema("number", distinct=(5000,)), 1000, "OnlineLinear", "5004"),
        (schema("binary"), 1000, "LogisticRegression", "2 classes"),
        (schema("classes", distinct=(20,)), 1000, "LogisticRegression", "3 classes"),
        (schema("binary"), 3_000_000, "OnlineLinear", "3,000,000 rows"),
        (schema("binary", distinct=(900, 900)), 1000, "OnlineLinear", "1804"),
        (schema("binary", text=True), 1000, "OnlineLinear", "text"),
    ],
)
def test_the_learner__follows_from_the_target_and_says_why(made: Schema, rows: int, name: str, why: str) -> None:
    chosen = picked(made, rows)
    assert stages(chosen)[-1] == name
    assert any(why in reason.why for reason in chosen.reasons)


def test_features__are_one_hot_for_few_values_and_hashed_for_many() -> None:
    assert stages(picked(schema("binary", distinct=(10,)))) == ["Scale", "Missing", "OneHot", "LogisticRegression"]
    assert stages(picked(schema("binary", distinct=(20_000,)), learner="logistic-regression")) == ["Scale", "Missing", "Hashing", "LogisticRegression"]
    assert stages(picked(schema("binary", dates=True), learner="online-linear")) == ["Dates", "Hashing", "OnlineLinear"]
    assert stages(picked(schema("", distinct=(3,)), learner="moments")) == ["OneHot", "Moments"]
    assert picked(schema("", distinct=(3,)), learner="summary").learner == Summary()  # columns as they are


def test_a_named_learner__is_taken_and_only_its_features_are_chosen() -> None:
    chosen = picked(schema("binary"), learner=OnlineLinear(passes=2))
    assert chosen.learner.stages[-1] == OnlineLinear(passes=2)
    assert [reason.choice for reason in chosen.reasons] == ["Hashing"]


def test_features__by_their_names_on_the_command_line__are_those_features() -> None:
    chosen = picked(schema("binary", text=True), learner=OnlineLinear(), features=["missing", "tf-idf", Hashing(bits=3)])
    assert stages(chosen) == ["Missing", "TfIdf", "Hashing", "OnlineLinear"]
    with pytest.raises(BadField, match=r"there is no feature 'word2vec'; allowed: dates, hashing, .*tf-idf"):
        picked(schema("binary"), learner=OnlineLinear(), features=["word2vec"])


def test_named_features__are_taken_as_they_are() -> None:
    chosen = picked(schema("binary"), learner=OnlineLinear(), features=[Hashing(bits=10)])
    assert chosen.learner == Then((Hashing(bits=10), OnlineLinear()))
    assert not chosen.reasons


@pytest.mark.parametrize(
    ("learner", "features", "whole"),
    [
        (None, ["target-encode"], ["Dates", "TargetEncode", "Scale", "Missing", "OneHot", "LogisticRegression"]),
        ("online-linear", ["target-encode"], ["Dates", "TargetEncode", "Hashing", "OnlineLinear"]),
        ("logistic-regression", ["robust-scale"], ["Dates", "RobustScale", "Missing", "Hashing", "LogisticRegression"]),
        ("logistic-regression", ["missing", "target-encode"], ["Dates", "Missing", "TargetEncode", "Scale", "OneHot", "LogisticRegression"]),
        ("naive-bayes", ["dates"], ["Dates", "Missing", "Hashing", "NaiveBayes"]),
        ("logistic-regression", ["scale", "hashing"], ["Dates", "Scale", "Missing", "Hashing", "LogisticRegression"]),  # the sample lacks values
        ("online-linear", ["scale", "hashing"], ["Dates", "Scale", "Hashing", "OnlineLinear"]),  # which takes rows with gaps
    ],
)
def test_features__of_the_command_line__are_completed_by_what_the_columns_need(learner: Any, features: list[str], whole: list[str]) -> None:
    made = schema("binary", distinct=(20_000,), dates=True)
    made = made.replace([replace(item, missing=7) if item.name == "n0" else item for item in made.fields])
    chosen = picked(made, learner=learner, features=features, complete=True)
    assert stages(chosen) == whole
    told = chosen.reasons[-1]
    assert told.choice == " → ".join(whole[:-1])
    assert "added to what was named" in told.why
    exact = picked(made, learner=learner, features=features)
    assert len(stages(exact)) == len(features) + 1
    assert not any("added" in reason.why for reason in exact.reasons)


def test_features__of_the_command_line__that_lack_nothing_or_are_ones_own__are_taken_as_they_are() -> None:
    made = schema("binary", distinct=(20,))
    assert stages(picked(made, learner="logistic-regression", features=["one-hot"], complete=True)) == ["OneHot", "LogisticRegression"]
    assert stages(picked(made, learner="logistic-regression", features=[Mine()], complete=True)) == ["Mine", "LogisticRegression"]
    assert stages(picked(made, learner="summary", features=["scale"], complete=True)) == ["Scale", "Summary"]


@dataclass(frozen=True)
class Mine(Feature):
    """A feature of a person's own, which may well encode."""


@dataclass(frozen=True)
class Own(Learner):
    """A learner of a person's own."""


def test_a_learner_of_ones_own_and_a_then__are_taken_as_they_are() -> None:
    assert picked(schema("binary"), learner=Own()).learner == Own()
    whole = Then((OneHot(), OnlineLinear()))
    assert picked(schema("binary"), learner=whole).learner is whole


@pytest.mark.parametrize(
    ("learner", "features", "said"),
    [
        ("magic", None, "online-linear"),
        (3, None, "3 is no learner"),
        (OnlineLinear(), [OnlineLinear()], "is no feature"),
        (Then((OneHot(), OnlineLinear())), [OneHot()], "has its features already"),
    ],
)
def test_what_is_no_learner_or_feature__is_refused_by_name(learner: Any, features: Any, said: str) -> None:
    with pytest.raises(BadField, match=said):
        picked(schema("binary"), learner=learner, features=features)


def test_an_encoder_that_outgrow_chose__keeps_to_what_the_learner_takes() -> None:
    wide, most = schema("", distinct=(3000, 3000)), KMeans().widest(None)
    whole, reasons = narrowed(picked(wide).learner, wide)
    assert isinstance(whole, Then)
    assert whole.stages[-2] == OneHot(max_slots=most - 4 - 1)  # type: ignore[operator]
    assert "KMeans takes up to 4096 columns" in reasons[0].why
    words = schema("", text=True)
    hashed, told = narrowed(picked(words).learner, words)
    assert isinstance(hashed, Then)
    assert hashed.stages[-2] == Hashing(bits=11)
    assert told[0].choice == "11 hash bits"
    free = picked(schema("binary", distinct=(9000,)), learner="logistic-regression").learner
    assert narrowed(free, wide) == (free, ())


def test_one_hot__max_slots__keeps_the_most_frequent_of_all_columns_and_changes_nothing_that_fits() -> None:
    rng = np.random.default_rng(3)
    data = {name: [f"{name}{int(v)}" for v in rng.geometric(0.25, 2000).clip(0, 13)] for name in ("a", "b")}
    rows = read(data, kinds={"a": "category", "b": "category"})

    def fitted(encoder: OneHot) -> dict[str, Any]:
        return plan(encoder, rows, features=(), on="serial", probe=False).run().model.arrays  # type: ignore[union-attr]

    every = fitted(OneHot())
    total = int(every["starts"][-1])
    same = fitted(OneHot(max_slots=total))
    assert all(np.array_equal(same[name], every[name]) for name in every)
    room = total - 9
    less = fitted(OneHot(max_slots=room))
    assert int(less["starts"][-1]) + int(less["other"].sum()) + int(less["missing"].sum()) <= room
    raw, ends = less["values.bytes"].tobytes(), less["values.offsets"]
    kept = {raw[i:j].decode() for i, j in pairwise(ends)}
    counts = Counter(value for column in data.values() for value in column)
    assert min(counts[value] for value in kept) >= max(counts[value] for value in counts if value not in kept)


@pytest.mark.parametrize("learner", ["k-means", "naive-bayes", "linear-regression"])
def test_a_job_too_wide_for_its_learner__is_refused_by_the_plan_or_narrowed_where_outgrow_chose(learner: str, tmp_path: Path) -> None:
    n = 4200
    target = {"k-means": None, "naive-bayes": "y", "linear-regression": "z"}[learner]
    data = {"town": [f"t{i}" for i in range(n)], "x": [float(i % 13) for i in range(n)], "y": [i % 2 > 0 for i in range(n)], "z": [i * 0.37 for i in range(n)]}
    rows = read({name: data[name] for name in ("town", "x", *([target] if target else []))}, target=target, kinds={"town": "category"})
    settings = {"max_rounds": "1", "rounds": "1"} if learner == "k-means" else {}
    own = plan(learner, rows, on="serial", probe=False, settings=settings, root=tmp_path)
    assert own.refusal is None
    assert own.run().model is not None
    named = plan(learner, rows, features=["missing", "one-hot"], on="serial", probe=False, settings=settings, root=tmp_path)
    assert "up to" in str(named.refusal)
    with pytest.raises(Refused, match="up to"):
        named.run()
