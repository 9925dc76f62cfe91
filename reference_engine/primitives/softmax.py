"""softmax, log_softmax and logsumexp, with derivatives that keep their digits when one entry dominates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..registry import same_dtype
from ..tracing import bind
from .declare import general
from .reduction import draw_reduction, finish, one_axis, reduced, running_sum, spread_back, spread_of, sum
from .scan import same
from .shape import axis_of, shaped
from .weighted import balance, deviation, place_of, sum_along

SOURCE = "Blanchard, Higham and Higham, Accurately computing the log-sum-exp and softmax functions, 2021"


def _softmax(x: Any, *, axis: int) -> Any:
    e = x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    np.exp(e, out=e)
    e /= sum_along(e, axis)
    return e


def _exponent_variance(x: Any, axis: int) -> Any:
    """Relative variance of exp(x - m): the difference d rounds to d (1 + δ), which moves the exponential by |d| δ."""
    distance = x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(distance), np.abs(distance), 0.0) ** 2 + 1.0


def _softmax_variance(x: Any, axis: int) -> Any:
    """y² (d² + 1) of the numerator, and the sum: its terms Σ y² (d² + 1) and its running sums, both relative."""
    y, own = np.abs(_softmax(x, axis=axis)) ** 2, _exponent_variance(x, axis)
    return y * (own + sum_along(y * own, axis) + running_sum(1.0, sum_along(y, axis), x.shape[axis]))


softmax_along = general(
    "softmax",
    _softmax,
    same,
    lambda g, y, x, *, axis: y * deviation(g, y, axis=axis),
    lossy=(lambda g, y, x, *, axis: y * (g - spread_back(sum(g * y, axis), x, (axis,))),),
    torch="torch.softmax({0}, dim={axis})",
    source=SOURCE,
    accumulates=spread_of(lambda x, *, axis: _softmax_variance(x, axis), lambda x, *, axis: x.shape[axis]),
    draw=lambda pool: _draw_along(pool, softmax),
)


def _log_sum(x: Any, axis: int) -> tuple[Any, Any]:
    """(m, log Σ exp(x - m)) with the axis kept: the largest entry is left out of the sum and put back by log(1 + ·)."""
    if not x.shape[axis]:
        shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
        return np.full(shape, -np.inf), np.zeros(shape)
    place = place_of(x, axis)
    m = np.take_along_axis(x, place, axis)
    with np.errstate(invalid="ignore"):
        e = np.exp(np.where(x == m, 0.0, x - m)) if not np.isfinite(m).all() else np.exp(x - m)
    np.put_along_axis(e, place, 0.0, axis)
    return m, np.log1p(sum_along(e, axis))


def _log_softmax(x: Any, *, axis: int) -> Any:
    m, rest = _log_sum(x, axis)
    return x - m - rest


def _log_sum_variance(x: Any, axis: int) -> Any:
    """The sum, relative: its terms Σ y² (d² + 1) and its running sums; and the logarithm's own rounding."""
    y, own = np.abs(_softmax(x, axis=axis)) ** 2, _exponent_variance(x, axis)
    y = np.where(np.isfinite(y), y, 0.0)
    sums = sum_along(y * own, axis) + running_sum(1.0, sum_along(y, axis), x.shape[axis])
    return sums + np.abs(_log_sum(x, axis)[1]) ** 2


# The differences d = x - m and the logarithm round separately before the last subtraction.
log_softmax_along = general(
    "log_softmax",
    _log_softmax,
    same,
    lambda g, y, x, *, axis: balance(g, bind("exp", y), axis=axis),
    lossy=(lambda g, y, x, *, axis: g - bind("exp", y) * spread_back(sum(g, axis), x, (axis,)),),
    torch="torch.log_softmax({0}, dim={axis})",
    source=SOURCE,
    accumulates=spread_of(
        lambda x, *, axis: _exponent_variance(x, axis) - 1.0 + _log_sum_variance(x, axis),
        lambda x, *, axis: x.shape[axis],
    ),
    draw=lambda pool: _draw_along(pool, log_softmax),
)


def _logsumexp(x: Any, *, axis: int) -> Any:
    m, rest = _log_sum(x, axis)
    return np.squeeze(np.where(np.real(m) == -np.inf, -np.inf, m + rest), axis)


def _share(x: Any, *, axis: int) -> Any:
    y = _softmax(x, axis=axis)
    if np.isnan(np.add.reduce(y, axis=None)):
        y = np.where(np.all(np.real(x) == -np.inf, axis=axis, keepdims=True), 0.0, y)
    return y


# softmax, but 0 in a row of -inf alone: the derivative of logsumexp.
share = general(
    "share",
    _share,
    same,
    lambda g, y, x, *, axis: y * deviation(g, y, axis=axis),
    lossy=(lambda g, y, x, *, axis: y * (g - spread_back(sum(g * y, axis), x, (axis,))),),
    torch=(
        "(lambda x: (lambda s: torch.exp(x - torch.where(s == -torch.inf, 0.0, s)))"
        "(torch.logsumexp(x, dim={axis}, keepdim=True)))({0})"
    ),
    source=SOURCE,
    accumulates=spread_of(lambda x, *, axis: _share_variance(x, axis), lambda x, *, axis: x.shape[axis]),
    draw=lambda pool: _draw_along(pool, lambda x, axis: bind("share", x, axis=axis)),
)


def _share_variance(x: Any, axis: int) -> Any:
    variance = _softmax_variance(x, axis)
    return np.where(np.isnan(variance), 0.0, variance)


def _logsumexp_vjp(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """x̄ = g softmax(x).  A row of -inf alone has value -inf and derivative 0."""
    return spread_back(g, x, (axis,)) * share(x, axis=axis)


def _logsumexp_lossy(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """The same from the saved output: g exp(x - y), off by |y| roundings."""
    empty = bind("equal", spread_back(y, x, (axis,)), -np.inf)
    share = bind("exp", bind("where", empty, 0.0, x) - bind("where", empty, 0.0, spread_back(y, x, (axis,))))
    return bind("where", empty, 0.0, spread_back(g, x, (axis,)) * share)


general(
    "logsumexp",
    _logsumexp,
    lambda x, *, axis: (reduced(x, (axis,)), same_dtype(x)),
    _logsumexp_vjp,
    lossy=(_logsumexp_lossy,),
    torch="torch.logsumexp({0}, dim={axis})",
    source=SOURCE,
    accumulates=spread_of(
        lambda x, *, axis: np.squeeze(_log_sum_variance(x, axis), axis), lambda x, *, axis: x.shape[axis]
    ),
    draw=lambda pool: draw_reduction(logsumexp)(pool),
)


def _draw_along(pool: Any, operation: Callable[..., Any]) -> Any:
    x = pool.array(min_ndim=1)
    return operation(x, axis=pool.axis(x.ndim))


def softmax(x: Any, axis: int = -1) -> Any:
    """y_i = exp x_i / Σ_j exp x_j along `axis`; NaN in a row of -inf alone, where no limit exists.

    x: any shape with at least one axis -> the same. Dimensionless.
    """
    x = shaped(x)
    return softmax_along(x, axis=axis_of("softmax", int(axis), x.ndim))


def log_softmax(x: Any, axis: int = -1) -> Any:
    """y_i = x_i - log Σ_j exp x_j along `axis`; NaN in a row of -inf alone.

    x: any shape with at least one axis -> the same.
    """
    x = shaped(x)
    return log_softmax_along(x, axis=axis_of("log_softmax", int(axis), x.ndim))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log Σ exp x along `axis` (None: all); -inf, with derivative 0, where all entries are -inf or there are none.

    x: any shape -> without the summed axes, or with length 1 there if `keepdims`.
    """
    x = shaped(x)
    merged, along, axes = one_axis("logsumexp", x, axis)
    if not axes:
        return x
    return finish(bind("logsumexp", merged, axis=along), x, axes, keepdims)


__all__ = ["log_softmax", "logsumexp", "softmax"]
