"""The HTML and Markdown pages: nothing escapes its place, nothing is loaded, nothing is dropped unsaid."""

import html.parser
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gradwitness.reports import VERDICTS, frame_from_rows
from gradwitness.reports import formatting as fmt
from gradwitness.reports.content import FINDING_KEYS, PITFALL_KEYS, Report
from gradwitness.reports.html_page import MAP_ROWS, render_html
from gradwitness.reports.markdown_page import MAX_BYTES, escape, render_markdown
from hypothesis import given, settings
from hypothesis import strategies as st

NASTY = (
    "<script>alert(1)</script>'\"><img src=x onerror=y>|`a`\n# h\n</pre></style>\x1b[31m\u202e\x00&amp; ünï 𝒙 {{ 7*7 }}"
)
VOID = {"meta", "wbr", "br", "img", "link", "input", "hr"}


class Tags(html.parser.HTMLParser):
    """Collects every start tag with its attributes and checks that all elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def nasty_report(text: str) -> Report:
    """A report that holds `text` in every place a user's or an operation's text can reach."""
    column = dict.fromkeys(
        ("source", "op", "program", "mode", "runner", "dtype", "wrt", "entry", "message", "known"), text
    )
    rows: list[dict[str, Any]] = [{"case": text, "verdict": name, "z": 1.0, **column} for name in VERDICTS]
    finding = dict.fromkeys(FINDING_KEYS, text) | {"id": "f", "verdict": "mismatch", "z": 1.0, "fails": True}
    finding |= {"equations": 1, "elements": 2, "case": {text: text}}
    return Report.of(
        frame_from_rows(rows),
        {"warning": text, "torch_version": text, "command": [text], text: text, "versions": {text: text}},
        [finding, finding | {"id": "g", "fails": False}, finding | {"id": "h", "fails": False, "known": None}],
        [
            {"name": text, "source": text, "status": "compared", "verdict": "agree", "comparisons": 1},
            {"name": text, "source": text, "status": "not covered", "reason": text},
        ],
        {"step": [0], "z": [1.0], "loss_torch": [1.0], "loss_witness": [1.0], "threshold": 5.0, "title": text},
        [dict.fromkeys(PITFALL_KEYS, text) | {"shown": True}],
    )


@pytest.fixture(scope="module")
def page(fake: SimpleNamespace) -> str:
    return render_html(Report.of(**fake.pieces(6000)))


def test_the_page_is_well_formed_and_its_identifiers_are_unique(page: str) -> None:
    tags = Tags(page).tags
    names = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in tags:
        for key in ("href", "xlink:href"):
            target = attributes.get(key) or ""
            if target.startswith("#"):
                assert target[1:] in names, f"{target} leads nowhere"


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    for tag, attributes in Tags(page).tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
        assert not {key for key in attributes if key.startswith("on") or key in ("src", "srcset", "action")}
    assert "@import" not in page and not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_headings_come_in_order_and_there_is_a_skip_link(page: str) -> None:
    levels = [int(tag[1]) for tag, _ in Tags(page).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert '<a class="skip" href="#main">' in page


def test_no_colour_is_written_into_a_figure(page: str) -> None:
    figures = re.findall("<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(figures) == 4  # two plots, each in two widths
    for figure in figures:
        assert not re.search("#[0-9a-f]{6}", figure)
        assert "var(--accent)" in figure and 'role="img"' in figure


def test_every_verdict_is_shown_by_name_beside_its_colour(page: str) -> None:
    for cell in re.findall('<td class="tone-[^>]*>.*?</td>', page):
        assert re.search('<span class="hidden">(' + "|".join(VERDICTS) + ")</span>", cell)


def test_findings_are_whole(fake: SimpleNamespace, page: str) -> None:
    for finding in fake.findings():
        card = page[page.index(f'id="finding-{finding["id"]}"') :].split("</article>")[0]
        for key in ("op", "culprit", "note", "line", "known"):
            if finding[key]:
                assert finding[key] in card.replace("<wbr>", "")
        assert fmt.value(finding["torch_value"]) in card and fmt.value(finding["right_value"]) in card
        assert finding["script"].splitlines()[2] in card.replace("&#39;", "'")


def test_only_operations_that_do_not_always_agree_have_a_row_in_the_map(page: str) -> None:
    section = page[page.index('id="map"') : page.index('id="spread"')]
    rows = section.count('<th scope="row"')
    agreeing = section.count("<li>", section.index('class="names"'))
    assert rows + agreeing == 300
    assert MAP_ROWS < rows < 60


def test_user_text_is_only_ever_text_in_html() -> None:
    quiet, loud = render_html(nasty_report("quiet")), render_html(nasty_report(NASTY))
    assert [tag for tag, _ in Tags(loud).tags if tag != "wbr"] == [tag for tag, _ in Tags(quiet).tags if tag != "wbr"]
    assert "<script" not in loud and "<img" not in loud
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", loud)
    assert "{{ 7*7 }}" in loud and "𝒙" in loud and r"\x1b[31m" in loud


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//host/x", "see issue 3", ""])
def test_only_web_addresses_and_issue_numbers_become_links(address: str) -> None:
    assert fmt.link(address) is None


def test_issue_numbers_become_links() -> None:
    assert fmt.link("pytorch/pytorch#196682") == "https://github.com/pytorch/pytorch/issues/196682"
    assert fmt.link("see https://example.org/a?b=1.") == "https://example.org/a?b=1"


@given(st.text(max_size=40))
def test_a_markdown_cell_stays_one_cell(text: str) -> None:
    cell = escape(text)
    assert "\n" not in cell
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`<>*_\[\]]", cell)


def test_user_text_adds_no_structure_to_markdown() -> None:
    quiet, loud = render_markdown(nasty_report("quiet")), render_markdown(nasty_report(NASTY))

    def shape(text: str) -> list[int]:
        return [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith(("|", "#"))]

    table, script = loud.split("<details>")[0], loud.split("<details>")[1]
    assert shape(table) == shape(quiet.split("<details>")[0])
    assert "<script" not in table.replace(r"\<script", "")
    assert "\n```python\n" in script or "\n````python\n" in script


@pytest.mark.parametrize("scale", [1, 40])
def test_markdown_always_fits_and_says_what_it_left_out(fake: SimpleNamespace, scale: int) -> None:
    pieces = fake.pieces(2000)
    pieces["coverage"] = pieces["coverage"] * scale
    pieces["pitfalls"] = [dict(item, title="ü|" * 500) for item in pieces["pitfalls"]] * scale
    pieces["findings"] = [
        dict(f, id=f"{f['id']}{i}", note="|" * 999) for i in range(scale * 8) for f in pieces["findings"]
    ]
    pieces["metadata"]["warning"] = ["w" * 900] * (9 * scale)
    text = render_markdown(Report.of(**pieces))
    assert len(text.encode()) <= MAX_BYTES
    new = [f for f in pieces["findings"] if f["fails"]]
    section = text[text.index("## New findings") :].split("\n\n")
    shown = sum(line.startswith("| ") for line in section[1].splitlines()) - 2
    left = re.match("… and ([0-9,]+) more row", section[2])
    assert shown + (int(left[1].replace(",", "")) if left else 0) == len(new)
    assert (left is not None) == (scale > 1)
    quoted, unquoted = text.count("<details>"), re.search("… and ([0-9,]+) scripts? not quoted", text)
    assert quoted + (int(unquoted[1].replace(",", "")) if unquoted else 0) == len(new)


@settings(max_examples=200)
@given(st.floats())
def test_a_shown_value_reads_back_equal(x: float) -> None:
    found = float(fmt.value(x))
    assert found == x or (found != found and x != x)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_share_is_whole_only_when_it_is(part: int, whole: int) -> None:
    part = min(part, whole)
    shown = fmt.percent(part, whole)
    assert (shown == "100 %") == (whole > 0 and part == whole)
    assert (shown == "0 %") == (whole > 0 and part == 0)


@given(st.text())
def test_cleaned_text_can_be_written_and_holds_no_control_character(text: str) -> None:
    found = fmt.clean(text)
    found.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", found)
    assert fmt.clean(found) == found


def test_scripts_are_quoted_byte_for_byte_in_their_file(fake: SimpleNamespace, written: Path) -> None:
    for finding in fake.findings():
        assert (written / "findings" / finding["id"] / "repro.py").read_text("utf-8") == finding["script"]
