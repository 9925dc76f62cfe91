"""The form of a lesson: an essay in a docstring, the same numbers from three engines, exhibits, and an exercise."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import EssayError
from ..observing import ROUNDING, format_numbers
from ..scenario import Numbers

__all__ = ["ENGINES", "HEADINGS", "Exercise", "Exhibit", "Lesson"]

HEADINGS = ("Claim", "Story", "Exercise", "Answer", "Source")
"""The headings of every lesson's docstring, in order. A blank line in the story starts a new paragraph."""

ENGINES = ("Value", "array engine", "PyTorch")
"""Who computes each number: the scalar engine, the reference engine on arrays, PyTorch's autograd."""

ENOUGH_DIGITS = 5e-3
"""A learner's number is right within half a percent: two to three digits, as one computes by hand."""


@dataclass(frozen=True)
class Exhibit:
    """Something to look at between claim and exercise, made in the run: text, a drawn graph, or a plot.

    Exactly one of the three is given. `text` returns plain text of at most 100 columns; `drawing` an <svg> element;
    `plot` the name of a function of the report's course figures, and its arguments by name, as plain data.
    """

    caption: str
    text: Callable[[], str] | None = None
    drawing: Callable[[], str] | None = None
    plot: Callable[[], tuple[str, Mapping[str, Any]]] | None = None


@dataclass(frozen=True)
class Exercise:
    """A question with one number for an answer: as stated in the text, and from each engine."""

    question: str
    stated: float
    engines: Mapping[str, Callable[[], float]]
    explanation: str

    def accepts(self, given: float) -> bool:
        """Whether a learner's number is the stated one, within half a percent (of 1, where the answer is 0)."""
        return abs(given - self.stated) <= ENOUGH_DIGITS * (abs(self.stated) or 1.0)


@dataclass(frozen=True)
class Lesson:
    """One lesson of the course, runnable.

    `engines` maps each name of `ENGINES` to a function that takes nothing and returns the lesson's numbers, with the
    same names in all three; `stated` is what the text claims them to be, to six significant digits. `rounding` is how
    far apart two engines may be, relative (dimensionless). `pitfalls` are ids of scenarios to read next. `unasked` are
    the numbers that nobody can predict on paper, such as a loss after 50 steps: a quiz shows them without asking.
    """

    id: str
    title: str
    claim: str
    story: tuple[str, ...]
    stated: Numbers
    engines: Mapping[str, Callable[[], Numbers]]
    exhibits: tuple[Exhibit, ...]
    exercise: Exercise
    source: str
    rounding: float = ROUNDING
    pitfalls: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    @classmethod
    def from_essay(
        cls,
        essay: str | None,
        on_value: Callable[[], Numbers],
        on_arrays: Callable[[], Numbers],
        in_torch: Callable[[], Numbers],
        *,
        stated: Numbers,
        answer: float,
        answers: tuple[Callable[[], float], Callable[[], float], Callable[[], float]],
        exhibits: tuple[Exhibit, ...] = (),
        rounding: float = ROUNDING,
        pitfalls: tuple[str, ...] = (),
        unasked: tuple[str, ...] = (),
    ) -> Lesson:
        """The lesson of a module: `essay` is its docstring, and the file's name gives the id.

        `answer` is the exercise's number as the text states it, `answers` compute it, in the order of `ENGINES`.
        Raises EssayError where a heading is missing, empty, repeated or out of order.
        """
        where = on_value.__module__
        title, parts = _parse(essay or "", where)
        line = {heading: " ".join(text.split()) for heading, text in parts.items()}
        story = tuple(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", parts["Story"].strip()))
        return cls(
            where.rsplit(".", 1)[1].replace("_", "-"),
            title,
            line["Claim"],
            story,
            stated,
            dict(zip(ENGINES, (on_value, on_arrays, in_torch), strict=True)),
            exhibits,
            Exercise(line["Exercise"], answer, dict(zip(ENGINES, answers, strict=True)), line["Answer"]),
            line["Source"],
            rounding,
            pitfalls,
            unasked,
        )

    def numbers(self) -> dict[str, Numbers]:
        """The numbers of this very run, by engine."""
        return {engine: run() for engine, run in self.engines.items()}

    def differs(self, numbers: Mapping[str, Numbers]) -> list[str]:
        """What is not as it should be, one sentence each: an engine's number against the text, or two engines."""
        found = []
        first = numbers[ENGINES[0]]
        for engine, mine in numbers.items():
            if list(mine) != list(self.stated):
                found.append(f"{engine} speaks of {list(mine)}, the text of {list(self.stated)}")
                continue
            for name, values in mine.items():
                if format_numbers(values) != format_numbers(self.stated[name]):
                    found.append(
                        f"{name}: {engine} gives {format_numbers(values)}, the text states "
                        f"{format_numbers(self.stated[name])}"
                    )
                if not _near(values, first[name], self.rounding):
                    found.append(f"{name}: {engine} gives {values}, {ENGINES[0]} {first[name]}")
        return found


def _near(a: list[float] | None, b: list[float] | None, rounding: float) -> bool:
    """Whether two lists agree entry by entry, relative to the greatest entry of either."""
    if a is None or b is None:
        return a is b
    scale = max(map(abs, [*a, *b]), default=0.0)
    return len(a) == len(b) and all(abs(p - q) <= rounding * scale for p, q in zip(a, b, strict=True))


def _parse(essay: str, where: str) -> tuple[str, dict[str, str]]:
    """Title and parts of an essay; EssayError where it is not of the form."""
    pieces = re.split(rf"^({'|'.join(HEADINGS)}):", inspect.cleandoc(essay), flags=re.MULTILINE)
    title, found, texts = " ".join(pieces[0].split()), pieces[1::2], pieces[2::2]
    if not title or tuple(found) != HEADINGS or not all(text.strip() for text in texts):
        empty = [heading for heading, text in zip(found, texts, strict=True) if not text.strip()]
        raise EssayError(
            f"Lesson.from_essay: {where} has title={title!r}, headings={found}, empty={empty}; accepted is a title "
            f"line, then each of {list(HEADINGS)} once, in this order. Complete the module's docstring."
        )
    return title, dict(zip(found, texts, strict=True))
