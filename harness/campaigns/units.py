"""Units of work of a campaign, each run in a worker process: an op_db entry, a block of programs, or a primitive."""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from ..errors import TheirsRaised, UsageError
from ..evidence.cases import call_to_json, elements
from ..evidence.findings import FAILING, Candidate
from ..evidence.scripts import script_of_row
from ..evidence.shrinking_calls import same_words
from ..judgement.by_limits import NAN_MADE
from ..judgement.comparing import Found, Subject, compare_forward_modes, compare_reverse
from ..judgement.explaining import ZERO_TIMES_INFINITY
from ..judgement.localising import ALONG_ZEROS, nan_along_zeros, suspects
from ..judgement.rows import Rows
from ..recorder.recorded_run import Recording
from ..runners.comparing_runs import compare_with
from ..runners.expressible import refuses
from . import opinfo
from .coverage import Coverage
from .otherwise import PLAIN, run_otherwise
from .work import Unit, UnitResult

SECOND_ORDER_SAMPLES = 2  # samples of an entry above order 1, unless asked otherwise
TRACED = 2  # samples of an entry, mode and verdict that are traced to one operation; others are rows of that finding
UNDECLARED_SAMPLES = 2  # samples asked in a mode that PyTorch declares it does not have, and may answer wrongly
LARGEST_SAMPLE = 200_000  # entries of one op_db sample; above, a comparison takes minutes, and the sample is named
BLOCK = 20  # generated programs in one block; fixed, so that counts do not depend on the number of workers


def run_unit(unit: Unit) -> UnitResult:
    """Run one unit. What PyTorch or our own code raises becomes a row; nothing is dropped."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    result = UnitResult(unit)
    if unit.source == "opinfo":
        _opinfo(unit, result)
    elif unit.source == "variations":
        from .varying import run_varied

        run_varied(unit, result)
    elif unit.source == "referee":
        from ..arbitration.ulp_table import DTYPES, measure

        result.ulp = [row for dtype in DTYPES for row in measure(unit.name, dtype, unit.seed)]
    else:
        from .blocks import run_block

        run_block(unit, result)
    result.seconds = time.perf_counter() - start
    return result


def shrink_record(record: dict[str, Any]) -> dict[str, Any]:
    """A finding cut to its smallest case, or itself where nothing smaller is found, with the arbiter's number of it.
    Runs in a worker process.
    """
    from ..evidence.shrinking import smallest_record
    from ..evidence.shrinking_calls import smallest_call
    from ..evidence.three_numbers import with_arbiter
    from .varying import of_case

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    smallest = smallest_call(record) if record["case"].get("kind") == "call" else smallest_record(record)
    try:
        return with_arbiter(smallest, of_case)
    except Exception as error:  # the finding stands without it
        return {**smallest, "arbiter_value": None, "arbiter": f"the arbiter failed: {_text(error)}"}


def _opinfo(unit: Unit, result: UnitResult) -> None:
    entry = next(e for e in opinfo.entries() if e.name == unit.name)
    reasons: set[str] = set()
    declined = {m: why for m in unit.modes if (why := entry.supports(m))}
    coverage = Coverage(entry.name, unit.modes)
    try:
        subjects = list(opinfo.subjects(entry, unit.seed))
    except Exception as error:  # PyTorch's own sample generator raised
        result.rows.append(
            Rows(f"opinfo/{entry.name}", op=entry.name, source="opinfo").one(
                mode="",
                verdict="raised",
                dtype="float64",
                message=f"PyTorch's samples could not be made: {type(error).__name__}: {error}"[:300],
            )
        )
        result.coverage.append(coverage.record(result.rows, {"PyTorch's samples could not be made"}))
        return
    coverage.samples = len(subjects)
    otherwise = run_otherwise(entry, unit, declined, result)
    if PLAIN not in unit.runners:
        subjects = []
        reasons.add("autograd is not among the runners asked for")
    traced: Counter[tuple[str, str]] = Counter()
    for number, subject in subjects:
        result.programs += 1
        rows = Rows(f"opinfo/{entry.name}/{number}", op=entry.name, source="opinfo", seed=subject.seed)
        size = elements(subject)
        text = ""
        if size > LARGEST_SAMPLE:
            text = f"a sample of {size} entries; compared are samples of up to {LARGEST_SAMPLE}"
            rows.add(mode="R", verdict="unsupported", dtype="float64", message=f"sample {number}: {text}")
            reasons.add(f"sample {number}: {text}")
        elif not subject.leaves:
            text = "no argument of this sample asks for a gradient"
            rows.add(mode="R", verdict="agree", dtype="float64", message=text)
        for mode in unit.modes:
            most = _samples(unit, mode)
            if not text and mode in declined and number < UNDECLARED_SAMPLES:
                before = len(rows.rows)
                if _undeclared(entry.name, number, subject, mode, rows, traced, result):
                    coverage.count(number, mode, rows.rows[before:], empty=size == 0)
                    continue
            if text or mode in declined or number >= most:
                asked = f"only the first {most} samples were asked for"
                coverage.leave_out(number, mode, text or declined.get(mode) or asked)
                continue
            before = len(rows.rows)
            case = {"kind": "opinfo", "sample": number}
            reasons |= compare_sample(entry.name, case, subject, mode, rows, traced, result)
            coverage.count(number, mode, rows.rows[before:], empty=size == 0)
        result.rows += rows.rows
    plain = [r for r in result.rows if r.get("runner", PLAIN) == PLAIN and r["op"] == entry.name]
    record = coverage.record(plain, reasons | {f"{m}: {w}" for m, w in declined.items()})
    result.coverage.append({**record, "runners": otherwise} if otherwise else record)


def _undeclared(
    name: str,
    number: int,
    subject: Subject,
    mode: str,
    rows: Rows,
    traced: Counter[tuple[str, str]],
    result: UnitResult,
) -> bool:
    """Compare in a mode that PyTorch declares it does not have: where it refuses, as it should, there is no row; where
    it answers all the same, the answer counts. Whether it answered.
    """
    own, apart = Rows(str(rows.common["case"]), op=name, source="opinfo", seed=subject.seed), UnitResult(result.unit)
    case = {"kind": "opinfo", "sample": number}
    compare_sample(name, case, subject, mode, own, Counter(traced), apart)
    if not own.rows or any(r["verdict"] in ("raised", "unsupported") for r in own.rows):
        return False
    rows.rows += own.rows
    result.candidates += apart.candidates
    return True


def _samples(unit: Unit, mode: str) -> float:
    """How many samples of an entry are compared in a mode."""
    if unit.samples is not None:
        return unit.samples
    return math.inf if len(mode) == 1 else SECOND_ORDER_SAMPLES


def compare_sample(
    name: str,
    case: dict[str, Any],
    subject: Subject,
    mode: str,
    rows: Rows,
    traced: Counter[tuple[str, str]],
    result: UnitResult,
    runner: str = "",
) -> set[str]:
    """Compare one sample in one mode: its rows, and a candidate for what is wrong. Returns why anything is not covered.

    case: what names the sample in a `case.json`, with its kind. traced: how many samples were traced to an operation,
    by mode and verdict. runner: what runs it, where samples are run otherwise: what that cannot express is no finding.
    """
    before, found = len(rows.rows), Found()
    try:
        if runner:
            found = compare_with(runner, subject, rows, mode)
        else:
            found = compare_reverse(subject, rows) if mode == "R" else compare_forward_modes(subject, rows, mode)
    except TheirsRaised as error:
        verdict = "unsupported" if runner and refuses(error.text) else "raised"
        rows.add(mode=mode, runner=runner or PLAIN, verdict=verdict, dtype="float64", message=error.text)
    except UsageError as error:
        rows.add(mode=mode, runner=runner or PLAIN, verdict="unsupported", dtype="float64", message=str(error))
        found.unsupported[name] = str(error)
    except Exception as error:  # our own fault: a row that fails the run, so that it is seen
        rows.add(mode=mode, runner=runner or PLAIN, verdict="crashed", dtype="float64", message=_text(error))
    wrong = [r for r in rows.rows[before:] if r["verdict"] in FAILING]
    if wrong:
        row = max(wrong, key=lambda r: (r["verdict"] == "mismatch", r.get("z") or 0.0))
        traced[mode, row["verdict"]] += 1
        if traced[mode, row["verdict"]] <= TRACED:
            made = _candidates(name, case, subject, found, mode, row)
            result.candidates += [_by_runner(c, runner) for c in made] if runner not in ("", PLAIN) else made
    return set(found.unsupported.values())


def _by_runner(c: Candidate, runner: str) -> Candidate:
    """The candidate of a runner: a script runs eagerly, so it stands where one operation is wrong eagerly too."""
    return replace(c, runner=runner, script=c.script if c.line is not None else "")


def _candidates(
    name: str, named: dict[str, Any], subject: Subject, found: Found, mode: str, worst: dict[str, Any]
) -> list[Candidate]:
    """A finding for the single operation that is wrong, or for the sample as a whole where no single one is."""
    recording, seen = found.recording, found.seen
    result = []
    verdict = worst["verdict"]
    if verdict in ("mismatch", "raised") and recording is not None and seen is not None:
        for call, alone, single, single_rows in suspects(recording, seen, mode, subject.seed, verdict=verdict):
            row = max((r for r in single_rows.rows if r["verdict"] == verdict), key=lambda r: r.get("z") or 0.0)
            if verdict == "raised" and not same_words(row["message"], worst["message"]):
                continue  # it refuses something else
            assert single.recording is not None and single.seen is not None
            case = call_to_json(recording, call, set(seen.tracers), mode, subject.seed)
            script = script_of_row(single.recording, single.seen, alone, mode, row, call.qualified)
            result.append(_candidate(name, call.qualified, mode, row, 1, elements(alone), case, script, call.where))
    if not result:
        case = {"format": 1, "entry": name, "mode": mode, "seed": subject.seed, **named}
        culprit = worst.get("culprit") or _main_operation(recording)
        size = sum(c.func is not None for c in recording.calls) if recording is not None else 0
        script = ""
        if verdict in ("mismatch", "raised") and recording is not None and seen is not None:
            script = script_of_row(recording, seen, subject, mode, worst, str(culprit))
        made = _candidate(name, culprit, mode, worst, size, elements(subject), case, script, None)
        made.kind = ZERO_TIMES_INFINITY if NAN_MADE in made.note else ""
        if not made.kind and worst["verdict"] == "mismatch" and math.isnan(made.torch_value):
            assert recording is not None and seen is not None
            call = nan_along_zeros(recording, seen, mode, subject.seed)
            if call is not None:
                made.kind, made.culprit = ZERO_TIMES_INFINITY, call.qualified
                made.note = ALONG_ZEROS.format(call.qualified)
        result.append(made)
    return result


def _candidate(
    op: str,
    culprit: str,
    mode: str,
    row: dict[str, Any],
    equations: int,
    size: int,
    case: dict[str, Any],
    script: str,
    line: str | None,
) -> Candidate:
    return Candidate(
        op=op,
        culprit=culprit,
        mode=mode,
        runner="autograd",
        dtype=row.get("dtype", "float64"),
        verdict=row["verdict"],
        z=row.get("z", float("nan")),
        equations=equations,
        elements=size,
        torch_value=row.get("torch_value", float("nan")),
        right_value=row.get("reference_value", float("nan")),
        note=row.get("message") or "",
        case=case,
        script=script,
        line=line,
    )


def _main_operation(recording: Recording | None) -> str:
    calls = [c for c in recording.calls if c.func is not None] if recording is not None else []
    return calls[-1].qualified if calls else "composition"


def _text(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = last.filename.replace("\\", "/").split("/site-packages/")[-1].rsplit("/", 2)[-2:]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({'/'.join(place)}:{last.lineno})"[:400]
