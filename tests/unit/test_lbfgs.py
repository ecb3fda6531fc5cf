"""L-BFGS as a state machine: against scipy, and stopped and resumed between any two evaluations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.optimize

from outgrow.core.errors import BadInput
from outgrow.core.state import decode, encode, same
from outgrow.learn import lbfgs


def rosenbrock(x):
    return scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)


def logistic(scale):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2000, 20)) * 10 ** rng.uniform(-scale, scale, 20)
    y = np.sign(x @ (rng.normal(size=20) / np.abs(x).mean(0)) + rng.logistic(size=2000))

    def evaluate(w):
        margin = y * (x @ w)
        grad = -(x.T @ (y * scipy.special.expit(-margin))) / len(y) + 1e-4 * w
        return np.logaddexp(0, -margin).mean() + 0.5e-4 * w @ w, grad

    return evaluate, x.T @ x / len(x) / 4 + 1e-4 * np.eye(20)


def drive(evaluate, start, *, between=lambda carry: carry, most=3000, **options):
    carry = lbfgs.begin(start, **options)
    while not lbfgs.done(carry) and carry["evaluations"] < most:
        carry = between(lbfgs.tell(carry, *evaluate(lbfgs.point(carry))))
    return carry


@pytest.mark.parametrize("n", [2, 10, 60])
def test_lbfgs__rosenbrock__reaches_the_minimum_in_no_more_evaluations_than_scipy_plus_a_fifth(n):
    start = np.linspace(-2, 2, n)
    carry = drive(rosenbrock, start)
    peer = scipy.optimize.minimize(rosenbrock, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 0, "maxiter": 3000, "maxfun": 3000})
    assert lbfgs.converged(carry)
    np.testing.assert_allclose(carry["w"], 1.0, atol=1e-7)
    assert carry["evaluations"] <= 1.2 * peer.nfev + 3


def test_lbfgs__logistic_loss__reaches_a_gradient_of_1e_8_where_values_no_longer_differ():
    evaluate, _ = logistic(0)
    carry = drive(evaluate, np.zeros(20))
    assert lbfgs.converged(carry)
    assert np.abs(evaluate(carry["w"])[1]).max() <= 1e-8
    assert carry["evaluations"] < 40


@pytest.mark.parametrize("whole", [False, True])
def test_lbfgs__badly_scaled_columns__cost_few_rounds_with_a_rough_inverse(whole):
    evaluate, hessian = logistic(3)
    carry = drive(evaluate, np.zeros(20), inverse=np.linalg.inv(hessian) if whole else 1 / np.diag(hessian))
    assert lbfgs.converged(carry)
    assert carry["evaluations"] < 40


@pytest.mark.parametrize("inverse", [None, np.linspace(1, 5, 8), np.diag(np.linspace(1, 5, 8)) + 0.1])
def test_lbfgs__encoded_and_decoded_after_every_evaluation__same_bits(inverse):
    def through_bytes(carry):
        return decode(b"".join(bytes(part) for part in encode(carry)))[0]

    start = np.linspace(-1, 2, 8)
    assert same(drive(rosenbrock, start, inverse=inverse), drive(rosenbrock, start, inverse=inverse, between=through_bytes))


def test_tell__leaves_the_old_carry_as_it_was():
    carry = lbfgs.begin(np.array([-1.0, 2.0]))
    for _ in range(15):
        before = b"".join(bytes(part) for part in encode(carry))
        for array in carry.values():
            array.setflags(write=False)
        after = lbfgs.tell(carry, *rosenbrock(lbfgs.point(carry)))
        assert b"".join(bytes(part) for part in encode(carry)) == before
        carry = after


def test_tell__values_that_are_not_finite__step_back():
    def evaluate(x):  # log barrier: nan outside of x < 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(-np.log(1 - x[0]) - 3 * x[0]), np.array([1 / (1 - x[0]) - 3]) if x[0] < 1 else np.array([np.nan])

    carry = drive(evaluate, np.array([-40.0]))
    assert lbfgs.converged(carry)
    assert carry["w"][0] == pytest.approx(2 / 3, abs=1e-6)


def test_tell__start_is_not_finite__refused():
    with pytest.raises(BadInput, match=r"not finite at the start"):
        lbfgs.tell(lbfgs.begin(np.zeros(2)), np.nan, np.zeros(2))


def test_lbfgs__gradient_that_lies__stalls_instead_of_looping():
    carry = drive(lambda x: (float(x @ x), -2 * x), np.ones(3))
    assert lbfgs.done(carry)
    assert not lbfgs.converged(carry)
    np.testing.assert_array_equal(carry["w"], np.ones(3))


def test_lbfgs__start_at_the_minimum__is_done_after_one_evaluation():
    carry = drive(lambda x: (float(x @ x), 2 * x), np.zeros(3))
    assert lbfgs.converged(carry)
    assert carry["evaluations"] == 1
