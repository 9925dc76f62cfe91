"""What a result says in words: nothing was tested, empty, 0 by cancellation, lost digits; printed as explained."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness import GradientMismatch, assert_gradients, check
from gradwitness.harness.judgement.judging import THRESHOLD

CANCELLING = [lambda x: x.softmax(-1).sum(), lambda x: (x * x.log_softmax(-1).exp()).softmax(0).sum()]


class Detaching(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        with torch.enable_grad():
            return x.detach().sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


def in_a_thread(x):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.sin, x).result()


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", ["R", "F", "RR", "FR", "RF", "FF"])
def test_a_constant_is_no_silent_pass_in_any_mode(mode):
    result = check(lambda x: (x > 0).double().sum(), normal(3), modes=[mode])
    assert result.verdict == "indeterminate" and "nothing was tested" in result.explain()
    with pytest.raises(GradientMismatch, match="nothing was tested"):
        assert_gradients(lambda x: torch.ones(2), normal(3), modes=[mode])


def test_an_empty_tensor_agrees_and_it_is_said_that_there_is_no_number():
    result = check(torch.sin, normal(0, 3))
    assert result.ok and "there is no number to compare" in result.explain()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fn", CANCELLING)
def test_a_derivative_that_cancels_to_0_has_lost_no_digit(fn, seed, dtype):
    x = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    result = check(fn, x, dtypes=[dtype])
    assert result.verdict == "agree", result.explain()


def test_a_saturated_tanh_has_lost_its_digits_all_the_same():
    result = check(lambda x: x.tanh().sum(), torch.tensor([19.5], dtype=torch.float64))
    assert result.verdict == "inaccurate" and result.frame["rel_error"].max() == 1.0 and not result.ok


def test_a_result_prints_as_its_explanation():
    result = check(torch.sin, normal(3))
    assert str(result) == result.explain() and f"a mismatch begins at {THRESHOLD:g}" in str(result)


def test_an_error_where_the_derivative_is_0_is_given_as_it_is():
    Leaking = with_backward("Leaking", lambda x: x * 0.0, lambda x: 0.125)
    said = check(Leaking.apply, torch.ones(1, dtype=torch.float64)).explain()
    assert "absolute 0." in said and "relative inf" not in said


def test_what_was_judged_beside_an_unsupported_operation_is_said_only_where_something_was():
    judged = "what is not affected by them was judged"
    two = torch.tensor(2.0, dtype=torch.float64)
    alone = check(lambda x: torch.special.zeta(x, two), normal(3).abs() + 2)
    assert alone.verdict == "unsupported" and set(alone.frame["verdict"]) == {"unsupported"}
    assert "not compared: " in alone.explain() and judged not in alone.explain()
    for fn in (Detaching.apply, in_a_thread):
        beside = check(lambda x, fn=fn: fn(x.exp()).cos(), normal(3))
        assert beside.verdict == "unsupported" and "agree" in set(beside.frame["verdict"])
        assert judged in beside.explain()


def test_an_operation_without_a_line_is_named_without_a_place():
    said = check(torch.nn.functional.hardsigmoid, normal(3)).explain()
    assert "in aten::hardsigmoid.default, argument 0, entry" in said
