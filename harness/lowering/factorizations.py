"""Lowerings of LU, QR, eigenvalues, singular values and least squares.

What a factorisation leaves open is read from the recording: pivots, and the signs of vectors. Where singular values or
eigenvalues repeat, more than a sign is open, and the vectors have no derivative.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .linalg import permuted, row_order
from .symmetry import is_symmetric, symmetric, with_numbers_read
from .table import CallSite, NotCovered, lowers

UNIT = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
}  # machine epsilon, which PyTorch's default tolerances are multiples of


def without_entries(x: Any, *recorded: Any) -> tuple[Any, ...]:
    """What the factors of a matrix without entries are: constants, with derivative 0."""
    nothing = ops.sum(x) * 0.0
    return tuple(None if y is None or y.dtype.kind != "f" else ops.broadcast_to(nothing, y.shape) + y for y in recorded)


def _packed(a: Any) -> Any:
    """L U of `a` without pivoting, packed; beyond the square part one triangular system gives the rest."""
    m, n = a.shape[-2:]
    k = min(m, n)
    square = ops.lu(a[..., :k, :k])
    if m > k:
        below = ops.swap_last(ops.solve_triangular(square, ops.swap_last(a[..., k:, :]), lower=False, adjoint=True))
        return ops.concat([square, below], axis=-2)
    if n > k:
        return ops.concat([square, ops.solve_triangular(square, a[..., :, k:], lower=True, unit=True)], axis=-1)
    return square


def _split(packed: Any) -> tuple[Any, Any]:
    m, n = packed.shape[-2:]
    k = min(m, n)
    return ops.tril(packed[..., :, :k], -1) + np.eye(m, k), ops.triu(packed[..., :k, :])


@lowers("aten::linalg_lu_factor_ex")
def lu_factor(call: CallSite, a: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """L U of the rows in the recorded order, packed."""
    if a.size == 0:
        return a
    return _packed(permuted(a, row_order(call.outputs[1], a.shape[-2])) if pivot else a)


@lowers("aten::linalg_lu")
def lu(call: CallSite, a: Any, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U; P is the recorded permutation."""
    if a.size == 0:
        return without_entries(a, None, *call.outputs[1:])
    rows = np.argmax(call.outputs[0], axis=-2) if pivot else None
    return (None, *_split(_packed(a if rows is None else permuted(a, rows))))


@lowers("aten::lu_unpack")
def lu_unpack(call: CallSite, packed: Any, pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """(P, L, U) of a packed factorisation."""
    return (None, *_split(packed)) if unpack_data else None


@lowers("aten::linalg_lu_solve")
def lu_solve(call: CallSite, packed: Any, pivots: Any, b: Any, *, left: bool = True, adjoint: bool = False) -> Any:
    """X with P L U X = B; the transposed system for `adjoint`, X P L U = B for `left` False."""
    if not left:
        b, adjoint = ops.swap_last(b), not adjoint
    batch = np.broadcast_shapes(packed.shape[:-2], b.shape[:-2])
    order = np.broadcast_to(row_order(pivots, packed.shape[-1]), (*batch, packed.shape[-1]))
    b = ops.broadcast_to(b, (*batch, *b.shape[-2:]))
    if adjoint:
        y = ops.solve_triangular(packed, b, lower=False, adjoint=True)
        y = ops.solve_triangular(packed, y, lower=True, adjoint=True, unit=True)
        x = permuted(y, np.argsort(order, axis=-1))
    else:
        y = ops.solve_triangular(packed, permuted(b, order), lower=True, unit=True)
        x = ops.solve_triangular(packed, y, lower=False)
    return x if left else ops.swap_last(x)


@lowers("aten::linalg_qr")
def qr(call: CallSite, a: Any, mode: str = "reduced") -> Any:
    """(Q, R), with the recorded signs of the diagonal of R."""
    m, n = a.shape[-2:]
    k = min(m, n)
    if a.size == 0:
        return without_entries(a, *call.outputs)
    signs = np.where(np.diagonal(call.outputs[1], 0, -2, -1) < 0, -1.0, 1.0)[..., :k]
    q, r = ops.qr(a[..., :, :k])
    q, r = q * signs[..., None, :], r * signs[..., :, None]
    if n > k:
        # R is Qᵀ A as a whole; that is 0 below the diagonal, and so is its derivative, to what rounding leaves of it
        r = r + ops.tril(ops.matmul(ops.swap_last(q), a[..., :, :k]), -1)
        r = ops.concat([r, ops.matmul(ops.swap_last(q), a[..., :, k:])], axis=-1)
    if mode == "r":
        return None, r
    if mode == "complete" and m > n:
        raise NotCovered("linalg_qr: the columns that complete Q to a square matrix are not a function of A")
    return q, r


def _direction(vectors: Any, shape: tuple[int, ...]) -> Any:
    """Recorded vectors, or zeros where none were computed (then no sign is turned)."""
    return vectors if vectors is not None and vectors.shape == shape else np.zeros(shape)


@lowers("aten::_linalg_eigh")
def eigh(call: CallSite, a: Any, UPLO: str = "L", compute_v: bool = True) -> Any:  # noqa: N803 - the schema's name
    """(eigenvalues, eigenvectors) of symmetric A, the vectors with the recorded signs."""
    if a.size == 0:
        return without_entries(a, *call.outputs)
    w, v = ops.eigh(symmetric(call, a, UPLO.upper() == "L"), _direction(call.outputs[1], a.shape))
    return (w, v) if compute_v else w


@lowers("aten::_linalg_svd")
def svd(call: CallSite, a: Any, full_matrices: bool = False, compute_uv: bool = True, *, driver: Any = None) -> Any:
    """(U, singular values, Vᵀ), the vectors with the recorded signs; vectors beyond min(m, n) are constants."""
    m, n = a.shape[-2:]
    k = min(m, n)
    if a.size == 0:
        return without_entries(a, *call.outputs)
    recorded_u, _, recorded_vt = call.outputs
    shape = (*a.shape[:-1], k)
    u, s, v = ops.svd(a, _direction(recorded_u[..., :k] if compute_uv else None, shape))
    if not compute_uv:
        return None, s, None
    vt = ops.swap_last(v)
    if full_matrices and m > k:
        u = ops.concat([u, recorded_u[..., k:]], axis=-1)
    if full_matrices and n > k:
        vt = ops.concat([vt, recorded_vt[..., k:, :]], axis=-2)
    return u, s, vt


ROUNDED_AWAY = 1e3  # singular values up to this many roundings of the largest are zeros of a matrix of lower rank


@lowers("aten::linalg_pinv.atol_rtol_tensor", "aten::linalg_pinv.atol_rtol_float")
def pinv(call: CallSite, a: Any, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Any:
    """The Moore-Penrose inverse, singular values at or below max(atol, rtol σ₁) counting as 0: which ones is a
    decision.

    Where those are 0 but for rounding, the rank is constant near A. Where a tolerance cuts off more, the result is
    the inverse of the
    truncated matrix, whose derivative has the gaps to what was cut off.
    """
    numbers = call.number_of(a)
    if hermitian:
        if not is_symmetric(call, a):
            raise NotCovered("linalg_pinv: hermitian=True with a matrix that is not symmetric")
        a = with_numbers_read(a, numbers, numbers, lower=True)
    if a.size == 0:
        return ops.swap_last(a)
    s = np.linalg.svd(numbers, compute_uv=False)
    top = s[..., :1]
    absolute = np.zeros(()) if atol is None else call.number_of(atol)
    default = 0.0 if np.any(absolute > 0) else max(a.shape[-2:]) * UNIT[call.dtype]
    relative = np.asarray(default) if rtol is None else call.number_of(rtol)
    kept = s > np.maximum(absolute[..., None], relative[..., None] * top)
    negligible = s <= ROUNDED_AWAY * max(a.shape[-2:]) * UNIT[call.dtype] * top
    if np.all(kept | negligible) and not np.any(kept & negligible):
        return ops.pinv(a)
    u, values, v = ops.svd(a)
    inverse = ops.where(kept, ops.reciprocal(ops.where(kept, values, 1.0)), 0.0)
    return ops.matmul(v * ops.expand_dims(inverse, -2), ops.swap_last(u))


@lowers("aten::linalg_lstsq")
def lstsq(call: CallSite, a: Any, b: Any, rcond: Any = None, *, driver: Any = None) -> Any:
    """A⁺ B at full rank, and where there are more rows than columns the squared lengths of what is left."""
    vector = b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])
    columns = ops.expand_dims(b, -1) if vector else b
    x = ops.matmul(ops.pinv(a), columns)
    residuals = call.outputs[1]
    left = None
    if residuals is not None and residuals.size:
        left = ops.sum(ops.square(ops.matmul(a, x) - columns), axis=-2)
        left = ops.reshape(left, residuals.shape)
    return ops.reshape(x, call.shape), left
