"""Products that sum over shared axes: matmul, einsum, tensordot, vecdot, outer, kron, trace."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..registry import Accumulation, broadcast_shapes
from ..tracing import bind
from .declare import general, squared_size
from .diagonal import diagonal
from .reduction import sum
from .shape import axis_of, reshape, shaped, swap_last, transpose
from .unbroadcast import sum_to

PRODUCTS = "Giles, An extended collection of matrix derivative results, 2008, sec. 2.2.2"


def _matmul_aval(a: Any, b: Any) -> Any:
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: a.shape={a.shape} has {a.shape[-1]} columns but b.shape={b.shape} has {b.shape[-2]} rows; "
            "they must be equal. Transpose b, or check which axis is the batch."
        )
    batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
    return (*batch, a.shape[-2], b.shape[-1]), np.result_type(a.dtype, b.dtype)


def matmul_vjp_a(g: Any, y: Any, a: Any, b: Any) -> Any:
    """ā = g bᵀ, summed over the batch axes `a` was broadcast along."""
    return sum_to(bind("matmul", g, swap_last(b)), a.shape)


def matmul_vjp_b(g: Any, y: Any, a: Any, b: Any) -> Any:
    """b̄ = aᵀ g, summed over the batch axes `b` was broadcast along."""
    return sum_to(bind("matmul", swap_last(a), g), b.shape)


def _draw_matmul(pool: Any) -> Any:
    a = pool.array(min_ndim=1, max_ndim=3)
    inner, columns = a.shape[-1], pool.length()
    batch = a.shape[:-2] if pool.choice((False, True)) else ()
    shape = pool.choice(((inner,), (*batch, inner, columns), (1, *batch, inner, columns)))
    return matmul(a, pool.shaped(shape))


product = general(
    "matmul",
    np.matmul,
    _matmul_aval,
    matmul_vjp_a,
    matmul_vjp_b,
    torch="({0} @ {1})",
    source=PRODUCTS,
    accumulates=Accumulation(lambda a, b: a.shape[-1], lambda a, b: np.matmul(squared_size(a), squared_size(b))),
    draw=_draw_matmul,
    ufunc=True,
)


def matmul(a: Any, b: Any) -> Any:
    """Matrix product with broadcast batch axes: y_ij = Σ_k a_ik b_kj.

    a: (…, n, k), b: (…, k, m) -> (…, n, m); a 1-D operand stands for a row (a) or column (b), its axis is dropped.
    Raises ShapeError where the inner lengths differ.
    """
    a, b = shaped(a), shaped(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(
            f"matmul: a.shape={a.shape}, b.shape={b.shape}; accepted are operands of at least one axis. "
            "Multiply scalars with *."
        )
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


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Σ over the last `axes` axes of a and the first of b, or over the paired axes `axes = (of a, of b)`.

    a: (n…, k…), b: (k…, m…) -> (n…, m…). Raises ShapeError where paired lengths differ.
    """
    a, b = shaped(a), shaped(b)
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ParameterError(
                f"tensordot: axes={axes} with a.ndim={a.ndim}, b.ndim={b.ndim}; accepted are 0 to "
                f"{min(a.ndim, b.ndim)}. Lower axes, or name the paired axes."
            )
        left, right = tuple(range(a.ndim - int(axes), a.ndim)), tuple(range(int(axes)))
    else:
        left, right = (
            tuple(axis_of("tensordot", int(i), x.ndim) for i in np.atleast_1d(part))
            for x, part in zip((a, b), axes, strict=True)
        )
    lengths = [a.shape[i] for i in left], [b.shape[i] for i in right]
    if lengths[0] != lengths[1]:
        raise ShapeError(
            f"tensordot: axes {left} of a.shape={a.shape} and {right} of b.shape={b.shape} have lengths "
            f"{lengths[0]} and {lengths[1]}; they must be equal. Pair other axes."
        )
    rows = tuple(i for i in range(a.ndim) if i not in left)
    columns = tuple(i for i in range(b.ndim) if i not in right)
    n, k, m = (math.prod(s) for s in ([a.shape[i] for i in rows], lengths[0], [b.shape[i] for i in columns]))
    matrices = reshape(transpose(a, (*rows, *left)), (n, k)), reshape(transpose(b, (*right, *columns)), (k, m))
    y = bind("matmul", *matrices)
    return reshape(y, (*(a.shape[i] for i in rows), *(b.shape[i] for i in columns)))


def vecdot(a: Any, b: Any, axis: int = -1) -> Any:
    """Σ a b along one axis, the others broadcast.  a, b: (…, n, …) -> (…, …). Raises ShapeError if they do not."""
    a, b = shaped(a), shaped(b)
    shape = broadcast_shapes("vecdot", a.shape, b.shape)
    along = axis_of("vecdot", int(axis), len(shape))
    order = (*(i for i in range(len(shape)) if i != along), along)
    a, b = (transpose(bind("broadcast_to", x, shape=shape), order) for x in (a, b))
    y = bind("matmul", reshape(a, (*a.shape[:-1], 1, a.shape[-1])), reshape(b, (*b.shape, 1)))
    return reshape(y, y.shape[:-2])


def outer(a: Any, b: Any) -> Any:
    """y_ij = a_i b_j of the flattened operands.  a: n entries, b: m entries -> (n, m)."""
    a, b = shaped(a), shaped(b)
    return bind("multiply", reshape(a, (a.size, 1)), reshape(b, (1, b.size)))


def kron(a: Any, b: Any) -> Any:
    """Kronecker product: every entry of a times the whole of b.  a: (n, m), b: (p, q) -> (np, mq), any equal ndim."""
    a, b = shaped(a), shaped(b)
    ndim = max(a.ndim, b.ndim)
    left, right = ((1,) * (ndim - x.ndim) + x.shape for x in (a, b))
    grid = [reshape(a, [n for pair in zip(left, (1,) * ndim, strict=True) for n in pair])]
    grid.append(reshape(b, [n for pair in zip((1,) * ndim, right, strict=True) for n in pair]))
    return reshape(bind("multiply", *grid), tuple(n * p for n, p in zip(left, right, strict=True)))


def trace(x: Any, offset: int = 0) -> Any:
    """Σ of the diagonal `offset` of the last two axes.  x: (…, n, m) -> (…)."""
    return sum(diagonal(x, offset), axis=-1)


__all__ = ["kron", "matmul", "outer", "tensordot", "trace", "vecdot"]
