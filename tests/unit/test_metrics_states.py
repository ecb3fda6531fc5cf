"""Metrics as states: cuts, empty and single rows, predictions that are no numbers; and predictions written by lanes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as peer

from outgrow.core.errors import BadInput
from outgrow.core.learner import Context, Learner
from outgrow.core.state import same
from outgrow.learn.metrics import Evaluate, Metrics, summary
from outgrow.learn.predictions import Predict, Predicted


@dataclass(frozen=True)
class Given(Learner):
    """Predicts what the rows already hold: columns of the dense block under these names."""

    names: tuple[str, ...]

    def predict(self, model: Any, batch: Any) -> dict[str, Any]:
        return {name: batch.design.dense[:, j] for j, name in enumerate(self.names)}


def batch_of(columns, target, classes=(), weight=None):
    rows, design = len(target), SimpleNamespace(dense=np.column_stack(list(columns.values())))
    schema = SimpleNamespace(classes=tuple(classes))
    return SimpleNamespace(schema=schema, design=design, target=target, weight=weight, positions=np.arange(100, 100 + rows), rows=rows, place="f.parquet")


def measured(columns, target, classes=(), weight=None, cuts=(), reverse=False):
    """The summary, rows cut at `cuts`, each part its own lane."""
    fold = Metrics(Given(tuple(columns)), {0: "number", 2: "binary"}.get(len(classes), "classes"), len(classes))
    states = []
    for a, b in itertools.pairwise([0, *sorted(cuts), len(target)]):
        state = fold.init({})
        if b > a:
            part = {name: column[a:b] for name, column in columns.items()}
            state = fold.update(state, batch_of(part, target[a:b], classes, None if weight is None else weight[a:b]), {})
        states.append(state)
    merged = fold.init({})
    for state in states[::-1] if reverse else states:
        merged = fold.merge(merged, state, {})
    return summary(merged, classes)


def test_two_classes__precision_recall_and_share__as_scikit_learn():
    rng = np.random.default_rng(0)
    chance, y, weight = rng.random(2000), rng.integers(0, 2, 2000).astype(np.int32), rng.uniform(0, 3, 2000)
    found = measured({"probability": chance}, y, ("no", "yes"), weight)
    assert found["precision"] == pytest.approx(peer.precision_score(y, chance > 0.5, sample_weight=weight))
    assert found["recall"] == pytest.approx(peer.recall_score(y, chance > 0.5, sample_weight=weight))
    assert found["share"]["yes"] == pytest.approx(np.average(y, weights=weight))


def test_two_classes__scores__decide_by_their_sign_however_small():
    y = np.array([1, 0, 1, 0], np.int32)
    found = measured({"score": np.array([1e-30, -1e-30, 1e30, -1e30])}, y, (0, 1))
    assert found["accuracy"] == 1.0
    assert found["auc"] + found["auc_error"] == 1.0


def test_many_classes__scores__have_a_confusion_and_no_log_loss():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(3000, 4))
    y = (z + rng.gumbel(size=z.shape)).argmax(1).astype(np.int32)
    y[y == 3] = 0  # a class that no row has
    found = measured({f"score_{name}": z[:, k] for k, name in enumerate("abcd")}, y, tuple("abcd"))
    assert found["log_loss"] is None
    assert found["share"]["d"] == 0.0
    table = np.array([list(row.values()) for row in found["confusion"].values()])
    np.testing.assert_allclose(table, peer.confusion_matrix(y, z.argmax(1), labels=range(4)))


def test_numbers__one_answer_in_every_row__r2_is_unknown():
    assert measured({"prediction": np.zeros(1000)}, np.full(1000, 0.1), cuts=(3, 500))["r2"] is None
    assert measured({"prediction": np.zeros(1)}, np.ones(1)) == {"rows": 1, "rmse": 1.0, "mae": 1.0, "r2": None, "baseline": {"rmse": 0.0}}


def test_one_row__figures_that_need_more_are_unknown():
    found = measured({"probability": np.array([0.8])}, np.array([1], np.int32), (0, 1))
    assert found["auc"] is None
    assert (found["rows"], found["accuracy"], found["precision"], found["recall"]) == (1, 1.0, 1.0, 1.0)
    none = measured({"probability": np.array([0.2])}, np.array([0], np.int32), (0, 1))
    assert (none["precision"], none["recall"]) == (None, None)


@pytest.mark.parametrize("classes", [(), (0, 1), ("a", "b", "c")])
def test_no_rows_or_no_weight__refused(classes):
    names = ("prediction",) if not classes else ("probability",) if len(classes) == 2 else tuple(f"probability_{name}" for name in classes)
    target = np.zeros(2, np.float64 if not classes else np.int32)
    columns = {name: np.full(2, 0.5) for name in names}
    for kept, weight in ((0, None), (2, np.zeros(2))):
        with pytest.raises(BadInput, match="no rows with a weight"):
            measured({name: column[:kept] for name, column in columns.items()}, target[:kept], classes, weight)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_no_numbers__name_the_row(value):
    guess = np.array([0.5, value, 0.5])
    for columns, classes in (({"prediction": guess}, ()), ({"probability": guess}, (0, 1)), ({"score": guess}, (0, 1)), ({f"score_{k}": guess for k in range(3)}, range(3))):
        with pytest.raises(BadInput, match=r"f.parquet: the model predicts (nan|inf) for row 101"):
            measured(columns, np.zeros(3, np.int32), tuple(classes))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("task", ["number", "binary", "classes"])
def test_merge__any_split_and_any_order__the_same_figures(task, seed):
    rng = np.random.default_rng(seed)
    cuts = [0, 1, *rng.integers(0, 501, seed), 500]  # some parts are empty, one holds a single row
    weight = rng.integers(0, 3, 500).astype(float) if seed % 3 else None
    if task == "number":
        columns, y, classes = {"prediction": rng.normal(size=500)}, rng.normal(size=500) + 50, ()
    elif task == "binary":
        columns, y, classes = {"probability": rng.random(500)}, rng.integers(0, 2, 500).astype(np.int32), (0, 1)
    else:
        columns, y, classes = {f"probability_{k}": rng.random(500) for k in range(3)}, rng.integers(0, 3, 500).astype(np.int32), (0, 1, 2)
    whole = measured(columns, y, classes, weight)
    for reverse in (False, True):
        found = measured(columns, y, classes, weight, cuts, reverse)
        assert found.keys() == whole.keys()
        for name, value in whole.items():
            if name == "calibration":
                assert [one == pytest.approx(other, rel=1e-10) for one, other in zip(found[name], value, strict=True)] == [True] * len(value)
            else:
                assert found[name] == (pytest.approx(value, rel=1e-10) if isinstance(value, float) or name == "baseline" else value), name


@pytest.mark.parametrize("task", ["number", "binary", "classes"])
def test_merge__with_an_empty_state__changes_no_bit_and_writes_into_neither(task):
    classes = {"number": (), "binary": (0, 1), "classes": (0, 1, 2)}[task]
    names = {"number": ("prediction",), "binary": ("probability",), "classes": tuple(f"probability_{k}" for k in range(3))}[task]
    rng = np.random.default_rng(0)
    fold = Metrics(Given(names), task, len(classes))
    y = rng.normal(size=9) + 1e6 if task == "number" else rng.integers(0, len(classes), 9).astype(np.int32)
    state = fold.update(fold.init({}), batch_of({name: rng.random(9) for name in names}, y, classes), {})
    for array in state.values():
        np.asarray(array).setflags(write=False)
    assert same(fold.merge(fold.init({}), state, {}), state)
    assert same(fold.merge(state, fold.init({}), {}), state)


def test_evaluate__a_whole_job__is_one_pass_with_a_price_that_holds(arrays, fitted):
    rng = np.random.default_rng(0)
    chance, y = rng.random(1500), rng.integers(0, 2, 1500)
    source, learner = arrays(chance[:, None], y, classes=("no", "yes")), Evaluate(Given(("probability",)))
    done = fitted(learner, source, start={"w": np.zeros(1)})
    assert done.record["passes"] == 1
    assert summary(done.model, ("no", "yes"))["auc"] == pytest.approx(measured({"probability": chance}, y.astype(np.int32), ("no", "yes"))["auc"])
    context = Context(schema=source.schema, rows=1500, shard_rows=700, batch_rows=256)
    assert learner.price(context).state == pytest.approx(sum(array.nbytes for array in done.model.values()), rel=1e-3)


class Box:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.parts: dict[int, list[Any]] = {}
        self.whole: Any = None

    def prepare(self) -> None:
        self.whole = None

    def part(self, lane: int) -> Any:
        from contextlib import nullcontext

        self.parts[lane] = []
        return nullcontext(SimpleNamespace(write=self.parts[lane].append))

    def commit(self, lanes: int) -> None:
        self.whole = np.concatenate([columns["prediction"] for lane in range(lanes) for columns in self.parts[lane]])


def test_predict__every_row_once_in_order__and_the_rows_counted(arrays, fitted):
    x, sink = np.arange(1500.0), Box()
    done = fitted(Predict(Given(("prediction",)), sink), arrays(x[:, None]), start={"w": np.zeros(1)})
    np.testing.assert_array_equal(sink.whole, x)
    assert done.model["rows"] == 1500
    assert done.record["passes"] == 1


def test_predicted__merge__adds_rows_in_any_order():
    fold = Predicted(Given(("prediction",)))
    a, b = {"rows": np.array(3)}, {"rows": np.array(4)}
    assert fold.merge(a, b, {})["rows"] == fold.merge(b, a, {})["rows"] == 7
