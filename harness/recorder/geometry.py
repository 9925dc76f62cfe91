"""Where the entries of a strided tensor lie in its storage, and whether two tensors share any of it."""

from __future__ import annotations

from typing import Any

import numpy as np

Geometry = tuple[tuple[int, ...], tuple[int, ...], int]


def positions(geometry: Geometry) -> np.ndarray[Any, Any]:
    """The flat storage positions of every entry of a tensor of this shape, stride and offset (in entries)."""
    shape, stride, offset = geometry
    index = np.full(shape, offset, dtype=np.int64)
    for axis, (n, s) in enumerate(zip(shape, stride, strict=True)):
        index += (np.arange(n, dtype=np.int64) * s).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return index


def extent(geometry: Geometry) -> tuple[int, int]:
    """The first position that a tensor uses and the one after its last; equal where it is empty."""
    shape, stride, offset = geometry
    if 0 in shape:
        return offset, offset
    return offset, offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) + 1


def are_apart(a: Geometry, b: Geometry) -> bool:
    """Whether no position belongs to both tensors."""
    (first_a, last_a), (first_b, last_b) = extent(a), extent(b)
    if last_a <= first_b or last_b <= first_a:
        return True
    used = np.zeros(max(last_a, last_b), dtype=bool)
    used[positions(a).ravel()] = True
    return not used[positions(b).ravel()].any()
