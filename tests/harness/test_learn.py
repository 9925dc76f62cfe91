"""`gradwitness learn`: list, tell, ask, and the site, with what is misuse and what is left behind."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from gradwitness.harness import learning
from gradwitness.harness.cli import main
from gradwitness.scenarios import catalogue
from gradwitness.scenarios.lessons import course

FIRST = next(iter(course()))
MEASURED = re.compile(r"\d")  # a page may hold measured times; everything but digits must be the same in two runs


def run(capsys, *arguments):
    """(exit code, standard output, standard error) of one command, in this process."""
    with pytest.raises(SystemExit) as left:
        main(["learn", *map(str, arguments)])
    captured = capsys.readouterr()
    return left.value.code or 0, captured.out, captured.err


def piped(text: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gradwitness.harness.cli", "learn", *arguments]
    done = subprocess.run(command, input=text, capture_output=True)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The real site, written once; everything is run for it."""
    folder = tmp_path_factory.mktemp("learn") / "site"
    assert learning.learn(None, False, folder) == 0
    return folder


def test_the_list_has_the_course_first_and_the_pitfalls_after_it(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    places = [out.index(f"  {name} ") for name in [*course(), *catalogue()]]
    assert places == sorted(places)


def test_a_lesson_and_a_pitfall_are_told_by_their_ids(capsys):
    code, out, _ = run(capsys, FIRST)
    assert code == 0 and out.startswith(course()[FIRST].title) and "The exercise" in out
    code, out, _ = run(capsys, "item-round-trip")
    assert code == 0 and "8. The rule to remember" in out


def test_an_unknown_id_is_answered_with_near_ones_of_both_kinds(capsys):
    code, out, err = run(capsys, "chain-rul")
    assert (code, out) == (2, "") and "chain-rule" in err
    code, _, err = run(capsys, "forgoten-zeroing")
    assert code == 2 and "near matches: forgotten-zeroing" in err
    assert f"{len(course()) + len(catalogue())} ids are known" in err
    assert run(capsys, "qqqqqqqq", "--quiz")[0] == 2


@pytest.mark.parametrize("more", [("--quiz",), (FIRST,)])
def test_a_site_with_an_id_or_a_quiz_is_misuse(capsys, tmp_path, more):
    code, _, err = run(capsys, "--html", tmp_path / "site", *more)
    assert code == 2 and "accepted is --html alone" in err
    assert not (tmp_path / "site").exists()


def test_a_piped_quiz_reads_like_a_conversation_and_ends_well():
    done = piped(b"27\nabc\n27,0\n108/2\n1.4616\n", "chain-rule", "--quiz")
    assert done.returncode == 0 and done.stderr == ""
    assert "y = ? 27\n   27: right\n" in done.stdout
    assert "dy/du = ? 27,0\n   27: right\n" in done.stdout
    assert "dy/dx = ? 108/2\n   54: right\n" in done.stdout
    assert done.stdout.endswith("Score: 4 of 4 right.\n")


@pytest.mark.parametrize("text", [b"", b"27\n", b"27", b"\xff\xfe\n27\r\n"])
def test_a_quiz_whose_input_ends_tells_the_score_so_far(text):
    done = piped(text, "chain-rule", "--quiz")
    assert done.returncode == 0 and done.stderr == ""
    assert "The input has ended." in done.stdout
    score = "1 of 1 right" if b"27" in text else "no question was answered"
    assert done.stdout.endswith(f"Score: {score}.\n")


def test_a_quiz_without_an_id_goes_through_the_course_from_the_first_lesson():
    done = piped(b"\n" * 1000, "--quiz")
    assert done.returncode == 0 and done.stderr == ""
    places = [done.stdout.index(f"\n{name}: 0 of ") for name in course()]
    assert places == sorted(places)
    asked, passed = re.search(r"Score: 0 of (\d+) right, (\d+) passed\.\n$", done.stdout).groups()
    assert asked == passed and int(asked) >= 2 * len(course())


def test_an_interrupted_quiz_exits_like_any_interrupted_program(capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "_piped", interrupt)
    code, _, err = run(capsys, FIRST, "--quiz")
    assert (code, err) == (130, "\ngradwitness: interrupted\n")


class Page(HTMLParser):
    """What a page links to, its ids, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.ids, self.loaded, self.words, self.tags = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag in ("a", "link") and "href" in found else []
        self.loaded += [found[name] for name in ("src", "srcset", "data", "action", "poster") if found.get(name)]

    def handle_data(self, data):
        self.words += data.split()


def test_the_site_has_a_page_for_every_lesson_and_pitfall(site):
    expected = {f"lesson-{name}.html" for name in course()} | {f"pitfall-{name}.html" for name in catalogue()}
    assert {path.name for path in site.iterdir()} == expected | {"index.html", "course.json"}
    assert set(json.loads((site / "course.json").read_text())["files"]) == expected | {"index.html"}


def test_every_link_leads_somewhere_and_nothing_is_loaded(site):
    pages = {path.name: Page(path.read_text("utf-8")) for path in site.glob("*.html")}
    for name, page in pages.items():
        assert page.loaded == [] and "img" not in page.tags, name
        assert len(page.ids) == len(set(page.ids)), name
        for link in page.links:
            if not link.startswith("https://"):
                file, _, anchor = link.partition("#")
                assert not anchor or anchor in pages[file or name].ids, (name, link)
                assert file in ("", *pages), (name, link)
        text = (site / name).read_text("utf-8")
        assert "@import" not in text and not re.search(r"url\((?!#)", text), name


def test_the_index_and_the_ways_on_visit_everything_in_order(site):
    order = [f"lesson-{name}.html" for name in course()] + [f"pitfall-{name}.html" for name in catalogue()]
    index = Page((site / "index.html").read_text("utf-8"))
    listed = [link for link in index.links if link in order]
    assert list(dict.fromkeys(listed)) == order
    visited, here = [], order[0]
    while here != "index.html":
        visited.append(here)
        (here,) = re.findall(r'<link rel="next" href="([^"]+)">', (site / here).read_text("utf-8"))
    assert visited == order


@pytest.mark.parametrize("one", course().values(), ids=lambda one: one.id)
def test_a_page_of_a_lesson_holds_its_text_numbers_and_exhibits(site, one):
    page = Page((site / f"lesson-{one.id}.html").read_text("utf-8"))
    words = " ".join(page.words)
    for text in (one.title, one.claim, *one.story, one.exercise.question, one.exercise.explanation):
        assert squeezed(text) in squeezed(words)
    assert page.tags.count("figure") == len(one.exhibits)
    assert "! Note" not in words


@pytest.mark.parametrize("scenario", catalogue().values(), ids=lambda scenario: scenario.id)
def test_a_page_of_a_pitfall_holds_its_text(site, scenario):
    words = " ".join(Page((site / f"pitfall-{scenario.id}.html").read_text("utf-8")).words)
    for text in (scenario.title, scenario.symptom, scenario.cause, scenario.fix, scenario.shapes):
        assert squeezed(text) in squeezed(words)
    assert "! Note" not in words


def squeezed(text: str) -> str:
    """A text without its spaces and the backticks that become elements on a page."""
    return re.sub(r"[\s`]", "", text)


def test_a_second_run_replaces_the_site_and_differs_in_measured_numbers_at_most(site):
    before = {path.name: path.read_text("utf-8") for path in site.iterdir()}
    assert learning.learn(None, False, site) == 0
    after = {path.name: path.read_text("utf-8") for path in site.iterdir()}
    assert set(after) == set(before)
    pitfalls = [name for name in before if name.startswith("pitfall-")]
    for name in [*pitfalls, "index.html", "course.json", "lesson-chain-rule.html"]:
        assert after[name] == before[name], name
    for name, text in after.items():
        if "<svg" not in text:
            assert MEASURED.sub("", text) == MEASURED.sub("", before[name]), name


def test_a_folder_that_is_not_ours_is_refused_before_anything_is_run(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "collect", lambda: pytest.fail("nothing may be run"))
    (tmp_path / "mine.txt").write_text("mine")
    code, _, err = run(capsys, "--html", tmp_path)
    assert code == 2 and "it holds 'mine.txt'" in err and "nothing was changed" in err
    assert [path.name for path in Path(tmp_path).iterdir()] == ["mine.txt"]
    code, _, err = run(capsys, "--html", tmp_path / "mine.txt")
    assert code == 2 and "Not a directory" in err
