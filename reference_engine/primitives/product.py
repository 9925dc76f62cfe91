"""Products along an axis, with derivatives of every order that are exact at zeros and stay inside the range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..registry import CONSTANT, FLOAT, same_dtype
from ..tracing import bind
from .declare import general, structural
from .reduction import draw_reduction, finish, one_axis, reduced, spread_back, spread_of
from .scan import products_after, products_before
from .shape import shaped

# A product of many factors leaves the range of float64 on the way although the whole product lies inside it. Where the
# binary exponents could add up to that, they are summed apart from the fractions.
SAFE_EXPONENT = 1000  # partial products stay below 2^1000 and above 2^-1000, inside the normal range of float64


def _product(x: Any, *, axis: int) -> Any:
    if x.dtype.kind == "c":
        return np.multiply.reduce(x, axis=axis)
    fraction, exponent = np.frexp(x)
    if not x.size or np.abs(exponent).sum(axis=axis).max() < SAFE_EXPONENT:
        return np.multiply.reduce(x, axis=axis)
    fraction, exponent = np.moveaxis(fraction, axis, 0), np.moveaxis(exponent, axis, 0).sum(axis=0, dtype=np.int64)
    while len(fraction) > 1:
        rest = fraction[2 * (len(fraction) // 2) :]
        pairs, power = np.frexp(fraction[0 : len(fraction) - len(rest) : 2] * fraction[1::2])
        fraction, exponent = np.concatenate([pairs, rest]), exponent + power.sum(axis=0)
    return np.ldexp(fraction[0], np.clip(exponent, -5000, 5000).astype(np.int32))


def _exponents(x: Any) -> Any:
    """e with x = m 2^e and √½ ≤ |m| < √2, as float64; 0 for 0, infinities and NaN."""
    real = np.real(x)
    fraction, exponent = np.frexp(np.where(np.isfinite(real), real, 0.0))
    return exponent - ((np.abs(fraction) < math.sqrt(0.5)) & (real != 0.0)) * 1.0


MANTISSA = "torch.frexp(x).exponent - 1.0 * ((torch.frexp(x).mantissa.abs() < 0.5**0.5) & (x != 0))"

exponents = general(
    "exponents",
    _exponents,
    lambda x: (x.shape, FLOAT),
    CONSTANT,
    torch=f"(lambda x: {MANTISSA})({{0}})",
    source="IEEE 754-2019, sec. 3.3",
    draw=False,
    ulps=0.0,
)


def _others(x: Any, *, axis: int) -> Any:
    e = _exponents(x)
    return np.sum(e, axis=axis, keepdims=True) - e


# Σ_{j≠i} e_j in one step: sums of whole numbers that do not round.
exponents_of_others = general(
    "exponents_of_others",
    _others,
    lambda x, *, axis: (x.shape, FLOAT),
    CONSTANT,
    torch=f"(lambda e: e.sum({{axis}}, keepdim=True) - e)((lambda x: {MANTISSA})({{0}}))",
    source="IEEE 754-2019, sec. 3.3",
    draw=False,
    ulps=0.0,
)


def _scale(x: Any, k: Any) -> Any:
    k = np.clip(k, -5000.0, 5000.0).astype(np.int32)
    return np.ldexp(x, k) if x.dtype.kind != "c" else np.ldexp(x.real, k) + 1j * np.ldexp(x.imag, k)


ldexp = structural(
    "ldexp",
    _scale,
    lambda x, k: (x.shape, same_dtype(x)),
    lambda g, y, x, k: bind("ldexp", g, k),
    CONSTANT,
    torch="torch.ldexp({0}, {1})",
    source="IEEE 754-2019, sec. 5.3.3, scaleB",
    draw=lambda pool: draw_ldexp(pool),
)


def draw_ldexp(pool: Any) -> Any:
    x = pool.array()
    return ldexp(x, np.full(x.shape, float(pool.integer(-3, 3))))


def _product_vjp(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """x̄_i = g Π_{j<i} x_j Π_{j>i} x_j: products that leave one out, no division, so exact at any number of zeros.

    x_j = m_j 2^{e_j} with √½ ≤ |m_j| < √2 and the e_j constants keeps the partial products inside the range.
    """
    m = ldexp(x, -exponents(x))
    others = products_before(m, axis) * products_after(m, axis)
    return ldexp(spread_back(g, x, (axis,)) * others, exponents_of_others(x, axis=axis))


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Π x along `axis` (None: all), 1 along an empty axis; exact derivatives of every order at zeros.

    x: any shape -> without the multiplied axes, or with length 1 there if `keepdims`.
    """
    x = shaped(x)
    merged, along, axes = one_axis("prod", x, axis)
    return finish(product(merged, axis=along), x, axes, keepdims) if axes else x


# k factors: k - 1 roundings of the result, each independent, so variance (k - 1) y².
product = general(
    "prod",
    _product,
    lambda x, *, axis: (reduced(x, (axis,)), same_dtype(x)),
    _product_vjp,
    lossy=(lambda g, y, x, *, axis: spread_back(g * y, x, (axis,)) / x,),
    torch="torch.prod({0}, dim={axis})",
    source="Leibniz rule for n factors; Griewank and Walther, sec. 3.3 (Speelpenning's product)",
    accumulates=spread_of(
        lambda x, *, axis: np.abs(_product(x, axis=axis)) ** 2 * x.shape[axis], lambda x, *, axis: x.shape[axis]
    ),
    draw=draw_reduction(prod),
)


__all__ = ["exponents", "ldexp", "prod", "product"]
