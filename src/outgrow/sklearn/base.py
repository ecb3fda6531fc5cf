"""What all estimators share: checked input, a learner built from raw parameters, and the model kept; the families build on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, RegressorMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_non_negative, validate_data

from ..core.learner import Learner
from ..core.run import one_thread
from ..core.state import State, under
from ..data.features import OneHot
from .fitting import Fitted, carried
from .rows import Target, fitting_source, is_wide, label_target, number_target, reading_schema, reading_source

__all__ = ["Classifier", "Estimator", "Regressor", "Transformer", "estimator", "only_if", "stacked"]

F64 = npt.NDArray[np.float64]
_BATCH = 1 << 15
_ENCODER = OneHot()

estimator = dataclass(kw_only=True, eq=False, repr=False)  # an __init__ of raw parameters, which is all that scikit-learn asks of one


@estimator
class Estimator(BaseEstimator):  # type: ignore[misc]
    """An estimator over one learner of outgrow.

    Subclasses name the learner and say how parameters become its fields; `_set` gives what was fitted scikit-learn's names.
    """

    on: str | None = "serial"
    memory: str | int | None = None

    _learner: ClassVar[str]
    _fields: ClassVar[Mapping[str, Any]] = {}  # parameter → field of the learner, or (field, what makes its value)
    _sparse: ClassVar[bool] = True
    _missing: ClassVar[bool] = False  # the learner has an answer for missing values
    _onward: ClassVar[bool] = False  # the learner makes one pass, and goes on by meeting what it has summed
    _positive: ClassVar[bool] = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse, tags.input_tags.allow_nan = self._sparse, self._missing
        tags.input_tags.positive_only = self._positive
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    # from parameters to a model

    def _build(self) -> Learner:
        """The frozen learner; raises BadField (a ValueError) for a parameter out of range."""
        from ..learn.registry import learner_class

        fields = {}
        for parameter, field in self._fields.items():
            value = getattr(self, parameter)
            name, make = field if isinstance(field, tuple) else (field, None)
            fields[name] = value if make is None else make(value)
        learner: Learner = learner_class(self._learner)(**fields, **self._more_fields())
        return learner

    def _names(self) -> Any:
        """Names of the columns to learn from, where they have some."""
        return getattr(self, "feature_names_in_", None)

    def _more_fields(self) -> dict[str, Any]:
        """Fields that follow from several parameters, or from the classes."""
        return {}

    def _checked(self, x: Any, *y: Any, reset: bool, **rules: Any) -> Any:
        """Rows as scikit-learn checks them: C-ordered floats or csr; with the target where one is given."""
        finite = "allow-nan" if self._missing else True
        found = validate_data(
            self, x, *y, reset=reset, accept_sparse="csr" if self._sparse else False, dtype=(np.float64, np.float32), order="C", ensure_all_finite=finite, **rules
        )
        if self._positive and reset:
            check_non_negative(found[0] if y else found, type(self).__name__)
        return found

    def _carry(self, x: Any, target: Target | None, sample_weight: Any, start: State | None = None, learner: Learner | None = None) -> None:
        """Fit, and set what was fitted."""
        if not isinstance(x, np.ndarray) and not x.has_canonical_format:
            x = x.copy()
            x.sum_duplicates()
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        source = fitting_source(x, self._names(), target, weight)
        seed = getattr(self, "random_state", 0)
        seed = seed if isinstance(seed, int) else int(check_random_state(seed).randint(2**31 - 1))
        found = carried(learner or self._build(), source, on=self.on, memory=self.memory, seed=seed, start=start, onward=self._onward)
        self.model_, self._reads, self._wide = found.model, reading_schema(source), is_wide(x)
        self._set(self._arrays, found)
        if found.facts.get("converged", 1.0) < 1.0:
            warnings.warn(f"{type(self).__name__} stopped after max_iter={getattr(self, 'max_iter', '')} without converging.", ConvergenceWarning, stacklevel=4)

    @property
    def _arrays(self) -> State:
        return under(f"{len(self._stages) - 1}", self.model_.arrays)

    @property
    def _stages(self) -> tuple[Learner, ...]:
        chain: Any = self.model_.learner
        stages: tuple[Learner, ...] = chain.stages
        return stages

    def _set(self, arrays: State, found: Fitted) -> None:
        """Give what was fitted its usual names."""

    def _start(self) -> State | None:
        """What partial_fit goes on from."""
        if not hasattr(self, "model_"):
            return None
        start: State = self.model_.resume if self._onward else self.model_.start
        return start

    # from rows to columns

    def _batches(self, x: Any) -> Iterator[Any]:
        """Checked rows in batches, encoded as while fitting."""
        if self._wide and isinstance(x, np.ndarray):
            from scipy.sparse import csr_array

            x = csr_array(x)
        fitted = under("0", self.model_.arrays)
        with one_thread():
            for batch in reading_source(x, self._reads).read(0, x.shape[0], _BATCH):
                yield _ENCODER.apply(fitted, batch, fitting=False)

    def _each(self, x: Any, give: Callable[[State, Any], F64]) -> F64:
        """Rows as they come, checked; ``give(arrays, batch)`` of each batch, one below the other."""
        check_is_fitted(self)
        x, arrays = self._checked(x, reset=False), self._arrays
        parts = [give(arrays, batch) for batch in self._batches(x)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _columns(self, x: Any) -> dict[str, Any]:
        """What the learner predicts for checked rows."""
        learner, arrays = self._stages[-1], self._arrays
        parts = [learner.predict(arrays, batch) for batch in self._batches(x)]
        return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _predicted(self, x: Any) -> dict[str, Any]:
        check_is_fitted(self)
        return self._columns(self._checked(x, reset=False))

    def _by_column(self, array: Any) -> Any:
        """Of an array (…, p) of table slots and dense columns: (…, n_features_in_). The first slot of a wide table is no column."""
        return array[..., 1:] if self._wide else array

    def _weights(self, arrays: State) -> F64:
        """Linear weights (outs, n_features_in_) of a model with ``table`` and ``dense``."""
        found: F64 = (arrays["table"][1:] if self._wide else arrays["dense"]).T.astype(np.float64)
        return np.ascontiguousarray(found)


def stacked(columns: Mapping[str, Any], name: str, count: int) -> F64:
    """Columns name_0, name_1 … side by side: (n, count)."""
    return np.column_stack([columns[f"{name}_{k}"] for k in range(count)])


def only_if(check: Callable[[Any], bool]) -> Callable[[Callable[..., Any]], Any]:
    """scikit-learn's `available_if`: a method that is there for some estimators, or some parameters, alone."""
    found: Callable[[Callable[..., Any]], Any] = available_if(check)
    return found


def _can_go_on(one: Any) -> bool:
    return bool(one._goes_on)


@estimator
class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """Learns a number."""

    _goes_on: ClassVar[bool] = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit; forgets what was fitted before."""
        x, y = self._checked(X, y, reset=True, y_numeric=True)
        self._carry(x, number_target(y), sample_weight)
        return self

    @only_if(_can_go_on)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go on with more rows."""
        x, y = self._checked(X, y, reset=not hasattr(self, "model_"), y_numeric=True)
        self._carry(x, number_target(y), sample_weight, start=self._start(), learner=self._going())
        return self

    def _going(self) -> Learner:
        """The learner as `partial_fit` uses it."""
        return self._build()

    def predict(self, X: Any) -> F64:
        found: F64 = self._predicted(X)["prediction"]
        return found


@estimator
class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """Learns classes."""

    _goes_on: ClassVar[bool] = False
    _fewest: ClassVar[int] = 2

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit; forgets what was fitted before."""
        x, y = self._checked(X, y, reset=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self._carry(x, self._target(y), sample_weight)
        return self

    @only_if(_can_go_on)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Go on with more rows. classes: all there will be, named in the first call."""
        first = not hasattr(self, "model_")
        x, y = self._checked(X, y, reset=first)
        check_classification_targets(y)
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if first:
            self.classes_ = np.unique(np.asarray(classes))
        elif classes is not None and not np.array_equal(self.classes_, np.unique(np.asarray(classes))):
            raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}")
        strange = np.setdiff1d(y, self.classes_)
        if len(strange):
            raise ValueError(f"The target label(s) {strange} in y do not exist in the initial classes {self.classes_}")
        self._carry(x, self._target(y), sample_weight, start=self._start(), learner=self._going())
        return self

    def _going(self) -> Learner:
        """The learner as `partial_fit` uses it."""
        return self._build()

    def _target(self, y: Any) -> Target:
        if len(self.classes_) < self._fewest:
            raise ValueError(f"{type(self).__name__} needs samples of at least {self._fewest} classes in the data, but the data contains only one class: {self.classes_[0]!r}")
        return label_target(y, self.classes_)

    def predict(self, X: Any) -> Any:
        found = self._predicted(X)["prediction"]
        return self.classes_[found]

    def _chances(self, X: Any) -> F64:
        columns = self._predicted(X)
        if "probability" in columns:
            return np.column_stack([1.0 - columns["probability"], columns["probability"]])
        return stacked(columns, "probability", len(self.classes_))


class Chances:
    """For classifiers whose learners know probabilities."""

    def predict_proba(self, X: Any) -> F64:
        """Probabilities (n, classes), in the order of `classes_`."""
        found: F64 = self._chances(X)  # type: ignore[attr-defined]
        return found

    def predict_log_proba(self, X: Any) -> F64:
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


@estimator
class Transformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):  # type: ignore[misc]
    """Turns rows into columns; needs no target."""

    def fit(self, X: Any, y: Any = None) -> Any:
        """Fit; forgets what was fitted before."""
        self._carry(self._checked(X, reset=True), None, None)
        return self
