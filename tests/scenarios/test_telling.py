"""The page of a pitfall: its steps, its numbers, its real code; and the list of all."""

import dataclasses
import inspect

import pytest
from gradwitness.scenarios import catalogue, observe, overview, tell
from gradwitness.scenarios.observing import format_numbers
from gradwitness.scenarios.sources import code_of, place_of, repair_of
from gradwitness.scenarios.telling import WIDTH

SCENARIOS = list(catalogue().values())
every_pitfall = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
STEPS = (
    "1. The symptom",
    "2. The setting",
    "3. The code at fault",
    "4. What PyTorch gives",
    "5. What is right, and how we know",
    "6. The repair",
    "7. Why it happens",
    "8. The rule to remember",
)


def words(text: str) -> str:
    return " ".join(text.split())


@every_pitfall
def test_the_steps_come_in_their_order_and_each_has_a_body(scenario):
    lines = tell(scenario).splitlines()
    places = [lines.index(step) for step in STEPS]
    assert places == sorted(places)
    assert all(lines[place + 1].startswith("   ") or lines[place + 2].startswith("   ") for place in places)


@every_pitfall
def test_the_page_holds_the_numbers_of_this_run(scenario):
    page, seen = words(tell(scenario)), observe(scenario)
    for outcome in (seen.torch, seen.right, seen.fixed):
        if isinstance(outcome, str):
            assert outcome in page
        else:
            for name, values in outcome.items():
                assert words(f"{name} {format_numbers(values)}") in page


@every_pitfall
def test_the_page_holds_the_real_code_of_all_three_forms(scenario):
    page = tell(scenario)
    for function in (scenario.faulty, scenario.truth):
        for line in code_of(function):
            assert line in page
    for line in code_of(scenario.fixed):
        assert line.strip() in page


@every_pitfall
def test_the_page_holds_every_word_of_the_essay(scenario):
    page = words(tell(scenario))
    for text in (scenario.title, scenario.symptom, scenario.cause, scenario.fix, scenario.shapes, scenario.source):
        assert text in page


@every_pitfall
def test_no_line_is_wider_than_the_page_or_ends_in_spaces(scenario):
    for line in tell(scenario).splitlines():
        assert len(line) <= WIDTH, line
        assert line == line.rstrip()


@every_pitfall
def test_the_repair_is_shown_as_what_goes_and_what_comes(scenario):
    repair = repair_of(scenario)
    assert any(line.startswith("+ ") for line in repair)
    kept_and_new = [line[2:] for line in repair if not line.startswith("- ")]
    assert kept_and_new == code_of(scenario.fixed)


def test_a_wrong_factor_is_named():
    page = tell(catalogue()["loss-not-divided"])
    assert "<- 2 times the right value" in page


def test_a_wrong_sign_a_lost_gradient_and_wrong_entries_are_named():
    assert "<- wrong sign" in tell(catalogue()["target-not-detached"])
    assert "<- lost: zero" in tell(catalogue()["expanded-tensor"])
    assert "<- 1 of 2 entries wrong" in tell(catalogue()["overwritten-through-data"])


def test_a_missing_gradient_is_named_and_pytorchs_own_warning_is_told():
    page = tell(catalogue()["nonleaf-grad"])
    assert "<- missing" in page
    assert "It also warns:" in page
    assert "Triggered internally" not in page


def test_following_the_next_pitfall_visits_all_and_comes_back():
    first = here = SCENARIOS[0].id
    visited = []
    while here not in visited:
        visited.append(here)
        (line,) = [line for line in tell(catalogue()[here]).splitlines() if line.startswith("Read next:")]
        here = line.removeprefix("Read next:").split(":")[0].strip()
    assert here == first
    assert visited == list(catalogue())


def test_a_pitfall_that_pytorch_has_repaired_is_told_as_such():
    scenario = catalogue()["forgotten-zeroing"]
    repaired = dataclasses.replace(scenario, faulty=scenario.fixed)
    assert not observe(repaired).shown
    page = words(tell(repaired))
    assert "the symptom no longer shows as told; it was seen on torch 2.13.0" in page


def test_a_repair_that_is_no_longer_right_is_told_as_such():
    scenario = catalogue()["forgotten-zeroing"]
    broken = dataclasses.replace(scenario, fixed=scenario.faulty)
    assert not observe(broken).shown
    page = words(tell(broken))
    assert "the repaired form is not right on this version of PyTorch" in page
    assert "differs" in page


def test_the_overview_lists_every_pitfall_under_its_family():
    text = overview()
    assert max(map(len, text.splitlines())) <= WIDTH
    places = [text.index(f"  {scenario.id} ") for scenario in SCENARIOS]
    assert places == sorted(places)
    for scenario in SCENARIOS:
        assert scenario.title in words(text)


def test_the_place_of_a_function_is_where_its_def_stands():
    scenario = catalogue()["leaf-in-place"]  # its faulty form is decorated
    path, line = place_of(scenario.faulty).split(":")
    assert path == "scenarios/inplace/leaf_in_place.py"
    source = inspect.getsource(inspect.getmodule(inspect.unwrap(scenario.faulty))).splitlines()
    assert source[int(line) - 1].startswith("def faulty")


def test_a_table_that_is_too_wide_is_written_row_by_row():
    page = tell(catalogue()["item-round-trip"])
    assert "PyTorch gave: None" in page
    assert "right:        -3.49808" in page
