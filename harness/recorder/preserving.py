"""Leave no trace: a module, its tensors and their gradients, hooks and random state are put back bit for bit."""

from __future__ import annotations

import random
from collections import OrderedDict
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


def random_states() -> tuple[Any, ...]:
    """The random states of torch, NumPy and Python, and of the GPUs where they are in use."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    return torch.get_rng_state(), np.random.get_state(), random.getstate(), devices


def set_random_states(states: tuple[Any, ...]) -> None:
    """Go on from these random states."""
    torch.set_rng_state(states[0])
    if states[3] is not None:
        torch.cuda.set_rng_state_all(states[3])
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


Written = list[tuple[torch.Tensor, torch.Tensor]]  # a tensor that a run wrote into, and its numbers after that run


@contextmanager
def untouched(module: torch.nn.Module | None) -> Iterator[Written]:
    """Put a module and its parts back: values of tensors, which tensors they are, .grad, requires_grad, hooks, train
    flags, plain attributes, and what a lazy module was before its first call.

    What it yields is filled, on the way out, with the tensors whose numbers were put back.
    """
    written: Written = []
    if module is None:
        yield written
        return
    parts = [_Part(m) for m in module.modules()]
    tensors = {id(t): t for part in parts for t in part.tensors()}
    kept = [_Kept(t) for t in tensors.values()]
    try:
        yield written
    finally:
        with torch.inference_mode(False), torch.no_grad():
            for part in parts:
                part.put_back()
            for k in kept:
                k.put_back(written)


@contextmanager
def as_left(written: Written) -> Iterator[None]:
    """Within it, tensors hold the numbers that a run left in them: its graph may have saved them for the backward pass.

    No tensor gets a new version, so that PyTorch refuses what was written after it was saved as it would in that run.
    """
    before = [(t, t.detach().clone()) for t, _ in written]
    with torch.no_grad():
        for t, after in written:
            t.data.copy_(after)
    try:
        yield
    finally:
        with torch.no_grad():
            for t, number in before:
                t.data.copy_(number)


class _Part:
    """One module as it was: its class, its attributes, and the contents of those that are containers."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module, self.kind, self.training = module, type(module), module.training
        self.attributes = dict(module.__dict__)
        self.contents = [(v, _contents(v)) for v in self.attributes.values() if type(v) in CONTAINERS]

    def tensors(self) -> list[torch.Tensor]:
        """Parameters, buffers, and tensors that are plain attributes."""
        m = self.module
        found = (*m._parameters.values(), *m._buffers.values(), *self.attributes.values())
        return [t for t in found if isinstance(t, torch.Tensor)]

    def put_back(self) -> None:
        """Attributes and contents that differ are replaced by those that were there."""
        now = self.module.__dict__
        if type(self.module) is not self.kind:  # a lazy module becomes another at its first call
            self.module.__class__ = self.kind
        for key in [k for k in now if k not in self.attributes]:
            del now[key]
        for key, value in self.attributes.items():
            if key not in now or now[key] is not value:
                now[key] = value
        for container, before in self.contents:
            if not _same_items(_contents(container), before):
                container.clear()
                container.extend(before) if isinstance(container, list) else container.update(before)
        if self.module.training != self.training:
            self.module.training = self.training


CONTAINERS = (dict, OrderedDict, list, set)


def _contents(container: Any) -> Any:
    """A shallow copy."""
    return dict(container) if isinstance(container, dict) else type(container)(container)


def _same_items(a: Any, b: Any) -> bool:
    """Whether two shallow copies hold the same objects, in the same order where there is one."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(a[k] is b[k] for k in a)
    if isinstance(a, set):
        return bool(a == b)
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


class _Kept:
    """One tensor as it was: its numbers, its gradient, whether it asks for one, and its hooks."""

    def __init__(self, t: torch.Tensor) -> None:
        self.tensor, self.requires_grad = t, t.requires_grad
        self.is_lazy = torch.nn.parameter.is_lazy(t)
        self.kind = type(t)
        self.value = None if self.is_lazy else t.detach().clone()
        self.grad: Any = t.grad if t.is_leaf else None
        self.grad_value = None if self.grad is None else self.grad.detach().clone()
        self.hooks = [(name, h, None if h is None else dict(h)) for name in HOOKS for h in (getattr(t, name, None),)]

    def put_back(self, written: Written) -> None:
        """Numbers that differ are written back without a new version: a recorded graph may have saved them."""
        t = self.tensor
        if self.value is None:
            if not torch.nn.parameter.is_lazy(t):
                t.data = torch.empty(0, dtype=t.dtype, device=t.device)
                t.__class__ = self.kind
        elif t.shape != self.value.shape or t.dtype != self.value.dtype:
            t.data = self.value
        elif not same_bits(t.detach(), self.value):
            written.append((t, t.detach().clone()))
            t.data.copy_(self.value)
        if t.is_leaf and t.requires_grad != self.requires_grad:
            t.requires_grad_(self.requires_grad)
        if t.is_leaf and t.grad is not self.grad:
            t.grad = self.grad
        if self.grad is not None and self.grad_value is not None and not same_bits(self.grad.detach(), self.grad_value):
            self.grad.detach().copy_(self.grad_value)
        for name, hooks, before in self.hooks:
            now = getattr(t, name, None)
            if now is not hooks:
                setattr(t, name, hooks)
            if hooks is not None and before is not None and not _same_items(dict(hooks), before):
                hooks.clear()
                hooks.update(before)


HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal bit for bit, NaN and the sign of zero included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_meta:
        return True
    if a.layout != torch.strided:
        return same_bits(a.to_dense(), b.to_dense())
    if a.is_quantized:
        return torch.equal(a, b)
    return torch.equal(_bytes(a), _bytes(b))


def _bytes(t: torch.Tensor) -> torch.Tensor:
    flat = t.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.stride(0) != 1:  # one entry is contiguous whatever its stride
        flat = flat.clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8)
