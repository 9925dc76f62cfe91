"""The numbers that generated arrays hold: the places where derivatives go wrong, from simple to extreme.

Every kind is a function (generator, shape) -> array. The order of KINDS is the order in which a generator shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Rng = np.random.Generator

# Simple numbers first: hypothesis shrinks an index into this table towards 0.
SIMPLE = (1.0, 0.0, 2.0, 0.5, -1.0, -0.5, 3.0, -2.0, 1.5, -1.5)
SATURATED = (40.0, -40.0, 20.0, -20.0, 88.0, -88.0)
EXTREME = (1e-30, 1e30, -1e-30, -1e30)


def simple(rng: Rng, shape: Shape) -> Array:
    """Entries of SIMPLE: ties, zeros and boundaries are frequent."""
    return rng.choice(np.array(SIMPLE), shape)


def dense(rng: Rng, shape: Shape) -> Array:
    """Standard normal numbers: no zero, no tie."""
    return rng.standard_normal(shape)


def integers(rng: Rng, shape: Shape) -> Array:
    """The integer lattice from -3 to 3."""
    return rng.integers(-3, 4, shape).astype(np.float64)


def halves(rng: Rng, shape: Shape) -> Array:
    """The half-integer lattice from -2.5 to 2.5."""
    return rng.integers(-5, 6, shape) / 2.0


def few_zeros(rng: Rng, shape: Shape) -> Array:
    """Dense but for none, one or two exact zeros (one of them may be -0.0)."""
    x = rng.standard_normal(shape)
    if x.size:
        where = rng.integers(0, x.size, rng.integers(0, 3))
        x.reshape(-1)[where] = rng.choice([0.0, -0.0], where.shape)
    return x


def ties(rng: Rng, shape: Shape) -> Array:
    """Three distinct dense numbers, repeated."""
    return rng.choice(rng.standard_normal(3), shape)


def saturated(rng: Rng, shape: Shape) -> Array:
    """Dense, with some entries where exponentials saturate or overflow float32."""
    return np.where(rng.random(shape) < 0.3, rng.choice(np.array(SATURATED), shape), rng.standard_normal(shape))


def extreme(rng: Rng, shape: Shape) -> Array:
    """Dense, with some entries of magnitude 1e-30 or 1e30."""
    return np.where(rng.random(shape) < 0.3, rng.choice(np.array(EXTREME), shape), rng.standard_normal(shape))


def masked(rng: Rng, shape: Shape) -> Array:
    """Logits of which some are -inf, sometimes a whole row."""
    x = np.where(rng.random(shape) < 0.3, -np.inf, rng.standard_normal(shape))
    if x.ndim and x.size and rng.random() < 0.3:
        x[rng.integers(0, x.shape[0])] = -np.inf
    return x


def nonfinite(rng: Rng, shape: Shape) -> Array:
    """Dense, with some entries NaN, inf or -inf."""
    return np.where(rng.random(shape) < 0.2, rng.choice([np.nan, np.inf, -np.inf], shape), rng.standard_normal(shape))


KINDS: tuple[Callable[[Rng, Shape], Array], ...] = (simple, integers, halves, dense, dense, few_zeros, ties, saturated)


def into(domain: str, x: Array) -> Array:
    """`x` moved into a domain entry by entry, so that lattices stay lattices and boundaries are met if they belong
    to it.

    real: as it is. positive: |x|, ½ for 0. nonnegative: |x|. unit: |x| < 1. above_one: 1 + |x| > 1, 1½ for 0.
    """
    if domain == "positive":
        return np.where(x == 0.0, 0.5, np.abs(x))
    if domain == "nonnegative":
        return np.abs(x)
    if domain == "unit":
        with np.errstate(all="ignore"):
            far = np.clip(np.tanh(x / 64.0), -1.0 + 2.0**-10, 1.0 - 2.0**-10)
            return np.where(np.abs(x) < 1.0, x, np.where(np.abs(x) <= 8.0, x / 16.0, far))
    if domain == "above_one":
        return np.where(1.0 + np.abs(x) > 1.0, 1.0 + np.abs(x), 1.5)
    return x


def inside(domain: str, x: Any) -> bool:
    """Whether every entry lies in the domain."""
    if domain == "positive":
        return bool(np.all(x > 0.0))
    if domain == "nonnegative":
        return bool(np.all(x >= 0.0))
    if domain == "unit":
        return bool(np.all(np.abs(x) < 1.0))
    if domain == "above_one":
        return bool(np.all(x > 1.0))
    return True
