"""Lowerings of data movement: parts, diagonals, joining, turning, repeating, and writes into a part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference_engine import ops
from ..recorder.geometry import positions
from . import core
from .table import CallSite, NotCovered, lowers

lowers(
    "aten::view_copy.default",
    "aten::_reshape_copy",
    "aten::unsqueeze_copy",
    "aten::squeeze_copy",
    "aten::lift_fresh_copy",
)(core.to_shape)
lowers("aten::expand_copy")(core.expand)
lowers("aten::permute_copy")(core.permute)
lowers("aten::transpose_copy.int")(core.transpose)
lowers("aten::t_copy")(core.t)
lowers("aten::alias_copy")(core.same)


def part(ndim: int, dim: int, index: Any) -> tuple[Any, ...]:
    """The NumPy index that is `index` along axis `dim` (counted from either end) of `ndim` axes and everything else
    along the others.
    """
    dim = dim % ndim if ndim else 0
    return (*[slice(None)] * dim, index)


@lowers("aten::select.int", "aten::select_copy.int")
def select(call: CallSite, x: Any, dim: int, index: int) -> Any:
    """x at `index` along `dim`, without that axis."""
    return ops.getitem(x, part(x.ndim, dim, int(index)))


@lowers("aten::slice.Tensor", "aten::slice_copy.Tensor")
def slice_(call: CallSite, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """x[start:end:step] along `dim`; ends beyond the axis are cut to it."""
    return ops.getitem(x, part(x.ndim, dim, slice(start, end, step)))


@lowers("aten::narrow_copy")
def narrow(call: CallSite, x: Any, dim: int, start: int, length: int) -> Any:
    """`length` entries of x from `start` along `dim`."""
    start = start % x.shape[dim] if x.shape[dim] and start < 0 else start
    return ops.getitem(x, part(x.ndim, dim, slice(start, start + length)))


@lowers(
    "aten::split.Tensor", "aten::split_copy.Tensor", "aten::unsafe_split.Tensor",
    "aten::split_with_sizes", "aten::split_with_sizes_copy", "aten::unsafe_split_with_sizes",
)  # fmt: skip
def split(call: CallSite, x: Any, sizes: Any, dim: int = 0) -> Any:
    """x cut along `dim` into parts of the recorded lengths; one number in `sizes` is the length of all but the last."""
    del sizes
    return tuple(ops.split(x, [np.shape(y)[dim] for y in call.outputs], axis=dim))


@lowers("aten::unbind.int", "aten::unbind_copy.int")
def unbind(call: CallSite, x: Any, dim: int = 0) -> Any:
    """The parts of x along `dim`, without that axis."""
    return tuple(ops.unstack(x, axis=dim))


@lowers("aten::diagonal", "aten::diagonal_copy")
def diagonal(call: CallSite, x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal `offset` of the matrices in two axes, as the last axis."""
    return ops.diagonal(x, offset, dim1, dim2)


@lowers("aten::diag_embed")
def diag_embed(call: CallSite, x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices in axes dim1, dim2 with the last axis of x on diagonal `offset`.

    With dim1 after dim2 the matrices are still (dim1, dim2).
    """
    y = ops.diag_embed(x, offset)
    return ops.moveaxis(y, (-2, -1), (dim1, dim2))


@lowers("aten::unfold", "aten::unfold_copy")
def unfold(call: CallSite, x: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of `size` entries, `step` apart, along one axis; the window is the last axis."""
    if x.ndim == 0:
        return ops.reshape(x, call.shape)
    dimension %= x.ndim
    index = np.arange(call.shape[dimension])[:, None] * step + np.arange(size)
    return ops.moveaxis(ops.take(x, index, axis=dimension), dimension + 1, -1)


@lowers("aten::unfold_backward")
def unfold_backward(call: CallSite, g: Any, input_sizes: Any, dim: int, size: int, step: int) -> Any:
    """The transpose of `unfold`: every entry of a window is added to the place that it came from."""
    if not input_sizes:
        return ops.reshape(g, ())
    dim %= len(input_sizes)
    windows = ops.moveaxis(g, -1, dim + 1)
    count = windows.shape[dim] * size
    flat = ops.reshape(windows, (*windows.shape[:dim], count, *windows.shape[dim + 2 :]))
    place = (np.arange(count // max(size, 1))[:, None] * step + np.arange(size)).ravel()
    index = np.broadcast_to(place.reshape([-1 if a == dim else 1 for a in range(flat.ndim)]), flat.shape)
    return ops.scatter_add(np.zeros(tuple(input_sizes)), index, flat, axis=dim)


@lowers("aten::flip")
def flip(call: CallSite, x: Any, dims: Any) -> Any:
    """x read backwards along `dims`."""
    return ops.flip(x, tuple(dims)) if dims and x.ndim else x


@lowers("aten::roll")
def roll(call: CallSite, x: Any, shifts: Any, dims: Any = ()) -> Any:
    """x moved on along `dims`; as one long axis where none is given."""
    if x.size == 0 or x.ndim == 0:
        return x
    shifts = tuple(shifts) if isinstance(shifts, (list, tuple)) else (shifts,)
    dims = tuple(dims) if isinstance(dims, (list, tuple)) else (dims,)
    return ops.roll(x, shifts, dims) if dims else ops.roll(x, shifts[0])


@lowers("aten::rot90")
def rot90(call: CallSite, x: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """x turned k times by 90° from the first axis of `dims` towards the second."""
    first, second = dims
    k %= 4
    if k == 0:
        return x
    if k == 2:
        return ops.flip(x, (first, second))
    if k == 1:
        return ops.swapaxes(ops.flip(x, second), first, second)
    return ops.flip(ops.swapaxes(x, first, second), second)


@lowers("aten::tril")
def tril(call: CallSite, x: Any, diagonal: int = 0) -> Any:
    """Entries on and below a diagonal; 0 elsewhere."""
    return ops.tril(x, diagonal)


@lowers("aten::triu")
def triu(call: CallSite, x: Any, diagonal: int = 0) -> Any:
    """Entries on and above a diagonal; 0 elsewhere."""
    return ops.triu(x, diagonal)


@lowers("aten::cat")
def cat(call: CallSite, tensors: Any, dim: int = 0) -> Any:
    """The parts one after the other; empty vectors among parts of more axes are skipped, as documented."""
    parts = [x for x in tensors if tuple(np.shape(x)) != (0,)] or list(tensors)
    return ops.concat(parts, axis=dim)


@lowers("aten::stack")
def stack(call: CallSite, tensors: Any, dim: int = 0) -> Any:
    """The parts along a new axis."""
    return ops.stack(list(tensors), axis=dim)


@lowers("aten::repeat")
def repeat(call: CallSite, x: Any, repeats: Any) -> Any:
    """x set beside itself along each axis, new axes in front."""
    return ops.tile(x, tuple(repeats))


@lowers("aten::block_diag")
def block_diag(call: CallSite, tensors: Any) -> Any:
    """The matrices on the diagonal of one matrix; vectors are rows, numbers are 1 × 1."""
    rows, columns = call.shape
    total: Any = None
    r = c = 0
    for x in tensors:
        height, width = (1, *np.shape(x))[-2:] if np.ndim(x) or np.shape(x) else (1, 1)
        block = ops.pad(ops.reshape(x, (height, width)), [(r, rows - r - height), (c, columns - c - width)])
        total = block if total is None else ops.add(total, block)
        r, c = r + height, c + width
    return total


@lowers("aten::channel_shuffle", "aten::native_channel_shuffle")
def channel_shuffle(call: CallSite, x: Any, groups: int) -> Any:
    """Channels as a matrix (groups, channels / groups), transposed."""
    n, c, *rest = x.shape
    return ops.reshape(ops.swapaxes(ops.reshape(x, (n, groups, c // groups, *rest)), 1, 2), x.shape)


@lowers("aten::pixel_shuffle")
def pixel_shuffle(call: CallSite, x: Any, upscale_factor: int) -> Any:
    """(…, c r², h, w) -> (…, c, h r, w r)."""
    r = upscale_factor
    *batch, c, h, w = x.shape
    n = math.prod(batch)
    y = ops.transpose(ops.reshape(x, (n, c // r**2, r, r, h, w)), (0, 1, 4, 2, 5, 3))
    return ops.reshape(y, call.shape)


@lowers("aten::pixel_unshuffle")
def pixel_unshuffle(call: CallSite, x: Any, downscale_factor: int) -> Any:
    """(…, c, h r, w r) -> (…, c r², h, w)."""
    r = downscale_factor
    *batch, c, h, w = x.shape
    y = ops.transpose(ops.reshape(x, (math.prod(batch), c, h // r, r, w // r, r)), (0, 1, 3, 5, 2, 4))
    return ops.reshape(y, call.shape)


@lowers("aten::fill.Scalar")
def fill(call: CallSite, x: Any, value: Any) -> Any:
    """A constant; nothing of x is left."""
    return ops.where(np.zeros(call.shape, dtype=bool), x, float(value))


@lowers("aten::fill.Tensor")
def fill_with(call: CallSite, x: Any, value: Any) -> Any:
    """One number everywhere; nothing of x is left."""
    return ops.where(np.zeros(call.shape, dtype=bool), x, value)


# Writes into a part: what is overwritten has derivative 0.


@lowers("aten::select_scatter")
def select_scatter(call: CallSite, x: Any, src: Any, dim: int, index: int) -> Any:
    """x with its part at `index` along `dim` replaced."""
    return ops.put(x, part(x.ndim, dim, int(index)), src)


@lowers("aten::slice_scatter")
def slice_scatter(
    call: CallSite, x: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    """x with x[start:end:step] along `dim` replaced."""
    return ops.put(x, part(x.ndim, dim, slice(start, end, step)), src)


@lowers("aten::diagonal_scatter")
def diagonal_scatter(call: CallSite, x: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """x with a diagonal replaced."""
    return _replaced(x, np.diagonal(_places(x), offset, dim1, dim2), src)


def _places(x: Any) -> Any:
    return np.arange(x.size).reshape(x.shape)


def _replaced(x: Any, places: Any, src: Any) -> Any:
    """x with its entries at `places`, counted in C order, replaced by src."""
    flat = ops.put(ops.reshape(x, (x.size,)), (places.ravel(),), ops.reshape(src, (places.size,)))
    return ops.reshape(flat, x.shape)


# as_strided reads storage: our argument is a tensor with a geometry of its own, so storage positions are first turned
# into entries of it.


def _entries(operation: str, x: Any, geometry: Any, size: Any, stride: Any, offset: Any) -> Any:
    """Entries of x, counted in C order, that lie where a tensor of `size`, `stride` and `offset` looks."""
    wanted = positions((tuple(size), tuple(stride), geometry[2] if offset is None else int(offset)))
    held = positions(geometry).ravel()
    place = np.full(max(held.max(initial=-1), wanted.max(initial=-1)) + 1, -1, dtype=np.int64)
    if np.unique(held).size != held.size:
        raise NotCovered(
            f"{operation}: the argument overlaps itself (stride {geometry[1]}), so storage is several of its entries"
        )
    place[held] = np.arange(held.size)
    entries = place[wanted]
    if (entries < 0).any():
        raise NotCovered(f"{operation}: it looks at storage outside its argument; only entries of that can be followed")
    return entries


@lowers("aten::as_strided", "aten::as_strided_copy")
def as_strided(call: CallSite, x: Any, size: Any, stride: Any, storage_offset: Any = None) -> Any:
    """The entries of storage at offset + Σ index · stride; an entry that is read several times counts as often."""
    return ops.take_flat(x, _entries("as_strided", x, call.geometries[0], size, stride, storage_offset))


@lowers("aten::as_strided_scatter")
def as_strided_scatter(call: CallSite, x: Any, src: Any, size: Any, stride: Any, storage_offset: Any = None) -> Any:
    """x (copied, in its own layout) with the entries that as_strided would read replaced by src."""
    entries = _entries("as_strided_scatter", x, call.geometries[0], size, stride, storage_offset)
    if np.unique(entries).size != entries.size:
        raise NotCovered("as_strided_scatter: the written part overlaps itself; which write stays is not defined")
    return _replaced(x, entries, src)
