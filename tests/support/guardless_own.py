"""A script without a main guard that defines its learner itself: workers would start over, and are told so."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import toys

from outgrow.core.errors import OutgrowError
from outgrow.core.run import run
from outgrow.core.store import RunStore
from outgrow.engines.processes import Processes


@dataclass(frozen=True)
class Own(toys.Summing):
    pass


job = toys.job(Own())
if sys.argv[2] == "guarded" and __name__ != "__main__":
    job = None
try:
    if job is not None:
        if sys.argv[2] == "store":
            with RunStore(job.id, Path(sys.argv[1])) as store:
                result = run(job, Processes(2), store=store)
        else:
            result = run(job, Processes(2))
        print(json.dumps({"digest": result.record["digest"]}))
except OutgrowError as error:
    if sys.argv[2] == "exit":
        sys.exit(str(error))
    print(error, file=sys.stderr)
    if __name__ != "__main__":
        raise
    sys.exit(error.exit_status)
