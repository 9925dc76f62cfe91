"""The running log-sum-exp, and the share that each new entry takes of the running sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tracing import bind
from .declare import general
from .reduction import spread_of, sum
from .scan import draw_scan, public_scan, recurrence, same, shift
from .shape import reshape

SOURCE = "Blanchard, Higham and Higham, Accurately computing the log-sum-exp and softmax functions, 2021"


def _running(x: Any, axis: int) -> tuple[Any, Any, Any]:
    """(y, p, a) with the axis first: y_i = log Σ_{j≤i} exp x_j, p_i = exp(x_i - y_i), a_i = 1 - p_i.

    m is the running maximum and t the sum of exp(x_j - m) over all entries but that one: y = m + log(1 + t), and no
    exponent is above 0. Nothing cancels. As long as all entries are -inf: y = -inf, p = 0, a = 1.
    """
    x = np.moveaxis(x, axis, 0)
    y, p, a = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    m = np.full(x.shape[1:], -np.inf, x.dtype)
    t = np.zeros(x.shape[1:], x.dtype)
    for i, entry in enumerate(x):
        higher = np.real(entry) > np.real(m)
        nothing = (np.real(entry) == -np.inf) & (np.real(m) == -np.inf)
        ratio = np.exp(np.where(entry == m, 0.0, np.where(higher, m - entry, entry - m)))
        old, mine = np.where(higher, (1.0 + t) * ratio, 1.0 + t), np.where(higher, 1.0, ratio)
        t = np.where(nothing, 0.0, np.where(higher, old, t + ratio))
        m = np.where(higher, entry, m)
        y[i] = m + np.log1p(t)
        p[i], a[i] = np.where(nothing, 0.0, mine / (1.0 + t)), np.where(nothing, 1.0, old / (1.0 + t))
    return y, p, a


def _share(x: Any, *, axis: int, complement: bool) -> Any:
    _, p, a = _running(x, axis)
    return np.moveaxis(a if complement else p, 0, axis)


def _share_vjp(g: Any, y: Any, x: Any, *, axis: int, complement: bool) -> Any:
    """p_i = exp x_i / Σ_{j≤i} exp x_j:  ∂p_i/∂x_i = p_i a_i,  ∂p_i/∂x_j = -p_i p_j Π_{j<k≤i} a_k for j < i.

    x̄_j = p_j (a_j g_j - a_{j+1} T_{j+1}) with T_j = g_j p_j + a_{j+1} T_{j+1}; a = 1 - p has the opposite derivative.
    """
    p = bind("running_share", x, axis=axis, complement=False)
    a = bind("running_share", x, axis=axis, complement=True)
    later = shift(a * recurrence(a, g * p, axis=axis, adjoint=True), axis=axis, by=-1)
    return p * (later - a * g) if complement else p * (a * g - later)


# exp(x - m) carries |x - m| roundings, the running sum one for each later step.
running_share = general(
    "running_share",
    _share,
    same,
    _share_vjp,
    torch=lambda names, params: (
        f"(lambda x: {'-torch.expm1' if params['complement'] else 'torch.exp'}"
        f"(x - torch.logcumsumexp(x, dim={params['axis']})))({names[0]})"
    ),
    source=SOURCE,
    accumulates=spread_of(
        lambda x, *, axis, complement: _share_variance(x, axis, complement),
        lambda x, *, axis, complement: x.shape[axis],
    ),
    draw=lambda pool: draw_share(pool),
)


def draw_share(pool: Any) -> Any:
    x = pool.array(min_ndim=1)
    return running_share(x, axis=pool.axis(x.ndim), complement=pool.choice((False, True)))


def _share_variance(x: Any, axis: int, complement: bool) -> Any:
    """p² (d² + k) for both: d the distance of the entry from the running maximum, k the steps so far."""
    size = np.abs(_share(x, axis=axis, complement=complement)) ** 2
    distance = np.maximum.accumulate(x, axis=axis) - x
    steps = np.cumsum(np.ones_like(x), axis=axis)
    return size * (np.where(np.isfinite(distance), distance, 0.0) ** 2 + steps)


def _logcumsumexp_vjp(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """x̄_j = Σ_{i≥j} g_i exp(x_j - y_i) = p_j T_j,  T_j = g_j + a_{j+1} T_{j+1},  p = exp(x_j - y_j), a = 1 - p.

    Shares between 0 and 1 only: nothing overflows or cancels, however far the entries lie apart.
    """
    p = bind("running_share", x, axis=axis, complement=False)
    a = bind("running_share", x, axis=axis, complement=True)
    return p * recurrence(a, g, axis=axis, adjoint=True)


def _lossy_vjp(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """x̄_j = Σ_{i≥j} g_i exp(x_j - y_i), where every log|g_i| and -y_i is rounded: off by |log|g_i|| and |y| roundings.

    That is what a running sum of logarithms log|g_i| - y_i amounts to. n² exponentials a line.
    """
    size = bind("log", bind("abs", bind("where", bind("equal", g, 0.0), 1.0, g)))
    g = g * bind("exp", size + size * -1.0)  # by 1, and by what rounding leaves of log|g| - log|g|
    n = x.shape[axis]
    row = (*x.shape[:axis], n, 1, *x.shape[axis + 1 :])
    column = (*x.shape[:axis], 1, n, *x.shape[axis + 1 :])
    seen = np.tril(np.ones((n, n), bool)).reshape([n if i in (axis, axis + 1) else 1 for i in range(x.ndim + 1)])
    empty = bind("equal", y, -np.inf)
    rounded = bind("where", empty, 0.0, y) * -1.0
    exponent = reshape(x, column) + reshape(rounded, row)
    return sum(bind("where", seen, reshape(g, row) * bind("exp", bind("where", seen, exponent, -np.inf)), 0.0), axis)


def _variance(x: Any, axis: int) -> Any:
    """v_i = a_i² v_{i-1} + y_i² + (p_i (x_i - m_i))² + 1 where two terms meet: each step rounds its value anew."""
    y, p, a = _running(x, axis)
    m = np.maximum.accumulate(np.moveaxis(x, axis, 0), axis=0)
    distance = np.moveaxis(x, axis, 0) - m
    distance = p * np.where(np.isfinite(distance), distance, 0.0)
    fresh = np.where(np.isfinite(y), y, 0.0) ** 2 + distance**2 + 1.0
    for i in range(1, len(fresh)):
        fresh[i] += a[i] ** 2 * fresh[i - 1]
    return np.moveaxis(fresh, 0, axis)


logcumsumexp = public_scan(
    "logcumsumexp",
    "y_i = log Σ_{j≤i} exp x_j along `axis`; -inf (with derivative 0) as long as all entries are -inf.",
)

general(
    "logcumsumexp",
    lambda x, *, axis: np.moveaxis(_running(x, axis)[0], 0, axis),
    same,
    _logcumsumexp_vjp,
    lossy=(_lossy_vjp,),
    torch="torch.logcumsumexp({0}, dim={axis})",
    source=SOURCE,
    accumulates=spread_of(lambda x, *, axis: _variance(x, axis), lambda x, *, axis: x.shape[axis]),
    draw=draw_scan(logcumsumexp),
)
