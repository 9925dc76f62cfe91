"""softmax, log_softmax and logsumexp, with derivatives that keep their digits when one entry dominates.

Two bilinear maps do the work, each the transpose of the other in its first argument: `deviation` and `balance`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..registry import CONSTANT, same_dtype
from ..tracing import bind
from .declare import general, structural
from .reduction import draw_reduction, filled, finish, one_axis, reduced, spread_back, spread_of, sum
from .scan import same
from .shape import axis_of, shaped

SOURCE = "Blanchard, Higham and Higham, Accurately computing the log-sum-exp and softmax functions, 2021"


def _place(p: Any, axis: int) -> Any:
    """Index of the largest entry along `axis`, kept as an axis of length 1 (the first one at a tie)."""
    return np.expand_dims(np.argmax(np.real(p), axis=axis), axis)


def _put(value: Any, p: Any, axis: int) -> Any:
    y = np.zeros(p.shape, value.dtype)
    if y.size:
        np.put_along_axis(y, _place(p, axis), np.expand_dims(value, axis), axis)
    return y


def _pick(x: Any, p: Any, *, axis: int) -> Any:
    if not x.shape[axis]:
        return np.zeros(reduced(x, (axis,)), x.dtype)
    return np.squeeze(np.take_along_axis(x, _place(p, axis), axis), axis)


# x at the largest entry of p; which one at a tie does not matter where it is used, since Σ p = 1 there.
at_largest = structural(
    "at_largest",
    _pick,
    lambda x, p, *, axis: (reduced(x, (axis,)), x.dtype),
    lambda g, y, x, p, *, axis: bind("to_largest", g, p, axis=axis),
    CONSTANT,
    torch="torch.take_along_dim({0}, {1}.argmax({axis}, keepdim=True), {axis}).squeeze({axis})",
    source="transpose of a selection",
    drops=True,
    draw=False,
)
to_largest = structural(
    "to_largest",
    lambda x, p, *, axis: _put(x, p, axis),
    lambda x, p, *, axis: (p.shape, x.dtype),
    lambda g, y, x, p, *, axis: bind("at_largest", g, p, axis=axis),
    CONSTANT,
    torch="torch.zeros_like({1}).scatter({axis}, {1}.argmax({axis}, keepdim=True), {0}.unsqueeze({axis}))",
    source="transpose of a selection",
    draw=False,
)


def _sum_along(x: Any, axis: int) -> Any:
    return np.add.reduce(x, axis=axis, keepdims=True)


def _deviation(t: Any, p: Any, *, axis: int) -> Any:
    if not t.size:
        return t * p
    h = t - np.take_along_axis(t, _place(p, axis), axis)
    h -= _sum_along(h * p, axis)
    return h


def _balance(g: Any, p: Any, *, axis: int) -> Any:
    if not g.size:
        return g * p
    place = _place(p, axis)
    other_g, other_p = g * 1.0, p * 1.0
    np.put_along_axis(other_g, place, 0.0, axis)
    np.put_along_axis(other_p, place, 0.0, axis)
    rest_g, rest_p = _sum_along(other_g, axis), _sum_along(other_p, axis)
    mine = np.take_along_axis(g, place, axis)
    y = g - p * (mine + rest_g)
    np.put_along_axis(y, place, mine * rest_p - (1.0 - rest_p) * rest_g, axis)
    return y


def _from_largest(t: Any, p: Any, axis: int) -> Any:
    return t - spread_back(at_largest(t, p, axis=axis), t, (axis,))


def draw_weighted(pool: Any, operation: Callable[..., Any]) -> Any:
    """Both maps are meant for weights that sum to 1."""
    x = filled(pool)
    axis = pool.axis(x.ndim)
    return operation(x, softmax(pool.shaped(x.shape), axis), axis=axis)


def _share_cotangent(g: Any, t: Any, p: Any, axis: int) -> Any:
    """p̄ = -(t - t_m) Σ g, the derivative of Σ_i g_i deviation(t, p)_i with respect to p."""
    return -_from_largest(t, p, axis) * spread_back(sum(g, axis), t, (axis,))


# y_i = t_i - Σ_j p_j t_j, computed from differences h = t - t_m, m the place of the largest p: where p_m is nearly 1,
# y_m = -Σ_{j≠m} p_j h_j keeps its digits. Equal to the plain formula because Σ p = 1.
deviation = general(
    "deviation",
    _deviation,
    lambda t, p, *, axis: (t.shape, same_dtype(t)),
    lambda g, y, t, p, *, axis: bind("balance", g, p, axis=axis),
    lambda g, y, t, p, *, axis: _share_cotangent(g, t, p, axis),
    torch=(
        "(lambda t, p: (lambda h: h - (p * h).sum({axis}, keepdim=True))"
        "(t - t.take_along_dim(p.argmax({axis}, keepdim=True), {axis})))({0}, {1})"
    ),
    source="Σ p = 1",
    accumulates=spread_of(lambda t, p, *, axis: _deviation_variance(t, p, axis), lambda t, p, *, axis: t.shape[axis]),
    draw=lambda pool: draw_weighted(pool, deviation),
)


def _deviation_variance(t: Any, p: Any, axis: int) -> Any:
    """The difference h rounds once, the sum by its terms and running sums (chains of at most 512)."""
    h = t - np.take_along_axis(t, _place(p, axis), axis)
    chain = min(t.shape[axis], 512)
    return np.abs(h) ** 2 + _sum_along(np.abs(p * h) ** 2, axis) * (2.0 + chain / 2.0)


# y_k = g_k - p_k Σ g; at the largest p, y_m = g_m q - (1 - q) Σ_{j≠m} g_j with q = Σ_{j≠m} p_j = 1 - p_m.
balance = general(
    "balance",
    _balance,
    lambda g, p, *, axis: (g.shape, same_dtype(g)),
    lambda t, y, g, p, *, axis: bind("deviation", t, p, axis=axis),
    lambda t, y, g, p, *, axis: _share_cotangent(g, t, p, axis),
    torch="({0} - {1} * {0}.sum({axis}, keepdim=True))",
    source="Σ p = 1",
    accumulates=spread_of(lambda g, p, *, axis: _balance_variance(g, p, axis), lambda g, p, *, axis: g.shape[axis]),
    draw=lambda pool: draw_weighted(pool, balance),
)


def _balance_variance(g: Any, p: Any, axis: int) -> Any:
    """p_k times the rounding of Σ g; at the largest p the sums without that entry instead."""
    place, chain = _place(p, axis), min(g.shape[axis], 512)
    squares = np.abs(g) ** 2
    variance = np.abs(p) ** 2 * _sum_along(squares, axis) * (2.0 + chain / 2.0)
    rest_g, rest_p = squares.copy(), np.abs(p)
    np.put_along_axis(rest_g, place, 0.0, axis)
    np.put_along_axis(rest_p, place, 0.0, axis)
    mine = np.take_along_axis(squares, place, axis) * _sum_along(rest_p, axis) ** 2
    np.put_along_axis(variance, place, (_sum_along(rest_g, axis) + mine) * (2.0 + chain / 2.0), axis)
    return variance


def _softmax(x: Any, *, axis: int) -> Any:
    e = x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    np.exp(e, out=e)
    e /= _sum_along(e, axis)
    return e


def _exponent_variance(x: Any, axis: int) -> Any:
    """Relative variance of exp(x - m): the difference d rounds to d (1 + δ), which moves the exponential by |d| δ."""
    distance = x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(distance), np.abs(distance), 0.0) ** 2 + 1.0


def _softmax_variance(x: Any, axis: int) -> Any:
    """y² (d² + 1) of the numerator and of the sum: Σ y² (d² + 1 + c/2), chains of at most c = 512."""
    y, own = np.abs(_softmax(x, axis=axis)) ** 2, _exponent_variance(x, axis)
    chain = min(x.shape[axis], 512)
    return y * (own + 1.0 + _sum_along(y * (own + chain / 2.0), axis))


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
    place = _place(x, axis)
    m = np.take_along_axis(x, place, axis)
    with np.errstate(invalid="ignore"):
        e = np.exp(np.where(x == m, 0.0, x - m)) if not np.isfinite(m).all() else np.exp(x - m)
    np.put_along_axis(e, place, 0.0, axis)
    return m, np.log1p(_sum_along(e, axis))


def _log_softmax(x: Any, *, axis: int) -> Any:
    m, rest = _log_sum(x, axis)
    return x - m - rest


def _log_sum_variance(x: Any, axis: int) -> Any:
    """Σ y² (d² + 1 + c/2) of the sum, 1 for rounding a sum that is at least 1, and the logarithm's own rounding."""
    y, own = np.abs(_softmax(x, axis=axis)) ** 2, _exponent_variance(x, axis)
    chain = min(x.shape[axis], 512)
    weights = np.where(np.isfinite(y), y, 0.0)
    return _sum_along(weights * (own + chain / 2.0), axis) + 1.0 + np.abs(_log_sum(x, axis)[1]) ** 2


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


def _logsumexp_vjp(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """x̄ = g softmax(x).  A row of -inf alone has value -inf and derivative 0."""
    empty = bind("equal", spread_back(y, x, (axis,)), -np.inf)
    share = softmax_along(bind("where", empty, 0.0, x), axis=axis)
    return bind("where", empty, 0.0, spread_back(g, x, (axis,)) * share)


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
