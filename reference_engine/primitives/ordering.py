"""Order as data: which indices sort an array, which of several writes is the last; and sort, topk, scatter."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ParameterError
from ..registry import BOOL, CONSTANT, INT, Array
from ..tracing import bind
from .declare import general
from .indexing import known_indices, scattered
from .shape import axis_of, shaped


def _argsort(x: Array, *, axis: int, descending: bool) -> Array:
    """Stable in both directions, NaN counting as the greatest."""
    if not descending:
        return np.asarray(np.argsort(x, axis=axis, kind="stable"), INT)
    backwards = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.asarray(x.shape[axis] - 1 - np.flip(backwards, axis), INT)


sorting_indices = general(
    "argsort",
    _argsort,
    lambda x, *, axis, descending: (x.shape, INT),
    CONSTANT,
    torch="torch.argsort({0}, dim={axis}, descending={descending}, stable=True)",
    source="an index is piecewise constant",
    ulps=0.0,
)


def _is_last_write(indices: Array, *, axis: int, length: int) -> Array:
    shape = (*indices.shape[:axis], length, *indices.shape[axis + 1 :])
    writer = np.full(shape, -1)
    order = np.arange(indices.shape[axis]).reshape((-1,) + (1,) * (indices.ndim - 1 - axis))
    for k in range(indices.shape[axis]):  # one after the other, since NumPy does not promise which of two writes stays
        np.put_along_axis(writer, indices.take([k], axis), k, axis)
    return np.asarray(np.take_along_axis(writer, indices, axis) == order)


last_write = general(
    "is_last_write",
    lambda indices, *, axis, length: _is_last_write(indices, axis=axis, length=length),
    lambda indices, *, axis, length: (indices.shape, BOOL),
    CONSTANT,
    integers=frozenset({0}),
    source="an index is piecewise constant",
    ulps=0.0,
)


def argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The indices that sort x along `axis`; equal entries stay in order, NaN comes where the greatest does.

    x: any shape with at least one axis -> the same shape, int64. Constant under differentiation.
    """
    x = shaped(x)
    return bind("argsort", x, axis=axis_of("argsort", axis, x.ndim), descending=bool(descending))


def sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """x sorted along `axis`, a gather at argsort.

    x: any shape -> the same. At ties every order of the equal entries is legitimate for the derivative; ours keeps them
    in place. Source: the sorting permutation is piecewise constant.
    """
    x = shaped(x)
    axis = axis_of("sort", axis, x.ndim)
    return bind("gather", x, argsort(x, axis, descending), axis=axis)


def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> Any:
    """The k greatest (or least) entries along `axis`, sorted.  x: (…, n, …) -> (…, k, …). Ties as for sort."""
    x = shaped(x)
    axis = axis_of("topk", axis, x.ndim)
    if not 0 <= k <= x.shape[axis]:
        raise ParameterError(
            f"topk: k={k} along axis {axis} of x.shape={x.shape}; accepted are 0 to {x.shape[axis]}. Lower k."
        )
    first = argsort(x, axis, largest)[(slice(None),) * axis + (slice(k),)]
    return bind("gather", x, first, axis=axis)


def scatter(x: Any, indices: Any, values: Any, axis: int = -1) -> Any:
    """x overwritten by values[…, j, …] at […, indices[…, j, …], …]; of several writes to one entry the last stays.

    Shapes as for scatter_add. What is overwritten, in x or by a later write, has derivative 0 (a strong zero).
    """
    x, values = shaped(x), shaped(values)
    axis = axis_of("scatter", axis, x.ndim)
    indices = known_indices("scatter", indices, x.shape[axis])
    stays = bind("is_last_write", indices, axis=axis, length=x.shape[axis])
    written = bind("greater", scattered("scatter", x, indices, np.ones(indices.shape), axis), 0.0)
    return bind("where", written, scattered("scatter", x, indices, bind("where", stays, values, 0.0), axis), x)
