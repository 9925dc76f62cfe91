"""The pages that are read off the code say what the code says, and name all of it."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from gradwitness.harness.evidence.known import KnownIssue

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("reference_engine", "harness", "scenarios", "reports", "benchmarks")


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """docs/write_pages.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("write_pages", ROOT / "docs" / "write_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_numbers(page: str) -> str:
    """A page without what torch printed: a wrong number, such as one of an overflow, may differ between processors."""
    return re.sub(r"(?m)^torch: \S+", "torch: …", page)


@pytest.mark.parametrize("name", ["findings.md", "to_file.md", "files.md"])
def test_a_written_page_is_what_would_be_written_today(writer: ModuleType, name: str) -> None:
    page = ROOT / "docs" / name
    written, today = (without_numbers(text) for text in (page.read_text(encoding="utf-8"), writer.pages()[page]))
    assert written == today, "run: python docs/write_pages.py"


def test_every_issue_without_a_public_one_has_its_text_to_be_filed_with_what_torch_prints() -> None:
    page = (ROOT / "docs" / "to_file.md").read_text(encoding="utf-8")
    issues = tomllib.loads((ROOT / "harness" / "known_issues.toml").read_text(encoding="utf-8"))["issue"]
    unfiled = [issue for issue in issues if not issue.get("issue")]
    assert page.count("\n## ") == page.count("\nprints\n") == len(unfiled)
    for issue in unfiled:
        assert f"(`{issue['id']}`)" in page, issue["id"]
    for text in re.findall(r"(?s)\nprints\n\n```text\n(.*?)\n```", page):
        number = re.match(r"torch: (\S+) right: (\S+)$", text)
        assert (number and number[1] != number[2]) or "Error" in text, text


def test_every_known_issue_is_found_on_the_page_of_findings_in_table_and_text() -> None:
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    issues = tomllib.loads((ROOT / "harness" / "known_issues.toml").read_text(encoding="utf-8"))["issue"]
    for issue in issues:
        assert f"[{issue['id']}](#{issue['id']})" in page and f"### {issue['id']}\n" in page, issue["id"]


def test_every_folder_with_python_files_has_its_section(writer: ModuleType) -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert folders == {folder for folder, _ in writer.FOLDERS}


def test_every_file_says_what_it_is_for(writer: ModuleType) -> None:
    silent = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py") if not writer.first_sentence(path)]
    assert silent == []


def test_an_issue_without_modes_counts_as_one_of_reverse_mode_and_a_refusal_as_none(writer: ModuleType) -> None:
    def group(**given: tuple[str, ...]) -> int:
        found: int = writer.group_of(KnownIssue("id", ("op",), given.pop("modes", ()), "when", "why", **given))
        return found

    assert [group(), group(modes=("FF",)), group(modes=("R",), verdicts=("raised",))] == [0, 1, 2]
