"""The error curve of numerical derivatives: slopes, best steps, exact digits, and bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from gradwitness.reference_engine import error_curve
from gradwitness.reference_engine.error_curve import STEPS_PER_DECADE, Line, default_steps
from gradwitness.reference_engine.errors import DerivativeError, DtypeError, ParameterError

EPSILON = 2.0**-52
# At both ends of a truncation side the error is the leading term within 1 %: at the low end rounding is 1/40 of it at
# most at a decade above the bottom (log₁₀ moves by 0.01), at the high end the next term is about h = 0.01 of it. Ends
# that are off by d tilt a line of least squares over L decades by at most 3d/L, and L is at least 1.5.
TRUNCATION_TOLERANCE = 3 * 0.01 / 1.5

CURVED: list[tuple[Callable[[Any], Any], float, str]] = [
    (lambda x: (x * x).sin(), 1.3, "2*x*cos(x**2)"),
    (lambda x: x * x.exp(), 0.7, "(1+x)*exp(x)"),
    (lambda x: x.softplus(), -2.0, "1/(1+exp(-x))"),
    (lambda x: x.exp(), 0.0, "exp(x)"),
]


def rounding_tolerance(line: Line) -> float:
    """Four standard deviations of the slope, where each error is its law times the difference of two uniform roundings.

    Such a difference has the density 2(1 - t) on [0, 1]: ln t has mean -3/2, mean square 7/2, so variance 5/4. The
    steps are even over L decades, whose standard deviation is L/√12.
    """
    decades = math.log10(line.high / line.low)
    return 4 * math.sqrt(5 / 4) / math.log(10) / (math.sqrt(line.points) * decades / math.sqrt(12))


@pytest.mark.parametrize(("fn", "x", "slope"), CURVED)
def test_errors_fall_with_the_order_of_the_method_and_rise_with_one_over_the_step(
    fn: Callable[[Any], Any], x: float, slope: str
) -> None:
    curve = error_curve(fn, x)
    for method, order in (("one_sided", 1.0), ("central", 2.0), ("complex_step", 2.0)):
        found = curve.method(method).truncation
        assert found is not None and found.slope == pytest.approx(order, abs=TRUNCATION_TOLERANCE)
    for method in ("one_sided", "central", "richardson"):
        found = curve.method(method).rounding
        assert found is not None and found.slope == pytest.approx(-1.0, abs=rounding_tolerance(found))
    assert curve.method("complex_step").rounding is None and curve.method("richardson").truncation is None


@pytest.mark.parametrize(("fn", "x", "slope"), CURVED)
def test_the_exact_derivative_has_fifty_right_digits(fn: Callable[[Any], Any], x: float, slope: str) -> None:
    with mpmath.workdps(60):
        names = {"x": mpmath.mpf(x), "exp": mpmath.exp, "cos": mpmath.cos}
        expected = eval(slope, names)
        assert abs(mpmath.mpf(error_curve(fn, x, [1e-5]).exact_digits) / expected - 1) < mpmath.mpf(10) ** -48


def test_the_best_step_is_where_both_errors_balance() -> None:
    # For exp at 0 all derivatives are 1: h/2 = 2ε/h · c and h²/6 = ε/h · c with c in (0, 1], up to chance.
    curve = error_curve(lambda x: x.exp(), 0.0)
    for method, theory in (("one_sided", EPSILON**0.5), ("central", EPSILON ** (1 / 3))):
        found = curve.method(method)
        low, high = found.bottom
        assert found.theory_step == pytest.approx(theory)
        assert low <= 2 * theory and theory / 4 <= high
        assert theory / 10 <= found.best_step <= 10 * theory


def test_the_complex_step_is_exact_to_rounding_down_to_1e_300() -> None:
    curve = error_curve(lambda x: x * x.exp(), 0.7).method("complex_step")
    small = [e for h, e in zip(curve.steps, curve.errors, strict=True) if h <= 1e-9]
    # e^x x with a slope e^x (1 + x): an exponential, two products, a sum, each within an ulp of 3.42 or less.
    assert min(curve.steps) == 1e-300 and max(small) <= 4 * math.ulp(3.42)


def test_a_method_that_is_exact_has_no_truncation_side() -> None:
    curve = error_curve(lambda x: x * x, 0.5)  # central differences of a parabola have no truncation error
    assert curve.method("central").truncation is None
    one_sided = curve.method("one_sided").truncation
    assert one_sided is not None
    # (x + h)² - x² over h is 2x + h: the error is h itself.
    assert one_sided.intercept == pytest.approx(0.0, abs=TRUNCATION_TOLERANCE * STEPS_PER_DECADE)


def test_steps_outside_the_domain_are_nan_and_stay_in_the_rows() -> None:
    curve = error_curve(lambda x: x.log(), 0.01, [0.1, 0.001, 1e-6], ["central"])
    rows = curve.rows()
    assert [row["step"] for row in rows] == [0.1, 0.001, 1e-6]
    assert math.isnan(rows[0]["error"]) and rows[2]["error"] < rows[1]["error"]


def test_default_steps_hold_every_whole_decade() -> None:
    steps = default_steps()
    assert {float(f"1e-{k}") for k in range(1, 17)} <= set(steps)
    assert len(steps) == 15 * STEPS_PER_DECADE + 1 and np.all(np.diff(steps) < 0)


def test_records_hold_plain_values_for_a_figure() -> None:
    curve = error_curve(lambda x: x.exp(), 0.0)
    assert {"method", "step", "derivative", "error"} == set(curve.rows()[0])
    assert {"method", "part", "slope", "intercept", "low", "high", "points"} == set(curve.lines()[0])
    assert [row["method"] for row in curve.bests()] == ["one_sided", "central", "richardson", "complex_step"]


BAD: list[tuple[Callable[[Any], Any], float, dict[str, Any], type[Exception], str]] = [
    (lambda x: x, 1.0, {"methods": ["secant"]}, ParameterError, "method='secant'; accepted are one_sided"),
    (lambda x: x, 1.0, {"steps": []}, ParameterError, r"steps=\[\]"),
    (lambda x: x, 1.0, {"steps": [0.1, 0.0]}, ParameterError, "accepted are positive finite numbers"),
    (lambda x: x, 1.0, {"steps": [math.inf]}, ParameterError, "accepted are positive finite numbers"),
    (lambda x: x, math.nan, {}, ParameterError, "finite numbers"),
    (lambda x: "text", 1.0, {}, DtypeError, "accepted is one number"),
    (lambda x: abs(x), 0.0, {}, DerivativeError, "-1.0 from the left, 1.0 from the right"),
    (lambda x: x.relu(), 0.0, {}, DerivativeError, "Move the point off the kink"),
    (lambda x: x.sqrt(), 0.0, {}, DerivativeError, "no value or slope at or beside x=0.0"),
    (lambda x: 1 / x, 0.0, {}, DerivativeError, "no value or slope at or beside x=0.0"),
    (lambda x: x.log(), 0.01, {"steps": [0.1], "methods": ["central"]}, ParameterError, "no step from 0.1 to 0.1"),
]


@pytest.mark.parametrize(("fn", "x", "options", "kind", "text"), BAD)
def test_bad_input_is_refused_with_a_reason(
    fn: Any, x: float, options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        error_curve(fn, x, **options)


def test_asking_for_a_method_that_was_not_run_names_those_that_were() -> None:
    curve = error_curve(lambda x: x.exp(), 0.0, methods=["central"])
    with pytest.raises(ParameterError, match="accepted are central"):
        curve.method("one_sided")
