"""Simplify a program between orders of differentiation: dead code out, common subexpressions once, no-ops skipped.

What is left computes the same values, rounding included.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .program import Equation, Program, Variable
from .registry import PRIMITIVES


def simplify(program: Program, keep: Collection[Variable] = ()) -> Program:
    """The program without dead code, repeated equations and operations that change nothing.

    Variables keep their identity, so values known for the original are values of the result. Equations that make a
    choice at a kink are merged only with the same choice (same site). keep: variables whose values are given. They only
    give way to one another, since other values would be computed; and a computation that rounds is not taken for
    another one, since each rounds anew.
    """
    replaced: dict[Variable, Variable] = {}
    seen: dict[Any, tuple[Variable, ...]] = {}
    makers: dict[Variable, Equation] = {}
    kept: list[Equation] = []
    one = {v for v, c in program.constants.items() if v.shape == () and v.dtype.kind == "f" and _is(c, 1.0)}
    for e in program.equations:
        inputs = tuple([replaced.get(v, v) for v in e.inputs])
        same = _no_op(e, inputs, one, makers)
        if same is not None and (e.outputs[0] not in keep or same in keep):
            replaced[e.outputs[0]] = same
            continue
        key = (e.primitive, inputs, tuple(sorted(e.params.items())) if e.params else ())
        known = seen.get(key)
        if known is not None and (not keep or _same_rounding(e, known, keep)):
            replaced.update(zip(e.outputs, known, strict=True))
            continue
        equation = e if inputs == e.inputs else Equation(e.primitive, inputs, e.params, e.outputs, e.site)
        seen[key] = e.outputs
        for v in e.outputs:
            makers[v] = equation
        kept.append(equation)
    outputs = tuple(replaced.get(v, v) for v in program.outputs)
    alive = set(outputs)
    live: list[Equation] = []
    for e in reversed(kept):
        if not alive.isdisjoint(e.outputs):
            alive.update(e.inputs)
            live.append(e)
    live.reverse()
    constants = {v: c for v, c in program.constants.items() if v in alive}
    return Program(program.inputs, constants, tuple(live), outputs, program.name)


def _same_rounding(e: Equation, known: tuple[Variable, ...], keep: Collection[Variable]) -> bool:
    """Whether the outputs of `e` are those known also in how they are rounded: given both, or nothing rounds."""
    given = [(v in keep, w in keep) for v, w in zip(e.outputs, known, strict=True)]
    return all(a == b for a, b in given) and (all(a for a, _ in given) or PRIMITIVES[e.primitive].ulps == 0.0)


def _is(constant: Any, number: float) -> bool:
    return not hasattr(constant, "builder") and bool(constant == number)


def _no_op(
    e: Equation, inputs: tuple[Variable, ...], one: set[Variable], makers: dict[Variable, Equation]
) -> Variable | None:
    """The variable that `e` only repeats, if it does."""
    x = inputs[0]
    y = e.outputs[0]
    if x.shape == y.shape and x.dtype == y.dtype:
        if e.primitive in ("reshape", "broadcast_to"):
            return x
        if e.primitive == "transpose" and e.params["axes"] == tuple(range(x.ndim)):
            return x
        if e.primitive == "multiply" and inputs[1] in one:
            return x
    if e.primitive == "multiply" and x in one and inputs[1].shape == y.shape and inputs[1].dtype == y.dtype:
        return inputs[1]
    before = makers.get(x)
    if before is not None and before.primitive == e.primitive and PRIMITIVES[e.primitive].view:
        source = before.inputs[0]
        if e.primitive == "transpose" and tuple(before.params["axes"][i] for i in e.params["axes"]) == tuple(
            range(x.ndim)
        ):
            return source
        if e.primitive == "reshape" and source.shape == y.shape:
            return source
    return None
