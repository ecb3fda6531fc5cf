"""The learners on trial here are imported by name, also by worker processes: this folder and the examples are on the path."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[2] / "examples"):
    sys.path.insert(0, str(folder))
