"""Which learner, and which features before it, where a person named none: from the target and the columns alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core.combine import Then
from ..core.errors import BadField
from ..core.learner import Feature, Learner
from .look import Look

__all__ = ["Chosen", "Reason", "choose"]

_NARROW = 1000  # columns after one-hot encoding up to which a dense solution is cheap: p² numbers a state
_ONE_HOT = 10_000  # values up to which each gets a column of its own
_SMALL = 2_000_000  # rows up to which some twenty passes are cheap


@dataclass(frozen=True, slots=True)
class Reason:
    """An automatic choice and why it was made."""

    choice: str
    why: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The learner with its features, and the reasons for what was not named. encoder: nobody named the encoder."""

    learner: Learner
    reasons: tuple[Reason, ...]
    encoder: bool = False


def _width(schema: Any) -> int:
    """Columns after one-hot encoding, as far as the sample shows."""
    return sum(max(1, item.distinct) if item.kind == "category" else 1 for item in schema.inputs)


def _name(found: Look, schema: Any) -> tuple[str, str]:
    """The learner's name, and why."""
    width, loose = _width(schema), [kind for kind, _ in found.kinds if kind in ("text", "sparse")]
    if not found.task:
        return "k-means", "no target was named, so clusters are sought"
    if loose:
        return "online-linear", f"there are {loose[0]} columns, whose features are hashed: one pass over a sparse table"
    if width > _NARROW:
        return "online-linear", f"the categories have over {width} values in the sample; above {_NARROW} columns one pass over a hashed table is cheaper than solving for all"
    if found.task == "number":
        return "linear-regression", f"the target is a number and there are about {width} columns: one pass gives the exact least squares"
    if found.rows > _SMALL:
        return "online-linear", f"{found.rows:,} rows: one pass, where logistic regression takes some twenty (it is chosen up to {_SMALL:,} rows)"
    return "logistic-regression", f"the target has {found.classes} classes, there are about {width} columns and {found.rows:,} rows: the optimum is cheap to reach"


def _named(name: str) -> Learner:
    from ..data.own import own_learner
    from ..learn.registry import COMMAND_NAMES, learner_class

    if ":" in name:
        return own_learner(name, allowed=", ".join(COMMAND_NAMES))
    kind = learner_class(name)
    learner: Learner = kind()
    return learner


def _feature(named: Feature | str) -> Feature:
    """The feature itself, or the one of that name. Raises BadField."""
    from ..data.own import own_learner
    from ..learn.registry import FEATURE_NAMES, feature_class

    found: Any = named
    if isinstance(named, str):
        found = own_learner(named, allowed=", ".join(FEATURE_NAMES)) if ":" in named else feature_class(named)()
    if not isinstance(found, Feature):
        raise BadField(f"{found!r} is no feature", where="features", allowed="features such as Hashing() or OneHot(), or their names")
    return found


def _chain(learner: Learner, schema: Any) -> tuple[tuple[Feature, ...], str]:
    """The features that suit a learner of outgrow's own, and why."""
    from ..data.features import Hashing, Missing, standard

    name, width = type(learner).__name__, _width(schema)
    if name == "Moments":
        return tuple(part for part in standard(schema, "onehot") if type(part).__name__ in ("Dates", "OneHot")), "moments are those of the columns as they are"
    if name in ("GradientBoosting", "RandomForest"):
        chain = standard(schema, "onehot")
        return tuple(part for part in chain if type(part).__name__ in ("Dates", "OneHot")), "trees read numbers as they are, missing or not, and a category as one column"
    if name == "OnlineLinear":
        return standard(schema, "hashing"), "categories are hashed to slots of one table, without a pass over the data; online updates scale numbers as they go"
    if name == "NaiveBayes":
        *before, encoder = standard(schema, "onehot" if width <= _ONE_HOT and not schema.names("text", "sparse") else "hashing")
        dates = [part for part in before if type(part).__name__ == "Dates"]
        return (*dates, Missing(), encoder), "counts are taken as they are, since scaled ones could be below 0, and for numbers that are normal within a class it is all one"
    if width <= _ONE_HOT and not schema.names("text", "sparse"):
        return standard(schema, "onehot"), f"numbers are scaled, missing ones become the mean, and each of some {width} values and columns gets a weight"
    return (*standard(schema, "onehot")[:-1], Hashing()), f"text, sparse columns or over {_ONE_HOT} values are hashed to slots of one table; numbers are scaled"


def _left(named: Sequence[Feature], schema: Any) -> Any:
    """The schema of the columns as these features leave them, as far as the choice of what follows rests on it: encoded categories are numbers."""
    from ..learn.target_encode import TargetEncode

    encoded = {name for part in named if isinstance(part, TargetEncode) for name in part.columns or schema.names("category")}
    return schema.replace([replace(item, kind="number") if item.name in encoded and item.name in schema.names("category") else item for item in schema.fields])


def _completed(learner: Learner, named: tuple[Feature, ...], schema: Any) -> tuple[tuple[Feature, ...], tuple[Reason, ...]]:
    """The named features with what else the columns need before this learner, and what was added.

    A chain that encodes gets what it cannot do without: parts of dates, and values where the sample lacks some and the learner takes none.
    """
    from ..data.features import Dates, Missing
    from ..data.features.chain import completed, encodes

    left = _left(named, schema)
    chain, why = _chain(learner, left)
    if any(map(encodes, named)):
        gaps = any(item.kind == "number" and item.missing for item in left.inputs)
        chain = tuple(part for part in chain if isinstance(part, Dates) or (isinstance(part, Missing) and gaps))
        chain = tuple(Missing() if isinstance(part, Missing) else part for part in chain)  # the mean of a column that nobody scaled
        why = "dates are no numbers" if not any(isinstance(part, Missing) for part in chain) else "numbers lack values, and become the mean there"
    if any(type(part).__name__ == "RobustScale" for part in named):
        why = why.replace("become the mean", "become the median")
    whole = completed(named, chain)
    added = [type(part).__name__ for part in whole if not any(part is other for other in named)]
    if not added:
        return named, ()
    told = Reason(" → ".join(type(part).__name__ for part in whole), f"{', '.join(added)} {'was' if len(added) == 1 else 'were'} added to what was named: {why}")
    return whole, (told,)


def _asis(learner: Learner) -> bool:
    """True where the features are there already, or are the person's own affair, or the learner reads columns as they are."""
    own = not type(learner).__module__.startswith("outgrow.")
    return own or isinstance(learner, Then) or isinstance(getattr(learner, "learner", None), Then) or type(learner).__name__ == "Summary"


def choose(learner: Learner | str | None, found: Look, schema: Any, features: Sequence[Feature | str] | None, *, complete: bool = False) -> Chosen:
    """The learner to run, with its features.

    Parameters
    ----------
    learner : Learner, str or None
        None: chosen from the target. A `Then`, or a learner of a person's own without `features`, is taken as it is.
    features : sequence of Feature or their names, optional
        None: the features that suit the columns and the learner.
    complete : bool
        Add to the named features what the columns need besides, unless one is a person's own.

    Raises
    ------
    BadField
        For a name that is no learner, a feature that is none, or features beside a `Then`.
    """
    from ..data.features.chain import encodes

    named = None if features is None else tuple(map(_feature, features))
    complete = bool(complete and named and all(type(part).__module__.startswith("outgrow.") for part in named))
    reasons = []
    if learner is None:
        columns = _left(named, schema) if named and complete and not any(map(encodes, named)) else schema
        learner, why = _name(found, columns)
        reasons.append(Reason(learner, why))
    if isinstance(learner, str):
        learner = _named(learner)
    if not isinstance(learner, Learner):
        raise BadField(f"{learner!r} is no learner", where="learner", allowed="a learner, its name, or None")
    if named is not None:
        if isinstance(learner, Then):
            raise BadField("the learner is a Then, which has its features already", where="features", todo="Put them into the Then.")
        if complete and not _asis(learner):
            named, added = _completed(learner, named, schema)
            reasons += added
        encoder = complete and not _asis(learner) and encodes(named[-1]) and not any(encodes(_feature(one)) for one in features or ())
        return Chosen(Then((*named, learner)) if named else learner, tuple(reasons), encoder)
    if _asis(learner):
        return Chosen(learner, tuple(reasons))
    chain, why = _chain(learner, schema)
    reasons.append(Reason(" → ".join(type(item).__name__ for item in chain), why))
    return Chosen(Then((*chain, learner)), tuple(reasons), encodes(chain[-1]))
