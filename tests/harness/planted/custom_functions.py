"""Custom Functions of one tensor, made of a value and its slopes: what a test plants, rightly or wrongly.

`forward`, `backward` and `jvp` of all of them are written here once, so a culprit's line is one of this file.
"""

from collections.abc import Callable

import torch

Slope = Callable[[torch.Tensor], torch.Tensor]


def with_backward(name: str, value: Slope, slope: Slope) -> type[torch.autograd.Function]:
    """The older form: `forward` has the context, and there is a backward alone, g · slope(x)."""

    class Made(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return value(x)

        @staticmethod
        def backward(ctx, g):
            return g * slope(*ctx.saved_tensors)

    return _named(Made, name)


def with_every_rule(
    name: str, value: Slope, slope: Slope, tangent: Slope | None = None
) -> type[torch.autograd.Function]:
    """The newer form, which transforms take too: backward g · slope(x), jvp t · tangent(x), and vmap by PyTorch.

    Without `tangent` both rules have the one slope.
    """
    of_jvp = tangent or slope

    class Made(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return value(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            return g * slope(*ctx.saved_tensors)

        @staticmethod
        def jvp(ctx, t):
            return t * of_jvp(*ctx.saved_tensors)

    return _named(Made, name)


def _named(function: type[torch.autograd.Function], name: str) -> type[torch.autograd.Function]:
    """The class under a name of its own, by which PyTorch names its node."""
    return type(name, (function,), {})
