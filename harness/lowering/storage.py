"""Lowerings of the recorder's own calls: reading a tensor from its flat storage and writing it back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from ..recorder.geometry import Geometry, positions
from .table import CallSite, lowers


@lowers("storage::read")
def read(call: CallSite, flat: Any, geometry: Geometry) -> Any:
    """The tensor of this geometry, read from the flat storage."""
    index = positions(geometry)
    return ops.reshape(ops.take(flat, index.ravel(), axis=0), index.shape)


@lowers("storage::write")
def write(call: CallSite, flat: Any, x: Any, geometry: Geometry) -> Any:
    """The flat storage after `x` was written over the tensor of this geometry."""
    index = positions(geometry).ravel()
    size = call.shape[0]
    touched = np.zeros(size, dtype=bool)
    touched[index] = True
    moved = ops.scatter_add(np.zeros(size), index, ops.reshape(x, (-1,)), axis=0)
    return ops.where(touched, moved, flat)
