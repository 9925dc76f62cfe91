"""Eigenvalues of symmetric matrices and singular values, with vectors whose signs are given from outside.

A vector is defined up to its sign only: the caller passes vectors whose direction decides it. Where values repeat, the
vectors among them have no derivative, nor have the values a second one; where a singular value is 0, neither have its
vectors: what depends on them is infinite or NaN.
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


# a/b, and 0 where a is 0: a term that does not occur has no place among the terms that are infinite.
quotient = general(
    "quotient",
    lambda a, b: np.where(a == 0, 0.0, a / b),
    lambda a, b: (a.shape, same_dtype(a)),
    lambda g, y, a, b: bind("quotient", g, b),
    lambda g, y, a, b: -bind("quotient", g * y, b),
    torch="torch.where({0} == 0, 0.0, {0} / {1})",
    source="quotient rule, Spivak, Calculus, ch. 10; 0/0 = 0: a term that does not occur",
)


def _over_gaps(x: Any, w: Any) -> Any:
    """x_ij / (w_j - w_i), 0 on the diagonal.  x: (…, n, n), w: (…, n) -> (…, n, n)."""
    own = np.eye(w.shape[-1], dtype=bool)
    gap = bind("where", own, 1.0, expand_dims(w, -2) - expand_dims(w, -1))
    return quotient(bind("where", own, 0.0, x), gap)


def _over(x: Any, s: Any) -> Any:
    """x_ij / s_j."""
    return quotient(x, bind("broadcast_to", s, shape=x.shape))


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
    inner = _over_gaps(bind("matmul", swap_last(v), gv), squeeze(w, -2)) + diag_embed(squeeze(gw, -2))
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
        "(lambda w, v, d: torch.cat([w.unsqueeze(-2), "
        "v * torch.where((v * d).sum(-2, keepdim=True) < 0, -1.0, 1.0)], -2))"
        "(*torch.linalg.eigh(0.5 * ({0} + {0}.mT)), {1})"
    ),
    source=f"{GILES}, sec. 3.1",
    accumulates=spread_of(_eigh_variance, lambda a, direction: 2),
    draw=lambda pool: _draw_eigh(pool),
)


general(
    "eigvalsh",
    lambda a: np.linalg.eigvalsh(0.5 * (a + transposed(a))),
    lambda a: (a.shape[:-1], same_dtype(a)),
    lambda g, y, a: _outer_sum(split_rows(bind("eigh", a, np.ones(a.shape)), 1, a.shape[-1])[1], g, None),
    torch="torch.linalg.eigvalsh(0.5 * ({0} + {0}.mT))",
    source=f"{GILES}, sec. 3.1",
    accumulates=spread_of(lambda a: _eigh_variance(a, np.ones(a.shape))[..., 0, :], lambda a: 2),
    draw=lambda pool: eigh(_spaced(pool))[0],
)


def _outer_sum(u: Any, weights: Any, v: Any) -> Any:
    """Σ_i weight_i u_i v_iᵀ (v None: u again)."""
    return bind("matmul", u * expand_dims(weights, -2), swap_last(u if v is None else v))


def _spaced(pool: Any) -> Any:
    """A drawn square matrix whose eigenvalues and singular values lie well apart."""
    n = pool.integer(1, 3)
    return well_conditioned(pool, n) + np.diag(np.arange(n) * 4.0)


def _draw_eigh(pool: Any) -> Any:
    return eigh(_spaced(pool))[1]


def eigh(a: Any, direction: Any = None) -> tuple[Any, Any]:
    """(w, V) with (A + Aᵀ)/2 = V diag(w) Vᵀ, w rising; the columns of V point the way of those of `direction`.

    a: (…, n, n) -> (…, n), (…, n, n). Raises ShapeError unless the matrices are square. Where eigenvalues repeat, the
    vectors have no derivative.
    """
    a = square("eigh", a)
    direction = np.ones(a.shape) if direction is None else direction
    return bind("eigvalsh", a), split_rows(bind("eigh", a, direction), 1, a.shape[-1])[1]


def _svd(a: Any, direction: Any) -> Any:
    """U over the singular values, falling, over V: (m + 1 + n, k), k = min(m, n)."""
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    sign = _signs(u, direction)
    return np.concatenate([u * sign, s[..., None, :], transposed(vt) * sign], axis=-2)


def _svd_vjp(g: Any, y: Any, a: Any, direction: Any) -> Any:
    """Ā = U [diag S̄ + (F ∘ (P - Pᵀ)) S + S (F ∘ (Q - Qᵀ))] Vᵀ + (I - UUᵀ) Ū S⁻¹ Vᵀ + U S⁻¹ V̄ᵀ (I - VVᵀ).

    P = UᵀŪ, Q = VᵀV̄, F_ij = 1/(s_j² - s_i²).
    """
    m, n = a.shape[-2:]
    (u, s, v), (gu, gs, gv) = split_rows(y, m, 1, n), split_rows(g, m, 1, n)
    flat = squeeze(s, -2)
    squares = flat * flat
    p, q = bind("matmul", swap_last(u), gu), bind("matmul", swap_last(v), gv)
    inner = (
        _over_gaps(p - swap_last(p), squares) * s
        + swap_last(s) * _over_gaps(q - swap_last(q), squares)
        + diag_embed(squeeze(gs, -2))
    )
    left = bind("matmul", u, inner)
    if m > n:
        left = left + _over(gu - bind("matmul", u, p), s)
    result = bind("matmul", left, swap_last(v))
    if n > m:
        result = result + bind("matmul", u, swap_last(_over(gv - bind("matmul", v, q), s)))
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


def _svdvals_vjp(g: Any, y: Any, a: Any) -> Any:
    """Ā = U diag(g) Vᵀ.  Legitimate where a singular value is 0: any sign of its term, which has a kink there."""
    m, n = a.shape[-2:]
    u, _, v = split_rows(bind("svd", a, np.ones((*a.shape[:-1], min(m, n)))), m, 1, n)
    return _outer_sum(u, g, v)


general(
    "svdvals",
    lambda a: np.linalg.svd(a, compute_uv=False),
    lambda a: ((*a.shape[:-2], min(a.shape[-2:])), same_dtype(a)),
    _svdvals_vjp,
    torch="torch.linalg.svdvals({0})",
    source=SEEGER,
    accumulates=spread_of(
        lambda a: _svd_variance(a, np.ones((*a.shape[:-1], min(a.shape[-2:]))))[..., a.shape[-2], :], lambda a: 2
    ),
    draw=lambda pool: svd(_spaced(pool))[1],
)


def _draw_svd(pool: Any) -> Any:
    a = _spaced(pool)
    u, _, v = svd(a[..., : pool.integer(1, a.shape[-1])])
    return pool.choice((u, v))


def svd(a: Any, direction: Any = None) -> tuple[Any, Any, Any]:
    """(U, s, V) with A = U diag(s) Vᵀ, s falling; the columns of U point the way of those of `direction`.

    a: (…, m, n) -> (…, m, k), (…, k), (…, n, k), k = min(m, n). Raises ShapeError. Repeated values as for eigh.
    """
    a = shaped(a)
    if a.ndim < 2:
        raise ShapeError(f"svd: a.shape={a.shape}; accepted are matrices, (…, m, n). Reshape it.")
    m, n = a.shape[-2:]
    direction = np.ones((*a.shape[:-1], min(m, n))) if direction is None else direction
    u, _, v = split_rows(bind("svd", a, direction), m, 1, n)
    return u, bind("svdvals", a), v


__all__ = ["eigh", "svd"]
