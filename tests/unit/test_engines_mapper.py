"""A mapper without a cluster: HDFS is a folder here."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import learners
import pytest
import toys

from outgrow.core.errors import BadFile, BadInput, Refused, StorageError
from outgrow.core.fold import Block, fold_block
from outgrow.core.job import Job
from outgrow.core.state import digest, encode
from outgrow.engines import mapper
from outgrow.engines.mapper import Staging, unpacked, unsealed
from outgrow.engines.remote import machine
from outgrow.engines.ship import Shipper
from outgrow.places import hdfs

pytest.importorskip("hdfs_native")
KEY = "ab" * 32
NOBODY = "File /x could only be written to 0 of the 1 minReplication nodes. There are 1 datanode(s) running and {} node(s) are excluded in this operation."
EXCLUDED, FULL = (f'RPCError("java.io.IOException", "{NOBODY.format(count)}\\n\\tat x")' for count in ("1", "no"))


class Folder:
    """The part of `hdfs_native.Client` that is used, over a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _at(self, path: str) -> Path:
        return self.root / path.strip("/")

    def create(self, path: str, options: Any) -> Any:
        return self._at(path).open("xb")

    def read(self, path: str) -> Any:
        return io.BytesIO(self._at(path).read_bytes())

    def rename(self, source: str, target: str, overwrite: bool = False) -> None:
        if self._at(target).exists() and not overwrite:
            raise FileExistsError(target)
        self._at(source).rename(self._at(target))

    def delete(self, path: str, recursive: bool = False) -> None:
        self._at(path).unlink()

    def list_status(self, path: str) -> list[Any]:
        return [SimpleNamespace(path=f"{path}/{item.name}") for item in self._at(path).iterdir()]

    def get_file_info(self, path: str) -> Any:
        return SimpleNamespace(modification_time=int(self._at(path).stat().st_mtime_ns))


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staging]:
    """A run's folder with all that a round has but the job: `begin` adds that."""
    (tmp_path / "hdfs" / "run" / "nodes-1").mkdir(parents=True)
    client = Folder(tmp_path / "hdfs")
    monkeypatch.setattr(mapper, "connect", lambda make, address: client)
    monkeypatch.chdir(tmp_path)
    made = Staging("hdfs://nn/run")
    made.put("alive", b"")
    before = list(sys.path)
    yield made
    sys.path[:] = before


def begin(staging: Staging, job: Job, **changes: Any) -> list[str]:
    """Stage the first round of a job; the mapper's arguments."""
    passes = job.learner.ask(job.context, job.learner.begin(job.context, None))
    data, arrays = Shipper().pack(passes)
    files = {"job": staging.put("job", pickle.dumps(job)), "passes-1": staging.put("passes-1", data)}
    for number, array in arrays.items():
        files[f"array-{number}"] = staging.put(f"array-{number}", pickle.dumps(array))
    plan = {
        "job": "job", "passes": "passes-1", "arrays": {str(k): f"array-{k}" for k in arrays}, "recalled": {}, "partials": {}, "nodes": "nodes-1", "key": KEY,
        "files": files, "modules": {}, "kernels": "", "machine": machine(), "path": [], **changes,
    }  # fmt: skip
    return ["hdfs://nn/run/round-1.json", staging.put("round-1.json", json.dumps(plan).encode())]


def failed(staging: Staging) -> Exception:
    (name,) = [name for name in staging.names("nodes-1") if name.startswith("error-")]
    found: Exception = pickle.loads(unsealed(KEY, staging.get(f"nodes-1/{name}"), name))
    return found


def test_lines__become_nodes__and_those_that_are_there_are_left(staging: Staging, capsys: pytest.CaptureFixture[str]) -> None:
    job = toys.job(toys.LEARNERS["sums"])
    arguments = begin(staging, job)
    staging.put("nodes-1/0-0-1", b"there already")
    assert mapper.main(arguments, ["0 1 1\n", "0 0 1\n"]) == 0
    assert sorted(staging.names("nodes-1")) == ["0-0-1", "0-1-1"]
    assert staging.get("nodes-1/0-0-1") == b"there already"
    item = job.learner.ask(job.context, job.learner.begin(job.context))[0]
    answer = unpacked(staging.get("nodes-1/0-1-1"), "x")
    assert digest(answer.node_state()) == digest(fold_block(job, item, Block(0, 1, 1)).state)
    assert answer.rows == 200
    said = capsys.readouterr().err.splitlines()
    assert "reporter:counter:outgrow,rows,200" in said
    assert "reporter:status:pass 0, lanes 2 to 3" in said


def test_a_lane_that_was_begun__goes_on_from_its_partial(staging: Staging) -> None:
    job = toys.job(toys.LEARNERS["sums"])
    item = job.learner.ask(job.context, job.learner.begin(job.context))[0]
    states = []
    fold_block(job, item, Block(0, 0, 3), tick=lambda lane, done, rows, state: states.append({name: array.copy() for name, array in state.items()}))
    sha256 = staging.put("partial", b"".join(encode(states[1])))
    arguments = begin(staging, job, partials={"0-3": [2, "partial"]})
    plan = json.loads(staging.get("round-1.json"))
    plan["files"]["partial"] = sha256
    data = json.dumps(plan).encode()
    Path("hdfs/run/round-1.json").write_bytes(data)
    assert mapper.main([arguments[0], hashlib.sha256(data).hexdigest()], ["0 0 3\n"]) == 0
    answer = unpacked(staging.get("nodes-1/0-0-3"), "x")
    assert digest(answer.node_state()) == digest(fold_block(job, item, Block(0, 0, 3)).state)
    assert answer.rows == 36, "two of its four batches were folded before"


def test_a_lane_under_way__is_left_for_the_next_attempt_and_for_the_driver(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper, "_SAVE", 0.0)
    arguments = begin(staging, toys.job(toys.LEARNERS["sums"], pause=0.2))  # time enough that saving is cheap
    put = Staging.put
    monkeypatch.setattr(Staging, "put", lambda self, name, data: put(self, name, data) if "0-0-3" not in name else sys.exit("killed here"))
    with pytest.raises(SystemExit):
        mapper.main(arguments, ["0 0 3\n"])
    assert sorted(staging.names("nodes-1")) == ["partial-0-3-3", "partial-0-3-4"], "the last two"
    monkeypatch.setattr(Staging, "put", put)
    assert mapper.main(arguments, ["0 0 3\n"]) == 0
    job = toys.job(toys.LEARNERS["sums"])
    item = job.learner.ask(job.context, job.learner.begin(job.context))[0]
    answer = unpacked(staging.get("nodes-1/0-0-3"), "x")
    assert (digest(answer.node_state()), answer.rows) == (digest(fold_block(job, item, Block(0, 0, 3)).state), 0)


def test_an_error_of_the_fold__is_left_for_the_driver(staging: Staging) -> None:
    assert mapper.main(begin(staging, toys.job(toys.LEARNERS["sums"])), ["7 0 0\n"]) == 3
    assert isinstance(failed(staging), IndexError)


@pytest.mark.parametrize("name", ["job", "passes-1", "round-1.json"])
def test_what_was_swapped__is_refused_before_it_is_opened(staging: Staging, name: str) -> None:
    arguments = begin(staging, toys.job(toys.LEARNERS["sums"]))
    Path("hdfs/run", name).write_bytes(pickle.dumps(print))
    if name == "round-1.json":
        with pytest.raises(BadFile, match="not the one that the driver wrote"):
            mapper.main(arguments, ["0 0 0\n"])
    else:
        assert mapper.main(arguments, ["0 0 0\n"]) == 3
        assert f"run/{name}: the file is not the one that the driver wrote" in str(failed(staging))


def test_other_builds__are_refused(staging: Staging) -> None:
    assert mapper.main(begin(staging, toys.job(toys.LEARNERS["sums"]), machine=machine() | {"numpy": "1.0"}), ["0 0 0\n"]) == 3
    assert isinstance(failed(staging), Refused)
    assert "instead of 1.0" in str(failed(staging))


def test_rows_on_a_disk_that_the_node_does_not_share__are_refused_with_host_and_path(staging: Staging, tmp_path: Path) -> None:
    file = learners.write(tmp_path)
    arguments = begin(staging, learners.job("moments", file))
    file.unlink()
    assert mapper.main(arguments, ["0 0 0\n"]) == 3
    error = failed(staging)
    assert isinstance(error, Refused)
    assert "does not see the driver's data" in str(error)
    assert str(file) in str(error)
    assert "Put the data on HDFS" in str(error)


def test_rows_that_changed__are_bad_input(staging: Staging, tmp_path: Path) -> None:
    job = toys.job(toys.LEARNERS["sums"], source=toys.ToySource(2357, changed=True))
    assert mapper.main(begin(staging, job), ["0 0 0\n"]) == 3
    assert isinstance(failed(staging), BadInput)


def test_a_driver_that_gives_no_sign__ends_the_mapper_and_those_after_it(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper, "_LOOK", 0.0)
    monkeypatch.setattr(mapper, "_PATIENCE", 0.1)
    arguments = begin(staging, toys.job(toys.LEARNERS["sums"], pause=0.06))
    with pytest.raises(SystemExit, match="the driver gave no sign"):
        mapper.main(arguments, ["0 0 0\n"])
    assert mapper.main(arguments, ["0 0 0\n"]) == 3, "the job is gone"


def test_own_modules_and_kernels__are_unpacked_before_the_job_is_opened(staging: Staging) -> None:
    (Path("hdfs/run") / "modules").mkdir()
    sha256 = staging.put("modules/travelled_by_mapper.py", b"VALUE = 7\n")
    arguments = begin(staging, toys.job(toys.LEARNERS["sums"]), modules={"travelled_by_mapper.py": sha256})
    assert mapper.main(arguments, ["0 0 0\n"]) == 0
    import travelled_by_mapper  # type: ignore[import-not-found]

    assert travelled_by_mapper.VALUE == 7


def test_a_twin__that_comes_second__changes_nothing(staging: Staging) -> None:
    assert staging.put("nodes-1/0-0-0", b"first") != staging.put("nodes-1/0-0-0", b"second")
    assert staging.get("nodes-1/0-0-0") == b"first"
    assert [item.name for item in Path("hdfs/run/nodes-1").iterdir()] == ["0-0-0"]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No second of waiting for HDFS goes by; what was waited."""
    waited: list[float] = []
    monkeypatch.setattr(hdfs.time, "sleep", waited.append)
    return waited


def test_a_datanode_that_is_away__is_waited_for__by_files_and_by_rows(staging: Staging, hurried: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = toys.job(toys.Failing(at=0, how="away", times=2, folder=str(tmp_path)))
    arguments = begin(staging, job)
    calls = {"read": 0, "create": 0}

    def third(name: str, original: Any) -> Any:
        def call(*given: Any) -> Any:
            calls[name] += 1
            if calls[name] < 3:
                raise RuntimeError("DataNode connection lost" if name == "read" else EXCLUDED)
            return original(*given)

        return call

    for name in calls:
        monkeypatch.setattr(staging.client, name, third(name, getattr(staging.client, name)))
    assert mapper.main(arguments, ["0 0 0\n"]) == 0
    assert hurried == [1] * 6, "two for the files that are read, two for the rows, two for the node"
    (item,) = job.learner.ask(job.context, job.learner.begin(job.context))
    answer = unpacked(staging.get("nodes-1/0-0-0"), "here")
    assert digest(answer.node_state()) == digest(fold_block(job, item, Block(0, 0, 0)).state)


@pytest.mark.parametrize(
    "said",
    [
        'RPCError("org.apache.hadoop.hdfs.protocol.DSQuotaExceededException", "The DiskSpace quota of /x is exceeded\\n\\tat x")',
        FULL,
        'RPCError("org.apache.hadoop.security.AccessControlException", "Permission denied: user=guest\\n")',
    ],
)
def test_a_quota_a_full_disk_and_a_right_that_lacks__are_told_at_once(staging: Staging, hurried: list[float], monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(staging.client, "create", refuse)
    with pytest.raises(StorageError):
        staging.put("x", b"x")
    assert hurried == []


def test_a_datanode_that_stays_away__is_told_after_a_minute(staging: Staging, hurried: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> None:
        raise RuntimeError("DataNode connection lost")

    monkeypatch.setattr(staging.client, "read", lost)
    monkeypatch.setattr(hdfs.time, "monotonic", lambda: float(len(hurried)))
    with pytest.raises(BadInput, match="HDFS cannot read it"):
        staging.get("alive")
    assert len(hurried) == 61
