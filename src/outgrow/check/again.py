"""Trains a job that comes pickled on standard input, and prints the digest: the other process of `another_process`."""

from __future__ import annotations

import pickle
import sys

from ..core.run import run
from ..engines.serial import Serial

if __name__ == "__main__":
    job = pickle.load(sys.stdin.buffer)  # noqa: S301 from the process that started this one
    sys.stdout.write(run(job, Serial()).record["digest"])
