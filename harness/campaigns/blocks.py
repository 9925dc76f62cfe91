"""A block of generated programs: drawn from its own seed, compared in every mode, and what differs traced down."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import CaseError
from ..evidence.findings import FAILING, Candidate
from ..evidence.scripts import answers_of, random_directions, script_of_program
from ..generation.drawn import Case
from ..generation.emit import compiled, emit
from ..judgement.by_limits import NAN_MADE
from ..judgement.explaining import ZERO_TIMES_INFINITY, Explanation, explanations
from ..judgement.modes import per_output
from ..judgement.one_sided import WRONG_SUM
from ..judgement.rows import Rows
from ..strategies import expressions, networks, programs, steps
from .generated import compare_case, counted, draw_cases, in_precision, single_equations, torch_function
from .work import Unit, UnitResult

# Primitives that rules are made of and that stand for no single function of PyTorch: their spelling rounds differently.
COMPOSED = frozenset(
    "share running_share deviation balance inverse_deviation exponents exponents_of_others recurrence".split()
)
KINDS = {
    "expression": expressions,
    "network": networks,
    "program": lambda: programs(only=[name for name in steps() if name not in COMPOSED]),
}


def run_block(unit: Unit, result: UnitResult) -> None:
    """Draw the programs of one block, a third of each kind; compare each in all modes in float64 and in R in float32.

    The seed of a block is derived from the seed of the campaign and the number of the block, so that counts do not
    depend on who runs it.
    """
    cases: list[tuple[str, Case]] = []
    for k, (kind, strategy) in enumerate(KINDS.items()):
        share = unit.count // len(KINDS) + (k < unit.count % len(KINDS))
        drawn = draw_cases(strategy(), share, unit.seed * 1_000_003 + unit.number * len(KINDS) + k) if share else []
        cases += [(kind, c) for c in drawn]
    result.filtered.update(counted([c for _, c in cases]))
    for number, (kind, case) in enumerate(cases):
        result.programs += 1
        name = f"generated/{unit.number}/{number}/{kind}"
        for dtype, modes in (("float64", unit.modes), ("float32", tuple(m for m in unit.modes if m == "R"))):
            for mode in modes:
                _compare(name, case, mode, dtype, unit.seed + number, result)


def _compare(name: str, case: Case, mode: str, dtype: str, seed: int, result: UnitResult) -> None:
    rows = Rows(name, source="generated", seed=seed)
    try:
        compare_case(case, rows, (mode,), dtype, seed)
    except Exception as error:  # our own fault: a row that fails the run, so that it is seen
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({last.name}, line {last.lineno})"[:400]
        rows.add(mode=mode, verdict="crashed", dtype=dtype, quantity="derivative", message=text)
    wrong = [r for r in rows.rows if r["verdict"] in FAILING]
    if wrong:
        found = _candidates(case, mode, dtype, seed, wrong)
        for r in wrong:
            if r["verdict"] == found[0].verdict and r["program"] == "whole":
                r["op"] = found[0].op
        result.candidates += found
    result.rows += rows.rows


def _candidates(case: Case, mode: str, dtype: str, seed: int, wrong: Sequence[dict[str, Any]]) -> list[Candidate]:
    """One candidate for every operation that is wrong on its own; for the program as a whole where none is."""
    row = max(wrong, key=lambda r: (r["verdict"] == "mismatch", r.get("z") or 0.0))
    note = row.get("message") or ""
    composed = Explanation("composition", "composition", mode, case, note, WRONG_SUM if note == WRONG_SUM else "")
    if composed.kind:
        return [_candidate(composed, mode, dtype, seed, row)]
    if row["verdict"] == "mismatch":
        differ = [r for r in wrong if r["verdict"] == "mismatch" and r["program"] == "whole"]
        only_nan = all(not math.isfinite(r["torch_value"]) for r in differ)
        if NAN_MADE in note:  # float32 reaches singular points that the program alone does not
            culprit = row.get("culprit") or composed.op
            composed = Explanation(composed.op, culprit, mode, case, note, ZERO_TIMES_INFINITY)
        found = explanations(case, mode, dtype, seed, only_nan) or [composed]
    else:
        name, raising = _raising(case, mode, dtype, seed)
        found = [Explanation(name, name, mode, raising, composed.note)]
    return [_candidate(e, mode, dtype, seed, row) for e in found]


def _candidate(e: Explanation, mode: str, dtype: str, seed: int, row: dict[str, Any]) -> Candidate:
    asked = mode if e.asked == "0" else e.asked
    script = ""
    if row["verdict"] == "mismatch":
        script = script_of_program(e.case.program, e.case.inputs, asked, dtype, seed)
    return Candidate(
        op=e.op,
        culprit=e.culprit,
        mode=mode,
        runner="autograd",
        dtype=dtype,
        verdict=row["verdict"],
        z=row.get("z", float("nan")),
        equations=e.case.operations,
        elements=e.case.elements,
        torch_value=row.get("torch_value", float("nan")) if e.torch_value is None else e.torch_value,
        right_value=row.get("reference_value", float("nan")) if e.right_value is None else e.right_value,
        note=e.note or row.get("message") or "",
        case={
            "format": 1,
            "kind": "generated",
            "mode": asked or "R",  # mode R compares values too
            "dtype": dtype,
            "seed": seed,
            "culprit": e.culprit,
            **e.case.to_json(),
        },
        script=script,
        kind=e.kind,
    )


def _raising(case: Case, mode: str, dtype: str, seed: int) -> tuple[str, Case]:
    """PyTorch's name of the first equation that it refuses to differentiate in this mode when it is asked alone, and
    the case that shows it; where none is refused at its inputs, of the first that is when they are made of others.
    """
    equations = single_equations(in_precision(case, dtype))
    for made in (False, True):
        for alone in equations:
            d = random_directions(alone.program, seed)
            try:
                fn = compiled(emit(alone.program, always_tuple=True))
                v = alone.program.outputs if per_output(mode) else alone.program.inputs
                answers_of(_bent(fn, alone) if made else fn, alone.inputs, d, mode, dtype, [x.shape for x in v])
            except Exception:  # PyTorch refuses with errors of several kinds
                return torch_function(alone.program.equations[-1]), case if made else alone
    return "composition", case


def _bent(fn: Callable[..., Any], alone: Case) -> Callable[..., Any]:
    """The function of x + (x - k)² at k, its inputs: of the same value and slope, and its tangents depend on x."""
    places = [torch.from_numpy(np.array(k)) for k in alone.inputs]
    return lambda *tensors: fn(*[x + (x - k.to(x.dtype)) ** 2 for x, k in zip(tensors, places, strict=True)])


def replay(data: dict[str, Any], rows: Rows) -> None:
    """Compare the program of a case of kind "generated" again. Raises CaseError where it cannot be read."""
    dtype = data.get("dtype", "float64")
    if dtype not in ("float64", "float32"):
        raise CaseError(f"replay: the case has dtype {dtype!r}; accepted are float64 and float32. Restore the file.")
    compare_case(Case.from_json(data), rows, (data["mode"],), dtype, int(data.get("seed", 0)))
