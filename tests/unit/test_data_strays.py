"""A cell that makes categories of a column of numbers is named, with its line and how to overrule."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest

import outgrow as og
from outgrow.cli.main import main
from outgrow.core.errors import BadInput
from outgrow.data.source import read

ROWS = 3000


def cells(rows: int = ROWS) -> list[str]:
    """Lines of month, x and y, the header first: element k is line k + 1."""
    r = np.random.default_rng(0)
    x = r.normal(size=rows)
    return ["month,x,y", *(f"{month},{value:.3f},{int(value > 0)}" for month, value in zip(r.integers(1, 13, rows), x, strict=True))]


def spoiled(path: Path, *lines: int, value: str = "abc", rows: int = ROWS) -> Path:
    """A CSV file whose month is `value` in these lines."""
    text = cells(rows)
    for line in lines:
        text[line - 1] = f"{value},{text[line - 1].partition(',')[2]}"
    whole = ("\n".join(text) + "\n").encode()
    path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("line", [2, 500, 3001])
def test_one_bad_cell__is_warned_of_with_line_value_and_remedy(tmp_path: Path, name: str, line: int) -> None:
    path = spoiled(tmp_path / name, line)
    with pytest.warns(UserWarning, match="month") as told:
        source = read(path, target="y")
    said = f"column 'month' is read as categories, though 2,999 of 3,000 sampled values are numbers: {name}, line {line} holds 'abc'. Correct the cell, or leave it empty where "
    said += "the value is missing. To overrule: kinds={'month': 'number'} (--kind month=number) stops at what is no number; 'category' keeps it as it is, without this warning."
    assert [str(item.message) for item in told] == [said]
    assert told[0].filename == __file__
    assert source.schema["month"].kind == "category"


def test_the_remedies__do_what_the_warning_says(tmp_path: Path) -> None:
    path = spoiled(tmp_path / "a.csv", 500)
    source = read(path, target="y", kinds={"month": "number"})
    with pytest.raises(BadInput, match=r"a\.csv, line 500: a value of column 'month' does not read as double"):
        _ = source.rows, list(source.read(0, ROWS, ROWS))
    assert read(path, target="y", kinds={"month": "category"}).schema["month"].kind == "category"
    assert read(path, target="y", drop=["month"]).schema.names() == ("x",)
    empty = read(spoiled(tmp_path / "b.csv", 500, value=""), target="y")
    assert (empty.schema["month"].kind, empty.schema["month"].missing) == ("number", 1)


def test_a_cell_beyond_the_sample__is_found_where_the_types_come_from(tmp_path: Path) -> None:
    path = spoiled(tmp_path / "a.csv", 19_000, rows=20_000)
    with pytest.warns(UserWarning, match=r"though 10,000 of 10,000 sampled values are numbers: a\.csv, line 19000 holds 'abc'"):
        read(path, target="y")


def test_a_cell_in_another_file__is_named_with_that_file(tmp_path: Path) -> None:
    spoiled(tmp_path / "a.csv")
    spoiled(tmp_path / "b.csv", 7)
    with pytest.warns(UserWarning, match=r"5,999 of 6,000 sampled values are numbers: b\.csv, line 7 holds 'abc'"):
        read(tmp_path, target="y")


@pytest.mark.parametrize("extra", ["\n", '"two\nlines",0.5,1\n'], ids=["a blank line", "a value of two lines"])
def test_where_lines_are_not_rows__the_row_is_named(tmp_path: Path, extra: str) -> None:
    text = spoiled(tmp_path / "a.csv", 500).read_text().splitlines(keepends=True)
    text.insert(300, extra)
    (tmp_path / "a.csv").write_text("".join(text))
    first, row = ("abc", 498) if extra == "\n" else (r"two\\nlines", 299)
    with pytest.warns(UserWarning, match=rf"a\.csv, row {row} holds '{first}'"):
        read(tmp_path / "a.csv", target="y")


@pytest.mark.parametrize("value", ["1e3", " 7", "-.5", "+4.", "NA", "007"])
def test_numbers_however_written_and_missing_values__are_no_strays(tmp_path: Path, value: str) -> None:
    assert read(spoiled(tmp_path / "a.csv", 500, value=value), target="y").schema["month"].kind == "number"


def test_a_column_of_categories__is_not_warned_of(tmp_path: Path) -> None:
    below = [*range(2, 153)]  # 151 of 3 000 are more than one in twenty
    assert read(spoiled(tmp_path / "a.csv", *below), target="y").schema["month"].kind == "category"
    with pytest.warns(UserWarning, match=r"2,850 of 3,000"):
        read(spoiled(tmp_path / "b.csv", *below[:-1]), target="y")
    names = {"zip": [f"{k:05d}" for k in range(99)] + ["B1"], "y": [0, 1] * 50}
    assert read(names, target="y").schema["zip"].kind == "category"  # strings by type, not by accident


def test_the_rows_of_a_model__are_read_as_it_says_without_a_warning(tmp_path: Path) -> None:
    kept = read(spoiled(tmp_path / "a.csv", 500), target="y", kinds={"month": "category"})
    model = og.plan(og.OnlineLinear(), kept, probe=False, root=tmp_path / "runs").run().model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert og.evaluate(model, tmp_path / "a.csv")["rows"] == ROWS


@pytest.mark.filterwarnings("default:column .* is read as")
def test_a_bad_cell__on_the_command_line__is_one_line_of_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(spoiled(tmp_path / "a.csv", 500))
    assert main(["plan", path, "--target", "y"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "month" in line]
    assert len(said) == 1
    assert said[0].startswith("outgrow plan: column 'month' is read as categories")
    assert main(["plan", path, "--target", "y", "--kind", "month=category"]) == 0
    assert "month" not in capsys.readouterr().err
