"""Between a model of boosted trees and plain ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ....core.combine import Then
from ....core.errors import BadInput
from ....core.state import State, joined, pack_strings
from ....data.batch import Field, Schema
from ....data.features import OneHot
from ....data.model import Model
from ..bins import LAST, NUMBERS
from ..boosting import GradientBoosting
from ..model import no_trees
from ..named import Named, named_trees
from .plain import PlainColumn, PlainTree, PlainTrees, refused

__all__ = ["model_of", "plain_of"]

I64 = npt.NDArray[np.int64]
_MOST_EDGES = NUMBERS - 2  # 255 bins of numbers, and one of missing values


def plain_of(model: Model) -> PlainTrees:
    """The model's trees as plain ones; columns in the order of the schema, without target and weight.

    Raises BadInput where it is no model of boosted trees, or other features than OneHot come before them, which no format of trees holds.
    """
    named = named_trees(model)
    if named is None:
        raise BadInput(f"this is a model of {_what(model)}, not of boosted trees", todo="Export a model of GradientBoosting.")
    if named.before:
        raise BadInput(
            f"the trees read columns that {', '.join(named.before)} made, which no format of trees holds", allowed="OneHot, which the plan puts before trees by itself",
            todo="Write such columns into the rows, and train on them.",
        )  # fmt: skip
    arrays, learner = named.arrays, named.learner
    order = [name for name in model.schema.names() if name in named.names]
    place = np.array([order.index(name) for name in named.names], np.int64)
    lefts = named.lefts()
    columns = []
    for name in order:
        j = named.names.index(name)
        k = j - len(arrays["edges"])
        if k < 0:
            columns.append(PlainColumn(name=name, dtype=model.schema[name].dtype))
            continue
        here = (arrays["column"] == j) & (arrays["child"] > 0)
        apart = bool((lefts[here, named.missing[k]] != lefts[here, named.unseen[k]]).any())
        columns.append(PlainColumn(name=name, category=True, values=named.values[k], dtype=model.schema[name].dtype, missing=apart))
    ends = np.append(arrays["roots"], len(arrays["value"]))
    trees = [_plain_tree(named, lefts, place, int(a), int(b)) for a, b in itertools.pairwise(ends)]
    classes = tuple(model.schema.classes)
    loss = learner.loss or ("squared" if not classes else "logistic" if len(arrays["base"]) == 1 else "softmax")
    return PlainTrees(columns=tuple(columns), trees=trees, outs=len(arrays["base"]), loss=loss, base=arrays["base"], classes=classes)


def _what(model: Model) -> str:
    return type(model.learner.stages[-1] if isinstance(model.learner, Then) else model.learner).__name__


def _plain_tree(named: Named, lefts: npt.NDArray[np.bool_], place: I64, start: int, stop: int) -> PlainTree:
    arrays = named.arrays
    numbers = len(arrays["edges"])
    child = arrays["child"][start:stop].astype(np.int64)
    inner, column, left = child > 0, arrays["column"][start:stop], lefts[start:stop]
    threshold, missing, inside, codes = np.zeros(len(child)), left[:, 0].copy(), np.zeros(len(child), np.bool_), {}
    for i in np.flatnonzero(inner).tolist():
        j = int(column[i])
        if j < numbers:
            threshold[i] = named.threshold(j, left[i])
            continue
        bins, other = named.bins[j - numbers], bool(left[i, named.unseen[j - numbers]])
        codes[i] = np.flatnonzero(left[i, bins] != other)
        missing[i], inside[i] = left[i, named.missing[j - numbers]], not other
    return PlainTree(
        column=place[column], left=np.where(inner, child - start, -1), right=np.where(inner, child + 1 - start, -1), threshold=threshold, missing_left=missing,
        value=arrays["value"][start:stop], gain=arrays["gain"][start:stop], rows=arrays["node_rows"][start:stop], codes=codes, inside=inside,
    )  # fmt: skip


def model_of(plain: PlainTrees, *, where: str, target: str, made: dict[str, Any]) -> Model:
    """A model of boosted trees that predicts as these do.

    Raises BadFile where a tree is no tree, a column is split at more places than its bins tell apart, or names stand twice.
    """
    for t, tree in enumerate(plain.trees):
        _check(tree, len(plain.columns), plain.columns, f"{where}, tree {t}")
    names = [column.name for column in plain.columns]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice or "" in names:
        raise refused(f"columns without a name, or of the same one: {', '.join(map(repr, sorted(twice)))[:200]}", where, "Train with columns that have names of their own.")
    if target in names:
        raise refused(f"{target!r} is a column of the trees, and the target needs a name", where, "Give another: target=, or --target.")
    dense = [j for j, column in enumerate(plain.columns) if not column.category]
    categories = [j for j, column in enumerate(plain.columns) if column.category]
    edges = np.full((len(dense), NUMBERS), LAST)
    for i, j in enumerate(dense):
        edges[i] = _edges(plain, j, where)
    found = [_bins(plain, j, where) for j in categories]
    fitted, places = _encoded([plain.columns[j] for j in categories], found)
    place = np.empty(len(names), np.int64)
    place[dense + categories] = np.arange(len(names))
    empty = no_trees()
    arrays: dict[str, list[Any]] = {name: [array] for name, array in empty.items()}
    at = 0
    for tree in plain.trees:
        arrays["roots"].append(np.array([at], np.int64))
        own = _own_tree(tree, place, edges, dict(zip(categories, found, strict=True)), at)
        for name, array in own.items():
            arrays[name].append(array)
        at += len(own["value"])
    trees: State = {"edges": edges, "places": places, "base": plain.base}
    trees |= {name: np.concatenate(parts) for name, parts in arrays.items()}
    leaves = max((int((tree.left < 0).sum()) for tree in plain.trees), default=2)
    if leaves > 1 << 15:
        raise refused(f"a tree has {leaves:,} leaves", where, "Train smaller trees.", f"{1 << 15:,} leaves at most")
    learner = GradientBoosting(trees=max(1, len(plain.trees) // plain.outs), leaves=max(2, leaves), loss=plain.loss)  # type: ignore[arg-type]
    kind = "category" if plain.classes and isinstance(plain.classes[0], str) else "number"
    dtype = "double" if not plain.classes else "string" if kind == "category" else "bool" if isinstance(plain.classes[0], bool) else "int64"
    fields = [Field(name=column.name, kind="category" if column.category else "number", dtype=column.dtype, distinct=len(column.values)) for column in plain.columns]
    fields.append(Field(name=target, kind=kind, dtype=dtype, distinct=len(plain.classes), values=plain.classes))  # type: ignore[arg-type]
    task: Any = "number" if not plain.classes else "binary" if len(plain.classes) == 2 else "classes"
    schema = Schema(fields=tuple(fields), target=target, task=task, sampled=0)
    return Model(Then((OneHot(), learner)), schema, joined([(0, fitted), (1, trees)]), {}, made)


def _check(tree: PlainTree, columns: int, kinds: tuple[PlainColumn, ...], where: str) -> None:
    """Raise BadFile unless the nodes are one tree whose inner nodes ask for columns that are there."""
    n = len(tree.left)
    inner = tree.left >= 0
    if not n or (inner != (tree.right >= 0)).any():
        raise refused("a node has one child", where)
    children = np.concatenate([tree.left[inner], tree.right[inner]])
    if len(children) != n - 1 or (children >= n).any() or len(np.unique(children)) != len(children) or (children == 0).any():
        raise refused("its nodes are no tree: a child is named twice, not at all, or is not there", where)
    seen, front = 1, np.array([0])
    while len(front):  # each has one parent, but a circle aside hangs on no root
        front = front[inner[front]]
        front = np.concatenate([tree.left[front], tree.right[front]])
        seen += len(front)
    if seen != n:
        raise refused("its nodes are no tree: some go round in a circle", where)
    asked = tree.column[inner]
    if len(asked) and (asked.min() < 0 or asked.max() >= columns):
        raise refused(f"a node asks for column {int(asked[(asked < 0) | (asked >= columns)][0])}", where, allowed=f"0 to {columns - 1}")
    for i in np.flatnonzero(inner).tolist():
        if kinds[int(tree.column[i])].category != (i in tree.codes):
            raise refused(f"node {i} asks for a {'category' if i in tree.codes else 'number'} of column {kinds[int(tree.column[i])].name!r}, which holds others", where)
    if not np.isfinite(tree.value[~inner]).all():
        raise refused("the value of a leaf is not finite", where)
    plain_nodes = inner.copy()
    plain_nodes[list(tree.codes)] = False
    if not np.isfinite(tree.threshold[plain_nodes]).all():
        raise refused("a threshold is not finite", where)


def _nodes(plain: PlainTrees, j: int) -> list[tuple[PlainTree, I64]]:
    return [(tree, np.flatnonzero((tree.left >= 0) & (tree.column == j))) for tree in plain.trees]


def _edges(plain: PlainTrees, j: int, where: str) -> npt.NDArray[np.float64]:
    thresholds = np.unique(np.concatenate([np.zeros(0), *(tree.threshold[nodes] for tree, nodes in _nodes(plain, j))]) + 0.0)
    thresholds = thresholds[thresholds < LAST]
    if len(thresholds) > _MOST_EDGES:
        allowed = f"{_MOST_EDGES} at most, a byte a value"
        raise refused(f"column {plain.columns[j].name!r} is split at {len(thresholds):,} places", where, f"Train with fewer bins: max_bin={_MOST_EDGES}.", allowed)
    return np.concatenate([thresholds, np.full(NUMBERS - len(thresholds), LAST)])


def _bins(plain: PlainTrees, j: int, where: str) -> npt.NDArray[np.uint8]:
    """uint8 (values + 1,): a bin for each category, and last that of missing ones; those that go the same way everywhere share one, those that go as what was never seen 0."""
    column = plain.columns[j]
    count = len(column.values)
    group, fresh = np.zeros(count + 1, np.int64), 1  # 0: as what was never seen
    for tree, nodes in _nodes(plain, j):
        for i in nodes.tolist():
            codes = tree.codes[i]
            if len(codes) and (codes.min() < 0 or codes.max() >= count):
                raise refused(f"column {column.name!r} is split by category {int(codes.max())}", where, allowed=f"0 to {count - 1}")
            if tree.missing_left[i] == tree.inside[i]:
                codes = np.append(codes, count)
            before, which = np.unique(group[codes], return_inverse=True)
            group[codes] = fresh + which  # those that went one way so far, and go with these now
            fresh += len(before)
    groups, bins = np.unique(np.append(group, 0), return_inverse=True)
    if len(groups) > NUMBERS:
        raise refused(f"the categories of column {column.name!r} go {len(groups):,} different ways", where, "Train with fewer categories.", f"{NUMBERS} at most")
    return bins[:-1].astype(np.uint8)


def _encoded(columns: list[PlainColumn], found: list[npt.NDArray[np.uint8]]) -> tuple[State, npt.NDArray[np.uint8]]:
    """What OneHot would have found, and the bin of each of its slots."""
    texts, starts, missing, slots = list[bytes](), [0], list[bool](), list[npt.NDArray[np.uint8]]()
    for column, bins in zip(columns, found, strict=True):
        values = [value.encode() for value in column.values]
        order = sorted(range(len(values)), key=values.__getitem__)
        texts += [values[i] for i in order]
        starts.append(len(texts))
        missing.append(bool(bins[-1]))
        slots.append(bins[[*order, *([len(values)] if bins[-1] else [])]])
    width = sum(map(len, slots)) + 1
    places = np.zeros((len(columns), width if columns else 1), np.uint8)
    at = 0
    for k, own in enumerate(slots):
        places[k, at : at + len(own)] = own
        at += len(own)
    values_packed: State = {"values.bytes": np.frombuffer(b"".join(texts), np.uint8).copy(), "values.offsets": np.cumsum([0, *map(len, texts)]).astype(np.int64)}
    counted: State = {"starts": np.array(starts, np.int64), "missing": np.array(missing, np.bool_), "other": np.zeros(len(columns), np.bool_)}
    return pack_strings("columns", [column.name for column in columns]) | values_packed | counted, places if columns else np.zeros((0, 0), np.uint8)


def _own_tree(tree: PlainTree, place: I64, edges: npt.NDArray[np.float64], bins: Mapping[int, npt.NDArray[np.uint8]], at: int) -> State:
    """The tree's nodes as the model holds them: parents first, the two children of a node side by side."""
    old, child = [0], [0]
    for i in range(len(tree.left)):
        if tree.left[old[i]] >= 0:
            child[i] = at + len(old)
            old += [int(tree.left[old[i]]), int(tree.right[old[i]])]
            child += [0, 0]
    kept = np.array(old)
    inner = tree.left[kept] >= 0
    lefts, last = np.zeros((len(kept), NUMBERS), np.uint8), np.zeros(len(kept), np.int32)
    for i in np.flatnonzero(inner).tolist():
        node = old[i]
        j = int(tree.column[node])
        if node in tree.codes:
            inside = np.zeros(NUMBERS, np.bool_)
            inside[bins[j][tree.codes[node]]] = True
            if tree.missing_left[node] == tree.inside[node]:
                inside[bins[j][-1]] = True
            lefts[i] = inside == tree.inside[node]
            continue
        t = tree.threshold[node]
        last[i] = NUMBERS - 1 if t >= LAST else 1 + np.searchsorted(edges[place[j]], t)
        lefts[i, 1 : last[i] + 1] = 1
        lefts[i, 0] = tree.missing_left[node]
    return {
        "column": np.where(inner, place[tree.column[kept]], 0).astype(np.int32), "child": np.array(child, np.int32), "bin": last,
        "masks": np.packbits(lefts, axis=1, bitorder="little").view("<u8").astype(np.uint64), "value": np.where(inner, 0.0, tree.value[kept]),
        "gain": np.where(inner, tree.gain[kept], 0.0), "node_rows": tree.rows[kept].astype(np.int64),
    }  # fmt: skip
