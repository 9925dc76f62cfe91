"""Indexing with integer arrays: take, gather, sums at indices. Each pair below consists of two transposes.

Indices are inputs, not parameters: they arrive as int64 arrays, and nothing is differentiated with respect to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..registry import CONSTANT, INT, Accumulation, Array, same_dtype
from ..tracing import Tracer, bind
from .declare import structural
from .shape import LINEAR, Shape, axis_of, shaped

SECOND = frozenset({1})  # the index argument of every primitive here
WHOLE = 2**62  # chain of a sum that adds all its terms one after the other, in the order of the indices


def known_indices(operation: str, indices: Any, length: int) -> Any:
    """`indices` within 0 … length - 1, negative ones counted from the end.

    A traced index is left as it is, and checked where its number is known. Raises ParameterError for one outside.
    """
    traced = type(indices) is Tracer
    array = indices.value if traced else np.asarray(indices)
    if not traced and array.dtype.kind not in "iu" and array.size:
        raise ParameterError(
            f"{operation}: indices have dtype {array.dtype}; accepted are integers. Convert them, or index with a "
            "mask through x[mask]."
        )
    if type(array) is not Tracer and array is not None:
        outside = (array < -length) | (array >= length)
        if outside.any():
            raise ParameterError(
                f"{operation}: index {array[outside].flat[0]} for an axis of length {length}; accepted are {-length} "
                f"to {length - 1}. "
                "Check the indices."
            )
    return indices if traced else np.where(array < 0, array + length, array).astype(INT)


def _from_start(indices: Array, length: int) -> Array:
    """Indices counted from 0; negative ones, which only traced indices may still hold, from the end."""
    return np.where(indices < 0, indices + length, indices) if indices.size and indices.min() < 0 else indices


def most_repeated(indices: Array) -> int:
    """The greatest number of times that one index occurs."""
    return int(np.unique(indices, return_counts=True)[1].max(initial=0))


def sum_flat(values: Array, places: Array, size: int) -> Array:
    """y[places[i]] += values[i], in order, into `size` zeros.  values, places: any equal shapes -> (size,)."""
    v, p = values.ravel(), _from_start(places.ravel(), size)
    if values.dtype.kind == "c":
        return np.bincount(p, v.real, size) + 1j * np.bincount(p, v.imag, size)
    return np.bincount(p, v, size) if p.size else np.zeros(size)


# take: whole slices along one axis. Its transpose adds slices where the same index occurs again.


def _index_sum(values: Array, indices: Array, *, axis: int, length: int) -> Array:
    before, after = values.shape[:axis], values.shape[axis + indices.ndim :]
    y = np.zeros((*before, length, *after), np.result_type(values, 1.0))
    if values.size == 0:
        return y
    indices = _from_start(indices, length)
    rows = np.moveaxis(values.reshape(*before, indices.size, *after), axis, 0)
    order = np.argsort(indices, axis=None, kind="stable")
    found, first = np.unique(indices.ravel()[order], return_index=True)
    np.moveaxis(y, axis, 0)[found] = np.add.reduceat(rows[order], first, axis=0)
    return y


def _take_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    return f"{names[0]}[{':, ' * params['axis']}{names[1]}]"


def _index_sum_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    axis, length = params["axis"], params["length"]
    before, after = f"*v.shape[:{axis}]", f"*v.shape[{axis} + i.ndim:]"
    return (
        f"(lambda v, i: v.new_zeros(({before}, {length}, {after})).index_add({axis}, i.reshape(-1), "
        f"v.reshape(({before}, i.numel(), {after}))))({names[0]}, {names[1]})"
    )


def _draw_take(pool: Any) -> Any:
    x = pool.array(min_ndim=1, max_ndim=3)
    axis = pool.axis(x.ndim)
    shape = pool.choice(((), (pool.length(),), (pool.length(), 2))) if x.shape[axis] else (0,)
    return take(x, pool.indices(shape, x.shape[axis]), axis=axis)


taken = structural(
    "take",
    lambda x, indices, *, axis: np.take(x, indices, axis=axis),
    lambda x, indices, *, axis: ((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype),
    lambda g, y, x, indices, *, axis: bind("index_sum", g, indices, axis=axis, length=x.shape[axis]),
    CONSTANT,
    integers=SECOND,
    torch=_take_torch,
    draw=_draw_take,
    source=LINEAR,
    drops=True,
)


def _draw_index_sum(pool: Any) -> Any:
    x = pool.array(min_ndim=1, max_ndim=3)
    axis = pool.axis(x.ndim)
    count = pool.length() if x.shape[axis] else 0
    source = pool.shaped((*x.shape[:axis], count, *x.shape[axis + 1 :]))
    return index_add(x, pool.indices((count,), x.shape[axis]), source, axis=axis)


index_sum = structural(
    "index_sum",
    _index_sum,
    lambda values, indices, *, axis, length: (
        (*values.shape[:axis], length, *values.shape[axis + indices.ndim :]),
        same_dtype(values),
    ),
    lambda g, y, values, indices, *, axis, length: bind("take", g, indices, axis=axis),
    CONSTANT,
    integers=SECOND,
    torch=_index_sum_torch,
    draw=_draw_index_sum,
    accumulates=Accumulation(
        lambda values, indices, **params: most_repeated(indices),
        lambda values, indices, **params: _index_sum(np.abs(values) ** 2, indices, **params),
        WHOLE,
        given=True,
    ),
    source=LINEAR,
)


# gather: one index an entry, along one axis; the other axes of x and of the indices are equal. Its transpose adds.


def _grown(shape: Shape, axis: int, length: int) -> Shape:
    return (*shape[:axis], length, *shape[axis + 1 :])


def _flat_places(indices: Array, axis: int, length: int) -> Array:
    """Where each entry of `indices` points, counted in C order in an array that has `length` along `axis`."""
    indices = _from_start(indices, length)
    after = math.prod(indices.shape[axis + 1 :])
    before = np.arange(math.prod(indices.shape[:axis])).reshape(-1, 1, 1)
    at = indices.reshape(len(before), indices.shape[axis], after)
    places: Array = (before * length + at) * after + np.arange(after)
    return places.reshape(indices.shape)


def _scatter_sum(values: Array, indices: Array, *, axis: int, length: int) -> Array:
    shape = _grown(values.shape, axis, length)
    return sum_flat(values, _flat_places(indices, axis, length), math.prod(shape)).reshape(shape)


def _scatter_sum_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    axis, length = params["axis"], params["length"]
    shape = f"(*v.shape[:{axis}], {length}, *v.shape[{axis + 1}:])"
    return f"(lambda v, i: v.new_zeros({shape}).scatter_add({axis}, i, v))({names[0]}, {names[1]})"


def _drawn_gather(pool: Any) -> tuple[Any, Any, int]:
    x = pool.array(min_ndim=1, max_ndim=3)
    axis = pool.axis(x.ndim)
    count = pool.length() if x.shape[axis] else 0
    return x, pool.indices((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.shape[axis]), axis


def _draw_gather(pool: Any) -> Any:
    x, indices, axis = _drawn_gather(pool)
    return take_along_axis(x, indices, axis)


def _draw_scatter_sum(pool: Any) -> Any:
    x, indices, axis = _drawn_gather(pool)
    return scatter_add(x, indices, pool.shaped(indices.shape), axis)


gathered = structural(
    "gather",
    lambda x, indices, *, axis: np.take_along_axis(x, indices, axis),
    lambda x, indices, *, axis: (indices.shape, x.dtype),
    lambda g, y, x, indices, *, axis: bind("scatter_sum", g, indices, axis=axis, length=x.shape[axis]),
    CONSTANT,
    integers=SECOND,
    torch="torch.gather({0}, {axis}, {1})",
    draw=_draw_gather,
    source=LINEAR,
    drops=True,
)
scatter_sum = structural(
    "scatter_sum",
    _scatter_sum,
    lambda values, indices, *, axis, length: (_grown(values.shape, axis, length), same_dtype(values)),
    lambda g, y, values, indices, *, axis, length: bind("gather", g, indices, axis=axis),
    CONSTANT,
    integers=SECOND,
    torch=_scatter_sum_torch,
    draw=_draw_scatter_sum,
    accumulates=Accumulation(
        lambda values, indices, *, axis, length: most_repeated(_flat_places(indices, axis, length)),
        lambda values, indices, **params: _scatter_sum(np.abs(values) ** 2, indices, **params),
        WHOLE,
        given=True,
    ),
    source=LINEAR,
)


# take_flat: entries of x counted in C order, for every other way to index. Its transpose adds.


def _draw_take_flat(pool: Any) -> Any:
    x = pool.array()
    return take_flat(x, pool.indices((pool.length(), 2) if x.size else (0,), x.size))


def _draw_scatter_flat(pool: Any) -> Any:
    values = pool.array(max_ndim=2)
    shape = (pool.integer(1, 3), pool.integer(1, 3))
    return bind("scatter_flat", values, pool.indices(values.shape, math.prod(shape)), shape=shape)


flat_taken = structural(
    "take_flat",
    lambda x, indices: np.take(x, indices),
    lambda x, indices: (indices.shape, x.dtype),
    lambda g, y, x, indices: bind("scatter_flat", g, indices, shape=x.shape),
    CONSTANT,
    integers=SECOND,
    torch="torch.take({0}, {1})",
    draw=_draw_take_flat,
    source=LINEAR,
    drops=True,
)
scatter_flat = structural(
    "scatter_flat",
    lambda values, indices, *, shape: sum_flat(values, indices, math.prod(shape)).reshape(shape),
    lambda values, indices, *, shape: (shape, same_dtype(values)),
    lambda g, y, values, indices, *, shape: bind("take_flat", g, indices),
    CONSTANT,
    integers=SECOND,
    torch="{0}.new_zeros({shape}).put({1}, {0}, accumulate=True)",
    draw=_draw_scatter_flat,
    accumulates=Accumulation(
        lambda values, indices, *, shape: most_repeated(indices),
        lambda values, indices, *, shape: sum_flat(np.abs(values) ** 2, indices, math.prod(shape)).reshape(shape),
        WHOLE,
        given=True,
    ),
    source=LINEAR,
)


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """x at `indices` along `axis` (None: of the flattened x), repeats allowed.

    x: (…, n, …), indices: any shape of integers in -n … n - 1 -> that shape in place of n; ParameterError outside.
    """
    x = shaped(x)
    if axis is None:
        x, axis = bind("reshape", x, shape=(x.size,)), 0
    axis = axis_of("take", axis, x.ndim)
    return bind("take", x, known_indices("take", indices, x.shape[axis]), axis=axis)


def embedding(weight: Any, indices: Any) -> Any:
    """Rows of a table: weight[indices].  weight: (rows, width), indices: any shape -> that shape + (width,)."""
    return take(weight, indices, axis=0)


def take_flat(x: Any, indices: Any) -> Any:
    """Entries of x counted in C order.  x: any shape, indices: any shape of integers below x.size -> that shape."""
    x = shaped(x)
    return bind("take_flat", x, known_indices("take_flat", indices, x.size))


def index_add(x: Any, indices: Any, source: Any, axis: int = 0) -> Any:
    """x with source[j] added to its slice indices[j] along `axis`; a repeated index adds again.

    x: (…, n, …), indices: (k,), source: (…, k, …) -> x.shape. Raises ShapeError where source does not fit.
    """
    x, source = shaped(x), shaped(source)
    axis = axis_of("index_add", axis, x.ndim)
    n = x.shape[axis]
    indices = known_indices("index_add", indices, n)
    wanted = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    if source.shape != wanted or indices.ndim != 1:
        raise ShapeError(
            f"index_add: indices.shape={indices.shape}, source.shape={source.shape} for x.shape={x.shape}, "
            f"axis={axis}; accepted are "
            f"(k,) and x.shape with k along the axis. Reshape or broadcast the source."
        )
    return bind("add", x, bind("index_sum", source, indices, axis=axis, length=n))


def _along(operation: str, x: Any, indices: Any, axis: int) -> tuple[Any, Any, int]:
    """x cut to the shape of the indices on all axes but `axis`, as torch.gather allows."""
    axis = axis_of(operation, axis, x.ndim)
    indices = known_indices(operation, indices, x.shape[axis])
    fits = len(indices.shape) == x.ndim and all(
        i == axis or m <= n for i, (m, n) in enumerate(zip(indices.shape, x.shape, strict=True))
    )
    if not fits:
        raise ShapeError(
            f"{operation}: indices.shape={indices.shape} for x.shape={x.shape}, axis={axis}; accepted are as many "
            "axes, none but "
            "this one longer than that of x. Reshape or broadcast the indices."
        )
    cut = _grown(indices.shape, axis, x.shape[axis])
    if cut != x.shape:
        x = bind("slice", x, start=(0,) * x.ndim, stop=cut, step=(1,) * x.ndim)
    return x, indices, axis


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """y[…, j, …] = x[…, indices[…, j, …], …] along `axis`.

    x: (…, n, …), indices: (…, k, …) -> indices.shape; on the other axes the indices may be shorter, as in torch.gather.
    """
    x, indices, axis = _along("take_along_axis", shaped(x), indices, axis)
    return bind("gather", x, indices, axis=axis)


def scatter_add(x: Any, indices: Any, values: Any, axis: int = -1) -> Any:
    """x with values[…, j, …] added at […, indices[…, j, …], …]; an index that occurs again adds again.

    x: (…, n, …), indices and values: one shape (…, k, …), which may be shorter than x on the other axes -> x.shape.
    """
    x = shaped(x)
    added = scattered("scatter_add", x, indices, values, axis)
    return bind("add", x, added)


def scattered(operation: str, x: Any, indices: Any, values: Any, axis: int) -> Any:
    """Sums of `values` at `indices` along `axis`, in the shape of x."""
    part, indices, axis = _along(operation, x, indices, axis)
    values = shaped(values)
    if values.shape != indices.shape:
        raise ShapeError(
            f"{operation}: values.shape={values.shape}, indices.shape={indices.shape}; accepted are equal shapes. "
            "Broadcast the values."
        )
    added = bind("scatter_sum", values, indices, axis=axis, length=x.shape[axis])
    if part.shape == x.shape:
        return added
    high = tuple(n - m for n, m in zip(x.shape, part.shape, strict=True))
    return bind("pad", added, low=(0,) * x.ndim, high=high, gaps=(0,) * x.ndim, value=0.0)
