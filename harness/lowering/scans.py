"""Lowerings of scans: running sums, products, log-sums and extremes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...reference_engine import ops
from .table import CallSite, lowers


def _along(scan: Callable[..., Any], x: Any, dim: int) -> Any:
    """A scan of one entry is that entry."""
    return scan(x, axis=dim) if x.ndim else x


@lowers("aten::cumsum")
def cumsum(call: CallSite, x: Any, dim: int, *, dtype: Any = None) -> Any:
    """y_i = Σ_{j≤i} x_j along `dim`."""
    return _along(ops.cumsum, x, dim)


@lowers("aten::cumprod")
def cumprod(call: CallSite, x: Any, dim: int, *, dtype: Any = None) -> Any:
    """y_i = Π_{j≤i} x_j along `dim`."""
    return _along(ops.cumprod, x, dim)


@lowers("aten::logcumsumexp")
def logcumsumexp(call: CallSite, x: Any, dim: int) -> Any:
    """y_i = log Σ_{j≤i} exp x_j along `dim`."""
    return _along(ops.logcumsumexp, x, dim)


@lowers("aten::cummax", "aten::cummin")
def running_extreme(call: CallSite, x: Any, dim: int) -> Any:
    """The largest (smallest) entry so far, as the entry whose index PyTorch returned: at a tie every tied one is
    legitimate.
    """
    return ops.take_along_axis(x, call.outputs[1], axis=dim) if x.ndim else x
