"""The random numbers that a run drew, so that another run of the same callable draws the same ones.

A transform may draw by another kernel, or into another layout: equal random state then gives other numbers. Each draw
is therefore known by the state of its generator before it, and its numbers and the state after it are put in its place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from .kernels import is_opened, run_kernel, run_opened

Key = tuple[str, bytes, tuple[tuple[int, ...], ...]]  # operation, state of the generator, shapes of what it gives


@dataclass
class Draws:
    """What was drawn, by operation, state of the generator before it, and shapes; with that state after it."""

    found: dict[Key, tuple[list[torch.Tensor], torch.Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.found)

    def note(self, func: Any, kwargs: dict[str, Any], before: torch.Tensor, results: Sequence[Any]) -> None:
        """Keep what a call gave, if it drew: its generator has moved since `before`."""
        after = state_of(kwargs)
        if not torch.equal(before, after):
            tensors = [t.detach().clone() for t in results if isinstance(t, torch.Tensor)]
            self.found[_key(func, before, tensors)] = tensors, after

    def put(self, func: Any, kwargs: dict[str, Any], before: torch.Tensor, results: Sequence[Any]) -> None:
        """Write into the results of a call what was drawn from that state, if anything was."""
        tensors = [t for t in results if isinstance(t, torch.Tensor)]
        known = self.found.get(_key(func, before, tensors))
        if known is None:
            return
        for t, number in zip(tensors, known[0], strict=True):
            t.copy_(number)
        _generator(kwargs).set_state(known[1])


def replaying(drawn: Draws) -> AbstractContextManager[Any]:
    """Within it, every draw that is known gives the recorded numbers.

    Nothing is done where nothing was drawn: torch 2.13.0 crashes under a dispatch mode in torch.func.grad of jvp of
    grad.
    """
    return _Replaying(drawn) if drawn else nullcontext()


class _Replaying(TorchDispatchMode):
    """The dispatch mode of `replaying`."""

    def __init__(self, drawn: Draws) -> None:
        super().__init__()
        self.drawn = drawn

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if is_opened(func, args, kwargs):
            return run_opened(self, func, args, kwargs)
        before = state_of(kwargs) if may_draw(func) else None
        result = run_kernel(func, args, kwargs)
        if before is not None:
            self.drawn.put(func, kwargs, before, tree_flatten(result)[0])
        return result


@functools.cache
def may_draw(func: Any) -> bool:
    """Whether an ATen operation says that it may draw random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags


def state_of(kwargs: dict[str, Any]) -> torch.Tensor:
    """The state of the generator that a call is given, or of PyTorch's own."""
    state: torch.Tensor = _generator(kwargs).get_state()
    return state


def _generator(kwargs: dict[str, Any]) -> Any:
    return kwargs.get("generator") or torch.default_generator


def _key(func: Any, state: torch.Tensor, tensors: Sequence[torch.Tensor]) -> Key:
    """In place or not, an operation has one name: transforms run `bernoulli` for `bernoulli_`."""
    name = func._schema.name.rstrip("_")
    return name, state.numpy().tobytes(), tuple(tuple(t.shape) for t in tensors)
