"""One subject, one mode: run PyTorch, read the run with the witness, judge locally and globally, and write the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from ...reference_engine.errors import EngineError
from ..errors import TheirsRaised
from ..recorder.draws import replaying
from ..recorder.functions import CHECKPOINT
from ..recorder.hooks import HookNote, noted_after_accumulation
from ..recorder.nested import tensors_in
from ..recorder.nodes import Node, nodes_of, run_backward
from ..recorder.preserving import random_state, random_state_of_backward, random_states, set_random_states, untouched
from ..recorder.recorded_run import Recording
from ..recorder.recording import to_numpy
from ..recorder.witnessing import Witnessed, witness
from ..result import ATEN, END_TO_END, MASKED, NOTHING_DEPENDS, Culprit
from .at_nan import is_nan_everywhere
from .by_limits import HALF, hold_against_limits, tell_decided
from .calling_again import by_duals, with_parameters
from .checkpoints import inside_checkpoints
from .conventions import follow, within
from .culprits import culprit_of, place, rows_of_forms, rows_of_hooks, where_nan_starts
from .explained import JudgedPass
from .judgement_of_array import unused
from .judging import Judgement, Question, judge, worst
from .local import LocalVerdict, judge_node, judge_values
from .looking_again import look_again
from .modes import DIRECTIONS, Drawn, ask_torch, direction, per_output, reference
from .one_sided import hold_against_one_sided
from .rows import Rows, name_part
from .second_run import differ, row_of_parting
from .subject import Subject, cotangents, record
from .tangents_within import held_in_tangents
from .whole_runs import borne_out, question_of_whole
from .worked_in import works_in
from .written_in_place import BackwardPass, rows_of_writes

NO_GRAPH = (
    "PyTorch's first gradient carries no graph (once_differentiable, or a backward that detaches), so it has no second "
    "one (None): torch.autograd.grad refuses it alone, and counts it as 0 beside other terms"
)
BY_DUALS = "by dual numbers (torch.autograd.forward_ad): torch.func refuses this callable: {0}"
NO_ONE_MEANING = "mode {0} of a run under no_grad: tangents flow through it and adjoints do not: no one meaning"


@dataclass
class Found:
    """What a comparison found beside its rows. local: operations that are wrong alone, beside `culprit`."""

    culprit: Culprit | None = None
    unsupported: dict[str, str] = field(default_factory=dict)
    verdict: str = "agree"
    recording: Recording | None = None
    seen: Witnessed | None = None
    call: int | None = None
    local: list[Culprit] = field(default_factory=list)
    judged: JudgedPass | None = None


def compare_reverse(subject: Subject, rows: Rows) -> Found:
    """Mode R: every value, every autograd node, and the end-to-end gradients of one recorded run."""
    start, before = time.perf_counter(), len(rows.rows)
    recording, seen, wrt = record(subject)
    c = subject.arriving(recording.torch_outputs) or cotangents(recording.torch_outputs, subject.seed)
    seen = borne_out(subject, recording, seen, wrt, c)
    nodes = nodes_of(recording)
    hooks: list[HookNote] = []
    leaves = dict(zip(subject.names, subject.leaves, strict=True))
    try:
        with random_state_of_backward(subject.seed):
            gradients = run_backward(recording, nodes, subject.leaves, c, hooks)
    except Exception as error:
        made = rows_of_forms(recording, nodes, rows, subject.dtype) or rows_of_hooks(hooks, rows, subject.dtype)
        told = BackwardPass(nodes, recording.torch_outputs, c, leaves, refused=str(error))
        raise TheirsRaised(error, rows_of_writes(told, rows, subject.dtype, made)) from error
    if subject.thorough:
        with random_state():
            hooks += noted_after_accumulation(subject.leaves, gradients)
    found = Found(recording=recording, seen=seen, unsupported=seen.missing)
    local: list[tuple[LocalVerdict, Node | None]] = [(v, None) for v in judge_values(seen, subject.seed)]
    local += [(v, n) for n in nodes for v in judge_node(seen, n, subject.seed)]
    for v, _ in local:
        value = v.quantity == "value"
        rows.judged(
            v.judgement,
            operation=v.operation,
            mode="R",
            quantity=v.quantity,
            order=0 if value else 1,
            wrt=", ".join(filter(None, (v.where, f"{'output' if value else 'argument'} {v.argument}"))),
            dtype=subject.dtype,
            culprit=v.operation if v.judgement.verdict == "mismatch" else None,
            seconds=0.0,
        )
    wrong = [(v, n) for v, n in local if v.judgement.verdict == "mismatch"]
    greatest = max(wrong, key=lambda p: (p[0].quantity == "value", p[0].judgement.z), default=None)
    if greatest is not None:
        found.culprit = culprit_of(*greatest, recording)
        found.local = [culprit_of(*p, recording) for p in wrong if p is not greatest]
    forms, changed = rows_of_forms(recording, nodes, rows, subject.dtype), rows_of_hooks(hooks, rows, subject.dtype)
    found.culprit = found.culprit or forms or changed
    whole = _globally(subject, rows, found, recording, seen, wrt, c, gradients, local)
    again = partial(_again, subject, recording, seen, wrt, c)
    found.judged = JudgedPass(seen, subject.dtype, subject.names, wrt, c, gradients, wrong, again)
    tell_decided(rows.rows[before:], whole)
    if found.culprit is not None and found.culprit.kind == END_TO_END:
        held = partial(_globally, subject, Rows(""), Found(), wrt=wrt, c=c, gradients=gradients, local=[])
        found.culprit = held_in_tangents(recording, seen, wrt, held, found.culprit, rows.rows[before:]) or found.culprit
    if not any(v in seen.tracers for v in recording.outputs):
        rows.rows[-1]["message"] = NOTHING_DEPENDS
    rows.rows[-1]["seconds"] = time.perf_counter() - start
    accused = [n for _, n in wrong]
    made = BackwardPass(nodes, recording.torch_outputs, c, leaves, gradients, accused, spoiled=subject.spoiled)
    found.culprit = rows_of_writes(made, rows, subject.dtype, found.culprit, greatest[1] if greatest else None)
    inner = inside_checkpoints(subject, nodes, found.culprit, compare_reverse)
    if inner is not None:
        found.culprit = inner
        for r in rows.rows[before:]:
            if r.get("culprit") == CHECKPOINT:
                r["culprit"] = inner.operation
    if subject.thorough:
        found.culprit = look_again(subject, recording, nodes, c, gradients, wrt, found.culprit, rows)
    found.verdict = worst([r["verdict"] for r in rows.rows[before:]])
    return found


def _again(
    subject: Subject, recording: Recording, seen: Witnessed, wrt: list[int], c: Any, gradients: list[Any]
) -> list[dict[str, Any]]:
    """The rows of `_globally` for other gradients."""
    rows = Rows("")
    _globally(subject, rows, Found(), recording, seen, wrt, c, gradients, [])
    return rows.rows


def _globally(
    subject: Subject,
    rows: Rows,
    found: Found,
    recording: Recording,
    seen: Witnessed,
    wrt: list[int],
    c: list[torch.Tensor | None],
    gradients: list[torch.Tensor | None],
    local: list[tuple[LocalVerdict, Node | None]],
) -> list[Judgement]:
    """One row per leaf for the end-to-end gradient, at PyTorch's own forward values; their judgements."""
    used = [v for v in dict.fromkeys(wrt) if v >= 0]
    if seen.missing:
        text = "; ".join(sorted(set(seen.missing.values())))
        for name in subject.names:
            rows.add(
                mode="R",
                quantity="derivative",
                order=1,
                wrt=name,
                dtype=subject.dtype,
                verdict="unsupported",
                message=text,
            )
        return []
    whole = question_of_whole(subject, recording, seen, used, c)
    question, program, inputs = whole.question, whole.program, whole.inputs
    missing = []
    for v in used:
        g = next(g for w, g in zip(wrt, gradients, strict=True) if w == v)
        missing.append(g is None)
        like = recording.variables[v].value
        question.answers.append(np.zeros(like.shape) if g is None else to_numpy(g, copy=False))
    judged = judge(question)
    if not seen.followed:
        t = Drawn([recording.variables[v].value.shape for v in used], subject.seed)
        count = len(used)
        hold_against_one_sided(judged, question, program, inputs[:count], inputs[count:], t, "R", seen.values)
        hold_against_limits(judged, question, program, inputs[:count], inputs[count:], [t], "R", seen.values)
    judgements = dict(zip(used, judged, strict=True))
    open_nodes = [f"{v.operation} ({v.where})" for v, _ in local if v.judgement.verdict == "indeterminate"]
    gone = dict(zip(used, missing, strict=True))
    for name, v, g in zip(subject.names, wrt, gradients, strict=True):
        j = judgements.get(v) or unused(g is not None)
        if v >= 0 and recording.variables[v].dtype.is_complex:
            name_part(j)
        if gone.get(v) and j.verdict == "mismatch":
            j.note = "PyTorch has no gradient here (None): the graph is cut between this tensor and the output"
        if j.verdict == "convention":
            follow(j, [name for followed in seen.followed.values() for name in followed])
        if j.verdict == "mismatch" and not np.isfinite(j.reference) and open_nodes:
            j.verdict, j.note = "indeterminate", f"no number at {open_nodes[0]}, through which this gradient passes"
        rows.judged(j, mode="R", quantity="derivative", order=1, wrt=name, dtype=whole.dtype)
        if j.verdict == "mismatch" and found.culprit is None:
            numbers = j.entry, j.torch_value, j.reference
            found.culprit = Culprit("end to end", "", 0, *numbers, kind=END_TO_END, part=j.part)
            made = where_nan_starts(local) if np.isnan(j.torch_value) else None
            if made is not None:
                kind = ATEN if made.infinite else MASKED
                found.culprit = Culprit(made.operation, *place(made.where), *numbers, kind=kind, part=j.part)
                rows.rows[-1].update(message=made.text(j.note), culprit=made.operation)
    return judged


def _same_numbers(outputs: Sequence[torch.Tensor], recorded: Sequence[torch.Tensor]) -> bool:
    """Whether two runs had the same outputs, to half of their digits: a transform may choose kernels that round
    otherwise."""
    level = torch._C._functorch

    def plain(t: torch.Tensor) -> Any:
        while level.is_functorch_wrapped_tensor(t):
            t = level.get_unwrapped(t)
        return to_numpy(t)

    return not any(differ(plain(a), to_numpy(b), b) for a, b in zip(outputs, recorded, strict=True))


def _not_compared(
    subject: Subject, recording: Recording, seen: Witnessed, mode: str, wanted: list[int]
) -> tuple[str, str] | None:
    """What keeps a run from being compared in a mode other than R, by name, and why; None if nothing does."""
    if seen.missing:
        return next(iter(seen.missing)), "; ".join(sorted(set(seen.missing.values())))
    if seen.cut and "F" in mode:
        return f"mode {mode} through no_grad", NO_ONE_MEANING.format(mode)
    return None


def _written_unseen(
    seen: Witnessed, question: Question, used: list[int], outputs: list[int], ask: Callable[[Any], Question]
) -> bool:
    """Whether a derivative depends on which way writes under no_grad are read: adjoints pass them by, tangents do not.
    ask: gives the question for another reading of the run.
    """
    if not seen.passed:
        return False
    followed = witness(seen.recording, used, cut_no_grad=False)
    if followed.missing:
        return True
    other = ask(followed.program(used, outputs))
    pairs = zip(question.plan.run(question.given), other.plan.run(other.given), strict=True)
    return not all(np.allclose(a, b, 0.0, HALF * np.max(np.abs(a), initial=0.0), equal_nan=True) for a, b in pairs)


def compare_forward_modes(subject: Subject, rows: Rows, mode: str) -> Found:
    """Any other mode: PyTorch's answer for the whole callable against the witness's reading of its recorded run.

    The directions are numbers of the leaves' own dtype. In a half precision, and under autocast, every step of the
    witness's derivative is taken to be rounded in it, the sums too: a wide spread, that nothing right leaves.
    """
    start, before = time.perf_counter(), len(rows.rows)
    recording, seen, wrt = record(subject, mode)
    found = Found(recording=recording, seen=seen, unsupported=seen.missing)
    order = len(mode)
    wanted = [i for i, t in enumerate(recording.torch_outputs) if t.is_floating_point() or t.is_complex()]
    common = {"mode": mode, "quantity": "derivative", "order": order, "dtype": subject.dtype}
    refused = _not_compared(subject, recording, seen, mode, wanted)
    if refused is not None:
        name, text = refused
        found.unsupported.setdefault(name, text)
        rows.add(**common, verdict="unsupported", message=text)
        return found

    last: list[tuple[torch.Tensor, ...]] = []  # the outputs of the latest run: what it drew at random shows in them
    begin = random_states()

    def flat(*tensors: torch.Tensor, run: Callable[..., Any] = with_parameters) -> tuple[torch.Tensor, ...]:
        set_random_states(begin)  # each run draws as the recorded one, and a backward pass after it goes on from there
        result = tensors_in(run(subject, tensors))
        last[:] = [tuple(result[i] for i in wanted)]
        return last[0]

    leaves = subject.leaves
    generator = torch.Generator().manual_seed(subject.seed + 1)

    def draw(likes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [direction(x, generator) for x in likes]

    c = draw([recording.torch_outputs[i] for i in wanted])
    relied = [name for followed in seen.followed.values() for name in followed]
    along = [[within(d, x, relied) for d, x in zip(draw(leaves), leaves, strict=True)] for _ in DIRECTIONS]
    used = [i for i, v in enumerate(wrt) if v >= 0 and v not in wrt[:i]]
    asked_otherwise = ""
    try:
        with random_state(), untouched(subject.module), replaying(recording.drawn):
            answers = ask_torch(flat, [x.detach() for x in leaves], c, along, mode)
    except Exception as error:  # PyTorch raised where the witness has an answer: a row, not a crash
        told = TheirsRaised(error).text
        instead = by_duals(subject, flat, recording.drawn, c, along, mode)
        if instead is None:
            rows.add(**common, verdict="raised", message=told, seconds=time.perf_counter() - start)
            return found
        answers, asked_otherwise = instead, BY_DUALS.format(told)
    other = bool(last) and not _same_numbers(last[0], [recording.torch_outputs[i] for i in wanted])
    if subject.thorough and other:
        parting = row_of_parting(subject, recording, rows, mode)
        if parting is not None:
            found.culprit = parting.culprit
            return found
    if recording.draws and other:
        text = f"mode {mode} of a run that draws random numbers: under torch.func PyTorch drew others than recorded"
        found.unsupported[f"mode {mode} of random draws"] = text
        rows.add(**common, verdict="unsupported", message=text + "; compare it in mode R, or in eval mode")
        return found
    arguments, results = [wrt[i] for i in used], [recording.outputs[i] for i in wanted]
    program = seen.program(arguments, results)
    x, *directions = ([to_numpy(tensors[i]) for i in used] for tensors in (leaves, *along))

    def ask(program: Any) -> Question:
        return reference(program, x, [to_numpy(g) for g in c], directions, mode)

    try:
        question = ask(program)
        nested = seen.beside and order > 1  # whether a tangent of a tangent passes by it depends on how it is written
        if "F" in mode and (nested or _written_unseen(seen, question, arguments, results, ask)):
            text = NO_ONE_MEANING.format(mode)
            found.unsupported[f"mode {mode} through a write under no_grad"] = text
            rows.add(**common, verdict="unsupported", message=text)
            return found
    except EngineError as error:
        rows.add(**common, verdict="unsupported", message=str(error))
        found.unsupported[mode] = str(error)
        return found
    if per_output(mode):
        names = [f"output {i}" for i in wanted]
        question.answers = [
            np.zeros(to_numpy(g).shape) if a is None else to_numpy(a) for a, g in zip(answers, c, strict=True)
        ]
    else:
        names = [subject.names[i] for i in used]
        question.answers = [
            np.zeros(y.shape) if answers[i] is None else to_numpy(answers[i]) for i, y in zip(used, x, strict=True)
        ]
    question.dtype = works_in(subject, recording, seen, mode)
    question.input_is_nan = any(np.isnan(a).any() for a in x)
    question.complex_numbers = recording.has_complex
    question.values = [recording.variables[recording.outputs[i]].value for i in wanted]
    question.outside_domain = any(np.isnan(y).any() for y in question.values)
    question.without_value = question.nan_arrives = is_nan_everywhere(question.values)
    judged = judge(question)
    if not relied:
        hold_against_one_sided(judged, question, program, x, [], directions[0], mode, seen.values)
        cotangents_of = [to_numpy(g) for g in c]
        hold_against_limits(judged, question, program, x, cotangents_of, directions, mode, seen.values)
    asked = [recording.torch_outputs[i] for i in wanted] if per_output(mode) else [leaves[i] for i in used]
    nothing = order > 1 and not mode.strip("R") and all(a is None for a in answers)
    for name, j, like in zip(names, judged, asked, strict=True):
        follow(j, relied)
        if nothing and j.verdict == "mismatch":
            j.note = NO_GRAPH
        if like.is_complex():
            name_part(j)
        j.note = "; ".join(note for note in (j.note, asked_otherwise) if note)
        rows.judged(j, **common, wrt=name, seconds=time.perf_counter() - start)
        if j.verdict == "mismatch" and found.culprit is None:
            found.culprit = Culprit(
                "end to end", "", 0, j.entry, j.torch_value, j.reference, mode, kind=END_TO_END, part=j.part
            )
    found.verdict = worst([r["verdict"] for r in rows.rows[before:]])
    return found
