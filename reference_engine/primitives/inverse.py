"""Linear systems, inverse and pseudo-inverse. A singular matrix gives NaN, not an exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import same_dtype
from ..tracing import bind
from .declare import general
from .reduction import spread_of
from .shape import expand_dims, shaped, squeeze, swap_last
from .triangular import HIGHAM, elimination_variance, square, system_aval, well_conditioned
from .unbroadcast import sum_to

GILES = "Giles, An extended collection of matrix derivative results, 2008"
# A solve is an elimination and two substitutions, each with a backward error of the size of the first.
STAGES = 3.0
# An SVD passes over the matrix many times. Of rows and columns in another order the pseudo-inverse is the same numbers,
# and float64 gives others: their variance is 20 to 40 times that of E with ‖E‖² = u² ‖A‖² √(n m), for all sizes.
SWEEPS = 20.0


def one_by_one(operation: Callable[..., Any], *stacks: Any) -> Any:
    """`operation` on a stack of matrices; where NumPy refuses one (singular, not positive), that one is NaN."""
    try:
        return operation(*stacks)
    except np.linalg.LinAlgError:
        pass
    batch = np.broadcast_shapes(*[a.shape[:-2] for a in stacks])
    wide = [np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in stacks]
    results: dict[tuple[int, ...], Any] = {}
    for i in np.ndindex(*batch):
        try:
            results[i] = operation(*[a[i] for a in wide])
        except np.linalg.LinAlgError:
            continue
    shape = next((r.shape for r in results.values()), wide[-1].shape[-2:])
    y = np.full((*batch, *shape), np.nan, np.result_type(*stacks, 1.0))
    for i, r in results.items():
        y[i] = r
    return y


def inverse_numbers(a: Any) -> Any:
    """A⁻¹ of numbers; NaN where A is singular."""
    return one_by_one(np.linalg.inv, a)


def _inverse_variance(a: Any) -> Any:
    """δY = Y E Y with the backward error E of elimination."""
    y2 = np.abs(inverse_numbers(a)) ** 2
    return STAGES * np.matmul(y2, np.matmul(elimination_variance(a), y2))


inverse = general(
    "inv",
    inverse_numbers,
    lambda a: (a.shape, same_dtype(a)),
    lambda g, y, a: -bind("matmul", bind("matmul", swap_last(y), g), swap_last(y)),
    torch="torch.linalg.inv({0})",
    source=f"{GILES}, sec. 2.2.3",
    accumulates=spread_of(_inverse_variance, lambda a: 2),
    draw=lambda pool: inv(well_conditioned(pool, pool.integer(1, 3))),
)


def inv(a: Any) -> Any:
    """A⁻¹; NaN where A is singular.  a: (…, n, n) -> the same. Raises ShapeError unless the matrices are square."""
    return inverse(square("inv", a))


def _solution_variance(a: Any, b: Any) -> Any:
    y2, x = np.abs(inverse_numbers(a)) ** 2, one_by_one(np.linalg.solve, a, b)
    return STAGES * np.matmul(y2, np.matmul(elimination_variance(a), np.abs(x) ** 2))


def _solve_matrix_vjp(g: Any, y: Any, a: Any, b: Any) -> Any:
    """Ā = -(A⁻ᵀ g) xᵀ."""
    return sum_to(-bind("matmul", bind("solve", swap_last(a), g), swap_last(y)), a.shape)


solution = general(
    "solve",
    lambda a, b: one_by_one(np.linalg.solve, a, b),
    system_aval("solve"),
    _solve_matrix_vjp,
    lambda g, y, a, b: sum_to(bind("solve", swap_last(a), g), b.shape),
    # b is given its batch axes, since PyTorch reads a stack of matrices with one axis less than a as a stack of vectors
    torch="(lambda a, b: torch.linalg.solve(a, b.expand(*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), -1, -1)))"
    "({0}, {1})",
    source=f"{GILES}, sec. 2.3.1; {HIGHAM}, sec. 9.3",
    accumulates=spread_of(_solution_variance, lambda a, b: 2),
    draw=lambda pool: _draw_solve(pool),
)


def _draw_solve(pool: Any) -> Any:
    n = pool.integer(1, 3)
    return solve(well_conditioned(pool, n), pool.shaped(pool.choice(((n,), (n, 2), (2, n, 1)))))


def solve(a: Any, b: Any) -> Any:
    """x with A x = b; NaN where A is singular.

    a: (…, n, n), b: (…, n, k) or one vector (n,) -> the shape of b, batches broadcast. Raises ShapeError.
    """
    a, b = square("solve", a), shaped(b)
    if b.ndim == 1:
        return squeeze(solution(a, expand_dims(b, -1)), -1)
    return solution(a, b)


def _pseudo_inverse(a: Any) -> Any:
    return one_by_one(np.linalg.pinv, a)


def _pseudo_inverse_vjp(g: Any, y: Any, a: Any) -> Any:
    """Ā = -Yᵀ g Yᵀ + (I - A Y) gᵀ Y Yᵀ + Yᵀ Y gᵀ (I - Y A), at constant rank."""
    yt, gt = swap_last(y), swap_last(g)

    def product(*factors: Any) -> Any:
        result = factors[0]
        for f in factors[1:]:
            result = bind("matmul", result, f)
        return result

    rows, columns = product(gt, y, yt), product(yt, y, gt)
    return -product(yt, g, yt) + (rows - product(a, y, rows)) + (columns - product(columns, y, a))


def _pseudo_inverse_variance(a: Any) -> Any:
    """δY = -Y E Y + Y Yᵀ Eᵀ (I - A Y) + (I - Y A) Eᵀ Yᵀ Y with the backward error E of an SVD, alike in all entries."""
    y = _pseudo_inverse(a)
    yt = np.swapaxes(np.conj(y), -1, -2)
    n, m = a.shape[-2:]

    def term(left: Any, right: Any) -> Any:
        """The variance of (left E right) where every entry of E has variance 1."""
        rows, columns = (np.sum(np.abs(x) ** 2, axis=k, keepdims=True) for x, k in ((left, -1), (right, -2)))
        return rows * columns

    size = np.sum(np.abs(a) ** 2, axis=(-1, -2), keepdims=True) / max(np.sqrt(n * m), 1.0)
    terms = term(y, y) + term(y @ yt, np.eye(n) - a @ y) + term(np.eye(m) - y @ a, yt @ y)
    return SWEEPS * size * terms


general(
    "pinv",
    _pseudo_inverse,
    lambda a: ((*a.shape[:-2], a.shape[-1], a.shape[-2]), same_dtype(a)),
    _pseudo_inverse_vjp,
    torch="torch.linalg.pinv({0})",
    source="Golub and Pereyra, The differentiation of pseudo-inverses, 1973, eq. 4.12",
    accumulates=spread_of(_pseudo_inverse_variance, lambda a: 2),
    draw=lambda pool: _draw_pinv(pool),
)


def _draw_pinv(pool: Any) -> Any:
    a = well_conditioned(pool, pool.integer(1, 3))
    return pinv(a[..., : pool.integer(1, a.shape[-1])])


def pinv(a: Any) -> Any:
    """The Moore-Penrose inverse; its derivative is that of constant rank.  a: (…, n, m) -> (…, m, n). Raises
    ShapeError.
    """
    a = shaped(a)
    if a.ndim < 2:
        raise ShapeError(f"pinv: a.shape={a.shape}; accepted are matrices, (…, n, m). Reshape it.")
    return bind("pinv", a)


__all__ = ["inv", "pinv", "solve"]
