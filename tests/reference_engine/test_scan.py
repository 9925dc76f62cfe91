"""Cumulative operations: exact at zeros, without cancellation where entries lie far apart, to second order."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
from gradwitness.reference_engine import ParameterError, grad, hessian, jacobian, ops, vjp
from gradwitness.reference_engine.tracing import bind

GRID = np.array([[1.5, -2.0, 0.25, 3.0], [0.7, 0.1, -1.3, 2.2]])


def running_logsumexp(x: Any) -> Any:
    return np.vectorize(mp.log, otypes=[object])(np.cumsum(np.vectorize(mp.exp, otypes=[object])(x), axis=-1))


CASES = {
    "cumsum": (lambda x: ops.cumsum(x, -1), lambda x: np.cumsum(x, axis=-1)),
    "cumsum along the first axis": (lambda x: ops.cumsum(x, 0), lambda x: np.cumsum(x, axis=0)),
    "cumsum flattened": (ops.cumsum, lambda x: np.cumsum(x)),
    "cumprod": (lambda x: ops.cumprod(x, 1), lambda x: np.cumprod(x, axis=1)),
    "cumprod along the first axis": (lambda x: ops.cumprod(x, 0), lambda x: np.cumprod(x, axis=0)),
    "logcumsumexp": (lambda x: ops.logcumsumexp(x, -1), running_logsumexp),
    "logcumsumexp of a row": (lambda x: ops.logcumsumexp(ops.reshape(x, (8,))), lambda x: running_logsumexp(x.ravel())),
    "cummax": (lambda x: ops.cummax(x, 1), lambda x: np.maximum.accumulate(x, axis=1)),
    "cummin": (lambda x: ops.cummin(x, 0), lambda x: np.minimum.accumulate(x, axis=0)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_scan_agrees_with_mpmath_to_second_order(name: str, against_mpmath: Any) -> None:
    against_mpmath(*CASES[name], GRID)


@pytest.mark.parametrize(
    "row", [[2.0, 0.0, -3.0, 0.5], [0.0, 0.0, 2.0, 3.0], [0.0, 3.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [5.0]]
)
def test_cumprod_is_exact_at_any_number_of_zeros_to_second_order(row: list[float], against_mpmath: Any) -> None:
    against_mpmath(lambda x: ops.cumprod(x, 0), lambda x: np.cumprod(x, axis=0), row)


@pytest.mark.parametrize(
    "row",
    [
        [-40.0, 0.0, 1.0],  # the leading entry lies far below
        [-100.0, 0.5, 0.25, 700.0],
        [0.0, -100.0, -100.0, 3.0],  # later entries far below
        [800.0, 801.0, 799.0],
        [-800.0, -801.0, -799.0],
        [1e-30, 0.0, -1e-30],
        [3.0],
    ],
)
def test_logcumsumexp_keeps_its_digits_however_far_the_entries_lie_apart(row: list[float], against_mpmath: Any) -> None:
    against_mpmath(ops.logcumsumexp, running_logsumexp, row, widest=1e4)


def test_third_derivatives_of_cumprod_and_logcumsumexp_are_exact() -> None:
    def third(fn: Any, x: Any) -> Any:
        return jacobian(hessian(lambda x: fn(x)[-1]))(x)

    zeros = third(ops.cumprod, np.array([0.0, 2.0, 0.0, 3.0]))
    assert (zeros[0, 1, 2], zeros[0, 2, 3], zeros[0, 0, 1], zeros[1, 2, 3]) == (3.0, 2.0, 0.0, 0.0)
    # log(e^a + e^b) has third derivative s (1 - s) (1 - 2s) with s the logistic function of a - b.
    s = 1.0 / (1.0 + np.exp(40.0))
    assert third(ops.logcumsumexp, np.array([-40.0, 0.0]))[0, 0, 0] == pytest.approx(
        s * (1 - s) * (1 - 2 * s), rel=1e-13
    )


def test_leading_entries_of_minus_infinity_have_value_minus_infinity_and_derivative_zero() -> None:
    x = np.array([-np.inf, -np.inf, 0.0, -np.inf, 1.0])
    y, pull = vjp(ops.logcumsumexp, x)
    np.testing.assert_array_equal(y[:2], [-np.inf, -np.inf])
    assert y[3] == 0.0
    gradient = pull(np.ones(5))[0]
    share = np.exp(1.0) / (1.0 + np.exp(1.0))
    np.testing.assert_allclose(gradient, [0.0, 0.0, 3.0 - share, 0.0, share], rtol=1e-15)
    assert np.isfinite(hessian(lambda x: ops.sum(ops.logcumsumexp(x)[2:]))(x)).all()


def test_an_infinite_entry_takes_the_whole_running_sum() -> None:
    y, pull = vjp(ops.logcumsumexp, np.array([1.0, np.inf, 2.0]))
    np.testing.assert_array_equal(y, [1.0, np.inf, np.inf])
    np.testing.assert_array_equal(pull(np.ones(3))[0], [1.0, 2.0, 0.0])


def test_a_nan_spoils_only_what_follows_it() -> None:
    x = np.array([1.0, np.nan, 2.0])
    for scan in (ops.cumsum, ops.cumprod, ops.logcumsumexp, ops.cummax, ops.cummin):
        assert np.isnan(scan(x)).tolist() == [False, True, True]


def test_ties_of_a_running_maximum_share_the_gradient() -> None:
    expected = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]
    np.testing.assert_array_equal(jacobian(ops.cummax)(np.array([2.0, 2.0, 1.0])), expected)


def test_scans_of_nothing_and_of_one_entry_are_themselves() -> None:
    for scan in (ops.cumsum, ops.cumprod, ops.logcumsumexp, ops.cummax, ops.cummin):
        assert scan(np.zeros((2, 0)), 1).shape == (2, 0)
        assert scan(np.float64(3.0)).tolist() == [3.0]
        assert grad(lambda x, scan=scan: ops.sum(scan(x, 1)))(np.zeros((2, 0))).shape == (2, 0)


def test_the_recurrence_runs_both_ways() -> None:
    a, b = np.array([9.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0])
    np.testing.assert_array_equal(bind("recurrence", a, b, axis=0, adjoint=False), [1.0, 3.0, 10.0])
    np.testing.assert_array_equal(bind("recurrence", a, b, axis=0, adjoint=True), [9.0, 4.0, 1.0])


def test_an_axis_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ParameterError, match="cumsum: axis=2 and x has 2 axes"):
        ops.cumsum(GRID, 2)
