"""The judgement on one array: how many spreads PyTorch's numbers lie from the witness's, and at which entry most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference_engine.rounding import SMALLEST, UNIT_ROUNDOFF
from .out_of_range import LARGEST

Array = np.ndarray[Any, Any]

# Calibrated by benchmarks/calibrate_judge.py, recorded in docs/calibration.md: the greatest z of a right answer stays
# below, and a fault of 1e-6 (float64) or 1e-3 (float32) in one entry lies above.
THRESHOLD = 64.0
EMPTY = "empty: the shapes agree, and there is no number to compare"
UNUSED = "not used by the callable"
EARLIER = (
    "used only by a graph that was made before this call and that the callable keeps (a cache, a hidden state): what "
    "lies behind it was not recorded, so nothing is known of this gradient. Compute it in each call, or detach it"
)


@dataclass
class Judgement:
    """The verdict on one array, and its worst entry.

    z: dimensionless, in units of the spread (0 where there is no error). entry: index of the worst entry, () for a
    scalar.
    """

    verdict: str
    z: float = 0.0
    entry: tuple[int, ...] = ()
    torch_value: float = float("nan")
    reference: float = float("nan")
    spread: float = 0.0
    abs_error: float = 0.0
    rel_error: float = 0.0
    ulp: float = 0.0
    entries: int = 0
    wrong: int = 0
    note: str = ""
    part: str = ""  # ".real" or ".imag" of a complex entry


def exactly(y: Array) -> Judgement:
    """The judgement where PyTorch gives exactly the witness's numbers."""
    first = (0,) * y.ndim if y.size else ()
    value = number_of(y[first]) if y.size else 0.0
    return Judgement("agree", 0.0, first, value, value, entries=y.size, note="" if y.size else EMPTY)


def unused(torch_has_one: bool) -> Judgement:
    """The judgement on the gradient of a leaf that no recorded call reads. torch_has_one: whether PyTorch has it."""
    return Judgement("indeterminate", note=EARLIER) if torch_has_one else Judgement("agree", note=UNUSED)


def errors(t: Array, y: Array, s: Array, dtype: str) -> tuple[Array, Array]:
    """(z, absolute error) entry by entry; z is inf for an error on zero spread and for NaN or Inf against a number, NaN
    where the witness has none or where the derivative is infinite and PyTorch has none.
    """
    with np.errstate(all="ignore"):
        if _all_finite(t, y, s):
            error = np.abs(t - y)
            z = np.asarray(error / s)
            if s.size and s.min() == 0.0:
                z[error == 0.0] = 0.0
            return z, error
        error = np.abs(t - y)
        same = (t == y) | (np.isnan(t) & np.isnan(y))
        overflow = (
            np.isinf(t)
            & (np.abs(y) >= LARGEST[dtype] * (1 - UNIT_ROUNDOFF[dtype]))
            & (np.sign(t.real) == np.sign(y.real))
        )
        z = np.where(error > 0, error / s, 0.0)
        z = np.where(np.isfinite(t) | same, z, np.inf)
        z = np.where(np.isinf(s) & np.isfinite(t), 0.0, z)
        z = np.where(same | overflow, 0.0, z)
        z = np.where(np.isnan(y), np.nan, z)
        z = np.where(np.isinf(y) & ~same, np.where(np.isnan(t), np.nan, np.inf), z)
    return z, np.where(same | overflow, 0.0, error)


def _all_finite(*arrays: Array) -> bool:
    return all(bool(np.isfinite(x).all()) for x in arrays)


def judged(
    t: Array, y: Array, s: Array, dtype: str, outside_domain: bool = False, nan_arrives: bool = False
) -> Judgement:
    """The judgement on PyTorch's `t` where the witness has `y` with spread `s`; the two flags as for `Question`."""
    if t.shape != y.shape:
        return Judgement(
            "mismatch",
            np.inf,
            note=f"PyTorch's gradient has shape {t.shape}, the derivative has shape {y.shape}",
            entries=t.size,
        )
    if t.size == 0:
        return Judgement("agree", note=EMPTY)
    z, error = errors(t, y, s, dtype)
    if outside_domain:
        z = np.where(np.isnan(t) & np.isnan(y), 0.0, z)
    if nan_arrives:
        z = np.where(np.isnan(t), 0.0, z)
    greatest = z.max()
    some_unknown = bool(np.isnan(greatest))
    unknown = np.isnan(z) if some_unknown else np.zeros((), dtype=bool)
    wrong = int((z > THRESHOLD).sum()) if some_unknown or greatest > THRESHOLD else 0
    if some_unknown and not wrong:
        worst = int(np.argmax(unknown))  # the first entry without a number; z is the greatest of the others
    else:
        # among several infinite z the greatest error speaks
        top = np.flatnonzero(z == (np.max(z[~unknown]) if some_unknown else greatest))
        worst = int(top[np.argmax(np.nan_to_num(error.ravel()[top], nan=np.inf, posinf=np.inf))])
    entry = tuple(int(i) for i in np.unravel_index(worst, t.shape))
    verdict = "mismatch" if wrong else "indeterminate" if some_unknown else "agree"
    reference = number_of(y[entry])
    size = abs(reference)
    e = float(error[entry])
    others = some_unknown and bool(unknown[entry]) and not unknown.all()
    return Judgement(
        verdict,
        float(np.max(z[~unknown], initial=0.0)) if others else float(z[entry]),
        entry,
        number_of(t[entry]),
        reference,
        float(s[entry]),
        e,
        e / size if size > 0 else (0.0 if e == 0 else np.inf),
        e / max(2 * UNIT_ROUNDOFF[dtype] * size, SMALLEST[dtype]) if np.isfinite(size) else np.nan,
        t.size,
        wrong,
        "the witness has no number at some entries" if some_unknown and not wrong else "",
    )


def number_of(x: Any) -> float:
    return float(np.real(x))
