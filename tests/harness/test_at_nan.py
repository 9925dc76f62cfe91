"""At NaN any derivative is legitimate, equal entries must have equal ones, and what is not NaN is judged as ever."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradwitness.harness import check
from gradwitness.harness.judgement.at_nan import by_entries
from gradwitness.reference_engine import ops, reverse, simplify, trace
from gradwitness.reference_engine.evaluate import Plan

NAN = float("nan")
LENGTH = 67  # 64 entries fill the registers of every vector extension, three are left


class SlopeAtNan(torch.autograd.Function):
    """x, with a slope at NaN that `slope` gives entry by entry, and another one at numbers."""

    @staticmethod
    def forward(ctx, x, slope, at_numbers):
        ctx.save_for_backward(x, slope)
        ctx.at_numbers = at_numbers
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        x, slope = ctx.saved_tensors
        return g * torch.where(x.isnan(), slope, ctx.at_numbers), None, None


def with_slopes(slope, at_numbers=1.0, places=(1, 3)):
    x = torch.linspace(0.5, 1.5, len(slope), dtype=torch.float64)
    x[list(places)] = NAN
    return check(lambda x: SlopeAtNan.apply(x, torch.tensor(slope, dtype=torch.float64), at_numbers), x)


@pytest.mark.parametrize("slope", [0.0, 1.0, NAN, -3.0])
def test_any_slope_at_nan_is_legitimate_as_long_as_it_is_one(slope):
    assert with_slopes([slope] * 5).verdict in ("agree", "convention")


@pytest.mark.parametrize("slopes", [(0.0, 1.0), (NAN, 1.0), (1.0, 1.0 + 1e-9)])
def test_two_slopes_at_nan_are_a_mismatch_that_names_the_entry_and_both_numbers(slopes):
    result = with_slopes([1.0, slopes[0], 1.0, slopes[1], 1.0])
    assert result.verdict == "mismatch"
    assert result.culprit.operation == "SlopeAtNanBackward" and result.culprit.entry in ((1,), (3,))
    text = result.explain()
    assert "equal inputs, NaN among them" in text and "entry [1]" in text and "entry [3]" in text


def test_the_odd_entry_is_the_one_in_the_minority():
    result = with_slopes([0.0, 0.0, 0.0, 0.0, 1.0], places=(0, 1, 2, 3, 4))
    assert result.verdict == "mismatch" and result.culprit.entry == (4,)
    assert result.culprit.torch_value != 0.0 and result.culprit.reference_value == 0.0


def test_a_wrong_slope_at_a_number_is_not_excused_by_nan_elsewhere():
    result = with_slopes([1.0] * 5, at_numbers=1.0 + 1e-6)
    assert result.verdict == "mismatch" and result.culprit.entry not in ((1,), (3,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", ["R", "F"])
def test_the_tail_of_a_vectorised_kernel_is_held_against_its_body(dtype, mode):
    x = torch.full((LENGTH,), NAN, dtype=dtype)
    result = check(F.hardtanh, x, modes=(mode,))
    assert result.verdict == "mismatch" and result.culprit.operation.startswith("aten::hardtanh")
    assert "pytorch/pytorch#195075" in set(result.frame["known"].dropna())
    x[40] = 0.5
    for even in (torch.relu, torch.sigmoid, F.gelu, torch.sin, lambda x: x * x):
        assert check(even, x, modes=(mode,)).verdict in ("agree", "convention")


def test_sums_are_not_entry_by_entry():
    def gradient_of(fn):
        return Plan(simplify(reverse(trace(fn, np.ones(3)))))

    assert by_entries(gradient_of(lambda x: ops.exp(x) * x))
    assert not by_entries(gradient_of(lambda x: ops.softmax(x, axis=0)))
    x = torch.tensor([[NAN, 1.0, NAN], [0.0, 1.0, 2.0]], dtype=torch.float64)
    assert check(lambda x: F.softmax(x, 1), x).verdict in ("agree", "convention")
