"""Lowerings of norms and distances, which have a kink at the zero vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference_engine import ops
from .core import axes
from .table import CallSite, lowers


def _norm(x: Any, p: float, axis: Any = None, keepdims: bool = False) -> Any:
    """‖x‖_p. The largest of rounded numbers is taken among these: the recorded result stands for a copy of it, which is
    equal to none of the differences, or moduli, that the program computes exactly.
    """
    y = ops.norm(x, p, axis=axis, keepdims=keepdims)
    return ops.add(y, 0.0) if math.isinf(p) and hasattr(y, "builder") else y


@lowers("aten::linalg_vector_norm")
def vector_norm(
    call: CallSite, x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:  # noqa: A002 - the schema's name
    """(Σ |x|^ord)^{1/ord} along `dim` (None or empty: all axes)."""
    return _norm(x, float(ord), axis=axes(dim, x), keepdims=keepdim)


@lowers("aten::norm.Scalar", "aten::norm.ScalarOpt_dtype")
def norm_all(call: CallSite, x: Any, p: Any = 2, *, dtype: Any = None) -> Any:
    """(Σ |x|^p)^{1/p} over all axes."""
    return _norm(x, 2.0 if p is None else float(p))


@lowers("aten::norm.ScalarOpt_dim", "aten::norm.ScalarOpt_dim_dtype")
def norm_dim(call: CallSite, x: Any, p: Any, dim: Any, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """(Σ |x|^p)^{1/p} along `dim`."""
    return _norm(x, 2.0 if p is None else float(p), axis=axes(dim, x), keepdims=keepdim)


@lowers("aten::dist")
def dist(call: CallSite, a: Any, b: Any, p: Any = 2) -> Any:
    """‖a - b‖_p over all entries."""
    return _norm(a - b, float(p))


def _pairs(a: Any, b: Any) -> Any:
    """a_i - b_j for all pairs.  a: (…, n, k), b: (…, m, k) -> (…, n, m, k)."""
    return ops.expand_dims(a, -2) - ops.expand_dims(b, -3)


@lowers("aten::_cdist_forward")
def cdist(call: CallSite, a: Any, b: Any, p: float, compute_mode: Any = None) -> Any:
    """‖a_i - b_j‖_p for all pairs.  a: (…, n, k), b: (…, m, k) -> (…, n, m)."""
    return _norm(_pairs(a, b), float(p), axis=-1)


@lowers("aten::_euclidean_dist")
def euclidean_dist(call: CallSite, a: Any, b: Any) -> Any:
    """√(|a_i|² + |b_j|² - 2 a_i·b_j), the distance by way of a matrix product: its cancellation belongs to the
    operation.
    """
    rows = ops.sum(ops.square(a), axis=-1, keepdims=True)
    columns = ops.swap_last(ops.sum(ops.square(b), axis=-1, keepdims=True))
    squared = ops.maximum(rows + columns - 2.0 * ops.matmul(a, ops.swap_last(b)), 0.0)
    return _norm(ops.expand_dims(ops.sqrt(squared), -1), 2.0, axis=-1)


@lowers("aten::_pdist_forward")
def pdist(call: CallSite, x: Any, p: float = 2.0) -> Any:
    """‖x_i - x_j‖_p for i < j, row by row.  x: (n, k) -> (n (n - 1)/2,)."""
    first, second = np.triu_indices(x.shape[0], 1)
    return _norm(ops.take(x, first, axis=0) - ops.take(x, second, axis=0), float(p), axis=-1)


@lowers("aten::renorm")
def renorm(call: CallSite, x: Any, p: Any, dim: int, maxnorm: Any) -> Any:
    """Slices along `dim` whose p-norm exceeds `maxnorm` are scaled down to it: x · maxnorm / (‖x‖ + 1e-7).

    The 1e-7 is part of what PyTorch computes in every precision. On the sphere itself both one-sided derivatives are
    legitimate; the slice stays as it is there. With maxnorm = 0 the result is 0 for every input.
    """
    others = tuple(i for i in range(x.ndim) if i != dim % x.ndim)
    length = _norm(x, float(p), axis=others, keepdims=True)
    above = ops.greater(length, float(maxnorm)) if maxnorm > 0 else ops.greater_equal(length, 0.0)
    return ops.where(above, x * (float(maxnorm) / (ops.where(above, length, 1.0) + 1e-7)), x)
