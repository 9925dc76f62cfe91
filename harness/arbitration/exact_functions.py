"""Values and slopes of elementwise functions in mpmath's words: what the referee holds every engine against.

Everything here is stated a second time on purpose. Neither a forward nor a slope is taken from a rule of ours or from
PyTorch, so that a wrong rule cannot agree with itself. A test holds each slope against differences of its value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath as mp
from scipy import special

DIGITS = 50  # what is promised of every number
WORKING = 80  # digits that are computed with; the difference covers the cancellations left below

Slope = Callable[..., Any] | None


@dataclass(frozen=True)
class Exact:
    """y = value(*xs) and ∂y/∂xᵢ = slopes[i](*xs) on mpmath's numbers; a slope None: the function is a step there."""

    value: Callable[..., Any]
    slopes: tuple[Slope, ...]


def exactly() -> Any:
    """The context in which the functions of this file are called."""
    return mp.workdps(WORKING)


def rational(x: Any) -> Fraction:
    """An mpf as the fraction that it is."""
    sign, man, exp, _ = x._mpf_
    return (-1) ** sign * Fraction(int(man)) * Fraction(2) ** exp


def _number(q: Fraction) -> Any:
    return mp.mpf(q.numerator) / q.denominator


def _whole(a: Any, b: Any, towards: Callable[[Fraction], int]) -> Fraction:
    return Fraction(towards(rational(a) / rational(b)))


def _rest(a: Any, b: Any, towards: Callable[[Fraction], int]) -> Any:
    """a - b n of the whole number n that a/b is rounded to; exact, however far apart a and b are."""
    return _number(rational(a) - rational(b) * _whole(a, b, towards))


NOTHING_BEYOND = 1e6  # e^(-1e6) and erfc(1e6) are far below 5e-324, the smallest float64


def _logistic(x: Any) -> Any:
    if abs(x) > NOTHING_BEYOND:
        return mp.mpf(x > 0)
    return 1 / (1 + mp.exp(-x)) if x > 0 else mp.exp(x) / (1 + mp.exp(x))


def _softplus(x: Any) -> Any:
    return max(x, mp.mpf(0)) + mp.log1p(mp.exp(-abs(x)))


def _sech2(x: Any) -> Any:
    return 1 / mp.cosh(x) ** 2 if abs(x) < NOTHING_BEYOND else mp.mpf(0)


def _erfc(x: Any) -> Any:
    return mp.mpf(0) if x > NOTHING_BEYOND else mp.mpf(2) if x < -NOTHING_BEYOND else mp.erfc(x)


def _bell(x: Any) -> Any:
    """exp(-x²), 0 where x² is so large that forming it would take all memory."""
    return mp.mpf(0) if abs(x) > NOTHING_BEYOND else mp.exp(-x * x)


def _erfcx(x: Any) -> Any:
    """exp(x²) erfc(x); by U(½, ½, x²)/√π (DLMF 7.11.2) on the right, where both factors leave every range."""
    if x > 1:
        return mp.hyperu(mp.mpf(1) / 2, mp.mpf(1) / 2, x * x) / mp.sqrt(mp.pi)
    return mp.inf if x < -NOTHING_BEYOND else mp.exp(x * x) * mp.erfc(x)


def _erfcx_slope(x: Any) -> Any:
    """2x erfcx - 2/√π; on the right -U(3/2, ½, x²)/√π, which is the same without cancellation (DLMF 7.18.10)."""
    if x > 1:
        return -mp.hyperu(1, mp.mpf(1) / 2, x * x) / mp.sqrt(mp.pi)
    return 2 * x * _erfcx(x) - 2 / mp.sqrt(mp.pi)


def _normal(x: Any) -> Any:
    return _erfc(-x / mp.sqrt(2)) / 2


def _density(x: Any) -> Any:
    return _bell(x / mp.sqrt(2)) / mp.sqrt(2 * mp.pi)


def _log_normal(x: Any) -> Any:
    if x < -1:
        return mp.log(_erfcx(-x / mp.sqrt(2)) / 2) - x * x / 2
    return mp.log1p(-_normal(-x))


def _hazard(x: Any) -> Any:
    """φ/Φ = √(2/π)/erfcx(-x/√2)."""
    return mp.sqrt(2 / mp.pi) / _erfcx(-x / mp.sqrt(2)) if x < 1 else _density(x) / _normal(x)


NEWTON = 3  # steps from a float64: each doubles the 15 digits


def _inverse_erf(x: Any) -> Any:
    """erf(y) = x by Newton's method; near ±1 on erfc, which keeps the digits of 1 - |x|."""
    if x == 0:
        return x
    size = abs(x)
    y = mp.mpf(float(special.erfinv(float(size))))
    for _ in range(NEWTON):
        miss = mp.erf(y) - size if size < 0.5 else (1 - size) - mp.erfc(y)
        y -= miss * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
    return y if x > 0 else -y


def _inverse_normal(p: Any) -> Any:
    """Φ(z) = p by Newton's method on log Φ, in the half where p ≤ ½."""
    low = p if p <= 0.5 else 1 - p
    z = mp.mpf(float(special.ndtri(float(low))))
    for _ in range(NEWTON):
        z -= (_log_normal(z) - mp.log(low)) / _hazard(z)
    return z if p <= 0.5 else -z


def _sinc_slope(x: Any) -> Any:
    """(cos πx - sinc x)/x; its power series where that cancels: -π j₁(πx), DLMF 10.53.1."""
    z = mp.pi * x
    if abs(x) < 1e-8:
        return -mp.pi * z / 3 * (1 - z**2 / 10 + z**4 / 280 - z**6 / 15120)
    return (mp.cospi(x) - mp.sincpi(x)) / x


def _moment(x: Any, n: int) -> Any:
    """(1/π) ∫₀^π (1 - cos θ)ⁿ exp(-x (1 - cos θ)) dθ by Kummer's function, DLMF 13.4.1."""
    half = mp.mpf(1) / 2
    return mp.mpf(2) ** n / mp.pi * mp.beta(n + half, half) * mp.hyp1f1(n + half, n + 1, -2 * x)


def _scaled_i1(x: Any) -> Any:
    size = abs(x)
    y = mp.exp(-size) * mp.besseli(1, size) if size < 100 else _moment(size, 0) - _moment(size, 1)
    return y if x > 0 else -y


GELU_SCALE, GELU_CUBIC = math.sqrt(2.0 / math.pi), 0.044715  # the doubles are part of the definition


def _gelu_inner(x: Any) -> Any:
    return 2 * mp.mpf(GELU_SCALE) * (x + mp.mpf(GELU_CUBIC) * x**3)


def _gelu_tanh_slope(x: Any) -> Any:
    z = _gelu_inner(x)
    inner = 2 * mp.mpf(GELU_SCALE) * (1 + 3 * mp.mpf(GELU_CUBIC) * x * x)
    return _logistic(z) * (1 + x * _logistic(-z) * inner)


def _gamma_density(a: Any, x: Any) -> Any:
    return mp.exp((a - 1) * mp.log(x) - x - mp.loggamma(a))


def _log_sum(a: Any, b: Any) -> Any:
    return max(a, b) + mp.log1p(mp.exp(-abs(a - b)))


def _pow_base(a: Any, b: Any) -> Any:
    return b * a ** (b - 1) if b else mp.mpf(0)


def _entropy(x: Any, t: Any) -> Any:
    return -t * mp.log(x) - (1 - t) * mp.log1p(-x)


one = lambda *_, **__: mp.mpf(1)
minus = lambda *_: mp.mpf(-1)


def _is(condition: Any) -> Any:
    return mp.mpf(1 if condition else 0)


# By the name of the primitive: value, then ∂y/∂x of each argument.
EXACT: dict[str, Exact] = {
    name: Exact(value, slopes)
    for name, value, *slopes_ in (
        ("add", lambda a, b: a + b, one, one),
        ("subtract", lambda a, b: a - b, one, minus),
        ("multiply", lambda a, b: a * b, lambda a, b: b, lambda a, b: a),
        ("divide", lambda a, b: a / b, lambda a, b: 1 / b, lambda a, b: -a / b**2),
        ("negative", lambda x: -x, minus),
        ("reciprocal", lambda x: 1 / x, lambda x: -1 / x**2),
        ("square", lambda x: x * x, lambda x: 2 * x),
        ("sqrt", mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x))),
        ("rsqrt", lambda x: 1 / mp.sqrt(x), lambda x: -1 / (2 * x * mp.sqrt(x))),
        ("pow", lambda a, b: a**b, _pow_base, lambda a, b: a**b * mp.log(a)),
        ("power_constant", lambda x, exponent: x**exponent, lambda x, exponent: _pow_base(x, mp.mpf(exponent))),
        ("abs", abs, mp.sign),
        ("sign", mp.sign, None),
        ("floor", mp.floor, None),
        ("ceil", mp.ceil, None),
        ("trunc", lambda x: mp.floor(x) if x > 0 else mp.ceil(x), None),
        ("round", mp.nint, None),
        ("floor_divide", lambda a, b: _number(_whole(a, b, math.floor)), None, None),
        (
            "remainder",
            lambda a, b: _rest(a, b, math.floor),
            one,
            lambda a, b: -_number(_whole(a, b, math.floor)),
        ),
        ("fmod", lambda a, b: _rest(a, b, math.trunc), one, lambda a, b: -_number(_whole(a, b, math.trunc))),
        ("copysign", lambda a, b: abs(a) * mp.sign(b), lambda a, b: mp.sign(a) * mp.sign(b), None),
        ("nan_to_num", lambda x, **_: x, one),
        ("stop_gradient", lambda x: x, None),
        ("maximum", max, lambda a, b: _is(a > b), lambda a, b: _is(b > a)),
        ("minimum", min, lambda a, b: _is(a < b), lambda a, b: _is(b < a)),
        ("fmax", max, lambda a, b: _is(a > b), lambda a, b: _is(b > a)),
        ("fmin", min, lambda a, b: _is(a < b), lambda a, b: _is(b < a)),
        ("heaviside", lambda x, v: v if x == 0 else _is(x > 0), None, lambda x, v: _is(x == 0)),
        ("relu", lambda x: max(x, mp.mpf(0)), lambda x: _is(x > 0)),
        ("clip", lambda x, low, high: min(max(x, mp.mpf(low)), mp.mpf(high)), lambda x, low, high: _is(low < x < high)),
        ("exp", mp.exp, mp.exp),
        ("exp2", lambda x: mp.mpf(2) ** x, lambda x: mp.ln2 * mp.mpf(2) ** x),
        ("expm1", mp.expm1, mp.exp),
        ("log", mp.log, lambda x: 1 / x),
        ("log2", lambda x: mp.log(x) / mp.ln2, lambda x: 1 / (x * mp.ln2)),
        ("log10", lambda x: mp.log(x) / mp.ln10, lambda x: 1 / (x * mp.ln10)),
        ("log1p", mp.log1p, lambda x: 1 / (1 + x)),
        ("sigmoid", _logistic, lambda x: _logistic(x) * _logistic(-x)),
        ("log_sigmoid", lambda x: -_softplus(-x), lambda x: _logistic(-x)),
        ("softplus", _softplus, _logistic),
        ("silu", lambda x: x * _logistic(x), lambda x: _logistic(x) * (1 + x * _logistic(-x))),
        ("gelu", lambda x: x * _normal(x), lambda x: _normal(x) + x * _density(x)),
        ("gelu_tanh", lambda x: x * _logistic(_gelu_inner(x)), _gelu_tanh_slope),
        (
            "mish",
            lambda x: x * mp.tanh(_softplus(x)),
            lambda x: mp.tanh(_softplus(x)) + x * _sech2(_softplus(x)) * _logistic(x),
        ),
        ("logaddexp", _log_sum, lambda a, b: _logistic(a - b), lambda a, b: _logistic(b - a)),
        (
            "logaddexp2",
            lambda a, b: _log_sum(a * mp.ln2, b * mp.ln2) / mp.ln2,
            lambda a, b: _logistic(mp.ln2 * (a - b)),
            lambda a, b: _logistic(mp.ln2 * (b - a)),
        ),
        ("xlogy", lambda x, a: x * mp.log(a), lambda x, a: mp.log(a), lambda x, a: x / a),
        ("xlog1py", lambda x, a: x * mp.log1p(a), lambda x, a: mp.log1p(a), lambda x, a: x / (1 + a)),
        ("entr", lambda x: -x * mp.log(x) if x else x, lambda x: -mp.log(x) - 1),
        ("logit", lambda x: mp.log(x / (1 - x)), lambda x: 1 / (x * (1 - x))),
        ("tanh", mp.tanh, _sech2),
        ("sinh", mp.sinh, mp.cosh),
        ("cosh", mp.cosh, mp.sinh),
        ("asinh", mp.asinh, lambda x: 1 / mp.sqrt(x * x + 1)),
        ("acosh", mp.acosh, lambda x: 1 / mp.sqrt((x - 1) * (x + 1))),
        ("atanh", mp.atanh, lambda x: 1 / ((1 - x) * (1 + x))),
        ("sin", mp.sin, mp.cos),
        ("cos", mp.cos, lambda x: -mp.sin(x)),
        ("tan", mp.tan, lambda x: 1 / mp.cos(x) ** 2),
        ("asin", mp.asin, lambda x: 1 / mp.sqrt((1 - x) * (1 + x))),
        ("acos", mp.acos, lambda x: -1 / mp.sqrt((1 - x) * (1 + x))),
        ("atan", mp.atan, lambda x: 1 / (1 + x * x)),
        ("atan2", mp.atan2, lambda a, b: b / (a * a + b * b), lambda a, b: -a / (a * a + b * b)),
        (
            "hypot",
            lambda a, b: mp.sqrt(a * a + b * b),
            lambda a, b: a / mp.sqrt(a * a + b * b),
            lambda a, b: b / mp.sqrt(a * a + b * b),
        ),
        ("sinc", mp.sincpi, _sinc_slope),
        (
            "erf",
            lambda x: mp.erf(x) if abs(x) < NOTHING_BEYOND else mp.sign(x),
            lambda x: 2 / mp.sqrt(mp.pi) * _bell(x),
        ),
        ("erfc", _erfc, lambda x: -2 / mp.sqrt(mp.pi) * _bell(x)),
        ("erfcx", _erfcx, _erfcx_slope),
        ("erfinv", _inverse_erf, lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(_inverse_erf(x) ** 2)),
        ("ndtr", _normal, _density),
        ("log_ndtr", _log_normal, _hazard),
        ("ndtri", _inverse_normal, lambda p: 1 / _density(_inverse_normal(p))),
        ("lgamma", lambda x: mp.loggamma(x).real, mp.digamma),
        ("digamma", mp.digamma, lambda x: mp.polygamma(1, x)),
        ("polygamma", lambda x, order: mp.polygamma(order, x), lambda x, order: mp.polygamma(order + 1, x)),
        ("gammainc", lambda a, x: mp.gammainc(a, 0, x, regularized=True), None, _gamma_density),
        (
            "gammaincc",
            lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True),
            None,
            lambda a, x: -_gamma_density(a, x),
        ),
        ("i0", lambda x: mp.besseli(0, x), lambda x: mp.besseli(1, x)),
        ("i1", lambda x: mp.besseli(1, x), lambda x: (mp.besseli(0, x) + mp.besseli(2, x)) / 2),
        ("i0e", lambda x: _moment(abs(x), 0), lambda x: -mp.sign(x) * _moment(abs(x), 1)),
        ("i1e", _scaled_i1, lambda x: _moment(abs(x), 2) - _moment(abs(x), 1)),
        (
            "binary_cross_entropy",
            _entropy,
            lambda x, t: (x - t) / (x * (1 - x)),
            lambda x, t: mp.log1p(-x) - mp.log(x),
        ),
    )
    for slopes in (tuple(slopes_),)
}


# Binary digits of a precision, and the exponent of its smallest number.
FORMATS = {"float64": (53, -1074, 1024), "float32": (24, -149, 128)}


def nearest(x: Any, dtype: str = "float64") -> float:
    """The number of a precision that is nearest to x, halves to even; ±inf from half a place above the largest."""
    if not mp.isfinite(x):
        return float(x)
    digits, lowest, highest = FORMATS[dtype]
    exponent = mp.frexp(x)[1]
    if exponent > highest or not x:
        return math.copysign(math.inf, x) if x else 0.0
    place = max(exponent - digits, lowest)
    whole = int(mp.nint(mp.ldexp(x, -place)))
    if abs(whole) * Fraction(2) ** place >= Fraction(2) ** highest:
        return math.copysign(math.inf, x)
    return math.ldexp(whole, place)


def last_place(y: float, dtype: str = "float64") -> float:
    """The unit in the last place of y: the distance to the next number away from 0, in units of y.

    Below the normal range it is the smallest number. NaN at an infinity.
    """
    digits, lowest, _ = FORMATS[dtype]
    if not math.isfinite(y):
        return math.nan
    return math.ldexp(1.0, max(math.frexp(y)[1] - digits, lowest) if y else lowest)
