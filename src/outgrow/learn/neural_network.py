"""A feed-forward network learned by back-propagation: steps inside one lane, shared by virtual workers, or over all rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadInput, Refused
from ..core.learner import ALL, SHARDS, Context, Cover, Learner, Pass, Price, Rows
from ..core.rng import uniform
from ..core.state import State
from ..data.batch import Batch
from . import class_weights
from .blocks import blocks, design_of, refuse_missing, shape_of, table_width
from .class_counts import ClassCounts
from .network_sums import Gradients, Losses, Net, Steps, advance
from .online_fold import Spread

__all__ = ["NeuralNetwork"]

F64 = npt.NDArray[np.float64]
_FEATURES = 4096
_WIDE = 1 << 20  # bytes of a state above which few lanes are used
_OPTIMIZER = ("first", "second", "steps")


@dataclass(frozen=True, kw_only=True)
class NeuralNetwork(Learner):
    """A multi-layer perceptron: softmax or logistic loss for classes, squared loss for a number; numpy and compiled loops, no other library.

    Losses, initial range, updates, penalty and stopping rule are those of scikit-learn's MLPClassifier and MLPRegressor; what is drawn are hashes of the seed.

    Parameters
    ----------
    hidden : tuple of int
        Units of each hidden layer; () for none.
    activation : "relu", "tanh" or "logistic"
    update : "adam" (Kingma and Ba 2015) or "sgd" (with Nesterov's momentum)
    learning_rate : float
    momentum : float
        Of "sgd", at least 0, below 1.
    l2 : float
        Adds ``l2 / 2 |weights|²`` to the summed loss of each step; biases are left out.
    step_rows : int
        Rows a step, in an order shuffled anew each epoch; 0: all rows, a step an epoch.
    virtual : int
        1: the steps of an epoch are taken inside one lane, which is fastest in one process. More: each step is a round, shared by so many virtual
        workers. What is summed in what order follows from this number alone, so any number of real workers gives the same model; a worker's part in a step costs
        1 to 2 ms beside the sums, so steps should be large. Of no effect with ``step_rows=0``, where every shard is a lane.
    epochs : int
        At most.
    tolerance : float
        Done when the loss of an epoch has not come down by this for more than `patience` epochs.
    patience : int
    class_weight : "balanced", mapping of class to weight, or None
        Multiplies row weights. "balanced": inversely to the (weighted) share of the class.
    validation : float
        Share of rows held out, 0 for none: training then stops after `patience` epochs without a lower held-out loss, and
        the weights of the lowest are kept.

    Notes
    -----
    model: ``weights_0`` float64 (p, hidden), ``bias_0`` (hidden,), ``weights_1`` …, table slots before dense columns; for a number also ``unit`` (2,): the network
    gives distances from the first in units of the second (the target's mean, and its deviation rounded to a power of two), and `l2` acts there.
    Going on from a model with its resume section goes on with the optimizer's own sums.

    The rows should be scaled. Where shuffled, they are read at random places: pack formats that must be read in order. Cost: 6 flops a row and
    weight; states of 8 bytes a weight, 5 times that inside one lane.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x, y = np.array([0.0, 0.0, 1.0, 1.0] * 50), np.array([0.0, 1.0, 0.0, 1.0] * 50)
    >>> source = og.read({"x": x, "y": y, "differ": x != y}, target="differ")
    >>> net = og.NeuralNetwork(hidden=(8,), activation="tanh", learning_rate=0.05, step_rows=20, epochs=50)
    >>> model = og.plan(net, source, features=[og.OneHot()], on="serial").run().model
    >>> og.evaluate(model, source)["accuracy"]
    1.0
    """

    hidden: tuple[int, ...] = (100,)
    activation: Literal["relu", "tanh", "logistic"] = "relu"
    update: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.001
    momentum: float = 0.9
    l2: float = 1e-4
    step_rows: int = 200
    virtual: int = 1
    epochs: int = 200
    tolerance: float = 1e-4
    patience: int = 10
    class_weight: Any = None
    validation: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weight", class_weights.plain(self.class_weight))
        object.__setattr__(self, "hidden", tuple(self.hidden) if isinstance(self.hidden, (tuple, list)) else self.hidden)
        layers = isinstance(self.hidden, tuple) and all(isinstance(units, int) and 1 <= units <= 1 << 16 for units in self.hidden)
        for name, good, allowed in (
            ("hidden", layers, "a tuple of whole numbers from 1 to 65536"),
            ("activation", self.activation in ("relu", "tanh", "logistic"), "relu, tanh, logistic"),
            ("update", self.update in ("adam", "sgd"), "adam, sgd"),
            ("learning_rate", 0 < self.learning_rate < np.inf, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "0 up to, not including, 1"),
            ("l2", 0 <= self.l2 < np.inf, "0 or more"),
            ("step_rows", self.step_rows >= 0, "0 or more"),
            ("virtual", 1 <= self.virtual <= 4096, "1 to 4096"),
            ("epochs", self.epochs >= 1, "1 or more"),
            ("tolerance", 0 <= self.tolerance < np.inf, "0 or more"),
            ("patience", self.patience >= 1, "1 or more"),
            ("class_weight", class_weights.sound(self.class_weight), class_weights.ALLOWED),
            ("validation", 0 <= self.validation < 1, "0 up to, not including, 1"),
        ):
            if not good:
                raise BadField(f"{getattr(self, name)!r} is out of range", where=name, allowed=allowed)

    def _net(self, context: Context) -> Net:
        shape, classes = shape_of(context.schema), len(context.schema.classes)
        outs = classes if classes > 2 else 1
        return Net(units=(table_width(shape) + len(shape.names), *self.hidden, outs), activation=self.activation, classes=classes, l2=self.l2)

    def widest(self, schema: Any) -> int | None:
        return _FEATURES

    def begin(self, context: Context, start: State | None = None) -> State:
        schema, net = context.schema, self._net(context)
        if schema.task != "number":
            class_weights.refuse_few(schema)
        elif self.class_weight is not None:
            raise BadField("the target is a number", where="class_weight", allowed="None")
        if not 1 <= net.units[0] <= _FEATURES:
            todo = "Use OnlineLinear for wide hashed tables, or fewer one-hot categories or bits."
            raise Refused(f"a network over {net.units[0]} features", allowed=f"1 to {_FEATURES}", todo=todo)
        if net.flat > 1 << 24:
            raise Refused(f"a network of {net.flat} weights", allowed=f"up to {1 << 24}", todo="Use fewer hidden units.")
        carry: State = {name: np.zeros(net.flat) for name in ("first", "second")} | {"steps": np.array(0), "epoch": np.array(0), "at": np.array(0), "idle": np.array(0)}
        carry |= {name: np.zeros(()) for name in ("loss", "weight")}
        if start is None:
            return carry | {"w": self._drawn(context, net)}
        carry["w"] = self._started(net, start)
        if net.classes == 0:
            carry["unit"] = start["unit"].copy()
        if "first" in start and start["first"].shape == (net.flat,):
            carry |= {name: start[name].copy() for name in _OPTIMIZER}
        return carry

    def _drawn(self, context: Context, net: Net) -> F64:
        """Weights to start from (Glorot and Bengio 2010)."""
        w = np.empty(net.flat)
        for level, (weights, bias) in enumerate(net.cut(w)):
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / sum(weights.shape))
            chance = uniform(context.seed, f"network layer {level}", np.arange(weights.size + bias.size))
            weights[:] = (bound * (2.0 * chance[: weights.size] - 1.0)).reshape(weights.shape)
            bias[:] = bound * (2.0 * chance[weights.size :] - 1.0)
        return w

    def _started(self, net: Net, start: State) -> F64:
        """Flat weights of an earlier model; BadInput where its shape is another."""
        w = np.empty(net.flat)
        wanted: list[tuple[str, Any]] = [] if net.classes else [("unit", np.empty(2))]
        for level, (weights, bias) in enumerate(net.cut(w)):
            wanted += [(f"weights_{level}", weights), (f"bias_{level}", bias)]
        for name, array in wanted:
            if name not in start or start[name].shape != array.shape:
                found = start[name].shape if name in start else "no such array"
                raise BadInput(
                    f"the model to start from has {found} for {name!r}, here it is {array.shape}", todo="Start from a model of the same columns, layers and classes."
                )
            array[:] = start[name]
        return w

    def _over(self, carry: State) -> bool:
        if self.validation:
            return bool(carry["epoch"] >= self.epochs or carry.get("bad", 0) >= self.patience)
        return bool(carry["epoch"] >= self.epochs or carry["idle"] > self.patience)

    def _phase(self, carry: State) -> Literal["look", "judge", "train", "done"]:
        if "by_class" not in carry:
            return "look"
        if self.validation and carry["epoch"] > carry.get("judged", 0):
            return "judge"
        return "done" if self._over(carry) else "train"

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        net, phase, classes = self._net(context), self._phase(carry), len(context.schema.classes)
        if phase == "done":
            return ()
        if phase == "look":
            return (Pass(fold=ClassCounts(classes=classes) if classes else Spread(), rows=self.sees(), columns=()),)
        given: State = {name: carry[name] for name in ("w", "by_class", "unit") if name in carry}
        if phase == "judge":
            return (Pass(fold=Losses(net=net), given=given, rows=Rows(kind="held", held=self.validation)),)
        at, epoch = int(carry["at"]), int(carry["epoch"])
        if not self.step_rows:
            return (Pass(fold=Gradients(net=net), given=given, cover=context.few if net.flat * 8 > _WIDE else SHARDS, rows=self.sees()),)
        if self.virtual > 1:
            cover = Cover(kind="shuffled", lanes=self.virtual, start=at, stop=at + self.step_rows, epoch=epoch)
            return (Pass(fold=Gradients(net=net), given=given, cover=cover, rows=self.sees()),)
        given |= {name: carry[name] for name in _OPTIMIZER}
        return (Pass(fold=self._steps(net), given=given, cover=Cover(kind="shuffled", lanes=1, epoch=epoch), rows=self.sees()),)

    def _steps(self, net: Net) -> Steps:
        return Steps(net=net, step_rows=self.step_rows, update_by=self.update, rate=self.learning_rate, momentum=self.momentum)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        sums, net, phase = closed[0], self._net(context), self._phase(carry)
        if phase == "look":
            return carry | self._looked(context, carry, sums)
        if phase == "judge":
            return carry | self._judged(carry, sums)
        own = {name: array.copy() for name, array in carry.items()}
        if self.virtual > 1 or not self.step_rows:
            own["loss"] += sums["loss"]
            own["weight"] += sums["weight"]
            with np.errstate(invalid="ignore", over="ignore"):
                advance(net, self.update, self.learning_rate, self.momentum, own, sums["gradient"].copy(), float(sums["weight"]))
            own["at"] += self.step_rows
            whole = not self.step_rows or own["at"] >= context.rows - (round(self.validation * context.rows))
        else:
            state = {name: array.copy() for name, array in sums.items()}
            if state["rows"]:
                self._steps(net).close(state)
            own |= {name: state[name] for name in ("w", "loss", "weight", *_OPTIMIZER)}
            whole = True
        if not (np.isfinite(own["loss"]) and np.isfinite(own["w"]).all()):
            raise BadInput(
                f"the loss is no longer finite after {int(own['steps'])} steps (learning_rate {self.learning_rate:g}, momentum {self.momentum:g}, l2 {self.l2:g})",
                todo="Put Scale() before this learner, or lower learning_rate or l2.",
            )
        return self._epoch(own) if whole else own

    def _looked(self, context: Context, carry: State, sums: State) -> State:
        """What the target alone tells: weights of the classes, or the unit of a number."""
        schema = context.schema
        if "counts" not in sums:
            if not sums["weight"] > 0:
                raise BadInput("no row has a weight above 0", where="weight")
            return {"by_class": np.ones(0)} | ({} if "unit" in carry else {"unit": Spread.unit(sums)})
        if not sums["counts"].any():
            raise BadInput("no row has a weight above 0", where="weight")
        class_weights.refuse_single(schema, sums["counts"])
        balanced = self.class_weight == "balanced"
        return {"by_class": class_weights.balanced(sums["counts"]) if balanced else class_weights.named(self.class_weight, schema.classes)}

    def _judged(self, carry: State, sums: State) -> State:
        if not sums["weight"] > 0:
            raise BadInput(f"validation={self.validation} leaves no row to validate on", where="validation", todo="Hold out a larger share.")
        held = sums["loss"] / sums["weight"]
        found: State = {"judged": carry["epoch"]}
        if "held" in carry and not held < carry["held"]:
            return found | {"bad": carry["bad"] + np.int64(1)}
        return found | {"held": np.array(held), "best": carry["w"], "bad": np.array(0)}

    def _epoch(self, own: State) -> State:
        """The carry after the last step of an epoch."""
        if not own["weight"] > 0:
            raise BadInput("no row to learn from has a weight above 0", where="weight", todo="Hold out fewer rows, or correct the weights.")
        level, lowest = float(own["loss"] / own["weight"]), float(own.get("lowest", np.inf))
        idle = own["idle"] + 1 if level > lowest - self.tolerance else np.array(0)
        zero = {name: np.zeros(()) for name in ("loss", "weight")}
        return own | zero | {"level": np.array(level), "lowest": np.array(min(level, lowest)), "idle": idle, "at": np.array(0), "epoch": own["epoch"] + 1}

    def finish(self, context: Context, carry: State) -> State:
        model: State = {}
        for level, (weights, bias) in enumerate(self._net(context).cut(carry["best"] if "best" in carry else carry["w"])):
            model |= {f"weights_{level}": weights.copy(), f"bias_{level}": bias.copy()}
        return model | ({"unit": carry["unit"]} if "unit" in carry else {})

    def resume(self, context: Context, carry: State) -> State:
        return {name: carry[name] for name in _OPTIMIZER}

    def sees(self) -> Rows:
        return Rows(kind="train", held=self.validation) if self.validation else ALL

    def facts(self, context: Context, carry: State) -> dict[str, float]:
        found = {"epoch": float(carry["epoch"]), "steps": float(carry["steps"])}
        found |= {name: float(carry[key]) for name, key in (("loss", "level"), ("held_loss", "held")) if key in carry}
        return found | {"converged": float(self._over(carry) and carry["epoch"] < self.epochs)}

    def predict(self, model: State, batch: Batch) -> dict[str, Any]:
        """``prediction`` (n,): a class, with ``probability`` of the second class, or ``probability_<class>`` of each of more than two; or a number."""
        from .kernels.dense import probabilities
        from .kernels.network import activate, layer

        refuse_missing(batch)
        depth = sum(name.startswith("bias_") for name in model)
        outs, kind = len(model[f"bias_{depth - 1}"]), ("relu", "tanh", "logistic").index(self.activation)
        number = "unit" in model
        found = np.empty((outs if number else max(outs, 2), batch.rows))
        with np.errstate(invalid="ignore", over="ignore"):
            for block in blocks(design_of(batch), spread=True):
                values = np.ascontiguousarray(block.x.T)
                for level in range(depth):
                    bias = model[f"bias_{level}"]
                    z = np.empty((len(bias), len(block.x)))
                    layer(values, model[f"weights_{level}"], z)
                    if level < depth - 1:
                        activate(kind, z, bias)
                    else:
                        z += bias[:, None]
                    values = z
                if number:
                    found[:, block.start : block.stop] = model["unit"][0] + model["unit"][1] * values
                    continue
                z = np.vstack([np.zeros((len(found) - outs, len(block.x))), values])  # two classes: the first one's margin is 0
                chance = np.empty_like(z)
                probabilities(z, chance, np.empty(z.shape[1]))
                found[:, block.start : block.stop] = chance
        if number:
            return {"prediction": found[0]}
        classes = batch.schema.classes or tuple(range(len(found)))
        columns = {"prediction": np.array(classes)[found.argmax(0)]}
        if outs == 1:
            return columns | {"probability": found[1].copy()}
        return columns | {f"probability_{name}": found[k].copy() for k, name in enumerate(classes)}

    def price(self, context: Context) -> Price:
        net = self._net(context)
        size, alone = 8 * net.flat, self.step_rows and self.virtual == 1
        lanes = 1 if alone else self.virtual if self.step_rows else context.few.lanes if size > _WIDE else 0
        return Price(state=(5 if alone else 1) * size, given=(3 if alone else 1) * size, lanes=lanes, passes=(2, 1 + self.epochs * (2 if self.validation else 1)))

