"""Products that sum over a shared axis: matmul, outer, tensordot, einsum."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import Accumulation, broadcast_shapes
from ..tracing import bind
from .declare import general
from .shape import shaped, swap_last
from .unbroadcast import sum_to


def _matmul_aval(a: Any, b: Any) -> Any:
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: a.shape={a.shape} has {a.shape[-1]} columns but b.shape={b.shape} has {b.shape[-2]} rows; they must be equal. "
            "Transpose b, or check which axis is the batch."
        )
    batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
    return (*batch, a.shape[-2], b.shape[-1]), np.result_type(a.dtype, b.dtype)


def matmul_vjp_a(g: Any, y: Any, a: Any, b: Any) -> Any:
    """ā = g bᵀ, summed over the batch axes `a` was broadcast along."""
    return sum_to(bind("matmul", g, swap_last(b)), a.shape)


def matmul_vjp_b(g: Any, y: Any, a: Any, b: Any) -> Any:
    """b̄ = aᵀ g, summed over the batch axes `b` was broadcast along."""
    return sum_to(bind("matmul", swap_last(a), g), b.shape)


product = general(
    "matmul",
    np.matmul,
    _matmul_aval,
    matmul_vjp_a,
    matmul_vjp_b,
    torch="({0} @ {1})",
    source="Giles, An extended collection of matrix derivative results, 2008, sec. 2.2.2",
    accumulates=Accumulation(lambda a, b: a.shape[-1], lambda a, b: np.matmul(np.abs(a) ** 2, np.abs(b) ** 2)),
)


def matmul(a: Any, b: Any) -> Any:
    """Matrix product with broadcast batch axes: y_ij = Σ_k a_ik b_kj.

    a: (…, n, k), b: (…, k, m) -> (…, n, m); a 1-D operand stands for a row (a) or column (b) and its axis is dropped again.
    Raises ShapeError where the inner lengths differ.
    """
    a, b = shaped(a), shaped(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: a.shape={a.shape}, b.shape={b.shape}; accepted are operands of at least one axis. Multiply scalars with *.")
    row, column = a.ndim == 1, b.ndim == 1
    if row:
        a = bind("reshape", a, shape=(1, *a.shape))
    if column:
        b = bind("reshape", b, shape=(*b.shape, 1))
    y = bind("matmul", a, b)
    if row or column:
        shape = y.shape[:-2] + (() if row else (y.shape[-2],)) + (() if column else (y.shape[-1],))
        y = bind("reshape", y, shape=shape)
    return y
