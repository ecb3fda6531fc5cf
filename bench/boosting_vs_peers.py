"""Gradient boosting beside LightGBM, XGBoost and scikit-learn: seconds, memory and quality, one thread each.

    .venv/bin/python bench/boosting_vs_peers.py [--cases dense …] [--peers ours lightgbm …] [--repeats 3] [--folder DIR]
    .venv/bin/python bench/boosting_vs_peers.py --leaf            one leaf alone: nanoseconds an update where its rows lie close, and far apart
    .venv/bin/python bench/boosting_vs_peers.py --processes       one worker process against two

Each fit has a process of its own, which loads the rows, fits once and scores rows that it has not seen. Binning: until the rows are bins (ours: until the first root is
known). Seconds are processor seconds, medians of the repeats, in which the programs take turns. Memory: the peak of the process above what it held with
the rows loaded. LightGBM 4.7 with rows and with columns first and with quantised gradients, XGBoost's hist, scikit-learn's
HistGradientBoosting. All grow leaf by leaf with the same numbers of trees, leaves and bins, learning rate 0.1; at least 20 rows a leaf where there is such a
setting.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from table import keep

CASES = {  # rows, columns, kind of target, share missing, trees, leaves
    "dense": (1_000_000, 28, "two", 0.0, 100, 63),
    "long": (5_000_000, 28, "two", 0.0, 100, 63),
    "missing": (1_000_000, 100, "two", 0.1, 100, 63),
    "number": (1_000_000, 28, "number", 0.0, 100, 63),
    "classes": (300_000, 28, "ten", 0.0, 30, 31),
    "flights": (0, 0, "two", 0.0, 100, 63),
}
PEERS = ("ours", "lightgbm rows", "lightgbm columns", "lightgbm quantised", "xgboost", "scikit-learn")
NEW = 200_000


def made(name: str, folder: Path) -> Path:
    """The rows of a case as .npy files (x, y, x_new, y_new), or the flights as Parquet, made once."""
    rows, columns, kind, missing, _, _ = CASES[name]
    place = folder / name
    if (place / "done").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    if name == "flights":
        os.environ["OUTGROW_DEMO"] = str(place)
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from demo.flights import prepare

        prepare()
    else:
        random = np.random.default_rng(0)
        for part, n in (("", rows), ("_new", NEW)):
            x = random.normal(size=(n, columns))
            z = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + 0.5 * x[:, 3] ** 2 - 0.5 + 0.7 * x[:, 4] * (x[:, 5] > 0) + 0.3 * x[:, 6:12].sum(1)
            if kind == "two":
                y = (random.random(n) < 1 / (1 + np.exp(-z))).astype(np.float64)
            else:
                y = z + random.normal(size=n)
                y = np.digitize(y, np.linspace(-3, 3, 9)).astype(np.float64) if kind == "ten" else y
            if missing:
                x[random.random(x.shape) < missing] = np.nan
            np.save(place / f"x{part}.npy", x)
            np.save(place / f"y{part}.npy", y)
    (place / "done").touch()
    return place


def loaded(name: str, place: Path) -> tuple[Any, Any, Any, Any]:
    """Rows and targets to learn from, and new ones."""
    if name != "flights":
        return tuple(np.load(place / f"{part}.npy") for part in ("x", "y", "x_new", "y_new"))  # type: ignore[return-value]
    import pandas as pd

    old, new = (pd.read_parquet(place / f"{part}.parquet") for part in ("train", "holdout"))
    for column in old.columns:
        if old[column].dtype == object or str(old[column].dtype) in ("str", "string"):
            values = sorted(old[column].dropna().unique())
            old[column], new[column] = pd.Categorical(old[column], values), pd.Categorical(new[column], values)
    return old.drop(columns="late"), old["late"].to_numpy(float), new.drop(columns="late"), new["late"].to_numpy(float)


def high_water(reset: bool = False) -> int:
    """The most bytes this process has held, since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def ours(name: str, x: Any, y: Any, x_new: Any, workers: int = 0) -> dict[str, Any]:
    import outgrow as og
    from outgrow.core.events import Events
    from outgrow.core.job import Job
    from outgrow.core.run import run
    from outgrow.core.state import under
    from outgrow.engines.processes import Processes
    from outgrow.engines.serial import Serial
    from outgrow.plan.cuts import cuts
    from outgrow.plan.look import look

    _, _, kind, _, trees, leaves = CASES[name]
    learner = og.GradientBoosting(trees=trees, leaves=leaves)

    def rows(x: Any, y: Any) -> Any:
        columns = {f"c{j:03}": x[:, j] for j in range(x.shape[1])} if isinstance(x, np.ndarray) else x.assign(y=y)
        task = "number" if kind == "number" else "classes"
        return og.read(columns | {"y": y.astype(np.int64) if kind != "number" else y} if isinstance(columns, dict) else columns, target="y", task=task)

    source = rows(x, y)
    rule = cuts(look(source), learner.batch_bytes)
    job = Job(learner=og.Then((og.OneHot(), learner)), source=source, shard_rows=rule.shard_rows, batch_rows=rule.batch_rows)
    binned: list[float] = []
    clock = time.perf_counter if workers else time.process_time
    events = Events(lambda event: binned.append(clock()) if event["kind"] == "told" and event["facts"].get("trees") == 0.0 else None)
    held, began = high_water(reset=True), clock()
    result = run(job, Processes(workers) if workers else Serial(), events=events)
    ended = clock()
    peak = high_water() - held
    found: dict[str, Any] = {"bin": binned[2 if name == "flights" else 1] - began, "digest": result.record["digest"], "peak": peak}
    found["train"] = ended - began - found["bin"]
    if workers:
        return found
    new = rows(x_new, np.arange(len(x_new)) % (10 if kind == "ten" else 2))  # any target will do
    began, encoder, trained = time.process_time(), og.OneHot(), under("1", result.arrays)
    encoded = (encoder.apply(under("0", result.arrays), batch, fitting=False) for batch in new.read(0, new.rows, 1 << 15))
    parts = [learner.predict(trained, batch) for batch in encoded]
    found["predict"] = time.process_time() - began
    names = [f"probability_{k}" for k in range(10)] if kind == "ten" else ["probability" if kind == "two" else "prediction"]
    return found | {"scores": np.stack([np.concatenate([part[name] for part in parts]) for name in names], 1)}


def lightgbm(name: str, mode: str, x: Any, y: Any, x_new: Any) -> dict[str, Any]:
    import lightgbm as peer

    _, _, kind, _, trees, leaves = CASES[name]
    objective = {"two": "binary", "ten": "multiclass", "number": "regression"}[kind]
    settings = {"objective": objective, "num_leaves": leaves, "learning_rate": 0.1, "num_threads": 1, "verbose": -1} | ({"num_class": 10} if kind == "ten" else {})
    settings |= {"rows": {"force_row_wise": True}, "columns": {"force_col_wise": True}, "quantised": {"use_quantized_grad": True}}[mode]
    held, began = high_water(reset=True), time.process_time()
    rows = peer.Dataset(x, label=y, params=settings).construct()
    binned = time.process_time()
    model = peer.train(settings, rows, trees)
    ended = time.process_time()
    peak = high_water() - held
    began_new = time.process_time()
    scores = model.predict(x_new, num_threads=1)
    return {"bin": binned - began, "train": ended - binned, "peak": peak, "predict": time.process_time() - began_new, "scores": np.asarray(scores).reshape(len(x_new), -1)}


def xgboost(name: str, x: Any, y: Any, x_new: Any) -> dict[str, Any]:
    import xgboost as peer

    _, _, kind, _, trees, leaves = CASES[name]
    objective = {"two": "binary:logistic", "ten": "multi:softprob", "number": "reg:squarederror"}[kind]
    settings = {"objective": objective, "tree_method": "hist", "grow_policy": "lossguide", "max_leaves": leaves, "max_depth": 0, "learning_rate": 0.1, "nthread": 1, "max_bin": 255}
    settings |= {"num_class": 10} if kind == "ten" else {}
    held, began = high_water(reset=True), time.process_time()
    rows = peer.QuantileDMatrix(x, y, nthread=1, max_bin=255, enable_categorical=True)
    binned = time.process_time()
    model = peer.train(settings, rows, trees)
    ended = time.process_time()
    peak = high_water() - held
    began_new = time.process_time()
    scores = model.predict(peer.DMatrix(x_new, nthread=1, enable_categorical=True))
    return {"bin": binned - began, "train": ended - binned, "peak": peak, "predict": time.process_time() - began_new, "scores": np.asarray(scores).reshape(len(x_new), -1)}


def scikit(name: str, x: Any, y: Any, x_new: Any) -> dict[str, Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    _, _, kind, _, trees, leaves = CASES[name]
    if name == "flights":  # more categories than it takes
        x, x_new = (part.select_dtypes("number") for part in (x, x_new))
    model = (HistGradientBoostingRegressor if kind == "number" else HistGradientBoostingClassifier)(max_iter=trees, max_leaf_nodes=leaves, early_stopping=False)
    with threadpool_limits(1):
        held, began = high_water(reset=True), time.process_time()
        model.fit(x, y)
        ended = time.process_time()
        peak = high_water() - held
        scores = model.predict(x_new) if kind == "number" else model.predict_proba(x_new)
        scores = scores[:, 1:] if kind == "two" else scores
    return {"bin": 0.0, "train": ended - began, "peak": peak, "predict": time.process_time() - ended, "scores": np.asarray(scores).reshape(len(x_new), -1)}


def one(name: str, peer: str, folder: Path) -> dict[str, Any]:
    """One fit, in this process."""
    from sklearn.metrics import log_loss, roc_auc_score

    x, y, x_new, y_new = loaded(name, made(name, folder))
    if peer.startswith("ours") or peer == "two":
        found = ours(name, x, y, x_new, {"ours 1": 1, "ours 2": 2}.get(peer, 0))
    elif peer.startswith("lightgbm"):
        found = lightgbm(name, peer.split()[1], x, y, x_new)
    else:
        found = (xgboost if peer == "xgboost" else scikit)(name, x, y, x_new)
    scores = found.pop("scores", None)
    if scores is None:
        return found
    if CASES[name][2] == "number":
        return found | {"loss": float(np.sqrt(np.mean((scores[:, 0] - y_new) ** 2))), "auc": float("nan")}
    chances = np.column_stack([1 - scores, scores]) if scores.shape[1] == 1 else scores
    auc = roc_auc_score(y_new, scores[:, 0]) if scores.shape[1] == 1 else float("nan")
    return found | {"loss": float(log_loss(y_new, chances / chances.sum(1, keepdims=True))), "auc": float(auc)}


def apart(name: str, peer: str, folder: Path) -> dict[str, Any]:
    """One fit, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--one", name, peer, "--folder", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer} on {name}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(names: list[str], peers: list[str], repeats: int, folder: Path) -> None:
    head = ["case", "program", "binning, s", "training, s", "of LightGBM's", "peak above the rows, MB", "scoring, µs a row", "loss", "AUC"]
    for name in names:
        made(name, folder)
        found: dict[str, list[dict[str, Any]]] = {peer: [] for peer in peers}
        for _ in range(repeats):
            for peer in peers:
                found[peer].append(apart(name, peer, folder))
        middle = {peer: {key: statistics.median(run[key] for run in runs) for key in ("bin", "train", "peak", "predict", "loss", "auc")} for peer, runs in found.items()}
        best = min((item["train"] for peer, item in middle.items() if peer.startswith("lightgbm")), default=float("nan"))
        fresh = NEW if name != "flights" else len(loaded(name, folder / name)[2])
        rows = [
            [name, peer, f"{item['bin']:.2f}", f"{item['train']:.2f}", f"{item['train'] / best:.2f}", f"{item['peak'] / 1e6:.0f}", f"{item['predict'] / fresh * 1e6:.2f}",
             f"{item['loss']:.5f}", f"{item['auc']:.5f}"] for peer, item in middle.items()
        ]  # fmt: skip
        notes = [
            "Loss: log loss, or root mean squared error of numbers. scikit-learn's binning is within its training; on the flights it reads the numbers alone.",
            f"Medians of {repeats}, processor seconds, one thread.",
        ]
        keep("boosting-vs-peers", "Gradient boosting beside LightGBM, XGBoost and scikit-learn", head, rows, notes, part=2)


def two_processes(folder: Path, repeats: int) -> None:
    rows: list[list[object]] = []
    for name in ("dense", "long"):
        made(name, folder)
        found: dict[str, list[dict[str, Any]]] = {peer: [] for peer in ("ours 1", "ours 2")}
        for _ in range(repeats):
            for peer, runs in found.items():
                runs.append(apart(name, peer, folder))
        assert len({run["digest"] for runs in found.values() for run in runs}) == 1
        one_, two_ = (statistics.median(run["train"] + run["bin"] for run in found[peer]) for peer in found)
        rows.append([name, f"{one_:.2f}", f"{two_:.2f}", f"{one_ / two_:.2f}", found["ours 1"][0]["digest"][:12]])
    head = ["case", "one process, s", "two, s", "times as fast", "digest of both"]
    keep("boosting-processes", "Gradient boosting on one worker process and on two", head, rows, ["Seconds by the clock, start-up included."])


def leaf() -> None:
    """The loop that most of the time goes to, on a leaf of all rows and on leaves whose rows lie far apart."""
    from outgrow.learn.trees.rows import _add_leaf, scratch

    random, n, columns, width = np.random.default_rng(0), 1 << 18, 28, 32
    codes = random.integers(0, 255, n * width, np.uint8).view(np.uint64)
    packed = ((random.integers(-8000, 8000, n, np.int32) << 16) | random.integers(0, 2047, n, np.int32) | 0x8000).astype(np.int32)
    local, sums, rows = np.zeros(scratch(columns), np.int64), np.zeros(columns * 768, np.int64), []
    for share in (1, 4, 16, 64):
        chosen = np.flatnonzero(random.random(n) < 1 / share).astype(np.uint32)
        took = []
        for _ in range(50):
            began = time.perf_counter()
            _add_leaf(codes, width, chosen, packed, columns, local, sums)
            took.append(time.perf_counter() - began)
        rows.append([f"1/{share}", len(chosen), statistics.median(took) / len(chosen) / columns * 1e9])
    note = "Rows of a leaf are asked for 24 ahead; without that, leaves far apart take several times as long."
    keep("boosting-leaf", "Histogram of one leaf, 262 144 rows of 28 columns", ["share of the rows", "rows", "ns an update"], rows, [note])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "outgrow-bench-boosting", help="the rows are made there once")
    parser.add_argument("--leaf", action="store_true")
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one, options.folder)))
    elif options.leaf:
        leaf()
    elif options.processes:
        two_processes(options.folder, options.repeats)
    else:
        compare(options.cases, options.peers, options.repeats, options.folder)


if __name__ == "__main__":
    main()
