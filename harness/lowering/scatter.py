"""Lowerings of gather, scatter with its reductions, and segment_reduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .indexing import put_at, vector
from .table import CallSite, NotCovered, lowers

START = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -np.inf, "amin": np.inf}
REDUCTIONS = {"sum": ops.sum, "prod": ops.prod, "amax": ops.max, "amin": ops.min}


def pointed(shape: tuple[int, ...], dim: int, index: Any) -> Any:
    """Entries of an array of `shape`, counted in C order, that `index` points to along `dim`; index.shape."""
    shape = shape or (1,)
    index = np.asarray(index).reshape(np.shape(index) or (1,))
    strides = [int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape))]
    at = np.zeros(index.shape, dtype=np.int64)
    for axis, stride in enumerate(strides):
        count = np.arange(index.shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        at = at + (index if axis == dim % len(shape) else count) * stride
    return at


def leading(src: Any, shape: tuple[int, ...]) -> Any:
    """The first entries of src along every axis, as many as `shape` says (scatter reads no more)."""
    src = vector(src) if len(shape) else src
    return src if tuple(src.shape) == tuple(shape) else ops.getitem(src, tuple(slice(0, n) for n in shape))


@lowers("aten::gather")
def gather(call: CallSite, x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """y[…, j, …] = x[…, index[…, j, …], …] along `dim`."""
    return ops.reshape(ops.take_flat(x, pointed(x.shape, dim, index)), call.shape)


@lowers("aten::scatter.src")
def scatter(call: CallSite, x: Any, dim: int, index: Any, src: Any) -> Any:
    """x overwritten by src where the index points."""
    at = pointed(x.shape, dim, index)
    numbers = call.number_of(src)
    numbers = numbers.reshape(at.shape) if numbers.ndim < at.ndim else numbers[tuple(slice(0, n) for n in at.shape)]
    return put_at(call, x, at, leading(src, at.shape), False, numbers)


@lowers("aten::scatter.value")
def scatter_value(call: CallSite, x: Any, dim: int, index: Any, value: Any) -> Any:
    """x overwritten by one number where the index points."""
    mask = np.zeros(x.size, dtype=bool)
    mask[pointed(x.shape, dim, index).ravel()] = True
    return ops.where(mask.reshape(x.shape), float(value), x)


@lowers("aten::scatter_add")
def scatter_add(call: CallSite, x: Any, dim: int, index: Any, src: Any) -> Any:
    """x with src added where the index points."""
    at = pointed(x.shape, dim, index)
    return put_at(call, x, at, leading(src, at.shape), True)


@lowers("aten::scatter.reduce", "aten::scatter.value_reduce")
def scatter_with(call: CallSite, x: Any, dim: int, index: Any, src: Any, *, reduce: str) -> Any:
    """x increased by, or multiplied by, src (or one number) where the index points."""
    at = pointed(x.shape, dim, index)
    src = ops.broadcast_to(np.float64(src), at.shape) if isinstance(src, (int, float)) else leading(src, at.shape)
    return reduced_groups(x, src, at, {"add": "sum", "multiply": "prod"}[reduce], True)


@lowers("aten::scatter_reduce.two")
def scatter_reduce(
    call: CallSite, x: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """x reduced with the entries of src that point to it."""
    at = pointed(x.shape, dim, index)
    return reduced_groups(x, leading(src, at.shape), at, reduce, include_self)


def reduced_groups(x: Any, src: Any, at: Any, reduce: str, include_self: bool) -> Any:
    """Each entry of x reduced with the entries of src that point to it (`at`: entries of x, counted in C order,
    src.shape -> x.shape).

    Without include_self the entry itself does not take part, but stays where nothing points to it. At ties of amax
    and amin: those of ops.max.
    """
    if reduce not in START:
        raise NotCovered(f"scatter_reduce: reduce={reduce!r}; covered are {', '.join(START)}")
    at = at.ravel()
    n, touched = x.size, np.zeros(x.size, dtype=bool)
    touched[at] = True
    own = np.arange(n) if include_self else np.flatnonzero(~touched)
    members = ops.concat([ops.reshape(x, (n,)), ops.reshape(src, (at.size,))], axis=0)
    target = np.concatenate([own, at])
    y = over_groups(members, np.concatenate([own, n + np.arange(at.size)]), target, n, reduce)
    return ops.reshape(y, x.shape)


def over_groups(members: Any, chosen: Any, target: Any, groups: int, reduce: str, initial: float | None = None) -> Any:
    """members[chosen[i]] reduced into group target[i].  members: (m,), chosen, target: (k,) -> (groups,).

    Groups are rows of a table filled up with the neutral number, so that products, maxima and their derivatives are
    those of one row.
    """
    order = np.argsort(target, kind="stable")
    chosen, target = chosen[order], target[order]
    counts = np.bincount(target, minlength=groups)
    if initial is not None:
        members = ops.concat([members, np.array([initial])], axis=0)
    width = int(counts.max(initial=0)) + (initial is not None)
    if width == 0:
        return ops.broadcast_to(np.float64(np.nan if reduce == "mean" else START[reduce]), (groups,))
    neutral = members.shape[0]
    members = ops.concat([members, np.array([START[reduce]])], axis=0)
    table = np.full((groups, width), neutral, dtype=np.int64)
    table[target, np.arange(target.size) - np.concatenate([[0], np.cumsum(counts)[:-1]])[target]] = chosen
    if initial is not None:
        table[:, -1] = neutral - 1
    rows = ops.take(members, table, axis=0)
    if reduce == "mean":
        return ops.divide(ops.sum(rows, axis=1), counts.astype(np.float64))
    return REDUCTIONS[reduce](rows, axis=1)


@lowers("aten::segment_reduce")
def segment_reduce(
    call: CallSite,
    data: Any,
    reduce: str,
    *,
    lengths: Any = None,
    indices: Any = None,
    offsets: Any = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Any = None,
) -> Any:
    """Segments along one axis, of the given lengths or between offsets, each reduced; `initial` is one more entry."""
    names = {"sum": "sum", "mean": "mean", "prod": "prod", "max": "amax", "min": "amin"}
    if reduce not in names or indices is not None:
        raise NotCovered(
            f"segment_reduce: reduce={reduce!r}, indices given: {indices is not None}; "
            f"covered are lengths or offsets with {', '.join(names)}"
        )
    ends = np.cumsum(lengths, axis=-1) if offsets is None else np.asarray(offsets)[..., 1:]
    starts = ends - lengths if offsets is None else np.asarray(offsets)[..., :-1]
    after = int(np.prod(data.shape[axis + 1 :], dtype=np.int64))
    n, segments = data.shape[axis], ends.shape[-1]
    chosen, target = [], []
    for b, (first, last) in enumerate(zip(starts.reshape(-1, segments), ends.reshape(-1, segments), strict=True)):
        for s, (i, j) in enumerate(zip(first, last, strict=True)):
            rows = np.arange(i, j)[:, None] * after + np.arange(after)
            chosen.append((b * n * after + rows).ravel())
            target.append(np.broadcast_to((b * segments + s) * after + np.arange(after), rows.shape).ravel())
    groups = int(np.prod(call.shape, dtype=np.int64))
    flat = ops.reshape(data, (data.size,))
    if not chosen:
        return None
    start = None if initial is None else float(initial)
    if reduce == "mean":  # the sum starts from `initial` (alone the mean of an empty segment), divided by the length
        counts = np.bincount(np.concatenate(target), minlength=groups).astype(np.float64)
        counts = counts if start is None else np.maximum(counts, 1.0)
        y = ops.divide(over_groups(flat, np.concatenate(chosen), np.concatenate(target), groups, "sum", start), counts)
    else:
        y = over_groups(flat, np.concatenate(chosen), np.concatenate(target), groups, names[reduce], start)
    return ops.reshape(y, call.shape)
