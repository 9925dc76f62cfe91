"""A block of generated programs: drawn from its own seed, compared in every mode, and what differs traced down."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .comparing import record
from .drawn import Case
from .emit import compiled, emit
from .errors import CaseError
from .findings import Candidate
from .generated import (
    Located,
    compare_case,
    counted,
    draw_cases,
    in_precision,
    localise,
    single_equations,
    subject_of,
    torch_function,
)
from .localising import suspects
from .rows import Rows
from .scripts import answers_of, random_directions, script_of_program
from .strategies import expressions, networks, programs, steps

if TYPE_CHECKING:
    from .units import Unit, UnitResult

# Primitives that rules are made of and that stand for no single function of PyTorch: their spelling rounds differently.
COMPOSED = frozenset(
    "share running_share deviation balance inverse_deviation exponents exponents_of_others recurrence".split()
)
KINDS = {
    "expression": expressions,
    "network": networks,
    "program": lambda: programs(only=[name for name in steps() if name not in COMPOSED]),
}
WRONG = ("mismatch", "raised", "accepted", "crashed")


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
    wrong = [r for r in rows.rows if r["verdict"] in WRONG]
    if wrong:
        mismatch = any(r["verdict"] == "mismatch" for r in wrong)
        located = localise(case, mode, dtype, seed) if mismatch else None
        raising = None if mismatch else _raising(case, mode, dtype, seed)
        candidate = _candidate(case, mode, dtype, seed, wrong, located, raising)
        for r in wrong:
            if r["verdict"] == candidate.verdict and r["program"] == "whole":
                r["op"] = candidate.op
        result.candidates.append(candidate)
    result.rows += rows.rows


def _candidate(
    case: Case,
    mode: str,
    dtype: str,
    seed: int,
    wrong: Sequence[dict[str, Any]],
    located: Located | None,
    raising: Case | None,
) -> Candidate:
    """The one operation that is wrong where there is one; otherwise the program as a whole."""
    row = max(wrong, key=lambda r: (r["verdict"] == "mismatch", r.get("z") or 0.0))
    smallest = raising or (case if located is None else located.case)
    script = ""
    if row["verdict"] == "mismatch":
        script = script_of_program(smallest.program, smallest.inputs, mode, dtype, seed)
    operation, culprit = "composition", row.get("culprit") or "composition"
    if located is not None:
        operation, culprit = _named(located, seed)
    elif raising is not None:
        operation = culprit = torch_function(raising.program.equations[-1])
    return Candidate(
        op=operation,
        culprit=culprit,
        mode=mode,
        runner="autograd",
        dtype=dtype,
        verdict=row["verdict"],
        z=row.get("z", float("nan")),
        equations=smallest.operations,
        elements=smallest.elements,
        torch_value=row.get("torch_value", float("nan")),
        right_value=row.get("reference_value", float("nan")),
        note=row.get("message") or "",
        case={
            "format": 1,
            "kind": "generated",
            "mode": mode,
            "dtype": dtype,
            "seed": seed,
            "culprit": culprit,
            **smallest.to_json(),
        },
        script=script,
    )


def _named(located: Located, seed: int) -> tuple[str, str]:
    """(PyTorch's function, ATen operation) of a located equation; where it calls several, the one that differs."""
    subject = subject_of(located.case, located.dtype, seed)
    recording, seen, _ = record(subject)
    calls = [c for c in recording.calls if c.func is not None and c.name != "aten::detach"]
    if len(calls) > 1:
        for call, *_ in suspects(recording, seen, located.mode, seed):
            return f"torch.{call.name.removeprefix('aten::')}", call.qualified
    return located.operation, located.aten


def _raising(case: Case, mode: str, dtype: str, seed: int) -> Case | None:
    """The first equation that PyTorch refuses to differentiate in this mode when it is asked alone."""
    for alone in single_equations(in_precision(case, dtype)):
        d = random_directions(alone.program, seed)
        try:
            fn = compiled(emit(alone.program, always_tuple=True))
            v = alone.program.outputs if mode in ("F", "FF") else alone.program.inputs
            answers_of(fn, alone.inputs, d, mode, dtype, [x.shape for x in v])
        except (RuntimeError, NotImplementedError):
            return alone
    return None


def replay(data: dict[str, Any], rows: Rows) -> None:
    """Compare the program of a case of kind "generated" again. Raises CaseError where it cannot be read."""
    dtype = data.get("dtype", "float64")
    if dtype not in ("float64", "float32"):
        raise CaseError(f"replay: the case has dtype {dtype!r}; accepted are float64 and float32. Restore the file.")
    compare_case(Case.from_json(data), rows, (data["mode"],), dtype, int(data.get("seed", 0)))
