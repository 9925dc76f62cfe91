"""Renders report.html: one file, no network, no script."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from . import accuracy, views
from . import formatting as fmt
from .content import Report, by_culprit, operations_of, without_arbiter
from .figures import lockstep_plot, z_distribution
from .headline import group_titles, groups_of, headline, lead, run_details, run_facts
from .summary import case_path, repro_path
from .verdicts import VERDICT_OF

TEMPLATES = Path(__file__).parent / "templates"
MAP_ROWS = 40
"""Operations of the heat map shown before the fold: about one screen and a half."""
TABLE_ROWS = 200
"""Rows a detail table may have; more are counted and left to comparisons.csv, so that the page opens at once."""


@dataclass(frozen=True)
class Shown:
    """The rows of a table that are shown, how many are left out, and the number of comparisons behind all of them."""

    rows: list[dict[str, Any]]
    left: int
    total: str


def render_html(report: Report) -> str:
    """Return the whole page. All text from the run is escaped, and control characters are made visible."""
    frame = report.frame
    groups = groups_of(report)
    # a check has a finding for every comparison that differs; those of a campaign are few, and each is shown
    shown = {name: findings[:TABLE_ROWS] if report.unit else findings for name, findings in groups.items()}
    title, aside = headline(report)
    counts = views.verdict_counts(frame)
    not_covered = views.not_covered(report.coverage)
    context: dict[str, Any] = {
        "report": report,
        "headline": title,
        "headline_aside": aside,
        "lead": lead(report),
        "run_facts": run_facts(report),
        "run_details": run_details(report),
        "groups": {name: by_culprit(findings) for name, findings in shown.items()},
        "counted": {name: len(findings) for name, findings in groups.items()},
        "unshown": {name: len(findings) - len(shown[name]) for name, findings in groups.items()},
        "group_titles": group_titles(report),
        "without_arbiter": without_arbiter(report),
        "finding_ids": {finding["id"] for findings in shown.values() for finding in findings},
        "verdict_of": VERDICT_OF,
        "verdict_counts": counts,
        "verdicts_met": [item.verdict for item in counts if item.count],
        "total": len(frame),
        "heat": views.heat_map(frame),
        "map_rows": MAP_ROWS,
        "z_plot": z_distribution(frame, report.threshold),
        "lockstep_plot": None if report.lockstep is None else lockstep_plot(report.lockstep),
        "inaccurate": _shown(views.inaccurate(frame)),
        "conventions": _shown(views.conventions(frame)),
        "unsettled": _shown(views.unsettled(frame)),
        "accuracy": Shown([vars(entry) for entry in accuracy.entries(report.ulp, frame)], 0, str(len(report.ulp))),
        "has_comparisons": len(frame) > 0 or not report.ulp,  # a run that measures accuracy alone compares nothing
        "sample_counts": views.sample_counts(report.coverage),
        "coverage_counts": views.coverage_counts(report.coverage),
        "not_covered": not_covered,
        "not_covered_total": sum(len(names) for _, names in not_covered),
        "compared": [entry for entry in report.coverage if entry["status"] == "compared"],
        "css": Markup((TEMPLATES / "report.css").read_text("utf-8")),
    }
    context["sections"] = [(anchor, name) for anchor, name, present in _sections(context) if present]
    return _environment().get_template("report.html").render(context).lstrip()


def _sections(context: dict[str, Any]) -> list[tuple[str, str, bool]]:
    report = context["report"]
    return [
        ("findings", "Findings", context["has_comparisons"]),
        ("verdicts", "Verdicts", context["has_comparisons"]),
        ("map", "Operations and modes", context["has_comparisons"]),
        ("spread", "How far off", context["z_plot"] is not None),
        ("lockstep", "Lock step", context["lockstep_plot"] is not None),
        ("pitfalls", "Pitfalls", bool(report.pitfalls)),
        ("inaccurate", "Lost accuracy", bool(context["inaccurate"].rows)),
        ("conventions", "Conventions", bool(context["conventions"].rows)),
        ("unsettled", "Not judged", bool(context["unsettled"].rows)),
        ("accuracy", "Accuracy", bool(context["accuracy"].rows)),
        ("coverage", "Coverage", bool(report.coverage)),
        ("run", "This run", True),
    ]


def _shown(table: pd.DataFrame) -> Shown:
    kept = table.head(TABLE_ROWS)
    return Shown(views.records(kept), len(table) - len(kept), fmt.count(int(table["n"].sum())))


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        value=fmt.value,
        score=fmt.score,
        count=fmt.count,
        noun=fmt.noun,
        percent=fmt.percent,
        link=fmt.link,
        clip=_clip,
        breakable=_breakable,
        size=finding_size,
        operations=operations_of,
        script=_script,
        svg=Markup,
        case_path=case_path,
        repro_path=repro_path,
    )
    return environment


def finding_size(finding: Any) -> str:
    """Say how small the smallest case is."""
    parts = []
    if finding["equations"] is not None:
        parts.append(fmt.noun(finding["equations"], "equation"))
    if finding["elements"] is not None:
        parts.append(fmt.noun(finding["elements"], "element"))
    return ", ".join(parts)


def _finalize(item: Any) -> Any:
    """Nothing reaches the page as Python spells it: None is a dash, control characters are made visible."""
    if item is None:
        return fmt.DASH
    return fmt.clean(item) if type(item) is str else item


def _clip(text: Any, length: int) -> str:
    return fmt.DASH if text is None else fmt.clip(str(text), length)


def _breakable(text: Any) -> Markup:
    """A long name that may break after a dot, an underscore or a colon instead of anywhere."""
    parts = re.split(r"(?<=[._:])(?=[^._:])", fmt.clean(str(text)))
    return Markup("<wbr>").join(parts)


def _script(text: Any) -> Markup:
    """A script, escaped; a leading newline is doubled because HTML drops the first one inside <pre>."""
    return Markup("\n") + escape(fmt.clean(str(text)))
