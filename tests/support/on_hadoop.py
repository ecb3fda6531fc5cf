"""A program that trains on Hadoop, started inside the cluster's network by the field tests.

    python on_hadoop.py HOME JOB WORKERS [name=value …]

Options: data (a URL of the rows of `learners`), out (a URL for predictions), pause (seconds before each batch), and whatever `Hadoop` takes.
Prints its events and its end as lines of JSON; workers 0 is the serial engine.
"""

import json
import sys
from pathlib import Path
from typing import Any

import learners
import toys

import outgrow as og
from outgrow.cli.progress import Progress
from outgrow.core.errors import OutgrowError
from outgrow.core.events import Events
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.core.store import RunStore
from outgrow.data.sink import sink_for
from outgrow.engines.hadoop import Hadoop
from outgrow.engines.serial import Serial
from outgrow.learn.predictions import Predict

NUMBERS = og.Beside((("moments", og.Moments()), ("line", og.LinearRegression())))
REAL: dict[str, tuple[str, Any]] = {
    "moments and a line": ("number", og.Then((*learners.ONE_HOT, NUMBERS))),
    "online, 3 lanes": ("two", og.Then((og.Hashing(bits=8), og.OnlineLinear(lanes=3, passes=1)))),
}
TOYS: dict[str, Any] = {
    "kept": toys.Boosting(rounds=2), "sums": toys.Summing(rounds=1), "poisoned": toys.Failing(rounds=1, how="kill", at=500),
}  # fmt: skip


def job(name: str, options: dict[str, str]) -> Job:
    pause = float(options.pop("pause", 0))
    if name in TOYS:
        return toys.job(TOYS[name], pause=pause)
    target, learner = ("number", og.Then((*learners.ONE_HOT, og.LinearRegression()))) if name == "predict" else REAL[name]
    source = og.read(options.pop("data"), target=target, drop=learners.dropped(target))
    made = Job(learner=learner, source=source, shard_rows=100, batch_rows=32)
    if name != "predict":
        return made
    start = run(made, Serial()).arrays
    return Job(learner=Predict(learner, sink_for(options.pop("out"))), source=source, shard_rows=600, batch_rows=32, start=start)


def say(event: dict[str, Any]) -> None:
    print(json.dumps(event, default=str), flush=True)


def main() -> int:
    home, name, workers, *rest = sys.argv[1:]
    options = dict(part.split("=", 1) for part in rest)
    try:
        made = job(name, options)
        engine = Hadoop(int(workers), **options) if int(workers) else Serial()  # type: ignore[arg-type]
        with RunStore(made.id, Path(home)) as store:
            result = run(made, engine, store=store, events=Events(say, Progress()), save_every=0.2)
    except OutgrowError as error:
        say({"kind": "failed", "type": type(error).__name__, "text": str(error)})
        return error.exit_status
    say({"kind": "done", "digest": result.record["digest"], "rows": result.record["rows"]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
