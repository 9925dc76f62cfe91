"""Elementwise functions at singular points: ties, zeros, infinities, NaN, the ends of a domain; expected by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import grad, hessian, ops

SMOOTH = (
    "acos acosh asin asinh atan atanh cos cosh digamma entr erf erfc erfcx erfinv exp exp2 expm1 i0 i0e i1 i1e lgamma "
    "log log10 log1p log2 log_ndtr log_sigmoid logit ndtr ndtri reciprocal rsqrt sigmoid silu sin sinc sinh softplus "
    "sqrt square tan tanh"
).split()


def at(fn: Callable[[Any], Any], x: float) -> tuple[float, float, float]:
    """Value, first and second derivative of a scalar function."""
    point = np.array(x)
    return float(fn(point)), float(grad(fn)(point)), float(hessian(fn)(point))


INF, NAN = np.inf, np.nan
# name, x, value, slope, curvature: limits from inside the domain, by hand
LIMITS = [
    ("exp", -INF, 0.0, 0.0, 0.0),
    ("exp", 710.0, INF, INF, INF),
    ("exp2", 1024.0, INF, 2.0 * np.log(2.0) * 2.0**1023, 2.0 * np.log(2.0) ** 2 * 2.0**1023),
    ("exp2", -1080.0, 0.0, 0.0, 0.0),
    ("expm1", -INF, -1.0, 0.0, 0.0),
    ("log", 0.0, -INF, INF, -INF),
    ("log1p", -1.0, -INF, INF, -INF),
    ("sqrt", 0.0, 0.0, INF, -INF),
    ("sigmoid", 800.0, 1.0, 0.0, 0.0),
    ("sigmoid", -800.0, 0.0, 0.0, 0.0),
    ("sigmoid", INF, 1.0, 0.0, 0.0),
    ("sigmoid", -INF, 0.0, 0.0, 0.0),
    ("log_sigmoid", -800.0, -800.0, 1.0, 0.0),
    ("log_sigmoid", INF, 0.0, 0.0, 0.0),
    ("softplus", 800.0, 800.0, 1.0, 0.0),
    ("softplus", -INF, 0.0, 0.0, 0.0),
    ("silu", INF, INF, 1.0, 0.0),
    ("silu", -INF, 0.0, 0.0, 0.0),
    ("tanh", INF, 1.0, 0.0, 0.0),
    ("tanh", -800.0, -1.0, 0.0, 0.0),
    ("atanh", 1.0, INF, INF, INF),
    ("asin", 1.0, np.pi / 2, INF, INF),
    ("acos", 1.0, 0.0, -INF, -INF),
    ("acosh", 1.0, 0.0, INF, -INF),
    ("atan", 1e200, np.pi / 2, 0.0, 0.0),
    ("sinc", 0.0, 1.0, 0.0, -(np.pi**2) / 3),
    ("entr", 0.0, 0.0, INF, -INF),
    ("i1e", 0.0, 0.0, 0.5, 0.0),
    ("abs", 0.0, 0.0, 0.0, 0.0),
    ("relu", 0.0, 0.0, 0.0, 0.0),
    ("i0e", 0.0, 1.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("name", "x", "value", "slope", "curvature"), LIMITS)
def test_singular_points_have_their_limits(name: str, x: float, value: float, slope: float, curvature: float) -> None:
    found = at(getattr(ops, name), x)
    # Two roundings: π²/3 and π/2 are products of a rounded π.
    np.testing.assert_allclose(found, (value, slope, curvature), rtol=4 * np.finfo(float).eps, atol=0.0)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_smooth_function_passes_nan_on_to_its_value_and_slope(name: str) -> None:
    value, slope, _ = at(getattr(ops, name), NAN)
    assert np.isnan(value) and np.isnan(slope)


# (a, b): value, ∂a, ∂b, ∂aa, ∂bb; each by the limit of aᵇ along that argument; 0ᵇ has none at b = 0, where it jumps
POWERS = [
    ((0.0, 0.0), (1.0, 0.0, NAN, 0.0, NAN)),
    ((0.0, 1.0), (0.0, 1.0, 0.0, 0.0, 0.0)),
    ((0.0, 2.0), (0.0, 0.0, 0.0, 2.0, 0.0)),
    ((0.0, 3.0), (0.0, 0.0, 0.0, 0.0, 0.0)),
    ((2.0, 0.0), (1.0, 0.0, np.log(2.0), 0.0, np.log(2.0) ** 2)),
    ((-2.0, 2.0), (4.0, -4.0, NAN, 2.0, NAN)),
    ((-2.0, 0.0), (1.0, 0.0, NAN, 0.0, NAN)),
]


@pytest.mark.parametrize(("point", "expected"), POWERS)
def test_power_has_its_limits_at_base_zero_and_small_exponents(point: Any, expected: Any) -> None:
    a, b = (np.array(v) for v in point)
    value, by_a, by_aa = at(lambda v: ops.pow(v, b), float(a))
    _, by_b, by_bb = at(lambda v: ops.pow(a, v), float(b))
    np.testing.assert_array_equal((value, by_a, by_b, by_aa, by_bb), expected)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, -1, 1.5])
def test_power_by_a_plain_number_agrees_with_power_by_an_array(exponent: float) -> None:
    for x in (0.7, 2.0):
        number = at(lambda v: ops.pow(v, exponent), x)
        array = at(lambda v: ops.pow(v, np.array(exponent)), x)
        # Both are a few roundings long.
        np.testing.assert_allclose(number, array, rtol=8 * np.finfo(float).eps)


def test_mixed_derivative_of_power_survives_exponent_zero() -> None:
    matrix = hessian(lambda v: ops.pow(v[0], v[1]))(np.array([4.0, 0.0]))
    assert matrix[0, 1] == matrix[1, 0] == 0.25


def both(fn: Callable[..., Any], a: float, b: float) -> tuple[float, float]:
    x, y = grad(fn, argnums=(0, 1))(np.array(a), np.array(b))
    return float(x), float(y)


# (name, a, b, ∂a, ∂b)
PAIR_LIMITS = [
    ("logaddexp", -INF, -INF, 0.0, 0.0),
    ("logaddexp", INF, INF, 0.5, 0.5),
    ("logaddexp", -INF, 3.0, 0.0, 1.0),
    ("logaddexp", INF, 3.0, 1.0, 0.0),
    ("logaddexp2", -INF, -INF, 0.0, 0.0),
    ("xlogy", 0.0, 0.0, -INF, 0.0),
    ("xlog1py", 0.0, -1.0, -INF, 0.0),
    ("hypot", 0.0, 0.0, 0.0, 0.0),
    ("atan2", 0.0, 0.0, NAN, NAN),
    ("atan2", 1.0, INF, 0.0, 0.0),
    ("maximum", 2.0, 2.0, 0.5, 0.5),
    ("minimum", 2.0, 2.0, 0.5, 0.5),
    ("maximum", INF, INF, 0.5, 0.5),
    ("maximum", 2.0, 3.0, 0.0, 1.0),
    ("minimum", 2.0, 3.0, 1.0, 0.0),
    ("fmax", 2.0, NAN, 1.0, 0.0),
    ("fmin", NAN, 2.0, 0.0, 1.0),
    ("fmax", 2.0, 2.0, 0.5, 0.5),
    ("copysign", 0.0, -1.0, 0.0, 0.0),
    ("copysign", -2.0, -1.0, 1.0, 0.0),
    ("heaviside", 0.0, 3.0, 0.0, 1.0),
    ("heaviside", 1.0, 3.0, 0.0, 0.0),
    ("remainder", -3.0, 2.0, 1.0, 2.0),
    ("fmod", -3.0, 2.0, 1.0, 1.0),
]


@pytest.mark.parametrize(("name", "a", "b", "by_a", "by_b"), PAIR_LIMITS)
def test_ties_infinities_and_origins_have_the_documented_slopes(
    name: str, a: float, b: float, by_a: float, by_b: float
) -> None:
    np.testing.assert_array_equal(both(getattr(ops, name), a, b), (by_a, by_b))


@pytest.mark.parametrize("name", ["sign", "floor", "ceil", "trunc", "round"])
def test_step_functions_are_numpys_and_have_slope_zero(name: str) -> None:
    x = np.array([-1.5, -0.2, 0.0, 0.5, 2.5])
    fn = getattr(ops, name)
    np.testing.assert_array_equal(fn(x), getattr(np, name)(x))
    np.testing.assert_array_equal(grad(lambda v: ops.sum(fn(v)))(x), np.zeros(5))
    assert both(ops.floor_divide, 7.0, 2.0) == (0.0, 0.0)


@pytest.mark.parametrize(("low", "high", "x", "slope"), [(-1, 1, 1, 0), (-1, 1, 0.9, 1), (1, -1, 0, 0)])
def test_clip_by_numbers_has_slope_zero_on_and_beyond_its_bounds(
    low: float, high: float, x: float, slope: float
) -> None:
    assert at(lambda v: ops.clip(v, low, high), x) == (np.minimum(np.maximum(x, low), high), slope, 0.0)


def test_clip_differentiates_bounds_that_are_arrays_and_leaves_open_sides_open() -> None:
    low = grad(lambda b: ops.sum(ops.clip(np.array([-3.0, 0.5]), b, None)))(np.array(-1.0))
    assert low == 1.0
    assert at(lambda v: ops.clip(v, None, 2.0), -50.0)[:2] == (-50.0, 1.0)


def test_selection_keeps_what_is_not_selected_out_whatever_it_multiplies() -> None:
    x = np.array([-1.0, 4.0])
    gradient = grad(lambda v: ops.sum(ops.where(v > 0, ops.sqrt(v), 0.0)))(x)
    np.testing.assert_array_equal(gradient, [0.0, 0.25])
    assert at(lambda v: ops.nan_to_num(ops.sqrt(v)), -1.0) == (0.0, 0.0, 0.0)
    assert at(lambda v: ops.stop_gradient(v) * v, 3.0) == (9.0, 3.0, 0.0)


def test_polygamma_refuses_a_negative_order_and_says_what_it_takes() -> None:
    with pytest.raises(ValueError, match=r"polygamma: order=-1; accepted are whole numbers from 0\. Check the order\."):
        ops.polygamma(1.0, -1)
