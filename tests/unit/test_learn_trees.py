"""Boosted trees: against scikit-learn's and plain definitions, the same from any cut, and what they refuse."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, mean_squared_error

import outgrow as og
from outgrow.check.replay import follow
from outgrow.core.combine import Then
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.data.batch import Design
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial
from outgrow.learn.trees.bins import _add_exactly, edges_of, encoded, slot_places, total
from outgrow.learn.trees.ranking import slopes
from outgrow.plan.score import strongest

F64 = np.ndarray[Any, np.dtype[np.float64]]


def rows(n: int, seed: int = 0, missing: float = 0.0) -> tuple[F64, F64]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 6))
    z = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + 0.5 * x[:, 3]
    x[random.random(x.shape) < missing] = np.nan
    return x, z


def columns(x: F64, **more: Any) -> dict[str, Any]:
    return {f"c{j}": x[:, j] for j in range(x.shape[1])} | more


def fitted(learner: og.GradientBoosting, data: Mapping[str, Any], **options: Any) -> Any:
    options = {"target": "y"} | options
    source = og.read(dict(data), **options)
    return og.plan(learner, source, on="serial").run().model


def scored(model: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a model predicts, as numpy arrays by column."""
    found = model.predict(dict(data))
    return {name: found[name].to_numpy() for name in found.column_names}


def digest(learner: og.GradientBoosting, source: Any, shard_rows: int, batch_rows: int, engine: Any = None, seed: int = 0) -> str:
    job = Job(learner=Then((og.OneHot(), learner)), source=source, shard_rows=shard_rows, batch_rows=batch_rows, seed=seed)
    return str(run(job, engine or Serial()).record["digest"])


# bins


@pytest.mark.parametrize("seed", range(5))
def test_edges__few_values__part_each_from_the_next(seed: int) -> None:
    values = np.random.default_rng(seed).choice([-1e300, -3.5, 0.0, 1.0, 1.0 + 2**-52, 7.0, 1e300], 200)
    edges = edges_of(values[:, None], 255)
    codes = encoded(Design(dense=values[:, None], slots=np.zeros((200, 0), np.uint32), ragged=None, width=0, names=("a",)), edges, np.zeros((0, 0), np.uint8))[::16]
    assert (codes == 1 + np.unique(values, return_inverse=True)[1]).all()


def test_edges__many_values__bins_hold_about_as_many_rows_and_a_frequent_one_has_its_own() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(size=60_000), np.zeros(30_000), np.full(5_000, np.nan)])[:, None]
    edges = edges_of(values, 64)
    codes = encoded(Design(dense=values, slots=np.zeros((len(values), 0), np.uint32), ragged=None, width=0, names=("a",)), edges, np.zeros((0, 0), np.uint8))[::16]
    counts = np.bincount(codes, minlength=64)
    assert counts[0] == 5_000
    assert set(values[codes == codes[60_000], 0]) == {0.0}
    others = np.sort(np.delete(counts, [0, codes[60_000]]))
    assert codes.max() == 63
    assert others[1] > 0.95 * 60_000 / 62  # one ends early, where the frequent value begins
    assert others[-1] < 1.05 * 60_000 / 62


def test_codes__are_one_more_than_the_edges_below() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(1000, 3))
    edges = edges_of(random.normal(size=(5000, 3)), 256)
    codes = encoded(Design(dense=x, slots=np.zeros((1000, 0), np.uint32), ragged=None, width=0, names=("a", "b", "c")), edges, np.zeros((0, 0), np.uint8)).reshape(1000, 16)
    for j in range(3):
        assert (codes[:, j] == 1 + np.searchsorted(edges[j], x[:, j])).all()


def test_places__the_most_frequent_first__the_others_share_bin_0() -> None:
    assert slot_places(np.array([[5, 0, 9, 9, 1]]), 4).tolist() == [[3, 0, 1, 2, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_total__is_the_exact_sum_rounded_once(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(size=500) * 10.0 ** random.integers(-300, 300, 500), [5e-324, -5e-324, 1e308, -1e308, 0.0, -0.0]])
    sums = np.zeros(4096, np.int64)
    _add_exactly(values, sums)
    assert total(sums) == math.fsum(values)


# quality, beside scikit-learn's trees of the same size


@pytest.mark.slow
def test_two_classes__loss_is_that_of_scikit_learn_or_less() -> None:
    (x, z), (x_new, z_new) = rows(20_000), rows(20_000, 1)
    chance = np.random.default_rng(2)
    y, y_new = (chance.random(20_000) < 1 / (1 + np.exp(-z))).astype(int), (chance.random(20_000) < 1 / (1 + np.exp(-z_new))).astype(int)
    model = fitted(og.GradientBoosting(trees=60), columns(x, y=y))
    found = scored(model, columns(x_new))
    peer = HistGradientBoostingClassifier(max_iter=60, early_stopping=False).fit(x, y).predict_proba(x_new)
    assert log_loss(y_new, found["probability"]) < 1.01 * log_loss(y_new, peer)
    assert (found["prediction"] == (found["probability"] > 0.5)).all()


@pytest.mark.slow
def test_more_classes__loss_is_that_of_scikit_learn_or_less() -> None:
    (x, z), (x_new, z_new) = rows(12_000), rows(12_000, 1)
    y, y_new = np.digitize(z, [-1, 0.5]), np.digitize(z_new, [-1, 0.5])
    learner = og.GradientBoosting(trees=30, learning_rate=0.15)  # steps are shorter by (K - 1) / K, as LightGBM's are
    model = fitted(learner, columns(x, y=np.array(["low", "mid", "top"])[y]))
    found = scored(model, columns(x_new))
    chances = np.stack([found[f"probability_{name}"] for name in ("low", "mid", "top")], 1)
    peer = HistGradientBoostingClassifier(max_iter=30, early_stopping=False).fit(x, y).predict_proba(x_new)
    assert np.allclose(chances.sum(1), 1)
    assert log_loss(y_new, chances) < 1.03 * log_loss(y_new, peer)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_numbers__error_is_that_of_scikit_learn_or_less(missing: float) -> None:
    (x, z), (x_new, z_new) = rows(20_000, 0, missing), rows(20_000, 1, missing)
    found = scored(fitted(og.GradientBoosting(trees=60), columns(x, y=1e6 + 1e3 * z), task="number"), columns(x_new))["prediction"]
    peer = HistGradientBoostingRegressor(max_iter=60, early_stopping=False).fit(x, z).predict(x_new)
    assert mean_squared_error(z_new, (found - 1e6) / 1e3) < 1.02 * mean_squared_error(z_new, peer)


@pytest.mark.slow
def test_counts__error_is_that_of_scikit_learn_or_less() -> None:
    from sklearn.metrics import mean_poisson_deviance

    (x, z), (x_new, z_new) = rows(20_000), rows(20_000, 1)
    chance = np.random.default_rng(2)
    y, y_new = chance.poisson(np.exp(z)).astype(float), chance.poisson(np.exp(z_new)).astype(float)
    found = scored(fitted(og.GradientBoosting(trees=60, loss="poisson", learning_rate=0.1 * np.exp(0.7)), columns(x, y=y), task="number"), columns(x_new))["prediction"]
    peer = HistGradientBoostingRegressor(loss="poisson", max_iter=60, early_stopping=False).fit(x, y).predict(x_new)
    assert mean_poisson_deviance(y_new, found) < 1.03 * mean_poisson_deviance(y_new, peer)


@pytest.mark.parametrize(("loss", "share"), [("absolute", 0.5), ("quantile", 0.9)])
def test_quantiles__of_a_leaf_are_those_of_its_targets(loss: Any, share: float) -> None:
    random = np.random.default_rng(0)
    x, weight = np.arange(2000.0) % 2, random.integers(0, 3, 2000).astype(float)
    y = np.where(x > 0, 1e6, -3.0) + random.standard_cauchy(2000)
    learner = og.GradientBoosting(trees=1, leaves=2, learning_rate=1.0, loss=loss, quantile=0.9)
    found = scored(fitted(learner, {"x": x, "y": y, "w": weight}, task="number", weight="w"), {"x": [0.0, 1.0]})["prediction"]
    for side in (0, 1):
        right = np.quantile(np.repeat(y[x == side], weight[x == side].astype(int)), share, method="inverted_cdf")
        assert found[side] == pytest.approx(right, rel=2.0**-24, abs=0.1 if side == 0 else 0)  # on the left 1e6 below the base score: 2^-24 of that


def test_tweedie__of_a_leaf_is_its_mean() -> None:
    random = np.random.default_rng(0)
    x = np.arange(4000.0) % 2
    y = np.where(random.random(4000) < 0.5, 0.0, random.gamma(2.0, 1 + 4 * x))
    model = fitted(og.GradientBoosting(trees=60, leaves=2, learning_rate=0.3, loss="tweedie"), {"x": x, "y": y}, task="number")
    assert scored(model, {"x": [0.0, 1.0]})["prediction"].tolist() == pytest.approx([y[x == 0].mean(), y[x == 1].mean()], rel=0.01)


def test_huber__far_values_move_a_leaf_no_more_than_its_delta() -> None:
    x = np.arange(1000.0) % 2
    y = np.where(np.arange(1000) % 10 == 2, 50.0, 0.0)  # a fifth of the even rows
    model = fitted(og.GradientBoosting(trees=200, leaves=2, loss="huber", huber_delta=1.0), {"x": x, "y": y}, task="number")
    assert scored(model, {"x": [0.0, 1.0]})["prediction"].tolist() == pytest.approx([0.25, 0.0], abs=0.02)  # 0.8 v = 0.2 · 1


def test_categories__fifty_without_order__one_split_parts_them() -> None:
    random = np.random.default_rng(0)
    town = random.integers(0, 50, 10_000)
    worth = np.where(np.isin(town, random.permutation(50)[:25]), 1.0, 0.0)
    model = fitted(og.GradientBoosting(trees=1, leaves=2, learning_rate=1.0), {"town": np.array([f"t{i}" for i in town]), "y": worth}, task="number", kinds={"town": "category"})
    found = scored(model, {"town": [f"t{i}" for i in range(50)]})["prediction"]
    right = np.array([worth[town == i][0] for i in range(50)])
    assert np.abs(found - right).max() < 0.01
    assert scored(model, {"town": ["never seen"]})["prediction"].shape == (1,)


def test_missing__takes_the_side_that_gains() -> None:
    x = np.where(np.arange(3000) % 3 == 0, np.nan, np.arange(3000.0))
    y = np.where(np.isnan(x), 5.0, np.where(x < 1000, 5.0, 0.0))
    model = fitted(og.GradientBoosting(trees=1, leaves=2, learning_rate=1.0), {"x": x, "y": y}, task="number")
    assert scored(model, {"x": [np.nan, 10.0, 2000.0]})["prediction"].tolist() == pytest.approx([5.0, 5.0, 0.0], abs=0.02)  # a bin lies across 1000


# one model, whatever the cut


LEARNERS = {
    "plain": og.GradientBoosting(trees=4, leaves=15),
    "level": og.GradientBoosting(trees=3, leaves=12, growth="level", depth=5),
    "drawn": og.GradientBoosting(trees=4, leaves=10, row_share=0.5, column_share=0.6),
    "quantile": og.GradientBoosting(trees=3, leaves=6, loss="quantile", quantile=0.8, validation=0.2),
    "tweedie": og.GradientBoosting(trees=3, leaves=6, loss="tweedie", row_share=0.7, validation=0.2),
    "held": og.GradientBoosting(trees=12, leaves=15, learning_rate=0.9, min_rows=2, validation=0.3, patience=2),
}


def source_of(kind: str, n: int = 3000) -> Any:
    x, z = rows(n, missing=0.1)
    data = columns(x, town=np.array([f"t{int(v) % 17}" for v in 40 * np.abs(z)]), w=np.random.default_rng(3).integers(0, 3, n).astype(float))
    counts = np.floor(np.abs(z))
    targets: dict[str, tuple[Any, str | None]] = {"two": (z > 0, None), "counts": (counts, "number"), "three": (np.digitize(z, [-1, 0.5]), "classes")}
    targets["number"] = z, "number"
    y, task = targets[kind]
    return og.read(data | {"y": y}, target="y", weight="w", task=task)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [
    ("plain", "number"), ("plain", "three"), ("level", "two"), ("drawn", "three"), ("held", "two"), ("held", "number"), ("quantile", "number"), ("tweedie", "counts"),
])  # fmt: skip
def test_digest__is_that_of_one_batch__from_any_cut_and_on_processes(name: str, kind: str) -> None:
    source, learner = source_of(kind), LEARNERS[name]
    one = digest(learner, source, 3000, 3000)
    assert digest(learner, source, 997, 331) == one
    assert digest(learner, source, 997, 331, Processes(3)) == one
    assert digest(learner, source, 997, 331, Serial(kept_bytes=100_000)) == one  # most of what is kept is written to disk, and read again
    assert digest(learner, source, 3000, 3000, seed=1) != one


def test_kept__rebuilt_and_at_workers_that_miss_rounds__gives_the_same_trees() -> None:
    for learner, source in (
        (og.GradientBoosting(trees=2, leaves=4, loss="quantile", quantile=0.8), source_of("number", 200)),
        (og.GradientBoosting(trees=2, leaves=4, loss="tweedie", row_share=0.7), source_of("counts", 200)),
        (og.GradientBoosting(trees=2, leaves=4, loss="lambdarank", group="q"), og.read(ranked(200), target="y", task="number")),
    ):
        job = Job(learner=Then((og.OneHot(), learner)), source=source, shard_rows=50, batch_rows=32)
        models = [follow(job, workers=workers).model for workers in (1, 0, 2)]
        for model in models[1:]:
            assert model.keys() == models[0].keys()
            assert all(np.array_equal(model[name], models[0][name]) for name in model), learner.loss


@pytest.mark.slow
def test_trees__do_not_depend_on_how_many_leaves_are_asked_for_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    source, learner = source_of("three"), LEARNERS["plain"]
    found = digest(learner, source, 2048, 512)
    monkeypatch.setattr("outgrow.learn.trees.boosting._AHEAD", 1)
    assert digest(learner, source, 2048, 512) == found


def test_digest__small__is_that_of_one_batch_from_another_cut() -> None:
    source, learner = source_of("two", 900), og.GradientBoosting(trees=2, leaves=5)
    assert digest(learner, source, 200, 70) == digest(learner, source, 900, 900)


# settings


def trees_of(model: Any) -> tuple[Any, list[int]]:
    arrays = {name.partition("/")[2]: array for name, array in model.arrays.items()}
    ends = [*arrays["roots"].tolist(), len(arrays["value"])]
    return arrays, ends


def test_settings__bound_the_trees() -> None:
    x, z = rows(5000)
    arrays, ends = trees_of(fitted(og.GradientBoosting(trees=7, leaves=9, min_rows=200, depth=3), columns(x, y=z), task="number"))
    assert len(ends) == 8
    for first, end in pairwise(ends):
        child, counted = arrays["child"][first:end], arrays["node_rows"][first:end]
        assert (child == 0).sum() <= min(9, 2**3)
        assert counted[child == 0].min() >= 200
        assert counted[child == 0].sum() == counted[0] == 5000
        for node in np.flatnonzero(child):
            left = child[node] - first
            assert counted[left] + counted[left + 1] == counted[node]


def test_weights__two_are_as_good_as_standing_twice_in_the_first_tree() -> None:
    x, z = rows(3000)
    weight = np.random.default_rng(0).integers(1, 3, 3000)
    twice = np.repeat(np.arange(3000), weight)
    learner = og.GradientBoosting(trees=1, leaves=8, min_rows=1, min_hessian=30.0, learning_rate=1.0)
    one = scored(fitted(learner, columns(x, y=z, w=weight.astype(float)), task="number", weight="w"), columns(x))["prediction"]
    two = scored(fitted(learner, columns(x[twice], y=z[twice]), task="number"), columns(x))["prediction"]
    assert np.corrcoef(one, two)[0, 1] > 0.97  # bins are those of other samples


@pytest.mark.slow
def test_class_weight__shifts_the_chances() -> None:
    x, z = rows(4000)
    data = columns(x, y=z > 1.5)
    plain, even = (scored(fitted(og.GradientBoosting(trees=10, class_weight=w), data), columns(x))["probability"].mean() for w in (None, "balanced"))
    assert plain < 0.2 < even


@pytest.mark.slow
def test_validation__keeps_the_trees_up_to_the_best() -> None:
    x, z = rows(3000)
    y = (np.random.default_rng(0).random(3000) < 1 / (1 + np.exp(-z))).astype(int)
    _, ends = trees_of(fitted(og.GradientBoosting(trees=200, learning_rate=0.3, validation=0.3, patience=5), columns(x, y=y)))
    assert 3 < len(ends) - 1 < 100


def test_validation__of_large_numbers__is_not_cut_short() -> None:
    x, z = rows(1500)
    _, ends = trees_of(fitted(og.GradientBoosting(trees=25, leaves=8, validation=0.3, patience=3), columns(x, y=1e6 * z), task="number"))
    assert len(ends) - 1 == 25


def test_monotone__predictions_never_turn_along_a_bound_column_and_trees_are_the_same_from_another_cut() -> None:
    x, z = rows(2000, missing=0.05)
    y = 2 * np.sin(3 * x[:, 0]) - np.where(np.isnan(x[:, 3]), 0, x[:, 3]) + np.nan_to_num(z)
    data = columns(x, town=np.array(["a", "b", "c"])[np.arange(2000) % 3], y=np.nan_to_num(y))
    learner = og.GradientBoosting(trees=8, leaves=12, learning_rate=0.5, monotone={"c0": 1, "c3": -1})
    source = og.read(data, target="y", task="number")
    model = og.plan(learner, source, on="serial").run().model
    base = {name: np.tile(column[:40], 61) for name, column in data.items() if name != "y"}
    for column, sign in (("c0", 1), ("c3", -1)):
        scan = scored(model, base | {column: np.repeat(np.linspace(-3, 3, 61), 40)})["prediction"].reshape(61, 40)
        steps = sign * np.diff(scan, axis=0)
        assert steps.min() >= 0
        assert steps.max() > 0
    assert digest(learner, source, 300, 128) == digest(learner, source, 2000, 2000)
    assert og.GradientBoosting(monotone="c0:1, c3:-1").monotone == learner.monotone


# ranking


def ranked(n: int = 500) -> dict[str, Any]:
    """Rows in groups of 1 to 24, whose numbers do not ascend."""
    random = np.random.default_rng(5)
    x, z = rows(n, 5)
    group = np.repeat(np.arange(n), random.integers(1, 25, n))[:n]
    return columns(x, q=group * 7 % 1009, y=np.digitize(z + 2 * random.normal(size=n)[group], [-1, 0.5, 2]).astype(float))


def plain_lambdas(score: F64, label: F64) -> F64:
    """LambdaRank of one group, pair by pair: gradients and hessians."""
    found, total, n = np.zeros((2, len(score))), 0.0, len(score)
    rank = np.argsort(np.argsort(-score, kind="stable"))
    gain, share = 2**label - 1, 1 / np.log2(2 + np.arange(n))
    best = (np.sort(gain)[::-1] * share)[:30].sum()
    for a in range(n):
        for b in range(n):
            if label[a] > label[b] and min(rank[a], rank[b]) < 30:
                ahead = score[a] - score[b]
                worth = (gain[a] - gain[b]) * abs(share[rank[a]] - share[rank[b]]) / best / (0.01 + abs(ahead) if np.ptp(score) else 1)
                wrong = 1 / (1 + np.exp(ahead))
                found[0, [a, b]] += worth * wrong * np.array([-1, 1])
                found[1, [a, b]] += worth * wrong * (1 - wrong)
                total += 2 * worth * wrong
    return found * np.log2(1 + total) / total if total else found


def test_ranking__gradients_are_those_of_pairs_one_by_one() -> None:
    random = np.random.default_rng(0)
    sizes = [1, 7, 45, 5, 3, 2]
    ids, n = np.repeat([4.0, 2.0, 9.0, 8.0, 1.0, 3.0], sizes), sum(sizes)
    score, label, weight = random.normal(size=n), random.integers(0, 5, n).astype(float), random.random(n)
    counts = (random.random(n) < 0.8).astype(np.uint8)
    score[53:58], label[58:61] = 0.5, 0.0  # a group of equal scores, one of equal labels
    found, right = slopes(ids, score, label, weight, counts), np.zeros((2, n))
    for group in np.unique(ids):
        own = np.flatnonzero((ids == group) & (counts > 0))
        right[:, own] = plain_lambdas(score[own], label[own]) * weight[own]
    np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-15)


def test_ranking__groups_across_batches_give_the_same_trees_and_the_order_is_learned() -> None:
    from sklearn.metrics import ndcg_score

    data, learner = ranked(), og.GradientBoosting(loss="lambdarank", group="q", trees=4, leaves=6, column_share=0.9)
    source = og.read(data, target="y", task="number")
    one = digest(learner, source, 500, 500)
    assert digest(learner, source, 90, 7) == one
    assert digest(learner, source, 200, 64, Serial(kept_bytes=20_000)) == one
    model = og.plan(learner, source, on="serial").run().model
    assert model is not None
    assert list(data).index("q") not in model.arrays["1/column"][model.arrays["1/child"] > 0]
    found = scored(model, data | {"q": np.zeros(500)})["prediction"]
    groups = [np.flatnonzero(data["q"] == q) for q in np.unique(data["q"])]
    groups = [own for own in groups if len(own) > 4 and data["y"][own].any()]
    mean, flat = (np.mean([ndcg_score([data["y"][own]], [by[own]]) for own in groups]) for by in (found, np.zeros(500)))
    assert mean > flat + 0.1


@pytest.mark.parametrize(("data", "words"), [
    ({"q": np.arange(40) // 10 % 3}, "rows of group 0 do not stand together: it begins anew at row 30"),
    ({"q": np.r_[np.nan, np.zeros(39)]}, "row 0 belongs to no group"),
    ({"y": np.arange(40.0)}, "target of row 32 is 32.0"),
    ({"y": np.r_[np.zeros(39), 0.5]}, "target of row 39 is 0.5"),
    ({"q": ["a"] * 40}, "no column of numbers 'q'"),
    ({"x": np.arange(12e3), "q": np.zeros(12_000), "y": np.arange(12e3) % 2}, "group 0 has 12,000 rows"),
])  # fmt: skip
def test_ranking__what_cannot_be_ranked__is_refused_by_name(data: Any, words: str) -> None:
    whole = {"x": np.arange(40.0), "q": np.arange(40) // 10, "y": np.arange(40.0) % 4} | data
    with pytest.raises((og.BadInput, og.BadField), match=words):
        fitted(og.GradientBoosting(loss="lambdarank", group="q", trees=2), whole, task="number")


def test_ranking__fields_that_do_not_go_together__are_refused() -> None:
    with pytest.raises(og.BadField, match="rows held out would be missing from their groups"):
        og.GradientBoosting(loss="lambdarank", group="q", validation=0.1)
    for fields in ({"group": "q"}, {"loss": "lambdarank"}):
        with pytest.raises(og.BadField, match="does not go with loss"):
            fitted(og.GradientBoosting(**fields), ranked(50), task="number")


def test_penalty__l1_beyond_all_gradients__leaves_no_split() -> None:
    x, z = rows(500)
    _, ends = trees_of(fitted(og.GradientBoosting(trees=5, l1=1e9), columns(x, y=z), task="number"))
    assert len(ends) == 1


def test_strongest__are_the_columns_with_their_share_of_the_gain() -> None:
    x, z = rows(2000)
    model = fitted(og.GradientBoosting(trees=3), columns(x, town=np.array(["a", "b"])[(z > 0).astype(int)], y=z), task="number")
    found = strongest(model)
    assert found[0][0] == "town"
    assert sum(share for _, share in found) == pytest.approx(1)


# what is refused


@pytest.mark.parametrize(("data", "options", "learner", "words"), [
    ({"y": [0, 1] * 20}, {}, og.GradientBoosting(), "no column"),
    ({"x": np.arange(40.0), "y": np.arange(40) % 3}, {"task": "classes"}, og.GradientBoosting(loss="logistic"), "3 classes"),
    ({"x": np.arange(40.0), "y": np.arange(40) % 2}, {}, og.GradientBoosting(loss="squared"), "has classes"),
    ({"x": np.arange(40.0), "y": np.arange(40.0) - 5}, {"task": "number"}, og.GradientBoosting(loss="poisson"), "0 or more"),
    ({"x": np.arange(40.0), "y": np.arange(40.0) - 5}, {"task": "number"}, og.GradientBoosting(loss="tweedie"), "0 or more"),
    ({"x": np.arange(40.0), "y": np.arange(40) % 2}, {}, og.GradientBoosting(loss="quantile"), "has classes"),
    ({"x": np.arange(40.0), "y": np.arange(40) % 2}, {}, og.GradientBoosting(monotone={"z": 1}), "no column 'z'"),
    ({"x": np.arange(40.0), "c": ["a", "b"] * 20, "y": np.arange(40) % 2}, {}, og.GradientBoosting(monotone={"c": 1}), "'c' is no column of numbers"),
    ({"x": np.arange(40.0), "y": np.arange(40) % 3}, {"task": "classes"}, og.GradientBoosting(monotone={"x": 1}), "'softmax' nothing can be held"),
    ({"x": np.r_[np.inf, np.arange(39.0)], "y": np.arange(40) % 2}, {}, og.GradientBoosting(), "row 0, column 'x': the value is inf"),
    ({"x": np.arange(40.0), "y": np.arange(40) % 2, "w": np.zeros(40)}, {"weight": "w"}, og.GradientBoosting(), "weight above 0"),
    ({"x": np.arange(40.0), "y": np.r_[1e200, np.arange(39.0)]}, {"task": "number"}, og.GradientBoosting(), "overflow"),
    ({"x": np.arange(40.0), "y": np.arange(40) % 2}, {}, og.GradientBoosting(validation=0.01), "leaves no row"),
    ({"t": [f"some words {i} of text" for i in range(40)], "y": np.arange(40) % 2}, {"kinds": {"t": "text"}}, og.GradientBoosting(), "is a text"),
])  # fmt: skip
def test_rows_that_cannot_be_learned_from__are_refused_by_name(data: Any, options: Any, learner: Any, words: str) -> None:
    with pytest.raises((og.BadInput, og.BadField), match=words):
        fitted(learner, data, **options)


def test_a_column_without_values__is_never_split() -> None:
    model = fitted(og.GradientBoosting(trees=2), {"empty": np.full(400, np.nan), "x": np.arange(400.0), "y": np.arange(400.0) % 7}, task="number", kinds={"empty": "number"})
    arrays, _ = trees_of(model)
    assert set(arrays["column"][arrays["child"] > 0]) == {1}


@pytest.mark.slow
def test_trees__from_code_compiled_for_an_older_processor__are_the_same(tmp_path: Path) -> None:
    """SSE2 in place of whatever this processor has."""
    script = (
        "import numpy as np, outgrow as og; r = np.random.default_rng(5); x = r.normal(size=(3000, 5));"
        "rows = {f'c{j}': x[:, j] for j in range(5)} | {'k': np.where(r.random(3000) < 0.5, 'a', 'b'), 'y': r.poisson(np.exp(x[:, 0] * x[:, 1] / 2))};"
        "rows = og.read(rows, target='y', task='number');"
        "print(og.plan(og.GradientBoosting(trees=5, loss='poisson'), rows, on='serial').run().record['digest'])"
    )
    digests = {
        subprocess.run([sys.executable, "-c", script], env=os.environ | processor, check=True, capture_output=True, text=True, timeout=300).stdout
        for processor in ({}, {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "", "OUTGROW_HOME": str(tmp_path)})
    }
    assert len(digests) == 1
