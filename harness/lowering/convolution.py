"""Lowerings of convolution, transposed convolution, and windows as columns (unfold and fold)."""

from __future__ import annotations

import math
from typing import Any

from ...reference_engine import ops
from ...reference_engine.tracing import bind
from .table import CallSite, NotCovered, lowers


@lowers("aten::convolution", "aten::convolution_overrideable", "aten::_convolution")
def convolution(
    call: CallSite,
    x: Any,
    w: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *_: Any,
) -> Any:
    """Cross-correlation with zeros outside x, or its transpose; the bias is added to every entry of a channel."""
    geometry = (tuple(stride), tuple(padding))
    if transposed:
        y = ops.conv_transpose(x, w, None, *geometry, tuple(output_padding), tuple(dilation), groups)
    else:
        y = ops.conv(x, w, None, *geometry, tuple(dilation), groups)
    if bias is None:
        return y
    if y.ndim == w.ndim:
        return bind("add_bias", y, bias)
    return ops.add(y, ops.reshape(bias, (-1, *(1,) * (w.ndim - 2))))


@lowers("aten::convolution_backward")
def convolution_backward(
    call: CallSite,
    g: Any,
    x: Any,
    w: Any,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: Any,
) -> Any:
    """(x̄, w̄, b̄) of a convolution, each where `output_mask` asks for it: maps that are linear in g and in the other
    operand.
    """
    if transposed:
        raise NotCovered("gradient of a transposed convolution as an operation of its own")
    geometry = {"stride": tuple(stride), "padding": tuple(padding), "dilation": tuple(dilation), "groups": groups}
    for_x = bind("conv_input", g, w, size=tuple(x.shape[2:]), **geometry) if output_mask[0] else None
    for_w = bind("conv_weight", x, g, size=tuple(w.shape[2:]), **geometry) if output_mask[1] else None
    for_b = bind("sum_in_one_chain", g, axes=(0, *range(2, g.ndim))) if output_mask[2] else None
    return for_x, for_w, for_b


def two(numbers: Any) -> tuple[int, int]:
    """One number for both of the last axes, or one for each."""
    numbers = tuple(numbers) if isinstance(numbers, (list, tuple)) else (numbers,)
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


@lowers("aten::im2col")
def im2col(call: CallSite, x: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """Windows as columns.  x: (…, c, h, w) -> (…, c k₁ k₂, windows)."""
    p, q = two(padding)
    x = ops.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p), (q, q)])
    windows = ops.windows(x, two(kernel_size), two(stride), two(dilation))
    d = windows.ndim
    batch = tuple(range(2, d - 3))
    return ops.reshape(ops.transpose(windows, (*batch, d - 3, 0, 1, d - 2, d - 1)), call.shape)


@lowers("aten::col2im")
def col2im(call: CallSite, x: Any, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """The sum of overlapping windows, the transpose of im2col.  x: (…, c k₁ k₂, windows) -> (…, c, h, w)."""
    (h, w), (k, m), (p, q) = two(output_size), two(kernel_size), two(padding)
    (s, t), (e, f) = two(stride), two(dilation)
    out = ((h + 2 * p - e * (k - 1) - 1) // s + 1, (w + 2 * q - f * (m - 1) - 1) // t + 1)
    *batch, columns, _ = x.shape
    y = ops.reshape(x, (math.prod(batch), columns // (k * m), k, m, *out))
    y = ops.fold(ops.transpose(y, (2, 3, 0, 1, 4, 5)), (h + 2 * p, w + 2 * q), (k, m), (s, t), (e, f))
    return ops.reshape(ops.pad(y, [(0, 0), (0, 0), (-p, -p), (-q, -q)]), call.shape)
