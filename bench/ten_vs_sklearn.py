"""The learners of "Map-Reduce for Machine Learning on Multicore" against scikit-learn: fit time in memory on one thread, and one worker process against two.

    .venv/bin/python bench/ten_vs_sklearn.py [--rows 100000 1000000] [--repeats 3] [--only pca …]
    .venv/bin/python bench/ten_vs_sklearn.py --encoders [--rows 100000 1000000] [--repeats 3]
    .venv/bin/python bench/ten_vs_sklearn.py --processes [--rows 8000000] [--repeats 3]

Both get the same float64 matrix; ours reads it through `outgrow.read` and runs the whole job (serial engine, features, digest). They take turns, at the same number
of iterations or the same stopping rule; seconds are processor seconds (user and system), medians over the repeats. Everything is imported and compiled before, by a run on
few rows. `--processes` reads a Parquet file and takes wall time: for an otherwise idle machine, and rows enough that a pass takes two seconds or more.

`--encoders` compares what turns text and categories into numbers, by the scikit-learn face: both get the same Python strings, fit, and give the rows.

Another learner is another `Case` in CASES, another encoder an `Encoder` in ENCODERS.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FastICA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import RobustScaler, StandardScaler
from sklearn.svm import LinearSVC
from table import keep
from threadpoolctl import threadpool_limits

import outgrow as og
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial

COLUMNS = 30
Arrays = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One comparison.

    rows : of a count n, what both learn from: x (n, p), and y (n,) or None.
    apart : of our model's arrays and the fitted peer, the largest relative difference of what they learned.
    note : what else the reader must know.
    """

    rows: Callable[[int], tuple[Any, Any]]
    ours: og.Learner
    peer: Callable[[], Any]
    apart: Callable[[Arrays, Any], float]
    note: str = ""


def relative(a: Any, b: Any) -> float:
    """The largest difference, as a share of the largest number."""
    return float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max())


def mixed(n: int) -> Any:
    """Correlated normal columns of unlike size and mean."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, COLUMNS))
    return x @ (np.eye(COLUMNS) + 0.3 * rng.standard_normal((COLUMNS, COLUMNS))) * np.logspace(-1, 1, COLUMNS) + rng.standard_normal(COLUMNS)


def classed(n: int, classes: int = 3) -> tuple[Any, Any]:
    """Those columns, and classes that they almost tell."""
    x, rng = mixed(n), np.random.default_rng(1)
    score = 0.3 * ((x - x.mean(0)) / x.std(0)) @ rng.standard_normal((COLUMNS, classes)) + rng.gumbel(size=(n, classes))
    return x, score.argmax(1)


def counts(n: int) -> tuple[Any, Any]:
    """Columns of counts, whose rates depend on the class."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, n)
    return rng.poisson(rng.exponential(size=(3, COLUMNS))[y]).astype(np.float64), y


def sources(n: int) -> tuple[Any, None]:
    """Mixtures of sources that are not normal."""
    rng = np.random.default_rng(3)
    s = np.where(np.arange(COLUMNS) % 2 == 0, rng.uniform(-1, 1, (n, COLUMNS)), rng.laplace(size=(n, COLUMNS)))
    return s @ rng.standard_normal((COLUMNS, COLUMNS)), None


def sparse(n: int) -> tuple[Any, None]:
    """Rows of 20 entries in 2^14 columns, some far more frequent than others."""
    import scipy.sparse

    rng = np.random.default_rng(4)
    places = np.sort((rng.random((n, 20)) ** 3 * (1 << 14)).astype(np.int32), axis=1)
    return scipy.sparse.csr_matrix((np.ones(n * 20), places.ravel(), np.arange(0, n * 20 + 1, 20)), (n, 1 << 14)), None


def groups(n: int) -> tuple[Any, None]:
    """Groups of unlike shape that overlap."""
    rng = np.random.default_rng(5)
    centers, shapes = rng.standard_normal((8, COLUMNS)), 0.2 * rng.standard_normal((8, COLUMNS, COLUMNS)) + np.eye(COLUMNS)
    label, x = rng.integers(0, 8, n), rng.standard_normal((n, COLUMNS))
    for k in range(8):
        x[label == k] = centers[k] + x[label == k] @ shapes[k]
    return x, None


def layered(n: int) -> tuple[Any, Any]:
    """Scaled columns, and 3 classes that a layer of tanh almost tells: the same ones for any n."""
    rng = np.random.default_rng(6)
    inner, outer = rng.standard_normal((COLUMNS, 8)) * 0.4, rng.standard_normal((8, 3)) * 2
    x = rng.standard_normal((n, COLUMNS))
    return x, (np.tanh(x @ inner) @ outer + rng.gumbel(size=(n, 3))).argmax(1)


def curved(n: int) -> tuple[Any, Any]:
    """A number that bends over scaled columns."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((n, COLUMNS))
    return x, np.sin(x[:, 0]) + x[:, 1] ** 2 + rng.standard_normal(n)


POINTS = np.random.default_rng(8).standard_normal((20, COLUMNS)) * 0.5


class LocalLines:
    """What scikit-learn has for local regression: a weighted LinearRegression for each point."""

    def fit(self, x: Any, y: Any) -> LocalLines:
        self.prediction = [self._at(x, y, q) for q in POINTS]
        return self

    def _at(self, x: Any, y: Any, q: Any) -> float:
        bell = np.exp(-((x - q) ** 2).sum(1) / (2 * 3.0**2))
        return float(LinearRegression().fit(x, y, bell).predict(q[None])[0])


class Described:
    """What pandas says of columns."""

    def fit(self, x: Any) -> Described:
        frame = pd.DataFrame(x)
        self.table, self.distinct = frame.describe(), frame.nunique()
        return self


def net_apart(model: Arrays, peer: Any) -> float:
    """The difference of the log losses on 20 000 other rows, as a share of scikit-learn's."""
    x, y = (part[-20_000:] for part in layered(70_000))
    hidden = np.maximum(x @ model["weights_0"] + model["bias_0"], 0.0)
    margins = hidden @ model["weights_1"] + model["bias_1"]
    mine = float(np.mean(np.logaddexp.reduce(margins, axis=1) - margins[np.arange(len(y)), y]))
    theirs = float(-np.log(peer.predict_proba(x)[np.arange(len(y)), y]).mean())
    return abs(mine - theirs) / theirs


def mixture(kind: str, name: str) -> Case:
    """Both from their own k-means, then 20 rounds."""
    return Case(
        groups,
        og.GaussianMixture(components=8, covariance=kind, max_rounds=20, tolerance=0.0),
        lambda: GaussianMixture(8, covariance_type=name, max_iter=20, tol=0.0, random_state=0),
        lambda model, peer: abs(float(model["log_likelihood"]) - peer.lower_bound_) / abs(peer.lower_bound_),
        "8 components, 20 rounds after k-means; apart: of the log-likelihood",
    )


def joint_apart(model: Arrays, peer: Any) -> float:
    """Of linear classifiers: differences of weights between classes, which are all that counts."""
    weights = peer.coef_ if hasattr(peer, "coef_") else peer.feature_log_prob_
    dense = model["dense"].T
    if isinstance(peer, BernoulliNB):
        weights = weights - np.log1p(-np.exp(weights))
    return relative(dense - dense[0], weights - weights[0])


def quadratic_apart(model: Arrays, peer: Any) -> float:
    inverses = [(r / s) @ r.T for r, s in zip(peer.rotations_, peer.scalings_, strict=True)]
    return relative(model["factor"] @ model["factor"].transpose(0, 2, 1), inverses)


def ica_apart(model: Arrays, peer: Any) -> float:
    """Each of our sources against the one of theirs most like it."""
    alike = np.abs(model["components"] @ peer.mixing_)
    order = alike.argmax(1)
    theirs = peer.components_[order]
    return relative(model["components"] * np.sign((model["components"] * theirs).sum(1))[:, None], theirs)


def fast_ica() -> Any:
    return FastICA(max_iter=20, tol=0.0, whiten_solver="eigh", random_state=0)


CASES: dict[str, Case] = {
    "naive-bayes": Case(
        classed, og.NaiveBayes(), GaussianNB, lambda model, peer: max(relative(model["mean"], peer.theta_), relative(model["variance"], peer.var_)), "Gaussian, 3 classes"
    ),
    "naive-bayes-multinomial": Case(counts, og.NaiveBayes(kind="multinomial"), MultinomialNB, joint_apart, "3 classes"),
    "naive-bayes-complement": Case(counts, og.NaiveBayes(kind="complement"), ComplementNB, joint_apart, "3 classes"),
    "naive-bayes-bernoulli": Case(counts, og.NaiveBayes(kind="bernoulli"), BernoulliNB, joint_apart, "3 classes"),
    "discriminant-linear": Case(classed, og.DiscriminantAnalysis(), LinearDiscriminantAnalysis, joint_apart, "3 classes; scikit-learn's svd solver"),
    "discriminant-linear-shrunk": Case(
        classed, og.DiscriminantAnalysis(shrinkage=0.1), lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1), joint_apart, "3 classes; its lsqr solver"
    ),
    "discriminant-quadratic": Case(classed, og.DiscriminantAnalysis(kind="quadratic"), lambda: QuadraticDiscriminantAnalysis(tol=1e-12), quadratic_apart, "3 classes"),
    "pca": Case(lambda n: (mixed(n), None), og.PCA(), PCA, lambda model, peer: relative(model["components"], peer.components_), "all components"),
    "truncated-svd": Case(
        lambda n: (mixed(n), None),
        og.TruncatedSVD(components=5),
        lambda: TruncatedSVD(5, n_iter=5, random_state=0),
        lambda model, peer: relative(model["singular_values"], peer.singular_values_),
        "5 components; ours is exact for few columns",
    ),
    "truncated-svd-sparse": Case(
        sparse,
        og.TruncatedSVD(components=5, rounds=5),
        lambda: TruncatedSVD(5, n_iter=5, random_state=0),
        lambda model, peer: relative(model["singular_values"], peer.singular_values_),
        "5 components of 16 384 sparse columns, 5 power rounds each",
    ),
    "linear-svm": Case(
        layered, og.LinearSVM(), lambda: LinearSVC(dual=False), lambda model, peer: relative(model["dense"].T, peer.coef_), "3 classes, default stopping rules"
    ),
    "mixture-full": mixture("full", "full"),
    "mixture-tied": mixture("tied", "tied"),
    "mixture-diagonal": mixture("diagonal", "diag"),
    "local-regression": Case(
        curved,
        og.LocallyWeightedRegression(points=tuple(map(tuple, POINTS.tolist())), bandwidth=3.0),
        LocalLines,
        lambda model, peer: relative(model["prediction"], peer.prediction),
        "20 points; scikit-learn has none: a weighted LinearRegression a point",
    ),
    "network": Case(
        layered,
        og.NeuralNetwork(step_rows=0, epochs=20),
        lambda: MLPClassifier(batch_size=10**9, max_iter=20, random_state=0),
        net_apart,
        "100 units, 20 steps of Adam over all rows; apart: of the log loss on other rows",
    ),
    "network-steps": Case(
        layered, og.NeuralNetwork(epochs=3), lambda: MLPClassifier(max_iter=3, random_state=0), net_apart, "100 units, 3 epochs in steps of 200 rows; apart: as network"
    ),
    "k-means": Case(
        groups,
        og.KMeans(clusters=8, max_rounds=10, tolerance=0.0),
        lambda: KMeans(8, n_init=1, max_iter=10, tol=0.0, random_state=0),
        lambda model, peer: abs(float(model["inertia"]) - peer.inertia_) / peer.inertia_,
        "10 rounds each after its own start; apart: of the inertia",
    ),
    "logistic-regression": Case(
        layered,
        og.LogisticRegression(),
        LogisticRegression,
        lambda model, peer: relative(model["dense"].T - model["dense"].T[0], peer.coef_ - peer.coef_[0]),
        "3 classes, default stopping rules; apart: of differences between classes",
    ),
    "scale": Case(
        lambda n: (mixed(n), None), og.Scale(), StandardScaler, lambda model, peer: max(relative(model["center"], peer.mean_), relative(model["spread"], peer.scale_))
    ),
    "robust-scale": Case(
        lambda n: (mixed(n), None),
        og.RobustScale(),
        RobustScaler,
        lambda model, peer: max(relative(model["center"], peer.center_), relative(model["spread"], peer.scale_)),
        "median and quartiles, ours within 0.2 % of the ranks",
    ),
    "summary": Case(
        lambda n: (mixed(n), None),
        og.Summary(),
        Described,
        lambda model, peer: relative(model["quantiles"].T, peer.table.loc[["25%", "50%", "75%"]]),
        "quartiles, moments and distinct values; beside pandas' describe and nunique",
    ),
    "ica": Case(sources, og.ICA(max_rounds=20, tolerance=1e-300), fast_ica, ica_apart, "20 iterations each"),
}


@dataclass(frozen=True)
class Encoder:
    """One comparison of encoders: `ours` and `peer` fit on what `rows` gives and return its encoded rows; `apart` is the largest relative difference of these."""

    rows: Callable[[int], tuple[Any, ...]]
    ours: Callable[..., Any]
    peer: Callable[..., Any]
    apart: Callable[[Any, Any], float]
    note: str


def documents(n: int) -> tuple[list[str]]:
    """Documents of 5 to 25 words out of 10 000, some far more frequent than others."""
    rng = np.random.default_rng(9)
    words = np.array([f"{'aeiou'[i % 5]}{i:x}" for i in range(10_000)], object)
    ends = np.cumsum(rng.integers(5, 26, n))
    drawn = words[(rng.random(ends[-1]) ** 4 * len(words)).astype(np.int64)].tolist()
    return ([" ".join(drawn[a:b]) for a, b in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)],)


def categories(n: int) -> tuple[Any, Any]:
    """Five columns of 10 to 100 000 categories, and a number that they tell in part."""
    rng = np.random.default_rng(10)
    codes = (rng.random((n, 5)) ** 3 * np.array([10, 100, 1000, 10_000, 100_000])).astype(np.int64)
    return np.array([f"value {i}" for i in range(100_000)], object)[codes], (codes % 7).sum(1) + rng.standard_normal(n)


def their_words(texts: list[str]) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    return TfidfTransformer().fit_transform(HashingVectorizer(alternate_sign=False, norm=None, token_pattern=r"(?u)\b\w+\b").transform(texts))


def their_values(x: Any, y: Any) -> Any:
    from sklearn.preprocessing import TargetEncoder

    return TargetEncoder(target_type="continuous").fit(x, y).transform(x)


def our_words(texts: list[str]) -> Any:
    from outgrow.sklearn import TfidfVectorizer

    return TfidfVectorizer(min_df=0).fit_transform(texts)


def our_values(x: Any, y: Any) -> Any:
    from outgrow.sklearn import TargetEncoder

    return TargetEncoder(target_type="continuous").fit(x, y).transform(x)


def row_by_row(a: Any, b: Any) -> float:
    """The weights of 1 000 rows in order of size: slots have other numbers, and words that share one differ by chance; so the median row."""
    return float(np.median([relative(np.sort(a[i].data), np.sort(b[i].data)) if a[i].nnz == b[i].nnz else 1.0 for i in range(min(1000, a.shape[0]))]))


ENCODERS: dict[str, Encoder] = {
    "tf-idf": Encoder(documents, our_words, their_words, row_by_row, "HashingVectorizer and TfidfTransformer, 2^20 slots; apart: of the median row of 1 000"),
    "target-encoding": Encoder(categories, our_values, their_values, relative, "5 columns of strings, 10 to 100 000 categories; smooth by the data"),
}


def encoded(name: str, n: int, repeats: int) -> list[object]:
    case = ENCODERS[name]
    rows, few = case.rows(n), case.rows(1000)
    took: tuple[list[float], ...] = ([], [], [])
    for _ in range(repeats):
        took[2].append(timed(lambda: case.ours(*few))[0])
        seconds, mine = timed(lambda: case.ours(*rows))
        took[0].append(seconds)
        seconds, theirs = timed(lambda: case.peer(*rows))
        took[1].append(seconds)
    ours, peer, start = (statistics.median(times) for times in took)
    return [name, f"{n:,}", ours, start, peer, f"{peer / ours:.2f}", f"{case.apart(mine, theirs):.0e}"]


def encoders_against_sklearn(sizes: list[int], repeats: int) -> None:
    head = ["encoder", "rows", "ours, s", "of it start-up, s", "scikit-learn, s", "ratio", "apart"]
    table = []
    with threadpool_limits(1):
        for name in ENCODERS:
            encoded(name, 2000, 1)  # compiles, imports
            table += [encoded(name, n, repeats) for n in sizes]
    notes = [f"{name}: {case.note}" for name, case in ENCODERS.items()]
    notes += ["ratio: above 1 ours is faster", f"load at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"]
    keep("encoders-vs-sklearn", "Fit and transform of encoders against scikit-learn, Python strings in memory, one thread: seconds of processor time", head, table, notes)


def fit(learner: og.Learner, rows: Any, engine: Any, *, batch_rows: int = 1 << 16) -> Any:
    return run(Job(learner=og.Then((og.OneHot(), learner)), source=rows, shard_rows=1 << 18, batch_rows=batch_rows), engine)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def fit_peer(case: Case, x: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FastICA says that its iterations were not enough: their number is what is fixed here
        return case.peer().fit(x, y) if y is not None else case.peer().fit(x)


def compared(name: str, n: int, repeats: int) -> list[object]:
    case = CASES[name]
    x, y = case.rows(n)
    rows, few = og.read(x, target=y), og.read(x[:1000], target=None if y is None else y[:1000])
    took: tuple[list[float], ...] = ([], [], [])
    for _ in range(repeats):
        took[2].append(timed(lambda: fit(case.ours, few, Serial()))[0])
        seconds, ours = timed(lambda: fit(case.ours, rows, Serial()))
        took[0].append(seconds)
        seconds, peer = timed(lambda: fit_peer(case, x, y))
        took[1].append(seconds)
    mine, theirs, start = (statistics.median(times) for times in took)
    model = {key[2:]: array for key, array in ours.arrays.items() if key.startswith("1/")}
    found = ours.record
    speed = [mine, start, theirs, f"{theirs / mine:.2f}", f"{theirs / (mine - start):.2f}"]
    return [name, f"{n:,}", *speed, found["passes"], getattr(peer, "n_iter_", ""), f"{case.apart(model, peer):.0e}", found["digest"][:8]]


def against_sklearn(names: list[str], sizes: list[int], repeats: int) -> None:
    head = ["learner", "rows", "ours, s", "of it start-up, s", "scikit-learn, s", "ratio", "after start-up", "our passes", "its iterations", "apart", "digest"]
    table = []
    with threadpool_limits(1):
        for name in names:
            compared(name, 5000, 1)  # compiles, imports
            table += [compared(name, n, repeats) for n in sizes]
    notes = [f"{name}: {CASES[name].note}" for name in names if CASES[name].note]
    notes.append("ratio: above 1 ours is faster; start-up: the same job on 1 000 rows; apart: largest relative difference of what was learned")
    notes += [f"load at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"]
    keep("ten-vs-sklearn", f"The ten against scikit-learn, × {COLUMNS} in memory, one thread: seconds of processor time", head, table, notes)


TEN: dict[str, tuple[str, og.Learner]] = {  # Chu and others' names: the target, and the learner with few rounds
    "locally weighted linear regression": ("number", og.LocallyWeightedRegression(points=tuple(map(tuple, POINTS.tolist())), bandwidth=3.0)),
    "k-means": ("", og.KMeans(clusters=8, max_rounds=2, tolerance=0.0)),
    "logistic regression": ("class", og.LogisticRegression(max_rounds=4)),
    "naive Bayes": ("class", og.NaiveBayes()),
    "linear SVM": ("class", og.LinearSVM(max_rounds=3)),
    "ICA": ("", og.ICA(max_rounds=2, tolerance=1e-300)),
    "PCA": ("", og.PCA()),
    "Gaussian discriminant analysis": ("class", og.DiscriminantAnalysis(kind="quadratic")),
    "EM, Gaussian mixture": ("", og.GaussianMixture(components=8, max_rounds=2, tolerance=0.0)),
    "back-propagation, all rows a step": ("class", og.NeuralNetwork(hidden=(30,), step_rows=0, epochs=2)),
}


def stored(n: int, folder: Path) -> Path:
    """Scaled columns, a class and a number that they almost tell, as a Parquet file that workers open."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file, rng = folder / f"ten-{n}.parquet", np.random.default_rng(9)
    if file.exists():
        return file
    outer = rng.standard_normal((COLUMNS, 3))
    names = [*(f"x{j}" for j in range(COLUMNS)), "class", "number"]
    with pq.ParquetWriter(file, pa.schema([(name, pa.int32() if name == "class" else pa.float64()) for name in names])) as writer:
        for start in range(0, n, 1 << 18):
            x = rng.standard_normal((min(1 << 18, n - start), COLUMNS))
            own = (np.tanh(x) @ outer + rng.gumbel(size=(len(x), 3))).argmax(1).astype(np.int32), np.sin(x[:, 0]) + x[:, 1] ** 2 + rng.standard_normal(len(x))
            writer.write_table(pa.table([*x.T, *own], names=names))
    return file


def one_and_two(names: list[str], n: int, repeats: int, folder: Path) -> None:
    head = ["learner", "passes", "processes:1, s", "processes:2, s", "ratio", "a pass on one, s", "digest"]
    file = stored(n, folder)
    for name in names:
        target, learner = TEN[name]
        rows = og.read(str(file), target=target or None, drop=[other for other in ("class", "number") if other != target])
        took: dict[int, list[float]] = {1: [], 2: []}
        digests = set()
        for _ in range(repeats):
            for workers, times in took.items():
                found = fit(learner, rows, Processes(workers)).record
                times.append(found["train_seconds"])
                digests.add(found["digest"][:8])
        one, two = (statistics.median(times) for times in took.values())
        row = [name, found["passes"], one, two, f"{one / two:.2f}", one / found["passes"], " ".join(digests)]
        notes = ["from a Parquet file, decoding included; Chu and others 2006 saw 1.9 times on two cores", f"load at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"]
        keep("ten-processes", f"The ten on one worker process and on two, {n:,} rows × {COLUMNS}: seconds of wall time", head, [row], notes, part=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=[*CASES, *TEN], nargs="*", default=[*CASES, *TEN])
    parser.add_argument("--encoders", action="store_true", help="TF-IDF and target encoding, in place of the learners")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the rows of --processes lie")
    parser.add_argument("--processes", action="store_true", help="one worker process against two, in place of scikit-learn")
    args = parser.parse_args()
    if args.processes:
        one_and_two([name for name in args.only if name in TEN], (args.rows or [8_000_000])[0], args.repeats, args.folder)
    elif args.encoders:
        encoders_against_sklearn(args.rows or [100_000, 1_000_000], args.repeats)
    else:
        against_sklearn([name for name in args.only if name in CASES], args.rows or [100_000, 1_000_000], args.repeats)


if __name__ == "__main__":
    main()
