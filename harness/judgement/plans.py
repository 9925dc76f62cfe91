"""Derived programs, compiled and kept: the same structure is differentiated once, whatever the numbers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...reference_engine.evaluate import Plan
from ...reference_engine.program import Program, Variable
from ...reference_engine.reverse import Step
from ...reference_engine.simplify import simplify
from .precisions import Kept, roundings

_plans: dict[Any, tuple[Plan, list[Any]]] = {}
_KEPT_AT_MOST = 512  # plans hold buffers of their results


def started(
    program: Program,
    kind: str,
    derive: Callable[..., Program],
    inputs: Sequence[Any],
    known: dict[Variable, Any] | None = None,
    run: Kept | None = None,
) -> tuple[Plan, list[Any]]:
    """The plan of `derive(program)` and the values to run it with.

    kind: name of the derivation, part of the key under which the plan is kept. inputs: values of the inputs of the
    derived program.
    known: values of variables of `program` that the run starts from instead of computing them (PyTorch's recorded
    results). run: what PyTorch kept the numbers in, where that differs between them; `derive` is then also given a
    `trail` for reverse mode.
    """
    known = known or {}
    variables = list(program.variables()) if known else []
    order = tuple(i for i, v in enumerate(variables) if v in known)
    key = (kind, program.key(), order, None if run is None else run.key(program))
    found = _plans.get(key)
    if found is None:
        trail: list[Step] = []
        whole = derive(program) if run is None else derive(program, trail=trail)
        keep = known or run is not None
        derived = simplify(whole, {*known, *program.inputs, *program.constants} if keep else ())
        extra = [v for v in derived.constants if v not in program.constants]
        plan = Plan(derived, [*derived.inputs, *program.constants, *extra, *[variables[i] for i in order]])
        values = [derived.constants[v] for v in extra]
        plan.roundings = None if run is None else roundings(program, whole, trail, run)
        plan.primal = frozenset(v for e in program.equations for v in e.outputs)
        plan.forget_program()
        if len(_plans) >= _KEPT_AT_MOST:
            _plans.pop(next(iter(_plans)))
        found = _plans[key] = (plan, values)
    plan, values = found
    return plan, [*inputs, *program.constants.values(), *values, *[known[variables[i]] for i in order]]
