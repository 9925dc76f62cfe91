"""The pages of the course: what is escaped, what is marked, which folder is accepted, and that it is all or nothing."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from gradwitness.reports import ReportPathError
from gradwitness.reports import publish as publishing
from gradwitness.reports.course_content import Code, Course, Exhibit, Family, Grid, LessonPage, PitfallPage
from gradwitness.reports.course_site import MANIFEST, accept_folder, render_course, write_course
from gradwitness.reports.figures import Plot
from gradwitness.reports.highlighting import change_html, code_html, prose_html, verbatim_html

EVIL = "<script>alert(1)</script>&\"'\x1b"
SAFE = "&lt;script&gt;alert(1)&lt;/script&gt;&amp;"


def lesson(id: str = "one", text: str = "A text.", **changes) -> LessonPage:
    code, grid = Code(text, text, text), Grid(("", text), ((text, text),))
    page = LessonPage(
        *(id, text, text, text, (text, text), code, ((text, code),), grid, (text,), (Exhibit(text, text=text),)),
        *(text, 0.25, 0.005, text, grid, text, ("trap",)),
    )
    return dataclasses.replace(page, **changes)


def pitfall(id: str = "trap", text: str = "A text.", **changes) -> PitfallPage:
    code, grid = Code(text, text, text), Grid(("", text), ((text, text),))
    page = PitfallPage(
        *(id, text, "family", text, code, code, None, grid, (text,), code, text, grid),
        *(Code(text, text, text, is_change=True), grid, text, text, text, text, text, text),
    )
    return dataclasses.replace(page, **changes)


def course(text: str = "A text.", lessons=None, pitfalls=None) -> Course:
    return Course(
        "2.13.0",
        (lesson(text=text),) if lessons is None else lessons,
        (Family("family", text, text),),
        (pitfall(text=text),) if pitfalls is None else pitfalls,
    )


def pages(made: Course) -> dict[str, str]:
    return {name: content.decode() for name, content in render_course(made).items()}


def test_every_text_is_escaped_on_every_page():
    for name, page in pages(course(EVIL)).items():
        if name != MANIFEST:
            body = page[page.index("<body") :]
            assert body.count("<script>") == 1, name  # the page's own, which the policy names by its digest
            assert "alert(1)</script>&amp;" not in body.replace(SAFE, ""), name
            assert SAFE in body and "\x1b" not in page, name


def test_the_titles_tell_pages_apart_and_the_language_is_named():
    for page in pages(course()).values():
        if page.startswith("<"):
            assert page.startswith('<!doctype html>\n<html lang="en">')
            assert len(re.findall(r"<title>[^<]+</title>", page[: page.index("<body")])) == 1


def test_the_policy_allows_the_pages_own_script_alone():
    import base64
    import hashlib

    for name, page in pages(course()).items():
        if name != MANIFEST:
            (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';" in page


def test_highlighting_marks_words_and_changes_none():
    source = '\n\ndef f(x):\n    return "<b>" + x  # & so on\n'
    marked = code_html(source)
    assert 'class="t-k">def' in marked and "t-c1" in marked
    words = re.sub(r"<[^>]+>", "", marked).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    # The first line end is dropped by <pre>; the last one ends a line that is there.
    assert words.replace("&quot;", '"').replace("&#39;", "'")[1:].rstrip("\n") == source.rstrip("\n")


def test_a_change_is_marked_line_by_line_and_keeps_its_signs():
    marked = change_html("  def f():\n-     a = 1\n+     a = 2")
    assert re.findall(r'<span class="line (\w+)">(..)', marked) == [("kept", "  "), ("gone", "- "), ("come", "+ ")]


def test_text_between_backticks_is_code_and_issues_and_addresses_are_links():
    assert prose_html("call `f(<x>)` now") == "call <code>f(&lt;x&gt;)</code> now"
    assert prose_html("owner/name#12.") == '<a href="https://github.com/owner/name/issues/12">owner/name#12</a>.'
    assert prose_html("see https://example.org/a?b=1, c") == (
        'see <a href="https://example.org/a?b=1">https://example.org/a?b=1</a>, c'
    )
    assert prose_html('https://example.org/"onclick=x').count('"') == 2
    assert prose_html("a ` alone") == "a ` alone"


def test_verbatim_text_keeps_its_first_line_end():
    assert verbatim_html("\n<x>") == "\n\n&lt;x&gt;"


def test_a_drawing_and_a_plot_are_put_in_as_they_are():
    shown = (
        Exhibit("Drawn", drawing='<svg id="d"></svg>'),
        Exhibit("Plot", plot=Plot('<svg id="w"></svg>', '<svg id="n"></svg>', ("A fact.",))),
    )
    page = pages(course(lessons=(lesson(exhibits=shown),)))["lesson-one.html"]
    assert '<div class="drawing"><svg id="d"></svg></div>' in page
    assert (
        '<div class="wide"><svg id="w"></svg></div>' in page and '<div class="narrow"><svg id="n"></svg></div>' in page
    )
    assert "Plot. A fact." in page


def test_the_exercise_is_a_field_that_scripts_show_and_an_answer_that_is_folded():
    page = pages(course())["lesson-one.html"]
    assert re.search(r'<form id="judge" hidden data-answer="0.25" data-within="0.005">', page)
    assert re.search(r'<details id="answer"><summary>Show the answer</summary>', page)


def test_an_error_of_pytorch_stands_in_place_of_its_numbers():
    page = pages(course(pitfalls=(pitfall(stopped="RuntimeError: no", given=None),)))["pitfall-trap.html"]
    assert "It stops:" in page and "RuntimeError: no" in page and "No error, no warning." not in page
    quiet = pages(course(pitfalls=(pitfall(warnings=()),)))["pitfall-trap.html"]
    assert "No error, no warning." in quiet and "It also warns:" not in quiet


def test_a_wrong_row_is_said_in_words_beside_its_colour():
    grid = Grid(
        ("", "PyTorch gave", "right", ""), (("w", "6", "3", "<- 2 times the right value"), ("y", "1", "1", "right"))
    )
    page = pages(course(pitfalls=(pitfall(compared=grid),)))["pitfall-trap.html"]
    assert '<td class="remark wrong"><span aria-hidden="true">← </span>2 times the right value</td>' in page
    assert '<td class="remark">right</td>' in page


def test_lessons_and_pitfalls_form_one_chain():
    made = pages(course(lessons=(lesson("a"), lesson("b")), pitfalls=(pitfall("trap"), pitfall("last"))))
    ways = {name: re.findall(r'<link rel="(\w+)" href="([^"]+)">', page) for name, page in made.items()}
    assert ways["index.html"] == [("next", "lesson-a.html")]
    assert ways["lesson-a.html"] == [("prev", "index.html"), ("next", "lesson-b.html")]
    assert ways["lesson-b.html"] == [("prev", "lesson-a.html"), ("next", "pitfall-trap.html")]
    assert ways["pitfall-last.html"] == [("prev", "pitfall-trap.html"), ("next", "index.html")]


def test_the_same_course_gives_the_same_bytes():
    assert render_course(course()) == render_course(course())


def test_a_course_without_lessons_is_an_index_alone():
    assert set(render_course(course(lessons=(), pitfalls=()))) == {"index.html", MANIFEST}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_an_empty_and_an_earlier_folder_are_accepted_and_old_pages_go(tmp_path):
    out = tmp_path / "deep" / "site"
    assert write_course(course(lessons=(lesson("old"),)), out) == out / "index.html"
    assert "lesson-old.html" in names(out)
    write_course(course(), out)
    assert names(out) == [MANIFEST, "index.html", "lesson-one.html", "pitfall-trap.html"]
    (tmp_path / "empty").mkdir()
    write_course(course(), tmp_path / "empty")
    assert names(tmp_path / "empty") == names(out)
    assert names(tmp_path) == ["deep", "empty"]


@pytest.mark.parametrize(
    "manifest", [None, "no json", "[]", "{}", '{"site": "another", "files": ["mine.html"]}', "null"]
)
def test_a_folder_with_anything_else_in_it_is_refused_and_left_as_it_was(tmp_path, manifest):
    (tmp_path / "mine.html").write_text("mine")
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest)
    before = names(tmp_path)
    with pytest.raises(ReportPathError, match=r"it holds .*'mine.html'"):
        write_course(course(), tmp_path)
    assert names(tmp_path) == before and (tmp_path / "mine.html").read_text() == "mine"


def test_a_file_added_to_an_earlier_course_is_not_lost(tmp_path):
    write_course(course(), tmp_path / "site")
    (tmp_path / "site" / "notes.txt").write_text("mine")
    with pytest.raises(ReportPathError, match=r"it holds 'notes.txt', not written by"):
        accept_folder(tmp_path / "site")


def test_many_foreign_files_are_counted(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text("")
    with pytest.raises(ReportPathError, match="'0.txt', '1.txt', '2.txt' and 2 more"):
        accept_folder(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "site").write_text("mine")
    with pytest.raises(ReportPathError, match="Not a directory"):
        write_course(course(), tmp_path / "site")
    assert (tmp_path / "site").read_text() == "mine"


def test_a_failure_on_the_way_leaves_the_earlier_course_whole(tmp_path, monkeypatch):
    write_course(course("Before."), tmp_path / "site")
    before = {path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()}
    real, calls = publishing.os.replace, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(publishing.os, "replace", failing)
    with pytest.raises(ReportPathError, match="write_course: cannot write the course .* No space left on device"):
        write_course(course("After."), tmp_path / "site")
    assert {path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()} == before


def test_the_list_of_files_is_complete(tmp_path):
    write_course(course(), tmp_path / "site")
    listed = json.loads((tmp_path / "site" / MANIFEST).read_text())["files"]
    assert sorted([*listed, MANIFEST]) == names(tmp_path / "site")
