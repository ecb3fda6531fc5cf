"""Categories as numbers: target encoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_feature_names_in, _check_sample_weight, _check_y, check_consistent_length, check_is_fitted, validate_data

from ..core.learner import Learner
from ..core.run import one_thread
from ..core.state import State, under
from ..data.batch import Field, Schema
from ..data.features.counting import strings_array
from ..data.memory import TableStore
from ..data.source import Source
from ..learn.target_encode import TargetEncode
from .base import F64, Estimator, estimator
from .fitting import Fitted, carried
from .rows import Target, label_target, number_target

__all__ = ["TargetEncoder"]

_KINDS = {"binary": "binary", "multiclass": "multiclass", "continuous": "continuous"}


def _category(column: Any) -> Any:
    """A column as an Arrow array of strings, numbers or bools; null where a value is missing."""
    try:
        found = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TypeError(f"Encoders require their input argument must be uniformly strings or numbers ({error}).") from None
    return found.cast(pa.string()) if pa.types.is_null(found.type) else found


@estimator
class TargetEncoder(OneToOneFeatureMixin, TransformerMixin, Estimator):  # type: ignore[misc]
    """Put the smoothed mean of the target in place of each category: scikit-learn's, with a fold of a row by the hash of its position.

    `fit_transform` gives rows the values of all folds but their own, `transform` those of all rows. A category is known by its text: 1 and 1.0 are one.
    """

    target_type: str = "auto"
    smooth: Any = "auto"
    folds: int = 5
    random_state: Any = 0

    _sparse = False
    _missing = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical, tags.target_tags.required = True, True
        return tags

    def _build(self) -> Learner:
        seed = self.random_state if isinstance(self.random_state, int) else 0
        return TargetEncode(smooth=None if isinstance(self.smooth, str) and self.smooth == "auto" else self.smooth, folds=self.folds, seed=seed)

    def _columns_of(self, x: Any, *, reset: bool) -> dict[str, Any]:
        """Checked columns by name, each of its own type."""
        if hasattr(x, "iloc") and getattr(x, "ndim", 0) == 2:
            found = [check_array(x.iloc[:, j], ensure_2d=False, dtype=None, ensure_all_finite="allow-nan") for j in range(x.shape[1])]
        else:
            whole = check_array(x, dtype=None, ensure_all_finite="allow-nan")
            if not hasattr(x, "dtype") and np.issubdtype(whole.dtype, np.str_):
                whole = check_array(x, dtype=object, ensure_all_finite="allow-nan")
            found = list(whole.T)
        validate_data(self, x, reset=reset, skip_check_array=True)
        if reset:
            self.n_features_in_ = len(found)
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(len(found))])
        return {str(name): _category(column) for name, column in zip(names, found, strict=True)}

    def _target_of(self, y: Any) -> Target:
        found = type_of_target(y, input_name="y") if self.target_type == "auto" else self.target_type
        if found not in _KINDS:
            raise ValueError(f"Unknown label type: Target type was inferred to be {found!r}. Only {tuple(_KINDS)} are supported.")
        self.target_type_ = found
        self.classes_: Any = None
        y = _check_y(y, y_numeric=found == "continuous", estimator=self)
        if found == "continuous":
            return number_target(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) == 1:
            return number_target(np.zeros(len(y)))
        if found == "binary" and len(self.classes_) > 2:
            raise ValueError(f"target_type='binary' and y has {len(self.classes_)} classes.")
        return label_target(y, self.classes_)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit; forgets what was fitted before. The rows themselves are to be encoded by `fit_transform`."""
        self._learn(X, y, sample_weight)
        return self

    def fit_transform(self, X: Any, y: Any, sample_weight: Any = None) -> F64:
        """Fit, and give the rows their values, each from all folds but its own: (n, features), or (n, features × classes)."""
        return self._values(self._learn(X, y, sample_weight), fitting=True)

    def transform(self, X: Any) -> F64:
        """The values of categories, of all rows fitted: (n, features), or (n, features × classes); of one never seen the mean of the target."""
        check_is_fitted(self)
        columns = self._columns_of(X, reset=False)
        return self._values(Source(TableStore(pa.table(columns)), Schema(fields=_fields(columns), labels=self._labels)), fitting=False)

    def _learn(self, x: Any, y: Any, sample_weight: Any) -> Source:
        """Fit; the source of the rows."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        columns = self._columns_of(x, reset=True)
        check_consistent_length(x, y)
        target = self._target_of(y)
        self._types, fields, beside, roles = {name: column.type for name, column in columns.items()}, _fields(columns), {}, {"target": "target"}
        while roles["target"] in columns:
            roles["target"] += "_"
        column: Any = target.column
        values = column.values if target.arrow != pa.string() else np.array(target.classes, object)[column.codes]
        beside[roles["target"]] = pa.array(values, target.arrow)
        kind = "category" if target.arrow == pa.string() else "number"
        fields = (*fields, Field(name=roles["target"], kind=kind, dtype=str(target.arrow), values=target.classes))  # type: ignore[arg-type]
        if sample_weight is not None:
            roles["weight"] = "weight"
            while roles["weight"] in {*columns, *beside}:
                roles["weight"] += "_"
            beside[roles["weight"]] = pa.array(_check_sample_weight(sample_weight, np.empty((len(values), 1)), dtype=np.float64, ensure_non_negative=True))
            fields = (*fields, Field(name=roles["weight"], kind="number", dtype="double"))
        self._labels = tuple(range(len(target.classes)))
        source = Source(TableStore(pa.table(columns | beside)), Schema(fields=fields, task=target.task, **roles))  # type: ignore[arg-type]
        found = carried(self._build(), source, on=self.on, memory=self.memory, seed=0, start=None, onward=False)
        self.model_ = found.model
        self._set(self._arrays, found)
        return source

    def _set(self, arrays: State, found: Fitted) -> None:
        """categories_, encodings_ and target_mean_, as scikit-learn has them: numbers ascending, text by its bytes, missing last."""
        inner, encodings = under("slots", arrays), arrays["encodings"][-1]
        self.target_mean_: Any = encodings[-1] if self.target_type_ == "multiclass" else float(encodings[-1, 0])
        self.categories_, self.encodings_ = [], []
        slot = 0
        for j, arrow in enumerate(self._types.values()):
            first, last = int(inner["starts"][j]), int(inner["starts"][j + 1])
            texts = strings_array(inner["values.bytes"], inner["values.offsets"][first : last + 1])
            names = texts.cast(arrow).to_numpy(zero_copy_only=False)
            order = np.argsort(names, kind="stable")
            places = slot + order
            slot += last - first
            if inner["missing"][j]:
                lost: Any = None if names.dtype == object else np.nan
                names, places, order = np.append(names[order], lost), np.append(places, slot), np.arange(last - first + 1)
                slot += 1
            self.categories_.append(names[order])
            self.encodings_ += list(encodings[places].T)

    def _values(self, source: Source, *, fitting: bool) -> F64:
        feature: Any = self._stages[-1]
        with one_thread():
            parts = [feature.apply(self._arrays, batch, fitting) for batch in source.read(0, source.rows, 1 << 15)]
        names = parts[0].schema.names()
        return np.concatenate([np.column_stack([part.column(name).values for name in names]) for part in parts])

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """The names of the features; of more than two classes, feature_class."""
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        if self.target_type_ != "multiclass":
            return names
        return np.asarray([f"{name}_{label}" for name in names for label in self.classes_], dtype=object)


def _fields(columns: dict[str, Any]) -> tuple[Field, ...]:
    return tuple(Field(name=name, kind="category", dtype=str(column.type)) for name, column in columns.items())
