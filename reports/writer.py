"""Writes a report: everything is rendered first, then published whole."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .accuracy import to_csv as accuracy_csv
from .content import Report
from .html_page import render_html
from .jsontext import to_json
from .markdown_page import render_markdown
from .publish import publish
from .summary import case_path, repro_path, summary
from .tables import to_csv, to_parquet


def write_report(
    frame: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    findings: Iterable[Mapping[str, Any]] = (),
    coverage: Iterable[Mapping[str, Any]] = (),
    lockstep: Mapping[str, Any] | None = None,
    pitfalls: Iterable[Mapping[str, Any]] = (),
    ulp: Iterable[Mapping[str, Any]] = (),
) -> Path:
    """Write the report of one run into the folder `out`, whole or not at all, and return the folder.

    Leaves report.html, report.md, comparisons.parquet, comparisons.csv, summary.json, and for every finding
    findings/<id>/case.json and findings/<id>/repro.py; ulp.csv where there is an accuracy table. The findings and the
    table of an earlier report in `out` are removed; other files in it are left alone.

    `frame` comes from `frame_from_rows`. `metadata` may hold `torch_version`, `versions` (name -> text), `platform`,
    `threads`, `command`, `seed`, `seconds`, `threshold` (greatest z that agrees), `programs` (a count), `warning` (text
    or list of texts, shown at the top: an untested version of torch), `kind` ("check" or "tests", where a finding is
    one comparison), and anything else that is plain data. The keys of the other records are listed in `content.py`;
    whatever is left out is shown as a dash. A row that fails and whose `finding` names none becomes a finding.

    Raises ReportDataError (a ValueError) for data that does not fit, ReportPathError (an OSError) where `out` cannot be
    written.
    """
    report = Report.of(frame, metadata, findings, coverage, lockstep, pitfalls, ulp)
    publish(render(report), Path(out), replaced=["findings", "ulp.csv"])
    return Path(out)


def render(report: Report) -> dict[str, bytes]:
    """Return every file of the report: path relative to its folder -> content."""
    parquet = to_parquet(report.frame)
    files = {
        "comparisons.parquet": parquet,
        "comparisons.csv": to_csv(report.frame),
        "report.html": render_html(report).encode(),
        "report.md": render_markdown(report).encode(),
    }
    if report.ulp:
        files["ulp.csv"] = accuracy_csv(report.ulp)
    for finding in report.findings:
        if finding["case"] is not None:
            text = to_json(finding["case"], f"findings[{finding['id']!r}].case")
            files[case_path(finding["id"])] = text.encode()
        if finding["script"] is not None:
            files[repro_path(finding["id"])] = str(finding["script"]).encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(parquet).hexdigest()
    files["summary.json"] = to_json(summary(report, digest), "summary").encode()
    return files
