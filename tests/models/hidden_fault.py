"""A custom Function whose backward is off in one entry, and how it is hidden behind any layer of a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SLOPE = 1.25
FAULT = 1e-6  # relative


class Scaled(torch.autograd.Function):
    """y = 1.25 x, with a backward that is off by one in a million in one entry.

    planted: the entries of the flat gradient that were made wrong since the list was emptied.
    """

    planted: list[int] = []

    @staticmethod
    def forward(ctx, x):
        return x * SLOPE

    @staticmethod
    def backward(ctx, g):
        sent = (g * SLOPE).contiguous()
        places = sent.view(-1).nonzero()  # an entry that gets no gradient cannot be off
        if len(places):
            at = places[len(places) // 2]
            sent.view(-1)[at] *= 1 + FAULT
            Scaled.planted.append(int(at))
        return sent


class Right(torch.autograd.Function):
    """The same without the fault."""

    @staticmethod
    def forward(ctx, x):
        return x * SLOPE

    @staticmethod
    def backward(ctx, g):
        return g * SLOPE


def layers(model: nn.Module, inputs: tuple) -> list[str]:
    """Names of the layers without layers of their own whose result is one tensor that is differentiated, in order of
    their first call.
    """
    names = {id(m): name for name, m in model.named_modules() if not list(m.children())}
    called: dict[str, None] = {}

    def seen(module, _, result):
        if isinstance(result, torch.Tensor) and result.requires_grad and result.is_floating_point():
            called[names[id(module)]] = None

    handles = [m.register_forward_hook(seen) for m in model.modules() if id(m) in names]
    with torch.random.fork_rng(devices=[]):
        model(*inputs)
    for handle in handles:
        handle.remove()
    return list(called)


@contextmanager
def hidden(model: nn.Module, name: str, function: type[torch.autograd.Function] = Scaled) -> Iterator[list[int]]:
    """Within it, the layer of that name gives `function` of its result; yields the list of the planted faults."""
    layer = model.get_submodule(name)
    forward = layer.forward
    layer.forward = lambda *args, **kwargs: function.apply(forward(*args, **kwargs))
    Scaled.planted.clear()
    try:
        yield Scaled.planted
    finally:
        del layer.forward
