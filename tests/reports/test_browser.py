"""The page in a real browser: desktop and telephone, light and dark, without sideways scrolling."""

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradwitness.reports import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SECONDS = 120
"""Time limit of one start of the browser, which takes about 2 s on a quiet core."""
HEIGHT = 16_000
PROBE = """<!doctype html><body style="margin:0"><iframe id="f" style="border:0;width:{width}px;height:900px"
 src="report.html"></iframe><script>
document.getElementById("f").onload = (event) => {{
  const view = event.target.contentWindow, page = event.target.contentDocument;
  for (const fold of page.querySelectorAll("details")) fold.open = {open};
  document.title = "inner=" + view.innerWidth + " scroll=" + page.documentElement.scrollWidth
    + " dark=" + view.matchMedia("(prefers-color-scheme: dark)").matches
    + " paper=" + view.getComputedStyle(page.body).backgroundColor;
}};
</script>"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no chromium is installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def report(fake: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(out=tmp_path_factory.mktemp("browser") / "out", **fake.pieces(6000))


def browse(profile: Path, scheme: str, *arguments: str) -> str:
    preferred = {"dark": "0", "light": "1"}[scheme]
    done = subprocess.run(
        [
            str(BROWSER),
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--blink-settings=preferredColorScheme={preferred}",
            *arguments,
        ],
        capture_output=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_never_scrolls_sideways(report: Path, tmp_path: Path, width: int, scheme: str) -> None:
    for opened in ("false", "true"):
        (report / "probe.html").write_text(PROBE.format(width=width, open=opened), "utf-8")
        address = (report / "probe.html").as_uri()
        flags = ("--allow-file-access-from-files", "--dump-dom", "--virtual-time-budget=5000")
        dom = browse(tmp_path / opened, scheme, *flags, "--window-size=1400,900", address)
        found = re.search(r"inner=(\d+) scroll=(\d+) dark=(\w+) paper=rgb\((\d+)", dom)
        assert found is not None, dom[:500]
        inner, scroll, red = int(found[1]), int(found[2]), int(found[4])
        assert inner == width
        assert scroll <= inner
        assert found[3] == ("true" if scheme == "dark" else "false")
        assert (red < 60) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_screenshot_can_be_taken(report: Path, tmp_path: Path, width: int, scheme: str) -> None:
    picture = tmp_path / f"report-{width}-{scheme}.png"
    page = (report / "report.html").as_uri()
    browse(tmp_path / "profile", scheme, f"--window-size={width},{HEIGHT}", f"--screenshot={picture}", page)
    assert picture.stat().st_size > 100_000  # an empty page of this size compresses to far less
