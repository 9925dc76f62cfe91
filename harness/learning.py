"""What `gradwitness learn` does: list, tell, ask, and write the course as a static site."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from ..scenarios import FAMILIES, Scenario, UnknownScenario, catalogue, observe, overview, tell
from ..scenarios.collection import family_introduction
from ..scenarios.lessons import Exhibit, Lesson, course
from ..scenarios.lessons.lesson import ENGINES, ENOUGH_DIGITS
from ..scenarios.lessons.telling import answer_table, contents, engine_table, place_in_course, tell_lesson
from ..scenarios.observing import format_numbers
from ..scenarios.sources import caption, code_of, place_of, repair_of, setting_of
from ..scenarios.telling import HOW_WE_KNOW, SETTING, changed, compared, repaired_rows
from .errors import UsageError

__all__ = ["collect", "find_part", "learn"]

INTERRUPTED = 130
"""The exit code of a quiz that was left with Ctrl-C, as shells have it for every interrupted program."""


def learn(wanted: str | None, quiz: bool, html: Path | None) -> int:
    """List everything, tell one lesson or pitfall, ask for its numbers, or write the site. Returns the exit code.

    Raises UsageError where the options do not go together, UnknownScenario for an unknown id, ReportPathError where the
    folder of the site cannot be used.
    """
    if html is not None:
        if quiz or wanted is not None:
            raise UsageError(
                f"learn: --html {html} came with {'--quiz' if quiz else f'the id {wanted!r}'}; accepted is --html "
                "alone, which writes every lesson and pitfall. Leave one of the two out."
            )
        typer.echo(f"{_write_site(html)}")
        return 0
    if quiz:
        return _ask(list(course().values()) if wanted is None else [find_part(wanted)])
    if wanted is None:
        typer.echo(f"{contents()}\n{overview()}", nl=False)
    else:
        part = find_part(wanted)
        typer.echo(tell_lesson(part) if isinstance(part, Lesson) else tell(part), nl=False)
    return 0


def find_part(wanted: str) -> Lesson | Scenario:
    """The lesson or pitfall with this id; UnknownScenario, with near matches of both kinds, where there is none."""
    parts: dict[str, Lesson | Scenario] = {**course(), **catalogue()}
    if wanted not in parts:
        raise UnknownScenario(wanted, parts)
    return parts[wanted]


def _ask(parts: Sequence[Lesson | Scenario]) -> int:
    """The quiz on standard input and output; a transcript reads well when the answers are piped in."""
    from ..scenarios.quizzing import take_quiz

    try:
        take_quiz(parts, _typed if sys.stdin.isatty() else _piped, typer.echo)
    except KeyboardInterrupt:
        typer.echo("\ngradwitness: interrupted", err=True)
        return INTERRUPTED
    return 0


def _typed(prompt: str) -> str:
    return input(prompt)


def _piped(prompt: str) -> str:
    """The next line of standard input, shown after its prompt as if it had been typed. Raises EOFError at the end."""
    typer.echo(prompt, nl=False)
    line = sys.stdin.buffer.readline().decode("utf-8", "replace")
    if not line:
        raise EOFError
    typer.echo(line.rstrip("\r\n"))
    return line


def _write_site(folder: Path) -> Path:
    """Run everything once and write the site. Refuses a folder that it may not use before anything is run."""
    from ..reports.course_site import accept_folder, write_course

    accept_folder(folder)
    return write_course(collect(), folder)


def collect() -> Any:
    """The whole course as plain data for its pages (reports.course_content.Course); everything is run once."""
    from ..reports.course_content import Course, Family

    families = tuple(Family(family, *family_introduction(family)) for family in FAMILIES)
    lessons = tuple(_lesson_page(lesson) for lesson in course().values())
    return Course(version("torch"), lessons, families, tuple(_pitfall_page(one) for one in catalogue().values()))


def _lesson_page(lesson: Lesson) -> Any:
    from ..reports.course_content import LessonPage

    numbers, exercise = lesson.numbers(), lesson.exercise
    own, *others = ENGINES
    return LessonPage(
        id=lesson.id,
        title=lesson.title,
        place=place_in_course(lesson),
        claim=lesson.claim,
        story=lesson.story,
        code=_code(lesson.engines[own]),
        others=tuple((engine, _code(lesson.engines[engine])) for engine in others),
        numbers=_grid(*engine_table(lesson, numbers)),
        notes=tuple(f"{sentence}." for sentence in lesson.differs(numbers)),
        exhibits=tuple(_exhibit(exhibit) for exhibit in lesson.exhibits),
        question=exercise.question,
        answer=exercise.stated,
        within=ENOUGH_DIGITS,
        explanation=exercise.explanation,
        answers=_grid(*answer_table(lesson)),
        source=lesson.source,
        pitfalls=lesson.pitfalls,
    )


def _exhibit(exhibit: Exhibit) -> Any:
    from ..reports import course_content

    if exhibit.plot is not None:
        from ..reports import course_figures

        name, arguments = exhibit.plot()
        return course_content.Exhibit(exhibit.caption, plot=getattr(course_figures, name)(**arguments))
    text = None if exhibit.text is None else exhibit.text()
    return course_content.Exhibit(exhibit.caption, text, None if exhibit.drawing is None else exhibit.drawing())


def _pitfall_page(scenario: Scenario) -> Any:
    from ..reports.course_content import Code, PitfallPage

    seen = observe(scenario)
    if isinstance(seen.torch, str):
        given, right = None, _grid(("", "right"), [(name, format_numbers(v)) for name, v in seen.right.items()])
    else:
        given = _grid(("", "PyTorch gives"), [(name, format_numbers(values)) for name, values in seen.torch.items()])
        right = _grid(("", "PyTorch gave", "right", ""), compared(seen.torch, seen.right, scenario.same))
    return PitfallPage(
        id=scenario.id,
        title=scenario.title,
        family=scenario.family,
        symptom=scenario.symptom,
        setting=Code("\n".join(setting_of(scenario)), SETTING),
        faulty=_code(scenario.faulty),
        stopped=seen.torch if isinstance(seen.torch, str) else None,
        given=given,
        warnings=seen.warnings,
        truth=_code(scenario.truth),
        witness=HOW_WE_KNOW[scenario.witness],
        compared=right,
        repair=Code("\n".join(repair_of(scenario)), caption(scenario.fixed), place_of(scenario.fixed), is_change=True),
        repaired=_grid(("", "now gives", "right", ""), repaired_rows(seen)),
        note=None if seen.shown else changed(seen).removeprefix("NOTE: "),
        cause=scenario.cause,
        fix=scenario.fix,
        shapes=scenario.shapes,
        source=scenario.source,
        seen_on=scenario.seen_on,
    )


def _code(function: Callable[..., Any]) -> Any:
    from ..reports.course_content import Code

    return Code("\n".join(code_of(function)), caption(function), place_of(function))


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from ..reports.course_content import Grid

    return Grid(tuple(head), tuple(map(tuple, rows)))
