"""The local judge: each autograd node on its own, at PyTorch's recorded values and PyTorch's incoming adjoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...reference_engine.errors import EngineError
from ...reference_engine.evaluate import Plan
from ...reference_engine.program import Program, Variable
from ...reference_engine.reverse import reverse
from ..recorder.nodes import VIEW_NODES, Node, adjoint
from ..recorder.witnessing import Witnessed
from .conventions import follow
from .judging import Judgement, Question, judge
from .plans import started
from .precisions import kept
from .rows import name_part


@dataclass
class LocalVerdict:
    """What the local judge says about one node (or, for quantity "value", about the forward result of one call).

    operation: the ATen operation or the custom Function. where: file:line. argument: number of the edge.
    """

    operation: str
    where: str
    quantity: str
    argument: int
    judgement: Judgement
    node: str = ""


def judge_node(seen: Witnessed, node: Node, seed: int = 0) -> Iterator[LocalVerdict]:
    """One verdict per differentiated argument of a node that ran; a single `unsupported` where the witness cannot
    follow.
    """
    recording = seen.recording
    numbers = [c for c in node.calls if recording.calls[c].func is not None]
    main = recording.calls[numbers[-1]] if numbers else None
    operation = node.name if node.is_custom or main is None else main.qualified
    where = main.where if main is not None else ""
    if not node.ran:
        return
    blocked = [seen.unsupported[c] for c in node.calls if c in seen.unsupported]
    blocked += [seen.left[v] for _, v in node.outputs if v in seen.left]
    if blocked:
        yield LocalVerdict(
            operation, where, "derivative", 0, Judgement("unsupported", note="; ".join(blocked)), node.name
        )
        return
    if not node.outputs or any(v < 0 for _, v in node.inputs) or not (numbers or (node.calls and node.is_custom)):
        return  # a node that PyTorch made between recorded values (a regenerated view); the global judge covers it
    # recorded variables that one operation does not tell apart (a reduction over no axis) are one argument
    first = {seen.tracers[v].variable: v for _, v in reversed(node.inputs) if v in seen.tracers}
    inputs = sorted(first.values(), key=[v for _, v in node.inputs].index)
    outputs = [(k, v) for k, v in node.outputs if v in seen.tracers]
    if not inputs or not outputs:
        return
    if any(name in node.name for name in VIEW_NODES):
        return
    try:
        question, dtype = _question(seen, node, inputs, outputs, seed)
    except EngineError as error:
        yield LocalVerdict(operation, where, "derivative", 0, Judgement("unsupported", note=str(error)), node.name)
        return
    names = [name for c in node.calls for name in seen.followed.get(c, ())]
    for i, judgement in enumerate(judge(question)):
        edge = next(e for e, v in node.inputs if v == inputs[i])
        follow(judgement, names)
        if recording.variables[inputs[i]].dtype.is_complex:
            name_part(judgement)
        yield LocalVerdict(operation, where, "derivative", edge, judgement, node.name)
    del dtype


def _question(
    seen: Witnessed, node: Node, inputs: list[int], outputs: list[tuple[int, int]], seed: int
) -> tuple[Question, str]:
    recording = seen.recording
    equations = seen.region(node.calls)
    ins = [seen.tracers[v].variable for v in inputs]
    outs = [seen.tracers[v].variable for _, v in outputs]
    made = {v for e in equations for v in e.outputs}
    outside = list(dict.fromkeys(v for e in equations for v in e.inputs if v not in made and v not in ins))
    outside += [v for v in outs if v not in made and v not in ins and v not in outside]
    scalars = {v: seen.builder.constants[v] for v in outside if v in seen.builder.constants and v.shape == ()}
    externals = [v for v in outside if v not in scalars]
    program = Program((*ins, *externals), scalars, tuple(equations), tuple(outs), "node")
    wrt = range(len(ins))
    values = [_value(seen, v) for v in program.inputs]
    cotangents = [adjoint(node.received, k, recording.variables[v].value.shape) for k, v in outputs]
    known, run = _recorded(seen, equations), kept(seen)
    plan, given = started(
        program, f"local {len(ins)}", lambda p, **k: reverse(p, wrt, **k), [*values, *cotangents], known, run
    )

    def lossy() -> tuple[Plan, list[Any]]:
        derive = lambda p, **k: reverse(p, wrt, lossy=True, **k)  # noqa: E731
        return started(program, f"local lossy {len(ins)}", derive, [*values, *cotangents], known, run)

    sent = []
    for v in inputs:
        shape = recording.variables[v].value.shape
        same = seen.tracers[v].variable
        edges = [e for e, u in node.inputs if u in seen.tracers and seen.tracers[u].variable is same]
        sent.append(sum((adjoint(node.sent, e, shape) for e in edges), np.zeros(shape)))
    # an adjoint is handed over in the dtype of its tensor: where a node mixes dtypes, the coarsest bounds what is right
    dtypes = [recording.variables[v].dtype for v in (*inputs, *[v for _, v in outputs])]
    dtype = str(max(dtypes, key=lambda d: torch.finfo(d).eps)).removeprefix("torch.")
    nan = any(np.isnan(x).any() for x in values if x.dtype.kind == "f")
    undefined = any(np.isnan(recording.variables[v].value).any() for _, v in outputs)
    arrives = any(np.isnan(g).any() for g in cotangents)
    return Question(plan, given, sent, dtype, lossy, nan, seed, undefined or arrives, arrives), dtype


def _recorded(seen: Witnessed, equations: list[Any]) -> dict[Variable, Any]:
    """Recorded values of variables made by these equations: the outputs of the calls among them."""
    made = {v for e in equations for v in e.outputs}
    return {v: seen.values[v] for v in made if v in seen.values}


def _value(seen: Witnessed, variable: Variable) -> Any:
    """The number of a traced variable: recorded, or a constant of the trace."""
    if variable in seen.values:
        return seen.values[variable]
    return seen.builder.constants[variable]


def judge_values(seen: Witnessed, seed: int = 0) -> Iterator[LocalVerdict]:
    """The forward result of every lowered call, at its recorded arguments: what an operation means is ours, not
    PyTorch's.
    """
    recording = seen.recording
    for number, call in enumerate(recording.calls):
        if number not in seen.spans or number in seen.unsupported or call.func is None:
            continue
        outs = [
            o for o in call.outputs if o is not None and o in seen.tracers and recording.variables[o].maker == number
        ]
        equations = seen.region([number])
        if not outs or not equations:
            continue
        variables = [seen.tracers[o].variable for o in outs]
        made = {v for e in equations for v in e.outputs}
        if not made.issuperset(variables):
            continue
        outside = list(dict.fromkeys(v for e in equations for v in e.inputs if v not in made))
        scalars = {v: seen.builder.constants[v] for v in outside if v in seen.builder.constants and v.shape == ()}
        externals = tuple(v for v in outside if v not in scalars)
        program = Program(externals, scalars, tuple(equations), tuple(variables), "value")
        values = [_value(seen, v) for v in externals]
        plan, given = started(program, "value", lambda p, **_: p, values, run=kept(seen))
        dtype = str(recording.variables[outs[0]].dtype).removeprefix("torch.")
        nan = any(np.isnan(x).any() for x in values if x.dtype.kind == "f")
        answers = [recording.variables[o].value for o in outs]
        for i, judgement in enumerate(judge(Question(plan, given, answers, dtype, None, nan, seed, True))):
            if recording.variables[outs[i]].dtype.is_complex:
                name_part(judgement)
            yield LocalVerdict(call.qualified, call.where, "value", i, judgement)
