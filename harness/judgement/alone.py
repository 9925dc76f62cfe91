"""What is wrong on its own where the derivative of the whole is: custom Functions, then ATen operations, in that mode
and in the modes of lower order through which an error enters it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch

from ..errors import TheirsRaised, UsageError
from ..recorder.applied import Applied, noting_functions, placed
from ..recorder.nested import tensors_in
from ..recorder.preserving import random_state, untouched
from ..recorder.source_lines import run_code
from ..result import ATEN, CUSTOM, HOOK, NESTED, OPERATOR, TANGENTS, Culprit
from .comparing import Found, compare_forward_modes, compare_reverse
from .culprits import place
from .localising import WEIGHTS, suspects, weighted
from .modes import lower, per_output
from .precisions import HALF
from .rows import Rows
from .subject import Subject


def wrong_alone(subject: Subject, found: Found, mode: str) -> Culprit | None:
    """The custom Function, or else the recorded call, whose own derivative is a mismatch; None if none is.

    The mode of the culprit is the one in which it differs.
    """
    if found.recording is None or found.seen is None:
        return None
    applied = _applied(subject)
    for asked in (mode, *lower(mode)):
        for function in applied:
            row = _mismatch(function, asked, subject.seed)
            if row is not None:
                inner = _wrong_inside(function, asked, subject.seed)
                return inner or _culprit_of(function, row, asked, subject.seed)
        culprit = _call_alone(subject, found, asked, None)
        if culprit is not None:
            return culprit
    tries = [(weight, False) for weight in (WEIGHTS if len(mode) > 1 else ())]
    tries += [(None, True)] if subject.dtype in HALF else []
    tried = (_call_alone(subject, found, mode, *how) for how in tries)
    within = any(call.tangents for call in found.recording.calls)
    return next((culprit for culprit in tried if culprit is not None), None) or _in_reverse(subject, mode, within)


def _in_reverse(subject: Subject, mode: str, within: bool) -> Culprit | None:
    """What is at fault in the whole run in mode R, and not alone: a custom Function that writes into what others are
    given, a hook; what a tangent holds constant where there is forward mode within.
    """
    if "R" not in lower(mode) and not within:
        return None
    try:
        found = compare_reverse(replace(subject, thorough=False), Rows("the run", seed=subject.seed))
    except (TheirsRaised, UsageError, RuntimeError):  # a run that cannot be asked twice
        return None
    kinds = (CUSTOM, HOOK, TANGENTS) if "R" in lower(mode) else (TANGENTS,)
    return found.culprit if found.culprit is not None and found.culprit.kind in kinds else None


def _call_alone(
    subject: Subject, found: Found, mode: str, weight: float | None, widened: bool = False
) -> Culprit | None:
    """The first recorded call that is a mismatch on its own, if there is one."""
    assert found.recording is not None and found.seen is not None
    for call, _, _, single in suspects(found.recording, found.seen, mode, subject.seed, weight, widened):
        row = _worst([r for r in single.rows if r["verdict"] == "mismatch"])
        kind = ATEN if call.qualified.startswith(("aten::", "prims::")) else OPERATOR
        return Culprit(call.qualified, *place(call.where), **_numbers(row), mode=mode, kind=kind)
    return None


def _applied(subject: Subject) -> list[Applied]:
    """The custom Functions of a run of the subject that something differentiated enters; equal ones once."""
    with random_state(), untouched(subject.module), noting_functions() as found:
        try:
            run_code(subject.call, *subject.inputs)
        except Exception:  # a callable that can be called but a few times: what was applied until then is known
            pass
    return [a for a in placed(found) if a.active]


def _mismatch(applied: Applied, mode: str, seed: int) -> dict[str, Any] | None:
    """The worst row of a Function on its own that is a mismatch in a mode, if there is one."""
    rows = Rows(applied.function.__name__, seed=seed)
    try:
        subject = _alone(applied, mode, seed)
        compare_reverse(subject, rows) if mode == "R" else compare_forward_modes(subject, rows, mode)
    except (TheirsRaised, UsageError, RuntimeError):  # a Function that needs its context
        return None
    wrong = [r for r in rows.rows if r["verdict"] == "mismatch"]
    return _worst(wrong) if wrong else None


def _wrong_inside(applied: Applied, mode: str, seed: int) -> Culprit | None:
    """A custom Function that the backward of another one applies, and that is wrong on its own: what makes a higher
    derivative wrong where the first is right. It may be as deep as `mode` has letters after an innermost R.
    """
    outer = mode[:-1]  # what is asked of the backward
    if not outer or mode[-1] != "R" or _mismatch(applied, "R", seed) is not None:
        return None
    subject = _alone(applied, "R", seed)
    try:
        with random_state(), noting_functions() as found:
            outputs = [y for y in tensors_in(run_code(subject.call, *subject.inputs)) if y.requires_grad]
            found.clear()
            weights = [torch.ones_like(y).requires_grad_() for y in outputs]
            torch.autograd.grad(outputs, subject.inputs, weights, create_graph=True, allow_unused=True)
    except Exception:  # a Function that needs more than its arguments: it is named itself
        return None
    for inner in [f for f in placed(found) if f.active]:
        for asked in dict.fromkeys(("R", outer)):
            row = _mismatch(inner, asked, seed)
            if row is not None:
                return _wrong_inside(inner, asked, seed) or _culprit_of(inner, row, asked, seed)
    return None


def wrong_in_backward(subject: Subject) -> Culprit | None:
    """A custom Function that a backward of the run applies (it differentiates inside, as a checkpoint of one's own
    does), and that is wrong on its own: the Function around it is right.
    """
    try:
        with random_state(), untouched(subject.module), noting_functions() as found:
            outputs = [y for y in tensors_in(run_code(subject.call, *subject.inputs)) if y.requires_grad]
            found.clear()
            weights = [torch.ones_like(y) for y in outputs]
            torch.autograd.grad(outputs, subject.leaves, weights, allow_unused=True)
    except Exception:  # a reentrant checkpoint refuses autograd.grad; what is in it is looked for otherwise
        return None
    for inner in [f for f in placed(found) if f.active]:
        row = _mismatch(inner, "R", subject.seed)
        if row is not None:
            return _culprit_of(inner, row, "R", subject.seed)
    return None


def _alone(applied: Applied, mode: str, seed: int) -> Subject:
    """A Function at its arguments as a subject, its results weighted above order 1."""
    leaves = [applied.args[i].clone().requires_grad_() for i in applied.active]
    names = [f"argument {i}" for i in applied.active]

    def apply(*tensors: torch.Tensor) -> Any:
        args = list(applied.args)
        for i, t in zip(applied.active, tensors, strict=True):
            args[i] = t
        return applied.function.apply(*args)

    subject = Subject(apply, leaves, [], names, None, seed, thorough=mode != "R")
    return weighted(subject) if len(mode) > 1 else subject


def _culprit_of(applied: Applied, row: dict[str, Any], mode: str, seed: int) -> Culprit:
    """A Function with the line of its `jvp` where its forward rule alone is wrong, of its `backward` otherwise."""
    name = applied.function.__name__
    forward = "F" in mode and bool(applied.line_of("jvp"))
    if forward and "R" in mode:
        forward = _mismatch(applied, "R", seed) is None and _mismatch(applied, "F", seed) is not None
    where = applied.line_of("jvp") if forward else applied.line_of("backward") or applied.line_of("vjp")
    operation, kind = f"{name}.jvp" if forward else f"{name}Backward", CUSTOM
    if len(mode) > 1 and per_output(mode) and _mismatch(applied, "F", seed) is None:
        operation, kind = f"{name}.jvp held constant", NESTED
    file, line = place(where or applied.where)
    return Culprit(operation, file, line, **_numbers(row), mode=mode, called=applied.where, kind=kind)


def _worst(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return max(rows, key=lambda r: r["z"])


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Entry, its part where it is complex, and both numbers, as a culprit has them."""
    entry, dot, part = row["entry"].partition(".")
    numbers = {"torch_value": row["torch_value"], "reference_value": row["reference_value"]}
    return {"entry": tuple(json.loads(entry)), "part": dot + part, **numbers}
