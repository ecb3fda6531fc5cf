"""`og.export` and `og.import_model`: which format a file is of, and models written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.errors import BadField, BadInput
from ....core.store import write_whole
from .plain import refused

if TYPE_CHECKING:
    from ....data.model import Model

__all__ = ["FORMATS", "export", "import_model"]

FORMATS = ("lightgbm", "xgboost", "onnx")
_MOST = 1 << 31  # bytes of a file that is read


def export(model: Model, path: Path | str, to: str) -> dict[str, Any]:
    """Write boosted trees in the format of another library; none of them has to be installed, but for ``onnx``.

    Parameters
    ----------
    model : Model
        Of `GradientBoosting`, behind no other feature than OneHot.
    path : path
        Written whole or not at all.
    to : "lightgbm", "xgboost" or "onnx"
        LightGBM's model text, whose scores are the same bits; XGBoost's JSON, whose thresholds and values are float32; or an ONNX model in float64, whose categories are numbers.

    Returns
    -------
    dict
        ``columns``, in the order in which they are read; ``categories``, for each column of them its values in the order of their codes, None for a missing one (a missing value
        without a code is NaN); ``classes``; ``names``, of columns that are called otherwise there; ``trees``, ``bytes``.

    Raises
    ------
    BadField
        For another format.
    BadInput
        For a model, or a loss, that the format does not hold.
    StorageError
        Where `path` cannot be written.
    """
    from .own import plain_of

    if to not in FORMATS:
        raise BadField(f"there is no format {to!r}", where="to", allowed=", ".join(FORMATS))
    if isinstance(model, str | Path):
        raise BadField(f"{str(model)!r} is no model", where="model", allowed="what a run gave, or og.load", todo="Load it first: og.load(path).")
    plain = plain_of(model)
    if to == "lightgbm":
        from .lightgbm import written

        text, told = written(plain)
        data = text.encode()
    elif to == "xgboost":
        from .xgboost import written as written_json

        tree, told = written_json(plain)
        data = json.dumps(tree, allow_nan=False, separators=(",", ":")).encode()
    else:
        from .onnx import written as written_graph

        data, told = written_graph(plain)
    write_whole(Path(path), [data])
    return {"to": to, "columns": [column.name for column in plain.columns], "classes": list(plain.classes), "trees": len(plain.trees), "bytes": len(data)} | told


def import_model(path: Path | str, *, target: str = "target", classes: tuple[Any, ...] | list[Any] | None = None) -> Model:
    """A model of boosted trees from LightGBM's model text or XGBoost's JSON: one like any other, to predict, evaluate, inspect and save.

    Parameters
    ----------
    path : path
        What ``booster.save_model("model.txt")`` of LightGBM wrote, or ``save_model("model.json")`` of XGBoost; which of them, the file says itself.
    target : str
        What the target is called, which neither file tells.
    classes : sequence, optional
        The target's classes in the order of their numbers; default 0, 1, …

    Raises
    ------
    BadInput
        Where there is no such file.
    BadFile
        For one that is damaged, cut short, hostile, or says what boosted trees here do not: another objective, linear trees, more than 254 thresholds in a column.

    Notes
    -----
    LightGBM's scores are the same to the last bit. XGBoost reads numbers as float32: thresholds are set so that each float64 goes the way its float32 does, and its sums of
    float32 are 1e-6 of the largest score away. Runs no code from the file.
    """
    where = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise BadInput(f"cannot read it: {error.strerror}", where=where, todo="Name a model file of LightGBM or XGBoost.") from None
    if len(data) > _MOST:
        raise refused("it is larger than 2 GiB", where, "Train smaller trees, or fewer.")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        todo = "Of XGBoost save JSON, model.save_model('model.json'), in place of UBJSON; of LightGBM the text, booster.save_model('model.txt')."
        raise refused("it is no text", where, todo) from None
    from .own import model_of

    whole = _json(text) if text.lstrip().startswith("{") else None
    if isinstance(whole, dict) and "learner" in whole:
        from .xgboost import read as read_json

        plain, kind = read_json(whole, where), "XGBoost"
    elif text.lstrip().startswith('{"learner"') or (whole is None and text.lstrip().startswith("{")):
        raise refused("it is cut short, or no JSON", where)
    else:
        from .lightgbm import read

        plain, kind = read(text, where), "LightGBM"
    if classes is not None:
        from dataclasses import replace

        plain = replace(plain, classes=_named(tuple(classes), len(plain.classes)))
    made = {"imported_from": kind, "imported_file": Path(path).name, "imported_sha256": hashlib.sha256(data).hexdigest(), "objective": plain.objective}
    return model_of(plain, where=where, target=target, made=made)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _named(classes: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """The classes, where they are as many as the trees tell apart, of one type, and in order, as a schema has them."""
    if len(classes) != count:
        raise BadField(f"{len(classes)} classes are named", where="classes", allowed=f"{count}, as in the file" if count else "none: the file's trees give numbers")
    if {type(name) for name in classes} not in ({str}, {int}, {bool}) or list(classes) != sorted(set(classes)):
        raise BadField(f"{list(classes)!r} are not in order, or not all texts or all whole numbers", where="classes", allowed="ascending texts or whole numbers")
    return classes
