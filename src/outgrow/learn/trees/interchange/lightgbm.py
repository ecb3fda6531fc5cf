"""LightGBM's model text (version v4, and v3, which differs in nothing that is read here). LightGBM itself is not needed.

What its own prediction does (`src/io/tree.cpp`, `include/LightGBM/tree.h`): a number goes left where it is ≤ the threshold, in float64. NaN goes to the default side where the
node's missing type is NaN; where it is None, NaN is read as 0. A category goes left where its code is in the node's set of bits; any other code, and NaN, goes right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ....core.errors import BadInput
from ..bins import LAST
from .plain import PlainColumn, PlainTree, PlainTrees, refused

__all__ = ["OBJECTIVES", "read", "written"]

OBJECTIVES = {"logistic": "binary sigmoid:1", "softmax": "multiclass num_class:{outs}", "squared": "regression", "poisson": "poisson"}
_LOSSES = {
    "binary": "logistic", "multiclass": "softmax", "regression": "squared", "regression_l1": "squared", "huber": "squared", "fair": "squared", "quantile": "squared",
    "mape": "squared", "poisson": "poisson", "gamma": "poisson", "tweedie": "poisson",
}  # fmt: skip
_CATEGORY, _DEFAULT_LEFT, _MISSING = 1, 2, 3  # a bit, a bit, and two bits further on: None, Zero, NaN
_LARGEST = 1 << 20  # codes of a set of bits at most


def _numbers(values: Sequence[Any] | npt.NDArray[Any]) -> str:
    return " ".join(format(value, ".17g") if isinstance(value, float) else str(value) for value in np.asarray(values).tolist())


def written(plain: PlainTrees) -> tuple[str, dict[str, Any]]:
    """The model as LightGBM writes it, and what whoever feeds it has to know: `categories`, the values of each column by code; `names`, of columns that are called otherwise.

    The base score is added to the leaves of the first round, as LightGBM does, so that scores are the same bits. A column whose missing values go another way than values never
    seen has a code of its own for them, behind the others: None in `categories`.
    """
    if plain.loss not in OBJECTIVES:
        raise BadInput(f"LightGBM has no objective for the loss {plain.loss!r}", allowed=", ".join(OBJECTIVES))
    names = [re.sub(r'[\s,:\[\]{}"]', "_", column.name) or "_" for column in plain.columns]
    if len(set(names)) < len(names):
        raise BadInput("two columns have one name in LightGBM's text, which holds no blanks or signs", todo="Rename them before training.")
    trees = [_tree_text(plain, t) for t in range(max(len(plain.trees), plain.outs))]
    objective = OBJECTIVES[plain.loss].format(outs=plain.outs)
    codes = [[*column.values, *([None] if column.missing else [])] for column in plain.columns]
    infos = ["none" if not column.category else ":".join(map(str, range(len(own)))) if len(own) > 1 else "0:0" for column, own in zip(plain.columns, codes, strict=True)]
    infos = ["[-1e+300:1e+300]" if info == "none" else info for info in infos]
    head = [
        "tree", "version=v4", f"num_class={plain.outs}", f"num_tree_per_iteration={plain.outs}", "label_index=0", f"max_feature_idx={len(names) - 1}", f"objective={objective}",
        f"feature_names={' '.join(names)}", f"feature_infos={' '.join(infos)}", f"tree_sizes={' '.join(str(len(text.encode())) for text in trees)}", "", "",
    ]  # fmt: skip
    tail = "end of trees\n\nfeature_importances:\n\nparameters:\n\nend of parameters\n"
    labels = [["missing value" if value is None else value for value in own] for column, own in zip(plain.columns, codes, strict=True) if column.category]
    record = {
        "categories": {column.name: own for column, own in zip(plain.columns, codes, strict=True) if column.category},
        "names": {column.name: name for column, name in zip(plain.columns, names, strict=True) if column.name != name},
    }
    return "\n".join(head) + "".join(trees) + tail + f"\npandas_categorical:{json.dumps(labels) if labels else 'null'}\n", record


def _tree_text(plain: PlainTrees, t: int) -> str:
    base = float(plain.base[t % plain.outs]) if t < plain.outs else 0.0
    if t >= len(plain.trees):  # no tree was grown: the base score alone
        return f"Tree={t}\n{_stump(base, 0)}\n\n"
    tree = plain.trees[t]
    inner = np.flatnonzero(tree.left >= 0)
    leaves = np.flatnonzero(tree.left < 0)
    values = base + tree.value[leaves]
    if not len(inner):
        return f"Tree={t}\n{_stump(float(values[0]), int(tree.rows[0]))}\n\n"
    number = np.empty(len(tree.left), np.int64)
    number[inner], number[leaves] = np.arange(len(inner)), ~np.arange(len(leaves))
    thresholds, kinds, bounds, bits = list[float](), list[int](), [0], list[int]()
    left, right = tree.left.copy(), tree.right.copy()
    for i in inner.tolist():
        if i not in tree.codes:
            thresholds.append(float(tree.threshold[i]))
            kinds.append(2 << 2 | _DEFAULT_LEFT * int(tree.missing_left[i]))
            continue
        codes, column = tree.codes[i].tolist(), plain.columns[int(tree.column[i])]
        if column.missing and tree.missing_left[i] == tree.inside[i]:
            codes.append(len(column.values))
        if not tree.inside[i]:  # what is in the set goes left there, and all else right
            left[i], right[i] = right[i], left[i]
        words = [0] * (max(codes, default=0) // 32 + 1)
        for code in codes:
            words[code // 32] |= 1 << code % 32
        thresholds.append(float(len(bounds) - 1))
        kinds.append(_CATEGORY)
        bits += words
        bounds.append(len(bits))
    inside = _means(tree)
    lines = {
        "num_leaves": str(len(leaves)), "num_cat": str(len(bounds) - 1), "split_feature": _numbers(tree.column[inner]), "split_gain": _numbers(tree.gain[inner]),
        "threshold": _numbers(thresholds), "decision_type": _numbers(kinds), "left_child": _numbers(number[left[inner]]), "right_child": _numbers(number[right[inner]]),
        "leaf_value": _numbers(values), "leaf_weight": _numbers(tree.rows[leaves]), "leaf_count": _numbers(tree.rows[leaves]),
        "internal_value": _numbers(base + inside[inner]), "internal_weight": _numbers(tree.rows[inner]), "internal_count": _numbers(tree.rows[inner]),
    }  # fmt: skip
    if len(bounds) > 1:
        lines |= {"cat_boundaries": _numbers(bounds), "cat_threshold": _numbers(bits)}
    lines |= {"is_linear": "0", "shrinkage": "1"}
    return f"Tree={t}\n" + "".join(f"{name}={text}\n" for name, text in lines.items()) + "\n\n"


def _stump(value: float, rows: int) -> str:
    empty = "".join(f"{name}=\n" for name in ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child"))
    rest = "".join(f"{name}=\n" for name in ("internal_value", "internal_weight", "internal_count"))
    return f"num_leaves=1\nnum_cat=0\n{empty}leaf_value={value:.17g}\nleaf_weight=\nleaf_count={rows}\n{rest}is_linear=0\nshrinkage=1\n"


def _means(tree: PlainTree) -> npt.NDArray[np.float64]:
    """The mean value of the rows below each node."""
    found = np.where(tree.left < 0, tree.value, 0.0)
    for i in range(len(found) - 1, -1, -1):  # children come after their parents
        if tree.left[i] >= 0:
            one, two = int(tree.rows[tree.left[i]]), int(tree.rows[tree.right[i]])
            share = one / (one + two) if one + two else 0.5
            found[i] = share * found[tree.left[i]] + (1 - share) * found[tree.right[i]]
    return found


def read(text: str, where: str) -> PlainTrees:
    """The trees of a model text.

    Raises BadFile naming the place for a text that is cut short, damaged or hostile, and for what a model of boosted trees does not say: linear trees, other objectives, zeros
    that stand for missing values.
    """
    head, *blocks = re.split(r"^Tree=", text.partition("\nend of trees")[0], flags=re.MULTILINE)
    if not head.startswith("tree\n"):
        if head.lstrip().startswith("{"):
            raise refused("this is a JSON dump", where, "Write the model's text: booster.save_model('model.txt').")
        raise refused("this is no model text of LightGBM (its first line is not 'tree')", where, "Write one: booster.save_model('model.txt').")
    if "\nend of trees" not in text:
        raise refused("the text ends before its trees do", where)
    found = _lines(head)
    version = found.get("version", "")
    if version not in ("v3", "v4"):
        raise refused(f"it has version {version!r}", where, "Load it with a LightGBM of version 3 or 4, and save it again.", "v3, v4")
    loss, sigmoid, objective = _objective(found, where)
    names = found.get("feature_names", "").split(" ")
    infos = found.get("feature_infos", "").split(" ")
    outs = _whole(found, "num_tree_per_iteration", where, 1, max(1, len(blocks)))
    if not blocks or len(blocks) % outs:
        raise refused(f"{len(blocks)} trees do not make rounds of {outs}", where)
    if outs > 1 and loss != "softmax":
        raise refused(f"objective {objective!r} has {outs} trees a round", where, "Train with objective='multiclass'.")
    if _whole(found, "max_feature_idx", where, 0, len(names)) + 1 != len(names) or len(infos) != len(names):
        raise refused(f"{len(names)} names of features and {len(infos)} descriptions do not fit max_feature_idx={found['max_feature_idx']}", where)
    scale = sigmoid / (len(blocks) // outs if "average_output" in found else 1)
    trees = [_tree(block, k, scale, f"{where}, tree {k}") for k, block in enumerate(blocks)]
    columns = _columns(names, infos, trees, text, where)
    classes = () if loss in ("squared", "poisson") else tuple(range(max(2, outs)))
    return PlainTrees(columns=columns, trees=trees, outs=outs, loss=loss, base=np.zeros(outs), classes=classes, objective=objective)


def _lines(block: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in block.splitlines())}


def _objective(found: dict[str, str], where: str) -> tuple[str, float, str]:
    objective = found.get("objective", "")
    name, *settings = objective.split(" ")
    if name not in _LOSSES or "sqrt" in settings:
        raise refused(f"objective is {objective!r}", where, "Its scores are turned into predictions in a way that boosted trees here do not know.", ", ".join(_LOSSES))
    sigmoid = 1.0
    for setting in settings:
        if setting.startswith("sigmoid:"):
            try:
                sigmoid = float(setting[8:])
            except ValueError:
                sigmoid = -1.0
            if not 0 < sigmoid < 1e6:
                raise refused(f"objective is {objective!r}", where, allowed="a sigmoid above 0")
    return _LOSSES[name], sigmoid, objective


def _whole(found: dict[str, str], name: str, where: str, low: int, high: int) -> int:
    text = found.get(name, "")
    if not re.fullmatch(r"-?\d{1,18}", text) or not low <= int(text) <= high:
        raise refused(f"{name} is {text[:40]!r}", where, allowed=f"a whole number from {low} to {high}")
    return int(text)


def _array(found: dict[str, str], name: str, count: int, dtype: Any, where: str) -> npt.NDArray[Any]:
    parts = found.get(name, "").split()
    if len(parts) != count:
        raise refused(f"{name} has {len(parts):,} values, and {count:,} are due", where)
    try:
        return np.array([int(part) if dtype is np.int64 else float(part) for part in parts], dtype)
    except (ValueError, OverflowError):
        raise refused(f"{name} holds what is no number of its kind", where) from None


def _tree(block: str, k: int, scale: float, where: str) -> PlainTree:
    number, _, rest = block.partition("\n")
    found = _lines(rest)
    if number.strip() != str(k):
        raise refused(f"it is called Tree={number[:20]}", where)
    if found.get("is_linear", "0").strip() not in ("0", ""):
        raise refused("it is linear", where, "Train without linear_tree: leaves hold one value each.")
    leaves = _whole(found, "num_leaves", where, 1, 1 << 24)
    sets = _whole(found, "num_cat", where, 0, max(0, leaves - 1))
    value = scale * _array(found, "leaf_value", leaves, np.float64, where)
    inner = leaves - 1
    counts = _array(found, "leaf_count", leaves, np.int64, where) if found.get("leaf_count") else np.zeros(leaves, np.int64)
    inner_counts = _array(found, "internal_count", inner, np.int64, where) if found.get("internal_count") else np.zeros(inner, np.int64)
    left, right = (_array(found, name, inner, np.int64, where) for name in ("left_child", "right_child"))
    for child in (left, right):
        if len(child) and (child.max() >= inner or child.min() < -leaves):
            raise refused(f"a child is {int(child.max() if child.max() >= inner else child.min())}", where, allowed=f"-{leaves} to {inner - 1}")
    kinds = _array(found, "decision_type", inner, np.int64, where)
    threshold = _array(found, "threshold", inner, np.float64, where)
    threshold[threshold == np.inf] = LAST  # missing values alone go right
    categories = (kinds & _CATEGORY).astype(np.bool_)
    missing = kinds >> 2 & _MISSING
    if (missing[~categories] == 1).any():
        raise refused("its zeros stand for missing values", where, "Train without zero_as_missing.")
    if len(kinds) and ((missing > 2).any() or kinds.min() < 0 or kinds.max() > 15):
        raise refused("decision_type holds an unknown kind of split", where)
    default = np.where(missing == 2, (kinds & _DEFAULT_LEFT) > 0, threshold >= 0.0)
    both = np.concatenate([left, right])
    both = np.where(both < 0, inner + ~both, both)  # leaves behind the inner nodes
    none = np.full(leaves, -1, np.int64)
    zeros = np.zeros(leaves)
    return PlainTree(
        column=np.concatenate([_array(found, "split_feature", inner, np.int64, where), np.zeros(leaves, np.int64)]), left=np.concatenate([both[:inner], none]),
        right=np.concatenate([both[inner:], none]), threshold=np.concatenate([threshold, zeros]),
        missing_left=np.concatenate([default & ~categories, np.zeros(leaves, np.bool_)]), value=np.concatenate([np.zeros(inner), value]),
        gain=np.concatenate([np.nan_to_num(_array(found, "split_gain", inner, np.float64, where)), zeros]), rows=np.maximum(0, np.concatenate([inner_counts, counts])),
        codes=_codes(found, sets, categories, threshold, where), inside=np.concatenate([categories, np.zeros(leaves, np.bool_)]),
    )  # fmt: skip


def _codes(found: dict[str, str], sets: int, categories: npt.NDArray[np.bool_], threshold: npt.NDArray[np.float64], where: str) -> dict[int, npt.NDArray[np.int64]]:
    """The codes that go left at each node that asks for a category."""
    nodes = np.flatnonzero(categories).tolist()
    if not nodes:
        return {}
    bounds = _array(found, "cat_boundaries", sets + 1, np.int64, where)
    words = _array(found, "cat_threshold", len(found.get("cat_threshold", "").split()), np.int64, where)
    if bounds[0] != 0 or (np.diff(bounds) < 0).any() or bounds[-1] != len(words) or (len(words) and (words.min() < 0 or words.max() >= 1 << 32)):
        raise refused("cat_boundaries and cat_threshold do not fit together", where)
    if len(words) and np.diff(bounds).max() * 32 > _LARGEST:
        raise refused(f"a set of categories has {int(np.diff(bounds).max()) * 32:,} bits", where, "Number the categories from 0.", f"{_LARGEST:,}")
    if len(np.unique(threshold[nodes])) < len(nodes):
        raise refused("two nodes ask for one set of categories", where)
    codes = {}
    for node in nodes:
        at = threshold[node]
        if not 0 <= at < sets or at != int(at):
            raise refused(f"node {node} asks for set {at} of categories", where, allowed=f"0 to {sets - 1}")
        own = words[bounds[int(at)] : bounds[int(at) + 1]].astype("<u4")
        codes[node] = np.flatnonzero(np.unpackbits(own.view(np.uint8), bitorder="little"))
    return codes


def _columns(names: list[str], infos: list[str], trees: list[PlainTree], text: str, where: str) -> tuple[PlainColumn, ...]:
    """The columns; the values of categories by code from what pandas called them, else the codes themselves."""
    asked = {int(tree.column[i]) for tree in trees for i in tree.codes}
    listed = re.search(r"^pandas_categorical:(.*)$", text, re.MULTILINE)
    try:
        named = json.loads(listed[1]) if listed else None
    except (ValueError, RecursionError):
        raise refused("pandas_categorical is no JSON", where) from None
    kinds = [j in asked or (info[:1] != "[" and info != "none") for j, info in enumerate(infos)]
    if named and (not isinstance(named, list) or len(named) != sum(kinds) or not all(isinstance(own, list) for own in named)):
        todo = "Train without columns of one category, and name categories by the type of the frame's columns alone."
        raise refused(f"pandas_categorical lists {len(named):,} columns, and {sum(kinds)} are of categories", where, todo)
    columns, turn = [], iter(named or [])
    for j, (name, info) in enumerate(zip(names, infos, strict=True)):
        if not kinds[j]:
            columns.append(PlainColumn(name=name))
            continue
        values = next(turn, None)
        if values is None:
            seen = {int(part) for part in info.split(":") if re.fullmatch(r"\d{1,7}", part) and int(part) < _LARGEST}
            most = max([*seen, *(int(codes.max()) for tree in trees for i, codes in tree.codes.items() if tree.column[i] == j and len(codes))], default=0)
            values = list(range(most + 1))
        texts = [_text(value) for value in values]
        if len(set(texts)) < len(texts):
            raise refused(f"two categories of column {name!r} read alike", where, "Rename them, and train again.")
        types = {type(value) for value in values}
        dtype = "bool" if types == {bool} else "int64" if types == {int} else "double" if types and types <= {int, float} else "string"
        columns.append(PlainColumn(name=name, category=True, values=tuple(texts), dtype=dtype))
    return tuple(columns)


def _text(value: object) -> str:
    """The text of a category, as Arrow prints its value."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
