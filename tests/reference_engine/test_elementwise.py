"""Every elementwise function against mpmath at 120 digits: value, first and second derivatives, tails included.

The functions are stated here a second time, in mpmath's own words; their derivatives are mpmath's numerical ones, so no
formula under test is typed twice. The permitted error is the engine's own measured rounding, not a chosen number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from gradwitness.reference_engine import PRIMITIVES, grad, numerical, ops
from gradwitness.reference_engine.evaluate import Plan, arguments_of
from gradwitness.reference_engine.program import Program
from gradwitness.reference_engine.registry import ELEMENTWISE
from gradwitness.reference_engine.reverse import reverse
from gradwitness.reference_engine.rounding import spread
from gradwitness.reference_engine.simplify import simplify
from gradwitness.reference_engine.tracing import bind, trace

DIGITS = 120
# A kernel is within its declared `ulps` roundings, 2.5 standard deviations of the noise that stands for it; the
# spread of 64 noisy runs falls short of its true value by a factor of 1.7 less than once in 1e8 entries, and the
# kernels of one program add up.
IN_SPREADS = 6.0
# mpmath's own numerical derivative at 120 digits, where the exact one is 0.
FLOOR = 1e-90

REAL = [-3.0, -1.0, -0.5, -0.1, 1e-30, 0.1, 0.5, 0.999, 1.0, 1.7, 3.0, 6.0]
TAILS = [-42.0, -20.0, 20.0, 42.0]
FAR = [-1e30, -1e4, 1e4, 1e30]
SMALL = [-1e-30, -1e-9, 0.0, 1e-9]
POSITIVE = [1e-30, 1e-9, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 3.7, 20.0, 1e4, 1e30]
UNIT = [-0.999999, -0.9, -0.5, -1e-9, 0.0, 1e-30, 0.3, 0.75, 0.99, 1.0 - 1e-12]
SHARE = [1e-30, 1e-9, 0.1, 0.3, 0.49, 0.51, 0.75, 0.99, 1.0 - 1e-12]


def _logistic(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _xlogy(x: Any, a: Any) -> Any:
    return x * mp.log(a)


def _normal(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _hazard(x: Any) -> Any:
    return mp.npdf(x) / _normal(x)


def _gelu_by_tanh(x: Any) -> Any:
    """With the doubles nearest to √(2/π) and 0.044715, which are part of its definition."""
    return x / 2 * (1 + mp.tanh(mp.mpf(2.0 * math.sqrt(2.0 / math.pi)) / 2 * (x + mp.mpf(0.044715) * x**3)))


def _moment(x: Any, n: int) -> Any:
    half = mp.mpf(1) / 2
    return mp.mpf(2) ** n / mp.pi * mp.beta(n + half, half) * mp.hyp1f1(n + half, n + 1, -2 * x)


def _sphere(x: Any, n: int) -> Any:
    return mp.sqrt(mp.pi / 2 / x) * mp.besselj(n + mp.mpf(1) / 2, x)


def _scaled_integral(x: Any, n: int) -> Any:
    return mp.exp(x * x) * (2 / mp.sqrt(mp.pi)) * _iterated(x, n)


def _iterated(x: Any, n: int) -> Any:
    """∫ₓ^∞ (t - x)ⁿ/n! exp(-t²) dt, DLMF 7.18.2, by parabolic cylinder functions: DLMF 7.18.11."""
    scale = mp.exp(-x * x / 2) * mp.sqrt(mp.pi) / (2 * mp.sqrt(mp.pi * mp.mpf(2) ** (n - 1)))
    return scale * mp.pcfu(n + mp.mpf(1) / 2, x * mp.sqrt(2))


# name: (the function in mpmath's words, one list of points per argument, parameters)
UNARY: dict[str, tuple[Callable[..., Any], Sequence[float], dict[str, Any]]] = {
    "negative": (lambda x: -x, REAL, {}),
    "reciprocal": (lambda x: 1 / x, REAL, {}),
    "square": (lambda x: x * x, REAL + SMALL, {}),
    "sqrt": (mp.sqrt, POSITIVE, {}),
    "rsqrt": (lambda x: 1 / mp.sqrt(x), POSITIVE, {}),
    "abs": (abs, REAL, {}),
    "relu": (lambda x: max(x, 0), REAL, {}),
    "clip": (lambda x, low, high: min(max(x, low), high), [-3.0, -0.5, 0.5, 3.0], {"low": -1.0, "high": 2.0}),
    "power_constant": (lambda x, exponent: x**exponent, POSITIVE, {"exponent": 1.5}),
    "nan_to_num": (lambda x, **_: x, REAL + SMALL, {"nan": 0.0, "posinf": 1.0, "neginf": -1.0}),
    "exp": (mp.exp, REAL + SMALL + TAILS, {}),
    "exp2": (lambda x: mp.mpf(2) ** x, REAL + SMALL + TAILS + [1023.5], {}),
    "expm1": (mp.expm1, REAL + SMALL + [-45.0, -20.0, 42.0], {}),
    "log": (mp.log, POSITIVE, {}),
    "log2": (lambda x: mp.log(x, 2), POSITIVE, {}),
    "log10": (mp.log10, POSITIVE, {}),
    "log1p": (mp.log1p, [-0.999999, -0.5, *SMALL, *POSITIVE], {}),
    "sigmoid": (_logistic, REAL + SMALL + TAILS, {}),
    "log_sigmoid": (lambda x: mp.log(_logistic(x)), REAL + SMALL + TAILS, {}),
    "softplus": (lambda x: mp.log1p(mp.exp(x)), REAL + SMALL + TAILS, {}),
    "silu": (lambda x: x * _logistic(x), REAL + SMALL + TAILS, {}),
    "gelu": (lambda x: x * _normal(x), REAL + SMALL + [-37.0, -12.0, 9.0], {}),
    "gelu_tanh": (_gelu_by_tanh, REAL + SMALL + [-12.0, -6.0, 9.0], {}),
    "mish": (lambda x: x * mp.tanh(mp.log1p(mp.exp(x))), REAL + SMALL + [-42.0, -20.0, 20.0], {}),
    "entr": (lambda x: -x * mp.log(x), POSITIVE, {}),
    "logit": (lambda x: mp.log(x / (1 - x)), SHARE, {}),
    "sinh": (mp.sinh, REAL + SMALL + TAILS, {}),
    "cosh": (mp.cosh, REAL + SMALL + TAILS, {}),
    "tanh": (mp.tanh, REAL + SMALL + TAILS + [-1.4721, 1.4723], {}),
    "asinh": (mp.asinh, REAL + SMALL + FAR, {}),
    "acosh": (mp.acosh, [1.0 + 1e-12, 1.1, 2.0, 20.0, 1e4, 1e30], {}),
    "atanh": (mp.atanh, UNIT, {}),
    "sin": (mp.sin, REAL + SMALL + TAILS, {}),
    "cos": (mp.cos, REAL + SMALL + TAILS, {}),
    "tan": (mp.tan, REAL + SMALL + TAILS + [1.5707963], {}),
    "asin": (mp.asin, UNIT, {}),
    "acos": (mp.acos, UNIT, {}),
    "atan": (mp.atan, REAL + SMALL + FAR, {}),
    "sinc": (lambda x: mp.sin(mp.pi * x) / (mp.pi * x), [*REAL, 1e-9, 2.5, 20.3], {}),
    "spherical_bessel": (_sphere, [1e-30, 1e-9, 0.1, 0.5, 0.999, 1.0, 1.001, 2.0, 5.0, 20.3], {"n": 1}),
    "erf": (mp.erf, REAL + SMALL, {}),
    "erfc": (mp.erfc, REAL + SMALL + [9.0], {}),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), [-3.0, -0.5, *SMALL, *POSITIVE[2:]], {}),
    "erfc_integral": (_scaled_integral, [-3.0, -0.5, 1e-9, 0.5, 0.999, 1.0, 1.5, 3.0, 9.0], {"n": 2}),
    "erfinv": (mp.erfinv, UNIT, {}),
    "ndtr": (_normal, REAL + SMALL + [-12.0, 9.0], {}),
    "log_ndtr": (lambda x: mp.log(_normal(x)), [-1e4, -37.0, *REAL, *SMALL], {}),
    "hazard": (_hazard, [-37.0, *REAL, *SMALL], {}),
    "ndtri": (lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), SHARE, {}),
    "lgamma": (lambda x: mp.loggamma(x).real, [*POSITIVE, 1.0 + 1e-9, 2.0 - 1e-9, -0.5], {}),
    "digamma": (mp.digamma, [*POSITIVE, 1.4616321449683622], {}),
    "polygamma": (lambda x, order: mp.polygamma(order, x), POSITIVE, {"order": 2}),
    "i0": (lambda x: mp.besseli(0, x), REAL + SMALL + TAILS, {}),
    "i1": (lambda x: mp.besseli(1, x), REAL + SMALL + TAILS, {}),
    "modified_bessel": (lambda x, n: mp.besseli(n, x), [-3.0, 1e-9, 0.5, 1.0, 5.0, 42.0], {"n": 2}),
    "i0e": (lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), [-3.0, -0.5, 1e-9, 0.5, 1.0, 9.0, 42.0, 1e4], {}),
    "i1e": (lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), [-3.0, -0.5, 1e-9, 0.5, 1.0, 9.0, 42.0, 1e4], {}),
    "bessel_moment": (_moment, [1e-9, 0.5, 1.0, 9.0, 42.0, 1e4], {"n": 1}),
}

PAIRS = [(0.3, 0.7), (-1.3, 2.0), (2.0, -0.7), (-3.0, -5.0), (1e-9, 1.0), (1.0, 1e-9), (40.0, 0.1), (-0.5, -0.6)]
POSITIVE_PAIRS = [(0.3, 0.7), (1.3, 2.0), (2.0, -0.7), (3.0, 0.0), (1e-9, 1.0), (20.0, -3.0), (1.0, 5.0)]
# name: (the function in mpmath's words, points)
SEVERAL: dict[str, tuple[Callable[..., Any], Sequence[tuple[float, ...]]]] = {
    "add": (lambda a, b: a + b, PAIRS),
    "subtract": (lambda a, b: a - b, PAIRS),
    "multiply": (lambda a, b: a * b, PAIRS),
    "divide": (lambda a, b: a / b, PAIRS),
    "pow": (lambda a, b: a**b, POSITIVE_PAIRS),
    "power_log": (lambda a, b: a**b * mp.log(a), POSITIVE_PAIRS),
    "maximum": (max, PAIRS),
    "minimum": (min, PAIRS),
    "fmax": (max, PAIRS),
    "fmin": (min, PAIRS),
    "atan2": (mp.atan2, [*PAIRS, (1e30, 1e29), (1e-30, 3e-30), (1e20, 1.0)]),
    "hypot": (mp.hypot, [*PAIRS, (1e30, 1e29), (1e-30, 3e-30), (1e20, 1.0)]),
    "logaddexp": (lambda a, b: mp.log(mp.exp(a) + mp.exp(b)), [*PAIRS, (2.0, 2.0)]),
    "logaddexp2": (lambda a, b: mp.log(mp.mpf(2) ** a + mp.mpf(2) ** b, 2), [*PAIRS, (2.0, 2.0)]),
    "xlogy": (_xlogy, [(0.3, 0.7), (-2.0, 3.0), (0.0, 0.5), (5.0, 1e-30), (1e-9, 1e4)]),
    "xlog1py": (lambda x, a: x * mp.log1p(a), [(0.3, 0.7), (-2.0, 3.0), (0.0, 0.5), (5.0, 1e-30), (1.0, -0.999)]),
    "binary_cross_entropy": (
        lambda x, t: -(t * mp.log(x) + (1 - t) * mp.log1p(-x)),
        [(0.3, 0.7), (1e-9, 1.0), (1.0 - 1e-9, 0.25), (0.5, 0.0)],
    ),
    "cross_entropy_slope": (lambda x, t: (x - t) / (x * (1 - x)), [(0.3, 0.7), (1e-9, 1.0), (0.5, 0.5), (0.75, 0.0)]),
    "squared_difference": (lambda a, b: (a - b) ** 2, PAIRS),
    "cross_entropy_with_logits": (
        lambda x, t, w: (1 - t) * mp.log1p(mp.exp(x)) + w * t * mp.log1p(mp.exp(-x)),
        [(0.3, 0.7, 1.0), (-40.0, 1.0, 2.0), (40.0, 1.0, 2.0), (40.0, 0.0, 0.5), (-40.0, 0.25, 1.0), (0.0, 0.5, 3.0)],
    ),
    "lerp": (lambda a, b, w: a + w * (b - a), [(0.3, 0.7, 0.2), (2.0, -1.0, 0.8), (1.0, 1.0, 0.5), (5.0, 3.0, 1.5)]),
    "pieces": (lambda x, upper, lower: upper if x > 0 else lower, [(0.3, 2.0, 5.0), (-0.3, 2.0, 5.0)]),
    "copysign": (lambda a, b: abs(a) * mp.sign(b), PAIRS),
    "remainder": (lambda a, b: a - b * mp.floor(a / b), PAIRS[:4]),
    "fmod": (lambda a, b: a - b * (mp.floor(a / b) if a / b > 0 else mp.ceil(a / b)), PAIRS[:4]),
}
# Checked elsewhere, each for its own reason.
OTHERWISE = {
    "where": "selection among arguments: test_elementwise_limits.py",
    "heaviside": "a jump and a value at it: test_elementwise_limits.py",
    "stop_gradient": "its derivative is 0 by definition: test_elementwise_limits.py",
    "step": "the slope of relu: test_elementwise_limits.py",
    "sign_or_choice": "the slope of abs: test_elementwise_limits.py",
    "share_of_larger": "the slope of maximum: test_elementwise_limits.py",
    "tanh_slope": "its arguments belong together; as the derivative of tanh it is compared above",
    "gammainc": "one argument only has a rule: test_incomplete_gamma below",
    "gammaincc": "one argument only has a rule: test_incomplete_gamma below",
    "sign": "piecewise constant: test_elementwise_limits.py",
    "floor": "piecewise constant: test_elementwise_limits.py",
    "ceil": "piecewise constant: test_elementwise_limits.py",
    "trunc": "piecewise constant: test_elementwise_limits.py",
    "round": "piecewise constant: test_elementwise_limits.py",
    "floor_divide": "piecewise constant: test_elementwise_limits.py",
}


def derivatives(name: str, arguments: Sequence[np.ndarray], **params: Any) -> dict[tuple[int, ...], Program]:
    """The programs of the value (), of each first derivative (i,) and each second derivative (i, j)."""
    params = params or {"power_log": {"k": 1}, "pieces": {"at_zero": 0.0}}.get(name, {})
    value = trace(lambda *xs: bind(name, *xs, **params), *arguments)
    programs = {(): value}
    for i in range(len(arguments)):
        first = programs[(i,)] = simplify(reverse(value, [i]))
        for j in range(i, len(arguments)):
            programs[(i, j)] = simplify(reverse(first, [j]))
    return programs


def measured(program: Program, arguments: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The output at `arguments` with cotangents 1, and how far its rounding moves it."""
    cotangents = [np.ones(v.shape) for v in program.inputs[len(arguments) :]]
    exact, spreads = spread(Plan(program), arguments_of(program, [*arguments, *cotangents]), "float64", samples=64)
    return exact[0], spreads[0]


def assert_near(
    found: np.ndarray, spreads: np.ndarray, function: Callable[..., Any], points: Sequence[Any], order: tuple[int, ...]
) -> None:
    """Each entry of `found` lies within IN_SPREADS of mpmath's derivative at the same point."""
    count = len(points[0])
    orders = tuple(order.count(i) for i in range(count))
    for point, y, s in zip(points, found, spreads, strict=True):
        with mp.workdps(DIGITS):
            exact_point = tuple(mp.mpf(float(v)) for v in point)
            if not order:
                expected = function(*exact_point)
            elif count == 1:
                expected = mp.diff(function, exact_point[0], orders[0])
            else:
                expected = mp.diff(function, exact_point, orders)
            error = abs(mp.mpf(float(y)) - expected)
        assert error <= IN_SPREADS * float(s) + FLOOR, (
            f"∂{order} at {point}: engine {y!r}, mpmath {mp.nstr(expected, 20)}, "
            f"error {mp.nstr(error / max(s, FLOOR), 3)} spreads"
        )


@pytest.mark.parametrize("name", sorted(UNARY))
def test_function_of_one_argument_agrees_with_mpmath_to_second_order(name: str) -> None:
    function, points, params = UNARY[name]
    x = np.array(points)
    for order, program in derivatives(name, [x], **params).items():
        found, spreads = measured(program, [x])
        assert_near(found, spreads, lambda v: function(v, **params), [(p,) for p in points], order)


@pytest.mark.parametrize("name", sorted(SEVERAL))
def test_function_of_several_arguments_agrees_with_mpmath_to_second_order(name: str) -> None:
    function, points = SEVERAL[name]
    arguments = [np.array(column) for column in zip(*points, strict=True)]
    for order, program in derivatives(name, arguments).items():
        found, spreads = measured(program, arguments)
        assert_near(found, spreads, function, points, order)


ANALYTIC = (
    "acos asin asinh atan atanh cos cosh digamma erf erfc erfcx exp exp2 expm1 log log10 log1p log2 power_constant"
    " reciprocal rsqrt sin sinh sqrt square tan tanh"
).split()


@pytest.mark.parametrize("name", ANALYTIC)
def test_the_slope_is_the_imaginary_part_of_a_complex_step(name: str) -> None:
    x = np.array([0.1, 0.3, 0.75])
    params = UNARY[name][2]
    found, spreads = measured(derivatives(name, [x], **params)[(0,)], [x])
    stepped = numerical.complex_step(trace(lambda v: ops.sum(bind(name, v, **params)), x), x)
    # The step's own error is that of one complex evaluation, which the value's spread stands for.
    assert np.all(np.abs(found - stepped) <= 2 * IN_SPREADS * spreads)


FAMILIES = ("arithmetic", "comparison", "exponential", "special", "trigonometric")


def test_every_elementwise_primitive_of_these_families_is_compared_here_or_says_where() -> None:
    known = set(UNARY) | set(SEVERAL) | set(OTHERWISE)
    assert known <= set(PRIMITIVES)
    for name, primitive in PRIMITIVES.items():
        if primitive.kind == ELEMENTWISE:
            written = {rule.__module__.rpartition(".")[2] for rule in primitive.rules if callable(rule)}
            assert name in known or written.isdisjoint(FAMILIES), f"{name}: add it to UNARY, SEVERAL or OTHERWISE"


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_incomplete_gamma_has_the_density_as_its_slope(name: str) -> None:
    points = [(0.5, 0.3), (2.0, 1.5), (4.0, 9.0)]
    a, x = (np.array(column) for column in zip(*points, strict=True))
    side = {"gammainc": lambda a, x: mp.gammainc(a, 0, x, regularized=True)}
    side["gammaincc"] = lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True)
    value = trace(lambda v: bind(name, a, v), x)
    first = simplify(reverse(value))
    for program, order in ((value, ()), (first, (1,)), (simplify(reverse(first, [0])), (1, 1))):
        found, spreads = measured(program, [x])
        assert_near(found, spreads, side[name], points, order)


def test_a_slope_that_is_off_by_one_in_a_thousand_is_caught() -> None:
    """The tester itself: a planted fault in the cosine must not pass for rounding."""
    points = [0.3, 1.0]
    wrong = trace(lambda x: ops.cos(x) * 1.001, np.array(points))
    found, spreads = measured(wrong, [np.array(points)])
    with pytest.raises(AssertionError, match="spreads"):
        assert_near(found, spreads, mp.sin, [(p,) for p in points], (0,))


@pytest.mark.parametrize("x, y", [(1.3, 0.7), (-0.2, 1.4), (4.0, -2.5), (12.0, 0.3), (0.0, 0.5)])
def test_both_parts_of_a_complex_tanh_and_their_slopes(x, y):
    z = mp.mpc(x, y)
    value, slope = mp.tanh(z), 1 / mp.cosh(z) ** 2
    parts = {"real": (ops.real_of_tanh, value.real), "imaginary": (ops.imaginary_of_tanh, value.imag)}
    slopes = {"real": (slope.real, -slope.imag), "imaginary": (slope.imag, slope.real)}
    for name, (fn, exact) in parts.items():
        assert float(fn(x, y)) == pytest.approx(float(exact), rel=1e-14, abs=1e-300)
        for argument in (0, 1):
            at = np.asarray((x, y)[argument])
            found = grad(lambda v, argument=argument, fn=fn: fn(v, y) if argument == 0 else fn(x, v))(at)
            assert float(found) == pytest.approx(float(slopes[name][argument]), rel=1e-13, abs=1e-300)
