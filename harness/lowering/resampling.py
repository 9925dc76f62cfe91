"""Lowerings of resizing: nearest, linear, cubic, and the antialiased forms, one axis after the other.

Each output is a weighted sum of a few entries. Where the weights come from positions, these are computed in the
trace, so that the rounding of a position
(which grows with the position) is part of the spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .table import CallSite, lowers

CUBIC = -0.75  # Keys' parameter, as documented for bicubic; the antialiased form follows Pillow's -0.5
CUBIC_ANTIALIASED = -0.5


def weighted(x: Any, axis: int, index: Any, weights: Any) -> Any:
    """Σₖ weights[k] x[index[k]] along `axis`.  index: (k, out), weights: k arrays of shape (out,)."""
    after = (1,) * (x.ndim - 1 - axis)
    total: Any = None
    for at, w in zip(index, weights, strict=True):
        term = ops.multiply(ops.take(x, at, axis=axis), ops.reshape(w, (-1, *after)))
        total = term if total is None else ops.add(total, term)
    return total


def ratio(x: Any, n: int, m: int, align_corners: bool, scale: float | None) -> Any:
    """How many entries of the input one output stands for: (n - 1)/(m - 1) with align_corners, else 1/scale or n/m,
    as a traced number.
    """
    one = x.builder.lift
    if align_corners:
        return ops.divide(one(float(n - 1)), float(m - 1)) if m > 1 else one(0.0)
    if scale is not None and scale > 0:
        return ops.divide(one(1.0), float(scale))
    return ops.divide(one(float(n)), float(m))


def number_of_ratio(n: int, m: int, align_corners: bool, scale: float | None) -> float:
    if align_corners:
        return (n - 1) / (m - 1) if m > 1 else 0.0
    return 1.0 / scale if scale is not None and scale > 0 else n / m


def centres(m: int, align_corners: bool, r: Any) -> Any:
    """Positions of the m outputs, in entries of the input: i r with align_corners, else (i + ½) r - ½."""
    i = np.arange(m)
    return i * r if align_corners else (i + 0.5) * r - 0.5


def keys(d: Any, a: float) -> Any:
    """The inner part of Keys' cubic kernel, |d| ≤ 1: (a + 2) d³ - (a + 3) d² + 1."""
    return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0


def keys_outer(d: Any, a: float) -> Any:
    """Its outer part, 1 < |d| < 2: a d³ - 5a d² + 8a d - 4a."""
    return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a


def cubic_weights(t: Any) -> list[Any]:
    """Weights of the entries 1 before, at, 1 and 2 after the one that lies t in [0, 1) before the position."""
    return [keys_outer(t + 1.0, CUBIC), keys(t, CUBIC), keys(1.0 - t, CUBIC), keys_outer(2.0 - t, CUBIC)]


def linear_axis(x: Any, axis: int, m: int, align_corners: bool, scale: float | None) -> Any:
    """x resized along one axis by linear interpolation; positions before the first entry count as the first."""
    n = x.shape[axis]
    number = np.maximum(centres(m, align_corners, number_of_ratio(n, m, align_corners, scale)), 0.0)
    low = np.minimum(np.floor(number).astype(np.int64), n - 1)
    position = centres(m, align_corners, ratio(x, n, m, align_corners, scale))
    t = ops.where(number <= 0.0, 0.0, position - low.astype(np.float64))
    t = ops.where(number - low >= 1.0, 1.0, t)
    return weighted(x, axis, [low, np.minimum(low + 1, n - 1)], [1.0 - t, t])


def cubic_axis(x: Any, axis: int, m: int, align_corners: bool, scale: float | None) -> Any:
    """x resized along one axis by cubic convolution over four entries; entries outside repeat the edge."""
    n = x.shape[axis]
    low = np.floor(centres(m, align_corners, number_of_ratio(n, m, align_corners, scale))).astype(np.int64)
    t = centres(m, align_corners, ratio(x, n, m, align_corners, scale)) - low.astype(np.float64)
    return weighted(x, axis, [np.clip(low + k, 0, n - 1) for k in (-1, 0, 1, 2)], cubic_weights(t))


def antialiased_axis(x: Any, axis: int, m: int, align_corners: bool, scale: float | None, cubic: bool) -> Any:
    """x resized along one axis by a kernel as wide as one output: triangle or cubic, its weights normalised to sum 1.

    The kernel of output i is centred at (i + ½) r and, for r > 1, stretched by r; entry j stands at j + ½. Source:
    Pillow's `resize`.
    """
    n = x.shape[axis]
    number, r = number_of_ratio(n, m, align_corners, scale), ratio(x, n, m, align_corners, scale)
    stretch = max(number, 1.0)
    reach = (2.0 if cubic else 1.0) * stretch
    centre = (np.arange(m) + 0.5) * number
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), n)
    width = int((last - first).max(initial=0))
    moved = (np.arange(m) + 0.5) * r
    index, weights, total = [], [], None
    for k in range(width):
        at = first + k
        distance = ((at + 0.5) - centre) / stretch
        d = ops.multiply(np.where(distance < 0, -1.0, 1.0), (at + 0.5) - moved)
        d = ops.divide(d, r) if number > 1.0 else d
        w = _kernel(d, np.abs(distance), cubic)
        w = ops.where(at < last, w, 0.0)
        total = w if total is None else total + w
        index.append(np.minimum(at, n - 1))
        weights.append(w)
    return weighted(x, axis, index, [w / total for w in weights])


def _kernel(d: Any, size: Any, cubic: bool) -> Any:
    if not cubic:
        return ops.where(size < 1.0, 1.0 - d, 0.0)
    outer = ops.where(size < 2.0, keys_outer(d, CUBIC_ANTIALIASED), 0.0)
    return ops.where(size < 1.0, keys(d, CUBIC_ANTIALIASED), outer)


def each_axis(x: Any, size: Any, scales: Any, resize: Any) -> Any:
    """`resize(x, axis, length, scale)` along each of the last axes."""
    first = x.ndim - len(size)
    scales = (*scales, *(None,) * (len(size) - len(scales)))
    for i, (m, s) in enumerate(zip(size, scales, strict=True)):
        x = resize(x, first + i, int(m), s)
    return x


@lowers("aten::upsample_nearest1d.default", "aten::upsample_nearest2d.default", "aten::upsample_nearest3d.default")
def nearest(call: CallSite, x: Any, output_size: Any, *scales: Any) -> Any:
    """Entry ⌊i r⌋ for output i."""

    def resize(x: Any, axis: int, m: int, s: Any) -> Any:
        n = x.shape[axis]
        at = np.arange(m) * n // m if not s else np.floor(np.arange(m) / s).astype(np.int64)
        return ops.take(x, np.minimum(at, n - 1), axis=axis)

    return each_axis(x, output_size, scales, resize)


@lowers(
    "aten::_upsample_nearest_exact1d.default",
    "aten::_upsample_nearest_exact2d.default",
    "aten::_upsample_nearest_exact3d.default",
)
def nearest_exact(call: CallSite, x: Any, output_size: Any, *scales: Any) -> Any:
    """Entry ⌊(i + ½) r⌋ for output i."""

    def resize(x: Any, axis: int, m: int, s: Any) -> Any:
        n = x.shape[axis]
        at = (2 * np.arange(m) + 1) * n // (2 * m) if not s else np.floor((np.arange(m) + 0.5) / s).astype(np.int64)
        return ops.take(x, np.minimum(at, n - 1), axis=axis)

    return each_axis(x, output_size, scales, resize)


@lowers("aten::upsample_linear1d.default", "aten::upsample_bilinear2d.default", "aten::upsample_trilinear3d.default")
def linear(call: CallSite, x: Any, output_size: Any, align_corners: bool, *scales: Any) -> Any:
    """Linear interpolation along each axis."""
    return each_axis(x, output_size, scales, lambda x, axis, m, s: linear_axis(x, axis, m, align_corners, s))


@lowers("aten::upsample_bicubic2d.default")
def bicubic(call: CallSite, x: Any, output_size: Any, align_corners: bool, *scales: Any) -> Any:
    """Cubic convolution along each axis (Keys 1981, a = -0.75)."""
    return each_axis(x, output_size, scales, lambda x, axis, m, s: cubic_axis(x, axis, m, align_corners, s))


@lowers("aten::_upsample_bilinear2d_aa.default")
def bilinear_antialiased(call: CallSite, x: Any, output_size: Any, align_corners: bool, *scales: Any) -> Any:
    """Linear interpolation along each axis with a kernel that widens when the image shrinks."""
    return each_axis(
        x, output_size, scales, lambda x, axis, m, s: antialiased_axis(x, axis, m, align_corners, s, False)
    )


@lowers("aten::_upsample_bicubic2d_aa.default")
def bicubic_antialiased(call: CallSite, x: Any, output_size: Any, align_corners: bool, *scales: Any) -> Any:
    """Cubic convolution along each axis with a kernel that widens when the image shrinks (a = -0.5)."""
    return each_axis(x, output_size, scales, lambda x, axis, m, s: antialiased_axis(x, axis, m, align_corners, s, True))
