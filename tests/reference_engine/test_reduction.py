"""Sums, means, maxima, minima, products, moments and norms, at ordinary values and where they are special."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
from gradwitness.reference_engine import (
    ParameterError,
    ShapeError,
    grad,
    hessian,
    jacobian,
    jvp,
    ops,
    reverse,
    simplify,
    vjp,
)
from gradwitness.reference_engine.evaluate import Plan
from gradwitness.reference_engine.rounding import spread
from gradwitness.reference_engine.tracing import trace

GRID = np.array([[1.5, -2.0, 0.25, 3.0], [0.7, 0.1, -1.3, 2.2]])
U = 2.0**-53


def mean(x: Any) -> Any:
    return np.sum(x, axis=-1) / x.shape[-1]


def variance(x: Any, correction: int = 0) -> Any:
    return np.sum((x - mean(x)[..., None]) ** 2, axis=-1) / (x.shape[-1] - correction)


def root(x: Any) -> Any:
    return np.vectorize(mp.sqrt, otypes=[object])(x)


def p_norm(x: Any, p: float) -> Any:
    power = np.vectorize(lambda v: mp.power(abs(v), p), otypes=[object])(x)
    return np.vectorize(lambda v: mp.power(v, 1 / mp.mpf(p)), otypes=[object])(np.sum(power, axis=-1))


CASES = {
    "sum": (lambda x: ops.sum(x, -1), lambda x: np.sum(x, -1)),
    "sum of all, kept": (lambda x: ops.sum(x, keepdims=True), lambda x: np.sum(x, keepdims=True)),
    "mean": (lambda x: ops.mean(x, 1), mean),
    "mean of several axes": (lambda x: ops.mean(x, (0, 1)), lambda x: np.sum(x) / x.size),
    "max": (lambda x: ops.max(x, 1), lambda x: np.max(x, axis=1)),
    "min over two axes": (lambda x: ops.min(x, (0, 1)), lambda x: np.min(x)),
    "prod": (lambda x: ops.prod(x, 1), lambda x: np.prod(x, axis=1)),
    "prod along the first axis": (lambda x: ops.prod(x, 0, keepdims=True), lambda x: np.prod(x, axis=0, keepdims=True)),
    "prod of all": (ops.prod, lambda x: np.prod(x)),
    "var": (lambda x: ops.var(x, 1), variance),
    "var with correction": (lambda x: ops.var(x, 1, 1), lambda x: variance(x, 1)),
    "std": (lambda x: ops.std(x, -1, 1), lambda x: root(variance(x, 1))),
    "norm": (lambda x: ops.norm(x, axis=1), lambda x: root(np.sum(x * x, axis=1))),
    "norm 1": (lambda x: ops.norm(x, 1, 1), lambda x: np.sum(np.abs(x), axis=1)),
    "norm inf": (lambda x: ops.norm(x, np.inf, 1), lambda x: np.max(np.abs(x), axis=1)),
    "norm -inf": (lambda x: ops.norm(x, -np.inf, 1), lambda x: np.min(np.abs(x), axis=1)),
    "norm 3": (lambda x: ops.norm(x, 3, 1), lambda x: p_norm(x, 3)),
    "norm 1.5": (lambda x: ops.norm(x, 1.5, 1), lambda x: p_norm(x, 1.5)),
    "norm 0.5": (lambda x: ops.norm(x, 0.5, 1), lambda x: p_norm(x, 0.5)),
    "norm -2": (lambda x: ops.norm(x, -2, 1), lambda x: p_norm(x, -2)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_reduction_agrees_with_mpmath_to_second_order(name: str, against_mpmath: Any) -> None:
    against_mpmath(*CASES[name], GRID)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std", "norm", "norm 3"])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tiny_and_huge_data_keep_their_digits(name: str, scale: float, against_mpmath: Any) -> None:
    against_mpmath(*CASES[name], GRID * scale)


@pytest.mark.parametrize(
    "row", [[2.0, 0.0, -3.0, 0.5], [0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 0.0, 2.0], [1.0, 2.0, -1.0, 3.0]]
)
def test_a_product_is_exact_at_any_number_of_zeros_to_second_order(row: list[float], against_mpmath: Any) -> None:
    against_mpmath(lambda x: ops.prod(x, 0), lambda x: np.prod(x, axis=0), row)


def test_a_product_whose_partial_products_overflow_is_exact() -> None:
    x = np.array([1e200, 1e200, 1e-200, 1e-200])
    assert ops.prod(x) == pytest.approx(1.0, rel=8 * U)  # at most 8 roundings of the factors and their product
    np.testing.assert_allclose(grad(ops.prod)(x), 1.0 / x, rtol=16 * U)  # as many again in the rule
    long = np.tile([1e300, 1e-300], 500)
    np.testing.assert_allclose(grad(ops.prod)(long), 1.0 / long, rtol=2000 * U)  # 2 roundings a factor


def test_an_empty_product_is_one_and_an_empty_mean_is_not_a_number() -> None:
    assert ops.prod(np.zeros(0)) == 1.0
    assert np.isnan(ops.mean(np.zeros(0)))
    assert grad(ops.prod)(np.zeros(0)).shape == (0,)


def test_tied_maxima_share_the_gradient_and_the_rest_is_a_strong_zero() -> None:
    x = np.array([4.0, 0.0, 4.0, -1.0])
    np.testing.assert_array_equal(grad(ops.max)(x), [0.5, 0.0, 0.5, 0.0])
    np.testing.assert_array_equal(grad(lambda x: ops.max(ops.sqrt(x)))(np.array([4.0, 0.0, 1.0])), [0.25, 0.0, 0.0])
    assert jvp(lambda x: ops.max(ops.sqrt(x)), (np.array([4.0, 0.0]),), (np.ones(2),))[1] == 0.25


def test_a_maximum_with_a_nan_sends_its_gradient_to_the_nan() -> None:
    np.testing.assert_array_equal(grad(ops.max)(np.array([1.0, np.nan, 2.0])), [0.0, 1.0, 0.0])


def test_the_largest_of_nothing_is_refused_in_our_own_words() -> None:
    with pytest.raises(ShapeError, match="max: x.shape=.*no entries along"):
        ops.max(np.zeros((2, 0)), 1)


def test_a_norm_at_zero_has_derivative_zero_and_a_standard_deviation_at_constant_data_too() -> None:
    np.testing.assert_array_equal(grad(ops.norm)(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(grad(lambda x: ops.norm(x, 3))(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(grad(lambda x: ops.std(x, correction=1))(np.full(7, 0.1)), np.zeros(7))
    np.testing.assert_array_equal(hessian(ops.norm)(np.zeros(2)), np.zeros((2, 2)))


def test_a_norm_neither_overflows_nor_underflows() -> None:
    for scale in (1e-300, 1e300):
        y, pull = vjp(ops.norm, scale * np.array([3.0, 4.0]))
        np.testing.assert_allclose([y / scale, *pull(1.0)[0]], [5.0, 0.6, 0.8], rtol=4 * U)  # 4 roundings


def test_a_variance_without_degrees_of_freedom_is_not_a_number() -> None:
    assert np.isnan(ops.var(np.array([3.0]), correction=1))
    assert np.isnan(ops.std(np.array([3.0]), correction=1))


def test_the_variance_of_shifted_data_has_a_sharp_spread() -> None:
    x = 1e6 + GRID[0]
    program = trace(ops.var, x)
    (exact,), (drift,) = spread(Plan(program), [x, *program.constants.values()], "float64")
    # One-pass algorithms move by 2 u |mean| / (√n σ), here about 5e5 u; a composed variance would by 1e12 u.
    assert drift < 2e6 * U * exact


def test_reductions_over_no_axes_are_the_identity() -> None:
    for reduction in (ops.sum, ops.mean, ops.max, ops.min, ops.prod):
        np.testing.assert_array_equal(reduction(GRID, ()), GRID)


def test_a_norm_of_an_order_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ParameterError, match="norm: ord='fro'"):
        ops.norm(GRID, "fro")


def test_a_sum_of_booleans_counts_them() -> None:
    assert ops.sum(np.array([True, True, False])) == 2.0
    assert jacobian(lambda x: ops.norm(x, 0, keepdims=True))(np.array([1.0, 0.0])).sum() == 0.0


def test_the_slope_of_a_standard_deviation_drifts_by_the_rounding_of_the_mean() -> None:
    """For two entries the slope is ±1/√2 whatever the data, yet x - mean carries the rounding of the mean."""
    x = np.array([100.0, 100.5])
    program = simplify(reverse(trace(lambda x: ops.std(x, correction=1), x)))
    plan = Plan(program)
    (slope,), (drift,) = spread(plan, [x, np.float64(1.0), *program.constants.values()], "float64", samples=64)
    np.testing.assert_array_equal(np.abs(slope - [-np.sqrt(0.5), np.sqrt(0.5)]) <= 6.0 * drift, True)
    assert (drift > 50 * U).all() and (drift < 1000 * U).all()


@pytest.mark.parametrize("name", ["prod", "var", "norm 3"])
def test_the_arbiter_catches_a_fault_of_one_in_a_million_million(name: str, against_mpmath: Any) -> None:
    ours, exact = CASES[name]
    with pytest.raises(AssertionError, match="value: entry"):
        against_mpmath(ours, lambda x: exact(x) * (1 + mp.mpf(10) ** -12), GRID)
    bent = lambda x: ours(ops.stop_gradient(x) * 1e-12 + x * (1.0 - 1e-12))
    with pytest.raises(AssertionError, match="gradient: entry"):
        against_mpmath(bent, exact, GRID)
