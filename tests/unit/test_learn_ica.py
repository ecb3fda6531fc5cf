"""Independent components: scikit-learn's FastICA up to sign and order, at any cut of the work."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import FastICA

from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.state import decode, digest, encode, same
from outgrow.learn.ica import ICA, _Step
from outgrow.learn.kernels.project import contrast

TIGHT = {"tolerance": 1e-14, "max_rounds": 300}


def sources(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-1, 1, n), rng.laplace(size=n), np.sign(np.sin(np.arange(n) / 7)), rng.exponential(size=n)], 1)


def mixed(n=3000, far=0.0, seed=0):
    return sources(n, seed) @ np.random.default_rng(9).normal(size=(4, 4)).T + far


def matched(ours, theirs):
    """Their rows in our order and with our signs, each of the same direction."""
    alike = np.corrcoef(ours, theirs)[: len(ours), len(ours) :]
    order = linear_sum_assignment(-np.abs(alike))[1]
    return theirs[order] * np.sign(alike[np.arange(len(ours)), order])[:, None]


@pytest.mark.parametrize("far", [0.0, 1e5])
@pytest.mark.parametrize("kind", ["logcosh", "exp", "cube"])
def test_fit__each_contrast__ends_where_scikit_learn_does(arrays, fitted, kind, far):
    x = mixed(far=far)
    ours = fitted(ICA(contrast=kind, **TIGHT), arrays(x))
    # its faster solver "eigh" whitens by products of columns that are not centred
    peer = FastICA(fun=kind, tol=1e-14, max_iter=300, whiten_solver="svd", random_state=0).fit(x)
    np.testing.assert_allclose(ours.model["components"], matched(ours.model["components"], peer.components_), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.model["mixing"].T, matched(ours.model["mixing"].T, peer.mixing_.T), rtol=1e-6, atol=1e-6)
    found = np.stack(list(ours.predict(arrays(x)).values()))
    np.testing.assert_allclose(found, matched(found, peer.transform(x).T), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.std(1), 1.0, rtol=1e-9)
    assert ours.record["passes"] == 1 + ours.model["rounds"]


def test_fit__independent_sources__are_found_again(arrays, fitted):
    ours = fitted(ICA(), arrays(mixed(20_000)))
    found = np.stack(list(ours.predict(arrays(mixed(20_000))).values()))
    truth = sources(20_000).T
    back = matched(found, truth - truth.mean(1)[:, None])
    assert np.abs(np.corrcoef(found, back)[:4, 4:]).max(1).min() > 0.995


def test_fit__fewer_components_than_columns__as_scikit_learn(arrays, fitted):
    rng = np.random.default_rng(2)
    x = np.hstack([mixed(), 0.01 * rng.normal(size=(3000, 3))])
    ours = fitted(ICA(components=4, **TIGHT), arrays(x)).model
    peer = FastICA(4, tol=1e-14, max_iter=300, whiten_solver="svd", random_state=0).fit(x)
    np.testing.assert_allclose(ours["components"], matched(ours["components"], peer.components_), rtol=1e-6, atol=1e-6)


def test_fit__order_and_sign__by_the_rule(arrays, fitted):
    mixing = fitted(ICA(), arrays(mixed())).model["mixing"]
    share = (mixing**2).sum(0)
    assert (np.diff(share) <= 0).all()
    assert (mixing[np.abs(mixing).argmax(0), np.arange(4)] > 0).all()


def test_fit__dependent_columns__as_many_components_as_there_are_independent_ones(arrays, fitted):
    x = mixed()
    slots = np.random.default_rng(0).integers(0, 2, (3000, 1))
    more = np.column_stack([x, x[:, 0] - x[:, 1], np.full(3000, 0.1)])
    model = fitted(ICA(max_rounds=3), arrays(more, slots=slots, width=3)).model
    assert model["components"].shape == (5, 9)
    with pytest.raises(BadInput, match=r"components: only 5 of the columns are independent .* and 6 components"):
        fitted(ICA(components=6), arrays(more, slots=slots, width=3))


def test_fit__rows_repeated_as_often_as_their_weight__the_same_model(arrays, fitted):
    x, times = mixed(800), np.random.default_rng(5).integers(0, 4, 800)
    weighted = fitted(ICA(), arrays(x, weight=times.astype(float))).model
    repeated = fitted(ICA(), arrays(np.repeat(x, times, 0))).model
    for name, array in repeated.items():
        np.testing.assert_allclose(weighted[name], array, rtol=1e-7, atol=1e-9)


def test_fit__other_cuts_and_layouts__the_same_to_rounding_and_to_the_bit(arrays, fitted):
    x = mixed()
    models = [fitted(ICA(), arrays(x), shard_rows=s, batch_rows=b).model for s, b in [(700, 256), (3000, 3000), (300, 70)]]
    for other in models[1:]:
        np.testing.assert_allclose(other["components"], models[0]["components"], rtol=1e-7, atol=1e-9)
    assert digest(models[0]) == fitted(ICA(), arrays(x, scramble=True)).digest


def test_fit__stopped_between_any_two_rounds__same_bits(arrays, fitted):
    class Stopped(ICA):
        def tell(self, context, carry, closed):
            return decode(b"".join(bytes(part) for part in encode(super().tell(context, carry, closed))))[0]

    assert same(fitted(ICA(), arrays(mixed())).model, fitted(Stopped(), arrays(mixed())).model)


def test_facts__say_whether_it_converged(arrays, fitted):
    told = []

    class Watched(ICA):
        def finish(self, context, carry):
            told.append(self.facts(context, carry))
            return super().finish(context, carry)

    fitted(Watched(max_rounds=2, tolerance=1e-12), arrays(mixed()))
    fitted(Watched(), arrays(mixed()))
    assert [found["converged"] for found in told] == [0.0, 1.0]
    assert told[0]["round"] == 2


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_contrast__values_of_all_sizes__as_numpy(kind, weighted):
    rng = np.random.default_rng(0)
    s = rng.normal(size=(500, 5)) * np.array([1e-9, 1e-3, 1, 10, 50])
    weight = rng.uniform(0, 2, 500) if weighted else np.zeros(0)
    f, slope = [(np.tanh(s), 1 - np.tanh(s) ** 2), (s * np.exp(-(s**2) / 2), (1 - s**2) * np.exp(-(s**2) / 2)), (s**3, 3 * s**2)][kind]
    w = weight[:, None] if weighted else 1.0
    g, sums = np.empty_like(s), np.zeros(5)
    contrast()(s, weight, kind, g, sums)
    np.testing.assert_allclose(g, w * f, rtol=1e-6 if kind == 0 else 1e-12, atol=1e-15)
    np.testing.assert_allclose(sums, (w * slope).sum(0), rtol=1e-10)


def test_merge__one_row_states__add_up(arrays):
    x = mixed(40)
    given = {"mean": x.mean(0), "unmix": np.random.default_rng(0).normal(size=(4, 3))}
    fold, source = _Step(contrast="exp"), arrays(x)
    whole, merged = fold.update(fold.init(given), source.take(np.arange(40)), given), fold.init(given)
    for i in range(40):
        merged = fold.merge(merged, fold.update(fold.init(given), source.take(np.arange(i, i + 1)), given), given)
    for name in whole:
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit__value_that_is_not_finite__names_column_and_row(arrays, fitted, value):
    x = mixed()
    x[1234, 3] = value
    with pytest.raises(BadInput, match=r"'x3', row 1234.*(Fill|Correct)"):
        fitted(ICA(), arrays(x))
    with pytest.raises(BadInput, match=r"'x3', row 1234"):
        fitted(ICA(), arrays(x[:1000])).predict(arrays(x))


def test_fit__what_cannot_be_unmixed__is_refused_with_a_remedy(arrays, fitted):
    x = mixed(60)
    with pytest.raises(BadInput, match=r"1 row \(1 sample\)"):
        fitted(ICA(), arrays(x[:1]))
    with pytest.raises(BadInput, match=r"between 1 and min\(rows, columns\) = 4"):
        fitted(ICA(components=5), arrays(x))
    with pytest.raises(BadInput, match="no column changes over the rows"):
        fitted(ICA(), arrays(np.full((60, 2), 0.1)))
    with pytest.raises(BadInput, match="no column to unmix"):
        fitted(ICA(), arrays(np.zeros((60, 0))))
    with pytest.raises(BadInput, match="weight above 0"):
        fitted(ICA(), arrays(x, weight=np.zeros(60)))
    with pytest.raises(BadInput, match=r"squares of column 'x1' overflow.*Divide"):
        fitted(ICA(), arrays(x * [1, 1e200, 1, 1]))
    with pytest.raises(BadInput, match="earlier model"):
        fitted(ICA(), arrays(x), start={"components": np.eye(2)})
    with pytest.raises(Refused, match=r"ICA over 3004 columns; allowed: up to 2048\. Reduce"):
        fitted(ICA(), arrays(x, slots=np.zeros((60, 1)), width=3000))


@pytest.mark.parametrize("field", [{"components": 0}, {"components": 2.5}, {"contrast": "kurtosis"}, {"tolerance": 0.0}, {"tolerance": np.nan}, {"max_rounds": 0}])
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        ICA(**field)
