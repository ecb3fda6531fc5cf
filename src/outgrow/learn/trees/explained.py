"""What each column of a row adds to the score of boosted trees: SHAP values, in the place of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.combine import Then
from ...core.errors import BadInput
from ...core.learner import Context, Learner, Pass
from ...core.state import State
from ...data.batch import Batch
from ...data.native import F8, I4, I8, INT, U1, Array, Native
from .bins import width_of
from .boosting import GradientBoosting
from .named import named_trees

if TYPE_CHECKING:
    from ...data.model import Model

__all__ = ["Explained", "explained"]

_add_shap = Native(
    "outgrow.learn.kernels.shap", "add_shap", (U1(1), INT, I8(1), INT, I4(1), I4(1), Array("uint64", 1), F8(1), I8(1), INT, F8(2, True))
)


@dataclass(frozen=True, kw_only=True)
class Explained(Learner):
    """Trained trees that tell SHAP values of their scores, before these become chances or counts. names: of the columns, numbers first."""

    learner: GradientBoosting
    names: tuple[str, ...]

    def begin(self, context: Context, start: State | None = None) -> State:
        raise BadInput("this explains trained trees, and is not trained", todo="Train GradientBoosting, then og.explained(model).")

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        return ()

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        return carry

    def finish(self, context: Context, carry: State) -> State:
        return carry

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``<column>`` (n,), the part of each column, and ``expected``, the score of no column; with K > 2 classes ``<column>_<class>`` and ``expected_<class>``."""
        outs, parts = len(model["base"]), len(self.names) + 1
        found = np.zeros((batch.rows, outs * parts))
        arrays = (model["column"], model["child"], model["masks"].reshape(-1), model["value"], model["node_rows"])
        _add_shap(self.learner.codes(model, batch), width_of(len(self.names)), model["roots"], outs, *arrays, _depth(model), found)
        found[:, parts - 1 :: parts] += model["base"]
        names = (*self.names, "expected")
        if outs == 1:
            return dict(zip(names, found.T.copy(), strict=True))
        return {f"{name}_{value}": found[:, k * parts + j].copy() for k, value in enumerate(batch.schema.classes or range(outs)) for j, name in enumerate(names)}


def _depth(model: Mapping[str, Any]) -> int:
    """Levels of the deepest tree."""
    child = model["child"]
    level = np.zeros(len(child), np.int64)
    for node in np.flatnonzero(child):  # parents come before their children
        level[child[node] : child[node] + 2] = level[node] + 1
    return int(level.max(initial=0))


def explained(model: Model) -> Model:
    """The model of boosted trees with SHAP values in place of its predictions: `predict` it on rows, or `og.predict` it into a file.

    The values of a row are exact, over all orders in which columns may come to be known; a column that is not known yet sends rows both ways, in proportion to
    those that were learned from. They add up, with ``expected``, to the row's score: log-odds of two classes, the logarithm of a count. About 10 ns · depth² a row and leaf.

    Raises BadInput for another model, or where other features than OneHot come before the trees (their columns are made of several).

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.arange(400.0)
    >>> rows = og.read({"x": x, "z": x % 7, "y": np.where(x < 100, 1.0, 5.0)}, target="y", task="number")
    >>> model = og.plan(og.GradientBoosting(trees=1, leaves=2, learning_rate=1.0), rows, on="serial").run().model
    >>> og.explained(model).predict({"x": [50.0], "z": [1.0]}).to_pandas().round(2).to_dict("records")
    [{'x': -3.0, 'z': 0.0, 'expected': 4.0}]
    """
    from ...data.model import Model

    named = named_trees(model)
    if named is None or named.before or not isinstance(model.learner, Then):
        what = "a model of something else than boosted trees" if named is None else f"trees behind {', '.join(named.before)}, whose columns are made of others"
        raise BadInput(f"this is {what}", allowed="a model of GradientBoosting, behind OneHot or nothing")
    learner = Then((*model.learner.stages[:-1], Explained(learner=named.learner, names=named.names)))
    return Model(learner, model.schema, model.arrays, {}, model.made)
