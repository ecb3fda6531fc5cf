"""Metrics as merged states: scikit-learn's figures from any pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as peer
from sklearn.calibration import calibration_curve

from outgrow.core.errors import BadInput
from outgrow.core.learner import Learner
from outgrow.learn.metrics import Evaluate, summary


@dataclass(frozen=True)
class Told(Learner):
    """Predicts what its model says for each position."""

    kind: str = "probability"

    def predict(self, model: Any, batch: Any) -> dict[str, Any]:
        values, classes = model["values"][batch.positions], batch.schema.classes
        if not classes:
            return {"prediction": values}
        if len(classes) == 2:
            return {"prediction": np.array(classes)[(values > (0.5 if self.kind == "probability" else 0.0)).astype(int)], self.kind: values}
        return {"prediction": np.array(classes)[values.argmax(1)]} | {f"{self.kind}_{name}": values[:, k] for k, name in enumerate(classes)}


@pytest.fixture
def scored(arrays, fitted):
    def score(values, y, *, kind="probability", classes=(), weight=None, **cuts):
        source = arrays(np.zeros((len(y), 1)), y, classes=classes, weight=weight)
        state = fitted(Evaluate(Told(kind)), source, start={"values": values}, **cuts).model
        return summary(state, source.schema.classes)

    return score


def binary(n=5000, seed=0, sharp=1.5):
    rng = np.random.default_rng(seed)
    z = sharp * rng.normal(size=n) - 1
    return 1 / (1 + np.exp(-z)), (rng.random(n) < 1 / (1 + np.exp(-z))).astype(np.int32)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sharp", [0.01, 1.5, 12.0])
def test_binary__figures_of_scikit_learn(scored, weighted, sharp):
    chance, y = binary(sharp=sharp)
    weight = np.random.default_rng(1).uniform(0, 2, len(y)) if weighted else None
    found = scored(chance, y, classes=("no", "yes"), weight=weight)
    assert found["rows"] == 5000
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(y, chance > 0.5, sample_weight=weight))
    assert found["log_loss"] == pytest.approx(peer.log_loss(y, chance, sample_weight=weight), rel=1e-9)
    assert abs(found["auc"] - peer.roc_auc_score(y, chance, sample_weight=weight)) <= found["auc_error"] + 1e-12
    assert found["auc_error"] < (0.02 if sharp < 0.1 else 1e-3)  # scores that hardly differ share bins, and it says so
    np.testing.assert_allclose(
        [[found["confusion"][a][b] for b in ("no", "yes")] for a in ("no", "yes")], peer.confusion_matrix(y, chance > 0.5, sample_weight=weight), rtol=1e-9
    )
    assert found["recall"] == pytest.approx(peer.recall_score(y, chance > 0.5, sample_weight=weight))


def test_auc__probabilities_that_differ_only_near_0_and_1__are_told_apart(scored):
    y = np.arange(2000, dtype=np.int32) % 2
    chance = np.where(y == 1, 2e-9, 1e-9)
    assert scored(chance, y, classes=(0, 1))["auc"] == 1.0
    assert scored(chance[::-1].copy(), y, classes=(0, 1))["auc"] == 0.0


def test_auc__all_scores_equal__is_a_half_and_says_it_may_be_anything(scored):
    found = scored(np.full(1000, 0.3), np.arange(1000, dtype=np.int32) % 2, classes=(0, 1))
    assert (found["auc"], found["auc_error"]) == (0.5, 0.5)


def test_binary__scores_without_bounds__give_auc_and_no_log_loss(scored):
    chance, y = binary()
    found = scored(np.log(chance / (1 - chance)), y, kind="score", classes=(0, 1))
    assert found["log_loss"] is None
    assert abs(found["auc"] - peer.roc_auc_score(y, chance)) <= found["auc_error"]
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(y, chance > 0.5))


def test_binary__one_class_alone__has_no_auc(scored):
    found = scored(np.full(100, 0.3), np.zeros(100, np.int32), classes=(0, 1))
    assert found["auc"] is None
    assert found["accuracy"] == 1.0


@pytest.mark.parametrize("weighted", [False, True])
def test_calibration__figures_of_scikit_learn(scored, weighted):
    chance, y = binary(sharp=1.5)
    chance[:7] = [0.0, 1.0, 0.1, 0.2, 0.5, 0.7, 0.9]  # on the edges of bins
    weight = np.random.default_rng(1).integers(0, 4, len(y)).astype(float) if weighted else None
    found = scored(chance, y, classes=("no", "yes"), weight=weight)
    assert found["brier_score_loss"] == pytest.approx(peer.brier_score_loss(y, chance, sample_weight=weight), rel=1e-12)
    rows = np.arange(len(y)) if weight is None else np.repeat(np.arange(len(y)), weight.astype(int))  # scikit-learn's knows no weights
    true, predicted = calibration_curve(y[rows], chance[rows], n_bins=10)
    np.testing.assert_allclose([each["prob_true"] for each in found["calibration"]], true, rtol=1e-12)
    np.testing.assert_allclose([each["prob_pred"] for each in found["calibration"]], predicted, rtol=1e-12)
    weights = np.array([each["weight"] for each in found["calibration"]])
    assert weights.sum() == len(rows)
    assert sum(each["rows"] for each in found["calibration"]) == len(y)
    assert found["expected_calibration_error"] == pytest.approx((weights * np.abs(true - predicted)).sum() / weights.sum(), rel=1e-12)


def test_calibration__chances_that_are_true_and_chances_that_are_too_sure__are_told_apart(scored):
    chance, y = binary(20_000, sharp=1.5)
    sure = chance**3 / (chance**3 + (1 - chance) ** 3)
    true, bold = (scored(values, y, classes=(0, 1)) for values in (chance, sure))
    assert true["expected_calibration_error"] < 0.02 < 0.1 < bold["expected_calibration_error"]
    assert true["brier_score_loss"] < bold["brier_score_loss"]
    assert true["accuracy"] == bold["accuracy"]


def test_calibration__of_scores_without_bounds__is_unknown(scored):
    chance, y = binary()
    found = scored(np.log(chance / (1 - chance)), y, kind="score", classes=(0, 1))
    assert (found["brier_score_loss"], found["expected_calibration_error"], found["calibration"]) == (None, None, [])


@pytest.mark.parametrize("weighted", [False, True])
def test_classes__figures_of_scikit_learn(scored, weighted):
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(4), 3000)
    y = np.array([rng.choice(4, p=p) for p in chances], np.int32)
    weight = rng.uniform(0, 2, len(y)) if weighted else None
    found = scored(chances, y, classes=("a", "b", "c", "d"), weight=weight)
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(y, chances.argmax(1), sample_weight=weight))
    assert found["log_loss"] == pytest.approx(peer.log_loss(y, chances, sample_weight=weight), rel=1e-9)
    assert sum(found["share"].values()) == pytest.approx(1.0)
    assert found["brier_score_loss"] == pytest.approx(peer.brier_score_loss(y, chances, sample_weight=weight), rel=1e-12)
    assert "auc" not in found
    true, predicted = calibration_curve(y == chances.argmax(1), chances.max(1), n_bins=10)  # how sure of what is called, and whether it came
    if not weighted:
        np.testing.assert_allclose([(each["prob_true"], each["prob_pred"]) for each in found["calibration"]], np.stack([true, predicted], 1), rtol=1e-12)


def test_certain_and_wrong__log_loss_is_large_and_finite(scored):
    found = scored(np.array([1.0, 0.0, 0.2]), np.array([0, 0, 0], np.int32), classes=(0, 1), shard_rows=1)
    assert found["log_loss"] == pytest.approx((-np.log(1e-15) - np.log(0.8)) / 3)


@pytest.mark.parametrize("far", [0.0, 1e8])
@pytest.mark.parametrize("weighted", [False, True])
def test_numbers__figures_of_scikit_learn(scored, weighted, far):
    rng = np.random.default_rng(0)
    y = rng.normal(size=3000) + far
    guess = y + 0.3 * rng.normal(size=3000)
    weight = rng.uniform(0, 2, len(y)) if weighted else None
    found = scored(guess, y, weight=weight)
    assert found["rmse"] == pytest.approx(peer.root_mean_squared_error(y, guess, sample_weight=weight))
    assert found["mae"] == pytest.approx(peer.mean_absolute_error(y, guess, sample_weight=weight))
    assert found["r2"] == pytest.approx(peer.r2_score(y, guess, sample_weight=weight), rel=1e-6)


def test_numbers__constant_target__has_no_r2(scored):
    assert scored(np.arange(9.0), np.full(9, 3.0))["r2"] is None


def test_summary__no_weight__refused(scored):
    chance, y = binary(100)
    with pytest.raises(BadInput, match="no rows with a weight"):
        scored(chance, y, classes=(0, 1), weight=np.zeros(100))


def test_counts__any_cut_of_the_rows__same_figures(scored):
    chance, y = binary()
    found = [scored(chance, y, classes=(0, 1), shard_rows=s, batch_rows=b) for s, b in [(5000, 5000), (700, 64), (1, 1)]]
    summed = ("log_loss", "brier_score_loss", "expected_calibration_error", "calibration")  # sums of fractions: equal but for rounding
    for other in found[1:]:
        assert {k: v for k, v in other.items() if k not in summed} == {k: v for k, v in found[0].items() if k not in summed}
        assert [other[name] for name in summed[:3]] == pytest.approx([found[0][name] for name in summed[:3]])
        assert [each["rows"] for each in other["calibration"]] == [each["rows"] for each in found[0]["calibration"]]


@dataclass(frozen=True)
class Called(Learner):
    """Predicts classes alone, without a probability or a score."""

    other: bool = False

    def predict(self, model: Any, batch: Any) -> dict[str, Any]:
        names = np.array(("z",) * 3 if self.other else batch.schema.classes)
        return {"prediction": names[model["values"][batch.positions]]}


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_classes_alone__accuracy_and_confusion_and_no_log_loss(arrays, fitted, names):
    rng = np.random.default_rng(0)
    truth, called = (rng.integers(0, len(names), 500) for _ in range(2))
    source = arrays(np.zeros((500, 1)), truth.astype(np.int32), classes=names)
    found = summary(fitted(Evaluate(Called()), source, start={"values": called}).model, names)
    assert found["accuracy"] == peer.accuracy_score(truth, called)
    assert found["confusion"]["a"]["b"] == ((truth == 0) & (called == 1)).sum()
    assert found["log_loss"] is None
    assert found.get("auc") is None
    with pytest.raises(BadInput, match="'z'"):
        fitted(Evaluate(Called(other=True)), source, start={"values": called})


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c")])
def test_baseline_of_classes__is_the_shares_of_the_evaluated_rows(scored, classes, weighted):
    rng = np.random.default_rng(4)
    y = rng.choice(len(classes), 900, p=(0.2, 0.8) if len(classes) == 2 else (0.5, 0.2, 0.3)).astype(np.int32)
    weight = rng.random(900) * 3 if weighted else np.ones(900)
    share = np.bincount(y, weight) / weight.sum()
    chances = rng.dirichlet(np.ones(len(classes)), 900)
    found = scored(chances[:, 1] if len(classes) == 2 else chances, y, classes=classes, weight=weight if weighted else None, shard_rows=200)["baseline"]
    constant = np.tile(share, (900, 1))
    assert found["log_loss"] == pytest.approx(peer.log_loss(y, constant, sample_weight=weight))
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(y, np.full(900, share.argmax()), sample_weight=weight))
    whole = (weight * ((constant - np.eye(len(classes))[y]) ** 2).sum(1)).sum() / weight.sum()
    assert found["brier_score_loss"] == pytest.approx(whole / 2 if len(classes) == 2 else whole)


def test_baseline_of_a_number__is_the_mean_of_the_evaluated_rows(scored):
    rng = np.random.default_rng(5)
    y, weight = rng.normal(size=500) * 3 + 100, rng.random(500)
    found = scored(np.zeros(500), y, weight=weight)
    mean = np.average(y, weights=weight)
    assert found["baseline"] == {"rmse": pytest.approx(peer.root_mean_squared_error(y, np.full(500, mean), sample_weight=weight))}


def test_baseline__has_no_losses_where_the_model_gives_no_chances(scored):
    values, y = binary()
    assert set(scored(values - 0.5, y, kind="score", classes=("no", "yes"))["baseline"]) == {"accuracy"}


def test_baseline__of_rows_of_one_class__is_certain(scored):
    found = scored(np.full(50, 0.7), np.ones(50, np.int32), classes=("no", "yes"))["baseline"]
    assert found == {"accuracy": 1.0, "log_loss": 0.0, "brier_score_loss": 0.0}
