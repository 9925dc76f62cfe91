"""Resizing the last axes: adaptive average, nearest and linear interpolation. Constant matrices, one an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import Array
from ..tracing import bind
from .shape import Shape, moveaxis, shaped
from .windows import per_axis


def _along_axes(x: Any, matrices: Sequence[Array]) -> Any:
    """x multiplied by one matrix (out, n) along each of its last axes."""
    d = len(matrices)
    for i, matrix in enumerate(matrices):
        axis = x.ndim - d + i
        x = moveaxis(bind("matmul", moveaxis(x, axis, -1), matrix.T), -1, axis)
    return x


def _sizes(operation: str, x: Any, size: Any) -> Shape:
    d = len(size) if isinstance(size, (tuple, list)) else x.ndim - 2
    lengths = per_axis(operation, "size", size, d, 1)
    if not 1 <= d <= x.ndim or 0 in x.shape[x.ndim - d :]:
        raise ShapeError(
            f"{operation}: x.shape={x.shape}, size={size}; accepted are non-empty last axes, one for each length. "
            "Reshape x."
        )
    return lengths


def adaptive_avg_pool(x: Any, size: Any) -> Any:
    """The mean of the entries ⌊i n / m⌋ … ⌈(i + 1) n / m⌉ - 1 for each of m outputs along each of the last axes.

    x: (…, n₁, …, n_d) -> (…, m₁, …, m_d), size = (m₁, …); a number stands for all axes but the first two.
    """
    x = shaped(x)
    size = _sizes("adaptive_avg_pool", x, size)
    matrices = []
    for n, m in zip(x.shape[x.ndim - len(size) :], size, strict=True):
        i, j = np.arange(m)[:, None], np.arange(n)
        inside = (j >= i * n // m) & (j < -(-(i + 1) * n // m))
        matrices.append(inside / inside.sum(axis=1, keepdims=True))
    return _along_axes(x, matrices)


def upsample_nearest(x: Any, size: Any) -> Any:
    """Entry ⌊i n / m⌋ for each of m outputs along each of the last axes.  Shapes as for adaptive_avg_pool."""
    x = shaped(x)
    size = _sizes("upsample_nearest", x, size)
    for axis, m in enumerate(size, x.ndim - len(size)):
        x = bind("take", x, np.arange(m) * x.shape[axis] // m, axis=axis)
    return x


def upsample_linear(x: Any, size: Any, align_corners: bool = False) -> Any:
    """Linear interpolation along each of the last axes (bilinear for two, trilinear for three).

    Output i of m stands at (i + ½) n / m - ½ of n, at least 0, or at i (n - 1) / (m - 1) with align_corners.
    Shapes as for adaptive_avg_pool.
    """
    x = shaped(x)
    size = _sizes("upsample_linear", x, size)
    matrices = []
    for n, m in zip(x.shape[x.ndim - len(size) :], size, strict=True):
        i = np.arange(m)
        at = i * ((n - 1) / max(1, m - 1)) if align_corners else np.maximum((i + 0.5) * (n / m) - 0.5, 0.0)
        low = np.minimum(at.astype(int), n - 1)
        matrix = np.zeros((m, n))
        np.add.at(matrix, (i, low), 1.0 - (at - low))
        np.add.at(matrix, (i, np.minimum(low + 1, n - 1)), at - low)
        matrices.append(matrix)
    return _along_axes(x, matrices)
