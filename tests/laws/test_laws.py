"""Every learner and feature of outgrow against every law."""

from __future__ import annotations

import functools

import pytest

from outgrow.check.check import LAWS, Record, check
from outgrow.check.main import subjects

ENGINES = ("any_engine", "another_process")  # seconds each; tests/matrix holds every job against every engine
NAMES = [f"{name}-{number}" for name, learners in subjects().items() for number, _ in enumerate(learners)]


@functools.cache
def records(subject: str) -> list[Record]:
    name, _, number = subject.rpartition("-")
    return list(check(subjects()[name][int(number)], only=[law for law in LAWS if law not in ENGINES]).records)


@pytest.mark.parametrize("subject", NAMES)
@pytest.mark.parametrize("law", [law for law in LAWS if law not in ENGINES])
def test_law__holds(subject: str, law: str) -> None:
    found = [record for record in records(subject) if record.law == law]
    assert found
    assert all(record.status != "failed" for record in found), "\n".join(f"on rows: {record.rows}\n{record}" for record in found)


@pytest.mark.parametrize("subject", ["k-means-0", "logistic-regression-0", "one-hot-0", "online-linear-0"])
def test_law__any_engine_and_another_process__hold(subject: str) -> None:
    name, _, number = subject.rpartition("-")
    report = check(subjects()[name][int(number)], only=ENGINES)
    assert report.ok, str(report)


@pytest.mark.parametrize("law", [law for law in LAWS if law not in ENGINES])
def test_law__says_something_of_one_of_ours(law: str) -> None:
    assert any(record.status == "ok" for subject in NAMES for record in records(subject) if record.law == law)
