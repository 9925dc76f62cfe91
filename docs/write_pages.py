"""Writes the two pages that are read off the code: findings.md from the known issues, files.md from the first lines.

python docs/write_pages.py
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ORIGIN = "<!-- Written by `python docs/write_pages.py`; change {source} instead. -->"

GROUPS = (
    ("Wrong in reverse mode", "These reach ordinary training: `backward` gives the wrong number, at the inputs named."),
    (
        "Wrong in forward mode or a second derivative only",
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


def group_of(issue: Mapping[str, Any]) -> int:
    """Index into GROUPS. No modes means all of them; the mode "R" alone is what training uses."""
    if issue.get("verdicts", ["mismatch"]) == ["raised"]:
        return 2
    return 0 if not issue.get("modes") or "R" in issue["modes"] else 1


def operations_of(issue: Mapping[str, Any]) -> list[str]:
    """Names of an issue's operations as they are called in Python, each once; ATen names where there are no others."""
    called = [o for o in issue["operations"] if not o.startswith("aten::")] or issue["operations"]
    bare = [o.removeprefix("torch.").removeprefix("nn.functional.").removesuffix("*") for o in called]
    return list(dict.fromkeys(o.removesuffix(".") for o in bare))


def modes_of(issue: Mapping[str, Any]) -> str:
    """The modes, and the dtypes and runners where the issue is narrowed to some."""
    narrowed = [*issue.get("dtypes", ()), *issue.get("runners", ())]
    return ", ".join([" ".join(issue.get("modes", ())) or "all", *narrowed])


def link(reference: str) -> str:
    """owner/name#number as a link; other text, and none, as it is."""
    place, _, number = reference.partition("#")
    return f"[{reference}](https://github.com/{place}/issues/{number})" if number.isdigit() else reference


def call(proof: Mapping[str, Any]) -> str:
    """The smallest call of an issue in one sentence."""
    named = [f"{name} = {value}" for name, value in zip("xyzw", proof["inputs"], strict=False)]
    given = [f"{key} = {proof[key]}" for key in ("c", "t", "s") if key in proof]
    asked = f"mode {proof['mode']}" if proof["mode"] else "the value itself"
    asked += f" under the runner `{proof['runner']}`" if proof.get("runner") else ""
    named += [f"{name} = `{text}`" for name, text in proof.get("define", {}).items()]
    place = [f"entry {proof['entry']}"] if proof.get("entry") else []
    place += [f"of answer {proof['answer']}"] if proof.get("answer") else []
    dtype = [proof["dtype"]] if proof.get("dtype", "float64") != "float64" else []
    right = f"right is `{proof['right']}`" if proof.get("right") else f"raises “{proof.get('raises', '')}”"
    return f"`{proof['call']}` at {', '.join([*named, *dtype])}; {', '.join([asked, *given, *place])}: {right}."


def findings(issues: Sequence[Mapping[str, Any]]) -> str:
    """The page of known issues: a table for each group, then one section an issue."""
    versions = ", ".join(sorted({v for issue in issues for v in issue.get("seen", ())}))
    lines = [
        "# What it found in PyTorch",
        "",
        ORIGIN.format(source="harness/known_issues.toml"),
        "",
        f"{len(issues)} known issues, seen in torch {versions} on the CPU. Each has a closed form or an argument that "
        "says what is right, and the smallest call that shows it: directions and cotangents are ones where none are "
        "given, and right values are closed forms. [Modes](../README.md#modes-how-pytorch-is-asked) are written "
        "outermost first. `tests/harness/test_known_issues.py` asks both torch and the witness for each, so a repair "
        "in PyTorch is noticed.",
    ]
    details: list[str] = []
    for number, (title, meaning) in enumerate(GROUPS):
        members = [issue for issue in issues if group_of(issue) == number]
        if not members:
            continue
        lines += ["", f"## {title}", "", meaning, "", "| operation | modes | when | issue |", "|---|---|---|---|"]
        for issue in members:
            names = ", ".join(f"`{o}`" for o in operations_of(issue))
            condition = issue["condition"].replace("|", "\\|")
            lines.append(f"| {names} | {modes_of(issue)} | {condition} | [{issue['id']}](#{issue['id']}) |")
        for issue in members:
            details += ["", f"### {issue['id']}", ""]
            details.append(f"Why: {issue['reason']}.".replace("|", "\\|"))
            if "proof" in issue:
                details += ["", f"Smallest call: {call(issue['proof'])}"]
            details += ["", f"Public issue: {link(issue.get('issue', '')) or 'none known'}."]
    return "\n".join([*lines, "", "## The arguments", *details, ""])


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
    """The path and the text of both pages."""
    source = (ROOT / "harness" / "known_issues.toml").read_text(encoding="utf-8")
    return {DOCS / "findings.md": findings(tomllib.loads(source)["issue"]), DOCS / "files.md": files()}


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
        print(page.relative_to(ROOT))
