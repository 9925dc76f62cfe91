"""Custom Functions whose forward decides or rounds: its own derivative is 0, and its backward means another."""

import pytest
import torch
from gradwitness.harness import check

X = torch.tensor([0.5, 1.2, -2.0], dtype=torch.float64)


class Root(torch.autograd.Function):
    """The y with y³ + y = x, by bisection from fixed ends; by the implicit function theorem dy/dx = 1/(3 y² + 1)."""

    @staticmethod
    def forward(ctx, x):
        low, high = torch.full_like(x, -10.0), torch.full_like(x, 10.0)
        for _ in range(60):
            middle = (low + high) / 2
            below = middle**3 + middle < x
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        ctx.save_for_backward(low)
        return low

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g / (3 * y**2 + 1)


class ByNumbers(Root):
    """The same, one number after the other in Python's arithmetic."""

    @staticmethod
    def forward(ctx, x):
        roots = []
        for v in x.tolist():
            low, high = -10.0, 10.0
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if middle**3 + middle < v else (low, middle)
            roots.append(low)
        ctx.save_for_backward(torch.tensor(roots, dtype=x.dtype))
        return torch.tensor(roots, dtype=x.dtype)


class Rounded(torch.autograd.Function):
    """The nearest whole number, straight through."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


def test_a_forward_of_comparisons_alone_is_unsupported_and_told_what_its_own_derivative_is():
    result = check(lambda x: (Root.apply(x * 2) ** 2).sum(), X)
    said = result.explain()
    assert result.verdict == "unsupported" and list(result.unsupported) == ["Root"], said
    assert "depends on its inputs by decisions alone (aten::lt.Tensor)" in said
    assert "The derivative of that run is 0" in said and "register_lowering" in said


def test_a_forward_that_leaves_torch_is_told_so_with_the_next_step():
    result = check(lambda x: (ByNumbers.apply(x * 2) ** 2).sum(), X)
    assert result.verdict == "unsupported" and list(result.unsupported) == ["ByNumbers"]
    assert "not made of torch operations on its inputs. Make it an operator of torch.library" in result.explain()


@pytest.mark.parametrize(("fn", "said"), [(Rounded, True), (None, False)], ids=["rounded", "no culprit"])
def test_a_forward_that_rounds_is_held_against_0_and_told_so(fn, said):
    result = check(lambda x: (x.sin() if fn is None else fn.apply(x)).sum(), X)
    assert ("the forward of this Function has the derivative 0 there" in result.explain()) == said
    assert result.verdict == ("mismatch" if said else "agree")
