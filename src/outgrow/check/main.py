"""The command: learners by name or by place, one line a law."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator, Sequence

from ..core.learner import Learner
from ..data.own import own_learner
from .check import Report, check

__all__ = ["run_checks", "subjects"]


def subjects() -> dict[str, list[Learner]]:
    """outgrow's own learners, features and combinations of them, by their names on the command line; several where fields change much."""
    import outgrow as og

    logistic, blocks, online, mixture = og.LogisticRegression, og.BlockLinear, og.OnlineLinear, og.GaussianMixture
    net, encode = og.NeuralNetwork, og.TargetEncode
    return {
        "moments": [og.Moments()],
        "summary": [og.Summary(), og.Summary(quantiles=(0.1, 0.9), top=3, error=0.1)],
        "linear-regression": [og.LinearRegression()],
        "logistic-regression": [logistic(), logistic(l2=0.0, validation=0.25, class_weight="balanced", max_rounds=8)],
        "block-linear": [blocks(max_sweeps=2, block_slots=40, block_columns=9), blocks(loss="squared", max_sweeps=2, block_slots=90, block_columns=2, tolerance=1e-6)],
        "linear-svm": [og.LinearSVM(), og.LinearSVM(l2=0.0, intercept=False, class_weight="balanced")],
        "k-means": [og.KMeans(clusters=3)],
        "naive-bayes": [og.NaiveBayes(), og.NaiveBayes(kind="bernoulli", binarize=0.5)],
        "discriminant-analysis": [og.DiscriminantAnalysis(), og.DiscriminantAnalysis(kind="quadratic", shrinkage=0.1)],
        "pca": [og.PCA(components=3, whiten=True)],
        "truncated-svd": [og.TruncatedSVD(components=2), og.TruncatedSVD(components=2, oversampling=0, rounds=2)],
        "ica": [og.ICA(components=3, max_rounds=4), og.ICA(components=2, contrast="exp", max_rounds=2)],
        "gaussian-mixture": [mixture(components=2, max_rounds=3), mixture(components=2, covariance="tied", starts=2, max_rounds=2), mixture(covariance="diagonal", max_rounds=2)],
        "locally-weighted-regression": [og.LocallyWeightedRegression(points=((0.0, 20.0, 4.0), (1.0, 10.0, 2.0)), bandwidth=8.0)],
        "neural-network": [net(hidden=(5,), epochs=2), net(hidden=(4, 3), step_rows=64, virtual=4, epochs=2, validation=0.2), net(hidden=(), step_rows=0, update="sgd", epochs=3)],
        "online-linear": [online(lanes=1), online(loss="squared", lanes=3, passes=2), online(update="ftrl", l1=0.01, lanes=2, meet_every=2), online(batch_rounds=2, multi="ovr")],
        "hashing": [og.Hashing(bits=6, interactions=("d:e", "a:d"), signed=True)],
        "one-hot": [og.OneHot()],
        "tf-idf": [og.TfIdf(bits=6, ngrams=2, sublinear=True), og.TfIdf(bits=10, signed=True, norm="l1", min_df=0, max_df=0.5, interactions=("d:e", "a:d"))],
        "scale": [og.Scale()],
        "robust-scale": [og.RobustScale(), og.RobustScale(quantile_range=(10.0, 90.0), unit_variance=True, error=0.1)],
        "missing": [og.Missing()],
        "dates": [og.Dates()],
        "interactions": [og.Interactions(interactions=("a:b",))],
        "target-encode": [encode(), encode(bits=5, smooth=2.0, folds=3), og.Then((encode(columns=("e",)), og.Missing(), og.OneHot(), og.LinearRegression()))],
        "then": [og.Then((og.Missing(), og.Scale(), og.OneHot(), logistic()))],
        "beside": [og.Beside((("one", og.Then((og.Missing(), og.OneHot(), logistic()))), ("two", og.Moments())))],
        "fused": [og.Fused((("one", og.Moments()), ("two", og.Moments())))],
    }


def _chosen(names: Sequence[str]) -> Iterator[Learner]:
    own = subjects()
    for name in names or own:
        yield from own[name] if name in own else [own_learner(name, allowed=", ".join(own))]


def run_checks(names: Sequence[str], json: bool = False) -> int:
    """Check learners and print one line a law; returns 0 where every law holds, else 1.

    Parameters
    ----------
    names : sequence of str
        ``online-linear``, ``mypkg:MyLearner``, ``path/to/file.py:MyLearner``; all of outgrow's own when empty.
    json : bool
        Print one JSON object instead.

    Raises
    ------
    BadField, BadInput
        For a name behind which there is no learner, or a learner that accepts no rows.
    """
    learners = list(_chosen(names))
    reports: list[Report] = []
    for learner in learners:
        report = check(learner)
        reports.append(report)
        if not json:
            sys.stdout.write(f"{report}\n\n")
            sys.stdout.flush()
    failed = [record for report in reports for record in report.failures]
    held = sum(record.status == "ok" for report in reports for record in report.records)
    if json:
        sys.stdout.write(jsonlib.dumps({"ok": not failed, "reports": [report.as_json() for report in reports]}) + "\n")
    else:
        sys.stdout.write(f"{held} laws hold, {len(failed)} are broken, over {len(reports)} learners.\n")
    return 1 if failed else 0
