"""Triangles and diagonals of the last two axes. Data movement: nothing rounds here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..tracing import bind
from .declare import structural
from .shape import LINEAR, axis_of, moveaxis, shaped

Shape = tuple[int, ...]


def _triangle(name: str, forward: Any) -> Any:
    def draw(pool: Any) -> Any:
        return triangle(pool.array(min_ndim=2), k=pool.integer(-2, 2))

    primitive = structural(
        name,
        lambda x, *, k: forward(x, k),
        lambda x, *, k: (x.shape, x.dtype),
        lambda g, y, x, *, k: bind(name, g, k=k),
        torch=f"torch.{name}({{0}}, diagonal={{k}})",
        draw=draw,
        source=LINEAR,
        drops=True,
    )

    def triangle(x: Any, k: int = 0) -> Any:
        x = shaped(x)
        if x.ndim < 2:
            raise ShapeError(f"{name}: x.shape={x.shape}; accepted are at least two axes. Add one with expand_dims.")
        return primitive(x, k=int(k))

    triangle.__name__ = triangle.__qualname__ = name
    side = "on and below" if name == "tril" else "on and above"
    triangle.__doc__ = f"Entries {side} the k-th diagonal of the last two axes, 0 elsewhere.  x: (…, n, m) -> the same."
    return triangle


tril = _triangle("tril", np.tril)
triu = _triangle("triu", np.triu)


def diagonal_length(rows: int, columns: int, offset: int) -> int:
    """How many entries the diagonal `offset` (above the main one if positive) of rows × columns has."""
    return max(0, min(rows + min(offset, 0), columns - max(offset, 0)))


def _diagonal_places(shape: Shape, offset: int) -> tuple[Any, ...]:
    along = np.arange(diagonal_length(shape[-2], shape[-1], offset))
    return (..., along - min(offset, 0), along + max(offset, 0))


def _put_diagonal(x: Any, *, offset: int, rows: int, columns: int) -> Any:
    y = np.zeros((*x.shape[:-1], rows, columns), x.dtype)
    y[_diagonal_places(y.shape, offset)] = x
    return y


def _put_diagonal_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    shape = f"(*x.shape[:-1], {params['rows']}, {params['columns']})"
    return f"(lambda x: torch.diagonal_scatter(x.new_zeros({shape}), x, {params['offset']}, -2, -1))({names[0]})"


def _draw_diagonal(pool: Any) -> Any:
    x = pool.array(min_ndim=2)
    return diagonal(x, pool.integer(-1, 1), *pool.choice(((-2, -1), (0, 1), (-1, 0))))


diagonal_of = structural(
    "diagonal",
    lambda x, *, offset: np.diagonal(x, offset, -2, -1),
    lambda x, *, offset: ((*x.shape[:-2], diagonal_length(x.shape[-2], x.shape[-1], offset)), x.dtype),
    lambda g, y, x, *, offset: bind("put_diagonal", g, offset=offset, rows=x.shape[-2], columns=x.shape[-1]),
    torch="torch.diagonal({0}, {offset}, -2, -1)",
    draw=_draw_diagonal,
    source=LINEAR,
    drops=True,
    view=True,
)


def _draw_put_diagonal(pool: Any) -> Any:
    return diag_embed(pool.array(min_ndim=1, max_ndim=3), pool.integer(-2, 2))


put_diagonal = structural(
    "put_diagonal",
    _put_diagonal,
    lambda x, *, offset, rows, columns: ((*x.shape[:-1], rows, columns), x.dtype),
    lambda g, y, x, *, offset, rows, columns: bind("diagonal", g, offset=offset),
    torch=_put_diagonal_torch,
    draw=_draw_put_diagonal,
    source=LINEAR,
)


def diagonal(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """The diagonal `offset` (above the main one if positive) of the matrices in two axes, as a new last axis.

    x: (…, n, m) -> (…, length of the diagonal). The array API's axes are the last two, as here by default.
    """
    x = shaped(x)
    if x.ndim < 2:
        raise ShapeError(f"diagonal: x.shape={x.shape}; accepted are at least two axes. Add one with expand_dims.")
    first, second = axis_of("diagonal", axis1, x.ndim), axis_of("diagonal", axis2, x.ndim)
    if first == second:
        raise ParameterError(
            f"diagonal: axis1={axis1} and axis2={axis2} are the same axis; accepted are two. Check them."
        )
    return bind("diagonal", moveaxis(x, (first, second), (-2, -1)), offset=int(offset))


def diag_embed(x: Any, offset: int = 0) -> Any:
    """Square matrices with x on diagonal `offset`, 0 elsewhere.  x: (…, n) -> (…, n + |offset|, n + |offset|)."""
    x = shaped(x)
    if x.ndim < 1:
        raise ShapeError(f"diag_embed: x.shape={x.shape}; accepted is at least one axis. Reshape it to (1,).")
    side = x.shape[-1] + (offset if offset > 0 else -offset)
    return bind("put_diagonal", x, offset=int(offset), rows=side, columns=side)
