"""tanh of x + iy, part by part as real functions of two variables, whose slope a kernel may form as 1 - tanh²."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tracing import bind
from .arithmetic import square
from .declare import Operation, elementwise
from .exponential import tanh
from .trigonometric import tan

SOURCE = "tanh' = 1 - tanh² = 1/cosh², with the Cauchy-Riemann equations; Kahan, Branch cuts, 1987"


def _parts(x: Any, y: Any) -> tuple[Any, Any]:
    """With t = tanh x, s = tan y: t (1 + s²)/(1 + t² s²) and s/cosh²x /(1 + t² s²)."""
    with np.errstate(all="ignore"):
        t, s = np.tanh(x), np.tan(y)
        below = 1.0 + t * t * s * s
        return t * (1.0 + s * s) / below, s / np.cosh(x) ** 2 / below


def _slope(x: Any, y: Any) -> tuple[Any, Any]:
    """1/cosh²(x + iy) = (1 + s²)(1 - i t s)²/(cosh²x (1 + t² s²)²), real and imaginary part."""
    t, s = tanh(x), tan(y)
    product = t * s
    scale = (1.0 + square(s)) / square(bind("cosh", x) * (1.0 + square(product)))
    return scale * (1.0 - square(product)), -2.0 * scale * product


def _lossy(real: Any, imaginary: Any) -> tuple[Any, Any]:
    """1 - tanh² of the rounded tanh: no digit is left where it is 1."""
    return 1.0 - square(real) + square(imaginary), -2.0 * real * imaginary


real_of_tanh: Operation = elementwise(
    "real_of_tanh",
    lambda x, y: _parts(x, y)[0],
    lambda r, x, y: _slope(x, y)[0],
    lambda r, x, y: -_slope(x, y)[1],
    lossy=(
        lambda r, x, y: _lossy(r, imaginary_of_tanh(x, y))[0],
        lambda r, x, y: -_lossy(r, imaginary_of_tanh(x, y))[1],
    ),
    torch="torch.tanh(torch.complex({0}, {1})).real",
    source=SOURCE,
    ulps=8.0,
    draw=False,
)
imaginary_of_tanh: Operation = elementwise(
    "imaginary_of_tanh",
    lambda x, y: _parts(x, y)[1],
    lambda i, x, y: _slope(x, y)[1],
    lambda i, x, y: _slope(x, y)[0],
    lossy=(
        lambda i, x, y: _lossy(real_of_tanh(x, y), i)[1],
        lambda i, x, y: _lossy(real_of_tanh(x, y), i)[0],
    ),
    torch="torch.tanh(torch.complex({0}, {1})).imag",
    source=SOURCE,
    ulps=8.0,
    draw=False,
)

__all__ = ["imaginary_of_tanh", "real_of_tanh"]
