"""The kernels' own exp, log, log1pexp and sigmoid against extended precision."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from outgrow.learn.kernels import math as own

LONG = np.longdouble
MARGINS = np.concatenate([np.linspace(-745, 709.7, 20_001), np.random.default_rng(0).normal(0, 1, 50_000), np.random.default_rng(1).normal(0, 1e-6, 1000)])
POSITIVE = np.concatenate([np.exp(np.random.default_rng(2).uniform(-744, 709, 50_000)), np.random.default_rng(3).uniform(0.5, 2, 50_000), 1 + MARGINS[-1000:]])

CASES = {
    "exp": (own.exp, MARGINS, np.exp, 1.0),
    "log": (own.log, POSITIVE, np.log, 1.0),
    "softplus_tail": (own.softplus_tail, MARGINS, lambda x: np.log1p(np.exp(-np.abs(x))), 2.0),
    "log1pexp": (own.log1pexp, MARGINS, lambda x: np.logaddexp(LONG(0), x), 2.0),
    "sigmoid": (own.sigmoid, MARGINS, lambda x: 1 / (1 + np.exp(-x)), 3.0),
}


def each(function):
    @numba.njit(error_model="numpy")
    def loop(x, out):
        for i in range(len(x)):
            out[i] = function(x[i])

    return loop


@pytest.mark.parametrize("name", CASES)
def test_function__everywhere__is_within_its_ulps(name):
    function, x, reference, ulps = CASES[name]
    out = np.empty_like(x)
    each(function)(x, out)
    true = reference(x.astype(LONG))
    error = np.abs(out - true) / np.spacing(np.abs(true.astype(float)))
    assert float(error.max()) < ulps


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("exp", [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e4, -1e4], [np.nan, np.inf, 0.0, 1.0, 1.0, np.inf, 0.0]),
        ("log", [np.nan, np.inf, -np.inf, 0.0, -1.0, 5e-324, 1.0], [np.nan, np.inf, np.nan, -np.inf, np.nan, np.log(5e-324), 0.0]),
        ("log1pexp", [np.nan, np.inf, -np.inf, 0.0, 1e4, -1e4], [np.nan, np.inf, 0.0, np.log(2.0), 1e4, 0.0]),
        ("sigmoid", [np.nan, np.inf, -np.inf, 0.0, 1e4, -1e4], [np.nan, 1.0, 0.0, 0.5, 1.0, 0.0]),
    ],
)
def test_function__at_the_edges__gives_the_limits(name, x, expected):
    assert np.array_equal([CASES[name][0](value) for value in x], expected, equal_nan=True)


@pytest.mark.parametrize("name", CASES)
def test_function__alone_or_in_a_vector_loop__gives_the_same_bits(name):
    function, x, _, _ = CASES[name]
    out = np.empty_like(x)
    each(function)(x, out)
    assert [function(value) for value in x[::97]] == out[::97].tolist()


@pytest.mark.parametrize("name", CASES)
def test_function__compiled__has_no_fused_multiply_add_and_calls_no_library(name):
    loop = each(CASES[name][0])
    loop(np.zeros(1), np.zeros(1))
    code = loop.inspect_asm(loop.signatures[0])
    assert "vfmadd" not in code
    assert "fmla" not in code
    wanted = [line for line in code.splitlines() if "call" in line and any(name in line for name in ("exp", "log", "pow"))]
    assert wanted == []
