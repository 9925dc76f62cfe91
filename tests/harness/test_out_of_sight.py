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


def detached(h):
    return h.detach()


def of_data(h):
    return h.data


def under_no_grad(h):
    with torch.no_grad():
        return h * 1.0


def decided(h):
    return torch.where(h > 0, 1.0, 2.0)


def half_detached(h):
    return h.detach() + 0.5 * h


class Stateful(torch.nn.Module):
    """A recurrent layer whose state is kept from call to call, truncated by `cut`."""

    def __init__(self, cut, first=lambda x: x):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64))
        self.h, self.cut, self.first = torch.zeros(3, dtype=torch.float64), cut, first

    def forward(self, x):
        self.h = torch.tanh(self.weight * self.first(x) + self.cut(self.h))
        return self.h


CUTS = [detached, of_data, under_no_grad, decided]


@pytest.mark.parametrize("cut", CUTS)
def test_a_state_that_an_earlier_call_made_and_this_one_detaches_is_a_constant(cut):
    module = Stateful(cut)
    module(X)
    result = check(module, X, modes=("R", "RR"))
    assert result.verdict == "agree" and not result.unsupported, result.explain()


@pytest.mark.parametrize("cut", CUTS)
def test_a_wrong_backward_beside_a_detached_state_is_named(cut):
    module = Stateful(cut, WrongSquare.apply)
    module(X)
    result = check(module, X)
    assert result.verdict == "mismatch" and "WrongSquare" in result.culprit.operation, result.explain()


def test_a_state_that_is_detached_in_one_place_and_not_in_another_is_out_of_sight():
    module = Stateful(half_detached)
    module(X)
    result = check(module, X)
    assert not result.ok and any("out of sight" in why for why in result.unsupported.values()), result.explain()


def test_what_a_thread_made_and_all_of_the_result_is_detached_from_is_a_cut():
    def fn(a):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.sin, a).result().detach() * 2.0

    result = check(fn, X)
    assert (result.verdict, result.culprit.kind) == ("mismatch", "cut graph"), result.explain()


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
