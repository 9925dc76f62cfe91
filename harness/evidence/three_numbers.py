"""The three numbers of a finding: PyTorch's, the witness's and the arbiter's, of one entry of one smallest case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath as mp
import numpy as np

from ...reference_engine.evaluate import Plan, arguments_of
from ..arbitration.arbiter import PROMISED, Ruling, arbitrate
from ..errors import TheirsRaised, UsageError
from ..generation.drawn import Case
from ..judgement.comparing import compare_forward_modes, compare_reverse
from ..judgement.modes import reference
from ..judgement.rows import Rows
from ..judgement.subject import Subject
from ..recorder.recording import capture, to_numpy
from ..recorder.witnessing import program_of
from .cases import call_from_json
from .known import KnownIssue
from .proofs import Proof
from .scripts import Shown, shown_by_call, shown_by_program

NO_SCRIPT = "its case is not one that a script of few lines can hold"
NOT_A_NUMBER = "nothing to decide: not two numbers that differ"


def ruling_of(shown: Shown) -> Ruling:
    """What the arbiter says of the entry that a script compares."""
    at = shown.at
    return arbitrate(shown.program, shown.inputs, shown.d.c, shown.d.along, shown.mode, at.which, at.entry)


def with_arbiter(
    record: dict[str, Any], sample_of: Callable[[Mapping[str, Any]], Subject | None]
) -> dict[str, Any]:
    """A finding with the arbiter's number, and all three of the entry that its script compares.

    sample_of: the sample of op_db that a case names, None where there is none. arbiter_value: text with 50 digits, None
    where there is none; arbiter: where it comes from, or why there is none.
    """
    if record["verdict"] != "mismatch":
        return {**record, "arbiter_value": None, "arbiter": NOT_A_NUMBER}
    shown = _shown(record, sample_of) if record["script"] else None
    if shown is None:
        return {**record, "arbiter_value": None, "arbiter": NO_SCRIPT}
    ruling = ruling_of(shown)
    found, right = _part(shown.at.found), _part(shown.at.right)
    told = ruling.source if ruling.value is None else f"{ruling.source}; nearer to {nearer(ruling.value, found, right)}"
    return {
        **record,
        "script": shown.text,
        "torch_value": found,
        "right_value": right,
        "arbiter_value": ruling.value,
        "arbiter": told,
    }


def nearer(value: str, found: float, right: float) -> str:
    """Whose number is nearer to the arbiter's; what is no number is nearer to none."""
    with mp.workdps(PROMISED):
        off = [abs(mp.mpf(value) - mp.mpf(x)) if math.isfinite(x) else mp.inf for x in (found, right)]
    return "the witness" if off[1] < off[0] else "PyTorch" if off[0] < off[1] else "neither"


def _part(x: Any) -> float:
    return float(np.real(x))


def _shown(record: Mapping[str, Any], sample_of: Callable[[Mapping[str, Any]], Subject | None]) -> Shown | None:
    """The script of a finding again, from its case."""
    data, seed = record["case"], int(record["case"]["seed"])
    if "way" in data:  # its script is of one operation, or there is none
        return None
    if data["kind"] == "generated":
        case = Case.from_json(data)
        return shown_by_program(case.program, case.inputs, data["mode"], data["dtype"], seed)
    subject = call_from_json(data) if data["kind"] == "call" else sample_of(data)
    if subject is None:
        return None
    rows = Rows("arbiter", seed=subject.seed)
    try:
        mode = data["mode"]
        found = compare_reverse(subject, rows) if mode == "R" else compare_forward_modes(subject, rows, mode)
    except (TheirsRaised, UsageError):
        return None
    wrong = [r for r in rows.rows if r["verdict"] == "mismatch"]
    if not wrong or found.recording is None or found.seen is None:
        return None
    worst = max(wrong, key=lambda r: r.get("z") or 0.0)
    row = {**worst, "op": record["op"], "culprit": worst.get("culprit") or record["culprit"]}
    return shown_by_call(found.recording, found.seen, subject, data["mode"], row)


def by_closed_forms(findings: Sequence[dict[str, Any]], issues: Sequence[KnownIssue]) -> list[dict[str, Any]]:
    """Findings without an arbiter that a known issue covers get the three numbers of the issue's own smallest call,
    where the right one is known in closed form; what their case itself shows is kept in words.
    """
    proofs = {k.reference: k.proof for k in issues if k.proof is not None and k.proof.right and not k.proof.runner}
    done = []
    for f in findings:
        proof = proofs.get(f["known"] or "")
        asked = f["verdict"] == "mismatch" and f.get("arbiter_value") is None and proof is not None
        done.append({**f, **_of_proof(proof, f)} if asked and proof is not None else f)
    return done


def _of_proof(proof: Proof, f: Mapping[str, Any]) -> dict[str, Any]:
    """What changes in a finding that its known issue's call speaks for; nothing where that cannot be asked."""
    try:
        found, right = proof.torch_value(), witness_value(proof)
    except Exception:  # PyTorch refuses, or the call is one of a runner's: the finding keeps its two numbers
        return {}
    with mp.workdps(PROMISED + 10):
        number = mp.nstr(proof.right_number(), PROMISED)
    text = (
        f"closed form {proof.right}; the three numbers are of the known issue's smallest call, {proof.call} at "
        f"{list(proof.inputs)} in mode {proof.mode or 'value'}. Of the case of this finding, PyTorch "
        f"{f['torch_value']!r} and witness {f['right_value']!r}, none: {f.get('arbiter')}"
    )
    return {"torch_value": found, "right_value": right, "arbiter_value": number, "arbiter": text}


def witness_value(proof: Proof) -> float:
    """The witness's answer to the call of a proof, read from a recording of it."""
    leaves = [x.requires_grad_() for x in proof.tensors(proof.inputs)]
    recording = capture(proof.function(), *leaves)
    program = program_of(recording)
    given, along = proof.directions()
    x, c, *directions = ([to_numpy(a) for a in group] for group in (leaves, given, *along))
    if proof.mode == "":
        return proof.number(Plan(program).run(arguments_of(program, x))[proof.answer])
    question = reference(program, x, c, directions, proof.mode)
    return proof.number(question.plan.run(question.given)[proof.answer])
