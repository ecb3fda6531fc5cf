"""Documents to weighed words: TF-IDF over hashed slots, without a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..core.learner import Learner
from ..core.run import one_thread
from ..core.state import State
from ..data.batch import Field, Schema
from ..data.memory import TableStore
from ..data.source import Source
from ..learn.tf_idf import TfIdf
from .base import Estimator, estimator
from .fitting import Fitted, carried

__all__ = ["TfidfVectorizer"]

_SCHEMA = Schema(fields=(Field(name="text", kind="text", dtype="string"),))
_BATCH = 1 << 14


def _documents(raw: Any) -> Source:
    """Documents as rows of one column; ValueError or TypeError in scikit-learn's words for what is no document."""
    if isinstance(raw, str):
        raise ValueError("Iterable over raw text documents expected, string object received.")  # noqa: TRY004 as scikit-learn
    try:
        texts = pa.array(raw if isinstance(raw, (list, np.ndarray)) or hasattr(raw, "__arrow_c_array__") or hasattr(raw, "iloc") else list(raw), pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"a document is no text ({error}); expected byte or unicode strings, bytes in UTF-8.") from None
    if texts.null_count:
        raise ValueError("np.nan is an invalid document, expected byte or unicode string.")
    if not len(texts):
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required: there are no documents.")
    return Source(TableStore(pa.table({"text": texts})), _SCHEMA)


@estimator
class TfidfVectorizer(TransformerMixin, Estimator):  # type: ignore[misc]
    """Weigh the words of documents by how few documents have them: HashingVectorizer and TfidfTransformer, or TfidfVectorizer without a vocabulary.

    Takes an iterable of documents; gives a csr matrix (n, n_features). Words are runs of letters, digits and "_", those of one letter too; letters beyond ASCII keep
    their case. ``min_df=1`` leaves out words that no document of the fit had, as TfidfVectorizer; ``min_df=0`` keeps them, as HashingVectorizer.
    """

    n_features: int = 1 << 20
    ngram_range: tuple[int, int] = (1, 1)
    analyzer: str = "word"
    norm: str | None = "l2"
    sublinear_tf: bool = False
    min_df: int = 1
    max_df: float = 1.0
    alternate_sign: bool = False

    _sparse = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False  # as scikit-learn's vectorizers: its checks of arrays do not apply
        return tags

    def _build(self) -> Learner:
        bits = int(self.n_features).bit_length() - 1
        if not 1 <= bits <= 31 or self.n_features != 1 << bits:
            raise ValueError(f"n_features={self.n_features!r} must be a power of two, from 2 to 2**31.")
        if len(self.ngram_range) != 2 or self.ngram_range[0] != 1:
            raise ValueError(f"ngram_range={self.ngram_range!r} must begin with 1: runs of 1 to ngram_range[1] words are taken.")
        if self.analyzer not in ("word", "char"):
            raise ValueError(f"analyzer={self.analyzer!r} must be 'word' or 'char'.")
        norm: Any = "none" if self.norm is None else self.norm
        return TfIdf(
            bits=bits, ngrams=self.ngram_range[1], words=self.analyzer == "word", signed=self.alternate_sign, sublinear=self.sublinear_tf,
            norm=norm, min_df=self.min_df, max_df=self.max_df,
        )  # fmt: skip

    def _fitted_on(self, source: Source, start: State | None) -> Any:
        found = carried(self._build(), source, on=self.on, memory=self.memory, seed=0, start=start, onward=True)
        self.model_ = found.model
        self._set(self._arrays, found)
        return self

    def _set(self, arrays: State, found: Fitted) -> None:
        self.idf_, self.n_samples_seen_ = arrays["idf"], int(arrays["rows"])

    def fit(self, raw_documents: Any, y: Any = None) -> Any:
        """Count in how many documents each slot's words are; forgets what was fitted before."""
        return self._fitted_on(_documents(raw_documents), None)

    def partial_fit(self, raw_documents: Any, y: Any = None) -> Any:
        """Go on with more documents: the very bits of a fit on all of them."""
        return self._fitted_on(_documents(raw_documents), self.model_.resume if hasattr(self, "model_") else None)

    def fit_transform(self, raw_documents: Any, y: Any = None) -> Any:
        """Fit, and give the rows of these documents."""
        source = _documents(raw_documents)
        return self._fitted_on(source, None)._rows(source)

    def transform(self, raw_documents: Any) -> Any:
        """A csr matrix (n, n_features) of float64, the slots of a row ascending."""
        check_is_fitted(self)
        return self._rows(_documents(raw_documents))

    def _rows(self, source: Source) -> Any:
        from scipy.sparse import csr_matrix

        feature: Any = self._stages[-1]
        with one_thread():
            parts = [feature.apply(self._arrays, batch, False).design.ragged for batch in source.read(0, source.rows, _BATCH)]
        starts = np.cumsum([0, *(int(part[0][-1]) for part in parts)])
        ends = np.concatenate([[0], *(part[0][1:] + start for part, start in zip(parts, starts, strict=False))])
        places, weights = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
        wide = np.int32 if ends[-1] < 1 << 31 else np.int64
        rows = csr_matrix((weights.astype(np.float64), places.astype(wide), ends.astype(wide)), shape=(source.rows, self.n_features))
        rows.sort_indices()
        return rows
