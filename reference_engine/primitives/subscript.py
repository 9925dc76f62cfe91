"""x[index] in all of NumPy's forms, masks, and writes x[index] = values: wrappers over slice, take and take_flat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, ParameterError, ShapeError
from ..registry import BOOL, INT
from ..tracing import Tracer, bind
from .indexing import known_indices
from .layout import slice_length
from .ordering import scatter
from .shape import shaped


def _known(operation: str, index: Any) -> Any:
    """The numbers of an index or mask; DtypeError where a traced one has none."""
    if type(index) is not Tracer:
        return np.asarray(index)
    value = index.value
    while type(value) is Tracer:
        value = value.value
    if value is None:
        raise DtypeError(
            f"{operation}: an index of shape {index.shape} has no numbers while a program is built from shapes alone; "
            "accepted are "
            "indices that are known. Use ops.take or ops.where, or trace with grad, which knows the numbers."
        )
    return np.asarray(value)


def _is_array(index: Any) -> bool:
    return isinstance(index, (list, np.ndarray, Tracer, bool, np.bool_))


def getitem(x: Any, index: Any) -> Any:
    """x[index] with NumPy's meaning: integers, slices (steps of either sign), None, …, integer and Boolean arrays.

    Masks must be known when tracing, since the shape of the result depends on them. Shapes as in NumPy. Raises
    ParameterError for an index that does not exist or is of another kind.
    """
    x = shaped(x)
    parts = list(index) if isinstance(index, tuple) else [index]
    for part in parts:
        if not (part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) or _is_array(part)):
            raise ParameterError(
                f"getitem: found an index of type {type(part).__name__}; accepted are integers, slices, None, ... and "
                "integer or Boolean arrays. "
                "Convert it."
            )
    arrays = [i for i, part in enumerate(parts) if _is_array(part)]
    if not arrays:
        return _basic(x, parts)
    whole = all(i in arrays or part is Ellipsis or part == slice(None) for i, part in enumerate(parts))
    if len(arrays) == 1 and whole and not isinstance(parts[arrays[0]], (bool, np.bool_)):
        at = arrays[0]
        one = parts[at] if type(parts[at]) is Tracer else np.asarray(parts[at])
        if one.dtype != BOOL:
            after = any(part is Ellipsis for part in parts[:at])
            axis = x.ndim - (len(parts) - at) if after else at
            if 0 <= axis < x.ndim:
                return bind("take", x, known_indices("getitem", one, x.shape[axis]), axis=axis)
    return bind("take_flat", x, _flat_places("getitem", x.shape, parts))


def _flat_places(operation: str, shape: tuple[int, ...], parts: Sequence[Any]) -> Any:
    """The places, counted in C order, that an index picks from an array of `shape`: NumPy picks them from the count."""
    index = tuple(_known(operation, part) if _is_array(part) else part for part in parts)
    index = tuple(
        part.astype(INT) if isinstance(part, np.ndarray) and part.size == 0 and part.dtype != BOOL else part
        for part in index
    )
    try:
        return np.arange(math.prod(shape)).reshape(shape)[index]
    except IndexError as error:
        raise ParameterError(
            f"{operation}: x.shape={shape} cannot be indexed as asked ({error}); accepted is what NumPy accepts. "
            "Check the index."
        ) from None


def _basic(x: Any, parts: list[Any]) -> Any:
    """Integers, slices, None and … : one slice, perhaps a flip, and a reshape."""
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > x.ndim or sum(part is Ellipsis for part in parts) > 1:
        raise ParameterError(
            f"getitem: {used} indices for x.shape={x.shape}; accepted are at most {x.ndim} and one ... among them. "
            "Drop some, or add axes."
        )
    if not any(part is Ellipsis for part in parts):
        parts = [*parts, Ellipsis]
    at = next(i for i, part in enumerate(parts) if part is Ellipsis)
    parts = [*parts[:at], *[slice(None)] * (x.ndim - used), *parts[at + 1 :]]
    start: list[int] = []
    stop: list[int] = []
    step: list[int] = []
    shape: list[int] = []
    backwards: list[int] = []
    for part in parts:
        if part is None:
            shape.append(1)
            continue
        axis = len(start)
        n = x.shape[axis]
        if isinstance(part, slice):
            a, b, s = part.indices(n)
            length = len(range(a, b, s))
            if s < 0:
                backwards.append(axis)
                a, s = a + s * (length - 1), -s
            a, b = (a, a + s * (length - 1) + 1) if length else (0, 0)
            shape.append(length)
        else:
            if not -n <= part < n:
                raise ParameterError(
                    f"getitem: index {part} for axis {axis} of x.shape={x.shape}; accepted are {-n} to {n - 1}. Check "
                    "the index."
                )
            a, b, s = int(part) % n, int(part) % n + 1, 1
        start.append(a)
        stop.append(b)
        step.append(s)
    y = x
    lengths = tuple(slice_length(a, b, s) for a, b, s in zip(start, stop, step, strict=True))
    if lengths != x.shape:
        y = bind("slice", x, start=tuple(start), stop=tuple(stop), step=tuple(step))
    if backwards:
        y = bind("flip", y, axes=tuple(backwards))
    return y if tuple(shape) == y.shape else bind("reshape", y, shape=tuple(shape))


def masked_select(x: Any, mask: Any) -> Any:
    """The entries of x where the mask is true, in C order.

    x and mask broadcast against each other; the mask must be known when tracing -> (count,).
    """
    x, known = shaped(x), _known("masked_select", mask)
    if known.dtype != BOOL:
        raise DtypeError(
            f"masked_select: mask has dtype {known.dtype}; accepted is bool. Compare it first, for example mask > 0."
        )
    try:
        shape = np.broadcast_shapes(x.shape, known.shape)
    except ValueError:
        raise ShapeError(
            f"masked_select: x.shape={x.shape}, mask.shape={known.shape}; accepted are shapes that broadcast. Reshape "
            "the mask."
        ) from None
    if shape != x.shape:
        x = bind("broadcast_to", x, shape=shape)
    return bind("take_flat", x, np.flatnonzero(np.broadcast_to(known, shape)))


def put(x: Any, index: Any, values: Any) -> Any:
    """x after x[index] = values, as a new array; of several writes to one entry the last stays.

    index: as for getitem, known when tracing. values broadcast to the shape of x[index] -> x.shape.
    """
    x, values = shaped(x), shaped(values)
    places = _flat_places("put", x.shape, list(index) if isinstance(index, tuple) else [index])
    try:
        np.broadcast_to(np.empty(values.shape), places.shape)
    except ValueError:
        raise ShapeError(
            f"put: values.shape={values.shape} for x[index] of shape {places.shape}; accepted are shapes that "
            "broadcast to it. "
            "Reshape the values."
        ) from None
    if values.shape != places.shape:
        values = bind("broadcast_to", values, shape=places.shape)
    flat = scatter(
        bind("reshape", x, shape=(x.size,)), places.ravel(), bind("reshape", values, shape=(places.size,)), 0
    )
    return bind("reshape", flat, shape=x.shape)
