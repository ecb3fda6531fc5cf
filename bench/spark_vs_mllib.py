"""The Spark engine against MLlib on one standalone cluster (2 workers of 1 core), and against `processes:2`.

    .venv/bin/python bench/spark_vs_mllib.py [--clicks 200000] [--dense 500000] [--long 10000000] [--only hashed dense svm bayes pca mixture k-means linear boosting overhead]

Both read the same Parquet files, on disk or after a pass that keeps them (Spark: `cache()` of the assembled vectors; outgrow: the
packed cache). Between passes MLlib keeps its blocks of rows in the executors, outgrow its encoded rows (`hold`, 512 MiB a worker).

- Logistic regression: one objective (MLlib's is the mean: its regParam is our l2 / rows). Hashed, the two have the same table but other hashes, so
  other collisions; both go 100 rounds, and the clock stops where the objective is within 1e-4 of what each had at its end. Ours starts
  from one online pass (counted). Log losses on other rows say that the two models are alike.
- Linear support vectors: MLlib minimises the hinge, ours its square; compared by accuracy, each to its own optimum or 100 rounds.
- k-means and mixtures make the same number of rounds, full covariances; linear regression, PCA and Gaussian naive Bayes have one answer.
- Boosted trees: as many trees of the same depth, level by level, 256 bins, at least 20 rows a leaf.

Start-up is apart: ours until every executor has the job, MLlib's until a session has run a job of one row. Wall seconds, one run
each: run it on a quiet machine. Parts run one by one keep each other's rows of the day.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import clicklog
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from table import keep

import outgrow as og
from field.spark import Spark as Cluster
from outgrow.core.events import Events
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.data.packed import pack
from outgrow.engines.processes import Processes
from outgrow.engines.spark import Spark
from outgrow.plan.cuts import cuts
from outgrow.plan.look import look

COLUMNS, CLUSTERS, ROUNDS, BITS, L2, COMPONENTS = 30, 20, 10, 18, 10.0, 5
TREES, DEPTH = 20, 5
MEMORY = 1400  # MB an executor
CLOSE = 1e-4  # of the last objective, where the clock of the hashed regression stops
PARTS = ("hashed", "dense", "svm", "bayes", "pca", "mixture", "k-means", "linear", "boosting")


@dataclass
class Ours:
    """What our run left: its record, the last facts, the model, and (seconds, passes, loss) after every round."""

    job: Job
    record: dict[str, Any]
    facts: dict[str, float]
    arrays: dict[str, Any]
    path: list[tuple[float, int, float]]


@dataclass
class Case:
    """What is learned from which file, both learners, and how to measure how far each got.

    mine : of our run, how far it got. theirs : of MLlib's model, a frame with more columns than it read and the rows, how far, and its rounds.
    """

    part: str
    file: Path
    target: str
    learner: Any
    vectors: Callable[[Any], Any]
    measure: str
    mine: Callable[[Ours], float]
    theirs: Callable[[Any, Any, int], tuple[float, float]]
    close: bool = False


def dense(path: Path, rows: int) -> Path:
    """`rows` of 30 normal numbers, a class and a number that they almost tell; row groups of 131,072."""
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    weights = rng.normal(size=COLUMNS)
    with pq.ParquetWriter(path, pa.schema([(f"x{j:02d}", pa.float32()) for j in range(COLUMNS)] + [("y", pa.float64()), ("c", pa.int32())])) as writer:
        for start in range(0, rows, 1 << 17):
            n = min(1 << 17, rows - start)
            x = rng.normal(size=(n, COLUMNS)).astype(np.float32) + 2.0 * rng.integers(0, 3, n)[:, None].astype(np.float32)
            y = x @ weights + rng.normal(size=n)
            columns = {f"x{j:02d}": x[:, j] for j in range(COLUMNS)} | {"y": y, "c": (y > y.mean()).astype(np.int32)}
            writer.write_table(pa.table(columns, schema=writer.schema))
    return path


@contextmanager
def session(master: str) -> Iterator[tuple[Any, float]]:
    """MLlib's session on the cluster, and the seconds it took to run its first job."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyspark.sql import SparkSession

        made = SparkSession.builder.master(master).appName("peer").config("spark.executor.memory", f"{MEMORY}m").config("spark.ui.showConsoleProgress", "false")
        spark = made.config("spark.log.level", "ERROR").config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    spark.range(1).count()
    yield spark, time.perf_counter() - began
    spark.stop()


def assembled(frame: Any) -> Any:
    from pyspark.ml.feature import VectorAssembler

    return VectorAssembler(inputCols=[f"x{j:02d}" for j in range(COLUMNS)], outputCol="features").transform(frame).select("features", "y", "c")


def hashed(frame: Any) -> Any:
    from pyspark.ml.feature import FeatureHasher

    return FeatureHasher(inputCols=clicklog.COLUMNS, outputCol="features", numFeatures=1 << BITS).transform(frame).select("features", "click")


def scored(found: Ours, file: Path, batch_rows: int = 1 << 14) -> Iterator[tuple[dict[str, Any], Any, tuple[Any, ...]]]:
    """What our model says of each batch of a file, its target, and the classes."""
    known = found.job.source.schema
    source = og.read(file, target=known.target, drop=[name for name in pq.read_schema(file).names if name not in known])
    for batch in source.read(0, source.rows, batch_rows):
        yield found.job.learner.predict(found.arrays, batch), batch.target, batch.schema.classes


def accuracy(file: Path) -> Callable[[Ours], float]:
    def of(found: Ours) -> float:
        hits = [np.mean(np.array(classes)[target] == said["prediction"]) for said, target, classes in scored(found, file)]
        return float(np.mean(hits))

    return of


def squares(file: Path) -> Callable[[Ours], float]:
    return lambda found: float(np.mean(np.concatenate([(said["prediction"] - target) ** 2 for said, target, _ in scored(found, file)])))


def log_loss(file: Path) -> Callable[[Ours], float]:
    return lambda found: losses(*(np.concatenate(part) for part in zip(*((said["probability"], target) for said, target, _ in scored(found, file)), strict=True)))


def losses(chance: Any, hit: Any) -> float:
    return float(-np.mean(np.log(np.where(hit > 0, chance, 1.0 - chance))))


def mllib_log_loss(file: Path) -> Callable[[Any, Any, int], tuple[float, float]]:
    def of(model: Any, frame: Any, _rows: int) -> tuple[float, float]:
        told = model.transform(hashed(frame.sparkSession.read.parquet(str(file)))).select("probability", "click").collect()
        return losses(np.array([row[0][1] for row in told]), np.array([row[1] for row in told])), float(model.summary.totalIterations)

    return of


def mllib_accuracy(model: Any, frame: Any, rows: int) -> tuple[float, float]:
    rounds = float(model.summary().totalIterations) if callable(getattr(model, "summary", None)) else 1.0
    return model.transform(frame).where("prediction = c").count() / rows, rounds


def mllib_likelihood(file: Path) -> Callable[[Any, Any, int], tuple[float, float]]:
    """Of its mixture's weights, means and covariances; the one it tells adds 2e-16 to every density, and those of 30 columns are smaller."""

    def of(model: Any, _frame: Any, _rows: int) -> tuple[float, float]:
        from scipy.special import logsumexp
        from scipy.stats import multivariate_normal

        x = np.stack([pq.read_table(file, columns=[f"x{j:02d}"]).column(0).to_numpy() for j in range(COLUMNS)], 1).astype(np.float64)
        parts = [multivariate_normal(row.mean.toArray(), row.cov.toArray()).logpdf(x) + np.log(w) for row, w in zip(model.gaussiansDF.collect(), model.weights, strict=True)]
        return float(logsumexp(parts, axis=0).mean()), float(model.summary.numIter)

    return of


def peer(master: str, case: Case, rows: int) -> dict[str, Any]:
    """MLlib from disk and from its cache."""
    found: dict[str, Any] = {}
    with session(master) as (spark, start):
        found["start"] = start
        for how in ("disk", "cached"):
            frame = case.vectors(spark.read.parquet(str(case.file)))
            if how == "cached":
                frame = frame.cache()
                frame.count()
            began = time.perf_counter()
            model = estimator(case.part, rows).fit(frame)
            found[how] = time.perf_counter() - began
            found[f"{how} reached"], found[f"{how} rounds"] = case.theirs(model, frame, rows)
            if case.close:  # its rounds take about the same time, the first with the reading
                history = model.summary.objectiveHistory
                needed = next(i for i, value in enumerate(history) if value <= history[-1] + CLOSE)
                found[how], found[f"{how} rounds"] = found[how] * (needed + 1) / len(history), float(needed)
    return found


def job_of(learner: Any, source: Any) -> Job:
    rule = cuts(look(source), learner.batch_bytes)
    return Job(learner=learner, source=source, shard_rows=max(rule.batch_rows, min(rule.shard_rows, 1 << 17)), batch_rows=rule.batch_rows)


def fitted(job: Job, engine: Any) -> Ours:
    facts: dict[str, float] = {}
    path: list[tuple[float, int, float]] = []
    began = passes = 0.0

    def hear(event: Any) -> None:
        nonlocal began, passes
        if event["kind"] == "round":
            began, passes = began or time.perf_counter(), passes + event["passes"]
        if event["kind"] == "told":
            facts.update(event["facts"])
            path.append((time.perf_counter() - began, int(passes), event["facts"].get("loss", np.inf)))

    found = run(job, engine, events=Events(hear))
    return Ours(job, found.record, facts, found.arrays, path)


def ours(master: str, case: Case, folder: Path) -> dict[str, Any]:
    """outgrow from disk and from its packed cache."""
    found: dict[str, Any] = {}
    others = [name for name in ("y", "c") if name != case.target] if case.target != "click" else []
    source = og.read(case.file, target=case.target or None, drop=others)
    for how in ("disk", "cached"):
        if how == "cached":
            folder.mkdir(exist_ok=True)
            source = pack(source, folder)
        one = fitted(job_of(case.learner, source), Spark(master, options={"spark.executor.memory": f"{MEMORY}m"}))
        found |= {how: one.record["train_seconds"], f"{how} rounds": one.record["passes"], f"{how} digest": one.record["digest"][:12], f"{how} reached": case.mine(one)}
        if case.close:
            found[how], found[f"{how} rounds"] = next((seconds, passes) for seconds, passes, loss in one.path if loss <= one.path[-1][2] + CLOSE)
        found["start"] = one.record["start_seconds"]
    return found


def overhead(master: str, folder: Path, rows: int) -> list[list[object]]:
    """The same job on `processes:2` and on Spark's two cores."""
    path = dense(folder / f"dense-{rows}.parquet", rows)
    found = []
    for name, learner, target, others in (
        ("linear regression, 1 pass", og.Then((og.OneHot(), og.LinearRegression())), "y", ["c"]),
        ("logistic regression", og.Then((og.OneHot(), og.LogisticRegression(l2=L2))), "c", ["y"]),
    ):
        job = job_of(learner, og.read(path, target=target, drop=others))
        here = fitted(job, Processes(2)).record
        there = fitted(job, Spark(master, hold=0, options={"spark.executor.memory": f"{MEMORY}m"})).record  # both read every pass
        if here["digest"] != there["digest"]:
            raise SystemExit(f"{name}: processes:2 gives {here['digest']}, Spark {there['digest']}")
        seconds = here["train_seconds"], there["train_seconds"]
        found.append([name, f"{rows:,}", here["passes"], *seconds, seconds[1] / seconds[0], here["start_seconds"], there["start_seconds"], here["digest"][:12]])
    return found


def estimator(part: str, rows: int) -> Any:
    """MLlib's, once there is a session."""
    from pyspark.ml import classification, clustering, feature, regression

    logistic = partial(classification.LogisticRegression, regParam=L2 / rows, standardization=False, tol=1e-7)
    made: dict[str, Callable[[], Any]] = {
        "hashed": partial(logistic, labelCol="click", maxIter=100),
        "dense": partial(logistic, labelCol="c", maxIter=200),
        "svm": partial(classification.LinearSVC, labelCol="c", regParam=L2 / rows, maxIter=100, standardization=False),
        "bayes": partial(classification.NaiveBayes, labelCol="c", modelType="gaussian"),
        "pca": partial(feature.PCA, k=COMPONENTS, inputCol="features", outputCol="found"),
        "mixture": partial(clustering.GaussianMixture, k=COMPONENTS, maxIter=ROUNDS, tol=0.0, seed=0),
        "k-means": partial(clustering.KMeans, k=CLUSTERS, maxIter=ROUNDS, tol=0.0, seed=0),
        "linear": partial(regression.LinearRegression, labelCol="y", solver="normal", standardization=False),
        "boosting": partial(classification.GBTClassifier, labelCol="c", maxIter=TREES, maxDepth=DEPTH, maxBins=256, stepSize=0.1, minInstancesPerNode=20, seed=0),
    }
    return made[part]()


def cases(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, Case, int]]:
    if "hashed" in options.only:
        clicks = folder / f"clicks-{options.clicks}"
        clicklog.generate(clicks, train=options.clicks, test=50_000)
        # numbers that are missing are 0 to MLlib too
        stages = (og.Missing(strategy="constant"), og.Hashing(bits=BITS), og.OnlineLinear(learning_rate=0.1), og.LogisticRegression(l2=L2, max_rounds=100))
        test = clicks / "test.parquet"
        scores = "log loss of other rows", log_loss(test), mllib_log_loss(test)
        yield "logistic regression, hashed", Case("hashed", clicks / "train.parquet", "click", og.Then(stages), hashed, *scores, close=True), options.clicks
    rows = options.dense
    if not set(options.only) & set(PARTS[1:]):
        return
    path = dense(folder / f"dense-{rows}.parquet", rows)
    parts: tuple[tuple[str, str, str, Any, str, Any, Any], ...] = (
        ("dense", "logistic regression, dense", "c", og.LogisticRegression(l2=L2), "objective", lambda found: found.facts["loss"],
         lambda model, *_: (model.summary.objectiveHistory[-1], float(model.summary.totalIterations))),
        ("svm", "linear support vectors", "c", og.LinearSVM(l2=L2), "accuracy", accuracy(path), mllib_accuracy),
        ("bayes", "naive Bayes, Gaussian", "c", og.NaiveBayes(), "accuracy", accuracy(path), mllib_accuracy),
        ("pca", f"PCA, {COMPONENTS}", "", og.PCA(components=COMPONENTS), "variance explained", lambda found: found.facts["explained"],
         lambda model, *_: (float(sum(model.explainedVariance)), 1.0)),
        ("mixture", f"Gaussian mixture, {COMPONENTS}", "", og.GaussianMixture(components=COMPONENTS, max_rounds=ROUNDS, tolerance=0.0), "log likelihood a row",
         lambda found: found.facts["log_likelihood"], mllib_likelihood(path)),
        ("k-means", f"k-means, {CLUSTERS}", "", og.KMeans(clusters=CLUSTERS, max_rounds=ROUNDS, tolerance=0.0), "inertia a row",
         lambda found: found.facts["inertia"] / rows, lambda model, *_: (model.summary.trainingCost / rows, float(model.summary.numIter))),
        ("linear", "linear regression", "y", og.LinearRegression(), "squared error", squares(path), lambda model, *_: (model.summary.meanSquaredError, 1.0)),
        ("boosting", f"boosting, {TREES} trees of depth {DEPTH}", "c", og.GradientBoosting(trees=TREES, leaves=1 << DEPTH, depth=DEPTH, growth="level"), "accuracy", accuracy(path),
         lambda *told: (mllib_accuracy(*told)[0], float(TREES))),
    )  # fmt: skip
    for part, name, target, learner, measure, mine, theirs in parts:
        if part in options.only:
            yield name, Case(part, path, target, og.Then((og.OneHot(), learner)), assembled, measure, mine, theirs), rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clicks", type=int, default=200_000)
    parser.add_argument("--dense", type=int, default=500_000)
    parser.add_argument("--long", type=int, default=1_000_000, help="rows for the overhead over processes:2")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "overhead"], default=[*PARTS, "overhead"])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "outgrow-bench-spark", help="the files are made there once")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    head = ["learner", "data", "rows", "ours s", "MLlib s", "times", "ours rows/s", "MLlib rows/s", "our passes", "its rounds", "measured by", "we reached", "it reached",
            "our start s", "its start s", "digest"]  # fmt: skip
    with Cluster(workers=2, cores=1, memory_mb=MEMORY + 200) as cluster:
        os.environ |= {name: cluster.env[name] for name in ("SPARK_HOME", "SPARK_LOCAL_IP", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_SCALA_VERSION")}
        for name, case, count in cases(options.folder, options):
            began = time.perf_counter()
            mine = ours(cluster.master, case, options.folder / "packed")
            between = time.perf_counter()
            theirs = peer(cluster.master, case, count)
            rows = [
                [name, how, f"{count:,}", mine[how], theirs[how], theirs[how] / mine[how], count / mine[how], count / theirs[how], mine[f"{how} rounds"], theirs[f"{how} rounds"],
                 case.measure, mine[f"{how} reached"], theirs[f"{how} reached"], mine["start"], theirs["start"], mine[f"{how} digest"]]
                for how in ("disk", "cached")
            ]  # fmt: skip
            keep("spark-vs-mllib", "Spark: outgrow against MLlib on the same cluster of 2 × 1 core", head, rows, part=3)
            print(f"{name}: {between - began:.0f} s ours, {time.perf_counter() - between:.0f} s MLlib's, all in all\n", flush=True)
        if "overhead" in options.only:
            began = time.perf_counter()
            head = ["job", "rows", "passes", "processes:2 s", "Spark s", "times", "processes start s", "Spark start s", "digest"]
            keep("spark-overhead", "Spark's two cores against two processes", head, overhead(cluster.master, options.folder, options.long), part=2)
            print(f"overhead: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
