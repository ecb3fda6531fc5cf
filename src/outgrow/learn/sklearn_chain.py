"""Any scikit-learn estimator with `partial_fit` as a chain: one lane, its arrays and numbers the state, no pickle anywhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any, ClassVar

import numpy as np

from ..core.errors import BadField, BadInput, Refused
from ..core.learner import Context, Cover, Fold, Learner, Pass, Price, Traits
from ..core.state import State, pack_strings, prefixed, under, unpack_strings
from ..data.batch import Batch
from .blocks import design_of, refuse_missing, shape_of, table_width

__all__ = ["SklearnChain"]

# What every partial_fit of an estimator makes anew from its parameters, and so is no part of the state (the loss of SGDClassifier and its kin)
_REMADE = {"_loss_function_"}
_PLAIN = (bool, int, float, str, type(None))


def _class_of(path: str) -> Any:
    """The estimator's class. A file may name it: only classes of scikit-learn, or of modules that this program has imported, come to life."""
    from sklearn.base import BaseEstimator

    module, _, name = path.partition(":")
    if module.partition(".")[0] != "sklearn" and module not in sys.modules:
        raise BadField(f"{path!r} is not of scikit-learn, and its module is not imported", where="estimator", todo=f"Say `import {module}` first, if you trust it.")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise BadField(f"there is no module {module!r} ({error})", where="estimator", allowed="an estimator, or 'module:Class'") from None
    if not (isinstance(found, type) and issubclass(found, BaseEstimator) and hasattr(found, "partial_fit")):
        raise BadField(f"{path!r} is no estimator with partial_fit", where="estimator", allowed="an estimator, or 'module:Class'")
    return found


def _described(estimator: Any) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """An estimator as its class's name and the parameters that are not the default."""
    kind, defaults = type(estimator), signature(type(estimator).__init__).parameters
    params = {name: value for name, value in estimator.get_params(deep=False).items() if name not in defaults or defaults[name].default is not value}
    return f"{kind.__module__}:{kind.__qualname__}", tuple(sorted(params.items()))


def taken(estimator: Any) -> State:
    """What an estimator has learned, as flat arrays: each attribute that is no parameter, under ``kind/name``."""
    state: State = {}
    parameters = estimator.get_params(deep=False)
    for name, value in vars(estimator).items():
        if name not in parameters and name not in _REMADE:
            state |= _encoded(type(estimator).__name__, name, value)
    return state


def _encoded(owner: str, name: str, value: Any) -> State:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {f"array/{name}": np.array(value)}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {f"scalar/{name}": np.array(value)}
    for kind, of in (("bool", bool), ("int", int), ("float", float)):
        if type(value) is of and not (of is int and abs(value) >= 1 << 63):
            return {f"{kind}/{name}": np.array(value)}
    if value is None:
        return {f"none/{name}": np.zeros(0, np.uint8)}
    if isinstance(value, str):
        return pack_strings(f"text/{name}", [value])
    if isinstance(value, np.random.RandomState):
        kind, keys, place, has_gauss, gauss = value.get_state(legacy=True)
        if kind == "MT19937":
            return {f"random/{name}/keys": np.array(keys), f"random/{name}/place": np.array([place, has_gauss]), f"random/{name}/gauss": np.array(gauss)}
    raise Refused(
        f"{owner} keeps a {type(value).__name__} in {name!r}, and a chain goes on from arrays and numbers alone",
        allowed="estimators whose fitted attributes are numeric arrays, numbers, text, None and RandomState",
        todo="Use another estimator, or write a learner of its own.",
    )


def rebuilt(estimator: Any, state: Mapping[str, Any]) -> Any:
    """The inverse of `taken`, on a fresh estimator with the same parameters; arrays are copies."""
    found: dict[str, Any] = {}
    for key, array in state.items():
        kind, _, name = key.partition("/")
        if kind == "array":
            found[name] = np.array(array)
        elif kind == "scalar":
            found[name] = array.dtype.type(array)
        elif kind in ("bool", "int", "float"):
            found[name] = array.item()
        elif kind == "none":
            found[name] = None
        elif kind == "text" and name.endswith(".bytes"):
            name = name.removesuffix(".bytes")
            found[name] = unpack_strings(f"text/{name}", state)[0]
        elif kind == "random" and name.endswith("/keys"):
            name = name.removesuffix("/keys")
            place, gauss = state[f"random/{name}/place"], state[f"random/{name}/gauss"]
            found[name] = np.random.RandomState()
            found[name].set_state(("MT19937", np.array(array), int(place[0]), int(place[1]), float(gauss)))
    vars(estimator).update(found)
    return estimator


def _matrix(batch: Batch) -> Any:
    """The rows as scikit-learn takes them: the dense block, or a csr matrix where a table comes before it."""
    refuse_missing(batch)
    design = design_of(batch)
    rows, k = design.slots.shape
    if not k and design.ragged is None:
        return design.dense.astype(np.float64)
    from scipy.sparse import csr_matrix, hstack

    table = csr_matrix((np.ones(rows * k), design.slots.ravel().astype(np.int64), np.arange(rows + 1) * k), (rows, design.width))
    if design.ragged is not None:
        offsets, slots, values = design.ragged
        span = slice(int(offsets[0]), int(offsets[-1]))
        table = table + csr_matrix((values[span].astype(np.float64), slots[span].astype(np.int64), offsets - offsets[0]), table.shape)
    return hstack([table, csr_matrix(design.dense.astype(np.float64))], format="csr")


@dataclass(frozen=True)
class _Fitting(Fold):
    """One partial_fit a batch. state: what `taken` gives, and rows int64 ()."""

    traits: ClassVar[Traits] = Traits(chain=True)

    chain: SklearnChain
    seed: int

    def init(self, given: Mapping[str, Any]) -> State:
        return {"rows": np.zeros((), np.int64)} | dict(given)

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        estimator = rebuilt(self.chain.make(self.seed), {name: array for name, array in state.items() if name != "rows"})
        takes, options = signature(estimator.partial_fit).parameters, dict[str, Any]()
        if "classes" in takes and batch.schema.classes:
            options["classes"] = np.arange(len(batch.schema.classes))
        weight = batch.weight
        if weight is not None:
            if "sample_weight" not in takes:
                raise BadInput(f"{type(estimator).__name__}.partial_fit takes no weights", where=f"column {batch.schema.weight!r}", todo="Read the rows without weight=.")
            if not weight.any():
                return state  # estimators refuse rows that weigh nothing, or count them
            options["sample_weight"] = weight
        target = batch.target.astype(np.int64 if batch.schema.classes else np.float64) if batch.schema.target else None
        x = _matrix(batch)
        try:
            estimator.partial_fit(x, target, **options)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{type(estimator).__name__}: {str(error).splitlines()[0]}", where=batch.place or f"rows from {batch.start}") from error
        return {"rows": state["rows"] + np.int64(batch.rows)} | taken(estimator)

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        if left["rows"] and right["rows"]:
            raise Refused(f"two chains of {self.chain.estimator} do not meet", allowed="one lane")
        return right if right["rows"] else left


@dataclass(frozen=True, kw_only=True)
class SklearnChain(Learner):
    """A scikit-learn estimator with `partial_fit`, fed batch by batch in one lane.

    Between batches, and so after a crash, it goes on exactly: the state is the estimator's own attributes (numeric arrays, numbers, text,
    None, RandomState), and an estimator that keeps anything else is refused by name. One lane: more workers do not make it faster; rows
    beyond memory, features, checkpoints, one digest on every engine and a model file without pickle are what is won.

    Parameters
    ----------
    estimator : an estimator, or "module:Class"
        Kept as its class's name; its parameters go to `params`. Classes of targets are given to it as their numbers 0, 1, …
    params : pairs of name and number, text or None
        A `random_state` of None becomes the job's seed.
    passes : int
        How often it sees the rows.

    Notes
    -----
    model: the state, ``kind/name`` for each attribute. Batches are part of the job: another ``batch_rows`` gives another model.
    An estimator that shuffles in `partial_fit` with a fixed seed shuffles every batch alike, as it does in scikit-learn.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> from sklearn.linear_model import SGDClassifier
    >>> from outgrow.sklearn import SklearnChain
    >>> x = np.linspace(-1, 1, 200)
    >>> source = og.read({"x": x, "y": np.where(x > 0, "yes", "no")}, target="y")
    >>> model = og.plan(SklearnChain(estimator=SGDClassifier()), source, features=[og.OneHot()], on="serial").run().model
    >>> model.predict({"x": [-0.5, 0.5]})["prediction"].to_pylist()
    ['no', 'yes']
    """

    version: ClassVar[int] = 1

    estimator: Any
    params: Any = ()
    passes: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.estimator, str):
            if not hasattr(self.estimator, "get_params") or isinstance(self.estimator, type):
                raise BadField(f"{self.estimator!r} is no estimator", where="estimator", allowed="an estimator with partial_fit, or 'module:Class'")
            path, params = _described(self.estimator)
            object.__setattr__(self, "estimator", path)
            object.__setattr__(self, "params", (*params, *dict(self.params).items()))
        elif isinstance(self.params, Mapping):
            object.__setattr__(self, "params", tuple(self.params.items()))
        sound = isinstance(self.params, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in self.params)
        if not sound:
            raise BadField(f"{self.params!r} are no parameters", where="params", allowed="pairs of a name and a value")
        for name, value in self.params:
            if not isinstance(value, _PLAIN):
                raise BadField(f"{name} is a {type(value).__name__}", where="params", allowed="numbers, text, True, False and None", todo="Weigh classes by the rows' weight.")
        if type(self.passes) is not int or self.passes < 1:
            raise BadField(f"{self.passes!r} is out of range", where="passes", allowed="a whole number from 1")
        self.make(0)

    def __reduce__(self) -> Any:
        return _unpickled, (self.estimator, self.params, self.passes)

    def make(self, seed: int) -> Any:
        """The estimator, not fitted."""
        kind, params = _class_of(self.estimator), dict(self.params)
        unknown = sorted(set(params) - set(kind._get_param_names()))
        if unknown:
            raise BadField(f"{kind.__name__} has no parameter {unknown[0]!r}", where="params", allowed=", ".join(kind._get_param_names()))
        made = kind(**params)
        if getattr(made, "random_state", 0) is None:
            made.set_params(random_state=seed % (1 << 32))
        return made

    def begin(self, context: Context, start: State | None = None) -> State:
        from sklearn.base import is_classifier, is_regressor

        schema, made = context.schema, self.make(context.seed)
        shape_of(schema)
        name = type(made).__name__
        if is_classifier(made) and len(schema.classes) < 2:
            raise BadInput(f"target {schema.target!r} has no two classes, and {name} learns classes", where="target")
        if is_regressor(made) and (schema.classes or not schema.target):
            raise BadInput(f"target {schema.target!r} is no number, and {name} learns numbers", where="target")
        return {"pass": np.zeros((), np.int64)} | prefixed("state", start or {})

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        if carry["pass"] >= self.passes:
            return ()
        return (Pass(fold=_Fitting(self, context.seed), given=under("state", carry), cover=Cover(kind="chains", lanes=1)),)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        if not closed[0]["rows"]:
            raise BadInput("no row has a weight above 0", where="weight")
        state = {name: array for name, array in closed[0].items() if name != "rows"}
        wrong = [name for name, array in state.items() if array.ndim and array.dtype.kind == "f" and not np.isfinite(array).all()]
        if wrong:
            raise BadInput(f"{wrong[0].partition('/')[2]} is not finite after {int(closed[0]['rows'])} rows", todo="Scale the columns, or lower the learning rate.")
        return {"pass": carry["pass"] + 1} | prefixed("state", state)

    def finish(self, context: Context, carry: State) -> State:
        return under("state", carry)

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        return {"passes": float(carry["pass"])}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """What the estimator gives: ``prediction`` and, of classes, ``probability`` or ``score`` (of each of more than two classes); ``cluster``; or ``component_0`` …"""
        from sklearn.base import is_classifier, is_clusterer

        if not model:
            raise BadInput(f"{self.estimator} has not seen a row yet", todo="Let it learn first.")
        made = rebuilt(self.make(0), model)
        x = _matrix(batch)
        if not hasattr(made, "predict"):
            values = np.asarray(made.transform(x))
            return {f"component_{j}": np.ascontiguousarray(values[:, j]) for j in range(values.shape[1])}
        found = made.predict(x)
        if not is_classifier(made):
            return {"cluster" if is_clusterer(made) else "prediction": found}
        classes = batch.schema.classes or tuple(made.classes_.tolist())
        columns = {"prediction": np.array(classes)[found]}
        name = "probability" if hasattr(made, "predict_proba") else "score"
        scores = made.predict_proba(x) if name == "probability" else made.decision_function(x)
        if len(classes) == 2:
            return columns | {name: np.ascontiguousarray(scores[:, 1] if scores.ndim == 2 else scores)}
        return columns | {f"{name}_{label}": np.ascontiguousarray(scores[:, k]) for k, label in enumerate(classes)}

    def price(self, context: Context) -> Price:
        shape = shape_of(context.schema)
        size = 8 * (table_width(shape) + len(shape.names) + 1) * (len(context.schema.classes) + 2)
        return Price(state=size, given=size if self.passes > 1 else 0, lanes=1, passes=(self.passes, self.passes))


def _unpickled(estimator: str, params: Any, passes: int) -> SklearnChain:
    """In a worker the module of a person's own estimator is not imported yet; what a worker is sent is trusted."""
    import_module(estimator.partition(":")[0])
    return SklearnChain(estimator=estimator, params=params, passes=passes)
