"""Who is to blame for a wrong answer of a runner: the runner where the eager run is right, else what is wrong there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ..evidence.known import CUSTOM, load, match
from ..judgement.alone import wrong_alone
from ..judgement.comparing import Found, Subject, compare_forward_modes, compare_reverse
from ..judgement.culprits import place
from ..judgement.rows import Rows
from ..judgement.tangents_within import accuse
from ..recorder.preserving import random_state, set_random_states
from ..recorder.recorded_run import Recording
from ..result import CHECKPOINT, COMPILER, END_TO_END, OPERATOR, Culprit
from .expressible import COMPILED, refuses


def has_custom_functions(recording: Recording) -> bool:
    """Whether custom autograd Functions took part in the run."""
    return any(isinstance(node, torch.autograd.function.BackwardCFunction) for node, _ in recording.edges)


def eager_culprit(subject: Subject, mode: str, begin: tuple[Any, Any, Any]) -> Culprit | None:
    """What is wrong with the same derivative run eagerly, by operation where one is wrong on its own; None if it
    agrees.
    """
    rows = Rows("eager")
    with random_state():
        set_random_states(begin)
        found = compare_reverse(subject, rows) if mode == "R" else compare_forward_modes(subject, rows, mode)
        if found.culprit is None or not any(r["verdict"] == "mismatch" for r in rows.rows):
            return None
        if mode == "R":
            return found.culprit
        return wrong_alone(subject, found, mode) or found.culprit


def name_culprit(runner: str, eager: Culprit | None, rows: Sequence[dict[str, Any]], found: Found) -> None:
    """Put the culprit into `found` and into those of a run's rows that are a mismatch in its mode."""
    was = found.culprit
    assert was is not None
    kind = COMPILER if runner in COMPILED else CHECKPOINT if runner.startswith("checkpoint") else END_TO_END
    inside = found.recording.inside if found.recording is not None and kind == END_TO_END else []
    if eager is None and inside:  # an operator that is differentiated on the tape alone
        file, line = place(inside[0].where)
        eager = replace(was, operation=inside[0].qualified, file=file, line=line, kind=OPERATOR)
    found.culprit = replace(was, operation=runner, kind=kind) if eager is None else eager
    accuse([r for r in rows if r["runner"] == runner and r["mode"] == was.mode], found.culprit)


def tell_refusals(rows: list[dict[str, Any]], mode: str, found: Found) -> None:
    """A mode that PyTorch does not offer for this run, and says so, is `unsupported`, not `raised`."""
    for r in rows:
        if r["verdict"] == "raised" and refuses(r["message"]):
            r["verdict"] = found.verdict = "unsupported"
            found.unsupported[f"{r['runner']} in mode {mode}"] = r["message"]


def name_known(rows: list[dict[str, Any]], recording: Recording) -> None:
    """Fill `known` where a runner, or the run as a whole, is at fault in a way that what was called together tells."""
    wrong = [r for r in rows if r["verdict"] in ("mismatch", "raised", "inaccurate") and not r.get("known")]
    if not wrong:
        return
    issues = [k for k in load() if k.together]
    ran = {call.qualified for call in recording.calls} | ({CUSTOM} if has_custom_functions(recording) else set())
    for r in wrong:
        names = (str(r.get("culprit") or ""), str(r["program"]))
        given = names, r["mode"], r["runner"], r.get("dtype", ""), r["verdict"], r.get("torch_value")
        issue = match(issues, *given, ran, r.get("message") or "")
        if issue is not None:
            r["known"] = issue.reference
