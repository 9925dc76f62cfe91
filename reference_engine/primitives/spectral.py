"""Eigenvalues of symmetric matrices and singular values, with vectors whose signs are given from outside.

A vector is defined up to its sign only: the caller passes vectors whose direction decides it. Where values repeat, the vectors among
them are not defined at all; what a function that does not depend on that choice needs is the derivative without those terms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import CONSTANT, same_dtype
from ..tracing import bind
from .declare import general
from .diagonal import diag_embed
from .factorization import SEEGER, split_rows
from .inverse import GILES
from .reduction import spread_of
from .shape import expand_dims, shaped, squeeze, swap_last
from .triangular import square, transposed, well_conditioned


def _signs(v: Any, direction: Any) -> Any:
    """±1 a column, so that it points the way of that column of `direction`."""
    return np.where(np.sum(v * direction, axis=-2, keepdims=True) < 0, -1.0, 1.0)


def _inverse_gaps(w: Any) -> Any:
    """1/(w_j - w_i) at i, j; 0 where the two are equal, on the diagonal too.  w: (…, n) -> (…, n, n)."""
    gap = expand_dims(w, -2) - expand_dims(w, -1)
    same = bind("equal", gap, 0.0)
    return bind("where", same, 0.0, bind("reciprocal", bind("where", same, 1.0, gap)))


def _gaps2(w: Any) -> Any:
    gap = np.abs(w[..., None, :] - w[..., :, None])
    return np.where(gap > 0, 1.0 / np.where(gap > 0, gap, 1.0), 0.0) ** 2


def _eigh(a: Any, direction: Any) -> Any:
    """The eigenvalues, rising, over the eigenvectors: (n + 1, n)."""
    w, v = np.linalg.eigh(0.5 * (a + transposed(a)))
    return np.concatenate([w[..., None, :], v * _signs(v, direction)], axis=-2)


def _eigh_vjp(g: Any, y: Any, a: Any, direction: Any) -> Any:
    """Ā = V (diag w̄ + F ∘ VᵀV̄) Vᵀ, symmetrised; F_ij = 1/(w_j - w_i)."""
    n = a.shape[-1]
    (w, v), (gw, gv) = split_rows(y, 1, n), split_rows(g, 1, n)
    inner = _inverse_gaps(squeeze(w, -2)) * bind("matmul", swap_last(v), gv) + diag_embed(squeeze(gw, -2))
    s = bind("matmul", v, bind("matmul", inner, swap_last(v)))
    return 0.5 * (s + swap_last(s))


def _eigh_variance(a: Any, direction: Any) -> Any:
    """Backward error ‖A‖₂ √n in every entry: δw = that, δV = V (F ∘ E)."""
    y = _eigh(a, direction)
    n = a.shape[-1]
    w = y[..., 0, :]
    e = n * np.max(np.abs(w), axis=-1, initial=0.0)[..., None, None] ** 2
    return np.concatenate(
        [np.broadcast_to(e, (*w.shape[:-1], 1, n)), np.matmul(np.abs(y[..., 1:, :]) ** 2, e * _gaps2(w))], axis=-2
    )


general(
    "eigh",
    _eigh,
    lambda a, direction: ((*a.shape[:-2], a.shape[-1] + 1, a.shape[-1]), same_dtype(a)),
    _eigh_vjp,
    CONSTANT,
    torch=(
        "(lambda w, v, d: torch.cat([w.unsqueeze(-2), v * torch.where((v * d).sum(-2, keepdim=True) < 0, -1.0, 1.0)], -2))"
        "(*torch.linalg.eigh(0.5 * ({0} + {0}.mT)), {1})"
    ),
    source=f"{GILES}, sec. 3.1",
    accumulates=spread_of(_eigh_variance, lambda a, direction: 2),
    draw=lambda pool: _draw_eigh(pool),
)


def _draw_eigh(pool: Any) -> Any:
    n = pool.integer(1, 3)
    return pool.choice(eigh(well_conditioned(pool, n) + np.diag(np.arange(n) * 4.0)))


def eigh(a: Any, direction: Any = None) -> tuple[Any, Any]:
    """(w, V) with (A + Aᵀ)/2 = V diag(w) Vᵀ, w rising; the columns of V point the way of those of `direction`.

    a: (…, n, n) -> (…, n), (…, n, n). Raises ShapeError unless the matrices are square. Where eigenvalues repeat, the
    derivative is that of functions which do not depend on the choice of vectors.
    """
    a = square("eigh", a)
    direction = np.ones(a.shape) if direction is None else direction
    w, v = split_rows(bind("eigh", a, direction), 1, a.shape[-1])
    return squeeze(w, -2), v


def _svd(a: Any, direction: Any) -> Any:
    """U over the singular values, falling, over V: (m + 1 + n, k), k = min(m, n)."""
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    sign = _signs(u, direction)
    return np.concatenate([u * sign, s[..., None, :], transposed(vt) * sign], axis=-2)


def _svd_vjp(g: Any, y: Any, a: Any, direction: Any) -> Any:
    """Ā = U [diag S̄ + (F ∘ (P - Pᵀ)) S + S (F ∘ (Q - Qᵀ))] Vᵀ + (I - UUᵀ) Ū S⁻¹ Vᵀ + U S⁻¹ V̄ᵀ (I - VVᵀ).

    P = UᵀŪ, Q = VᵀV̄, F_ij = 1/(s_j² - s_i²). Singular values 0 leave their vectors undefined: those terms are left out.
    """
    m, n = a.shape[-2:]
    (u, s, v), (gu, gs, gv) = split_rows(y, m, 1, n), split_rows(g, m, 1, n)
    flat = squeeze(s, -2)
    f = _inverse_gaps(flat * flat)
    p, q = bind("matmul", swap_last(u), gu), bind("matmul", swap_last(v), gv)
    inner = f * (p - swap_last(p)) * s + swap_last(s) * (f * (q - swap_last(q))) + diag_embed(squeeze(gs, -2))
    zero = bind("equal", s, 0.0)
    inverse = bind("where", zero, 0.0, bind("reciprocal", bind("where", zero, 1.0, s)))
    left = bind("matmul", u, inner)
    if m > n:
        left = left + (gu - bind("matmul", u, p)) * inverse
    result = bind("matmul", left, swap_last(v))
    if n > m:
        result = result + bind("matmul", u * inverse, swap_last(gv - bind("matmul", v, q)))
    return result


def _svd_variance(a: Any, direction: Any) -> Any:
    """Backward error ‖A‖₂ √k in every entry E: δs = that, δU = U (F ∘ (E S + S Eᵀ)) and E/s out of the range of U."""
    m, n = a.shape[-2:]
    y = _svd(a, direction)
    s = y[..., m, :]
    e = min(m, n) * np.max(s, axis=-1, initial=0.0)[..., None, None] ** 2
    sums = s[..., None, :] ** 2 + s[..., :, None] ** 2
    turn = _gaps2(s * s) * sums * e
    out = e * np.where(s > 0, 1.0 / np.where(s > 0, s, 1.0), 0.0)[..., None, :] ** 2
    du = np.matmul(np.abs(y[..., :m, :]) ** 2, turn) + (out if m > n else 0.0)
    dv = np.matmul(np.abs(y[..., m + 1 :, :]) ** 2, turn) + (out if n > m else 0.0)
    return np.concatenate([du, np.broadcast_to(e, (*s.shape[:-1], 1, s.shape[-1])), dv], axis=-2)


def _svd_aval(a: Any, direction: Any) -> Any:
    m, n = a.shape[-2:]
    return (*a.shape[:-2], m + 1 + n, min(m, n)), same_dtype(a)


general(
    "svd",
    _svd,
    _svd_aval,
    _svd_vjp,
    CONSTANT,
    torch=(
        "(lambda u, s, vt, d: (lambda c: torch.cat([u * c, s.unsqueeze(-2), vt.mT * c], -2))"
        "(torch.where((u * d).sum(-2, keepdim=True) < 0, -1.0, 1.0)))(*torch.linalg.svd({0}, full_matrices=False), {1})"
    ),
    source=SEEGER,
    accumulates=spread_of(_svd_variance, lambda a, direction: 2),
    draw=lambda pool: _draw_svd(pool),
)


def _draw_svd(pool: Any) -> Any:
    n = pool.integer(1, 3)
    a = well_conditioned(pool, n) + np.diag(np.arange(n) * 4.0)
    return pool.choice(svd(a[..., : pool.integer(1, n)]))


def svd(a: Any, direction: Any = None) -> tuple[Any, Any, Any]:
    """(U, s, V) with A = U diag(s) Vᵀ, s falling; the columns of U point the way of those of `direction`.

    a: (…, m, n) -> (…, m, k), (…, k), (…, n, k), k = min(m, n). Raises ShapeError. Repeated values as for eigh.
    """
    a = shaped(a)
    if a.ndim < 2:
        raise ShapeError(f"svd: a.shape={a.shape}; accepted are matrices, (…, m, n). Reshape it.")
    m, n = a.shape[-2:]
    direction = np.ones((*a.shape[:-1], min(m, n))) if direction is None else direction
    u, s, v = split_rows(bind("svd", a, direction), m, 1, n)
    return u, squeeze(s, -2), v


__all__ = ["eigh", "svd"]
