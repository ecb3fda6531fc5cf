"""What engines cost beside the work itself: one record an engine, so that prices and search know none of them by name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENGINES", "SERIAL", "Costs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """Costs of one engine. All seconds are those of an otherwise idle machine, all bytes private or shared memory.

    apart: workers are programs of their own; false where rows are folded in this one, and then nothing below but `offered` counts.
    offered: the search tries it where no engine was named. slots: workers that are busy side by side at full `share`; None: as
    many as this process may use processors. tasks: a worker is handed in one pass, about.

    start_seconds: until the first worker can be asked for. worker_seconds: of a processor, until a worker has loaded what the learner
    needs; workers beyond `slots` wait for each other. round_seconds: of a round without work. task_seconds: of handing out a task and
    taking its node back, without work. node_byte_seconds: of a byte of a node on its way here; given_byte_seconds: of a byte of what a
    pass broadcasts, to one worker. share: how fast one worker is with all slots busy, against alone.

    driver_bytes: held here for the engine's sake. worker_bytes: by a worker that has loaded everything and holds no rows.
    """

    apart: bool = True
    offered: bool = False
    slots: int | None = None
    tasks: int = 4
    start_seconds: float = 0.0
    worker_seconds: float = 0.0
    round_seconds: float = 0.0
    task_seconds: float = 0.0
    node_byte_seconds: float = 0.0
    given_byte_seconds: float = 0.0
    share: float = 1.0
    driver_bytes: int = 0
    worker_bytes: int = 0


SERIAL = Costs(apart=False, offered=True, slots=1)

# Costs that hold until this machine has been measured (calibrate.py); an engine that is not measured at all is priced by its record here.
ENGINES = {
    "serial": SERIAL,
    "rehearsal": SERIAL,
    "processes": Costs(
        offered=True, worker_seconds=1.0, round_seconds=0.0005, task_seconds=0.0003, node_byte_seconds=3e-9, given_byte_seconds=3e-9, share=0.9, worker_bytes=140_000_000
    ),
    # Measured on each cluster (hadoop_costs.py); here those of a quiet one. A job a round: 8 s bare and 2 s for Python and what is
    # compiled, in new processes each time; states go over HDFS.
    "hadoop": Costs(slots=1 << 12, start_seconds=2.0, round_seconds=10.0, task_seconds=0.05, node_byte_seconds=1e-8, given_byte_seconds=1.2e-9, driver_bytes=60_000_000),
    # Measured on each cluster (spark_costs.py); here those of a quiet one: Java and executors come up, then a small job a round.
    "spark": Costs(
        slots=1 << 12, start_seconds=8.0, worker_seconds=1.5, round_seconds=0.08, task_seconds=0.01, node_byte_seconds=1e-8, given_byte_seconds=5e-9, share=0.9,
        driver_bytes=300_000_000, worker_bytes=140_000_000,
    ),
}
