"""Reads a report back, so that its pages can be rebuilt or compared without running anything."""

import hashlib
import os
from pathlib import Path
from typing import Any

from .content import FINDING_KEYS
from .errors import ReportDataError, ReportPathError
from .jsontext import from_json
from .summary import FORMAT
from .tables import from_parquet
from .writer import write_report

_AGAIN = "Restore the file or run the campaign again."


def read_report(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the pieces of the report in `folder`, under the names of write_report's arguments.

    `frame, metadata, findings, coverage, lockstep, pitfalls, ulp`, so that
    `write_report(out=folder, **read_report(folder))` writes the same report again.

    Raises ReportPathError where the folder or one of its files is absent or unreadable, ReportDataError where a file is
    damaged, of another format version, or of another run than its neighbours.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ReportPathError(
            f"read_report: {str(root)!r} is not a folder; accepted is the folder a campaign wrote its report to. "
            "Check the spelling, or make one with `gradwitness run --out DIR`."
        )
    summary = from_json(_text(root, "summary.json"), "summary.json")
    if not isinstance(summary, dict) or summary.get("format") != FORMAT:
        found = summary.get("format") if isinstance(summary, dict) else type(summary).__name__
        raise ReportDataError(
            f"read_report: summary.json has format={found!r}; accepted is format {FORMAT}. Read it with the version of "
            "gradwitness that wrote it, or run the campaign again."
        )
    parquet = _bytes(root, "comparisons.parquet")
    if hashlib.sha256(parquet).hexdigest() != summary.get("comparisons_sha256"):
        raise ReportDataError(
            "read_report: comparisons.parquet is damaged or of another run than summary.json (the SHA-256 recorded "
            f"there differs); accepted are the two files of one run. {_AGAIN}"
        )
    try:
        pieces = {name: summary[name] for name in ("metadata", "coverage", "lockstep", "pitfalls")}
        pieces["ulp"] = summary.get("ulp", [])  # summaries written before there was a table lack it
        pieces["findings"] = [_finding(root, item) for item in summary["findings"]]
    except (KeyError, TypeError, AttributeError) as fault:
        raise ReportDataError(
            f"read_report: summary.json lacks or garbles a part ({fault}); accepted is a file written by write_report. "
            f"{_AGAIN}"
        ) from None
    return {"frame": from_parquet(parquet, "comparisons.parquet"), **pieces}


def rebuild_report(folder: str | os.PathLike[str]) -> Path:
    """Write the report in `folder` anew from its stored numbers and return the folder. Errors as in `read_report`."""
    return write_report(out=folder, **read_report(folder))


def _finding(root: Path, item: dict[str, Any]) -> dict[str, Any]:
    finding = {key: item.get(key) for key in FINDING_KEYS}
    finding["script"] = None if item["repro"] is None else _text(root, item["repro"])
    finding["case"] = None if item["case"] is None else from_json(_text(root, item["case"]), item["case"])
    return finding


def _text(root: Path, name: str) -> str:
    try:
        return _bytes(root, name).decode()
    except UnicodeDecodeError as fault:
        raise ReportDataError(
            f"read_report: {name} is not UTF-8 text ({fault.reason} at byte {fault.start}); accepted is a file "
            f"written by write_report. {_AGAIN}"
        ) from None


def _bytes(root: Path, name: str) -> bytes:
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise ReportDataError(f"read_report: summary.json names {name!r}, which lies outside the report. {_AGAIN}")
        return path.read_bytes()
    except OSError as fault:
        raise ReportPathError(
            f"read_report: cannot read {name} in {str(root)!r}: {fault.strerror}; a report needs it. {_AGAIN}"
        ) from None
