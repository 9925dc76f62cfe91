"""Lowerings of pooling.

Which entry of a window was the greatest is PyTorch's decision, held against the window it must come from.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference_engine import ops
from .indexing import put_at
from .table import CallSite, lowers

# (entries of a window, windows): positions in the plane counted in C order, -1 for padding
Table = np.ndarray[Any, Any]


def lengths(numbers: Any, d: int, default: Any = None) -> tuple[int, ...]:
    """One number an axis; an empty list stands for `default`."""
    numbers = tuple(numbers) if isinstance(numbers, (list, tuple)) else (numbers,)
    if not numbers:
        return tuple(default)
    return numbers * d if len(numbers) == 1 else numbers


def joined(size: tuple[int, ...], axes: list[Table]) -> Table:
    """The windows of several axes as windows of the plane; an entry outside on one axis is outside."""
    table = np.zeros((1, 1), dtype=np.int64)
    for n, along in zip(size, axes, strict=True):
        both = table[:, None, :, None] * n + along[None, :, None, :]
        outside = (table < 0)[:, None, :, None] | (along < 0)[None, :, None, :]
        table = np.where(outside, -1, both).reshape(table.shape[0] * along.shape[0], -1)
    return table


def sliding(n: int, out: int, k: int, stride: int, padding: int, dilation: int) -> Table:
    """Windows of k entries, `dilation` apart, that start at -padding, stride - padding, …; (k, out)."""
    at = np.arange(k)[:, None] * dilation + np.arange(out) * stride - padding
    return np.where((at >= 0) & (at < n), at, -1)


def adaptive(n: int, out: int) -> Table:
    """Entries ⌊i n / out⌋ … ⌈(i + 1) n / out⌉ - 1 for output i; (longest window, out)."""
    i = np.arange(out)
    first, last = i * n // out, -(-(i + 1) * n // out)
    at = first + np.arange(int((last - first).max(initial=0)))[:, None]
    return np.where(at < last, at, -1)


def picked(call: CallSite, x: Any, table: Table, d: int) -> Any:
    """The recorded entry of each window if it is a greatest entry of it; otherwise our own maximum, so that the
    values differ.

    x: (…, *plane), table: windows of the plane -> call.shape.
    """
    y, index = call.outputs[0], np.asarray(call.outputs[1])
    lead = x.shape[: x.ndim - d]
    plane, windows = math.prod(x.shape[x.ndim - d :]), table.shape[1]
    numbers = np.concatenate([call.number_of(x).reshape(*lead, plane), np.full((*lead, 1), -np.inf)], axis=-1)
    index, y = index.reshape(*lead, windows), np.reshape(y, (*lead, windows))
    held = numbers[..., table]
    among = (index[..., None, :] == table).any(axis=-2)
    greatest = (y == held.max(axis=-2)) | np.isnan(y)
    rows = ops.reshape(x, (*lead, plane))
    if (among & greatest).all():
        return ops.reshape(ops.take_along_axis(rows, index, axis=-1), call.shape)
    rows = ops.concat([rows, np.full((*lead, 1), -np.inf)], axis=-1)
    return ops.reshape(ops.max(ops.take(rows, table, axis=-1), axis=-2), call.shape)


def _max_pool(call: CallSite, x: Any, d: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    k = lengths(kernel_size, d)
    s, p, e = lengths(stride, d, k), lengths(padding, d), lengths(dilation, d)
    size, out = x.shape[x.ndim - d :], call.shape[len(call.shape) - d :]
    table = joined(size, [sliding(*axis) for axis in zip(size, out, k, s, p, e, strict=True)])
    return picked(call, x, table, d), None


@lowers("aten::max_pool2d_with_indices")
def max_pool2d(
    call: CallSite,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """The greatest entry of each window of the last two axes; padding never wins."""
    return _max_pool(call, x, 2, kernel_size, stride, padding, dilation)


@lowers("aten::max_pool3d_with_indices")
def max_pool3d(
    call: CallSite,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """The greatest entry of each window of the last three axes; padding never wins."""
    return _max_pool(call, x, 3, kernel_size, stride, padding, dilation)


def _adaptive_max(call: CallSite, x: Any, d: int) -> Any:
    size, out = x.shape[x.ndim - d :], call.shape[len(call.shape) - d :]
    return picked(call, x, joined(size, [adaptive(n, m) for n, m in zip(size, out, strict=True)]), d), None


@lowers("aten::adaptive_max_pool2d")
def adaptive_max_pool2d(call: CallSite, x: Any, output_size: Any) -> Any:
    """The greatest entry of each of the given number of windows over the last two axes."""
    return _adaptive_max(call, x, 2)


@lowers("aten::adaptive_max_pool3d")
def adaptive_max_pool3d(call: CallSite, x: Any, output_size: Any) -> Any:
    """The greatest entry of each of the given number of windows over the last three axes."""
    return _adaptive_max(call, x, 3)


def _at(call: CallSite, x: Any, d: int) -> Any:
    """x at the recorded entries of its plane."""
    lead = x.shape[: x.ndim - d]
    rows = ops.reshape(x, (*lead, math.prod(x.shape[x.ndim - d :])))
    index = np.reshape(call.outputs[1], (*lead, math.prod(call.shape[len(lead) :])))
    return ops.reshape(ops.take_along_axis(rows, index, axis=-1), call.shape), None


@lowers("aten::fractional_max_pool2d")
def fractional_max_pool2d(call: CallSite, x: Any, *_: Any) -> Any:
    """The greatest entries of windows that PyTorch drew; which entries is taken from its run."""
    return _at(call, x, 2)


@lowers("aten::fractional_max_pool3d")
def fractional_max_pool3d(call: CallSite, x: Any, *_: Any) -> Any:
    """The greatest entries of windows that PyTorch drew; which entries is taken from its run."""
    return _at(call, x, 3)


def _in_planes(indices: Any, planes: int, size: int) -> Any:
    """Indices into each of `planes` planes as indices into all of them."""
    return np.reshape(indices, (planes, np.size(indices) // max(1, planes))) + np.arange(planes)[:, None] * size


def _unpool(call: CallSite, x: Any, indices: Any, d: int) -> Any:
    size = math.prod(call.shape[len(call.shape) - d :])
    planes = math.prod(call.shape[: len(call.shape) - d])
    at = _in_planes(indices, planes, size)
    zeros = ops.broadcast_to(np.float64(0.0), (planes * size,))
    numbers = call.number_of(x).reshape(at.shape)
    return ops.reshape(put_at(call, zeros, at, ops.reshape(x, at.shape), False, numbers), call.shape)


@lowers("aten::max_unpool2d")
def max_unpool2d(call: CallSite, x: Any, indices: Any, output_size: Any) -> Any:
    """Zeros with the entries of x put at `indices` of their planes."""
    return _unpool(call, x, indices, 2)


@lowers("aten::max_unpool3d")
def max_unpool3d(call: CallSite, x: Any, indices: Any, output_size: Any, stride: Any, padding: Any) -> Any:
    """Zeros with the entries of x put at `indices` of their planes."""
    return _unpool(call, x, indices, 3)


def _pooled_back(call: CallSite, g: Any, indices: Any, d: int) -> Any:
    size = math.prod(call.shape[len(call.shape) - d :])
    planes = math.prod(call.shape[: len(call.shape) - d])
    at = _in_planes(indices, planes, size)
    total = ops.index_add(np.zeros(planes * size), at.ravel(), ops.reshape(g, (at.size,)), axis=0)
    return ops.reshape(total, call.shape)


@lowers("aten::max_pool2d_with_indices_backward")
def max_pool2d_backward(
    call: CallSite,
    grad_output: Any,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    indices: Any,
) -> Any:
    """Sums of the entries of grad_output at `indices`: linear in grad_output, constant in x."""
    return _pooled_back(call, grad_output, indices, 2)


@lowers("aten::max_pool3d_with_indices_backward")
def max_pool3d_backward(
    call: CallSite,
    grad_output: Any,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    indices: Any,
) -> Any:
    """Sums of the entries of grad_output at `indices`: linear in grad_output, constant in x."""
    return _pooled_back(call, grad_output, indices, 3)


def _avg_pool(
    x: Any, d: int, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, include: bool, divisor: Any
) -> Any:
    k = lengths(kernel_size, d)
    geometry = (k, lengths(stride, d, k), lengths(padding, d), ceil_mode, include)
    if divisor is not None and divisor < 0:
        return ops.divide(ops.avg_pool(x, *geometry, 1), float(divisor))
    return ops.avg_pool(x, *geometry, divisor)


@lowers("aten::avg_pool2d")
def avg_pool2d(
    call: CallSite,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Any:
    """The mean of each window of the last two axes, or its sum over `divisor_override`."""
    return _avg_pool(x, 2, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@lowers("aten::avg_pool3d")
def avg_pool3d(
    call: CallSite,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Any:
    """The mean of each window of the last three axes, or its sum over `divisor_override`."""
    return _avg_pool(x, 3, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@lowers("aten::_adaptive_avg_pool2d")
def adaptive_avg_pool2d(call: CallSite, x: Any, output_size: Any) -> Any:
    """The mean of each of the given number of windows over the last two axes."""
    return ops.adaptive_avg_pool(x, call.shape[-2:])


@lowers("aten::_adaptive_avg_pool3d")
def adaptive_avg_pool3d(call: CallSite, x: Any, output_size: Any) -> Any:
    """The mean of each of the given number of windows over the last three axes."""
    return ops.adaptive_avg_pool(x, call.shape[-3:])
