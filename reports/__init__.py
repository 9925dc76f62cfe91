"""Reports: from a pandas frame of comparisons to HTML, Markdown, CSV, Parquet and JSON. Knows nothing of torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .difference import Difference, compare_runs
    from .errors import ReportDataError, ReportError, ReportPathError
    from .reader import read_report, rebuild_report
    from .schema import COLUMNS, VERDICTS, Column, frame_from_rows, validate, worst
    from .writer import write_report

__all__ = [
    "COLUMNS",
    "VERDICTS",
    "Column",
    "Difference",
    "ReportDataError",
    "ReportError",
    "ReportPathError",
    "compare_runs",
    "frame_from_rows",
    "read_report",
    "rebuild_report",
    "validate",
    "worst",
    "write_report",
]

# Loaded on first use: the schema needs pandas alone; the writers bring matplotlib and jinja2, which cost a second.
_HOME = {
    **dict.fromkeys(("ReportDataError", "ReportError", "ReportPathError"), "errors"),
    **dict.fromkeys(("COLUMNS", "VERDICTS", "Column", "frame_from_rows", "validate", "worst"), "schema"),
    **dict.fromkeys(("read_report", "rebuild_report"), "reader"),
    **dict.fromkeys(("Difference", "compare_runs"), "difference"),
    "write_report": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
