"""Smooth gates of neural networks that a composition would compute without its left tail."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ..registry import Accumulation
from .arithmetic import square
from .comparison import clip
from .declare import elementwise
from .exponential import exp, sigmoid, softplus, tanh, tanh_slope
from .special import erf, ndtr

ROOT_HALF, DENSITY_AT_ZERO = math.sqrt(0.5), 1.0 / math.sqrt(2.0 * math.pi)
FLAT = 800.0  # |x| from which every gate here is 0 or 1 to the last digit, and its slopes are 0
SLOPE, CUBIC = 2.0 * math.sqrt(2.0 / math.pi), 0.044715  # of the inner polynomial of the approximation by tanh


def _bounded(x: Any) -> Any:
    """x within [-FLAT, FLAT]: a product of it with a vanishing slope has its limit 0 where powers of x overflow."""
    return clip(x, -FLAT, FLAT)


def _bell(x: Any) -> Any:
    """x φ(x)."""
    x = _bounded(x)
    return x * (DENSITY_AT_ZERO * exp(-0.5 * square(x)))


def _gelu(x: Any) -> Any:
    return np.where(np.isneginf(x), 0.0, x * special.ndtr(x))


# A value may be computed as x (1 + erf)/2: two terms, x/2 and x erf/2, that cancel in the left tail.
gelu = elementwise(
    "gelu",
    _gelu,
    lambda y, x: ndtr(x) + _bell(x),
    lossy=(lambda y, x: 0.5 * (1.0 + erf(ROOT_HALF * x)) + _bell(x),),
    torch="torch.nn.functional.gelu({0})",
    source="Hendrycks and Gimpel, Gaussian Error Linear Units, 2016: x Φ(x), (x Φ)' = Φ + x φ",
    ulps=2.0,
    accumulates=Accumulation(
        lambda x: 2, lambda x: 0.25 * np.square(x) * (1.0 + np.square(special.erf(ROOT_HALF * x)))
    ),
)


def _inner(x: Any) -> Any:
    """2z of ½ x (1 + tanh z) = x σ(2z), z = √(2/π) (x + 0.044715 x³)."""
    return SLOPE * (x + CUBIC * (x * x * x))


def _inner_slope(x: Any) -> Any:
    return SLOPE * (1.0 + 3.0 * CUBIC * square(x))


def _gelu_tanh(x: Any) -> Any:
    return np.where(np.isneginf(x), 0.0, x * special.expit(_inner(x)))


def _gelu_tanh_slope(y: Any, x: Any) -> Any:
    """σ(2z) + x σ(2z) σ(-2z) (2z)'; both tails are kept."""
    x = _bounded(x)
    z = _inner(x)
    return sigmoid(z) + x * (sigmoid(z) * sigmoid(-z)) * _inner_slope(x)


def _gelu_tanh_slope_by_tanh(y: Any, x: Any) -> Any:
    """½ (1 + t) + ½ x (1 - t²) z' from t = tanh z, whose tails are gone where |t| rounds to 1."""
    x = _bounded(x)
    t = tanh(0.5 * _inner(x))
    return 0.5 * (1.0 + t) + 0.25 * x * (1.0 - square(t)) * _inner_slope(x)


gelu_tanh = elementwise(
    "gelu_tanh",
    _gelu_tanh,
    _gelu_tanh_slope,
    lossy=(_gelu_tanh_slope_by_tanh,),
    torch="torch.nn.functional.gelu({0}, approximate='tanh')",
    source="Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, sec. 2; 1 + tanh z = 2 σ(2z)",
    ulps=4.0,
    accumulates=Accumulation(lambda x: 2, lambda x: 0.25 * np.square(x) * (1.0 + np.square(np.tanh(0.5 * _inner(x))))),
)


def _mish(x: Any) -> Any:
    return np.where(np.isneginf(x), 0.0, x * np.tanh(np.logaddexp(x, 0.0)))


def _mish_slope(y: Any, x: Any) -> Any:
    x = _bounded(x)
    s = softplus(x)
    t = tanh(s)
    return t + x * (tanh_slope(t, s) * sigmoid(x))


def _mish_slope_by_square(y: Any, x: Any) -> Any:
    x = _bounded(x)
    t = tanh(softplus(x))
    return t + x * ((1.0 - square(t)) * sigmoid(x))


mish = elementwise(
    "mish",
    _mish,
    _mish_slope,
    lossy=(_mish_slope_by_square,),
    torch="torch.nn.functional.mish({0})",
    source="Misra, Mish, 2019: x tanh(s), s = log(1 + eˣ); (x tanh s)' = tanh s + x (1 - tanh² s) σ(x)",
    ulps=5.0,
)
