"""Deviations from a weighted mean and their transpose, exact in their last digits when one weight is nearly 1.

`deviation` and `balance` are bilinear, each the transpose of the other in its first argument; softmax stands on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import CONSTANT, same_dtype
from ..tracing import bind
from .declare import general, structural
from .reduction import filled, reduced, running_sum, spread_back, spread_of, sum


def place_of(p: Any, axis: int) -> Any:
    """Index of the largest entry along `axis`, kept as an axis of length 1 (the first one at a tie)."""
    return np.expand_dims(np.argmax(np.real(p), axis=axis), axis)


def _put(value: Any, p: Any, axis: int) -> Any:
    y = np.zeros(p.shape, value.dtype)
    if y.size:
        np.put_along_axis(y, place_of(p, axis), np.expand_dims(value, axis), axis)
    return y


def _pick(x: Any, p: Any, *, axis: int) -> Any:
    if not x.shape[axis]:
        return np.zeros(reduced(x, (axis,)), x.dtype)
    return np.squeeze(np.take_along_axis(x, place_of(p, axis), axis), axis)


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


def sum_along(x: Any, axis: int) -> Any:
    return np.add.reduce(x, axis=axis, keepdims=True)


def _deviation(t: Any, p: Any, *, axis: int) -> Any:
    if not t.size:
        return t * p
    h = t - np.take_along_axis(t, place_of(p, axis), axis)
    h -= sum_along(h * p, axis)
    return h


def _balance(g: Any, p: Any, *, axis: int) -> Any:
    if not g.size:
        return g * p
    place = place_of(p, axis)
    other_g, other_p = g * 1.0, p * 1.0
    np.put_along_axis(other_g, place, 0.0, axis)
    np.put_along_axis(other_p, place, 0.0, axis)
    rest_g, rest_p = sum_along(other_g, axis), sum_along(other_p, axis)
    mine = np.take_along_axis(g, place, axis)
    y = g - p * (mine + rest_g)
    np.put_along_axis(y, place, mine * rest_p - (1.0 - rest_p) * rest_g, axis)
    return y


def _from_largest(t: Any, p: Any, axis: int) -> Any:
    return t - spread_back(at_largest(t, p, axis=axis), t, (axis,))


def draw_weighted(pool: Any, operation: str) -> Any:
    """Both maps are meant for weights that sum to 1."""
    x = filled(pool)
    axis = pool.axis(x.ndim)
    return bind(operation, x, bind("softmax", pool.shaped(x.shape), axis=axis), axis=axis)


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
    draw=lambda pool: draw_weighted(pool, "deviation"),
)


def _deviation_variance(t: Any, p: Any, axis: int) -> Any:
    """The difference h rounds once, each term p h once, the sum as it runs."""
    h = t - np.take_along_axis(t, place_of(p, axis), axis)
    terms = sum_along(np.abs(p * h) ** 2, axis)
    return np.abs(h) ** 2 + terms + running_sum(np.abs(sum_along(p * h, axis)) ** 2, terms, t.shape[axis])


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
    draw=lambda pool: draw_weighted(pool, "balance"),
)


def _balance_variance(g: Any, p: Any, axis: int) -> Any:
    """p_k times the rounding of Σ g; at the largest p the sums without that entry instead."""
    place, k = place_of(p, axis), g.shape[axis]
    squares, total = np.abs(g) ** 2, np.abs(sum_along(g, axis)) ** 2
    variance = np.abs(p) ** 2 * (total + running_sum(total, sum_along(squares, axis), k))
    rest_g, rest_p = squares.copy(), np.abs(p)
    np.put_along_axis(rest_g, place, 0.0, axis)
    np.put_along_axis(rest_p, place, 0.0, axis)
    mine = np.take_along_axis(squares, place, axis) * sum_along(rest_p, axis) ** 2
    others = sum_along(rest_g, axis)
    np.put_along_axis(variance, place, others + 2.0 * running_sum(mine, others, k), axis)
    return variance
