"""TF-IDF: words weigh more the fewer documents they are in, over hashed slots and so without a dictionary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..core.errors import BadField, BadFile, BadInput
from ..core.learner import SHARDS, Context, Fold, Pass, Price, Traits
from ..core.state import State
from ..data.batch import Batch, Schema
from ..data.features.blocks import Entries
from ..data.features.hashing import Hashing, Layout

__all__ = ["Documents", "TfIdf"]

Norm = Literal["l2", "l1", "none"]
_WIDE = 1 << 20  # bytes of a state above which few lanes are used


def _size(offsets: npt.NDArray[np.int64]) -> int:
    """Places of a hash table for the longest row."""
    most = int(np.diff(offsets).max(initial=0))
    return 1 << (2 * most + 1).bit_length()


@dataclass(frozen=True)
class Documents(Fold):
    """In how many rows each slot of the text columns occurs: integers, so any order and any cut give the same bits.

    State: ``documents`` int64 (2^bits,), ``rows`` 0-d int64. A slot that two text columns of a row share counts for each of them.
    Cost: hashes the text, about as long as `Hashing` takes; then some 5 ns an entry.
    """

    traits: ClassVar[Traits] = Traits(order_free=True, elementwise=True)

    encoder: Hashing

    def init(self, given: Mapping[str, Any]) -> State:
        return {"documents": np.zeros(1 << self.encoder.bits, np.int64), "rows": np.array(0)}

    def update(self, state: State, batch: Batch, given: Mapping[str, Any]) -> State:
        from .kernels.documents import count_documents

        layout = self.encoder.layout(batch.schema)
        for name in layout.texts:
            offsets, slots, _ = self.encoder.text(layout, batch, name)
            count_documents()(offsets, slots, _size(offsets), state["documents"])
        return {**state, "rows": np.array(int(state["rows"]) + batch.rows)}

    def merge(self, left: State, right: State, given: Mapping[str, Any]) -> State:
        np.add(left["documents"], right["documents"], out=left["documents"])
        return {**left, "rows": np.array(int(left["rows"]) + int(right["rows"]))}


@dataclass(frozen=True, kw_only=True)
class TfIdf(Hashing):
    """`Hashing`, with the words of text columns weighed by how few rows have them (TF-IDF); all other columns are those of `Hashing`.

    A word (or run of `ngrams` words, or of characters) that stands f times in a row and is in d of n rows weighs f · (ln((1 + n) / (1 + d)) + 1),
    divided by the norm of its row and column. One mergeable pass counts d for each of the 2^bits slots; words that share a slot count as one.

    Parameters
    ----------
    sublinear : bool
        1 + ln f in place of f.
    norm : {"l2", "l1", "none"}
        What the weights of a row, column by column, are divided by: the root of their squares' sum, the sum of their sizes, or nothing.
    min_df : int
        Leave out words in fewer rows than this. 1 leaves out those that no row had while fitting, as scikit-learn's TfidfVectorizer; 0 gives
        them the highest weight, as its HashingVectorizer before a TfidfTransformer.
    max_df : float
        Leave out words in more than this share of the rows.
    bits, signed, ngrams, words, interactions, groups, seed
        As for `Hashing`; but 20 bits.

    Notes
    -----
    A row without text is a document without words. Row weights play no part. Cost: twice the hashing of the text (once to count, once in every pass after it);
    a state of 8 · 2^bits bytes, a model of 4 · 2^bits. Hashed weights read back by name as those of `Hashing` do.

    Source: Salton and Buckley 1988; the smoothing is scikit-learn's.

    Examples
    --------
    >>> import outgrow as og
    >>> rows = og.read({"text": ["the cat", "the dog", "the cat and the dog"], "y": list("aba")}, target="y", kinds={"text": "text"})
    >>> model = og.plan(og.Then((og.TfIdf(bits=8, norm="none"), og.NaiveBayes(kind="multinomial"))), rows, on="serial", probe=False).run().model
    >>> offsets, _, weights = model.learner.encode(model.arrays, next(rows.read(0, 3, 3))).design.ragged
    >>> weights[offsets[0] : offsets[1]].astype(float).round(4).tolist()  # "the" is in all rows, "cat" in two of three
    [1.0, 1.2877]
    """

    version: ClassVar[int] = 1

    bits: int = 20
    sublinear: bool = False
    norm: Norm = "l2"
    min_df: int = 1
    max_df: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.sublinear) is not bool:
            raise BadField(f"sublinear is {self.sublinear!r}", where="TfIdf.sublinear", allowed="True or False")
        if self.norm not in get_args(Norm):
            raise BadField(f"norm is {self.norm!r}", where="TfIdf.norm", allowed=", ".join(get_args(Norm)))
        if type(self.min_df) is not int or not 0 <= self.min_df < 1 << 62:
            raise BadField(f"min_df is {self.min_df!r}", where="TfIdf.min_df", allowed="a number of rows, 0 or more")
        if isinstance(self.max_df, bool) or not isinstance(self.max_df, int | float) or not 0 < self.max_df <= 1:
            raise BadField(f"max_df is {self.max_df!r}", where="TfIdf.max_df", allowed="a share of the rows, above 0 and up to 1")

    def begin(self, context: Context, start: State | None = None) -> State:
        if not self.layout(context.schema).texts:
            todo = 'Say which column is text: kinds={"column": "text"} (--kind column=text), or use Hashing.'
            raise BadInput("there is no column of text", where="TfIdf", allowed=", ".join(f"{item.name} ({item.kind})" for item in context.schema.inputs), todo=todo)
        return {}

    def ask(self, context: Context, carry: State) -> tuple[Pass, ...]:
        cover = context.few if self.price(context).lanes else SHARDS
        return () if carry else (Pass(fold=Documents(self._counting), cover=cover),)

    @property
    def _counting(self) -> Hashing:
        """The encoder as the counting pass needs it: what does not change the counts is left at its default, so that it does not change the pass."""
        return Hashing(bits=self.bits, ngrams=self.ngrams, words=self.words, seed=self.seed)

    def tell(self, context: Context, carry: State, closed: tuple[State, ...]) -> State:
        from .kernels.documents import inverse

        rows, idf = int(closed[0]["rows"]), np.empty(1 << self.bits, np.float32)
        inverse()(closed[0]["documents"], float(rows), float(self.min_df), math.inf if self.max_df == 1 else self.max_df * rows, idf)
        return {"idf": idf, "rows": np.array(rows)}

    def apply(self, fitted: State, batch: Batch, fitting: bool) -> Batch:
        idf = fitted["idf"]
        if idf.shape != (1 << self.bits,) or idf.dtype != np.float32:  # a kernel would read beyond it
            raise BadFile("the arrays of TfIdf do not fit its bits", todo="The file is damaged: copy it again, or fit again.")

        def weighed(layout: Layout, batch: Batch, name: str) -> Entries:
            from .kernels.documents import L1, L2, NONE, weigh

            offsets, slots, values = self.text(layout, batch, name)
            ends, places, weights = np.empty(batch.rows + 1, np.int64), np.empty(len(slots), np.uint32), np.empty(len(slots), np.float32)
            norm = {"l2": L2, "l1": L1, "none": NONE}[self.norm]
            weigh()(offsets, slots, values, _size(offsets), idf, self.sublinear, norm, ends, places, weights)
            return ends, places[: ends[-1]], weights[: ends[-1]]

        return self.encoded(batch, weighed)

    def one(self, schema: Schema, example: Mapping[str, Any]) -> Any:
        """Not without what was fitted: ``apply(fitted, one_row(schema, example), False)`` is the way."""
        raise BadField("words are weighed by what was fitted", where="TfIdf.one", todo="Use apply(fitted, one_row(schema, example), False), or Hashing.")

    def price(self, context: Context) -> Price:
        state = 8 << self.bits
        return Price(state=state, lanes=context.few.lanes if state > _WIDE else 0)
