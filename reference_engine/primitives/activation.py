"""Smooth gates of neural networks that a composition would compute without its left tail."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ..registry import Accumulation
from .arithmetic import square
from .declare import elementwise
from .exponential import exp, finite_part, sigmoid, tanh
from .special import erf, ndtr

ROOT_HALF, DENSITY_AT_ZERO = math.sqrt(0.5), 1.0 / math.sqrt(2.0 * math.pi)
SLOPE, CUBIC = 2.0 * math.sqrt(2.0 / math.pi), 0.044715  # of the inner polynomial of the approximation by tanh


def _density(x: Any) -> Any:
    return DENSITY_AT_ZERO * exp(-0.5 * square(x))


def _gelu(x: Any) -> Any:
    return np.where(np.isneginf(x), 0.0, x * special.ndtr(x))


# A value may be computed as x (1 + erf)/2: two terms, x/2 and x erf/2, that cancel in the left tail.
gelu = elementwise(
    "gelu",
    _gelu,
    lambda y, x: ndtr(x) + finite_part(x) * _density(x),
    lossy=(lambda y, x: 0.5 * (1.0 + erf(ROOT_HALF * x)) + finite_part(x) * _density(x),),
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
    z = _inner(x)
    return sigmoid(z) + finite_part(x) * (sigmoid(z) * sigmoid(-z)) * _inner_slope(finite_part(x))


def _gelu_tanh_slope_by_tanh(y: Any, x: Any) -> Any:
    """½ (1 + t) + ½ x (1 - t²) z' from t = tanh z, whose tails are gone where |t| rounds to 1."""
    t = tanh(0.5 * _inner(x))
    return 0.5 * (1.0 + t) + 0.25 * finite_part(x) * (1.0 - square(t)) * _inner_slope(finite_part(x))


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
