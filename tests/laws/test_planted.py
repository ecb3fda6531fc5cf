"""Each law catches the mistake it is there for, and learners without a mistake hold all of them."""

from __future__ import annotations

import planted
import pytest

from outgrow.check.check import LAWS, check

CAUGHT = {
    "empty_is_identity": ("CountsEmpty", "an empty state on the left"),
    "one_row_survives": ("DropsFewRows", "leaves a trace when merged on the right"),
    "any_split_any_order": ("MergesByArrival", "arriving in another order"),
    "any_cut": ("ReadsBatchSize", "batches of 1 rows"),
    "any_layout": ("IgnoresStrides", "a strided view"),
    "encode_decode_anywhere": ("HidesAMask", "written and read again"),
    "names_in_any_order": ("GoesByOrder", "in another order"),
    "merge_leaves_right_and_given": ("AddsIntoRight", "merge writes to its right"),
    "update_leaves_batch_and_given": ("CentresTheBatch", "update changes the batch"),
    "state_is_its_own": ("HoldsAView", "holds a view of the batch"),
    "resume_inside_a_lane": ("CountsOnTheBeginning", "goes on after 1 batches"),
    "traits_are_true": ("SaysElementwise", "not the sum of the arrays"),
    "ask_and_tell_are_pure": ("TellsInPlace", "tell changes the carry"),
    "same_twice": ("RemembersRuns", "trained a second time"),
    "resume_between_rounds": ("MomentumAside", "resumed, the model is another one"),
    "asking_midway_changes_nothing": ("FinishesInPlace", "midway changes the carry"),
    "kept_rebuilt_is_kept_stepped": ("RebuildsAtOnce", "rebuilt instead of stepped"),
    "one_by_one_equals_batches": ("StepsByBatch", "batches of 1 rows give another model"),
    "any_engine": ("KnowsItsProcess", "two processes give another model"),
    "another_process": ("UsesHash", "another hash seed gives another model"),
    "bad_fields_are_named": ("TrustsItsField", "shrink=nan is accepted"),
    "model_survives_its_file": ("HoldsAList", "is another one"),
    "predict_by_any_batch": ("CentresPredictions", "in batches of 1 rows"),
    "predictions_are_finite": ("PredictsRoots", "is nan"),
    "weights_count": ("ForgetsWeights", "use batch.weight in update"),
    "nothing_turns_silently_to_nan": ("SwallowsNaN", "is not finite"),
}


def learner(name: str) -> planted.Sound:
    made: planted.Sound = getattr(planted, f"Learns{name}", None) or getattr(planted, name)
    return made()  # type: ignore[operator,no-any-return]


def test_planted__every_law_has_one() -> None:
    assert set(CAUGHT) == set(LAWS)


@pytest.mark.parametrize("law", CAUGHT)
def test_planted__is_caught_by_its_law(law: str) -> None:
    name, said = CAUGHT[law]
    report = check(learner(name), only=[law])
    assert [record.status for record in report.records] == ["failed"], str(report)
    assert said in report.records[0].said


def test_planted__a_stream_of_random_numbers_is_caught() -> None:
    assert not check(learner("DrawsFromAStream"), only=["any_split_any_order"]).ok


def test_planted__a_look_without_a_step_is_caught_at_workers_that_miss_rounds() -> None:
    report = check(learner("LooksBetweenSteps"), only=["kept_rebuilt_is_kept_stepped"])
    assert "at two workers that take rounds by turns" in report.records[0].said


@pytest.mark.parametrize("name", ["Sound", "Keeper", "OneByOne"])
def test_sound_learner__holds_every_law(name: str) -> None:
    report = check(learner(name))
    assert report.ok, str(report)
