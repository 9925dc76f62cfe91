"""Numerical derivatives: each has the error its docstring states, on functions with a known derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import numerical, ops, trace
from gradwitness.reference_engine.errors import DerivativeError, ParameterError, ShapeError

X = np.array([[0.3, -1.2], [2.0, 0.7]])
SECOND, THIRD = 1.0, 1.0  # bounds of the second and third derivative of sine
EPSILON = np.finfo(float).eps
SIZE = 4.0  # |f| is at most the sum of four sines


def sines(x: Any) -> Any:
    return ops.sum(ops.sin(x))


METHODS = [numerical.one_sided, numerical.central, numerical.richardson, numerical.complex_step]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("as_program", [False, True])
def test_each_method_differentiates_functions_and_programs(method: Any, as_program: bool) -> None:
    fn = trace(sines, X) if as_program else sines
    h = {"one_sided": 2 * numerical.ONE_SIDED_STEP, "central": 2 * numerical.CENTRAL_STEP}.get(method.__name__)
    # |x| ≤ 2 at most doubles the step; the sums are of the docstrings' two terms. Extrapolation leaves rounding only,
    # ε |f| over the smallest step of the tableau, 0.1/1.4¹¹ = 0.0025.
    bound = {
        "one_sided": lambda: h / 2 * SECOND + 4 * EPSILON * SIZE / h * 2,
        "central": lambda: h**2 / 6 * THIRD + 2 * EPSILON * SIZE / h * 2,
        "richardson": lambda: 4 * EPSILON * SIZE / 0.0025,
        "complex_step": lambda: 4 * EPSILON,
    }[method.__name__]()
    found = method(fn, X)
    assert found.shape == X.shape
    assert np.max(np.abs(found - np.cos(X))) <= bound


def slope_of_error(method: Any, steps: list[float]) -> float:
    """How many powers of ten the error falls by when the step falls by one."""
    errors = [float(abs(method(ops.exp, np.array(0.5), step=h) - np.exp(0.5))) for h in steps]
    return float(np.polyfit(np.log10(steps), np.log10(errors), 1)[0])


def test_one_sided_error_is_of_first_order_and_central_of_second() -> None:
    steps = [1e-1, 1e-2, 1e-3]
    # The next term of each series bends the line by less than a tenth at these steps.
    assert slope_of_error(numerical.one_sided, steps) == pytest.approx(1.0, abs=0.1)
    assert slope_of_error(numerical.central, steps) == pytest.approx(2.0, abs=0.1)


def test_a_step_too_small_drowns_one_sided_differences_but_not_the_complex_step() -> None:
    tiny = 1e-15
    right = np.exp(0.5)
    assert abs(numerical.one_sided(ops.exp, np.array(0.5), step=tiny) - right) > 1e-3
    assert abs(numerical.complex_step(ops.exp, np.array(0.5), step=tiny) - right) <= 2 * EPSILON * right


def test_at_a_kink_one_sided_gives_the_slope_to_the_right_and_central_the_mean() -> None:
    zero = np.array(0.0)
    assert numerical.one_sided(ops.abs, zero) == 1.0
    assert numerical.central(ops.abs, zero) == 0.0


def test_along_gives_the_directional_derivative_of_every_output_and_an_error_that_covers_it() -> None:
    a, b = np.array([0.3, 0.7]), np.array([1.1, -0.4])
    ta, tb = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    found, error = numerical.along(lambda x, y: ops.exp(x) * y, [a, b], [ta, tb])
    exact = np.exp(a) * (ta * b + tb)
    assert found.shape == error.shape == (2,)
    assert np.all(np.abs(found - exact) <= 10 * error + 10 * EPSILON * np.abs(exact))
    assert np.all(error < 1e-9)


def test_empty_and_scalar_arrays_keep_their_shape() -> None:
    assert numerical.central(lambda x: ops.sum(x), np.zeros((0, 3))).shape == (0, 3)
    assert numerical.central(lambda x: x * x, np.array(3.0)).shape == ()


def test_complex_step_refuses_a_program_that_is_not_analytic() -> None:
    program = trace(lambda x: ops.sum(ops.abs(x)), X)
    with pytest.raises(DerivativeError, match=r"complex_step: f uses abs; .*Use richardson\."):
        numerical.complex_step(program, X)


def test_misuse_is_told_in_one_sentence() -> None:
    with pytest.raises(ShapeError, match=r"central: fn returned shape \(2, 2\); accepted is a scalar"):
        numerical.central(ops.sin, X)
    with pytest.raises(ParameterError, match=r"step=-1\.0; accepted are positive numbers"):
        numerical.central(sines, X, step=-1.0)
    with pytest.raises(ShapeError, match=r"along: points have shapes \[\(2, 2\)\] and directions \[\(2,\)\]"):
        numerical.along(ops.sin, [X], [np.ones(2)])
