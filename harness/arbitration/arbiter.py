"""The arbiter: one derivative to 50 digits from values of the function alone, with no rule of anybody's.

The witness's program is evaluated with mpmath at 200 digits on both sides of the point, and the central difference is
taken with two steps. Its error is a multiple of the square of the step, far below the digits that are given; where the
two do not agree to these digits, or the program has an operation without a value in mpmath, there is no arbiter, and
the reason is given.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

from ...reference_engine.program import Program
from .exact_matrices import EXACT_MATRICES
from .limits import DIGITS, LEAST, NEGLIGIBLE, Evaluation, NotEvaluated

PROMISED = 50  # decimal digits of the number that is given
# h = 10^-k times the size of x. An n-th difference loses n k of the 200 digits and is off by h² f⁽ⁿ⁺²⁾/6: with order 3
# at most 120 are lost, and both leave more than PROMISED digits.
STEPS = (30, 40)
BY_DIFFERENCES = f"differences of the function at {DIGITS} digits (mpmath), no rule in between"


@dataclass(frozen=True)
class Ruling:
    """`value`: the number with 50 digits, as text; None where there is no arbiter. source: where it comes from, or why
    there is none."""

    value: str | None
    source: str


def arbitrate(
    program: Program,
    inputs: Sequence[Any],
    c: Sequence[Any],
    directions: Sequence[Sequence[Any]],
    mode: str,
    which: int,
    entry: tuple[int, ...],
) -> Ruling:
    """The number that mode `mode` asks for, at one entry of answer `which`.

    mode: as in judgement.modes, "" for the value. directions: as many as the mode needs, one array an input each: all
    of them where the mode is all F, one less than the order for the others, whose last direction is the entry itself.
    """
    backward = "R" in mode
    order = len(mode)
    used = [[np.asarray(t, dtype=np.float64) for t in d] for d in directions[: order - backward]]
    if backward:
        unit = [np.zeros(v.shape) for v in program.inputs]
        unit[which][entry] = 1.0
        used.append(unit)
    with mp.workdps(DIGITS), np.errstate(all="ignore"):
        try:
            evaluation = Evaluation(program, inputs, None, c if backward else None, EXACT_MATRICES)
            found = [_difference(evaluation, used, k) for k in STEPS] if order else [evaluation.at_x] * 2
        except NotEvaluated as error:
            return Ruling(None, f"no value in mpmath: {error}")
        a, b = (y[0][()] if backward else np.asarray(y[which])[entry] for y in found)
        return _ruling(mp.mpf(a), mp.mpf(b), evaluation, order)


def _ruling(a: Any, b: Any, evaluation: Evaluation, order: int) -> Ruling:
    if not (mp.isfinite(a) and mp.isfinite(b)):
        return Ruling(None, "the function has no number beside the point")
    sizes = [abs(x) for y in evaluation.at_x for x in np.ravel(y) if mp.isfinite(x)]
    greatest = max([mp.mpf(1), *sizes])
    nothing = mp.mpf(10) ** (-PROMISED) * greatest
    if order and abs(a) <= nothing and abs(b) <= nothing:
        if LEAST * greatest > NEGLIGIBLE * _step(evaluation, STEPS[1]) ** order:
            return Ruling(None, "its digits are lost beside numbers that are too large")
        return Ruling("0", BY_DIFFERENCES)
    if abs(a - b) > mp.mpf(10) ** (-PROMISED) * abs(b):
        return Ruling(None, "differences do not settle: the point lies at a kink")
    return Ruling(mp.nstr(b, PROMISED), BY_DIFFERENCES)


def _step(evaluation: Evaluation, k: int) -> Any:
    return evaluation.scale / mp.mpf(10) ** k


def _difference(evaluation: Evaluation, directions: Sequence[Sequence[Any]], k: int) -> list[Any]:
    """The central difference of order n along n directions, over (2h)ⁿ."""
    h = _step(evaluation, k)
    exactly = np.frompyfunc(mp.mpf, 1, 1)
    total: list[Any] = []
    for signs in itertools.product((1, -1), repeat=len(directions)):
        moves = [[s * exactly(t) for t in d] for s, d in zip(signs, directions, strict=True)]
        y = evaluation.moved(moves, h)
        sign = int(np.prod(signs))
        total = [sign * b for b in y] if not total else [a + sign * b for a, b in zip(total, y, strict=True)]
    return [np.asarray(a / (2 * h) ** len(directions), dtype=object) for a in total]
