"""A model's trees in the terms of its columns: names, thresholds, and categories by the bins they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.combine import Then
from ...core.errors import BadFile
from ...core.learner import Feature
from ...core.state import State, under, unpack_strings
from ...data.features import OneHot
from .bins import LAST
from .boosting import GradientBoosting

__all__ = ["Named", "named_trees"]

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """names: of the columns, numbers first. values, bins uint8, missing, unseen: of each column of categories its values, their bins, that of missing ones and that of all others.

    before: names of the features before the encoder, whose columns these are then.
    """

    learner: Any
    arrays: State
    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    bins: tuple[U8, ...]
    missing: tuple[int, ...]
    unseen: tuple[int, ...]
    before: tuple[str, ...]

    def lefts(self) -> npt.NDArray[np.bool_]:
        """bool (nodes, 256): the bins that go left."""
        found: npt.NDArray[np.bool_] = np.unpackbits(self.arrays["masks"].astype("<u8").view(np.uint8), axis=1, bitorder="little").astype(np.bool_)
        return found

    def threshold(self, column: int, left: npt.NDArray[np.bool_]) -> float:
        """Up to and with which numbers go left, by the bins that do; the largest float64 where all do."""
        edges = self.arrays["edges"][column]
        count = int((edges < LAST).sum()) + 1
        last = int(left[1 : count + 1].sum())
        if not left[1 : last + 1].all() or not last:
            raise BadFile(f"a split of column {self.names[column]!r} is not at one threshold", todo="The file is damaged: copy it again, or fit again.")
        return float(edges[last - 1]) if last < count else float(LAST)


def named_trees(model: Any) -> Named | None:
    """The model's trees, where it is one of GradientBoosting behind OneHot (or behind another encoder: then categories have no values)."""
    learner = model.learner
    if not isinstance(learner, Then) or not isinstance(learner.stages[-1], GradientBoosting):
        return None
    *before, last = learner.stages
    arrays, schema = under(f"{len(before)}", model.arrays), model.schema
    encoder, fitted = None, State()
    for i, stage in enumerate(before):
        if isinstance(stage, Feature):
            encoder, fitted = stage, under(f"{i}", model.arrays)
            schema = stage.schema(fitted, schema)
    shape = schema.design
    if encoder is None or shape is None:
        return None
    others = tuple(type(stage).__name__ for stage in before if stage is not encoder)
    if not isinstance(encoder, OneHot):
        names = [*shape.names, *(f"column {j} of the table" for j in range(shape.k))]
        none = tuple(np.zeros(0, np.uint8) for _ in range(shape.k))
        return Named(
            learner=last, arrays=arrays, names=tuple(names), values=((),) * shape.k, bins=none, missing=(0,) * shape.k, unseen=(0,) * shape.k,
            before=(*others, type(encoder).__name__),
        )  # fmt: skip
    columns = unpack_strings("columns", fitted)
    starts, texts, places = fitted["starts"], unpack_strings("values", fitted), arrays["places"]
    values, bins, missing, unseen, slot = [], [], list[int](), list[int](), 0
    for k in range(len(columns)):
        own = texts[starts[k] : starts[k + 1]]
        values.append(tuple(own))
        bins.append(places[k, slot : slot + len(own)])
        slot += len(own)
        missing.append(int(places[k, slot]) if fitted["missing"][k] else 0)
        slot += int(fitted["missing"][k])
        unseen.append(int(places[k, slot]) if fitted["other"][k] else 0)
        slot += int(fitted["other"][k])
    return Named(
        learner=last, arrays=arrays, names=(*shape.names, *columns), values=tuple(values), bins=tuple(bins), missing=tuple(missing), unseen=tuple(unseen), before=others
    )  # fmt: skip
