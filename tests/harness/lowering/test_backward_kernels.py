"""Backward kernels as operations of a run: a callable that differentiates inside itself is differentiated again."""

import pytest
import torch
from gradwitness.harness import check
from torch.nn import functional as F

D = torch.float64
POINT = torch.linspace(-2.3, 2.7, 8, dtype=D).reshape(2, 4)
TARGET = torch.linspace(1.1, -0.8, 8, dtype=D).reshape(2, 4)
ACTIVATIONS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(x, 2.0, 3.0),
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "elu": lambda x: F.elu(x, 1.5),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2) ** 2,
    "hardtanh": lambda x: F.hardtanh(x) ** 2,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "logsigmoid": F.logsigmoid,
    "softshrink": lambda x: F.softshrink(x) ** 2,
    "hardshrink": lambda x: F.hardshrink(x) ** 2,
    "mse_loss": lambda x: F.mse_loss(x, TARGET),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, TARGET),
    "huber_loss": lambda x: F.huber_loss(x, TARGET, delta=0.7),
    "soft_margin_loss": lambda x: F.soft_margin_loss(x, TARGET.sign()),
    "glu": F.glu,
}


def penalty(fn):
    """The squared norm of the gradient of Σ fn, as a gradient penalty takes it."""

    def squared(x):
        (g,) = torch.autograd.grad(fn(x).sum(), x, create_graph=True)
        return (g * g).sum()

    return squared


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_gradient_inside_a_callable_is_differentiated_again(name):
    result = check(penalty(ACTIVATIONS[name]), POINT)
    assert result.verdict == "agree", result.explain()
    if name not in ("silu", "mish"):  # torch has no kernel of its own for their differentiable backward
        kernels = result.frame[result.frame["program"].str.contains("backward")]
        assert set(kernels["quantity"]) == {"value", "derivative"}  # judged alone, and its own slope as well


def test_a_gradient_penalty_of_a_network_agrees():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Softplus(), torch.nn.Linear(5, 1)).double()

    def loss(x):
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        return (g.norm(dim=1) - 1).square().mean()

    result = check(loss, POINT)
    assert result.verdict == "agree", result.explain()
    assert "held constant, as written: cut off by detach" in result.explain()


@pytest.mark.parametrize("fn", [torch.exp, torch.sqrt, lambda y: y.sin() ** 3, lambda y: (y @ y.t()).tanh()])
def test_what_autograd_saved_is_the_tensor_that_it_was(fn):
    """A result that is saved comes back as another tensor object; the derivative flows through it all the same."""

    def squared(x):
        y = x * x + 1.0
        (g,) = torch.autograd.grad(fn(y), x, torch.ones_like(fn(y)), create_graph=True)
        return (g * g).sum()

    result = check(squared, POINT, modes=("R", "RR"))
    assert result.verdict == "agree", result.explain()
