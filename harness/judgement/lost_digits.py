"""Correct formulas that lose digits: PyTorch's error is explained by them, and sorted by how many digits are left.

1 - tanh², formed from a rounded tanh, has no digit left where tanh is 1: `inaccurate`. The gradient of Σ softmax is 0,
and PyTorch gives a rounding of the numbers that cancel there: nothing is lost. So an error is measured by the size of
what the derivative is made of: how far it moves when every number of the witness's own program moves, relative to that.
"""

from __future__ import annotations

import itertools

import numpy as np

from ...reference_engine.rounding import UNIT_ROUNDOFF, made_of
from .judgement_of_array import THRESHOLD, Array, Judgement, errors, number_of
from .judging import CLEAR, SAMPLES, SCREENING, SUSPECT, Question, at_the_ends, inside, slack_of, spreads_of
from .out_of_range import OutOfRange
from .ties import NOT_SHARED, breaks_a_tie


def against_lossy(
    question: Question, answers: list[Array], exact: list[Array], results: list[Judgement], within: dict[int, Array]
) -> None:
    """Mismatches within the spread of a correct rule that loses digits: agree while half of the digits are right,
    relative to the size of what the derivative is made of, else inaccurate.

    within: the entries that are explained without them.
    """
    assert question.lossy is not None
    plan, given = question.lossy()
    lossy, spreads = spreads_of(question, plan, given, SCREENING, reordered=question.nested)
    worst_z = [
        errors(t, y, s, question.dtype)[0]
        for t, y, s in zip(answers, lossy, spreads, strict=True)
        if t.shape == y.shape
    ]
    if any((SUSPECT < np.nan_to_num(z[z <= CLEAR])).any() for z in worst_z):
        lossy, spreads = spreads_of(question, plan, given, SAMPLES, reordered=question.nested)
    from ...reference_engine.generalized import hull

    kinks = hull(plan, given, samples=8, seed=question.seed)
    widest: list[Array] | None = None
    sizes: list[Array] | None = None
    for i, (t, r, y, s, right) in enumerate(zip(answers, results, lossy, spreads, exact, strict=True)):
        if r.verdict != "mismatch" or t.shape != y.shape:
            continue
        z, _ = errors(t, y, s, question.dtype)
        if question.outside_domain:
            z = np.where(np.isnan(t) & np.isnan(y), 0.0, z)
        unknown = np.isnan(right) | (np.isinf(right) & np.isnan(t))
        lower, upper, _, has_kink = kinks[i]
        if has_kink and not ((z <= THRESHOLD) | unknown).all():
            widest = widest or at_the_ends(question, plan, given, spreads)
            if not ((z <= THRESHOLD) | unknown | within.get(i, False)).all():
                within[i] = within.get(i, False) | inside(t, lower, upper, widest[i], question.dtype)
            slack = slack_of(lower, upper, widest[i], question.dtype)
            if breaks_a_tie(plan, given, i, t, slack, question.seed):
                r.note = NOT_SHARED
                continue
        if ((z <= THRESHOLD) | unknown | within.get(i, False)).all():
            sizes = sizes or made_of(question.plan, question.given, samples=SCREENING, seed=question.seed)
            half = np.sqrt(UNIT_ROUNDOFF[question.dtype])
            cancelled = np.abs(right) < half * sizes[i]  # by cancellation: more than half of the digits
            size = np.where(cancelled, sizes[i], np.abs(right))
            _worst_share(r, t, right, _share_lost(t, right, size, within.get(i, False) | unknown))
            r.verdict = "indeterminate" if unknown.any() else "agree" if r.rel_error <= half else "inaccurate"
            r.note = "within the spread of a correct formula that loses digits"


def _share_lost(t: Array, right: Array, size: Array, explained: Array | bool) -> Array:
    """|t - right| / size entry by entry; 0 for what is explained without lost digits."""
    with np.errstate(all="ignore"):
        share = np.where(t == right, 0.0, np.abs(t - right) / size)
    return np.where(explained, 0.0, np.nan_to_num(share, nan=np.inf, posinf=np.inf))


def _worst_share(r: Judgement, t: Array, right: Array, lost: Array) -> None:
    """Let the entry that lost most digits speak."""
    if not lost.size or not lost.max() > 0.0:
        r.rel_error = 0.0
        return
    r.entry = tuple(int(i) for i in np.unravel_index(int(np.argmax(lost)), lost.shape))
    r.torch_value, r.reference = number_of(t[r.entry]), number_of(right[r.entry])
    r.abs_error, r.rel_error = float(np.abs(t[r.entry] - right[r.entry])), float(lost[r.entry])


def against_range(question: Question, answers: list[Array], exact: list[Array], results: list[Judgement]) -> None:
    """Mismatches because the numbers of a correct formula, exact or digit-losing, leave the range of the dtype: PyTorch
    has NaN or Inf, or what the formula gives where such numbers are infinite or 0."""
    dtype = question.dtype
    exactly, lossy = (question.plan, question.given), [question.lossy()] if question.lossy is not None else []
    for (plan, given), flushes in itertools.product([exactly, *lossy], (True, False)):
        watch = OutOfRange(dtype, flushes)
        with np.errstate(all="ignore"):
            bounded = [np.asarray(b) for b in plan.observe(given, watch)]
        if watch.left == 0.0:
            continue
        _, spreads = spreads_of(question, plan, given, SAMPLES)
        for t, y, b, s, r in zip(answers, exact, bounded, spreads, results, strict=True):
            if r.verdict != "mismatch" or t.shape != y.shape:
                continue
            wrong = errors(t, y, s, dtype)[0] > THRESHOLD
            lost = ~np.isfinite(t) if watch.overflows else np.zeros(t.shape, dtype=bool)
            if (~wrong | lost | (errors(t, b, s, dtype)[0] <= THRESHOLD)).all():
                r.verdict = "inaccurate"
                r.note = f"the formula meets {watch.left:.3g}, outside the normal range of {dtype}"
