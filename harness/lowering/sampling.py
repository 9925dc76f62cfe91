"""Lowerings of sampling at the places of a grid (grid_sampler) and of the grid itself (affine_grid).

Which entries surround a place, and on which side of a fold it lies, are decisions taken at the recorded grid; the
weights are differentiated.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.drift import UNIT_ROUNDOFF, nearest
from .resampling import cubic_weights
from .table import CallSite, NotCovered, lowers

BILINEAR, NEAREST, BICUBIC = 0, 1, 2
ZEROS, BORDER, REFLECTION = 0, 1, 2


def position(c: Any, n: int, align_corners: bool) -> Any:
    """The coordinate c in [-1, 1] in entries of an axis of length n: ends are the outer entries with align_corners,
    else their outer edges.
    """
    return (c + 1.0) / 2.0 * (n - 1.0) if align_corners else ((c + 1.0) * float(n) - 1.0) / 2.0


def position_as_held(c: Any, n: int, align_corners: bool, dtype: str) -> Any:
    """The number of `position` by which a kernel decides between two entries: in a half precision it rounds each step,
    in any order of them alike, since halves are exact."""
    if UNIT_ROUNDOFF[dtype] <= UNIT_ROUNDOFF["float32"]:
        return position(c, n, align_corners)
    first = nearest(c + 1.0, dtype)
    if align_corners:
        return nearest(first * (n - 1.0), dtype) / 2.0
    return nearest(nearest(first * float(n), dtype) - 1.0, dtype) / 2.0


def reflected(p: Any, number: Any, n: int, align_corners: bool) -> tuple[Any, Any]:
    """p folded back into the axis at its ends, and its number: between 0 and n - 1 with align_corners, else -½ and n
    - ½.
    """
    low, span = (0.0, n - 1.0) if align_corners else (-0.5, float(n))
    if span <= 0.0:
        return ops.where(np.zeros(np.shape(number), dtype=bool), p, 0.0), np.zeros(np.shape(number))
    away = np.where(number < low, -1.0, 1.0)
    folds = np.floor(np.abs(number - low) / span)
    back = folds % 2 == 1
    rest, rest_number = ops.multiply(away, p - low) - folds * span, np.abs(number - low) - folds * span
    return low + ops.where(back, span - rest, rest), low + np.where(back, span - rest_number, rest_number)


# A position is computed in three steps from a coordinate of size 1, each rounded relative to at most n.
STEPS = 8.0


def held(p: Any, number: Any, n: int, u: float, folds: bool) -> tuple[Any, Any]:
    """p held within the axis at its recorded number: p itself inside, constant outside; on the border, to within what
    rounding of the position explains, there is a kink, whose slope is anything between the two. folds: the position
    turns back there, so that the slope is anything between that inside and its opposite.
    """
    last = n - 1.0
    at = np.clip(number, 0.0, last)
    near = STEPS * u * n
    on_first, on_last = np.abs(number) <= near, np.abs(number - last) <= near
    if n == 1:
        return p.builder.lift(at), at
    inside = (number > 0.0) & (number < last) & ~on_first & ~on_last
    result = ops.where(inside, p, at)
    if on_first.any() or on_last.any():
        change = ops.subtract(p, ops.stop_gradient(p))  # exactly 0, so that noise crosses no border
        change = ops.where(np.isfinite(number), change, 0.0)
        before = ops.negative(ops.abs(change)) if folds else ops.minimum(change, 0.0)
        after = ops.abs(change) if folds else ops.maximum(change, 0.0)
        kinked = ops.where(on_last, before, ops.where(on_first, after, 0.0))
        result = ops.add(result, kinked)
    return result, at


def placed(p: Any, number: Any, n: int, padding_mode: int, align_corners: bool, u: float) -> tuple[Any, Any]:
    """A position and its number after padding: as it is, held at the border, or reflected and then held."""
    if padding_mode == ZEROS:
        return p, number
    if padding_mode == REFLECTION:
        p, number = reflected(p, number, n, align_corners)
    return held(p, number, n, u, padding_mode == REFLECTION and align_corners)


def whole(number: Any, n: int, padding_mode: int, align_corners: bool) -> Any:
    """Where padding puts an entry of its own accord: a number without a derivative."""
    if padding_mode == ZEROS:
        return number
    at = reflected(number, number, n, align_corners)[1] if padding_mode == REFLECTION else number
    return np.clip(at, 0.0, n - 1.0)


def _values(x: Any, places: list[list[Any]]) -> Any:
    """x at several lists of whole places (each one array (batch, *out) an axis); 0 outside.

    x: (batch, channels, *size) -> (batch, channels, places, out), all in one gather, whose transpose is one sum.
    """
    batch, channels, *size = x.shape
    index, inside = [], []
    for at in places:
        flat, among = np.zeros((batch, 1), dtype=np.int64), np.ones((batch, 1), dtype=bool)
        for n, i in zip(size, at, strict=True):
            i = i.reshape(batch, -1)
            among = among & (i >= 0) & (i < n)
            flat = flat * n + np.clip(i, 0, n - 1)
        index.append(flat)
        inside.append(among)
    count, out = len(places), index[0].shape[1]
    wanted = np.stack(index, axis=1).reshape(batch, 1, count * out)
    rows = ops.reshape(x, (batch, channels, math.prod(size)))
    values = ops.take_along_axis(rows, np.broadcast_to(wanted, (batch, channels, count * out)), axis=-1)
    values = ops.reshape(values, (batch, channels, count, out))
    mask = np.stack(inside, axis=1)[:, None]
    return values if mask.all() else ops.where(mask, values, 0.0)


def _whole(number: Any) -> Any:
    """Whole places as integers; what is not a number or too far away lies outside."""
    return np.where(np.abs(number) < 2.0**31, number, -(2.0**31)).astype(np.int64)


def _sum(call: CallSite, x: Any, weights: list[Any], places: list[list[Any]]) -> Any:
    """Σ weight · value.  Weights: (batch, *out) each -> (batch, channels, *out)."""
    batch, count = x.shape[0], len(weights)
    w = ops.reshape(ops.stack(weights, axis=1), (batch, 1, count, math.prod(call.shape[2:])))
    return ops.reshape(ops.sum(ops.multiply(_values(x, places), w), axis=2), call.shape)


def _product(weights: Any) -> Any:
    first, *others = weights
    for w in others:
        first = ops.multiply(first, w)
    return first


@lowers("aten::grid_sampler_2d", "aten::grid_sampler_3d")
def grid_sampler(
    call: CallSite, x: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Any:
    """x sampled at the places of a grid whose last axis names them last axis first.

    x: (batch, channels, *size), grid: (batch, *out, d) -> (batch, channels, *out).
    """
    if x.size == 0 or 0 in call.shape:
        raise NotCovered(
            f"grid_sampler: x.shape={x.shape}, result {call.shape}; covered are samples with at least one entry"
        )
    size = x.shape[2:]
    d = len(size)
    given = call.number_of(grid)
    numbers = [position_as_held(given[..., d - 1 - k], n, align_corners, call.dtype) for k, n in enumerate(size)]
    traced = [position(ops.getitem(grid, (..., d - 1 - k)), n, align_corners) for k, n in enumerate(size)]
    if interpolation_mode == BICUBIC:
        return _bicubic(call, x, traced, numbers, padding_mode, align_corners)
    u = UNIT_ROUNDOFF[call.dtype]
    pairs = [placed(p, q, n, padding_mode, align_corners, u) for p, q, n in zip(traced, numbers, size, strict=True)]
    if interpolation_mode == NEAREST:
        return ops.reshape(_values(x, [[_whole(np.rint(q)) for _, q in pairs]]), call.shape)
    # at the last entry the slope is that towards the one before it: there is none after it
    highest = [np.inf if padding_mode == ZEROS else max(n - 2.0, 0.0) for n in size]
    below = [np.minimum(np.floor(q), most) for (_, q), most in zip(pairs, highest, strict=True)]
    after = [p - np.where(np.isfinite(b), b, 0.0) for (p, _), b in zip(pairs, below, strict=True)]
    corners = list(itertools.product((0, 1), repeat=d))
    weights = [_product(w if c else 1.0 - w for w, c in zip(after, corner, strict=True)) for corner in corners]
    places = [[_whole(b) + c for b, c in zip(below, corner, strict=True)] for corner in corners]
    return _sum(call, x, weights, places)


def _bicubic(
    call: CallSite, x: Any, traced: list[Any], numbers: list[Any], padding_mode: int, align_corners: bool
) -> Any:
    """Cubic convolution over 4 × 4 entries, each of which is padded by itself."""
    below = [np.floor(q) for q in numbers]
    weights = [cubic_weights(p - b) for p, b in zip(traced, below, strict=True)]
    pairs = list(itertools.product(range(4), repeat=2))
    places = []
    for pair in pairs:
        near = [b + (k - 1.0) for b, k in zip(below, pair, strict=True)]
        places.append(
            [_whole(np.rint(whole(p, n, padding_mode, align_corners))) for p, n in zip(near, x.shape[2:], strict=True)]
        )
    return _sum(call, x, [ops.multiply(weights[0][i], weights[1][j]) for i, j in pairs], places)


@lowers("aten::affine_grid_generator")
def affine_grid(call: CallSite, theta: Any, size: Any, align_corners: bool) -> Any:
    """The places that the affine maps `theta` send a regular grid on [-1, 1] to.

    theta: (batch, d, d + 1) -> (batch, *size[2:], d).
    """
    spatial = list(size)[2:]
    d = len(spatial)
    axes = []
    for n in spatial:
        count = n - 1.0 if align_corners else float(n)
        ends = 2.0 * np.arange(n) - (n - 1.0)
        axes.append(ops.divide(theta.builder.lift(ends), count) if n > 1 else np.zeros(1))
    along = [ops.reshape(axes[k], [-1 if i == k else 1 for i in range(d)]) for k in reversed(range(d))]
    columns = [ops.broadcast_to(c, tuple(spatial)) for c in [*along, np.ones((1,) * d)]]
    base = ops.stack([ops.reshape(c, (math.prod(spatial),)) for c in columns], axis=-1)
    return ops.reshape(ops.matmul(base, ops.swapaxes(theta, -1, -2)), call.shape)
