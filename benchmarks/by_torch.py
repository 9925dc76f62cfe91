"""The gradients of the three networks by PyTorch on one thread, forward and backward, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from networks import EPSILON, Arrays, Network
from torch.nn import functional

Gradient = Callable[[], Arrays]


def _gradient(network: Network, loss: Callable[..., torch.Tensor]) -> Gradient:
    parameters = [torch.tensor(p, requires_grad=True) for p in network.parameters]

    def gradient() -> Arrays:
        return [g.numpy() for g in torch.autograd.grad(loss(*parameters), parameters)]

    return gradient


def mlp(network: Network) -> Gradient:
    x, target = torch.tensor(network.data["x"]), torch.tensor(network.data["target"])

    def loss(*p: torch.Tensor) -> torch.Tensor:
        h = x
        for w, b in zip(p[::2], p[1::2], strict=True):
            h = torch.tanh(h @ w + b)
        return ((h - target) ** 2).mean()

    return _gradient(network, loss)


def cnn(network: Network) -> Gradient:
    x, target = torch.tensor(network.data["x"]), torch.tensor(network.data["target"])

    def loss(w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> torch.Tensor:
        h = functional.max_pool2d(functional.relu(functional.conv2d(x, w1, b1)), 2)
        h = functional.max_pool2d(functional.relu(functional.conv2d(h, w2, b2)), 2)
        return ((h.flatten(1) @ w3 + b3 - target) ** 2).mean()

    return _gradient(network, loss)


def transformer(network: Network) -> Gradient:
    x, target, heads = torch.tensor(network.data["x"]), torch.tensor(network.data["target"]), network.data["heads"]
    batch, length, width = x.shape
    part = width // heads

    def split(h: torch.Tensor) -> torch.Tensor:
        return h.reshape(batch, length, heads, part).transpose(1, 2)

    def loss(*p: torch.Tensor) -> torch.Tensor:
        wq, wk, wv, wo, w1, b1, w2, b2, s1, t1, s2, t2 = p
        h = functional.layer_norm(x, (width,), s1, t1, EPSILON)
        q, k, v = split(h @ wq), split(h @ wk), split(h @ wv)
        scores = q @ k.transpose(2, 3) * (1.0 / math.sqrt(part))
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, length, width)
        h = x + mixed @ wo
        y = h + torch.tanh(functional.layer_norm(h, (width,), s2, t2, EPSILON) @ w1 + b1) @ w2 + b2
        return ((y - target) ** 2).mean()

    return _gradient(network, loss)
