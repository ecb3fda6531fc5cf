"""Boosted trees and online learning on the click log and on the flights: seconds and quality, so that one can choose by measurement.

    .venv/bin/python bench/boosting_vs_online.py [--folder DIR] [--train 1000000]

The plan's own features for each learner; trees read the 254 most frequent values of a column of categories. Serial, seconds by the clock of the whole run, kernels compiled
before. Quality on rows that neither has seen: the test rows of the click log, the last two months of the flights.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import clicklog
from table import keep

import outgrow as og

LEARNERS: dict[str, Any] = {
    "online, one pass": og.OnlineLinear(),
    "online, ten passes": og.OnlineLinear(passes=10, validation=0.1),
    "100 trees of 31 leaves": og.Then((og.OneHot(max_categories=254), og.GradientBoosting(trees=100, leaves=31))),
    "400 trees of 63 leaves": og.Then((og.OneHot(max_categories=254), og.GradientBoosting(trees=400, leaves=63, validation=0.1))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "outgrow-bench-online", help="the rows are made there once")
    parser.add_argument("--train", type=int, default=1_000_000)
    options = parser.parse_args()
    clicks, flights = options.folder / f"clicks-{options.train}", options.folder / "flights"
    clicklog.generate(clicks, train=options.train)
    os.environ["OUTGROW_DEMO"] = str(flights)
    from demo.flights import prepare

    prepare()
    rows: list[list[object]] = []
    for name, train, new, target in (
        ("click log", clicks / "train.parquet", clicks / "test.parquet", "click"),
        ("flights", flights / "train.parquet", flights / "holdout.parquet", "late"),
    ):
        for learner, what in LEARNERS.items():
            source = og.read(train, target=target)
            og.plan(what, og.read(new, target=target), on="serial", probe=False).run(fresh=True)  # compiles
            found = og.plan(what, source, on="serial", probe=False).run(fresh=True)
            scores = og.evaluate(found.model, new)
            rows.append([name, f"{source.rows:,}", learner, found.record["seconds"], f"{scores['log_loss']:.4f}", f"{scores['auc']:.4f}", f"{scores['baseline']['log_loss']:.4f}"])
    head = ["rows from", "rows", "learner", "seconds", "log loss", "AUC", "log loss of a constant guess"]
    keep("boosting-vs-online", "Boosted trees beside online learning", head, rows)


if __name__ == "__main__":
    main()
