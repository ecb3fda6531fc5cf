"""XGBoost's JSON model (releases 1.6 to 3). XGBoost itself is not needed.

What its own prediction does (`src/predictor`, `include/xgboost/tree_model.h`, `src/common/categorical.h`): a number is rounded to float32 and goes left where it is < the
threshold, a float32. NaN goes to the default side. A category goes right where its code is in the node's list, and left where it is not. The base score is told as a
prediction and put through the link's inverse.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ....core.errors import BadFile, BadInput
from ..bins import LAST
from .plain import PlainColumn, PlainTree, PlainTrees, no_tree, refused

__all__ = ["below", "read", "written"]

_OBJECTIVES = {"logistic": "binary:logistic", "softmax": "multi:softprob", "squared": "reg:squarederror", "poisson": "count:poisson"}
_LOSSES = {
    "binary:logistic": "logistic", "multi:softprob": "softmax", "multi:softmax": "softmax", "reg:squarederror": "squared", "reg:linear": "squared",
    "reg:pseudohubererror": "squared", "reg:absoluteerror": "squared", "reg:quantileerror": "squared", "count:poisson": "poisson", "reg:gamma": "poisson", "reg:tweedie": "poisson",
}  # fmt: skip
_SETTINGS = {"logistic": "reg_loss_param", "squared": "reg_loss_param", "softmax": "softmax_multiclass_param", "poisson": "poisson_regression_param"}
_NO_PARENT = 2147483647
_LARGEST = 1 << 20  # codes of categories
F64 = npt.NDArray[np.float64]


def below(thresholds: F64) -> F64:
    """The largest float64 that float32 rounds to below each of these: numbers up to it are < the threshold for XGBoost. thresholds: float32 values, finite."""
    after = thresholds.astype(np.float32)
    before = np.nextafter(after, np.float32(-np.inf))
    middle = before.astype(np.float64) + 0.5 * (after.astype(np.float64) - before.astype(np.float64))
    even = (before.view(np.uint32) & 1) == 0  # a number halfway goes to the one whose last bit is 0
    found: F64 = np.where(np.isfinite(before), np.where(even, middle, np.nextafter(middle, -np.inf)), -LAST)
    return found


def _above(threshold: float, exact: bool) -> float:
    """The least float32 above a threshold (exact: rows hold float32), or above what the threshold rounds to; the largest one where none is finite."""
    with np.errstate(over="ignore"):
        near = np.float32(threshold)
        if not exact or float(near) <= threshold:
            near = np.nextafter(near, np.float32(np.inf))
    return float(near) if np.isfinite(near) else float(np.finfo(np.float32).max)


def written(plain: PlainTrees) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model as XGBoost's JSON, and what whoever feeds it has to know, as `lightgbm.written` tells it.

    The base score is added to the leaves of the first round. Rows of float32 fall into the same leaves; of a float64 column, a value that float32 cannot tell from a threshold
    goes left, as the threshold itself does. Where the trees have another way for missing values than for those never seen, NaN is given that way.
    """
    if plain.loss not in _OBJECTIVES:
        raise BadInput(f"XGBoost has no objective for the loss {plain.loss!r}", allowed=", ".join(_OBJECTIVES))
    names = [column.name.translate(str.maketrans("[]<", "___")) for column in plain.columns]
    if len(set(names)) < len(names):
        raise BadInput("two columns have one name in XGBoost, whose names hold none of [, ] and <", todo="Rename them before training.")
    trees = [_tree_json(plain, t, len(names)) for t in range(max(len(plain.trees), plain.outs))]
    info = [t % plain.outs for t in range(len(trees))]
    classes = str(plain.outs) if plain.loss == "softmax" else "0"
    settings: dict[str, str] = {
        "reg_loss_param": {"scale_pos_weight": "1"}, "softmax_multiclass_param": {"num_class": classes}, "poisson_regression_param": {"max_delta_step": "0.7"},
    }[_SETTINGS[plain.loss]]  # fmt: skip
    start = {"logistic": "5E-1", "poisson": "1E0"}.get(plain.loss, "0E0")
    learner = {
        "attributes": {}, "feature_names": names, "feature_types": ["c" if column.category else "float" for column in plain.columns],
        "gradient_booster": {
            "model": {
                "cats": _known(plain.columns),
                "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))}, "iteration_indptr": list(range(0, len(trees) + 1, plain.outs)), "tree_info": info,
                "trees": trees,
            },
            "name": "gbtree",
        },
        "learner_model_param": {"base_score": start, "boost_from_average": "1", "num_class": classes, "num_feature": str(len(names)), "num_target": "1"},
        "objective": {"name": _OBJECTIVES[plain.loss], _SETTINGS[plain.loss]: settings},
    }  # fmt: skip
    record = {
        "categories": {column.name: list(column.values) for column in plain.columns if column.category},
        "names": {column.name: name for column, name in zip(plain.columns, names, strict=True) if column.name != name},
    }
    return {"learner": learner, "version": [2, 1, 0]}, record


def _known(columns: tuple[PlainColumn, ...]) -> dict[str, Any]:
    """The texts of categories by code, as releases from 3.1 on hold them; earlier ones leave them unread."""
    enc, order = [], list[int]()
    for column in columns:
        raw = [value.encode() for value in column.values]
        offsets = np.cumsum([0, *map(len, raw)]).tolist() if raw else []
        enc.append({"offsets": offsets, "values": np.frombuffer(b"".join(raw), np.int8).tolist()})
        order += sorted(range(len(raw)), key=raw.__getitem__)
    return {"enc": enc, "feature_segments": np.cumsum([0, *(len(column.values) for column in columns)]).tolist(), "sorted_idx": order}


def _tree_json(plain: PlainTrees, t: int, features: int) -> dict[str, Any]:
    base = float(plain.base[t % plain.outs]) if t < plain.outs else 0.0
    tree = plain.trees[t] if t < len(plain.trees) else no_tree()
    n = len(tree.left)
    left, right, column = [-1] * n, [-1] * n, [0] * n
    condition, default, kinds, parents = [base] * n, [0] * n, [0] * n, [_NO_PARENT] * n
    gain, rows, codes, segments, sizes = [0.0] * n, [0.0] * n, list[int](), list[int](), list[int]()
    order = [0]  # its prediction takes the right child to be next to the left one
    for at, i in enumerate(order):
        rows[at] = float(tree.rows[i])
        if tree.left[i] < 0:
            condition[at] = base + float(tree.value[i])
            continue
        turned = i in tree.codes and bool(tree.inside[i])  # what is in the list goes right there, and all else left
        left[at], right[at], column[at], gain[at] = len(order), len(order) + 1, int(tree.column[i]), float(tree.gain[i])
        parents[left[at]] = parents[right[at]] = at
        default[at] = int(tree.missing_left[i] != turned)
        order += [int(tree.right[i]), int(tree.left[i])] if turned else [int(tree.left[i]), int(tree.right[i])]
        if i in tree.codes:
            kinds[at], condition[at] = 1, 0.0
            segments.append(len(codes))
            sizes.append(len(tree.codes[i]))
            codes += tree.codes[i].tolist()
        else:
            condition[at] = _above(float(tree.threshold[i]), plain.columns[column[at]].dtype in ("float", "halffloat"))
    return {
        "base_weights": [0.0] * n, "categories": codes, "categories_nodes": [i for i, kind in enumerate(kinds) if kind], "categories_segments": segments, "categories_sizes": sizes,
        "default_left": default, "id": t, "left_children": left, "loss_changes": gain, "parents": parents, "right_children": right, "split_conditions": condition,
        "split_indices": column, "split_type": kinds, "sum_hessian": rows,
        "tree_param": {"num_deleted": "0", "num_feature": str(features), "num_nodes": str(n), "size_leaf_vector": "1"},
    }  # fmt: skip


def read(whole: dict[str, Any], where: str) -> PlainTrees:
    """The trees of a model's JSON. Raises BadFile naming the place for one that is damaged or hostile, and for boosters and objectives that are not known here."""
    try:
        learner = whole["learner"]
        booster, objective, params = learner["gradient_booster"], str(learner["objective"]["name"]), learner["learner_model_param"]
        name = booster["name"]
        if name != "gbtree":
            raise refused(f"its booster is {name!r}", where, "Train with booster='gbtree'.", "gbtree")
        if objective not in _LOSSES:
            raise refused(
                f"objective is {objective!r}", where, "Its scores are turned into predictions in a way that boosted trees here do not know.", ", ".join(_LOSSES)
            )  # fmt: skip
        loss, model = _LOSSES[objective], booster["model"]
        outs = int(params["num_class"]) if loss == "softmax" else 1
        listed, info = model["trees"], [int(k) for k in model["tree_info"]]
        if outs < 1 or outs > max(1, len(listed)) or len(info) != len(listed) or not listed or not all(0 <= k < outs for k in info) or int(params.get("num_target", 1)) > 1:
            raise refused(f"{len(listed)} trees, {len(info)} of them told whose, are none of {outs} outputs", where)
        features = int(params["num_feature"])
        names = [str(own) for own in learner.get("feature_names") or []]
        kinds = [str(own) for own in learner.get("feature_types") or []]
        if not names and 0 < features < 1 << 20:
            names = [f"f{j}" for j in range(features)]
        kinds = kinds or ["float"] * len(names)
        if features != len(names) or len(kinds) != features or not features:
            raise refused(f"{len(names)} names and {len(kinds)} types do not fit num_feature={features}", where)
        trees = [_tree(tree, f"{where}, tree {t}") for t, tree in enumerate(listed)]
        columns = _columns(names, kinds, trees, model.get("cats") or {}, where)
        base = _base(params["base_score"], loss, outs, where)
    except BadFile:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise refused(f"the JSON is not laid out as XGBoost's ({type(error).__name__}: {error})"[:300], where) from None
    order = [[tree for tree, k in zip(trees, info, strict=True) if k == out] for out in range(outs)]
    rounds = max(map(len, order))
    turned = [own[r] if r < len(own) else no_tree() for r in range(rounds) for own in order]
    classes = () if loss in ("squared", "poisson") else tuple(range(max(2, outs)))
    return PlainTrees(columns=columns, trees=turned, outs=outs, loss=loss, base=base, classes=classes, objective=objective)


def _base(told: Any, loss: str, outs: int, where: str) -> F64:
    """float64 (outs,): the base score before the link. Releases before 3.1 tell one number, later ones a list as text."""
    parts = [float(part) for part in str(told).strip("[]").split(",")]
    if len(parts) not in (1, outs) or not all(map(math.isfinite, parts)):
        raise refused(f"base_score is {str(told)[:60]!r}", where, allowed=f"one finite number, or {outs}")
    if loss == "logistic" and not 0 < parts[0] < 1:
        raise refused(f"base_score is {parts[0]}", where, allowed="a chance above 0 and below 1")
    if loss == "poisson" and not parts[0] > 0:
        raise refused(f"base_score is {parts[0]}", where, allowed="a number above 0")
    told32 = np.array(parts, np.float32).astype(np.float64)
    found = np.log(told32 / (1 - told32)) if loss == "logistic" else np.log(told32) if loss == "poisson" else told32
    return np.repeat(found, outs) if len(parts) < outs else found


def _array(tree: dict[str, Any], name: str, dtype: Any, count: int | None, where: str) -> npt.NDArray[Any]:
    found = np.array(tree[name])
    if found.ndim != 1 or (found.dtype.kind not in "iufb" and len(found)) or (count is not None and len(found) != count):
        raise refused(f"{name} is no list of {'' if count is None else f'{count} '}numbers", where)
    return found.astype(dtype)


def _tree(tree: dict[str, Any], where: str) -> PlainTree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise refused("its leaves hold several values", where, "Train with multi_strategy='one_output_per_tree'.")
    left = _array(tree, "left_children", np.int64, None, where)
    n = len(left)
    right, column, default, kinds = (_array(tree, name, np.int64, n, where) for name in ("right_children", "split_indices", "default_left", "split_type"))
    told = _array(tree, "split_conditions", np.float64, n, where)
    inner = left >= 0
    with np.errstate(over="ignore"):
        condition = told.astype(np.float32).astype(np.float64)
    if not np.isfinite(condition[(kinds == 0) | ~inner]).all():
        raise refused("a threshold, or the value of a leaf, is not finite", where)
    weight = _array(tree, "sum_hessian", np.float64, n, where)
    nodes, starts, sizes, codes = (_array(tree, name, np.int64, None, where) for name in ("categories_nodes", "categories_segments", "categories_sizes", "categories"))
    asked = np.flatnonzero(inner & (kinds == 1))
    if nodes.tolist() != asked.tolist() or len(starts) != len(nodes) or len(sizes) != len(nodes) or (kinds > 1).any() or (kinds < 0).any():
        raise refused("its splits by category are not those that it lists", where)
    outside = (starts < 0) | (sizes < 0) | (sizes > len(codes)) | (starts > len(codes) - sizes)
    if outside.any() or sizes.sum() > len(codes) or (codes < 0).any() or (codes >= _LARGEST).any():
        raise refused("its lists of categories do not fit together", where)
    sets = {int(node): np.unique(codes[start : start + size]) for node, start, size in zip(nodes, starts, sizes, strict=True)}
    rows = np.where(np.isfinite(weight), np.clip(np.ceil(weight), 0, 1 << 53), 0).astype(np.int64)  # XGBoost counts no rows: hessians in their place
    threshold = np.where(inner, below(np.where(np.isfinite(condition), condition, 0.0)), 0.0)
    return PlainTree(
        column=column, left=left, right=right, threshold=threshold, missing_left=default > 0, value=np.where(inner, 0.0, condition),
        gain=np.nan_to_num(_array(tree, "loss_changes", np.float64, n, where)), rows=rows, codes=sets, inside=np.zeros(n, np.bool_),
    )  # fmt: skip


def _columns(names: list[str], kinds: list[str], trees: list[PlainTree], cats: dict[str, Any], where: str) -> tuple[PlainColumn, ...]:
    """The columns; the values of categories by code where the model holds them (release 3.1 on), else the codes themselves."""
    columns = []
    known = cats.get("enc") or []
    most = np.full(len(names), -1, np.int64)
    for tree in trees:
        for node, codes in tree.codes.items():
            if not 0 <= tree.column[node] < len(names):
                raise refused(f"a node asks for column {int(tree.column[node])}", where, allowed=f"0 to {len(names) - 1}")
            most[tree.column[node]] = max(most[tree.column[node]], codes.max(initial=-1))
    for j, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        if kind not in ("c", "categorical") and most[j] < 0:
            columns.append(PlainColumn(name=name))
            continue
        texts, dtype = _values(known[j] if j < len(known) else {})
        if not texts:
            texts, dtype = [str(code) for code in range(int(most[j]) + 1)], "int64"
        if len(set(texts)) < len(texts):
            raise refused(f"two categories of column {name!r} read alike", where, "Rename them, and train again.")
        columns.append(PlainColumn(name=name, category=True, values=tuple(texts), dtype=dtype))
    return tuple(columns)


def _values(told: dict[str, Any]) -> tuple[list[str], str]:
    """Texts of categories, and their type: from bytes with offsets, or numbers."""
    values, offsets = told.get("values") or [], told.get("offsets")
    if offsets:
        raw = bytes(value & 0xFF for value in values)
        return [raw[a:b].decode() for a, b in pairwise(offsets)], "string"
    whole = all(type(value) is int for value in values)
    return [str(int(value)) if float(value).is_integer() else str(value) for value in values], "int64" if whole else "double"
