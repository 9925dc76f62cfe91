"""Renders report.md for a CI job summary: always below a fixed size, and what is cut is counted."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from . import accuracy, views
from . import formatting as fmt
from .content import Report, by_culprit, operations_of, without_arbiter
from .headline import group_titles, groups_of, headline, lead, run_facts
from .summary import repro_path
from .verdicts import VERDICT_OF

MAX_BYTES = 60_000
"""Size of report.md in bytes of UTF-8; the steps of one CI job share a summary of 1 MiB, comments hold 65,536."""
MAX_WARNINGS = 5
CELL = 160
"""Characters of user text in one table cell."""
SCRIPT_BYTES = 4_000
"""A longer script is only named, not quoted."""

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#!$&{}()])")


def escape(text: Any, length: int = CELL) -> str:
    """Return `text` as Markdown that shows exactly it, on one line, safe in a table cell."""
    shown = fmt.value(text, length).replace("\n", " ").replace("\t", " ")
    return _SPECIAL.sub(r"\\\1", shown).replace("://", ":\\//").replace("@", "&#64;")


def render_markdown(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown of at most MAX_BYTES bytes.

    The sections come in order of importance and share the room: a table that does not fit any more ends with the number
    of rows that were left out.
    """
    page = _Page(MAX_BYTES)
    title, aside = headline(report)
    page.text(f"# gradwitness: {escape(title, 600)}" + (f" ({aside})" if aside else ""))
    for warning in report.warnings[:MAX_WARNINGS]:
        page.text(f"> **Note** {escape(warning, 600)}")
    if len(report.warnings) > MAX_WARNINGS:
        page.text(f"> … and {fmt.noun(len(report.warnings) - MAX_WARNINGS, 'more note')}, see report.html.")
    page.text(escape(lead(report), 2_000))
    page.text(" · ".join(f"{name} {escape(text)}" for name, text in run_facts(report)))
    _verdicts(page, report)
    _findings(page, report)
    _lockstep(page, report)
    _pitfalls(page, report)
    _frame_tables(page, report)
    _accuracy(page, report)
    _coverage(page, report)
    _scripts(page, report)
    return page.render()


class _Page:
    """Text with a budget of bytes; `room` is what is left of it."""

    def __init__(self, budget: int) -> None:
        self.blocks: list[str] = []
        self.room = budget

    def text(self, block: str) -> bool:
        """Add a block and a blank line, if it fits."""
        size = len(block.encode()) + 2
        if size > self.room:
            return False
        self.blocks.append(block)
        self.room -= size
        return True

    def table(
        self, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], share: float, left: int = 0
    ) -> None:
        """Add a table that takes at most `share` of the room left; rows that do not fit, and `left`, are counted."""
        lines = [title, "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
        budget = int(self.room * share) - sum(len(line.encode()) + 1 for line in lines) - 100  # 100 for the last line
        dropped, shown = left, 0
        for row in rows:
            line = "| " + " | ".join(row) + " |"
            budget -= len(line.encode()) + 1
            if budget < 0:
                dropped += 1
            else:
                lines.append(line)
                shown += 1
        if not shown and not dropped:
            return
        if dropped:
            lines += ["", f"… and {fmt.noun(dropped, 'more row')}, see report.html."]
        self.text("\n".join(lines))

    def render(self) -> str:
        return "\n\n".join(self.blocks) + "\n"


def _badge(name: Any) -> str:
    verdict = VERDICT_OF[name]
    return f"{verdict.symbol} {verdict.name}"


def _verdicts(page: _Page, report: Report) -> None:
    total = len(report.frame)
    rows = [
        (_badge(item.verdict.name), fmt.count(item.count), escape(fmt.percent(item.count, total)), item.verdict.meaning)
        for item in views.verdict_counts(report.frame)
        if item.count
    ]
    page.table("## Verdicts", ("verdict", "comparisons", "share", "what it means"), rows, 1.0)


def _findings(page: _Page, report: Report) -> None:
    titles = group_titles(report)
    unit = report.unit
    more = ["compared", "entry", "known", "what it says", unit] if unit else ["arbiter", "known", "script"]
    heads = ["culprit", "operation", "mode", "verdict", "z", "PyTorch", "witness", *more]
    for name, findings in groups_of(report).items():
        page.table(f"## {escape(titles[name])}", heads, _finding_rows(findings, report.unit), 0.5)
    undecided = [(escape(name), escape(why)) for name, why in without_arbiter(report)]
    page.table("### Without an arbiter, and why", ("finding", "reason"), undecided, 0.2)


def _finding_rows(findings: Sequence[Mapping[str, Any]], unit: str) -> Iterable[Sequence[str]]:
    """The findings under their culprits: the first row of each names it and all of its operations."""
    for culprit, group in by_culprit(findings):
        names = operations_of(group)
        of = f"{fmt.noun(len(group), 'record')} of {', '.join(names)}"
        heading, line = f"**{escape(culprit)}**" + (f" ({escape(of, 400)})" if len(group) > 1 else ""), None
        for number, finding in enumerate(group):
            at = f" at {escape(finding['line'], 400)}" if finding["line"] and finding["line"] != line else ""
            line = finding["line"] or line
            yield (("″" if number else heading) + at, *_finding_row(finding, unit))


def _finding_row(finding: Mapping[str, Any], unit: str) -> Sequence[str]:
    how = " · ".join(str(finding[key]) for key in ("mode", "runner", "dtype") if finding[key])
    address = fmt.link(finding["known"])
    known = escape(finding["known"])
    if address is not None and not re.search(r"[()\s|]", address):
        known = f"[{known}]({address})"
    of_numbers = escape(finding["torch_value"], 60), escape(finding["right_value"], 60)
    judged = escape(finding["op"]), escape(how), _badge(finding["verdict"]), escape(fmt.score(finding["z"]))
    if unit:
        said = escape(finding["note"], 400), escape(finding["program"])
        return *judged, *of_numbers, escape(finding["wrt"]), escape(finding["entry"]), known, *said
    script = fmt.DASH if finding["script"] is None else f"`{repro_path(finding['id'])}`"
    return *judged, *of_numbers, escape(finding["arbiter_value"], 60), known, script


def _lockstep(page: _Page, report: Report) -> None:
    if report.lockstep is None or not report.lockstep["z"]:
        return
    z = [float("nan") if item is None else float(item) for item in report.lockstep["z"]]
    threshold = report.lockstep["threshold"]
    finite = [item for item in z if item == item]
    limit = "" if threshold is None else f", threshold {fmt.score(threshold)}"
    page.text(
        f"## Lock step\n\n{escape(report.lockstep['title'] or 'One network trained in both engines.', 300)} "
        f"{fmt.noun(len(z), 'step')}, greatest z {escape(fmt.score(max(finite, default=None)))}{limit}."
    )


def _pitfalls(page: _Page, report: Report) -> None:
    rows = (
        (
            *(escape(item["title"]), escape(item["family"]), escape(item["torch"], 60), escape(item["right"], 60)),
            *(
                escape(item["fixed"], 60),
                fmt.DASH if item["shown"] is None else "✓" if item["shown"] else "✗ no longer",
            ),
        )
        for item in report.pitfalls
    )
    page.table("## Pitfalls", ("pitfall", "family", "PyTorch", "right", "repaired", "shown here"), rows, 0.3)


def _frame_tables(page: _Page, report: Report) -> None:
    frame = report.frame

    def add(title: str, table: Any, columns: Mapping[str, Callable[[dict[str, Any]], str]], share: float) -> None:
        kept = table.head(100)
        rows = ([show(row) for show in columns.values()] for row in views.records(kept))
        page.table(title, list(columns), rows, share, left=len(table) - len(kept))

    place: dict[str, Callable[[dict[str, Any]], str]] = {
        "operation": lambda row: escape(row["op"], 60),
        "mode": lambda row: escape(row["mode"]),
        "times": lambda row: fmt.count(row["n"]),
    }
    judged = {"verdict": lambda row: _badge(row["verdict"]), **place, "why": lambda row: escape(row["message"])}
    add("## Not judged right or wrong", views.unsettled(frame), judged, 0.25)
    error = {
        "dtype": lambda row: escape(row["dtype"]),
        "relative error": lambda row: escape(fmt.score(row["rel_error"])),
    }
    add("## Lost accuracy", views.inaccurate(frame), {**place, **error}, 0.2)
    add("## Conventions", views.conventions(frame), {**place, "choice": lambda row: escape(row["message"])}, 0.2)


def _accuracy(page: _Page, report: Report) -> None:
    heads = (
        "operation",
        "dtype",
        "value, ulp",
        "derivative, ulp",
        "worst at",
        "PyTorch",
        "right",
        "explains inaccurate",
    )
    rows = (
        (
            *(escape(entry.call), escape(entry.dtype), escape(fmt.score(entry.value_ulp)), escape(entry.derivative)),
            *(escape(entry.at, 60), escape(entry.torch_value), escape(entry.right_value), escape(entry.explains)),
        )
        for entry in accuracy.entries(report.ulp, report.frame)
    )
    page.table(f"## {accuracy.TITLE}", heads, rows, 0.2)


def _coverage(page: _Page, report: Report) -> None:
    if not report.coverage:
        return
    rows = [
        (escape(source), fmt.count(counts["compared"]), fmt.count(counts["not covered"]))
        for source, counts in views.coverage_counts(report.coverage).items()
    ]
    page.table("## Coverage", ("source", "compared", "not covered"), rows, 0.5)
    counted = views.sample_counts(report.coverage)
    samples = [
        (
            *(escape(c.source), c.mode, fmt.count(c.samples), fmt.count(c.compared)),
            *(escape(fmt.percent(c.compared, c.samples)), fmt.count(c.empty)),
        )
        for c in counted
    ]
    heads = ("source", "mode", "samples", "compared", "share", "of these without entries")
    page.table("### By sample", heads, samples, 0.5)
    left_out = (
        (escape(c.source), c.mode, fmt.count(n), escape(reason), escape(", ".join(which), 400))
        for c in counted
        for reason, n, which in c.left_out
    )
    page.table("### Samples left out, and why", ("source", "mode", "samples", "reason", "of"), left_out, 0.5)
    reasons = (
        (str(len(names)), escape(reason), escape(", ".join(names), 400))
        for reason, names in views.not_covered(report.coverage)
    )
    page.table("### Not covered, and why", ("operations", "reason", "which"), reasons, 0.5)


def _scripts(page: _Page, report: Report) -> None:
    """Quote the scripts of findings that fail while there is room; the last block says how many were left out."""
    groups = groups_of(report)
    findings = [finding for finding in (*groups["new"], *groups["standing"]) if finding["script"] is not None]
    reserve, left = 200, 0
    for finding in findings:
        script = fmt.clean(str(finding["script"])).encode("utf-8", "backslashreplace").decode().rstrip("\n")
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", script)), default=0))
        block = (
            f"<details><summary>{finding['id']}</summary>\n\n`python -I {repro_path(finding['id'])}`\n\n"
            f"{fence}python\n{script}\n{fence}\n\n</details>"
        )
        if len(script.encode()) > SCRIPT_BYTES or len(block.encode()) + reserve > page.room or not page.text(block):
            left += 1
    if left:
        page.text(f"… and {fmt.noun(left, 'script')} not quoted here, see the folder findings.")
