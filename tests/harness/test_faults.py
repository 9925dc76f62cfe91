"""Planted faults: each changes PyTorch's derivative while planted, leaves nothing behind, and is counted right."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.errors import UsageError
from gradwitness.harness.faults import catalogue, planted
from gradwitness.harness.faults.asking import answer, ask, effect, unchanged
from gradwitness.harness.faults.catalogue import chosen
from gradwitness.harness.faults.checkers import by_gradcheck, by_gradwitness, outcome
from gradwitness.harness.faults.command import run_faults
from gradwitness.harness.faults.fault import CLASSES, fault
from gradwitness.harness.faults.page import by_class, cell, markdown
from gradwitness.harness.faults.programs import PROGRAMS, Draw
from gradwitness.harness.faults.scoreboard import SIZES, Scoreboard, cases, missed, shares
from gradwitness.harness.runners.compiling import missing_compiler

FAULTS = catalogue()
NAMES = sorted(FAULTS)
# A gradient of one entry times 1 + size, both rounded: the quotient is off from 1 + size by at most 4 units in 2⁻⁵².
ROUNDED = 4 * 2.0**-52


def test_there_are_at_least_150_faults_and_each_class_has_some():
    assert len(FAULTS) >= 150
    assert {f.fault_class for f in FAULTS.values()} == set(CLASSES)
    assert sum(f.sized for f in FAULTS.values()) >= 100


def test_the_catalogue_cannot_be_changed():
    with pytest.raises(TypeError):
        catalogue()["sin-formula"] = None


def test_a_source_is_a_repository_and_a_number():
    for f in FAULTS.values():
        assert not f.source or re.fullmatch(r"[\w-]+/[\w-]+#\d+", f.source), f


def test_every_program_serves_a_fault_and_is_drawn_alike_from_one_seed():
    assert {f.program for f in FAULTS.values()} <= set(PROGRAMS)
    for build in PROGRAMS.values():
        (_, a), (_, b), (_, c) = build(Draw(1), 12), build(Draw(1), 12), build(Draw(2), 12)
        assert all(torch.equal(x.nan_to_num(0.5), y.nan_to_num(0.5)) for x, y in zip(a, b, strict=True))
        assert not all(torch.equal(x, y) for x, y in zip(a, c, strict=True))


# The wrong rules that public reports spell out, each planted under the number of its report.
REPORTED = """
    pytorch/pytorch#196682 ml-explore/mlx#3634 pytorch/pytorch#53989 pytorch/pytorch#196704 pytorch/pytorch#192406
    pytorch/pytorch#195681 pytorch/pytorch#195685 tinygrad/tinygrad#15363 pytorch/pytorch#2421 pytorch/pytorch#4320
    pytorch/pytorch#773 tensorflow/tensorflow#3862 pytorch/pytorch#76523 pytorch/pytorch#104675 pytorch/pytorch#27134
    pytorch/pytorch#46144 pytorch/pytorch#51408 pytorch/pytorch#36493 pytorch/pytorch#23925 pytorch/pytorch#1631
    pytorch/pytorch#190063 pytorch/pytorch#52241 pytorch/pytorch#3876 pytorch/pytorch#1787 pytorch/pytorch#32705
    pytorch/pytorch#195075 flagos-ai/FlagGems#5218 pytorch/executorch#21686 huggingface/diffusers#14341
    PaddlePaddle/Paddle#32448 pytorch/pytorch#77128
""".split()


@pytest.mark.parametrize("source", REPORTED)
def test_the_rule_of_each_report_is_planted(source):
    assert [f.name for f in FAULTS.values() if f.source == source]


def test_the_classes_are_the_sixteen_of_the_survey():
    assert len(CLASSES) == len(set(CLASSES)) == 16


COMPILED = [n for n in NAMES if FAULTS[n].runner == "compile"]
ONE_COMPILED = "compiled-slope-of-tanh"  # each takes seconds; the others are run by the campaign


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.campaign] if n in COMPILED and n != ONE_COMPILED else []) for n in NAMES],
)
def test_a_planted_fault_changes_the_derivative_and_is_undone_bit_for_bit(name):
    f = FAULTS[name]
    for mode in f.modes:
        asked = ask(f.program, 10, "sum", runner=f.runner)
        before = answer(asked, mode)
        with planted(name):
            during = answer(asked, mode)
        assert effect(before, during) > 0
        assert unchanged(before, answer(asked, mode))
        with pytest.raises(ZeroDivisionError), planted(name):
            answer(asked, mode)
            raise ZeroDivisionError
        assert unchanged(before, answer(asked, mode))


@pytest.mark.parametrize("name", [n for n in NAMES if FAULTS[n].sized])
def test_a_sized_fault_of_one_millionth_in_one_entry_changes_the_derivative(name):
    f = FAULTS[name]
    asked = ask(f.program, 10, "mean")
    before = answer(asked, f.modes[0])
    with planted(f, 1e-6, "one"):
        during = answer(asked, f.modes[0])
    assert 0 < effect(before, during) < 1e-2


def test_the_size_is_relative_to_the_entry_and_only_that_entry_is_damaged():
    x = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
    with planted("tanh-formula", 1e-3, "one", position=0.5):
        (g,) = torch.autograd.grad(torch.tanh(x).sum(), x)
    right = [1 - math.tanh(v) ** 2 for v in (0.3, -0.7, 1.1)]
    quotients = [a / b for a, b in zip(g.tolist(), right, strict=True)]
    # 1 - |y| lies below 1 - y², so that the damaged entry is smaller
    assert quotients == pytest.approx([1, 1 - 1e-3, 1], abs=ROUNDED * 10)


def test_the_whole_fault_is_the_wrong_formula_itself():
    x = torch.tensor([0.3, 2.0], dtype=torch.float64, requires_grad=True)
    with planted("div-formula"):
        (g,) = torch.autograd.grad(torch.div(x.new_tensor([1.0, 3.0]), x).sum(), x)
    assert g.tolist() == pytest.approx([1 / 0.09, 3 / 4])  # +a/b² instead of -a/b²


def test_a_graph_that_outlives_the_fault_is_differentiated_rightly():
    x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    with planted("sin-formula"):
        y = torch.sin(x)
        (wrong,) = torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
    (g,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert g.item() == math.cos(0.5)
    assert wrong.item() == 1 - 0.125


def test_other_operations_are_not_damaged():
    x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    with planted("sin-formula"):
        (g,) = torch.autograd.grad(torch.cos(x).sum(), x)
    assert g.item() == -math.sin(0.5)


def test_a_fault_of_the_second_derivative_leaves_the_first_alone():
    asked = ask("tanh", 10, "sum")
    right = answer(asked, "R")
    with planted("tanh-second"):
        assert unchanged(right, answer(asked, "R"))
    with planted("tanh-slope-constant"):
        assert effect(right, answer(asked, "R")) < 1e-14


def test_a_planted_rule_is_named_as_the_operation_not_as_a_hook():
    asked = ask("tanh", 10, "sum")
    with planted("tanh-formula", 1e-6, "one"):
        culprit = check(asked.loss, asked.inputs).culprit
    assert culprit.operation == "aten::tanh.default"


def test_no_mode_of_torch_is_left_on_the_stack():
    with planted("sin-formula"):
        assert torch.overrides._get_current_function_mode() is not None
    assert torch.overrides._get_current_function_mode() is None
    with planted("exp-kernel-of-a-block"):
        pass
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


@pytest.mark.skipif(missing_compiler() is not None, reason="inductor needs a C++ compiler")
def test_a_wrong_rewriting_is_found_in_compiled_code_and_the_compiler_is_named():
    asked = ask("tanh", 10, "sum", runner="compile")
    with planted(ONE_COMPILED):
        seen = by_gradwitness(asked, "R")
        assert (seen.flagged, seen.whole, seen.named) == (True, True, "compile")
        assert not by_gradwitness(ask("tanh", 10, "sum"), "R").flagged  # eager code is right
    assert not by_gradwitness(asked, "R").flagged


def test_gradcheck_fast_misses_half_of_a_gradient_under_a_mean_and_sees_it_under_a_sum():
    for loss, expected in (("mean", "accepted"), ("sum", "rejected")):
        with planted("tanh-formula", 0.5, "all"):
            assert by_gradcheck(ask("tanh", 100_000, loss), "R", fast=True) == expected


def test_the_sharp_cases_are_one_entry_of_each_sized_fault_and_the_halves_meet_both_losses():
    found = cases([FAULTS["tanh-formula"]])
    sharp = [c for c in found if c.size == 1e-6 and c.extent == "one"]
    assert {10, 100, 1000, 100_000, 1_000_000} <= {c.elements for c in sharp}
    assert {c.loss for c in found if c.size == 0.5 and c.elements == 100_000} == {"sum", "mean"}


def test_the_readme_tells_the_figures_of_the_recorded_scoreboard():
    root = Path(__file__).resolve().parents[2]
    recorded = (root / "docs" / "scoreboard.md").read_text(encoding="utf-8")
    section = (root / "README.md").read_text(encoding="utf-8").partition("## How good is it: the scoreboard")[2]
    section = section.partition("\n## ")[0]
    rows = re.findall(r"^\| (float\d\d, one entry .*?) \| (.*?) \| (.*?) \|$", recorded, flags=re.MULTILINE)
    assert len(rows) == 3
    for question, share, wanted in rows:
        assert f"| {question} | {share} | {wanted} |" in section, question
    counts = re.search(r"(\d+) cases of (\d+) faults", recorded)
    words = " ".join(section.split())
    assert counts is not None and counts.group(0) in words
    tables = [line.strip("| ").split(" | ") for line in recorded.splitlines() if line.startswith("| ")]
    fast = {row[2]: row[9] for row in tables if row[:2] == ["5e-01", "100000"]}
    assert f"finds {fast['sum']} of gradients of 100,000 entries" in words
    assert f"and {fast['mean']} of the same" in words
    millionth = [row for row in tables if row[0] == "1e-06" and row[1].isdigit()]
    assert millionth and {row[9] for row in millionth} == {"0 %"}  # gradcheck "finds nothing"


def test_unknown_names_are_refused_with_the_nearest_ones():
    with pytest.raises(UsageError, match="sin-formulla.*sin-formula"):
        planted("sin-formulla").__enter__()
    with pytest.raises(UsageError, match="indexes.*duplicate indices"):
        chosen(classes=["duplicate indexes"])
    assert {f.fault_class for f in chosen(classes=["duplicate"])} == {"duplicate indices"}


def test_sizes_and_extents_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="sinc-at-zero with size=0.1; accepted is size=None"):
        planted("sinc-at-zero", 0.1).__enter__()
    with pytest.raises(UsageError, match="extent='most'; accepted are one, some, all"):
        planted("sin-formula", 0.1, "most").__enter__()


def test_gradwitness_finds_and_names_while_gradcheck_accepts_a_millionth():
    asked = ask("sin", 10, "sum")
    assert not by_gradwitness(asked, "R").flagged
    with planted("sin-formula", 1e-6, "one"):
        seen = by_gradwitness(asked, "R")
        assert (seen.flagged, seen.local, seen.whole, seen.named) == (True, True, True, "sin")
        assert by_gradcheck(asked, "R", fast=False) == by_gradcheck(asked, "R", fast=True) == "accepted"
    with planted("sin-formula"):
        assert by_gradcheck(asked, "R", fast=False) == "rejected"


def test_gradcheck_is_not_asked_what_it_cannot_afford_or_has_no_mode_for():
    assert by_gradcheck(ask("sin", 5000, "sum"), "R", fast=False) == "not affordable (10,000 forward passes)"
    assert by_gradcheck(ask("sin", 10, "sum"), "FF", fast=True) == "no such mode"
    assert by_gradcheck(ask("sin", 10, "sum", torch.float32), "R", fast=True) == "needs float64"


@pytest.mark.parametrize(
    ("planted_says", "clean_says", "expected"),
    [
        ("rejected", "accepted", "detected"),
        ("accepted", "accepted", "missed"),
        ("rejected", "rejected", "false alarm"),
        ("needs float64", "needs float64", "needs float64"),
    ],
)
def test_a_check_that_rejects_the_right_gradient_too_detects_nothing(planted_says, clean_says, expected):
    assert outcome(planted_says, clean_says) == expected


def test_shares_count_false_alarms_as_misses_and_leave_out_what_was_not_asked():
    frame = pd.DataFrame(
        {
            "fault_class": ["a", "a", "a", "a", "b"],
            "effect": [0.1, 0.1, 0.1, 0.0, 0.1],
            "gradwitness": ["detected", "detected", "missed", "no effect", "detected"],
            "gradcheck slow": ["detected", "false alarm", "not affordable (10 forward passes)", "no effect", "missed"],
            "gradcheck fast": ["needs float64"] * 3 + ["no effect", "no such mode"],
        }
    )
    table = shares(frame, ["fault_class"]).set_index("fault_class")
    assert table.loc["a", "cases"] == 3
    assert table.loc["a", "gradwitness"] == 2 / 3
    assert (table.loc["a", "gradcheck slow"], table.loc["a", "gradcheck slow of"]) == (0.5, 2)
    assert (table.loc["b", "gradcheck fast"], table.loc["b", "gradcheck fast of"]) == (0, 1)
    assert table.loc["a", "gradcheck fast of"] == 0
    assert [cell(table.loc["a"], c) for c in ("gradwitness", "gradcheck slow", "gradcheck fast")] == [
        "67 %",
        "50 % of 2",
        "–",
    ]
    assert list(missed(frame).index) == [2]


def test_a_share_just_below_the_whole_is_not_rounded_up():
    row = pd.Series({"cases": 1000, "gradwitness": 0.999, "gradwitness of": 1000})
    assert cell(row, "gradwitness") == "99.90 %"


def test_cases_combine_named_sizes_elements_losses_and_modes():
    found = cases([FAULTS["sin-formula"], FAULTS["tanh-slope-constant"]], [1e-6], [10, 20])
    assert len(found) == 2 * 2 + 2 * 2 * 2  # losses × elements; losses × elements × modes RR and FR
    assert {(c.loss, c.elements) for c in found} == {("sum", 10), ("sum", 20), ("mean", 10), ("mean", 20)}


def test_by_default_all_sizes_are_met_and_quick_is_one_case_a_fault_and_mode():
    everything = cases(list(FAULTS.values()))
    assert {c.size for c in everything} == {None, 0.5, *SIZES}
    assert max(c.elements for c in everything) == 1_000_000
    assert {c.extent for c in everything} == {"one", "some", "all"}
    assert {c.loss for c in everything if c.dtype == "float64"} == {"sum", "mean"}
    quick = cases(list(FAULTS.values()), quick=True)
    assert len(quick) == sum(len(f.modes) for f in FAULTS.values())


def test_the_scoreboard_of_two_faults_holds_what_each_check_says():
    todo = cases([FAULTS["sin-formula"], FAULTS["mse-target"]], [1e-6], [10])
    frame = Scoreboard().run(todo)
    assert list(frame["fault"]) == ["sin-formula"] * 2 + ["mse-target"] * 2
    assert set(frame["gradwitness"]) == set(frame["localised"]) == {"detected"}
    assert list(frame["gradcheck slow"]) == ["missed", "missed", "detected", "detected"]
    assert set(frame["assert_close"]) == {"missed"}  # both precisions by the same wrong rule
    table = by_class(frame)
    assert list(table["size"]) == ["1e-06", "1e-06", "whole", "whole"]
    assert markdown(table).splitlines()[0].startswith("| class of fault | size | loss |")


def test_a_fault_without_effect_is_said_to_have_none_and_is_not_counted():
    nothing = fault("nothing", CLASSES[0], "sin", "sin", "SinBackward0", lambda n, g, r: r, "the right rule")
    frame = Scoreboard().run(cases([nothing], None, [10]))
    assert set(frame["gradwitness"]) == {"no effect"}
    assert shares(frame, ["fault_class"]).empty


def test_the_command_writes_cases_and_tables(tmp_path, capsys):
    assert run_faults(only=["sin-formula"], sizes=["1e-3"], elements=["10"], out=tmp_path / "new") == 0
    assert len(pd.read_csv(tmp_path / "new" / "faults.csv")) == 3  # two losses, and one of them in float32
    assert "wrong formula in one mode" in (tmp_path / "new" / "scoreboard.md").read_text(encoding="utf-8")
    assert "100 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": ["-1"]},
        {"sizes": ["small"]},
        {"elements": ["2.5"]},
        {"elements": ["1"]},
        {"only": ["sin-formula"], "classes": ["complex"]},
    ],
)
def test_the_command_refuses_what_it_does_not_accept(options):
    with pytest.raises(UsageError, match="accepted are"):
        run_faults(**options)


def test_an_out_that_is_a_file_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--out"):
        run_faults(only=["sin-formula"], out=tmp_path / "file")
