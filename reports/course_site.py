"""Writes the course as a static site: an index, a page for each lesson and pitfall, no network; whole or not at all."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from . import formatting as fmt
from .course_content import Course, LessonPage, PitfallPage
from .errors import ReportPathError
from .highlighting import change_html, code_html, prose_html, verbatim_html
from .publish import publish

__all__ = ["MANIFEST", "accept_folder", "render_course", "write_course"]

TEMPLATES = Path(__file__).parent / "templates"
MANIFEST = "course.json"
"""The file by which a folder is known as a course of ours: it lists the others."""
_MARK = "written by gradwitness learn --html"


@dataclass(frozen=True)
class Link:
    """Where another page is, and its title."""

    file: str
    title: str


def write_course(course: Course, out: str | os.PathLike[str]) -> Path:
    """Write the course into the folder `out`, whole or not at all, and return the address of its first page.

    An earlier course in `out` is replaced. Raises ReportPathError where `out` holds anything else or cannot be
    written.
    """
    folder = Path(out)
    earlier = accept_folder(folder)
    publish(render_course(course), folder, replaced=earlier, operation="write_course", what="course")
    return folder / "index.html"


def accept_folder(out: str | os.PathLike[str]) -> list[str]:
    """The files of the earlier course in `out`; none where it is empty or not there.

    Raises ReportPathError where `out` is no folder, or holds a file that is not of an earlier course: it may be
    somebody's own, and the course would be mixed with it.
    """
    folder = Path(out)
    if not os.path.lexists(folder):
        return []
    try:
        found = sorted(path.name for path in folder.iterdir())
    except OSError as fault:
        raise _refused(folder, fault.strerror or str(fault)) from fault
    ours = _listed(folder / MANIFEST)
    foreign = [name for name in found if name not in ours]
    if foreign:
        shown = ", ".join(map(repr, foreign[:3])) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise _refused(folder, f"it holds {shown}, not written by `gradwitness learn --html`")
    return found


def _listed(manifest: Path) -> set[str]:
    """The names that a course's list of files holds, with its own; none where it is not there or not such a list."""
    try:
        data = json.loads(manifest.read_text("utf-8"))
        return {MANIFEST, *map(str, data["files"])} if data["site"] == _MARK else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _refused(folder: Path, reason: str) -> ReportPathError:
    return ReportPathError(
        f"write_course: out={str(folder)!r}: {reason}. Accepted is a folder that is empty, does not exist yet, or "
        "holds an earlier course alone; nothing was changed. Choose another folder."
    )


def render_course(course: Course) -> dict[str, bytes]:
    """Every file of the site: name -> content. The same course gives the same bytes."""
    environment = _environment()
    pages: list[tuple[str, str, LessonPage | PitfallPage]] = [
        *(("course_lesson.html", f"lesson-{page.id}.html", page) for page in course.lessons),
        *(("course_pitfall.html", f"pitfall-{page.id}.html", page) for page in course.pitfalls),
    ]
    index = Link("index.html", "All lessons and pitfalls")
    chain = [Link(file, page.title) for _, file, page in pages]
    script = (TEMPLATES / "course.js").read_text("utf-8").strip()
    shared: dict[str, Any] = {
        "course": course,
        "css": Markup("\n".join((TEMPLATES / name).read_text("utf-8") for name in ("report.css", "course.css"))),
        "script": Markup(script),
        # The page allows this one script and no other: whatever slipped through the escaping would not run.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "family_title": {family.id: family.title for family in course.families},
        "pitfall_title": {page.id: page.title for page in course.pitfalls},
    }
    files = {"index.html": _page(environment, "course_index.html", shared, None, None, chain[0] if chain else None)}
    for i, (template, file, page) in enumerate(pages):
        after = chain[i + 1] if i + 1 < len(chain) else index
        files[file] = _page(environment, template, shared, page, chain[i - 1] if i else index, after)
    listing = json.dumps({"site": _MARK, "files": sorted(files)}, indent=1) + "\n"
    return {**files, MANIFEST: listing.encode()}


def _page(
    environment: jinja2.Environment,
    template: str,
    shared: dict[str, Any],
    page: LessonPage | PitfallPage | None,
    before: Link | None,
    after: Link | None,
) -> bytes:
    text = environment.get_template(template).render(shared, page=page, before=before, after=after)
    return text.lstrip().encode()


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda item: fmt.clean(item) if type(item) is str else item,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        code=code_html,
        change=change_html,
        prose=prose_html,
        verbatim=verbatim_html,
        noun=fmt.noun,
        svg=Markup,
    )
    return environment
