"""Products of Householder reflections H = I - τ v vᵀ, the form in which LAPACK keeps an orthogonal factor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import same_dtype
from ..tracing import bind
from .declare import general
from .diagonal import tril
from .layout import concat
from .reduction import spread_of, sum
from .shape import expand_dims, shaped, swap_last
from .triangular import HIGHAM

RULE = f"{HIGHAM}, sec. 19.1; ⟨G, dH P⟩ with dH = -dτ v vᵀ - τ (dv vᵀ + v dvᵀ)"


def _vectors(v: Any) -> Any:
    return np.tril(v, -1) + np.eye(*v.shape[-2:])


def _product(v: Any, tau: Any) -> Any:
    """H_1 … H_k times the first n columns of the identity, the last reflection first."""
    low = _vectors(v)
    y = np.broadcast_to(np.eye(*v.shape[-2:]), v.shape) * np.ones((), np.result_type(v, tau))
    for i in range(tau.shape[-1] - 1, -1, -1):
        w = low[..., :, i : i + 1]
        y = y - tau[..., i : i + 1, None] * w * np.matmul(np.swapaxes(w, -1, -2), y)
    return y


def _product_variance(v: Any, tau: Any) -> Any:
    """Each reflection rounds the vector, the product vᵀx with its running sums, and what is subtracted, and passes
    on what was there.
    """
    low, m = _vectors(v), v.shape[-2]
    y = np.broadcast_to(np.eye(*v.shape[-2:]), v.shape) * 1.0
    total = np.zeros(v.shape)
    for i in range(tau.shape[-1] - 1, -1, -1):
        w, t = low[..., :, i : i + 1], tau[..., i : i + 1, None]
        across = np.swapaxes(w, -1, -2)
        passed = np.abs(np.eye(m) - t * w * across) ** 2
        inner = np.matmul(np.abs(across) ** 2, np.abs(y) ** 2) * (1.0 + m / 2.0)
        removed = t * w * np.matmul(across, y)
        y = y - removed
        total = np.matmul(passed, total) + np.abs(t * w) ** 2 * inner + 2.0 * np.abs(removed) ** 2 + np.abs(y) ** 2
    return total


def _parts(v: Any, tau: Any) -> tuple[list[Any], list[Any]]:
    """Traced: the vectors, (…, m, 1) each, and the numbers τ, (…, 1, 1) each."""
    low = tril(v, -1) + np.eye(*v.shape[-2:])
    count = tau.shape[-1]
    return [low[..., :, i : i + 1] for i in range(count)], [expand_dims(tau[..., i : i + 1], -1) for i in range(count)]


def _apply(w: Any, t: Any, x: Any) -> Any:
    return x - t * (w * bind("matmul", swap_last(w), x))


def _right_parts(y: Any, vectors: list[Any], taus: list[Any], undo: bool) -> list[Any]:
    """P_i = H_{i+1} … H_k E for every i: built up from the identity, or (`undo`) from the result by H⁻¹."""
    if undo:
        parts, p = [], y
        for w, t in zip(vectors, taus, strict=True):
            p = _apply(w, t / (t * bind("matmul", swap_last(w), w) - 1.0), p)
            parts.append(p)
        return parts
    p = np.broadcast_to(np.eye(*y.shape[-2:]), y.shape)
    parts = []
    for w, t in zip(reversed(vectors), reversed(taus), strict=True):
        parts.append(p)
        p = _apply(w, t, p)
    return parts[::-1]


def _vjp(argument: int, undo: bool) -> Any:
    """With a = vᵀP, b = vᵀG, G already reflected by the earlier ones: v̄ = -τ (G aᵀ + P bᵀ), τ̄ = -Σ a b."""

    def rule(g: Any, y: Any, v: Any, tau: Any) -> Any:
        vectors, taus = _parts(v, tau)
        found = []
        for w, t, p in zip(vectors, taus, _right_parts(y, vectors, taus, undo), strict=True):
            a, b = bind("matmul", swap_last(w), p), bind("matmul", swap_last(w), g)
            if argument == 1:
                found.append(-sum(a * b, axis=-1))
            else:
                found.append(-t * (bind("matmul", g, swap_last(a)) + bind("matmul", p, swap_last(b))))
            g = _apply(w, t, g)
        if argument == 1:
            return concat(found, axis=-1)
        unused = v.shape[-1] - len(found)
        if unused:
            found.append(np.zeros((*v.shape[:-1], unused)))
        return tril(concat(found, axis=-1), -1)

    return rule


reflections = general(
    "householder_product",
    _product,
    lambda v, tau: (v.shape, same_dtype(v)),
    _vjp(0, False),
    _vjp(1, False),
    lossy=(_vjp(0, True), _vjp(1, True)),  # undoing reflections costs the condition number of each H
    torch="torch.linalg.householder_product({0}, {1})",
    source=RULE,
    accumulates=spread_of(_product_variance, lambda v, tau: 2),
    draw=lambda pool: _draw(pool),
)


def _draw(pool: Any) -> Any:
    n = pool.integer(1, 3)
    m = n + pool.integer(0, 2)
    return householder_product(pool.shaped((m, n)), pool.shaped((pool.integer(1, n),)))


def householder_product(v: Any, tau: Any) -> Any:
    """The first n columns of H_1 … H_k, H_i = I - τ_i v_i v_iᵀ; v_i is column i of v below the diagonal, 1 on it, 0
    above.

    v: (…, m, n), tau: (…, k), 1 ≤ k ≤ n ≤ m -> (…, m, n). What stands on and above the diagonal of v is not read.
    Raises ShapeError.
    """
    v, tau = shaped(v), shaped(tau)
    fits = v.ndim >= 2 and tau.ndim == v.ndim - 1 and tau.shape[:-1] == v.shape[:-2]
    if not fits or not 1 <= tau.shape[-1] <= v.shape[-1] <= v.shape[-2]:
        raise ShapeError(
            f"householder_product: v.shape={v.shape}, tau.shape={tau.shape}; accepted are (…, m, n) and (…, k) with "
            "1 ≤ k ≤ n ≤ m. Check which axis holds the vectors."
        )
    return reflections(v, tau)


__all__ = ["householder_product"]
