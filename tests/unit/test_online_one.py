"""One example at a time: the bits of a fit on a file, and refusals."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.core.combine import Then
from outgrow.core.errors import BadField, BadInput
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.core.state import digest, prefixed
from outgrow.data.features import Hashing
from outgrow.engines.serial import Serial
from outgrow.learn.online_linear import OnlineLinear
from outgrow.learn.online_one import Online, columns

N = 400


def examples(kind):
    rng = np.random.default_rng(0)
    rows = [
        {
            "a": None if rng.random() < 0.2 else float(rng.normal() * 100),
            "c": None if rng.random() < 0.1 else f"v{rng.integers(9)}",
            "b": float(rng.normal()),
            "d": str(rng.integers(3)),
        }
        for _ in range(N)
    ]
    score = [row["b"] + (row["c"] == "v1") - (row["d"] == "2") for row in rows]
    if kind == "number":
        return rows, [float(s) for s in score]
    cuts = [0.0] if kind == "binary" else [-0.5, 0.5]
    return rows, ["low" if s < cuts[0] else "high" if s >= cuts[-1] else "mid" for s in score]


@pytest.mark.parametrize("kind", ["binary", "classes", "number"])
@pytest.mark.parametrize("fields", [{}, {"update": "ftrl", "learning_rate": 0.1, "l1": 0.1}, {"l2": 0.01}])
@pytest.mark.slow
def test_one_by_one__beside_a_fit_on_a_table__gives_the_same_bits(kind, fields):
    rows, y = examples(kind)
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]} | {"y": y})
    source = og.read(table, target="y", kinds={"d": "category"})
    learner, features = OnlineLinear(lanes=1, scale_target=False, **fields), Hashing(bits=8)
    result = run(Job(learner=Then((features, learner)), source=source, shard_rows=N, batch_rows=128), Serial())
    online = Online(learner, source.schema, features)
    for row, target in zip(rows, y, strict=True):
        online.learn_one(row, target)
    model = online.model()
    assert model.digest == digest(result.arrays)
    assert digest(model.resume) == digest(result.resume)
    told = model.predict(table).to_pylist()
    assert [online.predict_one(row) for row in rows[:50]] == told[:50]


def test_going_on__from_a_saved_model__is_as_if_it_never_stopped(tmp_path):
    rows, y = examples("binary")
    schema = columns(numbers=["a", "b"], categories=["c", "d"], classes=["low", "high"])
    whole, first = Online(OnlineLinear(), schema, Hashing(bits=8)), Online(OnlineLinear(), schema, Hashing(bits=8))
    for row, target in zip(rows, y, strict=True):
        whole.learn_one(row, target, 0.5)
    for row, target in zip(rows[:150], y[:150], strict=True):
        first.learn_one(row, target, 0.5)
    first.model().save(tmp_path / "half.model")
    second = Online(OnlineLinear(), schema, Hashing(bits=8), start=og.load(tmp_path / "half.model"))
    for row, target in zip(rows[150:], y[150:], strict=True):
        second.learn_one(row, target, 0.5)
    assert second.model().digest == whole.model().digest
    assert 0 < whole.progressive_loss < np.log(2)


def test_class_weight__one_by_one__is_the_row_weight():
    rows, y = examples("binary")
    schema = columns(numbers=["a", "b"], categories=["c", "d"], classes=["low", "high"])
    named, by_hand = Online(OnlineLinear(class_weight={"high": 3.0}), schema), Online(OnlineLinear(), schema)
    for row, target in zip(rows, y, strict=True):
        named.learn_one(row, target)
        by_hand.learn_one(row, target, 3.0 if target == "high" else 1.0)
    assert named.model().digest == by_hand.model().digest


@pytest.mark.parametrize(
    ("row", "target", "weight", "said"),
    [
        ({"a": float("inf")}, "low", 1.0, "column 'a' is inf"),
        ({"c": 3}, "low", 1.0, "3 in column 'c' is no text"),
        ({}, "middle", 1.0, "the target is 'middle'; allowed: 'high', 'low'"),
        ({}, "low", -1.0, "weight -1.0"),
    ],
)
def test_example__that_cannot_be_learned__is_refused(row, target, weight, said):
    online = Online(OnlineLinear(), columns(numbers=["a"], categories=["c"], classes=["low", "high"]))
    with pytest.raises(BadInput, match=said):
        online.learn_one(row, target, weight)
    assert online.predict_one({"a": 1.0})["probability"] == 0.5


@pytest.mark.parametrize(("learner", "features"), [(OnlineLinear(passes=2), Hashing()), (OnlineLinear(), Hashing(signed=True)), (OnlineLinear(), Hashing(interactions=("c:d",)))])
def test_setting__that_one_by_one_cannot_follow__is_refused(learner, features):
    with pytest.raises(BadField, match=r"features|learner"):
        Online(learner, columns(categories=["c", "d"], classes=[0, 1]), features)


def test_start__of_another_width__is_refused():
    schema = columns(numbers=["a"], classes=[0, 1])
    model = Online(OnlineLinear(), schema, Hashing(bits=8)).model()
    assert set(model.arrays) == set(prefixed("1", {"table": 0, "dense": 0, "missing": 0, "intercept": 0}))
    with pytest.raises(BadInput, match="'table'"):
        Online(OnlineLinear(), schema, Hashing(bits=9), start=model)
