"""Lowerings of reductions: products, extremes, order statistics, moments.

Which entry an order statistic picked is a decision and is read from the recorded indices; at a tie every tied entry
is legitimate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.primitives.choice import tie_weights
from .core import axes
from .table import CallSite, lowers


def one_dimensional(x: Any) -> Any:
    """A scalar as one axis of length 1, anything else as it is: PyTorch lets a 0-d tensor be reduced along axis 0."""
    return ops.reshape(x, (1,)) if x.ndim == 0 else x


def picked(call: CallSite, x: Any, dim: int, keepdim: bool, value: Callable[[Any], Any]) -> Any:
    """x at the recorded indices (the second output) along `dim`.

    value: what the operation means, on numbers with the axis last. Where PyTorch's own values are not that, its
    indices are not a choice
    among ties: an entry that has the right value is taken instead, so that the comparison shows the error.
    """
    if x.ndim == 0:
        return x
    indices = call.outputs[1]
    if not keepdim and indices.ndim < x.ndim:
        indices = np.expand_dims(indices, dim)
    if x.size:
        numbers = np.moveaxis(call.number_of(x), dim, -1)
        right = np.moveaxis(value(numbers), -1, dim)
        if not np.array_equal(np.take_along_axis(np.moveaxis(numbers, -1, dim), indices, dim), right, equal_nan=True):
            indices = _places(numbers, np.moveaxis(right, dim, -1), dim)
    return ops.reshape(ops.take_along_axis(x, indices, axis=dim), call.shape)


def _places(numbers: Any, wanted: Any, dim: int) -> Any:
    """Indices along the last axis at which `numbers` has the wanted values, each used once in turn; the axis put
    back at `dim`.
    """
    order, goal = np.argsort(numbers, axis=-1, kind="stable"), np.argsort(wanted, axis=-1, kind="stable")
    if wanted.shape[-1] == numbers.shape[-1]:
        places = np.take_along_axis(order, np.argsort(goal, axis=-1, kind="stable"), -1)
    else:
        same = (numbers[..., None, :] == wanted[..., :, None]) | (
            np.isnan(numbers[..., None, :]) & np.isnan(wanted[..., :, None])
        )
        places = np.argmax(same, axis=-1)
    return np.moveaxis(places, -1, dim)


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
    return ops.sum(known, axis=axes(dim, x), keepdims=keepdim) if x.ndim else known


@lowers("aten::amax")
def amax(call: CallSite, x: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The largest entry along `dim`; at a tie the gradient is any convex combination over the tied entries."""
    return ops.max(x, axis=axes(dim, x), keepdims=keepdim) if x.ndim else x


@lowers("aten::amin")
def amin(call: CallSite, x: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The smallest entry along `dim`; ties as for amax."""
    return ops.min(x, axis=axes(dim, x), keepdims=keepdim) if x.ndim else x


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


@lowers("aten::max.dim")
def max_dim(call: CallSite, x: Any, dim: int, keepdim: bool = False) -> Any:
    """The largest entry along `dim`, the one whose index PyTorch returned."""
    return picked(call, x, dim, keepdim, lambda n: n.max(axis=-1, keepdims=True))


@lowers("aten::min.dim")
def min_dim(call: CallSite, x: Any, dim: int, keepdim: bool = False) -> Any:
    """The smallest entry along `dim`, the one whose index PyTorch returned."""
    return picked(call, x, dim, keepdim, lambda n: n.min(axis=-1, keepdims=True))


def _lower_median(n: Any) -> Any:
    middle = np.sort(n, axis=-1)[..., (n.shape[-1] - 1) // 2 :][..., :1]
    return np.where(np.isnan(n).any(axis=-1, keepdims=True), np.nan, middle)


def _lower_median_of_numbers(n: Any) -> Any:
    count = np.sum(~np.isnan(n), axis=-1, keepdims=True)
    return np.take_along_axis(np.sort(n, axis=-1), np.maximum(count - 1, 0) // 2, -1)


@lowers("aten::median.dim")
def median_dim(call: CallSite, x: Any, dim: int, keepdim: bool = False) -> Any:
    """The lower median along `dim` (NaN if an entry is NaN), the entry whose index PyTorch returned."""
    return picked(call, x, dim, keepdim, _lower_median)


@lowers("aten::nanmedian.dim")
def nanmedian_dim(call: CallSite, x: Any, dim: int, keepdim: bool = False) -> Any:
    """The lower median of the entries along `dim` that are not NaN, the one whose index PyTorch returned."""
    return picked(call, x, dim, keepdim, _lower_median_of_numbers)


def _most_frequent(n: Any) -> Any:
    """The least of the most frequent values."""
    ordered = np.sort(n, axis=-1)
    counts = np.sum(ordered[..., :, None] == ordered[..., None, :], axis=-1)
    return np.take_along_axis(ordered, np.argmax(counts, axis=-1)[..., None], -1)


def _is_most_frequent(n: Any, y: Any) -> Any:
    """Whether no number is in its row more often than y; NaN is either one number or as many as there are of it."""
    nan = np.isnan(n)
    once = np.sum(n[..., :, None] == n[..., None, :], axis=-1) + nan
    among = np.where(nan, nan.sum(axis=-1, keepdims=True), once)
    count = np.sum(n == y, axis=-1, keepdims=True)
    of_nan = np.isnan(y)
    apart = np.where(of_nan & nan.any(axis=-1, keepdims=True), 1, count) >= once.max(axis=-1, keepdims=True)
    together = np.where(of_nan, nan.sum(axis=-1, keepdims=True), count) >= among.max(axis=-1, keepdims=True)
    return apart | together


@lowers("aten::mode")
def mode(call: CallSite, x: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along `dim` (the least of several), as the entry whose index PyTorch returned.

    In a row that holds NaN, PyTorch's own choice where it is most frequent: which of several is not documented, nor
    whether one NaN is equal to another.
    """
    chosen = np.asarray(call.outputs[0])
    if not keepdim and x.ndim and chosen.ndim < x.ndim:
        chosen = np.expand_dims(chosen, dim)

    def value(n: Any) -> Any:
        theirs = np.moveaxis(chosen, dim, -1)
        theirs_is_right = np.isnan(n).any(axis=-1, keepdims=True) & _is_most_frequent(n, theirs)
        return np.where(theirs_is_right, theirs, _most_frequent(n))

    return picked(call, x, dim, keepdim, value)


@lowers("aten::kthvalue")
def kthvalue(call: CallSite, x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest entry along `dim`, the one whose index PyTorch returned."""
    return picked(call, x, dim, keepdim, lambda n: np.sort(n, axis=-1)[..., k - 1 : k])


def _sorted(n: Any, descending: bool) -> Any:
    return np.flip(np.sort(n, axis=-1), -1) if descending else np.sort(n, axis=-1)


@lowers("aten::topk")
def topk(call: CallSite, x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k greatest (or least) entries along `dim`, those whose indices PyTorch returned; `sorted` False leaves
    their order open.
    """
    if not sorted:
        return ops.take_along_axis(x, call.outputs[1], axis=dim) if x.ndim else x
    return picked(call, x, dim, True, lambda n: _sorted(n, largest)[..., :k])


@lowers("aten::sort.default")
def sort(call: CallSite, x: Any, dim: int = -1, descending: bool = False) -> Any:
    """x in order along `dim` (NaN counts as the greatest), by the permutation that PyTorch returned."""
    return picked(call, x, dim, True, lambda n: _sorted(n, descending))


@lowers("aten::sort.stable")
def sort_stable(call: CallSite, x: Any, *, stable: Any = None, dim: int = -1, descending: bool = False) -> Any:
    """x in order along `dim` (NaN counts as the greatest), by the permutation that PyTorch returned."""
    return picked(call, x, dim, True, lambda n: _sorted(n, descending))


@lowers("aten::median.default", "aten::nanmedian.default")
def median_all(call: CallSite, x: Any) -> Any:
    """The lower median of all entries, NaN if one is (nanmedian: of the entries that are not NaN).

    Legitimate at a tie: every convex combination over the entries equal to the median (each of them is the median of
    some neighbour).
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
    return ops.var(x, axis=axes(dim, x), correction=_correction(correction), keepdims=keepdim)


@lowers("aten::std.correction")
def std(call: CallSite, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """√var along `dim`."""
    return ops.std(x, axis=axes(dim, x), correction=_correction(correction), keepdims=keepdim)


@lowers("aten::var_mean.correction")
def var_mean(call: CallSite, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """(var, mean) along `dim`."""
    return var(call, x, dim, correction=correction, keepdim=keepdim), ops.mean(x, axis=axes(dim, x), keepdims=keepdim)


@lowers("aten::std_mean.correction")
def std_mean(call: CallSite, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """(std, mean) along `dim`."""
    return std(call, x, dim, correction=correction, keepdim=keepdim), ops.mean(x, axis=axes(dim, x), keepdims=keepdim)
