"""Every toy job × every engine and number of workers: one digest."""

import pytest
import toys

from outgrow.core.run import run
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial


@pytest.mark.parametrize("name", toys.LEARNERS)
def test_run__any_number_of_workers__gives_one_digest(name: str) -> None:
    job = toys.job(toys.LEARNERS[name])
    alone = run(job, Serial()).record
    among = run(job, Processes(3)).record
    assert among["digest"] == alone["digest"]
    assert among["rows"] == alone["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 5, 8])
@pytest.mark.parametrize("name", toys.LEARNERS)
def test_run__one_two_five_and_eight_workers__give_the_digest_of_one_process(name: str, workers: int) -> None:
    job = toys.job(toys.LEARNERS[name])
    assert run(job, Processes(workers)).record["digest"] == run(job, Serial()).record["digest"]


def test_run__what_is_kept_beside_rows_on_disk__gives_the_digest_of_what_is_in_memory() -> None:
    job = toys.job(toys.LEARNERS["boosting"])
    found = run(job, Serial()).record["digest"]
    assert run(job, Serial(kept_bytes=100)).record["digest"] == found
    assert run(job, Processes(2, kept_bytes=0)).record["digest"] == found
