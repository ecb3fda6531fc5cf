"""TargetEncode against scikit-learn, its out-of-fold values by hand, and what leaks where they are not taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import TargetEncoder

import outgrow as og
from outgrow.check.cases import Shown
from outgrow.core.learner import Context
from outgrow.core.state import decode, encode, same
from outgrow.learn.target_encode import TargetEncode
from outgrow.learn.views import But

N = 400
RNG = np.random.default_rng(5)
TOWN = np.array(["Rome", "Oslo", "Köln", "", "x y"], object)[RNG.integers(0, 5, N)]
TOWN[RNG.random(N) < 0.1] = None
ITEM = np.array([f"item {k}" for k in RNG.zipf(1.6, N) % 60], object)
NUMBER = RNG.normal(size=N) * 3 + 100 + 5 * (TOWN == "Rome") + 2 * (ITEM == "item 1")
TARGETS: dict[str, Any] = {
    "number": NUMBER, "two": np.where(NUMBER > 101, "yes", "no"), "three": np.array(["low", "mid", "top"])[np.digitize(NUMBER, [99, 103])],
}  # fmt: skip
PEER = {"number": "continuous", "two": "binary", "three": "multiclass"}
NEW = {"town": ["Rome", "Oslo", "Bern", None, ""], "item": ["item 1", "never", "item 2", "item 2", None]}


def rows_of(y: Any, weight: Any = None, take: Any = slice(None)) -> Any:
    table = pa.table({"town": pa.array(TOWN[take], pa.string()), "item": pa.array(ITEM[take], pa.string()), "y": y} | ({} if weight is None else {"w": weight}))
    return og.read(table, target="y", weight=None if weight is None else "w", task="number" if np.asarray(y).dtype.kind == "f" else None)


def fitted_on(feature: Any, rows: Any, **cuts: Any) -> Any:
    return og.plan(Shown(feature), rows, features=(), on="serial", probe=False, **cuts).run().model.arrays


def values_of(feature: Any, fitted: Any, rows: Any, fitting: bool = False) -> Any:
    batch = next(rows.read(0, rows.rows, rows.rows))
    made = feature.apply(fitted, batch, fitting)
    return np.column_stack([made.column(name).values for name in made.schema.names()])


def peer_rows(town: Any, item: Any) -> Any:
    return np.column_stack([np.array(town, object), np.array(item, object)])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("smooth", [None, 0.0, 2.5, 1e300])
def test_new_rows__get_the_values_of_scikit_learn(target: str, smooth: float | None) -> None:
    feature, rows = TargetEncode(smooth=smooth), rows_of(TARGETS[target])
    peer = TargetEncoder(smooth="auto" if smooth is None else min(smooth, 1e30), target_type=PEER[target]).fit(peer_rows(TOWN, ITEM), TARGETS[target])
    fitted = fitted_on(feature, rows)
    new = og.read(pa.table({"town": pa.array(NEW["town"], pa.string()), "item": pa.array(NEW["item"], pa.string())}), kinds={"town": "category", "item": "category"})
    np.testing.assert_allclose(values_of(feature, fitted, new), peer.transform(peer_rows(**NEW)), rtol=1e-6)
    np.testing.assert_allclose(values_of(feature, fitted, rows), peer.transform(peer_rows(TOWN, ITEM)), rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("smooth", [None, 2.5])
def test_fitted_rows__get_the_values_of_a_fit_on_all_folds_but_their_own(target: str, smooth: float | None) -> None:
    feature, rows = TargetEncode(smooth=smooth, folds=4, seed=9), rows_of(TARGETS[target])
    found = values_of(feature, fitted_on(feature, rows), rows, fitting=True)
    folds = But(0, 4, 9).places(next(rows.read(0, N, N)))
    assert set(folds.tolist()) == {0, 1, 2, 3}
    for fold in range(4):
        mine = folds == fold
        peer = TargetEncoder(smooth="auto" if smooth is None else smooth, target_type=PEER[target]).fit(peer_rows(TOWN[~mine], ITEM[~mine]), TARGETS[target][~mine])
        np.testing.assert_allclose(found[mine], peer.transform(peer_rows(TOWN[mine], ITEM[mine])), rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_row_weights__of_whole_numbers__are_rows_that_stand_so_often(target: str) -> None:
    weight = np.random.default_rng(8).integers(0, 4, N)
    feature, often = TargetEncode(), np.repeat(np.arange(N), weight)
    ours = values_of(feature, fitted_on(feature, rows_of(TARGETS[target], weight.astype(float))), rows_of(TARGETS[target]))
    theirs = values_of(feature, fitted_on(feature, rows_of(TARGETS[target][often], take=often)), rows_of(TARGETS[target]))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert np.abs(ours - values_of(feature, fitted_on(feature, rows_of(TARGETS[target])), rows_of(TARGETS[target]))).max() > 1e-3


@pytest.mark.parametrize("target", TARGETS)
def test_hashed_slots__where_they_are_many__give_the_values_of_exact_categories(target: str) -> None:
    rows = rows_of(TARGETS[target])
    exact, hashed = TargetEncode(), TargetEncode(bits=16)
    one, other = fitted_on(exact, rows), fitted_on(hashed, rows)
    for fitting in (False, True):
        np.testing.assert_allclose(values_of(hashed, other, rows, fitting), values_of(exact, one, rows, fitting), rtol=1e-12)
    crowded = TargetEncode(bits=1, smooth=0.0)
    assert len(np.unique(values_of(crowded, fitted_on(crowded, rows), rows)[:, :1])) <= 2


def test_pure_noise__teaches_nothing_since_no_row_meets_its_own_target() -> None:
    rng = np.random.default_rng(8)
    noise, y = [f"id {k}" for k in rng.integers(0, 700, 1400)], rng.normal(size=1400)
    rows = og.read({"id": noise, "y": y}, target="y", task="number", kinds={"id": "category"})
    chain = og.Then((TargetEncode(smooth=0.0), og.OneHot(), og.LinearRegression()))
    model = og.plan(chain, rows, on="serial", probe=False).run().model
    assert abs(float(model.arrays["2/dense"].ravel()[0])) < 0.15  # with its own targets in it the column would have a weight of 1
    feature, fitted = TargetEncode(smooth=0.0), {name[2:]: array for name, array in model.arrays.items() if name.startswith("0/")}
    assert np.corrcoef(values_of(feature, fitted, rows)[:, 0], y)[0, 1] > 0.5
    assert abs(np.corrcoef(values_of(feature, fitted, rows, fitting=True)[:, 0], y)[0, 1]) < 0.15


def test_held_out_rows__are_not_fitted_and_get_the_values_of_all_others() -> None:
    rows = rows_of(TARGETS["two"])
    chain = og.Then((TargetEncode(), og.OneHot(), og.LogisticRegression(validation=0.25, max_rounds=3)))
    model = og.plan(chain, rows, on="serial", probe=False).run().model
    whole = og.plan(og.Then((TargetEncode(), og.OneHot(), og.LogisticRegression(max_rounds=3))), rows, on="serial", probe=False).run().model
    assert not np.array_equal(model.arrays["0/encodings"], whole.arrays["0/encodings"])


@pytest.mark.parametrize("cut", [{"shard_rows": 7, "batch_rows": 3}, {"shard_rows": 100, "batch_rows": 1}])
def test_fit_of_classes__any_cut_of_the_rows__gives_the_same_bits(cut: dict[str, int]) -> None:
    for feature in (TargetEncode(), TargetEncode(bits=5, columns=("item",))):
        assert same(fitted_on(feature, rows_of(TARGETS["three"]), **cut), fitted_on(feature, rows_of(TARGETS["three"])))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.5, 3.0])), max_size=8), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_merge__in_any_shape__gives_the_moments_of_all_rows(lanes: list[list[tuple[int, float, float]]], random: Any) -> None:
    feature, y = TargetEncode(bits=6, folds=2), np.array([1.0, 2.0])
    schema = og.read({"c": ["a", "b"], "y": y, "w": y}, target="y", weight="w", task="number").schema
    (asked,) = feature.ask(context := Context(schema=schema, rows=9, shard_rows=9, batch_rows=9), feature.begin(context))
    fold, states, at = asked.fold, [], 0
    every = [row for lane in lanes for row in lane]
    flat = [*every, (0, 1.0, 1.0), (1, 2.0, 1.0)]  # two rows more, so that the target varies: no lane takes them
    table = pa.table({"c": [f"c{row[0]}" for row in flat], "y": [row[1] for row in flat], "w": [row[2] for row in flat]})
    batch = next(og.read(table, target="y", weight="w", task="number").read(0, len(flat), len(flat)))
    for lane in lanes:
        state, mine = fold.init(asked.given), np.arange(at, at + len(lane))
        at += len(lane)
        states.append(decode(b"".join(encode(fold.update(state, batch.where(mine), asked.given) if lane else state)))[0])
    while len(states) > 1:
        at = random.randrange(len(states) - 1)
        states[at : at + 2] = [fold.merge(states[at], states[at + 1], asked.given)]
    values, weight = np.array([row[1] for row in every]), np.array([row[2] for row in every])
    total = states[0]["total"][-1].sum()
    assert total == weight.sum()
    if total:
        mean = states[0]["total"][-1] @ states[0]["mean"][-1] / total
        np.testing.assert_allclose(mean, weight @ values / total, rtol=1e-9, atol=1e-6)


def test_columns__named_ones_are_encoded_and_the_others_stay() -> None:
    feature, rows = TargetEncode(columns=("item",)), rows_of(TARGETS["three"])
    after = feature.schema(fitted_on(feature, rows), rows.schema)
    assert [(item.name, item.kind) for item in after.inputs] == [("town", "category"), ("item low", "number"), ("item mid", "number"), ("item top", "number")]


def test_no_category__changes_nothing() -> None:
    rows = og.read({"x": np.arange(9.0), "y": np.arange(9.0) * 2}, target="y", task="number")
    chain = og.Then((TargetEncode(), og.OneHot(), og.LinearRegression()))
    assert og.plan(chain, rows, on="serial", probe=False).run().model.predict({"x": [3.0]})["prediction"][0].as_py() == pytest.approx(6.0)


def test_rows_all_of_one_fold__get_the_mean_of_all() -> None:
    rows = rows_of(NUMBER[:2], take=slice(0, 2))
    seed = next(seed for seed in range(99) if len(set(But(0, 5, seed).places(next(rows.read(0, 2, 2))).tolist())) == 1)
    feature = TargetEncode(seed=seed)
    np.testing.assert_allclose(values_of(feature, fitted_on(feature, rows), rows, fitting=True), NUMBER[:2].mean())


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: fitted_on(TargetEncode(), og.read({"c": ["a", "b"] * 5}, kinds={"c": "category"})), "no target"),
        (lambda: fitted_on(TargetEncode(columns=("z",)), rows_of(NUMBER)), "'z' is to be encoded, which is not there; allowed: town, item"),
        (lambda: fitted_on(TargetEncode(), rows_of(NUMBER, np.zeros(N))), "no row has weight"),
        (lambda: fitted_on(TargetEncode(), rows_of(NUMBER * 1e200)), "overflow"),
    ],
)
def test_rows_that_cannot_be_encoded__say_why(run: Any, words: str) -> None:
    with pytest.raises(og.OutgrowError, match=words):
        run()


def test_too_many_categories__names_the_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrow.data.features.onehot.LIMIT", 20)
    with pytest.raises(og.BadInput, match=r"'item' has more than 20 categories.*TargetEncode\(bits=20\)"):
        fitted_on(TargetEncode(), rows_of(NUMBER))


def test_damaged_model__is_refused_before_a_wild_read() -> None:
    feature, rows = TargetEncode(bits=4), rows_of(NUMBER)
    fitted = fitted_on(feature, rows)
    for wrong in (fitted["encodings"][:, :3], fitted["encodings"][1:], fitted["encodings"][0]):
        with pytest.raises(og.OutgrowError, match="damaged"):
            values_of(feature, fitted | {"encodings": wrong}, rows)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"smooth": -1.0}, "smooth"), ({"smooth": float("nan")}, "smooth"), ({"folds": 1}, "folds"), ({"bits": 0}, "bits"), ({"seed": -1}, "seed"),
        ({"columns": "town"}, "columns"), ({"columns": ("a", "a")}, "columns"),
    ],
)  # fmt: skip
def test_field_out_of_range__is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(og.BadField, match=words):
        TargetEncode(**fields)
