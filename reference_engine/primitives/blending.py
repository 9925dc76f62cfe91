"""Two pieces that meet at 0, and the straight line between two points."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import CONSTANT, Accumulation
from ..tracing import bind
from .choice import choice
from .comparison import equal, greater_equal, heaviside, less_equal
from .declare import elementwise


def _above(x: Any, at_zero: float) -> Any:
    return heaviside(x, choice(equal(x, 0.0), at_zero))


def _below(x: Any, at_zero: float) -> Any:
    return 1.0 - _above(x, at_zero)


# The pieces have one value at x = 0, but two slopes: legitimate there is every mixture θ upper + (1 - θ) lower, ours is
# θ = at_zero. In x itself nothing moves: it only says which piece holds.
meeting = elementwise(
    "pieces",
    lambda x, upper, lower, *, at_zero: np.where(x >= 0, upper, lower),
    CONSTANT,
    lambda y, x, upper, lower, *, at_zero: _above(x, at_zero),
    lambda y, x, upper, lower, *, at_zero: _below(x, at_zero),
    selects=(
        None,
        lambda y, x, upper, lower, *, at_zero: greater_equal(x, 0.0),
        lambda y, x, upper, lower, *, at_zero: less_equal(x, 0.0),
    ),
    torch="torch.where({0} >= 0, {1}, {2})",
    source="Clarke, Optimization and Nonsmooth Analysis, th. 2.5.1",
    draw=lambda pool: _draw_pieces(pool),
    ulps=0.0,
)


def pieces(x: Any, upper: Any, lower: Any, at_zero: float = 0.0) -> Any:
    """`upper` where x > 0, `lower` where x < 0, entry by entry; at x = 0 the two must have the same value.

    at_zero: share of the upper piece's derivative at x = 0, dimensionless, from 0 to 1.
    """
    return bind("pieces", x, upper, lower, at_zero=float(at_zero))


def _draw_pieces(pool: Any) -> Any:
    """A leaky ramp, the shortest function of two pieces."""
    x = pool.array()
    return pieces(x, x, pool.choice((0.5, 0.125)) * x)


def _between(a: Any, b: Any, w: Any) -> Any:
    """From the nearer end, so that w = 0 gives a and w = 1 gives b to the last digit."""
    return np.where(np.abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1.0 - w))


# Both terms of (1 - w) a + w b round, and so does the difference of the ends where it is small beside them.
lerp = elementwise(
    "lerp",
    _between,
    lambda y, a, b, w: 1.0 - w,
    lambda y, a, b, w: w,
    lambda y, a, b, w: b - a,
    torch="torch.lerp({0}, {1}, {2})",
    source="Farin, Curves and Surfaces for CAGD, sec. 3.1",
    accumulates=Accumulation(lambda a, b, w: 2, lambda a, b, w: np.square((1.0 - w) * a) + np.square(w * b)),
)
