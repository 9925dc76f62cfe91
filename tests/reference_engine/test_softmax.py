"""softmax, log_softmax, logsumexp: digits kept when one entry dominates, rows of -inf, second order."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
from gradwitness.reference_engine import PRIMITIVES, grad, hessian, jacobian, ops, simplify, vjp
from gradwitness.reference_engine.evaluate import evaluate
from gradwitness.reference_engine.reverse import reverse
from gradwitness.reference_engine.tracing import bind, trace

GRID = np.array([[1.5, -2.0, 0.25, 3.0], [0.7, 0.1, -1.3, 2.2]])
ROWS = [
    [0.3, -1.2, 2.0],
    [0.0, 60.0, -3.0],  # one entry takes all but 1e-26
    [1.0, -50.0, -50.0],
    [700.0, 705.0, 690.0],
    [-1e4, 0.0, 1.0],
    [2.0, 2.0, 2.0],
    [1e-30, 0.0, -1e-30],
]


def exp(x: Any) -> Any:
    return np.vectorize(mp.exp, otypes=[object])(x)


def log(x: Any) -> Any:
    return np.vectorize(mp.log, otypes=[object])(x)


def softmax(x: Any, axis: int = -1) -> Any:
    return exp(x) / np.sum(exp(x), axis=axis, keepdims=True)


def log_softmax(x: Any) -> Any:
    return x - log(np.sum(exp(x), axis=-1, keepdims=True))


def logsumexp(x: Any) -> Any:
    return log(np.sum(exp(x), axis=-1))


FUNCTIONS = {
    "softmax": (ops.softmax, softmax),
    "log_softmax": (ops.log_softmax, log_softmax),
    "logsumexp": (lambda x: ops.logsumexp(x, -1), logsumexp),
}


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_row_agrees_with_mpmath_to_second_order(name: str, row: list[float], against_mpmath: Any) -> None:
    against_mpmath(*FUNCTIONS[name], row, widest=1e4)


def test_any_axis_and_several_axes_work(against_mpmath: Any) -> None:
    against_mpmath(lambda x: ops.softmax(x, 0), lambda x: softmax(x, 0), GRID)
    against_mpmath(
        lambda x: ops.logsumexp(x, (0, 1), keepdims=True), lambda x: log(np.sum(exp(x), keepdims=True)), GRID
    )


def test_the_derivative_at_the_dominant_entry_keeps_its_digits_where_the_lossy_rule_does_not() -> None:
    x, g = np.array([0.0, 60.0, -3.0]), np.array([0.0, 1.0, 0.0])
    with mp.workdps(50):
        p = softmax(np.array([mp.mpf(v) for v in x]))
        right = float(p[1] * (1 - p[1])), float(1 - p[1])
    for operation, expected in zip((ops.softmax, ops.log_softmax), right, strict=True):
        program = trace(operation, x)
        accurate = evaluate(simplify(reverse(program)), x, g)[1]
        lossy = evaluate(simplify(reverse(program, lossy=True)), x, g)[1]
        assert accurate == pytest.approx(expected, rel=1e-14)
        assert abs(lossy - expected) > 0.5 * expected


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "logcumsumexp"])
def test_the_lossy_rule_is_the_same_derivative(name: str) -> None:
    assert PRIMITIVES[name].lossy is not None
    g = np.ones(2) if name == "logsumexp" else np.cos(np.arange(8.0)).reshape(2, 4)
    program = trace(lambda x: bind(name, x, axis=1), GRID)
    accurate, lossy = (evaluate(reverse(program, lossy=choice), GRID, g) for choice in (False, True))
    np.testing.assert_allclose(lossy, accurate, atol=1e-14)


def test_a_row_of_minus_infinity_has_logsumexp_minus_infinity_and_derivative_zero() -> None:
    x = np.array([[-np.inf, -np.inf], [0.0, -np.inf]])
    y, pull = vjp(lambda x: ops.logsumexp(x, 1), x)
    np.testing.assert_array_equal(y, [-np.inf, 0.0])
    np.testing.assert_array_equal(pull(np.ones(2))[0], [[0.0, 0.0], [1.0, 0.0]])
    second = hessian(lambda x: ops.sum(ops.where(np.array([False, True]), ops.logsumexp(x, 1), 0.0)))(x)
    np.testing.assert_array_equal(second, np.zeros((2, 2, 2, 2)))


def test_minus_infinity_beside_finite_entries_has_share_zero_to_second_order() -> None:
    x = np.array([1.0, -np.inf, 1.0])
    np.testing.assert_array_equal(ops.softmax(x), [0.5, 0.0, 0.5])
    np.testing.assert_array_equal(jacobian(ops.softmax)(x), [[0.25, 0, -0.25], [0, 0, 0], [-0.25, 0, 0.25]])
    assert np.isfinite(jacobian(jacobian(ops.softmax))(x)).all()


def test_softmax_of_minus_infinity_alone_is_not_a_number() -> None:
    assert np.isnan(ops.softmax(np.full(2, -np.inf))).all()


def test_nothing_sums_to_minus_infinity_and_keeps_its_shape() -> None:
    assert ops.logsumexp(np.zeros(0)) == -np.inf
    assert ops.softmax(np.zeros((2, 0))).shape == ops.log_softmax(np.zeros((0, 2))).shape[::-1] == (2, 0)
    assert grad(ops.logsumexp)(np.zeros(0)).shape == (0,)


def test_one_entry_has_the_whole_share_and_no_derivative() -> None:
    assert ops.softmax(np.array([[3.0]])) == 1.0
    assert grad(lambda x: ops.sum(ops.softmax(x)))(np.array([[3.0]])) == 0.0
    assert ops.logsumexp(np.float64(2.5)) == 2.5


def test_logsumexp_next_to_zero_is_accurate_although_a_sum_that_is_rounded_would_not_be() -> None:
    assert ops.logsumexp(np.array([0.0, -50.0, -50.0])) == pytest.approx(2.0 * np.exp(-50.0), rel=1e-15)
