"""Shape and layout: reshape, transpose, broadcast, concatenate, stack, split, flip, roll, pad, slices. Nothing rounds here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..registry import broadcast_shapes
from ..tracing import Tracer, as_array, bind
from .declare import structural
from .unbroadcast import sum_to

LINEAR = "transpose of a linear map; Griewank and Walther, sec. 3.2"

reshape_to = structural(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    lambda x, *, shape: (shape, x.dtype),
    lambda g, y, x, *, shape: bind("reshape", g, shape=x.shape),
    torch="{0}.reshape({shape})",
    source=LINEAR,
    view=True,
)

permute = structural(
    "transpose",
    lambda x, *, axes: np.transpose(x, axes),
    lambda x, *, axes: (tuple(x.shape[i] for i in axes), x.dtype),
    lambda g, y, x, *, axes: bind("transpose", g, axes=tuple(int(i) for i in np.argsort(axes))),
    torch="{0}.permute({axes})",
    source=LINEAR,
    view=True,
)


def _broadcast_aval(x: Any, *, shape: tuple[int, ...]) -> Any:
    if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
        raise ShapeError(f"broadcast_to: x.shape={x.shape} does not broadcast to shape={shape}; accepted are axes of length 1 or equal length, aligned from the right. Reshape x first.")
    return shape, x.dtype


broadcast = structural(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    _broadcast_aval,
    lambda g, y, x, *, shape: sum_to(g, x.shape),
    torch="{0}.expand({shape})",
    source=LINEAR,
    view=True,
)


def axis_of(operation: str, axis: int, ndim: int) -> int:
    """A negative axis counted from the end; ParameterError when there is no such axis."""
    if not -ndim <= axis < ndim:
        raise ParameterError(f"{operation}: axis={axis} and x has {ndim} axes; accepted are {-ndim} to {ndim - 1}. Check the axis, or add one with reshape.")
    return axis % ndim


def axes_of(operation: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis` (None for all, a number, or several) as a sorted tuple of distinct axes counted from 0."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis_of(operation, int(i), ndim) for i in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(set(axes)) != len(axes):
        raise ParameterError(f"{operation}: axis={axis} names an axis twice; accepted are distinct axes. Drop the repeated one.")
    return tuple(sorted(axes))


def shaped(x: Any) -> Any:
    """A traced value as it is; anything else as an array."""
    return x if type(x) is Tracer else as_array(x)


def reshape(x: Any, shape: Any) -> Any:
    """x with another shape, C order; one length may be -1.  x: any shape -> shape."""
    x = shaped(x)
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
    if shape.count(-1) == 1:
        rest = -math.prod(shape)
        if rest and x.size % rest == 0:
            shape = tuple(x.size // rest if n == -1 else n for n in shape)
    if any(n < 0 for n in shape) or math.prod(shape) != x.size:
        raise ShapeError(f"reshape: x.shape={x.shape} has {x.size} entries but shape={shape} asks for another number; they must be equal. Check the lengths, or use -1 for one of them.")
    return bind("reshape", x, shape=shape)


def transpose(x: Any, axes: Any = None) -> Any:
    """x with its axes in the order `axes` (default: reversed).  x: (n₀, n₁, …) -> (n_axes[0], n_axes[1], …)."""
    x = shaped(x)
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(axis_of("transpose", int(i), x.ndim) for i in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ParameterError(f"transpose: axes={axes} for x.shape={x.shape}; accepted is each of its {x.ndim} axes once. Name all axes.")
    return bind("transpose", x, axes=order)


def swap_last(x: Any) -> Any:
    """x with its last two axes exchanged.  x: (…, n, m) -> (…, m, n)."""
    n = len(x.shape)
    return bind("transpose", x, axes=(*range(n - 2), n - 1, n - 2))


def broadcast_to(x: Any, shape: Any) -> Any:
    """x repeated along axes of length 1 and new leading axes.  x: any shape that broadcasts -> shape."""
    return bind("broadcast_to", x, shape=tuple(int(n) for n in shape))
