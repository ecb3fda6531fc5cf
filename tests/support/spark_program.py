"""A program that learns on a Spark cluster and can be killed: spark_program.py MASTER HOME; prints what happens, and at last the digest."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import toys

from outgrow.core.events import Events
from outgrow.core.run import run
from outgrow.core.store import RunStore
from outgrow.engines.spark import Spark


def say(event: dict[str, Any]) -> None:
    if event["kind"] in ("saved", "resumed", "lost"):
        print(event["kind"], flush=True)


if __name__ == "__main__":
    master, home = sys.argv[1:]
    job = toys.job(toys.Summing(rounds=3), pause=0.05)
    with RunStore(job.id, Path(home)) as store:
        engine = Spark(master, options={"spark.executor.memory": "600m", "spark.ui.enabled": "false"})
        print(run(job, engine, store=store, events=Events(say), save_every=0.1).record["digest"])
