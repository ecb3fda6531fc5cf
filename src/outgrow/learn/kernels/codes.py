"""The numbers by which losses go in kernels; apart, so that whoever names a loss need not import numba."""

from __future__ import annotations

__all__ = ["HINGE", "LOGISTIC", "LOSSES", "QUANTILE", "SOFTMAX", "SQUARED"]

SQUARED, LOGISTIC, HINGE, QUANTILE = 0, 1, 2, 3
LOSSES = {"squared": SQUARED, "logistic": LOGISTIC, "hinge": HINGE, "quantile": QUANTILE}
SOFTMAX = 9  # beside the numbers of `LOSSES`, which mean one against the rest
