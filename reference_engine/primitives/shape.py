"""Shape: reshape, transpose, broadcast, and what is made of them (squeeze, tile, repeat, ...). Nothing rounds here."""

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
Shape = tuple[int, ...]


def _draw_reshape(pool: Any) -> Any:
    x = pool.array()
    divisors = [d for d in range(1, x.size + 1) if x.size % d == 0] or [1]
    first = pool.choice(divisors)
    second = pool.choice([d for d in divisors if (x.size // first) % d == 0])
    return reshape(x, pool.choice(((first, -1), (first, second, -1), (-1,))) if x.size else (0, 2))


reshape_to = structural(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    lambda x, *, shape: (shape, x.dtype),
    lambda g, y, x, *, shape: bind("reshape", g, shape=x.shape),
    torch="{0}.reshape({shape})",
    draw=_draw_reshape,
    source=LINEAR,
    view=True,
)


def _draw_transpose(pool: Any) -> Any:
    x = pool.array(min_ndim=2)
    i, j = pool.axis(x.ndim), pool.axis(x.ndim)
    return transpose(x) if i == j else swapaxes(x, i, j)


permute = structural(
    "transpose",
    lambda x, *, axes: np.transpose(x, axes),
    lambda x, *, axes: (tuple(x.shape[i] for i in axes), x.dtype),
    lambda g, y, x, *, axes: bind("transpose", g, axes=tuple(int(i) for i in np.argsort(axes))),
    torch="{0}.permute({axes})",
    draw=_draw_transpose,
    source=LINEAR,
    view=True,
)


def _broadcast_aval(x: Any, *, shape: tuple[int, ...]) -> Any:
    if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
        raise ShapeError(
            f"broadcast_to: x.shape={x.shape} does not broadcast to shape={shape}; accepted are axes of length 1 or "
            "equal length, aligned from the right. Reshape x first."
        )
    return shape, x.dtype


def _draw_broadcast(pool: Any) -> Any:
    x = pool.array(max_ndim=3)
    grown = tuple(pool.length() if n == 1 else n for n in x.shape)
    return broadcast_to(x, (pool.length(), *grown) if pool.choice((True, False)) else grown)


broadcast = structural(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    _broadcast_aval,
    lambda g, y, x, *, shape: sum_to(g, x.shape),
    torch="{0}.expand({shape})",
    draw=_draw_broadcast,
    source=LINEAR,
    view=True,
)


def axis_of(operation: str, axis: int, ndim: int) -> int:
    """A negative axis counted from the end; ParameterError when there is no such axis."""
    if not -ndim <= axis < ndim:
        raise ParameterError(
            f"{operation}: axis={axis} and x has {ndim} axes; accepted are {-ndim} to {ndim - 1}. Check the axis, or "
            "add one with reshape."
        )
    return axis % ndim


def axes_of(operation: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis` (None for all, a number, or several) as a sorted tuple of distinct axes counted from 0."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis_of(operation, int(i), ndim) for i in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(set(axes)) != len(axes):
        raise ParameterError(
            f"{operation}: axis={axis} names an axis twice; accepted are distinct axes. Drop the repeated one."
        )
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
        raise ShapeError(
            f"reshape: x.shape={x.shape} has {x.size} entries but shape={shape} asks for another number; they must be "
            "equal. Check the lengths, or use -1 for one of them."
        )
    return bind("reshape", x, shape=shape)


def transpose(x: Any, axes: Any = None) -> Any:
    """x with its axes in the order `axes` (default: reversed).  x: (n₀, n₁, …) -> (n_axes[0], n_axes[1], …)."""
    x = shaped(x)
    order = (
        tuple(reversed(range(x.ndim))) if axes is None else tuple(axis_of("transpose", int(i), x.ndim) for i in axes)
    )
    if sorted(order) != list(range(x.ndim)):
        raise ParameterError(
            f"transpose: axes={axes} for x.shape={x.shape}; accepted is each of its {x.ndim} axes once. Name all axes."
        )
    return bind("transpose", x, axes=order)


def swap_last(x: Any) -> Any:
    """x with its last two axes exchanged.  x: (…, n, m) -> (…, m, n)."""
    n = len(x.shape)
    return bind("transpose", x, axes=(*range(n - 2), n - 1, n - 2))


def broadcast_to(x: Any, shape: Any) -> Any:
    """x repeated along axes of length 1 and new leading axes.  x: any shape that broadcasts -> shape."""
    return bind("broadcast_to", x, shape=tuple(int(n) for n in shape))


def _draw_axes(pool: Any, x: Any) -> Shape:
    return tuple(sorted({pool.axis(x.ndim) for _ in range(pool.integer(1, x.ndim))}))


def _draw_flip(pool: Any) -> Any:
    x = pool.array(min_ndim=1)
    return flip(x, _draw_axes(pool, x))


flipped = structural(
    "flip",
    lambda x, *, axes: np.flip(x, axes),
    lambda x, *, axes: (x.shape, x.dtype),
    lambda g, y, x, *, axes: bind("flip", g, axes=axes),
    torch="torch.flip({0}, dims={axes})",
    draw=_draw_flip,
    source=LINEAR,
    view=True,
)


def _draw_roll(pool: Any) -> Any:
    x = pool.array(min_ndim=1)
    axes = _draw_axes(pool, x)
    return roll(x, tuple(pool.integer(-3, 7) for _ in axes), axes)


rolled = structural(
    "roll",
    lambda x, *, shifts, axes: np.roll(x, shifts, axes),
    lambda x, *, shifts, axes: (x.shape, x.dtype),
    lambda g, y, x, *, shifts, axes: bind("roll", g, shifts=tuple(-s for s in shifts), axes=axes),
    torch="torch.roll({0}, shifts={shifts}, dims={axes})",
    draw=_draw_roll,
    source=LINEAR,
)


def flip(x: Any, axis: Any = None) -> Any:
    """x read backwards along `axis` (None: all).  x: any shape -> the same."""
    x = shaped(x)
    return bind("flip", x, axes=axes_of("flip", axis, x.ndim))


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """x moved on by `shift` along `axis`, what falls off the end coming in at the start (None: x as one long axis).

    x: any shape -> the same; several shifts go with several axes, or ParameterError.
    """
    x = shaped(x)
    if axis is None:
        return bind("reshape", roll(bind("reshape", x, shape=(x.size,)), shift, 0), shape=x.shape)
    axes = tuple(axis_of("roll", int(i), x.ndim) for i in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    shifts = tuple(int(s) for s in (shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)))
    if len(shifts) != len(axes):
        raise ParameterError(
            f"roll: shift={shift} and axis={axis}; accepted are equally many of each. Give one shift an axis."
        )
    return bind("roll", x, shifts=shifts, axes=axes)


def expand_dims(x: Any, axis: Any = 0) -> Any:
    """x with new axes of length 1, which stand at `axis` in the result.  x: (n, m), axis 0 -> (1, n, m)."""
    x = shaped(x)
    wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
    places = axes_of("expand_dims", tuple(wanted), x.ndim + len(wanted))
    rest = iter(x.shape)
    return bind("reshape", x, shape=tuple(1 if i in places else next(rest) for i in range(x.ndim + len(places))))


def squeeze(x: Any, axis: Any = None) -> Any:
    """x without its axes of length 1 in `axis` (None: all of them). Raises ShapeError for an axis that is longer."""
    x = shaped(x)
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else axes_of("squeeze", axis, x.ndim)
    if any(x.shape[i] != 1 for i in axes):
        raise ShapeError(
            f"squeeze: axis={axis} of x.shape={x.shape} is longer than 1; accepted are axes of length 1. Index it."
        )
    return bind("reshape", x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """x with the axes `source` moved to `destination`, the others in order.  x: (n, m, k), 0 to -1 -> (m, k, n)."""
    x = shaped(x)
    sources = [
        axis_of("moveaxis", int(i), x.ndim) for i in (source if isinstance(source, (tuple, list)) else (source,))
    ]
    places = [
        axis_of("moveaxis", int(i), x.ndim)
        for i in (destination if isinstance(destination, (tuple, list)) else (destination,))
    ]
    if len(sources) != len(places) or len(set(sources)) != len(sources) or len(set(places)) != len(places):
        raise ParameterError(
            f"moveaxis: source={source}, destination={destination}; accepted are equally many distinct axes of each. "
            "Check them."
        )
    rest = iter([i for i in range(x.ndim) if i not in sources])
    moved = dict(zip(places, sources, strict=True))
    return bind("transpose", x, axes=tuple(moved[i] if i in moved else next(rest) for i in range(x.ndim)))


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged."""
    x = shaped(x)
    return (
        moveaxis(x, (axis1, axis2), (axis2, axis1))
        if axis_of("swapaxes", axis1, x.ndim) != axis_of("swapaxes", axis2, x.ndim)
        else x
    )


def flatten(x: Any, start: int = 0, stop: int = -1) -> Any:
    """The axes start…stop (both included) of x as one.  x: (n, m, k), 1 to 2 -> (n, mk); a scalar becomes (1,)."""
    x = shaped(x)
    if not x.shape:
        return bind("reshape", x, shape=(1,))
    a, b = axis_of("flatten", start, x.ndim), axis_of("flatten", stop, x.ndim)
    if a > b:
        raise ParameterError(f"flatten: start={start} is after stop={stop}; accepted is start <= stop. Exchange them.")
    return bind("reshape", x, shape=(*x.shape[:a], math.prod(x.shape[a : b + 1]), *x.shape[b + 1 :]))


def broadcast_arrays(*xs: Any) -> list[Any]:
    """Every array broadcast to the shape they have in common; ShapeError where there is none."""
    arrays = [shaped(x) for x in xs]
    shape = broadcast_shapes("broadcast_arrays", *[x.shape for x in arrays])
    return [bind("broadcast_to", x, shape=shape) for x in arrays]


def tile(x: Any, repetitions: Any) -> Any:
    """x set beside itself `repetitions` times along each axis.  x: (n, m), (a, b) -> (an, bm); missing counts are 1."""
    x = shaped(x)
    counts = tuple(int(r) for r in (repetitions if isinstance(repetitions, (tuple, list)) else (repetitions,)))
    if any(r < 0 for r in counts):
        raise ParameterError(f"tile: repetitions={repetitions}; accepted are numbers >= 0. Check them.")
    ndim = max(x.ndim, len(counts))
    shape = (1,) * (ndim - x.ndim) + tuple(x.shape)
    counts = (1,) * (ndim - len(counts)) + counts
    spread = bind("reshape", x, shape=tuple(n for m in shape for n in (1, m)))
    spread = bind("broadcast_to", spread, shape=tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return bind("reshape", spread, shape=tuple(r * n for r, n in zip(counts, shape, strict=True)))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each entry `repeats` times in place along `axis` (None: of the flattened x); one number, or one an entry.

    x: (n,), 2 -> (2n,). Raises ParameterError unless repeats ≥ 0 and there is one, or one an entry.
    """
    x = shaped(x)
    if axis is None:
        x, axis = bind("reshape", x, shape=(x.size,)), 0
    axis = axis_of("repeat", axis, x.ndim)
    counts, n = np.asarray(repeats), x.shape[axis]
    if counts.dtype.kind not in "iu" or counts.shape not in ((), (1,), (n,)) or (counts < 0).any():
        raise ParameterError(
            f"repeat: repeats={repeats} along axis {axis} of x.shape={x.shape}; accepted is a number >= 0, or {n} of "
            "them. Check them."
        )
    return bind("take", x, np.repeat(np.arange(n), counts), axis=axis)
