"""Matrices that are symmetric but for rounding, and how a kernel that reads one triangle of them is read.

A product `a @ a.T` that a library forms block by block is symmetric in its last digits or not, as the blocks fall.
Whether a matrix "is symmetric" can therefore only be asked to within what rounding leaves of two equal numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.rounding import UNIT_ROUNDOFF
from .table import CallSite

Array = np.ndarray[Any, Any]

# An entry that is a sum of n products of numbers as large as the matrix has is off by up to n u times its greatest
# entry. Of Gram matrices, covariances, kernels, Laplacians, congruences and inverses of up to 20,000 terms the two
# triangles were at most 2.4 of these apart; this allows what the judge allows everywhere, 64.
ROUNDINGS = 64.0
# A kernel sums in float32 what it stores in a half precision, so n does not enter there: only the few numbers on the
# way to an entry that were stored. Those of a twofold scaling (D W D) are two of them for each triangle.
STORED = 8.0
HALF = ("bfloat16", "float16")


def transposed(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def is_symmetric_but_for_rounding(x: Array, held: str) -> bool:
    """Whether xᵀ (conjugated, where x is complex) is x to within the rounding of `held`, matrix by matrix; NaN is as
    NaN. held: the shortest dtype that its numbers were held in.  x: (…, n, n).
    """
    y = transposed(x.conj())
    if x.size == 0 or np.array_equal(x, y, equal_nan=True):
        return True
    size = np.max(np.where(np.isfinite(x), np.abs(x), 0.0), axis=(-2, -1), keepdims=True)
    summed = UNIT_ROUNDOFF.get("float32" if held in HALF else held, 0.0)
    stored = STORED * UNIT_ROUNDOFF[held] if held in HALF else 0.0
    return _are_near(x, y, (ROUNDINGS * x.shape[-1] * summed + stored) * size)


def _are_near(x: Array, y: Array, bound: Array) -> bool:
    with np.errstate(invalid="ignore"):
        near = (np.abs(x - y) <= bound) | (x == y) | (np.isnan(x) & np.isnan(y))
    return bool(near.all())


def is_symmetric(call: CallSite, a: Any) -> bool:
    """Whether the recorded matrix is symmetric to within the rounding of the run that made it.

    Where a difference is beyond what the size of the matrix explains, such as behind a cancellation, it is held against
    what rounding does to the two entries in the run itself: 64 standard deviations of each, as everywhere.
    """
    numbers = np.asarray(call.number_of(a))
    if np.array_equal(numbers, transposed(numbers), equal_nan=True):
        return True
    held = call.made_in()
    if is_symmetric_but_for_rounding(numbers, held):
        return True
    if held in HALF:
        return False
    moved = call.drifts(a, held)
    moved = np.where(np.isfinite(moved), moved, 0.0)  # no number is known to be a rounding
    return _are_near(numbers, transposed(numbers), ROUNDINGS * (moved + transposed(moved)))


def with_numbers_read(x: Any, numbers: Array, recorded: Array, lower: bool) -> Any:
    """`x`, whose numbers are given, moved onto those that a kernel reads: one triangle of `recorded`, mirrored. What
    is added is a constant of the size of a rounding, so the derivative is that of x.
    """
    half = np.tril(recorded) if lower else np.triu(recorded)
    read = np.where(half != 0.0, half, transposed(half))
    with np.errstate(invalid="ignore"):
        step = read - numbers
    step = np.where(np.isfinite(step), step, 0.0)
    return x + step if step.any() else x


def symmetric(call: CallSite, a: Any, lower: bool) -> Any:
    """A as the symmetric matrix that the kernel sees.

    Where the recorded A is symmetric but for rounding, its symmetric part, at the numbers that are read: the documented
    gradient, symmetric itself. Where it is not, the one triangle that is read, mirrored.
    """
    if is_symmetric(call, a):
        call.follows("symmetric-input")
        numbers = np.asarray(call.number_of(a))
        part = 0.5 * (numbers + transposed(numbers))
        return with_numbers_read(0.5 * (a + ops.swap_last(a)), part, numbers, lower)
    half = ops.tril(a, -1) if lower else ops.triu(a, 1)
    return half + ops.swap_last(half) + ops.diag_embed(ops.diagonal(a))
