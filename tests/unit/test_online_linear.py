"""OnlineLinear: what it learns, its promises about batches, lanes and warm starts, and its refusals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from outgrow.core.errors import BadField, BadInput
from outgrow.core.job import Job
from outgrow.core.learner import Context
from outgrow.core.run import run
from outgrow.core.state import digest
from outgrow.engines.serial import Serial
from outgrow.learn.online_fold import Learn, Sizes, plain
from outgrow.learn.online_linear import OnlineLinear

N, WIDTH = 4000, 256


def log(seed=0, n=N):
    """A small click log: two numbers (one in thousands, one missing at times), three categories hashed to slots, and the margin of a click."""
    rng = np.random.default_rng(seed)
    dense = np.stack([rng.normal(size=n) * 1000, rng.exponential(size=n)], 1).astype(np.float32)
    dense[rng.random(n) < 0.1, 1] = np.nan
    codes = np.stack([rng.integers(0, kinds, n) for kinds in (3, 20, 60)], 1)
    effects = np.random.default_rng(99).normal(size=(3, 60))
    margin = 0.7 * dense[:, 0] / 1000 - 0.5 * np.nan_to_num(dense[:, 1], nan=2.0) + sum(effects[j, codes[:, j]] for j in range(3))
    slots = ((codes + 60 * np.arange(3)) % WIDTH).astype(np.uint32)
    return dense, slots, margin, (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(np.int32)


@pytest.fixture
def clicks(arrays):
    dense, slots, _, y = log()
    return arrays(dense, y, classes=("no", "yes"), slots=slots, width=WIDTH)


def loss_of(p, y):
    return -np.log(np.where(y == 1, p, 1 - p)).mean()


def test_fit__on_clicks__comes_near_the_best_possible(clicks, fitted, arrays):
    dense, slots, margin, y = log(1)
    p = fitted(OnlineLinear(passes=3), clicks).predict(arrays(dense, y, classes=("no", "yes"), slots=slots, width=WIDTH))["probability"]
    assert loss_of(p, y) < loss_of(1 / (1 + np.exp(-margin)), y) + 0.02


def test_progressive_loss__beside_vowpal_wabbit__is_no_worse(tmp_path, arrays, fitted):
    dense, slots, _, y = log(2, 20_000)
    dense = np.nan_to_num(dense, nan=1.5)
    text = tmp_path / "rows.vw"
    text.write_text("".join(f"{2 * t - 1} | a:{a} b:{b} {' '.join(f's{s}' for s in row)}\n" for t, (a, b), row in zip(y, dense.tolist(), slots.tolist(), strict=True)))
    told = subprocess.run([sys.executable, "-m", "vowpalwabbit", "--loss_function", "logistic", "-b", "18", "-d", str(text)], capture_output=True, text=True, check=True)
    theirs = float(told.stderr.split("average loss = ")[1].split()[0])
    learner = OnlineLinear(lanes=1)
    job = Job(learner=learner, source=arrays(dense, y, classes=(0, 1), slots=slots, width=WIDTH), shard_rows=20_000, batch_rows=1000)
    carry = learner.begin(job.context)
    (item,) = learner.ask(job.context, carry)
    state = item.fold.init(item.given)
    for batch in job.batches(item, 0):
        state = item.fold.update(state, batch, item.given)
    facts = learner.facts(job.context, learner.tell(job.context, carry, (state,)))
    assert facts["progressive_loss"] == pytest.approx(theirs, abs=0.003)
    assert facts["rows"] == 20_000


@pytest.mark.parametrize("fields", [{}, {"update": "ftrl", "learning_rate": 0.1}, {"passes": 2, "decay": 0.5}, {"l1": 1e-4, "l2": 1e-4}, {"validation": 0.25, "passes": 3}])
def test_one_lane__whatever_the_batches_and_rounds__gives_the_same_bits(clicks, fitted, fields):
    learner = OnlineLinear(lanes=1, **fields)
    whole = fitted(learner, clicks, batch_rows=N, shard_rows=N).digest
    assert fitted(learner, clicks, batch_rows=13, shard_rows=N).digest == whole
    assert fitted(learner, clicks, batch_rows=256, shard_rows=1024).digest == whole
    assert fitted(learner.replace(meet_every=3), clicks, batch_rows=256, shard_rows=1024).digest == whole


@pytest.mark.parametrize("fields", [{}, {"meet_every": 2}, {"update": "ftrl", "learning_rate": 0.1}, {"passes": 2}])
@pytest.mark.parametrize("lanes", [2, 3])
def test_lanes__that_meet__lose_little(clicks, fitted, arrays, lanes, fields):
    dense, slots, _, y = log(1)
    test = arrays(dense, y, classes=("no", "yes"), slots=slots, width=WIDTH)
    alone, together = (fitted(OnlineLinear(lanes=many, **fields), clicks, shard_rows=500, batch_rows=100).predict(test)["probability"] for many in (1, lanes))
    assert loss_of(together, y) < loss_of(alone, y) + 0.03


def fold(lanes=2, rule="adaptive", ragged=False, outs=1):
    return Learn(sizes=Sizes(width=WIDTH, dense=2, outs=outs, ragged=ragged), loss=1, rule=rule, knobs=(0.5, 0.5, 0.0, 0.0, 1.0), lanes=lanes)


def lane(learn, source, rows, given):
    return learn.update(learn.init(given), source.take(np.asarray(rows)), given)


@pytest.mark.parametrize("start", [False, True])
def test_two_lanes__that_saw_the_same_rows__meet_at_what_each_learned(clicks, start):
    learn = fold()
    given = learn.together(lane(learn, clicks, range(100), {}), {}) if start else {}
    one = lane(learn, clicks, range(100, 400), given)
    met = learn.together(learn.merge(lane(learn, clicks, range(100, 400), given), one, given), given)
    assert np.allclose(met["table"], one["table"], rtol=1e-5, atol=1e-7)
    assert np.allclose(met["small"], one["small"], rtol=1e-9)


def test_lanes__with_slots_of_their_own__keep_their_weights_whole(clicks):
    learn = fold()
    left, right = lane(learn, clicks, range(50), {}), lane(learn, clicks, range(50, 100), {})
    mine = (left["table"][:, 1] > 0) & (right["table"][:, 1] == 0)
    met = learn.together(learn.merge({k: a.copy() for k, a in left.items()}, right, {}), {})
    assert mine.any()
    assert np.allclose(met["table"][mine], left["table"][mine], rtol=1e-6)


@pytest.mark.parametrize("rule", ["adaptive", "ftrl"])
def test_merge__with_a_lane_that_saw_nothing__changes_nothing(clicks, rule):
    learn = fold(rule=rule)
    given = learn.together(lane(learn, clicks, range(100), {}), {})
    one = lane(learn, clicks, range(100, 200), given)
    before = digest(one)
    assert digest(learn.merge({k: a.copy() for k, a in one.items()}, learn.init(given), given)) == before
    assert digest(learn.merge(learn.init(given), one, given)) == before
    assert digest(one) == before


def test_ftrl__merged__adds_z_and_n(clicks):
    learn = fold(rule="ftrl")
    given = learn.together(lane(learn, clicks, range(100), {}), {})
    left, right = lane(learn, clicks, range(100, 200), given), lane(learn, clicks, range(200, 300), given)
    expected = left["table"].astype(float) + right["table"] - given["table"]
    met = learn.together(learn.merge(left, right, given), given)
    assert np.allclose(met["table"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"update": "ftrl", "learning_rate": 0.1}])
def test_warm_start__from_model_and_resume__goes_on_exactly(clicks, fields):
    def job(passes, start=None):
        return run(Job(learner=OnlineLinear(lanes=1, passes=passes, **fields), source=clicks, shard_rows=N, batch_rows=500, start=start), Serial())

    first = job(1)
    again = job(1, first.arrays | first.resume)
    assert digest(again.arrays) == digest(job(2).arrays)
    assert digest(again.resume) == digest(job(2).resume)


def test_warm_start__from_weights_alone__is_refused_where_scales_are_needed(clicks, fitted):
    model = fitted(OnlineLinear(lanes=1), clicks).model
    with pytest.raises(BadInput, match=r"no resume section.*same update"):
        fitted(OnlineLinear(lanes=1), clicks, start=model)


def test_warm_start__of_another_width__names_the_array(clicks, fitted, arrays):
    dense, slots, _, y = log()
    result = run(Job(learner=OnlineLinear(lanes=1), source=clicks, shard_rows=N, batch_rows=N), Serial())
    other = arrays(dense, y, classes=("no", "yes"), slots=slots, width=2 * WIDTH)
    with pytest.raises(BadInput, match=r"\(256, 1\) for 'table', here it is \(512, 1\)"):
        fitted(OnlineLinear(lanes=1), other, start=result.arrays | result.resume)


def test_units__of_a_column__do_not_matter(arrays, fitted):
    dense, slots, _, y = log()
    one = fitted(OnlineLinear(), arrays(dense, y, classes=(0, 1), slots=slots, width=WIDTH)).model
    two = fitted(OnlineLinear(), arrays(dense * np.float32(1024), y, classes=(0, 1), slots=slots, width=WIDTH)).model
    assert np.allclose(one["dense"], two["dense"] * 1024, rtol=1e-5)
    assert np.allclose(one["table"], two["table"], rtol=1e-4, atol=1e-6)


def test_squared_loss__on_a_line__finds_it(arrays, fitted):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(N, 2)).astype(np.float32)
    y = 2 * x[:, 0] - x[:, 1] + 0.5
    model = fitted(OnlineLinear(passes=5), arrays(x, y)).model
    assert np.allclose(model["dense"][:, 0], [2, -1], atol=0.02)
    assert model["intercept"][0] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("tau", [0.1, 0.9])
def test_quantile_loss__predicts_the_quantile(arrays, fitted, tau):
    rng = np.random.default_rng(4)
    y = rng.exponential(size=N)
    source = arrays(np.zeros((N, 1), np.float32), y)
    found = fitted(OnlineLinear(loss="quantile", tau=tau, passes=3), source).predict(source)["prediction"][0]
    assert found == pytest.approx(np.quantile(y, tau), abs=0.15)


@pytest.mark.parametrize("fields", [{}, {"multi": "ovr"}, {"update": "ftrl", "learning_rate": 0.3}, {"lanes": 2}, {"loss": "hinge"}])
def test_three_classes__give_a_column_each(arrays, fitted, fields):
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, N)
    slots = np.where(rng.random(N) < 0.8, y, rng.integers(0, 3, N))[:, None]
    source = arrays(None, y, classes=("a", "b", "c"), slots=slots, width=8)
    columns = fitted(OnlineLinear(**fields), source, shard_rows=500).predict(source)
    kind = "score" if "loss" in fields else "probability"
    assert list(columns) == ["prediction", f"{kind}_a", f"{kind}_b", f"{kind}_c"]
    assert (columns["prediction"] == np.array(["a", "b", "c"])[y]).mean() > 0.8
    if kind == "probability":
        assert np.allclose(sum(columns[f"probability_{name}"] for name in "abc"), 1)


def test_hinge__of_two_classes__gives_a_score(clicks, fitted):
    columns = fitted(OnlineLinear(loss="hinge"), clicks).predict(clicks)
    assert list(columns) == ["prediction", "score"]
    assert ((columns["prediction"] == "yes") == (columns["score"] > 0)).all()


def test_ftrl__under_l1__leaves_weights_exactly_zero(clicks, fitted):
    dense, sparse = (fitted(OnlineLinear(update="ftrl", learning_rate=0.1, l1=l1), clicks).model["table"] for l1 in (0.0, 20.0))
    assert np.count_nonzero(sparse) < np.count_nonzero(dense) / 2


def test_balanced_classes__raise_the_rare_one(arrays, fitted):
    rng = np.random.default_rng(6)
    y = (rng.random(N) < 0.02).astype(np.int32)
    source = arrays(None, y, classes=(0, 1), slots=np.zeros((N, 1)), width=2)
    assert fitted(OnlineLinear(), source).predict(source)["probability"][0] < 0.05
    assert fitted(OnlineLinear(class_weight="balanced"), source).predict(source)["probability"][0] == pytest.approx(0.5, abs=0.15)
    named = fitted(OnlineLinear(class_weight={1: 49.0}), source).predict(source)["probability"][0]
    assert named == pytest.approx(0.5, abs=0.15)


def test_row_weights__of_zero__leave_a_row_out(arrays, fitted):
    dense, slots, _, y = log()
    weight = np.ones(N)
    weight[1::2] = 0
    one = fitted(OnlineLinear(loss="logistic"), arrays(dense[::2], y[::2], classes=(0, 1), slots=slots[::2], width=WIDTH)).model
    two = fitted(OnlineLinear(loss="logistic"), arrays(dense, y, classes=(0, 1), slots=slots, width=WIDTH, weight=weight)).model
    assert np.allclose(one["table"], two["table"], atol=0.05)


def test_validation__where_passes_stop_helping__keeps_the_best(arrays):
    rng = np.random.default_rng(7)
    y = rng.integers(0, 2, 400).astype(np.int32)  # noise: every pass overfits more
    source = arrays(None, y, classes=(0, 1), slots=np.arange(400)[:, None] % 300, width=300)
    learner = OnlineLinear(validation=0.3, passes=20, patience=2)
    job = Job(learner=learner, source=source, shard_rows=400, batch_rows=100)
    result = run(job, Serial())
    assert result.record["passes"] < 20
    once = run(Job(learner=learner.replace(passes=1), source=source, shard_rows=400, batch_rows=100), Serial())
    assert digest(result.arrays) == digest(once.arrays)


def test_batch_rounds__after_the_online_pass__reach_a_lower_training_loss(arrays, fitted):
    dense, slots, _, y = log()
    source = arrays(np.nan_to_num(dense / [1000, 1]), y, classes=(0, 1), slots=slots, width=WIDTH)
    losses = [loss_of(fitted(OnlineLinear(l2=1e-3, batch_rounds=rounds), source).predict(source)["probability"], y) for rounds in (0, 30)]
    assert losses[1] < losses[0] - 0.005


def test_lanes__by_the_rule__are_two_from_a_million_rows(clicks):
    def lanes(rows, **fields):
        return OnlineLinear(**fields).lanes_of(Context(schema=clicks.schema, rows=rows, shard_rows=100_000, batch_rows=1000))

    assert [lanes(n) for n in (10, 999_999, 1_000_000, 50_000_000)] == [1, 1, 2, 2]
    assert lanes(300_000, lanes=8) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss", "cubic"), ("update", "sgd"), ("learning_rate", 0.0), ("learning_rate", float("nan")), ("decay", 0.0), ("l1", -1.0), ("l2", float("inf")),
        ("passes", 0), ("passes", 1.5), ("lanes", -1), ("meet_every", -1), ("class_weight", "fair"), ("validation", 1.0), ("patience", 0), ("tau", 1.0),
        ("multi", "all"), ("beta", -1.0), ("batch_rounds", -1),
    ],
)  # fmt: skip
def test_field__out_of_range__is_named(field, value):
    with pytest.raises(BadField, match=f"^{field}: .*allowed: "):
        OnlineLinear(**{field: value})


def test_loss__that_does_not_go_with_the_target__is_refused(clicks, arrays, fitted):
    with pytest.raises(BadInput, match="loss 'squared' does not go with target 'y', which has classes; allowed: logistic, hinge"):
        fitted(OnlineLinear(loss="squared"), clicks)
    with pytest.raises(BadInput, match="which has numbers; allowed: squared, quantile"):
        fitted(OnlineLinear(loss="hinge"), arrays(np.ones((9, 1)), np.arange(9.0)))
    with pytest.raises(BadField, match=r"batch_rounds.*hinge"):
        OnlineLinear(loss="hinge", batch_rounds=3)


def test_infinite_value__is_refused_by_column_and_row(arrays, fitted):
    dense, slots, _, y = log()
    dense[1234, 1] = np.inf
    with pytest.raises(BadInput, match=r"row 1234: column 'x1' is inf; allowed: .*nothing for a missing value"):
        fitted(OnlineLinear(), arrays(dense, y, classes=(0, 1), slots=slots, width=WIDTH))


def test_target__beyond_all_bounds__is_an_error_not_a_model_of_nan(arrays, fitted):
    with pytest.raises(BadInput, match=r"grown beyond 1e30.*learning_rate"):
        fitted(OnlineLinear(scale_target=False), arrays(np.ones((50, 1)), np.full(50, 1e40)))


@pytest.mark.parametrize("size", [1e-6, 1.0, 3e5])
def test_squared_loss__whatever_the_unit_of_the_target__learns_it(arrays, fitted, size):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4000, 2))
    y = size * (7.0 + 2.0 * x[:, 0] - x[:, 1])
    source = arrays(x, y)
    found = fitted(OnlineLinear(), source).predict(source)["prediction"]
    assert np.mean((found - y) ** 2) < 0.01 * np.var(y)


def test_start__of_a_number__goes_on_in_the_same_unit(arrays, fitted):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3000, 2))
    source = arrays(x, 5e4 * (3.0 + x[:, 0]))
    job = Job(learner=OnlineLinear(), source=source, shard_rows=700, batch_rows=256)
    first = run(job, Serial())
    again = run(replace(job, start=first.arrays | first.resume), Serial())
    both = run(replace(job, learner=OnlineLinear(passes=2)), Serial())
    assert digest(again.arrays) == digest(both.arrays)


def test_class_weight__of_an_unknown_class__is_named(clicks, fitted):
    with pytest.raises(BadInput, match="class_weight names 'maybe'; allowed: no, yes"):
        fitted(OnlineLinear(class_weight={"maybe": 2.0}), clicks)


def test_design__of_another_width__is_refused(clicks, fitted, arrays):
    model = fitted(OnlineLinear(), clicks)
    dense, slots, _, y = log()
    with pytest.raises(BadInput, match="the design has 512 slots and 2 dense columns, the model 256 and 2"):
        model.predict(arrays(dense, y, classes=("no", "yes"), slots=slots, width=512))


def test_plain__of_ftrl__is_what_the_kernel_computes():
    from outgrow.learn.kernels.online import ftrl_weight

    rng = np.random.default_rng(8)
    table = np.stack([rng.normal(size=WIDTH) * 3, rng.exponential(size=WIDTH)], 1).astype(np.float32)
    small = np.zeros((5, 3))
    model = plain({"table": table, "small": small}, Sizes(width=WIDTH, dense=2, outs=1, ragged=False), "ftrl", (0.1, 0.5, 1.0, 0.2, 1.0))
    expected = [ftrl_weight(float(z), float(n), 0.1, 1.0, 1.0, 0.2) for z, n in table]
    assert np.array_equal(model["table"][:, 0], np.array(expected, np.float32))
