"""Determinants. Derivatives of every order are polynomials in the entries, exact at singular matrices too.

The gradient of det A is its cofactor matrix; no inverse is formed, so rank n - 1 and n - 2 are ordinary points.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import same_dtype
from ..tracing import bind
from .declare import general
from .inverse import GILES, inv, inverse_numbers
from .moments import norm
from .reduction import spread_of
from .shape import moveaxis, reshape, swap_last
from .triangular import elimination_variance, square, transposed, well_conditioned

LAPLACE = "Laplace expansion; Horn and Johnson, Matrix Analysis, sec. 0.8.2"
SMALL = (
    6  # up to this order second derivatives are taken from minors of minors, n⁷ operations; above, from singular values
)


def _kept(n: int) -> Any:
    """Row i: all numbers below n but i.  -> (n, n - 1)."""
    return np.array([[j for j in range(n) if j != i] for i in range(n)], dtype=np.int64).reshape(n, max(n - 1, 0))


def _signs(n: int) -> Any:
    i = np.arange(n)
    return 1.0 - 2.0 * ((i[:, None] + i) % 2)


def _minors(a: Any) -> Any:
    """Minor i, j: `a` without row i and column j.  a: (…, n, n) -> (…, n, n, n - 1, n - 1)."""
    kept = _kept(a.shape[-1])
    return a[..., kept[:, None, :, None], kept[None, :, None, :]]


def _cofactors(a: Any) -> Any:
    n = a.shape[-1]
    kept = _kept(n)
    y = np.empty(a.shape, np.result_type(a, 1.0))
    for i in range(n):  # one row of minors at a time keeps memory at n³
        y[..., i, :] = np.linalg.det(a[..., kept[i][None, :, None], kept[:, None, :]])
    return y * _signs(n)


def _with_numbers(a: Any) -> tuple[Any, Any]:
    """(the matrices, those with a NaN or an infinity 0, for which NumPy has no singular values; which these are)."""
    gone = ~np.isfinite(a).all(axis=(-1, -2), keepdims=True)
    return np.where(gone, 0.0, a), gone


def _products_without(s: Any, left_out: int) -> Any:
    """The product of all singular values but the `left_out` smallest.  s: (…, n), falling -> (…, 1, 1)."""
    return np.prod(s[..., : max(s.shape[-1] - left_out, 0)], axis=-1)[..., None, None]


def _second(a: Any, g: Any) -> Any:
    """D cof(A)[G]: entry ij is ± Σ cof(minor ij of A) · minor ij of G."""
    n = a.shape[-1]
    a, g = np.broadcast_arrays(a, g)
    if n <= SMALL or a.dtype.kind == "c":
        return np.sum(_cofactors(_minors(a)) * _minors(g), axis=(-1, -2)) * _signs(n)
    finite, gone = _with_numbers(a)
    u, s, vt = np.linalg.svd(finite)
    h = np.matmul(transposed(u), np.matmul(g, transposed(vt)))
    pairs = np.zeros(a.shape)
    for i in range(n):
        for j in range(i):
            pairs[..., i, j] = pairs[..., j, i] = np.prod(np.delete(s, (j, i), -1), axis=-1)
    r = -transposed(h) * pairs
    own = np.arange(n)
    r[..., own, own] = np.matmul(pairs, np.diagonal(h, 0, -2, -1)[..., None])[..., 0]
    sign = np.linalg.det(u) * np.linalg.det(vt)
    return np.where(gone, np.nan, sign[..., None, None] * np.matmul(u, np.matmul(r, vt)))


def _det_variance(a: Any) -> Any:
    """δ det A = Σ cof(A) E with the backward error E of elimination, and n roundings of the product of pivots."""
    y = np.abs(np.linalg.det(a)) ** 2
    return np.sum(np.abs(_cofactors(a)) ** 2 * elimination_variance(a), axis=(-1, -2)) + a.shape[-1] * y


def _det_vjp(g: Any, y: Any, a: Any) -> Any:
    """Ā = g cof(A)."""
    return reshape(g, (*g.shape, 1, 1)) * bind("cofactors", a)


# Below this share of ‖A‖ ‖cof A‖ the determinant is rounding alone (128 roundings), and the inverse no formula for
# anything.
SINGULAR = 2.0**-46


def _det_lossy(g: Any, y: Any, a: Any) -> Any:
    """g det(A) A⁻ᵀ: the same by way of the inverse, off by the condition number; the cofactors where A is nearly
    singular.
    """
    cofactors = bind("cofactors", a)
    size = norm(a, axis=(-1, -2)) * norm(cofactors, axis=(-1, -2))
    usable = bind("greater", bind("abs", y), SINGULAR * size)
    usable = bind("broadcast_to", reshape(usable, (*y.shape, 1, 1)), shape=a.shape)
    safe = bind("where", usable, a, np.eye(a.shape[-1]))
    by_inverse = reshape(y, (*y.shape, 1, 1)) * swap_last(inv(safe))
    return reshape(g, (*g.shape, 1, 1)) * bind("where", usable, by_inverse, cofactors)


determinant = general(
    "det",
    np.linalg.det,
    lambda a: (a.shape[:-2], same_dtype(a)),
    _det_vjp,
    lossy=(_det_lossy,),
    torch="torch.linalg.det({0})",
    source=f"{LAPLACE}; {GILES}, sec. 2.2.4",
    accumulates=spread_of(_det_variance, lambda a: 2),
    draw=lambda pool: det(well_conditioned(pool, pool.integer(1, 3))),
)


def _normwise(a: Any) -> tuple[Any, Any]:
    """(singular values, mean backward variance of elimination per row) with two axes kept."""
    finite, gone = _with_numbers(np.abs(a) if a.dtype.kind == "c" else a)
    s = np.where(gone[..., 0], np.nan, np.linalg.svd(finite, compute_uv=False))
    return s, np.sum(elimination_variance(a), axis=(-1, -2), keepdims=True) / max(a.shape[-1], 1)


def _cofactor_variance(a: Any) -> Any:
    """δ cof(A) = D cof(A)[E], at most ‖E‖ times the product of all but the two smallest singular values."""
    s, e = _normwise(a)
    return np.broadcast_to(e * _products_without(s, 2) ** 2, a.shape) if a.shape[-1] > 1 else np.zeros(a.shape)


general(
    "cofactors",
    _cofactors,
    lambda a: (a.shape, same_dtype(a)),
    lambda g, y, a: bind("second_cofactors", a, g),
    torch=lambda names, params: (
        "(lambda x: torch.func.vmap(torch.func.grad(torch.linalg.det))(x.reshape(-1, *x.shape[-2:]))"
        f".reshape(x.shape))({names[0]})"
    ),
    source=LAPLACE,
    accumulates=spread_of(_cofactor_variance, lambda a: 2),
)


def _second_variance(a: Any, g: Any) -> Any:
    s, e = _normwise(a)
    size = np.sum(np.abs(g) ** 2, axis=(-1, -2), keepdims=True)
    n = a.shape[-1]
    own = _products_without(s, 2) ** 2 if n > 1 else np.zeros((1, 1))
    deeper = e * _products_without(s, 3) ** 2 if n > 2 else np.zeros((1, 1))
    return np.broadcast_to(size * (own + deeper), a.shape)


def _minors_of(x: Any, kept: Any) -> Any:
    rows = bind("take", x, kept, axis=x.ndim - 2)
    return moveaxis(bind("take", rows, kept, axis=rows.ndim - 1), -2, -3)


def _second_matrix_vjp(h: Any, y: Any, a: Any, g: Any) -> Any:
    """The third derivative: Σ_ij ± h_ij D cof(minor ij of A)[minor ij of G], put back where the minors came from."""
    n = a.shape[-1]
    if n < 3:
        return a * 0.0
    kept = _kept(n)
    parts = bind("second_cofactors", _minors_of(a, kept), _minors_of(g, kept)) * reshape(
        h * _signs(n), (*h.shape, 1, 1)
    )
    columns = bind("index_sum", moveaxis(parts, -3, -2), kept, axis=parts.ndim - 2, length=n)
    return bind("index_sum", columns, kept, axis=columns.ndim - 3, length=n)


general(
    "second_cofactors",
    _second,
    lambda a, g: (a.shape, np.result_type(a.dtype, g.dtype)),
    _second_matrix_vjp,
    lambda h, y, a, g: bind("second_cofactors", a, h),
    source=LAPLACE,
    accumulates=spread_of(_second_variance, lambda a, g: 2),
)


def det(a: Any) -> Any:
    """det A.  a: (…, n, n) -> (…); 1 for n = 0. Raises ShapeError unless the matrices are square."""
    return determinant(square("det", a))


def _log_size(a: Any) -> Any:
    if a.dtype.kind == "c":
        return 0.5 * np.log(np.linalg.det(a) ** 2)
    return np.linalg.slogdet(a)[1]


def _log_variance(a: Any) -> Any:
    y2 = np.abs(transposed(inverse_numbers(a))) ** 2
    return np.sum(y2 * elimination_variance(a), axis=(-1, -2)) + a.shape[-1]


general(
    "logabsdet",
    _log_size,
    lambda a: (a.shape[:-2], same_dtype(a)),
    lambda g, y, a: reshape(g, (*g.shape, 1, 1)) * swap_last(inv(a)),
    torch="torch.linalg.slogdet({0}).logabsdet",
    source=f"{GILES}, sec. 2.2.4",
    accumulates=spread_of(_log_variance, lambda a: 2),
    draw=lambda pool: logabsdet(well_conditioned(pool, pool.integer(1, 3))),
)


def logabsdet(a: Any) -> Any:
    """log |det A|; -inf where A is singular, with derivative NaN.  a: (…, n, n) -> (…). Raises ShapeError."""
    return bind("logabsdet", square("logabsdet", a))


__all__ = ["det", "logabsdet"]
