"""A script without a main guard whose learner can be imported: `python guardless.py FOLDER` works as it stands."""

import json
import sys
from pathlib import Path

import toys

from outgrow.core.run import run
from outgrow.core.store import RunStore
from outgrow.engines.processes import Processes

job = toys.job(toys.LEARNERS["sums"])
with RunStore(job.id, Path(sys.argv[1])) as store:
    print(json.dumps({"digest": run(job, Processes(2), store=store).record["digest"]}))
