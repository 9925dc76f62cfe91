"""Working memory that kernels use again: fresh memory costs a page fault for every 4 KiB, more than a pass over it."""

from __future__ import annotations

import math
import threading

import numpy as np

from ..registry import Array

KEPT_BYTES = 2**23  # a larger array is made anew, so that one big problem does not hold its memory for ever


class _Kept(threading.local):
    """The arrays of one thread, by purpose."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}


_kept = _Kept()


def scratch(purpose: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An uninitialised array for the time of one kernel; the next call with the same purpose gives the same memory.

    Nothing that leaves the kernel may be a view of it.
    """
    size = math.prod(shape) * dtype.itemsize
    if size > KEPT_BYTES:
        return np.empty(shape, dtype)
    held = _kept.arrays.get(purpose)
    if held is None or held.size < size:
        held = _kept.arrays[purpose] = np.empty(size, np.uint8)
    result: Array = held[:size].view(dtype).reshape(shape)
    return result
