"""Models of LightGBM and XGBoost with what they predict, as small files that tests read; made once, with both libraries installed (extra: bench).

    .venv/bin/python tests/support/foreign_trees.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "unit" / "golden"


def rows() -> tuple[Any, dict[str, Any]]:
    """A frame of two numbers with missing values, a number of float32 and a category; and targets."""
    import pandas as pd

    random = np.random.default_rng(7)
    n = 400
    a, b, c = random.normal(size=n).round(2), random.normal(size=n).round(2), random.normal(size=n).round(2)
    k = random.integers(0, 6, n)
    z = a * b + np.sin(2 * c) + 0.6 * (k % 3 == 1)
    a[random.random(n) < 0.1] = np.nan
    frame = pd.DataFrame({"a": a, "b": b, "c": c, "k": pd.Categorical([f"v{i}" for i in k])})
    return frame, {"two": (z > 0.2).astype(int), "three": np.digitize(z, [-0.4, 0.5]), "number": z, "count": random.poisson(np.exp(z / 2))}


def main() -> None:
    import lightgbm
    import xgboost

    FOLDER.mkdir(exist_ok=True)
    frame, targets = rows()
    told: dict[str, Any] = {"rows": {name: [None if isinstance(value, float) and np.isnan(value) else value for value in frame[name].head(60).tolist()] for name in frame}}
    options: dict[str, dict[str, Any]] = {"two": {"objective": "binary"}, "three": {"objective": "multiclass", "num_class": 3}, "count": {"objective": "poisson"}}
    for name, own in options.items():
        data = lightgbm.Dataset(frame, targets[name], params={"verbose": -1, "min_data_in_leaf": 5, "max_bin": 31})
        booster = lightgbm.train(own | {"num_leaves": 6, "verbose": -1, "min_data_in_leaf": 5, "cat_smooth": 1, "min_data_per_group": 5}, data, 3)
        text = booster.model_to_string().partition("\nparameters:")
        (FOLDER / f"lightgbm-{name}.txt").write_text(text[0] + "\n" + next(line for line in text[2].splitlines() if line.startswith("pandas_categorical")) + "\n")
        told[f"lightgbm-{name}.txt"] = booster.predict(frame.head(60)).tolist()
    for name, own in {"number": {"objective": "reg:squarederror"}, "three": {"objective": "multi:softprob", "num_class": 3}}.items():
        data = xgboost.DMatrix(frame, targets[name], enable_categorical=True)
        booster = xgboost.train(own | {"max_leaves": 6, "max_depth": 3, "max_bin": 31, "max_cat_to_onehot": 1}, data, 3)
        booster.save_model(FOLDER / f"xgboost-{name}.json")
        told[f"xgboost-{name}.json"] = booster.predict(xgboost.DMatrix(frame.head(60), enable_categorical=True)).tolist()
    (FOLDER / "predictions.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
