"""Lowerings of Fourier transforms: complex to complex, real to complex, and complex to real."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...reference_engine import ops
from .complex_numbers import Pair, as_pair, lowers_complex, scaled
from .table import CallSite

NONE, BY_ROOT, BY_SIZE = 0, 1, 2  # of ATen's argument `normalization`


def transformed(z: Any, axes: Sequence[int], sign: int, size: int, normalization: int) -> Pair:
    """The transform along `axes`, over 1, √size or size."""
    z = as_pair(z)
    if not axes:
        return z
    y = ops.fourier(ops.stack([z.x, z.y], axis=-1), tuple(a % z.ndim for a in axes), sign)
    both = Pair(y[..., 0], y[..., 1])
    if normalization == NONE or size == 0:
        return both
    return scaled(both, 1.0 / (math.sqrt(size) if normalization == BY_ROOT else size))


def _size(shape: Sequence[int], axes: Sequence[int]) -> int:
    return math.prod(shape[a] for a in axes)


@lowers_complex("_fft_c2c")
def complex_to_complex(call: CallSite, z: Any, dim: Sequence[int], normalization: int, forward: bool) -> Pair:
    """Σ z exp(∓2πi jk/n) along the axes `dim`."""
    z = as_pair(z)
    return transformed(z, dim, -1 if forward else 1, _size(z.shape, dim), normalization)


@lowers_complex("_fft_r2c")
def real_to_complex(call: CallSite, x: Any, dim: Sequence[int], normalization: int, onesided: bool) -> Pair:
    """The transform of real numbers; onesided: along the last of the axes only the entries up to n/2, since the others
    are their conjugates."""
    y = transformed(x, dim, -1, _size(x.shape, dim), normalization)
    if not onesided:
        return y
    axis = dim[-1] % y.ndim
    half = [slice(None)] * y.ndim
    half[axis] = slice(0, y.shape[axis] // 2 + 1)
    return Pair(y.x[tuple(half)], y.y[tuple(half)])


@lowers_complex("_fft_c2r")
def complex_to_real(call: CallSite, z: Any, dim: Sequence[int], normalization: int, last_dim_size: int) -> Any:
    """The inverse transform to real numbers: the entries left out are the conjugates of those given, so that these
    count twice, and the imaginary parts of the first and, for even n, the middle one do not count."""
    z = as_pair(z)
    n, axis = last_dim_size, dim[-1] % z.ndim
    size = _size(z.shape, dim[:-1]) * n
    z = transformed(z, dim[:-1], 1, size, NONE)
    given = min(z.shape[axis], n // 2 + 1)
    half = [slice(None)] * z.ndim
    half[axis] = slice(0, given)
    counted = np.full(given, 2.0)
    counted[0] = 1.0
    if n % 2 == 0 and given == n // 2 + 1:
        counted[-1] = 1.0
    weights = counted.reshape([given if a == axis else 1 for a in range(z.ndim)])
    missing = [n - given if a == axis else s for a, s in enumerate(z.shape)]
    parts = []
    for part in (z.x, z.y):
        kept = ops.multiply(part[tuple(half)], weights)
        parts.append(ops.concat([kept, np.zeros(missing)], axis=axis) if n > given else kept)
    return transformed(Pair(*parts), [axis], 1, size, normalization).x
