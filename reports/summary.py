"""The machine-readable summary of a run: counts, coverage, findings, versions, and all that rebuilds the pages."""

from typing import Any

from .content import Report, by_culprit, finding_group, without_arbiter
from .headline import headline
from .views import SampleCount, coverage_counts, programs, sample_counts, slack, verdict_counts

FORMAT = 1
"""Version of summary.json; a reader refuses others."""


def repro_path(finding_id: str) -> str:
    """Path of a finding's script, relative to the report's folder."""
    return f"findings/{finding_id}/repro.py"


def case_path(finding_id: str) -> str:
    """Path of a finding's case, relative to the report's folder."""
    return f"findings/{finding_id}/case.json"


def summary(report: Report, digest: str) -> dict[str, Any]:
    """Return the content of summary.json.

    `programs` is metadata's own figure, or else the number of distinct cases; `digest` is the SHA-256 of
    comparisons.parquet, by which a reader notices files of two different runs. `sample_coverage` counts, by source and
    mode, the samples that were compared, and lists the others by reason and name. Scripts and cases are not repeated
    here: `repro` and `case` name their files. `slack` is, by dtype, the median of allowed over observed error.
    `culprits` lists the findings under what is wrong in them; `without_arbiter` those with two numbers, and why;
    `headline` is what the pages begin with.
    """
    metadata = report.metadata
    known_count = metadata.get("programs")
    return {
        "format": FORMAT,
        "programs": programs(report.frame) if known_count is None else known_count,
        "headline": " · ".join(text for text in headline(report) if text),
        "comparisons": len(report.frame),
        "verdicts": {item.verdict.name: item.count for item in verdict_counts(report.frame)},
        "slack": slack(report.frame, report.threshold),
        "seconds": metadata.get("seconds"),
        "seed": metadata.get("seed"),
        "versions": metadata.get("versions") or {},
        "findings": [_finding(finding) for finding in report.findings],
        "culprits": {name: [f["id"] for f in group] for name, group in by_culprit(report.findings)},
        "without_arbiter": dict(without_arbiter(report)),
        "coverage_counts": coverage_counts(report.coverage),
        "sample_coverage": [_samples(counted) for counted in sample_counts(report.coverage)],
        "coverage": list(report.coverage),
        "metadata": metadata,
        "lockstep": report.lockstep,
        "pitfalls": list(report.pitfalls),
        "ulp": list(report.ulp),
        "comparisons_sha256": digest,
    }


def _samples(counted: SampleCount) -> dict[str, Any]:
    return {
        "source": counted.source,
        "mode": counted.mode,
        "samples": counted.samples,
        "compared": counted.compared,
        "share": counted.compared / counted.samples if counted.samples else None,
        "empty": counted.empty,
        "left_out": [{"reason": why, "samples": n, "entries": which} for why, n, which in counted.left_out],
        "uncounted": list(counted.uncounted),
    }


def _finding(finding: Any) -> dict[str, Any]:
    record = {key: item for key, item in finding.items() if key not in ("script", "case")}
    record["repro"] = None if finding["script"] is None else repro_path(finding["id"])
    record["case"] = None if finding["case"] is None else case_path(finding["id"])
    record["group"] = finding_group(finding)
    return record
