"""Triangular systems, and what other factorisations share: stacks of matrices, elimination, its backward error."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import broadcast_shapes
from ..tracing import bind
from .declare import general
from .diagonal import tril, triu
from .reduction import spread_of
from .shape import shaped, swap_last
from .unbroadcast import sum_to

HIGHAM = "Higham, Accuracy and Stability of Numerical Algorithms"


def transposed(a: Any) -> Any:
    """A stack of matrices, each transposed (numbers, not traced values).  a: (…, n, m) -> (…, m, n)."""
    return np.swapaxes(a, -1, -2)


def square(operation: str, a: Any) -> Any:
    """`a` as a stack of square matrices. Raises ShapeError for anything else."""
    a = shaped(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(
            f"{operation}: a.shape={a.shape}; accepted are square matrices in the last two axes, (…, n, n). "
            "Check which axes hold the matrix."
        )
    return a


def _substitute(a: Any, b: Any, *, lower: bool, adjoint: bool, unit: bool) -> Any:
    """Forward or backward substitution, one row at a time for the whole stack."""
    if adjoint:
        a, lower = transposed(a), not lower
    n = a.shape[-1]
    x = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), np.result_type(a, b, 1.0))
    for i in range(n) if lower else range(n - 1, -1, -1):
        done = slice(0, i) if lower else slice(i + 1, n)
        r = b[..., i, :] - np.matmul(a[..., i : i + 1, done], x[..., done, :])[..., 0, :]
        x[..., i, :] = r if unit else r / a[..., i, i, None]
    return x


def system_aval(name: str) -> Any:
    def infer(a: Any, b: Any, **params: Any) -> Any:
        if b.ndim < 2 or a.shape[-1] != b.shape[-2]:
            raise ShapeError(
                f"{name}: a.shape={a.shape} has {a.shape[-1]} unknowns but b.shape={b.shape}; accepted is b with as "
                "many rows, (…, n, k). Reshape a vector to (n, 1)."
            )
        batch = broadcast_shapes(name, a.shape[:-2], b.shape[:-2])
        return (*batch, *b.shape[-2:]), np.result_type(a.dtype, b.dtype)

    return infer


def _triangle(x: Any, lower: bool, unit: bool) -> Any:
    """The entries that a triangular solve reads, 0 elsewhere."""
    return tril(x, -1 if unit else 0) if lower else triu(x, 1 if unit else 0)


def _matrix_vjp(g: Any, y: Any, a: Any, b: Any, *, lower: bool, adjoint: bool, unit: bool) -> Any:
    """Ā = -(A⁻ᵀ g) xᵀ on the triangle that is read; for Aᵀ x = b its transpose."""
    back = bind("solve_triangular", a, g, lower=lower, adjoint=not adjoint, unit=unit)
    whole = -bind("matmul", y, swap_last(back)) if adjoint else -bind("matmul", back, swap_last(y))
    return sum_to(_triangle(whole, lower, unit), a.shape)


def _right_side_vjp(g: Any, y: Any, a: Any, b: Any, *, lower: bool, adjoint: bool, unit: bool) -> Any:
    """b̄ = A⁻ᵀ g."""
    return sum_to(bind("solve_triangular", a, g, lower=lower, adjoint=not adjoint, unit=unit), b.shape)


def _substitution_variance(a: Any, b: Any, *, lower: bool, adjoint: bool, unit: bool) -> Any:
    """δx = A⁻¹ E x with |E| of a few roundings of each entry of A, more for running sums (Higham, th. 8.5)."""
    n = a.shape[-1]
    params = {"lower": lower, "adjoint": adjoint, "unit": unit}
    inverse = _substitute(a, np.broadcast_to(np.eye(n), a.shape), **params)
    x = _substitute(a, b, **params)
    read = np.abs((np.tril if lower else np.triu)(a)) ** 2 * (1.0 + n / 2.0)
    if unit:
        read = read * (1.0 - np.eye(n)) + np.eye(n)
    if adjoint:
        read = transposed(read)
    return np.matmul(np.abs(inverse) ** 2, np.matmul(read, np.abs(x) ** 2))


triangular = general(
    "solve_triangular",
    _substitute,
    system_aval("solve_triangular"),
    _matrix_vjp,
    _right_side_vjp,
    torch=lambda names, params: (
        f"torch.linalg.solve_triangular({names[0]}{'.mT' if params['adjoint'] else ''}, {names[1]}, "
        f"upper={params['lower'] == params['adjoint']}, unitriangular={params['unit']})"
    ),
    source=f"{HIGHAM}, sec. 8.1; Giles, An extended collection of matrix derivative results, 2008, sec. 2.3.1",
    accumulates=spread_of(_substitution_variance, lambda a, b, **params: 2),
    draw=lambda pool: _draw(pool),
)


def _draw(pool: Any) -> Any:
    n, k = pool.integer(1, 3), pool.integer(1, 2)
    a = well_conditioned(pool, n)
    b = pool.shaped(pool.choice(((n, k), (2, n, k))))
    flags = (pool.choice((True, False)), pool.choice((True, False)), pool.choice((True, False)))
    return solve_triangular(a, b, *flags)


def well_conditioned(pool: Any, n: int) -> Any:
    """A drawn matrix with a dominant diagonal: 3 + x/(1 + |x|) on it, x/(2n (1 + |x|)) off it.  -> (n, n)."""
    x = pool.shaped(pool.choice(((n, n), (2, n, n))))
    bounded = x / (1.0 + bind("abs", x))
    weights = np.full((n, n), 0.5 / n)
    np.fill_diagonal(weights, 1.0)
    return bounded * weights + 3.0 * np.eye(n)


def solve_triangular(a: Any, b: Any, lower: bool = False, adjoint: bool = False, unit: bool = False) -> Any:
    """x with A x = b (`adjoint`: Aᵀ x = b), A the lower or upper triangle of `a`, 1 on its diagonal if `unit`.

    a: (…, n, n), b: (…, n, k) -> (…, n, k). The other triangle is not read, its derivative is 0. Raises ShapeError.
    """
    a, b = square("solve_triangular", a), shaped(b)
    return triangular(a, b, lower=bool(lower), adjoint=bool(adjoint), unit=bool(unit))


def eliminate(a: Any) -> tuple[Any, Any]:
    """(packed, order): unit lower L below and U on and above the diagonal, with a[order] = L U by partial pivoting."""
    a = np.array(a, dtype=np.result_type(a, 1.0))
    n = a.shape[-1]
    order = np.broadcast_to(np.arange(n), a.shape[:-1]).copy()
    for k in range(n - 1):
        pivot = np.argmax(np.abs(a[..., k:, k]), axis=-1)[..., None] + k
        swap = np.broadcast_to(np.arange(n), a.shape[:-1]).copy()
        np.put_along_axis(swap, pivot, k, -1)
        swap[..., k] = pivot[..., 0]
        a = np.take_along_axis(a, swap[..., None], -2)
        order = np.take_along_axis(order, swap, -1)
        a = eliminate_column(a, k)
    return a, order


def eliminate_column(a: Any, k: int) -> Any:
    """One step of elimination in place: multipliers below the pivot, the rest of the matrix updated."""
    pivot = a[..., k, k]
    factor = a[..., k + 1 :, k] / np.where(pivot == 0, 1.0, pivot)[..., None]
    a[..., k + 1 :, k] = factor
    a[..., k + 1 :, k + 1 :] -= factor[..., None] * a[..., None, k, k + 1 :]
    return a


def elimination_variance(a: Any) -> Any:
    """Backward error of elimination, entry by entry, in units of (0.4 u)²: A² + L² U² (1 + n/2)  (Higham, th. 9.3)."""
    n = a.shape[-1]
    packed, order = eliminate(a)
    low = np.abs(np.tril(packed, -1) + np.eye(n)) ** 2
    moved = np.matmul(low, np.abs(np.triu(packed)) ** 2) * (1.0 + n / 2.0)
    back = np.empty_like(moved)
    np.put_along_axis(back, np.broadcast_to(order[..., None], moved.shape), moved, -2)
    return np.abs(a) ** 2 + back


__all__ = ["solve_triangular"]
