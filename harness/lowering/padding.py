"""Lowerings of padding: by a constant, by reflection, by repeating the edge.

Widths come last axis first, as PyTorch gives them.
"""

from __future__ import annotations

from typing import Any

from ...reference_engine import ops
from .table import CallSite, lowers


def widths(pad: Any, ndim: int) -> list[tuple[int, int]]:
    """PyTorch's flat list (last axis first) as one pair (before, after) an axis."""
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (ndim - len(pairs)) + pairs[::-1]


@lowers("aten::constant_pad_nd")
def constant_pad(call: CallSite, x: Any, pad: Any, value: Any = 0) -> Any:
    """A constant around x; negative widths cut."""
    return ops.pad(x, widths(pad, x.ndim), float(value))


@lowers("aten::reflection_pad1d", "aten::reflection_pad2d", "aten::reflection_pad3d")
def reflection_pad(call: CallSite, x: Any, padding: Any) -> Any:
    """x mirrored at its edges, which are not repeated."""
    return ops.pad(x, widths(padding, x.ndim), mode="reflect")


@lowers("aten::replication_pad1d", "aten::replication_pad2d", "aten::replication_pad3d")
def replication_pad(call: CallSite, x: Any, padding: Any) -> Any:
    """x with its edge entries repeated."""
    return ops.pad(x, widths(padding, x.ndim), mode="replicate")
