"""The pieces of one report, checked on the way in, before anything is rendered or written."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .accuracy import ULP_KEYS
from .comparisons import with_every_failure
from .errors import ReportDataError
from .formatting import clean
from .schema import VERDICTS, validate
from .verdicts import RANK

FINDING_KEYS: tuple[str, ...] = (
    *("id", "op", "culprit", "mode", "runner", "dtype", "verdict", "z", "known", "equations", "elements"),
    *("torch_value", "right_value", "arbiter_value", "arbiter", "note", "fails", "script", "case", "line"),
    *("program", "wrt", "entry"),
)
COVERAGE_KEYS: tuple[str, ...] = (
    *("name", "source", "status", "comparisons", "verdict", "reason", "samples", "modes", "runners"),
)
COVERAGE_STATUS: tuple[str, ...] = ("compared", "not covered")
LOCKSTEP_KEYS: tuple[str, ...] = ("step", "z", "loss_torch", "loss_witness", "threshold", "title")
LOCKSTEP_SERIES: tuple[str, ...] = ("step", "z", "loss_torch", "loss_witness")
PITFALL_KEYS: tuple[str, ...] = ("id", "title", "family", "symptom", "torch", "right", "fixed", "shown")

GROUPS: tuple[str, ...] = ("new", "standing", "open", "noted", "yours", "known")
"""Groups of findings in the order of the pages, see `finding_group`."""
YOURS = "yours: "
"""How `known` begins where an issue is the user's own, not one of PyTorch."""
LOCK_STEP = "lockstep"
"""The source of the rows of a training that no finding of a campaign stands for."""
UNITS: dict[str, str] = {"check": "program", "tests": "test"}
"""metadata's `kind` -> what its comparisons are of. In such a report a finding is one comparison; without a kind it is
a campaign, in which one finding stands for many."""

MAX_ID_LENGTH = 120
"""Characters in a finding's identifier, which becomes a folder name (most file systems allow 255 bytes)."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+,=@-]*")


@dataclass(frozen=True)
class Report:
    """Everything a report shows. Made by `Report.of`, which checks and orders the pieces."""

    frame: pd.DataFrame
    metadata: Mapping[str, Any]
    findings: Sequence[Mapping[str, Any]]
    coverage: Sequence[Mapping[str, Any]]
    lockstep: Mapping[str, Any] | None
    pitfalls: Sequence[Mapping[str, Any]]
    ulp: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        metadata: Mapping[str, Any] | None = None,
        findings: Iterable[Mapping[str, Any]] = (),
        coverage: Iterable[Mapping[str, Any]] = (),
        lockstep: Mapping[str, Any] | None = None,
        pitfalls: Iterable[Mapping[str, Any]] = (),
        ulp: Iterable[Mapping[str, Any]] = (),
    ) -> "Report":
        """Check every piece and order the findings: failing first, known last, then by verdict, operation, mode.

        Keys that are left out become None. A row that fails and names no finding becomes one, so that no page can pass
        it over; of a campaign, whose findings stand for many rows, one of the training in lock step does. Raises
        ReportDataError for unknown keys, repeated or unusable identifiers, an unknown verdict or status, and lock-step
        series of unequal length.
        """
        frame, findings = validate(frame), list(findings)
        campaign = bool(findings) and not (metadata or {}).get("kind")
        frame, findings = with_every_failure(frame, findings, LOCK_STEP if campaign else None)
        checked = [
            _record("findings", i, item, FINDING_KEYS, ("id", "op", "verdict")) for i, item in enumerate(findings)
        ]
        for i, finding in enumerate(checked):
            _check_finding(i, finding)
        _check_unique([finding["id"] for finding in checked])
        covered = [_record("coverage", i, item, COVERAGE_KEYS, ("name", "status")) for i, item in enumerate(coverage)]
        for i, entry in enumerate(covered):
            _check_choice(f"coverage[{i}]['status']", entry["status"], COVERAGE_STATUS)
            if entry["verdict"] is not None:
                _check_choice(f"coverage[{i}]['verdict']", entry["verdict"], VERDICTS)
        return cls(
            frame=frame,
            metadata=dict(metadata or {}),
            findings=sorted(checked, key=_finding_order),
            coverage=covered,
            lockstep=None if lockstep is None else _lockstep(lockstep),
            pitfalls=[_record("pitfalls", i, item, PITFALL_KEYS, ("id", "title")) for i, item in enumerate(pitfalls)],
            ulp=[_record("ulp", i, item, ULP_KEYS, ("op", "call", "dtype", "quantity")) for i, item in enumerate(ulp)],
        )

    @property
    def threshold(self) -> float | None:
        """Greatest z that counts as agreement (dimensionless), where the run recorded one."""
        found = self.metadata.get("threshold")
        if found is None and self.lockstep is not None:
            found = self.lockstep["threshold"]
        return None if found is None else float(found)

    @property
    def unit(self) -> str:
        """What the comparisons are of: "program" or "test" where each finding is one comparison, "" for a campaign."""
        return UNITS.get(str(self.metadata.get("kind")), "")

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before trusting the numbers, such as an untested version of torch."""
        found = self.metadata.get("warning")
        if not found:
            return []
        return [found] if isinstance(found, str) else [str(text) for text in found]


def finding_group(finding: Mapping[str, Any]) -> str:
    """Return the group of a finding, one of GROUPS.

    `new` fails the run and nothing explains it; `standing` is explained by an issue of PyTorch and fails all the same;
    `open` is `unsupported`, neither right nor wrong, though a check is not ok with it; `noted` does not fail; `yours`
    is excused by an issue of the user's own; `known` is explained by one of PyTorch.
    """
    if finding["fails"]:
        if finding["known"]:
            return "standing"
        return "open" if finding["verdict"] == "unsupported" else "new"
    if not finding["known"]:
        return "noted"
    return "yours" if str(finding["known"]).startswith(YOURS) else "known"


def by_culprit(findings: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The findings under their culprit, culprits in the order in which they are first met; each is named by its own
    operation where it has none.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault(clean(str(finding["culprit"] or finding["op"])), []).append(finding)
    return list(groups.items())


def operations_of(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The operations of some findings, each once."""
    return list(dict.fromkeys(str(finding["op"]) for finding in findings))


def without_arbiter(report: Report) -> list[tuple[str, str]]:
    """(identifier, reason) of every mismatch of a campaign that no arbiter has decided; elsewhere none is asked."""
    return [
        (str(f["id"]), str(f["arbiter"] or "not asked"))
        for f in ([] if report.unit else report.findings)
        if f["verdict"] == "mismatch" and f["arbiter_value"] is None
    ]


def _finding_order(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    mode = str(finding["mode"] or "")
    group = GROUPS.index(finding_group(finding))
    return group, RANK[finding["verdict"]], str(finding["op"]), len(mode), mode, finding["id"]


def _record(
    where: str, number: int, item: Mapping[str, Any], keys: Sequence[str], required: Sequence[str]
) -> dict[str, Any]:
    unknown = [key for key in item if key not in keys]
    missing = [key for key in required if item.get(key) is None]
    if unknown or missing:
        raise ReportDataError(
            f"write_report: {where}[{number}] has unknown keys {unknown} and lacks {missing}; "
            f"accepted are {', '.join(keys)}. Rename or add the key where the record is made."
        )
    return {key: item.get(key) for key in keys}


def _check_finding(number: int, finding: Mapping[str, Any]) -> None:
    _check_choice(f"findings[{number}]['verdict']", finding["verdict"], VERDICTS)
    name = finding["id"]
    if not isinstance(name, str) or not _ID.fullmatch(name) or len(name) > MAX_ID_LENGTH or name.endswith("."):
        raise ReportDataError(
            f"write_report: findings[{number}]['id']={name!r} cannot name a folder; accepted are 1 to {MAX_ID_LENGTH} "
            "of the characters A-Z a-z 0-9 . _ + , = @ -, beginning with a letter or digit and not ending with a dot. "
            "Replace the other characters where the finding is made."
        )
    z = finding["z"]
    if z is not None and (isinstance(z, (bool, str)) or not hasattr(z, "__float__")):
        raise ReportDataError(f"write_report: findings[{number}]['z']={z!r}; accepted is a number or None. Convert it.")


def _check_unique(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise ReportDataError(
                f"write_report: two findings have the id {name!r} (capitals do not count: each becomes a folder); "
                "every id must occur once. Add the mode, the runner or a number to it."
            )
        seen.add(name.casefold())


def _check_choice(what: str, found: object, accepted: Sequence[str]) -> None:
    if found not in accepted:
        raise ReportDataError(
            f"write_report: {what}={found!r}; accepted are {', '.join(accepted)}. Correct it where the record is made."
        )


def _lockstep(item: Mapping[str, Any]) -> dict[str, Any]:
    record = _record("lockstep", 0, item, LOCKSTEP_KEYS, LOCKSTEP_SERIES)
    for name in LOCKSTEP_SERIES:
        record[name] = list(record[name])
    lengths = {name: len(record[name]) for name in LOCKSTEP_SERIES}
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"len({name})={length}" for name, length in lengths.items())
        raise ReportDataError(f"write_report: lockstep has {found}; all four must be equal. Record every step in all.")
    return record
