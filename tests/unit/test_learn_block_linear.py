"""A linear model in blocks: the optimum of the uncut one, no array wider than a block, margins rebuilt block by block, and the columns that are read."""

from __future__ import annotations

import numpy as np
import pytest

import outgrow as og
from outgrow.check.replay import arrays_in, follow
from outgrow.core.fold import Block, Kept, fold_block
from outgrow.core.job import Job
from outgrow.core.run import run
from outgrow.core.state import digest, same
from outgrow.data.source import Source
from outgrow.engines.processes import Processes
from outgrow.engines.serial import Serial

ROWS, COLUMNS = 600, 12
ENCODED = (og.OneHot(),)
CLOSE = {"rtol": 1e-6, "atol": 1e-7}


def _matrix(seed=0, rows=ROWS, columns=COLUMNS, alike=0.6):
    """Columns that are correlated across every block."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns))
    for j in range(1, columns):
        x[:, j] = alike * x[:, j - 1] + np.sqrt(1 - alike**2) * x[:, j]
    return x, rng


def _table(what, **more):
    x, rng = _matrix(**more)
    score = x @ np.linspace(-1, 1, x.shape[1]) + rng.logistic(size=len(x))
    y = {"two": (score > 0.3).astype(np.int64), "three": np.digitize(score, [-0.7, 0.9]), "number": 40.0 * score + 1000.0}[what]
    return {f"x{j}": x[:, j] for j in range(x.shape[1])} | {"y": y}, x, y


def _read(table, **more):
    return og.read(table, target="y", **more)


def _job(learner, source, features=ENCODED):
    return Job(learner=og.Then((*features, learner)), source=source, shard_rows=200, batch_rows=64)


def _fit(learner, source, features=ENCODED):
    """The model's arrays by their plain names."""
    found = run(_job(learner, source, features), Serial()).arrays
    return {name.partition("/")[2]: array for name, array in found.items() if name.startswith(f"{len(features)}/")}


def test_binary__columns_correlated_across_blocks__is_scikit_learns_optimum():
    from sklearn.linear_model import LogisticRegression

    table, x, y = _table("two")
    found = _fit(og.BlockLinear(l2=2.0, block_columns=4, tolerance=1e-9), _read(table))
    want = LogisticRegression(C=0.5, tol=1e-12, solver="newton-cholesky").fit(x, y)
    np.testing.assert_allclose(found["dense"][:, 0], want.coef_[0], **CLOSE)
    np.testing.assert_allclose(found["intercept"], want.intercept_, **CLOSE)


def test_softmax__three_classes_with_weights__is_scikit_learns_optimum():
    from sklearn.linear_model import LogisticRegression

    table, x, y = _table("three", columns=6)
    weight = np.linspace(0.5, 2.0, len(y))
    found = _fit(og.BlockLinear(l2=5.0, block_columns=3, tolerance=1e-8, class_weight="balanced"), _read({**table, "w": weight}, weight="w"))
    counts = np.bincount(y, weight)
    want = LogisticRegression(C=0.2, tol=1e-12, solver="newton-cg", max_iter=2000).fit(x, y, sample_weight=weight * (weight.sum() / (3 * counts))[y])
    np.testing.assert_allclose(found["dense"].T, want.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["intercept"] - found["intercept"].mean(), want.intercept_ - want.intercept_.mean(), rtol=1e-5, atol=1e-6)


def test_squared__target_far_from_zero__is_ridge():
    from sklearn.linear_model import Ridge

    table, x, y = _table("number")
    found = _fit(og.BlockLinear(loss="squared", l2=3.0, block_columns=5, tolerance=1e-10), _read(table))
    want = Ridge(alpha=3.0).fit(x, y)
    np.testing.assert_allclose(found["dense"][:, 0], want.coef_, **CLOSE)
    np.testing.assert_allclose(found["intercept"][0], want.intercept_, **CLOSE)


def test_no_intercept__squared__is_ridge_without_one():
    from sklearn.linear_model import Ridge

    table, x, y = _table("number", columns=4)
    found = _fit(og.BlockLinear(loss="squared", l2=1.0, intercept=False, block_columns=2, tolerance=1e-10), _read(table))
    np.testing.assert_allclose(found["dense"][:, 0], Ridge(alpha=1.0, fit_intercept=False).fit(x, y).coef_, **CLOSE)
    assert found["intercept"].tolist() == [0.0]


def _hashed(rows=ROWS):
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 60, rows), rng.integers(0, 40, rows)
    score = 0.05 * (a - 30) - 0.04 * (b - 20) + rng.logistic(size=rows)
    return {"a": [f"a{i}" for i in a], "b": [f"b{i}" for i in b], "n": rng.normal(size=rows), "y": (score > 0).astype(np.int64)}


@pytest.mark.parametrize("slots", [400, 700], ids=["Newton in narrow blocks", "L-BFGS in wide blocks"])
@pytest.mark.slow
def test_hashed__table_cut_into_ranges_of_slots__is_the_uncut_optimum(slots):
    source, features = _read(_hashed()), (og.Hashing(bits=10, interactions=("a:b",)),)
    found = _fit(og.BlockLinear(l2=1.0, block_slots=slots, tolerance=1e-8), source, features)
    want = _fit(og.LogisticRegression(l2=1.0, tolerance=1e-9), source, features)
    for name, array in want.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=2e-6)


def test_uncut__one_block__is_the_model_of_many():
    table, *_ = _table("two", columns=6)
    one, many = (_fit(og.BlockLinear(block_columns=width, tolerance=1e-9), _read(table)) for width in (6, 2))
    np.testing.assert_allclose(one["dense"], many["dense"], **CLOSE)


def test_given_and_states__many_blocks__hold_no_array_wider_than_a_block():
    width = 3
    table, *_ = _table("two")
    job = _job(og.BlockLinear(block_columns=width, max_sweeps=3), _read(table), (og.Hashing(bits=1),))
    seen = set()
    for turn in follow(job).turns:
        for item, closed in zip(turn.passes, turn.closed, strict=True):
            seen.add(type(getattr(item.fold, "fold", item.fold)).__name__)
            largest = max(array.size for thing in (item.given, closed) for array in arrays_in(thing))
            assert largest <= (width + 1) ** 2, (turn.number, largest)
            if item.again:  # and what a rebuild is shown
                recalled = [job.learner.recall(job.context, turn.carry, f"{item.kept}/{i}") for i in range(len(item.again))]
                assert max(array.size for array in arrays_in(recalled)) <= 5 * width
    assert seen == {"Targets", "BlockSums", "PlaneSums"}


class _Recording(Source):
    """Remembers which columns were asked for."""

    asked: list[tuple[str, ...] | None]

    def read(self, start, stop, batch_rows, columns=None):
        self.asked.append(columns)
        return super().read(start, stop, batch_rows, columns)


def _recorded(source):
    found = _Recording(source.store, source.schema, content=source.content)
    found.asked = []
    return found


def test_read__dense_blocks_behind_fitted_features__a_pass_reads_its_own_columns_alone(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, *_ = _table("two", columns=6)
    pq.write_table(pa.table(table), tmp_path / "rows.parquet", row_group_size=150)
    source = _recorded(_read(str(tmp_path / "rows.parquet")))
    features = (og.Missing(), og.Scale(), og.OneHot())
    run(_job(og.BlockLinear(block_columns=2, max_sweeps=3), source, features), Serial())
    assert set(source.asked) == {None, (), ("x0", "x1"), ("x2", "x3"), ("x4", "x5")}
    assert source.asked.count(None) == 2 * 3  # the features' own passes, a read a shard


def test_narrowed_features__fewer_columns__give_the_same_values_in_those():
    table = _hashed() | {"y": np.arange(ROWS) % 2, "m": np.where(np.arange(ROWS) % 7 == 0, np.nan, np.arange(ROWS) * 0.1)}
    source = _read(table)
    learner = og.Then((og.Missing(), og.Scale(), og.OneHot()))
    model = follow(Job(learner=og.Then((*learner.stages, og.Moments())), source=source, shard_rows=200, batch_rows=200)).model
    whole = learner.encode(model, next(iter(source.read(0, 50, 50))))
    few = learner.encode(model, next(iter(source.read(0, 50, 50, ["m", "b"]))))
    assert few.design.names == ("m",)
    np.testing.assert_array_equal(few.design.dense[:, 0], whole.design.dense[:, whole.design.names.index("m")])
    np.testing.assert_array_equal(few.design.slots[:, 0], whole.design.slots[:, 1])


def test_kept__lost_in_the_middle__is_rebuilt_block_by_block_to_the_same_bits():
    table, *_ = _table("three", columns=5)
    job = _job(og.BlockLinear(block_columns=2, max_sweeps=3), _read(table))
    whole, lost = follow(job), follow(job, workers=0)
    assert all(same(a.after, b.after) for a, b in zip(whole.turns, lost.turns, strict=True))
    turn = next(turn for turn in reversed(whole.turns) if turn.passes[0].again and "given/block" in turn.passes[0].given)
    asked = []

    def recall(name):
        asked.append(name)
        return job.learner.recall(job.context, turn.carry, name)

    fold_block(job, turn.passes[0], Block(0, 0, 1), kept=Kept(), recall=recall)
    assert asked == [f"margins/{i}" for i in range(3)]  # once a block for all batches of the lane


@pytest.mark.slow
def test_processes__one_two_and_three__give_serials_digest(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, *_ = _table("two", columns=6)
    pq.write_table(pa.table(table), tmp_path / "rows.parquet", row_group_size=150)
    job = _job(og.BlockLinear(block_columns=2, max_sweeps=3), _read(str(tmp_path / "rows.parquet")))
    assert {digest(run(job, engine).arrays) for engine in (Serial(), Processes(2), Processes(3))} == {digest(follow(job).model)}


def test_warm_start__from_the_optimum__asks_for_one_look_at_each_block():
    table, *_ = _table("number", columns=6)
    learner = og.Then((og.OneHot(), og.BlockLinear(loss="squared", block_columns=2, tolerance=1e-7)))
    job = _job(learner.stages[1], _read(table))
    first = follow(job)
    again = follow(Job(learner=job.learner, source=job.source, shard_rows=200, batch_rows=64, start=first.model))
    assert len(again.turns) <= 1 + 3 < len(first.turns)
    np.testing.assert_allclose(again.model["1/dense"], first.model["1/dense"], rtol=1e-5)


def test_warm_start__from_a_model_of_other_columns__is_refused():
    table, *_ = _table("two", columns=6)
    start = {"1/table": np.zeros((1, 1)), "1/dense": np.zeros((5, 1)), "1/intercept": np.zeros(1)}
    with pytest.raises(og.BadInput, match="the model to start from has"):
        follow(Job(learner=og.Then((og.OneHot(), og.BlockLinear())), source=_read(table), shard_rows=200, batch_rows=64, start=start))


def test_facts__to_the_end__say_converged_and_at_max_sweeps_that_it_is_not():
    table, *_ = _table("two", columns=6)
    for sweeps, converged in ((100, 1.0), (1, 0.0)):
        learner = og.BlockLinear(block_columns=2, max_sweeps=sweeps, tolerance=1e-8)
        job = _job(learner, _read(table))
        facts = job.learner.facts(job.context, follow(job).carry)
        assert facts["converged"] == converged
        assert (facts["gradient"] <= 1e-8) == bool(converged)


def test_loss__every_round__never_rises():
    table, *_ = _table("three", columns=6)
    job = _job(og.BlockLinear(block_columns=2, max_sweeps=4, tolerance=1e-6), _read(table))
    losses = [job.learner.facts(job.context, turn.after).get("loss", np.inf) for turn in follow(job).turns]
    known = np.array(losses[1:])
    assert (np.diff(known) <= 1e-9 * known[:-1]).all()


def test_price__wide_table__is_of_a_block_and_of_what_is_kept():
    source = _read(_hashed())
    job = _job(og.BlockLinear(block_slots=1 << 12), source, (og.Hashing(bits=16),))
    price = job.learner.price(job.context)
    assert price.given == 2 * 8 * (1 << 12)
    assert price.state < 8 * 3 * (1 << 12)
    assert price.kept_per_row == 80
    uncut = _job(og.LogisticRegression(), source, (og.Hashing(bits=16),))
    assert uncut.learner.price(uncut.context).state > 10 * price.state


@pytest.mark.parametrize(
    ("field", "value"),
    [("loss", "hinge"), ("l2", -1.0), ("l2", np.nan), ("block_columns", 0), ("block_slots", 0), ("steps", 0), ("tolerance", 0.0), ("max_sweeps", 0), ("class_weight", "even")],
)
def test_field__out_of_range__is_refused_by_name(field, value):
    with pytest.raises(og.BadField, match=field):
        og.BlockLinear(**{field: value})


def test_class_weight__of_numbers__is_refused():
    with pytest.raises(og.BadField, match="class_weight"):
        og.BlockLinear(loss="squared", class_weight="balanced")


def test_blocks__more_than_the_margins_can_add_up__are_refused_with_what_to_change():
    with pytest.raises(og.BadField, match=r"block_slots: the model falls into 1025 blocks; allowed: .* at most 256"):
        follow(_job(og.BlockLinear(block_slots=1), _read(_hashed()), (og.Hashing(bits=10),)))


@pytest.mark.parametrize(("loss", "y", "said"), [("logistic", np.arange(9.0) + 0.5, "no classes"), ("squared", np.repeat(["a", "b"], [8, 1]), "has classes")])
def test_target__of_the_other_kind__is_refused(loss, y, said):
    with pytest.raises(og.BadInput, match=said):
        follow(_job(og.BlockLinear(loss=loss), _read({"x": np.arange(9.0), "y": y})))


def test_missing_value__in_the_second_block__names_column_and_row():
    table, *_ = _table("two", columns=4)
    table["x3"] = table["x3"].copy()
    table["x3"][17] = np.nan
    with pytest.raises(og.BadInput, match=r"missing value in column 'x3', row 17"):
        follow(_job(og.BlockLinear(block_columns=2), _read(table)))


def test_weights__all_zero__are_refused():
    table, *_ = _table("number", columns=2)
    with pytest.raises(og.BadInput, match="no row has a weight above 0"):
        follow(_job(og.BlockLinear(loss="squared"), _read({**table, "w": np.zeros(ROWS)}, weight="w")))


def test_predict__any_batch__is_the_uncut_models_prediction():
    table, *_ = _table("two", columns=4)
    job = _job(og.BlockLinear(block_columns=2), _read(table))
    model = follow(job).model
    batches = [np.concatenate([np.asarray(job.learner.predict(model, batch)["probability"]) for batch in job.source.read(0, ROWS, size)]) for size in (1, 64, ROWS)]
    assert all((batches[0] == other).all() for other in batches)
