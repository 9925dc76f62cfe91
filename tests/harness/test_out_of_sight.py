"""What the dispatch mode does not see, though autograd has it: other threads, and a class of Python's own."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from gradwitness.harness import check


class Named(torch.Tensor):
    """A subclass without anything of its own."""


class WrongSquare(torch.autograd.Function):
    """x², with the derivative 3 x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 3.0 * g * ctx.saved_tensors[0]


X = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def in_threads(part):
    def fn(a):
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(part, a.unbind()))

    return fn


def wholly_in_a_thread(a):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: (a.sin() * 2).sum()).result()


@pytest.mark.parametrize("mode", ["R", "RR", "F"])
@pytest.mark.parametrize("fn", [in_threads(torch.sin), wholly_in_a_thread], ids=["parts", "whole"])
def test_what_another_thread_worked_out_is_unsupported_by_name_and_never_wrong(fn, mode):
    result = check(fn, X, modes=(mode,))
    assert result.verdict == "unsupported", result.explain()
    assert all("out of sight" in why for why in result.unsupported.values()) and result.unsupported


@pytest.mark.parametrize("mode", ["R", "RR", "F"])
def test_a_plain_subclass_is_recorded_through(mode):
    result = check(lambda a: (a.as_subclass(Named).sin() * 2).sum(), X, modes=(mode,))
    assert result.verdict == "agree", result.explain()


def test_a_function_behind_a_subclass_is_never_called_right_unseen():
    # PyTorch wraps the result of the Function anew, out of sight of the recording
    result = check(lambda a: WrongSquare.apply((a.as_subclass(Named) * 2).sin()).sum(), X)
    assert result.verdict in ("unsupported", "mismatch") and not result.ok
    alone = check(lambda a: WrongSquare.apply((a * 2).sin()).sum(), X)
    assert alone.verdict == "mismatch" and "WrongSquare" in alone.culprit.operation
