"""The course on paper: its list, a lesson's page, and the quiz on lessons and pitfalls that asks before it tells."""

import dataclasses
import math
from collections.abc import Iterable

import pytest
from gradwitness.scenarios import catalogue, observe
from gradwitness.scenarios.lessons import Exhibit, Lesson, course
from gradwitness.scenarios.lessons.lesson import ENGINES, HEADINGS
from gradwitness.scenarios.lessons.telling import contents, tell_lesson
from gradwitness.scenarios.observing import format_numbers
from gradwitness.scenarios.quizzing import MOST_ENTRIES, Score, is_near, number_of, take_quiz

COURSE = list(course().values())
every_lesson = pytest.mark.parametrize("one", COURSE, ids=lambda one: one.id)
every_pitfall = pytest.mark.parametrize("scenario", catalogue().values(), ids=lambda scenario: scenario.id)
ESSAY = "A title\n\n" + "\n".join(f"{heading}: The {heading.lower()}." for heading in HEADINGS)
NUMBERS = {"y": [9.0], "row": [0.5, -2.0], "long": [1.0, 2.0, 3.0, 4.0, 5.0], "gone": None, "none": []}


def numbers() -> dict[str, list[float] | None]:
    """What the code does."""
    return dict(NUMBERS)


def six() -> float:
    return 6.0


SMALL = Lesson.from_essay(ESSAY, numbers, numbers, numbers, stated=numbers(), answer=6.0, answers=(six, six, six))


def asked(parts: Iterable, *typed: str) -> tuple[Score, str]:
    """Score and transcript of a quiz in which these lines are typed and the input then ends."""
    lines, shown = iter(typed), []

    def ask(prompt: str) -> str:
        shown.append(prompt)
        for line in lines:
            shown.append(f"> {line}")
            return line
        raise EOFError

    return take_quiz(list(parts), ask, shown.append), "\n".join(shown)


def answers_to(outcome: dict[str, list[float] | None]) -> list[str]:
    """The right line for each question that is asked about these numbers."""
    typed: list[str] = []
    for values in outcome.values():
        if values is None:
            typed.append("none")
        elif len(values) <= MOST_ENTRIES:
            typed += [f"{value:.17g}" for value in values]
    return typed


def test_ids_of_lessons_and_pitfalls_do_not_clash():
    assert set(course()) & set(catalogue()) == set()


def test_the_list_names_every_lesson_with_its_title():
    words = " ".join(contents().split())
    for one in COURSE:
        assert f"{one.id} {one.title}" in words


@every_lesson
def test_a_page_holds_the_essay_and_the_numbers_of_three_engines(one):
    words = " ".join(tell_lesson(one).split())
    for text in (one.title, one.claim, *one.story, one.exercise.question, one.exercise.explanation, one.source):
        assert " ".join(text.split()) in words
    for engine in ENGINES:
        assert engine in words
    for values in one.stated.values():
        assert " ".join(format_numbers(values).split()) in words


def test_following_the_next_lesson_visits_all_and_ends_at_the_pitfalls():
    visited, here = [], COURSE[0].id
    while here in course():
        visited.append(here)
        _, _, after = tell_lesson(course()[here]).rpartition("Read next:")
        here = after.split(":")[0].strip()
    assert visited == list(course())
    assert here == "the pitfalls"


def test_an_exhibit_as_wide_as_the_page_loses_its_indent_and_not_its_end():
    wide = dataclasses.replace(SMALL, exhibits=(Exhibit("Wide", text=lambda: "x" * 100), Exhibit("Thin", text=str)))
    assert "x" * 100 in tell_lesson(wide).splitlines()


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        *(("0.5", 0.5), ("0,5", 0.5), ("-3e-4", -3e-4), ("1/3", 1 / 3), (" 2 / 4 ", 0.5), ("−2", -2.0), ("−1/−2", 0.5)),
        *(("1,5/3", 0.5), (".25", 0.25), ("+7", 7.0), ("inf", math.inf)),
    ],
)
def test_a_number_is_read_with_point_comma_or_as_a_fraction(typed, number):
    assert number_of(typed) == number


@pytest.mark.parametrize("junk", ["a third", "1/0", "0/0", "1/3/1", "1.000,5", "0x1", "1 2", "/", "1/", "--1", "½"])
def test_what_is_no_number_is_refused(junk):
    with pytest.raises(ValueError):
        number_of(junk)


def test_near_is_half_a_percent_and_absence_is_near_itself_only():
    assert is_near(200.9, 200.0) and not is_near(201.1, 200.0)
    assert is_near(-0.004, 0.0) and not is_near(0.006, 0.0)
    assert is_near(None, None) and not is_near(None, 0.0) and not is_near(0.0, None)
    assert is_near(math.nan, math.nan) and not is_near(math.nan, 1.0) and not is_near(1.0, math.nan)
    assert is_near(math.inf, math.inf) and not is_near(-math.inf, math.inf) and not is_near(math.inf, 1.0)


def test_numbers_are_asked_for_entry_by_entry_and_long_lists_are_only_shown():
    score, shown = asked([SMALL], "9", "1/2", "2", "none", "6")
    assert str(score) == "4 of 5 right"
    prompts = [line for line in shown.splitlines() if line.endswith(("= ? ", "answer: "))]
    assert prompts == [
        *("y = ? ", "row, entry 1 of 2 = ? ", "row, entry 2 of 2 = ? ", "gone = ? ", "your answer: "),
    ]
    assert "long: [1, 2, 3, 4, 5] (not asked)" in shown
    assert "-2: you said 2" in shown and "0.5: right" in shown and "None: right" in shown
    assert shown.endswith("Score: 4 of 5 right.")


def test_empty_lines_pass_and_junk_is_asked_again_without_being_counted():
    score, shown = asked([SMALL], "nine", "", "", " ", "", "5")
    assert score == Score(asked=5, right=0, passed=4)
    assert "found 'nine'; accepted is a number" in " ".join(shown.split())
    assert shown.count("y = ? ") == 2
    assert "you said" not in shown
    assert "Not quite." in shown


@pytest.mark.parametrize("typed", [0, 1, 3])
def test_where_the_input_ends_the_score_so_far_is_told(typed):
    score, shown = asked([SMALL], *["9", "0.5", "-2"][:typed])
    assert (score.asked, score.right) == (typed, typed)
    assert "The input has ended." in shown
    assert shown.endswith(f"Score: {typed} of {typed} right." if typed else "Score: no question was answered.")


def test_the_claim_the_story_and_the_answer_are_told_after_they_were_asked_for():
    _, shown = asked([SMALL], "", "", "", "", "6")
    order = [
        "gone = ? ",
        "The claim.",
        "The story.",
        "The exercise.",
        "your answer: ",
        "Right.",
        "The answer.",
        "PyTorch",
    ]
    places = [shown.rindex(text) for text in order]
    assert places == sorted(places)


@every_lesson
def test_the_right_numbers_of_a_lesson_are_all_right(one):
    numbers = {name: values for name, values in one.numbers()[ENGINES[0]].items() if name not in one.unasked}
    typed = [*answers_to(numbers), f"{one.exercise.stated:.17g}"]
    score, shown = asked([one], *typed)
    assert all(f"{name}: " in shown for name in one.unasked)
    assert score == Score(asked=len(typed), right=len(typed))


@every_lesson
def test_no_number_of_a_lesson_is_shown_before_it_was_asked_for(one):
    _, shown = asked([one])
    assert "The numbers of this run" not in shown and "The claim" not in shown
    assert one.claim.split(",")[0] not in " ".join(shown.split())


def test_several_parts_have_a_score_each_and_one_together():
    score, shown = asked([SMALL, SMALL], "9", "0.5", "-2", "none", "6", "", "", "", "", "7")
    assert "test-lesson-pages: 5 of 5 right\n" in shown
    assert "test-lesson-pages: 0 of 5 right, 4 passed\n" in shown
    assert str(score) == "5 of 10 right, 4 passed"


@every_pitfall
def test_the_right_predictions_of_a_pitfall_are_all_right(scenario):
    seen = observe(scenario)
    stops = isinstance(seen.torch, str)
    typed = ["yes"] if stops else ["no", *answers_to(seen.torch)]
    typed += answers_to(seen.right)
    score, shown = asked([scenario], *typed)
    assert score == Score(asked=len(typed), right=len(typed))
    assert "The input has ended" not in shown


@every_pitfall
def test_a_pitfall_is_predicted_before_symptom_cause_and_fix_are_told(scenario):
    _, before = asked([scenario])
    for text in (scenario.symptom, scenario.cause, scenario.fix):
        assert text not in " ".join(before.split())
    assert "does PyTorch stop with an error (yes or no)?" in before
    _, whole = asked([scenario], *[""] * 100)
    for text in (scenario.symptom, scenario.cause, scenario.fix):
        assert " ".join(text.split()) in " ".join(whole.split())


def test_yes_or_no_is_asked_again_for_anything_else():
    scenario = catalogue()["forgotten-zeroing"]
    score, shown = asked([scenario], "maybe", "Y")
    assert score == Score(asked=1, right=0)
    assert "found 'maybe'; accepted is yes, no or an empty line" in " ".join(shown.split())
    assert "no: you said yes" in shown
