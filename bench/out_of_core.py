"""Data ten times the budget: 20 M rows of 13 numbers (2.3 GB decoded) through every learner of the ten within 230 MB.

    .venv/bin/python bench/out_of_core.py [--folder DIR] [--only pca …]

Each in a program of its own, on one process, rounds kept few: what counts is that memory does not follow the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import clicklog
from table import keep

BUDGET = "230MB"
DECODED = 20_000_000 * 13 * 9  # a double and its validity each
POINTS = tuple(tuple(0.5 * p for _ in range(clicklog.NUMBERS)) for p in range(4))
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {  # the learner, what the target is read as ("": none), its fields
    "locally weighted regression": ("LocallyWeightedRegression", "number", {"points": POINTS, "bandwidth": 2.0}),
    "linear regression": ("LinearRegression", "number", {}),
    "k-means": ("KMeans", "", {"clusters": 5, "max_rounds": 2}),
    "logistic regression": ("LogisticRegression", "binary", {}),
    "naive Bayes": ("NaiveBayes", "binary", {}),
    "linear SVM": ("LinearSVM", "binary", {"max_rounds": 8}),
    "ICA": ("ICA", "", {"max_rounds": 3}),
    "PCA": ("PCA", "", {}),
    "truncated SVD": ("TruncatedSVD", "", {"components": 5}),
    "linear discriminant": ("DiscriminantAnalysis", "binary", {}),
    "quadratic discriminant": ("DiscriminantAnalysis", "binary", {"kind": "quadratic"}),
    "Gaussian mixture": ("GaussianMixture", "", {"components": 3, "max_rounds": 2}),
    "network, all rows a step": ("NeuralNetwork", "binary", {"hidden": (20,), "step_rows": 0, "epochs": 3}),
    "network, in steps": ("NeuralNetwork", "binary", {"hidden": (20,), "epochs": 1}),
}


def files(folder: Path) -> list[Path]:
    """The click log four times: 20 M rows."""
    parts = [folder / "train.parquet", *(folder / f"twin{j}.parquet" for j in range(3))]
    for part in parts[1:]:
        if not part.exists():
            os.link(parts[0], part)
    return parts


def one(name: str, folder: Path) -> None:
    """Prints the record of one learner's run, as JSON."""
    import outgrow as og

    kind, task, fields = CASES[name]
    drop = [f"c{j}" for j in range(clicklog.CATEGORIES)]
    source = og.read([str(part) for part in files(folder)], target="click" if task else None, task=task or None, drop=drop if task else [*drop, "click"])
    run = og.plan(getattr(og, kind)(**fields), source, memory=BUDGET, on="serial", fresh=True, root=folder / "home").run()
    print(json.dumps(run.record, default=str))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.gettempdir()) / "clicklog-5000000"
    if options.one:
        one(options.one, folder)
        return
    clicklog.generate(folder, train=5_000_000)
    rows: list[list[object]] = []
    for name in options.only:
        done = subprocess.run([sys.executable, __file__, "--folder", str(folder), "--one", name], capture_output=True, text=True, check=False)
        if done.returncode:
            rows.append([name, "failed: " + done.stderr.strip().splitlines()[-1], *[""] * 7])
            print(rows[-1], file=sys.stderr)
            continue
        record = json.loads(done.stdout)
        predicted, peak = record["predicted"], record["peak_bytes"]
        sizes = [f"{DECODED / 1e6:,.0f}", round(predicted["peak_bytes"] / 1e6), round(peak / 1e6), f"{DECODED / peak:.0f}"]
        rows.append([name, record["passes"], *sizes, round(predicted["seconds"] or 0), round(record["seconds"]), record["digest"][:8]])
        print(rows[-1], file=sys.stderr)
    head = ["learner", "passes", "MB decoded", "MB predicted", "MB peak", "decoded over peak", "s predicted", "s measured", "digest"]
    keep("out-of-core", f"20 M rows within {BUDGET}", head, rows, [f"Load at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."])


if __name__ == "__main__":
    main()
