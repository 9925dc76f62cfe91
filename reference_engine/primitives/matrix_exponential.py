"""The matrix exponential and its derivative, the Fréchet derivative, read from the exponential of a block matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import same_dtype
from ..tracing import bind
from .declare import general
from .reduction import spread_of
from .shape import swap_last
from .triangular import square, well_conditioned

HIGHAM = "Higham, Functions of Matrices, 2008, sec. 10.3 (scaling and squaring) and eq. 3.16 (block matrix)"
# Coefficients of the diagonal Padé approximant of degree 13 (Higham, table 10.2, accurate up to a norm of 5.37).
# Matrices are scaled to a norm of at most 1, where its denominator is well conditioned.
PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0,
    670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
PADE_RADIUS = 1.0


def _squarings(a: Any) -> int:
    """How often the largest matrix of the stack is halved."""
    norm = np.max(np.sum(np.abs(a), axis=-2), initial=0.0)
    return max(0, int(np.ceil(np.log2(norm / PADE_RADIUS)))) if np.isfinite(norm) and norm > PADE_RADIUS else 0


def exponential(a: Any) -> Any:
    """exp A of numbers by scaling and squaring."""
    s = _squarings(a)
    a = a / 2.0**s
    one = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    a2 = np.matmul(a, a)
    powers = [one, a2, np.matmul(a2, a2)]
    powers.append(np.matmul(powers[2], a2))
    odd = sum(PADE[2 * i + 1] * p for i, p in enumerate(powers)) + np.matmul(
        powers[3], sum(PADE[2 * i + 7] * powers[i] for i in (1, 2, 3))
    )
    even = sum(PADE[2 * i] * p for i, p in enumerate(powers)) + np.matmul(
        powers[3], sum(PADE[2 * i + 6] * powers[i] for i in (1, 2, 3))
    )
    u = np.matmul(a, odd)
    y = np.linalg.solve(even - u, even + u) if np.isfinite(a).all() else np.full(a.shape, np.nan)
    for _ in range(s):
        y = np.matmul(y, y)
    return y


def _corner(a: Any, e: Any) -> Any:
    """L(A, E), the upper right block of exp [[A, E], [0, A]]; E is scaled to the size of A, which is exact."""
    n = a.shape[-1]
    a, e = np.broadcast_arrays(a, e)
    scale = 2.0 ** np.round(np.log2(max(np.max(np.abs(e), initial=0.0), 1e-300)))
    block = np.concatenate([np.concatenate([a, e / scale], -1), np.concatenate([np.zeros_like(a), a], -1)], -2)
    return exponential(block)[..., :n, n:] * scale


def _variance(a: Any) -> Any:
    """At most exp |A| entry by entry, times the running sums of a product and one doubling for every squaring."""
    n = a.shape[-1]
    growth = 4.0 ** _squarings(a)
    return np.abs(exponential(np.abs(a))) ** 2 * (1.0 + n / 2.0) * growth


def _corner_variance(a: Any, e: Any) -> Any:
    """As for exp A. A library that does not scale E halves the block as often as the norm of E asks for."""
    n = a.shape[-1]
    growth = 4.0 ** _squarings(np.concatenate(np.broadcast_arrays(a, e), -2))
    return np.abs(_corner(np.abs(a), np.abs(e))) ** 2 * (1.0 + n / 2.0) * growth


general(
    "matrix_exp",
    exponential,
    lambda a: (a.shape, same_dtype(a)),
    lambda g, y, a: bind("matrix_exp_derivative", swap_last(a), g),
    torch="torch.linalg.matrix_exp({0})",
    source=HIGHAM,
    accumulates=spread_of(_variance, lambda a: 2),
    draw=lambda pool: matrix_exp(well_conditioned(pool, pool.integer(1, 3)) - 3.0),
)


def _block(top_left: Any, top_right: Any, low: Any) -> Any:
    """[[top_left, top_right], [0, low]]."""
    axis = top_left.ndim - 1
    top = bind("concat", top_left, top_right, axis=axis)
    bottom = bind("concat", low * 0.0, low, axis=axis)
    return bind("concat", top, bottom, axis=axis - 1)


def _base_vjp(h: Any, y: Any, a: Any, e: Any) -> Any:
    """Ā = L₂(Aᵀ; Eᵀ, h), the second derivative: the corner of L([[Aᵀ, Eᵀ], [0, Aᵀ]], [[h, 0], [0, h]])."""
    n = a.shape[-1]
    at, et = swap_last(a), swap_last(e)
    y = bind("matrix_exp_derivative", _block(at, et, at), _block(h, h * 0.0, h))
    return y[..., :n, n:]


general(
    "matrix_exp_derivative",
    _corner,
    lambda a, e: (a.shape, np.result_type(a.dtype, e.dtype)),
    _base_vjp,
    lambda h, y, a, e: bind("matrix_exp_derivative", swap_last(a), h),
    torch="torch.func.jvp(torch.linalg.matrix_exp, ({0},), ({1},))[1]",
    source=HIGHAM,
    accumulates=spread_of(_corner_variance, lambda a, e: 2),
)


def matrix_exp(a: Any) -> Any:
    """exp A = Σ Aᵏ/k!.  a: (…, n, n) -> the same. Raises ShapeError unless the matrices are square."""
    return bind("matrix_exp", square("matrix_exp", a))


__all__ = ["matrix_exp"]
