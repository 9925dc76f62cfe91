"""Why a generated program differs from torch: the single operations that are at fault.

Asked in this order, each only where the one before has no answer: every equation alone in the same mode; every equation
alone at a lower order, through which an error enters a higher derivative; every equation along a direction
of zeros, where torch multiplies 0 by an infinite slope; every equation in reverse and in forward mode, which choose
differently at a tie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...reference_engine.program import Equation, Program, Variable
from ..campaigns.generated import (
    Located,
    aten_operation,
    differs_alone,
    in_precision,
    single_equations,
    subject_of,
    torch_function,
)
from ..evidence.scripts import Directions, answers_of, random_directions
from ..generation.drawn import Case
from ..generation.emit import compiled, emit
from .comparing import record
from .localising import ALONG_ZEROS, WEIGHTS, suspects
from .modes import lower, named, per_output, steps
from .one_sided import EXACT

ZERO_TIMES_INFINITY = "zero times infinity"
UNLIKE_CHOICES = "forward and reverse choose differently"


@dataclass
class Explanation:
    """One operation that is at fault.

    op: PyTorch's function. culprit: the ATen operation. asked: the mode in which it differs alone, "0" where a
    direction of zeros tells. case: what shows it, a single equation where one does, else the whole program.
    torch_value, right_value: of that equation, None where the whole program shows it.
    """

    op: str
    culprit: str
    asked: str
    case: Case
    note: str = ""
    kind: str = ""
    torch_value: float | None = None
    right_value: float | None = None


def explanations(case: Case, mode: str, dtype: str, seed: int, only_nan: bool) -> list[Explanation]:
    """The operations at fault where torch's answer for `case` in `mode` is a mismatch; empty if none is wrong alone.

    only_nan: whether torch's wrong numbers are all NaN or infinite, so that 0 times infinity can be the reason.
    """
    alone = single_equations(in_precision(case, dtype))
    for asked in (mode, *lower(mode), ""):
        found: dict[str, Explanation] = {}
        for number, single in enumerate(alone):
            located = differs_alone(single, asked, dtype, seed + number)
            for weight in WEIGHTS if len(asked) > 1 and "R" in asked else ():
                located = located or _differs_weighted(single, asked, dtype, seed + number, weight)
            if located is not None:
                for op, culprit in _named(located, seed):
                    note = "" if asked == mode else f"it differs in {_said(asked)}, which enters the answer in {mode}"
                    numbers = float(np.real(located.found)), float(np.real(located.at.right))
                    found.setdefault(op, Explanation(op, culprit, asked, located.case, note, "", *numbers))
        if found:
            return list(found.values())
    for asked in (mode, *lower(mode), "") if only_nan else ():
        along = list(_zero_times_infinity(case, alone, asked, dtype, seed)) if asked else []
        if along:
            return along
    return list(_unlike_choices(alone, mode, dtype, seed)) if {"R", "F"} <= set(mode) else []


def _unlike_choices(alone: list[Case], mode: str, dtype: str, seed: int) -> Iterator[Explanation]:
    """Equations at a kink whose reverse and forward mode choose differently, though each choice is legitimate.

    ⟨R c, t⟩ = ⟨c, F t⟩ for every matrix; where they differ, one derivative taken through the other mixes two choices.
    """
    taken: set[str] = set()
    for number, single in enumerate(alone):
        op = torch_function(single.program.equations[-1])
        if op in taken:
            continue
        fn, d = compiled(emit(single.program, always_tuple=True)), random_directions(single.program, seed + number)
        shapes = {"R": [v.shape for v in single.program.inputs], "F": [v.shape for v in single.program.outputs]}
        try:
            back, forth = (answers_of(fn, single.inputs, d, asked, dtype, shapes[asked]) for asked in "RF")
        except (RuntimeError, NotImplementedError):  # torch cannot be asked for this equation in this mode
            continue
        pairs = (back, d.along[0]), (d.c, forth)
        sides = [[a * b for a, b in zip(*pair, strict=True)] for pair in pairs]
        left, right = (sum(float(np.sum(x)) for x in side) for side in sides)
        size = sum(float(np.sum(np.abs(x))) for side in sides for x in side)
        if abs(left - right) > EXACT * size:
            taken.add(op)
            note = "at a tie reverse mode chooses one argument and forward mode another"
            yield Explanation(op, aten_operation(single), mode, single, note, UNLIKE_CHOICES)


def _differs_weighted(single: Case, mode: str, dtype: str, seed: int, weight: float) -> Located | None:
    """Whether an equation differs once its results are multiplied by equal weights that are differentiated too.

    Above order 1 the derivative in the weights is Df[t], by the rule that differentiates the cotangent: in a program
    other operations ask for it, and the equation alone does not.
    """
    program = single.program
    weights = [Variable(v.shape, v.dtype) for v in program.outputs]
    results = [Variable(v.shape, v.dtype) for v in program.outputs]
    products = [
        Equation("multiply", (v, w), {}, (r,)) for v, w, r in zip(program.outputs, weights, results, strict=True)
    ]
    weighted = Program(
        (*program.inputs, *weights), program.constants, (*program.equations, *products), tuple(results), program.name
    )
    numbers = tuple(np.full(v.shape, weight) for v in weights)
    located = differs_alone(Case(weighted, (*single.inputs, *numbers)), mode, dtype, seed)
    if located is None:
        return None
    e = program.equations[-1]
    return replace(located, primitive=e.primitive, operation=torch_function(e), aten=aten_operation(single))


def _said(mode: str) -> str:
    return f"mode {mode}" if mode else "its value"


def _named(located: Located, seed: int) -> list[tuple[str, str]]:
    """(PyTorch's function, ATen operation) of a located equation; where it calls several, those that differ."""
    if located.mode:
        recording, seen, _ = record(subject_of(located.case, located.dtype, seed))
        calls = [c for c in recording.calls if c.func is not None and c.name != "aten::detach"]
        if len(calls) > 1:
            several = [call for call, *_ in suspects(recording, seen, located.mode, seed)]
            if several:
                return [(f"torch.{c.name.removeprefix('aten::')}", c.qualified) for c in several]
    return [(located.operation, located.aten)]


def _zero_times_infinity(case: Case, alone: list[Case], mode: str, dtype: str, seed: int) -> Iterator[Explanation]:
    """Equations whose derivative along 0 is not 0 in torch.

    (f(x + h 0) - f(x))/h = 0 whatever the slope, and the gradient of 0 f is 0 as well; torch has 0 times infinity.
    """
    taken: set[str] = set()
    for number, single in enumerate(alone):
        last = single.program.equations[-1]
        op = torch_function(last)
        if op in taken:
            continue
        shapes = [v.shape for v in (single.program.outputs if per_output(mode) else single.program.inputs)]
        fn = compiled(emit(single.program, always_tuple=True))
        for d in _with_zeros(single.program, mode, seed + number):
            try:
                answers = answers_of(fn, single.inputs, d, mode, dtype, shapes)
            except (RuntimeError, NotImplementedError):  # torch cannot be asked for this equation in this mode
                break
            if any(np.any(a != 0) for a in answers):
                taken.add(op)
                yield Explanation(op, aten_operation(single), "0", case, ALONG_ZEROS.format(op), ZERO_TIMES_INFINITY)
                break


def _with_zeros(program: Program, mode: str, seed: int) -> Iterator[Directions]:
    """Random directions with one of those that `mode` uses set to zeros."""
    d = random_directions(program, seed)
    given = named(d.c, d.along)
    for name in sorted({name for _, name in steps(mode)}):
        zeros = [np.zeros_like(x) for x in given[name]]
        c, *along = (zeros if name == other else given[other] for other in given)
        yield Directions(c, along)
