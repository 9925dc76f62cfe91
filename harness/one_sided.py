"""Legitimate choices that add up to a wrong answer: relu(x) - relu(-x) at 0 is x, and the choice 0 for both gives 0.

At a kink the judge accepts a set of answers. But where the one-sided derivatives of the program as a whole agree, it
has a derivative there, and only that is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..reference_engine.generalized import directional
from ..reference_engine.program import Program

WRONG_SUM = "legitimate choices, wrong sum"
# One-sided derivatives of operations without a one-sided rule are taken 2^-30 beside the kink, so they are exact to
# about that times the curvature. A choice is off by a weight between 0 and 1 times a slope: far above this.
EXACT = 2.0**-20

Array = np.ndarray[Any, Any]


def wrong_sums(
    program: Program, inputs: Sequence[Any], c: Sequence[Array], t: Sequence[Array], mode: str, answers: Sequence[Array]
) -> list[tuple[bool, float, float]]:
    """For each answer of torch in mode F (one per output) or R (one per input): whether it contradicts a derivative
    that exists, with torch's number and the right one.

    F: torch's tangent along t, entry by entry, where the one-sided derivatives along t and -t agree. R: ⟨answer, t⟩
    for each input on its own, against the one-sided derivatives of ⟨c, f⟩. All inputs are floating.
    """
    if mode == "F":
        forth, back = _both(program, inputs, t)
        return [_contradicts(np.asarray(a), y, z) for a, y, z in zip(answers, forth, back, strict=True)]
    found = []
    for i, a in enumerate(answers):
        alone = [x if j == i else np.zeros_like(x) for j, x in enumerate(t)]
        forth, back = _both(program, inputs, alone)
        y, z = (np.sum([np.sum(w * d) for w, d in zip(c, side, strict=True)]) for side in (forth, back))
        found.append(_contradicts(np.sum(np.asarray(a) * t[i]), np.asarray(y), np.asarray(z)))
    return found


def _both(program: Program, inputs: Sequence[Any], t: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """f'(x; t) and -f'(x; -t)."""
    return directional(program, inputs, t), [-y for y in directional(program, inputs, [-x for x in t])]


def _contradicts(a: Array, forth: Array, back: Array) -> tuple[bool, float, float]:
    with np.errstate(all="ignore"):
        size = EXACT * np.maximum(np.maximum(np.abs(forth), np.abs(a)), EXACT)
        wrong = (np.abs(forth - back) <= size) & (np.abs(a - forth) > 2.0 * size) & np.isfinite(a)
    if not np.any(wrong):
        return False, 0.0, 0.0
    at = np.unravel_index(int(np.argmax(wrong)), np.shape(wrong))
    return True, float(np.asarray(a)[at]), float(np.asarray(forth)[at])
