"""Cut what differs to the smallest case: one operation, few entries, simple numbers.

Hypothesis looks for a smaller case that has the same culprit and the same verdict, and shrinks it; then single
numbers are made simpler. Everything is bounded by a number of comparisons, not by time, so that the result does not
depend on the machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import SearchStrategy

from ..campaigns.generated import Located, differs_alone, localise
from ..generation.contents import SIMPLE
from ..generation.drawn import Case
from ..generation.fixed_draws import without_constants_of_modules
from ..strategies import programs, steps
from .scripts import script_of_program

Predicate = Callable[[Case], bool]
COMPARISONS = 300  # how many cases a search may compare


def size_of(case: Case) -> tuple[int, int, int]:
    """What is made small, most important first: operations, entries of inputs and constants, length of the numbers as
    text.
    """
    arrays = [*case.inputs, *(np.asarray(c) for c in case.program.constants.values())]
    entries = sum(x.size for x in arrays)
    text = sum(len(f"{x:g}") if float(f"{x:g}") == x else 20 for a in case.inputs for x in a.reshape(-1).tolist())
    return case.operations, entries, text


def shrink(
    case: Case,
    differs: Predicate,
    *,
    strategy: SearchStrategy[Case] | None = None,
    seed: int = 0,
    comparisons: int = COMPARISONS,
) -> Case:
    """The smallest case found for which `differs` holds, starting from `case`, for which it holds.

    strategy: where to look (default: programs of the primitives in `case`, of at most as many operations). comparisons:
    greatest number of calls of `differs`.
    """
    spent = 0

    def allowed(candidate: Case) -> bool:
        nonlocal spent
        spent += 1
        return spent <= comparisons and differs(candidate)

    if strategy is None:
        names = [n for n in dict.fromkeys(case.primitives) if n in steps()]
        strategy = programs(only=names, fewest=1, most=max(1, case.operations)) if names else None
    best = case
    if strategy is not None:
        found = _found(strategy, lambda c: c.operations <= case.operations and allowed(c), seed, comparisons)
        if found is not None and size_of(found) < size_of(best):
            best = found
    spent = 0
    return simpler_numbers(best, allowed)


def _found(strategy: SearchStrategy[Case], differs: Predicate, seed: int, comparisons: int) -> Case | None:
    bounded = settings(
        max_examples=comparisons,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    try:
        with without_constants_of_modules():
            return find(strategy, differs, settings=bounded, random=random.Random(seed))
    except NoSuchExample:
        return None


def simpler_numbers(case: Case, differs: Predicate) -> Case:
    """Whole arrays, then single entries, replaced by 1, 0, 2, ½, … or by fewer digits while `differs` holds."""
    best = case
    for i in range(len(case.inputs)):
        for value in SIMPLE:
            best = _tried(best, i, np.full(best.inputs[i].shape, value), differs)
        if best.inputs[i].size > 64:
            continue
        for k in range(best.inputs[i].size):
            x = float(best.inputs[i].reshape(-1)[k])
            for value in (*SIMPLE[:6], *(float(f"{x:.{d}g}") for d in (1, 2) if np.isfinite(x))):
                if value == x:
                    break
                changed = best.inputs[i].copy()
                changed.reshape(-1)[k] = value
                before, best = best, _tried(best, i, changed, differs)
                if best is not before:
                    break
    return best


def _tried(best: Case, i: int, x: np.ndarray[Any, Any], differs: Predicate) -> Case:
    changed = Case(best.program, (*best.inputs[:i], x, *best.inputs[i + 1 :]))
    return changed if size_of(changed) < size_of(best) and differs(changed) else best


def smallest(located: Located, seed: int = 0) -> Located:
    """The smallest one-equation case with the same operation, mode and precision as `located`, and no less wrong: a
    wrong formula is not cut down to a place where it only loses digits."""

    def differs(case: Case) -> bool:
        if not case.program.equations or case.program.equations[-1].primitive != located.primitive:
            return False
        found = differs_alone(case, located.mode, located.dtype, seed)
        return found is not None and found.wrong_digits >= located.wrong_digits

    strategy = programs(only=[located.primitive], fewest=1, most=1) if located.primitive in steps() else None
    case = shrink(located.case, differs, strategy=strategy, seed=seed)
    return differs_alone(case, located.mode, located.dtype, seed) or located


def smallest_record(record: dict[str, Any]) -> dict[str, Any]:
    """A finding of a generated program with its case, script and numbers cut to the smallest; plain data in and out.

    record: a finding as `findings.grouped` makes it. It comes back unchanged where no single operation differs.
    """
    data = record["case"]
    if data.get("kind") != "generated" or record["verdict"] != "mismatch":
        return record
    case, mode, dtype, seed = Case.from_json(data), data["mode"], data["dtype"], int(data["seed"])
    located = localise(case, mode, dtype, seed)
    if located is None:
        return record
    located = smallest(located, seed)
    script = script_of_program(located.case.program, located.case.inputs, mode, dtype, seed)
    if not script:
        return record
    return {
        **record,
        "equations": located.case.operations,
        "elements": located.case.elements,
        "right_value": float(np.real(located.at.right)),
        "torch_value": float(np.real(located.found)),
        "script": script,
        "case": {**data, **located.case.to_json()},
    }
