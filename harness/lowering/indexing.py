"""Lowerings of reading and writing at integer or Boolean indices along whole axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.tracing import Tracer
from .documented import optional_change
from .table import CallSite, NotCovered, lowers


def advanced(indices: Any) -> tuple[Any, ...]:
    """ATen's list of optional index tensors as a NumPy index; None stands for a whole axis."""
    return tuple(slice(None) if i is None else np.asarray(i) for i in indices)


def places(shape: tuple[int, ...], index: Any) -> Any:
    """Entries, counted in C order, that `index` picks from an array of `shape`."""
    return np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)[index]


@lowers("aten::index.Tensor", "aten::_unsafe_index.Tensor")
def index(call: CallSite, x: Any, indices: Any) -> Any:
    """x[indices] with NumPy's meaning."""
    return ops.getitem(x, advanced(indices))


@lowers("aten::index_put", "aten::_unsafe_index_put", "aten::_index_put_impl")
def index_put(call: CallSite, x: Any, indices: Any, values: Any, accumulate: bool = False, unsafe: bool = False) -> Any:
    """x with values written at, or added to, x[indices]."""
    return put_at(call, x, places(x.shape, advanced(indices)), values, accumulate, call.number_of(values))


def put_at(call: CallSite, x: Any, at: Any, values: Any, accumulate: bool, numbers: Any = None) -> Any:
    """x with `values` (broadcast to the shape of `at`) written at, or added to, its entries `at`, counted in C order.

    Of several writes to one entry PyTorch may keep any (its documentation calls the choice undefined): the one it
    kept is the last whose recorded
    number, among `numbers` of the shape of `at`, is the number in the result.
    """
    values = values if tuple(np.shape(values)) == at.shape else ops.broadcast_to(values, at.shape)
    flat, values = ops.reshape(x, (x.size,)), ops.reshape(values, (at.size,))
    if accumulate:
        flat = ops.index_add(flat, at.ravel(), values, axis=0)
    else:
        known = None if numbers is None else np.broadcast_to(numbers, at.shape).ravel()
        kept = _kept(at.ravel(), known, np.ravel(call.outputs[0]))
        flat = ops.put(flat, (at.ravel()[kept],), values if kept.size == at.size else ops.take(values, kept, axis=0))
        if kept.size < at.size and isinstance(values, Tracer):
            call.follows("repeated-indices")
            flat = _with_lost_writes(flat, at.ravel(), values, np.setdiff1d(np.arange(at.size), kept))
    return ops.reshape(flat, x.shape)


def _with_lost_writes(flat: Any, at: Any, values: Any, lost: Any) -> Any:
    """The same value, with a derivative in the writes that did not stay: legitimate are all θ in [0, 1] times what the
    one that stayed has; ours is 0, since they do not move the result."""
    return ops.index_add(flat, at[lost], optional_change(ops.take(values, lost, axis=0), 0.0), axis=0)


def _kept(at: Any, numbers: Any, result: Any) -> Any:
    """Which writes stay, in order: one for each entry, the last that left the recorded number there (the last of all
    where none did).
    """
    if np.unique(at).size == at.size:
        return np.arange(at.size)
    left = result[at]
    fits = np.ones(at.size, dtype=bool) if numbers is None else (numbers == left) | (np.isnan(numbers) & np.isnan(left))
    order = np.lexsort((np.arange(at.size), fits, at))  # by entry, then those that fit behind those that do not
    last = np.append(at[order][1:] != at[order][:-1], True)
    return np.sort(order[last])


@lowers("aten::_unsafe_masked_index")
def masked_index(call: CallSite, x: Any, mask: Any, indices: Any, fill: Any) -> Any:
    """x[indices] where the mask holds, `fill` elsewhere; indices under a false mask may lie outside x."""
    return ops.where(np.asarray(mask), ops.getitem(x, _clamped(x.shape, indices)), float(fill))


@lowers("aten::_unsafe_masked_index_put_accumulate")
def masked_index_put(call: CallSite, x: Any, mask: Any, indices: Any, values: Any) -> Any:
    """x with values added at x[indices] where the mask holds."""
    at = places(x.shape, _clamped(x.shape, indices))
    return put_at(call, x, at, ops.where(np.asarray(mask), values, 0.0), True)


def _clamped(shape: tuple[int, ...], indices: Any) -> tuple[Any, ...]:
    return tuple(slice(None) if i is None else np.clip(i, -n, n - 1) for i, n in zip(indices, shape, strict=False))


def vector(x: Any) -> Any:
    """A scalar as a vector of one entry; anything else as it is."""
    return ops.reshape(x, (1,)) if np.ndim(x) == 0 and tuple(x.shape) == () else x


@lowers("aten::index_select")
def index_select(call: CallSite, x: Any, dim: int, index: Any) -> Any:
    """Parts of x at `index` along `dim`."""
    return ops.reshape(ops.take(vector(x), np.ravel(index), axis=dim), call.shape)


def along(x: Any, dim: int, index: Any) -> Any:
    """Entries of x, counted in C order, in its parts `index` along `dim`."""
    shape = x.shape or (1,)
    return np.take(np.arange(x.size).reshape(shape), np.ravel(index), axis=dim)


@lowers("aten::index_add")
def index_add(call: CallSite, x: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """x with α source added to its parts `index` along `dim`."""
    if alpha != 1:
        source = ops.multiply(source, float(alpha))
    row = vector(x)
    index = np.ravel(index)
    source = ops.reshape(source, (*row.shape[: dim % row.ndim], index.size, *row.shape[dim % row.ndim + 1 :]))
    return ops.reshape(ops.index_add(row, index, source, axis=dim), x.shape)


@lowers("aten::index_copy")
def index_copy(call: CallSite, x: Any, dim: int, index: Any, source: Any) -> Any:
    """x with its parts `index` along `dim` replaced."""
    at = along(x, dim, index)
    return put_at(call, x, at, ops.reshape(source, at.shape), False, call.number_of(source).reshape(at.shape))


@lowers("aten::index_fill.int_Scalar", "aten::index_fill.int_Tensor")
def index_fill(call: CallSite, x: Any, dim: int, index: Any, value: Any) -> Any:
    """x with its parts `index` along `dim` set to one number."""
    mask = np.zeros(x.size, dtype=bool)
    mask[along(x, dim, index).ravel()] = True
    return ops.where(mask.reshape(x.shape), value, x)


@lowers("aten::take")
def take(call: CallSite, x: Any, index: Any) -> Any:
    """Entries of x counted in C order."""
    return ops.take_flat(x, index)


@lowers("aten::put")
def put(call: CallSite, x: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """x with entries, counted in C order, replaced by or increased by those of source."""
    at = np.where(np.asarray(index) < 0, np.asarray(index) + x.size, index).astype(np.int64)
    return put_at(call, x, at, ops.reshape(source, at.shape), accumulate, call.number_of(source).reshape(at.shape))


@lowers("aten::masked_fill.Scalar", "aten::masked_fill.Tensor")
def masked_fill(call: CallSite, x: Any, mask: Any, value: Any) -> Any:
    """`value` where the mask holds, x elsewhere."""
    return ops.where(np.asarray(mask), value, x)


@lowers("aten::masked_select")
def masked_select(call: CallSite, x: Any, mask: Any) -> Any:
    """The entries of x under the mask, both broadcast, in C order."""
    return ops.masked_select(x, np.asarray(mask))


@lowers("aten::masked_scatter")
def masked_scatter(call: CallSite, x: Any, mask: Any, source: Any) -> Any:
    """The entries under the mask replaced by the first entries of source, both in C order."""
    if tuple(x.shape) != call.shape:
        x = ops.broadcast_to(x, call.shape)
    at = np.flatnonzero(np.broadcast_to(mask, call.shape))
    values = ops.take_flat(source, np.arange(at.size))
    return put_at(call, x, at, values, False)


@lowers("aten::index_reduce")
def index_reduce(
    call: CallSite, x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """Parts of x reduced with those parts of source that `index` names along `dim`."""
    from .scatter import reduced_groups

    names = {"prod": "prod", "mean": "mean", "amax": "amax", "amin": "amin"}
    if reduce not in names:
        raise NotCovered(f"index_reduce: reduce={reduce!r}; covered are {', '.join(names)}")
    at = along(x, dim, index)
    return reduced_groups(x, ops.reshape(source, at.shape), at, names[reduce], include_self)
