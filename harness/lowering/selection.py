"""Lowerings of operations that select: where, maximum, minimum and clamping."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .table import CallSite, lower_many, lowers

lower_many(
    {
        "fmax": ops.fmax,
        "fmin": ops.fmin,
        "max.other": ops.maximum,
        "maximum": ops.maximum,
        "min.other": ops.minimum,
        "minimum": ops.minimum,
    }
)


@lowers("aten::where")
def where(call: CallSite, condition: Any, a: Any, b: Any) -> Any:
    """a where the recorded condition holds, b elsewhere."""
    return ops.where(np.asarray(condition) != 0, a, b)


@lowers("aten::clamp", "aten::clip")
def clamp(call: CallSite, x: Any, low: Any = None, high: Any = None) -> Any:
    """min(max(x, low), high); None leaves a side open.

    Where low = high the result does not move with x, and where low > high it is high.
    """
    return ops.clip(x, _bound(low), _bound(high))


@lowers("aten::clamp_min")
def clamp_min(call: CallSite, x: Any, low: Any) -> Any:
    """max(x, low)."""
    return ops.maximum(x, _bound(low))


@lowers("aten::clamp_max")
def clamp_max(call: CallSite, x: Any, high: Any) -> Any:
    """min(x, high)."""
    return ops.minimum(x, _bound(high))


@lowers("aten::hardtanh")
def hardtanh(call: CallSite, x: Any, min_val: Any = -1, max_val: Any = 1) -> Any:
    """x clamped to [min_val, max_val]."""
    return ops.clip(x, float(min_val), float(max_val))


def _bound(bound: Any) -> Any:
    """A bound as a float, a traced value, an array, or None."""
    return float(bound) if isinstance(bound, (int, float)) else bound
