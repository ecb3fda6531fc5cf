"""Estimators of scikit-learn with partial_fit as chains: the same numbers as by hand, exact resume, clear refusals."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch, MiniBatchKMeans
from sklearn.decomposition import IncrementalPCA
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import outgrow as og
from outgrow.core.errors import BadField, BadFile, BadInput, Refused
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.core.store import RunStore
from outgrow.data.model import build
from outgrow.engines.serial import Serial
from outgrow.learn.registry import resolver
from outgrow.sklearn import SklearnChain

RNG = np.random.default_rng(5)
X = np.abs(RNG.normal(size=(700, 4)))
LABELS = np.where(X[:, 0] > X[:, 1], "yes", "no")
NUMBER = X @ np.arange(4.0) + 0.1 * RNG.normal(size=700)
CASES: dict[str, tuple[Any, Any]] = {
    "sgd": (SGDClassifier(random_state=3, loss="log_loss"), LABELS),
    "sgd, averaged": (SGDClassifier(random_state=3, average=100), LABELS),
    "sgd, numbers": (SGDRegressor(random_state=3), NUMBER),
    "perceptron": (Perceptron(random_state=3), LABELS),
    "gaussian": (GaussianNB(), LABELS),
    "multinomial": (MultinomialNB(), LABELS),
    "mini-batch k-means": (MiniBatchKMeans(n_clusters=3, random_state=3, batch_size=64, n_init=1), None),
    "incremental pca": (IncrementalPCA(n_components=2), None),
    "scaler": (StandardScaler(), None),
}


def chained(estimator: Any, y: Any, engine: Any = None, store: RunStore | None = None, **fields: Any) -> Any:
    source = og.read(X, target=y)
    learner = og.Then((og.OneHot(), SklearnChain(estimator=estimator, **fields)))
    job = Job(learner=learner, source=source, shard_rows=200, batch_rows=100)
    return og.Model(learner, source.schema, run(job, engine or Serial(), store=store).arrays)


def by_hand(estimator: Any, y: Any) -> Any:
    """One object kept alive over the same batches."""
    from sklearn.base import clone

    estimator, numbers = clone(estimator), None if y is None else (y == "yes").astype(int) if y is LABELS else y
    options = {"classes": [0, 1]} if y is LABELS else {}
    for start in range(0, 700, 100):
        estimator.partial_fit(X[start : start + 100], None if numbers is None else numbers[start : start + 100], **options)
    return estimator


@pytest.mark.parametrize("name", CASES)
def test_chain__gives_the_numbers_of_one_object_fed_by_hand(name: str) -> None:
    estimator, y = CASES[name]
    model, peer = chained(estimator, y), by_hand(estimator, y)
    found = model.arrays
    compared = 0
    for key, value in vars(peer).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found[f"1/array/{key}"], value, err_msg=key)
            compared += 1
    assert compared >= 2
    columns = model.predict(X)
    if hasattr(peer, "predict"):
        wanted = peer.predict(X)
        got = columns["cluster" if "cluster" in columns.column_names else "prediction"].to_numpy()
        np.testing.assert_array_equal(got, np.array(["no", "yes"])[wanted] if y is LABELS else wanted)
    else:
        np.testing.assert_allclose(np.column_stack([c.to_numpy() for c in columns.columns]), peer.transform(X), rtol=0, atol=1e-13)  # 700 rows at once or not


def test_chain__probabilities_or_scores_come_with_classes() -> None:
    model = chained(CASES["sgd"][0], LABELS)
    np.testing.assert_array_equal(model.predict(X)["probability"].to_numpy(), by_hand(*CASES["sgd"]).predict_proba(X)[:, 1])
    three = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [0.4, 1.0])]
    columns = chained(SGDClassifier(random_state=0), three).predict(X)
    assert {"score_a", "score_b", "score_c"} < set(columns.column_names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini-batch k-means"])
def test_chain__two_processes_and_a_resume_after_every_round_give_one_digest(name: str, tmp_path: Path) -> None:
    from outgrow.engines.processes import Processes

    estimator, y = CASES[name]
    first = chained(estimator, y, passes=3)
    assert chained(estimator, y, Processes(2), passes=3).digest == first.digest

    class Stop(Serial):
        """Ends as by Ctrl-C when the second round begins."""

        rounds = 0

        def fold(self, *arguments: Any) -> Any:
            self.rounds += 1
            if self.rounds == 2:
                raise KeyboardInterrupt
            return super().fold(*arguments)

    with RunStore("chain", tmp_path) as store, pytest.raises(og.OutgrowError, match="stopped in round 2"):
        chained(estimator, y, Stop(), store, passes=3)
    with RunStore("chain", tmp_path) as store:
        assert store.load() is not None
        assert chained(estimator, y, store=store, passes=3).digest == first.digest


def test_chain__goes_on_from_a_model_as_one_object_would() -> None:
    half = og.Then((og.OneHot(), SklearnChain(estimator=SGDRegressor(random_state=0))))

    def learn(rows: slice, start: Any = None) -> Any:
        source = og.read(X[rows], target=NUMBER[rows], task="number")
        return run(Job(learner=half, source=source, shard_rows=100, batch_rows=100, start=start), Serial()).arrays

    whole, first = learn(slice(0, 600)), learn(slice(0, 300))
    second = learn(slice(300, 600), first)
    for name, array in whole.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


def test_chain__a_model_file_is_read_back_without_pickle(tmp_path: Path) -> None:
    model = chained(CASES["sgd"][0], LABELS)
    model.save(tmp_path / "m")
    again = og.load(tmp_path / "m")
    assert again.digest == model.digest
    assert again.predict(X).equals(model.predict(X))
    assert b"pickle" not in (tmp_path / "m").read_bytes()


def test_chain__takes_hashed_and_one_hot_rows() -> None:
    table = {"town": np.where(X[:, 0] > X[:, 1], "Bern", "Rome"), "x": X[:, 2], "y": LABELS}
    for encoder in (og.OneHot(), og.Hashing(bits=8)):
        source = og.read(table, target="y")
        model = og.plan(SklearnChain(estimator=SGDClassifier(random_state=0)), source, features=[encoder], on="serial", probe=False).run().model
        assert model is not None
        assert (model.predict(table)["prediction"].to_numpy(zero_copy_only=False) == LABELS).mean() > 0.99


def test_chain__weights_reach_the_estimator() -> None:
    weight = np.where(LABELS == "yes", 3.0, 1.0)
    learner = og.Then((og.OneHot(), SklearnChain(estimator=GaussianNB())))
    source = og.read(X, target=LABELS, weight=weight)
    found = run(Job(learner=learner, source=source, shard_rows=700, batch_rows=700), Serial()).arrays
    np.testing.assert_allclose(found["1/array/theta_"], GaussianNB().fit(X, LABELS, weight).theta_)


def test_chain__no_random_state__follows_the_seed_of_the_job() -> None:
    learner, source = og.Then((og.OneHot(), SklearnChain(estimator=SGDClassifier()))), og.read(X, target=LABELS)
    digests = [run(Job(learner=learner, source=source, shard_rows=700, batch_rows=100, seed=seed), Serial()).record["digest"] for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("estimator", "y", "error", "text"),
    [
        (Birch(), None, Refused, "Birch keeps a _CFNode in '"),
        (MLPClassifier(hidden_layer_sizes=2), LABELS, BadField, None),
        (SGDClassifier(class_weight={"yes": 2.0}), LABELS, BadField, "class_weight is a dict"),
        (SGDClassifier(), NUMBER, BadInput, "SGDClassifier learns classes"),
        (SGDRegressor(), LABELS, BadInput, "SGDRegressor learns numbers"),
        (MultinomialNB(alpha=-1.0), LABELS, BadInput, "The 'alpha' parameter of MultinomialNB"),
    ],
    ids=["birch", "net", "class weights", "classes", "numbers", "parameter"],
)
def test_chain__refuses_what_it_cannot_carry(estimator: Any, y: Any, error: type, text: str | None) -> None:
    if text is None:
        error, text = Refused, "MLPClassifier keeps a LabelBinarizer"
    with pytest.raises(error, match=text):
        chained(estimator, y)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"estimator": "os:system"}, "no estimator with partial_fit"),
        ({"estimator": "nowhere.at_all:Thing"}, "its module is not imported"),
        ({"estimator": "sklearn.svm:SVC"}, "no estimator with partial_fit"),
        ({"estimator": "sklearn.naive_bayes:GaussianNB", "params": (("no", 1),)}, "GaussianNB has no parameter 'no'"),
        ({"estimator": GaussianNB}, "is no estimator"),
        ({"estimator": GaussianNB(), "passes": 0}, "passes"),
    ],
)
def test_chain__bad_fields_are_refused_by_name(field: dict[str, Any], text: str) -> None:
    with pytest.raises(BadField, match=text):
        SklearnChain(**field)


def test_chain__a_hostile_file_brings_no_class_to_life_but_estimators() -> None:
    hostile = {"type": "SklearnChain", "version": 1, "fields": {"estimator": "subprocess:Popen", "params": [], "passes": 1}}
    with pytest.raises(BadFile, match="no estimator with partial_fit"):
        build(json.loads(json.dumps(hostile)), resolver())


class Counting(BaseEstimator):
    """An estimator of a person's own."""

    def partial_fit(self, X: Any, y: Any = None) -> Any:  # noqa: N803
        self.sum_ = getattr(self, "sum_", 0.0) + X.sum(0)
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        return X - self.sum_


def test_chain__an_estimator_of_ones_own_travels_to_workers() -> None:
    learner = SklearnChain(estimator=Counting())
    assert pickle.loads(pickle.dumps(learner)) == learner
    np.testing.assert_array_equal(chained(Counting(), None).arrays["1/array/sum_"], sum(X[s : s + 100].sum(0) for s in range(0, 700, 100)))


def test_chain__rows_it_cannot_read_name_the_place() -> None:
    wrong = X.copy()
    wrong[333, 1] = np.nan
    learner = og.Then((og.OneHot(), SklearnChain(estimator=GaussianNB())))
    with pytest.raises(BadInput, match="row 333"):
        run(Job(learner=learner, source=og.read(wrong, target=LABELS), shard_rows=700, batch_rows=100), Serial())


@pytest.mark.slow
def test_chain__keeps_the_laws() -> None:
    report = og.check(SklearnChain(estimator=GaussianNB()))
    assert report.ok, str(report)
