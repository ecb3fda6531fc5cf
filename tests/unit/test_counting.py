"""Counts of categories: against plain Python, whatever the strings, the dictionaries and the cut."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.core.state import digest
from outgrow.data.features.counting import Counts

STRINGS = ["", "a", "aa", "ab", "b", "\0", "a\0", "ä", "äa", "zebra", "日本", "\U0001f600", "A" * 300, "A" * 300 + "b"]


def batches(values: list[str | None], rows: int, dictionary: list[str | None]) -> Any:
    """The values as one column of categories over a dictionary (values in it may stand twice, or be null), in batches."""
    places: dict[str | None, list[int]] = {}
    for place, value in enumerate(dictionary):
        places.setdefault(value, []).append(place)
    codes = [places[value][i % len(places[value])] for i, value in enumerate(values)]
    column = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(dictionary))
    return og.read(pa.table({"c": column}), kinds={"c": "category"}).read(0, len(values), rows)


def counted(fold: Counts, found: Any) -> Any:
    state = fold.init({})
    for batch in found:
        state = fold.update(state, batch, {})
    return state


def as_dict(state: Any) -> dict[str, int]:
    raw, ends = state["0.bytes"].tobytes(), state["0.offsets"]
    return {raw[low:high].decode(): int(count) for low, high, count in zip(ends[:-1], ends[1:], state["0.counts"], strict=True)}


@pytest.mark.parametrize("seed", range(6))
def test_counts__strings_of_all_kinds__are_those_of_a_counter_in_the_order_of_bytes(seed: int) -> None:
    random = np.random.default_rng(seed)
    many = [f"v{random.integers(0, 400)}" for _ in range(300)]
    values: list[Any] = [None if random.random() < 0.1 else str(random.choice(STRINGS + many)) for _ in range(700)]
    dictionary: list[Any] = [*STRINGS, *dict.fromkeys(many), None, *STRINGS[:5]]
    dictionary = [dictionary[i] for i in random.permutation(len(dictionary))]
    fold = Counts(("c",), 10_000)
    whole = counted(fold, batches(values, 700, dictionary))
    wanted = Counter(value for value in values if value is not None)
    assert as_dict(whole) == wanted
    assert list(as_dict(whole)) == sorted(wanted, key=str.encode)
    assert whole["0.missing"] == sum(value is None for value in values)
    for rows in (1, 7, 64):
        assert digest(counted(fold, batches(values, rows, dictionary))) == digest(whole)
    parts = [counted(fold, batches(values[low:high], 50, dictionary)) for low, high in ((0, 10), (10, 300), (300, 700))]
    left, middle, right = parts
    assert digest(fold.merge(fold.merge(left, middle, {}), right, {})) == digest(whole)
    assert digest(fold.merge(right, fold.merge(middle, left, {}), {})) == digest(whole)


def test_counts__one_value_too_many__is_refused_by_name() -> None:
    values: list[Any] = [f"v{i}" for i in range(11)]
    fold = Counts(("c",), 10)
    assert len(counted(fold, batches(values[:10], 4, values))["0.counts"]) == 10
    with pytest.raises(og.BadInput, match="column 'c' has more than 10 categories"):
        counted(fold, batches(values, 4, values))
    left, right = counted(fold, batches(values[:6], 6, values)), counted(fold, batches(values[6:], 6, values))
    with pytest.raises(og.BadInput, match="more than 10 categories"):
        fold.merge(left, right, {})
