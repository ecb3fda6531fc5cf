"""What a Spark cluster costs beside the work itself: one short trial on it, kept beside this machine's calibration."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..core.errors import OutgrowError
from ..core.events import Events
from ..core.job import Job, builds
from ..core.learner import Learner
from ..core.run import one_thread
from ..core.store import home, write_whole
from .calibrate import _BYTES, _fold, _Lanes
from .costs import ENGINES, Costs
from .where import Where, make_engine

__all__ = ["spark_costs"]


def spark_costs(on: Where, root: Path | None = None) -> tuple[Costs, int] | OutgrowError:
    """The costs of the cluster at an address and the tasks it runs at a time: as kept, else tried now; or why it cannot be used.

    Cost of the trial: the cluster's own start (some 5 to 15 s) and a dozen rounds without work.
    """
    path, key = (root or home()) / "calibration-spark.json", f"{on} {sorted(builds().items())}"
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        kept = {}
    try:
        return Costs(**kept[key if on.master else ""]["costs"]), int(kept[key]["tasks"])
    except (KeyError, TypeError, ValueError):  # none yet, or of another form
        found = _tried(on)
    if isinstance(found, OutgrowError) or not on.master:  # a program's own session is another one next time
        return found
    costs, tasks = found
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, [json.dumps({**kept, key: {"costs": asdict(costs), "tasks": tasks}}, indent=1).encode()])
    return costs, tasks


def _tried(on: Where) -> tuple[Costs, int] | OutgrowError:
    engine: Any = make_engine(on)
    job = Job(learner=Learner(), source=_Lanes(64), shard_rows=1, batch_rows=1)
    refusal: OutgrowError | None = engine.can(job)
    if refusal is not None:
        return refusal
    with one_thread():
        began = time.perf_counter()
        try:
            engine.start(job, Events(), None)
            start = time.perf_counter() - began
            tasks = max(1, engine.workers)
            _fold(engine, "nothing", tasks)
            rounds = sorted(_fold(engine, "nothing", tasks)[0] for _ in range(9))[4]
            wide = min(_fold(engine, "wide", 1)[0] for _ in range(2))
            _fold(engine, "busy", tasks)
            alone, together = (min(_fold(engine, "busy", count)[1] for _ in range(2)) for count in (1, tasks))
        except OutgrowError as error:
            return error
        finally:
            engine.stop()
    byte = max(0.0, wide - rounds) / _BYTES
    share = min(1.0, max(0.2, alone / together))
    return replace(ENGINES["spark"], slots=tasks, start_seconds=start, round_seconds=rounds, node_byte_seconds=byte, given_byte_seconds=byte, share=share), tasks
