"""At a tie the legitimate answers fill less than the box between their ends: what tied entries get has one sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...reference_engine.evaluate import Plan
from ...reference_engine.generalized import members, open_ties

Array = Any
NOT_SHARED = "entries that are tied do not share one gradient: their sum is not what arrives"
# Random choices among which a sum must stay the same to be called fixed, and all in all. Where these span less than
# half as many dimensions they span the set, with probability 1, since a gradient is linear in each weight.
FEW, CHOICES = 4, 64
MOST = 4096  # moving entries: more of them span more dimensions than there are choices


def breaks_a_tie(plan: Plan, given: Sequence[Any], output: int, t: Array, slack: Array, seed: int) -> bool:
    """Whether an answer `t` of one output between the ends of the set is none of the set, because of a tie.

    Two necessary conditions. A sum along the tied axes that no choice changes is the same in t. And t lies on the
    affine space that the choices span, where they are enough to tell. slack: what rounding explains, entry by entry.
    """
    ties = open_ties(plan, given)
    if not ties or t.dtype.kind != "f" or not t.size:
        return False
    slack = np.broadcast_to(slack, t.shape)
    first = [m[output].astype(np.float64) for m in members(plan, given, samples=FEW, seed=seed)]
    axes_here = [axes for shape, axes in ties if shape == t.shape]
    if any(_changes_a_sum(first, t.astype(np.float64), slack, axes) for axes in axes_here):
        return True
    moving = np.ptp(np.stack(first), axis=0) > 0
    if not 0 < moving.sum() <= MOST:
        return False
    rows = [m[output].astype(np.float64)[moving] for m in members(plan, given, samples=CHOICES, seed=seed)]
    return _off_their_span(np.stack(rows), t.astype(np.float64)[moving], slack[moving])


def _changes_a_sum(chosen: Sequence[Array], t: Array, slack: Array, axes: tuple[int, ...]) -> bool:
    """Whether a sum along the axes, equal for all chosen answers, is another one in t."""
    sums = np.stack([y.sum(axes) for y in chosen])
    allowed = slack.sum(axes)
    with np.errstate(all="ignore"):
        fixed = np.ptp(sums, axis=0) <= allowed
        return bool(np.any(fixed & (np.abs(t.sum(axes) - sums[0]) > 2 * allowed)))


def _off_their_span(chosen: Array, t: Array, slack: Array) -> bool:
    """Whether t lies off the affine space of the rows. Distances are measured in slacks; `rounded` is the length of
    numbers that are all rounded by one slack.
    """
    middle = chosen.mean(axis=0)
    with np.errstate(all="ignore"):
        apart, off = (chosen - middle) / slack, (t - middle) / slack
    if not (np.isfinite(apart).all() and np.isfinite(off).all()):
        return False
    _, lengths, directions = np.linalg.svd(apart, full_matrices=False)
    rounded = np.sqrt(apart.size)
    spanned = directions[lengths > rounded]
    if 2 * len(spanned) > len(chosen):
        return False
    return bool(np.linalg.norm(off - spanned.T @ (spanned @ off)) > 2 * rounded)
