"""The discrete Fourier transform of complex numbers held as pairs, without a scale; its transpose is that of the other
sign."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import Accumulation, same_dtype
from ..tracing import bind
from .declare import general
from .shape import axis_of, shaped

# A fast transform adds in a tree of log2 n levels, whatever n is.
LEVELS = 16


def _transform(z: Any, *, axes: tuple[int, ...], sign: int) -> Any:
    both = z[..., 0] + 1j * z[..., 1]
    y = np.fft.fftn(both, axes=axes) if sign < 0 else np.fft.ifftn(both, axes=axes, norm="forward")
    return np.stack([y.real, y.imag], axis=-1)


def _squares(z: Any, *, axes: tuple[int, ...], sign: int) -> Any:
    return np.broadcast_to(np.sum(np.abs(z) ** 2, axis=(*axes, -1), keepdims=True), z.shape)


def _torch(names: Sequence[str], params: dict[str, Any]) -> str:
    z, axes = f"torch.complex({names[0]}[..., 0], {names[0]}[..., 1])", params["axes"]
    call = f"fftn({z}, dim={axes})" if params["sign"] < 0 else f"ifftn({z}, dim={axes}, norm='forward')"
    return f"torch.view_as_real(torch.fft.{call})"


general(
    "fourier",
    _transform,
    lambda z, *, axes, sign: (z.shape, same_dtype(z)),
    lambda g, y, z, *, axes, sign: bind("fourier", g, axes=axes, sign=-sign),
    torch=_torch,
    source="a unitary map has its inverse as adjoint; Van Loan, Computational Frameworks for the FFT, 1992, sec. 1.1",
    accumulates=Accumulation(
        lambda z, *, axes, sign: 2 * math.prod(z.shape[a] for a in axes), _squares, chain=LEVELS
    ),
)


def fourier(z: Any, axes: Sequence[int], sign: int = -1) -> Any:
    """Σ_j z_j exp(±2πi jk/n) along `axes`, without a scale: real and imaginary part along the last axis.

    z: (…, 2) -> the same; axes count without the last one. sign: that of the exponent, -1 for the forward transform.
    Raises ShapeError where the last axis has not two entries.
    """
    z = shaped(z)
    if z.ndim < 2 or z.shape[-1] != 2:
        raise ShapeError(
            f"fourier: an array of shape {z.shape}; accepted is a last axis of 2, for the two parts, after at "
            "least one other. Stack the two parts along a last axis."
        )
    counted = tuple(axis_of("fourier", int(a), z.ndim - 1) for a in axes)
    return bind("fourier", z, axes=counted, sign=1 if sign > 0 else -1)
