"""Leave no trace: parameters, buffers, .grad, train flags and random state are put back bit for bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

BACKWARD = 0x5EED  # tells the seed of a backward pass from that of its forward pass


@contextmanager
def random_state() -> Iterator[None]:
    """Put the random state of torch, NumPy and Python back afterwards."""
    before = random_states()
    try:
        yield
    finally:
        set_random_states(before)


def random_states() -> tuple[Any, Any, Any]:
    """The random states of torch, NumPy and Python."""
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def set_random_states(states: tuple[Any, Any, Any]) -> None:
    """Go on from these random states."""
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


@contextmanager
def random_state_of_backward(seed: int) -> Iterator[None]:
    """Random numbers that a backward pass draws are not those that the forward pass drew."""
    with random_state():
        torch.manual_seed(seed ^ BACKWARD)
        np.random.seed((seed ^ BACKWARD) % 2**32)
        random.seed(seed ^ BACKWARD)
        yield


@contextmanager
def untouched(module: torch.nn.Module | None) -> Iterator[None]:
    """Put a module back: values of parameters and buffers, which tensors they are, .grad, requires_grad and train
    flags.
    """
    if module is None:
        yield
        return
    parts = list(module.modules())
    registered = [(m, dict(m._parameters), dict(m._buffers), m.training) for m in parts]
    tensors = {id(t): t for m in parts for t in (*m._parameters.values(), *m._buffers.values()) if t is not None}
    saved: list[tuple[torch.Tensor, torch.Tensor, Any, Any, bool]] = [
        (t, t.detach().clone(), t.grad, None if t.grad is None else t.grad.detach().clone(), t.requires_grad)
        for t in tensors.values()
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for m, parameters, buffers, training in registered:
                m._parameters.clear()
                m._parameters.update(parameters)
                m._buffers.clear()
                m._buffers.update(buffers)
                m.training = training
            for t, value, grad, grad_value, requires_grad in saved:
                if not _same_bits(t.detach(), value):
                    # through .data: the version must not change, a recorded graph may have saved running statistics
                    t.data.copy_(value)
                if t.is_leaf and t.requires_grad != requires_grad:
                    t.requires_grad_(requires_grad)
                if t.is_leaf:
                    t.grad = grad
                if grad is not None and not _same_bits(grad.detach(), grad_value):
                    grad.detach().copy_(grad_value)


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal bit for bit, NaN and the sign of zero included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return (
        a.contiguous().numpy(force=True).tobytes() == b.contiguous().numpy(force=True).tobytes()
        if _has_numpy(a)
        else torch.equal(a, b)
    )


def _has_numpy(t: torch.Tensor) -> bool:
    return t.layout == torch.strided and t.dtype not in (torch.bfloat16,) and not t.is_quantized
