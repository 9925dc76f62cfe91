"""Cholesky, LU and QR factors; two factors are packed into one array."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import same_dtype
from ..tracing import bind
from .declare import general
from .diagonal import tril, triu
from .inverse import inverse_numbers, one_by_one
from .reduction import spread_of
from .shape import shaped, swap_last
from .triangular import HIGHAM, eliminate_column, solve_triangular, square, transposed, well_conditioned

MURRAY = "Murray, Differentiation of the Cholesky decomposition, 2016, eq. 9 and 10"
SEEGER = "Seeger, Hetzel, Dai, Meissner and Lawrence, Auto-differentiating linear algebra, 2017"


def _half_lower(n: int) -> Any:
    """Φ as weights: 1 below the diagonal, ½ on it, 0 above."""
    return np.tril(np.ones((n, n))) - 0.5 * np.eye(n)


def _product(*factors: Any) -> Any:
    result = factors[0]
    for f in factors[1:]:
        result = bind("matmul", result, f)
    return result


def _cholesky(a: Any) -> Any:
    a = 0.5 * (a + transposed(a))
    if a.dtype.kind != "c":
        return one_by_one(np.linalg.cholesky, a)
    y = np.zeros_like(a)  # the complex step wants the symmetric, not the Hermitian factor
    for j in range(a.shape[-1]):
        rest = a[..., j:, j] - np.matmul(y[..., j:, :j], y[..., j, :j, None])[..., 0]
        y[..., j:, j] = rest / np.sqrt(rest[..., :1])
    return y


def _cholesky_vjp(g: Any, y: Any, a: Any) -> Any:
    """Ā = ½ (S + Sᵀ), S = L⁻ᵀ Φ(Lᵀ g) L⁻¹: the gradient for symmetric A, symmetric itself."""
    p = _product(swap_last(y), g) * _half_lower(y.shape[-1])
    left = solve_triangular(y, p, lower=True, adjoint=True)
    s = swap_last(solve_triangular(y, swap_last(left), lower=True, adjoint=True))
    return 0.5 * (s + swap_last(s))


def _cholesky_variance(a: Any) -> Any:
    """δL = L Φ(L⁻¹ E L⁻ᵀ) with E of the size of A and of the running sums of L Lᵀ (Higham, th. 10.3)."""
    y = _cholesky(a)
    n = y.shape[-1]
    y2, inverse2 = np.abs(y) ** 2, np.abs(inverse_numbers(y)) ** 2
    e = np.abs(a) ** 2 + np.matmul(y2, transposed(y2)) * (1.0 + n / 2.0)
    inner = np.matmul(inverse2, np.matmul(e, transposed(inverse2))) * _half_lower(n) ** 2
    return np.matmul(y2, inner)


general(
    "cholesky",
    _cholesky,
    lambda a: (a.shape, same_dtype(a)),
    _cholesky_vjp,
    torch="torch.linalg.cholesky(0.5 * ({0} + {0}.mT))",
    source=MURRAY,
    accumulates=spread_of(_cholesky_variance, lambda a: 2),
    draw=lambda pool: cholesky(well_conditioned(pool, pool.integer(1, 3))),
)


def cholesky(a: Any) -> Any:
    """Lower L with L Lᵀ = (A + Aᵀ)/2 and a positive diagonal; NaN where that is not positive definite.

    a: (…, n, n) -> the same. The symmetric part is taken, so the gradient is symmetric. Raises ShapeError.
    """
    return bind("cholesky", square("cholesky", a))


def _lu(a: Any) -> Any:
    a = np.array(a, dtype=np.result_type(a, 1.0))
    for k in range(a.shape[-1] - 1):
        a = eliminate_column(a, k)
    return a


def _lu_vjp(g: Any, y: Any, a: Any) -> Any:
    """Ā = L⁻ᵀ [tril₋₁(Lᵀ L̄) + triu(Ū Uᵀ)] U⁻ᵀ, L̄ the part of g below the diagonal, Ū the rest."""
    n = y.shape[-1]
    low, high = tril(y, -1) + np.eye(n), triu(y)
    middle = tril(_product(swap_last(low), tril(g, -1)), -1) + triu(_product(triu(g), swap_last(high)))
    left = solve_triangular(y, middle, lower=True, adjoint=True, unit=True)
    return swap_last(solve_triangular(y, swap_last(left), lower=False))


def _lu_variance(a: Any) -> Any:
    """δL = L tril₋₁(F), δU = triu(F) U with F = L⁻¹ E U⁻¹ and E the backward error of elimination (Higham, th. 9.3)."""
    y = _lu(a)
    n = y.shape[-1]
    low, high = np.tril(y, -1) + np.eye(n), np.triu(y)
    e = np.abs(a) ** 2 + np.matmul(np.abs(low) ** 2, np.abs(high) ** 2) * (1.0 + n / 2.0)
    f = np.matmul(np.abs(inverse_numbers(low)) ** 2, np.matmul(e, np.abs(inverse_numbers(high)) ** 2))
    return np.tril(np.matmul(np.abs(low) ** 2, np.tril(f, -1)), -1) + np.triu(np.matmul(np.triu(f), np.abs(high) ** 2))


general(
    "lu",
    _lu,
    lambda a: (a.shape, same_dtype(a)),
    _lu_vjp,
    torch="torch.linalg.lu_factor_ex({0}, pivot=False).LU",
    source=f"{HIGHAM}, sec. 9.2; differentiate A = L U",
    accumulates=spread_of(_lu_variance, lambda a: 2),
    draw=False,  # PyTorch has LU without pivoting on CUDA alone
)


def lu(a: Any) -> Any:
    """L U = A without pivoting, packed: L below the diagonal (its own diagonal is 1), U on and above it.

    a: (…, n, n) -> the same. Permute the rows first. Raises ShapeError unless the matrices are square.
    """
    return bind("lu", square("lu", a))


def _qr(a: Any) -> Any:
    """Q over R, (m + n, n), by Householder reflections with the signs turned so that R has a diagonal ≥ 0."""
    if a.dtype.kind == "c":  # the complex step wants transposes without conjugation: Cholesky of AᵀA
        r = transposed(_cholesky(np.matmul(transposed(a), a)))
        return np.concatenate([np.matmul(a, np.linalg.inv(r)), r], axis=-2)
    q, r = np.linalg.qr(a)
    sign = np.where(np.diagonal(r, 0, -2, -1) < 0, -1.0, 1.0)
    return np.concatenate([q * sign[..., None, :], r * sign[..., :, None]], axis=-2)


def split_rows(y: Any, *heights: int) -> list[Any]:
    """The blocks of a packed result, from the top.  y: (…, Σ heights, n) -> (…, heightᵢ, n) each."""
    blocks, start = [], 0
    for h in heights:
        blocks.append(y[..., start : start + h, :])
        start += h
    return blocks


def _qr_vjp(g: Any, y: Any, a: Any) -> Any:
    """Ā = (Q̄ + Q copyltu(R R̄ᵀ - Q̄ᵀ Q)) R⁻ᵀ; copyltu mirrors the lower triangle to the upper."""
    m, n = a.shape[-2:]
    (q, r), (gq, gr) = split_rows(y, m, n), split_rows(g, m, n)
    inner = _product(r, swap_last(triu(gr))) - _product(swap_last(gq), q)
    below = tril(inner, -1)
    mirrored = tril(inner) + swap_last(below)
    total = gq + _product(q, mirrored)
    return swap_last(solve_triangular(r, swap_last(total), lower=False))


def _qr_variance(a: Any) -> Any:
    """Columnwise backward error ‖a_j‖ √n (Higham, th. 19.4): δQ = E R⁻¹ and its rotation within Q, δR = QᵀE and a
    rotation of R.
    """
    m, n = a.shape[-2:]
    y = _qr(a)
    q2, r2 = np.abs(y[..., :m, :]) ** 2, np.abs(y[..., m:, :]) ** 2
    e = np.broadcast_to(np.sum(np.abs(a) ** 2, axis=-2, keepdims=True) * (1.0 + n / max(m, 1)), a.shape)
    w = np.matmul(e, np.abs(inverse_numbers(y[..., m:, :])) ** 2)
    turn = np.matmul(transposed(q2), w)
    turn = turn + transposed(turn)
    dr = np.triu(np.matmul(transposed(q2), e) + np.matmul(turn, r2))
    return np.concatenate([w + np.matmul(q2, turn), dr], axis=-2)


general(
    "qr",
    _qr,
    lambda a: ((*a.shape[:-2], a.shape[-2] + a.shape[-1], a.shape[-1]), same_dtype(a)),
    _qr_vjp,
    torch=(
        "(lambda q, r: (lambda s: torch.cat([q * s.unsqueeze(-2), r * s.unsqueeze(-1)], -2))"
        "(r.diagonal(0, -2, -1).sign()))(*torch.linalg.qr({0}))"
    ),
    source=SEEGER,
    accumulates=spread_of(_qr_variance, lambda a: 2),
    draw=lambda pool: _draw_qr(pool),
)


def _draw_qr(pool: Any) -> Any:
    a = well_conditioned(pool, pool.integer(1, 3))
    q, r = qr(a[..., : pool.integer(1, a.shape[-1])])
    return pool.choice((q, r))


def qr(a: Any) -> tuple[Any, Any]:
    """(Q, R): A = Q R with QᵀQ = I and R upper triangular with a diagonal ≥ 0.

    a: (…, m, n), m ≥ n -> (…, m, n), (…, n, n). Raises ShapeError for m < n: factor the first m columns, and
    multiply the others by Qᵀ.
    """
    a = shaped(a)
    if a.ndim < 2 or a.shape[-2] < a.shape[-1]:
        raise ShapeError(
            f"qr: a.shape={a.shape}; accepted are matrices with at least as many rows as columns. "
            "Factor the first columns alone."
        )
    q, r = split_rows(bind("qr", a), a.shape[-2], a.shape[-1])
    return q, r


__all__ = ["cholesky", "lu", "qr"]
