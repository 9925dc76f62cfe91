"""Sums over many samples and places, whose kernels add in one chain: nets as people train them, and faults in them."""

import pytest
import torch
from gradwitness.harness import check
from torch import nn

NETS = {
    "convolution, batch norm, pool": lambda: (
        nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        torch.randn(8, 3, 32, 32),
    ),
    "a convolution of each channel": lambda: (
        nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        torch.randn(8, 8, 34, 34),
    ),
    "batch norm of many rows": lambda: (nn.BatchNorm1d(16), torch.randn(8192, 16)),
    "batch norm far from 0": lambda: (nn.BatchNorm2d(4), torch.randn(8, 4, 32, 32) + 3.0),
    "linear and batch norm": lambda: (
        nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)),
        torch.randn(4096, 16),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_a_right_net_agrees_however_many_samples_it_has(name, dtype):
    torch.manual_seed(0)
    net, x = NETS[name]()
    assert check(net, x, dtypes=(dtype,)).verdict == "agree"


def test_a_sum_of_equal_addends_in_float32_is_inaccurate_and_no_wrong_rule():
    # the gradient of the bias adds 30,752 numbers, most of them equal: PyTorch's kernel is off by some 1e-3
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    result = check(net, torch.randn(8, 3, 64, 64))
    assert result.verdict in ("agree", "inaccurate") and result.ok


class BiasOff(torch.autograd.Function):
    """A convolution whose gradient of the bias is 1 % too large."""

    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        return nn.functional.conv2d(x, w, b)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        slope = torch.nn.grad.conv2d_input(x.shape, w, g), torch.nn.grad.conv2d_weight(x, w.shape, g)
        return *slope, 1.01 * g.sum((0, 2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wrong_gradient_of_a_bias_is_found_among_as_many(dtype):
    generator = torch.Generator().manual_seed(0)
    shapes = ((8, 3, 32, 32), (4, 3, 3, 3), (4,))
    inputs = tuple(torch.randn(s, generator=generator, dtype=dtype) for s in shapes)
    result = check(lambda x, w, b: BiasOff.apply(x, w, b).relu().mean((0, 2, 3)), inputs)
    assert result.verdict == "mismatch" and result.culprit.operation == "BiasOffBackward"
