"""Neural networks: right gradients, scikit-learn's steps from the same start, the same bits however steps are shared."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from outgrow.core.errors import BadField, BadInput, Refused
from outgrow.core.rng import Permutation
from outgrow.core.state import decode, encode, same
from outgrow.learn.network_sums import Net
from outgrow.learn.neural_network import NeuralNetwork
from outgrow.plan.settings import configured


def problem(n=600, d=5, classes=2, seed=0):
    """Classes, or for 0 a number of deviation 1/4 to 1 and any mean."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    hidden = np.tanh(x @ rng.normal(size=(d, 6)))
    if not classes:
        return x, hidden @ rng.normal(size=6) + 0.1 * rng.normal(size=n)
    return x, (hidden @ rng.normal(size=(6, classes)) * 2 + rng.gumbel(size=(n, classes))).argmax(1).astype(np.int32)


def peer(model, x, y, classes, epochs, rows, **options):
    """scikit-learn's network after so many epochs from the weights of `model`, its rows in the order given."""
    depth = sum(name.startswith("bias_") for name in model)
    layers = [(model[f"weights_{i}"].copy(), model[f"bias_{i}"].copy()) for i in range(depth)]

    class Started(MLPClassifier if classes else MLPRegressor):
        def _init_coef(self, *arguments):
            return layers.pop(0)

    hidden = tuple(len(bias) for _, bias in layers[:-1])
    options = {"activation": "relu", "solver": "adam", "alpha": 1e-4} | options
    found = Started(hidden_layer_sizes=hidden, batch_size=rows, shuffle=False, max_iter=epochs, tol=0.0, n_iter_no_change=10_000, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return found.fit(x, y if classes else (y - model["unit"][0]) / model["unit"][1])


def begun(learner, source, x, classes, hidden):
    """The weights the learner draws, as a model."""
    from outgrow.core.learner import Context

    context = Context(schema=source.schema, rows=len(x), shard_rows=700, batch_rows=256)
    return learner.finish(context, learner.begin(context))


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_add__gradient__is_that_of_finite_differences(activation, classes, hidden):
    rng = np.random.default_rng(1)
    x, y = problem(40, 3, classes)
    net = Net(units=(3, *hidden, classes if classes > 2 else 1), activation=activation, classes=classes, l2=0.0)
    w, row, gradient = rng.normal(size=net.flat), rng.uniform(0.5, 2, 40), np.zeros(net.flat)
    net.add(x, y, row, w, gradient)
    for i in range(net.flat):
        step = np.zeros(net.flat)
        step[i] = 1e-6
        high, low = (net.add(x, y, row, w + s * step, np.zeros(net.flat))[0] for s in (1, -1))
        assert gradient[i] == pytest.approx((high - low) / 2e-6, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("options", [{}, {"activation": "tanh", "hidden": (7, 4)}, {"update": "sgd", "learning_rate": 0.05, "activation": "logistic", "l2": 3.0}])
def test_fit__all_rows_a_step__every_step_is_that_of_scikit_learn(arrays, fitted, classes, options):
    x, y = problem(classes=classes)
    source = arrays(x, y, classes=range(classes))
    learner = NeuralNetwork(**{"hidden": (9,), "step_rows": 0, "epochs": 25, "tolerance": 0.0, "patience": 1000} | options)
    ours = fitted(learner, source)
    start = begun(learner, source, x, classes, learner.hidden) | ({"unit": ours.model["unit"]} if not classes else {})
    names = {"activation": learner.activation, "solver": learner.update, "alpha": learner.l2, "learning_rate_init": learner.learning_rate}
    found = peer(start, x, y, classes, 25, len(x), **names)
    for level, (coefficients, intercepts) in enumerate(zip(found.coefs_, found.intercepts_, strict=True)):
        np.testing.assert_allclose(ours.model[f"weights_{level}"], coefficients, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(ours.model[f"bias_{level}"], intercepts, rtol=1e-6, atol=1e-8)
    assert ours.record["rounds"] == 26


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("virtual", [1, 8])
@pytest.mark.slow
def test_fit__an_epoch_of_steps__is_that_of_scikit_learn_in_the_shuffled_order(arrays, fitted, classes, virtual):
    x, y = problem(610, classes=classes)
    source = arrays(x, y, classes=range(classes))
    learner = NeuralNetwork(hidden=(9,), step_rows=50, virtual=virtual, epochs=1)
    ours = fitted(learner, source)
    start = begun(learner, source, x, classes, (9,)) | ({"unit": ours.model["unit"]} if not classes else {})
    order = Permutation(610, seed=0, purpose="shuffle 0").forward(np.arange(610))
    found = peer(start, x[order], y[order], classes, 1, 50)
    for level, coefficients in enumerate(found.coefs_):
        np.testing.assert_allclose(ours.model[f"weights_{level}"], coefficients, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.slow
def test_fit__to_its_end__the_loss_is_that_of_scikit_learn_or_lower(arrays, fitted, classes):
    x, y = problem(1500, classes=classes)
    y = y if classes else y + np.random.default_rng(2).normal(size=1500)
    source = arrays(x, y, classes=range(classes))
    levels = []

    class Watched(NeuralNetwork):
        def tell(self, context, carry, closed):
            carry = super().tell(context, carry, closed)
            levels.append(float(carry.get("level", np.inf)))
            return carry

    ours = [fitted(Watched(hidden=(10,), learning_rate=0.01, epochs=30), source, seed=seed) and levels[-1] for seed in range(3)]
    made = {"hidden_layer_sizes": (10,), "learning_rate_init": 0.01, "max_iter": 30}
    aim = (y - y.mean()) / 2.0 ** np.rint(np.log2(y.std())) if not classes else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peers = [(MLPClassifier if classes else MLPRegressor)(random_state=seed, **made).fit(x, aim).loss_ for seed in range(3)]
    assert np.median(ours) <= 1.05 * np.median(peers)


@pytest.mark.parametrize("batch_rows", [7, 64, 700])
def test_fit__steps_inside_a_lane__do_not_follow_the_batches(arrays, fitted, batch_rows):
    x, y = problem()
    learner = NeuralNetwork(hidden=(5,), step_rows=50, epochs=2)
    whole = fitted(learner, arrays(x, y, classes=(0, 1)), batch_rows=1000).model
    cut = fitted(learner, arrays(x, y, classes=(0, 1)), batch_rows=batch_rows).model
    for name in whole:
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("fields", [{"step_rows": 0}, {"step_rows": 64, "virtual": 8}, {"step_rows": 64}])
@pytest.mark.parametrize("classes", [0, 3])
def test_fit__any_memory_layout_and_stopped_between_any_two_rounds__same_bits(arrays, fitted, fields, classes):
    x, y = problem(classes=classes)

    class Stopped(NeuralNetwork):
        def tell(self, context, carry, closed):
            return decode(b"".join(bytes(part) for part in encode(super().tell(context, carry, closed))))[0]

    fields = {"hidden": (5, 4), "epochs": 3, "validation": 0.2} | fields
    whole = fitted(NeuralNetwork(**fields), arrays(x, y, classes=range(classes)))
    assert fitted(NeuralNetwork(**fields), arrays(x, y, classes=range(classes), scramble=True)).digest == whole.digest
    assert same(fitted(Stopped(**fields), arrays(x, y, classes=range(classes))).model, whole.model)


def test_fit__weighted_rows_and_class_weights__as_rows_repeated(arrays, fitted):
    x, y = problem(300, classes=3)
    times = np.random.default_rng(0).integers(0, 4, 300)
    fields = {"hidden": (5,), "step_rows": 0, "epochs": 5}
    weighted = fitted(NeuralNetwork(**fields), arrays(x, y, classes=range(3), weight=times.astype(float))).model
    repeated = fitted(NeuralNetwork(**fields), arrays(np.repeat(x, times, 0), np.repeat(y, times), classes=range(3))).model
    for name in weighted:
        np.testing.assert_allclose(weighted[name], repeated[name], rtol=1e-9, atol=1e-12)
    by_class = fitted(NeuralNetwork(class_weight={0: 2, 1: 1, 2: 3}, **fields), arrays(x, y, classes=range(3))).model
    by_row = fitted(NeuralNetwork(**fields), arrays(x, y, classes=range(3), weight=np.array([2.0, 1.0, 3.0])[y])).model
    assert same(by_class, by_row)
    counts = np.bincount(y)
    even = fitted(NeuralNetwork(class_weight="balanced", **fields), arrays(x, y, classes=range(3))).model
    assert same(even, fitted(NeuralNetwork(class_weight=dict(enumerate(300 / (3 * counts))), **fields), arrays(x, y, classes=range(3))).model)


def test_fit__a_number_far_from_one__is_learned_in_its_unit(arrays, fitted):
    x, y = problem(classes=0)
    far = 3e5 + 4096.0 * y
    near = fitted(NeuralNetwork(hidden=(10,), learning_rate=0.02, epochs=60), arrays(x, y))
    away = fitted(NeuralNetwork(hidden=(10,), learning_rate=0.02, epochs=60), arrays(x, far))
    error = (away.predict(arrays(x))["prediction"] - far).std() / 4096.0
    assert error == pytest.approx((near.predict(arrays(x))["prediction"] - y).std(), rel=1e-3)
    assert error < 0.35 * y.std()


def test_fit__one_hot_slots__as_dense_columns(arrays, fitted):
    rng = np.random.default_rng(0)
    slots = rng.integers(0, 5, (300, 1))
    x, y = np.concatenate([np.eye(5)[slots[:, 0]], rng.normal(size=(300, 2))], 1), rng.integers(0, 2, 300)
    learner = NeuralNetwork(hidden=(4,), epochs=2)
    assert same(fitted(learner, arrays(x[:, 5:], y, classes=(0, 1), slots=slots, width=5)).model, fitted(learner, arrays(x, y, classes=(0, 1))).model)


def test_fit__from_a_model_with_its_resume_section__goes_on_as_if_it_had_not_stopped(arrays, fitted):
    x, y = problem(classes=0)
    source = arrays(x, y)
    learner = NeuralNetwork(hidden=(6,), step_rows=0, epochs=10)
    whole = fitted(learner, source)
    kept = {}

    class Keeping(NeuralNetwork):
        def resume(self, context, carry):
            kept.update(super().resume(context, carry))
            return kept

    half = fitted(Keeping(hidden=(6,), step_rows=0, epochs=4), source)
    assert same(fitted(replace(learner, epochs=6), source, start=half.model | kept).model, whole.model)
    assert not same(fitted(replace(learner, epochs=6), source, start=half.model).model, whole.model)


def test_fit__loss_that_stands_still__ends_by_patience(arrays, fitted):
    x, y = problem()
    assert fitted(NeuralNetwork(hidden=(3,), step_rows=0, epochs=500, tolerance=0.1, patience=4), arrays(x, y, classes=(0, 1))).record["rounds"] < 60


def test_fit__validation_split__keeps_the_weights_of_the_lowest_held_out_loss(arrays, fitted):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 20))
    y = (x[:, 0] + rng.logistic(size=400) > 0).astype(np.int32)
    seen = []

    class Watched(NeuralNetwork):
        def tell(self, context, carry, closed):
            before = carry.get("judged", 0)
            carry = super().tell(context, carry, closed)
            if carry.get("judged", 0) > before:
                seen.append(float(closed[0]["loss"] / closed[0]["weight"]))
            return carry

    learner = Watched(hidden=(30,), learning_rate=0.02, step_rows=20, validation=0.25, patience=3, epochs=200)
    ours = fitted(learner, arrays(x, y, classes=(0, 1)))
    assert 4 <= len(seen) < 60
    assert min(seen) < seen[-1]
    assert min(seen[:-3]) == min(seen)
    held = Permutation(400, seed=0, purpose="split").forward(np.arange(400)) < 100
    chance = ours.predict(arrays(x))["probability"][held]
    assert -np.log(np.where(y[held] == 1, chance, 1 - chance)).mean() == pytest.approx(min(seen))


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_predict__classes_by_name_and_probabilities__as_scikit_learn(arrays, fitted, classes):
    x, y = problem(classes=classes)
    names = ("x", "y", "z")[:classes]
    learner = NeuralNetwork(hidden=(9, 4), step_rows=0, epochs=15, activation="tanh")
    source = arrays(x, y, classes=names)
    ours = fitted(learner, source)
    columns = ours.predict(source)
    start = begun(learner, source, x, classes, (9, 4)) | ({"unit": ours.model["unit"]} if not classes else {})
    found = peer(start, x, np.array(names)[y] if classes else y, classes, 15, len(x), activation="tanh")
    if not classes:
        unit = ours.model["unit"]
        np.testing.assert_allclose(columns["prediction"], unit[0] + unit[1] * found.predict(x), rtol=1e-6)
        return
    chances = np.column_stack([columns[f"probability_{name}"] for name in names]) if classes > 2 else np.column_stack([1 - columns["probability"], columns["probability"]])
    np.testing.assert_allclose(chances, found.predict_proba(x), atol=1e-6)
    assert (columns["prediction"] == found.predict(x)).mean() > 0.995


@pytest.mark.parametrize("fields", [{"step_rows": 0}, {"step_rows": 64, "virtual": 8}, {"step_rows": 64}])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit__value_that_is_not_finite__names_column_row_and_remedy(arrays, fitted, fields, value):
    x, y = problem()
    x[234, 3] = value
    learner = NeuralNetwork(hidden=(5,), epochs=2, **fields)
    with pytest.raises(BadInput, match=r"'x3', row 234"):
        fitted(learner, arrays(x, y, classes=(0, 1)))
    with pytest.raises(BadInput, match=r"'x3', row 234"):
        fitted(learner, arrays(x[:200], y[:200], classes=(0, 1))).predict(arrays(x))


@pytest.mark.parametrize("fields", [{"step_rows": 0}, {"step_rows": 64, "virtual": 8}, {"step_rows": 64}])
def test_fit__steps_too_large__say_so_and_leave_no_model(arrays, fitted, fields):
    x, y = problem()
    with pytest.raises(BadInput, match=r"no longer finite after .* learning_rate"):
        fitted(NeuralNetwork(hidden=(5, 5), learning_rate=1e200, epochs=50, update="sgd", **fields), arrays(x * 1e100, y, classes=(0, 1)))


def test_fit__what_cannot_be_learned__is_refused_with_a_remedy(arrays, fitted):
    x, y = problem()
    learner = NeuralNetwork(hidden=(5,), epochs=1)
    with pytest.raises(BadInput, match="one class alone: no"):
        fitted(learner, arrays(x, np.zeros_like(y), classes=("no", "yes")))
    with pytest.raises(BadInput, match="has the single class 'no'"):
        fitted(learner, arrays(x, np.zeros_like(y), classes=("no",)))
    with pytest.raises(BadInput, match=r"there is no target|has no classes"):
        fitted(learner, arrays(x))
    for target, classes in ((y, (0, 1)), (y.astype(float), ())):
        with pytest.raises(BadInput, match="weight above 0"):
            fitted(learner, arrays(x, target, classes=classes, weight=np.zeros(len(y))))
    with pytest.raises(BadInput, match="class_weight names 'c'"):
        fitted(NeuralNetwork(class_weight={"c": 1.0}), arrays(x, y, classes=("a", "b")))
    with pytest.raises(BadField, match="class_weight"):
        fitted(NeuralNetwork(class_weight="balanced"), arrays(x, y.astype(float)))
    with pytest.raises(Refused, match=r"5005 features.*OnlineLinear"):
        fitted(learner, arrays(x, y, classes=(0, 1), slots=np.zeros((len(x), 1)), width=5000))
    with pytest.raises(Refused, match="weights; allowed: up to"):
        fitted(NeuralNetwork(hidden=(60000, 60000)), arrays(x, y, classes=(0, 1)))
    with pytest.raises(BadInput, match="model to start from has no such array for 'weights_1'"):
        fitted(learner, arrays(x, y, classes=(0, 1)), start={"weights_0": np.zeros((5, 5)), "bias_0": np.zeros(5)})
    with pytest.raises(BadInput, match=r"validation=0\.001 leaves no row"):
        fitted(NeuralNetwork(hidden=(5,), epochs=1, validation=0.001), arrays(x[:100], y[:100], classes=(0, 1)))


def test_fit__one_row_of_a_number__gives_it_back(arrays, fitted):
    ours = fitted(NeuralNetwork(hidden=(3,), epochs=3), arrays(np.ones((1, 2)), np.array([7.0])))
    assert ours.predict(arrays(np.ones((1, 2))))["prediction"][0] == pytest.approx(7.0, abs=3.0)
    assert all(np.isfinite(array).all() for array in ours.model.values())


@pytest.mark.parametrize(
    "field",
    [{"hidden": (0,)}, {"hidden": 5}, {"hidden": (2.5,)}, {"activation": "gelu"}, {"update": "lbfgs"}, {"learning_rate": 0.0}, {"learning_rate": np.nan}, {"momentum": 1.0},
     {"l2": -1.0}, {"step_rows": -1}, {"virtual": 0}, {"epochs": 0}, {"tolerance": np.inf}, {"patience": 0}, {"class_weight": "even"}, {"validation": 1.0}],
)  # fmt: skip
def test_fields__out_of_range__refused_by_name(field):
    with pytest.raises(BadField, match=next(iter(field))):
        NeuralNetwork(**field)


def test_fields__as_text__hidden_units_are_numbers():
    assert configured(NeuralNetwork(), {"hidden": "5, 3"}) == NeuralNetwork(hidden=(5, 3))
