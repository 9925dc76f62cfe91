"""Tells one lesson as plain text of 100 columns, with the numbers of this very run; and lists the course."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from importlib.metadata import version

from ..layout import CODE, WIDTH, block, note, prose, table, wrap
from ..observing import format_numbers
from ..scenario import Numbers
from ..sources import caption, code_of
from .lesson import ENGINES, Exhibit, Lesson
from .ordering import course

__all__ = [
    "answer",
    "answer_table",
    "contents",
    "engine_rows",
    "engine_table",
    "exhibit_lines",
    "head",
    "own_code",
    "paragraphs",
    "place_in_course",
    "tell_lesson",
]


def contents() -> str:
    """The lessons in reading order, each with its id and title. Nothing is run."""
    lessons = course().values()
    column = max(len(lesson.id) for lesson in lessons) + 2
    page = [f"The course: {len(lessons)} {'lesson' if len(lessons) == 1 else 'lessons'}, in order", ""]
    for lesson in lessons:
        page += textwrap.wrap(
            f"{lesson.id:<{column}}{lesson.title}",
            WIDTH,
            initial_indent="  ",
            subsequent_indent=" " * (column + 2),
            break_on_hyphens=False,
        )
    return "\n".join(page) + "\n"


def tell_lesson(lesson: Lesson) -> str:
    """One lesson: claim, story, code, the numbers of three engines side by side, exhibits, exercise and its answer.

    The lesson is run once for this page. No line is longer than `WIDTH`.
    """
    page = [*head(lesson), "The claim", *prose(lesson.claim), "", *paragraphs(lesson), "", *own_code(lesson), ""]
    page += ["The numbers of this run", *engine_rows(lesson, lesson.numbers()), ""]
    for exhibit in lesson.exhibits:
        page += exhibit_lines(exhibit)
    page += ["The exercise", *prose(lesson.exercise.question), "", *answer(lesson), ""]
    return "\n".join([*page, *note("Source", lesson.source), *note("Read next", _next_of(lesson))]) + "\n"


def head(lesson: Lesson) -> list[str]:
    """Title, place in the course, and the version of PyTorch."""
    kind, torch = f"{place_in_course(lesson)} / {lesson.id}", f"torch {version('torch')}"
    return [lesson.title, "=" * min(WIDTH, len(lesson.title)), f"{kind}{torch:>{WIDTH - len(kind)}}", ""]


def place_in_course(lesson: Lesson) -> str:
    """As in `lesson 3 of 13`; `lesson` alone where it is not of the course."""
    ids = list(course())
    return f"lesson {ids.index(lesson.id) + 1} of {len(ids)}" if lesson.id in ids else "lesson"


def paragraphs(lesson: Lesson) -> list[str]:
    """The story, with an empty line between two paragraphs."""
    return [line for paragraph in lesson.story for line in ["", *prose(paragraph)]][1:]


def own_code(lesson: Lesson) -> list[str]:
    """What the learner reads: the lesson on the scalar engine."""
    run = lesson.engines[ENGINES[0]]
    return ["The code", *prose(caption(run)), *block(code_of(run), run)]


def engine_rows(lesson: Lesson, numbers: Mapping[str, Numbers]) -> list[str]:
    """The numbers of three engines side by side, with a note for each that is not as it should be."""
    lines = table(*engine_table(lesson, numbers))
    return [*lines, *(line for sentence in lesson.differs(numbers) for line in prose(f"NOTE: {sentence}."))]


def engine_table(lesson: Lesson, numbers: Mapping[str, Numbers]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: each name with the number of each engine, and as the text claims it."""
    rows = [
        (name, *(format_numbers(numbers[engine].get(name)) for engine in ENGINES), format_numbers(stated))
        for name, stated in lesson.stated.items()
    ]
    return ("", *ENGINES, "as claimed"), rows


def exhibit_lines(exhibit: Exhibit) -> list[str]:
    """An exhibit under its caption; a drawing or a plot is only named, for plain text cannot hold it."""
    if exhibit.text is None:
        return [*prose(f"{exhibit.caption}: drawn on the page that `gradwitness learn --html DIR` writes."), ""]
    lines = exhibit.text().splitlines()
    indent = CODE if max(map(len, lines), default=0) + len(CODE) <= WIDTH else ""
    return [*prose(f"{exhibit.caption}:"), "", *(f"{indent}{line}".rstrip() for line in lines), ""]


def answer(lesson: Lesson) -> list[str]:
    """The answer of the exercise: why, and what each engine gives; then the pitfalls that the lesson leads to."""
    lines = ["The answer", *wrap(lesson.exercise.explanation, "   "), "", *table(*answer_table(lesson))]
    if lesson.pitfalls:
        lines += ["", *prose(f"Pitfalls: {', '.join(f'gradwitness learn {name}' for name in lesson.pitfalls)}")]
    return lines


def answer_table(lesson: Lesson) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: each engine with what it computes for the exercise."""
    engines = lesson.exercise.engines.items()
    return ("", "gives"), [(engine, format_numbers([compute()])) for engine, compute in engines]


def _next_of(lesson: Lesson) -> str:
    """The lesson that follows; after the last one, the pitfalls."""
    ids = list(course())
    place = ids.index(lesson.id) + 1 if lesson.id in ids else len(ids)
    following = course()[ids[place]] if place < len(ids) else None
    return f"{following.id}: {following.title}" if following else "the pitfalls: `gradwitness learn` lists them"
