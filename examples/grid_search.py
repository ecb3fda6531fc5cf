"""A grid search over a pipeline: outgrow's estimators inside scikit-learn's tools, each fit on the engine of `on`.

    python examples/grid_search.py            (needs outgrow[sklearn])
"""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from outgrow.sklearn import PCA, LogisticRegression, StandardScaler


def search(on: str = "serial") -> tuple[Any, float]:
    """The search, fitted on three quarters of the digits (1 797 images of 8 × 8), and its accuracy on the rest."""
    x, y = load_digits(return_X_y=True)
    train, test, train_y, test_y = train_test_split(x, y, random_state=0)
    pipeline = make_pipeline(StandardScaler(), PCA(), LogisticRegression(on=on, max_iter=300))
    grid = GridSearchCV(pipeline, {"pca__n_components": [10, 40], "logisticregression__C": [0.01, 1.0]}, cv=3)
    grid.fit(train, train_y)
    return grid, float(grid.score(test, test_y))


def main() -> None:
    grid, accuracy = search()
    for chosen, score in zip(grid.cv_results_["params"], grid.cv_results_["mean_test_score"], strict=True):
        print(f"{score:.3f}  {chosen}")
    print(f"best: {grid.best_params_}, accuracy on images not seen {accuracy:.3f}")
    print(f"digest {grid.best_estimator_[-1].model_.digest[:16]}…, the same on every engine")


if __name__ == "__main__":
    main()
