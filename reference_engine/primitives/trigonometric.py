"""Trigonometric functions, their inverses, the sine quotient and the hypotenuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from .arithmetic import negative, reciprocal, rsqrt, square, where
from .choice import choice
from .comparison import equal
from .declare import Operation, elementwise, inner_rounding

sin = elementwise("sin", np.sin, lambda y, x: cos(x), torch="sin", source="DLMF 4.20.1", ulps=2.0)
cos: Operation = elementwise("cos", np.cos, lambda y, x: negative(sin(x)), torch="cos", source="DLMF 4.20.2", ulps=2.0)
tan = elementwise("tan", np.tan, lambda y, x: 1.0 + square(y), torch="tan", source="DLMF 4.20.3", ulps=3.0)


def _arc_slope(x: Any) -> Any:
    """1/√(1 - x²); 1 - x and 1 + x are exact near the ends, 1 - x² is not."""
    return rsqrt((1.0 - x) * (1.0 + x))


def _arc_slope_squared(x: Any) -> Any:
    """The same from x², which loses digits near ±1."""
    return rsqrt(1.0 - square(x))


asin = elementwise(
    "asin",
    np.arcsin,
    lambda y, x: _arc_slope(x),
    lossy=(lambda y, x: _arc_slope_squared(x),),
    torch="asin",
    source="DLMF 4.24.7",
    domain=("unit",),
    ulps=3.0,
)
acos = elementwise(
    "acos",
    np.arccos,
    lambda y, x: negative(_arc_slope(x)),
    lossy=(lambda y, x: negative(_arc_slope_squared(x)),),
    torch="acos",
    source="DLMF 4.24.8",
    domain=("unit",),
    ulps=3.0,
)
atan = elementwise(
    "atan", np.arctan, lambda y, x: reciprocal(1.0 + square(x)), torch="atan", source="DLMF 4.24.9", ulps=2.0
)


def _over_radius_squared(a: Any, b: Any, top: Any) -> Any:
    """top/(a² + b²) as (top/r)/r, which neither overflows nor underflows; 0 where r is infinite.

    At the origin there is no derivative, not even a bounded set of slopes: 0/0, not a number.
    """
    r = hypot(a, b)
    return where(equal(r, math.inf), 0.0, top / r) / r


atan2 = elementwise(
    "atan2",
    np.arctan2,
    lambda y, a, b: _over_radius_squared(a, b, b),
    lambda y, a, b: _over_radius_squared(a, b, negative(a)),
    lossy=(
        lambda y, a, b: b / (square(a) + square(b)),
        lambda y, a, b: negative(a) / (square(a) + square(b)),
    ),
    torch="atan2",
    source="DLMF 4.24.9 on a/b and its continuation to every quadrant",
    ulps=3.0,
)


def _direction(y: Any, a: Any) -> Any:
    """a/y. At the origin every vector of the unit disc is legitimate (Clarke), each entry in [-1, 1]; ours is 0."""
    origin = equal(y, 0.0)
    return where(origin, 2.0 * choice(origin, 0.5) - 1.0, a / where(origin, 1.0, y))


hypot = elementwise(
    "hypot",
    np.hypot,
    lambda y, a, b: _direction(y, a),
    lambda y, a, b: _direction(y, b),
    torch="hypot",
    source="Clarke, Optimization and Nonsmooth Analysis, ex. 2.2.5; (√(a² + b²))' = a/√(a² + b²)",
    ulps=2.0,
)

SERIES_BELOW = 1.0  # |z| under which the power series of j_n has converged after SERIES_TERMS terms to 1e-17
SERIES_TERMS = 9


def _spherical_bessel(z: Any, *, n: int) -> Any:
    """j_n(z), also for z < 0, where j_n(-z) = (-1)ⁿ j_n(z); by its power series (DLMF 10.53.1) where |z| is small."""
    z = np.asarray(z)
    size = np.abs(z)
    y = np.asarray(special.spherical_jn(n, size))
    small = size < SERIES_BELOW
    term = np.where(small, size, 0.0) ** n / math.prod(range(1, 2 * n + 2, 2))
    total = np.zeros_like(term)
    half_square = -0.5 * np.square(np.where(small, size, 0.0))
    for k in range(1, SERIES_TERMS + 1):
        total = total + term
        term = term * half_square / (k * (2 * n + 2 * k + 1))
    y = np.where(small, total, y)
    return np.where(z < 0, -y, y) if n % 2 else y


# A closed family: no member divides by z, so nothing cancels at 0.
spherical_bessel: Operation = elementwise(
    "spherical_bessel",
    _spherical_bessel,
    lambda y, z, *, n: (
        negative(spherical_bessel(z, n=1))
        if n == 0
        else (n * spherical_bessel(z, n=n - 1) - (n + 1) * spherical_bessel(z, n=n + 1)) / (2.0 * n + 1.0)
    ),
    source="DLMF 10.51.2",
    draw=False,
    ulps=8.0,
)


def _sinc_condition(x: Any) -> Any:
    """x sinc'(x) = cos πx - sinc x: what one rounding of πx moves the sine by."""
    return np.cos(np.pi * x) - np.sinc(x)


# (cos πx - sinc x)/x would cancel near 0; sinc x = j₀(πx) and j₀' = -j₁ do not.
sinc = elementwise(
    "sinc",
    np.sinc,
    lambda y, x: -math.pi * spherical_bessel(math.pi * x, n=1),
    lossy=(lambda y, x: where(equal(x, 0.0), 0.0, (cos(math.pi * x) - y) / where(equal(x, 0.0), 1.0, x)),),
    torch="sinc",
    source="DLMF 10.49.3, 10.51.2: sin πx/πx = j₀(πx)",
    ulps=3.0,
    accumulates=inner_rounding(_sinc_condition),
)


def deg2rad(x: Any) -> Any:
    """x π/180: degrees to radians, entry by entry."""
    return x * (math.pi / 180.0)


def rad2deg(x: Any) -> Any:
    """x 180/π: radians to degrees, entry by entry."""
    return x * (180.0 / math.pi)
