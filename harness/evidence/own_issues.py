"""The user's own known issues: rows they cover keep their verdict, and only they can make a result `ok`."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

# What an own known issue may excuse. `unsupported` was not compared, `crashed` and `timeout` are no answers.
EXCUSABLE = ("mismatch", "raised", "accepted", "indeterminate", "inaccurate")
ACCEPTED = ("agree", "convention")


@dataclass(frozen=True)
class OwnIssue:
    """One [[tool.gradwitness.known]] table.

    operation: a pattern over the culprit, the operation, or the name of the callable; "aten::mul" covers all overloads.
    mode: a mode string, "" for every mode. expires: last day on which it counts, None for no end.
    """

    operation: str
    reason: str
    mode: str = ""
    expires: date | None = None

    def is_expired(self, today: date) -> bool:
        return self.expires is not None and today > self.expires

    def covers(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the frame is this issue, whatever the day."""
        if row["verdict"] not in EXCUSABLE or (self.mode and row.get("mode") != self.mode):
            return False
        names = {str(row[key]) for key in ("culprit", "program", "op") if row.get(key)}
        names |= {n.partition(".")[0] for n in names if "::" in n}
        return any(fnmatch.fnmatchcase(name, self.operation) for name in names)

    def __str__(self) -> str:
        """What stands in the column `known`."""
        return f"yours: {self.reason}" + (f" (until {self.expires})" if self.expires else "")

    @property
    def expired(self) -> str:
        """What is said once it no longer counts."""
        where = f" in mode {self.mode}" if self.mode else ""
        return (
            f"your known issue of {self.operation}{where} expired on {self.expires} and no longer counts: {self.reason}"
        )


def name_own(
    rows: Sequence[MutableMapping[str, Any]], issues: Sequence[OwnIssue], today: date | None = None
) -> tuple[bool, list[str]]:
    """Fill `known` of the rows that an own issue covers.

    An end-to-end row is covered too where at least one operation of the same mode, runner and dtype is covered and
    none is wrong without being covered: it holds their error.

    Returns whether every row that is not fine by itself is covered, and at least one is; and what is to be said of
    expired issues that would have covered a row. today: for tests.
    """
    day = today or date.today()
    covering: list[OwnIssue | None] = []
    said: list[str] = []
    inside: dict[tuple[Any, ...], list[OwnIssue | None]] = {}
    for row in rows:
        matching = [issue for issue in issues if issue.covers(row)]
        live = next((issue for issue in matching if not issue.is_expired(day)), None)
        covering.append(live)
        said += [issue.expired for issue in matching if live is None and issue.expired not in said]
        if row["verdict"] == "mismatch" and row.get("program") != "whole":
            inside.setdefault(_asked(row), []).append(live)
    for k, row in enumerate(rows):
        parts = inside.get(_asked(row), [None])
        if covering[k] is None and row["verdict"] == "mismatch" and row.get("program") == "whole" and all(parts):
            covering[k] = parts[0]
        if covering[k] is not None:
            row["known"] = str(covering[k])
    open_rows = [issue is None for row, issue in zip(rows, covering, strict=True) if not is_fine(row)]
    return bool(open_rows) and not any(open_rows), said


def is_fine(row: Mapping[str, Any]) -> bool:
    """Whether a row needs no excuse: agree, convention, and inaccurate that does not fail a run (relative error at most
    0.5, or a dtype below float64, and a number where there is one).
    """
    fails = row.get("dtype") == "float64" and (row.get("rel_error") or 0.0) > 0.5
    numbers = row.get("torch_value"), row.get("reference_value")
    if None not in numbers:
        fails = fails or (math.isfinite(numbers[1]) and not math.isfinite(numbers[0]))
    return row["verdict"] in ACCEPTED or (row["verdict"] == "inaccurate" and not fails)


def _asked(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("mode"), row.get("runner"), row.get("dtype")
