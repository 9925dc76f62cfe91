"""The sentences at the top of a report, shared by HTML and Markdown."""

from collections.abc import Mapping
from typing import Any

from . import formatting as fmt
from .content import Report, finding_group
from .views import modes, programs, settled, slack

_TOLD_ABOVE = ("warning", "programs", "threshold")


def groups_of(report: Report) -> dict[str, list[Mapping[str, Any]]]:
    """The findings by group: new, noted, known."""
    groups: dict[str, list[Mapping[str, Any]]] = {"new": [], "noted": [], "known": []}
    for finding in report.findings:
        groups[finding_group(finding)].append(finding)
    return groups


def headline(report: Report) -> tuple[str, str]:
    """The result in a few words, and an aside to it."""
    groups = groups_of(report)
    new, noted, known = (len(groups[name]) for name in ("new", "noted", "known"))
    if not len(report.frame):
        if report.ulp:
            return f"Accuracy of {fmt.noun(len({row['call'] for row in report.ulp}), 'operation')} measured", ""
        return "Nothing was compared", ""
    aside = [text for text, n in ((f"{known} known", known), (f"{noted} noted", noted)) if n]
    return (fmt.noun(new, "new finding") if new else "Nothing new"), ", ".join(aside)


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
        f"{fmt.noun(total, 'comparison')} on {fmt.noun(program_count(report), 'program')}{in_modes}."
    )
    if not total:
        return text
    rest = f"; the other {fmt.count(total - good)} are listed below" if total > good else ""
    return f"{text} {fmt.percent(good, total)} of them ended with the formula found right{rest}."


def program_count(report: Report) -> int:
    """Metadata's own count of programs, or else the number of distinct cases."""
    found = report.metadata.get("programs")
    return programs(report.frame) if found is None else int(found)


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
                ("programs", fmt.count(program_count(report))),
                ("operations", fmt.count(int(report.frame["op"].nunique()))),
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
