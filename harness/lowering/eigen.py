"""Lowerings of eigenvalues and eigenvectors of matrices that are not symmetric; both are complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .complex_numbers import Pair, as_pair, lowers_complex
from .table import CallSite


def _stacked(recorded: Any, axis: int) -> Any:
    return np.moveaxis(recorded, -1, axis)


@lowers_complex("linalg_eig")
def eig(call: CallSite, a: Any) -> tuple[Pair, Pair]:
    """(w, V) with A V = V diag(w), in the recorded order; the columns have length 1 and the recorded phases.

    The phase is fixed by d of the recorded vectors, dᴴv > 0: what depends on another choice is no function of A.
    """
    z = as_pair(a)
    recorded_values, recorded_vectors = call.outputs
    if z.x.size == 0:
        nothing = ops.sum(z.x) * 0.0
        return tuple(Pair(nothing + y[..., 0], nothing + y[..., 1]) for y in call.outputs)  # type: ignore[return-value]
    direction, near = _stacked(recorded_vectors, -3), _stacked(recorded_values, -2)
    w, v = ops.eig(ops.stack([z.x, ops.broadcast_to(z.y, z.x.shape)], axis=-3), direction, near)
    x, y = v[..., 0, :, :], v[..., 1, :, :]
    length = ops.sqrt(ops.sum(x * x + y * y, axis=-2, keepdims=True))
    return Pair(w[..., 0, :], w[..., 1, :]), Pair(x / length, y / length)
