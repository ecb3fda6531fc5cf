"""Distinct counts and the most frequent values, against numpy.unique and collections.Counter, over any history."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.core.errors import BadInput
from outgrow.core.state import nbytes, same
from outgrow.data.features.counting import Top
from outgrow.data.features.distinct import ERROR, Distinct, _estimate


def source_of(**columns):
    kinds = {"text": "text"} if "text" in columns else {}
    return og.read({name: values if isinstance(values, np.ndarray) else pa.array(values) for name, values in columns.items()}, kinds=kinds)


def folded(fold, source, cuts=()):
    """One state over parts of the source, meeting from the left."""
    edges = sorted({0, source.rows, *cuts})
    state = fold.init({})
    for a, b in pairwise(edges):
        part = fold.init({})
        for batch in source.read(a, b, 1000):
            part = fold.update(part, batch, {})
        state = fold.merge(state, part, {})
    return state


def test_distinct__few_values__are_counted_exactly():
    rng = np.random.default_rng(0)
    columns = {f"n{k}": rng.integers(0, k, 20_000).astype(float) for k in (1, 2, 100, 2048)}
    columns["n100"][::7] = np.nan
    source = source_of(**columns, town=[f"t{i}" if i else None for i in rng.integers(0, 900, 20_000)], text=[f"a b c d {i}" for i in rng.integers(0, 1500, 20_000)])
    fold = Distinct(source.schema.names())
    state = folded(fold, source)
    assert fold.counts(state).tolist() == [1, 2, 100, 2048, 899, 1500]
    assert (state["held"] >= 0).all()


@pytest.mark.parametrize("count", [2049, 3000, 20_000, 400_000])
def test_distinct__many_values__are_within_four_standard_errors(count):
    x = np.random.default_rng(count).permutation(np.arange(count) * 0.1 + 7)
    source = source_of(x=x, y=np.round(x) * 1e-9)
    fold = Distinct(("x", "y"))
    found = fold.counts(folded(fold, source))
    np.testing.assert_allclose(found, [count, len(np.unique(np.round(x)))], rtol=4 * ERROR)


def test_estimate__over_many_columns__has_no_side_and_the_error_told():
    x = np.random.default_rng(1).normal(size=(30_000, 60))
    fold = Distinct(tuple(f"x{j}" for j in range(60)))
    away = fold.counts(folded(fold, og.read(x))) / 30_000 - 1
    assert abs(away.mean()) < 3.5 * ERROR / np.sqrt(60)
    assert 0.7 * ERROR < away.std() < 1.3 * ERROR


def test_estimate__no_register_and_very_high_ones__are_the_ends():
    assert _estimate(np.zeros(1 << 14, np.uint8)) == 0
    assert _estimate(np.full(1 << 14, 40, np.uint8)) == pytest.approx(np.log(2) * (1 << 14) * 2.0**40, rel=0.5)


def test_distinct__texts_and_categories_of_the_same_strings__count_alike():
    strings = [f"some words are here {i % 5000}" for i in range(9000)]
    found = [Distinct(("c",)).counts(folded(Distinct(("c",)), og.read({"c": strings}, kinds={"c": kind}))).tolist() for kind in ("category", "text")]
    assert found[0] == found[1]


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_distinct__any_cut_and_order__same_bits(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows, count = 3000, data.draw(st.sampled_from([5, 2040, 2900]))
    x, town = rng.integers(0, count, rows) * 0.5, rng.integers(0, count, rows)
    whole = source_of(x=x, town=[f"t{i}" for i in town])
    order = rng.permutation(rows)
    other = source_of(x=x[order], town=[f"t{i}" for i in town[order]])
    fold = Distinct(("x", "town"))
    cuts = data.draw(st.lists(st.integers(1, rows - 1), max_size=8))
    assert same(folded(fold, other, cuts), folded(fold, whole))


def test_distinct__minus_zero_and_missing__are_no_values_of_their_own():
    source = source_of(x=np.array([0.0, -0.0, np.nan, -np.nan, 1.0]))
    assert Distinct(("x",)).counts(folded(Distinct(("x",)), source)).tolist() == [2]


def test_distinct__state__stays_small():
    source = source_of(x=np.random.default_rng(0).normal(size=50_000), town=[f"t{i}" for i in range(50_000)])
    assert nbytes(folded(Distinct(("x", "town")), source)) <= 2 * (16 << 10) + 64


def test_distinct__null_in_a_dictionary__is_missing():
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1]), pa.array(["a", None, "b"]))
    source = og.read(pa.table({"c": column, "x": [1.0, 2.0, 3.0, 4.0]}))
    assert Distinct(("c",)).counts(folded(Distinct(("c",)), source)).tolist() == [2]


def test_distinct__sparse_column__is_refused_by_name():
    import scipy.sparse

    source = og.read(scipy.sparse.random(20, 300, 0.1, format="csr", random_state=0))
    with pytest.raises(BadInput, match=r"'x' is sparse.*drop"):
        folded(Distinct(("x",)), source)


# the most frequent values


def as_counts(state, j=0):
    raw, ends = state[f"{j}.bytes"].tobytes(), state[f"{j}.offsets"].tolist()
    values = [raw[a:b].decode() for a, b in pairwise(ends)]
    return dict(zip(values, state[f"{j}.counts"].tolist(), strict=True))


def test_top__few_values__are_counted_exactly():
    values = [None if i == 3 else f"t{i}" for i in np.random.default_rng(0).integers(0, 40, 5000)]
    state = folded(Top(("c",), 40), og.read({"c": values, "x": np.arange(5000.0)}), [100, 3000])
    assert as_counts(state) == Counter(value for value in values if value is not None)
    assert (int(state["0.lost"]), int(state["0.missing"]), int(state["rows"])) == (0, values.count(None), 5000)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_top__any_history__counts_are_within_what_was_lost(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    limit, rows = data.draw(st.sampled_from([1, 3, 10])), data.draw(st.sampled_from([1, 50, 2500]))
    values = [f"t{i}" for i in rng.zipf(data.draw(st.sampled_from([1.2, 2.0])), rows) % 300]
    kind = data.draw(st.sampled_from(["category", "text"]))
    source = og.read({"c": values, "x": np.arange(float(rows))}, kinds={"c": kind})
    cuts = data.draw(st.lists(st.integers(1, max(1, rows - 1)), max_size=12))
    state = folded(Top(("c",), limit), source, [cut for cut in cuts if cut < rows])
    found, true, lost = as_counts(state), Counter(values), int(state["0.lost"])
    assert len(found) <= limit
    assert lost <= rows / (limit + 1)
    assert all(found.get(value, 0) <= count <= found.get(value, 0) + lost for value, count in true.items())
    assert all(count > 0 for count in found.values())
    assert int(state["rows"]) == rows


def test_top__a_value_more_frequent_than_the_bound__is_always_kept():
    rng = np.random.default_rng(3)
    values = np.where(rng.random(20_000) < 0.02, "often", [f"t{i}" for i in range(20_000)]).tolist()
    state = folded(Top(("c",), 100), og.read({"c": values, "x": np.arange(20_000.0)}), [777, 9000])
    assert "often" in as_counts(state)


def test_top__texts_with_missing_ones__are_counted_as_categories_are():
    values = [None if i == 2 else f"one two three four {i}" for i in np.random.default_rng(1).integers(0, 12, 3000)]
    states = [folded(Top(("c",), 50), og.read({"c": values, "x": np.arange(3000.0)}, kinds={"c": kind}), [10]) for kind in ("category", "text")]
    assert same(*states)
