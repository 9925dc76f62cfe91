"""The culprit in modes other than R: a custom Function is named with the line of the rule that is wrong."""

import inspect

import custom_functions
import pytest
import torch
from custom_functions import with_every_rule
from gradwitness.harness import check

POINT = torch.linspace(0.4, 1.6, 6, dtype=torch.float64).reshape(2, 3)


def square(reverse=2.0, forward=2.0):
    """x² with wrong factors; a class of its own each time."""
    return with_every_rule("Square", torch.square, lambda x: reverse * x, lambda x: forward * x)


class Held(square()):
    """x² with a gradient whose cotangent is held constant."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2.0 * x * g.detach()


def line_of(method):
    return inspect.getsourcelines(method)[1]


@pytest.mark.parametrize("mode", ["F", "RR", "FR", "RF", "FF"])
@pytest.mark.parametrize("runner", ["autograd", "func"])
def test_a_wrong_function_is_named_with_the_line_of_its_rule(mode, runner):
    wrong, right = square(3.0, 3.0), square()
    result = check(lambda x: right.apply(wrong.apply(x.sin()).exp()), POINT, modes=[mode], runners=[runner])
    c = result.culprit
    assert result.verdict == "mismatch" and c.kind == "custom Function" and c.file == custom_functions.__file__
    assert c.line in (line_of(wrong.backward), line_of(wrong.jvp))
    assert c.operation in ("Square.jvp", "SquareBackward") and c.operation in set(result.frame["culprit"].dropna())
    assert c.torch_value != c.reference_value


def test_the_line_is_that_of_jvp_where_it_alone_is_wrong():
    wrong = square(2.0, 2.5)
    for mode in ("F", "RF", "FF"):
        result = check(lambda x: wrong.apply(x.sin()), POINT, modes=[mode])
        assert result.culprit.operation == "Square.jvp" and result.culprit.line == line_of(wrong.jvp), mode
    for mode in ("R", "RR"):
        assert check(lambda x: wrong.apply(x.sin()), POINT, modes=[mode]).verdict == "agree"


def test_the_line_is_that_of_backward_where_it_alone_is_wrong():
    wrong = square(2.5, 2.0)
    for mode in ("R", "RR", "FR"):
        result = check(lambda x: wrong.apply(x.sin()), POINT, modes=[mode])
        assert result.culprit.operation == "SquareBackward" and result.culprit.line == line_of(wrong.backward), mode
    assert check(lambda x: wrong.apply(x.sin()), POINT, modes=["F"]).verdict == "agree"


def test_a_right_jvp_is_not_accused_where_torch_drops_its_derivative():
    right = square()
    result = check(lambda x: right.apply(x.sin()), POINT, modes=["FF"])  # torch gives 0
    assert result.verdict == "mismatch" and result.culprit.kind == "nested forward mode"
    assert set(result.frame["known"]) == {"pytorch/pytorch#197867"}


@pytest.mark.parametrize("mode", ["RR", "FR"])
def test_a_cotangent_that_is_held_constant_is_found_at_second_order_alone(mode):
    fn = lambda x: Held.apply(x.sin()).exp()  # noqa: E731
    assert check(fn, POINT, modes=["R"]).verdict == "agree"
    result = check(fn, POINT, modes=[mode])
    assert result.verdict == "mismatch" and result.culprit.operation == "HeldBackward"


def test_an_apply_that_was_bound_before_and_an_older_function_are_found_as_well():
    class Older(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x)
            ctx.factor = factor
            return factor * x * x

        @staticmethod
        def backward(ctx, g):
            return 2.25 * ctx.factor * ctx.saved_tensors[0] * g, None

    bound = Older.apply
    result = check(lambda x: bound(x, 1.5).sum(), POINT, modes=["RR"])
    assert result.culprit.operation == "OlderBackward" and result.culprit.line == line_of(Older.backward)


def test_listening_for_functions_leaves_torch_as_it_was():
    before = torch._functorch.utils.unwrap_dead_wrappers
    check(lambda x: square(3.0).apply(x), POINT, modes=["RR"])
    assert torch._functorch.utils.unwrap_dead_wrappers is before
