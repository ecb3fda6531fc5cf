"""Checkpoints are whole or absent, have one owner, and never take the room they do not need."""

import errno
import fcntl
import hashlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outgrow.core import store as module
from outgrow.core.errors import BadFile, Busy, StorageError
from outgrow.core.fold import Node, Partial
from outgrow.core.state import encode, same
from outgrow.core.store import Checkpoint, RunStore, home, write_whole
from outgrow.plan.kept import RunFolder, keep_within, remove_run, runs

BIG = np.arange(1 << 16, dtype=np.float64)


def checkpoint(turn: int = 3, big: Any = BIG) -> Checkpoint:
    nodes = [Node(0, 2, 1, {"s": np.arange(3.0)}), Node(1, 0, 7, {"s": big * 2})]
    return Checkpoint(turn, {"w": big, "t": np.array(turn)}, nodes, [Partial(0, 9, 4, {"s": np.ones(2), "n": np.array(1)})])


def alike(one: Checkpoint, two: Checkpoint) -> bool:
    def flat(item: Checkpoint) -> list[Any]:
        return [item.turn, *((n.which, n.level, n.index) for n in item.nodes), *((p.which, p.lane, p.done) for p in item.partials)]

    states = zip([one.carry, *(x.state for x in [*one.nodes, *one.partials])], [two.carry, *(x.state for x in [*two.nodes, *two.partials])], strict=True)
    return flat(one) == flat(two) and all(same(a, b) for a, b in states)


def test_checkpoint__saved_and_loaded__is_the_same(tmp_path: Path) -> None:
    with RunStore("job", tmp_path) as store:
        assert store.load() is None
        store.save(checkpoint())
        found = store.load()
        assert found is not None
        assert alike(found, checkpoint())
        assert all(array.flags.writeable for state in [n.state for n in found.nodes] for array in state.values()), "merge may write into its left"


def test_save__arrays_that_did_not_change__are_not_written_again(tmp_path: Path) -> None:
    with RunStore("job", tmp_path) as store:
        assert store.save(checkpoint()) > 2 * BIG.nbytes
        names = sorted((tmp_path / "runs/job/arrays").iterdir())
        times = [name.stat().st_mtime_ns for name in names]
        assert store.save(checkpoint(4)) < 1000
        assert [name.stat().st_mtime_ns for name in names] == times
        changed = BIG.copy()
        changed[5] += 1
        store.save(checkpoint(5, changed))
        assert len(list((tmp_path / "runs/job/arrays").iterdir())) == 2
        found = store.load()
        assert found is not None
        assert found.carry["w"][5] == changed[5]


def test_save__a_read_only_array_seen_before__is_not_hashed_again_and_a_writable_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    whole = hashlib.blake2b
    monkeypatch.setattr(module.hashlib, "blake2b", lambda *a, **k: hashed.append(1) or whole(*a, **k))
    array = BIG.copy()
    with RunStore("job", tmp_path) as store:
        store.save(Checkpoint(1, {"w": array}))
        array[0] = 7  # the same object with other numbers
        store.save(Checkpoint(2, {"w": array}))
        assert len(hashed) == 2
        array.flags.writeable = False
        store.save(Checkpoint(3, {"w": array}))
        store.save(Checkpoint(4, {"w": array}))
        assert len(hashed) == 2
        found = store.load()
        assert found is not None
        assert found.carry["w"][0] == 7


def test_write_whole__another_reader__never_sees_half(tmp_path: Path) -> None:
    file, seen, stop = tmp_path / "f", set(), threading.Event()
    write_whole(file, [b"a" * 100_000])

    def read() -> None:
        while not stop.is_set():
            seen.add(bytes(sorted(set(file.read_bytes()))))
            assert file.stat().st_size == 100_000

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(100):
        write_whole(file, [bytes([98 + i % 20]) * 50_000] * 2, lasting=i == 0)
    stop.set()
    reader.join()
    assert all(len(values) == 1 for values in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_write_whole__a_full_disk__is_explained_and_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "f"
    write_whole(file, [b"old"])

    def chunks() -> Any:
        yield b"new"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=rf"^{file}: cannot write: No space left on device\. Free some room, or name another place\.$"):
        write_whole(file, chunks())
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_save__beyond_a_real_limit_of_file_size__keeps_the_old_checkpoint(tmp_path: Path) -> None:
    with RunStore("job", tmp_path) as store:
        store.save(checkpoint(1))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores the signal, so the write fails like a full disk
        try:
            with pytest.raises(StorageError, match="cannot write: File too large"):
                store.save(checkpoint(2, BIG + 1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        found = store.load()
        assert found is not None
        assert alike(found, checkpoint(1))
        store.save(checkpoint(2, BIG + 1))
        assert not list(tmp_path.rglob("*.tmp"))


def test_store__where_a_file_stands_in_the_way__is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write: .*Name a place that can be written"):
        RunStore("job", tmp_path)


def test_store__where_nothing_can_be_written__is_a_storage_error() -> None:
    with pytest.raises(StorageError, match=r"^/proc/outgrow/runs/job: cannot write: .*\. Name a place that can be written\.$"):
        RunStore("job", Path("/proc/outgrow"))  # not even root can


def other_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


OWN = "import sys; from pathlib import Path; from outgrow.core.store import RunStore; s = RunStore('job', Path(sys.argv[1])); print('owned', flush=True); sys.stdin.read()"


def test_store__owned_by_a_live_process__is_busy_and_names_it(tmp_path: Path) -> None:
    with RunStore("job", tmp_path) as store:
        store.save(checkpoint())
    owner = other_process(OWN, tmp_path)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "owned\n"
        leftover = tmp_path / "runs/job/.checkpoint.12345678.tmp"
        leftover.write_text("being written")
        with pytest.raises(Busy, match=f"process {owner.pid} is running this same job. Wait for it, or stop it"):
            RunStore("job", tmp_path)
        with pytest.raises(Busy):
            remove_run("job", tmp_path)
        assert leftover.exists(), "nothing of the owner's is touched"
        (listed,) = runs(tmp_path)
        assert listed["status"] == "running"
        owner.kill()
        owner.wait(10)
        with RunStore("job", tmp_path) as store:  # a dead one's lock is gone with it
            assert not leftover.exists()
            found = store.load()
            assert found is not None
            assert alike(found, checkpoint())
    finally:
        owner.kill()
        owner.communicate()


def test_store__while_others_list_the_runs__is_never_busy(tmp_path: Path) -> None:
    RunStore("job", tmp_path).close()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            runs(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for turn in range(60):
            with RunStore("job", tmp_path) as store:
                store.save(Checkpoint(turn, {"w": np.zeros(3)}))
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_store__whose_lock_was_removed_while_it_waited__locks_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, removed = fcntl.flock, []

    def flock(file: Any, how: int) -> None:
        if not removed:
            removed.append(1)
            (tmp_path / "runs/job/lock").unlink()
        whole(file, how)

    monkeypatch.setattr(module.fcntl, "flock", flock)
    with RunStore("job", tmp_path):
        monkeypatch.undo()
        with pytest.raises(Busy, match=f"process {os.getpid()} "):
            RunStore("job", tmp_path)


def test_runs__of_all_kinds__are_listed_newest_first(tmp_path: Path) -> None:
    assert runs(tmp_path) == []
    for name, at in (("done", 30), ("stopped", 20), ("strange", 10)):
        with RunFolder(name, tmp_path) as store:
            if name != "strange":
                store.record({"command": f"fit {name}"})
            if name == "done":
                store.save(checkpoint())
                store.finished(lambda path: path.write_bytes(b"model"))
        os.utime(tmp_path / "runs" / name, (at, at))
    (tmp_path / "runs/strange/record.json").write_text("[1]")
    os.utime(tmp_path / "runs/strange", (10, 10))
    (tmp_path / "runs/stray file").write_text("x")
    found = runs(tmp_path)
    assert [(item["id"], item["status"]) for item in found] == [("done", "done"), ("stopped", "stopped"), ("strange", "stopped")]
    assert found[1]["command"] == "fit stopped"
    assert found[0]["bytes"] >= 5
    assert not (tmp_path / "runs/done/checkpoint").exists()
    assert not list((tmp_path / "runs/done/arrays").iterdir())


def test_runs__while_files_come_and_go__does_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunStore("job", tmp_path).close()
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: iter([self / "gone", self / "lock"]))
    assert runs(tmp_path)[0]["bytes"] > 0


@pytest.mark.parametrize("name", ["..", ".", "", "nothing", "../runs", "job/arrays"])
def test_remove_run__what_is_no_run__is_refused_and_nothing_removed(tmp_path: Path, name: str) -> None:
    RunStore("job", tmp_path).close()
    with pytest.raises(BadFile, match=r"there is no run .*`outgrow runs` lists them"):
        remove_run(name, tmp_path)
    assert (tmp_path / "runs/job/lock").exists()


def test_remove_run__frees_what_it_says(tmp_path: Path) -> None:
    with RunStore("job", tmp_path) as store:
        store.save(checkpoint())
    assert remove_run("job", tmp_path) > 2 * BIG.nbytes
    assert runs(tmp_path) == []


def test_clear__starts_over(tmp_path: Path) -> None:
    with RunFolder("job", tmp_path) as store:
        store.save(checkpoint())
        store.record({"a": 1})
        store.clear()
        assert store.load() is None
        assert {path.name for path in (tmp_path / "runs/job").iterdir()} == {"lock", "arrays"}


def test_home__is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTGROW_HOME", "/tmp/there")
    assert home() == Path("/tmp/there")
    monkeypatch.delenv("OUTGROW_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/cache")
    assert home() == Path("/tmp/cache/outgrow")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home() == Path.home() / ".cache/outgrow"


# damage


def rewrite(folder: Path, change: Any) -> None:
    """A checkpoint that states the right digest of wrong things."""
    from outgrow.core.state import decode, digest

    state, _ = decode((folder / "checkpoint").read_bytes())
    index, large = json.loads(state.pop("index").tobytes()), json.loads(state.pop("large").tobytes())
    index, large = change(index, large) or (index, large)
    for name, thing in (("index", index), ("large", large)):
        text = thing if isinstance(thing, bytes) else json.dumps(thing).encode()
        state[name] = np.frombuffer(text, np.uint8)
    (folder / "checkpoint").write_bytes(b"".join(encode(state, {"digest": digest(state)})))


CHANGES: dict[str, Any] = {
    "no json": lambda index, large: (b"{", large),
    "not utf-8": lambda index, large: (b'"\xff"', large),
    "deep": lambda index, large: (b"[" * 100_000, large),
    "a list": lambda index, large: ([], large),
    "more fields": lambda index, large: (index | {"more": 1}, large),
    "fewer fields": lambda index, large: ({"turn": 1}, large),
    "turn below zero": lambda index, large: (index | {"turn": -1}, large),
    "turn is a bool": lambda index, large: (index | {"turn": True}, large),
    "turn is a fraction": lambda index, large: (index | {"turn": 1.5}, large),
    "nodes are text": lambda index, large: (index | {"nodes": "abc"}, large),
    "a node of two": lambda index, large: (index | {"nodes": [[0, 1]]}, large),
    "a node below zero": lambda index, large: (index | {"nodes": [[0, 0, -1]]}, large),
    "a node of bools": lambda index, large: (index | {"nodes": [[False, True, True]]}, large),
    "a node of huge level": lambda index, large: (index | {"nodes": [[0, 1 << 60, 0]]}, large),
    "a partial of floats": lambda index, large: (index | {"partials": [[0, 1.0, 2]]}, large),
    "arrays are a list": lambda index, large: (index, list(large)),
    "an array outside": lambda index, large: (index, dict.fromkeys(large, "../../../../../../etc/passwd")),
    "an array that is no name": lambda index, large: (index, dict.fromkeys(large, 7)),
    "an array that is not there": lambda index, large: (index, dict.fromkeys(large, "0" * 40)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_load__a_checkpoint_of_wrong_things__is_a_bad_file(tmp_path: Path, name: str) -> None:
    with RunStore("job", tmp_path) as store:
        store.save(checkpoint())
        rewrite(store.folder, lambda *what: None)
        assert store.load() is not None
        rewrite(store.folder, CHANGES[name])
        with pytest.raises(BadFile, match=r"Run again with --fresh\.$"):
            store.load()


def test_load__without_the_right_digest__is_a_bad_file(tmp_path: Path) -> None:
    with RunStore("job", tmp_path) as store:
        (store.folder / "checkpoint").write_bytes(b"".join(encode({"index": np.zeros(1, np.uint8)}, {"digest": "0"})))
        with pytest.raises(BadFile, match=r"has not the digest it states. Run again with --fresh"):
            store.load()


def test_load__an_array_file_of_something_else__is_a_bad_file(tmp_path: Path) -> None:
    with RunStore("job", tmp_path) as store:
        store.save(checkpoint())
        data = b"".join(encode({"b": np.zeros(3)}))
        name = hashlib.blake2b(data, digest_size=20).hexdigest()
        (store.folder / "arrays" / name).write_bytes(data)
        rewrite(store.folder, lambda index, large: (index, dict.fromkeys(large, name)))
        with pytest.raises(BadFile, match="holds something else"):
            store.load()


def test_load__a_damaged_array__is_named(tmp_path: Path) -> None:
    with RunStore("job", tmp_path) as store:
        store.save(checkpoint())
        file = next((store.folder / "arrays").iterdir())
        data = bytearray(file.read_bytes())
        data[-9] ^= 1
        file.write_bytes(data)
        with pytest.raises(BadFile, match=rf"^{file}: array '.*' of the checkpoint is missing or damaged"):
            store.load()


def test_keep_within__over_the_budget__removes_the_oldest_finished_run_only(tmp_path, monkeypatch):
    for name, age, done in (("old", 30, True), ("stopped", 40, False), ("new", 10, True)):
        with RunStore(name, tmp_path) as store:
            (store.folder / ("model" if done else "checkpoint")).write_bytes(b"x" * 4000)
        past = time.time() - age
        os.utime(store.folder, (past, past))
    monkeypatch.setenv("OUTGROW_DISK", "9kB")
    assert keep_within(tmp_path) == ["old"]
    assert {item["id"] for item in runs(tmp_path)} == {"stopped", "new"}
