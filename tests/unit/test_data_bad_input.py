"""Bad input: each error names the place and what to do, before or while reading."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from outgrow.core.errors import BadInput
from outgrow.data.batch import Batch
from outgrow.data.source import Source, conform, read
from outgrow.data.target import check_finite


def first(source: Source) -> Batch:
    return next(source.read(0, source.rows, source.rows))


def through(source: Source) -> int:
    return sum(batch.rows for batch in source.read(0, source.rows, 100))


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("name", ["no.parquet", "no.csv", "folder/none"])
def test_missing_file__is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=f"{name}: there is no such file"):
        read(tmp_path / name)


def test_missing_url__is_named() -> None:
    with pytest.raises(BadInput, match=r"memory://nowhere.*no such file"):
        read("memory://nowhere/a.parquet")
    with pytest.raises(BadInput, match="no file system answers"):
        read("nosuchscheme://a/b.parquet")


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.jsonl", "a.arrow", "a.svm"])
def test_empty_file__is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(BadInput, match=rf"^{name}: the file is empty"):
        read(tmp_path / name)


def test_no_rows__is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there are no rows"):
        read(parquet(tmp_path / "a.parquet", x=pa.array([], pa.int64())))
    (tmp_path / "a.csv").write_text("a,b\n")
    with pytest.raises(BadInput, match="there are no rows"):
        read(tmp_path / "a.csv")


def test_empty_glob_and_folder__are_errors(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no file matches the glob"):
        read(str(tmp_path / "*.parquet"))
    with pytest.raises(BadInput, match="holds no files"):
        read(tmp_path)
    with pytest.raises(BadInput, match="list of files is empty"):
        read([])


@pytest.mark.parametrize("keep", [3, 100, -1, -20])
def test_truncated_parquet__is_named(tmp_path: Path, keep: int) -> None:
    path = parquet(tmp_path / "a.parquet", x=np.arange(1000), y=np.arange(1000) % 2)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"a\.parquet: the file is (cut off|not readable)"):
        read(path, target="y")


def test_parquet_with_damaged_pages__names_the_row_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=1000), "y": np.arange(1000) % 2}), path, row_group_size=500, compression="zstd")
    raw = bytearray(path.read_bytes())
    begin = pq.read_metadata(path).row_group(1).column(0).data_page_offset or 0
    raw[begin : begin + 400] = bytes(400)
    path.write_bytes(bytes(raw))
    with pytest.raises(BadInput, match=r"a\.parquet, row group 1: the data cannot be decoded"):
        through(read(path))


def test_a_file_with_another_schema__is_named(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", x=[1.0, 2.0], y=[0, 1])
    parquet(tmp_path / "b.parquet", x=["one", "two"], y=[0, 1])
    with pytest.raises(BadInput, match=r"b\.parquet: the column 'x' is string, but double in a\.parquet"):
        read(tmp_path)
    parquet(tmp_path / "b.parquet", z=[1.0], y=[0])
    with pytest.raises(BadInput, match=r"b\.parquet: the column 'x' is missing"):
        read(tmp_path)
    parquet(tmp_path / "b.parquet", x=[1.0], y=[0], z=[3])
    with pytest.raises(BadInput, match=r"b\.parquet: there is a column 'z'"):
        read(tmp_path)


def test_mixed_formats__are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", x=[1.0, 2.0])
    (tmp_path / "b.csv").write_text("x\n1\n")
    with pytest.raises(BadInput, match=r"b\.csv: the file is csv, but a\.parquet is parquet"):
        read(tmp_path)
    (tmp_path / "b.csv").rename(tmp_path / "c.txt")
    with pytest.raises(BadInput, match=r"c\.txt: the format of the file is not known; allowed: \.parquet"):
        read(tmp_path)


def test_csv_line_with_too_many_fields__names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["a,b", *(f"{k},x" for k in range(400_000)), "1,2,3", "1,x"]
    path.write_text("\n".join(lines))
    source = read(path)
    with pytest.raises(BadInput, match=r"a\.csv, line 400002: the line has 3 fields, the header 2"):
        through(source)


def test_csv_value_of_another_type_after_the_sample__names_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["a,b,c", *(f"x,{k},1" for k in range(400_000)), "x,seven,1"]))
    source = read(path)
    for columns in (None, ["c", "b"]):
        with pytest.raises(BadInput, match=r"a\.csv, line 400002: a value of column 'b' does not read as int64.*kinds=\{'b'"):
            list(source.read(0, 400_001, 100_000, columns))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
def test_text_that_is_not_utf8__is_an_error(tmp_path: Path, name: str) -> None:
    line = b'{"a": "%s"}\n' if name.endswith("jsonl") else b"%s\n"
    raw = (b"" if name.endswith("jsonl") else b"a\n") + b"".join(line % word for word in (b"red", b"caf\xe9", b"blue"))
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    with pytest.raises(BadInput, match=rf"{name}.*not UTF-8"):
        through(read(tmp_path / name, kinds={"a": "category"}))


def test_parquet_string_that_is_not_utf8__is_an_error(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 2, [*pa.array(["caf", "red"]).buffers()[:2], pa.py_buffer(b"ca\xe9red")])
    for kind in ("category", "text"):
        with pytest.raises(BadInput, match=r"a\.parquet.*column 'x' is not UTF-8"):
            through(read(parquet(tmp_path / "a.parquet", x=bad), kinds={"x": kind}))


def test_cut_off_gzip_and_bad_json__are_named(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (k, k * 7919) for k in range(200_000)))
    (tmp_path / "a.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(BadInput, match=r"a\.csv\.gz"):
        through(read(tmp_path / "a.csv.gz"))
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": }\n')
    with pytest.raises(BadInput, match=r"a\.jsonl: the file cannot be read \(JSON"):
        through(read(tmp_path / "a.jsonl"))


def test_svmlight_line_that_is_none__is_named(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("1 1:0.5 2:0.5\n0 1:0.5 2:zzz\n")
    with pytest.raises(BadInput, match=r"a\.svm, after row 0: a line is not svmlight"):
        read(tmp_path / "a.svm", target="target")


def test_unknown_columns__list_the_known_ones(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", x=[1.0, 2.0], y=[0, 1])
    for options in ({"target": "z"}, {"weight": "z"}, {"kinds": {"z": "number"}}, {"drop": ["z"]}):
        with pytest.raises(BadInput, match=r"'z'.*allowed: x, y"):
            read(path, **options)
    with pytest.raises(BadInput, match="'z'"):
        next(read(path, target="y").read(0, 2, 2, ["z"]))
    with pytest.raises(BadInput, match="is 'colour'; allowed: number"):
        read(path, kinds={"x": "colour"})


def test_nested_column__is_named_with_its_remedy(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", x=[[1], [2]], y=[0, 1])
    with pytest.raises(BadInput, match=r"'x' has the type list.*drop=\['x'\]"):
        read(path, target="y")


@pytest.mark.parametrize("values", [[1, 1, 1], ["a", "a", None], [0.5, 0.5, 0.5], [True, True, True], [None, None, None]])
def test_constant_target__is_an_error(tmp_path: Path, values: list) -> None:
    with pytest.raises(BadInput, match=r"target 'y': every row is .*nothing to learn.*another target"):
        read(parquet(tmp_path / "a.parquet", x=[1, 2, 3], y=values), target="y")


def test_nothing_beside_the_target__is_an_error() -> None:
    with pytest.raises(BadInput, match="no column to learn from"):
        read({"y": np.array([0, 1])}, target="y")


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        ([0, 1, 0], "binary", (0, 1)),
        ([True, False, True], "binary", (False, True)),
        (["b", "a", "c"], "classes", ("a", "b", "c")),
        ([3, 7, 5], "classes", (3, 5, 7)),
        ([-1.0, 1.0, 1.0], "binary", (-1, 1)),
        ([0.5, 1.0, 2.0], "number", ()),
        (list(range(30)), "number", ()),
    ],
)
def test_task__is_inferred_from_all_rows(target: list, task: str, classes: tuple) -> None:
    source = read({"x": np.arange(len(target)), "y": np.array(target)}, target="y")
    assert (source.schema.task, source.schema.classes) == (task, classes)
    got = first(source).target
    assert got.tolist() == ([classes.index(value) for value in target] if classes else target)


@pytest.mark.slow
def test_task__a_class_beyond_the_sample__is_found(tmp_path: Path) -> None:
    y = np.zeros(300_000, np.int64)
    y[::2] = 1
    y[123_457] = 5
    source = read(parquet(tmp_path / "a.parquet", x=y, y=y), target="y")
    assert source.schema.classes == (0, 1, 5)


def test_task__can_be_overruled() -> None:
    columns = {"x": np.arange(30), "y": np.arange(30), "z": np.arange(30) % 2, "s": np.array(["a", "b", "c"] * 10)}
    assert read(columns, target="y", task="classes").schema.classes == tuple(range(30))
    assert read(columns, target="z", task="number").schema.task == "number"
    for task, text in (("number", "not numbers"), ("binary", "3 classes"), ("odd", "binary, classes")):
        with pytest.raises(BadInput, match=text):
            read(columns, target="s", task=task)


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.5, np.nan, 1.5], r"row 1: the target is missing"), ([0.5, 1.5, np.inf], r"row 2: the target is inf"), ([0.5, 1.5, None], r"row 2: the target is missing")],
)
def test_target_that_is_no_finite_number__names_the_row(tmp_path: Path, values: list, text: str) -> None:
    source = read(parquet(tmp_path / "a.parquet", x=[1, 2, 3], y=values), target="y")
    with pytest.raises(BadInput, match=r"a\.parquet, row group 0, " + text):
        _ = first(source).target


@pytest.mark.parametrize(("kind", "train", "new", "row"), [("int", [0, 1, 1], [0, 2, 1], 1), ("str", ["a", "b", "b"], ["a", "b", "c"], 2), ("sparse", [1, 5, 9], [1, 5, 7], 2)])
def test_class_never_seen_in_training__names_row_and_value(tmp_path: Path, kind: str, train: list, new: list, row: int) -> None:
    schema = read({"x": np.arange(3), "y": np.array(train)}, target="y").schema
    source = conform(schema, read(parquet(tmp_path / "new.parquet", x=[1, 2, 3], y=new)))
    with pytest.raises(BadInput, match=rf"new\.parquet, row group 0, row {row}: the target is {new[row]!r}, a class that was not there in training"):
        _ = first(source).target


def test_missing_class__names_the_row(tmp_path: Path) -> None:
    for values in (["a", "b", None], [0, 1, None], [0.0, 1.0, np.nan]):
        source = read(parquet(tmp_path / "a.parquet", x=[1, 2, 3], y=pa.array(values, from_pandas=False)), target="y")
        with pytest.raises(BadInput, match="row 2: the target is missing"):
            _ = first(source).target


@pytest.mark.parametrize(("value", "text"), [(-0.5, "the weight is -0.5"), (np.nan, "the weight is missing"), (np.inf, "the weight is inf")])
def test_weight_below_zero_or_none__names_the_row(value: float, text: str) -> None:
    batch = first(read({"x": np.arange(3), "w": np.array([1.0, value, 1.0])}, weight="w"))
    with pytest.raises(BadInput, match=f"row 1: {text}"):
        _ = batch.weight


def test_weight__good_values__come_as_floats() -> None:
    source = read({"x": np.arange(3), "w": np.array([1, 0, 2])}, weight="w")
    weight = first(source).weight
    assert weight is not None
    assert weight.tolist() == [1.0, 0.0, 2.0]
    assert source.schema.names() == ("x",)
    with pytest.raises(BadInput, match="weight 's' is a category"):
        read({"x": np.arange(2), "s": np.array(["a", "b"])}, weight="s")


def test_infinite_input__names_the_row_and_nan_is_missing() -> None:
    batch = first(read({"x": np.array([1.0, np.nan, -np.inf]), "k": np.arange(3)}))
    with pytest.raises(BadInput, match="row 2: column 'x' is -inf"):
        check_finite(batch, "x")
    check_finite(batch, "k")


def test_row_in_the_second_file__is_named_by_its_place_there(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", x=[1, 2], y=[0.5, 1.5])
    parquet(tmp_path / "b.parquet", x=[1, 2], y=[0.5, np.nan])
    source = read(tmp_path, target="y")
    with pytest.raises(BadInput, match=r"b\.parquet.*row 1: the target is missing"):
        _ = [batch.target for batch in source.read(0, 4, 2)]
    with pytest.raises(BadInput, match=r"1 files? further, row 1: the target is missing"):
        _ = first(source).target


def test_arrays_that_do_not_fit__are_named() -> None:
    with pytest.raises(BadInput, match="not rows and columns of numbers"):
        read(np.zeros(3))
    with pytest.raises(BadInput, match="do not make a table"):
        read({"a": np.zeros(3), "b": np.zeros(4)})
    with pytest.raises(BadInput, match="4 values for 3 rows"):
        read(np.zeros((3, 2)), target=np.arange(4))
    with pytest.raises(BadInput, match="'target' already"):
        read({"target": np.zeros(3)}, target=np.arange(3))


@pytest.mark.parametrize(
    "names",
    [("a.parquet", "a.parquet"), ("a.parquet", "./a.parquet"), (".", "a.parquet"), ("*.parquet", "a.parquet"), ("a.parquet", "../here/a.parquet"), ("linked", "a.parquet")],
    ids=" and ".join,
)
def test_a_file_that_is_named_twice__is_refused_not_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("a", "b"):
        parquet(folder / f"{name}.parquet", x=[1.0, 2.0], y=[0, 1])
    monkeypatch.chdir(folder)
    (tmp_path / "linked").symlink_to(folder)
    with pytest.raises(BadInput, match=r"a\.parquet: the file is named twice\. Name it once, by its path or by a folder or glob that holds it; copy it if"):
        read(["../linked" if name == "linked" else name for name in names], target="y")
    assert read(["a.parquet", "b.parquet"], target="y").rows == 4


def test_a_copy_or_a_link_of_a_file__is_another_file(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", x=[1.0, 2.0], y=[0, 1])
    (tmp_path / "b.parquet").symlink_to(tmp_path / "a.parquet")
    assert read([tmp_path / "a.parquet", tmp_path / "b.parquet"], target="y").rows == 4
