"""OneHot, Scale, Missing, Dates and the chain of them, over small batches and every way to cut them."""

from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, RobustScaler, StandardScaler

from outgrow.core.errors import BadField, BadFile, BadInput
from outgrow.core.learner import Context
from outgrow.core.state import decode, encode, same
from outgrow.core.tree import Closer
from outgrow.data.batch import Batch, Codes, Dictionary, Field, Numbers, Ragged, Schema, Texts
from outgrow.data.features import Dates, Hashing, Missing, OneHot, RobustScale, Scale, standard


def codes(values, **changes):
    array = pa.array(values, **changes).dictionary_encode()
    return Codes(np.array([-1 if i is None else i for i in array.indices.to_pylist()], np.int32), Dictionary(array.dictionary))


def batch_of(columns, start=0):
    kinds = {Numbers: "number", Codes: "category", Texts: "text", Ragged: "sparse"}
    fields = [Field(name=n, kind=kinds[type(c)], dtype=f"sparse[{c.width}]" if isinstance(c, Ragged) else "") for n, c in columns.items()]
    return Batch(schema=Schema(fields=tuple(fields)), columns=columns, start=start, count=len(next(iter(columns.values()))), place="a.parquet, row group 0")


def parts(batch, sizes):
    ends = list(itertools.accumulate(sizes))
    assert ends[-1] == batch.rows
    cuts = [batch.where(np.arange(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    return [Batch(schema=batch.schema, columns=cut.columns, start=int(cut.positions[0]), count=cut.rows, place=batch.place) for cut in cuts]


def shards(batch, sizes):
    """`sizes` holds, for each shard, the sizes of its batches."""
    flat = iter(parts(batch, [size for shard in sizes for size in shard]))
    return [[next(flat) for _ in shard] for shard in sizes]


def fit(feature, lanes, order=None):
    schema = lanes[0][0].schema
    rows = sum(batch.rows for lane in lanes for batch in lane)
    context = Context(schema=schema, rows=rows, shard_rows=rows, batch_rows=rows)
    carry = feature.begin(context)
    while asked := feature.ask(context, carry):
        closed = []
        for item in asked:
            closer = Closer(len(lanes), lambda a, b, item=item: item.fold.merge(a, b, item.given))
            for s in order or range(len(lanes)):
                state = item.fold.init(item.given)
                for batch in lanes[s]:
                    state = item.fold.update(state, batch, item.given)
                closer.add(0, s, decode(b"".join(encode(state)))[0])
            closed.append(closer.close())
        carry = feature.tell(context, carry, tuple(closed))
    return feature.finish(context, carry)


def applied(feature, batch, lanes=None):
    fitted = fit(feature, lanes or [[batch]])
    return feature.apply(fitted, batch, False)


@pytest.fixture
def mixed():
    rng = np.random.default_rng(5)
    n = 60
    words = np.array(["red", "green", "blue", "", "é", "Ünder", "z"], object)
    town = [None if rng.random() < 0.15 else str(words[rng.integers(7)]) for _ in range(n)]
    return batch_of(
        {
            "town": codes(town),
            "kind": codes([int(k) for k in rng.integers(0, 40, n)]),
            "age": Numbers(rng.normal(40, 9, n), rng.random(n) > 0.2),
            "size": Numbers(rng.integers(-5, 5, n)),
        }
    )


CUTS = [[[60]], [[1] * 60], [[20, 20, 20]], [[7], [53]], [[1], [1, 1], [57]], [[30], [15], [8], [4], [2], [1]], [[59], [1]]]


ORDER_FREE = [OneHot(), OneHot(max_categories=3), OneHot(min_count=3), Missing(strategy="most", indicator=True), Missing(strategy="constant", indicator=True)]


@pytest.mark.parametrize("feature", ORDER_FREE)
@pytest.mark.parametrize("cut", CUTS)
def test_order_free_fit__any_cut_and_order__gives_the_same_bits(feature, cut, mixed):
    lanes = shards(mixed, cut)
    whole = fit(feature, [[mixed]])
    assert same(fit(feature, lanes), whole)
    assert same(fit(feature, lanes, order=list(range(len(lanes)))[::-1]), whole)
    assert same(fit(feature, lanes[::-1]), whole)


@pytest.mark.parametrize("feature", [Scale(), Scale(by="largest", center=False), Missing(indicator=True)])
def test_moments_fit__size_of_batches_and_order_of_arrival__change_no_bit(feature, mixed):
    whole = fit(feature, shards(mixed, [[30], [29], [1]]))
    assert same(fit(feature, shards(mixed, [[1] * 30, [20, 9], [1]]), order=[2, 0, 1]), whole)


@pytest.mark.parametrize("feature", [OneHot(), Scale(), Missing(indicator=True), Missing(strategy="most"), Missing(strategy="constant", indicator=True)])
def test_merge__empty_state__is_the_identity(feature, mixed):
    context = Context(schema=mixed.schema, rows=60, shard_rows=60, batch_rows=60)
    for item in feature.ask(context, feature.begin(context)):
        state = item.fold.update(item.fold.init({}), mixed, {})
        before = decode(b"".join(encode(state)))[0]
        for left, right in ((item.fold.init({}), state), (state, item.fold.init({}))):
            assert same(item.fold.merge(left, right, {}), before)


@pytest.mark.parametrize("feature", [OneHot(), Scale(), Missing(indicator=True), Missing(strategy="most")])
def test_merge__right_state__is_left_alone(feature, mixed):
    context = Context(schema=mixed.schema, rows=60, shard_rows=60, batch_rows=60)
    one, two = parts(mixed, [20, 40])
    for item in feature.ask(context, feature.begin(context)):
        right = item.fold.update(item.fold.init({}), two, {})
        before = decode(b"".join(encode(right)))[0]
        for array in right.values():
            array.flags.writeable = False
        item.fold.merge(item.fold.update(item.fold.init({}), one, {}), right, {})
        assert same(right, before)


def test_merge__one_row_states__are_not_dropped(mixed):
    fitted = fit(OneHot(), [[part] for part in parts(mixed, [1] * 60)])
    assert same(fitted, fit(OneHot(), [[mixed]]))
    scaled = fit(Scale(), [[part] for part in parts(mixed, [1] * 60)])
    np.testing.assert_allclose(scaled["center"], fit(Scale(), [[mixed]])["center"], rtol=1e-13)
    np.testing.assert_allclose(scaled["spread"], fit(Scale(), [[mixed]])["spread"], rtol=1e-13)


def test_onehot__against_scikit_learn(mixed):
    feature = OneHot()
    fitted = fit(feature, [[mixed]])
    design = feature.apply(fitted, mixed, False).design
    names = feature.names(fitted, mixed.schema)
    shape = feature.schema(fitted, mixed.schema).design
    assert shape.width == design.width == len(names) - len(design.names)
    assert (shape.names, shape.k, shape.ragged) == (("age", "size"), 2, False)
    table = np.zeros((mixed.rows, design.width))
    table[np.arange(mixed.rows)[:, None], design.slots] = 1
    text = [[None if c < 0 else column.dictionary.values[int(c)].as_py() for c in column.codes] for column in (mixed.columns["town"], mixed.columns["kind"])]
    town = np.array([" is missing" if t is None else f"={t}" for t in text[0]], object)
    kind = np.array([f"={k}" for k in text[1]], object)
    oracle = OneHotEncoder(sparse_output=False).fit(np.column_stack([town, kind]))
    wanted = [f"town{v}" for v in oracle.categories_[0]] + [f"kind{v}" for v in oracle.categories_[1]]
    np.testing.assert_array_equal(table[:, [names.index(w) for w in wanted]], oracle.transform(np.column_stack([town, kind])))
    assert sorted(names) == sorted([*wanted, "never seen", "age", "size"])
    assert design.dense.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(design.dense[:, 0]), ~mixed.columns["age"].valid)


def test_onehot__values_in_the_order_of_their_bytes():
    batch = batch_of({"c": codes(["b", "é", "a", "Z", ""])})
    assert OneHot().names(fit(OneHot(), [[batch]]), batch.schema) == ["c=", "c=Z", "c=a", "c=b", "c=é", "never seen"]


def test_onehot__value_never_seen__goes_to_the_slot_without_rows():
    feature = OneHot()
    seen, new = batch_of({"c": codes(["a", "b"])}), batch_of({"c": codes(["b", "x", None])})
    fitted = fit(feature, [[seen]])
    assert feature.apply(fitted, new, False).design.slots.tolist() == [[1], [2], [2]]
    assert feature.names(fitted, seen.schema) == ["c=a", "c=b", "never seen"]


def test_onehot__most_frequent_values_are_kept__ties_by_bytes():
    batch = batch_of({"c": codes(["b", "b", "a", "d", "c", None])})
    feature = OneHot(max_categories=2)
    fitted = fit(feature, [[batch]])
    assert feature.names(fitted, batch.schema) == ["c=a", "c=b", "c is missing", "c is another", "never seen"]
    assert feature.apply(fitted, batch_of({"c": codes(["b", "d", None, "new"])}), False).design.slots.ravel().tolist() == [1, 3, 2, 3]


def test_onehot__min_count__rare_values_share_a_slot():
    batch = batch_of({"c": codes(["b", "b", "a"])})
    assert OneHot().names(fit(OneHot(min_count=2), [[batch]]), batch.schema) == ["c=b", "c is another", "never seen"]


def test_onehot__dictionary_with_a_null_and_a_value_twice__counts_them_as_what_they_are():
    column = Codes(np.array([0, 1, 2, 3], np.int32), Dictionary(pa.array(["a", None, "a", "b"])))
    batch = batch_of({"c": column})
    fitted = fit(OneHot(), [[batch]])
    assert OneHot().names(fitted, batch.schema) == ["c=a", "c=b", "c is missing", "never seen"]
    assert OneHot().apply(fitted, batch, False).design.slots.ravel().tolist() == [0, 2, 0, 1]


def test_onehot__categories_of_other_types__have_their_text_form():
    batch = batch_of({"c": codes([True, False, None]), "d": codes([1.5, 2.0, 2.0]), "e": codes([dt.date(2020, 1, 2)] * 3)})
    assert OneHot().names(fit(OneHot(), [[batch]]), batch.schema) == ["c=false", "c=true", "c is missing", "d=1.5", "d=2", "e=2020-01-02", "never seen"]


def test_onehot__sparse_column__keeps_a_slot_for_each_place():
    ragged = Ragged(np.array([0, 2, 2, 3]), np.array([0, 2, 9], np.int32), np.array([1.0, -2.0, 7.0]), 3)
    batch = batch_of({"c": codes(["a", "b", "a"]), "x": ragged})
    feature = OneHot()
    fitted = fit(feature, [[batch]])
    design = feature.apply(fitted, batch, False).design
    assert feature.names(fitted, batch.schema) == ["c=a", "c=b", "never seen", "x[0]", "x[1]", "x[2]"]
    assert design.width == 6
    assert [item.tolist() for item in design.ragged] == [[0, 2, 2, 2], [3, 5], [1.0, -2.0]]


def test_onehot__too_many_categories__names_the_column_and_the_remedy(monkeypatch):
    monkeypatch.setattr("outgrow.data.features.onehot.LIMIT", 3)
    batch = batch_of({"c": codes([str(i) for i in range(9)])})
    with pytest.raises(BadInput, match=r"column 'c' has more than 3 categories.*Hashing"):
        fit(OneHot(), [[batch]])
    with pytest.raises(BadInput, match="more than 3"):
        fit(OneHot(), [[part] for part in parts(batch, [3, 3, 3])])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("values.offsets", lambda a: a + 1_000_000_000),
        ("values.offsets", lambda a: a - 5),
        ("values.offsets", lambda a: a[::-1].copy()),
        ("starts", lambda a: a + 7),
        ("starts", lambda a: a[::-1].copy()),
        ("missing", lambda a: a[:1]),
    ],
)
def test_onehot__damaged_model__is_refused_before_a_wild_read(name, change, mixed):
    fitted = fit(OneHot(), [[mixed]])
    with pytest.raises(BadFile, match="damaged"):
        OneHot().apply({**fitted, name: change(fitted[name])}, mixed, False)


def test_onehot__text_or_date__is_refused_by_name():
    for kind, remedy in (("date", "Dates"), ("text", "Hashing")):
        schema = Schema(fields=(Field(name="x", kind=kind),))
        with pytest.raises(BadField, match=f"'x' is a {kind}.*{remedy}"):
            OneHot().begin(Context(schema=schema, rows=1, shard_rows=1, batch_rows=1))


def test_onehot__no_category_column__needs_no_pass():
    batch = batch_of({"a": Numbers(np.arange(3))})
    design = applied(OneHot(), batch).design
    assert design.width == 1
    assert design.slots.shape == (3, 0)
    np.testing.assert_array_equal(design.dense, [[0.0], [1.0], [2.0]])


def test_onehot__code_outside_the_dictionary__is_an_error():
    column = Codes(np.array([0, 5], np.int32), Dictionary(pa.array(["a"])))
    with pytest.raises(BadInput, match="outside its dictionary"):
        fit(OneHot(), [[batch_of({"c": column})]])


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e6])
def test_scale__against_scikit_learn(spread):
    rng = np.random.default_rng(1)
    x = rng.normal(1e3, spread, (500, 3))
    x[rng.random(x.shape) < 0.1] = np.nan
    batch = batch_of({f"x{j}": Numbers(x[:, j]) for j in range(3)})
    for cut in ([[500]], [[100], [250], [150]]):
        out = applied(Scale(), batch, shards(batch, cut))
        np.testing.assert_allclose(out.matrix(), StandardScaler().fit_transform(x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(applied(Scale(center=False, by="largest"), batch).matrix(), x / np.nanmax(np.abs(x), axis=0), rtol=1e-15)
    np.testing.assert_allclose(applied(Scale(by="none"), batch).matrix(), x - np.nanmean(x, axis=0), rtol=1e-9, atol=1e-9)


def test_scale__constant_and_empty_columns__are_divided_by_one():
    batch = batch_of({"a": Numbers(np.full(7, 0.1)), "b": Numbers(np.full(7, np.nan)), "c": Numbers(np.zeros(7, np.int64), np.zeros(7, bool))})
    out = applied(Scale(), batch, shards(batch, [[3], [4]]))
    np.testing.assert_array_equal(out.matrix(), np.column_stack([np.zeros(7), np.full(7, np.nan), np.full(7, np.nan)]))


@pytest.mark.parametrize("feature", [Scale(), Missing()])
def test_infinite_number__names_column_and_row(feature):
    batch = batch_of({"a": Numbers(np.array([1.0, 2.0, -np.inf]))}, start=100)
    with pytest.raises(BadInput, match=r"a.parquet, row group 0, row 102, column 'a': the value is -inf"):
        fit(feature, [[batch]])
    good = batch_of({"a": Numbers(np.array([1.0, 2.0, 5.0]))})
    with pytest.raises(BadInput, match="row 102, column 'a'"):
        Scale().apply(fit(Scale(), [[good]]), batch, False)


def test_scale__squares_that_overflow__are_an_error():
    with pytest.raises(BadInput, match="'a' overflow"):
        fit(Scale(), [[batch_of({"a": Numbers(np.array([1e300, -1e300]))})]])


def test_scale__layout_of_the_input__changes_no_bit():
    rng = np.random.default_rng(2)
    block = rng.normal(size=(50, 3))
    plain = batch_of({f"x{j}": Numbers(np.ascontiguousarray(block[:, j])) for j in range(3)})
    strided = batch_of({f"x{j}": Numbers(block[:, j]) for j in range(3)})
    assert same(fit(Scale(), [[plain]]), fit(Scale(), [[strided]]))
    assert applied(Scale(), plain).matrix().tobytes() == applied(Scale(), strided).matrix().tobytes()


@pytest.mark.parametrize(("ours", "theirs"), [("mean", "mean"), ("most", "most_frequent"), ("constant", "constant")])
def test_missing__against_scikit_learn(ours, theirs):
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, (80, 4)).astype(float)
    x[rng.random(x.shape) < 0.3] = np.nan
    x[:, 3] = 1.0
    batch = batch_of({f"x{j}": Numbers(x[:, j]) for j in range(4)})
    wanted = SimpleImputer(strategy=theirs, add_indicator=True, fill_value=7.0 if ours == "constant" else None).fit_transform(x)
    out = applied(Missing(strategy=ours, fill=7.0, indicator=True), batch, shards(batch, [[30], [50]]))
    assert out.schema.names() == ("x0", "x1", "x2", "x3", "x0 is missing", "x1 is missing", "x2 is missing")
    np.testing.assert_allclose(out.matrix(), wanted, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("strategy", ["mean", "most", "constant"])
def test_missing__column_without_any_value__takes_fill(strategy):
    batch = batch_of({"a": Numbers(np.full(3, np.nan)), "b": Numbers(np.zeros(3, np.int64), np.zeros(3, bool))})
    np.testing.assert_array_equal(applied(Missing(strategy=strategy, fill=2.5), batch).matrix(), np.full((3, 2), 2.5))


def test_missing__most_frequent__minus_zero_is_zero_and_ties_go_to_the_smallest():
    batch = batch_of({"a": Numbers(np.array([-0.0, 3.0, 0.0, 3.0, np.nan]))})
    found = applied(Missing(strategy="most"), batch).matrix()[:, 0]
    assert str(found[-1]) == "0.0"


def test_missing__values_after_the_fit_only__are_filled_too():
    feature = Missing(indicator=True)
    fitted = fit(feature, [[batch_of({"a": Numbers(np.array([1.0, 3.0]))})]])
    out = feature.apply(fitted, batch_of({"a": Numbers(np.array([np.nan, 5.0]))}), False)
    np.testing.assert_array_equal(out.matrix(), [[2.0], [5.0]])


def test_missing__constant__asks_for_no_pass(mixed):
    context = Context(schema=mixed.schema, rows=60, shard_rows=60, batch_rows=60)
    assert Missing(strategy="constant").ask(context, Missing(strategy="constant").begin(context)) == ()


def test_missing__source_batch__is_not_changed():
    values = np.array([1.0, np.nan])
    applied(Missing(strategy="constant"), batch_of({"a": Numbers(values)}))
    assert np.isnan(values[1])


def _dated(values, **more):
    schema = Schema(fields=(Field(name="when", kind="date"), Field(name="x", kind="number")))
    n = len(values)
    return Batch(schema=schema, columns={"when": Numbers(np.array(values, np.int64), **more), "x": Numbers(np.arange(n))}, count=n)


def test_dates__against_datetime():
    rng = np.random.default_rng(4)
    times = [int(t) for t in rng.integers(-3_000_000_000_000_000, 9_000_000_000_000_000, 400)] + [0, -1, 1, 951782400000000, 951868799999999, -2203891200000000]
    names = ("year", "month", "day", "weekday", "hour", "minute", "yearday", "since")
    out = Dates(parts=names).apply({}, _dated(times), False)
    assert out.schema.names() == (*(f"when.{part}" for part in names), "x")
    assert tuple(out.columns) == out.schema.names()

    def values(part):
        column = out.columns[f"when.{part}"]
        return [column.dictionary.values[int(c)].as_py() for c in column.codes] if isinstance(column, Codes) else column.values.tolist()

    found = dict(zip(names, map(values, names), strict=True))
    for i, t in enumerate(times):
        when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=t)
        assert [found[part][i] for part in names[:7]] == [when.year, str(when.month), str(when.day), when.strftime("%a"), str(when.hour), when.minute, when.timetuple().tm_yday]
        assert found["since"][i] == t / 86_400_000_000


def test_dates__missing__is_missing_in_every_part():
    out = Dates().apply({}, _dated([0, np.iinfo(np.int64).min], valid=np.array([True, False])), False)
    assert out.columns["when.month"].codes.tolist() == [0, -1]
    assert out.columns["when.year"].valid.tolist() == [True, False]
    assert out.columns["when.year"].values[0] == 1970


def test_dates__same_dictionary_for_every_batch__so_that_it_is_hashed_once():
    one, two = (Dates().apply({}, _dated([0]), False) for _ in range(2))
    assert one.columns["when.hour"].dictionary is two.columns["when.hour"].dictionary


def test_dates__part_that_is_a_column_already__is_an_error():
    schema = Schema(fields=(Field(name="when", kind="date"), Field(name="when.year", kind="number")))
    with pytest.raises(BadInput, match=r"'when.year'"):
        Dates().schema({}, schema)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OneHot(max_categories=0), "max_categories"),
        (lambda: OneHot(min_count=0), "min_count"),
        (lambda: Scale(by="much"), "by is 'much'"),
        (lambda: Scale(center=1), "center"),
        (lambda: Missing(strategy="median"), "strategy"),
        (lambda: Missing(fill=float("nan")), "fill"),
        (lambda: Missing(indicator="yes"), "indicator"),
        (lambda: Dates(parts=("century",)), "century"),
        (lambda: Dates(parts=("year", "year")), "twice"),
        (lambda: Dates(parts=()), "parts"),
        (lambda: standard(Schema(fields=()), "word2vec"), "word2vec"),
    ],
)
def test_bad_field__is_refused_by_name(make, words):
    with pytest.raises(BadField, match=words):
        make()


def test_standard__onehot__leaves_no_missing_number(mixed):
    schema = Schema(fields=(*mixed.schema.fields, Field(name="when", kind="date")))
    whole = Batch(schema=schema, columns={**mixed.columns, "when": Numbers(np.arange(60) * 10**14, np.arange(60) % 7 > 0)}, count=60)
    chain = standard(schema, "onehot", max_categories=5)
    assert [type(item) for item in chain] == [Dates, Scale, Missing, OneHot]
    batch = whole
    for item in chain:
        fitted = fit(item, [[batch]])
        after = item.schema(fitted, batch.schema)
        batch = item.apply(fitted, batch, True)
        assert batch.schema.fields == after.fields
    assert batch.design.names == ("age", "size", "when.year")
    assert not np.isnan(batch.design.dense).any()
    assert batch.design.slots.shape == (60, 6)


def test_standard__hashing__is_one_feature_where_there_is_no_date(mixed):
    assert standard(mixed.schema, "hashing", bits=12) == (Hashing(bits=12),)
    assert [type(item) for item in standard(batch_of({"c": codes(["a"])}).schema, "onehot")] == [OneHot]


@pytest.mark.parametrize("fields", [{}, {"center": False}, {"by": "none"}, {"quantile_range": (10.0, 95.0), "unit_variance": True}])
def test_robust_scale__few_values__are_scikit_learns_to_the_bit(fields):
    rng = np.random.default_rng(1)
    x = rng.normal(1e3, 5, (900, 3))
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:, 2] = 2.5
    batch = batch_of({f"x{j}": Numbers(x[:, j]) for j in range(3)})
    names = {"center": "with_centering", "quantile_range": "quantile_range", "unit_variance": "unit_variance"}
    peer = RobustScaler(with_scaling="by" not in fields, **{names[key]: value for key, value in fields.items() if key in names})
    out = applied(RobustScale(**fields), batch, shards(batch, [[300, 100], [77], [423]]))
    np.testing.assert_array_equal(np.column_stack([out.columns[f"x{j}"].floats() for j in range(3)]), peer.fit_transform(x))


def test_robust_scale__many_values__are_within_the_error():
    x = np.random.default_rng(2).lognormal(sigma=2, size=20_000)
    batch = batch_of({"x": Numbers(x)})
    fitted = fit(RobustScale(error=0.01), shards(batch, [[5000] * 2, [3000], [7000]]))
    low, high = np.quantile(x, [0.49, 0.51])
    assert low <= fitted["center"][0] <= high
    least, most = (np.subtract(*np.quantile(x, pair)) for pair in ([0.74, 0.26], [0.76, 0.24]))
    assert least <= fitted["spread"][0] <= most


def test_robust_scale__constant_or_empty_column__is_divided_by_one():
    batch = batch_of({"c": Numbers(np.full(5, 7.0)), "gone": Numbers(np.full(5, np.nan)), "x": Numbers(np.arange(5.0))})
    fitted = fit(RobustScale(), [[batch]])
    assert fitted["spread"].tolist() == [1.0, 1.0, 2.0]
    assert fitted["center"].tolist() == [7.0, 0.0, 2.0]
    assert np.isnan(RobustScale().apply(fitted, batch, False).columns["gone"].floats()).all()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"center": 1}, "center"), ({"by": "deviation"}, "by"), ({"quantile_range": (75.0, 25.0)}, "quantile_range"), ({"quantile_range": (-1.0, 25.0)}, "quantile_range"),
        ({"quantile_range": (0.0, 100.0), "unit_variance": True}, "unit_variance"), ({"error": 0.5}, "error"), ({"quantile_range": 5}, "quantile_range"),
    ],
)  # fmt: skip
def test_robust_scale__fields_out_of_range__are_named(fields, said):
    with pytest.raises(BadField, match=said):
        RobustScale(**fields)


def test_robust_scale__values_too_far_apart__name_the_column():
    with pytest.raises(BadInput, match="'x' lie too far apart"):
        fit(RobustScale(), [[batch_of({"x": Numbers(np.array([-1.7e308, -1.7e308, 1.7e308, 1.7e308]))})]])
