"""The functions of one number and their slopes, for every type of number that `Value` and `Dual` may hold.

`float` and `int` go to `math`, `complex` to `cmath`, mpmath's numbers to mpmath at the precision of the moment, a
`Dual` to its own methods, so that it may stand inside a Value. `Fraction` stays exact: what has no exact result is
refused.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from numbers import Number
from typing import Any, NoReturn

from .errors import DerivativeError, DtypeError

Unary = Callable[[Any], Any]


@dataclass(frozen=True)
class Function:
    """A function of one number: its name, y = of(x), and its slope dy/dx = slope(x, y) in the same type of number."""

    name: str
    of: Unary
    slope: Callable[[Any, Any], Any]


def number(x: Any, operation: str) -> Any:
    """`x` as a number that can be computed with: NumPy's scalars as Python's, all others as they are.

    Raises DtypeError for anything that is not one number.
    """
    if x.__class__ is float or x.__class__ is int:
        return x
    if getattr(x, "requires_grad", False):
        raise DtypeError(
            f"{operation}: found a tensor that requires grad; accepted are plain numbers, since the graph behind it "
            "would be cut without a word. Pass x.item() if that is what you want."
        )
    if hasattr(x, "item") and getattr(x, "shape", None) == ():  # NumPy's numbers, and tensors of one entry
        x = x.item()
        if hasattr(x, "item"):  # NumPy's long double, which has no shorter item than itself
            x = float(x)
    if isinstance(x, bool):
        x = int(x)
    if isinstance(x, Number) or hasattr(x, "tangent"):
        return x
    raise DtypeError(
        f"{operation}: found {x!r} of type {type(x).__name__}; accepted is one number: float, int, Fraction, "
        "Decimal, complex, mpmath's mpf, or a Dual of these. Take one entry, or convert it."
    )


def order(x: Any) -> Any:
    """The real number by which x is compared: its real part, or the innermost `data` of a Dual."""
    while hasattr(x, "tangent"):
        x = x.data
    return x.real if isinstance(x, complex) or hasattr(x, "_mpc_") else x


def is_zero(x: Any) -> bool:
    """Whether the number itself is 0, tangents aside."""
    while hasattr(x, "tangent"):
        x = x.data
    return bool(x == 0)


def zero_of(x: Any) -> Any:
    """A zero of the type of x."""
    return type(x)(0)


def is_real(x: Any) -> bool:
    """Whether x has no imaginary part by type."""
    while hasattr(x, "tangent"):
        x = x.data
    return not (isinstance(x, complex) or hasattr(x, "_mpc_"))


def _by_type(name: str, real: Unary, complex_: Unary) -> Unary:
    """The function that asks x for its type, and takes the one that is accurate for it."""

    def function(x: Any) -> Any:
        kind = x.__class__
        if kind is float or kind is int or kind is bool:
            return real(x)
        if kind is complex:
            return complex_(x)
        if hasattr(x, "tangent"):
            return getattr(x, name)()
        if hasattr(x, "_mpf_") or hasattr(x, "_mpc_"):
            return _by_mpmath(name, x)
        raise DtypeError(
            f"{name}: found {x!r}, whose {name} is no {type(x).__name__}; accepted are float, complex, and mpmath's "
            f"mpf. Convert it, for example with float."
        )

    return function


def _by_mpmath(name: str, x: Any) -> Any:
    import mpmath

    if name == "sigmoid":
        return 1 / (1 + mpmath.exp(-x))
    if name == "softplus":
        return mpmath.log1p(mpmath.exp(x)) if order(x) < 0 else x + mpmath.log1p(mpmath.exp(-x))
    return getattr(mpmath, name)(x)


def _nan_where_undefined(fn: Unary) -> Unary:
    """`fn` of `math`, with NaN in place of its ValueError at an infinity, as IEEE 754 has it."""

    def function(x: float) -> float:
        try:
            y: float = fn(x)
            return y
        except ValueError:
            return math.nan

    return function


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _sigmoid(x: float) -> float:
    if x < 0.0:
        e = _exp(x)
        return e / (1.0 + e)
    return 1.0 / (1.0 + _exp(-x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x))) if x == x else x


def _nan_where_too_large(fn: Callable[[complex], complex]) -> Callable[[complex], complex]:
    """`fn` of `cmath`, with NaN in place of its OverflowError: a part of it is above the largest float."""

    def function(z: complex) -> complex:
        try:
            return fn(z)
        except (OverflowError, ValueError):
            return complex(math.nan, math.nan)

    return function


def _complex_exp(z: complex) -> complex:
    """Infinite, in its own direction, where it overflows."""
    try:
        return cmath.exp(z)
    except OverflowError:
        return complex(math.copysign(math.inf, math.cos(z.imag)), math.inf * math.sin(z.imag) if z.imag else z.imag)


def _complex_sigmoid(z: complex) -> complex:
    return _complex_exp(z) / (1 + _complex_exp(z)) if z.real < 0 else 1 / (1 + _complex_exp(-z))


NO_ROUNDING_LEFT = 18.0  # e⁻¹⁸: the third term of log(1 + w) = w - w²/2 + … is below one rounding of the first


def _complex_softplus(z: complex) -> complex:
    """log(1 + e^z), principal branch."""
    if z.real < -NO_ROUNDING_LEFT:
        w = cmath.exp(z)
        return w - w * w / 2
    if z.real < 700.0:
        return cmath.log(1 + cmath.exp(z))
    return complex(z.real, math.remainder(z.imag, 2.0 * math.pi))


def _complex_erf(z: complex) -> complex:
    from scipy import special  # both parts to their own last digits, which a complex step needs

    return complex(special.erf(z))


exp = _by_type("exp", _exp, _complex_exp)
sin = _by_type("sin", _nan_where_undefined(math.sin), _nan_where_too_large(cmath.sin))
cos = _by_type("cos", _nan_where_undefined(math.cos), _nan_where_too_large(cmath.cos))
tan = _by_type("tan", _nan_where_undefined(math.tan), _nan_where_too_large(cmath.tan))
tanh = _by_type("tanh", math.tanh, cmath.tanh)
sigmoid = _by_type("sigmoid", _sigmoid, _complex_sigmoid)
softplus = _by_type("softplus", _softplus, _complex_softplus)
erf = _by_type("erf", math.erf, _complex_erf)
_log = _by_type("log", math.log, cmath.log)
_sqrt = _by_type("sqrt", math.sqrt, cmath.sqrt)


def log(x: Any) -> Any:
    """log x. Raises DerivativeError at 0, and below it for real numbers."""
    if (order(x) <= 0) if is_real(x) else x == 0:
        raise DerivativeError(
            f"log: a = {x}; accepted are numbers above 0, and any complex number but 0. Check where it became so small."
        )
    return _log(x)


def sqrt(x: Any) -> Any:
    """√x. Raises DerivativeError below 0 for real numbers."""
    if is_real(x) and order(x) < 0:
        raise DerivativeError(
            f"sqrt: a = {x}; accepted are numbers from 0 up, and complex numbers. Check where it became negative."
        )
    return _sqrt(x)


def absolute(x: Any) -> Any:
    """|x|; for a complex number -x or x by the sign of its real part, so that a complex step goes through."""
    return -x if order(x) < 0 else x


def relu(x: Any) -> Any:
    """max(x, 0), by the real part; NaN stays NaN."""
    return zero_of(x) if order(x) <= 0 else x


def _sech_squared(x: Any, y: Any) -> Any:
    """1/cosh² x = 4 e/(1 + e)², e = exp(-2|x|), which keeps its digits where tanh² x is near 1."""
    e = exp(-2 * absolute(x))
    return 4 * e / ((1 + e) * (1 + e))


def _erf_slope(x: Any, y: Any) -> Any:
    """2/√π exp(-x²), with π of the precision of x."""
    if hasattr(x, "_mpf_") or hasattr(x, "_mpc_"):
        import mpmath

        return 2 / mpmath.sqrt(mpmath.pi) * exp(-x * x)
    return 2 / math.sqrt(math.pi) * exp(-x * x)


def _sqrt_slope(x: Any, y: Any) -> Any:
    """1/(2√x); inf at 0, where the graph rises vertically."""
    return zero_of(y) + math.inf if is_zero(y) else 1 / (2 * y)


def _tan_slope(x: Any, y: Any) -> Any:
    """1 + tan² x, and 1/cos² x for a complex number, where the sum may cancel."""
    return 1 + y * y if is_real(x) else 1 / (cos(x) * cos(x))


# At 0 every slope in [-1, 1] of |x| and in [0, 1] of relu is legitimate; ours is 0, the least.
def _sign(x: Any, y: Any) -> Any:
    s = order(x)
    return 1 if s > 0 else -1 if s < 0 else 0 if s == 0 else s


def _step(x: Any, y: Any) -> Any:
    s = order(x)
    return 1 if s > 0 else 0 if s <= 0 else s


# The whole table of derivatives of one argument. Source: DLMF 4.2, 4.20, 4.34, 7.2.
FUNCTIONS: dict[str, Function] = {
    f.name: f
    for f in (
        Function("exp", exp, lambda x, y: y),
        Function("log", log, lambda x, y: 1 / x),
        Function("sqrt", sqrt, _sqrt_slope),
        Function("sin", sin, lambda x, y: cos(x)),
        Function("cos", cos, lambda x, y: -sin(x)),
        Function("tan", tan, _tan_slope),
        Function("tanh", tanh, _sech_squared),
        Function("sigmoid", sigmoid, lambda x, y: sigmoid(x) * sigmoid(-x)),
        Function("softplus", softplus, lambda x, y: sigmoid(x)),
        Function("erf", erf, _erf_slope),
        Function("abs", absolute, _sign),
        Function("relu", relu, _step),
    )
}


def choose(name: str, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """max or min of a and b by their real parts, and the slopes towards both.

    In a tie the slopes may be any θ and 1 - θ; ours are a half each. NaN wins, with slope 1.
    """
    s, t = order(a), order(b)
    if s == t:
        half = Fraction(1, 2) if isinstance(a, Fraction) else 0.5
        return a, half, half
    first = s != s or (t == t and (s > t if name == "max" else s < t))
    return (a, 1, 0) if first else (b, 0, 1)


def divide(a: Any, b: Any) -> Any:
    """a/b. Raises DerivativeError at b = 0."""
    try:
        return a / b
    except ZeroDivisionError:
        raise DerivativeError(f"divide: {a} / {b}; accepted is any divisor but 0. Check where it became 0.") from None
    except TypeError:
        unlike("divide", a, b)


def unlike(operation: str, a: Any, b: Any) -> NoReturn:
    """Raise DtypeError for two numbers that Python does not mix."""
    a, b = (x.data if hasattr(x, "_slopes") or hasattr(x, "tangent") else x for x in (a, b))
    number(a, operation), number(b, operation)  # what is no number at all has its own sentence
    raise DtypeError(
        f"{operation}: found {a!r} ({type(a).__name__}) and {b!r} ({type(b).__name__}), which Python does not mix; "
        "accepted are numbers of one type, and plain int beside any. Convert one of them."
    ) from None


def places(x: Any) -> str:
    """x to 4 decimal places; very small and very large numbers with an exponent, so that none looks like 0."""
    if hasattr(x, "tangent"):
        return repr(x)
    if isinstance(x, complex) or hasattr(x, "_mpc_"):
        return f"{complex(x):.4f}"
    size = abs(float(x))
    return f"{float(x):.4e}" if 0.0 < size < 5e-5 or 1e16 <= size < math.inf else f"{float(x):.4f}"


def power(a: Any, b: Any) -> Any:
    """aᵇ; inf where a float overflows.

    Raises DerivativeError at 0 to a negative power and where the result is not real though a and b are; DtypeError
    where a Fraction would become a float.
    """
    try:
        y = a**b
    except ZeroDivisionError:
        y = None
    except OverflowError:
        return math.inf if order(a) > 0 or b % 2 == 0 else -math.inf
    except TypeError:
        unlike("power", a, b)
    if y is None or (not is_real(y) and is_real(a) and is_real(b)):
        raise DerivativeError(
            f"power: {a} ** {b} is not a real number; accepted are a base above 0, or a whole exponent (not "
            "negative at 0). Check where the base left that range."
        )
    if isinstance(a, Fraction) and isinstance(y, float) and not isinstance(b, float):
        raise DtypeError(
            f"power: {a!r} ** {b!r} is no Fraction; accepted are whole exponents for exact numbers. Convert the base, "
            "for example with float."
        )
    return y


def power_slope(a: Any, b: Any) -> Any:
    """∂aᵇ/∂a = b aᵇ⁻¹; 0 for b = 0, and inf for a root at 0, where the graph rises vertically."""
    if is_zero(b):
        return 0
    if is_zero(a) and is_real(a) and 0 < order(b) < 1:
        return math.inf
    return b * power(a, b - 1)
