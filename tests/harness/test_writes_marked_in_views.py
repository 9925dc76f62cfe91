"""Custom Functions that write into a view and say so are judged by what they wrote and by their own backward."""

import inspect

import pytest
import torch
from gradwitness.harness import check

X = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(3, 4) / 8


class Tripled(torch.autograd.Function):
    """Three times its argument, written into it."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.mul_(3)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 3


class Left(Tripled):
    """The same, with the derivative of the identity: what a write that autograd does not see would have."""

    @staticmethod
    def backward(ctx, g):
        return g.clone()


class Added(torch.autograd.Function):
    """x + y, written into x."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.mark_dirty(x)
        x.add_(y)
        return x

    @staticmethod
    def backward(ctx, g):
        return g, g


class AddedTwice(Added):
    """The same, with twice the derivative in y."""

    @staticmethod
    def backward(ctx, g):
        return g, 2 * g


def row(x, function):
    a = x * 1
    function.apply(a[1])
    return a.sin()


def flat(x, function):
    a = x * 1
    function.apply(a.view(-1))
    return a.sin()


def whole(x, function):
    a = x * 1
    function.apply(a.view_as(a))
    return a.sin()


def columns(x, function):
    a = x * 1
    function.apply(a[:, 1:3])
    return a.sin()


def cache(x, function):
    kv = torch.zeros(5, 4, dtype=x.dtype)
    kv[:3] = x
    function.apply(kv[1:3])
    return kv.sin()


def returned(x, function):
    a = x * 1
    return function.apply(a[1]).cos()


def view_and_base(x, function):
    a = x * 1
    return function.apply(a[1]).cos(), a.sin()


def overlapping(x, function):
    a = x * 1
    function.apply(a[1])
    function.apply(a[:2])
    return a.sin()


def among_others(x, function):
    a = x * 1
    a[0].mul_(2)
    function.apply(a[1])
    a[2].mul_(x[0])
    return a.sin()


VIEWS = [row, flat, whole, columns, cache, returned, view_and_base, overlapping, among_others]


@pytest.mark.parametrize("fn", VIEWS, ids=lambda fn: fn.__name__)
def test_a_right_backward_agrees(fn):
    result = check(lambda x: fn(x, Tripled), X)
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("fn", VIEWS, ids=lambda fn: fn.__name__)
def test_a_wrong_backward_is_named(fn):
    result = check(lambda x: fn(x, Left), X)
    assert result.verdict == "mismatch"
    assert (result.culprit.operation, result.culprit.kind) == ("LeftBackward", "custom Function")
    assert result.culprit.line == inspect.getsourcelines(Left.backward)[1]


@pytest.mark.parametrize(("function", "verdict"), [(Tripled, "agree"), (Left, "mismatch")], ids=["right", "wrong"])
def test_second_derivatives_are_judged_too(function, verdict):
    assert check(lambda x: row(x, function), X, modes=("RR",)).verdict == verdict


@pytest.mark.parametrize("needs", [True, False], ids=["that needs a gradient", "of zeros"])
@pytest.mark.parametrize("function", [Added, AddedTwice], ids=["right", "wrong"])
def test_a_second_argument_has_its_gradient(function, needs):
    def fn(x):
        o = torch.zeros(2, 3, 4, dtype=x.dtype)
        o = o + x.sum() if needs else o
        function.apply(o[0], x.cos())
        return o.sin()

    result = check(fn, X)
    named = None if result.culprit is None else result.culprit.operation
    right = function is Added
    assert (result.verdict, named) == (("agree", None) if right else ("mismatch", "AddedTwiceBackward"))


class AddedToTheSecond(torch.autograd.Function):
    """x + y, written into its second argument: PyTorch takes the gradient of its first for that of the view."""

    @staticmethod
    def forward(ctx, y, x):
        ctx.mark_dirty(x)
        x.add_(2 * y)
        return x

    @staticmethod
    def backward(ctx, g):
        return 2 * g, g


def test_a_view_that_is_not_the_first_argument_gets_a_wrong_gradient_of_pytorch():
    def fn(x):
        o = x * 2
        AddedToTheSecond.apply(x[0].cos(), o[0])
        return o

    assert check(fn, X).verdict == "mismatch"


class InParts(Tripled):
    """Its first entry times 3 and the others as they are, written through a view of its own."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x[0].mul_(3)
        return x

    @staticmethod
    def backward(ctx, g):
        return torch.cat([3 * g[:1], g[1:]])


class Piecewise(InParts):
    """The same, with a backward that is right for another forward."""

    @staticmethod
    def backward(ctx, g):
        return 3 * g


@pytest.mark.parametrize("function", [InParts, Piecewise], ids=["right", "wrong"])
def test_a_write_into_a_part_of_the_view_is_judged_end_to_end(function):
    assert check(lambda x: row(x, function), X).verdict == ("agree" if function is InParts else "mismatch")


class ByNumPy(Tripled):
    """The same by NumPy, which no recorded call shows."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.detach().numpy()[...] *= 3
        return x


@pytest.mark.parametrize("fn", [row, returned], ids=lambda fn: fn.__name__)
def test_a_write_outside_torch_has_no_reading_and_accuses_nothing(fn):
    result = check(lambda x: fn(x, ByNumPy), X)
    assert result.verdict == "unsupported" and "ByNumPy" in result.explain()


def test_a_write_outside_torch_after_the_function_is_not_the_functions():
    def fn(x):
        a = x * 1
        Tripled.apply(a[1])
        y = a.exp()
        y.detach().numpy()[...] *= 3
        return y

    result = check(fn, X)
    assert result.verdict == "mismatch" and "change, past all calls" in result.culprit.operation


class Summed(Tripled):
    """The same, with a gradient of another shape."""

    @staticmethod
    def backward(ctx, g):
        return 3 * g.mean()


def test_a_gradient_of_another_shape_is_told_by_its_shape():
    result = check(lambda x: row(x, Summed), X)
    assert result.verdict == "mismatch" and result.culprit.operation == "SummedBackward"
    assert "shape ()" in result.frame.query("culprit == 'SummedBackward'").message.iloc[0]


def test_a_write_under_no_grad_after_it_is_still_one_that_autograd_does_not_see():
    def fn(x):
        a = x * 1
        Tripled.apply(a[1])
        with torch.no_grad():
            a[0].mul_(2)
        return a.sin()

    assert check(fn, X).verdict == "agree"
