"""`Value` and `Dual` on every type of number: each function's slope against mpmath, exact Fractions against SymPy."""

from __future__ import annotations

import cmath
import functools
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from gradwitness.reference_engine import DerivativeError, DtypeError, Dual, Value
from gradwitness.reference_engine.number_types import FUNCTIONS
from hypothesis import assume, given
from hypothesis import strategies as st
from mpmath import mpf

EPS = float(np.finfo(float).eps)
# A slope is made of at most a dozen roundings, none of which cancel; mpmath's is right to 50 digits.
ROUNDING = 16 * EPS
DIGITS = 50

MPMATH: dict[str, Callable[[Any], Any]] = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "sqrt": mpmath.sqrt,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "erf": mpmath.erf,
    "abs": abs,
    "relu": lambda x: max(x, mpf(0)),
}
POSITIVE = {"log", "sqrt"}
POINTS = (-20.0, -3.0, -0.7, -1e-3, 1e-3, 0.3, 1.0, 2.5, 20.0)


def apply(name: str, x: Any) -> Any:
    return abs(x) if name == "abs" else getattr(x, name)()


def test_the_table_here_names_every_function() -> None:
    assert set(MPMATH) == set(FUNCTIONS)


@functools.cache
def right_slope(name: str, x: float, order: int = 1) -> Any:
    """By differences of numbers of 300 digits: erf at 20 has a slope of 1e-174, of which 50 are wanted."""
    with mpmath.workdps(300):
        return mpmath.diff(MPMATH[name], mpf(x), order)


CASES = [(name, x) for name in sorted(MPMATH) for x in POINTS if x > 0 or name not in POSITIVE]


@pytest.mark.parametrize(("name", "x"), CASES)
def test_slopes_on_floats_keep_their_digits_in_reverse_and_forward_mode(name: str, x: float) -> None:
    v = Value(x)
    y = apply(name, v)
    y.backward()
    right = float(right_slope(name, x))
    assert v.grad == pytest.approx(right, rel=ROUNDING, abs=0.0)
    d = apply(name, Dual(x, 1.0))
    assert (d.data, d.tangent) == (y.data, v.grad)


@pytest.mark.parametrize(("name", "x"), CASES)
def test_slopes_on_mpf_have_fifty_digits(name: str, x: float) -> None:
    with mpmath.workdps(DIGITS):
        v = Value(mpf(x))
        apply(name, v).backward()
        right = right_slope(name, x)
        assert abs(v.grad - right) <= abs(right) * mpf(10) ** (4 - DIGITS)


@pytest.mark.parametrize(("name", "x"), CASES)
def test_a_complex_step_gives_the_slope_without_a_difference(name: str, x: float) -> None:
    step = 1e-30
    y = apply(name, Value(complex(x, step)))
    # The functions of cmath lose digits of the imaginary part where the real part saturates: absolute, against 1.
    assert y.data.imag / step == pytest.approx(float(right_slope(name, x)), rel=64 * EPS, abs=EPS)


@pytest.mark.parametrize(("name", "x"), CASES)
def test_a_dual_inside_a_value_gives_the_second_derivative(name: str, x: float) -> None:
    v = Value(Dual(x, 1.0))
    apply(name, v).backward()
    right = float(right_slope(name, x, 2))
    got = v.grad.tangent if isinstance(v.grad, Dual) else 0.0
    # Second slopes such as those of tanh are differences of two terms of the size of the first.
    assert got == pytest.approx(right, rel=64 * EPS, abs=64 * EPS * abs(float(right_slope(name, x))))


# Rational expressions of x and y as nested tuples, so that each engine builds its own.
RATIONAL = st.recursive(
    st.sampled_from(["x", "y"]) | st.fractions(-3, 3, max_denominator=4),
    lambda inner: (
        st.tuples(st.sampled_from("+-*/"), inner, inner) | st.tuples(st.just("**"), inner, st.integers(-2, 3))
    ),
    max_leaves=8,
)
SMALL = st.fractions(-2, 2, max_denominator=3)


def build(expression: Any, names: dict[str, Any], number: Callable[[Any], Any]) -> Any:
    if isinstance(expression, str):
        return names[expression]
    if not isinstance(expression, tuple):
        return number(expression)
    op, a, b = expression
    left = build(a, names, number)
    if op == "**":
        return left**b
    right = build(b, names, number)
    return {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "/": lambda: left / right,
    }[op]()


@given(expression=RATIONAL, x=SMALL, y=SMALL)
def test_the_gradient_of_a_rational_expression_is_exact(expression: Any, x: Fraction, y: Fraction) -> None:
    vx, vy = Value(x), Value(y)
    try:
        result = build(expression, {"x": vx, "y": vy}, lambda c: c)
    except (DerivativeError, ZeroDivisionError):  # a pole; the second where only plain Fractions met
        assume(False)
    assume(isinstance(result, Value))
    result.backward()
    sx, sy = sympy.symbols("x y")
    formula = build(expression, {"x": sx, "y": sy}, lambda c: sympy.Rational(c.numerator, c.denominator))
    at = {sx: sympy.Rational(x.numerator, x.denominator), sy: sympy.Rational(y.numerator, y.denominator)}
    for symbol, v in ((sx, vx), (sy, vy)):
        right = sympy.diff(formula, symbol).subs(at)
        assume(right.is_finite)  # SymPy substitutes term by term: 0/0 in a term that cancels is no number to it
        assert isinstance(v.grad, int | Fraction)
        assert sympy.Rational(Fraction(v.grad).numerator, Fraction(v.grad).denominator) == right


@given(expression=RATIONAL, x=SMALL, y=SMALL)
def test_forward_and_reverse_mode_agree_exactly_on_fractions(expression: Any, x: Fraction, y: Fraction) -> None:
    vx = Value(x)
    try:
        result = build(expression, {"x": vx, "y": Value(y)}, lambda c: c)
    except (DerivativeError, ZeroDivisionError):
        assume(False)
    assume(isinstance(result, Value))
    result.backward()
    forward = build(expression, {"x": Dual(x, 1), "y": Dual(y)}, lambda c: c)
    assert forward.tangent == vx.grad


@pytest.mark.parametrize(
    ("x", "kind"), [(3, int), (Fraction(3), Fraction), (3.0, float), (mpf(3), mpf), (3 + 0j, complex), (True, int)]
)
def test_a_gradient_is_of_the_type_of_the_numbers(x: Any, kind: type) -> None:
    v = Value(x)
    y = v * v + v
    y.backward()
    assert type(v.grad) is kind
    assert v.grad == 2 * x + 1


def test_ints_beside_fractions_stay_exact_and_a_float_makes_a_float() -> None:
    x = Value(Fraction(1, 3))
    (2 * x + 1 - x / 7).backward()
    assert x.grad == Fraction(13, 7)
    (x * 0.5).backward()
    assert x.grad == 0.5


def test_numpy_numbers_become_python_numbers() -> None:
    for x in (np.float64(2.0), np.float32(2.0), np.int64(2), np.array(2.0), np.longdouble(2.0)):
        assert type(Value(x).data) in (float, int)


@pytest.mark.parametrize("kind", [Value, Dual])
def test_max_and_min_take_the_extreme_and_share_a_tie(kind: Any) -> None:
    a, b = Value(2.0), Value(3.0)
    a.max(b).backward()
    assert (a.grad, b.grad) == (0.0, 1.0)
    a.min(b).backward()
    assert (a.grad, b.grad) == (1.0, 0.0)
    x = Value(Fraction(2))
    x.max(2).backward()
    assert x.grad == Fraction(1, 2)
    assert Dual(2.0, 1.0).min(2.0).tangent == 0.5
    assert math.isnan(kind(math.nan).max(1.0).data) and math.isnan(kind(1.0).max(math.nan).data)
    assert max(kind(2), kind(3)).data == 3 and min(kind(2), kind(3)).data == 2


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (math.pi, "Value(data=3.1416, grad=1.0000)"),
        (Fraction(1, 3), "Value(data=0.3333, grad=1.0000)"),
        (mpf(1) / 3, "Value(data=0.3333, grad=1.0000)"),
        (1 + 2j, "Value(data=1.0000+2.0000j, grad=1.0000)"),
        (Dual(1.0, 2.0), "Value(data=Dual(data=1.0000, tangent=2.0000), grad=1.0000)"),
    ],
)
def test_repr_shows_four_places_of_every_type(number: Any, text: str) -> None:
    v = Value(number)
    v.backward()
    assert repr(v) == text


@pytest.mark.parametrize("kind", [Value, Dual])
@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        (lambda k: k(Fraction(1, 2)).exp(), DtypeError, r"exp: found Fraction\(1, 2\), whose exp is no Fraction"),
        (lambda k: k(Decimal(1)).sin(), DtypeError, r"sin: found Decimal\('1'\), whose sin is no Decimal"),
        (lambda k: k(Fraction(2)) ** Fraction(1, 2), DtypeError, r"power: .* is no Fraction; accepted are whole"),
        (lambda k: k(Decimal(1)) + 1.5, DtypeError, r"add: found Decimal\('1'\) \(Decimal\) and 1.5 \(float\)"),
        (lambda k: k(Decimal(1)) * 1.5, DtypeError, r"multiply: found .* which Python does not mix"),
        (lambda k: k(Decimal(1)) - 1.5, DtypeError, r"subtract: found .* which Python does not mix"),
        (lambda k: k(Decimal(1)) / 1.5, DtypeError, r"divide: found .* which Python does not mix"),
        (lambda k: k(Decimal(1)) ** 1.5, DtypeError, r"power: found .* which Python does not mix"),
        (lambda k: k([1.0]), DtypeError, r"found \[1.0\] of type list; accepted is one number"),
        (lambda k: k(1.0) * np.ones(2), DtypeError, r"multiply: found array\(\[1., 1.\]\) of type ndarray"),
        (lambda k: 1 / k(0), DerivativeError, r"divide: 1 / 0; accepted is any divisor but 0"),
        (lambda k: k(-1.0).sqrt(), DerivativeError, r"sqrt: a = -1.0; accepted are numbers from 0 up"),
        (lambda k: k(mpf(-1)).log(), DerivativeError, r"log: a = -1.0; accepted are numbers above 0"),
        (lambda k: k(0j).log(), DerivativeError, r"log: a = 0j; accepted are numbers above 0"),
    ],
)
def test_bad_input_raises_a_sentence(kind: Any, operation: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        operation(kind)


def test_a_root_at_zero_rises_vertically_and_an_infinity_has_no_sine() -> None:
    x = Value(0.0)
    x.sqrt().backward()
    assert x.grad == math.inf
    assert math.isnan(Value(math.inf).sin().data)
    assert Value(-math.inf).sigmoid().data == 0.0


def test_complex_functions_take_their_own_branch() -> None:
    z = 0.3 + 0.4j
    v = Value(z)
    y = (v.exp() * v.sin()).sqrt()
    y.backward()
    f = cmath.sqrt(cmath.exp(z) * cmath.sin(z))
    right = f / 2 * (1 + cmath.cos(z) / cmath.sin(z))  # half of the logarithmic derivative
    assert abs(y.data - f) <= ROUNDING and abs(v.grad - right) <= ROUNDING


def test_duals_nest_for_the_second_derivative() -> None:
    x = Dual(Dual(3, 1), Dual(1, 0))
    y = x * x * x
    assert (y.data.data, y.data.tangent, y.tangent.tangent) == (27, 27, 18)


def test_a_constant_stays_one_where_its_slope_is_infinite_and_a_zero_tangent_does_not() -> None:
    x = Dual(2.0, 1.0)
    assert (x * Dual(0.0).sqrt() + x).tangent == 1.0
    assert (x * (Dual(0.0) ** 0.5) + x).tangent == 1.0
    assert math.isnan(Dual(0.0, 0.0).sqrt().tangent)


@pytest.mark.parametrize(
    ("fn", "z", "right"),
    [
        (lambda v: v**1j, 2.0, 1j * 2.0 ** (1j - 1)),
        (lambda v: v ** (2 - 1j), 1 + 1j, (2 - 1j) * (1 + 1j) ** (1 - 1j)),
        (lambda v: v.sqrt(), -4 + 0j, -0.25j),
        (lambda v: v.softplus(), 3 + 4j, 1 / (1 + cmath.exp(-3 - 4j))),
        (lambda v: v.tan(), 20j, 1 / cmath.cos(20j) ** 2),
    ],
)
def test_slopes_at_complex_numbers(fn: Callable[[Any], Any], z: complex, right: complex) -> None:
    v = Value(z)
    fn(v).backward()
    assert abs(v.grad - right) <= ROUNDING * abs(right)
    assert abs(fn(Dual(z, 1)).tangent - right) <= ROUNDING * abs(right)


def test_complex_softplus_is_the_principal_logarithm_and_overflow_is_infinite_or_nan() -> None:
    assert abs(Value(3 + 4j).softplus().data - cmath.log(1 + cmath.exp(3 + 4j))) <= 1e-14
    assert abs(Value(-40 + 1j).softplus().data - cmath.exp(-40 + 1j)) <= ROUNDING * math.exp(-40)
    assert Value(800 + 1j).exp().data.real == math.inf
    assert math.isnan(Value(1e200 + 1e200j).sin().data.real)


def test_a_dual_is_compared_by_its_data_and_refuses_to_lose_its_tangent() -> None:
    assert Dual(2.0, 1.0) == 2 and Dual(2.0, 1.0) == Dual(2.0) and Dual(2.0) != 3 and not Dual(0.0, 1.0)
    with pytest.raises(DtypeError, match=r"the tangent would be lost"):
        math.exp(Dual(1.0, 1.0))
