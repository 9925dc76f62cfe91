"""Properties of every pitfall in the catalogue: complete, still true, right, quick, and without side effects."""

import inspect
import random
import time

import numpy as np
import pytest
import torch
from gradwitness.scenarios import FAMILIES, Scenario, catalogue, observe, record
from gradwitness.scenarios.observing import differing, is_same
from gradwitness.scenarios.scenario import HEADINGS

SCENARIOS = list(catalogue().values())
every_pitfall = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)

SECONDS = 1.0  # wall clock: what a learner waits for without wondering; the slowest takes about 0.01
REQUIRED = 12  # pitfalls, over the three families


def test_there_are_at_least_twelve_pitfalls_and_none_of_the_families_is_empty():
    assert len(SCENARIOS) >= REQUIRED
    assert {scenario.family for scenario in SCENARIOS} == set(FAMILIES)


def test_at_least_half_of_the_truths_come_from_the_reference_engine():
    engine = [scenario for scenario in SCENARIOS if scenario.witness == "the reference engine"]
    assert 2 * len(engine) >= len(SCENARIOS)


@every_pitfall
def test_an_id_is_the_name_of_its_file_and_a_family_that_of_its_folder(scenario: Scenario):
    module = inspect.getmodule(inspect.unwrap(scenario.faulty))
    assert module.__name__.split(".")[-2:] == [scenario.family, scenario.id.replace("-", "_")]
    assert catalogue()[scenario.id] is scenario


@every_pitfall
def test_every_heading_says_something(scenario: Scenario):
    for heading in HEADINGS:
        assert len(getattr(scenario, heading.lower().replace(" ", "_"))) >= len("w: ()"), heading
    assert "\n" not in scenario.title + scenario.symptom
    assert scenario.seen_on.startswith("torch ")


@every_pitfall
def test_every_function_says_in_one_paragraph_what_it_does(scenario: Scenario):
    for function in (scenario.faulty, scenario.fixed, scenario.truth):
        assert inspect.getdoc(function), f"{scenario.id}: {function.__name__} has no docstring"


@every_pitfall
def test_the_faulty_form_still_shows_the_symptom(scenario: Scenario):
    seen = observe(scenario)
    assert seen.wrong, f"{scenario.id}: PyTorch gives {seen.torch}, which is right; the pitfall has been repaired"
    assert not isinstance(seen.torch, str) or "Error: " in seen.torch


@every_pitfall
def test_the_repaired_form_is_right(scenario: Scenario):
    assert not differing(scenario.fixed(), scenario.truth()), (scenario.fixed(), scenario.truth())


@every_pitfall
def test_faulty_and_repaired_form_agree_in_the_values_that_hid_the_fault(scenario: Scenario):
    seen = observe(scenario)
    faulty, fixed = seen.torch, seen.fixed
    if isinstance(faulty, str):
        assert scenario.same == (), f"{scenario.id}: nothing can agree with an exception"
    for name in scenario.same:
        assert is_same(faulty[name], fixed[name]), name


@every_pitfall
def test_the_three_forms_speak_of_the_same_quantities(scenario: Scenario):
    seen = observe(scenario)
    assert list(seen.fixed) == list(seen.right)
    assert isinstance(seen.torch, str) or list(seen.torch) == list(seen.right)


@every_pitfall
def test_no_right_answer_is_missing_or_not_finite(scenario: Scenario):
    for name, values in scenario.truth().items():
        assert values, name
        assert np.all(np.isfinite(values)), name


@every_pitfall
def test_a_record_is_one_line_a_cell_and_says_that_the_symptom_shows(scenario: Scenario):
    row = record(scenario)
    assert list(row) == ["id", "title", "family", "symptom", "torch", "right", "fixed", "shown"]
    assert row["shown"] is True
    assert row["right"] == row["fixed"] != row["torch"]
    assert not any("\n" in str(cell) for cell in row.values())


@every_pitfall
def test_a_second_run_gives_the_same_bits(scenario: Scenario):
    first, second = observe(scenario), observe(scenario)
    assert (first.torch, first.right, first.fixed, first.warnings) == (
        second.torch,
        second.right,
        second.fixed,
        second.warnings,
    )


@every_pitfall
def test_a_run_leaves_the_settings_of_the_process_as_they_were(scenario: Scenario):
    def settings():
        return (
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_anomaly_enabled(),
            torch.is_warn_always_enabled(),
            torch.get_num_threads(),
        )

    before = settings()
    observe(scenario)
    assert settings() == before


@every_pitfall
def test_a_run_ends_within_a_second(scenario: Scenario):
    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # the first optimizer of a process imports much; that is not the scenario
    start = time.perf_counter()
    observe(scenario)
    assert time.perf_counter() - start < SECONDS


@every_pitfall
def test_no_truth_asks_pytorch(scenario: Scenario):
    assert "torch" not in inspect.getsource(scenario.truth).replace("PyTorch", "")
