"""Programs as users write them: the verdict, the culprit and its sentence, one program each."""

import copy

import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.judgement.modes import MODES
from torch import nn
from torch.utils.checkpoint import checkpoint

D = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def test_a_checkpoint_with_dropout_is_compared_in_every_mode_of_first_order_and_over_reverse():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Tanh()).double()
    result = check(lambda x: checkpoint(model, x, use_reentrant=False), normal(2, 3), modes=("R", "F", "RR", "FR"))
    assert result.verdict == "agree", result.explain()


def test_an_optimizer_step_inside_is_part_of_the_function():
    model = nn.Linear(3, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        return model(x).square().mean()

    before = copy.deepcopy(model.state_dict())
    assert check(step, normal(4, 3)).verdict == "agree"
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_a_state_that_a_call_leaves_behind_is_named_without_talk_of_generators():
    calls = []

    def counting(x):
        calls.append(1)
        return x * len(calls)

    said = check(counting, normal(3)).explain()
    assert "keeps something from one call to the next" in said and "Seed" not in said


def test_a_function_that_returns_none_for_an_argument_is_the_culprit_of_its_missing_gradient():
    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * 2 + y

        @staticmethod
        def backward(ctx, g):
            return g * 2, None

    result = check(lambda x, y: Sum.apply(x, y).sin(), (normal(3), normal(3, seed=1)))
    whole = result.frame[(result.frame["program"] == "whole") & (result.frame["wrt"] == "y")]
    assert result.verdict == "mismatch" and result.culprit.operation == "SumBackward"
    assert "SumBackward, which returned None for it" in whole["message"].iloc[0]
    assert "held constant" not in result.explain()


@pytest.mark.parametrize("copying", [lambda m, x: copy.deepcopy(m)(x), lambda m, x: nn.Parameter(m.weight) * x])
def test_a_copy_that_autograd_does_not_follow_is_a_cut(copying):
    model = nn.Linear(3, 1).double()
    result = check(lambda x: copying(model, x), normal(2, 3))
    assert result.verdict == "mismatch" and result.culprit.kind == "cut graph"
    assert "a copy that autograd does not follow" in result.culprit.operation


@pytest.mark.parametrize("mode", MODES)
def test_derivatives_inside_the_callable_are_differentiated_again(mode):
    result = check(lambda x: torch.func.grad(lambda y: (y**3).sum())(x), normal(3), modes=[mode])
    assert result.verdict == "agree", result.explain()


def test_the_user_s_exception_has_no_mode_before_it_in_mode_r_and_has_one_elsewhere():
    def raising(x):
        raise KeyError("missing")

    assert "\n  KeyError: 'missing' (raised at" in check(raising, normal(3)).explain()
    assert "\n  mode F: KeyError" in check(raising, normal(3), modes=["F"]).explain()


def test_what_was_detached_before_the_call_is_held_constant_as_it_was_written():
    """A module called with its own state, of which one weight is the input: the others have no gradient."""
    model = nn.Linear(3, 2).double()
    state, before = dict(model.state_dict()), model.weight.data_ptr()

    def fn(weight):
        return torch.func.functional_call(model, state | {"weight": weight}, (normal(4, 3),))

    result = check(fn, model.weight.detach().clone())
    assert result.verdict == "agree", result.explain()
    assert model.weight.data_ptr() == before
