"""A value that has left the range of its dtype, or a zero that a sum has made, beside a derivative that is a number."""

import math

import pytest
import torch
from gradwitness.harness import check


def number(x):
    return torch.tensor(x, dtype=torch.float64)


# The value is 2¹⁰²⁴ or close to it, infinite in float64; the derivative is that times a logarithm below 1.
BEYOND = {
    "exp2": (torch.exp2, number(1024.0), 2.0 * math.log(2.0) * 2.0**1023),
    "a number to a tensor": (lambda b: 2.0**b, number(1024.0), 2.0 * math.log(2.0) * 2.0**1023),
    "a tensor to a tensor": (lambda b: number(2.0) ** b, number(1024.0), 2.0 * math.log(2.0) * 2.0**1023),
}


@pytest.mark.parametrize("mode", ["R", "F"])
@pytest.mark.parametrize("name", BEYOND)
def test_an_infinite_derivative_that_has_a_number_fails_whatever_the_value_is(name, mode):
    fn, x, right = BEYOND[name]
    result = check(fn, x, modes=(mode,))
    assert result.verdict == "inaccurate" and not result.ok, result.explain()
    row = result.frame[result.frame.verdict == "inaccurate"].iloc[0]
    assert math.isinf(row["torch_value"]) and math.isfinite(row["reference_value"])
    if mode == "R":  # in mode F a drawn direction multiplies it
        assert row["reference_value"] == pytest.approx(right, rel=1e-15)


@pytest.mark.parametrize("name", BEYOND)
def test_within_the_range_the_same_functions_agree(name):
    assert check(BEYOND[name][0], number([1020.5, 0.0, -1080.0, 3.25]), modes=("R", "F", "RR")).verdict == "agree"


def test_a_determinant_beyond_the_range_of_squares_is_judged():
    result = check(torch.linalg.det, number([[1e200, 0.0], [0.0, 1e200]]))
    assert result.verdict in ("mismatch", "inaccurate") and "linalg_det" in result.explain()


def test_a_zero_that_a_sum_has_made_is_as_exact_as_one_that_was_given():
    # s (s - 1) (s + 2) has the second derivative 6 s + 2; at s = 1 torch has half of it in mode FF
    made = check(lambda s: torch.cumprod(torch.stack((s, s - 1.0, s + 2.0)), 0)[2], number(1.0), modes=("FF", "FR"))
    verdicts = dict(zip(made.frame["mode"], made.frame["verdict"], strict=True))
    assert verdicts == {"FF": "mismatch", "FR": "agree"}


def test_infinity_for_a_number_is_never_ok_though_a_correct_formula_overflows():
    # atan2 has slope x/(x² + y²) = 250 at x = y = 0.002; the squares are below the normal numbers of float16
    x = torch.tensor([2e-3], dtype=torch.float16)
    result = check(torch.atan2, (x, x.clone()))
    assert result.verdict in ("inaccurate", "mismatch") and not result.ok
