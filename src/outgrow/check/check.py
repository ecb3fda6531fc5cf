"""Hold a learner against the laws; what comes back is a list of records, and nothing here needs pytest."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import BadField
from ..core.learner import Learner
from ..core.run import one_thread
from .cases import Case, cases_of
from .law import Broken, Law, NotApplicable
from .laws_fold import FOLD_LAWS
from .laws_model import MODEL_LAWS
from .laws_run import RUN_LAWS, another_process, any_engine

__all__ = ["LAWS", "Record", "Report", "check"]

LAWS: dict[str, Law] = {law.__name__: law for law in (*FOLD_LAWS, *RUN_LAWS, *MODEL_LAWS)}
_ONCE = (any_engine.__name__, another_process.__name__)  # they start processes: on the first case only


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One law held against one learner on some rows. said: the mistake in a sentence, or why the law does not apply."""

    law: str
    rows: str
    status: Literal["ok", "failed", "not applicable"]
    said: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        mark = "FAILED" if self.status == "failed" else "ok" if self.status == "ok" else "--"
        return f"{mark:7}{self.law.replace('_', ' '):34}{self.said}".rstrip()


@dataclass(frozen=True, slots=True)
class Report:
    """Every record of a check."""

    learner: str
    records: tuple[Record, ...]

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "failed")

    def as_json(self) -> dict[str, Any]:
        return {"learner": self.learner, "ok": self.ok, "records": [asdict(record) for record in self.records]}

    def __str__(self) -> str:
        lines, rows = [self.learner], None
        for record in self.records:
            if record.rows != rows:
                rows = record.rows
                lines.append(f" on rows: {rows}")
            lines.append(f"  {record}")
        return "\n".join(lines)


def _held(law: Law, case: Case) -> Record:
    began = time.perf_counter()
    status: Literal["ok", "failed", "not applicable"] = "ok"
    said = ""
    try:
        law(case)
    except NotApplicable as reason:
        status, said = "not applicable", str(reason)
    except Broken as mistake:
        status, said = "failed", str(mistake)
    except Exception as error:  # noqa: BLE001 a learner may raise anything; it is told, with the line
        last = traceback.extract_tb(error.__traceback__)[-1]
        status, said = "failed", f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}: {error}"
    return Record(law=law.__name__, rows=case.name, status=status, said=said, seconds=round(time.perf_counter() - began, 3))


def _records(learner: Learner, source: Any, seed: int, laws: Sequence[Law]) -> Iterator[Record]:
    with tempfile.TemporaryDirectory(prefix="outgrow-check-") as folder, one_thread():
        for number, case in enumerate(cases_of(learner, seed=seed, folder=Path(folder), source=source)):
            for law in laws:
                if number == 0 or law.__name__ not in _ONCE:
                    yield _held(law, case)


def check(learner: Learner, source: Any = None, *, seed: int = 0, only: Sequence[str] = ()) -> Report:
    """Hold a learner, feature or combination of them against the laws.

    Parameters
    ----------
    learner : Learner
        A learner that reads a design is given an encoder; one that reads columns is not.
    source : Source, optional
        Rows to learn from, a few hundred. Left out, rows are made up that the learner accepts, on one or two tasks; it
        may say which by a class attribute ``checks`` ("binary", "classes", "number", "none"), or bring its own by a
        method ``example(seed)``.
    seed : int
        Other rows, other orders.
    only : sequence of str
        Names of laws; all when empty.

    Returns
    -------
    Report
        ``report.ok``, ``report.records``; ``print(report)`` gives one line a law.

    Raises
    ------
    BadField
        For a law that does not exist.
    BadInput
        Where the learner accepts none of the rows.

    Examples
    --------
    >>> from outgrow.data.features import Hashing
    >>> print(check(Hashing(bits=6), only=["predict_by_any_batch"]))  # doctest: +ELLIPSIS
    Hashing(bits=6, ...)
     on rows: texts, target binary
      ok     predict by any batch
    """
    unknown = [name for name in only if name not in LAWS]
    if unknown:
        raise BadField(f"there is no law {unknown[0]!r}", where="only", allowed=", ".join(LAWS))
    if not isinstance(learner, Learner):
        todo = "Give an instance, not the class." if isinstance(learner, type) else ""
        raise BadField(f"{learner!r} is no learner", where="learner", allowed="an instance of outgrow.Learner", todo=todo)
    laws = [LAWS[name] for name in only] if only else list(LAWS.values())
    return Report(repr(learner), tuple(_records(learner, source, seed, laws)))
