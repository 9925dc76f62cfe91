"""The local judge: each autograd node on its own, at PyTorch's recorded values and PyTorch's incoming adjoint."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...reference_engine.errors import EngineError
from ...reference_engine.evaluate import Plan
from ...reference_engine.program import Program, Variable
from ...reference_engine.reverse import reverse
from ...reference_engine.rounding import UNIT_ROUNDOFF
from ..recorder.nodes import VIEW_NODES, Node, adjoint
from ..recorder.witnessing import Witnessed
from .at_nan import is_nan_everywhere
from .by_limits import hold_against_limits
from .conventions import follow
from .judging import Judgement, Question, judge
from .plans import started
from .precisions import kept
from .rows import name_part
from .strides import with_lone_axis

NAN_GIVEN = "NaN among the arguments"


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
    if not node.ran:
        return
    blocked = [seen.unsupported[c] for c in node.calls if c in seen.unsupported]
    blocked += [seen.left[v] for _, v in node.outputs if v in seen.left]
    blocked += [seen.left[v] for c in node.calls for v in recording.calls[c].outputs if v in seen.left]
    if blocked:
        why = Judgement("unsupported", note="; ".join(dict.fromkeys(blocked)))
        yield LocalVerdict(operation, node.called, "derivative", 0, why, node.name)
        return
    if not node.outputs or any(v < 0 for _, v in node.inputs) or not (numbers or (node.calls and node.is_custom)):
        return  # a node that PyTorch made between recorded values (a regenerated view); the global judge covers it
    inputs, outputs = _ends(seen, node)
    if not inputs or not outputs:
        return
    forms = {e: recording.variables[v].stored.shape for e, v in node.inputs}
    if node.inner and any(given is not None and given[0] != forms[e] for e, given in node.returned.items()):
        return  # its form is told by itself
    if any(name in node.name for name in VIEW_NODES):
        return
    try:
        question, program, values, cotangents = _question(seen, node, inputs, outputs, seed)
    except EngineError as error:
        judgement = Judgement("unsupported", note=str(error))
        yield LocalVerdict(operation, node.called, "derivative", 0, judgement, node.name)
        return
    names = [name for c in node.calls for name in seen.followed.get(c, ())]
    judgements = judge(question)
    if not names and all((np.isfinite(g) & (g != 0.0)).all() for g in cotangents):  # 0 · inf is judged end to end
        t = [np.zeros(np.shape(x)) for x in values]
        hold_against_limits(judgements, question, program, values, cotangents, [t], "R", seen.values)
    for i, judgement in enumerate(judgements):
        edge = next(e for e, v in node.inputs if v == inputs[i])
        follow(judgement, names)
        if recording.variables[inputs[i]].dtype.is_complex:
            name_part(judgement)
        if judgement.verdict == "mismatch":
            note = judgement.note or (NAN_GIVEN if question.input_is_nan else "")
            judgement.note = with_lone_axis(note, recording, main)
        yield LocalVerdict(operation, node.called, "derivative", edge, judgement, node.name)


def _ends(seen: Witnessed, node: Node) -> tuple[list[int], list[tuple[int, int]]]:
    """The recorded variables that a node sends adjoints to, and (its output, the variable) of those it receives."""
    # recorded variables that one operation does not tell apart (a reduction over no axis) are one argument
    first = {seen.tracers[v].variable: v for _, v in reversed(node.inputs) if v in seen.tracers}
    inputs = sorted(first.values(), key=[v for _, v in node.inputs].index)
    return inputs, [(k, v) for k, v in node.outputs if v in seen.tracers]


def error_of(seen: Witnessed, node: Node, seed: int = 0) -> list[tuple[int, Any]]:
    """What a node sent less what its rule gives of what it received, for each recorded variable that it sends to."""
    inputs, outputs = _ends(seen, node)
    question = _question(seen, node, inputs, outputs, seed)[0]
    with np.errstate(all="ignore"):
        right = question.plan.run(question.given)
        return [(v, np.asarray(t) - y) for v, t, y in zip(inputs, question.answers, right, strict=True)]


def condition(seen: Witnessed, node: Node, edge: int, entry: int, seed: int = 0, samples: int = 16) -> float:
    """The condition number of one entry of what a node sends along `edge`, by the witness's exact rule.

    The root mean square by which the entry moves, in unit roundoffs of itself, where every number that the node was
    given or had saved moves by one unit roundoff of the node's coarsest dtype times a standard normal number. inf
    for an entry of 0. entry: flat index. No model of how PyTorch rounds enters into it.
    """
    inputs, outputs = _ends(seen, node)
    question = _question(seen, node, inputs, outputs, seed)[0]
    variable = seen.tracers[dict(node.inputs)[edge]].variable
    k = [seen.tracers[v].variable for v in inputs].index(variable)
    u, rng = UNIT_ROUNDOFF[question.dtype], np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        right = float(np.asarray(question.plan.run(question.given)[k]).reshape(-1)[entry])
        if right == 0.0 or not np.isfinite(right):
            return float("inf")
        squares = 0.0
        for _ in range(samples):
            given = list(question.given)
            for i in question.operands:
                x = np.asarray(given[i])
                if x.dtype.kind == "f":
                    given[i] = x * (1.0 + u * rng.standard_normal(x.shape))
            moved = float(np.asarray(question.plan.run(given)[k]).reshape(-1)[entry])
            squares += ((moved - right) / (u * right)) ** 2
    return float(np.sqrt(squares / samples))


def _question(
    seen: Witnessed, node: Node, inputs: list[int], outputs: list[tuple[int, int]], seed: int
) -> tuple[Question, Program, list[Any], list[Any]]:
    """What is asked of a node, its program, the values of its inputs, and the adjoints that arrive."""
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
        sent.append(functools.reduce(np.add, [adjoint(node.sent, e, shape) for e in edges]))
    # an adjoint is handed over in the dtype of its tensor: where a node mixes dtypes, the coarsest bounds what is right
    dtypes = [recording.variables[v].dtype for v in (*inputs, *[v for _, v in outputs])]
    dtype = str(max(dtypes, key=lambda d: torch.finfo(d).eps)).removeprefix("torch.")
    nan = any(np.isnan(x).any() for x in values if x.dtype.kind == "f")
    undefined = any(np.isnan(recording.variables[v].value).any() for _, v in outputs)
    arrives = any(np.isnan(g).any() for g in cotangents)
    count = len(values) + len(cotangents)
    operands = [*range(count), *range(len(given) - len(known), len(given))]
    flags = nan, seed, undefined or arrives, arrives
    scales = range(len(values), count)
    question = Question(plan, given, sent, dtype, lossy, *flags, operands=operands, scales=scales)
    question.complex_numbers = any(d.is_complex for d in dtypes)
    question.values, question.cotangents = [recording.variables[v].value for _, v in outputs], scales
    question.without_value = is_nan_everywhere(question.values)
    return question, program, values, cotangents


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
        question = Question(plan, given, answers, dtype, None, nan, seed, True)
        question.complex_numbers = any(recording.variables[v].dtype.is_complex for v in (*call.references(), *outs))
        for i, judgement in enumerate(judge(question)):
            if recording.variables[outs[i]].dtype.is_complex:
                name_part(judgement)
            if judgement.verdict == "mismatch":
                judgement.note = with_lone_axis(judgement.note or (NAN_GIVEN if nan else ""), recording, call)
            yield LocalVerdict(call.qualified, call.where, "value", i, judgement)
