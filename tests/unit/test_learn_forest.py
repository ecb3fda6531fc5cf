"""Forests: against scikit-learn's single trees, the same from any cut, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import outgrow as og
from outgrow.core.combine import Then
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial
from outgrow.plan.score import strongest

WHOLE = og.RandomForest(trees=1, leaves=12, min_rows=5, columns=1.0, bootstrap=False)


def rows(n: int = 2000) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    x = random.integers(0, 40, (n, 5)).astype(float)
    return x, np.floor(3 * x[:, 0] - x[:, 1] * x[:, 2] / 10 + 5 * random.normal(size=n))


def columns(x: Any, **more: Any) -> dict[str, Any]:
    return {f"c{j}": x[:, j] for j in range(x.shape[1])} | more


def fitted(learner: og.RandomForest, data: Any, **options: Any) -> Any:
    return og.plan(learner, og.read(data, target="y", **options), on="serial").run().model


def test_one_tree_of_all_rows__is_that_of_scikit_learn() -> None:
    x, z = rows()
    found = fitted(WHOLE, columns(x, y=z), task="number").predict(columns(x))["prediction"].to_numpy()
    peer = DecisionTreeRegressor(max_leaf_nodes=12, min_samples_leaf=5).fit(x, z).predict(x)
    np.testing.assert_allclose(found, peer, rtol=0, atol=1e-12)
    y = np.digitize(z, [-20, 20])
    shares = fitted(WHOLE, columns(x, y=y), task="classes").predict(columns(x))
    peer = DecisionTreeClassifier(max_leaf_nodes=12, min_samples_leaf=5).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(np.stack([shares[f"probability_{k}"].to_numpy() for k in range(3)], 1), peer, rtol=0, atol=1e-12)


@pytest.mark.parametrize("extra", [False, True])
def test_digest__is_that_of_one_batch__from_any_cut_and_however_many_leaves_are_split_ahead(extra: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, z = rows(600)
    x[::7, 1] = np.nan
    data = columns(x, town=np.array([f"t{int(v) % 9}" for v in x[:, 0]]), y=np.digitize(z, [-20, 20]), w=np.arange(600) % 3.0)
    source, learner = og.read(data, target="y", weight="w", task="classes"), Then((og.OneHot(), og.RandomForest(trees=3, leaves=20, extra=extra)))

    def digest(cut: int, engine: Any) -> str:
        return str(run(Job(learner=learner, source=source, shard_rows=cut, batch_rows=cut // 2, seed=0), engine).record["digest"])

    one = digest(600, Serial())
    assert digest(200, Serial(kept_bytes=10_000)) == one  # most of what is kept is written to disk, and read again
    if not extra:
        assert digest(200, Processes(2)) == one
    monkeypatch.setattr("outgrow.learn.trees.forest._ROUND_BYTES", 1)  # a tree and a leaf at a time
    assert digest(600, Serial()) == one


def test_strongest__are_the_columns_with_their_share_of_the_gain() -> None:
    x, z = rows(500)
    found = strongest(fitted(og.RandomForest(trees=3), columns(x, y=z), task="number"))
    assert found[0][0] == "c0"
    assert sum(share for _, share in found) == pytest.approx(1)


@pytest.mark.parametrize(("data", "options", "learner", "words"), [
    ({"y": [0, 1] * 20}, {}, og.RandomForest(), "no column"),
    ({"x": np.arange(40.0), "y": np.arange(40) % 2, "w": np.zeros(40)}, {"weight": "w"}, og.RandomForest(), "weight above 0"),
    ({"x": np.arange(40.0), "y": np.r_[1e200, np.arange(39.0)]}, {"task": "number"}, og.RandomForest(), "overflow"),
    ({"x": np.arange(40.0), "y": np.arange(40.0)}, {"task": "number"}, og.RandomForest(class_weight="balanced"), "no classes to weigh"),
])  # fmt: skip
def test_rows_that_cannot_be_learned_from__are_refused_by_name(data: Any, options: Any, learner: Any, words: str) -> None:
    with pytest.raises((og.BadInput, og.BadField), match=words):
        fitted(learner, data, **options)
