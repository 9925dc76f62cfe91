"""Choices that are legitimate one by one, and their sum: where a program has a derivative, only that is right."""

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.judgement.one_sided import WRONG_SUM, wrong_sums
from gradwitness.reference_engine import ops, trace

F = torch.nn.functional
AT_ZERO = torch.tensor([0.0, 1.0], dtype=torch.float64)
IDENTITIES = {
    "relu": lambda x: torch.relu(x) - torch.relu(-x),
    "clamp": lambda x: x.clamp(min=0.0) * 3.0 + x.clamp(max=0.0) * 3.0,  # torch passes both at the bound: 6 for 3
}
KINKS = {
    "relu": torch.relu,
    "clamp": lambda x: x.clamp(-1.0, 1.0),
    "largest of equal entries": lambda x: (x * 0.0).amax(),
    "sorted equal entries": lambda x: torch.sort(x * 0.0)[0],
    "pooled equal entries": lambda x: F.max_pool1d((x * 0.0)[None], 2),
    "maximum with itself": lambda x: torch.maximum(x, x * 1.0),
    "square of a kink": lambda x: x.abs() ** 2,
}


@pytest.mark.parametrize("mode", ["R", "F"])
@pytest.mark.parametrize("name", ["relu", "clamp"])
def test_choices_that_miss_the_derivative_of_the_whole_are_a_mismatch(name, mode):
    whole = check(IDENTITIES[name], AT_ZERO, modes=(mode,)).frame.query("program == 'whole'")
    assert set(whole.verdict) == {"mismatch"} and set(whole.message) == {WRONG_SUM}


@pytest.mark.parametrize("mode", ["R", "F"])
@pytest.mark.parametrize("name", KINKS)
def test_a_choice_at_a_kink_of_the_whole_stays_legitimate(name, mode):
    assert check(KINKS[name], AT_ZERO, modes=(mode,)).verdict in ("agree", "convention")


def test_the_numbers_of_a_wrong_sum_are_slopes_along_the_direction_asked():
    x, t = np.array([0.0]), np.array([2.0])
    program = trace(lambda x: ops.relu(x) - ops.relu(-x), x)
    assert wrong_sums(program, [x], [np.ones(1)], [t], "R", [np.zeros(1)]) == [(True, 0.0, 2.0)]
    assert wrong_sums(program, [x], [np.ones(1)], [t], "R", [np.ones(1)]) == [(False, 0.0, 0.0)]
    assert wrong_sums(program, [x], [], [t], "F", [np.zeros(1)]) == [(True, 0.0, 2.0)]


def test_recorded_numbers_decide_on_which_side_of_a_kink_a_value_lies():
    # the run had relu(1e-17) where exact numbers meet relu(0): the slope it used, 1, is that of its own side
    x = np.array([0.0])
    program = trace(lambda x: ops.relu(x * 1.0) + 0.0 * x, x)
    inner = program.equations[0].outputs[0]
    known = {inner: np.array([1e-17])}
    assert wrong_sums(program, [x], [np.ones(1)], [np.ones(1)], "R", [np.ones(1)], known) == [(False, 0.0, 0.0)]
    assert wrong_sums(program, [x], [np.ones(1)], [np.ones(1)], "R", [np.zeros(1)], known)[0][0]


def test_two_sides_of_small_kinks_that_nearly_cancel_beside_a_large_slope_are_no_derivative():
    x = np.array([0.0])
    program = trace(lambda x: 1e6 * x + 50.05 * ops.relu(x) - 49.95 * ops.relu(-x), x)
    one = [np.ones(1)]
    sides = 1e6 + 50.05, 1e6 + 49.95  # they agree to 1e-7 of the slope, and torch's 1e6 is off by 5e-5 of it
    assert wrong_sums(program, [x], one, one, "R", [np.array([1e6])]) == [(False, 0.0, 0.0)], sides
    smooth = trace(lambda x: 1e6 * x + 50.0 * ops.relu(x) - 50.0 * ops.relu(-x), x)
    assert wrong_sums(smooth, [x], one, one, "R", [np.array([1e6])]) == [(True, 1e6, 1e6 + 50.0)]


@pytest.mark.parametrize("mode", ["R", "F"])
def test_a_slope_along_every_line_is_no_derivative(mode):
    # |x| sgn y is odd, so that it is linear along every line through 0; it is not along two at once
    x, y = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for fn in (torch.copysign, lambda x, y: torch.copysign(x, y) + x):
        assert check(fn, (x, y), modes=(mode,)).verdict in ("agree", "convention")
    assert check(torch.copysign, (x, x), modes=(mode,)).verdict == "mismatch"  # copysign(x, x) is x


def test_directions_that_tell_a_slope_along_every_line_move_any_two_entries_apart():
    # of 25 pairs of entries some are moved nearly alike by any regular choice of directions
    x, y = torch.zeros(5, 1, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    assert check(torch.copysign, (x, y), modes=("F",)).verdict in ("agree", "convention")
