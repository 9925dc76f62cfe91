"""Writes the pages that are read off the code: findings.md and to_file.md from the known issues, files.md from the
first lines of the modules.

python docs/write_pages.py
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradwitness.harness.evidence.known import KnownIssue, load
from gradwitness.harness.evidence.short_scripts import short_script

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ORIGIN = "<!-- Written by `python docs/write_pages.py`; change {source} instead. -->"

GROUPS = (
    ("Wrong in reverse mode", "These reach ordinary training: `backward` gives the wrong number, at the inputs named."),
    (
        "Wrong in forward mode or a higher derivative only",
        "The plain reverse gradient is right, so a check of `backward` cannot see these.",
    ),
    ("Refused", "PyTorch raises where a derivative exists. The witness has it; nothing wrong is returned."),
)

FOLDERS = (
    ("reference_engine", "The witness. Imports nothing of ours and never torch."),
    ("reference_engine/primitives", "The primitives, one module a family, each primitive one declaration."),
    ("harness", "The comparison, as users meet it: `check`, the commands, the strategies. May import all others."),
    ("harness/recorder", ""),
    ("harness/judgement", ""),
    ("harness/generation", ""),
    ("harness/campaigns", ""),
    ("harness/evidence", ""),
    ("harness/arbitration", ""),
    ("harness/faults", ""),
    ("harness/plugin", ""),
    ("harness/runners", ""),
    ("harness/lowering", "What ATen operations mean in primitives, one module a family."),
    ("scenarios", "The pitfalls: how they are collected, run and told. May import reference_engine."),
    ("scenarios/accumulation", ""),
    ("scenarios/detach", ""),
    ("scenarios/inplace", ""),
    ("scenarios/lessons", "The course: the form of a lesson, its order and page, and one module a lesson."),
    ("reports", "From a pandas frame to pages and files. Imports nothing of ours and never torch."),
    ("benchmarks", "Measurements with their records in docs/. Not installed."),
)


def group_of(issue: KnownIssue) -> int:
    """Index into GROUPS. No modes means all of them; the mode "R" alone is what training uses."""
    if issue.verdicts == ("raised",):
        return 2
    return 0 if not issue.modes or "R" in issue.modes else 1


def operations_of(issue: KnownIssue) -> list[str]:
    """Names of an issue's operations as they are called in Python, each once; ATen names where there are no others."""
    called = [o for o in issue.operations if not o.startswith("aten::")] or issue.operations
    bare = [o.removeprefix("torch.").removeprefix("nn.functional.").removesuffix("*") for o in called]
    return list(dict.fromkeys(o.removesuffix(".") for o in bare))


def modes_of(issue: KnownIssue) -> str:
    """The modes, and the dtypes and runners where the issue is narrowed to some."""
    return ", ".join([" ".join(issue.modes) or "all", *issue.dtypes, *issue.runners])


def link(reference: str) -> str:
    """owner/name#number as a link; other text, and none, as it is."""
    place, _, number = reference.partition("#")
    return f"[{reference}](https://github.com/{place}/issues/{number})" if number.isdigit() else reference


@functools.cache
def printed(script: str) -> str:
    """What a script prints with this torch, or what it raises."""
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said):
        warnings.simplefilter("ignore")
        try:
            exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})  # the text is our own
        except Exception as error:
            return f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return said.getvalue().strip()


def known(versions: Sequence[str]) -> str:
    """Versions of torch in words."""
    return " and ".join(versions)


def findings(issues: Sequence[KnownIssue]) -> str:
    """The page of known issues: a table for each group, then one section an issue."""
    versions = Counter(v for issue in issues for v in issue.seen)
    seen = known([f"{number} in torch {v}" for v, number in sorted(versions.items())])
    unfiled = sum(not issue.issue for issue in issues)
    untried = sum(issue.workaround is None for issue in issues)
    lines = [
        "# What it found in PyTorch",
        "",
        ORIGIN.format(source="harness/known_issues.toml"),
        "",
        f"{len(issues)} known issues: {seen} were seen, on the CPU. Each has a closed form or an argument that says "
        "what is right, a script that imports torch alone and prints both numbers, and what to do until it is "
        "repaired. [Modes](../README.md#modes-how-pytorch-is-asked) are written outermost first. "
        "`tests/harness/test_known_issues.py` asks torch and the witness for each, runs each script, and sees that "
        f"torch gives the right number when it is asked as the last column says (for all but {untried}); so a repair "
        "in PyTorch is noticed. "
        f"No public issue is known for {unfiled} of them: [texts ready to be filed](to_file.md).",
    ]
    details: list[str] = []
    for number, (title, meaning) in enumerate(GROUPS):
        members = [issue for issue in issues if group_of(issue) == number]
        if not members:
            continue
        lines += ["", f"## {title}", "", meaning, ""]
        lines += ["| operation | modes | when | script | public issue | instead |", "|---|---|---|---|---|---|"]
        for issue in members:
            names = ", ".join(f"`{o}`" for o in operations_of(issue))
            cells = [names, modes_of(issue), issue.condition, f"[{issue.id}](#{issue.id})"]
            cells += [link(issue.issue) or "none known", issue.instead]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        for issue in members:
            details += ["", f"### {issue.id}", "", f"Why: {issue.reason}.", ""]
            if issue.proof is not None:
                details += ["```python", short_script(issue.proof).rstrip(), "```", ""]
            details += [f"Instead: {issue.instead}. Seen in torch {known(issue.seen)}. Public issue: "]
            details[-1] += f"{link(issue.issue) or 'none known'}."
    return "\n".join([*lines, "", "## The scripts", *details, ""])


def title_of(issue: KnownIssue) -> str:
    """The headline of a report upstream: operation, what is wrong, how it is asked, when."""
    what = {"nan": "NaN", "nan or 0": "NaN or 0"}.get(issue.answer, "wrong number")
    what = "no derivative" if group_of(issue) == 2 else what
    asked = {"": "value", "R": "backward", "F": "forward-mode derivative"}.get(issue.proof.mode if issue.proof else "R")
    asked = asked or f"second derivative ({issue.proof.mode if issue.proof else ''})"
    return f"{operations_of(issue)[0]}: {what} in the {asked}; {issue.condition}"


def to_file(issues: Sequence[KnownIssue]) -> str:
    """A report ready to be filed upstream for each issue of which no public one is known."""
    lines = [
        "# Ready to be filed",
        "",
        ORIGIN.format(source="harness/known_issues.toml"),
        "",
        "No public issue is known for what follows. Each section is the text of one: look once more whether it was "
        "filed since, run the script on the newest torch, and paste. In a mode string R is reverse and F forward, "
        "outermost first: FR is `torch.func.jvp` of `torch.func.grad`.",
    ]
    for issue in issues:
        if issue.issue or issue.proof is None:
            continue
        script = short_script(issue.proof)
        lines += ["", f"## {title_of(issue)}", "", f"{issue.reason[0].upper()}{issue.reason[1:]}.", ""]
        lines += ["```python", script.rstrip(), "```", "", "prints", "", "```text", printed(script), "```", ""]
        lines += [f"Concerns: {', '.join(f'`{o}`' for o in operations_of(issue))}; modes {modes_of(issue)}.", ""]
        lines += [f"Until it is repaired: {issue.instead}.", ""]
        lines += [f"Versions: torch {known(issue.seen)}, CPU, Linux x86-64. Found by gradwitness (`{issue.id}`)."]
    return "\n".join([*lines, ""])


def first_sentence(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")


def files() -> str:
    """The page of all modules: one line each, in the words of the module itself."""

    def section(folder: str, meaning: str) -> Iterator[str]:
        yield from ("", f"## {folder}/", "")
        if meaning:
            yield from (meaning, "")
        yield from ("| file | holds |", "|---|---|")
        for path in sorted((ROOT / folder).glob("*.py")):
            yield f"| [{path.name}](../{folder}/{path.name}) | {first_sentence(path)} |"

    head = ["# Every file", "", ORIGIN.format(source="the first line of the module")]
    return "\n".join([*head, *(line for folder in FOLDERS for line in section(*folder)), ""])


def pages() -> dict[Path, str]:
    """The path and the text of each page."""
    issues = load()
    return {
        DOCS / "findings.md": findings(issues),
        DOCS / "to_file.md": to_file(issues),
        DOCS / "files.md": files(),
    }


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
        print(page.relative_to(ROOT))
