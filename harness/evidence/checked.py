"""What a check found, one finding for each comparison that is not fine: what its report lists."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from .own_issues import is_fine

if TYPE_CHECKING:
    from ..judgement.comparing import Found
    from ..result import Culprit

YOURS = "yours: "
PLACE = re.compile(r"(.+?:\d+), ")


def blame(rows: Sequence[Mapping[str, Any]], found: Found, blamed: MutableSequence[Culprit | None]) -> None:
    """Add to `blamed` the culprit of each row that it lacks; `rows` are all so far, the last ones those of `found`."""
    for row in rows[len(blamed) :]:
        blamed.append(None if is_fine(row) else _culprit_of(row, found))


def _culprit_of(row: Mapping[str, Any], found: Found) -> Culprit | None:
    """The chief culprit for the whole callable; for an operation, the one of its name that was called at its line."""
    name = row.get("culprit")
    if not name:
        return found.culprit if row["verdict"] in ("mismatch", "raised") else None
    named = [c for c in (*found.local, found.culprit) if c is not None and c.operation == name]
    here = [c for c in named if str(row.get("wrt", "")).startswith(f"{c.called or f'{c.file}:{c.line}'}, ")]
    if here:
        return here[0]
    return named[-1] if named and named[-1] is found.culprit else None


def findings_of(
    frame: pd.DataFrame, culprits: Sequence[Culprit | None], program: str | None = None, taken: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[Mapping[str, Any]]]:
    """The frame of a check, whose rows name their finding, and the findings: all rows that need an excuse, or have one.

    One fails unless an issue of the user's own excuses it; an issue of PyTorch is named and excuses nothing. program:
    whose comparisons these are, such as a test, where it is not the callable. taken: identifiers in use.
    """
    from ...reports.comparisons import each_comparison

    cells = frame.astype(object).where(frame.notna(), None)
    told: dict[int, dict[str, Any]] = {}
    for k, row in enumerate(cells.to_dict("records")):
        if is_fine(row):
            continue
        culprit = culprits[k] if k < len(culprits) else None
        named = {} if program is None else {"program": program}
        fails = not str(row["known"] or "").startswith(YOURS)
        told[k] = {"fails": fails, "culprit": row["culprit"], "line": _line(row, culprit), **named}
        if culprit is not None:
            told[k]["culprit"] = culprit.operation
    return each_comparison(frame, told, taken)


def _line(row: Mapping[str, Any], culprit: Culprit | None) -> str | None:
    """Where the culprit is written and where it was called; without one, the line that was compared."""
    if culprit is not None and culprit.file:
        return f"{culprit.file}:{culprit.line}" + (f", called at {culprit.called}" if culprit.called else "")
    place = PLACE.match(row["wrt"] or "") if row["program"] != "whole" else None
    return place[1] if place else None
