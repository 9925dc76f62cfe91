"""Lowerings of linear algebra: determinants, inverses, systems, Householder reflections, the matrix exponential."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.primitives.choice import choice
from .symmetry import symmetric
from .table import CallSite, NotCovered, lowers


def row_order(pivots: Any, rows: int) -> Any:
    """LAPACK's row exchanges (counted from 1) as the order of rows they lead to.  (…, k) -> (…, rows)."""
    order = np.broadcast_to(np.arange(rows), (*pivots.shape[:-1], rows)).copy()
    for k in range(pivots.shape[-1]):
        other = pivots[..., k : k + 1].astype(np.int64) - 1
        mine, theirs = order[..., k : k + 1].copy(), np.take_along_axis(order, other, -1)
        order[..., k : k + 1] = theirs
        np.put_along_axis(order, other, mine, -1)
    return order


def permuted(x: Any, order: Any) -> Any:
    """Rows of x in `order`, matrix by matrix.  x: (…, m, n), order: (…, m)."""
    return ops.take_along_axis(x, np.broadcast_to(order[..., None], x.shape), axis=-2)


def factors_within(call: CallSite, a: Any, k: int) -> Any:
    """L U, packed, that a kernel has left as output k, pivots beside it, for the rules of forward mode; None (a
    constant) outside of it, where PyTorch declares them not differentiable, and for a singular matrix, which has none.

    A kernel may factor the transpose: it is that whose product L U is nearer to what was recorded.
    """
    held, pivots = call.outputs[k : k + 2]
    if not call.tangents or a.size == 0 or not np.diagonal(held, axis1=-2, axis2=-1).all():
        return None
    order = row_order(pivots, a.shape[-1])
    product = (np.tril(held, -1) + np.eye(a.shape[-1])) @ np.triu(held)
    number = call.number_of(a)
    far = [np.abs(permuted(n, order) - product).max() for n in (number, np.swapaxes(number, -1, -2))]
    return ops.lu(permuted(a if far[0] <= far[1] else ops.swap_last(a), order))


@lowers("aten::_linalg_det")
def det(call: CallSite, a: Any) -> Any:
    """det A; the factors that come with it are not differentiable outputs."""
    return ops.det(a), factors_within(call, a, 1), None


@lowers("aten::_linalg_slogdet")
def slogdet(call: CallSite, a: Any) -> Any:
    """(sign, log |det A|); the sign is piecewise constant."""
    return None, ops.logabsdet(a), factors_within(call, a, 2), None


@lowers("aten::linalg_inv_ex", "aten::inverse")
def inverse(call: CallSite, a: Any, *, check_errors: bool = False) -> Any:
    """A⁻¹."""
    return ops.inv(a)


def _is_vector(a: Any, b: Any) -> bool:
    """PyTorch's rule: b is a stack of vectors if it has one axis, or one axis less than A and the shape of A without
    its last.
    """
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])


@lowers("aten::_linalg_solve_ex")
def solve(call: CallSite, a: Any, b: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    """X with A X = B, or X A = B where `left` is False; B may be a stack of vectors."""
    vector = _is_vector(a, b)
    columns = ops.expand_dims(b, -1) if vector else b
    if left:
        x = ops.solve(a, columns)
    else:
        x = ops.swap_last(ops.solve(ops.swap_last(a), columns if vector else ops.swap_last(columns)))
        x = ops.swap_last(x) if vector else x
    factors = factors_within(call, a, 1)
    return ops.reshape(x, call.shape) if factors is None else (ops.reshape(x, call.shape), factors, None, None)


def _flags(upper: bool, transpose: bool, unit: bool) -> dict[str, bool]:
    return {"lower": not upper, "adjoint": transpose, "unit": unit}


@lowers("aten::linalg_solve_triangular")
def solve_triangular(
    call: CallSite, a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    """X with A X = B (X A = B where `left` is False), reading one triangle of A."""
    if left:
        return ops.solve_triangular(a, b, **_flags(upper, False, unitriangular))
    return ops.swap_last(ops.solve_triangular(a, ops.swap_last(b), **_flags(upper, True, unitriangular)))


@lowers("aten::triangular_solve")
def triangular_solve(
    call: CallSite, b: Any, a: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """(X with A X = b or Aᵀ X = b, a copy of A), reading one triangle of A."""
    copied = ops.broadcast_to(a, call.outputs[1].shape)
    return ops.solve_triangular(a, b, **_flags(upper, transpose, unitriangular)), copied


@lowers("aten::cholesky", "aten::linalg_cholesky_ex")
def cholesky(call: CallSite, a: Any, upper: bool = False, check_errors: bool = False) -> Any:
    """L with L Lᵀ = A, or its transpose; A is symmetric, or one triangle of it is read."""
    y = ops.cholesky(symmetric(call, a, not upper))
    return ops.swap_last(y) if upper else y


def _factor(call: CallSite, x: Any, upper: bool) -> Any:
    """The triangular factor; PyTorch documents that x is triangular.

    Where an entry of the other triangle is 0, as documented, the derivative with respect to it depends on how the
    function is continued
    off the triangular matrices: legitimate are all θ in [0, 1] times what a full matrix would have; ours is 0, since
    it is not read.
    """
    call.follows("triangular-input")
    read, rest = (ops.triu(x), ops.tril(x, -1)) if upper else (ops.tril(x), ops.triu(x, 1))
    return read + choice(ops.equal(rest, 0.0), 0.0) * rest


@lowers("aten::cholesky_solve")
def cholesky_solve(call: CallSite, b: Any, factor: Any, upper: bool = False) -> Any:
    """(L Lᵀ)⁻¹ b, or (Uᵀ U)⁻¹ b: two systems."""
    m = _factor(call, factor, upper)
    low, high = (ops.swap_last(m), m) if upper else (m, ops.swap_last(m))
    return ops.solve(high, ops.solve(low, b))


@lowers("aten::cholesky_inverse")
def cholesky_inverse(call: CallSite, factor: Any, upper: bool = False) -> Any:
    """(L Lᵀ)⁻¹ = L⁻ᵀ L⁻¹, or (Uᵀ U)⁻¹ = U⁻¹ U⁻ᵀ."""
    inverse_factor = ops.inv(_factor(call, factor, upper))
    transposed = ops.swap_last(inverse_factor)
    return ops.matmul(inverse_factor, transposed) if upper else ops.matmul(transposed, inverse_factor)


def _reflectors(v: Any, count: int) -> list[Any]:
    """The first `count` columns of `v` as Householder vectors: 1 on the diagonal, 0 above it, `v` below.  -> (…, m,
    1) each.
    """
    low = ops.tril(v, -1) + np.eye(*v.shape[-2:])
    return [low[..., :, i : i + 1] for i in range(count)]


def _reflected(v: Any, tau: Any, x: Any, order: range) -> Any:
    """H_i … x for i in `order`, the first one applied first; H_i = I - τ_i v_i v_iᵀ."""
    vectors = _reflectors(v, tau.shape[-1])
    for i in order:
        scale = ops.expand_dims(tau[..., i : i + 1], -1)
        x = x - scale * ops.matmul(vectors[i], ops.matmul(ops.swap_last(vectors[i]), x))
    return x


@lowers("aten::linalg_householder_product")
def householder_product(call: CallSite, v: Any, tau: Any) -> Any:
    """The first n columns of H_1 H_2 … H_k.  v: (…, m, n), tau: (…, k), k ≤ n ≤ m -> (…, m, n)."""
    if tau.shape[-1] == 0 or v.size == 0:
        return v * 0.0 + np.eye(*v.shape[-2:])
    return ops.householder_product(v, tau)


@lowers("aten::ormqr")
def ormqr(call: CallSite, v: Any, tau: Any, x: Any, left: bool = True, transpose: bool = False) -> Any:
    """Q x, Qᵀ x, x Q or x Qᵀ with Q = H_1 H_2 … H_k, all m columns of it."""
    k = tau.shape[-1]
    if v.shape[-1] < k:
        raise NotCovered(f"ormqr: v.shape={v.shape} has fewer columns than tau.shape={tau.shape} has numbers")
    rising = range(k)
    falling = range(k - 1, -1, -1)
    if left:
        return _reflected(v, tau, x, rising if transpose else falling)
    return ops.swap_last(_reflected(v, tau, ops.swap_last(x), falling if transpose else rising))


@lowers("aten::linalg_matrix_exp")
def matrix_exp(call: CallSite, a: Any) -> Any:
    """exp A."""
    return ops.matrix_exp(a)
