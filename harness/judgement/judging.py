"""The judge: is PyTorch's answer the witness's, to within what rounding explains?

z is PyTorch's error in units of the spread that rounding of the named precision gives the witness's own program. One
threshold decides, for every operation, mode and precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference_engine.evaluate import Plan
from ...reference_engine.rounding import NOISE, SMALLEST, UNIT_ROUNDOFF, rounds_last, spread
from .out_of_range import LARGEST
from .ties import NOT_SHARED, breaks_a_tie

Array = np.ndarray[Any, Any]

# Calibrated by benchmarks/calibrate_judge.py, recorded in docs/calibration.md: the greatest z of a right answer stays
# below, and a fault of 1e-6 (float64) or 1e-3 (float32) in one entry lies above.
THRESHOLD = 64.0
SCREENING, SAMPLES = 4, 32  # disturbed runs to screen, and for what the screen suspects
# With noise of exactly the assumed law the worst z of 1e6 entries is 56 for 4 runs and 5.8 for 32, so what the screen
# puts above this is measured again.
SUSPECT = 16.0
# A spread of 4 runs is too small by a factor of 250 once in 1e9 times, so what lies this far out needs no second look.
CLEAR = 256.0 * THRESHOLD
# Errors of at most so many last roundings are right whatever came before; their z is an upper bound.
SETTLED = SUSPECT
EMPTY = "empty: the shapes agree, and there is no number to compare"
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


@dataclass
class Question:
    """What is judged: the outputs of `plan` at `given`, against `answers` computed by PyTorch in `dtype`.

    lossy: gives (plan, given) of the same quantity by the declared rules that lose digits, when it is needed.
    outside_domain: the function itself has no number somewhere (log of -1), so that NaN in both is agreement. nested:
    a derivative of a derivative, whose contributions PyTorch adds in an order of its own: terms that cancel here leave
    a rounding there.
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

    def __post_init__(self) -> None:
        self.dtype = REAL_PART.get(self.dtype, self.dtype)


def judge(question: Question) -> list[Judgement]:
    """One judgement per output of the question.

    Screens with 4 disturbed runs; what is near the threshold is measured again with 32; what exceeds it is held
    against the set of generalised derivatives and against the lossy rules. Nothing is excused by size: an error outside
    all of these is a mismatch.
    """
    from .lost_digits import against_lossy, against_range

    exact = [np.asarray(y) for y in question.plan.run(question.given)]
    answers = [np.asarray(t) for t in question.answers]
    nan = question.outside_domain
    if all(np.array_equal(t, y, equal_nan=nan) for t, y in zip(answers, exact, strict=True)):
        return [_settled(y) for y in exact]
    quick = _within_last_rounding(question, exact, answers)
    if quick is not None:
        return quick
    results = _compare(question, exact, answers, SCREENING)
    if any(SUSPECT < r.z <= CLEAR for r in results):
        results = _compare(question, exact, answers, SAMPLES)
    within: dict[int, Array] = {}  # per output, the entries that are explained one way or another
    if any(r.verdict == "mismatch" for r in results):
        _against_set(question, answers, exact, results, within)
    if question.lossy is not None and any(r.verdict == "mismatch" for r in results):
        against_lossy(question, answers, exact, results, within)
    if any(r.verdict == "mismatch" for r in results):
        against_range(question, answers, exact, results)
    if question.input_is_nan:
        for r in results:
            if r.verdict in ("mismatch", "indeterminate"):
                r.verdict, r.note = "convention", "an input is NaN: any value is legitimate"
    return results


def _settled(y: Array) -> Judgement:
    """The judgement where PyTorch gives exactly the witness's numbers."""
    first = (0,) * y.ndim if y.size else ()
    value = number_of(y[first]) if y.size else 0.0
    return Judgement("agree", 0.0, first, value, value, entries=y.size, note="" if y.size else EMPTY)


def _within_last_rounding(question: Question, exact: list[Array], answers: list[Array]) -> list[Judgement] | None:
    """Judgements without disturbed runs, where every error is at most SETTLED times what one last rounding explains.

    The spread is never less than that of the last rounding, so z is at most what is reported here. None: measure it.
    """
    known = question.plan.__dict__.setdefault("rounds", {})
    if question.dtype not in known:
        known[question.dtype] = rounds_last(question.plan, question.dtype)
    results = []
    for t, y, u in zip(answers, exact, known[question.dtype], strict=True):
        if t.shape != y.shape or y.dtype.kind not in "fc":
            return None
        least = NOISE * u * np.abs(y) if u else np.zeros(y.shape)
        with np.errstate(all="ignore"):
            good = (np.abs(t - y) <= SETTLED * least) | (t == y)
            if question.outside_domain:
                good |= np.isnan(t) & np.isnan(y)
        if not good.all():
            return None
        results.append(_one(t, y, least, question))
    return results


def spreads_of(
    question: Question,
    plan: Plan,
    given: Sequence[Any],
    samples: int,
    under: Any = None,
    magnified: float | None = None,
    reordered: bool = False,
) -> tuple[list[Array], list[Array]]:
    """Exact outputs and their spread: rounding in PyTorch's dtype and the witness's own float64, in quadrature."""
    how = {"seed": question.seed, "under": under, "magnified": magnified, "reordered": reordered}
    exact, s = spread(plan, given, question.dtype, samples=samples, **how)
    if question.dtype == "float64":
        own = s
    else:
        shrink = UNIT_ROUNDOFF["float64"] / UNIT_ROUNDOFF[question.dtype]
        own = [a * shrink for a in s]  # the spread is linear in u to first order
    floor = SMALLEST[question.dtype]
    return exact, [np.hypot(a, b) + floor for a, b in zip(s, own, strict=True)]


def _compare(question: Question, exact: list[Array], answers: list[Array], samples: int) -> list[Judgement]:
    _, spreads = spreads_of(question, question.plan, question.given, samples)
    results = [_one(t, y, s, question) for t, y, s in zip(answers, exact, spreads, strict=True)]
    if samples == SAMPLES and question.dtype == "float64" and any(r.verdict == "mismatch" for r in results):
        # A decision (the sign of a cancelled sum) that turns with the rounding moves the result by a jump, whatever the
        # size of the noise: there noise of one roundoff says more than magnified noise, made smaller again.
        _, jumps = spreads_of(question, question.plan, question.given, samples, magnified=1.0)
        wider = [np.maximum(s, j) for s, j in zip(spreads, jumps, strict=True)]
        results = [_one(t, y, s, question) for t, y, s in zip(answers, exact, wider, strict=True)]
    return results


def rounding_of(question: Question) -> list[Array]:
    """How far rounding moves each output of the question: magnified noise, and noise of one roundoff for decisions."""
    linear = spreads_of(question, question.plan, question.given, SAMPLES)[1]
    jumps = spreads_of(question, question.plan, question.given, SAMPLES, magnified=1.0)[1]
    return [np.maximum(s, j) for s, j in zip(linear, jumps, strict=True)]


def errors(t: Array, y: Array, s: Array, dtype: str) -> tuple[Array, Array]:
    """(z, absolute error) entry by entry; z is inf for an error on zero spread and for NaN or Inf against a number, NaN
    where the witness has none or where the derivative is infinite and PyTorch has none.
    """
    with np.errstate(all="ignore"):
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


def _one(t: Array, y: Array, s: Array, question: Question) -> Judgement:
    dtype = question.dtype
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
    if question.outside_domain:
        z = np.where(np.isnan(t) & np.isnan(y), 0.0, z)
    if question.nan_arrives:
        z = np.where(np.isnan(t), 0.0, z)
    unknown = np.isnan(z)
    wrong = int((z > THRESHOLD).sum())
    if unknown.any() and not wrong:
        worst = int(np.argmax(unknown))  # the first entry without a number; z is the greatest of the others
    else:
        ranked = np.where(unknown, -1.0, z)
        # among several infinite z the greatest error speaks
        top = ranked == ranked.max()
        worst = int(np.argmax(np.where(top, np.nan_to_num(error, nan=np.inf, posinf=np.inf), -1.0)))
    entry = tuple(int(i) for i in np.unravel_index(worst, t.shape))
    verdict = "mismatch" if wrong else "indeterminate" if unknown.any() else "agree"
    reference = number_of(y[entry])
    size = abs(reference)
    e = float(error[entry])
    return Judgement(
        verdict,
        float(np.max(z[~unknown], initial=0.0)) if unknown[entry] and not unknown.all() else float(z[entry]),
        entry,
        number_of(t[entry]),
        reference,
        float(s[entry]),
        e,
        e / size if size > 0 else (0.0 if e == 0 else np.inf),
        e / max(2 * UNIT_ROUNDOFF[dtype] * size, SMALLEST[dtype]) if np.isfinite(size) else np.nan,
        t.size,
        wrong,
        "the witness has no number at some entries" if unknown.any() and not wrong else "",
    )


def number_of(x: Any) -> float:
    return float(np.real(x))


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
    """How far rounding may put an answer beyond the ends of the set."""
    with np.errstate(all="ignore"):
        return np.asarray(THRESHOLD * (s + UNIT_ROUNDOFF[dtype] * np.maximum(np.abs(lower), np.abs(upper))))


def worst(verdicts: Sequence[str]) -> str:
    """The worst of several verdicts in the order of ORDER; agree if there are none."""
    return min(verdicts, key=ORDER.index, default="agree")
