"""The sentences at the top of a report, shared by HTML and Markdown."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from . import formatting as fmt
from .content import GROUPS, Report, finding_group
from .verdicts import VERDICTS
from .views import modes, programs, settled, slack

MOST_NAMED = 3
"""Culprits that a headline names; more are counted."""
NO_OPERATIONS = ("whole", "two runs", "arguments")
"""`program` of those comparisons of a check that are of the callable, not of one operation in it."""
_TOLD_ABOVE = ("warning", "programs", "threshold", "kind")
_PLURALS = {"mismatch": "mismatches"}


def groups_of(report: Report) -> dict[str, list[Mapping[str, Any]]]:
    """The findings by group, in the order of GROUPS."""
    groups: dict[str, list[Mapping[str, Any]]] = {name: [] for name in GROUPS}
    for finding in report.findings:
        groups[finding_group(finding)].append(finding)
    return groups


def group_titles(report: Report) -> dict[str, str]:
    """The heading of each group of findings."""
    of_run = not report.unit
    return {
        "new": "New findings: these fail the run" if of_run else "New findings: no known issue covers them",
        "standing": "Known issues of PyTorch, which fail all the same",
        "open": "Not judged: unsupported, neither right nor wrong",
        "noted": "Noted: these do not fail the run" if of_run else "Noted: these fail nothing",
        "yours": "Known issues of yours ([tool.gradwitness]), which fail nothing",
        "known": "Known issues: explained by a public issue or a closed form, and still there",
    }


def headline(report: Report) -> tuple[str, str]:
    """The result in a few words, and an aside to it."""
    groups = groups_of(report)
    new, standing, unjudged, noted, yours, known = (len(groups[name]) for name in GROUPS)
    if not len(report.frame):
        if report.ulp:
            return f"Accuracy of {fmt.noun(len({row['call'] for row in report.ulp}), 'operation')} measured", ""
        return "Nothing was compared", ""
    counted = (
        *((f"{known} known", known), (f"{yours} known to you", yours), (f"{noted} noted", noted)),
        (f"{unjudged} unsupported", 0 if report.unit else unjudged),  # of a check or of tests, the title says it
    )
    aside = [text for text, n in counted if n]
    if report.unit and new + standing + unjudged:
        aside = [f"{standing} of them known of PyTorch"] * bool(standing) + aside
        return _comparisons([*groups["new"], *groups["standing"], *groups["open"]], report.unit), ", ".join(aside)
    aside = [f"{standing} known of PyTorch that fail"] * bool(standing) + aside
    nothing = "Nothing wrong found" if report.unit and not aside else "Nothing new"
    return (fmt.noun(new, "new finding") if new else nothing), ", ".join(aside)


def _comparisons(findings: Sequence[Mapping[str, Any]], unit: str) -> str:
    """How many comparisons failed, by verdict, in how many programs or tests, and what is at fault."""
    counts = Counter(str(finding["verdict"]) for finding in findings)
    said = [fmt.noun(counts[v], v, _PLURALS.get(v, v)) for v in VERDICTS if counts[v]]
    programs = fmt.noun(len({finding["program"] for finding in findings}), unit)
    at_fault = list(dict.fromkeys(_at_fault(finding) for finding in findings))
    left = f" and {fmt.count(len(at_fault) - MOST_NAMED)} more" if len(at_fault) > MOST_NAMED else ""
    return f"{', '.join(said)} in {programs}: {', '.join(at_fault[:MOST_NAMED])}{left}"


def _at_fault(finding: Mapping[str, Any]) -> str:
    """The culprit with the name of its file and its line; what is said where none is named."""
    if not finding["culprit"]:
        return fmt.clip(fmt.clean(str(finding["note"] or finding["op"])).replace("\n", " "), 100)
    line = re.split(r"[\\/]", str(finding["line"] or "").partition(", ")[0])[-1]
    return fmt.clip(f"{finding['culprit']} at {line}" if line else str(finding["culprit"]), 100)


def lead(report: Report) -> str:
    """What the run did and how it ended, in two sentences."""
    frame = report.frame
    total, good = len(frame), settled(frame)
    version = torch_version(report)
    torch = f"PyTorch {version}" if version else "PyTorch"
    asked = modes(frame)
    in_modes = f", in {'mode' if len(asked) == 1 else 'modes'} {', '.join(asked)}" if asked else ""
    if not total and report.ulp:
        return (
            f"No derivative was compared; the error of elementwise operations of {torch} was measured at many points."
        )
    text = (
        f"Every derivative was computed a second time, from the mathematics alone, and set against {torch}: "
        f"{fmt.noun(total, 'comparison')} on {fmt.noun(program_count(report), report.unit or 'program')}{in_modes}."
    )
    if not total:
        return text
    verb = "is" if total - good == 1 else "are"
    rest = f"; the other {fmt.count(total - good)} {verb} listed below" if total > good else ""
    return f"{text} {fmt.percent(good, total)} of them ended with the formula found right{rest}."


def program_count(report: Report) -> int:
    """Metadata's own count of programs, or else the number of distinct cases."""
    found = report.metadata.get("programs")
    return programs(report.frame) if found is None else int(found)


def operation_count(report: Report) -> int:
    """Number of distinct operations that were judged; the callable or test that a check is of is none."""
    frame = report.frame
    return int((frame[~frame["program"].isin(NO_OPERATIONS)] if report.unit else frame)["op"].nunique())


def torch_version(report: Report) -> str | None:
    """Version of torch from `torch_version`, or else from `versions`."""
    found = report.metadata.get("torch_version") or (report.metadata.get("versions") or {}).get("torch")
    return None if found is None else str(found)


def run_facts(report: Report) -> list[tuple[str, str]]:
    """The few figures that say how large the run was."""
    facts = [
        *(
            [
                ("comparisons", fmt.count(len(report.frame))),
                (f"{report.unit or 'program'}s", fmt.count(program_count(report))),
                ("operations", fmt.count(n) if (n := operation_count(report)) else fmt.DASH),
            ]
            if len(report.frame) or not report.ulp
            else [("operations", fmt.count(len({row["call"] for row in report.ulp})))]
        ),
        (
            "allowed / observed error, median",
            ", ".join(f"{d} {fmt.score(x)}" for d, x in slack(report.frame, report.threshold).items()) or fmt.DASH,
        ),
        ("torch", torch_version(report) or fmt.DASH),
        ("seed", fmt.value(report.metadata.get("seed"))),
        ("wall clock", fmt.duration(report.metadata.get("seconds"))),
    ]
    return [(name, text) for name, text in facts if text != fmt.DASH]


def run_details(report: Report) -> list[tuple[str, str]]:
    """All of the metadata, one line a record, versions apart."""
    rows: list[tuple[str, str]] = []
    for name, item in report.metadata.items():
        if name in _TOLD_ABOVE:
            continue
        if isinstance(item, Mapping):
            rows += [(f"{name}: {inner}", fmt.value(found, 2000)) for inner, found in item.items()]
        elif isinstance(item, (list, tuple)):
            rows.append((name, " ".join(fmt.value(part, 2000) for part in item)))
        else:
            rows.append((name.replace("_", " "), fmt.value(item, 2000)))
    if report.threshold is not None:
        rows.append(("threshold of z", fmt.score(report.threshold)))
    return rows
