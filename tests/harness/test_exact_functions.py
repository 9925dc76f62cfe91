"""The referee's own table: slopes are those of its values, values are those of other libraries, rounding is IEEE's."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from gradwitness.harness.arbitration.exact_functions import EXACT, exactly, last_place, nearest
from gradwitness.harness.arbitration.ulp_table import PARAMETERS, measured
from gradwitness.harness.generation.scalar_expressions import OPERATIONS
from gradwitness.reference_engine import PRIMITIVES
from hypothesis import given
from hypothesis import strategies as st

# Central differences with a relative step of 1e-20 at 80 digits: truncation is 1e-40 times derivatives of like size,
# rounding 1e-60.
STEP, SAME_SLOPE = mp.mpf(10) ** -20, 1e-30
# Kernels in float64 lose at most some hundred roundings at these points; two different functions differ by far more.
SAME_VALUE = 1e-12
POINTS = [0.3, 0.75, 1e-5, 2.3, 11.7, 1.0001, -0.3, -1.7, -5.5]
UNIT = {"logit", "ndtri", "binary_cross_entropy", "erfinv", "asin", "acos", "atanh"}
SECOND = 0.37


def places(name: str) -> list[list[float]]:
    """Points inside the domain of a function, away from kinks."""
    tags = PRIMITIVES[name].domain
    first = [x for x in POINTS if tags[0] == "real" or x > 0.0]
    if name in UNIT:
        first = [x for x in first if 0.0 < x < 1.0]
    if name == "acosh":
        first = [x for x in first if x > 1.0]
    if name == "power_constant":
        first = [x for x in first if x > 0.0]
    return [[x, *[SECOND] * (len(tags) - 1)] for x in first]


def test_every_measured_primitive_and_every_drawn_operation_has_an_exact_function_and_none_is_left_over() -> None:
    assert set(EXACT) == set(measured())
    assert set(OPERATIONS) <= set(EXACT)
    for name, exact in EXACT.items():
        assert len(exact.slopes) == len(PRIMITIVES[name].domain), name


@pytest.mark.parametrize("name", [n for n in EXACT if any(EXACT[n].slopes)])
def test_each_slope_is_the_limit_of_differences_of_the_value(name: str) -> None:
    exact, params = EXACT[name], PARAMETERS.get(name, {})
    for at in places(name):
        with exactly():
            xs = [mp.mpf(x) for x in at]
            for i, slope in enumerate(exact.slopes):
                if slope is None:
                    continue
                h = STEP * abs(xs[i])
                ends = [exact.value(*[x + s * h if j == i else x for j, x in enumerate(xs)], **params) for s in (1, -1)]
                difference = (ends[0] - ends[1]) / (2 * h)
                found = slope(*xs, **params)
                # erf' at 11.7 is 1e-60: what the difference of two numbers near 1 cannot show
                noise = mp.mpf(10) ** -58 * max(map(abs, ends))
                assert abs(difference - found) <= SAME_SLOPE * abs(found) + noise, (at, i)


@pytest.mark.parametrize("name", list(EXACT))
def test_each_value_is_that_of_numpy_or_scipy(name: str) -> None:
    params = PARAMETERS.get(name, {})
    for at in places(name):
        expected = float(PRIMITIVES[name].forward(*[np.float64(x) for x in at], **params))
        with exactly():
            found = float(EXACT[name].value(*[mp.mpf(x) for x in at], **params))
        assert found == pytest.approx(expected, rel=SAME_VALUE, abs=SAME_VALUE), at


def test_far_tails_have_the_limits_that_analysis_gives() -> None:
    with exactly():
        x = mp.mpf(1e300)
        assert EXACT["erfcx"].value(x) * x * mp.sqrt(mp.pi) == pytest.approx(1.0)  # 1/(√π x)
        assert EXACT["erfcx"].slopes[0](x) * x * x * mp.sqrt(mp.pi) == pytest.approx(-1.0)
        assert EXACT["log_ndtr"].slopes[0](-x) / x == pytest.approx(1.0)  # φ/Φ tends to -x
        assert EXACT["i0e"].value(x) * mp.sqrt(2 * mp.pi * x) == pytest.approx(1.0)
        assert EXACT["sinc"].slopes[0](1 / x) * x / -(mp.pi**2) == pytest.approx(1 / 3)
        assert EXACT["fmod"].value(x, mp.mpf(3)) == int(1e300) % 3


def test_tiny_probabilities_keep_their_digits() -> None:
    with exactly():
        p = mp.mpf(1e-300)
        z = EXACT["ndtri"].value(p)
        assert abs(mp.erfc(-z / mp.sqrt(2)) / 2 / p - 1) < mp.mpf(10) ** -40
        y = EXACT["erfinv"].value(1 - mp.mpf(2) ** -53)
        assert abs(mp.erfc(y) * mp.mpf(2) ** 53 - 1) < mp.mpf(10) ** -40


@given(st.floats(allow_nan=False), st.sampled_from(["float64", "float32"]))
def test_rounding_is_numpys(x: float, dtype: str) -> None:
    with np.errstate(over="ignore"), exactly():
        expected = float(np.float64(x).astype(dtype))
        assert nearest(mp.mpf(x), dtype) == expected
        if math.isfinite(expected):
            size, kind = abs(expected), np.dtype(dtype).type
            # NumPy's spacing is the way to the next number, which the largest lacks; the one before it has the same.
            at = np.nextafter(kind(size), kind(0)) if size == float(np.finfo(dtype).max) else kind(size)
            assert last_place(expected, dtype) == float(np.spacing(at))
        else:
            assert math.isnan(last_place(expected, dtype))


def test_halves_go_to_the_even_neighbour_and_a_little_more_goes_up() -> None:
    with exactly():
        half = mp.mpf(1) + mp.ldexp(1, -53)
        assert nearest(half) == 1.0
        assert nearest(half + mp.ldexp(1, -200)) == 1.0 + 2.0**-52
        assert nearest(mp.ldexp(1, -1075)) == 0.0
        assert nearest(mp.ldexp(3, -1075)) == 2.0**-1073
        assert nearest(mp.ldexp(1, 1024) - mp.ldexp(1, 970)) == math.inf
        assert nearest(mp.ldexp(1, 10**9)) == math.inf
        assert nearest(-mp.ldexp(1, -(10**9))) == 0.0
