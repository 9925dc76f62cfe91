"""Programs as readable code: alone, or with the equations of reverse mode beside the equations they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .aligned import aligned
from .errors import DtypeError
from .number_text import number_text, one_line
from .program import Equation, Program, Variable
from .program_graph import OPERATORS, equation_text, variable_names
from .reverse import Step, reverse

ALONE = (70, 26)  # columns of a listing: code, shape
BESIDE = (36, 12, 44)  # columns side by side: forward code, shape, backward code; 97 with what is between
LONGEST = 40  # characters of an expression that others are written into


def listing(program: Any) -> str:
    """A Program as code, one equation a line, dtype and shape of each result in a comment.

    Names are those of `str(program)`; numbers among the constants stand where they are used. Raises DtypeError for
    anything but a Program.
    """
    label = _names(program, "listing")
    rows = [
        *((f"    {label[v]} = {number_text(c)}", f"# {v!r}") for v, c in program.constants.items() if v.shape),
        *((f"    {_code(e, label)}", f"# {_forms(e)}") for e in program.equations),
    ]
    head = f"def {program.name}({', '.join(f'{label[v]}: {v!r}' for v in program.inputs)}):"
    end = f"    return {', '.join(label[v] for v in program.outputs)}"
    return "\n".join([head, *([aligned(rows, ALONE, ("  ",))] if rows else []), end])


def side_by_side(program: Any) -> str:
    """A Program from the top down, and beside each equation what reverse mode writes for it, to be read upwards.

    g_a is the cotangent of a: the gradient of a, once everything was added. The equations are those of
    `reverse(program)`; a sum of contributions is written +=, and a result that is used once stands where it is used.
    Raises DtypeError for anything but a Program, DerivativeError where `reverse` does.
    """
    label = _names(program, "side_by_side")
    trail: list[Step] = []
    gradient = reverse(program, trail=trail)
    backward = _backward(program, gradient, trail, label)
    reached = {v for step in trail for v, _ in step.contributions} | set(program.outputs)
    rows = [("forward, downwards", "", "backward, upwards")]
    for v in program.inputs:
        right = f"return g_{label[v]}" if v.dtype.kind in "fc" else ""
        rows.append((label[v], f"# {v!r}", right if v in reached or not right else f"{right}  # 0: has no part in it"))
    rows += [(f"{label[v]} = {number_text(c)}", f"# {v!r}", "") for v, c in program.constants.items() if v.shape]
    for e in program.equations:
        first, *others = backward.get(e, [""])
        rows.append((_code(e, label), f"# {_forms(e)}", first))
        rows += [("", "", line) for line in others]
    seen: set[Variable] = set()
    for v in program.outputs:
        right = f"g_{label[v]} {'+=' if v in seen else '='} given" if v.dtype.kind in "fc" else ""
        rows.append((f"return {label[v]}", f"# {v!r}", right))
        seen.add(v)
    return aligned(rows, BESIDE, ("  ", " | "))


def _names(program: Any, operation: str) -> dict[Variable, str]:
    if not isinstance(program, Program):
        raise DtypeError(
            f"{operation}: program is {one_line(repr(program))[:60]} of type {type(program).__name__}; accepted is a "
            "Program. Make one with trace(fn, *examples); for a Value there is backward_listing."
        )
    return variable_names(program, None, operation)


def _code(e: Equation, label: Mapping[Variable, str]) -> str:
    return f"{', '.join(label[v] for v in e.outputs)} = {equation_text(e, label)}"


def _forms(e: Equation) -> str:
    return ", ".join(map(repr, e.outputs))


def _backward(
    program: Program, gradient: Program, trail: Iterable[Step], label: Mapping[Variable, str]
) -> dict[Equation, list[str]]:
    """For each equation of `program` the lines that reverse mode writes for it."""
    alive = set(gradient.outputs)
    for e in reversed(gradient.equations):
        if not alive.isdisjoint(e.outputs):
            alive.update(e.inputs)
    uses = Counter(v for e in gradient.equations if not alive.isdisjoint(e.outputs) for v in e.inputs)
    names = {v: number_text(c) if v.shape == () else f"({number_text(c)})" for v, c in gradient.constants.items()}
    names.update(label)
    received = set(program.outputs)
    lines: dict[Equation, list[str]] = {}
    named = 0
    for step in trail:
        results = step.equation.outputs
        own = lines[step.equation] = [f"g_{label[v]} = 0" for v in results if v not in received]
        here = {**names, **{g: f"g_{label[v]}" for v, g in zip(results, step.cotangents, strict=True)}}
        sent = {g for _, g in step.contributions}
        inside = Counter(v for e in step.backward for v in e.inputs)
        open_text: set[Variable] = set()  # stand for an expression that needs brackets inside another one
        masks = [e for e in step.gathering if e.primitive == "logical_or"]  # what else is gathered are the sums
        for e in (*masks, *step.backward):
            if alive.isdisjoint(e.outputs):
                continue
            is_open = e.primitive in OPERATORS or e.primitive == "negative"
            text = equation_text(e, {v: f"({here[v]})" if is_open and v in open_text else here[v] for v in e.inputs})
            y = e.outputs[0]
            is_used_once = inside[y] == 0 if y in sent else uses[y] == inside[y] == 1
            if is_used_once and len(e.outputs) == 1 and (y in sent or len(text) <= LONGEST):
                here[y] = text
                if is_open:
                    open_text.add(y)
                continue
            for v in e.outputs:
                named += 1
                names[v] = here[v] = f"t{named}"
            own.append(f"{', '.join(here[v] for v in e.outputs)} = {text}")
        own += [f"g_{label[v]} += {here[g]}" for v, g in step.contributions]
        received.update(v for v, _ in step.contributions)
    return lines
