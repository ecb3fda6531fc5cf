"""Every learner that outgrow ships, over one small table with all kinds of columns, as jobs for the matrix and the fault tests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import outgrow as og
from outgrow.core.job import Job
from outgrow.core.run import Engine, run
from outgrow.core.state import digest, under
from outgrow.data.source import Source

ROWS = 1800
ONE_HOT, SCALED = (og.Missing(), og.OneHot()), (og.Missing(), og.Scale(), og.OneHot())
TARGETS = ("number", "two", "three", "about", "grade")  # the last ones of text and of queries, which their learners alone read
JOBS: dict[str, tuple[str, Any]] = {
    "moments": ("number", og.Then((*ONE_HOT, og.Moments()))),
    "summary": ("number", og.Summary(error=0.1)),
    "linear regression": ("number", og.Then((*ONE_HOT, og.LinearRegression()))),
    "logistic regression": ("two", og.Then((*SCALED, og.LogisticRegression(validation=0.2)))),
    "robust scaling": ("two", og.Then((og.Missing(), og.RobustScale(error=0.1), og.OneHot(), og.LogisticRegression(max_rounds=4)))),
    "softmax regression": ("three", og.Then((*SCALED, og.LogisticRegression()))),
    "linear in blocks": ("three", og.Then((*SCALED, og.BlockLinear(block_slots=30, max_sweeps=2)))),
    "linear in blocks, wide ones": ("number", og.Then((og.Missing(), og.Hashing(bits=10), og.BlockLinear(loss="squared", block_slots=600, steps=2, max_sweeps=2)))),
    "linear svm": ("three", og.Then((*SCALED, og.LinearSVM(class_weight="balanced")))),
    "k-means": ("number", og.Then((*SCALED, og.KMeans(clusters=4)))),
    "naive bayes": ("three", og.Then((*ONE_HOT, og.NaiveBayes()))),
    "naive bayes, bernoulli": ("two", og.Then((og.Missing(), og.Hashing(bits=8), og.NaiveBayes(kind="bernoulli")))),
    "linear discriminant": ("two", og.Then((*ONE_HOT, og.DiscriminantAnalysis()))),
    "quadratic discriminant": ("three", og.Then((*ONE_HOT, og.DiscriminantAnalysis(kind="quadratic", shrinkage=0.1)))),
    "pca": ("number", og.Then((*ONE_HOT, og.PCA(components=3, whiten=True)))),
    "truncated svd": ("number", og.Then((og.Missing(), og.Hashing(bits=8), og.TruncatedSVD(components=2, oversampling=2, rounds=2)))),
    "ica": ("number", og.Then((*SCALED, og.ICA(components=3, max_rounds=5)))),
    "gaussian mixture": ("number", og.Then((*SCALED, og.GaussianMixture(components=3, max_rounds=4)))),
    "locally weighted regression": ("number", og.Then((*SCALED, og.LocallyWeightedRegression(points=((0.0,) * 49, (0.1,) * 49))))),  # 47 categories, 2 numbers
    "network, inside a lane": ("two", og.Then((*SCALED, og.NeuralNetwork(hidden=(5,), epochs=2, step_rows=100, validation=0.1)))),
    "network, 8 virtual workers": ("three", og.Then((*SCALED, og.NeuralNetwork(hidden=(5,), epochs=1, step_rows=300, virtual=8)))),
    "network, all rows a step": ("number", og.Then((*SCALED, og.NeuralNetwork(hidden=(5,), epochs=4, step_rows=0, activation="tanh")))),
    "one vs rest": ("three", og.Then((*SCALED, og.OneVsRest(og.LogisticRegression(max_rounds=4))))),
    "boosted trees": ("two", og.Then((og.OneHot(), og.GradientBoosting(trees=2, leaves=7, growth="level", validation=0.2)))),
    "boosted trees, three classes": ("three", og.Then((og.OneHot(max_categories=30), og.GradientBoosting(trees=2, leaves=9, row_share=0.7, column_share=0.8)))),
    "boosted trees, quantile": ("number", og.Then((og.OneHot(), og.GradientBoosting(trees=2, leaves=5, loss="quantile", quantile=0.8)))),
    "boosted trees, ranking": ("grade", og.Then((og.OneHot(), og.GradientBoosting(trees=2, leaves=5, loss="lambdarank", group="query")))),
    "random forest": ("three", og.Then((og.OneHot(max_categories=30), og.RandomForest(trees=3, leaves=12, class_weight="balanced")))),
    "extra trees": ("number", og.Then((og.OneHot(max_categories=30), og.RandomForest(trees=2, leaves=8, columns=0.5, extra=True)))),
    "segments": ("two", og.Then((*SCALED, og.Segments(og.LogisticRegression(max_rounds=4), by="c")))),
    "bagging": ("number", og.Bagging(og.Then((*ONE_HOT, og.LinearRegression())), parts=3, columns=0.5)),
    "stack": ("two", og.Then((og.Stack((("bayes", og.Then((*ONE_HOT, og.NaiveBayes()))),), folds=2), og.LogisticRegression(max_rounds=4)))),
    "tf-idf": ("about", og.Then((og.Missing(), og.TfIdf(bits=8, ngrams=2, sublinear=True, min_df=2), og.LogisticRegression(max_rounds=12)))),
    "tf-idf, truncated svd": ("about", og.Then((og.Missing(), og.TfIdf(bits=6, signed=True), og.TruncatedSVD(components=2, oversampling=2, rounds=2)))),
    "tf-idf, wide": ("about", og.Then((og.Missing(), og.TfIdf(bits=18, norm="l1", max_df=0.5), og.OnlineLinear(lanes=2)))),
    "target encoding": ("three", og.Then((og.TargetEncode(), *SCALED, og.LogisticRegression(max_rounds=4)))),
    "target encoding, hashed, of a number": ("number", og.Then((og.TargetEncode(bits=4, smooth=3.0, columns=("d",)), *ONE_HOT, og.LinearRegression()))),
    "online, 1 lane": ("two", og.Then((og.Hashing(bits=8, interactions=("c:d",)), og.OnlineLinear(lanes=1, passes=2)))),
    "online, 3 lanes": ("two", og.Then((og.Hashing(bits=8), og.OnlineLinear(lanes=3, passes=2)))),
    "online, ftrl, three classes": ("three", og.Then((og.Hashing(bits=8), og.OnlineLinear(lanes=2, update="ftrl", l1=0.001)))),
}


def dropped(target: str) -> list[str]:
    """The columns that learners of this target do not read."""
    return [other for other in TARGETS if other != target] + ["text"] * (target != "about") + ["query"] * (target != "grade")


def table() -> dict[str, Any]:
    """Numbers with missing values, categories of both kinds, text, and targets that they almost tell."""
    rng = np.random.default_rng(11)
    a, b = rng.normal(size=ROWS), rng.exponential(size=ROWS)
    c, d = rng.integers(0, 6, ROWS), rng.zipf(1.5, ROWS) % 40
    score = a - b + 0.5 * (c == 2) + 0.3 * rng.normal(size=ROWS)
    words = np.array(["rain", "wind", "late", "on", "time", "gate"])[(np.random.default_rng(12).random((ROWS, 4)) ** 1.5 * 6).astype(int)]
    return {
        "a": np.where(rng.random(ROWS) < 0.05, np.nan, a),
        "b": b,
        "c": [f"c{i}" for i in c],
        "d": [None if i == 7 else f"d{i}" for i in d],
        "text": [None if i % 50 == 7 else " ".join([*row, f"x{i % 90}"][i % 3 :]) for i, row in enumerate(words)],
        "about": [("rain" in row or "wind" in row) and i % 10 > 0 for i, row in enumerate(words)],
        "query": np.arange(ROWS) // 7,
        "grade": np.digitize(score, [-1, 0.2]).astype(float),
        "number": score,
        "two": (score > -0.5).astype(np.int64),
        "three": [("low", "mid", "high")[i] for i in np.digitize(score, [-1, 0.2])],
    }


def write(folder: Path) -> Path:
    """The table as Parquet in row groups of 500, once a folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / "rows.parquet"
    if not file.exists():
        pq.write_table(pa.table({name: pa.array(column, from_pandas=True) for name, column in table().items()}), file, row_group_size=500)
    return file


class Slow(Source):
    """The same rows, `pause` seconds before each batch: time enough to be killed in."""

    pause = 0.0

    def read(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        for batch in super().read(*arguments, **options):
            time.sleep(self.pause)
            yield batch


def slow(source: Source, pause: float) -> Slow:
    found = Slow(source.store, source.schema, limit=source.limit, content=source.content, task=source.task)
    found.pause = pause
    return found


def named(target: str) -> list[str]:
    """The names of all learners of a target."""
    return [name for name, (wanted, _) in JOBS.items() if wanted == target]


def job(name: str, what: Any, pause: float = 0.0) -> Job:
    """18 shards of 100 rows, batches of 32; `what` is anything that `og.read` takes. The name of a target stands for all its learners side by side."""
    together = og.Beside(tuple((one, JOBS[one][1]) for one in named(name))) if name in TARGETS else None
    target, learner = JOBS[name] if together is None else (name, together)
    source = og.read(what, target=target, drop=dropped(target), kinds={"text": "text"} if target == "about" else {})
    return Job(learner=learner, source=slow(source, pause) if pause else source, shard_rows=100, batch_rows=32)


def digests(target: str, what: Any, engine: Engine, names: Sequence[str] = (), pause: float = 0.0, **options: Any) -> dict[str, str]:
    """One for each learner of a target, or for those named; they run side by side, since starting a worker costs more than these rows. options: as `run` takes them."""
    together, names = job(target, what, pause), names or named(target)
    arrays = run(replace(together, learner=og.Beside(tuple((name, JOBS[name][1]) for name in names))), engine, **options).arrays
    found = {name: under(name, arrays) for name in names}
    assert all(found.values())
    return {name: digest(model) for name, model in found.items()}
