"""TfIdf against scikit-learn, over every way to cut the rows, before learners and behind files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer

import outgrow as og
from outgrow.check.cases import Shown
from outgrow.core.learner import Context
from outgrow.core.state import decode, encode, same
from outgrow.data.features import Missing, one_row
from outgrow.learn.tf_idf import Documents
from outgrow.plan.score import strongest

WORDS = ["late", "early", "rain", "wind", "delayed", "on", "time", "gate", "closed", "a", "b_2", "x1", "42"]
RNG = np.random.default_rng(3)
TEXTS = [" ".join(WORDS[k] for k in (RNG.random(RNG.integers(0, 30)) ** 2 * len(WORDS)).astype(int)) for _ in range(200)]
ALIKE = {"token_pattern": r"(?u)\b\w+\b"}


def rows_of(texts: Any, **more: Any) -> Any:
    return og.read(pa.table({"text": pa.array(texts, pa.string()), **more}), kinds={"text": "text"})


def weights_of(feature: og.TfIdf, fitted: Any, texts: Any) -> sp.csr_array:
    """Rows of a scipy matrix, a column a slot."""
    batch = next(rows_of(texts).read(0, len(texts), len(texts)))
    offsets, slots, values = feature.apply(fitted, batch, False).design.ragged
    return sp.csr_array((values.astype(float), slots.astype(int), offsets), (len(texts), 1 << feature.bits))


def fitted_on(feature: og.TfIdf, rows: Any, **cuts: Any) -> Any:
    return og.plan(Shown(feature), rows, features=(), on="serial", probe=False, **cuts).run().model.arrays


def places(feature: og.TfIdf, names: Any) -> list[int]:
    """The slot of each word."""
    one = og.Hashing(bits=feature.bits, ngrams=feature.ngrams, words=feature.words)
    found = []
    for name in names:
        offsets, slots, _ = one.apply({}, next(rows_of([name]).read(0, 1, 1)), False).design.ragged
        found.append(int(slots[offsets[1] - 1]))  # of a run of words, the run itself comes last
    return found


@pytest.mark.parametrize("sublinear", [False, True])
@pytest.mark.parametrize("norm", ["l2", "l1", "none"])
@pytest.mark.parametrize("limits", [{}, {"min_df": 5, "max_df": 0.6}])
@pytest.mark.parametrize("ngrams", [1, 2])
def test_weights__are_those_of_scikit_learns_vectorizer(sublinear: bool, norm: str, limits: dict[str, Any], ngrams: int) -> None:
    feature = og.TfIdf(bits=22, ngrams=ngrams, sublinear=sublinear, norm=norm, **limits)
    peer = TfidfVectorizer(**ALIKE, **limits, ngram_range=(1, ngrams), sublinear_tf=sublinear, norm=None if norm == "none" else norm).fit(TEXTS)
    fitted = fitted_on(feature, rows_of(TEXTS))
    new = [*TEXTS[:50], "never seen words, rain", "", "RAIN Rain"]
    ours = weights_of(feature, fitted, new)
    columns = places(feature, peer.get_feature_names_out())
    assert len(set(columns)) == len(columns)
    np.testing.assert_allclose(ours[:, columns].toarray(), peer.transform(new).toarray(), rtol=1e-6, atol=1e-7)
    assert ours.nnz == peer.transform(new).nnz  # and no other slot has a weight


@pytest.mark.parametrize("sublinear", [False, True])
def test_weights__where_words_share_slots__are_those_of_hashing_and_then_weighing(sublinear: bool) -> None:
    feature = og.TfIdf(bits=3, min_df=0, sublinear=sublinear)
    names = sorted({word for text in TEXTS for word in text.split()})
    counts = CountVectorizer(**ALIKE, vocabulary=names).transform(TEXTS)
    to_slot = sp.csr_array((np.ones(len(names)), (range(len(names)), places(feature, names))), (len(names), 8))
    hashed = sp.csr_matrix(counts @ to_slot)
    assert hashed.shape[1] < len(names)
    wanted = TfidfTransformer(sublinear_tf=sublinear).fit_transform(hashed)
    np.testing.assert_allclose(weights_of(feature, fitted_on(feature, rows_of(TEXTS)), TEXTS).toarray(), wanted.toarray(), rtol=1e-6, atol=1e-7)


def test_weights__row_by_row__are_those_of_hashing_vectorizer_and_transformer() -> None:
    feature, new = og.TfIdf(bits=20, min_df=0), ["rain and wind never seen", *TEXTS[:20]]
    peer = HashingVectorizer(**ALIKE, n_features=1 << 20, alternate_sign=False, norm=None)
    transformer = TfidfTransformer().fit(peer.transform(TEXTS))
    ours, theirs = weights_of(feature, fitted_on(feature, rows_of(TEXTS)), new), transformer.transform(peer.transform(new))
    for i in range(len(new)):  # the slots have other numbers
        np.testing.assert_allclose(np.sort(ours[[i]].data), np.sort(theirs[i].data), rtol=1e-6)


@pytest.mark.slow
def test_signed_words__keep_their_weights_up_to_the_sign() -> None:
    plain, signed = og.TfIdf(bits=20), og.TfIdf(bits=20, signed=True)
    fitted = fitted_on(plain, rows_of(TEXTS))
    assert same(fitted, fitted_on(signed, rows_of(TEXTS)))
    a, b = weights_of(plain, fitted, TEXTS), weights_of(signed, fitted, TEXTS)
    np.testing.assert_array_equal(abs(b).toarray(), a.toarray())
    assert (b.data < 0).any()
    assert (b.data > 0).any()


def test_characters__are_words_too() -> None:
    feature, texts = og.TfIdf(bits=20, words=False, ngrams=3), ["abc", "bcd", "cab", "x"]
    peer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3)).fit(texts)
    ours = weights_of(feature, fitted_on(feature, rows_of(texts)), texts)
    np.testing.assert_allclose(ours[:, places(feature, peer.get_feature_names_out())].toarray(), peer.transform(texts).toarray(), rtol=1e-6)


@pytest.mark.parametrize("cut", [{"shard_rows": 200, "batch_rows": 200}, {"shard_rows": 7, "batch_rows": 3}, {"shard_rows": 64, "batch_rows": 1}])
def test_fit__any_cut_of_the_rows__gives_the_same_bits(cut: dict[str, int]) -> None:
    feature = og.TfIdf(bits=8)
    assert same(fitted_on(feature, rows_of(TEXTS), **cut), fitted_on(feature, rows_of(TEXTS)))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join), min_size=1, max_size=6), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_merge__in_any_order_and_shape__gives_the_counts_of_all_rows(lanes: list[list[str]], random: Any) -> None:
    fold = Documents(og.Hashing(bits=4))
    states = []
    for lane in lanes:
        state = fold.init({})
        for text in lane:
            state = fold.update(state, next(rows_of([text]).read(0, 1, 1)), {})
        states.append(decode(b"".join(encode(state)))[0])
    random.shuffle(states)
    while len(states) > 1:
        at = random.randrange(len(states) - 1)
        states[at : at + 2] = [fold.merge(states[at], states[at + 1], {})]
    every = [text for lane in lanes for text in lane]
    assert same(states[0], fold.update(fold.init({}), next(rows_of(every).read(0, len(every), len(every))), {}))
    assert int(states[0]["rows"]) == len(every)


def test_missing_text__is_a_document_without_words() -> None:
    feature, holes = og.TfIdf(bits=12), [None, *TEXTS[:9], None, ""]
    fitted = fitted_on(feature, rows_of(holes))
    assert same(fitted, fitted_on(feature, rows_of(["", *TEXTS[:9], "", ""])))
    assert int(fitted["rows"]) == 12
    assert np.diff(weights_of(feature, fitted, holes).indptr)[[0, 10, 11]].tolist() == [0, 0, 0]


def test_two_text_columns__are_each_a_document_of_their_own() -> None:
    rows = og.read(pa.table({"a": TEXTS, "b": TEXTS[::-1]}), kinds={"a": "text", "b": "text"})
    feature = og.TfIdf(bits=20)
    design = feature.apply(fitted_on(feature, rows), next(rows.read(0, 200, 200)), False).design
    squares = np.add.reduceat(np.append(design.ragged[2].astype(float) ** 2, 0.0), design.ragged[0][:-1])
    wanted = np.array([bool(a) + bool(b) for a, b in zip(TEXTS, TEXTS[::-1], strict=True)])
    np.testing.assert_allclose(np.where(np.diff(design.ragged[0]) > 0, squares, 0.0), wanted, rtol=1e-5)


def test_other_columns__are_those_of_hashing() -> None:
    rows = rows_of(TEXTS, town=pa.array(["Rome", "Oslo"] * 100), x=np.arange(1.0, 201.0))
    batch, feature = next(rows.read(0, 200, 200)), og.TfIdf(bits=10, interactions=("town:x",))
    plain = og.Hashing(bits=10, interactions=("town:x",)).apply({}, batch, False).design
    ours = feature.apply(fitted_on(feature, rows), batch, False).design
    np.testing.assert_array_equal(ours.dense, plain.dense)
    np.testing.assert_array_equal(ours.slots, plain.slots)
    assert (ours.names, ours.width) == (plain.names, plain.width)
    for i in range(200):  # the crossing comes first, as it is
        np.testing.assert_array_equal([part[ours.ragged[0][i]] for part in ours.ragged[1:]], [part[plain.ragged[0][i]] for part in plain.ragged[1:]])


LEARNERS = [
    og.LogisticRegression(max_rounds=10), og.LinearSVM(max_rounds=10), og.NaiveBayes(kind="multinomial"), og.NaiveBayes(kind="complement"), og.OnlineLinear(),
    og.TruncatedSVD(components=2, rounds=1), og.KMeans(clusters=2),
]  # fmt: skip


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda one: type(one).__name__)
def test_learners__take_the_weights_from_a_file(learner: Any, tmp_path: Any) -> None:
    about = ["weather" if "rain" in text.split() else "other" for text in TEXTS]
    table = pa.table({"text": TEXTS, "about": about})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=60)
    rows = og.read(tmp_path / "a.parquet", target="about", kinds={"text": "text"})
    chain = og.Then((Missing(), og.TfIdf(bits=8), learner))
    model = og.plan(chain, rows, on="serial", probe=False).run().model
    assert model.digest == og.plan(chain, og.read(table, target="about", kinds={"text": "text"}), on="serial", probe=False).run().model.digest
    model.save(tmp_path / "a.model")
    found = og.load(tmp_path / "a.model").predict(tmp_path / "a.parquet")
    assert found.equals(model.predict(table))
    if "prediction" in found.column_names:
        assert np.mean(np.array(found["prediction"].to_pylist()) == np.array(about)) >= np.mean(np.array(about) == "weather")


def test_hashed_weights__read_back_by_the_words() -> None:
    about = ["weather" if "rain" in text.split() else "other" for text in TEXTS]
    table = pa.table({"text": TEXTS, "about": about})
    rows = og.read(table, target="about", kinds={"text": "text"})
    model = og.plan(og.Then((og.TfIdf(bits=16), og.LogisticRegression())), rows, on="serial", probe=False).run().model
    assert strongest(model, 3, table)[0][0] == "text=rain"


def test_rows_without_text__say_what_to_do() -> None:
    with pytest.raises(og.BadInput, match=r"no column of text.*x \(number\).*--kind column=text"):
        fitted_on(og.TfIdf(), og.read({"x": np.arange(5.0)}))


def test_damaged_model__is_refused_before_a_wild_read() -> None:
    fitted = fitted_on(og.TfIdf(bits=8), rows_of(TEXTS))
    for wrong in (fitted["idf"][:-1], fitted["idf"].astype(np.float64)):
        with pytest.raises(og.OutgrowError, match="damaged"):
            weights_of(og.TfIdf(bits=8), fitted | {"idf": wrong}, TEXTS)


def test_one_example__as_a_dict__goes_through_a_row() -> None:
    rows, feature = rows_of(TEXTS), og.TfIdf(bits=12)
    fitted = fitted_on(feature, rows)
    with pytest.raises(og.BadField, match="one_row"):
        feature.one(rows.schema, {"text": "rain"})
    made = feature.apply(fitted, one_row(rows.schema, {"text": TEXTS[0]}), False).design.ragged
    assert made[2].tolist() == weights_of(feature, fitted, TEXTS[:1]).data.astype(np.float32).tolist()


def test_wide_state__takes_few_lanes() -> None:
    schema = rows_of(TEXTS).schema
    context = Context(schema=schema, rows=10_000, shard_rows=10, batch_rows=10)
    (wide,), (narrow,) = (og.TfIdf(bits=bits).ask(context, {}) for bits in (18, 8))
    assert (wide.cover.kind, wide.cover.lanes, narrow.cover.kind) == ("chains", 16, "shards")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sublinear": 1}, "sublinear"), ({"norm": "l3"}, "l2, l1, none"), ({"min_df": 0.5}, "min_df"),
        ({"max_df": 0.0}, "max_df"), ({"max_df": 3}, "max_df"), ({"bits": 40}, "TfIdf.bits"),
    ],
)  # fmt: skip
def test_field_out_of_range__is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(og.BadField, match=words):
        og.TfIdf(**fields)
