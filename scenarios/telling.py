"""Tells one pitfall as a page of a textbook, in plain text of 100 columns, with the numbers of this very run."""

from __future__ import annotations

import textwrap
from fractions import Fraction
from importlib.metadata import version

from .collection import FAMILIES, catalogue, family_introduction
from .layout import CODE, WIDTH, block, note, prose, table, wrap
from .observing import Observation, differing, format_numbers, is_same, observe
from .scenario import Numbers, Scenario
from .sources import caption, code_of, repair_of, setting_of

__all__ = [
    "HOW_WE_KNOW",
    "SETTING",
    "changed",
    "compared",
    "given",
    "overview",
    "repaired",
    "repaired_rows",
    "right_numbers",
    "tell",
]

SETTING = "All numbers are float64. `plain(t)` is a copy of t as a list of floats; None stays None."

HOW_WE_KNOW = {
    "the reference engine": (
        "The witness is the reference engine; `ops` and the functions that differentiate are its own: reverse mode "
        "written from the mathematics, on NumPy alone, without any of PyTorch's code."
    ),
    "by hand": "The witness is pencil and paper: no program that differentiates is involved.",
}


def tell(scenario: Scenario) -> str:
    """One pitfall, step by step: symptom, code, PyTorch's numbers, the right ones, the repair, cause and rule.

    The scenario is run once for this page. No line is longer than `WIDTH`.
    """
    seen = observe(scenario)
    kind = f"{scenario.family} / {scenario.id}"
    torch = f"torch {version('torch')}"
    steps: list[tuple[str, list[str]]] = [
        ("The symptom", prose(scenario.symptom)),
        ("The setting", [*prose(SETTING), *block(setting_of(scenario))]),
        ("The code at fault", [*prose(caption(scenario.faulty)), *block(code_of(scenario.faulty), scenario.faulty)]),
        ("What PyTorch gives", given(seen)),
        ("What is right, and how we know", right_numbers(seen)),
        ("The repair", repaired(seen)),
        ("Why it happens", prose(scenario.cause)),
        ("The rule to remember", prose(scenario.fix)),
    ]
    page = [scenario.title, "=" * min(WIDTH, len(scenario.title)), f"{kind}{torch:>{WIDTH - len(kind)}}", ""]
    for number, (heading, body) in enumerate(steps, start=1):
        page += [f"{number}. {heading}", *body, ""]
    page += [
        *note("Shapes", scenario.shapes),
        *note("Source", scenario.source),
        *note("Seen on", scenario.seen_on),
        *note("Try it", f'from gradwitness.scenarios import find; find("{scenario.id}").faulty()'),
        *note("Read next", _next_of(scenario)),
    ]
    return "\n".join(page) + "\n"


def overview() -> str:
    """All pitfalls by family, in reading order, each with its id and title. Nothing is run."""
    scenarios = catalogue().values()
    page = [f"{len(scenarios)} pitfalls of automatic differentiation, in {len(FAMILIES)} families", ""]
    column = max(len(scenario.id) for scenario in scenarios) + 2
    for family in FAMILIES:
        title, introduction = family_introduction(family)
        page += [f"{family}: {title}", *textwrap.wrap(introduction, WIDTH), ""]
        for scenario in scenarios:
            if scenario.family == family:
                page += textwrap.wrap(
                    f"{scenario.id:<{column}}{scenario.title}",
                    WIDTH,
                    initial_indent="  ",
                    subsequent_indent=" " * (column + 2),
                    break_on_hyphens=False,
                )
        page.append("")
    return "\n".join([*page, "`gradwitness learn ID` tells one of them, step by step, with numbers."]) + "\n"


def given(seen: Observation) -> list[str]:
    """PyTorch's outcome, and the warnings that came with it."""
    if isinstance(seen.torch, str):
        lines = [*prose("It stops:"), *wrap(seen.torch, CODE)]
    else:
        lines = table(("", "PyTorch gives"), [(n, format_numbers(v)) for n, v in seen.torch.items()])
    if seen.warnings:
        lines += ["", *prose("It also warns:")]
        for warning in seen.warnings:
            lines += wrap(warning, CODE)
    elif not isinstance(seen.torch, str):
        lines += ["", *prose("No error, no warning.")]
    return lines


def right_numbers(seen: Observation) -> list[str]:
    """The witness, its code, and its numbers beside PyTorch's."""
    scenario = seen.scenario
    lines = [
        *prose(caption(scenario.truth)),
        *prose(HOW_WE_KNOW[scenario.witness]),
        *block(code_of(scenario.truth), scenario.truth),
        "",
    ]
    if isinstance(seen.torch, str):
        rows = [(name, format_numbers(right)) for name, right in seen.right.items()]
        return [*lines, *table(("", "right"), rows)]
    return [*lines, *table(("", "PyTorch gave", "right", ""), compared(seen.torch, seen.right, scenario.same))]


def repaired(seen: Observation) -> list[str]:
    """What the repair changes, and what it gives now."""
    scenario = seen.scenario
    lines = [*prose(caption(scenario.fixed)), *block(repair_of(scenario), scenario.fixed), ""]
    lines += table(("", "now gives", "right", ""), repaired_rows(seen))
    if not seen.shown:
        lines += ["", *prose(changed(seen))]
    return lines


def repaired_rows(seen: Observation) -> list[tuple[str, ...]]:
    """Name, what the repaired form gives, what is right, and whether the two agree."""
    wrong = differing(seen.fixed, seen.right)
    return [
        (name, format_numbers(now), format_numbers(seen.right.get(name)), "differs" if name in wrong else "agrees")
        for name, now in seen.fixed.items()
    ]


def changed(seen: Observation) -> str:
    """What to say where this version of PyTorch no longer behaves as told."""
    if differing(seen.fixed, seen.right):
        return "NOTE: the repaired form is not right on this version of PyTorch. The page is out of date; report it."
    return (
        f"NOTE: on this version of PyTorch the symptom no longer shows as told; it was seen on "
        f"{seen.scenario.seen_on.rstrip('.')}. The cause below is worth knowing all the same."
    )


def compared(torch: Numbers, right: Numbers, same: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Name, PyTorch's numbers, the right ones, and in words how they differ; `same[0]` is what hides the fault."""
    wrong = differing(torch, right)
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys([*right, *torch]):
        remark = _remark(torch.get(name), right.get(name)) if name in wrong else "right"
        if remark == "right" and name in same[:1]:
            remark += ", which hides the fault"
        rows.append((name, format_numbers(torch.get(name)), format_numbers(right.get(name)), remark))
    return rows


def _remark(torch: list[float] | None, right: list[float] | None) -> str:
    """In words, how a wrong answer differs from the right one."""
    if torch is None or right is None or len(torch) != len(right):
        return "<- missing" if torch is None else "<- should not be there"
    if not any(torch):
        return "<- lost: zero"
    pairs = list(zip(torch, right, strict=True))
    if all(p * q < 0 for p, q in pairs):
        return "<- wrong sign"
    ratios = [p / q for p, q in pairs if q != 0]
    # One factor for all entries is worth naming, where it is a small number that tells its origin: a count, a half.
    if len(ratios) == len(right) and is_same(ratios, [ratios[0]] * len(ratios)):
        factor = Fraction(ratios[0]).limit_denominator(4)
        if is_same([float(factor)], ratios[:1]):
            return f"<- {float(factor):g} times the right value"
    wrong = sum(not is_same([p], [q]) for p, q in pairs)
    return f"<- {wrong} of {len(right)} entries wrong" if len(right) > 1 else "<- wrong"


def _next_of(scenario: Scenario) -> str:
    """The pitfall that follows in reading order; after the last one, the first."""
    ids = list(catalogue())
    following = catalogue()[ids[(ids.index(scenario.id) + 1) % len(ids)]]
    return f"{following.id}: {following.title}"
