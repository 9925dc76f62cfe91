"""Deviations from the mean, variance, standard deviation and vector norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..registry import same_dtype
from ..tracing import bind
from .choice import choice
from .declare import general
from .reduction import (
    count_along,
    draw_reduction,
    filled,
    finish,
    in_blocks,
    max,
    min,
    reduced,
    running_sum,
    spread_back,
    spread_of,
    sum,
)
from .scan import same
from .shape import axes_of, shaped

STATISTICS = "Chan, Golub and LeVeque, Algorithms for computing the sample variance, 1983"
NORMS = "Higham, Accuracy and Stability of Numerical Algorithms, sec. 27.8"
DUAL = "Rockafellar, Convex Analysis, sec. 23: the subdifferential of a norm at 0 is the dual unit ball"


SHORT = 64  # entries whose mean is right to about one rounding of the greatest


def _mean(x: Any, axes: tuple[int, ...]) -> Any:
    return np.add.reduce(in_blocks(x, axes), axis=axes, keepdims=True) / np.float64(count_along(x, axes))


def _centre(x: Any, axes: tuple[int, ...]) -> Any:
    """x - mean(x) from data shifted by the first entry, which is exactly 0 where all entries are equal."""
    if not x.size:
        return x * 1.0
    shifted = x - x[tuple(slice(0, 1) if i in axes else slice(None) for i in range(x.ndim))]
    shifted -= _mean(shifted, axes)
    if count_along(x, axes) > SHORT:  # the first entry may lie far from the mean: what is left of it is taken away too
        shifted -= _mean(shifted, axes)
    return shifted


def _mean_variance(x: Any, axes: tuple[int, ...]) -> Any:
    """Rounding of a mean in units of (0.4 u)²: m² + Σ (x/n)² (1 + c/2), chains of at most 512."""
    n = count_along(x, axes)
    squares = np.add.reduce(np.abs(x) ** 2, axis=axes, keepdims=True) / n**2
    return np.abs(_mean(x, axes)) ** 2 + squares * (1.0 + np.minimum(n, 512) / 2.0)


# x - mean(x) is linear and symmetric. The rounded mean moves all entries: u |mean| beside the last rounding.
centre = general(
    "centre",
    lambda x, *, axes: _centre(x, axes),
    same,
    lambda g, y, x, *, axes: bind("centre", g, axes=axes),
    torch="({0} - {0}.mean(dim={axes}, keepdim=True))",
    source="the centring matrix I - 11ᵀ/n is symmetric and idempotent",
    accumulates=spread_of(
        lambda x, *, axes: np.broadcast_to(_mean_variance(x, axes), x.shape), lambda x, *, axes: count_along(x, axes)
    ),
    draw=lambda pool: draw_centre(pool),
)


def draw_centre(pool: Any) -> Any:
    x = filled(pool)
    return centre(x, axes=pool.choice(((pool.axis(x.ndim),), tuple(range(x.ndim)))))


def _degrees(x: Any, axes: tuple[int, ...], correction: float) -> float:
    n = count_along(x, axes) - correction
    return n if n > 0.0 else 0.0


def _variance(x: Any, *, axes: tuple[int, ...], correction: float) -> Any:
    c = _centre(x, axes)
    return np.add.reduce(c * c, axis=axes) / np.float64(_degrees(x, axes, correction))


def _variance_spread(x: Any, *, axes: tuple[int, ...], correction: float) -> Any:
    """Rounding of Σ c²/d in one pass (the least favourable order): each square rounds three times, the sum runs in one
    chain, and the running mean moves each term by 2 |c| u |mean|."""
    c2 = np.abs(_centre(x, axes)) ** 2
    fourth, moved = np.add.reduce(c2**2, axis=axes), np.add.reduce(4.0 * c2 * np.abs(_mean(x, axes)) ** 2, axis=axes)
    sums = running_sum(np.add.reduce(c2, axis=axes) ** 2, fourth, count_along(x, axes), lanes=1)
    return (sums + 3.0 * fourth + moved) / np.float64(_degrees(x, axes, correction)) ** 2


def _mean_moved(unit: float, x: Any, *, axes: tuple[int, ...], correction: float) -> Any:
    """n δ²/d for a mean that is rounded by δ: all that is left of the error of a variance at constant data."""
    moved = unit**2 * _mean_variance(x, axes).reshape(reduced(x, axes))
    return moved * (count_along(x, axes) / np.float64(_degrees(x, axes, correction)))


def _variance_vjp(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], correction: float) -> Any:
    """x̄ = g 2 (x - mean) / (n - correction)."""
    return spread_back(bind("divide", 2.0 * g, _degrees(x, axes, correction)), x, axes) * centre(x, axes=axes)


def var(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Σ (x - mean)² / (n - correction) along `axis` (None: all); NaN where n ≤ correction.

    x: any shape -> without the reduced axes, or with length 1 there if `keepdims`. Unit: that of x, squared.
    """
    x = shaped(x)
    axes = axes_of("var", axis, x.ndim)
    return finish(bind("var", x, axes=axes, correction=float(correction)), x, axes, keepdims)


def _draw_moment(moment: Callable[..., Any]) -> Callable[[Any], Any]:
    def draw(pool: Any) -> Any:
        correction = pool.choice((0.0, 1.0))
        return draw_reduction(lambda x, axis, keepdims: moment(x, axis, correction, keepdims), empty=False)(pool)

    return draw


general(
    "var",
    _variance,
    lambda x, *, axes, correction: (reduced(x, axes), same_dtype(x)),
    _variance_vjp,
    torch="torch.var({0}, dim={axes}, correction={correction})",
    source=STATISTICS,
    accumulates=spread_of(_variance_spread, lambda x, *, axes, correction: 2, _mean_moved),
    draw=_draw_moment(var),
)


def std(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """√var, computed as ‖x - mean‖₂ / √(n - correction), which neither overflows nor underflows.

    x: any shape -> without the reduced axes. At constant data the derivative is the element of least norm, 0
    (legitimate are the centred vectors of length at most 1/√(n - correction)). NaN where n ≤ correction. Unit: of x.
    """
    x = shaped(x)
    axes = axes_of("std", axis, x.ndim)
    return finish(bind("std", x, axes=axes, correction=float(correction)), x, axes, keepdims)


def _std(x: Any, *, axes: tuple[int, ...], correction: float) -> Any:
    return _norm(_centre(x, axes), axes=axes) / np.sqrt(np.float64(_degrees(x, axes, correction)))


def _std_spread(x: Any, *, axes: tuple[int, ...], correction: float) -> Any:
    """Half the relative rounding of the variance: δ(√v) = δv / (2 √v), from data scaled by a power of two."""
    s = _power_of_two(_centre(x, axes), axes)
    variance = _variance(x / s, axes=axes, correction=correction)
    spread = _variance_spread(x / s, axes=axes, correction=correction)
    return spread / (4.0 * np.where(variance > 0.0, variance, 1.0)) * s.reshape(variance.shape) ** 2


def _deviation_moved(unit: float, x: Any, *, axes: tuple[int, ...], correction: float) -> Any:
    """√(v + n δ²/d) - √v: how far a rounded mean moves the deviation."""
    extra = _mean_moved(unit, x, axes=axes, correction=correction)
    length = np.abs(_std(x, axes=axes, correction=correction))
    total = length + np.hypot(length, np.sqrt(extra))
    return np.divide(extra, total, out=np.zeros_like(total), where=total > 0.0)


def _std_vjp(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], correction: float) -> Any:
    """x̄ = g (x - mean) / ((n - correction) y).  Legitimate at constant data: centred vectors of length at most
    1/√(n - correction); ours is 0, the element of least norm."""
    degrees = _degrees(x, axes, correction)
    length = spread_back(y, x, axes)
    zero = bind("equal", length, 0.0)
    kink = centre(_at_zero(zero, count_along(x, axes) or 1), axes=axes) * (1.0 / math.sqrt(degrees) if degrees else 0.0)
    slope = centre(x, axes=axes) / (degrees * bind("where", zero, 1.0, length))
    return spread_back(g, x, axes) * bind("where", zero, kink, slope)


general(
    "std",
    _std,
    lambda x, *, axes, correction: (reduced(x, axes), same_dtype(x)),
    _std_vjp,
    torch="torch.std({0}, dim={axes}, correction={correction})",
    source=STATISTICS,
    accumulates=spread_of(_std_spread, lambda x, *, axes, correction: 2, _deviation_moved),
    draw=_draw_moment(std),
)


def _power_of_two(x: Any, axes: tuple[int, ...]) -> Any:
    """A power of two near the largest |x|, 1 where that is 0, infinite or NaN; scaling by it is exact."""
    top = np.maximum.reduce(np.abs(x), axis=axes, keepdims=True, initial=0.0)
    exponent = np.frexp(np.where(np.isfinite(top), top, 1.0))[1]
    return np.ldexp(1.0, np.clip(exponent, -1021, 1023))


def _norm(x: Any, *, axes: tuple[int, ...]) -> Any:
    s = _power_of_two(x, axes)
    z = x / s
    return np.sqrt(np.add.reduce(z * z, axis=axes)) * s.reshape(reduced(x, axes))


def _norm_spread(x: Any, *, axes: tuple[int, ...]) -> Any:
    """Half the relative rounding of Σ x², whose squares round and whose sum runs in one chain."""
    s = _power_of_two(x, axes)
    z2 = np.abs(x / s) ** 2
    total, fourth = np.add.reduce(z2, axis=axes), np.add.reduce(z2 * z2, axis=axes)
    variance = fourth + running_sum(total**2, fourth, count_along(x, axes), lanes=1)
    return variance / (4.0 * np.where(total > 0.0, total, 1.0)) * s.reshape(total.shape) ** 2


def _at_zero(zero: Any, n: int) -> Any:
    """A vector of the unit ball: 0 by default, other choices fill the cube of half-width 1/√n inside the ball."""
    return (2.0 * choice(zero, 0.5) - 1.0) / math.sqrt(n)


def _norm_vjp(g: Any, y: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    """x̄ = g x/‖x‖.  Legitimate at x = 0: g v with any ‖v‖ ≤ 1; ours is 0, the element of least norm."""
    length = spread_back(y, x, axes)
    zero = bind("equal", length, 0.0)
    direction = x / bind("where", zero, 1.0, length)
    kink = _at_zero(zero, count_along(x, axes) or 1)
    return spread_back(g, x, axes) * bind("where", zero, kink, direction)


euclidean = general(
    "norm",
    _norm,
    lambda x, *, axes: (reduced(x, axes), same_dtype(x)),
    _norm_vjp,
    torch="torch.linalg.vector_norm({0}, dim={axes})",
    source=DUAL,
    accumulates=spread_of(_norm_spread, lambda x, *, axes: 2 * count_along(x, axes)),
    draw=lambda pool: draw_reduction(lambda x, axis, keepdims: norm(x, axis=axis, keepdims=keepdims))(pool),
)


def _p_norm(x: Any, *, axes: tuple[int, ...], ord: float) -> Any:
    size = np.abs(x) if x.dtype.kind != "c" else np.where(x.real < 0, -x, x)  # analytic, for the complex step
    s = _power_of_two(x, axes)
    return np.power(np.add.reduce(np.power(size / s, ord), axis=axes), 1.0 / ord) * s.reshape(reduced(x, axes))


def _p_norm_vjp(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], ord: float) -> Any:
    """x̄ = g sign(x) (|x|/y)^(p-1).  At y = 0, p ≥ 1, legitimate is the unit ball of the dual norm, and for p < 0,
    where the norm behaves as the least |x|, a symmetric set too; ours is 0.
    """
    length = spread_back(y, x, axes)
    zero = bind("equal", length, 0.0)
    ratio = bind("abs", x) / bind("where", zero, 1.0, length)
    slope = bind("sign", x) * bind("power_constant", ratio, exponent=ord - 1.0)
    if ord >= 1.0 or ord < 0.0:
        slope = bind("where", zero, _at_zero(zero, count_along(x, axes) or 1), slope)
    return spread_back(g, x, axes) * slope


# The powers carry p roundings of their logarithm, the sum its own; the root divides what they amount to by p.
general(
    "p_norm",
    _p_norm,
    lambda x, *, axes, ord: (reduced(x, axes), same_dtype(x)),
    _p_norm_vjp,
    torch="torch.linalg.vector_norm({0}, {ord}, dim={axes})",
    source=NORMS,
    ulps=2.0,
    accumulates=spread_of(
        lambda x, *, axes, ord: (
            np.abs(_p_norm(x, axes=axes, ord=ord)) ** 2 * (2.0 + np.minimum(count_along(x, axes), 512) / 2.0)
        ),
        lambda x, *, axes, ord: 2,
    ),
    draw=lambda pool: draw_reduction(
        lambda x, axis, keepdims: norm(x, pool.choice((3.0, 1.5, 4.0)), axis, keepdims), empty=False
    )(pool),
)


def norm(x: Any, ord: float = 2.0, axis: Any = None, keepdims: bool = False) -> Any:
    """Vector norm (Σ |x|^p)^{1/p} along `axis` (None: all), p = `ord`; inf is the largest, -inf the smallest |x|.

    x: any shape -> without the reduced axes. ord 2 is stable at 1e-300 and 1e300. ord 0 counts the entries that are not
    0 (its derivative is 0). At x = 0 the derivative is 0, the element of least norm. Unit: that of x. Raises
    ParameterError for an `ord` that is not a number.
    """
    x = shaped(x)
    axes = axes_of("norm", axis, x.ndim)
    if not isinstance(ord, (int, float)) or ord != ord:
        raise ParameterError(
            f"norm: ord={ord!r}; accepted is a number, inf or -inf. For a matrix norm, build it from singular values."
        )
    p = float(ord)
    if p == 2.0:
        y = euclidean(x, axes=axes)
    elif p == 1.0:
        y = sum(bind("abs", x), axes)
    elif p == 0.0:
        y = sum(bind("where", bind("not_equal", x, 0.0), 1.0, 0.0), axes)
    elif math.isinf(p):
        y = (max if p > 0 else min)(bind("abs", x), axes)
    else:
        y = bind("p_norm", x, axes=axes, ord=p)
    return finish(y, x, axes, keepdims)


__all__ = ["centre", "norm", "std", "var"]
