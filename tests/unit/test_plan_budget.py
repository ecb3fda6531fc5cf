from __future__ import annotations

from types import SimpleNamespace

import pytest

from outgrow.core.errors import BadField
from outgrow.plan.budget import parse_bytes, parse_seconds, show_bytes, show_seconds
from outgrow.plan.cuts import cuts
from outgrow.plan.where import Where, parse_where


@pytest.mark.parametrize(("text", "size"), [("1GB", 10**9), ("1.5 gb", 1_500_000_000), ("512MiB", 512 << 20), ("2k", None), ("10kB", 10_000), (1 << 30, 1 << 30), (None, None)])
def test_sizes__are_read_or_refused(text: str | int | None, size: int | None) -> None:
    if text is not None and size is None:
        with pytest.raises(BadField, match="not understood"):
            parse_bytes(text)
    else:
        assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1e400", "1GB2", True, "ten"])
def test_no_size__is_refused_by_the_name_of_the_option(text: str) -> None:
    with pytest.raises(BadField, match=r"^memory: .*allowed: a size as"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2min", 120), ("1.5h", 5400), (10, 10), ("7", 7)])
def test_times__are_read(text: str | int, seconds: float) -> None:
    assert parse_seconds(text) == seconds


def test_no_time__is_refused() -> None:
    with pytest.raises(BadField, match="time: '2 days'"):
        parse_seconds("2 days")


@pytest.mark.parametrize("size", [1, 999, 12_345, 1_500_000, 123_456_789, 99_950_000, 999_600_000, 5 * 10**9, 3 * 10**12])
def test_a_shown_size__reads_back_to_three_digits(size: int) -> None:
    shown = parse_bytes(show_bytes(size).replace(" ", ""))
    assert shown == pytest.approx(size, rel=0.006)


def test_shown_times__have_the_unit_a_person_wants() -> None:
    assert [show_seconds(value) for value in (0.004, 9.94, 59.4, 59.6, 3599, 3601, None)] == ["0.00 s", "9.9 s", "59 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "unknown"]


@pytest.mark.parametrize("text", ["dask", "spark://host", "processes:0", "processes:x", "processes:", "serial:2", "processes:99999"])
def test_an_engine_that_is_none__is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(BadField, match=r"on: .*serial, processes:N"):
        parse_where(text)


def test_engines__are_read() -> None:
    assert [str(parse_where(text)) for text in ("serial", "processes:3", "processes", "rehearsal")] == ["serial", "processes:3", "processes", "rehearsal"]
    assert parse_where("processes") == Where("processes", 0)


def look(rows: int, row_bytes: int, group_rows: int) -> SimpleNamespace:
    return SimpleNamespace(rows=rows, row_bytes=row_bytes, group_rows=group_rows)


def test_shards__are_whole_row_groups_where_there_are_enough() -> None:
    assert cuts(look(100_000_000, 200, 1_000_000)).shard_rows == 2_000_000  # type: ignore[arg-type]
    assert cuts(look(10_000_000, 200, 50_000)).shard_rows % 50_000 == 0  # type: ignore[arg-type]


def test_one_small_row_group__is_cut_into_four_shards() -> None:
    rule = cuts(look(400_000, 60, 400_000))  # type: ignore[arg-type]
    assert -(-400_000 // rule.shard_rows) == 4
    assert rule.shard_rows % rule.batch_rows == 0


@pytest.mark.parametrize("row_bytes", [1, 60, 500, 100_000])
def test_batches__are_at_most_four_megabytes_or_their_smallest(row_bytes: int) -> None:
    rows = cuts(look(1_000_000, row_bytes, 0)).batch_rows  # type: ignore[arg-type]
    assert rows in (1024, 2048, 4096, 8192, 16384, 32768)
    assert rows == 1024 or rows * row_bytes <= 4 << 20
