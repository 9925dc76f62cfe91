"""What rules cannot say, limits do: entries where 0 · ∞ leaves no number, and higher derivatives of sums at kinks.

√(x²) at 0 meets 0 · ∞, and its slopes from both sides are -1 and 1: NaN is a mismatch there, any number between them a
legitimate choice. exp(-‖x‖²) at 0 meets the norm's kink, and has the second derivative -2 all the same: 0, the
derivative of a constant choice, is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...reference_engine.generalized import meets_kink
from ...reference_engine.program import Program, Variable
from ...reference_engine.rounding import UNIT_ROUNDOFF
from ..arbitration.limits import AFFORDED, Evaluation, evaluated, evaluations, limits
from .judging import THRESHOLD, Judgement, Question, rounding_of
from .modes import per_output
from .one_sided import WRONG_SUM

Array = np.ndarray[Any, Any]
NAN_MADE = "0 · inf is NaN"
SIDES = f"{NAN_MADE}, in PyTorch and in rules. Decided by limits: from its sides the function has "
MOST = 16  # entries of one array that are decided so; each takes some thousand evaluations of small functions
# Torch's number is held against a limit to half of its digits: how it rounds where no rule has a number is not known.
HALF = float(np.sqrt(UNIT_ROUNDOFF["float64"]))


def hold_against_limits(
    judgements: Sequence[Judgement],
    question: Question,
    program: Program,
    inputs: Sequence[Any],
    c: Sequence[Array],
    directions: Sequence[Sequence[Array]],
    mode: str,
    known: Mapping[Variable, Any] | None = None,
) -> None:
    """Decide what is `indeterminate`, and hold answers above order 1 at kinks against the derivative of the whole.

    program: the function, at float64 `inputs`; c: cotangents; directions: t, s, r as far as the mode takes them; known:
    recorded numbers.
    """
    if question.dtype != "float64":
        return
    of_outputs = per_output(mode)
    open_ones = [k for k, j in enumerate(judgements) if j.verdict == "indeterminate"]
    order = len(mode)
    composed = order > 1 and all(j.verdict in ("agree", "convention") for j in judgements)
    composed = composed and meets_kink(question.plan, question.given)
    if not open_ones and not composed:
        return
    evaluation = evaluated(program, inputs, known, None if of_outputs else c)
    if evaluation is None:
        return
    if composed:
        _hold_sums(judgements, question, evaluation, directions[:order], of_outputs)
        return
    exact = [np.asarray(y) for y in question.plan.run(question.given)]
    if evaluation.work * evaluations(order) * (1 if of_outputs else MOST) > AFFORDED:
        return
    ends = limits(evaluation, directions[:order]) if of_outputs else []
    for k in open_ones:
        answer, y = np.asarray(question.answers[k]), exact[k]
        with np.errstate(all="ignore"):
            unknown = np.argwhere(np.isnan(y) | (np.isinf(y) & np.isnan(answer)))
        if len(unknown) > MOST or answer.dtype.kind != "f":
            continue
        pairs = []
        for at in map(tuple, unknown):
            if of_outputs:
                pairs.append((at, float(ends[k][0][at]), float(ends[k][1][at])))
            else:
                unit = [np.zeros(np.shape(x)) for x in inputs]
                unit[k][at] = 1.0
                ((low, high),) = limits(evaluation, [*directions[: order - 1], unit])
                pairs.append((at, float(low), float(high)))
        _settle(judgements[k], answer, pairs)


def tell_decided(rows: Sequence[dict[str, Any]], whole: Iterable[Judgement]) -> None:
    """Where limits of the whole have decided, that one operation on the way has no number of its own is no open end."""
    whole = list(whole)
    if not any(SIDES in j.note for j in whole) or any(j.verdict not in ("agree", "convention") for j in whole):
        return
    for r in rows:
        if r["verdict"] == "indeterminate" and r["mode"] == "R" and r["runner"] == "autograd":
            r.update(verdict="convention", message=f"{NAN_MADE} here; limits of the whole decided what passes through")


def _settle(j: Judgement, answer: Array, pairs: Sequence[tuple[tuple[int, ...], float, float]]) -> None:
    """The verdict on an array whose unknown entries have limits between `low` and `high`; NaN: none, it stays open."""
    verdicts = []
    for at, low, high in pairs:
        t = float(answer[at])
        slack = HALF * max(abs(low), abs(high)) if np.isfinite([low, high]).all() else 0.0
        infinite = not np.isfinite([low, high]).all()
        if np.isnan(low) or (np.isnan(t) and infinite) or (low == high and infinite and np.isfinite(t)):
            verdicts.append("indeterminate")  # no limit, or an infinite one, that is no derivative
        elif np.isnan(t) or not low - slack <= t <= high + slack:
            j.verdict, j.z, j.entry, j.torch_value = "mismatch", np.inf, tuple(int(n) for n in at), t
            j.reference = float(np.clip(0.0, low, high))
            j.abs_error = j.rel_error = j.ulp = np.inf
            one = f"the derivative {low:.6g}" if high - low <= slack else f"slopes between {low:.6g} and {high:.6g}"
            j.note = SIDES + one
            return
        else:
            verdicts.append("agree" if high - low <= slack else "convention")
    if "indeterminate" in verdicts:
        return
    j.verdict = "convention" if "convention" in verdicts else "agree"
    j.note = f"{SIDES}limits, and PyTorch's number is {'one' if j.verdict == 'agree' else 'between them'}"


def _hold_sums(
    judgements: Sequence[Judgement],
    question: Question,
    evaluation: Evaluation,
    directions: Sequence[Sequence[Array]],
    of_outputs: bool,
) -> None:
    """Turn legitimate answers into mismatches where the derivative along all directions exists and is another.

    Of an answer for each input, its scalar product with the last direction is looked at; where that takes too long for
    each of them, the sum of these products.
    """
    once = evaluation.work * evaluations(len(directions))
    if once > AFFORDED:
        return
    spreads = [np.asarray(moved) for moved in rounding_of(question)]
    answers = [np.asarray(a) for a in question.answers]
    if of_outputs:
        for j, a, (low, high), moved in zip(judgements, answers, limits(evaluation, directions), spreads, strict=True):
            _contradict(j, a, low, high, moved)
        return
    *others, last = directions
    along = [np.asarray(np.sum(a * t)) for a, t in zip(answers, last, strict=True)]
    moved = [np.asarray(np.sum(np.abs(t) * s)) for t, s in zip(last, spreads, strict=True)]
    if once * len(answers) > AFFORDED:
        ((low, high),) = limits(evaluation, directions)
        largest = int(np.argmax(np.abs(along)))
        _contradict(judgements[largest], np.asarray(sum(along)), low, high, np.asarray(sum(moved)))
        return
    for k, j in enumerate(judgements):
        alone = [x if i == k else np.zeros_like(x) for i, x in enumerate(last)]
        ((low, high),) = limits(evaluation, [*others, alone])
        _contradict(j, along[k], low, high, moved[k])


def _contradict(j: Judgement, a: Array, low: Array, high: Array, moved: Array) -> None:
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(low), np.abs(high))
        exists = np.isfinite(low) & np.isfinite(high) & (high - low <= HALF * size)
        wrong = exists & np.isfinite(a) & (np.abs(a - low) > THRESHOLD * moved + HALF * size)
    if np.any(wrong):
        at = np.unravel_index(int(np.argmax(wrong)), np.shape(wrong))
        j.verdict, j.note, j.z = "mismatch", WRONG_SUM, np.inf
        j.torch_value, j.reference = float(a[at]), float(np.asarray(low)[at])
        j.abs_error = abs(j.torch_value - j.reference)
        j.rel_error = j.abs_error / abs(j.reference) if j.reference else np.inf
