"""Lowerings of reductions: products, extremes, order statistics, moments.

Which entry an order statistic picked is a decision and is read from the recorded indices; at a tie every tied entry is legitimate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.primitives.choice import tie_weights
from .core import axes
from .table import CallSite, lowers


def one_dimensional(x: Any) -> Any:
    """A scalar as one axis of length 1, anything else as it is: PyTorch lets a 0-d tensor be reduced along axis 0."""
    return ops.reshape(x, (1,)) if x.ndim == 0 else x


def picked(call: CallSite, x: Any, dim: int, keepdim: bool) -> Any:
    """x at the recorded indices (the second output) along `dim`."""
    if x.ndim == 0:
        return x
    indices = call.outputs[1]
    if not keepdim and indices.ndim < x.ndim:
        indices = np.expand_dims(indices, dim)
    return ops.reshape(ops.take_along_axis(x, indices, axis=dim), call.shape)


@lowers("aten::prod.default")
def prod_all(call: CallSite, x: Any, *, dtype: Any = None) -> Any:
    """Π x over all axes."""
    return ops.prod(x)


@lowers("aten::prod.dim_int")
def prod_dim(call: CallSite, x: Any, dim: int, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Π x along `dim`."""
    return ops.prod(x, axis=dim, keepdims=keepdim) if x.ndim else x


@lowers("aten::nansum")
def nansum(call: CallSite, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Σ x along `dim`, NaN counting as 0."""
    known = ops.where(ops.isnan(x), 0.0, x)
    return ops.sum(known, axis=axes(dim), keepdims=keepdim) if x.ndim else known


@lowers("aten::amax")
def amax(call: CallSite, x: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The largest entry along `dim`; at a tie the gradient is any convex combination over the tied entries."""
    return ops.max(x, axis=axes(dim), keepdims=keepdim) if x.ndim else x


@lowers("aten::amin")
def amin(call: CallSite, x: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The smallest entry along `dim`; ties as for amax."""
    return ops.min(x, axis=axes(dim), keepdims=keepdim) if x.ndim else x


@lowers("aten::max.default")
def max_all(call: CallSite, x: Any) -> Any:
    """The largest entry; ties as for amax."""
    return ops.max(x)


@lowers("aten::min.default")
def min_all(call: CallSite, x: Any) -> Any:
    """The smallest entry; ties as for amax."""
    return ops.min(x)


@lowers("aten::aminmax")
def aminmax(call: CallSite, x: Any, *, dim: Any = None, keepdim: bool = False) -> Any:
    """(smallest, largest) along `dim`; ties as for amax."""
    if x.ndim == 0:
        return x, x
    return ops.min(x, axis=dim, keepdims=keepdim), ops.max(x, axis=dim, keepdims=keepdim)


@lowers("aten::max.dim", "aten::min.dim", "aten::median.dim", "aten::nanmedian.dim")
def at_index(call: CallSite, x: Any, dim: int, keepdim: bool = False) -> Any:
    """The entry along `dim` whose index PyTorch returned."""
    return picked(call, x, dim, keepdim)


@lowers("aten::mode")
def mode(call: CallSite, x: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along `dim`, as the entry whose index PyTorch returned."""
    return picked(call, x, dim, keepdim)


@lowers("aten::kthvalue")
def kthvalue(call: CallSite, x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest entry along `dim`, as the entry whose index PyTorch returned."""
    return picked(call, x, dim, keepdim)


@lowers("aten::topk")
def topk(call: CallSite, x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:  # noqa: A002 - the schema's name
    """The k greatest (or least) entries along `dim`, at the indices that PyTorch returned."""
    return picked(call, x, dim, True)


@lowers("aten::sort.default")
def sort(call: CallSite, x: Any, dim: int = -1, descending: bool = False) -> Any:
    """x in order along `dim`, by the permutation that PyTorch returned."""
    return picked(call, x, dim, True)


@lowers("aten::sort.stable")
def sort_stable(call: CallSite, x: Any, *, stable: Any = None, dim: int = -1, descending: bool = False) -> Any:
    """x in order along `dim`, by the permutation that PyTorch returned."""
    return picked(call, x, dim, True)


@lowers("aten::median.default", "aten::nanmedian.default")
def median_all(call: CallSite, x: Any) -> Any:
    """The lower median of all entries, NaN if one is (nanmedian: of the entries that are not NaN).

    Legitimate at a tie: every convex combination over the entries equal to the median (each of them is the median of some neighbour).
    """
    flat = ops.reshape(x, (-1,))
    if flat.size == 0:
        return ops.reshape(ops.sum(ops.concat([flat, np.full(1, np.nan)])), ())
    missing = ops.to_float(ops.isnan(flat))
    count = float(flat.size) - ops.sum(missing)
    place = ops.maximum(ops.floor((count - 1.0) / 2.0), 0.0)
    middle = ops.sum(ops.where(ops.equal(np.arange(float(flat.size)), place), ops.sort(flat), 0.0))
    if "nanmedian" not in call.name:
        middle = ops.where(ops.greater(ops.sum(missing), 0.0), np.nan, middle)
    tied = ops.logical_or(ops.equal(flat, middle), ops.logical_and(ops.isnan(flat), ops.isnan(middle)))
    return ops.sum(ops.where(tied, flat * tie_weights(tied, (0,)), 0.0))


def _correction(correction: Any) -> float:
    return 1.0 if correction is None else float(correction)


@lowers("aten::var.correction")
def var(call: CallSite, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """Σ (x - mean)² / (n - correction) along `dim`; correction 1 unless given."""
    return ops.var(x, axis=axes(dim), correction=_correction(correction), keepdims=keepdim)


@lowers("aten::std.correction")
def std(call: CallSite, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """√var along `dim`."""
    return ops.std(x, axis=axes(dim), correction=_correction(correction), keepdims=keepdim)


@lowers("aten::var_mean.correction")
def var_mean(call: CallSite, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """(var, mean) along `dim`."""
    return var(call, x, dim, correction=correction, keepdim=keepdim), ops.mean(x, axis=axes(dim), keepdims=keepdim)


@lowers("aten::std_mean.correction")
def std_mean(call: CallSite, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """(std, mean) along `dim`."""
    return std(call, x, dim, correction=correction, keepdim=keepdim), ops.mean(x, axis=axes(dim), keepdims=keepdim)
