"""Arithmetic, entry by entry: + - * /, negation, powers, absolute value, sign, square root, reciprocal."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import CONSTANT
from ..tracing import Tracer, bind
from .choice import choice
from .declare import elementwise

CALCULUS = "Spivak, Calculus, ch. 10"

add = elementwise("add", np.add, 1.0, 1.0, torch="({0} + {1})", source=CALCULUS)
subtract = elementwise("subtract", np.subtract, 1.0, -1.0, torch="({0} - {1})", source=CALCULUS)
multiply = elementwise("multiply", np.multiply, lambda y, a, b: b, lambda y, a, b: a, torch="({0} * {1})", source=CALCULUS)
divide = elementwise("divide", np.true_divide, lambda y, a, b: reciprocal(b), lambda y, a, b: -y / b, torch="({0} / {1})", source=CALCULUS)
negative = elementwise("negative", np.negative, -1.0, torch="(-{0})", source=CALCULUS, ulps=0.0)
reciprocal = elementwise("reciprocal", lambda x: 1.0 / x, lambda y, x: -y * y, torch="reciprocal", source=CALCULUS)
square = elementwise("square", np.square, lambda y, x: 2.0 * x, torch="square", source=CALCULUS)
sqrt = elementwise("sqrt", np.sqrt, lambda y, x: 0.5 / y, torch="sqrt", source=CALCULUS, domain=("nonnegative",))
rsqrt = elementwise("rsqrt", lambda x: 1.0 / np.sqrt(x), lambda y, x: -0.5 * y / x, torch="rsqrt", source=CALCULUS, domain=("positive",))


def _sign(x: Any) -> Any:
    return np.sign(x)


sign = elementwise("sign", np.sign, CONSTANT, torch="sign", source="DLMF front matter, sgn x", ulps=0.0)

# |x| at 0: every slope in [-1, 1] is legitimate (Clarke); ours is 0, the one of least norm.
abs = elementwise(  # noqa: A001 - the array API's name
    "abs",
    np.abs,
    lambda y, x: sign(x) + (2.0 * choice(equal_zero(x), 0.5) - 1.0) * to_float(equal_zero(x)),
    torch="abs",
    source="Clarke, Optimization and Nonsmooth Analysis, ex. 2.2.2",
    ulps=0.0,
)


def equal_zero(x: Any) -> Any:
    return bind("equal", x, 0.0)


def to_float(mask: Any) -> Any:
    """Boolean entries as 0.0 and 1.0."""
    return where(mask, 1.0, 0.0)


def where(condition: Any, a: Any, b: Any) -> Any:
    return bind("where", condition, a, b)


def _pow_base(y: Any, a: Any, b: Any) -> Any:
    """∂(aᵇ)/∂a = b aᵇ⁻¹; 0 where b = 0, whatever the base (the power is constant 1 there)."""
    return where(equal_zero(b), 0.0, b * power(a, b - 1.0))


def _pow_exponent(y: Any, a: Any, b: Any) -> Any:
    """∂(aᵇ)/∂b = aᵇ log a; 0 for a = 0 and b > 0 (0ᵇ is constant 0 there), not a number for a < 0."""
    still = bind("logical_and", equal_zero(a), bind("greater", b, 0.0))
    return where(still, 0.0, y * bind("log", where(still, 1.0, a)))


power = elementwise("pow", np.power, _pow_base, _pow_exponent, torch="torch.pow({0}, {1})", source="DLMF 4.2.26, 4.2.34")


def pow(a: Any, b: Any) -> Any:  # noqa: A001 - the array API's name
    """aᵇ, entry by entry; whole small exponents that are plain numbers become products, exact to one rounding each."""
    if isinstance(b, (int, float)) and not isinstance(b, bool) and isinstance(a, Tracer):
        if b == 2:
            return square(a)
        if b == 1:
            return a
        if b == 0.5:
            return sqrt(a)
        if b == -1:
            return reciprocal(a)
        return power_constant(a, exponent=float(b))
    return power(a, b)


power_constant = elementwise(
    "power_constant",
    lambda x, *, exponent: np.power(x, exponent),
    lambda y, x, *, exponent: exponent * pow(x, exponent - 1.0) if exponent else 0.0,
    torch="({0} ** {exponent})",
    source="DLMF 4.2.26",
)
