"""The README keeps its word: its examples print what it says, its commands exist, its links lead somewhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from gradwitness.harness.campaigns.campaign import untested
from gradwitness.harness.judgement.modes import MODES
from gradwitness.reports.verdicts import VERDICTS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
PRINTED = [text for language, text in BLOCKS if language == "text"]
TYPED = [line for language, text in BLOCKS if not language for line in text.splitlines()]
PROGRAMS = {"make", "gradwitness", "python", "pip", "git"}
# A spread is measured with 32 disturbed runs, so z has a standard error of 1/√62 = 13 %; two is five of these.
FACTOR = 2.0
TIMES = re.compile(r"(\S+) spreads of rounding")


def run(*words: str | Path, cwd: Path) -> str:
    """Standard output of this Python with these arguments, which must end with exit code 0."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def typed(program: str) -> list[list[str]]:
    """The commands of the README that start with `program`, without their comments, each as a list of words."""
    inline = re.findall(rf"`({program} [^`]*)`", README)
    lines = [line.partition("#")[0].split() for line in [*TYPED, *inline]]
    return [words for words in lines if words and words[0] == program]


def headings(text: str) -> set[str]:
    """The anchors of a page, as they are made from its headings."""
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    """Targets of the Markdown links of a page that do not leave the repository."""
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    return [target for target in found if not target.startswith(("https://", "http://"))]


def test_the_custom_function_is_named_with_its_line_as_the_readme_prints_it(tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(PYTHON[0], encoding="utf-8")
    shown = run("example.py", cwd=tmp_path).replace(f"{tmp_path.resolve()}/", "").replace(f"{tmp_path}/", "")
    assert TIMES.sub("z", shown) == TIMES.sub("z", PRINTED[0])
    z, z_shown = (float(TIMES.search(text).group(1)) for text in (PRINTED[0], shown))
    assert 1.0 / FACTOR <= z_shown / z <= FACTOR
    line = int(re.search(r"culprit: CubeBackward at example.py:(\d+)", shown).group(1))
    assert "def backward" in "".join(PYTHON[0].splitlines()[line - 1 : line + 1])


def test_the_custom_function_agrees_once_its_factor_is_right(tmp_path: Path) -> None:
    assert "3.000003" in PYTHON[0]
    (tmp_path / "example.py").write_text(PYTHON[0].replace("3.000003", "3.0"), encoding="utf-8")
    assert run("example.py", cwd=tmp_path).startswith("agree: ")


def test_the_pytest_example_passes(tmp_path: Path) -> None:
    (tmp_path / "test_gradients.py").write_text(PYTHON[1], encoding="utf-8")
    assert "2 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_gradients.py", cwd=tmp_path)


@pytest.mark.parametrize("example", [2, 3], ids=["Value", "array engine"])
def test_the_examples_of_the_engines_print_what_the_readme_shows(example: int, tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(PYTHON[example], encoding="utf-8")
    assert run("engine.py", cwd=tmp_path) == PRINTED[example]


def test_the_warning_for_an_untested_torch_is_quoted_word_by_word() -> None:
    assert PRINTED[1].strip() == f"warning: {untested('2.12.0')}"


def test_the_supported_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "torch>=2.9,<2.15" in project["dependencies"] and "torch 2.9 to 2.14" in README
    assert project["requires-python"] == ">=3.11" and "Python 3.11" in README


def test_no_example_is_left_untried() -> None:
    assert (len(PYTHON), len(PRINTED)) == (4, 4)
    assert {line.split()[0] for line in TYPED if line.strip()} <= PROGRAMS


def test_the_code_that_contributing_quotes_stands_in_the_package() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    package = [path.read_text(encoding="utf-8") for path in ROOT.glob("*/*/*.py")]
    quoted = re.findall(r"^```python\n(?:#[^\n]*\n)?(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(quoted) == 2
    for code in quoted:
        assert any(code in text for text in package), code


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", pages, flags=re.MULTILINE))
    assert {"report", "test"} <= named <= targets


@pytest.mark.parametrize("word", sorted({words[1] for words in typed("gradwitness")}))
def test_every_subcommand_explains_itself_and_has_the_flags_that_are_typed(word: str, tmp_path: Path) -> None:
    page = run("-m", "gradwitness.harness.cli", word, "--help", cwd=tmp_path)
    assert f"Usage: gradwitness {word}" in page
    flags = {flag for words in typed("gradwitness") if words[1] == word for flag in words if flag.startswith("--")}
    assert flags <= set(re.findall(r"--\w+", page))


def test_the_lesson_and_the_pitfall_that_the_readme_names_are_told(tmp_path: Path) -> None:
    ids = {words[2] for words in typed("gradwitness") if words[1] == "learn" and len(words) > 2} - {"--html"}
    assert len(ids) >= 2
    for name in ids:
        assert name in run("-m", "gradwitness.harness.cli", "learn", name, cwd=tmp_path)


def test_every_verdict_and_every_mode_is_explained() -> None:
    pages = {"README": README, "verdicts": (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")}
    for page, text in pages.items():
        assert [name for name in (*VERDICTS, *MODES) if f"`{name}`" not in text] == [], page


def test_every_fault_of_torch_that_the_readme_names_is_a_known_issue_in_these_modes() -> None:
    entries = tomllib.loads((ROOT / "harness" / "known_issues.toml").read_text(encoding="utf-8"))["issue"]
    modes = {entry["id"]: " ".join(entry["modes"]) or "all" for entry in entries}
    named = re.findall(r"^\| `.*?\| ([A-Zal ]+) \| .* \| \[([\w-]+)\]\(\S+\) \|$", README, flags=re.MULTILINE)
    assert len(named) >= 5
    for shown, name in named:
        assert sorted(shown.split()) == sorted(modes.get(name, "no such entry").split()), name


def test_every_count_that_the_readme_takes_from_a_page_stands_on_that_page() -> None:
    readme = " ".join(README.split())
    pages = ("census", "scoreboard", "calibration_half")
    census, scoreboard, half = ((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in pages)
    counts = re.search(r"^(.+) wrong ones found; (.+) right ones let pass; (.+) conventions\.$", census, re.MULTILINE)
    wrong, right, documented = counts.groups()
    assert f"[{wrong} wrong gradients, while {right} repaired ones and {documented} conventions pass]" in readme
    (cases,) = re.findall(r"(\d+ cases of \d+ faults)", scoreboard)
    assert f"{cases}, none of them missed" in readme
    asked = re.findall(r"^\| float.*? \(\d+ cases\).*\|$", scoreboard, re.MULTILINE)
    assert len(asked) == 3 and all(row in README.splitlines() for row in asked)
    classes = scoreboard.partition("## By class and size")[2].partition("## ")[0]
    found = [row.split("|")[6].strip() for row in classes.splitlines() if re.match(r"\| .*\| float\d+ \|", row)]
    assert len(found) > 16 and set(found) == {"100 %"}
    programs = re.search(r"^\| programs \| ([\d,]+) \|", half, re.MULTILINE).group(1)
    assert f"({programs} programs in bfloat16, float16 and under autocast, no false alarm)" in readme
    assert re.search(r"^\| false alarms \| 0 \|", half, re.MULTILINE)
    shares = re.findall(r"^\| the same in \d+ well conditioned entries \| ([\d.]+) % \|", half, re.MULTILINE)
    assert len(shares) == 3 and all(float(share) > 99.0 for share in shares)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_heading(page: Path) -> None:
    for target in links(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            assert anchor in headings(file.read_text(encoding="utf-8")), f"{page.name}: {target} has no such heading"
