"""Numbers that leave the range of a dtype: infinite above its largest, 0 below its normal numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine.rounding import SMALLEST, UNIT_ROUNDOFF

LARGEST = {
    "float64": float(np.finfo(np.float64).max),
    "float32": float(np.finfo(np.float32).max),
    "bfloat16": (2.0 - 2.0**-7) * 2.0**127,
    "float16": 65504.0,
}


class OutOfRange:
    """An observer that lets numbers leave the range of a dtype as kernels do: beyond its largest they are infinite,
    below its normal numbers 0 (or as they are: `flushes` says whether the kernel flushes them).

    left: the last number that left the range, 0.0 if none did. overflows: whether one was too large.
    """

    def __init__(self, dtype: str, flushes: bool) -> None:
        self.limit = LARGEST[dtype]
        self.normal = SMALLEST[dtype] / (2.0 * UNIT_ROUNDOFF[dtype]) if flushes else 0.0
        self.left = 0.0
        self.overflows = False

    def __call__(self, primitive: Any, equation: Any, arguments: list[Any], result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(self(primitive, equation, arguments, r) for r in result)
        if result.dtype.kind != "f" or not result.size:
            return result
        size = np.abs(result)
        above, below = (size > self.limit) & np.isfinite(size), (size < self.normal) & (size > 0.0)
        if not (above.any() or below.any()):
            return result
        self.left = float(result[above | below].flat[0])
        self.overflows = self.overflows or bool(above.any())
        return np.where(above, np.copysign(np.inf, result), np.where(below, 0.0, result))
