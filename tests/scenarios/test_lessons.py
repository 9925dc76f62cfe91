"""Every lesson of the course: its text, its numbers from three engines, its exhibits and its exercise come true."""

import dataclasses
import importlib
import inspect
import math
import re
import time
from fractions import Fraction
from pathlib import Path

import mpmath
import pytest
import torch  # noqa: F401  (loaded here, so that no lesson's time holds its import)
from gradwitness.reports import course_figures
from gradwitness.scenarios import EssayError, UnknownScenario, catalogue
from gradwitness.scenarios.layout import WIDTH
from gradwitness.scenarios.lessons import (
    READING_ORDER,
    Exhibit,
    Lesson,
    building_value,
    course,
    functions_derived,
    lesson,
    ordering,
)
from gradwitness.scenarios.lessons.lesson import ENGINES, HEADINGS
from gradwitness.scenarios.lessons.telling import contents, tell_lesson
from gradwitness.scenarios.observing import format_numbers

COURSE = list(course().values())
every_lesson = pytest.mark.parametrize("one", COURSE, ids=lambda one: one.id)
every_exhibit = pytest.mark.parametrize(
    "exhibit",
    [pytest.param(exhibit, id=f"{one.id}-{i}") for one in COURSE for i, exhibit in enumerate(one.exhibits, start=1)],
)

FEWEST_WORDS = {"Claim": 15, "Story": 50, "Exercise": 5, "Answer": 10, "Source": 2}
"""With fewer words a heading says nothing: two sentences, two paragraphs, a question, its reasoning, a name."""

MOST_CPU_SECONDS = 5.0
"""A learner waits for a page no longer than this. CPU time, which the load of the machine does not lengthen much."""

ESSAY = "A title\n\n" + "\n".join(f"{heading}: something." for heading in HEADINGS)


def numbers_in(text: str) -> set[str]:
    """The numbers written in a text, as six significant digits write them; fractions as both numbers."""
    return {f"{float(number):.6g}" for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", text)}


def entries(one: Lesson) -> set[str]:
    return {f"{value:.6g}" for values in one.stated.values() if values for value in values}


def number() -> float:
    return 6.0


def numbers() -> dict[str, list[float] | None]:
    return {"y": [9.0], "dy/dx": [6.0]}


def made(essay: str = ESSAY, **changes: object) -> Lesson:
    """A lesson about x² at 3 that is right, but for `changes`."""
    small = Lesson.from_essay(
        essay, numbers, numbers, numbers, stated=numbers(), answer=6.0, answers=(number, number, number)
    )
    return dataclasses.replace(small, **changes)


@every_lesson
def test_every_heading_says_something(one):
    parts = (one.claim, " ".join(one.story), one.exercise.question, one.exercise.explanation, one.source)
    for heading, text in zip(HEADINGS, parts, strict=True):
        assert len(text.split()) >= FEWEST_WORDS[heading], heading
        assert text.endswith((".", "?", "!", "…")), heading
    assert "?" in one.exercise.question or "Give" in one.exercise.question


@every_lesson
def test_the_story_is_two_to_four_paragraphs(one):
    assert 2 <= len(one.story) <= 4


@every_lesson
def test_the_claim_is_at_most_two_sentences_with_a_number_that_the_run_confirms(one):
    assert len(re.findall(r"[.!?](?= |$)", one.claim)) <= 2
    assert numbers_in(one.claim) & entries(one), f"claim: {numbers_in(one.claim)}, stated: {entries(one)}"


@every_lesson
def test_the_stated_numbers_are_those_of_every_engine(one):
    seen = one.numbers()
    assert tuple(seen) == ENGINES
    assert one.differs(seen) == []
    for engine, given in seen.items():
        assert {name: format_numbers(values) for name, values in given.items()} == {
            name: format_numbers(values) for name, values in one.stated.items()
        }, engine


@every_lesson
def test_the_stated_answer_is_that_of_every_engine_and_stands_in_the_explanation(one):
    exercise = one.exercise
    assert tuple(exercise.engines) == ENGINES
    given = {engine: format_numbers([answer()]) for engine, answer in exercise.engines.items()}
    assert given == dict.fromkeys(ENGINES, format_numbers([exercise.stated]))
    assert f"{exercise.stated:.6g}" in numbers_in(exercise.explanation)


@every_lesson
def test_the_right_answer_is_accepted_also_with_three_digits(one):
    assert one.exercise.accepts(one.exercise.stated)
    assert one.exercise.accepts(float(f"{one.exercise.stated:.3g}"))
    assert all(one.exercise.accepts(answer()) for answer in one.exercise.engines.values())


@every_lesson
def test_wrong_answers_are_not_accepted(one):
    right = one.exercise.stated
    wrong = [right * 1.01, right * 0.99, -right, right * 2, 0.0] if right else [0.01, -0.01, 1.0]
    assert not any(one.exercise.accepts(number) for number in [*wrong, right + 1.0 + abs(right), math.nan, math.inf])


@every_lesson
def test_the_exercise_asks_for_a_number_that_the_page_has_not_yet_told(one):
    told = numbers_in(" ".join([one.claim, *one.story])) | entries(one)
    if one.exercise.stated not in (0.0, 1.0, 2.0):  # small whole numbers stand in every text
        assert f"{one.exercise.stated:.6g}" not in told


def test_ids_are_file_names_in_reading_order():
    assert [one.id for one in COURSE] == [name.replace("_", "-") for name in READING_ORDER]
    for name in READING_ORDER:
        assert (Path(ordering.__file__).parent / f"{name}.py").is_file()


def test_no_id_is_also_that_of_a_pitfall():
    assert not set(course()) & set(catalogue())


def test_titles_are_told_apart():
    assert len({one.title for one in COURSE}) == len(COURSE)


@every_lesson
def test_what_a_quiz_does_not_ask_is_among_the_numbers(one):
    assert set(one.unasked) < set(one.stated)


@every_lesson
def test_what_to_read_next_is_in_the_catalogue_of_pitfalls(one):
    assert set(one.pitfalls) <= set(catalogue())


@every_exhibit
def test_an_exhibit_is_one_thing_under_a_caption(exhibit):
    assert exhibit.caption.strip() == exhibit.caption != ""
    assert [exhibit.text, exhibit.drawing, exhibit.plot].count(None) == 2


@every_exhibit
def test_an_exhibit_shows_something_that_fits_the_page(exhibit):
    if exhibit.text is not None:
        lines = exhibit.text().splitlines()
        assert any(line.strip() for line in lines)
        assert max(map(len, lines)) <= WIDTH
    elif exhibit.drawing is not None:
        assert exhibit.drawing().lstrip().startswith("<svg")
    else:
        name, arguments = exhibit.plot()
        plot = getattr(course_figures, name)(**arguments)
        assert "<svg" in plot.wide
        assert "<svg" in plot.narrow
        assert all(plot.facts)


@every_lesson
def test_the_telling_fits_the_page_and_notes_nothing(one):
    page = tell_lesson(one)
    assert [line for line in page.splitlines() if len(line) > WIDTH or line != line.rstrip()] == []
    assert "NOTE:" not in page
    for heading in ("The claim", "The code", "The numbers of this run", "The exercise", "The answer"):
        assert f"\n{heading}\n" in page


@every_lesson
def test_a_page_is_made_within_a_few_seconds_of_computing(one):
    for kept in vars(inspect.getmodule(one.engines[ENGINES[0]])).values():
        if hasattr(kept, "cache_clear"):  # what another test has computed already
            kept.cache_clear()
    start = time.process_time()
    tell_lesson(one)
    assert time.process_time() - start < MOST_CPU_SECONDS


def test_the_contents_list_every_lesson_in_order():
    lines = [line.split()[0] for line in contents().splitlines() if line.startswith("  ") and line[2] != " "]
    assert lines == [one.id for one in COURSE]


def test_the_course_cannot_be_written_to():
    with pytest.raises(TypeError):
        course()["new"] = COURSE[0]  # type: ignore[index]


def test_a_misspelt_lesson_is_answered_with_the_near_ones():
    with pytest.raises(UnknownScenario, match="chain-rule"):
        lesson("chain-rul")


def test_a_lesson_in_no_reading_order_is_refused(monkeypatch):
    package = importlib.import_module("gradwitness.scenarios.lessons")
    monkeypatch.setattr(package, "READING_ORDER", READING_ORDER[1:])
    with pytest.raises(EssayError, match=READING_ORDER[0]):
        course.__wrapped__()


# The testers: each check above must catch a lesson that is wrong.


def test_a_right_lesson_differs_in_nothing():
    assert made().differs(made().numbers()) == []


def test_a_wrong_stated_number_is_reported_for_every_engine():
    wrong = made(stated={"y": [9.0], "dy/dx": [6.00001]})
    assert wrong.differs(wrong.numbers()) == [f"dy/dx: {engine} gives 6, the text states 6.00001" for engine in ENGINES]


@every_lesson
def test_every_stated_number_of_every_lesson_is_held(one):
    seen = one.numbers()
    for name, values in one.stated.items():
        changed = [1.0] if values is None else [values[0] * 1.0001 + (values[0] == 0), *values[1:]]
        wrong = dataclasses.replace(one, stated={**one.stated, name: changed})
        assert [text for text in wrong.differs(seen) if text.startswith(f"{name}:")]


def test_an_engine_that_is_off_by_more_than_rounding_is_reported_though_six_digits_agree():
    seen = {**made().numbers(), "PyTorch": {"y": [9.0], "dy/dx": [6.0 + 1e-9]}}
    assert made().differs(seen) == ["dy/dx: PyTorch gives [6.000000001], Value [6.0]"]


def test_an_engine_that_leaves_a_name_out_or_has_no_gradient_is_reported():
    assert made().differs({**made().numbers(), "PyTorch": {"y": [9.0]}}) == [
        "PyTorch speaks of ['y'], the text of ['y', 'dy/dx']"
    ]
    absent = {**made().numbers(), "PyTorch": {"y": [9.0], "dy/dx": None}}
    assert "dy/dx: PyTorch gives None, the text states 6" in made().differs(absent)


def test_a_wrong_number_is_noted_on_the_page_of_its_lesson():
    page = tell_lesson(made(stated={"y": [9.0], "dy/dx": [7.0]}))
    assert "NOTE: dy/dx: Value gives 6, the text states 7." in " ".join(page.split())


def test_an_exhibit_made_of_nothing_is_seen():
    with pytest.raises(AssertionError):
        test_an_exhibit_is_one_thing_under_a_caption(Exhibit("nothing to see"))
    with pytest.raises(AssertionError):
        test_an_exhibit_shows_something_that_fits_the_page(Exhibit("empty", text=lambda: " \n "))


@pytest.mark.parametrize("heading", HEADINGS)
def test_an_essay_with_a_heading_missing_or_empty_is_refused(heading):
    with pytest.raises(EssayError, match="accepted is a title line"):
        made(ESSAY.replace(f"{heading}: something.", ""))
    with pytest.raises(EssayError, match=rf"empty=\['{heading}'\]"):
        made(ESSAY.replace(f"{heading}: something.", f"{heading}:"))


# What the text of single lessons says beyond their stated numbers.


def test_the_class_of_building_value_has_the_lines_that_its_claim_says():
    source = inspect.getsource(building_value.Tiny).replace(building_value.Tiny.__doc__, "")
    lines = [line for line in source.splitlines() if line.strip() not in ("", '""""""')]
    assert len(lines) == 25
    assert "25 lines" in lesson("building-value").claim


def test_tiny_gives_the_slopes_of_school_rules_exactly():
    x = building_value.Tiny(Fraction(3, 7))
    u = x * x
    y = u + u * u
    y.backward()
    assert y.data == Fraction(9, 49) + Fraction(81, 2401)
    assert x.grad == 2 * Fraction(3, 7) + 4 * Fraction(27, 343)
    x = building_value.Tiny(0.5)
    (x * x).tanh().backward()
    assert x.grad == pytest.approx(1 / math.cosh(0.25) ** 2, rel=1e-15)  # dx²/dx = 2 x = 1; four roundings


def test_the_two_mistakes_of_building_value_give_the_wrong_numbers_that_its_text_states():
    for backward, of_square, of_both in (
        (building_value.Tiny.backward, 6, 114),
        (building_value.backward_with_equals, 3, 27),
        (building_value.backward_as_met, 6, 6),
    ):
        x = building_value.Tiny(3)
        backward(x * x)
        assert x.grad == of_square
        x = building_value.Tiny(3)
        u = x * x
        backward(u + u * u)
        assert x.grad == of_both


def test_the_forms_of_the_slope_of_tanh_keep_as_many_digits_as_the_text_says():
    head, *rows = [line.split() for line in functions_derived._in_float32().splitlines()]
    assert head[0] == "x"
    for x, right, subtracted, kept in (map(float, row) for row in rows):
        exact = float(1 / mpmath.cosh(x) ** 2)
        # float32 has u = 6e-8; e is rounded once, then five operations, each with a relative error of u at most.
        assert right == pytest.approx(exact, rel=1e-6)
        assert kept == pytest.approx(exact, rel=6 * 6e-8 + 1e-6)
        error = abs(subtracted - exact) / exact
        assert error < 1e-6 if x < 1 else 1e-2 < error < 1e-1 if x == 8 else error == 1 if x == 10 else error < 1e-3
