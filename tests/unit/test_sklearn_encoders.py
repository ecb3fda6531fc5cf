"""The face's encoders of text and categories, beside scikit-learn's own."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.feature_extraction.text import TfidfVectorizer as PeerVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder as PeerEncoder
from sklearn.utils import get_tags

import outgrow as og
import outgrow.sklearn as face

RNG = np.random.default_rng(4)
WORDS = ["late", "early", "rain", "wind", "delayed", "on", "time", "gate", "closed", "b_2", "x1", "42"]
TEXTS = [" ".join(WORDS[k] for k in (RNG.random(RNG.integers(0, 20)) ** 2 * len(WORDS)).astype(int)) for _ in range(150)]
WET = np.array([bool({"rain", "wind"} & set(text.split())) for text in TEXTS])
TOWN = np.array(["Rome", "Oslo", None], object)[RNG.integers(0, 3, 150)]
FRAME = pd.DataFrame({"town": TOWN, "floor": RNG.integers(-1, 5, 150), "size": np.where(RNG.random(150) < 0.1, np.nan, 2.5)})
NUMBER = RNG.normal(size=150) + (FRAME["town"] == "Rome").to_numpy()
STEPS = np.digitize(NUMBER, [0, 1])


@pytest.mark.parametrize("changes", [{}, {"sublinear_tf": True, "norm": None}, {"min_df": 3, "max_df": 0.5, "norm": "l1", "ngram_range": (1, 2)}])
def test_vectorizer__gives_the_rows_of_scikit_learns(changes: dict[str, Any]) -> None:
    ours, theirs = face.TfidfVectorizer(**changes), PeerVectorizer(token_pattern=r"(?u)\b\w+\b", **changes)
    one, other = ours.fit_transform(TEXTS), theirs.fit_transform(TEXTS)
    assert (one.shape, one.dtype, one.nnz) == ((150, 1 << 20), other.dtype, other.nnz)
    for i in range(150):  # the slots have other numbers
        np.testing.assert_allclose(np.sort(one[i].data), np.sort(other[i].data), rtol=1e-6)
    np.testing.assert_allclose((one @ one.T).toarray(), (other @ other.T).toarray(), atol=1e-6)  # and the same words share one
    assert (ours.transform(TEXTS) != one).nnz == 0


def test_vectorizer__with_min_df_0__is_hashing_and_then_weighing() -> None:
    peer, new = HashingVectorizer(token_pattern=r"(?u)\b\w+\b", alternate_sign=False, norm=None), ["rain never seen", *TEXTS[:9]]
    theirs = TfidfTransformer().fit(peer.transform(TEXTS)).transform(peer.transform(new))
    ours = face.TfidfVectorizer(min_df=0).fit(TEXTS).transform(new)
    for i in range(10):
        np.testing.assert_allclose(np.sort(ours[i].data), np.sort(theirs[i].data), rtol=1e-6)


def test_vectorizer__goes_on_to_the_very_bits_of_a_fit_on_all() -> None:
    whole, parts = face.TfidfVectorizer(n_features=1 << 12).fit(TEXTS), face.TfidfVectorizer(n_features=1 << 12)
    for start in range(0, 150, 40):
        parts.partial_fit(iter(TEXTS[start : start + 40]))
    assert parts.model_.digest == whole.model_.digest
    assert parts.n_samples_seen_ == 150


def test_vectorizer__gives_the_digest_of_the_plan() -> None:
    table = og.read({"text": TEXTS, "y": WET}, target="y", kinds={"text": "text"})
    planned = og.plan(og.Then((og.TfIdf(bits=12), og.NaiveBayes(kind="multinomial"))), table, on="serial", probe=False).run().model
    ours = face.TfidfVectorizer(n_features=1 << 12).fit(TEXTS)
    np.testing.assert_array_equal(ours.idf_, planned.arrays["0/idf"])


def test_vectorizer__works_in_pipelines_and_column_transformers() -> None:
    assert cross_val_score(make_pipeline(face.TfidfVectorizer(), SGDClassifier(random_state=0)), TEXTS, WET, cv=3).min() > 0.9
    frame = pd.DataFrame({"text": TEXTS, "title": TEXTS[::-1]})
    both = make_column_transformer((face.TfidfVectorizer(n_features=64), "text"), (face.TfidfVectorizer(n_features=64), "title"))
    assert both.fit_transform(frame).shape == (150, 128)


def test_vectorizer__tags_and_checks__are_those_of_scikit_learns_vectorizers() -> None:
    ours, theirs = get_tags(face.TfidfVectorizer()), get_tags(HashingVectorizer())
    assert (ours.input_tags.string, ours.input_tags.two_d_array) == (theirs.input_tags.string, theirs.input_tags.two_d_array) == (True, False)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: face.TfidfVectorizer().fit("rain"), "string object received"),
        (lambda: face.TfidfVectorizer().fit([]), "0 sample"),
        (lambda: face.TfidfVectorizer().fit(["rain", None]), "np.nan is an invalid document"),
        (lambda: face.TfidfVectorizer().fit(["rain", 3]), "no text"),
        (lambda: face.TfidfVectorizer().fit([b"\xff"]), "UTF-8"),
        (lambda: face.TfidfVectorizer(n_features=1000).fit(TEXTS), "power of two"),
        (lambda: face.TfidfVectorizer(ngram_range=(2, 3)).fit(TEXTS), "begin with 1"),
        (lambda: face.TfidfVectorizer(analyzer="char_wb").fit(TEXTS), "'word' or 'char'"),
        (lambda: face.TfidfVectorizer(norm="max").fit(TEXTS), "l2, l1, none"),
        (lambda: face.TargetEncoder().fit(FRAME, None), "requires y"),
        (lambda: face.TargetEncoder().fit(FRAME, NUMBER[:9]), "inconsistent numbers of samples"),
        (lambda: face.TargetEncoder(smooth=-1).fit(FRAME, NUMBER), "smooth"),
        (lambda: face.TargetEncoder(folds=1).fit(FRAME, NUMBER), "folds"),
        (lambda: face.TargetEncoder().fit(FRAME, np.column_stack([NUMBER, NUMBER])), "Unknown label type"),
        (lambda: face.TargetEncoder(target_type="binary").fit(FRAME, FRAME["floor"]), "6 classes"),
        (lambda: face.TargetEncoder().fit([[np.inf]], [1.0]), "infinity"),
    ],
)
def test_bad_input__is_told_in_the_words_that_are_expected(run: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run()


def test_encoder__mixed_categories__are_a_type_error_as_in_scikit_learn() -> None:
    for encoder in (face.TargetEncoder(), PeerEncoder()):
        with pytest.raises(TypeError, match="uniformly strings or numbers"):
            encoder.fit(np.array([["a"], [1]], object), [0.5, 1.5])


@pytest.mark.parametrize("smooth", ["auto", 3.0])
@pytest.mark.parametrize("y", [NUMBER, NUMBER > 0, np.array(["a", "b", "c"])[STEPS], STEPS * 10], ids=["number", "two", "text", "three"])
def test_encoder__attributes_and_new_rows__are_those_of_scikit_learn(y: Any, smooth: Any) -> None:
    ours, theirs = face.TargetEncoder(smooth=smooth).fit(FRAME, y), PeerEncoder(smooth=smooth).fit(FRAME, y)
    new = FRAME.iloc[:9].assign(town=["Rome", "Bern", None] * 3)
    np.testing.assert_allclose(ours.transform(new), theirs.transform(new), rtol=1e-6)
    np.testing.assert_allclose(ours.target_mean_, theirs.target_mean_, rtol=1e-12)
    assert ours.target_type_ == theirs.target_type_
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    for a, b in zip(ours.categories_, theirs.categories_, strict=True):
        assert pd.Index(a).equals(pd.Index(b))
    for a, b in zip(ours.encodings_, theirs.encodings_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_encoder__fit_transform__gives_rows_the_values_of_other_folds() -> None:
    ids = np.array([[f"id {k}"] for k in np.random.default_rng(6).integers(0, 90, 150)], object)
    encoder = face.TargetEncoder(smooth=0.0)
    apart, own = encoder.fit_transform(ids, NUMBER)[:, 0], encoder.transform(ids)[:, 0]
    assert np.corrcoef(own, NUMBER)[0, 1] > 0.6
    assert np.corrcoef(apart, NUMBER)[0, 1] < 0.4
    planned = og.plan(og.Then((og.TargetEncode(smooth=0.0), og.OneHot(), og.LinearRegression())), og.read({"x0": ids[:, 0], "y": NUMBER}, target="y"), on="serial", probe=False)
    np.testing.assert_array_equal(planned.run().model.arrays["0/encodings"], encoder.model_.arrays["0/encodings"])


def test_encoder__weights_count_and_frames_come_back() -> None:
    weight = np.random.default_rng(7).integers(0, 3, 150)
    often = np.repeat(np.arange(150), weight)
    np.testing.assert_allclose(face.TargetEncoder().fit(FRAME, NUMBER, weight).transform(FRAME), PeerEncoder().fit(FRAME.iloc[often], NUMBER[often]).transform(FRAME), rtol=1e-6)
    frame = face.TargetEncoder().set_output(transform="pandas").fit(FRAME, NUMBER).transform(FRAME)
    assert list(frame.columns) == list(FRAME.columns)


def test_encoders__are_pickled_with_what_they_learned() -> None:
    vectorizer, encoder = face.TfidfVectorizer(n_features=64).fit(TEXTS), face.TargetEncoder().fit(FRAME, NUMBER)
    assert (pickle.loads(pickle.dumps(vectorizer)).transform(TEXTS) != vectorizer.transform(TEXTS)).nnz == 0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).transform(FRAME), encoder.transform(FRAME))
    for one, rows in ((face.TfidfVectorizer(), TEXTS), (face.TargetEncoder(), FRAME)):
        with pytest.raises(NotFittedError):
            one.transform(rows)


@pytest.mark.slow
def test_two_processes__one_digest() -> None:
    assert face.TfidfVectorizer(on="processes:2").fit(TEXTS).model_.digest == face.TfidfVectorizer().fit(TEXTS).model_.digest
    assert face.TargetEncoder(on="processes:2").fit(FRAME, NUMBER).model_.digest == face.TargetEncoder().fit(FRAME, NUMBER).model_.digest
