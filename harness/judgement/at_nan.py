"""At a NaN input any derivative is legitimate, but entries with equal inputs must get equal ones.

The body of a vectorised loop and its scalar tail can treat NaN otherwise: one compares x > 0, the other x <= 0, and
both are false. In an operation that works entry by entry, equal bits in every argument must give one slope. And what
does not depend on a NaN is judged as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...reference_engine.evaluate import Plan
from ...reference_engine.registry import ELEMENTWISE, PRIMITIVES, Primitive
from ...reference_engine.rounding import SMALLEST, UNIT_ROUNDOFF
from .judgement_of_array import THRESHOLD, Array, Judgement, number_of
from .judging import Question, judge

ANY_VALUE = "an input is NaN: any value is legitimate"
UNEQUAL = (
    "equal inputs, NaN among them, get unequal derivatives: {0:.6g} at entry {1}, {2:.6g} at entry {3}, per unit of "
    "what arrives: the body of a vectorised loop and its tail differ"
)
MOVES = frozenset(("choice", "cast", "reshape", "broadcast_to"))  # entries stay in order, or one number goes everywhere
IN_ITS_PLACE = (-np.inf, np.inf, 0.0, -1.25, 0.75)
SEEN = 256  # entries of a group that each of it is held against: a kernel's tail is shorter than that
ASKS_SIGNS = frozenset(("copysign",))  # of a NaN too, which are not compared here


def sent_by_nan(question: Question, arguments: Sequence[Array]) -> list[Array]:
    """The entries of each answer to which a result of the function that is NaN sends anything, were it 0: NaN is no
    error there. The maximum of a row is NaN, and so may be what it sends to each entry of the row. A tangent belongs to
    one result.
    """
    if not question.cotangents:
        return [_is_nan(np.asarray(value), question.complex_numbers) for value in question.values]
    given = [np.where(np.isnan(x), IN_ITS_PLACE[-1], x) if x.dtype.kind == "f" else x for x in arguments]
    for k, value in zip(question.cotangents, question.values, strict=True):
        given[k] = np.where(_is_nan(np.asarray(value), question.complex_numbers), np.nan, given[k])

    def through(primitive: Primitive, equation: Any, xs: list[Any], result: Any) -> Any:
        if primitive.name != "where" or result.dtype.kind != "f":
            return result
        return np.where(np.isnan(xs[1]) | np.isnan(xs[2]), np.nan, result)

    with np.errstate(all="ignore"):
        return [np.isnan(np.asarray(y)) for y in question.plan.observe(given, through)]


def is_nan_everywhere(values: Iterable[Array]) -> bool:
    """Whether there are numbers among these, and each is NaN."""
    held = [x for x in values if x.size]
    return bool(held) and all(bool(np.isnan(x).all()) for x in held)


def settle(question: Question, answers: Sequence[Array], exact: Sequence[Array], results: list[Judgement]) -> None:
    """Settle what differs in a question with NaN among its inputs, in place."""
    arguments = [np.asarray(x) for x in question.given]
    pointwise = by_entries(question.plan)
    reached: list[Array] | None = None
    sent: list[Array] | None = None
    for i, (t, y, r) in enumerate(zip(answers, exact, results, strict=True)):
        if r.verdict not in ("mismatch", "indeterminate"):
            continue
        if t.shape != y.shape:  # no NaN excuses that
            continue
        if question.without_value and not pointwise:
            r.verdict, r.note = "convention", ANY_VALUE
            continue
        if pointwise and all(x.size in (1, t.size) for x in arguments):
            at = np.zeros(t.size, dtype=bool)
            for x in arguments:
                at |= _is_nan(x, question.complex_numbers).ravel()
            found = unequal(question, t, at, [k for k in range(len(arguments)) if k not in question.scales])
            if found is not None:
                results[i] = found
                continue
            at = at.reshape(t.shape)
        else:
            reached = reached or reached_by_nan(question, arguments, exact)
            at = reached[i]
            if question.values:
                sent = sent or sent_by_nan(question, arguments)
                at = at | (np.isnan(t) & sent[i])
        (rest,) = judge(_alone(question, i, np.where(at, y, t)))
        if rest.verdict in ("mismatch", "inaccurate"):
            results[i] = rest
        else:
            r.verdict, r.note = "convention", ANY_VALUE


def _alone(question: Question, i: int, answer: Array) -> Question:
    """The question about output i, answered by `answer`, where NaN excuses nothing."""

    def lossy() -> tuple[Plan, Sequence[Any]]:
        assert question.lossy is not None
        plan, given = question.lossy()
        return plan.part([i]), given

    changed = {"plan": question.plan.part([i]), "answers": [answer], "lossy": question.lossy and lossy}
    return replace(question, **changed, input_is_nan=False, outside_domain=True)


def reached_by_nan(question: Question, arguments: Sequence[Array], exact: Sequence[Array]) -> list[Array]:
    """The entries of each output that depend on a NaN: those that change with the number that stands in its place."""
    reached = [np.isnan(y) for y in exact]
    missing = [_is_nan(x, question.complex_numbers) for x in arguments]
    with np.errstate(all="ignore"):
        for number in IN_ITS_PLACE:
            given = [np.where(gone, number, x) if gone.any() else x for x, gone in zip(arguments, missing, strict=True)]
            for k, y in enumerate(question.plan.run(given)):
                reached[k] = reached[k] | ~((y == exact[k]) | (np.isnan(y) & np.isnan(exact[k])))
    return [_of_both_parts(at, question.complex_numbers) for at in reached]


def _is_nan(x: Array, complex_numbers: bool) -> Array:
    """Which entries are NaN; of a complex number (nan, 0.3) both parts are: PyTorch's product with 2 is (nan, nan)."""
    if x.dtype.kind not in "fc":
        return np.zeros(x.shape, dtype=bool)
    return _of_both_parts(np.isnan(x), complex_numbers)


def _of_both_parts(at: Array, complex_numbers: bool) -> Array:
    return at | at[..., ::-1] if complex_numbers and at.shape[-1:] == (2,) else at


def by_entries(plan: Plan) -> bool:
    """Whether entry k of every result depends on the entries k of the arguments alone, and on single numbers."""
    for e in plan.equations:
        ins, outs = e.inputs, e.outputs
        if e.primitive in ASKS_SIGNS or any(v.size not in (1, outs[0].size) for v in ins):
            return False
        if PRIMITIVES[e.primitive].kind != ELEMENTWISE and e.primitive not in MOVES:
            return False
    return True


def unequal(question: Question, t: Array, at: Array, keys: Sequence[int]) -> Judgement | None:
    """The judgement on derivatives `t` that differ at two of the entries `at` with equal bits in the arguments `keys`.

    Where one argument scales the result (an adjoint, a tangent), the results per unit of it are compared, as far as it
    is a number that rounding leaves alone.
    """
    flat = t.ravel()
    if len(question.scales) > 1 or flat.dtype.kind != "f":
        keys, per_unit = range(len(question.given)), np.ones(flat.size)
    else:
        per_unit = np.ones(flat.size)
        for k in question.scales:
            per_unit = np.broadcast_to(np.asarray(question.given[k]).ravel(), flat.shape)
    least = SMALLEST[question.dtype] / UNIT_ROUNDOFF[question.dtype] ** 2
    with np.errstate(all="ignore"):
        usable = at & np.isfinite(per_unit) & (np.abs(per_unit) > least)
        slopes = np.where(usable, flat / per_unit, 0.0)
    places = np.flatnonzero(usable)
    if places.size < 2:
        return None
    arguments = [np.broadcast_to(np.asarray(question.given[k]).ravel(), flat.shape)[places] for k in keys]
    rows = np.stack([_bits(x) for x in arguments], axis=1)
    _, group = np.unique(rows, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    allowed = 2.0 * THRESHOLD * UNIT_ROUNDOFF[question.dtype]
    for same in _groups_of_several_numbers(group.ravel()[order], slopes[places[order]], order, allowed):
        odd_one = _odd_one(slopes[places[same]], allowed)
        if odd_one is None:
            continue
        first, apart = odd_one
        odd, usual = places[same[int(np.argmax(apart))]], places[same[first]]
        entry, other = (tuple(int(n) for n in np.unravel_index(int(k), t.shape)) for k in (odd, usual))
        note = UNEQUAL.format(slopes[odd], list(entry), slopes[usual], list(other))
        a, b, wrong = number_of(flat[odd]), number_of(slopes[usual] * per_unit[odd]), int(apart.sum())
        return Judgement("mismatch", np.inf, entry, a, b, 0.0, np.inf, np.inf, np.inf, t.size, wrong, note)
    return None


def _groups_of_several_numbers(group: Array, found: Array, order: Array, allowed: float) -> Iterator[Array]:
    """The parts of `order` with one number of `group`, which is sorted, whose numbers `found` are not all one."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], group.size)
    least, greatest = (f.reduceat(found, starts) for f in (np.fmin, np.fmax))
    missing = np.add.reduceat(np.isnan(found).astype(np.int64), starts)
    several = _differ(least, greatest, allowed) | ((missing > 0) & (missing < ends - starts))
    for k in np.flatnonzero(several):
        yield order[starts[k] : ends[k]]


def _odd_one(found: Array, allowed: float) -> tuple[int, Array] | None:
    """(place of what most of the numbers are, which of them are not that); None where all are near to one."""
    _, places = np.unique(found[:SEEN], return_index=True)
    apart = {int(k): _differ(found, found[k], allowed) for k in np.sort(places)}
    first = min(apart, key=lambda k: int(apart[k].sum()))
    return (first, apart[first]) if apart[first].any() else None


def _differ(a: Array, b: Array, allowed: float) -> Array:
    with np.errstate(all="ignore"):
        near = (a == b) | (np.abs(a - b) <= allowed * np.maximum(np.abs(a), np.abs(b)))
    return np.asarray(~(near | (np.isnan(a) & np.isnan(b))))


def _bits(x: Array) -> Array:
    """The bits of numbers as integers; every NaN has the same ones."""
    if x.dtype.kind != "f":
        return x.astype(np.int64)
    return np.where(np.isnan(x), np.nan, x).view(np.int64)
