"""The graph of a `Program`: one node a variable, with values, gradients and local derivatives where they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ParameterError
from .evaluate import Plan, arguments_of, evaluate
from .graph import Graph, Node, named
from .number_text import number_text
from .program import Equation, Program, Variable, letters
from .registry import CONSTANT, ELEMENTWISE, FLOAT, PRIMITIVES
from .reverse import reverse

OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@"}


def program_graph(
    program: Program, inputs: Sequence[Any] = (), names: Mapping[str, Any] | None = None, operation: str = "graph_of"
) -> Graph:
    """The graph of `program`; scalar constants stand in the text of what they are used for, not as nodes.

    With `inputs` it has values; gradients too, if the only output is one real number; and on an edge the local
    derivative, entry by entry, where operand and result have the same shape and the operation is elementwise.
    """
    label = variable_names(program, names, operation)
    values = _values(program, inputs) if inputs else {}
    gradient = _gradients(program, inputs) if inputs else {}
    inlined = {v for v in program.constants if v.shape == () and v not in program.outputs}
    position: dict[Variable, int] = {}
    nodes: list[Node] = []
    for v in (*program.inputs, *program.constants):
        if v in inlined:
            continue
        position[v] = len(nodes)
        value = values.get(v, program.constants.get(v))
        nodes.append(Node(label[v], value=value, gradient=gradient.get(v), form=repr(v)))
    for e in program.equations:
        text = equation_text(e, label)
        operands = [v for v in e.inputs if v in position]
        slopes = tuple([_slope(e, i, values) for i, v in enumerate(e.inputs) if v in position])
        for k, v in enumerate(e.outputs):
            position[v] = len(nodes)
            part = f"{text}[{k}]" if len(e.outputs) > 1 else text
            sources = tuple([position[u] for u in operands])
            own = slopes if len(e.outputs) == 1 else (None,) * len(slopes)
            nodes.append(Node(label[v], e.primitive, part, values.get(v), gradient.get(v), sources, own, repr(v)))
    return Graph(nodes, tuple([position[v] for v in program.outputs if v in position]))


def variable_names(program: Program, names: Mapping[str, Any] | None, operation: str) -> dict[Variable, str]:
    """The name of every variable: the given one, else its letter in the printed program; constants as numbers."""
    given: dict[Variable, str] = named(names, Variable, operation)
    taken = set(given.values())
    if len(taken) < len(set(given)):
        raise ParameterError(f"{operation}: names holds one name for two variables; accepted is one each. Rename one.")
    letter = {v: letters(i) for i, v in enumerate(program.variables())}
    label: dict[Variable, str] = {}
    for v in program.variables():
        if v in program.constants and v.shape == ():
            c = program.constants[v]
            label[v] = letter[v] if hasattr(c, "builder") else number_text(c)
        else:
            label[v] = given[v] if v in given else letter[v] + ("_" if letter[v] in taken else "")
    return label


def equation_text(e: Equation, label: Mapping[Variable, str]) -> str:
    """The right side of an equation as code: "a * b", "-a", "sum(a, axes=(0,))"."""
    arguments = [label[v] for v in e.inputs]
    if e.primitive in OPERATORS:
        return f" {OPERATORS[e.primitive]} ".join(arguments)
    if e.primitive == "negative":
        return f"-{arguments[0]}"
    return f"{e.primitive}({', '.join(arguments + [f'{k}={value!r}' for k, value in e.params.items()])})"


def _values(program: Program, inputs: Sequence[Any]) -> dict[Variable, Any]:
    """The number of every variable at `inputs`."""
    every = list(program.variables())
    everything = Program(program.inputs, program.constants, program.equations, tuple(every), program.name)
    return dict(zip(every, Plan(everything).run(arguments_of(program, inputs)), strict=True))


def _gradients(program: Program, inputs: Sequence[Any]) -> dict[Variable, Any]:
    """∂output/∂variable for every float variable; empty unless the only output is one real number.

    Every result v becomes v + δ, with one more input δ = 0, and ∂output/∂δ is the gradient of v.
    """
    if len(program.outputs) != 1 or program.outputs[0].shape != () or program.outputs[0].dtype != FLOAT:
        return {}
    equations: list[Equation] = []
    shift: dict[Variable, Variable] = {}
    site = 1 + max((e.site for e in program.equations), default=0)
    for e in program.equations:
        raw = tuple([Variable(v.shape, v.dtype) if v.dtype == FLOAT else v for v in e.outputs])
        equations.append(Equation(e.primitive, e.inputs, e.params, raw, e.site))
        for v, computed in zip(e.outputs, raw, strict=True):
            if v is not computed:
                shift[v] = Variable(v.shape, v.dtype)
                equations.append(Equation("add", (computed, shift[v]), {}, (v,), site))
                site += 1
    floats = [v for v in program.inputs if v.dtype == FLOAT]
    shifted = Program((*program.inputs, *shift.values()), program.constants, tuple(equations), program.outputs)
    wrt = [i for i, v in enumerate(shifted.inputs) if v.dtype == FLOAT]
    zeros = [np.zeros(v.shape) for v in shift]
    found = evaluate(reverse(shifted, wrt), *inputs, *zeros, 1.0)
    return dict(zip([*floats, *shift], found if isinstance(found, tuple) else (found,), strict=True))


def _slope(e: Equation, i: int, values: Mapping[Variable, Any]) -> Any:
    """∂output/∂input i, entry by entry; None where it is a whole matrix, or unknown."""
    x, y = e.inputs[i], e.outputs[0]
    primitive = PRIMITIVES[e.primitive]
    if not values or len(e.outputs) > 1 or x.dtype != FLOAT or y.dtype != FLOAT or x.shape != y.shape:
        return None
    if (y.shape and primitive.kind != ELEMENTWISE) or primitive.rule(i) is CONSTANT:
        return None
    places = tuple([Variable(v.shape, v.dtype) for v in e.inputs])  # of their own, for an operand that stands twice
    alone = Program(places, {}, (Equation(e.primitive, places, e.params, e.outputs, e.site),), e.outputs)
    return evaluate(reverse(alone, [i]), *[values[v] for v in e.inputs], np.ones(y.shape))
