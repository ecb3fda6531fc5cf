"""The second learner of one's own in the examples: right beside scikit-learn, and within the laws."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.neighbors import NearestCentroid as Theirs

import outgrow as og

ROOT = Path(__file__).resolve().parents[2]


def test_nearest_centroid__on_wine__predicts_what_scikit_learn_does(monkeypatch):
    spec = spec_from_file_location("nearest_centroid_example", ROOT / "examples" / "nearest_centroid.py")
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    x, y = load_wine(return_X_y=True)
    ours = og.plan(module.NearestCentroid(), og.read(x, target=y), features=(), on="serial").run().model.predict(x)["prediction"].to_numpy()
    assert np.array_equal(ours, Theirs().fit(x, y).predict(x))


@pytest.mark.slow
def test_nearest_centroid__held_against_the_laws__keeps_them():
    done = subprocess.run([sys.executable, "-m", "outgrow", "check", "examples/nearest_centroid.py:NearestCentroid"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
