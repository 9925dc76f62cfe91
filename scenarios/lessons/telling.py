"""Tells one lesson as plain text of 100 columns, with the numbers of this very run; and asks its exercise."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from importlib.metadata import version

from ..layout import CODE, WIDTH, block, note, prose, table, wrap
from ..observing import format_numbers
from ..sources import caption, code_of
from .lesson import ENGINES, Exhibit, Lesson
from .ordering import course

__all__ = ["contents", "quiz", "tell_lesson"]


def contents() -> str:
    """The lessons in reading order, each with its id and title. Nothing is run."""
    lessons = course().values()
    column = max(len(lesson.id) for lesson in lessons) + 2
    page = [f"The course: {len(lessons)} lessons, in order", ""]
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

    The lesson is run once for this page.
    """
    return _told(lesson) + "\n".join(["", "The exercise", *prose(lesson.exercise.question), "", *_answer(lesson), ""])


def quiz(lesson: Lesson, ask: Callable[[str], str], show: Callable[[str], object]) -> bool:
    """Show the lesson without its numbers, have each predicted and then revealed; then the exercise.

    `ask(prompt)` returns what the learner typed, `show(text)` prints. An empty line passes; what is not a number is
    asked again. Returns whether the exercise was right.
    """
    numbers = lesson.numbers()[ENGINES[0]]
    show("\n".join([*_head(lesson), *prose(lesson.claim.split(":")[0]), "", *_code(lesson)]))
    for name, values in numbers.items():
        if values is not None and len(values) == 1:
            given = _number(ask, show, f"{name} = ? ")
            show(_judged(given, values[0], lesson))
    show("\n".join(["", *_paragraphs(lesson), "", "The exercise", *prose(lesson.exercise.question)]))
    given = _number(ask, show, "your answer: ")
    right = given is not None and lesson.exercise.accepts(given)
    show("Right." if right else "Passed." if given is None else "Not quite.")
    show("\n".join(_answer(lesson)))
    return right


def _number(ask: Callable[[str], str], show: Callable[[str], object], prompt: str) -> float | None:
    while True:
        text = ask(prompt).strip().replace(",", ".")
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            show(
                f"quiz: found {text!r}; accepted is a number such as 0.42 or 3e-4, or an empty line to pass. Try again."
            )


def _judged(given: float | None, right: float, lesson: Lesson) -> str:
    text = format_numbers([right])
    if given is None:
        return f"  {text}"
    near = abs(given - right) <= 5e-3 * (abs(right) or 1.0)
    return f"  {text}: {'right' if near else 'you said ' + format_numbers([given])}"


def _head(lesson: Lesson) -> list[str]:
    place = list(course()).index(lesson.id) + 1 if lesson.id in course() else 0
    kind, torch = f"lesson {place} of {len(course())} / {lesson.id}", f"torch {version('torch')}"
    return [lesson.title, "=" * min(WIDTH, len(lesson.title)), f"{kind}{torch:>{WIDTH - len(kind)}}", ""]


def _told(lesson: Lesson) -> str:
    page = [*_head(lesson), "The claim", *prose(lesson.claim), "", *_paragraphs(lesson), "", *_code(lesson), ""]
    numbers = lesson.numbers()
    rows = [
        (name, *(format_numbers(numbers[engine].get(name)) for engine in ENGINES), format_numbers(stated))
        for name, stated in lesson.stated.items()
    ]
    page += ["The numbers of this run", *table(("", *ENGINES, "as claimed"), rows), ""]
    page += [line for sentence in lesson.differs(numbers) for line in prose(f"NOTE: {sentence}.")]
    for exhibit in lesson.exhibits:
        page += _exhibit(exhibit, lesson)
    page += [*note("Source", lesson.source)]
    if lesson.pitfalls:
        page += [*note("Pitfalls", ", ".join(lesson.pitfalls))]
    return "\n".join(page) + "\n"


def _paragraphs(lesson: Lesson) -> list[str]:
    return [line for paragraph in lesson.story for line in ["", *prose(paragraph)]][1:]


def _code(lesson: Lesson) -> list[str]:
    run = lesson.engines[ENGINES[0]]
    return ["The code", *prose(caption(run)), *block(code_of(run), run)]


def _exhibit(exhibit: Exhibit, lesson: Lesson) -> list[str]:
    if exhibit.text is None:
        return [*prose(f"{exhibit.caption}: drawn on the page that `gradwitness learn --html DIR` writes."), ""]
    return [*prose(f"{exhibit.caption}:"), "", *(f"{CODE}{line}".rstrip() for line in exhibit.text().splitlines()), ""]


def _answer(lesson: Lesson) -> list[str]:
    exercise = lesson.exercise
    rows = [(engine, format_numbers([answer()])) for engine, answer in exercise.engines.items()]
    lines = ["The answer", *wrap(exercise.explanation, "   "), "", *table(("", "gives"), rows)]
    if lesson.pitfalls:
        lines += ["", *prose(f"Read next: {', '.join(f'gradwitness learn {name}' for name in lesson.pitfalls)}")]
    return lines
