"""What a Hadoop cluster costs beside the work itself: two jobs without work on it, kept beside this machine's calibration."""

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
from .calibrate import _fold, _Lanes
from .costs import ENGINES, Costs

__all__ = ["hadoop_costs"]


def hadoop_costs(engine: Any, root: Path | None = None) -> Costs | OutgrowError:
    """The costs of the cluster of an engine that can be used, with its number of mappers: as kept, else tried now; or why that failed.

    Cost of the trial: two jobs, of some ten seconds each on a quiet cluster. Later rounds of a run are like the second.
    """
    path, key = (root or home()) / "calibration-hadoop.json", f"{engine.yarn.address} {engine.queue} {engine.workers} {sorted(builds().items())}"
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        kept = {}
    try:
        return Costs(**kept[key])
    except (KeyError, TypeError, ValueError):  # none yet, or of another form
        found = _tried(engine)
    if isinstance(found, Costs):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [json.dumps({**kept, key: asdict(found)}, indent=1).encode()])
    return found


def _tried(engine: Any) -> Costs | OutgrowError:
    tasks = max(1, engine.workers)
    job = Job(learner=Learner(), source=_Lanes(tasks), shard_rows=1, batch_rows=1)
    refusal: OutgrowError | None = engine.can(job)
    if refusal is not None:
        return refusal
    with one_thread():
        began = time.perf_counter()
        try:
            engine.start(job, Events(), None)
            first = _fold(engine, "nothing", tasks)[0]
            start = time.perf_counter() - began - first
            round_ = _fold(engine, "nothing", tasks)[0]
            ending = time.perf_counter()
        except OutgrowError as error:
            return error
        finally:
            engine.stop()
    around = start + max(0.0, first - round_) + time.perf_counter() - ending  # staging, what the nodes fetch once, and the last job's own end
    return replace(ENGINES["hadoop"], start_seconds=around, round_seconds=round_)
