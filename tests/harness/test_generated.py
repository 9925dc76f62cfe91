"""Comparing generated programs: right ones agree, faults are found, traced and cut down."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness.campaigns.blocks import _compare
from gradwitness.harness.campaigns.calibrating import BINS, Tally, calibrate_block
from gradwitness.harness.campaigns.generated import compare_case, draw_cases, localise, single_equations
from gradwitness.harness.campaigns.work import Unit, UnitResult
from gradwitness.harness.evidence.shrinking import shrink, simpler_numbers, size_of, smallest
from gradwitness.harness.generation.drawn import Case
from gradwitness.harness.judgement.explaining import UNLIKE_CHOICES, explanations
from gradwitness.harness.judgement.rows import Rows
from gradwitness.harness.strategies import programs, steps
from gradwitness.reference_engine import ops
from gradwitness.reference_engine.tracing import trace

# Operations of which no fault is known in torch.
SOUND = (
    "add",
    "multiply",
    "sum",
    "exp",
    "sin",
    "tanh",
    "where",
    "relu",
    "maximum",
    "softmax",
    "matmul",
    "gather",
    "cumsum",
)


def case_of(fn, *inputs) -> Case:
    arrays = tuple(np.asarray(x, dtype=np.float64) for x in inputs)
    return Case(trace(fn, *arrays), arrays)


# sinh with the slope sinh where it is cosh
WrongSinh = with_backward(
    "WrongSinh",
    lambda x: torch.special.expm1(x) / 2 - torch.special.expm1(-x) / 2,
    lambda x: (x.exp() - (-x).exp()) / 2,
)


@pytest.fixture
def wrong_sinh(monkeypatch):
    monkeypatch.setattr(torch, "sinh", WrongSinh.apply)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_programs_agree_in_reverse_mode(dtype):
    for k, case in enumerate(draw_cases(programs(only=SOUND), 15, seed=3)):
        rows = Rows("case")
        compare_case(case, rows, ("R",), dtype, seed=k)
        assert rows.rows and not [r for r in rows.rows if r["verdict"] == "mismatch"], repr(case)


def test_a_smooth_program_agrees_in_all_modes():
    case = case_of(lambda x, y: ops.sum(ops.tanh(ops.matmul(x, y)) * 2.0), [[0.1, 0.2], [0.3, -0.4]], [[1.0], [2.0]])
    rows = Rows("case")
    found = compare_case(case, rows, ("R", "F", "RR", "FR", "RF", "FF"), seed=1)
    assert found.verdict == "agree"
    assert {r["mode"] for r in rows.rows} == {"R", "F", "RR", "FR", "RF", "FF"}


def test_every_mode_ends_in_rows_also_where_torch_raises():
    case = case_of(lambda x: ops.floor_divide(ops.exp(x), 2.0), [0.1, 0.2])
    rows = Rows("case")
    compare_case(case, rows, ("R", "F"), seed=1)
    assert {r["mode"] for r in rows.rows} == {"R", "F"}


def test_equations_are_split_at_their_own_values():
    case = case_of(lambda x: ops.exp(ops.sin(x)) * 2.0, [0.5, 1.0])
    alone = single_equations(case)
    assert [c.primitives for c in alone] == [["sin"], ["exp"], ["multiply"]]
    assert np.array_equal(alone[1].inputs[0], np.sin(case.inputs[0]))


def test_a_wrong_rule_is_found_and_traced_to_its_operation(wrong_sinh):
    case = case_of(lambda x, y: ops.log1p(ops.square(ops.sinh(ops.sin(x) * y))), [[0.3, 2.0], [1.5, -1.0]], [0.5, 1.0])
    rows = Rows("case")
    found = compare_case(case, rows, ("R",), seed=0)
    assert found.verdict == "mismatch"
    located = localise(case, "R", seed=0)
    assert located is not None and located.primitive == "sinh" and located.operation == "torch.sinh"


def test_the_minimal_example_of_a_wrong_rule_is_that_operation_at_one_simple_point(wrong_sinh):
    case = case_of(lambda x, y: ops.square(ops.sinh(ops.sin(x) * y)), [[0.3, 2.0], [1.5, -1.0]], [0.5, 1.0])
    located = localise(case, "R", seed=0)
    least = smallest(located, seed=0)
    assert least.case.primitives == ["sinh"]
    assert least.case.elements == 1 and least.case.inputs[0].reshape(-1)[0] in (1.0, 0.0, 2.0, 0.5)


def test_torchs_own_fault_is_found_in_forward_mode_and_cut_to_a_few_entries():
    # d/dx₀ log Σ exp at the first entry is 1; torch loses it where a later entry lies far above
    case = case_of(lambda x: ops.exp(ops.logcumsumexp(x * 2.0, axis=0) * 0.01), [-60.5, 0.25, 1.75])
    located = localise(case, "F", seed=0)
    assert located is not None and located.operation == "torch.logcumsumexp"
    least = smallest(located, seed=0)
    assert least.case.primitives == ["logcumsumexp"] and least.case.elements <= 3


def test_shrinking_keeps_what_is_asked_for_and_never_grows():
    case = next(c for c in draw_cases(programs(), 5, seed=8) if c.operations > 2)
    name = next(n for n in case.primitives if n in steps())
    least = shrink(case, lambda c: name in c.primitives, comparisons=100)
    assert name in least.primitives and size_of(least) <= size_of(case)


def test_shrinking_stops_after_the_allowed_number_of_comparisons():
    calls = []
    case = draw_cases(programs(), 3, seed=9)[2]

    def differs(c: Case) -> bool:
        calls.append(c)
        return False

    assert shrink(case, differs, comparisons=30) is case
    assert len(calls) <= 2 * 30


def test_numbers_are_made_simple_one_by_one():
    case = case_of(lambda x: ops.exp(x), [0.123456, 7.654321, -3.3])
    least = simpler_numbers(case, lambda c: c.inputs[0][1] > 7.0)
    assert least.inputs[0].tolist() == [1.0, 8.0, 1.0]


def test_a_wrong_program_is_not_localised_where_no_operation_is_wrong():
    case = case_of(lambda x: ops.sin(ops.exp(x)), [0.1, 0.2])
    assert localise(case, "R") is None and localise(case, "FF") is None


def test_a_block_of_the_calibration_counts_every_comparison():
    tally = calibrate_block(0, seed=0, count=10)
    assert sum(tally.programs.values()) == 10
    assert set(d for d, _, _ in tally.comparisons) == {"float64", "float32"}
    assert tally.good >= 0.9 and not tally.alarms
    again = Tally()
    again.add(tally)
    again.add(tally)
    assert sum(again.programs.values()) == 20 and again.entries["float64"] == 2 * tally.entries["float64"]
    assert len(BINS) == len(again.z["float64"]) + 1


@pytest.mark.campaign
def test_a_short_calibration_raises_no_false_alarm_and_sees_the_planted_faults():
    total = Tally()
    for number in range(20):
        total.add(calibrate_block(number, seed=77))
    assert not total.alarms, "\n".join(total.alarms)
    assert total.good >= 0.99
    assert sum(total.missed.values()) <= 0.01 * sum(total.planted.values()) + 1


def test_what_is_drawn_depends_on_the_seed_alone_and_not_on_the_modules_that_are_loaded(tmp_path, monkeypatch):
    before = [c.to_json() for c in draw_cases(programs(), 20, 5)]
    numbers = [*range(200), *(k + 0.125 for k in range(200))]
    (tmp_path / "full_of_constants.py").write_text(f"X = {numbers}\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("full_of_constants")
    assert [c.to_json() for c in draw_cases(programs(), 20, 5)] == before


def test_a_tie_at_which_forward_and_reverse_choose_differently_is_named():
    """fmax(a, b)² at a = b: torch has w = 1 in reverse and w = 0 in forward mode, so 2 in place of 2w(1 - w)."""
    case = case_of(lambda a, b: ops.square(ops.fmax(a, b)), [1.0], [1.0])
    (found,) = explanations(case, "FR", "float64", 0, False)
    assert (found.op, found.culprit, found.kind) == ("torch.fmax", "aten::fmax.default", UNLIKE_CHOICES)
    consistent = case_of(lambda a, b: ops.square(ops.maximum(a, b)), [1.0], [1.0])
    assert explanations(consistent, "FR", "float64", 0, False) == []


def test_terms_that_cancel_at_second_order_may_leave_a_rounding():
    x = np.random.default_rng(0).uniform(-1.0, 1.0, 40)
    case = case_of(lambda a, b, c: ops.lerp(a, a, b) * c, x, x, np.ones(40))
    for seed in (1, 3, 10):
        rows = Rows("lerp")
        compare_case(case, rows, ("FR", "RF", "RR"), "float64", seed)
        assert {r["verdict"] for r in rows.rows} == {"agree"}


def test_an_error_of_any_kind_that_torch_raises_is_traced_to_its_operation():
    unit = Unit("generated", "block", ("F",), 7, 0, 0)
    result = UnitResult(unit)
    case = case_of(lambda a: ops.logcumsumexp(ops.exp(a), axis=0), np.zeros((0, 2)))
    _compare("empty", case, "F", "float64", 0, result)
    assert [(c.op, c.verdict) for c in result.candidates] == [("torch.logcumsumexp", "raised")]


@pytest.mark.parametrize(
    ("fn", "mode", "name"),
    [
        (lambda x: ops.copysign(ops.cos(x), ops.cos(x)), "RFR", "torch.copysign"),  # not at a leaf: alone it passes
        (lambda x: ops.sin(ops.norm(x, axis=0)), "RFF", "torch.linalg.vector_norm"),
    ],
    ids=["of others alone", "at a leaf too"],
)
def test_what_pytorch_refuses_is_named_where_it_is_refused_of_what_others_made_too(fn, mode, name):
    result = UnitResult(Unit("generated", "block", (mode,), 7, 0, 0))
    _compare("composed", case_of(fn, np.array([0.5, 0.75])), mode, "float64", 0, result)
    assert [(c.verdict, c.culprit) for c in result.candidates] == [("raised", name)]
