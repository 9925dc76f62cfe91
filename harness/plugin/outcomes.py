"""What tests compared: noted test by test, said in one line each at the end, and written as one report."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...reports.verdicts import RANK

if TYPE_CHECKING:
    from ..result import CheckResult

PROPERTIES = tuple(f"gradwitness_{name}" for name in ("verdict", "comparisons", "z", "culprit"))
"""Names in the XML of JUnit: properties of a test stand beside those of other plugins and of its author."""


PLAIN = "autograd in mode R"


@dataclass
class Noted:
    """What one test compared. checks: calls of gradient_check, assert_gradients and check, under hypothesis one or more
    for each example. z: greatest over all rows, None where no row has one. culprit: of the worst check. rows: of all
    checks; under hypothesis, which tries a hundred examples, of one of them: the last with the worst verdict, which is
    the smallest that hypothesis came to, or the one with the greatest z where all is well. faults: what is at fault in
    each row, as the fields of a Culprit, None where nothing is.
    """

    nodeid: str
    made_by_hypothesis: bool = False
    keeps_rows: bool = False
    checks: int = 0
    comparisons: int = 0
    verdict: str = "agree"
    z: float | None = None
    culprit: str = ""
    known: bool = False
    unsupported: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any] | None] = field(default_factory=list)

    def add(self, result: CheckResult) -> None:
        """One more check."""
        self.checks += 1
        frame = result.frame
        self.comparisons += len(frame)
        z = float(frame["z"].max()) if frame["z"].notna().any() else None
        is_worse = RANK[result.verdict] < RANK[self.verdict]
        is_equal = result.verdict == self.verdict
        if is_worse or (is_equal and (not result.ok or not self.culprit)):
            c = result.culprit
            self.culprit = "" if c is None else f"{c}, called at {c.called}" if c.called else str(c)
        if self.keeps_rows and not self.made_by_hypothesis:
            self.rows += self._rows(result, "" if self.checks == 1 else f" #{self.checks}")
            self.faults += _faults(result)
        elif self.keeps_rows and (is_worse or not self.rows or (is_equal and (not result.ok or _above(z, self.z)))):
            self.rows, self.faults = self._rows(result, ""), _faults(result)
        if _above(z, self.z):
            self.z = z
        self.verdict = min(self.verdict, result.verdict, key=RANK.__getitem__)
        self.known |= result.known
        self.unsupported |= result.unsupported
        self.notes += [note for note in result.notes if note not in self.notes]

    def _rows(self, result: CheckResult, which: str) -> list[dict[str, Any]]:
        frame = result.frame
        cells = frame.astype(object).where(frame.notna(), None)
        return [{**row, "case": self.nodeid + which} for row in cells.to_dict("records")]

    def added_to(self, properties: Iterable[tuple[str, object]]) -> list[tuple[str, object]]:
        """The properties of a test with ours in them, once."""
        z = "" if self.z is None else f"{self.z:.6g}"
        ours = dict(zip(PROPERTIES, (self.verdict, self.comparisons, z, self.culprit), strict=True))
        return [p for p in properties if p[0] not in ours] + list(ours.items())

    def plain(self) -> dict[str, Any]:
        """Plain data, which goes from a worker of xdist to the controller."""
        return {**vars(self), "unsupported": dict(sorted(self.unsupported.items()))}


def _faults(result: CheckResult) -> list[dict[str, Any] | None]:
    return [None if culprit is None else asdict(culprit) for culprit in result.culprits]


def lines(received: Mapping[str, Mapping[str, Any]], root: Path) -> Iterator[str]:
    """One line for each test that compared: verdict, comparisons, greatest z, culprit; sorted by test."""
    for nodeid, noted in sorted(received.items()):
        parts = [f"{nodeid}: {noted['verdict']}"]
        if noted["made_by_hypothesis"]:
            parts.append(_count(noted["checks"], "example"))
        elif noted["checks"] > 1:
            parts.append(_count(noted["checks"], "check"))
        parts.append(_count(noted["comparisons"], "comparison"))
        if noted["z"] is not None:
            parts.append(f"greatest z {noted['z']:.3g}")
        if noted["culprit"]:
            parts.append(f"culprit {noted['culprit']}".replace(f"{root}/", ""))
        operations = [name for name in noted["unsupported"] if "::" in name]
        if operations:
            parts.append(f"no rule for {', '.join(operations)}")
        parts += [_said(name, text) for name, text in noted["unsupported"].items() if name not in operations]
        if noted["known"]:
            parts.append("known issues of yours cover it")
        yield ", ".join(parts)
        yield from (f"  {note}" for note in noted["notes"])


def _said(name: str, text: str) -> str:
    """What was not compared, and why, where that is no rule that is missing."""
    text = text.rstrip(".")
    return text if name == PLAIN or text.startswith(name) else f"{name}: {text}"


def _above(z: float | None, other: float | None) -> bool:
    return z is not None and (other is None or z > other)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def write(received: Mapping[str, Mapping[str, Any]], out: Path, arguments: Iterable[str]) -> tuple[str, bool]:
    """Write the report of a session, whole or not at all. Returns what is said of it, and whether it failed."""
    import pandas as pd

    from ...reports import ReportError, frame_from_rows, write_report
    from ..campaigns.campaign import environment
    from ..evidence.checked import findings_of
    from ..result import Culprit

    frames, findings = [], []
    for nodeid, noted in sorted(received.items()):
        culprits = [None if fault is None else Culprit(**fault) for fault in noted["faults"]]
        taken = [finding["id"] for finding in findings]
        frame, found = findings_of(frame_from_rows(noted["rows"]), culprits, nodeid, taken)
        frames, findings = [*frames, frame], [*findings, *found]
    frame = pd.concat(frames, ignore_index=True) if frames else frame_from_rows([])
    command = shlex.join(["pytest", *map(str, arguments)])
    metadata = {**environment(), "command": command, "programs": len(received), "kind": "tests"}
    try:
        folder = write_report(frame, out, metadata=metadata, findings=findings)
    except ReportError as error:
        return f"no report was written: {error}", True
    return f"the report is {folder / 'report.html'}", False
