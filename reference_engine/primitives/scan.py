"""Cumulative operations along an axis: sums, products, log-sum-exp, maxima, and the linear recurrence below them.

`recurrence` is closed under differentiation, and so is everything written with it: no rule divides, so zeros are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..registry import FLOAT, same_dtype
from ..tracing import bind
from .choice import tie_weights
from .declare import general, structural
from .reduction import CLARKE, LINEAR, spread_of, sum
from .shape import axis_of, reshape, shaped

RECURRENCE = "Blelloch, Prefix sums and their applications, 1990, sec. 1.4; its adjoint runs backwards"


def same(x: Any, **params: Any) -> Any:
    """Shape and dtype of an operation that keeps both."""
    return x.shape, same_dtype(x)


def public_scan(name: str, doc: str, **params: Any) -> Callable[..., Any]:
    """The public function of a cumulative primitive: `axis=None` flattens, as in NumPy; a negative axis is counted."""

    def scan(x: Any, axis: int | None = None) -> Any:
        x = shaped(x)
        if axis is None:
            x, axis = reshape(x, (x.size,)), 0
        return bind(name, x, axis=axis_of(name, int(axis), x.ndim), **params)

    scan.__name__ = scan.__qualname__ = name
    scan.__doc__ = f"{doc}\n\n    x: any shape -> the same; `axis=None` flattens x first.\n    "
    return scan


def draw_scan(scan: Callable[..., Any]) -> Callable[[Any], Any]:
    def draw(pool: Any) -> Any:
        x = pool.array(min_ndim=1)
        return scan(x, axis=pool.axis(x.ndim))

    return draw


# Shift: entries moved along an axis, zeros enter, what leaves is dropped.
def _shift(x: Any, *, axis: int, by: int) -> Any:
    y = np.zeros_like(x)
    n = x.shape[axis]
    if -n < by < n:
        source, target = [slice(None)] * x.ndim, [slice(None)] * x.ndim
        source[axis] = slice(0, n - by) if by >= 0 else slice(-by, n)
        target[axis] = slice(by, n) if by >= 0 else slice(0, n + by)
        y[tuple(target)] = x[tuple(source)]
    return y


shift = structural(
    "shift",
    _shift,
    lambda x, *, axis, by: (x.shape, x.dtype),
    lambda g, y, x, *, axis, by: bind("shift", g, axis=axis, by=-by),
    torch="torch.nn.functional.pad({0}.movedim({axis}, -1), ({by}, -({by}))).movedim(-1, {axis})",
    source=LINEAR,
    drops=True,
    draw=lambda pool: draw_shift(pool),
)


def draw_shift(pool: Any) -> Any:
    x = pool.array(min_ndim=1)
    axis = pool.axis(x.ndim)
    most = min(2, x.shape[axis])  # torch's pad cannot take away more than there is
    return shift(x, axis=axis, by=pool.integer(-most, most))


def _recurrence(a: Any, b: Any, *, axis: int, adjoint: bool) -> Any:
    a = np.moveaxis(a, axis, 0)
    y = np.array(np.moveaxis(b, axis, 0), dtype=np.result_type(a, b))
    if adjoint:
        for i in range(len(y) - 2, -1, -1):
            y[i] += a[i + 1] * y[i + 1]
    else:
        for i in range(1, len(y)):
            y[i] += a[i] * y[i - 1]
    return np.ascontiguousarray(np.moveaxis(y, 0, axis))


def _recurrence_vjp_a(g: Any, y: Any, a: Any, b: Any, *, axis: int, adjoint: bool) -> Any:
    """ā_i = λ_i y_{i-1}, λ the recurrence of g that runs the other way (adjoint: ā_i = λ_{i-1} y_i)."""
    back = bind("recurrence", a, g, axis=axis, adjoint=not adjoint)
    return shift(back, axis=axis, by=1) * y if adjoint else back * shift(y, axis=axis, by=1)


def _recurrence_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    """A loop as one expression: y_i = b_i + a_i y_{i-1}, or y_i = b_i + a_{i+1} y_{i+1}."""
    (a, b), axis = names, params["axis"]
    if params["adjoint"]:  # from the last entry to the first
        a, b = f"{a}.roll(-1, {axis}).flip({axis})", f"{b}.flip({axis})"
    rows = f"zip({a}.unbind({axis})[1:], {b}.unbind({axis})[1:])"
    scan = f"torch.stack([h := {b}.unbind({axis})[0], *[h := v + u * h for u, v in {rows}]], {axis})"
    return f"({scan}{f'.flip({axis})' if params['adjoint'] else ''} if {names[1]}.shape[{axis}] else {names[1]})"


# Each step rounds a product and a sum; the errors run on through the recurrence like the terms themselves.
recurrence = general(
    "recurrence",
    _recurrence,
    lambda a, b, *, axis, adjoint: (b.shape, np.result_type(a.dtype, b.dtype, FLOAT)),
    _recurrence_vjp_a,
    lambda g, y, a, b, *, axis, adjoint: bind("recurrence", a, g, axis=axis, adjoint=not adjoint),
    torch=_recurrence_torch,
    source=RECURRENCE,
    accumulates=spread_of(
        lambda a, b, *, axis, adjoint: _recurrence(
            np.abs(a) ** 2,
            np.abs(b) ** 2 + 2.0 * np.abs(_recurrence(a, b, axis=axis, adjoint=adjoint)) ** 2,
            axis=axis,
            adjoint=adjoint,
        ),
        lambda a, b, *, axis, adjoint: b.shape[axis],
    ),
    draw=lambda pool: draw_recurrence(pool),
)


def draw_recurrence(pool: Any) -> Any:
    a = pool.array(min_ndim=1)
    return recurrence(a, pool.shaped(a.shape), axis=pool.axis(a.ndim), adjoint=pool.choice((False, True)))


def unit_along(shape: tuple[int, ...], axis: int, place: int) -> Any:
    """An array of length shape[axis] along `axis` and 1 elsewhere: 1 at `place`, 0 at the other entries."""
    unit = np.zeros(tuple(n if i == axis else 1 for i, n in enumerate(shape)))
    if shape[axis]:
        unit[(0,) * axis + (place,)] = 1.0
    return unit


def products_before(x: Any, axis: int) -> Any:
    """Π_{j<i} x_j at every i (1 at the first).  x: any shape -> the same."""
    return shift(bind("cumprod", x, axis=axis), axis=axis, by=1) + unit_along(x.shape, axis, 0)


def products_after(x: Any, axis: int) -> Any:
    """Π_{j>i} x_j at every i (1 at the last).  x: any shape -> the same."""
    last = bind("broadcast_to", unit_along(x.shape, axis, -1), shape=x.shape)
    return recurrence(x, last, axis=axis, adjoint=True)


def _cumsum(x: Any, *, axis: int, reverse: bool) -> Any:
    if not reverse:
        return np.add.accumulate(x, axis=axis)
    return np.flip(np.add.accumulate(np.flip(x, axis), axis=axis), axis)


def _cumsum_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    axis = params["axis"]
    plain = f"torch.cumsum({{}}, dim={axis})"
    return f"{plain.format(f'{names[0]}.flip({axis})')}.flip({axis})" if params["reverse"] else plain.format(names[0])


cumsum = public_scan("cumsum", "y_i = Σ_{j≤i} x_j along `axis`.", reverse=False)

# Every running sum is rounded and stays in all later ones: variance Σ_{j≤i} (y_j² + x_j²), the second part for
# algorithms that add in another order.
structural(
    "cumsum",
    _cumsum,
    same,
    lambda g, y, x, *, axis, reverse: bind("cumsum", g, axis=axis, reverse=not reverse),
    torch=_cumsum_torch,
    source=LINEAR,
    accumulates=spread_of(
        lambda x, *, axis, reverse: _cumsum(
            np.abs(x) ** 2 + np.abs(_cumsum(x, axis=axis, reverse=reverse)) ** 2, axis=axis, reverse=reverse
        ),
        lambda x, *, axis, reverse: x.shape[axis],
    ),
    draw=draw_scan(cumsum),
)


def _cumprod_vjp(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """x̄_i = Π_{j<i} x_j · Σ_{k≥i} g_k Π_{i<j≤k} x_j; the second factor is an adjoint recurrence in x."""
    before = shift(y, axis=axis, by=1) + unit_along(x.shape, axis, 0)
    return before * recurrence(x, g, axis=axis, adjoint=True)


def _cumprod_lossy(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """x̄_i = Σ_{k≥i} g_k y_k / x_i: the same by division, off by what cancels in the sum; as it is where x_i is 0."""
    divided = bind("cumsum", g * y, axis=axis, reverse=True) / x
    return bind("where", bind("equal", x, 0.0), _cumprod_vjp(g, y, x, axis=axis), divided)


cumprod = public_scan("cumprod", "y_i = Π_{j≤i} x_j along `axis`; derivatives of every order are exact at zeros.")

general(
    "cumprod",
    lambda x, *, axis: np.multiply.accumulate(x, axis=axis),
    same,
    _cumprod_vjp,
    lossy=(_cumprod_lossy,),
    torch="torch.cumprod({0}, dim={axis})",
    source=RECURRENCE,
    accumulates=spread_of(
        lambda x, *, axis: (
            np.abs(np.multiply.accumulate(x, axis=axis)) ** 2
            * np.arange(1.0, x.shape[axis] + 1.0).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        ),
        lambda x, *, axis: x.shape[axis],
    ),
    draw=draw_scan(cumprod),
)


def _running_extreme_transpose(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """x̄_j = Σ_{i≥j} w_ij g_i: each running value sends its cotangent to the entries up to it that reach it.

    Legitimate at a tie: weights ≥ 0 that sum to 1 over the tied entries, for every i; ours are equal.
    """
    n = x.shape[axis]
    row = (*x.shape[:axis], n, 1, *x.shape[axis + 1 :])
    column = (*x.shape[:axis], 1, n, *x.shape[axis + 1 :])
    seen = np.tril(np.ones((n, n), bool)).reshape([n if i in (axis, axis + 1) else 1 for i in range(x.ndim + 1)])
    entry, value = reshape(x, column), reshape(y, row)
    reached = bind("logical_or", bind("equal", entry, value), bind("isnan", entry))
    mask = bind("logical_and", reached, seen)
    shares = bind("where", mask, reshape(g, row) * tie_weights(mask, (axis + 1,)), 0.0)
    return sum(shares, axis)


def _running_extreme(name: str, forward: Any, doc: str) -> Callable[..., Any]:
    public = public_scan(name, doc)
    structural(
        name,
        lambda x, *, axis: forward.accumulate(x, axis=axis),
        same,
        _running_extreme_transpose,
        torch=f"torch.{name}({{0}}, dim={{axis}}).values",
        source=CLARKE,
        drops=True,
        draw=draw_scan(public),
    )
    return public


cummax = _running_extreme("cummax", np.maximum, "y_i = max_{j≤i} x_j along `axis`; NaN from the first NaN on.")
cummin = _running_extreme("cummin", np.minimum, "y_i = min_{j≤i} x_j along `axis`; NaN from the first NaN on.")
