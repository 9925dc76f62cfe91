"""Lowerings of flat storage that holds complex numbers, also where it is seen as real ones (`view_as_real`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from ..recorder.geometry import Geometry, positions
from .complex_numbers import Pair, conjugate, lowers_complex
from .table import CallSite


def interleaved(flat: Any) -> Any:
    """A flat storage as its real numbers in the order of memory."""
    if isinstance(flat, Pair):
        return ops.reshape(ops.stack([flat.x, flat.y], axis=-1), (-1,))
    return flat


@lowers_complex("storage::read")
def read(call: CallSite, flat: Any, geometry: Geometry, conjugated: bool = False, negated: bool = False) -> Any:
    """The tensor of this geometry, read from a flat storage of complex or of real numbers."""
    index = positions(geometry)
    numbers = interleaved(flat)
    if call.dtype.startswith("complex"):
        place = 2 * index.ravel()
        z = Pair(*[ops.reshape(ops.take(numbers, place + k, axis=0), index.shape) for k in (0, 1)])
        return conjugate(z) if conjugated else z
    x = ops.reshape(ops.take(numbers, index.ravel(), axis=0), index.shape)
    return ops.negative(x) if negated else x


@lowers_complex("storage::write")
def write(
    call: CallSite, flat: Any, x: Any, geometry: Geometry, conjugated: bool = False, negated: bool = False
) -> Any:
    """The flat storage after `x` was written over the tensor of this geometry, in the dtype of what was written."""
    place = positions(geometry).ravel()
    if isinstance(x, Pair):
        x = conjugate(x) if conjugated else x
        place, parts = np.concatenate([2 * place, 2 * place + 1]), [ops.reshape(p, (-1,)) for p in (x.x, x.y)]
        values = ops.concat(parts, axis=0)
    else:
        values = ops.reshape(ops.negative(x) if negated else x, (-1,))
    numbers = interleaved(flat)
    size = numbers.shape[0]
    touched = np.zeros(size, dtype=bool)
    touched[place] = True
    moved = ops.scatter_add(np.zeros(size), place, values, axis=0)
    result = ops.where(touched, moved, numbers)
    if not call.dtype.startswith("complex"):
        return result
    both = ops.reshape(result, (-1, 2))
    return Pair(both[:, 0], both[:, 1])
