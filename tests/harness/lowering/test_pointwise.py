"""Lowerings of pointwise functions and selections, at points where value and slope are known in closed form."""

import math

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.lowering import find

ROUNDINGS = 1e-14  # of numbers of size 1 that are computed in at most 20 steps of 2^-53 each
PI2 = math.pi**2

UNARY = [
    ("pow", lambda x: x**3, [2.0], [8.0], [12.0]),
    ("pow to 0", lambda x: x**0, [0.0], [1.0], [0.0]),
    ("base to x", lambda x: torch.pow(2.0, x), [3.0], [8.0], [8 * math.log(2.0)]),
    ("float_power", lambda x: torch.float_power(x, 0.5), [4.0], [2.0], [0.25]),
    ("ldexp", lambda x: torch.ldexp(x, torch.tensor(3)), [1.5], [12.0], [8.0]),
    ("frac", torch.frac, [-1.25], [-0.25], [1.0]),
    ("floor", torch.floor, [1.5], [1.0], [0.0]),
    ("round to tenths", lambda x: torch.round(x, decimals=1), [1.26], [1.3], [0.0]),
    ("divided and floored", lambda x: torch.div(x, 2.0, rounding_mode="floor"), [-3.0], [-2.0], [0.0]),
    ("sign", torch.sign, [-2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]),
    ("angle", torch.angle, [-2.0, 2.0], [math.pi, 0.0], [0.0, 0.0]),
    ("remainder", lambda x: torch.remainder(x, 3.0), [-1.0], [2.0], [1.0]),
    ("fmod", lambda x: torch.fmod(x, 3.0), [-4.0], [-1.0], [1.0]),
    ("nan_to_num", torch.nan_to_num, [1.0, math.inf], [1.0, np.finfo(np.float64).max], [1.0, 0.0]),
    ("logit", torch.logit, [0.5, 0.75], [0.0, math.log(3.0)], [4.0, 16 / 3]),
    ("logit with eps", lambda x: torch.logit(x, 0.25), [0.125, 0.5], [-math.log(3.0), 0.0], [0.0, 4.0]),
    ("clamp", lambda x: x.clamp(-1, 1), [-2.0, 0.5, 3.0], [-1.0, 0.5, 1.0], [0.0, 1.0, 0.0]),
    ("clamp to one point", lambda x: x.clamp(1, 1), [1.0], [1.0], [0.0]),
    ("clamp to nothing", lambda x: x.clamp(2, 1), [1.5], [1.0], [0.0]),
    ("clamp below", lambda x: x.clamp(min=1.0), [0.0, 2.0], [1.0, 2.0], [0.0, 1.0]),
    ("heaviside", lambda x: torch.where(x > 0, x, 0.0), [-1.0, 2.0], [0.0, 2.0], [0.0, 1.0]),
    ("deg2rad", torch.deg2rad, [180.0], [math.pi], [math.pi / 180]),
    ("sinc", torch.sinc, [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]),
    ("fill", lambda x: x.fill_(3.0) if not x.requires_grad else (x + 0).fill_(3.0), [1.0], [3.0], [0.0]),
    ("digamma", torch.digamma, [1.0], [-0.57721566490153286], [PI2 / 6]),
    ("polygamma", lambda x: torch.polygamma(1, x), [1.0], [PI2 / 6], [-2.404113806319188570799]),
    ("mvlgamma", lambda x: torch.mvlgamma(x, 1), [1.0], [0.0], [-0.57721566490153286]),
    ("erf", torch.erf, [0.0], [0.0], [2 / math.sqrt(math.pi)]),
    ("ndtr", torch.special.ndtr, [0.0], [0.5], [1 / math.sqrt(2 * math.pi)]),
    ("i0e", lambda x: torch.special.i1(x), [0.0], [0.0], [0.5]),
    ("entr", torch.special.entr, [1.0], [0.0], [-1.0]),
]


@pytest.mark.parametrize(("fn", "points", "values", "slopes"), [c[1:] for c in UNARY], ids=[c[0] for c in UNARY])
def test_a_function_has_its_known_value_and_slope(read, fn, points, values, slopes):
    value, (slope,) = read(fn, points)
    assert np.allclose(value, values, rtol=ROUNDINGS, atol=ROUNDINGS)
    assert np.allclose(slope, slopes, rtol=ROUNDINGS, atol=ROUNDINGS)


BINARY = [
    ("atan2", torch.atan2, (1.0, 0.0), math.pi / 2, (0.0, -1.0)),
    ("hypot", torch.hypot, (3.0, 4.0), 5.0, (0.6, 0.8)),
    ("xlogy", torch.xlogy, (2.0, math.e), 2.0, (1.0, 2 / math.e)),
    ("xlogy at 0", torch.xlogy, (0.0, 0.0), 0.0, (-math.inf, 0.0)),
    ("logaddexp", torch.logaddexp, (0.0, 0.0), math.log(2.0), (0.5, 0.5)),
    ("maximum", torch.maximum, (1.0, 2.0), 2.0, (0.0, 1.0)),
    ("fmin of NaN", torch.fmin, (math.nan, 2.0), 2.0, (0.0, 1.0)),
    ("copysign", torch.copysign, (-2.0, 1.0), 2.0, (-1.0, 0.0)),
    ("remainder", torch.remainder, (7.0, 3.0), 1.0, (1.0, -2.0)),
    ("ldexp", torch.ldexp, (3.0, 1.0), 6.0, (2.0, 6.0 * math.log(2.0))),
    ("sub with alpha", lambda a, b: torch.sub(a, b, alpha=3), (1.0, 2.0), -5.0, (1.0, -3.0)),
]


@pytest.mark.parametrize(("fn", "point", "value", "slopes"), [c[1:] for c in BINARY], ids=[c[0] for c in BINARY])
def test_a_function_of_two_numbers_has_its_known_value_and_slopes(read, fn, point, value, slopes):
    found, gradients = read(fn, *point)
    assert np.allclose(found, value, rtol=ROUNDINGS, atol=ROUNDINGS)
    assert np.allclose(gradients, slopes, rtol=ROUNDINGS, atol=ROUNDINGS)


def test_linear_interpolation_ends_exactly_at_its_ends(read):
    for w, end in ((0.0, 1e20), (1.0, 1.0)):
        value, (to_a, to_b, to_w) = read(torch.lerp, 1e20, 1.0, w)
        assert value == end and to_a == 1 - w and to_b == w and to_w == 1.0 - 1e20


def test_addcmul_and_addcdiv_scale_their_product(read):
    _, slopes = read(lambda x, a, b: torch.addcmul(x, a, b, value=2.0), 1.0, 3.0, 5.0)
    assert np.allclose(slopes, [1.0, 10.0, 6.0])
    _, slopes = read(lambda x, a, b: torch.addcdiv(x, a, b, value=2.0), 1.0, 3.0, 4.0)
    assert np.allclose(slopes, [1.0, 0.5, -0.375])


@pytest.mark.parametrize("exponent", [200, -200, 1000, -1070])
def test_the_mantissa_of_frexp_has_slope_two_to_the_minus_exponent(read, exponent):
    """x = 2^e is ½ · 2^(e+1); beyond 2^128 the power of two does not fit float32."""
    value, (slope,) = read(lambda x: torch.frexp(x)[0], 2.0**exponent)
    assert value == 0.5
    assert slope == (2.0 ** -(exponent + 1) if exponent > -1000 else math.inf)


def test_the_remainder_of_zero_decisions_is_taken_from_the_run():
    """0.3 / 0.1 rounds to 3 but floors to 2: the recorded quotient decides."""
    x = torch.tensor([0.3, -0.3, 7.0], dtype=torch.float64)
    assert check(lambda x: torch.div(x, 0.1, rounding_mode="floor") * x, x).verdict == "agree"


@pytest.mark.parametrize("fn", [torch.maximum, torch.minimum, torch.fmax, torch.fmin])
def test_tangents_of_the_larger_agree_though_pytorch_adds_and_subtracts_the_other(fn):
    a, b = torch.linspace(-1, 1, 1000, dtype=torch.float64), torch.linspace(1, -0.9, 1000, dtype=torch.float64)
    assert check(fn, (a, b), modes=("F", "FF")).verdict == "agree"


def test_a_draw_carries_no_derivative(read):
    _, slopes = read(torch.normal, [1.0, 2.0], [1.0, 1.0])
    assert np.allclose(slopes, 0.0)


def test_an_eps_that_turns_the_bounds_round_is_said_to_be_unsupported():
    result = check(lambda x: torch.logit(x, 0.75), torch.tensor([0.3], dtype=torch.float64))
    assert result.verdict == "unsupported"
    assert "eps=0.75" in str(result.frame["message"].iloc[-1])


@pytest.mark.parametrize("name", ["exp", "special_log_ndtr", "clamp_", "where", "huber_loss", "elu", "mvlgamma"])
def test_operations_of_these_families_are_in_the_table(name):
    overload = {"where": "self"}.get(name, "default")
    assert find(f"aten::{name}", overload) is not None


def test_the_next_float_moves_with_its_number_towards_infinity_too_and_not_with_what_it_goes_to(read):
    value, (to_a, to_b) = read(lambda a, b: torch.nextafter(a, b) + 0.0 * b, [1.0, -3.0, 0.0], [2.0, -4.0, 1.0])
    assert value.tolist() == [1.0 + 2.0**-52, -3.0 - 2.0**-51, 2.0**-1074]
    assert to_a.tolist() == [1.0, 1.0, 1.0] and to_b.tolist() == [0.0, 0.0, 0.0]
    x = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    y = torch.tensor([math.inf, 2.0, -1.0], dtype=torch.float64)
    for mode in ("R", "F", "RR"):
        found = check(lambda a, b: torch.nextafter(a, b) ** 2, (x, y), modes=mode)
        assert found.ok and set(found.frame["verdict"]) == {"agree"}
