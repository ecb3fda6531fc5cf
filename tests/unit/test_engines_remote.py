"""What a cluster's worker does for a job, in this process."""

import pickle

import pytest
import toys

from outgrow.core.errors import Refused
from outgrow.core.fold import Block, fold_block
from outgrow.core.run import run
from outgrow.core.state import digest
from outgrow.core.tree import Closer
from outgrow.engines.remote import Desk, differs, machine
from outgrow.engines.serial import Serial


def desk(name: str = "sums", **changes: object) -> Desk:
    job = toys.job(toys.LEARNERS[name], **changes)
    return Desk(pickle.dumps(job), machine())


def passes(job: object) -> tuple:  # type: ignore[type-arg]
    return job.learner.ask(job.context, job.learner.begin(job.context))  # type: ignore[attr-defined, no-any-return]


def test_fold__of_a_block__answers_with_its_node() -> None:
    made = desk()
    found = made.fold(passes(made.job), Block(0, 2, 1))
    assert (found.kind, found.rows) == ("node", 400)
    assert digest(found.node_state()) == digest(fold_block(made.job, passes(made.job)[0], Block(0, 2, 1)).state)


def test_fold__where_something_kept_is_lost__asks_for_it_and_goes_on() -> None:
    made = desk("boosting on scaled rows")
    job, learner = made.job, made.job.learner
    carry, asked = learner.begin(job.context), 0
    while items := learner.ask(job.context, carry):
        closers = []
        for which, item in enumerate(items):
            closer = Closer(job.lanes(item), lambda a, b, item=item: item.fold.merge(a, b, item.given))  # type: ignore[misc]
            for lane in range(job.lanes(item)):
                fresh = Desk(pickle.dumps(job), machine())  # a worker that was never here before
                answer = fresh.fold(items, Block(which, 0, lane))
                if answer.kind == "recall":
                    asked += 1
                    answer = fresh.fold(items, Block(which, 0, lane), {answer.text: learner.recall(job.context, carry, answer.text)})
                assert answer.kind == "node", answer.kind == "error" and answer.error()
                closer.add(0, lane, answer.node_state())
            closers.append(closer.close())
        carry = learner.tell(job.context, carry, tuple(closers))
    assert asked
    assert digest(learner.finish(job.context, carry)) == run(toys.job(toys.LEARNERS["boosting on scaled rows"]), Serial()).record["digest"]


def test_fold__that_raises__answers_with_the_error_and_its_place() -> None:
    found = desk().fold((), Block(0, 0, 0))
    assert found.kind == "error"
    assert isinstance(found.error(), IndexError)
    assert "Traceback" in found.error().__notes__[0]


def test_desk__on_another_machine__is_refused_unless_close_is_enough() -> None:
    other = machine() | {"numpy": "1.0"}
    with pytest.raises(Refused, match=r"numpy .* instead of 1\.0"):
        Desk(pickle.dumps(toys.job(toys.LEARNERS["sums"])), other)
    assert Desk(pickle.dumps(toys.job(toys.LEARNERS["sums"], equal="close")), other).job.equal == "close"


def test_differs__names_what_does_and_where() -> None:
    assert differs(machine(), machine(), "there") is None
    found = differs({"numpy": "2.4", "processor": "x86_64 Haswell"}, {"numpy": "2.4", "processor": "x86_64 SkylakeX"}, "node7")
    assert found is not None
    assert "processor x86_64 SkylakeX instead of x86_64 Haswell" in str(found)
    assert "node7" in str(found)


def test_round__is_loaded_once_while_it_is_the_same() -> None:
    made, loads = desk(), []

    def load() -> tuple[()]:
        loads.append(1)
        return ()

    for key in ("a", "a", "b"):
        made.round(key, load)
    assert len(loads) == 2
