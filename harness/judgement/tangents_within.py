"""Forward mode inside the callable, whose rules hold constant what an operation saved: LU factors, a mean, 1/σ.

The tangents are right then, and their derivatives are not. PyTorch's own graph does not know of it; the witness's does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..recorder.recorded_run import Call, Recording
from ..recorder.witnessing import Witnessed, witness
from ..result import TANGENTS, Culprit
from .culprits import place
from .judging import Judgement

HELD_CONSTANT = "held constant in a derivative of its tangent"


def held_in_tangents(
    recording: Recording,
    seen: Witnessed,
    wrt: Sequence[int],
    judged: Callable[[Recording, Witnessed], list[Judgement]],
    culprit: Culprit,
    rows: Sequence[dict[str, Any]],
) -> Culprit | None:
    """The operation that is at fault, in its rows too, where PyTorch's gradients are those of a run whose forward-mode
    rules hold constant what it saved; else None.

    judged: the judgements on the gradients for another reading of the run.
    """
    saved = _saved(recording, seen)
    if not saved:
        return None
    constant = replace(recording, calls=[replace(c, tangents=False) for c in recording.calls])
    used = [v for v in dict.fromkeys(wrt) if v >= 0]
    if any(j.verdict == "mismatch" for j in judged(constant, witness(constant, used, only_adjoints=True))):
        return None
    file, line = place(saved[0].where)
    found = replace(culprit, operation=saved[0].qualified, file=file, line=line, kind=TANGENTS)
    accuse([r for r in rows if r["program"] == "whole"], found)
    return found


def accuse(rows: Sequence[dict[str, Any]], culprit: Culprit) -> None:
    """Put the culprit into the rows that are a mismatch; where a tangent holds constant what it saved, say so too."""
    for r in rows:
        if r["verdict"] == "mismatch":
            r["culprit"] = culprit.operation
            if culprit.kind == TANGENTS:
                r["message"] = f"what {culprit.operation} saved is {HELD_CONSTANT}"


def _saved(recording: Recording, seen: Witnessed) -> list[Call]:
    """The calls inside forward mode one of whose outputs has a derivative that PyTorch leaves out, and is used."""
    edges = set(recording.edges.values())
    read = {v for c in recording.calls for v in c.references()}
    left_out = {v for v in seen.tracers if v in read and v not in edges}
    return [c for c in recording.calls if c.tangents and not left_out.isdisjoint(c.outputs[1:])]
