"""Legitimate choices that add up to a wrong answer: relu(x) - relu(-x) at 0 is x, and the choice 0 for both gives 0.

At a kink the judge accepts a set of answers. But where the one-sided derivatives of the program as a whole agree, it
has a derivative there, and only that is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...reference_engine.generalized import directional, meets_kink
from ...reference_engine.program import Program, Variable
from ...reference_engine.registry import FLOAT
from .judging import THRESHOLD, Judgement, Question, rounding_of

WRONG_SUM = "legitimate choices, wrong sum"
# One-sided derivatives of operations without a one-sided rule are taken 2^-30 beside the kink, so they are exact to
# about that times the curvature; float32 has 2^-24 of its own. A wrong choice is off by a weight between 0 and 1 times
# a slope: far above this.
EXACT = 2.0**-18
# A derivative exists only where the two sides agree; sides that differ by more than this share of what torch is off by
# are two ends of a kink, however small it is beside the rest of the derivative.
SAME = 2.0**-10
OTHERS = 24  # directions; where a function is not linear, one in about two of them shows it
PRECISE = ("float64", "float32")

Array = np.ndarray[Any, Any]
Finding = tuple[bool, float, float]


def hold_against_one_sided(
    judgements: Sequence[Judgement],
    question: Question,
    program: Program,
    inputs: Sequence[Any],
    c: Sequence[Array],
    t: Sequence[Array],
    mode: str,
    known: Mapping[Variable, Any] | None = None,
) -> None:
    """Turn legitimate answers at kinks into mismatches where the program as a whole has a derivative and they are not
    it. Modes R and F; known: as for `directional`.
    """
    if mode not in ("R", "F") or question.dtype not in PRECISE or any(v.dtype != FLOAT for v in program.inputs):
        return
    if any(j.verdict not in ("agree", "convention") for j in judgements):
        return
    if not meets_kink(question.plan, question.given):
        return
    found = wrong_sums(program, inputs, c, t, mode, question.answers, known)
    if not any(wrong for wrong, *_ in found):
        return
    spreads = rounding_of(question)
    for i, (j, (wrong, number, right)) in enumerate(zip(judgements, found, strict=True)):
        moved = np.max(spreads[i], initial=0.0) if mode == "F" else np.sum(spreads[i] * np.abs(t[i]))
        if wrong and abs(number - right) > THRESHOLD * moved:
            j.verdict, j.note, j.z = "mismatch", WRONG_SUM, np.inf
            j.torch_value, j.reference = number, right
            j.abs_error = abs(number - right)
            j.rel_error = j.abs_error / abs(right) if right else np.inf


def wrong_sums(
    program: Program,
    inputs: Sequence[Any],
    c: Sequence[Array],
    t: Sequence[Array],
    mode: str,
    answers: Sequence[Array],
    known: Mapping[Variable, Any] | None = None,
) -> list[Finding]:
    """For each answer of torch in mode F (one per output) or R (one per input): whether it contradicts a derivative
    that exists, with torch's number and the right one.

    F: torch's tangent along t, entry by entry, where the one-sided derivatives along t and -t agree. R: ⟨answer, t⟩
    for each input on its own, against the one-sided derivatives of ⟨c, f⟩. All inputs are floating.
    """

    def both(t: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """f'(x; t) and -f'(x; -t)."""
        return directional(program, inputs, t, known), [
            -y for y in directional(program, inputs, [-x for x in t], known)
        ]

    def linear(t: Sequence[Array], forth: Sequence[Array]) -> list[Array]:
        """Where f'(x; t + u) = f'(x; t) + f'(x; u) for some other directions u, to half of the digits. A function of
        odd degree (copysign(x, y) at 0) has a slope along every line, and no derivative.
        """
        holds = [np.ones(np.shape(a), dtype=bool) for a in forth]
        rng = np.random.default_rng(0)  # one cosine for all moved two entries a period apart together
        for _ in range(OTHERS):
            u = [x * rng.standard_normal(x.shape) for x in t]
            at_once = [x + y for x, y in zip(t, u, strict=True)]
            other, together = (directional(program, inputs, d, known) for d in (u, at_once))
            for on, s, a, b in zip(holds, together, forth, other, strict=True):
                on &= np.abs(s - a - b) <= EXACT * (np.abs(s) + np.abs(a) + np.abs(b))
        return holds

    if mode == "F":
        forth, back = both(t)
        found = [
            _contradicts(np.asarray(a), y, z, np.abs(np.asarray(a)))
            for a, y, z in zip(answers, forth, back, strict=True)
        ]
        if not any(wrong for wrong, *_ in found):
            return found
        return [
            _contradicts(np.asarray(a), y, np.where(on, z, np.nan), np.abs(np.asarray(a)))
            for a, y, z, on in zip(answers, forth, back, linear(t, forth), strict=True)
        ]
    found = []
    for i, a in enumerate(answers):
        alone = [x if j == i else np.zeros_like(x) for j, x in enumerate(t)]
        forth, back = both(alone)
        y, z = (np.asarray(sum(np.sum(w * d) for w, d in zip(c, side, strict=True))) for side in (forth, back))
        terms = np.asarray(a) * t[i]
        size = np.sum(np.abs(terms)) + sum(np.sum(np.abs(w * d)) for w, d in zip(c, forth, strict=True))
        finding = _contradicts(np.asarray(np.sum(terms)), y, z, np.asarray(size))
        if finding[0] and not all(on.all() for on in linear(alone, forth)):
            finding = False, 0.0, 0.0
        found.append(finding)
    return found


def _contradicts(a: Array, forth: Array, back: Array, size: Array) -> Finding:
    with np.errstate(all="ignore"):
        border = EXACT * np.maximum(np.maximum(np.abs(forth), size), EXACT)
        apart, off = np.abs(forth - back), np.abs(a - forth)
        wrong = (apart <= np.minimum(border, SAME * off)) & (off > 2.0 * border) & np.isfinite(a)
    if not np.any(wrong):
        return False, 0.0, 0.0
    at = np.unravel_index(int(np.argmax(wrong)), np.shape(wrong))
    return True, float(a[at]), float(forth[at])
