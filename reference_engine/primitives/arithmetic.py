"""Arithmetic, entry by entry: + - * /, powers, absolute value, sign, rounding to whole numbers, remainders."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import CONSTANT
from ..tracing import Tracer, bind
from .choice import choice, is_everywhere
from .declare import Operation, elementwise

CALCULUS = "Spivak, Calculus, ch. 10"
STEPS = "Spivak, Calculus, ch. 9: constant between whole numbers"

add = elementwise("add", np.add, 1.0, 1.0, torch="({0} + {1})", source=CALCULUS)
subtract = elementwise("subtract", np.subtract, 1.0, -1.0, torch="({0} - {1})", source=CALCULUS)
multiply = elementwise(
    "multiply", np.multiply, lambda y, a, b: b, lambda y, a, b: a, torch="({0} * {1})", source=CALCULUS
)
divide = elementwise(
    "divide",
    np.true_divide,
    lambda y, a, b: reciprocal(b),
    lambda y, a, b: -y / b,
    torch="({0} / {1})",
    source=CALCULUS,
)
negative = elementwise("negative", np.negative, -1.0, torch="(-{0})", source=CALCULUS, ulps=0.0)
reciprocal: Operation = elementwise(
    "reciprocal", np.reciprocal, lambda y, x: -square(y), torch="reciprocal", source=CALCULUS
)
square: Operation = elementwise("square", np.square, lambda y, x: 2.0 * x, torch="square", source=CALCULUS)
sqrt = elementwise("sqrt", np.sqrt, lambda y, x: 0.5 / y, torch="sqrt", source=CALCULUS, domain=("nonnegative",))
rsqrt = elementwise(
    "rsqrt",
    lambda x: 1.0 / np.sqrt(x),
    lambda y, x: -0.5 * y / x,
    torch="rsqrt",
    source=CALCULUS,
    domain=("positive",),
    ulps=2.0,
)

sign = elementwise("sign", np.sign, CONSTANT, torch="sign", source="DLMF front matter, sgn x", ulps=0.0)
floor = elementwise("floor", np.floor, CONSTANT, torch="floor", source=STEPS, ulps=0.0)
ceil = elementwise("ceil", np.ceil, CONSTANT, torch="ceil", source=STEPS, ulps=0.0)
trunc = elementwise("trunc", np.trunc, CONSTANT, torch="trunc", source=STEPS, ulps=0.0)
# Halves go to the even neighbour.
round = elementwise(  # noqa: A001 - the array API's name
    "round", np.rint, CONSTANT, torch="round", source="IEEE 754-2019, sec. 5.9, roundToIntegralTiesToEven", ulps=0.0
)
floor_divide = elementwise(
    "floor_divide",
    np.floor_divide,
    CONSTANT,
    CONSTANT,
    torch="torch.div({0}, {1}, rounding_mode='floor')",
    source=STEPS,
    domain=("real", "positive"),
    ulps=0.0,
)


def _whole_quotient(y: Any, a: Any, b: Any) -> Any:
    """(a - y)/b, a whole number that the division may miss by a rounding; constant between the jumps of y."""
    return round((a - y) / b)


def _truncated_quotient(y: Any, a: Any, b: Any) -> Any:
    """trunc(a/b), which misses by one where the division rounds to a whole number; it is exact where b divides a."""
    quotient = a / b
    return where(equal_zero(y), round(quotient), trunc(quotient))


# At whole multiples of b the value jumps and there is no derivative; ours is that of the side the value belongs to.
remainder = elementwise(
    "remainder",
    np.remainder,
    1.0,
    lambda y, a, b: -_whole_quotient(y, a, b),
    torch="torch.remainder({0}, {1})",
    source="a mod b = a - b floor(a/b), Knuth, The Art of Computer Programming 1, sec. 1.2.4",
    domain=("real", "positive"),
    ulps=1.0,
)
fmod = elementwise(
    "fmod",
    np.fmod,
    1.0,
    lambda y, a, b: -_whole_quotient(y, a, b),
    lossy=(1.0, lambda y, a, b: -_truncated_quotient(y, a, b)),
    torch="torch.fmod({0}, {1})",
    source="a - b trunc(a/b), ISO C 7.12.10.1",
    domain=("real", "positive"),
    ulps=0.0,
)


def equal_zero(x: Any) -> Any:
    return bind("equal", x, 0.0)


def to_float(mask: Any) -> Any:
    """Boolean entries as 0.0 and 1.0."""
    return where(mask, 1.0, 0.0)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the Boolean `condition` holds, b elsewhere; what is not selected has a strong zero."""
    return bind("where", condition, a, b)


def _signed(x: Any, weight: Any) -> Any:
    y = np.asarray(np.sign(x))
    if not is_everywhere(weight, 0.5):
        zero = np.equal(x, 0.0)
        y[zero] = 2.0 * weight[zero] - 1.0
    return y


signed = elementwise(
    "sign_or_choice", _signed, CONSTANT, CONSTANT, source="DLMF front matter, sgn x", draw=False, ulps=0.0
)


def kinked_sign(x: Any) -> Any:
    """sgn x, and 2θ - 1 at 0, where every slope of |x| in [-1, 1] is legitimate (Clarke); ours is 0, of least norm."""
    return signed(x, choice(equal_zero(x), 0.5))


abs = elementwise(  # noqa: A001 - the array API's name
    "abs",
    np.abs,
    lambda y, x: kinked_sign(x),
    torch="abs",
    source="Clarke, Optimization and Nonsmooth Analysis, ex. 2.2.2",
    ulps=0.0,
)


def _copysign_slope(a: Any, b: Any) -> Any:
    """±1, the sign of a times that of b; at a = 0 |a| has its kink: every slope in [-1, 1] is legitimate, ours is 0."""
    return kinked_sign(a) * copysign(1.0, b)


# In b the value jumps at 0 and is constant elsewhere.
copysign = elementwise(
    "copysign",
    np.copysign,
    lambda y, a, b: _copysign_slope(a, b),
    CONSTANT,
    lossy=(lambda y, a, b: where(equal_zero(a), 0.0, y / where(equal_zero(a), 1.0, a)), CONSTANT),
    torch="torch.copysign({0}, {1})",
    source="|a| sgn b, IEEE 754-2019, sec. 5.5.1",
    ulps=0.0,
)


def _pow_base(y: Any, a: Any, b: Any) -> Any:
    """∂(aᵇ)/∂a = b aᵇ⁻¹; 0 at a = b = 0, where the power is constant 1 in a. Elsewhere b = 0 needs no mask, and has
    none: the mixed derivative 1/a passes through it."""
    both = bind("logical_and", equal_zero(a), equal_zero(b))
    return where(both, 0.0, b * power(a, b - 1.0))


power = elementwise(
    "pow",
    np.power,
    _pow_base,
    lambda y, a, b: power_log(a, b, k=1),
    lossy=(_pow_base, lambda y, a, b: where(bind("isfinite", y), power_log(a, b, k=1), y * bind("log", a))),
    torch="torch.pow({0}, {1})",
    source="DLMF 4.2.26, 4.2.34",
    domain=("positive", "real"),
    ulps=2.0,
)


def _power_log(a: Any, b: Any, *, k: int) -> Any:
    """aᵇ (log a)ᵏ; 0 where the power is 0, the limit at a = 0 for b > 0 (and at ∞ for b < 0); NaN for a < 0, and at
    a = 0 for b ≤ 0, where 0ᵇ jumps from ∞ over 1 to 0.

    Where aᵇ leaves the range and the product may not, it is formed from a^(b/2).
    """
    y, share = np.power(a, b), np.log(a) ** k
    product = y * share
    if np.isinf(y).any():
        root = np.power(a, np.asarray(b) / 2.0)
        product = np.where(np.isinf(y) & np.isfinite(root), root * share * root, product)
    product = np.where((y == 0) & (np.asarray(a) >= 0), 0.0, product)
    return np.where(np.equal(a, 0.0) & np.less_equal(b, 0.0), np.nan, product)


def _power_log_base(y: Any, a: Any, b: Any, *, k: int) -> Any:
    """b a^(b-1) (log a)ᵏ + k a^(b-1) (log a)ᵏ⁻¹, without its first term at a = b = 0."""
    first = where(bind("logical_and", equal_zero(a), equal_zero(b)), 0.0, b * power_log(a, b - 1.0, k=k))
    return first + (power(a, b - 1.0) if k == 1 else k * power_log(a, b - 1.0, k=k - 1))


power_log: Operation = elementwise(
    "power_log",
    _power_log,
    _power_log_base,
    lambda y, a, b, *, k: power_log(a, b, k=k + 1),
    torch="({0} ** {1} * torch.log({0}) ** {k})",
    source="DLMF 4.2.26; ∂aᵇ/∂b = aᵇ log a",
    draw=False,
    domain=("positive", "real"),
    ulps=4.0,
)


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


power_constant: Operation = elementwise(
    "power_constant",
    lambda x, *, exponent: np.power(x, exponent),
    lambda y, x, *, exponent: exponent * pow(x, exponent - 1.0) if exponent else 0.0,
    torch="({0} ** {exponent})",
    source="DLMF 4.2.26",
    draw=lambda pool: power_constant(pool.array(domain="positive"), exponent=pool.choice((3.0, 4.0, 1.5, -2.0, 0.0))),
    ulps=2.0,
)


def _replace(x: Any, *, nan: float, posinf: float, neginf: float) -> Any:
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


nan_replaced = elementwise(
    "nan_to_num",
    _replace,
    1.0,
    selects=(lambda y, x, **params: bind("isfinite", x),),
    torch="torch.nan_to_num({0}, nan={nan}, posinf={posinf}, neginf={neginf})",
    source="x where finite, a constant elsewhere",
    draw=lambda pool: nan_to_num(pool.array()),
    ulps=0.0,
)


def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """x with NaN and infinities replaced (default 0 and the largest finite numbers); strong zeros where it replaces."""
    largest = float(np.finfo(np.float64).max)
    high, low = largest if posinf is None else float(posinf), -largest if neginf is None else float(neginf)
    return nan_replaced(x, nan=float(nan), posinf=high, neginf=low)
