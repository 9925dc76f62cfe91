"""Writes that no operator call shows (a NumPy view, DLPack, a storage, a pointer): the run is recorded once more, each
tensor held against what it was known by, and judged with the numbers that its operations met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import CannotRecord, NothingReturned, TheirsRaised
from ..recorder.preserving import random_states, set_random_states
from ..recorder.recorded_run import Call, Recording, Ref
from ..recorder.witnessing import Witnessed
from ..result import EDITED, OPERATOR, Culprit
from .comparing import Found
from .culprits import place
from .judging import worst
from .rows import Rows
from .subject import Subject, record

CHANGED = (
    "the value of the result of {0} was changed at {1} or after it by something that no operator call shows, such as a "
    "write through a NumPy view, DLPack, its storage or its address: PyTorch's gradient is that of the value before it"
)


WRITTEN_BY = (
    "the value of the result of {0} was changed by {2}, of which PyTorch takes no derivative: its gradient is that of "
    "the value before it"
)


def with_edits(compare: Callable[[Subject, Rows], Found], subject: Subject, rows: Rows, mode: str) -> Found:
    """What `compare` finds in a user's run. Where something differs, the run is watched, and compared anew if it is
    then seen to be written into past its calls: what was constant has other numbers, and no operation is accused.

    In other modes than R no value is compared that could differ: there it is watched from the start.
    """
    if not subject.thorough:
        return compare(subject, rows)
    begin, start, watched = random_states(), len(rows.rows), replace(subject, watchful=True)
    found = compare(subject if mode == "R" else watched, rows)
    recording, differs = found.recording, found.verdict in ("mismatch", "indeterminate", "inaccurate")
    if mode == "R" and recording is not None and (recording.moved or differs) and not recording.edits:
        if _is_edited(watched, mode):
            del rows.rows[start:]
            set_random_states(begin)
            found = compare(watched, rows)
    if found.recording is not None and found.seen is not None and found.recording.edits:
        found.culprit = _row_of_edit(found.recording, found.seen, subject, rows, mode) or found.culprit
        found.verdict = worst([r["verdict"] for r in rows.rows[start:]])
    return found


def _is_edited(watched: Subject, mode: str) -> bool:
    try:
        return bool(record(watched, mode)[0].edits)
    except (CannotRecord, NothingReturned, TheirsRaised):  # a callable that can be called but once
        return False


def _row_of_edit(recording: Recording, seen: Witnessed, subject: Subject, rows: Rows, mode: str) -> Culprit | None:
    """One row for the first result of an operation that depends on what is differentiated and was written into past all
    calls; None if there is none: other numbers in a leaf, or in a constant, are what they are from there on.
    """
    for before, after in recording.edits:
        call = _maker(recording, before)
        if call is None or not call.where or before not in seen.tracers or after in seen.left:
            continue
        was, now = (recording.variables[v] for v in (before, after))
        change = np.nan_to_num(np.abs(now.value - was.value), nan=np.inf)
        entry = tuple(int(i) for i in np.unravel_index(int(np.argmax(change)), change.shape))
        torch_value, right = float(now.value[entry]), float(was.value[entry])
        part = (".real", ".imag")[entry[-1]] if was.dtype.is_complex else ""
        entry = entry[:-1] if part else entry
        writer = _maker(recording, after)
        by = writer if writer is not call and writer is not None else None
        message = (CHANGED if by is None else WRITTEN_BY).format(call.qualified, call.where, by and by.qualified)
        rows.add(
            operation=call.qualified,
            mode=mode,
            quantity="value",
            order=0,
            wrt=call.where,
            dtype=subject.dtype,
            verdict="mismatch",
            z=np.inf,
            abs_error=abs(torch_value - right),
            rel_error=abs(torch_value - right) / abs(right) if right else np.inf,
            entry=str(list(entry)) + part,
            torch_value=torch_value,
            reference_value=right,
            culprit=call.qualified,
            message=message,
        )
        if by is not None:
            operation = f"{by.qualified}, which writes into the result of {call.qualified}"
            return Culprit(operation, *place(by.where), entry, torch_value, right, mode, kind=OPERATOR, part=part)
        operation = f"a change, past all calls, of the result of {call.qualified}"
        return Culprit(operation, *place(call.where), entry, torch_value, right, mode, kind=EDITED, part=part)
    return None


def _maker(recording: Recording, variable: int) -> Call | None:
    """The call of PyTorch that made a variable, through calls of the recorder's own."""
    while (number := recording.variables[variable].maker) is not None:
        call = recording.calls[number]
        if call.func is not None:
            return call
        written = [a for a in call.args if isinstance(a, Ref)]
        variable = written[-1].index
    return None
