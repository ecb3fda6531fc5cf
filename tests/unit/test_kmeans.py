"""k-means: as good as scikit-learn's, at any cut of the work."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans as Peer

from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.state import decode, encode, same
from outgrow.learn.kmeans import KMeans, _Assign, _Pick


def groups(n=3000, k=6, p=4, seed=0, far=0.0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(k, p)) * 2
    return centers[rng.integers(0, k, n)] + rng.normal(size=(n, p)) + far


def inertia(x, centers):
    return ((x[:, None] - centers[None]) ** 2).sum(2).min(1).sum()


def test_fit__five_seeds__median_inertia_is_that_of_scikit_learn_or_lower(arrays, fitted):
    x = groups(k=12)
    ours = [fitted(KMeans(clusters=12), arrays(x), seed=s).model["inertia"] for s in range(5)]
    peers = [Peer(12, n_init=1, random_state=s).fit(x).inertia_ for s in range(5)]
    assert np.median(ours) <= 1.01 * np.median(peers)


@pytest.mark.parametrize("far", [0.0, 1e7])
def test_fit__from_the_same_start__ends_at_the_centres_of_scikit_learn(arrays, fitted, far):
    x = groups(far=far)
    start = x[:6].copy()
    ours = fitted(KMeans(clusters=6), arrays(x), start={"centers": start})
    peer = Peer(6, init=start, n_init=1).fit(x)
    np.testing.assert_allclose(ours.model["centers"] - far, peer.cluster_centers_ - far, atol=1e-9 + 1e-14 * far)
    assert ours.model["inertia"] == pytest.approx(peer.inertia_, rel=1e-9)
    assert ours.model["counts"].tolist() == np.bincount(peer.labels_).tolist()


def test_fit__weighted_rows__as_rows_repeated(arrays, fitted):
    x = groups(600)
    times = np.random.default_rng(0).integers(0, 4, 600)
    start = {"centers": x[:6].copy()}
    ours = fitted(KMeans(clusters=6, tolerance=0), arrays(x, weight=times.astype(float)), start=start)
    again = fitted(KMeans(clusters=6, tolerance=0), arrays(np.repeat(x, times, 0)), start=start)
    np.testing.assert_allclose(ours.model["centers"], again.model["centers"], atol=1e-12)
    assert ours.model["inertia"] == pytest.approx(float(again.model["inertia"]))


def test_fit__inertia_and_counts__are_those_of_the_centres_in_the_model(arrays, fitted):
    x = groups()
    for learner in (KMeans(clusters=6), KMeans(clusters=6, max_rounds=2), KMeans(clusters=6, tolerance=0)):
        model = fitted(learner, arrays(x)).model
        assert model["inertia"] == pytest.approx(inertia(x, model["centers"]), rel=1e-12)
        assert model["counts"].sum() == len(x)


def test_fit__several_starts__the_lowest_inertia_wins(arrays, fitted):
    x = groups(900, k=15)
    few = {"clusters": 15, "max_rounds": 2, "rounds": 1}
    one = fitted(KMeans(**few), arrays(x)).model["inertia"]
    many = fitted(KMeans(starts=6, **few), arrays(x)).model["inertia"]
    assert many < one


def test_fit__rows_cut_and_laid_out_otherwise__draws_the_same_rows(arrays, fitted):
    x = np.round(groups() * 64) / 64  # sums of such numbers are exact, so that only the draws could differ
    digests = {fitted(KMeans(clusters=6), arrays(x, scramble=s), shard_rows=r, batch_rows=b).digest for s, r, b in [(False, 700, 256), (True, 700, 256)]}
    assert len(digests) == 1
    centers = [fitted(KMeans(clusters=6, max_rounds=1), arrays(x), shard_rows=r, batch_rows=b).model["centers"] for r, b in [(700, 256), (3000, 1024), (512, 100)]]
    for other in centers[1:]:
        np.testing.assert_allclose(other, centers[0], atol=1e-12)


def test_fit__one_hot_slots__as_dense_columns(arrays, fitted):
    rng = np.random.default_rng(0)
    slots = rng.integers(0, 5, (800, 2)) + np.array([0, 5])
    x = np.concatenate([np.eye(10)[slots].sum(1), rng.normal(size=(800, 2))], 1)
    sparse = fitted(KMeans(clusters=4), arrays(x[:, 10:], slots=slots, width=10))
    assert same(sparse.model, fitted(KMeans(clusters=4), arrays(x)).model)


def test_fit__stopped_between_any_two_rounds__same_bits(arrays, fitted):
    x = groups()

    class Stopped(KMeans):
        def tell(self, context, carry, closed):
            return decode(b"".join(bytes(part) for part in encode(super().tell(context, carry, closed))))[0]

    assert same(fitted(KMeans(clusters=6, starts=2), arrays(x)).model, fitted(Stopped(clusters=6, starts=2), arrays(x)).model)


def test_fit__a_centre_without_rows__moves_to_the_farthest_row(arrays, fitted):
    x = np.array([[0.0], [1.0], [10.0], [11.0]])
    ours = fitted(KMeans(clusters=2), arrays(x), start={"centers": np.array([[5.0], [1e6]])})
    assert sorted(ours.model["centers"][:, 0]) == [0.5, 10.5]
    assert ours.model["counts"].tolist() == [2, 2]


def test_draw__many_seeds__rows_are_drawn_in_proportion_to_squared_distance(arrays):
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    batch = arrays(x).take(np.arange(4))
    given = {"centers": np.zeros((1, 1)), "shift": np.zeros(1)}
    hits = np.zeros(4)
    for seed in range(3000):
        fold = _Pick(how="draw", count=1, seed=seed, purpose="test")
        hits[fold.update(fold.init(given), batch, given)["positions"][0]] += 1
    np.testing.assert_allclose(hits / 3000, np.array([0, 1, 4, 9]) / 14, atol=0.03)


def test_assign__ties__go_to_the_first_centre(arrays):
    given = {"centers": np.array([[1.0], [-1.0]]), "shift": np.zeros(1)}
    state = _Assign().update(_Assign().init(given), arrays(np.zeros((5, 1))).take(np.arange(5)), given)
    assert state["counts"].tolist() == [5, 0]


def test_predict__nearest_centre_and_its_distance__as_scikit_learn(arrays, fitted):
    x = groups(far=1e6)
    learner = fitted(KMeans(clusters=6), arrays(x))
    columns = learner.predict(arrays(x))
    away = np.sqrt(((x[:, None] - learner.model["centers"][None]) ** 2).sum(2))
    np.testing.assert_array_equal(columns["cluster"], away.argmin(1))
    np.testing.assert_allclose(columns["distance"], away.min(1), rtol=1e-9)


def test_fit__one_cluster__is_the_mean(arrays, fitted):
    x = groups()
    np.testing.assert_allclose(fitted(KMeans(clusters=1), arrays(x)).model["centers"][0], x.mean(0))


def test_fit__rows_that_cannot_be_clustered__refused_with_a_remedy(arrays, fitted):
    with pytest.raises(BadInput, match=r"3 rows are fewer than the 4 clusters.*fewer clusters"):
        fitted(KMeans(clusters=4), arrays(np.eye(3)))
    with pytest.raises(BadInput, match="only 3 different places"):
        fitted(KMeans(clusters=4), arrays(np.repeat(np.eye(3), 9, 0)))
    x = groups()
    x[77, 1] = np.nan
    with pytest.raises(BadInput, match="'x1', row 77"):
        fitted(KMeans(clusters=4), arrays(x))
    with pytest.raises(Refused, match="5000 features"):
        fitted(KMeans(clusters=2), arrays(np.ones((9, 0)), slots=np.zeros((9, 1)), width=5000))
    with pytest.raises(BadInput, match="weight above 0"):
        fitted(KMeans(clusters=2), arrays(groups(), weight=np.zeros(3000)))


@pytest.mark.parametrize(
    "field",
    [{"clusters": 0}, {"starts": 0}, {"max_rounds": 0}, {"tolerance": -1.0}, {"rounds": 0}, {"oversampling": 0.01}, {"oversampling": np.inf}, {"tolerance": np.nan}],
)
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        KMeans(**field)
