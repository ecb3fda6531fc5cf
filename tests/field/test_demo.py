"""The demo on the real flights: what a person sees first must work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_demo__on_real_flights__gives_one_digest_and_beats_the_constant(tmp_path: Path) -> None:
    env = {**os.environ, "OUTGROW_DEMO": str(tmp_path)}
    done = subprocess.run([sys.executable, str(ROOT / "demo" / "flights.py")], capture_output=True, text=True, env=env, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    digests = re.findall(r"digest ([0-9a-f]{32})", done.stdout)
    assert len(digests) == 3
    assert len(set(digests)) == 1
    assert "kill -9" in done.stdout
    scores = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines() if line.startswith(("the share", "outgrow"))}
    constant, ours = float(scores["the share of late flights"][-2]), float(scores["outgrow OnlineLinear"][2])
    assert ours < constant
    assert (tmp_path / "late.model").exists()
