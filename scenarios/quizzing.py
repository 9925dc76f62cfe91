"""Predict, then see: asks for the numbers of a lesson or a pitfall before they are shown, and keeps the score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from .layout import INDENT, WIDTH, block, prose
from .lessons import Lesson
from .lessons.lesson import ENGINES, ENOUGH_DIGITS
from .lessons.telling import answer, engine_rows, exhibit_lines, head, own_code, paragraphs
from .observing import format_numbers, observe
from .scenario import Numbers, Scenario
from .sources import caption, code_of, setting_of
from .telling import SETTING, given, repaired, right_numbers

__all__ = ["Score", "is_near", "number_of", "take_quiz"]

MOST_ENTRIES = 4
"""A list of more numbers than this is shown, not asked for: nobody works out the fifth by hand."""

PASSED = object()
"""What an empty line is."""

HINT = (
    "Type a number, such as 0.42 (or 0,42 with a comma), 3e-4 or 1/3, and `none` where there is no gradient. Half a "
    "percent counts as right. An empty line passes; the end of the input (Ctrl-D) ends the quiz."
)


@dataclass
class Score:
    """How many questions were answered or passed, how many of them right, how many passed."""

    asked: int = 0
    right: int = 0
    passed: int = 0

    def __str__(self) -> str:
        if not self.asked:
            return "no question was answered"
        return f"{self.right} of {self.asked} right" + (f", {self.passed} passed" if self.passed else "")


def number_of(text: str) -> float:
    """The number a learner typed: a decimal with point or comma, or a fraction of two such numbers.

    Raises ValueError for anything else, a fraction over zero among it.
    """
    over, slash, under = text.replace("−", "-").replace(",", ".").partition("/")
    if not slash:
        return float(over)
    if float(under) == 0.0:
        raise ValueError(f"{text!r} divides by zero")
    return float(over) / float(under)


def is_near(typed: float | None, right: float | None) -> bool:
    """Whether a prediction is right within half a percent (of 1, where the right number is 0).

    None is the absence of a gradient, and only None is near it; NaN and the infinities are near themselves.
    """
    if typed is None or right is None:
        return typed is right
    if not math.isfinite(right):
        return typed == right or (math.isnan(typed) and math.isnan(right))
    return abs(typed - right) <= ENOUGH_DIGITS * (abs(right) or 1.0)


def take_quiz(parts: Sequence[Lesson | Scenario], ask: Callable[[str], str], show: Callable[[str], object]) -> Score:
    """Go through lessons and pitfalls, each run once, and end with the score.

    `ask(prompt)` returns the line that the learner typed and raises EOFError where the input has ended, which ends the
    quiz with the score so far. `show(text)` prints.
    """
    score = Score()
    quiz = _Quiz(score, ask, show)
    show("\n".join([*prose(HINT), ""]))
    try:
        for part in parts:
            before = Score(score.asked, score.right, score.passed)
            (quiz.lesson if isinstance(part, Lesson) else quiz.pitfall)(part)
            own = Score(score.asked - before.asked, score.right - before.right, score.passed - before.passed)
            if len(parts) > 1:
                show(f"{part.id}: {own}\n")
    except EOFError:
        show("\n\nThe input has ended.")
    show(f"Score: {score}.")
    return score


class _Quiz:
    """One learner's session."""

    def __init__(self, score: Score, ask: Callable[[str], str], show: Callable[[str], object]) -> None:
        self.score, self.ask, self.show = score, ask, show

    def lesson(self, lesson: Lesson) -> None:
        """The code; each number predicted and revealed; claim, story and exhibits, which explain them; the exercise."""
        numbers = lesson.numbers()
        self.section(*head(lesson), *own_code(lesson), "", "Predict the numbers")
        self.predict(numbers[ENGINES[0]], lesson.unasked)
        explained = ["", "The numbers of this run", *engine_rows(lesson, numbers), ""]
        explained += ["The claim", *prose(lesson.claim), "", *paragraphs(lesson), ""]
        explained += [line for exhibit in lesson.exhibits for line in exhibit_lines(exhibit)]
        self.section(*explained, "The exercise", *prose(lesson.exercise.question))
        typed = self.number("your answer: ")
        right = isinstance(typed, float) and lesson.exercise.accepts(typed)
        self.count(typed, right)
        self.section("Passed." if typed is PASSED else "Right." if right else "Not quite.", "", *answer(lesson), "")

    def pitfall(self, scenario: Scenario) -> None:
        """The code; what PyTorch gives and what is right, each predicted and revealed; then symptom, cause and fix."""
        seen = observe(scenario)
        kind, torch = f"pitfall / {scenario.id}", f"torch {version('torch')}"
        opening = [scenario.title, "=" * min(WIDTH, len(scenario.title)), f"{kind}{torch:>{WIDTH - len(kind)}}", ""]
        opening += ["The setting", *prose(SETTING), *block(setting_of(scenario)), ""]
        opening += ["The code at fault", *prose(caption(scenario.faulty))]
        self.section(*opening, *block(code_of(scenario.faulty), scenario.faulty), "", "Predict what PyTorch gives")
        stops = isinstance(seen.torch, str)
        self.judge(self.yes_or_no("does PyTorch stop with an error (yes or no)? "), stops, "yes" if stops else "no")
        if not isinstance(seen.torch, str):
            self.predict(seen.torch)
        self.section("", "What PyTorch gives", *given(seen), "", "Predict what is right")
        self.predict(seen.right)
        self.section("", "What is right, and how we know", *right_numbers(seen), "")
        self.section("The symptom", *prose(scenario.symptom), "", "Why it happens", *prose(scenario.cause), "")
        self.section("The repair", *repaired(seen), "", "The rule to remember", *prose(scenario.fix), "")

    def predict(self, numbers: Numbers, unasked: Sequence[str] = ()) -> None:
        """Ask for each number and reveal it; a list entry by entry, and unasked where it is long or empty."""
        for name, values in numbers.items():
            if name in unasked:
                self.show(f"{INDENT}{name}: {format_numbers(values)} (not asked)")
            elif values is None:
                self.judge(self.number(f"{name} = ? "), None, "None")
            elif len(values) == 1:
                self.judge(self.number(f"{name} = ? "), values[0], format_numbers(values))
            elif not 0 < len(values) <= MOST_ENTRIES:
                self.show(f"{INDENT}{name}: {format_numbers(values)} (not asked)")
            else:
                for i, value in enumerate(values, start=1):
                    prompt = f"{name}, entry {i} of {len(values)} = ? "
                    self.judge(self.number(prompt), value, format_numbers([value]))

    def judge(self, typed: Any, right: float | bool | None, text: str) -> None:
        """Count an answer and reveal the right one, `text`."""
        is_right = typed is not PASSED and is_near(typed, right)
        self.count(typed, is_right)
        if typed is PASSED:
            remark = ""
        elif is_right:
            remark = ": right"
        elif isinstance(typed, bool):
            remark = f": you said {'yes' if typed else 'no'}"
        else:
            remark = f": you said {'none' if typed is None else format_numbers([typed])}"
        self.show(f"{INDENT}{text}{remark}")

    def count(self, typed: Any, is_right: bool) -> None:
        self.score.asked += 1
        self.score.right += is_right
        self.score.passed += typed is PASSED

    def number(self, prompt: str) -> Any:
        """A float, None for `none`, or PASSED; anything else is asked for again."""
        while True:
            text = self.ask(prompt).strip()
            if not text:
                return PASSED
            if text.lower() == "none":
                return None
            try:
                return number_of(text)
            except ValueError:
                self.again(text, "a number such as 0.42 (or 0,42), 3e-4 or 1/3, `none`")

    def yes_or_no(self, prompt: str) -> Any:
        """True, False or PASSED; anything else is asked for again."""
        while True:
            text = self.ask(prompt).strip().lower()
            if not text:
                return PASSED
            if text in ("y", "yes", "n", "no"):
                return text.startswith("y")
            self.again(text, "yes, no")

    def again(self, text: str, accepted: str) -> None:
        self.section(*prose(f"quiz: found {text!r}; accepted is {accepted} or an empty line to pass. Try again."))

    def section(self, *lines: str) -> None:
        self.show("\n".join(lines))
