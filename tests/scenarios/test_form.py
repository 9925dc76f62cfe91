"""The form of a scenario and of the catalogue: what is refused, what is kept, and what importing costs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gradwitness.scenarios import EssayError, Scenario, UnknownScenario, catalogue, collection, find, observe
from gradwitness.scenarios.observing import ROUNDING, differing, format_numbers, is_same
from gradwitness.scenarios.scenario import HEADINGS, plain, raises

ESSAY = "A title\n\n" + "\n".join(f"{heading}: something." for heading in HEADINGS)


def nothing():
    return {"w.grad": [1.0]}


def essay(text: str | None) -> Scenario:
    return Scenario.from_essay(text, nothing, nothing, nothing)


def test_a_complete_essay_is_read_paragraph_by_paragraph():
    scenario = essay(ESSAY.replace("Cause: something.", "Cause: one line\n    and another."))
    assert scenario.title == "A title"
    assert scenario.cause == "one line and another."
    assert scenario.id == "test-form"


@pytest.mark.parametrize("heading", HEADINGS)
def test_an_essay_without_one_of_the_headings_is_refused_and_the_list_is_shown(heading):
    with pytest.raises(EssayError, match="Seen on"):
        essay(ESSAY.replace(f"{heading}: something.", ""))


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_heading_with_nothing_below_it_is_refused_by_name(heading):
    with pytest.raises(EssayError, match=rf"empty=\['{heading}'\]"):
        essay(ESSAY.replace(f"{heading}: something.", f"{heading}:"))


def test_headings_out_of_order_or_repeated_are_refused():
    with pytest.raises(EssayError):
        essay(ESSAY.replace("Cause", "X").replace("Fix", "Cause").replace("X", "Fix"))
    with pytest.raises(EssayError):
        essay(ESSAY + "\nFix: again.")


def test_an_essay_without_a_title_and_a_module_without_a_docstring_are_refused():
    with pytest.raises(EssayError, match="title=''"):
        essay(ESSAY.removeprefix("A title"))
    with pytest.raises(EssayError, match="title=''"):
        essay(None)


def test_the_catalogue_cannot_be_written_to():
    with pytest.raises(TypeError):
        catalogue()["new"] = catalogue()["leaf-in-place"]  # type: ignore[index]


def test_a_file_that_is_in_no_reading_order_is_refused(monkeypatch):
    import gradwitness.scenarios.detach as family

    monkeypatch.setattr(family, "READING_ORDER", family.READING_ORDER[1:])
    with pytest.raises(EssayError, match="detach.*detached_path"):
        collection.catalogue.__wrapped__()


def test_an_id_that_occurs_twice_is_refused(monkeypatch):
    import gradwitness.scenarios.inplace.leaf_replaced as module

    monkeypatch.setattr(module, "SCENARIO", catalogue()["leaf-in-place"])
    with pytest.raises(EssayError, match="id='leaf-in-place' occurs in inplace and in inplace"):
        collection.catalogue.__wrapped__()


def test_every_folder_with_scenarios_is_a_family():
    folders = {
        path.parent.name for path in Path(collection.__file__).parent.glob("*/*.py") if "SCENARIO" in path.read_text()
    }
    assert folders == set(collection.FAMILIES)


def test_a_misspelt_id_is_answered_with_the_near_ones():
    with pytest.raises(UnknownScenario) as caught:
        find("forgoten-zeroing")
    assert caught.value.matches[0] == "forgotten-zeroing"
    assert "id='forgoten-zeroing' is unknown" in str(caught.value)
    assert "gradwitness learn" in str(caught.value)


def test_a_word_of_an_id_finds_all_that_hold_it():
    with pytest.raises(UnknownScenario) as caught:
        find("Leaf")
    assert {"leaf-in-place", "leaf-replaced", "nonleaf-grad"} <= set(caught.value.matches)


def test_an_id_like_no_other_says_so():
    with pytest.raises(UnknownScenario, match="none comes near"):
        find("qqqqqqqq")
    with pytest.raises(UnknownScenario, match="none comes near"):
        find("")


def test_an_unknown_id_is_a_key_error():
    assert issubclass(UnknownScenario, KeyError)


def test_the_announced_exception_becomes_its_text_and_any_other_passes():
    @raises("modified")
    def announced():
        raise RuntimeError("it was modified\nby somebody")

    @raises("modified")
    def other():
        raise RuntimeError("out of memory")

    assert announced() == "RuntimeError: it was modified by somebody"
    with pytest.raises(RuntimeError, match="out of memory"):
        other()


def test_plain_copies_and_keeps_none():
    tensor = torch.ones(2, 2, requires_grad=True)
    values = plain(tensor)
    with torch.no_grad():
        tensor.zero_()
    assert values == [1.0, 1.0, 1.0, 1.0]
    assert plain(None) is None
    assert plain(2) == plain(np.float64(2)) == [2.0]


def test_absence_is_not_zero_and_lengths_matter():
    assert is_same(None, None)
    assert not is_same(None, [0.0])
    assert not is_same([0.0], None)
    assert not is_same([1.0], [1.0, 1.0])
    assert not is_same([float("nan")], [float("nan")])


def test_agreement_ends_at_the_stated_rounding():
    assert is_same([1.0], [1.0 + ROUNDING / 2])
    assert not is_same([1.0], [1.0 + 2 * ROUNDING])


def test_a_name_on_one_side_only_differs():
    assert differing({"a": [1.0]}, {"a": [1.0], "b": [1.0]}) == ("b",)
    assert differing({"a": [1.0], "b": None}, {"a": [1.0]}) == ("b",)
    assert differing("RuntimeError: no", {"a": [1.0]}) == ("a",)


def test_numbers_are_written_for_readers():
    assert format_numbers(None) == "None"
    assert format_numbers([0.1 + 0.2]) == "0.3"
    assert format_numbers([1.0, -2.5]) == "[1, -2.5]"


def test_the_warning_switch_is_restored_even_where_a_scenario_crashes():
    def crash():
        raise ZeroDivisionError

    scenario = Scenario.from_essay(ESSAY, crash, nothing, nothing)
    with pytest.raises(ZeroDivisionError):
        observe(scenario)
    assert not torch.is_warn_always_enabled()


def test_neither_importing_nor_listing_the_pitfalls_loads_pytorch():
    code = (
        "import sys, json, gradwitness.scenarios as s; s.overview(); "
        "print(json.dumps(['torch' in sys.modules, len(s.catalogue())]))"
    )
    loaded, count = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not loaded
    assert count == len(catalogue())
