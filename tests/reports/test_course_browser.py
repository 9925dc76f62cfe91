"""The course in a real browser: no sideways scrolling, a silent console, the exercise by hand, the keyboard."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradwitness.reports.course_content import Code, Course, Exhibit, Family, Grid, LessonPage, PitfallPage
from gradwitness.reports.course_site import write_course
from gradwitness.reports.figures import Plot

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
)
SECONDS = 120
"""Time limit of one answer of the browser, which takes less than a second on a quiet core."""
PHONE, DESKTOP = 360, 1280

# The browser speaks its protocol on the descriptors 3 and 4, which are put in place after the fork.
LAUNCHER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no chromium is installed: apt-get install chromium"),
]

LONG = "a_name_that_is_much_longer_than_a_telephone_is_wide = another_name_just_as_long + " + "1.0 + " * 20 + "x"
CODE = Code(
    f'def on_value() -> Numbers:\n    """<b>&amp;</b>"""\n    {LONG}\n    return {{"y": [1.5]}}',
    "About `y`.",
    "a/b.py:3",
)
WIDE = Grid(("", "Value", "array engine", "PyTorch", "as claimed"), (("dy/dx", *["[0.123456, -0.123456]"] * 4),))
DRAWING = '<svg viewBox="0 0 800 100" width="800" height="100"><text x="5" y="50" fill="var(--ink)">drawn</text></svg>'
PLOT = Plot(DRAWING, DRAWING.replace("800", "350"), ("A fact.",))
LESSON = LessonPage(
    *("chain-rule", "The chain rule <i>", "lesson 1 of 1", "The claim & `code`.", ("One.", "Two.")),
    *(CODE, (("PyTorch", CODE),), WIDE, ("y: not so.",)),
    (Exhibit("Text", text=f"v1 = x\n{LONG}"), Exhibit("Drawn", drawing=DRAWING), Exhibit("Plot", plot=PLOT)),
    *("What is 1/3?", 1 / 3, 5e-3, "It is 0.333333.", WIDE, "Leibniz, https://example.org/paper.", ("forgotten",)),
)
PITFALL = PitfallPage(
    *("forgotten", "Forgotten", "accumulation", "It swings.", CODE, CODE, None, WIDE, ("A warning " + "x" * 90,)),
    *(CODE, "By hand.", Grid(("", "PyTorch gave", "right", ""), (("w.grad", "6", "3", "<- 2 times"),))),
    Code("- old\n+ new\n  " + LONG, is_change=True),
    *(WIDE, None, "Because.", "Clear.", "w: ()", "owner/name#12", "torch 2.13.0"),
)
COURSE = Course("2.13.0", (LESSON,), (Family("accumulation", "Gradients that add up", "Often."),), (PITFALL,))
PAGES = ("index.html", "lesson-chain-rule.html", "pitfall-forgotten.html")


class Browser:
    """A headless Chromium that is spoken to through its DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (commands, answers)]
        arguments = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, *map(str, theirs), *arguments],
            pass_fds=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (commands, answers, *theirs):
            os.close(fd)
        self.pending, self.number, self.session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; what happens meanwhile is kept in `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            heard = self.hear()
            if heard.get("id") == self.number:
                assert "error" not in heard, heard
                return heard["result"]

    def hear(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.answers], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser gave no answer in {SECONDS} s"
            piece = os.read(self.answers, 1 << 16)
            assert piece, "the browser has ended"
            self.pending += piece
        text, _, self.pending = self.pending.partition(b"\0")
        heard = json.loads(text)
        if "method" in heard:
            self.events.append(heard)
        return heard

    def open(self, address: str, width: int, scheme: str, *, scripts: bool = True) -> None:
        """Load a page at this width (CSS pixels) in light or dark, and forget what was heard before."""
        phone = width < 600
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=phone)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.ask("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.hear()

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """One key, down and up: Tab, Enter or Space."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " ")}[key]
        more = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **more, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **more)

    def write(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def picture(self, file: Path) -> None:
        """A picture of the whole page, as PNG."""
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(taken["data"]))

    def complaints(self) -> list[str]:
        """What the console shows, and addresses other than files that the page asked for."""
        shown = []
        for event in self.events:
            if event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                shown.append(json.dumps(event["params"])[:300])
            elif event["method"] == "Network.requestWillBeSent":
                address = event["params"]["request"]["url"]
                if not address.startswith("file:"):
                    shown.append(address)
        return shown

    def close(self) -> None:
        self.session = None
        try:
            self.ask("Browser.close")
        except (AssertionError, OSError):
            pass  # it may be gone before it answers
        os.close(self.commands)
        os.close(self.answers)
        self.process.wait(SECONDS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    index = write_course(COURSE, tmp_path_factory.mktemp("course") / "site")
    return index.parent.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_never_scrolls_sideways_and_the_console_stays_silent(browser, site, page, width, scheme):
    browser.open(f"{site}/{page}", width, scheme)
    for opened in ("false", "true"):
        browser.run(f"document.querySelectorAll('details').forEach((fold) => fold.open = {opened})")
        assert browser.run("innerWidth") == width
        assert browser.run("document.documentElement.scrollWidth") <= width
    red = int(browser.run("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert (red < 60) == (scheme == "dark")
    assert browser.complaints() == []


@pytest.mark.parametrize(
    ("typed", "verdict"),
    [
        *((right, "✓") for right in ("0.333", "0,3333", "1/3", " 2 / 6 ", "3.33e-1", "+.3333", "0.3317", "−1/−3")),
        *((wrong, "✗") for wrong in ("0.33", "0.34", "-0.333", "0", "3333")),
        *((junk, "?") for junk in ("", "a third", "1/0", "0/0", "1/3/1", "0x1", "NaN", "Infinity", "1 2", "1e999")),
    ],
)
def test_a_typed_number_is_judged(browser, site, typed, verdict):
    browser.open(f"{site}/lesson-chain-rule.html", DESKTOP, "light")
    browser.run("document.getElementById('typed').focus()")
    browser.write(typed)
    browser.press("Enter")
    assert browser.run("document.getElementById('verdict').textContent")[0] == verdict
    assert browser.complaints() == []


def focused(browser: Browser) -> str:
    """What has the focus: its id, else its words, else the name of the element."""
    return browser.run("(e => e.id || e.textContent.trim().slice(0, 40) || e.tagName)(document.activeElement)")


def stops(browser: Browser) -> list[str]:
    """What the tabulator reaches, in order, until it leaves the page."""
    found: list[str] = []
    for _ in range(60):
        browser.press("Tab")
        if browser.run("document.activeElement === document.body"):
            return found
        found.append(focused(browser))
    raise AssertionError(f"the tabulator never leaves the page: {found}")


def test_the_tabulator_reaches_every_control_in_the_order_of_the_page(browser, site):
    browser.open(f"{site}/lesson-chain-rule.html", DESKTOP, "light")
    reached = stops(browser)
    wanted = ["Skip to the text", "The same: PyTorch", "typed", "Is it right?", "Show the answer", "Forgotten"]
    assert [stop for stop in reached if stop in wanted] == wanted
    assert any(stop.startswith("Next") for stop in reached)


def test_a_fold_is_opened_with_the_keyboard_and_the_focus_can_be_seen(browser, site):
    browser.open(f"{site}/lesson-chain-rule.html", DESKTOP, "light")
    while focused(browser) != "Show the answer":
        browser.press("Tab")
    style = browser.run("(s => s.outlineStyle + ' ' + s.outlineWidth)(getComputedStyle(document.activeElement))")
    assert style == "solid 2px"
    assert not browser.run("document.getElementById('answer').open")
    browser.press("Enter")
    assert browser.run("document.getElementById('answer').open")


def test_a_box_that_scrolls_is_reached_by_the_keyboard_and_one_that_does_not_is_passed_over(browser, site):
    browser.open(f"{site}/lesson-chain-rule.html", PHONE, "light")
    assert browser.run("document.querySelector('pre.code').tabIndex") == 0
    assert browser.run("document.querySelector('.scroll').tabIndex") == 0
    browser.open(f"{site}/pitfall-forgotten.html", DESKTOP, "light")
    assert not browser.run("document.querySelectorAll('.scroll')[1].hasAttribute('tabindex')")


def test_without_scripts_the_field_is_not_shown_and_the_answer_is_folded(browser, site):
    browser.open(f"{site}/lesson-chain-rule.html", DESKTOP, "light", scripts=False)
    tree = browser.ask("DOM.getDocument", depth=-1)["root"]["nodeId"]
    form = browser.ask("DOM.querySelector", nodeId=tree, selector="#judge")["nodeId"]
    assert "hidden" in browser.ask("DOM.getAttributes", nodeId=form)["attributes"]
    fold = browser.ask("DOM.querySelector", nodeId=tree, selector="#answer summary")["nodeId"]
    assert browser.ask("DOM.getBoxModel", nodeId=fold)["model"]["height"] > 0


def test_a_script_that_slipped_into_a_text_does_not_run(browser, tmp_path):
    evil = '<svg viewBox="0 0 1 1"><script>document.title = "taken"</script></svg>'
    pages = (LessonPage(**{**vars(LESSON), "exhibits": (Exhibit("Drawn", drawing=evil),)}),)
    index = write_course(Course("2.13.0", pages, COURSE.families, COURSE.pitfalls), tmp_path / "site")
    browser.open((index.parent / "lesson-chain-rule.html").as_uri(), DESKTOP, "light")
    assert browser.run("document.title").startswith("The chain rule")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_picture_of_every_page_can_be_taken(browser, site, tmp_path, width, scheme):
    for page in PAGES:
        browser.open(f"{site}/{page}", width, scheme)
        browser.picture(tmp_path / f"{page}.png")
        assert (tmp_path / f"{page}.png").stat().st_size > 10_000  # an empty page compresses to far less
