"""The custom Function that is wrong is named: under vmap, inside another one's backward, by a write it hides."""

import inspect

import pytest
import torch
from gradwitness.harness import check

X = torch.tensor([[0.5, -1.25, 2.0], [0.75, 0.3, -0.6]], dtype=torch.float64)
OFF = 1.01


class Sine(torch.autograd.Function):
    """sin, with a slope that is off."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx, g):
        return OFF * g * ctx.saved_tensors[0].cos()


class Around(torch.autograd.Function):
    """x sin x, whose backward differentiates a run of its own."""

    inner = Sine.apply

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin() * x

    @classmethod
    def backward(cls, ctx, g):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = cls.inner(x) * x
        return torch.autograd.grad(y, x, g)[0]


class AroundARightOne(Around):
    """The same with PyTorch's own sin, and off itself."""

    inner = torch.sin

    @classmethod
    def backward(cls, ctx, g):
        return OFF * super().backward(ctx, g)


def line_of(method):
    return inspect.getsourcelines(method)[1]


def test_a_function_under_vmap_is_named_by_its_own_backward():
    result = check(torch.vmap(Sine.apply), X)
    assert result.verdict == "mismatch" and result.culprit.kind == "custom Function"
    assert (result.culprit.file, result.culprit.line) == (__file__, line_of(Sine.backward))


def test_a_wrong_function_within_the_backward_of_a_right_one_is_named():
    result = check(lambda x: Around.apply(x).exp(), X)
    assert result.verdict == "mismatch"
    assert (result.culprit.operation, result.culprit.line) == ("SineBackward", line_of(Sine.backward))


def test_a_wrong_function_whose_backward_applies_nothing_wrong_is_named_itself():
    result = check(lambda x: AroundARightOne.apply(x).exp(), X)
    assert result.verdict == "mismatch"
    assert result.culprit.operation == "AroundARightOneBackward"


class Tripled(torch.autograd.Function):
    """Three times its argument, into which it writes."""

    marks = False

    @classmethod
    def forward(cls, ctx, x):
        x.mul_(3)
        if cls.marks:
            ctx.mark_dirty(x)
            return x
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return 3 * g


class TripledAndMarked(Tripled):
    """The same, and tells PyTorch."""

    marks = True


@pytest.mark.parametrize("after", [lambda y, a: y + a, lambda y, a: y * a.sin()], ids=["sum", "sine"])
def test_a_write_into_an_argument_that_is_not_marked_accuses_no_rule_of_pytorch(after):
    def fn(x):
        a = x * 1
        return after(Tripled.apply(a), a)

    result = check(fn, X)
    assert result.verdict == "mismatch"
    assert result.culprit.kind == "unmarked write" and "write of Tripled into its argument" in result.culprit.operation
    assert (result.culprit.file, result.culprit.line) == (__file__, line_of(Tripled.forward) + 2)


def test_a_write_into_an_argument_that_is_marked_agrees():
    def fn(x):
        a = x * 1
        TripledAndMarked.apply(a)
        return a.sin()

    assert check(fn, X).verdict == "agree"


@pytest.mark.parametrize(
    "write", [torch.Tensor.zero_, lambda a: a.fill_(0.5), lambda a: a[0].zero_()], ids=["zero", "fill", "row"]
)
def test_a_write_under_no_grad_leaves_the_derivative_whatever_is_written(write):
    """Autograd does not see it, so the gradient of sin is cos at the number written, times that of what was there."""

    def fn(x):
        a = 2 * x
        with torch.no_grad():
            write(a)
        return a.sin()

    assert check(fn, X).verdict == "agree"
