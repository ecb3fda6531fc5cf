"""A program that trains: started, killed and started again by the fault tests.

    python program.py HOME WORKERS LEARNER PAUSE [ROWS]

Workers 0 is the serial engine. Prints one line of JSON a round and one with the digest.
"""

import json
import sys
from pathlib import Path

import toys

from outgrow.core.errors import OutgrowError
from outgrow.core.events import Events
from outgrow.core.run import run
from outgrow.core.store import RunStore
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial


def main() -> int:
    home, workers, name, pause = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    rows = int(sys.argv[5]) if len(sys.argv) > 5 else 2357
    if name.startswith("real "):
        import learners

        job = learners.job(name.removeprefix("real "), learners.write(home.parent), pause)
    else:
        learner = toys.Writing(str(home / "written")) if name == "writing" else toys.LEARNERS[name]
        job = toys.job(learner, rows, pause=pause)
    engine = Processes(workers, save_every=0.05) if workers else Serial()

    def say(event: dict[str, object]) -> None:
        if event["kind"] in ("round", "resumed", "saved", "lost"):
            print(json.dumps({key: event[key] for key in event if key != "time"}), flush=True)
            if event["kind"] == "round":
                print(json.dumps({"workers": list(engine.pids())}), flush=True)

    try:
        with RunStore(job.id, home) as store:
            result = run(job, engine, store=store, events=Events(say), save_every=0.05)
    except OutgrowError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(json.dumps({"digest": result.record["digest"]}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
