"""Trees as an ONNX model in float64: operator TreeEnsemble of ai.onnx.ml 5, and the link behind it. Needs the package onnx (extra: onnx)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ....core.errors import BadInput, Refused
from .plain import PlainTrees

__all__ = ["written"]

_LINKS = {"logistic": "Sigmoid", "softmax": "Softmax", "squared": "Identity", "poisson": "Exp"}
_AT_MOST, _MEMBER = 0, 6  # modes of a node: x ≤ split, and x is one of a set
_SUM = 1
_IR = 10  # of opset 21, which onnxruntime 1.20 reads


class _Nodes:
    """The attributes of TreeEnsemble, node by node."""

    def __init__(self) -> None:
        self.features, self.modes, self.splits, self.members = list[int](), list[int](), list[float](), list[float]()
        self.true, self.true_leaf, self.false, self.false_leaf, self.missing = list[int](), list[int](), list[int](), list[int](), list[int]()
        self.targets, self.values, self.roots = list[int](), list[float](), list[int]()

    def leaf(self, target: int, value: float) -> int:
        self.targets.append(target)
        self.values.append(value)
        return len(self.values) - 1

    def node(self, feature: int, mode: int, split: float, missing: bool) -> int:
        self.splits.append(split)
        for items, item in ((self.features, feature), (self.modes, mode), (self.missing, int(missing))):
            items.append(item)
        for items in (self.true, self.true_leaf, self.false, self.false_leaf):
            items.append(0)
        return len(self.features) - 1


def written(plain: PlainTrees) -> tuple[bytes, dict[str, Any]]:
    """The model's bytes, and what whoever feeds it has to know.

    Input ``rows``: double (n, columns), NaN where missing, a category by its code, any other number where it was never seen. Output ``probability``, double (n, 1) of the second
    of two classes, or (n, classes); or ``prediction``, double (n, 1). Columns, categories and classes lie in the file's metadata too.

    Raises BadInput for a loss without a link here, Refused where onnx is not installed.
    """
    if plain.loss not in _LINKS:
        raise BadInput(f"there is no ONNX graph for the loss {plain.loss!r}", allowed=", ".join(_LINKS))
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise Refused("writing ONNX needs the package onnx", where="onnx", todo="Install it: pip install 'outgrow[onnx]'.") from None
    nodes = _nodes(plain)

    def tensor(values: Any, dtype: Any) -> Any:
        return numpy_helper.from_array(np.array(values, dtype))

    members = {"membership_values": tensor(nodes.members, np.float64)} if nodes.members else {}
    ensemble = helper.make_node(
        "TreeEnsemble", ["rows"], ["sums"], domain="ai.onnx.ml", n_targets=plain.outs, aggregate_function=_SUM, post_transform=0, tree_roots=nodes.roots,
        nodes_splits=tensor(nodes.splits, np.float64), nodes_featureids=nodes.features, nodes_modes=tensor(nodes.modes, np.uint8), nodes_truenodeids=nodes.true,
        nodes_trueleafs=nodes.true_leaf, nodes_falsenodeids=nodes.false, nodes_falseleafs=nodes.false_leaf, nodes_missing_value_tracks_true=nodes.missing,
        leaf_targetids=nodes.targets, leaf_weights=tensor(nodes.values, np.float64), **members,
    )  # fmt: skip
    name = "probability" if plain.loss in ("logistic", "softmax") else "prediction"
    graph = helper.make_graph(
        [ensemble, helper.make_node("Add", ["sums", "base"], ["scores"]), helper.make_node(_LINKS[plain.loss], ["scores"], [name])], "trees",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, ["n", len(plain.columns)])], [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n", plain.outs])],
        [numpy_helper.from_array(plain.base.reshape(1, -1).astype(np.float64), "base")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)], ir_version=_IR, producer_name="outgrow")
    categories = {column.name: list(column.values) for column in plain.columns if column.category}
    told = {"columns": [column.name for column in plain.columns], "categories": categories, "classes": list(plain.classes)}
    helper.set_model_props(model, {key: json.dumps(value, ensure_ascii=False) for key, value in told.items()})
    checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data, {"categories": categories, "names": {}}


def _nodes(plain: PlainTrees) -> _Nodes:
    found = _Nodes()
    for t in range(max(len(plain.trees), 1)):
        target = t % plain.outs
        tree = plain.trees[t] if t < len(plain.trees) else None
        if tree is None or len(tree.left) == 1:  # both sides of a node are the one leaf
            at = found.node(0, _AT_MOST, 0.0, False)
            found.true[at] = found.false[at] = found.leaf(target, float(tree.value[0]) if tree is not None else 0.0)
            found.true_leaf[at] = found.false_leaf[at] = 1
            found.roots.append(at)
            continue
        places = {}
        for i in np.flatnonzero(tree.left >= 0).tolist():
            split, mode, missing = float(tree.threshold[i]), _AT_MOST, bool(tree.missing_left[i])
            if i in tree.codes:
                missing = bool(tree.missing_left[i] == tree.inside[i])
                split, mode = (0.0, _MEMBER) if len(tree.codes[i]) else (float(np.finfo(np.float64).min), _AT_MOST)
                found.members += [*tree.codes[i].tolist(), np.nan] if mode == _MEMBER else []
            places[i] = found.node(int(tree.column[i]), mode, split, missing)
        for i, at in places.items():
            one, two = int(tree.left[i]), int(tree.right[i])
            if i in tree.codes and not tree.inside[i]:
                one, two = two, one
            for child, ids, leaf in ((one, found.true, found.true_leaf), (two, found.false, found.false_leaf)):
                ids[at] = places[child] if child in places else found.leaf(target, float(tree.value[child]))
                leaf[at] = int(child not in places)
        found.roots.append(places[0])
    return found
