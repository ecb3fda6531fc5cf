"""OnlineLinear against scikit-learn's SGDClassifier, River and Dask-ML on the click log: rows a second, peak memory, test log loss.

    .venv/bin/python bench/online_vs_peers.py [--folder DIR] [--rows 200000]

Each learner has a process of its own, one core, one pass over the same rows, read from Parquet inside the timing. The slow ones
take fewer rows, as said in the table. scikit-learn hashes with FeatureHasher (2^22, "column=value"), numbers are
standardised by StandardScaler.partial_fit; River standardises too. Dask-ML is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import clicklog
from table import keep

COMMON = """
import json, re, sys, time
import numpy as np
import pyarrow.parquet as pq
folder, rows, tested = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
NUMBERS, NAMES = [f"n{j}" for j in range(13)], [f"c{j}" for j in range(26)]
def batches(name, most, size=10_000):
    seen = 0
    for batch in pq.ParquetFile(f"{folder}/{name}.parquet").iter_batches(size):
        batch = batch.slice(0, most - seen)
        if not batch.num_rows:
            return
        seen += batch.num_rows
        yield batch
def done(began, before, p, y):
    p = np.clip(p, 1e-15, 1 - 1e-15)
    loss = -np.log(np.where(y == 1, p, 1 - p)).mean()
    rate = rows / (time.process_time() - began - before)
    print(json.dumps({"rate": rate, "memory": int(re.findall(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[0]) / 1024, "loss": float(loss)}))
"""

OURS = """
import outgrow as og
from outgrow.core.combine import Then
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.data.features import Hashing
from outgrow.engines.serial import Serial
learner = Then((Hashing(bits=22), og.OnlineLinear(lanes=1)))
test = og.read(f"{folder}/test.parquet", target="click", task="binary")
train = og.read([f"{folder}/train.parquet"], target="click", task="binary")
fit = lambda source: run(Job(learner=learner, source=source, shard_rows=1 << 18, batch_rows=1 << 16), Serial())
fit(test)  # kernels are loaded
began = time.process_time()
result = fit(train)
took = time.process_time() - began
rows = train.rows
batch = next(iter(test.read(0, tested, tested)))
p = learner.predict(result.arrays, batch)["probability"]
done(time.process_time() - took, 0, p, batch.target)
"""

ONE = """
from outgrow.learn.online_linear import OnlineLinear
from outgrow.learn.online_one import Online, columns
online = Online(OnlineLinear(), columns(numbers=NUMBERS, categories=NAMES, classes=[0, 1]))
online.learn_one({}, 0, 0.0)
began, reading = time.process_time(), 0.0
for batch in batches("train", rows):
    at = time.process_time()
    examples, y = batch.select(NUMBERS + NAMES).to_pylist(), batch["click"].to_pylist()
    reading += time.process_time() - at
    for x, label in zip(examples, y):
        online.learn_one(x, label)
took = time.process_time() - began
test = [batch for batch in batches("test", 5000)]
p = np.array([online.predict_one(x)["probability"] for batch in test for x in batch.select(NUMBERS + NAMES).to_pylist()])
done(time.process_time() - took, reading, p, np.concatenate([batch["click"].to_numpy() for batch in test]))
"""

SKLEARN = """
import scipy.sparse as sp
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler
hasher, scaler = FeatureHasher(n_features=2**22, input_type="string", alternate_sign=False), StandardScaler()
model = SGDClassifier(loss="log_loss", alpha=1e-4)
def matrix(batch, fit):
    x = np.column_stack([batch[name].to_numpy(zero_copy_only=False) for name in NUMBERS])
    if fit:
        scaler.partial_fit(x)
    x = np.nan_to_num(scaler.transform(x))
    columns = [[f"{name}={value}" for value in batch[name].to_pylist()] for name in NAMES]
    return sp.hstack([hasher.transform(zip(*columns)), sp.csr_matrix(x)], format="csr")
began = time.process_time()
for batch in batches("train", rows):
    fitting(matrix(batch, True), batch["click"].to_numpy())
took = time.process_time() - began
test = list(batches("test", tested))
p = np.concatenate([model.predict_proba(matrix(batch, False))[:, 1] for batch in test])
done(time.process_time() - took, 0, p, np.concatenate([batch["click"].to_numpy() for batch in test]))
"""

PLAIN = "fitting = lambda x, y: model.partial_fit(x, y, classes=[0, 1])\n"
DASK = """
from dask_ml.wrappers import Incremental
wrapped = Incremental(model, assume_equal_chunks=True)
def fitting(x, y):
    wrapped.partial_fit(x, y, classes=[0, 1])
    globals()["model"] = wrapped.estimator_
"""

DASK_LOGISTIC = """
import dask
import dask.array as da
from dask_ml.linear_model import LogisticRegression
from sklearn.feature_extraction import FeatureHasher
from sklearn.preprocessing import StandardScaler
dask.config.set(scheduler="synchronous")
hasher, scaler = FeatureHasher(n_features=256, input_type="string", alternate_sign=False), StandardScaler()
def block(batch, fit):
    x = np.column_stack([batch[name].to_numpy(zero_copy_only=False) for name in NUMBERS])
    if fit:
        scaler.partial_fit(x)
    columns = [[f"{name}={value}" for value in batch[name].to_pylist()] for name in NAMES]
    return np.hstack([np.nan_to_num(scaler.transform(x)), hasher.transform(zip(*columns)).toarray()])
began = time.process_time()
read = list(batches("train", rows))
x = da.concatenate([da.from_array(block(batch, True), chunks=-1) for batch in read])
y = da.concatenate([da.from_array(batch["click"].to_numpy(), chunks=-1) for batch in read])
model = LogisticRegression(solver="lbfgs", C=1.0).fit(x, y)
took = time.process_time() - began
test = list(batches("test", tested))
p = np.concatenate([np.asarray(model.predict_proba(da.from_array(block(batch, False), chunks=-1)))[:, 1] for batch in test])
done(time.process_time() - took, 0, p, np.concatenate([batch["click"].to_numpy() for batch in test]))
"""

RIVER = """
from river import linear_model, optim, preprocessing
scaler, model = preprocessing.StandardScaler(), linear_model.LogisticRegression(optim.AdaGrad(0.1))
def example(x):
    numbers = {name: x[name] for name in NUMBERS if x[name] is not None}
    return numbers, {f"{name}={x[name]}": 1.0 for name in NAMES}
began = time.process_time()
for batch in batches("train", rows):
    y = batch["click"].to_pylist()
    for x, label in zip(batch.select(NUMBERS + NAMES).to_pylist(), y):
        numbers, flags = example(x)
        scaler.learn_one(numbers)
        model.learn_one(scaler.transform_one(numbers) | flags, label)
took = time.process_time() - began
test = list(batches("test", 5000))
p = []
for batch in test:
    for x in batch.select(NUMBERS + NAMES).to_pylist():
        numbers, flags = example(x)
        p.append(model.predict_proba_one(scaler.transform_one(numbers) | flags)[True])
done(time.process_time() - took, 0, np.array(p), np.concatenate([batch["click"].to_numpy() for batch in test]))
"""

RIVER_MANY = """
import pandas as pd
from river import linear_model, optim, preprocessing
scaler, model = preprocessing.StandardScaler(), linear_model.LogisticRegression(optim.AdaGrad(0.1))
def frame(batch):
    numbers = pd.DataFrame({name: batch[name].to_numpy(zero_copy_only=False) for name in NUMBERS}).fillna(0.0)
    return numbers, pd.get_dummies(pd.DataFrame({name: batch[name].to_pandas() for name in NAMES[:9]}), dtype=float)
began = time.process_time()
for batch in batches("train", rows, 1000):
    numbers, flags = frame(batch)
    scaler.learn_many(numbers)
    model.learn_many(pd.concat([scaler.transform_many(numbers), flags], axis=1), pd.Series(batch["click"].to_numpy().astype(bool)))
took = time.process_time() - began
test = list(batches("test", 20000, 1000))
p = []
for batch in test:
    numbers, flags = frame(batch)
    p.append(model.predict_proba_many(pd.concat([scaler.transform_many(numbers), flags], axis=1))[True].to_numpy())
done(time.process_time() - took, 0, np.concatenate(p), np.concatenate([batch["click"].to_numpy() for batch in test]))
"""


def measured(body: str, folder: Path, rows: int) -> dict[str, Any]:
    command = ["taskset", "-c", "0", sys.executable, "-W", "ignore", "-c", COMMON + body, str(folder), str(rows), "50000"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.gettempdir()) / f"clicklog-{options.rows}-peers"
    clicklog.generate(folder, train=options.rows)
    few = min(options.rows, 20_000)
    jobs = [
        ("OnlineLinear", OURS, options.rows, ""),
        ("OnlineLinear, one by one", ONE, options.rows, "dictionaries in memory; test loss on 5 000 rows"),
        ("scikit-learn SGDClassifier.partial_fit", PLAIN + SKLEARN, options.rows, ""),
        ("River LogisticRegression, one by one", RIVER, few, "test loss on 5 000 rows"),
        ("River LogisticRegression, learn_many", RIVER_MANY, few, "numbers and the first nine categories alone; test loss on 20 000 rows"),
    ]
    if importlib.util.find_spec("dask_ml"):
        jobs.insert(3, ("Dask-ML Incremental", SKLEARN.replace("def matrix", DASK + "def matrix", 1), options.rows, ""))
        note = "numbers and categories hashed to 256 dense columns (its solvers take no sparse rows); L-BFGS, many passes, all rows in memory"
        jobs.insert(4, ("Dask-ML LogisticRegression", DASK_LOGISTIC, options.rows, note))
    found = [(name, rows, note, measured(body, folder, rows)) for name, body, rows, note in jobs]
    ours = found[0][3]["rate"]
    table = [[name, f"{rows:,}", f"{f['rate']:,.0f}", f"{ours / f['rate']:.3g}", f"{f['memory']:.0f}", f"{f['loss']:.4f}", note] for name, rows, note, f in found]
    notes = ["One pass, one core; rows a second of processor time, Parquet decoding and hashing included, start-up not."]
    keep("online-vs-peers", "Online learning in Python", ["learner", "rows", "rows/s", "OnlineLinear is faster by", "peak MB", "test log loss", "note"], table, notes)


if __name__ == "__main__":
    main()
