"""A backward that does not multiply by the gradient that arrives is found where that gradient is 1, as at a loss."""

import inspect

import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness import check
from torch.utils.checkpoint import checkpoint

X = torch.tensor([[0.5, -1.25, 2.0], [0.75, 0.3, -0.6]], dtype=torch.float64)


def of_squares(backward):
    """Σ x² with a backward(g, x) of its own."""

    class SumOfSquares(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return (x * x).sum()

        @staticmethod
        def backward(ctx, g):
            return backward(g, ctx.saved_tensors[0])

    return SumOfSquares


BENT = {
    "forgets it": lambda g, x: 2 * x,
    "squares it": lambda g, x: 2 * x * g * g,
    "its size alone": lambda g, x: 2 * x * g.abs(),
    "clamps it": lambda g, x: 2 * x * g.clamp(-1, 1),
    "adds to it": lambda g, x: 2 * x * (g + 1) / 2,
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", BENT)
def test_a_function_right_at_a_gradient_of_1_alone_is_a_mismatch_with_its_line(name, dtype):
    function = of_squares(BENT[name])
    result = check(function.apply, X.to(dtype))
    assert result.verdict == "mismatch"
    assert (result.culprit.kind, result.culprit.operation) == ("custom Function", "SumOfSquaresBackward")
    _, first = inspect.getsourcelines(function.backward)
    assert result.culprit.line in (first, first + 1)
    assert "not proportional to the gradient that arrives" in result.explain()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_right_function_agrees(dtype):
    function = of_squares(lambda g, x: 2 * x * g)
    assert check(function.apply, X.to(dtype)).verdict == "agree"


def test_one_of_two_terms_is_named_with_the_line_that_applied_it():
    bent, right = of_squares(BENT["forgets it"]).apply, of_squares(lambda g, x: 2 * x * g).apply

    def loss(x):
        first = right(x)
        return first + bent(x)

    result = check(loss, X)
    assert result.verdict == "mismatch"
    assert result.culprit.called.endswith(f":{loss.__code__.co_firstlineno + 2}")


def test_a_function_of_each_entry_whose_sum_is_the_loss_is_found():
    cosine = with_backward("Forgetful", torch.sin, torch.cos)
    assert check(lambda x: cosine.apply(x).sum(), X).verdict == "agree"  # multiplies by g itself

    class Forgetful(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            return ctx.saved_tensors[0].cos()

    assert check(lambda x: Forgetful.apply(x).sum(), X).verdict == "mismatch"


def test_inside_a_reentrant_checkpoint_the_checkpoint_is_named_where_it_was_called():
    bent = of_squares(BENT["forgets it"]).apply

    def loss(x):
        return checkpoint(bent, x, use_reentrant=True)

    result = check(loss, X)
    assert result.verdict == "mismatch"
    assert (result.culprit.file, result.culprit.line) == (__file__, loss.__code__.co_firstlineno + 1)


def test_a_gradient_near_the_end_of_the_range_is_not_accused():
    """-2 times 40,000 is beyond float16: the pass overflows there, which is no matter of the rule."""

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 40000.0 * x

        @staticmethod
        def backward(ctx, g):
            return 40000.0 * g

    assert check(lambda x: Steep.apply(x).sum(), torch.tensor([0.5, 0.25], dtype=torch.float16)).verdict == "agree"
