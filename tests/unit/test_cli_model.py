"""The package's face and the model object: names, prediction from anything, a person's own learner in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.core.errors import BadFile, BadInput, StorageError
from outgrow.core.learner import Learner, Pass
from outgrow.learn.linear_regression import LinearRegression
from outgrow.plan.score import evaluate, predict, strongest
from outgrow.plan.settings import configured, options

NAMES = {
    "BadField", "BadInput", "Bagging", "Beside", "BlockLinear", "Context", "Cover", "Dates", "DiscriminantAnalysis", "Feature", "Fold", "Fused", "GaussianMixture",
    "GradientBoosting", "Hashing", "ICA", "Interactions", "KMeans", "Learner", "LinearRegression", "LinearSVM", "LocallyWeightedRegression", "LogisticRegression", "Missing",
    "Model", "Moments", "NaiveBayes", "NeuralNetwork", "OneHot", "OneVsOne", "OneVsRest", "Online", "OnlineLinear", "OutgrowError", "PCA", "Pass", "RandomForest", "Refused",
    "RobustScale", "Rows", "Scale", "Segments", "Stack", "Summary", "TargetEncode", "TfIdf", "Then", "Traits", "TruncatedSVD", "check", "evaluate",
    "explained", "export", "import_model", "load", "plan", "predict", "read",
}  # fmt: skip


def test_names__are_this_set__a_change_is_a_decision():
    assert set(og.__all__) == NAMES
    assert set(dir(og)) == NAMES | {"__version__"}
    for name in NAMES:
        assert getattr(og, name).__doc__ or name == "plan"
    with pytest.raises(AttributeError, match="no attribute 'Forest'"):
        og.Forest  # noqa: B018


def table(n: int = 400, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    town = np.array(["Bern", "Oslo"])[rng.integers(0, 2, n)]
    x = rng.normal(size=n)
    return pa.table({"town": town, "x": x, "cost": 2 * x + (town == "Oslo") + 0.1 * rng.normal(size=n)})


@pytest.fixture(scope="module")
def model() -> Any:
    return og.plan(None, og.read(table(), target="cost"), probe=False, on="serial").run().model


def test_model__saved_and_loaded__is_the_same(model, tmp_path):
    model.save(tmp_path / "a.model")
    again = og.load(tmp_path / "a.model")
    assert (again.digest, again.learner, again.schema, again.made) == (model.digest, model.learner, model.schema, model.made)
    assert again.predict(table(50, 1)).equals(model.predict(table(50, 1)))
    assert model.start.keys() >= model.arrays.keys()


def test_predict__from_any_kind_of_rows__the_same_numbers(model, tmp_path):
    new = table(50, 1).drop_columns(["cost"])
    pq.write_table(new, tmp_path / "new.parquet")
    whole = model.predict(new)
    assert whole.column_names == ["prediction"]
    for rows in (new.to_pandas(), pl.from_arrow(new), tmp_path / "new.parquet", str(tmp_path / "new.parquet"), og.read(new), new.to_pydict()):
        assert model.predict(rows).equals(whole)
    shuffled = pd.DataFrame({"more": 0, "x": new["x"].to_numpy(), "town": new["town"].to_pylist()})
    assert model.predict(shuffled).equals(whole)
    written = predict(model, new, tmp_path / "out.parquet")
    assert written["rows"] == 50
    assert pq.read_table(tmp_path / "out.parquet").equals(whole)


def test_predict__a_failure_in_the_middle__leaves_nothing_behind(model, tmp_path):
    rows = table(50, 1).to_pandas()
    rows.loc[7, "x"] = np.inf
    with pytest.raises(BadInput, match="inf"):
        predict(model, rows, tmp_path / "out.parquet")
    with pytest.raises(StorageError, match="mkdir -p"):
        predict(model, table(5), tmp_path / "no" / "out.parquet")
    assert not list(tmp_path.iterdir())


def test_evaluate__in_python__the_figures_of_the_command(model):
    new = table(200, 2)
    found = og.evaluate(model, new)
    error = model.predict(new)["prediction"].to_numpy() - new["cost"].to_numpy()
    assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    with pytest.raises(BadInput, match="'cost' is not there"):
        evaluate(model, new.drop_columns(["cost"]))


def test_strongest__least_squares__names_weights_and_leaves_out_what_was_never_seen(model):
    found = dict(strongest(model))
    assert set(found) == {"x", "town=Bern", "town=Oslo"}
    assert found["town=Oslo"] == pytest.approx(-found["town=Bern"], abs=1e-9)
    assert found["town=Oslo"] == pytest.approx(0.5, abs=0.05)
    assert [name for name, _ in strongest(model, 1)] == ["x"]


@dataclass(frozen=True)
class Nothing(Learner):
    """A person's own learner: predicts what it is told to."""

    value: float = 1.5

    def begin(self, context: Any, start: Any = None) -> Any:
        return {"told": np.zeros(0)}

    def ask(self, context: Any, carry: Any) -> tuple[Pass, ...]:
        return ()

    def finish(self, context: Any, carry: Any) -> Any:
        return {"value": np.array(self.value)}

    def predict(self, model: Any, batch: Any) -> dict[str, Any]:
        return {"prediction": np.full(batch.rows, float(model["value"]))}


def test_load__ones_own_learner__only_where_its_class_is_passed(tmp_path):
    made = og.plan(Nothing(), og.read(table(), target="cost"), probe=False, on="serial").run().model
    made.save(tmp_path / "own.model")
    with pytest.raises(BadFile, match=r"own.model: the model is of type '.*:Nothing', which is not one of outgrow's own.*learners="):
        og.load(tmp_path / "own.model")
    again = og.load(tmp_path / "own.model", learners=[Nothing])
    assert again.predict(table(3))["prediction"].to_pylist() == [1.5] * 3


def test_load__no_file__says_what_writes_one(tmp_path: Path):
    with pytest.raises(BadInput, match=r"cannot read the model.*outgrow fit"):
        og.load(tmp_path / "none.model")
    (tmp_path / "text").write_text("a model, honestly: it says so itself")
    with pytest.raises(BadFile, match=r"text: .*Is it a model of outgrow"):
        og.load(tmp_path / "text")


def test_settings__text_becomes_the_type_of_the_field_and_goes_to_the_last_that_has_it():
    chain = og.Then((og.Missing(), og.OneHot(), og.LogisticRegression()))
    missing, onehot, learner = configured(chain, {
        "fill": "-1", "indicator": "yes", "max_categories": "7", "l2": "1e-3", "max_rounds": "9", "intercept": "False", "class_weight": "balanced",
    }).stages  # type: ignore[attr-defined]
    assert (missing.fill, missing.indicator, onehot.max_categories) == (-1.0, True, 7)
    assert (learner.l2, learner.max_rounds, learner.intercept, learner.class_weight) == (0.001, 9, False, "balanced")
    both = configured(og.Then((og.Hashing(), og.LogisticRegression())), {"interactions": "a:b, c:d", "seed": "3"}).stages  # type: ignore[attr-defined]
    assert (both[0].interactions, both[0].seed) == (("a:b", "c:d"), 3)
    assert configured(LinearRegression(), {"l2": "2"}) == LinearRegression(l2=2.0)
    assert options(LinearRegression())["l2"] == "0.0 (LinearRegression)"
