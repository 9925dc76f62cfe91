"""Findings: what differs, grouped by operation, mode and runner, each with its smallest case and its script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .known import KnownIssue, match

FAILING = ("mismatch", "crashed", "timeout", "raised", "accepted")
SLIGHT = 1e-3  # a relative error that shows less well; it ranks the cases of one finding and judges nothing


@dataclass
class Candidate:
    """One comparison that differs, with all that a finding needs. case: JSON-able; script: text of repro.py, "" if
    there is none. kind: how operations that are right alone go wrong together, "" where one is wrong.
    """

    op: str
    culprit: str
    mode: str
    runner: str
    dtype: str
    verdict: str
    z: float
    equations: int
    elements: int
    torch_value: float
    right_value: float
    note: str
    case: dict[str, Any]
    script: str = ""
    line: str | None = None
    kind: str = ""

    @property
    def group(self) -> tuple[str, str, str, str]:
        return self.op, self.mode, self.runner, self.verdict

    @property
    def size(self) -> tuple[bool, bool, int, int]:
        """Smaller is better: with a script, wrong in the first digits, few elements, few equations."""
        slight = abs(self.torch_value - self.right_value) <= SLIGHT * abs(self.right_value)
        return not self.script, slight, self.elements, self.equations


def identifier(*parts: str) -> str:
    """A name that is also a folder name."""
    return re.sub(r"[^A-Za-z0-9.+=-]+", "-", "-".join(parts)).strip("-.")[:100] or "finding"


def grouped(candidates: Iterable[Candidate], issues: Sequence[KnownIssue]) -> list[dict[str, Any]]:
    """One record per operation, mode, runner and verdict: the smallest candidate, the known issue that covers it,
    whether it fails the run. What no known issue covers is never put into the record of one.
    """
    groups: dict[Any, Candidate] = {}
    covering: dict[int, KnownIssue | None] = {}
    for c in candidates:
        given = (c.culprit, c.op, c.kind), c.mode, c.runner, c.dtype, c.verdict, c.torch_value
        issue = match(issues, *given, note=c.note)
        covering[id(c)] = issue
        best = groups.get((c.group, issue is None))
        if best is None or c.size < best.size:
            groups[c.group, issue is None] = c
    records: list[dict[str, Any]] = []
    taken: set[str] = set()
    for c in sorted(groups.values(), key=lambda c: (c.culprit, c.op, c.mode, c.verdict)):
        issue = covering[id(c)]
        name = _free(
            identifier(
                c.op,
                c.mode,
                *(() if c.runner == "autograd" else (c.runner,)),
                *(() if c.verdict == "mismatch" else (c.verdict,)),
            ),
            taken,
        )
        records.append(
            {
                "id": name,
                "op": c.op,
                "culprit": c.culprit,
                "mode": c.mode,
                "runner": c.runner,
                "dtype": c.dtype,
                "verdict": c.verdict,
                "z": c.z,
                "known": issue.reference if issue else None,
                "equations": c.equations,
                "elements": c.elements,
                "torch_value": c.torch_value,
                "right_value": c.right_value,
                "note": c.note if issue is None else f"{issue.condition}. {issue.reason}",
                "fails": issue is None and c.verdict in FAILING,
                "script": c.script or None,
                "case": c.case,
                "line": c.line,
            }
        )
    return records


def _free(base: str, taken: set[str]) -> str:
    """The name, with a number where it is taken already; taken from now on."""
    name, number = base, 2
    while name.lower() in taken:
        name = f"{base}-{number}"
        number += 1
    taken.add(name.lower())
    return name
