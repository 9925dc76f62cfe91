"""The judge: is PyTorch's answer the witness's, to within what rounding explains?

z is PyTorch's error in units of the spread that rounding of the named precision gives the witness's own program. One
threshold decides, for every operation, mode and precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...reference_engine.evaluate import Plan
from ...reference_engine.last_rounding import LastRoundings, rounds_last
from ...reference_engine.rounding import NOISE, SMALLEST, UNIT_ROUNDOFF, Disturbed
from .judgement_of_array import THRESHOLD, Judgement, errors, exactly, judged
from .ties import NOT_SHARED, breaks_a_tie

Array = np.ndarray[Any, Any]

SCREENING, SAMPLES = 4, 32  # disturbed runs to screen, and for what the screen suspects
DOUBLED = (8, 16, SAMPLES)  # until nothing is suspect: it takes a spread four times too large to pass what 32 refuse
# With noise of exactly the assumed law the worst z of 1e6 entries is 56 for 4 runs and 5.8 for 32, so what the screen
# puts above this is measured again.
SUSPECT = 16.0
# A spread of 4 runs is too small by a factor of 250 once in 1e9 times, so what lies this far out needs no second look.
CLEAR = 256.0 * THRESHOLD
# Errors of at most so many last roundings are right whatever came before; their z is an upper bound.
SETTLED = SUSPECT
CORNERS = 128  # of the set of generalised derivatives, where 8 leave an answer outside
# Two members of a set are one number where they differ by what summing weights in float64 leaves.
SAME = 64.0 * UNIT_ROUNDOFF["float64"]
OPEN = "open"  # the verdict on an output that is not yet measured
REAL_PART = {"complex128": "float64", "complex64": "float32", "complex32": "float16"}
ORDER = (
    "mismatch",
    "crashed",
    "timeout",
    "raised",
    "accepted",
    "indeterminate",
    "unsupported",
    "inaccurate",
    "convention",
    "agree",
)


_settles = True


@contextmanager
def measured() -> Iterator[None]:
    """Within it every spread is measured: no z is an upper bound. Afterwards it is as it was."""
    global _settles
    before, _settles = _settles, False
    try:
        yield
    finally:
        _settles = before


@dataclass
class Question:
    """What is judged: the outputs of `plan` at `given`, against `answers` computed by PyTorch in `dtype`.

    lossy: gives (plan, given) of the same quantity by the declared rules that lose digits, when it is needed.
    outside_domain: the function itself has no number somewhere (log of -1), so that NaN in both is agreement. nested:
    a derivative of a derivative, whose contributions PyTorch adds in an order of its own: terms that cancel here leave
    a rounding there. operands: which of `given` are numbers that PyTorch's call was given or had saved. scales: which
    of them the answers are linear in (adjoints, tangents). without_value: the function itself is NaN, everywhere.
    values: what the function gives; cotangents: which of `given` weigh these, none where the answers are tangents.
    complex_numbers: a last axis of 2 holds the parts of complex numbers, which are NaN where one of them is.
    """

    plan: Plan
    given: Sequence[Any]
    answers: Sequence[Any]
    dtype: str
    lossy: Callable[[], tuple[Plan, Sequence[Any]]] | None = None
    input_is_nan: bool = False
    seed: int = 0
    outside_domain: bool = False
    nan_arrives: bool = False
    nested: bool = False
    runs: dict[Any, Disturbed] = field(default_factory=dict, init=False)  # the disturbed runs that were made
    operands: Sequence[int] = ()
    without_value: bool = False
    scales: Sequence[int] = ()
    complex_numbers: bool = False
    values: Sequence[Array] = ()
    cotangents: Sequence[int] = ()

    def __post_init__(self) -> None:
        self.dtype = REAL_PART.get(self.dtype, self.dtype)


def judge(question: Question) -> list[Judgement]:
    """One judgement per output of the question.

    Screens with 4 disturbed runs; what is near the threshold is measured with more, 32 at most; what exceeds it is held
    against the set of generalised derivatives and against the lossy rules. Nothing is excused by size: an error outside
    all of these is a mismatch.
    """
    from .at_nan import settle
    from .lost_digits import against_lossy, against_range

    answers = [np.asarray(t) for t in question.answers]
    last = LastRoundings(question.plan, question.given, question.dtype)
    exact = last.exact
    nan = question.outside_domain
    if all(np.array_equal(t, y, equal_nan=nan) for t, y in zip(answers, exact, strict=True)):
        return [exactly(y) for y in exact]
    results = _within_last_roundings(question, exact, answers, last)
    del last
    _measure(question, exact, answers, results, [i for i, r in enumerate(results) if r.verdict == OPEN], SCREENING)
    if any(SUSPECT < r.z <= CLEAR for r in results):
        again = [i for i, r in enumerate(results) if r.z > SUSPECT]
        for samples in DOUBLED:
            _measure(question, exact, answers, results, again, samples)
            if all(results[i].z <= SUSPECT for i in again):
                break
    within: dict[int, Array] = {}  # per output, the entries that are explained one way or another
    if any(r.verdict == "mismatch" for r in results):
        _against_set(question, answers, exact, results, within)
    if question.lossy is not None and any(r.verdict == "mismatch" for r in results):
        against_lossy(question, answers, exact, results, within)
    if any(r.verdict == "mismatch" for r in results):
        against_range(question, answers, exact, results)
    if question.input_is_nan:
        settle(question, answers, exact, results)
    return results


def _within_last_roundings(
    question: Question, exact: list[Array], answers: list[Array], last: LastRoundings
) -> list[Judgement]:
    """Judgements without disturbed runs, where every error is at most SETTLED times what the last roundings explain.

    The spread is never less than theirs, so z is at most what is reported here. OPEN where it has to be measured.
    """
    known = question.plan.__dict__.setdefault("rounds", {})
    if question.dtype not in known:
        known[question.dtype] = rounds_last(question.plan, question.dtype)
    results = []
    for i, (t, y, u) in enumerate(zip(answers, exact, known[question.dtype], strict=True)):
        found = Judgement(OPEN)
        if _settles and t.shape == y.shape and y.dtype.kind in "fc":
            for bound in (lambda y=y, u=u: NOISE * u * np.abs(y), lambda i=i: last.least(i)):
                with np.errstate(all="ignore"):
                    least = np.broadcast_to(bound(), y.shape)
                if _explained(t, y, least, question.outside_domain):
                    found = _one(t, y, least, question)
                    break
        results.append(found)
    return results


def _explained(t: Array, y: Array, least: Array, outside_domain: bool) -> bool:
    """Whether every error is at most SETTLED times `least`."""
    with np.errstate(all="ignore"):
        error = np.subtract(t, y)
        error = np.abs(error, out=error if error.dtype.kind == "f" and error.ndim else None)
        good = error <= SETTLED * least
        if good.all():
            return True
        good |= t == y
        if outside_domain:
            good |= np.isnan(t) & np.isnan(y)
    return bool(good.all())


def _one(t: Array, y: Array, s: Array, question: Question) -> Judgement:
    return judged(t, y, s, question.dtype, question.outside_domain, question.nan_arrives)


def spreads_of(
    question: Question,
    plan: Plan,
    given: Sequence[Any],
    samples: int,
    under: Any = None,
    magnified: float | None = None,
    reordered: bool = False,
    exact: Sequence[Array] | None = None,
) -> tuple[list[Array], list[Array]]:
    """Exact outputs and their spread: rounding in PyTorch's dtype and the witness's own float64, in quadrature.

    More samples of the same question go on from those that were made.
    """
    if under is None:
        key = (id(plan), question.dtype, question.seed, magnified, reordered)
        runs = question.runs.get(key) or Disturbed(
            plan, given, question.dtype, seed=question.seed, magnified=magnified, reordered=reordered, exact=exact
        )
        question.runs[key] = runs
    else:
        runs = Disturbed(plan, given, question.dtype, seed=question.seed, under=under, magnified=magnified)
    spreads = runs.spread(samples)
    # the spread is linear in u to first order
    own = np.sqrt(1.0 + (UNIT_ROUNDOFF["float64"] / UNIT_ROUNDOFF[question.dtype]) ** 2)
    for s in spreads:
        s *= own
        s += SMALLEST[question.dtype]
    return runs.exact, spreads


def _measure(
    question: Question,
    exact: list[Array],
    answers: list[Array],
    results: list[Judgement],
    which: list[int],
    samples: int,
) -> None:
    """Judge some of the outputs, by their positions, by the spread of `samples` disturbed runs of what they need."""
    if not which:
        return
    plan = question.plan.part(which)
    parts = [(i, answers[i], exact[i]) for i in which]
    spreads = spreads_of(question, plan, question.given, samples, exact=[exact[i] for i in which])[1]
    for (i, t, y), s in zip(parts, spreads, strict=True):
        results[i] = _one(t, y, s, question)
    if samples == SAMPLES and question.dtype == "float64" and any(results[i].verdict == "mismatch" for i in which):
        # A decision (the sign of a cancelled sum) that turns with the rounding moves the result by a jump, whatever the
        # size of the noise: there noise of one roundoff says more than magnified noise, made smaller again.
        jumps = spreads_of(question, plan, question.given, samples, magnified=1.0, exact=[exact[i] for i in which])[1]
        for (i, t, y), s, j in zip(parts, spreads, jumps, strict=True):
            results[i] = _one(t, y, np.maximum(s, j), question)


def rounding_of(question: Question) -> list[Array]:
    """How far rounding moves each output of the question: magnified noise, and noise of one roundoff for decisions."""
    linear = spreads_of(question, question.plan, question.given, SAMPLES)[1]
    jumps = spreads_of(question, question.plan, question.given, SAMPLES, magnified=1.0)[1]
    return [np.maximum(s, j) for s, j in zip(linear, jumps, strict=True)]


def _against_set(
    question: Question, answers: list[Array], exact: list[Array], results: list[Judgement], within: dict[int, Array]
) -> None:
    """Mismatches that lie within the set of generalised derivatives become conventions.

    within: filled with the entries of each output that lie inside, or within the spread of our own choice.
    """
    from ...reference_engine.generalized import hull

    ends = hull(question.plan, question.given, samples=8, seed=question.seed)
    if any(has_kink for *_, has_kink in ends):  # mostly the answer lies inside whatever rounding does
        _settle_inside(question, answers, results, ends, [np.zeros(())] * len(ends), within)
    if not any(r.verdict == "mismatch" for r in results):
        return
    _, own = spreads_of(question, question.plan, question.given, SAMPLES)
    for i, (t, y, s) in enumerate(zip(answers, exact, own, strict=True)):
        if t.shape == y.shape:
            within[i] = within.get(i, False) | ~(errors(t, y, s, question.dtype)[0] > THRESHOLD)
    if not any(has_kink for *_, has_kink in ends):
        return
    _settle_inside(question, answers, results, ends, own, within)
    if any(r.verdict == "mismatch" and has_kink for r, (*_, has_kink) in zip(results, ends, strict=True)):
        widest = at_the_ends(question, question.plan, question.given, own)
        _settle_inside(question, answers, results, ends, widest, within)
        if any(r.verdict == "mismatch" for r in results):  # of three places and more, few corners were drawn
            ends = hull(question.plan, question.given, samples=CORNERS, seed=question.seed)
            _settle_inside(question, answers, results, ends, widest, within)


def _settle_inside(
    question: Question,
    answers: list[Array],
    results: list[Judgement],
    ends: Sequence[tuple[Array, Array, Array, bool]],
    spreads: Sequence[Array],
    within: dict[int, Array],
) -> None:
    """Mismatches all of whose entries lie between the ends of the set, or in `within`, become conventions."""
    for i, (t, r, (lower, upper, _, has_kink)) in enumerate(zip(answers, results, ends, strict=True)):
        if r.verdict != "mismatch" or t.shape != np.shape(lower) or not has_kink:
            continue
        within[i] = within.get(i, False) | inside(t, lower, upper, spreads[i], question.dtype)
        if not within[i].all():
            continue
        slack = slack_of(lower, upper, spreads[i], question.dtype)
        if breaks_a_tie(question.plan, question.given, i, t, slack, question.seed):
            r.note = NOT_SHARED
        else:
            r.verdict, r.note = (
                "convention",
                f"a legitimate choice at a kink: PyTorch {r.torch_value:.6g}, least norm {r.reference:.6g}",
            )


def at_the_ends(question: Question, plan: Plan, given: Sequence[Any], own: list[Array]) -> list[Array]:
    """Rounding moves the ends of the set of a kink too: the widest spread of our own choice and of them."""
    from ...reference_engine.generalized import corners

    there = [spreads_of(question, plan, given, SAMPLES, under)[1] for under in corners()]
    finite = [[np.where(np.isfinite(s), s, 0.0) for s in spreads] for spreads in (own, *there)]
    return [np.max(spreads, axis=0) for spreads in zip(*finite, strict=True)]


def inside(t: Array, lower: Array, upper: Array, s: Array, dtype: str) -> Array:
    """The entries between the ends of the set, to within the threshold times their spread."""
    with np.errstate(all="ignore"):
        slack = slack_of(lower, upper, s, dtype)
        return np.asarray((t >= lower - slack) & (t <= upper + slack))


def slack_of(lower: Array, upper: Array, s: Array, dtype: str) -> Array:
    """How far rounding may put an answer beyond the ends of the set; a kink elsewhere widens no entry that has but one
    derivative."""
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(lower), np.abs(upper))
        ends = np.where(upper - lower > SAME * size, UNIT_ROUNDOFF[dtype] * size, 0.0)
        return np.asarray(THRESHOLD * (s + ends))


def worst(verdicts: Sequence[str]) -> str:
    """The worst of several verdicts in the order of ORDER; agree if there are none."""
    return min(verdicts, key=ORDER.index, default="agree")
